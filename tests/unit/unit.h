/* tests/unit/unit.h - cmocka, and what our tests need beside it.
 *
 *   static void reads_a_token(void **state) {
 *       (void)state;
 *       slice in = UNIT_GUARD("INVITE sip:a@b");
 *       assert_ok(token_read(in, &out));
 *       assert_slice(out, "INVITE");
 *   }
 *   int main(void) {
 *       const struct CMUnitTest tests[] = { cmocka_unit_test(reads_a_token) };
 *       return cmocka_run_group_tests(tests, NULL, NULL);
 *   }
 *
 * Include it first: cmocka wants its system headers in one order. */
#ifndef UNIT_UNIT_H
#define UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "guard.h"

/* Compare results by name: "MEMORY != OK" says more than two numbers. */
#define assert_err(call, wanted)                                                                   \
    do {                                                                                           \
        enum err unit_got_ = (call);                                                               \
        if (unit_got_ != (wanted)) {                                                               \
            print_error("%s: %s, not %s\n", #call, err_name(unit_got_), err_name(wanted));         \
            fail();                                                                                \
        }                                                                                          \
    } while (0)
#define assert_ok(call) assert_err(call, ERR_OK)

/* A slice (or a buf's slice) and the text it must be. */
#define assert_slice(got, text)      unit_assert_slice((got), slice_str(text), __FILE__, __LINE__)
#define assert_slice_eq(got, wanted) unit_assert_slice((got), (wanted), __FILE__, __LINE__)
static inline void unit_assert_slice(slice got, slice wanted, const char *file, int line) {
    if (slice_eq(got, wanted)) return;
    print_error("\"" SLICE_FMT "\" is not \"" SLICE_FMT "\"\n", SLICE_ARG(got), SLICE_ARG(wanted));
    _fail(file, line);
}

/* A copy that ends at an unreadable page: see guard.h for how long it lives. */
static inline slice unit_guard(const void *bytes, size_t len) {
    return guard_copy(bytes, len);
}
#define UNIT_GUARD(lit) unit_guard("" lit, sizeof(lit) - 1)

/* A file of the source tree, by its path from the root, as unit_guard() gives it. A file that
 * cannot be read fails the test. */
static inline slice unit_file(const char *path) {
    char whole[1024];
    int n = snprintf(whole, sizeof(whole), "%s/%s", KITH_SOURCE_DIR, path);
    FILE *f = n > 0 && (size_t)n < sizeof(whole) ? fopen(whole, "rb") : NULL;
    if (!f) {
        print_error("cannot read %s\n", path);
        fail();
        return SLICE_NONE;
    }
    size_t len = 0;
    while (fgetc(f) != EOF) len++;
    rewind(f);
    char *bytes = guard_alloc(len);
    size_t got = fread(bytes, 1, len, f);
    (void)fclose(f);
    assert_int_equal(got, len);
    return slice_of(bytes, len);
}

/* Numbers for property tests (SplitMix64): the seed is the state, so a failure can be repeated. */
static inline uint64_t unit_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static inline uint32_t unit_below(uint64_t *state, uint32_t bound) {
    return (uint32_t)(unit_random(state) % bound);
}

/* Walks every allocation failure: `run` is called with its first allocation failing, then its
 * second, and so on until none fails; that last run must be ERR_OK. A run that met the failure
 * must say ERR_MEMORY or ERR_FULL, and each run must free all it took. `run` makes and ends what it
 * tests. Gives the number of failures walked: 0 would mean that `run` allocates nothing. */
static inline int unit_oom_ctx(enum err (*run)(void *ctx), void *ctx) {
    for (int n = 0; n < 100000; n++) {
        int64_t base = mem_live();
        mem_fail_at(n);
        enum err e = run(ctx);
        bool failed = mem_failed();
        mem_fail_at(-1);
        if (mem_live() != base) {
            print_error("allocation %d failing leaks %d blocks\n", n, (int)(mem_live() - base));
            fail();
        }
        if (!failed) {
            assert_err(e, ERR_OK);
            return n;
        }
        if (e != ERR_MEMORY && e != ERR_FULL) {
            print_error("allocation %d failing gives %s\n", n, err_name(e));
            fail();
        }
    }
    print_error("the run still fails after 100000 allocations\n");
    fail();
    return -1;
}
/* unit_oom(run) or unit_oom(run, ctx) */
#define unit_oom(...)                 unit_oom_args_(__VA_ARGS__, NULL, NULL)
#define unit_oom_args_(run, ctx, ...) unit_oom_ctx(run, ctx)

#endif
