/* nat/ports.h - which relayed port belongs to which allocation, for all workers of a node.
 *
 * Purpose:  relayed addresses share one IP address a family, so a port is all that tells them
 *           apart. Here ports are chosen (at random: RFC 6056 3.3.1), counted per account, kept for
 *           whoever holds a reservation's token (RFC 8656 7.2), and found again: a packet for a
 *           relayed address of this node is the one case in which an own address may be reached.
 * Memory:   one word a port and family (1 MB), whatever is in use.
 * Threads:  any. Claiming and finding are atomic operations; accounts and reservations have a lock
 *           that only new allocations take. */
#ifndef NAT_PORTS_H
#define NAT_PORTS_H

#include "base/addr.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/pool.h"
#include "crypto/crypto.h"

struct ports;

#define PORTS_RESERVED_MAX   256u
#define PORTS_RESERVATION_MS 30000 /* RFC 8656 7.2: at least 30 s */

struct ports_config {
    uint16_t first, last; /* 49152 to 65535 by RFC 8656 7.2; both are used */
    uint32_t per_account; /* allocations of one account */
    uint32_t accounts_max;
    struct addr relay[2]; /* IPv4, IPv6: the addresses told to clients; ADDR_NONE: no such family */
};
NODISCARD struct ports *ports_new(const struct ports_config *config); /* NULL: memory */
void ports_free(struct ports *p);
const struct addr *ports_relay(const struct ports *p, uint8_t family);

struct port_owner {
    uint8_t worker;
    pool_id allocation;
};
/* A free port, now that owner's. `even`: an even one. FULL: none is left. When the system does not
 * let it be bound, ports_release() it and ask again. */
NODISCARD enum err ports_claim(struct ports *p, uint8_t family, bool even,
                               const struct port_owner *owner, struct rng *rng, uint16_t *out);
/* This very port (the odd neighbour of an even one). FULL: it is taken. */
NODISCARD enum err ports_claim_one(struct ports *p, uint8_t family, uint16_t port,
                                   const struct port_owner *owner);
void ports_release(struct ports *p, uint8_t family, uint16_t port);
/* A reserved port changes hands. */
void ports_set_owner(struct ports *p, uint8_t family, uint16_t port, const struct port_owner *o);
/* Is that a relayed address of a live allocation here? */
bool ports_owner(const struct ports *p, const struct addr *a, struct port_owner *out);

/* One more allocation of this account: FULL beyond per_account; MEMORY. */
NODISCARD enum err ports_account_take(struct ports *p, uint32_t account_id);
void ports_account_give(struct ports *p, uint32_t account_id);
unsigned ports_account_count(struct ports *p, uint32_t account_id);

struct reservation {
    uint8_t token[8];
    uint32_t account_id;
    struct addr relayed;
    int fd; /* the bound socket */
    mono_t until;
};
/* FULL: too many are kept already. The token is made here. */
NODISCARD enum err ports_reserve(struct ports *p, struct reservation *r, struct rng *rng,
                                 mono_t now);
/* Its owner comes for it. MISSING: no such token, of another account, or its time is over. */
NODISCARD enum err ports_redeem(struct ports *p, const uint8_t token[static 8], uint32_t account_id,
                                mono_t now, struct reservation *out);
/* One whose time is over, for its socket to be closed (its port is free again); false: none. At the
 * end ask with MONO_NEVER. */
bool ports_expired(struct ports *p, mono_t now, struct reservation *out);

#endif
