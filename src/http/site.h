/* http/site.h - the files of the page, in memory that never changes. */
#ifndef HTTP_SITE_H
#define HTTP_SITE_H

#include "base/slice.h"

struct http_file {
    slice path; /* "/index.html"; "/" finds it too */
    slice type;
    slice etag;   /* W/ and its quotes: plain and gzip are the same to read, not byte for byte */
    slice plain;  /* as it is; empty: too large, so it is sent compressed only */
    slice gzip;   /* empty: not worth it */
    bool is_kept; /* its name holds its hash: it never changes */
    bool is_open; /* pages of other origins may load it */
};
struct http_site {
    const struct http_file *files; /* in order of path */
    size_t count;
};
/* NULL: there is none. */
const struct http_file *http_site_find(const struct http_site *s, slice path);

#endif
