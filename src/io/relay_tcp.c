/* Connections to peers (RFC 6062). Nothing is read from a peer before a connection of the client
 * has joined: what comes waits in the kernel, whose window tells the peer to stop. Then each side
 * is read while the other takes it. The client's connection may have been accepted by another
 * worker: it moves to the one that has the peer's, which stands in the CONNECTION-ID. */
#include "io/conn_move.h"
#include "io/relay_priv.h"

#include "base/mem.h"
#include "os/socket.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS      16u
#define STALL_AT     65536u /* so much waits for a client: his peer is not read */
#define LAST_WAIT_MS 30000  /* a peer that does not take the last bytes */

void links_init(struct relay *r) {
    timers_init(&r->pauses, r->io->now.mono);
    list_init(&r->moves);
}

static struct conn *client_of(const struct relay_link *l) {
    return pool_id_some(l->client) ? pool_get(&l->relay->io->conn_pool, l->client) : NULL;
}

/* What is wanted of the peer's connection now. */
static void link_watch(struct relay_link *l) {
    if (!l->is_open) return;
    bool reads = pool_id_some(l->client) && !l->is_waiting && !l->is_stalled && !l->is_ending;
    unsigned interest =
        (reads ? LOOP_READ : 0u) | (l->outbox || l->is_connecting ? LOOP_WRITE : 0u);
    /* When the kernel refuses, the next event or the end of the allocation sees to it. */
    (void)!loop_mod(l->relay->io->loop, &l->source, interest);
}

static void link_close(struct relay_link *l) {
    struct relay *r = l->relay;
    struct conn *c = client_of(l);
    if (!l->is_open) return;
    l->is_open = false;
    timer_stop(&r->pauses, &l->pause);
    loop_del(r->io->loop, &l->source);
    close(l->source.fd);
    mem_free(l->outbox);
    l->outbox = NULL;
    turn_link_gone(r->turn, l->link);
    if (!c) return;
    c->relayed = NULL;
    conn_finish(c); /* RFC 6062 5.5: with the one the other; what he was told is sent before */
}

/* ---- how they begin ---- */

static void link_ready(struct loop_source *source, unsigned events);

static struct relay_link *link_open(struct relay *r, pool_id link, int fd, bool is_connecting) {
    struct relay_link *l = &r->links[link.slot];
    *l = (struct relay_link){ .source = { .on_ready = link_ready, .fd = fd },
                              .relay = r,
                              .link = link,
                              .is_connecting = is_connecting };
    l->is_open = loop_add(r->io->loop, &l->source, is_connecting ? LOOP_WRITE : 0u) == ERR_OK;
    return l->is_open ? l : NULL;
}

static void dialled(struct relay *r, pool_id link, bool ok, struct now now) {
    struct turn_out answer;
    turn_link_connected(r->turn, link, ok, now, &answer);
    relay_perform(r, &answer, now);
}

void links_dial(struct relay *r, const struct turn_out *out, struct now now) {
    pool_id link = out->link;
    struct addr to = out->peer, from = r->config.bind[to.family == ADDR_V6];
    struct port_owner owner;
    int fd;
    from.port = relay_socket_of(r, out->allocation, to.family == ADDR_V6)->port;
    if (ports_owner(r->config.ports, &to, &owner)) { /* one of ours is where it is bound */
        uint16_t port = to.port;
        to = r->config.bind[to.family == ADDR_V6];
        to.port = port;
    }
    if (socket_connect_from(&from, &to, &fd) != ERR_OK) {
        dialled(r, link, false, now);
    } else if (!link_open(r, link, fd, true)) {
        close(fd);
        dialled(r, link, false, now);
    }
}

static void link_arrived(struct relay_socket *s, int fd, struct addr *peer) {
    struct relay *r = s->out.relay;
    struct turn_out out;
    pool_id link;
    relay_peer_as_told(r, peer);
    if (fd >= r->io->fd_max ||
        turn_link_arrived(r->turn, s->allocation, peer, r->io->now, &out, &link) != ERR_OK) {
        close(fd); /* RFC 6062 5.3: at once, without permission */
    } else if (!link_open(r, link, fd, false)) {
        close(fd);
        turn_link_gone(r->turn, link);
    } else {
        relay_perform(r, &out, r->io->now);
    }
}

void links_accept_ready(struct loop_source *source, unsigned events) {
    (void)events;
    struct relay_socket *s = LIST_ITEM(source, struct relay_socket, out.source);
    for (unsigned i = 0; i < ACCEPTS && s->is_open; i++) {
        int fd;
        struct addr peer;
        enum err err = socket_accept(source->fd, &fd, &peer);
        if (err == ERR_OK)
            link_arrived(s, fd, &peer);
        else if (err != ERR_IO)
            break;
    }
    relay_close_ended(s->out.relay);
}

/* ---- what flows ---- */

static void link_resume(struct relay_link *l) {
    struct conn *c = client_of(l);
    l->is_waiting = false;
    link_watch(l);
    if (c) loop_again(l->relay->io->loop, &c->source);
}

static void link_spent(struct relay_link *l, size_t bytes, bool is_up) {
    struct relay *r = l->relay;
    int64_t wait_ms = turn_link_spend(r->turn, l->link, bytes, is_up, r->io->now);
    if (wait_ms <= 0) return;
    l->is_waiting = true;
    timer_start(&r->pauses, &l->pause, r->io->now.mono + wait_ms);
}

static size_t waiting_for(const struct conn *c) {
    return c->outbox ? c->outbox->len - c->outbox->at : 0;
}

static void link_read(struct relay_link *l) {
    struct conn *c = client_of(l);
    struct io *io = l->relay->io;
    if (!c) return;
    ssize_t n = recv(l->source.fd, io->plain, IO_WIRE_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        link_close(l);
        return;
    }
    conn_say(c, slice_of(io->plain, (size_t)n));
    conn_flush(c);
    if (!l->is_open) return; /* the client has gone on the way */
    link_spent(l, (size_t)n, false);
    l->is_stalled = waiting_for(c) >= STALL_AT;
    link_watch(l);
}

static void link_write(struct relay_link *l) {
    struct outbox *o = l->outbox;
    if (!o) return;
    ssize_t n = send(l->source.fd, o->bytes + o->at, o->len - o->at, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n > 0) o->at += (uint32_t)n;
    if (n >= 0 && o->at < o->len) return;
    l->outbox = NULL;
    mem_free(o);
    if (n < 0 || l->is_ending)
        link_close(l);
    else if (l->is_waiting)
        link_watch(l);
    else
        link_resume(l);
}

static void link_ready(struct loop_source *source, unsigned events) {
    struct relay_link *l = LIST_ITEM(source, struct relay_link, source);
    struct relay *r = l->relay;
    if (l->is_connecting) {
        bool ok = socket_connected(source->fd) == ERR_OK;
        l->is_connecting = false;
        dialled(r, l->link, ok, r->io->now);
        link_watch(l);
        if (!ok) link_close(l);
        return;
    }
    if ((events & LOOP_BROKEN) && !(l->source.interest & LOOP_READ)) {
        link_close(l);
        return;
    }
    if (events & LOOP_WRITE) link_write(l);
    if (l->is_open && (events & LOOP_READ)) link_read(l);
}

/* Nothing waits before these: relay_may_read(). */
void link_from_client(struct conn *c, slice bytes) {
    struct relay_link *l = c->relayed;
    ssize_t n = l->outbox ? 0 : send(l->source.fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        link_close(l);
        return;
    }
    link_spent(l, bytes.len, true);
    slice rest = slice_from(bytes, n > 0 ? (size_t)n : 0);
    if (rest.len) {
        size_t have = l->outbox ? l->outbox->len : 0;
        struct outbox *o = mem_grow(l->outbox, sizeof *o + have + rest.len);
        if (!o) {
            link_close(l);
            return;
        }
        if (!l->outbox) *o = (struct outbox){ 0 };
        memcpy(o->bytes + have, rest.ptr, rest.len);
        o->len = (uint32_t)(have + rest.len);
        l->outbox = o;
    }
    link_watch(l);
}

bool relay_may_read(const struct conn *c) {
    return !c->relayed->outbox && !c->relayed->is_waiting;
}

void relay_stream_writable(struct conn *c) {
    c->relayed->is_stalled = false;
    link_watch(c->relayed);
}

/* ---- how they end ---- */

void link_client_gone(struct conn *c) {
    struct relay_link *l = c->relayed;
    c->relayed = NULL;
    l->client = POOL_ID_NONE;
    l->is_ending = true;
    if (!l->outbox) {
        link_close(l);
        return;
    }
    timer_start(&l->relay->pauses, &l->pause, l->relay->io->now.mono + LAST_WAIT_MS);
    link_watch(l);
}

void links_close_ended(struct relay *r) {
    pool_id link;
    bool is_late;
    while (turn_next_link(r->turn, &link, &is_late)) {
        struct relay_link *l = &r->links[link.slot];
        bool is_here = l->is_open && pool_id_eq(l->link, link);
        if (is_late) dialled(r, link, false, r->io->now);
        if (is_here) link_close(l);
        turn_link_gone(r->turn, link);
    }
}

void links_run_timers(struct relay *r) {
    timers_advance(&r->pauses, r->io->now.mono);
    for (struct timer *due; (due = timers_next(&r->pauses));) {
        struct relay_link *l = LIST_ITEM(due, struct relay_link, pause);
        if (l->is_ending)
            link_close(l);
        else
            link_resume(l);
    }
}

void links_fini(struct relay *r) {
    for (struct list *at; r->moves.next && (at = list_pop(&r->moves));)
        mem_free(LIST_ITEM(at, struct relay_move, link));
    for (size_t i = 0; r->links && i < TURN_LINKS_ALL; i++)
        if (r->links[i].is_open) link_close(&r->links[i]);
    mem_free(r->links);
}

/* ---- joining ---- */

void relay_join(struct conn *c, const struct turn_join *join) {
    struct relay *r = c->io->relay;
    struct turn_tuple tuple = { .stream = relay_stream_of(c), .peer = c->peer };
    struct turn_out out;
    pool_id link;
    enum err err = turn_join(r->turn, join, c->io->now, &out, &link);
    out.tuple = &tuple;
    relay_perform(r, &out, c->io->now);
    if (err != ERR_OK) return;
    struct relay_link *l = &r->links[link.slot];
    ASSERT(l->is_open && pool_id_eq(l->link, link));
    if (c->state != CONN_TURN) {
        link_close(l);
        return;
    }
    l->client = c->id;
    c->relayed = l;
    link_watch(l);
}

void moves_add(struct conn *c, const struct turn_join *join) {
    struct relay_move *m = mem_zalloc(sizeof *m);
    if (!m) {
        conn_kill(c);
        return;
    }
    m->conn = c->id;
    m->join = *join;
    list_push(&c->io->relay->moves, &m->link);
}

bool moves_has(const struct relay *r, const struct conn *c) {
    for (struct list *at = r->moves.next; at != &r->moves; at = at->next)
        if (pool_id_eq(LIST_ITEM(at, struct relay_move, link)->conn, c->id)) return true;
    return false;
}

void moves_run(struct relay *r) {
    for (struct list *at; (at = list_pop(&r->moves));) {
        struct relay_move *m = LIST_ITEM(at, struct relay_move, link);
        struct conn *c = pool_get(&r->io->conn_pool, m->conn);
        if (c && c->state == CONN_TURN)
            conn_move(c, TURN_JOIN_WORKER(m->join.connection), &m->join);
        crypto_wipe(&m->join, sizeof m->join);
        mem_free(m);
    }
}
