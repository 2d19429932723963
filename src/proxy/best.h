/* proxy/best.h - which of several final responses goes back to the caller: RFC 3261 16.7 step 6. */
#ifndef PROXY_BEST_H
#define PROXY_BEST_H

#include "base/defs.h"

/* Is a final response of status `a` better for the caller than one of status `b` (0: none yet)?
 * 2xx do not come here: they are forwarded at once (16.7 step 5). */
bool best_is_better(unsigned a, unsigned b);

/* The status to send when `best` was chosen: a 503 of ours or of a branch becomes 500, because a
 * 503 would tell the caller to stay away from this server (16.7 step 6). */
unsigned best_as_sent(unsigned best);

#endif
