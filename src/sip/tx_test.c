#include "unit.h"

#include "sip/tx.h"
#include "sip/tx_inner.h"
#include <string.h>

/* ---- a small world: one table, virtual time, and a log of what it did ---- */

enum { T1 = 500, T2 = 4000, T4 = 5000, LIFE = 64 * T1 };
static const struct hash_key KEY = { 7, 11 };
static const uint64_t FLOW = 77, OWNER = 4711;

struct world {
    struct tx_table *t;
    mono_t now;
    char log[4096];
    size_t log_len;
};

static void world_open_with(struct world *w, struct tx_limits limits) {
    *w = (struct world){ .now = 1000000 };
    w->t = tx_table_new(&limits, &KEY, w->now);
    assert_non_null(w->t);
}

static void world_open(struct world *w) {
    world_open_with(w, (struct tx_limits){ 64, 1 << 20, T1, T2, T4 });
}

static void world_close(struct world *w) {
    tx_table_free(w->t);
}

/* The word that tells messages apart: a method, or a status. */
static slice message_word(slice bytes) {
    if (slice_starts(bytes, SLICE("SIP/2.0 "))) return slice_head(slice_from(bytes, 8), 3);
    return slice_head(bytes, slice_find(bytes, ' '));
}

static const char *const effect_names[] = { "SEND",      "TIMED_OUT", "NO_ACK",
                                            "FLOW_GONE", "SLOW",      "END" };

/* Takes out all effects; the log grows by "+<ms since start> <word>". */
static void drain(struct world *w) {
    for (struct tx_effect e; tx_next_effect(w->t, &e);) {
        slice word = e.what == TX_DO_SEND ? message_word(e.bytes) : slice_str(effect_names[e.what]);
        assert_int_equal(e.owner, OWNER);
        int n = snprintf(w->log + w->log_len, sizeof(w->log) - w->log_len, "%s%d " SLICE_FMT,
                         w->log_len ? ", " : "", (int)(w->now - 1000000), SLICE_ARG(word));
        assert_true(n > 0 && w->log_len + (size_t)n < sizeof(w->log));
        w->log_len += (size_t)n;
    }
}

/* Lets `ms` pass, waking as the table asks. */
static void pass(struct world *w, int ms) {
    drain(w);
    mono_t until = w->now + ms;
    for (;;) {
        mono_t at = tx_wake_at(w->t);
        if (at > until) break;
        if (at > w->now) w->now = at;
        tx_run_timers(w->t, w->now);
        drain(w);
    }
    w->now = until;
    tx_run_timers(w->t, w->now);
    drain(w);
}

/* All that happened since the last call must be this. */
#define assert_log(w, text)                                                                        \
    do {                                                                                           \
        drain(w);                                                                                  \
        assert_string_equal((w)->log, text);                                                       \
        (w)->log[0] = '\0';                                                                        \
        (w)->log_len = 0;                                                                          \
    } while (0)

static struct sip_msg *read_into(struct sip_msg *m, const char *text) {
    struct sip_read r = sip_msg_read(m, unit_guard(text, strlen(text)), SIP_DATAGRAM);
    if (r.err != ERR_OK) print_error("%s: %s\n", sip_bad_text(r.why), text);
    assert_ok(r.err);
    return m;
}

struct shape {
    const char *method, *uri, *via, *from_tag, *to_tag, *call_id;
    unsigned cseq;
};
#define VIA(branch) "SIP/2.0/UDP pc33.example.com:5066;branch=" branch
#define SHAPE(m)                                                                                   \
    { (m), "sip:bob@example.com", VIA("z9hG4bKone"), "a1", "", "c1", 7 }

static const struct sip_msg *request_of(struct shape s) {
    static struct sip_msg m;
    char text[2048];
    (void)snprintf(text, sizeof(text),
                   "%s %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>"
                   ";tag=%s\r\nTo: Bob <sip:bob@example.com>%s%s\r\nCall-ID: %s\r\nCSeq: %u %s\r\n"
                   "Content-Length: 0\r\n\r\n",
                   s.method, s.uri, s.via, s.from_tag, s.to_tag[0] ? ";tag=" : "", s.to_tag,
                   s.call_id, s.cseq, s.method);
    return read_into(&m, text);
}
static const struct sip_msg *request(const char *method) {
    return request_of((struct shape)SHAPE(method));
}

static const char *response_text(unsigned status, const char *method, const char *to_tag) {
    static char text[1024];
    (void)snprintf(
        text, sizeof(text),
        "SIP/2.0 %u Word\r\nVia: " VIA(
            "z9hG4bKone") "\r\nFrom: <sip:alice@example.com>"
                          ";tag=a1\r\nTo: Bob <sip:bob@example.com>;tag=%s\r\nCall-ID: c1\r\n"
                          "CSeq: 7 %s\r\nContent-Length: 0\r\n\r\n",
        status, to_tag, method);
    return text;
}
static slice response_bytes(unsigned status) {
    return slice_str(response_text(status, "INVITE", "b1"));
}
static const struct sip_msg *response(unsigned status, const char *method) {
    static struct sip_msg m;
    return read_into(&m, response_text(status, method, "b1"));
}

#define INVITE_TEXT                                                                                \
    "INVITE sip:bob@example.com SIP/2.0\r\n"                                                       \
    "Via: " VIA(                                                                                   \
        "z9hG4bKone") "\r\n"                                                                       \
                      "Route: <sip:p1.example.com;lr>,\r\n <sip:p2.example.com;lr>\r\n"            \
                      "Max-Forwards: 69\r\nFrom: <sip:alice@example.com>;tag=a1\r\n"               \
                      "To: Bob <sip:bob@example.com>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\n"         \
                      "Route: <sip:p3.example.com;lr>\r\nRequire: 100rel\r\n"                      \
                      "Content-Type: application/sdp\r\nContent-Length: 7\r\n\r\nv=0\r\n\r\n"
#define OPTIONS_TEXT                                                                               \
    "OPTIONS sip:bob@example.com SIP/2.0\r\nVia: " VIA(                                            \
        "z9hG4bKone") "\r\nMax-Forwards: 69\r\n"                                                   \
                      "From: <sip:alice@example.com>;tag=a1\r\nTo: Bob "                           \
                      "<sip:bob@example.com>\r\nCall-ID: c1\r\n"                                   \
                      "CSeq: 7 OPTIONS\r\nContent-Length: 0\r\n\r\n"

enum { DATAGRAM = 0, RELIABLE = 1 };

static tx_id client_open(struct world *w, enum tx_kind kind, const char *text, bool reliable) {
    tx_id id;
    assert_ok(tx_client_reserve(w->t, kind, OWNER, &id));
    assert_int_equal(tx_state_of(w->t, id), TX_RESERVED);
    slice bytes = unit_guard(text, strlen(text));
    assert_ok(tx_client_start(w->t, id, bytes, FLOW, reliable, w->now));
    return id;
}
static tx_id invite_client(struct world *w, bool reliable) {
    return client_open(w, TX_INVITE_CLIENT, INVITE_TEXT, reliable);
}
static tx_id options_client(struct world *w, bool reliable) {
    return client_open(w, TX_OTHER_CLIENT, OPTIONS_TEXT, reliable);
}

static bool passes(struct world *w, tx_id id, unsigned status, const char *method) {
    uint64_t owner = 0;
    enum tx_response r = tx_client_response(w->t, id, response(status, method), w->now, &owner);
    if (r == TX_PASS) assert_int_equal(owner, OWNER);
    return r == TX_PASS;
}

static tx_id server_open_as(struct world *w, const struct sip_msg *req, bool reliable) {
    tx_id id;
    assert_int_equal(tx_match_request(w->t, req, w->now, &id), TX_NEW);
    assert_ok(tx_server_open(w->t, req, FLOW, reliable, OWNER, w->now, &id));
    return id;
}
static tx_id server_open(struct world *w, const char *method, bool reliable) {
    return server_open_as(w, request(method), reliable);
}
static enum tx_match match(struct world *w, const struct sip_msg *req) {
    tx_id id = POOL_ID_NONE;
    return tx_match_request(w->t, req, w->now, &id);
}
static enum err respond(struct world *w, tx_id id, unsigned status) {
    return tx_server_respond(w->t, id, status, response_bytes(status), w->now);
}

/* ---- INVITE client ---- */

static void invite_client_timers_a_and_b(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    /* RFC 3261 17.1.1.2: A starts at T1 and doubles; B ends it after 64*T1: seven sends in all. */
    tx_id id = invite_client(&w, DATAGRAM);
    assert_int_equal(tx_state_of(w.t, id), TX_CALLING);
    pass(&w, 40000);
    assert_log(&w, "500 INVITE, 1500 INVITE, 3500 INVITE, 7500 INVITE, 15500 INVITE, "
                   "31500 INVITE, 32000 TIMED_OUT, 32000 END");
    assert_int_equal(tx_count(w.t), 0);
    /* RFC 3261 17.1.1.2: over a reliable transport no timer A. */
    (void)invite_client(&w, RELIABLE);
    pass(&w, 31999);
    assert_log(&w, "");
    pass(&w, 1);
    assert_log(&w, "72000 TIMED_OUT, 72000 END");
    world_close(&w);
}

static void invite_client_provisional_stops_timers(void **state) {
    (void)state;
    for (int reliable = 0; reliable < 2; reliable++) {
        struct world w;
        world_open(&w);
        tx_id id = invite_client(&w, reliable);
        assert_true(passes(&w, id, 100, "INVITE"));
        assert_int_equal(tx_state_of(w.t, id), TX_PROCEEDING);
        pass(&w, 600000); /* RFC 3261 17.1.1.2: no A, no B; timer C is the proxy's */
        assert_log(&w, "");
        assert_true(passes(&w, id, 180, "INVITE"));
        assert_true(passes(&w, id, 180, "INVITE")); /* every provisional goes up */
        assert_int_equal(tx_status(w.t, id), 180);
        assert_int_equal(tx_flow(w.t, id), FLOW);
        assert_int_equal(tx_owner(w.t, id), OWNER);
        assert_slice(tx_request(w.t, id), INVITE_TEXT);
        world_close(&w);
    }
}

static void invite_client_accepted(void **state) {
    (void)state;
    for (int reliable = 0; reliable < 2; reliable++) {
        struct world w;
        world_open(&w);
        tx_id id = invite_client(&w, reliable);
        assert_true(passes(&w, id, 200, "INVITE"));
        assert_int_equal(tx_state_of(w.t, id), TX_ACCEPTED);
        pass(&w, 31000);
        /* RFC 6026 7.2: each 2xx goes to the owner; no ACK is made here. */
        assert_true(passes(&w, id, 200, "INVITE"));
        assert_true(passes(&w, id, 202, "INVITE"));
        assert_false(passes(&w, id, 180, "INVITE"));
        assert_false(passes(&w, id, 486, "INVITE"));
        pass(&w, 999);
        assert_log(&w, "");
        pass(&w, 1); /* timer M, on every transport */
        assert_log(&w, "32000 END");
        assert_false(passes(&w, id, 200, "INVITE")); /* RFC 6026 7.2: no match: dropped */
        world_close(&w);
    }
}

static void invite_client_acknowledges_failures(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = invite_client(&w, DATAGRAM);
    pass(&w, 100);
    assert_true(passes(&w, id, 486, "INVITE"));
    struct tx_effect e;
    assert_true(tx_next_effect(w.t, &e));
    assert_int_equal(e.what, TX_DO_SEND);
    assert_int_equal(e.flow, FLOW);
    assert_int_equal(e.kind, TX_INVITE_CLIENT);
    /* RFC 3261 17.1.1.3: Request-URI, top Via, Route, From, Call-ID, CSeq number of the request,
     * To of the response, no body. */
    assert_slice(
        e.bytes,
        "ACK sip:bob@example.com SIP/2.0\r\n"
        "Via: " VIA("z9hG4bKone") "\r\n"
                                  "Route: <sip:p1.example.com;lr>,\r\n <sip:p2.example.com;lr>\r\n"
                                  "Route: <sip:p3.example.com;lr>\r\n"
                                  "Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a1\r\n"
                                  "To: Bob <sip:bob@example.com>;tag=b1\r\nCall-ID: c1\r\n"
                                  "CSeq: 7 ACK\r\nContent-Length: 0\r\n\r\n");
    assert_log(&w, "");
    pass(&w, 20000);
    assert_false(passes(&w, id, 486, "INVITE")); /* 17.1.1.2: ACK again, not to the owner */
    assert_false(passes(&w, id, 180, "INVITE"));
    assert_false(passes(&w, id, 200, "INVITE"));
    assert_log(&w, "20100 ACK");
    pass(&w, 12000); /* timer D: at least 32 s */
    assert_log(&w, "32100 END");
    /* A reliable transport: D is zero. */
    id = invite_client(&w, RELIABLE);
    assert_true(passes(&w, id, 180, "INVITE"));
    assert_true(passes(&w, id, 603, "INVITE"));
    assert_int_equal(tx_state_of(w.t, id), TX_FREE);
    assert_log(&w, "32100 ACK, 32100 END");
    world_close(&w);
}

static void ack_and_cancel_from_a_difficult_request(void **state) {
    (void)state;
    /* Compact names, folding, white space before the colon, several Vias in one line. */
    slice req = SLICE("INVITE sips:b@h SIP/2.0\r\n"
                      "v : SIP/2.0/TLS a;x=\"q,\\\"\";branch=z9hG4bK1 , SIP/2.0/TCP b\r\n"
                      "v: SIP/2.0/TCP c\r\nf:\r\n <sip:x@y>\r\n\t;tag=1\r\nT:<sip:b@h>\r\n"
                      "i:id@h\r\nCSEQ:  0007   INVITE\r\nrOUTE: <sip:r;lr>\r\nRouter: no\r\n\r\n"
                      "Route: <sip:body>\r\n");
    char mem[1024];
    struct buf b = buf_over(mem, sizeof(mem));
    assert_ok(tx_make_ack(unit_guard(req.ptr, req.len), SLICE("<sip:b@h>;tag=9"), &b));
    assert_slice(buf_slice(&b), "ACK sips:b@h SIP/2.0\r\n"
                                "Via: SIP/2.0/TLS a;x=\"q,\\\"\";branch=z9hG4bK1\r\n"
                                "rOUTE: <sip:r;lr>\r\nMax-Forwards: 70\r\n"
                                "From: <sip:x@y>\r\n\t;tag=1\r\nTo: <sip:b@h>;tag=9\r\n"
                                "Call-ID: id@h\r\nCSeq: 0007 ACK\r\nContent-Length: 0\r\n\r\n");
    buf_clear(&b);
    assert_ok(tx_make_cancel(req, SLICE("SIP;cause=200;text=\"Call completed elsewhere\""), &b));
    assert_slice(buf_slice(&b), "CANCEL sips:b@h SIP/2.0\r\n"
                                "Via: SIP/2.0/TLS a;x=\"q,\\\"\";branch=z9hG4bK1\r\n"
                                "rOUTE: <sip:r;lr>\r\nMax-Forwards: 70\r\n"
                                "From: <sip:x@y>\r\n\t;tag=1\r\nTo: <sip:b@h>\r\n"
                                "Call-ID: id@h\r\nCSeq: 0007 CANCEL\r\n"
                                "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n"
                                "Content-Length: 0\r\n\r\n");
    b = buf_over(mem, 60);
    assert_err(tx_make_ack(req, SLICE("<sip:b@h>;tag=9"), &b), ERR_FULL);
    b = buf_over(mem, sizeof(mem));
    assert_err(tx_make_ack(SLICE("INVITE sip:b@h SIP/2.0\r\nVia: x\r\n\r\n"), SLICE("t"), &b),
               ERR_BAD);
    slice method, uri;
    assert_err(tx_request_line(SLICE("SIP/2.0 200 OK\r\n"), &method, &uri), ERR_BAD);
    assert_err(tx_request_line(SLICE("INVITE sip:a\r\n SIP/2.0\r\n"), &method, &uri), ERR_BAD);
    assert_err(tx_request_line(SLICE("INVITE"), &method, &uri), ERR_BAD);
    assert_err(tx_request_line(SLICE_NONE, &method, &uri), ERR_BAD);
}

static void to_tag_is_found(void **state) {
    (void)state;
#define HEAD "SIP/2.0 200 OK\r\nVia: x;tag=no\r\n"
    assert_slice(tx_to_tag(UNIT_GUARD(HEAD "To: <sip:a;tag=no>;x=1;Tag=yes\r\n\r\n")), "yes");
    assert_slice(tx_to_tag(UNIT_GUARD(HEAD "t: \"a>;tag=no\" <sip:a>\r\n ; tag = yes\r\n")), "yes");
    assert_slice(tx_to_tag(UNIT_GUARD(HEAD "To: sip:a;tag=yes")), "yes");
    assert_slice(tx_to_tag(UNIT_GUARD(HEAD "To: <sip:a>\r\n\r\nTo: sip:a;tag=no")), "");
    assert_slice(tx_to_tag(UNIT_GUARD(HEAD)), "");
#undef HEAD
}

/* ---- CANCEL inside an INVITE client ---- */

static void cancel_waits_for_a_provisional(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    /* RFC 3261 9.1: before any provisional response CANCEL must not be sent. */
    tx_id id = invite_client(&w, DATAGRAM);
    assert_ok(tx_client_cancel(w.t, id, SLICE("SIP;cause=200"), w.now));
    pass(&w, 1000);
    assert_log(&w, "500 INVITE");
    assert_true(passes(&w, id, 100, "INVITE"));
    struct tx_effect e;
    assert_true(tx_next_effect(w.t, &e));
    assert_slice(
        e.bytes,
        "CANCEL sip:bob@example.com SIP/2.0\r\n"
        "Via: " VIA(
            "z9hG4bKone") "\r\n"
                          "Route: <sip:p1.example.com;lr>,\r\n <sip:p2.example.com;lr>\r\n"
                          "Route: <sip:p3.example.com;lr>\r\n"
                          "Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a1\r\n"
                          "To: Bob <sip:bob@example.com>\r\nCall-ID: c1\r\nCSeq: 7 CANCEL\r\n"
                          "Reason: SIP;cause=200\r\nContent-Length: 0\r\n\r\n");
    assert_ok(tx_client_cancel(w.t, id, SLICE_NONE, w.now)); /* twice does nothing */
    assert_log(&w, "");
    pass(&w, 40000);
    /* RFC 3261 17.1.2.2: E repeats it; 9.1: no final response within 64*T1: given up. */
    assert_log(&w, "1500 CANCEL, 2500 CANCEL, 4500 CANCEL, 8500 CANCEL, 12500 CANCEL, "
                   "16500 CANCEL, 20500 CANCEL, 24500 CANCEL, 28500 CANCEL, 32500 CANCEL, "
                   "33000 TIMED_OUT, 33000 END");
    world_close(&w);
}

static void cancel_answered(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = invite_client(&w, DATAGRAM);
    assert_true(passes(&w, id, 180, "INVITE"));
    assert_ok(tx_client_cancel(w.t, id, SLICE_NONE, w.now));
    pass(&w, 500);
    assert_log(&w, "0 CANCEL, 500 CANCEL");
    assert_false(passes(&w, id, 100, "CANCEL")); /* 17.1.2.2: Proceeding, E at T2 */
    pass(&w, 4500);
    assert_log(&w, "4500 CANCEL");
    assert_false(passes(&w, id, 200, "CANCEL")); /* absorbed, repeats stop */
    assert_false(passes(&w, id, 481, "CANCEL"));
    pass(&w, 5000);
    assert_log(&w, "");
    assert_true(passes(&w, id, 487, "INVITE"));
    assert_log(&w, "10000 ACK");
    assert_err(tx_client_cancel(w.t, id, SLICE_NONE, w.now), ERR_DENIED);
    pass(&w, 40000);
    assert_log(&w, "42000 END");
    /* Answered, but the INVITE's final response never comes: 64*T1 after CANCEL, RFC 3261 9.1. */
    id = invite_client(&w, RELIABLE);
    assert_true(passes(&w, id, 180, "INVITE"));
    assert_ok(tx_client_cancel(w.t, id, SLICE_NONE, w.now));
    assert_false(passes(&w, id, 200, "CANCEL"));
    pass(&w, 31999);
    assert_log(&w, "50000 CANCEL"); /* reliable: once */
    pass(&w, 1);
    assert_log(&w, "82000 TIMED_OUT, 82000 END");
    world_close(&w);
}

static void cancel_and_final_cross(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    /* RFC 3261 9.1: a final response before the CANCEL could go: none is sent. */
    tx_id id = invite_client(&w, DATAGRAM);
    assert_ok(tx_client_cancel(w.t, id, SLICE_NONE, w.now));
    assert_true(passes(&w, id, 200, "INVITE"));
    assert_int_equal(tx_state_of(w.t, id), TX_ACCEPTED);
    pass(&w, 32000);
    assert_log(&w, "32000 END");
    /* CANCEL and 200 cross on the wire: the 200 is the owner's, the CANCEL is not repeated. */
    id = invite_client(&w, DATAGRAM);
    assert_true(passes(&w, id, 180, "INVITE"));
    assert_ok(tx_client_cancel(w.t, id, SLICE_NONE, w.now));
    drain(&w);
    assert_true(passes(&w, id, 200, "INVITE"));
    pass(&w, 32000);
    assert_log(&w, "32000 CANCEL, 64000 END");
    /* Both in one turn: only the ACK is worth sending. */
    id = invite_client(&w, DATAGRAM);
    assert_true(passes(&w, id, 180, "INVITE"));
    assert_ok(tx_client_cancel(w.t, id, SLICE_NONE, w.now));
    assert_true(passes(&w, id, 486, "INVITE"));
    assert_log(&w, "64000 ACK");
    world_close(&w);
}

static void cancel_refusals(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id;
    assert_ok(tx_client_reserve(w.t, TX_INVITE_CLIENT, OWNER, &id));
    assert_err(tx_client_cancel(w.t, id, SLICE_NONE, w.now), ERR_DENIED);
    tx_drop(w.t, id);
    assert_err(tx_client_cancel(w.t, id, SLICE_NONE, w.now), ERR_GONE);
    id = options_client(&w, DATAGRAM);
    assert_err(tx_client_cancel(w.t, id, SLICE_NONE, w.now), ERR_DENIED);
    assert_ok(tx_client_reserve(w.t, TX_INVITE_CLIENT, OWNER, &id));
    assert_ok(tx_client_start(w.t, id, SLICE("INVITE sip:a SIP/2.0\r\n\r\n"), FLOW, false, w.now));
    assert_err(tx_client_cancel(w.t, id, SLICE_NONE, w.now), ERR_BAD);
    world_close(&w);
}

/* ---- other client ---- */

static void other_client_timers(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    /* RFC 3261 17.1.2.2: E = T1, doubling up to T2; F = 64*T1: eleven sends in all. */
    (void)options_client(&w, DATAGRAM);
    pass(&w, 40000);
    assert_log(&w, "500 OPTIONS, 1500 OPTIONS, 3500 OPTIONS, 7500 OPTIONS, 11500 OPTIONS, "
                   "15500 OPTIONS, 19500 OPTIONS, 23500 OPTIONS, 27500 OPTIONS, 31500 OPTIONS, "
                   "32000 TIMED_OUT, 32000 END");
    (void)options_client(&w, RELIABLE);
    pass(&w, 40000);
    assert_log(&w, "72000 TIMED_OUT, 72000 END");
    /* Proceeding: E goes on at T2, F too. */
    tx_id id = options_client(&w, DATAGRAM);
    assert_true(passes(&w, id, 100, "OPTIONS"));
    assert_int_equal(tx_state_of(w.t, id), TX_PROCEEDING);
    pass(&w, 10000);
    assert_log(&w, "80500 OPTIONS, 84500 OPTIONS, 88500 OPTIONS");
    assert_false(passes(&w, id, 200, "INVITE")); /* 17.1.3: another CSeq method */
    assert_false(passes(&w, id, 200, "CANCEL"));
    assert_true(passes(&w, id, 200, "OPTIONS"));
    assert_false(passes(&w, id, 200, "OPTIONS")); /* absorbed for K = T4 */
    pass(&w, 4999);
    assert_int_equal(tx_state_of(w.t, id), TX_COMPLETED);
    assert_log(&w, "");
    pass(&w, 1);
    assert_log(&w, "95000 END");
    id = options_client(&w, RELIABLE); /* K = 0 */
    assert_true(passes(&w, id, 404, "OPTIONS"));
    assert_log(&w, "95000 END");
    id = options_client(&w, RELIABLE); /* a 1xx does not stop F */
    assert_true(passes(&w, id, 100, "OPTIONS"));
    pass(&w, 32000);
    assert_log(&w, "127000 TIMED_OUT, 127000 END");
    world_close(&w);
}

static void client_start_checks(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id;
    assert_ok(tx_client_reserve(w.t, TX_OTHER_CLIENT, OWNER, &id));
    assert_false(passes(&w, id, 200, "OPTIONS")); /* nothing was asked yet */
    assert_err(tx_client_start(w.t, id, response_bytes(200), FLOW, 0, w.now), ERR_BAD);
    assert_err(tx_client_start(w.t, id, SLICE(INVITE_TEXT), FLOW, 0, w.now), ERR_BAD);
    assert_err(tx_client_start(w.t, id, SLICE("ACK sip:a SIP/2.0\r\n\r\n"), FLOW, 0, w.now),
               ERR_BAD);
    assert_ok(tx_client_start(w.t, id, SLICE(OPTIONS_TEXT), FLOW, 0, w.now));
    assert_err(tx_client_start(w.t, id, SLICE(OPTIONS_TEXT), FLOW, 0, w.now), ERR_DENIED);
    world_close(&w);
}

/* ---- INVITE server ---- */

static void invite_server_proceeding(void **state) {
    (void)state;
    for (int reliable = 0; reliable < 2; reliable++) {
        struct world w;
        world_open(&w);
        tx_id id = server_open(&w, "INVITE", reliable);
        assert_int_equal(tx_state_of(w.t, id), TX_PROCEEDING);
        assert_int_equal(match(&w, request("INVITE")), TX_ABSORBED);
        assert_log(&w, ""); /* nothing to repeat yet */
        assert_ok(respond(&w, id, 100));
        assert_int_equal(match(&w, request("INVITE")), TX_ABSORBED);
        assert_log(&w, "0 100");
        assert_ok(respond(&w, id, 180));
        /* RFC 3261 17.2.1: the most recent provisional response again. */
        assert_int_equal(match(&w, request("INVITE")), TX_ABSORBED);
        assert_int_equal(match(&w, request("ACK")), TX_ABSORBED);
        assert_log(&w, "0 180");
        /* A copy that was about to go out is overtaken by a newer response. */
        assert_int_equal(match(&w, request("INVITE")), TX_ABSORBED);
        assert_ok(respond(&w, id, 183));
        assert_log(&w, "");
        pass(&w, 600000);
        assert_log(&w, "");
        assert_int_equal(tx_status(w.t, id), 183);
        world_close(&w);
    }
}

static void invite_server_timers_g_h_i(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = server_open(&w, "INVITE", DATAGRAM);
    assert_ok(respond(&w, id, 486));
    assert_int_equal(tx_state_of(w.t, id), TX_COMPLETED);
    pass(&w, 40000);
    /* RFC 3261 17.2.1: G = T1, doubling up to T2; H = 64*T1. */
    assert_log(&w, "500 486, 1500 486, 3500 486, 7500 486, 11500 486, 15500 486, 19500 486, "
                   "23500 486, 27500 486, 31500 486, 32000 NO_ACK, 32000 END");
    id = server_open(&w, "INVITE", DATAGRAM);
    assert_ok(respond(&w, id, 486));
    assert_int_equal(match(&w, request("INVITE")), TX_ABSORBED);
    assert_log(&w, "40000 486");
    assert_err(respond(&w, id, 200), ERR_DENIED);
    assert_err(respond(&w, id, 180), ERR_DENIED);
    pass(&w, 600);
    assert_log(&w, "40500 486");
    assert_int_equal(match(&w, request("ACK")), TX_ABSORBED);
    assert_int_equal(tx_state_of(w.t, id), TX_CONFIRMED);
    assert_int_equal(match(&w, request("ACK")), TX_ABSORBED);
    assert_int_equal(match(&w, request("INVITE")), TX_ABSORBED);
    assert_err(respond(&w, id, 500), ERR_DENIED);
    pass(&w, 4999);
    assert_log(&w, "");
    pass(&w, 1); /* I = T4 */
    assert_log(&w, "45600 END");
    assert_int_equal(match(&w, request("ACK")), TX_NEW);
    /* Reliable: no G, H as ever, I = 0. */
    id = server_open(&w, "INVITE", RELIABLE);
    assert_ok(respond(&w, id, 503));
    pass(&w, 32000);
    assert_log(&w, "77600 NO_ACK, 77600 END");
    id = server_open(&w, "INVITE", RELIABLE);
    assert_ok(respond(&w, id, 503));
    assert_int_equal(match(&w, request("ACK")), TX_ABSORBED);
    assert_log(&w, "77600 END");
    world_close(&w);
}

static void invite_server_accepted(void **state) {
    (void)state;
    for (int reliable = 0; reliable < 2; reliable++) {
        struct world w;
        world_open(&w);
        tx_id id = server_open(&w, "INVITE", reliable);
        assert_ok(respond(&w, id, 180));
        assert_ok(respond(&w, id, 200));
        assert_int_equal(tx_state_of(w.t, id), TX_ACCEPTED);
        /* RFC 6026 7.1: INVITEs absorbed, no 2xx on its own, the owner's copies may go. */
        assert_int_equal(match(&w, request("INVITE")), TX_ABSORBED);
        assert_ok(respond(&w, id, 200));
        assert_err(respond(&w, id, 180), ERR_DENIED);
        assert_err(respond(&w, id, 486), ERR_DENIED);
        tx_id to = POOL_ID_NONE;
        assert_int_equal(tx_match_request(w.t, request("ACK"), w.now, &to), TX_ACK_2XX);
        assert_true(pool_id_eq(to, id));
        assert_int_equal(match(&w, request("ACK")), TX_ACK_2XX);
        pass(&w, 31999);
        assert_log(&w, "");
        pass(&w, 1); /* L, on every transport */
        assert_log(&w, "32000 END");
        assert_err(respond(&w, id, 200), ERR_GONE);
        world_close(&w);
    }
}

/* ---- other server ---- */

static void other_server(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = server_open(&w, "OPTIONS", DATAGRAM);
    assert_int_equal(tx_state_of(w.t, id), TX_TRYING);
    assert_int_equal(match(&w, request("OPTIONS")), TX_ABSORBED); /* 17.2.2: Trying: silence */
    assert_err(respond(&w, id, 100), ERR_DENIED);                 /* RFC 4320 4.1: too early */
    assert_err(respond(&w, id, 183), ERR_DENIED);                 /* RFC 4320 4.1: only 100 */
    assert_err(respond(&w, id, 408), ERR_DENIED);                 /* RFC 4320 4.2 */
    pass(&w, 3500);
    assert_log(&w, "3500 SLOW"); /* RFC 4320 4.1: 100 is due */
    assert_ok(respond(&w, id, 100));
    assert_int_equal(tx_state_of(w.t, id), TX_PROCEEDING);
    assert_int_equal(match(&w, request("OPTIONS")), TX_ABSORBED);
    assert_log(&w, "3500 100");
    assert_ok(respond(&w, id, 200));
    assert_err(respond(&w, id, 404), ERR_DENIED);
    assert_err(respond(&w, id, 100), ERR_DENIED);
    assert_int_equal(match(&w, request("OPTIONS")), TX_ABSORBED);
    assert_log(&w, "3500 200");
    pass(&w, 31999);
    assert_int_equal(match(&w, request("OPTIONS")), TX_ABSORBED);
    assert_log(&w, "35499 200");
    pass(&w, 1); /* J = 64*T1 */
    assert_log(&w, "35500 END");
    id = server_open(&w, "OPTIONS", RELIABLE);
    assert_ok(respond(&w, id, 100)); /* RFC 4320 4.1: at any time */
    assert_ok(respond(&w, id, 200)); /* J = 0 */
    assert_int_equal(tx_state_of(w.t, id), TX_FREE);
    assert_log(&w, "35500 END");
    assert_int_equal(match(&w, request("OPTIONS")), TX_NEW);
    assert_log(&w, "");
    world_close(&w);
}

static void other_server_without_answer_ends(void **state) {
    (void)state;
    for (int reliable = 0; reliable < 2; reliable++) {
        struct world w;
        world_open(&w);
        /* RFC 4320 4.2: after the client's timer F there is no answer, no 408 either. */
        tx_id id = server_open(&w, "MESSAGE", reliable);
        pass(&w, 40000);
        assert_log(&w, "3500 SLOW, 32000 END");
        assert_err(respond(&w, id, 200), ERR_GONE);
        world_close(&w);
    }
}

/* ---- matching ---- */

static void matching_by_branch(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = server_open(&w, "INVITE", RELIABLE);
    struct shape s = SHAPE("INVITE");
    /* RFC 3261 17.2.3: branch, sent-by and method, and nothing else. */
    struct shape same = s;
    same.call_id = "other";
    same.uri = "sip:carol@example.com";
    same.cseq = 9;
    assert_int_equal(match(&w, request_of(same)), TX_ABSORBED);
    same.via = "SIP/2.0/TLS PC33.Example.com:5066;rport;branch=Z9HG4BKONE"; /* 7.3.1: any case */
    assert_int_equal(match(&w, request_of(same)), TX_ABSORBED);
    const char *others[] = { VIA("z9hG4bKtwo"), VIA("z9hG4bKone1"),
                             "SIP/2.0/UDP pc33.example.com;branch=z9hG4bKone",
                             "SIP/2.0/UDP pc33.example.com:5060;branch=z9hG4bKone",
                             "SIP/2.0/UDP pc34.example.com:5066;branch=z9hG4bKone" };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct shape other = s;
        other.via = others[i];
        assert_int_equal(match(&w, request_of(other)), TX_NEW);
        assert_true(tx_request_hash(&KEY, request("INVITE")) !=
                    tx_request_hash(&KEY, request_of(other)));
    }
    assert_int_equal(match(&w, request("BYE")), TX_NEW);
    assert_int_equal(match(&w, request("FOO")), TX_NEW);
    uint64_t hash = tx_request_hash(&KEY, request("INVITE"));
    assert_true(hash == tx_request_hash(&KEY, request("ACK")));
    assert_true(hash == tx_request_hash(&KEY, request("CANCEL")));
    (void)id;
    world_close(&w);
}

static void matching_methods_we_do_not_know(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    (void)server_open(&w, "FOO", DATAGRAM);
    assert_int_equal(match(&w, request("FOO")), TX_ABSORBED);
    assert_int_equal(match(&w, request("BAR")), TX_NEW);
    assert_int_equal(match(&w, request("foo")), TX_NEW); /* methods are case-sensitive */
    assert_int_equal(match(&w, request("ACK")), TX_NEW); /* 17.2.3: ACK looks for an INVITE */
    tx_id id;
    assert_err(tx_server_open(w.t, request("ACK"), FLOW, true, OWNER, w.now, &id), ERR_BAD);
    world_close(&w);
}

static void matching_cancel(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    assert_int_equal(match(&w, request("CANCEL")), TX_NEW); /* 9.2: 481 */
    tx_id invite = server_open(&w, "INVITE", DATAGRAM), id = POOL_ID_NONE, cancel = POOL_ID_NONE;
    assert_int_equal(tx_match_request(w.t, request("CANCEL"), w.now, &id), TX_CANCEL);
    assert_true(pool_id_eq(id, invite));
    assert_int_equal(tx_kind_of(w.t, id), TX_INVITE_SERVER);
    assert_ok(tx_server_open(w.t, request("CANCEL"), FLOW, false, OWNER, w.now, &cancel));
    assert_ok(respond(&w, cancel, 200));
    /* Its copy belongs to the CANCEL's own transaction. */
    assert_int_equal(tx_match_request(w.t, request("CANCEL"), w.now, &id), TX_ABSORBED);
    assert_true(pool_id_eq(id, cancel));
    assert_log(&w, "0 200");
    assert_int_equal(tx_match_request(w.t, request("INVITE"), w.now, &id), TX_ABSORBED);
    assert_true(pool_id_eq(id, invite));
    assert_ok(respond(&w, invite, 487));
    assert_int_equal(tx_match_request(w.t, request("ACK"), w.now, &id), TX_ABSORBED);
    assert_true(pool_id_eq(id, invite));
    /* RFC 3261 9.2: a CANCEL of something else matches too, and does nothing but get its 200. */
    struct shape s = SHAPE("CANCEL");
    s.via = VIA("z9hG4bKreg");
    struct shape reg = s;
    reg.method = "REGISTER";
    tx_id other = server_open_as(&w, request_of(reg), DATAGRAM);
    assert_int_equal(tx_match_request(w.t, request_of(s), w.now, &id), TX_CANCEL);
    assert_true(pool_id_eq(id, other));
    assert_int_equal(tx_kind_of(w.t, id), TX_OTHER_SERVER);
    world_close(&w);
}

static void matching_rfc2543(void **state) {
    (void)state;
    const char *vias[] = { "SIP/2.0/UDP old.example.com;branch=1",
                           "SIP/2.0/UDP old.example.com;branch=z9hG4bK", /* RFC 4475 3.2.1 */
                           "SIP/2.0/UDP old.example.com" };
    for (size_t v = 0; v < ARRAY_LEN(vias); v++) {
        struct world w;
        world_open(&w);
        struct shape s = SHAPE("INVITE");
        s.via = vias[v];
        tx_id id = server_open_as(&w, request_of(s), DATAGRAM), got = POOL_ID_NONE;
        assert_int_equal(match(&w, request_of(s)), TX_ABSORBED);
        /* RFC 3261 17.2.3: all of these must be equal. */
        struct shape bad[7];
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) bad[i] = s;
        bad[0].uri = "sip:carol@example.com";
        bad[1].from_tag = "a2";
        bad[2].to_tag = "b2";
        bad[3].call_id = "C1";
        bad[4].cseq = 8;
        bad[5].via = "SIP/2.0/UDP other.example.com;branch=1";
        bad[6].via = "SIP/2.0/TCP old.example.com;branch=1";
        for (size_t i = 0; i < ARRAY_LEN(bad); i++)
            assert_int_equal(match(&w, request_of(bad[i])), TX_NEW);
        struct shape cancel = s;
        cancel.method = "CANCEL";
        assert_int_equal(tx_match_request(w.t, request_of(cancel), w.now, &got), TX_CANCEL);
        assert_true(pool_id_eq(got, id));
        /* The ACK's To tag must be that of the response. */
        assert_ok(respond(&w, id, 486));
        struct shape ack = s;
        ack.method = "ACK";
        assert_int_equal(match(&w, request_of(ack)), TX_NEW);
        ack.to_tag = "b2";
        assert_int_equal(match(&w, request_of(ack)), TX_NEW);
        ack.to_tag = "b1";
        assert_int_equal(match(&w, request_of(ack)), TX_ABSORBED);
        assert_int_equal(tx_state_of(w.t, id), TX_CONFIRMED);
        /* A copy of that ACK matches still; the INVITE's copy too. */
        assert_int_equal(match(&w, request_of(ack)), TX_ABSORBED);
        assert_int_equal(match(&w, request_of(s)), TX_ABSORBED);
        pass(&w, 5000);
        assert_log(&w, "5000 END");
        /* Accepted: an ACK with whatever tag a 2xx had goes to the owner. */
        id = server_open_as(&w, request_of(s), DATAGRAM);
        assert_ok(respond(&w, id, 200));
        assert_int_equal(match(&w, request_of(ack)), TX_ACK_2XX);
        world_close(&w);
    }
}

/* ---- ids, limits, memory, ends ---- */

static void stale_ids_are_refused(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = server_open(&w, "OPTIONS", RELIABLE), none = POOL_ID_NONE;
    tx_id made_up = { 63, 1 }, far = { 1u << 30, 1 };
    assert_ok(respond(&w, id, 200));
    tx_id ids[] = { id, none, made_up, far };
    for (int round = 0; round < 2; round++) { /* before and after END is taken out */
        for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
            assert_err(respond(&w, ids[i], 200), ERR_GONE);
            assert_err(tx_client_start(w.t, ids[i], SLICE(OPTIONS_TEXT), FLOW, 0, w.now), ERR_GONE);
            assert_err(tx_client_cancel(w.t, ids[i], SLICE_NONE, w.now), ERR_GONE);
            assert_false(passes(&w, ids[i], 200, "OPTIONS"));
            tx_drop(w.t, ids[i]);
            assert_int_equal(tx_state_of(w.t, ids[i]), TX_FREE);
            assert_int_equal(tx_owner(w.t, ids[i]), 0);
            assert_int_equal(tx_flow(w.t, ids[i]), 0);
            assert_int_equal(tx_status(w.t, ids[i]), 0);
            assert_slice(tx_request(w.t, ids[i]), "");
        }
        if (round == 0) assert_log(&w, "0 END");
    }
    /* The slot lives on under another id; the old one stays stale. */
    tx_id next = server_open(&w, "OPTIONS", RELIABLE);
    assert_int_equal(next.slot, id.slot);
    assert_err(respond(&w, id, 200), ERR_GONE);
    assert_int_equal(tx_state_of(w.t, next), TX_TRYING);
    assert_false(passes(&w, next, 200, "OPTIONS")); /* a server takes no response */
    world_close(&w);
}

static void a_full_table_says_so(void **state) {
    (void)state;
    struct world w;
    world_open_with(&w, (struct tx_limits){ 4, 1 << 20, T1, T2, T4 });
    tx_id ids[4], id;
    for (size_t i = 0; i < 4; i++)
        assert_ok(tx_client_reserve(w.t, TX_OTHER_CLIENT, OWNER, &ids[i]));
    assert_err(tx_client_reserve(w.t, TX_OTHER_CLIENT, OWNER, &id), ERR_FULL);
    assert_err(tx_server_open(w.t, request("INVITE"), FLOW, 1, OWNER, w.now, &id), ERR_FULL);
    assert_int_equal(match(&w, request("INVITE")), TX_NEW);
    tx_drop(w.t, ids[2]);
    assert_int_equal(tx_count(w.t), 3);
    assert_log(&w, "0 END");
    assert_ok(tx_server_open(w.t, request("INVITE"), FLOW, 1, OWNER, w.now, &id));
    assert_err(tx_client_reserve(w.t, TX_OTHER_CLIENT, OWNER, &id), ERR_FULL);
    world_close(&w);
}

static void kept_bytes_are_bounded(void **state) {
    (void)state;
    struct world w;
    world_open_with(&w, (struct tx_limits){ 64, 4096, T1, T2, T4 });
    tx_id id = POOL_ID_NONE;
    int n = 0;
    for (enum err e = ERR_OK; e == ERR_OK && n < 64; n++) {
        assert_ok(tx_client_reserve(w.t, TX_OTHER_CLIENT, OWNER, &id));
        e = tx_client_start(w.t, id, SLICE(OPTIONS_TEXT), FLOW, 1, w.now);
    }
    assert_int_equal(n, 17); /* sixteen blocks of 256 bytes fit */
    assert_err(tx_client_start(w.t, id, SLICE(OPTIONS_TEXT), FLOW, 1, w.now), ERR_MEMORY);
    /* A server without memory for a copy answers once and goes on. */
    tx_id server = server_open(&w, "INVITE", DATAGRAM);
    uint64_t missed = tx_copies_missed(w.t);
    assert_ok(respond(&w, server, 486));
    assert_int_equal(tx_copies_missed(w.t), missed + 1);
    assert_int_equal(match(&w, request("INVITE")), TX_ABSORBED);
    pass(&w, 1000);
    assert_log(&w, "");
    assert_int_equal(match(&w, request("ACK")), TX_ABSORBED);
    /* When the others end, there is room again, for blocks of another size too. */
    pass(&w, 32000);
    assert_int_equal(tx_count(w.t), 1); /* the reservation */
    w.log_len = 0;
    id = invite_client(&w, DATAGRAM);
    assert_true(passes(&w, id, 486, "INVITE"));
    assert_log(&w, "33000 ACK");
    world_close(&w);
}

static void effect_bytes_live_until_the_next_turn(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = invite_client(&w, RELIABLE), other = invite_client(&w, RELIABLE);
    assert_true(passes(&w, id, 486, "INVITE"));
    assert_true(passes(&w, other, 486, "INVITE"));
    struct tx_effect ack, e;
    assert_true(tx_next_effect(w.t, &ack));
    /* Not drained: another call with `now`, and END taken out, do not take the bytes away. */
    tx_run_timers(w.t, w.now);
    assert_true(tx_next_effect(w.t, &e));
    assert_int_equal(e.what, TX_DO_END);
    /* Calls that take `now`, and memory of the same size. */
    char filler[1024];
    memset(filler, 'x', sizeof(filler));
    tx_id third = server_open(&w, "INVITE", RELIABLE);
    assert_ok(tx_server_respond(w.t, third, 180, slice_of(filler, ack.bytes.len), w.now));
    assert_slice(message_word(ack.bytes), "ACK");
    while (tx_next_effect(w.t, &e)) assert_int_equal(e.kind, TX_INVITE_CLIENT);
    assert_slice(message_word(ack.bytes), "ACK");
    assert_int_equal(ack.bytes.ptr[ack.bytes.len - 1], '\n');
    assert_ok(tx_client_reserve(w.t, TX_OTHER_CLIENT, OWNER, &other)); /* takes no `now` */
    assert_slice(message_word(ack.bytes), "ACK");
    world_close(&w);
}

static void drop_is_silent(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = invite_client(&w, RELIABLE);
    assert_true(passes(&w, id, 100, "INVITE"));
    assert_ok(tx_client_cancel(w.t, id, SLICE_NONE, w.now)); /* a CANCEL waits to be sent */
    tx_drop(w.t, id);
    tx_drop(w.t, id);
    assert_log(&w, "0 END");
    pass(&w, 100000);
    assert_log(&w, "");
    assert_int_equal(tx_wake_at(w.t), MONO_NEVER);
    world_close(&w);
}

static void flow_gone(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id calling = invite_client(&w, RELIABLE), accepted = invite_client(&w, RELIABLE);
    tx_id completed = invite_client(&w, DATAGRAM);
    tx_id options = server_open(&w, "OPTIONS", RELIABLE);
    struct shape s = SHAPE("INVITE");
    tx_id ringing = server_open_as(&w, request_of(s), DATAGRAM);
    s.via = VIA("z9hG4bKfailed");
    tx_id failed = server_open_as(&w, request_of(s), DATAGRAM), elsewhere;
    assert_ok(tx_client_reserve(w.t, TX_OTHER_CLIENT, OWNER, &elsewhere));
    assert_ok(tx_client_start(w.t, elsewhere, SLICE(OPTIONS_TEXT), FLOW + 1, true, w.now));
    assert_true(passes(&w, accepted, 200, "INVITE"));
    assert_true(passes(&w, completed, 404, "INVITE"));
    assert_ok(respond(&w, failed, 404));
    assert_log(&w, "0 ACK");
    tx_flow_gone(w.t, FLOW + 2, w.now);
    assert_log(&w, "");
    tx_flow_gone(w.t, FLOW, w.now);
    assert_int_equal(tx_state_of(w.t, calling), TX_FREE);
    assert_int_equal(tx_state_of(w.t, accepted), TX_FREE);
    assert_int_equal(tx_state_of(w.t, completed), TX_FREE);
    /* RFC 6026 7.1: an INVITE server transaction outlives a transport error; RFC 3261 18.2.2: so
     * does another one that has still to be answered. */
    assert_int_equal(tx_state_of(w.t, options), TX_TRYING);
    assert_int_equal(tx_state_of(w.t, ringing), TX_PROCEEDING);
    assert_int_equal(tx_state_of(w.t, failed), TX_COMPLETED);
    assert_int_equal(tx_state_of(w.t, elsewhere), TX_TRYING);
    size_t n = w.log_len;
    drain(&w);
    assert_true(w.log_len > n);
    assert_int_equal(tx_count(w.t), 4);
    w.log_len = 0;
    w.log[0] = '\0';
    assert_int_equal(match(&w, request("INVITE")), TX_ABSORBED);
    assert_ok(respond(&w, ringing, 487)); /* starts no G on a flow that is gone */
    assert_slice_eq(tx_answer(w.t, ringing), response_bytes(487));
    assert_int_equal(tx_answer(w.t, options).len, 0);
    assert_int_equal(tx_answer(w.t, elsewhere).len, 0);
    assert_ok(respond(&w, options, 200));
    assert_log(&w, "0 END");
    pass(&w, 31999);
    assert_log(&w, "");
    pass(&w, 1);
    assert_log(&w, "32000 TIMED_OUT, 32000 END, 32000 NO_ACK, 32000 END, 32000 NO_ACK, "
                   "32000 END");
    tx_flow_gone(w.t, FLOW, w.now);
    assert_log(&w, "");
    /* What is told, and in which order. */
    (void)server_open(&w, "INVITE", RELIABLE);
    tx_flow_gone(w.t, FLOW, w.now);
    assert_log(&w, "32000 FLOW_GONE");
    (void)invite_client(&w, RELIABLE);
    tx_flow_gone(w.t, FLOW, w.now);
    assert_log(&w, "32000 TIMED_OUT, 32000 END");
    tx_id again = server_open(&w, "OPTIONS", DATAGRAM);
    tx_flow_gone(w.t, FLOW, w.now);
    assert_log(&w, "32000 FLOW_GONE");
    assert_ok(respond(&w, again, 200));
    assert_int_equal(tx_state_of(w.t, again), TX_COMPLETED);
    tx_flow_gone(w.t, FLOW, w.now);
    assert_log(&w, "");
    tx_id other = server_open(&w, "MESSAGE", DATAGRAM);
    assert_ok(respond(&w, other, 200));
    tx_flow_gone(w.t, FLOW, w.now); /* it has been answered */
    assert_log(&w, "32000 END");
    assert_int_equal(tx_state_of(w.t, other), TX_FREE);
    world_close(&w);
}

/* RFC 5923 8.1: what rings outlives its flow, and says what is left to say over another one. */
static void rings_on_over_another_flow(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = invite_client(&w, RELIABLE);
    assert_err(tx_client_move(w.t, id, FLOW + 1), ERR_GONE); /* nobody has heard of it */
    assert_true(passes(&w, id, 180, "INVITE"));
    assert_ok(tx_client_cancel(w.t, id, SLICE_NONE, w.now));
    tx_flow_gone(w.t, FLOW, w.now); /* the CANCEL has not been taken out */
    assert_log(&w, "0 FLOW_GONE");
    assert_int_equal(tx_state_of(w.t, id), TX_PROCEEDING);
    assert_ok(tx_client_move(w.t, id, FLOW + 1));
    assert_int_equal(tx_flow(w.t, id), FLOW + 1);
    assert_log(&w, "0 CANCEL");
    tx_flow_gone(w.t, FLOW, w.now);
    assert_log(&w, "");
    assert_false(passes(&w, id, 200, "CANCEL"));
    assert_ok(tx_client_move(w.t, id, FLOW + 2)); /* it has been answered */
    assert_log(&w, "");
    assert_true(passes(&w, id, 487, "INVITE"));
    assert_log(&w, "0 ACK, 0 END");
    assert_err(tx_client_move(w.t, id, FLOW), ERR_GONE);
    id = invite_client(&w, RELIABLE);
    assert_true(passes(&w, id, 180, "INVITE"));
    assert_ok(tx_client_cancel(w.t, id, SLICE_NONE, w.now));
    assert_log(&w, "0 CANCEL");
    tx_flow_gone(w.t, FLOW, w.now);
    pass(&w, 32000); /* 9.1: the CANCEL's time runs on */
    assert_log(&w, "0 FLOW_GONE, 32000 TIMED_OUT, 32000 END");
    world_close(&w);
}

/* Many on one flow, ended in every order: the flow's ring always finds the rest. */
static void flow_rings_stay_whole(void **state) {
    (void)state;
    uint64_t seed = 42;
    for (int round = 0; round < 200; round++) {
        struct world w;
        world_open(&w);
        tx_id ids[20];
        for (size_t i = 0; i < 20; i++) {
            assert_ok(tx_client_reserve(w.t, TX_OTHER_CLIENT, OWNER, &ids[i]));
            assert_ok(tx_client_start(w.t, ids[i], SLICE(OPTIONS_TEXT), i % 3, true, w.now));
        }
        unsigned on_flow[3] = { 7, 7, 6 };
        for (unsigned i = 0; i < unit_below(&seed, 20); i++) {
            uint32_t pick = unit_below(&seed, 20);
            if (tx_state_of(w.t, ids[pick]) == TX_FREE) continue;
            tx_drop(w.t, ids[pick]);
            on_flow[pick % 3]--;
        }
        for (unsigned f = 0; f < 3; f++) {
            uint32_t before = tx_count(w.t);
            tx_flow_gone(w.t, f, w.now);
            assert_int_equal(before - tx_count(w.t), on_flow[f]);
        }
        assert_int_equal(tx_count(w.t), 0);
        world_close(&w);
    }
}

static enum err a_call(void *ctx) {
    (void)ctx;
    static struct sip_msg invite, busy;
    read_into(&busy, response_text(486, "INVITE", "b1"));
    invite = *request("INVITE");
    struct tx_limits limits = { 64, 1 << 20, T1, T2, T4 };
    struct tx_table *t = tx_table_new(&limits, &KEY, 0);
    if (!t) return ERR_MEMORY;
    tx_id server, client;
    uint64_t owner;
    enum err err = tx_server_open(t, &invite, FLOW, false, OWNER, 0, &server);
    if (err == ERR_OK) err = tx_client_reserve(t, TX_INVITE_CLIENT, OWNER, &client);
    if (err == ERR_OK) err = tx_client_start(t, client, SLICE(INVITE_TEXT), FLOW, false, 0);
    if (err == ERR_OK) err = tx_client_cancel(t, client, SLICE_NONE, 0);
    if (err == ERR_OK) {
        /* Without memory these go on; they only cannot repeat themselves. */
        assert_int_equal(tx_client_response(t, client, &busy, 0, &owner), TX_PASS);
        assert_ok(tx_server_respond(t, server, 486, response_bytes(486), 0));
        if (tx_copies_missed(t)) err = ERR_MEMORY;
    }
    for (struct tx_effect e; tx_next_effect(t, &e);) (void)e;
    tx_table_free(t);
    return err;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    assert_true(unit_oom(a_call) >= 7);
    tx_table_free(NULL);
}

static void an_ack_that_found_no_memory_is_made_later(void **state) {
    (void)state;
    struct world w;
    world_open(&w);
    tx_id id = invite_client(&w, DATAGRAM);
    const struct sip_msg *busy = response(486, "INVITE");
    uint64_t owner;
    mem_fail_at(0);
    assert_int_equal(tx_client_response(w.t, id, busy, w.now, &owner), TX_PASS);
    mem_fail_at(-1);
    assert_log(&w, "");
    assert_false(passes(&w, id, 486, "INVITE"));
    assert_log(&w, "0 ACK");
    world_close(&w);
}

/* ---- property: whatever happens in whatever order ---- */

enum { SEEN_MAX = 6000, OPEN_MAX = 24 };
struct seen {
    tx_id id;
    enum tx_kind kind;
    bool reliable, is_cancelled, is_told; /* told: TIMED_OUT or NO_ACK */
    unsigned ends, sends, inputs;
    unsigned number; /* of its branch */
};
struct model {
    struct world w;
    uint64_t seed;
    struct seen seen[SEEN_MAX];
    size_t count;
};

static struct seen *seen_of(struct model *m, tx_id id) {
    for (size_t i = m->count; i-- > 0;)
        if (pool_id_eq(m->seen[i].id, id)) return &m->seen[i];
    fail();
    return NULL;
}

/* What the timers of each kind may send at most, beside one per input. */
static unsigned timer_sends_max(const struct seen *s) {
    if (s->kind == TX_OTHER_SERVER || s->reliable) return s->is_cancelled ? 1 : 0;
    if (s->kind == TX_INVITE_CLIENT) return 6 + (s->is_cancelled ? 11 : 0);
    return 10;
}

static void model_drain(struct model *m) {
    for (struct tx_effect e; tx_next_effect(m->w.t, &e);) {
        struct seen *s = seen_of(m, e.id);
        assert_int_equal(s->ends, 0); /* nothing comes after END */
        assert_int_equal(e.kind, s->kind);
        assert_int_equal(e.owner, OWNER);
        switch (e.what) {
        case TX_DO_SEND:
            s->sends++;
            assert_true(s->sends <= timer_sends_max(s) + s->inputs);
            assert_true(e.bytes.len > 0);
            break;
        case TX_DO_TIMED_OUT:
            assert_true(s->kind >= TX_INVITE_CLIENT && !s->is_told);
            s->is_told = true;
            break;
        case TX_DO_NO_ACK:
            assert_true(s->kind == TX_INVITE_SERVER && !s->is_told);
            s->is_told = true;
            break;
        case TX_DO_FLOW_GONE:
            assert_true(s->kind <= TX_INVITE_CLIENT);
            break;
        case TX_DO_SLOW:
            assert_int_equal(s->kind, TX_OTHER_SERVER);
            break;
        case TX_DO_END:
            s->ends++;
            assert_int_equal(tx_state_of(m->w.t, e.id), TX_FREE);
            break;
        }
    }
}

static const struct sip_msg *model_request(const char *method, unsigned number) {
    char via[80];
    if (number % 5 == 4)
        (void)snprintf(via, sizeof(via), "SIP/2.0/UDP old%u", number);
    else
        (void)snprintf(via, sizeof(via), "SIP/2.0/UDP h;branch=z9hG4bK%u", number);
    struct shape s = SHAPE(method);
    s.via = via;
    if (slice_eq(slice_str(method), SLICE("ACK"))) s.to_tag = "b1";
    return request_of(s);
}

static const char *const methods[] = { "INVITE", "OPTIONS", "INVITE", "OPTIONS" };

static void model_open(struct model *m) {
    if (tx_count(m->w.t) >= OPEN_MAX || m->count == SEEN_MAX) return;
    struct seen s = { .kind = unit_below(&m->seed, 4), .reliable = unit_below(&m->seed, 2) };
    uint64_t flow = unit_below(&m->seed, 3);
    s.number = (unsigned)m->count;
    if (s.kind <= TX_OTHER_SERVER) {
        const struct sip_msg *req = model_request(methods[s.kind], s.number);
        assert_int_equal(match(&m->w, req), TX_NEW);
        assert_ok(tx_server_open(m->w.t, req, flow, s.reliable, OWNER, m->w.now, &s.id));
    } else {
        assert_ok(tx_client_reserve(m->w.t, s.kind, OWNER, &s.id));
        slice text = s.kind == TX_INVITE_CLIENT ? SLICE(INVITE_TEXT) : SLICE(OPTIONS_TEXT);
        if (unit_below(&m->seed, 8))
            assert_ok(tx_client_start(m->w.t, s.id, text, flow, s.reliable, m->w.now));
    }
    m->seen[m->count++] = s;
}

static void model_server_input(struct model *m, struct seen *s) {
    static const unsigned statuses[] = { 100, 180, 200, 202, 302, 408, 486, 603 };
    tx_id id = POOL_ID_NONE;
    enum tx_state before = tx_state_of(m->w.t, s->id);
    switch (unit_below(&m->seed, 4)) {
    case 0:
    case 1: {
        unsigned status = statuses[unit_below(&m->seed, ARRAY_LEN(statuses))];
        enum err err = respond(&m->w, s->id, status);
        assert_true(err == ERR_OK || err == ERR_DENIED || before == TX_FREE);
        break;
    }
    case 2: {
        enum tx_match r = match(&m->w, model_request(methods[s->kind], s->number));
        assert_int_equal(r, before == TX_FREE ? TX_NEW : TX_ABSORBED);
        s->inputs++;
        break;
    }
    default: {
        if (s->kind == TX_OTHER_SERVER) break;
        bool is_ack = unit_below(&m->seed, 2);
        const struct sip_msg *req = model_request(is_ack ? "ACK" : "CANCEL", s->number);
        enum tx_match r = tx_match_request(m->w.t, req, m->w.now, &id);
        if (before == TX_FREE)
            assert_int_equal(r, TX_NEW);
        else if (!is_ack)
            assert_int_equal(r, TX_CANCEL);
        else if (before == TX_ACCEPTED)
            assert_int_equal(r, TX_ACK_2XX);
    }
    }
}

static void model_client_input(struct model *m, struct seen *s) {
    static const unsigned statuses[] = { 100, 180, 200, 404, 487, 600 };
    enum tx_state before = tx_state_of(m->w.t, s->id);
    if (s->kind == TX_INVITE_CLIENT && unit_below(&m->seed, 4) == 0) {
        bool ok = tx_client_cancel(m->w.t, s->id, SLICE_NONE, m->w.now) == ERR_OK;
        assert_true(ok == (before == TX_CALLING || before == TX_PROCEEDING));
        s->is_cancelled |= ok;
        return;
    }
    if (s->kind == TX_INVITE_CLIENT && unit_below(&m->seed, 4) == 0) {
        bool ok = tx_client_move(m->w.t, s->id, unit_below(&m->seed, 3)) == ERR_OK;
        assert_true(ok == (before == TX_PROCEEDING));
        if (ok) s->inputs++;
        return;
    }
    unsigned status = statuses[unit_below(&m->seed, ARRAY_LEN(statuses))];
    const char *method = unit_below(&m->seed, 4) ? methods[s->kind] : "CANCEL";
    bool passed = passes(&m->w, s->id, status, method);
    if (passed) assert_true(before != TX_FREE && before != TX_RESERVED && before != TX_COMPLETED);
    if (status >= 300) s->inputs++;
}

static void model_step(struct model *m) {
    uint32_t what = unit_below(&m->seed, 100);
    struct seen *s = m->count ? &m->seen[m->count - 1 - unit_below(&m->seed, 32) % m->count] : NULL;
    if (what < 20 || !s)
        model_open(m);
    else if (what < 70 && s->kind <= TX_OTHER_SERVER)
        model_server_input(m, s);
    else if (what < 70)
        model_client_input(m, s);
    else if (what < 72)
        tx_drop(m->w.t, s->id);
    else if (what < 73)
        tx_flow_gone(m->w.t, unit_below(&m->seed, 3), m->w.now);
    else {
        m->w.now += unit_below(&m->seed, what < 95 ? 700 : 20000);
        tx_run_timers(m->w.t, m->w.now);
    }
    if (unit_below(&m->seed, 3)) model_drain(m);
}

static void anything_in_any_order(void **state) {
    (void)state;
    static struct model m;
    for (uint64_t seed = 1; seed <= 25; seed++) {
        memset(&m, 0, sizeof(m));
        m.seed = seed;
        world_open(&m.w);
        for (int i = 0; i < 4000; i++) model_step(&m);
        /* The owner lets go of what only it can end: the reserved and those that ring. */
        for (size_t i = 0; i < m.count; i++) {
            enum tx_state st = tx_state_of(m.w.t, m.seen[i].id);
            bool rings = st == TX_PROCEEDING && m.seen[i].kind != TX_OTHER_SERVER &&
                         m.seen[i].kind != TX_OTHER_CLIENT;
            if (st == TX_RESERVED || rings) tx_drop(m.w.t, m.seen[i].id);
        }
        model_drain(&m);
        for (mono_t until = m.w.now + LIFE; m.w.now < until;) {
            m.w.now = mono_min(until, tx_wake_at(m.w.t));
            tx_run_timers(m.w.t, m.w.now);
            model_drain(&m);
        }
        assert_int_equal(tx_count(m.w.t), 0);
        assert_int_equal(tx_wake_at(m.w.t), MONO_NEVER);
        for (size_t i = 0; i < m.count; i++) assert_int_equal(m.seen[i].ends, 1);
        world_close(&m.w);
    }
}

static void states_have_names(void **state) {
    (void)state;
    assert_string_equal(tx_state_text(TX_ACCEPTED), "Accepted");
    assert_string_equal(tx_state_text(TX_FREE), "Terminated");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(invite_client_timers_a_and_b),
        cmocka_unit_test(invite_client_provisional_stops_timers),
        cmocka_unit_test(invite_client_accepted),
        cmocka_unit_test(invite_client_acknowledges_failures),
        cmocka_unit_test(ack_and_cancel_from_a_difficult_request),
        cmocka_unit_test(to_tag_is_found),
        cmocka_unit_test(cancel_waits_for_a_provisional),
        cmocka_unit_test(cancel_answered),
        cmocka_unit_test(cancel_and_final_cross),
        cmocka_unit_test(cancel_refusals),
        cmocka_unit_test(other_client_timers),
        cmocka_unit_test(client_start_checks),
        cmocka_unit_test(invite_server_proceeding),
        cmocka_unit_test(invite_server_timers_g_h_i),
        cmocka_unit_test(invite_server_accepted),
        cmocka_unit_test(other_server),
        cmocka_unit_test(other_server_without_answer_ends),
        cmocka_unit_test(matching_by_branch),
        cmocka_unit_test(matching_methods_we_do_not_know),
        cmocka_unit_test(matching_cancel),
        cmocka_unit_test(matching_rfc2543),
        cmocka_unit_test(stale_ids_are_refused),
        cmocka_unit_test(a_full_table_says_so),
        cmocka_unit_test(kept_bytes_are_bounded),
        cmocka_unit_test(effect_bytes_live_until_the_next_turn),
        cmocka_unit_test(drop_is_silent),
        cmocka_unit_test(flow_gone),
        cmocka_unit_test(rings_on_over_another_flow),
        cmocka_unit_test(flow_rings_stay_whole),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(an_ack_that_found_no_memory_is_made_later),
        cmocka_unit_test(anything_in_any_order),
        cmocka_unit_test(states_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
