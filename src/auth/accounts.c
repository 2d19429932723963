/* Two tables of one make (slots.h): people by id and by each of their names, devices by id, by key
 * and by owner. Writers are serialized by one lock and do in this order: make the new entry, add
 * its index entries, swap it in, take the old index entries out; so a reader finds the account
 * under every name that it had before and still has, at any moment. */
#include "auth/accounts.h"
#include "auth/secret.h"
#include "auth/slots.h"
#include "base/mem.h"
#include "crypto/crypto.h"

#include <stdatomic.h>

enum { BY_ID, BY_NAME, BY_KEY = BY_NAME, BY_OWNER };

#define NAME_MAX         (ACCOUNT_USER_MAX + 1 + ACCOUNT_DOMAIN_MAX)
#define ALIASES_TEXT     (ACCOUNT_ALIASES_MAX * (ACCOUNT_USER_MAX + 1))
#define SEALED_MD5       SECRET_SEALED_MD5_BYTES
#define DEVICES_FACTOR   4u         /* devices per account on average, at most */
#define ACCOUNTS_MAX_MAX (1u << 24) /* far above what one node serves; keeps products in range */

/* Text first, sealed values last: a look-up by name touches the front only. */
struct person {
    uint32_t id, stamp, flags;
    uint16_t user_len, domain_len, aliases_len, display_len, settings_len;
    bool has_sha256, has_sha512_256;
    wall_t created, changed;
    char bytes[]; /* user, domain, aliases, display, settings, sealed values that are there */
};
struct thing { /* a device */
    uint32_t id, account_id;
    uint8_t kind;
    bool revoked, has_md5;
    uint16_t name_len, why_len;
    wall_t created, until;
    uint8_t key_hash[32];
    uint8_t ha1_md5[SEALED_MD5];
    char bytes[]; /* name, why */
};

struct names { /* hashes of all names of one person, the user's first */
    uint64_t hash[ACCOUNT_ALIASES_MAX + 1];
    unsigned count;
};
struct accounts {
    struct slots people, things;
    struct lock writer;
    struct hash_key key;
    const uint8_t *seal_key;
    uint32_t last_id, last_device_id, last_stamp; /* under `writer` */
    /* While the table is loaded: the last one put, which nobody can find yet (accounts_put). */
    struct person *waiting;
    struct names waiting_names;
    /* Opened where there is nothing to open; really sealed, so that the work is the same. */
    uint8_t decoy[STORE_SEALED_HA1_BYTES], decoy_md5[SEALED_MD5];
};

/* ---- the parts of an entry ---- */

static slice person_user(const struct person *p) {
    return slice_of(p->bytes, p->user_len);
}
static slice person_domain(const struct person *p) {
    return slice_of(p->bytes + p->user_len, p->domain_len);
}
static slice person_aliases(const struct person *p) {
    return slice_of(p->bytes + p->user_len + p->domain_len, p->aliases_len);
}
static slice person_display(const struct person *p) {
    return slice_of(p->bytes + p->user_len + p->domain_len + p->aliases_len, p->display_len);
}
static slice person_settings(const struct person *p) {
    return slice_of(person_display(p).ptr + p->display_len, p->settings_len);
}
static slice person_sha256(const struct person *p) {
    const char *at = person_settings(p).ptr + p->settings_len;
    return p->has_sha256 ? slice_of(at, STORE_SEALED_HA1_BYTES) : SLICE_NONE;
}
static slice person_sha512_256(const struct person *p) {
    const char *at = person_settings(p).ptr + p->settings_len;
    if (p->has_sha256) at += STORE_SEALED_HA1_BYTES;
    return p->has_sha512_256 ? slice_of(at, STORE_SEALED_HA1_BYTES) : SLICE_NONE;
}
static struct account person_brief(const struct person *p) {
    return (struct account){ p->id, p->stamp, p->flags, p->settings_len != 0 };
}
static struct device thing_brief(const struct thing *t) {
    return (struct device){ t->id, t->account_id, t->kind, t->revoked, t->until };
}

/* `domain` in any case, the stored one in lower case. */
static bool person_has_name(const struct person *p, slice user, slice domain) {
    if (!slice_ieq(person_domain(p), domain)) return false;
    if (slice_eq(person_user(p), user)) return true;
    slice rest = person_aliases(p), alias;
    while (slice_split(&rest, ',', &alias))
        if (slice_eq(alias, user)) return true;
    return false;
}

/* ---- hashes ---- */

/* False: too long to be anybody's. A domain holds no '@', so the pair reads one way only. */
static bool name_hash(const struct accounts *a, slice user, slice domain, uint64_t *out) {
    if (user.len == 0 || user.len > ACCOUNT_USER_MAX) return false;
    if (domain.len == 0 || domain.len > ACCOUNT_DOMAIN_MAX) return false;
    char text[NAME_MAX];
    memcpy(text, user.ptr, user.len);
    text[user.len] = '@';
    char *to = text + user.len + 1;
    for (size_t i = 0; i < domain.len; i++) {
        char c = domain.ptr[i];
        to[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    *out = siphash(&a->key, text, user.len + 1 + domain.len);
    return true;
}

static void person_names(const struct accounts *a, const struct person *p, struct names *out) {
    out->count = 0;
    bool fits = name_hash(a, person_user(p), person_domain(p), &out->hash[out->count++]);
    ASSERT(fits);
    slice rest = person_aliases(p), alias;
    while (slice_split(&rest, ',', &alias)) {
        fits = out->count <= ACCOUNT_ALIASES_MAX &&
               name_hash(a, alias, person_domain(p), &out->hash[out->count++]);
        ASSERT(fits);
    }
}

/* ---- finding ---- */

/* The person under this id, its shard locked: slots_close(slot) when not NULL. */
static struct person *person_open(struct accounts *a, uint32_t id, uint32_t *out_slot) {
    uint32_t slots[SLOTS_CANDIDATES];
    unsigned n = slots_candidates(&a->people, BY_ID, hash_spread(id), slots, ARRAY_LEN(slots));
    for (unsigned i = 0; i < n; i++) {
        struct person *p = slots_open(&a->people, slots[i]);
        if (p && p->id == id) {
            *out_slot = slots[i];
            return p;
        }
        slots_close(&a->people, slots[i]);
    }
    return NULL;
}

static struct thing *thing_open(struct accounts *a, uint32_t id, uint32_t *out_slot) {
    uint32_t slots[SLOTS_CANDIDATES];
    unsigned n = slots_candidates(&a->things, BY_ID, hash_spread(id), slots, ARRAY_LEN(slots));
    for (unsigned i = 0; i < n; i++) {
        struct thing *t = slots_open(&a->things, slots[i]);
        if (t && t->id == id) {
            *out_slot = slots[i];
            return t;
        }
        slots_close(&a->things, slots[i]);
    }
    return NULL;
}

static enum err find_hashed(struct accounts *a, uint64_t hash, slice user, slice domain,
                            struct account *out) {
    uint32_t slots[SLOTS_CANDIDATES];
    unsigned n = slots_candidates(&a->people, BY_NAME, hash, slots, ARRAY_LEN(slots));
    for (unsigned i = 0; i < n; i++) {
        const struct person *p = slots_open(&a->people, slots[i]);
        bool found = p && person_has_name(p, user, domain);
        if (found) *out = person_brief(p);
        slots_close(&a->people, slots[i]);
        if (found) return ERR_OK;
    }
    return ERR_MISSING;
}

enum err accounts_find(struct accounts *a, slice user, slice domain, struct account *out) {
    uint64_t hash;
    if (!name_hash(a, user, domain, &hash)) return ERR_MISSING;
    return find_hashed(a, hash, user, domain, out);
}

enum err accounts_by_id(struct accounts *a, uint32_t id, struct account *out) {
    uint32_t slot;
    const struct person *p = person_open(a, id, &slot);
    if (!p) return ERR_MISSING;
    *out = person_brief(p);
    slots_close(&a->people, slot);
    return ERR_OK;
}

bool accounts_owns(struct accounts *a, uint32_t id, slice user, slice domain) {
    uint32_t slot;
    const struct person *p = person_open(a, id, &slot);
    if (!p) return false;
    bool owns = person_has_name(p, user, domain.len ? domain : person_domain(p));
    slots_close(&a->people, slot);
    return owns;
}

void accounts_put_aor(struct accounts *a, uint32_t id, struct buf *out) {
    uint32_t slot;
    const struct person *p = person_open(a, id, &slot);
    if (!p) return;
    buf_put(out, person_user(p));
    buf_byte(out, '@');
    buf_put(out, person_domain(p));
    slots_close(&a->people, slot);
}

void accounts_put_display(struct accounts *a, uint32_t id, struct buf *out) {
    uint32_t slot;
    const struct person *p = person_open(a, id, &slot);
    if (!p) return;
    buf_put(out, person_display(p));
    slots_close(&a->people, slot);
}

enum err accounts_settings(struct accounts *a, uint32_t id, char mem[static USER_SETTINGS_MAX],
                           struct user_settings *out) {
    uint32_t slot;
    const struct person *p = person_open(a, id, &slot);
    if (!p) return ERR_MISSING;
    size_t len = p->settings_len;
    memcpy(mem, person_settings(p).ptr, len);
    slots_close(&a->people, slot);
    return len ? user_settings_read(slice_of(mem, len), out) : ERR_MISSING;
}

uint32_t accounts_count(const struct accounts *a) {
    return atomic_load_explicit(&a->people.count, memory_order_relaxed);
}

/* ---- secrets ---- */

/* A copy of the sealed value, taken under the lock; it is opened outside. */
static size_t sealed_copy(struct accounts *a, uint32_t account_id, uint32_t device_id,
                          enum digest_algorithm algorithm,
                          uint8_t out[static STORE_SEALED_HA1_BYTES]) {
    slice sealed = SLICE_NONE;
    uint32_t slot;
    if (algorithm == DIGEST_MD5) {
        const struct thing *t = thing_open(a, device_id, &slot);
        if (!t) return 0;
        if (t->account_id == account_id && t->has_md5) sealed = slice_of(t->ha1_md5, SEALED_MD5);
        if (sealed.len) memcpy(out, sealed.ptr, sealed.len);
        slots_close(&a->things, slot);
        return sealed.len;
    }
    const struct person *p = person_open(a, account_id, &slot);
    if (!p) return 0;
    sealed = algorithm == DIGEST_SHA256 ? person_sha256(p) : person_sha512_256(p);
    if (sealed.len) memcpy(out, sealed.ptr, sealed.len);
    slots_close(&a->people, slot);
    return sealed.len;
}

static const slice decoy_context = { "kith ha1 of nobody, account 0000", 32 };

enum err accounts_ha1(struct accounts *a, uint32_t account_id, uint32_t device_id,
                      enum digest_algorithm algorithm, uint8_t out[static 32]) {
    uint8_t box[STORE_SEALED_HA1_BYTES];
    size_t len = sealed_copy(a, account_id, device_id, algorithm, box);
    bool missing = len == 0;
    char text[SECRET_CONTEXT_MAX];
    slice context = secret_context(algorithm, account_id, device_id, text);
    if (missing) {
        bool md5 = algorithm == DIGEST_MD5;
        len = md5 ? SEALED_MD5 : STORE_SEALED_HA1_BYTES;
        memcpy(box, md5 ? a->decoy_md5 : a->decoy, len);
        context = decoy_context;
    }
    uint8_t opened[32] = { 0 };
    enum err e = crypto_open(a->seal_key, context, box, len, opened);
    ASSERT(!missing || e == ERR_OK);
    if (!missing && e == ERR_OK) memcpy(out, opened, sizeof opened);
    crypto_wipe(opened, sizeof opened);
    return missing ? ERR_MISSING : e;
}

/* ---- devices, reading ---- */

enum err accounts_device_by_key(struct accounts *a, const uint8_t key_hash[static 32],
                                struct device *out) {
    uint32_t slots[SLOTS_CANDIDATES];
    uint64_t hash = siphash(&a->key, key_hash, 32);
    unsigned n = slots_candidates(&a->things, BY_KEY, hash, slots, ARRAY_LEN(slots));
    for (unsigned i = 0; i < n; i++) {
        const struct thing *t = slots_open(&a->things, slots[i]);
        bool found = t && t->kind != DEVICE_LEGACY && memcmp(t->key_hash, key_hash, 32) == 0;
        if (found) *out = thing_brief(t);
        slots_close(&a->things, slots[i]);
        if (found) return ERR_OK;
    }
    return ERR_MISSING;
}

enum err accounts_device(struct accounts *a, uint32_t device_id, struct device *out) {
    uint32_t slot;
    const struct thing *t = thing_open(a, device_id, &slot);
    if (!t) return ERR_MISSING;
    *out = thing_brief(t);
    slots_close(&a->things, slot);
    return ERR_OK;
}

void accounts_put_device_note(struct accounts *a, uint32_t device_id, struct buf *out) {
    uint32_t slot;
    const struct thing *t = thing_open(a, device_id, &slot);
    if (!t) return;
    buf_put(out, slice_of(t->bytes + t->name_len, t->why_len));
    slots_close(&a->things, slot);
}

unsigned accounts_legacy_devices(struct accounts *a, uint32_t account_id, struct device *out,
                                 unsigned max) {
    uint32_t slots[SLOTS_CANDIDATES];
    unsigned n =
        slots_candidates(&a->things, BY_OWNER, hash_spread(account_id), slots, ARRAY_LEN(slots));
    unsigned found = 0;
    for (unsigned i = 0; i < n && found < max; i++) {
        const struct thing *t = slots_open(&a->things, slots[i]);
        if (t && t->kind == DEVICE_LEGACY && t->account_id == account_id)
            out[found++] = thing_brief(t);
        slots_close(&a->things, slots[i]);
    }
    return found;
}

/* ---- people, writing ---- */

static bool sealed_len_ok(slice sealed, size_t full) {
    return sealed.len == 0 || sealed.len == full;
}

/* "100, 101" becomes "100,101". */
static enum err aliases_tidy(slice aliases, struct buf *out) {
    unsigned n = 0;
    slice alias;
    while (slice_split(&aliases, ',', &alias)) {
        alias = slice_trim(alias);
        if (alias.len == 0) continue;
        if (alias.len > ACCOUNT_USER_MAX || ++n > ACCOUNT_ALIASES_MAX) return ERR_LIMIT;
        if (out->len) buf_byte(out, ',');
        buf_put(out, alias);
    }
    return out->full ? ERR_LIMIT : ERR_OK;
}

static enum err person_new(const struct account_row *row, struct person **out) {
    if (row->id == 0 || row->user.len == 0 || row->domain.len == 0) return ERR_BAD;
    if (!sealed_len_ok(row->ha1_sha256, STORE_SEALED_HA1_BYTES)) return ERR_BAD;
    if (!sealed_len_ok(row->ha1_sha512_256, STORE_SEALED_HA1_BYTES)) return ERR_BAD;
    if (row->user.len > ACCOUNT_USER_MAX || row->domain.len > ACCOUNT_DOMAIN_MAX) return ERR_LIMIT;
    if (row->display.len > ACCOUNT_LABEL_MAX) return ERR_LIMIT;
    if (row->settings.len > USER_SETTINGS_MAX) return ERR_LIMIT;
    char aliases_text[ALIASES_TEXT];
    struct buf aliases = buf_over(aliases_text, sizeof aliases_text);
    enum err e = aliases_tidy(row->aliases, &aliases);
    if (e) return e;
    size_t len = row->user.len + row->domain.len + aliases.len + row->display.len +
                 row->settings.len + row->ha1_sha256.len + row->ha1_sha512_256.len;
    struct person *p = mem_alloc(sizeof(*p) + len);
    if (!p) return ERR_MEMORY;
    *p = (struct person){ .id = row->id,
                          .flags = row->flags,
                          .user_len = (uint16_t)row->user.len,
                          .domain_len = (uint16_t)row->domain.len,
                          .aliases_len = (uint16_t)aliases.len,
                          .display_len = (uint16_t)row->display.len,
                          .settings_len = (uint16_t)row->settings.len,
                          .has_sha256 = row->ha1_sha256.len != 0,
                          .has_sha512_256 = row->ha1_sha512_256.len != 0,
                          .created = row->created,
                          .changed = row->changed };
    struct buf b = buf_over(p->bytes, len);
    buf_put(&b, row->user);
    for (size_t i = 0; i < row->domain.len; i++) {
        char c = row->domain.ptr[i];
        buf_byte(&b, (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c));
    }
    buf_put(&b, buf_slice(&aliases));
    buf_put(&b, row->display);
    buf_put(&b, row->settings);
    buf_put(&b, row->ha1_sha256);
    buf_put(&b, row->ha1_sha512_256);
    ASSERT(!b.full && b.len == len);
    *out = p;
    return ERR_OK;
}

/* Nothing that a proof rests on differs (a display name may): identities stay valid. */
static bool same_proof(const struct person *x, const struct person *y) {
    return x->flags == y->flags && slice_eq(person_user(x), person_user(y)) &&
           slice_eq(person_domain(x), person_domain(y)) &&
           slice_eq(person_aliases(x), person_aliases(y)) &&
           slice_eq(person_sha256(x), person_sha256(y)) &&
           slice_eq(person_sha512_256(x), person_sha512_256(y));
}

static bool any_name_taken(struct accounts *a, const struct person *p, const struct names *n) {
    struct account other;
    slice rest = person_aliases(p), name = person_user(p);
    for (unsigned i = 0; i < n->count; i++) {
        if (i) (void)slice_split(&rest, ',', &name);
        if (find_hashed(a, n->hash[i], name, person_domain(p), &other) == ERR_OK &&
            other.id != p->id)
            return true;
    }
    return false;
}

static void names_unindex(struct accounts *a, const struct person *p, uint32_t slot) {
    struct names n;
    person_names(a, p, &n);
    for (unsigned i = 0; i < n.count; i++) slots_unindex(&a->people, BY_NAME, n.hash[i], slot);
}

static enum err names_index(struct accounts *a, const struct names *n, uint32_t slot) {
    for (unsigned i = 0; i < n->count; i++) {
        enum err e = slots_index(&a->people, BY_NAME, n->hash[i], slot);
        if (!e) continue;
        while (i-- > 0) slots_unindex(&a->people, BY_NAME, n->hash[i], slot);
        return e;
    }
    return ERR_OK;
}

static enum err person_insert(struct accounts *a, struct person *p, const struct names *n) {
    uint32_t slot;
    enum err e = slots_add(&a->people, p, &slot);
    if (e) return e;
    e = slots_index(&a->people, BY_ID, hash_spread(p->id), slot);
    if (!e) {
        e = names_index(a, n, slot);
        if (e) slots_unindex(&a->people, BY_ID, hash_spread(p->id), slot);
    }
    if (e) (void)slots_take(&a->people, slot);
    return e;
}

/* Under `writer`, so `old` cannot go away though its shard is not locked. */
static enum err person_replace(struct accounts *a, struct person *p, const struct names *n,
                               uint32_t slot) {
    enum err e = names_index(a, n, slot);
    if (e) return e;
    struct person *old = slots_swap(&a->people, slot, p);
    names_unindex(a, old, slot);
    mem_free(old);
    return ERR_OK;
}

/* The caller holds `writer`. Ids above the last one are new, as all are that a start puts. */
static const struct person *person_former(struct accounts *a, uint32_t id, uint32_t *out_slot) {
    if (id > a->last_id) return NULL;
    const struct person *p = person_open(a, id, out_slot);
    if (p) slots_close(&a->people, *out_slot);
    return p;
}

/* Into the table; the caller holds `writer`. On an error the person is gone. */
static enum err person_enter(struct accounts *a, struct person *p, const struct names *n) {
    uint32_t slot = SLOT_NONE;
    const struct person *old = person_former(a, p->id, &slot);
    p->stamp = old && same_proof(old, p) ? old->stamp : ++a->last_stamp;
    enum err e = ERR_EXISTS;
    if (!any_name_taken(a, p, n)) e = old ? person_replace(a, p, n, slot) : person_insert(a, p, n);
    if (!e && p->id > a->last_id) a->last_id = p->id;
    if (e) mem_free(p);
    return e;
}

/* Who waits enters. The caller holds `writer`. */
static enum err waiting_enter(struct accounts *a) {
    struct person *p = a->waiting;
    a->waiting = NULL;
    return p ? person_enter(a, p, &a->waiting_names) : ERR_OK;
}

void accounts_loading(struct accounts *a, uint32_t count) {
    slots_reserve(&a->people, BY_ID, count);
    slots_reserve(&a->people, BY_NAME, count);
    a->people.is_private = a->things.is_private = true;
}

enum err accounts_loaded(struct accounts *a) {
    enum err e = waiting_enter(a);
    a->people.is_private = a->things.is_private = false;
    return e;
}

/* A start puts a million, whose places in the indexes lie far apart in memory: they come while the
 * store reads the next row. So each waits for its successor. */
static enum err put_later(struct accounts *a, struct person *p, const struct names *n) {
    slots_prefetch(&a->people, BY_ID, hash_spread(p->id));
    for (unsigned i = 0; i < n->count; i++) slots_prefetch(&a->people, BY_NAME, n->hash[i]);
    enum err e = waiting_enter(a);
    a->waiting = p;
    a->waiting_names.count = n->count;
    memcpy(a->waiting_names.hash, n->hash, n->count * sizeof n->hash[0]);
    return e;
}

enum err accounts_put(struct accounts *a, const struct account_row *row) {
    struct person *p;
    struct names n;
    enum err e = person_new(row, &p);
    if (e) return e;
    lock_take(&a->writer);
    person_names(a, p, &n);
    e = a->people.is_private ? put_later(a, p, &n) : person_enter(a, p, &n);
    lock_give(&a->writer);
    return e;
}

/* ---- devices, writing ---- */

static void thing_remove(struct accounts *a, uint32_t slot) {
    struct thing *t = slots_open(&a->things, slot);
    slots_close(&a->things, slot); /* the caller holds `writer` */
    if (t->kind != DEVICE_LEGACY)
        slots_unindex(&a->things, BY_KEY, siphash(&a->key, t->key_hash, 32), slot);
    slots_unindex(&a->things, BY_OWNER, hash_spread(t->account_id), slot);
    slots_unindex(&a->things, BY_ID, hash_spread(t->id), slot);
    (void)slots_take(&a->things, slot);
    mem_free(t);
}

/* All devices of an account, of every kind; the caller holds `writer`. */
static unsigned things_of(struct accounts *a, uint32_t account_id,
                          uint32_t out[static SLOTS_CANDIDATES]) {
    uint32_t slots[SLOTS_CANDIDATES];
    unsigned found = 0, n = slots_candidates(&a->things, BY_OWNER, hash_spread(account_id), slots,
                                             ARRAY_LEN(slots));
    for (unsigned i = 0; i < n; i++) {
        const struct thing *t = slots_open(&a->things, slots[i]);
        if (t && t->account_id == account_id) out[found++] = slots[i];
        slots_close(&a->things, slots[i]);
    }
    return found;
}

void accounts_remove(struct accounts *a, uint32_t id) {
    lock_take(&a->writer);
    uint32_t slot;
    struct person *p = person_open(a, id, &slot);
    if (p) {
        slots_close(&a->people, slot);
        names_unindex(a, p, slot);
        slots_unindex(&a->people, BY_ID, hash_spread(id), slot);
        (void)slots_take(&a->people, slot);
        mem_free(p);
        uint32_t slots[SLOTS_CANDIDATES];
        unsigned n = things_of(a, id, slots);
        for (unsigned i = 0; i < n; i++) thing_remove(a, slots[i]);
    }
    lock_give(&a->writer);
}

static enum err thing_new(const struct device_row *row, struct thing **out) {
    if (row->id == 0 || row->account_id == 0) return ERR_BAD;
    if (row->kind > DEVICE_INVITE) return ERR_BAD;
    if (!sealed_len_ok(row->ha1_md5, SEALED_MD5)) return ERR_BAD;
    if (row->name.len > ACCOUNT_LABEL_MAX || row->why.len > ACCOUNT_LABEL_MAX) return ERR_LIMIT;
    size_t len = row->name.len + row->why.len;
    struct thing *t = mem_alloc(sizeof(*t) + len);
    if (!t) return ERR_MEMORY;
    *t = (struct thing){ .id = row->id,
                         .account_id = row->account_id,
                         .kind = row->kind,
                         .revoked = row->revoked,
                         .has_md5 = row->ha1_md5.len != 0,
                         .name_len = (uint16_t)row->name.len,
                         .why_len = (uint16_t)row->why.len,
                         .created = row->created,
                         .until = row->until };
    memcpy(t->key_hash, row->key_hash, sizeof t->key_hash);
    if (t->has_md5) memcpy(t->ha1_md5, row->ha1_md5.ptr, SEALED_MD5);
    struct buf b = buf_over(t->bytes, len);
    buf_put(&b, row->name);
    buf_put(&b, row->why);
    *out = t;
    return ERR_OK;
}

static enum err thing_insert(struct accounts *a, struct thing *t) {
    uint64_t key = siphash(&a->key, t->key_hash, 32);
    bool has_key = t->kind != DEVICE_LEGACY;
    uint32_t slot;
    enum err e = slots_add(&a->things, t, &slot);
    if (e) return e;
    e = slots_index(&a->things, BY_ID, hash_spread(t->id), slot);
    if (e) goto taken;
    e = slots_index(&a->things, BY_OWNER, hash_spread(t->account_id), slot);
    if (e) goto by_id;
    if (has_key) e = slots_index(&a->things, BY_KEY, key, slot);
    if (!e) return ERR_OK;
    slots_unindex(&a->things, BY_OWNER, hash_spread(t->account_id), slot);
by_id:
    slots_unindex(&a->things, BY_ID, hash_spread(t->id), slot);
taken:
    (void)slots_take(&a->things, slot);
    return e;
}

static enum err thing_may_enter(struct accounts *a, const struct thing *t, bool is_new) {
    struct account owner;
    if (accounts_by_id(a, t->account_id, &owner)) return ERR_MISSING;
    struct device other;
    if (t->kind != DEVICE_LEGACY && accounts_device_by_key(a, t->key_hash, &other) == ERR_OK &&
        other.id != t->id)
        return ERR_EXISTS;
    uint32_t slots[SLOTS_CANDIDATES];
    if (is_new && things_of(a, t->account_id, slots) >= ACCOUNT_DEVICES_MAX) return ERR_LIMIT;
    return ERR_OK;
}

/* A device keeps its account, kind and key for life: what changes is in place, under the lock. */
static bool same_thing(const struct thing *x, const struct thing *y) {
    return x->account_id == y->account_id && x->kind == y->kind &&
           memcmp(x->key_hash, y->key_hash, sizeof x->key_hash) == 0;
}

enum err accounts_put_device(struct accounts *a, const struct device_row *row) {
    struct thing *t;
    enum err e = thing_new(row, &t);
    if (e) return e;
    lock_take(&a->writer);
    uint32_t slot = SLOT_NONE;
    const struct thing *old = thing_open(a, t->id, &slot);
    if (old) slots_close(&a->things, slot);
    e = waiting_enter(a); /* it may be his */
    if (!e) e = thing_may_enter(a, t, !old);
    if (!e && old && !same_thing(old, t)) e = ERR_EXISTS;
    if (!e && old) {
        mem_free(slots_swap(&a->things, slot, t));
    } else if (!e) {
        e = thing_insert(a, t);
    }
    if (!e && row->id > a->last_device_id) a->last_device_id = row->id;
    lock_give(&a->writer);
    if (e) mem_free(t);
    return e;
}

void accounts_remove_device(struct accounts *a, uint32_t id) {
    lock_take(&a->writer);
    uint32_t slot;
    if (thing_open(a, id, &slot)) {
        slots_close(&a->things, slot);
        thing_remove(a, slot);
    }
    lock_give(&a->writer);
}

/* ---- ids, walks, life ---- */

uint32_t accounts_free_id(struct accounts *a) {
    lock_take(&a->writer);
    uint32_t id = ++a->last_id;
    lock_give(&a->writer);
    return id;
}

uint32_t accounts_free_device_id(struct accounts *a) {
    lock_take(&a->writer);
    uint32_t id = ++a->last_device_id;
    lock_give(&a->writer);
    return id;
}

void accounts_ids_above(struct accounts *a, uint32_t account_id, uint32_t device_id) {
    lock_take(&a->writer);
    if (account_id > a->last_id) a->last_id = account_id;
    if (device_id > a->last_device_id) a->last_device_id = device_id;
    lock_give(&a->writer);
}

void accounts_each(struct accounts *a, bool (*visit)(void *ctx, const struct account_row *row),
                   void *ctx) {
    uint32_t high = slots_high(&a->people);
    bool go_on = true;
    for (uint32_t slot = 0; slot < high && go_on; slot++) {
        const struct person *p = slots_open(&a->people, slot);
        if (p) {
            struct account_row row = { .id = p->id,
                                       .user = person_user(p),
                                       .domain = person_domain(p),
                                       .aliases = person_aliases(p),
                                       .display = person_display(p),
                                       .settings = person_settings(p),
                                       .flags = p->flags,
                                       .ha1_sha256 = person_sha256(p),
                                       .ha1_sha512_256 = person_sha512_256(p),
                                       .created = p->created,
                                       .changed = p->changed };
            go_on = visit(ctx, &row);
        }
        slots_close(&a->people, slot);
    }
}

static struct device_row thing_row(const struct thing *t) {
    struct device_row row = { .id = t->id,
                              .account_id = t->account_id,
                              .kind = t->kind,
                              .revoked = t->revoked,
                              .name = slice_of(t->bytes, t->name_len),
                              .why = slice_of(t->bytes + t->name_len, t->why_len),
                              .created = t->created,
                              .until = t->until };
    memcpy(row.key_hash, t->key_hash, sizeof row.key_hash);
    if (t->has_md5) row.ha1_md5 = slice_of(t->ha1_md5, SEALED_MD5);
    return row;
}

void accounts_each_device_of(struct accounts *a, uint32_t account_id,
                             bool (*visit)(void *ctx, const struct device_row *row), void *ctx) {
    uint32_t slots[SLOTS_CANDIDATES];
    unsigned n =
        slots_candidates(&a->things, BY_OWNER, hash_spread(account_id), slots, ARRAY_LEN(slots));
    bool go_on = true;
    for (unsigned i = 0; i < n && go_on; i++) {
        const struct thing *t = slots_open(&a->things, slots[i]);
        if (t && t->account_id == account_id) {
            struct device_row row = thing_row(t);
            go_on = visit(ctx, &row);
        }
        slots_close(&a->things, slots[i]);
    }
}

void accounts_each_device(struct accounts *a,
                          bool (*visit)(void *ctx, const struct device_row *row), void *ctx) {
    uint32_t high = slots_high(&a->things);
    bool go_on = true;
    for (uint32_t slot = 0; slot < high && go_on; slot++) {
        const struct thing *t = slots_open(&a->things, slot);
        if (t) {
            struct device_row row = thing_row(t);
            go_on = visit(ctx, &row);
        }
        slots_close(&a->things, slot);
    }
}

struct accounts *accounts_new(uint32_t accounts_max, const struct hash_key *key,
                              const uint8_t seal_key[static 32]) {
    struct accounts *a = mem_zalloc(sizeof(*a));
    if (!a) return NULL;
    ASSERT(accounts_max <= ACCOUNTS_MAX_MAX);
    uint32_t things_max = accounts_max * DEVICES_FACTOR;
    uint32_t names_max = accounts_max * (ACCOUNT_ALIASES_MAX + 1) * 2; /* old and new, meanwhile */
    if (slots_init(&a->people, accounts_max, names_max) ||
        slots_init(&a->things, things_max, things_max)) {
        slots_fini(&a->people);
        mem_free(a);
        return NULL;
    }
    lock_init(&a->writer);
    a->key = *key;
    a->seal_key = seal_key;
    const uint8_t nothing[32] = { 0 };
    crypto_seal(seal_key, decoy_context, nothing, 32, a->decoy);
    crypto_seal(seal_key, decoy_context, nothing, 16, a->decoy_md5);
    return a;
}

void accounts_free(struct accounts *a) {
    if (!a) return;
    mem_free(a->waiting);
    for (uint32_t slot = 0; slot < slots_high(&a->people); slot++)
        mem_free(slots_take(&a->people, slot));
    for (uint32_t slot = 0; slot < slots_high(&a->things); slot++)
        mem_free(slots_take(&a->things, slot));
    slots_fini(&a->people);
    slots_fini(&a->things);
    lock_fini(&a->writer);
    mem_free(a);
}
