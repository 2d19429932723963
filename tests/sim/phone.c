/* A phone's life: it connects, registers, keeps its registration, thinks of something to do, loses
 * its connection and comes back. RFC 3261 10.2, RFC 5626 4.5 (come back, ever later). */
#include "sim.h"

#include "base/mem.h"
#include <stdio.h>

#define T2_MS             4000
#define BACKOFF_MS        500
#define BACKOFF_MAX       16000
#define LINGER_MS         40000
#define RETRY_MS          3000
#define UNANSWERED_2XX_MS 32000

/* ---- the scene ---- */

static void draw_transport(struct sim *s, struct phone *p) {
    const struct plan *plan = &s->plan;
    p->transport = dice_chance(&p->dice, 300) ? FLOW_WSS : FLOW_TLS;
    if (dice_chance(&p->dice, plan->tcp)) p->transport = FLOW_TCP;
    if (dice_chance(&p->dice, plan->udp)) p->transport = FLOW_UDP;
    bool is_clear = p->transport == FLOW_TCP || p->transport == FLOW_UDP;
    p->lane = is_clear ? LANE_LEGACY : LANE_MAIN;
    p->has_certificate = !is_clear && dice_chance(&p->dice, plan->certificate);
    p->has_instance = dice_chance(&p->dice, plan->instance);
    bool is_outbound = !is_clear && p->has_instance && dice_chance(&p->dice, plan->outbound);
    p->reg_id = is_outbound ? 1 : 0;
    p->q = dice_chance(&p->dice, plan->q) ? 1 + dice_below(&p->dice, 9) : 10;
}

/* RFC 5626 4.2: the same instance over a second connection. A phone of its own here: what it does
 * not know of the other's calls it answers with 481. */
void phone_second_flow(struct sim *s, struct phone *p, struct phone *first) {
    phone_init(s, p, first->person, HONEST);
    p->transport = first->transport;
    p->lane = first->lane;
    p->has_certificate = false;
    p->has_instance = true;
    p->reg_id = 2;
    p->q = first->q;
    p->twin = first->index;
    first->twin = p->index;
    put_text(p->secret, sizeof p->secret, slice_str(first->secret));
    put_text(p->instance, sizeof p->instance, slice_str(first->instance));
}

void phone_init(struct sim *s, struct phone *p, unsigned person, enum nature nature) {
    unsigned index = (unsigned)(p - s->phones);
    const struct person *who = &s->people[person];
    *p = (struct phone){ .index = index, .person = person, .node = who->node, .nature = nature };
    p->dice.state = dice_next(&s->dice);
    p->device_id = index + 1;
    draw_transport(s, p);
    put_text(p->secret, sizeof p->secret, slice_str(who->secret));
    if (p->lane == LANE_LEGACY) (void)snprintf(p->secret, sizeof p->secret, "legacy-%u", index);
    if (nature == STRANGER) put_text(p->secret, sizeof p->secret, SLICE("a guess"));
    (void)snprintf(p->instance, sizeof p->instance, "urn:uuid:00000000-0000-4000-8000-%012u",
                   index);
    p->conn = p->twin = NOBODY;
    p->is_on = true;
    p->wake_at = p->think_at = MONO_NEVER;
    p->register_at = p->ping_at = MONO_NEVER;
    p->connect_at = s->now.mono + dice_about(&p->dice, 2000);
    p->backoff = BACKOFF_MS;
    p->has_certificate = p->has_certificate && nature != STRANGER;
    if (nature != STRANGER && (p->lane == LANE_LEGACY || p->has_certificate))
        (void)node_put_device(s, &s->servers[p->node], p);
    static const char *const transports[] = { "udp", "tcp", "tls", "wss" };
    static const char *const natures[] = { "", ", nasty", ", a stranger" };
    sim_say(s, "phone %u of %s on node %u: %s%s%s%s", index, who->user, p->node,
            transports[p->transport], p->has_certificate ? ", certificate" : "",
            p->has_instance ? ", instance" : "", natures[nature]);
    phone_rearm(p);
}

static void forget_transactions(struct phone *p) {
    for (unsigned i = 0; i < UAC_MAX; i++) {
        mem_free(p->uac[i].packet);
        p->uac[i] = (struct uac){ .is_used = false };
    }
    for (unsigned i = 0; i < UAS_MAX; i++) {
        mem_free(p->uas[i].packet);
        mem_free(p->uas[i].request);
        p->uas[i] = (struct uas){ .is_used = false };
    }
}

void phone_fini(struct phone *p) {
    forget_transactions(p);
}

/* Power off and on: everything is forgotten but who it is. */
void phone_restart(struct sim *s, struct phone *p, bool is_on) {
    sim_say(s, "phone %u is switched %s", p->index, is_on ? "on" : "off");
    for (unsigned i = 0; i < CALLS_MAX; i++) call_forget(&p->calls[i]);
    forget_transactions(p);
    net_hang_up(s, p, dice_chance(&p->dice, 500));
    p->is_on = is_on;
    p->is_registered = p->is_leaving = false;
    p->reg_life++;
    p->reg_cseq = 0;
    p->challenge.is_there = false;
    p->register_at = p->think_at = MONO_NEVER;
    p->connect_at = s->now.mono + dice_about(&p->dice, is_on ? 1000 : 20000);
    phone_rearm(p);
}

/* ---- the connection ---- */

void phone_opened(struct sim *s, struct phone *p) {
    p->link = LINK_UP;
    p->backoff = BACKOFF_MS;
    p->connect_at = MONO_NEVER;
    (void)snprintf(p->contact, sizeof p->contact, "sip:p%u@10.0.0.%u:%u%s", p->index, p->addr.ip[3],
                   p->addr.port,
                   p->transport == FLOW_WSS   ? ";transport=ws"
                   : p->transport == FLOW_TLS ? ";transport=tls"
                   : p->transport == FLOW_TCP ? ";transport=tcp"
                                              : "");
    s->counts.reconnects++;
    p->think_at = s->now.mono + dice_about(&p->dice, s->plan.think_ms);
    if (p->nature != STRANGER) phone_register(s, p);
    phone_rearm(p);
}

void phone_lost(struct sim *s, struct phone *p) {
    sim_say(s, "phone %u has lost its connection", p->index);
    p->is_registered = false;
    p->register_at = MONO_NEVER;
    p->challenge.is_there = false;           /* nonces belong to a connection */
    for (unsigned i = 0; i < UAC_MAX; i++) { /* who asked has nobody to hear from */
        struct uac *u = &p->uac[i];
        if (!u->is_used || u->has_final || u->ask.method == SIP_INVITE) continue;
        u->has_final = true;
        u->end_at = s->now.mono;
        if (u->ask.call != NOBODY) call_timed_out(s, p, u);
    }
    p->connect_at = s->now.mono + dice_about(&p->dice, p->backoff);
    if (p->backoff < BACKOFF_MAX && s->part == PART_TROUBLE) p->backoff *= 2;
    phone_rearm(p);
}

/* ---- registration ---- */

void phone_register(struct sim *s, struct phone *p) {
    const struct person *who = &s->people[p->person];
    const char *domain = s->servers[p->node].domain;
    struct ask a = { .method = SIP_REGISTER, .call = NOBODY, .cseq = ++p->reg_cseq };
    (void)snprintf(a.uri, sizeof a.uri, "sip:%s", domain);
    (void)snprintf(a.to, sizeof a.to, "<sip:%s@%s>", who->user, domain);
    (void)snprintf(a.from, sizeof a.from, "<sip:%s@%s>;tag=r%u", who->user, domain, p->reg_life);
    (void)snprintf(a.call_id, sizeof a.call_id, "r%u-%u", p->index, p->reg_life);
    char instance[128] = "", q[16] = "";
    /* Nobody tells a phone on datagrams that the server has started anew: its next refresh does. */
    bool is_brief = p->transport == FLOW_UDP && s->plan.expires_s > HEAL_MS / 1000;
    uint32_t expires_s = is_brief ? HEAL_MS / 1000 : s->plan.expires_s;
    if (p->has_instance)
        (void)snprintf(instance, sizeof instance, ";+sip.instance=\"<%s>\"", p->instance);
    if (p->q < 10) (void)snprintf(q, sizeof q, ";q=0.%u", p->q);
    int n = snprintf(a.extra, sizeof a.extra, "Contact: <%s>%s%s;expires=%u", p->contact, instance,
                     q, p->is_leaving ? 0 : expires_s);
    if (p->reg_id) n += snprintf(a.extra + n, sizeof a.extra - (size_t)n, ";reg-id=%u", p->reg_id);
    n += snprintf(a.extra + n, sizeof a.extra - (size_t)n, "\r\n");
    if (p->reg_id)
        n += snprintf(a.extra + n, sizeof a.extra - (size_t)n,
                      "Supported: path, outbound, gruu\r\n");
    const char *old = p->grant_count ? p->grants[p->grant_count - 1].contact : "";
    if (!p->has_instance && old[0] && strcmp(old, p->contact) != 0) /* nobody else will remove it */
        (void)snprintf(a.extra + n, sizeof a.extra - (size_t)n, "Contact: <%s>;expires=0\r\n", old);
    if (p->is_leaving) p->grant_count = 0;
    p->register_at = s->now.mono + 40000; /* if nothing at all comes back */
    (void)say_request(s, p, &a);
}

/* RFC 3261 10.2.4: the binding in the answer tells the expiry; RFC 5627 4.2: and the GRUU. */
static bool read_contact(struct phone *p, const struct sip_msg *m, uint32_t *out_s) {
    struct hdr_values it = hdr_values_of(m, HDR_CONTACT);
    for (slice v; hdr_values_next(&it, &v);) {
        struct hdr_contact c;
        if (hdr_contact(v, &c) != ERR_OK || !slice_eq(c.addr.uri_text, slice_str(p->contact)))
            continue;
        slice gruu;
        if (hdr_param(c.addr.params, SLICE("pub-gruu"), &gruu))
            put_text(p->gruu, sizeof p->gruu, hdr_inner(gruu));
        *out_s = c.expires;
        return c.has_expires;
    }
    return false;
}

static void registered(struct sim *s, struct phone *p, const struct uac *u,
                       const struct sip_msg *m) {
    uint32_t expires_s = 60;
    if (p->is_leaving) {
        p->is_leaving = p->is_registered = false;
        p->grant_count = 0;
        p->register_at = s->now.mono + dice_about(&p->dice, 5000);
        return;
    }
    if (!read_contact(p, m, &expires_s) && !s->people[p->person].is_spoiled) {
        (void)sim_fail(s, "phone %u is not in the answer to its REGISTER:\n" SLICE_FMT, p->index,
                       SLICE_ARG(m->all));
        return;
    }
    struct grant g = { .at = s->now.mono, .is_refresh = p->is_registered };
    struct conn *c = net_conn(s, p);
    /* It counts from when the server saw the request: not before it was sent. */
    g.expires = s->now.wall - (s->now.mono - u->began) + (int64_t)expires_s * 1000;
    if (c) c->has_proved = true;
    put_text(g.contact, sizeof g.contact, slice_str(p->contact));
    if (g.is_refresh && s->servers[p->node].is_disk_bad)
        g.expires = 0; /* it may never be written */
    if (p->grant_count == GRANTS_MAX)
        memmove(p->grants, p->grants + 1, --p->grant_count * sizeof g);
    p->grants[p->grant_count++] = g;
    p->is_registered = true;
    s->counts.registered++;
    p->register_at = s->now.mono + (int64_t)expires_s * 500;
}

/* Its node crashes, or its disk is full: what was to be written within the second is not. */
void phone_doubts(struct sim *s, struct phone *p, unsigned node) {
    for (unsigned i = 0; i < p->grant_count && p->node == node; i++)
        if (p->grants[i].is_refresh && s->now.mono - p->grants[i].at < 1200)
            p->grants[i].expires = 0;
}

static void register_response(struct sim *s, struct phone *p, struct uac *u,
                              const struct sip_msg *m) {
    uint32_t wait_s = 0;
    if (u->ask.is_forged) return;
    if (m->status == 200) {
        if (u->cseq == p->reg_cseq) registered(s, p, u, m);
    } else if (m->status == 401 || m->status == 407) {
        say_learn_challenge(p, m);
        if (!say_again(s, p, u)) p->register_at = s->now.mono + RETRY_MS;
    } else {
        p->is_registered = false;
        slice after = sip_value(m, HDR_RETRY_AFTER);
        if (slice_u32(after, 30, &wait_s) != ERR_OK) wait_s = 0;
        p->register_at = s->now.mono + (int64_t)wait_s * 1000 + dice_about(&p->dice, RETRY_MS);
    }
}

/* ---- what comes ---- */

static void uac_response(struct sim *s, struct phone *p, struct uac *u, const struct sip_msg *m) {
    if (m->status < 200) {
        u->has_provisional = true;
        u->again_at = u->ask.method == SIP_INVITE ? MONO_NEVER : u->again_at;
        if (u->ask.call != NOBODY) call_response(s, p, u, m);
        return;
    }
    check_final(s, p, u, m);
    bool is_first = !u->has_final;
    bool is_invite = u->ask.method == SIP_INVITE;
    if (is_invite && m->status >= 300) say_ack_refusal(s, p, u, m);
    u->status = m->status;
    u->has_final = true;
    u->again_at = MONO_NEVER;
    if (is_first) u->final_at = s->now.mono;
    if (is_first) u->end_at = s->now.mono + LINGER_MS;
    if (!is_first && !(is_invite && m->status < 300)) return;
    if (u->ask.method == SIP_REGISTER)
        register_response(s, p, u, m);
    else if (u->ask.call != NOBODY)
        call_response(s, p, u, m);
    else if (is_first && (m->status == 407 || m->status == 401) && !u->ask.is_forged) {
        say_learn_challenge(p, m);
        (void)say_again(s, p, u);
    }
}

void phone_hear(struct sim *s, struct phone *p, slice bytes) {
    struct sip_msg *m = &s->msg;
    if (!p->is_on || p->link != LINK_UP) return;
    sim_say(s, "phone %u <- %s", p->index, first_line(bytes));
    if (s->verbose > 1) printf(SLICE_FMT "\n", SLICE_ARG(bytes));
    if (sip_msg_read(m, bytes, SIP_STREAM).err != ERR_OK) return; /* check_sent has judged it */
    check_heard(s, p, m);
    if (s->is_failed) return;
    if (m->is_request) {
        call_request(s, p, m);
    } else {
        for (unsigned i = 0; i < UAC_MAX; i++) {
            struct uac *u = &p->uac[i];
            bool is_it = u->is_used && slice_eq(m->via.branch, slice_str(u->branch));
            if (is_it && m->method == SIP_CANCEL) break;
            if (!is_it || m->method != u->ask.method) continue;
            uac_response(s, p, u, m);
            break;
        }
    }
    phone_rearm(p);
}

/* ---- transactions over time ---- */

static void uac_run(struct sim *s, struct phone *p, struct uac *u) {
    if (s->now.mono >= u->end_at) {
        if (!u->has_final) {
            check_unanswered(s, p, u);
            u->has_final = true;
            if (u->ask.call != NOBODY)
                call_timed_out(s, p, u);
            else if (u->ask.method == SIP_REGISTER && !u->ask.is_forged)
                p->register_at = s->now.mono + dice_about(&p->dice, RETRY_MS);
        }
        mem_free(u->packet);
        *u = (struct uac){ .is_used = false };
        return;
    }
    if (s->now.mono < u->again_at) return;
    (void)net_from_phone(s, p, packet_slice(u->packet));
    u->interval *= 2;
    if (u->ask.method != SIP_INVITE && u->interval > T2_MS) u->interval = T2_MS;
    bool is_over = s->now.mono - u->began > 64 * 500;
    u->again_at = is_over ? MONO_NEVER : s->now.mono + u->interval;
}

static void uas_run(struct sim *s, struct phone *p, struct uas *t) {
    if (s->now.mono >= t->end_at) {
        struct call *c = t->call == NOBODY ? NULL : &p->calls[t->call];
        bool is_mine = c && c->gen == t->call_gen && c->state == CALL_ANSWERED;
        check_no_ack(s, p, t);
        mem_free(t->packet);
        mem_free(t->request);
        *t = (struct uas){ .is_used = false };
        if (is_mine) call_end(s, p, c); /* RFC 3261 13.3.1.4: no ACK ever came */
        return;
    }
    if (s->now.mono < t->again_at) return;
    (void)net_from_phone(s, p, packet_slice(t->packet));
    t->interval = t->interval * 2 > T2_MS ? T2_MS : t->interval * 2;
    bool is_over = s->now.mono + t->interval > t->end_at - LINGER_MS + UNANSWERED_2XX_MS;
    t->again_at = is_over ? MONO_NEVER : s->now.mono + t->interval;
}

/* ---- time ---- */

void phone_rearm(struct phone *p) {
    mono_t at = p->link == LINK_DOWN ? p->connect_at : MONO_NEVER;
    if (p->link == LINK_UP) at = mono_min(at, mono_min(p->register_at, p->think_at));
    for (unsigned i = 0; i < UAC_MAX; i++)
        if (p->uac[i].is_used) at = mono_min(at, mono_min(p->uac[i].again_at, p->uac[i].end_at));
    for (unsigned i = 0; i < UAS_MAX; i++)
        if (p->uas[i].is_used) at = mono_min(at, mono_min(p->uas[i].again_at, p->uas[i].end_at));
    for (unsigned i = 0; i < CALLS_MAX; i++)
        if (p->calls[i].state != CALL_FREE) at = mono_min(at, p->calls[i].act_at);
    p->wake_at = at;
}

static void say_something(struct sim *s, struct phone *p, enum sip_method method) {
    const struct person *who = &s->people[p->person];
    const char *domain = s->servers[p->node].domain;
    struct ask a = { .method = method, .call = NOBODY, .cseq = 1 };
    unsigned to = dice_below(&p->dice, s->person_count);
    if (method == SIP_OPTIONS)
        (void)snprintf(a.uri, sizeof a.uri, "sip:%s", domain);
    else
        (void)snprintf(a.uri, sizeof a.uri, "sip:%s@%s", s->people[to].user,
                       s->servers[s->people[to].node].domain);
    (void)snprintf(a.to, sizeof a.to, "<%s>", a.uri);
    unsigned tag = dice_below(&p->dice, 1000000);
    (void)snprintf(a.from, sizeof a.from, "<sip:%s@%s>;tag=m%u", who->user, domain, tag);
    (void)snprintf(a.call_id, sizeof a.call_id, "m%u.%u.%llu", p->index, to,
                   (unsigned long long)dice_next(&p->dice));
    a.body = method == SIP_MESSAGE ? BODY_TEXT : BODY_NONE;
    (void)say_request(s, p, &a);
}

static void think(struct sim *s, struct phone *p) {
    p->think_at = s->now.mono + dice_about(&p->dice, s->plan.think_ms);
    if (p->nature != HONEST) {
        nasty_act(s, p);
        return;
    }
    unsigned what = dice_below(&p->dice, 100);
    if (s->part == PART_HEAL || !p->is_registered) what = 0; /* just live */
    if (dice_chance(&p->dice, s->plan.restart))
        phone_restart(s, p, true);
    else if (dice_chance(&p->dice, s->plan.off))
        phone_restart(s, p, false);
    else if (what < 5)
        say_something(s, p, SIP_OPTIONS);
    else if (what < 15)
        say_something(s, p, SIP_MESSAGE);
    else if (what < 18 && s->plan.off)
        p->is_leaving = true, phone_register(s, p);
    else
        (void)call_begin(s, p, dice_below(&p->dice, s->person_count), false);
}

void phone_run(struct sim *s, struct phone *p) {
    bool is_quiet = s->part == PART_QUIET;
    if (p->link == LINK_DOWN && s->now.mono >= p->connect_at) {
        p->connect_at = MONO_NEVER;
        p->is_on = true;
        net_connect(s, p);
    }
    for (unsigned i = 0; i < UAC_MAX; i++)
        if (p->uac[i].is_used) uac_run(s, p, &p->uac[i]);
    for (unsigned i = 0; i < UAS_MAX; i++)
        if (p->uas[i].is_used) uas_run(s, p, &p->uas[i]);
    for (unsigned i = 0; i < CALLS_MAX; i++)
        if (p->calls[i].state != CALL_FREE && s->now.mono >= p->calls[i].act_at)
            call_act(s, p, &p->calls[i]);
    if (p->link == LINK_UP && s->now.mono >= p->register_at) {
        if (is_quiet)
            p->register_at = MONO_NEVER;
        else
            phone_register(s, p);
    }
    if (p->link == LINK_UP && s->now.mono >= p->think_at) {
        if (is_quiet || s->part == PART_PROBE)
            p->think_at = MONO_NEVER;
        else
            think(s, p);
    }
    phone_rearm(p);
}
