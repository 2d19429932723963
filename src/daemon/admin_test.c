/* Admin calls on a world in memory: no server, no files, a disk that can be full. */
#include "unit.h"

#include "daemon/admin.h"

#include "base/log.h"
#include "crypto/crypto.h"
#include "nat/turn.h"

static const struct hash_key key = { 1, 2 };
static uint8_t seal_key[32];
static struct datadir dir = { .path = "/nonexistent", .lock_fd = -1 };

struct bench {
    struct world world;
    struct store *store;
    unsigned accounts_told, devices_told;
    struct server_face face;
};

static enum err commit(void *ctx, const struct store_change *changes, size_t count) {
    return store_commit(((struct bench *)ctx)->store, changes, count);
}
static void account_changed(void *ctx, uint32_t id) {
    if (id) ((struct bench *)ctx)->accounts_told++;
}
static void device_changed(void *ctx, uint32_t id) {
    if (id) ((struct bench *)ctx)->devices_told++;
}

static struct bench *bench_new(void) {
    struct bench *b = mem_zalloc(sizeof *b);
    assert_non_null(b);
    world_init(&b->world);
    b->store = store_memory_new();
    assert_non_null(b->store);
    b->world.dir = &dir;
    b->world.accounts = accounts_new(1000, &key, seal_key);
    assert_non_null(b->world.accounts);
    b->world.seal_key = seal_key;
    b->world.commit = commit;
    b->world.commit_ctx = b;
    assert_non_null(b->store);
    assert_non_null(b->world.accounts);
    slice domains[] = { SLICE("example.org"), SLICE("example.net") };
    assert_ok(world_set_domains(&b->world, domains, 2));
    return b;
}

static void bench_free(struct bench *b) {
    accounts_free(b->world.accounts);
    store_close(b->store);
    world_fini(&b->world);
    mem_free(b);
}

/* The whole answer to one request. */
static char heard[65536];
static size_t heard_len;

static bool hear(void *ctx, slice line) {
    (void)ctx;
    assert_true(heard_len + line.len < sizeof heard);
    memcpy(heard + heard_len, line.ptr, line.len);
    heard_len += line.len;
    heard[heard_len] = 0;
    return true;
}

static const char *ask(struct bench *b, const char *request) {
    heard_len = 0;
    heard[0] = 0;
    admin_run(&b->world, slice_str(request), hear, NULL);
    assert_true(heard_len > 0 && heard[heard_len - 1] == '\n');
    return heard;
}

#define assert_answer(b, request, part)                                                            \
    do {                                                                                           \
        if (!strstr(ask(b, request), part)) {                                                      \
            print_error("%s gave %s", request, heard);                                             \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static void people(void **state) {
    (void)state;
    struct bench *b = bench_new();
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"alice\",\"generate\":true}",
                  "\"ok\":true,\"aor\":\"alice@example.org\",\"secret\":\"");
    assert_answer(b,
                  "{\"cmd\":\"user.add\",\"aor\":\"alice@example.net\",\"generate\":true,"
                  "\"aliases\":[\"100\",\"a b\"]}",
                  "the alias");
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"bob@elsewhere.example\",\"generate\":true}",
                  "does not serve");
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"bob\",\"password\":\"example.org-bob\"}",
                  "the password is refused");
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"bob\"}", "the password is refused");
    assert_answer(b, "{\"cmd\":\"user.disable\",\"aor\":\"alice@EXAMPLE.org\"}",
                  "\"changed\":true");
    assert_answer(b, "{\"cmd\":\"user.list\"}", "\"disabled\":true");
    assert_answer(b, "{\"cmd\":\"user.list\"}", "\"ok\":true,\"count\":1");
    assert_answer(b, "{\"cmd\":\"user.remove\",\"aor\":\"alice\"}", "\"ok\":true");
    assert_answer(b, "{\"cmd\":\"user.list\"}", "\"count\":0");
    assert_answer(b, "{\"cmd\":\"status\"}", "no server is running");
    assert_answer(b, "{\"cmd\":\"user.lost\"}", "did you mean user.list?");
    assert_answer(b, "{\"cmd\":\"user.list\",\"cmd\":\"user.add\"}", "not JSON");
    bench_free(b);
}

#define SET(what) "{\"cmd\":\"user.set\",\"aor\":\"alice\",\"set\":[" what "]}"

static void what_people_set(void **state) {
    (void)state;
    struct bench *b = bench_new();
    struct account account;
    struct user_settings s;
    char mem[USER_SETTINGS_MAX];
    assert_answer(b, SET("\"dnd=on\""), "there is no alice@example.org");
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"alice\",\"generate\":true}", "\"ok\":true");
    assert_answer(b, SET("\"dnd=on\",\"forward-no-answer = 100, 15s\""),
                  "\"settings\":{\"dnd\":true,\"forward-no-answer\":\"sip:100@example.org\","
                  "\"no-answer-seconds\":15}");
    assert_ok(accounts_find(b->world.accounts, SLICE("alice"), SLICE("example.org"), &account));
    assert_true(account.has_settings);
    uint32_t stamp = account.stamp;
    assert_ok(accounts_settings(b->world.accounts, account.id, mem, &s));
    assert_true(s.dnd);
    assert_slice(s.forward[FORWARD_NO_ANSWER], "sip:100@example.org");
    assert_answer(b, SET("\"dnd=\",\"forward-busy=sips:bob@other.example\""), "\"dnd\":false");
    assert_answer(b, "{\"cmd\":\"user.show\",\"aor\":\"alice\"}",
                  "\"forward-busy\":\"sips:bob@other.example\",\"forward-no-answer\"");
    /* All or nothing, and what was set stays. */
    assert_answer(b, SET("\"forward-busy=\",\"forward-always=x y\""), "\"error\"");
    assert_answer(b, SET("\"dnd\""), "expected NAME=VALUE");
    assert_answer(b, SET("\"colour=red\""), "there is no setting");
    assert_answer(b, SET("\"forward-busy=http://x\""), "not a sip, sips or tel URI");
    assert_answer(b, SET(""), "between 1 and 16");
    assert_answer(b, "{\"cmd\":\"user.show\",\"aor\":\"alice\"}", "bob@other.example");
    assert_answer(b, SET("\"forward-busy=\",\"forward-no-answer=off\""),
                  "\"settings\":{\"dnd\":false}");
    assert_ok(accounts_find(b->world.accounts, SLICE("alice"), SLICE("example.org"), &account));
    assert_false(account.has_settings);
    assert_int_equal(account.stamp, stamp); /* who has proved to be alice still has */
    bench_free(b);
}

/* Whoever is connected hears of each change, and only of changes. */
static void workers_are_told(void **state) {
    (void)state;
    struct bench *b = bench_new();
    b->face = (struct server_face){ .ctx = b,
                                    .account_changed = account_changed,
                                    .device_changed = device_changed };
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"alice\",\"generate\":true}", "\"ok\":true");
    assert_answer(b,
                  "{\"cmd\":\"user.legacy\",\"aor\":\"alice\",\"name\":\"door\",\"why\":\"old\","
                  "\"until\":\"2019-01-01\"}",
                  "has passed");
    b->world.server = &b->face;
    assert_answer(b, "{\"cmd\":\"user.enable\",\"aor\":\"alice\"}", "\"changed\":false");
    assert_int_equal(b->accounts_told, 0);
    assert_answer(b, "{\"cmd\":\"user.disable\",\"aor\":\"alice\"}", "\"changed\":true");
    assert_int_equal(b->accounts_told, 1);
    assert_answer(b, "{\"cmd\":\"user.password\",\"aor\":\"alice\",\"generate\":true}", "secret");
    assert_int_equal(b->accounts_told, 2);
    bench_free(b);
}

static enum err three_allocations(void *ctx, uint32_t account_id, turn_visit_fn *visit,
                                  void *visit_ctx) {
    (void)ctx;
    static const uint32_t accounts[] = { 2, 1, 2 };
    struct turn_use use = { .tuple.peer.family = ADDR_V6,
                            .relayed = { { .family = ADDR_V4 }, { .family = ADDR_V6 } },
                            .bytes_up = 5,
                            .until = admin_now() + 90500,
                            .permissions = 3,
                            .is_tcp = true };
    for (size_t i = 0; i < ARRAY_LEN(accounts); i++) {
        use.account_id = accounts[i];
        if (account_id && account_id != use.account_id) continue;
        if (!visit(visit_ctx, &use, FLOW_TLS)) break;
    }
    return ERR_OK;
}

/* Each person's stand together, whatever order they come in. */
static void who_uses_the_relay(void **state) {
    (void)state;
    struct bench *b = bench_new();
    b->face = (struct server_face){ .ctx = b, .turn_each = three_allocations };
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"alice\",\"generate\":true}", "\"ok\":true");
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"bob\",\"generate\":true}", "\"ok\":true");
    assert_answer(b, "{\"cmd\":\"turn.list\"}", "no server is running");
    b->world.server = &b->face;
    assert_answer(b, "{\"cmd\":\"turn.list\"}",
                  "\"client_transport\":\"tls\",\"client_family\":\"IPv6\","
                  "\"relay_transport\":\"tcp\",\"relay_families\":[\"IPv4\",\"IPv6\"],"
                  "\"bytes_up\":5,");
    assert_non_null(strstr(heard, "\"seconds_left\":90,\"peers\":3,\"channels\":0"));
    const char *alice = strstr(heard, "alice@example.org\",\"number\":1,\"allocations\":1,");
    const char *bob = strstr(heard, "bob@example.org\",\"number\":1,\"allocations\":2,");
    assert_true(alice && bob && alice < bob);
    assert_non_null(strstr(bob, "bob@example.org\",\"number\":2,"));
    assert_non_null(strstr(heard, "\"count\":3,\"people\":2}"));
    assert_answer(b, "{\"cmd\":\"turn.list\",\"aor\":\"alice\"}", "\"count\":1,\"people\":1}");
    assert_answer(b, "{\"cmd\":\"turn.list\",\"aor\":\"zoe\"}", "there is no zoe@example.org");
    bench_free(b);
}

static uint32_t id_of(struct bench *b, const char *user) {
    struct account a;
    return accounts_find(b->world.accounts, slice_str(user), SLICE("example.org"), &a) == ERR_OK
               ? a.id
               : 0;
}

static void a_removed_id_never_comes_back(void **state) {
    (void)state;
    struct bench *b = bench_new();
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"alice\",\"generate\":true}", "\"ok\":true");
    uint32_t first = id_of(b, "alice");
    assert_answer(b, "{\"cmd\":\"user.remove\",\"aor\":\"alice\"}", "\"ok\":true");
    /* The next run: new tables, the same store. */
    accounts_free(b->world.accounts);
    b->world.accounts = accounts_new(1000, &key, seal_key);
    assert_non_null(b->world.accounts);
    assert_ok(world_load_ids(&b->world, b->store));
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"alice\",\"generate\":true}", "\"ok\":true");
    assert_true(id_of(b, "alice") > first);
    bench_free(b);
}

static void a_full_disk_changes_nothing(void **state) {
    (void)state;
    struct bench *b = bench_new();
    assert_answer(b, "{\"cmd\":\"user.add\",\"aor\":\"alice\",\"generate\":true}", "\"ok\":true");
    store_memory_fail(b->store, 0);
    static const char import_bob[] = "{\"cmd\":\"user.import\",\"users\":[{\"line\":1,"
                                     "\"aor\":\"bob\",\"password\":\"Kelp-otter-plum-9x\"}]}";
    static const char *const requests[] = {
        "{\"cmd\":\"user.add\",\"aor\":\"bob\",\"generate\":true}",
        import_bob,
        "{\"cmd\":\"user.disable\",\"aor\":\"alice\"}",
        "{\"cmd\":\"user.remove\",\"aor\":\"alice\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        assert_answer(b, requests[i], "nothing was changed");
        assert_int_equal(id_of(b, "bob"), 0);
        assert_true(id_of(b, "alice") != 0);
    }
    store_memory_fail(b->store, -1);
    assert_answer(b, "{\"cmd\":\"user.list\"}", "\"disabled\":false");
    assert_answer(b, requests[0], "\"ok\":true");
    bench_free(b);
}

/* Each allocation fails once: an answer comes, and the person is there wholly or not at all. */
static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    struct bench *b = bench_new();
    static const char request[] = "{\"cmd\":\"user.add\",\"aor\":\"carol\",\"generate\":true}";
    (void)ask(b, request); /* tables have grown to what they need */
    (void)ask(b, "{\"cmd\":\"user.remove\",\"aor\":\"carol\"}");
    for (int n = 0;; n++) {
        mem_fail_at(n);
        (void)ask(b, request);
        bool failed = mem_failed();
        mem_fail_at(-1);
        bool says_ok = strstr(heard, "\"ok\":true") != NULL;
        assert_true(says_ok || strstr(heard, "\"error\":") != NULL);
        assert_int_equal(says_ok, id_of(b, "carol") != 0);
        if (!failed) break;
        if (says_ok) (void)ask(b, "{\"cmd\":\"user.remove\",\"aor\":\"carol\"}");
        assert_true(n < 1000);
    }
    bench_free(b);
}

static int setup(void **state) {
    (void)state;
    json_init();
    log_open(-1, NULL);
    if (crypto_init() != ERR_OK) return -1;
    crypto_random(seal_key, sizeof seal_key);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(people),
        cmocka_unit_test(what_people_set),
        cmocka_unit_test(workers_are_told),
        cmocka_unit_test(who_uses_the_relay),
        cmocka_unit_test(a_removed_id_never_comes_back),
        cmocka_unit_test(a_full_disk_changes_nothing),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
