/* sip/target_inner.h - the inside of target.h, shared by
 *
 *   target.c        searches: when to try what, and how a search ends
 *   target_dns.c    answers of the DNS and questions under way
 *   target_order.c  which addresses, in which order; what failed or answered lately */
#ifndef SIP_TARGET_INNER_H
#define SIP_TARGET_INNER_H

#include "base/list.h"
#include "base/map.h"
#include "base/timer.h"
#include "sip/target.h"

#define NAME_MAX_BYTES 253 /* RFC 1035 2.3.4, written with dots */

/* ---- DNS ---- */

struct dns_entry { /* an answer, or a question under way */
    pool_id id;
    uint64_t hash;
    struct list lru;
    struct list asks; /* in targets.asks until its TARGET_ASK has been taken */
    uint8_t type, result;
    bool is_asked;  /* under way */
    mono_t at;      /* under way: when we give up; else when the answer ends */
    mono_t learned; /* when the answer came */
    uint16_t count;
    struct dns_record *records; /* one block with their text */
    uint8_t name_len;
    char name[NAME_MAX_BYTES]; /* lower case */
};

struct dns_cache {
    struct pool pool;
    struct map map;
    struct list lru;  /* the longest unused first; questions under way are not in it */
    struct list asks; /* to be told as TARGET_ASK */
    uint32_t asked;
    struct hash_key key;
};
void dns_cache_init(struct dns_cache *d, const struct hash_key *key);
void dns_cache_fini(struct dns_cache *d);
/* The answer, or the question under way (asked now if need be). NULL: there is no room, which
 * counts as an answer that failed. */
const struct dns_entry *dns_look(struct dns_cache *d, slice name, enum dns_type type, mono_t now);
/* false: nobody asked. */
bool dns_learn(struct dns_cache *d, uint64_t ticket, const struct dns_answer *answer, mono_t now);
bool dns_next_ask(struct dns_cache *d, uint64_t *ticket, struct dns_question *out);

/* ---- what is known of addresses ---- */

struct target_note {
    pool_id id;
    uint64_t hash;
    struct list lru;
    mono_t dead_until, shut_until, used_at; /* 0: never */
};
struct target_memory {
    struct pool pool;
    struct map map;
    struct list lru;
    struct hash_key key;
};
void memory_init(struct target_memory *m, const struct hash_key *key);
void memory_fini(struct target_memory *m);
void memory_note_dead(struct target_memory *m, slice domain, const struct addr *a, mono_t until);
void memory_note_shut(struct target_memory *m, slice domain, const struct addr *a, mono_t until);
void memory_note_used(struct target_memory *m, slice domain, const struct addr *a, mono_t now);

/* ---- searches ---- */

enum attempt_state {
    ATTEMPT_RUNNING,
    ATTEMPT_FAILED,
    ATTEMPT_DOOMED /* its CANCEL is to be told */
};
struct attempt {
    struct addr addr;
    uint8_t state; /* enum attempt_state */
    uint8_t group;
    bool has_no_way; /* there is no route from here */
    mono_t started;
};

enum search_state { SEARCH_ON, SEARCH_FOUND, SEARCH_NONE, SEARCH_CANCELLED };
struct search {
    target_id id;
    struct list ready; /* in targets.ready when there may be an effect to take */
    struct timer timer;
    mono_t started, last_at; /* last_at: the last attempt, or the start */
    uint64_t user;
    uint64_t seed; /* keeps the choice by weight the same for the whole search */
    uint16_t port;
    bool is_retry;
    uint8_t state; /* enum search_state */
    uint8_t attempt_count, winner;
    uint8_t fault; /* enum target_fault, the highest so far */
    const char *words;
    struct attempt attempts[LIMIT_PLACES];
    uint8_t domain_len, host_len;
    char domain[NAME_MAX_BYTES], host[NAME_MAX_BYTES]; /* lower case */
};
static inline slice search_domain(const struct search *s) {
    return slice_of(s->domain, s->domain_len);
}
static inline slice search_host(const struct search *s) {
    return slice_of(s->host, s->host_len);
}

struct place { /* an address worth trying */
    struct addr addr;
    uint8_t group; /* the server it belongs to, counted in their order */
    bool is_dead, is_used;
};
struct plan { /* what is known by now, in the order in which it is to be tried */
    struct place places[LIMIT_PLACES];
    unsigned count;
    unsigned sure;           /* so many, from the first, no answer under way could come before */
    bool is_waiting;         /* answers are under way */
    mono_t look_at;          /* look again then, even if nothing comes */
    enum target_fault fault; /* why there is nothing, when count is 0 */
};
void plan_make(struct dns_cache *d, const struct target_memory *m, const struct search *s,
               mono_t now, struct plan *out);

#endif
