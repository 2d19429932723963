/* check/trunk_pbx.c - the tester is the PBX and the target the provider: it registers with RFC
 * 6140, or is known to be at a fixed place (--static), and calls from the first of its numbers
 * (--numbers) to the second, out through the trunk and in again. So one call shows both directions.
 */
#include "check/caller.h"
#include "check/link.h"
#include "check/run.h"
#include "check/tests.h"

#define GIN_HEADERS "Require: gin\r\nProxy-Require: gin\r\nSupported: path\r\nExpires: 120\r\n"
#define FROM        "<sip:{n1}@{domain};user=phone>"
#define ASSERTED    "P-Asserted-Identity: " FROM "\r\n"
#define EVENTS                                                                                     \
    SDP("m=audio 40000 UDP/TLS/RTP/SAVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n" KEYED)

struct trunk_call {
    struct ua *a; /* both ends */
    struct msg *in, *out;
    struct dialog da, db;
};

/* A PBX whose calls come in: it has registered, or need not. */
static struct ua *joined(struct test *t) {
    const struct run *run = t->run;
    if (!*run->numbers[0] || !*run->numbers[1]) test_unclear(t, "needs two numbers: --numbers");
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    if (run->gate) return a;
    struct msg *r = ua_register(
        a, &(struct req){ .contact = "<sip:{local};kith=1;bnc>", .headers = GIN_HEADERS });
    if (!t->verdict && !(r && r->status == 200))
        test_unclear(t, "REGISTER with bnc gets %u", r ? r->status : 0);
    return t->verdict ? NULL : a;
}

static struct req between_numbers(const struct req *more) {
    struct req r = *more;
    if (!r.from) r.from = FROM;
    if (!r.uri) r.uri = "sip:{n2}@{domain};user=phone";
    if (!r.to) r.to = "<sip:{n2}@{domain};user=phone>";
    if (!r.headers) r.headers = ASSERTED;
    return r;
}

static bool ring(struct test *t, struct trunk_call *c, const struct req *more) {
    const struct req r = between_numbers(more);
    *c = (struct trunk_call){ .a = joined(t) };
    c->in = call_between(c->a, c->a, &r);
    return c->in && !t->verdict;
}

/* The caller's end of a call that nobody takes. */
static struct msg *refuse(struct trunk_call *c, unsigned status, const struct rep *more) {
    ua_reply(c->a, c->in, status, more);
    c->out = ua_wait(c->a, "final", 4000);
    ua_ack(c->a, c->out);
    return c->out;
}

/* ---- registering ---------------------------------------------------------------------------- */

static void registers(struct test *t) {
    struct trunk_call c;
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ua_register(
        a, &(struct req){ .contact = "<sip:{local};kith=1;bnc>", .headers = GIN_HEADERS });
    EXPECT(t, r, "200");
    if (!ring(t, &c, &(struct req){ 0 })) return;
    (void)refuse(&c, 486, NULL);
    PASS(t, c.in->at);
}

/* Without registering the trunk takes the PBX's calls, and calls it where it is. */
static void calls_in_place(struct test *t) {
    struct req r = between_numbers(&(struct req){ .body = sdp_offer });
    r.method = "INVITE";
    struct trunk_call c = { .a = joined(t) };
    c.in = must_reach(c.a, c.a, &r);
    MUST(t, c.in->at, is(uri_user(c.in->uri), t->run->numbers[1]),
         "the user is " SLICE_FMT "; %s is right", SLICE_ARG(uri_user(c.in->uri)),
         t->run->numbers[1]);
    (void)refuse(&c, 486, NULL);
    PASS(t, c.in->at);
}

/* RFC 3261 26.3.1: the trunk too proves who it is, also where it is the one that connects. */
static void proves_itself(struct test *t) {
    struct trunk_call c;
    if (!ring(t, &c, &(struct req){ 0 })) return;
    (void)refuse(&c, 486, NULL);
    bool theirs = c.in->over->serves;
    unsigned at = test_note(t, "the call came over %s connection, the certificate is %s",
                            theirs ? "the trunk's own" : "our",
                            c.in->over->verified ? "the target's" : "another, or none");
    MUST(t, at, c.in->over->verified,
         "the trunk calls over TLS without a certificate that is for %s and leads to --ca",
         t->run->target.name);
    PASS(t, at);
}

/* RFC 6140 5.2 and 7.1.1 */
static void mapped(struct test *t) {
    struct trunk_call c;
    if (!ring(t, &c, &(struct req){ 0 })) return;
    (void)refuse(&c, 486, NULL);
    slice uri = c.in->uri;
    const char *place = text(t, "@%s", ua_local(c.a));
    MUST(t, c.in->at, is(uri_user(uri), t->run->numbers[1]),
         "the user is " SLICE_FMT "; %s is right", SLICE_ARG(uri_user(uri)), t->run->numbers[1]);
    MUST(t, c.in->at, has(uri, place), "not sent to the contact %s", place + 1);
    MUST(t, c.in->at, !uri_param(uri, "bnc").ptr, "bnc stands in the Request-URI");
    MUST(t, c.in->at, is(uri_param(uri, "kith"), "1"), "a parameter of the contact is gone");
    PASS(t, c.in->at);
}

/* ---- numbers and identity ------------------------------------------------------------------- */

static bool global_number(slice uri) {
    slice user = uri_user(uri);
    bool good = user.len > 2 && user.len < 18 && *user.ptr == '+';
    for (size_t i = 1; good && i < user.len; i++) good = user.ptr[i] >= '0' && user.ptr[i] <= '9';
    return good;
}

static void numbers(struct test *t) {
    struct trunk_call c;
    if (!ring(t, &c, &(struct req){ 0 })) return;
    (void)refuse(&c, 486, NULL);
    static const char *const names[] = { "From", "To", "P-Asserted-Identity" };
    MUST(t, c.in->at, global_number(c.in->uri), "the Request-URI has no +E.164 number");
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        slice uri = value_uri(msg_header(c.in, names[i]));
        if (!uri.ptr) continue; /* TRUNK-003 asks for it */
        MUST(t, c.in->at, global_number(uri), "no +E.164 number in %s", names[i]);
        MUST(t, c.in->at, is_i(uri_param(uri, "user"), "phone"), "no user=phone in %s", names[i]);
    }
    PASS(t, c.in->at);
}

/* RFC 3323 4.1.1.3, RFC 3325 */
static void identity(struct test *t) {
    struct trunk_call c;
    if (!ring(t, &c, &(struct req){ 0 })) return;
    (void)refuse(&c, 486, NULL);
    slice shown = uri_user(value_uri(msg_header(c.in, "P-Asserted-Identity")));
    MUST(t, c.in->at, is(shown, t->run->numbers[0]), "no P-Asserted-Identity with %s",
         t->run->numbers[0]);
    if (!ring(t, &c,
              &(struct req){ .from = "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
                             .headers = "Privacy: id\r\n" ASSERTED }))
        return;
    (void)refuse(&c, 486, NULL);
    slice from = msg_header(c.in, "From");
    MUST(t, c.in->at, !has(from, t->run->numbers[0]), "a withheld number stands in From");
    MUST(t, c.in->at,
         !msg_header(c.in, "P-Asserted-Identity").ptr || msg_lists(c.in, "Privacy", "id"),
         "the identity of a withheld number comes without Privacy: id");
    PASS(t, c.in->at);
}

static void diverted(struct test *t) {
    struct trunk_call c;
    const char *headers = ASSERTED "History-Info: <sip:{n1}@{domain}>;index=1, "
                                   "<sip:{n2}@{domain}>;index=1.1;mp=1\r\n"
                                   "Diversion: <sip:{n1}@{domain}>;reason=unconditional\r\n";
    if (!ring(t, &c, &(struct req){ .headers = headers })) return;
    (void)refuse(&c, 486, NULL);
    MUST(t, c.in->at, msg_header(c.in, "History-Info").ptr || msg_header(c.in, "Diversion").ptr,
         "neither History-Info nor Diversion of a forwarded call arrives");
    MUST(t, c.in->at, msg_header(c.in, "P-Asserted-Identity").ptr, "no P-Asserted-Identity");
    PASS(t, c.in->at);
}

/* RFC 3966 5.1.5 */
static void tel_uris(struct test *t) {
    struct trunk_call c;
    if (!ring(t, &c, &(struct req){ .uri = "tel:{n2}", .to = "<tel:{n2}>" })) return;
    (void)refuse(&c, 486, NULL);
    unsigned at = c.in->at;
    struct msg *r = ua_ask(c.a, &(struct req){ .method = "INVITE",
                                               .uri = "tel:1234",
                                               .to = "<tel:1234>",
                                               .from = FROM,
                                               .headers = ASSERTED,
                                               .body = sdp_offer });
    EXPECT(t, r, "4xx|6xx");
    PASS(t, at);
}

/* ---- media and causes ----------------------------------------------------------------------- */

/* What the descriptions show: no media flows. */
static void key_presses(struct test *t) {
    struct trunk_call c;
    if (!ring(t, &c, &(struct req){ .body = EVENTS })) return;
    slice offer = c.in->body;
    ua_reply(c.a, c.in, 200, &(struct rep){ .body = EVENTS });
    c.out = ua_wait(c.a, "2xx INVITE", 4000);
    dialog_of(c.a, c.out, true, &c.da);
    ua_send(c.a, &(struct req){ .method = "ACK", .in = &c.da });
    (void)ua_wait(c.a, "ACK", 4000);
    ua_send(c.a, &(struct req){ .method = "BYE", .in = &c.da });
    ua_reply(c.a, ua_wait(c.a, "BYE", 4000), 200, NULL);
    GIVEN(t, c.out, "the 200 did not arrive");
    MUST(t, c.in->at, has(offer, "telephone-event/8000"),
         "the offer arrives without telephone-event");
    MUST(t, c.out->at, has(c.out->body, "telephone-event/8000"),
         "the answer arrives without telephone-event");
    PASS(t, c.out->at);
}

static void secure(struct test *t) {
    struct trunk_call c;
    MUST(t, test_note(t, "TLS: %s", test_has(t, WIRE_TLS) ? "yes" : "no"), test_has(t, WIRE_TLS),
         "the target does not speak TLS");
    if (!ring(t, &c, &(struct req){ .body = sdp_offer })) return;
    (void)refuse(&c, 486, NULL);
    MUST(t, c.in->at, has(c.in->body, "/SAVP") && has(c.in->body, "a=fingerprint:"),
         "an encrypted offer arrives as a plain one");
    PASS(t, c.in->at);
}

static void both_families(struct test *t) {
    unsigned at = test_note(t, "answers on: %s", test_families(t));
    MUST(t, at, is(slice_str(test_families(t)), "IPv4 and IPv6"), "the target has only %s",
         test_families(t));
    PASS(t, at);
}

/* RFC 3326 2 */
static void causes(struct test *t) {
    struct trunk_call c;
    if (!ring(t, &c, &(struct req){ 0 })) return;
    (void)refuse(&c, 486, &(struct rep){ .headers = "Reason: Q.850;cause=17;text=\"busy\"\r\n" });
    GIVEN(t, c.out, "the 486 did not arrive");
    slice reason = msg_header(c.out, "Reason");
    MUST(t, c.out->at, slice_istarts(reason, SLICE("Q.850")), "no Reason with the cause of Q.850");
    MUST(t, c.out->at, is(value_param(reason, "cause"), "17"), "another cause than 17");
    PASS(t, c.out->at);
}

AREA(trunk_pbx, T(TRUNK_001, "registers", registers, .accounts = 1, .needs = NEEDS_BINDING),
     T(TRUNK_001, "static", calls_in_place, .accounts = 1, .needs = NEEDS_STATIC),
     T(TRANS_003, "caller", proves_itself, .accounts = 1, .needs = NEEDS_STATIC | NEEDS_TLS),
     T(REG_011, "mapped", mapped, .accounts = 1, .needs = NEEDS_BINDING),
     T(TRUNK_002, "numbers", numbers, .accounts = 1),
     T(TRUNK_003, "identity", identity, .accounts = 1),
     T(TRUNK_005, "diverted", diverted, .accounts = 1),
     T(TRUNK_013, "tel", tel_uris, .accounts = 1),
     T(TRUNK_004, "key-presses", key_presses, .accounts = 1),
     T(TRUNK_006, "secure", secure, .accounts = 1), T(TRUNK_007, "both", both_families),
     T(TRUNK_012, "causes", causes, .accounts = 1));
