/* check/ws.h - WebSocket (RFC 6455) for the tester, written apart from the server's.
 *
 * Purpose:  the two texts of the handshake, and frames: written right or wrong as a test wants,
 *           read with the rules of either side. No sockets: link.c feeds it and sends what it made.
 * Lifetime: the caller's. Memory: `struct ws` has room for one frame of LINK_BYTES. Threads: one.
 *
 *   memcpy(w->raw + w->raw_len, bytes, n), w->raw_len += n;
 *   while ((got = ws_next(w, message, &len, cap)) != WS_MORE) ...                               */
#ifndef CHECK_WS_H
#define CHECK_WS_H

#include "base/buf.h"
#include "base/slice.h"

#define WS_BYTES      262144u
#define WS_KEY_LEN    24u  /* 16 octets in base64 */
#define WS_ACCEPT_LEN 28u  /* 20 octets in base64 */
#define WS_CONTROL    125u /* RFC 6455 5.5: a control frame holds no more */
#define WS_HEAD_MAX   14u  /* octets before the payload of a frame */

enum ws_opcode { WS_CONTINUES = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING, WS_PONG };

struct ws_frame {
    unsigned opcode;
    bool more;     /* not the last of its message: FIN is not set */
    bool masked;   /* when written: with a fresh key */
    unsigned rsv;  /* the three reserved bits */
    uint64_t said; /* when written and not 0: the length that the head tells, instead of the real */
};
/* One frame, `payload` masked if the frame is. */
void ws_put(struct buf *b, const struct ws_frame *f, slice payload);
bool ws_is_text(slice s); /* UTF-8 (RFC 3629) */

/* Of an HTTP head that ends with an empty line: how long it is, 0 when more must come. */
size_t ws_head(slice in);
/* What Sec-WebSocket-Accept must say for this Sec-WebSocket-Key (RFC 6455 4.2.2 step 5.4). */
void ws_accept(slice key, char out[static WS_ACCEPT_LEN + 1]);
void ws_key(char out[static WS_KEY_LEN + 1]); /* a fresh one */

enum ws_got {
    WS_MORE,    /* bytes must come */
    WS_MESSAGE, /* a whole text or binary message */
    WS_PINGED,  /* control[] is to be sent back as a pong */
    WS_PONGED,  /* control[] came back */
    WS_CLOSED,  /* the other side said close; `code` is its reason, 0: none given */
    WS_BROKEN   /* it breaks the rules: `why` */
};
struct ws {            /* zero, but for is_server, is how it begins */
    bool is_server;    /* we are: what comes must be masked, what we send is not */
    bool inside;       /* a message has begun */
    unsigned opcode;   /* of the message: WS_TEXT or WS_BINARY */
    unsigned frames;   /* that it came in */
    unsigned unmasked; /* frames that came without mask */
    bool closed;       /* the other side said close */
    unsigned code;
    const char *why;
    size_t control_len;
    char control[WS_CONTROL];
    size_t raw_len;
    char raw[WS_BYTES + WS_HEAD_MAX];
};
/* Takes one frame out of raw. The payloads of a message are put behind each other at message[*len];
 * who has taken a whole message sets *len to 0. */
enum ws_got ws_next(struct ws *w, char *message, size_t *len, size_t cap);

#endif
