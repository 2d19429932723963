/* cli/process_rig.c - see process.h. */
#include "unit.h"

#include "cli/process.h"

#include <time.h>

struct run run;
char run_root[64], run_data[128];

#define ARGS_MAX  16
#define COMMAND_S 60  /* a command that does not end is ended, so that a test fails, not hangs */
#define SERVER_S  110 /* a server whose test failed does not stay */

int run_setup(void **state) {
    (void)state;
    (void)snprintf(run_root, sizeof run_root, "/tmp/kith-cli-XXXXXX");
    if (!mkdtemp(run_root)) return -1;
    (void)snprintf(run_data, sizeof run_data, "%s/data", run_root);
    (void)signal(SIGPIPE, SIG_IGN);
    return setenv("KITH_DATA", run_data, 1);
}

int run_teardown(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", run_root, (char *)NULL);
        _exit(1);
    }
    int status = 0;
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

const char *in_root(const char *name) {
    static char paths[16][256];
    static unsigned turn;
    char *path = paths[turn++ % 16];
    (void)snprintf(path, sizeof paths[0], "%s/%s", run_root, name);
    return path;
}

void write_root(const char *name, const char *text) {
    FILE *f = fopen(in_root(name), "w");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
}

void read_root(const char *name, char dst[RUN_TEXT_MAX]) {
    int fd = open(in_root(name), O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, dst, RUN_TEXT_MAX - 1);
    (void)close(fd);
    assert_true(n >= 0);
    dst[n] = 0;
}

static void redirect(int to, const char *name, int flags) {
    int fd = open(in_root(name), flags, 0600);
    if (fd < 0 || dup2(fd, to) < 0) _exit(126);
}

int kith_with(const char *input, const char *first, ...) {
    const char *argv[ARGS_MAX + 2] = { KITH_BINARY, first };
    va_list args;
    va_start(args, first);
    for (int n = 2; n <= ARGS_MAX && argv[n - 1]; n++) argv[n] = va_arg(args, const char *);
    va_end(args);
    write_root("stdin", input);
    pid_t pid = fork();
    if (pid == 0) {
        redirect(0, "stdin", O_RDONLY);
        redirect(1, "stdout", O_WRONLY | O_CREAT | O_TRUNC);
        redirect(2, "stderr", O_WRONLY | O_CREAT | O_TRUNC);
        (void)alarm(COMMAND_S);
        (void)execv(KITH_BINARY, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    read_root("stdout", run.out);
    read_root("stderr", run.err);
    run.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return run.code;
}

static void server_start_with(struct server *s, const char *const argv[]) {
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    *s = (struct server){ .log = pipe_fds[0] };
    s->pid = fork();
    if (s->pid == 0) {
        redirect(1, "serve.out", O_WRONLY | O_CREAT | O_TRUNC);
        if (dup2(pipe_fds[1], 2) < 0) _exit(126);
        (void)close(pipe_fds[0]);
        (void)close(pipe_fds[1]);
        (void)alarm(SERVER_S);
        (void)execv(KITH_BINARY, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    (void)close(pipe_fds[1]);
    server_await(s, "\"event\":\"ready\"");
}

void server_start(struct server *s, const char *config) {
    const char *const argv[] = { KITH_BINARY, "serve", "--config", config, NULL };
    server_start_with(s, argv);
}

void server_start_demo(struct server *s) {
    const char *const argv[] = { KITH_BINARY, "serve", "--demo", "--port", "0", NULL };
    server_start_with(s, argv);
}

static int64_t now_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void server_await(struct server *s, const char *part) {
    int64_t until = now_ms() + 20000;
    for (;;) {
        char *from = s->text + s->read_to, *at = strstr(from, part);
        if (at) {
            s->read_to = (size_t)(at - s->text) + strlen(part);
            return;
        }
        struct pollfd p = { .fd = s->log, .events = POLLIN };
        int64_t left = until - now_ms();
        ssize_t n = 0;
        if (left > 0 && poll(&p, 1, (int)left) > 0 && s->len < RUN_TEXT_MAX - 1)
            n = read(s->log, s->text + s->len, RUN_TEXT_MAX - 1 - s->len);
        if (n <= 0) {
            print_error("the server never said %s, but:\n%s\n", part, s->text);
            fail();
        }
        s->len += (size_t)n;
        s->text[s->len] = 0;
    }
}

int server_end(struct server *s, int with_signal) {
    assert_int_equal(kill(s->pid, with_signal), 0);
    int status = 0;
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    ssize_t n = 1;
    while (n > 0 && s->len < RUN_TEXT_MAX - 1) {
        n = read(s->log, s->text + s->len, RUN_TEXT_MAX - 1 - s->len);
        if (n > 0) s->len += (size_t)n;
    }
    s->text[s->len] = 0;
    (void)close(s->log);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code != 0 && with_signal != SIGKILL)
        (void)fprintf(stderr, "the server said:\n%s\n", s->text);
    return code;
}
