/* check/msg.h - a small reader of SIP messages, written apart from sip/ on purpose.
 *
 * It takes what a test wants to look at and judges nothing: a test says what is wrong. A message is
 * an index over bytes that somebody else keeps (the evidence of the test). Bytes that are no SIP
 * give `bad`. Memory: none of its own. Threads: any. */
#ifndef CHECK_MSG_H
#define CHECK_MSG_H

#include "base/slice.h"

#define MSG_HEADERS_MAX 160

struct link;
struct msg {
    slice raw;
    unsigned at;       /* its number in the evidence */
    int64_t ms;        /* when it came, since the test began */
    struct link *over; /* what brought it to a PBX in static mode, else NULL */
    unsigned status;   /* of a response; 0: a request */
    slice reason;      /* of a response */
    slice method, uri; /* of a request */
    slice version;
    slice body;
    struct {
        slice name, value; /* the value as it stands, folds included, white space at the ends not */
    } headers[MSG_HEADERS_MAX];
    unsigned header_count;
    bool bad; /* no start line, or no empty line */
};

void msg_read(slice raw, struct msg *out);
/* How many bytes the first message in a stream takes: 0 when more must come. A message without
 * Content-Length counts as having no body. */
size_t msg_frame(slice stream);

slice msg_header(const struct msg *m,
                 const char *name); /* the first; ptr NULL when there is none */
unsigned msg_lines(const struct msg *m, const char *name); /* how many header lines of that name */
/* The values of a header that is a list, over all its lines, in order; ptr NULL beyond the last. */
slice msg_value(const struct msg *m, const char *name, unsigned at);
unsigned msg_values(const struct msg *m, const char *name);
bool msg_lists(const struct msg *m, const char *name, const char *token); /* without case */
unsigned msg_cseq(const struct msg *m); /* 0 when it is no number */
slice msg_cseq_method(const struct msg *m);

/* Of one value such as `"A" <sip:a@b;x=1>;tag=2`. */
slice value_uri(slice value);                     /* sip:a@b;x=1 */
slice value_param(slice value, const char *name); /* "2"; ptr NULL: none; "" without a value */
bool value_has(slice value, const char *name);
slice uri_param(slice uri, const char *name); /* "1" */
slice uri_user(slice uri);
slice uri_host(slice uri);                         /* with brackets, without port */
slice uri_bare(slice uri);                         /* without parameters and headers */
slice comma_value(slice params, const char *name); /* of `Digest a="x", b=y`, without quotes */

bool is(slice a, const char *b);   /* equal */
bool is_i(slice a, const char *b); /* equal without case */
bool has(slice a, const char *b);  /* contains */
bool same(slice a, slice b);       /* equal, and there at all */
/* Does the status fit a pattern such as "200", "4xx", "2xx|404"? */
bool status_fits(unsigned status, slice pattern);

#endif
