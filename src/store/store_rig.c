/* store/store_rig.c - see store_rig.h. */
#include "store/store_rig.h"

#include "unit.h"

/* ---- rows ---- */

static const char ha1[STORE_SEALED_HA1_BYTES] = "sealed\0with a zero inside";

struct store_change rig_account(uint32_t id, const char *user) {
    return (struct store_change){ .op = STORE_ACCOUNT_PUT,
                                  .durability = STORE_FULL,
                                  .account = { .id = id,
                                               .user = slice_str(user),
                                               .domain = SLICE("example.org"),
                                               .aliases = SLICE("100,101"),
                                               .display = SLICE("\xc3\x84nne \"A\""),
                                               .settings = SLICE("dnd=on\n"),
                                               .flags = ACCOUNT_DISABLED,
                                               .ha1_sha256 = slice_of(ha1, sizeof ha1),
                                               .created = 1700000000123,
                                               .changed = 1700000000456 } };
}
struct store_change rig_device(uint32_t id, uint32_t account_id) {
    struct store_change c = { .op = STORE_DEVICE_PUT,
                              .durability = STORE_FULL,
                              .device = { .id = id,
                                          .account_id = account_id,
                                          .kind = DEVICE_LEGACY,
                                          .revoked = true,
                                          .name = SLICE("hall"),
                                          .why = SLICE("no TLS"),
                                          .ha1_md5 = slice_of(ha1, 56),
                                          .created = 5,
                                          .until = 6 } };
    c.device.key_hash[31] = 9;
    return c;
}
struct store_change rig_binding(uint32_t account_id, uint32_t bid) {
    return (struct store_change){ .op = STORE_BINDING_PUT,
                                  .durability = STORE_NORMAL,
                                  .binding = { .account_id = account_id,
                                               .bid = bid,
                                               .flow = UINT64_MAX - 3,
                                               .run = UINT32_MAX,
                                               .device_id = 7,
                                               .reg_id = 2,
                                               .cseq = UINT32_MAX - 1,
                                               .q = 700,
                                               .gruu_epoch = 4,
                                               .contact = SLICE("sip:a@192.0.2.1"),
                                               .params = SLICE(";audio"),
                                               .instance = SLICE("<urn:uuid:1>"),
                                               .call_id = SLICE("c@h"),
                                               .path = SLICE("<sip:p;lr>"),
                                               .user_agent = SLICE("x/1"),
                                               .registered = 11,
                                               .expires = 12 } };
}

static enum err see_account(void *ctx, const struct account_row *row) {
    struct rig_seen *s = ctx;
    s->accounts++;
    s->last_account = row->id;
    if (!s->exact) return s->answer;
    const struct store_change want = rig_account(1, "alice");
    assert_int_equal(row->id, 1);
    assert_slice_eq(row->user, want.account.user);
    assert_slice_eq(row->domain, want.account.domain);
    assert_slice_eq(row->aliases, want.account.aliases);
    assert_slice_eq(row->display, want.account.display);
    assert_slice_eq(row->settings, want.account.settings);
    assert_int_equal(row->flags, ACCOUNT_DISABLED);
    assert_slice_eq(row->ha1_sha256, want.account.ha1_sha256);
    assert_int_equal(row->ha1_sha512_256.len, 0);
    assert_int_equal(row->created, want.account.created);
    assert_int_equal(row->changed, want.account.changed);
    return s->answer;
}
static enum err see_device(void *ctx, const struct device_row *row) {
    struct rig_seen *s = ctx;
    s->devices++;
    s->last_device = row->id;
    if (!s->exact) return ERR_OK;
    const struct store_change want = rig_device(7, 1);
    assert_int_equal(row->id, 7);
    assert_int_equal(row->account_id, 1);
    assert_int_equal(row->kind, DEVICE_LEGACY);
    assert_true(row->revoked);
    assert_slice_eq(row->name, want.device.name);
    assert_slice_eq(row->why, want.device.why);
    assert_memory_equal(row->key_hash, want.device.key_hash, 32);
    assert_slice_eq(row->ha1_md5, want.device.ha1_md5);
    assert_int_equal(row->created, 5);
    assert_int_equal(row->until, 6);
    return ERR_OK;
}
static enum err see_binding(void *ctx, const struct binding_row *row) {
    struct rig_seen *s = ctx;
    s->bindings++;
    s->last_bid = row->bid;
    if (!s->exact) return ERR_OK;
    const struct store_change c = rig_binding(1, 9);
    const struct binding_row *want = &c.binding;
    assert_int_equal(row->account_id, 1);
    assert_int_equal(row->bid, 9);
    assert_true(row->flow == want->flow);
    assert_int_equal(row->run, want->run);
    assert_int_equal(row->device_id, want->device_id);
    assert_int_equal(row->reg_id, want->reg_id);
    assert_int_equal(row->cseq, want->cseq);
    assert_int_equal(row->q, want->q);
    assert_int_equal(row->gruu_epoch, want->gruu_epoch);
    assert_slice_eq(row->contact, want->contact);
    assert_slice_eq(row->params, want->params);
    assert_slice_eq(row->instance, want->instance);
    assert_slice_eq(row->call_id, want->call_id);
    assert_slice_eq(row->path, want->path);
    assert_slice_eq(row->user_agent, want->user_agent);
    assert_int_equal(row->registered, want->registered);
    assert_int_equal(row->expires, want->expires);
    return ERR_OK;
}
struct store_reader rig_reader(struct rig_seen *seen) {
    return (struct store_reader){
        .ctx = seen, .on_account = see_account, .on_device = see_device, .on_binding = see_binding
    };
}
struct rig_seen rig_look(struct store *s, bool exact) {
    struct rig_seen seen = { .exact = exact };
    struct store_reader reader = rig_reader(&seen);
    assert_ok(store_load(s, &reader));
    return seen;
}

/* ---- the suite ---- */

void store_rig_brings_everything_back(void **state) {
    (void)state;
    struct store *s = store_rig_open();
    struct store_change batch[] = { rig_account(1, "alice"), rig_device(7, 1), rig_binding(1, 9) };
    struct store_change older = rig_binding(1, 9);
    older.binding.contact = SLICE("sip:old@192.0.2.1");
    struct store_change unnamed = rig_account(1, "alison");
    assert_ok(store_commit(s, &unnamed, 1));
    assert_ok(store_commit(s, &older, 1));
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch))); /* replaces by key */
    s = store_rig_again(s);
    struct rig_seen seen = rig_look(s, true);
    assert_int_equal(seen.accounts, 1);
    assert_int_equal(seen.devices, 1);
    assert_int_equal(seen.bindings, 1);
    store_close(s);
}

void store_rig_changing_an_account_keeps_its_bindings(void **state) {
    (void)state;
    struct store *s = store_rig_open();
    struct store_change batch[] = { rig_account(1, "alice"), rig_device(7, 1), rig_binding(1, 9) };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    assert_ok(store_commit(s, batch, 1));
    assert_int_equal(rig_look(s, true).bindings, 1);
    store_close(s);
}

void store_rig_removes_with_the_account(void **state) {
    (void)state;
    struct store *s = store_rig_open();
    struct store_change batch[] = { rig_account(1, "alice"), rig_account(2, "bob"),
                                    rig_device(7, 1),        rig_device(8, 2),
                                    rig_device(9, 2),        rig_binding(1, 9),
                                    rig_binding(2, 9),       rig_binding(2, 10) };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    const struct store_change removal[] = {
        { .op = STORE_ACCOUNT_REMOVE, .account = { .id = 1 } },
        { .op = STORE_DEVICE_REMOVE, .device = { .id = 9 } },
        { .op = STORE_DEVICE_REMOVE, .device = { .id = 4711 } },
        { .op = STORE_BINDING_REMOVE, .binding = { .account_id = 2, .bid = 10 } },
    };
    assert_ok(store_commit(s, removal, ARRAY_LEN(removal)));
    struct rig_seen seen = rig_look(s, false);
    assert_int_equal(seen.accounts, 1);
    assert_int_equal(seen.last_account, 2);
    assert_int_equal(seen.devices, 1);
    assert_int_equal(seen.last_device, 8);
    assert_int_equal(seen.bindings, 1);
    assert_int_equal(seen.last_bid, 9);
    store_close(s);
}

/* A refresh that comes after its account's removal is dropped and spoils no batch. */
void store_rig_drops_what_has_no_account(void **state) {
    (void)state;
    struct store *s = store_rig_open();
    struct store_change batch[] = { rig_binding(1, 9), rig_device(7, 1), rig_account(2, "bob") };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    struct rig_seen seen = rig_look(s, false);
    assert_int_equal(seen.accounts, 1);
    assert_int_equal(seen.devices, 0);
    assert_int_equal(seen.bindings, 0);
    store_close(s);
}

void store_rig_keeps_named_values(void **state) {
    (void)state;
    struct store *s = store_rig_open();
    char got[8];
    size_t len = 0;
    assert_err(store_value(s, SLICE("run"), got, sizeof got, &len), ERR_MISSING);
    struct store_change put = { .op = STORE_VALUE_PUT,
                                .value = { SLICE("run"), SLICE("1234\0678") } };
    assert_ok(store_commit(s, &put, 1));
    assert_ok(store_value(s, SLICE("run"), got, sizeof got, &len));
    assert_slice_eq(slice_of(got, len), put.value.value);
    assert_err(store_value(s, SLICE("run"), got, len - 1, &len), ERR_LIMIT);
    put.value.value = SLICE_NONE;
    assert_ok(store_commit(s, &put, 1));
    assert_ok(store_value(s, SLICE("run"), got, sizeof got, &len));
    assert_int_equal(len, 0);
    store_close(s);
}

static enum err see_refreshed(void *ctx, const struct binding_row *row) {
    *(bool *)ctx = row->cseq == 9 && row->registered == 70 && row->expires == 80 && row->q == 700 &&
                   slice_eq(row->contact, SLICE("sip:a@192.0.2.1"));
    return ERR_OK;
}

/* architecture.md section 4: a mere refresh moves its numbers and leaves the rest alone. */
void store_rig_a_refresh_moves_numbers_only(void **state) {
    (void)state;
    struct store *s = store_rig_open();
    struct store_change changes[] = { rig_account(1, "alice"),
                                      rig_binding(1, 5),
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
    store_close(s);
}

struct number {
    uint32_t bid;
    uint64_t change; /* 0: it is not there */
};
static enum err see_number(void *ctx, const struct binding_row *row) {
    struct number *n = ctx;
    if (row->bid == n->bid) n->change = row->change;
    return ERR_OK;
}

/* Puts, refreshes and removals numbered 1 to 3, told in `order`. */
static void tell_in_order(struct store *s, uint32_t bid, const unsigned op[3],
                          const unsigned order[3]) {
    static const enum store_op ops[] = { STORE_BINDING_PUT, STORE_BINDING_REFRESH,
                                         STORE_BINDING_REMOVE };
    const uint64_t run = UINT64_C(3) << 40; /* as large as they are in life */
    struct number seen = { .bid = bid };
    uint64_t newest = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct store_change c = rig_binding(1, bid);
        c.op = ops[op[order[i]]];
        c.binding.change = run + order[i] + 1;
        assert_ok(store_commit(s, &c, 1));
    }
    assert_ok(store_load(s, &(struct store_reader){ .ctx = &seen, .on_binding = see_number }));
    /* A refresh only moves the numbers of a row that is there when it comes. */
    for (unsigned i = 0; i < 3; i++)
        if (op[i] != 1) newest = op[i] == 0 ? run + i + 1 : 0;
    if (newest)
        assert_true(seen.change >= newest);
    else
        assert_true(seen.change == 0);
}

/* Every order in which three workers' changes of one binding may arrive: what stands in the end is
 * what the newest says, a removal too (store.h, Order). */
void store_rig_the_newest_change_counts(void **state) {
    (void)state;
    static const unsigned orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                          { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    struct store *s = store_rig_open();
    struct store_change alice = rig_account(1, "alice");
    uint32_t bid = 0;
    assert_ok(store_commit(s, &alice, 1));
    for (unsigned kind = 0; kind < 27; kind++) {
        const unsigned op[3] = { kind % 3, kind / 3 % 3, kind / 9 };
        /* What is not there is not refreshed. */
        if (op[0] == 1 || (op[1] == 1 && op[0] == 2) || (op[2] == 1 && op[1] == 2)) continue;
        for (unsigned o = 0; o < ARRAY_LEN(orders); o++) tell_in_order(s, ++bid, op, orders[o]);
    }
    store_close(s);
}

void store_rig_a_callback_ends_the_load(void **state) {
    (void)state;
    struct store *s = store_rig_open();
    struct store_change batch[] = { rig_account(1, "alice"), rig_account(2, "bob") };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    struct rig_seen seen = { .answer = ERR_LIMIT };
    struct store_reader reader = rig_reader(&seen);
    assert_err(store_load(s, &reader), ERR_LIMIT);
    assert_int_equal(seen.accounts, 1);
    assert_ok(store_commit(s, batch, 1)); /* the reading is over */
    struct store_reader none = { 0 };
    assert_ok(store_load(s, &none));
    store_close(s);
}
