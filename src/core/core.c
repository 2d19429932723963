#include "core/core_priv.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#define EFFECTS_FIRST     256u
#define EFFECTS_MAX       262144u /* a broken connection may end that many transactions at once */
#define SWEEP_EVERY_MS    1000
#define SWEEP_BUDGET      4096u
#define SWEEP_REMOVALS    512u
#define DIALOG_GONE_MS    (5 * 60 * 1000LL)
#define DIALOG_SILENCE_MS (24 * 3600 * 1000LL) /* architecture.md: a record idle for 24 h goes */

struct core *core_new(struct node *node, unsigned worker, const uint8_t seed[static 32],
                      struct now now) {
    struct core *c = mem_zalloc(sizeof *c);
    if (!c) return NULL;
    c->node = node;
    c->worker = worker;
    c->now = now;
    pool_init(&c->flows, sizeof(struct flow), node->flows_max);
    pool_init(&c->contexts, sizeof(struct context), LIMIT_TRANSACTIONS);
    pool_init(&c->pendings, sizeof(struct pending), LIMIT_TRANSACTIONS);
    map_init(&c->peers, node->flows_max);
    timers_init(&c->timers, now.mono);
    list_init(&c->owed);
    rng_init(&c->rng, seed);
    overload_init(&c->load, now);
    atomic_store(&c->counters.taken_percent, 100);
    arena_init(&c->turn, LIMIT_TURN_BYTES);
    c->sweep_at = now.mono + SWEEP_EVERY_MS;
    struct tx_limits limits = { .tx_max = LIMIT_TRANSACTIONS,
                                .bytes_max = (size_t)1 << 30,
                                .t1_ms = 500,
                                .t2_ms = 4000,
                                .t4_ms = 5000 };
    c->txs = tx_table_new(&limits, &node->keys.table, now.mono);
    c->out = mem_alloc(LIMIT_TURN_BYTES);
    c->effects = mem_array(EFFECTS_FIRST, sizeof *c->effects);
    c->effect_cap = EFFECTS_FIRST;
    c->find_flow = peer_find_flow;
    if (!c->txs || !c->out || !c->effects || peers_new(c) != ERR_OK) {
        core_free(c);
        return NULL;
    }
    return c;
}

void core_free(struct core *c) {
    if (!c) return;
    uint32_t at = 0;
    pool_id id;
    for (struct flow *f; (f = pool_each(&c->flows, &at, &id));) {
        node_flow_down(c->node, f->id);
        peer_flow_closed(c, f);
        identities_fini(&f->who);
    }
    at = 0;
    for (struct context *x; (x = pool_each(&c->contexts, &at, &id));) context_fini(x);
    at = 0;
    for (struct pending *p; (p = pool_each(&c->pendings, &at, &id));) {
        mem_free(p->ok);
        mem_free(p->failed);
    }
    pool_fini(&c->flows);
    pool_fini(&c->contexts);
    pool_fini(&c->pendings);
    map_fini(&c->peers);
    mail_forget(c);
    peers_free(c);
    tx_table_free(c->txs);
    arena_fini(&c->turn);
    while (c->out_full_count) mem_free(c->out_full[--c->out_full_count]);
    mem_free(c->out);
    mem_free(c->effects);
    crypto_wipe(&c->rng, sizeof c->rng);
    mem_free(c);
}

/* ---- effects ---- */

/* Every call with `now` begins here: what the last one said has been drained. */
void core_begin(struct core *c, struct now now) {
    c->now = now;
    c->is_proved = false;
    if (c->effect_next == c->effect_count) {
        c->effect_next = c->effect_count = 0;
        c->out_len = 0;
        while (c->out_full_count) mem_free(c->out_full[--c->out_full_count]);
        arena_reset(&c->turn);
    }
}

bool core_next_effect(struct core *c, struct core_effect *out) {
    if (c->effect_next == c->effect_count) return false;
    *out = c->effects[c->effect_next++];
    return true;
}

struct core_effect *core_effect(struct core *c, enum core_effect_kind kind) {
    if (c->effect_count == c->effect_cap) {
        size_t cap = c->effect_cap * 2;
        struct core_effect *more =
            cap > EFFECTS_MAX ? NULL : mem_grow(c->effects, cap * sizeof *c->effects);
        if (!more) {
            LOG(LOG_ERROR, "core.effects_lost", LOG_F_U64("worker", c->worker));
            return NULL;
        }
        c->effects = more;
        c->effect_cap = cap;
    }
    struct core_effect *fx = &c->effects[c->effect_count++];
    memset(fx, 0, sizeof *fx);
    fx->kind = kind;
    return fx;
}

struct buf core_out_begin(struct core *c, size_t want) {
    /* A connection with thousands of transactions that breaks makes more than one chunk of answers:
     * the full one waits until its effects are drained. */
    if (want > LIMIT_TURN_BYTES - c->out_len && c->out_full_count < OUT_CHUNKS_MAX) {
        char *more = mem_alloc(LIMIT_TURN_BYTES);
        if (more) {
            c->out_full[c->out_full_count++] = c->out;
            c->out = more;
            c->out_len = 0;
        }
    }
    size_t room = LIMIT_TURN_BYTES - c->out_len;
    return buf_over(c->out + c->out_len, want < room ? want : room);
}

slice core_out_end(struct core *c, const struct buf *b) {
    if (b->full) {
        LOG(LOG_WARN, "core.out_full", LOG_F_U64("worker", c->worker));
        return SLICE_NONE;
    }
    ASSERT(b->ptr == c->out + c->out_len);
    c->out_len += b->len;
    return buf_slice(b);
}

slice core_out_copy(struct core *c, slice bytes) {
    struct buf b = core_out_begin(c, bytes.len);
    buf_put(&b, bytes);
    return core_out_end(c, &b);
}

bool core_send(struct core *c, flow_id f, slice bytes, bool must_arrive, uint64_t tag) {
    if (!bytes.len || !node_flow_lives(c->node, f)) return false;
    COUNT(c, messages_out);
    if (flow_worker(f) != c->worker || node_settings(c->node)->force_mail) {
        struct core_mail mail = {
            .kind = MAIL_SEND, .must_arrive = must_arrive, .flow = f, .tag = tag, .bytes = bytes
        };
        core_mail(c, flow_worker(f), &mail);
        return true;
    }
    struct core_effect *fx = core_effect(c, FX_SEND);
    if (!fx) return false;
    fx->flow = f;
    fx->bytes = bytes;
    return true;
}

void core_close(struct core *c, flow_id f, const char *why) {
    struct core_effect *fx = core_effect(c, FX_CLOSE);
    if (!fx) return;
    fx->flow = f;
    fx->why = why;
}

void core_store(struct core *c, const struct store_change *change, uint64_t ticket) {
    struct core_effect *fx = core_effect(c, FX_STORE);
    if (!fx) return;
    fx->change = change;
    fx->ticket = ticket;
}

void core_trace(struct core *c, const struct sip_msg *m, const char *what, unsigned status,
                const char *why) {
    if (!node_tracing(c->node)) return;
    char call[9], from[9];
    struct core_effect *fx = core_effect(c, FX_TRACE);
    if (!fx) return;
    struct buf b = core_out_begin(c, 512);
    slice method = sip_method_text(m->method);
    buf_fmt(&b, "{\"at\":%lld,\"worker\":%u,\"call\":\"" SLICE_FMT "\",\"from\":\"" SLICE_FMT "\"",
            (long long)c->now.wall, c->worker, SLICE_ARG(log_who(m->call_id, call)),
            SLICE_ARG(log_who(m->from.uri_text, from)));
    buf_fmt(&b, ",\"method\":\"" SLICE_FMT "\",\"what\":\"%s\"",
            SLICE_ARG(method.len ? method : SLICE("other")), what);
    if (status) buf_fmt(&b, ",\"status\":%u", status);
    if (why) buf_fmt(&b, ",\"why\":\"%s\"", why);
    buf_lit(&b, "}");
    fx->bytes = core_out_end(c, &b);
}

/* ---- what the transactions want ---- */

static void core_pump_txs(struct core *c) {
    struct tx_effect fx;
    while (tx_next_effect(c->txs, &fx)) {
        switch (fx.what) {
        case TX_DO_SEND:
            core_send(c, fx.flow, core_out_copy(c, fx.bytes), true, 0);
            break;
        case TX_DO_TIMED_OUT:
            context_branch_failed(c, fx.owner, fx.id, 408);
            break;
        case TX_DO_NO_ACK:
            break; /* the answer stood; whoever asked is gone */
        case TX_DO_FLOW_GONE:
            if (fx.kind == TX_INVITE_CLIENT)
                context_branch_lost(c, fx.owner, fx.id);
            else
                context_caller_gone(c, fx.owner);
            break;
        case TX_DO_SLOW:
            context_slow(c, fx.owner);
            break;
        case TX_DO_END:
            context_tx_end(c, fx.owner, fx.id);
            break;
        }
    }
}

void core_pump(struct core *c) {
    core_pump_txs(c);
    while (peers_pump(c)) core_pump_txs(c);
    atomic_store_explicit(&c->counters.open, c->open_contexts + c->pendings.used,
                          memory_order_relaxed);
    atomic_store_explicit(&c->counters.transactions, tx_count(c->txs), memory_order_relaxed);
}

/* ---- messages ---- */

/* The account that a flow has proved when it is just one: what mail tells of it. */
static uint32_t flow_account(const struct flow *flow) {
    return flow->who.count == 1 ? flow->who.first.account_id : 0;
}

static bool has_more_vias(const struct sip_msg *m) {
    const struct sip_header *h = sip_first(m, HDR_VIA);
    return sip_next(m, h) || m->via.value.ptr + m->via.value.len < h->value.ptr + h->value.len;
}

static void core_response(struct core *c, flow_id from, uint32_t account_id,
                          const struct sip_msg *m, bool is_mail) {
    unsigned worker;
    tx_id tx;
    uint64_t loop, owner;
    COUNT(c, responses);
    /* RFC 3261 16.7: a response that none of our branches names is not ours to forward. */
    if (!branch_read(c->node->keys.branch, m->via.branch, &worker, &tx, &loop)) return;
    if (worker >= c->node->workers) return;
    if (worker != c->worker || (node_settings(c->node)->force_mail && !is_mail)) {
        struct core_mail mail = { .kind = MAIL_RESPONSE,
                                  .must_arrive = true,
                                  .flow = from,
                                  .number = account_id,
                                  .bytes = m->all };
        core_mail(c, worker, &mail);
        return;
    }
    /* It must come from where the request went: over that flow, or over another one of the same
     * account (a phone that reconnected while it rang). */
    if (tx_flow(c->txs, tx) != from) {
        struct context *x = context_get(c, tx_owner(c->txs, tx));
        struct branch *b = x ? context_branch(x, tx) : NULL;
        if (!b) return;
        if (b->to.account_id ? b->to.account_id != account_id : !peer_holds(c, from, b->to.bid))
            return;
        if (b->is_lost) context_branch_moved(c, x, b, from); /* it has come to us */
    }
    /* RFC 3261 16.7 step 3: with no Via below ours there is nobody to forward it to. (What we asked
     * ourselves, CANCEL included, has only ours.) */
    if (!has_more_vias(m) && m->method != SIP_CANCEL && tx_owner(c->txs, tx) != 0) return;
    if (tx_client_response(c->txs, tx, m, c->now.mono, &owner) == TX_PASS)
        context_response(c, owner, tx, m);
}

void core_receive(struct core *c, flow_id f, slice bytes, struct now now) {
    core_begin(c, now);
    struct flow *flow = flow_get(c, f);
    if (!flow) return;
    COUNT(c, messages_in);
    flow_touch(c, flow);
    struct sip_read r =
        sip_msg_read(&c->msg, bytes, flow_is_stream(&flow->info) ? SIP_STREAM : SIP_DATAGRAM);
    /* RFC 7118 5: a WebSocket message holds one SIP message, and nothing behind it. */
    if (r.err == ERR_OK && flow->info.transport == FLOW_WSS && r.used < bytes.len)
        r = (struct sip_read){ .err = ERR_BAD,
                               .why = SIP_BAD_CONTENT_LENGTH,
                               .used = r.used,
                               .at = r.used,
                               .answerable = c->msg.is_request && c->msg.method != SIP_ACK };
    if (r.err != ERR_OK)
        core_bad_message(c, flow, &r);
    else if (c->msg.is_request)
        core_request(c, flow, &c->msg);
    else
        core_response(c, f, flow_account(flow), &c->msg, false);
    core_pump(c);
}

void core_bad_stream(struct core *c, flow_id f, const char *why, struct now now) {
    core_begin(c, now);
    if (!flow_get(c, f)) return;
    COUNT(c, bad_messages);
    LOG(LOG_INFO, "flow.bad_stream", LOG_F_U64("flow", f), LOG_F_STR("why", why));
    core_close(c, f, why);
}

/* A request that another worker met, but whose INVITE transaction is ours: ACK or CANCEL. */
static void core_mail_request(struct core *c, const struct core_mail *mail) {
    struct sip_read r = sip_msg_read(&c->msg, mail->bytes, SIP_DATAGRAM);
    if (r.err != ERR_OK || !c->msg.is_request) return;
    tx_id tx;
    if (tx_match_request(c->txs, &c->msg, c->now.mono, &tx) == TX_CANCEL)
        core_cancel(c, mail->flow, true, (uint32_t)mail->number, &c->msg, tx);
}

static void core_mail_send(struct core *c, const struct core_mail *mail) {
    struct flow *flow = flow_get(c, mail->flow);
    if (flow) {
        flow->borrowers |= UINT64_C(1) << (mail->from_worker & 63);
        struct core_effect *fx = core_effect(c, FX_SEND);
        if (!fx) return;
        fx->flow = mail->flow;
        fx->bytes = core_out_copy(c, mail->bytes);
    } else if (mail->tag) {
        core_mail(
            c, mail->from_worker,
            &(struct core_mail){
                .kind = MAIL_SENT, .must_arrive = true, .flow = mail->flow, .tag = mail->tag });
    }
}

void core_mail_in(struct core *c, const struct core_mail *mail, struct now now) {
    core_begin(c, now);
    COUNT(c, mails_in);
    switch (mail->kind) {
    case MAIL_SEND:
        core_mail_send(c, mail);
        break;
    case MAIL_RESPONSE:
        if (sip_msg_read(&c->msg, mail->bytes, SIP_DATAGRAM).err == ERR_OK && !c->msg.is_request)
            core_response(c, mail->flow, (uint32_t)mail->number, &c->msg, true);
        break;
    case MAIL_REQUEST:
        core_mail_request(c, mail);
        break;
    case MAIL_SENT: {
        tx_id tx = owner_id(mail->tag);
        context_branch_failed(c, tx_owner(c->txs, tx), tx, 480);
        break;
    }
    case MAIL_ACCOUNT:
        flows_of_account(c, (uint32_t)mail->number, 0);
        break;
    case MAIL_DEVICE:
        flows_of_account(c, 0, (uint32_t)mail->number);
        break;
    case MAIL_FLOW_GONE:
        tx_flow_gone(c->txs, mail->flow, now.mono);
        break;
    case MAIL_REFUSE:
        refuse_mail(c, mail);
        break;
    }
    core_pump(c);
}

void core_mail_refused(struct core *c, unsigned worker, const struct core_mail *mail,
                       struct now now) {
    core_begin(c, now);
    /* The other worker is overloaded: a branch through it counts as 503 (architecture.md 4). What
     * must arrive waits until there is room. */
    bool is_owed = mail->must_arrive && mail_owe(c, worker, mail);
    if (!is_owed) COUNT(c, refused);
    if (!is_owed && mail->kind == MAIL_SEND && mail->tag) {
        tx_id tx = owner_id(mail->tag);
        context_branch_failed(c, tx_owner(c->txs, tx), tx, 503);
    }
    core_pump(c);
}

void core_stored(struct core *c, uint64_t ticket, enum err result, struct now now) {
    core_begin(c, now);
    pending_stored(c, ticket, result);
    core_pump(c);
}

/* ---- time ---- */

static bool side_lives(void *ctx, const struct dialog_leg *leg) {
    struct core *c = ctx;
    struct route_side side = { leg->flow, leg->account_id, leg->bid };
    return side_flow(c, &side) != FLOW_NONE;
}

/* The first core looks after the tables that all share. */
static void core_sweep(struct core *c) {
    c->sweep_at = c->now.mono + SWEEP_EVERY_MS;
    if (c->worker != 0) return;
    struct store_change *gone = arena_alloc(&c->turn, SWEEP_REMOVALS * sizeof *gone);
    unsigned n =
        gone ? location_sweep(c->node->location, c->now.wall, SWEEP_BUDGET, gone, SWEEP_REMOVALS)
             : 0;
    for (unsigned i = 0; i < n; i++) core_store(c, &gone[i], 0);
    struct dialogs_sweep calls = { .now = c->now.mono,
                                   .silence_ms = DIALOG_SILENCE_MS,
                                   .gone_ms = DIALOG_GONE_MS,
                                   .budget = SWEEP_BUDGET,
                                   .lives = side_lives,
                                   .ctx = c };
    dialogs_sweep(c->node->dialogs, &calls);
}

void core_run_timers(struct core *c, struct now now) {
    core_begin(c, now);
    tx_run_timers(c->txs, now.mono);
    peers_run_timers(c);
    core_pump(c);
    timers_advance(&c->timers, now.mono);
    for (struct timer *t; (t = timers_next(&c->timers));) {
        if (t->kind == TIMER_FLOW_IDLE)
            flow_on_idle(c, LIST_ITEM(t, struct flow, idle));
        else if (t->kind == TIMER_MAIL)
            mail_again(c);
        else
            context_on_timer(c, LIST_ITEM(t, struct context, timer));
        core_pump(c);
    }
    if (now.mono >= c->sweep_at) core_sweep(c);
}

mono_t core_wake_at(const struct core *c) {
    mono_t at = mono_min(tx_wake_at(c->txs), timers_wake_at(&c->timers));
    at = mono_min(at, peers_wake_at(c));
    return c->worker == 0 ? mono_min(at, c->sweep_at) : at;
}

const struct core_counters *core_counters(const struct core *c) {
    return &c->counters;
}

void core_drain(struct core *c, struct now now) {
    core_begin(c, now);
    c->draining = true;
}
