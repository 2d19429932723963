/* os/tls_internal.h - what tls.c (streams), tls_server.c and tls_tickets.c share. */
#ifndef OS_TLS_INTERNAL_H
#define OS_TLS_INTERNAL_H

#include "os/tls.h"

#include <openssl/ssl.h>

/* What both sides of ours have in common. CRYPTO, MEMORY. */
NODISCARD enum err tls_context_new(const SSL_METHOD *method, SSL_CTX **out);
NODISCARD enum err tls_context_use(SSL_CTX *ctx, const struct pki_id *id);
NODISCARD enum err tls_stream_new(SSL_CTX *ctx, struct tls_wire *wire, SSL **out);

void tls_tickets_ref(struct tls_tickets *t);
/* Makes ctx seal and open its tickets with these keys. */
NODISCARD enum err tls_tickets_attach(struct tls_tickets *t, SSL_CTX *ctx);

struct cert_roots *tls_server_roots(const struct tls_server *s);
bool tls_server_judges(const struct tls_server *s, X509 *cert, wall_t now);

#endif
