/* auth/slots.h - entries in numbered slots with up to three hash indexes, shared by all workers.
 *
 * Purpose:  the common frame of the accounts and the devices: who holds a lock when.
 * Locks:    a slot and an index bucket each belong to one of 64 shards. A reader takes one shard
 *           lock at a time: first to collect candidate slots from an index, then to look into a
 *           slot; since the entry is compared under its own lock, it does not matter that the two
 *           steps are not one. Writers are serialized by the owner of the table (one lock of its
 *           own), so between them nothing changes but by themselves.
 * Lifetime: an entry may be looked at only between slots_open and slots_close.
 * Memory:   slots come in chunks as they are needed, up to the maximum, and stay until the end. */
#ifndef AUTH_SLOTS_H
#define AUTH_SLOTS_H

#include "base/hash.h"
#include "base/lock.h"
#include "base/map.h"

#define SLOTS_SHARDS     64u /* far more than workers: two of them rarely meet */
#define SLOTS_INDEXES    3u
#define SLOTS_CANDIDATES 64u /* of one hash: names differ in 64 bits; devices of one account */
#define SLOTS_CHUNK      4096u
#define SLOT_NONE        UINT32_MAX

struct slots_shard {
    struct lock lock;
    struct map indexes[SLOTS_INDEXES];
    char pad[64]; /* so that no two locks share a cache line */
};

struct slots_chunk {
    void *cells[SLOTS_CHUNK];        /* of slot i: guarded by shard i % SLOTS_SHARDS */
    uint32_t next_free[SLOTS_CHUNK]; /* writer's: chain of freed slots */
};
struct slots {
    struct slots_chunk **chunks; /* set before a slot of theirs is known to anybody */
    uint32_t max, free_head;
    _Atomic uint32_t high, count; /* slots ever used (slots_high); slots in use */
    struct slots_shard *shards;
    bool is_private; /* one thread alone knows the table: no locks. While it is loaded */
};

/* index_max: entries of one index in all. MEMORY. */
NODISCARD enum err slots_init(struct slots *t, uint32_t max, uint32_t index_max);
/* The entries themselves are the owner's to free before: slots_take. */
void slots_fini(struct slots *t);

/* Writers only. */
NODISCARD enum err slots_add(struct slots *t, void *entry, uint32_t *out_slot); /* FULL, MEMORY */
void *slots_swap(struct slots *t, uint32_t slot, void *entry);                  /* the former one */
void *slots_take(struct slots *t, uint32_t slot); /* the slot is free then; NULL: it was */
NODISCARD enum err slots_index(struct slots *t, unsigned index, uint64_t hash, uint32_t slot);
/* Makes room in this index for about so many entries in all; while nobody reads. */
void slots_reserve(struct slots *t, unsigned index, uint32_t count);
/* Says that slots_index, slots_candidates of this hash come soon. */
void slots_prefetch(const struct slots *t, unsigned index, uint64_t hash);
void slots_unindex(struct slots *t, unsigned index, uint64_t hash, uint32_t slot);

/* Anybody. */
unsigned slots_candidates(struct slots *t, unsigned index, uint64_t hash, uint32_t *out,
                          unsigned max);
uint32_t slots_high(struct slots *t); /* all slots ever used are below */
/* The entry in this slot, NULL when free; the shard stays locked until slots_close. */
void *slots_open(struct slots *t, uint32_t slot);
void slots_close(struct slots *t, uint32_t slot);

#endif
