/* io/io_internal.h - the parts of one worker, shared by io.c, conn*.c, effects.c and udp.c. */
#ifndef IO_IO_INTERNAL_H
#define IO_IO_INTERNAL_H

#include "base/map.h"
#include "base/pool.h"
#include "base/timer.h"
#include "http/ws.h"
#include "io/frame.h"
#include "io/io.h"
#include "io/relay.h"
#include "os/loop.h"
#include "os/mailbox.h"
#include "os/tls.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define IO_WIRE_BYTES 65536u /* cipher text per read */
#define IO_PLAIN_BYTES                                                                             \
    (IO_WIRE_BYTES * 2)       /* what one wire can decrypt to, with a record kept back */
#define IO_BLOCK_BYTES 16368u /* plain text gathered for one peer: one TLS record */
#define IO_DIRTY_MAX   64u    /* peers with gathered text; then all of it is written */
#define IO_ACCEPTS     16u    /* per listener and turn */
#define IO_LETTERS     256u   /* per turn */
#define IO_PEERS_MAX   NODE_WORKERS_MAX
#define IO_FDS_KEPT    1024 /* descriptors that no phone gets: connections of ours, DNS, the store */

/* ---- a connection ---- */

enum conn_state {
    CONN_CONNECTING, /* one of ours: the kernel has not connected it yet */
    CONN_HANDSHAKE,  /* TLS is not up */
    CONN_DECIDE,     /* no protocol known: ALPN said nothing, or plain TCP */
    CONN_HTTP,       /* requests, one after the other */
    CONN_SIP,        /* core knows it as `flow` */
    CONN_TURN,       /* a client of the relay */
    CONN_CLOSING,    /* nothing is read any more; what waits is still sent */
    CONN_LINGER, /* our side is shut: waiting for the peer's end, so that no RST eats our words */
    CONN_DEAD    /* closed; memory is freed at the end of the turn */
};
enum conn_ping { PING_UNKNOWN, PING_ANSWERED, PING_SENT }; /* SENT: by one that has answered */
enum conn_timer { CONN_TIMER_READ = 1, CONN_TIMER_WRITE }; /* 0: a listener's pause */

struct out_block { /* plain text gathered in this turn */
    struct out_block *next;
    size_t len;
    char bytes[IO_BLOCK_BYTES];
};
struct outbox { /* what the kernel did not take */
    uint32_t at, len, cap;
    uint8_t bytes[];
};
struct inbox { /* a message that is not complete */
    uint32_t len, cap;
    char bytes[];
};

struct relay_link; /* relay_tcp.c */
struct conn {
    struct loop_source source;
    struct io *io;
    struct list link;  /* io->conns; io->dead when DEAD */
    struct list dirty; /* io->dirty while it has gathered text or is to be closed */
    struct list gone;  /* io->connecting while core awaits it; io->gone while core is to hear that
                        * its flow ended */
    struct tls tls;    /* ssl NULL: plain TCP */
    struct timer read_timer, write_timer;
    struct frame frame;
    flow_id flow;
    uint64_t ticket; /* ours: core's, of FX_CONNECT */
    struct inbox *inbox;
    struct out_block *out;
    struct outbox *outbox;
    struct relay_link *relayed; /* RFC 6062: the connection to a peer that this one belongs to */
    struct addr peer;
    pool_id id, source_count;
    uint8_t state; /* enum conn_state */
    uint8_t transport, lane;
    uint8_t crlf;      /* how much of CRLFCRLF has come between messages */
    bool is_http;      /* ALPN said so */
    bool is_turn;      /* came to a port of the relay: nothing else is spoken there */
    bool is_ending;    /* the peer sends no more: what is left is to be read to its end */
    bool is_ours;      /* we began it */
    bool is_awaited;   /* core waits for the answer to FX_CONNECT */
    bool is_ws;        /* SIP in WebSocket messages */
    bool is_ws_closed; /* our close frame is said */
    bool is_waiting;   /* HTTP: a JSON call is with the daemon */
    bool stays;        /* HTTP: and then the connection goes on */
    bool is_head;      /* HTTP: and it wants no body (RFC 9110 9.3.2) */
    bool is_localhost; /* HTTP: it was asked for by that name */
    bool has_begun;    /* HTTP: a request has, and its clock runs */
    uint8_t ping;      /* enum conn_ping */
    struct ws_reader ws;
    uint32_t guest; /* struct io_session */
};
_Static_assert(sizeof(struct conn) <= 400, "a connection's own memory");

struct source_count { /* connections of one source */
    uint64_t hash;
    uint8_t prefix[9]; /* family, then IPv4 address or IPv6 /64 */
    uint32_t connections;
};

struct listener {
    struct loop_source source;
    struct io *io;
    struct timer pause; /* no descriptors were left: try again later */
    struct addr at;     /* as bound */
    uint8_t transport, lane;
    bool is_turn;
};

/* Mail that a full mailbox refused. core hears of it after the present drain, because effects'
 * bytes live only until the next call to it. */
struct refused {
    struct list link;
    unsigned worker;
    struct core_mail mail; /* its bytes stand behind */
    char bytes[];
};

/* An answer that core gets after the present drain: FX_CONNECT's or FX_DNS's, that came to nothing.
 */
struct answer {
    struct list link;
    bool is_dns;
    enum err result;
    uint64_t ticket;
    const char *why; /* static */
};

struct asker;     /* ask.c */
struct udp;       /* udp.c */
struct udp_slot { /* one datagram on its way in or out */
    struct sockaddr_storage peer;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    struct iovec iov;
};

struct io {
    struct core *core;
    struct loop *loop;
    struct mailbox *mailbox;
    struct tls_server *tls;
    struct tls_client *tls_client;
    const struct http_site *site;
    bool site_is_public;
    const struct io_session *session; /* of the WebSocket that is being opened */
    struct addr dns_servers[IO_DNS_SERVERS_MAX];
    size_t dns_server_count;
    struct asker *asker; /* NULL until core asks */
    struct now now;      /* of this turn */
    struct timers timers;
    struct io_limits limits;
    struct io_hooks hooks;
    unsigned worker, peer_count;
    struct io *peers[IO_PEERS_MAX];

    struct pool conn_pool;
    struct list conns, dead, dirty, gone, refused, answers, connecting;
    uint32_t dirty_count, connecting_count;
    struct conn **by_slot; /* flow slot -> connection */
    uint32_t slot_count;

    struct hash_key hash_key;
    struct map sources;
    struct pool source_pool;

    struct tls_wire wire;
    uint8_t *wire_in, *wire_out;
    char *plain;
    struct out_block *free_blocks;
    struct udp *udp;              /* NULL when no listener is UDP */
    bool is_udp_unread;           /* a socket had more than one turn reads */
    uint32_t waited_ms, quiet_ms; /* of the one being read: since its first, its last news */
    struct relay *relay;          /* NULL: no TURN here */

    struct listener listeners[IO_LISTEN_MAX];
    size_t listener_count;
    mono_t drain_until; /* MONO_NEVER: not draining */
    mono_t drain_quiet_at;
    mono_t measured_at;
    struct loop_counters measured; /* as they stood then */
    bool is_unread;                /* since then who goes first always left something unread */
    int fd_max;                    /* who is accepted gets a number below it */
    bool is_closing;               /* nothing is begun any more */
    atomic_bool stop;
    struct io_counters counters;
};

static inline void io_count(_Atomic uint64_t *counter, uint64_t n) {
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- conn.c: life and clocks ---- */
void listener_ready(struct loop_source *s, unsigned events);
void conn_expired(struct conn *c, enum conn_timer which);
/* Core is told, nothing more is read or sent; freed at the end of the turn. */
void conn_kill(struct conn *c);
/* The same for one that failed; `why` is for the log, when it is ours. */
void conn_broken(struct conn *c, const char *why);
/* Close after what was given to it so far is sent. */
void conn_finish(struct conn *c);
void conn_reap(struct io *io);
/* The connection that carries `flow`, or NULL. */
struct conn *conn_of(const struct io *io, flow_id flow);
/* Make it known to core. False: it is closed. */
NODISCARD bool conn_open_flow(struct conn *c);
void conn_forget_flow(struct conn *c);

/* One that we begin: fd is connecting to `peer`. FULL, MEMORY, IO: fd stays the caller's. */
NODISCARD enum err conn_new_ours(struct io *io, int fd, const struct addr *peer, const char *name,
                                 slice own, uint64_t ticket);

/* ---- connect.c: those that we begin ---- */
void connect_begin(struct io *io, const struct core_effect *fx);
void connect_cancel(struct io *io, uint64_t ticket);
void connect_settled(struct conn *c); /* core awaits it no more */
void connect_failed(struct conn *c, enum err result, const char *why);
void connect_ready(struct conn *c); /* connected, or not */
void connect_expired(struct conn *c);
/* Nothing is under way on it: time for a ping, if it is ours. */
void connect_idle(struct conn *c);
void connect_ping(struct conn *c);
void answer_later(struct io *io, struct answer what);

/* ---- ask.c: DNS ---- */
void dns_ask(struct io *io, const struct core_effect *fx);
void dns_failed(struct io *io, uint64_t ticket); /* tells core */
bool dns_take(struct io *io); /* tells core of one answer; false: none is there */
void dns_run(struct io *io);
mono_t dns_wake_at(const struct io *io);
void asker_free(struct asker *a); /* NULL is allowed */

/* ---- conn_in.c ---- */
/* True when there may be more to read than was read. */
bool conn_read(struct conn *c);

void conn_receive(struct conn *c, slice message, bool is_last); /* to core */
/* Look at what waits in the inbox again. */
void conn_take_on(struct conn *c);

/* ---- conn_http.c ---- */
/* How much of the bytes is done with. */
size_t conn_take_requests(struct conn *c, slice bytes);
/* The same of a WebSocket; *len becomes less where fragments are put together. */
size_t conn_take_frames(struct conn *c, char *bytes, size_t *len);
/* What is left of the bytes stands in the inbox: set the clock. */
void conn_watch_http(struct conn *c, bool is_new);
void conn_http_answered(struct io *io, uint64_t ticket, unsigned status, slice lines, slice body);
/* A whole SIP message, or a CRLF, as the transport has it. */
void conn_say_message(struct conn *c, slice bytes);
void conn_ws_ping(struct conn *c);
void conn_ws_close(struct conn *c, unsigned code); /* says so, once */

/* ---- conn_out.c ---- */
/* Gather; written at the end of the turn. */
void conn_say(struct conn *c, slice bytes);
/* Write what was gathered. */
void conn_flush(struct conn *c);
/* Send what TLS put into the wire (alerts, handshake). */
void conn_send_wire(struct conn *c);
void conn_writable(struct conn *c);
void io_flush(struct io *io); /* all dirty connections */

/* ---- effects.c ---- */
/* Perform what core has to say, and tell it of flows and mails that came to nothing, until both are
 * done. */
void io_drain_effects(struct io *io);
bool io_owes_core(const struct io *io); /* has something to tell it */

/* ---- udp.c ---- */
NODISCARD enum err udp_new(struct io *io, struct udp **out);
void udp_free(struct udp *u);
void udp_ready(struct loop_source *s, unsigned events);
void udp_say(struct io *io, const struct flow_info *info, slice bytes);
void udp_flush(struct io *io);
/* The address of ours that a datagram came to, or is to leave from (IP_PKTINFO). */
void udp_read_local(struct msghdr *m, struct addr *local);
void udp_write_local(struct msghdr *m, const struct addr *local);

/* ---- relay.c ---- */
NODISCARD enum err relay_new(struct io *io, const struct relay_config *config, struct relay **out);
void relay_free(struct relay *r);
/* A bound socket where clients come by UDP; it is the relay's from here on. */
NODISCARD enum err relay_listen(struct relay *r, int fd, const struct addr *at);
/* Whole messages of a client by TCP or TLS; how much of `bytes` is done with. */
size_t relay_take_stream(struct conn *c, slice bytes);
bool relay_has_stream(const struct conn *c); /* has it an allocation? */
void relay_stream_gone(struct conn *c);
void relay_join(struct conn *c, const struct turn_join *join); /* RFC 6062 5.4, at its worker */
bool relay_may_read(const struct conn *c); /* false: its peer takes no more; it is read later */
void relay_stream_writable(struct conn *c);
void relay_account_changed(struct io *io, uint32_t account_id);
void relay_device_gone(struct io *io, uint32_t device_id);
void relay_end_turn(struct io *io); /* what has ended, what waits to be sent */
mono_t relay_wake_at(const struct io *io);

#endif
