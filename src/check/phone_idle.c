/* check/phone_idle.c - ending the calls that a test left open with the phone.
 *
 * The evidence tells which they are: an INVITE without a final answer, a 2xx without the BYE that
 * ends its dialog. Nothing of a test needs to say so. */
#include "check/caller.h"
#include "check/link.h"
#include "check/phone.h"

#define IDLE_MS 2000 /* for the answers of the phone */

struct seen { /* a SIP message of the evidence */
    slice raw;
    bool ours;
    unsigned status; /* 0: a request */
    slice method, branch, call_id, from_tag, to_tag;
};

struct idle {
    struct test *t;
    struct ua *a;
    struct seen seen[EVENTS_MAX];
    unsigned read, count; /* of the evidence; of `seen` */
    unsigned ours_from;   /* what the test itself sent stands before */
};

static void look(struct idle *s) {
    for (; s->read < s->t->event_count; s->read++) {
        const struct event *e = &s->t->events[s->read];
        struct msg m;
        if (e->kind == '.') continue;
        msg_read(e->bytes, &m);
        slice call_id = msg_header(&m, "Call-ID");
        if (m.bad || !call_id.ptr) continue;
        s->seen[s->count++] = (struct seen){
            .raw = e->bytes,
            .ours = e->kind == '>',
            .status = m.status,
            .method = m.status ? msg_cseq_method(&m) : m.method,
            .branch = value_param(msg_value(&m, "Via", 0), "branch"),
            .call_id = call_id,
            .from_tag = value_param(msg_header(&m, "From"), "tag"),
            .to_tag = value_param(msg_header(&m, "To"), "tag"),
        };
    }
}

/* The request of this method and branch that we sent; NULL: none. */
static const struct seen *sent(const struct idle *s, const char *method, slice branch) {
    for (const struct seen *o = s->seen; o < s->seen + s->count; o++)
        if (o->ours && !o->status && is(o->method, method) && same(o->branch, branch)) return o;
    return NULL;
}

/* The final answer to q; NULL: none yet. */
static const struct seen *answer(const struct idle *s, const struct seen *q) {
    for (const struct seen *o = s->seen; o < s->seen + s->count; o++)
        if (o->ours != q->ours && o->status >= 200 && slice_eq(o->method, q->method) &&
            same(o->branch, q->branch))
            return o;
    return NULL;
}

/* The INVITE that the 2xx `ok` answers. */
static const struct seen *asked(const struct idle *s, const struct seen *ok) {
    for (const struct seen *o = s->seen; o < s->seen + s->count; o++)
        if (o->ours != ok->ours && !o->status && is(o->method, "INVITE") &&
            same(o->branch, ok->branch))
            return o;
    return NULL;
}

/* Is q of the dialog that `ok` made? From either side. */
static bool of_dialog(const struct seen *q, const struct seen *ok) {
    return slice_eq(q->call_id, ok->call_id) &&
           ((slice_eq(q->from_tag, ok->from_tag) && slice_eq(q->to_tag, ok->to_tag)) ||
            (slice_eq(q->from_tag, ok->to_tag) && slice_eq(q->to_tag, ok->from_tag)));
}

/* ---- ending --------------------------------------------------------------------------------- */

static void hang_up(struct idle *s, const struct seen *ok, const struct seen *invite, bool ack) {
    struct msg m, in;
    struct dialog d;
    msg_read(ok->raw, &m);
    msg_read(invite->raw, &in);
    if (ok->ours) {
        const char *tag = text_of(s->t, ok->to_tag);
        dialog_taken(s->a, &in, &(struct rep){ .to_tag = tag }, &d);
    } else {
        dialog_of(s->a, &m, true, &d);
        if (ack)
            ua_send(s->a, &(struct req){ .method = "ACK",
                                         .in = &d,
                                         .cseq = text(s->t, "%u ACK", msg_cseq(&m)) });
    }
    d.cseq += 1000; /* above all that the test sent in it */
    ua_send(s->a, &(struct req){ .method = "BYE", .in = &d });
}

/* A 2xx to an INVITE: is its call still up? What is not being ended yet is. */
static bool call_open(struct idle *s, const struct seen *ok) {
    const struct seen *invite = asked(s, ok);
    bool acked = false, ending = false;
    if (!invite) return false;
    for (const struct seen *o = s->seen; o < s->seen + s->count; o++) {
        if (o->status || !of_dialog(o, ok)) continue;
        acked |= is(o->method, "ACK");
        if (!is(o->method, "BYE")) continue;
        if (!o->ours || answer(s, o)) return false;
        ending |= o >= s->seen + s->ours_from;
    }
    if (!ending) hang_up(s, ok, invite, !acked);
    return true;
}

/* An INVITE of ours: is it without a final answer? Then it is cancelled; a refusal is acknowledged,
 * or the phone would repeat it. */
static bool invite_open(struct idle *s, const struct seen *q) {
    const struct seen *final = answer(s, q), *cancel = sent(s, "CANCEL", q->branch);
    if (final && (final->status < 300 || sent(s, "ACK", q->branch))) return false;
    ua_again(s->a, q->raw);
    if (final) {
        struct msg m;
        msg_read(final->raw, &m);
        ua_ack(s->a, &m);
        return false;
    }
    if (!cancel) ua_cancel(s->a);
    const struct seen *r = cancel ? answer(s, cancel) : NULL;
    return !(r && r->status >= 300); /* it knows of no such INVITE */
}

/* Does what is to be done now; is anything still open? */
static bool end_calls(struct idle *s) {
    bool open = false;
    look(s);
    for (unsigned i = 0, n = s->count; i < n; i++) {
        const struct seen *o = &s->seen[i];
        struct msg m;
        bool invite = is(o->method, "INVITE");
        if (o->status) {
            if (invite && o->status / 100 == 2) open |= call_open(s, o);
        } else if (o->ours) {
            if (invite) open |= invite_open(s, o);
        } else if (!is(o->method, "ACK") && !is(o->method, "REGISTER") && !answer(s, o)) {
            msg_read(o->raw, &m);
            ua_reply(s->a, &m, invite ? 486 : 200, NULL);
        }
        look(s); /* what that sent counts for the others: two answers of one call are one BYE */
    }
    return open;
}

void phone_idle(struct test *t) {
    const struct link *l = t->run->phone->link;
    struct idle *s = arena_zalloc(&t->arena, sizeof *s);
    if (!l || l->closed || !s) return; /* its connection went away, and its calls with it */
    s->t = t;
    look(s);
    s->ours_from = s->count;
    s->a = ua_new(t, WIRE_BEST, NOBODY);
    bool open = end_calls(s);
    int64_t until = ua_until(s->a, IDLE_MS);
    while (ua_next(s->a, open ? until : clock_ms())) open = end_calls(s);
}
