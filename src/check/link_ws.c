/* check/link_ws.c - a WebSocket on top of a TLS link: RFC 6455, RFC 7118. */
#include "check/link.h"

#include "base/mem.h"
#include "check/run.h"
#include "check/ws.h"
#include <stdio.h>

#define HANDSHAKE_MS 5000

/* The head of the other side's handshake, at the beginning of ws->raw; empty: none came. */
static slice read_head(struct link *l) {
    size_t size = 0;
    for (int64_t until = clock_ms() + HANDSHAKE_MS; !size;) {
        if (!link_read(l, until)) break;
        size = ws_head(slice_of(l->ws->raw, l->ws->raw_len));
    }
    return slice_of(l->ws->raw, size);
}
static void drop_head(struct ws *w, size_t size) {
    w->raw_len -= size;
    memmove(w->raw, w->raw + size, w->raw_len);
}

/* "HTTP/1.1 101 ..." */
static unsigned http_status(slice head) {
    uint32_t status = 0;
    slice code = slice_head(slice_from(head, 9), 3);
    bool good = slice_starts(head, SLICE("HTTP/1.1 ")) && slice_u32(code, 999, &status) == ERR_OK;
    return good ? status : 0;
}

/* RFC 6455 4.1 */
bool link_ws_ask(struct run *run, struct link *l, const char *upgrade, struct tls_seen *seen) {
    char mem[2048], key[WS_KEY_LEN + 1], want[WS_ACCEPT_LEN + 1];
    struct buf b = buf_over(mem, sizeof mem);
    const struct target *g = &run->target;
    if (!(l->ws = mem_zalloc(sizeof *l->ws))) return false;
    ws_key(key);
    buf_fmt(&b,
            "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n",
            *g->path ? g->path : "/", g->name, l->remote.port, key);
    if (upgrade) {
        buf_put(&b, slice_str(upgrade));
    } else {
        buf_lit(&b, "Sec-WebSocket-Protocol: sip\r\n");
        if (g->origin) buf_fmt(&b, "Origin: %s\r\n", g->origin);
    }
    buf_lit(&b, "\r\n");
    slice head = link_write(l, buf_slice(&b)) ? read_head(l) : SLICE("");
    struct msg m;
    msg_read(head, &m);
    (void)!slice_cstr(slice_head(head, sizeof seen->upgrade - 1), seen->upgrade,
                      sizeof seen->upgrade);
    seen->status = http_status(head);
    ws_accept(slice_str(key), want);
    bool good = seen->status == 101 && is(msg_header(&m, "Sec-WebSocket-Accept"), want);
    if (!good)
        (void)snprintf(l->why, sizeof l->why, "no WebSocket: %.*s",
                       (int)slice_find(slice_str(seen->upgrade), '\r'), seen->upgrade);
    drop_head(l->ws, head.len);
    return good;
}

/* RFC 6455 4.2.2: whatever is asked is taken, a test looks at l->hello. */
bool link_ws_answer(struct link *l) {
    char mem[512], accept[WS_ACCEPT_LEN + 1];
    struct buf b = buf_over(mem, sizeof mem);
    if (!(l->ws = mem_zalloc(sizeof *l->ws))) return false;
    l->ws->is_server = true;
    slice head = read_head(l);
    struct msg m;
    msg_read(head, &m);
    slice key = msg_header(&m, "Sec-WebSocket-Key");
    char *hello = key.len ? mem_zalloc(head.len + 1) : NULL;
    if (!hello) return false;
    memcpy(hello, head.ptr, head.len);
    l->hello = hello;
    ws_accept(key, accept);
    buf_fmt(&b,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: %s\r\n%s\r\n",
            accept,
            msg_lists(&m, "Sec-WebSocket-Protocol", "sip") ? "Sec-WebSocket-Protocol: sip\r\n"
                                                           : "");
    drop_head(l->ws, head.len);
    return link_write(l, buf_slice(&b));
}

bool link_ws_put(struct link *l, const struct ws_frame *f, slice payload) {
    char *mem = mem_alloc(payload.len + WS_HEAD_MAX);
    if (!mem) return false;
    struct buf b = buf_over(mem, payload.len + WS_HEAD_MAX);
    ws_put(&b, f, payload);
    bool good = link_write(l, buf_slice(&b));
    mem_free(mem);
    return good;
}
static bool send_frame(struct link *l, unsigned opcode, slice payload) {
    return link_ws_put(l, &(struct ws_frame){ .opcode = opcode, .masked = !l->ws->is_server },
                       payload);
}

/* RFC 7118 4.2: what is no UTF-8 goes as a binary message. */
bool link_ws_send(struct link *l, slice message) {
    return send_frame(l, ws_is_text(message) ? WS_TEXT : WS_BINARY, message);
}

bool link_ws_message(struct link *l, int64_t until, size_t *size) {
    struct ws *w = l->ws;
    for (*size = 0; !l->whole;) {
        switch (ws_next(w, l->in, &l->len, sizeof l->in)) {
        case WS_MESSAGE:
            l->whole = l->len > 2; /* else a keep-alive: RFC 7118 6, RFC 5626 3.5.1 */
            if (l->len == 2) l->pongs++;
            if (!l->whole) l->len = 0;
            break;
        case WS_PINGED:
            (void)!send_frame(l, WS_PONG, slice_of(w->control, w->control_len));
            break;
        case WS_PONGED:
            l->pongs++;
            break;
        case WS_CLOSED:
            (void)!send_frame(l, WS_CLOSE, slice_of(w->control, w->control_len));
            l->closed = true;
            return false;
        case WS_BROKEN:
            l->closed = true;
            return false;
        case WS_MORE:
            if (!link_read(l, until)) return false;
            break;
        }
    }
    *size = l->len;
    return true;
}
