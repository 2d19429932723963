/* daemon/trace.h - `kith trace`: lines from the workers to whoever follows.
 *
 * A worker never waits: each follower has a bounded buffer, and what does not fit is counted and
 * told to it as {"lost":N}. Without followers nothing is produced (on_change switches the node).
 * Threads: all. */
#ifndef DAEMON_TRACE_H
#define DAEMON_TRACE_H

#include "base/slice.h"

#define TRACE_FOLLOWERS_MAX 8
#define TRACE_BYTES_MAX     (512u << 10) /* waiting for one follower: about 2,000 lines */

struct trace_hub; /* opaque */

NODISCARD enum err trace_hub_new(void (*on_change)(void *ctx, bool followed), void *ctx,
                                 struct trace_hub **out);
void trace_hub_stop(struct trace_hub *h); /* all followers return */
void trace_hub_free(struct trace_hub *h); /* after the last follower has returned */

/* One JSON object without a newline. */
void trace_put(struct trace_hub *h, slice line);
/* Blocks, giving lines to `sink` until it says false or the hub stops; an empty line asks once a
 * second whether it still listens. FULL: too many followers. */
NODISCARD enum err trace_follow(struct trace_hub *h, bool (*sink)(void *ctx, slice line),
                                void *ctx);

#endif
