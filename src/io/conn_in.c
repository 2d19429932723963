#include "io/io_internal.h"

#include "base/limits.h"
#include "base/mem.h"
#include <errno.h>
#include <sys/socket.h>

/* ---- messages ---- */

static void bad_stream(struct conn *c, slice head, const char *why) {
    struct io *io = c->io;
    io_count(&io->counters.closed_bad, 1);
    /* With a head core can answer 400 or 513; where the next message begins nobody knows. */
    if (head.len) core_receive(io->core, c->flow, head, io->now);
    io_drain_effects(io);
    if (c->state == CONN_SIP) core_bad_stream(io->core, c->flow, why, io->now);
    io_drain_effects(io);
    conn_finish(c);
}

/* Where we are the client, line ends are answers to our pings and are not answered. */
static size_t take_pongs(struct conn *c, slice bytes) {
    size_t i = 0;
    while (i < bytes.len && (bytes.ptr[i] == '\r' || bytes.ptr[i] == '\n')) i++;
    if (i && c->state == CONN_SIP) {
        c->ping = PING_ANSWERED;
        core_flow_heard(c->io->core, c->flow, c->io->now);
    }
    return i;
}

/* Who gave up and tries again has said both here before we read: only what came last is as young as
 * the last that was heard of him. */
void conn_receive(struct conn *c, slice message, bool is_last) {
    struct io *io = c->io;
    core_waited(io->core, is_last ? io->quiet_ms : io->waited_ms);
    core_receive(io->core, c->flow, message, io->now);
    io_drain_effects(io);
}

/* Skips line ends between messages. RFC 5626 4.4.1: a double CRLF is a ping, the answer is one. */
static size_t take_line_ends(struct conn *c, slice bytes) {
    if (c->is_ours) return take_pongs(c, bytes);
    size_t i = 0;
    bool is_ping = false;
    for (; i < bytes.len && (bytes.ptr[i] == '\r' || bytes.ptr[i] == '\n'); i++) {
        char wanted = c->crlf % 2 ? '\n' : '\r';
        c->crlf = bytes.ptr[i] == wanted ? (uint8_t)(c->crlf + 1) : bytes.ptr[i] == '\r';
        if (c->crlf < 4) continue;
        c->crlf = 0;
        is_ping = true;
        conn_say(c, SLICE("\r\n"));
    }
    if (is_ping && c->state == CONN_SIP) core_flow_heard(c->io->core, c->flow, c->io->now);
    if (i < bytes.len) c->crlf = 0;
    return i;
}

/* True when SIP may be read from here on. */
static bool decide(struct conn *c, slice bytes) {
    enum frame_protocol p = c->is_http ? PROTOCOL_HTTP : frame_protocol(bytes);
    if (c->is_turn && p != PROTOCOL_STUN && p != PROTOCOL_UNKNOWN_YET) p = PROTOCOL_NONE;
    switch (p) {
    case PROTOCOL_UNKNOWN_YET:
        return false;
    case PROTOCOL_SIP:
        timer_stop(&c->io->timers, &c->read_timer);
        return conn_open_flow(c);
    case PROTOCOL_HTTP:
        if (c->transport != FLOW_TLS || c->lane != LANE_MAIN) break;
        c->state = CONN_HTTP;
        return false;
    case PROTOCOL_STUN:
        if (!c->io->relay) break;
        c->state = CONN_TURN;
        timer_start(&c->io->timers, &c->read_timer, c->io->now.mono + c->io->limits.message_ms);
        return false;
    case PROTOCOL_NONE:
        break;
    }
    io_count(&c->io->counters.closed_bad, 1);
    conn_finish(c);
    return false;
}

/* Hands over every whole message in `bytes`; how much of it is done with. */
static size_t take_sip(struct conn *c, slice bytes) {
    size_t used = 0, len;
    const char *why;
    while ((c->state == CONN_SIP && !c->is_ws) || c->state == CONN_DECIDE) {
        slice rest = slice_from(bytes, used);
        if (c->frame.scanned == 0 && c->frame.need == 0) {
            used += take_line_ends(c, rest);
            rest = slice_from(bytes, used);
        }
        if (rest.len == 0 || (c->state == CONN_DECIDE && !decide(c, rest))) break;
        enum frame_state s = frame_find(&c->frame, rest, &len, &why);
        if (s == FRAME_MORE) break;
        c->frame = (struct frame){ 0 };
        if (s == FRAME_BAD) {
            bad_stream(c, slice_head(rest, len), why);
            break;
        }
        conn_receive(c, slice_head(rest, len), len == rest.len);
        used += len;
    }
    return used;
}

/* One protocol may follow another: a first line decides, a request opens a WebSocket. */
static size_t take_messages(struct conn *c, char *bytes, size_t *len) {
    size_t used = take_sip(c, slice_of(bytes, *len));
    if (c->state == CONN_HTTP) used += conn_take_requests(c, slice_of(bytes + used, *len - used));
    if (c->state == CONN_TURN) used += relay_take_stream(c, slice_of(bytes + used, *len - used));
    if (c->state == CONN_SIP && c->is_ws) {
        size_t rest = *len - used, n = conn_take_frames(c, bytes + used, &rest);
        *len = used + rest;
        used += n;
    }
    return used;
}

/* ---- what is not complete ---- */

static bool inbox_add(struct conn *c, slice bytes) {
    struct inbox *in = c->inbox;
    size_t have = in ? in->len : 0;
    size_t need = have + bytes.len;
    if (!in || need > in->cap) {
        size_t cap = in ? in->cap * 2u : 1024u;
        if (cap < need) cap = need;
        if (c->frame.need > cap) cap = c->frame.need; /* known: one piece of memory for all of it */
        in = mem_grow(in, sizeof *in + cap);
        if (!in) return false;
        c->inbox = in;
        in->cap = (uint32_t)cap;
    }
    if (bytes.len) memcpy(in->bytes + have, bytes.ptr, bytes.len);
    in->len = (uint32_t)need;
    return true;
}

static void inbox_drop(struct conn *c, size_t used) {
    struct inbox *in = c->inbox;
    if (!in) return; /* the connection was closed meanwhile */
    in->len -= (uint32_t)used;
    if (in->len)
        memmove(in->bytes, in->bytes + used, in->len);
    else {
        c->inbox = NULL;
        mem_free(in);
    }
}

/* The rest of a message has message_ms from its first byte on; each new message its own time. */
static void watch_rest(struct conn *c, bool is_new) {
    struct io *io = c->io;
    if (c->state == CONN_TURN && !c->inbox) /* then conn_expired asks for an allocation */
        timer_start(&io->timers, &c->read_timer, io->now.mono + io->limits.message_ms);
    if (c->state == CONN_HTTP) conn_watch_http(c, is_new);
    if (c->state != CONN_SIP) return; /* DECIDE has its own clock, a closing one too */
    if (!c->inbox)
        connect_idle(c);
    else if (is_new || !c->read_timer.armed)
        timer_start(&io->timers, &c->read_timer, io->now.mono + io->limits.message_ms);
}

/* Bytes of the stream, in order. */
static void take(struct conn *c, char *bytes, size_t len) {
    if (!c->inbox) {
        size_t used = take_messages(c, bytes, &len);
        slice rest = slice_of(bytes + used, len - used);
        if (c->state >= CONN_CLOSING) return;
        if (rest.len && !inbox_add(c, rest)) {
            conn_kill(c);
            return;
        }
        watch_rest(c, used > 0);
        return;
    }
    if (inbox_add(c, slice_of(bytes, len)))
        conn_take_on(c);
    else
        conn_kill(c);
}

void conn_take_on(struct conn *c) {
    struct inbox *in = c->inbox;
    if (!in) {
        if (c->state < CONN_CLOSING) watch_rest(c, true);
        return;
    }
    size_t len = in->len, used = take_messages(c, in->bytes, &len);
    if (c->state >= CONN_CLOSING) return; /* its inbox is gone, or goes with it */
    in->len = (uint32_t)len;
    inbox_drop(c, used);
    watch_rest(c, used > 0);
}

/* ---- reading ---- */

static void ended(struct conn *c) {
    /* The peer sends no more. What this turn had to say to it may still reach it. */
    conn_finish(c);
}

/* False: the connection is over. */
static bool shake_hands(struct conn *c) {
    struct io *io = c->io;
    enum err e = tls_handshake(&c->tls);
    conn_send_wire(c);
    if (c->state == CONN_DEAD || e == ERR_AGAIN) return false;
    if (e != ERR_OK) {
        io_count(&io->counters.handshakes_failed, 1);
        if (c->is_awaited)
            connect_failed(c, ERR_CRYPTO, tls_handshake_trouble());
        else
            conn_kill(c);
        return false;
    }
    io_count(&io->counters.handshakes_ok, 1);
    if (tls_resumed(&c->tls)) io_count(&io->counters.handshakes_resumed, 1);
    c->state = CONN_DECIDE;
    timer_stop(&io->timers, &c->read_timer);
    if (c->is_ours) {
        if (!conn_open_flow(c)) return false;
        io_count(&io->counters.connects_ok, 1);
        connect_idle(c);
        return true;
    }
    switch (tls_alpn(&c->tls)) {
    case TLS_ALPN_SIP:
        return conn_open_flow(c);
    case TLS_ALPN_HTTP:
        c->is_http = true;
        break;
    case TLS_ALPN_TURN:
    case TLS_ALPN_NONE:
        break;
    }
    timer_start(&io->timers, &c->read_timer, io->now.mono + io->limits.decide_ms);
    return true;
}

static void read_tls(struct conn *c) {
    struct io *io = c->io;
    if (c->state == CONN_HANDSHAKE && !shake_hands(c)) return;
    enum err e = ERR_OK;
    while (e == ERR_OK && c->state < CONN_CLOSING) {
        size_t have = 0, n;
        while (have < IO_PLAIN_BYTES &&
               (e = tls_read(&c->tls, io->plain + have, IO_PLAIN_BYTES - have, &n)) == ERR_OK)
            have += n;
        if (io->wire.out_len) conn_send_wire(c); /* an alert, an answer to a key update */
        if (have && c->state < CONN_CLOSING) take(c, io->plain, have);
    }
    if (c->state >= CONN_CLOSING) return;
    if (e == ERR_CLOSED)
        ended(c);
    else if (e != ERR_AGAIN)
        conn_broken(c, tls_handshake_trouble());
}

static bool read_lingering(struct conn *c) {
    ssize_t n = recv(c->source.fd, c->io->wire_in, IO_WIRE_BYTES, 0);
    if (n > 0) return true;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    /* A peer that only sends no more may still be reading what waits for it. */
    if (n < 0 || !c->outbox || loop_mod(c->io->loop, &c->source, LOOP_WRITE) != ERR_OK)
        conn_kill(c);
    return false;
}

bool conn_read(struct conn *c) {
    struct io *io = c->io;
    if (c->state >= CONN_CLOSING) return read_lingering(c);
    if (c->relayed && !relay_may_read(c)) return false; /* who pauses it says loop_again() */
    bool is_tls = c->tls.ssl != NULL;
    void *dst = is_tls ? (void *)io->wire_in : (void *)io->plain;
    ssize_t n = recv(c->source.fd, dst, IO_WIRE_BYTES, 0);
    if (n < 0) {
        if (errno == EINTR) return true;
        if (errno != EAGAIN) conn_broken(c, "the connection was reset");
        return false;
    }
    if (n == 0) {
        if (c->state == CONN_HANDSHAKE) io_count(&io->counters.handshakes_failed, 1);
        c->is_ending = true;
        ended(c);
        return false;
    }
    io_count(&io->counters.bytes_in, (uint64_t)n);
    if (is_tls) {
        io->wire.in = io->wire_in;
        io->wire.in_len = (size_t)n;
        read_tls(c);
        io->wire.in_len = 0; /* what a closed connection left */
    } else {
        take(c, dst, (size_t)n);
    }
    return n == IO_WIRE_BYTES || c->is_ending;
}
