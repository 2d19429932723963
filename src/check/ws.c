/* check/ws.c - WebSocket frames and the key of the handshake. */
#include "check/ws.h"

#include "crypto/crypto.h"
#include <openssl/evp.h>

/* ---- handshake ---------------------------------------------------------------------------- */

size_t ws_head(slice in) {
    size_t end = slice_find_slice(in, SLICE("\r\n\r\n"));
    return end < in.len ? end + 4 : 0;
}

void ws_key(char out[static WS_KEY_LEN + 1]) {
    uint8_t bytes[16];
    crypto_random(bytes, sizeof bytes);
    struct buf b = buf_over(out, WS_KEY_LEN);
    buf_base64(&b, bytes, sizeof bytes);
    out[b.len] = 0;
}

void ws_accept(slice key, char out[static WS_ACCEPT_LEN + 1]) {
    uint8_t digest[20];
    char mem[256];
    struct buf joined = buf_over(mem, sizeof mem), b = buf_over(out, WS_ACCEPT_LEN);
    buf_put(&joined, key);
    buf_lit(&joined, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    if (!joined.full && EVP_Digest(mem, joined.len, digest, NULL, EVP_sha1(), NULL) == 1)
        buf_base64(&b, digest, sizeof digest);
    out[b.len] = 0;
}

/* ---- writing ------------------------------------------------------------------------------ */

static void mask(char *bytes, size_t len, const uint8_t key[static 4]) {
    for (size_t i = 0; i < len; i++) bytes[i] = (char)((uint8_t)bytes[i] ^ key[i & 3]);
}

void ws_put(struct buf *b, const struct ws_frame *f, slice payload) {
    uint64_t len = f->said ? f->said : payload.len;
    unsigned octets = len < 126 ? 0 : len < 65536 ? 2 : 8;
    unsigned first = octets == 0 ? (unsigned)len : octets == 2 ? 126u : 127u;
    buf_byte(b, (char)((f->more ? 0 : 0x80) | (f->rsv & 7) << 4 | (f->opcode & 15)));
    buf_byte(b, (char)((f->masked ? 0x80 : 0) | first));
    for (unsigned i = octets; i; i--) buf_byte(b, (char)(len >> 8 * (i - 1) & 0xff));
    uint8_t key[4];
    crypto_random(key, sizeof key);
    if (f->masked) buf_put(b, slice_of((const char *)key, sizeof key));
    size_t at = b->len;
    buf_put(b, payload);
    if (f->masked && !b->full) mask(b->ptr + at, payload.len, key);
}

bool ws_is_text(slice s) {
    for (size_t i = 0; i < s.len;) {
        uint8_t c = (uint8_t)s.ptr[i];
        unsigned more = c < 0x80   ? 0
                        : c < 0xc2 ? 9
                        : c < 0xe0 ? 1
                        : c < 0xf0 ? 2
                        : c < 0xf5 ? 3
                                   : 9;
        if (more == 9 || s.len - i <= more) return false;
        uint32_t code = more ? c & (0x3fu >> more) : c;
        for (unsigned k = 1; k <= more; k++) {
            uint8_t next = (uint8_t)s.ptr[i + k];
            if ((next & 0xc0) != 0x80) return false;
            code = code << 6 | (next & 0x3fu);
        }
        /* the shortest form only, and no surrogates */
        if ((more == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
            (more == 3 && (code < 0x10000 || code > 0x10ffff)))
            return false;
        i += more + 1;
    }
    return true;
}

/* ---- reading ------------------------------------------------------------------------------ */

struct head {
    unsigned opcode;
    bool fin, masked;
    size_t payload_at, len;
    uint8_t key[4];
};

static enum ws_got broken(struct ws *w, const char *why) {
    w->why = why;
    return WS_BROKEN;
}

/* WS_MESSAGE: a whole frame is there. */
static enum ws_got read_head(struct ws *w, struct head *h) {
    const uint8_t *p = (const uint8_t *)w->raw;
    if (w->raw_len < 2) return WS_MORE;
    *h = (struct head){ p[0] & 15, p[0] >> 7, p[1] >> 7, 2, p[1] & 127, { 0 } };
    if (p[0] & 0x70) return broken(w, "a reserved bit is set, and no extension was agreed");
    /* RFC 6455 5.5: control frames are short and whole */
    if (h->opcode >= WS_CLOSE && (!h->fin || h->len > WS_CONTROL))
        return broken(w, "a control frame is longer than 125 octets, or in pieces");
    unsigned octets = h->len == 126 ? 2 : h->len == 127 ? 8 : 0;
    h->payload_at += octets + (h->masked ? 4u : 0u);
    if (w->raw_len < h->payload_at) return WS_MORE;
    uint64_t len = octets ? 0 : h->len;
    for (unsigned i = 0; i < octets; i++) len = len << 8 | p[2 + i];
    if (octets && len < (octets == 2 ? 126u : 65536u))
        return broken(w, "a length is not told in its shortest form");
    if (len > WS_BYTES) return broken(w, "a frame is longer than the tester reads");
    h->len = (size_t)len;
    if (h->masked) memcpy(h->key, p + h->payload_at - 4, 4);
    return w->raw_len - h->payload_at < h->len ? WS_MORE : WS_MESSAGE;
}

static enum ws_got take_control(struct ws *w, unsigned opcode, const char *payload, size_t len) {
    if (opcode > WS_PONG) return broken(w, "a control frame of a kind that does not exist");
    memcpy(w->control, payload, len);
    w->control_len = len;
    if (opcode == WS_PING) return WS_PINGED;
    if (opcode == WS_PONG) return WS_PONGED;
    if (len == 1) return broken(w, "a close frame with half a code");
    w->closed = true;
    w->code = len ? (unsigned)(uint8_t)payload[0] << 8 | (uint8_t)payload[1] : 0;
    return WS_CLOSED;
}

static enum ws_got take_data(struct ws *w, const struct head *h, slice payload, char *message,
                             size_t *len, size_t cap) {
    if (h->opcode > WS_BINARY) return broken(w, "a data frame of a kind that does not exist");
    if ((h->opcode == WS_CONTINUES) != w->inside)
        return broken(w, w->inside ? "a message begins inside another one"
                                   : "a continuation of nothing");
    if (!w->inside) {
        w->opcode = h->opcode;
        w->frames = 0;
        *len = 0;
    }
    w->inside = !h->fin;
    w->frames++;
    if (payload.len > cap - *len) return broken(w, "a message is longer than the tester reads");
    if (payload.len) memcpy(message + *len, payload.ptr, payload.len);
    *len += payload.len;
    if (!h->fin) return WS_MORE;
    /* RFC 6455 8.1 */
    if (w->opcode == WS_TEXT && !ws_is_text(slice_of(message, *len)))
        return broken(w, "a text message is no UTF-8");
    return WS_MESSAGE;
}

enum ws_got ws_next(struct ws *w, char *message, size_t *len, size_t cap) {
    enum ws_got got = WS_MORE;
    while (got == WS_MORE) {
        struct head h;
        got = read_head(w, &h);
        if (got != WS_MESSAGE) return got;
        /* RFC 6455 5.1: a client masks everything, a server nothing */
        if (!w->is_server && h.masked) return broken(w, "a server masked a frame");
        w->unmasked += !h.masked;
        char *payload = w->raw + h.payload_at;
        if (h.masked) mask(payload, h.len, h.key);
        got = h.opcode >= WS_CLOSE ? take_control(w, h.opcode, payload, h.len)
                                   : take_data(w, &h, slice_of(payload, h.len), message, len, cap);
        size_t whole = h.payload_at + h.len;
        w->raw_len -= whole;
        memmove(w->raw, w->raw + whole, w->raw_len);
    }
    return got;
}
