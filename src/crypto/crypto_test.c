/* Published vectors for each primitive, and what each composition must refuse. */
#include "crypto/crypto.h"

#include "base/buf.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

static void hex_of(const uint8_t *bytes, size_t len, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = '\0';
}

static size_t bytes_of(const char *hex, uint8_t *out) {
    size_t n = 0;
    for (; hex[2 * n]; n++) {
        char pair[3] = { hex[2 * n], hex[2 * n + 1], '\0' };
        out[n] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return n;
}

static void assert_hex(const uint8_t *got, size_t len, const char *want) {
    char hex[2 * 64 + 1];
    assert_true(len <= 64);
    hex_of(got, len, hex);
    assert_string_equal(hex, want);
}

static void sha256_vectors(void **state) {
    (void)state;
    uint8_t h[32];
    crypto_sha256("abc", 3, h); /* FIPS 180-4 examples */
    assert_hex(h, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256(NULL, 0, h);
    assert_hex(h, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    static char million[1000000];
    memset(million, 'a', sizeof million);
    crypto_sha256(million, sizeof million, h);
    assert_hex(h, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void sha512_256_vectors(void **state) {
    (void)state;
    uint8_t h[32];
    crypto_sha512_256("abc", 3, h); /* FIPS 180-4 examples */
    assert_hex(h, 32, "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23");
    static const char two_blocks[] = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
                                     "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
    crypto_sha512_256(two_blocks, sizeof two_blocks - 1, h);
    assert_hex(h, 32, "3928e184fb8690f840da3988121d31be65cb9d3ef83ee6146feac861e19b563a");
}

static void md5_vectors(void **state) { /* RFC 1321 A.5 */
    (void)state;
    static const struct {
        const char *in, *want;
    } rows[] = {
        { "", "d41d8cd98f00b204e9800998ecf8427e" },
        { "a", "0cc175b9c0f1b6a831c399e269772661" },
        { "abc", "900150983cd24fb0d6963f7d28e17f72" },
        { "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
        { "abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b" },
        { "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
          "57edf4a22be3c955ac49da2e2107b67a" },
    };
    uint8_t h[16];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        crypto_md5(rows[i].in, strlen(rows[i].in), h);
        assert_hex(h, 16, rows[i].want);
    }
}

enum digest_algorithm { MD5, SHA256, SHA512_256 };
static void digest_hex(enum digest_algorithm a, const char *text, char out[static 65]) {
    uint8_t h[32];
    switch (a) {
    case MD5:
        crypto_md5(text, strlen(text), h);
        break;
    case SHA256:
        crypto_sha256(text, strlen(text), h);
        break;
    case SHA512_256:
        crypto_sha512_256(text, strlen(text), h);
        break;
    }
    hex_of(h, a == MD5 ? 16 : 32, out);
}

static void digest_check(enum digest_algorithm a, const char *a1_text, const char *a2_text,
                         const char *middle, const char *want) {
    char a1[65], a2[65], text[512], response[65];
    digest_hex(a, a1_text, a1);
    digest_hex(a, a2_text, a2);
    int n = snprintf(text, sizeof text, "%s:%s:%s", a1, middle, a2);
    assert_true(n > 0 && (size_t)n < sizeof text);
    digest_hex(a, text, response);
    assert_string_equal(response, want);
}

static void digest_of_rfc7616(void **state) { /* RFC 7616 3.9.1 */
    (void)state;
    static const char middle[] = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v:00000001:"
                                 "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ:auth";
    static const char a1[] = "Mufasa:http-auth@example.org:Circle of Life";
    static const char a2[] = "GET:/dir/index.html";
    digest_check(MD5, a1, a2, middle, "8ca523f5e9506fed4657c9700eebdbec");
    digest_check(SHA256, a1, a2, middle,
                 "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
}

/* RFC 7616 3.9.2 prints values of a SHA-512 cut short; RFC editor's erratum 4897 gives those of
 * SHA-512/256, which is what the algorithm's name means (FIPS 180-4 5.3.6.2). */
static void digest_of_rfc7616_sha512_256(void **state) {
    (void)state;
    char userhash[65];
    digest_hex(SHA512_256, "J\xc3\xa4s\xc3\xb8n Doe:api@example.org", userhash);
    assert_string_equal(userhash,
                        "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b");
    digest_check(SHA512_256, "J\xc3\xa4s\xc3\xb8n Doe:api@example.org:Secret, or not?",
                 "GET:/doe.json",
                 "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK:00000001:"
                 "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v:auth",
                 "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5");
}

static void hmac_vectors(void **state) { /* RFC 4231 4.2, 4.3, 4.7 */
    (void)state;
    uint8_t h[32], long_key[131];
    char key[20];
    memset(key, 0x0b, sizeof key);
    memset(long_key, 0xaa, sizeof long_key);
    crypto_hmac_sha256(slice_of(key, 20), SLICE("Hi There"), h);
    assert_hex(h, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    crypto_hmac_sha256(SLICE("Jefe"), SLICE("what do ya want for nothing?"), h);
    assert_hex(h, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    crypto_hmac_sha256(slice_of(long_key, sizeof long_key),
                       SLICE("Test Using Larger Than Block-Size Key - Hash Key First"), h);
    assert_hex(h, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    /* RFC 2202 3 */
    crypto_hmac_sha1(SLICE("Jefe"), SLICE("what do ya want for nothing?"), h);
    assert_hex(h, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
}

static void
mac_vectors(void **state) { /* values from Python's hashlib.blake2b(key=, digest_size=16) */
    (void)state;
    uint8_t key[32], tag[16];
    for (unsigned i = 0; i < sizeof key; i++) key[i] = (uint8_t)i;
    crypto_mac(key, NULL, 0, tag);
    assert_hex(tag, 16, "3daf97bce7888fd59773c66bf647459c");
    crypto_mac(key, "abc", 3, tag);
    assert_hex(tag, 16, "1a64be47e4729d951c302ee543f97cf3");
}

/* draft-irtf-cfrg-xchacha-03 A.3.1, as a box: nonce, cipher text, tag. */
static void open_known_box(void **state) {
    (void)state;
    static const char want[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
                               "only one tip for the future, sunscreen would be it.";
    uint8_t key[32], context[12], box[200], text[200];
    for (unsigned i = 0; i < sizeof key; i++) key[i] = (uint8_t)(0x80 + i);
    assert_int_equal(bytes_of("50515253c0c1c2c3c4c5c6c7", context), 12);
    size_t n = bytes_of("404142434445464748494a4b4c4d4e4f5051525354555657"
                        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
                        "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
                        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
                        "21f9664c97637da9768812f615c68b13b52e"
                        "c0875924c1c7987947deafd8780acf49",
                        box);
    assert_int_equal(n, sizeof want - 1 + CRYPTO_SEAL_OVERHEAD);
    assert_int_equal(crypto_open(key, slice_of(context, 12), box, n, text), ERR_OK);
    assert_memory_equal(text, want, sizeof want - 1);
}

static void seal_refuses_what_changed(void **state) {
    (void)state;
    uint8_t key[32] = { 1 }, box[11 + CRYPTO_SEAL_OVERHEAD], again[sizeof box], text[11];
    crypto_seal(key, SLICE("row 7"), "hello world", 11, box);
    crypto_seal(key, SLICE("row 7"), "hello world", 11, again);
    assert_memory_not_equal(box, again, sizeof box); /* a fresh nonce each time */
    assert_int_equal(crypto_open(key, SLICE("row 7"), box, sizeof box, text), ERR_OK);
    assert_memory_equal(text, "hello world", 11);
    assert_int_equal(crypto_open(key, SLICE("row 8"), box, sizeof box, text), ERR_CRYPTO);
    for (size_t len = 0; len < sizeof box; len++)
        assert_int_equal(crypto_open(key, SLICE("row 7"), box, len, text), ERR_CRYPTO);
    for (size_t i = 0; i < sizeof box * 8; i++) {
        box[i / 8] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(crypto_open(key, SLICE("row 7"), box, sizeof box, text), ERR_CRYPTO);
        box[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    key[31] ^= 1;
    assert_int_equal(crypto_open(key, SLICE("row 7"), box, sizeof box, text), ERR_CRYPTO);
}

static void siv_is_repeatable_and_tight(void **state) {
    (void)state;
    uint8_t key[64], text[100], box[116], other[116], back[100];
    for (unsigned i = 0; i < sizeof key; i++) key[i] = (uint8_t)(3 * i);
    for (unsigned i = 0; i < sizeof text; i++) text[i] = (uint8_t)i;
    for (size_t len = 0; len <= sizeof text; len++) {
        crypto_siv_seal(key, text, len, box);
        crypto_siv_seal(key, text, len, other);
        assert_memory_equal(box, other, len + CRYPTO_SIV_OVERHEAD);
        assert_int_equal(crypto_siv_open(key, box, len + CRYPTO_SIV_OVERHEAD, back), ERR_OK);
        if (len) assert_memory_equal(back, text, len);
    }
    for (size_t i = 0; i < sizeof box * 8; i++) {
        box[i / 8] ^= (uint8_t)(1u << (i % 8));
        memset(back, 1, sizeof back);
        assert_int_equal(crypto_siv_open(key, box, sizeof box, back), ERR_CRYPTO);
        for (size_t j = 0; j < sizeof back; j++) assert_int_equal(back[j], 0); /* nothing shows */
        box[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    for (size_t len = 0; len < sizeof box; len++)
        assert_int_equal(crypto_siv_open(key, box, len, back), ERR_CRYPTO);
    text[99] ^= 1; /* texts that differ in their last bit share nothing */
    crypto_siv_seal(key, text, sizeof text, other);
    size_t same = 0;
    for (size_t i = 0; i < sizeof box; i++) same += box[i] == other[i];
    assert_true(same < 12);
}

static void equal_and_wipe(void **state) {
    (void)state;
    uint8_t a[32] = { 0 }, b[32] = { 0 };
    assert_true(crypto_equal(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] = 0x80;
        assert_false(crypto_equal(a, b, sizeof a));
        b[i] = 0;
    }
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b);
    assert_false(crypto_equal(a, b, sizeof a));
    crypto_wipe(a, sizeof a);
    for (size_t i = 0; i < sizeof a; i++) assert_int_equal(a[i], 0);
}

static void rng_repeats_and_forgets(void **state) {
    (void)state;
    uint8_t seed[32] = { 9 }, one[3000], two[3000], pool_before[512];
    struct rng r, s;
    rng_init(&r, seed);
    rng_bytes(&r, one, sizeof one);
    rng_init(&s, seed);
    for (size_t at = 0, step = 1; at < sizeof two; at += step, step = step % 97 + 1) {
        if (step > sizeof two - at) step = sizeof two - at;
        rng_bytes(&s, two + at, step); /* the sizes of the pieces do not matter */
    }
    assert_memory_equal(one, two, sizeof one);
    assert_int_equal(rng_u64(&r), rng_u64(&s));
    memcpy(pool_before, r.pool, sizeof r.pool);
    for (size_t i = 0; i < sizeof r.pool - r.left; i++) assert_int_equal(pool_before[i], 0);
    assert_memory_not_equal(r.key, seed, sizeof seed); /* the key moved on */
    seed[31] = 1;
    rng_init(&s, seed);
    rng_bytes(&s, two, sizeof two);
    assert_memory_not_equal(one, two, 32);
}

static void *hash_in_thread(void *out) {
    crypto_sha256("abc", 3, out);
    return NULL;
}

static void threads_hash_alone(void **state) {
    (void)state;
    pthread_t threads[4];
    uint8_t got[4][32];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_in_thread, got[i]), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_hex(got[i], 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}

/* RFC 8032 7.1, TEST 2 */
static void ed25519_vector(void **state) {
    (void)state;
    uint8_t seed[32], key[32], sig[64], one = 0x72;
    size_t n;
    assert_int_equal(
        hex_read(SLICE("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"), seed,
                 sizeof seed, &n),
        ERR_OK);
    crypto_ed25519_public(seed, key);
    assert_hex(key, 32, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
    crypto_ed25519_sign(seed, &one, 1, sig);
    assert_hex(sig, 64,
               "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
               "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
    assert_true(crypto_ed25519_right(key, &one, 1, sig));
    sig[63] ^= 1;
    assert_false(crypto_ed25519_right(key, &one, 1, sig));
    sig[63] ^= 1;
    one++;
    assert_false(crypto_ed25519_right(key, &one, 1, sig));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_vectors),
        cmocka_unit_test(sha512_256_vectors),
        cmocka_unit_test(md5_vectors),
        cmocka_unit_test(digest_of_rfc7616),
        cmocka_unit_test(digest_of_rfc7616_sha512_256),
        cmocka_unit_test(hmac_vectors),
        cmocka_unit_test(mac_vectors),
        cmocka_unit_test(open_known_box),
        cmocka_unit_test(seal_refuses_what_changed),
        cmocka_unit_test(siv_is_repeatable_and_tight),
        cmocka_unit_test(equal_and_wipe),
        cmocka_unit_test(rng_repeats_and_forgets),
        cmocka_unit_test(threads_hash_alone),
        cmocka_unit_test(ed25519_vector),
    };
    if (crypto_init() != ERR_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
