#include "unit.h"

#include "daemon/datadir.h"

#include "crypto/crypto.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[64], why_mem[1024];
static struct buf why;

static int setup(void **state) {
    (void)state;
    if (crypto_init() != ERR_OK) return -1;
    (void)snprintf(root, sizeof root, "/tmp/kith-datadir-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", root, (char *)NULL);
        _exit(1);
    }
    int status;
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

static const char *in_root(const char *name) {
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    why = buf_over(why_mem, sizeof why_mem);
    return path;
}

static mode_t mode_of(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void it_is_made_for_its_owner_only(void **state) {
    (void)state;
    struct datadir d;
    assert_ok(datadir_open(in_root("fresh/"), true, &d, &why));
    assert_int_equal(mode_of(in_root("fresh")), 0700);
    assert_int_equal(mode_of(in_root("fresh/keys")), 0700);
    assert_int_equal(mode_of(in_root("fresh/tls")), 0700);
    char mem[DATADIR_PATH_MAX + 64], want[128];
    (void)snprintf(want, sizeof want, "%s/fresh/kith.db", root);
    assert_string_equal(datadir_path(&d, "kith.db", mem), want);
    datadir_close(&d);
}

static void what_others_can_read_is_refused(void **state) {
    (void)state;
    struct datadir d;
    assert_int_equal(mkdir(in_root("open"), 0755), 0);
    assert_err(datadir_open(in_root("open"), true, &d, &why), ERR_DENIED);
    assert_true(slice_find_slice(buf_slice(&why), SLICE("chmod 700")) < why.len);
    assert_err(datadir_open(in_root("nothing"), false, &d, &why), ERR_MISSING);
    assert_err(datadir_open("", true, &d, &why), ERR_LIMIT);
    char large[800];
    memset(large, 'a', sizeof large - 1);
    large[sizeof large - 1] = 0;
    assert_err(datadir_open(large, true, &d, &why), ERR_LIMIT);
    assert_ok(file_write(in_root("file.txt"), SLICE("x"), &why));
    assert_err(datadir_open(in_root("file.txt"), true, &d, &why), ERR_DENIED);
}

static void one_process_at_a_time(void **state) {
    (void)state;
    struct datadir a, b;
    assert_ok(datadir_open(in_root("locked"), true, &a, &why));
    assert_ok(datadir_lock(&a, &why));
    assert_ok(datadir_open(in_root("locked"), true, &b, &why));
    assert_err(datadir_lock(&b, &why), ERR_AGAIN);
    char pid[32];
    (void)snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
    assert_true(slice_find_slice(buf_slice(&why), slice_str(pid)) < why.len);
    datadir_close(&a);
    why = buf_over(why_mem, sizeof why_mem);
    assert_ok(datadir_lock(&b, &why));
    datadir_close(&b);
}

static void the_seal_key_stays(void **state) {
    (void)state;
    struct datadir d;
    uint8_t first[32], again[32];
    assert_ok(datadir_open(in_root("keyed"), true, &d, &why));
    assert_ok(datadir_seal_key(&d, first, &why));
    assert_ok(datadir_seal_key(&d, again, &why));
    assert_memory_equal(first, again, 32);
    assert_int_equal(mode_of(in_root("keyed/keys/seal.key")), 0600);
    /* Damaged, or lost beside a database: never replaced. */
    assert_ok(file_write(in_root("keyed/keys/seal.key"), SLICE("short"), &why));
    assert_err(datadir_seal_key(&d, again, &why), ERR_BAD);
    assert_ok(file_write(in_root("keyed/kith.db"), SLICE("x"), &why));
    assert_int_equal(unlink(in_root("keyed/keys/seal.key")), 0);
    assert_err(datadir_seal_key(&d, again, &why), ERR_MISSING);
    assert_true(slice_find_slice(buf_slice(&why), SLICE("backup")) < why.len);
    datadir_close(&d);
}

static void files_are_replaced_whole(void **state) {
    (void)state;
    char mem[16];
    size_t len = 0;
    assert_ok(file_write(in_root("file"), SLICE("one"), &why));
    assert_ok(file_write(in_root("file.new"), SLICE("left by a crash"), &why));
    assert_ok(file_write(in_root("file"), SLICE("second"), &why));
    assert_ok(file_read(in_root("file"), mem, sizeof mem, &len));
    assert_slice(slice_of(mem, len), "second");
    assert_int_equal(mode_of(in_root("file")), 0600);
    assert_int_equal(access(in_root("file.new"), F_OK), -1);
    assert_ok(file_read(in_root("file"), mem, 6, &len));
    assert_err(file_read(in_root("file"), mem, 5, &len), ERR_LIMIT);
    assert_err(file_read(in_root("gone"), mem, 5, &len), ERR_MISSING);
    assert_err(file_write(in_root("no/such/folder"), SLICE("x"), &why), ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_made_for_its_owner_only),
        cmocka_unit_test(what_others_can_read_is_refused),
        cmocka_unit_test(one_process_at_a_time),
        cmocka_unit_test(the_seal_key_stays),
        cmocka_unit_test(files_are_replaced_whole),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
