/* Reading and writing URIs; comparing stands in uri_eq.c. RFC 3261 19.1.1 and 25.1, 3966 3. */
#include "sip/uri.h"

#include "base/limits.h"
#include "sip/inside.h"
#include "sip/uri_inside.h"

static bool escape_ok(const struct cursor *c) {
    return c->end - c->at >= 3 && scan_is(c->at[1], SCAN_HEX) && scan_is(c->at[2], SCAN_HEX);
}

/* Characters of the classes and whole escapes; false: a broken escape. */
static bool escaped_run_take(struct cursor *c, unsigned classes) {
    for (;;) {
        cursor_while(c, classes);
        if (c->at == c->end || *c->at != '%') return true;
        if (!escape_ok(c)) return false;
        c->at += 3;
    }
}
static inline bool run_take(struct cursor *c, unsigned classes) {
    cursor_while(c, classes);
    return LIKELY(c->at == c->end || *c->at != '%') || escaped_run_take(c, classes);
}

unsigned uri_unescape_char(const char **at, const char *end) {
    const char *p = *at;
    if (*p != '%' || end - p < 3) {
        *at = p + 1;
        return (unsigned char)*p;
    }
    unsigned v = 0;
    for (int i = 1; i <= 2; i++) {
        unsigned c = (unsigned char)p[i];
        v = v << 4 | (c <= '9' ? c - '0' : (c | 0x20u) - 'a' + 10);
    }
    *at = p + 3;
    return (v & 255u) | URI_WAS_ESCAPED;
}

/* A parameter name against a lower-case word; RFC 4475 3.1.1.3: it may be escaped. */
bool uri_name_is(slice name, slice word) {
    if (!memchr(name.ptr, '%', name.len)) return slice_ieq(name, word);
    const char *at = name.ptr, *end = name.ptr + name.len;
    size_t i = 0;
    for (; at < end && i < word.len; i++) {
        unsigned c = uri_unescape_char(&at, end) & 255u;
        if (c >= 'A' && c <= 'Z') c |= 0x20u;
        unsigned char w = (unsigned char)word.ptr[i];
        if (w >= 'A' && w <= 'Z') w |= 0x20u;
        if (c != w) return false;
    }
    return at == end && i == word.len;
}

bool uri_param_next(slice *rest, struct hdr_param *out) {
    if (rest->len == 0) return false;
    slice one;
    slice_split(rest, ';', &one);
    size_t eq = slice_find(one, '=');
    out->name = slice_head(one, eq);
    out->value = eq < one.len ? slice_from(one, eq + 1) : SLICE_NONE;
    return true;
}

enum param_kind { PARAM_KNOWN, PARAM_UNKNOWN, PARAM_TWICE };

/* Which parameter of struct sip_uri this name is; NULL: none. */
static slice *param_slot(slice name, struct sip_uri *out) {
    switch (name.len) {
    case 2:
        return WORD_IS(name, "gr") ? &out->gr : WORD_IS(name, "ob") ? &out->ob : NULL;
    case 3:
        return WORD_IS(name, "ttl") ? &out->ttl : NULL;
    case 4:
        return WORD_IS(name, "user") ? &out->user_param : WORD_IS(name, "comp") ? &out->comp : NULL;
    case 5:
        return WORD_IS(name, "maddr") ? &out->maddr : NULL;
    case 6:
        return WORD_IS(name, "method") ? &out->method : NULL;
    case 9:
        return WORD_IS(name, "transport") ? &out->transport : NULL;
    default:
        return NULL;
    }
}

/* Keep a parameter that routing asks for. RFC 3261 19.1.1: none stands twice. */
static enum param_kind param_note(const struct hdr_param *p, bool is_escaped, struct sip_uri *out) {
    slice name = p->name;
    char plain[9];
    if (UNLIKELY(is_escaped)) { /* RFC 4475 3.1.1.3: lr as %6C%72 */
        struct buf b = buf_over(plain, sizeof(plain));
        if (sip_unescape(name, &b) != ERR_OK) return PARAM_UNKNOWN; /* longer than any we know */
        name = buf_slice(&b);
        if (memchr(plain, '\r', name.len)) return PARAM_UNKNOWN;
    }
    if (WORD_IS(name, "lr")) {
        bool twice = out->has_lr;
        out->has_lr = true;
        return twice ? PARAM_TWICE : PARAM_KNOWN;
    }
    slice *slot = param_slot(name, out);
    if (!slot) return PARAM_UNKNOWN;
    if (slot->ptr) return PARAM_TWICE;
    *slot = p->value.ptr ? p->value : slice_of(p->name.ptr + p->name.len, 0);
    out->has_gr = out->gr.ptr != NULL;
    out->has_ob = out->ob.ptr != NULL;
    return PARAM_KNOWN;
}

static bool name_is_among(slice name, const slice *names, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        if (uri_text_eq(name, names[i], URI_FOLD)) return true;
    }
    return false;
}

/* From behind the first ';': name[=value] *( ";" ... ). */
static enum err params_take(struct cursor *c, struct sip_uri *out) {
    const char *from = c->at;
    slice others[URI_PARAMS_MAX];
    for (unsigned n = 0, count = 0;; n++) {
        struct hdr_param p = { .value = SLICE_NONE };
        if (n == URI_PARAMS_MAX) return ERR_LIMIT;
        const char *name = c->at;
        cursor_while(c, SCAN_URI_PARAM);
        bool is_escaped = c->at < c->end && *c->at == '%';
        if (is_escaped && !escaped_run_take(c, SCAN_URI_PARAM)) return ERR_BAD;
        p.name = slice_span(name, c->at);
        if (p.name.len == 0) return ERR_BAD;
        if (cursor_take(c, '=')) {
            const char *value = c->at;
            if (!run_take(c, SCAN_URI_PARAM)) return ERR_BAD;
            p.value = slice_span(value, c->at);
            if (p.value.len == 0) return ERR_BAD;
        }
        enum param_kind kind = param_note(&p, is_escaped, out);
        if (kind == PARAM_TWICE) return ERR_BAD;
        if (kind == PARAM_UNKNOWN) {
            if (name_is_among(p.name, others, count)) return ERR_BAD;
            others[count++] = p.name;
        }
        out->params = slice_span(from, c->at);
        if (!cursor_take(c, ';')) return ERR_OK;
    }
}

/* From behind '?': name=value *( "&" ... ). */
static enum err headers_take(struct cursor *c, struct sip_uri *out) {
    const char *from = c->at;
    for (unsigned n = 0;; n++) {
        if (n == URI_HEADERS_MAX) return ERR_LIMIT;
        const char *name = c->at;
        if (!run_take(c, SCAN_URI_HEADER) || c->at == name) return ERR_BAD;
        if (!cursor_take(c, '=') || !run_take(c, SCAN_URI_HEADER)) return ERR_BAD;
        out->headers = slice_span(from, c->at);
        if (!cursor_take(c, '&')) return ERR_OK;
    }
}

/* user [":" password], all of `s`. */
static bool userinfo_read(slice s, struct sip_uri *out) {
    struct cursor c = cursor_of(s);
    if (!run_take(&c, SCAN_URI_USER)) return false;
    out->has_user = true;
    out->user = slice_span(s.ptr, c.at);
    if (out->user.len == 0) return false;
    if (cursor_take(&c, ':')) {
        out->has_password = true;
        out->password = cursor_rest(&c);
        if (!run_take(&c, SCAN_URI_USER)) return false;
        /* password lacks three of the user's characters */
        for (const char *p = out->password.ptr; p < c.at; p++) {
            if (*p == ';' || *p == '?' || *p == '/') return false;
        }
    }
    return cursor_done(&c);
}

/* From behind "sip:" on. */
static enum err sip_read(const char *from, struct sip_uri *out) {
    struct cursor here = { from, out->text.ptr + out->text.len }, *c = &here;
    /* No part but the userinfo may hold a bare '@'. */
    const char *at = span_at(c->at, c->end, out->text.ptr);
    if (at < c->end) {
        if (!userinfo_read(slice_span(c->at, at), out)) return ERR_BAD;
        c->at = at + 1;
    }
    if (!host_take(c, out->text.ptr, &out->host) || !port_take(c, &out->port)) return ERR_BAD;
    enum err e = ERR_OK;
    if (cursor_take(c, ';')) e = params_take(c, out);
    if (e == ERR_OK && cursor_take(c, '?')) e = headers_take(c, out);
    return e == ERR_OK && !cursor_done(c) ? ERR_BAD : e;
}

static bool is_separator(char c) {
    return c == '-' || c == '.' || c == '(' || c == ')';
}

/* RFC 3966 3: a global number has '+' and digits; a local one digits, A-F, '*' and '#'. */
static bool number_is(slice s, bool *out_global) {
    unsigned digits = 0;
    *out_global = s.len && s.ptr[0] == '+';
    for (size_t i = *out_global; i < s.len; i++) {
        char c = s.ptr[i];
        if (is_separator(c)) continue;
        bool is_local_digit = scan_is(c, SCAN_HEX) || c == '*' || c == '#';
        if (!scan_is(c, SCAN_DIGIT) && (*out_global || !is_local_digit)) return false;
        digits++;
    }
    return digits > 0;
}

static enum err tel_read(struct cursor *c, struct sip_uri *out) {
    const char *from = c->at;
    while (c->at < c->end && *c->at != ';') c->at++;
    out->user = slice_span(from, c->at);
    out->has_user = true;
    bool is_global, context_global;
    if (!number_is(out->user, &is_global)) return ERR_BAD;
    if (cursor_take(c, ';')) {
        enum err e = params_take(c, out);
        if (e != ERR_OK) return e;
    }
    if (!cursor_done(c)) return ERR_BAD;
    slice context;
    bool has_context = sip_uri_param(out, SLICE("phone-context"), &context);
    if (!has_context) return is_global ? ERR_OK : ERR_BAD; /* RFC 3966 5.1.4: local needs one */
    if (context.len == 0) return ERR_BAD;
    if (context.ptr[0] == '+') return number_is(context, &context_global) ? ERR_OK : ERR_BAD;
    struct cursor host = cursor_of(context);
    cursor_while(&host, SCAN_HOST);
    return cursor_done(&host) ? ERR_OK : ERR_BAD;
}

/* absoluteURI of a scheme that is none of ours: only its characters and escapes are checked. */
static enum err other_read(struct cursor *c) {
    const char *from = c->at;
    do {
        if (!run_take(c, SCAN_URI_USER | SCAN_URI_PARAM | SCAN_URI_HEADER)) return ERR_BAD;
    } while (cursor_take(c, '@'));
    return cursor_done(c) && c->at > from ? ERR_OK : ERR_BAD;
}

/* In pieces that compilers turn into plain stores: as one memset it is a loop or a call. */
static inline void uri_clear(struct sip_uri *u) {
    char *p = (char *)u;
    size_t at = 0;
    for (; at + 64 <= sizeof(*u); at += 64) memset(p + at, 0, 64);
    memset(p + at, 0, sizeof(*u) % 64);
}

enum err sip_uri_read(slice text, struct sip_uri *out) {
    uri_clear(out);
    out->text = text;
    if (text.len > LIMIT_URI_BYTES) return ERR_LIMIT;
    struct cursor c = cursor_of(text);
    if (text.len > 4 && text.ptr[3] == ':' && WORD_IS(slice_head(text, 3), "sip")) {
        out->scheme = URI_SIP; /* nearly all */
        out->scheme_text = slice_head(text, 3);
        return sip_read(c.at + 4, out);
    }
    if (c.at == c.end || !scan_is(*c.at, SCAN_ALPHA)) return ERR_BAD;
    while (c.at < c.end && (scan_is(*c.at, SCAN_HOST) || *c.at == '+')) c.at++;
    slice scheme = out->scheme_text = slice_span(text.ptr, c.at);
    if (!cursor_take(&c, ':')) return ERR_BAD;
    if (WORD_IS(scheme, "sips")) {
        out->scheme = URI_SIPS;
        return sip_read(c.at, out);
    }
    if (WORD_IS(scheme, "tel")) {
        out->scheme = URI_TEL;
        return tel_read(&c, out);
    }
    return other_read(&c);
}

bool sip_uri_param(const struct sip_uri *uri, slice name, slice *out) {
    slice rest = uri->params;
    for (struct hdr_param p; uri_param_next(&rest, &p);) {
        if (!uri_name_is(p.name, name)) continue;
        *out = p.value.ptr ? p.value : slice_of(p.name.ptr + p.name.len, 0);
        return true;
    }
    return false;
}

/* ---- writing ---- */

enum err sip_unescape(slice s, struct buf *dst) {
    struct cursor c = cursor_of(s);
    while (c.at < c.end) {
        if (*c.at == '%' && !escape_ok(&c)) return ERR_BAD;
        buf_byte(dst, (char)(uri_unescape_char(&c.at, c.end) & 255u));
    }
    return dst->full ? ERR_LIMIT : ERR_OK;
}

static void user_byte(struct buf *b, char c) {
    static const char hex[] = "0123456789ABCDEF";
    if (scan_is(c, SCAN_URI_USER)) {
        buf_byte(b, c);
        return;
    }
    char three[3] = { '%', hex[(unsigned char)c >> 4], hex[(unsigned char)c & 15] };
    buf_put(b, slice_of(three, 3));
}

void sip_escape_user(struct buf *b, slice s) {
    for (size_t i = 0; i < s.len; i++) user_byte(b, s.ptr[i]);
}

enum err sip_uri_put_aor(struct buf *b, const struct sip_uri *uri) {
    if ((uri->scheme != URI_SIP && uri->scheme != URI_SIPS) || uri->host.len == 0) return ERR_BAD;
    buf_lit(b, "sip:");
    if (uri->has_user) {
        const char *at = uri->user.ptr, *end = at + uri->user.len;
        while (at < end) user_byte(b, (char)(uri_unescape_char(&at, end) & 255u));
        buf_byte(b, '@');
    }
    for (size_t i = 0; i < uri->host.len; i++) {
        char c = uri->host.ptr[i];
        buf_byte(b, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
    }
    return b->full ? ERR_FULL : ERR_OK;
}
