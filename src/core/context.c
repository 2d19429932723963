/* Response contexts: RFC 3261 16.2, 16.6 to 16.10.
 *
 *   request ──▶ context_start ── branch.c: a branch per target ──▶ client transactions
 *                     │ 100                                   │ responses, time-outs
 *   caller ◀──────────┴── context_forward ◀── context_response┘
 *
 *   A branch is open until a final response, a time-out or a refusal of media policy gives it a
 *   status. 1xx and 2xx go to the caller at once (16.7 step 5); when no branch is open and no
 *   target is left the best of the others does (step 6). The context is freed when all its
 *   transactions have ended. */
#include "core/core_priv.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/best.h"
#include "proxy/forward.h"

#define CHALLENGES_MAX  8192u /* lines of LIMIT_FORKS phones at most; more say nothing new */
#define CANCEL_AGAIN_MS 1000
#define EARLY_BYTES_MAX 512u /* To tags of one branch; a phone has one, a fork beyond us some */
#define CALLER_GRACE_MS 8000 /* a phone that lost its connection comes back within this, or not */

struct context *context_get(const struct core *c, uint64_t owner) {
    return owner ? pool_get(&c->contexts, owner_id(owner)) : NULL;
}

/* ---- the end of a context ---- */

static bool is_from_domain(const struct context *x) {
    return !x->account_id && x->bid;
}

static void context_forget_request(struct context *x) {
    mem_free(x->best);
    mem_free(x->challenges);
    mem_free(x->best_why);
    x->best = x->challenges = x->best_why = NULL;
    /* RFC 3261 18.2.2: its Via tells where its sender can be found, should his connection break. */
    if (is_from_domain(x) && (x->is_server_live || x->is_sender_sought)) return;
    mem_free(x->request);
    x->request = NULL;
}

void context_fini(struct context *x) {
    x->is_server_live = x->is_sender_sought = false;
    context_forget_request(x);
    branches_fini(x);
    mem_free(x->held);
    x->held = NULL;
    mem_free(x->divert);
    x->divert = NULL;
}

/* A flow is in a call from the INVITE on: until that fails, or until the record of the call that it
 * became goes (proxy/dialogs.h). */
static void context_leave_call(struct core *c, struct context *x) {
    if (x->is_in_call) node_flow_call(c->node, x->flow, -1);
    x->is_in_call = false;
}

static void branch_leave_call(struct core *c, struct branch *b) {
    if (b->is_in_call) node_flow_call(c->node, b->to.flow, -1);
    b->is_in_call = false;
}

/* From its 2xx on a call is counted by its record; without one (the table is full, the answer had
 * no tag) nobody would tell its end. Each phone that answers makes a call of its own. */
static void context_call_begins(struct core *c, struct context *x, struct branch *b,
                                bool is_recorded) {
    if (x->is_in_dialog || b->is_answered) return;
    if (is_recorded) {
        if (!x->is_in_call) node_flow_call(c->node, x->flow, 1);
        x->is_in_call = b->is_in_call = false;
    }
    context_leave_call(c, x);
    branch_leave_call(c, b);
}

static void context_free(struct core *c, struct context *x) {
    timer_stop(&c->timers, &x->timer);
    context_leave_call(c, x);
    for (struct branch *b = &x->first; b; b = b->next) branch_leave_call(c, b);
    if (!x->sent_status) c->open_contexts--;
    context_fini(x);
    pool_free(&c->contexts, x->id);
}

static void context_free_if_idle(struct core *c, struct context *x) {
    if (x->is_server_live || x->is_sender_sought) return;
    for (const struct branch *b = &x->first; b; b = b->next)
        if (b->is_live) return;
    context_free(c, x);
}

void context_tx_end(struct core *c, uint64_t owner, tx_id tx) {
    struct context *x = context_get(c, owner);
    if (!x) return;
    if (pool_id_eq(x->server, tx)) {
        x->is_server_live = false;
        if (x->method == SIP_INVITE) node_invite_remove(c->node, x->invite_key, tx);
    } else {
        struct branch *b = context_branch(x, tx);
        if (b) b->is_live = false;
    }
    context_free_if_idle(c, x);
}

/* ---- answers to the caller ---- */

/* RFC 3261 18.2.2: a connection is made to another domain's server, for this answer if there is
 * one. */
static void context_seek_sender(struct core *c, struct context *x, slice answer) {
    if (!x->is_sender_sought)
        x->is_sender_sought = is_from_domain(x) && peer_seek_sender(c, owner_of(x->id));
    if (!x->is_sender_sought || !answer.len) return;
    mem_free(x->held); /* a later answer says more than an earlier one */
    x->held = mem_dup(answer.ptr, answer.len);
    x->held_len = x->held ? (uint32_t)answer.len : 0;
}

/* Over the flow that the request came on, or where its sender can be reached by now. */
static void context_send(struct core *c, struct context *x, unsigned status, slice bytes) {
    if (!bytes.len) return;
    if (tx_server_respond(c->txs, x->server, status, bytes, c->now.mono) != ERR_OK)
        return; /* a final answer went before: this one is late */
    struct route_side sender = { x->flow, x->account_id, x->bid };
    if (!core_send(c, side_flow(c, &sender), bytes, true, 0)) context_seek_sender(c, x, bytes);
}

void context_sender_found(struct core *c, uint64_t owner, flow_id flow) {
    struct context *x = context_get(c, owner);
    if (!x) return;
    x->is_sender_sought = false;
    if (flow) {
        x->flow = flow;
        if (x->is_in_call) node_flow_call(c->node, flow, 1);
        core_send(c, flow, core_out_copy(c, slice_of(x->held, x->held_len)), true, 0);
    }
    mem_free(x->held);
    x->held = NULL;
    x->held_len = 0;
    if (x->sent_status) context_forget_request(x);
    context_free_if_idle(c, x);
}

static void context_final_sent(struct core *c, struct context *x, unsigned status) {
    if (!x->sent_status) c->open_contexts--;
    x->sent_status = (uint16_t)status;
    timer_stop(&c->timers, &x->timer);
    if (status / 100 != 2) context_leave_call(c, x);
    if (x->method == SIP_BYE && x->dialog) dialogs_remove(c->node->dialogs, x->dialog);
}

void context_forward(struct core *c, struct context *x, const struct sip_msg *m) {
    slice challenges = SLICE_NONE;
    if (m->status == 401 || m->status == 407)
        challenges = slice_of(x->challenges, x->challenges_len);
    char oc_mem[OVERLOAD_TEXT_MAX];
    struct buf oc = buf_over(oc_mem, sizeof oc_mem);
    overload_put(&c->load, (enum overload_algorithm)x->oc, &oc);
    char lines_mem[96];
    struct buf lines = buf_over(lines_mem, sizeof lines_mem);
    if (m->status / 100 == 2) session_put_lines(x->session.seconds, x->session.has_uac, m, &lines);
    struct forward_back back = { .challenges = challenges,
                                 .oc = buf_slice(&oc),
                                 .lines = buf_slice(&lines) };
    struct buf out =
        core_out_begin(c, m->all.len + challenges.len + sizeof oc_mem + sizeof lines_mem + 64);
    if (forward_response(m, &back, &out) != ERR_OK) return;
    slice bytes = core_out_end(c, &out);
    if (m->status >= 200 && !x->sent_status) context_final_sent(c, x, m->status);
    context_send(c, x, m->status, bytes);
    core_trace(c, m, "forwarded", m->status, NULL);
}

void context_answer(struct core *c, struct context *x, unsigned status, const char *why) {
    if (x->sent_status || !x->request) return;
    context_final_sent(c, x, status);
    /* RFC 4320 4.2: a 408 to a non-INVITE would come too late for anybody. */
    if (status == 408 && x->method != SIP_INVITE) {
        tx_drop(c->txs, x->server);
        return;
    }
    struct sip_read r = sip_msg_read(&c->other, slice_of(x->request, x->request_len), SIP_DATAGRAM);
    ASSERT(r.err == ERR_OK); /* it was read when it came */
    struct answer a = { .status = status, .warning = why };
    context_send(c, x, status, core_answer_bytes(c, x->flow, &c->other, &a));
    core_trace(c, &c->other, "answered", status, why);
    context_forget_request(x);
}

/* RFC 3261 16.7 step 6: no branch is open any more and none gave a 2xx. */
static void context_send_best(struct core *c, struct context *x) {
    /* A 503 of our own making (no room, a full mailbox) is the truth about this server. */
    unsigned status = x->best ? best_as_sent(x->best_status) : x->best_status;
    if (x->best && status == x->best_status) {
        struct sip_read r = sip_msg_read(&c->other, slice_of(x->best, x->best_len), SIP_DATAGRAM);
        ASSERT(r.err == ERR_OK && !c->other.is_request);
        context_forward(c, x, &c->other);
        context_forget_request(x);
        return;
    }
    context_answer(c, x, status, x->best_why);
}

static bool context_is_open(const struct context *x) {
    for (const struct branch *b = &x->first; b; b = b->next)
        if (branch_is_open(b)) return true;
    return false;
}

/* RFC 3261 16.7 step 7: the caller needs the challenges of every branch to satisfy them all. */
static void context_keep_challenges(struct context *x, const struct sip_msg *m) {
    static const enum sip_header_id ids[] = { HDR_WWW_AUTHENTICATE, HDR_PROXY_AUTHENTICATE };
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++)
        for (const struct sip_header *h = sip_first(m, ids[i]); h; h = sip_next(m, h)) {
            if (x->challenges_len + h->line.len > CHALLENGES_MAX) return;
            char *more = mem_grow(x->challenges, x->challenges_len + h->line.len);
            if (!more) return;
            memcpy(more + x->challenges_len, h->line.ptr, h->line.len);
            x->challenges = more;
            x->challenges_len += (uint32_t)h->line.len;
        }
}

static void context_keep_best(struct context *x, const struct branch *b, unsigned status,
                              const struct sip_msg *m, const char *why) {
    /* A 488 of ours to a phone that was never asked tells the caller less than what another phone
     * has said; it stands with the answers that nobody gave. */
    bool is_unasked = !m && status == 488 && !b->is_refused;
    unsigned as = is_unasked ? 487 : status;
    bool is_worded = why && status == x->best_status && !x->best && !x->best_why;
    if (!best_is_better(as, x->best_as) && !is_worded) return;
    x->best_as = (uint16_t)as;
    char *copy = m ? mem_dup(m->all.ptr, m->all.len) : NULL; /* without it we answer ourselves */
    mem_free(x->best);
    x->best = copy;
    x->best_len = copy ? (uint32_t)m->all.len : 0;
    x->best_status = (uint16_t)status;
    mem_free(x->best_why);
    x->best_why = why ? mem_dup(why, strlen(why)) : NULL;
}

/* Did the phone answer? RFC 5626 5.3: 408 and 430 say that its flow has failed, not what it says;
 * of our own verdicts only media policy's is about the phone. */
static bool has_answered(unsigned status, const struct sip_msg *m) {
    return m ? status != 408 && status != 430 : status == 488;
}

void branch_ended(struct core *c, struct context *x, struct branch *b, unsigned status,
                  const struct sip_msg *m, const char *why) {
    if (b->status) return;
    if (b->is_rung_out && status == 487) { /* 16.8: as if it had never answered */
        status = 408;
        m = NULL;
    }
    /* The connection with another domain's server is gone: that is no phone that is away. */
    if (b->to.ticket && !m && status == 480) status = 503;
    b->status = (uint16_t)status;
    branch_leave_call(c, b);
    if (b->dialog && !x->is_in_dialog) dialogs_remove(c->node->dialogs, b->dialog);
    if (x->sent_status) return;
    if (m && status < 400 && divert_redirect(c, x, b, m)) return; /* 16.7 step 4 */
    if (!b->is_rung_out) divert_note(x, status);
    if (m && (status == 401 || status == 407)) context_keep_challenges(x, m);
    context_keep_best(x, b, status, m, why);
    if (status >= 600) context_stop(c, x, SLICE_NONE); /* 16.7 step 5: nobody else either */
    if (x->is_over) return;
    branch_instance_ended(x, b, b->is_rung_out || has_answered(status, m));
    /* RFC 3263 4.3: the next server is asked when this one says 503, or has never said anything.
     * One that broke while it rang may ring still: a second copy would be a merged request there.
     */
    bool is_unserved = m ? status == 503 : !b->is_heard && !has_answered(status, NULL);
    if (b->state == BRANCH_SENT && !b->is_rung_out && is_unserved) branch_next_server(x, b);
}

void context_settle(struct core *c, struct context *x) {
    while (!x->sent_status) {
        branches_start(c, x, NULL);
        if (context_is_open(x) || branches_starve(c, x)) return;
        if (!branches_next_group(c, x) && !divert_next(c, x)) break;
    }
    if (!x->sent_status) context_send_best(c, x);
}

void context_branch_final(struct core *c, struct context *x, struct branch *b, unsigned status,
                          const char *why) {
    branch_ended(c, x, b, status, NULL, why);
    context_settle(c, x);
}

/* ---- early dialogs that end (RFC 6228 6) ---- */

/* Where the line of this tag begins; early_len: it is not there. */
static size_t early_find(const struct branch *b, slice tag) {
    for (size_t at = 0; at < b->early_len;) {
        slice line = slice_of(b->early + at, b->early_len - at);
        line = slice_head(line, slice_find(line, '\n'));
        if (slice_eq(line, tag)) return at;
        at += line.len + 1;
    }
    return b->early_len;
}

/* A provisional response goes to the caller: it opens an early dialog there, or a 199 ends one. */
static void early_note(struct context *x, struct branch *b, const struct sip_msg *m) {
    slice tag = m->to.tag;
    if (!x->wants_199 || !tag.len) return;
    size_t at = early_find(b, tag), len = tag.len + 1;
    bool is_known = at < b->early_len;
    if (m->status == 199 && is_known) {
        memmove(b->early + at, b->early + at + len, b->early_len - at - len);
        b->early_len = (uint16_t)(b->early_len - len);
    } else if (m->status != 199 && !is_known && b->early_len + len <= EARLY_BYTES_MAX) {
        char *more = mem_grow(b->early, b->early_len + len);
        if (!more) return;
        b->early = more;
        memcpy(more + at, tag.ptr, tag.len);
        more[at + tag.len] = '\n';
        b->early_len = (uint16_t)(b->early_len + len);
    }
}

/* The branch has failed, and the caller is not told yet, because others go on: he may free what its
 * early dialogs hold. */
static void early_end(struct core *c, struct context *x, struct branch *b, unsigned status) {
    char mem[64];
    struct buf reason = buf_over(mem, sizeof mem);
    const struct sip_msg *m = b->early_len && !x->sent_status ? context_request(c, x) : NULL;
    if (!m) return;
    buf_fmt(&reason, "Reason: SIP;cause=%u\r\n", status);
    slice tags = slice_of(b->early, b->early_len);
    for (slice tag; slice_split(&tags, '\n', &tag) && tag.len;) {
        struct answer a = { .status = 199, .lines = buf_slice(&reason), .to_tag = tag };
        context_send(c, x, 199, core_answer_bytes(c, x->flow, m, &a));
    }
    b->early_len = 0;
}

/* ---- responses ---- */

void context_branch_failed(struct core *c, uint64_t owner, tx_id tx, unsigned status) {
    struct context *x = context_get(c, owner);
    struct branch *b = x ? context_branch(x, tx) : NULL;
    if (!b) return;
    if (b->status) { /* given up before: others may wait for its breadth */
        context_settle(c, x);
        return;
    }
    if (status == 408 && !node_flow_lives(c->node, b->to.flow)) status = 480;
    if (x->is_cancelled && x->method == SIP_INVITE) status = 487; /* RFC 3261 9.1, 16.10 */
    if (status == 480 || status == 503) tx_drop(c->txs, tx);
    context_branch_final(c, x, b, status, NULL);
    early_end(c, x, b, status);
}

/* Nobody is there any more who could be told that it is over. */
static void branch_out_of_reach(struct core *c, struct context *x, struct branch *b) {
    tx_id tx = b->tx;
    b->is_lost = false;
    context_branch_failed(c, owner_of(x->id), tx, 408);
    tx_drop(c->txs, tx);
}

/* RFC 5923 8.1: a CANCEL, and the ACK of a failure, go where the INVITE went, over a new connection
 * if need be; and its answers are looked for there by a server that keeps RFC 3261 18.2.2. To a
 * phone nobody but itself can make one. */
void context_branch_lost(struct core *c, uint64_t owner, tx_id tx) {
    struct context *x = context_get(c, owner);
    struct branch *b = x ? context_branch(x, tx) : NULL;
    if (!b) {
        tx_drop(c->txs, tx);
        return;
    }
    b->is_lost = true;
    if (!peer_seek_again(c, x, b)) branch_out_of_reach(c, x, b);
}

void context_branch_moved(struct core *c, struct context *x, struct branch *b, flow_id flow) {
    b->is_lost = false;
    b->to.flow = flow;
    if (b->is_in_call) node_flow_call(c->node, flow, 1);
    if (tx_client_move(c->txs, b->tx, flow) != ERR_OK) branch_out_of_reach(c, x, b);
}

void context_branch_unfound(struct core *c, struct context *x, struct branch *b, unsigned status,
                            const char *why) {
    if (b->is_lost)
        branch_out_of_reach(c, x, b);
    else
        context_branch_final(c, x, b, status, why);
}

void context_arm(struct core *c, struct context *x) {
    x->timer.kind = TIMER_CONTEXT;
    timer_start(
        &c->timers, &x->timer,
        mono_min(mono_min(x->timer_c_at, x->group_at), mono_min(x->no_answer_at, x->grace_at)));
}

static void context_answered(struct core *c, struct context *x, struct branch *b,
                             const struct sip_msg *m) {
    bool is_first = x->sent_status == 0;
    b->status = m->status;
    if (x->method != SIP_INVITE) { /* 16.7 step 5: one final response, whatever forked */
        if (is_first) context_forward(c, x, m);
    } else {
        context_call_begins(c, x, b, refuse_record(c, x, b, m, false));
        context_forward(c, x, m);
        if (is_first && !x->is_in_dialog) COUNT(c, calls_connected);
        if (is_first && x->branch_count > 1)
            context_stop(c, x, SLICE("SIP;cause=200;text=\"Call completed elsewhere\""));
    }
    b->is_answered = true;
    context_forget_request(x);
}

/* RFC 3261 20.33: seconds, perhaps with a comment and parameters. */
static uint32_t retry_after(const struct sip_msg *m) {
    slice v = sip_value(m, HDR_RETRY_AFTER);
    uint32_t s = 0;
    size_t n = 0;
    while (n < v.len && v.ptr[n] >= '0' && v.ptr[n] <= '9') n++;
    return slice_u32(slice_head(v, n), UINT32_MAX, &s) == ERR_OK ? s : 0;
}

void context_response(struct core *c, uint64_t owner, tx_id tx, const struct sip_msg *m) {
    struct context *x = context_get(c, owner);
    struct branch *b = x ? context_branch(x, tx) : NULL;
    if (!b) return;
    b->is_heard = true;
    peer_heard(c, &b->to, m);
    if (m->status == 503) b->retry_after_s = retry_after(m);
    if (m->status == 100) return; /* 16.7 step 5: a 100 is hop by hop */
    if (refuse_response(c, x, b, m)) return;
    if (m->status < 200) {
        if (x->sent_status || b->status) return;
        divert_note(x, m->status);
        if (x->method == SIP_INVITE) {
            x->timer_c_at = c->now.mono + (int64_t)node_settings(c->node)->timer_c_s * 1000;
            context_arm(c, x); /* 16.7 step 2 */
            if (sip_first(m, HDR_RSEQ)) refuse_record(c, x, b, m, true);
        }
        early_note(x, b, m);
        context_forward(c, x, m);
    } else if (m->status < 300) {
        context_answered(c, x, b, m);
    } else {
        unsigned status = m->status;
        branch_ended(c, x, b, status, m, NULL);
        context_settle(c, x);
        early_end(c, x, b, status);
    }
}

/* ---- CANCEL and the timers ---- */

/* RFC 3261 9.1: an end is asked for; the branch is open until it comes. */
static void branch_cancel(struct core *c, struct context *x, struct branch *b, slice reason) {
    if (x->method != SIP_INVITE || b->status || !b->is_live) return;
    enum err err = tx_client_cancel(c->txs, b->tx, reason, c->now.mono);
    if (err == ERR_MEMORY) { /* nobody shall ring for ever because of that */
        x->timer_c_at = c->now.mono + CANCEL_AGAIN_MS;
        context_arm(c, x);
    } else if (err != ERR_OK) {
        LOG(LOG_DEBUG, "cancel.late", LOG_F_U64("worker", c->worker));
    }
}

void context_stop(struct core *c, struct context *x, slice reason) {
    x->is_over = true;
    branches_pass(x);
    for (struct branch *b = &x->first; b; b = b->next) {
        branch_cancel(c, x, b, reason);
        if (b->state == BRANCH_WAITING) branch_ended(c, x, b, 487, NULL, NULL);
    }
}

/* RFC 3326 2, RFC 9366 4: every Reason of the caller's CANCEL, as one value. */
static slice all_reasons(struct core *c, const struct sip_msg *m) {
    const struct sip_header *first = sip_first(m, HDR_REASON);
    char *mem = first && sip_next(m, first) ? arena_alloc(&c->turn, m->all.len) : NULL;
    if (!mem) return sip_value(m, HDR_REASON);
    struct buf b = buf_over(mem, m->all.len);
    for (const struct sip_header *h = first; h; h = sip_next(m, h)) {
        if (h != first) buf_lit(&b, ", ");
        buf_put(&b, h->value);
    }
    return b.full ? first->value : buf_slice(&b);
}

/* RFC 3261 16.10. Only who sent the INVITE may take it back: the same connection, or one that has
 * proved the same account. */
void core_cancel(struct core *c, flow_id f, bool is_same_account_known, uint32_t account_id,
                 const struct sip_msg *m, tx_id invite) {
    struct context *x = context_get(c, tx_owner(c->txs, invite));
    struct flow *flow = flow_get(c, f);
    bool is_his =
        x &&
        (x->flow == f || (is_same_account_known && account_id && account_id == x->account_id) ||
         (x->account_id ? flow && core_holds(c, flow, x->account_id) : peer_holds(c, f, x->bid)));
    if (!is_his) {
        core_answer(c, f, m, &(struct answer){ .status = 481 });
        return;
    }
    core_answer(c, f, m, &(struct answer){ .status = 200 });
    core_trace(c, m, "cancelled", 0, NULL);
    if (x->sent_status) return;
    x->is_cancelled = true;
    context_stop(c, x, all_reasons(c, m));
    context_settle(c, x);
}

/* RFC 3261 16.8: those that ring have rung for too long. A CANCEL that stays without a final
 * response ends as a time-out of the transaction. The next group need not wait for that. */
static void context_ring_out(struct core *c, struct context *x) {
    bool is_silent = c->now.mono >= x->no_answer_at;
    x->timer_c_at = x->group_at = MONO_NEVER;
    if (is_silent) {
        x->no_answer_at = MONO_NEVER;
        branches_pass(x);
        divert_silent(x);
    }
    for (struct branch *b = &x->first; b; b = b->next) {
        if (!branch_is_open(b)) continue;
        b->is_rung_out = true;
        branch_cancel(c, x, b, SLICE_NONE);
        if (b->state == BRANCH_WAITING) branch_ended(c, x, b, 408, NULL, NULL);
    }
    if (!branches_next_group(c, x) && is_silent) (void)divert_next(c, x);
    context_arm(c, x);
    context_settle(c, x);
}

void context_on_timer(struct core *c, struct context *x) {
    if (c->now.mono >= x->grace_at) {
        struct route_side sender = { x->flow, x->account_id, x->bid };
        x->grace_at = MONO_NEVER;
        if (!node_flow_lives(c->node, side_flow(c, &sender))) {
            context_stop(c, x, SLICE_NONE);
            context_settle(c, x);
            return;
        }
    }
    if (c->now.mono >= mono_min(x->no_answer_at, mono_min(x->timer_c_at, x->group_at)))
        context_ring_out(c, x);
    else
        context_arm(c, x);
}

/* The caller's connection broke. He may be back in a moment; if not, phones stop ringing. What he
 * was answered last and has not acknowledged may have been lost with it (RFC 3261 17.2.4). */
void context_caller_gone(struct core *c, uint64_t owner) {
    struct context *x = context_get(c, owner);
    if (!x) return;
    if (!x->sent_status && x->method == SIP_INVITE) {
        x->grace_at = c->now.mono + CALLER_GRACE_MS;
        context_arm(c, x);
    }
    context_seek_sender(c, x, x->sent_status ? tx_answer(c->txs, x->server) : SLICE_NONE);
}

/* RFC 4320 4.1: a non-INVITE that takes long gets its 100 late, when no final answer can be near.
 */
void context_slow(struct core *c, uint64_t owner) {
    struct context *x = context_get(c, owner);
    if (!x || x->sent_status || !x->request ||
        sip_msg_read(&c->other, slice_of(x->request, x->request_len), SIP_DATAGRAM).err != ERR_OK)
        return;
    context_send(c, x, 100,
                 core_answer_bytes(c, x->flow, &c->other, &(struct answer){ .status = 100 }));
}

/* ---- media policy's verdicts ---- */

void context_refuse_branch(struct core *c, struct context *x, struct branch *b) {
    b->is_refused = true;
    if (x->method == SIP_INVITE && b->is_live && !b->is_answered &&
        tx_client_cancel(c->txs, b->tx, SLICE("SIP;cause=488"), c->now.mono) != ERR_OK)
        LOG(LOG_DEBUG, "cancel.late", LOG_F_U64("worker", c->worker));
    if (!x->sent_status) COUNT(c, calls_refused_unkeyed);
    context_branch_final(c, x, b, 488, REFUSED_WORDS);
    early_end(c, x, b, 488);
}

void context_refuse_all(struct core *c, struct context *x) {
    x->is_over = true;
    branches_pass(x);
    for (struct branch *b = &x->first; b; b = b->next)
        if (branch_is_open(b)) context_refuse_branch(c, x, b);
}

/* ---- start ---- */

static struct context *context_new(struct core *c, const struct relay_plan *plan) {
    pool_id id;
    struct context *x = pool_new(&c->contexts, &id);
    if (!x) return NULL;
    x->id = id;
    x->request = mem_dup(plan->msg->all.ptr, plan->msg->all.len);
    if (!x->request || branches_make(x, plan->targets, plan->target_count) != ERR_OK) {
        context_fini(x);
        pool_free(&c->contexts, id);
        return NULL;
    }
    c->open_contexts++;
    x->request_len = (uint32_t)plan->msg->all.len;
    slice contact = plan->msg->method == SIP_INVITE ? contact_uri(plan->msg) : SLICE_NONE;
    if (contact.len)
        x->contact = slice_of(x->request + (contact.ptr - plan->msg->all.ptr), contact.len);
    x->has_record_route = sip_first(plan->msg, HDR_RECORD_ROUTE) != NULL;
    x->flow = plan->flow->id;
    x->peer = plan->flow->info.peer;
    x->account_id = plan->account_id;
    x->bid = plan->bid;
    x->call_hash = plan->call_hash;
    x->dialog = plan->dialog;
    x->from_side = (uint8_t)plan->from_side;
    x->method = plan->msg->method;
    x->own_routes = (uint16_t)plan->own_routes;
    x->oc = (uint8_t)core_oc(plan->msg);
    x->is_in_call = x->method == SIP_INVITE && !plan->is_in_dialog;
    if (x->is_in_call) node_flow_call(c->node, x->flow, 1);
    x->breadth = plan->max_breadth;
    x->is_in_dialog = plan->is_in_dialog;
    x->is_sdes = plan->is_sdes;
    x->has_offer = plan->has_offer;
    x->wants_199 = x->method == SIP_INVITE && !x->is_in_dialog &&
                   hdr_has_token(plan->msg, HDR_SUPPORTED, SLICE("199")) &&
                   !hdr_has_token(plan->msg, HDR_REQUIRE, SLICE("100rel")) &&
                   !hdr_has_token(plan->msg, HDR_PROXY_REQUIRE, SLICE("100rel"));
    x->timer_c_at = x->group_at = x->no_answer_at = x->grace_at = MONO_NEVER;
    x->divert = plan->divert;
    return x;
}

static void context_refuse_start(struct core *c, const struct relay_plan *plan,
                                 const char *warning) {
    COUNT(c, refused);
    core_answer(c, plan->flow->id, plan->msg,
                &(struct answer){
                    .status = 503, .warning = warning, .lines = SLICE("Retry-After: 10\r\n") });
}

/* RFC 3261 21.1.3: the call goes to somebody else. */
void context_forwarded(struct core *c, struct context *x, const struct sip_msg *m) {
    if (x->method == SIP_INVITE)
        context_send(c, x, 181,
                     core_answer_bytes(c, x->flow, m, &(struct answer){ .status = 181 }));
    core_trace(c, m, "diverted", 181, NULL);
    branches_new_person(c, x);
}

void context_start(struct core *c, const struct relay_plan *plan) {
    const struct sip_msg *m = plan->msg;
    bool is_invite = m->method == SIP_INVITE;
    struct session_timer session;
    if (!session_request(m, node_settings(c->node)->session_timer_s, &session)) {
        core_answer(c, plan->flow->id, m,
                    &(struct answer){ .status = 422, .lines = SLICE("Min-SE: 90\r\n") });
        mem_free(plan->divert);
        return;
    }
    if (c->draining && !plan->is_in_dialog && is_invite) {
        context_refuse_start(c, plan, "The server is about to stop");
        mem_free(plan->divert);
        return;
    }
    struct context *x = context_new(c, plan);
    if (!x || tx_server_open(c->txs, m, plan->flow->id, flow_is_reliable(&plan->flow->info),
                             owner_of(x->id), c->now.mono, &x->server) != ERR_OK) {
        if (x) context_free(c, x);
        if (!x) mem_free(plan->divert);
        context_refuse_start(c, plan, "The server has too many calls");
        return;
    }
    x->session = session;
    x->is_server_live = true;
    if (is_invite) {
        x->invite_key = tx_request_hash(&c->node->keys.table, m);
        if (node_invite_add(c->node, x->invite_key, c->worker, x->server) != ERR_OK)
            LOG(LOG_WARN, "directory.full", LOG_F_U64("worker", c->worker));
        struct answer trying = { .status = 100 };
        context_send(c, x, 100, core_answer_bytes(c, x->flow, m, &trying));
    }
    if (x->divert && divert_is_forwarded(x->divert))
        context_forwarded(c, x, m);
    else
        branches_new_person(c, x);
    branches_start(c, x, m);
    context_settle(c, x);
    core_trace(c, m, "relayed", 0, NULL);
}
