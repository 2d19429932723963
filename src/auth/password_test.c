#include "unit.h"

#include "auth/password.h"

static enum password_verdict judge(const char *secret) {
    const struct password_question q = { .secret = unit_guard(secret, strlen(secret)),
                                         .user = SLICE("alice"),
                                         .domain = SLICE("wonderful-things.example.org"),
                                         .aliases = SLICE("4711,+4930123456"),
                                         .display = SLICE("Alice Liddell") };
    return password_judge(&q);
}
static void assert_verdict(const char *secret, enum password_verdict want) {
    enum password_verdict got = judge(secret);
    if (got == want) return;
    print_error("%s: %s, not %s\n", secret, password_text(got), password_text(want));
    fail();
}

static void refuses_the_weak_and_names_the_reason(void **state) {
    (void)state;
    static const struct {
        const char *secret;
        enum password_verdict want;
    } weak[] = {
        { "", PASSWORD_SHORT },
        { "k7m2q9xw4tz", PASSWORD_SHORT },
        { "837465918273", PASSWORD_DIGITS },
        { "4930123456789012", PASSWORD_DIGITS },
        { "xk7alice9m2qwert", PASSWORD_NAME },
        { "xk7AL1CE9m2qwert", PASSWORD_NAME },
        { "kd83hx4711mwqtpz", PASSWORD_NAME },
        { "password2024", PASSWORD_WORD },
        { "Password2024!", PASSWORD_WORD },
        { "P4ssw0rd!!2024", PASSWORD_WORD },
        { "passwordpassword", PASSWORD_WORD },
        { "letmein-letmein", PASSWORD_WORD },
        { "administrator1", PASSWORD_WORD },
        { "sommer2025!!", PASSWORD_WORD },
        { "iloveyou1234", PASSWORD_WORD },
        { "wonderful2024", PASSWORD_NAME },
        { "liddell-2024!", PASSWORD_NAME },
        { "qwertyuiop12", PASSWORD_ROW },
        { "1qaz2wsx3edc", PASSWORD_ROW },
        { "abcdefghijkl", PASSWORD_ROW },
        { "lkjhgfdsa0987", PASSWORD_ROW },
        { "zyxwvutsrqpo", PASSWORD_ROW },
        { "aaaaaaaaaaaaaaaa", PASSWORD_REPEAT },
        { "xk7xk7xk7xk7xk7", PASSWORD_REPEAT },
        { "Xk7qXk7qXk7qXk7q", PASSWORD_REPEAT },
        { "12341234123a", PASSWORD_WEAK },
        { "a20242023202", PASSWORD_WEAK },
        { " k7m2q9xw4tzhb", PASSWORD_CHARACTERS },
        { "k7m2q9xw4tzhb ", PASSWORD_CHARACTERS },
        { "k7m2q\t9xw4tzhb", PASSWORD_CHARACTERS },
        { "m\xc3\xbcller-k7m2q9xw", PASSWORD_CHARACTERS },
    };
    for (size_t i = 0; i < ARRAY_LEN(weak); i++) {
        enum password_verdict got = judge(weak[i].secret);
        /* What is weak in several ways may be named after another of them, never be let through. */
        if (weak[i].want == PASSWORD_WEAK) {
            assert_int_not_equal(got, PASSWORD_OK);
        } else {
            assert_verdict(weak[i].secret, weak[i].want);
        }
    }
    char longer[140];
    for (size_t i = 0; i < sizeof longer; i++) longer[i] = "kx7mq2"[i * 5 % 6];
    longer[129] = '\0';
    assert_verdict(longer, PASSWORD_LONG);
}

static void lets_good_ones_pass(void **state) {
    (void)state;
    static const char *const good[] = {
        "xkqzmwvtrphd",          "k7m2q-9xw4t-zhb3n8", "umbrage lattice quorum fjord",
        "Tr0mb0ne+Cellophane+9", "Zq8!fT2#vLw0",       "the four grey herons left at dawn",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) assert_verdict(good[i], PASSWORD_OK);
}

/* More characters can only help. */
static void longer_is_never_weaker_by_much(void **state) {
    (void)state;
    uint64_t seed = 11;
    for (int round = 0; round < 200; round++) {
        char text[64];
        size_t len = 1 + unit_below(&seed, 40);
        for (size_t i = 0; i < len; i++) text[i] = (char)(0x21 + unit_below(&seed, 94));
        struct password_question q = { .secret = slice_of(text, len) };
        unsigned all = password_bits(&q);
        q.secret.len = len / 2;
        assert_true(all + 1 >= password_bits(&q));
    }
}

static void what_is_made_passes(void **state) {
    (void)state;
    const uint8_t seed[32] = { 5 };
    struct rng rng;
    rng_init(&rng, seed);
    unsigned counts[128] = { 0 };
    char last[PASSWORD_MADE_CHARS] = { 0 };
    enum { ROUNDS = 400 };
    for (int i = 0; i < ROUNDS; i++) {
        char made[PASSWORD_MADE_CHARS];
        password_make(&rng, made);
        assert_memory_not_equal(made, last, sizeof made);
        memcpy(last, made, sizeof last);
        for (size_t k = 0; k < sizeof made; k++) {
            bool hyphen = k == 5 || k == 11 || k == 18 || k == 24;
            assert_true((made[k] == '-') == hyphen);
            counts[(unsigned char)made[k]]++;
        }
        struct password_question q = { .secret = slice_of(made, sizeof made) };
        assert_int_equal(password_judge(&q), PASSWORD_OK);
    }
    /* 31 symbols, none of them a look-alike, each about as often as any other. */
    unsigned symbols = 0, expected = ROUNDS * 26 / 31;
    for (int c = 0; c < 128; c++) {
        if (c == '-' || counts[c] == 0) continue;
        symbols++;
        assert_true(counts[c] > expected / 2 && counts[c] < expected * 2);
        assert_true(slice_find(SLICE("01oil"), (char)c) == 5);
    }
    assert_int_equal(symbols, 31);
}

static void the_list_is_sorted_and_plain(void **state) {
    (void)state;
    assert_in_range(password_word_count, 1500, 2048); /* the cost of a word is 11 bits */
    for (unsigned i = 0; i < password_word_count; i++) {
        const char *w = password_words[i];
        assert_true(strlen(w) >= 4);
        for (const char *c = w; *c; c++) assert_in_range(*c, 'a', 'z');
        if (i) assert_true(strcmp(password_words[i - 1], w) < 0);
    }
}

static void every_verdict_has_a_sentence(void **state) {
    (void)state;
    for (int v = 0; v < PASSWORD_VERDICT_COUNT; v++)
        assert_true(strlen(password_text((enum password_verdict)v)) > 10);
    assert_non_null(strstr(password_text(PASSWORD_SHORT), "12 characters"));
    assert_int_equal(PASSWORD_MIN_CHARS, 12);
    assert_non_null(strstr(password_text(PASSWORD_LONG), "128 characters"));
    assert_int_equal(PASSWORD_MAX_CHARS, 128);
}

int main(void) {
    if (crypto_init()) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_the_weak_and_names_the_reason),
        cmocka_unit_test(lets_good_ones_pass),
        cmocka_unit_test(longer_is_never_weaker_by_much),
        cmocka_unit_test(what_is_made_passes),
        cmocka_unit_test(the_list_is_sorted_and_plain),
        cmocka_unit_test(every_verdict_has_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
