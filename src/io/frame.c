#include "io/frame.h"

#include "base/limits.h"
#include "base/scan.h"

#define FIRST_WORD_MAX 64 /* no method of any protocol of ours is longer */

/* The value of a Content-Length line, and the white space (folds too) around it. */
static bool read_length(slice rest, uint64_t *out) {
    size_t i = 0;
    while (i < rest.len && scan_is(rest.ptr[i], SCAN_LWS)) i++;
    size_t from = i;
    while (i < rest.len && scan_is(rest.ptr[i], SCAN_DIGIT)) i++;
    slice digits = slice_of(rest.ptr + from, i - from);
    for (; i < rest.len; i++)
        if (!scan_is(rest.ptr[i], SCAN_LWS)) return false;
    return slice_u64(digits, UINT32_MAX, out) == ERR_OK;
}

/* What stands behind "Content-Length:" or "l:" when the line is one. RFC 3261 7.3.3, 20.14. */
static bool length_line(slice line, slice *out_rest) {
    static const slice name = { "content-length", 14 };
    size_t at;
    if ((line.ptr[0] | 0x20) == 'l')
        at = 1;
    else if ((line.ptr[0] | 0x20) == 'c' && line.len > name.len && line.ptr[7] == '-' &&
             slice_ieq(slice_head(line, name.len), name))
        at = name.len;
    else
        return false;
    while (at < line.len && scan_is(line.ptr[at], SCAN_WS)) at++; /* HCOLON */
    if (at >= line.len || line.ptr[at] != ':') return false;
    *out_rest = slice_from(line, at + 1);
    return true;
}

/* The next line with its folds (25.1: a line that begins with white space continues the last). */
static slice next_line(slice *rest) {
    size_t at = 0;
    for (;;) {
        const char *end = memchr(rest->ptr + at, '\n', rest->len - at);
        at = end ? (size_t)(end - rest->ptr) + 1 : rest->len;
        if (at >= rest->len || !scan_is(rest->ptr[at], SCAN_WS)) break;
    }
    slice line = slice_head(*rest, at);
    *rest = slice_from(*rest, at);
    return line;
}

/* head ends behind its empty line. False: no usable Content-Length. */
static bool body_length(const struct frame *f, slice head, uint64_t *out) {
    slice rest = slice_from(head, f->length_at), text;
    bool has_one = false;
    if (!f->has_length) return false;
    do { /* once, but for messages that say it twice */
        uint64_t value;
        if (!length_line(next_line(&rest), &text)) continue;
        if (!read_length(text, &value) || (has_one && value != *out)) return false;
        *out = value;
        has_one = true;
    } while (f->has_lengths && rest.len);
    return has_one;
}

/* Looks at each line once. Gives the length of the head, or 0 when its end has not come. */
static size_t find_head(struct frame *f, slice bytes) {
    for (;;) {
        slice line = slice_from(bytes, f->scanned), text;
        const char *end = line.len ? memchr(line.ptr, '\n', line.len) : NULL;
        if (!end) return 0;
        size_t at = f->scanned;
        line.len = (size_t)(end - line.ptr) + 1;
        f->scanned += (uint32_t)line.len;
        bool is_empty = line.len == 2 && line.ptr[0] == '\r';
        if (is_empty && at >= 2 && bytes.ptr[at - 2] == '\r') return f->scanned;
        if (at == 0 || !length_line(line, &text)) continue; /* the start line is no header */
        if (!f->has_length) f->length_at = (uint32_t)at;
        f->has_lengths |= f->has_length;
        f->has_length = true;
    }
}

static enum frame_state bad(const char *text, size_t head, size_t *out_len, const char **out_why) {
    *out_len = head;
    *out_why = text;
    return FRAME_BAD;
}

enum frame_state frame_find(struct frame *f, slice bytes, size_t *out_len, const char **out_why) {
    if (f->need == 0) {
        size_t head = find_head(f, bytes);
        *out_len = 0;
        if (head == 0 && bytes.len < LIMIT_MSG_HEAD_BYTES) return FRAME_MORE;
        if (head == 0 || head > LIMIT_MSG_HEAD_BYTES)
            return bad("the head of the message is too long", 0, out_len, out_why);
        uint64_t body = 0;
        if (!body_length(f, slice_head(bytes, head), &body))
            return bad("Content-Length is missing or wrong", head, out_len, out_why);
        if (body > LIMIT_MSG_BYTES - head)
            return bad("the message is too large", head, out_len, out_why);
        f->need = (uint32_t)(head + body);
    }
    *out_len = f->need;
    return bytes.len < f->need ? FRAME_MORE : FRAME_DONE;
}

static slice last_word(slice line) {
    size_t at = line.len;
    while (at && line.ptr[at - 1] != ' ') at--;
    return slice_from(line, at);
}

enum frame_protocol frame_protocol(slice bytes) {
    static const unsigned char cookie[4] = { 0x21, 0x12, 0xa4, 0x42 }; /* RFC 8489 5 */
    if (bytes.len == 0) return PROTOCOL_UNKNOWN_YET;
    unsigned char first = (unsigned char)bytes.ptr[0];
    if (first < 0x20) { /* RFC 8489 5: the two top bits are zero; no text begins like this */
        if (bytes.len < 8) return PROTOCOL_UNKNOWN_YET;
        return memcmp(bytes.ptr + 4, cookie, sizeof cookie) ? PROTOCOL_NONE : PROTOCOL_STUN;
    }
    size_t word = 0;
    while (word < bytes.len && (scan_is(bytes.ptr[word], SCAN_TOKEN) || bytes.ptr[word] == '/'))
        word++;
    if (word > FIRST_WORD_MAX) return PROTOCOL_NONE;
    if (word == bytes.len) return PROTOCOL_UNKNOWN_YET;
    if (word == 0 || bytes.ptr[word] != ' ') return PROTOCOL_NONE;
    size_t end = slice_find(bytes, '\n');
    if (end == bytes.len)
        return bytes.len < LIMIT_MSG_HEAD_BYTES ? PROTOCOL_UNKNOWN_YET : PROTOCOL_NONE;
    slice line = slice_trim(slice_head(bytes, end));
    slice version = last_word(line);
    if (slice_istarts(line, SLICE("SIP/")) || slice_istarts(version, SLICE("SIP/")))
        return PROTOCOL_SIP;
    return slice_starts(version, SLICE("HTTP/1.")) ? PROTOCOL_HTTP : PROTOCOL_NONE;
}
