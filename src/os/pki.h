/* os/pki.h - keys and certificates: ours to make, the operator's to load. P-256 throughout.
 *
 * Two authorities that never meet:
 *   the local CA   signs this server's own certificate when the operator has none from a public
 *                  CA. Phones install it as a trust root, so it is name-constrained to what this
 *                  host is called: stolen, it can speak for nobody else. pathlen 0. (SAN URIs are
 *                  not constrained: RFC 5280 4.2.1.10 has no form for sip: URIs, and OpenSSL
 *                  would refuse our own certificates.)
 *   the device CA  signs the certificates that phones prove themselves with. It is never handed
 *                  out as a trust root and never a domain's identity. Its certificates carry EKU
 *                  clientAuth only and the SAN `sip:<random>@domain`, not the address-of-record,
 *                  because TLS 1.2 sends them in clear (architecture.md section 5).
 *
 * Files:    PEM, mode 0600, written beside and renamed, so that a crash leaves the old or the new.
 * Threads:  a pki_id is shared by reference (pki_ref); the count is atomic and the rest is read
 *           only. Errors come with one line of text for a person in `why` (may be NULL). */
#ifndef OS_PKI_H
#define OS_PKI_H

#include "base/addr.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

#define PKI_NAMES_MAX 64 /* DNS names, and as many addresses, in one certificate */
#define PKI_CHAIN_MAX 8  /* certificates in a chain file */
#define PKI_PEM_BYTES 65536

struct pki_id; /* a private key, its certificate, and the certificates between it and its root */

struct pki_names {
    const slice *dns; /* lower case */
    size_t dns_count;
    size_t domain_count; /* how many of dns, from the first, are SIP domains: SAN URI too */
    const struct addr *ips;
    size_t ip_count;
};

/* Times: from one day before `now` (clocks of phones are wrong) to `days` after it. All: CRYPTO,
 * MEMORY; LIMIT: too many names; BAD: a name that cannot stand in a certificate. */
NODISCARD enum err pki_local_ca_new(const struct pki_names *permitted, wall_t now, uint32_t days,
                                    struct pki_id **out);
NODISCARD enum err pki_server_new(const struct pki_id *local_ca, const struct pki_names *names,
                                  wall_t now, uint32_t days, struct pki_id **out);
NODISCARD enum err pki_device_ca_new(wall_t now, uint32_t days, struct pki_id **out);
/* `device` is 16 random bytes or more in text form, [A-Za-z0-9_-]. */
NODISCARD enum err pki_device_new(const struct pki_id *device_ca, slice device, slice domain,
                                  wall_t now, uint32_t days, struct pki_id **out);

struct pki_id *pki_ref(struct pki_id *id);
void pki_unref(struct pki_id *id); /* NULL is allowed */

/* The chain file holds the leaf first, then what is above it (the root may be left out); it may be
 * the key file too. MISSING: no such file; DENIED: not readable; BAD: not PEM, no certificate, an
 * encrypted key; CONFIG: the key does not fit the certificate; STALE: expired or not yet valid;
 * UNSUPPORTED: a key that is neither EC P-256/P-384 nor RSA of 2048 bits and more. */
NODISCARD enum err pki_load(const char *chain_path, const char *key_path, wall_t now,
                            struct pki_id **out, struct buf *why);
/* Key first, then chain; both may be the same path. IO, DENIED with why. */
NODISCARD enum err pki_save(const struct pki_id *id, const char *chain_path, const char *key_path,
                            struct buf *why);
/* PEM text for handing out. LIMIT: does not fit. The key's copy is the caller's to wipe. */
NODISCARD enum err pki_put_chain(const struct pki_id *id, struct buf *out);
NODISCARD enum err pki_put_key(const struct pki_id *id, struct buf *out);

/* What a person should see before trusting the first certificate of a file, in lines: whose it is,
 * what it may speak for, until when, and its SHA-256 as colon-separated hex. Needs no key. Bytes of
 * names that a terminal might obey are replaced. Like pki_load: MISSING, DENIED, BAD; LIMIT. */
NODISCARD enum err pki_describe(const char *path, struct buf *out, struct buf *why);

wall_t pki_until(const struct pki_id *id); /* end of validity of the leaf */
void pki_key_hash(const struct pki_id *id, uint8_t out[static 32]); /* SHA-256 of the SPKI */
/* SHA-256 of the certificate itself, as people compare it. */
void pki_fingerprint(const struct pki_id *id, uint8_t out[static 32]);
/* Does this certificate of our own name the SIP domain or host? SAN URI sip:name or SAN DNS,
 * without case; no wildcards (RFC 5922 7.2), never the Subject's CN. For judging foreign
 * certificates this is too kind: RFC 5922 7.1 lets DNS names speak only where no sip URI does. */
bool pki_covers(const struct pki_id *id, slice name);

/* For os/tls only: OpenSSL's own types. */
struct x509_st;
struct evp_pkey_st;
struct stack_st_X509;
struct x509_st *pki_leaf(const struct pki_id *id);
struct evp_pkey_st *pki_key(const struct pki_id *id);
struct stack_st_X509 *pki_chain(const struct pki_id *id); /* above the leaf */
void pki_spki_hash(struct x509_st *cert, uint8_t out[static 32]);

#endif
