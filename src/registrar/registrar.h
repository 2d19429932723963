/* registrar/registrar.h - a REGISTER that has been authenticated: what it changes, what to answer.
 * RFC 3261 10.3, 3327 (Path stored), 5626 6 (flows of one device), 5627 5 (GRUUs), 5630 5.2.
 *
 * The caller has done steps 1 to 5 of RFC 3261 10.3 (domain, Require, who asks, may he, the
 * address) and gives the account; here is the rest. One request is done completely or not at all,
 * under the lock of its account, so two REGISTERs of one account never mix.
 *
 * Device:   contacts with the same +sip.instance (and reg-id) are one device: the newer replaces
 * the older, whatever their URIs. Without an instance the URIs are compared. Of two contacts of one
 * request that mean the same device the last counts. Limits:   beyond contacts_max the oldest
 * binding whose flow is gone makes room; when all are reachable: 403. Strings longer than
 * REGISTRAR_*_MAX are 400 (User-Agent is cut).
 *
 * GRUUs:    a phone that supports them is told its public and newest temporary GRUU (sip/token.h).
 *           Nothing is kept of them but one number per binding: the epoch of its device, which is
 *           the number of the change that brought a new Call-ID. All bindings of a device move to
 *           the new epoch together, so its earlier temporary GRUUs are void from there on,
 * whichever of its bindings ends first.
 *
 * The table changes at once; the 200 of a new, changed or removed binding waits for its commit
 * (the caller holds the answer back until then). A binding not yet committed is marked so, and a
 * refresh of it counts as new. A refresh that changes only CSeq and expiry is STORE_LAZY: its 200
 * goes out now. */
#ifndef REGISTRAR_REGISTRAR_H
#define REGISTRAR_REGISTRAR_H

#include "base/arena.h"
#include "base/buf.h"
#include "registrar/location.h"
#include "sip/msg.h"

/* The longest strings a binding keeps: about four times what phones send. */
#define REGISTRAR_CONTACT_MAX    1024u
#define REGISTRAR_PARAMS_MAX     1024u
#define REGISTRAR_INSTANCE_MAX   256u
#define REGISTRAR_CALL_ID_MAX    256u
#define REGISTRAR_PATH_MAX       2048u
#define REGISTRAR_USER_AGENT_MAX 128u

struct registrar_limits {
    uint32_t expires_min_s, expires_max_s, expires_default_s, contacts_max;
    bool store_fails; /* what must be committed is 503 now, and changes nothing */
};
struct registrar_request {
    const struct sip_msg *msg;
    uint32_t account_id;
    uint32_t device_id; /* legacy device, or 0 */
    flow_id flow;
    uint32_t run;
    bool secure;             /* false: legacy tcp or udp */
    slice aor;               /* "alice@example.org", as in URIs; empty: no GRUUs */
    const uint8_t *gruu_key; /* 64 bytes */
    wall_t until;            /* expiry never goes beyond this (legacy devices); 0: no such end */
    /* Does that flow still live? Asked under the lock when the account has contacts_max bindings;
     * it must not call back in here. NULL: only flows of former runs count as gone. */
    bool (*is_flow_alive)(void *ctx, flow_id flow);
    void *ctx;
};
struct registrar_answer {
    unsigned status; /* 200, 400, 403, 420 (Path unasked for), 423, 439, 500 (order: step 7), 503 */
    bool keeps_flow; /* 200: the phone was told a Flow-Timer: this flow may not fall silent */
    const char *reason; /* for a Warning text, or NULL */
    bool must_commit;   /* hold the 200 until the changes are committed */
    unsigned change_count;
    struct store_change *changes; /* in the arena */
    slice
        headers; /* 200: whole Contact, Path, Supported and Date lines; 423: Min-Expires; 420:
                    Unsupported. Ready to stand in the response, each ended by CRLF; in the arena */
};

/* OK: *out says what to answer, refusals too. MEMORY: nothing changed, answer 500 or 503. */
NODISCARD enum err registrar_register(struct location *l, const struct registrar_limits *limits,
                                      const struct registrar_request *req, wall_t now,
                                      struct arena *arena, struct registrar_answer *out);
/* The commit of one of those changes came (or failed): its binding is durable now (or stays
 * marked), unless it has changed once more since. A removal that failed is repeated by the next
 * REGISTER that means the device, or by the sweep. */
void registrar_committed(struct location *l, uint32_t account_id, uint32_t bid, uint64_t change,
                         enum err result);

#endif
