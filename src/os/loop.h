/* os/loop.h - one thread's event loop: who is ready, who wakes me, what time is it.
 *
 * Purpose:  a small face over epoll. What wants to hear of a descriptor holds a `struct
 *           loop_source` as a member and is found back with LIST_ITEM. Level-triggered: a source
 *           that was not read to its end is reported again in the next turn. With `is_edge` it is
 *           reported once for what has come: whoever did not read all says loop_again().
 * Turn:     loop_prepare_sleep(); look once more at your queues; loop_wait(); loop_dispatch().
 * Ranks:    what is ready stands in a queue of its rank until it is served. LOOP_FIRST is served
 *           whole in every turn. Of the others only as many as the caller's shares allow, so that
 *           the first ones are looked at again soon: LOOP_NEXT from its young end (under overload
 *           the young ones still have somebody who waits for the answer; the old ones get a share
 *           of their own once they have waited `old_ms`), LOOP_LATER and LOOP_LAST from the old
 *           end. Who has waited old_ms and is told ready again may be somebody who gave up and now
 *           tries once more: such sources come after the young ones and before the old, the latest
 *           first. To wait in a queue costs little: an edge-triggered source that is not served is
 *           not read, and its peer's window fills up.
 * Lifetime: a source may be removed, closed and freed inside any callback, its own included.
 * Threads:  all calls on the loop's thread, but loop_wake(), which costs a system call only when
 *           the loop sleeps (or is about to).
 *
 *   for (;;) {
 *       loop_prepare_sleep(l);
 *       enum err e = loop_wait(l, mailbox_empty(m) && !loop_is_busy(l) ? timeout_ms : 0);
 *       loop_dispatch(l, &shares);
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
    LOOP_BROKEN = 1 << 2, /* error or both sides closed; always reported, with READ */
    LOOP_ENDING = 1 << 3  /* the peer sends no more; edge-triggered sources only, with READ */
};
enum loop_rank { LOOP_FIRST, LOOP_NEXT, LOOP_LATER, LOOP_LAST, LOOP_RANKS };

struct loop_source {
    void (*on_ready)(struct loop_source *s, unsigned events);
    /* The rank at this moment, when it changes by itself; NULL: `rank`. What is broken or can be
     * written to is served first in any case. */
    uint8_t (*rank_now)(const struct loop_source *s);
    struct list queued; /* internal: while it waits to be served */
    int fd;
    uint32_t since_ms; /* when it became ready, by the low bits of clock_mono(); */
    uint32_t again_ms; /* when it was told ready last, while it waited to be served */
    uint8_t interest;  /* LOOP_READ | LOOP_WRITE */
    uint8_t rank;      /* enum loop_rank; may be changed at any time */
    uint8_t events;    /* internal: what waits to be told */
    uint8_t queue;     /* internal: the rank in whose queue it stands */
    bool added, is_edge;
};

/* How many of each rank one loop_dispatch serves. */
struct loop_shares {
    uint32_t next;       /* LOOP_NEXT: young ones, when there was nobody of LOOP_FIRST; */
    uint32_t next_share; /* else one for so many of those, and at least one */
    uint32_t old_every,
        old_ms; /* after so many of them one that has waited old_ms; 0: none is old */
    uint32_t later, last;
};

struct loop_counters { /* since the start; the loop's thread writes and reads them */
    uint64_t slept_us; /* in loop_wait, when there was nothing to do */
    uint64_t used_us;  /* of the processor; */
    uint64_t later_us; /* of that: serving LOOP_LATER and LOOP_LAST, and of LOOP_NEXT who had waited
                        * old_ms */
    uint64_t
        denied_us; /* ready to run, but others did, or a quota was used up; within slept_us too */
    uint64_t next_in, next_out;   /* of LOOP_NEXT; out: without those who had waited old_ms */
    uint32_t waiting[LOOP_RANKS]; /* now, in each queue */
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
/* Serve what waits. */
void loop_dispatch(struct loop *l, const struct loop_shares *shares);
/* The source was not read to its end: serve it again. For edge-triggered ones. */
void loop_again(struct loop *l, struct loop_source *s);
/* rank_now may say something else by now: a source that waits changes its queue. */
void loop_rank_changed(struct loop *l, struct loop_source *s);
/* Something waits in a queue: do not sleep. */
bool loop_is_busy(const struct loop *l);
/* How long this source has been ready, and how long ago it was told so last; for its on_ready. */
uint32_t loop_waited_ms(const struct loop_source *s, mono_t now);
uint32_t loop_quiet_ms(const struct loop_source *s, mono_t now);
const struct loop_counters *loop_counters(const struct loop *l);
/* Ask the kernel for used_us and denied_us; two system calls, on the loop's thread. Where the
 * kernel does not tell what it denies (no /proc), denied_us stays 0. */
void loop_account(struct loop *l);
/* From any thread: end the current or next loop_wait. */
void loop_wake(struct loop *l);

/* The clocks. Milliseconds; wall time may step. */
mono_t clock_mono(void);
uint64_t clock_us(void); /* the same clock, finer: for measuring */
wall_t clock_wall(void);
struct now clock_now(void);
/* Milliseconds from now to at, rounded up, for loop_wait: -1 for MONO_NEVER, 0 when it is past. */
int clock_wait_ms(mono_t now, mono_t at);

#endif
