#include "proxy/dialogs.h"

#include "base/lock.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/pool.h"

#define DIALOG_SHARDS  64u
#define DIALOG_STRINGS 7u /* call_id, and party, target, recorded of two legs */

struct record {
    uint64_t key;
    mono_t seen;
    mono_t gone_at;       /* since when neither side can be reached; MONO_NEVER: one can */
    struct dialog dialog; /* its slices point into `text` */
    char *text;
};
struct dialog_shard {
    struct lock lock;
    struct pool records; /* of struct record */
    struct map map;
    uint32_t sweep_at;
};
struct dialogs {
    struct hash_key key;
    dialogs_ended *ended;
    void *ended_ctx;
    struct dialog_shard shards[DIALOG_SHARDS];
};

struct dialogs *dialogs_new(uint32_t max, const struct hash_key *key, dialogs_ended *ended,
                            void *ctx) {
    struct dialogs *d = mem_zalloc(sizeof *d);
    if (!d) return NULL;
    uint32_t each = max / DIALOG_SHARDS + 1;
    d->key = *key;
    d->ended = ended;
    d->ended_ctx = ctx;
    for (unsigned i = 0; i < DIALOG_SHARDS; i++) {
        lock_init(&d->shards[i].lock);
        pool_init(&d->shards[i].records, sizeof(struct record), each);
        map_init(&d->shards[i].map, each);
    }
    return d;
}

void dialogs_free(struct dialogs *d) {
    if (!d) return;
    for (unsigned i = 0; i < DIALOG_SHARDS; i++) {
        struct dialog_shard *s = &d->shards[i];
        uint32_t at = 0;
        pool_id id;
        for (struct record *r; (r = pool_each(&s->records, &at, &id));) mem_free(r->text);
        pool_fini(&s->records);
        map_fini(&s->map);
        lock_fini(&s->lock);
    }
    mem_free(d);
}

uint32_t dialogs_count(const struct dialogs *d) {
    uint32_t n = 0;
    for (unsigned i = 0; i < DIALOG_SHARDS; i++) n += d->shards[i].records.used; /* a reading */
    return n;
}

uint64_t dialogs_key(const struct dialogs *d, uint64_t call_hash, slice callee_tag) {
    struct hash_key k = { d->key.k0 ^ call_hash, d->key.k1 };
    return siphash_slice(&k, callee_tag);
}

static struct dialog_shard *dialog_shard(struct dialogs *d, uint64_t key) {
    return &d->shards[key % DIALOG_SHARDS];
}

/* The map's values are slots; generations are not needed under the lock. */
static struct record *dialog_find(struct dialog_shard *s, uint64_t key, pool_id *out) {
    struct map_iter it = map_find(&s->map, key);
    for (uint32_t slot; map_next(&s->map, &it, &slot);) {
        struct record *r = pool_at(&s->records, slot, out);
        if (r && r->key == key) return r;
    }
    return NULL;
}

static void dialog_strings(struct dialog *dialog, slice *out[DIALOG_STRINGS]) {
    unsigned n = 0;
    out[n++] = &dialog->call_id;
    for (unsigned i = 0; i < 2; i++) {
        out[n++] = &dialog->leg[i].party;
        out[n++] = &dialog->leg[i].target;
        out[n++] = &dialog->leg[i].recorded;
    }
}

static size_t dialog_text_len(struct dialog *dialog) {
    slice *s[DIALOG_STRINGS];
    size_t len = 1; /* never an allocation of nothing */
    dialog_strings(dialog, s);
    for (unsigned i = 0; i < DIALOG_STRINGS; i++) len += s[i]->len;
    return len;
}

/* Moves every string of `dialog` into `text`, which has dialog_text_len bytes. */
static void dialog_move_text(struct dialog *dialog, char *text) {
    slice *s[DIALOG_STRINGS];
    dialog_strings(dialog, s);
    for (unsigned i = 0; i < DIALOG_STRINGS; i++) {
        if (s[i]->len) memcpy(text, s[i]->ptr, s[i]->len);
        s[i]->ptr = text;
        text += s[i]->len;
    }
}

/* Gives the record this content in a block of its own; the old block goes. */
static enum err record_set(struct record *r, const struct dialog *dialog) {
    struct dialog copy = *dialog;
    char *text = mem_alloc(dialog_text_len(&copy));
    if (!text) return ERR_MEMORY;
    dialog_move_text(&copy, text);
    mem_free(r->text);
    r->text = text;
    r->dialog = copy;
    return ERR_OK;
}

static void record_drop(const struct dialogs *d, struct dialog_shard *s, struct record *r,
                        pool_id id) {
    if (d->ended && !r->dialog.is_early) d->ended(d->ended_ctx, r->dialog.leg);
    map_remove(&s->map, r->key, id.slot);
    mem_free(r->text);
    r->text = NULL;
    pool_free(&s->records, id);
}

static enum err dialog_insert(struct dialog_shard *s, uint64_t key, const struct dialog *dialog,
                              mono_t now) {
    pool_id id;
    struct record *r = dialog_find(s, key, &id);
    if (r) {
        r->seen = now;
        return record_set(r, dialog);
    }
    r = pool_new(&s->records, &id);
    if (!r) return ERR_FULL;
    enum err err = record_set(r, dialog);
    if (err == ERR_OK) err = map_add(&s->map, key, id.slot);
    if (err != ERR_OK) {
        mem_free(r->text);
        r->text = NULL;
        pool_free(&s->records, id);
        return err;
    }
    r->key = key;
    r->seen = now;
    r->gone_at = MONO_NEVER;
    return ERR_OK;
}

enum err dialogs_put(struct dialogs *d, uint64_t key, const struct dialog *dialog, mono_t now) {
    struct dialog_shard *s = dialog_shard(d, key);
    lock_take(&s->lock);
    enum err err = dialog_insert(s, key, dialog, now);
    lock_give(&s->lock);
    return err;
}

enum err dialogs_get(struct dialogs *d, uint64_t key, struct arena *arena, struct dialog *out) {
    struct dialog_shard *s = dialog_shard(d, key);
    enum err err = ERR_MISSING;
    pool_id id;
    lock_take(&s->lock);
    struct record *r = dialog_find(s, key, &id);
    if (r) {
        char *text = arena_alloc(arena, dialog_text_len(&r->dialog));
        err = text ? ERR_OK : ERR_MEMORY;
        if (text) {
            *out = r->dialog;
            dialog_move_text(out, text);
        }
    }
    lock_give(&s->lock);
    return err;
}

bool dialogs_has(struct dialogs *d, uint64_t key) {
    struct dialog_shard *s = dialog_shard(d, key);
    pool_id id;
    lock_take(&s->lock);
    bool has = dialog_find(s, key, &id) != NULL;
    lock_give(&s->lock);
    return has;
}

void dialogs_seen(struct dialogs *d, uint64_t key, enum dialog_side from, uint32_t cseq,
                  slice target, mono_t now) {
    struct dialog_shard *s = dialog_shard(d, key);
    pool_id id;
    lock_take(&s->lock);
    struct record *r = dialog_find(s, key, &id);
    if (r) {
        struct dialog_leg *leg = &r->dialog.leg[from];
        r->seen = now;
        if (cseq > leg->cseq) leg->cseq = cseq;
        if (target.len && !slice_eq(target, leg->target)) {
            struct dialog changed = r->dialog;
            changed.leg[from].target = target;
            (void)record_set(r, &changed); /* short of memory: the old target is still a target */
        }
    }
    lock_give(&s->lock);
}

void dialogs_confirm(struct dialogs *d, uint64_t key, mono_t now) {
    struct dialog_shard *s = dialog_shard(d, key);
    pool_id id;
    lock_take(&s->lock);
    struct record *r = dialog_find(s, key, &id);
    if (r) {
        r->dialog.is_early = false;
        r->seen = now;
    }
    lock_give(&s->lock);
}

void dialogs_remove(struct dialogs *d, uint64_t key) {
    struct dialog_shard *s = dialog_shard(d, key);
    pool_id id;
    lock_take(&s->lock);
    struct record *r = dialog_find(s, key, &id);
    if (r) record_drop(d, s, r, id);
    lock_give(&s->lock);
}

static bool record_is_over(struct record *r, const struct dialogs_sweep *sweep) {
    const struct dialog_leg *leg = r->dialog.leg;
    if (sweep->now - r->seen >= sweep->silence_ms) return true;
    if (sweep->lives(sweep->ctx, &leg[0]) || sweep->lives(sweep->ctx, &leg[1])) {
        r->gone_at = MONO_NEVER;
        return false;
    }
    if (r->gone_at == MONO_NEVER) r->gone_at = sweep->now;
    return sweep->now - r->gone_at >= sweep->gone_ms;
}

unsigned dialogs_sweep(struct dialogs *d, const struct dialogs_sweep *sweep) {
    unsigned dropped = 0;
    for (unsigned i = 0; i < DIALOG_SHARDS; i++) {
        struct dialog_shard *s = &d->shards[i];
        unsigned left = sweep->budget / DIALOG_SHARDS + 1;
        lock_take(&s->lock);
        while (left--) {
            pool_id id;
            struct record *r = pool_each(&s->records, &s->sweep_at, &id);
            if (!r) {
                s->sweep_at = 0;
                break;
            }
            if (!record_is_over(r, sweep)) continue;
            record_drop(d, s, r, id);
            dropped++;
        }
        lock_give(&s->lock);
    }
    return dropped;
}
