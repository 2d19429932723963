/* base/buf.h - a writer over memory of fixed size.
 *
 * Overflow is sticky: writes that do not fit set `full` and change nothing else, so a writer makes
 * a whole message and asks once at the end. Memory: the caller's. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/slice.h"

struct buf {
    char *ptr;
    size_t len, cap;
    bool full; /* something did not fit: the content is not to be used */
};

static inline struct buf buf_over(void *mem, size_t cap) {
    return (struct buf){ mem, 0, cap, false };
}
static inline slice buf_slice(const struct buf *b) {
    return (slice){ b->ptr, b->len };
}
static inline size_t buf_room(const struct buf *b) {
    return b->cap - b->len;
}
static inline void buf_clear(struct buf *b) {
    b->len = 0;
    b->full = false;
}
static inline void buf_put(struct buf *b, slice s) {
    if (UNLIKELY(b->full || s.len > b->cap - b->len)) {
        b->full = true;
        return;
    }
    if (s.len) memcpy(b->ptr + b->len, s.ptr, s.len);
    b->len += s.len;
}
#define buf_lit(b, lit) buf_put((b), SLICE(lit))
static inline void buf_byte(struct buf *b, char c) {
    buf_put(b, (slice){ &c, 1 });
}

void buf_u64(struct buf *b, uint64_t v);                          /* decimal */
void buf_hex(struct buf *b, const void *bytes, size_t len);       /* lower case */
void buf_base64url(struct buf *b, const void *bytes, size_t len); /* RFC 4648 5, no padding */
void buf_base64(struct buf *b, const void *bytes, size_t len);    /* RFC 4648 4, padded */
/* Needs one byte of room more than the text it makes. */
void buf_fmt(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Readers of the same forms. ERR_BAD: not of that form; ERR_LIMIT: dst too small. */
NODISCARD enum err base64url_read(slice s, void *dst, size_t dst_len, size_t *out_len);
NODISCARD enum err base64_read(slice s, void *dst, size_t dst_len, size_t *out_len);
NODISCARD enum err hex_read(slice s, void *dst, size_t dst_len, size_t *out_len);

#endif
