#include "base/timer.h"

/* Level 0 has a slot per millisecond of the present 64 ms; level 1 a slot per 64 ms of the present
 * 4096 ms; and so on. The last level is a ring: it covers the 63 slots ahead of the present one.
 *
 * A timer lives in the highest level where its deadline and `time` differ. When `time` enters a
 * slot of an upper level, the slot's timers move down. A timer is put straight into a lower level
 * only after that move, so the lists stay in order of start and nothing is ever sorted. */
enum { BITS = 6, MASK = TIMER_SLOTS - 1, TOP = TIMER_LEVELS - 1 };

static unsigned index_in(int level, mono_t at) {
    return (unsigned)((uint64_t)at >> (BITS * level)) & MASK;
}

/* TIMER_LEVELS: beyond the wheel. Only for at >= time. */
static int level_of(const struct timers *t, mono_t at) {
    uint64_t a = (uint64_t)at, now = (uint64_t)t->time;
    for (int level = 0; level < TOP; level++)
        if (a >> (BITS * (level + 1)) == now >> (BITS * (level + 1))) return level;
    return (a >> (BITS * TOP)) - (now >> (BITS * TOP)) < TIMER_SLOTS ? TOP : TIMER_LEVELS;
}

static void place(struct timers *t, struct timer *timer) {
    int level = level_of(t, timer->at);
    if (level == TIMER_LEVELS) {
        list_push(&t->far, &timer->link);
        return;
    }
    unsigned slot = index_in(level, timer->at);
    list_push(&t->wheel[level][slot], &timer->link);
    t->filled[level] |= UINT64_C(1) << slot;
}

/* Behind the last one that is not due later. Nearly always that is the end of the list. */
static void insert_sorted(struct list *head, struct timer *timer) {
    struct list *before = head->prev;
    while (before != head && LIST_ITEM(before, struct timer, link)->at > timer->at)
        before = before->prev;
    list_push(before->next, &timer->link);
}

void timers_init(struct timers *t, mono_t now) {
    ASSERT(now >= 0);
    for (int level = 0; level < TIMER_LEVELS; level++) {
        t->filled[level] = 0;
        for (int slot = 0; slot < TIMER_SLOTS; slot++) list_init(&t->wheel[level][slot]);
    }
    list_init(&t->far);
    list_init(&t->late);
    list_init(&t->due);
    t->time = now;
    t->count = 0;
}

void timer_stop(struct timers *t, struct timer *timer) {
    if (!timer->armed) return;
    list_remove(&timer->link);
    timer->armed = false;
    t->count--;
    if (timer->at < t->time) return; /* was in late or due */
    int level = level_of(t, timer->at);
    if (level == TIMER_LEVELS) return;
    unsigned slot = index_in(level, timer->at);
    if (list_empty(&t->wheel[level][slot])) t->filled[level] &= ~(UINT64_C(1) << slot);
}

void timer_start(struct timers *t, struct timer *timer, mono_t at) {
    timer_stop(t, timer);
    if (at == MONO_NEVER) return;
    timer->at = at;
    timer->armed = true;
    t->count++;
    if (at < t->time)
        insert_sorted(&t->late, timer);
    else
        place(t, timer);
}

/* The next moment at which something must move, not before `time`; MONO_NEVER when none is. Level
 * 0 holds all deadlines before those of level 1, and so on, so the first level that has one
 * decides. */
static mono_t next_event(const struct timers *t) {
    mono_t at = MONO_NEVER;
    if (!list_empty(&t->far)) /* each turn of the ring may bring one within reach */
        at = (mono_t)((((uint64_t)t->time >> (BITS * TOP)) + 1) << (BITS * TOP));
    for (int level = 0; level < TIMER_LEVELS; level++) {
        if (t->filled[level] == 0) continue;
        unsigned here = index_in(level, t->time);
        uint64_t from_here =
            here ? t->filled[level] >> here | t->filled[level] << (64 - here) : t->filled[level];
        uint64_t ahead = (uint64_t)__builtin_ctzll(from_here);
        uint64_t start = ((uint64_t)t->time >> (BITS * level)) + ahead;
        return mono_min(at, (mono_t)(start << (BITS * level)));
    }
    return at;
}

static void replace_all(struct timers *t, struct list *from) {
    struct list moving;
    list_init(&moving);
    for (struct list *item; (item = list_pop(from));) list_push(&moving, item);
    for (struct list *item; (item = list_pop(&moving));)
        place(t, LIST_ITEM(item, struct timer, link));
}

/* `time` has just come to a new slot: bring down what the upper levels hold for it, top first. */
static void descend(struct timers *t) {
    if (((uint64_t)t->time & ((UINT64_C(1) << (BITS * TOP)) - 1)) == 0) replace_all(t, &t->far);
    for (int level = TOP; level > 0; level--) {
        if (((uint64_t)t->time & ((UINT64_C(1) << (BITS * level)) - 1)) != 0) continue;
        unsigned slot = index_in(level, t->time);
        if ((t->filled[level] & UINT64_C(1) << slot) == 0) continue;
        t->filled[level] &= ~(UINT64_C(1) << slot);
        replace_all(t, &t->wheel[level][slot]);
    }
}

static void move_due(struct timers *t) {
    unsigned slot = index_in(0, t->time);
    struct list *from = &t->wheel[0][slot];
    t->filled[0] &= ~(UINT64_C(1) << slot);
    for (struct list *item; (item = list_pop(from));) list_push(&t->due, item);
}

void timers_advance(struct timers *t, mono_t now) {
    for (struct list *item; (item = list_pop(&t->late));)
        insert_sorted(&t->due, LIST_ITEM(item, struct timer, link));
    while (t->time <= now) {
        mono_t next = next_event(t);
        if (next > now) { /* nothing on the way: the empty slots need no visit */
            t->time = now + 1;
            descend(t);
            return;
        }
        if (next > t->time) {
            t->time = next;
            descend(t);
        }
        move_due(t);
        t->time++;
        descend(t);
    }
}

struct timer *timers_next(struct timers *t) {
    struct list *item = list_pop(&t->due);
    if (!item) return NULL;
    struct timer *timer = LIST_ITEM(item, struct timer, link);
    timer->armed = false;
    t->count--;
    return timer;
}

mono_t timers_wake_at(const struct timers *t) {
    mono_t at = next_event(t);
    if (!list_empty(&t->due)) at = mono_min(at, LIST_ITEM(t->due.next, struct timer, link)->at);
    if (!list_empty(&t->late)) at = mono_min(at, LIST_ITEM(t->late.next, struct timer, link)->at);
    return at;
}
