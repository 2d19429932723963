/* base/slice.h - borrowed text: a pointer and a length, passed by value.
 *
 * Lifetime: a slice never owns. It is valid as long as the bytes it points into.
 * Memory:   none. ptr may be NULL only when len is 0. Not terminated, may hold any byte. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include "base/err.h"
#include <string.h>

typedef struct {
    const char *ptr;
    size_t len;
} slice;

#define SLICE(lit)   ((slice){ "" lit, sizeof(lit) - 1 })
#define SLICE_NONE   ((slice){ NULL, 0 })
#define SLICE_FMT    "%.*s" /* printf(SLICE_FMT, SLICE_ARG(s)) */
#define SLICE_ARG(s) (int)(s).len, ((s).len ? (s).ptr : "")

static inline slice slice_of(const void *ptr, size_t len) {
    return (slice){ ptr, len };
}
static inline slice slice_str(const char *s) {
    return (slice){ s, s ? strlen(s) : 0 };
}
static inline slice slice_span(const char *from, const char *to) {
    return (slice){ from, (size_t)(to - from) };
}
static inline bool slice_eq(slice a, slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline slice slice_from(slice s, size_t at) {
    return at >= s.len ? (slice){ s.ptr ? s.ptr + s.len : NULL, 0 }
                       : (slice){ s.ptr + at, s.len - at };
}
static inline slice slice_head(slice s, size_t len) {
    return (slice){ s.ptr, len < s.len ? len : s.len };
}

bool slice_ieq(slice a, slice b);                      /* equal, ASCII letters without case */
bool slice_starts(slice s, slice prefix);              /* exact */
bool slice_istarts(slice s, slice prefix);             /* ASCII without case */
int slice_cmp(slice a, slice b);                       /* bytewise order: <0, 0, >0 */
size_t slice_find(slice s, char c);                    /* index, or s.len */
size_t slice_find_slice(slice s, slice what);          /* index, or s.len */
slice slice_trim(slice s);                             /* without SP, HTAB, CR, LF at both ends */
bool slice_split(slice *rest, char sep, slice *first); /* false when *rest was empty */
/* Decimal without sign, leading zeros allowed. ERR_BAD: empty or not a digit; ERR_LIMIT: over max.
 */
NODISCARD enum err slice_u64(slice s, uint64_t max, uint64_t *out);
NODISCARD enum err slice_u32(slice s, uint32_t max, uint32_t *out);
/* A terminated copy for the C library; false when it does not fit or holds a NUL. */
NODISCARD bool slice_cstr(slice s, char *dst, size_t dst_len);

#endif
