/* daemon/storer.h - the one thread that owns the store: many changes, one commit.
 *
 * Purpose:  workers hand in changes and go on; this thread takes everything that has arrived since
 *           its last commit, commits it as one batch, and tells each sender. So the disk's speed
 *           sets how many share a commit, not how fast calls are set up.
 * Lazy:     a batch of nothing but STORE_LAZY changes (refreshes nobody waits for) is held back for
 *           at most a second, so that they ride on somebody else's commit.
 * Failure:  everybody in the batch hears ERR_STORE or ERR_IO; storer_state tells since when and
 * why. The next batch tries again; with nothing to do, the thread tries by itself once a second.
 * Refreshes that failed for trouble of the disk stay in the queue. Limits:   STORER_WAITING_MAX
 * changes wait; more are ERR_FULL at once (their 200 becomes a 503). Threads:  storer_submit and
 * storer_commit from any thread; on_done is called on the store thread and must not block. */
#ifndef DAEMON_STORER_H
#define DAEMON_STORER_H

#include "store/store.h"

#define STORER_WAITING_MAX 65536u
#define STORER_BATCH_MAX   4096u
#define STORER_LAZY_MS     1000

struct storer; /* opaque */

typedef void storer_done_fn(void *ctx, unsigned worker, uint64_t ticket, enum err result);

struct storer_state {
    uint64_t commits, changes, failures;
    uint32_t waiting;
    bool failing;      /* the last commit failed */
    wall_t since;      /* of the first failure in a row */
    char trouble[160]; /* the store's words for it */
};

/* The store stays the caller's and must not be used by anybody else until storer_stop. */
NODISCARD enum err storer_start(struct store *store, storer_done_fn *on_done, void *ctx,
                                struct storer **out);
/* Everything handed in before is committed (or has failed) when this returns. */
void storer_stop(struct storer *s);

/* The change is copied. ticket 0: nobody wants an answer. FULL, MEMORY: nothing was taken, and
 * on_done will not be called. */
NODISCARD enum err storer_submit(struct storer *s, unsigned worker,
                                 const struct store_change *change, uint64_t ticket);
/* The same, and wait for the commit of all `count` changes, which are one batch: all or none. For
 * admin calls; never from a worker. */
NODISCARD enum err storer_commit(struct storer *s, const struct store_change *changes,
                                 size_t count);
void storer_state(struct storer *s, struct storer_state *out);

#endif
