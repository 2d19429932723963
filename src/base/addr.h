/* base/addr.h - an IPv4 or IPv6 transport address as a value. */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include "base/buf.h"
#include "base/slice.h"

enum addr_family { ADDR_NONE = 0, ADDR_V4 = 4, ADDR_V6 = 6 };
struct addr {
    uint8_t family; /* enum addr_family */
    uint8_t pad;
    uint16_t port;
    uint32_t scope; /* of a link-local IPv6 address */
    uint8_t ip[16]; /* the first 4 for IPv4; always zeroed beyond */
};

bool addr_eq(const struct addr *a, const struct addr *b);    /* family, address, port, scope */
bool addr_ip_eq(const struct addr *a, const struct addr *b); /* without the port */
/* "192.0.2.1", "[2001:db8::1]" or "2001:db8::1"; exactly that, no port. ERR_BAD otherwise.
 * An IPv4-mapped IPv6 address stays IPv6 here. */
NODISCARD enum err addr_read_ip(slice s, struct addr *out);
/* "192.0.2.1:5061", "[::1]:5061". */
NODISCARD enum err addr_read(slice s, struct addr *out);
void addr_put_ip(struct buf *b, const struct addr *a);   /* IPv6 without brackets (RFC 5952) */
void addr_put_host(struct buf *b, const struct addr *a); /* IPv6 in brackets, as a SIP host */
void addr_put(struct buf *b, const struct addr *a);      /* host:port */
bool addr_is_loopback(const struct addr *a);

#endif
