#include "unit.h"

#include "base/scan.h"

/* Exactly these bytes, no other, are in the class. */
static void class_is(unsigned class, const char *members) {
    slice s = slice_str(members);
    for (int c = 0; c < 256; c++) {
        bool wanted = slice_find(s, (char)c) < s.len;
        if (scan_is((char)c, class) == wanted) continue;
        print_error("byte %d, class %u\n", c, class);
        fail();
    }
}

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* RFC 3261 25.1: the basic rules, and the character sets of the URI's parts. */
static void classes_are_those_of_the_grammar(void **state) {
    (void)state;
    class_is(SCAN_TOKEN, ALNUM "-.!%*_+`'~");
    class_is(SCAN_WORD, ALNUM "-.!%*_+`'~()<>:\\\"/[]?{}");
    class_is(SCAN_DIGIT, "0123456789");
    class_is(SCAN_HEX, "0123456789abcdefABCDEF");
    class_is(SCAN_WS, " \t");
    class_is(SCAN_LWS, " \t\r\n");
    class_is(SCAN_HOST, ALNUM "-.");
    class_is(SCAN_ALPHA, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    class_is(SCAN_URI_USER, ALNUM "-_.!~*'()&=+$,;?/");
    class_is(SCAN_URI_PARAM, ALNUM "-_.!~*'()[]/:&+$");
    class_is(SCAN_URI_HEADER, ALNUM "-_.!~*'()[]/?:+$");
    for (int c = 0; c < 256; c++) {
        bool text = c == ' ' || c == '\t' || c == '\r' || c == '\n' || (c > ' ' && c != 0x7f);
        assert_int_equal(scan_is((char)c, SCAN_QTEXT), text && c != '"' && c != '\\');
    }
}

static void a_cursor_stops_at_its_end(void **state) {
    (void)state;
    struct cursor c = cursor_of(UNIT_GUARD("abc  \t=12"));
    assert_slice(cursor_while(&c, SCAN_ALPHA), "abc");
    assert_false(cursor_take(&c, '='));
    cursor_lws(&c);
    assert_true(cursor_take(&c, '='));
    assert_slice(cursor_rest(&c), "12");
    assert_slice(cursor_while(&c, SCAN_DIGIT), "12");
    assert_true(cursor_done(&c));
    assert_false(cursor_take(&c, '\0'));
    assert_slice(cursor_while(&c, SCAN_DIGIT), "");
    cursor_lws(&c);
    assert_slice(cursor_rest(&c), "");
    c = cursor_of(SLICE_NONE);
    assert_true(cursor_done(&c));
    assert_slice(cursor_while(&c, SCAN_TOKEN), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_those_of_the_grammar),
        cmocka_unit_test(a_cursor_stops_at_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
