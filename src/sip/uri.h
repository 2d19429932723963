/* sip/uri.h - SIP, SIPS and TEL URIs: reading, comparing, writing. RFC 3261 19.1, 3966, 5954.
 *
 * A sip_uri is slices of the text it was read from; escapes stay as written and are compared
 * unescaped where RFC 3261 19.1.4 says so. */
#ifndef SIP_URI_H
#define SIP_URI_H

#include "base/addr.h"
#include "base/buf.h"
#include "base/slice.h"

enum uri_scheme { URI_OTHER, URI_SIP, URI_SIPS, URI_TEL };

struct sip_uri {
    uint8_t scheme; /* enum uri_scheme */
    bool has_user, has_password, has_lr;
    uint16_t port; /* 0: none written */
    slice text;    /* all of it */
    slice scheme_text;
    slice user; /* without password; for tel: the number as written (with '+', '-', ...) */
    slice password;
    slice host;    /* IPv6 with its brackets */
    slice params;  /* without the first ';' */
    slice headers; /* without '?' */
    /* The parameters that routing asks for, empty when absent. */
    slice transport, maddr, method, ttl, user_param, gr, ob, comp;
    bool has_gr, has_ob;
};

/* All of `text` must be the URI. An absoluteURI of an unknown scheme is OK with URI_OTHER.
 * BAD: not a URI; LIMIT: longer than LIMIT_URI_BYTES. */
NODISCARD enum err sip_uri_read(slice text, struct sip_uri *out);

/* Equality by RFC 3261 19.1.4 (SIP, SIPS) and RFC 3966 4 (TEL); other schemes bytewise. */
bool sip_uri_eq(const struct sip_uri *a, const struct sip_uri *b);

/* Value of a URI parameter by name (any case); false: absent. A flag has an empty value. */
bool sip_uri_param(const struct sip_uri *uri, slice name, slice *out);

/* The address-of-record in canonical form, RFC 3261 10.3 step 5: scheme:user@host without
 * password, port, parameters; user unescaped where allowed, host in lower case without brackets
 * change; "sip:" also for sips. BAD when there is no host. */
NODISCARD enum err sip_uri_put_aor(struct buf *b, const struct sip_uri *uri);

/* The address that a host is (of a URI, Via, maddr, received; brackets or not), port 0. BAD: a
 * name. RFC 5118 4.10: "[2001:db8:::192.0.2.1]", which RFC 3261's grammar made, is read too. */
NODISCARD enum err sip_host_addr(slice host, struct addr *out);

/* `s` with %HH undone into dst (for comparing users). LIMIT: dst too small; BAD: broken escape. */
NODISCARD enum err sip_unescape(slice s, struct buf *dst);
/* `s` as a user part: everything outside unreserved and user-unreserved is escaped. */
void sip_escape_user(struct buf *b, slice s);

#endif
