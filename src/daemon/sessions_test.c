/* Invitations, passkeys and sessions as rows: who counts, who goes, and what a disk that fails may
 * cost. */
#include "unit.h"

#include "crypto/crypto.h"
#include "daemon/sessions.h"

#define NOW  INT64_C(1000000)
#define LATE (NOW + SESSION_LIFE_MS)

static struct bench {
    struct world world;
    struct store *store;
    struct server_face face;
    bool disk_is_full;
    unsigned told;
} bench;
static const struct hash_key key = { 1, 2 };
static uint8_t seal_key[32];

static enum err commit(void *ctx, const struct store_change *changes, size_t count) {
    struct bench *b = ctx;
    return b->disk_is_full ? ERR_IO : store_commit(b->store, changes, count);
}

static void device_changed(void *ctx, uint32_t id) {
    if (id) ((struct bench *)ctx)->told++;
}

static enum err bench_put(uint32_t id, const char *user, uint32_t flags) {
    struct store_change put = { .op = STORE_ACCOUNT_PUT, .durability = STORE_FULL };
    put.account = (struct account_row){
        .id = id, .user = slice_str(user), .domain = SLICE("example.org"), .flags = flags
    };
    enum err e = store_commit(bench.store, &put, 1);
    return e == ERR_OK ? accounts_put(bench.world.accounts, &put.account) : e;
}

static void bench_close(void) {
    accounts_free(bench.world.accounts);
    if (bench.store) store_close(bench.store);
    world_fini(&bench.world);
}

static enum err bench_open(void) {
    bench = (struct bench){ .store = store_memory_new() };
    world_init(&bench.world);
    bench.face = (struct server_face){ .ctx = &bench, .device_changed = device_changed };
    bench.world.accounts = accounts_new(100, &key, seal_key);
    bench.world.seal_key = seal_key;
    bench.world.commit = commit;
    bench.world.commit_ctx = &bench;
    bench.world.server = &bench.face;
    enum err e = bench.store && bench.world.accounts ? ERR_OK : ERR_MEMORY;
    if (e == ERR_OK) e = bench_put(1, "alice", 0);
    if (e == ERR_OK) e = bench_put(2, "bob", 0);
    return e;
}

static enum err make(uint32_t account, enum device_kind kind, wall_t now, uint32_t passkey,
                     char token[static SESSION_TOKEN_CHARS + 1], uint32_t *out_id) {
    char mem[16];
    struct buf note = buf_over(mem, sizeof mem);
    if (passkey) buf_u64(&note, passkey);
    struct device_row row = { .account_id = account,
                              .kind = (uint8_t)kind,
                              .name = SLICE("browser"),
                              .why = buf_slice(&note),
                              .until = now + SESSION_LIFE_MS };
    return session_make(&bench.world, &row, now, token, out_id);
}

static uint32_t put_row(uint32_t account, enum device_kind kind, uint8_t hash) {
    struct device_row row = { .id = accounts_free_device_id(bench.world.accounts),
                              .account_id = account,
                              .kind = (uint8_t)kind,
                              .key_hash = { hash },
                              .created = NOW };
    assert_ok(session_put_device(&bench.world, &row));
    return row.id;
}

static enum err find(const char *token, enum device_kind kind, wall_t now) {
    struct session s;
    return session_find(bench.world.accounts, slice_str(token), kind, now, &s);
}

static bool count_visit(void *ctx, const struct device_row *row) {
    if (row->id) (*(unsigned *)ctx)++;
    return true;
}

static unsigned devices_of(uint32_t account) {
    unsigned n = 0;
    accounts_each_device_of(bench.world.accounts, account, count_visit, &n);
    return n;
}

/* What a start would read. */
static enum err stored_visit(void *ctx, const struct device_row *row) {
    if (row->id) (*(unsigned *)ctx)++;
    return ERR_OK;
}

static unsigned devices_stored(void) {
    unsigned n = 0;
    const struct store_reader reader = { .ctx = &n, .on_device = stored_visit };
    assert_ok(store_load(bench.store, &reader));
    return n;
}

static void a_token_is_all_or_nothing(void **state) {
    (void)state;
    char token[SESSION_TOKEN_CHARS + 1], bad[SESSION_TOKEN_CHARS + 1];
    uint32_t id;
    struct session s;
    assert_ok(bench_open());
    assert_ok(make(1, DEVICE_SESSION, NOW, 77, token, &id));
    assert_ok(session_find(bench.world.accounts, slice_str(token), DEVICE_SESSION, NOW, &s));
    assert_int_equal(s.account_id, 1);
    assert_int_equal(s.id, id);
    assert_int_equal(s.passkey_id, 77);
    assert_int_equal(s.until, LATE);
    for (unsigned i = 0; i < SESSION_TOKEN_CHARS; i++) { /* tampered with anywhere */
        memcpy(bad, token, sizeof bad);
        bad[i] = bad[i] == 'A' ? 'B' : 'A';
        assert_err(find(bad, DEVICE_SESSION, NOW), ERR_MISSING);
    }
    for (size_t n = 0; n < SESSION_TOKEN_CHARS; n++)
        assert_err(
            session_find(bench.world.accounts, unit_guard(token, n), DEVICE_SESSION, NOW, &s),
            ERR_MISSING);
    assert_err(find(token, DEVICE_INVITE, NOW), ERR_MISSING); /* one does not do for the other */
    assert_ok(find(token, DEVICE_SESSION, LATE - 1));
    assert_err(find(token, DEVICE_SESSION, LATE), ERR_MISSING);
    assert_ok(bench_put(1, "alice", ACCOUNT_DISABLED));
    assert_err(find(token, DEVICE_SESSION, NOW), ERR_MISSING);
    assert_ok(bench_put(1, "alice", 0));
    assert_ok(find(token, DEVICE_SESSION, NOW));
    accounts_remove(bench.world.accounts, 1);
    assert_err(find(token, DEVICE_SESSION, NOW), ERR_MISSING);
    bench_close();
}

static void the_oldest_goes(void **state) {
    (void)state;
    char first[SESSION_TOKEN_CHARS + 1], token[SESSION_TOKEN_CHARS + 1];
    uint32_t id;
    assert_ok(bench_open());
    put_row(1, DEVICE_CERTIFICATE, 1);
    put_row(1, DEVICE_PASSKEY, 2);
    assert_ok(make(1, DEVICE_SESSION, NOW, 0, first, &id));
    for (unsigned i = 1; i < SESSIONS_MAX; i++)
        assert_ok(make(1, DEVICE_SESSION, NOW + i, 0, token, &id));
    assert_ok(find(first, DEVICE_SESSION, NOW));
    bench.told = 0;
    assert_ok(make(1, DEVICE_SESSION, NOW + 100, 0, token, &id));
    assert_err(find(first, DEVICE_SESSION, NOW), ERR_MISSING);
    assert_int_equal(bench.told, 1); /* its connections are to be looked at */
    assert_int_equal(devices_of(1), SESSIONS_MAX + 2);
    for (unsigned i = 0; i <= INVITES_MAX; i++)
        assert_ok(make(1, DEVICE_INVITE, NOW, 0, token, &id));
    assert_int_equal(devices_of(1), SESSIONS_MAX + 2 + INVITES_MAX);
    /* What has ended makes room by itself, whatever its kind; phones stay. */
    assert_ok(make(1, DEVICE_SESSION, LATE + 101, 0, token, &id));
    assert_int_equal(devices_of(1), 3);
    assert_int_equal(devices_stored(), 3);
    bench_close();
}

static void a_passkey_takes_its_sessions(void **state) {
    (void)state;
    char mine[SESSION_TOKEN_CHARS + 1], other[SESSION_TOKEN_CHARS + 1];
    char bobs[SESSION_TOKEN_CHARS + 1];
    uint32_t id;
    struct device d;
    assert_ok(bench_open());
    uint32_t passkey = put_row(1, DEVICE_PASSKEY, 1), second = put_row(1, DEVICE_PASSKEY, 2);
    uint32_t phone = put_row(1, DEVICE_CERTIFICATE, 3);
    assert_ok(make(1, DEVICE_SESSION, NOW, passkey, mine, &id));
    assert_ok(make(1, DEVICE_SESSION, NOW, second, other, &id));
    assert_ok(make(2, DEVICE_SESSION, NOW, passkey, bobs, &id)); /* whatever its note says */
    bench.told = 0;
    assert_ok(session_end(&bench.world, passkey));
    assert_int_equal(bench.told, 2);
    assert_err(find(mine, DEVICE_SESSION, NOW), ERR_MISSING);
    assert_ok(find(other, DEVICE_SESSION, NOW));
    assert_ok(find(bobs, DEVICE_SESSION, NOW));
    assert_err(session_end(&bench.world, passkey), ERR_MISSING);
    assert_ok(session_end(&bench.world, phone)); /* its key stays known, as revoked */
    assert_ok(accounts_device(bench.world.accounts, phone, &d));
    assert_true(d.revoked);
    assert_int_equal(bench.told, 3);
    bench_close();
}

static void a_full_disk_changes_nothing(void **state) {
    (void)state;
    char token[SESSION_TOKEN_CHARS + 1], fresh[SESSION_TOKEN_CHARS + 1];
    uint32_t id, fresh_id;
    struct device d;
    assert_ok(bench_open());
    uint32_t phone = put_row(1, DEVICE_CERTIFICATE, 3);
    assert_ok(make(1, DEVICE_SESSION, NOW, 0, token, &id));
    bench.disk_is_full = true;
    bench.told = 0;
    assert_err(session_end(&bench.world, id), ERR_IO);
    assert_err(session_end(&bench.world, phone), ERR_IO);
    assert_err(make(1, DEVICE_SESSION, NOW, 0, fresh, &fresh_id), ERR_IO);
    assert_int_equal(bench.told, 0);
    assert_ok(find(token, DEVICE_SESSION, NOW));
    assert_err(find(fresh, DEVICE_SESSION, NOW), ERR_MISSING);
    assert_ok(accounts_device(bench.world.accounts, phone, &d));
    assert_false(d.revoked);
    assert_int_equal(devices_of(1), 2);
    bench.disk_is_full = false;
    assert_ok(session_end(&bench.world, id));
    assert_int_equal(devices_of(1), 1);
    assert_int_equal(devices_stored(), 1);
    bench_close();
}

static enum err revoked_visit(void *ctx, const struct device_row *row) {
    if (row->revoked) (*(unsigned *)ctx)++;
    return ERR_OK;
}

/* A phone's key: what is stored as revoked is never known as good. */
static enum err key_ends(void) {
    struct device_row row = { .id = accounts_free_device_id(bench.world.accounts),
                              .account_id = 1,
                              .kind = DEVICE_CERTIFICATE,
                              .key_hash = { 3 } };
    unsigned revoked = 0;
    const struct store_reader reader = { .ctx = &revoked, .on_device = revoked_visit };
    struct device d;
    enum err e = session_put_device(&bench.world, &row);
    if (e != ERR_OK) return e;
    e = session_end(&bench.world, row.id);
    assert_ok(store_load(bench.store, &reader));
    assert_ok(accounts_device(bench.world.accounts, row.id, &d));
    assert_int_equal(d.revoked, revoked);
    assert_int_equal(d.revoked, e == ERR_OK);
    return e;
}

/* Whichever allocation fails, table and store say the same afterwards. */
static enum err whole_life(void *ctx) {
    char token[SESSION_TOKEN_CHARS + 1];
    uint32_t id;
    (void)ctx;
    enum err e = bench_open();
    if (e == ERR_OK) e = make(1, DEVICE_SESSION, NOW, 0, token, &id);
    if (e == ERR_OK) {
        e = session_end(&bench.world, id);
        if (e != ERR_OK) assert_ok(session_end(&bench.world, id));
        assert_int_equal(devices_of(1), 0);
        assert_int_equal(devices_stored(), 0);
    }
    if (e == ERR_OK) e = key_ends();
    bench_close();
    return e;
}

static void memory_may_be_short(void **state) {
    (void)state;
    assert_true(unit_oom(whole_life) > 10);
}

static int prepare(void **state) {
    (void)state;
    return crypto_init() == ERR_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_all_or_nothing),
        cmocka_unit_test(the_oldest_goes),
        cmocka_unit_test(a_passkey_takes_its_sessions),
        cmocka_unit_test(a_full_disk_changes_nothing),
        cmocka_unit_test(memory_may_be_short),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
