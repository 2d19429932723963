/* check/srtp.c - AES in counter mode and HMAC-SHA1 around a packet. */
#include "check/srtp.h"

#include "crypto/crypto.h"
#include <openssl/evp.h>
#include <string.h>

static uint32_t get32(const char *p) {
    return (uint32_t)(uint8_t)p[0] << 24 | (uint32_t)(uint8_t)p[1] << 16 |
           (uint32_t)(uint8_t)p[2] << 8 | (uint8_t)p[3];
}
static unsigned get16(const char *p) {
    return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}
static void put32(uint8_t *p, uint32_t v) {
    for (unsigned i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* ---- the cipher ------------------------------------------------------------------------------ */

/* XORs the key stream over it; the same there and back. */
static bool stream(const uint8_t key[static SRTP_KEY], const uint8_t iv[static 16], void *bytes,
                   size_t len) {
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n = 0;
    bool good = c && EVP_EncryptInit_ex(c, EVP_aes_128_ctr(), NULL, key, iv) == 1 &&
                EVP_EncryptUpdate(c, bytes, &n, bytes, (int)len) == 1 && (size_t)n == len;
    EVP_CIPHER_CTX_free(c);
    return good;
}

/* RFC 3711 4.1.1: the salt, with SSRC and the index of 48 bits XORed into it */
static bool cipher(const struct srtp_keys *k, uint32_t ssrc, uint64_t index, void *bytes,
                   size_t len) {
    uint8_t iv[16] = { 0 };
    memcpy(iv, k->salt, sizeof k->salt);
    for (unsigned i = 0; i < 4; i++) iv[4 + i] ^= (uint8_t)(ssrc >> (24 - 8 * i));
    for (unsigned i = 0; i < 6; i++) iv[8 + i] ^= (uint8_t)(index >> (40 - 8 * i));
    return stream(k->cipher, iv, bytes, len);
}

/* RFC 3711 4.3.1, 4.3.3: of the key stream under the salt with the label in its 8th octet */
static bool derive(const uint8_t key[static SRTP_KEY], const uint8_t salt[static SRTP_SALT],
                   uint8_t label, uint8_t *out, size_t len) {
    uint8_t iv[16] = { 0 };
    memcpy(iv, salt, SRTP_SALT);
    iv[7] ^= label;
    memset(out, 0, len);
    bool good = stream(key, iv, out, len);
    crypto_wipe(iv, sizeof iv);
    return good;
}

static bool derive_all(const uint8_t *key, const uint8_t *salt, uint8_t label,
                       struct srtp_keys *k) {
    return derive(key, salt, label, k->cipher, sizeof k->cipher) &&
           derive(key, salt, label + 1, k->mac, sizeof k->mac) &&
           derive(key, salt, label + 2, k->salt, sizeof k->salt);
}

bool srtp_init(struct srtp *s, const uint8_t key[static SRTP_KEY],
               const uint8_t salt[static SRTP_SALT]) {
    return derive_all(key, salt, 0, &s->rtp) && derive_all(key, salt, 3, &s->rtcp);
}

void srtp_wipe(struct srtp *s) {
    crypto_wipe(s, sizeof *s);
}

/* ---- SRTP ------------------------------------------------------------------------------------ */

size_t rtp_head(slice s) {
    if (s.len < 12 || (uint8_t)s.ptr[0] >> 6 != 2) return 0;
    size_t head = 12 + 4 * ((size_t)s.ptr[0] & 15);
    if (s.ptr[0] & 0x10) {
        if (s.len < head + 4) return 0;
        head += 4 + 4 * (size_t)get16(s.ptr + head + 2);
    }
    return head <= s.len ? head : 0;
}

/* RFC 3711 4.2: over the packet and what follows it without being sent: the turns */
static void tag(const struct srtp_keys *k, slice packet, const uint32_t *turns,
                uint8_t mac[static 20]) {
    char mem[SRTP_BYTES + 4];
    struct buf b = buf_over(mem, sizeof mem);
    uint8_t last[4];
    buf_put(&b, packet);
    if (turns) put32(last, *turns);
    if (turns) buf_put(&b, slice_of((const char *)last, sizeof last));
    crypto_hmac_sha1(slice_of((const char *)k->mac, sizeof k->mac), buf_slice(&b), mac);
}

static uint64_t index_of(slice rtp, uint32_t turns) {
    return (uint64_t)turns << 16 | get16(rtp.ptr + 2);
}

bool srtp_seal(const struct srtp *s, slice rtp, uint32_t turns, struct buf *out) {
    size_t head = rtp_head(rtp), from = out->len;
    if (!head || rtp.len > SRTP_BYTES - SRTP_TAG || buf_room(out) < rtp.len + SRTP_TAG)
        return false;
    buf_put(out, rtp);
    uint8_t mac[20];
    if (!cipher(&s->rtp, get32(rtp.ptr + 8), index_of(rtp, turns), out->ptr + from + head,
                rtp.len - head))
        return false;
    tag(&s->rtp, slice_of(out->ptr + from, rtp.len), &turns, mac);
    buf_put(out, slice_of((const char *)mac, SRTP_TAG));
    return true;
}

bool srtp_open(const struct srtp *s, slice packet, uint32_t turns, char mem[static SRTP_BYTES],
               slice *out) {
    if (packet.len > SRTP_BYTES || packet.len < SRTP_TAG) return false;
    slice rtp = slice_head(packet, packet.len - SRTP_TAG);
    size_t head = rtp_head(rtp);
    uint8_t mac[20];
    if (!head) return false;
    tag(&s->rtp, rtp, &turns, mac);
    if (!crypto_equal(mac, rtp.ptr + rtp.len, SRTP_TAG)) return false;
    memcpy(mem, rtp.ptr, rtp.len);
    *out = slice_of(mem, rtp.len);
    return cipher(&s->rtp, get32(mem + 8), index_of(rtp, turns), mem + head, rtp.len - head);
}

/* ---- SRTCP ----------------------------------------------------------------------------------- */

#define RTCP_HEAD 8u /* stays in clear: RFC 3711 3.4 */

bool srtcp_seal(const struct srtp *s, slice rtcp, uint32_t index, struct buf *out) {
    size_t from = out->len;
    if (rtcp.len < RTCP_HEAD || rtcp.len > SRTP_BYTES - 4 - SRTP_TAG ||
        buf_room(out) < rtcp.len + 4 + SRTP_TAG)
        return false;
    buf_put(out, rtcp);
    uint8_t last[4], mac[20];
    put32(last, index | 1u << 31);
    if (!cipher(&s->rtcp, get32(rtcp.ptr + 4), index, out->ptr + from + RTCP_HEAD,
                rtcp.len - RTCP_HEAD))
        return false;
    buf_put(out, slice_of((const char *)last, sizeof last));
    tag(&s->rtcp, slice_of(out->ptr + from, rtcp.len + 4), NULL, mac);
    buf_put(out, slice_of((const char *)mac, SRTP_TAG));
    return true;
}

bool srtcp_open(const struct srtp *s, slice packet, char mem[static SRTP_BYTES], slice *out,
                uint32_t *index, bool *clear) {
    if (packet.len > SRTP_BYTES || packet.len < RTCP_HEAD + 4 + SRTP_TAG) return false;
    slice whole = slice_head(packet, packet.len - SRTP_TAG);
    uint8_t mac[20];
    tag(&s->rtcp, whole, NULL, mac);
    if (!crypto_equal(mac, whole.ptr + whole.len, SRTP_TAG)) return false;
    uint32_t last = get32(whole.ptr + whole.len - 4);
    *index = last & 0x7fffffff;
    *clear = !(last >> 31);
    *out = slice_of(mem, whole.len - 4);
    memcpy(mem, whole.ptr, out->len);
    return *clear ||
           cipher(&s->rtcp, get32(mem + 4), *index, mem + RTCP_HEAD, out->len - RTCP_HEAD);
}

/* ---- reports --------------------------------------------------------------------------------- */

bool rtcp_about(slice rtcp, uint32_t ssrc, struct rtcp_block *out) {
    bool there = false;
    while (rtcp.len >= 8) {
        unsigned type = (uint8_t)rtcp.ptr[1], blocks = (uint8_t)rtcp.ptr[0] & 31;
        size_t len = 4 + 4 * (size_t)get16(rtcp.ptr + 2), at = type == 200 ? 28 : 8;
        slice one = slice_head(rtcp, len);
        for (; (type == 200 || type == 201) && blocks-- && at + 24 <= one.len; at += 24) {
            const char *p = one.ptr + at;
            if (get32(p) != ssrc) continue;
            uint32_t lost = get32(p + 4) & 0xffffff;
            out->lost = (int32_t)lost - (lost >> 23 ? 1 << 24 : 0);
            out->highest = get32(p + 8);
            there = true;
        }
        rtcp = slice_from(rtcp, len);
    }
    return there;
}
