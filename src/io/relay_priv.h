/* io/relay_priv.h - inside of a worker's relay: relay.c opens and closes what allocations need,
 * relay_packets.c moves datagrams, relay_tcp.c joins connections. */
#ifndef IO_RELAY_PRIV_H
#define IO_RELAY_PRIV_H

#include "io/io_internal.h"
#include "io/relay.h"

#include "crypto/crypto.h"
#include <netinet/udp.h>

/* Datagrams, or bursts of them, that are read at once. When there is much to do, that many hold
 * several of each allocation, which leave as one: sending is what a packet costs. */
#define RELAY_BATCH 128u
#define RELAY_OUT   512u /* packets that wait to be sent */
#define OUT_NONE    0xffffu
/* A burst (UDP GRO) is as long as a datagram can be; of a buffer only what was once used is memory.
 */
#define BURST_BYTES        65536u
#define RELAY_PACKET_BYTES (TURN_HEADROOM + BURST_BYTES + 64u)
#define RELAY_CONTROL_BYTES                                                                        \
    (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))) /* local address, size */

struct relay_outlet { /* a socket that packets leave from, and those that wait to */
    struct loop_source source;
    struct relay *relay;
    uint16_t first, last; /* in relay.out; OUT_NONE: nothing waits */
    bool with_local;      /* bound to all addresses: it matters which one they leave from */
};

struct relay_socket { /* one relayed address; by allocation slot and family */
    struct relay_outlet out;
    pool_id allocation;
    uint32_t account_id; /* of the first of an allocation: counted once */
    uint16_t port;
    bool is_open;
};

struct relay_link { /* a TCP connection to a peer; by the slot of the machine's link */
    struct loop_source source;
    struct relay *relay;
    struct outbox *outbox; /* what the peer does not take */
    struct timer pause;    /* until the allocation may relay more; or the last bytes are given up */
    pool_id link, client;  /* client: the connection that has joined it */
    bool is_open, is_connecting;
    bool is_waiting; /* no more is read from both: the share of the allocation is used up */
    bool is_stalled; /* no more is read from the peer: the client does not take it */
    bool is_ending;  /* the client has gone; what waits is still sent */
};

struct relay_move { /* a client's connection that is another worker's from the end of the turn on */
    struct list link;
    pool_id conn;
    struct turn_join join;
};

struct relay_listener {
    struct relay_outlet out;
    struct addr at;
};

struct relay_out { /* a packet that waits */
    struct addr to, local;
    slice bytes;
    uint16_t next, len; /* len: with head and padding */
    uint8_t head_len, pad;
    char room[TURN_HEADROOM];    /* the head stands at its end */
    char small[TURN_ANSWER_MAX]; /* an answer, copied: the machine has one buffer for all */
};

struct relay_send { /* what is given to the kernel: one message, or a burst of equal ones */
    struct sockaddr_storage to;
    _Alignas(struct cmsghdr) char control[RELAY_CONTROL_BYTES];
    uint16_t first, count; /* in relay.out */
};

struct relay {
    struct io *io;
    struct relay_config config;
    struct turn *turn;
    struct rng rng;
    struct relay_listener listeners[RELAY_LISTEN_MAX];
    unsigned listener_count;
    struct relay_socket *sockets; /* [allocations_max][2] */

    struct relay_link *links; /* [TURN_LINKS_ALL] */
    struct timers pauses;
    struct list moves;

    /* datagrams in: buffer, message and source address of each */
    char *buffers; /* RELAY_BATCH * RELAY_PACKET_BYTES */
    unsigned used; /* of them, by packets that still wait */
    struct mmsghdr in[RELAY_BATCH];
    struct iovec in_iov[RELAY_BATCH];
    struct sockaddr_storage in_from[RELAY_BATCH];
    _Alignas(struct cmsghdr) char in_control[RELAY_BATCH][RELAY_CONTROL_BYTES];

    /* datagrams out: chained by the socket that they leave from */
    struct relay_out out[RELAY_OUT];
    unsigned out_count;
    struct relay_outlet *waiting[RELAY_OUT];
    unsigned waiting_count;
    struct mmsghdr sends[RELAY_OUT];
    struct relay_send send[RELAY_OUT];
    struct iovec send_iov[RELAY_OUT * 3];
};

/* ---- relay.c ---- */
struct relay_socket *relay_socket_of(struct relay *r, pool_id allocation, unsigned v6);
/* Do what the machine wants. `room`: where the head of a packet from a peer stands. */
void relay_perform(struct relay *r, const struct turn_out *out, struct now now);
void relay_close_ended(struct relay *r);

void relay_say_by_stream(struct relay *r, const struct turn_out *out);
uint64_t relay_stream_of(const struct conn *c);
/* One of ours that came from where it is bound: as clients know it. */
void relay_peer_as_told(const struct relay *r, struct addr *peer);

/* ---- relay_tcp.c: RFC 6062 ---- */
void links_init(struct relay *r);
void links_fini(struct relay *r);
void links_dial(struct relay *r, const struct turn_out *out, struct now now);
void links_accept_ready(struct loop_source *source, unsigned events);
void links_close_ended(struct relay *r);
void links_run_timers(struct relay *r);
/* Bytes of a client whose connection has joined. */
void link_from_client(struct conn *c, slice bytes);
void link_client_gone(struct conn *c);
void moves_add(struct conn *c, const struct turn_join *join);
bool moves_has(const struct relay *r, const struct conn *c);
void moves_run(struct relay *r);

/* ---- relay_packets.c ---- */
void packets_init(struct relay *r);
/* All that waits is sent; buffers are free again. */
void packets_flush(struct relay *r);
void packets_say_to_client(struct relay *r, const struct turn_out *out);
void packets_say_to_peer(struct relay *r, const struct turn_out *out, struct now now);
/* A buffer that stays as it is until the next flush. */
char *packets_buffer(struct relay *r);
void listener_readable(struct loop_source *source, unsigned events);
void relay_socket_ready(struct loop_source *source, unsigned events);

#endif
