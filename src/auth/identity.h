/* auth/identity.h - what a flow has proved: architecture.md section 4, "Flow identity".
 *
 * Purpose:  a flow holds up to LIMIT_IDENTITIES identities, each added by its own digest success,
 *           device certificate or web session, until the flow closes or the account changes.
 * Lifetime: belongs to a flow; identities_fini when it closes.
 * Memory:   one identity lives inside (nearly every flow has one), more in a block of their own.
 * Threads:  the flow's worker only. */
#ifndef AUTH_IDENTITY_H
#define AUTH_IDENTITY_H

#include "auth/accounts.h"
#include "base/limits.h"
#include "sip/msg.h"

struct identity {
    uint32_t account_id, stamp;
    uint32_t device_id; /* the device that proved it; 0: the account's own secret */
};
struct flow_identities {
    struct identity one;
    struct identity *more; /* LIMIT_IDENTITIES - 1 places, or NULL */
    uint8_t count;
};

void identities_fini(struct flow_identities *ids);
/* Adds it, or replaces the same account's. FULL: the flow has LIMIT_IDENTITIES; MEMORY. */
NODISCARD enum err identities_add(struct flow_identities *ids, const struct account *account,
                                  uint32_t device_id);
/* Drop what no longer holds: account changed, disabled or removed; device revoked or past its end.
 * Returns how many went. Called before each judgement. */
unsigned identities_prune(struct flow_identities *ids, struct accounts *accounts, wall_t now);
bool identities_hold(const struct flow_identities *ids, uint32_t account_id);
/* The identity of that account, or NULL; valid until the next change. */
const struct identity *identities_get(const struct flow_identities *ids, uint32_t account_id);

/* Whose request is this, by its From? (user@host; aliases count.) When From is anonymous, the
 * account that P-Preferred-Identity names if it is on the flow, else the only one.
 * MISSING: the flow has proved nothing (answer 407). DENIED: From belongs to none of them, or is
 * anonymous and several are there (answer 403). */
NODISCARD enum err identities_judge(const struct flow_identities *ids, struct accounts *accounts,
                                    const struct sip_msg *req, uint32_t *out_account);
/* RFC 3323 4.1.1.3: anonymous@anonymous.invalid, or "anonymous" at any domain. */
bool identity_is_anonymous(const struct sip_uri *from);

#endif
