#include "unit.h"

#include "sip/span.h"

/* Every byte at every place of texts of every small length must end a span, or not, as the class
 * tables say; and nothing beyond the end or before the base may be looked at. */

typedef const char *span(const char *p, const char *end, const char *base);

static bool goes_on(char which, char c) {
    switch (which) {
    case 'h':
        return scan_is(c, SCAN_HOST);
    case 't':
        return scan_is(c, SCAN_TOKEN);
    case 'w':
        return scan_is(c, SCAN_WORD);
    case 'u':
        return scan_is(c, SCAN_URI_USER | SCAN_URI_PARAM | SCAN_URI_HEADER) || c == '%' ||
               c == '@' || c == '#';
    case 'l':
        return c != ',' && c != '"' && c != '<';
    case 'q':
        return c != '"' && c != '\\';
    case 'a':
        return c != '>';
    case '@':
        return c != '@';
    default:
        return (unsigned char)c >= 0x20 || c == '\t';
    }
}

static const struct {
    char which;
    span *run;
} spans[] = { { 'h', span_host },  { 't', span_token }, { 'w', span_word },
              { 'u', span_uri },   { 'l', span_list },  { 'q', span_quote },
              { 'a', span_angle }, { '@', span_at },    { 'c', span_control } };

static void stops_as_the_tables_say(void **state) {
    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(spans); s++) {
        for (size_t len = 1; len <= 70; len += len < 40 ? 1 : 10) {
            char *text = guard_alloc(len);
            memset(text, 'a', len);
            for (size_t start = 0; start < len && start < 20; start += 7) {
                for (size_t at = start; at < len; at++) {
                    for (unsigned byte = 0; byte < 256; byte += len % 16 < 2 ? 1 : 5) {
                        text[at] = (char)byte;
                        size_t got = (size_t)(spans[s].run(text + start, text + len, text) - text);
                        size_t wanted = goes_on(spans[s].which, text[at]) ? len : at;
                        if (got == wanted) continue;
                        print_error("%c: byte %u at %zu of %zu from %zu: %zu\n", spans[s].which,
                                    byte, at, len, start, got);
                        fail();
                    }
                    text[at] = 'a';
                }
            }
        }
    }
}

static void compares_words(void **state) {
    (void)state;
    static const char *const words[] = {
        "q",      "lr",      "ttl",      "user",      "maddr",
        "branch", "expires", "received", "transport", "content-disposition"
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        slice low = slice_str(words[i]);
        char *text = guard_alloc(low.len);
        for (size_t k = 0; k < low.len; k++) {
            text[k] = (char)(words[i][k] == '-' ? '-' : words[i][k] & ~0x20);
        }
        assert_true(word_is(slice_of(text, low.len), words[i], low.len));
        assert_false(word_is(slice_of(text, low.len - 1), words[i], low.len));
        for (size_t k = 0; k < low.len; k++) {
            for (unsigned bit = 1; bit < 256; bit <<= 1) {
                if (bit == 0x20) continue;
                text[k] = (char)((unsigned char)text[k] ^ bit);
                assert_false(word_is(slice_of(text, low.len), words[i], low.len));
                text[k] = (char)((unsigned char)text[k] ^ bit);
            }
        }
    }
    assert_true(WORD_IS(SLICE_NONE, ""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_as_the_tables_say),
        cmocka_unit_test(compares_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
