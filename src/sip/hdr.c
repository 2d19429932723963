/* Lists, parameters, and the addresses that every request holds. The rest: hdr_fields.c,
 * hdr_auth.c. Grammar: RFC 3261 25.1. */
#include "sip/hdr.h"

#include "base/addr.h"
#include "sip/inside.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* ---- lists ---- */

struct hdr_values hdr_values_of(const struct sip_msg *msg, enum sip_header_id id) {
    const struct sip_header *h = sip_first(msg, id);
    return (struct hdr_values){
        .msg = msg, .line = h, .rest = h ? h->value : SLICE_NONE, .bad = false, .must = false
    };
}

struct hdr_values hdr_values_in(slice value) {
    return (struct hdr_values){ .msg = NULL, .line = NULL, .rest = slice_trim(value) };
}

/* The index of the comma that ends the first value of `s`, or s.len; false: quotes or brackets do
 * not close. */
static bool value_end(slice s, size_t *out) {
    struct cursor c = cursor_of(s);
    for (;;) {
        if (c.at < c.end && *c.at != '<' && *c.at != '"') c.at = span_list(c.at, c.end, s.ptr);
        if (c.at == c.end || *c.at == ',') break;
        if (*c.at == '"') {
            if (!quoted_take(&c)) return false;
            continue;
        }
        c.at = span_angle(c.at, c.end, s.ptr);
        if (c.at == c.end) return false;
        c.at++;
    }
    *out = (size_t)(c.at - s.ptr);
    return true;
}

bool hdr_values_next(struct hdr_values *it, slice *out) {
    if (it->bad) return false;
    while (it->rest.len == 0 && !it->must) {
        const struct sip_header *next = it->msg && it->line ? sip_next(it->msg, it->line) : NULL;
        if (!next) return false;
        it->line = next;
        it->rest = next->value;
    }
    size_t end;
    if (!value_end(it->rest, &end)) {
        it->bad = true;
        return false;
    }
    slice rest = slice_head(it->rest, end);
    struct cursor c = cursor_of(rest);
    lws_take(&c);
    *out = trim_end(cursor_rest(&c));
    it->must = end < it->rest.len; /* behind a comma another value has to stand */
    it->rest = slice_from(it->rest, end + 1);
    it->bad = out->len == 0;
    return !it->bad;
}

bool hdr_values_count(const struct sip_msg *msg, enum sip_header_id id, unsigned *out) {
    struct hdr_values it = hdr_values_of(msg, id);
    *out = 0;
    for (slice v; hdr_values_next(&it, &v);) ++*out;
    return !it.bad;
}

enum err hdr_value_first(const struct sip_msg *msg, enum sip_header_id id, slice *out) {
    struct hdr_values it = hdr_values_of(msg, id);
    if (hdr_values_next(&it, out)) return ERR_OK;
    return it.bad ? ERR_BAD : ERR_MISSING;
}

bool hdr_has_token(const struct sip_msg *msg, enum sip_header_id id, slice token) {
    struct hdr_values it = hdr_values_of(msg, id);
    for (slice v; hdr_values_next(&it, &v);) {
        if (slice_ieq(v, token)) return true;
    }
    return false;
}

bool hdr_has_method(const struct sip_msg *msg, enum sip_header_id id, slice method) {
    struct hdr_values it = hdr_values_of(msg, id);
    for (slice v; hdr_values_next(&it, &v);) {
        if (slice_eq(v, method)) return true;
    }
    return false;
}

/* ---- parameters ---- */

bool quoted_take(struct cursor *c) {
    const char *at = c->at + 1;
    for (;; at++) {
        at = span_quote(at, c->end, c->at);
        if (at == c->end) return false;
        if (*at == '"') break;
        if (++at == c->end) return false;
    }
    c->at = at + 1;
    return true;
}

/* The one of this file's hot paths; param_take() is the same for others. */
ALWAYS_INLINE enum param_found param_one(struct cursor *c, struct hdr_param *out) {
    lws_take(c);
    if (!cursor_take(c, ';')) return PARAM_NONE;
    lws_take(c);
    out->name = cursor_while(c, SCAN_TOKEN);
    out->value = SLICE_NONE;
    if (out->name.len == 0) return PARAM_BAD;
    const char *name_end = c->at;
    lws_take(c);
    if (!cursor_take(c, '=')) {
        c->at = name_end;
        return PARAM_ONE;
    }
    lws_take(c);
    const char *from = c->at;
    if (c->at < c->end && *c->at == '"') {
        if (!quoted_take(c)) return PARAM_BAD;
    } else {
        /* gen-value = token / host / quoted-string. RFC 5118 4.5: IPv6 also without brackets. */
        do c->at = span_token(c->at, c->end, out->name.ptr);
        while (c->at < c->end && (*c->at == ':' || *c->at == '[' || *c->at == ']') && c->at++);
        if (c->at == from) return PARAM_BAD;
    }
    out->value = slice_span(from, c->at);
    return PARAM_ONE;
}

enum param_found param_take(struct cursor *c, struct hdr_param *out) {
    return param_one(c, out);
}

struct hdr_params hdr_params_of(slice params) {
    return (struct hdr_params){ .rest = slice_trim(params), .bad = false };
}

bool hdr_params_next(struct hdr_params *it, struct hdr_param *out) {
    if (it->bad || it->rest.len == 0) return false;
    struct cursor c = cursor_of(it->rest);
    if (*c.at == ';') {
        it->bad = param_take(&c, out) != PARAM_ONE;
    } else { /* a list without its first ';' */
        out->name = cursor_while(&c, SCAN_TOKEN);
        out->value = SLICE_NONE;
        it->bad = out->name.len == 0;
        cursor_lws(&c);
        if (cursor_take(&c, '=')) {
            cursor_lws(&c);
            const char *from = c.at;
            if (c.at < c.end && *c.at == '"') {
                it->bad |= !quoted_take(&c);
            } else {
                while (c.at < c.end && *c.at != ';' && !scan_is(*c.at, SCAN_LWS)) c.at++;
            }
            out->value = slice_span(from, c.at);
            it->bad |= out->value.len == 0;
        }
    }
    cursor_lws(&c);
    it->rest = cursor_rest(&c);
    if (it->rest.len && it->rest.ptr[0] != ';') it->bad = true;
    return !it->bad;
}

bool hdr_param(slice params, slice name, slice *out) {
    struct hdr_params it = hdr_params_of(params);
    for (struct hdr_param p; hdr_params_next(&it, &p);) {
        if (!slice_ieq(p.name, name)) continue;
        *out = p.value;
        return true;
    }
    return false;
}

slice hdr_inner(slice value) {
    if (value.len < 2 || value.ptr[0] != '"' || value.ptr[value.len - 1] != '"') return value;
    return slice_of(value.ptr + 1, value.len - 2);
}

enum err hdr_unquote(slice value, struct buf *dst) {
    struct cursor c = cursor_of(value);
    if (value.len && value.ptr[0] == '"') {
        if (!quoted_take(&c) || !cursor_done(&c)) return ERR_BAD;
    }
    c = cursor_of(hdr_inner(value));
    bool quoted = c.at != value.ptr;
    while (c.at < c.end) {
        if (quoted && *c.at == '\\') {
            if (++c.at == c.end) return ERR_BAD;
            buf_byte(dst, *c.at++);
        } else if (*c.at == '\r' || *c.at == '\n') {
            /* RFC 3261 7.3.1: a fold means one space */
            cursor_lws(&c);
            while (dst->len && dst->ptr[dst->len - 1] == ' ') dst->len--;
            buf_byte(dst, ' ');
        } else {
            buf_byte(dst, *c.at++);
        }
    }
    return dst->full ? ERR_LIMIT : ERR_OK;
}

void hdr_quote(struct buf *b, slice text) {
    buf_byte(b, '"');
    for (size_t i = 0; i < text.len; i++) {
        char ch = text.ptr[i];
        if (ch == '"' || ch == '\\') buf_byte(b, '\\');
        /* A line end may not stand in a quoted string, escaped or not: no text of ours may open a
         * new header line. */
        buf_byte(b, ch == '\r' || ch == '\n' ? ' ' : ch);
    }
    buf_byte(b, '"');
}

/* ---- addresses ---- */

/* scheme ":" something; the characters were looked at already. */
static bool uri_has_shape(slice s) {
    return s.len > 2 && scan_is(s.ptr[0], SCAN_ALPHA) && memchr(s.ptr, ':', s.len - 1) != NULL;
}

/* Behind '<': up to '>'. RFC 4475 3.1.2.14: no white space inside. */
ALWAYS_INLINE bool bracketed_take(struct cursor *c, const char *base, slice *out) {
    const char *from = c->at;
    c->at = span_uri(from, c->end, base);
    *out = slice_span(from, c->at);
    return cursor_take(c, '>') && uri_has_shape(*out);
}

/* RFC 3261 20.10: without brackets a URI holds no ';', '?' or ','. */
static bool addr_spec_take(struct cursor *c, slice *out) {
    const char *from = c->at;
    do cursor_while(c, SCAN_URI_PARAM);
    while (c->at < c->end && (*c->at == '@' || *c->at == '%' || *c->at == '=') && c->at++);
    *out = slice_span(from, c->at);
    return uri_has_shape(*out);
}

/* Display name and URI; the cursor then stands at the parameters. */
ALWAYS_INLINE bool address_take(struct cursor *c, struct hdr_name_addr *out) {
    lws_take(c);
    const char *from = c->at;
    out->display = SLICE_NONE;
    out->has_brackets = true;
    if (c->at < c->end && *c->at == '"') {
        if (!quoted_take(c)) return false;
        out->display = slice_span(from, c->at);
        lws_take(c);
        return cursor_take(c, '<') && bracketed_take(c, from, &out->uri_text);
    }
    const char *word_end = from;
    while (c->at < c->end && scan_is(*c->at, SCAN_TOKEN)) {
        cursor_while(c, SCAN_TOKEN);
        word_end = c->at;
        lws_take(c);
    }
    if (cursor_take(c, '<')) {
        if (word_end > from) out->display = slice_span(from, word_end);
        return bracketed_take(c, from, &out->uri_text);
    }
    c->at = from;
    out->has_brackets = false;
    return addr_spec_take(c, &out->uri_text);
}

enum err hdr_name_addr(slice value, struct hdr_name_addr *out) {
    struct cursor c = cursor_of(value);
    if (!address_take(&c, out)) return ERR_BAD;
    lws_take(&c);
    out->params = trim_end(cursor_rest(&c));
    struct hdr_param p;
    enum param_found found;
    while ((found = param_one(&c, &p)) == PARAM_ONE) continue;
    return found == PARAM_NONE && cursor_done(&c) ? ERR_OK : ERR_BAD;
}

enum err hdr_party(slice value, struct sip_party *out) {
    struct cursor c = cursor_of(value);
    struct hdr_name_addr a;
    if (!address_take(&c, &a)) return ERR_BAD;
    lws_take(&c);
    out->value = value;
    out->display = a.display;
    out->uri_text = a.uri_text;
    out->params = trim_end(cursor_rest(&c));
    out->tag = SLICE_NONE;
    struct hdr_param p;
    enum param_found found;
    while ((found = param_one(&c, &p)) == PARAM_ONE) {
        if (!WORD_IS(p.name, "tag")) continue;
        /* A second tag, or one that is no token, would let two elements see two dialogs. */
        if (out->tag.ptr || p.value.len == 0 || p.value.ptr[0] == '"') return ERR_BAD;
        out->tag = p.value;
    }
    return found == PARAM_NONE && cursor_done(&c) ? ERR_OK : ERR_BAD;
}

bool ipv6_take(struct cursor *c, slice *out) {
    struct addr a;
    size_t close = slice_find(cursor_rest(c), ']');
    if (c->at + close == c->end) return false;
    *out = slice_of(c->at, close + 1);
    c->at += close + 1;
    return sip_host_addr(*out, &a) == ERR_OK;
}

static bool is_digits(slice s) {
    for (size_t i = 0; i < s.len; i++) {
        if (!scan_is(s.ptr[i], SCAN_DIGIT)) return false;
    }
    return true;
}

/* branch, received, rport; others are passed over. */
ALWAYS_INLINE bool via_param(const struct hdr_param *p, struct sip_via *out) {
    bool is_token = p->value.len && p->value.ptr[0] != '"';
    if (WORD_IS(p->name, "branch")) {
        if (out->branch.ptr || !is_token) return false;
        out->branch = p->value;
    } else if (WORD_IS(p->name, "rport")) {
        if (out->has_rport || !is_digits(p->value)) return false;
        out->has_rport = true;
        out->rport = p->value;
    } else if (WORD_IS(p->name, "received")) {
        if (out->received.ptr || !is_token) return false;
        out->received = p->value;
    } else if (WORD_IS(p->name, "oc")) {
        out->has_oc = true;
    }
    return true;
}

/* sent-protocol = name SLASH version SLASH transport. Any version: RFC 4475 3.3.5 wants a 505 sent
 * back along this Via. */
ALWAYS_INLINE bool via_protocol_take(struct cursor *c, struct sip_via *out) {
    if (c->end - c->at > 8 && memcmp(c->at, "SIP/2.0/", 8) == 0) { /* as nearly all write it */
        c->at += 8;
        out->transport = cursor_while(c, SCAN_TOKEN);
        return out->transport.len > 0;
    }
    slice name = cursor_while(c, SCAN_TOKEN);
    cursor_lws(c);
    if (!slice_ieq(name, SLICE("SIP")) || !cursor_take(c, '/')) return false;
    cursor_lws(c);
    slice version = cursor_while(c, SCAN_TOKEN);
    cursor_lws(c);
    if (version.len == 0 || !cursor_take(c, '/')) return false;
    cursor_lws(c);
    out->transport = cursor_while(c, SCAN_TOKEN);
    return out->transport.len > 0;
}

/* [COLON port], where COLON = SWS ":" SWS. */
ALWAYS_INLINE bool via_port_take(struct cursor *c, uint16_t *out) {
    *out = 0;
    lws_take(c);
    if (c->at == c->end || *c->at != ':') return true;
    if (c->at + 1 < c->end && scan_is(c->at[1], SCAN_LWS)) {
        uint32_t port;
        c->at++;
        cursor_lws(c);
        if (slice_u32(cursor_while(c, SCAN_DIGIT), 65535, &port) != ERR_OK) return false;
        *out = (uint16_t)port;
        return port > 0;
    }
    return port_take(c, out);
}

enum err via_take(struct cursor *c, struct sip_via *out) {
    lws_take(c);
    const char *from = c->at;
    if (!via_protocol_take(c, out)) return ERR_BAD;
    const char *space = c->at;
    lws_take(c);
    if (c->at == space) return ERR_BAD;
    if (c->at < c->end && *c->at != '[') {
        /* Hosts with '_' are no hosts by RFC 3261 25.1, but phones have them, and sent-by is only
         * compared as text: refusing would leave those phones without any answer. */
        const char *host = c->at;
        do c->at = span_host(c->at, c->end, from);
        while (c->at < c->end && *c->at == '_' && c->at++);
        out->host = slice_span(host, c->at);
        if (out->host.len == 0) return ERR_BAD;
    } else if (!host_take(c, from, &out->host)) {
        return ERR_BAD;
    }
    if (!via_port_take(c, &out->port)) return ERR_BAD;
    out->branch = out->received = out->rport = SLICE_NONE;
    out->has_oc = false;
    out->has_rport = false;
    const char *params = c->at;
    struct hdr_param p;
    enum param_found found;
    while ((found = param_one(c, &p)) == PARAM_ONE) {
        if (!via_param(&p, out)) return ERR_BAD;
    }
    if (found == PARAM_BAD || (c->at < c->end && *c->at != ',')) return ERR_BAD;
    out->params = trim_end(slice_span(params, c->at));
    out->value = trim_end(slice_span(from, c->at));
    return ERR_OK;
}

enum err sip_via_read(slice value, struct sip_via *out) {
    struct cursor c = cursor_of(value);
    enum err e = via_take(&c, out);
    return e == ERR_OK && !cursor_done(&c) ? ERR_BAD : e;
}
