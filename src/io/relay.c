/* Packets of TURN clients and their peers: see relay.h, and nat/turn.h for what is decided. */
#include "io/relay.h"

#include "io/io_internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "os/socket.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH        64u /* packet buffers of a worker */
#define SOCKET_BATCH 16u /* packets of one relayed address at a time */
#define ROUNDS       4u  /* batches per listener and turn */
#define BIND_TRIES   16u
#define PACKET_BYTES (TURN_HEADROOM + STUN_BYTES_MAX + TURN_TAILROOM)
#define STREAM_WAIT_MAX                                                                            \
    65536u /* a slow client by TCP: what he cannot take is dropped, as by UDP                      \
            */

struct relay_socket { /* one relayed address; by allocation slot and family */
    struct loop_source source;
    struct relay *relay;
    pool_id allocation;
    uint32_t account_id; /* of the first of an allocation: counted once */
    uint16_t port;
    bool is_open;
};

struct out_packet { /* waits for its batch */
    struct sockaddr_storage to;
    struct iovec iov;
    uint8_t next; /* of the same socket; BATCH: the last one */
};

struct relay_listener {
    struct loop_source source;
    struct relay *relay;
    struct addr at;
    bool is_any;
};

struct relay {
    struct io *io;
    struct relay_config config;
    struct turn *turn;
    struct rng rng;
    struct relay_listener listeners[RELAY_LISTEN_MAX];
    unsigned listener_count;
    struct relay_socket *sockets; /* [allocations_max][2] */

    char *buffers; /* BATCH * PACKET_BYTES */
    unsigned used;
    struct mmsghdr in[BATCH];
    struct udp_slot in_slots[BATCH];
    /* towards clients: whole messages of one listener at a time */
    struct mmsghdr to_client[BATCH];
    struct udp_slot client_slots[BATCH];
    struct relay_listener *client_from;
    unsigned client_count;
    /* towards peers: chained by the socket they leave from */
    struct out_packet to_peer[BATCH];
    unsigned peer_count;
    struct relay_socket *peer_from[BATCH];
    uint8_t first[BATCH], last[BATCH];
    unsigned from_count;
};

static struct relay_socket *socket_of(struct relay *r, pool_id allocation, unsigned v6) {
    return &r->sockets[2 * (size_t)allocation.slot + v6];
}

/* ---- towards clients ---- */

static void flush_clients(struct relay *r) {
    unsigned at = 0;
    while (at < r->client_count) {
        int n = sendmmsg(r->client_from->source.fd, r->to_client + at, r->client_count - at,
                         MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        at += n > 0 ? (unsigned)n : 1; /* what cannot be sent is lost, as packets may be */
    }
    r->client_count = 0;
}

static struct relay_listener *listener_to(struct relay *r, const struct addr *local) {
    for (unsigned i = 0; i < r->listener_count; i++) {
        struct relay_listener *l = &r->listeners[i];
        if (l->at.family == local->family && l->at.port == local->port &&
            (l->is_any || addr_ip_eq(&l->at, local)))
            return l;
    }
    return NULL;
}

static void say_by_stream(struct relay *r, uint64_t stream, slice bytes) {
    pool_id id = { (uint32_t)(stream >> 32), (uint32_t)stream };
    struct conn *c = pool_get(&r->io->conn_pool, id);
    if (!c || c->state != CONN_TURN) return;
    size_t waiting = c->outbox ? c->outbox->len - c->outbox->at : 0;
    if (waiting >= STREAM_WAIT_MAX) return;
    conn_say(c, bytes);
    conn_flush(c); /* a record for each: coturn's client takes what comes in one for one message */
}

/* The bytes must stay where they are until the flush. */
static void say_to_client(struct relay *r, const struct turn_tuple *to, slice bytes) {
    if (to->stream) {
        say_by_stream(r, to->stream, bytes);
        return;
    }
    struct relay_listener *l = listener_to(r, &to->local);
    if (!l) return;
    if (r->client_count == BATCH || (r->client_count && r->client_from != l)) flush_clients(r);
    unsigned i = r->client_count++;
    struct udp_slot *s = &r->client_slots[i];
    struct msghdr *m = &r->to_client[i].msg_hdr;
    r->client_from = l;
    s->iov = (struct iovec){ (void *)(uintptr_t)bytes.ptr, bytes.len };
    *m = (struct msghdr){ .msg_name = &s->peer, .msg_iov = &s->iov, .msg_iovlen = 1 };
    m->msg_namelen = addr_to_sockaddr(&to->peer, &s->peer);
    if (l->is_any) {
        memset(s->control, 0, sizeof s->control);
        m->msg_control = s->control;
        m->msg_controllen = sizeof s->control;
        udp_write_local(m, &to->local);
    }
}

/* ---- towards peers ---- */

static void flush_socket(struct relay *r, struct relay_socket *s, uint8_t first) {
    struct mmsghdr out[BATCH];
    unsigned n = 0, at = 0;
    for (unsigned i = first; i < BATCH; i = r->to_peer[i].next) {
        struct out_packet *p = &r->to_peer[i];
        socklen_t len =
            p->to.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        out[n++].msg_hdr = (struct msghdr){
            .msg_name = &p->to, .msg_namelen = len, .msg_iov = &p->iov, .msg_iovlen = 1
        };
    }
    if (n == 1) { /* one packet of each of many calls: the plain call is the cheaper one */
        (void)sendmsg(s->source.fd, &out[0].msg_hdr, MSG_DONTWAIT);
        return;
    }
    while (at < n) {
        int done = sendmmsg(s->source.fd, out + at, n - at, MSG_DONTWAIT);
        if (done < 0 && errno == EINTR) continue;
        at += done > 0 ? (unsigned)done : 1;
    }
}

static void flush_peers(struct relay *r) {
    for (unsigned i = 0; i < r->from_count; i++)
        if (r->peer_from[i]->is_open) flush_socket(r, r->peer_from[i], r->first[i]);
    r->from_count = r->peer_count = 0;
}

/* Buffers are free again once all that points into them has left. */
static void flush(struct relay *r) {
    flush_peers(r);
    flush_clients(r);
    r->used = 0;
}

static void perform(struct relay *r, const struct turn_out *out, struct now now);

/* RFC 8656's other end may be another client of ours: handed over without leaving the process, when
 * its sockets are this worker's. Between workers, and for what was told an address that is not the
 * bound one, the kernel carries it. */
static bool hand_over(struct relay *r, const struct turn_out *out, struct addr *to,
                      struct now now) {
    struct port_owner owner;
    struct turn_out in;
    if (!ports_owner(r->config.ports, to, &owner)) return false;
    if (owner.worker != r->io->worker) {
        uint16_t port = to->port;
        *to = r->config.bind[to->family == ADDR_V6];
        to->port = port;
        return false;
    }
    struct addr from = *ports_relay(r->config.ports, to->family);
    from.port = socket_of(r, out->allocation, to->family == ADDR_V6)->port;
    turn_from_peer(r->turn, owner.allocation, &from, (char *)(uintptr_t)out->bytes.ptr,
                   out->bytes.len, now, &in);
    perform(r, &in, now);
    return true;
}

/* RFC 8656 14: the bit is the socket's, and hardly anybody asks for it. */
static void send_whole(struct relay_socket *s, const struct addr *to, slice bytes) {
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(to, &sa);
    socket_set_fragments(s->source.fd, to->family, false);
    (void)sendto(s->source.fd, bytes.ptr, bytes.len, MSG_DONTWAIT, (struct sockaddr *)&sa, len);
    socket_set_fragments(s->source.fd, to->family, true);
}

static void say_to_peer(struct relay *r, const struct turn_out *out, struct now now) {
    struct addr to = out->peer;
    if (hand_over(r, out, &to, now)) return;
    struct relay_socket *s = socket_of(r, out->allocation, to.family == ADDR_V6);
    if (!s->is_open) return;
    if (out->dont_fragment) {
        send_whole(s, &to, out->bytes);
        return;
    }
    if (r->peer_count == BATCH) flush_peers(r);
    uint8_t i = (uint8_t)r->peer_count++;
    struct out_packet *p = &r->to_peer[i];
    p->iov = (struct iovec){ (void *)(uintptr_t)out->bytes.ptr, out->bytes.len };
    p->next = BATCH;
    (void)addr_to_sockaddr(&to, &p->to);
    for (unsigned k = r->from_count; k-- > 0;) /* most often it is the last one */
        if (r->peer_from[k] == s) {
            r->to_peer[r->last[k]].next = i;
            r->last[k] = i;
            return;
        }
    r->peer_from[r->from_count] = s;
    r->first[r->from_count] = r->last[r->from_count] = i;
    r->from_count++;
}

/* ---- sockets of an allocation ---- */

static void relay_socket_ready(struct loop_source *source, unsigned events);

static void relayed_close(struct relay *r, struct relay_socket *s, uint8_t family) {
    if (!s->is_open) return;
    loop_del(r->io->loop, &s->source);
    close(s->source.fd);
    ports_release(r->config.ports, family, s->port);
    s->is_open = false;
}

static void allocation_close(struct relay *r, pool_id allocation) {
    struct relay_socket *s = socket_of(r, allocation, 0);
    flush_peers(r);
    relayed_close(r, s, ADDR_V4);
    relayed_close(r, s + 1, ADDR_V6);
    ports_account_give(r->config.ports, s->account_id);
}

static enum err relayed_watch(struct relay *r, struct relay_socket *s, pool_id allocation, int fd,
                              uint16_t port) {
    *s = (struct relay_socket){ .source = { .on_ready = relay_socket_ready, .fd = fd },
                                .relay = r,
                                .allocation = allocation,
                                .port = port };
    enum err err = loop_add(r->io->loop, &s->source, LOOP_READ);
    s->is_open = err == ERR_OK;
    return err;
}

static enum err bind_one(struct relay *r, unsigned v6, uint16_t port, int *out_fd) {
    struct addr at = r->config.bind[v6];
    at.port = port;
    return socket_bind_relay(&at, out_fd);
}

/* The neighbour of an even port, bound and ours; false: taken by somebody. */
static bool bind_next(struct relay *r, unsigned v6, uint16_t port, const struct port_owner *owner,
                      int *out_fd) {
    uint8_t family = v6 ? ADDR_V6 : ADDR_V4;
    if (ports_claim_one(r->config.ports, family, port, owner) != ERR_OK) return false;
    if (bind_one(r, v6, port, out_fd) == ERR_OK) return true;
    ports_release(r->config.ports, family, port);
    return false;
}

/* A port, bound, and with `reserve` its neighbour too. Others of this machine may sit on some. */
static enum err bind_ports(struct relay *r, const struct turn_out *out, unsigned v6,
                           uint16_t *out_port, int *out_fd, int *out_next) {
    uint8_t family = v6 ? ADDR_V6 : ADDR_V4;
    const struct port_owner owner = { (uint8_t)r->io->worker, out->allocation };
    for (unsigned i = 0; i < BIND_TRIES; i++) {
        enum err err =
            ports_claim(r->config.ports, family, out->ask.even_port, &owner, &r->rng, out_port);
        if (err != ERR_OK) return err;
        if (bind_one(r, v6, *out_port, out_fd) == ERR_OK) {
            if (!out->ask.reserve || bind_next(r, v6, (uint16_t)(*out_port + 1), &owner, out_next))
                return ERR_OK;
            close(*out_fd);
        }
        ports_release(r->config.ports, family, *out_port);
    }
    return ERR_FULL;
}

static bool keep_next(struct relay *r, const struct turn_out *out, const struct addr *relayed,
                      int fd, struct turn_made *made) {
    struct reservation kept = { .account_id = out->ask.account_id, .relayed = *relayed, .fd = fd };
    kept.relayed.port++;
    made->has_token = ports_reserve(r->config.ports, &kept, &r->rng, r->io->now.mono) == ERR_OK;
    memcpy(made->token, kept.token, sizeof made->token);
    if (made->has_token) return true;
    close(fd);
    ports_release(r->config.ports, relayed->family, kept.relayed.port);
    return false;
}

/* A relayed address of that family, and with `reserve` its neighbour for later. */
static enum err relayed_make(struct relay *r, const struct turn_out *out, unsigned v6,
                             struct turn_made *made) {
    struct relay_socket *s = socket_of(r, out->allocation, v6);
    struct addr *relayed = v6 ? &made->v6 : &made->v4;
    uint16_t port;
    int fd, next = -1;
    enum err err = bind_ports(r, out, v6, &port, &fd, &next);
    if (err != ERR_OK) return err;
    struct addr told = *ports_relay(r->config.ports, v6 ? ADDR_V6 : ADDR_V4);
    told.port = port;
    if (next >= 0 && !keep_next(r, out, &told, next, made)) err = ERR_FULL;
    if (err == ERR_OK) err = relayed_watch(r, s, out->allocation, fd, port);
    if (err == ERR_OK) {
        *relayed = told;
        return ERR_OK;
    }
    close(fd);
    ports_release(r->config.ports, told.family, port);
    return err;
}

static enum err relayed_redeem(struct relay *r, const struct turn_out *out,
                               struct turn_made *made) {
    struct reservation kept;
    enum err err =
        ports_redeem(r->config.ports, out->ask.token, out->ask.account_id, r->io->now.mono, &kept);
    if (err != ERR_OK) return ERR_IO;
    unsigned v6 = kept.relayed.family == ADDR_V6;
    struct port_owner owner = { (uint8_t)r->io->worker, out->allocation };
    ports_set_owner(r->config.ports, kept.relayed.family, kept.relayed.port, &owner);
    err = relayed_watch(r, socket_of(r, out->allocation, v6), out->allocation, kept.fd,
                        kept.relayed.port);
    if (err != ERR_OK) {
        close(kept.fd);
        ports_release(r->config.ports, kept.relayed.family, kept.relayed.port);
        return err;
    }
    *(v6 ? &made->v6 : &made->v4) = kept.relayed;
    return ERR_OK;
}

static enum err relayed_make_all(struct relay *r, const struct turn_out *out,
                                 struct turn_made *made) {
    const struct turn_ask *ask = &out->ask;
    if (r->config.may_relay && !r->config.may_relay(r->config.ctx, ask->account_id))
        return ERR_DENIED;
    if (ports_account_take(r->config.ports, ask->account_id) != ERR_OK) return ERR_FULL;
    struct relay_socket *s = socket_of(r, out->allocation, 0);
    s[0].is_open = s[1].is_open = false;
    enum err v4 = ERR_MISSING, v6 = ERR_MISSING;
    if (ask->has_token) v4 = relayed_redeem(r, out, made);
    if (ask->v4) v4 = relayed_make(r, out, 0, made);
    if (ask->v6) v6 = relayed_make(r, out, 1, made);
    s->account_id = ask->account_id;
    if (v4 == ERR_OK || v6 == ERR_OK) return ERR_OK;
    ports_account_give(r->config.ports, ask->account_id);
    return ERR_IO;
}

static void open_allocation(struct relay *r, const struct turn_out *out, struct now now) {
    struct turn_made made = { .result = ERR_OK };
    struct turn_out answer;
    made.result = relayed_make_all(r, out, &made);
    if (turn_opened(r->turn, out->allocation, &made, now, &answer) == ERR_OK)
        perform(r, &answer, now);
    else if (made.result == ERR_OK) /* it went meanwhile */
        allocation_close(r, out->allocation);
}

/* ---- what the machine wants ---- */

static bool is_in_buffers(const struct relay *r, slice bytes) {
    uintptr_t at = (uintptr_t)bytes.ptr, from = (uintptr_t)r->buffers;
    return at >= from && at < from + BATCH * PACKET_BYTES;
}

static void perform(struct relay *r, const struct turn_out *out, struct now now) {
    switch (out->what) {
    case TURN_NOTHING:
        break;
    case TURN_TO_CLIENT:
        say_to_client(r, out->tuple, out->bytes);
        /* An answer stands in the machine's own buffer, for this moment only. */
        if (!out->tuple->stream && !is_in_buffers(r, out->bytes)) flush_clients(r);
        break;
    case TURN_TO_PEER:
        say_to_peer(r, out, now);
        break;
    case TURN_OPEN:
        open_allocation(r, out, now);
        break;
    }
}

static void close_ended(struct relay *r) {
    pool_id gone;
    while (turn_next_closed(r->turn, &gone)) allocation_close(r, gone);
}

/* ---- packets in ---- */

static char *buffer_at(const struct relay *r, unsigned i) {
    return r->buffers + (size_t)i * PACKET_BYTES + TURN_HEADROOM;
}

static int receive(struct relay *r, int fd, unsigned max, bool with_local) {
    if (r->used == BATCH) flush(r);
    unsigned room = BATCH - r->used;
    unsigned n = max < room ? max : room;
    for (unsigned i = 0; i < n; i++) {
        unsigned k = r->used + i;
        struct udp_slot *s = &r->in_slots[k];
        s->iov = (struct iovec){ buffer_at(r, k), STUN_BYTES_MAX };
        r->in[k].msg_hdr = (struct msghdr){
            .msg_name = &s->peer, .msg_namelen = sizeof s->peer, .msg_iov = &s->iov, .msg_iovlen = 1
        };
        if (!with_local) continue;
        r->in[k].msg_hdr.msg_control = s->control;
        r->in[k].msg_hdr.msg_controllen = sizeof s->control;
    }
    return recvmmsg(fd, r->in + r->used, n, MSG_DONTWAIT, NULL);
}

static void take_from_client(struct relay_listener *l, unsigned k) {
    struct relay *r = l->relay;
    struct mmsghdr *m = &r->in[k];
    struct turn_tuple from = { .local = l->at };
    struct turn_out out;
    if ((m->msg_hdr.msg_flags & MSG_TRUNC) ||
        addr_from_sockaddr(m->msg_hdr.msg_name, &from.peer) != ERR_OK)
        return;
    if (l->is_any) udp_read_local(&m->msg_hdr, &from.local);
    turn_from_client(r->turn, &from, slice_of(buffer_at(r, k), m->msg_len), r->io->now, &out);
    perform(r, &out, r->io->now);
}

static void listener_readable(struct loop_source *source, unsigned events) {
    (void)events;
    struct relay_listener *l = LIST_ITEM(source, struct relay_listener, source);
    struct relay *r = l->relay;
    for (unsigned round = 0; round < ROUNDS; round++) {
        flush(r); /* what is in the buffers must not be flushed while it is being read */
        int n = receive(r, source->fd, BATCH, l->is_any);
        if (n <= 0) break;
        r->used = (unsigned)n;
        for (unsigned i = 0; i < (unsigned)n; i++) take_from_client(l, i);
        close_ended(r);
        if ((unsigned)n < BATCH) break;
    }
}

static void relay_socket_ready(struct loop_source *source, unsigned events) {
    (void)events;
    struct relay_socket *s = LIST_ITEM(source, struct relay_socket, source);
    struct relay *r = s->relay;
    bool is_v6 = s == socket_of(r, s->allocation, 1);
    int n = receive(r, source->fd, SOCKET_BATCH, false);
    if (n <= 0) return; /* nothing, or an ICMP error of an earlier packet */
    unsigned first = r->used;
    r->used += (unsigned)n;
    for (unsigned k = first; k < first + (unsigned)n; k++) {
        struct addr peer;
        struct turn_out out;
        if ((r->in[k].msg_hdr.msg_flags & MSG_TRUNC) ||
            addr_from_sockaddr(r->in[k].msg_hdr.msg_name, &peer) != ERR_OK)
            continue;
        /* One of ours on another worker came from where it is bound; he knows it as it was told. */
        const struct addr *told = ports_relay(r->config.ports, peer.family);
        struct addr as_told = *told;
        struct port_owner owner;
        as_told.port = peer.port;
        if (addr_ip_eq(&peer, &r->config.bind[is_v6]) &&
            ports_owner(r->config.ports, &as_told, &owner))
            peer = as_told;
        turn_from_peer(r->turn, s->allocation, &peer, buffer_at(r, k), r->in[k].msg_len, r->io->now,
                       &out);
        perform(r, &out, r->io->now);
    }
}

/* ---- clients by stream ---- */

static uint64_t stream_of(const struct conn *c) {
    return (uint64_t)c->id.slot << 32 | c->id.gen;
}

size_t relay_take_stream(struct conn *c, slice bytes) {
    struct relay *r = c->io->relay;
    struct turn_tuple from = { .stream = stream_of(c), .peer = c->peer };
    size_t used = 0;
    while (c->state == CONN_TURN) {
        struct turn_out out;
        slice rest = slice_from(bytes, used);
        size_t len = turn_frame(rest);
        if (len == SIZE_MAX) {
            io_count(&c->io->counters.closed_bad, 1);
            conn_finish(c);
            break;
        }
        if (len == 0 || len > rest.len) break;
        if (r->used == BATCH) flush(r);
        char *copy = buffer_at(r, r->used++); /* the payload gets its headroom, and stays */
        memcpy(copy, rest.ptr, len);
        turn_from_client(r->turn, &from, slice_of(copy, len), c->io->now, &out);
        perform(r, &out, c->io->now);
        used += len;
    }
    close_ended(r);
    return used;
}

bool relay_has_stream(const struct conn *c) {
    return turn_has(c->io->relay->turn, stream_of(c));
}

void relay_stream_gone(struct conn *c) {
    turn_stream_closed(c->io->relay->turn, stream_of(c));
    close_ended(c->io->relay);
}

/* ---- the worker's turn ---- */

void relay_end_turn(struct io *io) {
    struct relay *r = io->relay;
    struct reservation kept;
    if (!r) return;
    if (turn_wake_at(r->turn) <= io->now.mono) {
        turn_run_timers(r->turn, io->now);
        close_ended(r);
    }
    if (io->worker == 0)
        while (ports_expired(r->config.ports, io->now.mono, &kept)) close(kept.fd);
    flush(r);
}

mono_t relay_wake_at(const struct io *io) {
    return io->relay ? turn_wake_at(io->relay->turn) : MONO_NEVER;
}

void relay_account_changed(struct io *io, uint32_t account_id) {
    struct relay *r = io->relay;
    if (!r || !r->config.may_relay || r->config.may_relay(r->config.ctx, account_id)) return;
    turn_account_gone(r->turn, account_id);
    close_ended(r);
}

const struct turn_counters *io_turn_counters(const struct io *io) {
    return io->relay ? turn_counters(io->relay->turn) : NULL;
}

/* ---- making ---- */

enum err relay_new(struct io *io, const struct relay_config *config, struct relay **out) {
    uint8_t seed[32];
    struct relay *r = mem_zalloc(sizeof *r);
    if (!r) return ERR_MEMORY;
    r->io = io;
    r->config = *config;
    r->config.turn.ports = config->ports;
    crypto_random(seed, sizeof seed);
    rng_init(&r->rng, seed);
    crypto_wipe(seed, sizeof seed);
    r->turn = turn_new(&r->config.turn, io->now);
    r->sockets = mem_array(2 * (size_t)config->turn.allocations_max, sizeof *r->sockets);
    r->buffers = mem_alloc((size_t)BATCH * PACKET_BYTES);
    if (!r->turn || !r->sockets || !r->buffers) {
        relay_free(r);
        return ERR_MEMORY;
    }
    *out = r;
    return ERR_OK;
}

enum err relay_listen(struct relay *r, int fd, const struct addr *at) {
    ASSERT(r->listener_count < RELAY_LISTEN_MAX);
    struct relay_listener *l = &r->listeners[r->listener_count++];
    *l = (struct relay_listener){ .source = { .on_ready = listener_readable, .fd = fd },
                                  .relay = r,
                                  .at = *at,
                                  .is_any = addr_is_any(at) };
    return loop_add(r->io->loop, &l->source, LOOP_READ);
}

void relay_free(struct relay *r) {
    if (!r) return;
    for (unsigned i = 0; i < r->listener_count; i++) {
        loop_del(r->io->loop, &r->listeners[i].source);
        close(r->listeners[i].source.fd);
    }
    if (r->sockets)
        for (size_t i = 0; i < 2 * (size_t)r->config.turn.allocations_max; i++)
            if (r->sockets[i].is_open) relayed_close(r, &r->sockets[i], i % 2 ? ADDR_V6 : ADDR_V4);
    turn_free(r->turn);
    mem_free(r->sockets);
    mem_free(r->buffers);
    mem_free(r);
}
