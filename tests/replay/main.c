/* replay [-v] [-wN] [-r] [-f] [-x] FILE...: plays scenarios; exit code 1 when one fails.
 *
 *   -v   show every message          -wN  spread the flows over N workers
 *   -r   reverse mail between them   -x   let every allocation fail once: nothing may crash */
#include "replay.h"

#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include <stdio.h>

#define FILE_MAX (1u << 20)

static bool read_file(struct world *w, slice *out) {
    FILE *f = fopen(w->file, "rb");
    char *mem = arena_alloc(&w->arena, FILE_MAX);
    if (!f || !mem) {
        if (f) (void)fclose(f);
        return complain(w, "cannot be read");
    }
    size_t len = fread(mem, 1, FILE_MAX, f);
    (void)fclose(f);
    *out = slice_of(mem, len);
    return len < FILE_MAX || complain(w, "is too long");
}

/* The first three lines say what this is about: title, rule, says. */
static bool has_head(struct world *w, const struct script *s) {
    static const char *const head[] = { "title:", "rule:", "says:" };
    for (unsigned i = 0; i < ARRAY_LEN(head); i++)
        if (s->count <= i || !slice_starts(s->lines[i].text, slice_str(head[i])))
            return complain(w, "the first lines must be title:, rule: and says:");
    return true;
}

struct ways { /* how the scenarios are played */
    bool is_loud, is_mail_reversed, is_mail_forced, is_memory_short;
    unsigned spread;
};

static bool play_once(struct world *w, const char *file, const struct ways *ways) {
    struct script script;
    slice bytes;
    world_init(w, file);
    w->is_loud = ways->is_loud;
    w->is_quiet = ways->is_memory_short;
    w->is_mail_reversed = ways->is_mail_reversed;
    w->config.force_mail = ways->is_mail_forced;
    if (ways->spread) w->config.workers = w->spread = ways->spread;
    bool ok = read_file(w, &bytes) && script_read(w, bytes, &script) && has_head(w, &script) &&
              script_run(w, &script) && expect_all_quiet(w);
    world_fini(w);
    return ok;
}

static bool lost_blocks(const char *file, int64_t before) {
    if (mem_live() == before) return false;
    (void)fprintf(stderr, "%s: %d blocks of memory were lost\n", file, (int)(mem_live() - before));
    return true;
}

static bool play(struct world *w, const char *file, const struct ways *ways) {
    int64_t before = mem_live();
    bool ok = play_once(w, file, ways);
    if (lost_blocks(file, before)) ok = false;
    printf("%s %s\n", ok ? "ok  " : "FAIL", file);
    return ok;
}

/* One allocation after the other fails. The story need not come to its end then, but nothing may
 * crash, hang or be lost. */
static bool play_short_of_memory(struct world *w, const char *file, const struct ways *ways) {
    int n = 0;
    bool ok = true, failed = true;
    for (; failed && ok; n++) {
        int64_t before = mem_live();
        mem_fail_at(n);
        (void)play_once(w, file, ways);
        failed = mem_failed();
        mem_fail_at(-1);
        ok = !lost_blocks(file, before);
    }
    printf("%s %s (%d allocations failed)\n", ok ? "ok  " : "FAIL", file, n - 1);
    return ok;
}

static bool read_way(const char *word, struct ways *ways) {
    slice s = slice_str(word);
    if (slice_eq(s, SLICE("-v")))
        ways->is_loud = true;
    else if (slice_eq(s, SLICE("-r")))
        ways->is_mail_reversed = true;
    else if (slice_eq(s, SLICE("-f")))
        ways->is_mail_forced = true;
    else if (slice_eq(s, SLICE("-x")))
        ways->is_memory_short = true;
    else if (slice_starts(s, SLICE("-w")))
        return slice_u32(slice_from(s, 2), 16, &ways->spread) == ERR_OK;
    else
        return false;
    return true;
}

int main(int argc, char **argv) {
    static struct world w;
    struct ways ways = { .is_loud = false };
    bool ok = true;
    if (crypto_init() != ERR_OK) return 2;
    log_open(-1, NULL);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        if (read_way(argv[i], &ways)) continue;
        bool fine = ways.is_memory_short ? play_short_of_memory(&w, argv[i], &ways)
                                         : play(&w, argv[i], &ways);
        ok = ok && fine;
    }
    return ok ? 0 : 1;
}
