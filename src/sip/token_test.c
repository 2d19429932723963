#include "unit.h"

#include "base/scan.h"
#include "crypto/crypto.h"
#include "sip/token.h"
#include <ctype.h>
#include <string.h>

static const uint8_t KEY[64] = "a key of sixty-four bytes: half to mark, half to mask";
static const uint8_t OTHER[64] = "another key";

static struct route_token sample(void) {
    return (struct route_token){ .node = 0xfedc,
                                 .policy = 0x0102,
                                 .run = 0x89abcdef,
                                 .side = { { flow_id_make(255, 0xffffff, 0xfffffffe), 1, 2 },
                                           { FLOW_NONE, UINT32_MAX, UINT32_MAX } },
                                 .call_hash = UINT64_C(0x123456789abcdef0) };
}

static slice write_token(const uint8_t *key, const struct route_token *t, char *mem, size_t cap) {
    struct buf b = buf_over(mem, cap);
    route_token_write(key, t, &b);
    assert_false(b.full);
    return buf_slice(&b);
}

static void tokens_come_back(void **state) {
    (void)state;
    char mem[256], again[256];
    struct route_token in = sample(), out = { 0 };
    slice text = write_token(KEY, &in, mem, sizeof(mem));
    assert_int_equal(text.len, ROUTE_TOKEN_CHARS);
    /* RFC 3261 25.1: fit for a user part as it stands. */
    for (size_t i = 0; i < text.len; i++) assert_true(scan_is(text.ptr[i], SCAN_URI_USER));
    assert_ok(route_token_read(KEY, unit_guard(text.ptr, text.len), &out));
    assert_int_equal(out.node, in.node);
    assert_int_equal(out.policy, in.policy);
    assert_int_equal(out.run, in.run);
    assert_true(out.call_hash == in.call_hash);
    for (size_t i = 0; i < 2; i++) {
        assert_true(out.side[i].flow == in.side[i].flow);
        assert_int_equal(out.side[i].account_id, in.side[i].account_id);
        assert_int_equal(out.side[i].bid, in.side[i].bid);
    }
    /* Deterministic: a retransmission writes the same bytes. */
    assert_slice_eq(write_token(KEY, &in, again, sizeof(again)), text);
    in.side[1].bid--;
    slice other = write_token(KEY, &in, again, sizeof(again));
    assert_false(slice_eq(slice_head(other, 20), slice_head(text, 20)));
}

static void forged_tokens_are_refused(void **state) {
    (void)state;
    char mem[256];
    struct route_token in = sample(), out;
    slice text = write_token(KEY, &in, mem, sizeof(mem));
    assert_err(route_token_read(OTHER, text, &out), ERR_CRYPTO);
    for (size_t i = 0; i < text.len; i++) {
        char kept = mem[i];
        mem[i] = kept == 'A' ? 'B' : 'A';
        assert_err(route_token_read(KEY, text, &out), ERR_CRYPTO);
        mem[i] = '=';
        assert_err(route_token_read(KEY, text, &out), ERR_BAD);
        mem[i] = kept;
    }
    assert_ok(route_token_read(KEY, text, &out));
    for (size_t len = 0; len < text.len; len++)
        assert_err(route_token_read(KEY, unit_guard(mem, len), &out), ERR_BAD);
    mem[text.len] = 'A';
    assert_err(route_token_read(KEY, slice_of(mem, text.len + 1), &out), ERR_BAD);
    assert_err(route_token_read(KEY, SLICE("alice"), &out), ERR_BAD);
}

static void a_full_buffer_takes_nothing(void **state) {
    (void)state;
    char mem[ROUTE_TOKEN_CHARS];
    struct route_token in = sample();
    struct buf b = buf_over(mem, ROUTE_TOKEN_CHARS - 1);
    route_token_write(KEY, &in, &b);
    assert_true(b.full);
    b = buf_over(mem, 38);
    branch_write(KEY, 1, (pool_id){ 1, 1 }, 1, &b);
    assert_true(b.full);
}

static void branches_come_back(void **state) {
    (void)state;
    char mem[64];
    struct buf b = buf_over(mem, sizeof(mem));
    pool_id id;
    unsigned worker;
    uint64_t loop;
    branch_write(KEY, 255, (pool_id){ 0xfffffe, 0x80000001 }, UINT64_C(0xf1e2d3c4b5a69788), &b);
    slice text = buf_slice(&b);
    /* RFC 3261 8.1.1.7: the cookie first, and a token as a whole. */
    assert_true(slice_starts(text, SLICE("z9hG4bK")));
    for (size_t i = 0; i < text.len; i++) assert_true(scan_is(text.ptr[i], SCAN_TOKEN));
    assert_true(branch_read(KEY, unit_guard(text.ptr, text.len), &worker, &id, &loop));
    assert_int_equal(worker, 255);
    assert_true(pool_id_eq(id, (pool_id){ 0xfffffe, 0x80000001 }));
    assert_true(loop == UINT64_C(0xf1e2d3c4b5a69788));
    assert_false(branch_read(OTHER, text, &worker, &id, &loop));
    for (size_t i = 0; i < text.len; i++) {
        char kept = mem[i];
        mem[i] = kept == 'A' ? 'B' : 'A';
        assert_false(branch_read(KEY, text, &worker, &id, &loop));
        mem[i] = kept;
        assert_false(branch_read(KEY, unit_guard(mem, i), &worker, &id, &loop));
    }
    assert_true(branch_read(KEY, text, &worker, &id, &loop));
    mem[text.len] = 'A';
    assert_false(branch_read(KEY, slice_of(mem, text.len + 1), &worker, &id, &loop));
    assert_false(branch_read(KEY, SLICE_NONE, &worker, &id, &loop));
}

static const struct gruu DESK = { .account_id = 7,
                                  .instance = UINT64_C(0xfedcba9876543210),
                                  .epoch = UINT64_C(3) << 40,
                                  .serial = (UINT64_C(3) << 40) + 5 };

static void gruus_come_back(void **state) {
    (void)state;
    char mem[128], upper[GRUU_CHARS];
    struct buf b = buf_over(mem, sizeof mem);
    uint64_t instance;
    struct gruu out;
    gruu_write(KEY, DESK.account_id, DESK.instance, &b);
    slice text = buf_slice(&b);
    assert_int_equal(text.len, GRUU_CHARS);
    assert_ok(gruu_read(KEY, unit_guard(text.ptr, text.len), DESK.account_id, &instance));
    assert_true(instance == DESK.instance);
    /* RFC 3261 19.1.4: a parameter's case does not count. */
    for (size_t i = 0; i < text.len; i++) upper[i] = (char)toupper(text.ptr[i]);
    assert_ok(gruu_read(KEY, slice_of(upper, sizeof upper), DESK.account_id, &instance));
    assert_err(gruu_read(KEY, text, DESK.account_id + 1, &instance), ERR_BAD);
    assert_err(gruu_read(OTHER, text, DESK.account_id, &instance), ERR_BAD);
    for (size_t i = 0; i < text.len; i++) {
        char kept = mem[i];
        mem[i] = kept == 'a' ? 'b' : 'a';
        assert_err(gruu_read(KEY, text, DESK.account_id, &instance), ERR_BAD);
        mem[i] = kept;
        assert_err(gruu_read(KEY, unit_guard(mem, i), DESK.account_id, &instance), ERR_BAD);
    }
    buf_clear(&b);
    gruu_temp_write(KEY, &DESK, &b);
    text = buf_slice(&b);
    assert_int_equal(text.len, GRUU_TEMP_CHARS);
    for (size_t i = 0; i < text.len; i++) assert_true(scan_is(text.ptr[i], SCAN_URI_USER));
    assert_ok(gruu_temp_read(KEY, unit_guard(text.ptr, text.len), &out));
    assert_true(out.account_id == DESK.account_id && out.instance == DESK.instance &&
                out.epoch == DESK.epoch && out.serial == DESK.serial);
    assert_err(gruu_temp_read(OTHER, text, &out), ERR_CRYPTO);
    for (size_t i = 0; i < text.len; i++) {
        char kept = mem[i];
        mem[i] = kept == 'A' ? 'B' : 'A';
        assert_err(gruu_temp_read(KEY, text, &out), ERR_CRYPTO);
        mem[i] = kept;
        assert_err(gruu_temp_read(KEY, unit_guard(mem, i), &out), ERR_BAD);
    }
}

/* RFC 5627 5.1: of two temporary GRUUs nobody may tell whether they are of one device. Those of one
 * device, which differ in their serial alone, agree in no more places than those of two. */
static void temporary_gruus_do_not_show_their_device(void **state) {
    (void)state;
    enum { COUNT = 400 };
    unsigned same[2] = { 0 };
    char first[128];
    for (unsigned other = 0; other < 2; other++) {
        struct gruu g = DESK;
        struct buf b = buf_over(first, sizeof first);
        gruu_temp_write(KEY, &g, &b);
        for (unsigned i = 1; i <= COUNT; i++) {
            char mem[128];
            struct buf c = buf_over(mem, sizeof mem);
            g.serial = DESK.serial + i;
            if (other) g.instance = DESK.instance + i;
            gruu_temp_write(KEY, &g, &c);
            for (size_t k = 0; k < GRUU_TEMP_CHARS; k++) same[other] += mem[k] == first[k];
        }
    }
    /* By chance one place in 64: 375 of 24,000, give or take 20. */
    assert_true(same[0] > 275 && same[0] < 475);
    assert_true(same[1] > 275 && same[1] < 475);
}

static void anything_written_is_read(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 2000; i++) {
        char mem[256];
        struct route_token in, out;
        memset(&in, 0, sizeof(in));
        memset(&out, 0, sizeof(out));
        in.node = (uint16_t)unit_random(&seed);
        in.policy = (uint16_t)unit_random(&seed);
        in.run = (uint32_t)unit_random(&seed);
        in.call_hash = unit_random(&seed);
        for (int s = 0; s < 2; s++)
            in.side[s] = (struct route_side){ unit_random(&seed), (uint32_t)unit_random(&seed),
                                              (uint32_t)unit_random(&seed) };
        assert_ok(route_token_read(KEY, write_token(KEY, &in, mem, sizeof(mem)), &out));
        assert_memory_equal(&in, &out, sizeof(in));
        struct buf b = buf_over(mem, sizeof(mem));
        pool_id id = { unit_below(&seed, 1u << 24), (uint32_t)unit_random(&seed) }, got;
        uint64_t loop = unit_random(&seed), got_loop;
        unsigned worker = unit_below(&seed, 256), got_worker;
        branch_write(KEY, worker, id, loop, &b);
        assert_true(branch_read(KEY, buf_slice(&b), &got_worker, &got, &got_loop));
        assert_true(got_worker == worker && pool_id_eq(got, id) && got_loop == loop);
    }
}

static int group_begin(void **state) {
    (void)state;
    return crypto_init() == ERR_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_come_back),
        cmocka_unit_test(forged_tokens_are_refused),
        cmocka_unit_test(a_full_buffer_takes_nothing),
        cmocka_unit_test(branches_come_back),
        cmocka_unit_test(gruus_come_back),
        cmocka_unit_test(temporary_gruus_do_not_show_their_device),
        cmocka_unit_test(anything_written_is_read),
    };
    return cmocka_run_group_tests(tests, group_begin, NULL);
}
