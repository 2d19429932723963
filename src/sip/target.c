/* Searches: when to try what, and how a search ends.
 *
 *   target_search ─▶ ON ──a connection is up───────▶ FOUND ─┐
 *                    │ ├─all failed, or 15 s passed─▶ NONE ──┼─▶ losers cancelled, told, freed
 *                    │ └─target_cancel────────────▶ CANCELLED┘   (CANCELLED is not told)
 *                    └─ each event (answer, connection, time) makes the plan anew: RFC 3263 is
 *                       walked from its start over what is known by now, so there is no state of
 *                       "how far we are"; an attempt is known by its address                 */
#include "base/mem.h"
#include "sip/target_inner.h"

#define SHUT_MAX_MS 3600000
#define SPACE_MS    10 /* RFC 8305 5: never two attempts within that */

struct targets {
    struct dns_cache dns;
    struct target_memory memory;
    struct pool searches;
    struct list ready;
    struct timers timers;
    mono_t now;
    uint64_t seed;
};

struct targets *targets_new(const struct hash_key *key, uint64_t seed, mono_t now) {
    struct targets *t = mem_zalloc(sizeof *t);
    if (!t) return NULL;
    dns_cache_init(&t->dns, key);
    memory_init(&t->memory, key);
    pool_init(&t->searches, sizeof(struct search), LIMIT_SEARCHES);
    list_init(&t->ready);
    timers_init(&t->timers, now);
    t->now = now;
    t->seed = seed;
    return t;
}

void targets_free(struct targets *t) {
    if (!t) return;
    dns_cache_fini(&t->dns);
    memory_fini(&t->memory);
    pool_fini(&t->searches);
    mem_free(t);
}

const char *target_fault_text(enum target_fault fault) {
    static const char *const words[] = {
        [TARGET_OK] = "is there",
        [TARGET_NO_DNS] = "could not be looked up: the DNS does not answer",
        [TARGET_NO_DOMAIN] = "is no name that the DNS knows",
        [TARGET_NOT_NOW] = "is left alone for a while: it asked for that, or did not answer",
        [TARGET_NO_WAY] = "cannot be reached from here: this server has no route to its addresses",
        [TARGET_NO_ANSWER] = "does not answer",
        [TARGET_NO_TLS] = "offers no TLS",
        [TARGET_NOT_IT] = "has not proved its name",
    };
    return words[fault];
}

/* ---- beginning and end ---- */

static void search_wake(struct targets *t, struct search *s) {
    if (!list_linked(&s->ready)) list_push(&t->ready, &s->ready);
}

static void wake_all(struct targets *t) {
    uint32_t at = 0;
    pool_id id;
    for (struct search *s; (s = pool_each(&t->searches, &at, &id));) search_wake(t, s);
}

static uint8_t keep_lower(char *dst, slice s) {
    for (size_t i = 0; i < s.len; i++)
        dst[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + ('a' - 'A')) : s.ptr[i];
    return (uint8_t)s.len;
}

enum err target_search(struct targets *t, const struct target_wanted *w, mono_t now,
                       target_id *out) {
    struct addr a;
    t->now = now;
    if (!target_is_name(w->host) && addr_read_ip(w->host, &a) != ERR_OK) return ERR_BAD;
    if (w->domain.len == 0 || w->domain.len > NAME_MAX_BYTES) return ERR_BAD;
    pool_id id;
    struct search *s = pool_new(&t->searches, &id);
    if (!s) return ERR_FULL;
    s->id = id;
    list_init(&s->ready);
    s->started = s->last_at = now;
    t->seed += 0x9e3779b97f4a7c15u;
    s->seed = t->seed;
    s->port = w->port;
    s->user = w->user;
    s->is_retry = w->is_retry;
    s->domain_len = keep_lower(s->domain, w->domain);
    s->host_len = keep_lower(s->host, w->host);
    search_wake(t, s);
    *out = id;
    return ERR_OK;
}

static void search_free(struct targets *t, struct search *s) {
    list_remove(&s->ready);
    timer_stop(&t->timers, &s->timer);
    pool_free(&t->searches, s->id);
}

static void search_end(struct targets *t, struct search *s, enum search_state state) {
    s->state = (uint8_t)state;
    for (unsigned i = 0; i < s->attempt_count; i++)
        if (s->attempts[i].state == ATTEMPT_RUNNING && !(state == SEARCH_FOUND && i == s->winner))
            s->attempts[i].state = ATTEMPT_DOOMED;
    timer_stop(&t->timers, &s->timer);
    search_wake(t, s);
}

void target_cancel(struct targets *t, target_id id, mono_t now) {
    t->now = now;
    struct search *s = pool_get(&t->searches, id);
    if (s && s->state == SEARCH_ON) search_end(t, s, SEARCH_CANCELLED);
}

/* ---- what comes back ---- */

/* slot (24 bits) : attempt (8) : generation (32) */
static uint64_t attempt_ticket(const struct search *s, unsigned i) {
    return (uint64_t)s->id.slot << 40 | (uint64_t)i << 32 | s->id.gen;
}

static struct search *ticket_search(const struct targets *t, uint64_t ticket, unsigned *out) {
    struct search *s =
        pool_get(&t->searches, (pool_id){ (uint32_t)(ticket >> 40), (uint32_t)ticket });
    *out = (unsigned)(ticket >> 32) & 0xff;
    bool is_awaited = s && s->state == SEARCH_ON && *out < s->attempt_count &&
                      s->attempts[*out].state == ATTEMPT_RUNNING;
    return is_awaited ? s : NULL;
}

bool targets_ticket(const struct targets *t, uint64_t ticket, uint64_t *user) {
    unsigned i;
    const struct search *s = ticket_search(t, ticket, &i);
    if (s) *user = s->user;
    return s != NULL;
}

void targets_dns(struct targets *t, uint64_t ticket, const struct dns_answer *answer, mono_t now) {
    t->now = now;
    if (dns_learn(&t->dns, ticket, answer, now)) wake_all(t);
}

static void attempt_failed(struct targets *t, struct search *s, unsigned i, enum target_fault fault,
                           const char *words) {
    struct attempt *a = &s->attempts[i];
    a->has_no_way = fault == TARGET_NO_WAY;
    /* Without any way for IPv4 from here it says nothing of that server, and costs no time. */
    if (!a->has_no_way || a->addr.family != ADDR_V4)
        memory_note_dead(&t->memory, search_domain(s), &a->addr, t->now + TARGET_DEAD_MS);
    if (fault > s->fault) {
        s->fault = (uint8_t)fault;
        s->words = words;
    }
}

/* RFC 3263 4.3: who was silent for so long that another server was asked counts as
 * failed, though nobody waits for him now; else each call to that domain would wait for him again.
 */
static void note_silent(struct targets *t, const struct search *s) {
    for (unsigned i = 0; i < s->attempt_count; i++) {
        const struct attempt *a = &s->attempts[i];
        if (a->state == ATTEMPT_RUNNING && t->now >= a->started + TARGET_NEXT_SERVER_MS)
            memory_note_dead(&t->memory, search_domain(s), &a->addr, t->now + TARGET_DEAD_MS);
    }
}

bool targets_connected(struct targets *t, uint64_t ticket, enum target_fault fault,
                       const char *words, mono_t now) {
    unsigned i;
    t->now = now;
    struct search *s = ticket_search(t, ticket, &i);
    if (!s) return false;
    if (fault == TARGET_OK) {
        note_silent(t, s);
        memory_note_used(&t->memory, search_domain(s), &s->attempts[i].addr, now);
        s->winner = (uint8_t)i;
        search_end(t, s, SEARCH_FOUND);
        return true;
    }
    s->attempts[i].state = ATTEMPT_FAILED;
    attempt_failed(t, s, i, fault, words);
    search_wake(t, s);
    return true;
}

void targets_failed(struct targets *t, slice domain, const struct addr *addr, int64_t ms,
                    mono_t now) {
    t->now = now;
    memory_note_dead(&t->memory, domain, addr, now + ms);
}

void targets_shut(struct targets *t, slice domain, const struct addr *addr, int64_t ms,
                  mono_t now) {
    t->now = now;
    memory_note_shut(&t->memory, domain, addr, now + (ms < SHUT_MAX_MS ? ms : SHUT_MAX_MS));
}

/* ---- the next step of a search ---- */

static bool is_tried(const struct search *s, const struct addr *a) {
    for (unsigned i = 0; i < s->attempt_count; i++)
        if (addr_eq(&s->attempts[i].addr, a)) return true;
    return false;
}

/* Attempts that take too long; the rest: how many run, and when the first of them will. */
static unsigned running(struct targets *t, struct search *s, mono_t *look_at) {
    unsigned n = 0;
    for (unsigned i = 0; i < s->attempt_count; i++) {
        struct attempt *a = &s->attempts[i];
        if (a->state != ATTEMPT_RUNNING) continue;
        if (t->now >= a->started + TARGET_ATTEMPT_MS) {
            a->state = ATTEMPT_DOOMED;
            attempt_failed(t, s, i, TARGET_NO_ANSWER, NULL);
        } else {
            n++;
            *look_at = mono_min(*look_at, a->started + TARGET_ATTEMPT_MS);
        }
    }
    return n;
}

/* The earliest moment for this place. */
static mono_t place_at(const struct search *s, const struct plan *plan, unsigned i,
                       unsigned running_count) {
    if (s->attempt_count == 0 && i < plan->sure) return s->started;
    if (i >= plan->sure) return s->last_at + TARGET_NEXT_SERVER_MS;
    if (running_count == 0) return s->last_at + SPACE_MS;
    bool is_same = plan->places[i].group == s->attempts[s->attempt_count - 1].group;
    return s->last_at + (is_same ? TARGET_NEXT_MS : TARGET_NEXT_SERVER_MS);
}

/* true: *out is its next connection. false: it waits, or has ended. */
static bool search_step(struct targets *t, struct search *s, struct target_effect *out) {
    struct plan plan;
    if (t->now >= s->started + TARGET_SEARCH_MS) {
        if (s->fault == TARGET_OK) s->fault = s->attempt_count ? TARGET_NO_ANSWER : TARGET_NO_DNS;
        search_end(t, s, SEARCH_NONE);
        return false;
    }
    plan_make(&t->dns, &t->memory, s, t->now, &plan);
    mono_t look_at = mono_min(plan.look_at, s->started + TARGET_SEARCH_MS);
    unsigned running_count = running(t, s, &look_at), i = 0;
    while (i < plan.count && is_tried(s, &plan.places[i].addr)) i++;
    bool is_more = i < plan.count && s->attempt_count < LIMIT_PLACES;
    if (is_more) {
        mono_t at = place_at(s, &plan, i, running_count);
        if (t->now >= at) {
            struct attempt *a = &s->attempts[s->attempt_count];
            *a = (struct attempt){ .addr = plan.places[i].addr,
                                   .group = plan.places[i].group,
                                   .started = t->now };
            s->last_at = t->now;
            *out = (struct target_effect){ .what = TARGET_CONNECT,
                                           .search = s->id,
                                           .user = s->user,
                                           .ticket = attempt_ticket(s, s->attempt_count++),
                                           .addr = a->addr,
                                           .domain = search_domain(s) };
            return true;
        }
        look_at = mono_min(look_at, at);
    } else if (running_count == 0 && !plan.is_waiting) {
        if (plan.fault > s->fault) {
            s->fault = (uint8_t)plan.fault;
            s->words = NULL;
        }
        search_end(t, s, SEARCH_NONE);
        return false;
    }
    timer_start(&t->timers, &s->timer, look_at);
    return false;
}

static bool search_cancels(struct search *s, struct target_effect *out) {
    for (unsigned i = 0; i < s->attempt_count; i++)
        if (s->attempts[i].state == ATTEMPT_DOOMED) {
            s->attempts[i].state = ATTEMPT_FAILED;
            *out = (struct target_effect){ .what = TARGET_CONNECT_CANCEL,
                                           .search = s->id,
                                           .user = s->user,
                                           .ticket = attempt_ticket(s, i) };
            return true;
        }
    return false;
}

/* true: its end is told in *out. */
static bool search_tell_end(struct targets *t, struct search *s, struct target_effect *out) {
    bool is_told = s->state != SEARCH_CANCELLED;
    *out = (struct target_effect){ .what = TARGET_NONE,
                                   .search = s->id,
                                   .user = s->user,
                                   .fault = (enum target_fault)s->fault,
                                   .words = s->words };
    if (s->state == SEARCH_FOUND) {
        out->what = TARGET_FOUND;
        out->fault = TARGET_OK;
        out->addr = s->attempts[s->winner].addr;
    } else if (!s->words) {
        out->words = target_fault_text(out->fault);
    }
    search_free(t, s);
    return is_told;
}

bool targets_next_effect(struct targets *t, struct target_effect *out) {
    while (!list_empty(&t->ready)) {
        struct search *s = LIST_ITEM(t->ready.next, struct search, ready);
        if (s->state == SEARCH_ON && search_step(t, s, out)) return true;
        if (search_cancels(s, out)) return true;
        if (s->state == SEARCH_ON)
            list_remove(&s->ready);
        else if (search_tell_end(t, s, out))
            return true;
    }
    *out = (struct target_effect){ .what = TARGET_ASK };
    return dns_next_ask(&t->dns, &out->ticket, &out->question);
}

/* ---- time ---- */

void targets_run_timers(struct targets *t, mono_t now) {
    t->now = now;
    timers_advance(&t->timers, now);
    for (struct timer *due; (due = timers_next(&t->timers));)
        search_wake(t, LIST_ITEM(due, struct search, timer));
}

mono_t targets_wake_at(const struct targets *t) {
    return list_empty(&t->ready) ? timers_wake_at(&t->timers) : t->now;
}
