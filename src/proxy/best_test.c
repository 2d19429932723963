#include "unit.h"

#include "proxy/best.h"

/* RFC 3261 16.7 step 6: 6xx first, then the lowest class. */
static void six_hundred_wins_then_the_lowest_class(void **state) {
    (void)state;
    assert_true(best_is_better(603, 302));
    assert_true(best_is_better(302, 404));
    assert_true(best_is_better(404, 500));
    assert_false(best_is_better(500, 404));
    assert_false(best_is_better(404, 603));
    assert_true(best_is_better(503, 0));
}

/* RFC 3261 16.7 step 6: within 4xx prefer what tells the caller how to go on. */
static void helpful_answers_come_first(void **state) {
    (void)state;
    const unsigned helpful[] = { 401, 407, 415, 420, 484 };
    for (unsigned i = 0; i < 5; i++) {
        assert_true(best_is_better(helpful[i], 486));
        assert_false(best_is_better(486, helpful[i]));
    }
    assert_true(best_is_better(486, 408));
    assert_true(best_is_better(486, 480));
    assert_true(best_is_better(500, 503));
}

/* RFC 3261 16.7 step 6: a 503 goes on as 500. */
static void unavailable_is_not_passed_on(void **state) {
    (void)state;
    assert_int_equal(best_as_sent(503), 500);
    assert_int_equal(best_as_sent(430), 480); /* RFC 5626 11.5: between nodes only */
    assert_int_equal(best_as_sent(486), 486);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(six_hundred_wins_then_the_lowest_class),
        cmocka_unit_test(helpful_answers_come_first),
        cmocka_unit_test(unavailable_is_not_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
