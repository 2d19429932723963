#include "os/tls_internal.h"

#include "base/mem.h"
#include "base/scan.h"
#include "os/cert.h"
#include "os/pki.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>

#define TICKET_LIFE_S 86400 /* a phone that was away for a day does a full handshake */

/* One certificate: its context, and the names (SNI) that choose it. */
struct tls_site {
    SSL_CTX *ctx;
    GENERAL_NAMES *names;
};

struct tls_server {
    unsigned refs; /* one thread at a time: no atomics needed */
    struct tls_tickets *tickets;
    X509_STORE *devices; /* the device CAs */
    struct cert_roots *roots;
    size_t site_count;
    struct tls_site sites[];
};

/* ---- choosing by ClientHello ---- */

static const struct {
    slice name;
    enum tls_alpn alpn;
} protocols[] = {
    { { "sip/2", 5 }, TLS_ALPN_SIP },
    { { "stun.turn", 9 }, TLS_ALPN_TURN }, /* RFC 7443; coturn's client says http/1.1 as well */
    { { "http/1.1", 8 }, TLS_ALPN_HTTP },
};

/* The next name of an ALPN list (RFC 7301 3.1: a byte of length before each); false at its end. */
static bool alpn_next(slice *list, slice *out) {
    if (list->len == 0) return false;
    size_t n = (unsigned char)list->ptr[0];
    if (n == 0 || n > list->len - 1) return false;
    *out = slice_of(list->ptr + 1, n);
    *list = slice_from(*list, n + 1);
    return true;
}

static bool alpn_is_browser(slice list) {
    for (slice name; alpn_next(&list, &name);)
        if (slice_eq(name, SLICE("http/1.1")) || slice_eq(name, SLICE("h2"))) return true;
    return false;
}

/* RFC 8701: values that mean nothing, sent so that servers stay used to unknown ones. */
static bool has_grease(SSL *ssl) {
    const unsigned char *suites;
    size_t len = SSL_client_hello_get0_ciphers(ssl, &suites);
    for (size_t i = 0; i + 1 < len; i += 2)
        if (suites[i] == suites[i + 1] && (suites[i] & 0x0f) == 0x0a) return true;
    return false;
}

/* A browser that is asked for a certificate shows a chooser or drops the connection. Its WebSocket
 * is known by ALPN. Its TURN over TLS offers none, and Chromium ends it at the question; nobody
 * else is known to send GREASE without ALPN. */
static int on_client_hello(SSL *ssl, int *alert, void *ctx) {
    (void)alert, (void)ctx;
    const unsigned char *ext;
    size_t len;
    bool has_alpn = SSL_client_hello_get0_ext(
                        ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &ext, &len) == 1;
    if (has_alpn ? len > 2 && alpn_is_browser(slice_of(ext + 2, len - 2)) : has_grease(ssl))
        SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *ctx) {
    (void)ssl, (void)ctx;
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
        slice list = slice_of(in, in_len);
        for (slice name; alpn_next(&list, &name);) {
            if (!slice_eq(name, protocols[i].name)) continue;
            *out = (const unsigned char *)name.ptr;
            *out_len = (unsigned char)name.len;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK; /* unknown offers: without ALPN, the first bytes decide */
}

/* RFC 6125 6.4.3, for choosing a certificate only: "*." stands for one label. */
static bool name_fits(slice pattern, slice host) {
    if (!slice_starts(pattern, SLICE("*."))) return slice_ieq(pattern, host);
    return slice_ieq(slice_from(pattern, 1), slice_from(host, slice_find(host, '.')));
}

static bool site_is_for(const struct tls_site *site, slice host) {
    for (int i = 0; i < sk_GENERAL_NAME_num(site->names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(site->names, i);
        if (n->type != GEN_DNS) continue;
        slice pattern =
            slice_of(ASN1_STRING_get0_data(n->d.dNSName), (size_t)ASN1_STRING_length(n->d.dNSName));
        if (name_fits(pattern, host)) return true;
    }
    return false;
}

static int on_server_name(SSL *ssl, int *alert, void *ctx) {
    (void)alert;
    const struct tls_server *s = ctx;
    slice host = slice_str(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    if (host.len == 0) return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < s->site_count; i++) {
        if (!site_is_for(&s->sites[i], host)) continue;
        if (i > 0) SSL_set_SSL_CTX(ssl, s->sites[i].ctx);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- client certificates ---- */

/* The handshake goes on with any certificate; tls_device_key judges afterwards. */
static int on_verify(X509_STORE_CTX *store, void *ctx) {
    (void)store, (void)ctx;
    return 1;
}

bool tls_server_judges(const struct tls_server *s, X509 *cert, wall_t now) {
    /* A leaf without EKU would pass any purpose: ours always carry clientAuth, alone. */
    uint32_t usage = X509_get_extended_key_usage(cert);
    if (usage == UINT32_MAX || usage != XKU_SSL_CLIENT) return false;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool ok = ctx && X509_STORE_CTX_init(ctx, s->devices, cert, NULL) == 1;
    if (ok) {
        X509_STORE_CTX_set_time(ctx, 0, (time_t)(now / 1000));
        ok = X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) == 1 &&
             X509_verify_cert(ctx) == 1;
    }
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

struct cert_roots *tls_server_roots(const struct tls_server *s) {
    return s->roots;
}

static bool is_of_device_ca(const struct tls_server *s, X509 *cert) {
    const STACK_OF(X509_OBJECT) *cas = X509_STORE_get0_objects(s->devices);
    for (int i = 0; i < sk_X509_OBJECT_num(cas); i++) {
        X509 *ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(cas, i));
        if (ca && X509_NAME_cmp(X509_get_subject_name(ca), X509_get_issuer_name(cert)) == 0)
            return true;
    }
    return false;
}

/* A ticket keeps the client's certificate but none of those above it, so that of another domain
 * could not be judged again: such a client does a full handshake each time. Domains keep their
 * connections for hours; phones, which come and go, have no certificate or a device's. */
static SSL_TICKET_RETURN on_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                   size_t name_len, SSL_TICKET_STATUS status, void *ctx) {
    (void)ssl, (void)name, (void)name_len;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    X509 *cert = SSL_SESSION_get0_peer(session);
    if (cert && !is_of_device_ca(ctx, cert)) return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* ---- making ---- */

static enum err site_init(struct tls_server *s, struct tls_site *site, const struct pki_id *cert,
                          bool only_tls13) {
    static const unsigned char session_context[] = "kith";
    enum err e = tls_context_new(TLS_server_method(), &site->ctx);
    if (e == ERR_OK) e = tls_context_use(site->ctx, cert);
    if (e == ERR_OK) e = tls_tickets_attach(s->tickets, site->ctx);
    if (e != ERR_OK) return e;
    site->names = X509_get_ext_d2i(pki_leaf(cert), NID_subject_alt_name, NULL, NULL);
    SSL_CTX_set_verify(site->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(site->ctx, on_verify, NULL);
    SSL_CTX_set_max_cert_list(site->ctx, TLS_CLIENT_CERT_MAX);
    SSL_CTX_set_client_hello_cb(site->ctx, on_client_hello, NULL);
    SSL_CTX_set_alpn_select_cb(site->ctx, on_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(site->ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(site->ctx, s);
    SSL_CTX_set_session_cache_mode(site->ctx, SSL_SESS_CACHE_OFF); /* tickets only */
    SSL_CTX_set_timeout(site->ctx, TICKET_LIFE_S);
    bool ok = SSL_CTX_set_session_ticket_cb(site->ctx, NULL, on_ticket, s) == 1 &&
              SSL_CTX_set_session_id_context(site->ctx, session_context,
                                             sizeof session_context - 1) == 1 &&
              SSL_CTX_set_num_tickets(site->ctx, 1) == 1 &&
              SSL_CTX_set_max_early_data(site->ctx, 0) == 1 &&
              SSL_CTX_set_recv_max_early_data(site->ctx, 0) == 1 &&
              (!only_tls13 || SSL_CTX_set_min_proto_version(site->ctx, TLS1_3_VERSION) == 1);
    return ok ? ERR_OK : ERR_CRYPTO;
}

enum err tls_server_new(const struct tls_server_config *c, struct tls_server **out) {
    ASSERT(c->cert_count > 0 && c->tickets);
    if (c->cert_count > TLS_CERTS_MAX) return ERR_LIMIT;
    struct tls_server *s = mem_zalloc(sizeof *s + c->cert_count * sizeof s->sites[0]);
    if (!s) return ERR_MEMORY;
    s->refs = 1;
    s->tickets = c->tickets;
    tls_tickets_ref(s->tickets);
    s->roots = c->roots ? cert_roots_ref(c->roots) : NULL;
    s->site_count = c->cert_count;
    s->devices = X509_STORE_new();
    enum err e = s->devices ? ERR_OK : ERR_MEMORY;
    for (size_t i = 0; e == ERR_OK && i < c->device_ca_count; i++)
        if (X509_STORE_add_cert(s->devices, pki_leaf(c->device_cas[i])) != 1) e = ERR_CRYPTO;
    for (size_t i = 0; e == ERR_OK && i < c->cert_count; i++)
        e = site_init(s, &s->sites[i], c->certs[i], c->only_tls13);
    if (e != ERR_OK) {
        tls_server_unref(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

struct tls_server *tls_server_ref(struct tls_server *s) {
    s->refs++;
    return s;
}

void tls_server_unref(struct tls_server *s) {
    if (!s || --s->refs > 0) return;
    for (size_t i = 0; i < s->site_count; i++) {
        SSL_CTX_free(s->sites[i].ctx);
        GENERAL_NAMES_free(s->sites[i].names);
    }
    X509_STORE_free(s->devices);
    cert_roots_unref(s->roots);
    tls_tickets_unref(s->tickets);
    mem_free(s);
}

/* ---- connections ---- */

enum err tls_accept(struct tls_server *s, struct tls_wire *wire, struct tls *out) {
    SSL *ssl;
    enum err e = tls_stream_new(s->sites[0].ctx, wire, &ssl);
    if (e != ERR_OK) return e;
    SSL_set_accept_state(ssl);
    *out = (struct tls){ .ssl = ssl, .owner = tls_server_ref(s) };
    return ERR_OK;
}

enum tls_alpn tls_alpn(const struct tls *t) {
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(t->ssl, &name, &len);
    for (size_t i = 0; i < ARRAY_LEN(protocols); i++)
        if (len && slice_eq(slice_of(name, len), protocols[i].name)) return protocols[i].alpn;
    return TLS_ALPN_NONE;
}
