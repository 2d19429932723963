/* check/link.c - bytes to and from the target. */
#include "check/link.h"

#include "base/mem.h"
#include "check/probe.h"
#include "check/run.h"
#include "check/ws.h"
#include "os/socket.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_MS 5000

int64_t clock_ms(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool ready(int fd, short events, int64_t until) {
    for (;;) {
        int64_t left = until - clock_ms();
        struct pollfd p = { .fd = fd, .events = events };
        int n = poll(&p, 1, left < 0 ? 0 : (int)left);
        if (n > 0) return true;
        if (n == 0 || errno != EINTR) return false;
    }
}

/* ---- TLS ---------------------------------------------------------------------------------- */

static int take_any(int ok, X509_STORE_CTX *store) {
    (void)ok, (void)store; /* judged by SSL_get_verify_result: a test may want to look on */
    return 1;
}

static bool shows(SSL *ssl, const char *certificate) {
    return SSL_use_certificate_chain_file(ssl, certificate) == 1 &&
           SSL_use_PrivateKey_file(ssl, certificate, SSL_FILETYPE_PEM) == 1;
}

/* Called when the server asks for a certificate; NULL: we have none to give. */
static int asked_for(SSL *ssl, void *certificate) {
    struct tls_seen *seen = SSL_get_app_data(ssl);
    if (seen) seen->asked = true;
    return !certificate || shows(ssl, certificate);
}

static bool wish_apply(SSL *ssl, const struct tls_wish *w) {
    SSL_set_security_level(ssl, w->min || w->ciphers ? 0 : 2);
    (void)SSL_set_min_proto_version(ssl, w->min ? w->min : TLS1_2_VERSION);
    (void)SSL_set_max_proto_version(ssl, w->max);
    bool good = true;
    if (w->ciphers) good = SSL_set_cipher_list(ssl, w->ciphers) == 1;
    if (w->groups) good = good && SSL_set1_groups_list(ssl, w->groups) == 1;
    if (w->alpn)
        (void)SSL_set_alpn_protos(ssl, (const unsigned char *)w->alpn, (unsigned)strlen(w->alpn));
    return good;
}

static void look(SSL *ssl, const char *name, struct link *l, struct tls_seen *seen) {
    X509 *leaf = SSL_get1_peer_certificate(ssl);
    struct addr ip;
    bool named =
        leaf && (addr_read_ip(slice_str(name), &ip) == ERR_OK
                     ? X509_check_ip_asc(leaf, name, 0) == 1
                     : X509_check_host(leaf, name, 0, X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1);
    l->verified = named && SSL_get_verify_result(ssl) == X509_V_OK;
    seen->done = true;
    seen->version_number = SSL_version(ssl);
    (void)snprintf(seen->version, sizeof seen->version, "%s", SSL_get_version(ssl));
    (void)snprintf(seen->cipher, sizeof seen->cipher, "%s", SSL_get_cipher_name(ssl));
    if (leaf) (void)X509_NAME_oneline(X509_get_subject_name(leaf), seen->names, sizeof seen->names);
    X509_free(leaf);
}

/* One step of OpenSSL that may have to wait; true when it is done. */
static bool ssl_step(struct link *l, int result, int64_t until) {
    switch (SSL_get_error(l->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return ready(l->fd, POLLIN, until);
    case SSL_ERROR_WANT_WRITE:
        return ready(l->fd, POLLOUT, until);
    default:
        return false;
    }
}

static bool shake_hands(struct run *run, struct link *l, const struct tls_wish *wish,
                        struct tls_seen *seen) {
    const char *name = run->target.name;
    struct addr ip;
    l->ssl = SSL_new(run->tls);
    if (!l->ssl || !wish_apply(l->ssl, wish)) {
        (void)snprintf(seen->alert, sizeof seen->alert, "our library cannot offer that");
        return false;
    }
    const char *sni = wish->sni ? wish->sni : name;
    if (*sni && addr_read_ip(slice_str(sni), &ip) != ERR_OK)
        (void)SSL_set_tlsext_host_name(l->ssl, sni);
    SSL_set_verify(l->ssl, SSL_VERIFY_PEER, take_any);
    SSL_set_app_data(l->ssl, (char *)seen);
    (void)SSL_set_fd(l->ssl, l->fd);
    int64_t until = clock_ms() + CONNECT_MS;
    ERR_clear_error();
    for (int n; (n = SSL_connect(l->ssl)) != 1;) {
        if (ssl_step(l, n, until)) continue;
        unsigned long e = ERR_get_error();
        const char *reason = e ? ERR_reason_error_string(e) : NULL;
        (void)snprintf(seen->alert, sizeof seen->alert, "%s",
                       reason ? reason : "the connection was closed");
        return false;
    }
    look(l->ssl, name, l, seen);
    SSL_set_app_data(l->ssl, NULL);
    return true;
}

struct ssl_ctx_st *tls_context(const char *ca_file, const char *certificate, char *why,
                               size_t why_len) {
    SSL_CTX *c = SSL_CTX_new(TLS_client_method());
    SSL *ssl = c ? SSL_new(c) : NULL;
    bool shown = ssl && (!certificate || shows(ssl, certificate));
    SSL_free(ssl);
    if (!shown) {
        (void)snprintf(why, why_len, "%s is no PEM file with a certificate and its key",
                       certificate ? certificate : "");
    } else if ((ca_file ? SSL_CTX_load_verify_locations(c, ca_file, NULL)
                        : SSL_CTX_set_default_verify_paths(c)) == 1) {
        SSL_CTX_set_cert_cb(c, asked_for, (char *)certificate);
        return c;
    } else {
        (void)snprintf(why, why_len, "the CA certificates in %s cannot be read", ca_file);
    }
    SSL_CTX_free(c);
    return NULL;
}

void tls_context_free(struct ssl_ctx_st *c) {
    SSL_CTX_free(c);
}

/* ---- opening and closing ------------------------------------------------------------------ */

static bool connect_tcp(struct link *l) {
    enum err e = socket_connect_tcp(&l->remote, &l->fd);
    if (e == ERR_OK && ready(l->fd, POLLOUT, clock_ms() + CONNECT_MS) && socket_error(l->fd) == 0)
        return true;
    (void)snprintf(l->why, sizeof l->why, "no connection: %s",
                   e == ERR_OK ? "refused, or no answer in time" : err_text(e));
    return false;
}

static bool connect_udp(struct link *l) {
    struct addr any = { .family = l->remote.family };
    if (addr_is_loopback(&l->remote)) any = l->remote;
    any.port = 0;
    struct sockaddr_storage to;
    socklen_t len = addr_to_sockaddr(&l->remote, &to);
    if (socket_bind_udp(&any, &l->fd, &l->local) == ERR_OK &&
        connect(l->fd, (struct sockaddr *)&to, len) == 0)
        return true;
    (void)snprintf(l->why, sizeof l->why, "no UDP socket");
    return false;
}

static enum err open_any(struct run *run, enum wire w, const struct addr *to,
                         const struct tls_wish *wish, struct tls_seen *seen, struct link **out) {
    struct link *l = mem_zalloc(sizeof *l);
    if (!l) return ERR_MEMORY;
    struct tls_seen unseen = { 0 };
    const struct tls_wish good = { .alpn = w == WIRE_WSS ? "\x08http/1.1" : NULL };
    l->fd = -1;
    l->wire = w;
    l->remote = to ? *to : run->target.at[w];
    run_pace(run);
    bool up = l->remote.family != ADDR_NONE;
    if (up && !run_may_reach(run, &l->remote)) {
        (void)snprintf(l->why, sizeof l->why, "not sent: a public address");
        up = false;
    }
    up = up && (w == WIRE_UDP ? connect_udp(l) : connect_tcp(l));
    if (up) (void)!socket_local(l->fd, &l->local);
    l->verified = run->trust_network || addr_is_loopback(&l->remote);
    if (!wish) wish = &good;
    if (!seen) seen = &unseen;
    if (up && (w == WIRE_TLS || w == WIRE_WSS)) {
        l->verified = false;
        up = shake_hands(run, l, wish, seen);
        if (!up) (void)snprintf(l->why, sizeof l->why, "no TLS: %s", seen->alert);
    }
    if (up && w == WIRE_WSS) up = link_ws_ask(run, l, wish->upgrade, seen);
    if (!up && l->fd >= 0) {
        (void)close(l->fd);
        l->fd = -1;
    }
    *out = l;
    return ERR_OK;
}

enum err link_open(struct run *run, enum wire w, const struct tls_wish *wish, struct tls_seen *seen,
                   struct link **out) {
    return open_any(run, w, NULL, wish, seen, out);
}

enum err link_open_to(struct run *run, enum wire w, const struct addr *to, struct link **out) {
    return open_any(run, w, to, NULL, NULL, out);
}

static bool shake_as_server(struct link *l, const char *certificate, struct run *asks) {
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    bool good = c && (l->ssl = SSL_new(c)) && shows(l->ssl, certificate);
    if (good && asks) { /* RFC 5922 asks for no extended key usage, so none is judged */
        (void)SSL_set1_verify_cert_store(l->ssl, SSL_CTX_get_cert_store(asks->tls));
        (void)SSL_set_purpose(l->ssl, X509_PURPOSE_ANY);
        SSL_set_verify(l->ssl, SSL_VERIFY_PEER, take_any);
    }
    SSL_CTX_free(c);
    int64_t until = clock_ms() + CONNECT_MS;
    if (good) (void)SSL_set_fd(l->ssl, l->fd);
    for (int n; good && (n = SSL_accept(l->ssl)) != 1;) good = ssl_step(l, n, until);
    if (good && asks) look(l->ssl, asks->target.name, l, &(struct tls_seen){ 0 });
    return good;
}

struct link *link_take(int fd, enum wire w, const char *certificate, struct run *asks) {
    struct link *l = mem_zalloc(sizeof *l);
    if (!l) return NULL;
    l->fd = fd;
    l->wire = w;
    l->serves = true;
    bool good = true;
    if (w == WIRE_UDP) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        char peek;
        good = recvfrom(fd, &peek, 1, MSG_PEEK, (struct sockaddr *)&from, &len) >= 0 &&
               addr_from_sockaddr((struct sockaddr *)&from, &l->remote) == ERR_OK;
    }
    if (w == WIRE_TLS || w == WIRE_WSS) good = shake_as_server(l, certificate, asks);
    if (w == WIRE_WSS) good = good && link_ws_answer(l);
    good = good && socket_local(fd, &l->local) == ERR_OK;
    if (good) return l;
    if (w == WIRE_UDP) l->fd = -1;
    link_close(l);
    return NULL;
}

void link_close(struct link *l) {
    if (!l) return;
    if (l->ssl && l->fd >= 0 && !l->closed && SSL_is_init_finished(l->ssl))
        (void)SSL_shutdown(l->ssl);
    SSL_free(l->ssl);
    if (l->fd >= 0) (void)close(l->fd);
    mem_free(l->hello);
    mem_free(l->ws);
    mem_free(l);
}

/* ---- bytes -------------------------------------------------------------------------------- */

bool link_send(struct run *run, struct link *l, slice bytes) {
    run_pace(run);
    return l->ws ? link_ws_send(l, bytes) : link_write(l, bytes);
}

/* UDP that we serve is not connected: a phone may come back from another port. */
static ssize_t give(const struct link *l, slice bytes) {
    struct sockaddr_storage to;
    if (l->ssl) return SSL_write(l->ssl, bytes.ptr, (int)bytes.len);
    if (l->wire != WIRE_UDP || !l->serves) return send(l->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    socklen_t len = addr_to_sockaddr(&l->remote, &to);
    return sendto(l->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL, (struct sockaddr *)&to, len);
}

static ssize_t get(struct link *l, char *into, size_t room) {
    struct sockaddr_storage from;
    struct addr peer;
    socklen_t len = sizeof from;
    if (l->ssl) return SSL_read(l->ssl, into, (int)room);
    if (l->wire != WIRE_UDP || !l->serves) return recv(l->fd, into, room, 0);
    for (;;) {
        ssize_t n = recvfrom(l->fd, into, room, 0, (struct sockaddr *)&from, &len);
        if (n <= 0 || addr_from_sockaddr((struct sockaddr *)&from, &peer) != ERR_OK) return n;
        if (slice_starts(slice_of(into, (size_t)n), SLICE("REGISTER "))) l->remote = peer;
        if (addr_eq(&peer, &l->remote)) return n;
    }
}

bool link_write(struct link *l, slice bytes) {
    int64_t until = clock_ms() + CONNECT_MS;
    while (bytes.len) {
        ssize_t n = give(l, bytes);
        if (n > 0) {
            bytes = slice_from(bytes, (size_t)n);
        } else if (l->ssl) {
            if (!ssl_step(l, (int)n, until)) return false;
        } else if ((errno != EAGAIN && errno != EINTR) || !ready(l->fd, POLLOUT, until)) {
            return false;
        }
    }
    return true;
}

bool link_read(struct link *l, int64_t until) {
    char *into = l->ws ? l->ws->raw : l->in;
    size_t *len = l->ws ? &l->ws->raw_len : &l->len;
    size_t cap = l->ws ? sizeof l->ws->raw : sizeof l->in;
    while (!l->closed) {
        size_t room = cap - *len;
        ERR_clear_error();
        ssize_t n = get(l, into + *len, room);
        if (n > 0) {
            *len += (size_t)n;
            return true;
        }
        if (l->ssl) {
            int e = SSL_get_error(l->ssl, (int)n);
            const char *alert = ERR_reason_error_string(ERR_peek_error());
            l->closed = e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE;
            if (l->closed) (void)snprintf(l->why, sizeof l->why, "%s", alert ? alert : "closed");
        } else {
            l->closed = l->wire != WIRE_UDP && (n == 0 || (errno != EAGAIN && errno != EINTR));
        }
        if (!l->closed && !ready(l->fd, POLLIN, until)) return false;
        if (!l->closed && clock_ms() > until) until = 0; /* one more look, then out */
    }
    return false;
}

void link_drop(struct link *l, size_t size) {
    l->len -= size;
    memmove(l->in, l->in + size, l->len);
    l->whole = false;
}

/* Double CRLF is a ping, one that stands alone a pong: RFC 5626 4.4.1. */
static void take_blank(struct link *l) {
    while (l->wire != WIRE_UDP && l->len >= 2 && l->in[0] == '\r' && l->in[1] == '\n') {
        bool ping = l->serves && l->len >= 4 && l->in[2] == '\r' && l->in[3] == '\n';
        if (ping && !l->mute) (void)!link_write(l, SLICE("\r\n"));
        l->pings += ping;
        l->pongs += !ping;
        link_drop(l, ping ? 4 : 2);
    }
}

/* RFC 5626 4.4.2: a phone asks over UDP where it is seen. */
static void take_binding(struct link *l) {
    bool asks = l->serves && l->wire == WIRE_UDP && l->len >= 20 && l->in[0] == 0 && l->in[1] == 1;
    if (!asks) return;
    char mem[64];
    struct buf b = buf_over(mem, sizeof mem);
    struct addr seen = l->remote;
    if (l->moved) seen.port ^= 1;
    probe_put_binding(&b, slice_of(l->in, l->len), &seen);
    if (!l->mute) (void)!link_write(l, buf_slice(&b));
    l->pings++;
    link_drop(l, l->len);
}

bool link_message(struct link *l, int64_t ms, size_t *size) {
    if (l->ws) return link_ws_message(l, clock_ms() + ms, size);
    for (int64_t until = clock_ms() + ms;;) {
        if (l->wire != WIRE_UDP && l->len && l->in[0] >= 0 && l->in[0] < 4) { /* STUN */
            size_t whole =
                l->len < 4 ? 20 : 20 + (size_t)((uint8_t)l->in[2] << 8 | (uint8_t)l->in[3]);
            *size = l->len >= whole ? whole : 0;
            if (*size) return true;
        }
        take_binding(l);
        take_blank(l);
        *size = l->wire == WIRE_UDP ? l->len : msg_frame(slice_of(l->in, l->len));
        if (*size) return true;
        if (!link_read(l, until)) return false;
    }
}
