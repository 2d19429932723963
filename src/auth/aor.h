/* auth/aor.h - an account's address as a person writes it: "alice@example.org".
 *
 * Purpose:  the one reader for command lines, admin calls and files. What passes is canonical (user
 *           unescaped, domain in lower case) and can be written into a SIP URI, a digest and a
 *           comma-separated list of aliases without surprises.
 * Accepts:  "alice@example.org", "sip:alice@example.org", "sips:...", escapes in the user.
 * Refuses:  everything else, with a sentence in `why` that says what to write instead.
 * Memory:   the caller's struct; nothing points into the input. Threads: any. */
#ifndef AUTH_AOR_H
#define AUTH_AOR_H

#include "auth/accounts.h"
#include "base/buf.h"

struct aor {
    uint8_t user_len, domain_len;
    char user[ACCOUNT_USER_MAX], domain[ACCOUNT_DOMAIN_MAX];
};
static inline slice aor_user(const struct aor *a) {
    return slice_of(a->user, a->user_len);
}
static inline slice aor_domain(const struct aor *a) {
    return slice_of(a->domain, a->domain_len);
}

/* BAD: not such an address; LIMIT: longer than ACCOUNT_USER_MAX or ACCOUNT_DOMAIN_MAX; DENIED: the
 * name "anonymous", which RFC 3323 4.1.1.3 uses for nobody. */
NODISCARD enum err aor_read(slice text, struct aor *out, struct buf *why);
/* One user part alone (an alias or number); out->domain stays empty. Same errors. */
NODISCARD enum err aor_read_user(slice text, struct aor *out, struct buf *why);
/* A domain alone (a served domain in the configuration). BAD, LIMIT. */
NODISCARD enum err aor_read_domain(slice text, struct aor *out, struct buf *why);

#endif
