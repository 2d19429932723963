#include "nat/address.h"

struct row {
    uint8_t family, bits, scope;
    uint8_t ip[16];
};

/* RFC 6890's table, as the registries have it now; the first row that matches counts. */
static const struct row rows[] = {
    { ADDR_V4, 8, SCOPE_NONE, { 0 } },
    { ADDR_V4, 8, SCOPE_LOOPBACK, { 127 } },
    { ADDR_V4, 8, SCOPE_PRIVATE, { 10 } },
    { ADDR_V4, 12, SCOPE_PRIVATE, { 172, 16 } },
    { ADDR_V4, 16, SCOPE_PRIVATE, { 192, 168 } },
    { ADDR_V4, 10, SCOPE_PRIVATE, { 100, 64 } }, /* RFC 6598 */
    { ADDR_V4, 16, SCOPE_LINK, { 169, 254 } },
    { ADDR_V4, 24, SCOPE_RESERVED, { 192, 0, 0 } },
    { ADDR_V4, 24, SCOPE_RESERVED, { 192, 0, 2 } },
    { ADDR_V4, 24, SCOPE_RESERVED, { 192, 88, 99 } }, /* RFC 7526: 6to4's dead relays */
    { ADDR_V4, 15, SCOPE_RESERVED, { 198, 18 } },
    { ADDR_V4, 24, SCOPE_RESERVED, { 198, 51, 100 } },
    { ADDR_V4, 24, SCOPE_RESERVED, { 203, 0, 113 } },
    { ADDR_V4, 4, SCOPE_MULTICAST, { 224 } },
    { ADDR_V4, 32, SCOPE_MULTICAST, { 255, 255, 255, 255 } },
    { ADDR_V4, 4, SCOPE_RESERVED, { 240 } },
    { ADDR_V6, 128, SCOPE_NONE, { 0 } },
    { ADDR_V6, 128, SCOPE_LOOPBACK, { [15] = 1 } },
    { ADDR_V6, 7, SCOPE_PRIVATE, { 0xfc } },
    { ADDR_V6, 10, SCOPE_PRIVATE, { 0xfe, 0xc0 } }, /* RFC 3879: site-local, long dead */
    { ADDR_V6, 10, SCOPE_LINK, { 0xfe, 0x80 } },
    { ADDR_V6, 8, SCOPE_MULTICAST, { 0xff } },
    { ADDR_V6, 32, SCOPE_RESERVED, { 0x20, 0x01, 0x0d, 0xb8 } },
    { ADDR_V6, 20, SCOPE_RESERVED, { 0x3f, 0xff } }, /* RFC 9637 */
    { ADDR_V6, 3, SCOPE_PUBLIC, { 0x20 } },          /* the only global unicast there is */
    { ADDR_V6, 0, SCOPE_RESERVED, { 0 } },
};

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits) {
    if (memcmp(a, b, bits / 8) != 0) return false;
    unsigned rest = bits % 8;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

/* ---- networks ---- */

enum err network_read(slice s, struct network *out) {
    size_t at = slice_find(s, '/');
    uint32_t bits;
    struct network n = { .bits = 0 };
    if (addr_read_ip(slice_head(s, at), &n.base) != ERR_OK) return ERR_BAD;
    uint32_t max = n.base.family == ADDR_V4 ? 32 : 128;
    if (at == s.len)
        bits = max;
    else if (slice_u32(slice_from(s, at + 1), max, &bits) != ERR_OK)
        return ERR_BAD;
    n.bits = (uint8_t)bits;
    for (unsigned i = bits; i < 128; i++)
        n.base.ip[i / 8] = (uint8_t)(n.base.ip[i / 8] & ~(0x80u >> i % 8));
    *out = n;
    return ERR_OK;
}

bool address_in(const struct addr *a, const struct network *n) {
    return a->family == n->base.family && same_bits(a->ip, n->base.ip, n->bits);
}

bool address_in_any(const struct addr *a, const struct network *list, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (address_in(a, &list[i])) return true;
    return false;
}

/* ---- disguises ---- */

static const struct {
    uint8_t bits;
    uint8_t at; /* where the IPv4 address stands */
    uint8_t ip[16];
} wrappers[] = {
    { 96, 12, { [10] = 0xff, [11] = 0xff } },           /* IPv4-mapped */
    { 96, 12, { 0 } },                                  /* IPv4-compatible, but for :: and ::1 */
    { 96, 12, { [8] = 0xff, [9] = 0xff } },             /* IPv4-translated (RFC 2765) */
    { 96, 12, { 0x00, 0x64, 0xff, 0x9b } },             /* RFC 6052 */
    { 48, 12, { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 } }, /* RFC 8215, used as a /96 */
    { 16, 2, { 0x20, 0x02 } },                          /* RFC 3056 */
};

static bool take_v4(struct addr *a, const uint8_t *ip) {
    uint8_t copy[4];
    memcpy(copy, ip, 4);
    memset(a->ip, 0, sizeof a->ip);
    memcpy(a->ip, copy, 4);
    a->family = ADDR_V4;
    return true;
}

/* RFC 6052 2.2: bits 64 to 71 are zero and skipped. */
unsigned address_nat64_byte(unsigned bits, unsigned i) {
    unsigned at = bits / 8 + i;
    return bits <= 64 && at >= 8 ? at + 1 : at;
}

static bool take_nat64(struct addr *a, unsigned bits) {
    uint8_t ip[4];
    if (bits % 8 || bits < 32 || bits > 96) return false;
    for (unsigned i = 0; i < 4; i++) ip[i] = a->ip[address_nat64_byte(bits, i)];
    return take_v4(a, ip);
}

static bool unwrap(struct addr *a, const struct network *nat64, unsigned nat64_count) {
    static const uint8_t teredo[4] = { 0x20, 0x01, 0, 0 };
    static const uint8_t isatap[3] = { 0x00, 0x5e, 0xfe };
    if (a->family != ADDR_V6) return false;
    for (unsigned i = 0; i < nat64_count; i++)
        if (address_in(a, &nat64[i]) && take_nat64(a, nat64[i].bits)) return true;
    for (size_t i = 0; i < ARRAY_LEN(wrappers); i++) {
        if (!same_bits(a->ip, wrappers[i].ip, wrappers[i].bits)) continue;
        static const uint8_t none[15] = { 0 };
        bool is_plain = memcmp(a->ip, none, 15) == 0 && a->ip[15] <= 1; /* :: and ::1 */
        return !is_plain && take_v4(a, a->ip + wrappers[i].at);
    }
    if (memcmp(a->ip, teredo, 4) == 0) { /* RFC 4380 4: the client's address, every bit turned */
        uint8_t ip[4];
        for (unsigned i = 0; i < 4; i++) ip[i] = (uint8_t)~a->ip[12 + i];
        return take_v4(a, ip);
    }
    /* RFC 5214 6.1: the universal bit may be set or not. */
    if ((a->ip[8] & 0xfd) == 0 && memcmp(a->ip + 9, isatap, 3) == 0) return take_v4(a, a->ip + 12);
    return false;
}

struct addr address_canonical(const struct addr *a, const struct network *nat64,
                              unsigned nat64_count) {
    struct addr out = *a;
    out.scope = 0;
    out.pad = 0;
    while (unwrap(&out, nat64, nat64_count)) {} /* an IPv4 address ends it */
    return out;
}

enum address_scope address_scope(const struct addr *canonical) {
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].family == canonical->family &&
            same_bits(canonical->ip, rows[i].ip, rows[i].bits))
            return (enum address_scope)rows[i].scope;
    return canonical->family == ADDR_V4 ? SCOPE_PUBLIC : SCOPE_RESERVED;
}

const char *address_scope_text(enum address_scope s) {
    switch (s) {
    case SCOPE_PUBLIC:
        return "a public address";
    case SCOPE_NONE:
        return "no address at all";
    case SCOPE_LOOPBACK:
        return "the host itself";
    case SCOPE_PRIVATE:
        return "a private network";
    case SCOPE_LINK:
        return "the local link";
    case SCOPE_MULTICAST:
        return "a group of hosts";
    case SCOPE_RESERVED:
        return "a reserved address";
    }
    return "a reserved address";
}
