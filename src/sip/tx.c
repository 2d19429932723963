/* The four machines. Each arrow names what makes it, the RFC line and the function that walks it.
 * "rel" is a reliable flow, "dg" a datagram one. END follows every arrow into (gone).
 *
 * INVITE server (RFC 3261 17.2.1 figure 7, as changed by RFC 6026 figure 5)
 *   (new)      -> PROCEEDING  INVITE                                  17.2.1     tx_server_open
 *   PROCEEDING    INVITE again: last provisional again                17.2.1     absorb
 *   PROCEEDING    1xx from the owner: kept                            17.2.1     respond_invite
 *   PROCEEDING -> ACCEPTED    2xx; L = 64*T1                          6026 7.1   respond_invite
 *   PROCEEDING -> COMPLETED   3xx-6xx; H = 64*T1, dg: G = T1          17.2.1     respond_invite
 *   ACCEPTED      2xx again from the owner; INVITE absorbed           6026 7.1   respond_invite
 *   ACCEPTED      ACK: to the owner                                   6026 7.1   absorb
 *   ACCEPTED   -> (gone)      L                                       6026 7.1   expire
 *   COMPLETED     G: response again, G = min(2*G, T2)                 17.2.1     resend
 *   COMPLETED     INVITE again: response again                        17.2.1     absorb
 *   COMPLETED  -> CONFIRMED   ACK; I = T4, rel: gone at once          17.2.1     absorb
 *   COMPLETED  -> (gone)      H: NO_ACK                               17.2.1     expire
 *   CONFIRMED     ACK, INVITE absorbed                                17.2.1     absorb
 *   CONFIRMED  -> (gone)      I                                       17.2.1     expire
 *
 * Other server (17.2.2 figure 8)
 *   (new)      -> TRYING      request                                 17.2.2     tx_server_open
 *   TRYING        request again: absorbed                             17.2.2     absorb
 *   TRYING     -> PROCEEDING  100 (not before 3.5 s on dg: 4320 4.1)  17.2.2     respond_other
 *   PROCEEDING    request again: 100 again                            17.2.2     absorb
 *   TRYING, PROCEEDING -> COMPLETED  200-699 but 408 (4320 4.2)
 *                             dg: J = 64*T1; rel: gone at once        17.2.2     respond_other
 *   TRYING        3.5 s without answer: SLOW                          4320 4.1   resend
 *   TRYING, PROCEEDING -> (gone)  64*T1: the client's F has passed    4320 4.2   expire
 *   COMPLETED     request again: response again                       17.2.2     absorb
 *   COMPLETED  -> (gone)      J                                       17.2.2     expire
 *
 * INVITE client (17.1.1 figure 5, as changed by RFC 6026 figure 7)
 *   RESERVED   -> CALLING     started; B = 64*T1, dg: A = T1          17.1.1.2   tx_client_start
 *   CALLING       A: request again, A = 2*A                           17.1.1.2   resend
 *   CALLING    -> (gone)      B: TIMED_OUT                            17.1.1.2   expire
 *   CALLING, PROCEEDING -> PROCEEDING  1xx; no A, no B                17.1.1.2   invite_response
 *   CALLING, PROCEEDING -> ACCEPTED    2xx; M = 64*T1                 6026 7.2   invite_response
 *   CALLING, PROCEEDING -> COMPLETED   3xx-6xx; ACK,
 *                             dg: D = 64*T1; rel: gone at once        17.1.1.2   invite_response
 *   PROCEEDING -> (gone)      64*T1 after CANCEL: TIMED_OUT           9.1        expire
 *   COMPLETED     3xx-6xx again: ACK again                            17.1.1.2   invite_response
 *   COMPLETED  -> (gone)      D                                       17.1.1.2   expire
 *   ACCEPTED      2xx: to the owner                                   6026 7.2   invite_response
 *   ACCEPTED   -> (gone)      M                                       6026 7.2   expire
 *   inside it, the CANCEL (an Other client of the same branch, 9.1):
 *   NONE -> WANTED before a provisional; -> SENT with it; dg: E; -> ANSWERED by its final response
 *
 * Other client (17.1.2 figure 6)
 *   RESERVED   -> TRYING      started; F = 64*T1, dg: E = T1          17.1.2.2   tx_client_start
 *   TRYING        E: request again, E = min(2*E, T2)                  17.1.2.2   resend
 *   PROCEEDING    E: request again, E = T2                            17.1.2.2   resend
 *   TRYING, PROCEEDING -> PROCEEDING  1xx                             17.1.2.2   other_response
 *   TRYING, PROCEEDING -> COMPLETED   final; dg: K = T4; rel: gone    17.1.2.2   other_response
 *   TRYING, PROCEEDING -> (gone)  F: TIMED_OUT                        17.1.2.2   expire
 *   COMPLETED     any response absorbed                               17.1.2.2   other_response
 *   COMPLETED  -> (gone)      K                                       17.1.2.2   expire
 *
 * The flow broke: tx_flow_gone. Clients -> (gone), and Other servers that have answered; INVITE
 * servers stay (6026 7.1), and Other servers until they have answered (18.2.2) or the time is over;
 * INVITE clients stay in PROCEEDING, and may go on over another flow (5923 8.1, tx_client_move).
 *
 * Invariants: what is alive has a state above TX_FREE, stands in the flow's ring if it has a flow
 * that is not gone, and, when a server, in the map. What ended is in none of them, has no timer,
 * and waits only for its END to be taken out. */
#include "sip/tx.h"
#include "base/mem.h"
#include "sip/tx_inner.h"

/* ---- the table ---- */

struct tx_table *tx_table_new(const struct tx_limits *limits, const struct hash_key *key,
                              mono_t now) {
    ASSERT(limits->tx_max > 0 && limits->tx_max <= 1u << 24 && limits->t1_ms > 0 &&
           limits->t1_ms <= limits->t2_ms && limits->t2_ms <= 64 * limits->t1_ms);
    struct tx_table *t = mem_zalloc(sizeof(*t));
    if (!t) return NULL;
    t->limits = *limits;
    t->key = *key;
    pool_init(&t->pool, sizeof(struct tx), limits->tx_max);
    map_init(&t->map, 2 * limits->tx_max);
    timers_init(&t->timers, now);
    list_init(&t->effects);
    tx_store_init(&t->store, limits->bytes_max);
    t->life_ms = 64 * limits->t1_ms;
    for (uint32_t e = limits->t1_ms; e < limits->t2_ms; e *= 2) t->slow_ms += e;
    return t;
}

void tx_table_free(struct tx_table *t) {
    if (!t) return;
    tx_id id;
    uint32_t slot = 0;
    for (struct tx *tx; (tx = pool_each(&t->pool, &slot, &id));) {
        tx_bytes_let_go(&t->store, tx->kept);
        tx_bytes_let_go(&t->store, tx->extra);
    }
    tx_store_fini(&t->store);
    map_fini(&t->map);
    pool_fini(&t->pool);
    mem_free(t);
}

uint32_t tx_count(const struct tx_table *t) {
    return t->alive;
}

uint64_t tx_copies_missed(const struct tx_table *t) {
    return t->store.missed;
}

/* Every call that takes `now` starts here: what the last round of effects pointed to may go. */
static void turn_begin(struct tx_table *t) {
    if (!t->is_drained) return;
    t->is_drained = false;
    tx_store_sweep(&t->store);
}

static struct tx *tx_alive(const struct tx_table *t, tx_id id) {
    struct tx *tx = pool_get(&t->pool, id);
    return tx && tx->state != TX_FREE ? tx : NULL;
}

static void tell(struct tx_table *t, struct tx *tx, unsigned what) {
    if (!tx->pending) list_push(&t->effects, &tx->effects);
    tx->pending = (uint8_t)(tx->pending | what);
}

/* What was to be sent is out of date, or cannot be sent any more. */
static void untell(struct tx *tx, unsigned what) {
    if (!tx->pending) return;
    tx->pending = (uint8_t)(tx->pending & ~what);
    if (!tx->pending) list_remove(&tx->effects);
}

/* Arm the one timer for whatever comes first. */
static void arm(struct tx_table *t, struct tx *tx) {
    mono_t at = mono_min(mono_min(tx->resend_at, tx->end_at),
                         mono_min(tx->cancel_resend_at, tx->cancel_end_at));
    if (tx->timer.armed && tx->timer.at == at) return;
    if (at == MONO_NEVER)
        timer_stop(&t->timers, &tx->timer);
    else
        timer_start(&t->timers, &tx->timer, at);
}

static void no_times(struct tx *tx) {
    tx->resend_at = tx->end_at = tx->cancel_resend_at = tx->cancel_end_at = MONO_NEVER;
}

static enum err take_slot(struct tx_table *t, enum tx_kind kind, uint64_t owner, struct tx **out) {
    tx_id id;
    struct tx *tx = pool_new(&t->pool, &id);
    if (!tx) return t->pool.used >= t->pool.max ? ERR_FULL : ERR_MEMORY;
    tx->id = id;
    tx->kind = (uint8_t)kind;
    tx->owner = owner;
    no_times(tx);
    list_init(&tx->flow_ring);
    t->alive++;
    *out = tx;
    return ERR_OK;
}

/* The arrow into (gone). The slot itself is freed when END is taken out. */
static void end(struct tx_table *t, struct tx *tx) {
    if (tx->hash) {
        bool was = map_remove(&t->map, tx->hash, tx->id.slot);
        ASSERT(was);
    }
    tx_flow_leave(t, tx);
    timer_stop(&t->timers, &tx->timer);
    tx->state = TX_FREE;
    ASSERT(t->alive > 0);
    t->alive--;
    tell(t, tx, PENDING_END);
}

/* ---- server machines ---- */

static enum tx_match ack_arrived(struct tx_table *t, struct tx *tx, mono_t now) {
    switch ((enum tx_state)tx->state) {
    case TX_ACCEPTED:
        return TX_ACK_2XX; /* RFC 6026 7.1: passed to the owner, not absorbed */
    case TX_COMPLETED:
        /* 17.2.1: on ACK, Confirmed; no more copies of the response go out. Timer I is T4, or zero
         * on a reliable transport. */
        tx->state = TX_CONFIRMED;
        untell(tx, PENDING_KEPT);
        no_times(tx);
        if (tx->is_reliable) {
            end(t, tx);
        } else {
            tx->end_at = now + t->limits.t4_ms;
            arm(t, tx);
        }
        return TX_ABSORBED;
    case TX_FREE:
    case TX_RESERVED:
    case TX_TRYING:
    case TX_CALLING:
    case TX_PROCEEDING: /* nothing to acknowledge yet */
    case TX_CONFIRMED:
        break;
    }
    return TX_ABSORBED;
}

enum tx_match tx_match_request(struct tx_table *t, const struct sip_msg *req, mono_t now,
                               tx_id *out) {
    turn_begin(t);
    struct tx *tx = tx_find_server(t, req);
    if (!tx) return TX_NEW;
    *out = tx->id;
    if (req->method == SIP_ACK) return ack_arrived(t, tx, now);
    if (req->method == SIP_CANCEL && tx->method != SIP_CANCEL) return TX_CANCEL;
    /* 17.2.1, 17.2.2: the last response again in Proceeding and Completed; silence in Trying,
     * Confirmed and Accepted, which keep none. */
    if (tx->kept && (tx->state == TX_PROCEEDING || tx->state == TX_COMPLETED))
        tell(t, tx, PENDING_KEPT);
    return TX_ABSORBED;
}

enum err tx_server_open(struct tx_table *t, const struct sip_msg *req, uint64_t flow, bool reliable,
                        uint64_t owner, mono_t now, tx_id *out) {
    turn_begin(t);
    if (req->method == SIP_ACK) return ERR_BAD;
    bool is_invite = req->method == SIP_INVITE;
    struct tx *tx;
    enum err err = take_slot(t, is_invite ? TX_INVITE_SERVER : TX_OTHER_SERVER, owner, &tx);
    if (err) return err;
    struct tx_match_key m = tx_match_key_of(&t->key, req);
    err = map_add(&t->map, m.hash, tx->id.slot);
    if (err == ERR_OK) {
        err = tx_flow_join(t, tx, flow);
        if (err) map_remove(&t->map, m.hash, tx->id.slot);
    }
    if (err) {
        t->alive--;
        pool_free(&t->pool, tx->id);
        return err;
    }
    tx->hash = m.hash;
    tx->check = m.check;
    tx->is_2543 = m.is_2543;
    if (m.is_2543) tx->to_tag = tx_text_hash(&t->key, req->to.tag);
    tx->method = tx_method_of(t, req);
    tx->is_reliable = reliable;
    if (is_invite) {
        tx->state = TX_PROCEEDING;
    } else {
        tx->state = TX_TRYING;
        /* RFC 4320 4.2: after the client's timer F no answer may go out, so none is waited for. */
        tx->end_at = now + t->life_ms;
        tx->resend_at = now + t->slow_ms;
        arm(t, tx);
    }
    *out = tx->id;
    return ERR_OK;
}

/* Keep `bytes` as what to send again. An older copy that was about to go out no longer is. */
static void keep_response(struct tx_table *t, struct tx *tx, slice bytes) {
    tx_bytes_let_go(&t->store, tx->kept);
    tx->kept = bytes.len ? tx_bytes_keep(&t->store, bytes) : NULL;
    untell(tx, PENDING_KEPT);
}

static enum err respond_invite(struct tx_table *t, struct tx *tx, unsigned status, slice bytes,
                               mono_t now) {
    if (tx->state == TX_ACCEPTED && status >= 200 && status < 300) return ERR_OK; /* 6026 7.1 */
    if (tx->state != TX_PROCEEDING) return ERR_DENIED;
    tx->status = (uint16_t)status;
    if (status < 200) {
        keep_response(t, tx, bytes);
    } else if (status < 300) {
        /* RFC 6026 7.1: Accepted absorbs INVITEs for 64*T1 and sends no 2xx on its own. */
        tx->state = TX_ACCEPTED;
        keep_response(t, tx, SLICE_NONE);
        tx->end_at = now + t->life_ms;
        arm(t, tx);
    } else {
        tx->state = TX_COMPLETED;
        keep_response(t, tx, bytes);
        if (tx->is_2543) tx->reply_tag = tx_text_hash(&t->key, tx_to_tag(bytes));
        tx->end_at = now + t->life_ms; /* 17.2.1: H, on every transport */
        /* G needs the flow; one that is gone was taken out of its ring (tx_flow_gone). */
        if (!tx->is_reliable && (tx->is_flow_head || !list_empty(&tx->flow_ring))) {
            tx->resend_ms = t->limits.t1_ms;
            tx->resend_at = now + tx->resend_ms;
        }
        arm(t, tx);
    }
    return ERR_OK;
}

static enum err respond_other(struct tx_table *t, struct tx *tx, unsigned status, slice bytes,
                              mono_t now) {
    if (tx->state == TX_COMPLETED) return ERR_DENIED;
    if (status == 408) return ERR_DENIED;                 /* RFC 4320 4.2 */
    if (status < 200 && status != 100) return ERR_DENIED; /* RFC 4320 4.1 */
    mono_t opened_at = tx->end_at - t->life_ms;
    if (status == 100 && !tx->is_reliable && now < opened_at + t->slow_ms) return ERR_DENIED;
    tx->status = (uint16_t)status;
    tx->resend_at = MONO_NEVER;
    if (status == 100) {
        tx->state = TX_PROCEEDING;
        keep_response(t, tx, bytes);
        arm(t, tx);
    } else if (tx->is_reliable) {
        end(t, tx); /* 17.2.2: J is zero; nothing is kept, nothing comes twice on this flow */
    } else {
        tx->state = TX_COMPLETED;
        keep_response(t, tx, bytes);
        tx->end_at = now + t->life_ms; /* J */
        arm(t, tx);
    }
    return ERR_OK;
}

enum err tx_server_respond(struct tx_table *t, tx_id id, unsigned status, slice bytes, mono_t now) {
    turn_begin(t);
    struct tx *tx = tx_alive(t, id);
    if (!tx) return ERR_GONE;
    ASSERT(tx->kind <= TX_OTHER_SERVER && status >= 100 && status <= 699);
    return tx->kind == TX_INVITE_SERVER ? respond_invite(t, tx, status, bytes, now)
                                        : respond_other(t, tx, status, bytes, now);
}

/* ---- client machines ---- */

enum err tx_client_reserve(struct tx_table *t, enum tx_kind kind, uint64_t owner, tx_id *out) {
    ASSERT(kind == TX_INVITE_CLIENT || kind == TX_OTHER_CLIENT);
    struct tx *tx;
    enum err err = take_slot(t, kind, owner, &tx);
    if (err) return err;
    tx->state = TX_RESERVED;
    *out = tx->id;
    return ERR_OK;
}

enum err tx_client_start(struct tx_table *t, tx_id id, slice bytes, uint64_t flow, bool reliable,
                         mono_t now) {
    turn_begin(t);
    struct tx *tx = tx_alive(t, id);
    if (!tx) return ERR_GONE;
    if (tx->state != TX_RESERVED) return ERR_DENIED;
    slice method, uri;
    enum err err = tx_request_line(bytes, &method, &uri);
    if (err) return err;
    bool is_invite = slice_eq(method, SLICE("INVITE"));
    if (is_invite != (tx->kind == TX_INVITE_CLIENT) || slice_eq(method, SLICE("ACK")))
        return ERR_BAD;
    struct tx_bytes *kept = tx_bytes_keep(&t->store, bytes);
    if (!kept) return ERR_MEMORY;
    err = tx_flow_join(t, tx, flow);
    if (err) {
        tx_bytes_let_go(&t->store, kept);
        return ERR_MEMORY;
    }
    tx->kept = kept;
    tx->is_reliable = reliable;
    tx->state = is_invite ? TX_CALLING : TX_TRYING;
    tx->end_at = now + t->life_ms; /* 17.1.1.2: B; 17.1.2.2: F */
    if (!reliable) {
        tx->resend_ms = t->limits.t1_ms; /* A, E */
        tx->resend_at = now + tx->resend_ms;
    }
    arm(t, tx);
    return ERR_OK;
}

/* The CANCEL goes out: RFC 3261 9.1. It is a non-INVITE request, so timer E repeats it (17.1.2.2);
 * its timer F and the wait for the INVITE's final response end at the same moment. */
static void cancel_send(struct tx_table *t, struct tx *tx, mono_t now) {
    tx->cancel = CANCEL_SENT;
    tell(t, tx, PENDING_EXTRA);
    tx->cancel_end_at = now + t->life_ms;
    if (!tx->is_reliable) {
        tx->cancel_resend_ms = t->limits.t1_ms;
        tx->cancel_resend_at = now + tx->cancel_resend_ms;
    }
}

static void cancel_response(struct tx_table *t, struct tx *tx, unsigned status, mono_t now) {
    if (tx->cancel != CANCEL_SENT && tx->cancel != CANCEL_PROCEEDING) return;
    if (status >= 200) {
        tx->cancel = CANCEL_ANSWERED;
        tx->cancel_resend_at = MONO_NEVER;
    } else if (tx->cancel == CANCEL_SENT) {
        tx->cancel = CANCEL_PROCEEDING; /* 17.1.2.2: E goes on, at T2 */
        tx->cancel_resend_ms = t->limits.t2_ms;
        if (!tx->is_reliable) tx->cancel_resend_at = now + tx->cancel_resend_ms;
    }
    arm(t, tx);
}

/* 17.1.1.3. Without memory no ACK goes out now; the next copy of the response tries again. */
static void ack_send(struct tx_table *t, struct tx *tx, const struct sip_msg *resp) {
    tx_bytes_let_go(&t->store, tx->extra);
    tx->extra = NULL;
    untell(tx, PENDING_EXTRA); /* a CANCEL is of no use any more */
    struct buf b = buf_over(t->scratch, sizeof(t->scratch));
    slice request = slice_of(tx->kept->text, tx->kept->len);
    if (tx_make_ack(request, resp->to.value, &b) != ERR_OK) return;
    tx->extra = tx_bytes_keep(&t->store, buf_slice(&b));
    if (tx->extra) tell(t, tx, PENDING_EXTRA);
}

static void invite_completed(struct tx_table *t, struct tx *tx, const struct sip_msg *resp,
                             mono_t now) {
    tx->state = TX_COMPLETED;
    ack_send(t, tx, resp);
    if (tx->is_reliable) {
        end(t, tx); /* 17.1.1.2: D is zero */
    } else {
        tx->end_at = now + t->life_ms; /* D: at least 32 s; 64*T1 outlives the server's H */
        arm(t, tx);
    }
}

static enum tx_response invite_response(struct tx_table *t, struct tx *tx,
                                        const struct sip_msg *resp, mono_t now) {
    unsigned status = resp->status;
    if (tx->state == TX_COMPLETED) {
        /* 17.1.1.2: a final response again is acknowledged again and goes no further. */
        if (status >= 300 && tx->extra)
            tell(t, tx, PENDING_EXTRA);
        else if (status >= 300)
            ack_send(t, tx, resp);
        return TX_DROP;
    }
    if (tx->state == TX_ACCEPTED) {
        /* RFC 6026 7.2: every 2xx of this branch is the owner's to acknowledge. */
        if (status < 200 || status >= 300) return TX_DROP;
        tx->status = (uint16_t)status;
        return TX_PASS;
    }
    tx->status = (uint16_t)status;
    if (status < 200) {
        /* 17.1.1.2: a provisional response stops A and B. 9.1: now a CANCEL may go. */
        tx->state = TX_PROCEEDING;
        untell(tx, PENDING_KEPT);
        tx->resend_at = tx->end_at = MONO_NEVER;
        if (tx->cancel == CANCEL_WANTED) cancel_send(t, tx, now);
        arm(t, tx);
        return TX_PASS;
    }
    /* Final: copies of the INVITE and of a CANCEL, which can no longer do anything, stop. */
    untell(tx, PENDING_KEPT | PENDING_EXTRA);
    no_times(tx);
    if (status >= 300) {
        invite_completed(t, tx, resp, now);
    } else {
        tx->state = TX_ACCEPTED; /* RFC 6026 7.2: M, on every transport */
        tx->end_at = now + t->life_ms;
        arm(t, tx);
    }
    return TX_PASS;
}

static enum tx_response other_response(struct tx_table *t, struct tx *tx,
                                       const struct sip_msg *resp, mono_t now) {
    slice method, uri;
    enum err err = tx_request_line(slice_of(tx->kept->text, tx->kept->len), &method, &uri);
    ASSERT(err == ERR_OK); /* tx_client_start read it */
    /* 17.1.3: branch and CSeq method name a client transaction. */
    if (tx->state == TX_COMPLETED || !slice_eq(method, resp->method_name)) return TX_DROP;
    tx->status = resp->status;
    if (resp->status < 200) {
        tx->state = TX_PROCEEDING;
        tx->resend_ms = t->limits.t2_ms; /* 17.1.2.2: from the next firing of E on */
        return TX_PASS;
    }
    tx->state = TX_COMPLETED;
    untell(tx, PENDING_KEPT);
    no_times(tx);
    if (tx->is_reliable) {
        end(t, tx); /* 17.1.2.2: K is zero */
    } else {
        tx->end_at = now + t->limits.t4_ms; /* K */
        arm(t, tx);
    }
    return TX_PASS;
}

enum tx_response tx_client_response(struct tx_table *t, tx_id id, const struct sip_msg *resp,
                                    mono_t now, uint64_t *out_owner) {
    turn_begin(t);
    struct tx *tx = tx_alive(t, id);
    if (!tx || tx->kind < TX_INVITE_CLIENT || tx->state == TX_RESERVED) return TX_DROP;
    *out_owner = tx->owner;
    if (tx->kind == TX_OTHER_CLIENT) return other_response(t, tx, resp, now);
    if (resp->method == SIP_CANCEL) cancel_response(t, tx, resp->status, now);
    return resp->method == SIP_INVITE ? invite_response(t, tx, resp, now) : TX_DROP;
}

enum err tx_client_cancel(struct tx_table *t, tx_id id, slice reason_value, mono_t now) {
    turn_begin(t);
    struct tx *tx = tx_alive(t, id);
    if (!tx) return ERR_GONE;
    if (tx->kind != TX_INVITE_CLIENT) return ERR_DENIED;
    if (tx->state != TX_CALLING && tx->state != TX_PROCEEDING) return ERR_DENIED;
    if (tx->cancel != CANCEL_NONE) return ERR_OK;
    struct buf b = buf_over(t->scratch, sizeof(t->scratch));
    enum err err = tx_make_cancel(slice_of(tx->kept->text, tx->kept->len), reason_value, &b);
    if (err) return ERR_BAD;
    tx->extra = tx_bytes_keep(&t->store, buf_slice(&b));
    if (!tx->extra) return ERR_MEMORY;
    /* 9.1: before a provisional response no CANCEL may be sent; it could overtake the INVITE. */
    tx->cancel = CANCEL_WANTED;
    if (tx->state == TX_PROCEEDING) {
        cancel_send(t, tx, now);
        arm(t, tx);
    }
    return ERR_OK;
}

enum err tx_client_move(struct tx_table *t, tx_id id, uint64_t flow) {
    turn_begin(t);
    struct tx *tx = tx_alive(t, id);
    if (!tx || tx->kind != TX_INVITE_CLIENT || tx->state != TX_PROCEEDING) return ERR_GONE;
    tx_flow_leave(t, tx);
    enum err err = tx_flow_join(t, tx, flow);
    if (err) return ERR_MEMORY;
    if (tx->cancel == CANCEL_SENT || tx->cancel == CANCEL_PROCEEDING) tell(t, tx, PENDING_EXTRA);
    return ERR_OK;
}

/* ---- ends ---- */

static bool is_unanswered(const struct tx *tx) {
    return tx->kind == TX_OTHER_SERVER && tx->state != TX_COMPLETED;
}

void tx_flow_gone(struct tx_table *t, uint64_t flow, mono_t now) {
    (void)now;
    turn_begin(t);
    for (struct tx *tx; (tx = tx_flow_head(t, flow));) {
        if (tx->kind == TX_INVITE_SERVER || is_unanswered(tx)) {
            /* RFC 6026 7.1: a transport error does not end it, so that copies of the INVITE that
             * come another way are still known. It only stops sending by itself. RFC 3261 18.2.2:
             * what is answered from now on goes another way. */
            bool is_heard = tx->state == TX_ACCEPTED || tx->state == TX_CONFIRMED;
            tx_flow_leave(t, tx);
            if (!is_unanswered(tx)) tx->resend_at = MONO_NEVER;
            arm(t, tx);
            if (!is_heard) tell(t, tx, PENDING_FLOW_GONE);
            continue;
        }
        if (tx->kind == TX_INVITE_CLIENT && tx->state == TX_PROCEEDING) {
            /* 17.1.1.2: there is nothing to send, so nothing has failed. 18.2.2: its final response
             * may come another way. */
            tx_flow_leave(t, tx);
            untell(tx, PENDING_EXTRA);
            tell(t, tx, PENDING_FLOW_GONE);
            continue;
        }
        bool is_waiting =
            tx->kind >= TX_INVITE_CLIENT && tx->state != TX_COMPLETED && tx->state != TX_ACCEPTED;
        /* 17.1.4: tell the owner. What waited to be sent cannot be sent. */
        untell(tx, PENDING_KEPT | PENDING_EXTRA);
        if (is_waiting) tell(t, tx, PENDING_TIMED_OUT);
        end(t, tx);
    }
}

void tx_drop(struct tx_table *t, tx_id id) {
    struct tx *tx = tx_alive(t, id);
    if (!tx) return;
    untell(tx, ~0u);
    end(t, tx);
}

/* ---- timers ---- */

static void expire(struct tx_table *t, struct tx *tx) {
    switch ((enum tx_kind)tx->kind) {
    case TX_INVITE_SERVER:
        /* 17.2.1: H fired: the ACK never came; the owner is told. I and L end in silence. */
        if (tx->state == TX_COMPLETED) tell(t, tx, PENDING_NO_ACK);
        break;
    case TX_OTHER_SERVER:
        break;             /* J, or RFC 4320 4.2 */
    case TX_INVITE_CLIENT: /* B, or 9.1: 64*T1 after CANCEL; D and M end in silence */
        if (tx->state == TX_CALLING || tx->state == TX_PROCEEDING) tell(t, tx, PENDING_TIMED_OUT);
        break;
    case TX_OTHER_CLIENT: /* F; K ends in silence */
        if (tx->state != TX_COMPLETED) tell(t, tx, PENDING_TIMED_OUT);
        break;
    }
    end(t, tx);
}

static void resend(struct tx_table *t, struct tx *tx, mono_t now) {
    if (tx->kind == TX_OTHER_SERVER) {
        tell(t, tx, PENDING_SLOW); /* RFC 4320 4.1 */
        tx->resend_at = MONO_NEVER;
        return;
    }
    if (tx->kept) tell(t, tx, PENDING_KEPT);
    tx->resend_ms *= 2;
    /* 17.1.1.2: A doubles without end (B ends it); 17.1.2.2, 17.2.1: E and G stop at T2. */
    if (tx->kind != TX_INVITE_CLIENT && tx->resend_ms > t->limits.t2_ms)
        tx->resend_ms = t->limits.t2_ms;
    tx->resend_at = now + tx->resend_ms;
}

static void fire(struct tx_table *t, struct tx *tx, mono_t now) {
    if (tx->end_at <= now || tx->cancel_end_at <= now) {
        expire(t, tx);
        return;
    }
    if (tx->resend_at <= now) resend(t, tx, now);
    if (tx->cancel_resend_at <= now) {
        tell(t, tx, PENDING_EXTRA);
        tx->cancel_resend_ms *= 2;
        if (tx->cancel_resend_ms > t->limits.t2_ms) tx->cancel_resend_ms = t->limits.t2_ms;
        tx->cancel_resend_at = now + tx->cancel_resend_ms;
    }
    arm(t, tx);
}

void tx_run_timers(struct tx_table *t, mono_t now) {
    turn_begin(t);
    timers_advance(&t->timers, now);
    for (struct timer *timer; (timer = timers_next(&t->timers));)
        fire(t, LIST_ITEM(timer, struct tx, timer), now);
}

mono_t tx_wake_at(const struct tx_table *t) {
    return timers_wake_at(&t->timers);
}

/* ---- effects ---- */

static void effect_fill(const struct tx *tx, unsigned what, struct tx_effect *out) {
    *out = (struct tx_effect){ TX_DO_END, (enum tx_kind)tx->kind, tx->id, tx->owner, tx->flow,
                               SLICE_NONE };
    const struct tx_bytes *bytes = NULL;
    switch (what) {
    case PENDING_KEPT:
        bytes = tx->kept;
        break;
    case PENDING_EXTRA:
        bytes = tx->extra;
        break;
    case PENDING_TIMED_OUT:
        out->what = TX_DO_TIMED_OUT;
        break;
    case PENDING_NO_ACK:
        out->what = TX_DO_NO_ACK;
        break;
    case PENDING_FLOW_GONE:
        out->what = TX_DO_FLOW_GONE;
        break;
    case PENDING_SLOW:
        out->what = TX_DO_SLOW;
        break;
    }
    if (!bytes) return;
    out->what = TX_DO_SEND;
    out->bytes = slice_of(bytes->text, bytes->len);
}

bool tx_next_effect(struct tx_table *t, struct tx_effect *out) {
    if (list_empty(&t->effects)) {
        t->is_drained = true;
        return false;
    }
    struct tx *tx = LIST_ITEM(t->effects.next, struct tx, effects);
    unsigned what = tx->pending & -(unsigned)tx->pending;
    effect_fill(tx, what, out);
    tx->pending = (uint8_t)(tx->pending & ~what);
    if (!tx->pending) list_remove(&tx->effects);
    if (what == PENDING_END) {
        tx_bytes_let_go(&t->store, tx->kept);
        tx_bytes_let_go(&t->store, tx->extra);
        pool_free(&t->pool, tx->id);
    }
    return true;
}

/* ---- what it holds ---- */

enum tx_state tx_state_of(const struct tx_table *t, tx_id id) {
    const struct tx *tx = tx_alive(t, id);
    return tx ? (enum tx_state)tx->state : TX_FREE;
}

enum tx_kind tx_kind_of(const struct tx_table *t, tx_id id) {
    const struct tx *tx = tx_alive(t, id);
    return tx ? (enum tx_kind)tx->kind : TX_OTHER_CLIENT;
}

uint64_t tx_owner(const struct tx_table *t, tx_id id) {
    const struct tx *tx = tx_alive(t, id);
    return tx ? tx->owner : 0;
}

uint64_t tx_flow(const struct tx_table *t, tx_id id) {
    const struct tx *tx = tx_alive(t, id);
    return tx ? tx->flow : 0;
}

unsigned tx_status(const struct tx_table *t, tx_id id) {
    const struct tx *tx = tx_alive(t, id);
    return tx ? tx->status : 0;
}

slice tx_request(const struct tx_table *t, tx_id id) {
    const struct tx *tx = tx_alive(t, id);
    if (!tx || tx->kind < TX_INVITE_CLIENT || !tx->kept) return SLICE_NONE;
    return slice_of(tx->kept->text, tx->kept->len);
}

slice tx_answer(const struct tx_table *t, tx_id id) {
    const struct tx *tx = tx_alive(t, id);
    if (!tx || tx->kind > TX_OTHER_SERVER || !tx->kept) return SLICE_NONE;
    return slice_of(tx->kept->text, tx->kept->len);
}

const char *tx_state_text(enum tx_state state) {
    switch (state) {
    case TX_FREE:
        return "Terminated";
    case TX_RESERVED:
        return "Reserved";
    case TX_TRYING:
        return "Trying";
    case TX_CALLING:
        return "Calling";
    case TX_PROCEEDING:
        return "Proceeding";
    case TX_COMPLETED:
        return "Completed";
    case TX_CONFIRMED:
        return "Confirmed";
    case TX_ACCEPTED:
        return "Accepted";
    }
    return "?";
}
