/* io/io.h - one worker: it owns listeners, connections and a loop, and drives one core.
 *
 * Purpose:  bytes in, bytes out. It accepts, shakes hands, finds where messages end, hands each to
 *           core_receive() and performs the effects that come back. It decides nothing that SIP
 *           decides.
 * Turn:     wait; connections in calls first, then some of the idle ones that have sent
 *           something, then at most `handshakes_per_turn` steps of handshakes, then accepts;
 *           letters; timers; effects; one write per connection that has something to say. What
 *           several messages of a turn say to one peer leaves in one record.
 * Load:     what cannot be read yet waits in the kernel, at no cost (os/loop.h tells in what
 *           order it is read); core hears 10 times a second how much had to wait.
 * Memory:   an idle connection holds its TLS state (14 kB) and a struct of some 300 bytes, no
 *           buffers: reading and writing go through buffers of the worker. A block of heap is kept
 *           for a message that is not complete and for bytes the peer does not take yet.
 * Outward:  FX_CONNECT makes connections of our own (connect.c), which are flows as any other;
 *           FX_DNS asks a resolver that is made with the first question (ask.c).
 * Limits:   every connection has a clock on it while it owes us something: the handshake, the rest
 *           of a message, or the reading of our bytes (struct io_limits).
 * Threads:  an io belongs to the thread that calls io_run. From other threads: io_post_*, io_stop,
 *           io_drain and the counters. FX_STORE and FX_TRACE go to the daemon's hooks, on the
 *           worker's thread.
 *
 *   io_new(&config, &io, &why); io_set_peers(io, all, count); io_run(io); io_free(io);       */
#ifndef IO_IO_H
#define IO_IO_H

#include "base/addr.h"
#include "base/buf.h"
#include "core/core.h"
#include "sip/flow.h"

#include <stdatomic.h>

struct io;
struct http_request; /* http/request.h */
struct http_site;    /* http/site.h */
struct tls_client;
struct tls_server;
struct relay_config; /* io/relay.h */
struct turn_counters;
struct turn_use;

struct io_listen {
    struct addr at;
    uint8_t transport; /* FLOW_UDP, FLOW_TCP (legacy lane) or FLOW_TLS */
    uint8_t lane;      /* enum flow_lane */
    bool is_turn;      /* UDP or TCP for clients of the relay, and for nobody else */
};
#define IO_LISTEN_MAX      32
#define IO_DNS_SERVERS_MAX 8u

struct io_limits {
    uint32_t connections_max;     /* of this worker */
    uint32_t per_source_max;      /* of one IPv4 address or IPv6 /64, at this worker */
    uint32_t handshake_ms;        /* from accept to the end of the TLS handshake */
    uint32_t decide_ms;           /* from there to a start line, when ALPN named no protocol */
    uint32_t message_ms;          /* from the first to the last byte of a message */
    uint32_t connect_ms;          /* from connect() to a connection, when it is we who begin it */
    uint32_t ping_ms;             /* between pings on idle connections that we began */
    uint32_t pong_ms;             /* to the answer, where the peer has answered one before */
    uint32_t stall_ms;            /* bytes are waiting and the peer takes none */
    uint32_t linger_ms;           /* after our close, until the peer closes too */
    uint32_t out_bytes_max;       /* waiting bytes of one connection */
    uint32_t handshakes_per_turn; /* handshake steps, after the established traffic */
};
void io_limits_defaults(struct io_limits *l);

struct io_http { /* a JSON call of the page; its slices live until the hook returns */
    uint64_t ticket;
    const struct http_request *head;
    slice body;
    const struct addr *peer;
};
struct io_session { /* what opens a WebSocket: struct flow_info */
    bool has_key;
    uint8_t key[32];
    uint32_t guest; /* not 0: on_guest_gone is called with it when the WebSocket has closed */
};

struct io_hooks {
    void *ctx;
    /* Commit it, then io_post_stored(io, ticket, result), unless ticket is 0. The change lives
     * until the hook returns: store_change_copy(). */
    void (*on_store)(void *ctx, unsigned worker, const struct store_change *change,
                     uint64_t ticket);
    void (*on_trace)(void *ctx, unsigned worker, slice json);
    /* Addresses below /api/: answer it later by io_post_http. False: too much at once (503). NULL:
     * there are none. */
    bool (*on_http)(void *ctx, unsigned worker, const struct io_http *call);
    /* A WebSocket's handshake that is right so far: 101, or the status to refuse it with. NULL: any
     * from the server's own origin, without session. */
    unsigned (*on_upgrade)(void *ctx, const struct http_request *r, struct io_session *out);
    void (*on_guest_gone)(void *ctx, uint32_t guest);
};

struct io_config {
    unsigned worker;
    const struct io_listen *listen;
    size_t listen_count;
    struct tls_server *tls; /* referenced; NULL when no listener is TLS */
    /* For FX_CONNECT: judges no certificate by itself (verify_nothing) but has roots. Taken over,
     * on failure it stays the caller's; NULL: none is connected to. */
    struct tls_client *tls_client;
    const struct addr *dns_servers; /* for FX_DNS; copied */
    size_t dns_server_count;        /* 0: those of resolv.conf; at most IO_DNS_SERVERS_MAX */
    struct io_limits limits;
    struct io_hooks hooks;            /* members may be NULL */
    struct core *core;                /* the caller's; outlives the io */
    const struct relay_config *relay; /* copied; NULL: STUN and TURN are not spoken */
    const struct http_site *site;     /* outlives the io; NULL: no files */
    bool site_is_public; /* the certificate is no local CA's: HSTS; later: io_post_tls */
};

/* All sockets are open when it returns. `why` (may be NULL) names the address that failed. EXISTS,
 * DENIED, MISSING (no such local address), UNSUPPORTED, MEMORY, IO, LIMIT (too many listeners). */
NODISCARD enum err io_new(const struct io_config *config, struct io **out, struct buf *why);
void io_free(struct io *io); /* not while io_run runs; closes all; NULL is allowed */
/* Before io_run: where FX_MAIL goes. peers[n] is worker n's io; the array is copied. */
void io_set_peers(struct io *io, struct io *const *peers, unsigned count);
/* The address that listener `index` of the configuration got (port 0: chosen by the kernel). */
struct addr io_address(const struct io *io, size_t index);
struct core *io_core(struct io *io); /* on the worker's thread */
unsigned io_worker(const struct io *io);

/* Runs until io_stop, or until io_drain is through. IO: the loop itself failed. */
NODISCARD enum err io_run(struct io *io);

/* ---- from any thread ---- */

void io_stop(struct io *io); /* after the present turn; connections are closed properly */
/* No new connections or calls; ends when no request waits for its answer, at this worker or its
 * peers, or after grace_ms. FULL, MEMORY. */
NODISCARD enum err io_drain(struct io *io, uint32_t grace_ms);
/* FULL: refused (mail that must arrive has the second half of the mailbox). The bytes are copied.
 */
NODISCARD enum err io_post_mail(struct io *io, const struct core_mail *mail);
NODISCARD enum err io_post_stored(struct io *io, uint64_t ticket, enum err result);
/* Run fn on the worker's thread, between two inputs of its core. */
NODISCARD enum err io_post_call(struct io *io, void (*fn)(struct io *io, void *ctx), void *ctx);
/* New contexts for connections that begin from now on, and whether their certificate is public
 * (site_is_public); takes over the caller's references, on failure they stay the caller's. `client`
 * NULL: the old one goes on. */
NODISCARD enum err io_post_tls(struct io *io, struct tls_server *tls, struct tls_client *client,
                               bool is_public);

/* The answer to on_http: whole header lines, and JSON or nothing. A ticket of one that has gone is
 * ignored. */
NODISCARD enum err io_post_http(struct io *io, uint64_t ticket, unsigned status, slice lines,
                                slice body);

struct io_counters {              /* written by the worker, read by anybody: relaxed atomics */
    _Atomic uint64_t connections; /* now */
    _Atomic uint64_t accepted, refused_full, refused_source;
    _Atomic uint64_t handshakes_ok, handshakes_resumed, handshakes_failed, handshakes_slow;
    _Atomic uint64_t connects_up; /* now: those of `connections` that we began */
    _Atomic uint64_t connects_ok, connects_failed, closed_silent;
    _Atomic uint64_t dns_questions, dns_failures;
    _Atomic uint64_t closed_stalled, closed_unfinished, closed_bad;
    _Atomic uint64_t bytes_in, bytes_out, datagrams_in, datagrams_out, datagrams_dropped;
    _Atomic uint64_t turns, mails_refused;
    _Atomic uint64_t http_requests, http_refused, websockets; /* opened, of all time */
};
const struct io_counters *io_counters(const struct io *io);
const struct turn_counters *io_turn_counters(const struct io *io); /* NULL: no relay */
/* The relay's allocations one after the other, from *slot 0 on, and what their clients came by; on
 * the worker's thread (io_post_call). false: no more. */
bool io_turn_each(struct io *io, uint32_t *slot, struct turn_use *out, enum flow_transport *out_by);

#endif
