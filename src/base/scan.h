/* base/scan.h - character classes and a cursor, shared by the SIP, SDP and HTTP readers.
 *
 * Classes are a table of bits per byte. A cursor never passes its end; what it reads are slices of
 * the input. Grammar: RFC 3261 25.1, RFC 7230 3.2.6. */
#ifndef BASE_SCAN_H
#define BASE_SCAN_H

#include "base/slice.h"

enum scan_class {
    SCAN_TOKEN = 1 << 0,     /* RFC 3261 token */
    SCAN_DIGIT = 1 << 1,     /* 0-9 */
    SCAN_HEX = 1 << 2,       /* 0-9 a-f A-F */
    SCAN_WS = 1 << 3,        /* SP HTAB */
    SCAN_LWS = 1 << 4,       /* SP HTAB CR LF: white space of a header already known to be folded */
    SCAN_HOST = 1 << 5,      /* letters digits - . */
    SCAN_URI_USER = 1 << 6,  /* unreserved, user-unreserved (not %) */
    SCAN_URI_PARAM = 1 << 7, /* param-unreserved, unreserved (not %) */
    SCAN_URI_HEADER = 1 << 8, /* hnv-unreserved, unreserved (not %) */
    SCAN_WORD = 1 << 9,       /* RFC 3261 word: Call-ID */
    SCAN_ALPHA = 1 << 10,
    SCAN_QTEXT = 1 << 11, /* inside quotes, without \ and "; with LWS: folds */
};
extern const uint16_t scan_table[256];
static inline bool scan_is(char c, unsigned classes) {
    return (scan_table[(unsigned char)c] & classes) != 0;
}

struct cursor {
    const char *at, *end;
};
static inline struct cursor cursor_of(slice s) {
    return (struct cursor){ s.ptr, s.len ? s.ptr + s.len : s.ptr };
}
static inline bool cursor_done(const struct cursor *c) {
    return c->at >= c->end;
}
static inline bool cursor_take(struct cursor *c, char ch) {
    if (c->at < c->end && *c->at == ch) {
        c->at++;
        return true;
    }
    return false;
}
static inline slice cursor_while(struct cursor *c, unsigned classes) {
    const char *from = c->at;
    while (c->at < c->end && scan_is(*c->at, classes)) c->at++;
    return slice_span(from, c->at);
}
static inline void cursor_lws(struct cursor *c) {
    cursor_while(c, SCAN_LWS);
}
static inline slice cursor_rest(const struct cursor *c) {
    return slice_span(c->at, c->end);
}

#endif
