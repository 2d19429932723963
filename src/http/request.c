#include "http/request.h"

#include "base/scan.h"

/* ---- the request line ---- */

static const struct {
    slice name;
    enum http_method method;
} methods[] = {
    { { "GET", 3 }, HTTP_GET },         { { "HEAD", 4 }, HTTP_HEAD },
    { { "POST", 4 }, HTTP_POST },       { { "DELETE", 6 }, HTTP_DELETE },
    { { "OPTIONS", 7 }, HTTP_OPTIONS },
};

static bool is_token(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (!scan_is(s.ptr[i], SCAN_TOKEN)) return false;
    return s.len > 0;
}

/* RFC 3986 3.3, without percent-encoding: no address of ours needs it, and what needs decoding can
 * be decoded twice. */
static bool is_path_char(char c) {
    return scan_is(c, SCAN_ALPHA | SCAN_DIGIT) || (c && strchr("-._~!$&'()*+,;=:@/", c) != NULL);
}

static bool is_path(slice path) {
    if (path.len == 0 || path.ptr[0] != '/') return false;
    slice rest = slice_from(path, 1), part;
    for (size_t i = 0; i < path.len; i++)
        if (!is_path_char(path.ptr[i])) return false;
    if (path.ptr[path.len - 1] == '/') rest.len -= rest.len ? 1 : 0;
    if (path.len > 1 && rest.len == 0) return false; /* "//" */
    while (slice_split(&rest, '/', &part))
        if (part.len == 0 || slice_eq(part, SLICE(".")) || slice_eq(part, SLICE("..")))
            return false;
    return true;
}

static bool is_query(slice query) {
    for (size_t i = 0; i < query.len; i++)
        if (!is_path_char(query.ptr[i]) && query.ptr[i] != '?' && query.ptr[i] != '%') return false;
    return true;
}

static unsigned read_target(slice target, struct http_request *out) {
    if (target.len > HTTP_TARGET_MAX) return 414;
    /* RFC 9112 3.2.2: the absolute form must be taken, and its authority counts. */
    if (slice_istarts(target, SLICE("https://"))) {
        target = slice_from(target, 8);
        size_t at = slice_find(target, '/');
        out->host = slice_head(target, at);
        if (out->host.len == 0) return 400;
        target = slice_from(target, at);
        if (target.len == 0) target = SLICE("/");
    }
    size_t mark = slice_find(target, '?');
    out->path = slice_head(target, mark);
    out->query = slice_from(target, mark + 1);
    return is_path(out->path) && is_query(out->query) ? 200 : 400;
}

static unsigned read_line(slice line, struct http_request *out) {
    size_t at = slice_find(line, ' ');
    slice method = slice_head(line, at), rest = slice_from(line, at + 1);
    at = slice_find(rest, ' ');
    slice target = slice_head(rest, at), version = slice_from(rest, at + 1);
    if (!is_token(method) || target.len == 0) return 400;
    out->method = HTTP_OTHER;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (slice_eq(method, methods[i].name)) out->method = methods[i].method;
    if (slice_eq(version, SLICE("HTTP/1.1")))
        out->stays = true;
    else if (!slice_eq(version, SLICE("HTTP/1.0")))
        return slice_starts(version, SLICE("HTTP/")) ? 505 : 400;
    if (out->method == HTTP_OPTIONS && slice_eq(target, SLICE("*"))) {
        out->path = target;
        return 200;
    }
    return read_target(target, out);
}

/* ---- header lines ---- */

struct reader {
    struct http_request *out;
    bool has_host, has_coding, is_websocket, says_upgrade, says_close, says_keep;
    slice host;
};

bool http_list_has(slice list, slice token) {
    for (slice one; slice_split(&list, ',', &one);)
        if (slice_ieq(slice_trim(one), token)) return true;
    return false;
}

static bool takes_gzip(slice list) {
    for (slice one; slice_split(&list, ',', &one);) {
        slice coding;
        if (!slice_split(&one, ';', &coding) || !slice_ieq(slice_trim(coding), SLICE("gzip")))
            continue;
        one = slice_trim(one);
        return !slice_eq(one, SLICE("q=0")) && !slice_starts(one, SLICE("q=0.0"));
    }
    return false;
}

/* RFC 9112 6.3: two lengths that differ, or a list, are an attack. */
static unsigned read_length(struct http_request *out, slice value) {
    uint64_t n;
    enum err e = slice_u64(value, UINT32_MAX, &n);
    if (e == ERR_LIMIT) return 413;
    if (e != ERR_OK || (out->has_length && out->content_length != n)) return 400;
    out->has_length = true;
    out->content_length = (uint32_t)n;
    return 200;
}

/* Headers that may stand once: the place each goes to. */
static slice *single(struct http_request *o, slice name) {
    const struct {
        slice name;
        slice *to;
    } rows[] = {
        { SLICE("origin"), &o->origin },
        { SLICE("cookie"), &o->cookie },
        { SLICE("content-type"), &o->content_type },
        { SLICE("if-none-match"), &o->if_none_match },
        { SLICE("sec-websocket-key"), &o->ws_key },
        { SLICE("sec-websocket-version"), &o->ws_version },
        { SLICE("sec-websocket-protocol"), &o->ws_protocols },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (slice_ieq(name, rows[i].name)) return rows[i].to;
    return NULL;
}

static unsigned take_header(struct reader *r, slice name, slice value) {
    struct http_request *o = r->out;
    slice *to = single(o, name);
    if (to) {
        if (to->ptr) return 400;
        *to = value;
    } else if (slice_ieq(name, SLICE("host"))) {
        if (r->has_host) return 400; /* RFC 9112 3.2 */
        r->has_host = true;
        r->host = value;
    } else if (slice_ieq(name, SLICE("content-length"))) {
        return read_length(o, value);
    } else if (slice_ieq(name, SLICE("transfer-encoding"))) {
        r->has_coding = true;
    } else if (slice_ieq(name, SLICE("connection"))) {
        r->says_close |= http_list_has(value, SLICE("close"));
        r->says_keep |= http_list_has(value, SLICE("keep-alive"));
        r->says_upgrade |= http_list_has(value, SLICE("upgrade"));
    } else if (slice_ieq(name, SLICE("upgrade"))) {
        r->is_websocket |= http_list_has(value, SLICE("websocket"));
    } else if (slice_ieq(name, SLICE("accept-encoding"))) {
        o->takes_gzip |= takes_gzip(value);
    } else if (slice_ieq(name, SLICE("sec-websocket-extensions"))) {
        o->is_extended = true;
    }
    return 200;
}

static bool is_value(slice s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

static unsigned read_header(struct reader *r, slice line) {
    size_t colon = slice_find(line, ':');
    slice name = slice_head(line, colon), value = slice_trim(slice_from(line, colon + 1));
    /* RFC 9112 5.1: white space before the colon; 5.2: folds. Both are refused. */
    if (colon == line.len || !is_token(name) || !is_value(value)) return 400;
    if (value.ptr == NULL) value = SLICE("");
    return take_header(r, name, value);
}

/* ---- the whole head ---- */

/* A line without its CRLF. False: not here yet, or one that ends otherwise (*out_bad). */
static bool next_line(slice *rest, slice *out, bool *out_bad) {
    size_t end = slice_find(*rest, '\n');
    if (end == rest->len) return false;
    if (end == 0 || rest->ptr[end - 1] != '\r') {
        *out_bad = true;
        return false;
    }
    *out = slice_head(*rest, end - 1);
    *rest = slice_from(*rest, end + 1);
    return true;
}

static unsigned judge(struct reader *r) {
    struct http_request *o = r->out;
    if (o->host.len == 0) o->host = r->host;
    if (o->stays && !r->has_host) return 400; /* RFC 9112 3.2: HTTP/1.1 needs one */
    /* RFC 9112 6.1, 6.3: both say how long the body is; nobody shall have to choose. */
    if (r->has_coding) return o->has_length ? 400 : 411;
    if (o->method == HTTP_POST && !o->has_length) return 411;
    if (o->has_length && o->content_length > HTTP_BODY_MAX) return 413;
    o->stays = o->stays ? !r->says_close : r->says_keep;
    o->is_upgrade = r->is_websocket && r->says_upgrade;
    return 200;
}

unsigned http_request_read(slice bytes, struct http_request *out, size_t *out_used) {
    slice rest = slice_head(bytes, HTTP_HEAD_MAX), line;
    struct reader r = { .out = out };
    bool is_bad = false;
    *out = (struct http_request){ .method = HTTP_OTHER };
    if (!next_line(&rest, &line, &is_bad)) {
        if (is_bad) return 400;
        if (rest.len > HTTP_TARGET_MAX + 64) return 414;
        return 0;
    }
    unsigned status = read_line(line, out);
    for (unsigned count = 0; status == 200; count++) {
        if (!next_line(&rest, &line, &is_bad)) {
            if (is_bad) return 400;
            return bytes.len >= HTTP_HEAD_MAX ? 431 : 0;
        }
        if (line.len == 0) break;
        if (count == HTTP_HEADERS_MAX) return 431;
        status = read_header(&r, line);
    }
    if (status != 200) return status;
    *out_used = (size_t)(rest.ptr - bytes.ptr);
    return judge(&r);
}

/* ---- parts ---- */

bool http_cookie(const struct http_request *r, slice name, slice *out) {
    slice rest = r->cookie, one;
    while (slice_split(&rest, ';', &one)) {
        one = slice_trim(one);
        size_t at = slice_find(one, '=');
        if (at == one.len || !slice_eq(slice_head(one, at), name)) continue;
        *out = slice_from(one, at + 1);
        return true;
    }
    return false;
}

bool http_query(const struct http_request *r, slice name, slice *out) {
    slice rest = r->query, one;
    while (slice_split(&rest, '&', &one)) {
        size_t at = slice_find(one, '=');
        if (!slice_eq(slice_head(one, at), name)) continue;
        *out = slice_from(one, at + 1);
        return true;
    }
    return false;
}

static slice opaque_tag(slice etag) {
    return slice_starts(etag, SLICE("W/")) ? slice_from(etag, 2) : etag;
}

bool http_etag_is_among(slice list, slice etag) {
    if (slice_eq(slice_trim(list), SLICE("*"))) return true;
    for (slice one; slice_split(&list, ',', &one);)
        if (slice_eq(opaque_tag(slice_trim(one)), opaque_tag(etag))) return true;
    return false;
}

slice http_host_name(slice host) {
    if (host.len && host.ptr[0] == '[') return slice_head(host, slice_find(host, ']') + 1);
    return slice_head(host, slice_find(host, ':'));
}

static slice without_443(slice host) {
    slice port = slice_from(host, http_host_name(host).len);
    return slice_eq(port, SLICE(":443")) ? http_host_name(host) : host;
}

bool http_origin_is(slice origin, slice host) {
    if (!slice_istarts(origin, SLICE("https://")) || host.len == 0) return false;
    return slice_ieq(without_443(slice_from(origin, 8)), without_443(host));
}

/* ---- answers ---- */

const char *http_reason(unsigned status) {
    static const struct {
        unsigned status;
        const char *words;
    } rows[] = {
        { 101, "Switching Protocols" },
        { 200, "OK" },
        { 204, "No Content" },
        { 304, "Not Modified" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 406, "Not Acceptable" },
        { 411, "Length Required" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 426, "Upgrade Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 501, "Not Implemented" },
        { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].status == status) return rows[i].words;
    return "Error";
}

/* What the page may do and load: itself alone. docs/web.md. */
#define PAGE_LINES                                                                                 \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "           \
    "img-src 'self' data: blob:; media-src 'self' blob: mediastream:; font-src 'self'; "           \
    "connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; "                \
    "form-action 'none'; frame-ancestors 'none'\r\n"                                               \
    "X-Content-Type-Options: nosniff\r\n"                                                          \
    "Referrer-Policy: no-referrer\r\n"                                                             \
    "Cross-Origin-Opener-Policy: same-origin\r\n"                                                  \
    "Permissions-Policy: camera=(self), microphone=(self), display-capture=(self), "               \
    "publickey-credentials-get=(self), publickey-credentials-create=(self)\r\n"

void http_answer_head(const struct http_answer *a, bool has_hsts, struct buf *out) {
    buf_fmt(out, "HTTP/1.1 %u %s\r\nDate: ", a->status, http_reason(a->status));
    buf_put(out, a->date);
    buf_lit(out, "\r\n");
    buf_put(out, a->lines);
    if (a->type.len) {
        buf_lit(out, "Content-Type: ");
        buf_put(out, a->type);
        buf_lit(out, "\r\n");
    }
    /* RFC 9110 8.6: no length with 1xx and 204. */
    if (a->status >= 200 && a->status != 204 && a->status != 304)
        buf_fmt(out, "Content-Length: %zu\r\n", a->length);
    if (a->status >= 200) buf_lit(out, PAGE_LINES);
    if (a->status >= 200 && has_hsts)
        buf_lit(out, "Strict-Transport-Security: max-age=31536000\r\n");
    if (a->closes) buf_lit(out, "Connection: close\r\n");
    buf_lit(out, "\r\n");
}
