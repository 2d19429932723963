#include "unit.h"

#include "crypto/crypto.h"
#include "nat/stun.h"

/* ---- vectors: RFC 5769 2.1 to 2.4, RFC 8489 B.1 ---- */

#define ID_A   "\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"
#define ID_B   "\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e"
#define COOKIE "\x21\x12\xa4\x42"
#define MATRIX                                                                                     \
    "\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9" /* the user name */

static const char short_term[] = "VOkJxbRl1RmTxUk/WvJxBt";
static const char sample_request[] =
    "\x00\x01\x00\x58" COOKIE ID_A "\x80\x22\x00\x10STUN test client"
    "\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36"
    "\x00\x06\x00\x09"
    "evtj:h6vY   "
    "\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71"
    "\xa2"
    "\x80\x28\x00\x04\xe5\x7a\x3b\xcf";
static const char sample_v4[] = "\x01\x01\x00\x3c" COOKIE ID_A "\x80\x22\x00\x0btest vector "
                                "\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43"
                                "\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9"
                                "\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7"
                                "\x80\x28\x00\x04\xc0\x7d\x4c\x96";
static const char sample_v6[] = "\x01\x01\x00\x48" COOKIE ID_A "\x80\x22\x00\x0btest vector "
                                "\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79"
                                "\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9"
                                "\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c"
                                "\x82\x92\xc2\x75\xbf\xe3\xed\x41"
                                "\x80\x28\x00\x04\xc8\xfb\x0b\x4c";
static const char sample_long_term[] =
    "\x00\x01\x00\x60" COOKIE ID_B "\x00\x06\x00\x12" MATRIX "\x00\x00"
    "\x00\x15\x00\x1c"
    "f//499k954d6OL34oL9FSTvy64sA"
    "\x00\x14\x00\x0b"
    "example.org\x00"
    "\x00\x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2\x8c\xa8\x96"
    "\x66";
static const char sample_sha256[] =
    "\x00\x01\x00\x9c" COOKIE ID_B
    "\x00\x1e\x00\x20\x4a\x3c\xf3\x8f\xef\x69\x92\xbd\xa9\x52\xc6\x78\x04\x17\xda\x0f"
    "\x24\x81\x94\x15\x56\x9e\x60\xb2\x05\xc4\x6e\x41\x40\x7f\x17\x04"
    "\x00\x15\x00\x29obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA\x00\x00\x00"
    "\x00\x14\x00\x0b"
    "example.org\x00"
    "\x00\x1c\x00\x20\xe4\x68\x6c\x8f\x0e\xde\xb5\x90\x13\xe0\x70\x90\x01\x0a\x93\xef"
    "\xcc\xbc\xcc\x54\x4c\x0a\x45\xd9\xf8\x30\xaa\x6d\x6f\x73\x5a\x01";

#define WHOLE(text) unit_guard(text, sizeof(text) - 1)

static void reads_the_sample_request(void **state) {
    (void)state;
    struct stun_msg m;
    slice v;
    uint32_t n;
    bool is_sha256;
    assert_ok(stun_read(WHOLE(sample_request), &m));
    assert_int_equal(m.method, STUN_BINDING);
    assert_int_equal(m.class, STUN_REQUEST);
    assert_memory_equal(m.id, ID_A, STUN_ID_BYTES);
    assert_true(m.has_fingerprint);
    assert_true(stun_find(&m, STUN_SOFTWARE, &v));
    assert_slice(v, "STUN test client");
    assert_true(stun_find(&m, STUN_USERNAME, &v));
    assert_slice(v, "evtj:h6vY");
    assert_ok(stun_find_u32(&m, ICE_PRIORITY, &n));
    assert_int_equal(n, 0x6e0001ff);
    assert_ok(stun_check(&m, slice_str(short_term), &is_sha256));
    assert_false(is_sha256);
    assert_err(stun_check(&m, SLICE("another password"), &is_sha256), ERR_DENIED);
}

static void reads_addresses(void **state) {
    (void)state;
    struct stun_msg m;
    struct addr got, want;
    bool is_sha256;
    assert_ok(stun_read(WHOLE(sample_v4), &m));
    assert_int_equal(m.class, STUN_SUCCESS);
    assert_ok(stun_find_addr(&m, STUN_XOR_MAPPED_ADDRESS, &got));
    assert_ok(addr_read(SLICE("192.0.2.1:32853"), &want));
    assert_true(addr_eq(&got, &want));
    assert_ok(stun_check(&m, slice_str(short_term), &is_sha256));
    assert_ok(stun_read(WHOLE(sample_v6), &m));
    assert_ok(stun_find_addr(&m, STUN_XOR_MAPPED_ADDRESS, &got));
    assert_ok(addr_read(SLICE("[2001:db8:1234:5678:11:2233:4455:6677]:32853"), &want));
    assert_true(addr_eq(&got, &want));
    assert_ok(stun_check(&m, slice_str(short_term), &is_sha256));
}

static void checks_long_term_credentials(void **state) { /* RFC 8489 9.2.2 */
    (void)state;
    struct stun_msg m;
    uint8_t key[32];
    bool is_sha256;
    size_t len = stun_long_term_key(SLICE("user"), SLICE("realm"), SLICE("pass"), false, key);
    assert_int_equal(len, 16);
    assert_memory_equal(key, "\x84\x93\xfb\xc5\x3b\xa5\x82\xfb\x4c\x04\x4c\x45\x6b\xdc\x40\xeb",
                        16);
    assert_ok(stun_read(WHOLE(sample_long_term), &m));
    len = stun_long_term_key(SLICE(MATRIX), SLICE("example.org"), SLICE("TheMatrIX"), false, key);
    assert_ok(stun_check(&m, slice_of(key, len), &is_sha256));
}

/* RFC 8489 B.1. Its length field counts the head as well, so it is no message that may be read; the
 * key, the user hash and the HMAC over those bytes are as they should be. */
static void agrees_with_the_sha256_sample(void **state) {
    (void)state;
    struct stun_msg m;
    uint8_t key[32], mac[32];
    assert_err(stun_read(WHOLE(sample_sha256), &m), ERR_BAD);
    crypto_sha256(MATRIX ":example.org", sizeof(MATRIX ":example.org") - 1, mac);
    assert_memory_equal(mac, sample_sha256 + 24, 32);
    size_t len =
        stun_long_term_key(SLICE(MATRIX), SLICE("example.org"), SLICE("TheMatrIX"), true, key);
    crypto_hmac_sha256(slice_of(key, len), slice_of(sample_sha256, sizeof sample_sha256 - 37), mac);
    assert_memory_equal(mac, sample_sha256 + sizeof sample_sha256 - 33, 32);
}

/* ---- writing ---- */

static void writes_the_sample_answer(void **state) { /* RFC 5769 2.2, padding apart: ours is zero */
    (void)state;
    char mem[STUN_BYTES_MAX], other[STUN_BYTES_MAX];
    struct stun_msg m;
    struct addr here;
    bool is_sha256;
    assert_ok(addr_read(SLICE("192.0.2.1:32853"), &here));
    for (int sha256 = 0; sha256 < 2; sha256++) {
        struct stun_writer w =
            stun_begin(mem, sizeof mem, STUN_BINDING, STUN_SUCCESS, (const uint8_t *)ID_A);
        stun_put(&w, STUN_SOFTWARE, SLICE("test vector"));
        stun_put_xor_addr(&w, STUN_XOR_MAPPED_ADDRESS, &here);
        stun_put_integrity(&w, slice_str(short_term), sha256);
        stun_put_fingerprint(&w);
        slice bytes = stun_end(&w);
        assert_true(bytes.len > 0);
        if (!sha256) {
            assert_int_equal(bytes.len, sizeof sample_v4 - 1);
            assert_memory_equal(bytes.ptr, sample_v4, 20 + 4 + 11);
            assert_memory_equal(bytes.ptr + 36, sample_v4 + 36, 12);
        }
        memcpy(other, bytes.ptr, bytes.len);
        assert_ok(stun_read(slice_of(other, bytes.len), &m));
        assert_true(m.has_fingerprint);
        assert_ok(stun_check(&m, slice_str(short_term), &is_sha256));
        assert_int_equal(is_sha256, sha256);
    }
}

/* CVE-2020-4067: what stood in the buffer before was sent as padding. */
static void padding_tells_nothing(void **state) {
    (void)state;
    char mem[STUN_BYTES_MAX];
    for (size_t len = 0; len < 9; len++) {
        memset(mem, 's', sizeof mem);
        struct stun_writer w =
            stun_begin(mem, sizeof mem, STUN_BINDING, STUN_SUCCESS, (const uint8_t *)ID_A);
        stun_put(&w, STUN_SOFTWARE, slice_of("abcdefghi", len));
        stun_put_error(&w, 400, slice_of("abcdefghi", len));
        stun_put_fingerprint(&w);
        slice bytes = stun_end(&w);
        size_t padded = (len + 3) & ~(size_t)3, end = STUN_HEAD_BYTES + 4 + padded;
        assert_int_equal(bytes.len, end + 8 + padded + 8);
        for (size_t i = len; i < padded; i++) {
            assert_int_equal(bytes.ptr[STUN_HEAD_BYTES + 4 + i], 0);
            assert_int_equal(bytes.ptr[end + 8 + i], 0);
        }
        assert_int_equal(bytes.ptr[end + 4] | bytes.ptr[end + 5], 0);
    }
}

static void says_every_type(void **state) { /* RFC 8489 figure 3: method and class, mixed bits */
    (void)state;
    char mem[64];
    struct stun_msg m;
    for (unsigned method = 0; method < 0x1000; method++)
        for (unsigned class = 0; class < 4; class ++) {
            struct stun_writer w = stun_begin(mem, sizeof mem, (enum stun_method)method,
                                              (enum stun_class) class, (const uint8_t *)ID_A);
            assert_ok(stun_read(stun_end(&w), &m));
            assert_int_equal(m.method, method);
            assert_int_equal(m.class, class);
        }
}

static void says_errors(void **state) {
    (void)state;
    char mem[200];
    struct stun_msg m;
    struct stun_writer w =
        stun_begin(mem, sizeof mem, TURN_ALLOCATE, STUN_ERROR, (const uint8_t *)ID_A);
    stun_put_error(&w, 438, SLICE("Stale Nonce"));
    assert_ok(stun_read(stun_end(&w), &m));
    assert_int_equal(stun_error(&m), 438);
    char small[24];
    w = stun_begin(small, sizeof small, TURN_ALLOCATE, STUN_ERROR, (const uint8_t *)ID_A);
    stun_put_error(&w, 438, SLICE("Stale Nonce"));
    assert_int_equal(stun_end(&w).len, 0);
}

/* ---- what is broken, and what is not ours ---- */

static void refuses_what_is_cut_or_changed(void **state) {
    (void)state;
    struct stun_msg m;
    char bytes[sizeof sample_request];
    for (size_t len = 0; len + 1 < sizeof sample_request; len++)
        assert_err(stun_read(unit_guard(sample_request, len), &m), ERR_BAD);
    for (size_t i = 0; i + 1 < sizeof sample_request; i++) { /* FINGERPRINT covers every byte */
        memcpy(bytes, sample_request, sizeof bytes);
        bytes[i] = (char)(bytes[i] ^ 0x10);
        enum err err = stun_read(slice_of(bytes, sizeof bytes - 1), &m);
        assert_true(err != ERR_OK || !m.has_fingerprint); /* its own type: then there is none */
    }
}

static void knows_what_is_not_stun(void **state) {
    (void)state;
    assert_true(stun_is(WHOLE(sample_v4)));
    assert_true(stun_is(unit_guard(sample_v4, 8)));
    assert_false(stun_is(unit_guard(sample_v4, 7)));
    assert_false(stun_is(SLICE("INVITE sip:")));
    assert_false(stun_is(SLICE("\x40\x00\x00\x08" COOKIE))); /* ChannelData */
    assert_false(stun_is(SLICE("\x00\x01\x00\x03" COOKIE)));
    assert_int_equal(stun_length(WHOLE(sample_v4)), sizeof sample_v4 - 1);
}

/* RFC 8489 9: what stands behind the integrity is not protected by it, so it is not read. */
static void ignores_what_follows_the_integrity(void **state) {
    (void)state;
    char mem[200];
    struct stun_msg m;
    slice v;
    struct stun_writer w =
        stun_begin(mem, sizeof mem, STUN_BINDING, STUN_REQUEST, (const uint8_t *)ID_A);
    stun_put(&w, STUN_REALM, SLICE("before"));
    stun_put_integrity(&w, SLICE("key"), false);
    stun_put(&w, STUN_USERNAME, SLICE("behind"));
    assert_ok(stun_read(stun_end(&w), &m));
    assert_true(stun_find(&m, STUN_REALM, &v));
    assert_false(stun_find(&m, STUN_USERNAME, &v));
}

/* A shorter SHA-256 value would be easier to guess (RFC 8489 14.6). */
static void refuses_a_cut_integrity(void **state) {
    (void)state;
    char mem[200];
    struct stun_msg m;
    bool is_sha256;
    struct stun_writer w =
        stun_begin(mem, sizeof mem, STUN_BINDING, STUN_REQUEST, (const uint8_t *)ID_A);
    stun_put_integrity(&w, SLICE("key"), true);
    slice bytes = stun_end(&w);
    assert_ok(stun_read(bytes, &m));
    assert_ok(stun_check(&m, SLICE("key"), &is_sha256));
    mem[23] = 16;             /* the value's length */
    mem[3] = STUN_HEAD_BYTES; /* the message's: one attribute of 4 + 16 bytes */
    crypto_hmac_sha256(SLICE("key"), slice_head(bytes, STUN_HEAD_BYTES), (uint8_t *)mem + 24);
    assert_ok(stun_read(slice_head(bytes, bytes.len - 16), &m));
    assert_err(stun_check(&m, SLICE("key"), &is_sha256), ERR_DENIED);
}

static void limits_the_attributes(void **state) {
    (void)state;
    char mem[STUN_BYTES_MAX];
    struct stun_msg m;
    struct stun_writer w =
        stun_begin(mem, sizeof mem, STUN_BINDING, STUN_REQUEST, (const uint8_t *)ID_A);
    for (unsigned i = 0; i < STUN_ATTRS_MAX; i++) stun_put(&w, STUN_SOFTWARE, SLICE("x"));
    assert_ok(stun_read(stun_end(&w), &m));
    stun_put(&w, STUN_SOFTWARE, SLICE("x"));
    assert_err(stun_read(stun_end(&w), &m), ERR_LIMIT);
}

/* ---- the answer to a keep-alive ---- */

static void answers_a_keep_alive(void **state) { /* RFC 8489 12, RFC 5626 3.5.2 */
    (void)state;
    char mem[200], out[200];
    struct stun_msg m;
    struct addr peer, got;
    assert_ok(addr_read(SLICE("[2001:db8::7]:40000"), &peer));
    struct stun_writer w =
        stun_begin(mem, sizeof mem, STUN_BINDING, STUN_REQUEST, (const uint8_t *)ID_A);
    assert_ok(stun_read(stun_end(&w), &m));
    slice answer = stun_answer_binding(&m, &peer, out, sizeof out);
    assert_ok(stun_read(answer, &m));
    assert_int_equal(m.class, STUN_SUCCESS);
    assert_memory_equal(m.id, ID_A, STUN_ID_BYTES);
    assert_ok(stun_find_addr(&m, STUN_XOR_MAPPED_ADDRESS, &got));
    assert_true(addr_eq(&got, &peer));
    assert_false(m.has_fingerprint);
    /* 6.3.1: an attribute that must be understood and is not */
    stun_put(&w, (enum stun_attr)0x0042, SLICE("?"));
    stun_put_fingerprint(&w);
    assert_ok(stun_read(stun_end(&w), &m));
    answer = stun_answer_binding(&m, &peer, out, sizeof out);
    slice v;
    assert_ok(stun_read(answer, &m));
    assert_int_equal(stun_error(&m), 420);
    assert_true(stun_find(&m, STUN_UNKNOWN_ATTRIBUTES, &v));
    assert_slice_eq(v, slice_of("\x00\x42", 2));
    assert_true(m.has_fingerprint);
    /* an answer or an indication is never answered: two servers would talk for ever */
    w = stun_begin(mem, sizeof mem, STUN_BINDING, STUN_SUCCESS, (const uint8_t *)ID_A);
    assert_ok(stun_read(stun_end(&w), &m));
    assert_int_equal(stun_answer_binding(&m, &peer, out, sizeof out).len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_sample_request),
        cmocka_unit_test(reads_addresses),
        cmocka_unit_test(checks_long_term_credentials),
        cmocka_unit_test(agrees_with_the_sha256_sample),
        cmocka_unit_test(writes_the_sample_answer),
        cmocka_unit_test(padding_tells_nothing),
        cmocka_unit_test(says_every_type),
        cmocka_unit_test(says_errors),
        cmocka_unit_test(refuses_what_is_cut_or_changed),
        cmocka_unit_test(knows_what_is_not_stun),
        cmocka_unit_test(ignores_what_follows_the_integrity),
        cmocka_unit_test(refuses_a_cut_integrity),
        cmocka_unit_test(limits_the_attributes),
        cmocka_unit_test(answers_a_keep_alive),
    };
    return crypto_init() == ERR_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
