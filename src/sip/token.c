#include "sip/token.h"

#include "base/hash.h"
#include "crypto/crypto.h"

/* ---- numbers in network order ---- */

static uint8_t *put_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}
static uint8_t *put_u32(uint8_t *p, uint32_t v) {
    p = put_u16(p, (uint16_t)(v >> 16));
    return put_u16(p, (uint16_t)v);
}
static uint8_t *put_u64(uint8_t *p, uint64_t v) {
    p = put_u32(p, (uint32_t)(v >> 32));
    return put_u32(p, (uint32_t)v);
}
static uint32_t get_u32(const uint8_t **p) {
    const uint8_t *s = *p;
    *p += 4;
    return (uint32_t)s[0] << 24 | (uint32_t)s[1] << 16 | (uint32_t)s[2] << 8 | s[3];
}
static uint64_t get_u64(const uint8_t **p) {
    uint64_t high = get_u32(p);
    return high << 32 | get_u32(p);
}

/* ---- route tokens ---- */

#define TOKEN_VERSION 1u

void route_token_write(const uint8_t key[static 64], const struct route_token *token,
                       struct buf *out) {
    uint8_t plain[ROUTE_TOKEN_BYTES] = { 0 };
    uint8_t box[ROUTE_TOKEN_BYTES + CRYPTO_SIV_OVERHEAD];
    uint8_t *p = put_u32(plain, TOKEN_VERSION);
    p = put_u32(p, (uint32_t)token->node << 16 | token->policy);
    p = put_u32(p, token->run);
    for (unsigned i = 0; i < 2; i++) {
        p = put_u64(p, token->side[i].flow);
        p = put_u32(p, token->side[i].account_id);
        p = put_u32(p, token->side[i].bid);
    }
    put_u64(p, token->call_hash);
    crypto_siv_seal(key, plain, sizeof plain, box);
    buf_base64url(out, box, sizeof box);
}

enum err route_token_read(const uint8_t key[static 64], slice user, struct route_token *out) {
    uint8_t box[ROUTE_TOKEN_BYTES + CRYPTO_SIV_OVERHEAD], plain[ROUTE_TOKEN_BYTES];
    size_t len;
    if (user.len != ROUTE_TOKEN_CHARS || base64url_read(user, box, sizeof box, &len) != ERR_OK ||
        len != sizeof box)
        return ERR_BAD;
    if (crypto_siv_open(key, box, sizeof box, plain) != ERR_OK) return ERR_CRYPTO;
    const uint8_t *p = plain;
    if (get_u32(&p) != TOKEN_VERSION) return ERR_BAD;
    uint32_t word = get_u32(&p);
    out->node = (uint16_t)(word >> 16);
    out->policy = (uint16_t)word;
    out->run = get_u32(&p);
    for (unsigned i = 0; i < 2; i++) {
        out->side[i].flow = get_u64(&p);
        out->side[i].account_id = get_u32(&p);
        out->side[i].bid = get_u32(&p);
    }
    out->call_hash = get_u64(&p);
    return ERR_OK;
}

/* ---- GRUUs ---- */

#define GRUU_VERSION 1u
#define GRUU_HASH    8u /* bytes of the instance's hash, then as many of the mark */
#define GRUU_BYTES   16u

static void gruu_mark(const uint8_t key[static 64], uint32_t account_id, uint64_t instance,
                      uint8_t out[static GRUU_BYTES]) {
    uint8_t text[12], mac[CRYPTO_MAC_BYTES];
    put_u64(put_u32(text, account_id), instance);
    crypto_mac(key, text, sizeof text, mac); /* no text that is sealed has this length */
    put_u64(out, instance);
    memcpy(out + GRUU_HASH, mac, GRUU_BYTES - GRUU_HASH);
}

void gruu_write(const uint8_t key[static 64], uint32_t account_id, uint64_t instance,
                struct buf *out) {
    uint8_t bytes[GRUU_BYTES];
    gruu_mark(key, account_id, instance, bytes);
    buf_hex(out, bytes, sizeof bytes);
}

enum err gruu_read(const uint8_t key[static 64], slice gr, uint32_t account_id,
                   uint64_t *out_instance) {
    uint8_t bytes[GRUU_BYTES], wanted[GRUU_BYTES];
    size_t len;
    if (gr.len != GRUU_CHARS || hex_read(gr, bytes, sizeof bytes, &len) != ERR_OK ||
        len != sizeof bytes)
        return ERR_BAD;
    const uint8_t *p = bytes;
    uint64_t instance = get_u64(&p);
    gruu_mark(key, account_id, instance, wanted);
    if (!crypto_equal(bytes, wanted, sizeof bytes)) return ERR_BAD;
    *out_instance = instance;
    return ERR_OK;
}

void gruu_temp_write(const uint8_t key[static 64], const struct gruu *gruu, struct buf *out) {
    uint8_t plain[GRUU_TEMP_BYTES], box[GRUU_TEMP_BYTES + CRYPTO_SIV_OVERHEAD];
    plain[0] = GRUU_VERSION;
    uint8_t *p = put_u32(plain + 1, gruu->account_id);
    p = put_u64(p, gruu->instance);
    p = put_u64(p, gruu->epoch);
    put_u64(p, gruu->serial);
    crypto_siv_seal(key, plain, sizeof plain, box);
    buf_base64url(out, box, sizeof box);
}

enum err gruu_temp_read(const uint8_t key[static 64], slice user, struct gruu *out) {
    uint8_t box[GRUU_TEMP_BYTES + CRYPTO_SIV_OVERHEAD], plain[GRUU_TEMP_BYTES];
    size_t len;
    if (user.len != GRUU_TEMP_CHARS || base64url_read(user, box, sizeof box, &len) != ERR_OK ||
        len != sizeof box)
        return ERR_BAD;
    if (crypto_siv_open(key, box, sizeof box, plain) != ERR_OK) return ERR_CRYPTO;
    if (plain[0] != GRUU_VERSION) return ERR_BAD;
    const uint8_t *p = plain + 1;
    out->account_id = get_u32(&p);
    out->instance = get_u64(&p);
    out->epoch = get_u64(&p);
    out->serial = get_u64(&p);
    return ERR_OK;
}

/* ---- branches ---- */

#define MAGIC_COOKIE      "z9hG4bK" /* RFC 3261 8.1.1.7 */
#define BRANCH_BYTES      24u       /* worker 1, slot 3, generation 4, loop hash 8, MAC 8 */
#define BRANCH_OPEN_BYTES 16u
#define BRANCH_CHARS      32u

/* A branch only has to be hard to guess for as long as a transaction lives, and its response must
 * come over the right flow as well: SipHash, a keyed PRF of 64 bits, is enough, and it is made and
 * checked for every message. */
static uint64_t branch_mac(const uint8_t key[static 32], const uint8_t *open) {
    struct hash_key k;
    memcpy(&k, key, sizeof k);
    return siphash(&k, open, BRANCH_OPEN_BYTES);
}

void branch_write(const uint8_t key[static 32], unsigned worker, pool_id id, uint64_t loop_hash,
                  struct buf *out) {
    uint8_t bytes[BRANCH_BYTES];
    put_u32(bytes, (uint32_t)(worker & 0xff) << 24 | (id.slot & 0xffffff));
    put_u64(put_u32(bytes + 4, id.gen), loop_hash);
    put_u64(bytes + BRANCH_OPEN_BYTES, branch_mac(key, bytes));
    buf_lit(out, MAGIC_COOKIE);
    buf_base64url(out, bytes, sizeof bytes);
}

bool branch_read(const uint8_t key[static 32], slice branch, unsigned *out_worker, pool_id *out_id,
                 uint64_t *out_loop_hash) {
    uint8_t bytes[BRANCH_BYTES], mac[8];
    size_t len;
    if (branch.len != sizeof MAGIC_COOKIE - 1 + BRANCH_CHARS ||
        !slice_starts(branch, SLICE(MAGIC_COOKIE)) ||
        base64url_read(slice_from(branch, sizeof MAGIC_COOKIE - 1), bytes, sizeof bytes, &len) !=
            ERR_OK ||
        len != sizeof bytes)
        return false;
    put_u64(mac, branch_mac(key, bytes));
    if (!crypto_equal(mac, bytes + BRANCH_OPEN_BYTES, sizeof mac)) return false;
    const uint8_t *p = bytes;
    uint32_t word = get_u32(&p);
    *out_worker = word >> 24;
    out_id->slot = word & 0xffffff;
    out_id->gen = get_u32(&p);
    *out_loop_hash = get_u64(&p);
    return true;
}
