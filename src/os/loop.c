#include "os/loop.h"

#include "base/mem.h"
#include "base/slice.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256 /* sources served per turn: enough to share one system call among many */

struct loop {
    struct epoll_event events[EVENTS_MAX];
    struct list queues[LOOP_RANKS];
    struct list again; /* of LOOP_NEXT: who was old and became ready once more, the latest last */
    struct loop_counters counters;
    uint32_t young;  /* served from the young end since an old one was */
    uint32_t old_ms; /* of the last loop_dispatch; 0: nobody is old */
    int epoll_fd;
    int account_fd;          /* what the kernel has noted of this thread; -1: not open */
    struct loop_source wake; /* an eventfd */
    /* true between loop_prepare_sleep and the return of loop_wait, unless somebody woke us since:
     * who turns it to false writes to the eventfd. All accesses are sequentially consistent,
     * because sleeper and waker each write one place and then read the other's. */
    atomic_bool sleeping;
};

static void wake_ready(struct loop_source *s, unsigned events) {
    (void)events;
    uint64_t count;
    ssize_t n =
        read(s->fd, &count, sizeof count); /* empties it; nothing can be wrong with 8 bytes */
    (void)n;
}

enum err loop_new(struct loop **out) {
    struct loop *l = mem_zalloc(sizeof *l);
    if (!l) return ERR_MEMORY;
    for (unsigned i = 0; i < LOOP_RANKS; i++) list_init(&l->queues[i]);
    list_init(&l->again);
    l->account_fd = -1;
    l->wake = (struct loop_source){ .on_ready = wake_ready, .fd = -1 };
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd >= 0) l->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake.fd < 0 || loop_add(l, &l->wake, LOOP_READ) != ERR_OK) {
        loop_free(l);
        return ERR_IO;
    }
    *out = l;
    return ERR_OK;
}

void loop_free(struct loop *l) {
    if (!l) return;
    if (l->wake.fd >= 0) close(l->wake.fd);
    if (l->epoll_fd >= 0) close(l->epoll_fd);
    if (l->account_fd >= 0) close(l->account_fd);
    mem_free(l);
}

static enum err control(struct loop *l, int op, struct loop_source *s, unsigned interest) {
    struct epoll_event e = { .data.ptr = s };
    if (interest & LOOP_READ) e.events |= EPOLLIN;
    if (interest & LOOP_WRITE) e.events |= EPOLLOUT;
    if (s->is_edge) e.events |= EPOLLET | EPOLLRDHUP;
    if (epoll_ctl(l->epoll_fd, op, s->fd, &e) < 0) return ERR_IO;
    s->interest = (uint8_t)interest;
    return ERR_OK;
}

enum err loop_add(struct loop *l, struct loop_source *s, unsigned interest) {
    ASSERT(!s->added && s->on_ready);
    list_init(&s->queued);
    s->events = 0;
    enum err e = control(l, EPOLL_CTL_ADD, s, interest);
    s->added = e == ERR_OK;
    return e;
}

enum err loop_mod(struct loop *l, struct loop_source *s, unsigned interest) {
    ASSERT(s->added);
    return s->interest == interest ? ERR_OK : control(l, EPOLL_CTL_MOD, s, interest);
}

/* ---- queues ---- */

static uint8_t rank_of(const struct loop_source *s) {
    if (s->events & (LOOP_WRITE | LOOP_BROKEN)) return LOOP_FIRST;
    return s->rank_now ? s->rank_now(s) : s->rank;
}

static void queue_leave(struct loop *l, struct loop_source *s) {
    if (!list_linked(&s->queued)) return;
    list_remove(&s->queued);
    l->counters.waiting[s->queue]--;
}

static void queue_join(struct loop *l, struct loop_source *s) {
    s->queue = rank_of(s);
    list_push(&l->queues[s->queue], &s->queued);
    l->counters.waiting[s->queue]++;
}

static uint32_t since(uint32_t then_ms, mono_t now) {
    int32_t ms = (int32_t)((uint32_t)now - then_ms);
    return ms > 0 ? (uint32_t)ms : 0; /* `now` may be older than the event */
}

static bool is_old(const struct loop *l, uint32_t then_ms, mono_t now) {
    return l->old_ms && since(then_ms, now) >= l->old_ms;
}

static void queue_add(struct loop *l, struct loop_source *s, unsigned events, uint32_t now_ms) {
    s->events |= (uint8_t)events;
    s->again_ms = now_ms;
    if (!list_linked(&s->queued)) {
        s->since_ms = now_ms;
        queue_join(l, s);
        if (s->queue == LOOP_NEXT) l->counters.next_in++;
        return;
    }
    loop_rank_changed(l, s);
    if (s->queue != LOOP_NEXT || !is_old(l, s->since_ms, now_ms)) return;
    list_remove(&s->queued);
    list_push(&l->again, &s->queued);
}

void loop_rank_changed(struct loop *l, struct loop_source *s) {
    if (!list_linked(&s->queued) || rank_of(s) == s->queue) return;
    if (s->queue == LOOP_NEXT) l->counters.next_out++;
    queue_leave(l, s);
    queue_join(l, s);
}

void loop_again(struct loop *l, struct loop_source *s) {
    if (s->added) queue_add(l, s, LOOP_READ, (uint32_t)clock_mono());
}

bool loop_is_busy(const struct loop *l) {
    uint32_t sum = 0;
    for (unsigned i = 0; i < LOOP_RANKS; i++) sum += l->counters.waiting[i];
    return sum != 0;
}

uint32_t loop_waited_ms(const struct loop_source *s, mono_t now) {
    return since(s->since_ms, now);
}

uint32_t loop_quiet_ms(const struct loop_source *s, mono_t now) {
    return since(s->again_ms, now);
}

const struct loop_counters *loop_counters(const struct loop *l) {
    return &l->counters;
}

void loop_del(struct loop *l, struct loop_source *s) {
    if (!s->added) return;
    s->added = false;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    queue_leave(l, s);
}

/* ---- what the thread was given ---- */

static uint64_t processor_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Linux, sched-stats.rst: its second number is how many ns the thread was ready and did not run.
 * The file tells of the thread that opened it. */
static uint64_t denied_us(struct loop *l) {
    char mem[96];
    uint64_t ns;
    slice number, rest;
    if (l->account_fd < 0)
        l->account_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    ssize_t n = l->account_fd >= 0 ? pread(l->account_fd, mem, sizeof mem, 0) : 0;
    if (n <= 0) return l->counters.denied_us;
    rest = slice_of(mem, (size_t)n);
    if (!slice_split(&rest, ' ', &number) || !slice_split(&rest, ' ', &number) ||
        slice_u64(number, UINT64_MAX, &ns) != ERR_OK)
        return l->counters.denied_us;
    return ns / 1000;
}

void loop_account(struct loop *l) {
    l->counters.used_us = processor_us();
    l->counters.denied_us = denied_us(l);
}

/* ---- a turn ---- */

void loop_prepare_sleep(struct loop *l) {
    atomic_store(&l->sleeping, true);
}

static unsigned events_of(uint32_t epoll) {
    unsigned events = 0;
    if (epoll & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) events |= LOOP_READ;
    if (epoll & EPOLLOUT) events |= LOOP_WRITE;
    if (epoll & (EPOLLHUP | EPOLLERR)) events |= LOOP_BROKEN;
    if (epoll & (EPOLLRDHUP | EPOLLHUP)) events |= LOOP_ENDING;
    return events;
}

enum err loop_wait(struct loop *l, int timeout_ms) {
    uint64_t before = timeout_ms ? clock_us() : 0;
    int n = epoll_wait(l->epoll_fd, l->events, EVENTS_MAX, timeout_ms);
    int error = errno;
    atomic_store(&l->sleeping, false);
    uint64_t now_us = clock_us();
    if (timeout_ms) l->counters.slept_us += now_us - before;
    for (int i = 0; i < n; i++)
        queue_add(l, l->events[i].data.ptr, events_of(l->events[i].events),
                  (uint32_t)(now_us / 1000));
    return n >= 0 || error == EINTR ? ERR_OK : ERR_IO;
}

static void serve(struct loop *l, struct list *link) {
    struct loop_source *s = LIST_ITEM(link, struct loop_source, queued);
    unsigned events = s->events;
    queue_leave(l, s);
    s->events = 0;
    if (!s->is_edge) events &= ~(unsigned)LOOP_ENDING;
    s->on_ready(s, events);
}

/* Those who join meanwhile wait for the next turn. How many there were. */
static uint32_t serve_first(struct loop *l) {
    struct list now;
    uint32_t count = l->counters.waiting[LOOP_FIRST];
    list_init(&now);
    for (struct list *link; (link = list_pop(&l->queues[LOOP_FIRST]));) list_push(&now, link);
    while (!list_empty(&now)) serve(l, now.next);
    return count;
}

static struct loop_source *source_at(const struct list *q, struct list *link) {
    return link == q ? NULL : LIST_ITEM(link, struct loop_source, queued);
}

/* The young, then who was old and is ready once more, then the old. NULL: nobody waits. */
static struct loop_source *whose_turn(struct loop *l, mono_t now, bool *is_young) {
    struct list *q = &l->queues[LOOP_NEXT];
    struct loop_source *s = source_at(q, q->prev), *again = source_at(&l->again, l->again.prev);
    *is_young = s && !is_old(l, s->since_ms, now);
    bool is_second = !*is_young && again && (!s || !is_old(l, again->again_ms, now));
    return is_second ? again : s;
}

/* Who has said nothing for the longest time; NULL: nobody has been quiet for so long as that. */
static struct loop_source *oldest(struct loop *l, mono_t now) {
    struct list *q = &l->queues[LOOP_NEXT];
    struct loop_source *s = source_at(q, q->next), *again = source_at(&l->again, l->again.next);
    if (!s || (again && since(again->again_ms, now) > since(s->since_ms, now))) return again;
    return is_old(l, s->since_ms, now) ? s : NULL;
}

static uint32_t next_count(const struct loop_shares *shares, uint32_t first) {
    if (!first || !shares->next_share || first / shares->next_share >= shares->next)
        return shares->next;
    return first < shares->next_share ? 1 : first / shares->next_share;
}

static void serve_next(struct loop *l, const struct loop_shares *shares, uint32_t count) {
    mono_t now = clock_mono();
    struct loop_source *s;
    bool is_young;
    uint64_t old_from =
        0; /* for what is done for those whose time is over the young need not wait */
    for (uint32_t i = 0; i < count && (s = whose_turn(l, now, &is_young)) != NULL; i++) {
        if (is_young)
            l->counters.next_out++;
        else if (!old_from)
            old_from = processor_us();
        serve(l, &s->queued);
        l->young++;
    }
    if (shares->old_every && l->young >= shares->old_every) {
        l->young = 0;
        s = oldest(l, now);
        if (s && !old_from) old_from = processor_us();
        if (s) serve(l, &s->queued);
    }
    if (old_from) l->counters.later_us += processor_us() - old_from;
}

void loop_dispatch(struct loop *l, const struct loop_shares *shares) {
    l->old_ms = shares->old_every ? shares->old_ms : 0;
    uint32_t first = serve_first(l);
    if (l->counters.waiting[LOOP_NEXT]) serve_next(l, shares, next_count(shares, first));
    struct list *later = &l->queues[LOOP_LATER], *last = &l->queues[LOOP_LAST];
    if (list_empty(later) && list_empty(last)) return;
    uint64_t before = processor_us();
    for (uint32_t i = 0; i < shares->later && !list_empty(later); i++) serve(l, later->next);
    for (uint32_t i = 0; i < shares->last && !list_empty(last); i++) serve(l, last->next);
    l->counters.later_us += processor_us() - before;
}

void loop_wake(struct loop *l) {
    if (!atomic_load(&l->sleeping) || !atomic_exchange(&l->sleeping, false)) return;
    uint64_t one = 1;
    ssize_t n = write(l->wake.fd, &one, sizeof one); /* full means that a wake is under way */
    (void)n;
}

static int64_t clock_ms(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

uint64_t clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

mono_t clock_mono(void) {
    return clock_ms(CLOCK_MONOTONIC);
}

wall_t clock_wall(void) {
    return clock_ms(CLOCK_REALTIME);
}

struct now clock_now(void) {
    return (struct now){ clock_mono(), clock_wall() };
}

int clock_wait_ms(mono_t now, mono_t at) {
    if (at == MONO_NEVER) return -1;
    if (at <= now) return 0;
    return at - now > INT_MAX - 1 ? INT_MAX : (int)(at - now);
}
