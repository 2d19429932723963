#include "check/ws.h"
#include "unit.h"

#define S(lit)                                                                                     \
    { lit, sizeof(lit) - 1 }

static void puts_in(struct ws *w, slice s) {
    memcpy(w->raw + w->raw_len, s.ptr, s.len);
    w->raw_len += s.len;
}

/* RFC 6455 1.3 */
static void key(void **state) {
    (void)state;
    char got[WS_ACCEPT_LEN + 1], mine[WS_KEY_LEN + 1];
    ws_accept(SLICE("dGhlIHNhbXBsZSBub25jZQ=="), got);
    assert_string_equal(got, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    ws_key(mine);
    assert_int_equal(strlen(mine), WS_KEY_LEN);
    assert_int_equal(ws_head(SLICE("GET / HTTP/1.1\r\n\r\nrest")), 18);
    assert_int_equal(ws_head(SLICE("GET / HTTP/1.1\r\n")), 0);
}

static struct ws *fresh(bool is_server) {
    struct ws *w = test_malloc(sizeof *w);
    memset(w, 0, sizeof *w);
    w->is_server = is_server;
    return w;
}

/* RFC 6455 5.7 */
static void vectors(void **state) {
    (void)state;
    char m[64];
    size_t len = 0;
    struct ws *w = fresh(false);
    puts_in(w, SLICE("\x01\x03Hel\x80\x02lo"));
    assert_int_equal(ws_next(w, m, &len, sizeof m), WS_MESSAGE);
    assert_int_equal(len, 5);
    assert_memory_equal(m, "Hello", 5);
    assert_int_equal(w->frames, 2);
    puts_in(w, SLICE("\x89\x05Hello"));
    assert_int_equal(ws_next(w, m, &len, sizeof m), WS_PINGED);
    assert_memory_equal(w->control, "Hello", 5);
    test_free(w);
    w = fresh(true);
    len = 0;
    puts_in(w, SLICE("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"));
    assert_int_equal(ws_next(w, m, &len, sizeof m), WS_MESSAGE);
    assert_memory_equal(m, "Hello", 5);
    assert_int_equal(w->unmasked, 0);
    puts_in(w, SLICE("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x88\x02\x03\xe8"));
    assert_int_equal(ws_next(w, m, &len, sizeof m), WS_PONGED);
    assert_int_equal(ws_next(w, m, &len, sizeof m), WS_CLOSED);
    assert_int_equal(w->code, 1000);
    assert_int_equal(w->unmasked, 1);
    test_free(w);
}

/* What is written is read, at each border of the length. */
static void lengths(void **state) {
    (void)state;
    static const size_t sizes[] = { 0, 1, 125, 126, 65535, 65536, WS_BYTES };
    char *payload = test_malloc(WS_BYTES), *got = test_malloc(WS_BYTES);
    memset(payload, 'k', WS_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct ws *w = fresh(true);
        size_t len = 0;
        struct buf b = buf_over(w->raw, sizeof w->raw);
        ws_put(&b, &(struct ws_frame){ .opcode = WS_BINARY, .masked = true },
               slice_of(payload, sizes[i]));
        assert_false(b.full);
        for (w->raw_len = 0; w->raw_len < 2 && w->raw_len < b.len; w->raw_len++)
            assert_int_equal(ws_next(w, got, &len, WS_BYTES), WS_MORE);
        w->raw_len = b.len;
        assert_int_equal(ws_next(w, got, &len, WS_BYTES), WS_MESSAGE);
        assert_int_equal(len, sizes[i]);
        assert_memory_equal(got, payload, len);
        test_free(w);
    }
    test_free(payload);
    test_free(got);
}

static void rules(void **state) {
    (void)state;
    static const slice bad[] = {
        S("\xc1\x01x"),             /* a reserved bit */
        S("\x83\x01x"),             /* opcode 3 */
        S("\x8b\x01x"),             /* opcode 11 */
        S("\x80\x01x"),             /* a continuation of nothing */
        S("\x01\x01x\x81\x01x"),    /* a message inside another */
        S("\x09\x01x"),             /* a ping in pieces */
        S("\x89\x7e\x00\x7e"),      /* a long ping */
        S("\x88\x01x"),             /* half a code */
        S("\x81\x7e\x00\x05hello"), /* not the shortest length */
        S("\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05hello"),
        S("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), /* longer than we read */
        S("\x81\x02\xff\xfe"),                         /* no UTF-8 */
        S("\x81\x81\x00\x00\x00\x00x"),                /* a server that masks */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char m[64];
        size_t len = 0;
        struct ws *w = fresh(false);
        puts_in(w, bad[i]);
        assert_int_equal(ws_next(w, m, &len, sizeof m), WS_BROKEN);
        assert_non_null(w->why);
        test_free(w);
    }
}

static void utf8(void **state) {
    (void)state;
    assert_true(ws_is_text(SLICE("plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf")));
    static const slice bad[] = { S("\xc0\xaf"),         S("\xe0\x80\xaf"),     S("\xed\xa0\x80"),
                                 S("\xf4\x90\x80\x80"), S("\xf0\x80\x80\x80"), S("\x80"),
                                 S("\xe2\x82"),         S("\xf5\x80\x80\x80") };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(ws_is_text(bad[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(key), cmocka_unit_test(vectors),
                                        cmocka_unit_test(lengths), cmocka_unit_test(rules),
                                        cmocka_unit_test(utf8) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
