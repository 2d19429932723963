/* proxy/history.h - what the history of a call tells when the request leaves our domain: RFC 7044
 * 10.1.2, RFC 3323.
 *
 * Purpose:  with Privacy: history or header, entries of ours become anonymous, Diversion (RFC 5806)
 *           goes, and "history" is done with in Privacy; an entry that asks for it by itself
 *           (?Privacy=history) becomes anonymous alone. Index, rc, mp and np stay, so nobody loses
 *           count; so does the Reason, which names no one.
 * Pure:     it writes values; proxy/forward.h puts them into the copy. */
#ifndef PROXY_HISTORY_H
#define PROXY_HISTORY_H

#include "base/buf.h"
#include "sip/msg.h"

struct history_out {
    slice history;                 /* the values of History-Info, in one line; empty: none */
    slice privacy;                 /* the value of Privacy; empty: none is left */
    bool has_history, has_privacy; /* these take the place of what the request has */
    bool no_diversion;             /* Diversion goes */
};

/* `is_ours`: does that host belong to a domain of ours? A tel URI counts as ours: it is a number
 * that somebody here dialled or was given. The slices point into `mem`, which must hold the
 * request's History-Info and Privacy again, and 40 bytes for each entry. FULL: it does not; BAD:
 * Privacy cannot be read. History-Info that cannot be read is left out as a whole. */
NODISCARD enum err history_leave(const struct sip_msg *m, bool (*is_ours)(void *ctx, slice host),
                                 void *ctx, struct buf *mem, struct history_out *out);

#endif
