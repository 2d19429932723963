/* core/node_priv.h - the node's inside, for the cores. See node.h for the story.
 *
 * Flow words: one atomic 64-bit word per flow slot of each worker: generation, transport, lane and
 * the number of the local address. So any worker can tell in one load, without a lock, whether a
 * flow of another worker still lives, and what to write into Via and Record-Route for it. */
#ifndef CORE_NODE_PRIV_H
#define CORE_NODE_PRIV_H

#include "auth/accounts.h"
#include "auth/digest.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/pool.h"
#include "core/node.h"
#include "proxy/dialogs.h"
#include "registrar/location.h"
#include "sip/flow.h"
#include <stdatomic.h>

struct settings { /* one immutable copy of the configuration; old ones live until node_free */
    struct node_config config;
    char *text; /* what the slices point into */
    struct settings *older;
};

/* What another worker may know of a flow. */
struct flow_face {
    uint8_t transport, lane;
    struct addr local;
};

struct node_keys {
    uint8_t token[64]; /* route tokens */
    uint8_t gruu[64];
    uint8_t branch[32]; /* Via branches */
    uint8_t tag[32];    /* To tags of our own answers */
    uint8_t nonce[32];
    uint8_t seal[32];
    struct hash_key table, durable; /* of this run; of all runs (binding ids) */
};

struct peer_table;
struct directory; /* INVITE server transactions of all workers, by branch and sent-by */

struct node {
    _Atomic(struct settings *) settings;
    struct store *store;
    struct accounts *accounts;
    struct location *location;
    struct dialogs *dialogs;
    struct guard *guard;
    struct directory *directory;
    struct peer_table *peers;
    struct digest digest;
    struct node_keys keys;
    uint16_t number;
    uint32_t run;
    unsigned workers;
    uint32_t flows_max;
    _Atomic bool tracing;
    _Atomic uint64_t *flow_words[NODE_WORKERS_MAX];
    _Atomic mono_t store_fails_until; /* 0: it works. Else one registration may try it then */
    _Atomic uint16_t *flow_calls[NODE_WORKERS_MAX]; /* calls that each flow takes part in */
    struct addr *locals; /* local addresses of flows, by number; append-only */
    _Atomic uint32_t local_count;
    struct lock lock; /* for appending to locals */
};

static inline const struct node_config *node_settings(struct node *n) {
    return &atomic_load_explicit(&n->settings, memory_order_acquire)->config;
}
static inline bool node_tracing(struct node *n) {
    return atomic_load_explicit(&n->tracing, memory_order_relaxed);
}

/* Called by the owning core only. FULL: too many local addresses. */
NODISCARD enum err node_flow_up(struct node *n, flow_id f, const struct flow_info *info);
void node_flow_down(struct node *n, flow_id f);
/* One call more or less on this flow, which may be any worker's (-1 below none is nothing): from
 * the INVITE on until that fails, or the call's record goes (proxy/dialogs.h). It decides who is
 * read first, and whether a visitor may call once more; a connection made anew begins with none. */
void node_flow_call(struct node *n, flow_id f, int change);
unsigned node_flow_calls(const struct node *n, flow_id f);
/* false: gone. */
bool node_flow_face(struct node *n, flow_id f, struct flow_face *out);

/* node_peers.c: connections with other domains. A domain is known by a keyed, durable number that
 * is never 0. */
struct peer_row {         /* one domain that a flow has proved */
    uint32_t domain, own; /* own: ours, for which the flow may be used again */
    flow_id flow;
    struct addr addr; /* family NONE: our requests may not go over it (RFC 5923) */
};
struct peer_query {       /* what is 0 or NULL does not matter */
    uint32_t domain, own; /* domain always */
    flow_id flow;
    const struct addr *addr;
    bool is_reusable;
};
NODISCARD enum err node_peers_new(struct node *n);
void node_peers_free(struct node *n);
uint32_t node_domain_id(struct node *n, slice domain);
/* FULL: so many flows of that domain are known that this one is not needed; MEMORY. */
NODISCARD enum err node_peer_add(struct node *n, const struct peer_row *row);
/* All rows of the flow may be used again, by `own`, for what resolves to addr. */
void node_peer_reuse(struct node *n, flow_id flow, uint32_t own, const struct addr *addr);
void node_peer_remove(struct node *n, flow_id flow);
/* A row whose flow lives. */
bool node_peer_find(struct node *n, const struct peer_query *q, struct peer_row *out);

/* Is this host (of a URI) one of our domains? */
bool node_is_domain(struct node *n, slice host);
/* Does this host and port name this server itself: the name in routes, or a local address? */
bool node_is_self(struct node *n, slice host);

/* The directory. A key is tx_request_hash() under keys.table. */
NODISCARD enum err node_invite_add(struct node *n, uint64_t key, unsigned worker, pool_id tx);
void node_invite_remove(struct node *n, uint64_t key, pool_id tx);
bool node_invite_find(struct node *n, uint64_t key, unsigned *worker, pool_id *tx);

#endif
