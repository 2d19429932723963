/* load/sipmsg.h - the load generator's own SIP: just enough to register and to call.
 *
 * Deliberately not src/sip: a generator that shares the server's reader would share its mistakes,
 * and this one is cheap enough not to disturb what is measured. It trusts nothing it does not
 * need, and needs little: the start line, the lines it must copy, and the length.
 *
 * Tag: the second line of every message is "X-Bench: <destination> <length> <kind>", all of fixed
 * width. The floor relay routes by it without any SIP; Kith passes it on like any header it does
 * not know. Both servers carry the same bytes. */
#ifndef LOAD_SIPMSG_H
#define LOAD_SIPMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    const char *p;
    size_t n;
};

/* Kinds of the tag: what the floor does with the message. */
enum tag_kind {
    TAG_CHALLENGE = 'c', /* answer with the canned 401 */
    TAG_REGISTER = 'r',  /* note the connection, answer with the canned 200 */
    TAG_INVITE = 'i',    /* answer with the canned 100 and pass on */
    TAG_FORWARD = 'f'    /* pass on */
};

enum header {
    H_OTHER = 0,
    H_VIA = 1 << 0,
    H_FROM = 1 << 1,
    H_TO = 1 << 2,
    H_CALL_ID = 1 << 3,
    H_CSEQ = 1 << 4,
    H_CONTACT = 1 << 5,
    H_RECORD_ROUTE = 1 << 6,
    H_LENGTH = 1 << 7,
    H_CHALLENGE = 1 << 8
};

/* Text being written. Overflow sets `bad` and stops; the caller looks once, at the end. */
struct text {
    char *p;
    size_t n, max;
    bool bad;
};
void text_add(struct text *t, struct span s);
__attribute__((format(printf, 2, 3))) void text_printf(struct text *t, const char *fmt, ...);

struct span span_of(const char *p, size_t n);
bool span_begins(struct span s, const char *lower_case_name);

/* Bytes of the first whole message in s; 0: more are needed; -1: not SIP. */
long sip_frame(struct span s);
/* 0 for a request. */
unsigned sip_status(struct span msg);
/* Step through header lines: *line gets the line without CRLF, *value what follows the colon.
 * Start with rest = msg. False at the end. */
bool sip_next_header(struct span *rest, enum header *id, struct span *line, struct span *value);
/* The value of the first such header; empty when there is none. */
struct span sip_header(struct span msg, enum header id);
/* The URI between < and >, else the value up to the first ';'. */
struct span sip_uri(struct span value);
/* A parameter of a challenge or a header value, unquoted; empty when absent. */
struct span sip_param(struct span value, const char *name);

/* Starts a message: start line and tag. Ends it: patches the tag's length. */
void sip_begin(struct text *t, uint32_t destination, enum tag_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void sip_end(struct text *t);
/* Copies the header lines whose ids are in `mask`; a To without tag gets `to_tag`. */
void sip_copy(struct text *t, struct span msg, unsigned mask, uint32_t to_tag);
/* Route lines of a caller: Record-Route of the response, in reverse (RFC 3261 12.1.2). */
void sip_routes(struct text *t, struct span response);

/* The digest answer (RFC 7616, SHA-256, qop=auth) as a whole Authorization line. False when the
 * challenge is none that we can answer. */
struct credentials {
    struct span user, secret, method, uri, challenge;
    unsigned count; /* nc */
};
bool sip_authorize(struct text *t, const struct credentials *c);

#endif
