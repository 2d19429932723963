/* Other domains: what comes in from them, and what they are told of us. The story stands in
 * peer.h. */
#include "core/core_priv.h"

#include "auth/peer_name.h"
#include "base/limits.h"
#include "base/log.h"

/* ---- flows ---- */

/* Our own names are nobody else's, whatever a certificate says. */
static unsigned foreign_domains(struct core *c, const struct peer_cert *cert, slice asked,
                                slice out[static LIMIT_IDENTITIES]) {
    slice all[2 * LIMIT_CERT_NAMES];
    unsigned found = peer_cert_domains(cert, all, ARRAY_LEN(all)), n = 0;
    if (asked.len) out[n++] = asked;
    for (unsigned i = 0; i < found && n < LIMIT_IDENTITIES; i++)
        if (!node_is_domain(c->node, all[i]) && !slice_ieq(all[i], asked)) out[n++] = all[i];
    return n;
}

void peer_flow_open(struct core *c, struct flow *flow, const struct peer_cert *cert, slice asked) {
    slice names[LIMIT_IDENTITIES];
    unsigned n = 0;
    if (!cert || flow->info.has_device_key || !flow_is_secure(&flow->info)) return;
    const char *trouble = peer_cert_trouble(cert);
    if (!trouble) n = foreign_domains(c, cert, asked, names);
    if (identities_set_domains(&flow->who, names, n, trouble) != ERR_OK) return;
    for (unsigned i = 0; i < n; i++) {
        struct peer_row row = { .domain = node_domain_id(c->node, names[i]), .flow = flow->id };
        if (node_peer_add(c->node, &row) == ERR_OK) continue;
        LOG(LOG_WARN, "peer.table_full", LOG_F_U64("flow", flow->id));
        break; /* its requests are taken; ours go over another connection */
    }
}

void peer_flow_closed(struct core *c, struct flow *flow) {
    if (identities_have_domains(&flow->who)) node_peer_remove(c->node, flow->id);
}

/* The address that others of that domain would resolve to: where it came from, with the port that
 * it says it listens on (RFC 5923 8.2: received and sent-by). */
void peer_alias(struct core *c, struct flow *flow, const struct sip_msg *m) {
    slice value;
    if (flow->is_alias || !identities_have_domains(&flow->who) ||
        !hdr_param(m->via.params, SLICE("alias"), &value))
        return;
    struct addr at = flow->info.peer;
    at.port = m->via.port ? m->via.port : PEER_PORT;
    slice own = node_is_domain(c->node, m->uri.host) ? m->uri.host : peer_own_domain(c, 0);
    node_peer_reuse(c->node, flow->id, node_domain_id(c->node, own), &at);
    flow->is_alias = true;
}

bool peer_holds(struct core *c, flow_id f, uint32_t domain_id) {
    const struct flow *flow = flow_get(c, f);
    struct peer_row row;
    struct peer_query q = { .domain = domain_id, .flow = f };
    if (!domain_id) return false;
    if (!flow) return node_peer_find(c->node, &q, &row);
    for (unsigned i = 0; flow->who.domains && i < flow->who.domains->count; i++)
        if (node_domain_id(c->node, flow->who.domains->names[i]) == domain_id) return true;
    return false;
}

/* ---- who is asking ---- */

static bool from_is_anonymous(struct core *c, const struct sip_uri *from) {
    const struct node_config *config = node_settings(c->node);
    return identity_is_anonymous(from, config->domains, config->domain_count);
}

static bool from_is_foreign(struct core *c, const struct sip_uri *from) {
    return (from->scheme == URI_SIP || from->scheme == URI_SIPS) && target_is_name(from->host) &&
           !node_is_domain(c->node, from->host) && !from_is_anonymous(c, from);
}

bool peer_is_sender(struct core *c, const struct flow *flow, const struct sip_msg *m) {
    struct sip_uri from;
    if (identities_have_domains(&flow->who)) return true;
    return flow_is_secure(&flow->info) && flow->who.count == 0 &&
           !sip_first(m, HDR_PROXY_AUTHORIZATION) &&
           sip_uri_read(m->from.uri_text, &from) == ERR_OK && from_is_foreign(c, &from);
}

static void refuse_words(struct core *c, struct flow *flow, const struct sip_msg *m, slice domain,
                         const char *words, const char *more) {
    char mem[512];
    struct buf b = buf_over(mem, sizeof mem - 1);
    buf_put(&b, domain);
    buf_byte(&b, ' ');
    buf_put(&b, slice_str(words));
    buf_put(&b, slice_str(more));
    mem[b.len] = 0;
    core_refuse(c, flow, m, 403, b.full ? NULL : mem);
}

bool peer_who(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t *out) {
    const struct flow_domains *known = flow->who.domains;
    struct sip_uri from;
    bool is_read = sip_uri_read(m->from.uri_text, &from) == ERR_OK;
    if (!identities_have_domains(&flow->who)) {
        if (known && known->trouble)
            refuse_words(c, flow, m, from.host, "has a certificate that ", known->trouble);
        else
            refuse_words(c, flow, m, from.host, "must prove its name: ",
                         known ? "this certificate names no other domain"
                               : "connect with its certificate (mutual TLS)");
        return false;
    }
    slice domain = known->names[0];
    if (is_read && from_is_foreign(c, &from)) {
        domain = from.host;
        is_read = identities_hold_domain(&flow->who, domain);
    } else {
        /* RFC 3323 4.1.1.3: whoever the domain lets call without a name. */
        is_read = is_read && from_is_anonymous(c, &from);
    }
    if (!is_read) {
        refuse_words(c, flow, m, known->names[0], "may speak for its own people only", "");
        return false;
    }
    const char *refusal = peer_refusal(c, domain);
    if (refusal) {
        core_refuse(c, flow, m, 403, refusal);
        return false;
    }
    *out = node_domain_id(c->node, domain);
    return true;
}

/* ---- the trust domain (RFC 3325 4) ---- */

static bool is_trusted(struct core *c, uint32_t domain_id) {
    const struct node_config *config = node_settings(c->node);
    for (unsigned i = 0; i < config->peer_count; i++)
        if (config->peer[i].rule == PEER_TRUST &&
            node_domain_id(c->node, config->peer[i].domain) == domain_id)
            return true;
    return false;
}

bool peer_is_trusted(struct core *c, const struct target *to) {
    return to->account_id || !to->bid || is_trusted(c, to->bid);
}

/* RFC 3325 5: what a node of our trust domain asserts is as good as our own word. RFC 5876 3.3: the
 * first sip or sips URI and the first tel URI; more are passed over. RFC 3325 7: with privacy, the
 * people called do not see it. */
slice peer_asserted(struct core *c, const struct sip_msg *m, uint32_t domain_id) {
    unsigned privacy = 0;
    bool has_sip = false, has_tel = false;
    if (!domain_id || !is_trusted(c, domain_id) || hdr_privacy(m, &privacy) != ERR_OK ||
        (privacy & (HDR_PRIVACY_ID | HDR_PRIVACY_USER)))
        return SLICE_NONE;
    char *mem = arena_alloc(&c->turn, 2 * LIMIT_URI_BYTES);
    struct buf b = buf_over(mem, mem ? 2 * LIMIT_URI_BYTES : 0);
    struct hdr_values it = hdr_values_of(m, HDR_P_ASSERTED_IDENTITY);
    for (slice v; mem && hdr_values_next(&it, &v);) {
        struct hdr_name_addr addr;
        struct sip_uri uri;
        if (hdr_name_addr(v, &addr) != ERR_OK || sip_uri_read(addr.uri_text, &uri) != ERR_OK)
            continue;
        bool *has = uri.scheme == URI_TEL ? &has_tel : &has_sip;
        if (uri.scheme == URI_OTHER || *has) continue;
        if (b.len) buf_lit(&b, ", ");
        buf_put(&b, v);
        *has = true;
    }
    return b.full ? SLICE_NONE : buf_slice(&b);
}

/* ---- how we write ourselves ---- */

/* RFC 5922 7.5: a name that our certificate proves; and one that leads here by the DNS, where a
 * connection that has broken can be made anew. */
slice peer_route_host(struct core *c, uint32_t account_id, uint32_t bid, uint32_t other_account) {
    return account_id || !bid ? SLICE_NONE : peer_own_domain(c, other_account);
}
