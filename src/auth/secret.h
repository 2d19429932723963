/* auth/secret.h - from a secret to the sealed values that an account or a device keeps.
 *
 * Purpose:  the server never stores a secret, and not the bare HA1 either (who has the HA1 can log
 *           in): it keeps HA1 = H(user:realm:secret) sealed under the node's key, bound to the
 *           account, the device and the algorithm, so a box copied to another row does not open.
 * Note:     the user's name and domain are inside the hash: renaming needs a new secret.
 * Memory:   the caller's. Threads: any. */
#ifndef AUTH_SECRET_H
#define AUTH_SECRET_H

#include "auth/accounts.h"

#define SECRET_SEALED_MD5_BYTES 56 /* 16 + CRYPTO_SEAL_OVERHEAD */
#define SECRET_CONTEXT_MAX      64

struct secret_boxes { /* what the row's slices point into */
    uint8_t sha256[STORE_SEALED_HA1_BYTES], sha512_256[STORE_SEALED_HA1_BYTES];
};

/* Fill row->ha1_sha256 and row->ha1_sha512_256 from the row's id, user, domain and this secret. */
void secret_seal_account(const uint8_t seal_key[static 32], slice secret,
                         struct secret_boxes *boxes, struct account_row *row);
/* Fill row->ha1_md5 of a legacy device (row: id and account_id) for this account's name. */
void secret_seal_legacy(const uint8_t seal_key[static 32], slice user, slice domain, slice secret,
                        uint8_t box[static SECRET_SEALED_MD5_BYTES], struct device_row *row);

/* The text bound into a box; device_id counts for DIGEST_MD5 only. */
slice secret_context(enum digest_algorithm algorithm, uint32_t account_id, uint32_t device_id,
                     char text[static SECRET_CONTEXT_MAX]);

#endif
