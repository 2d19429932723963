/* daemon/trace.c - see trace.h. */
#include "daemon/trace.h"

#include "base/buf.h"
#include "base/mem.h"
#include <pthread.h>
#include <time.h>

struct follower {
    char *mem; /* lines, each ended by a newline; NULL: this place is free */
    size_t len;
    uint64_t lost;
};

struct trace_hub {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    bool stopped;
    unsigned count;
    struct follower followers[TRACE_FOLLOWERS_MAX];
    void (*on_change)(void *ctx, bool followed);
    void *ctx;
};

enum err trace_hub_new(void (*on_change)(void *ctx, bool followed), void *ctx,
                       struct trace_hub **out) {
    struct trace_hub *h = mem_zalloc(sizeof *h);
    if (!h) return ERR_MEMORY;
    h->on_change = on_change;
    h->ctx = ctx;
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&h->mutex, NULL);
    (void)pthread_cond_init(&h->filled, &attr);
    (void)pthread_condattr_destroy(&attr);
    *out = h;
    return ERR_OK;
}

void trace_hub_stop(struct trace_hub *h) {
    pthread_mutex_lock(&h->mutex);
    h->stopped = true;
    pthread_cond_broadcast(&h->filled);
    pthread_mutex_unlock(&h->mutex);
}

void trace_hub_free(struct trace_hub *h) {
    if (!h) return;
    ASSERT(h->count == 0);
    (void)pthread_cond_destroy(&h->filled);
    (void)pthread_mutex_destroy(&h->mutex);
    mem_free(h);
}

void trace_put(struct trace_hub *h, slice line) {
    pthread_mutex_lock(&h->mutex);
    for (unsigned i = 0; i < TRACE_FOLLOWERS_MAX; i++) {
        struct follower *f = &h->followers[i];
        if (!f->mem) continue;
        if (f->len + line.len + 1 > TRACE_BYTES_MAX) {
            f->lost++;
            continue;
        }
        memcpy(f->mem + f->len, line.ptr, line.len);
        f->mem[f->len + line.len] = '\n';
        f->len += line.len + 1;
    }
    if (h->count) pthread_cond_broadcast(&h->filled);
    pthread_mutex_unlock(&h->mutex);
}

static struct follower *join(struct trace_hub *h) {
    char *mem = mem_alloc(TRACE_BYTES_MAX);
    struct follower *mine = NULL;
    pthread_mutex_lock(&h->mutex);
    for (unsigned i = 0; mem && !mine && i < TRACE_FOLLOWERS_MAX; i++)
        if (!h->followers[i].mem) mine = &h->followers[i];
    if (mine) {
        *mine = (struct follower){ .mem = mem };
        if (h->count++ == 0) h->on_change(h->ctx, true);
    }
    pthread_mutex_unlock(&h->mutex);
    if (!mine) mem_free(mem);
    return mine;
}

static void leave(struct trace_hub *h, struct follower *mine) {
    pthread_mutex_lock(&h->mutex);
    mem_free(mine->mem);
    *mine = (struct follower){ 0 };
    if (--h->count == 0) h->on_change(h->ctx, false);
    pthread_mutex_unlock(&h->mutex);
}

/* Swaps the follower's buffer for the empty one; at most a second of waiting. false: stop. */
static bool take(struct trace_hub *h, struct follower *mine, char **empty, size_t *out_len,
                 uint64_t *out_lost) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_mutex_lock(&h->mutex);
    while (!h->stopped && mine->len == 0 && mine->lost == 0)
        if (pthread_cond_timedwait(&h->filled, &h->mutex, &until) != 0) break;
    char *full = mine->mem;
    mine->mem = *empty;
    *empty = full;
    *out_len = mine->len;
    *out_lost = mine->lost;
    mine->len = 0;
    mine->lost = 0;
    bool go_on = !h->stopped;
    pthread_mutex_unlock(&h->mutex);
    return go_on;
}

static bool give(slice lines, uint64_t lost, bool (*sink)(void *ctx, slice line), void *ctx) {
    if (lines.len == 0 && lost == 0) return sink(ctx, SLICE_NONE);
    for (slice line; slice_split(&lines, '\n', &line);)
        if (line.len && !sink(ctx, line)) return false;
    if (lost == 0) return true;
    char mem[48];
    struct buf b = buf_over(mem, sizeof mem);
    buf_fmt(&b, "{\"lost\":%llu}", (unsigned long long)lost);
    return sink(ctx, buf_slice(&b));
}

enum err trace_follow(struct trace_hub *h, bool (*sink)(void *ctx, slice line), void *ctx) {
    char *spare = mem_alloc(TRACE_BYTES_MAX);
    struct follower *mine = spare ? join(h) : NULL;
    if (!mine) {
        mem_free(spare);
        return spare ? ERR_FULL : ERR_MEMORY;
    }
    size_t len = 0;
    uint64_t lost = 0;
    while (take(h, mine, &spare, &len, &lost))
        if (!give(slice_of(spare, len), lost, sink, ctx)) break;
    leave(h, mine);
    mem_free(spare);
    return ERR_OK;
}
