#include "base/scan.h"
#include "sip/tx_inner.h"

enum {
    LINE_OTHER,
    LINE_VIA,
    LINE_FROM,
    LINE_TO,
    LINE_CALL_ID,
    LINE_CSEQ,
    LINE_ROUTE,
    LINE_SESSION
};

/* The next header field with its folded lines and its CRLF. False: the head is over. */
static bool line_next(slice *rest, slice *out) {
    size_t at = 0;
    if (rest->len == 0 || rest->ptr[0] == '\r' || rest->ptr[0] == '\n') return false;
    while (at < rest->len) {
        const char *nl = memchr(rest->ptr + at, '\n', rest->len - at);
        at = nl ? (size_t)(nl - rest->ptr) + 1 : rest->len;
        if (at == rest->len || !scan_is(rest->ptr[at], SCAN_WS)) break;
    }
    *out = slice_head(*rest, at);
    *rest = slice_from(*rest, at);
    return true;
}

static int line_kind(slice line, slice *value) {
    static const struct {
        slice name;
        char compact;
        int kind;
    } names[] = {
        { { "Via", 3 }, 'v', LINE_VIA },
        { { "From", 4 }, 'f', LINE_FROM },
        { { "To", 2 }, 't', LINE_TO },
        { { "Call-ID", 7 }, 'i', LINE_CALL_ID },
        { { "CSeq", 4 }, '\0', LINE_CSEQ },
        { { "Route", 5 }, '\0', LINE_ROUTE },
        { { "Session-ID", 10 }, '\0', LINE_SESSION },
    };
    size_t colon = slice_find(line, ':');
    slice name = slice_trim(slice_head(line, colon));
    if (colon == line.len || name.len == 0 || name.len > 10) return LINE_OTHER;
    *value = slice_trim(slice_from(line, colon + 1));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (name.len == 1 && (name.ptr[0] | 0x20) == names[i].compact) return names[i].kind;
        if (slice_ieq(name, names[i].name)) return names[i].kind;
    }
    return LINE_OTHER;
}

/* One Via line may hold several values; ours is the first. A comma inside quotes is text. */
static slice first_value(slice list) {
    bool quoted = false;
    for (size_t i = 0; i < list.len; i++) {
        char c = list.ptr[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == ',' && !quoted)
            return slice_trim(slice_head(list, i));
    }
    return list;
}

struct tx_lines {
    slice method, uri, head, via, from, to, call_id, cseq; /* head: all header lines */
};

enum err tx_request_line(slice request, slice *out_method, slice *out_uri) {
    struct cursor c = cursor_of(request);
    *out_method = cursor_while(&c, SCAN_TOKEN);
    if (out_method->len == 0 || !cursor_take(&c, ' ')) return ERR_BAD;
    slice rest = cursor_rest(&c);
    size_t sp = slice_find(rest, ' ');
    *out_uri = slice_head(rest, sp);
    if (sp == 0 || !slice_starts(slice_from(rest, sp), SLICE(" SIP/2.0\r\n"))) return ERR_BAD;
    return memchr(out_uri->ptr, '\n', out_uri->len) ? ERR_BAD : ERR_OK;
}

static enum err lines_read(slice request, struct tx_lines *out) {
    *out = (struct tx_lines){ 0 };
    enum err err = tx_request_line(request, &out->method, &out->uri);
    if (err) return err;
    slice rest = slice_from(request, slice_find(request, '\n') + 1);
    out->head = rest;
    for (slice line, value = SLICE_NONE; line_next(&rest, &line);) {
        slice *to = NULL;
        switch (line_kind(line, &value)) {
        case LINE_VIA:
            to = &out->via;
            break;
        case LINE_FROM:
            to = &out->from;
            break;
        case LINE_TO:
            to = &out->to;
            break;
        case LINE_CALL_ID:
            to = &out->call_id;
            break;
        case LINE_CSEQ:
            to = &out->cseq;
            break;
        }
        if (to && to->len == 0) *to = value;
    }
    out->via = first_value(out->via);
    struct cursor c = cursor_of(out->cseq);
    out->cseq = cursor_while(&c, SCAN_DIGIT);
    bool whole = out->via.len && out->from.len && out->to.len && out->call_id.len && out->cseq.len;
    return whole ? ERR_OK : ERR_BAD;
}

static void put_line(struct buf *b, slice name, slice value) {
    buf_put(b, name);
    buf_lit(b, ": ");
    buf_put(b, value);
    buf_lit(b, "\r\n");
}

static enum err make(const struct tx_lines *r, slice method, slice to, slice reason,
                     struct buf *b) {
    bool is_ack = slice_eq(method, SLICE("ACK"));
    buf_put(b, method);
    buf_byte(b, ' ');
    buf_put(b, r->uri);
    buf_lit(b, " SIP/2.0\r\n");
    put_line(b, SLICE("Via"), r->via);
    /* The Route lines go as they stand, so that the request takes the way of the first one. */
    slice rest = r->head;
    for (slice line, value; line_next(&rest, &line);) {
        int kind = line_kind(line, &value);
        /* RFC 7989 7: a CANCEL has the Session-ID of the request it cancels. An ACK would need the
         * other side's, which nobody keeps here. */
        bool goes = kind == LINE_ROUTE || (kind == LINE_SESSION && !is_ack);
        if (goes) buf_put(b, line);
    }
    buf_lit(b, "Max-Forwards: 70\r\n");
    put_line(b, SLICE("From"), r->from);
    put_line(b, SLICE("To"), to);
    put_line(b, SLICE("Call-ID"), r->call_id);
    buf_lit(b, "CSeq: ");
    buf_put(b, r->cseq);
    buf_byte(b, ' ');
    buf_put(b, method);
    buf_lit(b, "\r\n");
    if (reason.len) put_line(b, SLICE("Reason"), reason);
    buf_lit(b, "Content-Length: 0\r\n\r\n");
    return b->full ? ERR_FULL : ERR_OK;
}

enum err tx_make_ack(slice request, slice response_to, struct buf *out) {
    struct tx_lines r;
    enum err err = lines_read(request, &r);
    if (err) return err;
    /* RFC 3261 17.1.1.3: Request-URI, top Via, Route, From, Call-ID and CSeq number of the request;
     * To of the response, for its tag. No body. */
    return make(&r, SLICE("ACK"), response_to, SLICE_NONE, out);
}

enum err tx_make_cancel(slice request, slice reason_value, struct buf *out) {
    struct tx_lines r;
    enum err err = lines_read(request, &r);
    if (err) return err;
    /* RFC 3261 9.1: everything of the request, To with or without tag as it was; no Require. */
    return make(&r, SLICE("CANCEL"), r.to, reason_value, out);
}

slice tx_to_tag(slice message) {
    slice rest = slice_from(message, slice_find(message, '\n') + 1);
    for (slice line, value = SLICE_NONE; line_next(&rest, &line);) {
        if (line_kind(line, &value) != LINE_TO) continue;
        /* Parameters of To start behind the '>' of a name-addr; without one, at the first ';'. */
        size_t from = 0;
        bool quoted = false;
        for (size_t i = 0; i < value.len; i++) {
            if (quoted && value.ptr[i] == '\\')
                i++;
            else if (value.ptr[i] == '"')
                quoted = !quoted;
            else if (value.ptr[i] == '>' && !quoted)
                from = i + 1;
        }
        slice params = slice_from(value, from);
        for (slice p; slice_split(&params, ';', &p);) {
            size_t eq = slice_find(p, '=');
            if (slice_ieq(slice_trim(slice_head(p, eq)), SLICE("tag")))
                return slice_trim(slice_from(p, eq + 1));
        }
        return SLICE_NONE;
    }
    return SLICE_NONE;
}
