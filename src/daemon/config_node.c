/* daemon/config_node.c - kith.conf in the words of core. */
#include "daemon/config.h"

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
    out->flow_idle_s = c->flow_idle_s;
    out->flows_max = c->flows;
}
