/* Answers of the DNS, and the questions under way. The first who needs an answer has it asked for;
 * others who need it meanwhile wait for the same one. */
#include "base/mem.h"
#include "sip/target_inner.h"

#define TTL_MIN_S      5u /* a search must not outlive the answers it rests on */
#define TTL_MAX_S      86400u
#define NEGATIVE_MAX_S 900u /* RFC 2308 5 suggests one to three hours; people mend DNS faster */
#define NEGATIVE_S     60u  /* when no SOA told */
#define FAILED_MS      5000
#define ASK_MS         10000 /* whoever asks the DNS should give up before */

static bool is_label_char(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '-' || ch == '_';
}

bool target_is_name(slice s) {
    struct addr a;
    size_t label = 0;
    bool has_letter = false;
    if (s.len == 0 || s.len > NAME_MAX_BYTES || addr_read_ip(s, &a) == ERR_OK) return false;
    for (size_t i = 0; i < s.len; i++) {
        char ch = s.ptr[i];
        if (ch == '.' ? label == 0 : !is_label_char(ch) || label == 63) return false;
        has_letter = ch != '.' && ((label > 0 && has_letter) || ch < '0' || ch > '9');
        label = ch == '.' ? 0 : label + 1;
    }
    return label > 0 && has_letter; /* RFC 3696 2: the last label is not all digits */
}

void dns_cache_init(struct dns_cache *d, const struct hash_key *key) {
    pool_init(&d->pool, sizeof(struct dns_entry), LIMIT_DNS_CACHE);
    map_init(&d->map, LIMIT_DNS_CACHE);
    list_init(&d->lru);
    list_init(&d->asks);
    d->asked = 0;
    d->key = *key;
}

void dns_cache_fini(struct dns_cache *d) {
    uint32_t at = 0;
    pool_id id;
    for (struct dns_entry *e; (e = pool_each(&d->pool, &at, &id));) mem_free(e->records);
    pool_fini(&d->pool);
    map_fini(&d->map);
}

static void entry_free(struct dns_cache *d, struct dns_entry *e) {
    map_remove(&d->map, e->hash, e->id.slot);
    list_remove(&e->lru);
    mem_free(e->records);
    pool_free(&d->pool, e->id);
}

static uint64_t question_hash(const struct dns_cache *d, slice name, enum dns_type type) {
    struct hash_key k = d->key;
    k.k0 ^= (uint64_t)type;
    return siphash_fold(&k, name);
}

static struct dns_entry *entry_find(struct dns_cache *d, slice name, enum dns_type type,
                                    uint64_t hash) {
    struct map_iter it = map_find(&d->map, hash);
    for (uint32_t slot; map_next(&d->map, &it, &slot);) {
        pool_id id;
        struct dns_entry *e = pool_at(&d->pool, slot, &id);
        if (e && e->type == type && slice_ieq(slice_of(e->name, e->name_len), name)) return e;
    }
    return NULL;
}

/* A question that is to be asked (again). */
static void entry_ask(struct dns_cache *d, struct dns_entry *e, mono_t now) {
    mem_free(e->records);
    e->records = NULL;
    e->count = 0;
    e->is_asked = true;
    e->at = now + ASK_MS;
    d->asked++;
    list_remove(&e->lru);
    list_push(&d->asks, &e->asks);
}

static void entry_known(struct dns_cache *d, struct dns_entry *e, enum dns_result result,
                        mono_t until, mono_t now) {
    e->result = (uint8_t)result;
    e->is_asked = false;
    e->at = until;
    e->learned = now;
    d->asked--;
    if (list_linked(&e->asks)) list_remove(&e->asks);
    list_push(&d->lru, &e->lru);
}

static struct dns_entry *entry_new(struct dns_cache *d, slice name, enum dns_type type,
                                   uint64_t hash) {
    pool_id id;
    if (d->pool.used == LIMIT_DNS_CACHE) {
        if (list_empty(&d->lru)) return NULL;
        entry_free(d, LIST_ITEM(d->lru.next, struct dns_entry, lru));
    }
    struct dns_entry *e = pool_new(&d->pool, &id);
    if (!e) return NULL;
    if (map_add(&d->map, hash, id.slot) != ERR_OK) {
        pool_free(&d->pool, id);
        return NULL;
    }
    e->id = id;
    e->hash = hash;
    e->type = (uint8_t)type;
    e->name_len = (uint8_t)name.len;
    for (size_t i = 0; i < name.len; i++) {
        char ch = name.ptr[i];
        e->name[i] = ch >= 'A' && ch <= 'Z' ? (char)(ch + ('a' - 'A')) : ch;
    }
    list_init(&e->lru);
    list_init(&e->asks);
    return e;
}

const struct dns_entry *dns_look(struct dns_cache *d, slice name, enum dns_type type, mono_t now) {
    if (!target_is_name(name)) return NULL;
    uint64_t hash = question_hash(d, name, type);
    struct dns_entry *e = entry_find(d, name, type, hash);
    if (e && e->is_asked && now >= e->at) entry_known(d, e, DNS_FAIL, now + FAILED_MS, now);
    if (e && (e->is_asked || now < e->at)) {
        if (!e->is_asked) {
            list_remove(&e->lru);
            list_push(&d->lru, &e->lru);
        }
        return e;
    }
    if (d->asked >= LIMIT_DNS_QUESTIONS) return NULL;
    if (!e) e = entry_new(d, name, type, hash);
    if (e) entry_ask(d, e, now);
    return e;
}

bool dns_next_ask(struct dns_cache *d, uint64_t *ticket, struct dns_question *out) {
    struct list *l = list_pop(&d->asks);
    if (!l) return false;
    struct dns_entry *e = LIST_ITEM(l, struct dns_entry, asks);
    *ticket = (uint64_t)e->id.slot << 32 | e->id.gen;
    *out = (struct dns_question){ slice_of(e->name, e->name_len), (enum dns_type)e->type };
    return true;
}

/* ---- what is kept of an answer ---- */

/* An address of the wrong family, or one that nobody can be at, is no record. */
static bool addr_is_usable(const struct addr *a, enum dns_type type) {
    static const uint8_t zero[12] = { 0 };
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (type == DNS_A)
        return a->family == ADDR_V4 && a->ip[0] != 0 && a->ip[0] < 224; /* RFC 1122 3.2.1.3 */
    if (a->family != ADDR_V6 || a->ip[0] == 0xff) return false;         /* multicast */
    if (a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80) return false;    /* a link of ours? which? */
    if (memcmp(a->ip, mapped, sizeof mapped) == 0) return false;
    if (memcmp(a->ip, zero, sizeof zero) == 0) return addr_is_loopback(a);
    return true;
}

/* RFC 3263 4.1: flag "s", no regular expression, and the one service that means TLS over TCP. */
static bool naptr_is_ours(const struct dns_naptr *n) {
    return slice_ieq(n->flags, SLICE("s")) && slice_ieq(n->services, SLICE("SIPS+D2T")) &&
           n->regexp.len == 0 && target_is_name(n->replacement);
}

static bool record_is_ours(const struct dns_record *r, enum dns_type type) {
    switch (type) {
    case DNS_A:
    case DNS_AAAA:
        return addr_is_usable(&r->addr, type);
    case DNS_SRV: /* an empty target says that there is no such service: it is kept, and alone */
        return r->srv.target.len == 0 || (r->srv.port != 0 && target_is_name(r->srv.target));
    case DNS_NAPTR:
        return naptr_is_ours(&r->naptr);
    }
    return false;
}

static slice record_text(const struct dns_record *r, enum dns_type type) {
    if (type == DNS_SRV) return r->srv.target;
    return type == DNS_NAPTR ? r->naptr.replacement : SLICE_NONE;
}

static uint32_t naptr_rank(const struct dns_record *r) {
    return (uint32_t)r->naptr.order << 16 | r->naptr.preference;
}

/* RFC 3403 4.1: by order, and by preference among equals. */
static void naptr_sort(struct dns_record *r, unsigned n) {
    for (unsigned i = 1; i < n; i++)
        for (unsigned j = i; j > 0 && naptr_rank(&r[j]) < naptr_rank(&r[j - 1]); j--) {
            struct dns_record t = r[j];
            r[j] = r[j - 1];
            r[j - 1] = t;
        }
}

static bool entry_keep(struct dns_entry *e, const struct dns_answer *answer) {
    enum dns_type type = (enum dns_type)e->type;
    const struct dns_record *kept[LIMIT_DNS_RECORDS];
    unsigned n = 0;
    size_t text = 0;
    for (unsigned i = 0; i < answer->count && i < LIMIT_DNS_RECORDS; i++)
        if (record_is_ours(&answer->records[i], type)) {
            kept[n++] = &answer->records[i];
            text += record_text(&answer->records[i], type).len;
        }
    if (n == 0) return true;
    struct dns_record *r = mem_alloc(n * sizeof *r + text);
    if (!r) return false;
    char *at = (char *)(r + n);
    for (unsigned i = 0; i < n; i++) {
        slice from = record_text(kept[i], type);
        if (from.len) memcpy(at, from.ptr, from.len);
        r[i] = *kept[i];
        if (type == DNS_SRV) r[i].srv.target = slice_of(at, from.len);
        if (type == DNS_NAPTR)
            r[i].naptr = (struct dns_naptr){ .order = kept[i]->naptr.order,
                                             .preference = kept[i]->naptr.preference,
                                             .replacement = slice_of(at, from.len) };
        at += from.len;
    }
    if (type == DNS_NAPTR) naptr_sort(r, n);
    e->records = r;
    e->count = (uint16_t)n;
    return true;
}

static uint32_t clamp(uint32_t v, uint32_t max) {
    return v < TTL_MIN_S ? TTL_MIN_S : v > max ? max : v;
}

bool dns_learn(struct dns_cache *d, uint64_t ticket, const struct dns_answer *answer, mono_t now) {
    struct dns_entry *e =
        pool_get(&d->pool, (pool_id){ (uint32_t)(ticket >> 32), (uint32_t)ticket });
    if (!e || !e->is_asked) return false;
    enum dns_result result = answer->result;
    if (result == DNS_OK && !entry_keep(e, answer)) result = DNS_FAIL; /* memory is short */
    if (result == DNS_OK && e->count == 0) result = DNS_NODATA;        /* nothing for us */
    int64_t ms = FAILED_MS;
    if (result == DNS_OK || (answer->result == DNS_OK && result == DNS_NODATA))
        ms = (int64_t)clamp(answer->ttl_s, TTL_MAX_S) * 1000;
    else if (result != DNS_FAIL) /* RFC 2308 5 */
        ms = (int64_t)clamp(answer->ttl_s ? answer->ttl_s : NEGATIVE_S, NEGATIVE_MAX_S) * 1000;
    entry_known(d, e, result, now + ms, now);
    return true;
}
