/* The messages of the whole input and of the input in pieces must be the same. */
#include "http/ws.h"

#include "base/hash.h"
#include "base/mem.h"

#define LIMIT 2000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t hash;
    unsigned count;
    bool is_over;
};

static size_t take(struct ws_reader *ws, char *bytes, size_t *len, struct seen *seen) {
    static const struct hash_key key = { 1, 2 };
    struct ws_event ev;
    size_t used = 0;
    while (!seen->is_over) {
        size_t rest = *len - used;
        enum ws_got got = ws_read(ws, bytes + used, &rest, LIMIT, &ev);
        *len = used + rest;
        ASSERT(ws->held <= rest && ws->held <= LIMIT);
        if (got == WS_MORE) break;
        ASSERT(ev.used <= rest);
        used += ev.used;
        seen->count++;
        struct hash_key k = { key.k0 ^ seen->hash, key.k1 + got };
        slice what =
            got == WS_BAD || got == WS_CLOSE ? slice_of(&ev.code, sizeof ev.code) : ev.payload;
        ASSERT(what.len <= LIMIT);
        seen->hash = siphash_slice(&k, what);
        seen->is_over = got == WS_BAD || got == WS_CLOSE;
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ws_reader once = { 0 }, pieces = { 0 };
    struct seen want = { 0 }, got = { 0 };
    if (size == 0 || size > 65536) return 0;
    char *whole = mem_dup(data, size), *part = mem_alloc(size);
    if (whole && part) {
        size_t len = size, have = 0;
        (void)take(&once, whole, &len, &want);
        for (size_t at = 0, step = 1u + data[0] % 16u; at < size && !got.is_over; at += step) {
            size_t n = size - at < step ? size - at : step;
            memcpy(part + have, data + at, n);
            have += n;
            size_t used = take(&pieces, part, &have, &got);
            memmove(part, part + used, have - used);
            have -= used;
        }
        ASSERT(got.count == want.count && got.hash == want.hash);
    }
    mem_free(whole);
    mem_free(part);
    return 0;
}
