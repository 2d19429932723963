/* check/locate.h - where a SIP domain is served: RFC 3263 4, written apart from the server's own.
 *
 * Blocking, with c-ares and the machine's resolver. Memory: none is kept. Threads: before the tests
 * begin. */
#ifndef CHECK_LOCATE_H
#define CHECK_LOCATE_H

#include "base/addr.h"
#include "base/slice.h"
#include "check/ua.h"

struct located {
    char host[256]; /* "" when the domain has no such service */
    uint16_t port;
};

/* An address that cannot be another's on the Internet: loopback, private (RFC 1918, RFC 4193),
 * link-local, or of documentation, as network namespaces of tests have them. One that leads on to
 * an embedded IPv4 address (NAT64, 6to4, Teredo) is none, whatever it embeds. */
bool place_is_private(const struct addr *a);

/* Fills out[w] for each transport that NAPTR, or without it SRV, names; `secure`: services for sips
 * only (4.1). The best record of each counts: lowest order and priority, then highest weight.
 * false: neither is there, A and AAAA of the domain itself are asked next. */
bool locate(slice domain, bool secure, struct located out[static WIRE_COUNT]);

#endif
