/* nat/strangers.h - answers that need no proof, so many a source: by UDP the source may be forged,
 * and who is named there must not be shot at through us.
 *
 * Purpose:  one worker's count of STUN answers to requests without proof (Binding, the challenge of
 *           an Allocate), for each IPv4 address and each IPv6 /64: a burst, then so many a second.
 * A carrier's whole NAT may be one source. Memory:   one table of fixed size, 16 bytes a row;
 * sources may share a row. Threads:  belongs to its worker. No clock, no I/O.
 *
 *   if (!strangers_may_hear(s, &from, now.mono)) return; // drop it */
#ifndef NAT_STRANGERS_H
#define NAT_STRANGERS_H

#include "base/addr.h"
#include "base/clock.h"
#include "base/hash.h"

#define STRANGER_ANSWERS_BURST 1000u
#define STRANGER_ANSWERS_PER_S 200u
#define STRANGER_ROWS          8192u

struct strangers;

struct strangers *strangers_new(const struct hash_key *key); /* NULL: memory */
void strangers_free(struct strangers *s);
/* One answer more: may it be sent? */
bool strangers_may_hear(struct strangers *s, const struct addr *from, mono_t now);

#endif
