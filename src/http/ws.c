#include "http/ws.h"

#include "crypto/crypto.h"

/* ---- handshake ---- */

unsigned ws_handshake(const struct http_request *r) {
    uint8_t key[24];
    size_t n;
    if (r->method != HTTP_GET) return 405;
    if (!slice_eq(r->ws_version, SLICE("13"))) return 426; /* 4.2.2: with the version we speak */
    /* 4.2.1 item 5: base64 of 16 bytes. */
    if (base64_read(r->ws_key, key, sizeof key, &n) != ERR_OK || n != 16) return 400;
    /* RFC 7118 4.1: client and server must both say "sip". */
    return http_list_has(r->ws_protocols, SLICE("sip")) ? 101 : 400;
}

void ws_put_accept(const struct http_request *r, struct buf *out) {
    char text_mem[96];
    uint8_t hash[20];
    struct buf text = buf_over(text_mem, sizeof text_mem);
    buf_put(&text, r->ws_key);
    buf_lit(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"); /* RFC 6455 1.3 */
    crypto_sha1(text.ptr, text.len, hash);
    buf_lit(out, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    buf_base64(out, hash, sizeof hash);
    buf_lit(out, "\r\nSec-WebSocket-Protocol: sip\r\n");
}

/* ---- frames in ---- */

struct frame_head {
    uint8_t opcode;
    bool is_last;
    uint8_t mask[4];
    size_t head, len;
};

static enum ws_got bad(struct ws_event *out, unsigned code, const char *why) {
    out->code = code;
    out->why = why;
    return WS_BAD;
}

static uint64_t big_endian(const uint8_t *p, unsigned n) {
    uint64_t v = 0;
    while (n--) v = v << 8 | *p++;
    return v;
}

/* RFC 6455 5.2. MORE: the head is not complete; MESSAGE: it is in *f. */
static enum ws_got read_head(const struct ws_reader *ws, const uint8_t *p, size_t len, size_t limit,
                             struct frame_head *f, struct ws_event *out) {
    if (len < 2) return WS_MORE;
    f->is_last = p[0] & 0x80;
    f->opcode = p[0] & 0x0f;
    bool is_control = f->opcode >= 8;
    if (p[0] & 0x70) return bad(out, WS_CLOSE_PROTOCOL, "a reserved bit is set");
    if (f->opcode > 10 || (f->opcode > 2 && f->opcode < 8))
        return bad(out, WS_CLOSE_PROTOCOL, "an unknown opcode");
    /* 5.1: a client masks every frame; to one that does not, the server must close. */
    if (!(p[1] & 0x80)) return bad(out, WS_CLOSE_PROTOCOL, "a frame without mask");
    unsigned more = (p[1] & 0x7f) == 126 ? 2 : (p[1] & 0x7f) == 127 ? 8 : 0;
    if (is_control && (more || !f->is_last))
        return bad(out, WS_CLOSE_PROTOCOL, "a control frame that is long or in parts");
    if (!is_control && (f->opcode == 0) != ws->is_fragmented)
        return bad(out, WS_CLOSE_PROTOCOL, "a fragment out of its place");
    if (len < 2u + more + 4u) return WS_MORE;
    uint64_t n = more ? big_endian(p + 2, more) : p[1] & 0x7f;
    if ((more == 2 && n < 126) || (more == 8 && n < 65536))
        return bad(out, WS_CLOSE_PROTOCOL, "a length that is not the shortest");
    if (!is_control && n > limit - ws->held) return bad(out, WS_CLOSE_TOO_BIG, "too large");
    f->head = 2u + more + 4u;
    f->len = (size_t)n;
    memcpy(f->mask, p + 2 + more, 4);
    return WS_MESSAGE;
}

static void unmask(uint8_t *p, size_t len, const uint8_t mask[static 4]) {
    for (size_t i = 0; i < len; i++) p[i] ^= mask[i & 3];
}

/* RFC 3629 4: shortest forms only, no surrogates. */
bool ws_is_utf8(slice s) {
    const uint8_t *p = (const uint8_t *)s.ptr;
    size_t len = s.len;
    for (size_t i = 0; i < len;) {
        uint8_t c = p[i++];
        if (c < 0x80) continue;
        unsigned n = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || len - i < n) return false;
        uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (p[i] < low || p[i] > high) return false;
        for (i++; --n; i++)
            if ((p[i] & 0xc0) != 0x80) return false;
    }
    return true;
}

/* 5.5.1, 7.4: which code to answer a close with. */
static enum ws_got read_close(slice body, struct ws_event *out) {
    out->code = WS_CLOSE_NORMAL;
    if (body.len == 0) return WS_CLOSE;
    if (body.len == 1) return bad(out, WS_CLOSE_PROTOCOL, "half a close code");
    unsigned code = (unsigned)big_endian((const uint8_t *)body.ptr, 2);
    bool is_real = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1011) ||
                   (code >= 3000 && code <= 4999);
    if (!is_real) return bad(out, WS_CLOSE_PROTOCOL, "a close code that may not be sent");
    if (!ws_is_utf8(slice_from(body, 2)))
        return bad(out, WS_CLOSE_NOT_UTF8, "a close reason that is not UTF-8");
    out->code = code;
    return WS_CLOSE;
}

static enum ws_got take_control(const struct frame_head *f, struct ws_event *out) {
    out->payload = slice_of(out->control, f->len);
    if (f->opcode == WS_OP_CLOSE) return read_close(out->payload, out);
    return f->opcode == WS_OP_PING ? WS_PING : WS_PONG;
}

enum ws_got ws_read(struct ws_reader *ws, char *bytes, size_t *len, size_t limit,
                    struct ws_event *out) {
    struct frame_head f;
    uint8_t *all = (uint8_t *)bytes;
    out->used = out->need = 0;
    for (;;) {
        uint8_t *at = all + ws->held;
        size_t have = *len - ws->held;
        enum ws_got got = read_head(ws, at, have, limit, &f, out);
        if (got != WS_MESSAGE) return got;
        if (have < f.head + f.len) {
            out->need = ws->held + f.head + f.len;
            return WS_MORE;
        }
        unmask(at + f.head, f.len, f.mask);
        bool is_control = f.opcode >= 8;
        if (f.opcode == WS_OP_TEXT || f.opcode == WS_OP_BINARY)
            ws->is_text = f.opcode == WS_OP_TEXT;
        if (!is_control && f.is_last && ws->held == 0) { /* the usual case: nothing moves */
            out->payload = slice_of(at + f.head, f.len);
            out->used = f.head + f.len;
            ws->is_fragmented = false;
        } else {
            size_t keep = is_control ? 0 : f.len;
            if (is_control) memcpy(out->control, at + f.head, f.len);
            /* The head goes, and a control frame goes whole; what is behind moves up. */
            size_t gap = f.head + f.len - keep;
            if (keep) memmove(at, at + f.head, have - f.head);
            if (!keep) memmove(at, at + f.head + f.len, have - f.head - f.len);
            *len -= gap;
            ws->held += (uint32_t)keep;
            if (is_control) return take_control(&f, out);
            ws->is_fragmented = !f.is_last;
            if (!f.is_last) continue;
            out->payload = slice_of(bytes, ws->held);
            out->used = ws->held;
            ws->held = 0;
        }
        if (ws->is_text && !ws_is_utf8(out->payload))
            return bad(out, WS_CLOSE_NOT_UTF8, "text that is not UTF-8");
        return WS_MESSAGE;
    }
}

/* ---- frames out ---- */

size_t ws_frame_head(enum ws_opcode opcode, size_t len, uint8_t out[static WS_HEAD_MAX]) {
    out[0] = (uint8_t)(0x80 | opcode);
    if (len < 126) {
        out[1] = (uint8_t)len;
        return 2;
    }
    unsigned n = len < 65536 ? 2 : 8;
    out[1] = n == 2 ? 126 : 127;
    for (unsigned i = 0; i < n; i++) out[2 + i] = (uint8_t)((uint64_t)len >> 8 * (n - 1 - i));
    return 2 + n;
}

size_t ws_close_frame(unsigned code, uint8_t out[static WS_HEAD_MAX]) {
    size_t n = ws_frame_head(WS_OP_CLOSE, 2, out);
    out[n] = (uint8_t)(code >> 8);
    out[n + 1] = (uint8_t)code;
    return n + 2;
}
