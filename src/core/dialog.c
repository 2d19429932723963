/* Requests inside a dialog: found by the route token, never by From. architecture.md section 4. */
#include "core/core_priv.h"

#include "guard/overload_client.h"
#include "proxy/forward.h"

uint64_t call_hash_of(struct core *c, slice call_id, slice caller_tag) {
    struct hash_key k = c->node->keys.durable;
    k.k0 ^= siphash_slice(&k, call_id);
    return siphash_slice(&k, caller_tag);
}

/* ---- how we write ourselves ---- */

void put_host(struct core *c, struct buf *b, const struct flow_face *face) {
    const struct node_config *config = node_settings(c->node);
    if (!config->name.len) {
        addr_put(b, &face->local);
        return;
    }
    buf_put(b, config->name);
    buf_byte(b, ':');
    buf_u64(b, face->local.port);
}

const char *transport_param(uint8_t transport) {
    static const char *const words[] = { [FLOW_UDP] = "",
                                         [FLOW_TCP] = ";transport=tcp",
                                         [FLOW_TLS] = ";transport=tls",
                                         [FLOW_WSS] = ";transport=ws" };
    return words[transport];
}

void put_via(struct core *c, struct buf *b, const struct flow_face *face, tx_id tx, uint64_t loop) {
    static const char *const words[] = { [FLOW_UDP] = "SIP/2.0/UDP ",
                                         [FLOW_TCP] = "SIP/2.0/TCP ",
                                         [FLOW_TLS] = "SIP/2.0/TLS ",
                                         [FLOW_WSS] = "SIP/2.0/WSS " };
    buf_put(b, slice_str(words[face->transport]));
    put_host(c, b, face);
    buf_lit(b, ";branch=");
    branch_write(c->node->keys.branch, c->worker, tx, loop, b);
}

void put_via_peer(struct buf *b, uint32_t account_id, uint32_t bid) {
    if (!account_id && bid) buf_lit(b, OVERLOAD_CLIENT_VIA ";alias");
}

/* ---- the token ---- */

/* The topmost Route must be a token of ours, valid for this Call-ID and tag pair. With double
 * Record-Route the next one carries the same token and goes too. */
static bool read_token(struct core *c, const struct sip_msg *m, struct route_token *out,
                       unsigned *own_routes) {
    struct hdr_values it = hdr_values_of(m, HDR_ROUTE);
    slice first_user = SLICE_NONE;
    unsigned n = 0;
    for (slice v; n < 2 && hdr_values_next(&it, &v); n++) {
        struct hdr_name_addr addr;
        struct sip_uri uri;
        if (hdr_name_addr(v, &addr) != ERR_OK || sip_uri_read(addr.uri_text, &uri) != ERR_OK) break;
        if (n == 0) {
            if (route_token_read(c->node->keys.token, uri.user, out) != ERR_OK) return false;
            first_user = uri.user;
            /* Flow ids of another run may by now be somebody else's: only the bindings count. */
            if (out->run != c->node->run) out->side[0].flow = out->side[1].flow = FLOW_NONE;
        } else if (!slice_eq(uri.user, first_user)) {
            break;
        }
    }
    *own_routes = n;
    return n > 0;
}

static bool token_side(struct core *c, const struct route_token *t, const struct sip_msg *m,
                       enum dialog_side *out) {
    if (call_hash_of(c, m->call_id, m->from.tag) == t->call_hash) {
        *out = SIDE_CALLER;
        return true;
    }
    if (call_hash_of(c, m->call_id, m->to.tag) == t->call_hash) {
        *out = SIDE_CALLEE;
        return true;
    }
    return false;
}

/* On plain UDP and TCP the token is all there is; but a legacy device whose time has ended has lost
 * its binding (its expiry never goes beyond), and with it its say. */
static bool is_still_registered(struct core *c, struct flow *flow, const struct sip_msg *m,
                                const struct route_side *side) {
    struct binding b;
    if (!side->bid || location_by_bid(c->node->location, side->account_id, side->bid, c->now.wall,
                                      &c->turn, &b) == ERR_OK)
        return true;
    core_refuse(c, flow, m, 403, "This phone is no longer registered");
    return false;
}

/* The flow must hold the account of the sender's side. A flow that has proved nothing yet (a phone
 * that reconnected and says BYE before it registers) may prove itself now. On plain UDP and TCP
 * the token is all there is; but it travelled in clear there, so it does not speak for a side that
 * is secured. */
static bool may_speak(struct core *c, struct flow *flow, const struct sip_msg *m,
                      const struct route_token *token, enum dialog_side from) {
    const struct route_side *side = &token->side[from];
    if (!flow_is_secure(&flow->info) && (token->policy & ROUTE_PLAIN_SIDE(from)))
        return is_still_registered(c, flow, m, side);
    bool is_domain = !side->account_id && side->bid; /* core/peer.h */
    if (is_domain ? peer_holds(c, flow->id, side->bid) : core_holds(c, flow, side->account_id))
        return true;
    if (!is_domain && flow_is_secure(&flow->info) && flow->who.count == 0 && m->method != SIP_ACK) {
        uint32_t who;
        if (!core_who(c, flow, m, &who)) return false;
        if (core_holds(c, flow, side->account_id)) return true;
    }
    core_refuse(c, flow, m, 403, "This connection has not proved to be that side of the call");
    return false;
}

/* An ACK has no transaction: it goes on at once, or is lost (RFC 3261 16.6, 13.2.2.4). */
static void forward_ack(struct core *c, const struct sip_msg *m, const struct target *to,
                        unsigned routes, slice body) {
    struct flow_face face;
    char via_mem[512];
    struct buf via = buf_over(via_mem, sizeof via_mem);
    if (!node_flow_face(c->node, to->flow, &face)) return;
    put_via(c, &via, &face, POOL_ID_NONE, loop_hash(c, m));
    struct forward f = { .req = m,
                         .request_uri = to->request_uri,
                         .via = buf_slice(&via),
                         .own_routes = routes,
                         .body = body,
                         .realms = node_settings(c->node)->domains,
                         .realm_count = node_settings(c->node)->domain_count };
    struct buf out = core_out_begin(c, m->all.len + body.len + 1024);
    if (via.full || forward_write(&f, &out) != ERR_OK) return;
    core_send(c, to->flow, core_out_end(c, &out), true, 0);
    peer_sends_in_dialog(c, to);
    core_trace(c, m, "relayed", 0, NULL);
}

slice contact_uri(const struct sip_msg *m) {
    slice v;
    struct hdr_contact contact;
    struct sip_uri uri;
    if (hdr_value_first(m, HDR_CONTACT, &v) != ERR_OK || hdr_contact(v, &contact) != ERR_OK ||
        contact.is_star || sip_uri_read(contact.addr.uri_text, &uri) != ERR_OK)
        return SLICE_NONE; /* what nobody can read must not become a Request-URI of ours */
    return contact.addr.uri_text;
}

/* INVITE and UPDATE refresh the target (RFC 3261 12.2, 3311 5.2). An ACK's CSeq is its INVITE's. */
static void dialog_note(struct core *c, uint64_t key, enum dialog_side from,
                        const struct sip_msg *m) {
    bool is_refresh = m->method == SIP_INVITE || m->method == SIP_UPDATE;
    dialogs_seen(c->node->dialogs, key, from, m->cseq, is_refresh ? contact_uri(m) : SLICE_NONE,
                 c->now.mono);
}

void core_in_dialog(struct core *c, struct flow *flow, const struct sip_msg *m) {
    struct route_token token;
    enum dialog_side from;
    unsigned routes;
    if (!read_token(c, m, &token, &routes) || !token_side(c, &token, m, &from)) {
        core_refuse_stray(c, flow, m);
        return;
    }
    if (!may_speak(c, flow, m, &token, from)) return;
    if (m->method == SIP_REFER && !core_may_call(c, flow, m, token.side[from].account_id)) return;
    c->is_proved = true;
    enum dialog_side to = from == SIDE_CALLER ? SIDE_CALLEE : SIDE_CALLER;
    uint64_t key = dialogs_key(c->node->dialogs, token.call_hash,
                               from == SIDE_CALLER ? m->to.tag : m->from.tag);
    struct media_verdict v = core_judge(flow, m);
    if (!core_check_offer(c, flow, m, &v)) {
        if (m->method == SIP_PRACK) refuse_early(c, key, true); /* media policy, case 2 */
        return;
    }
    struct target targets[LIMIT_FORKS];
    const struct route_side *there = &token.side[to];
    bool is_peer = !there->account_id && there->bid;
    unsigned count =
        is_peer ? peer_side_targets(c, there, token.side[from].account_id, m, routes, targets)
                : side_targets(c, there, targets);
    if (!is_peer && !gruu_in_dialog(c, m, there, targets, &count)) {
        core_refuse(c, flow, m, 404, "That GRUU is none of ours");
        return;
    }
    if (!count) {
        /* RFC 5626 11.5 keeps 430 for talk between nodes; an end point understands 480. */
        core_refuse(c, flow, m, 480, "The other phone is not connected");
        if (m->method == SIP_BYE) dialogs_remove(c->node->dialogs, key);
        return;
    }
    dialog_note(c, key, from, m);
    if (m->method == SIP_ACK) {
        if (!targets[0].flow) { /* the caller repeats it with each 200; then we may have one */
            peer_prepare(c, &targets[0], token.side[from].account_id);
            return;
        }
        slice body = refuse_ack_body(c, flow, targets[0].flow, m);
        forward_ack(c, m, &targets[0], routes, body);
        if (body.ptr) refuse_end_call(c, key);
        return;
    }
    struct relay_plan plan = { .flow = flow,
                               .msg = m,
                               .account_id = token.side[from].account_id,
                               .bid = token.side[from].bid,
                               .own_routes = routes,
                               .targets = targets,
                               .target_count = count,
                               .is_in_dialog = true,
                               .from_side = from,
                               .call_hash = token.call_hash,
                               .dialog = key,
                               .is_sdes = v.keys == MEDIA_KEYED_SDES,
                               .has_offer = v.keys != MEDIA_NO_SDP };
    context_start(c, &plan);
}
