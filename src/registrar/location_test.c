#include "unit.h"

#include "registrar/location.h"
#include <pthread.h>

#define NOW ((wall_t)1700000000000)
#define RUN 7u

static const struct hash_key key = { 1, 2 };

static struct binding_row row(uint32_t account, uint32_t bid) {
    return (struct binding_row){
        .account_id = account,
        .bid = bid,
        .flow = flow_id_make(1, bid, 3),
        .run = RUN,
        .cseq = 1,
        .q = 1000,
        .contact = SLICE("sip:alice@192.0.2.1:40000"),
        .call_id = SLICE("call"),
        .registered = NOW,
        .expires = NOW + 60000,
    };
}

static struct location *make(uint32_t max) {
    struct location *l = location_new(max, &key, RUN);
    assert_non_null(l);
    return l;
}

static unsigned find(struct location *l, uint32_t account, wall_t now, struct binding *out,
                     unsigned max) {
    static struct arena arena;
    if (!arena.max)
        arena_init(&arena, 65536);
    else
        arena_reset(&arena);
    unsigned count = 99;
    assert_ok(location_find(l, account, now, &arena, out, max, &count));
    return count;
}

static void gives_the_best_first(void **state) {
    (void)state;
    struct location *l = make(100);
    struct binding_row r = row(5, 1);
    r.q = 300;
    assert_ok(location_load(l, &r, NOW));
    r = row(5, 2);
    r.q = 700;
    assert_ok(location_load(l, &r, NOW));
    r = row(5, 3);
    r.q = 700;
    r.registered = NOW + 1; /* newer: RFC 3261 16.6 leaves the order among equals to us */
    assert_ok(location_load(l, &r, NOW));
    r = row(6, 4);
    assert_ok(location_load(l, &r, NOW));

    struct binding b[8];
    assert_int_equal(find(l, 5, NOW, b, 8), 3);
    assert_int_equal(b[0].bid, 3);
    assert_int_equal(b[1].bid, 2);
    assert_int_equal(b[2].bid, 1);
    assert_slice(b[0].contact, "sip:alice@192.0.2.1:40000");
    assert_int_equal(find(l, 5, NOW, b, 2), 2);
    assert_int_equal(b[1].bid, 2);
    assert_int_equal(find(l, 5, NOW, b, 0), 0);
    assert_int_equal(find(l, 7, NOW, b, 8), 0);
    location_free(l);
}

static void forgets_what_expired(void **state) {
    (void)state;
    struct location *l = make(100);
    struct binding_row r = row(5, 1);
    /* architecture.md section 4: 2 s of grace on what a former run stored. */
    r.expires = NOW - 2000;
    assert_err(location_load(l, &r, NOW), ERR_MISSING);
    r.expires = NOW - 1999;
    assert_ok(location_load(l, &r, NOW));
    struct binding b[2];
    assert_int_equal(find(l, 5, NOW, b, 2), 1);
    assert_int_equal(find(l, 5, NOW + 1, b, 2), 0);
    struct arena a;
    arena_init(&a, 4096);
    assert_ok(location_by_bid(l, 5, 1, NOW, &a, b));
    assert_err(location_by_bid(l, 5, 1, NOW + 1, &a, b), ERR_MISSING);
    assert_err(location_by_bid(l, 5, 2, NOW, &a, b), ERR_MISSING);
    assert_err(location_by_bid(l, 6, 1, NOW, &a, b), ERR_MISSING);
    arena_fini(&a);
    location_free(l);
}

static void a_flow_ends_with_its_run(void **state) {
    (void)state;
    struct location *l = make(100);
    struct binding_row r = row(5, 1);
    r.run = RUN - 1;
    assert_ok(location_load(l, &r, NOW));
    r = row(5, 2);
    assert_ok(location_load(l, &r, NOW));
    struct binding b[2];
    assert_int_equal(find(l, 5, NOW, b, 2), 2);
    assert_int_equal(b[0].bid, 2);
    assert_true(b[0].flow == flow_id_make(1, 2, 3));
    assert_true(b[1].flow == FLOW_NONE);
    location_free(l);
}

static void a_row_replaces_its_former(void **state) {
    (void)state;
    struct location *l = make(1000);
    struct binding_row r = row(5, 1);
    assert_ok(location_load(l, &r, NOW));
    r.contact = SLICE("sips:b@c");
    assert_ok(location_load(l, &r, NOW));
    assert_int_equal(location_count(l), 1);
    struct binding b[2];
    assert_int_equal(find(l, 5, NOW, b, 2), 1);
    assert_slice(b[0].contact, "sips:b@c");
    location_free(l);
}

static void other_schemes_are_not_routed(void **state) {
    (void)state;
    struct location *l = make(10);
    struct binding_row r = row(5, 1);
    r.contact = SLICE("mailto:a@example.org");
    assert_ok(location_load(l, &r, NOW));
    struct binding b[2];
    assert_int_equal(find(l, 5, NOW, b, 2), 0);
    assert_int_equal(location_count(l), 1);
    location_free(l);
}

static void never_holds_more_than_its_maximum(void **state) {
    (void)state;
    struct location *l = make(3);
    for (uint32_t i = 1; i <= 3; i++) {
        struct binding_row r = row(i, i);
        assert_ok(location_load(l, &r, NOW));
    }
    struct binding_row r = row(4, 4);
    assert_err(location_load(l, &r, NOW), ERR_FULL);
    location_remove_account(l, 2);
    assert_int_equal(location_count(l), 2);
    assert_ok(location_load(l, &r, NOW));
    location_free(l);
}

static void ids_tell_devices_apart(void **state) {
    (void)state;
    struct location *l = make(3);
    slice i = SLICE("urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF"), none = SLICE_NONE;
    slice c = SLICE("sip:a@b"), d = SLICE("sip:a@c");
    uint32_t bid = location_bid(l, 1, i, 0, c);
    assert_int_equal(bid, location_bid(l, 1, i, 0, d)); /* the instance counts, not the contact */
    /* RFC 8141 3.1 by way of RFC 5626 4.1: a urn:uuid compares without case. */
    assert_int_equal(
        bid, location_bid(l, 1, SLICE("urn:uuid:00000000-0000-1000-8000-aabbccddeeff"), 0, c));
    assert_int_not_equal(bid, location_bid(l, 1, i, 1, c));
    assert_int_not_equal(bid, location_bid(l, 2, i, 0, c));
    assert_int_not_equal(location_bid(l, 1, none, 0, c), location_bid(l, 1, none, 0, d));
    assert_int_equal(location_bid(l, 1, none, 0, c), location_bid(l, 1, none, 5, c));
    assert_int_not_equal(location_bid(l, 1, c, 0, none), location_bid(l, 1, none, 0, c));
    location_free(l);
}

static void finds_a_flows_own_binding(void **state) {
    (void)state;
    struct location *l = make(10);
    for (uint32_t bid = 1; bid <= 3; bid++) {
        struct binding_row r = row(5, bid);
        r.flow = flow_id_make(0, bid, 1);
        if (bid == 2) r.contact = SLICE("tel:+15551"); /* nobody is reached by that */
        assert_ok(location_load(l, &r, NOW));
    }
    assert_int_equal(location_bid_of_flow(l, 5, flow_id_make(0, 3, 1), NOW), 3);
    assert_int_equal(location_bid_of_flow(l, 5, flow_id_make(0, 2, 1), NOW), 0);
    assert_int_equal(location_bid_of_flow(l, 5, flow_id_make(0, 3, 2), NOW), 0);
    assert_int_equal(location_bid_of_flow(l, 6, flow_id_make(0, 3, 1), NOW), 0);
    assert_int_equal(location_bid_of_flow(l, 5, flow_id_make(0, 3, 1), NOW + 365 * 86400000LL), 0);
    location_free(l);
}

static void sweeps_what_expired(void **state) {
    (void)state;
    struct location *l = make(2000);
    for (uint32_t i = 1; i <= 1000; i++) {
        struct binding_row r = row(i, i);
        r.expires = NOW + (i % 2 ? 60000 : 600000);
        assert_ok(location_load(l, &r, NOW));
    }
    struct store_change out[16];
    assert_int_equal(location_sweep(l, NOW, 100000, out, 16), 0);
    assert_int_equal(location_sweep(l, NOW + 70000, 100000, out, 0), 0);
    bool seen[1001] = { false };
    unsigned total = 0, calls = 0;
    for (; calls < 10000 && total < 500; calls++) {
        unsigned n = location_sweep(l, NOW + 70000, 50, out, 16);
        for (unsigned i = 0; i < n; i++) {
            assert_int_equal(out[i].op, STORE_BINDING_REMOVE);
            assert_int_equal(out[i].durability, STORE_LAZY);
            uint32_t id = out[i].binding.bid;
            assert_true(id == out[i].binding.account_id && id % 2 && !seen[id]);
            seen[id] = true;
        }
        total += n;
    }
    assert_int_equal(total, 500);
    assert_true(calls > 50); /* the budget held it back */
    assert_int_equal(location_count(l), 500);
    assert_int_equal(location_sweep(l, NOW + 70000, 1000000, out, 16), 0);
    location_free(l);
}

static void a_sweep_goes_on_where_it_was(void **state) {
    (void)state;
    struct location *l = make(100);
    for (uint32_t i = 1; i <= 7; i++) {
        struct binding_row r = row(5, i);
        assert_ok(location_load(l, &r, NOW));
    }
    struct store_change out[3];
    assert_int_equal(location_sweep(l, NOW + 70000, 100000, out, 3), 3);
    assert_int_equal(location_sweep(l, NOW + 70000, 1, out, 3), 3); /* at once, with any budget */
    assert_int_equal(location_sweep(l, NOW + 70000, 1, out, 3), 1);
    assert_int_equal(location_count(l), 0);
    location_free(l);
}

static bool count_rows(void *ctx, const struct binding_row *r) {
    unsigned *left = ctx;
    assert_slice(r->call_id, "call");
    return --*left > 0;
}

static void shows_its_rows(void **state) {
    (void)state;
    struct location *l = make(2000);
    for (uint32_t i = 1; i <= 100; i++) {
        struct binding_row r = row(i / 10 + 1, i);
        if (i % 10 == 3) r.expires = NOW + 1;
        assert_ok(location_load(l, &r, NOW));
    }
    unsigned left = 1000;
    location_each(l, 0, NOW + 3000, count_rows, &left);
    assert_int_equal(1000 - left, 90);
    left = 1000;
    location_each(l, 3, NOW + 3000, count_rows, &left);
    assert_int_equal(1000 - left, 9);
    left = 5;
    location_each(l, 0, NOW + 3000, count_rows, &left);
    assert_int_equal(left, 0);
    location_free(l);
}

static void finds_each_of_many(void **state) {
    (void)state;
    enum { MANY = 50000 };
    struct location *l = make(MANY);
    for (uint32_t i = 1; i <= MANY; i++) {
        struct binding_row r = row(i, i ^ 0x55u);
        assert_ok(location_load(l, &r, NOW));
    }
    assert_int_equal(location_count(l), MANY);
    struct binding b[2];
    for (uint32_t i = 1; i <= MANY; i++) {
        assert_int_equal(find(l, i, NOW, b, 2), 1);
        assert_int_equal(b[0].bid, i ^ 0x55u);
    }
    for (uint32_t i = 1; i <= MANY; i += 2) location_remove_account(l, i);
    assert_int_equal(location_count(l), MANY / 2);
    for (uint32_t i = 1; i <= MANY; i++) assert_int_equal(find(l, i, NOW, b, 2), 1 - i % 2);
    location_free(l);
}

static enum err live_a_little(void *ctx) {
    struct location *l = location_new(5000, &key, RUN);
    if (!l) return ERR_MEMORY;
    struct arena a;
    arena_init(&a, 4096);
    const uint32_t *accounts = ctx;
    enum err err = ERR_OK;
    for (uint32_t i = 1; i <= *accounts && err == ERR_OK; i++) {
        struct binding_row r = row(i % 2 ? 9 : i, i);
        err = location_load(l, &r, NOW);
    }
    struct binding b;
    unsigned count;
    if (err == ERR_OK) err = location_find(l, 9, NOW, &a, &b, 1, &count);
    arena_fini(&a);
    location_free(l);
    return err;
}

static void survives_short_memory(void **state) {
    (void)state;
    /* 300 accounts take all kinds of allocation but growth; 4096 grow the shards as well. */
    uint32_t few = 300, many = 4096;
    assert_true(unit_oom_ctx(live_a_little, &few) > 500);
    for (int n = 0; n < 5000; n += 97) {
        int64_t base = mem_live();
        mem_fail_at(n);
        enum err err = live_a_little(&many);
        assert_int_equal(mem_live(), base);
        assert_true(err == ERR_OK || (mem_failed() && err == ERR_MEMORY));
        mem_fail_at(-1);
    }
}

static void a_full_arena_is_said(void **state) {
    (void)state;
    struct location *l = make(10);
    struct binding_row r = row(5, 1);
    assert_ok(location_load(l, &r, NOW));
    struct arena a;
    arena_init(&a, 8);
    struct binding b;
    unsigned count = 9;
    assert_err(location_find(l, 5, NOW, &a, &b, 1, &count), ERR_MEMORY);
    assert_int_equal(count, 0);
    arena_fini(&a);
    location_free(l);
}

struct runner {
    struct location *l;
    uint32_t first;
};

static void *run_alone(void *ctx) {
    struct runner *r = ctx;
    struct arena a;
    arena_init(&a, 4096);
    for (uint32_t i = 0; i < 20000; i++) {
        struct binding_row one = row(r->first + i % 100, i % 7 + 1);
        struct binding b[4];
        struct store_change gone[4];
        unsigned count;
        one.expires = NOW + i;
        enum err err = location_load(r->l, &one, NOW);
        arena_reset(&a);
        if (err == ERR_OK || err == ERR_FULL)
            err = location_find(r->l, one.account_id, NOW + i / 2, &a, b, 4, &count);
        if (err != ERR_OK) {
            arena_fini(&a);
            return NULL;
        }
        if (i % 64 == 0) (void)location_sweep(r->l, NOW + i, 50, gone, 4);
    }
    arena_fini(&a);
    return r;
}

static void threads_share_it(void **state) {
    (void)state;
    struct location *l = make(500);
    struct runner r[4];
    pthread_t t[4];
    for (unsigned i = 0; i < 4; i++) {
        r[i] = (struct runner){ l, 1 + i * 50 };
        assert_int_equal(pthread_create(&t[i], NULL, run_alone, &r[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        void *ok;
        assert_int_equal(pthread_join(t[i], &ok), 0);
        assert_non_null(ok);
    }
    assert_true(location_count(l) <= 500);
    location_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_best_first),
        cmocka_unit_test(forgets_what_expired),
        cmocka_unit_test(a_flow_ends_with_its_run),
        cmocka_unit_test(a_row_replaces_its_former),
        cmocka_unit_test(other_schemes_are_not_routed),
        cmocka_unit_test(never_holds_more_than_its_maximum),
        cmocka_unit_test(ids_tell_devices_apart),
        cmocka_unit_test(finds_a_flows_own_binding),
        cmocka_unit_test(sweeps_what_expired),
        cmocka_unit_test(a_sweep_goes_on_where_it_was),
        cmocka_unit_test(shows_its_rows),
        cmocka_unit_test(finds_each_of_many),
        cmocka_unit_test(survives_short_memory),
        cmocka_unit_test(a_full_arena_is_said),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
