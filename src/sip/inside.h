/* sip/inside.h - what the readers of this folder share; not for other folders. */
#ifndef SIP_INSIDE_H
#define SIP_INSIDE_H

#include "base/scan.h"
#include "sip/hdr.h"
#include "sip/span.h"

extern const bool sip_header_many[HDR_COUNT]; /* may the header stand more than once? */
/* sip_header_of() for a name in a buffer that can be read up to `end`. */
enum sip_header_id sip_header_of_near(slice name, const char *end);

enum param_found { PARAM_NONE, PARAM_ONE, PARAM_BAD };

/* One ";name" or ";name=value" at the cursor, white space around it allowed. NONE: what stands
 * there (behind white space, which is taken) is no ';', or the end. */
enum param_found param_take(struct cursor *c, struct hdr_param *out);
/* A quoted string from its first quote on; false: it does not end. */
bool quoted_take(struct cursor *c);
/* One value of Via, up to a comma or the end. */
enum err via_take(struct cursor *c, struct sip_via *out);
/* "[...]" with an IPv6 address in it. */
bool ipv6_take(struct cursor *c, slice *out);
/* Host names: letters, digits, '-', '.'; IPv6 in brackets. False: not a host. `base`: span.h. */
static inline bool host_take(struct cursor *c, const char *base, slice *out) {
    const char *from = c->at;
    if (UNLIKELY(from < c->end && *from == '[')) return ipv6_take(c, out);
    c->at = span_host(from, c->end, base);
    *out = slice_span(from, c->at);
    return out->len > 0;
}
/* ":port" behind a host, 1 to 65535; no colon leaves *out at 0. */
static inline bool port_take(struct cursor *c, uint16_t *out) {
    const char *at = c->at;
    uint32_t port = 0;
    *out = 0;
    if (at == c->end || *at != ':') return true;
    for (at++; at < c->end && scan_is(*at, SCAN_DIGIT); at++) {
        port = port * 10 + (uint32_t)(*at - '0');
        if (port > 65535) return false;
    }
    c->at = at;
    *out = (uint16_t)port;
    return port > 0;
}
/* Without white space at the end; mostly there is none. */
static inline slice trim_end(slice s) {
    while (s.len && (unsigned char)s.ptr[s.len - 1] <= ' ' && scan_is(s.ptr[s.len - 1], SCAN_LWS))
        s.len--;
    return s;
}

#endif
