/* One pass over the bytes: start line, headers, body. RFC 3261 7, 18.3, 25.1.
 *
 * The only loop over all bytes of the head is span_control(), which looks for line ends and for
 * control characters at once, 16 bytes at a time. Names are found by a perfect hash (words.c). The
 * headers that every element needs are read as they come by. A message that breaks a rule is still
 * walked to its end, so that a 400 can echo what it must; only broken lines end a stream at once.
 */
#include "sip/msg.h"

#include "sip/inside.h"

struct reader {
    struct sip_msg *m;
    const char *base, *end; /* the bytes, and where the head must have ended */
    const char *bad_at;
    enum sip_bad why;
    unsigned good; /* bits 1 << id of the headers that were read well */
    slice cseq_method;
    bool is_broken; /* line ends or control characters: where a header ends is anybody's guess */
    uint8_t last[HDR_COUNT]; /* set only where first[] is */
};

static void fail(struct reader *r, enum sip_bad why, const char *at) {
    if (r->why != SIP_BAD_NONE) return; /* the first one counts */
    r->why = why;
    r->bad_at = at;
}

/* ---- lines ---- */

static inline bool is_control(char c) {
    return (unsigned char)c < 0x20 && c != '\t';
}

enum line_end { LINE_OK, LINE_SHORT, LINE_BROKEN };

/* A field with control characters in it: fine only where a quoted-pair in a quoted string holds
 * them. Walks from the field's first byte, so it is called once per field. */
static enum line_end odd_field_end(const char *p, const char *end, const char **out) {
    bool quoted = false;
    for (; p < end; p++) {
        *out = p;
        if (*p == '\r') {
            if (end - p < 3) return end - p == 2 && p[1] != '\n' ? LINE_BROKEN : LINE_SHORT;
            if (p[1] != '\n') break;
            if (!scan_is(p[2], SCAN_WS)) return LINE_OK;
            p += 2;
        } else if (quoted && *p == '\\') {
            if (end - p < 2) return LINE_SHORT;
            if (p[1] == '\r' || p[1] == '\n')
                break; /* RFC 3261 25.1: quoted-pair is not for these */
            p++;
        } else if (*p == '"') {
            quoted = !quoted;
        } else if (is_control(*p)) {
            break;
        }
    }
    return p == end ? LINE_SHORT : LINE_BROKEN;
}

/* The CR that ends the start line: no folding there, and no quoted strings. */
static enum line_end start_line_end(const char *p, const char *end, const char **out) {
    *out = p = span_control(p, end, p);
    if (end - p < 2 && (p == end || *p == '\r')) return LINE_SHORT;
    return *p == '\r' && p[1] == '\n' ? LINE_OK : LINE_BROKEN;
}

/* The CR that ends the field at `p`, folded lines included (RFC 3261 7.3.1). */
static inline enum line_end field_end(const char *p, const char *end, const char *base,
                                      const char **out) {
    for (const char *q = p;;) {
        q = span_control(q, end, base);
        *out = q;
        if (end - q < 3 && (q == end || *q == '\r')) {
            return end - q == 2 && q[1] != '\n' ? LINE_BROKEN : LINE_SHORT;
        }
        if (*q != '\r' || q[1] != '\n') return odd_field_end(p, end, out);
        if (!scan_is(q[2], SCAN_WS)) return LINE_OK;
        q += 3;
    }
}

/* ---- start line: RFC 3261 7.1, 7.2 ---- */

static void status_line(struct reader *r, slice line) {
    struct sip_msg *m = r->m;
    m->is_request = false;
    m->status = 0;
    m->method_name = m->reason = m->uri_text = SLICE_NONE;
    slice rest = slice_from(line, 7);
    if (!slice_ieq(slice_head(line, 7), SLICE("SIP/2.0"))) {
        fail(r, SIP_BAD_VERSION, line.ptr);
        return;
    }
    /* SP 3DIGIT SP reason; the second space stands there even without a reason (RFC 4475 3.1.1.13)
     */
    uint32_t status;
    if (rest.len < 5 || rest.ptr[0] != ' ' || rest.ptr[4] != ' ' ||
        slice_u32(slice_of(rest.ptr + 1, 3), 699, &status) != ERR_OK || status < 100) {
        fail(r, SIP_BAD_START_LINE, rest.ptr);
        return;
    }
    m->status = (uint16_t)status;
    m->reason = slice_from(rest, 5);
}

static bool version_is_other(slice version) {
    struct cursor c = cursor_of(version);
    if (!slice_istarts(version, SLICE("SIP/"))) return false;
    c.at += 4;
    slice major = cursor_while(&c, SCAN_DIGIT);
    bool dot = cursor_take(&c, '.');
    slice minor = cursor_while(&c, SCAN_DIGIT);
    return major.len && dot && minor.len && cursor_done(&c);
}

static void request_line(struct reader *r, slice line) {
    struct sip_msg *m = r->m;
    struct cursor c = cursor_of(line);
    m->is_request = true;
    m->status = 0;
    m->reason = SLICE_NONE;
    m->uri_text = SLICE_NONE;
    m->method_name = cursor_while(&c, SCAN_TOKEN);
    m->method = (uint8_t)sip_method_of(m->method_name);
    if (m->method_name.len == 0 || !cursor_take(&c, ' ')) {
        fail(r, SIP_BAD_START_LINE, c.at);
        return;
    }
    slice rest = cursor_rest(&c);
    size_t space = slice_find(rest, ' ');
    slice version = slice_from(rest, space + 1);
    /* Exactly one space on each side: RFC 4475 3.1.2.8 and 3.1.2.9 */
    bool is_ours = slice_eq(version, SLICE("SIP/2.0")) || slice_ieq(version, SLICE("SIP/2.0"));
    if (space == 0 || !is_ours) {
        bool is_other = space > 0 && version_is_other(version);
        fail(r, is_other ? SIP_BAD_VERSION : SIP_BAD_START_LINE, version.ptr);
        return;
    }
    m->uri_text = slice_head(rest, space);
    /* RFC 3261 19.1.1: no headers in a Request-URI (RFC 4475 3.1.2.11) */
    if (sip_uri_read(m->uri_text, &m->uri) != ERR_OK || m->uri.headers.len) {
        fail(r, SIP_BAD_URI, m->uri_text.ptr);
    }
}

static void start_line(struct reader *r, const char *p, const char *e) {
    slice line = slice_span(p, e);
    r->m->method = SIP_OTHER;
    r->m->start_line = slice_span(p, e + 2);
    if (slice_istarts(line, SLICE("SIP/")))
        status_line(r, line);
    else
        request_line(r, line);
    /* A URI was read, and well, or there is none. */
    if (!r->m->is_request || r->why != SIP_BAD_NONE) memset(&r->m->uri, 0, sizeof(r->m->uri));
}

/* ---- headers ---- */

/* 1*DIGIT; the wire may pad with zeros (RFC 4475 3.1.1.1). Over max: LIMIT. */
static enum err number_read(slice v, uint32_t max, uint32_t *out) {
    uint32_t n = 0;
    if (v.len > 9) return slice_u32(v, max, out);
    for (size_t i = 0; i < v.len; i++) {
        if (!scan_is(v.ptr[i], SCAN_DIGIT)) return ERR_BAD;
        n = n * 10 + (uint32_t)(v.ptr[i] - '0');
    }
    *out = n;
    return v.len == 0 ? ERR_BAD : n > max ? ERR_LIMIT : ERR_OK;
}

enum err hdr_cseq(slice value, uint32_t *out_number, slice *out_method) {
    struct cursor c = cursor_of(value);
    slice digits = cursor_while(&c, SCAN_DIGIT);
    const char *digits_end = c.at;
    lws_take(&c);
    slice method = cursor_while(&c, SCAN_TOKEN);
    if (method.ptr == digits_end || method.len == 0 || !cursor_done(&c)) return ERR_BAD;
    *out_method = method;
    return number_read(digits, 0x7fffffffu, out_number); /* RFC 3261 8.1.1.5: below 2^31 */
}

static bool call_id_is(slice v) {
    const char *end = v.ptr + v.len, *at = span_word(v.ptr, end, v.ptr);
    if (at == v.ptr) return false;
    if (at == end) return true;
    return *at == '@' && at + 1 < end && span_word(at + 1, end, v.ptr) == end;
}

static void content_length(struct reader *r, slice v) {
    uint32_t n;
    enum err e = number_read(v, LIMIT_MSG_BYTES, &n);
    r->m->has_content_length = e != ERR_BAD;
    r->m->content_length = e == ERR_OK ? n : UINT32_MAX;
    if (e == ERR_BAD) fail(r, SIP_BAD_CONTENT_LENGTH, v.ptr);
    if (e == ERR_LIMIT) fail(r, SIP_BAD_TOO_LARGE, v.ptr);
}

#define BIT(id) (1u << (id))
_Static_assert(HDR_MAX_FORWARDS < 32, "the headers read at once have ids that fit a word");

/* The first header of its kind, if it is one of those that everybody needs. */
static void header_note(struct reader *r, enum sip_header_id id, slice v) {
    struct sip_msg *m = r->m;
    uint32_t n;
    enum sip_bad why;
    bool ok;
    switch ((unsigned)id) {
    case HDR_VIA: {
        struct cursor c = cursor_of(v);
        ok = via_take(&c, &m->via) == ERR_OK;
        why = SIP_BAD_VIA;
        break;
    }
    case HDR_FROM:
        ok = hdr_party(v, &m->from) == ERR_OK;
        why = SIP_BAD_FROM;
        break;
    case HDR_TO:
        ok = hdr_party(v, &m->to) == ERR_OK;
        why = SIP_BAD_TO;
        break;
    case HDR_CALL_ID:
        m->call_id = v;
        ok = call_id_is(v);
        why = SIP_BAD_CALL_ID;
        break;
    case HDR_CSEQ:
        ok = hdr_cseq(v, &m->cseq, &r->cseq_method) == ERR_OK;
        why = SIP_BAD_CSEQ;
        if (!ok || m->is_request) break; /* a request's is compared when the head is whole */
        m->method_name = r->cseq_method;
        m->method = (uint8_t)sip_method_of(m->method_name);
        break;
    case HDR_MAX_FORWARDS:
        ok = number_read(v, 255, &n) == ERR_OK;
        why = SIP_BAD_MAX_FORWARDS;
        m->has_max_forwards = ok;
        m->max_forwards = ok ? (uint8_t)n : 255;
        break;
    case HDR_CONTENT_LENGTH:
        content_length(r, v);
        return;
    default:
        return;
    }
    if (ok)
        r->good |= BIT(id);
    else
        fail(r, why, v.ptr);
}

/* Where the ':' of a header name is, or NULL. Names end within the field, so reading 16 bytes is
 * safe while the head goes on that far. */
static inline const char *colon_find(const char *p, const char *e, const char *end) {
#ifdef __SSE2__
    if (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')));
        if (mask) {
            const char *at = p + __builtin_ctz(mask);
            return at < e ? at : NULL;
        }
        if (e - p <= 16) return NULL;
    }
#else
    (void)end;
#endif
    return memchr(p, ':', (size_t)(e - p));
}

static void header_take(struct reader *r, const char *p, const char *e) {
    struct sip_msg *m = r->m;
    const char *colon = colon_find(p, e, r->end);
    const char *name_end = colon;
    if (!colon) {
        fail(r, SIP_BAD_HEADER, p);
        return;
    }
    while (name_end > p && scan_is(name_end[-1], SCAN_WS)) name_end--; /* HCOLON */
    slice name = slice_span(p, name_end);
    enum sip_header_id id = sip_header_of_near(name, r->end);
    if (id == HDR_OTHER) {
        struct cursor c = cursor_of(name);
        if (cursor_while(&c, SCAN_TOKEN).len != name.len || name.len == 0) {
            fail(r, SIP_BAD_HEADER, p);
            return;
        }
    }
    if (m->header_count == LIMIT_MSG_HEADERS) {
        fail(r, SIP_BAD_TOO_MANY, p);
        return;
    }
    const char *from = colon + 1, *to = e;
    while (from < to && scan_is(*from, SCAN_LWS)) from++;
    while (to > from && scan_is(to[-1], SCAN_LWS)) to--;
    uint8_t i = m->header_count++;
    struct sip_header *h = &m->headers[i];
    h->id = (uint8_t)id;
    h->next = SIP_HEADER_NONE;
    h->line = slice_span(p, e + 2);
    h->name = name;
    h->value = slice_span(from, to);
    if (m->first[id] == SIP_HEADER_NONE) {
        m->first[id] = i;
        r->last[id] = i;
        header_note(r, id, h->value);
        return;
    }
    m->headers[r->last[id]].next = i;
    r->last[id] = i;
    if (!sip_header_many[id]) {
        bool lengths = id == HDR_CONTENT_LENGTH;
        if (lengths && !slice_eq(h->value, sip_value(m, id))) fail(r, SIP_BAD_CONTENT_LENGTH, p);
        fail(r, SIP_BAD_DUPLICATE, p);
        if (lengths) r->is_broken = true; /* which one frames the message? */
    }
}

/* ---- the whole ---- */

#define COMPULSORY (BIT(HDR_VIA) | BIT(HDR_FROM) | BIT(HDR_TO) | BIT(HDR_CALL_ID) | BIT(HDR_CSEQ))

/* What the head as a whole must satisfy; leaves no member unset. */
static void head_check(struct reader *r) {
    struct sip_msg *m = r->m;
    if ((r->good & COMPULSORY) != COMPULSORY) {
        static const uint8_t ids[] = { HDR_VIA, HDR_FROM, HDR_TO, HDR_CALL_ID, HDR_CSEQ };
        for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
            if (m->first[ids[i]] == SIP_HEADER_NONE) fail(r, SIP_BAD_MISSING, r->base);
        }
        if (!(r->good & BIT(HDR_VIA))) m->via = (struct sip_via){ .port = 0 };
        if (!(r->good & BIT(HDR_FROM))) m->from = (struct sip_party){ .tag = SLICE_NONE };
        if (!(r->good & BIT(HDR_TO))) m->to = (struct sip_party){ .tag = SLICE_NONE };
        if (m->first[HDR_CALL_ID] == SIP_HEADER_NONE) m->call_id = SLICE_NONE;
        if (!(r->good & BIT(HDR_CSEQ))) m->cseq = 0;
    } else if (m->is_request && !slice_eq(r->cseq_method, m->method_name)) {
        fail(r, SIP_BAD_CSEQ, r->cseq_method.ptr); /* RFC 3261 8.1.1.5 */
    }
}

static bool is_answerable(const struct reader *r) {
    const struct sip_msg *m = r->m;
    if (!m->is_request || !(r->good & BIT(HDR_VIA)) || m->method == SIP_ACK) return false;
    /* A broken request line may hide an ACK, which is never answered: RFC 3261 17. */
    if (slice_eq(r->cseq_method, SLICE("ACK"))) return false;
    return sip_first(m, HDR_FROM) && sip_first(m, HDR_TO) && sip_first(m, HDR_CALL_ID) &&
           sip_first(m, HDR_CSEQ);
}

static struct sip_read refused(const struct reader *r, size_t used) {
    bool is_limit = r->why == SIP_BAD_TOO_LARGE || r->why == SIP_BAD_TOO_MANY;
    return (struct sip_read){ .err = is_limit ? ERR_LIMIT : ERR_BAD,
                              .why = r->why,
                              .used = used,
                              .at = (size_t)(r->bad_at - r->base),
                              .answerable = is_answerable(r) };
}

/* Behind the head: the body, and whether the message is all here. */
static struct sip_read body_take(struct reader *r, const char *p, slice bytes,
                                 enum sip_framing framing) {
    struct sip_msg *m = r->m;
    size_t head = (size_t)(p - r->base), behind = bytes.len - head;
    size_t body = m->has_content_length ? m->content_length : behind;
    if (framing == SIP_STREAM && !m->has_content_length) {
        fail(r, SIP_BAD_CONTENT_LENGTH, p); /* RFC 3261 18.3 */
        return refused(r, 0);
    }
    if (body > LIMIT_MSG_BYTES - head) {
        bool beyond = framing == SIP_DATAGRAM && body > behind; /* a wrong number, not a body */
        fail(r, beyond ? SIP_BAD_CONTENT_LENGTH : SIP_BAD_TOO_LARGE, p);
        return refused(r, 0);
    }
    if (r->is_broken) return refused(r, 0);
    if (body > behind) {
        if (framing == SIP_STREAM) return (struct sip_read){ .err = ERR_MORE, .used = head + body };
        fail(r, SIP_BAD_CONTENT_LENGTH, p); /* RFC 3261 18.3: the datagram was cut */
        return refused(r, 0);
    }
    m->body = slice_of(p, body);
    m->all = slice_of(r->base, head + body);
    if (r->why != SIP_BAD_NONE) return refused(r, head + body);
    return (struct sip_read){ .err = ERR_OK, .used = head + body };
}

/* The bytes ended within the head. */
static struct sip_read cut_short(struct reader *r, slice bytes, enum sip_framing framing) {
    bool too_large = bytes.len > LIMIT_MSG_HEAD_BYTES;
    if (framing == SIP_STREAM && !too_large) return (struct sip_read){ .err = ERR_MORE };
    if (too_large) r->why = SIP_BAD_NONE; /* counts more than what came before */
    fail(r, too_large ? SIP_BAD_TOO_LARGE : SIP_BAD_HEADER, r->end); /* no empty line: RFC 3261 7 */
    head_check(r);
    return refused(r, 0);
}

/* Behind a field that is broken: the next line that is not its continuation. */
static const char *field_skip(const char *p, const char *end) {
    for (; end - p >= 3; p++) {
        if (p[0] == '\r' && p[1] == '\n' && !scan_is(p[2], SCAN_WS)) return p + 2;
    }
    return end;
}

static void reader_init(struct reader *r, struct sip_msg *m, slice bytes) {
    r->m = m;
    r->base = bytes.ptr;
    r->end = bytes.ptr + (bytes.len < LIMIT_MSG_HEAD_BYTES ? bytes.len : LIMIT_MSG_HEAD_BYTES);
    r->bad_at = bytes.ptr;
    r->why = SIP_BAD_NONE;
    r->good = 0;
    r->cseq_method = SLICE_NONE;
    r->is_broken = false;
    m->is_request = false;
    m->header_count = 0;
    m->has_content_length = m->has_max_forwards = false;
    m->content_length = 0;
    m->max_forwards = 255;
    m->body = m->all = SLICE_NONE;
    memset(m->first, SIP_HEADER_NONE, sizeof(m->first));
}

struct sip_read sip_msg_read(struct sip_msg *m, slice bytes, enum sip_framing framing) {
    struct reader r;
    reader_init(&r, m, bytes);
    const char *p = r.base, *e;
    for (bool first = true;; first = false) {
        if (!first && r.end - p >= 2 && p[0] == '\r' && p[1] == '\n') break;
        enum line_end end = first ? start_line_end(p, r.end, &e) : field_end(p, r.end, r.base, &e);
        if (end == LINE_SHORT) return cut_short(&r, bytes, framing);
        if (end == LINE_BROKEN) {
            fail(&r, first ? SIP_BAD_START_LINE : SIP_BAD_HEADER, e);
            r.is_broken = true;
            if (framing == SIP_STREAM || first) {
                head_check(&r); /* empties what was not read */
                return refused(&r, 0);
            }
            p = field_skip(e, r.end);
            continue;
        }
        if (first)
            start_line(&r, p, e);
        else
            header_take(&r, p, e);
        p = e + 2;
    }
    head_check(&r);
    return body_take(&r, p + 2, bytes, framing);
}

size_t sip_stream_skip(slice bytes, bool *out_ping) {
    size_t n = 0;
    while (bytes.len - n >= 2 && bytes.ptr[n] == '\r' && bytes.ptr[n + 1] == '\n') n += 2;
    *out_ping = n >= 4;
    /* A pair and a half: the odd one may be the first half of the next ping. */
    bool nothing_behind = n == bytes.len || (n + 1 == bytes.len && bytes.ptr[n] == '\r');
    return nothing_behind && n % 4 == 2 ? n - 2 : n;
}
