#include "http/site.h"

const struct http_file *http_site_find(const struct http_site *s, slice path) {
    if (slice_eq(path, SLICE("/"))) path = SLICE("/index.html");
    size_t low = 0, high = s ? s->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_cmp(path, s->files[middle].path);
        if (order == 0) return &s->files[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
