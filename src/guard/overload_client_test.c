#include "unit.h"

#include "guard/overload_client.h"

static struct overload_told told(const char *oc, const char *algo, const char *validity,
                                 const char *seq) {
    return (struct overload_told){ .oc = oc ? slice_str(oc) : SLICE_NONE,
                                   .algo = algo ? slice_str(algo) : SLICE_NONE,
                                   .validity = validity ? slice_str(validity) : SLICE_NONE,
                                   .seq = seq ? slice_str(seq) : SLICE_NONE };
}

static void hear(struct overload_client *o, struct overload_told t, mono_t now) {
    overload_client_hear(o, &t, now);
}

/* How many of a hundred new requests are held back, each draw once. */
static unsigned shed_of_100(struct overload_client *o, mono_t now) {
    unsigned n = 0;
    for (uint32_t i = 0; i < 100; i++) n += overload_client_sheds(o, true, i, now);
    return n;
}

static void sheds_what_was_asked(void **state) {
    (void)state;
    struct overload_client o = { 0 };
    assert_int_equal(shed_of_100(&o, 0), 0);
    hear(&o, told("40", "\"loss\"", "2000", "1700000000.5"), 0);
    assert_int_equal(shed_of_100(&o, 1), 40);
    assert_int_equal(shed_of_100(&o, 1999), 40);
    assert_int_equal(shed_of_100(&o, 2000), 0); /* 4.3: it holds no longer */
    hear(&o, told("100", NULL, NULL, "1700000001.0"), 3000);
    assert_int_equal(shed_of_100(&o, 3499), 100); /* 500 ms when nothing is said */
    assert_int_equal(shed_of_100(&o, 3500), 0);
    hear(&o, told("30", "loss", "5000", "1700000002.0"), 4000);
    hear(&o, told("30", "loss", "0", "1700000003.0"), 4000); /* 5.7: the end */
    assert_int_equal(shed_of_100(&o, 4001), 0);
    hear(&o, told("30", "loss", "4000000000", "1700000004.0"), 5000);
    assert_int_equal(shed_of_100(&o, 5000 + OVERLOAD_CLIENT_LONGEST_MS), 0);
}

/* RFC 7339 7.2: the percentage is of all, what belongs to calls is spared. */
static void spares_what_is_up(void **state) {
    (void)state;
    struct overload_client o = { 0 };
    for (unsigned i = 0; i < 100; i++) assert_false(overload_client_sheds(&o, i < 40, i, 10));
    hear(&o, told("10", "loss", "6000", "2.0"), 20);
    for (uint32_t i = 0; i < 100; i++) assert_false(overload_client_sheds(&o, false, i, 5000));
    assert_int_equal(shed_of_100(&o, 5001), 25);
}

/* RFC 7339 7.2: the mix is measured over 5 to 10 s; a shorter one swings with every burst. */
static void measures_the_mix_over_five_seconds(void **state) {
    (void)state;
    struct overload_client o = { 0 };
    for (unsigned i = 0; i < 100; i++) assert_false(overload_client_sheds(&o, i % 2, i, 0));
    hear(&o, told("10", "loss", "60000", "1.0"), 5000);
    assert_int_equal(shed_of_100(&o, 5000), 20); /* half of them were new */
    assert_int_equal(shed_of_100(&o, 6500), 20);
    assert_int_equal(shed_of_100(&o, 9999), 20);
    assert_int_equal(shed_of_100(&o, 10000), 10); /* all of them */
}

static void old_and_odd_values_change_nothing(void **state) {
    (void)state;
    struct overload_client o = { 0 };
    hear(&o, told("20", "loss", "60000", "1700000000.50"), 0);
    hear(&o, told("90", "loss", "60000", "1700000000.4"), 0);
    assert_int_equal(o.loss, 20);
    hear(&o, told("21", "loss", "60000", "1700000000.6"), 0);
    assert_int_equal(o.loss, 21);
    static const struct {
        const char *oc, *algo, *validity;
    } odd[] = { { "", NULL, NULL },       { NULL, NULL, "500" },   { "101", NULL, NULL },
                { "-1", NULL, NULL },     { "x", NULL, NULL },     { "50", "\"rate\"", NULL },
                { "50", "loss", "soon" }, { "50", "\"", "60000" }, { "50", "loss", "" } };
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        hear(&o, told(odd[i].oc, odd[i].algo, odd[i].validity, "1700000001.0"), 0);
        assert_int_equal(o.loss, 21);
    }
    /* RFC 7339 4.4: a number far below begins anew. */
    hear(&o, told("7", "loss", "60000", "1.0"), 0);
    assert_int_equal(o.loss, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sheds_what_was_asked),
        cmocka_unit_test(spares_what_is_up),
        cmocka_unit_test(measures_the_mix_over_five_seconds),
        cmocka_unit_test(old_and_odd_values_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
