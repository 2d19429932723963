/* proxy/uac.h - the few requests that the proxy makes itself when media policy ends a call: ACK and
 * BYE. RFC 3261 12.2.1.1, 13.2.2.4, 15.1.1. Pure writers. */
#ifndef PROXY_UAC_H
#define PROXY_UAC_H

#include "base/buf.h"
#include "sip/msg.h"

struct uac_request {
    enum sip_method method;
    slice request_uri;
    slice via;      /* our Via value */
    slice routes;   /* values for Route, joined by commas; may be empty */
    slice from, to; /* whole values with tags */
    slice call_id;
    uint32_t cseq;
    slice reason; /* value of Reason (RFC 3326); may be empty */
    slice body;   /* application/sdp; may be empty */
};
/* FULL: does not fit. */
NODISCARD enum err uac_write(const struct uac_request *r, struct buf *out);

/* An answer that takes nothing: every m= line of `sdp` again with port 0 (RFC 3264 6). */
void uac_reject_sdp(slice sdp, struct buf *out);

/* From the Record-Route values (joined by commas) of a response that came from the callee's side,
 * or of a request that came from the caller's: those above the first one for which is_ours()
 * holds, as the Route of a request to that side. A response's are reversed (RFC 3261 12.1.2), a
 * request's are not (12.1.1). */
void uac_routes(slice recorded, bool is_response, bool (*is_ours)(void *ctx, slice value),
                void *ctx, struct buf *out);

#endif
