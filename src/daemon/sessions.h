/* daemon/sessions.h - invitations, passkeys and signed-in browsers: rows of the device table.
 *
 * Purpose:  one table says what may speak for a person, so that revoking, listing and ending live
 *           flows are the same for a certificate and for a browser (store.h, enum device_kind).
 * Tokens:   32 random bytes in base64url; only their SHA-256 is kept.
 * Threads:  under the world's lock, but for session_find (any thread). */
#ifndef DAEMON_SESSIONS_H
#define DAEMON_SESSIONS_H

#include "daemon/world.h"

#define SESSION_TOKEN_CHARS 43
#define SESSION_LIFE_MS     (INT64_C(30) * 86400000)
#define SESSIONS_MAX        8u /* of one account; the oldest goes */
#define INVITES_MAX         4u
#define INVITE_LIFE_MAX_S   (30 * 86400)

struct session {
    uint32_t account_id, id, passkey_id; /* a visitor's: passkey_id 0 */
    wall_t until;
};
void session_token_hash(slice token, uint8_t out[static 32]);
/* The device that this token stands for, if it is of this kind and still counts. MISSING. */
NODISCARD enum err session_find(struct accounts *a, slice token, enum device_kind kind, wall_t now,
                                struct session *out);

/* A new row with a token. FULL: the account has as many devices as it may. STORE, IO, MEMORY. */
NODISCARD enum err session_make(struct world *w, const struct device_row *front, wall_t now,
                                char token[static SESSION_TOKEN_CHARS + 1], uint32_t *out_id);
/* A row as it is. */
NODISCARD enum err session_put_device(struct world *w, const struct device_row *row);
/* Ends a device: certificates and legacy devices are revoked, all else is removed, a passkey with
 * the sessions it made. Their flows close. MISSING. */
NODISCARD enum err session_end(struct world *w, uint32_t device_id);

#endif
