/* sip/tx.h - SIP transactions: RFC 3261 17 with RFC 6026 (Accepted), 4320 (no late 408), 3581.
 *
 * Pure state machines. A table owns no socket, no thread and no clock: give it messages and the
 * time, take out the effects, sleep until tx_wake_at(). One table per worker.
 *
 * Names:    a transaction belongs to an `owner` (a 64-bit value of the user: the proxy's context)
 *           and sends to a `flow`, opaque here. `reliable` says whether that flow retransmits by
 *           itself (TLS, TCP, WSS): then no timer A, E, G and zero D, I, J, K (17.1.1.2 ...).
 * Lifetime: a tx_id is slot and generation; a stale one is refused (ERR_GONE), never followed.
 *           Nothing here calls back, so nothing is freed under a caller.
 * Memory:   a table is born with its maximum; ERR_FULL is answered with 503. What must be sent
 *           again (the last response, the request of a client transaction) is copied in.
 *           Bytes in an effect live until the next call that takes `now`.
 * States:   the transition table, with the RFC line of each arrow, heads tx.c.             */
#ifndef SIP_TX_H
#define SIP_TX_H

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/pool.h"
#include "base/slice.h"
#include "sip/msg.h"

typedef pool_id tx_id;
struct tx_table; /* opaque */

enum tx_kind { TX_INVITE_SERVER, TX_OTHER_SERVER, TX_INVITE_CLIENT, TX_OTHER_CLIENT };
enum tx_state {
    TX_FREE,
    TX_RESERVED, /* client: an id to write into the branch, nothing sent yet */
    TX_TRYING,
    TX_CALLING,
    TX_PROCEEDING,
    TX_COMPLETED,
    TX_CONFIRMED,
    TX_ACCEPTED /* RFC 6026 */
};

struct tx_limits {
    uint32_t tx_max;
    size_t bytes_max;             /* of all copies kept for sending again */
    uint32_t t1_ms, t2_ms, t4_ms; /* 500, 4000, 5000 */
};

enum tx_do {
    TX_DO_SEND,      /* bytes to flow: a retransmission, an ACK, a stored answer */
    TX_DO_TIMED_OUT, /* client: timer B or F. The owner treats it as 408 (16.8), sends none itself
                      */
    TX_DO_NO_ACK,    /* server: timer H, the ACK never came */
    TX_DO_END        /* the transaction is gone; its id is stale from here on */
};
struct tx_effect {
    enum tx_do what;
    enum tx_kind kind;
    tx_id id;
    uint64_t owner;
    uint64_t flow;
    slice bytes; /* SEND */
};

NODISCARD struct tx_table *tx_table_new(const struct tx_limits *limits, const struct hash_key *key,
                                        mono_t now);
void tx_table_free(struct tx_table *t);
uint32_t tx_count(const struct tx_table *t);

/* ---- server side ---- */

enum tx_match {
    TX_NEW,      /* no transaction: open one (or, for ACK and CANCEL, see the RFC) */
    TX_ABSORBED, /* a retransmission or the ACK of a non-2xx: done, effects may hold an answer */
    TX_ACK_2XX,  /* an ACK whose INVITE transaction is Accepted (6026 7.1): pass it on */
    TX_CANCEL    /* a CANCEL; *out names the INVITE transaction it is for */
};
/* Match a request by branch, sent-by and method (17.2.3; RFC 2543 branches by the old rule). */
enum tx_match tx_match_request(struct tx_table *t, const struct sip_msg *req, mono_t now,
                               tx_id *out);
/* Open a server transaction for a request that matched nothing. FULL, MEMORY. */
NODISCARD enum err tx_server_open(struct tx_table *t, const struct sip_msg *req, uint64_t flow,
                                  bool reliable, uint64_t owner, mono_t now, tx_id *out);
/* Send a response made by us or forwarded. The bytes are sent by the caller's own effect path:
 * this records state and keeps a copy where a retransmission may need one.
 * GONE: stale; DENIED: a final response was sent already (another 2xx to INVITE is OK, 6026 7.1).
 */
NODISCARD enum err tx_server_respond(struct tx_table *t, tx_id id, unsigned status, slice bytes,
                                     mono_t now);

/* ---- client side ---- */

/* Take an id to write into the Via branch. */
NODISCARD enum err tx_client_reserve(struct tx_table *t, enum tx_kind kind, uint64_t owner,
                                     tx_id *out);
/* Start it: the caller sends `bytes` itself now; a copy is kept (INVITE: for ACK and CANCEL too).
 * `top_via_len` etc. are found by reading `bytes`. MEMORY, GONE, BAD (not a request). */
NODISCARD enum err tx_client_start(struct tx_table *t, tx_id id, slice bytes, uint64_t flow,
                                   bool reliable, mono_t now);
enum tx_response {
    TX_PASS, /* give it to the owner: a new provisional, the first final, any 2xx to INVITE */
    TX_DROP  /* a retransmission, late, or stray: absorbed; effects may hold an ACK */
};
/* The response whose branch named this id. The caller has checked that it came over `flow`. The
 * CSeq method must fit, else DROP. A stale id is DROP. For a 3xx-6xx to INVITE the ACK (17.1.1.3)
 * is made here and comes as an effect. *out_owner is set with PASS. */
enum tx_response tx_client_response(struct tx_table *t, tx_id id, const struct sip_msg *resp,
                                    mono_t now, uint64_t *out_owner);
/* Cancel an INVITE client transaction (9.1). The CANCEL is made here from the kept request (same
 * Request-URI, top Via, Route, From, To, Call-ID; CSeq number with method CANCEL; a Reason header
 * when reason_value is not empty) and comes as a SEND effect; when no provisional response has
 * come yet it is remembered and sent with the first one. It shares the branch, so its small
 * non-INVITE machine lives inside this transaction (retransmissions on datagrams included, answers
 * absorbed). If no final response follows within 64*T1 the owner gets TIMED_OUT (9.1).
 * GONE: stale; DENIED: already final. Cancelling twice is OK and does nothing. */
NODISCARD enum err tx_client_cancel(struct tx_table *t, tx_id id, slice reason_value, mono_t now);
/* The flow broke: every transaction on it ends as TIMED_OUT (client) or silently (server). */
void tx_flow_gone(struct tx_table *t, uint64_t flow, mono_t now);
/* Drop at once, without effects but END (reserved or running). */
void tx_drop(struct tx_table *t, tx_id id);

/* ---- what it holds ---- */

enum tx_state tx_state_of(const struct tx_table *t, tx_id id); /* TX_FREE when stale */
uint64_t tx_owner(const struct tx_table *t, tx_id id);
uint64_t tx_flow(const struct tx_table *t, tx_id id);
unsigned tx_status(const struct tx_table *t, tx_id id); /* last status sent or received, 0 */
slice tx_request(const struct tx_table *t, tx_id id);   /* client: the bytes that were sent */

void tx_run_timers(struct tx_table *t, mono_t now);
mono_t tx_wake_at(const struct tx_table *t);
bool tx_next_effect(struct tx_table *t, struct tx_effect *out); /* false when drained */

#endif
