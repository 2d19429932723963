/* check/msg.c - the tester's own reader. */
#include "check/msg.h"

static const char *const compact[][2] = {
    { "v", "Via" },          { "f", "From" },
    { "t", "To" },           { "i", "Call-ID" },
    { "m", "Contact" },      { "l", "Content-Length" },
    { "c", "Content-Type" }, { "e", "Content-Encoding" },
    { "k", "Supported" },    { "s", "Subject" },
    { "o", "Event" },        { "u", "Allow-Events" },
    { "r", "Refer-To" },     { "x", "Session-Expires" },
};

bool is(slice a, const char *b) {
    return slice_eq(a, slice_str(b));
}
bool is_i(slice a, const char *b) {
    return slice_ieq(a, slice_str(b));
}
bool has(slice a, const char *b) {
    return slice_find_slice(a, slice_str(b)) < a.len;
}
bool same(slice a, slice b) {
    return a.ptr && b.ptr && slice_eq(a, b);
}

/* The next line of *rest, folded ones taken together; without its line end. */
static slice take_line(slice *rest) {
    size_t end = 0, next;
    for (;;) {
        end += slice_find(slice_from(*rest, end), '\n');
        next = end < rest->len ? end + 1 : end;
        bool folded =
            next < rest->len && end > 1 && (rest->ptr[next] == ' ' || rest->ptr[next] == '\t');
        if (!folded) break;
        end = next;
    }
    slice line = slice_head(*rest, end);
    if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
    *rest = slice_from(*rest, next);
    return line;
}

static bool read_start(slice line, struct msg *m) {
    if (slice_starts(line, SLICE("SIP/"))) {
        slice rest = line, code = SLICE_NONE;
        (void)slice_split(&rest, ' ', &m->version);
        (void)slice_split(&rest, ' ', &code);
        uint32_t status;
        if (slice_u32(code, 999, &status) != ERR_OK || status < 100) return false;
        m->status = status;
        m->reason = rest;
        return true;
    }
    slice rest = line;
    if (!slice_split(&rest, ' ', &m->method) || !slice_split(&rest, ' ', &m->uri)) return false;
    m->version = rest;
    return slice_starts(rest, SLICE("SIP/"));
}

void msg_read(slice raw, struct msg *out) {
    struct msg m = { .raw = raw, .bad = true };
    slice rest = raw;
    while (rest.len && (*rest.ptr == '\r' || *rest.ptr == '\n')) rest = slice_from(rest, 1);
    bool good = read_start(take_line(&rest), &m), ended = false;
    while (rest.len && !ended) {
        slice line = take_line(&rest);
        ended = line.len == 0;
        size_t colon = slice_find(line, ':');
        if (ended || m.header_count == MSG_HEADERS_MAX) continue;
        slice name = slice_trim(slice_head(line, colon));
        for (size_t i = 0; name.len == 1 && i < ARRAY_LEN(compact); i++)
            if (is_i(name, compact[i][0])) name = slice_str(compact[i][1]);
        m.headers[m.header_count].name = name;
        m.headers[m.header_count++].value = slice_trim(slice_from(line, colon + 1));
    }
    m.body = rest;
    m.bad = !good || !ended;
    *out = m;
}

size_t msg_frame(slice stream) {
    size_t head = slice_find_slice(stream, SLICE("\r\n\r\n"));
    if (head == stream.len) return 0;
    struct msg m;
    msg_read(slice_head(stream, head + 4), &m);
    uint32_t body = 0;
    if (slice_u32(msg_header(&m, "Content-Length"), 1u << 24, &body) != ERR_OK) body = 0;
    return stream.len - (head + 4) < body ? 0 : head + 4 + body;
}

slice msg_header(const struct msg *m, const char *name) {
    for (unsigned i = 0; i < m->header_count; i++)
        if (is_i(m->headers[i].name, name)) return m->headers[i].value;
    return SLICE_NONE;
}

unsigned msg_lines(const struct msg *m, const char *name) {
    unsigned n = 0;
    for (unsigned i = 0; i < m->header_count; i++) n += is_i(m->headers[i].name, name);
    return n;
}

/* Where the first `stop` outside quotes, and outside <> when `angles`, stands; s.len: nowhere. */
static size_t find_outside(slice s, char stop, bool angles) {
    bool quoted = false;
    unsigned depth = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && c == stop && depth == 0) {
            return i;
        } else if (!quoted && angles && c == '<') {
            depth = 1;
        } else if (!quoted && angles && c == '>') {
            depth = 0;
        }
    }
    return s.len;
}

slice msg_value(const struct msg *m, const char *name, unsigned at) {
    for (unsigned i = 0; i < m->header_count; i++) {
        if (!is_i(m->headers[i].name, name)) continue;
        slice rest = m->headers[i].value;
        while (rest.len) {
            size_t comma = find_outside(rest, ',', true);
            if (at-- == 0) return slice_trim(slice_head(rest, comma));
            rest = slice_from(rest, comma + 1);
        }
    }
    return SLICE_NONE;
}

unsigned msg_values(const struct msg *m, const char *name) {
    unsigned n = 0;
    while (msg_value(m, name, n).ptr) n++;
    return n;
}

bool msg_lists(const struct msg *m, const char *name, const char *token) {
    for (unsigned i = 0;; i++) {
        slice v = msg_value(m, name, i);
        if (!v.ptr) return false;
        if (is_i(slice_trim(slice_head(v, slice_find(v, ';'))), token)) return true;
    }
}

unsigned msg_cseq(const struct msg *m) {
    slice v = msg_header(m, "CSeq");
    uint32_t n;
    return slice_u32(slice_head(v, slice_find(v, ' ')), UINT32_MAX, &n) == ERR_OK ? n : 0;
}

slice msg_cseq_method(const struct msg *m) {
    slice v = msg_header(m, "CSeq");
    return slice_trim(slice_from(v, slice_find(v, ' ')));
}

slice value_uri(slice value) {
    size_t open = find_outside(value, '<', false);
    if (open == value.len) return slice_trim(slice_head(value, slice_find(value, ';')));
    slice rest = slice_from(value, open + 1);
    return slice_head(rest, slice_find(rest, '>'));
}

/* The parameter of that name in `;a=b;c`; the text begins with the first semicolon. */
static slice find_param(slice rest, const char *name) {
    while (rest.len) {
        rest = slice_from(rest, 1);
        size_t end = find_outside(rest, ';', true);
        slice one = slice_trim(slice_head(rest, end));
        size_t equal = slice_find(one, '=');
        if (is_i(slice_trim(slice_head(one, equal)), name))
            return equal == one.len ? slice_of("", 0) : slice_trim(slice_from(one, equal + 1));
        rest = slice_from(rest, end);
    }
    return SLICE_NONE;
}

slice value_param(slice value, const char *name) {
    slice rest = slice_from(value, find_outside(value, ';', true));
    return find_param(rest, name);
}

bool value_has(slice value, const char *name) {
    return value_param(value, name).ptr != NULL;
}

slice uri_bare(slice uri) {
    size_t at = slice_find(uri, '@'); /* ; may stand in the user part */
    size_t from = at < uri.len ? at : 0;
    slice host = slice_from(uri, from);
    size_t semi = slice_find(host, ';'), query = slice_find(host, '?');
    return slice_head(uri, from + (semi < query ? semi : query));
}

slice uri_param(slice uri, const char *name) {
    slice rest = slice_from(uri, uri_bare(uri).len);
    return find_param(slice_head(rest, slice_find(rest, '?')), name);
}

slice uri_user(slice uri) {
    slice rest = slice_from(uri, slice_find(uri, ':') + 1);
    size_t at = slice_find(rest, '@');
    return at == rest.len ? SLICE_NONE : slice_head(rest, at);
}

slice uri_host(slice uri) {
    slice bare = uri_bare(uri), rest = slice_from(bare, slice_find(bare, ':') + 1);
    size_t at = slice_find(rest, '@');
    if (at < rest.len) rest = slice_from(rest, at + 1);
    if (rest.len && *rest.ptr == '[') return slice_head(rest, slice_find(rest, ']') + 1);
    return slice_head(rest, slice_find(rest, ':'));
}

slice comma_value(slice params, const char *name) {
    slice rest = slice_from(params, slice_find(params, ' '));
    while (rest.len) {
        size_t comma = find_outside(rest, ',', false);
        slice one = slice_trim(slice_head(rest, comma));
        size_t equal = slice_find(one, '=');
        if (equal < one.len && is_i(slice_trim(slice_head(one, equal)), name)) {
            slice v = slice_trim(slice_from(one, equal + 1));
            if (v.len > 1 && *v.ptr == '"') v = slice_of(v.ptr + 1, v.len - 2);
            return v;
        }
        rest = slice_from(rest, comma + 1);
    }
    return SLICE_NONE;
}

bool status_fits(unsigned status, slice pattern) {
    char digits[3] = { (char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
                       (char)('0' + status % 10) };
    slice one;
    while (slice_split(&pattern, '|', &one)) {
        bool fits = one.len == 3;
        for (size_t i = 0; fits && i < 3; i++) fits = one.ptr[i] == 'x' || one.ptr[i] == digits[i];
        if (fits) return true;
    }
    return false;
}
