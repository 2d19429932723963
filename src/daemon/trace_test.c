#include "unit.h"

#include "daemon/trace.h"

#include <pthread.h>
#include <stdatomic.h>

static _Atomic int switched; /* +1 when followed, -1 when no more */

static void on_change(void *ctx, bool followed) {
    (void)ctx;
    atomic_fetch_add(&switched, followed ? 1 : -1);
}

struct listener {
    struct trace_hub *hub;
    unsigned wanted;
    unsigned lines, lost_lines;
    slice want;
    enum err result;
};

static bool hear(void *ctx, slice line) {
    struct listener *l = ctx;
    if (line.len == 0) return true;
    if (slice_starts(line, SLICE("{\"lost\":")))
        l->lost_lines++;
    else if (slice_eq(line, l->want))
        l->lines++;
    return l->lines < l->wanted && !l->lost_lines;
}

static _Atomic bool refused; /* memory was short */

static void *listen_to(void *arg) {
    struct listener *l = arg;
    l->result = trace_follow(l->hub, hear, l);
    if (l->result == ERR_MEMORY || l->result == ERR_FULL) atomic_store(&refused, true);
    return NULL;
}

static void await_follower(int count) {
    while (atomic_load(&switched) < count && !atomic_load(&refused)) sched_yield();
}

static void lines_reach_a_follower(void **state) {
    (void)state;
    struct trace_hub *hub = NULL;
    assert_ok(trace_hub_new(on_change, NULL, &hub));
    trace_put(hub, SLICE("{\"n\":0}")); /* nobody follows: gone */
    struct listener l = { .hub = hub, .wanted = 100, .want = SLICE("{\"n\":1}") };
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, listen_to, &l), 0);
    await_follower(1);
    for (int i = 0; i < 100; i++) trace_put(hub, l.want);
    pthread_join(t, NULL);
    assert_ok(l.result);
    assert_int_equal(l.lines, 100);
    assert_int_equal(switched, 0);
    trace_hub_free(hub);
}

static void a_slow_follower_loses_lines_and_hears_so(void **state) {
    (void)state;
    struct trace_hub *hub = NULL;
    assert_ok(trace_hub_new(on_change, NULL, &hub));
    static char large[TRACE_BYTES_MAX];
    memset(large, 'x', sizeof large);
    struct listener l = { .hub = hub, .wanted = UINT32_MAX, .want = SLICE("-") };
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, listen_to, &l), 0);
    await_follower(1);
    trace_put(hub, slice_of(large, sizeof large)); /* no room for its newline */
    pthread_join(t, NULL);
    assert_int_equal(l.lost_lines, 1);
    trace_hub_free(hub);
}

static void stopping_ends_all_followers(void **state) {
    (void)state;
    struct trace_hub *hub = NULL;
    assert_ok(trace_hub_new(on_change, NULL, &hub));
    struct listener l[TRACE_FOLLOWERS_MAX];
    pthread_t t[TRACE_FOLLOWERS_MAX];
    for (size_t i = 0; i < TRACE_FOLLOWERS_MAX; i++) {
        l[i] = (struct listener){ .hub = hub, .wanted = 1, .want = SLICE("-") };
        assert_int_equal(pthread_create(&t[i], NULL, listen_to, &l[i]), 0);
    }
    await_follower(1);
    trace_hub_stop(hub);
    for (size_t i = 0; i < TRACE_FOLLOWERS_MAX; i++) pthread_join(t[i], NULL);
    assert_int_equal(switched, 0);
    trace_hub_free(hub);
    trace_hub_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_reach_a_follower),
        cmocka_unit_test(a_slow_follower_loses_lines_and_hears_so),
        cmocka_unit_test(stopping_ends_all_followers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
