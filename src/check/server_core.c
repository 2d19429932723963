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
    MUST(t, in->at, !in, "it was forwarded although no hop was left");
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

AREA(server_core, T(CORE_002, "copies", response_copies),
     T(CORE_004, "unknown-require", unknown_require, .accounts = 1),
     T(CORE_005, "proxy-require", unsupported_is_named, .accounts = 2),
     T(CORE_006, "max-forwards-0", no_hops_left, .accounts = 2),
     T(CORE_007, "options", options_tell, .accounts = 1),
     T(CORE_012, "trying", trying_comes, .accounts = 2),
     T(CORE_016, "no-180-to-message", no_provisional_to_others, .accounts = 2));
