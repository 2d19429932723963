/* check/link.h - one connection, or one UDP socket, to the target.
 *
 * Blocking with deadlines. Every byte is paced (run.h) before it leaves. TLS is spoken by OpenSSL
 * with the settings of a test, weak ones too. A link that could not be made has fd < 0 and says
 * why.
 *
 * Lifetime: link_close frees it. Threads: the test's own. Memory: the heap. */
#ifndef CHECK_LINK_H
#define CHECK_LINK_H

#include "base/addr.h"
#include "base/err.h"
#include "check/test.h"

#define LINK_BYTES 262144u

struct ssl_st;
struct ws_frame;
struct tls_wish { /* how to shake hands; zero: as a good client */
    int min, max; /* OpenSSL's TLS1_2_VERSION and the like */
    const char *ciphers, *groups;
    const char *sni;     /* NULL: the target's name; "": none */
    const char *alpn;    /* with length octets; NULL: none, for WSS http/1.1 */
    const char *upgrade; /* WSS: header lines of the handshake; NULL: Sec-WebSocket-Protocol and,
                            if the run has one, Origin */
};
struct tls_seen {
    bool done;
    bool asked; /* for a certificate of ours */
    char version[16], cipher[64], alert[96], names[256];
    int version_number;
    unsigned status;    /* WSS: of the answer to the handshake; 0: none */
    char upgrade[1024]; /* and its head */
};

struct link {
    int fd;
    enum wire wire;
    struct ssl_st *ssl;
    struct ws *ws; /* WSS only */
    char *hello;   /* WSS, as the server: the head of the client's handshake */
    bool whole;    /* WSS: in[] holds a whole message */
    bool closed;   /* by the other side */
    bool serves;   /* we accepted it: a ping is answered, CRLFs or, over UDP, a Binding request
                      (RFC 5626 4.4) */
    bool mute;     /* it is not: the flow looks dead */
    bool moved;    /* it is, with another port than before: a router has forgotten the flow */
    unsigned pings;
    bool verified; /* the other side is the target: credentials may go over it */
    unsigned pongs;
    struct addr local, remote;
    char why[160];
    size_t len;
    char in[LINK_BYTES];
};

/* AGAIN when memory is short; else *out is there, perhaps with fd < 0. */
NODISCARD enum err link_open(struct run *run, enum wire w, const struct tls_wish *wish,
                             struct tls_seen *seen, struct link **out);
/* The same with a good hello; `to` (may be NULL) instead of the target. */
NODISCARD enum err link_open_to(struct run *run, enum wire w, const struct addr *to,
                                struct link **out);
/* What we accepted (TCP, TLS as the server), or a bound UDP socket on which a datagram waits: from
 * now on only its sender is heard, until a REGISTER comes from elsewhere. `asks` (may be NULL):
 * over TLS the other side is asked for its certificate, and `verified` tells whether it is that of
 * this run's target. NULL: it went away. */
struct link *link_take(int fd, enum wire w, const char *certificate, struct run *asks);
void link_close(struct link *l); /* NULL is allowed */
NODISCARD bool link_send(struct run *run, struct link *l, slice bytes);
/* The next message (in l->in, *size bytes: link_drop() them), or false after ms. */
bool link_message(struct link *l, int64_t ms, size_t *size);
void link_drop(struct link *l, size_t size);
/* The bytes as they are: link_send() makes one frame of a message for WSS. */
NODISCARD bool link_write(struct link *l, slice bytes);
/* More bytes into in[], for WSS into ws->raw; false: none until then, or the other side closed. */
bool link_read(struct link *l, int64_t until);

/* WebSocket over a TLS link (link_ws.c): the handshake of either side, a message out, one in. */
NODISCARD bool link_ws_ask(struct run *run, struct link *l, const char *upgrade,
                           struct tls_seen *seen);
NODISCARD bool link_ws_answer(struct link *l);
NODISCARD bool link_ws_send(struct link *l, slice message);
NODISCARD bool link_ws_put(struct link *l, const struct ws_frame *f, slice payload);
bool link_ws_message(struct link *l, int64_t until, size_t *size);

/* A context with these roots (NULL: the system's), which shows our certificate (NULL: none) where
 * it is asked for one; or NULL and why. */
struct ssl_ctx_st *tls_context(const char *ca_file, const char *certificate, char *why,
                               size_t why_len);
void tls_context_free(struct ssl_ctx_st *c);

int64_t clock_ms(void);

#endif
