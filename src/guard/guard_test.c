#include "unit.h"

#include "guard/guard.h"

static const struct hash_key key = { 5, 6 };

static struct addr v4(uint32_t n) {
    struct addr a = { .family = ADDR_V4, .port = (uint16_t)n };
    a.ip[0] = 10;
    a.ip[1] = (uint8_t)(n >> 16);
    a.ip[2] = (uint8_t)(n >> 8);
    a.ip[3] = (uint8_t)n;
    return a;
}

static struct addr ip(const char *text) {
    struct addr a;
    assert_ok(addr_read_ip(slice_str(text), &a));
    return a;
}

static struct guard *make(uint32_t places) {
    struct guard_limits l;
    guard_limits_defaults(&l);
    l.sources_max = l.accounts_max = places;
    struct guard *g = guard_new(&l, &key, 0);
    assert_non_null(g);
    return g;
}

static void fail_times(struct guard *g, struct addr a, unsigned times, mono_t now) {
    for (unsigned i = 0; i < times; i++) guard_auth_failed(g, &a, now);
}

static void failures_end_in_a_ban(void **state) {
    (void)state;
    struct guard *g = make(64);
    struct addr a = v4(1), b = v4(2);
    fail_times(g, a, 30, 0);
    assert_true(guard_may_auth(g, &a, 0));
    fail_times(g, a, 1, 0);
    assert_false(guard_may_auth(g, &a, 0));
    assert_int_equal(guard_request(g, &a, false, 0), GUARD_DROP);
    assert_int_equal(guard_request(g, &a, true, 0), GUARD_OK); /* who is in stays in */
    assert_int_equal(guard_connection(g, &a, 0), GUARD_OK);
    assert_int_equal(guard_wait_s(g, &a, 0), 10);
    assert_true(guard_may_auth(g, &b, 0));
    assert_false(guard_may_auth(g, &a, 9999));
    assert_true(guard_may_auth(g, &a, 10000));
    assert_int_equal(guard_request(g, &a, false, 10000), GUARD_OK);
    struct guard_state st;
    guard_state(g, 9999, &st);
    assert_int_equal(st.banned, 1);
    guard_state(g, 10000, &st);
    assert_int_equal(st.banned, 0);
    assert_int_equal(st.sources, 1);
    guard_free(g);
}

static void thirty_a_minute_are_forgiven(void **state) {
    (void)state;
    struct guard *g = make(64);
    struct addr a = v4(1);
    /* Somebody's phone with an old password, for a whole day. */
    for (mono_t now = 0; now < 86400000; now += 2000) {
        guard_auth_failed(g, &a, now);
        assert_true(guard_may_auth(g, &a, now));
    }
    guard_free(g);
}

static void bans_grow_and_shrink(void **state) {
    (void)state;
    struct guard *g = make(64);
    struct addr a = v4(1);
    static const uint32_t lengths[] = { 10, 20, 40, 80, 160, 320, 640, 900, 900 };
    mono_t now = 0;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        fail_times(g, a, 30, now);
        assert_true(guard_may_auth(g, &a, now)); /* the budget is whole again after a ban */
        fail_times(g, a, 1, now);
        assert_int_equal(guard_wait_s(g, &a, now), lengths[i]);
        now += lengths[i] * 1000;
        assert_true(guard_may_auth(g, &a, now));
    }
    now += 5 * 900 * 1000; /* seven strikes less five: the third ban again */
    fail_times(g, a, 31, now);
    assert_int_equal(guard_wait_s(g, &a, now), 40);
    guard_forgive(g, &a);
    assert_true(guard_may_auth(g, &a, now));
    fail_times(g, a, 31, now);
    assert_int_equal(guard_wait_s(g, &a, now), 10);
    guard_free(g);
}

static void success_widens_but_does_not_wash(void **state) {
    (void)state;
    struct guard *g = make(64);
    struct addr a = v4(1);
    guard_auth_ok(g, &a, 0);
    fail_times(g, a, 120, 0);
    assert_true(guard_may_auth(g, &a, 0));
    guard_auth_ok(g, &a, 0);
    fail_times(g, a, 1, 0);
    assert_false(guard_may_auth(g, &a, 0));
    guard_auth_ok(g, &a, 0);
    assert_false(guard_may_auth(g, &a, 0));
    fail_times(g, a, 31, 3600000); /* an hour later it is a stranger again */
    assert_false(guard_may_auth(g, &a, 3600000));
    guard_free(g);
}

static void sources_are_what_one_party_holds(void **state) {
    (void)state;
    struct guard *g = make(64);
    struct addr a = ip("2001:db8:1:2::1"), b = ip("2001:db8:1:2:ffff::9"),
                c = ip("2001:db8:1:3::1");
    fail_times(g, a, 31, 0);
    assert_false(guard_may_auth(g, &b, 0));
    assert_true(guard_may_auth(g, &c, 0));
    struct addr d = ip("192.0.2.1"), e = ip("::ffff:192.0.2.1"), f = ip("192.0.2.2");
    d.port = 5;
    fail_times(g, d, 31, 0);
    assert_false(guard_may_auth(g, &e, 0));
    d.port = 6;
    assert_false(guard_may_auth(g, &d, 0));
    assert_true(guard_may_auth(g, &f, 0));
    /* Loopback: the same rules, higher figures. */
    struct addr h = ip("127.0.0.1"), i = ip("::1"), j = ip("::ffff:127.0.0.1");
    fail_times(g, h, 3000, 0);
    assert_true(guard_may_auth(g, &h, 0));
    fail_times(g, j, 1, 0);
    assert_false(guard_may_auth(g, &h, 0));
    fail_times(g, i, 3000, 0);
    assert_true(guard_may_auth(g, &i, 0));
    guard_free(g);
}

static void requests_are_slowed_then_dropped(void **state) {
    (void)state;
    struct guard *g = make(64);
    struct addr a = v4(1);
    for (int i = 0; i < 400; i++) assert_int_equal(guard_request(g, &a, false, 0), GUARD_OK);
    for (int i = 0; i < 400; i++) assert_int_equal(guard_request(g, &a, false, 0), GUARD_SLOW_DOWN);
    assert_int_equal(guard_wait_s(g, &a, 0), 1); /* 20 a second leak out */
    assert_int_equal(guard_request(g, &a, false, 0), GUARD_DROP);
    assert_int_equal(guard_request(g, &a, true, 0), GUARD_OK);
    assert_int_equal(guard_request(g, &a, false, 49), GUARD_DROP);
    assert_int_equal(guard_request(g, &a, false, 50), GUARD_OK);
    assert_int_equal(guard_request(g, &a, false, 50), GUARD_SLOW_DOWN);
    assert_int_equal(guard_request(g, &a, false, 50), GUARD_DROP);
    assert_int_equal(guard_wait_s(g, &a, 100000), 1);
    guard_free(g);
}

static void connections_are_counted(void **state) {
    (void)state;
    struct guard *g = make(64);
    struct addr a = v4(1);
    for (int i = 0; i < 200; i++) assert_int_equal(guard_connection(g, &a, 0), GUARD_OK);
    assert_int_equal(guard_connection(g, &a, 0), GUARD_DROP);
    assert_int_equal(guard_connection(g, &a, 99), GUARD_DROP);
    assert_int_equal(guard_connection(g, &a, 100), GUARD_OK);
    assert_int_equal(guard_request(g, &a, false, 100), GUARD_OK);
    guard_free(g);
}

static void the_longest_unheard_gives_way(void **state) {
    (void)state;
    struct guard *g = make(8); /* one set */
    for (uint32_t i = 1; i <= 8; i++) fail_times(g, v4(i), 30, (mono_t)i);
    struct addr first = v4(1), last = v4(8), late = v4(9);
    guard_auth_failed(g, &late, 9); /* takes the place of the first one */
    guard_auth_failed(g, &last, 9);
    assert_false(guard_may_auth(g, &last, 9)); /* its thirty were remembered */
    fail_times(g, first, 30, 9);
    assert_true(guard_may_auth(g, &first, 9)); /* its thirty were not */
    guard_free(g);
}

static void a_clock_that_steps_back_gives_nothing_away(void **state) {
    (void)state;
    struct guard *g = make(64);
    struct addr a = v4(1);
    for (int i = 0; i < 400; i++) assert_int_equal(guard_request(g, &a, false, 1000), GUARD_OK);
    assert_int_equal(guard_request(g, &a, false, 500), GUARD_SLOW_DOWN);
    guard_free(g);
}

static void accounts_have_their_own(void **state) {
    (void)state;
    struct guard *g = make(64);
    for (int i = 0; i < 500; i++) assert_int_equal(guard_account(g, 7, 0), GUARD_OK);
    assert_int_equal(guard_account(g, 7, 0), GUARD_SLOW_DOWN);
    assert_int_equal(guard_account(g, 8, 0), GUARD_OK);
    assert_int_equal(guard_account(g, 7, 20), GUARD_OK);
    assert_int_equal(guard_account(g, 7, 20), GUARD_SLOW_DOWN);
    guard_free(g);
}

static void domains_are_not_accounts(void **state) {
    (void)state;
    struct guard *g = make(64);
    for (int i = 0; i < 5000; i++) assert_int_equal(guard_domain(g, 7, 0), GUARD_OK);
    assert_int_equal(guard_domain(g, 7, 0), GUARD_SLOW_DOWN);
    assert_int_equal(guard_account(g, 7, 0), GUARD_OK);
    assert_int_equal(guard_domain(g, 8, 0), GUARD_OK);
    assert_int_equal(guard_domain(g, 7, 2), GUARD_OK);
    guard_free(g);
}

static void a_flood_does_not_wash_a_ban_away(void **state) {
    (void)state;
    struct guard *g = make(256);
    struct addr bad = v4(1);
    fail_times(g, bad, 31, 0);
    /* A hundred times as many sources as there are places, each seen a few times. */
    for (uint32_t i = 2; i < 25600; i++) {
        struct addr a = v4(i);
        fail_times(g, a, 3, 1);
        (void)guard_request(g, &a, false, 1);
    }
    assert_false(guard_may_auth(g, &bad, 1));
    struct guard_state st;
    guard_state(g, 1, &st);
    assert_int_equal(st.sources, 256);
    assert_int_equal(st.banned, 1);
    guard_free(g);
}

static void bans_everywhere_leave_a_common_budget(void **state) {
    (void)state;
    struct guard *g = make(8); /* one set */
    for (uint32_t i = 1; i <= 8; i++) fail_times(g, v4(i), 31, 0);
    struct guard_state st;
    guard_state(g, 0, &st);
    assert_int_equal(st.banned, 8);
    /* Newcomers are still served, out of one bucket, and none of them can be banned. */
    for (uint32_t i = 0; i < 400; i++) {
        struct addr a = v4(100 + i);
        assert_int_equal(guard_request(g, &a, false, 0), GUARD_OK);
        guard_auth_failed(g, &a, 0);
        assert_true(guard_may_auth(g, &a, 0));
    }
    struct addr late = v4(1000), first = v4(1);
    assert_int_equal(guard_request(g, &late, false, 0), GUARD_SLOW_DOWN);
    assert_false(guard_may_auth(g, &first, 0));
    /* When the bans end, places are given away again. */
    assert_int_equal(guard_request(g, &late, false, 10000), GUARD_OK);
    fail_times(g, late, 31, 10000);
    assert_false(guard_may_auth(g, &late, 10000));
    guard_free(g);
}

/* Whatever happens: no more than burst + rate * time passes, nearly that much does pass for one who
 * asks all the time, and who waits as told is welcome. */
static void no_more_than_the_budget_passes(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        uint64_t r = seed;
        struct guard_limits l;
        guard_limits_defaults(&l);
        l.sources_max = 64;
        l.source.requests =
            (struct guard_budget){ 60 + unit_below(&r, 600), 1 + unit_below(&r, 50) };
        struct guard *g = guard_new(&l, &key, 0);
        assert_non_null(g);
        struct addr a = v4(1);
        mono_t now = 1000, from = now;
        uint64_t passed = 0;
        for (int i = 0; i < 3000; i++) {
            now += unit_below(&r, 8) ? unit_below(&r, 30) : unit_below(&r, 3000);
            if (guard_request(g, &a, false, now) == GUARD_OK) passed++;
            uint64_t most = l.source.requests.burst +
                            (uint64_t)(now - from) * l.source.requests.per_min / 60000;
            assert_true(passed <= most);
        }
        assert_true(passed > 500);
        mono_t later = now + (mono_t)guard_wait_s(g, &a, now) * 1000;
        assert_int_equal(guard_request(g, &a, false, later), GUARD_OK);
        guard_free(g);
    }
}

static enum err make_one(void *ctx) {
    (void)ctx;
    struct guard_limits l;
    guard_limits_defaults(&l);
    struct guard *g = guard_new(&l, &key, 0);
    if (!g) return ERR_MEMORY;
    guard_free(g);
    return ERR_OK;
}

static void short_memory(void **state) {
    (void)state;
    assert_int_equal(unit_oom(make_one), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_end_in_a_ban),
        cmocka_unit_test(thirty_a_minute_are_forgiven),
        cmocka_unit_test(bans_grow_and_shrink),
        cmocka_unit_test(success_widens_but_does_not_wash),
        cmocka_unit_test(sources_are_what_one_party_holds),
        cmocka_unit_test(requests_are_slowed_then_dropped),
        cmocka_unit_test(connections_are_counted),
        cmocka_unit_test(the_longest_unheard_gives_way),
        cmocka_unit_test(a_clock_that_steps_back_gives_nothing_away),
        cmocka_unit_test(accounts_have_their_own),
        cmocka_unit_test(domains_are_not_accounts),
        cmocka_unit_test(a_flood_does_not_wash_a_ban_away),
        cmocka_unit_test(bans_everywhere_leave_a_common_budget),
        cmocka_unit_test(no_more_than_the_budget_passes),
        cmocka_unit_test(short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
