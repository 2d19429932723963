#include "unit.h"

#include "auth/accounts.h"
#include "auth/digest.h"
#include "auth/secret.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include <pthread.h>

static const struct hash_key key = { 0x0123456789abcdefu, 0xfedcba9876543210u };
static const uint8_t seal_key[32] = { 1, 2, 3 };

static struct account_row row(uint32_t id, const char *user, const char *aliases) {
    return (struct account_row){ .id = id,
                                 .user = slice_str(user),
                                 .domain = SLICE("example.org"),
                                 .aliases = slice_str(aliases) };
}
static struct device_row legacy(uint32_t id, uint32_t account_id) {
    return (struct device_row){ .id = id,
                                .account_id = account_id,
                                .kind = DEVICE_LEGACY,
                                .name = SLICE("hall"),
                                .why = SLICE("no TLS") };
}
static struct device_row certified(uint32_t id, uint32_t account_id, uint8_t first) {
    struct device_row d = { .id = id, .account_id = account_id, .kind = DEVICE_CERTIFICATE };
    d.key_hash[0] = first;
    return d;
}
static void put(struct accounts *a, struct account_row r) {
    assert_ok(accounts_put(a, &r));
}
static uint32_t found(struct accounts *a, const char *user, const char *domain) {
    struct account got;
    enum err e = accounts_find(a, slice_str(user), slice_str(domain), &got);
    return e ? 0 : got.id;
}

static void finds_by_every_name(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    put(a, row(1, "alice", " 100, 101 ,"));
    put(a, row(2, "bob", ""));
    assert_int_equal(found(a, "alice", "example.org"), 1);
    assert_int_equal(found(a, "alice", "EXAMPLE.org"), 1);
    assert_int_equal(found(a, "100", "example.org"), 1);
    assert_int_equal(found(a, "101", "example.org"), 1);
    assert_int_equal(found(a, "bob", "example.org"), 2);
    /* RFC 3261 19.1.4: the user part has case. */
    assert_int_equal(found(a, "Alice", "example.org"), 0);
    assert_int_equal(found(a, "alice", "example.com"), 0);
    assert_int_equal(found(a, "", "example.org"), 0);
    assert_int_equal(found(a, "alice@example.org", "example.org"), 0);
    assert_true(accounts_owns(a, 1, SLICE("101"), SLICE("Example.Org")));
    assert_false(accounts_owns(a, 2, SLICE("101"), SLICE("example.org")));
    assert_false(accounts_owns(a, 1, SLICE("10"), SLICE("example.org")));
    char text[64];
    struct buf b = buf_over(text, sizeof text);
    accounts_put_aor(a, 1, &b);
    assert_slice(buf_slice(&b), "alice@example.org");
    accounts_put_aor(a, 99, &b);
    assert_slice(buf_slice(&b), "alice@example.org");
    accounts_free(a);
}

static void refuses_a_name_twice(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    put(a, row(1, "alice", "100"));
    struct account_row r = row(2, "alice", "");
    assert_err(accounts_put(a, &r), ERR_EXISTS);
    r = row(2, "100", "");
    assert_err(accounts_put(a, &r), ERR_EXISTS);
    r = row(2, "bob", "99,alice");
    assert_err(accounts_put(a, &r), ERR_EXISTS);
    assert_int_equal(found(a, "99", "example.org"), 0);
    r = row(2, "alice", "100");
    r.domain = SLICE("example.com");
    put(a, r);
    assert_int_equal(accounts_count(a), 2);
    assert_int_equal(found(a, "100", "example.com"), 2);
    accounts_free(a);
}

static void refuses_what_is_no_row(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    struct account_row r = row(0, "alice", "");
    assert_err(accounts_put(a, &r), ERR_BAD);
    r = row(1, "", "");
    assert_err(accounts_put(a, &r), ERR_BAD);
    r = row(1, "alice", "");
    r.ha1_sha256 = SLICE("too short");
    assert_err(accounts_put(a, &r), ERR_BAD);
    r = row(1, "alice", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17");
    assert_err(accounts_put(a, &r), ERR_LIMIT);
    static char longer[ACCOUNT_USER_MAX + 2];
    memset(longer, 'a', sizeof longer - 1);
    r = row(1, longer, "");
    assert_err(accounts_put(a, &r), ERR_LIMIT);
    assert_int_equal(found(a, longer, "example.org"), 0);
    r = row(1, "alice", longer);
    assert_err(accounts_put(a, &r), ERR_LIMIT);
    longer[ACCOUNT_USER_MAX] = '\0';
    put(a, row(1, longer, "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"));
    assert_int_equal(found(a, longer, "example.org"), 1);
    assert_int_equal(found(a, "16", "example.org"), 1);
    accounts_free(a);
}

static void a_full_table_says_so(void **state) {
    (void)state;
    struct accounts *a = accounts_new(2, &key, seal_key);
    assert_non_null(a);
    put(a, row(1, "alice", ""));
    put(a, row(2, "bob", ""));
    struct account_row r = row(3, "carol", "");
    assert_err(accounts_put(a, &r), ERR_FULL);
    accounts_remove(a, 1);
    put(a, r);
    assert_int_equal(found(a, "carol", "example.org"), 3);
    assert_int_equal(found(a, "alice", "example.org"), 0);
    assert_int_equal(accounts_count(a), 2);
    accounts_free(a);
}

static uint32_t stamp(struct accounts *a, uint32_t id) {
    struct account got;
    assert_ok(accounts_by_id(a, id, &got));
    return got.stamp;
}

static void a_change_gives_a_new_stamp(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    put(a, row(1, "alice", "100"));
    put(a, row(2, "bob", ""));
    uint32_t first = stamp(a, 1), other = stamp(a, 2);
    struct account_row r = row(1, "alice", "100");
    r.display = SLICE("Alice");
    put(a, r); /* for people only: what was proved still holds */
    assert_int_equal(stamp(a, 1), first);
    r.aliases = SLICE("100,101");
    put(a, r);
    uint32_t second = stamp(a, 1);
    assert_int_not_equal(second, first);
    r.flags = ACCOUNT_DISABLED;
    put(a, r);
    uint32_t third = stamp(a, 1);
    assert_int_not_equal(third, second);
    struct secret_boxes boxes;
    secret_seal_account(seal_key, SLICE("secret"), &boxes, &r);
    put(a, r);
    assert_int_not_equal(stamp(a, 1), third);
    assert_int_equal(stamp(a, 2), other);
    /* Removed and made anew, it is another account to what was proved before. */
    uint32_t last = stamp(a, 1);
    accounts_remove(a, 1);
    put(a, r);
    assert_int_not_equal(stamp(a, 1), last);
    accounts_free(a);
}

static void a_new_name_takes_the_place_of_the_old(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    put(a, row(1, "alice", "100,101"));
    put(a, row(1, "alicia", "101,102"));
    assert_int_equal(found(a, "alice", "example.org"), 0);
    assert_int_equal(found(a, "100", "example.org"), 0);
    assert_int_equal(found(a, "alicia", "example.org"), 1);
    assert_int_equal(found(a, "101", "example.org"), 1);
    assert_int_equal(found(a, "102", "example.org"), 1);
    put(a, row(2, "alice", "100"));
    assert_int_equal(found(a, "alice", "example.org"), 2);
    accounts_free(a);
}

static void opens_the_sealed_secret(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    struct account_row r = row(1, "alice", "");
    struct secret_boxes boxes;
    secret_seal_account(seal_key, SLICE("wonder land"), &boxes, &r);
    put(a, r);
    put(a, row(2, "bob", ""));
    uint8_t got[32], want[32];
    assert_ok(accounts_ha1(a, 1, 0, DIGEST_SHA256, got));
    digest_ha1(DIGEST_SHA256, SLICE("alice"), SLICE("example.org"), SLICE("wonder land"), want);
    assert_memory_equal(got, want, 32);
    assert_ok(accounts_ha1(a, 1, 0, DIGEST_SHA512_256, got));
    digest_ha1(DIGEST_SHA512_256, SLICE("alice"), SLICE("example.org"), SLICE("wonder land"), want);
    assert_memory_equal(got, want, 32);
    assert_err(accounts_ha1(a, 2, 0, DIGEST_SHA256, got), ERR_MISSING);
    assert_err(accounts_ha1(a, 3, 0, DIGEST_SHA256, got), ERR_MISSING);
    assert_err(accounts_ha1(a, 1, 0, DIGEST_MD5, got), ERR_MISSING);
    /* Another account's box, or the box of the other algorithm, does not open. */
    struct account_row stolen = row(2, "bob", "");
    stolen.ha1_sha256 = r.ha1_sha256;
    put(a, stolen);
    assert_err(accounts_ha1(a, 2, 0, DIGEST_SHA256, got), ERR_CRYPTO);
    struct account_row swapped = row(1, "alice", "");
    swapped.ha1_sha256 = r.ha1_sha512_256;
    put(a, swapped);
    assert_err(accounts_ha1(a, 1, 0, DIGEST_SHA256, got), ERR_CRYPTO);
    assert_err(accounts_ha1(a, 1, 0, DIGEST_SHA512_256, got), ERR_MISSING);
    accounts_free(a);
}

static void keeps_legacy_devices(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    put(a, row(1, "alice", ""));
    put(a, row(2, "bob", ""));
    struct device_row d = legacy(7, 1);
    uint8_t box[SECRET_SEALED_MD5_BYTES];
    secret_seal_legacy(seal_key, SLICE("alice"), SLICE("example.org"), SLICE("hall phone"), box,
                       &d);
    assert_ok(accounts_put_device(a, &d));
    uint8_t got[32], want[32];
    assert_ok(accounts_ha1(a, 1, 7, DIGEST_MD5, got));
    digest_ha1(DIGEST_MD5, SLICE("alice"), SLICE("example.org"), SLICE("hall phone"), want);
    assert_memory_equal(got, want, 16);
    assert_err(accounts_ha1(a, 2, 7, DIGEST_MD5, got), ERR_MISSING);
    struct device_row moved = d; /* the box is bound to account and device */
    moved.id = 8;
    assert_ok(accounts_put_device(a, &moved));
    assert_err(accounts_ha1(a, 1, 8, DIGEST_MD5, got), ERR_CRYPTO);
    struct device_row cert = certified(9, 1, 0xaa);
    assert_ok(accounts_put_device(a, &cert));
    struct device list[4];
    assert_int_equal(accounts_legacy_devices(a, 1, list, 4), 2);
    assert_int_equal(accounts_legacy_devices(a, 1, list, 1), 1);
    assert_int_equal(accounts_legacy_devices(a, 2, list, 4), 0);
    d.revoked = true;
    d.until = 5000;
    assert_ok(accounts_put_device(a, &d));
    struct device one;
    assert_ok(accounts_device(a, 7, &one));
    assert_true(one.revoked);
    assert_int_equal(one.until, 5000);
    d.account_id = 3;
    assert_err(accounts_put_device(a, &d), ERR_MISSING);
    d.account_id = 2; /* a device does not change hands */
    assert_err(accounts_put_device(a, &d), ERR_EXISTS);
    accounts_free(a);
}

static void finds_certificates_by_key(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    put(a, row(1, "alice", ""));
    put(a, row(2, "bob", ""));
    struct device_row d = certified(7, 1, 0xaa), e = certified(8, 2, 0xaa);
    struct device got;
    assert_ok(accounts_put_device(a, &d));
    assert_err(accounts_put_device(a, &e), ERR_EXISTS);
    assert_ok(accounts_device_by_key(a, d.key_hash, &got));
    assert_int_equal(got.id, 7);
    assert_int_equal(got.account_id, 1);
    uint8_t zero[32] = { 0 }; /* a legacy device has no key: nobody is found by an empty one */
    struct device_row l = legacy(9, 1);
    assert_ok(accounts_put_device(a, &l));
    assert_err(accounts_device_by_key(a, zero, &got), ERR_MISSING);
    accounts_remove_device(a, 7);
    accounts_remove_device(a, 7);
    assert_err(accounts_device_by_key(a, d.key_hash, &got), ERR_MISSING);
    assert_ok(accounts_put_device(a, &e));
    /* Removing an account takes its devices along. */
    accounts_remove(a, 2);
    accounts_remove(a, 2);
    assert_err(accounts_device(a, 8, &got), ERR_MISSING);
    assert_err(accounts_device_by_key(a, e.key_hash, &got), ERR_MISSING);
    assert_ok(accounts_device(a, 9, &got));
    accounts_free(a);
}

static void bounds_devices_of_an_account(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    put(a, row(1, "alice", ""));
    for (uint32_t i = 1; i <= ACCOUNT_DEVICES_MAX; i++) {
        struct device_row d = legacy(i, 1);
        assert_ok(accounts_put_device(a, &d));
    }
    struct device_row d = legacy(99, 1);
    assert_err(accounts_put_device(a, &d), ERR_LIMIT);
    d.id = 5; /* changing one is not adding one */
    assert_ok(accounts_put_device(a, &d));
    accounts_remove(a, 1);
    struct device got;
    for (uint32_t i = 1; i <= ACCOUNT_DEVICES_MAX; i++)
        assert_err(accounts_device(a, i, &got), ERR_MISSING);
    accounts_free(a);
}

static void gives_ids_once(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    put(a, row(7, "alice", ""));
    assert_int_equal(accounts_free_id(a), 8);
    assert_int_equal(accounts_free_id(a), 9);
    accounts_remove(a, 7);
    assert_int_equal(accounts_free_id(a), 10);
    accounts_ids_above(a, 100, 200);
    accounts_ids_above(a, 50, 50);
    assert_int_equal(accounts_free_id(a), 101);
    assert_int_equal(accounts_free_device_id(a), 201);
    accounts_free(a);
}

struct walk {
    unsigned seen, stop_at;
    uint32_t last;
};
static bool walk_account(void *ctx, const struct account_row *r) {
    struct walk *w = ctx;
    assert_slice(r->domain, "example.org");
    assert_slice(r->aliases, r->id == 1 ? "100,101" : "");
    assert_slice(r->display, r->id == 1 ? "Alice" : "");
    assert_int_equal(r->ha1_sha256.len, r->id == 1 ? STORE_SEALED_HA1_BYTES : 0);
    return ++w->seen != w->stop_at;
}
static bool walk_device(void *ctx, const struct device_row *r) {
    struct walk *w = ctx;
    assert_slice(r->name, "hall");
    w->last = r->id;
    return ++w->seen != w->stop_at;
}

static void walks_all(void **state) {
    (void)state;
    struct accounts *a = accounts_new(100, &key, seal_key);
    assert_non_null(a);
    struct account_row r = row(1, "alice", "100, 101");
    struct secret_boxes boxes;
    secret_seal_account(seal_key, SLICE("x"), &boxes, &r);
    r.display = SLICE("Alice");
    r.domain = SLICE("Example.ORG");
    put(a, r);
    put(a, row(2, "bob", ""));
    put(a, row(3, "carol", ""));
    accounts_remove(a, 2);
    struct walk w = { 0 };
    accounts_each(a, walk_account, &w);
    assert_int_equal(w.seen, 2);
    w = (struct walk){ .stop_at = 1 };
    accounts_each(a, walk_account, &w);
    assert_int_equal(w.seen, 1);
    struct device_row d = legacy(7, 3);
    assert_ok(accounts_put_device(a, &d));
    w = (struct walk){ 0 };
    accounts_each_device(a, walk_device, &w);
    assert_int_equal(w.seen, 1);
    assert_int_equal(w.last, 7);
    accounts_free(a);
}

/* Random puts and removals against a plain array. */
static void agrees_with_a_plain_array(void **state) {
    (void)state;
    enum { IDS = 40, NAMES = 30, STEPS = 4000 };
    struct accounts *a = accounts_new(IDS, &key, seal_key);
    assert_non_null(a);
    int name_of[IDS + 1] = { 0 }, alias_of[IDS + 1] = { 0 }; /* 0: not there */
    uint64_t seed = 20260101;
    for (int step = 0; step < STEPS; step++) {
        uint32_t id = 1 + unit_below(&seed, IDS);
        int name = 1 + (int)unit_below(&seed, NAMES), alias = 1 + (int)unit_below(&seed, NAMES);
        if (unit_below(&seed, 3) == 0) {
            accounts_remove(a, id);
            name_of[id] = alias_of[id] = 0;
        } else {
            bool clash = false;
            for (uint32_t i = 1; i <= IDS; i++)
                clash |= i != id && name_of[i] &&
                         (name_of[i] == name || alias_of[i] == name || name_of[i] == alias ||
                          alias_of[i] == alias);
            char user[16], other[16];
            (void)snprintf(user, sizeof user, "u%d", name);
            (void)snprintf(other, sizeof other, "u%d", alias);
            struct account_row r = row(id, user, other);
            assert_err(accounts_put(a, &r), clash ? ERR_EXISTS : ERR_OK);
            if (!clash) {
                name_of[id] = name;
                alias_of[id] = alias;
            }
        }
        int probe = 1 + (int)unit_below(&seed, NAMES);
        uint32_t want = 0;
        for (uint32_t i = 1; i <= IDS; i++)
            if (name_of[i] == probe || alias_of[i] == probe) want = i;
        char user[16];
        (void)snprintf(user, sizeof user, "u%d", probe);
        assert_int_equal(found(a, user, "example.org"), want);
    }
    accounts_free(a);
}

/* One writer renames back and forth; readers must always find the name that stays. */
struct race {
    struct accounts *a;
    _Atomic bool stop;
    _Atomic unsigned missing, looks, hits;
};
static void *reader(void *p) {
    struct race *r = p;
    struct account got;
    do {
        if (accounts_find(r->a, SLICE("stays"), SLICE("example.org"), &got)) r->missing++;
        if (!accounts_find(r->a, SLICE("alice"), SLICE("example.org"), &got)) r->hits++;
        if (!accounts_owns(r->a, 1, SLICE("stays"), SLICE("example.org"))) r->missing++;
        r->looks++;
    } while (!r->stop);
    return NULL;
}
static void readers_always_find_what_stays(void **state) {
    (void)state;
    struct race race = { .a = accounts_new(100, &key, seal_key) };
    assert_non_null(race.a);
    put(race.a, row(1, "alice", "stays"));
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, reader, &race), 0);
    for (int i = 0; i < 3000 || race.looks < 100; i++)
        put(race.a, row(1, i % 2 ? "alice" : "alicia", i % 3 ? "stays" : "1,stays,2"));
    race.stop = true;
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(race.missing, 0);
    accounts_free(race.a);
}

static enum err oom_run(void *ctx) {
    (void)ctx;
    struct accounts *a = accounts_new(100, &key, seal_key);
    if (!a) return ERR_MEMORY;
    struct account_row r = row(1, "alice", "100,101"), s = row(1, "alicia", "100,102");
    enum err e = accounts_put(a, &r);
    if (!e) {
        e = accounts_put(a, &s);
        /* Nothing has changed, or all of it. */
        assert_int_equal(found(a, "alice", "example.org"), e ? 1 : 0);
        assert_int_equal(found(a, "102", "example.org"), e ? 0 : 1);
        assert_int_equal(found(a, "100", "example.org"), 1);
    } else {
        assert_int_equal(accounts_count(a), 0);
        assert_int_equal(found(a, "100", "example.org"), 0);
    }
    struct device_row d = certified(7, 1, 1), l = legacy(8, 1);
    if (!e) e = accounts_put_device(a, &d);
    if (!e) e = accounts_put_device(a, &l);
    accounts_free(a);
    return e;
}
/* A start: each enters with its successor, or with the first device, or at the end. */
static void loads_a_store(void **state) {
    (void)state;
    for (int n = 0; n < 3; n++) {
        int64_t before = mem_live();
        struct accounts *a = accounts_new(100, &key, seal_key);
        assert_non_null(a);
        accounts_loading(a, 3);
        put(a, row(1, "alice", "100"));
        put(a, row(2, "bob", ""));
        if (n == 0) { /* two of one name: whoever comes second is refused, a call later */
            put(a, row(3, "100", ""));
            struct account_row carol = row(4, "carol", "");
            assert_err(accounts_put(a, &carol), ERR_EXISTS);
        } else if (n == 1) { /* the last one */
            put(a, row(3, "carol", "alice"));
            assert_err(accounts_loaded(a), ERR_EXISTS);
            assert_int_equal(accounts_count(a), 2);
        } else {
            struct device_row d = legacy(9, 2), nobodys = legacy(8, 3);
            assert_ok(accounts_put_device(a, &d));
            assert_err(accounts_put_device(a, &nobodys), ERR_MISSING);
            put(a, row(3, "carol", "200"));
            assert_ok(accounts_loaded(a));
            assert_int_equal(accounts_count(a), 3);
            assert_int_equal(found(a, "100", "example.org"), 1);
            assert_int_equal(found(a, "bob", "example.org"), 2);
            assert_int_equal(found(a, "200", "example.org"), 3);
            put(a, row(4, "dave", "")); /* at once again */
            assert_int_equal(found(a, "dave", "example.org"), 4);
        }
        accounts_free(a); /* with who still waits */
        assert_int_equal(mem_live(), before);
    }
}

static void memory_runs_short(void **state) {
    (void)state;
    assert_true(unit_oom(oom_run) > 10);
}

static int setup(void **state) {
    (void)state;
    return crypto_init() ? -1 : 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_every_name),
        cmocka_unit_test(refuses_a_name_twice),
        cmocka_unit_test(refuses_what_is_no_row),
        cmocka_unit_test(a_full_table_says_so),
        cmocka_unit_test(a_change_gives_a_new_stamp),
        cmocka_unit_test(a_new_name_takes_the_place_of_the_old),
        cmocka_unit_test(opens_the_sealed_secret),
        cmocka_unit_test(keeps_legacy_devices),
        cmocka_unit_test(finds_certificates_by_key),
        cmocka_unit_test(bounds_devices_of_an_account),
        cmocka_unit_test(gives_ids_once),
        cmocka_unit_test(walks_all),
        cmocka_unit_test(agrees_with_a_plain_array),
        cmocka_unit_test(readers_always_find_what_stays),
        cmocka_unit_test(loads_a_store),
        cmocka_unit_test(memory_runs_short),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
