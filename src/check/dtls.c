/* check/dtls.c - OpenSSL between two buffers. */
#include "check/dtls.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include <openssl/err.h>
#include <openssl/srtp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define MTU 1200

struct dtls {
    SSL *ssl;
    BIO *in, *out; /* the association's own */
    dtls_give *give;
    void *context;
    bool client, unknown, greeted, started;
    enum dtls_state state;
    char fingerprint[DTLS_FINGERPRINT], alert[64];
};

/* ---- our certificate ------------------------------------------------------------------------- */

static bool describe(X509 *cert, char *out, size_t cap) {
    uint8_t md[32];
    unsigned len = 0;
    if (X509_digest(cert, EVP_sha256(), md, &len) != 1) return false;
    struct buf b = buf_over(out, cap - 1);
    buf_lit(&b, "SHA-256 ");
    for (unsigned i = 0; i < len; i++) buf_fmt(&b, "%s%02X", i ? ":" : "", md[i]);
    out[b.len] = 0;
    return !b.full;
}

/* Signed by itself, of today; who reads it looks at the fingerprint alone (RFC 5763 5). */
static bool certify(SSL_CTX *c, char fingerprint[static DTLS_FINGERPRINT]) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    uint32_t serial;
    crypto_random(&serial, sizeof serial);
    bool good = key && cert && X509_set_version(cert, 2) == 1 &&
                ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)(serial >> 1)) == 1 &&
                X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
                X509_gmtime_adj(X509_getm_notAfter(cert), 86400) &&
                X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                                           (const unsigned char *)"tester", -1, -1, 0) == 1 &&
                X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1 &&
                X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0 &&
                SSL_CTX_use_certificate(c, cert) == 1 && SSL_CTX_use_PrivateKey(c, key) == 1 &&
                describe(cert, fingerprint, DTLS_FINGERPRINT);
    X509_free(cert);
    EVP_PKEY_free(key);
    return good;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int take_any(int ok, X509_STORE_CTX *store) {
    (void)ok, (void)store; /* judged by dtls_matches() */
    return 1;
}

/* Handshake messages and alerts, in clear; type 2 and 1 are the hellos. */
static void look(int sent, int version, int type, const void *bytes, size_t len, SSL *ssl,
                 void *context) {
    struct dtls *d = context;
    const uint8_t *p = bytes;
    (void)version, (void)ssl;
    if (sent) return;
    if (type == SSL3_RT_HANDSHAKE && len && p[0] == (d->client ? 2 : 1)) d->greeted = true;
    if (type == SSL3_RT_ALERT && len == 2 && p[0] == SSL3_AL_FATAL)
        (void)snprintf(d->alert, sizeof d->alert, "%s", SSL_alert_desc_string_long(p[1]));
}

static bool open_ssl(struct dtls *d, const struct dtls_wish *w) {
    SSL_CTX *c = SSL_CTX_new(DTLS_method());
    bool good = c && SSL_CTX_set_min_proto_version(c, DTLS1_2_VERSION) == 1 &&
                certify(c, d->fingerprint) &&
                (!w->profiles || SSL_CTX_set_tlsext_use_srtp(c, w->profiles) == 0);
    if (good) {
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, take_any);
        (void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
        (void)SSL_CTX_set_options(c, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET);
        d->ssl = SSL_new(c);
        d->in = BIO_new(BIO_s_mem());
        d->out = BIO_new(BIO_s_mem());
    }
    SSL_CTX_free(c);
    if (!d->ssl || !d->in || !d->out) {
        BIO_free(d->in);
        BIO_free(d->out);
        return false;
    }
    (void)BIO_set_mem_eof_return(d->in, -1);
    SSL_set_bio(d->ssl, d->in, d->out);
    (void)SSL_set_mtu(d->ssl, MTU);
    SSL_set_msg_callback(d->ssl, look);
    SSL_set_msg_callback_arg(d->ssl, d);
    return true;
}

enum err dtls_open(const struct dtls_wish *wish, dtls_give *give, void *context,
                   struct dtls **out) {
    struct dtls *d = mem_zalloc(sizeof *d);
    if (!d) return ERR_MEMORY;
    d->give = give;
    d->context = context;
    d->unknown = wish->unknown;
    ERR_clear_error();
    if (open_ssl(d, wish)) {
        *out = d;
        return ERR_OK;
    }
    dtls_close(d);
    return ERR_CRYPTO;
}

void dtls_close(struct dtls *d) {
    if (!d) return;
    if (d->state == DTLS_UP) { /* close_notify, so that the other side need not wait */
        (void)SSL_shutdown(d->ssl);
        d->state = DTLS_ENDED;
        dtls_tick(d);
    }
    SSL_free(d->ssl);
    mem_free(d);
}

const char *dtls_fingerprint(const struct dtls *d) {
    return d->fingerprint;
}

/* ---- datagrams ------------------------------------------------------------------------------- */

/* The one profile of the client's use_srtp (type 14), as it stands on the wire. What is signed of
 * it is what we hold, so that the handshake must fail in the end: its other side never finishes. */
static void make_unknown(char *record, size_t len) {
    static const char one[] = "\0\16\0\5\0\2\0\1";
    slice s = slice_of(record, len);
    size_t at = slice_find_slice(s, slice_of(one, sizeof one - 1));
    if (len > 13 && record[0] == 22 && record[13] == 1 && at < len) record[at + 6] = 0x7f;
}

/* Each record (RFC 6347 4.1) as a datagram: no packet is too long then. */
static void flush(struct dtls *d) {
    char *p;
    long have = BIO_get_mem_data(d->out, &p);
    for (size_t at = 0; have > 0 && at + 13 <= (size_t)have;) {
        size_t len = 13 + ((size_t)(uint8_t)p[at + 11] << 8 | (uint8_t)p[at + 12]);
        if (at + len > (size_t)have) break;
        if (d->unknown && d->client) make_unknown(p + at, len);
        d->give(d->context, slice_of(p + at, len));
        at += len;
    }
    (void)BIO_reset(d->out);
}

static void step(struct dtls *d) {
    char none[64];
    if (!d->started || d->state == DTLS_ENDED) return;
    ERR_clear_error();
    int n = d->state == DTLS_UP ? SSL_read(d->ssl, none, sizeof none) : SSL_do_handshake(d->ssl);
    int e = SSL_get_error(d->ssl, n);
    if (n > 0) d->state = DTLS_UP;
    if (n <= 0 && e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) d->state = DTLS_ENDED;
    flush(d);
}

void dtls_start(struct dtls *d, bool client) {
    d->client = client;
    d->started = true;
    if (client) {
        SSL_set_connect_state(d->ssl);
    } else {
        SSL_set_accept_state(d->ssl);
    }
    if (client) step(d);
}

void dtls_take(struct dtls *d, slice datagram) {
    if (!d->started || d->state == DTLS_ENDED) return;
    if (BIO_write(d->in, datagram.ptr, (int)datagram.len) != (int)datagram.len) return;
    step(d);
    (void)BIO_reset(d->in); /* a datagram is read whole or dropped */
}

int64_t dtls_due(struct dtls *d) {
    struct timeval tv;
    if (!d->started || DTLSv1_get_timeout(d->ssl, &tv) != 1) return 1000;
    return (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1;
}

void dtls_tick(struct dtls *d) {
    if (d->state == DTLS_SHAKES && d->started && DTLSv1_handle_timeout(d->ssl) < 0)
        d->state = DTLS_ENDED;
    flush(d);
}

/* ---- what came about ------------------------------------------------------------------------- */

enum dtls_state dtls_state(const struct dtls *d) {
    return d->state;
}
bool dtls_greeted(const struct dtls *d) {
    return d->greeted;
}
const char *dtls_alert(const struct dtls *d) {
    return d->alert;
}
unsigned dtls_profile(const struct dtls *d) {
    const SRTP_PROTECTION_PROFILE *p = SSL_get_selected_srtp_profile(d->ssl);
    return p ? (unsigned)p->id : 0;
}

static bool matches(X509 *cert, slice name, slice hex) {
    static const struct {
        const char *name;
        const EVP_MD *(*md)(void);
    } known[] = { { "sha-256", EVP_sha256 }, { "sha-384", EVP_sha384 }, { "sha-512", EVP_sha512 } };
    uint8_t mine[EVP_MAX_MD_SIZE], theirs[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    size_t n = 0;
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (slice_ieq(name, slice_str(known[i].name)))
            (void)X509_digest(cert, known[i].md(), mine, &len);
    for (slice two; n < sizeof theirs && slice_split(&hex, ':', &two); n++) {
        size_t one;
        if (hex_read(two, theirs + n, 1, &one) != ERR_OK || one != 1) return false;
    }
    return len && n == len && !hex.len && crypto_equal(mine, theirs, len);
}

bool dtls_matches(const struct dtls *d, slice fingerprint) {
    X509 *cert = SSL_get1_peer_certificate(d->ssl);
    size_t space = slice_find(fingerprint, ' ');
    bool good = cert && matches(cert, slice_head(fingerprint, space),
                                slice_trim(slice_from(fingerprint, space)));
    X509_free(cert);
    return good;
}

bool dtls_keys(const struct dtls *d, struct srtp *ours, struct srtp *theirs) {
    static const char label[] = "EXTRACTOR-dtls_srtp";
    uint8_t k[2 * (SRTP_KEY + SRTP_SALT)]; /* client's key, server's, client's salt, server's */
    if (dtls_profile(d) != 1 || d->state != DTLS_UP ||
        SSL_export_keying_material(d->ssl, k, sizeof k, label, sizeof label - 1, NULL, 0, 0) != 1)
        return false;
    const uint8_t *salt = k + 2 * SRTP_KEY;
    bool good = srtp_init(d->client ? ours : theirs, k, salt) &&
                srtp_init(d->client ? theirs : ours, k + SRTP_KEY, salt + SRTP_SALT);
    crypto_wipe(k, sizeof k);
    return good;
}
