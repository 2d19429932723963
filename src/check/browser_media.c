/* check/browser_media.c - STUN answers, and a look at the ClientHello. */
#include "check/browser_media.h"

#include "check/link.h"
#include "check/probe.h"
#include "crypto/crypto.h"
#include "os/socket.h"
#include <poll.h>
#include <sys/socket.h>

static unsigned get16(const char *p) {
    return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}
static size_t get24(const char *p) {
    return (size_t)(uint8_t)p[0] << 16 | get16(p + 1);
}

const char *browser_sdp(struct test *t, const char *sdp) {
    slice rest = slice_str(sdp), line;
    bool ice = has(rest, "a=ice-ufrag:"), mux = has(rest, "a=rtcp-mux"),
         named = has(rest, "a=mid:");
    if (!slice_starts(rest, SLICE("v=0"))) return sdp;
    char mem[4096];
    struct buf b = buf_over(mem, sizeof mem);
    for (unsigned mid = 0; slice_split(&rest, '\n', &line);) {
        buf_put(&b, line);
        if (line.len) buf_lit(&b, "\n");
        if (!slice_starts(line, SLICE("m="))) continue;
        if (!ice) buf_lit(&b, "a=ice-ufrag:" MEDIA_UFRAG "\r\na=ice-pwd:" MEDIA_PWD "\r\n");
        if (!mux) buf_lit(&b, "a=rtcp-mux\r\n");
        if (!named) buf_fmt(&b, "a=mid:%u\r\n", mid++);
    }
    return b.full ? sdp : text_of(t, buf_slice(&b));
}

struct media *media_open(struct ua *a) {
    if (!a || ua_test(a)->verdict) return NULL;
    struct test *t = ua_test(a);
    struct media *m = arena_zalloc(&t->arena, sizeof *m);
    struct addr at = ua_link(a)->local;
    at.port = 0;
    if (m) *m = (struct media){ .t = t, .fd = -1 };
    if (m && socket_bind_udp(&at, &m->fd, &m->at) == ERR_OK) return m;
    test_unclear(t, "no UDP port for media");
    return NULL;
}

void media_close(struct media *m) {
    if (m && m->fd >= 0) socket_close(m->fd);
    if (m) m->fd = -1;
}

/* ---- STUN ----------------------------------------------------------------------------------- */

static slice attribute(slice s, unsigned type) {
    const struct msg m = { .raw = s };
    return probe_attribute(&m, type);
}
slice media_check_has(const struct media *m, unsigned type) {
    return attribute(m->check, type);
}

/* RFC 8489 14.5: over all before the attribute, with the length as if it were the last. */
static void integrity(slice upto, uint8_t mac[static 20]) {
    char mem[1500];
    struct buf b = buf_over(mem, sizeof mem);
    buf_put(&b, upto);
    probe_set_length(&b, upto.len - 20 + 24);
    crypto_hmac_sha1(SLICE(MEDIA_PWD), buf_slice(&b), mac);
}

bool media_check_is_proved(const struct media *m) {
    slice v = attribute(m->check, STUN_INTEGRITY);
    uint8_t mac[20];
    if (v.len != sizeof mac) return false;
    integrity(slice_head(m->check, (size_t)(v.ptr - m->check.ptr) - 4), mac);
    return memcmp(v.ptr, mac, sizeof mac) == 0;
}

/* A success response with XOR-MAPPED-ADDRESS. */
static void answer(const struct media *m, slice check, const struct addr *from) {
    char mem[256], mapped[20] = { 0, from->family == ADDR_V4 ? 1 : 2 };
    struct buf b = buf_over(mem, sizeof mem);
    size_t len = from->family == ADDR_V4 ? 8 : 20;
    mapped[2] = (char)((from->port >> 8) ^ 0x21);
    mapped[3] = (char)((from->port & 0xff) ^ 0x12);
    for (size_t i = 4; i < len; i++) mapped[i] = (char)(from->ip[i - 4] ^ (uint8_t)check.ptr[i]);
    buf_lit(&b, "\1\1\0\0");
    buf_put(&b, slice_of(check.ptr + 4, 16));
    probe_put(&b, STUN_MAPPED, slice_of(mapped, len));
    uint8_t mac[20];
    integrity(buf_slice(&b), mac);
    probe_put(&b, STUN_INTEGRITY, slice_of((const char *)mac, sizeof mac));
    probe_put_fingerprint(&b);
    struct sockaddr_storage to;
    socklen_t to_len = addr_to_sockaddr(from, &to);
    (void)!sendto(m->fd, b.ptr, b.len, 0, (struct sockaddr *)&to, to_len);
}

/* ---- the ClientHello ------------------------------------------------------------------------ */

/* RFC 6347 4.2: the records of a datagram; pieces of the first handshake message are put together.
 * A second hello (after a HelloRetryRequest) cannot come, since we answer nothing. */
static void take_hello(struct media *m, slice s) {
    for (; s.len >= 25; s = slice_from(s, 13 + get16(s.ptr + 11))) {
        size_t record = get16(s.ptr + 11);
        if (s.ptr[0] != 22 || record < 12 || s.len - 13 < record || s.ptr[13] != 1) return;
        size_t len = get24(s.ptr + 14), at = get24(s.ptr + 19), part = get24(s.ptr + 22);
        if (len > MEDIA_HELLO || at > m->hello_have || at + part > len || part > record - 12)
            return;
        if (m->hello_len && m->hello_len != len) return;
        m->hello_len = len;
        memcpy(m->hello + at, s.ptr + 25, part);
        if (at + part > m->hello_have) m->hello_have = at + part;
    }
}

/* A list with a length of `octets` in front of it; false: it is not whole. */
static bool take_list(slice *rest, unsigned octets, slice *out) {
    if (rest->len < octets) return false;
    size_t len = octets == 2 ? get16(rest->ptr) : (uint8_t)rest->ptr[0];
    *out = slice_head(slice_from(*rest, octets), len);
    *rest = slice_from(*rest, octets + len);
    return out->len == len;
}

bool media_hello(const struct media *m, struct hello *out) {
    slice rest = slice_of(m->hello, m->hello_have), skip, extensions;
    *out = (struct hello){ 0 };
    if (!m->hello_len || m->hello_have < m->hello_len || rest.len < 34) return false;
    out->version = get16(rest.ptr);
    rest = slice_from(rest, 34); /* and the random number */
    if (!take_list(&rest, 1, &skip) || !take_list(&rest, 1, &skip) ||
        !take_list(&rest, 2, &out->suites) || !take_list(&rest, 1, &skip) ||
        !take_list(&rest, 2, &extensions))
        return false;
    while (extensions.len >= 4) {
        unsigned type = get16(extensions.ptr);
        slice body;
        extensions = slice_from(extensions, 2);
        if (!take_list(&extensions, 2, &body)) return false;
        if (type == 14 && !take_list(&body, 2, &out->srtp)) return false; /* RFC 5764 4.1.1 */
        if (type == 43 && !take_list(&body, 1, &out->versions)) return false;
    }
    return true;
}

bool hello_lists(slice list, unsigned number, size_t *at) {
    for (size_t i = 0; i + 2 <= list.len; i += 2)
        if (get16(list.ptr + i) == number) {
            if (at) *at = i / 2;
            return true;
        }
    return false;
}

/* ---- packets -------------------------------------------------------------------------------- */

static void note_first(struct media *m, unsigned *count, unsigned *at, slice s) {
    if (!(*count)++) *at = test_event(m->t, '<', "media", s);
}

static void take(struct media *m, slice s, const struct addr *from) {
    unsigned first = s.len ? (uint8_t)s.ptr[0] : 0;
    if (first < 4 && s.len >= 20) {
        if (s.ptr[0] != 0 || s.ptr[1] != 1) return; /* no request */
        note_first(m, &m->checks, &m->check_at, s);
        if (m->checks == 1 && arena_copy(&m->t->arena, s, &m->check) != ERR_OK) m->checks = 0;
        if (m->answers) answer(m, s, from);
    } else if (first >= 20 && first < 64) {
        note_first(m, &m->dtls, &m->dtls_at, s);
        take_hello(m, s);
    } else if (first >= 128 && first < 192) {
        note_first(m, &m->rtp, &m->rtp_at, s);
    } else {
        m->other++;
    }
}

void media_wait(struct media *m, unsigned checks, unsigned dtls, int64_t ms) {
    if (!m || m->t->verdict) return;
    int64_t until = clock_ms() + ms;
    while (!(checks && m->checks >= checks) && !(dtls && m->dtls >= dtls)) {
        int64_t left = until - clock_ms();
        struct pollfd p = { .fd = m->fd, .events = POLLIN };
        if (left <= 0 || poll(&p, 1, (int)left) <= 0) return;
        char mem[2048];
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        struct addr at;
        ssize_t n = recvfrom(m->fd, mem, sizeof mem, 0, (struct sockaddr *)&from, &len);
        if (n > 0 && addr_from_sockaddr((struct sockaddr *)&from, &at) == ERR_OK)
            take(m, slice_of(mem, (size_t)n), &at);
    }
}
