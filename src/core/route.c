/* Where a URI leads: whose address it is, and where that person can be reached. RFC 3261 16.5. */
#include "core/core_priv.h"

#include "base/limits.h"
#include "sip/edit.h"

unsigned route_callee(struct core *c, const struct sip_uri *uri, struct callee *out) {
    char mem[256];
    struct buf user = buf_over(mem, sizeof mem);
    const struct node_config *config = node_settings(c->node);
    slice domain = config->domains[0];
    if (uri->scheme != URI_TEL) {
        if (node_is_domain(c->node, uri->host))
            domain = uri->host;
        else if (!node_is_self(c->node, uri->host))
            return 403;
    }
    out->instance = 0;
    enum gruu_state gruu = gruu_find(c, uri, &out->account, &out->instance);
    if (gruu == GRUU_VALID) return 0;
    /* RFC 5627 6.1: what is no valid GRUU is nobody's address. */
    if (gruu != GRUU_NONE || !uri->user.len || sip_unescape(uri->user, &user) != ERR_OK ||
        accounts_find(c->node->accounts, buf_slice(&user), domain, &out->account) != ERR_OK ||
        (out->account.flags & ACCOUNT_DISABLED))
        return 404;
    return 0;
}

static bool is_senders(const struct binding *b, flow_id from, const struct binding *own) {
    return b->flow == from || (own && own->instance_hash && b->instance_hash == own->instance_hash);
}

unsigned route_targets(struct core *c, const struct divert_call *call, const struct callee *callee,
                       struct target out[static LIMIT_FORKS]) {
    struct binding all[LIMIT_FORKS];
    const struct binding *own = NULL;
    unsigned found = 0, n = 0;
    if (location_find(c->node->location, callee->account.id, c->now.wall, &c->turn, all,
                      LIMIT_FORKS, &found) != ERR_OK)
        return 0;
    bool is_self = callee->account.id == call->sender;
    for (unsigned i = 0; i < found && is_self; i++)
        if (all[i].flow == call->from) own = &all[i];
    for (unsigned i = 0; i < found; i++) {
        if (is_self && is_senders(&all[i], call->from, own)) continue;
        if (callee->instance && all[i].instance_hash != callee->instance) continue;
        if (binding_target(c, &all[i], call->is_sips, &out[n])) n++;
    }
    return n;
}

/* ---- strict routers ---- */

static bool is_strict(const struct core *c, const struct sip_msg *m) {
    struct route_token token;
    return m->uri.user.len && sip_first(m, HDR_ROUTE) &&
           route_token_read(c->node->keys.token, m->uri.user, &token) == ERR_OK;
}

bool route_loosen(struct core *c) {
    struct sip_msg *m = &c->msg;
    if (!is_strict(c, m)) return true;
    size_t room = m->all.len + m->uri_text.len + 64;
    char *routes_mem = arena_alloc(&c->turn, room), *mem = arena_alloc(&c->turn, room);
    if (!routes_mem || !mem) return false;
    struct buf routes = buf_over(routes_mem, room), out = buf_over(mem, room);
    struct hdr_values it = hdr_values_of(m, HDR_ROUTE);
    struct hdr_name_addr target;
    slice last = SLICE_NONE;
    buf_byte(&routes, '<');
    buf_put(&routes, m->uri_text);
    buf_byte(&routes, '>');
    for (slice v; hdr_values_next(&it, &v); last = v) {
        if (!last.len) continue;
        buf_lit(&routes, ", ");
        buf_put(&routes, last);
    }
    if (it.bad || hdr_name_addr(last, &target) != ERR_OK) return false;
    struct sip_edit e;
    sip_edit_init(&e, m);
    sip_edit_request_uri(&e, target.uri_text);
    sip_edit_drop_all(&e, HDR_ROUTE);
    sip_edit_insert(&e, HDR_ROUTE, buf_slice(&routes));
    if (routes.full || sip_edit_write(&e, &out) != ERR_OK) return false;
    return sip_msg_read(m, buf_slice(&out), SIP_STREAM).err == ERR_OK;
}
