#include "unit.h"

#include "base/buf.h"
#include <inttypes.h>

static void overflow_is_sticky_and_changes_nothing(void **state) {
    (void)state;
    char mem[4] = "....";
    struct buf b = buf_over(mem, 3);
    buf_lit(&b, "ab");
    buf_lit(&b, "cd");
    assert_true(b.full);
    assert_int_equal(b.len, 2);
    buf_byte(&b, 'c'); /* would fit, but something before it is missing */
    assert_slice(buf_slice(&b), "ab");
    assert_memory_equal(mem, "ab..", 4);
    buf_clear(&b);
    buf_lit(&b, "xyz");
    assert_false(b.full);
    assert_slice(buf_slice(&b), "xyz");
    assert_int_equal(buf_room(&b), 0);
}

static void every_writer_respects_the_end(void **state) {
    (void)state;
    for (size_t cap = 0; cap < 24; cap++) {
        for (int which = 0; which < 5; which++) {
            slice mem = unit_guard("........................", cap);
            struct buf b = buf_over((void *)(uintptr_t)mem.ptr, cap);
            size_t wants = 0;
            switch (which) {
            case 0:
                buf_u64(&b, UINT64_MAX), wants = 20;
                break;
            case 1:
                buf_hex(&b, "\x01\xfe\x80", 3), wants = 6;
                break;
            case 2:
                buf_base64url(&b, "abcd", 4), wants = 6;
                break;
            case 3:
                buf_base64(&b, "abcd", 4), wants = 8;
                break;
            default:
                buf_fmt(&b, "%d-%s", 12345, "abc"), wants = 9;
                break;
            }
            bool fits = cap >= wants + (which == 4); /* vsnprintf wants its NUL */
            assert_int_equal(b.full, !fits);
            assert_int_equal(b.len, fits ? wants : 0);
        }
    }
}

static void writes_numbers(void **state) {
    (void)state;
    const uint64_t numbers[] = { 0, 9, 10, 99, 100, UINT32_MAX, UINT64_MAX };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        char mem[32], wanted[32];
        struct buf b = buf_over(mem, sizeof(mem));
        buf_u64(&b, numbers[i]);
        assert_true(snprintf(wanted, sizeof(wanted), "%" PRIu64, numbers[i]) > 0);
        assert_slice(buf_slice(&b), wanted);
    }
}

/* RFC 4648 10: the test vectors. */
static void knows_the_vectors_of_base64(void **state) {
    (void)state;
    static const char *const vectors[][3] = {
        { "", "", "" },
        { "f", "Zg==", "Zg" },
        { "fo", "Zm8=", "Zm8" },
        { "foo", "Zm9v", "Zm9v" },
        { "foob", "Zm9vYg==", "Zm9vYg" },
        { "fooba", "Zm9vYmE=", "Zm9vYmE" },
        { "foobar", "Zm9vYmFy", "Zm9vYmFy" },
        { "\xfb\xff", "+/8=", "-_8" },
    };
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char mem[32], back[32];
        size_t n;
        slice plain = slice_str(vectors[i][0]);
        struct buf b = buf_over(mem, sizeof(mem));
        buf_base64(&b, plain.ptr, plain.len);
        assert_slice(buf_slice(&b), vectors[i][1]);
        assert_ok(base64_read(buf_slice(&b), back, sizeof(back), &n));
        assert_slice_eq(slice_of(back, n), plain);
        buf_clear(&b);
        buf_base64url(&b, plain.ptr, plain.len);
        assert_slice(buf_slice(&b), vectors[i][2]);
        assert_ok(base64url_read(buf_slice(&b), back, sizeof(back), &n));
        assert_slice_eq(slice_of(back, n), plain);
    }
}

static void refuses_bad_base64(void **state) {
    (void)state;
    char dst[16];
    size_t n = 99;
    static const char *const bad[] = { "Z",    "Zg=",  "Zg===", "Zm9=", "Zh==", "Zm9v=",   "====",
                                       "Zm 9", "Zm9-", "Zm9_",  "Z===", "=Zg=", "Zg==Zg==" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_err(base64_read(slice_str(bad[i]), dst, sizeof(dst), &n), ERR_BAD);
    static const char *const bad_url[] = { "A",    "Z",    "Zg==",  "Zh",   "Zm9",
                                           "Zm9+", "Zm9/", "Zm9v=", "Zm9vZ" };
    for (size_t i = 0; i < ARRAY_LEN(bad_url); i++)
        assert_err(base64url_read(slice_str(bad_url[i]), dst, sizeof(dst), &n), ERR_BAD);
    assert_err(base64url_read(SLICE("Zm9vYg"), dst, 3, &n), ERR_LIMIT);
    assert_err(base64url_read(SLICE("Zm9vYh"), dst, 3, &n), ERR_BAD); /* bad before too long */
    assert_int_equal(n, 99);
}

static void hex_goes_both_ways(void **state) {
    (void)state;
    char mem[8];
    uint8_t dst[2];
    size_t n = 99;
    struct buf b = buf_over(mem, sizeof(mem));
    buf_hex(&b, "\x00\xaF\x9c", 3);
    assert_slice(buf_slice(&b), "00af9c");
    assert_ok(hex_read(UNIT_GUARD("aFF0"), dst, 2, &n));
    assert_int_equal(n, 2);
    assert_memory_equal(dst, "\xaf\xf0", 2);
    n = 99;
    assert_err(hex_read(SLICE("abc"), dst, 2, &n), ERR_BAD);
    assert_err(hex_read(SLICE("ag"), dst, 2, &n), ERR_BAD);
    assert_err(hex_read(SLICE("/0"), dst, 2, &n), ERR_BAD);
    assert_err(hex_read(SLICE("aabbcc"), dst, 2, &n), ERR_LIMIT);
    assert_int_equal(n, 99);
    assert_ok(hex_read(SLICE_NONE, dst, 2, &n));
    assert_int_equal(n, 0);
}

/* Property: what is written is read back; and no other text of that length reads as the same. */
static void base64_and_hex_round_trip(void **state) {
    (void)state;
    uint64_t random = 2;
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[40], back[40];
        char mem[96];
        size_t len = unit_below(&random, sizeof(bytes) + 1), n;
        for (size_t i = 0; i < len; i++) bytes[i] = (uint8_t)unit_random(&random);
        struct buf b = buf_over(mem, sizeof(mem));
        slice in = unit_guard(bytes, len);
        buf_base64url(&b, in.ptr, in.len);
        assert_ok(base64url_read(unit_guard(mem, b.len), back, len, &n));
        assert_slice_eq(slice_of(back, n), in);
        if (b.len) {
            mem[b.len - 1] = "ABCDEFGHabcdefgh0123-_"[unit_below(&random, 22)];
            if (base64url_read(buf_slice(&b), back, sizeof(back), &n) == ERR_OK) {
                char again[96];
                struct buf c = buf_over(again, sizeof(again));
                buf_base64url(&c, back, n);
                assert_slice_eq(buf_slice(&c), buf_slice(&b)); /* one spelling each */
            }
        }
        buf_clear(&b);
        buf_base64(&b, in.ptr, in.len);
        assert_ok(base64_read(unit_guard(mem, b.len), back, len, &n));
        assert_slice_eq(slice_of(back, n), in);
        buf_clear(&b);
        buf_hex(&b, in.ptr, in.len);
        assert_ok(hex_read(unit_guard(mem, b.len), back, len, &n));
        assert_slice_eq(slice_of(back, n), in);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overflow_is_sticky_and_changes_nothing),
        cmocka_unit_test(every_writer_respects_the_end),
        cmocka_unit_test(writes_numbers),
        cmocka_unit_test(knows_the_vectors_of_base64),
        cmocka_unit_test(refuses_bad_base64),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(base64_and_hex_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
