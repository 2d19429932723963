/* registrar/registrar.h - a REGISTER that has been authenticated: what it changes, what to answer.
 * RFC 3261 10.3, 3327 (Path stored), 5626 and 5627 parameters kept.
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

struct registrar_limits {
    uint32_t expires_min_s, expires_max_s, expires_default_s, contacts_max;
};
struct registrar_request {
    const struct sip_msg *msg;
    uint32_t account_id;
    uint32_t device_id; /* legacy device, or 0 */
    flow_id flow;
    uint32_t run;
    bool secure;  /* false: legacy tcp or udp */
    wall_t until; /* expiry never goes beyond this (legacy devices); 0: no such end */
};
struct registrar_answer {
    unsigned status;    /* 200, 400, 403, 423, 500 (order: 10.3 step 7), 503 ... */
    const char *reason; /* for a Warning text, or NULL */
    bool must_commit;   /* hold the 200 until the changes are committed */
    unsigned change_count;
    struct store_change *changes; /* in the arena */
    slice headers; /* 200: whole Contact (and Path, Supported) lines; 423: Min-Expires.
                      Ready to stand in the response, each ended by CRLF; in the arena */
};

NODISCARD enum err registrar_register(struct location *l, const struct registrar_limits *limits,
                                      const struct registrar_request *req, wall_t now,
                                      struct arena *arena, struct registrar_answer *out);
/* The commit of those changes came (or failed): their bindings are durable now (or stay marked). */
void registrar_committed(struct location *l, uint32_t account_id, uint32_t bid, enum err result);

#endif
