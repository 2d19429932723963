/* check/caller.c - calls with the phone under test. */
#include "check/caller.h"

#include "check/link.h"
#include "check/phone.h"

/* ---- to the phone --------------------------------------------------------------------------- */

void phone_ack(struct up *c) {
    dialog_of(c->a, c->ok, true, &c->d);
    ua_send(c->a, &(struct req){ .method = "ACK", .in = &c->d });
}

bool phone_up(struct test *t, struct up *c, const struct req *more) {
    struct req r = *more;
    r.method = "INVITE";
    if (!r.body) r.body = sdp_offer;
    if (!*r.body) r.body = NULL;
    *c = (struct up){ .a = ua_new(t, WIRE_BEST, NOBODY) };
    c->ok = ua_ask(c->a, &r);
    if (!t->verdict && !(c->ok && c->ok->status / 100 == 2))
        test_unclear(t, "the phone does not answer the call: %u", c->ok ? c->ok->status : 0);
    phone_ack(c);
    return !t->verdict;
}

struct msg *phone_down(struct up *c) {
    return ua_ask(c->a, &(struct req){ .method = "BYE", .in = &c->d });
}

struct msg *phone_reinvite(struct up *c, const struct req *more) {
    struct req r = *more;
    r.method = "INVITE";
    r.in = &c->d;
    if (!r.body) r.body = sdp_offer;
    struct msg *m = ua_ask(c->a, &r);
    if (m && m->status / 100 == 2) ua_send(c->a, &(struct req){ .method = "ACK", .in = &c->d });
    return m;
}

void phone_refuses(struct test *t, struct ua *a, const struct req *call, const char *fault) {
    struct up c = { .a = a };
    c.ok = ua_ask(a, call);
    bool up = c.ok && c.ok->status / 100 == 2, taken = up && !has(c.ok->body, "m=audio 0 ");
    if (up) {
        phone_ack(&c);
        (void)phone_down(&c);
    }
    OVER(t);
    MUST(t, t->event_count, c.ok, "no answer");
    MUST(t, c.ok->at, !taken, "%s", fault);
    PASS(t, c.ok->at);
}

/* ---- from the phone ------------------------------------------------------------------------- */

static bool ends_transfer(const struct msg *m, slice call_id) {
    return slice_eq(msg_header(m, "Call-ID"), call_id) &&
           slice_istarts(msg_header(m, "Subscription-State"), SLICE("terminated"));
}

bool phone_held(struct ua *a, const struct msg *m, slice call_id) {
    if (!is(m->method, "INVITE") || !same(msg_header(m, "Call-ID"), call_id)) return false;
    ua_reply(a, m, 200, &(struct rep){ .body = sdp_answer_to(ua_test(a), m->body) });
    return true;
}

struct msg *phone_request(struct ua *a, slice call_id, int64_t ms) {
    int64_t until = ua_until(a, ms);
    for (struct msg *m; (m = ua_next(a, until));) {
        if (phone_held(a, m, call_id)) continue;
        if (m->status || is(m->method, "REGISTER") || is(m->method, "ACK")) continue;
        if (!is(m->method, "NOTIFY")) return m;
        ua_reply(a, m, 200, NULL);
        if (ends_transfer(m, call_id)) return m;
    }
    return NULL;
}

/* The phone's INVITE; one that it sent again counts once. */
static struct msg *next_invite(const struct dialled *c, int64_t ms) {
    struct msg *m;
    do {
        m = phone_request(c->a, c->via.d.call_id, ms);
    } while (m && c->in && is(m->method, "INVITE") &&
             slice_eq(msg_header(m, "Via"), msg_header(c->in, "Via")));
    return m;
}

/* By a transfer; false when the phone takes none. */
static bool phone_refers(struct test *t, struct dialled *c, const char *uri) {
    if (!phone_up(t, &c->via, &(struct req){ 0 })) return false;
    const char *to = text(t, "Refer-To: <%s>\r\n", uri);
    struct msg *r =
        ua_ask(c->via.a, &(struct req){ .method = "REFER", .in = &c->via.d, .headers = to });
    if (r && r->status / 100 == 2) {
        c->a = c->via.a;
        return true;
    }
    (void)phone_down(&c->via);
    c->via.a = NULL;
    return false;
}

bool phone_dials(struct test *t, struct dialled *c, const char *uri) {
    *c = (struct dialled){ 0 };
    if (!uri) uri = "sip:called@{local}";
    if (!phone_refers(t, c, uri) && !t->verdict) {
        if (!phone_hands(t->run)) test_na(t, "calls out (it takes no REFER, and no --hands)");
        c->a = ua_new(t, WIRE_BEST, NOBODY);
        phone_act(t, ua_fill(c->a, text(t, "dial %s", uri)));
    }
    struct msg *m = phone_request(c->a, c->via.d.call_id, phone_patience(t->run));
    if (t->verdict) return false;
    c->in = m && is(m->method, "INVITE") ? m : NULL;
    if (c->in) dialog_taken(c->a, c->in, NULL, &c->d);
    return true;
}

struct msg *phone_tries_again(struct dialled *c, unsigned *proof) {
    struct msg *m = next_invite(c, 3000);
    *proof = m ? m->at : 0;
    if (m && is(m->method, "INVITE")) return m;
    if (m) return NULL;
    struct msg *life = ua_ask(c->a, &(struct req){ 0 });
    *proof = life ? life->at : 0;
    m = next_invite(c, 0);
    return m && is(m->method, "INVITE") ? m : NULL;
}

void phone_dialled_end(struct dialled *c) {
    struct msg *m;
    while (c->a && (m = phone_request(c->a, c->via.d.call_id, 1500)) != NULL) {
        if (is(m->method, "NOTIFY")) break;
        ua_reply(c->a, m, is(m->method, "INVITE") ? 486 : 200, NULL);
    }
    if (c->via.a) (void)phone_down(&c->via);
}

/* ---- descriptions --------------------------------------------------------------------------- */

unsigned sdp_lines(slice sdp, const char *start) {
    unsigned n = 0;
    for (slice rest = sdp, line; slice_split(&rest, '\n', &line);)
        n += slice_starts(line, slice_str(start));
    return n;
}

slice sdp_line(slice sdp, const char *start) {
    for (slice rest = sdp, line; slice_split(&rest, '\n', &line);)
        if (slice_starts(line, slice_str(start))) return slice_trim(line);
    return SLICE_NONE;
}

const char *sdp_answer_to(struct test *t, slice offer) {
    slice rest = slice_from(sdp_line(offer, "m="), 2), part[4] = { { NULL, 0 } };
    for (unsigned i = 0; i < ARRAY_LEN(part); i++) /* kind, port, profile, first format */
        if (!slice_split(&rest, ' ', &part[i])) return sdp_answer;
    bool keys = sdp_lines(offer, "a=fingerprint:");
    return text(t,
                "v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                "m=" SLICE_FMT " 40002 " SLICE_FMT " " SLICE_FMT "\r\n%s%s",
                SLICE_ARG(part[0]), SLICE_ARG(part[2]), SLICE_ARG(part[3]),
                has(offer, "a=sendonly") ? "a=recvonly\r\n" : "",
                keys ? strstr(sdp_answer, "a=setup") : "");
}
