#include "base/units.h"
#include "base/buf.h"

enum err duration_read(slice s, int64_t max_ms, int64_t *out_ms) {
    uint64_t unit = 1000;
    if (s.len == 0) return ERR_BAD;
    switch (s.ptr[s.len - 1]) {
    case 's':
        s.len--;
        break;
    case 'm':
        unit = 60000;
        s.len--;
        break;
    case 'h':
        unit = 3600000;
        s.len--;
        break;
    case 'd':
        unit = 86400000;
        s.len--;
        break;
    default:
        break;
    }
    if (max_ms < 0) max_ms = 0;
    uint64_t v;
    enum err e = slice_u64(s, (uint64_t)max_ms / unit, &v);
    if (e == ERR_OK) *out_ms = (int64_t)(v * unit);
    return e;
}

enum err size_read(slice s, uint64_t max, uint64_t *out) {
    unsigned shift = 0;
    if (s.len == 0) return ERR_BAD;
    switch (s.ptr[s.len - 1]) {
    case 'k':
    case 'K':
        shift = 10;
        s.len--;
        break;
    case 'M':
        shift = 20;
        s.len--;
        break;
    case 'G':
        shift = 30;
        s.len--;
        break;
    default:
        break;
    }
    uint64_t v;
    enum err e = slice_u64(s, max >> shift, &v);
    if (e == ERR_OK) *out = v << shift;
    return e;
}

void duration_put(struct buf *b, int64_t ms) {
    static const struct {
        char name;
        uint64_t seconds;
    } units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
    uint64_t left = ms > 0 ? (uint64_t)ms / 1000 : 0;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (left < units[i].seconds && i + 1 < ARRAY_LEN(units)) continue;
        buf_u64(b, left / units[i].seconds);
        buf_byte(b, units[i].name);
        left %= units[i].seconds;
        if (i + 1 == ARRAY_LEN(units) || left < units[i + 1].seconds) return;
        buf_byte(b, ' ');
        buf_u64(b, left / units[i + 1].seconds);
        buf_byte(b, units[i + 1].name);
        return;
    }
}

void size_put(struct buf *b, uint64_t bytes) {
    static const char *const names[] = { " kB", " MB", " GB", " TB", " PB", " EB" };
    if (bytes < 1024) {
        buf_u64(b, bytes);
        buf_lit(b, " B");
        return;
    }
    unsigned unit = 0;
    uint64_t whole = bytes; /* in units of 1/1024 of names[unit] */
    while (whole >= UINT64_C(1024) * 1024) {
        whole /= 1024;
        unit++;
    }
    buf_u64(b, whole / 1024);
    buf_byte(b, '.');
    buf_u64(b, whole % 1024 * 10 / 1024);
    buf_put(b, slice_str(names[unit]));
}
