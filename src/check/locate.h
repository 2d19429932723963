/* check/locate.h - where a SIP domain is served: RFC 3263 4, written apart from the server's own.
 *
 * Blocking, with c-ares and the machine's resolver. Memory: none is kept. Threads: before the tests
 * begin. */
#ifndef CHECK_LOCATE_H
#define CHECK_LOCATE_H

#include "base/slice.h"
#include "check/ua.h"

struct located {
    char host[256]; /* "" when the domain has no such service */
    uint16_t port;
};

/* Fills out[w] for each transport that NAPTR, or without it SRV, names; `secure`: services for sips
 * only (4.1). The best record of each counts: lowest order and priority, then highest weight.
 * false: neither is there, A and AAAA of the domain itself are asked next. */
bool locate(slice domain, bool secure, struct located out[static WIRE_COUNT]);

#endif
