#include "unit.h"

#include "base/limits.h"
#include "io/frame.h"

static enum frame_state whole(slice bytes, size_t *out_len) {
    struct frame f = { 0 };
    const char *why = NULL;
    enum frame_state s = frame_find(&f, bytes, out_len, &why);
    assert_int_equal(s == FRAME_BAD, why != NULL);
    return s;
}

#define HEAD "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TLS c;branch=z9hG4bK1\r\n"

static void finds_the_end(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t tail; /* bytes of the next message */
    } rows[] = {
        { HEAD "Content-Length: 0\r\n\r\n", 0 },
        { HEAD "Content-Length: 4\r\n\r\nbodyNEXT", 4 },
        { HEAD "l:4\r\n\r\nbodyNEXT", 4 },
        { HEAD "L \t:\t4  \r\n\r\nbodyN", 1 },
        { HEAD "CONTENT-LENGTH: 0004\r\n\r\nbody", 0 },
        { HEAD "Content-Length:\r\n 4\r\n\r\nbody", 0 },     /* a fold before the number */
        { HEAD "Content-Length: 4\r\nl: 4\r\n\r\nbody", 0 }, /* twice the same */
        { HEAD "Subject: x\r\n l: 9\r\nl: 0\r\n\r\n", 0 },   /* a fold is no header */
        { HEAD "Content-Lengthy: 9\r\nLabel: 3\r\nl: 0\r\n\r\n", 0 },
        { "l: 9\r\nContent-Length: 0\r\n\r\n", 0 }, /* the first line is no header */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        slice all = slice_str(rows[i].text);
        size_t len;
        assert_int_equal(whole(unit_guard(all.ptr, all.len), &len), FRAME_DONE);
        assert_int_equal(len, all.len - rows[i].tail);
    }
}

/* RFC 3261 18.3, 20.14: on a stream there is one number, or there is no next message. */
static void refuses_what_has_no_end(void **state) {
    (void)state;
    static const char *const rows[] = {
        HEAD "\r\n",
        HEAD "Content-Length:\r\n\r\n",
        HEAD "Content-Length: x\r\n\r\n",
        HEAD "Content-Length: -1\r\n\r\n",
        HEAD "Content-Length: 1 2\r\n\r\n",
        HEAD "Content-Length: 4, 4\r\n\r\n",
        HEAD "Content-Length: 4\r\nl: 5\r\n\r\n",
        HEAD "Content-Length: 99999999999999999999\r\n\r\n",
        HEAD "Content-Length: 65536\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        slice all = slice_str(rows[i]);
        size_t len;
        assert_int_equal(whole(unit_guard(all.ptr, all.len), &len), FRAME_BAD);
        assert_int_equal(len, all.len); /* the head, for an answer */
    }
}

static void pieces_do_not_matter(void **state) {
    (void)state;
    static const char text[] = HEAD "Content-Length: 7\r\n\r\nb\r\n\r\nod";
    slice all = slice_of(text, sizeof text - 1);
    for (size_t step = 1; step < 9; step++) {
        struct frame f = { 0 };
        size_t len;
        const char *why;
        for (size_t have = step; have < all.len; have += step)
            assert_int_equal(frame_find(&f, unit_guard(all.ptr, have), &len, &why), FRAME_MORE);
        assert_int_equal(frame_find(&f, all, &len, &why), FRAME_DONE);
        assert_int_equal(len, all.len);
    }
}

static void limits_hold(void **state) {
    (void)state;
    static char text[LIMIT_MSG_BYTES + 100];
    struct frame f = { 0 };
    size_t len;
    const char *why;
    memset(text, 'a', sizeof text);
    assert_int_equal(frame_find(&f, slice_of(text, LIMIT_MSG_HEAD_BYTES - 1), &len, &why),
                     FRAME_MORE);
    assert_int_equal(frame_find(&f, slice_of(text, LIMIT_MSG_HEAD_BYTES), &len, &why), FRAME_BAD);
    assert_int_equal(len, 0); /* it has no end that we know of */
    for (int over = 0; over < 2; over++) {
        int n = snprintf(text, sizeof text, HEAD "l: %05u\r\n\r\n",
                         LIMIT_MSG_BYTES - (unsigned)(sizeof HEAD - 1) - 12 + (unsigned)over);
        assert_int_equal(whole(slice_of(text, (size_t)n), &len), over ? FRAME_BAD : FRAME_MORE);
        assert_int_equal(len, over ? (size_t)n : LIMIT_MSG_BYTES);
        text[n] = 'a';
    }
}

static void tells_protocols_apart(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum frame_protocol want;
    } rows[] = {
        { "", PROTOCOL_UNKNOWN_YET },
        { "REGIST", PROTOCOL_UNKNOWN_YET },
        { "REGISTER sip:x", PROTOCOL_UNKNOWN_YET },
        { "REGISTER sip:example.org SIP/2.0\r\n", PROTOCOL_SIP },
        { "REGISTER sip:example.org SIP/7.0\r\n", PROTOCOL_SIP }, /* core says 505 */
        { "register sip:example.org sip/2.0\n", PROTOCOL_SIP },
        { "SIP/2.0 200 OK\r\n", PROTOCOL_SIP },
        { "GET / HTTP/1.1\r\n", PROTOCOL_HTTP },
        { "GET / HTTP/2.0\r\n", PROTOCOL_NONE },
        { "GET /SIP/2.0 HTTP/1.0\r\n", PROTOCOL_HTTP },
        { "EHLO example.org\r\n", PROTOCOL_NONE },
        { "\x16\x03\x01\x02\x01\x01\x01\xfd\x03", PROTOCOL_NONE }, /* TLS inside TLS */
        { "\x01\x01\x01\x01\x21\x12\xa4\x42", PROTOCOL_STUN },
        { "\x01\x01\x01\x01\x21\x12", PROTOCOL_UNKNOWN_YET },
        { " INVITE", PROTOCOL_NONE },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", PROTOCOL_NONE },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        slice text = slice_str(rows[i].text);
        assert_int_equal(frame_protocol(unit_guard(text.ptr, text.len)), rows[i].want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_end),         cmocka_unit_test(refuses_what_has_no_end),
        cmocka_unit_test(pieces_do_not_matter),  cmocka_unit_test(limits_hold),
        cmocka_unit_test(tells_protocols_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
