#include "unit.h"

#include "base/arena.h"

static void hands_out_up_to_its_maximum(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1024);
    assert_null(arena_alloc(&a, 1025));
    for (int i = 0; i < 64; i++) assert_non_null(arena_alloc(&a, 16));
    assert_null(arena_alloc(&a, 1));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 1024));
    assert_null(arena_alloc(&a, 1));
    arena_fini(&a);
    assert_int_equal(mem_live(), 0);
}

static void a_reset_keeps_the_first_block(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    void *first = arena_alloc(&a, 100);
    for (int i = 0; i < 100; i++) assert_non_null(arena_alloc(&a, 5000));
    arena_reset(&a);
    assert_int_equal(mem_live(), 1);
    assert_ptr_equal(arena_alloc(&a, 100), first);
    arena_fini(&a);
    arena_reset(&a); /* of an empty one */
    arena_fini(&a);
    assert_int_equal(mem_live(), 0);
}

static void copies_text(void **state) {
    (void)state;
    struct arena a;
    slice out;
    arena_init(&a, 64);
    assert_ok(arena_copy(&a, UNIT_GUARD("sip:alice"), &out));
    assert_slice(out, "sip:alice");
    assert_ok(arena_copy(&a, SLICE_NONE, &out));
    assert_int_equal(out.len, 0);
    assert_err(arena_copy(&a, UNIT_GUARD("0123456789012345678901234567890123456789"), &out),
               ERR_MEMORY);
    arena_fini(&a);
}

/* Property: pieces are aligned, do not overlap, keep what was written, and the bill is right. */
static void pieces_do_not_overlap(void **state) {
    (void)state;
    uint64_t random = 3;
    struct arena a;
    arena_init(&a, 200000);
    for (int round = 0; round < 20; round++) {
        uint8_t *pieces[600];
        size_t sizes[600], n = 0, total = 0;
        while (n < 600) {
            size_t size = unit_below(&random, n % 50 == 0 ? 9000 : 300);
            uint8_t *p = n % 2 ? arena_alloc(&a, size) : arena_zalloc(&a, size);
            if (!p) break;
            assert_int_equal((uintptr_t)p % 16, 0);
            if (n % 2 == 0)
                for (size_t i = 0; i < size; i++) assert_int_equal(p[i], 0);
            if (size) memset(p, (int)(n & 0xff), size);
            pieces[n] = p;
            sizes[n++] = size;
            total += size;
        }
        assert_true(n > 100);
        assert_true(a.used >= total && a.used <= a.max);
        for (size_t k = 0; k < n; k++)
            for (size_t i = 0; i < sizes[k]; i++) assert_int_equal(pieces[k][i], k & 0xff);
        arena_reset(&a);
        assert_int_equal(a.used, 0);
    }
    arena_fini(&a);
    assert_int_equal(mem_live(), 0);
}

static enum err fill(void *ctx) {
    (void)ctx;
    struct arena a;
    enum err e = ERR_OK;
    arena_init(&a, 1 << 20);
    for (int i = 0; i < 50 && e == ERR_OK; i++)
        if (!arena_alloc(&a, 3000)) e = ERR_MEMORY;
    arena_fini(&a);
    return e;
}

static void survives_short_memory(void **state) {
    (void)state;
    assert_true(unit_oom(fill) >= 4);
}

static void the_heap_counts_and_fails_on_demand(void **state) {
    (void)state;
    int64_t base = mem_live();
    char *text = mem_dup("ab", 2);
    assert_non_null(text);
    assert_string_equal(text, "ab");
    mem_fail_at(1);
    void *p = mem_alloc(1);
    assert_non_null(p);
    assert_false(mem_failed());
    assert_null(mem_grow(p, 100));
    assert_true(mem_failed());
    p = mem_grow(p, 100); /* only the one fails */
    assert_non_null(p);
    mem_fail_at(-1);
    assert_int_equal(mem_live(), base + 2);
    mem_free(p);
    mem_free(text);
    mem_free(NULL);
    assert_int_equal(mem_live(), base);
    assert_null(mem_array(SIZE_MAX / 2, 3));
    assert_null(mem_dup("", SIZE_MAX));
    assert_int_equal(mem_live(), base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_out_up_to_its_maximum),
        cmocka_unit_test(a_reset_keeps_the_first_block),
        cmocka_unit_test(copies_text),
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(survives_short_memory),
        cmocka_unit_test(the_heap_counts_and_fails_on_demand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
