#include "base/map.h"
#include "base/hash.h"
#include "base/mem.h"

/* Linear probing with removal by shifting back, so there are no tombstones: a chain of candidates
 * ends at the first free entry, and a table that lives for months never slows down. */
struct map_entry {
    uint64_t hash;
    uint32_t value;
    uint32_t used;
};
enum { CAPACITY_MIN = 16 };

void map_init(struct map *m, uint32_t max) {
    ASSERT(max <= 1u << 30);
    *m = (struct map){ .max = max };
}

void map_fini(struct map *m) {
    mem_free(m->entries);
    *m = (struct map){ .max = m->max };
}

/* Spread over all bits first: tables of several shards choose the shard by some bits of the same
 * hash, and all entries of a shard would share their home otherwise. */
static uint32_t home(const struct map *m, uint64_t hash) {
    return (uint32_t)(hash_spread(hash) >> 32) & (m->capacity - 1);
}

static void put(struct map *m, uint64_t hash, uint32_t value) {
    uint32_t at = home(m, hash);
    while (m->entries[at].used) at = (at + 1) & (m->capacity - 1);
    m->entries[at] = (struct map_entry){ hash, value, 1 };
}

static enum err grow(struct map *m, uint32_t capacity) {
    struct map old = *m;
    struct map_entry *entries = mem_array(capacity, sizeof(*entries));
    if (!entries) return ERR_MEMORY;
    m->entries = entries;
    m->capacity = capacity;
    for (uint32_t i = 0; i < old.capacity; i++)
        if (old.entries[i].used) put(m, old.entries[i].hash, old.entries[i].value);
    mem_free(old.entries);
    return ERR_OK;
}

/* At most 3/4 full. */
static bool has_room(uint32_t capacity, uint32_t count) {
    return (uint64_t)count * 4 <= (uint64_t)capacity * 3;
}

void map_reserve(struct map *m, uint32_t count) {
    uint32_t capacity = m->capacity ? m->capacity : CAPACITY_MIN;
    if (count > m->max) count = m->max;
    while (!has_room(capacity, count)) capacity *= 2;
    if (capacity > m->capacity) (void)grow(m, capacity); /* else it grows when it must */
}

enum err map_add(struct map *m, uint64_t hash, uint32_t value) {
    if (m->count >= m->max) return ERR_FULL;
    if (!has_room(m->capacity, m->count + 1)) {
        enum err e = grow(m, m->capacity ? m->capacity * 2 : CAPACITY_MIN);
        if (e != ERR_OK) return e;
    }
    put(m, hash, value);
    m->count++;
    return ERR_OK;
}

/* Close the gap: whatever stands behind it and would still be found from the gap moves up. */
static void close_gap(struct map *m, uint32_t gap) {
    uint32_t mask = m->capacity - 1;
    for (uint32_t at = (gap + 1) & mask; m->entries[at].used; at = (at + 1) & mask) {
        uint32_t from_home = (at - home(m, m->entries[at].hash)) & mask;
        if (from_home < ((at - gap) & mask)) continue;
        m->entries[gap] = m->entries[at];
        gap = at;
    }
    m->entries[gap].used = 0;
}

bool map_remove(struct map *m, uint64_t hash, uint32_t value) {
    if (m->capacity == 0) return false;
    uint32_t mask = m->capacity - 1;
    for (uint32_t at = home(m, hash); m->entries[at].used; at = (at + 1) & mask) {
        if (m->entries[at].hash != hash || m->entries[at].value != value) continue;
        close_gap(m, at);
        m->count--;
        return true;
    }
    return false;
}

struct map_iter map_find(const struct map *m, uint64_t hash) {
    struct map_iter it = { .hash = hash, .left = m->capacity };
    if (m->capacity) it.at = home(m, hash);
    return it;
}

void map_prefetch(const struct map *m, uint64_t hash) {
    if (m->capacity) __builtin_prefetch(&m->entries[home(m, hash)], 1);
}

bool map_next(const struct map *m, struct map_iter *it, uint32_t *value) {
    while (it->left > 0) {
        const struct map_entry *e = &m->entries[it->at];
        if (!e->used) break;
        it->at = (it->at + 1) & (m->capacity - 1);
        it->left--;
        if (e->hash == it->hash) {
            *value = e->value;
            return true;
        }
    }
    it->left = 0;
    return false;
}
