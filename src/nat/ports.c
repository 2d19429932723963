#include "nat/ports.h"

#include "base/hash.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include <stdatomic.h>

#define PORT_COUNT 65536u
#define GEN_BITS   32u

struct account_use {
    uint32_t account_id, count;
};

struct ports {
    struct ports_config config;
    _Atomic uint64_t *owners[2]; /* worker + 1 : slot (24 bits) : generation; 0: free */
    struct lock lock;
    struct pool uses; /* struct account_use */
    struct map by_account;
    struct reservation reserved[PORTS_RESERVED_MAX];
    unsigned reserved_count;
};

static unsigned row_of(uint8_t family) {
    return family == ADDR_V6;
}

struct ports *ports_new(const struct ports_config *config) {
    ASSERT(config->first <= config->last && config->first > 0);
    struct ports *p = mem_zalloc(sizeof *p);
    if (!p) return NULL;
    p->config = *config;
    lock_init(&p->lock);
    pool_init(&p->uses, sizeof(struct account_use), config->accounts_max);
    map_init(&p->by_account, config->accounts_max);
    for (unsigned i = 0; i < 2; i++)
        if (config->relay[i].family &&
            !(p->owners[i] = mem_array(PORT_COUNT, sizeof *p->owners[i]))) {
            ports_free(p);
            return NULL;
        }
    return p;
}

void ports_free(struct ports *p) {
    if (!p) return;
    pool_fini(&p->uses);
    map_fini(&p->by_account);
    mem_free((void *)p->owners[0]);
    mem_free((void *)p->owners[1]);
    lock_fini(&p->lock);
    mem_free(p);
}

const struct addr *ports_relay(const struct ports *p, uint8_t family) {
    return &p->config.relay[row_of(family)];
}

/* ---- ports ---- */

static uint64_t word_of(const struct port_owner *o) {
    return (uint64_t)(o->worker + 1u) << 56 | (uint64_t)(o->allocation.slot & 0xffffffu) << 32 |
           o->allocation.gen;
}

enum err ports_claim_one(struct ports *p, uint8_t family, uint16_t port,
                         const struct port_owner *owner) {
    _Atomic uint64_t *row = p->owners[row_of(family)];
    uint64_t none = 0;
    if (!row || port < p->config.first || port > p->config.last) return ERR_FULL;
    return atomic_compare_exchange_strong(&row[port], &none, word_of(owner)) ? ERR_OK : ERR_FULL;
}

enum err ports_claim(struct ports *p, uint8_t family, bool even, const struct port_owner *owner,
                     struct rng *rng, uint16_t *out) {
    uint32_t first = p->config.first, count = (uint32_t)p->config.last - first + 1;
    uint32_t at = (uint32_t)(rng_u64(rng) % count);
    for (uint32_t i = 0; i < count; i++, at = at + 1 == count ? 0 : at + 1) {
        uint16_t port = (uint16_t)(first + at);
        if ((even && port % 2) || ports_claim_one(p, family, port, owner) != ERR_OK) continue;
        *out = port;
        return ERR_OK;
    }
    return ERR_FULL;
}

void ports_release(struct ports *p, uint8_t family, uint16_t port) {
    atomic_store(&p->owners[row_of(family)][port], 0);
}

void ports_set_owner(struct ports *p, uint8_t family, uint16_t port, const struct port_owner *o) {
    atomic_store(&p->owners[row_of(family)][port], word_of(o));
}

bool ports_owner(const struct ports *p, const struct addr *a, struct port_owner *out) {
    unsigned row = row_of(a->family);
    if (!p->owners[row] || !addr_ip_eq(a, &p->config.relay[row])) return false;
    uint64_t word = atomic_load_explicit(&p->owners[row][a->port], memory_order_relaxed);
    if (!word) return false;
    out->worker = (uint8_t)((word >> 56) - 1);
    out->allocation = (pool_id){ (uint32_t)(word >> GEN_BITS) & 0xffffffu, (uint32_t)word };
    return true;
}

/* ---- accounts ---- */

static struct account_use *use_find(struct ports *p, uint32_t account_id, pool_id *out) {
    struct map_iter it = map_find(&p->by_account, hash_spread(account_id));
    for (uint32_t slot; map_next(&p->by_account, &it, &slot);) {
        struct account_use *u = pool_at(&p->uses, slot, out);
        if (u && u->account_id == account_id) return u;
    }
    return NULL;
}

static enum err use_new(struct ports *p, uint32_t account_id) {
    pool_id id;
    struct account_use *u = pool_new(&p->uses, &id);
    if (!u) return ERR_MEMORY;
    *u = (struct account_use){ account_id, 1 };
    enum err err = map_add(&p->by_account, hash_spread(account_id), id.slot);
    if (err != ERR_OK) pool_free(&p->uses, id);
    return err;
}

enum err ports_account_take(struct ports *p, uint32_t account_id) {
    pool_id id;
    enum err err = ERR_OK;
    lock_take(&p->lock);
    struct account_use *u = use_find(p, account_id, &id);
    if (!u)
        err = p->config.per_account ? use_new(p, account_id) : ERR_FULL;
    else if (u->count >= p->config.per_account)
        err = ERR_FULL;
    else
        u->count++;
    lock_give(&p->lock);
    return err;
}

void ports_account_give(struct ports *p, uint32_t account_id) {
    pool_id id;
    lock_take(&p->lock);
    struct account_use *u = use_find(p, account_id, &id);
    ASSERT(u && u->count);
    if (--u->count == 0) {
        map_remove(&p->by_account, hash_spread(account_id), id.slot);
        pool_free(&p->uses, id);
    }
    lock_give(&p->lock);
}

unsigned ports_account_count(struct ports *p, uint32_t account_id) {
    pool_id id;
    lock_take(&p->lock);
    const struct account_use *u = use_find(p, account_id, &id);
    unsigned count = u ? u->count : 0;
    lock_give(&p->lock);
    return count;
}

/* ---- reservations ---- */

enum err ports_reserve(struct ports *p, struct reservation *r, struct rng *rng, mono_t now) {
    rng_bytes(rng, r->token, sizeof r->token);
    r->until = now + PORTS_RESERVATION_MS;
    lock_take(&p->lock);
    bool has_room = p->reserved_count < PORTS_RESERVED_MAX;
    if (has_room) p->reserved[p->reserved_count++] = *r;
    lock_give(&p->lock);
    return has_room ? ERR_OK : ERR_FULL;
}

static void reserved_take(struct ports *p, unsigned i, struct reservation *out) {
    *out = p->reserved[i];
    p->reserved[i] = p->reserved[--p->reserved_count];
}

enum err ports_redeem(struct ports *p, const uint8_t token[static 8], uint32_t account_id,
                      mono_t now, struct reservation *out) {
    enum err err = ERR_MISSING;
    lock_take(&p->lock);
    for (unsigned i = 0; i < p->reserved_count; i++) {
        const struct reservation *r = &p->reserved[i];
        if (r->account_id != account_id || r->until <= now || !crypto_equal(r->token, token, 8))
            continue;
        reserved_take(p, i, out);
        err = ERR_OK;
        break;
    }
    lock_give(&p->lock);
    return err;
}

bool ports_expired(struct ports *p, mono_t now, struct reservation *out) {
    bool is_found = false;
    lock_take(&p->lock);
    for (unsigned i = 0; i < p->reserved_count && !is_found; i++)
        if (p->reserved[i].until <= now) {
            reserved_take(p, i, out);
            is_found = true;
        }
    lock_give(&p->lock);
    if (is_found) ports_release(p, out->relayed.family, out->relayed.port);
    return is_found;
}
