/* sip/span.h - how far characters of a class go, 16 at a time where the machine can.
 *
 * Every function looks at p..end only. `base` is the first byte of the text that p lies in: when
 * there are 16 bytes between it and end, the last step looks back over bytes already seen instead
 * of going on one by one. Without SSE2 the class tables of base/scan.h do the same. Not for other
 * folders. */
#ifndef SIP_SPAN_H
#define SIP_SPAN_H

#include "base/scan.h"
#ifdef __SSE2__
#include <emmintrin.h>

typedef __m128i vec;
static inline vec vec_load(const char *p) {
    return _mm_loadu_si128((const vec *)(const void *)p);
}
static inline vec vec_is(vec v, char c) {
    return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}
static inline vec vec_or(vec a, vec b) {
    return _mm_or_si128(a, b);
}
/* low <= v <= low + width, unsigned */
static inline vec vec_in(vec v, char low, char width) {
    vec t = _mm_sub_epi8(v, _mm_set1_epi8(low));
    return _mm_cmpeq_epi8(_mm_min_epu8(t, _mm_set1_epi8(width)), t);
}
static inline unsigned vec_mask(vec v) {
    return (unsigned)_mm_movemask_epi8(v);
}
static inline vec vec_alnum_dash_dot(vec v) {
    vec letter = vec_in(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 25);
    return vec_or(letter, _mm_andnot_si128(vec_is(v, '/'), vec_in(v, '-', 12))); /* - . 0-9 */
}

/* Masks of the bytes that end a span. */
static inline vec vec_control(vec v) { /* HTAB counts here: see span_control */
    return _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
}
static inline unsigned stop_host(vec v) {
    return vec_mask(vec_alnum_dash_dot(v)) ^ 0xffffu;
}
static inline unsigned stop_token(vec v) {
    vec ok = vec_or(vec_alnum_dash_dot(v), vec_or(vec_in(v, '*', 1), vec_in(v, '_', 1)));
    ok = vec_or(ok, vec_or(vec_is(v, '!'), vec_is(v, '%')));
    ok = vec_or(ok, vec_or(vec_is(v, '\''), vec_is(v, '~')));
    return vec_mask(ok) ^ 0xffffu;
}
static inline unsigned stop_uri(vec v) {         /* SCAN_URI_ANY, '%', '@', '#' */
    vec two = _mm_or_si128(v, _mm_set1_epi8(2)); /* < > and \ ^ at once */
    vec high = _mm_andnot_si128(vec_is(v, '~'), _mm_cmpgt_epi8(v, _mm_set1_epi8('z')));
    vec ok = _mm_cmpgt_epi8(v, _mm_set1_epi8(' '));
    vec bad = vec_or(vec_or(high, vec_is(two, '>')), vec_or(vec_is(two, '^'), vec_is(v, '"')));
    return vec_mask(_mm_andnot_si128(vec_or(bad, vec_is(v, '`')), ok)) ^ 0xffffu;
}
static inline unsigned stop_word(vec v) { /* of Call-ID: printable but # $ & , ; = @ ^ | */
    vec ok = _mm_andnot_si128(vec_is(v, 0x7f), _mm_cmpgt_epi8(v, _mm_set1_epi8(' ')));
    vec bad = vec_or(vec_in(v, '#', 1), vec_or(vec_is(v, '&'), vec_is(v, ',')));
    bad = vec_or(bad, vec_or(vec_is(v, ';'), vec_or(vec_is(v, '='), vec_is(v, '@'))));
    bad = vec_or(bad, vec_or(vec_is(v, '^'), vec_is(v, '|')));
    return vec_mask(_mm_andnot_si128(bad, ok)) ^ 0xffffu;
}
static inline unsigned stop_list(vec v) { /* what a list of values looks at */
    return vec_mask(vec_or(vec_is(v, ','), vec_or(vec_is(v, '"'), vec_is(v, '<'))));
}
static inline unsigned stop_quote(vec v) {
    return vec_mask(vec_or(vec_is(v, '"'), vec_is(v, '\\')));
}
static inline unsigned stop_angle(vec v) {
    return vec_mask(vec_is(v, '>'));
}

static inline unsigned stop_at(vec v) {
    return vec_mask(vec_is(v, '@'));
}

#define SPAN_WIDE(stop)                                                                            \
    for (; end - p >= 16; p += 16) {                                                               \
        unsigned mask = stop(vec_load(p));                                                         \
        if (mask) return p + __builtin_ctz(mask);                                                  \
    }                                                                                              \
    if (p < end && end - base >= 16) {                                                             \
        unsigned mask = stop(vec_load(end - 16)) >> (16 - (end - p));                              \
        return mask ? p + __builtin_ctz(mask) : end;                                               \
    }
#else
#define SPAN_WIDE(stop) (void)base;
#endif

#define SPAN(name, going)                                                                          \
    static inline const char *span_##name(const char *p, const char *end, const char *base) {      \
        SPAN_WIDE(stop_##name)                                                                     \
        for (; p < end; p++) {                                                                     \
            char c = *p;                                                                           \
            if (!(going)) break;                                                                   \
        }                                                                                          \
        return p;                                                                                  \
    }

SPAN(host, scan_is(c, SCAN_HOST))
SPAN(token, scan_is(c, SCAN_TOKEN))
SPAN(word, scan_is(c, SCAN_WORD))
SPAN(uri, scan_is(c, SCAN_URI_USER | SCAN_URI_PARAM | SCAN_URI_HEADER) || c == '%' || c == '@' ||
              c == '#')
SPAN(list, c != ',' && c != '"' && c != '<')
SPAN(quote, c != '"' && c != '\\')
SPAN(angle, c != '>')
SPAN(at, c != '@')

#undef SPAN

#ifdef __SSE2__
static inline unsigned stop_control(vec v) {
    return vec_mask(vec_control(v));
}
static inline const char *control_wide(const char *p, const char *end, const char *base) {
    for (; end - p >= 32; p += 32) {
        vec low = vec_control(vec_load(p)), high = vec_control(vec_load(p + 16));
        if (vec_mask(vec_or(low, high))) {
            return p + __builtin_ctz(vec_mask(low) | vec_mask(high) << 16);
        }
    }
    SPAN_WIDE(stop_control)
    return p;
}
#endif

/* The first byte below SP but HTAB: where a line ends, or is broken. The one loop that sees
 * every byte of a head, so it takes 32 at a time. */
static inline const char *span_control(const char *p, const char *end, const char *base) {
    for (;; p++) {
#ifdef __SSE2__
        if (LIKELY(end - base >= 16)) p = control_wide(p, end, base);
#else
        (void)base;
#endif
        while (p < end && (unsigned char)*p >= 0x20) p++;
        if (p == end || *p != '\t') return p;
    }
}
#undef SPAN_WIDE

/* White space of a header value that may be folded; mostly there is none. */
static inline void lws_take(struct cursor *c) {
    while (c->at < c->end && (unsigned char)*c->at <= ' ' && scan_is(*c->at, SCAN_LWS)) c->at++;
}

/* `s` is the word, any case; `word` is of lower-case letters and '-'. `s` holds no CR, which the
 * fold would take for '-': a token, or anything that is checked to be one. */
static inline bool word_is(slice s, const char *word, size_t len) {
    uint64_t a = 0, b = 0, c = 0, d = 0;
    const uint64_t fold = 0x2020202020202020u;
    if (s.len != len) return false;
    if (len > 8) {
        for (size_t i = 0; i + 8 < len; i += 8) {
            memcpy(&a, s.ptr + i, 8);
            memcpy(&b, word + i, 8);
            if (((a | fold) ^ (b | fold)) != 0) return false;
        }
        memcpy(&c, s.ptr + len - 8, 8);
        memcpy(&d, word + len - 8, 8);
        return ((c | fold) ^ (d | fold)) == 0;
    }
    if (len == 8) {
        memcpy(&a, s.ptr, 8);
        memcpy(&b, word, 8);
    } else if (len >= 4) {
        memcpy(&a, s.ptr, 4);
        memcpy(&b, word, 4);
        memcpy((char *)&a + 4, s.ptr + len - 4, 4);
        memcpy((char *)&b + 4, word + len - 4, 4);
    } else if (len >= 2) {
        memcpy(&a, s.ptr, 2);
        memcpy(&b, word, 2);
        memcpy((char *)&a + 2, s.ptr + len - 2, 2);
        memcpy((char *)&b + 2, word + len - 2, 2);
    } else if (len == 1) {
        a = (unsigned char)s.ptr[0];
        b = (unsigned char)word[0];
    }
    return ((a | fold) ^ (b | fold)) == 0;
}
#define WORD_IS(s, lit) word_is((s), "" lit, sizeof(lit) - 1)

#endif
