/* Packets of TURN clients and their peers: see relay.h, and nat/turn.h for what is decided. */
#include "io/relay_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "os/socket.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIND_TRIES 16u
#define LISTEN_ROOM                                                                                \
    (4 << 20) /* a flood of 100,000 packets a second, while others have the core                   \
               */
/* A slow client by TCP: what he cannot take is dropped, as by UDP. */
#define STREAM_WAIT_MAX 65536u

struct relay_socket *relay_socket_of(struct relay *r, pool_id allocation, unsigned v6) {
    return &r->sockets[2 * (size_t)allocation.slot + v6];
}

/* ---- what the machine wants ---- */

static void open_allocation(struct relay *r, const struct turn_out *out, struct now now);

static struct conn *conn_of_stream(struct io *io, uint64_t stream) {
    pool_id id = { (uint32_t)(stream >> 32), (uint32_t)stream };
    return pool_get(&io->conn_pool, id);
}

void relay_say_by_stream(struct relay *r, const struct turn_out *out) {
    struct conn *c = conn_of_stream(r->io, out->tuple->stream);
    if (!c || c->state != CONN_TURN) return;
    size_t waiting = c->outbox ? c->outbox->len - c->outbox->at : 0;
    if (waiting >= STREAM_WAIT_MAX) return;
    if (out->head.len) conn_say(c, out->head);
    if (out->bytes.len) conn_say(c, out->bytes);
    if (out->pad) conn_say(c, slice_of("\0\0\0", out->pad));
    conn_flush(c); /* a record for each: coturn's client takes what comes in one for one message */
}

void relay_perform(struct relay *r, const struct turn_out *out, struct now now) {
    switch (out->what) {
    case TURN_NOTHING:
        break;
    case TURN_TO_CLIENT:
        if (out->tuple->stream)
            relay_say_by_stream(r, out);
        else
            packets_say_to_client(r, out);
        break;
    case TURN_TO_PEER:
        packets_say_to_peer(r, out, now);
        break;
    case TURN_OPEN:
        open_allocation(r, out, now);
        break;
    case TURN_DIAL:
        links_dial(r, out, now);
        break;
    case TURN_JOIN: /* relay_take_stream() looks at it itself */
        break;
    }
}

/* ---- sockets of an allocation ---- */

/* One of ours on another worker came from where it is bound; he knows it as it was told. */
void relay_peer_as_told(const struct relay *r, struct addr *peer) {
    struct port_owner owner;
    struct addr told = *ports_relay(r->config.ports, peer->family);
    told.port = peer->port;
    if (addr_ip_eq(peer, &r->config.bind[peer->family == ADDR_V6]) &&
        ports_owner(r->config.ports, &told, &owner))
        *peer = told;
}

static void relayed_close(struct relay *r, struct relay_socket *s, uint8_t family) {
    if (!s->is_open) return;
    loop_del(r->io->loop, &s->out.source);
    close(s->out.source.fd);
    ports_release(r->config.ports, family, s->port);
    s->is_open = false;
}

static void allocation_close(struct relay *r, pool_id allocation) {
    struct relay_socket *s = relay_socket_of(r, allocation, 0);
    /* Before the client hears that it ended: he may ask for the next one at another worker. */
    ports_account_give(r->config.ports, s->account_id);
    packets_flush(r);
    relayed_close(r, s, ADDR_V4);
    relayed_close(r, s + 1, ADDR_V6);
}

static enum err relayed_watch(struct relay *r, struct relay_socket *s, const struct turn_out *out,
                              int fd, uint16_t port) {
    *s = (struct relay_socket){ .out = { .source = { .on_ready = out->ask.tcp ? links_accept_ready
                                                                              : relay_socket_ready,
                                                     .fd = fd },
                                         .relay = r,
                                         .first = OUT_NONE,
                                         .last = OUT_NONE },
                                .allocation = out->allocation,
                                .port = port };
    enum err err = loop_add(r->io->loop, &s->out.source, LOOP_READ);
    s->is_open = err == ERR_OK;
    return err;
}

static enum err bind_one(struct relay *r, unsigned v6, uint16_t port, bool tcp, int *out_fd) {
    struct addr at = r->config.bind[v6];
    at.port = port;
    return tcp ? socket_listen_relay(&at, out_fd) : socket_bind_relay(&at, out_fd);
}

/* The neighbour of an even port, bound and ours; false: taken by somebody. */
static bool bind_next(struct relay *r, unsigned v6, uint16_t port, const struct port_owner *owner,
                      int *out_fd) {
    uint8_t family = v6 ? ADDR_V6 : ADDR_V4;
    if (ports_claim_one(r->config.ports, family, port, owner) != ERR_OK) return false;
    if (bind_one(r, v6, port, false, out_fd) == ERR_OK) return true;
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
        if (bind_one(r, v6, *out_port, out->ask.tcp, out_fd) == ERR_OK) {
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
    struct relay_socket *s = relay_socket_of(r, out->allocation, v6);
    struct addr *relayed = v6 ? &made->v6 : &made->v4;
    uint16_t port;
    int fd, next = -1;
    enum err err = bind_ports(r, out, v6, &port, &fd, &next);
    if (err != ERR_OK) return err;
    struct addr told = *ports_relay(r->config.ports, v6 ? ADDR_V6 : ADDR_V4);
    told.port = port;
    if (next >= 0 && !keep_next(r, out, &told, next, made)) err = ERR_FULL;
    if (err == ERR_OK) err = relayed_watch(r, s, out, fd, port);
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
    err =
        relayed_watch(r, relay_socket_of(r, out->allocation, v6), out, kept.fd, kept.relayed.port);
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
    if (r->config.may_relay && !r->config.may_relay(r->config.ctx, ask->account_id, ask->device_id))
        return ERR_DENIED;
    if (ports_account_take(r->config.ports, ask->account_id) != ERR_OK) return ERR_FULL;
    struct relay_socket *s = relay_socket_of(r, out->allocation, 0);
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
        relay_perform(r, &answer, now);
    else if (made.result == ERR_OK) /* it went meanwhile */
        allocation_close(r, out->allocation);
}

void relay_close_ended(struct relay *r) {
    pool_id gone;
    while (turn_next_closed(r->turn, &gone)) allocation_close(r, gone);
    links_close_ended(r);
}

/* ---- clients by stream ---- */

uint64_t relay_stream_of(const struct conn *c) {
    return (uint64_t)c->id.slot << 32 | c->id.gen;
}

/* A worker that there is not refuses nothing: we do. */
static void join_there(struct conn *c, struct turn_join *join) {
    unsigned worker = TURN_JOIN_WORKER(join->connection);
    if (worker == c->io->worker || worker >= c->io->peer_count)
        relay_join(c, join);
    else
        moves_add(c, join);
    crypto_wipe(join, sizeof *join);
}

size_t relay_take_stream(struct conn *c, slice bytes) {
    struct relay *r = c->io->relay;
    struct turn_tuple from = { .stream = relay_stream_of(c), .peer = c->peer };
    size_t used = 0;
    while (c->state == CONN_TURN && !moves_has(r, c)) {
        struct turn_out out;
        slice rest = slice_from(bytes, used);
        if (c->relayed) { /* RFC 6062 5.4: from here on it is the peer's */
            if (rest.len) link_from_client(c, rest);
            return bytes.len;
        }
        size_t len = turn_frame(rest);
        if (len == SIZE_MAX) {
            io_count(&c->io->counters.closed_bad, 1);
            conn_finish(c);
            break;
        }
        if (len == 0 || len > rest.len) break;
        char *copy = packets_buffer(r); /* it stays until it is sent */
        memcpy(copy, rest.ptr, len);
        turn_from_client(r->turn, &from, slice_of(copy, len), c->io->now, &out);
        used += len;
        relay_close_ended(r); /* as allocation_close(): before the answer */
        if (out.what == TURN_JOIN)
            join_there(c, &out.join);
        else
            relay_perform(r, &out, c->io->now);
    }
    relay_close_ended(r);
    return used;
}

bool relay_has_stream(const struct conn *c) {
    return turn_has(c->io->relay->turn, relay_stream_of(c));
}

void relay_stream_gone(struct conn *c) {
    if (c->relayed) link_client_gone(c);
    turn_stream_closed(c->io->relay->turn, relay_stream_of(c));
    relay_close_ended(c->io->relay);
}

/* ---- the worker's turn ---- */

void relay_end_turn(struct io *io) {
    struct relay *r = io->relay;
    struct reservation kept;
    if (!r) return;
    if (turn_wake_at(r->turn) <= io->now.mono) {
        turn_run_timers(r->turn, io->now);
        relay_close_ended(r);
    }
    if (io->worker == 0)
        while (ports_expired(r->config.ports, io->now.mono, &kept)) close(kept.fd);
    links_run_timers(r);
    moves_run(r);
    packets_flush(r);
}

mono_t relay_wake_at(const struct io *io) {
    const struct relay *r = io->relay;
    return r ? mono_min(turn_wake_at(r->turn), timers_wake_at(&r->pauses)) : MONO_NEVER;
}

void relay_account_changed(struct io *io, uint32_t account_id) {
    struct relay *r = io->relay;
    if (!r || !r->config.may_relay || r->config.may_relay(r->config.ctx, account_id, 0)) return;
    turn_account_gone(r->turn, account_id);
    relay_close_ended(r);
}

void relay_device_gone(struct io *io, uint32_t device_id) {
    struct relay *r = io->relay;
    if (!r) return;
    turn_device_gone(r->turn, device_id);
    relay_close_ended(r);
}

const struct turn_counters *io_turn_counters(const struct io *io) {
    return io->relay ? turn_counters(io->relay->turn) : NULL;
}

bool io_turn_each(struct io *io, uint32_t *slot, struct turn_use *out,
                  enum flow_transport *out_by) {
    if (!io->relay || !turn_each(io->relay->turn, slot, io->now, out)) return false;
    *out_by = FLOW_UDP;
    if (out->tuple.stream) {
        const struct conn *c = conn_of_stream(io, out->tuple.stream);
        *out_by = c && c->tls.ssl ? FLOW_TLS : FLOW_TCP;
    }
    return true;
}

/* ---- making ---- */

enum err relay_new(struct io *io, const struct relay_config *config, struct relay **out) {
    uint8_t seed[32];
    struct relay *r = mem_zalloc(sizeof *r);
    if (!r) return ERR_MEMORY;
    r->io = io;
    r->config = *config;
    r->config.turn.ports = config->ports;
    r->config.turn.worker = (uint8_t)io->worker;
    links_init(r);
    crypto_random(seed, sizeof seed);
    rng_init(&r->rng, seed);
    crypto_wipe(seed, sizeof seed);
    r->turn = turn_new(&r->config.turn, io->now);
    r->sockets = mem_array(2 * (size_t)config->turn.allocations_max, sizeof *r->sockets);
    r->buffers = mem_alloc((size_t)RELAY_BATCH * RELAY_PACKET_BYTES);
    r->links = mem_array(TURN_LINKS_ALL, sizeof *r->links);
    if (!r->turn || !r->sockets || !r->buffers || !r->links) {
        relay_free(r);
        return ERR_MEMORY;
    }
    packets_init(r);
    *out = r;
    return ERR_OK;
}

enum err relay_listen(struct relay *r, int fd, const struct addr *at) {
    ASSERT(r->listener_count < RELAY_LISTEN_MAX);
    struct relay_listener *l = &r->listeners[r->listener_count++];
    *l = (struct relay_listener){ .out = { .source = { .on_ready = listener_readable, .fd = fd },
                                           .relay = r,
                                           .first = OUT_NONE,
                                           .last = OUT_NONE,
                                           .with_local = addr_is_any(at) },
                                  .at = *at };
    socket_take_bursts(fd);
    socket_set_room(fd, LISTEN_ROOM);
    if (!l->out.with_local) socket_tell_local(fd, at->family, false);
    return loop_add(r->io->loop, &l->out.source, LOOP_READ);
}

void relay_free(struct relay *r) {
    if (!r) return;
    for (unsigned i = 0; i < r->listener_count; i++) {
        loop_del(r->io->loop, &r->listeners[i].out.source);
        close(r->listeners[i].out.source.fd);
    }
    if (r->sockets)
        for (size_t i = 0; i < 2 * (size_t)r->config.turn.allocations_max; i++)
            if (r->sockets[i].is_open) relayed_close(r, &r->sockets[i], i % 2 ? ADDR_V6 : ADDR_V4);
    links_fini(r);
    turn_free(r->turn);
    mem_free(r->sockets);
    mem_free(r->buffers);
    mem_free(r);
}
