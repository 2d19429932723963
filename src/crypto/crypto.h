/* crypto/crypto.h - the thin face over OpenSSL and libsodium. Nothing else calls their primitives
 * (TLS itself lives in os/).
 *
 * Threads:  all functions may be called from any thread once crypto_init() has returned. Each
 *           thread that hashes keeps one OpenSSL context per algorithm until it ends.
 * Costs:    on a 2-core x86-64 server: sha256 of 100 bytes 0.3 us, sha512_256 0.5 us, crypto_mac
 *           0.5 us (two BLAKE2b blocks), siv 0.7 us, a random() call 0.4 us (a system call).
 * Secrets:  callers wipe with crypto_wipe(); compare only with crypto_equal(). */
#ifndef CRYPTO_CRYPTO_H
#define CRYPTO_CRYPTO_H

#include "base/slice.h"

#define CRYPTO_KEY_BYTES     32
#define CRYPTO_MAC_BYTES     16
#define CRYPTO_SHA256_BYTES  32
#define CRYPTO_SEAL_OVERHEAD 40 /* nonce 24, tag 16 */
#define CRYPTO_SIV_OVERHEAD  16

NODISCARD enum err crypto_init(void); /* once, before any thread; CRYPTO when a library fails */

void crypto_random(void *dst, size_t len);
bool crypto_equal(const void *a, const void *b, size_t len); /* constant time */
void crypto_wipe(void *p, size_t len);

void crypto_sha256(const void *p, size_t len, uint8_t out[static 32]);
void crypto_sha512_256(const void *p, size_t len, uint8_t out[static 32]); /* RFC 7616 */
void crypto_md5(const void *p, size_t len, uint8_t out[static 16]); /* the legacy lane only */
void crypto_hmac_sha256(slice key, slice data, uint8_t out[static 32]);
/* For the WebSocket handshake alone (RFC 6455 4.2.2), where it protects nothing. */
void crypto_sha1(const void *p, size_t len, uint8_t out[static 20]);
/* For STUN alone (RFC 8489 14.5): clients of RFC 5389 know nothing better. */
void crypto_hmac_sha1(slice key, slice data, uint8_t out[static 20]);

/* A short keyed hash (BLAKE2b-128) for branches, nonces and ids we hand out and take back. */
void crypto_mac(const uint8_t key[static 32], const void *p, size_t len, uint8_t out[static 16]);

/* Sealing at rest: XChaCha20-Poly1305 with a random nonce in front. `context` is bound in, so that
 * a box moved to another row does not open. out has len + CRYPTO_SEAL_OVERHEAD bytes. */
void crypto_seal(const uint8_t key[static 32], slice context, const void *p, size_t len,
                 uint8_t *out);
NODISCARD enum err crypto_open(const uint8_t key[static 32], slice context, const void *box,
                               size_t box_len, uint8_t *out); /* CRYPTO: not ours or changed */

/* Deterministic sealing of small tokens (route tokens): tag = crypto_mac over the text, then the
 * text is masked by ChaCha20 at a place the tag picks. Equal texts give equal boxes; nothing else
 * shows. key is 64 bytes (MAC, stream). seal's out has len + 16 bytes, open's out box_len - 16;
 * they may not overlap the input. CRYPTO: not ours or changed; out is zeroed then. */
void crypto_siv_seal(const uint8_t key[static 64], const void *p, size_t len, uint8_t *out);
NODISCARD enum err crypto_siv_open(const uint8_t key[static 64], const void *box, size_t box_len,
                                   uint8_t *out);

/* Ed25519 (RFC 8032 5.1). The seed is the secret; wipe it. */
void crypto_ed25519_public(const uint8_t seed[static 32], uint8_t out[static 32]);
void crypto_ed25519_sign(const uint8_t seed[static 32], const void *p, size_t len,
                         uint8_t out[static 64]);
NODISCARD bool crypto_ed25519_right(const uint8_t public_key[static 32], const void *p, size_t len,
                                    const uint8_t sig[static 64]);

/* A fast repeatable stream for protocol code, which may not ask the system for random bytes:
 * seeded once per core from crypto_random (or by a test). */
struct rng {
    uint8_t key[32];
    uint8_t pool[512];
    uint64_t counter;
    size_t left;
};
void rng_init(struct rng *r, const uint8_t seed[static 32]);
void rng_bytes(struct rng *r, void *dst, size_t len);
uint64_t rng_u64(struct rng *r);

#endif
