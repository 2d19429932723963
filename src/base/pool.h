/* base/pool.h - slots of one size, known by id (slot and generation) instead of by pointer.
 *
 * Lifetime: an id kept after pool_free is refused (pool_get gives NULL), never followed.
 *           Generations start at 1 and skip 0, so a zeroed id is never valid.
 * Memory:   chunks are taken as needed up to `max` slots and stay until pool_fini; a slot never
 *           moves, so a pointer from pool_get is good until that slot is freed.
 * Threads:  one at a time. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/err.h"

typedef struct {
    uint32_t slot, gen;
} pool_id;
#define POOL_ID_NONE ((pool_id){ 0, 0 })
static inline bool pool_id_eq(pool_id a, pool_id b) {
    return a.slot == b.slot && a.gen == b.gen;
}
static inline bool pool_id_some(pool_id a) {
    return a.gen != 0;
}

struct pool {
    char **chunks;
    uint32_t *gens; /* per slot: odd while in use, even while free */
    size_t item_size;
    uint32_t max, used, high, free_head; /* slots in use, slots ever used */
    uint32_t chunk_shift;                /* a chunk holds 1 << chunk_shift slots */
};

void pool_init(struct pool *p, size_t item_size, uint32_t max);
void pool_fini(struct pool *p);
NODISCARD void *pool_new(struct pool *p, pool_id *out); /* zeroed; NULL: full or memory is short */
void pool_free(struct pool *p, pool_id id);             /* a stale id is an assertion: our bug */
void *pool_get(const struct pool *p, pool_id id);       /* NULL: stale */
/* What is in that slot now, for tables (base/map.h) that keep slots; NULL: it is free. */
void *pool_at(const struct pool *p, uint32_t slot, pool_id *out);
/* Walk the slots in use: start with *slot = 0; NULL at the end. */
void *pool_each(const struct pool *p, uint32_t *slot, pool_id *out);

#endif
