/* check/server_txn.c - transactions and the way of a call through a proxy: RFC 3261 9, 16, 17,
 * RFC 6026, RFC 5393, RFC 3326. */
#include "check/link.h"
#include "check/tests.h"

static const struct req message = {
    .method = "MESSAGE", .uri = "sip:{peer}", .type = "text/plain", .body = "hello"
};

/* How often the agent gets that again in 3 s: twice is enough. */
static unsigned copies(struct ua *b, const char *what, struct msg **last) {
    unsigned n = 0;
    for (int64_t until = ua_until(b, 3000); n < 2 && clock_ms() < until;) {
        struct msg *m = ua_wait(b, what, 100);
        if (!m) continue;
        *last = m;
        n++;
    }
    return n;
}

static struct ua *udp_callee(struct test *t) {
    struct ua *b = ua_new(t, WIRE_UDP, 1);
    struct msg *r = ua_register(b, NULL);
    return r ? b : NULL;
}

/* RFC 3261 17.1.1.2 */
static void udp_invite_repeats(struct test *t) {
    struct ua *b = udp_callee(t), *a = ua_registered(t, 0);
    struct msg *in = call_between(a, b, NULL), *last = in;
    OVER(t);
    unsigned n = copies(b, "INVITE", &last);
    ua_reply(b, in, 486, NULL);
    MUST(t, in->at, n >= 2, "%u copies in 3 s instead of 2", n);
    PASS(t, last->at);
}

/* RFC 3261 17.1.2.2 */
static void udp_request_repeats(struct test *t) {
    struct ua *b = udp_callee(t), *a = ua_registered(t, 0);
    struct msg *in = ask_through(a, b, &message), *last = in;
    OVER(t);
    unsigned n = copies(b, "MESSAGE", &last);
    ua_reply(b, in, 200, NULL);
    MUST(t, in->at, n >= 2, "%u copies in 3 s instead of 2", n);
    PASS(t, last->at);
}

/* RFC 3261 17.1.1.3: the ACK of a refusal is the proxy's own, on the same branch */
static void ack_of_refusal(struct test *t) {
    struct call c;
    if (!call_ring(t, &c, NULL)) return;
    ua_reply(c.b, c.in, 486, NULL);
    struct msg *ack = ua_wait(c.b, "ACK", 4000);
    OVER(t);
    MUST(t, c.in->at, ack, "no ACK for the 486");
    MUST(t, ack->at,
         same(value_param(msg_value(ack, "Via", 0), "branch"),
              value_param(msg_value(c.in, "Via", 0), "branch")),
         "the branch of the ACK is not that of the INVITE");
    MUST(t, ack->at, msg_values(ack, "Via") == 1, "the ACK has %u Via values",
         msg_values(ack, "Via"));
    MUST(t, ack->at, slice_eq(ack->uri, c.in->uri), "the ACK has another Request-URI");
    PASS(t, ack->at);
}

/* RFC 3261 17.2.2 */
static void udp_copy_same_answer(struct test *t) {
    struct ua *a = ua_new(t, WIRE_UDP, NOBODY);
    struct msg *r = ua_ask(a, &(struct req){ .no_login = true });
    GIVEN(t, r, "no answer");
    ua_send_again(a);
    struct msg *again = ua_wait(a, "final", 2000);
    OVER(t);
    MUST(t, r->at, again, "no answer to the copy");
    MUST(t, again->at,
         slice_eq(msg_header(again, "To"), msg_header(r, "To")) && again->status == r->status,
         "the copy got another answer");
    PASS(t, again->at);
}

/* RFC 3261 17.2.3: same branch, other sent-by */
static void sent_by_counts(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    const char *via = "Via: SIP/2.0/TLS one.invalid:5061;branch=z9hG4bKsame;rport\r\n";
    const char *other = "Via: SIP/2.0/TLS two.invalid:5061;branch=z9hG4bKsame;rport\r\n";
    ua_send(a, &(struct req){ .via = via, .call_id = "first-{n}" });
    struct msg *one = ua_wait(a, "final", 3000);
    GIVEN(t, one, "no answer");
    ua_send(a, &(struct req){ .via = other, .call_id = "second-{n}" });
    struct msg *two = ua_wait(a, "final", 3000);
    OVER(t);
    MUST(t, one->at, two, "a request of another sender with the same branch got no answer");
    MUST(t, two->at, slice_starts(msg_header(two, "Call-ID"), SLICE("second-")),
         "it got the answer of the other one");
    PASS(t, two->at);
}

/* RFC 3261 17.2.1 */
static void udp_final_repeats(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_new(t, WIRE_UDP, 0);
    (void)ua_register(a, NULL);
    struct msg *in = call_between(a, b, NULL), *last = NULL;
    ua_reply(b, in, 486, NULL);
    struct msg *r = ua_wait(a, "486 INVITE", 4000);
    GIVEN(t, r, "the 486 did not arrive");
    unsigned n = copies(a, "486 INVITE", &last);
    ua_ack(a, r);
    MUST(t, r->at, n >= 2, "%u copies of the refusal in 3 s instead of 2", n);
    PASS(t, last->at);
}

/* RFC 3261 17.1.3 */
static void response_of_other_method(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(a, b, &message), *r;
    OVER(t);
    const char *cseq = text(t, "CSeq: %u INFO\r\n", msg_cseq(in));
    ua_reply(b, in, 200, &(struct rep){ .without = "CSeq", .headers = cseq });
    unsigned quiet = ua_quiet(a, "2xx", 800, &r);
    OVER(t);
    MUST(t, r ? r->at : 0, !r, "a 200 with the CSeq method INFO was passed on for MESSAGE");
    ua_reply(b, in, 200, NULL);
    PASS(t, quiet);
}

static void send_cancel(struct call *c) {
    struct test *t = ua_test(c->a);
    struct msg invite;
    if (t->verdict) return;
    msg_read(ua_last(c->a), &invite);
    ua_send(c->a, &(struct req){ .method = "CANCEL",
                                 .uri = text_of(t, invite.uri),
                                 .to = text_of(t, msg_header(&invite, "To")),
                                 .branch = text(t, "%s", ua_last_branch(c->a)),
                                 .cseq = text(t, "%u CANCEL", msg_cseq(&invite)) });
}

/* RFC 3261 9.1: no CANCEL before a provisional response */
static void cancel_waits(struct test *t) {
    struct call c;
    if (!call_ring(t, &c, NULL)) return;
    (void)ua_wait(c.a, "100", 300);
    send_cancel(&c);
    struct msg *early;
    (void)ua_quiet(c.b, "CANCEL", 700, &early);
    MUST(t, early ? early->at : 0, !early, "CANCEL came before any response to the INVITE");
    ua_reply(c.b, c.in, 180, NULL);
    struct msg *cancel = ua_wait(c.b, "CANCEL", 3000);
    OVER(t);
    MUST(t, c.in->at, cancel, "no CANCEL after the 180");
    MUST(t, cancel->at,
         same(msg_value(cancel, "Via", 0), msg_value(c.in, "Via", 0)) &&
             msg_values(cancel, "Via") == 1,
         "the Via of the CANCEL is not the top one of the INVITE");
    MUST(t, cancel->at, slice_eq(cancel->uri, c.in->uri), "another Request-URI");
    ua_reply(c.b, cancel, 200, NULL);
    ua_reply(c.b, c.in, 487, NULL);
    PASS(t, cancel->at);
}

/* RFC 3261 8.1.1.5 */
static void cseq_of_cancel(struct test *t) {
    struct call c;
    if (!call_ring(t, &c, NULL)) return;
    ua_reply(c.b, c.in, 180, NULL);
    (void)ua_wait(c.a, "180", 3000);
    send_cancel(&c);
    struct msg *cancel = ua_wait(c.b, "CANCEL", 3000);
    GIVEN(t, cancel, "no CANCEL came");
    MUST(t, cancel->at, is(msg_cseq_method(cancel), "CANCEL"),
         "the CSeq of the CANCEL has another method");
    MUST(t, cancel->at, msg_cseq(cancel) == msg_cseq(c.in), "another CSeq number");
    ua_reply(c.b, cancel, 200, NULL);
    ua_reply(c.b, c.in, 487, NULL);
    PASS(t, cancel->at);
}

/* RFC 3261 16.10 */
static void cancel_answered(struct test *t) {
    struct call c;
    if (!call_ring(t, &c, NULL)) return;
    ua_reply(c.b, c.in, 180, NULL);
    (void)ua_wait(c.a, "180", 3000);
    send_cancel(&c);
    struct msg *ok = ua_wait(c.a, "final CANCEL", 3000), *cancel = ua_wait(c.b, "CANCEL", 3000);
    OVER(t);
    MUST(t, c.in->at, ok && ok->status == 200, "CANCEL was not answered 200");
    MUST(t, c.in->at, cancel, "the phone got no CANCEL");
    ua_reply(c.b, cancel, 200, NULL);
    ua_reply(c.b, c.in, 487, NULL);
    struct msg *r = ua_wait(c.a, "final INVITE", 3000);
    EXPECT(t, r, "487");
    ua_ack(c.a, r);
    PASS(t, r->at);
}

/* RFC 6026 7.2 */
static void second_2xx(struct test *t) {
    struct call c;
    if (!call_ring(t, &c, NULL)) return;
    ua_reply(c.b, c.in, 200, &(struct rep){ .to_tag = "one", .body = sdp_answer });
    struct msg *one = ua_wait(c.a, "2xx INVITE", 3000);
    GIVEN(t, one, "the first 200 did not arrive");
    ua_reply(c.b, c.in, 200, &(struct rep){ .to_tag = "two", .body = sdp_answer });
    struct msg *two = NULL;
    for (unsigned i = 0; i < 4 && !two; i++) {
        struct msg *m = ua_wait(c.a, "2xx INVITE", 1500);
        if (m && is(value_param(msg_header(m, "To"), "tag"), "two")) two = m;
    }
    OVER(t);
    MUST(t, one->at, two, "the second 200, of another dialog, did not arrive");
    struct dialog d;
    dialog_of(c.a, two, true, &d);
    ua_send(c.a, &(struct req){ .method = "ACK", .in = &d });
    PASS(t, two->at);
}

/* ---- forking: account 1 has two devices ---------------------------------------------------- */

struct fork {
    struct ua *a, *b, *c;
    struct msg *in_b, *in_c;
};

static bool fork_begin(struct test *t, struct fork *f, const char *headers) {
    *f = (struct fork){ 0 };
    f->b = ua_registered(t, 1);
    f->c = ua_registered(t, 1);
    f->a = ua_registered(t, 0);
    f->in_b = call_between(f->a, f->b, &(struct req){ .headers = headers });
    f->in_c = ua_wait(f->c, "INVITE", 2000);
    if (!t->verdict && !f->in_c)
        test_unclear(t, "the second device got no INVITE: no parallel forking");
    return !t->verdict;
}

static void fork_answer(struct test *t) {
    struct fork f;
    if (!fork_begin(t, &f, NULL)) return;
    ua_reply(f.b, f.in_b, 180, NULL);
    ua_reply(f.c, f.in_c, 180, NULL);
    ua_reply(f.b, f.in_b, 200, &(struct rep){ .body = sdp_answer });
    struct msg *ok = ua_wait(f.a, "final INVITE", 3000), *cancel = ua_wait(f.c, "CANCEL", 3000);
    EXPECT(t, ok, "200");
    MUST(t, ok->at, cancel, "the other device was not cancelled");
    ua_reply(f.c, cancel, 200, NULL);
    ua_reply(f.c, f.in_c, 487, NULL);
    struct msg *second;
    (void)ua_quiet(f.a, "3xx|4xx|5xx|6xx", 500, &second);
    MUST(t, second ? second->at : 0, !second, "a second final answer after the 200");
    PASS(t, ok->at);
}

/* RFC 3261 16.7 step 6: one answer, of the lowest class, after all branches ended */
static void fork_best(struct test *t) {
    struct fork f;
    if (!fork_begin(t, &f, NULL)) return;
    ua_reply(f.b, f.in_b, 500, NULL);
    struct msg *early;
    (void)ua_quiet(f.a, "final INVITE", 500, &early);
    MUST(t, early ? early->at : 0, !early,
         "a refusal was passed on while the other device may still answer");
    ua_reply(f.c, f.in_c, 486, NULL);
    struct msg *r = ua_wait(f.a, "final INVITE", 3000);
    EXPECT(t, r, "486");
    ua_ack(f.a, r);
    PASS(t, r->at);
}

/* RFC 3326 with RFC 3261 16.7 */
static void fork_reason(struct test *t) {
    struct fork f;
    if (!fork_begin(t, &f, NULL)) return;
    ua_reply(f.c, f.in_c, 180, NULL);
    ua_reply(f.b, f.in_b, 200, &(struct rep){ .body = sdp_answer });
    struct msg *cancel = ua_wait(f.c, "CANCEL", 3000);
    GIVEN(t, cancel, "the other device was not cancelled");
    slice reason = msg_header(cancel, "Reason");
    MUST(t, cancel->at,
         slice_istarts(reason, SLICE("SIP")) && is(value_param(reason, "cause"), "200"),
         "the CANCEL does not say that the call was answered elsewhere");
    PASS(t, cancel->at);
}

static void fork_6xx(struct test *t) {
    struct fork f;
    if (!fork_begin(t, &f, NULL)) return;
    ua_reply(f.c, f.in_c, 180, NULL);
    ua_reply(f.b, f.in_b, 603, NULL);
    struct msg *cancel = ua_wait(f.c, "CANCEL", 3000);
    OVER(t);
    MUST(t, f.in_b->at, cancel, "after a 603 the other device keeps ringing");
    ua_reply(f.c, cancel, 200, NULL);
    ua_reply(f.c, f.in_c, 487, NULL);
    struct msg *r = ua_wait(f.a, "final INVITE", 3000);
    EXPECT(t, r, "603");
    ua_ack(f.a, r);
    PASS(t, cancel->at);
}

static uint32_t breadth(const struct msg *m) {
    uint32_t n = UINT32_MAX / 4;
    return slice_u32(msg_header(m, "Max-Breadth"), UINT32_MAX / 4, &n) == ERR_OK ? n
                                                                                 : UINT32_MAX / 4;
}

/* RFC 5393 5.3.3 */
static void fork_shares_breadth(struct test *t) {
    struct fork f;
    if (!fork_begin(t, &f, "Max-Breadth: 10\r\n")) return;
    uint32_t sum = breadth(f.in_b) + breadth(f.in_c);
    MUST(t, f.in_c->at, sum <= 10, "the two branches got Max-Breadth %u and %u out of 10",
         breadth(f.in_b), breadth(f.in_c));
    PASS(t, f.in_c->at);
}

static void fork_breadth_one(struct test *t) {
    struct ua *b = ua_registered(t, 1), *c = ua_registered(t, 1), *a = ua_registered(t, 0);
    send_logged_in(
        a, &(struct req){ .method = "INVITE", .headers = "Max-Breadth: 1\r\n", .body = sdp_offer });
    struct msg *m1 = ua_wait(b, "INVITE", 1000), *m2 = ua_wait(c, "INVITE", 500);
    struct msg *r = ua_wait(a, "final INVITE", 200);
    OVER(t);
    MUST(t, m2 ? m2->at : 0, !(m1 && m2), "two branches at once with Max-Breadth 1");
    GIVEN(t, m1 || m2 || r, "nothing happened");
    if (r) {
        EXPECT(t, r, "440");
        ua_ack(a, r);
    }
    PASS(t, r ? r->at : m1 ? m1->at : m2->at);
}

/* RFC 3261 16.7 and 22.3: all challenges reach the caller */
static void fork_challenges(struct test *t) {
    struct fork f;
    if (!fork_begin(t, &f, NULL)) return;
#define CHALLENGE(realm)                                                                           \
    "Digest realm=\"" realm "\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n"
    ua_reply(f.b, f.in_b, 407, &(struct rep){ .headers = "Proxy-Authenticate: " CHALLENGE("one") });
    ua_reply(f.c, f.in_c, 401, &(struct rep){ .headers = "WWW-Authenticate: " CHALLENGE("two") });
    struct msg *r = ua_wait(f.a, "final INVITE", 3000);
    EXPECT(t, r, "401|407");
    MUST(t, r->at, has(msg_header(r, "Proxy-Authenticate"), "\"one\""),
         "the challenge of the first device is missing");
    MUST(t, r->at, has(msg_header(r, "WWW-Authenticate"), "\"two\""),
         "the challenge of the second device is missing");
    ua_ack(f.a, r);
    PASS(t, r->at);
}

AREA(server_txn, T(TXN_001, "udp-invite", udp_invite_repeats, .accounts = 2, .seconds = 3),
     T(TXN_002, "ack-of-refusal", ack_of_refusal, .accounts = 2),
     T(TXN_003, "udp-request", udp_request_repeats, .accounts = 2, .seconds = 3),
     T(TXN_004, "udp-copy", udp_copy_same_answer), T(TXN_005, "sent-by", sent_by_counts),
     T(TXN_006, "udp-final", udp_final_repeats, .accounts = 2, .seconds = 3),
     T(TXN_007, "other-method", response_of_other_method, .accounts = 2),
     T(TXN_008, "cancel-waits", cancel_waits, .accounts = 2),
     T(TXN_010, "second-2xx", second_2xx, .accounts = 2),
     T(TXN_011, "cseq-of-cancel", cseq_of_cancel, .accounts = 2),
     T(ROUTE_010, "cancel", cancel_answered, .accounts = 2),
     T(CORE_015, "first-answer", fork_answer, .accounts = 2),
     T(CORE_015, "best-answer", fork_best, .accounts = 2),
     T(CORE_044, "answered-elsewhere", fork_reason, .accounts = 2),
     T(ROUTE_012, "6xx", fork_6xx, .accounts = 2),
     T(ROUTE_009, "shared", fork_shares_breadth, .accounts = 2),
     T(ROUTE_009, "one", fork_breadth_one, .accounts = 2),
     T(AUTH_010, "challenges", fork_challenges, .accounts = 2));
