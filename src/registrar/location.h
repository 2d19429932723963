/* registrar/location.h - where people can be reached: the table of bindings.
 *
 * Purpose:  bindings of each account, in memory, shared by all workers; RFC 3261 10, 3327, 5626.
 *           A look-up at a million bindings takes less than a microsecond.
 * Lifetime: look-ups copy what routing needs into the caller's arena; nothing points into here.
 * Memory:   one block per binding (about 400 bytes), at most `bindings_max`, ERR_FULL beyond.
 * Threads:  any; sharded by account id, one lock a shard, held for a look-up or a change.
 * Store:    changes come out as store_change, each with a number given under the account's lock, so
 *           it does not matter in which order those of several workers reach the store.
 *
 * A binding knows the flow it was made over. Whether that flow still lives is not kept here: the
 * caller asks core's flow table, so a closed connection makes its binding unreachable at once. */
#ifndef REGISTRAR_LOCATION_H
#define REGISTRAR_LOCATION_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "sip/flow.h"
#include "store/store.h"

struct location;

struct binding { /* a copy for routing */
    uint32_t account_id, bid;
    flow_id flow; /* FLOW_NONE: made in a former run, its flow is gone */
    uint32_t device_id;
    uint32_t reg_id;
    uint16_t q;
    uint64_t instance_hash; /* 0: no instance. Two flows of one instance share it (5626 5.3) */
    slice contact, path;
    wall_t registered, expires;
};

/* `run`: this run's number; rows of another run get FLOW_NONE. */
NODISCARD struct location *location_new(uint32_t bindings_max, const struct hash_key *key,
                                        uint32_t run);
void location_free(struct location *l);
/* At start: about so many accounts have bindings. A guess too high costs memory only. Others may be
 * loading some meanwhile. */
void location_reserve(struct location *l, uint32_t accounts);
/* At start: a stored row. Expired ones are MISSING (2 s of grace: architecture.md section 4). */
NODISCARD enum err location_load(struct location *l, const struct binding_row *row, wall_t now);

/* The live bindings of an account, best q first, then newest; at most `max` (and 64). None: OK and
 * *out_count 0. Contacts that are neither sip nor sips are kept for the answers to REGISTER only.
 * MEMORY: the arena is too small, *out_count 0. */
NODISCARD enum err location_find(struct location *l, uint32_t account_id, wall_t now,
                                 struct arena *arena, struct binding *out, unsigned max,
                                 unsigned *out_count);
/* One binding by its durable id; MISSING. */
NODISCARD enum err location_by_bid(struct location *l, uint32_t account_id, uint32_t bid,
                                   wall_t now, struct arena *arena, struct binding *out);
/* One device, whatever its flows: MISSING when it has no binding. *out_epoch: that of its temporary
 * GRUUs, those of another epoch are void (RFC 5627 5.1). */
NODISCARD enum err location_device(struct location *l, uint32_t account_id, uint64_t instance_hash,
                                   wall_t now, uint64_t *out_epoch);
/* The binding that this account has over this flow; 0: none. */
uint32_t location_bid_of_flow(struct location *l, uint32_t account_id, flow_id flow, wall_t now);
/* The durable id that a new binding of this device gets: keyed hash of the instance and reg-id, or
 * of the contact when there is no instance. Never 0. A binding keeps its id for as long as it is
 * refreshed, so struct binding tells the one in use (two devices of one account whose hashes
 * collide get neighbours). */
uint32_t location_bid(const struct location *l, uint32_t account_id, slice instance,
                      uint32_t reg_id, slice contact);

void location_remove_account(struct location *l, uint32_t account_id);
/* Look at up to about `budget` bindings, going on where the last call ended, and forget those that
 * have expired. Returns how many removals it wrote into out[max] for the store (STORE_LAZY, no
 * answer awaited). A thousand every second keeps a table of a million clean within its hour. */
unsigned location_sweep(struct location *l, wall_t now, unsigned budget, struct store_change *out,
                        unsigned max);
uint32_t location_count(const struct location *l);
/* Full rows of one account (or of all: account_id 0) for `kith bindings` and status; the visitor
 * runs under a lock and must not call back in here. Returning false ends the walk. */
void location_each(struct location *l, uint32_t account_id, wall_t now,
                   bool (*visit)(void *ctx, const struct binding_row *row), void *ctx);

#endif
