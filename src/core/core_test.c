/* The core driven by hand: two phones on TLS flows, one or two workers, a memory store. The rules
 * of the RFCs are told in tests/replay; here stands what a scenario cannot say. */
#include "unit.h"

#include "base/buf.h"
#include "core/core.h"
#include "crypto/crypto.h"
#include "proxy/dialogs.h"
#include "sip/hdr.h"
#include "sip/msg.h"

#define WORKERS  2
#define SENT_MAX 64

struct sent {
    flow_id flow;
    char bytes[8192];
    size_t len;
};
struct world {
    struct store *store;
    struct node *node;
    struct core *core[WORKERS];
    unsigned workers;
    struct now now;
    struct sent sent[SENT_MAX];
    unsigned sent_count, next;
    bool hold_store;
    uint64_t held[16];
    unsigned held_count, held_worker;
};

static const uint8_t seal[32] = { 7 };

static void add_account(struct world *w, uint32_t id, const char *user) {
    struct account_row row = { .id = id, .user = slice_str(user), .domain = SLICE("example.org") };
    struct store_change change = { .op = STORE_ACCOUNT_PUT, .durability = STORE_FULL };
    change.account = row;
    assert_ok(store_commit(w->store, &change, 1));
}

static void pump(struct world *w);

static void world_open(struct world *w, unsigned workers, bool force_mail) {
    memset(w, 0, sizeof *w);
    w->now = (struct now){ 1000, 1700000000000 };
    w->workers = workers;
    w->store = store_memory_new();
    assert_non_null(w->store);
    add_account(w, 1, "alice");
    add_account(w, 2, "bob");
    static const uint8_t keys[2][32] = { { 1 }, { 2 } };
    for (uint32_t i = 0; i < 2; i++) {
        struct store_change change = { .op = STORE_DEVICE_PUT, .durability = STORE_FULL };
        change.device = (struct device_row){
            .id = i + 1, .account_id = i + 1, .kind = DEVICE_CERTIFICATE, .name = SLICE("phone")
        };
        memcpy(change.device.key_hash, keys[i], 32);
        assert_ok(store_commit(w->store, &change, 1));
    }
    struct node_config config;
    node_config_defaults(&config);
    config.workers = workers;
    config.domain_count = 1;
    config.domains[0] = SLICE("example.org");
    config.flows_max = 64;
    config.force_mail = force_mail;
    config.seal_key = seal;
    assert_ok(node_new(&config, w->store, w->now, &w->node));
    for (unsigned i = 0; i < workers; i++) {
        w->core[i] = core_new(w->node, i, seal, w->now);
        assert_non_null(w->core[i]);
    }
}

static void world_close(struct world *w) {
    for (unsigned i = 0; i < w->workers; i++) core_free(w->core[i]);
    node_free(w->node);
    store_close(w->store);
}

static void perform(struct world *w, unsigned worker, const struct core_effect *fx) {
    switch (fx->kind) {
    case FX_SEND: {
        assert_true(w->sent_count < SENT_MAX);
        struct sent *s = &w->sent[w->sent_count++];
        assert_true(fx->bytes.len < sizeof s->bytes);
        memcpy(s->bytes, fx->bytes.ptr, fx->bytes.len);
        s->len = fx->bytes.len;
        s->flow = fx->flow;
        break;
    }
    case FX_MAIL: {
        char *copy = mem_dup(fx->mail.bytes.ptr, fx->mail.bytes.len);
        assert_non_null(copy);
        struct core_mail mail = fx->mail;
        mail.bytes = slice_of(copy, fx->mail.bytes.len);
        core_mail_in(w->core[fx->worker], &mail, w->now);
        pump(w);
        mem_free(copy);
        break;
    }
    case FX_STORE:
        assert_ok(store_commit(w->store, fx->change, 1));
        if (fx->ticket && w->hold_store) {
            w->held_worker = worker;
            w->held[w->held_count++] = fx->ticket;
        } else if (fx->ticket) {
            core_stored(w->core[worker], fx->ticket, ERR_OK, w->now);
        }
        break;
    case FX_CLOSE:
        core_flow_closed(w->core[worker], fx->flow, w->now);
        break;
    case FX_TRACE:
    case FX_DNS:
    case FX_CONNECT:
    case FX_CONNECT_CANCEL:
        break;
    }
}

static void pump(struct world *w) {
    struct core_effect fx;
    for (unsigned i = 0; i < w->workers; i++)
        while (core_next_effect(w->core[i], &fx)) perform(w, i, &fx);
}

static flow_id flow_open(struct world *w, unsigned worker, uint16_t port, uint8_t key) {
    struct flow_info info = { .transport = FLOW_TLS,
                              .has_device_key = key != 0,
                              .device_key = { key } };
    flow_id f;
    assert_ok(addr_read(SLICE("192.0.2.1:5061"), &info.local));
    assert_ok(addr_read(SLICE("198.51.100.1:40000"), &info.peer));
    info.peer.port = port;
    assert_ok(core_flow_open(w->core[worker], &info, w->now, &f));
    pump(w);
    return f;
}

static void say(struct world *w, flow_id f, slice bytes) {
    w->sent_count = w->next = 0;
    core_receive(w->core[flow_worker(f)], f, bytes, w->now);
    pump(w);
}

/* The next message that was sent over f; it must be there. */
static struct sip_msg heard_msg;
static const struct sip_msg *heard(struct world *w, flow_id f) {
    for (; w->next < w->sent_count; w->next++)
        if (w->sent[w->next].flow == f) {
            slice bytes = slice_of(w->sent[w->next].bytes, w->sent[w->next].len);
            w->next++;
            struct sip_read r = sip_msg_read(&heard_msg, bytes, SIP_STREAM);
            if (r.err != ERR_OK) print_error("unreadable: " SLICE_FMT "\n", SLICE_ARG(bytes));
            assert_ok(r.err);
            assert_int_equal(r.used, bytes.len);
            return &heard_msg;
        }
    fail_msg("nothing was sent there");
    return NULL;
}

#define REGISTER(user)                                                                             \
    SLICE("REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/TLS 10.0.0.1;branch=z9hG4bKr" user     \
          "\r\nMax-Forwards: 70\r\nFrom: <sip:" user "@example.org>;tag=1\r\nTo: <sip:" user       \
          "@example.org>\r\nCall-ID: reg-" user "\r\nCSeq: 1 REGISTER\r\nContact: <sip:" user      \
          "@10.0.0.1:5061>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-00000000000" user     \
          ">\"\r\nContent-Length: 0\r\n\r\n")

#define SDP                                                                                        \
    "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"                      \
    "m=audio 4000 UDP/TLS/RTP/SAVP 0\r\n"                                                          \
    "a=fingerprint:SHA-256 "                                                                       \
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:"   \
    "EE:FF\r\na=setup:actpass\r\n"

static slice invite(char *mem, size_t len, const char *extra) {
    struct buf b = buf_over(mem, len);
    buf_fmt(&b,
            "INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/TLS 10.0.0.1;branch=z9hG4bKi1\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:alice@example.org>;tag=a1\r\n"
            "To: <sip:bob@example.org>\r\nCall-ID: call1\r\nCSeq: 1 INVITE\r\n"
            "Contact: <sip:alice@10.0.0.1>\r\n%sContent-Type: application/sdp\r\n"
            "Content-Length: %zu\r\n\r\n%s",
            extra, sizeof SDP - 1, SDP);
    assert_false(b.full);
    return buf_slice(&b);
}

/* A response to the request that was heard last. */
static slice respond(char *mem, size_t len, const char *line, slice sdp) {
    struct buf b = buf_over(mem, len);
    buf_fmt(&b, "SIP/2.0 %s\r\n", line);
    for (const struct sip_header *h = sip_first(&heard_msg, HDR_VIA); h;
         h = sip_next(&heard_msg, h))
        buf_put(&b, h->line);
    for (const struct sip_header *h = sip_first(&heard_msg, HDR_RECORD_ROUTE); h;
         h = sip_next(&heard_msg, h))
        buf_put(&b, h->line);
    buf_put(&b, sip_first(&heard_msg, HDR_FROM)->line);
    buf_lit(&b, "To: ");
    buf_put(&b, sip_value(&heard_msg, HDR_TO));
    if (!heard_msg.to.tag.len) buf_lit(&b, ";tag=b1");
    buf_lit(&b, "\r\nContact: <sip:bob@10.0.0.2>\r\n");
    buf_put(&b, sip_first(&heard_msg, HDR_CALL_ID)->line);
    buf_put(&b, sip_first(&heard_msg, HDR_CSEQ)->line);
    if (sdp.len) buf_lit(&b, "Content-Type: application/sdp\r\n");
    buf_lit(&b, "Content-Length: ");
    buf_u64(&b, sdp.len);
    buf_lit(&b, "\r\n\r\n");
    buf_put(&b, sdp);
    assert_false(b.full);
    return buf_slice(&b);
}

static void register_both(struct world *w, flow_id alice, flow_id bob) {
    say(w, alice, REGISTER("alice"));
    assert_int_equal(heard(w, alice)->status, 200);
    say(w, bob, REGISTER("bob"));
    assert_int_equal(heard(w, bob)->status, 200);
}

/* Sets a call up; the Route value for requests inside it goes to `route`. */
static void call_up(struct world *w, flow_id alice, flow_id bob, char *route, size_t route_len) {
    char mem[8192];
    say(w, alice, invite(mem, sizeof mem, ""));
    assert_int_equal(heard(w, alice)->status, 100);
    w->next = 0;
    assert_int_equal(heard(w, bob)->method, SIP_INVITE);
    assert_slice(heard_msg.uri_text, "sip:bob@10.0.0.1:5061");
    assert_int_equal(heard_msg.max_forwards, 69);
    slice value = sip_value(&heard_msg, HDR_RECORD_ROUTE);
    assert_true(value.len && value.len < route_len);
    memcpy(route, value.ptr, value.len);
    route[value.len] = 0;
    struct sip_msg kept = heard_msg;
    slice ringing = respond(mem, sizeof mem, "180 Ringing", SLICE_NONE);
    char invite_mem[8192];
    memcpy(invite_mem, kept.all.ptr, kept.all.len);
    slice kept_bytes = slice_of(invite_mem, kept.all.len);
    say(w, bob, ringing);
    assert_int_equal(heard(w, alice)->status, 180);
    assert_ok(sip_msg_read(&heard_msg, kept_bytes, SIP_STREAM).err);
    say(w, bob, respond(mem, sizeof mem, "200 OK", SLICE(SDP)));
    assert_int_equal(heard(w, alice)->status, 200);
    assert_null(sip_next(&heard_msg, sip_first(&heard_msg, HDR_VIA))); /* ours is gone */
}

static slice in_dialog(char *mem, size_t len, const char *method, const char *route,
                       bool from_alice) {
    struct buf b = buf_over(mem, len);
    buf_fmt(&b,
            "%s sip:x@10.0.0.9 SIP/2.0\r\nVia: SIP/2.0/TLS 10.0.0.1;branch=z9hG4bK%s%d\r\n"
            "Max-Forwards: 70\r\nRoute: %s\r\nFrom: <sip:f@example.org>;tag=%s\r\n"
            "To: <sip:t@example.org>;tag=%s\r\nCall-ID: call1\r\nCSeq: %s %s\r\n"
            "Content-Length: 0\r\n\r\n",
            method, method, from_alice, route, from_alice ? "a1" : "b1", from_alice ? "b1" : "a1",
            strcmp(method, "ACK") == 0 ? "1" : "2", method);
    assert_false(b.full);
    return buf_slice(&b);
}

static void one_call(unsigned workers, bool force_mail) {
    struct world w;
    char route[512], mem[8192];
    world_open(&w, workers, force_mail);
    flow_id alice = flow_open(&w, 0, 1001, 1), bob = flow_open(&w, workers - 1, 1002, 2);
    register_both(&w, alice, bob);
    call_up(&w, alice, bob, route, sizeof route);
    say(&w, alice, in_dialog(mem, sizeof mem, "ACK", route, true));
    assert_int_equal(heard(&w, bob)->method, SIP_ACK);
    assert_null(sip_first(&heard_msg, HDR_ROUTE));
    /* The callee hangs up: this is where home-made proxies break. */
    say(&w, bob, in_dialog(mem, sizeof mem, "BYE", route, false));
    assert_int_equal(heard(&w, alice)->method, SIP_BYE);
    say(&w, alice, respond(mem, sizeof mem, "200 OK", SLICE_NONE));
    assert_int_equal(heard(&w, bob)->status, 200);
    world_close(&w);
}

static void a_call_between_two_phones(void **state) {
    (void)state;
    one_call(1, false);
}
static void a_call_across_workers(void **state) {
    (void)state;
    one_call(2, false);
}
static void a_call_with_every_message_mailed(void **state) {
    (void)state;
    one_call(2, true);
    one_call(1, true);
}

/* architecture.md section 4: a phone that reconnected in mid-call keeps its call. */
static void a_phone_that_reconnects_keeps_its_call(void **state) {
    (void)state;
    struct world w;
    char route[512], mem[8192];
    world_open(&w, 2, false);
    flow_id alice = flow_open(&w, 0, 1001, 1), bob = flow_open(&w, 1, 1002, 2);
    register_both(&w, alice, bob);
    call_up(&w, alice, bob, route, sizeof route);
    core_flow_closed(w.core[1], bob, w.now);
    pump(&w);
    say(&w, alice, in_dialog(mem, sizeof mem, "INFO", route, true));
    assert_int_equal(heard(&w, alice)->status, 480);
    flow_id again = flow_open(&w, 0, 1003, 2);
    slice reg = REGISTER("bob");
    char copy[2048];
    memcpy(copy, reg.ptr, reg.len);
    copy[slice_find_slice(slice_of(copy, reg.len), SLICE("CSeq: 1")) + 6] = '2';
    say(&w, again, slice_of(copy, reg.len));
    assert_int_equal(heard(&w, again)->status, 200);
    say(&w, alice, in_dialog(mem, sizeof mem, "BYE", route, true));
    assert_int_equal(heard(&w, again)->method, SIP_BYE);
    world_close(&w);
}

static uint32_t calls_after(struct world *w, int64_t ms, flow_id alice, flow_id bob) {
    w->now.mono += ms;
    w->now.wall += ms;
    core_flow_heard(w->core[0], alice, w->now); /* keep-alives say nothing about the call */
    core_flow_heard(w->core[0], bob, w->now);
    core_run_timers(w->core[0], w->now);
    pump(w);
    return dialogs_count(node_dialogs(w->node));
}

/* architecture.md section 6: the record of a call in which nothing is said goes after 24 hours,
 * also when both phones are there. (5 minutes without either: tests/replay.) */
static void a_silent_call_is_forgotten_after_a_day(void **state) {
    (void)state;
    struct world w;
    char route[512], mem[8192];
    const int64_t day = 24 * 3600 * INT64_C(1000);
    world_open(&w, 1, false);
    flow_id alice = flow_open(&w, 0, 1001, 1), bob = flow_open(&w, 0, 1002, 2);
    register_both(&w, alice, bob);
    call_up(&w, alice, bob, route, sizeof route);
    assert_int_equal(calls_after(&w, day - 2000, alice, bob), 1);
    say(&w, alice, in_dialog(mem, sizeof mem, "INFO", route, true));
    assert_int_equal(heard(&w, bob)->method, SIP_INFO);
    assert_int_equal(calls_after(&w, day - 2000, alice, bob), 1);
    assert_int_equal(calls_after(&w, 2000, alice, bob), 0);
    world_close(&w);
}

/* architecture.md section 4: the 200 of a new binding waits for its commit. */
static void a_registration_waits_for_its_commit(void **state) {
    (void)state;
    struct world w;
    world_open(&w, 1, false);
    flow_id alice = flow_open(&w, 0, 1001, 1);
    w.hold_store = true;
    say(&w, alice, REGISTER("alice"));
    assert_int_equal(w.sent_count, 0);
    assert_int_equal(w.held_count, 1);
    core_stored(w.core[0], w.held[0], ERR_OK, w.now);
    pump(&w);
    assert_int_equal(heard(&w, alice)->status, 200);
    w.held_count = 0;
    say(&w, alice, REGISTER("alice"));
    world_close(&w);
}

/* guard/guard.h: 200 connections of one source at once, then 10 a second; others are not held. */
static void a_flood_of_connections_is_held(void **state) {
    (void)state;
    struct world w;
    struct addr source, other;
    world_open(&w, 1, false);
    assert_ok(addr_read(SLICE("198.51.100.1:4000"), &source));
    assert_ok(addr_read(SLICE("198.51.100.2:4000"), &other));
    unsigned allowed = 0;
    for (unsigned i = 0; i < 1000; i++) allowed += core_may_connect(w.core[0], &source, w.now);
    assert_int_equal(allowed, 200);
    assert_true(core_may_connect(w.core[0], &other, w.now));
    w.now.mono += 1000;
    for (unsigned i = 0; i < 1000; i++) allowed += core_may_connect(w.core[0], &source, w.now);
    assert_int_equal(allowed, 210);
    world_close(&w);
}

int main(void) {
    assert_ok(crypto_init());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_between_two_phones),
        cmocka_unit_test(a_call_across_workers),
        cmocka_unit_test(a_call_with_every_message_mailed),
        cmocka_unit_test(a_phone_that_reconnects_keeps_its_call),
        cmocka_unit_test(a_silent_call_is_forgotten_after_a_day),
        cmocka_unit_test(a_registration_waits_for_its_commit),
        cmocka_unit_test(a_flood_of_connections_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
