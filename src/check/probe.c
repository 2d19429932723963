/* check/probe.c - RFC 8489 and RFC 8656 as far as tests need them. */
#include "check/probe.h"

#include "check/link.h"
#include "crypto/crypto.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define COOKIE "\x21\x12\xa4\x42"

static void put16(struct buf *b, unsigned v) {
    buf_byte(b, (char)(v >> 8));
    buf_byte(b, (char)v);
}

void probe_put(struct buf *b, unsigned type, slice value) {
    put16(b, type);
    put16(b, (unsigned)value.len);
    buf_put(b, value);
    buf_put(b, slice_of("\0\0\0", (4 - value.len % 4) % 4));
}

static void put_number(struct buf *b, unsigned type, uint32_t v) {
    char bytes[4] = { (char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v };
    probe_put(b, type, slice_of(bytes, 4));
}

static void put_address(struct buf *b, unsigned type, const struct addr *a, const char *id) {
    size_t n = a->family == ADDR_V6 ? 16 : 4;
    unsigned port = a->port ^ 0x2112u;
    char v[20] = { 0, a->family == ADDR_V6 ? 2 : 1, (char)(port >> 8), (char)port };
    for (size_t i = 0; i < n; i++)
        v[4 + i] = (char)(a->ip[i] ^ (uint8_t)(i < 4 ? COOKIE[i] : id[i - 4]));
    probe_put(b, type, slice_of(v, 4 + n));
}

void probe_set_length(struct buf *b, size_t body) {
    b->ptr[2] = (char)(body >> 8);
    b->ptr[3] = (char)body;
}

void probe_put_fingerprint(struct buf *b) {
    probe_set_length(b, b->len - 20 + 8);
    uint32_t crc = ~0u;
    for (size_t i = 0; i < b->len; i++) {
        crc ^= (uint8_t)b->ptr[i];
        for (unsigned k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    crc = ~crc ^ 0x5354554eu; /* RFC 8489 14.7 */
    char v[4] = { (char)(crc >> 24), (char)(crc >> 16), (char)(crc >> 8), (char)crc };
    probe_put(b, 0x8028, slice_of(v, 4));
}

void probe_put_binding(struct buf *b, slice request, const struct addr *seen) {
    buf_lit(b, "\1\1\0\0");
    buf_put(b, slice_head(slice_from(request, 4), 16));
    put_address(b, STUN_MAPPED, seen, request.ptr + 8);
    probe_set_length(b, b->len - 20);
}

/* RFC 8489 14.5: HMAC-SHA1 with MD5(user:realm:password), over a length that counts itself. */
static void put_integrity(struct buf *b, const struct probe *u) {
    char mem[512];
    uint8_t key[16], mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf k = buf_over(mem, sizeof mem);
    buf_fmt(&k, "%s:" SLICE_FMT ":%s", u->user, SLICE_ARG(u->realm), u->password);
    crypto_md5(k.ptr, k.len, key);
    crypto_wipe(mem, sizeof mem);
    probe_set_length(b, b->len - 20 + 24);
    (void)HMAC(EVP_sha1(), key, sizeof key, (const uint8_t *)b->ptr, b->len, mac, &len);
    probe_put(b, STUN_INTEGRITY, slice_of(mac, 20));
}

static void build(struct buf *b, const struct probe *u, const struct ask_stun *r) {
    char id[12];
    crypto_random(id, sizeof id);
    put16(b, r->method | (r->indication ? 0x10u : 0));
    put16(b, 0);
    buf_lit(b, COOKIE);
    buf_put(b, slice_of(id, sizeof id));
    char transport[4] = { (char)r->transport, 0, 0, 0 }, family[4] = { (char)r->family, 0, 0, 0 };
    char more[4] = { (char)r->more_family, 0, 0, 0 };
    if (r->transport) probe_put(b, STUN_TRANSPORT, slice_of(transport, 4));
    if (r->family) probe_put(b, STUN_FAMILY, slice_of(family, 4));
    if (r->more_family) probe_put(b, STUN_MORE_FAMILY, slice_of(more, 4));
    if (r->lifetime >= 0) put_number(b, STUN_LIFETIME, (uint32_t)r->lifetime);
    if (r->channel) put_number(b, STUN_CHANNEL_NUMBER, r->channel << 16);
    if (r->peer) put_address(b, STUN_PEER, r->peer, id);
    if (r->bytes.ptr) probe_put(b, STUN_BYTES, r->bytes);
    buf_put(b, r->extra);
    if (u->nonce.ptr && !r->indication) {
        probe_put(b, STUN_USERNAME, slice_str(u->user));
        probe_put(b, STUN_REALM, u->realm);
        if (!u->no_nonce) probe_put(b, STUN_NONCE, u->nonce);
        if (!u->no_integrity) put_integrity(b, u);
    }
    probe_set_length(b, b->len - 20);
}

/* ---- reading ------------------------------------------------------------------------------ */

static unsigned get16(const char *p) {
    return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

slice probe_attribute(const struct msg *r, unsigned type) {
    slice rest = r ? slice_from(r->raw, 20) : SLICE_NONE;
    while (rest.len >= 4) {
        size_t len = get16(rest.ptr + 2);
        if (len > rest.len - 4) break;
        if (get16(rest.ptr) == type) return slice_of(rest.ptr + 4, len);
        rest = slice_from(rest, 4 + (len + 3) / 4 * 4);
    }
    return SLICE_NONE;
}

unsigned probe_error(const struct msg *r) {
    slice e = probe_attribute(r, STUN_ERROR);
    return e.len < 4 ? 0 : (unsigned)(e.ptr[2] & 7) * 100 + (uint8_t)e.ptr[3];
}

bool probe_is_success(const struct msg *r) {
    return r && r->raw.len >= 20 && (get16(r->raw.ptr) & 0x110) == 0x100;
}

bool probe_address(const struct msg *r, unsigned type, struct addr *out) {
    slice v = probe_attribute(r, type);
    *out = (struct addr){ 0 };
    if (v.len != 8 && v.len != 20) return false;
    out->family = v.len == 8 ? ADDR_V4 : ADDR_V6;
    out->port = (uint16_t)(get16(v.ptr + 2) ^ 0x2112u);
    for (size_t i = 0; i + 4 < v.len; i++)
        out->ip[i] = (uint8_t)((uint8_t)v.ptr[4 + i] ^ (uint8_t)r->raw.ptr[4 + i]);
    return true;
}

bool probe_expect(struct test *t, const struct msg *r, unsigned error) {
    if (t->verdict) return false;
    if (!r) {
        test_fail(t, t->event_count, "no answer; %u is right", error);
    } else if (error ? probe_error(r) != error : !probe_is_success(r)) {
        test_fail(t, r->at, "the answer is %s %u; %u is right",
                  probe_is_success(r) ? "success" : "error", probe_error(r), error);
    }
    return !t->verdict;
}

/* ---- asking ------------------------------------------------------------------------------- */

struct probe probe_new(struct test *t, enum wire w, int account) {
    struct probe u = { .t = t, .a = ua_new(t, w, account) };
    u.account = account == NOBODY ? NULL : t->accounts[account];
    u.user = u.account ? u.account->user : "";
    u.password = u.account ? u.account->password : "";
    return u;
}

struct msg *probe_once(struct probe *u, const struct ask_stun *r) {
    char mem[2048];
    struct buf b = buf_over(mem, sizeof mem);
    if (!u->a || u->t->verdict) return NULL;
    build(&b, u, r);
    unsigned tries = ua_link(u->a)->wire == WIRE_UDP ? 3 : 1;
    for (unsigned i = 0; i < tries; i++) {
        ua_send_bytes(u->a, buf_slice(&b));
        if (r->indication) return NULL;
        for (struct msg *m; (m = ua_wait(u->a, "any", tries == 1 ? 2000 : 600));)
            if (m->raw.len >= 20 && memcmp(m->raw.ptr + 4, mem + 4, 16) == 0) return m;
    }
    return NULL;
}

struct msg *probe_ask(struct probe *u, const struct ask_stun *r) {
    for (unsigned round = 0;; round++) {
        struct msg *m = probe_once(u, r);
        unsigned e = probe_error(m);
        if (!m || (e != 401 && e != 438) || round == 2 || (e == 401 && u->nonce.ptr)) return m;
        if (!ua_verified(u->a)) {
            test_unclear(u->t, "credentials are not sent: the name of the target is not verified");
            return NULL;
        }
        u->realm = probe_attribute(m, STUN_REALM);
        u->nonce = probe_attribute(m, STUN_NONCE);
    }
}

struct msg *probe_allocate(struct probe *u, struct addr *relayed) {
    struct msg *m =
        probe_ask(u, &(struct ask_stun){ STUN_ALLOCATE, .transport = 17, .lifetime = -1 });
    if (!u->t->verdict && (!probe_is_success(m) || !probe_address(m, STUN_RELAYED, relayed)))
        test_unclear(u->t, "Allocate got %u", probe_error(m));
    return u->t->verdict ? NULL : m;
}

void probe_end(struct probe *u) {
    (void)probe_ask(u, &(struct ask_stun){ STUN_REFRESH, .lifetime = 0 });
}
