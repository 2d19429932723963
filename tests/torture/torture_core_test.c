/* The messages of RFC 4475 and RFC 5118 played into the whole core: outcomes.tsv, column `server`.
 *
 * Alice's phone says each over a flow that has proved her device key; the account is given the name
 * that the message's From (REGISTER: To) carries, so that what is left to judge is the message.
 * Where a challenge is due she has proved nothing. */
#include "unit.h"

#include "base/buf.h"
#include "core/core.h"
#include "crypto/crypto.h"
#include "sip/hdr.h"
#include "sip/msg.h"

static const uint8_t seal[32] = { 7 };

struct heard {
    unsigned answer;            /* the final status, or 0 */
    unsigned forwarded, passed; /* requests and responses to the other phone */
    char lines[600];
};
static struct world {
    struct store *store;
    struct node *node;
    struct core *core;
    struct now now;
    flow_id alice, bob;
    struct heard heard;
} w;

static void put_account(uint32_t id, slice user, slice domain) {
    struct store_change change = { .op = STORE_ACCOUNT_PUT, .durability = STORE_FULL };
    change.account = (struct account_row){ .id = id, .user = user, .domain = domain };
    assert_ok(store_commit(w.store, &change, 1));
    change = (struct store_change){ .op = STORE_DEVICE_PUT, .durability = STORE_FULL };
    change.device = (struct device_row){
        .id = id, .account_id = id, .kind = DEVICE_CERTIFICATE, .name = SLICE("phone")
    };
    change.device.key_hash[0] = (uint8_t)id;
    assert_ok(store_commit(w.store, &change, 1));
}

static void take(const struct core_effect *fx) {
    static struct sip_msg m;
    if (fx->kind == FX_STORE) {
        assert_ok(store_commit(w.store, fx->change, 1));
        if (fx->ticket) core_stored(w.core, fx->ticket, ERR_OK, w.now);
    }
    if (fx->kind != FX_SEND) return;
    /* The answer to what is malformed may carry what is malformed. */
    struct sip_read r = sip_msg_read(&m, fx->bytes, SIP_STREAM);
    assert_int_equal(r.used, fx->bytes.len);
    if (fx->flow == w.bob) {
        w.heard.forwarded += m.is_request;
        w.heard.passed += !m.is_request;
    } else if (!m.is_request && m.status >= 200) {
        w.heard.answer = m.status;
        (void)snprintf(w.heard.lines, sizeof w.heard.lines, SLICE_FMT, SLICE_ARG(fx->bytes));
    }
}

static void pump(void) {
    struct core_effect fx;
    while (core_next_effect(w.core, &fx)) take(&fx);
}

static flow_id flow_up(uint8_t transport, uint8_t key) {
    struct flow_info info = { .transport = transport,
                              .has_device_key = key != 0,
                              .device_key = { key } };
    flow_id f;
    assert_ok(addr_read(SLICE("192.0.2.1:5061"), &info.local));
    assert_ok(addr_read(SLICE("198.51.100.1:40000"), &info.peer));
    info.peer.port = (uint16_t)(40000 + key);
    assert_ok(transport == FLOW_UDP ? core_flow_datagram(w.core, &info, w.now, &f)
                                    : core_flow_open(w.core, &info, w.now, &f));
    pump();
    return f;
}

/* ---- a world that fits the message ---- */

struct person {
    char user_mem[300], host_mem[300];
    slice user, host;
};

static void buf_lower(struct buf *b, slice s) {
    for (size_t i = 0; i < s.len; i++)
        buf_byte(b, (char)(s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] + 32 : s.ptr[i]));
}

static bool person_of(slice uri_text, struct person *out) {
    struct sip_uri uri;
    struct buf user = buf_over(out->user_mem, sizeof out->user_mem);
    struct buf host = buf_over(out->host_mem, sizeof out->host_mem);
    if (sip_uri_read(uri_text, &uri) != ERR_OK || !uri.user.len || !uri.host.len) return false;
    if (sip_unescape(uri.user, &user) != ERR_OK || user.full) return false;
    buf_lower(&host, uri.host);
    out->user = buf_slice(&user);
    out->host = buf_slice(&host);
    return !host.full;
}

static void domain_add(struct node_config *config, slice host) {
    for (unsigned i = 0; i < config->domain_count; i++)
        if (slice_eq(config->domains[i], host)) return;
    config->domains[config->domain_count++] = host;
}

static void world_open(const struct sip_msg *m, bool is_proved) {
    static struct person caller, callee;
    struct node_config config;
    memset(&w, 0, sizeof w);
    w.now = (struct now){ 1000, 1700000000000 };
    assert_non_null(w.store = store_memory_new());
    node_config_defaults(&config);
    config.workers = 1;
    config.flows_max = 16;
    config.seal_key = seal;
    slice from = m->is_request && m->method == SIP_REGISTER ? m->to.uri_text : m->from.uri_text;
    bool has_caller = m->is_request && person_of(from, &caller);
    bool has_callee = m->is_request && person_of(m->uri_text, &callee);
    if (has_callee && has_caller && slice_eq(caller.user, callee.user) &&
        slice_eq(caller.host, callee.host))
        has_callee = false;
    if (m->is_request && m->uri.host.len) {
        static char host[300];
        struct buf b = buf_over(host, sizeof host);
        buf_lower(&b, m->uri.host);
        domain_add(&config, buf_slice(&b));
    }
    if (has_caller) {
        domain_add(&config, caller.host);
        put_account(1, caller.user, caller.host);
    }
    if (has_callee) put_account(2, callee.user, callee.host);
    if (!config.domain_count) domain_add(&config, SLICE("example.com"));
    assert_ok(node_new(&config, w.store, w.now, &w.node));
    assert_non_null(w.core = core_new(w.node, 0, seal, w.now));
    w.alice = flow_up(FLOW_UDP, is_proved);
    w.bob = flow_up(FLOW_TLS, 2);
    if (!has_callee) return;
    char mem[4096], aor[1024];
    struct buf b = buf_over(mem, sizeof mem), a = buf_over(aor, sizeof aor);
    struct sip_uri uri;
    assert_ok(sip_uri_read(m->uri_text, &uri));
    buf_fmt(&a, "<sip:" SLICE_FMT "@" SLICE_FMT ">", SLICE_ARG(uri.user), SLICE_ARG(uri.host));
    buf_fmt(&b,
            "REGISTER sip:" SLICE_FMT " SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bKb\r\n"
            "From: " SLICE_FMT ";tag=1\r\nTo: " SLICE_FMT "\r\nCall-ID: b\r\nCSeq: 1 REGISTER\r\n"
            "Contact: <sip:bob@198.51.100.1>\r\nContent-Length: 0\r\n\r\n",
            SLICE_ARG(uri.host), SLICE_ARG(buf_slice(&a)), SLICE_ARG(buf_slice(&a)));
    core_receive(w.core, w.bob, buf_slice(&b), w.now);
    pump();
    memset(&w.heard, 0, sizeof w.heard);
}

static void world_close(void) {
    core_free(w.core);
    node_free(w.node);
    store_close(w.store);
}

/* ---- outcomes ---- */

static void outcome_of(const char *file, bool is_proved, char out[static 16]) {
    static struct sip_msg m;
    char path[128];
    (void)snprintf(path, sizeof path, "tests/torture/%s", file);
    slice bytes = unit_file(path);
    struct sip_read r = sip_msg_read(&m, bytes, SIP_DATAGRAM);
    if (r.err != ERR_OK) memset(&m, 0, sizeof m);
    world_open(&m, is_proved);
    core_receive(w.core, w.alice, bytes, w.now);
    pump();
    const char *word = w.heard.forwarded                                   ? "forward"
                       : w.heard.passed                                    ? "deliver"
                       : w.heard.answer == 200 && m.method == SIP_REGISTER ? "register"
                                                                           : "drop";
    if (w.heard.answer && strcmp(word, "drop") == 0)
        (void)snprintf(out, 16, "%u", w.heard.answer);
    else
        (void)snprintf(out, 16, "%s", word);
}

static void every_outcome(void **state) {
    (void)state;
    slice table = unit_file("tests/torture/outcomes.tsv");
    unsigned rows = 0, failed = 0;
    for (slice line; slice_split(&table, '\n', &line);) {
        slice file, section, reader, server = { 0 }, one;
        char name[64], got[16];
        if (slice_starts(line, SLICE("#"))) continue;
        assert_true(slice_split(&line, '\t', &file) && slice_split(&line, '\t', &section) &&
                    slice_split(&line, '\t', &reader) && slice_split(&line, '\t', &server));
        assert_true(slice_cstr(file, name, sizeof name));
        outcome_of(name, !slice_starts(server, SLICE("401")), got);
        bool ok = false;
        for (slice rest = server; slice_split(&rest, '|', &one);)
            ok = ok || slice_eq(one, slice_str(got));
        rows++;
        if (!ok) {
            failed++;
            print_error("RFC " SLICE_FMT " %s: %s, not " SLICE_FMT "\n%s\n", SLICE_ARG(section),
                        name, got, SLICE_ARG(server), w.heard.lines);
        }
        world_close();
    }
    assert_int_equal(failed, 0);
    assert_int_equal(rows, 49 + 12);
}

int main(void) {
    assert_ok(crypto_init());
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_outcome) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
