#include "unit.h"

#include "base/buf.h"
#include "base/units.h"

static void reads_durations(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = { { "0", 0 },        { "90", 90000 },   { "90s", 90000 },
                 { "15m", 900000 }, { "2h", 7200000 }, { "7d", 604800000 },
                 { "007s", 7000 },  { "0d", 0 },       { "365d", 365 * INT64_C(86400000) } };
    int64_t ms = -1;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_ok(duration_read(slice_str(good[i].text), INT64_MAX, &ms));
        assert_true(ms == good[i].ms);
    }
    static const char *const bad[] = {
        "", "s", "1w", "1ms", "-1s", "1.5h", "1 s", "1S", "1hh", "h1"
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_err(duration_read(slice_str(bad[i]), INT64_MAX, &ms), ERR_BAD);
    assert_ok(duration_read(UNIT_GUARD("60s"), 60000, &ms));
    assert_err(duration_read(UNIT_GUARD("61s"), 60000, &ms), ERR_LIMIT);
    assert_err(duration_read(UNIT_GUARD("2m"), 60000, &ms), ERR_LIMIT);
    assert_err(duration_read(UNIT_GUARD("9223372036854775807d"), INT64_MAX, &ms), ERR_LIMIT);
    assert_err(duration_read(UNIT_GUARD("1"), -5, &ms), ERR_LIMIT);
    assert_true(ms == 60000);
}

static void reads_sizes(void **state) {
    (void)state;
    uint64_t v = 7;
    assert_ok(size_read(UNIT_GUARD("64k"), UINT64_MAX, &v));
    assert_int_equal(v, 65536);
    assert_ok(size_read(UNIT_GUARD("10M"), UINT64_MAX, &v));
    assert_int_equal(v, 10485760);
    assert_ok(size_read(UNIT_GUARD("2G"), UINT64_MAX, &v));
    assert_true(v == UINT64_C(2147483648));
    assert_ok(size_read(UNIT_GUARD("1500"), 1500, &v));
    assert_int_equal(v, 1500);
    assert_err(size_read(UNIT_GUARD("1501"), 1500, &v), ERR_LIMIT);
    assert_err(size_read(UNIT_GUARD("2k"), 2047, &v), ERR_LIMIT);
    assert_err(size_read(UNIT_GUARD("18446744073709551615G"), UINT64_MAX, &v), ERR_LIMIT);
    static const char *const bad[] = { "", "k", "1m", "1T", "1kB", "-1", "1.5M", "0x10" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_err(size_read(slice_str(bad[i]), UINT64_MAX, &v), ERR_BAD);
    assert_int_equal(v, 1500);
}

static void writes_durations(void **state) {
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = { { 0, "0s" },
                  { -5, "0s" },
                  { 999, "0s" },
                  { 1000, "1s" },
                  { 59999, "59s" },
                  { 60000, "1m" },
                  { 725000, "12m 5s" },
                  { 3600000, "1h" },
                  { 3605000, "1h" },
                  { 3660000, "1h 1m" },
                  { 273600000, "3d 4h" },
                  { 86400000, "1d" },
                  { 86460000, "1d" },
                  { INT64_MAX, "106751991167d 7h" } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char mem[32];
        struct buf b = buf_over(mem, sizeof(mem));
        duration_put(&b, cases[i].ms);
        assert_slice(buf_slice(&b), cases[i].text);
    }
}

static void writes_sizes(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = { { 0, "0 B" },
                  { 1023, "1023 B" },
                  { 1024, "1.0 kB" },
                  { 14541, "14.2 kB" },
                  { 1048575, "1023.9 kB" },
                  { 1048576, "1.0 MB" },
                  { 1610612736, "1.5 GB" },
                  { UINT64_MAX, "15.9 EB" } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char mem[32];
        struct buf b = buf_over(mem, sizeof(mem));
        size_put(&b, cases[i].bytes);
        assert_slice(buf_slice(&b), cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_durations),
        cmocka_unit_test(reads_sizes),
        cmocka_unit_test(writes_durations),
        cmocka_unit_test(writes_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
