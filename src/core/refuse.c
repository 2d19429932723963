/* Media policy: what is done with descriptions that are not keyed. architecture.md section 6.
 *
 * case  what came unkeyed                          what happens                         where
 *  1    offer in INVITE, re-INVITE, UPDATE         488, nobody rings                    request.c
 *  2    offer in PRACK                             488; the INVITE ends with 488        dialog.c
 *  3    18x; 2xx to PRACK/UPDATE before the 2xx    that branch counts as 488            here
 *  4    2xx to the first INVITE                    ACK each copy, BYE; branch is 488    here
 *  5    2xx to re-INVITE, or UPDATE of a call up   ACK, requester 488, BYE both ways    here
 *  6    answer in ACK                              ACK with zero ports, BYE both ways   dialog.c */
#include "core/core_priv.h"

#include "base/log.h"
#include "proxy/uac.h"

#define BYE_REASON "SIP;cause=488;text=\"The call was not encrypted\""
#define REFUSE_ALL UINT64_MAX

static bool is_our_route(void *ctx, slice value) {
    struct core *c = ctx;
    size_t colon = slice_find(value, ':'), at = slice_find(value, '@');
    struct route_token token;
    return colon < at && at < value.len &&
           route_token_read(c->node->keys.token,
                            slice_head(slice_from(value, colon + 1), at - colon - 1),
                            &token) == ERR_OK;
}

/* All Record-Route values of a message as one list. */
static slice recorded_routes(struct core *c, const struct sip_msg *m) {
    const struct sip_header *first = sip_first(m, HDR_RECORD_ROUTE);
    if (!first || !sip_next(m, first)) return first ? first->value : SLICE_NONE;
    char *mem = arena_alloc(&c->turn, m->all.len);
    if (!mem) return SLICE_NONE;
    struct buf b = buf_over(mem, m->all.len);
    for (const struct sip_header *h = first; h; h = sip_next(m, h)) {
        if (h != first) buf_lit(&b, ", ");
        buf_put(&b, h->value);
    }
    return b.full ? SLICE_NONE : buf_slice(&b);
}

static slice routes_above_us(struct core *c, slice recorded, bool is_response) {
    char *mem = arena_alloc(&c->turn, 2 * recorded.len + 1);
    if (!mem) return SLICE_NONE;
    struct buf b = buf_over(mem, 2 * recorded.len + 1);
    uac_routes(recorded, is_response, is_our_route, c, &b);
    return b.full ? SLICE_NONE : buf_slice(&b);
}

/* ---- the requests that we make ourselves ---- */

static void send_own(struct core *c, const struct route_side *to, struct uac_request *r) {
    struct flow_face face;
    char via_mem[512];
    struct buf via = buf_over(via_mem, sizeof via_mem);
    tx_id tx = POOL_ID_NONE;
    if (!r->request_uri.len || !node_flow_face(c->node, to->flow, &face)) return;
    bool is_bye = r->method == SIP_BYE;
    r->request_uri = gruu_contact(c, r->request_uri, to->flow);
    if (is_bye && tx_client_reserve(c->txs, TX_OTHER_CLIENT, 0, &tx) != ERR_OK) return;
    put_via(c, &via, &face, tx, siphash_slice(&c->node->keys.table, r->call_id) + r->cseq);
    put_via_peer(&via, to->account_id, to->bid);
    r->via = buf_slice(&via);
    struct buf out = core_out_begin(c, 8192 + r->body.len + r->routes.len);
    slice bytes = uac_write(r, &out) == ERR_OK ? core_out_end(c, &out) : SLICE_NONE;
    if (is_bye &&
        (!bytes.len || tx_client_start(c->txs, tx, bytes, to->flow, face.transport != FLOW_UDP,
                                       c->now.mono) != ERR_OK)) {
        tx_drop(c->txs, tx);
        return;
    }
    core_send(c, to->flow, bytes, true, 0);
}

static struct route_side side_of(const struct branch *b) {
    return (struct route_side){ b->to.flow, b->to.account_id, b->to.bid };
}

/* What a 2xx still wants from the caller whom it never reaches: its ACK. When the 2xx held the
 * offer, the ACK must answer it: with every port 0 (RFC 3264 6). */
static void ack_2xx(struct core *c, const struct context *x, const struct branch *b,
                    const struct sip_msg *m) {
    struct buf sdp = { 0 };
    if (!x->has_offer) {
        size_t room = m->body.len + 256;
        char *mem = arena_alloc(&c->turn, room);
        if (mem) {
            sdp = buf_over(mem, room);
            uac_reject_sdp(m->body, &sdp);
        }
    }
    struct uac_request ack = { .method = SIP_ACK,
                               .request_uri = contact_uri(m),
                               .routes = routes_above_us(c, recorded_routes(c, m), true),
                               .from = m->from.value,
                               .to = m->to.value,
                               .call_id = m->call_id,
                               .cseq = m->cseq,
                               .body = sdp.full ? SLICE_NONE : buf_slice(&sdp) };
    struct route_side side = side_of(b);
    send_own(c, &side, &ack);
}

/* Case 4: the branch's dialog exists on the callee's side only: end it with a CSeq above all that
 * were seen (PRACK and UPDATE may have raised it). */
static void bye_2xx(struct core *c, const struct context *x, const struct branch *b,
                    const struct sip_msg *m) {
    struct dialog d;
    uint32_t cseq = m->cseq;
    uint64_t key = dialogs_key(c->node->dialogs, x->call_hash, m->to.tag);
    if (dialogs_get(c->node->dialogs, key, &c->turn, &d) == ERR_OK &&
        d.leg[SIDE_CALLER].cseq > cseq)
        cseq = d.leg[SIDE_CALLER].cseq;
    dialogs_remove(c->node->dialogs, key);
    struct uac_request bye = { .method = SIP_BYE,
                               .request_uri = contact_uri(m),
                               .routes = routes_above_us(c, recorded_routes(c, m), true),
                               .from = m->from.value,
                               .to = m->to.value,
                               .call_id = m->call_id,
                               .cseq = cseq + 1,
                               .reason = SLICE(BYE_REASON) };
    struct route_side side = side_of(b);
    send_own(c, &side, &bye);
}

void refuse_end_call(struct core *c, uint64_t dialog) {
    struct dialog d;
    COUNT(c, calls_refused_unkeyed);
    if (dialogs_get(c->node->dialogs, dialog, &c->turn, &d) != ERR_OK) {
        LOG(LOG_WARN, "policy.no_record", LOG_F_U64("worker", c->worker));
        return;
    }
    dialogs_remove(c->node->dialogs, dialog);
    for (unsigned to = 0; to < 2; to++) {
        const struct dialog_leg *leg = &d.leg[to], *other = &d.leg[1 - to];
        struct route_side side = { leg->flow, leg->account_id, leg->bid };
        struct uac_request bye = { .method = SIP_BYE,
                                   .request_uri = leg->target,
                                   .routes = routes_above_us(c, leg->recorded, to == SIDE_CALLEE),
                                   .from = other->party,
                                   .to = leg->party,
                                   .call_id = d.call_id,
                                   .cseq = other->cseq + 1,
                                   .reason = SLICE(BYE_REASON) };
        side.flow = side_flow(c, &side);
        send_own(c, &side, &bye);
    }
}

/* ---- the record ---- */

bool refuse_record(struct core *c, struct context *x, struct branch *b, const struct sip_msg *m,
                   bool is_early) {
    if (x->is_in_dialog) {
        if (!is_early)
            dialogs_seen(c->node->dialogs, x->dialog,
                         x->from_side == SIDE_CALLER ? SIDE_CALLEE : SIDE_CALLER, 0, contact_uri(m),
                         c->now.mono);
        return false;
    }
    if (!m->to.tag.len) return false;
    uint64_t key = dialogs_key(c->node->dialogs, x->call_hash, m->to.tag);
    if (b->dialog == key) { /* the record of the early dialog becomes the call's */
        if (!is_early) dialogs_confirm(c->node->dialogs, key, c->now.mono);
        return true;
    }
    if (!x->request || x->sent_status)
        return false; /* a second 2xx: the record is the first one's */
    slice caller_recorded = SLICE_NONE;
    slice request = slice_of(x->request, x->request_len);
    if (x->has_record_route && sip_msg_read(&c->other, request, SIP_DATAGRAM).err == ERR_OK)
        caller_recorded = recorded_routes(c, &c->other);
    struct dialog d = {
        .call_id = m->call_id,
        .call = owner_of(x->id),
        .call_worker = (uint8_t)c->worker,
        .is_early = is_early,
        .leg[SIDE_CALLER] = { .flow = x->flow,
                              .account_id = x->account_id,
                              .bid = x->bid,
                              .cseq = m->cseq,
                              .party = m->from.value,
                              .target = x->contact,
                              .recorded = caller_recorded },
        .leg[SIDE_CALLEE] = { .flow = b->to.flow,
                              .account_id = b->to.account_id,
                              .bid = b->to.bid,
                              .party = m->to.value,
                              .target = contact_uri(m),
                              .recorded = recorded_routes(c, m) },
    };
    if (dialogs_put(c->node->dialogs, key, &d, c->now.mono) != ERR_OK) {
        LOG(LOG_WARN, "dialogs.full", LOG_F_U64("worker", c->worker));
        return false;
    }
    b->dialog = key;
    return true;
}

/* ---- judging ---- */

static bool is_secure_flow(struct core *c, flow_id f) {
    struct flow_face face;
    return node_flow_face(c->node, f, &face) && face.transport >= FLOW_TLS;
}

static bool is_judged(const struct context *x, const struct sip_msg *m) {
    return m->status < 300 && m->body.len &&
           (x->method == SIP_INVITE || x->method == SIP_UPDATE || x->method == SIP_PRACK);
}

/* RFC 4568 8: SDES keys count only where both legs are TLS. */
static bool is_unkeyed(struct core *c, const struct context *x, const struct branch *b,
                       const struct sip_msg *m) {
    enum media_keys keys = media_judge(m).keys;
    if (keys == MEDIA_KEYED_SDES)
        return !is_secure_flow(c, x->flow) || !is_secure_flow(c, b->to.flow);
    return keys == MEDIA_UNKEYED;
}

static uint32_t tag_hash(const struct core *c, slice tag) {
    return (uint32_t)siphash_slice(&c->node->keys.table, tag);
}

static bool is_refused_tag(const struct branch *b, uint32_t tag) {
    for (unsigned i = 0; i < b->refused_count; i++)
        if (b->refused[i] == tag) return true;
    return false;
}

/* Case 4. Each To tag is judged alone: beyond us the request may have forked. Each copy of the 2xx
 * gets its ACK; the BYE follows the first one. */
static void refuse_2xx(struct core *c, struct context *x, struct branch *b,
                       const struct sip_msg *m) {
    uint32_t tag = tag_hash(c, m->to.tag);
    ack_2xx(c, x, b, m);
    if (is_refused_tag(b, tag)) return;
    bye_2xx(c, x, b, m);
    if (b->refused_count < REFUSED_TAGS_MAX) b->refused[b->refused_count++] = tag;
}

static bool refuse_first_invite(struct core *c, struct context *x, struct branch *b,
                                const struct sip_msg *m) {
    if (m->status >= 200) refuse_2xx(c, x, b, m);
    if (!b->is_answered) context_refuse_branch(c, x, b);
    return true;
}

static bool refuse_re_invite(struct core *c, struct context *x, struct branch *b,
                             const struct sip_msg *m) {
    bool is_first = !b->is_answered;
    if (m->status < 200) {
        context_refuse_branch(c, x, b);
        return true;
    }
    ack_2xx(c, x, b, m);
    b->is_answered = true;
    context_refuse_branch(c, x, b);
    if (is_first) refuse_end_call(c, x->dialog);
    return true;
}

/* UPDATE and PRACK: before the call is up that branch of the INVITE goes (case 3), after that the
 * whole call (case 5). */
static bool refuse_update(struct core *c, struct context *x, struct branch *b) {
    struct dialog d;
    b->is_refused = true;
    context_branch_final(c, x, b, 488, REFUSED_WORDS);
    if (dialogs_get(c->node->dialogs, x->dialog, &c->turn, &d) == ERR_OK && d.is_early)
        refuse_early(c, x->dialog, false);
    else
        refuse_end_call(c, x->dialog);
    return true;
}

bool refuse_response(struct core *c, struct context *x, struct branch *b, const struct sip_msg *m) {
    if (m->status >= 300) return false;
    bool is_invite = x->method == SIP_INVITE;
    bool is_known = m->status >= 200 && is_refused_tag(b, tag_hash(c, m->to.tag));
    if ((b->is_refused || is_known) && is_invite) {
        if (m->status < 200) return true;
        return x->is_in_dialog ? refuse_re_invite(c, x, b, m) : refuse_first_invite(c, x, b, m);
    }
    if (!is_judged(x, m) || !is_unkeyed(c, x, b, m)) return false;
    core_trace(c, m, "refused", m->status, "no encryption in the answer");
    if (!is_invite) return refuse_update(c, x, b);
    return x->is_in_dialog ? refuse_re_invite(c, x, b, m) : refuse_first_invite(c, x, b, m);
}

slice refuse_ack_body(struct core *c, const struct flow *flow, flow_id to,
                      const struct sip_msg *m) {
    enum media_keys keys = m->body.len ? media_judge(m).keys : MEDIA_NO_SDP;
    if (keys == MEDIA_KEYED_SDES && (!flow_is_secure(&flow->info) || !is_secure_flow(c, to)))
        keys = MEDIA_UNKEYED; /* RFC 4568 8: such keys never travel in clear */
    if (keys != MEDIA_UNKEYED) return SLICE_NONE;
    size_t room = m->body.len + 256;
    char *mem = arena_alloc(&c->turn, room);
    if (!mem) return SLICE(""); /* an ACK without an answer, then BYE */
    struct buf b = buf_over(mem, room);
    uac_reject_sdp(m->body, &b);
    return b.full ? SLICE("") : buf_slice(&b);
}

/* ---- early dialogs: the INVITE may be another worker's ---- */

static void refuse_context(struct core *c, uint64_t owner, uint64_t dialog) {
    struct context *x = context_get(c, owner);
    if (!x || x->method != SIP_INVITE || x->sent_status) return;
    if (dialog == REFUSE_ALL) {
        context_refuse_all(c, x);
        return;
    }
    for (struct branch *b = &x->first; b; b = b->next)
        if (b->dialog == dialog) context_refuse_branch(c, x, b);
}

void refuse_early(struct core *c, uint64_t dialog, bool is_all) {
    struct dialog d;
    if (dialogs_get(c->node->dialogs, dialog, &c->turn, &d) != ERR_OK || !d.is_early) return;
    uint64_t which = is_all ? REFUSE_ALL : dialog;
    if (d.call_worker == c->worker) {
        refuse_context(c, d.call, which);
        return;
    }
    core_mail(c, d.call_worker,
              &(struct core_mail){
                  .kind = MAIL_REFUSE, .must_arrive = true, .tag = d.call, .number = which });
}

void refuse_mail(struct core *c, const struct core_mail *mail) {
    refuse_context(c, mail->tag, mail->number);
}
