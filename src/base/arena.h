/* base/arena.h - memory that is freed whole.
 *
 * For what belongs to one message, one transaction or one loop turn. Born with its maximum;
 * arena_reset keeps the first block for the next use. Threads: one at a time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"

struct arena_block;
struct arena {
    struct arena_block *first, *current;
    size_t used, max; /* bytes handed out, and the most that may be */
};

void arena_init(struct arena *a, size_t max);
void arena_reset(struct arena *a); /* all memory handed out is invalid from here on */
void arena_fini(struct arena *a);
/* Aligned to 16, not zeroed. NULL: over the maximum, or memory is short. */
NODISCARD void *arena_alloc(struct arena *a, size_t size);
NODISCARD void *arena_zalloc(struct arena *a, size_t size);
/* A copy; ERR_MEMORY when it does not fit. */
NODISCARD enum err arena_copy(struct arena *a, slice s, slice *out);

#endif
