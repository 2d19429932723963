/* http/ws.h - WebSocket (RFC 6455), the server's side: handshake and frames. No I/O.
 *
 * Purpose:  turns the bytes of a stream into messages, and messages into frames. No extensions.
 * Why ours: wslay calls back for its bytes and has a heap of its own for each connection; this
 *           unmasks in the reader's buffer, keeps 8 bytes for an idle connection, and cannot fail
 *           for lack of memory.
 * Memory:   the caller's bytes are changed: unmasked, and fragments moved together.
 * Threads:  a reader belongs to its connection.
 *
 *   while ((got = ws_read(&ws, bytes, &len, limit, &ev)) != WS_MORE) {
 *       use ev; drop the first ev.used bytes: they are done with } */
#ifndef HTTP_WS_H
#define HTTP_WS_H

#include "base/buf.h"
#include "http/request.h"

#define WS_CONTROL_MAX 125u /* RFC 6455 5.5 */
#define WS_HEAD_MAX    10u  /* of a frame without mask */

enum ws_close {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_NOT_UTF8 = 1007,
    WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009
};

/* RFC 6455 4.2.1: may this request become a WebSocket for the subprotocol `sip` (RFC 7118 4.1)?
 * 101: yes; 400, 405, 426: how to refuse. Origin is the caller's to judge. */
unsigned ws_handshake(const struct http_request *r);
/* The lines of the 101: Upgrade, Connection, Sec-WebSocket-Accept, Sec-WebSocket-Protocol. */
void ws_put_accept(const struct http_request *r, struct buf *out);

struct ws_reader {      /* zero it when the connection becomes a WebSocket */
    uint32_t held;      /* bytes at the front that are fragments of a message, moved together */
    bool is_fragmented; /* its last one has not come */
    bool is_text;
};

enum ws_got {
    WS_MORE,    /* no whole frame is left; *need tells how many bytes it will have, 0: not known */
    WS_MESSAGE, /* payload: of one message */
    WS_PING,    /* payload: to be sent back */
    WS_PONG,
    WS_CLOSE, /* code: to be answered with, once */
    WS_BAD    /* code: close with it; why: for the log, static */
};
struct ws_event {
    slice payload; /* in `bytes`, or in `control`; until the next call */
    size_t used;
    size_t need;
    unsigned code;
    const char *why;
    char control[WS_CONTROL_MAX];
};
/* `bytes` begins where the last call's ev.used ended (with what the reader holds in front). *len
 * may become less: fragments lose their heads. A message above limit is BAD with 1009. */
enum ws_got ws_read(struct ws_reader *ws, char *bytes, size_t *len, size_t limit,
                    struct ws_event *out);

/* Only such bytes may be sent as text (8.1). */
bool ws_is_utf8(slice s);

enum ws_opcode {
    WS_OP_TEXT = 1,
    WS_OP_BINARY = 2,
    WS_OP_CLOSE = 8,
    WS_OP_PING = 9,
    WS_OP_PONG = 10
};
/* The head of an unmasked frame (RFC 6455 5.1: a server never masks) with `len` bytes to follow. */
size_t ws_frame_head(enum ws_opcode opcode, size_t len, uint8_t out[static WS_HEAD_MAX]);
/* A whole close frame. */
size_t ws_close_frame(unsigned code, uint8_t out[static WS_HEAD_MAX]);

#endif
