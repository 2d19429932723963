/* sip/body.h - the parts of a body: RFC 2046 5.1, RFC 5621.
 *
 * Purpose:  walk all leaves of a (nested) multipart body, or the one part that a plain body is;
 *           find the session description, and know when it cannot be judged.
 * Lifetime: slices of the message. Nothing is decoded.
 * Limits:   LIMIT_MULTIPART_PARTS leaves and containers together, LIMIT_MULTIPART_DEPTH deep.
 *
 *   struct sip_parts it;
 *   sip_parts_of(&it, msg);
 *   for (struct sip_part p; sip_parts_next(&it, &p);) ...
 *   if (it.err != ERR_OK) ... BAD: malformed, LIMIT: too many or too deep                   */
#ifndef SIP_BODY_H
#define SIP_BODY_H

#include "sip/hdr.h"

struct sip_part {
    struct hdr_media media;             /* text/plain when a part has no Content-Type (2046 5.1) */
    struct hdr_disposition disposition; /* token ptr NULL: none written; see sip_part_kind */
    slice content_id;                   /* without <> */
    slice transfer_encoding;            /* Content-Transfer-Encoding as written */
    slice content_encoding;             /* Content-Encoding as written */
    slice bytes;
    uint8_t depth; /* 0: the body itself is this part */
};
struct sip_parts_level {
    slice rest;     /* behind the last delimiter line read */
    slice boundary; /* as compared: without quotes */
    bool is_closed; /* that line was the closing one */
};
struct sip_parts {
    enum err err;
    uint8_t depth, count;
    bool has_whole;
    struct sip_part whole; /* the body itself, before it is given out or entered */
    struct sip_parts_level levels[LIMIT_MULTIPART_DEPTH];
};

void sip_parts_of(struct sip_parts *it, const struct sip_msg *msg); /* no body: no part */
/* The next leaf; false at the end or when something is wrong (it->err). */
bool sip_parts_next(struct sip_parts *it, struct sip_part *out);
/* Is it encoded: a Content-Encoding but identity, or a transfer encoding but 7bit, 8bit, binary? */
bool sip_part_is_encoded(const struct sip_part *p);
/* Encrypted or signed as a whole, so that what is inside is not for us to see. */
bool sip_part_is_sealed(const struct sip_part *p);

enum sip_body_state {
    SIP_BODY_NONE,      /* no such part, and nothing that could hide one */
    SIP_BODY_FOUND,     /* exactly one, readable: *out */
    SIP_BODY_AMBIGUOUS, /* more than one */
    SIP_BODY_ENCODED,   /* one, but behind an encoding */
    SIP_BODY_SEALED,    /* none in sight, but an encrypted part may hold one */
    SIP_BODY_BAD,       /* the body is malformed, or beyond our limits */
};
/* Look for a part of this type, e.g. application/sdp. A session description whose disposition is
 * neither "session" nor "early-session" nor absent is not looked past: it counts like any other. */
enum sip_body_state sip_body_find(const struct sip_msg *msg, slice type, slice subtype,
                                  struct sip_part *out);

#endif
