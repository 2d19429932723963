/* Connections that we begin, for FX_CONNECT:
 *
 *   CONNECTING -> HANDSHAKE -> SIP, then as any other
 *       |            |
 *       +------------+-> DEAD: refused, no answer, no TLS, cancelled
 *
 * The handshake goes on with any certificate: what it says is given to core with the connection,
 * and core judges whether that is the domain it asked for (RFC 5922 7.3). Core is answered exactly
 * once, unless it cancelled. */
#include "io/io_internal.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include "os/socket.h"

/* ---- what core is told later: not in the middle of draining its effects ---- */

void answer_later(struct io *io, struct answer what) {
    struct answer *a = mem_alloc(sizeof *a);
    if (!a) return; /* core gives up waiting by itself */
    *a = what;
    list_push(&io->answers, &a->link);
}

static void connect_answer(struct io *io, uint64_t ticket, enum err result, const char *why) {
    io_count(&io->counters.connects_failed, 1);
    answer_later(io, (struct answer){ .ticket = ticket, .result = result, .why = why });
}

/* ---- beginning ---- */

static const char *words_for(enum err e) {
    switch (e) {
    case ERR_CLOSED:
        return "connection refused";
    case ERR_TIMEOUT:
        return "no answer";
    case ERR_MISSING:
    case ERR_UNSUPPORTED:
        return "no route there";
    case ERR_FULL:
    case ERR_MEMORY:
        return "this server has no room for more connections";
    default:
        return "the system refuses to connect";
    }
}

static enum err begin(struct io *io, const struct core_effect *fx) {
    char name[256];
    int fd;
    if (fx->transport != FLOW_TLS || !io->tls_client) return ERR_UNSUPPORTED;
    if (!slice_cstr(fx->name, name, sizeof name)) return ERR_BAD;
    if (io->is_closing || io->connecting_count >= LIMIT_CONNECTS) return ERR_FULL;
    enum err e = socket_connect_tcp(&fx->addr, &fd);
    if (e == ERR_UNSUPPORTED) e = ERR_MISSING; /* a system without that family has no route */
    if (e != ERR_OK) return e;
    e = conn_new_ours(io, fd, &fx->addr, name, fx->own, fx->ticket);
    if (e != ERR_OK) socket_close(fd);
    return e;
}

void connect_begin(struct io *io, const struct core_effect *fx) {
    enum err e = begin(io, fx);
    if (e != ERR_OK) connect_answer(io, fx->ticket, e, words_for(e));
}

void connect_cancel(struct io *io, uint64_t ticket) {
    for (struct list *l = io->connecting.next; l != &io->connecting; l = l->next) {
        struct conn *c = LIST_ITEM(l, struct conn, gone);
        if (c->ticket != ticket) continue;
        connect_settled(c);
        conn_kill(c);
        return;
    }
}

/* ---- on the way ---- */

void connect_settled(struct conn *c) {
    ASSERT(c->is_awaited);
    c->is_awaited = false;
    list_remove(&c->gone);
    c->io->connecting_count--;
}

void connect_failed(struct conn *c, enum err result, const char *why) {
    connect_settled(c);
    connect_answer(c->io, c->ticket, result, why);
    conn_kill(c);
}

void connect_ready(struct conn *c) {
    struct io *io = c->io;
    enum err e = socket_connected(c->source.fd);
    if (e == ERR_OK && loop_mod(io->loop, &c->source, LOOP_READ) != ERR_OK) e = ERR_IO;
    if (e != ERR_OK) {
        connect_failed(c, e, words_for(e));
        return;
    }
    c->state = CONN_HANDSHAKE;
    timer_start(&io->timers, &c->read_timer, io->now.mono + io->limits.handshake_ms);
    e = tls_handshake(&c->tls); /* makes our ClientHello */
    conn_send_wire(c);
    if (c->state != CONN_DEAD && e != ERR_AGAIN)
        connect_failed(c, ERR_CRYPTO, tls_handshake_trouble());
}

void connect_expired(struct conn *c) {
    connect_failed(c, ERR_TIMEOUT,
                   c->state == CONN_CONNECTING ? "no answer" : "the TLS handshake took too long");
}

/* ---- keep-alive (RFC 5626 4.4.1) ---- */

/* RFC 5626 4.4.1: at a random point between 80 and 100 % of the interval, so that not all
 * connections of a restarted server speak at once. */
static mono_t ping_at(const struct io *io) {
    uint32_t random;
    crypto_random(&random, sizeof random);
    uint32_t fifth = io->limits.ping_ms / 5;
    return io->now.mono + io->limits.ping_ms - (fifth ? random % fifth : 0);
}

void connect_idle(struct conn *c) {
    if (c->is_ours || c->is_ws)
        timer_start(&c->io->timers, &c->read_timer, ping_at(c->io));
    else
        timer_stop(&c->io->timers, &c->read_timer);
}

void connect_ping(struct conn *c) {
    struct io *io = c->io;
    /* RFC 5626 4.4.1: no pong within 10 s means the flow is gone. A server that has never sent one
     * may not know of pings (RFC 3261 7.5: it skips them); TCP's own keep-alive watches it. */
    if (c->ping == PING_SENT) {
        io_count(&io->counters.closed_silent, 1);
        conn_finish(c);
        return;
    }
    bool answers = c->ping == PING_ANSWERED;
    if (c->is_ws)
        conn_ws_ping(c); /* RFC 7118 6: a browser cannot send CRLFs, nor Pings of its own */
    else
        conn_say(c, SLICE("\r\n\r\n"));
    if (c->state != CONN_SIP) return;
    if (answers) c->ping = PING_SENT;
    timer_start(&io->timers, &c->read_timer,
                answers ? io->now.mono + io->limits.pong_ms : ping_at(io));
}
