/* Whatever bytes come: json_read answers, and what it gives can be walked. */
#include "json/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct json *v) {
    size_t seen = json_text(v).len + (json_bool(v) ? 1 : 0);
    uint64_t n = 0;
    if (json_u64(v, UINT64_MAX, &n) == ERR_OK) seen++;
    for (size_t i = 0; i < json_count(v); i++) seen += walk(json_item(v, i));
    if (json_kind(v) == JSON_KIND_OBJECT) seen += walk(json_member(v, "cmd"));
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready = false;
    if (!ready) json_init();
    ready = true;
    struct json *doc = NULL;
    struct json_trouble why;
    if (json_read(slice_of(data, size), &(struct json_limits){ 65536, 8 }, &doc, &why) == ERR_OK)
        ASSERT(walk(doc) < SIZE_MAX);
    json_free(doc);
    return 0;
}
