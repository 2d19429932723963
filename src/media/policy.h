/* media/policy.h - secured or refused: is a session description keyed? architecture.md section 6.
 *
 * Keyed: every m= line that is not rejected (port 0 without bundle-only) has DTLS with a
 * fingerprint of SHA-256 or better (at session or media level), or a=crypto with an allowed suite
 * and without UNENCRYPTED_* / UNAUTHENTICATED_* parameters. A body we cannot read (encoded,
 * encrypted, ambiguous) counts as unkeyed. Pure function of the message; no memory.
 *
 * RTP:      RTP/AVP and RTP/SAVP (with or without F) by either means, RFC 8643 included;
 *           UDP/TLS/RTP/... by fingerprint alone.
 * Others:   what runs over DTLS or TLS (data channels, MSRP, BFCP, UDPTL over DTLS) is keyed by a
 *           fingerprint; without such a transport (T.38 over udptl, TCP/MSRP) it never is.
 * BUNDLE:   a section without keys of its own has those of its group's first one, if it shares
 *           that one's address (RFC 9143 7.1.3).
 * In doubt: fingerprints at media level replace those of the session (RFC 8122 5), good or not;
 *           a=crypto at session level is nothing (RFC 4568 4); one a=crypto line that switches
 *           encryption or authentication off spoils its m= line whatever else stands there. */
#ifndef MEDIA_POLICY_H
#define MEDIA_POLICY_H

#include "sip/msg.h"

enum media_keys {
    MEDIA_NO_SDP,     /* no session description: nothing to judge */
    MEDIA_KEYED,      /* by DTLS everywhere, and no a=crypto in sight */
    MEDIA_KEYED_SDES, /* keyed, and there is an a=crypto: never onto a flow without TLS */
    MEDIA_UNKEYED
};
struct media_verdict {
    enum media_keys keys;
    const char *why; /* UNKEYED: words for the Warning, telling what to switch on in the phone;
                      * no quotes or backslashes in them */
    unsigned line;   /* UNKEYED: number of the m= line, from 1; 0: the body as a whole */
};
struct media_verdict media_judge(const struct sip_msg *msg);
/* The same for the bytes of one session description. */
struct media_verdict media_judge_sdp(slice sdp);

#endif
