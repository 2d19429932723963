/* base/hash.h - SipHash-2-4 for tables whose keys strangers choose, under a key of the process; and
 * a cheap one for those whose keys are ours. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/slice.h"

struct hash_key {
    uint64_t k0, k1;
};

/* Spreads a number over the high bits (by the golden ratio). Enough, without a key, for ids that we
 * give ourselves. */
static inline uint64_t hash_spread(uint64_t id) {
    return id * UINT64_C(0x9e3779b97f4a7c15);
}
uint64_t siphash(const struct hash_key *key, const void *bytes, size_t len);
/* The same over text with ASCII letters folded to lower case (host names, tokens). */
uint64_t siphash_fold(const struct hash_key *key, slice s);
static inline uint64_t siphash_slice(const struct hash_key *key, slice s) {
    return siphash(key, s.ptr, s.len);
}

#endif
