/* daemon/suggest.h - "did you mean": the nearest of the right words. */
#ifndef DAEMON_SUGGEST_H
#define DAEMON_SUGGEST_H

#include "base/slice.h"

/* Insertions, deletions, changes and swaps of neighbours that turn a into b, letters without case;
 * texts longer than 63 bytes count as far away. */
unsigned edit_distance(slice a, slice b);

/* Start with SUGGEST_NONE, offer every right word, take `best` (empty: nothing is near enough,
 * which is more than a third of the word's length, at least 1). */
struct suggest {
    slice wrong, best;
    unsigned distance;
};
static inline struct suggest suggest_for(slice wrong) {
    return (struct suggest){ wrong, SLICE_NONE, 1000 };
}
void suggest_offer(struct suggest *s, slice right);

#endif
