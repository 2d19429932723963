#include "unit.h"

#include "store/store_rig.h"
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
struct store *store_rig_open(void) {
    return open_for(STORE_SQLITE_WRITE);
}
struct store *store_rig_again(struct store *s) {
    store_close(s);
    return open_for(STORE_SQLITE_WRITE);
}
static void assert_why(const char *part) {
    if (slice_find_slice(buf_slice(&why), slice_str(part)) < why.len) return;
    print_error("\"" SLICE_FMT "\" does not say \"%s\"\n", SLICE_ARG(buf_slice(&why)), part);
    fail();
}

static void a_batch_is_all_or_nothing(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change batch[] = { rig_account(1, "alice"), rig_binding(1, 9),
                                    rig_account(2, "alice") };
    assert_err(store_commit(s, batch, ARRAY_LEN(batch)), ERR_STORE);
    assert_true(strlen(store_trouble(s)) > 0);
    struct rig_seen seen = rig_look(s, false);
    assert_int_equal(seen.accounts, 0);
    assert_int_equal(seen.bindings, 0);
    assert_ok(store_commit(s, batch, 2));
    assert_string_equal(store_trouble(s), "");
    assert_int_equal(rig_look(s, false).bindings, 1);
    store_close(s);
}

static void a_full_disk_is_said_and_survived(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change first = rig_account(1, "alice");
    assert_ok(store_commit(s, &first, 1));
    store_sqlite_test_limits(s, 40, 0);
    enum err e = ERR_OK;
    uint32_t kept = 0;
    for (uint32_t bid = 1; bid < 2000 && !e; bid += 20) {
        struct store_change batch[20];
        for (uint32_t i = 0; i < 20; i++) batch[i] = rig_binding(1, bid + i);
        e = store_commit(s, batch, ARRAY_LEN(batch));
        if (!e) kept += 20;
    }
    assert_err(e, ERR_IO);
    assert_non_null(strstr(store_trouble(s), "no space left"));
    assert_int_equal(rig_look(s, false).bindings, kept); /* the failed batch left nothing */
    store_sqlite_test_limits(s, 1000000, 0);
    struct store_change more = rig_binding(1, 5000);
    assert_ok(store_commit(s, &more, 1));
    assert_string_equal(store_trouble(s), "");
    store_close(s);
    s = open_for(STORE_SQLITE_WRITE);
    assert_int_equal(rig_look(s, false).bindings, kept + 1);
    store_close(s);
}

/* The child commits and reports each commit through a pipe; it is killed somewhere among them. */
static void child_commits(int report, uint32_t from) {
    struct store *s;
    if (store_sqlite_open(path, STORE_SQLITE_WRITE, &s, &why)) _exit(1);
    for (uint32_t bid = from;; bid++) {
        struct store_change c = rig_binding(1, bid);
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
    struct store_change first = rig_account(1, "alice");
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
        struct store_reader reader = { .ctx = &bids, .on_binding = see_bid };
        assert_ok(store_load(s, &reader));
        assert_true(bids.highest >= reported);
        assert_int_equal(bids.count, bids.highest); /* none is missing in between */
        next = bids.highest + 1;
        store_close(s);
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
    struct store_change first = rig_account(1, "alice");
    assert_ok(store_commit(s, &first, 1));
    for (uint32_t bid = 1; bid <= 2000; bid++) {
        struct store_change c = rig_binding(1, bid);
        c.durability = STORE_LAZY;
        assert_ok(store_commit(s, &c, 1));
    }
    store_close(s);
    overwrite(20 * 4096, 20 * 4096);
    s = open_for(STORE_SQLITE_WRITE);
    struct rig_seen seen = { 0 };
    struct store_reader reader = rig_reader(&seen);
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
    struct store_change first = rig_account(1, "alice");
    assert_err(store_commit(s, &first, 1), ERR_IO);
    assert_non_null(strstr(store_trouble(s), "locked by another process"));
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_ok(store_commit(s, &first, 1));
    store_close(s);
}

static void a_reader_works_beside_the_server(void **state) {
    (void)state;
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change batch[] = { rig_account(1, "alice"), rig_device(7, 1), rig_binding(1, 9) };
    assert_ok(store_commit(s, batch, ARRAY_LEN(batch)));
    struct store *reader = open_for(STORE_SQLITE_READ);
    assert_int_equal(rig_look(reader, true).accounts, 1);
    assert_err(store_commit(reader, batch, 1), ERR_DENIED);
    struct store_change more = rig_account(2, "bob");
    assert_ok(store_commit(s, &more, 1));
    assert_int_equal(rig_look(reader, false).accounts, 2);
    store_close(reader);
    store_close(s);
    reader = open_for(STORE_SQLITE_READ); /* and without a server */
    assert_int_equal(rig_look(reader, false).accounts, 2);
    store_close(reader);
}

static void files_are_for_the_owner_only(void **state) {
    (void)state;
    mode_t before = umask(0);
    struct store *s = open_for(STORE_SQLITE_WRITE);
    struct store_change first = rig_account(1, "alice");
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
    struct store_change c = rig_account(1, "alice");
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
    struct store_change first = rig_account(1, "alice");
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
        struct store_reader reader = { .ctx = &seen, .on_account = see_no_settings };
        assert_ok(store_load(s, &reader));
        assert_int_equal(seen, 1);
        struct store_change change = rig_account(2, "bob");
        assert_ok(store_commit(s, &change, 1));
        store_close(s);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_RIG_TESTS(setup, teardown),
        TEST(a_batch_is_all_or_nothing),
        TEST(a_full_disk_is_said_and_survived),
        TEST(what_was_reported_survives_kill),
        TEST(damage_is_said),
        TEST(says_what_is_in_the_way),
        TEST(another_writer_is_said),
        TEST(a_reader_works_beside_the_server),
        TEST(files_are_for_the_owner_only),
        TEST(removed_bytes_are_gone),
        TEST(refuses_files_of_others),
        TEST(an_older_file_is_brought_up_to_date),
        TEST(the_first_files_are_brought_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
