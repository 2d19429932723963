/* os/pki_internal.h - what pki.c (making) and pki_file.c (files) share. */
#ifndef OS_PKI_INTERNAL_H
#define OS_PKI_INTERNAL_H

#include "os/pki.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdatomic.h>

struct pki_id {
    atomic_uint refs;
    X509 *leaf;
    EVP_PKEY *key;
    STACK_OF(X509) * chain; /* above the leaf; never NULL */
};

/* Takes over what it is given, on failure too. */
NODISCARD enum err pki_id_new(X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * chain,
                              struct pki_id **out);

#endif
