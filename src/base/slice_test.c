#include "unit.h"

#include "base/slice.h"
#include <strings.h>

static void compares_without_case(void **state) {
    (void)state;
    assert_true(slice_ieq(UNIT_GUARD("ViA"), UNIT_GUARD("vIa")));
    assert_false(slice_ieq(SLICE("via"), SLICE("vi")));
    assert_false(slice_ieq(SLICE("@"), SLICE("`"))); /* differ in the bit that letters differ in */
    assert_false(slice_ieq(SLICE("["), SLICE("{")));
    assert_false(slice_ieq(SLICE("\xc4"), SLICE("\xe4"))); /* ASCII only, whatever the locale */
    assert_true(slice_ieq(SLICE_NONE, SLICE("")));
}

static void compares_beginnings(void **state) {
    (void)state;
    assert_true(slice_starts(UNIT_GUARD("sips:a"), SLICE("sips:")));
    assert_false(slice_starts(UNIT_GUARD("SIPS:a"), SLICE("sips:")));
    assert_true(slice_istarts(UNIT_GUARD("SIPS:a"), SLICE("sips:")));
    assert_false(slice_istarts(UNIT_GUARD("sip"), SLICE("sips:")));
    assert_true(slice_starts(SLICE_NONE, SLICE("")));
}

static void orders_bytewise(void **state) {
    (void)state;
    assert_true(slice_cmp(SLICE("a"), SLICE("b")) < 0);
    assert_true(slice_cmp(SLICE("b"), SLICE("a")) > 0);
    assert_true(slice_cmp(SLICE("a"), SLICE("ab")) < 0);
    assert_true(slice_cmp(SLICE("ab"), SLICE("a")) > 0);
    assert_true(slice_cmp(SLICE("\x7f"), SLICE("\x80")) < 0);
    assert_int_equal(slice_cmp(SLICE("a\0b"), SLICE("a\0b")), 0);
    assert_int_equal(slice_cmp(SLICE_NONE, SLICE("")), 0);
}

static void finds(void **state) {
    (void)state;
    assert_int_equal(slice_find(UNIT_GUARD("a=b=c"), '='), 1);
    assert_int_equal(slice_find(UNIT_GUARD("abc"), '='), 3);
    assert_int_equal(slice_find(SLICE_NONE, '='), 0);
    assert_int_equal(slice_find_slice(UNIT_GUARD("abcabd"), SLICE("abd")), 3);
    assert_int_equal(slice_find_slice(UNIT_GUARD("abcab"), SLICE("abd")), 5);
    assert_int_equal(slice_find_slice(UNIT_GUARD("abc"), SLICE("")), 0);
    assert_int_equal(slice_find_slice(SLICE_NONE, SLICE("a")), 0);
}

static void takes_parts(void **state) {
    (void)state;
    assert_slice(slice_from(SLICE("abc"), 1), "bc");
    assert_slice(slice_from(SLICE("abc"), 9), "");
    assert_slice(slice_head(SLICE("abc"), 2), "ab");
    assert_slice(slice_head(SLICE("abc"), 9), "abc");
    assert_slice(slice_trim(UNIT_GUARD(" \t\r\na b\r\n ")), "a b");
    assert_slice(slice_trim(UNIT_GUARD(" \t\r\n")), "");
    assert_slice(slice_trim(SLICE_NONE), "");
}

static void splits(void **state) {
    (void)state;
    slice rest = UNIT_GUARD("a,,b"), first;
    assert_true(slice_split(&rest, ',', &first));
    assert_slice(first, "a");
    assert_true(slice_split(&rest, ',', &first));
    assert_slice(first, "");
    assert_true(slice_split(&rest, ',', &first));
    assert_slice(first, "b");
    assert_false(slice_split(&rest, ',', &first));
    rest = SLICE_NONE;
    assert_false(slice_split(&rest, ',', &first));
}

static void reads_numbers(void **state) {
    (void)state;
    uint64_t v = 7;
    uint32_t w = 7;
    assert_ok(slice_u64(UNIT_GUARD("18446744073709551615"), UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
    assert_err(slice_u64(UNIT_GUARD("18446744073709551616"), UINT64_MAX, &v), ERR_LIMIT);
    assert_err(slice_u64(UNIT_GUARD("99999999999999999999999"), UINT64_MAX, &v), ERR_LIMIT);
    assert_err(slice_u64(UNIT_GUARD("99999999999999999999x"), UINT64_MAX, &v), ERR_BAD);
    assert_ok(slice_u64(UNIT_GUARD("0000000000000000000000000042"), 42, &v));
    assert_int_equal(v, 42);
    assert_err(slice_u64(UNIT_GUARD("43"), 42, &v), ERR_LIMIT);
    assert_int_equal(v, 42); /* left alone on failure */
    assert_err(slice_u64(SLICE_NONE, 42, &v), ERR_BAD);
    assert_err(slice_u64(SLICE("-1"), 42, &v), ERR_BAD);
    assert_err(slice_u64(SLICE(" 1"), 42, &v), ERR_BAD);
    assert_err(slice_u64(SLICE("1/"), 42, &v), ERR_BAD);
    assert_err(slice_u64(SLICE("1:"), 42, &v), ERR_BAD);
    assert_ok(slice_u32(SLICE("4294967295"), UINT32_MAX, &w));
    assert_true(w == UINT32_MAX);
    assert_err(slice_u32(SLICE("4294967296"), UINT32_MAX, &w), ERR_LIMIT);
}

static void copies_for_the_c_library(void **state) {
    (void)state;
    char dst[4] = "xyz";
    assert_true(slice_cstr(UNIT_GUARD("abc"), dst, sizeof(dst)));
    assert_string_equal(dst, "abc");
    assert_false(slice_cstr(UNIT_GUARD("abcd"), dst, sizeof(dst)));
    assert_false(slice_cstr(UNIT_GUARD("a\0b"), dst, sizeof(dst)));
    assert_false(slice_cstr(SLICE_NONE, dst, 0));
    assert_true(slice_cstr(SLICE_NONE, dst, 1));
    assert_string_equal(dst, "");
}

/* Property: compare, find and trim agree with the C library on random text. */
static void agrees_with_the_c_library(void **state) {
    (void)state;
    uint64_t random = 1;
    for (int round = 0; round < 20000; round++) {
        char a[9] = { 0 }, b[9] = { 0 };
        uint32_t a_len = unit_below(&random, 9), b_len = unit_below(&random, 9);
        for (uint32_t i = 0; i < a_len; i++) a[i] = "abAB1"[unit_below(&random, 5)];
        for (uint32_t i = 0; i < b_len; i++) b[i] = "abAB1"[unit_below(&random, 5)];
        slice x = slice_of(a, a_len), y = slice_of(b, b_len);
        assert_int_equal(slice_eq(x, y), strcmp(a, b) == 0);
        assert_int_equal(slice_ieq(x, y), strcasecmp(a, b) == 0);
        assert_int_equal(slice_cmp(x, y) < 0, strcmp(a, b) < 0);
        assert_int_equal(slice_cmp(x, y) > 0, strcmp(a, b) > 0);
        const char *found = strstr(a, b);
        assert_int_equal(slice_find_slice(x, y), found ? (size_t)(found - a) : a_len);
        assert_int_equal(slice_starts(x, y), found == a);
    }
}

static void names_each_error(void **state) {
    (void)state;
    assert_string_equal(err_name(ERR_OK), "OK");
    assert_string_equal(err_name(ERR_CONFIG), "CONFIG");
    assert_string_equal(err_text(ERR_FULL), "no room is left");
    assert_string_equal(err_name(ERR_COUNT), "?");
    for (int e = 0; e < ERR_COUNT; e++) assert_true(err_text((enum err)e)[0] != '\0');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_without_case),
        cmocka_unit_test(compares_beginnings),
        cmocka_unit_test(orders_bytewise),
        cmocka_unit_test(finds),
        cmocka_unit_test(takes_parts),
        cmocka_unit_test(splits),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(copies_for_the_c_library),
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(names_each_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
