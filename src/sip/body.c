/* Multipart bodies: RFC 2046 5.1, RFC 5621. Delimiters count only at the start of a line that ends
 * in CRLF; one behind a bare LF makes the body malformed, because a laxer reader would see other
 * parts than we do. */
#include "sip/body.h"

#include "sip/inside.h"

enum { BOUNDARY_MAX = 70 }; /* RFC 2046 5.1.1 */

/* ---- delimiters ---- */

enum delimiter { DELIMITER_NONE, DELIMITER_BAD, DELIMITER_PART, DELIMITER_CLOSE };

/* Is `at`, which points behind "--boundary", the rest of a delimiter line? */
static enum delimiter delimiter_kind(const char *at, const char *end, const char **out_behind) {
    enum delimiter kind = DELIMITER_PART;
    if (end - at >= 2 && at[0] == '-' && at[1] == '-') {
        kind = DELIMITER_CLOSE;
        at += 2;
    }
    while (at < end && scan_is(*at, SCAN_WS)) at++; /* transport padding */
    *out_behind = at;
    if (at == end) return kind == DELIMITER_CLOSE ? kind : DELIMITER_NONE;
    if (end - at < 2 || at[0] != '\r' || at[1] != '\n') return DELIMITER_NONE;
    *out_behind = at + 2;
    return kind;
}

/* The next delimiter line in `s`: *out_before is what stands before it (without the CRLF that
 * belongs to it), *out_behind what stands behind. */
static enum delimiter delimiter_find(slice s, slice boundary, slice *out_before,
                                     slice *out_behind) {
    const char *end = s.ptr + s.len, *from = s.ptr;
    for (const char *hit, *behind; from < end; from = hit + 1) {
        hit = memmem(from, (size_t)(end - from), boundary.ptr, boundary.len);
        if (!hit) break;
        const char *line = hit - 2;
        if (hit - s.ptr < 2 || line[0] != '-' || line[1] != '-') continue;
        bool at_start = line == s.ptr, behind_lf = !at_start && line[-1] == '\n';
        if (!at_start && !behind_lf) continue;
        bool behind_crlf = behind_lf && line - s.ptr >= 2 && line[-2] == '\r';
        enum delimiter kind = delimiter_kind(hit + boundary.len, end, &behind);
        if (kind == DELIMITER_NONE) {
            if (behind < end && *behind == '\n') return DELIMITER_BAD; /* ends in a bare LF */
            continue;
        }
        if (!at_start && !behind_crlf) return DELIMITER_BAD;
        *out_before = slice_span(s.ptr, at_start ? line : line - 2);
        *out_behind = slice_span(behind, end);
        return kind;
    }
    return DELIMITER_NONE;
}

/* ---- the headers of a part ---- */

static bool part_header(struct sip_part *p, slice name, slice value, bool *has_type) {
    if (slice_ieq(name, SLICE("Content-Type"))) {
        if (*has_type) return false;
        *has_type = true;
        return hdr_media(value, &p->media) == ERR_OK;
    }
    if (slice_ieq(name, SLICE("Content-Disposition"))) {
        return !p->disposition.token.ptr && hdr_disposition(value, &p->disposition) == ERR_OK;
    }
    if (slice_ieq(name, SLICE("Content-ID"))) {
        if (p->content_id.ptr || value.len < 3 || value.ptr[0] != '<' ||
            value.ptr[value.len - 1] != '>') {
            return false;
        }
        p->content_id = slice_of(value.ptr + 1, value.len - 2);
    } else if (slice_ieq(name, SLICE("Content-Transfer-Encoding"))) {
        if (p->transfer_encoding.ptr || value.len == 0) return false;
        p->transfer_encoding = value;
    } else if (slice_ieq(name, SLICE("Content-Encoding"))) {
        if (p->content_encoding.ptr || value.len == 0) return false;
        p->content_encoding = value;
    }
    return true;
}

/* One part: header lines, an empty line, its bytes. */
static bool part_read(slice s, struct sip_part *p) {
    bool has_type = false;
    *p = (struct sip_part){ .media = { SLICE("text"), SLICE("plain"), SLICE_NONE } };
    while (s.len) {
        size_t end = slice_find_slice(s, SLICE("\r\n"));
        if (end == s.len) return false;
        if (end == 0) {
            p->bytes = slice_from(s, 2);
            return true;
        }
        while (end + 2 < s.len && scan_is(s.ptr[end + 2], SCAN_WS)) { /* folded */
            size_t more = slice_find_slice(slice_from(s, end + 2), SLICE("\r\n"));
            end += 2 + more;
            if (end >= s.len) return false;
        }
        slice line = slice_head(s, end);
        size_t colon = slice_find(line, ':');
        struct cursor c = cursor_of(slice_trim(slice_head(line, colon)));
        slice name = cursor_while(&c, SCAN_TOKEN);
        if (colon == line.len || name.len == 0 || !cursor_done(&c) || scan_is(s.ptr[0], SCAN_WS))
            return false;
        if (!part_header(p, name, slice_trim(slice_from(line, colon + 1)), &has_type)) return false;
        s = slice_from(s, end + 2);
    }
    return false; /* no empty line */
}

/* ---- walking ---- */

static bool is_multipart(const struct sip_part *p) {
    return slice_ieq(p->media.type, SLICE("multipart"));
}

bool sip_part_is_encoded(const struct sip_part *p) {
    static const slice plain[] = { { "7bit", 4 }, { "8bit", 4 }, { "binary", 6 } };
    bool coded = p->transfer_encoding.len > 0;
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        if (slice_ieq(p->transfer_encoding, plain[i])) coded = false;
    }
    return coded || (p->content_encoding.len && !slice_ieq(p->content_encoding, SLICE("identity")));
}

bool sip_part_is_sealed(const struct sip_part *p) {
    return hdr_media_is(&p->media, SLICE("application"), SLICE("pkcs7-mime")) ||
           hdr_media_is(&p->media, SLICE("application"), SLICE("x-pkcs7-mime")) ||
           hdr_media_is(&p->media, SLICE("multipart"), SLICE("encrypted"));
}

/* Other names than msg.h knows: Content-Transfer-Encoding has no place in SIP, but RFC 4475
 * 3.1.1.11 has one. */
static slice other_value(const struct sip_msg *msg, slice name) {
    for (const struct sip_header *h = sip_first(msg, HDR_OTHER); h; h = sip_next(msg, h)) {
        if (slice_ieq(h->name, name)) return h->value;
    }
    return SLICE_NONE;
}

static enum err whole_read(const struct sip_msg *msg, struct sip_part *p) {
    const struct sip_header *disposition = sip_first(msg, HDR_CONTENT_DISPOSITION);
    const struct sip_header *type = sip_first(msg, HDR_CONTENT_TYPE);
    *p = (struct sip_part){ .bytes = msg->body };
    /* RFC 3261 20.15: a body has a type. Without one, others may take it for anything. */
    if (!type || hdr_media(type->value, &p->media) != ERR_OK) return ERR_BAD;
    if (disposition && hdr_disposition(disposition->value, &p->disposition) != ERR_OK)
        return ERR_BAD;
    p->content_id = sip_value(msg, HDR_CONTENT_ID);
    if (p->content_id.len >= 2 && p->content_id.ptr[0] == '<')
        p->content_id = slice_of(p->content_id.ptr + 1, p->content_id.len - 2);
    p->transfer_encoding = other_value(msg, SLICE("Content-Transfer-Encoding"));
    struct hdr_values it = hdr_values_of(msg, HDR_CONTENT_ENCODING);
    for (slice v; hdr_values_next(&it, &v);) {
        if (!p->content_encoding.ptr || !slice_ieq(v, SLICE("identity"))) p->content_encoding = v;
    }
    return it.bad ? ERR_BAD : ERR_OK;
}

void sip_parts_of(struct sip_parts *it, const struct sip_msg *msg) {
    it->err = ERR_OK;
    it->depth = it->count = 0;
    it->has_whole = msg->body.len > 0;
    if (it->has_whole) it->err = whole_read(msg, &it->whole);
}

static enum err level_enter(struct sip_parts *it, const struct sip_part *p) {
    slice boundary, before;
    if (it->depth == LIMIT_MULTIPART_DEPTH) return ERR_LIMIT;
    if (!hdr_param(p->media.params, SLICE("boundary"), &boundary)) return ERR_BAD;
    boundary = hdr_inner(boundary);
    if (boundary.len == 0 || boundary.len > BOUNDARY_MAX) return ERR_BAD;
    for (size_t i = 0; i < boundary.len; i++) { /* no escapes, no folds: it is compared as it is */
        if (boundary.ptr[i] == '\\' || boundary.ptr[i] == '\r') return ERR_BAD;
    }
    struct sip_parts_level *level = &it->levels[it->depth];
    level->boundary = boundary;
    /* What stands before the first delimiter is preamble. */
    if (delimiter_find(p->bytes, boundary, &before, &level->rest) != DELIMITER_PART) return ERR_BAD;
    it->depth++;
    level->is_closed = false;
    return ERR_OK;
}

/* The next part of a level; false: it is closed, or *it is wrong. */
static bool level_next(struct sip_parts *it, struct sip_part *out) {
    struct sip_parts_level *level = &it->levels[it->depth - 1];
    slice part, behind;
    if (level->is_closed) {
        it->depth--;
        return false;
    }
    enum delimiter kind = delimiter_find(level->rest, level->boundary, &part, &behind);
    if (kind == DELIMITER_NONE || kind == DELIMITER_BAD || !part_read(part, out)) {
        it->err = ERR_BAD;
        return false;
    }
    level->is_closed = kind == DELIMITER_CLOSE;
    level->rest = behind;
    out->depth = it->depth;
    return true;
}

bool sip_parts_next(struct sip_parts *it, struct sip_part *out) {
    while (it->err == ERR_OK && (it->has_whole || it->depth)) {
        if (it->has_whole) {
            *out = it->whole;
            it->has_whole = false;
        } else if (!level_next(it, out)) {
            continue;
        }
        if (it->count++ == LIMIT_MULTIPART_PARTS) {
            it->err = ERR_LIMIT;
        } else if (is_multipart(out) && !sip_part_is_encoded(out) && !sip_part_is_sealed(out)) {
            it->err = level_enter(it, out);
        } else {
            return true;
        }
    }
    return false;
}

enum sip_body_state sip_body_find(const struct sip_msg *msg, slice type, slice subtype,
                                  struct sip_part *out) {
    struct sip_parts it;
    unsigned found = 0, hidden = 0, sealed = 0;
    sip_parts_of(&it, msg);
    for (struct sip_part p; sip_parts_next(&it, &p);) {
        if (hdr_media_is(&p.media, type, subtype)) {
            if (found++ == 0) *out = p;
            if (sip_part_is_encoded(&p)) hidden++;
        } else if (sip_part_is_sealed(&p)) {
            sealed++;
        } else if (is_multipart(&p)) {
            hidden++; /* encoded as a whole: anything may be in there */
        }
    }
    if (it.err != ERR_OK) return SIP_BODY_BAD;
    if (found > 1 || (found == 1 && sealed)) return SIP_BODY_AMBIGUOUS;
    if (hidden) return SIP_BODY_ENCODED;
    if (found == 1) return SIP_BODY_FOUND;
    return sealed ? SIP_BODY_SEALED : SIP_BODY_NONE;
}
