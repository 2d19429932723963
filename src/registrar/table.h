/* registrar/table.h - inside of the location table; only location.c and registrar.c include it.
 *
 * Shape:    LOCATION_SHARDS shards by account id under one lock each: a table of accounts with open
 *           addressing, and from there a list of the account's entries. At a million bindings every
 *           cache line costs more than all the arithmetic, so a look-up touches one line of the
 *           table and then only entries it wants. Account ids are given by us: their hash needs no
 *           key.
 * Memory:   an entry is one heap block with its strings behind it. Blocks are counted over all
 *           shards: the table never holds more than bindings_max.
 * Removal:  a binding that a REGISTER removed stays as an invisible stone until its removal is on
 *           disk: if that commit fails, the next REGISTER (or the sweep) asks for it again, so a
 *           crash cannot bring the device back for good. */
#ifndef REGISTRAR_TABLE_H
#define REGISTRAR_TABLE_H

#include "base/lock.h"
#include "registrar/location.h"
#include <stdatomic.h>

#define LOCATION_SHARDS         256u
#define LOCATION_LOAD_GRACE_MS  2000  /* architecture.md section 4: a crash may lose 1 s */
#define LOCATION_STONE_LIFE_MS  30000 /* then the sweep repeats the removal */
#define LOCATION_SWEEP_GRACE_MS 5000  /* a refresh a little late must not race with the sweep */

/* The strings of an entry, in the order they stand behind it. */
enum entry_text {
    TEXT_CONTACT,
    TEXT_PARAMS,
    TEXT_INSTANCE,
    TEXT_CALL_ID,
    TEXT_PATH,
    TEXT_USER_AGENT,
    TEXT_COUNT
};

struct entry {
    struct entry *next; /* of the same account */
    flow_id flow;
    uint64_t instance_hash;
    wall_t registered, expires; /* of a stone: when it was removed */
    uint64_t gruu_epoch, change;
    uint32_t account_id, bid, run, device_id, reg_id, cseq;
    uint16_t q;
    uint16_t len[TEXT_COUNT];
    bool loaded;   /* came from the store and was not refreshed since: an equal CSeq is fine */
    bool unsaved;  /* what stands here is not on disk yet, as far as we know */
    bool failed;   /* and its commit has failed */
    bool stone;    /* removed */
    bool routable; /* sip or sips: RFC 3261 lets others be registered, nobody routes to them */
    char text[];
};

struct account_slot {
    uint32_t account_id;
    struct entry *first; /* NULL: the slot is free */
};
struct shard {
    struct lock lock;
    struct account_slot *slots;
    uint32_t mask;  /* slots - 1 */
    uint32_t count; /* slots in use */
};

struct location {
    struct hash_key key;
    uint32_t run, max;
    _Atomic uint64_t changes; /* the number of the last change */
    _Atomic uint32_t used;    /* blocks */
    _Atomic uint32_t live;    /* blocks that are no stones */
    struct lock sweep_lock;
    uint32_t sweep_shard, sweep_slot;
    struct shard shards[LOCATION_SHARDS];
};

/* Strings longer than this are refused by the registrar and by location_load. */
#define ENTRY_TEXT_MAX 4096u

static inline uint32_t account_hash(uint32_t account_id) {
    return (uint32_t)(hash_spread(account_id) >> 32);
}
static inline struct shard *location_shard(struct location *l, uint32_t account_id) {
    return &l->shards[account_hash(account_id) % LOCATION_SHARDS];
}
/* The first entry of the account: stones and expired ones too; `next` leads on. */
struct entry *account_first(const struct shard *s, uint32_t account_id);

/* A block filled from the row, not in the table yet; NULL: FULL or MEMORY by *out_err. */
struct entry *entry_new(struct location *l, const struct binding_row *row, enum err *out_err);
void entry_free(struct location *l, struct entry *e); /* one that is not in the table */
/* Make sure that an entry of this account can be linked; false: memory is short. */
NODISCARD bool shard_reserve(struct shard *s, uint32_t account_id);
void entry_link(struct location *l, struct shard *s, struct entry *e);
void entry_unlink(struct location *l, struct shard *s, struct entry *e);
void entry_to_stone(struct location *l, struct entry *e, wall_t now);
/* The number of the next change (store.h, Order); asked for under the account's lock. Above those
 * of all former runs: the run's own number leads. */
static inline uint64_t location_next_change(struct location *l) {
    return atomic_fetch_add_explicit(&l->changes, 1, memory_order_relaxed) + 1;
}

/* The durable hash of a +sip.instance, never 0; 0 for none. */
uint64_t location_instance_hash(const struct location *l, slice instance);
/* The epoch of a device's temporary GRUUs: the newest of its live bindings, 0 when it has none. */
uint64_t device_epoch(struct entry *first, uint64_t instance_hash, wall_t now);

slice entry_text(const struct entry *e, enum entry_text which);
void entry_row(const struct entry *e, struct binding_row *out); /* slices point into the entry */
static inline bool entry_lives(const struct entry *e, wall_t now) {
    return !e->stone && e->expires > now;
}

#endif
