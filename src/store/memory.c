/* The store of the tests: everything a disk would keep, in four chained hash tables.
 *
 * A commit first takes all the memory it may need, then applies; so it is all or nothing by
 * construction: applying cannot fail. Memory: unbounded but by what is put in; not for the daemon.
 */
#include "base/hash.h"
#include "base/mem.h"
#include "store/store.h"

struct row {
    struct row *next;
    struct store_change *change;
};
struct table {
    struct row **buckets; /* count is a power of two */
    size_t bucket_count, count;
};
enum { T_ACCOUNT, T_DEVICE, T_BINDING, T_VALUE, T_COUNT };

#define BUCKETS_FIRST 64

struct memory_store {
    struct store base;
    struct table tables[T_COUNT];
    int64_t fail_in; /* commits until they fail; < 0: never */
    const char *trouble;
};

static const struct hash_key hash_key = { 1, 2 }; /* nobody attacks a test */

static int table_of(enum store_op op) {
    switch (op) {
    case STORE_ACCOUNT_PUT:
    case STORE_ACCOUNT_REMOVE:
        return T_ACCOUNT;
    case STORE_DEVICE_PUT:
    case STORE_DEVICE_REMOVE:
        return T_DEVICE;
    case STORE_BINDING_PUT:
    case STORE_BINDING_REFRESH:
    case STORE_BINDING_REMOVE:
        return T_BINDING;
    case STORE_VALUE_PUT:
        break;
    }
    return T_VALUE;
}

static uint64_t key_hash(const struct store_change *c) {
    int table = table_of(c->op);
    if (table == T_VALUE) return siphash_slice(&hash_key, c->value.name);
    uint64_t key = table == T_ACCOUNT ? c->account.id : c->device.id;
    if (table == T_BINDING) key = (uint64_t)c->binding.account_id << 32 | c->binding.bid;
    return siphash(&hash_key, &key, sizeof key);
}

static bool same_key(int table, const struct store_change *a, const struct store_change *b) {
    if (table == T_ACCOUNT) return a->account.id == b->account.id;
    if (table == T_DEVICE) return a->device.id == b->device.id;
    if (table == T_VALUE) return slice_eq(a->value.name, b->value.name);
    return a->binding.account_id == b->binding.account_id && a->binding.bid == b->binding.bid;
}

/* Where the row of this key hangs, or the empty end of its chain. */
static struct row **find(struct memory_store *m, const struct store_change *key) {
    int which = table_of(key->op);
    struct table *t = &m->tables[which];
    struct row **at = &t->buckets[key_hash(key) & (t->bucket_count - 1)];
    while (*at && !same_key(which, (*at)->change, key)) at = &(*at)->next;
    return at;
}

static void row_drop(struct table *t, struct row **at) {
    struct row *gone = *at;
    *at = gone->next;
    t->count--;
    mem_free(gone->change);
    mem_free(gone);
}

/* Fewer buckets than wished is slow, not wrong: a failed growth is forgotten. */
static void table_grow(struct table *t) {
    if (t->count < t->bucket_count) return;
    size_t count = t->bucket_count * 2;
    struct row **buckets = mem_array(count, sizeof(struct row *));
    if (!buckets) return;
    for (size_t i = 0; i < t->bucket_count; i++) {
        for (struct row *r = t->buckets[i], *next; r; r = next) {
            next = r->next;
            struct row **to = &buckets[key_hash(r->change) & (count - 1)];
            r->next = *to;
            *to = r;
        }
    }
    mem_free(t->buckets);
    t->buckets = buckets;
    t->bucket_count = count;
}

static bool account_exists(struct memory_store *m, uint32_t id) {
    struct store_change key = { .op = STORE_ACCOUNT_REMOVE, .account = { .id = id } };
    return *find(m, &key) != NULL;
}

static void drop_of_account(struct memory_store *m, int which, uint32_t id) {
    struct table *t = &m->tables[which];
    for (size_t i = 0; i < t->bucket_count; i++) {
        for (struct row **at = &t->buckets[i]; *at;) {
            const struct store_change *c = (*at)->change;
            uint32_t owner = which == T_DEVICE ? c->device.account_id : c->binding.account_id;
            if (owner == id) {
                row_drop(t, at);
            } else {
                at = &(*at)->next;
            }
        }
    }
}

static bool is_stone(const struct row *r) {
    return r->change->op == STORE_BINDING_REMOVE;
}

/* Does this change leave a row behind? A removed binding leaves a stone with its number, so that an
 * older change which comes later finds it. */
static bool is_put(struct memory_store *m, const struct store_change *c, const struct row *before) {
    switch (c->op) {
    case STORE_ACCOUNT_PUT:
    case STORE_VALUE_PUT:
        return true;
    case STORE_DEVICE_PUT:
        return account_exists(m, c->device.account_id);
    case STORE_BINDING_PUT:
    case STORE_BINDING_REMOVE:
        return account_exists(m, c->binding.account_id) &&
               (!before || before->change->binding.change <= c->binding.change);
    case STORE_BINDING_REFRESH:
    case STORE_ACCOUNT_REMOVE:
    case STORE_DEVICE_REMOVE:
        break;
    }
    return false;
}

static void refresh(struct row *r, const struct binding_row *by) {
    struct binding_row *row = &r->change->binding;
    if (is_stone(r) || row->change > by->change) return;
    row->cseq = by->cseq;
    row->registered = by->registered;
    row->expires = by->expires;
    row->change = by->change;
}

/* Takes `fresh` over: it is in the table or freed afterwards. */
static void apply(struct memory_store *m, struct row *fresh) {
    struct store_change *c = fresh->change;
    struct table *t = &m->tables[table_of(c->op)];
    struct row **at = find(m, c);
    bool put = is_put(m, c, *at);
    if (put && *at) {
        mem_free((*at)->change);
        (*at)->change = c;
        mem_free(fresh);
        return;
    }
    if (put) {
        fresh->next = NULL;
        *at = fresh;
        t->count++;
        table_grow(t);
        return;
    }
    if (c->op == STORE_BINDING_REFRESH && *at) refresh(*at, &c->binding);
    bool removes = c->op == STORE_ACCOUNT_REMOVE || c->op == STORE_DEVICE_REMOVE;
    if (removes && *at) row_drop(t, at);
    if (c->op == STORE_ACCOUNT_REMOVE) {
        drop_of_account(m, T_DEVICE, c->account.id);
        drop_of_account(m, T_BINDING, c->account.id);
    }
    mem_free(c);
    mem_free(fresh);
}

static enum err memory_commit(struct store *s, const struct store_change *changes, size_t count) {
    struct memory_store *m = (struct memory_store *)(void *)s;
    if (m->fail_in == 0) {
        m->trouble = "no space left on device (a test asked for this)";
        return ERR_STORE;
    }
    if (m->fail_in > 0) m->fail_in--;
    struct row *first = NULL, **end = &first;
    for (size_t i = 0; i < count; i++) {
        struct row *r = mem_zalloc(sizeof(*r));
        struct store_change *copy = r ? store_change_copy(&changes[i]) : NULL;
        if (!copy) {
            mem_free(r);
            for (struct row *next; first; first = next) {
                next = first->next;
                mem_free(first->change);
                mem_free(first);
            }
            m->trouble = "memory is short";
            return ERR_MEMORY;
        }
        r->change = copy;
        *end = r;
        end = &r->next;
    }
    for (struct row *r = first, *next; r; r = next) {
        next = r->next;
        apply(m, r);
    }
    return ERR_OK;
}

static enum err load_one(const struct store_reader *reader, int which,
                         const struct store_change *c) {
    if (which == T_ACCOUNT && reader->on_account)
        return reader->on_account(reader->ctx, &c->account);
    if (which == T_DEVICE && reader->on_device) return reader->on_device(reader->ctx, &c->device);
    if (c->op == STORE_BINDING_REMOVE) return ERR_OK; /* its stone */
    if (which == T_BINDING && reader->on_binding)
        return reader->on_binding(reader->ctx, &c->binding);
    return ERR_OK;
}

static enum err memory_load(struct store *s, const struct store_reader *reader) {
    struct memory_store *m = (struct memory_store *)(void *)s;
    for (int which = T_ACCOUNT; which <= T_BINDING; which++) {
        const struct table *t = &m->tables[which];
        for (size_t i = 0; i < t->bucket_count; i++) {
            for (const struct row *r = t->buckets[i]; r; r = r->next) {
                enum err e = load_one(reader, which, r->change);
                if (e) return e;
            }
        }
    }
    return ERR_OK;
}

static enum err memory_value(struct store *s, slice name, void *dst, size_t dst_len,
                             size_t *out_len) {
    struct memory_store *m = (struct memory_store *)(void *)s;
    struct store_change key = { .op = STORE_VALUE_PUT, .value = { .name = name } };
    const struct row *r = *find(m, &key);
    if (!r) return ERR_MISSING;
    slice value = r->change->value.value;
    if (value.len > dst_len) return ERR_LIMIT;
    if (value.len) memcpy(dst, value.ptr, value.len);
    *out_len = value.len;
    return ERR_OK;
}

static const char *memory_trouble(struct store *s) {
    return ((struct memory_store *)(void *)s)->trouble;
}

static void memory_close(struct store *s) {
    struct memory_store *m = (struct memory_store *)(void *)s;
    for (int which = 0; which < T_COUNT; which++) {
        struct table *t = &m->tables[which];
        for (size_t i = 0; i < t->bucket_count; i++)
            while (t->buckets && t->buckets[i]) row_drop(t, &t->buckets[i]);
        mem_free(t->buckets);
    }
    mem_free(m);
}

static const struct store_vtable memory_vtable = { memory_load, memory_commit, memory_value,
                                                   memory_trouble, memory_close };

struct store *store_memory_new(void) {
    struct memory_store *m = mem_zalloc(sizeof(*m));
    if (!m) return NULL;
    m->base.vt = &memory_vtable;
    m->fail_in = -1;
    m->trouble = "";
    for (int which = 0; which < T_COUNT; which++) {
        m->tables[which].buckets = mem_array(BUCKETS_FIRST, sizeof(struct row *));
        if (!m->tables[which].buckets) {
            memory_close(&m->base);
            return NULL;
        }
        m->tables[which].bucket_count = BUCKETS_FIRST;
    }
    return &m->base;
}

void store_memory_fail(struct store *s, int64_t nth) {
    struct memory_store *m = (struct memory_store *)(void *)s;
    m->fail_in = nth;
    if (nth < 0) m->trouble = "";
}
