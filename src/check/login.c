/* check/login.c - digest answers (RFC 7616, RFC 8760), written apart from auth/. */
#include "check/link.h"
#include "check/test.h"
#include "crypto/crypto.h"

typedef void hash_fn(slice s, struct buf *hex);

static void md5_hex(slice s, struct buf *hex) {
    uint8_t out[16];
    crypto_md5(s.ptr, s.len, out);
    buf_hex(hex, out, sizeof out);
}
static void sha256_hex(slice s, struct buf *hex) {
    uint8_t out[32];
    crypto_sha256(s.ptr, s.len, out);
    buf_hex(hex, out, sizeof out);
}
static void sha512_256_hex(slice s, struct buf *hex) {
    uint8_t out[32];
    crypto_sha512_256(s.ptr, s.len, out);
    buf_hex(hex, out, sizeof out);
}

static hash_fn *algorithm(slice name) {
    if (!name.ptr || is_i(name, "MD5")) return md5_hex;
    if (is_i(name, "SHA-256")) return sha256_hex;
    if (is_i(name, "SHA-512-256")) return sha512_256_hex;
    return NULL;
}

const char *login_answer(struct ua *a, slice challenge, const struct login *l) {
    slice realm = comma_value(challenge, "realm"), nonce = comma_value(challenge, "nonce");
    slice alg = comma_value(challenge, "algorithm"), opaque = comma_value(challenge, "opaque");
    bool qop = comma_value(challenge, "qop").ptr != NULL;
    hash_fn *h = algorithm(alg);
    if (!slice_istarts(challenge, SLICE("Digest ")) || !h || !nonce.ptr) return NULL;
    char m1[1024], m2[1024], mr[2048], mo[4096];
    struct buf x1 = buf_over(m1, sizeof m1), x2 = buf_over(m2, sizeof m2);
    struct buf r = buf_over(mr, sizeof mr), out = buf_over(mo, sizeof mo);
    buf_fmt(&x1, "%s:" SLICE_FMT ":%s", l->user, SLICE_ARG(realm), l->password);
    buf_fmt(&x2, "%s:%s", l->method, l->uri);
    h(buf_slice(&x1), &r);
    buf_fmt(&r, ":" SLICE_FMT ":", SLICE_ARG(nonce));
    if (qop) buf_fmt(&r, "%08x:kithcheck:auth:", l->nc);
    h(buf_slice(&x2), &r);
    buf_fmt(&out,
            "Digest username=\"%s\", realm=\"" SLICE_FMT "\", nonce=\"" SLICE_FMT
            "\", uri=\"%s\", response=\"",
            l->user, SLICE_ARG(realm), SLICE_ARG(nonce), l->uri);
    h(buf_slice(&r), &out);
    buf_lit(&out, "\"");
    if (alg.ptr) buf_fmt(&out, ", algorithm=" SLICE_FMT, SLICE_ARG(alg));
    if (opaque.ptr) buf_fmt(&out, ", opaque=\"" SLICE_FMT "\"", SLICE_ARG(opaque));
    if (qop) buf_fmt(&out, ", qop=auth, nc=%08x, cnonce=\"kithcheck\"", l->nc);
    crypto_wipe(m1, sizeof m1);
    return x1.full || x2.full || r.full || out.full
               ? NULL
               : ua_fill(a, text_of(ua_test(a), buf_slice(&out)));
}
