/* tests/unit/fuzz_replay.c - a fuzz target without a fuzzer.
 *
 * Runs every file of the corpus folder given, and seeded mutations of each, through
 * LLVMFuzzerTestOneInput, so that every preset and every compiler has at least this much.
 * FUZZ_REPLAY_MUTATIONS: how many for each file (2000; fewer when the corpus is large).
 * FUZZ_REPLAY_SEED: another walk. When an input crashes, it is printed in hex. */
#include "base/buf.h"
#include "guard.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>

#ifdef __has_feature
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define SANITIZED 1
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 128 * 1024, FILES_MAX = 4096, RUNS_MAX = 200000, MUTATIONS = 2000 };

static struct {
    const char *file;
    unsigned mutation;
    slice input;
} now;

static void say(slice s) {
    ssize_t n = write(2, s.ptr, s.len);
    (void)n;
}

static void show_input(void) {
    static char text[4096];
    struct buf b = buf_over(text, sizeof(text));
    buf_lit(&b, "fuzz_replay: the input is ");
    buf_put(&b, slice_str(now.file));
    buf_lit(&b, ", mutation ");
    buf_u64(&b, now.mutation);
    buf_lit(&b, ", hex (1500 bytes at most): ");
    buf_hex(&b, now.input.ptr, now.input.len < 1500 ? now.input.len : 1500);
    buf_lit(&b, "\n");
    say(buf_slice(&b));
}

static void on_signal(int sig) {
    show_input();
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t bound) {
    return bound ? (size_t)(next_random(state) % bound) : 0;
}

static void run(slice input) {
    now.input = input;
    (void)LLVMFuzzerTestOneInput((const uint8_t *)input.ptr, input.len);
}

/* One small change in place; `len` is what is in use of INPUT_MAX bytes. */
static size_t mutate(char *text, size_t len, uint64_t *random) {
    static const char special[] = "\r\n\t \"\\<>;:,=@%?&[]()/0\0\xff\x80";
    size_t at = below(random, len);
    switch (below(random, 7)) {
    case 0: /* one bit */
        if (len) text[at] = (char)(text[at] ^ (1 << below(random, 8)));
        return len;
    case 1: /* any byte */
        if (len) text[at] = (char)next_random(random);
        return len;
    case 2: /* a byte that a grammar cares for */
        if (len) text[at] = special[below(random, sizeof(special) - 1)];
        return len;
    case 3: /* the end is missing */
        return at;
    case 4: { /* a piece is missing */
        size_t gone = below(random, len - at < 32 ? len - at : 32);
        memmove(text + at, text + at + gone, len - at - gone);
        return len - gone;
    }
    case 5: { /* a piece is there twice */
        size_t twice = below(random, len - at < 32 ? len - at : 32);
        if (len + twice > INPUT_MAX) return len;
        memmove(text + at + twice, text + at, len - at);
        return len + twice;
    }
    default: /* a byte more */
        if (len + 1 > INPUT_MAX) return len;
        memmove(text + at + 1, text + at, len - at);
        text[at] = special[below(random, sizeof(special) - 1)];
        return len + 1;
    }
}

/* Read in whole; -1 when it cannot be, or is larger than INPUT_MAX. */
static long read_input(const char *folder, const char *name, char *dst) {
    char path[2048];
    struct buf b = buf_over(path, sizeof(path) - 1);
    buf_put(&b, slice_str(folder));
    buf_lit(&b, "/");
    buf_put(&b, slice_str(name));
    if (b.full) return -1;
    path[b.len] = '\0';
    FILE *f = fopen(path, "rb");
    if (!f) return -1;
    size_t len = fread(dst, 1, INPUT_MAX, f);
    bool whole = fgetc(f) == EOF && !ferror(f);
    (void)fclose(f);
    return whole ? (long)len : -1;
}

static unsigned long number_of(const char *variable, unsigned long otherwise) {
    uint64_t v;
    const char *text = getenv(variable);
    return text && slice_u64(slice_str(text), UINT32_MAX, &v) == ERR_OK ? v : otherwise;
}

static int is_input(const struct dirent *d) {
    return d->d_name[0] != '.';
}

int main(int argc, char **argv) {
    static char original[INPUT_MAX], changed[INPUT_MAX];
    struct dirent **names;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    int files = scandir(argv[1], &names, is_input, alphasort);
    if (files <= 0 || files > FILES_MAX) {
        (void)fprintf(stderr, "%s: %s\n", argv[1], files > 0 ? "too many files" : "no corpus");
        return 1;
    }
    (void)signal(SIGABRT, on_signal);
#ifdef SANITIZED /* the other signals are the sanitizer's: it shows where */
    __sanitizer_set_death_callback(show_input);
#else
    const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) (void)signal(signals[i], on_signal);
#endif
    unsigned long each = number_of("FUZZ_REPLAY_MUTATIONS", MUTATIONS), runs = 0;
    if (each > RUNS_MAX / (unsigned)files) each = RUNS_MAX / (unsigned)files;
    uint64_t random = number_of("FUZZ_REPLAY_SEED", 1);
    for (int i = 0; i < files; i++) {
        long len = read_input(argv[1], names[i]->d_name, original);
        if (len < 0) {
            (void)fprintf(stderr, "%s/%s: cannot be read\n", argv[1], names[i]->d_name);
            return 1;
        }
        now.file = names[i]->d_name;
        now.mutation = 0;
        run(guard_copy(original, (size_t)len));
        runs++;
        for (unsigned m = 1; m <= each; m++, runs++) {
            size_t n = (size_t)len;
            memcpy(changed, original, n);
            for (size_t steps = 1 + below(&random, 4); steps; steps--)
                n = mutate(changed, n, &random);
            now.mutation = m;
            run(guard_copy(changed, n));
        }
        free(names[i]);
    }
    free(names);
    printf("%lu inputs from %d files ran\n", runs, files);
    return 0;
}
