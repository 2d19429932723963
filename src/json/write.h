/* json/write.h - JSON written into memory of fixed size.
 *
 * Purpose:  answers of admin calls, `--json` output, trace lines. Commas and quotes are the
 *           writer's business; what comes out is always one valid JSON value (RFC 8259), whatever
 *           bytes went in: text that is not UTF-8 gets U+FFFD in place of each bad byte.
 * Memory:   the buf's. Overflow is sticky in the buf: write everything, ask buf.full once.
 * Nesting:  at most JSON_WRITE_DEPTH; deeper, or an end without a begin, is our bug (ASSERT).
 *
 *   struct json_writer w = json_over(&buf);
 *   json_begin_object(&w, NULL);
 *   json_put_text(&w, "aor", aor);
 *   json_begin_array(&w, "ports"); json_put_u64(&w, NULL, 5061); json_end(&w);
 *   json_end(&w);                                                                          */
#ifndef JSON_WRITE_H
#define JSON_WRITE_H

#include "base/buf.h"

#define JSON_WRITE_DEPTH 16

struct json_writer {
    struct buf *out;
    unsigned depth;
    char close[JSON_WRITE_DEPTH]; /* '}' or ']' of each open level */
    bool has_items[JSON_WRITE_DEPTH + 1];
};

static inline struct json_writer json_over(struct buf *out) {
    return (struct json_writer){ .out = out };
}

/* `name` is the member's name inside an object, NULL inside an array or at the top. */
void json_begin_object(struct json_writer *w, const char *name);
void json_begin_array(struct json_writer *w, const char *name);
void json_end(struct json_writer *w); /* of the innermost object or array */
void json_put_text(struct json_writer *w, const char *name, slice text);
void json_put_str(struct json_writer *w, const char *name, const char *text);
void json_put_u64(struct json_writer *w, const char *name, uint64_t v);
void json_put_i64(struct json_writer *w, const char *name, int64_t v);
void json_put_bool(struct json_writer *w, const char *name, bool v);
void json_put_null(struct json_writer *w, const char *name);
/* A wall_t as RFC 3339 text in UTC, "2027-06-30T00:00:00Z"; 0 is written as null. */
void json_put_wall(struct json_writer *w, const char *name, int64_t wall_ms);
/* Bytes that are one valid JSON value already (made by this writer). */
void json_put_raw(struct json_writer *w, const char *name, slice value);

#endif
