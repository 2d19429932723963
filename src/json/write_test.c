#include "unit.h"

#include "json/write.h"

#include "json/read.h"

static void shapes(void **state) {
    (void)state;
    char mem[256];
    struct buf b = buf_over(mem, sizeof mem);
    struct json_writer w = json_over(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "a", "x");
    json_begin_array(&w, "b");
    json_put_u64(&w, NULL, 1);
    json_begin_object(&w, NULL);
    json_end(&w);
    json_put_i64(&w, NULL, -5);
    json_end(&w);
    json_put_bool(&w, "c", true);
    json_put_null(&w, "d");
    json_put_raw(&w, "e", SLICE("[2]"));
    json_put_wall(&w, "t", INT64_C(1814313600000));
    json_put_wall(&w, "u", 0);
    json_end(&w);
    slice want = SLICE("{\"a\":\"x\",\"b\":[1,{},-5],\"c\":true,\"d\":null,\"e\":[2],"
                       "\"t\":\"2027-06-30T00:00:00Z\",\"u\":null}");
    assert_false(b.full);
    assert_true(slice_eq(buf_slice(&b), want));
}

static slice one(char *mem, size_t cap, slice text) {
    struct buf b = buf_over(mem, cap);
    struct json_writer w = json_over(&b);
    json_put_text(&w, NULL, text);
    assert_false(b.full);
    return buf_slice(&b);
}

static void text_is_escaped(void **state) {
    (void)state;
    char mem[128];
    assert_true(
        slice_eq(one(mem, sizeof mem, SLICE("a\"b\\c\n\t\r")), SLICE("\"a\\\"b\\\\c\\n\\t\\r\"")));
    assert_true(
        slice_eq(one(mem, sizeof mem, slice_of("\x01\x7f", 2)), SLICE("\"\\u0001\\u007f\"")));
    assert_true(slice_eq(one(mem, sizeof mem, slice_of("a\0b", 3)), SLICE("\"a\\u0000b\"")));
    assert_true(slice_eq(one(mem, sizeof mem, SLICE_NONE), SLICE("\"\"")));
}

/* RFC 3629 4: what is no UTF-8 never reaches a reader. */
static void bad_utf8_is_replaced(void **state) {
    (void)state;
    char mem[128];
    assert_true(slice_eq(one(mem, sizeof mem, SLICE("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80")),
                         SLICE("\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\"")));
    static const char *bad[] = { "\xff",
                                 "\xc3",
                                 "\xc0\x80",
                                 "\xed\xa0\x80",
                                 "\xf4\x90\x80\x80",
                                 "\xe0\x80\x80",
                                 "\xf0\x80\x80\x80",
                                 "\x80" };
    json_init();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        slice out = one(mem, sizeof mem, slice_str(bad[i]));
        assert_true(slice_find_slice(out, SLICE("\xef\xbf\xbd")) < out.len);
        struct json *doc = NULL;
        assert_ok(json_read(out, &(struct json_limits){ 128, 1 }, &doc, NULL));
        json_free(doc);
    }
}

static void what_is_written_can_be_read(void **state) {
    (void)state;
    json_init();
    char text[256], mem[2048];
    for (int c = 1; c < 256; c++) text[c - 1] = (char)c;
    slice out = one(mem, sizeof mem, slice_of(text, 127));
    struct json *doc = NULL;
    assert_ok(json_read(out, &(struct json_limits){ 2048, 1 }, &doc, NULL));
    assert_true(slice_eq(json_text(doc), slice_of(text, 127)));
    json_free(doc);
}

static void overflow_is_sticky(void **state) {
    (void)state;
    char mem[64];
    for (size_t cap = 0; cap < 20; cap++) {
        struct buf b = buf_over(mem, cap);
        struct json_writer w = json_over(&b);
        json_begin_object(&w, NULL);
        json_put_str(&w, "k", "0123456789");
        json_end(&w);
        assert_true(b.full == (cap < 18));
        assert_true(b.len <= cap);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(bad_utf8_is_replaced),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(overflow_is_sticky),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
