/* os/resolver.h - asks DNS servers, over c-ares, on the loop of whoever owns it.
 *
 * Purpose:  a question goes out over UDP (again over TCP when the answer is cut short), to each
 *           server in turn until one answers; what comes back is the reply's own bytes, because
 *           they tell what c-ares leaves out: how long an answer, or a "no", may be believed.
 *           Nothing is cached, and a reply is as trustworthy as the way to the server: who is at an
 *           address is proved by certificates, not here.
 * Servers:  those given, or those of resolv.conf, which is looked at again when it has changed.
 *           Questions under way then go on with the servers they were asked of.
 * Drive:    resolver_run() at resolver_wake_at(); after each turn of the loop take the replies with
 *           resolver_next(). Nothing is called back.
 * Limits:   LIMIT_DNS_QUESTIONS at a time; about 3 s per question and server: three silent ones in
 * 9 s. Threads:  all on the loop's thread. */
#ifndef OS_RESOLVER_H
#define OS_RESOLVER_H

#include "base/addr.h"
#include "base/clock.h"
#include "base/limits.h"

#define RESOLVER_SERVERS_MAX 8u

struct loop;
struct resolver; /* opaque */

struct resolver_config {
    struct loop *loop;          /* outlives it */
    const struct addr *servers; /* copied; port 0 means 53 */
    size_t server_count;        /* 0: those of resolv_conf; at most RESOLVER_SERVERS_MAX */
    const char *resolv_conf;    /* must outlive it; NULL: /etc/resolv.conf */
    uint16_t port;              /* of the servers in resolv_conf; 0: 53 */
    uint32_t try_ms;            /* for the first answer; each round doubles it. 0: 1000 */
    unsigned tries;             /* rounds over all servers; 0: 2 */
};

struct resolver_reply {
    uint64_t ticket;
    slice message; /* of one of the servers, or empty: none answered. Until the next call */
};

/* MEMORY, IO, LIMIT. */
NODISCARD enum err resolver_new(const struct resolver_config *config, struct resolver **out);
void resolver_free(struct resolver *r); /* questions under way are forgotten; NULL is allowed */

/* `type` as on the wire. OK: resolver_next() will give the reply. BAD: not a name that could be
 * asked (letters, digits, "-" and "_" in labels of 1 to 63). FULL, MEMORY. */
NODISCARD enum err resolver_ask(struct resolver *r, slice name, uint16_t type, uint64_t ticket,
                                mono_t now);
bool resolver_next(struct resolver *r, struct resolver_reply *out);
void resolver_run(struct resolver *r, mono_t now);
mono_t resolver_wake_at(const struct resolver *r); /* MONO_NEVER when nothing is under way */

#endif
