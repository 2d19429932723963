/* os/cert.h - certificates of other domains: does the chain hold, and what does it name?
 *
 * Roots:    the system's (OpenSSL's own places, so Debian's ca-certificates; SSL_CERT_FILE and
 *           SSL_CERT_DIR are obeyed) and the operator's [tls] client_ca. Authorities of our own
 *           never count, also when somebody has made them known to the whole system: whoever got a
 *           device's certificate from us is not another domain.
 * Threads:  cert_roots is shared by all workers by reference. The rest belongs to its caller. */
#ifndef OS_CERT_H
#define OS_CERT_H

#include "base/buf.h"
#include "base/cert.h"
#include "base/clock.h"

struct pki_id;
struct x509_st;
struct stack_st_X509;
struct stack_st_GENERAL_NAME;

struct cert_roots_config {
    const slice *files; /* PEM, each with one certificate or more; the system's are always there */
    size_t file_count;
    struct pki_id *const *own; /* whose keys, and those above them, never count as issuers */
    size_t own_count;          /* at most CERT_OWN_MAX */
};
#define CERT_OWN_MAX 8u

struct cert_roots;
/* CONFIG: a file that cannot be read or holds no certificate; `why` (may be NULL) names it. MEMORY,
 * LIMIT, CRYPTO. */
NODISCARD enum err cert_roots_new(const struct cert_roots_config *config, struct cert_roots **out,
                                  struct buf *why);
struct cert_roots *cert_roots_ref(struct cert_roots *r);
void cert_roots_unref(struct cert_roots *r); /* NULL is allowed */

struct cert_seen {
    struct peer_cert says; /* its slices live until cert_seen_fini() */
    struct stack_st_GENERAL_NAME *names;
};
/* `above` are the other certificates that the peer sent, in any order; may be NULL. `roots` NULL:
 * none verifies. A chain that ends at no root costs no signature check. */
void cert_see(const struct cert_roots *roots, struct x509_st *leaf, struct stack_st_X509 *above,
              wall_t now, struct cert_seen *out);
void cert_seen_fini(struct cert_seen *s);

#endif
