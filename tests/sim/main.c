/* sim [-v] [--seed N] [--seeds A-B] [--for 10m]: whole networks on virtual time; see README.md.
 *
 *   -v          tell the story (-vv: with every message)
 *   --seed N    one seed, twice, and compare the hash of all effects
 *   --seeds A-B each of these (each tenth twice)
 *   --for T     new seeds until the time (s, m, h) is over: a soak */
#include "sim.h"

#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct options {
    uint64_t from, to;
    int64_t soak_s;
    unsigned verbose;
    bool is_twice;
};

#define AGAIN_EVERY 10 /* of many seeds so many are run twice, to compare the effects */

static struct sim world;

/* An assertion or a sanitizer ends the process: say which seed it was. */
static void say_seed(void) {
    char text[96];
    int n = snprintf(text, sizeof text, "\nFAIL seed %" PRIu64 ": the process died\n", world.seed);
    if (n > 0) (void)!write(STDOUT_FILENO, text, (size_t)n);
}

static void on_signal(int sig) {
    say_seed();
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

#ifdef MEM_ASAN
#include <sanitizer/common_interface_defs.h>
static void watch_sanitizer(void) {
    __sanitizer_set_death_callback(say_seed);
}
#else
static void watch_sanitizer(void) {
    (void)signal(SIGSEGV, on_signal);
}
#endif

static double now_s(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report_failure(const char *program) {
    printf("FAIL seed %" PRIu64 ": %s\n", world.seed, world.failure);
    plan_print(&world.drawn);
    printf("  again: %s -v %s--seed %" PRIu64 "\n", program, world.is_circle ? "--circle " : "",
           world.seed);
}

static bool run_seed(const char *program, uint64_t seed, const struct options *o) {
    world.verbose = o->verbose;
    sim_run(&world, seed);
    uint64_t hash = world.hash;
    if (!world.is_failed && o->is_twice && (o->from == o->to || seed % AGAIN_EVERY == 0)) {
        world.verbose = 0;
        sim_run(&world, seed);
        if (!world.is_failed && world.hash != hash)
            (void)sim_fail(&world, "two runs of one seed differ: %016" PRIx64 " and %016" PRIx64,
                           hash, world.hash);
    }
    if (world.is_failed) {
        report_failure(program);
        return false;
    }
    return true;
}

static void add_counts(struct counts *sum) {
    uint64_t *to = &sum->events;
    const uint64_t *from = &world.counts.events;
    for (size_t i = 0; i < offsetof(struct counts, virtual_ms) / sizeof *to; i++) to[i] += from[i];
    sum->virtual_ms += world.counts.virtual_ms;
}

static void print_seed(void) {
    const struct counts *c = &world.counts;
    printf("PASS seed %" PRIu64 ": %" PRIu64 " messages, %" PRIu64 " of %" PRIu64
           " calls up, %" PRIu64 " crashes, %" PRIu64 " cuts, %" PRIu64
           " forgeries, %u crossings at most, hash %016" PRIx64 "\n",
           world.seed, c->messages, c->calls_up, c->calls_tried, c->crashes, c->cuts, c->forged,
           c->crossings, world.hash);
}

static void print_sum(const struct counts *c, uint64_t seeds, unsigned failed, double took_s) {
    printf("%" PRIu64 " seeds, %u failed: %.1f virtual hours in %.0f s; %" PRIu64
           " messages, %" PRIu64 " calls tried, %" PRIu64 " up, %" PRIu64 " registrations, %" PRIu64
           " probes\n",
           seeds, failed, (double)c->virtual_ms / 3600e3, took_s, c->messages, c->calls_tried,
           c->calls_up, c->registered, c->probes);
    printf("faults: %" PRIu64 " crashes, %" PRIu64 " drains, %" PRIu64 " full disks, %" PRIu64
           " connections cut, %" PRIu64 " forgeries, %" PRIu64 " messages of garbage\n",
           c->crashes, c->drains, c->disk_faults, c->cuts, c->forged, c->garbage);
}

/* "10m", "90s", "2h", "45" */
static bool read_time(const char *text, int64_t *out_s) {
    char *end;
    long long n = strtoll(text, &end, 10);
    int64_t unit = *end == 'h' ? 3600 : *end == 'm' ? 60 : 1;
    *out_s = n * unit;
    return n > 0 && (*end == 0 || (strchr("hms", *end) && end[1] == 0));
}

static bool read_options(int argc, char **argv, struct options *o) {
    char *end;
    *o = (struct options){ .from = 1, .to = 1, .is_twice = true };
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "-v") || !strcmp(argv[i], "-vv")) {
            o->verbose = (unsigned)strlen(argv[i]) - 1;
        } else if (!strcmp(argv[i], "--circle")) {
            world.is_circle = true;
        } else if (!strcmp(argv[i], "--once")) {
            o->is_twice = false;
        } else if (!strcmp(argv[i], "--seed") || !strcmp(argv[i], "--seeds")) {
            o->from = o->to = strtoull(value, &end, 10);
            if (*end == '-') o->to = strtoull(end + 1, &end, 10);
            if (end == value || *end || o->to < o->from) return false;
            i++;
        } else if (!strcmp(argv[i], "--for")) {
            if (!read_time(value, &o->soak_s)) return false;
            o->from = (uint64_t)time(NULL) * 1000;
            o->to = UINT64_MAX;
            i++;
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    struct options o;
    struct counts sum = { 0 };
    unsigned failed = 0;
    uint64_t seeds = 0;
    if (!read_options(argc, argv, &o)) {
        (void)fprintf(
            stderr,
            "usage: sim [-v|-vv] [--once] [--circle] [--seed N | --seeds A-B | --for 10m]\n");
        return 2;
    }
    if (crypto_init() != ERR_OK) return 2;
    log_open(-1, NULL);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGABRT, on_signal);
    (void)signal(SIGFPE, on_signal);
    watch_sanitizer();
    double began = now_s();
    for (uint64_t seed = o.from; seed <= o.to; seed++) {
        if (o.soak_s && now_s() - began >= (double)o.soak_s) break;
        bool ok = run_seed(argv[0], seed, &o);
        if (ok && !o.soak_s) print_seed();
        if (!ok) failed++;
        seeds++;
        add_counts(&sum);
    }
    print_sum(&sum, seeds, failed, now_s() - began);
    return failed ? 1 : 0;
}
