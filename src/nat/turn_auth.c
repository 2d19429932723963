/* Who asks? The long-term mechanism of RFC 8489 9.2 over credentials that are made, not stored. */
#include "nat/turn_priv.h"

#include "base/buf.h"
#include "base/scan.h"

#define COOKIE      "obMatJos2gAAA" /* RFC 8489 9.2, 18.1: bit 0, password algorithms, is set */
#define NONCE_CHARS (sizeof(COOKIE) - 1 + 8 + 16)

/* RFC 8489 14.11: SHA-256 first, then MD5 for clients that know no better; no parameters. */
static const char algorithms[] = "\x00\x02\x00\x00\x00\x01\x00\x00";
#define ALGORITHMS SLICE("\x00\x02\x00\x00\x00\x01\x00\x00")

/* ---- credentials ---- */

static void password_of(const uint8_t key[static 32], slice username, char out[static 23]) {
    char mem[16 + TURN_USERNAME_BYTES];
    uint8_t mac[CRYPTO_MAC_BYTES];
    struct buf text = buf_over(mem, sizeof mem), chars = buf_over(out, TURN_PASSWORD_BYTES);
    buf_lit(&text, "turn password\n");
    buf_put(&text, username);
    crypto_mac(key, text.ptr, text.len, mac);
    buf_base64url(&chars, mac, sizeof mac);
    out[TURN_PASSWORD_BYTES] = 0;
    crypto_wipe(mac, sizeof mac);
}

void turn_credential_make(const uint8_t key[static 32], uint32_t account_id, uint32_t device_id,
                          wall_t until, struct turn_credential *out) {
    struct buf b = buf_over(out->username, TURN_USERNAME_BYTES);
    buf_u64(&b, (uint64_t)(until / 1000));
    buf_byte(&b, ':');
    buf_u64(&b, account_id);
    if (device_id) {
        buf_byte(&b, ':');
        buf_u64(&b, device_id);
    }
    out->username[b.len] = 0;
    password_of(key, buf_slice(&b), out->password);
}

enum err turn_credential_read(const uint8_t key[static 32], slice username, wall_t now,
                              uint32_t *out_account, uint32_t *out_device, wall_t *out_until,
                              struct turn_credential *out) {
    uint64_t until;
    size_t at = slice_find(username, ':');
    if (username.len > TURN_USERNAME_BYTES || at == username.len) return ERR_BAD;
    slice whose = slice_from(username, at + 1);
    size_t end = slice_find(whose, ':');
    *out_device = 0;
    if (slice_u64(slice_head(username, at), UINT32_MAX * (uint64_t)16, &until) != ERR_OK ||
        slice_u32(slice_head(whose, end), UINT32_MAX, out_account) != ERR_OK ||
        (end < whose.len &&
         slice_u32(slice_from(whose, end + 1), UINT32_MAX, out_device) != ERR_OK))
        return ERR_BAD;
    *out_until = (wall_t)until * 1000;
    memcpy(out->username, username.ptr, username.len);
    out->username[username.len] = 0;
    password_of(key, username, out->password);
    return *out_until > now ? ERR_OK : ERR_STALE;
}

/* ---- nonces ---- */

/* RFC 8489 9.2.4: no two clients get the same one: it is bound to where the request came from. */
static void nonce_mac(const struct turn *t, const struct turn_tuple *from, uint32_t made_s,
                      uint8_t out[static CRYPTO_MAC_BYTES]) {
    struct {
        char label[8];
        uint64_t stream;
        struct addr peer;
        uint32_t made_s;
    } text;
    memset(&text, 0, sizeof text);
    memcpy(text.label, "turn-nce", sizeof text.label);
    text.stream = from->stream;
    text.peer = from->peer;
    text.made_s = made_s;
    crypto_mac(t->config.key, &text, sizeof text, out);
}

static void nonce_write(const struct turn *t, const struct turn_tuple *from, struct now now,
                        struct buf *b) {
    uint8_t mac[CRYPTO_MAC_BYTES];
    uint32_t s = (uint32_t)(now.wall / 1000);
    const uint8_t be[4] = { (uint8_t)(s >> 24), (uint8_t)(s >> 16), (uint8_t)(s >> 8), (uint8_t)s };
    nonce_mac(t, from, s, mac);
    buf_lit(b, COOKIE);
    buf_hex(b, be, sizeof be);
    buf_hex(b, mac, 8);
}

static bool nonce_is_fresh(const struct turn *t, const struct turn_tuple *from, slice nonce,
                           struct now now) {
    uint8_t bytes[12], mac[CRYPTO_MAC_BYTES];
    size_t n;
    if (nonce.len != NONCE_CHARS || !slice_starts(nonce, SLICE(COOKIE)) ||
        hex_read(slice_from(nonce, sizeof(COOKIE) - 1), bytes, sizeof bytes, &n) != ERR_OK)
        return false;
    uint32_t made_s =
        (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    uint32_t age_s = (uint32_t)(now.wall / 1000) - made_s; /* one from tomorrow is very old */
    nonce_mac(t, from, made_s, mac);
    return crypto_equal(mac, bytes + 4, 8) && age_s <= t->config.nonce_life_s;
}

/* ---- strangers ---- */

bool turn_may_answer(struct turn *t, const struct turn_tuple *from, mono_t now) {
    if (from->stream) return true; /* it has shaken hands: it is where it says */
    if (strangers_may_hear(t->strangers, &from->peer, now)) return true;
    COUNT(t, dropped, 1);
    return false;
}

/* ---- RFC 8489 9.2.4 ---- */

/* Which key? MD5 when the client says nothing of algorithms. 400: it says something that we had
 * not offered, which is what a bid-down attack looks like (9.2.1). */
static unsigned algorithm(const struct stun_msg *m, bool *out_is_sha256) {
    slice offered, chosen;
    bool has_offered = stun_find(m, STUN_PASSWORD_ALGORITHMS, &offered);
    bool has_chosen = stun_find(m, STUN_PASSWORD_ALGORITHM, &chosen);
    *out_is_sha256 = false;
    if (!has_offered && !has_chosen) return 0;
    if (!has_offered || !has_chosen || !slice_eq(offered, ALGORITHMS) || chosen.len != 4)
        return 400;
    *out_is_sha256 = memcmp(chosen.ptr, algorithms, 4) == 0;
    return *out_is_sha256 || memcmp(chosen.ptr, algorithms + 4, 4) == 0 ? 0 : 400;
}

unsigned turn_authenticate(struct turn *t, const struct turn_tuple *from, const struct stun_msg *m,
                           struct now now, struct turn_asker *out) {
    struct turn_credential credential;
    slice realm, nonce;
    bool is_sha256_key, is_sha256_mac;
    if (!m->sha1_at && !m->sha256_at) return 401;
    if (!stun_find(m, STUN_USERNAME, &out->username) || !stun_find(m, STUN_REALM, &realm) ||
        !stun_find(m, STUN_NONCE, &nonce))
        return 400;
    unsigned status = algorithm(m, &is_sha256_key);
    if (status) return status;
    enum err err = turn_credential_read(t->config.key, out->username, now.wall, &out->account_id,
                                        &out->device_id, &out->until, &credential);
    if (err != ERR_OK || !slice_eq(realm, t->config.realm)) return 401;
    slice password = slice_of(credential.password, TURN_PASSWORD_BYTES);
    out->key_len =
        (uint8_t)stun_long_term_key(out->username, realm, password, is_sha256_key, out->key);
    err = stun_check(m, slice_of(out->key, out->key_len), &is_sha256_mac);
    crypto_wipe(&credential, sizeof credential);
    if (err != ERR_OK) return 401;
    if (!nonce_is_fresh(t, from, nonce, now)) return 438;
    /* 9.2.4, last part: who spoke of algorithms gets SHA-256 back, others the old one. */
    slice offered;
    out->is_sha256 = is_sha256_mac || stun_find(m, STUN_PASSWORD_ALGORITHMS, &offered);
    return 0;
}

slice turn_refuse_auth(struct turn *t, const struct turn_tuple *from, const struct stun_msg *m,
                       unsigned status, struct now now) {
    char mem[NONCE_CHARS];
    struct buf nonce = buf_over(mem, sizeof mem);
    struct stun_writer w =
        stun_begin(t->out, sizeof t->out, (enum stun_method)m->method, STUN_ERROR, m->id);
    stun_put_error(&w, status,
                   status == 401   ? SLICE("Unauthenticated")
                   : status == 438 ? SLICE("Stale Nonce")
                                   : SLICE("Bad Request"));
    if (status != 400) {
        nonce_write(t, from, now, &nonce);
        stun_put(&w, STUN_REALM, t->config.realm);
        stun_put(&w, STUN_NONCE, buf_slice(&nonce));
        stun_put(&w, STUN_PASSWORD_ALGORITHMS, ALGORITHMS);
    }
    return stun_end(&w);
}
