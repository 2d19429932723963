#include "registrar/location.h"

#include "base/mem.h"
#include "registrar/table.h"
#include "sip/uri.h"

#define SLOTS_FIRST 16u

/* ---- entries ---- */

slice entry_text(const struct entry *e, enum entry_text which) {
    size_t at = 0;
    for (int i = 0; i < (int)which; i++) at += e->len[i];
    return slice_of(e->text + at, e->len[which]);
}

void entry_row(const struct entry *e, struct binding_row *out) {
    *out = (struct binding_row){
        .account_id = e->account_id,
        .bid = e->bid,
        .flow = e->flow,
        .run = e->run,
        .device_id = e->device_id,
        .reg_id = e->reg_id,
        .cseq = e->cseq,
        .q = e->q,
        .gruu_epoch = e->gruu_epoch,
        .change = e->change,
        .contact = entry_text(e, TEXT_CONTACT),
        .params = entry_text(e, TEXT_PARAMS),
        .instance = entry_text(e, TEXT_INSTANCE),
        .call_id = entry_text(e, TEXT_CALL_ID),
        .path = entry_text(e, TEXT_PATH),
        .user_agent = entry_text(e, TEXT_USER_AGENT),
        .registered = e->registered,
        .expires = e->expires,
    };
}

/* One of bindings_max, taken before the memory is. */
static bool take_room(struct location *l) {
    uint32_t used = atomic_load_explicit(&l->used, memory_order_relaxed);
    do {
        if (used >= l->max) return false;
    } while (!atomic_compare_exchange_weak_explicit(&l->used, &used, used + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static bool is_routable(slice contact) {
    return slice_istarts(contact, SLICE("sip:")) || slice_istarts(contact, SLICE("sips:"));
}

uint64_t location_instance_hash(const struct location *l, slice instance) {
    if (!instance.len) return 0;
    uint64_t hash = siphash_fold(&l->key, instance);
    return hash ? hash : 1;
}

struct entry *entry_new(struct location *l, const struct binding_row *row, enum err *out_err) {
    const slice texts[TEXT_COUNT] = { row->contact, row->params, row->instance,
                                      row->call_id, row->path,   row->user_agent };
    size_t total = 0;
    *out_err = ERR_LIMIT;
    for (int i = 0; i < TEXT_COUNT; i++) {
        if (texts[i].len > ENTRY_TEXT_MAX) return NULL;
        total += texts[i].len;
    }
    *out_err = ERR_FULL;
    if (!take_room(l)) return NULL;
    struct entry *e = mem_alloc(sizeof *e + total);
    if (!e) {
        atomic_fetch_sub_explicit(&l->used, 1, memory_order_relaxed);
        *out_err = ERR_MEMORY;
        return NULL;
    }
    *e = (struct entry){
        .flow = row->run == l->run ? row->flow : FLOW_NONE,
        .instance_hash = location_instance_hash(l, row->instance),
        .registered = row->registered,
        .expires = row->expires,
        .account_id = row->account_id,
        .bid = row->bid,
        .run = row->run,
        .device_id = row->device_id,
        .reg_id = row->reg_id,
        .cseq = row->cseq,
        .gruu_epoch = row->gruu_epoch,
        .change = row->change,
        .q = row->q,
        .routable = is_routable(row->contact),
    };
    char *at = e->text;
    for (int i = 0; i < TEXT_COUNT; i++) {
        e->len[i] = (uint16_t)texts[i].len;
        if (texts[i].len) memcpy(at, texts[i].ptr, texts[i].len);
        at += texts[i].len;
    }
    *out_err = ERR_OK;
    return e;
}

void entry_free(struct location *l, struct entry *e) {
    if (!e) return;
    atomic_fetch_sub_explicit(&l->used, 1, memory_order_relaxed);
    mem_free(e);
}

/* ---- slots ---- */

static uint32_t slot_home(const struct shard *s, uint32_t account_id) {
    return (account_hash(account_id) / LOCATION_SHARDS) & s->mask;
}

/* The account's slot, or the free one where it would stand. There is always a free one. */
static uint32_t slot_find(const struct shard *s, uint32_t account_id) {
    uint32_t at = slot_home(s, account_id);
    while (s->slots[at].first && s->slots[at].account_id != account_id) at = (at + 1) & s->mask;
    return at;
}

/* Close the gap, so that every account can still be reached from its home without one. */
static void slot_remove(struct shard *s, uint32_t gap) {
    for (uint32_t at = (gap + 1) & s->mask; s->slots[at].first; at = (at + 1) & s->mask) {
        uint32_t home = slot_home(s, s->slots[at].account_id);
        if (((at - home) & s->mask) < ((at - gap) & s->mask)) continue;
        s->slots[gap] = s->slots[at];
        gap = at;
    }
    s->slots[gap].first = NULL;
    s->count--;
}

struct entry *account_first(const struct shard *s, uint32_t account_id) {
    struct entry *e = s->slots[slot_find(s, account_id)].first;
    if (!e) return NULL;
    __builtin_prefetch(e);
    __builtin_prefetch((const char *)e + 64);
    __builtin_prefetch((const char *)e + 128);
    return e;
}

static bool shard_grow(struct shard *s, uint32_t mask) {
    struct shard bigger = { .mask = mask };
    bigger.slots = mem_array((size_t)bigger.mask + 1, sizeof *bigger.slots);
    if (!bigger.slots) return false;
    for (uint32_t i = 0; i <= s->mask; i++) {
        const struct account_slot *slot = &s->slots[i];
        if (slot->first) bigger.slots[slot_find(&bigger, slot->account_id)] = *slot;
    }
    mem_free(s->slots);
    s->slots = bigger.slots;
    s->mask = bigger.mask;
    return true;
}

/* At most two thirds full. */
static bool has_room(uint32_t mask, uint32_t count) {
    return (uint64_t)count * 3 <= ((uint64_t)mask + 1) * 2;
}

/* It grows at two thirds; when memory is short then it may fill up to the last free slot. */
bool shard_reserve(struct shard *s, uint32_t account_id) {
    if (s->slots[slot_find(s, account_id)].first) return true;
    if (has_room(s->mask, s->count + 1)) return true;
    return shard_grow(s, s->mask * 2 + 1) || s->count < s->mask;
}

void entry_link(struct location *l, struct shard *s, struct entry *e) {
    struct account_slot *slot = &s->slots[slot_find(s, e->account_id)];
    if (!slot->first) s->count++;
    slot->account_id = e->account_id;
    e->next = slot->first;
    slot->first = e;
    if (!e->stone) atomic_fetch_add_explicit(&l->live, 1, memory_order_relaxed);
}

void entry_unlink(struct location *l, struct shard *s, struct entry *e) {
    uint32_t slot = slot_find(s, e->account_id);
    struct entry **at = &s->slots[slot].first;
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    e->next = NULL;
    if (!s->slots[slot].first) slot_remove(s, slot);
    if (!e->stone) atomic_fetch_sub_explicit(&l->live, 1, memory_order_relaxed);
}

void entry_to_stone(struct location *l, struct entry *e, wall_t now) {
    ASSERT(!e->stone);
    e->stone = true;
    e->unsaved = true;
    e->expires = now;
    atomic_fetch_sub_explicit(&l->live, 1, memory_order_relaxed);
}

/* ---- the table ---- */

struct location *location_new(uint32_t bindings_max, const struct hash_key *key, uint32_t run) {
    struct location *l = mem_zalloc(sizeof *l);
    if (!l) return NULL;
    l->key = *key;
    l->run = run;
    atomic_store(&l->changes, (uint64_t)run << 40);
    l->max = bindings_max;
    lock_init(&l->sweep_lock);
    bool short_of_memory = false;
    for (unsigned i = 0; i < LOCATION_SHARDS; i++) {
        struct shard *s = &l->shards[i];
        lock_init(&s->lock);
        s->mask = SLOTS_FIRST - 1;
        s->slots = short_of_memory ? NULL : mem_array(SLOTS_FIRST, sizeof *s->slots);
        if (!s->slots) short_of_memory = true;
    }
    if (!short_of_memory) return l;
    location_free(l);
    return NULL;
}

void location_reserve(struct location *l, uint32_t accounts) {
    uint32_t each = (accounts < l->max ? accounts : l->max) / LOCATION_SHARDS;
    each += each / 16; /* hashes spread evenly, but not exactly */
    for (unsigned i = 0; i < LOCATION_SHARDS; i++) {
        struct shard *s = &l->shards[i];
        lock_take(&s->lock);
        uint32_t mask = s->mask;
        while (!has_room(mask, each)) mask = mask * 2 + 1;
        if (mask > s->mask) (void)shard_grow(s, mask); /* else it grows when it must */
        lock_give(&s->lock);
    }
}

void location_free(struct location *l) {
    if (!l) return;
    for (unsigned i = 0; i < LOCATION_SHARDS; i++) {
        struct shard *s = &l->shards[i];
        for (uint32_t b = 0; s->slots && b <= s->mask; b++) {
            for (struct entry *e = s->slots[b].first, *next; e; e = next) {
                next = e->next;
                mem_free(e);
            }
        }
        mem_free(s->slots);
        lock_fini(&s->lock);
    }
    lock_fini(&l->sweep_lock);
    mem_free(l);
}

enum err location_load(struct location *l, const struct binding_row *row, wall_t now) {
    struct binding_row graced = *row;
    graced.expires += LOCATION_LOAD_GRACE_MS;
    if (graced.expires <= now) return ERR_MISSING;
    struct shard *s = location_shard(l, row->account_id);
    lock_take(&s->lock);
    /* A start loads a million, each into memory far from the last: it comes while we copy. */
    __builtin_prefetch(&s->slots[slot_home(s, row->account_id)], 1);
    enum err err;
    struct entry *e = entry_new(l, &graced, &err);
    bool room = e && shard_reserve(s, row->account_id);
    for (struct entry *old = account_first(s, row->account_id); room && old; old = old->next) {
        if (old->bid != row->bid) continue;
        entry_unlink(l, s, old);
        entry_free(l, old);
        break;
    }
    if (room) {
        e->loaded = true;
        entry_link(l, s, e);
    } else if (e) {
        entry_free(l, e);
        err = ERR_MEMORY;
    }
    lock_give(&s->lock);
    return err;
}

/* ---- look-up ---- */

static enum err binding_copy(const struct entry *e, struct arena *arena, struct binding *out) {
    *out = (struct binding){
        .account_id = e->account_id,
        .bid = e->bid,
        .flow = e->flow,
        .device_id = e->device_id,
        .reg_id = e->reg_id,
        .q = e->q,
        .instance_hash = e->instance_hash,
        .registered = e->registered,
        .expires = e->expires,
    };
    enum err err = arena_copy(arena, entry_text(e, TEXT_CONTACT), &out->contact);
    if (err == ERR_OK) err = arena_copy(arena, entry_text(e, TEXT_PATH), &out->path);
    return err;
}

/* RFC 3261 16.6: the order of trial is by q; among equals the newest is the likeliest to answer. */
static bool is_better(const struct entry *a, const struct entry *b) {
    if (a->q != b->q) return a->q > b->q;
    if (a->registered != b->registered) return a->registered > b->registered;
    return a->bid > b->bid; /* any order, but always the same one */
}

#define FIND_MAX 64u

enum err location_find(struct location *l, uint32_t account_id, wall_t now, struct arena *arena,
                       struct binding *out, unsigned max, unsigned *out_count) {
    const struct entry *best[FIND_MAX];
    unsigned count = 0;
    if (max > FIND_MAX) max = FIND_MAX;
    *out_count = 0;
    struct shard *s = location_shard(l, account_id);
    enum err err = ERR_OK;
    lock_take(&s->lock);
    for (struct entry *e = account_first(s, account_id); e; e = e->next) {
        if (!entry_lives(e, now) || !e->routable) continue;
        unsigned at = count;
        while (at > 0 && is_better(e, best[at - 1])) at--;
        if (at >= max) continue;
        if (count < max) count++;
        memmove(&best[at + 1], &best[at], (count - 1 - at) * sizeof best[0]);
        best[at] = e;
    }
    for (unsigned i = 0; i < count && err == ERR_OK; i++)
        err = binding_copy(best[i], arena, &out[i]);
    lock_give(&s->lock);
    if (err == ERR_OK) *out_count = count;
    return err;
}

enum err location_by_bid(struct location *l, uint32_t account_id, uint32_t bid, wall_t now,
                         struct arena *arena, struct binding *out) {
    struct shard *s = location_shard(l, account_id);
    enum err err = ERR_MISSING;
    lock_take(&s->lock);
    for (struct entry *e = account_first(s, account_id); e; e = e->next) {
        if (e->bid != bid || !entry_lives(e, now) || !e->routable) continue;
        err = binding_copy(e, arena, out);
        break;
    }
    lock_give(&s->lock);
    return err;
}

uint64_t device_epoch(struct entry *first, uint64_t instance_hash, wall_t now) {
    uint64_t epoch = 0;
    for (struct entry *e = first; e; e = e->next)
        if (entry_lives(e, now) && e->instance_hash == instance_hash && e->gruu_epoch > epoch)
            epoch = e->gruu_epoch;
    return epoch;
}

enum err location_device(struct location *l, uint32_t account_id, uint64_t instance_hash,
                         wall_t now, uint64_t *out_epoch) {
    struct shard *s = location_shard(l, account_id);
    lock_take(&s->lock);
    *out_epoch = device_epoch(account_first(s, account_id), instance_hash, now);
    lock_give(&s->lock);
    return *out_epoch ? ERR_OK : ERR_MISSING;
}

uint32_t location_bid_of_flow(struct location *l, uint32_t account_id, flow_id flow, wall_t now) {
    struct shard *s = location_shard(l, account_id);
    uint32_t bid = 0;
    lock_take(&s->lock);
    for (struct entry *e = account_first(s, account_id); e && !bid; e = e->next)
        if (e->flow == flow && entry_lives(e, now) && e->routable) bid = e->bid;
    lock_give(&s->lock);
    return bid;
}

uint32_t location_bid(const struct location *l, uint32_t account_id, slice instance,
                      uint32_t reg_id, slice contact) {
    /* The parts are hashed one by one, so that no text of one can pass for another. */
    const uint64_t parts[4] = { account_id, instance.len ? reg_id : 0, instance.len != 0,
                                instance.len ? siphash_fold(&l->key, instance)
                                             : siphash_slice(&l->key, contact) };
    uint64_t hash = siphash(&l->key, parts, sizeof parts);
    uint32_t bid = (uint32_t)(hash ^ hash >> 32);
    return bid ? bid : 1;
}

/* ---- keeping house ---- */

void location_remove_account(struct location *l, uint32_t account_id) {
    struct shard *s = location_shard(l, account_id);
    lock_take(&s->lock);
    for (struct entry *e = account_first(s, account_id), *next; e; e = next) {
        next = e->next;
        entry_unlink(l, s, e);
        entry_free(l, e);
    }
    lock_give(&s->lock);
}

uint32_t location_count(const struct location *l) {
    return atomic_load_explicit(&l->live, memory_order_relaxed);
}

static bool is_waste(const struct entry *e, wall_t now) {
    return e->expires + (e->stone ? LOCATION_STONE_LIFE_MS : LOCATION_SWEEP_GRACE_MS) <= now;
}

/* Sweep one account; false: `out` is full and the slot must be looked at again. */
static bool sweep_slot(struct location *l, struct shard *s, uint32_t slot, wall_t now,
                       struct store_change *out, unsigned max, unsigned *count, unsigned *looked) {
    for (struct entry *e = s->slots[slot].first, *next; e; e = next) {
        next = e->next;
        ++*looked;
        if (!is_waste(e, now)) continue;
        if (*count == max) return false;
        out[(*count)++] = (struct store_change){
            .op = STORE_BINDING_REMOVE,
            .durability = STORE_LAZY,
            .binding = { .account_id = e->account_id,
                         .bid = e->bid,
                         .change = location_next_change(l) },
        };
        entry_unlink(l, s, e); /* another account may move into the slot: the next pass sees it */
        entry_free(l, e);
    }
    return true;
}

unsigned location_sweep(struct location *l, wall_t now, unsigned budget, struct store_change *out,
                        unsigned max) {
    unsigned count = 0, looked = 0;
    bool room = max > 0;
    lock_take(&l->sweep_lock);
    for (unsigned shards = 0; shards < LOCATION_SHARDS && looked < budget && room; shards++) {
        struct shard *s = &l->shards[l->sweep_shard];
        lock_take(&s->lock);
        while (l->sweep_slot <= s->mask && looked < budget) {
            looked++;
            room = sweep_slot(l, s, l->sweep_slot, now, out, max, &count, &looked);
            if (!room) break;
            l->sweep_slot++;
        }
        if (l->sweep_slot > s->mask) {
            l->sweep_slot = 0;
            l->sweep_shard = (l->sweep_shard + 1) % LOCATION_SHARDS;
        }
        lock_give(&s->lock);
    }
    lock_give(&l->sweep_lock);
    return count;
}

static bool visit_chain(struct entry *e, uint32_t account_id, wall_t now,
                        bool (*visit)(void *ctx, const struct binding_row *row), void *ctx) {
    for (; e; e = e->next) {
        struct binding_row row;
        if (!entry_lives(e, now) || (account_id && e->account_id != account_id)) continue;
        entry_row(e, &row);
        if (!visit(ctx, &row)) return false;
    }
    return true;
}

void location_each(struct location *l, uint32_t account_id, wall_t now,
                   bool (*visit)(void *ctx, const struct binding_row *row), void *ctx) {
    if (account_id) {
        struct shard *s = location_shard(l, account_id);
        lock_take(&s->lock);
        (void)visit_chain(account_first(s, account_id), account_id, now, visit, ctx);
        lock_give(&s->lock);
        return;
    }
    bool on = true;
    for (unsigned i = 0; i < LOCATION_SHARDS && on; i++) {
        struct shard *s = &l->shards[i];
        lock_take(&s->lock);
        for (uint32_t b = 0; b <= s->mask && on; b++)
            on = visit_chain(s->slots[b].first, 0, now, visit, ctx);
        lock_give(&s->lock);
    }
}
