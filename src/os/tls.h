/* os/tls.h - TLS streams, server and client side, over bytes that somebody else moves.
 *
 * Purpose:  one place that knows OpenSSL. A `struct tls` reads cipher text from a `tls_wire` and
 *           writes cipher text to it; who owns the socket fills and empties the wire. A worker
 *           has one wire for all its connections, so an idle connection holds no buffer.
 * What is spoken: TLS 1.3, and 1.2 with ECDHE and AEAD only. No static RSA, no finite-field groups,
 *           no renegotiation, no compression, no 0-RTT. Tickets are stateless, under keys of our
 *           own that all workers share and that rotate.
 * Identity: client certificates are asked for, never demanded, and not asked for when ALPN offers
 *           http/1.1 or h2. The handshake goes on whatever comes; a certificate counts only in
 *           tls_device_key() and tls_peer_cert(), which judge it anew after each handshake, resumed
 *           ones too.
 * Lifetime: each connection keeps its server's contexts alive: for new certificates build a new
 *           tls_server, use it for new connections and unref the old one.
 * Threads:  a server or client object, its wire and its connections belong to one thread at a
 *           time (OpenSSL's locks are then never contended). tls_tickets is shared by all.
 *
 *   wire.in = received; wire.in_len = n;
 *   while ((e = tls_read(&t, plain, sizeof plain, &n)) == ERR_OK) use(plain, n);
 *   if (wire.out_len) send(fd, wire.out, wire.out_len), wire.out_len = 0;                */
#ifndef OS_TLS_H
#define OS_TLS_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/slice.h"

struct cert_roots;
struct cert_seen;
struct pki_id;
struct ssl_st; /* OpenSSL's SSL */

#define TLS_WRITE_MAX       32768u /* plain bytes per tls_write */
#define TLS_WIRE_OUT_BYTES  65536u /* room a wire needs: a flight of handshake, or one tls_write */
#define TLS_CLIENT_CERT_MAX 16384u /* bytes of certificates we take from a client */

struct tls_wire {
    const uint8_t *in; /* cipher text not yet consumed; the caller's memory */
    size_t in_len;
    uint8_t *out; /* the caller's memory of out_cap bytes; to be empty before each call */
    size_t out_len, out_cap;
};

/* Keys of session tickets. A key encrypts for `rotate_ms` and decrypts for twice that. */
struct tls_tickets;
NODISCARD enum err tls_tickets_new(int64_t rotate_ms, struct tls_tickets **out);
void tls_tickets_unref(struct tls_tickets *t); /* NULL is allowed; servers hold references */
void tls_tickets_rotate(struct tls_tickets *t);

enum tls_alpn { TLS_ALPN_NONE, TLS_ALPN_SIP, TLS_ALPN_HTTP, TLS_ALPN_TURN };

struct tls_server_config {
    struct pki_id *const *certs; /* the first is for clients that send no name, or a foreign one */
    size_t cert_count;           /* 1 .. TLS_CERTS_MAX */
    struct pki_id *const *device_cas; /* may be none: then no client certificate ever counts */
    size_t device_ca_count;
    struct tls_tickets *tickets;
    struct cert_roots *roots; /* for tls_peer_cert(); referenced; NULL: none is verified */
    bool only_tls13;          /* else 1.2 too: RFC 9325 3.1.1 */
};
#define TLS_CERTS_MAX 64

struct tls_server; /* the contexts of one worker */
NODISCARD enum err tls_server_new(const struct tls_server_config *c, struct tls_server **out);
struct tls_server *tls_server_ref(struct tls_server *s);
void tls_server_unref(struct tls_server *s); /* NULL is allowed */

struct tls_client_config {
    struct pki_id *const *trust; /* roots; none: the system's */
    size_t trust_count;
    const char *trust_file;  /* PEM, in addition; NULL: none */
    bool verify_nothing;     /* the handshake goes on with any certificate: for tests, and for who
                              * judges it afterwards with tls_peer_cert() */
    struct pki_id *identity; /* our certificate, or NULL */
    struct pki_id *const *identities; /* for tls_connect_as(): which of them names us; referenced */
    size_t identity_count;            /* at most TLS_CERTS_MAX */
    enum tls_alpn alpn;               /* offered, NONE: no ALPN */
    bool only_tls12, only_tls13;
    bool keep_session; /* the last ticket of a name is used for the next connection to it with the
                        * same certificate of ours */
    struct cert_roots *roots; /* for tls_peer_cert(); referenced; NULL: none is verified */
};
#define TLS_SESSIONS_MAX 32u /* names whose last ticket is kept */
struct tls_client;
NODISCARD enum err tls_client_new(const struct tls_client_config *c, struct tls_client **out);
void tls_client_unref(struct tls_client *c);

struct tls {
    struct ssl_st *ssl;
    void *owner; /* the server or client object it keeps alive */
    bool is_client;
};

NODISCARD enum err tls_accept(struct tls_server *s, struct tls_wire *wire, struct tls *out);
/* `name` is a DNS name (sent as SNI) or an address in text form (not sent); the certificate must
 * name it, unless verify_nothing. */
NODISCARD enum err tls_connect(struct tls_client *c, struct tls_wire *wire, const char *name,
                               struct tls *out);
/* The same on behalf of `own`, a domain of ours: with the first of `identities` that names it; when
 * none does, with `identity`. */
NODISCARD enum err tls_connect_as(struct tls_client *c, struct tls_wire *wire, const char *name,
                                  slice own, struct tls *out);
/* An established connection of a server goes to another thread: tls_detach() on the old one, then
 * tls_attach() with a server object and wire of the new one. Between them tls_fini() is allowed. */
void tls_detach(struct tls *t);
void tls_attach(struct tls *t, struct tls_server *s, struct tls_wire *wire);
void tls_fini(struct tls *t); /* no close_notify; a zeroed one is allowed */

/* OK: done. AGAIN: feed more. CRYPTO: over; an alert may be in the wire. */
NODISCARD enum err tls_handshake(struct tls *t);
/* OK with *out_n > 0; AGAIN: the wire's input is used up; CLOSED: close_notify came; CRYPTO. */
NODISCARD enum err tls_read(struct tls *t, void *dst, size_t cap, size_t *out_n);
/* All of it (at most TLS_WRITE_MAX) or CRYPTO. */
NODISCARD enum err tls_write(struct tls *t, const void *src, size_t len);
void tls_close_notify(struct tls *t);

enum tls_alpn tls_alpn(const struct tls *t);
bool tls_resumed(const struct tls *t);
void tls_describe(const struct tls *t,
                  struct buf *out); /* "TLSv1.3 TLS_AES_128_GCM_SHA256 X25519" */
/* Why the last call on this thread said CRYPTO, in OpenSSL's words; for the log. */
const char *tls_trouble(void);
/* The same for people, of a handshake: static words such as "our certificate was refused". */
const char *tls_handshake_trouble(void);

/* Server side, after the handshake: true when the peer proved the key of a certificate that one of
 * our device CAs signed for clientAuth and that is valid at `now`. *out is the SHA-256 of its
 * SubjectPublicKeyInfo. Costs a signature check (about 0.1 ms) when there is a certificate. */
bool tls_device_key(const struct tls *t, wall_t now, uint8_t out[static 32]);
bool tls_peer_has_certificate(const struct tls *t);
/* Either side, after the handshake: what the other's certificate says, judged by the roots of the
 * server or client object. False: it has none. cert_seen_fini() when true. */
bool tls_peer_cert(const struct tls *t, wall_t now, struct cert_seen *out);

#endif
