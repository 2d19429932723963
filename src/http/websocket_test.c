#include "unit.h"

#include "crypto/crypto.h"
#include "http/ws.h"

static struct ws_reader ws;
static struct ws_event ev;
static char mem[200000];
static size_t len;

/* A client's frame; the mask is 1 2 3 4. */
static void put_frame(unsigned first, slice payload) {
    uint8_t head[WS_HEAD_MAX];
    size_t n = ws_frame_head(WS_OP_TEXT, payload.len, head);
    head[0] = (uint8_t)first;
    head[1] |= 0x80;
    memcpy(mem + len, head, n);
    len += n;
    memcpy(mem + len, "\1\2\3\4", 4);
    len += 4;
    for (size_t i = 0; i < payload.len; i++)
        mem[len++] = (char)(payload.ptr[i] ^ (char)(1 + i % 4));
}

static void begin(void) {
    ws = (struct ws_reader){ 0 };
    len = 0;
}

static enum ws_got next(void) {
    enum ws_got got = ws_read(&ws, mem, &len, 65535, &ev);
    if (got != WS_MORE && got != WS_MESSAGE) return got;
    return got;
}

static void drop(void) {
    memmove(mem, mem + ev.used, len - ev.used);
    len -= ev.used;
}

#define HEAD                                                                                       \
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"

/* RFC 6455 1.3 and 4.2.1; RFC 7118 4.1 and 8.1 (the key and its answer are that example's). */
static void shakes_hands(void **state) {
    (void)state;
    struct http_request r;
    size_t used;
    static const struct {
        unsigned status;
        const char *text;
    } rows[] = {
        { 101, HEAD "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    "Sec-WebSocket-Protocol: chat, sip\r\nSec-WebSocket-Version: 13\r\n\r\n" },
        { 400, HEAD "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Version: 13\r\n\r\n" },
        { 400, HEAD "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    "Sec-WebSocket-Version: 13\r\n\r\n" },
        { 426, HEAD "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    "Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 8\r\n\r\n" },
        { 400, HEAD "Sec-WebSocket-Key: dGhl\r\n"
                    "Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(http_request_read(slice_str(rows[i].text), &r, &used), 200);
        assert_true(r.is_upgrade);
        assert_int_equal(ws_handshake(&r), rows[i].status);
    }
    r.method = HTTP_POST;
    assert_int_equal(ws_handshake(&r), 405);
    assert_int_equal(http_request_read(slice_str(rows[0].text), &r, &used), 200);
    char text[256];
    struct buf b = buf_over(text, sizeof text);
    ws_put_accept(&r, &b);
    slice s = buf_slice(&b);
    assert_true(slice_find_slice(s, SLICE("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")) < s.len);
    assert_true(slice_find_slice(s, SLICE("Sec-WebSocket-Protocol: sip\r\n")) < s.len);
}

static void reads_messages(void **state) {
    (void)state;
    begin();
    put_frame(0x81, SLICE("hello"));
    put_frame(0x82, SLICE("\xff\x01"));
    size_t all = len;
    for (len = 0; len < 11; len++) { /* MORE says how much is missing once it can be known */
        assert_int_equal(next(), WS_MORE);
        assert_int_equal(ev.need, len < 6 ? 0 : 11);
    }
    len = all;
    assert_int_equal(next(), WS_MESSAGE);
    assert_slice(ev.payload, "hello");
    drop();
    assert_int_equal(next(), WS_MESSAGE);
    assert_slice(ev.payload, "\xff\x01");
    drop();
    assert_int_equal(len, 0);
    assert_int_equal(next(), WS_MORE);
}

/* RFC 6455 5.2: all three forms of length. */
static void reads_lengths(void **state) {
    (void)state;
    static char text[65535];
    static const size_t lengths[] = { 0, 125, 126, 127, 65534, 65535 };
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        begin();
        put_frame(0x81, slice_of(text, lengths[i]));
        assert_int_equal(next(), WS_MESSAGE);
        assert_int_equal(ev.payload.len, lengths[i]);
        assert_slice_eq(ev.payload, slice_of(text, lengths[i]));
        drop();
        assert_int_equal(len, 0);
    }
}

/* RFC 6455 5.4: a message in parts, with a Ping between them. */
static void puts_fragments_together(void **state) {
    (void)state;
    begin();
    put_frame(0x01, SLICE("hel"));
    put_frame(0x89, SLICE("are you there"));
    put_frame(0x00, SLICE(""));
    put_frame(0x80, SLICE("lo"));
    put_frame(0x81, SLICE("next"));
    assert_int_equal(next(), WS_PING);
    assert_slice(ev.payload, "are you there");
    assert_int_equal(ev.used, 0);
    assert_int_equal(next(), WS_MESSAGE);
    assert_slice(ev.payload, "hello");
    drop();
    assert_int_equal(next(), WS_MESSAGE);
    assert_slice(ev.payload, "next");
    drop();
    assert_int_equal(len, 0);
}

static void bad(unsigned code, const char *why) {
    assert_int_equal(next(), WS_BAD);
    if (ev.code != code) print_error("%s: %u\n", why, ev.code);
    assert_int_equal(ev.code, code);
}

static void refuses(void **state) {
    (void)state;
    static const struct {
        unsigned code;
        slice bytes;
        const char *why;
    } rows[] = {
#define SEEN(lit) { lit, sizeof(lit) - 1 }
        { 1002, SEEN("\x81\x02hi"), "5.1: no mask" },
        { 1002, SEEN("\xc1\x80"), "5.2: a reserved bit" },
        { 1002, SEEN("\x83\x80"), "5.2: a reserved opcode" },
        { 1002, SEEN("\x8b\x80"), "5.2: a reserved control opcode" },
        { 1002, SEEN("\x80\x80"), "5.4: nothing to continue" },
        { 1002, SEEN("\x09\x80"), "5.5: a Ping in parts" },
        { 1002, SEEN("\x89\xfe"), "5.5: a long Ping" },
        { 1002, SEEN("\x81\xfe\x00\x7d\1\2\3\4"), "5.2: not the shortest length" },
        { 1002, SEEN("\x81\xff\0\0\0\0\0\0\xff\xff\1\2\3\4"), "5.2: not the shortest length" },
        { 1009, SEEN("\x81\xff\0\0\0\0\0\1\0\0\1\2\3\4"), "a message too large" },
        { 1009, SEEN("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\2\3\4"), "far too large" },
        { 1002, SEEN("\x88\x81\0\0\0\0x"), "5.5.1: half a code" },
        { 1002, SEEN("\x88\x82\0\0\0\0\x03\xed"), "7.4.1: 1005 is never sent" },
        { 1007, SEEN("\x88\x83\0\0\0\0\x03\xe8\xff"), "5.5.1: a reason not UTF-8" },
        { 1007, SEEN("\x81\x82\0\0\0\0\xc3\x28"), "8.1: text not UTF-8" },
        { 1007, SEEN("\x81\x83\0\0\0\0\xed\xa0\x80"), "8.1: a surrogate" },
        { 1007, SEEN("\x81\x82\0\0\0\0\xc0\x80"), "8.1: a long form" },
        { 1007, SEEN("\x81\x81\0\0\0\0\xe2"), "8.1: cut off" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin();
        memcpy(mem, rows[i].bytes.ptr, rows[i].bytes.len);
        len = rows[i].bytes.len;
        bad(rows[i].code, rows[i].why);
    }
    begin(); /* 5.4: another message before the last one's end */
    put_frame(0x01, SLICE("a"));
    put_frame(0x81, SLICE("b"));
    bad(1002, "5.4");
    begin(); /* the limit counts the parts together */
    static char text[40000];
    memset(text, 'x', sizeof text);
    put_frame(0x01, slice_of(text, sizeof text));
    put_frame(0x80, slice_of(text, sizeof text));
    bad(1009, "parts too large");
}

static void closes(void **state) {
    (void)state;
    uint8_t frame[WS_HEAD_MAX];
    begin();
    put_frame(0x88, SLICE("\x03\xe9 bye"));
    assert_int_equal(next(), WS_CLOSE);
    assert_int_equal(ev.code, 1001);
    begin();
    put_frame(0x88, SLICE(""));
    assert_int_equal(next(), WS_CLOSE);
    assert_int_equal(ev.code, 1000);
    assert_int_equal(ws_close_frame(1009, frame), 4);
    assert_memory_equal(frame, "\x88\x02\x03\xf1", 4);
    assert_int_equal(ws_frame_head(WS_OP_BINARY, 65536, frame), 10);
    assert_memory_equal(frame, "\x82\x7f\0\0\0\0\0\1\0\0", 10);
}

static int prepare(void **state) {
    (void)state;
    return crypto_init() == ERR_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shakes_hands),  cmocka_unit_test(reads_messages),
        cmocka_unit_test(reads_lengths), cmocka_unit_test(puts_fragments_together),
        cmocka_unit_test(refuses),       cmocka_unit_test(closes),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
