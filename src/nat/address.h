/* nat/address.h - where a relay may send: the one function that sees through an address's disguise.
 *
 * Purpose:  a relay that reaches loopback, a private network or its own host is a door into them
 *           (coturn's CVE-2020-26262 and those after it). Every peer address goes through
 *           address_canonical() once, and what comes out is judged, never what came in.
 * Memory:   none. Threads: any.
 *
 *   struct addr real = address_canonical(&peer, nat64, nat64_count);
 *   if (address_scope(&real) != SCOPE_PUBLIC && !address_in_any(&real, allowed, n)) refuse();    */
#ifndef NAT_ADDRESS_H
#define NAT_ADDRESS_H

#include "base/addr.h"

struct network { /* "10.0.0.0/8", "fd00::/8" */
    struct addr base;
    uint8_t bits;
};
/* BAD: no such text, or bits beyond the family's. Bits of the address behind the prefix are
 * cleared. */
NODISCARD enum err network_read(slice s, struct network *out);
bool address_in(const struct addr *a, const struct network *n);
bool address_in_any(const struct addr *a, const struct network *list, unsigned count);

/* The address that packets to `a` end up at: IPv4-mapped and IPv4-compatible (RFC 4291 2.5.5), the
 * NAT64 prefixes 64:ff9b::/96 and 64:ff9b:1::/48 as a /96 (RFC 6052, 8215), `nat64` (networks of
 * the operator's translator, any length of RFC 6052 2.2), 6to4 (RFC 3056), Teredo (RFC 4380: the
 * client behind the server) and ISATAP (RFC 5214) become the IPv4 address inside them. Done again
 * until nothing changes. Port kept, scope dropped. */
struct addr address_canonical(const struct addr *a, const struct network *nat64,
                              unsigned nat64_count);
/* RFC 6052 2.2: where byte `i` (0 to 3) of an IPv4 address stands in the IPv6 address that a
 * translator's prefix of `bits` (32 to 96, whole bytes) makes of it. */
unsigned address_nat64_byte(unsigned bits, unsigned i);

enum address_scope { /* of a canonical address; RFC 6890 and the registries it made */
                     SCOPE_PUBLIC,
                     SCOPE_NONE, /* unspecified, "this network" */
                     SCOPE_LOOPBACK,
                     SCOPE_PRIVATE,   /* RFC 1918, RFC 6598, RFC 4193, site-local */
                     SCOPE_LINK,      /* link-local */
                     SCOPE_MULTICAST, /* and broadcast */
                     SCOPE_RESERVED /* documentation, benchmarking, future use, protocol assignments
                                     */
};
enum address_scope address_scope(const struct addr *canonical);
const char *address_scope_text(enum address_scope s); /* "a private network" */

#endif
