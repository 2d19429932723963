/* proxy/session.h - session timers as a proxy asks for them: RFC 4028 8.
 *
 * Purpose:  a call whose phone has vanished ends, because one of the two phones refreshes it. The
 *           proxy only asks: it puts Session-Expires into requests that set up or refresh a
 * session, and into the 2xx of a phone that knows nothing of timers when the other one does. Pure:
 * what is remembered from request to response is the caller's to keep. */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include "base/buf.h"
#include "sip/msg.h"

#define SESSION_MIN_S 90u /* RFC 4028 5: nothing below is allowed to anybody */

struct session_timer {
    uint32_t seconds;   /* what the copies say; 0: no timer was asked for */
    bool has_uac;       /* the sender supports timers */
    uint32_t expires_s; /* of the copies' Session-Expires, 0: as it came */
    uint32_t min_se_s;  /* of their Min-SE, 0: as it came */
};

/* What becomes of this request when the server wants `wish_s` (0: nothing). false: 422 with Min-SE:
 * SESSION_MIN_S. */
bool session_request(const struct sip_msg *m, uint32_t wish_s, struct session_timer *out);
/* The new value of a request's Session-Expires: its parameters stay (8.1). */
void session_put_expires(const struct sip_msg *m, uint32_t seconds, struct buf *out);
/* Lines for a 2xx on its way to a sender who can refresh when the other side cannot (8.2); nothing
 * when nothing is to be added. */
void session_put_lines(uint32_t seconds, bool has_uac, const struct sip_msg *response,
                       struct buf *out);

#endif
