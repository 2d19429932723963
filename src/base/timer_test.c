#include "unit.h"

#include "base/timer.h"

#define DAY INT64_C(86400000)

static void fires_at_its_millisecond(void **state) {
    (void)state;
    static struct timers t;
    struct timer a = { .kind = 3 };
    timers_init(&t, 1000);
    assert_true(timers_wake_at(&t) == MONO_NEVER);
    timer_start(&t, &a, 1500);
    assert_true(a.armed);
    timers_advance(&t, 1499);
    assert_null(timers_next(&t));
    assert_true(timers_wake_at(&t) <= 1500);
    timers_advance(&t, 1500);
    assert_ptr_equal(timers_next(&t), &a);
    assert_false(a.armed);
    assert_int_equal(a.kind, 3);
    assert_null(timers_next(&t));
    assert_int_equal(t.count, 0);
    assert_true(timers_wake_at(&t) == MONO_NEVER);
}

static void a_restart_moves_and_a_stop_ends(void **state) {
    (void)state;
    static struct timers t;
    struct timer a = { 0 };
    timers_init(&t, 0);
    timer_stop(&t, &a); /* idle */
    timer_start(&t, &a, 10);
    timer_start(&t, &a, 500000);
    assert_int_equal(t.count, 1);
    timers_advance(&t, 499999);
    assert_null(timers_next(&t));
    timer_start(&t, &a, 500010);
    timers_advance(&t, 500009);
    assert_null(timers_next(&t));
    timers_advance(&t, 500010); /* moved to due, not yet taken */
    assert_true(timers_wake_at(&t) <= 500010);
    timer_stop(&t, &a);
    assert_null(timers_next(&t));
    timer_start(&t, &a, 500020);
    timer_start(&t, &a, MONO_NEVER);
    assert_false(a.armed);
    assert_true(timers_wake_at(&t) == MONO_NEVER); /* no wake-up is left behind */
    assert_int_equal(t.count, 0);
}

static void one_already_late_waits_for_the_next_turn(void **state) {
    (void)state;
    static struct timers t;
    struct timer a = { 0 }, b = { 0 };
    timers_init(&t, 0);
    timer_start(&t, &a, 5);
    timers_advance(&t, 10);
    assert_ptr_equal(timers_next(&t), &a);
    timer_start(&t, &a, 7);
    timer_start(&t, &b, 6);
    assert_null(timers_next(&t)); /* else it would starve the loop */
    assert_true(timers_wake_at(&t) <= 10);
    timers_advance(&t, 10);
    assert_ptr_equal(timers_next(&t), &b);
    assert_ptr_equal(timers_next(&t), &a);
    assert_null(timers_next(&t));
    timer_start(&t, &a, 10);
    timer_stop(&t, &a);
    timers_advance(&t, 11);
    assert_null(timers_next(&t));
}

/* Two of one deadline come in order of their start, though they took different ways: the first was
 * put beyond the wheel, the others later into lower and lower levels. */
static void the_order_of_start_survives_every_level(void **state) {
    (void)state;
    static struct timers t;
    struct timer timers[7] = { 0 };
    const mono_t at = 30 * DAY + 12345;
    const mono_t starts[7] = { 0, 25 * DAY, 29 * DAY, at - 300000, at - 5000, at - 100, at };
    timers_init(&t, 0);
    for (int i = 0; i < 7; i++) {
        timers_advance(&t, starts[i] - 1);
        assert_null(timers_next(&t));
        timer_start(&t, &timers[i], at);
    }
    timers_advance(&t, at);
    for (int i = 0; i < 7; i++) assert_ptr_equal(timers_next(&t), &timers[i]);
}

static void far_ones_are_not_lost_in_a_leap(void **state) {
    (void)state;
    static struct timers t;
    struct timer near = { 0 }, far = { 0 }, later = { 0 };
    timers_init(&t, 0);
    timer_start(&t, &far, 13 * DAY);
    timer_start(&t, &near, 12 * DAY);
    timers_advance(&t, 3 * DAY);
    timer_start(&t, &later, 14 * DAY);
    timer_stop(&t, &near);
    assert_true(timers_wake_at(&t) <= 13 * DAY);
    timers_advance(&t, 400 * DAY);
    assert_ptr_equal(timers_next(&t), &far);
    assert_ptr_equal(timers_next(&t), &later);
}

/* The model: every timer with its deadline and the number of its start, sorted when asked. */
enum { MANY = 64 };
struct model {
    struct timer timer;
    mono_t at;
    uint64_t start;
    bool due; /* moved by an advance, not yet taken */
    bool armed;
};

static struct model *model_next(struct model *all) {
    struct model *best = NULL;
    for (int i = 0; i < MANY; i++) {
        struct model *m = &all[i];
        if (!m->due) continue;
        if (!best || m->at < best->at || (m->at == best->at && m->start < best->start)) best = m;
    }
    return best;
}

static mono_t draw_delay(uint64_t *random) {
    static const uint32_t spans[] = { 2, 70, 5000, 300000, 20000000, 1200000000 };
    mono_t delay = unit_below(random, spans[unit_below(random, ARRAY_LEN(spans))]);
    return unit_below(random, 20) ? delay : delay * 4 - 100;
}

/* Property: against a sorted list, on random starts, restarts, stops and leaps of time, timers come
 * out at their millisecond, in order of deadline and then of start, and wake_at is never late. */
static void agrees_with_a_sorted_list(void **state) {
    (void)state;
    static struct timers t;
    static struct model all[MANY];
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t random = seed, starts = 0, fired = 0;
        mono_t now = (mono_t)unit_below(&random, UINT32_MAX);
        memset(all, 0, sizeof(all));
        timers_init(&t, now);
        for (int round = 0; round < 3000; round++) {
            for (uint32_t n = unit_below(&random, 4); n; n--) {
                struct model *m = &all[unit_below(&random, MANY)];
                m->due = false;
                if (unit_below(&random, 4) == 0) {
                    timer_stop(&t, &m->timer);
                    m->armed = false;
                    continue;
                }
                /* Often a deadline that another one has: their order is the point. */
                const struct model *other = &all[unit_below(&random, MANY)];
                m->at =
                    other->armed && unit_below(&random, 2) ? other->at : now + draw_delay(&random);
                m->start = starts++;
                m->armed = true;
                timer_start(&t, &m->timer, m->at);
            }
            mono_t first = MONO_NEVER;
            uint32_t armed = 0;
            for (int i = 0; i < MANY; i++) {
                assert_int_equal(all[i].armed, all[i].timer.armed);
                if (all[i].armed) first = mono_min(first, all[i].at), armed++;
            }
            assert_int_equal(t.count, armed);
            assert_true(timers_wake_at(&t) <= first);
            if (unit_below(&random, 3) == 0 && first != MONO_NEVER)
                now = first > now ? first : now;
            else
                now += draw_delay(&random) / 4 < 0 ? 0 : draw_delay(&random) / 8 + 13;
            timers_advance(&t, now);
            for (int i = 0; i < MANY; i++) all[i].due = all[i].armed && all[i].at <= now;
            /* Now and then some stay in the queue until the next turn. */
            uint32_t take = unit_below(&random, 5) ? UINT32_MAX : unit_below(&random, 3);
            for (; take; take--) {
                struct model *m = model_next(all);
                struct timer *got = timers_next(&t);
                assert_ptr_equal(got, m ? &m->timer : NULL);
                if (!m) break;
                assert_true(got->at == m->at);
                m->due = m->armed = false;
                fired++;
            }
        }
        assert_true(fired > 1000);
    }
}

static void an_idle_century_costs_nothing(void **state) {
    (void)state;
    static struct timers t;
    struct timer a = { 0 };
    timers_init(&t, 0);
    timers_advance(&t, 36500 * DAY);
    timer_start(&t, &a, 36501 * DAY);
    int wakes = 0;
    for (mono_t at; (at = timers_wake_at(&t)) != MONO_NEVER; wakes++) {
        assert_true(at <= 36501 * DAY);
        timers_advance(&t, at);
        if (timers_next(&t)) assert_true(at == 36501 * DAY);
    }
    assert_true(wakes <= TIMER_LEVELS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_at_its_millisecond),
        cmocka_unit_test(a_restart_moves_and_a_stop_ends),
        cmocka_unit_test(one_already_late_waits_for_the_next_turn),
        cmocka_unit_test(the_order_of_start_survives_every_level),
        cmocka_unit_test(far_ones_are_not_lost_in_a_leap),
        cmocka_unit_test(agrees_with_a_sorted_list),
        cmocka_unit_test(an_idle_century_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
