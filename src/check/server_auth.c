/* check/server_auth.c - who may: RFC 3261 22, RFC 7616, RFC 8760, and what strangers learn. */
#include "check/tests.h"

#define MESSAGE .method = "MESSAGE", .uri = "sip:{peer}", .type = "text/plain", .body = "hello"

/* The 401 to a REGISTER without credentials. */
static struct msg *challenged(struct test *t, struct ua **out) {
    struct ua *a = *out = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ua_register(a, &(struct req){ .no_login = true });
    if (!test_expect(t, r, "401|407")) return NULL;
    return r;
}

static const char *challenge_header(const struct msg *r) {
    return r->status == 401 ? "WWW-Authenticate" : "Proxy-Authenticate";
}

static void no_basic(struct test *t) {
    struct ua *a;
    struct msg *r = challenged(t, &a);
    OVER(t);
    for (unsigned i = 0; i < r->header_count; i++)
        MUST(t, r->at,
             !is_i(r->headers[i].name, challenge_header(r)) ||
                 !slice_istarts(r->headers[i].value, SLICE("Basic")),
             "Basic is asked for");
    PASS(t, r->at);
}

static void basic_refused(struct test *t) {
    struct ua *a = ua_new(t, WIRE_TLS, 0);
    OVER(t);
    /* not the password: what matters is that such a line is no way in */
    struct msg *r = ua_register(
        a,
        &(struct req){ .no_login = true,
                       .headers = "Authorization: Basic dGVzdGVyOnRlc3Rlcg==\r\nExpires: 60\r\n" });
    EXPECT(t, r, "400|401|403|407");
    PASS(t, r->at);
}

static int strength(slice challenge) {
    slice a = comma_value(challenge, "algorithm");
    return is_i(a, "SHA-512-256") ? 3 : is_i(a, "SHA-256") ? 2 : !a.ptr || is_i(a, "MD5") ? 1 : 0;
}

/* RFC 8760 2.3 */
static void different_algorithms(struct test *t) {
    struct ua *a;
    struct msg *r = challenged(t, &a);
    OVER(t);
    int last = 100;
    for (unsigned i = 0; i < r->header_count; i++) {
        if (!is_i(r->headers[i].name, challenge_header(r)) ||
            !slice_istarts(r->headers[i].value, SLICE("Digest")))
            continue;
        int now = strength(r->headers[i].value);
        MUST(t, r->at, now != last, "two challenges with the same algorithm");
        MUST(t, r->at, now < last || now > 1, "MD5 stands before a stronger algorithm");
        last = now;
    }
    MUST(t, r->at, last < 100, "no Digest challenge");
    PASS(t, r->at);
}

static void no_md5(struct test *t) {
    struct ua *a;
    struct msg *r = challenged(t, &a);
    OVER(t);
    for (unsigned i = 0; i < r->header_count; i++)
        MUST(t, r->at,
             !is_i(r->headers[i].name, challenge_header(r)) ||
                 !slice_istarts(r->headers[i].value, SLICE("Digest")) ||
                 strength(r->headers[i].value) > 1,
             "MD5 is offered");
    PASS(t, r->at);
}

static void qop(struct test *t) {
    struct ua *a;
    struct msg *r = challenged(t, &a);
    OVER(t);
    MUST(t, r->at, has(comma_value(msg_header(r, challenge_header(r)), "qop"), "auth"),
         "no qop in the challenge");
    PASS(t, r->at);
}

static const char *authorization(struct ua *a, const struct msg *r, const char *password,
                                 unsigned nc) {
    const char *uri = text(ua_test(a), "sip:%s", test_domain(ua_test(a)));
    struct login l = { "REGISTER", uri, password, ua_account(a)->user, nc };
    const char *value = login_answer(a, msg_header(r, challenge_header(r)), &l);
    return value ? text(ua_test(a), "%s: %s\r\nExpires: 60\r\n",
                        r->status == 401 ? "Authorization" : "Proxy-Authorization", value)
                 : "";
}

/* RFC 7616 3.4: what was heard on the wire once must not work again */
static void replay(struct test *t) {
    struct ua *a;
    struct msg *r = challenged(t, &a);
    OVER(t);
    GIVEN(t, ua_verified(a), "credentials are not sent: the name of the target is not verified");
    const char *headers = authorization(a, r, ua_account(a)->password, 1);
    struct msg *ok = ua_register(a, &(struct req){ .headers = headers, .no_login = true });
    GIVEN(t, ok && ok->status == 200, "the first use was refused");
    ua_close(a);
    struct ua *thief = ua_new(t, WIRE_BEST, 0);
    struct msg *second = ua_register(thief, &(struct req){ .headers = headers, .no_login = true });
    EXPECT(t, second, "401|407|403|400");
    PASS(t, second->at);
}

/* RFC 3261 22.1 */
static void cancel_not_challenged(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    ua_send(a, &(struct req){ .method = "CANCEL", .uri = "sip:{aor}", .cseq = "7 CANCEL" });
    struct msg *r = ua_wait(a, "final", 2000);
    OVER(t);
    unsigned at = r ? r->at : test_note(t, "no answer");
    MUST(t, at, !r || (r->status != 401 && r->status != 407), "CANCEL was challenged");
    PASS(t, at);
}

static void ack_not_answered(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    ua_send(a, &(struct req){ .method = "ACK", .uri = "sip:{aor}", .cseq = "7 ACK" });
    struct msg *r;
    unsigned at = ua_quiet(a, "any", 1500, &r);
    OVER(t);
    MUST(t, r ? r->at : 0, !r || r->status != 401, "ACK was challenged");
    MUST(t, r ? r->at : 0, !r || r->status != 407, "ACK was challenged");
    MUST(t, r ? r->at : 0, !r, "ACK was answered");
    PASS(t, at);
}

static void foreign_realm_stays(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(
        a, b,
        &(struct req){ MESSAGE, .headers =
                                    "Proxy-Authorization: Digest username=\"x\", "
                                    "realm=\"elsewhere.invalid\", nonce=\"n\", uri=\"sip:x\", "
                                    "response=\"00000000000000000000000000000000\"\r\n" });
    ua_reply(b, in, 200, NULL);
    OVER(t);
    MUST(t, in->at, has(msg_header(in, "Proxy-Authorization"), "elsewhere.invalid"),
         "credentials for another realm were removed");
    PASS(t, in->at);
}

/* A stranger must not learn who has an account. */
static struct msg *wrong_login(struct test *t, const char *aor) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ua_register(a, &(struct req){ .no_login = true, .to = aor, .from = aor });
    if (!r || (r->status != 401 && r->status != 407)) return r;
    return ua_register(a, &(struct req){ .no_login = true,
                                         .to = aor,
                                         .from = aor,
                                         .headers = authorization(a, r, "not the password", 1) });
}

static void no_enumeration(struct test *t) {
    struct msg *known = wrong_login(t, "<sip:{aor}>"),
               *unknown = wrong_login(t, "<sip:nobody-of-that-name@{domain}>");
    GIVEN(t, known && unknown, "no answer");
    MUST(t, unknown->at, known->status == unknown->status,
         "a wrong password gets %u, an unknown user %u", known->status, unknown->status);
    MUST(t, unknown->at, known->header_count == unknown->header_count,
         "the answers to a wrong password and to an unknown user differ in their headers");
    PASS(t, unknown->at);
}

/* RFC 3261 22.3 */
static void challenge_of_proxy(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ua_ask(a, &(struct req){ MESSAGE, .no_login = true }), *in;
    (void)ua_quiet(b, "MESSAGE", 200, &in);
    EXPECT(t, r, "407");
    MUST(t, r->at, comma_value(msg_header(r, "Proxy-Authenticate"), "realm").len,
         "407 without a realm");
    MUST(t, in ? in->at : 0, !in, "the request of a stranger arrived");
    PASS(t, r->at);
}

/* RFC 8898 2.2 */
static void bearer(struct test *t) {
    struct ua *a;
    struct msg *r = challenged(t, &a);
    OVER(t);
    slice bearer_line = SLICE_NONE;
    for (unsigned i = 0; i < r->header_count; i++)
        if (is_i(r->headers[i].name, challenge_header(r)) &&
            slice_istarts(r->headers[i].value, SLICE("Bearer")))
            bearer_line = r->headers[i].value;
    CAPABLE(t, bearer_line.ptr, "tokens");
    MUST(t, r->at, slice_istarts(comma_value(bearer_line, "authz_server"), SLICE("https:")),
         "Bearer without an https authz_server");
    struct msg *no = ua_register(
        a, &(struct req){ .no_login = true, .headers = "Authorization: Bearer not.a.token\r\n" });
    EXPECT(t, no, "401");
    PASS(t, no->at);
}

/* The answer to a stranger is not worth forging a sender for. */
static void no_amplification(struct test *t) {
    struct ua *a = ua_new(t, test_has(t, WIRE_UDP) ? WIRE_UDP : WIRE_BEST, 0);
    ua_send(a, &(struct req){ .method = "REGISTER", .to = "<sip:{aor}>" });
    struct msg *r = ua_wait(a, "final", 3000), *more;
    OVER(t);
    MUST(t, t->event_count, r, "no answer");
    MUST(t, r->at, r->raw.len <= 2 * ua_last(a).len, "%zu bytes are answered by %zu",
         ua_last(a).len, r->raw.len);
    (void)ua_quiet(a, "final", 1500, &more);
    MUST(t, more ? more->at : 0, !more, "the answer to a stranger is repeated");
    PASS(t, r->at);
}

AREA(server_auth, T(AUTH_001, "no-basic", no_basic, .accounts = 1),
     T(AUTH_001, "basic-refused", basic_refused, .accounts = 1, .needs = NEEDS_TLS),
     T(AUTH_002, "algorithms", different_algorithms, .accounts = 1),
     T(AUTH_004, "no-md5", no_md5, .accounts = 1), T(AUTH_005, "qop", qop, .accounts = 1),
     T(AUTH_006, "replay", replay, .accounts = 1),
     T(AUTH_007, "cancel", cancel_not_challenged, .accounts = 1),
     T(AUTH_007, "ack", ack_not_answered, .accounts = 1),
     T(AUTH_009, "foreign-realm", foreign_realm_stays, .accounts = 2),
     T(AUTH_009, "407", challenge_of_proxy, .accounts = 2),
     T(AUTH_012, "bearer", bearer, .accounts = 1),
     T(AUTH_014, "no-enumeration", no_enumeration, .accounts = 1),
     T(OVLD_009, "no-amplification", no_amplification, .accounts = 1));
