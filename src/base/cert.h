/* base/cert.h - what the certificate of a TLS peer says, as a value between io and core.
 *
 * Facts only: os/cert.c reads them, auth/peer_name.h judges which domain they may speak for. */
#ifndef BASE_CERT_H
#define BASE_CERT_H

#include "base/limits.h"
#include "base/slice.h"

/* RFC 5922 7.1. Slices are borrowed from whoever read the certificate. */
struct peer_cert {
    bool is_verified;    /* valid at this time, and its chain ends at a root of the system's or of
                          * client_ca, whatever its purposes; the local and device CAs never count */
    const char *why_not; /* when not verified: static words, "has expired", "was issued by an
                          * unknown authority"; they follow "the certificate of NAME" */
    bool has_eku;        /* an extendedKeyUsage is there; the next ones tell what it names */
    bool eku_any, eku_server, eku_client, eku_sip; /* eku_sip: id-kp-sipDomain of RFC 5924 */
    bool is_cut;                                   /* it had more names than fit below */
    uint8_t uri_count, dns_count;
    slice uris[LIMIT_CERT_NAMES]; /* subjectAltName, URIs of any scheme, as they stand */
    slice dns[LIMIT_CERT_NAMES];  /* subjectAltName, DNS names, as they stand */
};

#endif
