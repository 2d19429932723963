/* Who is asking: the Authorization family and Identity. RFC 3261 25.1, 7616, 8760, 8224. */
#include "base/scan.h"
#include "sip/hdr.h"
#include "sip/inside.h"

/* auth-param = token EQUAL ( token / quoted-string ). Values of Bearer and others may hold token68
 * characters (RFC 7235 2.1), so what is not quoted goes up to a comma or white space. */
static bool auth_param_take(struct cursor *c, struct hdr_param *out) {
    out->name = cursor_while(c, SCAN_TOKEN);
    cursor_lws(c);
    if (out->name.len == 0 || !cursor_take(c, '=')) return false;
    cursor_lws(c);
    const char *from = c->at;
    if (c->at < c->end && *c->at == '"') {
        if (!quoted_take(c)) return false;
    } else {
        while (c->at < c->end && *c->at != ',' && *c->at != '"' && !scan_is(*c->at, SCAN_LWS)) {
            c->at++;
        }
    }
    out->value = slice_span(from, c->at);
    return out->value.len > 0;
}

static slice *auth_slot(struct hdr_auth *a, slice name) {
    static const struct {
        slice name;
        size_t at;
    } known[] = {
        { { "username", 8 }, offsetof(struct hdr_auth, username) },
        { { "username*", 9 }, offsetof(struct hdr_auth, username_ext) },
        { { "realm", 5 }, offsetof(struct hdr_auth, realm) },
        { { "nonce", 5 }, offsetof(struct hdr_auth, nonce) },
        { { "uri", 3 }, offsetof(struct hdr_auth, uri) },
        { { "response", 8 }, offsetof(struct hdr_auth, response) },
        { { "algorithm", 9 }, offsetof(struct hdr_auth, algorithm) },
        { { "cnonce", 6 }, offsetof(struct hdr_auth, cnonce) },
        { { "nc", 2 }, offsetof(struct hdr_auth, nc) },
        { { "qop", 3 }, offsetof(struct hdr_auth, qop) },
        { { "opaque", 6 }, offsetof(struct hdr_auth, opaque) },
        { { "userhash", 8 }, offsetof(struct hdr_auth, userhash) },
        { { "stale", 5 }, offsetof(struct hdr_auth, stale) },
        { { "domain", 6 }, offsetof(struct hdr_auth, domain) },
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (name.len == known[i].name.len && slice_ieq(name, known[i].name)) {
            return (slice *)(void *)((char *)a + known[i].at);
        }
    }
    return NULL;
}

bool hdr_auth_is_digest(const struct hdr_auth *a) {
    return slice_ieq(a->scheme, SLICE("Digest"));
}

enum err hdr_auth(slice value, struct hdr_auth *out) {
    struct cursor c = cursor_of(value);
    *out = (struct hdr_auth){ .scheme = SLICE_NONE };
    out->scheme = cursor_while(&c, SCAN_TOKEN);
    const char *end = c.at;
    cursor_lws(&c);
    out->params = cursor_rest(&c);
    if (out->scheme.len == 0 || (c.at == end && !cursor_done(&c))) return ERR_BAD;
    if (!hdr_auth_is_digest(out)) return ERR_OK;
    for (;;) {
        struct hdr_param p;
        if (!auth_param_take(&c, &p)) return ERR_BAD;
        slice *slot = auth_slot(out, p.name);
        if (slot && slot->ptr) return ERR_BAD; /* twice: which one would the other side mean? */
        if (slot) *slot = hdr_inner(p.value);
        cursor_lws(&c);
        if (cursor_done(&c)) return ERR_OK;
        if (!cursor_take(&c, ',')) return ERR_BAD;
        cursor_lws(&c);
    }
}

enum err hdr_identity(slice value, struct hdr_identity *out) {
    struct cursor c = cursor_of(value);
    *out = (struct hdr_identity){ .token = SLICE_NONE };
    /* signed-identity-digest: base64url and dots; RFC 4474's, in quotes, is another header */
    while (c.at < c.end && (scan_is(*c.at, SCAN_ALPHA | SCAN_DIGIT) || *c.at == '-' ||
                            *c.at == '_' || *c.at == '.' || *c.at == '=')) {
        c.at++;
    }
    out->token = slice_span(value.ptr, c.at);
    if (out->token.len == 0) return ERR_BAD;
    for (;;) {
        cursor_lws(&c);
        if (cursor_done(&c)) break;
        if (!cursor_take(&c, ';')) return ERR_BAD;
        cursor_lws(&c);
        slice name = cursor_while(&c, SCAN_TOKEN), v;
        cursor_lws(&c);
        if (name.len == 0 || !cursor_take(&c, '=')) return ERR_BAD;
        cursor_lws(&c);
        const char *from = c.at;
        if (cursor_take(&c, '<')) {
            while (c.at < c.end && *c.at != '>' && (unsigned char)*c.at > 0x20) c.at++;
            v = slice_span(from + 1, c.at);
            if (!cursor_take(&c, '>')) return ERR_BAD;
        } else if (c.at < c.end && *c.at == '"') {
            if (!quoted_take(&c)) return ERR_BAD;
            v = hdr_inner(slice_span(from, c.at));
        } else {
            v = cursor_while(&c, SCAN_TOKEN);
        }
        slice *slot = slice_ieq(name, SLICE("info"))  ? &out->info_uri
                      : slice_ieq(name, SLICE("alg")) ? &out->alg
                      : slice_ieq(name, SLICE("ppt")) ? &out->ppt
                                                      : NULL;
        if (v.len == 0 || (slot && slot->ptr)) return ERR_BAD;
        if (slot) *slot = v;
    }
    return out->info_uri.ptr ? ERR_OK : ERR_BAD; /* RFC 8224 4: "info" is compulsory */
}
