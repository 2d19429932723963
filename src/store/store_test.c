#include "unit.h"

#include "store/store_rig.h"

struct store *store_rig_open(void) {
    struct store *s = store_memory_new();
    assert_non_null(s);
    return s;
}
struct store *store_rig_again(struct store *s) {
    return s; /* it ends with its process */
}

static void fails_when_told(void **state) {
    (void)state;
    struct store *s = store_rig_open();
    struct store_change c = rig_account(1, "alice");
    store_memory_fail(s, 1);
    assert_ok(store_commit(s, &c, 1));
    c.account.id = 2;
    assert_err(store_commit(s, &c, 1), ERR_STORE);
    assert_err(store_commit(s, &c, 1), ERR_STORE);
    assert_true(strlen(store_trouble(s)) > 0);
    assert_int_equal(rig_look(s, false).accounts, 1);
    store_memory_fail(s, -1);
    assert_string_equal(store_trouble(s), "");
    assert_ok(store_commit(s, &c, 1));
    assert_int_equal(rig_look(s, false).accounts, 2);
    store_close(s);
}

static void grows_and_finds_all(void **state) {
    (void)state;
    struct store *s = store_rig_open();
    enum { COUNT = 1000 };
    for (uint32_t i = 1; i <= COUNT; i++) {
        struct store_change c = rig_account(i, "somebody");
        assert_ok(store_commit(s, &c, 1));
    }
    for (uint32_t i = 1; i <= COUNT; i += 2) {
        struct store_change c = { .op = STORE_ACCOUNT_REMOVE, .account = { .id = i } };
        assert_ok(store_commit(s, &c, 1));
    }
    assert_int_equal(rig_look(s, false).accounts, COUNT / 2);
    store_close(s);
}

/* The copy must not lean on the caller's bytes: they are overwritten before it is read. */
static void copies_deeply(void **state) {
    (void)state;
    char contact[] = "sip:a@192.0.2.1";
    struct store_change c = rig_binding(1, 9);
    c.binding.contact = slice_str(contact);
    struct store_change *copy = store_change_copy(&c);
    assert_non_null(copy);
    memset(contact, 'x', sizeof contact);
    assert_slice(copy->binding.contact, "sip:a@192.0.2.1");
    assert_slice(copy->binding.user_agent, "x/1");
    assert_slice(copy->binding.path, "<sip:p;lr>");
    mem_free(copy);
    /* A removal carries its key and nothing that points elsewhere. */
    c.op = STORE_BINDING_REMOVE;
    copy = store_change_copy(&c);
    assert_non_null(copy);
    assert_int_equal(copy->binding.bid, 9);
    assert_null(copy->binding.contact.ptr);
    mem_free(copy);
}

static enum err oom_run(void *ctx) {
    (void)ctx;
    struct store *s = store_memory_new();
    if (!s) return ERR_MEMORY;
    const struct store_change first[] = { rig_account(1, "alice") };
    const struct store_change batch[] = { rig_account(2, "bob"), rig_device(7, 1),
                                          rig_binding(1, 9) };
    enum err e = store_commit(s, first, 1);
    unsigned before = e ? 0 : 1;
    if (!e) e = store_commit(s, batch, ARRAY_LEN(batch));
    struct rig_seen seen = rig_look(s, false);
    assert_int_equal(seen.accounts, e ? before : 2);
    assert_int_equal(seen.bindings, e ? 0 : 1);
    store_close(s);
    return e;
}
static void memory_runs_short(void **state) {
    (void)state;
    assert_true(unit_oom(oom_run) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_RIG_TESTS(NULL, NULL),           cmocka_unit_test(fails_when_told),
        cmocka_unit_test(grows_and_finds_all), cmocka_unit_test(copies_deeply),
        cmocka_unit_test(memory_runs_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
