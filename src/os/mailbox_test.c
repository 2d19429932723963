#include "unit.h"

#include "os/loop.h"
#include "os/mailbox.h"
#include <pthread.h>
#include <sched.h>

struct head {
    uint32_t sender, number;
};

static void box_open(uint32_t places, struct loop **loop, struct mailbox **box) {
    assert_ok(loop_new(loop));
    assert_ok(mailbox_new(*loop, places, box));
}

static void carries_head_and_bytes_in_order(void **state) {
    (void)state;
    struct loop *loop;
    struct mailbox *box;
    box_open(64, &loop, &box);
    assert_null(mailbox_take(box));
    assert_false(mailbox_has_letters(box));
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 20; i++) {
            struct head h = { round, i };
            char text[64];
            memset(text, (int)i, sizeof text);
            assert_ok(mailbox_send(box, &h, sizeof h, slice_of(text, i), false));
        }
        assert_int_equal(mailbox_count(box), 20);
        assert_true(mailbox_has_letters(box));
        for (uint32_t i = 0; i < 20; i++) {
            struct letter *l = mailbox_take(box);
            struct head h;
            assert_non_null(l);
            memcpy(&h, l->head, sizeof h);
            assert_int_equal(h.sender, round);
            assert_int_equal(h.number, i);
            assert_int_equal(l->bytes.len, i);
            for (uint32_t j = 0; j < i; j++) assert_int_equal(l->bytes.ptr[j], i);
            mem_free(l);
        }
        assert_null(mailbox_take(box));
    }
    struct head h = { 9, 9 };
    assert_ok(mailbox_send(box, &h, sizeof h, SLICE("left over"), true));
    mailbox_free(box);
    loop_free(loop);
}

static void half_is_kept_for_what_must_arrive(void **state) {
    (void)state;
    struct loop *loop;
    struct mailbox *box;
    box_open(8, &loop, &box);
    struct head h = { 0 };
    for (int i = 0; i < 4; i++) assert_ok(mailbox_send(box, &h, sizeof h, SLICE("x"), false));
    assert_err(mailbox_send(box, &h, sizeof h, SLICE("x"), false), ERR_FULL);
    for (int i = 0; i < 4; i++) assert_ok(mailbox_send(box, &h, sizeof h, SLICE("x"), true));
    assert_err(mailbox_send(box, &h, sizeof h, SLICE("x"), true), ERR_FULL);
    assert_int_equal(mailbox_count(box), 8);
    mem_free(mailbox_take(box));
    assert_err(mailbox_send(box, &h, sizeof h, SLICE("x"), false), ERR_FULL);
    assert_ok(mailbox_send(box, &h, sizeof h, SLICE("x"), true));
    mailbox_free(box);
    loop_free(loop);
}

static enum err send_one(void *ctx) {
    struct head h = { 0 };
    struct mailbox *box;
    enum err e = mailbox_new(ctx, 8, &box);
    if (e != ERR_OK) return e;
    e = mailbox_send(box, &h, sizeof h, SLICE("x"), false);
    assert_int_equal(mailbox_count(box), e == ERR_OK ? 1 : 0); /* a failure takes no place */
    mailbox_free(box);
    return e;
}

static void survives_short_memory(void **state) {
    (void)state;
    struct loop *loop;
    assert_ok(loop_new(&loop));
    assert_int_equal(unit_oom_ctx(send_one, loop), 2);
    loop_free(loop);
}

enum { SENDERS = 4, EACH = 20000 };
struct sender {
    struct mailbox *box;
    uint32_t number;
};

static void *send_many(void *ctx) {
    const struct sender *s = ctx;
    for (uint32_t i = 0; i < EACH;) {
        struct head h = { s->number, i };
        /* Not a unit test's sleep: the box is small so that full and empty both happen. */
        if (mailbox_send(s->box, &h, sizeof h, SLICE("payload"), i % 2) == ERR_OK)
            i++;
        else
            sched_yield();
    }
    return NULL;
}

/* A lost wake-up would make the wait time out. */
static void many_senders_one_sleepy_reader(void **state) {
    (void)state;
    struct loop *loop;
    struct mailbox *box;
    box_open(32, &loop, &box);
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    uint32_t next[SENDERS] = { 0 };
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ box, i };
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    for (uint32_t got = 0; got < SENDERS * EACH;) {
        loop_prepare_sleep(loop);
        mono_t before = clock_mono();
        assert_ok(loop_wait(loop, mailbox_has_letters(box) ? 0 : 20000));
        assert_true(clock_mono() - before < 19000);
        loop_dispatch(loop, &(struct loop_shares){ .next = 0 });
        for (struct letter *l; (l = mailbox_take(box)) != NULL; got++) {
            struct head h;
            memcpy(&h, l->head, sizeof h);
            assert_true(h.sender < SENDERS);
            assert_int_equal(h.number, next[h.sender]++);
            assert_slice(l->bytes, "payload");
            mem_free(l);
        }
    }
    for (int i = 0; i < SENDERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_null(mailbox_take(box));
    assert_int_equal(mailbox_count(box), 0);
    mailbox_free(box);
    loop_free(loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_head_and_bytes_in_order),
        cmocka_unit_test(half_is_kept_for_what_must_arrive),
        cmocka_unit_test(survives_short_memory),
        cmocka_unit_test(many_senders_one_sleepy_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
