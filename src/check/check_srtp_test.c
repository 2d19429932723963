/* SRTP by the vectors of RFC 3711, and there and back. */
#include "check/srtp.h"
#include "crypto/crypto.h"
#include "unit.h"

static const uint8_t KEY[] = { 0xe1, 0xf9, 0x7a, 0x0d, 0x3e, 0x01, 0x8b, 0xe0,
                               0xd6, 0x4f, 0xa3, 0x2c, 0x06, 0xde, 0x41, 0x39 };
static const uint8_t SALT[] = { 0x0e, 0xc6, 0x75, 0xad, 0x49, 0x8a, 0xfe,
                                0xeb, 0xb6, 0x96, 0x0b, 0x3a, 0xab, 0xe6 };
static const char RTP[] = "\x80\x00\xff\xff\0\0\1\0\xca\xfe\xba\xbevoice of somebody";
static const char RTCP[] = "\x81\xc9\0\7\0\0\0\1\0\0\0\2\x80\xff\xff\xf6\0\1\0\5\0\0\0\0\0\0\0\0"
                           "\0\0\0";

static struct srtp fresh(void) {
    struct srtp s;
    assert_true(srtp_init(&s, KEY, SALT));
    return s;
}

/* RFC 3711 B.3 */
static void session_keys(void **state) {
    (void)state;
    struct srtp s = fresh();
    assert_memory_equal(s.rtp.cipher,
                        "\xc6\x1e\x7a\x93\x74\x4f\x39\xee\x10\x73\x4a\xfe\x3f\xf7\xa0\x87", 16);
    assert_memory_equal(s.rtp.salt, "\x30\xcb\xbc\x08\x86\x3d\x8c\x85\xd4\x9d\xb3\x4a\x9a\xe1", 14);
    assert_memory_equal(s.rtp.mac,
                        "\xce\xbe\x32\x1f\x6f\xf7\x71\x6b\x6f\xd4\xab\x49\xaf\x25\x6a\x15\x6d\x38"
                        "\xba\xa4",
                        20);
    srtp_wipe(&s);
    assert_int_equal(s.rtp.cipher[0] | s.rtcp.mac[19], 0);
}

/* RFC 3711 B.2: the key stream shows where the payload is zero; SSRC and index are zero there */
static void key_stream(void **state) {
    (void)state;
    struct srtp s = fresh();
    memcpy(s.rtp.cipher, "\x2b\x7e\x15\x16\x28\xae\xd2\xa6\xab\xf7\x15\x88\x09\xcf\x4f\x3c", 16);
    memcpy(s.rtp.salt, "\xf0\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd", 14);
    const char rtp[12 + 32] = { (char)0x80 };
    char mem[100];
    struct buf b = buf_over(mem, sizeof mem);
    assert_true(srtp_seal(&s, slice_of(rtp, sizeof rtp), 0, &b));
    assert_memory_equal(mem + 12,
                        "\xe0\x3e\xad\x09\x35\xc9\x5e\x80\xe1\x66\xb1\x6d\xd9\x2b\x4e\xb4"
                        "\xd2\x35\x13\x16\x2b\x02\xd0\xf7\x2a\x43\xa2\xfe\x4a\x5f\x97\xab",
                        32);
}

/* RFC 3711 3.3: what is changed, or stands under another index, is nothing */
static void media(void **state) {
    (void)state;
    struct srtp s = fresh();
    char mem[100], got[SRTP_BYTES];
    slice rtp = slice_of(RTP, sizeof RTP - 1), out;
    struct buf b = buf_over(mem, sizeof mem);
    assert_true(srtp_seal(&s, rtp, 7, &b));
    assert_int_equal(b.len, rtp.len + SRTP_TAG);
    assert_true(srtp_open(&s, buf_slice(&b), 7, got, &out));
    assert_true(slice_eq(out, rtp));
    assert_false(srtp_open(&s, buf_slice(&b), 8, got, &out));
    for (size_t i = 0; i < b.len; i++) {
        mem[i] ^= 4;
        assert_false(srtp_open(&s, buf_slice(&b), 7, got, &out));
        mem[i] ^= 4;
    }
    b = buf_over(mem, rtp.len + SRTP_TAG - 1);
    assert_false(srtp_seal(&s, rtp, 7, &b));
    assert_false(srtp_seal(&s, SLICE("\x40"), 7, &b));
}

/* RFC 3711 3.4 */
static void reports(void **state) {
    (void)state;
    struct srtp s = fresh();
    char mem[100], got[SRTP_BYTES];
    slice rtcp = slice_of(RTCP, 32), out;
    struct buf b = buf_over(mem, sizeof mem);
    uint32_t index = 0;
    bool clear = true;
    assert_true(srtcp_seal(&s, rtcp, 77, &b));
    assert_int_equal(b.len, rtcp.len + 4 + SRTP_TAG);
    assert_memory_equal(mem, RTCP, 8);
    assert_memory_not_equal(mem + 8, RTCP + 8, 24);
    assert_true(srtcp_open(&s, buf_slice(&b), got, &out, &index, &clear));
    assert_true(slice_eq(out, rtcp));
    assert_int_equal(index, 77);
    assert_false(clear);
    mem[9] ^= 1;
    assert_false(srtcp_open(&s, buf_slice(&b), got, &out, &index, &clear));
    assert_false(srtcp_open(&s, rtcp, got, &out, &index, &clear));
}

/* RFC 3550 6.4.1 */
static void blocks(void **state) {
    (void)state;
    struct rtcp_block k = { 0 };
    assert_true(rtcp_about(slice_of(RTCP, 32), 2, &k));
    assert_int_equal(k.lost, -10);
    assert_int_equal(k.highest, 0x10005);
    assert_false(rtcp_about(slice_of(RTCP, 32), 3, &k));
    assert_false(rtcp_about(slice_of(RTCP, 31), 2, &k));
}

/* RFC 3550 5.1, 5.3.1 */
static void heads(void **state) {
    (void)state;
    char p[24] = { (char)0x80 };
    assert_int_equal(rtp_head(slice_of(p, 24)), 12);
    p[0] = (char)0x92; /* two CSRCs and an extension, of which there are no words */
    assert_int_equal(rtp_head(slice_of(p, 24)), 24);
    assert_int_equal(rtp_head(slice_of(p, 23)), 0);
    p[23] = 1;
    assert_int_equal(rtp_head(slice_of(p, 24)), 0);
    p[0] = 0x40;
    assert_int_equal(rtp_head(slice_of(p, 24)), 0);
}

static int setup(void **state) {
    (void)state;
    return crypto_init() == ERR_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_keys), cmocka_unit_test(key_stream), cmocka_unit_test(media),
        cmocka_unit_test(reports),      cmocka_unit_test(blocks),     cmocka_unit_test(heads),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
