/* What must always hold, whatever the network, the servers' disks and the nasty ones do. */
#include "sim.h"

#include "core/core_priv.h"
#include <stdio.h>

#define OUTPUTS_MAX    120   /* of one message: 16 branches, their mails, answers, CANCELs */
#define LAZY_MS        1200  /* a mere refresh may be that young and be lost */
#define STRANGER_BYTES 4     /* out for one in: a challenge is longer than what asks for it */
#define SETTLED_MS     15000 /* longer than any word is on its way, and any mail and disk wait */
#define DAY_MS         (25 * 3600 * 1000LL)

/* ---- each message that leaves a core ---- */

void check_sent(struct sim *s, struct server *n, unsigned worker, flow_id flow, slice bytes) {
    static struct sip_msg m;
    struct sip_read r = sip_msg_read(&m, bytes, SIP_STREAM);
    if (flow_worker(flow) != worker)
        (void)sim_fail(s, "worker %u of node %u sent over a flow of worker %u", worker, n->index,
                       flow_worker(flow));
    if (r.err == ERR_OK && r.used == bytes.len) return;
    /* RFC 3261 8.2.6.2: a 400 echoes From, To, Call-ID and CSeq as they came. */
    if (n->is_input_bad && !m.is_request && r.used == bytes.len) return;
    (void)sim_fail(s, "node %u sent what is no message (%s):\n" SLICE_FMT, n->index,
                   sip_bad_text(r.why), SLICE_ARG(bytes));
}

/* Nothing amplifies: one input has bounded output, and who has proved nothing gets no more than one
 * answer for a message, and few bytes for a byte. */
void check_turn(struct sim *s, const struct server *n) {
    if (n->turn_outputs > OUTPUTS_MAX)
        (void)sim_fail(s, "one message to node %u made %u others", n->index, n->turn_outputs);
}

static void check_stranger(struct sim *s, const struct conn *c) {
    if (s->phones[c->phone].nature != STRANGER) return;
    if (c->out_messages > c->in_messages)
        (void)sim_fail(s, "stranger %u sent %llu messages and got %llu", c->phone,
                       (unsigned long long)c->in_messages, (unsigned long long)c->out_messages);
    if (c->out_bytes > STRANGER_BYTES * c->in_bytes + 2000)
        (void)sim_fail(s, "stranger %u sent %llu bytes and got %llu", c->phone,
                       (unsigned long long)c->in_bytes, (unsigned long long)c->out_bytes);
}

/* ---- who speaks to whom: a Call-ID of a call is "c<caller's phone>.<called person>.<number>" ----
 */

static bool read_truth(slice call_id, unsigned *out_phone, unsigned *out_person) {
    slice rest = slice_from(call_id, 1), phone, person;
    return call_id.len > 1 && call_id.ptr[0] == 'c' && slice_split(&rest, '.', &phone) &&
           slice_split(&rest, '.', &person) &&
           slice_u32(phone, PHONES_MAX - 1, out_phone) == ERR_OK &&
           slice_u32(person, PEOPLE_MAX - 1, out_person) == ERR_OK;
}

/* Does a call for `callee` come to `person`: is it him, or did he forward it there? */
static bool may_reach(const struct sim *s, unsigned callee, unsigned person) {
    bool seen[PEOPLE_MAX] = { false };
    unsigned list[PEOPLE_MAX], count = 0;
    list[count++] = callee;
    seen[callee] = true;
    for (unsigned at = 0; at < count; at++) {
        if (list[at] == person) return true;
        for (unsigned i = 0; i < 4; i++) {
            unsigned to = s->people[list[at]].forwards[i];
            if (to == NOBODY || seen[to]) continue;
            seen[to] = true;
            list[count++] = to;
        }
    }
    return false;
}

/* Every m= line that is not rejected needs keys; a=crypto counts on a secured leg only. */
static bool is_keyed(slice sdp, bool is_secure_leg) {
    bool session_key = false, media = false, ok = true, key = true;
    while (sdp.len) {
        size_t end = slice_find(sdp, '\n');
        slice line = slice_trim(slice_head(sdp, end));
        sdp = slice_from(sdp, end + 1);
        if (slice_starts(line, SLICE("m="))) {
            ok = ok && key;
            slice port = slice_from(line, slice_find(line, ' ') + 1);
            media = true;
            key = session_key || slice_starts(port, SLICE("0 "));
        } else if (slice_starts(line, SLICE("a=fingerprint:")) ||
                   (is_secure_leg && slice_starts(line, SLICE("a=crypto:")))) {
            key = true;
            if (!media) session_key = true;
        }
    }
    return ok && key;
}

static void check_keys(struct sim *s, const struct phone *p, const struct sip_msg *m) {
    if (!m->body.len || !slice_starts(m->body, SLICE("v=0")) ||
        (!m->is_request && m->status >= 300))
        return;
    static const enum sip_method judged[] = { SIP_INVITE, SIP_UPDATE, SIP_PRACK, SIP_ACK };
    bool is_judged = false;
    for (size_t i = 0; i < ARRAY_LEN(judged); i++) is_judged = is_judged || m->method == judged[i];
    if (is_judged && !is_keyed(m->body, p->transport >= FLOW_TLS))
        (void)sim_fail(s, "phone %u got a description without keys:\n" SLICE_FMT, p->index,
                       SLICE_ARG(m->all));
}

static void check_first(struct sim *s, const struct phone *p, const struct sip_msg *m,
                        const struct phone *from) {
    const struct person *who = &s->people[from->person];
    struct sip_uri uri;
    unsigned caller, callee;
    if (sip_uri_read(m->from.uri_text, &uri) != ERR_OK || from->nature == STRANGER ||
        !slice_eq(uri.user, slice_str(who->user)) ||
        !slice_ieq(uri.host, slice_str(s->servers[from->node].domain))) {
        (void)sim_fail(s, "phone %u of %s passed for somebody else at phone %u:\n" SLICE_FMT,
                       from->index, who->user, p->index, SLICE_ARG(m->all));
        return;
    }
    unsigned bad = s->plan.bad_cert;
    if (from->node != p->node && (bad == from->node + 1 || bad == p->node + 1))
        (void)sim_fail(s, "phone %u was reached from a domain that could not prove its name",
                       p->index);
    if (read_truth(m->call_id, &caller, &callee) && !may_reach(s, callee, p->person))
        (void)sim_fail(s, "a call for %s came to phone %u of %s", s->people[callee].user, p->index,
                       s->people[p->person].user);
}

void check_heard(struct sim *s, struct phone *p, const struct sip_msg *m) {
    unsigned by = speaker(m), caller, callee;
    check_keys(s, p, m);
    if (!m->is_request) return;
    if (by >= s->phone_count) { /* the server's own: never something new */
        if (m->method != SIP_CANCEL && m->method != SIP_BYE && m->method != SIP_ACK)
            (void)sim_fail(s, "phone %u got a request of nobody:\n" SLICE_FMT, p->index,
                           SLICE_ARG(m->all));
        return;
    }
    const struct phone *from = &s->phones[by];
    if (!m->to.tag.len && m->method != SIP_ACK && m->method != SIP_CANCEL) {
        check_first(s, p, m, from);
        return;
    }
    if (!read_truth(m->call_id, &caller, &callee)) return;
    unsigned calling = s->phones[caller].person;
    if ((from->person != calling && !may_reach(s, callee, from->person)) ||
        (p->person != calling && !may_reach(s, callee, p->person)))
        (void)sim_fail(s, "phone %u spoke in a call of others, to phone %u:\n" SLICE_FMT, by,
                       p->index, SLICE_ARG(m->all));
}

void check_answerer(struct sim *s, struct phone *p, const struct call *c, const struct sip_msg *m) {
    unsigned caller, callee;
    if (!read_truth(m->call_id, &caller, &callee)) return;
    if (c->other >= s->phone_count || !may_reach(s, callee, s->phones[c->other].person) ||
        caller != p->index)
        (void)sim_fail(s, "phone %u called %s and got phone %u", p->index, s->people[callee].user,
                       c->other);
}

/* Is this phone still being asked, as far as a server can know? */
static bool is_being_asked(struct sim *s, const struct phone *p, const struct uas *t) {
    const struct conn *c = net_conn(s, p);
    /* A branch that is refused counts as ended while its CANCEL is on the way. */
    return t->is_used && t->method == SIP_INVITE && !t->is_final && !t->is_unkeyed && c &&
           c->gen == t->conn_gen && c->troubled_at < t->began;
}

/* RFC 5393 5.3: what all branches of a request that are being tried may still fork to is no more
 * than it came with. */
void check_forks(struct sim *s, const struct phone *p, const struct uas *own,
                 const struct sip_msg *m) {
    unsigned caller, callee;
    uint32_t breadth = 0, sum = 0;
    if (!read_truth(m->call_id, &caller, &callee) || caller >= s->phone_count) return;
    if (hdr_u32_of(m, HDR_MAX_BREADTH, &breadth) != ERR_OK || breadth == 0) {
        (void)sim_fail(s, "phone %u got an INVITE without Max-Breadth", p->index);
        return;
    }
    /* What a nasty one says again is another request. */
    if (s->phones[caller].nature != HONEST || speaker(m) != caller) return;
    for (unsigned i = 0; i < s->phone_count; i++)
        for (unsigned k = 0; k < UAS_MAX; k++) {
            const struct uas *t = &s->phones[i].uas[k];
            /* One whose connection broke may have been followed by another copy: RFC 3263 4.3. */
            if (is_being_asked(s, &s->phones[i], t) && t->cseq == m->cseq &&
                slice_eq(m->call_id, slice_str(t->call_id)) &&
                slice_eq(slice_str(own->origin), slice_str(t->origin))) {
                sum += t->breadth;
                if (i == p->twin) /* RFC 5626 5.3 */
                    (void)sim_fail(s, "both flows of one phone were asked at a time:\n" SLICE_FMT,
                                   SLICE_ARG(m->all));
            }
        }
    for (unsigned i = 0; i < UAC_MAX; i++) {
        const struct uac *u = &s->phones[caller].uac[i];
        if (!u->is_used || u->ask.method != SIP_INVITE || u->cseq != m->cseq ||
            !slice_eq(m->call_id, slice_str(u->ask.call_id)))
            continue;
        if (sum > u->breadth)
            (void)sim_fail(s, "an INVITE with Max-Breadth %u was given %u:\n" SLICE_FMT, u->breadth,
                           sum, SLICE_ARG(m->all));
    }
}

/* ---- one final answer ---- */

/* Has this phone been connected all the time, to a server that did not stop, losing nothing? */
static bool was_well(struct sim *s, const struct phone *p, mono_t since) {
    const struct conn *c = net_conn(s, p);
    const struct server *n = &s->servers[p->node];
    bool is_lossy = p->transport == FLOW_UDP && s->drawn.drop;
    bool is_ours = p->nature == HONEST && !s->people[p->person].is_spoiled;
    return !is_lossy && is_ours && p->link == LINK_UP && c && !c->is_silent &&
           c->troubled_at < since && c->opened_at <= since && n->is_up && n->up_at <= since;
}

/* The caller's INVITE that rings here, the one with these credentials; NULL: nobody remembers it.
 */
static const struct uac *invite_of(struct sim *s, slice call_id, uint32_t cseq,
                                   unsigned *out_caller) {
    unsigned callee;
    if (!read_truth(call_id, out_caller, &callee) || *out_caller >= s->phone_count) return NULL;
    for (unsigned i = 0; i < UAC_MAX; i++) {
        const struct uac *u = &s->phones[*out_caller].uac[i];
        if (u->is_used && u->ask.method == SIP_INVITE && u->cseq == cseq &&
            slice_eq(call_id, slice_str(u->ask.call_id)))
            return u;
    }
    return NULL;
}

/* Nobody rings for a call that is over (RFC 3261 16.7 step 10, 16.10). */
void check_ringing(struct sim *s, const struct phone *p, const struct call *c) {
    unsigned caller;
    const struct uac *u = invite_of(s, slice_str(c->call_id), c->remote_cseq, &caller);
    if (!u || !u->has_final || !was_well(s, p, c->began) || s->phones[caller].nature != HONEST ||
        s->phones[caller].node != p->node)
        return;
    if (s->now.mono - u->final_at > SETTLED_MS)
        (void)sim_fail(s, "phone %u still rings for a call that was answered with %u", p->index,
                       u->status);
}

/* The ACK of an answered INVITE never came, though nothing was lost on its way. */
void check_no_ack(struct sim *s, const struct phone *p, const struct uas *t) {
    unsigned caller;
    const struct uac *u = invite_of(s, slice_str(t->call_id), t->cseq, &caller);
    if (!u || t->is_acked || !t->is_initial || t->is_unkeyed || t->status < 200 ||
        t->method != SIP_INVITE || s->phones[caller].node != p->node)
        return;
    if (was_well(s, p, t->began) && was_well(s, &s->phones[caller], u->began))
        (void)sim_fail(s, "phone %u never got the ACK of its %u:\n" SLICE_FMT, p->index, t->status,
                       SLICE_ARG(packet_slice(t->request)));
}

void check_final(struct sim *s, struct phone *p, struct uac *u, const struct sip_msg *m) {
    bool is_invite = u->ask.method == SIP_INVITE;
    bool is_ok = m->status < 300;
    if (u->ask.is_forged || p->nature != HONEST) return; /* who repeats himself hears it twice */
    /* A guard that has enough says so without keeping anything: a copy may be judged otherwise. */
    bool is_shed = p->transport == FLOW_UDP && (u->status == 503 || m->status == 503);
    if (u->has_final && is_invite && !is_shed &&
        (is_ok != (u->status < 300) || (!is_ok && m->status != u->status)))
        (void)sim_fail(s, "phone %u got %u to an INVITE that was answered with %u", p->index,
                       m->status, u->status);
    /* A nasty one who knows the branch may play the request again: it is answered again (RFC 3261
     * 17.2.1), to where the first one came from. */
    bool is_once = p->transport != FLOW_UDP && !s->plan.nasty;
    if (u->has_final && is_once && !(is_invite && is_ok))
        (void)sim_fail(s, "phone %u got a final answer twice over a stream:\n" SLICE_FMT, p->index,
                       SLICE_ARG(m->all));
    unsigned caller, callee;
    bool is_near = !read_truth(m->call_id, &caller, &callee) || s->people[callee].node == p->node;
    if (!is_invite || u->has_final || m->status != 487 || u->is_cancel_sent || !is_near) return;
    /* Who has not cancelled hears 487 only when it rang too long, or he was thought to be gone. */
    const struct conn *c = net_conn(s, p);
    bool was_well = c && c->gen == u->conn_gen && c->troubled_at < u->began;
    bool is_early = s->now.mono - u->began < (int64_t)s->plan.timer_c_s * 1000;
    if (was_well && is_early && p->transport != FLOW_UDP)
        (void)sim_fail(s, "phone %u's call was cancelled by somebody else", p->index);
}

/* Are both ends of this call connected as they were when it began? */
static bool is_call_well(struct sim *s, const struct phone *p, const struct call *c) {
    if (c->other >= s->phone_count || !was_well(s, p, c->began)) return false;
    const struct phone *other = &s->phones[c->other];
    if (other->node != p->node) return false; /* what lies between has troubles of its own */
    for (unsigned i = 0; i < CALLS_MAX; i++) {
        const struct call *o = &other->calls[i];
        if (o->state != CALL_FREE && slice_eq(slice_str(o->call_id), slice_str(c->call_id)))
            return was_well(s, other, o->began);
    }
    return false;
}

/* Its time is over and nobody has said anything final. */
void check_unanswered(struct sim *s, struct phone *p, const struct uac *u) {
    const struct call *c = u->ask.call == NOBODY ? NULL : &p->calls[u->ask.call];
    bool is_promised = u->ask.method == SIP_INVITE || u->ask.method == SIP_REGISTER;
    if (u->ask.method == SIP_BYE) is_promised = c && c->gen == u->call_gen && is_call_well(s, p, c);
    if (u->ask.is_forged || !is_promised || !was_well(s, p, u->began)) return;
    (void)sim_fail(s, "phone %u: no final answer to this:\n" SLICE_FMT, p->index,
                   SLICE_ARG(packet_slice(u->packet)));
}

/* ---- after a crash ---- */

struct sought {
    const struct phone *phone;
    const struct grant *grant;
    unsigned rows;
    bool is_found;
};

static bool seek_binding(void *ctx, const struct binding_row *row) {
    struct sought *k = ctx;
    const struct phone *p = k->phone;
    bool is_it = p->has_instance
                     ? slice_eq(row->instance, slice_str(p->instance)) && row->reg_id == p->reg_id
                     : slice_eq(row->contact, slice_str(k->grant->contact));
    k->rows++;
    if (is_it && row->expires >= k->grant->expires - 1000) k->is_found = true;
    return true;
}

/* No 200 to REGISTER is forgotten, but for the expiry of a refresh in the last second. */
void check_bindings(struct sim *s, struct server *n) {
    for (unsigned i = 0; i < s->phone_count; i++) {
        const struct phone *p = &s->phones[i];
        const struct person *who = &s->people[p->person];
        struct sought k = { .phone = p };
        if (p->node != n->index || p->nature != HONEST || p->is_leaving || who->is_spoiled)
            continue;
        for (unsigned g = 0; g < p->grant_count; g++) {
            const struct grant *grant = &p->grants[g];
            if (!grant->expires || grant->at > n->down_at - (grant->is_refresh ? LAZY_MS : 0))
                continue;
            k.grant = grant;
        }
        /* Without an instance a new contact takes the place of the old one, heard of or not. */
        if (k.grant && !p->has_instance && strcmp(k.grant->contact, p->contact) != 0) continue;
        if (!k.grant || k.grant->expires < s->now.wall + 5000) continue;
        location_each(node_location(n->node), who->account_id, s->now.wall, seek_binding, &k);
        if (!k.is_found && k.rows < LIMIT_CONTACTS)
            (void)sim_fail(s, "node %u forgot the registration of phone %u (%s)", n->index, i,
                           k.grant->contact);
    }
}

/* ---- the end ---- */

void check_healed(struct sim *s) {
    for (unsigned i = 0; i < s->phone_count; i++) {
        const struct phone *p = &s->phones[i];
        if (p->nature == HONEST && (!p->is_registered || p->link != LINK_UP))
            (void)sim_fail(s, "phone %u is not registered %u s after the last fault", i,
                           HEAL_MS / 1000);
    }
}

static void count_left(struct sim *s, const struct server *n, const char *what, uint64_t count) {
    if (count)
        (void)sim_fail(s, "%llu %s are left on node %u when all is quiet",
                       (unsigned long long)count, what, n->index);
}

/* Nobody has said anything for longer than any timer runs. */
void check_quiet(struct sim *s, struct server *n) {
    if (!n->is_up) {
        (void)sim_fail(s, "node %u is down", n->index);
        return;
    }
    uint64_t flows = 0, streams = 0;
    for (unsigned i = 0; i < n->config.workers; i++) {
        const struct core *c = n->core[i];
        count_left(s, n, "transactions", tx_count(c->txs));
        count_left(s, n, "contexts", c->contexts.used);
        count_left(s, n, "pending registrations", c->pendings.used);
        count_left(s, n, "open requests", atomic_load(&c->counters.open));
        count_left(s, n, "counted transactions", atomic_load(&c->counters.transactions));
        flows += c->flows.used;
        if (atomic_load(&c->counters.flows) != c->flows.used)
            (void)sim_fail(s, "worker %u counts its flows wrongly", i);
    }
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        const struct conn *c = &s->conns[i];
        if (!c->is_used || c->node != n->index) continue;
        check_stranger(s, c);
        if (c->is_at_node || c->info.transport == FLOW_UDP) streams++;
    }
    (void)streams;
    (void)flows;
}

/* Everybody hangs up; a day later there is nothing but accounts. */
void check_empty(struct sim *s, struct server *n) {
    for (unsigned i = 0; i < s->phone_count; i++)
        if (s->phones[i].node == n->index) net_hang_up(s, &s->phones[i], false);
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &s->conns[i];
        if (!c->is_used || c->node != n->index || !c->is_at_node) continue;
        core_flow_closed(n->core[c->worker], c->flow, s->now);
        node_drain(s, n);
        c->is_used = false;
    }
    for (unsigned i = 0; i < 3; i++) {
        struct now later = { s->now.mono + DAY_MS + i * 700000, s->now.wall + DAY_MS + i * 700000 };
        struct now before = s->now;
        s->now = later;
        node_run_timers(s, n);
        s->now = before;
    }
    for (unsigned i = 0; i < n->config.workers; i++) {
        count_left(s, n, "flows", n->core[i]->flows.used);
        count_left(s, n, "transactions", tx_count(n->core[i]->txs));
    }
    count_left(s, n, "bindings", location_count(node_location(n->node)));
    count_left(s, n, "dialogs", dialogs_count(node_dialogs(n->node)));
}
