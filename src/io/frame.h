/* io/frame.h - where does a SIP message on a stream end? Found without reading the message.
 *
 * core reads what is framed here; this only finds the empty line and Content-Length, so that no
 * header is read twice. RFC 3261 18.3: on a stream Content-Length says where the body ends.
 * Memory: none. State: how far we looked, so that a message in a thousand pieces costs one pass. */
#ifndef IO_FRAME_H
#define IO_FRAME_H

#include "base/slice.h"

struct frame {
    uint32_t scanned;             /* whole lines that were looked at */
    uint32_t need;                /* length of head and body once the head is complete, else 0 */
    uint32_t length_at;           /* where a Content-Length line begins */
    bool has_length, has_lengths; /* one of them; more than one */
};

enum frame_state {
    FRAME_MORE, /* feed more; *out_len is the whole length once it is known, else 0 */
    FRAME_DONE, /* the message is the first *out_len bytes */
    FRAME_BAD   /* its end cannot be known: *out_len is the head's length, 0 when it has no end */
};

/* bytes begins with the message (leading CRLFs are gone) and is the same memory with more behind
 * it in each call for one message; then zero *f. BAD: no Content-Length, not a number, two that
 * differ; head above LIMIT_MSG_HEAD_BYTES; message above LIMIT_MSG_BYTES. *why is one line. */
enum frame_state frame_find(struct frame *f, slice bytes, size_t *out_len, const char **out_why);

/* What speaks on a fresh connection that did not say so by ALPN (architecture.md section 5). */
enum frame_protocol {
    PROTOCOL_UNKNOWN_YET,
    PROTOCOL_SIP,
    PROTOCOL_HTTP,
    PROTOCOL_STUN,
    PROTOCOL_NONE /* nothing of ours: close */
};
/* bytes: the first ones, after leading CRLFs. */
enum frame_protocol frame_protocol(slice bytes);

#endif
