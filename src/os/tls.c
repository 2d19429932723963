#include "os/tls_internal.h"

#include "base/addr.h"
#include "base/mem.h"
#include "os/cert.h"
#include "os/pki.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>

/* ---- the wire: OpenSSL reads and writes memory, never a socket ---- */

static int wire_read(BIO *bio, char *dst, size_t cap, size_t *out_n) {
    struct tls_wire *w = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (w->in_len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t n = cap < w->in_len ? cap : w->in_len;
    memcpy(dst, w->in, n);
    w->in += n;
    w->in_len -= n;
    *out_n = n;
    return 1;
}

/* A peer that makes us write more than the wire holds within one call (a storm of key updates) is
 * cut off: no retry is offered. */
static int wire_write(BIO *bio, const char *src, size_t len, size_t *out_n) {
    struct tls_wire *w = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (len > w->out_cap - w->out_len) return 0;
    memcpy(w->out + w->out_len, src, len);
    w->out_len += len;
    *out_n = len;
    return 1;
}

static long wire_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* Made once, kept for the life of the process: a table of four functions. */
static BIO_METHOD *wire_method;
static void wire_method_make(void) {
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kith wire");
    if (m && BIO_meth_set_read_ex(m, wire_read) && BIO_meth_set_write_ex(m, wire_write) &&
        BIO_meth_set_ctrl(m, wire_control))
        wire_method = m;
}

enum err tls_stream_new(SSL_CTX *ctx, struct tls_wire *wire, SSL **out) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, wire_method_make);
    BIO *bio = wire_method ? BIO_new(wire_method) : NULL;
    SSL *ssl = bio ? SSL_new(ctx) : NULL;
    if (!ssl) {
        BIO_free(bio);
        ERR_clear_error();
        return ERR_MEMORY;
    }
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    *out = ssl;
    return ERR_OK;
}

/* ---- contexts ---- */

enum err tls_context_new(const SSL_METHOD *method, SSL_CTX **out) {
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx) return ERR_CRYPTO;
    /* DHE and static RSA are left out by naming ECDHE; PSK suites have ECDHE forms, hence !PSK. */
    bool ok = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:!PSK") == 1 &&
              SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"
                                            "TLS_AES_256_GCM_SHA384") == 1 &&
              SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_clear_options(ctx,
                          SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* RELEASE_BUFFERS: 14 kB per idle connection instead of 47. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    if (!ok) {
        SSL_CTX_free(ctx);
        ERR_clear_error();
        return ERR_CRYPTO;
    }
    *out = ctx;
    return ERR_OK;
}

enum err tls_context_use(SSL_CTX *ctx, const struct pki_id *id) {
    bool ok = SSL_CTX_use_cert_and_key(ctx, pki_leaf(id), pki_key(id), pki_chain(id), 1) == 1;
    ERR_clear_error();
    return ok ? ERR_OK : ERR_CRYPTO;
}

struct kept { /* the last ticket for a name, got with a certificate of ours: it carries that one */
    char name[256];
    const X509 *own;
    SSL_SESSION *session;
};
struct tls_client {
    unsigned refs;
    SSL_CTX *ctx;
    struct cert_roots *roots;
    bool verify_nothing;
    unsigned kept_count; /* ever; the next one overwrites the oldest */
    struct kept kept[TLS_SESSIONS_MAX];
    size_t identity_count;
    struct pki_id *identities[];
};

/* Connections without SNI share the empty name. */
static const char *name_asked(SSL *ssl) {
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    return name ? name : "";
}

static struct kept *kept_find(struct tls_client *c, SSL *ssl) {
    const X509 *own = SSL_get_certificate(ssl);
    for (unsigned i = 0; i < TLS_SESSIONS_MAX; i++)
        if (c->kept[i].session && c->kept[i].own == own &&
            strcmp(c->kept[i].name, name_asked(ssl)) == 0)
            return &c->kept[i];
    return NULL;
}

static void kept_put(struct tls_client *c, SSL *ssl, SSL_SESSION *session) {
    struct kept *k = kept_find(c, ssl);
    if (!k) k = &c->kept[c->kept_count++ % TLS_SESSIONS_MAX];
    SSL_SESSION_free(k->session);
    k->session = session;
    k->own = SSL_get_certificate(ssl);
    struct buf b = buf_over(k->name, sizeof k->name);
    buf_put(&b, slice_str(name_asked(ssl)));
    buf_byte(&b, '\0');
    if (!b.full) return;
    SSL_SESSION_free(session);
    k->session = NULL;
}

static int on_session(SSL *ssl, SSL_SESSION *session) {
    kept_put(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)), ssl, session);
    return 1; /* it is ours now */
}

/* Whoever connects judges the certificate himself. */
static int on_any(X509_STORE_CTX *store, void *ctx) {
    (void)store, (void)ctx;
    return 1;
}

static bool offer_alpn(SSL_CTX *ctx, enum tls_alpn alpn) {
    switch (alpn) {
    case TLS_ALPN_NONE:
        return true;
    case TLS_ALPN_SIP:
        return SSL_CTX_set_alpn_protos(ctx, (const uint8_t *)"\5sip/2", 6) == 0;
    case TLS_ALPN_HTTP:
        return SSL_CTX_set_alpn_protos(ctx, (const uint8_t *)"\10http/1.1", 9) == 0;
    case TLS_ALPN_TURN:
        return SSL_CTX_set_alpn_protos(ctx, (const uint8_t *)"\11stun.turn", 10) == 0;
    }
    return false;
}

static bool set_trust(SSL_CTX *ctx, const struct tls_client_config *c) {
    if (c->verify_nothing) {
        SSL_CTX_set_cert_verify_callback(ctx, on_any, NULL);
        return true;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    for (size_t i = 0; i < c->trust_count; i++)
        if (X509_STORE_add_cert(store, pki_leaf(c->trust[i])) != 1) return false;
    if (c->trust_file && SSL_CTX_load_verify_file(ctx, c->trust_file) != 1) return false;
    return c->trust_count || c->trust_file || SSL_CTX_set_default_verify_paths(ctx) == 1;
}

enum err tls_client_new(const struct tls_client_config *config, struct tls_client **out) {
    if (config->identity_count > TLS_CERTS_MAX) return ERR_LIMIT;
    struct tls_client *c = mem_zalloc(sizeof *c + config->identity_count * sizeof(struct pki_id *));
    if (!c) return ERR_MEMORY;
    for (size_t i = 0; i < config->identity_count; i++)
        c->identities[c->identity_count++] = pki_ref(config->identities[i]);
    c->refs = 1;
    c->verify_nothing = config->verify_nothing;
    c->roots = config->roots ? cert_roots_ref(config->roots) : NULL;
    enum err e = tls_context_new(TLS_client_method(), &c->ctx);
    if (e == ERR_OK && config->identity) e = tls_context_use(c->ctx, config->identity);
    if (e == ERR_OK) {
        bool ok = offer_alpn(c->ctx, config->alpn) && set_trust(c->ctx, config);
        if (config->only_tls12) ok = ok && SSL_CTX_set_max_proto_version(c->ctx, TLS1_2_VERSION);
        if (config->only_tls13) ok = ok && SSL_CTX_set_min_proto_version(c->ctx, TLS1_3_VERSION);
        SSL_CTX_set_app_data(c->ctx, c);
        if (config->keep_session) {
            SSL_CTX_set_session_cache_mode(c->ctx,
                                           SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
            SSL_CTX_sess_set_new_cb(c->ctx, on_session);
        }
        if (!ok) e = ERR_CRYPTO;
    }
    ERR_clear_error();
    if (e != ERR_OK) {
        tls_client_unref(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void tls_client_unref(struct tls_client *c) {
    if (!c || --c->refs > 0) return;
    for (unsigned i = 0; i < TLS_SESSIONS_MAX; i++) SSL_SESSION_free(c->kept[i].session);
    for (size_t i = 0; i < c->identity_count; i++) pki_unref(c->identities[i]);
    cert_roots_unref(c->roots);
    SSL_CTX_free(c->ctx);
    mem_free(c);
}

/* ---- streams ---- */

static bool set_name(const struct tls_client *c, SSL *ssl, const char *name) {
    struct addr ip;
    bool is_ip = addr_read_ip(slice_str(name), &ip) == ERR_OK;
    if (!is_ip && SSL_set_tlsext_host_name(ssl, name) != 1) return false;
    if (c->verify_nothing) return true;
    if (is_ip) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_WILDCARDS); /* RFC 5922 7.2 */
    return SSL_set1_host(ssl, name) == 1;
}

static bool use_identity(const struct tls_client *c, SSL *ssl, slice own) {
    for (size_t i = 0; own.len && i < c->identity_count; i++) {
        const struct pki_id *id = c->identities[i];
        if (!pki_covers(id, own)) continue;
        return SSL_use_cert_and_key(ssl, pki_leaf(id), pki_key(id), pki_chain(id), 1) == 1;
    }
    return true;
}

enum err tls_connect(struct tls_client *c, struct tls_wire *wire, const char *name,
                     struct tls *out) {
    return tls_connect_as(c, wire, name, SLICE_NONE, out);
}

enum err tls_connect_as(struct tls_client *c, struct tls_wire *wire, const char *name, slice own,
                        struct tls *out) {
    SSL *ssl;
    enum err e = tls_stream_new(c->ctx, wire, &ssl);
    if (e != ERR_OK) return e;
    SSL_set_connect_state(ssl);
    struct kept *kept = NULL;
    bool ok = set_name(c, ssl, name) && use_identity(c, ssl, own);
    if (ok) kept = kept_find(c, ssl);
    if (!ok || (kept && SSL_set_session(ssl, kept->session) != 1)) {
        SSL_free(ssl);
        ERR_clear_error();
        return ERR_CRYPTO;
    }
    c->refs++;
    *out = (struct tls){ .ssl = ssl, .owner = c, .is_client = true };
    return ERR_OK;
}

/* TLS 1.2 renews a ticket inside the handshake that used the old one, without telling on_session.
 */
static void keep_renewed(struct tls_client *c, SSL *ssl) {
    if (SSL_version(ssl) != TLS1_2_VERSION || !SSL_session_reused(ssl)) return;
    if (kept_find(c, ssl)) kept_put(c, ssl, SSL_get1_session(ssl));
}

void tls_detach(struct tls *t) {
    if (!t->ssl) return;
    ASSERT(!t->is_client);
    tls_server_unref(t->owner);
    t->owner = NULL;
    BIO_set_data(SSL_get_rbio(t->ssl), NULL);
}

void tls_attach(struct tls *t, struct tls_server *s, struct tls_wire *wire) {
    if (!t->ssl) return;
    t->owner = tls_server_ref(s);
    BIO_set_data(SSL_get_rbio(t->ssl), wire);
}

void tls_fini(struct tls *t) {
    if (!t->ssl) return;
    if (t->is_client) keep_renewed(t->owner, t->ssl);
    /* Freed without a word of goodbye, OpenSSL would call the session bad and not resume it. */
    SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    if (t->is_client)
        tls_client_unref(t->owner);
    else
        tls_server_unref(t->owner);
    *t = (struct tls){ 0 };
}

static enum err outcome(const struct tls *t, int result) {
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return ERR_CLOSED;
    default:
        return ERR_CRYPTO;
    }
}

/* SSL_get_error looks at the thread's queue of errors, whoever filled it. Asking whether there is
 * one costs a twentieth of clearing it. */
static void forget_errors(void) {
    if (UNLIKELY(ERR_peek_error() != 0)) ERR_clear_error();
}

enum err tls_handshake(struct tls *t) {
    forget_errors();
    int r = SSL_do_handshake(t->ssl);
    if (r == 1) return ERR_OK;
    enum err e = outcome(t, r);
    return e == ERR_CLOSED ? ERR_CRYPTO : e;
}

enum err tls_read(struct tls *t, void *dst, size_t cap, size_t *out_n) {
    const struct tls_wire *w = BIO_get_data(SSL_get_rbio(t->ssl));
    if (w->in_len == 0 && SSL_pending(t->ssl) == 0) return ERR_AGAIN; /* as SSL_read would find */
    forget_errors();
    int r = SSL_read_ex(t->ssl, dst, cap, out_n);
    return r == 1 ? ERR_OK : outcome(t, r);
}

enum err tls_write(struct tls *t, const void *src, size_t len) {
    ASSERT(len <= TLS_WRITE_MAX);
    size_t n;
    forget_errors();
    return len == 0 || SSL_write_ex(t->ssl, src, len, &n) == 1 ? ERR_OK : ERR_CRYPTO;
}

void tls_close_notify(struct tls *t) {
    if (!SSL_is_init_finished(t->ssl)) return;
    forget_errors();
    (void)SSL_shutdown(t->ssl);
    forget_errors();
}

bool tls_resumed(const struct tls *t) {
    return SSL_session_reused(t->ssl) == 1;
}

void tls_describe(const struct tls *t, struct buf *out) {
    buf_fmt(out, "%s %s", SSL_get_version(t->ssl), SSL_get_cipher_name(t->ssl));
    long group = SSL_get_negotiated_group(t->ssl);
    const char *name = group > 0 ? SSL_group_to_name(t->ssl, (int)group) : NULL;
    if (name) buf_fmt(out, " %s", name);
}

const char *tls_trouble(void) {
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "closed without a word";
}

const char *tls_handshake_trouble(void) {
    unsigned long error = ERR_peek_last_error();
    switch (ERR_GET_REASON(error)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_UNEXPECTED_MESSAGE:
        return "no TLS is spoken there";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_DH_KEY_TOO_SMALL:
    case SSL_R_EE_KEY_TOO_SMALL:
        return "no version and cipher of TLS that both sides allow";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_NO_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
        return "our certificate was refused";
    case SSL_R_TLSV1_UNRECOGNIZED_NAME:
        return "the server does not know the domain";
    default:
        /* Alerts have numbers of their own, far above OpenSSL's. */
        return ERR_GET_REASON(error) >= SSL_AD_REASON_OFFSET ? "the TLS handshake was refused"
                                                             : "the TLS handshake failed";
    }
}

bool tls_peer_has_certificate(const struct tls *t) {
    return SSL_get0_peer_certificate(t->ssl) != NULL;
}

bool tls_device_key(const struct tls *t, wall_t now, uint8_t out[static 32]) {
    X509 *cert = t->is_client ? NULL : SSL_get0_peer_certificate(t->ssl);
    if (!cert || !tls_server_judges(t->owner, cert, now)) return false;
    pki_spki_hash(cert, out);
    return true;
}

bool tls_peer_cert(const struct tls *t, wall_t now, struct cert_seen *out) {
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (!cert) return false;
    const struct cert_roots *roots =
        t->is_client ? ((const struct tls_client *)t->owner)->roots : tls_server_roots(t->owner);
    cert_see(roots, cert, SSL_get_peer_cert_chain(t->ssl), now, out);
    return true;
}
