/* base/be.h - numbers in network order, read from and written to bytes of any alignment. */
#ifndef BASE_BE_H
#define BASE_BE_H

#include <stdint.h>

static inline uint16_t be16_get(const char *p) {
    return (uint16_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
}
static inline uint32_t be32_get(const char *p) {
    return (uint32_t)be16_get(p) << 16 | be16_get(p + 2);
}
static inline void be16_put(char *p, unsigned v) {
    p[0] = (char)(v >> 8);
    p[1] = (char)v;
}
static inline void be32_put(char *p, uint32_t v) {
    be16_put(p, v >> 16);
    be16_put(p + 2, v & 0xffff);
}

#endif
