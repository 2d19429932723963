#include "auth/digest_used.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"

struct used_nonce {
    uint64_t time, salt;
    uint32_t nc;
};
struct digest_used {
    struct lock lock;
    struct hash_key key;
    struct map map; /* to a place in the ring */
    uint32_t max, count, next;
    uint64_t floor; /* the youngest that dropped out */
    struct used_nonce *ring;
};

struct digest_used *digest_used_new(uint32_t max, const struct hash_key *key) {
    ASSERT(max > 0 && max <= 1u << 24);
    struct digest_used *u = mem_zalloc(sizeof(*u));
    struct used_nonce *ring = mem_array(max, sizeof(*ring));
    if (!u || !ring) {
        mem_free(u);
        mem_free(ring);
        return NULL;
    }
    lock_init(&u->lock);
    map_init(&u->map, max);
    u->key = *key;
    u->max = max;
    u->ring = ring;
    return u;
}

void digest_used_free(struct digest_used *u) {
    if (!u) return;
    map_fini(&u->map);
    lock_fini(&u->lock);
    mem_free(u->ring);
    mem_free(u);
}

static uint64_t nonce_hash(const struct digest_used *u, uint64_t time, uint64_t salt) {
    const uint64_t pair[2] = { time, salt };
    return siphash(&u->key, pair, sizeof pair);
}

static struct used_nonce *find(struct digest_used *u, uint64_t hash, uint64_t time, uint64_t salt) {
    struct map_iter it = map_find(&u->map, hash);
    for (uint32_t at; map_next(&u->map, &it, &at);)
        if (u->ring[at].time == time && u->ring[at].salt == salt) return &u->ring[at];
    return NULL;
}

static void drop_oldest(struct digest_used *u) {
    const struct used_nonce *old = &u->ring[u->next];
    bool was = map_remove(&u->map, nonce_hash(u, old->time, old->salt), u->next);
    ASSERT(was);
    if (old->time > u->floor) u->floor = old->time;
    u->count--;
}

static bool take(struct digest_used *u, uint64_t time, uint64_t salt, uint32_t nc) {
    uint64_t hash = nonce_hash(u, time, salt);
    struct used_nonce *known = find(u, hash, time, salt);
    if (known) {
        if (nc <= known->nc) return false;
        known->nc = nc;
        return true;
    }
    if (time <= u->floor) return false;
    if (u->count == u->max) drop_oldest(u);
    if (time <= u->floor) return false;                /* itself older than what just dropped out */
    if (map_add(&u->map, hash, u->next)) return false; /* what is not noted must not count */
    u->ring[u->next] = (struct used_nonce){ time, salt, nc };
    u->next = (u->next + 1) % u->max;
    u->count++;
    return true;
}

bool digest_used_take(struct digest_used *u, uint64_t time, uint64_t salt, uint32_t nc) {
    lock_take(&u->lock);
    bool fresh = take(u, time, salt, nc);
    lock_give(&u->lock);
    return fresh;
}
