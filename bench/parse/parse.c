/* bench_parse - Kith's reader beside sofia-sip, libosip2 and libre: the same messages, in one
 * process, in alternation; nanoseconds of
 * processor time for one message (fastest, median, slowest round).
 *
 *   bench_parse [--json] [--rounds N] [--folder DIR]                                          */
#include "parser.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PARSERS = 4, MESSAGES_MAX = 16, ROUNDS_MAX = 2001, BATCH = 100, BYTES_MAX = 65536 };

static const struct parser *const parsers[PARSERS] = { &parser_kith, &parser_sofia, &parser_osip,
                                                       &parser_re };
static struct message {
    char name[64];
    char bytes[BYTES_MAX];
    size_t len;
    uint64_t ns[PARSERS][ROUNDS_MAX]; /* of one batch */
} messages[MESSAGES_MAX];
static unsigned message_count;
static volatile unsigned sink;

/* Of this thread's own work: what else the machine does does not count. */
static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct message *)a)->name, ((const struct message *)b)->name);
}

static bool load(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) return false;
    for (struct dirent *d; message_count < MESSAGES_MAX && (d = readdir(dir));) {
        struct message *m = &messages[message_count];
        char path[1024];
        if (d->d_name[0] == '.' || strlen(d->d_name) >= sizeof(m->name)) continue;
        int n = snprintf(path, sizeof(path), "%s/%s", folder, d->d_name);
        FILE *f = n > 0 && (size_t)n < sizeof(path) ? fopen(path, "rb") : NULL;
        if (!f) continue;
        m->len = fread(m->bytes, 1, sizeof(m->bytes), f);
        (void)snprintf(m->name, sizeof(m->name), "%.*s", (int)strcspn(d->d_name, "."), d->d_name);
        (void)fclose(f);
        message_count++;
    }
    (void)closedir(dir);
    qsort(messages, message_count, sizeof(messages[0]), by_name);
    return message_count > 0;
}

/* Everybody must have read the same. */
static bool agree(const struct message *m) {
    unsigned wanted = 0;
    for (int p = 0; p < PARSERS; p++) {
        unsigned got = 0;
        bool ok = parsers[p]->read(m->bytes, m->len, &got);
        if (p == 0) wanted = got;
        if (ok && got == wanted) continue;
        (void)fprintf(stderr, "bench_parse: %s reads %s as %u, not %u%s\n", parsers[p]->name,
                      m->name, got, wanted, ok ? "" : " (refused)");
        return false;
    }
    return true;
}

static void run_batch(struct message *m, int p, unsigned round) {
    uint64_t from = now_ns();
    unsigned sum = 0;
    for (int i = 0; i < BATCH; i++) {
        unsigned one;
        (void)parsers[p]->read(m->bytes, m->len, &one);
        sum += one;
    }
    m->ns[p][round] = now_ns() - from;
    sink = sum;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double ns_of(const struct message *m, int p, unsigned at) {
    return (double)m->ns[p][at] / BATCH;
}

static void print_table(unsigned rounds) {
    (void)printf("%-10s %6s  %-10s %9s %9s %9s  %s\n", "message", "bytes", "reader", "min ns",
                 "median", "max", "of kith's median");
    for (unsigned i = 0; i < message_count; i++) {
        const struct message *m = &messages[i];
        for (int p = 0; p < PARSERS; p++) {
            (void)printf("%-10s %6zu  %-10s %9.0f %9.0f %9.0f  %.1f\n", m->name, m->len,
                         parsers[p]->name, ns_of(m, p, 0), ns_of(m, p, rounds / 2),
                         ns_of(m, p, rounds - 1),
                         ns_of(m, p, rounds / 2) / ns_of(m, 0, rounds / 2));
        }
    }
}

static void print_json(unsigned rounds) {
    static const char *const keys[PARSERS] = { "kith", "sofia", "osip", "re" };
    (void)printf("{");
    for (unsigned i = 0; i < message_count; i++) {
        if (strcmp(messages[i].name, "invite") != 0) continue;
        for (int p = 0; p < PARSERS; p++) {
            (void)printf("\"%s_us\": %.3f, ", keys[p], ns_of(&messages[i], p, rounds / 2) / 1000);
        }
    }
    (void)printf("\"rounds\": %u, \"messages\": {", rounds);
    for (unsigned i = 0; i < message_count; i++) {
        const struct message *m = &messages[i];
        (void)printf("%s\"%s\": {\"bytes\": %zu", i ? ", " : "", m->name, m->len);
        for (int p = 0; p < PARSERS; p++) {
            (void)printf(", \"%s\": {\"min_ns\": %.0f, \"median_ns\": %.0f, \"max_ns\": %.0f}",
                         keys[p], ns_of(m, p, 0), ns_of(m, p, rounds / 2), ns_of(m, p, rounds - 1));
        }
        (void)printf("}");
    }
    (void)printf("}}\n");
}

int main(int argc, char **argv) {
    bool json = false;
    unsigned rounds = 101;
    const char *folder = KITH_SOURCE_DIR "/bench/parse/messages";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--folder") == 0 && i + 1 < argc)
            folder = argv[++i];
        else
            rounds = 0;
    }
    if (rounds == 0 || rounds > ROUNDS_MAX) {
        (void)fprintf(stderr, "usage: bench_parse [--json] [--rounds 1..%d] [--folder DIR]\n",
                      ROUNDS_MAX);
        return 2;
    }
    for (int p = 0; p < PARSERS; p++) {
        if (!parsers[p]->start()) return 1;
    }
    if (!load(folder)) {
        (void)fprintf(stderr, "bench_parse: no messages in %s\n", folder);
        return 1;
    }
    for (unsigned i = 0; i < message_count; i++) {
        if (!agree(&messages[i])) return 1;
    }
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < message_count; i++) {
            for (int p = 0; p < PARSERS; p++) run_batch(&messages[i], p, round);
        }
    }
    for (unsigned i = 0; i < message_count; i++) {
        for (int p = 0; p < PARSERS; p++) {
            qsort(messages[i].ns[p], rounds, sizeof(uint64_t), by_number);
        }
    }
    if (json)
        print_json(rounds);
    else
        print_table(rounds);
    return 0;
}
