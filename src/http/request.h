/* http/request.h - reads the head of an HTTP/1.1 request, and writes the head of an answer. No I/O.
 *
 * Purpose:  what the page, its JSON calls and the WebSocket handshake need, and no more: no
 *           chunked bodies, no folding, no CR or LF alone, no trailing white space in names. What
 *           two readers could understand in two ways is refused (request smuggling).
 * Lifetime: what comes out are slices of the bytes that were given.
 * Memory:   none. Threads: any.
 * Errors:   as the status to answer with: 400, 411, 413, 414, 431, 501, 505.
 *
 *   switch (http_request_read(bytes, &limits, &req, &used)) {
 *   case 0: wait for more; case 200: req holds it, its body begins at bytes + used; default: say so
 * }
 */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include "base/buf.h"

#define HTTP_TARGET_MAX                                                                            \
    2048u                       /* 414 above; RFC 9110 4.1 asks for 8000 where they mean something \
                                 */
#define HTTP_HEAD_MAX    8192u  /* 431 above: one cookie, and what browsers say of themselves */
#define HTTP_HEADERS_MAX 64u    /* 431 above; a browser sends about 20 */
#define HTTP_BODY_MAX    16384u /* 413 above: a passkey's registration has about 2 kB */

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER /* 501 wherever it comes (RFC 9110 9.1) */
};

struct http_request { /* an absent header is an empty slice */
    enum http_method method;
    slice path;  /* begins with '/'; no dot segments, no "//", nothing percent-encoded; "*" of
                  * OPTIONS for the whole server (RFC 9112 3.2.4) */
    slice query; /* behind the '?', as written */
    slice host;  /* of the target when it is absolute (RFC 9112 3.2.2), else of Host */
    slice origin, cookie, content_type, if_none_match;
    slice ws_key, ws_version,
        ws_protocols; /* Sec-WebSocket-..., lists joined by nobody: the first */
    uint32_t content_length;
    bool has_length;
    bool stays;       /* the connection goes on after the answer (RFC 9112 9.3) */
    bool is_upgrade;  /* Connection: upgrade and Upgrade: websocket (RFC 6455 4.2.1) */
    bool takes_gzip;  /* Accept-Encoding has gzip */
    bool is_extended; /* Sec-WebSocket-Extensions was there: none is ever taken */
};

/* Of a request that begins at bytes.ptr. 0: its head is not complete; 200: *out is filled and the
 * head is *out_used bytes long; else the status to refuse with, after which the connection ends. */
unsigned http_request_read(slice bytes, struct http_request *out, size_t *out_used);

/* The value of a cookie; the first one of that name. False: there is none. RFC 6265 4.2.1. */
bool http_cookie(const struct http_request *r, slice name, slice *out);
/* The value of name=value in the query, as written; false: there is none. */
bool http_query(const struct http_request *r, slice name, slice *out);
/* Is one of the elements of this comma-separated list this token (any case)? */
bool http_list_has(slice list, slice token);
/* Does If-None-Match name this entity tag, or "*"? By weak comparison (RFC 9110 13.1.2). */
bool http_etag_is_among(slice list, slice etag);
/* "example.org" of "example.org:8443", "[::1]" of "[::1]:8443". */
slice http_host_name(slice host);
/* Is this Origin "https://" and then just this host (with port; 443 may be left out on both)? */
bool http_origin_is(slice origin, slice host);

/* ---- answers ---- */

struct http_answer {
    unsigned status;
    slice type;  /* Content-Type; empty: no body */
    slice date;  /* IMF-fixdate (RFC 9110 6.6.1) */
    slice lines; /* further whole lines */
    size_t length;
    bool closes;
};
const char *http_reason(unsigned status); /* static */
/* The head with its empty line, and the lines that every answer of ours has: what the page may do
 * (docs/web.md). has_hsts: say that this host is to be asked by HTTPS only. */
void http_answer_head(const struct http_answer *a, bool has_hsts, struct buf *out);

#endif
