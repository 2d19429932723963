/* check/server_core.c - what every server does with a request: RFC 3261 8, 9, 11, 16, RFC 4320,
 * RFC 5393, RFC 6026. */
#include "check/tests.h"

/* RFC 3261 8.2.6.2: what of the request comes back in the response */
static void response_copies(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct msg *r =
        ua_ask(a, &(struct req){ .headers = "Via: SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bK{n}\r\n"
                                            "Via: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bKlast\r\n",
                                 .from = "\"A, tester\" <sip:tester@{local}>",
                                 .cseq = "4711 OPTIONS" });
    EXPECT(t, r, "2xx|4xx|5xx");
    MUST(t, r->at, msg_values(r, "Via") == 3, "%u Via values instead of 3", msg_values(r, "Via"));
    MUST(t, r->at, is(value_param(msg_value(r, "Via", 2), "branch"), "z9hG4bKlast"),
         "the order of the Via values changed");
    MUST(t, r->at, is(msg_header(r, "CSeq"), "4711 OPTIONS"), "CSeq changed");
    MUST(t, r->at, has(msg_header(r, "From"), "\"A, tester\" <sip:tester@"), "From changed");
    MUST(t, r->at, value_has(msg_header(r, "To"), "tag"), "To has no tag");
    PASS(t, r->at);
}

/* RFC 3261 11.2 */
static void options_tell(struct test *t) {
    struct ua *a = ua_registered(t, 0);
    struct msg *r = ua_ask(a, &(struct req){ 0 });
    EXPECT(t, r, "200");
    static const char *const wanted[] = { "Accept", "Accept-Encoding", "Accept-Language",
                                          "Supported" };
    for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
        MUST(t, r->at, msg_header(r, wanted[i]).ptr, "the 200 has no %s", wanted[i]);
    PASS(t, r->at);
}

/* RFC 3261 16.3 step 5 */
static void unsupported_is_named(struct test *t) {
    struct ua *a = ua_registered(t, 0);
    struct msg *r = ua_ask(
        a, &(struct req){ .method = "MESSAGE", .headers = "Proxy-Require: x-kith-none\r\n" });
    EXPECT(t, r, "420");
    MUST(t, r->at, msg_lists(r, "Unsupported", "x-kith-none"),
         "Unsupported does not list x-kith-none");
    PASS(t, r->at);
}

static void unknown_require(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ua_register(a, &(struct req){ .headers = "Require: x-kith-none\r\n" });
    EXPECT(t, r, "420");
    MUST(t, r->at, msg_lists(r, "Unsupported", "x-kith-none"),
         "Unsupported does not list x-kith-none");
    PASS(t, r->at);
}

/* RFC 3261 16.3 step 3: the request must not arrive, and the answer is 483 */
static void no_hops_left(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *r = ua_ask(
        a, &(struct req){
               .method = "MESSAGE", .forwards = "0", .type = "text/plain", .body = "hello" });
    EXPECT(t, r, "483");
    struct msg *in;
    (void)ua_quiet(b, "MESSAGE", 300, &in);
    MUST(t, in ? in->at : 0, !in, "it was forwarded although no hop was left");
    PASS(t, r->at);
}

/* RFC 3261 17.2.1 */
static void trying_comes(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = call_between(a, b, NULL);
    struct msg *r = ua_wait(a, "100 INVITE", 1000);
    OVER(t);
    MUST(t, in->at, r, "no 100 within a second, and the called side said nothing yet");
    MUST(t, r->at, r->ms <= in->ms + 300, "100 came late");
    ua_reply(b, in, 486, NULL);
    PASS(t, r->at);
}

/* RFC 4320 4.1 */
static void no_provisional_to_others(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(
        a, b, &(struct req){ .method = "MESSAGE", .type = "text/plain", .body = "hello" });
    ua_reply(b, in, 180, NULL);
    ua_reply(b, in, 200, NULL);
    struct msg *r = ua_wait(a, "180|200", 3000);
    OVER(t);
    GIVEN(t, r, "the 200 did not come");
    MUST(t, r->at, r->status == 200, "a 180 to MESSAGE was passed on");
    PASS(t, r->at);
}

/* RFC 3261 8.2.1: a server that answers 405 says what it takes */
static void not_allowed(struct test *t) {
    struct ua *a = ua_registered(t, 0);
    struct msg *r = ua_ask(a, &(struct req){ .method = "UPDATE", .uri = "sip:{domain}" });
    GIVEN(t, r && r->status == 405, "UPDATE to the server itself gets %u, not 405",
          r ? r->status : 0);
    MUST(t, r->at, msg_header(r, "Allow").ptr, "405 without Allow");
    PASS(t, r->at);
}

static const struct req message = {
    .method = "MESSAGE", .uri = "sip:{peer}", .type = "text/plain", .body = "hello"
};

/* RFC 4320 4.1: 100 when Timer E would reach T2, 3.5 s after the start (earlier only over reliable
 * transports, and then no sooner than a UDP one would) */
static void late_trying(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(a, b, &message);
    struct msg *r = ua_wait(a, "1xx|2xx|4xx|5xx", 6000);
    OVER(t);
    MUST(t, in->at, r && r->status == 100, "no 100 although nobody answered for 6 s");
    ua_reply(b, in, 200, NULL);
    PASS(t, r->at);
}

/* RFC 4320 4.2: the sender's own timer is as old as ours: a 408 can only come too late */
static void no_408(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    (void)ask_through(a, b, &message);
    struct msg *r;
    unsigned quiet = ua_quiet(a, "408", 34000, &r);
    OVER(t);
    MUST(t, r ? r->at : 0, !r, "408 to MESSAGE");
    PASS(t, quiet);
}

/* RFC 4320 4.2: a late answer has no transaction any more */
static void late_answer(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(a, b, &message), *r;
    test_pause(t->verdict ? 0 : 34000);
    ua_reply(b, in, 200, NULL);
    unsigned quiet = ua_quiet(a, "2xx", 1500, &r);
    OVER(t);
    MUST(t, r ? r->at : 0, !r, "a 200 that came after 34 s was passed on");
    PASS(t, quiet);
}

/* RFC 5393 4.2: the same request comes back over a device of the same person. */
static void loop(struct test *t) {
    struct ua *b = ua_registered(t, 0), *a = ua_registered(t, 0);
    send_logged_in(a, &(struct req){ .method = "INVITE", .uri = "sip:{aor}", .body = sdp_offer });
    struct msg *in = ua_wait(b, "INVITE", 4000);
    GIVEN(t, in, "the INVITE to another device of the same person did not arrive");
    const char *vias = "";
    for (unsigned i = 0; i < msg_values(in, "Via"); i++)
        vias = text(t, "%sVia: " SLICE_FMT "\r\n", vias, SLICE_ARG(msg_value(in, "Via", i)));
    slice id = msg_header(in, "Call-ID"), to = msg_header(in, "To"), from = msg_header(in, "From");
    send_logged_in(b, &(struct req){ .method = "INVITE",
                                     .uri = "sip:{aor}",
                                     .to = text_of(t, to),
                                     .from = "<sip:{aor}>",
                                     .tag = text_of(t, value_param(from, "tag")),
                                     .call_id = text_of(t, id),
                                     .cseq = text_of(t, msg_header(in, "CSeq")),
                                     .forwards = text_of(t, msg_header(in, "Max-Forwards")),
                                     .headers = vias,
                                     .body = sdp_offer });
    struct msg *r = ua_wait(b, "3xx|4xx|5xx|6xx", 4000);
    EXPECT(t, r, "482");
    PASS(t, r->at);
}

static void breadth_added(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(a, b, &message);
    OVER(t);
    MUST(t, in->at, msg_header(in, "Max-Breadth").ptr, "no Max-Breadth was added");
    ua_reply(b, in, 200, NULL);
    PASS(t, in->at);
}

static void breadth_lowered(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct req r = message;
    r.headers = "Max-Breadth: 1000000\r\n";
    struct msg *in = ask_through(a, b, &r);
    OVER(t);
    uint32_t n = 0;
    MUST(t, in->at, slice_u32(msg_header(in, "Max-Breadth"), UINT32_MAX, &n) == ERR_OK,
         "no Max-Breadth");
    MUST(t, in->at, n < 1000000, "Max-Breadth 1000000 was passed on as it came");
    ua_reply(b, in, 200, NULL);
    PASS(t, in->at);
}

/* RFC 5621: a server on the way leaves the parts alone, and calls go through with them */
#define PARTS(extra)                                                                               \
    "--x\r\nContent-Type: application/sdp\r\n\r\n"                                                 \
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 "      \
    "UDP/TLS/RTP/SAVP 0\r\na=setup:actpass\r\na=fingerprint:SHA-256 "                              \
    "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:"   \
    "12:DF\r\n--x\r\nContent-Type: " extra "\r\n\r\nhello\r\n--x--\r\n"

static void parts_arrive(struct test *t, const char *body) {
    struct call c;
    if (!call_ring(t, &c, &(struct req){ .type = "multipart/mixed;boundary=x", .body = body }))
        return;
    MUST(t, c.in->at, is(c.in->body, body), "the body did not arrive as it was sent");
    ua_reply(c.b, c.in, 486, NULL);
    PASS(t, c.in->at);
}
static void multipart(struct test *t) {
    parts_arrive(t, PARTS("text/plain"));
}
static void optional_part(struct test *t) {
    parts_arrive(t, PARTS("application/x-kith-none\r\nContent-Disposition: x;handling=optional"));
}

/* RFC 6026 7.1: copies of an answered INVITE are absorbed */
static void invite_after_2xx(struct test *t) {
    struct call c;
    if (!call_ring(t, &c, NULL)) return;
    ua_reply(c.b, c.in, 200, &(struct rep){ .body = sdp_answer });
    struct msg *ok = ua_wait(c.a, "2xx INVITE", 4000), *again, *refused;
    GIVEN(t, ok, "the 200 did not arrive");
    ua_send_again(c.a);
    unsigned quiet = ua_quiet(c.b, "INVITE", 1500, &again);
    OVER(t);
    MUST(t, again ? again->at : 0, !again, "the copy of the INVITE reached the phone as a new one");
    refused = ua_wait(c.a, "4xx|5xx|6xx", 0);
    MUST(t, refused ? refused->at : 0, !refused, "the copy of the INVITE was refused");
    dialog_of(c.a, ok, true, &c.da);
    ua_send(c.a, &(struct req){ .method = "ACK", .in = &c.da });
    call_end(t, &c);
    PASS(t, quiet);
}

/* RFC 6026 7.3 */
static void stray_response(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(a, b, &message), *r;
    OVER(t);
    const char *vias = text(t, "Via: " SLICE_FMT "\r\n", SLICE_ARG(msg_value(in, "Via", 0)));
    const char *branch = text_of(t, value_param(msg_value(in, "Via", 0), "branch"));
    slice v = slice_str(vias);
    size_t at = slice_find_slice(v, slice_str(branch));
    vias = text(t, SLICE_FMT "z9hG4bKnever" SLICE_FMT "Via: " SLICE_FMT "\r\n",
                SLICE_ARG(slice_head(v, at)), SLICE_ARG(slice_from(v, at + strlen(branch))),
                SLICE_ARG(msg_value(in, "Via", 1)));
    ua_reply(b, in, 299, &(struct rep){ .via = vias });
    unsigned quiet = ua_quiet(a, "299", 1000, &r);
    OVER(t);
    MUST(t, r ? r->at : 0, !r, "a response to a transaction that never was has been passed on");
    ua_reply(b, in, 200, NULL);
    PASS(t, quiet);
}

static void session_id(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct req r = message;
    r.headers =
        "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000\r\n";
    struct msg *in = ask_through(a, b, &r);
    OVER(t);
    MUST(t, in->at, has(msg_header(in, "Session-ID"), "ab30317f1a784dc48ff824d0d3715d86"),
         "Session-ID did not arrive as it was sent");
    ua_reply(b, in, 200, NULL);
    PASS(t, in->at);
}

AREA(server_core, T(CORE_002, "copies", response_copies),
     T(CORE_003, "405-has-allow", not_allowed, .accounts = 1),
     T(CORE_004, "unknown-require", unknown_require, .accounts = 1),
     T(CORE_005, "proxy-require", unsupported_is_named, .accounts = 2),
     T(CORE_006, "max-forwards-0", no_hops_left, .accounts = 2),
     T(CORE_007, "options", options_tell, .accounts = 1),
     T(CORE_012, "trying", trying_comes, .accounts = 2),
     T(CORE_016, "no-180-to-message", no_provisional_to_others, .accounts = 2),
     T(CORE_017, "late-trying", late_trying, .accounts = 2, .seconds = 6),
     T(CORE_018, "no-408", no_408, .accounts = 2, .seconds = 34),
     T(CORE_019, "late-answer", late_answer, .accounts = 2, .seconds = 36),
     T(CORE_020, "loop", loop, .accounts = 1), T(CORE_021, "added", breadth_added, .accounts = 2),
     T(CORE_021, "lowered", breadth_lowered, .accounts = 2),
     T(CORE_023, "multipart", multipart, .accounts = 2),
     T(CORE_025, "optional-part", optional_part, .accounts = 2),
     T(CORE_026, "invite-after-2xx", invite_after_2xx, .accounts = 2),
     T(CORE_027, "stray-response", stray_response, .accounts = 2),
     T(CORE_043, "session-id", session_id, .accounts = 2));
