/* json/write.c - see write.h. */
#include "json/write.h"

#include <time.h>

/* How many bytes the UTF-8 character at s has (RFC 3629 4); 0: not UTF-8. */
static size_t utf8_len(slice s) {
    unsigned char a = (unsigned char)s.ptr[0];
    if (a < 0x80) return 1;
    size_t n = a >= 0xc2 && a <= 0xdf ? 2 : (a & 0xf0) == 0xe0 ? 3 : a >= 0xf0 && a <= 0xf4 ? 4 : 0;
    if (n == 0 || s.len < n) return 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)s.ptr[i] & 0xc0) != 0x80) return 0;
    unsigned char b = (unsigned char)s.ptr[1];
    if ((a == 0xe0 && b < 0xa0) || (a == 0xed && b > 0x9f)) return 0; /* overlong; surrogate */
    if ((a == 0xf0 && b < 0x90) || (a == 0xf4 && b > 0x8f)) return 0; /* overlong; past U+10FFFF */
    return n;
}

static void put_escaped(struct buf *out, char c) {
    switch (c) {
    case '"':
        buf_lit(out, "\\\"");
        return;
    case '\\':
        buf_lit(out, "\\\\");
        return;
    case '\n':
        buf_lit(out, "\\n");
        return;
    case '\r':
        buf_lit(out, "\\r");
        return;
    case '\t':
        buf_lit(out, "\\t");
        return;
    default:
        buf_fmt(out, "\\u%04x", (unsigned)(unsigned char)c);
        return;
    }
}

static bool is_plain(char c) {
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\' && (unsigned char)c < 0x7f;
}

static void put_string(struct buf *out, slice s) {
    buf_byte(out, '"');
    while (s.len) {
        size_t plain = 0;
        while (plain < s.len && is_plain(s.ptr[plain])) plain++;
        buf_put(out, slice_head(s, plain));
        s = slice_from(s, plain);
        if (!s.len) break;
        size_t n = utf8_len(s);
        if (n > 1)
            buf_put(out, slice_head(s, n));
        else if (n == 1)
            put_escaped(out, s.ptr[0]);
        else
            buf_lit(out, "\xef\xbf\xbd");
        s = slice_from(s, n ? n : 1);
    }
    buf_byte(out, '"');
}

static void lead(struct json_writer *w, const char *name) {
    if (w->has_items[w->depth]) buf_byte(w->out, ',');
    w->has_items[w->depth] = true;
    bool in_object = w->depth > 0 && w->close[w->depth - 1] == '}';
    ASSERT(in_object == (name != NULL));
    if (!name) return;
    put_string(w->out, slice_str(name));
    buf_byte(w->out, ':');
}

static void begin(struct json_writer *w, const char *name, char open, char close) {
    lead(w, name);
    ASSERT(w->depth < JSON_WRITE_DEPTH);
    buf_byte(w->out, open);
    w->close[w->depth++] = close;
    w->has_items[w->depth] = false;
}

void json_begin_object(struct json_writer *w, const char *name) {
    begin(w, name, '{', '}');
}

void json_begin_array(struct json_writer *w, const char *name) {
    begin(w, name, '[', ']');
}

void json_end(struct json_writer *w) {
    ASSERT(w->depth > 0);
    buf_byte(w->out, w->close[--w->depth]);
}

void json_put_text(struct json_writer *w, const char *name, slice text) {
    lead(w, name);
    put_string(w->out, text);
}

void json_put_str(struct json_writer *w, const char *name, const char *text) {
    json_put_text(w, name, slice_str(text));
}

void json_put_u64(struct json_writer *w, const char *name, uint64_t v) {
    lead(w, name);
    buf_u64(w->out, v);
}

void json_put_i64(struct json_writer *w, const char *name, int64_t v) {
    lead(w, name);
    buf_fmt(w->out, "%lld", (long long)v);
}

void json_put_bool(struct json_writer *w, const char *name, bool v) {
    lead(w, name);
    buf_put(w->out, v ? SLICE("true") : SLICE("false"));
}

void json_put_null(struct json_writer *w, const char *name) {
    lead(w, name);
    buf_lit(w->out, "null");
}

void json_put_wall(struct json_writer *w, const char *name, int64_t wall_ms) {
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[40];
    size_t len = wall_ms > 0 && gmtime_r(&seconds, &tm)
                     ? strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm)
                     : 0;
    if (len)
        json_put_text(w, name, slice_of(text, len));
    else
        json_put_null(w, name);
}

void json_put_raw(struct json_writer *w, const char *name, slice value) {
    lead(w, name);
    buf_put(w->out, value);
}
