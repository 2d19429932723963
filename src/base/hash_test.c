#include "unit.h"

#include "base/hash.h"

/* Key 00 01 .. 0f, as in the paper. */
static const struct hash_key paper_key = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF", appendix A: the input 00 01 .. 0e. The
 * other values are the first of the list that belongs to the paper's code. */
static void knows_the_vectors_of_the_paper(void **state) {
    (void)state;
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {
        { 0, 0x726fdb47dd0e0e31u },  { 1, 0x74f839c593dc67fdu }, { 2, 0x0d6c8009d9a94f5au },
        { 3, 0x85676696d7fb7e2du },  { 7, 0xab0200f58b01d137u }, { 8, 0x93f5f5799a932462u },
        { 15, 0xa129ca6149be45e5u },
    };
    uint8_t input[16];
    for (size_t i = 0; i < sizeof(input); i++) input[i] = (uint8_t)i;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        slice s = unit_guard(input, vectors[i].len);
        assert_true(siphash(&paper_key, s.ptr, s.len) == vectors[i].hash);
    }
}

static void folds_ascii_letters_only(void **state) {
    (void)state;
    assert_true(siphash_fold(&paper_key, UNIT_GUARD("Example.COM")) ==
                siphash_slice(&paper_key, UNIT_GUARD("example.com")));
    assert_true(siphash_fold(&paper_key, SLICE("@[")) == siphash_slice(&paper_key, SLICE("@[")));
    assert_true(siphash_fold(&paper_key, SLICE("[")) != siphash_fold(&paper_key, SLICE("{")));
    assert_true(siphash_fold(&paper_key, SLICE("\xc4")) != siphash_fold(&paper_key, SLICE("\xe4")));
}

/* Property: folding is the same as making each letter small first. */
static void folds_every_byte_at_every_place(void **state) {
    (void)state;
    uint64_t random = 7;
    for (int round = 0; round < 20000; round++) {
        char text[40], small[40];
        size_t len = unit_below(&random, sizeof(text) + 1);
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)unit_random(&random);
            small[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 32) : text[i];
        }
        assert_true(siphash_fold(&paper_key, unit_guard(text, len)) ==
                    siphash(&paper_key, small, len));
    }
}

static void the_key_matters(void **state) {
    (void)state;
    struct hash_key other = paper_key;
    other.k1 ^= 1;
    assert_true(siphash_slice(&paper_key, SLICE("a")) != siphash_slice(&other, SLICE("a")));
    other = paper_key;
    other.k0 ^= 1;
    assert_true(siphash_slice(&paper_key, SLICE("a")) != siphash_slice(&other, SLICE("a")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_the_vectors_of_the_paper),
        cmocka_unit_test(folds_ascii_letters_only),
        cmocka_unit_test(folds_every_byte_at_every_place),
        cmocka_unit_test(the_key_matters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
