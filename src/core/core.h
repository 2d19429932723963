/* core/core.h - one worker's protocol engine: messages and time in, effects out. No I/O.
 *
 * Purpose:  everything between "a framed SIP message came over flow F" and "send these bytes over
 *           flow G, store this, wake me at T" (architecture.md section 6). A node has one core per
 *           worker; what they share stands in core/node.h.
 * Drive:    after every call that takes `now`, drain core_next_effect() until it is false, then
 *           sleep until core_wake_at(). Bytes in an effect live until the next call with `now`.
 *           Under test (replay, sim) the same calls are made on virtual time, without sockets.
 * Threads:  a core belongs to its worker's thread. Only core_mail values cross threads.
 * Memory:   bounded by base/limits.h; what is full answers 503 or closes.
 *
 *   flow_id f; core_flow_open(core, &info, now, &f);
 *   core_receive(core, f, bytes, now);
 *   for (struct core_effect fx; core_next_effect(core, &fx);) perform(&fx);              */
#ifndef CORE_CORE_H
#define CORE_CORE_H

#include "base/clock.h"
#include "base/err.h"
#include "base/slice.h"
#include "core/node.h"
#include "sip/flow.h"
#include "sip/target.h"
#include "store/store.h"

struct core;
struct overload_measure; /* guard/overload.h */

/* What one core tells another: through a mailbox (os), or a queue under test. `bytes` are copied
 * by whoever carries the mail. */
enum core_mail_kind {
    MAIL_SEND,      /* send bytes over `flow`, which is yours */
    MAIL_RESPONSE,  /* a response whose branch names a transaction of yours; came over `flow` */
    MAIL_REQUEST,   /* an ACK or CANCEL whose INVITE transaction is yours; came over `flow` */
    MAIL_SENT,      /* the outcome of a MAIL_SEND that failed: `flow` is gone */
    MAIL_ACCOUNT,   /* account `number` changed: look at its flows again */
    MAIL_DEVICE,    /* device `number` was revoked or ended */
    MAIL_FLOW_GONE, /* `flow` of mine, over which you had sent something, is gone */
    MAIL_REFUSE     /* media policy: `tag` names a context of yours, `number` a branch or all */
};
struct core_mail {
    enum core_mail_kind kind;
    bool must_arrive; /* response, ACK, CANCEL, BYE: may use the second half of the mailbox */
    uint8_t from_worker;
    uint16_t tries; /* so often a full mailbox has refused it */
    flow_id flow;
    uint64_t number; /* RESPONSE, REQUEST: the account that `flow` has proved, 0: none or several */
    uint64_t tag;    /* SEND: the sender's, comes back in MAIL_SENT */
    slice bytes;
};

enum core_effect_kind {
    FX_SEND,    /* bytes over flow (this worker's) */
    FX_CLOSE,   /* close flow after what was sent; why tells the log */
    FX_MAIL,    /* give mail to worker `worker`; when its mailbox is full: core_mail_refused(), and
                 * what must arrive comes again */
    FX_STORE,   /* commit `change`; answer with core_stored(ticket). ticket 0: no answer wanted */
    FX_TRACE,   /* one JSON line for `kith trace` */
    FX_DNS,     /* ask `name`, `dns_type`; answer with core_dns(ticket) */
    FX_CONNECT, /* open `transport` to `addr`, asking for `name` (TLS: SNI), with our certificate
                 * that names `own`, the domain of ours on whose behalf (RFC 5923 9.3);
                 * answer with core_connected(ticket) */
    FX_CONNECT_CANCEL /* nobody waits for `ticket` any more: close it, do not answer */
};
struct core_effect {
    enum core_effect_kind kind;
    flow_id flow;
    slice bytes;
    const char *why;
    unsigned worker;
    struct core_mail mail;
    const struct store_change *change;
    uint64_t ticket;
    slice name, own;
    struct addr addr;
    uint8_t transport; /* enum flow_transport */
    uint8_t dns_type;  /* enum dns_type */
};

struct core_counters { /* written by the core's thread, read by anybody: relaxed atomics */
    _Atomic uint64_t messages_in, messages_out, requests, responses, bad_messages, refused;
    _Atomic uint64_t flows, transactions; /* now */
    _Atomic uint64_t
        open; /* requests that still wait for their final answer: what a drain awaits */
    _Atomic uint64_t registers_ok, registers_refused, calls_connected, calls_refused_unkeyed;
    _Atomic uint64_t shed;          /* requests refused because there were too many */
    _Atomic uint64_t taken_percent; /* of new requests, now: 100 unless overloaded */
    _Atomic uint64_t auth_failures, mails_in, mails_out;
};

/* NULL: memory is short. The node must outlive it. seed feeds its random stream. */
NODISCARD struct core *core_new(struct node *node, unsigned worker, const uint8_t seed[static 32],
                                struct now now);
void core_free(struct core *c);

/* May this source open one more connection? Asked before the TLS handshake, which is what a flood
 * of connections costs. Makes no effects. */
bool core_may_connect(struct core *c, const struct addr *source, struct now now);
/* A connection is up (TLS: after the handshake). FULL: close it. */
NODISCARD enum err core_flow_open(struct core *c, const struct flow_info *info, struct now now,
                                  flow_id *out);
/* The connection is gone, whoever closed it (after FX_CLOSE too). A stale id is ignored. */
void core_flow_closed(struct core *c, flow_id f, struct now now);
/* The datagram flow between this listener's local address and that peer; made when new. Idle ones
 * end by themselves. FULL: drop the datagram. */
NODISCARD enum err core_flow_datagram(struct core *c, const struct flow_info *info, struct now now,
                                      flow_id *out);
/* Keep-alives that io answers itself (RFC 5626 4.4): the peer of this flow is still there. */
void core_flow_heard(struct core *c, flow_id f, struct now now);
void core_datagram_heard(struct core *c, const struct flow_info *info, struct now now);
/* NULL when stale. */
const struct flow_info *core_flow_info(const struct core *c, flow_id f);

/* Load (guard/overload.h). Is this flow in a call? Then its bytes are to be read before those of
 * others. From the worker's thread; the answer may be old already. */
bool core_flow_in_call(const struct core *c, flow_id f);
/* What the next messages had to wait for before they were read. */
void core_waited(struct core *c, uint32_t ms);
/* Every OVERLOAD_STEP_MS or so. Makes no effects. */
void core_measure(struct core *c, const struct overload_measure *m, struct now now);

/* One SIP message as framed by io: exactly one message's bytes. They need to live only for this
 * call. What cannot be read is answered (400, 505, 513 ...) or closed by effects. */
void core_receive(struct core *c, flow_id f, slice bytes, struct now now);
/* The stream reader could not even find where the message ends, or a limit of io was passed. */
void core_bad_stream(struct core *c, flow_id f, const char *why, struct now now);
void core_mail_in(struct core *c, const struct core_mail *mail, struct now now);
void core_mail_refused(struct core *c, unsigned worker, const struct core_mail *mail,
                       struct now now);
void core_stored(struct core *c, uint64_t ticket, enum err result, struct now now);
/* The answer to FX_DNS, at once or after seconds (but never before all effects of the last call
 * have been drained); the core gives up waiting by itself. A ticket that nobody waits for is
 * ignored. */
void core_dns(struct core *c, uint64_t ticket, const struct dns_answer *answer, struct now now);
/* The answer to FX_CONNECT. result OK: the connection is up, TLS handshake done, whatever the
 * certificate says (info->cert; verifying is io's, judging the core's): when this returns OK, *out
 * is its flow, as from core_flow_open; anything else: close it. Another result (TIMEOUT, CLOSED
 * when refused, MISSING without a route, IO, CRYPTO when the handshake failed): there is no
 * connection, info may be NULL, `why` is static text for people ("connection refused") and *out is
 * left alone. A ticket that nobody waits for is ERR_GONE. */
NODISCARD enum err core_connected(struct core *c, uint64_t ticket, enum err result, const char *why,
                                  const struct flow_info *info, struct now now, flow_id *out);
/* Writing to a flow failed or its output queue is full: same as closed, but said apart. */
void core_run_timers(struct core *c, struct now now);
mono_t core_wake_at(const struct core *c);
bool core_next_effect(struct core *c, struct core_effect *out);

const struct core_counters *core_counters(const struct core *c);
/* No new INVITE or REGISTER from here on (503). What is open may end (core_counters.open); calls
 * that are up need no waiting for: their route tokens hold in the next run too. */
void core_drain(struct core *c, struct now now);

#endif
