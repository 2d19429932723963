#include "unit.h"

#include "daemon/storer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* What on_done heard. */
static _Atomic unsigned answered, failed;
static _Atomic uint64_t last_ticket;

static void on_done(void *ctx, unsigned worker, uint64_t ticket, enum err result) {
    (void)ctx;
    ASSERT(worker == 3);
    if (result != ERR_OK) atomic_fetch_add(&failed, 1);
    atomic_store(&last_ticket, ticket);
    atomic_fetch_add(&answered, 1);
}

static void reset(void) {
    atomic_store(&answered, 0);
    atomic_store(&failed, 0);
}

static struct store_change value(const char *name, enum store_durability durability) {
    return (struct store_change){ .op = STORE_VALUE_PUT,
                                  .durability = durability,
                                  .value = { slice_str(name), SLICE("v") } };
}

/* Wraps the memory backend: counts commits and can hold them up. */
struct gate {
    struct store store;
    struct store *inner;
    pthread_mutex_t mutex;
    _Atomic unsigned commits, changes;
};

static enum err gate_commit(struct store *s, const struct store_change *c, size_t count) {
    struct gate *g = (struct gate *)(void *)s;
    pthread_mutex_lock(&g->mutex);
    atomic_fetch_add(&g->commits, 1);
    atomic_fetch_add(&g->changes, (unsigned)count);
    enum err e = store_commit(g->inner, c, count);
    pthread_mutex_unlock(&g->mutex);
    return e;
}
static const char *gate_trouble(struct store *s) {
    return store_trouble(((struct gate *)(void *)s)->inner);
}
static const struct store_vtable gate_vt = { .commit = gate_commit, .trouble = gate_trouble };

static void gate_open(struct gate *g) {
    *g = (struct gate){ .store = { &gate_vt }, .inner = store_memory_new() };
    assert_non_null(g->inner);
    pthread_mutex_init(&g->mutex, NULL);
}

static void what_waits_shares_a_commit(void **state) {
    (void)state;
    reset();
    struct gate g;
    struct storer *s = NULL;
    gate_open(&g);
    assert_ok(storer_start(&g.store, on_done, NULL, &s));
    pthread_mutex_lock(&g.mutex); /* the first commit is held up; all others pile up behind it */
    struct store_change c = value("a", STORE_NORMAL);
    for (uint64_t i = 1; i <= 500; i++) assert_ok(storer_submit(s, 3, &c, i));
    pthread_mutex_unlock(&g.mutex);
    storer_stop(s);
    assert_int_equal(answered, 500);
    assert_int_equal(last_ticket, 500); /* in order */
    assert_int_equal(failed, 0);
    assert_int_equal(g.changes, 500);
    assert_true(g.commits <= 3);
    store_close(g.inner);
}

static void a_ticket_of_zero_wants_no_answer(void **state) {
    (void)state;
    reset();
    struct gate g;
    struct storer *s = NULL;
    gate_open(&g);
    assert_ok(storer_start(&g.store, on_done, NULL, &s));
    struct store_change c = value("a", STORE_LAZY);
    assert_ok(storer_submit(s, 3, &c, 0));
    storer_stop(s); /* and stopping commits what was held back */
    assert_int_equal(answered, 0);
    assert_int_equal(g.changes, 1);
    store_close(g.inner);
}

static void lazy_changes_ride_along(void **state) {
    (void)state;
    reset();
    struct gate g;
    struct storer *s = NULL;
    gate_open(&g);
    assert_ok(storer_start(&g.store, on_done, NULL, &s));
    struct store_change lazy = value("lazy", STORE_LAZY), now = value("now", STORE_FULL);
    for (int i = 0; i < 10; i++) assert_ok(storer_submit(s, 3, &lazy, 0));
    assert_ok(storer_commit(s, &now, 1)); /* returns when it is committed */
    assert_int_equal(g.changes, 11);
    assert_int_equal(g.commits, 1);
    storer_stop(s);
    store_close(g.inner);
}

static void a_full_disk_is_told_and_survived(void **state) {
    (void)state;
    reset();
    struct storer *s = NULL;
    struct store *store = store_memory_new();
    assert_non_null(store);
    assert_ok(storer_start(store, on_done, NULL, &s));
    struct store_change c = value("a", STORE_FULL);
    assert_ok(storer_commit(s, &c, 1));
    store_memory_fail(store, 0);
    assert_err(storer_commit(s, &c, 1), ERR_STORE);
    struct storer_state st;
    storer_state(s, &st);
    assert_true(st.failing);
    assert_int_equal(st.failures, 1);
    assert_true(st.since > 0);
    assert_true(st.trouble[0] != 0);
    store_memory_fail(store, -1);
    assert_ok(storer_commit(s, &c, 1));
    storer_state(s, &st);
    assert_false(st.failing);
    assert_int_equal(st.waiting, 0);
    storer_stop(s);
    store_close(store);
}

/* The store refuses a change without a name; what came in the same batch is committed anyway. */
static struct store *picky_memory;

static const char *picky_trouble(struct store *s) {
    (void)s;
    return store_trouble(picky_memory);
}

static enum err picky_commit(struct store *s, const struct store_change *c, size_t count) {
    (void)s;
    for (size_t i = 0; i < count; i++)
        if (c[i].value.name.len == 0) return ERR_STORE;
    return ERR_OK;
}

static void one_bad_change_spoils_nothing_else(void **state) {
    (void)state;
    reset();
    static const struct store_vtable picky_vt = { .commit = picky_commit,
                                                  .trouble = picky_trouble };
    struct store picky = { &picky_vt };
    struct gate g;
    struct storer *s = NULL;
    gate_open(&g);
    struct store *memory = g.inner; /* gives the words of the trouble */
    picky_memory = memory;
    g.inner = &picky;
    assert_ok(storer_start(&g.store, on_done, NULL, &s));
    pthread_mutex_lock(&g.mutex);
    struct store_change good = value("a", STORE_NORMAL), bad = value("", STORE_NORMAL);
    for (uint64_t i = 1; i <= 20; i++) assert_ok(storer_submit(s, 3, i == 7 ? &bad : &good, i));
    pthread_mutex_unlock(&g.mutex);
    storer_stop(s);
    assert_int_equal(answered, 20);
    assert_int_equal(failed, 1);
    store_close(memory);
}

static enum err start_and_commit(void *ctx) {
    struct store *store = ctx;
    struct storer *s = NULL;
    enum err e = storer_start(store, on_done, NULL, &s);
    if (e != ERR_OK) return e;
    struct store_change c[2] = { value("a", STORE_FULL), value("a", STORE_FULL) };
    e = storer_commit(s, c, 2);
    storer_stop(s);
    return e == ERR_STORE ? ERR_MEMORY : e; /* the memory backend's own failed allocation */
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    struct store *store = store_memory_new();
    assert_non_null(store);
    assert_ok(start_and_commit(store));
    assert_true(unit_oom_ctx(start_and_commit, store) > 2);
    store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_shares_a_commit),
        cmocka_unit_test(a_ticket_of_zero_wants_no_answer),
        cmocka_unit_test(lazy_changes_ride_along),
        cmocka_unit_test(a_full_disk_is_told_and_survived),
        cmocka_unit_test(one_bad_change_spoils_nothing_else),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
