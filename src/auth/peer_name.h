/* auth/peer_name.h - for which domains may the holder of a certificate speak? RFC 5922 7, 5924.
 *
 * Pure functions over the facts that os read from the certificate (base/cert.h).
 * The domain is always the one that was asked for (the host of the URI), never the name of a server
 * that the DNS led to: who can forge DNS answers would else be whoever he likes.
 *
 *   const char *why = peer_cert_trouble(cert);      NULL: it may stand for a domain
 *   if (!why && !peer_cert_names(cert, domain)) ... it is somebody else's                   */
#ifndef AUTH_PEER_NAME_H
#define AUTH_PEER_NAME_H

#include "sip/flow.h"

/* NULL: a certificate that may stand for a domain. Else static words for a person, which follow
 * "NAME has a certificate that": "has expired", "is not meant for servers". */
const char *peer_cert_trouble(const struct peer_cert *cert);
/* The domains it names, at most `max`: hosts of sip: URIs without a user; DNS names only when there
 * is no such URI (RFC 5922 7.1). Wildcards and what is no host name do not count. Slices of the
 * certificate's own text. Gives how many; trouble is not looked at. */
unsigned peer_cert_domains(const struct peer_cert *cert, slice *out, unsigned max);
/* Is this one of them? RFC 5922 7.2: the whole name, without case, no wildcards. */
bool peer_cert_names(const struct peer_cert *cert, slice domain);

#endif
