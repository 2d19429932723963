/* A connection's life; how those begin that are ours stands in connect.c:
 *
 *   accept -> HANDSHAKE -> DECIDE -> SIP, TURN, HTTP -> CLOSING -> LINGER -> DEAD
 *                 |  ALPN sip/2 ^      |
 *                 +-------------+      +-> DEAD (the peer closed, an error, a limit)
 *
 * The read timer runs while the peer owes us something: the handshake, a first line, the rest of a
 * message, its end of the connection. The write timer runs while bytes wait for the peer. An idle
 * SIP connection has no clock here: how long a silent flow lives is core's to say. */
#include "io/conn_move.h"
#include "io/io_internal.h"

#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "os/cert.h"
#include "os/socket.h"
#include <sys/socket.h>
#include <unistd.h>

#define TURN_IDLE_MS    60000 /* of a client without allocation */
#define ACCEPT_PAUSE_MS 100   /* descriptors are short: give others time to be closed */

/* ---- connections per source ---- */

/* RFC 6177: a site owns at least a /64, so that is one source. */
static void source_prefix(const struct addr *a, uint8_t out[static 9]) {
    memset(out, 0, 9);
    out[0] = a->family;
    memcpy(out + 1, a->ip, a->family == ADDR_V6 ? 8 : 4);
}

static struct source_count *source_find(struct io *io, const uint8_t prefix[static 9],
                                        uint64_t hash, pool_id *out) {
    struct map_iter it = map_find(&io->sources, hash);
    for (uint32_t slot; map_next(&io->sources, &it, &slot);) {
        struct source_count *s = pool_at(&io->source_pool, slot, out);
        if (s && memcmp(s->prefix, prefix, sizeof s->prefix) == 0) return s;
    }
    return NULL;
}

/* False: this source has enough connections, or memory is short. */
static bool source_take(struct io *io, const struct addr *peer, pool_id *out) {
    uint8_t prefix[9];
    source_prefix(peer, prefix);
    uint64_t hash = siphash(&io->hash_key, prefix, sizeof prefix);
    struct source_count *s = source_find(io, prefix, hash, out);
    if (s) {
        if (s->connections >= io->limits.per_source_max) return false;
        s->connections++;
        return true;
    }
    s = pool_new(&io->source_pool, out);
    if (!s) return false;
    if (map_add(&io->sources, hash, out->slot) != ERR_OK) {
        pool_free(&io->source_pool, *out);
        return false;
    }
    s->hash = hash;
    s->connections = 1;
    memcpy(s->prefix, prefix, sizeof prefix);
    return true;
}

static void source_give(struct io *io, pool_id id) {
    struct source_count *s = pool_get(&io->source_pool, id);
    ASSERT(s && s->connections > 0);
    if (--s->connections > 0) return;
    map_remove(&io->sources, s->hash, id.slot);
    pool_free(&io->source_pool, id);
}

/* ---- beginning ---- */

static void conn_ready(struct loop_source *source, unsigned events) {
    struct conn *c = LIST_ITEM(source, struct conn, source);
    if (c->state == CONN_CONNECTING) {
        connect_ready(c);
        return;
    }
    if (events & LOOP_WRITE) conn_writable(c);
    if (!(events & LOOP_READ) || c->state == CONN_DEAD) return;
    if (events & LOOP_ENDING) c->is_ending = true;
    struct io *io = c->io;
    io->waited_ms = loop_waited_ms(source, io->now.mono);
    io->quiet_ms = loop_quiet_ms(source, io->now.mono);
    if (conn_read(c) && c->state != CONN_DEAD) loop_again(io->loop, source);
    io->waited_ms = io->quiet_ms = 0;
    core_waited(io->core, 0);
}

/* Who is in a call goes first, then those who may want one, then those who want a connection. */
static uint8_t conn_rank(const struct loop_source *source) {
    const struct conn *c = LIST_ITEM(source, struct conn, source);
    switch ((enum conn_state)c->state) {
    case CONN_CONNECTING:
        return LOOP_FIRST;
    case CONN_HANDSHAKE:
        return c->is_ours ? LOOP_FIRST : LOOP_LATER;
    case CONN_DECIDE:
    case CONN_HTTP:
        return LOOP_NEXT;
    case CONN_SIP:
        return core_flow_in_call(c->io->core, c->flow) ? LOOP_FIRST : LOOP_NEXT;
    case CONN_TURN: /* media of calls */
    case CONN_CLOSING:
    case CONN_LINGER:
    case CONN_DEAD:
        return LOOP_FIRST;
    }
    return LOOP_FIRST;
}

static struct conn *conn_alloc(struct io *io, int fd, const struct addr *peer) {
    pool_id id;
    struct conn *c = pool_new(&io->conn_pool, &id);
    if (!c) return NULL;
    c->id = id;
    c->io = io;
    c->peer = *peer;
    c->source = (struct loop_source){
        .on_ready = conn_ready, .rank_now = conn_rank, .fd = fd, .is_edge = true
    };
    c->read_timer.kind = CONN_TIMER_READ;
    c->write_timer.kind = CONN_TIMER_WRITE;
    list_init(&c->dirty);
    list_init(&c->gone);
    return c;
}

/* It has its TLS state: watch it, and its clock runs. False: it is gone. */
static bool conn_start(struct conn *c, enum conn_state state, unsigned interest, uint32_t ms) {
    struct io *io = c->io;
    if (loop_add(io->loop, &c->source, interest) != ERR_OK) {
        tls_fini(&c->tls);
        pool_free(&io->conn_pool, c->id);
        return false;
    }
    list_push(&io->conns, &c->link);
    c->state = (uint8_t)state;
    timer_start(&io->timers, &c->read_timer, io->now.mono + ms);
    io_count(&io->counters.connections, 1);
    return true;
}

static struct conn *conn_new(struct listener *l, int fd, const struct addr *peer, pool_id source) {
    struct io *io = l->io;
    struct conn *c = conn_alloc(io, fd, peer);
    if (!c) return NULL;
    c->transport = l->transport;
    c->lane = l->lane;
    c->is_turn = l->is_turn;
    c->source_count = source;
    bool is_tls = l->transport == FLOW_TLS;
    if (is_tls && tls_accept(io->tls, &io->wire, &c->tls) != ERR_OK) {
        pool_free(&io->conn_pool, c->id);
        return NULL;
    }
    return conn_start(c, is_tls ? CONN_HANDSHAKE : CONN_DECIDE, LOOP_READ,
                      is_tls ? io->limits.handshake_ms : io->limits.decide_ms)
               ? c
               : NULL;
}

enum err conn_new_ours(struct io *io, int fd, const struct addr *peer, const char *name, slice own,
                       uint64_t ticket) {
    struct conn *c = conn_alloc(io, fd, peer);
    if (!c) return ERR_FULL;
    c->transport = FLOW_TLS;
    c->lane = LANE_MAIN;
    c->is_ours = true;
    enum err e = tls_connect_as(io->tls_client, &io->wire, name, own, &c->tls);
    if (e != ERR_OK) {
        pool_free(&io->conn_pool, c->id);
        return e;
    }
    if (!conn_start(c, CONN_CONNECTING, LOOP_WRITE, io->limits.connect_ms)) return ERR_IO;
    c->ticket = ticket;
    c->is_awaited = true;
    list_push(&io->connecting, &c->gone);
    io->connecting_count++;
    return ERR_OK;
}

static void conn_begin(struct listener *l, int fd, const struct addr *peer) {
    struct io *io = l->io;
    pool_id source;
    io_count(&io->counters.accepted, 1);
    if (io->conn_pool.used >= io->limits.connections_max || fd >= io->fd_max) {
        io_count(&io->counters.refused_full, 1);
        close(fd);
    } else if (!core_may_connect(io->core, peer, io->now) || !source_take(io, peer, &source)) {
        io_count(&io->counters.refused_source, 1);
        close(fd);
    } else if (!conn_new(l, fd, peer, source)) {
        io_count(&io->counters.refused_full, 1);
        source_give(io, source);
        close(fd);
    }
}

void listener_ready(struct loop_source *s, unsigned events) {
    (void)events;
    struct listener *l = LIST_ITEM(s, struct listener, source);
    for (unsigned i = 0; i < IO_ACCEPTS; i++) {
        int fd;
        struct addr peer;
        enum err e = socket_accept(l->source.fd, &fd, &peer);
        if (e == ERR_OK) {
            conn_begin(l, fd, &peer);
        } else if (e == ERR_FULL || e == ERR_MEMORY) {
            /* It stays ready: without a pause the loop would spin. */
            if (loop_mod(l->io->loop, &l->source, 0) == ERR_OK)
                timer_start(&l->io->timers, &l->pause, l->io->now.mono + ACCEPT_PAUSE_MS);
            return;
        } else if (e == ERR_AGAIN) {
            return;
        }
    }
}

/* ---- flows ---- */

struct conn *conn_of(const struct io *io, flow_id flow) {
    uint32_t slot = flow_slot(flow);
    struct conn *c = slot < io->slot_count ? io->by_slot[slot] : NULL;
    return c && c->flow == flow ? c : NULL;
}

static bool slots_reach(struct io *io, uint32_t slot) {
    if (slot < io->slot_count) return true;
    uint32_t count = io->slot_count ? io->slot_count : 1024;
    while (count <= slot) count *= 2; /* a slot has 24 bits: no overflow */
    struct conn **grown = mem_grow(io->by_slot, count * sizeof(struct conn *));
    if (!grown) return false;
    memset(grown + io->slot_count, 0, (count - io->slot_count) * sizeof(struct conn *));
    io->by_slot = grown;
    io->slot_count = count;
    return true;
}

/* What the peer has proved. Costs nothing for a phone without certificate. */
static void see_peer(struct conn *c, struct flow_info *info, struct cert_seen *seen) {
    if (c->is_ws) { /* a browser is asked for no certificate, and another's does not count */
        info->has_device_key = c->io->session && c->io->session->has_key;
        if (info->has_device_key) memcpy(info->device_key, c->io->session->key, 32);
        return;
    }
    if (!c->tls.ssl || !tls_peer_has_certificate(&c->tls)) return;
    info->has_device_key = tls_device_key(&c->tls, c->io->now.wall, info->device_key);
    if (!info->has_device_key && tls_peer_cert(&c->tls, c->io->now.wall, seen))
        info->cert = &seen->says;
}

static enum err tell_open(struct conn *c, const struct flow_info *info) {
    struct io *io = c->io;
    if (!c->is_ours) return core_flow_open(io->core, info, io->now, &c->flow);
    connect_settled(c);
    return core_connected(io->core, c->ticket, ERR_OK, NULL, info, io->now, &c->flow);
}

bool conn_open_flow(struct conn *c) {
    struct io *io = c->io;
    struct flow_info info = { .transport = c->transport, .lane = c->lane, .peer = c->peer };
    struct cert_seen seen = { 0 };
    enum err e = socket_local(c->source.fd, &info.local);
    if (e == ERR_OK) {
        see_peer(c, &info, &seen);
        e = tell_open(c, &info);
        cert_seen_fini(&seen);
    }
    if (e == ERR_OK && !slots_reach(io, flow_slot(c->flow))) {
        core_flow_closed(io->core, c->flow, io->now);
        e = ERR_MEMORY;
    }
    if (e != ERR_OK) {
        c->flow = FLOW_NONE;
        io_drain_effects(io);
        conn_kill(c);
        return false;
    }
    io->by_slot[flow_slot(c->flow)] = c;
    if (c->is_ours) io_count(&io->counters.connects_up, 1);
    c->state = CONN_SIP;
    io_drain_effects(io);
    return c->state == CONN_SIP;
}

void conn_forget_flow(struct conn *c) {
    if (c->flow == FLOW_NONE || list_linked(&c->gone)) return;
    c->io->by_slot[flow_slot(c->flow)] = NULL;
    if (c->is_ours)
        atomic_fetch_sub_explicit(&c->io->counters.connects_up, 1, memory_order_relaxed);
    list_push(&c->io->gone, &c->gone);
}

/* ---- the end ---- */

/* Its descriptor is the caller's. */
static int conn_leave(struct conn *c) {
    struct io *io = c->io;
    int fd = c->source.fd;
    c->state = CONN_DEAD;
    timer_stop(&io->timers, &c->read_timer);
    timer_stop(&io->timers, &c->write_timer);
    loop_del(io->loop, &c->source);
    c->source.fd = -1;
    list_remove(&c->link);
    list_push(&io->dead, &c->link);
    return fd;
}

void conn_kill(struct conn *c) {
    if (c->state == CONN_DEAD) return;
    if (c->is_awaited) { /* and comes back here */
        connect_failed(c, ERR_CLOSED, "the connection was closed during the TLS handshake");
        return;
    }
    if (c->state == CONN_TURN) relay_stream_gone(c);
    if (c->guest) c->io->hooks.on_guest_gone(c->io->hooks.ctx, c->guest);
    conn_forget_flow(c);
    close(conn_leave(c));
}

/* RFC 8446 4.4.2.4, 6.2: with TLS 1.3 a server judges our certificate when we are through with the
 * handshake; that it has refused it, only its alert tells. */
void conn_broken(struct conn *c, const char *why) {
    char mem[80];
    struct buf at = buf_over(mem, sizeof mem);
    addr_put(&at, &c->peer);
    if (c->is_ours && c->state == CONN_SIP)
        LOG(LOG_INFO, "peer.broken", LOG_F_SLICE("at", buf_slice(&at)), LOG_F_STR("why", why));
    conn_kill(c);
}

void conn_finish(struct conn *c) {
    struct io *io = c->io;
    if (c->state >= CONN_CLOSING) return;
    if (c->state == CONN_TURN) relay_stream_gone(c);
    conn_ws_close(c, WS_CLOSE_AWAY);
    if (c->state == CONN_DEAD) return;
    if (c->state <= CONN_HANDSHAKE) {
        conn_kill(c);
        return;
    }
    conn_forget_flow(c);
    c->state = CONN_CLOSING;
    timer_start(&io->timers, &c->read_timer, io->now.mono + io->limits.stall_ms);
    if (c->inbox) mem_free(c->inbox);
    c->inbox = NULL;
    if (!list_linked(&c->dirty)) { /* io_flush ends it */
        list_push(&io->dirty, &c->dirty);
        io->dirty_count++;
    }
}

static void conn_free(struct conn *c) {
    struct io *io = c->io;
    if (list_linked(&c->dirty)) {
        list_remove(&c->dirty);
        io->dirty_count--;
    }
    if (c->out) {
        c->out->next = io->free_blocks;
        io->free_blocks = c->out;
    }
    mem_free(c->outbox);
    mem_free(c->inbox);
    tls_fini(&c->tls);
    ASSERT(!list_linked(&c->gone)); /* core knows */
    if (!c->is_ours) source_give(io, c->source_count);
    list_remove(&c->link);
    pool_free(&io->conn_pool, c->id);
    atomic_fetch_sub_explicit(&io->counters.connections, 1, memory_order_relaxed);
}

void conn_reap(struct io *io) {
    while (!list_empty(&io->dead)) conn_free(LIST_ITEM(io->dead.next, struct conn, link));
}

/* ---- clocks ---- */

void conn_expired(struct conn *c, enum conn_timer which) {
    struct io *io = c->io;
    if (which == CONN_TIMER_WRITE) {
        io_count(&io->counters.closed_stalled, 1);
        conn_kill(c);
        return;
    }
    if (c->is_awaited) {
        connect_expired(c);
        return;
    }
    if ((c->is_ours || c->is_ws) && c->state == CONN_SIP && !c->inbox) {
        connect_ping(c);
        return;
    }
    switch ((enum conn_state)c->state) {
    case CONN_CONNECTING:
        break;
    case CONN_HANDSHAKE:
        io_count(&io->counters.handshakes_slow, 1);
        break;
    case CONN_TURN:
        if (c->relayed ||
            (c->inbox == NULL && relay_has_stream(c))) { /* its allocation has a clock of its own */
            timer_start(&io->timers, &c->read_timer, io->now.mono + TURN_IDLE_MS);
            return;
        }
        io_count(&io->counters.closed_unfinished, 1);
        break;
    case CONN_HTTP:
        if (!c->inbox && !c->is_waiting) break; /* between two requests */
        io_count(&io->counters.closed_unfinished, 1);
        break;
    case CONN_DECIDE:
    case CONN_SIP:
        io_count(&io->counters.closed_unfinished, 1);
        break;
    case CONN_CLOSING:
    case CONN_LINGER:
    case CONN_DEAD:
        break;
    }
    conn_kill(c);
}

/* ---- between workers ---- */

void conn_moved_free(struct conn_moved *m) {
    tls_fini(&m->tls);
    close(m->fd);
    mem_free(m->inbox);
    crypto_wipe(&m->join, sizeof m->join);
    mem_free(m);
}

void conn_move(struct conn *c, unsigned worker, const struct turn_join *join) {
    struct io *io = c->io;
    struct conn_moved *m = c->out || c->outbox ? NULL : mem_zalloc(sizeof *m);
    if (!m) {
        conn_kill(c);
        return;
    }
    *m = (struct conn_moved){ .tls = c->tls,
                              .peer = c->peer,
                              .inbox = c->inbox,
                              .join = *join,
                              .transport = c->transport,
                              .lane = c->lane,
                              .is_turn = c->is_turn };
    tls_detach(&m->tls);
    c->tls = (struct tls){ 0 };
    c->inbox = NULL;
    m->fd = conn_leave(c);
    if (io_post_conn(io->peers[worker], m) != ERR_OK) conn_moved_free(m);
}

void conn_move_in(struct io *io, struct conn_moved *m) {
    pool_id source;
    bool has_room = !io->is_closing && io->conn_pool.used < io->limits.connections_max &&
                    source_take(io, &m->peer, &source);
    struct conn *c = has_room ? conn_alloc(io, m->fd, &m->peer) : NULL;
    if (!c) {
        if (has_room) source_give(io, source);
        conn_moved_free(m);
        return;
    }
    c->transport = m->transport;
    c->lane = m->lane;
    c->is_turn = m->is_turn;
    c->source_count = source;
    c->tls = m->tls;
    tls_attach(&c->tls, io->tls, &io->wire);
    if (!conn_start(c, CONN_TURN, LOOP_READ, io->limits.message_ms)) {
        source_give(io, source);
        m->tls = (struct tls){ 0 };
        conn_moved_free(m);
        return;
    }
    c->inbox = m->inbox;
    relay_join(c, &m->join);
    crypto_wipe(&m->join, sizeof m->join);
    mem_free(m);
    if (c->state == CONN_TURN && c->inbox) conn_take_on(c);
}
