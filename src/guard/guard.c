#include "guard/guard.h"

#include "base/lock.h"
#include "base/mem.h"

#define STRIPES        64u
#define UNIT           60000u /* one event in a bucket: then per_min is what leaks per millisecond */
#define BAN_FIRST_MS   10000
#define BAN_LAST_MS    900000
#define STRIKES_MAX    7u /* 10 s doubled seven times is beyond 15 min */
#define STRIKE_LIFE_MS 900000
#define GOOD_LIFE_MS   3600000
#define NEVER          INT64_MIN
#define NEVER_LEAKS_US 1000000000000 /* an event in eleven days */

enum bucket { BUCKET_AUTH, BUCKET_REQUEST, BUCKET_REFUSAL, BUCKET_CONNECT, BUCKET_COUNT };

struct place {
    uint64_t hash;  /* of the source or account; 0: free */
    mono_t touched; /* the levels are as of then */
    mono_t banned_until, good_until;
    uint64_t level[BUCKET_COUNT];
    uint8_t strikes;
};
struct set {
    struct place places[GUARD_WAYS];
    struct place common; /* for those who found no place: never banned itself */
};
struct table {
    struct set *sets;
    uint32_t mask;
    struct lock locks[STRIPES];
};
/* An account has one bucket and no bans, so one time says it all: the moment at which its bucket
 * will be empty (the generic cell rate algorithm, ITU-T I.371). 16 bytes instead of 72: every
 * account that registers touches its place, and a page of memory with it. */
struct meter {
    uint32_t account; /* 0: free */
    int64_t empty_us; /* on the mono clock */
};
struct meter_set {
    struct meter meters[GUARD_WAYS];
};
struct meters {
    struct meter_set *sets;
    uint32_t mask;
    struct lock locks[STRIPES];
};
struct guard {
    struct guard_limits limits;
    struct hash_key key;
    struct table sources;
    struct meters accounts;
};

void guard_limits_defaults(struct guard_limits *l) {
    *l = (struct guard_limits){
        .sources_max = 65536,
        .accounts_max = 65536,
        .source = { { 30, 30 }, { 1200, 400 }, { 600, 200 } },
        .loopback = { { 3000, 3000 }, { 120000, 40000 }, { 60000, 20000 } },
        .account = { 3000, 500 },
        .domain = { 30000, 5000 },
        .good_factor = 4,
    };
}

/* ---- tables ---- */

static uint32_t sets_for(uint32_t places) {
    uint32_t sets = 1;
    while (sets * GUARD_WAYS < places && sets < (1u << 20)) sets *= 2;
    return sets;
}

static bool meters_init(struct meters *m, uint32_t places) {
    uint32_t sets = sets_for(places);
    for (unsigned i = 0; i < STRIPES; i++) lock_init(&m->locks[i]);
    m->mask = sets - 1;
    m->sets = mem_array(sets, sizeof *m->sets);
    return m->sets != NULL;
}

static void meters_fini(struct meters *m) {
    for (unsigned i = 0; i < STRIPES; i++) lock_fini(&m->locks[i]);
    mem_free(m->sets);
}

static bool table_init(struct table *t, uint32_t places) {
    uint32_t sets = sets_for(places);
    for (unsigned i = 0; i < STRIPES; i++) lock_init(&t->locks[i]);
    t->mask = sets - 1;
    t->sets = mem_array(sets, sizeof *t->sets);
    return t->sets != NULL;
}

static void table_fini(struct table *t) {
    for (unsigned i = 0; i < STRIPES; i++) lock_fini(&t->locks[i]);
    mem_free(t->sets);
}

struct guard *guard_new(const struct guard_limits *limits, const struct hash_key *key, mono_t now) {
    (void)now;
    struct guard *g = mem_zalloc(sizeof *g);
    if (!g) return NULL;
    g->limits = *limits;
    g->key = *key;
    if (g->limits.good_factor < 1) g->limits.good_factor = 1;
    bool sources = table_init(&g->sources, limits->sources_max);
    bool accounts = meters_init(&g->accounts, limits->accounts_max);
    if (sources && accounts) return g;
    guard_free(g);
    return NULL;
}

void guard_free(struct guard *g) {
    if (!g) return;
    table_fini(&g->sources);
    meters_fini(&g->accounts);
    mem_free(g);
}

/* ---- who ---- */

static bool is_v4_in_v6(const struct addr *a) {
    static const uint8_t prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
    return a->family == ADDR_V6 && memcmp(a->ip, prefix, sizeof prefix) == 0;
}

/* One IPv4 address, or one IPv6 /64: whoever has one of its addresses has them all. */
static uint64_t source_hash(const struct guard *g, const struct addr *a) {
    uint8_t id[9] = { a->family };
    if (is_v4_in_v6(a)) {
        id[0] = ADDR_V4;
        memcpy(id + 1, a->ip + 12, 4);
    } else {
        memcpy(id + 1, a->ip, a->family == ADDR_V4 ? 4 : 8);
    }
    uint64_t hash = siphash(&g->key, id, sizeof id);
    return hash ? hash : 1;
}

static const struct guard_source_limits *limits_of(const struct guard *g, const struct addr *a) {
    struct addr v4 = { .family = ADDR_V4 };
    if (is_v4_in_v6(a)) {
        memcpy(v4.ip, a->ip + 12, 4);
        a = &v4;
    }
    return addr_is_loopback(a) ? &g->limits.loopback : &g->limits.source;
}

/* ---- places ---- */

/* Let the buckets leak up to now. Steps back in time leave them as they are. */
static void place_settle(struct place *p, const struct guard_source_limits *l, mono_t now) {
    const uint32_t leak[BUCKET_COUNT] = { l->auth_failures.per_min, l->requests.per_min,
                                          l->requests.per_min, l->connections.per_min };
    if (now <= p->touched) return;
    uint64_t ms = (uint64_t)(now - p->touched);
    if (ms > UINT32_MAX) ms = UINT32_MAX;
    for (int i = 0; i < BUCKET_COUNT; i++) {
        uint64_t leaked = ms * leak[i];
        p->level[i] = leaked >= p->level[i] ? 0 : p->level[i] - leaked;
    }
    p->touched = now;
    while (p->strikes && now - p->banned_until >= STRIKE_LIFE_MS) {
        p->strikes--;
        p->banned_until += STRIKE_LIFE_MS;
    }
}

static bool is_banned(const struct place *p, mono_t now) {
    return p->banned_until > now;
}

/* Nothing would be lost with it. */
static bool is_idle(const struct place *p, const struct guard_source_limits *l, mono_t now) {
    struct place then = *p;
    place_settle(&then, l, now);
    uint64_t sum = 0;
    for (int i = 0; i < BUCKET_COUNT; i++) sum += then.level[i];
    return !then.strikes && !is_banned(&then, now) && then.good_until <= now && !sum;
}

static struct place *place_find(struct set *s, uint64_t hash) {
    for (unsigned i = 0; i < GUARD_WAYS; i++)
        if (s->places[i].hash == hash) return &s->places[i];
    return NULL;
}

/* The place to give to a newcomer, or the common one. */
static struct place *place_yield(struct set *s, const struct guard_source_limits *l, mono_t now) {
    struct place *oldest = NULL;
    for (unsigned i = 0; i < GUARD_WAYS; i++) {
        struct place *p = &s->places[i];
        if (!p->hash || is_idle(p, l, now)) return p;
        if (is_banned(p, now)) continue;
        if (!oldest || p->touched < oldest->touched) oldest = p;
    }
    return oldest ? oldest : &s->common;
}

static struct set *set_take(struct table *t, uint64_t hash) {
    uint32_t at = (uint32_t)(hash >> 32) & t->mask;
    lock_take(&t->locks[at % STRIPES]);
    return &t->sets[at];
}

static void set_give(struct table *t, const struct set *s) {
    lock_give(&t->locks[(size_t)(s - t->sets) % STRIPES]);
}

/* The place of this hash, settled; made when there is none. The set must be held. */
static struct place *place_take(struct set *s, uint64_t hash, const struct guard_source_limits *l,
                                mono_t now) {
    struct place *p = place_find(s, hash);
    if (!p) {
        p = place_yield(s, l, now);
        if (p != &s->common)
            *p = (struct place){
                .hash = hash, .touched = now, .banned_until = NEVER, .good_until = NEVER
            };
    }
    place_settle(p, l, now);
    return p;
}

/* ---- buckets ---- */

/* How full the bucket may be; good sources have a larger one. */
static uint64_t bucket_room(const struct guard *g, const struct place *p,
                            const struct guard_budget *b, mono_t now) {
    return (uint64_t)b->burst * UNIT * (p->good_until > now ? g->limits.good_factor : 1);
}

/* One event more; false: it does not fit, and the bucket stays as it is. */
static bool bucket_add(struct place *p, enum bucket which, uint64_t room) {
    if (p->level[which] + UNIT > room) return false;
    p->level[which] += UNIT;
    return true;
}

/* ---- the questions ---- */

bool guard_may_auth(struct guard *g, const struct addr *source, mono_t now) {
    uint64_t hash = source_hash(g, source);
    struct set *s = set_take(&g->sources, hash);
    const struct place *p = place_find(s, hash);
    bool may = !p || !is_banned(p, now);
    set_give(&g->sources, s);
    return may;
}

static void ban(struct place *p, mono_t now) {
    mono_t ms = (mono_t)BAN_FIRST_MS << p->strikes;
    p->banned_until = now + (ms < BAN_LAST_MS ? ms : BAN_LAST_MS);
    if (p->strikes < STRIKES_MAX) p->strikes++;
    p->level[BUCKET_AUTH] = 0; /* after the ban the budget is whole again, the next ban longer */
}

void guard_auth_failed(struct guard *g, const struct addr *source, mono_t now) {
    uint64_t hash = source_hash(g, source);
    const struct guard_source_limits *l = limits_of(g, source);
    struct set *s = set_take(&g->sources, hash);
    struct place *p = place_take(s, hash, l, now);
    if (!bucket_add(p, BUCKET_AUTH, bucket_room(g, p, &l->auth_failures, now)) && p != &s->common &&
        !is_banned(p, now))
        ban(p, now);
    set_give(&g->sources, s);
}

/* It makes no failure undone: one stolen account must not wash an attacker clean. */
void guard_auth_ok(struct guard *g, const struct addr *source, mono_t now) {
    uint64_t hash = source_hash(g, source);
    struct set *s = set_take(&g->sources, hash);
    struct place *p = place_take(s, hash, limits_of(g, source), now);
    if (p != &s->common) p->good_until = now + GOOD_LIFE_MS;
    set_give(&g->sources, s);
}

enum guard_verdict guard_request(struct guard *g, const struct addr *source, bool authenticated,
                                 mono_t now) {
    if (authenticated) return GUARD_OK;
    uint64_t hash = source_hash(g, source);
    const struct guard_source_limits *l = limits_of(g, source);
    struct set *s = set_take(&g->sources, hash);
    struct place *p = place_take(s, hash, l, now);
    uint64_t room = bucket_room(g, p, &l->requests, now);
    enum guard_verdict v = GUARD_DROP;
    if (!is_banned(p, now)) {
        /* Beyond the budget it is told to wait; one that does not listen hears nothing more. */
        if (bucket_add(p, BUCKET_REQUEST, room))
            v = GUARD_OK;
        else if (bucket_add(p, BUCKET_REFUSAL, room))
            v = GUARD_SLOW_DOWN;
    }
    set_give(&g->sources, s);
    return v;
}

enum guard_verdict guard_connection(struct guard *g, const struct addr *source, mono_t now) {
    uint64_t hash = source_hash(g, source);
    const struct guard_source_limits *l = limits_of(g, source);
    struct set *s = set_take(&g->sources, hash);
    struct place *p = place_take(s, hash, l, now);
    bool fits = bucket_add(p, BUCKET_CONNECT, bucket_room(g, p, &l->connections, now));
    set_give(&g->sources, s);
    return fits ? GUARD_OK : GUARD_DROP;
}

/* The meter of this account. When its set is full the emptiest one makes room: whoever sends most
 * is remembered longest. The set must be held. */
static struct meter *meter_take(struct meter_set *s, uint32_t account) {
    struct meter *emptiest = &s->meters[0];
    for (unsigned i = 0; i < GUARD_WAYS; i++) {
        struct meter *m = &s->meters[i];
        if (m->account == account) return m;
        if (!m->account || (emptiest->account && m->empty_us < emptiest->empty_us)) emptiest = m;
    }
    *emptiest = (struct meter){ .account = account };
    return emptiest;
}

static enum guard_verdict count(struct guard *g, const struct guard_budget *b, uint32_t id,
                                mono_t now) {
    int64_t each_us = b->per_min ? 60000000 / b->per_min : NEVER_LEAKS_US;
    int64_t now_us = now * 1000;
    uint32_t at = (uint32_t)siphash(&g->key, &id, sizeof id) & g->accounts.mask;
    struct lock *lock = &g->accounts.locks[at % STRIPES];
    lock_take(lock);
    struct meter *m = meter_take(&g->accounts.sets[at], id);
    int64_t empty_us = (m->empty_us > now_us ? m->empty_us : now_us) + each_us;
    bool fits = empty_us - now_us <= each_us * (int64_t)b->burst;
    if (fits) m->empty_us = empty_us;
    lock_give(lock);
    return fits ? GUARD_OK : GUARD_SLOW_DOWN;
}

enum guard_verdict guard_account(struct guard *g, uint32_t account_id, mono_t now) {
    return count(g, &g->limits.account, account_id, now);
}

enum guard_verdict guard_domain(struct guard *g, uint32_t domain_id, mono_t now) {
    return count(g, &g->limits.domain, domain_id | 1u << 31, now); /* no account has that bit */
}

uint32_t guard_wait_s(struct guard *g, const struct addr *source, mono_t now) {
    uint64_t hash = source_hash(g, source);
    const struct guard_source_limits *l = limits_of(g, source);
    int64_t ms = 0;
    struct set *s = set_take(&g->sources, hash);
    struct place *p = place_find(s, hash);
    if (!p) p = &s->common;
    place_settle(p, l, now);
    uint64_t room = bucket_room(g, p, &l->requests, now);
    uint64_t over = p->level[BUCKET_REQUEST] + UNIT;
    if (over > room)
        ms = l->requests.per_min ? (int64_t)((over - room) / l->requests.per_min + 1) : BAN_LAST_MS;
    if (is_banned(p, now) && p->banned_until - now > ms) ms = p->banned_until - now;
    set_give(&g->sources, s);
    if (ms > BAN_LAST_MS) ms = BAN_LAST_MS;
    return ms <= 1000 ? 1 : (uint32_t)((ms + 999) / 1000);
}

void guard_forgive(struct guard *g, const struct addr *source) {
    uint64_t hash = source_hash(g, source);
    struct set *s = set_take(&g->sources, hash);
    struct place *p = place_find(s, hash);
    if (p) *p = (struct place){ .hash = 0 };
    set_give(&g->sources, s);
}

static uint32_t table_count(struct table *t, mono_t now, uint32_t *banned) {
    uint32_t used = 0;
    for (uint32_t i = 0; i <= t->mask; i++) {
        lock_take(&t->locks[i % STRIPES]);
        for (unsigned w = 0; w < GUARD_WAYS; w++) {
            const struct place *p = &t->sets[i].places[w];
            used += p->hash != 0;
            *banned += p->hash && is_banned(p, now);
        }
        lock_give(&t->locks[i % STRIPES]);
    }
    return used;
}

void guard_state(struct guard *g, mono_t now, struct guard_state *out) {
    *out = (struct guard_state){ .banned = 0 };
    out->sources = table_count(&g->sources, now, &out->banned);
    for (uint32_t i = 0; i <= g->accounts.mask; i++) {
        lock_take(&g->accounts.locks[i % STRIPES]);
        for (unsigned w = 0; w < GUARD_WAYS; w++)
            out->accounts += g->accounts.sets[i].meters[w].account != 0;
        lock_give(&g->accounts.locks[i % STRIPES]);
    }
}
