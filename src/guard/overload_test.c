#include "unit.h"

#include "guard/overload.h"

struct desk {
    struct overload o;
    struct now now;
    uint32_t random;
    bool is_unread;
};

static void desk_open(struct desk *d) {
    d->now = (struct now){ 1000, 1700000000000 };
    d->random = 1;
    d->is_unread = false;
    overload_init(&d->o, d->now);
}

/* One step of 100 ms in which `arrived` idle flows came and `served` were read. */
static void step(struct desk *d, uint32_t arrived, uint32_t served, uint32_t spare_percent) {
    d->now.mono += OVERLOAD_STEP_MS;
    d->now.wall += OVERLOAD_STEP_MS;
    struct overload_measure m = { .ms = OVERLOAD_STEP_MS,
                                  .used_us = OVERLOAD_STEP_MS * 10u * (100 - spare_percent),
                                  .idle_us = OVERLOAD_STEP_MS * 10u * spare_percent,
                                  .arrived = arrived,
                                  .served = served,
                                  .is_unread = d->is_unread };
    overload_measure(&d->o, &m, d->now);
}

static bool ask(struct desk *d, enum overload_class kind, bool has_waited, uint32_t waited_ms,
                enum overload_algorithm takes_part) {
    d->random = d->random * 1664525u + 1013904223u;
    return overload_admit(&d->o, &(struct overload_ask){ .kind = kind,
                                                         .has_waited = has_waited,
                                                         .waited_ms = waited_ms,
                                                         .takes_part = takes_part,
                                                         .random = d->random >> 8 });
}

static unsigned taken_of_1000(struct desk *d, enum overload_class kind) {
    unsigned n = 0;
    for (int i = 0; i < 1000; i++) n += ask(d, kind, false, 0, OVERLOAD_NONE);
    return n;
}

static void idle_takes_all(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 50; i++) step(&d, 20, 20, 40);
    assert_false(overload_is_active(&d.o));
    assert_int_equal(taken_of_1000(&d, OVERLOAD_NEW), 1000);
}

/* A handshake flood that leaves the calls alone is no overload of calls: its time counts as spare.
 */
static void spare_time_is_no_overload(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 50; i++) step(&d, 20, 20, 4);
    assert_false(overload_is_active(&d.o));
}

/* Ten times what can be served: what is taken falls to a small part within 1.5 s, calls that are
 * up lose nothing, registrations go before new calls do. */
static void sheds_new_work_first(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 15; i++) step(&d, 100, 10, 0);
    assert_true(overload_is_active(&d.o));
    assert_true(taken_of_1000(&d, OVERLOAD_NEW) < 120);
    assert_int_equal(taken_of_1000(&d, OVERLOAD_KEEP), 1000);
    assert_true(taken_of_1000(&d, OVERLOAD_REFRESH) > 3 * taken_of_1000(&d, OVERLOAD_NEW));
    assert_true(d.o.shed > 800);
    /* never nothing */
    for (int i = 0; i < 100; i++) step(&d, 100, 0, 0);
    assert_true(taken_of_1000(&d, OVERLOAD_NEW) > 0);
}

static void all_time_used_is_overload(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    /* Under a quota of the processor no time seems to spare, and nobody waits. */
    for (int i = 0; i < 100; i++) step(&d, 20, 20, 0);
    assert_false(overload_is_active(&d.o));
    d.is_unread = true; /* few flows, which never pause */
    for (int i = 0; i < 10; i++) step(&d, 0, 0, 0);
    assert_false(overload_is_active(&d.o));
    for (int i = 0; i < 100; i++) step(&d, 0, 0, 0);
    assert_in_range(taken_of_1000(&d, OVERLOAD_NEW), 150, 280);
    d.is_unread = false; /* there may be more than meets the eye: it grows, slowly */
    uint32_t before = d.o.accept;
    for (int i = 0; i < 100; i++) step(&d, 20, 20, 0);
    assert_in_range(d.o.accept, before * 13 / 10, before * 14 / 10);
}

/* The share is not cut again before the first cut can be seen, and a few who wait are no reason. */
static void a_cut_takes_a_second(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 10; i++) step(&d, 100, 50, 0);
    uint32_t once = d.o.accept;
    assert_in_range(once, OVERLOAD_ONE * 48 / 100, OVERLOAD_ONE * 52 / 100);
    for (int i = 0; i < 10; i++) step(&d, 100, 50, 0); /* not seen yet */
    assert_int_equal(d.o.accept, once);
    /* A flood of those who obey nobody: the share stays what it is, however long they come. */
    for (int i = 0; i < 200; i++) step(&d, 100, 50, 0);
    assert_in_range(d.o.accept, once * 95 / 100, once * 105 / 100);
    for (int i = 0; i < 100; i++) step(&d, 53, 50, 0);
    assert_true(d.o.accept > once);
}

/* Clients that take part have held back some of what they wanted: it counts as wanted. */
static void what_was_held_back_is_wanted(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 10; i++) { /* 1,000 come a second, 250 can be read */
        for (int k = 0; k < 25; k++) ask(&d, OVERLOAD_NEW, true, 0, OVERLOAD_LOSS);
        step(&d, 100, 25, 0);
    }
    assert_in_range(d.o.accept, OVERLOAD_ONE * 24 / 100, OVERLOAD_ONE * 26 / 100);
    uint32_t once = d.o.accept;
    for (int i = 0; i < 10; i++) { /* it takes a while until they have heard of it */
        for (int k = 0; k < 25; k++) ask(&d, OVERLOAD_NEW, true, 0, OVERLOAD_LOSS);
        step(&d, 100, 25, 0);
    }
    assert_int_equal(d.o.accept, once);
    for (int i = 0; i < 10; i++) { /* they hold back three of four, and 200 can be read */
        for (int k = 0; k < 20; k++) ask(&d, OVERLOAD_NEW, true, 0, OVERLOAD_LOSS);
        step(&d, 25, 20, 0);
    }
    /* 225 in the mean of the two seconds, of 1,000 wanted */
    assert_in_range(d.o.accept, OVERLOAD_ONE * 220 / 1000, OVERLOAD_ONE * 230 / 1000);
}

/* Many new calls in one second make few in the next one: the share follows what both bear. */
static void a_call_costs_in_the_next_second(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 10; i++) step(&d, 100, 60, 0);
    assert_in_range(d.o.accept, OVERLOAD_ONE * 59 / 100, OVERLOAD_ONE * 61 / 100);
    for (int i = 0; i < 10; i++) step(&d, 100, 70, 0); /* the cut is not seen yet */
    for (int i = 0; i < 10; i++) step(&d, 100, 20, 0);
    assert_in_range(d.o.accept, OVERLOAD_ONE * 44 / 100, OVERLOAD_ONE * 46 / 100);
}

/* A second in a container that has a fifth of a processor. */
static void second_of_a_fifth(struct desk *d, uint32_t arrived, uint32_t served, uint32_t used_ms,
                              uint32_t denied_ms) {
    for (int i = 0; i < 10; i++) {
        d->now.mono += OVERLOAD_STEP_MS;
        d->now.wall += OVERLOAD_STEP_MS;
        struct overload_measure m = { .ms = OVERLOAD_STEP_MS,
                                      .used_us = used_ms * 100,
                                      .denied_us = denied_ms * 100,
                                      .idle_us = (1000 - used_ms - denied_ms) * 100,
                                      .arrived = arrived / 10,
                                      .served = served / 10 };
        overload_measure(&d->o, &m, d->now);
    }
}

/* A quota of the processor: having slept for most of a second does not mean that most was spare. */
static void a_quota_is_all_there_is(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 9; i++) second_of_a_fifth(&d, 1000, 200, 200, 800);
    uint32_t low = d.o.accept;
    assert_in_range(low, OVERLOAD_ONE * 19 / 100, OVERLOAD_ONE * 21 / 100);
    second_of_a_fifth(&d, 150, 150, 150, 50); /* slept for 0.8 s, and a quarter was to spare */
    assert_in_range(d.o.accept, low * 127 / 100, low * 135 / 100);
    /* The quota is lifted: what is used and not denied shows it. */
    for (int i = 0; i < 20; i++) second_of_a_fifth(&d, 200, 200, 200, 0);
    assert_false(overload_is_active(&d.o));
    /* A neighbour takes most of a machine that was never short before. */
    desk_open(&d);
    for (int i = 0; i < 3; i++) second_of_a_fifth(&d, 1000, 400, 400, 600);
    assert_in_range(d.o.capacity, 390000, 410000);
    for (int i = 0; i < 9; i++) second_of_a_fifth(&d, 1000, 100, 100, 900); /* and then more */
    assert_in_range(d.o.capacity, 100000, 150000);
    for (int i = 0; i < 60; i++) /* and then nearly all: something is left to divide by */
        overload_measure(
            &d.o, &(struct overload_measure){ .ms = 1000, .used_us = 1, .denied_us = 999999 },
            d.now);
    assert_in_range(d.o.capacity, 1000, 1001);
}

/* RFC 7339 7.2: clients look at a mix of 5 to 10 s, so what they are told follows one as slow. */
static void one_second_is_no_mix(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    d.o.accept = OVERLOAD_ONE / 2;
    for (int i = 0; i < 800; i++) ask(&d, OVERLOAD_KEEP, true, 0, OVERLOAD_LOSS);
    for (int i = 0; i < 10; i++) step(&d, 0, 0, 0);
    assert_int_equal(d.o.wanted[OVERLOAD_LOSS].others, 100);
}

/* The promise is 5 s, and clients keep what they were told for OVERLOAD_VALIDITY_MS. */
static void recovers_in_time(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 100; i++) step(&d, 100, 0, 0);
    int steps = 0;
    for (; overload_is_active(&d.o) && steps < 100; steps++) step(&d, 5, 5, 50);
    assert_true(steps * OVERLOAD_STEP_MS + OVERLOAD_VALIDITY_MS <= 5000);
    /* One long sleep does the same. */
    for (int i = 0; i < 100; i++) step(&d, 100, 0, 0);
    d.now.mono += 60000;
    overload_measure(&d.o, &(struct overload_measure){ .ms = 60000, .idle_us = 60000000 }, d.now);
    assert_false(overload_is_active(&d.o));
}

static void waiting_is_its_own_shedding(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 20; i++) step(&d, 100, 10, 0);
    for (int i = 0; i < 100; i++) {
        assert_true(ask(&d, OVERLOAD_NEW, true, 100, OVERLOAD_NONE));
        assert_true(ask(&d, OVERLOAD_REFRESH, true, 60000, OVERLOAD_NONE));
        assert_true(ask(&d, OVERLOAD_KEEP, true, 60000, OVERLOAD_NONE));
        assert_false(ask(&d, OVERLOAD_NEW, true, OVERLOAD_STALE_MS, OVERLOAD_NONE));
        /* RFC 7339 7.2: a client that takes part has shed its share itself. */
        assert_true(ask(&d, OVERLOAD_NEW, false, 0, OVERLOAD_LOSS));
    }
}

static void says(struct desk *d, enum overload_algorithm a, const char *wanted) {
    char mem[OVERLOAD_TEXT_MAX];
    struct buf b = buf_over(mem, sizeof mem);
    overload_put(&d->o, a, &b);
    assert_slice(buf_slice(&b), wanted);
}

/* RFC 7339 5.1: no overload is oc=0 and oc-validity=0; 7.2: the percentage is of all requests. */
static void tells_clients(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    says(&d, OVERLOAD_NONE, "");
    says(&d, OVERLOAD_LOSS, ";oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=1700000000.000");
    uint32_t seen[5] = { 0 };
    for (int s = 0; s < 300; s++) {
        step(&d, 100, 100, 3);
        d.o.accept = OVERLOAD_ONE / 2; /* a state that holds */
        for (int i = 0; i < 10; i++) {
            ask(&d, OVERLOAD_NEW, true, 0, OVERLOAD_LOSS);
            ask(&d, OVERLOAD_KEEP, true, 0, OVERLOAD_LOSS);
            ask(&d, OVERLOAD_KEEP, true, 0, OVERLOAD_LOSS);
            ask(&d, OVERLOAD_NEW, true, 0, OVERLOAD_RATE);
            ask(&d, OVERLOAD_KEEP, true, 0, OVERLOAD_RATE);
            ask(&d, OVERLOAD_KEEP, true, 0, OVERLOAD_RATE);
        }
        for (int i = 0; i < 5; i++) overload_heard(&d.o, &seen[i]);
        for (int i = 0; i < 5; i++) overload_heard(&d.o, &seen[i]);
    }
    step(&d, 100, 100, 3);
    /* 100 new ones heard of 200 wanted, 200 others: 100 of 400 are to go. 300 served a second,
     * among five clients. */
    char mem[OVERLOAD_TEXT_MAX];
    struct buf b = buf_over(mem, sizeof mem);
    overload_put(&d.o, OVERLOAD_LOSS, &b);
    assert_true(slice_starts(buf_slice(&b),
                             SLICE(";oc=25;oc-algo=\"loss\";oc-validity=2000;oc-seq=17000000")));
    buf_clear(&b);
    overload_put(&d.o, OVERLOAD_RATE, &b);
    assert_true(slice_starts(buf_slice(&b), SLICE(";oc=60;oc-algo=\"rate\";oc-validity=2000;")));
}

/* At ten times the load a whole percent is a tenth of what may come: the mean must be exact. */
static void a_percentage_in_the_mean(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    unsigned sum = 0;
    for (int s = 0; s < 400; s++) {
        step(&d, 100, 100, 3);
        d.o.accept = OVERLOAD_ONE / 10;
        for (int i = 0; i < 10; i++) ask(&d, OVERLOAD_NEW, true, 0, OVERLOAD_LOSS);
        for (int i = 0; i < 13; i++) ask(&d, OVERLOAD_KEEP, true, 0, OVERLOAD_LOSS);
        if (s >= 300) sum += d.o.loss;
    }
    /* 100 heard of 1,000 a second, 130 others: 900 of 1,130 are to go, 79.65 of a hundred. */
    assert_in_range(sum, 7950, 7970);
}

/* RFC 7339 4.4: a later value has a higher number, also when the wall clock steps back. */
static void numbers_rise(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    wall_t last = d.o.told_at;
    uint32_t told = 0;
    for (int i = 0; i < 20; i++) {
        d.now.wall -= 5000;
        step(&d, 100, 10, 0);
        if (d.o.loss == told) continue; /* no news */
        told = d.o.loss;
        assert_true(d.o.told_at > last);
        last = d.o.told_at;
    }
    assert_true(last > 1700000000000);
}

static void chooses_an_algorithm(void **state) {
    (void)state;
    assert_int_equal(overload_algorithm(SLICE_NONE), OVERLOAD_LOSS);
    assert_int_equal(overload_algorithm(SLICE("\"loss,A\"")), OVERLOAD_LOSS);
    assert_int_equal(overload_algorithm(SLICE("\"A, rate,loss\"")), OVERLOAD_RATE);
    assert_int_equal(overload_algorithm(SLICE("loss")), OVERLOAD_LOSS);
    assert_int_equal(overload_algorithm(SLICE("\"A\"")), OVERLOAD_NONE);
    assert_int_equal(overload_algorithm(SLICE("\"")), OVERLOAD_NONE);
    assert_int_equal(overload_algorithm(SLICE("\"\"")), OVERLOAD_NONE);
}

/* Found by the simulator: seconds in which nobody came and nobody was read. */
static void a_step_without_arrivals(void **state) {
    (void)state;
    struct desk d;
    desk_open(&d);
    for (int i = 0; i < 50; i++) {
        d.now.mono += OVERLOAD_STEP_MS;
        d.now.wall += OVERLOAD_STEP_MS;
        overload_measure(
            &d.o, &(struct overload_measure){ .ms = OVERLOAD_STEP_MS, .is_unread = true }, d.now);
    }
    assert_true(overload_is_active(&d.o));
    for (int i = 0; i < 50; i++) step(&d, 20, 20, 40);
    assert_false(overload_is_active(&d.o));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_takes_all),
        cmocka_unit_test(spare_time_is_no_overload),
        cmocka_unit_test(sheds_new_work_first),
        cmocka_unit_test(all_time_used_is_overload),
        cmocka_unit_test(recovers_in_time),
        cmocka_unit_test(waiting_is_its_own_shedding),
        cmocka_unit_test(tells_clients),
        cmocka_unit_test(numbers_rise),
        cmocka_unit_test(chooses_an_algorithm),
        cmocka_unit_test(a_step_without_arrivals),
        cmocka_unit_test(a_cut_takes_a_second),
        cmocka_unit_test(a_percentage_in_the_mean),
        cmocka_unit_test(what_was_held_back_is_wanted),
        cmocka_unit_test(a_call_costs_in_the_next_second),
        cmocka_unit_test(a_quota_is_all_there_is),
        cmocka_unit_test(one_second_is_no_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
