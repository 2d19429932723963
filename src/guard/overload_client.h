/* guard/overload_client.h - what a server that we send requests to can bear: RFC 7339, the client's
 * side, by loss.
 *
 * Purpose:  its answers carry oc (a percentage), how long that holds and a number that rises; until
 *           then so many of the requests that would begin something are not sent. What belongs to a
 *           call goes on (5.10.1). The percentage is of all requests, so of the new ones more are
 *           held back, by the mix of the last 5 s (7.2).
 * Lifetime: a value, zeroed at first. One per next hop, on its worker's thread.
 *
 *   overload_client_hear(&o, &told, now);                      per response
 *   if (overload_client_sheds(&o, true, random, now)) ... 503  per request                     */
#ifndef GUARD_OVERLOAD_CLIENT_H
#define GUARD_OVERLOAD_CLIENT_H

#include "base/clock.h"
#include "base/slice.h"

#define OVERLOAD_CLIENT_VIA         ";oc;oc-algo=\"loss\"" /* RFC 7339 4.1, 4.2 */
#define OVERLOAD_CLIENT_VALIDITY_MS 500u                   /* RFC 7339 4.3, when none is told */
#define OVERLOAD_CLIENT_LONGEST_MS  60000u                 /* nobody is believed for longer */

struct overload_client {
    uint32_t loss; /* percent; 0: nothing is held back */
    mono_t until;
    uint64_t seq; /* of what was heard last; 0: nothing yet */
    uint32_t asked_new, asked_all, new_before, all_before;
    mono_t mix_at;
};
struct overload_told { /* the parameters of our Via in a response; ptr NULL: not there */
    slice oc, algo, validity, seq;
};

/* Nonsense, an algorithm that we have not offered, and what is older than the last one change
 * nothing. */
void overload_client_hear(struct overload_client *o, const struct overload_told *t, mono_t now);
/* Is this request to be held back? Counts it. random: 32 fresh bits. */
bool overload_client_sheds(struct overload_client *o, bool is_new, uint32_t random, mono_t now);

#endif
