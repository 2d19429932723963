/* check/call.c - a call between two agents, and what a dialog remembers. */
#include "check/link.h"
#include "check/test.h"

/* The fingerprint is of no certificate: no media flows in these calls. */
#define KEYS                                                                                       \
    "a=fingerprint:SHA-256 "                                                                       \
    "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:"   \
    "12:DF\r\n"
const char sdp_offer[] = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                         "m=audio 40000 UDP/TLS/RTP/SAVP 0 8\r\na=setup:actpass\r\n" KEYS;
const char sdp_answer[] =
    "v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40002 UDP/TLS/RTP/SAVP 0\r\na=setup:active\r\n" KEYS;

void dialog_of(struct ua *a, const struct msg *m, bool asked, struct dialog *out) {
    *out = (struct dialog){ 0 };
    if (!a || !m || ua_test(a)->verdict) return;
    slice from = msg_header(m, "From"), to = msg_header(m, "To");
    out->call_id = msg_header(m, "Call-ID");
    out->local = asked ? from : to;
    out->remote = asked ? to : from;
    out->cseq = asked ? msg_cseq(m) : 100;
    out->target = value_uri(msg_header(m, "Contact"));
    unsigned n = msg_values(m, "Record-Route");
    if (n > ARRAY_LEN(out->routes)) n = ARRAY_LEN(out->routes);
    /* RFC 3261 12.1.2: the side that asked takes the route set in reverse order */
    for (unsigned i = 0; i < n; i++)
        out->routes[i] = msg_value(m, "Record-Route", asked ? n - 1 - i : i);
    out->route_count = n;
}

void dialog_taken(struct ua *b, const struct msg *in, const struct rep *more, struct dialog *out) {
    dialog_of(b, in, false, out);
    if (!b || !in || ua_test(b)->verdict || value_has(out->local, "tag")) return;
    out->local = slice_str(text(ua_test(b), SLICE_FMT ";tag=%s", SLICE_ARG(out->local),
                                more && more->to_tag ? more->to_tag : ua_tag(b)));
}

/* `why`: what it means when it does not arrive. */
static struct msg *deliver(struct ua *a, struct ua *b, const struct req *r, const char *method,
                           enum verdict why) {
    struct test *t = ua_test(a);
    struct req again = *r;
    ua_send(a, r);
    for (int64_t until = clock_ms() + 4000; clock_ms() < until && !t->verdict;) {
        struct msg *in = ua_wait(b, method, 40);
        if (in) return in;
        struct msg *m = ua_wait(a, "3xx|4xx|5xx|6xx", 10);
        if (!m) continue;
        if (is(msg_cseq_method(m), "INVITE")) ua_ack(a, m);
        const char *login = ua_challenged(a, r, m);
        if (!login || again.headers != r->headers) {
            const char *text_why =
                text(t, "%s was refused: %u " SLICE_FMT, method, m->status, SLICE_ARG(m->reason));
            test_settle(t, why, m->at, text_why);
            return NULL;
        }
        again.headers = text(t, "%s%s", r->headers ? r->headers : "", login);
        ua_send(a, &again);
    }
    test_settle(t, why, t->event_count, text(t, "%s did not arrive in 4 s", method));
    return NULL;
}

void send_logged_in(struct ua *a, const struct req *r) {
    ua_send(a, r);
    struct msg *m = ua_wait(a, "401|407", 1000);
    if (!m) return;
    if (is(msg_cseq_method(m), "INVITE")) ua_ack(a, m);
    const char *login = ua_challenged(a, r, m);
    if (!login) return;
    struct req again = *r;
    again.headers = text(ua_test(a), "%s%s", r->headers ? r->headers : "", login);
    ua_send(a, &again);
}

struct msg *ask_through(struct ua *a, struct ua *b, const struct req *r) {
    return a && b && !ua_test(a)->verdict ? deliver(a, b, r, r->method, VERDICT_INCONCLUSIVE)
                                          : NULL;
}

struct msg *must_reach(struct ua *a, struct ua *b, const struct req *r) {
    return a && b && !ua_test(a)->verdict ? deliver(a, b, r, r->method, VERDICT_FAIL) : NULL;
}

struct msg *call_between(struct ua *a, struct ua *b, const struct req *more) {
    if (!a || !b || ua_test(a)->verdict) return NULL;
    struct req r = more ? *more : (struct req){ 0 };
    r.method = "INVITE";
    if (!r.body) r.body = sdp_offer;
    return deliver(a, b, &r, "INVITE", VERDICT_INCONCLUSIVE);
}

bool call_ring(struct test *t, struct call *c, const struct req *more) {
    *c = (struct call){ 0 };
    c->b = ua_registered(t, 1);
    c->a = ua_registered(t, 0);
    c->in = call_between(c->a, c->b, more);
    return c->in && !t->verdict;
}

bool call_answer(struct test *t, struct call *c, const struct rep *more) {
    struct rep r = more ? *more : (struct rep){ 0 };
    if (!r.body) r.body = sdp_answer;
    if (t->verdict) return false;
    ua_reply(c->b, c->in, 200, &r);
    c->out = ua_wait(c->a, "2xx INVITE", 4000);
    if (!c->out) test_unclear(t, "the 200 of the called side did not arrive");
    dialog_of(c->a, c->out, true, &c->da);
    dialog_taken(c->b, c->in, &r, &c->db);
    ua_send(c->a, &(struct req){ .method = "ACK", .in = &c->da });
    c->ack = ua_wait(c->b, "ACK", 4000);
    if (!c->ack) test_unclear(t, "the ACK did not arrive");
    return !t->verdict;
}

bool call_up(struct test *t, struct call *c) {
    return call_ring(t, c, NULL) && call_answer(t, c, NULL);
}

void call_end(struct test *t, struct call *c) {
    if (t->verdict) return;
    ua_send(c->a, &(struct req){ .method = "BYE", .in = &c->da });
    struct msg *bye = ua_wait(c->b, "BYE", 4000);
    if (!bye) return;
    ua_reply(c->b, bye, 200, NULL);
    (void)ua_wait(c->a, "2xx BYE", 4000);
}
