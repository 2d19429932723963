/* Where a request goes, and when: its targets, the groups they are tried in, the copies that are
 * written. RFC 3261 16.6, RFC 5393 5.3.3, RFC 5626 5.3. The story stands in context.h. */
#include "core/core_priv.h"

#include "base/limits.h"
#include "base/mem.h"
#include "proxy/forward.h"

#define GROUP_NONE UINT16_MAX /* above every q: no group has had its turn */

/* ---- the list ---- */

#define TARGET_SLICES 4

/* The slices of a target that must outlive this turn: moved into a block of the branch. */
static enum err branch_keep(struct branch *b) {
    slice *parts[TARGET_SLICES] = { &b->to.request_uri, &b->to.path, &b->to.lines,
                                    &b->to.diversion };
    size_t len = 1;
    if (b->text) return ERR_OK;
    for (unsigned i = 0; i < TARGET_SLICES; i++) len += parts[i]->len;
    b->text = mem_alloc(len);
    if (!b->text) return ERR_MEMORY;
    char *at = b->text;
    for (unsigned i = 0; i < TARGET_SLICES; i++) {
        if (parts[i]->len) memcpy(at, parts[i]->ptr, parts[i]->len);
        parts[i]->ptr = at;
        at += parts[i]->len;
    }
    return ERR_OK;
}

/* A branch more at the end of the list; NULL: memory is short. */
static struct branch *branch_append(struct context *x, const struct target *to) {
    struct branch *b = x->branch_count ? mem_zalloc(sizeof *b) : &x->first;
    if (!b) return NULL;
    b->to = *to;
    b->index = x->branch_count++;
    if (x->last) x->last->next = b;
    x->last = b;
    return b;
}

/* The list as it was when it had `count` branches (1 at least). */
static void branches_cut(struct context *x, unsigned count) {
    struct branch *last = &x->first;
    while (last->index + 1u < count) last = last->next;
    for (struct branch *b = last->next, *next; b; b = next) {
        next = b->next;
        mem_free(b->text);
        mem_free(b->early);
        mem_free(b);
    }
    last->next = NULL;
    x->last = last;
    x->branch_count = (uint8_t)count;
}

enum err branches_make(struct context *x, const struct target *targets, unsigned count) {
    ASSERT(count >= 1 && count <= LIMIT_TARGETS && x->branch_count == 0);
    x->group_q = GROUP_NONE;
    for (unsigned i = 0; i < count; i++)
        if (!branch_append(x, &targets[i])) return ERR_MEMORY;
    return ERR_OK;
}

void branches_fini(struct context *x) {
    if (!x->branch_count) return;
    branches_cut(x, 1);
    mem_free(x->first.text);
    mem_free(x->first.early);
    x->first.text = x->first.early = NULL;
}

enum err context_add_targets(struct core *c, struct context *x, const struct target *targets,
                             unsigned count) {
    unsigned before = x->branch_count;
    (void)c;
    if (count > LIMIT_TARGETS - before) return ERR_FULL;
    for (unsigned i = 0; i < count; i++) {
        struct branch *b = branch_append(x, &targets[i]);
        if (b && branch_keep(b) == ERR_OK) continue;
        branches_cut(x, before);
        return ERR_MEMORY;
    }
    return ERR_OK;
}

struct branch *context_branch(struct context *x, tx_id tx) {
    for (struct branch *b = &x->first; b; b = b->next)
        if (pool_id_eq(b->tx, tx)) return b;
    return NULL;
}

/* ---- whose turn it is ---- */

void branches_pass(struct context *x) {
    for (struct branch *b = &x->first; b; b = b->next)
        if (b->state == BRANCH_KEPT) b->state = BRANCH_PASSED;
}

static bool is_same_instance(const struct branch *a, const struct branch *b) {
    return a->to.instance == b->to.instance && a->to.account_id == b->to.account_id;
}

/* RFC 5626 5.3: never two flows of one instance at a time. */
static bool is_held(const struct context *x, const struct branch *b) {
    for (const struct branch *o = &x->first; b->to.instance && o; o = o->next)
        if (o != b && is_same_instance(o, b) && branch_is_open(o)) return true;
    return false;
}

static bool is_due(const struct context *x, const struct branch *b) {
    return b->state == BRANCH_KEPT && b->to.q >= x->group_q && !is_held(x, b);
}

/* A phone's flow has ended without its answer: its next one belongs to the group that is on now.
 * Or it has answered: then its other flows are not asked. */
void branch_instance_ended(struct context *x, const struct branch *b, bool has_answered) {
    for (struct branch *o = &x->first; b->to.instance && o; o = o->next) {
        if (o->state != BRANCH_KEPT || !is_same_instance(o, b)) continue;
        if (has_answered) {
            o->state = BRANCH_PASSED;
        } else {
            if (o->to.q < x->group_q) o->to.q = x->group_q;
            return;
        }
    }
}

/* RFC 3263 4.3: a server that could not be reached, or has no room, is followed by the next. */
void branch_next_server(struct context *x, const struct branch *b) {
    struct target to = b->to;
    if (!to.ticket || x->branch_count == LIMIT_TARGETS) return;
    to.flow = FLOW_NONE;
    to.q = x->group_q;
    struct branch *next = branch_append(x, &to);
    if (next && branch_keep(next) != ERR_OK) branches_cut(x, next->index);
}

bool branches_next_group(struct core *c, struct context *x) {
    bool has = false;
    uint16_t q = 0;
    for (const struct branch *b = &x->first; b; b = b->next) {
        if (b->state != BRANCH_KEPT || is_held(x, b)) continue;
        if (!has || b->to.q > q) q = b->to.q;
        has = true;
    }
    if (!has) return false;
    x->group_q = q;
    if (x->method == SIP_INVITE) /* RFC 3261 16.6 step 11: timer C is each branch's own */
        x->timer_c_at = c->now.mono + (int64_t)node_settings(c->node)->timer_c_s * 1000;
    return true;
}

/* Those that ring now ring for so long, when others wait for their turn. */
static void group_time(struct core *c, struct context *x) {
    bool has_more = false;
    for (const struct branch *b = &x->first; b; b = b->next)
        has_more = has_more || (b->state == BRANCH_KEPT && !is_held(x, b));
    if (x->method != SIP_INVITE) return;
    x->group_at =
        has_more ? c->now.mono + (int64_t)node_settings(c->node)->group_ring_s * 1000 : MONO_NEVER;
    context_arm(c, x);
}

void branches_new_person(struct core *c, struct context *x) {
    uint32_t no_answer_s = x->divert ? divert_no_answer_s(x->divert) : 0;
    x->group_q = GROUP_NONE;
    x->no_answer_at = no_answer_s ? c->now.mono + (int64_t)no_answer_s * 1000 : MONO_NEVER;
    branches_next_group(c, x);
}

/* ---- the copy ---- */

static bool is_dialog_forming(enum sip_method method) {
    return method == SIP_INVITE || method == SIP_SUBSCRIBE || method == SIP_REFER ||
           method == SIP_OTHER;
}

/* What we write into Record-Route for a side: RFC 3261 16.6 step 4, and architecture.md section 4
 * on transport=tls. */
static slice record_route(struct core *c, const struct flow_face *face, slice host, slice token,
                          bool is_sips) {
    char *mem = arena_alloc(&c->turn, 512);
    if (!mem) return SLICE_NONE;
    struct buf b = buf_over(mem, 512);
    buf_put(&b, is_sips ? SLICE("<sips:") : SLICE("<sip:"));
    buf_put(&b, token);
    buf_byte(&b, '@');
    if (host.len)
        buf_put(&b, host);
    else
        put_host(c, &b, face);
    if (!is_sips) buf_put(&b, slice_str(transport_param(face->transport)));
    buf_lit(&b, ";lr>");
    return b.full ? SLICE_NONE : buf_slice(&b);
}

/* One Record-Route when both sides see the same of us, else one for each (RFC 5658 4). */
static void plan_record_route(struct core *c, const struct context *x, const struct target *to,
                              const struct flow_face *face, struct forward *f) {
    struct flow_face from;
    char mem[256];
    struct buf token = buf_over(mem, sizeof mem);
    struct route_token t = { .node = c->node->number,
                             .run = c->node->run,
                             .call_hash = x->call_hash,
                             .side = { { x->flow, x->account_id, x->bid },
                                       { to->flow, to->account_id, to->bid } } };
    if (!node_flow_face(c->node, x->flow, &from)) return;
    if (from.transport < FLOW_TLS) t.policy |= ROUTE_PLAIN_SIDE(SIDE_CALLER);
    if (face->transport < FLOW_TLS) t.policy |= ROUTE_PLAIN_SIDE(SIDE_CALLEE);
    route_token_write(c->node->keys.token, &t, &token);
    bool is_sips = f->req->uri.scheme == URI_SIPS;
    slice host = peer_route_host(c, to->account_id, to->bid, x->account_id);
    f->record_route[0] = record_route(c, face, host, buf_slice(&token), is_sips);
    host = peer_route_host(c, x->account_id, x->bid, to->account_id);
    slice caller = record_route(c, &from, host, buf_slice(&token), is_sips);
    if (!slice_eq(caller, f->record_route[0])) f->record_route[1] = caller;
}

/* RFC 3325 5: who calls, as we know him; or as a domain says that we trust. */
static slice context_asserted(struct core *c, const struct context *x, const struct sip_msg *m) {
    if (x->is_in_dialog) return SLICE_NONE;
    return x->account_id ? asserted_identity(c, m, x->account_id) : peer_asserted(c, m, x->bid);
}

static bool is_own_domain(void *ctx, slice host) {
    struct core *c = ctx;
    return node_is_domain(c->node, host);
}

/* RFC 7044 10.1.2: what another domain reads of the call's way. NULL: all of it. When it cannot be
 * worked out it reads nothing, rather than what somebody wanted hidden. */
static const struct history_out *history_for(struct core *c, const struct target *to,
                                             const struct sip_msg *m, struct history_out *out) {
    if (to->account_id || !to->bid) return NULL;
    size_t room = m->all.len + 1024;
    char *mem = arena_alloc(&c->turn, room);
    struct buf b = buf_over(mem, mem ? room : 0);
    if (!mem || history_leave(m, is_own_domain, c, &b, out) != ERR_OK)
        *out = (struct history_out){ .has_history = true, .no_diversion = true };
    return out;
}

/* Write and send the request for one branch; a status when it cannot be. */
static unsigned branch_send(struct core *c, struct context *x, struct branch *b,
                            const struct sip_msg *m, slice asserted) {
    const struct target *to = &b->to;
    struct flow_face face;
    char via_mem[512], source_mem[768];
    struct buf via = buf_over(via_mem, sizeof via_mem);
    struct buf source = buf_over(source_mem, sizeof source_mem);
    b->state = BRANCH_SENT;
    if (!node_flow_face(c->node, to->flow, &face)) return 480;
    if (x->is_sdes && face.transport < FLOW_TLS) return 488; /* RFC 4568 8 */
    enum tx_kind kind = m->method == SIP_INVITE ? TX_INVITE_CLIENT : TX_OTHER_CLIENT;
    if (tx_client_reserve(c->txs, kind, owner_of(x->id), &b->tx) != ERR_OK) return 503;
    b->is_live = true;

    put_via(c, &via, &face, b->tx, loop_hash(c, m));
    put_via_peer(&via, to->account_id, to->bid);
    sip_via_put_source(&source, &m->via, &x->peer, keep_alive_s(m->method));
    struct history_out history;
    struct forward f = { .req = m,
                         .leaving = history_for(c, to, m, &history),
                         .request_uri = to->request_uri,
                         .via = buf_slice(&via),
                         .source_via = source.full ? SLICE_NONE : buf_slice(&source),
                         .route = to->path,
                         .own_routes = x->own_routes,
                         .max_breadth = b->breadth,
                         .asserted = peer_is_trusted(c, to) ? asserted : SLICE_NONE,
                         .session_expires_s = x->session.expires_s,
                         .min_se_s = x->session.min_se_s,
                         .lines = to->lines,
                         .diversion = to->diversion,
                         .realms = node_settings(c->node)->domains,
                         .realm_count = node_settings(c->node)->domain_count };
    if (!x->is_in_dialog && is_dialog_forming(m->method)) plan_record_route(c, x, to, &face, &f);
    struct buf out = core_out_begin(c, m->all.len + 4096 + to->lines.len + to->diversion.len);
    slice bytes = forward_write(&f, &out) == ERR_OK ? core_out_end(c, &out) : SLICE_NONE;
    if (!bytes.len || via.full) return 513;
    if (tx_client_start(c->txs, b->tx, bytes, to->flow, face.transport != FLOW_UDP, c->now.mono) !=
        ERR_OK)
        return 503;
    bool must_arrive = x->is_in_dialog && m->method != SIP_INVITE;
    if (!core_send(c, to->flow, bytes, must_arrive, owner_of(b->tx))) return 480;
    if (x->is_in_dialog && !to->ticket) peer_sends_in_dialog(c, to);
    if (m->method == SIP_INVITE) b->at = peer_address(c, to);
    b->is_in_call = m->method == SIP_INVITE && !x->is_in_dialog;
    if (b->is_in_call) node_flow_call(c->node, to->flow, 1);
    return 0;
}

/* Its turn has come: send it, or have a flow found. */
static void branch_start(struct core *c, struct context *x, struct branch *b,
                         const struct sip_msg *m, slice asserted) {
    unsigned status = 0;
    if (b->to.flow == FLOW_NONE && b->state == BRANCH_KEPT) {
        b->state = BRANCH_WAITING;
        status =
            c->find_flow ? c->find_flow(c, owner_of(x->id), b->index, &b->to, &b->to.flow) : 503;
        if (!status && b->to.flow == FLOW_NONE) return;
    }
    if (!status) status = branch_send(c, x, b, m, asserted);
    if (!status) return;
    if (b->is_live) tx_drop(c->txs, b->tx);
    branch_ended(c, x, b, status, NULL,
                 status == 488 ? "The called phone is not connected by TLS, and SDES keys would "
                                 "travel in clear; use DTLS-SRTP"
                               : NULL);
}

const struct sip_msg *context_request(struct core *c, struct context *x) {
    struct route_side sender = { x->flow, x->account_id, x->bid };
    flow_id flow = side_flow(c, &sender);
    if (!x->request || !node_flow_lives(c->node, flow)) return NULL;
    x->flow = flow;
    struct sip_read r = sip_msg_read(&c->other, slice_of(x->request, x->request_len), SIP_DATAGRAM);
    ASSERT(r.err == ERR_OK); /* it was read when it came */
    return &c->other;
}

/* RFC 5393 5.3.3.1: until its final response; so one that media policy has given up still does. */
static bool uses_breadth(const struct core *c, const struct branch *b) {
    enum tx_state state = tx_state_of(c->txs, b->tx);
    return branch_is_open(b) || state == TX_CALLING || state == TX_PROCEEDING;
}

/* How many branches are due, and the breadth that each of them gets; 0: none can start now. RFC
 * 5393 5.3.3: what is out together is never more than what came in; 5.5: those that find no room
 * wait until others have ended. One unit stays back for each later target, when there are enough:
 * so the next group need not wait for the last phone's answer to its CANCEL. */
static unsigned branches_due(const struct core *c, const struct context *x, uint32_t *out_share) {
    unsigned due = 0, later = 0;
    uint32_t open = 0;
    *out_share = 0;
    for (const struct branch *b = &x->first; b; b = b->next) {
        if (uses_breadth(c, b)) open += b->breadth;
        if (is_due(x, b))
            due++;
        else if (b->state == BRANCH_KEPT)
            later++;
    }
    if (!x->breadth || !due) return due;
    uint32_t room = x->breadth > open ? x->breadth - open : 0;
    if (x->divert) later += LIMIT_FORKS; /* whoever he forwards to when nobody answers */
    if (room >= due + later) room -= later;
    if (due > room) due = room;
    if (due) *out_share = room / due;
    return due;
}

bool branches_starve(const struct core *c, const struct context *x) {
    bool is_used = false, is_short = false;
    for (const struct branch *b = &x->first; b; b = b->next) {
        is_used = is_used || uses_breadth(c, b);
        is_short = is_short || is_due(x, b);
    }
    return is_used && is_short;
}

void branches_start(struct core *c, struct context *x, const struct sip_msg *m) {
    uint32_t share;
    unsigned due = x->is_over ? 0 : branches_due(c, x, &share);
    if (due) {
        bool is_first = m != NULL;
        if (!m) m = context_request(c, x);
        if (!m) {
            branches_pass(x);
            return;
        }
        slice asserted = context_asserted(c, x, m);
        for (struct branch *b = &x->first; b && due && !x->is_over; b = b->next) {
            if (!is_due(x, b)) continue;
            due--;
            b->breadth = share;
            branch_start(c, x, b, m, asserted);
        }
        group_time(c, x);
        if (!is_first) return;
    }
    /* The rest of a request that has just come: what must wait gets its own copy. */
    for (struct branch *b = &x->first; m && b; b = b->next)
        if ((b->state == BRANCH_KEPT || (b->to.ticket && branch_is_open(b))) && !b->status &&
            branch_keep(b) != ERR_OK)
            branch_ended(c, x, b, 503, NULL, NULL);
}

/* ---- flows that are found later ---- */

static struct branch *waiting_branch(struct core *c, uint64_t owner, unsigned index,
                                     struct context **out) {
    struct context *x = *out = context_get(c, owner);
    for (struct branch *b = x ? &x->first : NULL; b; b = b->next)
        if (b->index == index)
            return b->is_lost || (b->state == BRANCH_WAITING && !b->status) ? b : NULL;
    return NULL;
}

bool context_branch_flow(struct core *c, uint64_t owner, unsigned branch, flow_id flow) {
    struct context *x;
    struct branch *b = waiting_branch(c, owner, branch, &x);
    if (!b) return false;
    if (b->is_lost) {
        context_branch_moved(c, x, b, flow);
        return true;
    }
    const struct sip_msg *m = context_request(c, x);
    if (!m) {
        context_branch_final(c, x, b, 408, NULL);
        return false;
    }
    b->to.flow = flow;
    branch_start(c, x, b, m, context_asserted(c, x, m));
    context_settle(c, x);
    return true;
}

void context_branch_no_flow(struct core *c, uint64_t owner, unsigned branch, unsigned status,
                            const char *why) {
    struct context *x;
    struct branch *b = waiting_branch(c, owner, branch, &x);
    if (b) context_branch_unfound(c, x, b, status, why);
}
