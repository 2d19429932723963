/* nat/nat64.h - the way to an IPv4 address from a network that has only IPv6.
 *
 * Purpose:  a translator (NAT64, RFC 6146) makes IPv4 packets of what is sent into its prefix.
 * Which one it has, the name "ipv4only.arpa" tells (RFC 7050, 8880): it has well-known A records
 *           and no AAAA, so whoever gets an AAAA for it reads the prefix around those addresses.
 * Memory:   none. Threads: any.
 *
 *   if (nat64_learn(&aaaa, &prefix) == ERR_OK && nat64_make(&prefix, &v4, &v6) == ERR_OK) ...    */
#ifndef NAT_NAT64_H
#define NAT_NAT64_H

#include "nat/address.h"

#define NAT64_NAME "ipv4only.arpa"

/* One AAAA of NAT64_NAME. BAD: no well-known address stands in it where RFC 6052 2.2 puts one, or
 * more than one does, or no translator can have such a prefix. */
NODISCARD enum err nat64_learn(const struct addr *aaaa, struct network *out);
/* The address of `v4` behind that prefix, its port kept. DENIED: `v4` is not public; RFC 6052 3.1
 * wants private ones kept out, and a translator's inside is nobody's business. BAD: not IPv4, or no
 * prefix of nat64_learn. */
NODISCARD enum err nat64_make(const struct network *prefix, const struct addr *v4,
                              struct addr *out);

#endif
