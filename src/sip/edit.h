/* sip/edit.h - writes a changed copy of a message: what was not named stays byte for byte.
 *
 * Purpose:  a proxy forwards by changing few headers; this collects the changes and writes the new
 *           message in one pass. Order of calls does not matter but for several inserts at one
 *           place, which come out in the order of the calls.
 * Lifetime: slices given are borrowed until sip_edit_write returns.
 * Memory:   none but struct sip_edit; more than SIP_EDITS_MAX changes make the write fail (LIMIT).
 *
 *   struct sip_edit e;
 *   sip_edit_init(&e, msg);
 *   sip_edit_request_uri(&e, contact);
 *   sip_edit_insert(&e, HDR_VIA, via);          // before the first Via, else at the top
 *   sip_edit_drop_value(&e, route);             // the first value of that header line
 *   err = sip_edit_write(&e, &out);                                                           */
#ifndef SIP_EDIT_H
#define SIP_EDIT_H

#include "base/buf.h"
#include "sip/msg.h"

#define SIP_EDITS_MAX 48

struct sip_edit_op {
    uint8_t what, header, id;
    unsigned n;
    slice name, value;
};
struct sip_edit {
    const struct sip_msg *msg;
    slice request_uri; /* empty: as it is */
    slice body;
    bool has_body, full;
    uint8_t count;
    struct sip_edit_op ops[SIP_EDITS_MAX];
};

void sip_edit_init(struct sip_edit *e, const struct sip_msg *msg);
void sip_edit_request_uri(struct sip_edit *e, slice uri);
/* Leave out one header line, or every line of that kind. */
void sip_edit_drop(struct sip_edit *e, const struct sip_header *h);
void sip_edit_drop_all(struct sip_edit *e, enum sip_header_id id);
/* Give a header line another value; its name stays as written. */
void sip_edit_replace(struct sip_edit *e, const struct sip_header *h, slice value);
/* Take the first `n` comma-separated values from the list that all lines of this kind make
 * together (Via, Route): lines that become empty go. */
void sip_edit_drop_values(struct sip_edit *e, enum sip_header_id id, unsigned n);
/* A new line before the first one of its kind; when there is none: Via and Route at the top
 * (Route after the Vias), others at the end of the head. */
void sip_edit_insert(struct sip_edit *e, enum sip_header_id id, slice value);
/* A new line with any name at the end of the head. */
void sip_edit_append(struct sip_edit *e, slice name, slice value);
/* Another body: Content-Length follows. */
void sip_edit_body(struct sip_edit *e, slice body);
/* FULL: does not fit; LIMIT: too many edits; BAD: a list to take values from is malformed, or a
 * text given would break out of its line (a bare CR or LF, NUL, a space in the Request-URI).
 * Content-Length is written when it was absent, and follows a new body. What the edits say about
 * one line twice, the later one wins. A folded value stays folded. */
NODISCARD enum err sip_edit_write(const struct sip_edit *e, struct buf *out);

#endif
