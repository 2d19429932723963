/* check/media.c - one UDP port: STUN answers, DTLS, and the packets under its keys. */
#include "check/media.h"

#include "check/caller.h"
#include "check/link.h"
#include "check/probe.h"
#include "check/run.h"
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
    if (m) *m = (struct media){ .t = t, .a = a, .fd = -1, .ice = t->run->role == ROLE_BROWSER };
    if (m && socket_bind_udp(&at, &m->fd, &m->at) == ERR_OK) return m;
    test_unclear(t, "no UDP port for media");
    return NULL;
}

void media_close(struct media *m) {
    if (!m) return;
    dtls_close(m->dtls_end);
    m->dtls_end = NULL;
    srtp_wipe(&m->ours);
    srtp_wipe(&m->theirs);
    m->keyed = false;
    if (m->fd >= 0) socket_close(m->fd);
    m->fd = -1;
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

static void put(const struct media *m, slice s, const struct addr *at) {
    struct sockaddr_storage to;
    socklen_t len = addr_to_sockaddr(at, &to);
    if (!run_may_reach(m->t->run, at)) return; /* a description may name anybody's address */
    (void)!sendto(m->fd, s.ptr, s.len, 0, (struct sockaddr *)&to, len);
}

/* A success response with XOR-MAPPED-ADDRESS. */
static void answer(const struct media *m, slice check, const struct addr *from) {
    char mem[256];
    struct buf b = buf_over(mem, sizeof mem);
    probe_put_binding(&b, check, from);
    uint8_t mac[20];
    integrity(buf_slice(&b), mac);
    probe_put(&b, STUN_INTEGRITY, slice_of((const char *)mac, sizeof mac));
    probe_put_fingerprint(&b);
    put(m, buf_slice(&b), from);
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

/* ---- the other side's description ------------------------------------------------------------ */

static slice value(slice sdp, const char *start) {
    return slice_from(sdp_line(sdp, start), strlen(start));
}

static bool read_place(slice sdp, struct addr *out) {
    slice rest = value(sdp, "m="), kind, port;
    slice_split(&rest, ' ', &kind);
    slice_split(&rest, ' ', &port);
    uint32_t n = 0;
    slice at = value(sdp, "c=IN IP");
    if (addr_read_ip(slice_from(at, 2), out) != ERR_OK || slice_u32(port, 65535, &n) != ERR_OK)
        return false;
    out->port = (uint16_t)n;
    return n != 0;
}

/* Of the first line: "m=audio 40000 UDP/TLS/RTP/SAVP 8 0". */
static unsigned first_format(slice sdp) {
    slice rest = sdp_line(sdp, "m="), word = SLICE_NONE;
    uint32_t n = 0;
    for (unsigned i = 0; i < 4; i++) (void)slice_split(&rest, ' ', &word);
    (void)!slice_u32(word, 127, &n);
    return n;
}

void media_begin(struct media *m, slice theirs, bool we_answer) {
    struct test *t = m->t;
    if (t->verdict || !m->dtls_end) return;
    slice setup = value(theirs, "a=setup:");
    bool passive = is(setup, "passive") || (we_answer && is(setup, "actpass"));
    m->client = passive;
    m->theirs_said = theirs;
    m->payload = first_format(theirs);
    GIVEN(t, sdp_line(theirs, "a=fingerprint:").ptr && (passive || is(setup, "active")),
          "its description names no role in DTLS and fingerprint");
    GIVEN(t, m->ice || read_place(theirs, &m->peer), "its description says no place for media");
    if (!m->client) dtls_start(m->dtls_end, false);
    m->started = !m->client;
}

/* ---- packets -------------------------------------------------------------------------------- */

static void note_first(struct media *m, unsigned *count, unsigned *at, slice s) {
    if (!(*count)++) *at = test_event(m->t, '<', "media", s);
}

static void take_check(struct media *m, slice s, const struct addr *from) {
    if (s.ptr[0] != 0 || s.ptr[1] != 1) return; /* no request */
    struct checked *c = &m->checked[m->checks % MEDIA_CHECKED];
    note_first(m, &m->checks, &m->check_at, s);
    c->ms = clock_ms();
    memcpy(c->id, s.ptr + 8, sizeof c->id);
    if (m->checks == 1 && arena_copy(&m->t->arena, s, &m->check) != ERR_OK) m->checks = 0;
    if (!m->answers) return;
    answer(m, s, from);
    m->peer = *from; /* RFC 8445 7.3.1.5 and 8.1.1: a lite agent has the pair that is nominated */
}

/* DTLS that is ours to answer; in the evidence the first flights only. */
static void take_dtls(struct media *m, slice s, const struct addr *from) {
    note_first(m, &m->dtls, &m->dtls_at, s);
    take_hello(m, s);
    if (!m->dtls_end || !m->started) return;
    if (m->dtls > 1 && m->dtls < 12) (void)test_event(m->t, '<', "media", s);
    if (!m->client && !m->ice) m->peer = *from;
    dtls_take(m->dtls_end, s);
    enum dtls_state state = dtls_state(m->dtls_end);
    if (state == DTLS_UP && !m->keyed) m->keyed = dtls_keys(m->dtls_end, &m->ours, &m->theirs);
}

/* The sequence numbers of 16 bits go on from the last one: RFC 3711 3.3.1. */
static bool open_rtp(struct media *m, slice s, char mem[static SRTP_BYTES], slice *out) {
    unsigned seq = s.len > 4 ? get16(s.ptr + 2) : 0;
    int ahead = (int16_t)(uint16_t)(seq - m->heard.seq);
    uint32_t turns = m->heard.turns;
    if (m->heard.count && ahead > 0 && seq < m->heard.seq) turns++;
    if (m->heard.count && ahead < 0 && seq > m->heard.seq && turns) turns--;
    if (!srtp_open(&m->theirs, s, turns, mem, out)) return false;
    if (!m->heard.count || ahead > 0) {
        m->heard.seq = seq;
        m->heard.turns = turns;
    }
    return true;
}

static void take_rtcp(struct media *m, slice s) {
    char mem[SRTP_BYTES];
    slice out;
    struct reports *r = &m->reports;
    uint32_t index = 0;
    bool clear = false;
    if (!m->keyed || !srtcp_open(&m->theirs, s, mem, &out, &index, &clear)) {
        note_first(m, &r->unproved, &r->unproved_at, s);
        return;
    }
    unsigned at = test_event(m->t, '<', "rtcp", out);
    if (clear) r->clear_at = at;
    if (r->count++ && index <= r->index) r->repeats_at = at;
    r->index = index;
    r->at = at;
    bool about_us = rtcp_about(out, MEDIA_SSRC, &r->about_us);
    if (about_us) r->about_us_at = at;
    r->silent_about_us = about_us ? 0 : r->silent_about_us + 1;
}

/* RFC 7741 4.2: the descriptor in front of each payload; S and partition 0: a frame begins. 4.3:
 * the lowest bit of its first octet is 0 in a key frame. */
static void count_frame(struct heard *h, slice rtp) {
    slice s = slice_from(rtp, rtp_head(rtp));
    if (s.len < 2) return;
    unsigned first = (uint8_t)s.ptr[0];
    size_t at = 1;
    if (first & 0x80) {
        unsigned more = (uint8_t)s.ptr[at++];
        if (more & 0x80) at += s.len > at && s.ptr[at] & 0x80 ? 2 : 1; /* PictureID */
        if (more & 0x40) at++;                                         /* TL0PICIDX */
        if (more & 0x30) at++;                                         /* TID, KEYIDX */
    }
    if ((first & 0x17) != 0x10 || at >= s.len) return;
    h->frames++;
    h->keys += !(s.ptr[at] & 1);
}

static void take_media(struct media *m, slice s) {
    unsigned type = s.len > 1 ? (uint8_t)s.ptr[1] : 0;
    note_first(m, &m->rtp, &m->rtp_at, s);
    if (!m->dtls_end) return;
    if (type >= 192 && type < 224) { /* RFC 5761 4 */
        take_rtcp(m, s);
        return;
    }
    char mem[SRTP_BYTES];
    slice out;
    struct heard *h = &m->heard;
    if (!m->keyed || !open_rtp(m, s, mem, &out)) {
        note_first(m, &h->unproved, &h->unproved_at, s);
        return;
    }
    if (!h->count++) h->at = test_event(m->t, '<', "rtp", out);
    h->bytes += s.len + 28; /* with the heads of UDP and IPv4 */
    count_frame(h, out);
    for (unsigned i = 0; i < 4; i++) h->ssrc = h->ssrc << 8 | (uint8_t)out.ptr[8 + i];
}

static void take(struct media *m, slice s, const struct addr *from) {
    unsigned first = s.len ? (uint8_t)s.ptr[0] : 0;
    if (first < 4 && s.len >= 20) {
        take_check(m, s, from);
        return;
    }
    m->spoke_ms = clock_ms();
    if (first >= 20 && first < 64) {
        take_dtls(m, s, from);
    } else if (first >= 128 && first < 192) {
        take_media(m, s);
    } else {
        m->other++;
    }
}

bool media_hear(struct media *m, int64_t until) {
    if (m->client && !m->started && m->peer.family != ADDR_NONE) { /* a pair is there by now */
        m->started = true;
        dtls_start(m->dtls_end, true);
    }
    int64_t now = clock_ms(), left = until - now, due = m->started ? dtls_due(m->dtls_end) : 1000;
    struct pollfd p = { .fd = m->fd, .events = POLLIN };
    if (left <= 0) return false;
    if (now - m->polled > 500) { /* the connection of the call lives on beside */
        m->polled = now;
        (void)ua_wait(m->a, "-", 0);
    }
    if (due > 500) due = 500;
    if (poll(&p, 1, (int)(left < due ? left : due)) <= 0) {
        if (m->started) dtls_tick(m->dtls_end);
        return true;
    }
    char mem[SRTP_BYTES];
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    struct addr at;
    ssize_t n = recvfrom(m->fd, mem, sizeof mem, 0, (struct sockaddr *)&from, &len);
    if (n > 0 && addr_from_sockaddr((struct sockaddr *)&from, &at) == ERR_OK)
        take(m, slice_of(mem, (size_t)n), &at);
    return true;
}

bool media_until(struct media *m, bool (*there)(const struct media *), int64_t ms) {
    if (!m || m->t->verdict) return false;
    for (int64_t until = ua_until(m->a, ms); !there(m) && !m->t->verdict;)
        if (!media_hear(m, until)) break;
    return there(m);
}

void media_listen(struct media *m, int64_t ms) {
    for (int64_t until = clock_ms() + ms; media_hear(m, until);) {}
}

void media_wait(struct media *m, unsigned checks, unsigned dtls, int64_t ms) {
    if (!m || m->t->verdict) return;
    int64_t until = clock_ms() + ms;
    while (!(checks && m->checks >= checks) && !(dtls && m->dtls >= dtls))
        if (!media_hear(m, until)) return;
}

/* ---- keys, and what is sent under them ------------------------------------------------------- */

static void give(void *context, slice datagram) {
    const struct media *m = context;
    if (m->peer.family != ADDR_NONE) put(m, datagram, &m->peer);
}

void media_key(struct media *m, const struct dtls_wish *wish) {
    if (!m || m->t->verdict) return;
    m->answers = true;
    if (dtls_open(wish, give, m, &m->dtls_end) != ERR_OK)
        test_unclear(m->t, "no DTLS can be spoken by OpenSSL here");
}

bool media_is_up(const struct media *m) {
    return dtls_state(m->dtls_end) != DTLS_SHAKES;
}

void media_say(struct media *m, uint32_t index, unsigned wrong) {
    char rtp[12 + 160] = { (char)0x80, (char)m->payload, (char)(index >> 8), (char)index };
    uint32_t stamp = index * 160;
    for (unsigned i = 0; i < 4; i++) {
        rtp[4 + i] = (char)(stamp >> (24 - 8 * i));
        rtp[8 + i] = (char)(MEDIA_SSRC >> (24 - 8 * i));
    }
    memset(rtp + 12, 0xd5, sizeof rtp - 12); /* silence in A-law, to whom it is that */
    char mem[SRTP_BYTES];
    struct buf b = buf_over(mem, sizeof mem);
    if (!m->keyed || !srtp_seal(&m->ours, slice_of(rtp, sizeof rtp), index >> 16, &b)) return;
    if (wrong & MEDIA_FORGED) b.ptr[b.len / 2] ^= 1;
    put(m, buf_slice(&b), &m->peer);
    if (!wrong && index > m->said) m->said = index;
}

void media_report(struct media *m, slice rtcp, unsigned wrong) {
    char mem[SRTP_BYTES];
    struct buf b = buf_over(mem, sizeof mem);
    (void)test_event(m->t, '>', wrong ? "rtcp in clear" : "rtcp", rtcp);
    if (wrong)
        buf_put(&b, rtcp);
    else if (!m->keyed || !srtcp_seal(&m->ours, rtcp, ++m->sent_reports, &b))
        return;
    put(m, buf_slice(&b), &m->peer);
}
