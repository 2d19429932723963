#include "unit.h"

#include "base/map.h"

static uint32_t count_of(const struct map *m, uint64_t hash, uint32_t value) {
    struct map_iter it = map_find(m, hash);
    uint32_t n = 0;
    for (uint32_t v; map_next(m, &it, &v);) n += v == value;
    return n;
}

static void finds_what_was_added(void **state) {
    (void)state;
    struct map m;
    map_init(&m, 100);
    assert_int_equal(count_of(&m, 1, 1), 0);
    assert_false(map_remove(&m, 1, 1));
    assert_ok(map_add(&m, 1, 10));
    assert_ok(map_add(&m, 1, 11));  /* the same hash, another key */
    assert_ok(map_add(&m, 17, 12)); /* the same home in a table of 16 */
    assert_int_equal(count_of(&m, 1, 10), 1);
    assert_int_equal(count_of(&m, 1, 11), 1);
    assert_int_equal(count_of(&m, 1, 12), 0);
    assert_true(map_remove(&m, 1, 10));
    assert_false(map_remove(&m, 1, 10));
    assert_int_equal(count_of(&m, 1, 11), 1);
    assert_int_equal(count_of(&m, 17, 12), 1);
    map_fini(&m);
    assert_int_equal(count_of(&m, 1, 11), 0);
    assert_int_equal(mem_live(), 0);
}

static void full_is_an_answer(void **state) {
    (void)state;
    struct map m;
    map_init(&m, 20);
    for (uint32_t i = 0; i < 20; i++) assert_ok(map_add(&m, i, i));
    assert_err(map_add(&m, 20, 20), ERR_FULL);
    assert_true(map_remove(&m, 3, 3));
    assert_ok(map_add(&m, 20, 20));
    map_fini(&m);
    map_init(&m, 0);
    assert_err(map_add(&m, 1, 1), ERR_FULL);
    map_fini(&m);
}

static void a_full_walk_ends(void **state) {
    (void)state;
    struct map m;
    map_init(&m, 12);
    for (uint32_t i = 0; i < 12; i++) assert_ok(map_add(&m, 5, i));
    struct map_iter it = map_find(&m, 5);
    uint32_t n = 0, seen = 0;
    for (uint32_t v; map_next(&m, &it, &v); n++) seen |= 1u << v;
    assert_int_equal(n, 12);
    assert_int_equal(seen, 0xfff);
    uint32_t v;
    assert_false(map_next(&m, &it, &v)); /* and stays ended */
    map_fini(&m);
}

/* Property: after any adds and removes, every question gets the answer of a plain list. Hashes are
 * drawn from a few values near each other and near the end, so that chains run into each other and
 * around the table's edge. */
static void agrees_with_a_list(void **state) {
    (void)state;
    enum { MOST = 300 };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t random = seed;
        struct {
            uint64_t hash;
            uint32_t value;
        } list[MOST];
        uint32_t n = 0, grown = 1 + unit_below(&random, MOST);
        struct map m;
        map_init(&m, MOST);
        for (int round = 0; round < 4000; round++) {
            uint64_t hash =
                unit_random(&random) << 32 | ((0u - 8u + unit_below(&random, 40)) & 0xffff);
            if (unit_below(&random, 3)) hash &= 0xffff;
            uint32_t value = unit_below(&random, 4);
            if (unit_below(&random, 2) && n < grown) {
                assert_ok(map_add(&m, hash, value));
                list[n].hash = hash;
                list[n++].value = value;
            } else {
                uint32_t at = 0;
                if (n && unit_below(&random, 4)) {
                    at = unit_below(&random, n);
                    hash = list[at].hash, value = list[at].value;
                }
                for (at = 0; at < n; at++)
                    if (list[at].hash == hash && list[at].value == value) break;
                assert_int_equal(map_remove(&m, hash, value), at < n);
                if (at < n) list[at] = list[--n];
            }
            assert_int_equal(m.count, n);
            uint64_t asked = n && unit_below(&random, 2) ? list[unit_below(&random, n)].hash : hash;
            for (uint32_t v = 0; v < 4; v++) {
                uint32_t wanted = 0;
                for (uint32_t i = 0; i < n; i++)
                    wanted += list[i].hash == asked && list[i].value == v;
                assert_int_equal(count_of(&m, asked, v), wanted);
            }
        }
        map_fini(&m);
    }
    assert_int_equal(mem_live(), 0);
}

static enum err fill(void *ctx) {
    (void)ctx;
    struct map m;
    enum err e = ERR_OK;
    map_init(&m, 1000);
    for (uint32_t i = 0; i < 1000 && e == ERR_OK; i++) {
        e = map_add(&m, i * 77, i);
        if (e == ERR_OK) continue;
        for (uint32_t k = 0; k < i; k++) assert_int_equal(count_of(&m, k * 77, k), 1);
    }
    map_fini(&m);
    return e;
}

static void survives_short_memory(void **state) {
    (void)state;
    assert_true(unit_oom(fill) >= 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_added),  cmocka_unit_test(full_is_an_answer),
        cmocka_unit_test(a_full_walk_ends),      cmocka_unit_test(agrees_with_a_list),
        cmocka_unit_test(survives_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
