#include "unit.h"

#include "base/log.h"
#include <unistd.h>

static int64_t wall(void) {
    return INT64_C(1700000000123);
}

/* What one LOG() call writes; fits a pipe. */
static char text[8192];
static int ends[2];

static int open_pipe(void **state) {
    (void)state;
    log_set_level(LOG_INFO);
    return pipe(ends);
}
static int close_pipe(void **state) {
    (void)state;
    log_open(-1, NULL);
    (void)close(ends[1]);
    return close(ends[0]);
}
static slice written(void) {
    ssize_t n = read(ends[0], text, sizeof(text));
    assert_true(n >= 0);
    return slice_of(text, (size_t)n);
}

static void writes_one_json_line(void **state) {
    (void)state;
    log_open(ends[1], wall);
    LOG(LOG_WARN, "flow.closed", LOG_F_U64("flow", 12), LOG_F_STR("why", "idle"));
    assert_slice(written(), "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"warn\","
                            "\"event\":\"flow.closed\",\"flow\":12,\"why\":\"idle\"}\n");
    log_open(ends[1], NULL);
    LOG(LOG_INFO, "x", LOG_F_SLICE("s", SLICE_NONE));
    assert_slice(written(), "{\"level\":\"info\",\"event\":\"x\",\"s\":\"\"}\n");
}

static void strangers_text_cannot_break_the_line(void **state) {
    (void)state;
    log_open(ends[1], NULL);
    LOG(LOG_INFO, "x",
        LOG_F_SLICE("s", UNIT_GUARD("a\"b\\c\n\r\t\x01\x7f\xc3\xa4\xc3(\xff\xc0\xaf\xed\xa0\x80"
                                    "\xf0\x9f\x98\x80\xf5\xe2\x82")));
    assert_slice(written(),
                 "{\"level\":\"info\",\"event\":\"x\",\"s\":\""
                 "a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\xc3\xa4\xef\xbf\xbd("
                 "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                 "\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}\n");
}

static void a_field_too_long_is_left_out_whole(void **state) {
    (void)state;
    static char longest[5000];
    memset(longest, 'a', sizeof(longest));
    log_open(ends[1], NULL);
    LOG(LOG_INFO, "x", LOG_F_U64("a", 1), LOG_F_SLICE("b", slice_of(longest, sizeof(longest))),
        LOG_F_U64("c", 3));
    assert_slice(written(), "{\"level\":\"info\",\"event\":\"x\",\"a\":1,\"c\":3,\"cut\":1}\n");
}

static void levels_and_silence(void **state) {
    (void)state;
    log_open(ends[1], NULL);
    LOG(LOG_DEBUG, "quiet", LOG_F_U64("a", 1));
    log_set_level(LOG_DEBUG);
    LOG(LOG_DEBUG, "loud", LOG_F_U64("a", 1));
    assert_slice(written(), "{\"level\":\"debug\",\"event\":\"loud\",\"a\":1}\n");
    log_set_level(LOG_ERROR);
    LOG(LOG_WARN, "quiet", LOG_F_U64("a", 1));
    LOG(LOG_ERROR, "loud", LOG_F_U64("a", 1));
    assert_slice(written(), "{\"level\":\"error\",\"event\":\"loud\",\"a\":1}\n");
    log_open(-1, NULL);
    LOG(LOG_ERROR, "nobody", LOG_F_U64("a", 1)); /* would block a later read */
    log_open(ends[1], NULL);
    LOG(LOG_ERROR, "last", LOG_F_U64("a", 1));
    assert_slice(written(), "{\"level\":\"error\",\"event\":\"last\",\"a\":1}\n");
}

static void parties_have_pseudonyms(void **state) {
    (void)state;
    char a[9], b[9], c[9];
    static const uint8_t key[16] = { 1, 2, 3 }, other[16] = { 9 };
    log_set_key(key);
    slice alice = log_who(SLICE("alice@example.com"), a);
    assert_int_equal(alice.len, 8);
    for (int i = 0; i < 8; i++) assert_true(a[i] >= 'a' && a[i] <= 'z');
    assert_slice_eq(log_who(SLICE("alice@example.com"), b), alice);
    assert_false(slice_eq(log_who(SLICE("bob@example.com"), b), alice));
    log_set_key(other);
    assert_false(slice_eq(log_who(SLICE("alice@example.com"), c), alice));
    log_set_level(LOG_DEBUG);
    assert_slice(log_who(SLICE("alice@example.com"), c), "alice@example.com");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_one_json_line, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(strangers_text_cannot_break_the_line, open_pipe,
                                        close_pipe),
        cmocka_unit_test_setup_teardown(a_field_too_long_is_left_out_whole, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(levels_and_silence, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(parties_have_pseudonyms, open_pipe, close_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
