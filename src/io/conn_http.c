/* HTTPS on the port of SIP: the page's files, its JSON calls, and connections that become
 * WebSockets.
 *
 *   DECIDE -> HTTP -> HTTP (the next request) ... -> CLOSING
 *               |
 *               +-> SIP over WebSocket, a flow as any other (RFC 7118)
 *
 * Requests are answered one after the other: while a JSON call waits for its answer nothing more is
 * read than one more request. The clock of a request runs from its first byte to its last, however
 * slowly they come; between requests a shorter patience ends the connection. */
#include "io/io_internal.h"

#include "base/limits.h"
#include "base/mem.h"
#include "http/site.h"
#include "http/ws.h"
#include "sip/hdr.h"

#define HTTP_IDLE_MS   60000 /* between requests of one connection */
#define HTTP_ANSWER_MS 60000 /* to the answer of a JSON call; the store has given up before */
#define WAITING_MAX    (HTTP_HEAD_MAX + HTTP_BODY_MAX)

/* ---- answers ---- */

static void say_answer(struct conn *c, struct http_answer a, slice body) {
    char mem[4096], date_mem[40];
    struct buf head = buf_over(mem, sizeof mem), date = buf_over(date_mem, sizeof date_mem);
    hdr_date_put(&date, c->io->now.wall);
    a.date = buf_slice(&date);
    http_answer_head(&a, c->io->site_is_public && !c->is_localhost, &head);
    if (head.full) { /* nothing of ours is so long */
        conn_finish(c);
        return;
    }
    conn_say(c, buf_slice(&head));
    if (body.len) conn_say(c, body);
    if (a.closes) conn_finish(c);
}

/* Words for people; the connection goes on if it may. */
static void refuse(struct conn *c, const struct http_request *r, unsigned status, slice lines) {
    char mem[128];
    struct buf text = buf_over(mem, sizeof mem);
    buf_fmt(&text, "%u %s\n", status, http_reason(status));
    io_count(&c->io->counters.http_refused, 1);
    say_answer(c,
               (struct http_answer){ .status = status,
                                     .type = SLICE("text/plain; charset=utf-8"),
                                     .lines = lines,
                                     .length = text.len,
                                     .closes = !r->stays },
               r->method == HTTP_HEAD ? SLICE_NONE : buf_slice(&text));
}

/* ---- files ---- */

static void say_file(struct conn *c, const struct http_request *r, const struct http_file *f) {
    char mem[384];
    struct buf lines = buf_over(mem, sizeof mem);
    bool is_gzip = f->gzip.len && r->takes_gzip;
    bool is_same = http_etag_is_among(r->if_none_match, f->etag);
    slice body = is_gzip ? f->gzip : f->plain;
    if (f->is_kept)
        buf_lit(&lines, "Cache-Control: public, max-age=31536000, immutable\r\n");
    else
        buf_lit(&lines, "Cache-Control: no-cache\r\n");
    buf_lit(&lines, "ETag: ");
    buf_put(&lines, f->etag);
    buf_lit(&lines, "\r\nVary: Accept-Encoding\r\n");
    if (is_gzip && !is_same) buf_lit(&lines, "Content-Encoding: gzip\r\n");
    if (f->is_open)
        buf_lit(&lines, "Access-Control-Allow-Origin: *\r\n"
                        "Cross-Origin-Resource-Policy: cross-origin\r\n");
    say_answer(c,
               (struct http_answer){ .status = is_same ? 304 : 200,
                                     .type = is_same ? SLICE_NONE : f->type,
                                     .lines = buf_slice(&lines),
                                     .length = body.len,
                                     .closes = !r->stays },
               is_same || r->method == HTTP_HEAD ? SLICE_NONE : body);
}

/* ---- WebSockets ---- */

static void upgrade(struct conn *c, const struct http_request *r) {
    struct io *io = c->io;
    struct io_session session = { 0 };
    bool is_there = slice_eq(r->path, SLICE("/ws")) || slice_eq(r->path, SLICE("/"));
    unsigned status = is_there ? ws_handshake(r) : 404;
    /* RFC 6455 10.2: a browser tells whose page it is that connects. */
    if (status == 101 && io->hooks.on_upgrade)
        status = io->hooks.on_upgrade(io->hooks.ctx, r, &session);
    else if (status == 101 && r->origin.len && !http_origin_is(r->origin, r->host))
        status = 403;
    if (status != 101) {
        /* RFC 9110 15.5.22: and what to upgrade to. */
        refuse(c, r, status,
               status == 426 ? SLICE("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
                                     "Connection: Upgrade\r\n")
                             : SLICE_NONE);
        return;
    }
    char mem[256];
    struct buf lines = buf_over(mem, sizeof mem);
    ws_put_accept(r, &lines);
    say_answer(c, (struct http_answer){ .status = 101, .lines = buf_slice(&lines) }, SLICE_NONE);
    io_count(&io->counters.websockets, 1);
    c->is_ws = true;
    c->guest = session.guest;
    c->transport = FLOW_WSS;
    c->ping = PING_ANSWERED; /* RFC 6455 5.5.2: a Ping must be answered */
    c->frame = (struct frame){ 0 };
    io->session = &session;
    if (conn_open_flow(c)) connect_idle(c);
    io->session = NULL;
}

void conn_say_message(struct conn *c, slice bytes) {
    if (c->is_ws) {
        uint8_t head[WS_HEAD_MAX];
        /* RFC 6455 8.1: text is UTF-8; SIP may hold anything. */
        bool is_text = ws_is_utf8(bytes);
        size_t n = ws_frame_head(is_text ? WS_OP_TEXT : WS_OP_BINARY, bytes.len, head);
        conn_say(c, slice_of(head, n));
    }
    conn_say(c, bytes);
}

static void say_control(struct conn *c, enum ws_opcode opcode, slice payload) {
    uint8_t mem[WS_HEAD_MAX + WS_CONTROL_MAX];
    size_t n = ws_frame_head(opcode, payload.len, mem);
    if (payload.len) memcpy(mem + n, payload.ptr, payload.len);
    conn_say(c, slice_of(mem, n + payload.len));
}

void conn_ws_ping(struct conn *c) {
    say_control(c, WS_OP_PING, SLICE_NONE);
}

void conn_ws_close(struct conn *c, unsigned code) {
    uint8_t mem[WS_HEAD_MAX];
    if (!c->is_ws || c->is_ws_closed) return;
    c->is_ws_closed = true;
    conn_say(c, slice_of(mem, ws_close_frame(code, mem)));
}

static void heard(struct conn *c) {
    c->ping = PING_ANSWERED;
    core_flow_heard(c->io->core, c->flow, c->io->now);
}

/* RFC 7118 6: the pings of RFC 5626 4.4.1 may be used as well; each is a message of its own. */
static void take_message(struct conn *c, slice m, bool is_last) {
    size_t i = 0;
    while (i < m.len && (m.ptr[i] == '\r' || m.ptr[i] == '\n')) i++;
    if (i < m.len) {
        conn_receive(c, slice_from(m, i), is_last);
        return;
    }
    core_flow_heard(c->io->core, c->flow, c->io->now);
    if (slice_eq(m, SLICE("\r\n\r\n"))) conn_say_message(c, SLICE("\r\n"));
    io_drain_effects(c->io);
}

static void bad_websocket(struct conn *c, const struct ws_event *ev) {
    io_count(&c->io->counters.closed_bad, 1);
    conn_ws_close(c, ev->code);
    core_bad_stream(c->io->core, c->flow, ev->why, c->io->now);
    io_drain_effects(c->io);
    conn_finish(c);
}

size_t conn_take_frames(struct conn *c, char *bytes, size_t *len) {
    struct ws_event ev;
    size_t used = 0;
    while (c->state == CONN_SIP) {
        size_t rest = *len - used;
        enum ws_got got = ws_read(&c->ws, bytes + used, &rest, LIMIT_MSG_BYTES, &ev);
        *len = used + rest;
        c->frame.need = (uint32_t)ev.need;
        if (got == WS_MORE) break;
        used += ev.used;
        switch (got) {
        case WS_MORE:
            break;
        case WS_MESSAGE:
            take_message(c, ev.payload, used == *len);
            break;
        case WS_PING:
            heard(c);
            say_control(c, WS_OP_PONG, ev.payload);
            break;
        case WS_PONG:
            heard(c);
            break;
        case WS_CLOSE:
            conn_ws_close(c, ev.code);
            conn_finish(c);
            break;
        case WS_BAD:
            bad_websocket(c, &ev);
            break;
        }
    }
    return used;
}

/* ---- requests ---- */

static void serve_call(struct conn *c, const struct http_request *r, slice body) {
    struct io *io = c->io;
    struct io_http call = {
        .ticket = (uint64_t)c->id.slot << 32 | c->id.gen, .head = r, .body = body, .peer = &c->peer
    };
    c->is_waiting = true;
    c->stays = r->stays;
    c->is_head = r->method == HTTP_HEAD;
    timer_start(&io->timers, &c->read_timer, io->now.mono + HTTP_ANSWER_MS);
    if (io->hooks.on_http && io->hooks.on_http(io->hooks.ctx, io->worker, &call)) return;
    c->is_waiting = false;
    refuse(c, r, io->hooks.on_http ? 503 : 404, SLICE_NONE);
}

static void serve(struct conn *c, const struct http_request *r, slice body) {
    io_count(&c->io->counters.http_requests, 1);
    if (r->is_upgrade) {
        upgrade(c, r);
        return;
    }
    if (r->method == HTTP_OTHER) {
        refuse(c, r, 501, SLICE_NONE);
        return;
    }
    if (slice_eq(r->path, SLICE("*"))) { /* RFC 9110 9.3.7: what the server as a whole can do */
        say_answer(c,
                   (struct http_answer){ .status = 204,
                                         .lines = SLICE("Allow: GET, HEAD, POST, DELETE, "
                                                        "OPTIONS\r\n"),
                                         .closes = !r->stays },
                   SLICE_NONE);
        return;
    }
    if (slice_starts(r->path, SLICE("/api/"))) {
        serve_call(c, r, body);
        return;
    }
    const struct http_file *f = http_site_find(c->io->site, r->path);
    if (!f)
        refuse(c, r, 404, SLICE_NONE);
    else if (r->method != HTTP_GET && r->method != HTTP_HEAD)
        refuse(c, r, 405, SLICE("Allow: GET, HEAD\r\n"));
    else if (f->gzip.len && !f->plain.len && !r->takes_gzip)
        refuse(c, r, 406, SLICE("Vary: Accept-Encoding\r\n"));
    else
        say_file(c, r, f);
}

size_t conn_take_requests(struct conn *c, slice bytes) {
    size_t used = 0;
    while (c->state == CONN_HTTP && !c->is_waiting) {
        slice rest = slice_from(bytes, used);
        struct http_request r;
        size_t head;
        /* RFC 9112 2.2: an empty line in front of a request is skipped. */
        if (slice_starts(rest, SLICE("\r\n"))) {
            used += 2;
            continue;
        }
        if (rest.len == 0) break;
        unsigned status = http_request_read(rest, &r, &head);
        if (status == 0) break;
        c->is_localhost = slice_ieq(http_host_name(r.host), SLICE("localhost"));
        if (status != 200) { /* where the next request begins is not known */
            r.stays = false;
            refuse(c, &r, status, SLICE_NONE);
            break;
        }
        size_t whole = head + r.content_length;
        c->frame.need = (uint32_t)whole;
        if (rest.len < whole) break;
        c->frame.need = 0;
        used += whole;
        serve(c, &r, slice_of(rest.ptr + head, r.content_length));
    }
    if (c->state == CONN_HTTP && c->is_waiting && bytes.len - used > WAITING_MAX) {
        io_count(&c->io->counters.closed_bad, 1);
        conn_kill(c);
    }
    return used;
}

void conn_watch_http(struct conn *c, bool is_new) {
    struct io *io = c->io;
    if (c->is_waiting) return; /* HTTP_ANSWER_MS runs */
    if (!c->inbox)
        timer_start(&io->timers, &c->read_timer, io->now.mono + HTTP_IDLE_MS);
    else if (is_new || !c->has_begun)
        timer_start(&io->timers, &c->read_timer, io->now.mono + io->limits.message_ms);
    c->has_begun = c->inbox != NULL;
}

void conn_http_answered(struct io *io, uint64_t ticket, unsigned status, slice lines, slice body) {
    struct conn *c =
        pool_get(&io->conn_pool, (pool_id){ (uint32_t)(ticket >> 32), (uint32_t)ticket });
    if (!c || c->state != CONN_HTTP || !c->is_waiting) return; /* it has gone meanwhile */
    if (status >= 400) io_count(&io->counters.http_refused, 1);
    c->is_waiting = false;
    say_answer(c,
               (struct http_answer){ .status = status,
                                     .type = body.len ? SLICE("application/json") : SLICE_NONE,
                                     .lines = lines,
                                     .length = body.len,
                                     .closes = !c->stays },
               c->is_head ? SLICE_NONE : body);
    conn_take_on(c);
}
