/* media/policy.h - secured or refused: is a session description keyed? architecture.md section 6.
 *
 * Keyed: every m= line that is not rejected (port 0 without bundle-only) has DTLS with a
 * fingerprint of SHA-256 or better (at session or media level), or a=crypto with an allowed suite
 * and without UNENCRYPTED_* / UNAUTHENTICATED_* parameters. A body we cannot read (encoded,
 * encrypted, ambiguous) counts as unkeyed. Pure function of the message; no memory. */
#ifndef MEDIA_POLICY_H
#define MEDIA_POLICY_H

#include "sip/msg.h"

enum media_keys {
    MEDIA_NO_SDP,     /* no session description: nothing to judge */
    MEDIA_KEYED,      /* by DTLS everywhere */
    MEDIA_KEYED_SDES, /* keyed, and at least one m= line by a=crypto: never onto a flow without TLS
                       */
    MEDIA_UNKEYED
};
struct media_verdict {
    enum media_keys keys;
    const char *why; /* UNKEYED: words for the Warning, telling what to switch on in the phone */
    unsigned line;   /* UNKEYED: number of the m= line, from 1; 0: the body as a whole */
};
struct media_verdict media_judge(const struct sip_msg *msg);

#endif
