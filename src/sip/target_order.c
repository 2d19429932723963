/* Which addresses of a domain are to be tried, and in which order, from what is known by now.
 *
 *   NAPTR SIPS+D2T ──▶ SRV sets ─┐
 *   (none) ──▶ SRV _sips._tcp ───┼─▶ servers by priority and weight ──▶ A and AAAA of each
 *   (none) ──▶ the name itself, port 5061                                                      */
#include "nat/nat64.h"
#include "sip/target_inner.h"

#define PORT_TLS   5061
#define SRV_SETS   4u  /* NAPTR records followed */
#define HOST_ADDRS 32u /* of one server, looked at for ordering */
#define PREFIXES   4u  /* of the network's translators */

/* ---- what is known of addresses ---- */

void memory_init(struct target_memory *m, const struct hash_key *key) {
    pool_init(&m->pool, sizeof(struct target_note), LIMIT_TARGET_MEMORY);
    map_init(&m->map, LIMIT_TARGET_MEMORY);
    list_init(&m->lru);
    m->key = *key;
}

void memory_fini(struct target_memory *m) {
    pool_fini(&m->pool);
    map_fini(&m->map);
}

static uint64_t note_hash(const struct target_memory *m, slice domain, const struct addr *a) {
    struct hash_key k = m->key;
    k.k0 ^= siphash_fold(&k, domain);
    k.k1 ^= a->port;
    return siphash(&k, a->ip, sizeof a->ip);
}

/* Two keys with one hash would share a note: all it could do is to change an order. */
static struct target_note *note_find(const struct target_memory *m, uint64_t hash) {
    struct map_iter it = map_find(&m->map, hash);
    uint32_t slot;
    pool_id id;
    return map_next(&m->map, &it, &slot) ? pool_each(&m->pool, &slot, &id) : NULL;
}

static struct target_note *note_make(struct target_memory *m, slice domain, const struct addr *a) {
    uint64_t hash = note_hash(m, domain, a);
    struct target_note *n = note_find(m, hash);
    pool_id id;
    if (!n) {
        if (m->pool.used == LIMIT_TARGET_MEMORY) {
            struct target_note *old = LIST_ITEM(m->lru.next, struct target_note, lru);
            map_remove(&m->map, old->hash, old->id.slot);
            list_remove(&old->lru);
            pool_free(&m->pool, old->id);
        }
        n = pool_new(&m->pool, &id);
        if (!n) return NULL;
        if (map_add(&m->map, hash, id.slot) != ERR_OK) {
            pool_free(&m->pool, id);
            return NULL;
        }
        n->id = id;
        n->hash = hash;
        list_init(&n->lru);
    }
    list_remove(&n->lru);
    list_push(&m->lru, &n->lru);
    return n;
}

void memory_note_dead(struct target_memory *m, slice domain, const struct addr *a, mono_t until) {
    struct target_note *n = note_make(m, domain, a);
    if (n) n->dead_until = until;
}

void memory_note_shut(struct target_memory *m, slice domain, const struct addr *a, mono_t until) {
    struct target_note *n = note_make(m, domain, a);
    if (n) n->shut_until = until;
}

void memory_note_used(struct target_memory *m, slice domain, const struct addr *a, mono_t now) {
    struct target_note *n = note_make(m, domain, a);
    if (!n) return;
    n->dead_until = 0;
    n->used_at = now;
}

/* ---- the addresses of one server ---- */

/* RFC 6724 2.1: the default policy table. Which source address we would have is the system's to
 * know: an address that cannot be reached fails at once, and the next has its turn. */
static int precedence(const struct addr *a) {
    static const uint8_t zero[15] = { 0 };
    const uint8_t *ip = a->ip;
    if (a->family == ADDR_V4) return 35;
    if (memcmp(ip, zero, sizeof zero) == 0) return 50;                        /* ::1 */
    if (ip[0] == 0x20 && ip[1] == 0x02) return 30;                            /* 6to4 */
    if (ip[0] == 0x20 && ip[1] == 0x01 && ip[2] == 0 && ip[3] == 0) return 5; /* Teredo */
    if ((ip[0] & 0xfe) == 0xfc) return 3;                                     /* ULA */
    if ((ip[0] == 0xfe && (ip[1] & 0xc0) == 0xc0) || (ip[0] == 0x3f && ip[1] == 0xfe)) return 1;
    return 40;
}

/* RFC 8305 4: what answered before comes first, then RFC 6724; equals stay as the DNS had them. */
static bool place_is_before(const struct place *a, const struct place *b) {
    if (a->is_used != b->is_used) return a->is_used;
    return precedence(&a->addr) > precedence(&b->addr);
}

static void places_sort(struct place *p, unsigned n) {
    for (unsigned i = 1; i < n; i++)
        for (unsigned j = i; j > 0 && place_is_before(&p[j], &p[j - 1]); j--) {
            struct place t = p[j];
            p[j] = p[j - 1];
            p[j - 1] = t;
        }
    /* RFC 8305 4: families take turns, so that a broken one costs one delay and not many. */
    for (unsigned i = 1; i < n; i++) {
        unsigned j = i;
        while (j < n && p[j].addr.family == p[i - 1].addr.family) j++;
        if (j == n) break;
        struct place t = p[j];
        memmove(&p[i + 1], &p[i], (j - i) * sizeof *p);
        p[i] = t;
    }
}

/* ---- the plan ---- */

struct planner {
    struct dns_cache *dns;
    const struct target_memory *memory;
    const struct search *search;
    mono_t now;
    struct plan *out;
    struct place dead[LIMIT_PLACES];
    unsigned dead_count;
    unsigned groups;
    bool is_sure; /* nothing so far is under way */
};

static void look_again(struct planner *p, mono_t at) {
    p->out->look_at = mono_min(p->out->look_at, at);
}

/* An answer is missing that could put something before whatever follows. */
static void not_sure(struct planner *p) {
    if (p->is_sure) p->out->sure = p->out->count;
    p->is_sure = false;
}

/* NULL: under way; else the answer, which is a failed one when nobody could be asked. */
static const struct dns_entry *answer_of(struct planner *p, slice name, enum dns_type type) {
    static const struct dns_entry failed = { .result = DNS_FAIL };
    const struct dns_entry *e = dns_look(p->dns, name, type, p->now);
    if (!e) return &failed;
    if (!e->is_asked) return e;
    p->out->is_waiting = true;
    look_again(p, e->at);
    return NULL;
}

static void plan_add(struct planner *p, const struct place *places, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (!places[i].is_dead && p->out->count < LIMIT_PLACES)
            p->out->places[p->out->count++] = places[i];
        else if (places[i].is_dead && p->dead_count < LIMIT_PLACES)
            p->dead[p->dead_count++] = places[i];
    }
}

static void plan_fault(struct planner *p, enum target_fault fault) {
    if (fault > p->out->fault) p->out->fault = fault;
}

/* false: it asked to be left alone. */
static bool place_make(struct planner *p, const struct addr *a, struct place *out) {
    const struct target_note *note =
        note_find(p->memory, note_hash(p->memory, search_domain(p->search), a));
    if (note && note->shut_until > p->now) {
        plan_fault(p, TARGET_NOT_NOW);
        return false;
    }
    *out = (struct place){ .addr = *a,
                           .group = (uint8_t)p->groups,
                           .is_dead = note && note->dead_until > p->now,
                           .is_used = note && note->used_at != 0 };
    return true;
}

static unsigned take_addrs(struct planner *p, const struct dns_entry *e, uint16_t port,
                           struct place *places, unsigned n) {
    for (unsigned i = 0; e && i < e->count && n < HOST_ADDRS; i++) {
        struct addr a = e->records[i].addr;
        a.port = port;
        if (place_make(p, &a, &places[n])) n++;
    }
    return n;
}

static bool has_no_way(const struct search *s, const struct addr *a) {
    for (unsigned i = 0; i < s->attempt_count; i++)
        if (s->attempts[i].has_no_way && addr_eq(&s->attempts[i].addr, a)) return true;
    return false;
}

static unsigned learn_prefixes(const struct dns_entry *e, struct network out[static PREFIXES]) {
    unsigned n = 0;
    for (unsigned i = 0; i < e->count && n < PREFIXES; i++) {
        bool is_new = nat64_learn(&e->records[i].addr, &out[n]) == ERR_OK;
        for (unsigned k = 0; is_new && k < n; k++)
            is_new = out[k].bits != out[n].bits || !addr_ip_eq(&out[k].base, &out[n].base);
        n += is_new;
    }
    return n;
}

/* RFC 8305 7.1, 7.2: an IPv4 address that there is no route to may be behind a translator. So only
 * who has tried asks for the translators' prefixes (RFC 7050), and a DNS64 is asked for nothing
 * more when what it made works. */
static unsigned take_translated(struct planner *p, struct place *places, unsigned n) {
    unsigned found = n;
    for (unsigned i = 0; i < found; i++) {
        struct network prefixes[PREFIXES];
        struct addr made;
        if (places[i].addr.family != ADDR_V4 || !has_no_way(p->search, &places[i].addr)) continue;
        const struct dns_entry *e = answer_of(p, SLICE(NAT64_NAME), DNS_AAAA);
        unsigned count = e ? learn_prefixes(e, prefixes) : 0;
        for (unsigned k = 0; k < count && n < HOST_ADDRS; k++)
            if (nat64_make(&prefixes[k], &places[i].addr, &made) == ERR_OK &&
                place_make(p, &made, &places[n]))
                n++;
    }
    return n;
}

/* Why this host has no address. */
static enum target_fault host_fault(const struct planner *p, slice host, const struct dns_entry *a,
                                    const struct dns_entry *aaaa) {
    if (a->result == DNS_FAIL || aaaa->result == DNS_FAIL) return TARGET_NO_DNS;
    bool is_unknown = a->result == DNS_NXDOMAIN || aaaa->result == DNS_NXDOMAIN;
    return is_unknown && slice_ieq(host, search_host(p->search)) ? TARGET_NO_DOMAIN : TARGET_NO_TLS;
}

/* RFC 7984 3.1: the addresses of all families, whichever there are. */
static void plan_host(struct planner *p, slice host, uint16_t port) {
    struct place places[HOST_ADDRS];
    unsigned n = 0;
    const struct dns_entry *aaaa = answer_of(p, host, DNS_AAAA);
    const struct dns_entry *a = answer_of(p, host, DNS_A);
    n = take_addrs(p, aaaa, port, places, n);
    n = take_addrs(p, a, port, places, n);
    places_sort(places, n);
    n = take_translated(p, places, n);
    /* RFC 8305 3: IPv6 starts at once, IPv4 gives AAAA a moment. */
    bool is_held = !aaaa && a && a->count && p->now < a->learned + TARGET_AAAA_MS;
    if (is_held) {
        look_again(p, a->learned + TARGET_AAAA_MS);
        not_sure(p);
    }
    plan_add(p, places, n);
    if (!a || !aaaa) {
        not_sure(p);                        /* of the servers that follow */
    } else if (!a->count && !aaaa->count) { /* else some are there, but left alone */
        plan_fault(p, host_fault(p, host, a, aaaa));
    }
    p->groups++;
}

static uint64_t next_random(uint64_t *state) { /* SplitMix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* RFC 2782: the lowest priority first; among equals one is drawn by weight, those of weight 0 being
 * looked at first, and so on with the rest. */
static void plan_srv(struct planner *p, const struct dns_entry *e, uint64_t *seed) {
    const struct dns_srv *left[LIMIT_DNS_RECORDS];
    unsigned n = 0;
    for (unsigned i = 0; i < e->count; i++)
        if (e->records[i].srv.target.len) left[n++] = &e->records[i].srv;
    while (n > 0 && p->groups < LIMIT_PLACES && p->out->count < LIMIT_PLACES) {
        uint32_t lowest = UINT32_MAX, sum = 0;
        for (unsigned i = 0; i < n; i++)
            if (left[i]->priority < lowest) lowest = left[i]->priority;
        for (unsigned i = 0; i < n; i++)
            if (left[i]->priority == lowest) sum += left[i]->weight;
        uint32_t draw = (uint32_t)(next_random(seed) % ((uint64_t)sum + 1)), run = 0;
        unsigned pick = n;
        for (int pass = 0; pass < 2 && pick == n; pass++)
            for (unsigned i = 0; i < n && pick == n; i++) {
                if (left[i]->priority != lowest || (left[i]->weight == 0) != (pass == 0)) continue;
                run += left[i]->weight;
                if (run >= draw) pick = i;
            }
        ASSERT(pick < n);
        plan_host(p, left[pick]->target, left[pick]->port);
        left[pick] = left[--n];
    }
}

/* The SRV names to look under: what NAPTR says, else the one everybody knows (RFC 3263 4.1). The
 * count, 0 while NAPTR may still come. */
static unsigned srv_names(struct planner *p, slice own, slice names[static SRV_SETS]) {
    const struct dns_entry *naptr = answer_of(p, search_host(p->search), DNS_NAPTR);
    if (!naptr && p->now < p->search->started + TARGET_NAPTR_MS) {
        look_again(p, p->search->started + TARGET_NAPTR_MS);
        return 0;
    }
    unsigned n = 0;
    for (unsigned i = 0; naptr && i < naptr->count && n < SRV_SETS; i++)
        names[n++] = naptr->records[i].naptr.replacement;
    if (n == 0) names[n++] = own;
    return n;
}

static void plan_name(struct planner *p) {
    char mem[NAME_MAX_BYTES + 16];
    struct buf own = buf_over(mem, sizeof mem);
    slice names[SRV_SETS];
    uint64_t seed = p->search->seed;
    buf_lit(&own, "_sips._tcp.");
    buf_put(&own, search_host(p->search));
    const struct dns_entry *srv = answer_of(p, buf_slice(&own), DNS_SRV); /* in parallel */
    unsigned n = srv_names(p, buf_slice(&own), names), none = 0;
    if (n == 0) not_sure(p);
    for (unsigned i = 0; i < n; i++) {
        srv = answer_of(p, names[i], DNS_SRV);
        if (!srv) {
            not_sure(p);
        } else if (srv->count == 0) {
            none++;
            if (srv->result == DNS_FAIL) plan_fault(p, TARGET_NO_DNS);
        } else {
            plan_srv(p, srv, &seed);
        }
    }
    /* RFC 3263 4.2: no SRV at all, then the name's own addresses. "." is an SRV: nobody is there.
     */
    if (n > 0 && none == n) plan_host(p, search_host(p->search), PORT_TLS);
}

void plan_make(struct dns_cache *d, const struct target_memory *m, const struct search *s,
               mono_t now, struct plan *out) {
    struct planner p = {
        .dns = d, .memory = m, .search = s, .now = now, .out = out, .is_sure = true
    };
    struct addr numeric;
    *out = (struct plan){ .look_at = MONO_NEVER };
    if (addr_read_ip(search_host(s), &numeric) == ERR_OK) {
        struct place places[HOST_ADDRS] = { { .addr = numeric } };
        places[0].addr.port = s->port ? s->port : PORT_TLS;
        plan_add(&p, places, take_translated(&p, places, 1));
    } else if (s->port) {
        plan_host(&p, search_host(s), s->port);
    } else {
        plan_name(&p);
    }
    if (p.is_sure) out->sure = out->count;
    /* Dead places that are tried all the same tell their fault themselves. */
    if (p.is_sure && out->count == 0 && out->fault == TARGET_OK && (s->is_retry || !p.dead_count))
        out->fault = p.dead_count ? TARGET_NO_ANSWER : TARGET_NO_TLS;
    for (unsigned i = 0; i < p.dead_count && !s->is_retry && out->count < LIMIT_PLACES; i++)
        out->places[out->count++] = p.dead[i];
    if (p.is_sure) out->sure = out->count;
}
