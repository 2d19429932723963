#include "auth/slots.h"
#include "base/mem.h"

#include <stdatomic.h>

enum err slots_init(struct slots *t, uint32_t max, uint32_t index_max) {
    memset(t, 0, sizeof(*t));
    t->max = max;
    t->free_head = SLOT_NONE;
    t->chunks = mem_array(max / SLOTS_CHUNK + 1, sizeof(struct slots_chunk *));
    t->shards = mem_array(SLOTS_SHARDS, sizeof(struct slots_shard));
    if (!t->chunks || !t->shards) {
        mem_free(t->chunks);
        mem_free(t->shards);
        memset(t, 0, sizeof(*t));
        return ERR_MEMORY;
    }
    for (unsigned i = 0; i < SLOTS_SHARDS; i++) {
        lock_init(&t->shards[i].lock);
        for (unsigned x = 0; x < SLOTS_INDEXES; x++) map_init(&t->shards[i].indexes[x], index_max);
    }
    return ERR_OK;
}

void slots_fini(struct slots *t) {
    for (unsigned i = 0; t->shards && i < SLOTS_SHARDS; i++) {
        for (unsigned x = 0; x < SLOTS_INDEXES; x++) map_fini(&t->shards[i].indexes[x]);
        lock_fini(&t->shards[i].lock);
    }
    for (uint32_t i = 0; t->chunks && i <= t->max / SLOTS_CHUNK; i++) mem_free(t->chunks[i]);
    mem_free(t->chunks);
    mem_free(t->shards);
    memset(t, 0, sizeof(*t));
}

static void shard_take(const struct slots *t, struct slots_shard *s) {
    if (!t->is_private) lock_take(&s->lock);
}
static void shard_give(const struct slots *t, struct slots_shard *s) {
    if (!t->is_private) lock_give(&s->lock);
}

static void **cell_of(struct slots *t, uint32_t slot) {
    return &t->chunks[slot / SLOTS_CHUNK]->cells[slot % SLOTS_CHUNK];
}
static uint32_t *next_of(struct slots *t, uint32_t slot) {
    return &t->chunks[slot / SLOTS_CHUNK]->next_free[slot % SLOTS_CHUNK];
}

uint32_t slots_high(struct slots *t) {
    return atomic_load_explicit(&t->high, memory_order_acquire);
}

static struct slots_shard *shard_of_slot(struct slots *t, uint32_t slot) {
    return &t->shards[slot % SLOTS_SHARDS];
}
/* The map inside a shard uses the low bits; the shard is chosen by the high ones. */
static struct slots_shard *shard_of_hash(const struct slots *t, uint64_t hash) {
    return &t->shards[(hash >> 40) % SLOTS_SHARDS];
}

void *slots_swap(struct slots *t, uint32_t slot, void *entry) {
    struct slots_shard *s = shard_of_slot(t, slot);
    shard_take(t, s);
    void **cell = cell_of(t, slot), *former = *cell;
    *cell = entry;
    shard_give(t, s);
    return former;
}

/* A slot that was never used; its chunk is made with the first of it. */
static enum err fresh_slot(struct slots *t, uint32_t *out) {
    uint32_t slot = slots_high(t);
    if (slot >= t->max) return ERR_FULL;
    struct slots_chunk **chunk = &t->chunks[slot / SLOTS_CHUNK];
    if (!*chunk) *chunk = mem_zalloc(sizeof(**chunk));
    if (!*chunk) return ERR_MEMORY;
    atomic_store_explicit(&t->high, slot + 1, memory_order_release);
    *out = slot;
    return ERR_OK;
}

enum err slots_add(struct slots *t, void *entry, uint32_t *out_slot) {
    uint32_t slot = t->free_head;
    if (slot != SLOT_NONE) {
        t->free_head = *next_of(t, slot);
    } else {
        enum err e = fresh_slot(t, &slot);
        if (e) return e;
    }
    void *former = slots_swap(t, slot, entry);
    ASSERT(former == NULL);
    atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
    *out_slot = slot;
    return ERR_OK;
}

void *slots_take(struct slots *t, uint32_t slot) {
    void *former = slots_swap(t, slot, NULL);
    if (!former) return NULL;
    *next_of(t, slot) = t->free_head;
    t->free_head = slot;
    atomic_fetch_sub_explicit(&t->count, 1, memory_order_relaxed);
    return former;
}

enum err slots_index(struct slots *t, unsigned index, uint64_t hash, uint32_t slot) {
    struct slots_shard *s = shard_of_hash(t, hash);
    shard_take(t, s);
    enum err e = map_add(&s->indexes[index], hash, slot);
    shard_give(t, s);
    return e;
}

/* Hashes spread evenly, but not exactly. */
void slots_reserve(struct slots *t, unsigned index, uint32_t count) {
    uint32_t each = count / SLOTS_SHARDS;
    for (unsigned i = 0; i < SLOTS_SHARDS; i++)
        map_reserve(&t->shards[i].indexes[index], each + each / 16);
}

/* Without the shard's lock: only writers change the map, and they are serialized. */
void slots_prefetch(const struct slots *t, unsigned index, uint64_t hash) {
    map_prefetch(&shard_of_hash(t, hash)->indexes[index], hash);
}

void slots_unindex(struct slots *t, unsigned index, uint64_t hash, uint32_t slot) {
    struct slots_shard *s = shard_of_hash(t, hash);
    shard_take(t, s);
    bool was = map_remove(&s->indexes[index], hash, slot);
    shard_give(t, s);
    ASSERT(was);
}

unsigned slots_candidates(struct slots *t, unsigned index, uint64_t hash, uint32_t *out,
                          unsigned max) {
    struct slots_shard *s = shard_of_hash(t, hash);
    unsigned n = 0;
    shard_take(t, s);
    struct map_iter it = map_find(&s->indexes[index], hash);
    for (uint32_t slot; n < max && map_next(&s->indexes[index], &it, &slot);) {
        __builtin_prefetch(cell_of(t, slot)); /* on its way while the lock changes hands */
        out[n++] = slot;
    }
    shard_give(t, s);
    return n;
}

void *slots_open(struct slots *t, uint32_t slot) {
    shard_take(t, shard_of_slot(t, slot));
    return *cell_of(t, slot);
}

void slots_close(struct slots *t, uint32_t slot) {
    shard_give(t, shard_of_slot(t, slot));
}
