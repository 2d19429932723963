#include "auth/digest_read.h"
#include "base/scan.h"

#define DIGEST_PARAM_NAME(id, name) { name, sizeof(name) - 1 },
static const slice param_names[] = { DIGEST_PARAM_TABLE(DIGEST_PARAM_NAME) };
#undef DIGEST_PARAM_NAME

/* A quoted-string; *out is what stands between the quotes. */
static bool read_quoted(struct cursor *c, slice *out) {
    if (!cursor_take(c, '"')) return false;
    const char *from = c->at;
    while (c->at < c->end && *c->at != '"') {
        if (*c->at == '\\' && ++c->at >= c->end) return false;
        if (*c->at == '\0') return false;
        c->at++;
    }
    *out = slice_span(from, c->at);
    return cursor_take(c, '"');
}

static enum err read_param(struct cursor *c, struct digest_credentials *out) {
    slice name = cursor_while(c, SCAN_TOKEN);
    cursor_lws(c);
    if (name.len == 0 || !cursor_take(c, '=')) return ERR_BAD;
    cursor_lws(c);
    slice value;
    if (c->at < c->end && *c->at == '"') {
        if (!read_quoted(c, &value)) return ERR_BAD;
    } else {
        value = cursor_while(c, SCAN_TOKEN);
        if (value.len == 0) return ERR_BAD;
    }
    for (unsigned i = 0; i < DIGEST_P_COUNT; i++) {
        if (!slice_ieq(name, param_names[i])) continue;
        /* RFC 3261 7.3.1: a parameter name must not stand twice. */
        if (out->present >> i & 1u) return ERR_BAD;
        out->values[i] = value;
        out->present |= 1u << i;
    }
    return ERR_OK;
}

enum err digest_credentials_read(slice value, struct digest_credentials *out) {
    memset(out, 0, sizeof(*out));
    struct cursor c = cursor_of(value);
    cursor_lws(&c);
    slice scheme = cursor_while(&c, SCAN_TOKEN);
    if (!slice_ieq(scheme, SLICE("Digest"))) return ERR_UNSUPPORTED;
    const char *after = c.at;
    cursor_lws(&c);
    if (c.at == after) return ERR_BAD; /* "Digest" alone */
    for (;;) {
        enum err e = read_param(&c, out);
        if (e) return e;
        cursor_lws(&c);
        if (cursor_done(&c)) return ERR_OK;
        if (!cursor_take(&c, ',')) return ERR_BAD;
        cursor_lws(&c);
        if (cursor_done(&c)) return ERR_OK; /* a comma too many at the end is met in the field */
    }
}
