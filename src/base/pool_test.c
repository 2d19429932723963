#include "unit.h"

#include "base/pool.h"

static void a_stale_id_is_refused(void **state) {
    (void)state;
    struct pool p;
    pool_id a, b;
    pool_init(&p, 40, 10);
    assert_null(pool_get(&p, POOL_ID_NONE));
    int *item = pool_new(&p, &a);
    assert_non_null(item);
    assert_true(pool_id_some(a));
    assert_ptr_equal(pool_get(&p, a), item);
    pool_free(&p, a);
    assert_null(pool_get(&p, a));
    assert_ptr_equal(pool_new(&p, &b), item);
    assert_int_equal(a.slot, b.slot);
    assert_false(pool_id_eq(a, b));
    assert_null(pool_get(&p, a));
    assert_null(pool_get(&p, (pool_id){ b.slot, b.gen + 1 })); /* not yet, and never guessed */
    assert_null(pool_get(&p, (pool_id){ b.slot + 1, 1 }));
    assert_null(pool_get(&p, (pool_id){ UINT32_MAX, 1 }));
    pool_fini(&p);
    assert_int_equal(mem_live(), 0);
}

static void a_generation_never_comes_to_zero(void **state) {
    (void)state;
    struct pool p;
    pool_id a;
    pool_init(&p, 8, 1);
    assert_non_null(pool_new(&p, &a));
    p.gens[0] = UINT32_MAX;
    a.gen = UINT32_MAX;
    pool_free(&p, a);
    assert_null(pool_get(&p, POOL_ID_NONE));
    assert_non_null(pool_new(&p, &a));
    assert_int_equal(a.gen, 1);
    pool_fini(&p);
}

static void full_is_an_answer(void **state) {
    (void)state;
    const uint32_t sizes[] = { 0, 1, 2, 3, 63, 64, 65, 1000 };
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        struct pool p;
        pool_id id = POOL_ID_NONE;
        pool_init(&p, 1, sizes[k]);
        for (uint32_t i = 0; i < sizes[k]; i++) assert_non_null(pool_new(&p, &id));
        pool_id more;
        assert_null(pool_new(&p, &more));
        assert_int_equal(p.used, sizes[k]);
        if (sizes[k]) {
            pool_free(&p, id);
            assert_non_null(pool_new(&p, &more));
        }
        pool_fini(&p);
    }
    assert_int_equal(mem_live(), 0);
}

static void walks_the_slots_in_use(void **state) {
    (void)state;
    struct pool p;
    pool_id ids[200], id;
    pool_init(&p, sizeof(uint32_t), 200);
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t *item = pool_new(&p, &ids[i]);
        assert_non_null(item);
        *item = i;
    }
    for (uint32_t i = 0; i < 200; i += 3) pool_free(&p, ids[i]);
    for (uint32_t i = 0; i < 200; i++) { /* the slots were taken in order */
        uint32_t *item = pool_at(&p, i, &id);
        assert_true(i % 3 ? item && *item == i && pool_id_eq(id, ids[i]) : !item);
    }
    assert_null(pool_at(&p, 200, &id));
    uint32_t slot = 0, n = 0, sum = 0;
    for (uint32_t *item; (item = pool_each(&p, &slot, &id)); n++) {
        assert_ptr_equal(pool_get(&p, id), item);
        assert_true(*item % 3 != 0);
        sum += *item;
    }
    assert_int_equal(n, 133);
    assert_int_equal(sum, 199 * 200 / 2 - 3 * (66 * 67 / 2));
    pool_fini(&p);
    slot = 0;
    assert_null(pool_each(&p, &slot, &id));
}

/* Property: items never move, start zeroed, keep what was written, and ids of freed items are
 * refused for good, through any order of creation and removal. */
static void slots_never_move(void **state) {
    (void)state;
    enum { MOST = 500, SIZE = 3000 };
    static struct {
        pool_id id;
        char *at;
        uint64_t mark;
    } live[MOST];
    static pool_id dead[4000];
    uint64_t random = 5;
    uint32_t n = 0, n_dead = 0;
    struct pool p;
    pool_init(&p, SIZE, MOST);
    for (int round = 0; round < 8000; round++) {
        bool more = unit_below(&random, 100) < (round / 1000 % 2 ? 40u : 60u);
        if (more && n < MOST) {
            char *at = pool_new(&p, &live[n].id);
            assert_non_null(at);
            assert_int_equal((uintptr_t)at % 16, 0);
            for (int i = 0; i < SIZE; i += 100) assert_int_equal(at[i], 0);
            live[n].at = at;
            live[n].mark = unit_random(&random);
            memset(at, 0xaa, SIZE);
            memcpy(at + SIZE - 8, &live[n++].mark, 8);
        } else if (n) {
            uint32_t at = unit_below(&random, n);
            pool_free(&p, live[at].id);
            if (n_dead < ARRAY_LEN(dead)) dead[n_dead++] = live[at].id;
            live[at] = live[--n];
        }
        assert_int_equal(p.used, n);
        if (n == 0) continue;
        uint32_t at = unit_below(&random, n);
        char *item = pool_get(&p, live[at].id);
        assert_ptr_equal(item, live[at].at);
        assert_memory_equal(item + SIZE - 8, &live[at].mark, 8);
        if (n_dead) assert_null(pool_get(&p, dead[unit_below(&random, n_dead)]));
    }
    pool_fini(&p);
    assert_int_equal(mem_live(), 0);
}

static enum err fill(void *ctx) {
    (void)ctx;
    struct pool p;
    pool_id id;
    enum err e = ERR_OK;
    pool_init(&p, 100, 1000);
    for (int i = 0; i < 1000 && e == ERR_OK; i++) {
        if (pool_new(&p, &id)) continue;
        e = ERR_MEMORY;
        if (i) pool_free(&p, (pool_id){ 0, 1 }); /* what was there is whole */
    }
    pool_fini(&p);
    return e;
}

static void survives_short_memory(void **state) {
    (void)state;
    assert_true(unit_oom(fill) >= 16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stale_id_is_refused), cmocka_unit_test(a_generation_never_comes_to_zero),
        cmocka_unit_test(full_is_an_answer),     cmocka_unit_test(walks_the_slots_in_use),
        cmocka_unit_test(slots_never_move),      cmocka_unit_test(survives_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
