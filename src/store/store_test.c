#include "unit.h"

#include "store/store.h"

static struct store_change account(uint32_t id, const char *user) {
    return (struct store_change){ .op = STORE_ACCOUNT_PUT,
                                  .account = { .id = id,
                                               .user = slice_str(user),
                                               .domain = SLICE("example.org"),
                                               .aliases = SLICE("100,101") } };
}
static struct store_change device(uint32_t id, uint32_t account_id) {
    return (struct store_change){ .op = STORE_DEVICE_PUT,
                                  .device = { .id = id,
                                              .account_id = account_id,
                                              .kind = DEVICE_LEGACY,
                                              .name = SLICE("desk phone"),
                                              .why = SLICE("no TLS") } };
}
static struct store_change binding(uint32_t account_id, uint32_t bid, const char *contact) {
    return (struct store_change){ .op = STORE_BINDING_PUT,
                                  .binding = { .account_id = account_id,
                                               .bid = bid,
                                               .contact = slice_str(contact),
                                               .user_agent = SLICE("x") } };
}

struct seen {
    unsigned accounts, devices, bindings;
    uint32_t last_account;
    char contact[64];
    enum err answer;
};
static enum err see_account(void *ctx, const struct account_row *row) {
    struct seen *s = ctx;
    s->accounts++;
    s->last_account = row->id;
    return s->answer;
}
static enum err see_device(void *ctx, const struct device_row *row) {
    struct seen *s = ctx;
    assert_slice(row->why, "no TLS");
    s->devices++;
    return ERR_OK;
}
static enum err see_binding(void *ctx, const struct binding_row *row) {
    struct seen *s = ctx;
    s->bindings++;
    assert_true(slice_cstr(row->contact, s->contact, sizeof s->contact));
    return ERR_OK;
}
static struct seen look(struct store *s) {
    struct seen seen = { 0 };
    struct store_reader reader = { &seen, see_account, see_device, see_binding };
    assert_ok(store_load(s, &reader));
    return seen;
}

static enum err see_refreshed(void *ctx, const struct binding_row *row) {
    *(bool *)ctx = row->cseq == 9 && row->registered == 70 && row->expires == 80 &&
                   slice_eq(row->contact, SLICE("sip:a@192.0.2.1"));
    return ERR_OK;
}

/* architecture.md section 4: a mere refresh moves its numbers and leaves the rest alone. */
static void a_refresh_moves_numbers_only(void **state) {
    (void)state;
    struct store *s = store_memory_new();
    assert_non_null(s);
    struct store_change changes[] = { account(1, "alice"),
                                      binding(1, 5, "sip:a@192.0.2.1"),
                                      { .op = STORE_BINDING_REFRESH, .durability = STORE_LAZY } };
    changes[2].binding = (struct binding_row){
        .account_id = 1, .bid = 5, .cseq = 9, .registered = 70, .expires = 80
    };
    bool seen = false;
    assert_ok(store_commit(s, changes, 3));
    changes[2].binding.bid = 6; /* a row that is not there is not made */
    assert_ok(store_commit(s, &changes[2], 1));
    assert_ok(store_load(s, &(struct store_reader){ .ctx = &seen, .on_binding = see_refreshed }));
    assert_true(seen);
    assert_int_equal(look(s).bindings, 1);
    store_close(s);
}

static enum err see_number(void *ctx, const struct binding_row *row) {
    *(uint64_t *)ctx = row->change;
    return ERR_OK;
}

/* Every order in which three workers' changes of one binding may arrive: what stands in the end is
 * what the newest says, a removal too (store.h, Order). */
static void the_newest_change_counts(void **state) {
    (void)state;
    static const unsigned orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                          { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    static const enum store_op ops[] = { STORE_BINDING_PUT, STORE_BINDING_REFRESH,
                                         STORE_BINDING_REMOVE };
    const uint64_t run = UINT64_C(3) << 40; /* as large as they are in life */
    for (unsigned kind = 0; kind < 27; kind++) {
        const unsigned op[3] = { kind % 3, kind / 3 % 3, kind / 9 };
        /* What is not there is not refreshed. */
        if (op[0] == 1 || (op[1] == 1 && op[0] == 2) || (op[2] == 1 && op[1] == 2)) continue;
        for (unsigned o = 0; o < ARRAY_LEN(orders); o++) {
            struct store *s = store_memory_new();
            assert_non_null(s);
            struct store_change c[3], alice = account(1, "alice");
            for (unsigned i = 0; i < 3; i++) {
                c[i] = binding(1, 5, "sip:a@192.0.2.1");
                c[i].op = ops[op[i]];
                c[i].binding.change = run + i + 1;
            }
            assert_ok(store_commit(s, &alice, 1));
            for (unsigned i = 0; i < 3; i++) assert_ok(store_commit(s, &c[orders[o][i]], 1));
            uint64_t seen = 0, newest = 0;
            assert_ok(store_load(s, &(struct store_reader){ &seen, NULL, NULL, see_number }));
            /* A refresh moves the numbers of a row that is there when it comes. */
            for (unsigned i = 0; i < 3; i++)
                if (op[i] != 1) newest = op[i] == 0 ? run + i + 1 : 0;
            if (newest)
                assert_true(seen >= newest);
            else
                assert_true(seen == 0);
            store_close(s);
        }
    }
}

static void keeps_what_was_put(void **state) {
    (void)state;
    struct store *s = store_memory_new();
    assert_non_null(s);
    const struct store_change batch[] = { account(1, "alice"), account(2, "bob"), device(7, 1),
                                          binding(1, 9, "sip:a@192.0.2.1") };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    struct store_change again = binding(1, 9, "sip:b@192.0.2.1");
    assert_ok(store_commit(s, &again, 1));
    struct seen seen = look(s);
    assert_int_equal(seen.accounts, 2);
    assert_int_equal(seen.devices, 1);
    assert_int_equal(seen.bindings, 1);
    assert_string_equal(seen.contact, "sip:b@192.0.2.1");
    store_close(s);
}

static void removes_with_the_account(void **state) {
    (void)state;
    struct store *s = store_memory_new();
    assert_non_null(s);
    const struct store_change batch[] = { account(1, "alice"),
                                          account(2, "bob"),
                                          device(7, 1),
                                          device(8, 2),
                                          device(9, 2),
                                          binding(1, 9, "sip:a@192.0.2.1"),
                                          binding(2, 9, "sip:b@192.0.2.2"),
                                          binding(2, 10, "sip:b@192.0.2.3") };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    const struct store_change removal[] = {
        { .op = STORE_ACCOUNT_REMOVE, .account = { .id = 1 } },
        { .op = STORE_DEVICE_REMOVE, .device = { .id = 9 } },
        { .op = STORE_DEVICE_REMOVE, .device = { .id = 4711 } },
        { .op = STORE_BINDING_REMOVE, .binding = { .account_id = 2, .bid = 10 } },
    };
    assert_ok(store_commit(s, removal, ARRAY_LEN(removal)));
    struct seen seen = look(s);
    assert_int_equal(seen.accounts, 1);
    assert_int_equal(seen.last_account, 2);
    assert_int_equal(seen.devices, 1);
    assert_int_equal(seen.bindings, 1);
    assert_string_equal(seen.contact, "sip:b@192.0.2.2");
    store_close(s);
}

/* A refresh that comes after its account's removal is dropped and spoils no batch. */
static void drops_what_has_no_account(void **state) {
    (void)state;
    struct store *s = store_memory_new();
    assert_non_null(s);
    const struct store_change batch[] = { binding(1, 9, "sip:a@192.0.2.1"), device(7, 1),
                                          account(2, "bob") };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    struct seen seen = look(s);
    assert_int_equal(seen.accounts, 1);
    assert_int_equal(seen.devices, 0);
    assert_int_equal(seen.bindings, 0);
    store_close(s);
}

static void keeps_named_values(void **state) {
    (void)state;
    struct store *s = store_memory_new();
    assert_non_null(s);
    char got[8];
    size_t len = 0;
    assert_err(store_value(s, SLICE("run"), got, sizeof got, &len), ERR_MISSING);
    struct store_change put = { .op = STORE_VALUE_PUT,
                                .value = { SLICE("run"), SLICE("12345678") } };
    assert_ok(store_commit(s, &put, 1));
    assert_ok(store_value(s, SLICE("run"), got, sizeof got, &len));
    assert_slice(slice_of(got, len), "12345678");
    assert_err(store_value(s, SLICE("run"), got, 7, &len), ERR_LIMIT);
    put.value.value = SLICE_NONE;
    assert_ok(store_commit(s, &put, 1));
    assert_ok(store_value(s, SLICE("run"), got, sizeof got, &len));
    assert_int_equal(len, 0);
    store_close(s);
}

static void fails_when_told(void **state) {
    (void)state;
    struct store *s = store_memory_new();
    assert_non_null(s);
    struct store_change c = account(1, "alice");
    store_memory_fail(s, 1);
    assert_ok(store_commit(s, &c, 1));
    c.account.id = 2;
    assert_err(store_commit(s, &c, 1), ERR_STORE);
    assert_err(store_commit(s, &c, 1), ERR_STORE);
    assert_true(strlen(store_trouble(s)) > 0);
    assert_int_equal(look(s).accounts, 1);
    store_memory_fail(s, -1);
    assert_string_equal(store_trouble(s), "");
    assert_ok(store_commit(s, &c, 1));
    assert_int_equal(look(s).accounts, 2);
    store_close(s);
}

static void a_callback_ends_the_load(void **state) {
    (void)state;
    struct store *s = store_memory_new();
    assert_non_null(s);
    const struct store_change batch[] = { account(1, "alice"), account(2, "bob") };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    struct seen seen = { .answer = ERR_LIMIT };
    struct store_reader reader = { &seen, see_account, NULL, NULL };
    assert_err(store_load(s, &reader), ERR_LIMIT);
    assert_int_equal(seen.accounts, 1);
    struct store_reader none = { 0 };
    assert_ok(store_load(s, &none));
    store_close(s);
}

static void grows_and_finds_all(void **state) {
    (void)state;
    struct store *s = store_memory_new();
    assert_non_null(s);
    enum { COUNT = 1000 };
    for (uint32_t i = 1; i <= COUNT; i++) {
        struct store_change c = account(i, "somebody");
        assert_ok(store_commit(s, &c, 1));
    }
    for (uint32_t i = 1; i <= COUNT; i += 2) {
        struct store_change c = { .op = STORE_ACCOUNT_REMOVE, .account = { .id = i } };
        assert_ok(store_commit(s, &c, 1));
    }
    assert_int_equal(look(s).accounts, COUNT / 2);
    store_close(s);
}

/* The copy must not lean on the caller's bytes: they are overwritten before it is read. */
static void copies_deeply(void **state) {
    (void)state;
    char contact[] = "sip:a@192.0.2.1";
    struct store_change c = binding(1, 9, contact);
    struct store_change *copy = store_change_copy(&c);
    assert_non_null(copy);
    memset(contact, 'x', sizeof contact);
    assert_slice(copy->binding.contact, "sip:a@192.0.2.1");
    assert_slice(copy->binding.user_agent, "x");
    assert_int_equal(copy->binding.path.len, 0);
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
    const struct store_change first[] = { account(1, "alice") };
    const struct store_change batch[] = { account(2, "bob"), device(7, 1),
                                          binding(1, 9, "sip:a@192.0.2.1") };
    enum err e = store_commit(s, first, 1);
    unsigned before = e ? 0 : 1;
    if (!e) e = store_commit(s, batch, ARRAY_LEN(batch));
    struct seen seen = look(s);
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
        cmocka_unit_test(keeps_what_was_put),
        cmocka_unit_test(the_newest_change_counts),
        cmocka_unit_test(a_refresh_moves_numbers_only),
        cmocka_unit_test(removes_with_the_account),
        cmocka_unit_test(drops_what_has_no_account),
        cmocka_unit_test(keeps_named_values),
        cmocka_unit_test(fails_when_told),
        cmocka_unit_test(a_callback_ends_the_load),
        cmocka_unit_test(grows_and_finds_all),
        cmocka_unit_test(copies_deeply),
        cmocka_unit_test(memory_runs_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
