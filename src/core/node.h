/* core/node.h - one Kith node: what its workers share.
 *
 * Purpose:  accounts, bindings, the directory of INVITE transactions, dialogs of calls that are
 *           up, keys, the settings in force. Tables are sharded by key hash, one lock a shard,
 *           held for a look-up only.
 * Lifetime: made before the first core, freed after the last.
 * Threads:  every function may be called from any thread. */
#ifndef CORE_NODE_H
#define CORE_NODE_H

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/slice.h"
#include "guard/guard.h"
#include "store/store.h"

struct node;
struct accounts;
struct location;
struct dialogs;
struct json_writer;

#define NODE_DOMAINS_MAX 64
#define NODE_WORKERS_MAX 64

/* Which other domains we talk to, over TLS and by their verified names only (docs/federation.md).
 */
enum peers_policy {
    PEERS_OPEN,   /* all but those refused */
    PEERS_LISTED, /* those allowed or trusted */
    PEERS_CLOSED  /* none */
};
enum peer_rule {
    PEER_ALLOW,
    PEER_TRUST, /* allowed, and of our trust domain: who called is asserted to it and believed from
                 * it (RFC 3325 4) */
    PEER_REFUSE
};
struct node_peer {
    slice domain; /* lower case */
    enum peer_rule rule;
};

/* The settings protocol code reads; copied by node_new and node_configure. */
struct node_config {
    unsigned workers; /* fixed at start */
    unsigned domain_count;
    slice domains[NODE_DOMAINS_MAX]; /* lower case; the first is the default realm */
    slice name;                      /* host written into routes; empty: the flow's local address */
    slice server_header;             /* "Kith" or empty */
    bool digest_sha512_256;          /* the one challenge is SHA-512-256 instead of SHA-256 */
    uint32_t expires_min_s, expires_max_s, expires_default_s;
    uint32_t contacts_max;
    uint32_t nonce_life_s;    /* 300 */
    uint32_t timer_c_s;       /* 180 */
    uint32_t session_timer_s; /* RFC 4028: asked for in our name; 0: not, else 90 at least */
    bool recurse_own;         /* a 3xx that leads to an address of ours is followed here */
    uint32_t group_ring_s;    /* so long the devices of one q ring before those of the next: 20 */
    uint32_t flow_idle_s; /* a TLS flow without binding or call and silent for this long closes */
    uint32_t flows_max;   /* per worker */
    struct guard_limits guard; /* fixed at start */
    uint16_t sip_port;         /* where other domains reach us: 5061 */
    enum peers_policy peers;
    unsigned peer_count;
    struct node_peer peer[LIMIT_PEERS];
    /* JSON arrays of the relay's URLs, without credentials and with; what makes those (32 bytes, as
     * long as the node; NULL: no relay). */
    slice stun_urls, relay_urls;
    const uint8_t *relay_key;
    bool force_mail;         /* test: every message crosses workers */
    const uint8_t *seal_key; /* 32 bytes; read by node_new only: opens what is sealed at rest, and
                                the keys of tokens, branches and nonces are derived from it */
};
void node_config_defaults(struct node_config *c);

/* Loads accounts, devices, bindings and keys; writes a new run number. The store stays the
 * caller's. *bindings_gone tells how many bindings of a former run lost their flow. */
NODISCARD enum err node_new(const struct node_config *config, struct store *store, struct now now,
                            struct node **out);
void node_free(struct node *n);
/* New settings, all or nothing; calls go on. `workers` must be as before. */
NODISCARD enum err node_configure(struct node *n, const struct node_config *config);

struct accounts *node_accounts(struct node *n);
struct location *node_location(struct node *n);
struct guard *node_guard(struct node *n);
struct dialogs *node_dialogs(struct node *n);
uint32_t node_run(const struct node *n);
/* Does this flow live, on whichever worker? For `kith bindings` and status. */
bool node_flow_lives(struct node *n, uint64_t flow);
void node_set_tracing(struct node *n, bool on);
/* Members "iceServers" (RTCIceServer of W3C WebRTC) and "until": a credential of that account and
 * device (0: none), which ends then. Any thread. */
void node_put_ice(struct node *n, struct json_writer *w, uint32_t account_id, uint32_t device_id,
                  wall_t until);

#endif
