#include "base/addr.h"

bool addr_ip_eq(const struct addr *a, const struct addr *b) {
    return a->family == b->family && a->scope == b->scope &&
           memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool addr_eq(const struct addr *a, const struct addr *b) {
    return addr_ip_eq(a, b) && a->port == b->port;
}

/* RFC 3986 3.2.2: dec-octet. A leading zero is refused, because some readers take it as octal. */
static bool read_v4(slice s, uint8_t ip[static 4]) {
    for (int i = 0; i < 4; i++) {
        size_t len = i < 3 ? slice_find(s, '.') : s.len;
        slice part = slice_head(s, len);
        uint32_t v;
        if (len > 3 || (i < 3 && len == s.len)) return false;
        if (slice_u32(part, 255, &v) != ERR_OK || (part.len > 1 && part.ptr[0] == '0'))
            return false;
        ip[i] = (uint8_t)v;
        s = slice_from(s, len + 1);
    }
    return true;
}

static bool read_h16(slice s, uint8_t out[static 2]) {
    uint8_t both[2] = { 0 };
    size_t n;
    char padded[4] = { '0', '0', '0', '0' };
    if (s.len == 0 || s.len > 4) return false;
    memcpy(padded + 4 - s.len, s.ptr, s.len);
    if (hex_read(slice_of(padded, 4), both, 2, &n) != ERR_OK) return false;
    memcpy(out, both, 2);
    return true;
}

/* Groups between single colons, the last may be an IPv4 address when `v4_ok`. Gives the bytes
 * filled, or -1. Empty text gives 0. */
static int read_groups(slice s, bool v4_ok, uint8_t ip[static 16]) {
    int filled = 0;
    while (s.len) {
        size_t len = slice_find(s, ':');
        slice group = slice_head(s, len);
        bool is_last = len == s.len;
        if (is_last && v4_ok && slice_find(group, '.') < group.len) {
            return filled <= 12 && read_v4(group, ip + filled) ? filled + 4 : -1;
        }
        if (filled > 14 || !read_h16(group, ip + filled)) return -1;
        filled += 2;
        if (!is_last && len + 1 == s.len) return -1; /* ends in a colon */
        s = slice_from(s, len + 1);
    }
    return filled;
}

/* RFC 4291 2.2: eight groups, or fewer around one "::", which stands for at least one group. */
static bool read_v6(slice s, uint8_t ip[static 16]) {
    size_t gap = slice_find_slice(s, SLICE("::"));
    uint8_t tail[16] = { 0 };
    if (gap == s.len) return read_groups(s, true, ip) == 16;
    int before = read_groups(slice_head(s, gap), false, ip);
    int behind = read_groups(slice_from(s, gap + 2), true, tail);
    if (before < 0 || behind < 0 || before + behind > 14) return false;
    memset(ip + before, 0, (size_t)(16 - before));
    memcpy(ip + 16 - behind, tail, (size_t)behind);
    return true;
}

enum err addr_read_ip(slice s, struct addr *out) {
    struct addr a = { 0 };
    bool bracket = s.len >= 2 && s.ptr[0] == '[' && s.ptr[s.len - 1] == ']';
    if (bracket) s = slice_of(s.ptr + 1, s.len - 2);
    if (slice_find(s, ':') < s.len) {
        a.family = ADDR_V6;
        if (!read_v6(s, a.ip)) return ERR_BAD;
    } else {
        a.family = ADDR_V4;
        if (bracket || !read_v4(s, a.ip)) return ERR_BAD;
    }
    *out = a;
    return ERR_OK;
}

enum err addr_read(slice s, struct addr *out) {
    size_t host = s.len && s.ptr[0] == '[' ? slice_find(s, ']') + 1 : slice_find(s, ':');
    uint32_t port;
    if (host >= s.len || s.ptr[host] != ':') return ERR_BAD;
    slice digits = slice_from(s, host + 1);
    if (digits.len > 5 || slice_u32(digits, 65535, &port) != ERR_OK) return ERR_BAD;
    struct addr a;
    if (addr_read_ip(slice_head(s, host), &a) != ERR_OK) return ERR_BAD;
    a.port = (uint16_t)port;
    *out = a;
    return ERR_OK;
}

static void put_v4(struct buf *b, const uint8_t *ip) {
    for (int i = 0; i < 4; i++) {
        if (i) buf_byte(b, '.');
        buf_u64(b, ip[i]);
    }
}

static void put_h16(struct buf *b, unsigned v) {
    bool started = false;
    for (int shift = 12; shift >= 0; shift -= 4) {
        unsigned digit = v >> shift & 15;
        started = started || digit || shift == 0;
        if (started) buf_byte(b, "0123456789abcdef"[digit]);
    }
}

static unsigned group_at(const struct addr *a, int i) {
    return (unsigned)a->ip[2 * i] << 8 | a->ip[2 * i + 1];
}

static bool is_v4_mapped(const struct addr *a) {
    static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };
    return a->family == ADDR_V6 && memcmp(a->ip, prefix, sizeof(prefix)) == 0;
}

/* RFC 5952 4.2: the longest run of two or more zero groups is shortened, the first among equals. */
static void find_gap(const struct addr *a, int *from, int *len) {
    *from = -1;
    *len = 1;
    for (int i = 0; i < 8; i++) {
        int n = 0;
        while (i + n < 8 && group_at(a, i + n) == 0) n++;
        if (n > *len) {
            *from = i;
            *len = n;
        }
        i += n;
    }
}

static void put_v6(struct buf *b, const struct addr *a) {
    if (is_v4_mapped(a)) { /* RFC 5952 5: mixed notation where the prefix is well known */
        buf_lit(b, "::ffff:");
        put_v4(b, a->ip + 12);
        return;
    }
    int gap, gap_len;
    find_gap(a, &gap, &gap_len);
    for (int i = 0; i < 8; i++) {
        if (i == gap) {
            buf_lit(b, "::");
            i += gap_len - 1;
            continue;
        }
        if (i && i != gap + gap_len) buf_byte(b, ':');
        put_h16(b, group_at(a, i));
    }
}

void addr_put_ip(struct buf *b, const struct addr *a) {
    if (a->family == ADDR_V4)
        put_v4(b, a->ip);
    else if (a->family == ADDR_V6)
        put_v6(b, a);
    else
        buf_lit(b, "none");
}

void addr_put_host(struct buf *b, const struct addr *a) {
    if (a->family == ADDR_V6) buf_byte(b, '[');
    addr_put_ip(b, a);
    if (a->family == ADDR_V6) buf_byte(b, ']');
}

void addr_put(struct buf *b, const struct addr *a) {
    addr_put_host(b, a);
    buf_byte(b, ':');
    buf_u64(b, a->port);
}

bool addr_is_loopback(const struct addr *a) {
    static const uint8_t one[16] = { [15] = 1 };
    if (a->family == ADDR_V4) return a->ip[0] == 127;
    if (is_v4_mapped(a)) return a->ip[12] == 127;
    return a->family == ADDR_V6 && memcmp(a->ip, one, sizeof(one)) == 0;
}
