#include "unit.h"

#include "os/loop.h"
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

struct probe {
    struct loop_source source;
    struct loop *loop;
    struct probe *victim; /* removed from the loop when this one is served */
    int *order;
    int number, calls;
    unsigned events;
};

static void on_probe(struct loop_source *s, unsigned events) {
    struct probe *p = LIST_ITEM(s, struct probe, source);
    p->calls++;
    p->events = events;
    if (p->order) p->order[p->order[0]++] = p->number;
    if (p->victim) loop_del(p->loop, &p->victim->source);
}

static void probe_open(struct probe *p, struct loop *l, int fd, unsigned interest) {
    p->loop = l;
    p->source = (struct loop_source){ .on_ready = on_probe, .fd = fd };
    assert_ok(loop_add(l, &p->source, interest));
}

static void turn(struct loop *l, unsigned later) {
    struct loop_shares shares = { .next = 9, .later = later, .last = 9 };
    loop_prepare_sleep(l);
    assert_ok(loop_wait(l, 0));
    loop_dispatch(l, &shares);
}

static void tells_what_is_ready(void **state) {
    (void)state;
    struct loop *l;
    int fds[2];
    struct probe in = { 0 }, out = { 0 };
    assert_ok(loop_new(&l));
    assert_int_equal(pipe(fds), 0);
    probe_open(&in, l, fds[0], LOOP_READ);
    probe_open(&out, l, fds[1], 0);
    turn(l, 9);
    assert_int_equal(in.calls + out.calls, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    turn(l, 9);
    turn(l, 9); /* level-triggered: it was not read */
    assert_int_equal(in.calls, 2);
    assert_int_equal(in.events, LOOP_READ);
    assert_int_equal(out.calls, 0);
    assert_ok(loop_mod(l, &out.source, LOOP_WRITE));
    turn(l, 9);
    assert_int_equal(out.events, LOOP_WRITE);
    loop_del(l, &out.source);
    loop_del(l, &out.source); /* twice is once */
    close(fds[1]);
    turn(l, 9);
    assert_int_equal(in.events, LOOP_READ | LOOP_BROKEN);
    loop_del(l, &in.source);
    close(fds[0]);
    loop_free(l);
}

static void first_before_later_within_budget(void **state) {
    (void)state;
    struct loop *l;
    int fds[6][2], order[16] = { 1 };
    struct probe p[6] = { 0 };
    assert_ok(loop_new(&l));
    for (int i = 0; i < 6; i++) {
        assert_int_equal(pipe(fds[i]), 0);
        assert_int_equal(write(fds[i][1], "x", 1), 1);
        p[i].order = order;
        p[i].number = i;
        probe_open(&p[i], l, fds[i][0], LOOP_READ);
        p[i].source.rank = i < 4 ? LOOP_LATER : LOOP_FIRST;
    }
    turn(l, 2);
    assert_int_equal(order[0], 5); /* two first, two later */
    assert_true(order[1] >= 4 && order[2] >= 4);
    assert_true(order[3] < 4 && order[4] < 4);
    order[0] = 1;
    turn(l, 16);
    assert_int_equal(order[0], 7); /* the rest was not forgotten */
    for (int i = 0; i < 6; i++) {
        loop_del(l, &p[i].source);
        close(fds[i][0]);
        close(fds[i][1]);
    }
    loop_free(l);
}

static void removed_ones_are_not_served(void **state) {
    (void)state;
    struct loop *l;
    int fds[2][2];
    struct probe p[2] = { 0 };
    assert_ok(loop_new(&l));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pipe(fds[i]), 0);
        assert_int_equal(write(fds[i][1], "x", 1), 1);
        probe_open(&p[i], l, fds[i][0], LOOP_READ);
        p[i].victim = &p[1 - i];
    }
    turn(l, 9); /* whichever comes first removes the other */
    assert_int_equal(p[0].calls + p[1].calls, 1);
    for (int i = 0; i < 2; i++) {
        loop_del(l, &p[i].source);
        close(fds[i][0]);
        close(fds[i][1]);
    }
    loop_free(l);
}

struct pipes {
    struct loop *l;
    int fds[8][2], order[32];
    struct probe p[8];
};

static void pipes_open(struct pipes *s) {
    *s = (struct pipes){ .order = { 1 } };
    assert_ok(loop_new(&s->l));
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pipe(s->fds[i]), 0);
        s->p[i] = (struct probe){ .loop = s->l, .order = s->order, .number = i };
        s->p[i].source = (struct loop_source){
            .on_ready = on_probe, .fd = s->fds[i][0], .rank = LOOP_NEXT, .is_edge = true
        };
        assert_ok(loop_add(s->l, &s->p[i].source, LOOP_READ));
    }
}

static void pipes_say(struct pipes *s, int i) {
    assert_int_equal(write(s->fds[i][1], "x", 1), 1);
    loop_prepare_sleep(s->l);
    assert_ok(loop_wait(s->l, 0));
}

static void pipes_close(struct pipes *s) {
    for (int i = 0; i < 8; i++) {
        loop_del(s->l, &s->p[i].source);
        close(s->fds[i][0]);
        close(s->fds[i][1]);
    }
    loop_free(s->l);
}

static void edges_are_told_once(void **state) {
    (void)state;
    struct pipes s;
    pipes_open(&s);
    pipes_say(&s, 0);
    turn(s.l, 9);
    turn(s.l, 9); /* not read, and not told again */
    assert_int_equal(s.p[0].calls, 1);
    assert_false(loop_is_busy(s.l));
    loop_again(s.l, &s.p[0].source);
    assert_true(loop_is_busy(s.l));
    turn(s.l, 9);
    assert_int_equal(s.p[0].calls, 2);
    close(s.fds[0][1]);
    turn(s.l, 9);
    assert_int_equal(s.p[0].calls, 3);
    assert_true(s.p[0].events & LOOP_ENDING);
    s.fds[0][1] = -1;
    pipes_close(&s);
}

/* Under overload: the young before the old, but not for ever. */
static void the_young_go_first(void **state) {
    (void)state;
    struct pipes s;
    pipes_open(&s);
    for (int i = 0; i < 6; i++) pipes_say(&s, i);
    struct loop_shares shares = { .next = 2, .old_every = 2, .old_ms = 1000 };
    loop_dispatch(s.l, &shares);
    assert_int_equal(s.order[0], 3); /* nobody is old yet */
    assert_int_equal(s.order[1], 5);
    assert_int_equal(s.order[2], 4);
    s.p[0].source.since_ms -= 2000;
    assert_true(loop_waited_ms(&s.p[0].source, clock_mono()) >= 2000);
    pipes_say(&s, 6);
    loop_dispatch(s.l, &shares);
    assert_int_equal(s.order[3], 6);
    assert_int_equal(s.order[4], 3);
    assert_int_equal(s.order[5], 0);
    assert_int_equal(loop_counters(s.l)->waiting[LOOP_NEXT], 2);
    assert_int_equal(loop_counters(s.l)->next_in, 7);
    assert_int_equal(loop_counters(s.l)->next_out, 4); /* nobody waits for the old one any more */
    pipes_close(&s);
}

/* Who has waited for too long and is ready once more comes after the young and before the old. */
static void who_tries_again_is_served(void **state) {
    (void)state;
    struct pipes s;
    pipes_open(&s);
    struct loop_shares none = { .old_every = 100, .old_ms = 1000 };
    struct loop_shares shares = { .next = 1, .old_every = 100, .old_ms = 1000 };
    loop_dispatch(s.l, &none);
    for (int i = 0; i < 4; i++) pipes_say(&s, i);
    for (int i = 0; i < 4; i++) s.p[i].source.since_ms -= 2000;
    pipes_say(&s, 1);
    pipes_say(&s, 0);
    pipes_say(&s, 4);
    assert_int_equal(loop_counters(s.l)->waiting[LOOP_NEXT], 5);
    static const int wanted[] = { 4, 0, 1, 3, 2 };
    for (int i = 0; i < 5; i++) {
        loop_dispatch(s.l, &shares);
        assert_int_equal(s.order[i + 1], wanted[i]);
    }
    assert_true(loop_waited_ms(&s.p[0].source, clock_mono()) >= 2000);
    assert_true(loop_quiet_ms(&s.p[0].source, clock_mono()) < 2000);
    assert_false(loop_is_busy(s.l));
    assert_int_equal(loop_counters(s.l)->next_in, 5);
    assert_int_equal(loop_counters(s.l)->next_out, 1); /* those who tried again were counted once */
    pipes_close(&s);
}

/* The share of the old is for whoever has been quiet for the longest time. */
static void the_quietest_is_the_oldest(void **state) {
    (void)state;
    struct pipes s;
    pipes_open(&s);
    struct loop_shares shares = { .next = 1, .old_every = 1, .old_ms = 1000 };
    loop_dispatch(s.l, &shares);
    for (int i = 0; i < 3; i++) pipes_say(&s, i);
    for (int i = 0; i < 3; i++) s.p[i].source.since_ms -= 5000;
    pipes_say(&s, 0);
    s.p[0].source.again_ms -= 6000; /* gave up again, before the others came */
    pipes_say(&s, 3);
    loop_dispatch(s.l, &shares);
    loop_dispatch(s.l, &shares);
    static const int wanted[] = { 3, 0, 2, 1 };
    for (int i = 0; i < 4; i++) assert_int_equal(s.order[i + 1], wanted[i]);
    pipes_close(&s);
}

/* Whoever is in a call has the more of a turn, but never all of it. */
static void the_first_have_their_share(void **state) {
    (void)state;
    struct pipes s;
    pipes_open(&s);
    struct loop_shares shares = { .next = 3, .next_share = 2 };
    for (int i = 0; i < 4; i++) s.p[i].source.rank = LOOP_FIRST;
    for (int i = 0; i < 8; i++) pipes_say(&s, i);
    loop_dispatch(s.l, &shares);
    assert_int_equal(loop_counters(s.l)->next_out, 2); /* one for two of four */
    pipes_say(&s, 0);
    loop_dispatch(s.l, &shares);
    assert_int_equal(loop_counters(s.l)->next_out, 3); /* one at least */
    for (int i = 4; i < 8; i++) pipes_say(&s, i);
    loop_dispatch(s.l, &shares);
    assert_int_equal(loop_counters(s.l)->next_out, 6); /* nobody goes first: all that are allowed */
    pipes_close(&s);
}

static uint8_t rank_of_the_day;
static uint8_t rank_today(const struct loop_source *s) {
    (void)s;
    return rank_of_the_day;
}

/* Whoever gets into a call while he waits is served before the others. */
static void a_rank_may_change(void **state) {
    (void)state;
    struct pipes s;
    pipes_open(&s);
    s.p[0].source.rank_now = rank_today;
    rank_of_the_day = LOOP_NEXT;
    for (int i = 0; i < 4; i++) pipes_say(&s, i);
    rank_of_the_day = LOOP_FIRST;
    loop_rank_changed(s.l, &s.p[0].source);
    struct loop_shares none = { 0 };
    loop_dispatch(s.l, &none);
    assert_int_equal(s.order[0], 2);
    assert_int_equal(s.order[1], 0);
    pipes_close(&s);
}

static void *wake_it(void *loop) {
    loop_wake(loop);
    return NULL;
}

static void wakes_from_another_thread(void **state) {
    (void)state;
    struct loop *l;
    assert_ok(loop_new(&l));
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        loop_prepare_sleep(l); /* a wake at any time from here on ends the wait */
        assert_int_equal(pthread_create(&thread, NULL, wake_it, l), 0);
        assert_ok(loop_wait(l, 60000));
        loop_dispatch(l, &(struct loop_shares){ .next = 9 });
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    loop_wake(l); /* awake: costs nothing and leaves nothing behind */
    mono_t before = clock_mono();
    loop_prepare_sleep(l);
    assert_ok(loop_wait(l, 20));
    assert_true(clock_mono() - before >= 19);
    loop_free(l);
}

static void waits_are_rounded_and_bounded(void **state) {
    (void)state;
    assert_int_equal(clock_wait_ms(100, MONO_NEVER), -1);
    assert_int_equal(clock_wait_ms(100, 100), 0);
    assert_int_equal(clock_wait_ms(100, 50), 0);
    assert_int_equal(clock_wait_ms(100, 101), 1);
    assert_true(clock_wait_ms(0, INT64_C(1) << 40) > 1000000);
    struct now now = clock_now();
    assert_true(now.mono > 0 && now.wall > INT64_C(1600000000000));
}

static atomic_bool spinning;

static void *spin(void *unused) {
    (void)unused;
    while (atomic_load(&spinning)) {}
    return NULL;
}

/* Two threads on one processor: each is denied what the other one uses. A minute is far more than
 * it takes; the first time that both numbers have risen ends it. */
static void the_kernel_tells_what_it_denied(void **state) {
    (void)state;
    struct loop *l;
    cpu_set_t all, one;
    pthread_t other;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &all)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_ok(loop_new(&l));
    atomic_store(&spinning, true);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0); /* a new thread has it too */
    assert_int_equal(pthread_create(&other, NULL, spin, NULL), 0);
    loop_account(l);
    const struct loop_counters before = *loop_counters(l), *now = loop_counters(l);
    mono_t until = clock_mono() + 60000;
    do {
        loop_account(l);
    } while (clock_mono() < until &&
             (now->used_us < before.used_us + 1000 || now->denied_us < before.denied_us + 1000));
    atomic_store(&spinning, false);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_true(now->used_us >= before.used_us + 1000);
    assert_true(now->denied_us >= before.denied_us + 1000);
    loop_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_is_ready),
        cmocka_unit_test(first_before_later_within_budget),
        cmocka_unit_test(removed_ones_are_not_served),
        cmocka_unit_test(edges_are_told_once),
        cmocka_unit_test(the_young_go_first),
        cmocka_unit_test(who_tries_again_is_served),
        cmocka_unit_test(the_quietest_is_the_oldest),
        cmocka_unit_test(the_first_have_their_share),
        cmocka_unit_test(a_rank_may_change),
        cmocka_unit_test(wakes_from_another_thread),
        cmocka_unit_test(waits_are_rounded_and_bounded),
        cmocka_unit_test(the_kernel_tells_what_it_denied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
