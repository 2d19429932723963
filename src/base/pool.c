#include "base/pool.h"
#include "base/mem.h"
#include <string.h>

/* A generation is odd while its slot is in use and even while it is free: creation and removal
 * each add one. A slot never used is 0, so ids in use start at 1, and a wrap passes 0 while free.
 * A free slot's first four bytes hold the next free slot plus one. */
enum { ALIGN = 16, CHUNK_SLOTS_SHIFT_MAX = 6, CHUNK_BYTES = 65536 };

void pool_init(struct pool *p, size_t item_size, uint32_t max) {
    ASSERT(item_size <= SIZE_MAX / 128 && max < UINT32_MAX);
    size_t size = item_size ? (item_size + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    *p = (struct pool){ .item_size = size, .max = max };
    while (p->chunk_shift < CHUNK_SLOTS_SHIFT_MAX &&
           (size << (p->chunk_shift + 1)) <= CHUNK_BYTES && (1u << p->chunk_shift) < max)
        p->chunk_shift++;
}

static size_t chunk_size(const struct pool *p) {
    return p->item_size << p->chunk_shift;
}

static char *slot_at(const struct pool *p, uint32_t slot) {
    uint32_t in_chunk = slot & ((1u << p->chunk_shift) - 1);
    return p->chunks[slot >> p->chunk_shift] + in_chunk * p->item_size;
}

void pool_fini(struct pool *p) {
    for (uint32_t slot = 0; slot < p->high; slot += 1u << p->chunk_shift) {
        char *chunk = p->chunks[slot >> p->chunk_shift];
        mem_unpoison(chunk, chunk_size(p));
        mem_free(chunk);
        if (p->high - slot <= 1u << p->chunk_shift) break;
    }
    mem_free(p->chunks);
    mem_free(p->gens);
    pool_init(p, p->item_size, p->max);
}

/* Room for one chunk more. The two tables double; a step that fails can be done again later. */
static bool grow(struct pool *p) {
    size_t n = p->high >> p->chunk_shift;
    if ((n & (n - 1)) == 0) { /* full at 0, 1, 2, 4, ... */
        size_t room = n ? n * 2 : 1;
        char **chunks = mem_grow(p->chunks, room * sizeof(*chunks));
        if (!chunks) return false;
        p->chunks = chunks;
        uint32_t *gens = mem_grow(p->gens, (room << p->chunk_shift) * sizeof(*gens));
        if (!gens) return false;
        p->gens = gens;
    }
    char *chunk = mem_alloc(chunk_size(p));
    if (!chunk) return false;
    mem_poison(chunk, chunk_size(p));
    p->chunks[n] = chunk;
    return true;
}

void *pool_new(struct pool *p, pool_id *out) {
    uint32_t slot;
    if (p->free_head) {
        slot = p->free_head - 1;
        mem_unpoison(slot_at(p, slot), p->item_size);
        memcpy(&p->free_head, slot_at(p, slot), sizeof(p->free_head));
    } else {
        if (p->high >= p->max) return NULL;
        if ((p->high & ((1u << p->chunk_shift) - 1)) == 0 && !grow(p)) return NULL;
        slot = p->high++;
        p->gens[slot] = 0;
        mem_unpoison(slot_at(p, slot), p->item_size);
    }
    p->gens[slot]++;
    p->used++;
    *out = (pool_id){ slot, p->gens[slot] };
    return memset(slot_at(p, slot), 0, p->item_size);
}

void *pool_get(const struct pool *p, pool_id id) {
    if (id.slot >= p->high || p->gens[id.slot] != id.gen || (id.gen & 1) == 0) return NULL;
    return slot_at(p, id.slot);
}

void pool_free(struct pool *p, pool_id id) {
    char *item = pool_get(p, id);
    ASSERT(item);
    p->gens[id.slot]++;
    p->used--;
    memcpy(item, &p->free_head, sizeof(p->free_head));
    p->free_head = id.slot + 1;
    mem_poison(item, p->item_size);
}

void *pool_at(const struct pool *p, uint32_t slot, pool_id *out) {
    if (slot >= p->high || (p->gens[slot] & 1) == 0) return NULL;
    *out = (pool_id){ slot, p->gens[slot] };
    return slot_at(p, slot);
}

void *pool_each(const struct pool *p, uint32_t *slot, pool_id *out) {
    while (*slot < p->high) {
        void *item = pool_at(p, (*slot)++, out);
        if (item) return item;
    }
    return NULL;
}
