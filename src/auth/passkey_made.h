/* auth/passkey_made.h - for tests: what a browser and its authenticator say when a passkey is made.
 *
 * The key is no point of the curve: it is good for registering, not for signing in. */
#ifndef AUTH_PASSKEY_MADE_H
#define AUTH_PASSKEY_MADE_H

#include "auth/passkey.h"
#include "crypto/crypto.h"

/* WebAuthn 5.8.1. `more`: further members, with their comma. */
static inline slice made_client_data(const char *type, slice challenge, const char *origin,
                                     const char *more, struct buf b) {
    buf_fmt(&b, "{\"type\":\"%s\",\"challenge\":\"" SLICE_FMT "\",\"origin\":\"%s\"%s}", type,
            SLICE_ARG(challenge), origin, more);
    return buf_slice(&b);
}

/* Authenticator data with a fresh credential (WebAuthn 6.1, 6.5.1): hash of the host, flags, count,
 * AAGUID, id of four bytes, COSE key. */
static inline slice made_auth_data(const char *host, uint8_t flags, const char id[static 4],
                                   struct buf b) {
    static const char cose[] = "\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20";
    uint8_t hash[32], zero[20] = { 0 };
    crypto_sha256(host, strlen(host), hash);
    buf_put(&b, slice_of(hash, 32));
    buf_byte(&b, (char)flags);
    buf_put(&b, slice_of(zero, 20));
    buf_put(&b, slice_of("\x00\x04", 2));
    buf_put(&b, slice_of(id, 4));
    buf_put(&b, slice_of(cose, sizeof cose - 1));
    for (int i = 0; i < 32; i++) buf_byte(&b, (char)i);
    buf_put(&b, slice_of("\x22\x58\x20", 3));
    for (int i = 32; i < 64; i++) buf_byte(&b, (char)i);
    return buf_slice(&b);
}

#endif
