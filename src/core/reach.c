/* Where a device can be reached now: by a side of a route token, or by a GRUU (RFC 5627 6.1). */
#include "core/core_priv.h"

/* RFC 5630 5.3: a sip request to a sips contact keeps its own scheme; the rest stays. */
static slice sip_of_sips(struct core *c, slice contact) {
    char *mem = arena_alloc(&c->turn, contact.len);
    if (!mem) return contact;
    struct buf b = buf_over(mem, contact.len);
    buf_lit(&b, "sip:");
    buf_put(&b, slice_from(contact, sizeof "sips:" - 1));
    return buf_slice(&b);
}

bool binding_target(struct core *c, const struct binding *b, bool is_sips, struct target *out) {
    struct flow_face face;
    bool is_sips_contact = slice_istarts(b->contact, SLICE("sips:"));
    if (!node_flow_face(c->node, b->flow, &face)) return false;
    /* RFC 5630 5.3: TLS on every hop, and a sips request goes to sips contacts only. */
    if (is_sips && (face.transport < FLOW_TLS || !is_sips_contact)) return false;
    *out = (struct target){ .flow = b->flow,
                            .instance = b->instance_hash,
                            .account_id = b->account_id,
                            .bid = b->bid,
                            .q = b->q,
                            .request_uri = !is_sips && is_sips_contact ? sip_of_sips(c, b->contact)
                                                                       : b->contact,
                            .path = b->path };
    return true;
}

/* ---- a side of a dialog ---- */

unsigned side_targets(struct core *c, const struct route_side *side,
                      struct target out[static LIMIT_FORKS]) {
    struct binding all[LIMIT_FORKS];
    const struct binding *own = NULL;
    unsigned found = 0, n = 0;
    if (side->account_id && side->bid &&
        location_find(c->node->location, side->account_id, c->now.wall, &c->turn, all, LIMIT_FORKS,
                      &found) != ERR_OK)
        found = 0;
    for (unsigned i = 0; i < found; i++)
        if (all[i].bid == side->bid) own = &all[i];
    uint64_t instance = own ? own->instance_hash : 0;
    if (node_flow_lives(c->node, side->flow))
        out[n++] = (struct target){ .flow = side->flow,
                                    .instance = instance,
                                    .account_id = side->account_id,
                                    .bid = side->bid };
    /* A phone that reconnected keeps its call; one that has lost a flow has others (RFC 5626). The
     * one that the token names goes first, so it is `own` before its kin. */
    for (unsigned i = 0; own && i <= found && n < LIMIT_FORKS; i++) {
        const struct binding *b = i ? &all[i - 1] : own;
        bool is_kin = i ? b != own && instance && b->instance_hash == instance : instance || !n;
        if (!is_kin || b->flow == side->flow || !node_flow_lives(c->node, b->flow)) continue;
        out[n++] = (struct target){
            .flow = b->flow, .instance = instance, .account_id = b->account_id, .bid = b->bid
        };
    }
    return n;
}

flow_id side_flow(struct core *c, const struct route_side *side) {
    struct target targets[LIMIT_FORKS];
    if (node_flow_lives(c->node, side->flow)) return side->flow;
    if (!side->account_id && side->bid) return peer_side_flow(c, side);
    return side_targets(c, side, targets) ? targets[0].flow : FLOW_NONE;
}

/* ---- GRUUs ---- */

enum gruu_state gruu_find(struct core *c, const struct sip_uri *uri, struct account *out,
                          uint64_t *out_instance) {
    char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 8];
    struct buf text = buf_over(mem, sizeof mem);
    if (!uri->has_gr || uri->scheme == URI_TEL) return GRUU_NONE;
    if (!node_is_domain(c->node, uri->host))
        return node_is_self(c->node, uri->host) ? GRUU_UNKNOWN : GRUU_NONE;
    if (uri->gr.len) { /* public: the account's name, and the device behind it */
        if (sip_unescape(uri->user, &text) != ERR_OK ||
            accounts_find(c->node->accounts, buf_slice(&text), uri->host, out) != ERR_OK ||
            (out->flags & ACCOUNT_DISABLED) ||
            gruu_read(c->node->keys.gruu, uri->gr, out->id, out_instance) != ERR_OK)
            return GRUU_UNKNOWN;
        return GRUU_VALID;
    }
    struct gruu gruu;
    uint64_t epoch;
    if (gruu_temp_read(c->node->keys.gruu, uri->user, &gruu) != ERR_OK ||
        accounts_by_id(c->node->accounts, gruu.account_id, out) != ERR_OK ||
        (out->flags & ACCOUNT_DISABLED))
        return GRUU_UNKNOWN;
    accounts_put_aor(c->node->accounts, out->id, &text);
    slice aor = buf_slice(&text), host = slice_from(aor, slice_find(aor, '@'));
    if (text.full || !host.len || !slice_ieq(slice_from(host, 1), uri->host)) return GRUU_UNKNOWN;
    *out_instance = gruu.instance;
    /* RFC 5627 5.1, 5.3: a new Call-ID ended it, or the device has no binding left. */
    bool is_valid =
        location_device(c->node->location, out->id, gruu.instance, c->now.wall, &epoch) == ERR_OK &&
        epoch == gruu.epoch;
    return is_valid ? GRUU_VALID : GRUU_VOID;
}

/* RFC 5627 6.1: a request inside a dialog whose target is a GRUU finds the device's contact like
 * any other. Inside a dialog the route token is the permission, so one that has become void since
 * still leads to the device of that side: a call can be ended after the phone has registered anew.
 */
bool gruu_in_dialog(struct core *c, const struct sip_msg *m, const struct route_side *side,
                    struct target out[static LIMIT_FORKS], unsigned *count) {
    struct account account;
    uint64_t instance;
    struct binding all[LIMIT_FORKS];
    unsigned found = 0, n = 0;
    enum gruu_state state = gruu_find(c, &m->uri, &account, &instance);
    if (state == GRUU_UNKNOWN) return false;
    if (state == GRUU_NONE || account.id != side->account_id) return true;
    if (location_find(c->node->location, account.id, c->now.wall, &c->turn, all, LIMIT_FORKS,
                      &found) != ERR_OK)
        found = 0;
    for (unsigned i = 0; i < found; i++) {
        struct target t;
        if (all[i].instance_hash != instance ||
            !binding_target(c, &all[i], m->uri.scheme == URI_SIPS, &t))
            continue;
        t.path = SLICE_NONE; /* the dialog has its own route */
        t.q = 0;
        out[n++] = t;
        if (t.flow != side->flow || n == 1) continue;
        out[n - 1] = out[0]; /* the flow that the token names goes first */
        out[0] = t;
    }
    *count = n;
    return true;
}

slice gruu_contact(struct core *c, slice uri_text, flow_id flow) {
    struct sip_uri uri;
    struct account account;
    uint64_t instance;
    struct binding all[LIMIT_FORKS];
    unsigned found = 0;
    if (sip_uri_read(uri_text, &uri) != ERR_OK) return uri_text;
    enum gruu_state state = gruu_find(c, &uri, &account, &instance);
    if (state == GRUU_NONE || state == GRUU_UNKNOWN ||
        location_find(c->node->location, account.id, c->now.wall, &c->turn, all, LIMIT_FORKS,
                      &found) != ERR_OK)
        return uri_text;
    for (unsigned i = 0; i < found; i++)
        if (all[i].instance_hash == instance && all[i].flow == flow) return all[i].contact;
    return uri_text;
}
