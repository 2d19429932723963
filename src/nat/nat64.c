#include "nat/nat64.h"

#include "base/defs.h"
#include <string.h>

static const uint8_t lengths[] = { 32, 40, 48, 56, 64, 96 }; /* RFC 6052 2.2 */

static bool is_length(unsigned bits) {
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        if (lengths[i] == bits) return true;
    return false;
}

/* RFC 7050 2.2: 192.0.0.170 and 192.0.0.171, which are given to nobody else (RFC 8880 7.1). */
static bool is_well_known(const uint8_t *ip, unsigned bits) {
    static const uint8_t head[] = { 192, 0, 0 };
    if (ip[8] != 0) return false;
    for (unsigned i = 0; i < sizeof head; i++)
        if (ip[address_nat64_byte(bits, i)] != head[i]) return false;
    uint8_t last = ip[address_nat64_byte(bits, 3)];
    return last == 170 || last == 171;
}

/* Whatever the DNS says: what is sent to a link, a group, this host or into another disguise of
 * IPv4 goes to no translator. */
static bool is_prefix(const uint8_t *ip) {
    if (ip[0] == 0) return ip[1] == 0x64 && ip[2] == 0xff && ip[3] == 0x9b; /* RFC 6052, 8215 */
    bool is_6to4 = ip[0] == 0x20 && ip[1] == 0x02;
    bool is_teredo = ip[0] == 0x20 && ip[1] == 0x01 && ip[2] == 0 && ip[3] == 0;
    return ip[0] < 0xfe && !is_6to4 && !is_teredo;
}

enum err nat64_learn(const struct addr *aaaa, struct network *out) {
    unsigned found = 0, bits = 0;
    if (aaaa->family != ADDR_V6 || !is_prefix(aaaa->ip)) return ERR_BAD;
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        if (is_well_known(aaaa->ip, lengths[i])) {
            bits = lengths[i];
            found++;
        }
    if (found != 1) return ERR_BAD; /* RFC 7050 3: where it stands twice it tells nothing */
    *out = (struct network){ .base = { .family = ADDR_V6 }, .bits = (uint8_t)bits };
    memcpy(out->base.ip, aaaa->ip, bits / 8);
    return ERR_OK;
}

enum err nat64_make(const struct network *prefix, const struct addr *v4, struct addr *out) {
    if (v4->family != ADDR_V4 || prefix->base.family != ADDR_V6 || !is_length(prefix->bits))
        return ERR_BAD;
    if (address_scope(v4) != SCOPE_PUBLIC) return ERR_DENIED;
    *out = (struct addr){ .family = ADDR_V6, .port = v4->port };
    memcpy(out->ip, prefix->base.ip, prefix->bits / 8);
    for (unsigned i = 0; i < 4; i++) out->ip[address_nat64_byte(prefix->bits, i)] = v4->ip[i];
    return ERR_OK;
}
