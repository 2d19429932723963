/* base/units.h - the one reader of durations and sizes ("90s", "15m", "2h", "7d"; "64k", "10M"). */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include "base/slice.h"

NODISCARD enum err duration_read(slice s, int64_t max_ms,
                                 int64_t *out_ms);                  /* bare number: seconds */
NODISCARD enum err size_read(slice s, uint64_t max, uint64_t *out); /* k, M, G are 1024-based */
struct buf;
void duration_put(struct buf *b, int64_t ms); /* "3d 4h", "12m 5s", "0s" */
void size_put(struct buf *b, uint64_t bytes); /* "14.2 kB" */

#endif
