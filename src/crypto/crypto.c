/* Which library does what is a matter of measured cost on short texts: OpenSSL hashes with the
 * CPU's SHA instructions (0.3 us against libsodium's 1.1 us for 100 bytes), provided that nothing
 * is fetched per call; libsodium has BLAKE2b and ChaCha20 without any set-up. */
#include "crypto/crypto.h"

#include "base/defs.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sodium.h>

_Static_assert(CRYPTO_SEAL_OVERHEAD == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES +
                                           crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "nonce and tag of a sealed box");

/* Written once by crypto_init, before any thread; read-only from then on. */
static EVP_MD *md_sha256, *md_sha512_256, *md_md5, *md_sha1;

/* A context per thread and algorithm: making one anew costs as much as the hash itself, and one
 * shared by several algorithms is set up anew at each change. Freed when the thread ends. */
enum hash_kind { HASH_SHA256, HASH_SHA512_256, HASH_MD5, HASH_SHA1, HASH_COUNT };
struct hash_contexts {
    EVP_MD_CTX *of[HASH_COUNT];
};
static _Thread_local struct hash_contexts contexts;
static CRYPTO_THREAD_LOCAL contexts_key;

static void contexts_free(void *p) {
    struct hash_contexts *c = p;
    for (int i = 0; i < HASH_COUNT; i++) {
        EVP_MD_CTX_free(c->of[i]);
        c->of[i] = NULL;
    }
}

enum err crypto_init(void) {
    if (md_sha256) return ERR_OK;
    if (sodium_init() < 0) return ERR_CRYPTO;
    if (!CRYPTO_THREAD_init_local(&contexts_key, contexts_free)) return ERR_CRYPTO;
    md_sha512_256 = EVP_MD_fetch(NULL, "SHA512-256", NULL);
    md_md5 = EVP_MD_fetch(NULL, "MD5", NULL);
    md_sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    md_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    return md_sha256 && md_sha512_256 && md_md5 && md_sha1 ? ERR_OK : ERR_CRYPTO;
}

void crypto_random(void *dst, size_t len) {
    randombytes_buf(dst, len);
}

bool crypto_equal(const void *a, const void *b, size_t len) {
    return sodium_memcmp(a, b, len) == 0;
}

void crypto_wipe(void *p, size_t len) {
    sodium_memzero(p, len);
}

/* A digest that was fetched and fits its output cannot fail but for lack of memory when a thread
 * hashes for the first time; a hash function without a result has no honest way on from there. */
static EVP_MD_CTX *hash_begin(enum hash_kind kind, const EVP_MD *md) {
    EVP_MD_CTX *ctx = contexts.of[kind];
    if (UNLIKELY(!ctx)) {
        ASSERT(md != NULL); /* crypto_init was called */
        ctx = contexts.of[kind] = EVP_MD_CTX_new();
        ASSERT(ctx != NULL);
        ASSERT(CRYPTO_THREAD_set_local(&contexts_key, &contexts) == 1);
    }
    ASSERT(EVP_DigestInit_ex2(ctx, md, NULL) == 1);
    return ctx;
}

static void hash_add(EVP_MD_CTX *ctx, const void *p, size_t len) {
    if (len) ASSERT(EVP_DigestUpdate(ctx, p, len) == 1);
}

static void hash_end(EVP_MD_CTX *ctx, uint8_t *out) {
    ASSERT(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
}

static void hash(enum hash_kind kind, const EVP_MD *md, slice s, uint8_t *out) {
    EVP_MD_CTX *ctx = hash_begin(kind, md);
    hash_add(ctx, s.ptr, s.len);
    hash_end(ctx, out);
}

void crypto_sha256(const void *p, size_t len, uint8_t out[static 32]) {
    hash(HASH_SHA256, md_sha256, slice_of(p, len), out);
}

void crypto_sha512_256(const void *p, size_t len, uint8_t out[static 32]) {
    hash(HASH_SHA512_256, md_sha512_256, slice_of(p, len), out);
}

void crypto_md5(const void *p, size_t len, uint8_t out[static 16]) {
    hash(HASH_MD5, md_md5, slice_of(p, len), out);
}

void crypto_sha1(const void *p, size_t len, uint8_t out[static 20]) {
    hash(HASH_SHA1, md_sha1, slice_of(p, len), out);
}

/* RFC 2104 2 by hand over our hash: EVP_MAC takes 2 us to set up for what is four blocks. Both
 * hashes work on blocks of 64 bytes. */
static void hmac(enum hash_kind kind, const EVP_MD *md, size_t hash_len, slice key, slice data,
                 uint8_t *out) {
    uint8_t pad[64] = { 0 };
    if (key.len > sizeof pad)
        hash(kind, md, key, pad);
    else if (key.len)
        memcpy(pad, key.ptr, key.len);
    for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36;
    EVP_MD_CTX *ctx = hash_begin(kind, md);
    hash_add(ctx, pad, sizeof pad);
    hash_add(ctx, data.ptr, data.len);
    hash_end(ctx, out);
    for (size_t i = 0; i < sizeof pad; i++) pad[i] ^= 0x36 ^ 0x5c;
    ctx = hash_begin(kind, md);
    hash_add(ctx, pad, sizeof pad);
    hash_add(ctx, out, hash_len);
    hash_end(ctx, out);
    crypto_wipe(pad, sizeof pad);
}

void crypto_hmac_sha256(slice key, slice data, uint8_t out[static 32]) {
    hmac(HASH_SHA256, md_sha256, 32, key, data, out);
}

void crypto_hmac_sha1(slice key, slice data, uint8_t out[static 20]) {
    hmac(HASH_SHA1, md_sha1, 20, key, data, out);
}

void crypto_mac(const uint8_t key[static 32], const void *p, size_t len, uint8_t out[static 16]) {
    ASSERT(crypto_generichash(out, CRYPTO_MAC_BYTES, p, len, key, CRYPTO_KEY_BYTES) == 0);
}

void crypto_seal(const uint8_t key[static 32], slice context, const void *p, size_t len,
                 uint8_t *out) {
    size_t nonce_len = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
    randombytes_buf(out, nonce_len);
    ASSERT(crypto_aead_xchacha20poly1305_ietf_encrypt(out + nonce_len, NULL, p, len,
                                                      (const unsigned char *)context.ptr,
                                                      context.len, NULL, out, key) == 0);
}

enum err crypto_open(const uint8_t key[static 32], slice context, const void *box, size_t box_len,
                     uint8_t *out) {
    size_t nonce_len = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
    if (box_len < CRYPTO_SEAL_OVERHEAD) return ERR_CRYPTO;
    const uint8_t *nonce = box;
    int bad = crypto_aead_xchacha20poly1305_ietf_decrypt(
        out, NULL, NULL, nonce + nonce_len, box_len - nonce_len, (const unsigned char *)context.ptr,
        context.len, nonce, key);
    return bad ? ERR_CRYPTO : ERR_OK;
}

/* The whole 128-bit tag picks the place in the stream: half as ChaCha20's 64-bit nonce, half as
 * its 64-bit block counter. Two texts share key stream only if their tags collide. */
static void siv_mask(const uint8_t stream_key[static 32], const uint8_t tag[static 16],
                     const uint8_t *in, size_t len, uint8_t *out) {
    uint64_t block = 0;
    for (unsigned i = 0; i < 8; i++) block |= (uint64_t)tag[8 + i] << (8 * i);
    crypto_stream_chacha20_xor_ic(out, in, len, tag, block, stream_key);
}

void crypto_siv_seal(const uint8_t key[static 64], const void *p, size_t len, uint8_t *out) {
    crypto_mac(key, p, len, out);
    siv_mask(key + 32, out, p, len, out + CRYPTO_SIV_OVERHEAD);
}

enum err crypto_siv_open(const uint8_t key[static 64], const void *box, size_t box_len,
                         uint8_t *out) {
    if (box_len < CRYPTO_SIV_OVERHEAD) return ERR_CRYPTO;
    const uint8_t *tag = box;
    size_t len = box_len - CRYPTO_SIV_OVERHEAD;
    uint8_t want[CRYPTO_MAC_BYTES];
    siv_mask(key + 32, tag, tag + CRYPTO_SIV_OVERHEAD, len, out);
    crypto_mac(key, out, len, want);
    if (crypto_equal(want, tag, sizeof want)) return ERR_OK;
    crypto_wipe(out, len);
    return ERR_CRYPTO;
}

void rng_init(struct rng *r, const uint8_t seed[static 32]) {
    *r = (struct rng){ 0 };
    memcpy(r->key, seed, sizeof r->key);
}

/* Each refill makes the next key first, so that who reads our memory learns nothing of the past. */
static void rng_refill(struct rng *r) {
    uint8_t fresh[sizeof r->key + sizeof r->pool];
    uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    for (unsigned i = 0; i < sizeof nonce; i++) nonce[i] = (uint8_t)(r->counter >> (8 * i));
    crypto_stream_chacha20(fresh, sizeof fresh, nonce, r->key);
    memcpy(r->key, fresh, sizeof r->key);
    memcpy(r->pool, fresh + sizeof r->key, sizeof r->pool);
    crypto_wipe(fresh, sizeof fresh);
    r->counter++;
    r->left = sizeof r->pool;
}

void rng_bytes(struct rng *r, void *dst, size_t len) {
    uint8_t *to = dst;
    while (len) {
        if (r->left == 0) rng_refill(r);
        size_t n = len < r->left ? len : r->left;
        uint8_t *from = r->pool + sizeof r->pool - r->left;
        memcpy(to, from, n);
        memset(from, 0, n); /* given away: not ours to know any more */
        r->left -= n;
        to += n;
        len -= n;
    }
}

uint64_t rng_u64(struct rng *r) {
    uint8_t b[8];
    uint64_t v = 0;
    rng_bytes(r, b, sizeof b);
    for (unsigned i = 0; i < 8; i++) v |= (uint64_t)b[i] << (8 * i); /* one value on any machine */
    return v;
}

/* ---- signatures --------------------------------------------------------------------------- */

void crypto_ed25519_public(const uint8_t seed[static 32], uint8_t out[static 32]) {
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    (void)crypto_sign_seed_keypair(out, secret, seed);
    crypto_wipe(secret, sizeof secret);
}

void crypto_ed25519_sign(const uint8_t seed[static 32], const void *p, size_t len,
                         uint8_t out[static 64]) {
    uint8_t secret[crypto_sign_SECRETKEYBYTES], public_key[32];
    (void)crypto_sign_seed_keypair(public_key, secret, seed);
    (void)crypto_sign_detached(out, NULL, p, len, secret);
    crypto_wipe(secret, sizeof secret);
}

bool crypto_ed25519_right(const uint8_t public_key[static 32], const void *p, size_t len,
                          const uint8_t sig[static 64]) {
    return crypto_sign_verify_detached(sig, p, len, public_key) == 0;
}
