#include "nat/stun.h"

#include "base/be.h"
#include "base/buf.h"
#include "crypto/crypto.h"

#define ATTR_HEAD 4u
#define FAMILY_V4 1
#define FAMILY_V6 2
#define CRC_XOR   0x5354554eu /* RFC 8489 14.7 */

static size_t padded(size_t len) {
    return (len + 3) & ~(size_t)3;
}

/* The CRC-32 of RFC 1952 8, four bits at a step: a keep-alive has forty bytes. */
static uint32_t crc32_of(slice s) {
    static const uint32_t steps[16] = { 0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                        0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c };
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= (uint8_t)s.ptr[i];
        crc = crc >> 4 ^ steps[crc & 15];
        crc = crc >> 4 ^ steps[crc & 15];
    }
    return ~crc;
}

/* ---- reading ---- */

bool stun_is(slice bytes) {
    return bytes.len >= 8 && !((uint8_t)bytes.ptr[0] & 0xc0) && !((uint8_t)bytes.ptr[3] & 3) &&
           be32_get(bytes.ptr + 4) == STUN_COOKIE;
}

size_t stun_length(slice bytes) {
    return bytes.len < 4 ? 0 : STUN_HEAD_BYTES + be16_get(bytes.ptr + 2);
}

/* RFC 8489 figure 3: the two bits of the class stand between those of the method. */
static void read_type(struct stun_msg *m) {
    unsigned type = be16_get(m->bytes.ptr);
    m->class = (uint8_t)((type >> 7 & 2) | (type >> 4 & 1));
    m->method = (uint16_t)((type & 0x000f) | (type >> 1 & 0x0070) | (type >> 2 & 0x0f80));
}

/* RFC 8489 9: after MESSAGE-INTEGRITY only the SHA-256 one and FINGERPRINT are read, after the
 * SHA-256 one FINGERPRINT alone. */
static bool counts(const struct stun_msg *m, uint16_t type) {
    if (type == STUN_FINGERPRINT) return true;
    if (m->sha256_at) return false;
    return !m->sha1_at || type == STUN_MESSAGE_INTEGRITY_SHA256;
}

static enum err read_attr(struct stun_msg *m, size_t at, uint16_t type, size_t len) {
    if (!counts(m, type)) return ERR_OK;
    switch (type) {
    case STUN_MESSAGE_INTEGRITY:
        if (len != STUN_SHA1_BYTES) return ERR_BAD;
        m->sha1_at = (uint16_t)at;
        return ERR_OK;
    case STUN_MESSAGE_INTEGRITY_SHA256:
        if (len < 16 || len > STUN_SHA256_BYTES || len % 4) return ERR_BAD;
        m->sha256_at = (uint16_t)at;
        return ERR_OK;
    case STUN_FINGERPRINT: {
        size_t end = at + ATTR_HEAD + 4;
        if (len != 4 || end != m->bytes.len) return ERR_BAD; /* it MUST be the last one (14.7) */
        uint32_t crc = crc32_of(slice_head(m->bytes, at)) ^ CRC_XOR;
        m->has_fingerprint = true;
        return be32_get(m->bytes.ptr + at + ATTR_HEAD) == crc ? ERR_OK : ERR_BAD;
    }
    default:
        m->attrs_end = (uint16_t)(at + ATTR_HEAD + padded(len));
        return ERR_OK;
    }
}

enum err stun_read(slice bytes, struct stun_msg *out) {
    *out = (struct stun_msg){ .bytes = bytes, .attrs_end = STUN_HEAD_BYTES };
    if (bytes.len > STUN_BYTES_MAX) return ERR_LIMIT;
    if (bytes.len < STUN_HEAD_BYTES || !stun_is(bytes) || stun_length(bytes) != bytes.len)
        return ERR_BAD;
    read_type(out);
    memcpy(out->id, bytes.ptr + 8, STUN_ID_BYTES);
    unsigned count = 0;
    for (size_t at = STUN_HEAD_BYTES; at < bytes.len;) {
        if (bytes.len - at < ATTR_HEAD) return ERR_BAD;
        size_t len = be16_get(bytes.ptr + at + 2);
        if (padded(len) > bytes.len - at - ATTR_HEAD) return ERR_BAD;
        if (++count > STUN_ATTRS_MAX) return ERR_LIMIT;
        enum err err = read_attr(out, at, be16_get(bytes.ptr + at), len);
        if (err != ERR_OK) return err;
        at += ATTR_HEAD + padded(len);
    }
    return ERR_OK;
}

bool stun_next(const struct stun_msg *m, enum stun_attr type, uint16_t *at, slice *out) {
    uint16_t pos = *at ? *at : (uint16_t)STUN_HEAD_BYTES;
    while (pos < m->attrs_end) {
        const char *p = m->bytes.ptr + pos;
        size_t len = be16_get(p + 2);
        pos = (uint16_t)(pos + ATTR_HEAD + padded(len));
        if (be16_get(p) != (uint16_t)type) continue;
        *at = pos;
        *out = slice_of(p + ATTR_HEAD, len);
        return true;
    }
    *at = m->attrs_end;
    return false;
}

bool stun_find(const struct stun_msg *m, enum stun_attr type, slice *out) {
    uint16_t at = 0;
    return stun_next(m, type, &at, out);
}

enum err stun_find_u32(const struct stun_msg *m, enum stun_attr type, uint32_t *out) {
    slice v;
    if (!stun_find(m, type, &v)) return ERR_MISSING;
    if (v.len != 4) return ERR_BAD;
    *out = be32_get(v.ptr);
    return ERR_OK;
}

static void xor_addr(struct addr *a, const uint8_t id[static STUN_ID_BYTES]) {
    uint8_t mask[16] = { 0x21, 0x12, 0xa4, 0x42 };
    memcpy(mask + 4, id, STUN_ID_BYTES);
    a->port ^= STUN_COOKIE >> 16;
    size_t len = a->family == ADDR_V4 ? 4 : 16;
    for (size_t i = 0; i < len; i++) a->ip[i] ^= mask[i];
}

static enum err plain_addr(slice v, struct addr *out) {
    *out = (struct addr){ 0 };
    if (v.len < 4) return ERR_BAD;
    bool is_v6 = v.ptr[1] == FAMILY_V6;
    if (!is_v6 && v.ptr[1] != FAMILY_V4) return ERR_BAD;
    size_t len = is_v6 ? 16 : 4;
    if (v.len != 4 + len) return ERR_BAD;
    out->family = is_v6 ? ADDR_V6 : ADDR_V4;
    out->port = be16_get(v.ptr + 2);
    memcpy(out->ip, v.ptr + 4, len);
    return ERR_OK;
}

enum err stun_addr(const struct stun_msg *m, slice value, struct addr *out) {
    enum err err = plain_addr(value, out);
    if (err == ERR_OK) xor_addr(out, m->id);
    return err;
}

enum err stun_find_addr(const struct stun_msg *m, enum stun_attr type, struct addr *out) {
    slice v;
    if (!stun_find(m, type, &v)) return ERR_MISSING;
    bool is_plain = type == STUN_MAPPED_ADDRESS || type == STUN_ALTERNATE_SERVER;
    return is_plain ? plain_addr(v, out) : stun_addr(m, v, out);
}

unsigned stun_unknown(const struct stun_msg *m, const uint16_t *known, unsigned known_count,
                      uint16_t *out, unsigned max) {
    unsigned n = 0;
    for (size_t at = STUN_HEAD_BYTES; at < m->attrs_end;) {
        const char *p = m->bytes.ptr + at;
        uint16_t type = be16_get(p);
        bool is_known = type >= 0x8000 || type == STUN_MESSAGE_INTEGRITY ||
                        type == STUN_MESSAGE_INTEGRITY_SHA256;
        for (unsigned i = 0; i < known_count && !is_known; i++) is_known = known[i] == type;
        if (!is_known && n < max) out[n++] = type;
        at += ATTR_HEAD + padded(be16_get(p + 2));
    }
    return n;
}

unsigned stun_error(const struct stun_msg *m) {
    slice v;
    if (!stun_find(m, STUN_ERROR_CODE, &v) || v.len < 4) return 0;
    unsigned class = (uint8_t)v.ptr[2] & 7, number = (uint8_t)v.ptr[3];
    return class < 3 || class > 6 || number > 99 ? 0 : class * 100 + number;
}

/* ---- integrity ---- */

/* RFC 8489 14.5, 14.6: the HMAC over the message up to the attribute at `at`, with a length in the
 * head that ends after an attribute of `value_len` bytes. */
static void integrity(const char *msg, size_t at, size_t value_len, slice key, bool is_sha256,
                      uint8_t out[static 32]) {
    char copy[STUN_BYTES_MAX];
    ASSERT(at <= sizeof copy && at >= STUN_HEAD_BYTES);
    memcpy(copy, msg, at);
    be16_put(copy + 2, (unsigned)(at + ATTR_HEAD + value_len - STUN_HEAD_BYTES));
    if (is_sha256)
        crypto_hmac_sha256(key, slice_of(copy, at), out);
    else
        crypto_hmac_sha1(key, slice_of(copy, at), out);
}

enum err stun_check(const struct stun_msg *m, slice key, bool *out_is_sha256) {
    uint8_t want[32];
    *out_is_sha256 = m->sha256_at != 0;
    size_t at = m->sha256_at ? m->sha256_at : m->sha1_at;
    if (!at) return ERR_MISSING;
    size_t len = be16_get(m->bytes.ptr + at + 2);
    /* RFC 8489 14.6: no usage of ours allows a shorter value. */
    if (m->sha256_at && len != STUN_SHA256_BYTES) return ERR_DENIED;
    integrity(m->bytes.ptr, at, len, key, *out_is_sha256, want);
    bool is_equal = crypto_equal(want, m->bytes.ptr + at + ATTR_HEAD, len);
    crypto_wipe(want, sizeof want);
    return is_equal ? ERR_OK : ERR_DENIED;
}

size_t stun_long_term_key(slice username, slice realm, slice password, bool is_sha256,
                          uint8_t out[static 32]) {
    char mem[2048];
    struct buf b = buf_over(mem, sizeof mem);
    buf_put(&b, username);
    buf_byte(&b, ':');
    buf_put(&b, realm);
    buf_byte(&b, ':');
    buf_put(&b, password);
    size_t len = b.full ? 0 : is_sha256 ? 32 : 16;
    if (len == 32)
        crypto_sha256(b.ptr, b.len, out);
    else if (len == 16)
        crypto_md5(b.ptr, b.len, out);
    crypto_wipe(mem, sizeof mem);
    return len;
}

/* ---- writing ---- */

struct stun_writer stun_begin(void *mem, size_t cap, enum stun_method method, enum stun_class class,
                              const uint8_t id[static STUN_ID_BYTES]) {
    struct stun_writer w = { .out = buf_over(mem, cap < STUN_BYTES_MAX ? cap : STUN_BYTES_MAX) };
    char head[STUN_HEAD_BYTES] = { 0 };
    unsigned m = (unsigned)method, k = (unsigned)class;
    be16_put(head,
             (m & 0x000f) | (m & 0x0070) << 1 | (m & 0x0f80) << 2 | (k & 1) << 4 | (k & 2) << 7);
    be32_put(head + 4, STUN_COOKIE);
    memcpy(head + 8, id, STUN_ID_BYTES);
    memcpy(w.id, id, STUN_ID_BYTES);
    buf_put(&w.out, slice_of(head, sizeof head));
    return w;
}

static void fix_length(struct stun_writer *w) {
    if (!w->out.full) be16_put(w->out.ptr + 2, (unsigned)(w->out.len - STUN_HEAD_BYTES));
}

void stun_put(struct stun_writer *w, enum stun_attr type, slice value) {
    char head[ATTR_HEAD];
    be16_put(head, type);
    be16_put(head + 2, (unsigned)value.len);
    buf_put(&w->out, slice_of(head, sizeof head));
    buf_put(&w->out, value);
    buf_put(&w->out, slice_of("\0\0\0", padded(value.len) - value.len));
    fix_length(w);
}

void stun_put_u32(struct stun_writer *w, enum stun_attr type, uint32_t value) {
    char mem[4];
    be32_put(mem, value);
    stun_put(w, type, slice_of(mem, sizeof mem));
}

void stun_put_addr(struct stun_writer *w, enum stun_attr type, const struct addr *a) {
    char mem[20] = { 0 };
    size_t len = a->family == ADDR_V4 ? 4 : 16;
    mem[1] = a->family == ADDR_V4 ? FAMILY_V4 : FAMILY_V6;
    be16_put(mem + 2, a->port);
    memcpy(mem + 4, a->ip, len);
    stun_put(w, type, slice_of(mem, 4 + len));
}

void stun_put_xor_addr(struct stun_writer *w, enum stun_attr type, const struct addr *a) {
    struct addr masked = *a;
    xor_addr(&masked, w->id);
    stun_put_addr(w, type, &masked);
}

void stun_put_error(struct stun_writer *w, unsigned status, slice reason) {
    char mem[4 + 127] = { 0 };
    struct buf b = buf_over(mem, sizeof mem);
    b.len = 4;
    mem[2] = (char)(status / 100);
    mem[3] = (char)(status % 100);
    buf_put(&b, slice_head(reason, 127));
    stun_put(w, STUN_ERROR_CODE, buf_slice(&b));
}

void stun_put_integrity(struct stun_writer *w, slice key, bool is_sha256) {
    uint8_t mac[32];
    if (w->out.full) return;
    size_t len = is_sha256 ? STUN_SHA256_BYTES : STUN_SHA1_BYTES;
    integrity(w->out.ptr, w->out.len, len, key, is_sha256, mac);
    stun_put(w, is_sha256 ? STUN_MESSAGE_INTEGRITY_SHA256 : STUN_MESSAGE_INTEGRITY,
             slice_of(mac, len));
    crypto_wipe(mac, sizeof mac);
}

void stun_put_fingerprint(struct stun_writer *w) {
    stun_put_u32(w, STUN_FINGERPRINT, 0);
    if (w->out.full) return;
    size_t at = w->out.len - ATTR_HEAD - 4;
    be32_put(w->out.ptr + at + ATTR_HEAD, crc32_of(slice_of(w->out.ptr, at)) ^ CRC_XOR);
}

slice stun_end(struct stun_writer *w) {
    return w->out.full ? SLICE_NONE : buf_slice(&w->out);
}

slice stun_answer_binding(const struct stun_msg *m, const struct addr *source, void *mem,
                          size_t cap) {
    /* What ICE and authenticating clients may put in and what a plain server need not act on (RFC
     * 8489 12). */
    static const uint16_t known[] = {
        STUN_USERNAME,           STUN_REALM,   STUN_NONCE,       STUN_USERHASH,
        STUN_PASSWORD_ALGORITHM, ICE_PRIORITY, ICE_USE_CANDIDATE
    };
    uint16_t unknown[8];
    if (m->method != STUN_BINDING || m->class != STUN_REQUEST) return SLICE_NONE;
    unsigned n = stun_unknown(m, known, ARRAY_LEN(known), unknown, ARRAY_LEN(unknown));
    struct stun_writer w = stun_begin(mem, cap, STUN_BINDING, n ? STUN_ERROR : STUN_SUCCESS, m->id);
    if (n) {
        char list[2 * ARRAY_LEN(unknown)];
        for (unsigned i = 0; i < n; i++) be16_put(list + 2 * i, unknown[i]);
        stun_put_error(&w, 420, SLICE("Unknown Attribute"));
        stun_put(&w, STUN_UNKNOWN_ATTRIBUTES, slice_of(list, 2 * (size_t)n));
    } else {
        stun_put_xor_addr(&w, STUN_XOR_MAPPED_ADDRESS, source);
    }
    /* RFC 8489 7: whoever sent one wants one. */
    if (m->has_fingerprint) stun_put_fingerprint(&w);
    return stun_end(&w);
}
