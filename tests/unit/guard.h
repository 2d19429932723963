/* tests/unit/guard.h - inputs that end at a page that cannot be read.
 *
 * A reader that looks one byte past its input crashes there and then, with or without sanitizers.
 * Lifetime: a copy is good until GUARD_KEPT more have been made; then its pages are taken away,
 *           so a use after that crashes too. Threads: one. */
#ifndef UNIT_GUARD_H
#define UNIT_GUARD_H

#include "base/slice.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_KEPT = 256 };

/* `len` bytes to be filled by the caller, the unreadable page behind them. */
static inline char *guard_alloc(size_t len) {
    static struct {
        void *map;
        size_t size;
    } kept[GUARD_KEPT];
    static size_t next;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (len + page - 1) / page * page;
    if (kept[next].map) (void)munmap(kept[next].map, kept[next].size);
    char *map = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + room, page, PROT_NONE) != 0) abort();
    kept[next].map = map;
    kept[next].size = room + page;
    next = (next + 1) % GUARD_KEPT;
    return map + room - len;
}

static inline slice guard_copy(const void *bytes, size_t len) {
    char *at = guard_alloc(len);
    if (len) memcpy(at, bytes, len);
    return slice_of(at, len);
}

#endif
