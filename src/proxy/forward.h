/* proxy/forward.h - writes the copy of a request that goes on: RFC 3261 16.6, 5393, 3325.
 *
 * Pure: the caller has decided everything; this puts it into the message and leaves the rest byte
 * for byte as it came. */
#ifndef PROXY_FORWARD_H
#define PROXY_FORWARD_H

#include "base/buf.h"
#include "proxy/history.h"
#include "sip/msg.h"

struct forward {
    const struct sip_msg *req;
    slice request_uri;     /* empty: as it is (16.6 step 2) */
    slice via;             /* our Via value (step 8) */
    slice source_via;      /* the topmost Via with received and rport filled in; empty: as it is */
    slice record_route[2]; /* [0] nearest to the callee; empty: none (step 4, RFC 5658) */
    slice route;           /* a Path to put in front (RFC 3327 5.1); empty: none */
    unsigned own_routes;   /* leading Route values that named us and go (16.4) */
    uint32_t max_breadth;  /* 0: leave the header alone (ACK); RFC 5393 5.3.3 */
    slice body;            /* in place of the one it has; ptr NULL: as it is */
    slice lines;           /* further whole lines, each with CRLF, at the end of the head */
    uint32_t session_expires_s, min_se_s; /* RFC 4028 8.1; 0: as they came, if they did */
    slice diversion; /* a value for Diversion, before those that are there; empty: none */
    slice asserted;  /* P-Asserted-Identity of the authenticated caller; empty: none */
    const struct history_out *leaving; /* what of the call's history leaves; NULL: as it is */
    const slice *realms;               /* ours: credentials for them stay here (RFC 3261 22.3) */
    unsigned realm_count;
};

/* The message into `out`, Max-Forwards counted down (or 70 when there was none: 16.6 step 3). FULL:
 * it does not fit; LIMIT: too many changes. P-Asserted-Identity and P-Preferred-Identity that came
 * from a client go (RFC 3325 5), and so does a Proxy-Authorization for one of `realms`: a digest is
 * nothing to show around (RFC 3261 22.3). */
NODISCARD enum err forward_write(const struct forward *f, struct buf *out);

struct forward_back { /* what is changed in a response; all empty: only what always goes */
    slice challenges; /* whole WWW-Authenticate and Proxy-Authenticate lines, each with its CRLF, in
                       * place of its own (RFC 3261 16.7 step 7) */
    slice oc;         /* parameters for the Via of whom it goes to (RFC 7339 5.2) */
    slice lines;      /* further whole lines at the end of the head */
};
/* A response on its way back: without our Via, and without P-Asserted-Identity that a client put
 * in (RFC 3325 5). */
NODISCARD enum err forward_response(const struct sip_msg *resp, const struct forward_back *f,
                                    struct buf *out);

#endif
