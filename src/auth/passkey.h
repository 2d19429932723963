/* auth/passkey.h - WebAuthn: is this what a person's authenticator made, for us, just now?
 *
 * Purpose:  judges registrations and assertions (W3C WebAuthn 2, 7.1 and 7.2). libfido2 reads the
 *           authenticator data and verifies the signature; challenge, origin and type are judged
 *           here. ES256 alone; no attestation: who may register has an invitation.
 * Challenge: kept nowhere. It holds its end, and a MAC over its purpose, so that one made for a
 *           sign-in does not make a passkey and one of yesterday is void. The caller sees to it
 *           that one is not used twice.
 * Memory:   libfido2 and jansson allocate for the length of a call. Threads: any. */
#ifndef AUTH_PASSKEY_H
#define AUTH_PASSKEY_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

#define PASSKEY_KEY_BYTES     64u /* a P-256 point: x, y */
#define PASSKEY_NOTE_MAX      96u
#define PASSKEY_CHALLENGE_MAX 64u /* characters of one */
#define PASSKEY_LIFE_MS       INT64_C(300000)
#define PASSKEY_RESPONSE_MAX  8192u /* client data, or authenticator data */

struct passkey_ask {        /* what must stand in a response */
    const uint8_t *mac_key; /* 32 bytes */
    slice purpose;          /* what the challenge was made for */
    slice origin;           /* "https://example.org:8443" */
    slice host;             /* the relying party: "example.org" */
    wall_t now;
};
/* As base64url, the way it stands in client data. */
void passkey_challenge(const struct passkey_ask *ask, struct buf *out);

struct passkey {         /* a fresh one */
    uint8_t id_hash[32]; /* SHA-256 of its credential id: what it is found by */
    uint8_t key[PASSKEY_KEY_BYTES];
};
/* DENIED: not for this challenge, origin, host, or without a touch. STALE: the challenge has ended.
 * BAD: cannot be read. UNSUPPORTED: not ES256. MEMORY. *out_used names the challenge. */
NODISCARD enum err passkey_register(const struct passkey_ask *ask, slice client_data,
                                    slice auth_data, struct passkey *out, uint64_t *out_used);
/* The same of a signature by this key. */
NODISCARD enum err passkey_prove(const struct passkey_ask *ask, slice client_data, slice auth_data,
                                 slice signature, const uint8_t key[static PASSKEY_KEY_BYTES],
                                 uint64_t *out_used);
void passkey_id_hash(slice credential_id, uint8_t out[static 32]);

/* How a key stands in the note of its device row. */
void passkey_put_note(const uint8_t key[static PASSKEY_KEY_BYTES], struct buf *out);
NODISCARD enum err passkey_read_note(slice note, uint8_t out[static PASSKEY_KEY_BYTES]);

#endif
