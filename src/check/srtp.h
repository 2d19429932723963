/* check/srtp.h - packets of SRTP and SRTCP (RFC 3711), right ones and wrong ones.
 *
 * One profile, which all must know (RFC 5764 4.1.2, RFC 8827 6.5): SRTP_AES128_CM_HMAC_SHA1_80,
 * with the key derivation rate 0. Nothing is remembered but the session keys: the caller says which
 * index a packet has, so that it can send one twice, late or from the future; and judges what it
 * gets.
 *
 *   struct srtp out;
 *   srtp_init(&out, key, salt);
 *   struct buf b = buf_over(mem, sizeof mem);
 *   srtp_seal(&out, rtp, 0, &b);             a packet of the first 65,536
 *
 * Lifetime: srtp_wipe() when done. Memory: the caller's. Threads: none shared. */
#ifndef CHECK_SRTP_H
#define CHECK_SRTP_H

#include "base/buf.h"
#include "base/defs.h"

#define SRTP_KEY   16u
#define SRTP_SALT  14u
#define SRTP_TAG   10u
#define SRTP_BYTES 2048u /* no packet of ours or theirs is longer */

struct srtp_keys {
    uint8_t cipher[SRTP_KEY], salt[SRTP_SALT], mac[20];
};
struct srtp { /* one direction */
    struct srtp_keys rtp, rtcp;
};

/* The session keys of these master keys (RFC 3711 4.3); false: memory is short. */
NODISCARD bool srtp_init(struct srtp *s, const uint8_t key[static SRTP_KEY],
                         const uint8_t salt[static SRTP_SALT]);
void srtp_wipe(struct srtp *s);

/* Appends the packet of this RTP, of which `turns` says how often the sequence number has wrapped.
 * RFC 3711 3.3. false: it is no RTP, or there is no room. */
NODISCARD bool srtp_seal(const struct srtp *s, slice rtp, uint32_t turns, struct buf *out);
/* The RTP in it, in `mem`; false: no RTP, or the tag is wrong. */
NODISCARD bool srtp_open(const struct srtp *s, slice packet, uint32_t turns,
                         char mem[static SRTP_BYTES], slice *out);
/* The same for compound RTCP, under an index of 31 bits. RFC 3711 3.4. */
NODISCARD bool srtcp_seal(const struct srtp *s, slice rtcp, uint32_t index, struct buf *out);
/* clear: it is authenticated, and not encrypted (E is 0). */
NODISCARD bool srtcp_open(const struct srtp *s, slice packet, char mem[static SRTP_BYTES],
                          slice *out, uint32_t *index, bool *clear);

/* How long the head of this RTP is, with CSRCs and extension (RFC 3550 5.1); 0: it is not RTP. */
size_t rtp_head(slice packet);

/* What a report says about one source (RFC 3550 6.4.1). */
struct rtcp_block {
    uint32_t highest; /* turns << 16 | sequence number */
    int32_t lost;     /* of 24 bits; below 0: more came than were expected */
};
/* The last block about `ssrc` in a compound packet; false: none. */
NODISCARD bool rtcp_about(slice rtcp, uint32_t ssrc, struct rtcp_block *out);

#endif
