/* sip/uri_inside.h - shared by uri.c and uri_eq.c; not for others. */
#ifndef SIP_URI_INSIDE_H
#define SIP_URI_INSIDE_H

#include "sip/hdr.h"

/* Comparing walks every pair of parameters (and of headers), so their number is bounded: a URI of
 * 2 kB could hold a thousand. Real ones have five. */
#define URI_PARAMS_MAX  64u
#define URI_HEADERS_MAX 32u

#define URI_WAS_ESCAPED 256u
/* The byte at *at, or the one that a %HH there means (then with URI_WAS_ESCAPED); moves on. The
 * escapes of a URI that was read are whole. */
unsigned uri_unescape_char(const char **at, const char *end);
bool uri_name_is(slice name, slice word); /* any case, escapes undone in `name` */
enum uri_fold { URI_EXACT, URI_FOLD };
/* Equal when escapes of unreserved characters are undone (RFC 3261 19.1.4). */
bool uri_text_eq(slice a, slice b, enum uri_fold fold);
bool uri_param_next(slice *rest, struct hdr_param *out);

#endif
