#include "unit.h"

#include "proxy/dialogs.h"

static const struct hash_key key = { 1, 2 };

static struct dialog sample(void) {
    return (struct dialog){
        .call_id = SLICE("c1@host"),
        .is_early = true,
        .leg = { { .flow = 7,
                   .account_id = 1,
                   .bid = 11,
                   .cseq = 1,
                   .party = SLICE("<sip:a@x>;tag=1"),
                   .target = SLICE("sip:a@192.0.2.1"),
                   .recorded = SLICE("") },
                 { .flow = 8,
                   .account_id = 2,
                   .bid = 22,
                   .party = SLICE("<sip:b@x>;tag=2"),
                   .target = SLICE("sip:b@192.0.2.2"),
                   .recorded = SLICE("<sip:p@x;lr>") } },
    };
}

static void what_was_put_comes_back(void **state) {
    (void)state;
    struct dialogs *d = dialogs_new(100, &key, NULL, NULL);
    assert_non_null(d);
    struct arena arena;
    arena_init(&arena, 65536);
    struct dialog in = sample(), out;
    uint64_t k = dialogs_key(d, 99, SLICE("2"));
    assert_err(dialogs_get(d, k, &arena, &out), ERR_MISSING);
    assert_ok(dialogs_put(d, k, &in, 1000));
    assert_ok(dialogs_get(d, k, &arena, &out));
    assert_slice(out.call_id, "c1@host");
    assert_slice(out.leg[SIDE_CALLEE].recorded, "<sip:p@x;lr>");
    assert_slice(out.leg[SIDE_CALLER].target, "sip:a@192.0.2.1");
    assert_true(out.is_early);
    assert_int_equal(dialogs_count(d), 1);
    dialogs_confirm(d, k, 1000);
    assert_ok(dialogs_get(d, k, &arena, &out));
    assert_false(out.is_early);
    dialogs_remove(d, k);
    dialogs_remove(d, k);
    assert_int_equal(dialogs_count(d), 0);
    arena_fini(&arena);
    dialogs_free(d);
}

/* RFC 3261 12.2.1.1: a later request has a higher CSeq; 12.2.2: a new Contact is the new target. */
static void requests_raise_cseq_and_move_the_target(void **state) {
    (void)state;
    struct dialogs *d = dialogs_new(100, &key, NULL, NULL);
    assert_non_null(d);
    struct arena arena;
    arena_init(&arena, 65536);
    struct dialog in = sample(), out;
    assert_ok(dialogs_put(d, 5, &in, 0));
    dialogs_seen(d, 5, SIDE_CALLER, 10, SLICE("sip:a@198.51.100.7"), 1);
    dialogs_seen(d, 5, SIDE_CALLER, 4, SLICE_NONE, 2);
    dialogs_seen(d, 5, SIDE_CALLEE, 3, SLICE_NONE, 2);
    assert_ok(dialogs_get(d, 5, &arena, &out));
    assert_int_equal(out.leg[SIDE_CALLER].cseq, 10);
    assert_int_equal(out.leg[SIDE_CALLEE].cseq, 3);
    assert_slice(out.leg[SIDE_CALLER].target, "sip:a@198.51.100.7");
    assert_slice(out.leg[SIDE_CALLER].party, "<sip:a@x>;tag=1");
    arena_fini(&arena);
    dialogs_free(d);
}

#define SILENCE_MS 100000
#define GONE_MS    300
static flow_id living; /* the one flow that is open */

static bool lives(void *ctx, const struct dialog_leg *leg) {
    (void)ctx;
    return leg->flow == living;
}

static unsigned sweep_at(struct dialogs *d, mono_t now) {
    struct dialogs_sweep s = {
        .now = now, .silence_ms = SILENCE_MS, .gone_ms = GONE_MS, .budget = 6400, .lives = lives
    };
    return dialogs_sweep(d, &s);
}

static void a_call_without_anybody_goes(void **state) {
    (void)state;
    struct dialogs *d = dialogs_new(64, &key, NULL, NULL);
    assert_non_null(d);
    struct dialog in = sample();
    assert_ok(dialogs_put(d, 1, &in, 0));
    living = 8; /* one side is enough */
    assert_int_equal(sweep_at(d, 1000), 0);
    living = 0;
    assert_int_equal(sweep_at(d, 2000), 0);
    living = 7; /* back in time */
    assert_int_equal(sweep_at(d, 2200), 0);
    living = 0;
    assert_int_equal(sweep_at(d, 2400), 0);
    assert_int_equal(sweep_at(d, 2699), 0);
    assert_int_equal(sweep_at(d, 2700), 1);
    assert_int_equal(dialogs_count(d), 0);
    dialogs_free(d);
}

static void the_silent_go_and_full_is_an_answer(void **state) {
    (void)state;
    struct dialogs *d = dialogs_new(64, &key, NULL, NULL); /* two a shard */
    living = 7;
    assert_non_null(d);
    struct dialog in = sample();
    unsigned full = 0;
    for (uint64_t k = 0; k < 640; k++)
        if (dialogs_put(d, k, &in, (mono_t)k) == ERR_FULL) full++;
    assert_int_equal(full, 640 - dialogs_count(d));
    assert_true(full > 0);
    for (unsigned i = 0; i < 20; i++) (void)sweep_at(d, 63 + SILENCE_MS);
    assert_int_equal(dialogs_count(d), 64);
    for (unsigned i = 0; i < 20; i++) (void)sweep_at(d, 10000 + SILENCE_MS);
    assert_int_equal(dialogs_count(d), 0);
    dialogs_free(d);
}

static void count_end(void *ctx, const struct dialog_leg leg[2]) {
    unsigned *ends = ctx;
    assert_int_equal(leg[SIDE_CALLER].flow, 7);
    assert_int_equal(leg[SIDE_CALLEE].flow, 8);
    ++*ends;
}

/* What counts calls hears of each end of one that was up, once; of what never was, nothing. */
static void the_end_of_a_call_is_told_once(void **state) {
    (void)state;
    unsigned ends = 0;
    struct dialogs *d = dialogs_new(64, &key, count_end, &ends);
    assert_non_null(d);
    struct dialog in = sample();
    living = 7;
    assert_ok(dialogs_put(d, 1, &in, 0));
    dialogs_remove(d, 1);
    assert_int_equal(ends, 0); /* early */
    assert_ok(dialogs_put(d, 1, &in, 0));
    dialogs_confirm(d, 1, 0);
    dialogs_remove(d, 1);
    dialogs_remove(d, 1);
    assert_int_equal(ends, 1);
    in.is_early = false;
    assert_ok(dialogs_put(d, 2, &in, 0));
    assert_int_equal(sweep_at(d, SILENCE_MS), 1);
    assert_int_equal(ends, 2);
    dialogs_free(d);
    assert_int_equal(ends, 2); /* the server ends, not the calls */
}

static enum err put_two(void *ctx) {
    (void)ctx;
    struct dialogs *d = dialogs_new(100, &key, NULL, NULL);
    if (!d) return ERR_MEMORY;
    struct dialog in = sample();
    enum err err = dialogs_put(d, 1, &in, 0);
    if (err == ERR_OK) err = dialogs_put(d, 1, &in, 0);
    dialogs_free(d);
    return err;
}

static void short_memory_is_an_answer(void **state) {
    (void)state;
    assert_true(unit_oom(put_two) > 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_comes_back),
        cmocka_unit_test(requests_raise_cseq_and_move_the_target),
        cmocka_unit_test(a_call_without_anybody_goes),
        cmocka_unit_test(the_silent_go_and_full_is_an_answer),
        cmocka_unit_test(the_end_of_a_call_is_told_once),
        cmocka_unit_test(short_memory_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
