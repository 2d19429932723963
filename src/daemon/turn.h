/* daemon/turn.h - the relay as the operator sees it: settings, addresses, credentials, status. */
#ifndef DAEMON_TURN_H
#define DAEMON_TURN_H

#include "daemon/config.h"
#include "daemon/world.h"
#include "io/relay.h"

struct daemon;
struct json_writer;

#define TURN_OWN_MAX 64u

struct daemon_turn { /* what the workers' relays point into */
    bool is_on;
    struct relay_config relay;
    struct ports *ports;
    struct addr own[TURN_OWN_MAX];
    uint8_t key[32];
    slice realm;
    char stun_urls[1024], relay_urls[2048]; /* for the node's next settings */
};

/* The key of credentials and nonces: it follows from the data directory's own, so that a command
 * without a server makes the same ones. Wipe it. */
void turn_key(const uint8_t seal_key[static 32], uint8_t out[static 32]);

/* After the listeners are known. What cannot be had (no address to relay from) switches it off and
 * is logged. MEMORY. */
NODISCARD enum err daemon_turn_prepare(struct daemon *d, struct buf *why);
void daemon_turn_fini(struct daemon *d); /* after the workers */
void daemon_put_turn(struct daemon *d, struct json_writer *w);
/* Asks each worker for its allocations: server_face.turn_each. */
NODISCARD enum err daemon_turn_each(void *ctx, uint32_t account_id, turn_visit_fn *visit,
                                    void *visit_ctx);
/* An array "uris": where a client finds the relay (RFC 7065). */
void daemon_put_turn_uris(void *ctx, struct json_writer *w);
/* What the node tells clients of the relay; `name`: this host's. Once the listeners are open. */
void daemon_turn_to_node(struct daemon *d, slice name, struct node_config *out);

#endif
