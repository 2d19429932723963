#include "os/loop.h"

#include "base/mem.h"
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 256 /* sources served per turn: enough to share one system call among many */

struct loop {
    struct epoll_event events[EVENTS_MAX];
    int count; /* of events that this turn serves */
    int epoll_fd;
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
    mem_free(l);
}

static enum err control(struct loop *l, int op, struct loop_source *s, unsigned interest) {
    struct epoll_event e = { .data.ptr = s };
    if (interest & LOOP_READ) e.events |= EPOLLIN;
    if (interest & LOOP_WRITE) e.events |= EPOLLOUT;
    if (epoll_ctl(l->epoll_fd, op, s->fd, &e) < 0) return ERR_IO;
    s->interest = (uint8_t)interest;
    return ERR_OK;
}

enum err loop_add(struct loop *l, struct loop_source *s, unsigned interest) {
    ASSERT(!s->added && s->on_ready);
    enum err e = control(l, EPOLL_CTL_ADD, s, interest);
    s->added = e == ERR_OK;
    return e;
}

enum err loop_mod(struct loop *l, struct loop_source *s, unsigned interest) {
    ASSERT(s->added);
    return s->interest == interest ? ERR_OK : control(l, EPOLL_CTL_MOD, s, interest);
}

void loop_del(struct loop *l, struct loop_source *s) {
    if (!s->added) return;
    s->added = false;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    for (int i = 0; i < l->count; i++)
        if (l->events[i].data.ptr == s) l->events[i].data.ptr = NULL;
}

void loop_prepare_sleep(struct loop *l) {
    atomic_store(&l->sleeping, true);
}

enum err loop_wait(struct loop *l, int timeout_ms) {
    int n = epoll_wait(l->epoll_fd, l->events, EVENTS_MAX, timeout_ms);
    int error = errno;
    atomic_store(&l->sleeping, false);
    l->count = n > 0 ? n : 0;
    return n >= 0 || error == EINTR ? ERR_OK : ERR_IO;
}

static void serve(struct epoll_event *e) {
    struct loop_source *s = e->data.ptr;
    unsigned events = 0;
    if (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) events |= LOOP_READ;
    if (e->events & EPOLLOUT) events |= LOOP_WRITE;
    if (e->events & (EPOLLHUP | EPOLLERR)) events |= LOOP_BROKEN;
    e->data.ptr = NULL;
    s->on_ready(s, events);
}

void loop_dispatch(struct loop *l, unsigned later_max) {
    bool has_later = false;
    for (int i = 0; i < l->count; i++) {
        const struct loop_source *s = l->events[i].data.ptr;
        if (!s) continue; /* removed by an earlier callback */
        if (s->rank == LOOP_FIRST)
            serve(&l->events[i]);
        else
            has_later = true;
    }
    for (int i = 0; has_later && later_max && i < l->count; i++) {
        if (!l->events[i].data.ptr) continue;
        serve(&l->events[i]);
        later_max--;
    }
    l->count = 0; /* what is left is ready again in the next turn */
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
