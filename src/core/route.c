/* Where a URI leads: whose address it is, and where that person can be reached. RFC 3261 16.5. */
#include "core/core_priv.h"

#include "base/limits.h"

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
