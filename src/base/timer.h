/* base/timer.h - a hierarchical timer wheel: start, stop and fire in constant time.
 *
 * A timer is a member of what it wakes; it is found back by LIST_ITEM-like arithmetic. Timers that
 * are due come out one by one, in order of their deadline's millisecond and then of their start;
 * one that is started again with a deadline already past fires in the next timers_advance, never in
 * the same one, so nothing starves. Memory: none of its own. Threads: one at a time.
 *
 *   timers_advance(&t, now);
 *   for (struct timer *due; (due = timers_next(&t));) fire(due);      */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include "base/clock.h"
#include "base/list.h"

struct timer {
    struct list link;
    mono_t at;
    uint16_t kind; /* the owner's: which of its timers this is */
    bool armed;
};
#define TIMER_LEVELS 5
#define TIMER_SLOTS  64
struct timers {
    struct list wheel[TIMER_LEVELS][TIMER_SLOTS];
    uint64_t filled[TIMER_LEVELS]; /* a bit per slot that is not empty */
    struct list far;               /* beyond the wheel (12 days): looked through every 4.6 hours */
    struct list late; /* started with a deadline already past: due at the next advance */
    struct list due;
    mono_t time; /* all before this has been moved to `due` */
    uint32_t count;
};

void timers_init(struct timers *t, mono_t now);
/* Restarts an armed one. `timer` need not be initialised but zeroed. MONO_NEVER stops it. */
void timer_start(struct timers *t, struct timer *timer, mono_t at);
void timer_stop(struct timers *t, struct timer *timer); /* an idle one is left alone */
void timers_advance(struct timers *t, mono_t now);      /* moves what is due */
struct timer *timers_next(struct timers *t);            /* disarmed; NULL when none */
mono_t timers_wake_at(const struct timers *t); /* not later than the next deadline; MONO_NEVER */

#endif
