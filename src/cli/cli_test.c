#include "unit.h"

#include "cli/process.h"

#include "base/buf.h"
#include "cli/cli.h"
#include <time.h>

/* ---- the command line itself ---- */

static void words_that_are_not_commands(void **state) {
    (void)state;
    assert_int_equal(kith(NULL), 2);
    assert_says(run.out, "Usage: kith COMMAND");
    assert_int_equal(kith("help"), 0);
    assert_int_equal(kith("statsu"), 2);
    assert_says(run.err, "did you mean \"status\"?");
    assert_int_equal(kith("user", "lsit"), 2);
    assert_says(run.err, "did you mean \"user list\"?");
    assert_int_equal(kith("user"), 2);
    assert_says(run.out, "user import FILE");
    assert_int_equal(kith("user", "--help"), 0);
    assert_int_equal(kith("status", "--jsno"), 2);
    assert_says(run.err, "did you mean --json?");
    assert_int_equal(kith("status", "more"), 2);
    assert_int_equal(kith("user", "add"), 2);
    assert_says(run.err, "kith user add AOR");
    assert_int_equal(kith("user", "add", "a@b", "--display"), 2);
    assert_says(run.err, "--display needs a value");
    assert_int_equal(kith("user", "add", "a@b", "--display=x", "--display", "y"), 2);
    assert_says(run.err, "twice");
    assert_int_equal(kith("version"), 0);
    assert_says(run.out, KITH_VERSION);
    assert_int_equal(kith("serve", "--lan"), 2);
}

static void every_command_explains_itself(void **state) {
    (void)state;
    for (size_t i = 0; i < cli_command_count; i++) {
        char words[64], *second;
        (void)snprintf(words, sizeof words, "%s", cli_commands[i].words);
        second = strchr(words, ' ');
        if (second) *second++ = 0;
        assert_int_equal(second ? kith(words, second, "--help") : kith(words, "--help"), 0);
        assert_says(run.out, "Example:\n  kith ");
        assert_says(run.out, cli_commands[i].words);
        assert_says(run.out, "--json");
    }
}

/* ---- without a server ---- */

static void a_directory_that_is_not_there(void **state) {
    (void)state;
    assert_int_equal(kith("user", "list"), 1);
    assert_says(run.err, "No such file");
    assert_says(run.err, "--data");
    assert_int_equal(access(run_data, F_OK), -1); /* asking did not make it */
}

static void people_come_and_go(void **state) {
    (void)state;
    assert_int_equal(kith("user", "add", "Alice@Example.ORG", "--alias", "100", "--display", "A."),
                     0);
    assert_says(run.out, "Alice@example.org is added");
    assert_string_equal(run.err,
                        "kith: no configuration names example.org yet; `kith serve` must be "
                        "started with a --config file that says domain = example.org\n");
    assert_says(run.out, "secret  ");
    static char first_out[RUN_TEXT_MAX];
    memcpy(first_out, run.out, sizeof first_out);
    assert_int_equal(kith("user", "list", "--json"), 0);
    assert_says(run.out, "{\"aor\":\"Alice@example.org\",\"display\":\"A.\",\"aliases\":[\"100\"],"
                         "\"disabled\":false,");
    char hint[1024];
    (void)snprintf(hint, sizeof hint, "%s device certificate Alice@example.org\n", KITH_BINARY);
    assert_says(first_out, hint);
    assert_int_equal(kith("user", "add", "h@example.org", "--data", in_root("da ta")), 0);
    (void)snprintf(hint, sizeof hint, "%s device certificate h@example.org --data '%s/da ta'\n",
                   KITH_BINARY, run_root);
    assert_says(run.out, hint); /* it can be typed as it stands */
    assert_int_equal(kith("user", "add", "Alice@example.org"), 1);
    assert_says(run.err, "there already");
    assert_int_equal(kith("user", "add", "100@example.org"), 1); /* somebody's alias */
    assert_int_equal(kith("user", "add", "nonsense"), 1);
    assert_says(run.err, "alice@example.org");
    assert_int_equal(kith("user", "disable", "100@example.org"), 0); /* by an alias */
    assert_says(run.out, "is disabled");
    assert_int_equal(kith("user", "disable", "Alice@example.org"), 0);
    assert_says(run.out, "was already");
    assert_int_equal(kith("user", "list"), 0);
    assert_says(run.out, "disabled");
    assert_int_equal(kith("user", "enable", "Alice@example.org", "--json"), 0);
    assert_says(run.out, "{\"ok\":true,\"changed\":true}");
    assert_int_equal(kith("user", "remove", "Alice@example.org"), 0);
    assert_int_equal(kith("user", "remove", "Alice@example.org"), 1);
    assert_says(run.err, "there is no Alice@example.org");
    assert_int_equal(kith("user", "list"), 0);
    assert_says(run.out, "Nobody yet");
}

static void weak_secrets_are_refused_with_the_reason(void **state) {
    (void)state;
    assert_int_equal(kith_with("short\n", "user", "add", "w@example.org", "--password-stdin", NULL),
                     1);
    assert_says(run.err, "fewer than 12 characters");
    assert_says(run.err, "--generate");
    assert_int_equal(
        kith_with("123456789012345\n", "user", "add", "w@example.org", "--password-stdin", NULL),
        1);
    assert_says(run.err, "digits only");
    assert_int_equal(kith_with("", "user", "add", "w@example.org", "--password-stdin", NULL), 1);
    assert_int_equal(kith_with("vivid-otter-plum-92-kelp\n", "user", "add", "w@example.org",
                               "--password-stdin", NULL),
                     0);
    assert_null(strstr(run.out, "vivid")); /* never echoed */
    assert_int_equal(kith("user", "password", "w@example.org"), 0);
    assert_says(run.out, "secret  ");
    assert_int_equal(kith("user", "add", "x@example.org", "--generate", "--password-stdin"), 2);
}

static void an_import_names_what_it_refuses(void **state) {
    (void)state;
    char text[40000];
    struct buf b = buf_over(text, sizeof text - 1);
    buf_lit(&b,
            "# people\n\nim1@example.org,Kelp-otter-plum-9x\nno comma here\n"
            "im2@example.org,password\nim1@example.org,Kelp-otter-plum-9x\n@,Kelp-otter-plum-9x\n");
    for (int i = 0; i < 600; i++) buf_fmt(&b, "many%d@example.org,Kelp-otter-plum-9x,%d\n", i, i);
    text[b.len] = 0;
    write_root("people.csv", text);
    assert_int_equal(kith("user", "import", in_root("people.csv")), 1);
    assert_says(run.out, "601 added, 4 refused.");
    assert_says(run.err, "line 4: expected `aor,password`");
    assert_says(run.err, "line 5: im2@example.org is refused: it has fewer");
    assert_says(run.err, "line 6: im1@example.org is refused: there already");
    assert_says(run.err, "line 7: @ is refused: ");
    assert_null(strstr(run.err, "Kelp"));
    char *once = strstr(run.err, "no configuration names example.org yet");
    assert_non_null(once);
    assert_null(strstr(once + 1, "no configuration"));
    assert_int_equal(kith("user", "list"), 0);
    assert_says(run.out, "many599@example.org");
    assert_int_equal(kith("user", "import", in_root("nothing.csv")), 1);
    assert_int_equal(
        kith_with("im3@example.org,Kelp-otter-plum-9x", "user", "import", "-", "--json", NULL), 0);
    assert_says(run.out, "{\"added\":1,\"refused\":0}");
}

static void devices(void **state) {
    (void)state;
    assert_int_equal(kith("user", "add", "dev@example.org"), 0);
    const char *pem = in_root("dev.pem");
    assert_int_equal(kith("device", "certificate", "dev@example.org", "--out", pem), 0);
    struct stat st;
    assert_int_equal(stat(pem, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(kith("device", "certificate", "dev@example.org", "--out", pem), 1);
    assert_says(run.err, "is there already");
    assert_int_equal(kith("device", "certificate", "gone@example.org", "--out", in_root("x")), 1);
    assert_int_equal(access(in_root("x"), F_OK), -1);
    assert_int_equal(kith("user", "legacy", "dev@example.org", "--device", "door", "--until",
                          "2019-01-01", "--why", "old"),
                     1);
    assert_says(run.err, "has passed");
    assert_int_equal(kith("user", "legacy", "dev@example.org", "--device", "door", "--until",
                          "2027-02-30", "--why", "old"),
                     1);
    assert_says(run.err, "not a date");
    assert_int_equal(kith("user", "legacy", "dev@example.org", "--device", "door", "--why", "old"),
                     2);
    char until[16];
    time_t next_year = time(NULL) + 300 * 86400;
    struct tm tm;
    assert_non_null(gmtime_r(&next_year, &tm));
    (void)strftime(until, sizeof until, "%Y-%m-%d", &tm);
    assert_int_equal(kith("user", "legacy", "dev@example.org", "--device", "door", "--until", until,
                          "--why", "old"),
                     0);
    assert_says(run.out, "secret  ");
    assert_int_equal(kith("device", "list", "dev@example.org"), 0);
    assert_says(run.out, "certificate");
    assert_says(run.out, until);
    assert_int_equal(kith("device", "list", "--json"), 0);
    char *number = strstr(run.out, "{\"device\":");
    assert_non_null(number);
    char id[16];
    (void)snprintf(id, sizeof id, "%.*s", (int)strspn(number + 10, "0123456789"), number + 10);
    assert_int_equal(kith("device", "revoke", id), 0);
    assert_int_equal(kith("device", "list"), 0);
    assert_says(run.out, "revoked");
    assert_int_equal(kith("device", "revoke", "999"), 1);
    assert_int_equal(kith("device", "revoke", "first"), 2);
}

static void what_needs_a_server_says_so(void **state) {
    (void)state;
    assert_int_equal(kith("status"), 1);
    assert_says(run.err, "no server is running");
    assert_says(run.err, "kith serve");
    assert_int_equal(kith("trace"), 1);
    assert_int_equal(kith("status", "--json"), 1);
    assert_says(run.out, "{\"error\":\"no server is running");
}

static void a_configuration_is_checked(void **state) {
    (void)state;
    write_root("good.conf", "domain = example.org\n[listen]\ntls = 127.0.0.1:0, [::1]:5061\n");
    write_root("bad.conf", "domian = example.org\n[listen]\ntls = nowhere\n");
    write_root("files.conf", "[tls]\ncertificate = none.pem\nkey = none.key\n");
    assert_int_equal(kith("check-config", in_root("bad.conf")), 1);
    assert_says(run.err, "bad.conf:1: domian: there is no such setting; did you mean domain?");
    assert_says(run.err, "bad.conf:3: [listen] tls:");
    assert_int_equal(kith("check-config", in_root("bad.conf"), "--json"), 1);
    assert_says(run.out, "\"line\":3,\"setting\":\"[listen] tls\"");
    assert_int_equal(kith("check-config", in_root("files.conf")), 1);
    assert_says(run.err, "files.conf:2: [tls] certificate: ");
    assert_int_equal(kith("check-config", in_root("gone.conf")), 1);
    assert_int_equal(kith("check-config"), 2);
    assert_int_equal(kith("check-config", "--print-settings"), 0);
    assert_says(run.out, "# kith.conf");
    assert_int_equal(kith("serve", "--config", in_root("bad.conf")), 1);
    assert_says(run.err, "bad.conf:1: domian");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_that_are_not_commands),
        cmocka_unit_test(every_command_explains_itself),
        cmocka_unit_test(a_directory_that_is_not_there),
        cmocka_unit_test(people_come_and_go),
        cmocka_unit_test(weak_secrets_are_refused_with_the_reason),
        cmocka_unit_test(an_import_names_what_it_refuses),
        cmocka_unit_test(devices),
        cmocka_unit_test(what_needs_a_server_says_so),
        cmocka_unit_test(a_configuration_is_checked),
    };
    return cmocka_run_group_tests(tests, run_setup, run_teardown);
}
