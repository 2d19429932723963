/* json/read.c - see read.h. */
#include "json/read.h"

#include "base/mem.h"
#include <jansson.h>
#include <stdio.h>

#define DEPTH_MAX 64 /* far below jansson's own 2048, so its recursion stays shallow */

static const json_t *under(const struct json *v) {
    return (const json_t *)(const void *)v;
}

static const struct json *over(const json_t *v) {
    return (const struct json *)(const void *)v;
}

/* jansson reports a failed allocation as whatever it was doing, so we note it ourselves. */
static _Thread_local bool memory_was_short;

static void *alloc_noted(size_t size) {
    void *p = mem_alloc(size);
    if (!p) memory_was_short = true;
    return p;
}

void json_init(void) {
    json_set_alloc_funcs(alloc_noted, mem_free);
}

static void tell(struct json_trouble *why, size_t offset, const char *text) {
    if (!why) return;
    why->offset = offset;
    (void)snprintf(why->text, sizeof why->text, "%.*s", (int)sizeof why->text - 1, text);
}

/* Brackets outside strings. What is not JSON is left for jansson to refuse. */
static enum err depth_check(slice text, unsigned max, size_t *at) {
    unsigned depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > max) {
                *at = i;
                return ERR_LIMIT;
            }
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return ERR_OK;
}

enum err json_read(slice text, const struct json_limits *limits, struct json **out,
                   struct json_trouble *why) {
    *out = NULL;
    if (text.len > limits->bytes_max) {
        tell(why, limits->bytes_max, "larger than we allow");
        return ERR_LIMIT;
    }
    unsigned depth_max = limits->depth_max < DEPTH_MAX ? limits->depth_max : DEPTH_MAX;
    size_t at = 0;
    if (depth_check(text, depth_max, &at) != ERR_OK) {
        tell(why, at, "nested deeper than we allow");
        return ERR_LIMIT;
    }
    memory_was_short = false;
    json_error_t trouble;
    json_t *root = json_loadb(text.ptr ? text.ptr : "", text.len,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &trouble);
    if (root && memory_was_short) { /* it went on with something missing */
        json_decref(root);
        return ERR_MEMORY;
    }
    if (root) {
        *out = (struct json *)(void *)root;
        return ERR_OK;
    }
    tell(why, trouble.position > 0 ? (size_t)trouble.position : 0, trouble.text);
    return memory_was_short ? ERR_MEMORY : ERR_BAD;
}

void json_free(struct json *root) {
    json_decref((json_t *)(void *)root);
}

enum json_kind json_kind(const struct json *v) {
    if (!v) return JSON_KIND_NONE;
    switch (json_typeof(under(v))) {
    case JSON_OBJECT:
        return JSON_KIND_OBJECT;
    case JSON_ARRAY:
        return JSON_KIND_ARRAY;
    case JSON_STRING:
        return JSON_KIND_TEXT;
    case JSON_INTEGER:
    case JSON_REAL:
        return JSON_KIND_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_KIND_BOOL;
    case JSON_NULL:
        return JSON_KIND_NULL;
    }
    return JSON_KIND_NONE;
}

const struct json *json_member(const struct json *object, const char *name) {
    return over(json_object_get(under(object), name));
}

size_t json_count(const struct json *array) {
    return json_array_size(under(array));
}

const struct json *json_item(const struct json *array, size_t at) {
    return over(json_array_get(under(array), at));
}

slice json_text(const struct json *v) {
    const char *text = json_string_value(under(v));
    return text ? slice_of(text, json_string_length(under(v))) : SLICE_NONE;
}

bool json_bool(const struct json *v) {
    return v && json_is_true(under(v));
}

enum err json_u64(const struct json *v, uint64_t max, uint64_t *out) {
    if (json_kind(v) != JSON_KIND_NUMBER) return ERR_MISSING;
    if (!json_is_integer(under(v))) return ERR_BAD;
    json_int_t n = json_integer_value(under(v));
    if (n < 0) return ERR_BAD;
    if ((uint64_t)n > max) return ERR_LIMIT;
    *out = (uint64_t)n;
    return ERR_OK;
}
