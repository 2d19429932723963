/* os/loop.h - one thread's event loop: who is ready, who wakes me, what time is it.
 *
 * Purpose:  a small face over epoll. What wants to hear of a descriptor holds a `struct
 *           loop_source` as a member and is found back with LIST_ITEM. Level-triggered: a source
 *           that was not read to its end is reported again in the next turn.
 * Turn:     loop_prepare_sleep(); look once more at your queues; loop_wait(); loop_dispatch().
 *           Sources of rank LOOP_FIRST are served before those of LOOP_LATER, and of the latter
 *           only as many as the caller's budget allows: new handshakes never stop traffic.
 * Lifetime: a source may be removed, closed and freed inside any callback, its own included.
 * Threads:  all calls on the loop's thread, but loop_wake(), which costs a system call only when
 *           the loop sleeps (or is about to).
 *
 *   for (;;) {
 *       loop_prepare_sleep(l);
 *       enum err e = loop_wait(l, mailbox_empty(m) ? timeout_ms : 0);
 *       loop_dispatch(l, 16);
 *   }                                                                                  */
#ifndef OS_LOOP_H
#define OS_LOOP_H

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"

#include <stdatomic.h>

enum loop_events {
    LOOP_READ = 1 << 0,
    LOOP_WRITE = 1 << 1,
    LOOP_BROKEN = 1 << 2 /* error or both sides closed; always reported, with READ */
};
enum loop_rank { LOOP_FIRST, LOOP_LATER };

struct loop_source {
    void (*on_ready)(struct loop_source *s, unsigned events);
    int fd;
    uint8_t interest; /* LOOP_READ | LOOP_WRITE */
    uint8_t rank;     /* enum loop_rank; may be changed at any time */
    bool added;
};

struct loop; /* opaque */

/* MEMORY, IO (no descriptors left). */
NODISCARD enum err loop_new(struct loop **out);
void loop_free(struct loop *l); /* the sources stay their owners'; NULL is allowed */

/* s->fd, on_ready and rank are set by the caller. IO: the system refuses. */
NODISCARD enum err loop_add(struct loop *l, struct loop_source *s, unsigned interest);
/* Ask for other events. No system call when nothing changes. */
NODISCARD enum err loop_mod(struct loop *l, struct loop_source *s, unsigned interest);
/* Before close(s->fd). Events of this turn that were not served yet are dropped. */
void loop_del(struct loop *l, struct loop_source *s);

/* From here on loop_wake() writes to the wake descriptor: call it, then look at your queues. */
void loop_prepare_sleep(struct loop *l);
/* Sleep until something is ready, somebody wakes us, or timeout_ms passed (< 0: for ever). */
NODISCARD enum err loop_wait(struct loop *l, int timeout_ms);
/* Serve what loop_wait found; at most `later_max` sources of rank LOOP_LATER. */
void loop_dispatch(struct loop *l, unsigned later_max);
/* From any thread: end the current or next loop_wait. */
void loop_wake(struct loop *l);

/* The clocks. Milliseconds; wall time may step. */
mono_t clock_mono(void);
wall_t clock_wall(void);
struct now clock_now(void);
/* Milliseconds from now to at, rounded up, for loop_wait: -1 for MONO_NEVER, 0 when it is past. */
int clock_wait_ms(mono_t now, mono_t at);

#endif
