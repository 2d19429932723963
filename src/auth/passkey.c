#include "auth/passkey.h"

#include "crypto/crypto.h"
#include "json/read.h"
#include <fido.h>
#include <fido/es256.h>

#define RANDOM_BYTES    16
#define CHALLENGE_BYTES (8 + RANDOM_BYTES + CRYPTO_MAC_BYTES) /* its end, in ms; random; MAC */
#define FLAGS_AT        32                                    /* behind the hash of the host */
#define FLAG_PRESENT    0x01
#define FLAG_CREDENTIAL 0x40
#define FLAG_EXTENSIONS 0x80
#define ID_LENGTH_AT    53 /* behind flags, count and AAGUID */
#define COSE_BYTES      77 /* of an ES256 key in the one form that CTAP 2 allows */

/* ---- challenges ---- */

static void challenge_mac(const struct passkey_ask *ask, const uint8_t *front,
                          uint8_t out[static CRYPTO_MAC_BYTES]) {
    char mem[8 + RANDOM_BYTES + 96];
    struct buf b = buf_over(mem, sizeof mem);
    buf_put(&b, slice_of(front, 8 + RANDOM_BYTES));
    buf_put(&b, ask->purpose);
    ASSERT(!b.full);
    crypto_mac(ask->mac_key, b.ptr, b.len, out);
}

void passkey_challenge(const struct passkey_ask *ask, struct buf *out) {
    uint8_t bytes[CHALLENGE_BYTES];
    wall_t until = ask->now + PASSKEY_LIFE_MS;
    memcpy(bytes, &until, sizeof until);
    crypto_random(bytes + 8, RANDOM_BYTES);
    challenge_mac(ask, bytes, bytes + 8 + RANDOM_BYTES);
    buf_base64url(out, bytes, sizeof bytes);
}

static enum err challenge_check(const struct passkey_ask *ask, slice text, uint64_t *out_used) {
    uint8_t bytes[CHALLENGE_BYTES], mac[CRYPTO_MAC_BYTES];
    wall_t until;
    size_t n;
    if (base64url_read(text, bytes, sizeof bytes, &n) != ERR_OK || n != sizeof bytes)
        return ERR_DENIED;
    challenge_mac(ask, bytes, mac);
    if (!crypto_equal(mac, bytes + 8 + RANDOM_BYTES, sizeof mac)) return ERR_DENIED;
    memcpy(&until, bytes, sizeof until);
    memcpy(out_used, bytes + 8, sizeof *out_used);
    return ask->now < until ? ERR_OK : ERR_STALE;
}

/* ---- what both kinds have ---- */

/* WebAuthn 7.1 steps 7 to 9, 7.2 steps 11 to 13. */
static enum err check_client_data(const struct passkey_ask *ask, slice client_data, slice type,
                                  uint64_t *out_used) {
    const struct json_limits limits = { PASSKEY_RESPONSE_MAX, 4 };
    struct json *doc = NULL;
    enum err e = json_read(client_data, &limits, &doc, NULL);
    if (e != ERR_OK) return e == ERR_MEMORY ? e : ERR_BAD;
    bool is_fit = slice_eq(json_text(json_member(doc, "type")), type) &&
                  slice_eq(json_text(json_member(doc, "origin")), ask->origin) &&
                  !json_bool(json_member(doc, "crossOrigin"));
    e = is_fit ? challenge_check(ask, json_text(json_member(doc, "challenge")), out_used)
               : ERR_DENIED;
    json_free(doc);
    return e;
}

/* 7.1 steps 13, 14; 7.2 steps 15, 16. */
static enum err check_auth_data(const struct passkey_ask *ask, slice auth_data) {
    uint8_t host[32];
    if (auth_data.len < 37 || auth_data.len > PASSKEY_RESPONSE_MAX) return ERR_BAD;
    crypto_sha256(ask->host.ptr, ask->host.len, host);
    if (memcmp(host, auth_data.ptr, sizeof host) != 0) return ERR_DENIED;
    return auth_data.ptr[FLAGS_AT] & FLAG_PRESENT ? ERR_OK : ERR_DENIED;
}

void passkey_id_hash(slice credential_id, uint8_t out[static 32]) {
    crypto_sha256(credential_id.ptr, credential_id.len, out);
}

/* ---- registration ---- */

/* Just the credential, and only if its key stands there in CTAP 2's own form: libcbor reserves as
 * much memory as a number in it says. Nothing here is signed (there is no attestation), so
 * extensions can be left out. */
static enum err cut_credential(slice all, uint8_t *to, size_t *out_len) {
    static const char cose[] = "\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20";
    if (all.len < ID_LENGTH_AT + 2 || !(all.ptr[FLAGS_AT] & FLAG_CREDENTIAL)) return ERR_BAD;
    size_t id = (size_t)(uint8_t)all.ptr[ID_LENGTH_AT] << 8 | (uint8_t)all.ptr[ID_LENGTH_AT + 1];
    size_t key_at = ID_LENGTH_AT + 2 + id;
    slice key = slice_head(slice_from(all, key_at), COSE_BYTES);
    if (id == 0 || id > 1023 || key.len < COSE_BYTES) return ERR_BAD;
    if (memcmp(key.ptr, cose, sizeof cose - 1) != 0 || memcmp(key.ptr + 42, "\x22\x58\x20", 3) != 0)
        return ERR_UNSUPPORTED;
    *out_len = key_at + COSE_BYTES;
    memcpy(to, all.ptr, *out_len);
    to[FLAGS_AT] &= (uint8_t)~FLAG_EXTENSIONS;
    return ERR_OK;
}

static enum err read_credential(slice all, struct passkey *out) {
    uint8_t mem[ID_LENGTH_AT + 2 + 1023 + COSE_BYTES];
    size_t len;
    enum err cut = cut_credential(all, mem, &len);
    if (cut != ERR_OK) return cut;
    slice auth_data = slice_of(mem, len);
    fido_cred_t *cred = fido_cred_new();
    if (!cred) return ERR_MEMORY;
    enum err e = ERR_BAD;
    if (fido_cred_set_type(cred, COSE_ES256) == FIDO_OK &&
        fido_cred_set_authdata_raw(cred, (const unsigned char *)auth_data.ptr, auth_data.len) ==
            FIDO_OK) {
        bool is_fit = fido_cred_pubkey_len(cred) == PASSKEY_KEY_BYTES && fido_cred_id_len(cred);
        e = is_fit ? ERR_OK : ERR_UNSUPPORTED;
    }
    if (e == ERR_OK) {
        memcpy(out->key, fido_cred_pubkey_ptr(cred), PASSKEY_KEY_BYTES);
        passkey_id_hash(slice_of(fido_cred_id_ptr(cred), fido_cred_id_len(cred)), out->id_hash);
    }
    fido_cred_free(&cred);
    return e;
}

enum err passkey_register(const struct passkey_ask *ask, slice client_data, slice auth_data,
                          struct passkey *out, uint64_t *out_used) {
    enum err e = check_client_data(ask, client_data, SLICE("webauthn.create"), out_used);
    if (e == ERR_OK) e = check_auth_data(ask, auth_data);
    return e == ERR_OK ? read_credential(auth_data, out) : e;
}

/* ---- assertions ---- */

static enum err verify(const struct passkey_ask *ask, slice client_data, slice auth_data,
                       slice signature, const uint8_t *key) {
    char host[256];
    uint8_t hash[32];
    if (!slice_cstr(ask->host, host, sizeof host)) return ERR_BAD;
    crypto_sha256(client_data.ptr, client_data.len, hash);
    fido_assert_t *a = fido_assert_new();
    es256_pk_t *pk = es256_pk_new();
    enum err e = a && pk ? ERR_OK : ERR_MEMORY;
    if (e == ERR_OK && es256_pk_from_ptr(pk, key, PASSKEY_KEY_BYTES) != FIDO_OK) e = ERR_BAD;
    if (e == ERR_OK &&
        (fido_assert_set_count(a, 1) != FIDO_OK || fido_assert_set_rp(a, host) != FIDO_OK ||
         fido_assert_set_clientdata_hash(a, hash, sizeof hash) != FIDO_OK ||
         fido_assert_set_up(a, FIDO_OPT_TRUE) != FIDO_OK ||
         fido_assert_set_authdata_raw(a, 0, (const unsigned char *)auth_data.ptr, auth_data.len) !=
             FIDO_OK ||
         fido_assert_set_sig(a, 0, (const unsigned char *)signature.ptr, signature.len) != FIDO_OK))
        e = ERR_BAD;
    if (e == ERR_OK && fido_assert_verify(a, 0, COSE_ES256, pk) != FIDO_OK) e = ERR_DENIED;
    es256_pk_free(&pk);
    fido_assert_free(&a);
    return e;
}

enum err passkey_prove(const struct passkey_ask *ask, slice client_data, slice auth_data,
                       slice signature, const uint8_t key[static PASSKEY_KEY_BYTES],
                       uint64_t *out_used) {
    enum err e = check_client_data(ask, client_data, SLICE("webauthn.get"), out_used);
    if (e == ERR_OK) e = check_auth_data(ask, auth_data);
    /* We ask for no extensions, and those are CBOR of any size (see cut_credential). */
    if (e == ERR_OK && auth_data.len != 37) e = ERR_UNSUPPORTED;
    if (e == ERR_OK && (signature.len == 0 || signature.len > 128)) e = ERR_BAD;
    return e == ERR_OK ? verify(ask, client_data, auth_data, signature, key) : e;
}

/* ---- at rest ---- */

void passkey_put_note(const uint8_t key[static PASSKEY_KEY_BYTES], struct buf *out) {
    buf_lit(out, "es256 ");
    buf_base64url(out, key, PASSKEY_KEY_BYTES);
}

enum err passkey_read_note(slice note, uint8_t out[static PASSKEY_KEY_BYTES]) {
    size_t n;
    if (!slice_starts(note, SLICE("es256 "))) return ERR_BAD;
    enum err e = base64url_read(slice_from(note, 6), out, PASSKEY_KEY_BYTES, &n);
    return e == ERR_OK && n != PASSKEY_KEY_BYTES ? ERR_BAD : e;
}
