#include "unit.h"

#include "daemon/certs.h"

#include "base/log.h"
#include "crypto/crypto.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAY INT64_C(86400000)
static const wall_t start = INT64_C(1800000000000);

static char root[64], why_mem[1024];
static struct datadir dir;
static struct config *config;

static int setup(void **state) {
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/kith-certs-XXXXXX");
    struct buf why = buf_over(why_mem, sizeof why_mem);
    if (crypto_init() != ERR_OK || !mkdtemp(root) || config_defaults(&config) != ERR_OK) return -1;
    log_open(-1, NULL);
    return datadir_open(root, true, &dir, &why) == ERR_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    config_free(config);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", root, (char *)NULL);
        _exit(1);
    }
    int status;
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

static slice whole(const char *name, char *mem, size_t cap) {
    char path[DATADIR_PATH_MAX + 64];
    size_t len = 0;
    assert_ok(file_read(datadir_path(&dir, name, path), mem, cap, &len));
    return slice_of(mem, len);
}

struct seen {
    char ca[8192], server[16384];
    slice ca_s, server_s;
};

/* Loads for these domains at that time, and keeps what lies on disk then. */
static struct certs load(const char *domain, wall_t now, struct seen *out) {
    static slice domains[1];
    domains[0] = slice_str(domain);
    struct certs_wish wish = { .domains = domains, .domain_count = 1 };
    struct certs c;
    struct buf why = buf_over(why_mem, sizeof why_mem);
    assert_ok(certs_load(config, &dir, &wish, now, &c, &why));
    assert_true(c.is_local);
    assert_true(pki_covers(c.server[0], domains[0]));
    assert_true(pki_covers(c.server[0], SLICE("localhost")));
    out->ca_s = whole("tls/ca.pem", out->ca, sizeof out->ca);
    out->server_s = whole("tls/server.pem", out->server, sizeof out->server);
    return c;
}

static void the_local_ones_are_made_once_and_renewed_in_time(void **state) {
    (void)state;
    struct seen first, again, late, other;
    struct certs c = load("example.org", start, &first);
    assert_true(c.ca_is_new);
    assert_false(certs_are_old(&c, start));
    assert_false(certs_are_old(&c, start + 59 * DAY));
    assert_true(certs_are_old(&c, start + 61 * DAY));
    certs_fini(&c);

    c = load("example.org", start + DAY, &again); /* the next start */
    assert_false(c.ca_is_new);
    assert_slice_eq(again.ca_s, first.ca_s);
    assert_slice_eq(again.server_s, first.server_s);
    certs_fini(&c);

    c = load("example.org", start + 61 * DAY, &late); /* less than 30 of 90 days are left */
    assert_false(c.ca_is_new);
    assert_slice_eq(late.ca_s, first.ca_s);
    assert_false(slice_eq(late.server_s, first.server_s));
    assert_false(certs_are_old(&c, start + 61 * DAY));
    certs_fini(&c);

    c = load("example.net", start + 62 * DAY, &other); /* the CA may not speak for it */
    assert_true(c.ca_is_new);
    assert_false(slice_eq(other.ca_s, first.ca_s));
    certs_fini(&c);
}

static void a_crash_between_the_files_is_repaired(void **state) {
    (void)state;
    struct seen before, after;
    char path[DATADIR_PATH_MAX + 64];
    struct certs c = load("example.org", start, &before);
    certs_fini(&c);
    assert_int_equal(unlink(datadir_path(&dir, "tls/server.names", path)), 0);
    c = load("example.org", start, &after);
    assert_slice_eq(after.ca_s, before.ca_s);
    assert_false(slice_eq(after.server_s, before.server_s));
    certs_fini(&c);
    assert_int_equal(unlink(datadir_path(&dir, "tls/ca.names", path)), 0);
    c = load("example.org", start, &after);
    assert_true(c.ca_is_new);
    certs_fini(&c);
    assert_int_equal(unlink(datadir_path(&dir, "tls/ca.pem", path)), 0);
    c = load("example.org", start, &after);
    assert_true(c.ca_is_new);
    certs_fini(&c);
}

static void the_operators_own_are_taken(void **state) {
    (void)state;
    struct seen seen;
    struct certs c = load("example.org", start, &seen), given;
    certs_fini(&c);
    struct config *own = NULL;
    static struct config_errors errors;
    char file[128], why_text[512];
    (void)snprintf(file, sizeof file, "%s/kith.conf", root);
    assert_ok(config_read(SLICE("[tls]\ncertificate = tls/server.pem\nkey = tls/server.key\n"),
                          slice_str(file), &own, &errors));
    slice domain = SLICE("example.org");
    struct certs_wish wish = { .domains = &domain, .domain_count = 1 };
    struct buf why = buf_over(why_text, sizeof why_text);
    assert_ok(certs_load(own, &dir, &wish, start, &given, &why));
    assert_false(given.is_local);
    assert_false(certs_are_old(&given, start + 89 * DAY)); /* renewing is the operator's business */
    certs_fini(&given);
    assert_err(certs_load(own, &dir, &wish, start + 100 * DAY, &given, &why), ERR_STALE);
    assert_true(why.len > 0);
    config_free(own);
}

/* What `kith check-config` tells of files with roots, each one with its line. */
static void roots_are_looked_at(void **state) {
    (void)state;
    struct seen seen;
    struct certs c = load("example.org", start, &seen);
    certs_fini(&c);
    struct config *own = NULL;
    static struct config_errors errors;
    char file[128];
    (void)snprintf(file, sizeof file, "%s/kith.conf", root);
    assert_ok(config_read(SLICE("[tls]\nclient_ca = tls/ca.pem, none.pem,\n  tls/server.key\n"),
                          slice_str(file), &own, &errors));
    assert_err(certs_check(own, start, &errors), ERR_CONFIG);
    assert_int_equal(errors.count, 2);
    assert_int_equal(errors.at[0].line, 2);
    assert_string_equal(errors.at[0].setting, "[tls] client_ca");
    assert_non_null(strstr(errors.at[0].text, "none.pem: cannot be read"));
    assert_non_null(strstr(errors.at[1].text, "tls/server.key: cannot be read"));
    config_free(own);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_local_ones_are_made_once_and_renewed_in_time),
        cmocka_unit_test(a_crash_between_the_files_is_repaired),
        cmocka_unit_test(the_operators_own_are_taken),
        cmocka_unit_test(roots_are_looked_at),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
