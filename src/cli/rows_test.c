/* What the commands do with rows that a server should not send: a server that we play ourselves. */
#include "unit.h"

#include "cli/process.h"

#include "base/buf.h"
#include "json/read.h"
#include <sys/socket.h>
#include <sys/un.h>

static const char *const rows[] = {
    "{\"at\":1800000000123,\"worker\":0,\"call\":\"aa\",\"from\":\"bb\",\"method\":\"INVITE\","
    "\"what\":\"refused\",\"status\":488,\"why\":\"no keys\"}",
    "{\"lost\":7}",
    "{\"at\":1,\"call\":\"aa\",\"why\":\"a \"quoted\" word\"}", /* no JSON */
    "{\"at\":2,\"call\":\"c\xff\x1b[2Jd\"}",                    /* neither UTF-8 nor printable */
    "{\"at\":3,\"call\":\"e\\u001b[2J\\u009b\\n\\\\n\xc2\x9b\x7f"
    "f\"}",
    "{}",
    "5",
    "{\"at\":\"text\",\"why\":{\"deep\":[1]}}",
    "",
};

static void put(int fd, const char *text) {
    size_t len = strlen(text);
    if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) _exit(1);
}

/* Answers one request with the rows and goes. */
static void play_server(int listener) {
    char request[4096];
    int fd = accept(listener, NULL, NULL);
    if (fd < 0 || recv(fd, request, sizeof request, 0) <= 0) _exit(1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put(fd, "{\"row\":");
        put(fd, rows[i]);
        put(fd, rows[i][0] ? "}\n" : "\n"); /* the last one is cut off */
    }
    put(fd, "{\"ok\":true}\n");
    (void)close(fd);
    _exit(0);
}

static pid_t start_playing(void) {
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    (void)mkdir(run_data, 0700);
    (void)unlink(in_root("data/admin.sock"));
    assert_true(slice_cstr(slice_str(in_root("data/admin.sock")), at.sun_path, sizeof at.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(60);
        play_server(fd);
    }
    (void)close(fd);
    return pid;
}

static void end_playing(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void every_line_of_json_is_json(void **state) {
    (void)state;
    pid_t pid = start_playing();
    assert_int_equal(kith("trace", "--json"), 0);
    end_playing(pid);
    size_t lines = 0;
    slice rest = slice_str(run.out);
    for (slice line; slice_split(&rest, '\n', &line);) {
        if (line.len == 0) continue;
        struct json *doc = NULL;
        if (json_read(line, &(struct json_limits){ 65536, 6 }, &doc, NULL) != ERR_OK)
            print_error("no JSON: " SLICE_FMT "\n", SLICE_ARG(line));
        assert_non_null(doc);
        json_free(doc);
        lines++;
    }
    assert_int_equal(lines, ARRAY_LEN(rows));
    assert_says(run.out, rows[0]); /* a good row stays as it came */
    assert_says(run.out, "{\"unreadable\":\"{\\\"at\\\":1,\\\"call\\\":\\\"aa\\\",\\\"why\\\":");
    assert_null(strchr(run.out, 0x1b));
}

static void a_terminal_gets_no_control_characters(void **state) {
    (void)state;
    pid_t pid = start_playing();
    assert_int_equal(kith("trace"), 0);
    end_playing(pid);
    assert_says(run.out, ".123  call aa  from bb  INVITE    refused 488: no keys\n");
    assert_says(run.out, "{\"lost\":7}\n");
    assert_says(run.out, "call e?[2J???\\n???f ");
    assert_says(run.err, "\"unreadable\"");
    for (const char *c = run.out; *c; c++) assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
    for (const char *c = run.err; *c; c++) assert_int_not_equal(*c, 0x1b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_of_json_is_json),
        cmocka_unit_test(a_terminal_gets_no_control_characters),
    };
    return cmocka_run_group_tests(tests, run_setup, run_teardown);
}
