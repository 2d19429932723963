/* core/context.h - the inside of response contexts (RFC 3261 16.2): where a request goes, and when.
 *
 * context.c holds the answers: the best of them, CANCEL, timers. branch.c holds the targets:
 * groups, copies, flows that are found later. A context is known by its owner value (owner_of its
 * pool id); one that is gone is told by NULL or false, never followed.
 *
 * A context knows its targets as a list of branches (enum branch_state draws their life). Those of
 * the highest q go out at once; the others wait, each with a copy of what its writing needs, and
 * are written from the kept request (x->request) when their turn comes: every higher one has failed
 * or has rung for group_ring_s. Everything is counted: LIMIT_TARGETS for one request, Max-Breadth
 * over what is open at one time (RFC 5393 5.3.3.1: what a branch used is free when it has ended).
 *
 * Instances (RFC 5626 5.3): hand in all flows of a phone as targets of one `instance`, the
 * preferred one first. Only one is tried at a time. When it fails without the phone's having
 * answered (430, 408, the flow closed, its worker has no room) the next one follows at once; any
 * other answer is the phone's, and its other flows are passed over.
 *
 * No flow yet: a target with flow == FLOW_NONE is WAITING when its turn comes. c->find_flow() is
 * asked, with the ticket that the target carries. It returns a status (300 and above: the branch
 * has failed), or 0 with *out the flow when there is one already, or 0 with FLOW_NONE: then exactly
 * one of context_branch_flow() and context_branch_no_flow() must follow, from a later input. (They
 * may come late: a context or branch that is gone by then is told by false.) When a branch with a
 * ticket fails by 503, time-out or a closed flow after it was sent, find_flow is asked again for a
 * new branch of the same ticket: the next server (RFC 3263 4.3), or a status when none is left.
 *
 * More targets while it goes on (3xx, call forwarding): context_add_targets(), then
 * context_settle(). */
#ifndef CORE_CONTEXT_H
#define CORE_CONTEXT_H

#include "base/addr.h"
#include "base/timer.h"
#include "proxy/dialogs.h"
#include "proxy/session.h"
#include "sip/flow.h"
#include "sip/tx.h"

struct core;
struct flow;
struct divert;

#define REFUSED_TAGS_MAX 4 /* answers of one branch that a fork beyond us may give */

/* A place where a request may go. Slices are borrowed: who keeps it copies them. */
struct target {
    flow_id flow;      /* FLOW_NONE: one must be found first, by core's find_flow */
    uint64_t ticket;   /* of whoever finds flows; 0: none */
    uint64_t instance; /* hash of +sip.instance, 0: none: one flow of a phone at a time */
    uint32_t account_id, bid;
    uint16_t q; /* 0 to 1000: the same q in parallel, lower ones after the higher have failed */
    slice request_uri, path;
    slice lines;     /* further header lines of its copy, each with CRLF */
    slice diversion; /* a value for Diversion; empty: none */
};

/* One target of one request, from the moment it is known to the end of its transaction.
 *
 *   KEPT ──its group's turn──▶ SENT ──final response, time-out, refusal──▶ status != 0
 *     │  └─no flow yet─▶ WAITING ─┘ (context_branch_flow)
 *     └─the call is over, or its instance has answered over another flow─▶ PASSED        */
enum branch_state { BRANCH_KEPT, BRANCH_WAITING, BRANCH_SENT, BRANCH_PASSED };

struct branch {
    struct branch *next;
    struct target to; /* its slices: valid while KEPT or WAITING, and with `text` */
    char *text;       /* what they point into, when the branch outlives the turn unsent */
    tx_id tx;
    uint64_t dialog;        /* key of the record that this branch opened; 0: none */
    uint32_t breadth;       /* its share of Max-Breadth while it is open (RFC 5393 5.3.3) */
    uint16_t status;        /* final status; 0: still open */
    uint32_t retry_after_s; /* of a 503; 0: none */
    uint8_t state;          /* enum branch_state */
    uint8_t index;          /* in its context: what the doors below call `branch` */
    uint16_t early_len;
    char *early;   /* To tags of its early dialogs that the caller knows, a line each (RFC 6228) */
    bool is_live;  /* its transaction has not ended */
    bool is_heard; /* a response came, if only a 100 */
    bool is_refused;  /* media policy: its answers are not forwarded, it counts as 488 */
    bool is_answered; /* a 2xx came and was forwarded */
    bool is_in_call;  /* counted at its flow: node_flow_call */
    bool is_rung_out; /* we cancelled it because nobody answered: its 487 counts as 408 */
    bool is_lost;     /* its connection broke while it rang: one to the same server is sought */
    struct addr at;   /* INVITE to another domain: that server; family NONE: unknown */
    uint8_t refused_count;
    uint32_t refused[REFUSED_TAGS_MAX]; /* hashes of To tags whose 2xx was refused: ACK and BYE */
};

struct context {
    pool_id id;
    tx_id server;
    flow_id flow;
    struct addr peer;   /* of the sender */
    struct timer timer; /* the earliest of the four below */
    mono_t timer_c_at;  /* 16.6 step 11 */
    mono_t group_at;    /* the group that rings now has rung for long enough: the next one's turn */
    mono_t no_answer_at; /* so long the present callee's phones may ring: then he is forwarded */
    mono_t grace_at;     /* the sender's connection broke: he is back by then, or the call ends */
    uint64_t call_hash;  /* Call-ID and caller's tag */
    uint64_t invite_key; /* in the node's directory; INVITE only */
    uint64_t dialog;     /* in-dialog requests: key of their record */
    char *request;       /* the request as it came, until a final answer was sent */
    slice contact;       /* in `request`: the sender's Contact URI */
    uint32_t request_len;
    uint32_t account_id, bid; /* of the sender */
    char *challenges;         /* lines of all 401 and 407 answers but the best one (16.7 step 7) */
    uint32_t challenges_len;
    char *best; /* the best final response so far */
    uint32_t best_len;
    uint16_t best_status;         /* 0: none. Without `best` bytes we make the answer ourselves */
    uint16_t best_as;             /* what it is weighed as */
    char *best_why;               /* words for the Warning of an answer made by us, or NULL */
    struct session_timer session; /* RFC 4028: what was asked for in the copies */
    struct divert *divert;        /* who is asked in whose place; NULL: nobody forwards */
    uint32_t breadth; /* Max-Breadth of all branches that are open at one time; 0: not counted */
    uint16_t sent_status; /* final status sent to the caller; 0: none yet */
    uint16_t group_q;     /* targets of this q and above have had their turn */
    uint8_t method;
    uint8_t oc;        /* enum overload_algorithm: what the sender asked to be told of our load */
    uint8_t from_side; /* in-dialog: enum dialog_side of the sender */
    uint8_t branch_count;
    uint16_t own_routes; /* leading Route values of the request that named us */
    bool is_in_dialog, has_offer, is_cancelled, is_server_live;
    bool is_in_call;       /* counted at its sender's flow: node_flow_call */
    bool is_sdes;          /* the body is keyed by a=crypto: only onto secure flows */
    bool wants_199;        /* the caller knows 199 and wants no reliable responses (RFC 6228 6) */
    bool is_over;          /* no further branch is started */
    bool has_record_route; /* there are proxies between the sender and us */
    bool is_sender_sought; /* another domain's connection broke: one to it is being looked for */
    uint32_t held_len;
    char *held;                 /* the answer that waits for it */
    struct branch first, *last; /* the first is inside, the others in blocks of their own */
};

static inline uint64_t owner_of(pool_id id) {
    return (uint64_t)id.slot << 32 | id.gen;
}
static inline pool_id owner_id(uint64_t owner) {
    return (pool_id){ (uint32_t)(owner >> 32), (uint32_t)owner };
}

/* context.c */
struct relay_plan { /* everything that context_start needs to know */
    struct flow *flow;
    const struct sip_msg *msg;
    uint32_t account_id, bid; /* sender */
    unsigned own_routes;
    const struct target *targets; /* at most LIMIT_TARGETS; borrowed for the call */
    unsigned target_count;
    uint32_t max_breadth;
    bool is_in_dialog;
    enum dialog_side from_side;
    uint64_t call_hash, dialog;
    struct divert *divert; /* becomes the context's (or is freed) */
    bool is_sdes;          /* the body is keyed by a=crypto: only onto secure flows */
    bool has_offer;
};
void context_start(struct core *c, const struct relay_plan *plan);
struct context *context_get(const struct core *c, uint64_t owner);
void context_fini(struct context *x); /* its heap blocks; core_free's, and the end of a context */
void context_response(struct core *c, uint64_t owner, tx_id tx, const struct sip_msg *m);
void context_branch_failed(struct core *c, uint64_t owner, tx_id tx, unsigned status);
void context_tx_end(struct core *c, uint64_t owner, tx_id tx);
/* The connection broke over which this INVITE had been heard of. */
void context_branch_lost(struct core *c, uint64_t owner, tx_id tx);
/* No flow was found for it. */
void context_branch_unfound(struct core *c, struct context *x, struct branch *b, unsigned status,
                            const char *why);
/* It goes on over another one of the same other side (RFC 5923 8.1). */
void context_branch_moved(struct core *c, struct context *x, struct branch *b, flow_id flow);
void context_on_timer(struct core *c, struct context *x);
void context_caller_gone(struct core *c, uint64_t owner);
/* Its sender, another domain, can be reached again, over this flow; FLOW_NONE: he cannot. */
void context_sender_found(struct core *c, uint64_t owner, flow_id flow);
void context_slow(struct core *c, uint64_t owner);
/* Nothing further is started, what is open is cancelled (INVITE). */
void context_stop(struct core *c, struct context *x, slice reason);
/* Media policy: this branch (or all of them) counts as 488. */
void context_refuse_branch(struct core *c, struct context *x, struct branch *b);
#define REFUSED_WORDS                                                                              \
    "The called phone answered without encryption; switch on SRTP (DTLS-SRTP or SDES) there"
void context_refuse_all(struct core *c, struct context *x);
/* A branch has its final status, 300 or more. `m`: the response, NULL when it is our verdict.
 * branch_ended only writes it down; context_settle does what follows from it: the next flow, the
 * next group, the answer. context_branch_final is both. */
void branch_ended(struct core *c, struct context *x, struct branch *b, unsigned status,
                  const struct sip_msg *m, const char *why);
void context_settle(struct core *c, struct context *x);
void context_branch_final(struct core *c, struct context *x, struct branch *b, unsigned status,
                          const char *why);
void context_arm(struct core *c, struct context *x); /* its timer, after a deadline has changed */
void context_forward(struct core *c, struct context *x, const struct sip_msg *m);
void context_answer(struct core *c, struct context *x, unsigned status, const char *why);
void context_forwarded(struct core *c, struct context *x, const struct sip_msg *m); /* 181 */
void core_cancel(struct core *c, flow_id f, bool is_same_account_known, uint32_t account_id,
                 const struct sip_msg *m, tx_id invite);

/* branch.c */
NODISCARD enum err context_add_targets(struct core *c, struct context *x,
                                       const struct target *targets, unsigned count); /* FULL,
                                       MEMORY: none was added */
/* A waiting branch has a flow: its copy is written and sent now; a lost one goes on over it. false:
 * nobody waits any more. */
bool context_branch_flow(struct core *c, uint64_t owner, unsigned branch, flow_id flow);
/* A waiting branch gets none; `why`: words for the Warning or NULL. */
void context_branch_no_flow(struct core *c, uint64_t owner, unsigned branch, unsigned status,
                            const char *why);
struct branch *context_branch(struct context *x, tx_id tx); /* NULL: none of its branches */
static inline bool branch_is_open(const struct branch *b) {
    return b->status == 0 && (b->state == BRANCH_WAITING || b->state == BRANCH_SENT);
}
/* The request as it came, for a branch that starts later. The caller may have reconnected since.
 * NULL: he is gone, and with him the sense of calling anybody. */
const struct sip_msg *context_request(struct core *c, struct context *x);
/* For context.c. */
NODISCARD enum err branches_make(struct context *x, const struct target *targets, unsigned count);
void branches_fini(struct context *x);
/* Write and send what is due; `m` is the request, NULL: as it was kept. */
void branches_start(struct core *c, struct context *x, const struct sip_msg *m);
/* What is due finds no breadth until a branch that was given up has answered its CANCEL. */
bool branches_starve(const struct core *c, const struct context *x);
bool branches_next_group(struct core *c, struct context *x); /* false: nothing is kept */
void branches_new_person(struct core *c, struct context *x); /* what is kept now begins anew */
void branches_pass(struct context *x);                       /* nothing that is kept is tried */
void branch_next_server(struct context *x, const struct branch *b);
void branch_instance_ended(struct context *x, const struct branch *b, bool has_answered);

#endif
