#include "base/hash.h"
#include <endian.h>

/* SipHash-2-4 after its paper: J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input
 * PRF", 2012: two rounds a word, four at the end. */
struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned by) {
    return x << by | x >> (64 - by);
}

static inline void sip_round(struct state *s) {
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

static inline void take_word(struct state *s, uint64_t word) {
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

#define EACH_BYTE(v) ((v)*UINT64_C(0x0101010101010101))

/* Eight letters at once: of a byte below 0x80, adding 0x3f sets the top bit from 'A' on, adding
 * 0x25 from behind 'Z' on. Where only the first does, 0x20 makes the letter small. */
static inline uint64_t fold_word(uint64_t word) {
    uint64_t low = word & EACH_BYTE(0x7f);
    uint64_t upper = (low + EACH_BYTE(0x3f)) & ~(low + EACH_BYTE(0x25)) & ~word & EACH_BYTE(0x80);
    return word | upper >> 2;
}

/* One load: this is the hot path of every table. */
static inline uint64_t read_word(const unsigned char *p) {
    uint64_t word;
    memcpy(&word, p, 8);
    return le64toh(word);
}

static inline uint64_t read_tail(const unsigned char *p, size_t len) {
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) word |= (uint64_t)p[i] << (8 * i);
    return word;
}

__attribute__((always_inline)) static inline uint64_t
sip_hash(const struct hash_key *key, const unsigned char *p, size_t len, bool fold) {
    struct state s = { key->k0 ^ 0x736f6d6570736575u, key->k1 ^ 0x646f72616e646f6du,
                       key->k0 ^ 0x6c7967656e657261u, key->k1 ^ 0x7465646279746573u };
    size_t left = len;
    for (; left >= 8; left -= 8, p += 8)
        take_word(&s, fold ? fold_word(read_word(p)) : read_word(p));
    uint64_t tail = fold ? fold_word(read_tail(p, left)) : read_tail(p, left);
    take_word(&s, (uint64_t)len << 56 | tail);
    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++) sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t siphash(const struct hash_key *key, const void *bytes, size_t len) {
    return sip_hash(key, bytes, len, false);
}

uint64_t siphash_fold(const struct hash_key *key, slice s) {
    return sip_hash(key, (const unsigned char *)s.ptr, s.len, true);
}
