/* daemon/config_node.c - kith.conf in the words of core. */
#include "daemon/config.h"

/* So many a minute, one in `share` of them at once. */
static struct guard_budget budget(uint32_t per_min, uint32_t share, uint32_t times) {
    uint64_t n = (uint64_t)per_min * times;
    if (n > GUARD_BUDGET_MAX) n = GUARD_BUDGET_MAX;
    return (struct guard_budget){ (uint32_t)n, (uint32_t)n / share };
}

static void config_to_guard(const struct config *c, struct guard_limits *out) {
    struct guard_source_limits *const sources[] = { &out->source, &out->loopback };
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        uint32_t times = i ? 100 : 1;
        sources[i]->auth_failures = budget(c->source_failures, 1, times);
        sources[i]->requests = budget(c->source_requests, 3, times);
        sources[i]->connections = budget(c->source_connections, 3, times);
    }
    out->account = budget(c->account_requests, 6, 1);
    out->domain = budget(c->domain_requests, 6, 1);
}

static void add_peers(const struct config_domains *from, enum peer_rule rule,
                      struct node_config *out) {
    for (unsigned i = 0; i < from->count && out->peer_count < LIMIT_PEERS; i++)
        out->peer[out->peer_count++] = (struct node_peer){ from->at[i], rule };
}

void config_to_node(const struct config *c, struct node_config *out) {
    node_config_defaults(out);
    out->workers = c->workers;
    out->domain_count = c->domains.count;
    for (unsigned i = 0; i < c->domains.count; i++) out->domains[i] = c->domains.at[i];
    out->name = c->listen_name;
    out->digest_sha512_256 = c->auth_algorithm == CONFIG_SHA_512_256;
    out->expires_min_s = c->expires_min_s;
    out->expires_default_s = c->expires_default_s;
    out->expires_max_s = c->expires_max_s;
    out->contacts_max = c->contacts;
    out->nonce_life_s = c->nonce_life_s;
    out->timer_c_s = c->ring_time_s;
    out->group_ring_s = c->group_ring_s;
    out->recurse_own = c->recurse != 0;
    out->session_timer_s = c->session_timer_s;
    out->flow_idle_s = c->flow_idle_s;
    out->flows_max = c->flows;
    if (c->listen_tls.count && c->listen_tls.at[0].port) out->sip_port = c->listen_tls.at[0].port;
    out->peers = (enum peers_policy)c->peers_policy;
    out->peer_count = 0;
    add_peers(&c->peers, PEER_ALLOW, out);
    add_peers(&c->peers_trusted, PEER_TRUST, out);
    add_peers(&c->peers_refused, PEER_REFUSE, out);
    config_to_guard(c, &out->guard);
}
