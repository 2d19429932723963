/* core/ice.c - what a client needs to find a path: this node's STUN and TURN addresses and a
 * credential of its own, as the RTCIceServer of W3C WebRTC. */
#include "core/core_priv.h"

#include "crypto/crypto.h"
#include "nat/turn.h"
#include "json/write.h"

void node_put_ice(struct node *n, struct json_writer *w, uint32_t account_id, uint32_t device_id,
                  wall_t until) {
    const struct node_config *config = node_settings(n);
    struct turn_credential made;
    json_begin_array(w, "iceServers");
    if (config->relay_key) {
        turn_credential_make(config->relay_key, account_id, device_id, until, &made);
        json_begin_object(w, NULL);
        json_put_raw(w, "urls", config->stun_urls);
        json_end(w);
        json_begin_object(w, NULL);
        json_put_raw(w, "urls", config->relay_urls);
        json_put_str(w, "username", made.username);
        json_put_str(w, "credential", made.password);
        json_end(w);
        crypto_wipe(&made, sizeof made);
    }
    json_end(w);
    json_put_wall(w, "until", until);
}

/* RFC 3261 20.1: a body only of a type that was asked for by name. It is a secret: over TLS only.
 */
slice register_ice(struct core *c, const struct flow *flow, const struct sip_msg *m,
                   uint32_t account_id, uint32_t device_id, wall_t until) {
    const struct node_config *config = node_settings(c->node);
    if (!config->relay_key || !flow_is_secure(&flow->info) ||
        !hdr_has_token(m, HDR_ACCEPT, SLICE("application/json")))
        return SLICE_NONE;
    size_t room = 2 * (config->stun_urls.len + config->relay_urls.len) + 256;
    char *mem = arena_alloc(&c->turn, room);
    if (!mem) return SLICE_NONE;
    struct buf b = buf_over(mem, room);
    struct json_writer w = json_over(&b);
    json_begin_object(&w, NULL);
    node_put_ice(c->node, &w, account_id, device_id, until);
    json_end(&w);
    return b.full ? SLICE_NONE : buf_slice(&b);
}
