/* auth/user_settings.h - what a person has set about his calls: forwarding, do not disturb.
 *
 * Purpose:  the one reader and writer of account_row.settings, a text of lines "name=value":
 *
 *             dnd=on
 *             refuse-anonymous=on
 *             forward-always=sip:bob@example.org
 *             forward-busy=sip:bob@example.org
 *             forward-no-answer=sip:carol@example.org,20s
 *             forward-unreachable=tel:+15551234
 *             only-calls=sip:sales@example.org
 *
 * Memory:   slices point into the text that was read, or that was given to set.
 * Threads:  any. What the settings do to a call stands in core/divert.c. */
#ifndef AUTH_USER_SETTINGS_H
#define AUTH_USER_SETTINGS_H

#include "base/buf.h"
#include "base/slice.h"

#define USER_SETTINGS_MAX     1536u /* bytes of the text */
#define USER_SETTINGS_URI_MAX 256u  /* a place to forward to: longer ones are nobody's number */
#define NO_ANSWER_MIN_S       3u
#define NO_ANSWER_MAX_S       170u /* below timer C, which ends every call that rings for so long */
#define NO_ANSWER_DEFAULT_S   20u

enum forward_when {
    FORWARD_ALWAYS,
    FORWARD_BUSY,
    FORWARD_NO_ANSWER,
    FORWARD_UNREACHABLE,
    FORWARD_COUNT
};
struct user_settings {
    slice forward[FORWARD_COUNT]; /* where to; empty: not set */
    uint32_t no_answer_s;         /* of FORWARD_NO_ANSWER */
    slice only_calls;             /* nobody else may be called: a guest, a lobby; empty: anybody */
    bool dnd;
    bool refuse_anonymous; /* RFC 5079: callers who withhold who they are get 433 */
};

const char *forward_name(enum forward_when when); /* "forward-busy" */
/* One setting: `value` as a person or the store writes it; empty or "off" takes it away. MISSING:
 * no setting has this name. BAD, LIMIT: `why` says what is wrong with the value. */
NODISCARD enum err user_settings_set(struct user_settings *s, slice name, slice value,
                                     struct buf *why);
/* All of a stored text. BAD: it is none. */
NODISCARD enum err user_settings_read(slice text, struct user_settings *out);
/* The text of these settings; nothing when none is set. */
void user_settings_put(struct buf *b, const struct user_settings *s);

#endif
