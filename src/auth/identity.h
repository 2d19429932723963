/* auth/identity.h - whom a flow has proved to be, and whom its requests may speak for.
 *
 * Purpose:  authentication is done once per flow, not once per request: each success of a digest, a
 *           device certificate or a web session adds an account to the flow, and requests are then
 *           judged against that list (docs: architecture, "Flow identity").
 * Rules:    - at most LIMIT_IDENTITIES accounts; proving one again replaces what it was proved by;
 *           - an identity ends when the flow closes, when the account's stamp differs from the one
 *             it was proved under (secret, aliases, disabled), when the account or device is gone
 *             or revoked, or when the device's validity ends. Every question here drops such ones
 *             first, so an ended identity never answers;
 *           - REGISTER is judged by its To, other requests outside a dialog by their From;
 *           - plain UDP and TCP have no flow identity: there, core keeps none;
 *           - a flow whose certificate stands for domains (RFC 5922) holds those instead of
 * accounts, for as long as it lives, and may use every From of theirs and no other. Memory:   32
 * bytes in the flow; the second and further identities take one heap block, and so do domains.
 * Threads:  belongs to its flow's worker. */
#ifndef AUTH_IDENTITY_H
#define AUTH_IDENTITY_H

#include "auth/accounts.h"
#include "base/limits.h"
#include "sip/msg.h"

struct flow_identity {
    uint32_t account_id;
    uint32_t stamp;     /* of the account when it was proved */
    uint32_t device_id; /* that proved it; 0: a digest of the main lane, or a web session */
};
struct flow_domains {    /* what the certificate on a flow is worth */
    const char *trouble; /* NULL, or why it stands for no domain: auth/peer_name.h */
    uint8_t count;
    slice names[]; /* lower case; their text follows */
};
struct flow_identities { /* zero it when the flow opens; identities_fini when it closes */
    struct flow_identity first;
    uint8_t count;
    struct flow_identity *more;   /* LIMIT_IDENTITIES - 1 of them, or NULL */
    struct flow_domains *domains; /* NULL: no certificate of a domain was shown */
};

void identities_fini(struct flow_identities *ids);
/* FULL: LIMIT_IDENTITIES are on the flow; MEMORY. The account's stamp is what the check gave. */
NODISCARD enum err identities_add(struct flow_identities *ids, const struct account *account,
                                  uint32_t device_id);
/* Drop what has ended; returns how many are left. */
unsigned identities_refresh(struct flow_identities *ids, struct accounts *accounts, wall_t now);
/* Is this account on the flow? MISSING. */
NODISCARD enum err identities_find(struct flow_identities *ids, struct accounts *accounts,
                                   uint32_t account_id, wall_t now, struct flow_identity *out);

/* REGISTER: the account that To names (aliases count) must be on the flow. MISSING: challenge it
 * (401), whether or not such an account exists. */
NODISCARD enum err identities_for_register(struct flow_identities *ids, struct accounts *accounts,
                                           const struct sip_uri *to, wall_t now,
                                           struct flow_identity *out);

/* Any other request without a To tag. OK: *out speaks. MISSING: nobody is proved on this flow
 * (407). DENIED: somebody is, but not the one this request claims to be (403). */
struct identity_claim {
    const struct sip_uri *from;
    const struct sip_uri *preferred; /* one of P-Preferred-Identity, or NULL */
    const slice *domains;            /* ours: anonymous@ one of them is anonymous too */
    unsigned domain_count;
};
NODISCARD enum err identities_for_from(struct flow_identities *ids, struct accounts *accounts,
                                       const struct identity_claim *claim, wall_t now,
                                       struct flow_identity *out);
/* The same for a message: reads From and P-Preferred-Identity (RFC 3325 9.2: a sip and a tel value
 * may stand there; the first one that is on the flow counts). */
NODISCARD enum err identities_for_message(struct flow_identities *ids, struct accounts *accounts,
                                          const struct sip_msg *req, const slice *domains,
                                          unsigned domain_count, wall_t now,
                                          struct flow_identity *out);

/* The domains that the flow's certificate names (at most LIMIT_IDENTITIES are kept), or why it
 * counts for none. Once for a flow. MEMORY. */
NODISCARD enum err identities_set_domains(struct flow_identities *ids, const slice *names,
                                          unsigned count, const char *trouble);
bool identities_hold_domain(const struct flow_identities *ids, slice domain);
static inline bool identities_have_domains(const struct flow_identities *ids) {
    return ids->domains && ids->domains->count > 0;
}
/* RFC 3323 4.1.1.3: sip:anonymous@anonymous.invalid, or anonymous@ one of our domains. */
bool identity_is_anonymous(const struct sip_uri *from, const slice *domains, unsigned domain_count);
/* Does this URI name the account (or one of its aliases)? tel: a number of it, RFC 3966 5.1.1
 * separators aside. */
bool identity_names(struct accounts *accounts, uint32_t account_id, const struct sip_uri *uri);

#endif
