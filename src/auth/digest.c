#include "auth/digest.h"
#include "auth/digest_used.h"
#include "crypto/crypto.h"
#include "sip/hdr.h"

/* A nonce, before base64url: time and salt (big-endian), then the MAC over them and the flow. */
#define NONCE_BYTES  (8 + 8 + CRYPTO_MAC_BYTES)
#define NONCE_CHARS  43
#define METHOD_MAX   64u
#define CNONCE_MAX   256u
#define USERNAME_MAX 512u
#define NC_CHARS     8u

struct nonce {
    uint64_t time, salt;
};
/* Credentials that are complete and well formed, with what was decoded from them. */
struct claim {
    slice username;
    struct digest_answer answer;
    uint8_t response[32];
    uint32_t nc;
    struct nonce nonce;
};

size_t digest_len(enum digest_algorithm algorithm) {
    return algorithm == DIGEST_MD5 ? 16 : 32;
}

slice digest_name(enum digest_algorithm algorithm) {
    switch (algorithm) {
    case DIGEST_SHA256:
        return SLICE("SHA-256");
    case DIGEST_SHA512_256:
        return SLICE("SHA-512-256");
    case DIGEST_MD5:
        break;
    }
    return SLICE("MD5");
}

/* ---- hashes ---- */

static void hash(enum digest_algorithm algorithm, const struct buf *text, uint8_t out[static 32]) {
    ASSERT(!text->full); /* every part was measured before it came here */
    switch (algorithm) {
    case DIGEST_SHA256:
        crypto_sha256(text->ptr, text->len, out);
        break;
    case DIGEST_SHA512_256:
        crypto_sha512_256(text->ptr, text->len, out);
        break;
    case DIGEST_MD5:
        crypto_md5(text->ptr, text->len, out);
        break;
    }
}

void digest_ha1(enum digest_algorithm algorithm, slice user, slice realm, slice secret,
                uint8_t out[static 32]) {
    char text[DIGEST_TEXT_MAX];
    struct buf b = buf_over(text, sizeof text);
    buf_put(&b, user);
    buf_byte(&b, ':');
    buf_put(&b, realm);
    buf_byte(&b, ':');
    buf_put(&b, secret);
    hash(algorithm, &b, out);
    crypto_wipe(text, sizeof text);
}

void digest_response(enum digest_algorithm algorithm, const uint8_t *ha1,
                     const struct digest_answer *answer, uint8_t out[static 32]) {
    char text[DIGEST_TEXT_MAX + METHOD_MAX + 1];
    uint8_t ha2[32];
    struct buf b = buf_over(text, sizeof text);
    buf_put(&b, answer->method);
    buf_byte(&b, ':');
    buf_put(&b, answer->uri);
    hash(algorithm, &b, ha2);
    buf_clear(&b);
    buf_hex(&b, ha1, digest_len(algorithm));
    buf_byte(&b, ':');
    buf_put(&b, answer->nonce);
    buf_byte(&b, ':');
    buf_put(&b, answer->nc);
    buf_byte(&b, ':');
    buf_put(&b, answer->cnonce);
    buf_lit(&b, ":auth:");
    buf_hex(&b, ha2, digest_len(algorithm));
    hash(algorithm, &b, out);
    crypto_wipe(text, b.len);
}

/* ---- nonces ---- */

static void put_u64(uint8_t to[static 8], uint64_t v) {
    for (int i = 7; i >= 0; i--, v >>= 8) to[i] = (uint8_t)v;
}
static uint64_t get_u64(const uint8_t from[static 8]) {
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v = v << 8 | from[i];
    return v;
}

/* On datagrams the address of the client is not covered: a phone may move between two requests. */
static void nonce_mac(const struct digest *d, const uint8_t head[static 16], flow_id flow,
                      bool reliable, uint8_t out[static CRYPTO_MAC_BYTES]) {
    uint8_t text[16 + 8 + 1] = { 0 };
    memcpy(text, head, 16);
    if (reliable) put_u64(text + 16, flow);
    text[24] = reliable;
    crypto_mac(d->mac_key, text, sizeof text, out);
}

/* MISSING: not one that we made for this flow (RFC 7616 3.3 leaves the form of a nonce to us). */
static enum err nonce_open(const struct digest *d, slice text, flow_id flow, bool reliable,
                           struct nonce *out) {
    uint8_t bytes[NONCE_BYTES], mac[CRYPTO_MAC_BYTES];
    size_t len;
    if (text.len != NONCE_CHARS) return ERR_MISSING;
    if (base64url_read(text, bytes, sizeof bytes, &len) || len != sizeof bytes) return ERR_MISSING;
    nonce_mac(d, bytes, flow, reliable, mac);
    if (!crypto_equal(mac, bytes + 16, sizeof mac)) return ERR_MISSING;
    *out = (struct nonce){ get_u64(bytes), get_u64(bytes + 8) };
    return ERR_OK;
}

void digest_challenge(const struct digest *d, enum digest_algorithm algorithm, slice realm,
                      flow_id flow, bool reliable, uint64_t salt, wall_t now, bool stale,
                      struct buf *out) {
    uint8_t bytes[NONCE_BYTES];
    put_u64(bytes, (uint64_t)now);
    put_u64(bytes + 8, salt);
    nonce_mac(d, bytes, flow, reliable, bytes + 16);
    buf_lit(out, "Digest realm=\"");
    buf_put(out, realm);
    buf_lit(out, "\", nonce=\"");
    buf_base64url(out, bytes, sizeof bytes);
    /* RFC 8760 2.4: qop is not optional with these algorithms. */
    buf_lit(out, "\", algorithm=");
    buf_put(out, digest_name(algorithm));
    buf_lit(out, ", qop=\"auth\"");
    if (stale) buf_lit(out, ", stale=true");
}

/* Young enough, and not overtaken on this flow? RFC 7616 3.3 (stale) and 3.4 (nc). */
static bool nonce_is_fresh(const struct digest *d, const struct claim *c, bool reliable,
                           const struct digest_flow *state, wall_t now) {
    if (now < 0 || c->nonce.time > (uint64_t)now) return false; /* our clock was set back */
    if ((uint64_t)now - c->nonce.time > (uint64_t)d->nonce_life_s * 1000) return false;
    if (!reliable) return true; /* the table of used nonces decides, after the secret */
    /* A clock that was set back must not lock the flow out: nonces of the former time are refused
     * above, and only the peer of this very flow could bring an older one again. */
    if (state->nonce_time > (uint64_t)now) return true;
    if (c->nonce.time != state->nonce_time) return c->nonce.time > state->nonce_time;
    if (c->nonce.salt != state->nonce_salt) return c->nonce.salt > state->nonce_salt;
    return c->nc > state->nc;
}

/* The secret was right: this nonce and nc are used up now. */
static bool nonce_take(const struct digest *d, const struct claim *c, bool reliable,
                       struct digest_flow *state) {
    if (!reliable) return digest_used_take(d->used, c->nonce.time, c->nonce.salt, c->nc);
    *state = (struct digest_flow){ c->nonce.time, c->nonce.salt, c->nc };
    return true;
}

/* ---- credentials ---- */

static bool algorithm_fits(const struct hdr_auth *c, enum digest_algorithm algorithm) {
    /* RFC 7616 3.4: absent means MD5. */
    if (!c->algorithm.ptr) return algorithm == DIGEST_MD5;
    return slice_ieq(c->algorithm, digest_name(algorithm));
}

/* RFC 3261 22.3: a request may carry credentials for several realms; ours is what counts. */
static enum digest_verdict pick(const struct sip_msg *req, enum sip_header_id which, slice realm,
                                enum digest_algorithm algorithm, struct hdr_auth *out) {
    bool bad = false;
    for (const struct sip_header *h = sip_first(req, which); h; h = sip_next(req, h)) {
        enum err e = hdr_auth(h->value, out);
        if (e) bad = true;
        if (e == ERR_OK && hdr_auth_is_digest(out) && slice_eq(out->realm, realm) &&
            algorithm_fits(out, algorithm))
            return DIGEST_OK;
    }
    return bad ? DIGEST_BAD : DIGEST_NONE;
}

static bool read_nc(slice text, uint32_t *out) {
    uint8_t b[4];
    size_t len;
    if (text.len != NC_CHARS || hex_read(text, b, sizeof b, &len) || len != sizeof b) return false;
    *out = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return *out != 0;
}

/* RFC 7616 3.4.6: the digest-uri must name the resource of the request line. */
static bool uri_fits(slice text, const struct sip_msg *req) {
    if (slice_eq(text, req->uri_text)) return true;
    struct sip_uri uri;
    return sip_uri_read(text, &uri) == ERR_OK && sip_uri_eq(&uri, &req->uri);
}

static enum digest_verdict read_claim(const struct hdr_auth *c, enum digest_algorithm algorithm,
                                      const struct sip_msg *req, struct claim *out) {
    /* 3GPP TS 24.229 5.1.1.2.2: a first REGISTER may name its user with an empty nonce and answer;
     * that is a wish to be challenged, not an answer. */
    if (c->nonce.len == 0 && c->response.len == 0) return DIGEST_NONE;
    /* RFC 7616 3.4: without qop there is no cnonce and no nc; RFC 8760 2.4 wants qop. */
    if (!slice_ieq(c->qop, SLICE("auth"))) return DIGEST_BAD;
    if (c->username_ext.ptr || slice_ieq(c->userhash, SLICE("true"))) return DIGEST_BAD;
    if (c->username.len == 0 || c->username.len > USERNAME_MAX) return DIGEST_BAD;
    if (c->cnonce.len == 0 || c->cnonce.len > CNONCE_MAX) return DIGEST_BAD;
    if (c->uri.len == 0 || c->uri.len > DIGEST_TEXT_MAX) return DIGEST_BAD;
    if (req->method_name.len > METHOD_MAX) return DIGEST_BAD;
    size_t len, want = digest_len(algorithm);
    if (c->response.len != want * 2) return DIGEST_BAD;
    if (hex_read(c->response, out->response, want, &len) || len != want) return DIGEST_BAD;
    if (!read_nc(c->nc, &out->nc) || !uri_fits(c->uri, req)) return DIGEST_BAD;
    out->username = c->username;
    out->answer = (struct digest_answer){ req->method_name, c->uri, c->nonce, c->nc, c->cnonce };
    return DIGEST_OK;
}

/* ---- the secret ---- */

/* One computation, over the account's (or device's) HA1 or over the decoy: alike in time. */
static bool try_secret(const struct digest *d, enum digest_algorithm algorithm,
                       const struct claim *c, uint32_t account_id, uint32_t device_id) {
    uint8_t ha1[32], expected[32];
    bool known = accounts_ha1(d->accounts, account_id, device_id, algorithm, ha1) == ERR_OK;
    if (!known) memcpy(ha1, d->decoy, sizeof ha1);
    digest_response(algorithm, ha1, &c->answer, expected);
    bool equal = crypto_equal(expected, c->response, digest_len(algorithm));
    crypto_wipe(ha1, sizeof ha1);
    crypto_wipe(expected, sizeof expected);
    return known && equal;
}

/* The legacy lane: each device has a secret of its own, so each is tried. */
static uint32_t try_devices(const struct digest *d, const struct claim *c, uint32_t account_id,
                            wall_t now) {
    struct device devices[DIGEST_LEGACY_MAX];
    unsigned n = accounts_legacy_devices(d->accounts, account_id, devices, DIGEST_LEGACY_MAX);
    unsigned rounds = n > DIGEST_LEGACY_EVEN ? n : DIGEST_LEGACY_EVEN;
    uint32_t found = 0;
    for (unsigned i = 0; i < rounds; i++) {
        bool usable =
            i < n && !devices[i].revoked && (devices[i].until == 0 || now < devices[i].until);
        uint32_t id = usable ? devices[i].id : 0;
        if (try_secret(d, DIGEST_MD5, c, account_id, id)) found = id;
    }
    return found;
}

static bool secret_fits(const struct digest *d, enum digest_algorithm algorithm,
                        const struct claim *c, slice realm, wall_t now, struct account *account,
                        uint32_t *device) {
    *account = (struct account){ 0 };
    *device = 0;
    bool known = accounts_find(d->accounts, c->username, realm, account) == ERR_OK;
    bool fits;
    if (algorithm == DIGEST_MD5) {
        *device = try_devices(d, c, account->id, now);
        fits = *device != 0;
    } else {
        fits = try_secret(d, algorithm, c, account->id, 0);
    }
    return known && fits && (account->flags & ACCOUNT_DISABLED) == 0;
}

enum digest_verdict digest_check(const struct digest *d, enum digest_algorithm algorithm,
                                 const struct sip_msg *req, enum sip_header_id which, slice realm,
                                 flow_id flow, bool reliable, struct digest_flow *state, wall_t now,
                                 struct account *out, uint32_t *out_device) {
    ASSERT(state || !reliable);
    struct hdr_auth credentials;
    struct claim c;
    enum digest_verdict v = pick(req, which, realm, algorithm, &credentials);
    if (v == DIGEST_OK) v = read_claim(&credentials, algorithm, req, &c);
    if (v != DIGEST_OK) return v;
    /* RFC 7616 3.3: an old nonce is answered by a new one; the secret is not looked at. */
    if (nonce_open(d, c.answer.nonce, flow, reliable, &c.nonce)) return DIGEST_STALE;
    if (!nonce_is_fresh(d, &c, reliable, state, now)) return DIGEST_STALE;
    struct account account;
    uint32_t device;
    if (!secret_fits(d, algorithm, &c, realm, now, &account, &device)) return DIGEST_WRONG;
    if (!nonce_take(d, &c, reliable, state)) return DIGEST_STALE;
    *out = account;
    *out_device = device;
    return DIGEST_OK;
}
