/* kith serve as a process: commands beside it, reload, stop, kill -9 and start again. */
#include "unit.h"

#include "cli/process.h"

#include <arpa/inet.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONF "domain = example.org\nworkers = 2\n[listen]\ntls = 127.0.0.1:0\n"

static void a_server_serves_commands(void **state) {
    (void)state;
    struct server s;
    write_root("kith.conf", CONF);
    server_start(&s, in_root("kith.conf"));
    assert_int_equal(kith("user", "add", "alice"), 0); /* the first domain is meant */
    assert_says(run.out, "alice@example.org is added");
    assert_int_equal(kith("user", "add", "bob@elsewhere.example"), 1);
    assert_says(run.err, "does not serve");
    assert_int_equal(kith("user", "list"), 0);
    assert_says(run.out, "alice@example.org");
    assert_int_equal(kith("status", "--json"), 0);
    assert_says(run.out, "\"workers\":2,\"domains\":[\"example.org\"]");
    assert_says(run.out, "\"accounts\":1,\"bindings\":0,\"calls\":0");
    assert_int_equal(kith("status"), 0);
    assert_says(run.out, "legacy lane  nobody");
    assert_int_equal(kith("status", "--openmetrics"), 0);
    assert_says(run.out, "\nkith_accounts 1\n");
    assert_says(run.out, "\n# EOF\n");
    assert_int_equal(kith("status", "--openmetrics", "--json"), 2);
    assert_int_equal(kith("bindings", "alice@example.org"), 0);
    assert_says(run.out, "not registered anywhere");
    assert_int_equal(kith("user", "disable", "alice@example.org"), 0);
    assert_int_equal(kith("device", "certificate", "alice", "--out", in_root("alice.pem")), 0);
    assert_int_equal(kith("serve", "--config", in_root("kith.conf")), 1);
    assert_says(run.err, "in use by another kith process");
    char ca[256];
    (void)snprintf(ca, sizeof ca, "%s/tls/ca.pem", run_data);
    assert_int_equal(access(ca, R_OK), 0);
    assert_int_equal(server_end(&s, SIGTERM), 0);
    assert_int_equal(kith("status"), 1);
    assert_int_equal(kith("user", "list"), 0); /* and without it again */
    assert_says(run.out, "disabled");
    assert_int_equal(kith("user", "add", "zoe@example.org"), 0);
    assert_string_equal(run.err, ""); /* this domain is known to be served */
}

static void a_reload_is_all_or_nothing(void **state) {
    (void)state;
    struct server s;
    write_root("kith.conf", CONF);
    server_start(&s, in_root("kith.conf"));
    write_root("kith.conf", CONF "[log]\nlevel = chatty\n[limits]\ncontacts = 2\n");
    assert_int_equal(kill(s.pid, SIGHUP), 0);
    server_await(&s, "\"event\":\"reload.refused\"");
    server_await(&s, "[log] level");
    write_root("kith.conf", "domain = example.org, example.net\nworkers = 1\n"
                            "[listen]\ntls = 127.0.0.1:0\n");
    assert_int_equal(kill(s.pid, SIGHUP), 0);
    server_await(&s, "needs a restart; nothing was changed\",\"detail\":\"workers\"");
    assert_int_equal(kith("status", "--json"), 0);
    assert_says(run.out, "\"domains\":[\"example.org\"]");
    write_root("kith.conf", "domain = example.org, example.net\nworkers = 2\n"
                            "[listen]\ntls = 127.0.0.1:0\n");
    assert_int_equal(kill(s.pid, SIGHUP), 0);
    server_await(&s, "\"event\":\"reload.setting\",\"setting\":\"domain\",\"was\":\"example.org\"");
    server_await(&s, "\"event\":\"reloaded\"");
    assert_int_equal(kith("user", "add", "carol@example.net"), 0);
    assert_int_equal(server_end(&s, SIGINT), 0);
}

static void what_was_promised_survives_a_kill(void **state) {
    (void)state;
    struct server s;
    write_root("kith.conf", CONF);
    server_start(&s, in_root("kith.conf"));
    assert_int_equal(kith("user", "add", "dave"), 0);
    assert_int_equal(server_end(&s, SIGKILL), 128 + SIGKILL);
    assert_int_equal(kith("user", "list"), 0); /* the stale socket is no obstacle */
    assert_says(run.out, "dave@example.org");
    server_start(&s, in_root("kith.conf"));
    assert_int_equal(kith("user", "list"), 0);
    assert_says(run.out, "dave@example.org");
    assert_int_equal(server_end(&s, SIGTERM), 0);
}

static void a_port_is_not_shared_with_another_server(void **state) {
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    char conf[128];
    (void)snprintf(conf, sizeof conf, "domain = example.org\n[listen]\ntls = 127.0.0.1:%u\n",
                   ntohs(at.sin_port));
    write_root("taken.conf", conf);
    assert_int_equal(kith("serve", "--config", in_root("taken.conf")), 1);
    assert_says(run.err, "is in use");
    close(fd);
}

/* --port 0 takes one port for all addresses, and it is this that phones are told. */
static void the_one_port_is_told(struct server *s, const char *greeting) {
    char *at = strstr(s->text, "tls:127.0.0.1:");
    assert_non_null(at);
    at += strlen("tls:127.0.0.1:");
    slice port = slice_of(at, strspn(at, "0123456789"));
    char want[128];
    (void)snprintf(want, sizeof want, "TLS on 127.0.0.1:" SLICE_FMT, SLICE_ARG(port));
    assert_says(greeting, want);
    (void)snprintf(want, sizeof want, "outbound=\"sip:127.0.0.1:" SLICE_FMT ";", SLICE_ARG(port));
    assert_says(greeting, want);
    (void)snprintf(want, sizeof want, "reg_proxy=<sip:localhost:" SLICE_FMT ";", SLICE_ARG(port));
    assert_says(greeting, want);
    if (!strstr(greeting, "[::1]:")) return; /* a host without IPv6 */
    (void)snprintf(want, sizeof want, "[::1]:" SLICE_FMT "\n", SLICE_ARG(port));
    assert_says(greeting, want);
}

/* The command that the greeting names, put into a shell as it stands, without our environment. */
static void what_is_printed_can_be_typed(char *greeting) {
    char *line = strstr(greeting, " user add carol@localhost --data ");
    assert_non_null(line);
    while (line[-1] != '\n') line--;
    line += strspn(line, " ");
    char command[1024];
    (void)snprintf(command, sizeof command, "cd / && unset KITH_DATA && %.*s >/dev/null",
                   (int)strcspn(line, "\n"), line);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(kith("user", "list"), 0);
    assert_says(run.out, "carol@localhost");
}

/* The README's first command: what it prints works, at the second start too. */
static void the_demo_says_what_to_type(void **state) {
    (void)state;
    static char first[RUN_TEXT_MAX], second[RUN_TEXT_MAX], secrets[RUN_TEXT_MAX];
    struct server s;
    assert_int_equal(setenv("KITH_DATA", in_root("it's a demo"), 1), 0);
    server_start_demo(&s);
    assert_int_equal(kith("status"), 0);
    assert_says(run.out, "domains      localhost");
    assert_int_equal(kith("user", "list"), 0);
    assert_says(run.out, "alice@localhost");
    assert_says(run.out, "bob@localhost");
    assert_int_equal(kith("device", "list", "bob"), 0);
    assert_says(run.out, "valid");
    assert_int_equal(kith("user", "password", "alice"), 0); /* somebody plays with it */
    assert_int_equal(server_end(&s, SIGINT), 0);
    read_root("serve.out", first);
    read_root("it's a demo/demo.txt", secrets);
    the_one_port_is_told(&s, first);
    what_is_printed_can_be_typed(first);
    char *secret = strstr(first, "passwd=");
    assert_non_null(secret);
    secret[7 + 30] = 0;
    assert_says(secrets, secret + 7);
    assert_says(first, "<sip:bob@localhost;transport=tls>");
    struct stat st;
    assert_int_equal(stat(in_root("it's a demo/demo.txt"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(in_root("it's a demo/demo-bob.pem"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_null(strstr(s.text, secret + 7)); /* not in the log */

    server_start_demo(&s);
    assert_int_equal(kith("device", "list", "--json"), 0);
    const char *certificate = strstr(run.out, "\"certificate\"");
    assert_non_null(certificate);
    assert_null(strstr(certificate + 1, "\"certificate\"")); /* still the same one */
    assert_int_equal(server_end(&s, SIGINT), 0);
    read_root("serve.out", second);
    assert_says(second, secret + 7);
    assert_says(second, "Stopped.");
    assert_int_equal(setenv("KITH_DATA", run_data, 1), 0);
}

/* Nobody's rights, and no sudo in $PATH: the command for root is shown, nothing is run. */
static void trust_without_sudo(void) {
    char old[4096], bin[256];
    assert_true(slice_cstr(slice_str(getenv("PATH")), old, sizeof old));
    (void)snprintf(bin, sizeof bin, "%s/bin", run_root);
    assert_int_equal(mkdir(bin, 0700), 0);
    write_root("bin/update-ca-certificates", "#!/bin/sh\nexit 1\n");
    assert_int_equal(chmod(in_root("bin/update-ca-certificates"), 0700), 0);
    assert_int_equal(setenv("PATH", bin, 1), 0);
    pid_t pid = fork();
    if (pid == 0) { /* in a namespace of its own a process is nobody, but may read what it could */
        if (geteuid() == 0 && unshare(CLONE_NEWUSER) != 0) _exit(77);
        int fd = open(in_root("trust.out"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || dup2(fd, 1) < 0) _exit(126);
        (void)execl(KITH_BINARY, "kith", "trust", "install", "--only", "system", "--yes",
                    (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(setenv("PATH", old, 1), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("no user namespaces: not tried\n");
        return;
    }
    assert_int_equal(WEXITSTATUS(status), 1);
    read_root("trust.out", run.out);
    assert_says(run.out, "As root, run\n  install -m 644 '");
    assert_says(run.out, "/tls/ca.pem' /usr/local/share/ca-certificates/kith-local-ca.crt && "
                         "update-ca-certificates\n");
}

/* Nothing is changed without being asked; a browser's store that is missing is made, and used
 * again. Where certutil is missing its package is named. */
static void trust_is_asked_for(void **state) {
    (void)state;
    struct server s;
    write_root("kith.conf", CONF);
    assert_int_equal(setenv("HOME", run_root, 1), 0);
    server_start(&s, in_root("kith.conf"));
    assert_int_equal(kith("trust", "install", "--only", "browser"), 1);
    assert_says(run.err, "--yes");
    assert_int_equal(kith("trust", "remove", "--only", "browser", "--yes"), 0);
    assert_says(run.out, "browser: nothing to remove");
    assert_int_equal(mkdir(in_root(".pki"), 0700), 0);
    assert_int_equal(mkdir(in_root(".pki/nssdb"), 0700),
                     0); /* somebody began, and came no further */
    int code = kith("trust", "install", "--only", "browser", "--yes");
    assert_says(run.out, code == 0 ? ".pki/nssdb: installed" : "libnss3-tools");
    assert_int_equal(access(in_root(".pki/nssdb/cert9.db"), F_OK), code == 0 ? 0 : -1);
    assert_int_equal(kith("trust", "install", "--only", "browser", "--yes"), code);
    assert_says(run.out, "  name         CN=Kith local CA ");
    assert_says(run.out, "  speaks for   localhost, 127.0.0.1, ::1, example.org");
    assert_null(strstr(strstr(run.out, " localhost,") + 1, " localhost,")); /* each name once */
    assert_says(run.out, "  SHA-256      ");
    assert_int_equal(kith("trust", "install", "--only", "moon", "--yes"), 2);
    trust_without_sudo();
    assert_int_equal(server_end(&s, SIGTERM), 0);
}

static struct sockaddr_in address_of(const struct server *s) {
    const char *port = strstr(s->text, "tls:127.0.0.1:");
    assert_non_null(port);
    port += strlen("tls:127.0.0.1:");
    uint32_t number = 0;
    assert_ok(slice_u32(slice_of(port, strspn(port, "0123456789")), 65535, &number));
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)number),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* [limits] reaches the guard: three a minute, on loopback three hundred, a third of them at once.
 */
static void a_source_may_connect_so_often(void **state) {
    (void)state;
    struct server s;
    write_root("kith.conf", "domain = example.org\nworkers = 1\n[listen]\ntls = 127.0.0.1:0\n"
                            "[limits]\nconnections_per_minute = 3\nhandshake = 60s\n");
    server_start(&s, in_root("kith.conf"));
    struct sockaddr_in at = address_of(&s);
    int fds[150];
    char c;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&at, sizeof at), 0);
    }
    assert_true(recv(fds[ARRAY_LEN(fds) - 1], &c, 1, 0) <= 0); /* closed at once */
    assert_int_equal(recv(fds[0], &c, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) close(fds[i]);
    assert_int_equal(server_end(&s, SIGTERM), 0);
}

/* Many phones behind one address are let in; how many is [limits] per_source. */
static void a_source_may_have_several_connections(void **state) {
    (void)state;
    struct server s;
    write_root("kith.conf", "domain = example.org\nworkers = 1\n[listen]\ntls = 127.0.0.1:0\n"
                            "[limits]\nper_source = 3\nhandshake = 60s\n");
    server_start(&s, in_root("kith.conf"));
    struct sockaddr_in at = address_of(&s);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&at, sizeof at), 0);
    }
    char c;
    assert_true(recv(fds[3], &c, 1, 0) <= 0); /* the fourth is closed at once */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(recv(fds[i], &c, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
    }
    for (int i = 0; i < 4; i++) close(fds[i]);
    assert_int_equal(server_end(&s, SIGTERM), 0);
}

/* [limits] drain is for requests without an answer; who is only connected is not waited for. */
static void a_stop_does_not_wait_for_the_connected(void **state) {
    (void)state;
    struct server s;
    write_root("kith.conf", CONF "[limits]\ndrain = 1h\n");
    server_start(&s, in_root("kith.conf"));
    struct sockaddr_in at = address_of(&s);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(server_end(&s, SIGTERM), 0); /* else an alarm ends it: 128 + SIGALRM */
    close(fd);
}

/* Whatever a local program writes into the admin socket: an answer, or the end of the connection.
 */
static void the_admin_socket_takes_nonsense(void **state) {
    (void)state;
    struct server s;
    write_root("kith.conf", CONF);
    server_start(&s, in_root("kith.conf"));
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    assert_true(slice_cstr(slice_str(in_root("data/admin.sock")), at.sun_path, sizeof at.sun_path));
    struct stat st;
    assert_int_equal(stat(at.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    static const char *const lines[] = { "\n",
                                         "{\n",
                                         "[]\n",
                                         "{\"cmd\":1}\n",
                                         "{\"cmd\":\"user.ad\"}\n",
                                         "{\"cmd\":\"user.add\"}\n",
                                         "{\"cmd\":\"user.import\",\"users\":[1,{},\"x\"]}\n",
                                         "{\"cmd\":\"device.revoke\",\"device\":-1}\n" };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char answer[4096];
        size_t len = strlen(lines[i]);
        assert_int_equal(send(fd, lines[i], len, MSG_NOSIGNAL), (ssize_t)len);
        size_t got = 0;
        do { /* rows first, then the last line */
            ssize_t n = recv(fd, answer + got, sizeof answer - 1 - got, 0);
            assert_true(n > 0);
            got += (size_t)n;
            answer[got] = 0;
        } while (!strstr(answer, "\"ok\":") && !strstr(answer, "\"error\":"));
        assert_says(answer, i == 6 ? "refused" : "\"error\":");
    }
    static char large[600 << 10];
    memset(large, 'x', sizeof large);
    (void)!send(fd, large, sizeof large, MSG_NOSIGNAL);
    char answer[256];
    ssize_t n = recv(fd, answer, sizeof answer - 1, 0);
    assert_true(n < (ssize_t)sizeof answer);
    close(fd);
    assert_int_equal(kith("status"), 0);
    assert_int_equal(server_end(&s, SIGTERM), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_serves_commands),
        cmocka_unit_test(a_reload_is_all_or_nothing),
        cmocka_unit_test(what_was_promised_survives_a_kill),
        cmocka_unit_test(a_port_is_not_shared_with_another_server),
        cmocka_unit_test(trust_is_asked_for),
        cmocka_unit_test(the_demo_says_what_to_type),
        cmocka_unit_test(a_source_may_have_several_connections),
        cmocka_unit_test(a_source_may_connect_so_often),
        cmocka_unit_test(a_stop_does_not_wait_for_the_connected),
        cmocka_unit_test(the_admin_socket_takes_nonsense),
    };
    return cmocka_run_group_tests(tests, run_setup, run_teardown);
}
