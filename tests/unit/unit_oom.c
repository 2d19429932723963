/* tests/unit/unit_oom.c - every unit test once more, with its n-th allocation failing, for all n.
 *
 * Linked into each cmocka program; asleep unless KITH_OOM is set to the seconds the program may
 * take. Then each test function runs in a child process for n = 0, 1, 2 ... until no allocation
 * failed. A test that asserts success fails there, and that is well: what is demanded is that
 * nothing crashes, that no sanitizer reports, that nothing hangs and nothing leaks. A failing
 * assertion ends the child on the spot, and leaks are looked for while the test's own variables
 * still hold what the test holds: what is then not reachable was lost by the code under test.
 *
 * Every n up to EVERY is tried, beyond that one in ever more; when a test's share of the time is
 * used up the steps double, and a program that took twice its time leaves out the tests that are
 * left, and says so. Time is what was computed, or half of what went by when that is more: a busy
 * machine makes the walk slower, not shorter. The last line is "PASS oom: ..." or "FAIL oom: ...".
 *
 * How it gets in: the program's own _cmocka_run_group_tests and _fail stand before those of the
 * library, and the linker turns mem_fail_at, which tests with a walk of their own call, into
 * __wrap_mem_fail_at (cmake/kith.cmake), so that they do not disturb ours. */
#include "unit.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { EVERY = 300, HANG_SECONDS = 45, SHOWN_MAX = 12000, BAD_MAX = 5 };
enum { PASSED = 0, ASSERTED = 40, LEAKED = 41, SKIPPED = 42, SETUP_FAILED = 43 };

int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
void __real_mem_fail_at(int64_t nth);
void __wrap_mem_fail_at(int64_t nth);
// NOLINTBEGIN(readability-redundant-declaration): cmocka.h has them, but hidden by our flags
EXPORT int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *const tests,
                                   const size_t count, CMFixtureFunction setup,
                                   CMFixtureFunction teardown);
EXPORT void _fail(const char *const file, const int line);
EXPORT void _skip(const char *const file, const int line);
// NOLINTEND(readability-redundant-declaration)

static struct shared { /* with the children */
    bool failed;       /* the allocation did fail */
} * shared;
static bool in_child;

static int64_t computed_ms(int who) {
    struct rusage r;
    (void)getrusage(who, &r);
    return (int64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000 +
           (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1000;
}

static int64_t now_ms(void) {
    static int64_t first;
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t passed = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    if (!first) first = passed;
    int64_t computed = computed_ms(RUSAGE_SELF) + computed_ms(RUSAGE_CHILDREN);
    return (passed - first) / 2 > computed ? (passed - first) / 2 : computed;
}

static void child_end(int outcome) {
    shared->failed = mem_failed();
    __real_mem_fail_at(-1);
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check()) outcome = LEAKED;
    _exit(outcome);
}

/* A test with a walk of its own: ours ends where that begins. */
void __wrap_mem_fail_at(int64_t nth) {
    if (!in_child)
        __real_mem_fail_at(nth);
    else if (nth >= 0)
        child_end(PASSED);
}

static void *of_library(const char *name) {
    void *f = dlsym(RTLD_NEXT, name);
    if (!f) abort();
    return f;
}

void _fail(const char *const file, const int line) {
    if (in_child) {
        (void)fprintf(stderr, "%s:%d: failed\n", file, line);
        child_end(ASSERTED);
    }
    void (*real)(const char *, int);
    void *f = of_library("_fail");
    memcpy(&real, &f, sizeof real);
    real(file, line);
}

void _skip(const char *const file, const int line) {
    if (in_child) _exit(SKIPPED);
    void (*real)(const char *, int);
    void *f = of_library("_skip");
    memcpy(&real, &f, sizeof real);
    real(file, line);
}

/* ---- one run ---- */

struct outcome {
    int code, signal; /* signal 0: it ended by itself */
    bool failed;
};

static void child(const struct CMUnitTest *t, void *group_state, int64_t n, int out) {
    void *state = t->initial_state ? t->initial_state : group_state;
    (void)dup2(out, 1);
    (void)dup2(out, 2);
    (void)alarm(HANG_SECONDS);
    in_child = true;
    if (t->setup_func && t->setup_func(&state) != 0) _exit(SETUP_FAILED);
    __real_mem_fail_at(n);
    t->test_func(&state);
    bool failed = mem_failed();
    __real_mem_fail_at(-1);
    if (t->teardown_func) (void)t->teardown_func(&state);
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check()) {
        shared->failed = failed;
        _exit(LEAKED);
    }
    shared->failed = failed;
    _exit(PASSED);
}

static struct outcome run_once(const struct CMUnitTest *t, void *state, int64_t n, int out) {
    struct outcome o = { .code = -1 };
    int status = 0;
    shared->failed = false;
    (void)(ftruncate(out, 0) + (int)lseek(out, 0, SEEK_SET));
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) child(t, state, n, out);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return o;
    if (WIFSIGNALED(status)) o.signal = WTERMSIG(status);
    if (WIFEXITED(status)) o.code = WEXITSTATUS(status);
    o.failed = shared->failed;
    return o;
}

/* NULL: all is well. */
static const char *verdict(struct outcome o) {
    if (o.signal == SIGALRM) return "hangs";
    if (o.signal) return strsignal(o.signal);
    switch (o.code) {
    case PASSED:
    case SKIPPED:
    case ASSERTED: /* when no allocation failed: over what runs before left on disk */
        return NULL;
    case LEAKED:
        return "leaks";
    case SETUP_FAILED:
        return "its setup fails";
    default:
        return "crashes";
    }
}

static void show(int out) {
    static char text[SHOWN_MAX];
    ssize_t n = pread(out, text, sizeof text, 0);
    if (n > 0) (void)fwrite(text, 1, (size_t)n, stdout);
    (void)printf("\n");
}

/* ---- one test, all n ---- */

struct walk {
    unsigned runs, bad;
    bool is_whole; /* every n was tried */
};

static void walk_test(const struct CMUnitTest *t, void *state, int64_t until, int out,
                      struct walk *w) {
    unsigned bad = 0;
    for (int64_t n = 0, step = 1; bad < BAD_MAX; n += step) {
        struct outcome o = run_once(t, state, n, out);
        const char *what = verdict(o);
        if (what) {
            bad++;
            (void)printf("%s, allocation %lld failing: %s (code %d)\n", t->name, (long long)n, what,
                         o.code);
            show(out);
            if (o.signal == SIGALRM) break;
        }
        if (!o.failed && !(what && o.code != ASSERTED && o.code != LEAKED)) break;
        w->runs++;
        if (n >= EVERY) step = 1 + n / 50;
        if (now_ms() > until) step = 1 + n;
        if (step > 1) w->is_whole = false;
    }
    w->bad += bad;
}

static int walk_group(const struct CMUnitTest *tests, size_t count, CMFixtureFunction setup,
                      CMFixtureFunction teardown, int seconds) {
    void *state = NULL;
    struct walk w = { .is_whole = true };
    int64_t end = now_ms() + (int64_t)seconds * 1000, late = end + (int64_t)seconds * 1000;
    int out = memfd_create("output", 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (out < 0 || shared == MAP_FAILED || (setup && setup(&state) != 0)) {
        (void)printf("FAIL oom: cannot begin\n");
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        unsigned runs = w.runs;
        int64_t began = now_ms(), left = end - began;
        int64_t share = left > 0 ? left / (int64_t)(count - i) : 0;
        if (began > late) {
            (void)printf("%s: no time left\n", tests[i].name);
            w.is_whole = false;
            continue;
        }
        walk_test(&tests[i], state, began + share, out, &w);
        (void)printf("%s: %u allocations failed (%lld ms)\n", tests[i].name, w.runs - runs,
                     (long long)(now_ms() - began));
    }
    if (teardown) (void)teardown(&state);
    (void)printf("%s oom: %zu tests, %u allocations failed%s\n", w.bad ? "FAIL" : "PASS", count,
                 w.runs, w.is_whole ? "" : ", not every one of the longest");
    return w.bad != 0;
}

int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *const tests,
                            const size_t count, CMFixtureFunction setup,
                            CMFixtureFunction teardown) {
    const char *seconds = getenv("KITH_OOM");
    if (seconds) return walk_group(tests, count, setup, teardown, (int)strtol(seconds, NULL, 10));
    int (*real)(const char *, const struct CMUnitTest *, size_t, CMFixtureFunction,
                CMFixtureFunction);
    void *f = of_library("_cmocka_run_group_tests");
    memcpy(&real, &f, sizeof real);
    return real(name, tests, count, setup, teardown);
}
