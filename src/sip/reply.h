/* sip/reply.h - writes the response to a request: RFC 3261 8.2.6, 18.2.1, RFC 3581.
 *
 * Copied: every Via line (received and rport filled into the topmost value when `source` is given),
 * From, To (with to_tag when it has none), Call-ID, CSeq, and Timestamp in a 100. Then the extra
 * lines, Content-Type and Content-Length. Works for a request that sip_msg_read refused as well, if
 * it said `answerable`.
 *
 *   struct sip_reply r = { .status = 404, .to_tag = tag, .source = &flow->peer };
 *   err = sip_reply(req, &r, &out);                                                         */
#ifndef SIP_REPLY_H
#define SIP_REPLY_H

#include "base/addr.h"
#include "base/buf.h"
#include "sip/msg.h"

struct sip_reply {
    unsigned status;
    slice reason;      /* empty: sip_status_text(status) */
    slice to_tag;      /* added when To has no tag; not in a 100 */
    slice extra_lines; /* whole header lines, each ended by CRLF */
    slice body_type;   /* the value of Content-Type, when there is a body */
    slice body;
    uint32_t keep_s; /* RFC 6223: the value of a keep parameter without one; 0: left alone */
    const struct addr *source; /* where the request came from; NULL: Via stays as it is */
    slice oc; /* overload parameters for the topmost Via, when it asked for them; with `source` */
};

/* FULL: does not fit. BAD: the request lacks what must be copied. */
NODISCARD enum err sip_reply(const struct sip_msg *req, const struct sip_reply *r, struct buf *out);

/* Write the topmost Via value of `req` with received and rport filled in: received when the host
 * of sent-by is not that address (or rport was asked for), rport when it was asked for. A keep that
 * asks gets keep_s, unless that is 0. Overload parameters go: they are for the next hop only (RFC
 * 7339 5.6), who answers puts in its own. */
void sip_via_put_source(struct buf *b, const struct sip_via *via, const struct addr *source,
                        uint32_t keep_s);

#endif
