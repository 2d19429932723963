/* json/read.h - JSON from elsewhere, read by jansson behind limits of our own.
 *
 * Purpose:  admin calls, settings of the web page, anything that arrives as JSON.
 * Limits:   bytes and nesting are judged before jansson sees the text; a member that stands twice
 *           in one object is refused, because two readers would believe different ones.
 * Lifetime: json_read gives a document; every value and slice inside lives until json_free.
 * Memory:   jansson's, through base/mem.h (json_init sets that up).
 * Threads:  a document belongs to one thread at a time.
 *
 *   struct json *doc;
 *   enum err e = json_read(line, &(struct json_limits){ 65536, 8 }, &doc, NULL);
 *   slice cmd = json_text(json_member(doc, "cmd"));        (empty when it is not there)      */
#ifndef JSON_READ_H
#define JSON_READ_H

#include "base/slice.h"

struct json; /* a value; the root is the document */

struct json_limits {
    size_t bytes_max;
    unsigned depth_max; /* objects and arrays inside each other; at most 64 */
};
struct json_trouble { /* where and why json_read refused, for people */
    size_t offset;
    char text[96];
};
enum json_kind {
    JSON_KIND_NONE, /* no such value (a NULL pointer) */
    JSON_KIND_NULL,
    JSON_KIND_BOOL,
    JSON_KIND_NUMBER,
    JSON_KIND_TEXT,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT
};

/* Once, before any thread: jansson allocates through base/mem.h from here on. */
void json_init(void);

/* One JSON value (RFC 8259) and white space around it, nothing else. LIMIT: over bytes_max or
 * depth_max; BAD: not JSON, not UTF-8, a member twice; MEMORY. `why` may be NULL. */
NODISCARD enum err json_read(slice text, const struct json_limits *limits, struct json **out,
                             struct json_trouble *why);
void json_free(struct json *root); /* NULL is allowed; only the root of json_read */

/* Every reader takes NULL and values of another kind: then it gives the empty answer. */
enum json_kind json_kind(const struct json *v);
const struct json *json_member(const struct json *object, const char *name); /* NULL: none */
size_t json_count(const struct json *array);                                 /* 0: no array */
const struct json *json_item(const struct json *array, size_t at);           /* NULL: none */
slice json_text(const struct json *v);
bool json_bool(const struct json *v);
/* A whole number from 0 to max. MISSING: NULL or no number; BAD: negative or a fraction; LIMIT. */
NODISCARD enum err json_u64(const struct json *v, uint64_t max, uint64_t *out);

#endif
