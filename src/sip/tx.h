/* sip/tx.h - SIP transactions: RFC 3261 17 with RFC 6026 (Accepted) and RFC 4320 (no late 408).
 *
 * Pure state machines. A table owns no socket, no thread and no clock: give it messages and the
 * time, take out the effects, sleep until tx_wake_at(). One table per worker.
 *
 * Names:    a transaction belongs to an `owner` (a 64-bit value of the user: the proxy's context)
 *           and sends to a `flow`, opaque here. `reliable` says whether that flow retransmits by
 *           itself (TLS, TCP, WSS): then no timer A, E, G and zero D, I, J, K (17.1.1.2 ...).
 * Lifetime: a tx_id is slot and generation; a stale one is refused (ERR_GONE), never followed.
 *           Nothing here calls back, so nothing is freed under a caller. An id is stale from the
 *           call on that ended it; its END comes out once, as the last of its effects.
 * Effects:  wait in the transactions themselves (a list through them), so the queue can hold no
 *           more than the table and is never full. A transaction that ended keeps its slot until
 *           its END is taken out: drain after every input.
 * Memory:   a table is born with its maximum; ERR_FULL is answered with 503. What must be sent
 *           again (the last response, the request of a client transaction) is copied in.
 *           Bytes in an effect, tx_request() and tx_answer() live until the first call that takes
 *           `now` after tx_next_effect() returned false.
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
    TX_DO_TIMED_OUT, /* client: timer B or F, 64*T1 after CANCEL, or the flow broke before a final
                      * response. The owner treats it as 408 (16.8), sends none itself */
    TX_DO_NO_ACK,    /* server: timer H, the ACK never came */
    TX_DO_FLOW_GONE, /* server: the flow of who asked broke, and he may not know the final response
                      * (none was sent, or a non-2xx to INVITE without its ACK). RFC 6026 7.1: the
                      * transaction stays; its owner may cancel what it started, or answer another
                      * way (RFC 3261 18.2.2). INVITE client: it broke while that rings; the owner
                      * has tx_client_move() or tx_drop() */
    TX_DO_SLOW,      /* other server: no answer for as long as timer E takes to reach T2 (3.5 s).
                      * RFC 4320 4.1: answer 100 now */
    TX_DO_END        /* the transaction is gone; its id is stale */
};
struct tx_effect {
    enum tx_do what;
    enum tx_kind kind;
    tx_id id;
    uint64_t owner;
    uint64_t flow;
    slice bytes; /* SEND */
};

/* NULL: memory is short. */
NODISCARD struct tx_table *tx_table_new(const struct tx_limits *limits, const struct hash_key *key,
                                        mono_t now);
void tx_table_free(struct tx_table *t);      /* NULL is allowed; no effects come */
uint32_t tx_count(const struct tx_table *t); /* those alive: ended ones do not count */
/* Copies that could not be kept because bytes_max was reached or memory was short. */
uint64_t tx_copies_missed(const struct tx_table *t);

/* ---- server side ---- */

enum tx_match {
    TX_NEW,      /* no transaction: open one (or, for ACK and CANCEL, see the RFC) */
    TX_ABSORBED, /* a retransmission or the ACK of a non-2xx: done, effects may hold an answer */
    TX_ACK_2XX,  /* an ACK whose INVITE transaction is Accepted (6026 7.1): pass it on */
    TX_CANCEL    /* a CANCEL; *out names the INVITE transaction it is for */
};
/* Match a request by branch, sent-by and method (17.2.3; RFC 2543 branches by the old rule). *out
 * is set unless TX_NEW. A CANCEL may also name a transaction that is no INVITE (tx_kind_of):
 * RFC 3261 9.2 then wants 200 and nothing else. Branch and sent-by are compared as keyed 64-bit
 * hashes, one each. */
enum tx_match tx_match_request(struct tx_table *t, const struct sip_msg *req, mono_t now,
                               tx_id *out);
/* What tx_match_request looks up: one value for an INVITE, its ACK for non-2xx and its CANCEL. For
 * directories that tell which worker has the transaction. */
uint64_t tx_request_hash(const struct hash_key *key, const struct sip_msg *req);
/* Open a server transaction for a request that matched nothing. FULL, MEMORY; BAD: an ACK, which
 * never makes one. An INVITE wants a 100 within 200 ms (17.2.1): the owner's to send. */
NODISCARD enum err tx_server_open(struct tx_table *t, const struct sip_msg *req, uint64_t flow,
                                  bool reliable, uint64_t owner, mono_t now, tx_id *out);
/* Send a response made by us or forwarded. The bytes are sent by the caller's own effect path:
 * this records state and keeps a copy where a retransmission may need one (when there is no memory
 * for the copy the answer is still OK: it will just not be sent again).
 * GONE: stale. DENIED, and then nothing may be sent: a final response was sent already (another
 * 2xx to INVITE is OK, 6026 7.1); or the request is no INVITE and the status is 408, or provisional
 * but not 100, or 100 on a datagram flow in the first 3.5 s (RFC 4320 4.1, 4.2). */
NODISCARD enum err tx_server_respond(struct tx_table *t, tx_id id, unsigned status, slice bytes,
                                     mono_t now);

/* ---- client side ---- */

/* Take an id to write into the Via branch. FULL, MEMORY. It has no timer: start it or drop it. */
NODISCARD enum err tx_client_reserve(struct tx_table *t, enum tx_kind kind, uint64_t owner,
                                     tx_id *out);
/* Start it: the caller sends `bytes` itself now; a copy is kept (INVITE: for ACK and CANCEL too).
 * MEMORY (bytes_max included), GONE, DENIED (started before), BAD (not a request, or its method is
 * not of the reserved kind); after an error the reservation stands. */
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
 * GONE: stale; DENIED: already final, not started, or no INVITE; MEMORY: try again; BAD: the kept
 * request cannot be read. Cancelling twice is OK and does nothing. */
NODISCARD enum err tx_client_cancel(struct tx_table *t, tx_id id, slice reason_value, mono_t now);

/* RFC 5923 8.1: what an INVITE client transaction still sends (CANCEL, ACK) goes to `flow` from now
 * on: one to the same place, the first one broke. A CANCEL without an answer goes again. GONE:
 * stale, or final already; MEMORY. */
NODISCARD enum err tx_client_move(struct tx_table *t, tx_id id, uint64_t flow);

/* The flow broke. Client transactions without a final response end as TIMED_OUT, but an INVITE that
 * has a provisional one waits for nothing but the other side: it stays, and says FLOW_GONE. Those
 * with a final one and non-INVITE server ones that have answered just END. Other server ones stay
 * until their timers (RFC 6026 7.1), send no more on their own, and say FLOW_GONE. */
void tx_flow_gone(struct tx_table *t, uint64_t flow, mono_t now);
/* Drop at once, without effects but END (reserved or running). A stale id is ignored. */
void tx_drop(struct tx_table *t, tx_id id);

/* ---- what it holds ---- */

enum tx_state tx_state_of(const struct tx_table *t, tx_id id); /* TX_FREE when stale */
enum tx_kind tx_kind_of(const struct tx_table *t, tx_id id);   /* TX_OTHER_CLIENT when stale */
uint64_t tx_owner(const struct tx_table *t, tx_id id);         /* 0 when stale */
uint64_t tx_flow(const struct tx_table *t, tx_id id);
unsigned tx_status(const struct tx_table *t, tx_id id); /* last status sent or received, 0 */
slice tx_request(const struct tx_table *t, tx_id id);   /* client: the bytes that were sent */
slice tx_answer(const struct tx_table *t, tx_id id);    /* server: those kept to be sent again */
/* "Proceeding" and so on, for people. */
const char *tx_state_text(enum tx_state state);

void tx_run_timers(struct tx_table *t, mono_t now);
mono_t tx_wake_at(const struct tx_table *t);
bool tx_next_effect(struct tx_table *t, struct tx_effect *out); /* false when drained */

#endif
