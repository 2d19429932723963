/* load/job.c - so many operations, so many at a time, until all are done or nothing moves. */
#include "load.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static uint32_t ready_take(struct load *l) {
    uint32_t one = l->ready[l->ready_head];
    l->ready_head = (l->ready_head + 1) % LOAD_PHONES_MAX;
    l->ready_count--;
    return one;
}

static void ready_put(struct load *l, uint32_t one) {
    l->ready[(l->ready_head + l->ready_count) % LOAD_PHONES_MAX] = one;
    l->ready_count++;
}

void job_one_done(struct load *l, struct phone *p) {
    l->job.done++;
    l->job.moved_ns = clock_ns();
    uint32_t index = (uint32_t)(p - l->phones);
    if (l->job.kind == JOB_REFRESH) ready_put(l, index);
    if (l->job.kind == JOB_CALL) ready_put(l, index / 2);
}

void job_ready(struct load *l, uint32_t one) {
    ready_put(l, one);
}

bool job_take(struct load *l, uint32_t *out) {
    if (!l->ready_count) return false;
    *out = ready_take(l);
    return true;
}

static void start_one(struct load *l) {
    struct job *j = &l->job;
    uint32_t n = j->started++;
    switch (j->kind) {
    case JOB_OPEN:
    case JOB_REGISTER: {
        uint32_t index = l->phone_count + n;
        phone_open(l, &l->phones[index], l->user_base + index);
        break;
    }
    case JOB_REFRESH:
        phone_refresh(l, &l->phones[ready_take(l)]);
        break;
    case JOB_CALL:
        (void)call_start(l, ready_take(l));
        break;
    case JOB_OFFER: /* offer.c starts its own */
        break;
    }
}

static bool may_start(const struct load *l, uint64_t now) {
    const struct job *j = &l->job;
    if (j->started == j->target || j->started - j->done - j->failed >= l->width) return false;
    bool from_ring = j->kind == JOB_REFRESH || j->kind == JOB_CALL;
    if (from_ring && !l->ready_count) return false;
    if (l->rate <= 0) return true;
    return (double)(now - j->started_ns) * 1e-9 * l->rate >= (double)j->started;
}

bool job_prepare(struct load *l, enum job_kind kind, uint32_t count) {
    l->job = (struct job){ .kind = kind, .target = count, .started_ns = clock_ns() };
    l->job.moved_ns = l->job.started_ns;
    l->ready_head = l->ready_count = 0;
    if (kind == JOB_REFRESH || kind == JOB_CALL || kind == JOB_OFFER) {
        uint32_t units = kind == JOB_REFRESH ? l->phone_count : l->phone_count / 2;
        for (uint32_t i = 0; i < units; i++) ready_put(l, i);
        return units > 0;
    }
    return l->phone_count + count <= LOAD_PHONES_MAX;
}

void job_events(struct load *l, int wait_ms) {
    struct epoll_event events[256];
    int n = epoll_wait(l->epoll, events, 256, wait_ms);
    for (int i = 0; i < n; i++) {
        struct phone *p = events[i].data.ptr;
        if (p->state != PHONE_CLOSED) phone_event(l, p, events[i].events);
    }
}

/* True when every operation succeeded. */
bool job_run(struct load *l, enum job_kind kind, uint32_t count) {
    struct job *j = &l->job;
    if (!job_prepare(l, kind, count)) {
        fprintf(stderr, "bench_load: no phones for this job (open some first, or fewer)\n");
        return false;
    }
    while (j->done + j->failed < j->target) {
        uint64_t now = clock_ns();
        while (may_start(l, now)) start_one(l);
        job_events(l, l->rate > 0 ? 1 : 1000);
        if (clock_ns() - j->moved_ns > LOAD_STALL_MS * 1000000ULL) {
            fprintf(stderr, "bench_load: nothing moved for %d s (%u of %u done)\n",
                    LOAD_STALL_MS / 1000, j->done, j->target);
            return false;
        }
    }
    return j->failed == 0;
}
