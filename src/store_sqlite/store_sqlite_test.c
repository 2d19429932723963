#include "unit.h"

#include "store_sqlite/schema.h"
#include "store_sqlite/store_sqlite.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Every test gets a folder of its own, emptied afterwards. */
static char folder[64], path[96];
static char why_text[512];
static struct buf why;

static int setup(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/kith_store_XXXXXX");
    if (!mkdtemp(folder)) return -1;
    (void)snprintf(path, sizeof path, "%s/kith.db", folder);
    why = buf_over(why_text, sizeof why_text);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    static const char *const ends[] = { "", "-wal", "-shm", "-journal" };
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        char name[128];
        (void)snprintf(name, sizeof name, "%s%s", path, ends[i]);
        (void)unlink(name);
    }
    return rmdir(folder);
}
static struct store *open_for(enum store_sqlite_mode mode) {
    struct store *s = NULL;
    enum err e = store_sqlite_open(path, mode, &s, &why);
    if (e) print_error(SLICE_FMT "\n", SLICE_ARG(buf_slice(&why)));
    assert_ok(e);
    return s;
}
static void assert_why(const char *part) {
    if (slice_find_slice(buf_slice(&why), slice_str(part)) < why.len) return;
    print_error("\"" SLICE_FMT "\" does not say \"%s\"\n", SLICE_ARG(buf_slice(&why)), part);
    fail();
}

static const char ha1[STORE_SEALED_HA1_BYTES] = "sealed\0with a zero inside";

static struct store_change account(uint32_t id, const char *user) {
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
static struct store_change device(uint32_t id, uint32_t account_id) {
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
static struct store_change binding(uint32_t account_id, uint32_t bid) {
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

struct seen {
    unsigned accounts, devices, bindings;
    bool exact; /* check every member */
    enum err answer;
};
static enum err see_account(void *ctx, const struct account_row *row) {
    struct seen *s = ctx;
    s->accounts++;
    if (!s->exact) return s->answer;
    const struct store_change want = account(1, "alice");
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
    struct seen *s = ctx;
    s->devices++;
    if (!s->exact) return ERR_OK;
    const struct store_change want = device(7, 1);
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
    struct seen *s = ctx;
    s->bindings++;
    if (!s->exact) return ERR_OK;
    const struct store_change c = binding(1, 9);
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
static struct seen look(struct store *s, bool exact) {
    struct seen seen = { .exact = exact };
    struct store_reader reader = { &seen, see_account, see_device, see_binding };
    assert_ok(store_load(s, &reader));
    return seen;
}

static void brings_everything_back(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change batch[] = { account(1, "alice"), device(7, 1), binding(1, 9) };
    struct store_change older = binding(1, 9);
    older.binding.contact = SLICE("sip:old@192.0.2.1");
    struct store_change unnamed = account(1, "alison");
    assert_ok(store_commit(s, &unnamed, 1));
    assert_ok(store_commit(s, &older, 1));
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch))); /* replaces by key */
    store_close(s);
    s = open_for(STORE_SQLITE_WRITE);
    struct seen seen = look(s, true);
    assert_int_equal(seen.accounts, 1);
    assert_int_equal(seen.devices, 1);
    assert_int_equal(seen.bindings, 1);
    store_close(s);
}

static void changing_an_account_keeps_its_bindings(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change batch[] = { account(1, "alice"), device(7, 1), binding(1, 9) };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    assert_ok(store_commit(s, batch, 1));
    assert_int_equal(look(s, true).bindings, 1);
    store_close(s);
}

static void removes_with_the_account(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change batch[] = { account(1, "alice"), account(2, "bob"), device(7, 1),
                                    device(8, 2),        device(9, 2),      binding(1, 9),
                                    binding(2, 9),       binding(2, 10) };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    const struct store_change removal[] = {
        { .op = STORE_ACCOUNT_REMOVE, .account = { .id = 1 } },
        { .op = STORE_DEVICE_REMOVE, .device = { .id = 9 } },
        { .op = STORE_DEVICE_REMOVE, .device = { .id = 4711 } },
        { .op = STORE_BINDING_REMOVE, .binding = { .account_id = 2, .bid = 10 } },
    };
    assert_ok(store_commit(s, removal, ARRAY_LEN(removal)));
    struct seen seen = look(s, false);
    assert_int_equal(seen.accounts, 1);
    assert_int_equal(seen.devices, 1);
    assert_int_equal(seen.bindings, 1);
    store_close(s);
}

/* A refresh that comes after its account's removal is dropped and spoils no batch. */
static void drops_what_has_no_account(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change batch[] = { binding(1, 9), device(7, 1), account(2, "bob") };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    struct seen seen = look(s, false);
    assert_int_equal(seen.accounts, 1);
    assert_int_equal(seen.devices, 0);
    assert_int_equal(seen.bindings, 0);
    store_close(s);
}

static void keeps_named_values(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
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

static void a_batch_is_all_or_nothing(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change batch[] = { account(1, "alice"), binding(1, 9), account(2, "alice") };
    assert_err(store_commit(s, batch, ARRAY_LEN(batch)), ERR_STORE);
    assert_true(strlen(store_trouble(s)) > 0);
    struct seen seen = look(s, false);
    assert_int_equal(seen.accounts, 0);
    assert_int_equal(seen.bindings, 0);
    assert_ok(store_commit(s, batch, 2));
    assert_string_equal(store_trouble(s), "");
    assert_int_equal(look(s, false).bindings, 1);
    store_close(s);
}

static void a_full_disk_is_said_and_survived(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change first = account(1, "alice");
    assert_ok(store_commit(s, &first, 1));
    store_sqlite_test_limits(s, 40, 0);
    enum err e = ERR_OK;
    uint32_t kept = 0;
    for (uint32_t bid = 1; bid < 2000 && !e; bid += 20) {
        struct store_change batch[20];
        for (uint32_t i = 0; i < 20; i++) batch[i] = binding(1, bid + i);
        e = store_commit(s, batch, ARRAY_LEN(batch));
        if (!e) kept += 20;
    }
    assert_err(e, ERR_STORE);
    assert_non_null(strstr(store_trouble(s), "no space left"));
    assert_int_equal(look(s, false).bindings, kept); /* the failed batch left nothing */
    store_sqlite_test_limits(s, 1000000, 0);
    struct store_change more = binding(1, 5000);
    assert_ok(store_commit(s, &more, 1));
    assert_string_equal(store_trouble(s), "");
    store_close(s);
    s = open_for(STORE_SQLITE_WRITE);
    assert_int_equal(look(s, false).bindings, kept + 1);
    store_close(s);
}

/* The child commits and reports each commit through a pipe; it is killed somewhere among them. */
static void child_commits(int report, uint32_t from) {
    struct store *s;
    if (store_sqlite_open(path, STORE_SQLITE_WRITE, &s, &why)) _exit(1);
    for (uint32_t bid = from;; bid++) {
        struct store_change c = binding(1, bid);
        c.durability = bid % 5 == 0 ? STORE_FULL : STORE_NORMAL;
        if (store_commit(s, &c, 1)) _exit(2);
        if (write(report, &bid, sizeof bid) != (ssize_t)sizeof bid) _exit(3);
    }
}
struct bids {
    uint32_t highest;
    unsigned count;
};
static enum err see_bid(void *ctx, const struct binding_row *row) {
    struct bids *b = ctx;
    b->count++;
    if (row->bid > b->highest) b->highest = row->bid;
    return ERR_OK;
}
static void what_was_reported_survives_kill(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change first = account(1, "alice");
    assert_ok(store_commit(s, &first, 1));
    store_close(s);
    uint32_t next = 1;
    uint64_t seed = 7;
    for (int round = 0; round < 6; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) child_commits(pipes[1], next);
        (void)close(pipes[1]);
        uint32_t reported = 0, wanted = next + unit_below(&seed, 400);
        while (reported < wanted)
            assert_int_equal(read(pipes[0], &reported, sizeof reported), sizeof reported);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(pipes[0], &reported, sizeof reported) == (ssize_t)sizeof reported) continue;
        (void)close(pipes[0]);
        s = open_for(STORE_SQLITE_WRITE);
        struct bids bids = { 0 };
        struct store_reader reader = { &bids, NULL, NULL, see_bid };
        assert_ok(store_load(s, &reader));
        assert_true(bids.highest >= reported);
        assert_int_equal(bids.count, bids.highest); /* none is missing in between */
        next = bids.highest + 1;
        store_close(s);
    }
}

static enum err see_refreshed(void *ctx, const struct binding_row *row) {
    *(bool *)ctx = row->cseq == 9 && row->registered == 70 && row->expires == 80 && row->q == 700 &&
                   slice_eq(row->contact, SLICE("sip:a@192.0.2.1"));
    return ERR_OK;
}

/* architecture.md section 4: a mere refresh moves its numbers and leaves the rest alone. */
static void a_refresh_moves_numbers_only(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change changes[] = { account(1, "alice"),
                                      binding(1, 5),
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
            struct store *s = open_for(STORE_SQLITE_WRITE);
            struct store_change c[3], alice = account(1, "alice");
            for (unsigned i = 0; i < 3; i++) {
                c[i] = binding(1, 5);
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

static void overwrite(off_t from, size_t len) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    char noise[4096];
    memset(noise, 0x5a, sizeof noise);
    for (size_t done = 0; done < len; done += sizeof noise)
        assert_int_equal(pwrite(fd, noise, sizeof noise, from + (off_t)done), sizeof noise);
    (void)close(fd);
}

static void damage_is_said(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change first = account(1, "alice");
    assert_ok(store_commit(s, &first, 1));
    for (uint32_t bid = 1; bid <= 2000; bid++) {
        struct store_change c = binding(1, bid);
        c.durability = STORE_LAZY;
        assert_ok(store_commit(s, &c, 1));
    }
    store_close(s);
    overwrite(20 * 4096, 20 * 4096);
    s = open_for(STORE_SQLITE_WRITE);
    struct seen seen = { 0 };
    struct store_reader reader = { &seen, see_account, see_device, see_binding };
    assert_err(store_load(s, &reader), ERR_STORE);
    assert_non_null(strstr(store_trouble(s), "damaged"));
    store_close(s);
    overwrite(0, 4096);
    assert_err(store_sqlite_open(path, STORE_SQLITE_WRITE, &s, &why), ERR_STORE);
    assert_why("damaged");
}

static void says_what_is_in_the_way(void **state) {
    (void)state;
    struct store *s = NULL;
    assert_err(store_sqlite_open(path, STORE_SQLITE_READ, &s, &why), ERR_MISSING);
    assert_why("there is no database");
    buf_clear(&why);
    assert_err(store_sqlite_open(folder, STORE_SQLITE_WRITE, &s, &why), ERR_STORE);
    assert_why("is not a file");
    buf_clear(&why);
    assert_err(store_sqlite_open("/proc/none/kith.db", STORE_SQLITE_WRITE, &s, &why), ERR_STORE);
    assert_why("cannot make");
    assert_null(s);
}

static void raw(const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void another_writer_is_said(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    store_sqlite_test_limits(s, 1000000, 0);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct store_change first = account(1, "alice");
    assert_err(store_commit(s, &first, 1), ERR_STORE);
    assert_non_null(strstr(store_trouble(s), "locked by another process"));
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_ok(store_commit(s, &first, 1));
    store_close(s);
}

static void a_reader_works_beside_the_server(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change batch[] = { account(1, "alice"), device(7, 1), binding(1, 9) };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    struct store *reader = open_for(STORE_SQLITE_READ);
    assert_int_equal(look(reader, true).accounts, 1);
    assert_err(store_commit(reader, batch, 1), ERR_DENIED);
    struct store_change more = account(2, "bob");
    assert_ok(store_commit(s, &more, 1));
    assert_int_equal(look(reader, false).accounts, 2);
    store_close(reader);
    store_close(s);
    reader = open_for(STORE_SQLITE_READ); /* and without a server */
    assert_int_equal(look(reader, false).accounts, 2);
    store_close(reader);
}

static void files_are_for_the_owner_only(void **state) {
    (void)state;
    mode_t before = umask(0);
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change first = account(1, "alice");
    assert_ok(store_commit(s, &first, 1));
    static const char *const ends[] = { "", "-wal", "-shm" };
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        char name[128];
        (void)snprintf(name, sizeof name, "%s%s", path, ends[i]);
        struct stat st;
        assert_int_equal(stat(name, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    store_close(s);
    assert_int_equal(chmod(path, 0644), 0);
    s = open_for(STORE_SQLITE_WRITE);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    store_close(s);
    (void)umask(before);
}

/* What was removed must not stay readable in the file: secure_delete. */
static void removed_bytes_are_gone(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change c = account(1, "alice");
    c.account.display = SLICE("a-very-rare-word-4711");
    assert_ok(store_commit(s, &c, 1));
    store_close(s); /* into the main file */
    s = open_for(STORE_SQLITE_WRITE);
    c.op = STORE_ACCOUNT_REMOVE;
    assert_ok(store_commit(s, &c, 1));
    store_close(s);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    static char bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    (void)fclose(f);
    assert_true(n > 4096 && n < sizeof bytes);
    assert_int_equal(slice_find_slice(slice_of(bytes, n), SLICE("a-very-rare-word")), n);
}

static void refuses_files_of_others(void **state) {
    (void)state;
    raw("CREATE TABLE theirs (x)");
    struct store *s = NULL;
    assert_err(store_sqlite_open(path, STORE_SQLITE_WRITE, &s, &why), ERR_STORE);
    assert_why("belongs to another program");
    (void)unlink(path);
    store_close(open_for(STORE_SQLITE_WRITE));
    raw("PRAGMA user_version = 4711");
    buf_clear(&why);
    assert_err(store_sqlite_open(path, STORE_SQLITE_WRITE, &s, &why), ERR_STORE);
    assert_why("newer version");
    assert_null(s);
}

/* The steps of the future, tried on a file of today. */
static void an_older_file_is_brought_up_to_date(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change first = account(1, "alice");
    assert_ok(store_commit(s, &first, 1));
    store_close(s);
    const unsigned now = schema_step_count;
    const char *steps[16];
    assert_true(now + 2 <= ARRAY_LEN(steps));
    for (unsigned i = 0; i < now; i++) steps[i] = schema_steps[i];
    steps[now] = "ALTER TABLE account ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'";
    steps[now + 1] = "CREATE TABLE more (x) STRICT; nonsense";
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_err(schema_update(db, steps, now + 1, false), ERR_STALE);
    assert_ok(schema_update(db, steps, now + 1, true));
    assert_int_equal(sqlite3_exec(db, "SELECT colour FROM account", NULL, NULL, NULL), SQLITE_OK);
    assert_ok(schema_update(db, steps, now + 1, true)); /* nothing is done twice */
    /* A step that fails leaves the file as it was before it. */
    assert_err(schema_update(db, steps, now + 2, true), ERR_STORE);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_ok(schema_update(db, steps, now + 1, false));
    assert_int_equal(sqlite3_exec(db, "SELECT * FROM more", NULL, NULL, NULL), SQLITE_ERROR);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static enum err see_no_settings(void *ctx, const struct account_row *row) {
    ++*(unsigned *)ctx;
    assert_slice(row->user, "alice");
    assert_slice(row->settings, "");
    return ERR_OK;
}

/* Files of every earlier version: their people are kept, and have set nothing. */
static void the_first_files_are_brought_up_to_date(void **state) {
    (void)state;
    for (unsigned version = 1; version < schema_step_count; version++) {
        unsigned seen = 0;
        sqlite3 *db;
        (void)unlink(path);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_ok(schema_update(db, schema_steps, version, true));
        int result = sqlite3_exec(db,
                                  "INSERT INTO account (id, user, domain, aliases, display, flags,"
                                  " ha1_sha256, ha1_sha512_256, created, changed)"
                                  " VALUES (1, 'alice', 'example.org', '', '', 0, x'', x'', 1, 1)",
                                  NULL, NULL, NULL);
        assert_int_equal(result, SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        struct store *s = open_for(STORE_SQLITE_WRITE);
        struct store_reader reader = { &seen, see_no_settings, NULL, NULL };
        assert_ok(store_load(s, &reader));
        assert_int_equal(seen, 1);
        struct store_change change = account(2, "bob");
        assert_ok(store_commit(s, &change, 1));
        store_close(s);
    }
}

static void a_callback_ends_the_load(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change batch[] = { account(1, "alice"), account(2, "bob") };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    struct seen seen = { .answer = ERR_LIMIT };
    struct store_reader reader = { &seen, see_account, NULL, NULL };
    assert_err(store_load(s, &reader), ERR_LIMIT);
    assert_int_equal(seen.accounts, 1);
    assert_ok(store_commit(s, batch, 1)); /* the read transaction is over */
    store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(brings_everything_back),
        TEST(changing_an_account_keeps_its_bindings),
        TEST(removes_with_the_account),
        TEST(drops_what_has_no_account),
        TEST(keeps_named_values),
        TEST(a_batch_is_all_or_nothing),
        TEST(a_full_disk_is_said_and_survived),
        TEST(what_was_reported_survives_kill),
        TEST(a_refresh_moves_numbers_only),
        TEST(the_newest_change_counts),
        TEST(damage_is_said),
        TEST(says_what_is_in_the_way),
        TEST(another_writer_is_said),
        TEST(a_reader_works_beside_the_server),
        TEST(files_are_for_the_owner_only),
        TEST(removed_bytes_are_gone),
        TEST(refuses_files_of_others),
        TEST(an_older_file_is_brought_up_to_date),
        TEST(the_first_files_are_brought_up_to_date),
        TEST(a_callback_ends_the_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
