/* replay [-v] FILE...: plays scenarios; exit code 1 when one fails. -v shows every message. */
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

static bool play(const char *file, bool is_loud) {
    static struct world w;
    struct script script;
    slice bytes;
    int64_t blocks = mem_live();
    world_init(&w, file);
    w.is_loud = is_loud;
    bool ok = read_file(&w, &bytes) && script_read(&w, bytes, &script) && has_head(&w, &script) &&
              script_run(&w, &script) && expect_all_quiet(&w);
    world_fini(&w);
    if (ok && mem_live() != blocks)
        ok = complain(&w, "%d blocks of memory were lost", (int)(mem_live() - blocks));
    printf("%s %s\n", ok ? "ok  " : "FAIL", file);
    return ok;
}

int main(int argc, char **argv) {
    bool is_loud = false, ok = true;
    if (crypto_init() != ERR_OK) return 2;
    log_open(-1, NULL);
    for (int i = 1; i < argc; i++) {
        if (slice_eq(slice_str(argv[i]), SLICE("-v")))
            is_loud = true;
        else if (!play(argv[i], is_loud))
            ok = false;
    }
    return ok ? 0 : 1;
}
