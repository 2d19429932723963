/* Response contexts by hand: what a scenario cannot say, above all branches whose flow is found
 * later. The rules of the RFCs are told in tests/replay. */
#include "unit.h"

#include "base/buf.h"
#include "core/core_priv.h"
#include "crypto/crypto.h"

#define SENT_MAX 32

struct sent {
    flow_id flow;
    char bytes[4096];
    size_t len;
};
static struct world {
    struct store *store;
    struct node *node;
    struct core *core;
    struct now now;
    flow_id caller;
    struct sent sent[SENT_MAX];
    unsigned sent_count;
    unsigned asked, asked_branch; /* find_flow: how often, and for which branch last */
    uint64_t asked_owner, asked_ticket;
    unsigned say_status; /* what it answers */
    flow_id say_flow;
} w;

static unsigned find_flow(struct core *c, uint64_t owner, unsigned branch, const struct target *to,
                          flow_id *out) {
    (void)c;
    w.asked++;
    w.asked_owner = owner;
    w.asked_branch = branch;
    w.asked_ticket = to->ticket;
    *out = w.say_flow;
    return w.say_status;
}

static void drain(void) {
    core_pump(w.core); /* what a door of context.h was told by hand */
    for (struct core_effect fx; core_next_effect(w.core, &fx);) {
        if (fx.kind != FX_SEND) continue;
        assert_true(w.sent_count < SENT_MAX && fx.bytes.len < sizeof w.sent[0].bytes);
        struct sent *s = &w.sent[w.sent_count++];
        s->flow = fx.flow;
        s->len = fx.bytes.len;
        memcpy(s->bytes, fx.bytes.ptr, fx.bytes.len);
    }
}

static flow_id flow_new(uint16_t port) {
    struct flow_info info = { .transport = FLOW_TLS };
    flow_id f;
    assert_ok(addr_read(SLICE("192.0.2.1:5061"), &info.local));
    assert_ok(addr_read(SLICE("198.51.100.1:40000"), &info.peer));
    info.peer.port = port;
    assert_ok(core_flow_open(w.core, &info, w.now, &f));
    drain();
    return f;
}

static void world_open(void) {
    static const uint8_t seal[32] = { 7 };
    memset(&w, 0, sizeof w);
    w.now = (struct now){ 1000, 1700000000000 };
    w.store = store_memory_new();
    assert_non_null(w.store);
    struct node_config config;
    node_config_defaults(&config);
    config.workers = 1;
    config.domain_count = 1;
    config.domains[0] = SLICE("example.org");
    config.flows_max = 16;
    config.seal_key = seal;
    assert_ok(node_new(&config, w.store, w.now, &w.node));
    w.core = core_new(w.node, 0, seal, w.now);
    assert_non_null(w.core);
    w.core->find_flow = find_flow;
    w.caller = flow_new(40000);
}

static void world_close(void) {
    core_free(w.core);
    node_free(w.node);
    store_close(w.store);
}

static void later(int ms) {
    w.now.mono += ms;
    w.now.wall += ms;
    core_run_timers(w.core, w.now);
    drain();
}

/* An INVITE of nobody in particular goes to these targets. */
static void invite_to(const struct target *targets, unsigned count) {
    slice text = SLICE("INVITE sip:bob@example.org SIP/2.0\r\n"
                       "Via: SIP/2.0/TLS 10.0.0.1;branch=z9hG4bKi1\r\nMax-Forwards: 70\r\n"
                       "From: <sip:alice@example.org>;tag=a1\r\nTo: <sip:bob@example.org>\r\n"
                       "Call-ID: call1\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@10.0.0.1>\r\n"
                       "Content-Length: 0\r\n\r\n");
    core_begin(w.core, w.now);
    assert_ok(sip_msg_read(&w.core->msg, text, SIP_STREAM).err);
    struct relay_plan plan = { .flow = flow_get(w.core, w.caller),
                               .msg = &w.core->msg,
                               .targets = targets,
                               .target_count = count,
                               .max_breadth = 60,
                               .call_hash = 1 };
    context_start(w.core, &plan);
    drain();
}

/* The last thing but an ACK that was sent over f, and forgets all; NULL: nothing. */
static const struct sip_msg *heard(flow_id f) {
    static struct sip_msg m;
    static struct sent last;
    bool has = false;
    for (unsigned i = 0; i < w.sent_count; i++)
        if (w.sent[i].flow == f && memcmp(w.sent[i].bytes, "ACK", 3) != 0) {
            last = w.sent[i];
            has = true;
        }
    w.sent_count = 0;
    if (!has) return NULL;
    assert_ok(sip_msg_read(&m, slice_of(last.bytes, last.len), SIP_STREAM).err);
    return &m;
}

static const struct sip_msg *must_hear(flow_id f) {
    const struct sip_msg *m = heard(f);
    assert_non_null(m);
    return m;
}

static void answer(flow_id f, const char *line) {
    static struct sip_msg request;
    char mem[4096];
    struct buf b = buf_over(mem, sizeof mem);
    request = *must_hear(f);
    buf_fmt(&b, "SIP/2.0 %s\r\n", line);
    for (const struct sip_header *h = sip_first(&request, HDR_VIA); h; h = sip_next(&request, h))
        buf_put(&b, h->line);
    buf_put(&b, sip_first(&request, HDR_FROM)->line);
    buf_lit(&b, "To: <sip:bob@example.org>;tag=b1\r\nCall-ID: call1\r\nCSeq: 1 INVITE\r\n"
                "Content-Length: 0\r\n\r\n");
    core_receive(w.core, f, buf_slice(&b), w.now);
    drain();
}

static void invite_peer(void) {
    struct target peer = { .ticket = 9, .request_uri = SLICE("sip:bob@other.example") };
    invite_to(&peer, 1);
}

static void a_branch_waits_for_its_flow(void **state) {
    (void)state;
    world_open();
    invite_peer();
    assert_int_equal(w.asked, 1);
    assert_int_equal(w.asked_ticket, 9);
    assert_int_equal(must_hear(w.caller)->status, 100);
    later(5000);
    flow_id f = flow_new(5061);
    core_begin(w.core, w.now);
    assert_false(context_branch_flow(w.core, w.asked_owner, w.asked_branch + 1, f));
    assert_true(context_branch_flow(w.core, w.asked_owner, w.asked_branch, f));
    assert_false(context_branch_flow(w.core, w.asked_owner, w.asked_branch, f));
    drain();
    const struct sip_msg *m = heard(f);
    assert_non_null(m);
    assert_slice(m->uri_text, "sip:bob@other.example");
    assert_int_equal(m->max_forwards, 69);
    world_close();
}

static void no_flow_is_found(void **state) {
    (void)state;
    world_open();
    invite_peer();
    core_begin(w.core, w.now);
    context_branch_no_flow(w.core, w.asked_owner, w.asked_branch, 404, "No such domain");
    drain();
    const struct sip_msg *m = heard(w.caller);
    assert_int_equal(m->status, 404);
    assert_true(slice_find(sip_value(m, HDR_WARNING), 'N') < sip_value(m, HDR_WARNING).len);
    core_begin(w.core, w.now);
    assert_false(context_branch_flow(w.core, w.asked_owner, w.asked_branch, w.caller));
    world_close();
}

static void a_flow_is_known_already(void **state) {
    (void)state;
    world_open();
    flow_id f = w.say_flow = flow_new(5061);
    invite_peer();
    assert_int_equal(must_hear(f)->method, SIP_INVITE);
    world_close();
    world_open();
    w.say_status = 502;
    invite_peer();
    assert_int_equal(must_hear(w.caller)->status, 502);
    world_close();
    world_open();
    w.core->find_flow = NULL;
    invite_peer();
    assert_int_equal(must_hear(w.caller)->status, 503);
    world_close();
}

/* RFC 3261 16.10: what has not been sent needs no CANCEL and waits for nobody. */
static void a_waiting_branch_is_cancelled(void **state) {
    (void)state;
    world_open();
    invite_peer();
    core_begin(w.core, w.now);
    struct context *x = context_get(w.core, w.asked_owner);
    assert_non_null(x);
    x->is_cancelled = true;
    context_stop(w.core, x, SLICE_NONE);
    context_settle(w.core, x);
    drain();
    assert_int_equal(must_hear(w.caller)->status, 487);
    core_begin(w.core, w.now);
    assert_false(context_branch_flow(w.core, w.asked_owner, w.asked_branch, flow_new(5061)));
    later(40000);
    assert_int_equal(w.core->contexts.used, 0);
    world_close();
}

/* RFC 3263 4.3: 503 leads to the next server of the same ticket, 486 does not. */
static void the_next_server_is_asked_for(void **state) {
    (void)state;
    static const char *const lines[] = { "503 Service Unavailable", "486 Busy Here" };
    for (unsigned i = 0; i < 2; i++) {
        world_open();
        flow_id f = w.say_flow = flow_new(5061);
        invite_peer();
        w.say_flow = FLOW_NONE;
        answer(f, lines[i]);
        assert_int_equal(w.asked, i ? 1 : 2);
        if (i) {
            assert_int_equal(must_hear(w.caller)->status, 486);
        } else {
            assert_null(heard(w.caller));
            assert_int_equal(w.asked_ticket, 9);
            flow_id g = flow_new(5062);
            core_begin(w.core, w.now);
            assert_true(context_branch_flow(w.core, w.asked_owner, w.asked_branch, g));
            drain();
            assert_slice(must_hear(g)->uri_text, "sip:bob@other.example");
        }
        world_close();
    }
}

/* Whoever finds servers without end is stopped by LIMIT_TARGETS. */
static void servers_without_end(void **state) {
    (void)state;
    world_open();
    w.say_flow = flow_new(5061);
    node_flow_down(w.node, w.say_flow);
    invite_peer();
    assert_int_equal(w.asked, LIMIT_TARGETS);
    assert_int_equal(must_hear(w.caller)->status, 503); /* a server, no phone */
    world_close();
}

static void targets_are_added_within_the_limit(void **state) {
    (void)state;
    struct target many[LIMIT_TARGETS] = { 0 };
    world_open();
    flow_id f = flow_new(5061);
    struct target first = { .flow = f, .q = 500 };
    invite_to(&first, 1);
    uint32_t at = 0;
    pool_id id;
    struct context *x = pool_each(&w.core->contexts, &at, &id);
    assert_non_null(x);
    assert_int_equal(context_add_targets(w.core, x, many, LIMIT_TARGETS), ERR_FULL);
    assert_int_equal(x->branch_count, 1);
    many[0] = (struct target){ .flow = f, .request_uri = SLICE("sip:second@example.org") };
    assert_ok(context_add_targets(w.core, x, many, 1));
    answer(f, "486 Busy Here");
    assert_slice(must_hear(f)->uri_text, "sip:second@example.org");
    world_close();
}

/* Whatever allocation fails, the caller gets one final answer and nothing is left. */
static void short_of_memory(void **state) {
    (void)state;
    bool failed = true;
    for (int n = 0; failed; n++) {
        int64_t base = mem_live();
        world_open();
        flow_id f = flow_new(5061);
        struct target targets[3] = {
            { .flow = f, .q = 1000, .instance = 5, .request_uri = SLICE("sip:a@a.example") },
            { .flow = f, .q = 900, .instance = 5, .request_uri = SLICE("sip:b@b.example") },
            { .ticket = 9, .q = 500, .request_uri = SLICE("sip:c@c.example") }
        };
        mem_fail_at(n);
        invite_to(targets, 3);
        failed = mem_failed();
        mem_fail_at(-1);
        if (w.core->contexts.used) {
            core_flow_closed(w.core, f, w.now);
            drain();
            w.say_status = 404;
            for (unsigned i = 0; i < 60; i++) later(10000);
            assert_true(must_hear(w.caller)->status >= 400);
        }
        assert_int_equal(w.core->open_contexts, 0);
        assert_int_equal(w.core->contexts.used, 0);
        world_close();
        assert_int_equal(mem_live(), base);
    }
}

int main(void) {
    assert_ok(crypto_init());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_branch_waits_for_its_flow),
        cmocka_unit_test(no_flow_is_found),
        cmocka_unit_test(a_flow_is_known_already),
        cmocka_unit_test(a_waiting_branch_is_cancelled),
        cmocka_unit_test(the_next_server_is_asked_for),
        cmocka_unit_test(servers_without_end),
        cmocka_unit_test(targets_are_added_within_the_limit),
        cmocka_unit_test(short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
