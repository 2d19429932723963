/* Connections with other domains, known to all workers: which flow has proved which domain, and
 * which of them may carry our requests (RFC 5923: the alias table). */
#include "core/node_priv.h"

#include "base/limits.h"
#include "base/mem.h"

struct peer_entry {
    struct peer_row row;
    uint64_t by_domain, by_flow; /* keys of the map */
    pool_id id;
};
struct peer_table {
    struct lock lock;
    struct pool pool;
    struct map map; /* each entry twice: under its domain, and under its flow */
    struct hash_key key;
};

enum err node_peers_new(struct node *n) {
    struct peer_table *t = mem_zalloc(sizeof *t);
    if (!t) return ERR_MEMORY;
    lock_init(&t->lock);
    pool_init(&t->pool, sizeof(struct peer_entry), LIMIT_PEER_ROWS);
    map_init(&t->map, 2 * LIMIT_PEER_ROWS);
    t->key = n->keys.table;
    n->peers = t;
    return ERR_OK;
}

void node_peers_free(struct node *n) {
    if (!n->peers) return;
    pool_fini(&n->peers->pool);
    map_fini(&n->peers->map);
    mem_free(n->peers);
}

uint32_t node_domain_id(struct node *n, slice domain) {
    uint32_t id = (uint32_t)siphash_fold(&n->keys.durable, domain);
    return id ? id : 1;
}

static uint64_t domain_key(const struct peer_table *t, uint32_t domain) {
    return siphash(&t->key, &domain, sizeof domain);
}
static uint64_t flow_key(const struct peer_table *t, flow_id flow) {
    return siphash(&t->key, &flow, sizeof flow);
}

static struct peer_entry *entry_at(const struct peer_table *t, uint32_t slot) {
    pool_id id;
    return pool_each(&t->pool, &slot, &id);
}

enum err node_peer_add(struct node *n, const struct peer_row *row) {
    struct peer_table *t = n->peers;
    pool_id id;
    enum err err = ERR_FULL;
    unsigned count = 0;
    lock_take(&t->lock);
    struct map_iter it = map_find(&t->map, domain_key(t, row->domain));
    for (uint32_t slot; map_next(&t->map, &it, &slot);) count++;
    struct peer_entry *e = count < LIMIT_PEER_FLOWS ? pool_new(&t->pool, &id) : NULL;
    if (e) {
        *e = (struct peer_entry){ *row, domain_key(t, row->domain), flow_key(t, row->flow), id };
        err = map_add(&t->map, e->by_domain, id.slot);
        if (err == ERR_OK) {
            err = map_add(&t->map, e->by_flow, id.slot);
            if (err != ERR_OK) map_remove(&t->map, e->by_domain, id.slot);
        }
        if (err != ERR_OK) pool_free(&t->pool, id);
    }
    lock_give(&t->lock);
    return err;
}

void node_peer_reuse(struct node *n, flow_id flow, uint32_t own, const struct addr *addr) {
    struct peer_table *t = n->peers;
    lock_take(&t->lock);
    struct map_iter it = map_find(&t->map, flow_key(t, flow));
    for (uint32_t slot; map_next(&t->map, &it, &slot);) {
        struct peer_entry *e = entry_at(t, slot);
        if (e->row.flow != flow) continue;
        e->row.own = own;
        e->row.addr = *addr;
    }
    lock_give(&t->lock);
}

static bool remove_one(struct peer_table *t, flow_id flow) {
    struct map_iter it = map_find(&t->map, flow_key(t, flow));
    for (uint32_t slot; map_next(&t->map, &it, &slot);) {
        struct peer_entry *e = entry_at(t, slot);
        if (e->row.flow != flow) continue;
        map_remove(&t->map, e->by_domain, slot);
        map_remove(&t->map, e->by_flow, slot);
        pool_free(&t->pool, e->id);
        return true;
    }
    return false;
}

void node_peer_remove(struct node *n, flow_id flow) {
    struct peer_table *t = n->peers;
    lock_take(&t->lock);
    while (remove_one(t, flow)) {}
    lock_give(&t->lock);
}

static bool is_wanted(struct node *n, const struct peer_row *row, const struct peer_query *q) {
    if (row->domain != q->domain || (q->flow && row->flow != q->flow)) return false;
    if (q->own && row->own != q->own) return false;
    if (q->addr && !addr_eq(&row->addr, q->addr)) return false;
    if (q->is_reusable && row->addr.family == ADDR_NONE) return false;
    return node_flow_lives(n, row->flow);
}

bool node_peer_find(struct node *n, const struct peer_query *q, struct peer_row *out) {
    struct peer_table *t = n->peers;
    bool is_found = false;
    lock_take(&t->lock);
    struct map_iter it = map_find(&t->map, domain_key(t, q->domain));
    for (uint32_t slot; !is_found && map_next(&t->map, &it, &slot);) {
        const struct peer_entry *e = entry_at(t, slot);
        is_found = is_wanted(n, &e->row, q);
        if (is_found) *out = e->row;
    }
    lock_give(&t->lock);
    return is_found;
}
