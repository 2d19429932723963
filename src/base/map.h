/* base/map.h - open addressing from a 64-bit hash to a 32-bit value (a slot in a pool).
 *
 * The map keeps no keys: two keys may share a hash, so a look-up walks the candidates and the
 * caller compares. Hashes come from siphash(), because strangers choose the keys.
 * Memory: grows by doubling up to max entries, never beyond: ERR_FULL. Threads: one at a time.
 *
 *   struct map_iter it = map_find(&m, hash);
 *   for (uint32_t slot; map_next(&m, &it, &slot);) if (equal(slot, key)) ...
 *
 * map_add and map_remove end the walks under way.       */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/err.h"

struct map_entry;
struct map {
    struct map_entry *entries;
    uint32_t capacity, count, max;
};
struct map_iter {
    uint64_t hash;
    uint32_t at, left;
};

void map_init(struct map *m, uint32_t max);
void map_fini(struct map *m);
NODISCARD enum err map_add(struct map *m, uint64_t hash, uint32_t value); /* FULL, MEMORY */
/* Makes room for so many entries in all, as far as memory and the maximum allow. */
void map_reserve(struct map *m, uint32_t count);
bool map_remove(struct map *m, uint64_t hash, uint32_t value); /* false: was not there */
struct map_iter map_find(const struct map *m, uint64_t hash);
/* Fetch the memory that map_find or map_add of this hash will touch, while other work is done. */
void map_prefetch(const struct map *m, uint64_t hash);
bool map_next(const struct map *m, struct map_iter *it, uint32_t *value);

#endif
