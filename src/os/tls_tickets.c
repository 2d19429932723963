/* Session tickets: RFC 5077 4 (TLS 1.2) and RFC 8446 4.6.1. AES-256-CBC, then HMAC-SHA-256, as
 * OpenSSL's hook wants it. Whoever has these keys can read resumed TLS 1.2 traffic and pass for a
 * device, so they live in memory only, rotate, and are wiped. */
#include "os/tls_internal.h"

#include "base/lock.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "os/loop.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <stdatomic.h>

struct ticket_key {
    uint8_t name[16];
    uint8_t cipher[32];
    uint8_t mac[32];
};

struct tls_tickets {
    atomic_uint refs;
    struct lock lock;          /* guards keys and since */
    struct ticket_key keys[2]; /* the present one, and the one before */
    mono_t since;
    int64_t rotate_ms;
    EVP_CIPHER *aes; /* fetched once */
};

static int ex_index = -1; /* where a context keeps its tickets; set with the first tls_tickets */

static void key_new(struct ticket_key *k) {
    crypto_random(k, sizeof *k);
}

enum err tls_tickets_new(int64_t rotate_ms, struct tls_tickets **out) {
    struct tls_tickets *t = mem_zalloc(sizeof *t);
    if (!t) return ERR_MEMORY;
    t->aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!t->aes) {
        mem_free(t);
        return ERR_CRYPTO;
    }
    atomic_init(&t->refs, 1);
    lock_init(&t->lock);
    t->rotate_ms = rotate_ms;
    t->since = clock_mono();
    key_new(&t->keys[0]);
    key_new(&t->keys[1]);
    if (ex_index < 0) ex_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    *out = t;
    return ERR_OK;
}

void tls_tickets_ref(struct tls_tickets *t) {
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

void tls_tickets_unref(struct tls_tickets *t) {
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) return;
    EVP_CIPHER_free(t->aes);
    lock_fini(&t->lock);
    crypto_wipe(t->keys, sizeof t->keys);
    mem_free(t);
}

static void rotate_locked(struct tls_tickets *t, mono_t now) {
    t->keys[1] = t->keys[0];
    key_new(&t->keys[0]);
    t->since = now;
}

void tls_tickets_rotate(struct tls_tickets *t) {
    lock_take(&t->lock);
    rotate_locked(t, clock_mono());
    lock_give(&t->lock);
}

static void rotate_if_due(struct tls_tickets *t) {
    mono_t now = clock_mono();
    if (now - t->since < t->rotate_ms) return;
    if (now - t->since >= 2 * t->rotate_ms) key_new(&t->keys[0]); /* too old to open, too */
    rotate_locked(t, now);
}

/* A copy of the key to seal with, or of the one that `name` asks for; -1: not ours (any more). */
static int key_pick(struct tls_tickets *t, const uint8_t *name, struct ticket_key *out) {
    int found = -1;
    lock_take(&t->lock);
    rotate_if_due(t);
    for (int i = 0; i < 2 && found < 0; i++)
        if (!name || crypto_equal(t->keys[i].name, name, sizeof t->keys[i].name)) found = i;
    if (found >= 0) *out = t->keys[found];
    lock_give(&t->lock);
    return found;
}

/* OpenSSL's contract: 1 go on; 2 opened, but give the client a new ticket; 0 not ours: do a full
 * handshake; -1 failure. */
static int seal_or_open(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher,
                        EVP_MAC_CTX *mac, int is_sealing) {
    struct tls_tickets *t = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ex_index);
    struct ticket_key key;
    int found = key_pick(t, is_sealing ? NULL : name, &key);
    if (found < 0) return 0;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof key.mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (is_sealing) {
        memcpy(name, key.name, sizeof key.name);
        crypto_random(iv, (size_t)EVP_CIPHER_get_iv_length(t->aes));
    }
    bool ok = EVP_CipherInit_ex(cipher, t->aes, NULL, key.cipher, iv, is_sealing) == 1 &&
              EVP_MAC_CTX_set_params(mac, params) == 1;
    crypto_wipe(&key, sizeof key);
    if (!ok) return -1;
    /* RFC 8446 C.4: a TLS 1.3 client should use a ticket once, so each resumption gives the next.
     */
    return is_sealing || (found == 0 && SSL_version(ssl) != TLS1_3_VERSION) ? 1 : 2;
}

enum err tls_tickets_attach(struct tls_tickets *t, SSL_CTX *ctx) {
    if (SSL_CTX_set_ex_data(ctx, ex_index, t) != 1 ||
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, seal_or_open) != 1)
        return ERR_CRYPTO;
    return ERR_OK;
}
