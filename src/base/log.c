#include "base/log.h"
#include "base/buf.h"
#include "base/hash.h"
#include <errno.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* A line is short enough for one write(2) to a pipe to be whole (PIPE_BUF is 4096). */
enum { LINE_BYTES = 4000, TAIL_BYTES = 16 };

static atomic_int level_now = LOG_INFO;
static atomic_int sink = 2;
static _Atomic(int64_t (*)(void)) clock_wall;
static struct hash_key who_key; /* written once at start, before there are threads */

enum log_level log_level_now(void) {
    return (enum log_level)atomic_load_explicit(&level_now, memory_order_relaxed);
}

void log_set_level(enum log_level level) {
    atomic_store(&level_now, (int)level);
}

void log_open(int fd, int64_t (*wall)(void)) {
    atomic_store(&clock_wall, wall);
    atomic_store(&sink, fd);
}

void log_set_key(const uint8_t key[16]) {
    memcpy(&who_key.k0, key, 8);
    memcpy(&who_key.k1, key + 8, 8);
}

/* Length of the well-formed UTF-8 sequence that `s` starts with; 0: it does not (RFC 3629 4). */
static size_t utf8_len(slice s) {
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len == 0 || p[0] > 0xf4 || len > s.len) return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0; /* too long a form */
    if (p[0] == 0xed && p[1] > 0x9f) return 0; /* surrogates */
    if (p[0] == 0xf0 && p[1] < 0x90) return 0;
    if (p[0] == 0xf4 && p[1] > 0x8f) return 0;
    return len;
}

/* RFC 8259 7. Bytes that are not UTF-8 become U+FFFD: a stranger's text never breaks the line. */
static void put_text(struct buf *b, slice s) {
    buf_byte(b, '"');
    while (s.len) {
        size_t len = utf8_len(s);
        unsigned char c = (unsigned char)s.ptr[0];
        if (len == 0)
            buf_lit(b, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            buf_put(b, slice_of((char[]){ '\\', (char)c }, 2));
        else if (c == '\n')
            buf_lit(b, "\\n");
        else if (c == '\r')
            buf_lit(b, "\\r");
        else if (c == '\t')
            buf_lit(b, "\\t");
        else if (c < 0x20 || c == 0x7f) {
            buf_lit(b, "\\u00");
            buf_hex(b, &c, 1);
        } else
            buf_put(b, slice_head(s, len));
        s = slice_from(s, len ? len : 1);
    }
    buf_byte(b, '"');
}

static void put_time(struct buf *b, int64_t ms) {
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (ms < 0 || !gmtime_r(&seconds, &tm)) return;
    buf_lit(b, "\"time\":\"");
    buf_fmt(b, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
            tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
    buf_lit(b, "\",");
}

/* A field that does not fit is left out whole, and the record says so. */
static bool put_field(struct buf *b, const struct log_field *f) {
    struct buf before = *b;
    buf_byte(b, ',');
    put_text(b, slice_str(f->key));
    buf_byte(b, ':');
    if (f->is_text)
        put_text(b, f->text);
    else
        buf_u64(b, f->number);
    if (!b->full) return true;
    *b = before;
    return false;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t n) {
    static const char *const names[] = { "error", "warn", "info", "debug" };
    char line[LINE_BYTES + TAIL_BYTES];
    struct buf b = buf_over(line, LINE_BYTES);
    int fd = atomic_load(&sink);
    if (fd < 0 || (unsigned)level >= ARRAY_LEN(names)) return;
    int64_t (*wall)(void) = atomic_load(&clock_wall);
    buf_byte(&b, '{');
    if (wall) put_time(&b, wall());
    buf_lit(&b, "\"level\":\"");
    buf_put(&b, slice_str(names[level]));
    buf_lit(&b, "\",\"event\":");
    put_text(&b, slice_str(event));
    bool cut = false;
    for (size_t i = 0; i < n; i++) cut = !put_field(&b, &fields[i]) || cut;
    b.cap = sizeof(line);
    if (cut) buf_lit(&b, ",\"cut\":1");
    buf_lit(&b, "}\n");
    if (b.full) return;
    int saved = errno;
    /* A log that cannot be written must not stop calls; there is nobody to tell. */
    ssize_t written = write(fd, b.ptr, b.len);
    (void)written;
    errno = saved;
}

slice log_who(slice party, char out[static 9]) {
    if (log_level_now() == LOG_DEBUG) return party;
    uint64_t h = siphash_slice(&who_key, party);
    for (int i = 0; i < 8; i++, h /= 26) out[i] = (char)('a' + h % 26);
    out[8] = '\0';
    return slice_of(out, 8);
}
