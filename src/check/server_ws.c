/* check/server_ws.c - SIP over WebSocket: RFC 7118 on RFC 6455. */
#include "check/link.h"
#include "check/run.h"
#include "check/tests.h"
#include "check/ws.h"

#define WAIT_MS 10000

/* ---- the handshake -------------------------------------------------------------------------- */

/* Shakes hands with these header lines; the answer is the evidence. */
static unsigned shake(struct test *t, const char *what, const char *upgrade,
                      struct tls_seen *seen) {
    struct link *l = NULL;
    *seen = (struct tls_seen){ 0 };
    const struct tls_wish wish = { .alpn = "\x08http/1.1", .upgrade = upgrade };
    if (link_open(t->run, WIRE_WSS, &wish, seen, &l) != ERR_OK) {
        test_unclear(t, "memory is short");
        return 0;
    }
    unsigned at = test_note(t, "%s:\n%s", what, seen->status ? seen->upgrade : l->why);
    link_close(l);
    return at;
}

/* RFC 7118 4.1: the value in the answer is sip, whatever else was offered beside it. */
static void agrees(struct test *t, const char *offered) {
    struct tls_seen seen;
    struct msg m;
    const char *origin = t->run->target.origin ? text(t, "Origin: %s\r\n", t->run->target.origin)
                                               : ""; /* a page of the target */
    unsigned at =
        shake(t, offered, text(t, "Sec-WebSocket-Protocol: %s\r\n%s", offered, origin), &seen);
    MUST(t, at, seen.status == 101, "the handshake is refused: %u", seen.status);
    msg_read(slice_str(seen.upgrade), &m);
    MUST(t, at, is(msg_header(&m, "Sec-WebSocket-Protocol"), "sip"),
         "the answer does not say that the subprotocol is sip");
    PASS(t, at);
}
static void takes_sip(struct test *t) {
    agrees(t, "sip");
}
static void takes_sip_of_two(struct test *t) {
    agrees(t, "chat, sip");
}

/* Refused, while a good handshake is taken: else the target may just be gone. */
static void refused(struct test *t, const char *what, const char *upgrade) {
    struct tls_seen seen, good;
    unsigned at = shake(t, what, upgrade, &seen);
    MUST(t, at, seen.status != 101, "%s: the handshake is accepted", what);
    (void)shake(t, "a good handshake", NULL, &good);
    GIVEN(t, good.status == 101, "a good handshake is refused too");
    PASS(t, at);
}
static void no_subprotocol(struct test *t) {
    refused(t, "no subprotocol", "");
}
static void other_subprotocol(struct test *t) {
    refused(t, "the subprotocol chat", "Sec-WebSocket-Protocol: chat\r\n");
}
/* RFC 6455 10.2 */
static void foreign_origin(struct test *t) {
    refused(t, "the page of a stranger",
            "Sec-WebSocket-Protocol: sip\r\nOrigin: https://stranger.invalid\r\n");
}

/* ws: at a place that takes TCP connections; true: it was answered by 101. */
static bool clear_text(struct test *t, const struct addr *at, unsigned *seen) {
    struct link *l = NULL;
    size_t size = 0;
    if (link_open_to(t->run, WIRE_TCP, at, &l) != ERR_OK) return false;
    bool sent =
        l->fd >= 0 &&
        link_send(t->run, l,
                  slice_str(text(t,
                                 "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: "
                                 "Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n%s%s"
                                 "%s\r\n",
                                 *t->run->target.path ? t->run->target.path : "/",
                                 t->run->target.name, t->run->target.origin ? "Origin: " : "",
                                 t->run->target.origin ? t->run->target.origin : "",
                                 t->run->target.origin ? "\r\n" : "")));
    if (sent) (void)link_message(l, 2000, &size);
    slice head = slice_head(slice_of(l->in, l->len), 200);
    bool taken = slice_starts(head, SLICE("HTTP/1.1 101"));
    *seen = test_note(t, "ws: to port %u: %s%s", at->port, sent ? "" : l->why,
                      head.ptr && slice_starts(head, SLICE("HTTP/")) ? text_of(t, head)
                      : l->closed                                    ? "the connection is closed"
                                                                     : "no answer");
    link_close(l);
    return taken;
}
static void no_clear_text(struct test *t) {
    unsigned at = 0;
    const struct addr *places = t->run->target.at;
    bool taken = clear_text(t, &places[WIRE_WSS], &at);
    if (!taken && test_has(t, WIRE_TCP)) taken = clear_text(t, &places[WIRE_TCP], &at);
    MUST(t, at, !taken, "a WebSocket without TLS is accepted");
    struct tls_seen good;
    (void)shake(t, "over TLS", NULL, &good);
    GIVEN(t, good.status == 101, "a good handshake is refused too");
    PASS(t, at);
}

/* ---- frames --------------------------------------------------------------------------------- */

/* One frame as it is told; what it is, is the evidence. */
static unsigned put(struct test *t, struct ua *a, const char *what, struct ws_frame f,
                    slice payload) {
    if (!a || t->verdict) return 0;
    unsigned at = test_note(t, "sent as a frame of its own: %s", what);
    if (!link_ws_put(ua_link(a), &f, payload)) (void)test_note(t, "that could not be sent");
    return at;
}
#define MASKED(...)                                                                                \
    (struct ws_frame) {                                                                            \
        .masked = true, __VA_ARGS__                                                                \
    }

/* An OPTIONS whose Via has this branch. */
static slice options(struct ua *a, const char *branch) {
    if (!a) return SLICE("");
    return slice_str(ua_fill(
        a, text(ua_test(a),
                "OPTIONS sip:{domain} SIP/2.0\r\nVia: SIP/2.0/WSS {local};branch=z9hG4bK%s\r\n"
                "Max-Forwards: 70\r\nFrom: <sip:probe@{domain}>;tag={n}\r\nTo: <sip:{domain}>\r\n"
                "Call-ID: {n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
                branch)));
}
static bool answers(const struct msg *m, const char *branch) {
    return m && has(value_param(msg_value(m, "Via", 0), "branch"), branch);
}

/* RFC 7118 5 */
static void two_in_one(struct test *t) {
    struct ua *a = ua_new(t, WIRE_WSS, NOBODY);
    slice one = options(a, "first"), two = options(a, "second");
    unsigned at = put(t, a, "two OPTIONS in one text message", MASKED(.opcode = WS_TEXT),
                      slice_str(text(t, SLICE_FMT SLICE_FMT, SLICE_ARG(one), SLICE_ARG(two))));
    (void)put(t, a, "a third OPTIONS", MASKED(.opcode = WS_TEXT), options(a, "third"));
    for (struct msg *m; (m = ua_wait(a, "final", WAIT_MS)) && !answers(m, "third");)
        MUST(t, m->at, !answers(m, "second"), "both requests of one message are answered");
    OVER(t);
    struct ua *b = ua_new(t, WIRE_WSS, NOBODY); /* it may have closed the other */
    EXPECT(t, ua_ask(b, &(struct req){ .no_login = true }), "2xx|4xx|5xx");
    PASS(t, at);
}
static void in_pieces(struct test *t) {
    struct ua *a = ua_new(t, WIRE_WSS, NOBODY);
    slice all = options(a, "pieces");
    (void)put(t, a, "the beginning of an OPTIONS", MASKED(.opcode = WS_TEXT, .more = true),
              slice_head(all, 20));
    (void)put(t, a, "the middle", MASKED(.more = true), slice_head(slice_from(all, 20), 40));
    (void)put(t, a, "the end", MASKED(0), slice_from(all, 60));
    struct msg *r = ua_wait(a, "final", WAIT_MS);
    EXPECT(t, r, "2xx|4xx|5xx");
    PASS(t, r->at);
}
static void one_answer_each(struct test *t) {
    struct ua *a = ua_new(t, WIRE_WSS, NOBODY);
    char mem[4096];
    struct buf b = buf_over(mem, sizeof mem);
    for (unsigned i = 0; i < 3 && a; i++)
        ws_put(&b, &MASKED(.opcode = WS_TEXT),
               options(a, i == 0   ? "one"
                          : i == 1 ? "two"
                                   : "three"));
    (void)test_note(t, "three OPTIONS are sent at once, a message each");
    if (a && !t->verdict) (void)!link_write(ua_link(a), buf_slice(&b));
    unsigned at = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct msg *r = ua_wait(a, "final", WAIT_MS);
        OVER(t);
        MUST(t, t->event_count, r || i, "no answer");
        MUST(t, t->event_count, r, "%u of 3 answers came", i);
        MUST(t, r->at, msg_frame(r->raw) == r->raw.len, "more than one answer is in one message");
        at = r->at;
    }
    PASS(t, at);
}

/* RFC 7118 4.2 */
static void kind_of_message(struct test *t, enum ws_opcode opcode, const char *what) {
    struct ua *a = ua_new(t, WIRE_WSS, NOBODY);
    (void)put(t, a, what, MASKED(.opcode = opcode), options(a, "kind"));
    struct msg *r = ua_wait(a, "final", WAIT_MS);
    EXPECT(t, r, "2xx|4xx|5xx");
    PASS(t, r->at);
}
static void takes_text(struct test *t) {
    kind_of_message(t, WS_TEXT, "an OPTIONS as text");
}
static void takes_binary(struct test *t) {
    kind_of_message(t, WS_BINARY, "an OPTIONS as binary");
}

/* Account 1 over WebSocket, and account 0. */
static struct ua *with_websocket(struct test *t, struct ua **to) {
    *to = ua_new(t, WIRE_WSS, 1);
    (void)ua_register(*to, NULL);
    return ua_registered(t, 0);
}
/* It gets a MESSAGE with this body. */
static struct msg *message(struct test *t, struct ua **to, const char *type, const char *body) {
    struct ua *a = with_websocket(t, to), *b = *to;
    if (t->verdict) return NULL;
    send_logged_in(a, &(struct req){ .method = "MESSAGE", .type = type, .body = body });
    return ua_wait(b, "MESSAGE", WAIT_MS);
}
static void other_octets(struct test *t) {
    struct ua *b;
    struct msg *in = message(t, &b, "application/octet-stream", "a\xff\xfe\x80z");
    OVER(t);
    struct ws *w = ua_link(b)->ws;
    unsigned at = in ? in->at : test_note(t, "the connection: %s", w->why ? w->why : "silent");
    MUST(t, at, in || !w->why, "octets that are no UTF-8 came in a message that breaks the rules");
    GIVEN(t, in, "the MESSAGE did not come");
    MUST(t, at, has(in->body, "\xff\xfe\x80"), "the octets did not come as they were sent");
    MUST(t, at, w->opcode == WS_BINARY, "octets that are no UTF-8 came in a text message");
    PASS(t, at);
}

/* RFC 7118 5.1 and 5.3: such a Contact leads nowhere but back over the connection. */
static void reached(struct test *t) {
    struct ua *b, *a = with_websocket(t, &b);
    struct msg *in =
        must_reach(a, b, &(struct req){ .method = "MESSAGE", .type = "text/plain", .body = "hi" });
    OVER(t);
    MUST(t, in->at, slice_starts(in->uri, SLICE("sip")) && has(in->uri, ".invalid"),
         "the Request-URI is not the Contact of the client");
    ua_reply(b, in, 200, NULL);
    PASS(t, in->at);
}
static void via_wss(struct test *t) {
    struct ua *b;
    struct msg *in = message(t, &b, "text/plain", "hello");
    GIVEN(t, in, "the MESSAGE did not come");
    ua_reply(b, in, 200, NULL);
    MUST(t, in->at, slice_istarts(msg_value(in, "Via", 0), SLICE("SIP/2.0/WSS ")),
         "the topmost Via does not say WSS");
    PASS(t, in->at);
}

/* ---- RFC 6455 ------------------------------------------------------------------------------- */

/* After this frame the server ends the connection; one that goes on answers the OPTIONS behind. */
static void ends(struct test *t, struct ua *a, const char *what, struct ws_frame f, slice payload) {
    unsigned at = put(t, a, what, f, payload);
    OVER(t);
    (void)put(t, a, "a good OPTIONS", MASKED(.opcode = WS_TEXT), options(a, "after"));
    struct msg *r = ua_wait(a, "final", WAIT_MS);
    OVER(t);
    const struct link *l = ua_link(a);
    MUST(t, r ? r->at : at, !r, "%s: it goes on as if nothing had been", what);
    MUST(t, at, l->closed && !l->ws->why, "%s: it does not end the connection", what);
    at = test_note(t, "the target ends the connection; reason %u", l->ws->code);
    PASS(t, at);
}
#define ENDS(title, what, payload, ...)                                                            \
    static void title(struct test *t) {                                                            \
        struct ua *a = ua_new(t, WIRE_WSS, NOBODY);                                                \
        ends(t, a, what, (struct ws_frame){ __VA_ARGS__ }, payload);                               \
    }
ENDS(unmasked, "an OPTIONS without mask", options(a, "bare"), .opcode = WS_TEXT)
ENDS(reserved_bit, "a reserved bit", options(a, "rsv"), .opcode = WS_TEXT, .masked = true, .rsv = 4)
ENDS(unknown_opcode, "the opcode 3", options(a, "op"), .opcode = 3, .masked = true)
ENDS(long_ping, "a ping of 200 octets", slice_str(text(t, "%200s", "x")), .opcode = WS_PING,
     .masked = true)
ENDS(ping_in_pieces, "a ping that is not whole", SLICE("ab"), .opcode = WS_PING, .masked = true,
     .more = true)
ENDS(stray_piece, "a continuation of nothing", options(a, "stray"), .masked = true)
ENDS(no_utf8, "a text message that is no UTF-8",
     slice_str(text(t, SLICE_FMT "\xff\xfe", SLICE_ARG(options(a, "utf")))), .opcode = WS_TEXT,
     .masked = true)

/* 5.5.2: the same octets come back; 5.4: also in the middle of a message */
static void pong(struct test *t) {
    struct ua *a = ua_new(t, WIRE_WSS, NOBODY);
    slice all = options(a, "pinged");
    (void)put(t, a, "the first half of an OPTIONS", MASKED(.opcode = WS_TEXT, .more = true),
              slice_head(all, 60));
    unsigned at = put(t, a, "a ping: kith", MASKED(.opcode = WS_PING), SLICE("kith"));
    (void)put(t, a, "the second half", MASKED(0), slice_from(all, 60));
    struct msg *r = ua_wait(a, "final", WAIT_MS);
    OVER(t);
    const struct link *l = ua_link(a);
    MUST(t, at, l->pongs > 0, "no pong comes before the answer to what was sent behind the ping");
    MUST(t, at, slice_eq(slice_of(l->ws->control, l->ws->control_len), SLICE("kith")),
         "the pong does not hold the octets of the ping");
    at = test_note(t, "a pong came back: kith");
    EXPECT(t, r, "2xx|4xx|5xx");
    PASS(t, at);
}
/* 5.5.1 */
static void close_answered(struct test *t) {
    struct ua *a = ua_new(t, WIRE_WSS, NOBODY);
    unsigned at = put(t, a, "close, 1000", MASKED(.opcode = WS_CLOSE), SLICE("\x03\xe8"));
    OVER(t);
    (void)ua_is_closed(a, WAIT_MS);
    const struct ws *w = ua_link(a)->ws;
    MUST(t, at, w->closed, "a close is not answered by a close");
    PASS(t, test_note(t, "a close came back; reason %u", w->code));
}
/* 10.4 */
static void endless(struct test *t) {
    struct ua *a = ua_new(t, WIRE_WSS, NOBODY);
    char *zeros = arena_zalloc(&t->arena, 65536);
    GIVEN(t, zeros, "memory is short");
    memset(zeros, 'x', 65536);
    unsigned at = put(t, a, "a message that begins", MASKED(.opcode = WS_TEXT, .more = true),
                      options(a, "endless"));
    bool taken = true;
    for (unsigned i = 0; i < 64 && taken && !t->verdict; i++) {
        taken = link_ws_put(ua_link(a), &MASKED(.more = i < 63), slice_of(zeros, 65536));
    }
    struct msg *r = ua_wait(a, "final", WAIT_MS);
    OVER(t);
    MUST(t, r ? r->at : at, !r || r->status == 413 || r->status == 513 || r->status == 400,
         "a message of 4 MiB is taken: %u", r->status);
    MUST(t, at, r || ua_link(a)->closed || !taken,
         "a message of 4 MiB is neither refused nor ends "
         "the connection");
    at = test_note(t, r ? "refused" : "the target ends the connection");
    EXPECT(t, ua_ask(ua_new(t, WIRE_WSS, NOBODY), &(struct req){ .no_login = true }),
           "2xx|4xx|5xx");
    PASS(t, at);
}

AREA(server_ws, T(TRANS_019, "sip", takes_sip, .needs = NEEDS_WSS),
     T(TRANS_019, "sip-of-two", takes_sip_of_two, .needs = NEEDS_WSS),
     T(TRANS_019, "no-subprotocol", no_subprotocol, .needs = NEEDS_WSS),
     T(TRANS_019, "other-subprotocol", other_subprotocol, .needs = NEEDS_WSS),
     T(TRANS_020, "two-in-one", two_in_one, .needs = NEEDS_WSS),
     T(TRANS_020, "pieces", in_pieces, .needs = NEEDS_WSS),
     T(TRANS_020, "answers", one_answer_each, .needs = NEEDS_WSS),
     T(TRANS_021, "text", takes_text, .needs = NEEDS_WSS),
     T(TRANS_021, "binary", takes_binary, .needs = NEEDS_WSS),
     T(TRANS_021, "octets", other_octets, .needs = NEEDS_WSS, .accounts = 2),
     T(TRANS_022, "clear-text", no_clear_text, .needs = NEEDS_WSS),
     T(TRANS_022, "origin", foreign_origin, .needs = NEEDS_WSS),
     T(TRANS_023, "via", via_wss, .needs = NEEDS_WSS, .accounts = 2),
     T(TRANS_023, "invalid", reached, .needs = NEEDS_WSS, .accounts = 2),
     T(TRANS_024, "unmasked", unmasked, .needs = NEEDS_WSS),
     T(TRANS_025, "ping", pong, .needs = NEEDS_WSS),
     T(TRANS_025, "close", close_answered, .needs = NEEDS_WSS),
     T(TRANS_026, "reserved-bit", reserved_bit, .needs = NEEDS_WSS),
     T(TRANS_026, "opcode", unknown_opcode, .needs = NEEDS_WSS),
     T(TRANS_026, "long-ping", long_ping, .needs = NEEDS_WSS),
     T(TRANS_026, "ping-in-pieces", ping_in_pieces, .needs = NEEDS_WSS),
     T(TRANS_026, "continuation", stray_piece, .needs = NEEDS_WSS),
     T(TRANS_026, "utf-8", no_utf8, .needs = NEEDS_WSS),
     T(PARSE_004, "websocket", endless, .needs = NEEDS_WSS));
