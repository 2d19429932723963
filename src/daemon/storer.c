/* daemon/storer.c - see storer.h.
 *
 * The queue holds jobs. A job is one change of a worker, or a group of changes of an admin call
 * that must be committed together; a group is never split over two batches, and fails or succeeds
 * with the batch it is in. When a batch fails, its jobs are tried one by one: one change that the
 * store refuses must not spoil what came with it. */
#include "daemon/storer.h"

#include "base/list.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdio.h>
#include <time.h>

struct job {
    struct list link;
    uint64_t ticket;
    unsigned worker;
    bool waits; /* somebody sleeps on `done` */
    bool done;
    bool lazy;
    enum err result;
    size_t count;
    struct store_change **changes; /* copies; of a single change: &one */
    struct store_change *one;
};

struct storer {
    struct store *store;
    storer_done_fn *on_done;
    void *ctx;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t filled, answered;
    struct list queue;
    uint32_t eager; /* changes in the queue that somebody waits for */
    bool stopping;
    struct storer_state state;
    struct store_change batch[STORER_BATCH_MAX];
};

static void job_free(struct job *j) {
    if (!j) return;
    for (size_t i = 0; j->changes && i < j->count; i++) mem_free(j->changes[i]);
    if (j->changes != &j->one) mem_free(j->changes);
    mem_free(j);
}

static struct job *job_new(const struct store_change *changes, size_t count) {
    struct job *j = mem_zalloc(sizeof *j);
    if (!j) return NULL;
    j->changes = count == 1 ? &j->one : mem_array(count, sizeof *j->changes);
    j->lazy = true;
    for (; j->changes && j->count < count; j->count++) {
        j->changes[j->count] = store_change_copy(&changes[j->count]);
        if (!j->changes[j->count]) break;
        if (changes[j->count].durability != STORE_LAZY) j->lazy = false;
    }
    if (j->changes && j->count == count) return j;
    job_free(j);
    return NULL;
}

static wall_t wall_now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (wall_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum err queue_job(struct storer *s, struct job *j) {
    enum err e = ERR_OK;
    pthread_mutex_lock(&s->mutex);
    if (s->stopping)
        e = ERR_CLOSED;
    else if (s->state.waiting + j->count > STORER_WAITING_MAX)
        e = ERR_FULL;
    if (e == ERR_OK) {
        /* A lazy change wakes nobody once the second of the first one runs: a wake-up costs more
         * than the refresh that asks for it. */
        bool must_wake = !j->lazy || list_empty(&s->queue);
        list_push(&s->queue, &j->link);
        s->state.waiting += (uint32_t)j->count;
        if (!j->lazy) s->eager++;
        if (must_wake) pthread_cond_signal(&s->filled);
    }
    pthread_mutex_unlock(&s->mutex);
    return e;
}

enum err storer_submit(struct storer *s, unsigned worker, const struct store_change *change,
                       uint64_t ticket) {
    struct job *j = job_new(change, 1);
    if (!j) return ERR_MEMORY;
    j->worker = worker;
    j->ticket = ticket;
    enum err e = queue_job(s, j);
    if (e != ERR_OK) job_free(j);
    return e;
}

enum err storer_commit(struct storer *s, const struct store_change *changes, size_t count) {
    if (count == 0) return ERR_OK;
    if (count > STORER_BATCH_MAX) return ERR_LIMIT;
    struct job *j = job_new(changes, count);
    if (!j) return ERR_MEMORY;
    j->waits = true;
    j->lazy = false;
    enum err e = queue_job(s, j);
    if (e == ERR_OK) {
        pthread_mutex_lock(&s->mutex);
        while (!j->done) pthread_cond_wait(&s->answered, &s->mutex);
        e = j->result;
        pthread_mutex_unlock(&s->mutex);
    }
    job_free(j);
    return e;
}

/* Takes whole jobs into `jobs` while they fit into one batch. Called with the mutex held. */
static size_t take_batch(struct storer *s, struct list *jobs) {
    size_t count = 0;
    list_init(jobs);
    while (!list_empty(&s->queue)) {
        struct job *j = LIST_ITEM(s->queue.next, struct job, link);
        if (count + j->count > STORER_BATCH_MAX) break;
        list_remove(&j->link);
        list_push(jobs, &j->link);
        for (size_t i = 0; i < j->count; i++) s->batch[count++] = *j->changes[i];
        if (!j->lazy) s->eager--;
    }
    s->state.waiting -= (uint32_t)count;
    return count;
}

static size_t job_to_batch(struct storer *s, const struct job *j) {
    for (size_t i = 0; i < j->count; i++) s->batch[i] = *j->changes[i];
    return j->count;
}

#define TRIES_MAX 8 /* failures in a row that mean: it is the disk, not the change */

static void commit_batch(struct storer *s, struct list *jobs, size_t count) {
    enum err whole = store_commit(s->store, s->batch, count);
    /* One alone has no others to be tried apart from, and a full disk is full for each of them. */
    bool is_same_for_all = jobs->next->next == jobs || whole == ERR_IO;
    unsigned failures = is_same_for_all ? TRIES_MAX : 0;
    for (struct list *at = jobs->next; at != jobs; at = at->next) {
        struct job *j = LIST_ITEM(at, struct job, link);
        j->result = whole;
        if (whole == ERR_OK || failures >= TRIES_MAX) continue;
        j->result = store_commit(s->store, s->batch, job_to_batch(s, j));
        failures = j->result == ERR_OK ? 0 : failures + 1;
    }
}

static void note_outcome(struct storer *s, const struct list *jobs, size_t count) {
    bool failed = false;
    for (const struct list *at = jobs->next; at != jobs; at = at->next)
        if (LIST_ITEM(at, struct job, link)->result != ERR_OK) failed = true;
    s->state.commits++;
    s->state.changes += count;
    if (failed) {
        if (!s->state.failing) s->state.since = wall_now();
        s->state.failures++;
        (void)snprintf(s->state.trouble, sizeof s->state.trouble, "%s", store_trouble(s->store));
    }
    s->state.failing = failed;
}

/* A refresh got its 200 already: while the disk is in trouble it waits for a better time. Called
 * with the mutex held. */
static void keep_for_later(struct storer *s, struct list *kept) {
    while (!list_empty(kept)) {
        struct list *newest = kept->prev;
        struct job *j = LIST_ITEM(newest, struct job, link);
        list_remove(newest);
        if (s->stopping || s->state.waiting + j->count > STORER_WAITING_MAX / 2) {
            job_free(j);
            continue;
        }
        list_push(s->queue.next, newest); /* in front of all that came later */
        s->state.waiting += (uint32_t)j->count;
    }
}

/* Called without the mutex; a job that somebody sleeps on is freed by the sleeper. */
static void answer(struct storer *s, struct list *jobs, size_t count) {
    struct list kept;
    list_init(&kept);
    pthread_mutex_lock(&s->mutex);
    note_outcome(s, jobs, count);
    pthread_mutex_unlock(&s->mutex);
    for (struct list *l; (l = list_pop(jobs)) != NULL;) {
        struct job *j = LIST_ITEM(l, struct job, link);
        if (j->waits) {
            pthread_mutex_lock(&s->mutex);
            j->done = true;
            pthread_cond_broadcast(&s->answered);
            pthread_mutex_unlock(&s->mutex);
        } else if (j->lazy && !j->ticket && j->result == ERR_IO) {
            list_push(&kept, l);
        } else {
            if (j->ticket) s->on_done(s->ctx, j->worker, j->ticket, j->result);
            job_free(j);
        }
    }
    pthread_mutex_lock(&s->mutex);
    keep_for_later(s, &kept);
    pthread_mutex_unlock(&s->mutex);
}

/* Is it well again? Asked when nobody else does, so that the status does not tell old news. */
static void probe(struct storer *s) {
    struct store_change change = { .op = STORE_VALUE_PUT,
                                   .durability = STORE_NORMAL,
                                   .value = { SLICE("probe"), SLICE("1") } };
    enum err e = store_commit(s->store, &change, 1);
    pthread_mutex_lock(&s->mutex);
    if (e == ERR_OK) s->state.failing = false;
    pthread_mutex_unlock(&s->mutex);
}

/* Until there is something to commit now; with nothing but lazy changes, at most a second longer.
 * Called with the mutex held. */
static void await_work(struct storer *s) {
    struct timespec until = { 0 };
    while (!s->stopping && s->eager == 0) {
        if (list_empty(&s->queue) && !s->state.failing) {
            until.tv_sec = 0;
            pthread_cond_wait(&s->filled, &s->mutex);
        } else if (until.tv_sec == 0) {
            (void)clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += STORER_LAZY_MS / 1000;
        } else if (pthread_cond_timedwait(&s->filled, &s->mutex, &until) != 0) {
            return;
        }
    }
}

static void *run(void *arg) {
    struct storer *s = arg;
    struct list jobs;
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        await_work(s);
        if (s->stopping && list_empty(&s->queue)) break;
        size_t count = take_batch(s, &jobs);
        pthread_mutex_unlock(&s->mutex);
        if (count) {
            commit_batch(s, &jobs, count);
            answer(s, &jobs, count);
        } else {
            probe(s);
        }
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

enum err storer_start(struct store *store, storer_done_fn *on_done, void *ctx,
                      struct storer **out) {
    struct storer *s = mem_zalloc(sizeof *s);
    if (!s) return ERR_MEMORY;
    s->store = store;
    s->on_done = on_done;
    s->ctx = ctx;
    list_init(&s->queue);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&s->mutex, NULL);
    (void)pthread_cond_init(&s->filled, &attr);
    (void)pthread_cond_init(&s->answered, NULL);
    (void)pthread_condattr_destroy(&attr);
    if (pthread_create(&s->thread, NULL, run, s) != 0) {
        mem_free(s);
        return ERR_IO;
    }
    *out = s;
    return ERR_OK;
}

void storer_stop(struct storer *s) {
    if (!s) return;
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_signal(&s->filled);
    pthread_mutex_unlock(&s->mutex);
    (void)pthread_join(s->thread, NULL);
    (void)pthread_cond_destroy(&s->filled);
    (void)pthread_cond_destroy(&s->answered);
    (void)pthread_mutex_destroy(&s->mutex);
    mem_free(s);
}

void storer_state(struct storer *s, struct storer_state *out) {
    pthread_mutex_lock(&s->mutex);
    *out = s->state;
    pthread_mutex_unlock(&s->mutex);
}
