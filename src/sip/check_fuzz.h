/* sip/check_fuzz.h - what the fuzz targets of this folder check with. */
#ifndef SIP_CHECK_FUZZ_H
#define SIP_CHECK_FUZZ_H

#include "base/slice.h"
#include <stdlib.h>

#define must(cond) ((cond) ? (void)0 : abort())

/* A slice that was read lies in what it was read from. */
static inline void inside(slice s, slice whole) {
    if (s.len == 0) return;
    must(s.ptr >= whole.ptr && s.ptr + s.len <= whole.ptr + whole.len);
}
/* A copy in memory of exactly that size, so that a sanitizer sees one byte too far. Free its ptr.
 */
static inline slice exact(slice s) {
    char *p = malloc(s.len ? s.len : 1);
    if (!p) abort();
    if (s.len) memcpy(p, s.ptr, s.len);
    return (slice){ p, s.len };
}

#endif
