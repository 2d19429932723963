#include "base/buf.h"
#include <stdarg.h>
#include <stdio.h>

void buf_u64(struct buf *b, uint64_t v) {
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_put(b, slice_of(digits + at, sizeof(digits) - at));
}

/* Room for `len` bytes that the caller fills in whole; NULL and `full` when there is none. */
static char *reserve(struct buf *b, size_t len) {
    if (b->full || len > buf_room(b)) {
        b->full = true;
        return NULL;
    }
    char *at = b->ptr + b->len;
    b->len += len;
    return at;
}

void buf_hex(struct buf *b, const void *bytes, size_t len) {
    const unsigned char *p = bytes;
    char *at = reserve(b, len > SIZE_MAX / 2 ? SIZE_MAX : len * 2);
    if (!at) return;
    for (size_t i = 0; i < len; i++) {
        *at++ = "0123456789abcdef"[p[i] >> 4];
        *at++ = "0123456789abcdef"[p[i] & 15];
    }
}

#define ALPHABET_START "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
static const char base64_std[] = ALPHABET_START "+/";
static const char base64_url[] = ALPHABET_START "-_";

static void put_base64(struct buf *b, const unsigned char *p, size_t len, const char *alphabet,
                       bool pad) {
    size_t tail = len % 3;
    if (len > SIZE_MAX / 2) {
        b->full = true;
        return;
    }
    char *at = reserve(b, len / 3 * 4 + (tail ? (pad ? 4 : tail + 1) : 0));
    if (!at) return;
    for (; len >= 3; len -= 3, p += 3) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        for (int shift = 18; shift >= 0; shift -= 6) *at++ = alphabet[v >> shift & 63];
    }
    if (tail == 0) return;
    uint32_t v = (uint32_t)p[0] << 16 | (tail == 2 ? (uint32_t)p[1] << 8 : 0);
    *at++ = alphabet[v >> 18 & 63];
    *at++ = alphabet[v >> 12 & 63];
    if (tail == 2)
        *at++ = alphabet[v >> 6 & 63];
    else if (pad)
        *at++ = '=';
    if (pad) *at = '=';
}

void buf_base64url(struct buf *b, const void *bytes, size_t len) {
    put_base64(b, bytes, len, base64_url, false);
}

void buf_base64(struct buf *b, const void *bytes, size_t len) {
    put_base64(b, bytes, len, base64_std, true);
}

void buf_fmt(struct buf *b, const char *fmt, ...) {
    if (b->full) return;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(b->ptr + b->len, buf_room(b), fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= buf_room(b))
        b->full = true;
    else
        b->len += (size_t)n;
}

/* Value of a character plus one; 0: not of this alphabet. */
#define BASE64_COMMON                                                                              \
    ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,        \
    ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16, \
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23,            \
    ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30,            \
    ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37,            \
    ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44,            \
    ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50, ['y'] = 51,            \
    ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57, ['5'] = 58,            \
    ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62
static const unsigned char base64_url_values[256] = { BASE64_COMMON, ['-'] = 63, ['_'] = 64 };
static const unsigned char base64_std_values[256] = { BASE64_COMMON, ['+'] = 63, ['/'] = 64 };

/* RFC 4648 3.5: bits behind the last byte must be zero, so that every value has one spelling. */
static enum err read_base64(slice s, const unsigned char values[static 256], unsigned char *dst,
                            size_t dst_len, size_t *out_len) {
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t tail = s.len % 4, n = s.len / 4 * 3 + (tail ? tail - 1 : 0);
    if (tail == 1) return ERR_BAD;
    bool small = n > dst_len;
    uint32_t bits = 0;
    for (size_t i = 0, at = 0; i + 4 <= s.len; i += 4, at += 3, p += 4) {
        unsigned a = values[p[0]], b = values[p[1]], c = values[p[2]], d = values[p[3]];
        if (!(a && b && c && d)) return ERR_BAD;
        bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
        if (small) continue;
        dst[at] = (unsigned char)(bits >> 16);
        dst[at + 1] = (unsigned char)(bits >> 8);
        dst[at + 2] = (unsigned char)bits;
    }
    if (tail) {
        unsigned a = values[p[0]], b = values[p[1]], c = tail == 3 ? values[p[2]] : 1;
        if (!(a && b && c)) return ERR_BAD;
        bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6;
        if (bits & (tail == 3 ? 0xffu : 0xffffu)) return ERR_BAD;
        if (!small) dst[n - tail + 1] = (unsigned char)(bits >> 16);
        if (!small && tail == 3) dst[n - 1] = (unsigned char)(bits >> 8);
    }
    if (small) return ERR_LIMIT;
    *out_len = n;
    return ERR_OK;
}

enum err base64url_read(slice s, void *dst, size_t dst_len, size_t *out_len) {
    return read_base64(s, base64_url_values, dst, dst_len, out_len);
}

enum err base64_read(slice s, void *dst, size_t dst_len, size_t *out_len) {
    if (s.len % 4 != 0) return ERR_BAD;
    for (int i = 0; i < 2 && s.len && s.ptr[s.len - 1] == '='; i++) s.len--;
    return read_base64(s, base64_std_values, dst, dst_len, out_len);
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum err hex_read(slice s, void *dst, size_t dst_len, size_t *out_len) {
    unsigned char *out = dst;
    if (s.len % 2 != 0) return ERR_BAD;
    size_t n = s.len / 2;
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(s.ptr[2 * i]), low = hex_value(s.ptr[2 * i + 1]);
        if (high < 0 || low < 0) return ERR_BAD;
        if (i < dst_len) out[i] = (unsigned char)((unsigned)high << 4 | (unsigned)low);
    }
    if (n > dst_len) return ERR_LIMIT;
    *out_len = n;
    return ERR_OK;
}
