/* A phone's calls: RFC 3261 9, 12 to 15, with 3262 (PRACK) and 3311 (UPDATE) now and then.
 *
 *   OUT ──200──▶ UP ──BYE──▶ ENDING ──▶ free         IN ──200──▶ ANSWERED ──ACK──▶ UP */
#include "sim.h"

#include <stdio.h>

#define RING_MS      8000
#define TALK_MS      20000
#define RETRY_MS     2000
#define CANCELLED_MS 35000
#define GIVE_UP_MS   240000 /* of BYE: by then a phone forgets the call */

/* ---- dialogs ---- */

struct call *call_new(struct sim *s, struct phone *p) {
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        struct call *c = &p->calls[i];
        if (c->state != CALL_FREE) continue;
        *c = (struct call){ .gen = ++p->gens, .other = NOBODY, .to = NOBODY };
        c->began = s->now.mono;
        c->act_at = MONO_NEVER;
        (void)snprintf(c->local_tag, sizeof c->local_tag, "t%u-%llx", p->index,
                       (unsigned long long)(dice_next(&p->dice) & 0xffffffff));
        return c;
    }
    return NULL;
}

void call_forget(struct call *c) {
    c->state = CALL_FREE;
}

static slice contact_of(const struct sip_msg *m) {
    slice v;
    struct hdr_contact c;
    if (hdr_value_first(m, HDR_CONTACT, &v) != ERR_OK || hdr_contact(v, &c) != ERR_OK || c.is_star)
        return SLICE_NONE;
    return c.addr.uri_text;
}

/* RFC 3261 12.1: the callee takes Record-Route as it stands, the caller in reverse. */
static void learn_dialog(struct call *c, const struct sip_msg *m) {
    struct hdr_values it = hdr_values_of(m, HDR_RECORD_ROUTE);
    slice all[ROUTES_MAX];
    unsigned n = 0;
    for (slice v; n < ROUTES_MAX && hdr_values_next(&it, &v);) all[n++] = v;
    c->route_count = n;
    for (unsigned i = 0; i < n; i++)
        put_text(c->routes[i], sizeof c->routes[i], all[c->is_caller ? n - 1 - i : i]);
    const struct sip_party *remote = c->is_caller ? &m->to : &m->from;
    put_text(c->remote, sizeof c->remote, remote->value);
    put_text(c->remote_tag, sizeof c->remote_tag, remote->tag);
    if (contact_of(m).len) put_text(c->target, sizeof c->target, contact_of(m));
}

unsigned speaker(const struct sip_msg *m) {
    for (unsigned i = 0; i < m->header_count; i++) {
        uint32_t n;
        if (slice_eq(m->headers[i].name, SLICE("Sim-Phone")) &&
            slice_u32(m->headers[i].value, PHONES_MAX, &n) == ERR_OK)
            return n;
    }
    return NOBODY;
}

static enum body keyed_body(const struct sim *s, struct phone *p) {
    bool is_tls = p->transport >= FLOW_TLS;
    return is_tls && dice_chance(&p->dice, s->plan.sdes) ? BODY_SDES : BODY_DTLS;
}

static enum body some_body(const struct sim *s, struct phone *p) {
    enum body keyed = keyed_body(s, p);
    return s->part == PART_TROUBLE && dice_chance(&p->dice, s->plan.unkeyed) ? BODY_PLAIN : keyed;
}

/* An answer is keyed as its offer was. */
static enum body answer_body(const struct sim *s, struct phone *p, const struct sip_msg *offer) {
    enum body body = some_body(s, p);
    if (!offer->body.len || body == BODY_PLAIN) return body;
    return slice_find_slice(offer->body, SLICE("a=crypto")) < offer->body.len ? BODY_SDES
                                                                              : BODY_DTLS;
}

/* ---- the caller ---- */

bool call_begin(struct sim *s, struct phone *p, unsigned person, bool is_probe) {
    const struct person *me = &s->people[p->person], *you = &s->people[person];
    struct call *c = call_new(s, p);
    if (!c) return false;
    c->state = CALL_OUT;
    c->is_caller = true;
    c->is_probe = is_probe;
    c->to = person;
    (void)snprintf(c->call_id, sizeof c->call_id, "c%u.%u.%llu", p->index, person,
                   (unsigned long long)s->serial++);
    (void)snprintf(c->local, sizeof c->local, "<sip:%s@%s>;tag=%s", me->user,
                   s->servers[me->node].domain, c->local_tag);
    (void)snprintf(c->target, sizeof c->target, "sip:%s@%s", you->user,
                   s->servers[you->node].domain);
    (void)snprintf(c->remote, sizeof c->remote, "<%s>", c->target);
    bool is_late = !is_probe && dice_chance(&p->dice, s->plan.late_offer);
    struct ask a = ask_in_call(p, c, SIP_INVITE);
    c->invite_cseq = a.cseq;
    c->is_late_offer = is_late;
    a.body = is_late ? BODY_NONE : is_probe ? BODY_DTLS : some_body(s, p);
    int n = snprintf(a.extra, sizeof a.extra, "Supported: 100rel\r\n");
    if (!is_probe && dice_chance(&p->dice, s->plan.breadth)) {
        a.breadth = 1 + dice_below(&p->dice, 6);
        (void)snprintf(a.extra + n, sizeof a.extra - (size_t)n, "Max-Breadth: %u\r\n", a.breadth);
    }
    bool is_impatient = !is_probe && dice_chance(&p->dice, s->plan.impatient);
    c->act_at = s->now.mono + (is_impatient ? dice_about(&p->dice, RING_MS) : 400000);
    s->counts.calls_tried++;
    struct uac *u = say_request(s, p, &a);
    if (!u) {
        call_forget(c);
        return false;
    }
    if (is_probe) s->probes_open++;
    nasty_overhear(s, p, c, u);
    return true;
}

static struct uac *open_invite(struct phone *p, const struct call *c) {
    for (unsigned i = 0; i < UAC_MAX; i++) {
        struct uac *u = &p->uac[i];
        if (u->is_used && !u->has_final && u->ask.method == SIP_INVITE &&
            u->ask.call == call_index(p, c) && u->call_gen == c->gen)
            return u;
    }
    return NULL;
}

static void cancel(struct sim *s, struct phone *p, struct call *c) {
    struct uac *u = open_invite(p, c);
    bool is_over = c->is_cancelled; /* RFC 3261 9.1: no final response within 64*T1 of the CANCEL */
    c->is_cancelled = true;
    c->act_at = s->now.mono + CANCELLED_MS;
    if (!u || is_over) {
        call_forget(c);
        return;
    }
    /* RFC 3261 9.1: not before a provisional response; the first one will send it. */
    if (u->has_provisional && !u->is_cancel_sent) say_cancel(s, p, u);
}

static void send_bye(struct sim *s, struct phone *p, struct call *c) {
    struct ask a = ask_in_call(p, c, SIP_BYE);
    c->state = CALL_ENDING;
    c->act_at = s->now.mono + 45000; /* when nothing comes of it, once more */
    s->counts.byes++;
    if (s->now.mono - c->began > GIVE_UP_MS + 600000) {
        call_forget(c);
        return;
    }
    if (!say_request(s, p, &a)) {
        c->cseq--;
        c->act_at = s->now.mono + RETRY_MS;
    }
}

void call_end(struct sim *s, struct phone *p, struct call *c) {
    switch (c->state) {
    case CALL_OUT:
        cancel(s, p, c);
        break;
    case CALL_IN:
        c->final_plan = 480;
        c->act_at = s->now.mono + 1;
        break;
    case CALL_ANSWERED:
    case CALL_UP:
        send_bye(s, p, c);
        break;
    case CALL_FREE:
    case CALL_ENDING:
        break;
    }
    phone_rearm(p);
}

/* RFC 3261 13.2.2.4: each 2xx gets an ACK; of several dialogs one is kept. */
static void second_answer(struct sim *s, struct phone *p, const struct call *c, const struct uac *u,
                          const struct sip_msg *m) {
    struct call *other = call_new(s, p);
    if (!other) return;
    uint32_t gen = other->gen;
    *other = *c;
    other->gen = gen;
    other->is_caller = true;
    other->is_probe = false;
    put_text(other->call_id, sizeof other->call_id, slice_str(u->ask.call_id));
    put_text(other->local, sizeof other->local, slice_str(u->ask.from));
    put_text(other->local_tag, sizeof other->local_tag, m->from.tag);
    other->cseq = u->cseq;
    other->other = speaker(m);
    learn_dialog(other, m);
    check_answerer(s, p, other, m);
    say_ack(s, p, other, u->cseq, u->ask.body == BODY_NONE ? BODY_DTLS : BODY_NONE);
    send_bye(s, p, other);
}

static void answered(struct sim *s, struct phone *p, struct call *c, struct uac *u,
                     const struct sip_msg *m) {
    bool is_known = c->state != CALL_OUT && slice_eq(m->to.tag, slice_str(c->remote_tag));
    if (c->state != CALL_OUT && !is_known) {
        second_answer(s, p, c, u, m);
        return;
    }
    if (is_known) {
        say_ack(s, p, c, u->cseq, c->is_late_offer ? BODY_DTLS : BODY_NONE);
        return;
    }
    learn_dialog(c, m);
    c->other = speaker(m);
    c->state = CALL_UP;
    check_answerer(s, p, c, m);
    s->counts.calls_up++;
    c->act_at = s->now.mono + dice_about(&p->dice, c->is_probe ? 3000 : TALK_MS);
    if (c->is_probe) s->probes_open--;
    say_ack(s, p, c, u->cseq, c->is_late_offer ? some_body(s, p) : BODY_NONE);
    if (c->is_cancelled || s->part == PART_QUIET) send_bye(s, p, c);
}

/* RFC 3262 4: a reliable provisional response is acknowledged; 3311: perhaps an UPDATE. */
static void ringing(struct sim *s, struct phone *p, struct call *c, struct uac *u,
                    const struct sip_msg *m) {
    uint32_t rseq;
    if (c->is_cancelled && !u->is_cancel_sent) say_cancel(s, p, u);
    if (m->status == 100 || !m->to.tag.len) return;
    c->has_early = true;
    if (hdr_u32_of(m, HDR_RSEQ, &rseq) != ERR_OK || c->state != CALL_OUT) return;
    learn_dialog(c, m);
    struct ask a = ask_in_call(p, c, SIP_PRACK);
    (void)snprintf(a.extra, sizeof a.extra, "RAck: %u %u INVITE\r\n", rseq, m->cseq);
    if (c->is_late_offer) a.body = some_body(s, p);
    (void)say_request(s, p, &a);
    if (!c->is_late_offer && dice_chance(&p->dice, s->plan.update)) {
        a = ask_in_call(p, c, SIP_UPDATE);
        a.body = some_body(s, p);
        (void)say_request(s, p, &a);
    }
}

static void invite_failed(struct sim *s, struct phone *p, struct call *c, struct uac *u,
                          const struct sip_msg *m) {
    if ((m->status == 401 || m->status == 407) && !c->is_cancelled) {
        say_learn_challenge(p, m);
        /* The refused INVITE made no dialog: the next one starts as the first did. */
        if (say_again(s, p, u)) return;
    }
    if (c->is_probe)
        (void)sim_fail(s, "phone %u: the probe of %s ended with %u", p->index,
                       s->people[c->to].user, m->status);
    if (m->status >= 400) s->counts.calls_refused++;
    call_forget(c);
}

/* A request inside a call was answered. RFC 3261 12.2.1.2: 481 and 408 end it. */
static void in_call_response(struct sim *s, struct phone *p, struct call *c, struct uac *u,
                             const struct sip_msg *m) {
    if (m->status == 401 || m->status == 407) {
        say_learn_challenge(p, m);
        if (say_again(s, p, u)) return;
    }
    if (u->ask.method == SIP_BYE) {
        call_forget(c);
    } else if (u->ask.method == SIP_INVITE && m->status < 300) {
        say_ack(s, p, c, u->cseq, BODY_NONE);
    } else if ((m->status == 481 || m->status == 408) && c->state == CALL_UP) {
        send_bye(s, p, c);
    }
}

void call_response(struct sim *s, struct phone *p, struct uac *u, const struct sip_msg *m) {
    struct call *c = &p->calls[u->ask.call];
    bool is_initial = u->ask.method == SIP_INVITE &&
                      slice_find_slice(slice_str(u->ask.to), SLICE(";tag=")) >= strlen(u->ask.to);
    if (c->gen != u->call_gen || c->state == CALL_FREE) {
        if (is_initial && m->status >= 200 && m->status < 300) second_answer(s, p, c, u, m);
        return;
    }
    if (!is_initial) {
        if (m->status >= 200) in_call_response(s, p, c, u, m);
    } else if (m->status < 200) {
        ringing(s, p, c, u, m);
    } else if (m->status < 300) {
        answered(s, p, c, u, m);
    } else {
        invite_failed(s, p, c, u, m);
    }
    phone_rearm(p);
}

void call_timed_out(struct sim *s, struct phone *p, struct uac *u) {
    struct call *c = &p->calls[u->ask.call];
    if (c->gen != u->call_gen || c->state == CALL_FREE) return;
    if (c->state == CALL_OUT && u->ask.method == SIP_INVITE) {
        if (c->is_probe) (void)sim_fail(s, "phone %u: a probe was never answered", p->index);
        call_forget(c);
    } else if (c->state == CALL_ENDING && u->ask.method == SIP_BYE) {
        c->act_at = s->now.mono + RETRY_MS;
        if (p->link == LINK_UP && s->now.mono - u->began >= 32000) call_forget(c);
    }
}

/* ---- the callee ---- */

static struct uas *ringing_invite(struct phone *p, const struct call *c) {
    for (unsigned i = 0; i < UAS_MAX; i++) {
        struct uas *t = &p->uas[i];
        if (t->is_used && t->method == SIP_INVITE && !t->is_final && t->call == call_index(p, c) &&
            t->call_gen == c->gen)
            return t;
    }
    return NULL;
}

static unsigned draw_answer(struct sim *s, struct phone *p, bool is_probe) {
    static const unsigned refusals[] = { 486, 603, 480, 404, 500, 503, 302, 488, 600, 408 };
    if (is_probe) return 200;
    if (dice_chance(&p->dice, s->plan.no_answer)) return 0;
    if (dice_chance(&p->dice, s->plan.refuse))
        return refusals[dice_below(&p->dice, ARRAY_LEN(refusals))];
    return 200;
}

static void ring(struct sim *s, struct phone *p, const struct sip_msg *m) {
    struct call *c = call_new(s, p);
    if (!c || p->is_leaving) {
        for (unsigned i = 0; i < CALLS_MAX; i++)
            sim_say(s, "  line %u: state %u, %s", i, p->calls[i].state, p->calls[i].call_id);
        if (c) call_forget(c);
        (void)say_reply(s, p, m, 486, NULL, BODY_NONE);
        return;
    }
    bool is_probe = s->part == PART_PROBE;
    c->state = CALL_IN;
    c->other = speaker(m);
    c->to = p->person;
    c->remote_cseq = m->cseq;
    put_text(c->call_id, sizeof c->call_id, m->call_id);
    learn_dialog(c, m);
    (void)snprintf(c->local, sizeof c->local, SLICE_FMT ";tag=%s", SLICE_ARG(m->to.value),
                   c->local_tag);
    nasty_overhear_invite(s, p, c, m);
    c->is_late_offer = m->body.len == 0;
    c->final_plan = draw_answer(s, p, is_probe);
    c->body_plan = answer_body(s, p, m);
    c->act_at = s->now.mono + dice_about(&p->dice, is_probe ? 100 : RING_MS);
    bool may_be_reliable = hdr_has_token(m, HDR_SUPPORTED, SLICE("100rel"));
    if (may_be_reliable && !is_probe && dice_chance(&p->dice, s->plan.reliable)) c->rseq = 1;
    bool is_early = dice_chance(&p->dice, s->plan.early_media) && !is_probe;
    enum body early = is_early && (!c->is_late_offer || c->rseq) ? c->body_plan : BODY_NONE;
    const struct uas *t = say_reply(s, p, m, is_early ? 183 : 180, c, early);
    check_forks(s, p, t, m);
}

static void answer(struct sim *s, struct phone *p, struct call *c) {
    struct uas *t = ringing_invite(p, c);
    unsigned status = c->final_plan;
    c->act_at = MONO_NEVER;
    if (!t) {
        call_forget(c);
        return;
    }
    if (!status) { /* rings until the caller or timer C has enough */
        c->act_at = s->now.mono + RING_MS;
        return;
    }
    c->rseq = 0;
    if (status == 200) {
        c->state = CALL_ANSWERED;
        say_reply_to(s, p, t, 200, c, c->body_plan);
        return;
    }
    say_reply_to(s, p, t, status, c, BODY_NONE);
    call_forget(c);
}

static void in_call_request(struct sim *s, struct phone *p, struct call *c,
                            const struct sip_msg *m) {
    if (m->cseq <= c->remote_cseq) { /* RFC 3261 12.2.2 */
        (void)say_reply(s, p, m, 500, c, BODY_NONE);
        return;
    }
    c->remote_cseq = m->cseq;
    if (contact_of(m).len && (m->method == SIP_INVITE || m->method == SIP_UPDATE))
        put_text(c->target, sizeof c->target, contact_of(m));
    if (m->method == SIP_BYE) {
        struct uas *t = c->state == CALL_IN ? ringing_invite(p, c) : NULL;
        (void)say_reply(s, p, m, 200, c, BODY_NONE);
        if (t) say_reply_to(s, p, t, 487, c, BODY_NONE);
        call_forget(c);
        return;
    }
    bool has_offer = m->body.len && m->method != SIP_INFO;
    (void)say_reply(s, p, m, 200, c,
                    m->method == SIP_INVITE || has_offer ? answer_body(s, p, m) : BODY_NONE);
}

static void hear_cancel(struct sim *s, struct phone *p, const struct sip_msg *m) {
    for (unsigned i = 0; i < UAS_MAX; i++) {
        struct uas *t = &p->uas[i];
        if (!t->is_used || t->method != SIP_INVITE ||
            !slice_eq(m->via.branch, slice_str(t->branch)))
            continue;
        struct call *c = t->call == NOBODY ? NULL : &p->calls[t->call];
        bool is_open = c && c->gen == t->call_gen && c->state == CALL_IN && !t->is_final;
        (void)say_reply(s, p, m, 200, is_open ? c : NULL, BODY_NONE);
        if (!is_open || !t->is_used) return;
        c->rseq = 0;
        say_reply_to(s, p, t, 487, c, BODY_NONE);
        call_forget(c);
        return;
    }
    (void)say_reply(s, p, m, 481, NULL, BODY_NONE);
}

/* The ACK of a refusal has the branch of its INVITE (RFC 3261 17.1.1.3), that of a 2xx its tags. */
static void hear_ack(struct sim *s, struct phone *p, const struct sip_msg *m) {
    for (unsigned i = 0; i < UAS_MAX; i++) {
        struct uas *t = &p->uas[i];
        if (!t->is_used || t->method != SIP_INVITE || !t->is_final || t->cseq != m->cseq ||
            !slice_eq(m->call_id, slice_str(t->call_id)))
            continue;
        if (t->status >= 300 ? !slice_eq(m->via.branch, slice_str(t->branch))
                             : !slice_eq(m->to.tag, slice_str(t->local_tag)))
            continue;
        struct call *c = t->call == NOBODY ? NULL : &p->calls[t->call];
        t->is_acked = true;
        t->again_at = MONO_NEVER;
        if (!c || c->gen != t->call_gen || c->state != CALL_ANSWERED) continue;
        c->state = CALL_UP;
        c->act_at = s->now.mono + dice_about(&p->dice, TALK_MS);
    }
}

static struct call *call_of(struct phone *p, const struct sip_msg *m) {
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        struct call *c = &p->calls[i];
        if (c->state != CALL_FREE && slice_eq(m->to.tag, slice_str(c->local_tag)) &&
            slice_eq(m->from.tag, slice_str(c->remote_tag)) &&
            slice_eq(m->call_id, slice_str(c->call_id)))
            return c;
    }
    return NULL;
}

void call_request(struct sim *s, struct phone *p, const struct sip_msg *m) {
    if (m->method == SIP_CANCEL) {
        hear_cancel(s, p, m);
        return;
    }
    if (m->method == SIP_ACK) {
        hear_ack(s, p, m);
        return;
    }
    for (unsigned i = 0; i < UAS_MAX; i++) {
        struct uas *t = &p->uas[i];
        if (!t->is_used || t->method != m->method || !slice_eq(m->via.branch, slice_str(t->branch)))
            continue;
        if (p->transport != FLOW_UDP)
            (void)sim_fail(s, "phone %u got a request twice over a stream:\n" SLICE_FMT, p->index,
                           SLICE_ARG(m->all));
        (void)net_from_phone(s, p, packet_slice(t->packet));
        return;
    }
    struct call *c = m->to.tag.len ? call_of(p, m) : NULL;
    if (c)
        in_call_request(s, p, c, m);
    else if (m->to.tag.len)
        (void)say_reply(s, p, m, 481, NULL, BODY_NONE);
    else if (m->method == SIP_INVITE)
        ring(s, p, m);
    else
        (void)say_reply(s, p, m, 200, NULL, BODY_NONE);
}

/* ---- time ---- */

static void talk(struct sim *s, struct phone *p, struct call *c) {
    static const enum sip_method methods[] = { SIP_INVITE, SIP_UPDATE, SIP_INFO, SIP_INVITE };
    bool is_over = s->part == PART_QUIET || c->is_probe;
    if (is_over || !dice_chance(&p->dice, s->plan.reinvite)) {
        send_bye(s, p, c);
        return;
    }
    struct ask a = ask_in_call(p, c, methods[dice_below(&p->dice, ARRAY_LEN(methods))]);
    if (a.method == SIP_INFO)
        a.body = BODY_TEXT;
    else
        a.body = some_body(s, p);
    c->act_at = s->now.mono + dice_about(&p->dice, TALK_MS);
    if (open_invite(p, c)) { /* RFC 3261 14.1: one at a time */
        c->cseq--;
        return;
    }
    struct uac *u = say_request(s, p, &a);
    if (!u) c->cseq--;
    if (u) nasty_overhear(s, p, c, u);
}

void call_act(struct sim *s, struct phone *p, struct call *c) {
    c->act_at = MONO_NEVER;
    switch (c->state) {
    case CALL_OUT:
        cancel(s, p, c);
        break;
    case CALL_IN:
        check_ringing(s, p, c);
        answer(s, p, c);
        break;
    case CALL_UP:
        talk(s, p, c);
        break;
    case CALL_ENDING:
        send_bye(s, p, c);
        break;
    case CALL_ANSWERED:
    case CALL_FREE:
        break;
    }
}
