/* auth/digest_used.h - which nonces have been used on datagrams, and how often. Internal to auth.
 *
 * A ring of the last `max` nonces that authenticated, with the highest nc of each. When one drops
 * out of the ring, every nonce not younger than it that is not in the ring counts as used: a
 * replay is never accepted, at the price of one more challenge for a slow client. */
#ifndef AUTH_DIGEST_USED_H
#define AUTH_DIGEST_USED_H

#include "auth/digest.h"

/* True: this nc of this nonce was not used before; it is from now on. False: challenge again. */
bool digest_used_take(struct digest_used *u, uint64_t time, uint64_t salt, uint32_t nc);

#endif
