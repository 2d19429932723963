/* sip/target.h - finding the servers of a domain: RFC 3263 with RFC 7984, and RFC 8305's race.
 *
 * Purpose:  from "sip:bob@other.org" to a TLS connection with a server of other.org. Only what
 * leads to TLS is looked at: NAPTR SIPS+D2T, else SRV _sips._tcp, else the addresses of the name
 *           with port 5061. Who answers there is judged by whoever connects.
 * Drive:    a search asks for DNS answers and connections by effects, is told of them, and ends
 * with TARGET_FOUND or TARGET_NONE; its id is stale then. After every call that takes `now` drain
 * targets_next_effect(), then sleep until targets_wake_at(). Order:    servers by SRV priority and
 * weight (RFC 2782), the addresses of one server by RFC 6724 with families taking turns (RFC 8305
 * 4), never mixed with another server's (RFC 7984 4). What answered last time comes first, what
 * failed lately last. Race:     an address of the same server is tried 250 ms after the one before,
 * the next server when all of one have failed or after 2 s; the first connection that is up wins.
 * Networks: with IPv6 only, an IPv4 address that there is no route to is tried again behind the
 *           network's translator, if it has one (nat/nat64.h; RFC 8305 7).
 * Memory:   DNS answers for as long as their TTL says (5 s to a day; negative ones at most 15 min)
 *           and which addresses failed (a minute) or answered; all bounded, the longest unused
 * goes. Threads:  one at a time. No clock, no sockets: time is handed in.
 *
 * DNS as data: names are without the final dot; the root itself (RFC 2782: "no such service here")
 * is an empty name. Aliases (CNAME) have been followed by whoever asked.                  */
#ifndef SIP_TARGET_H
#define SIP_TARGET_H

#include "base/addr.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/pool.h"

enum dns_type { DNS_A, DNS_AAAA, DNS_SRV, DNS_NAPTR };
enum dns_result {
    DNS_OK,       /* at least one record */
    DNS_NODATA,   /* the name is there, but has no such record */
    DNS_NXDOMAIN, /* no such name */
    DNS_FAIL      /* no answer, or none that can be believed: may be asked again soon */
};

struct dns_question {
    slice name;
    enum dns_type type;
};
struct dns_srv {
    uint16_t priority, weight, port;
    slice target;
};
struct dns_naptr {
    uint16_t order, preference;
    slice flags, services, regexp, replacement;
};
struct dns_record { /* of the type that was asked for */
    union {
        struct addr addr; /* A, AAAA; port 0 */
        struct dns_srv srv;
        struct dns_naptr naptr;
    };
};
struct dns_answer {
    enum dns_result result;
    uint32_t ttl_s; /* OK: the smallest of all records passed through; NODATA, NXDOMAIN: how long
                     * that may be believed (RFC 2308 5: the smaller of SOA's TTL and MINIMUM) */
    const struct dns_record *records; /* borrowed */
    unsigned count;                   /* more than LIMIT_DNS_RECORDS are not looked at */
};

/* ---- searches ---- */

#define TARGET_NEXT_MS        250   /* RFC 8305 5: Connection Attempt Delay */
#define TARGET_NEXT_SERVER_MS 2000  /* another server of the domain; RFC 8305 5: the most */
#define TARGET_AAAA_MS        50    /* RFC 8305 3: how long an A record waits for its AAAA */
#define TARGET_NAPTR_MS       1000  /* how long known SRV records wait for NAPTR */
#define TARGET_ATTEMPT_MS     8000  /* one connection: three SYNs, and a handshake */
#define TARGET_SEARCH_MS      15000 /* all of a search: the caller's own transaction has 32 s */
#define TARGET_DEAD_MS        60000 /* an address that failed comes last for so long */

enum target_fault { /* the later ones tell more: a search ends with the highest it met */
                    TARGET_OK,
                    TARGET_NO_DNS,    /* the DNS did not answer */
                    TARGET_NO_DOMAIN, /* there is no such name */
                    TARGET_NOT_NOW,   /* its servers have asked to be left alone for a time */
                    TARGET_NO_WAY,    /* we have no route to its addresses: another family? */
                    TARGET_NO_ANSWER, /* packets got lost */
                    TARGET_NO_TLS,    /* no server, or nobody there who speaks TLS */
                    TARGET_NOT_IT     /* somebody answers, but has not proved to be that domain */
};

struct targets; /* one worker's searches, answers and memory */
typedef pool_id target_id;

/* NULL: memory is short. seed feeds the choice by weight. */
NODISCARD struct targets *targets_new(const struct hash_key *key, uint64_t seed, mono_t now);
void targets_free(struct targets *t); /* NULL is allowed */

struct target_wanted {
    slice domain;  /* whom the server must prove to be */
    slice host;    /* RFC 3263 4: TARGET; the domain itself, or maddr; a name or an address */
    uint16_t port; /* 0: none was written */
    bool is_retry; /* some address was just reported as failed: those that are dead do not count */
    uint64_t user; /* the caller's, comes back in effects */
};
/* Is this a name that can be looked up: letters, digits, '-', '_' and dots, no address? */
bool target_is_name(slice s);
/* Its first effects may be there at once. BAD: no name and no address; FULL. */
NODISCARD enum err target_search(struct targets *t, const struct target_wanted *w, mono_t now,
                                 target_id *out);
/* Nobody waits for it any more. A stale id is ignored. */
void target_cancel(struct targets *t, target_id id, mono_t now);

/* Answers to TARGET_ASK and TARGET_CONNECT; tickets nobody waits for are ignored. */
void targets_dns(struct targets *t, uint64_t ticket, const struct dns_answer *answer, mono_t now);
/* fault OK: it is up and proved. `words` (static) say what a person should know; NULL: the fault
 * says enough. false: nobody waits for it: close it. */
bool targets_connected(struct targets *t, uint64_t ticket, enum target_fault fault,
                       const char *words, mono_t now);
/* Whose search a ticket of TARGET_CONNECT is for; false: nobody waits. */
bool targets_ticket(const struct targets *t, uint64_t ticket, uint64_t *user);
/* RFC 3263 4.3: this server answered 503, or not at all: others come first for ms. */
void targets_failed(struct targets *t, slice domain, const struct addr *addr, int64_t ms,
                    mono_t now);
/* RFC 3261 21.5.4: it asked for no requests for ms (an hour at most): it is not tried until then.
 */
void targets_shut(struct targets *t, slice domain, const struct addr *addr, int64_t ms, mono_t now);

enum target_do {
    TARGET_ASK,            /* question, ticket */
    TARGET_CONNECT,        /* addr, domain, ticket: TLS */
    TARGET_CONNECT_CANCEL, /* ticket */
    TARGET_FOUND,          /* search, addr: the connection that was reported up */
    TARGET_NONE            /* search, fault, words */
};
struct target_effect {
    enum target_do what;
    uint64_t ticket;
    struct dns_question question;
    struct addr addr;
    slice domain; /* like question.name valid until the next call that takes `now` */
    target_id search;
    uint64_t user;
    enum target_fault fault;
    const char
        *words; /* "offers no TLS" follows the domain's name; with NOT_IT those of the report */
};
bool targets_next_effect(struct targets *t, struct target_effect *out);
void targets_run_timers(struct targets *t, mono_t now);
mono_t targets_wake_at(const struct targets *t);
const char *target_fault_text(enum target_fault fault);

#endif
