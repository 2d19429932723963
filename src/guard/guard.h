/* guard/guard.h - may this source, may this account, now? Budgets that strangers cannot exhaust for
 * others.
 *
 * Purpose:  a source (one IPv4 address, one IPv6 /64) has budgets for failed authentications, for
 *           requests without an identity and for new connections; an account has one for requests.
 *           Budgets are leaky buckets: `burst` at once, `per_min` in the long run.
 * Bans:     a source beyond its budget of failed authentications is banned for 10 s, the next time
 *           for 20 s, and so on up to 15 min; each quiet 15 min takes one step back. A ban stops
 *           authentication and requests without an identity; flows that proved one go on, and so do
 *           device certificates, so colleagues behind one address keep their calls. A source from
 *           which somebody authenticated within the last hour gets `good_factor` times the budget.
 *           On datagrams the caller counts a failure only when the nonce was ours: else a forged
 *           sender could ban somebody else.
 * Memory:   all of it is taken in guard_new: sets of GUARD_WAYS places, chosen by a keyed hash, so
 *           nobody can aim at a place. When a set is full, the place that tells least is given
 * away: an idle one, else the one longest unheard. A banned one never is: when all places of a set
 * are banned, newcomers share one common budget until a ban ends. To get there an attacker must
 * earn bans on as many addresses as the whole table has places, and earn them again every 15 min.
 * Threads:  any; a lock per stripe of sets, held for one look-up.
 *
 *   if (!guard_may_auth(g, &flow->peer, now)) ... 403
 *   verdict == DIGEST_OK ? guard_auth_ok(g, &flow->peer, now) : guard_auth_failed(...);      */
#ifndef GUARD_GUARD_H
#define GUARD_GUARD_H

#include "base/addr.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"

struct guard;

enum guard_verdict {
    GUARD_OK,
    GUARD_SLOW_DOWN, /* 503 with Retry-After: guard_wait_s() */
    GUARD_DROP       /* no answer: it would only feed a flood */
};

struct guard_budget {
    uint32_t per_min, burst; /* burst 0: nothing at all is allowed; both at most GUARD_BUDGET_MAX */
};
#define GUARD_BUDGET_MAX 1000000u
struct guard_source_limits {
    struct guard_budget auth_failures, requests, connections;
};
struct guard_limits {
    uint32_t sources_max, accounts_max; /* places; rounded up to a power of two */
    struct guard_source_limits source;
    struct guard_source_limits loopback; /* the same rules, other figures */
    struct guard_budget account;         /* requests of one account */
    struct guard_budget domain;          /* requests of one other domain */
    uint32_t good_factor;                /* 1: no difference */
};
/* 65,536 sources (5 MB) and accounts (1 MB). A source: 30 failures a minute; 20 requests a second,
 * 400 at once (an office of 200 phones that comes back after a power cut); 10 connections a second,
 * 200 at once. Loopback: a hundred times that. An account: 50 requests a second, 500 at once.
 * Another domain: 500 a second, 5,000 at once. */
void guard_limits_defaults(struct guard_limits *l);

#define GUARD_WAYS 8u

/* NULL: memory is short. */
NODISCARD struct guard *guard_new(const struct guard_limits *limits, const struct hash_key *key,
                                  mono_t now);
void guard_free(struct guard *g);

/* May this source try to authenticate? false: it is banned. */
bool guard_may_auth(struct guard *g, const struct addr *source, mono_t now);
void guard_auth_failed(struct guard *g, const struct addr *source, mono_t now);
void guard_auth_ok(struct guard *g, const struct addr *source, mono_t now);

/* A request came from this source; `authenticated`: its flow holds an identity or it proved one
 * itself, then only its account is counted (guard_account). */
enum guard_verdict guard_request(struct guard *g, const struct addr *source, bool authenticated,
                                 mono_t now);
/* A new connection: OK or DROP (close it before the TLS handshake). */
enum guard_verdict guard_connection(struct guard *g, const struct addr *source, mono_t now);
/* A request of this account: OK or SLOW_DOWN. */
enum guard_verdict guard_account(struct guard *g, uint32_t account_id, mono_t now);
/* The same for another domain that has proved itself; domains share the accounts' places. */
enum guard_verdict guard_domain(struct guard *g, uint32_t domain_id, mono_t now);
/* For Retry-After: seconds (1 to 900) until a request of this source is welcome again. */
uint32_t guard_wait_s(struct guard *g, const struct addr *source, mono_t now);

/* The operator's pardon: all that is known about the source is forgotten. */
void guard_forgive(struct guard *g, const struct addr *source);
struct guard_state {
    uint32_t sources, banned, accounts; /* places in use; sources banned at `now` */
};
void guard_state(struct guard *g, mono_t now, struct guard_state *out);

#endif
