#include "unit.h"

#include "json/read.h"

#include "base/mem.h"

static const struct json_limits limits = { 4096, 8 };

static int setup(void **state) {
    (void)state;
    json_init();
    return 0;
}

static enum err read_str(const char *text, struct json_trouble *why) {
    struct json *doc = NULL;
    enum err e = json_read(slice_str(text), &limits, &doc, why);
    assert_true((e == ERR_OK) == (doc != NULL));
    json_free(doc);
    return e;
}

static void members_come_back(void **state) {
    (void)state;
    int64_t live = mem_live();
    struct json *doc = NULL;
    slice text = SLICE("{\"cmd\":\"user add\",\"n\":[1,2,70000],\"yes\":true,\"no\":null}");
    assert_ok(json_read(text, &limits, &doc, NULL));
    assert_true(slice_eq(json_text(json_member(doc, "cmd")), SLICE("user add")));
    const struct json *n = json_member(doc, "n");
    assert_int_equal(json_count(n), 3);
    uint64_t v = 0;
    assert_int_equal(json_u64(json_item(n, 2), UINT32_MAX, &v), ERR_OK);
    assert_int_equal(v, 70000);
    assert_int_equal(json_u64(json_item(n, 2), 69999, &v), ERR_LIMIT);
    assert_int_equal(json_u64(json_item(n, 3), 1, &v), ERR_MISSING);
    assert_true(json_bool(json_member(doc, "yes")));
    assert_false(json_bool(json_member(doc, "no")));
    assert_int_equal(json_kind(json_member(doc, "no")), JSON_KIND_NULL);
    assert_int_equal(json_kind(json_member(doc, "gone")), JSON_KIND_NONE);
    json_free(doc);
    assert_int_equal(mem_live(), live);
}

static void readers_take_any_kind(void **state) {
    (void)state;
    struct json *doc = NULL;
    uint64_t v = 0;
    assert_ok(json_read(SLICE("[-1,1.5,\"x\"]"), &limits, &doc, NULL));
    assert_null(json_member(doc, "x"));
    assert_int_equal(json_text(doc).len, 0);
    assert_int_equal(json_u64(json_item(doc, 0), 10, &v), ERR_BAD);
    assert_int_equal(json_u64(json_item(doc, 1), 10, &v), ERR_BAD);
    assert_int_equal(json_u64(json_item(doc, 2), 10, &v), ERR_MISSING);
    assert_null(json_member(NULL, "x"));
    assert_int_equal(json_count(NULL), 0);
    json_free(doc);
    json_free(NULL);
}

static void bad_text_is_refused(void **state) {
    (void)state;
    struct json_trouble why = { 0 };
    assert_err(read_str("", NULL), ERR_BAD);
    assert_err(read_str("{\"a\":1,\"a\":2}", &why), ERR_BAD);
    assert_non_null(strstr(why.text, "uplicate"));
    assert_err(read_str("{} {}", NULL), ERR_BAD);
    assert_err(read_str("\"\xff\"", NULL), ERR_BAD);
    assert_err(read_str("\"a\\u0000b\"", NULL), ERR_BAD);
    assert_err(read_str("{\"a\":", NULL), ERR_BAD);
}

static void limits_hold(void **state) {
    (void)state;
    struct json_trouble why = { 0 };
    assert_ok(read_str("[[[[[[[[1]]]]]]]]", NULL));
    assert_err(read_str("[[[[[[[[[1]]]]]]]]]", &why), ERR_LIMIT);
    assert_int_equal(why.offset, 8);
    assert_ok(read_str("\"[[[[[[[[[[[[\"", NULL)); /* inside a string: no depth */
    assert_ok(read_str("\"\\\"[[[[[[[[[[[[\"", NULL));
    static char large[5000];
    memset(large, ' ', sizeof large - 1);
    assert_err(read_str(large, NULL), ERR_LIMIT);
}

static enum err read_some(void *ctx) {
    (void)ctx;
    struct json *doc = NULL;
    enum err e = json_read(SLICE("{\"a\":[1,{\"b\":\"long enough for a buffer that must grow\"}]}"),
                           &limits, &doc, NULL);
    json_free(doc);
    return e;
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    assert_true(unit_oom(read_some) > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_back),
        cmocka_unit_test(readers_take_any_kind),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
