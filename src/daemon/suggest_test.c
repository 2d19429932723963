#include "unit.h"

#include "daemon/suggest.h"

static void distances(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        unsigned want;
    } rows[] = {
        { "", "", 0 },         { "", "abc", 3 },           { "tls", "tls", 0 },
        { "TLS", "tls", 0 },   { "tsl", "tls", 1 },        { "tlss", "tls", 1 },
        { "ts", "tls", 1 },    { "kitten", "sitting", 3 }, { "certifcate", "certificate", 1 },
        { "abcd", "dcba", 3 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(edit_distance(slice_str(rows[i].a), slice_str(rows[i].b)), rows[i].want);
        assert_int_equal(edit_distance(slice_str(rows[i].b), slice_str(rows[i].a)), rows[i].want);
    }
    char large[100] = { 0 };
    assert_true(edit_distance(slice_of(large, 64), SLICE("a")) >= 1000);
    assert_int_equal(edit_distance(slice_of(large, 63), SLICE_NONE), 63);
}

static void the_nearest_wins(void **state) {
    (void)state;
    struct suggest s = suggest_for(SLICE("lisst"));
    suggest_offer(&s, SLICE("last"));
    suggest_offer(&s, SLICE("list"));
    suggest_offer(&s, SLICE("lists"));
    assert_true(slice_eq(s.best, SLICE("list")));
    s = suggest_for(SLICE("zzz"));
    suggest_offer(&s, SLICE("list"));
    assert_int_equal(s.best.len, 0);
    s = suggest_for(SLICE("x"));
    suggest_offer(&s, SLICE("tls"));
    assert_int_equal(s.best.len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(the_nearest_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
