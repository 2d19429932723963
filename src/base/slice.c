#include "base/slice.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool slice_ieq(slice a, slice b) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i])) return false;
    return true;
}

bool slice_starts(slice s, slice prefix) {
    return s.len >= prefix.len && slice_eq(slice_head(s, prefix.len), prefix);
}

bool slice_istarts(slice s, slice prefix) {
    return s.len >= prefix.len && slice_ieq(slice_head(s, prefix.len), prefix);
}

int slice_cmp(slice a, slice b) {
    size_t both = a.len < b.len ? a.len : b.len;
    int order = both ? memcmp(a.ptr, b.ptr, both) : 0;
    if (order != 0) return order;
    return (a.len > b.len) - (a.len < b.len);
}

size_t slice_find(slice s, char c) {
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

size_t slice_find_slice(slice s, slice what) {
    if (what.len == 0) return 0;
    const char *at = s.len ? memmem(s.ptr, s.len, what.ptr, what.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

slice slice_trim(slice s) {
    while (s.len && is_blank(s.ptr[0])) s = slice_from(s, 1);
    while (s.len && is_blank(s.ptr[s.len - 1])) s.len--;
    return s;
}

bool slice_split(slice *rest, char sep, slice *first) {
    if (rest->len == 0) return false;
    size_t at = slice_find(*rest, sep);
    *first = slice_head(*rest, at);
    *rest = slice_from(*rest, at + 1);
    return true;
}

enum err slice_u64(slice s, uint64_t max, uint64_t *out) {
    if (s.len == 0) return ERR_BAD;
    uint64_t v = 0;
    bool over = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return ERR_BAD; /* also behind a number too large */
        unsigned digit = (unsigned)(s.ptr[i] - '0');
        if (v > (UINT64_MAX - digit) / 10) over = true;
        if (!over) v = v * 10 + digit;
    }
    if (over || v > max) return ERR_LIMIT;
    *out = v;
    return ERR_OK;
}

enum err slice_u32(slice s, uint32_t max, uint32_t *out) {
    uint64_t v;
    enum err e = slice_u64(s, max, &v);
    if (e == ERR_OK) *out = (uint32_t)v;
    return e;
}

bool slice_cstr(slice s, char *dst, size_t dst_len) {
    if (s.len >= dst_len || (s.len && memchr(s.ptr, '\0', s.len))) return false;
    if (s.len) memcpy(dst, s.ptr, s.len);
    dst[s.len] = '\0';
    return true;
}
