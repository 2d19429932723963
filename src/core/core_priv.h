/* core/core_priv.h - one core's inside. The story stands in core.h; the parts are:
 *
 *   core.c      entry points, effects, sending, mail
 *   mail.c      mail to other workers, also when their mailboxes are full
 *   flows.c     the flow table of this worker
 *   request.c   a request from its validation to the part that takes it (16.3, 16.4)
 *   load.c      what is refused when there is too much of it
 *   account.c   who is asking: digest, flow identity
 *   register.c  REGISTER and the wait for its commit
 *   context.c   response contexts: answers, the best of them, CANCEL, timers (16.7 to 16.10)
 *   branch.c    where a request goes, and when: targets, groups by q, the copies (16.6)
 *   peer.c      other domains: requests to them; peer_in.c: from them
 *   dialog.c    requests inside a dialog, by route token
 *   reach.c     where a side of a dialog, or a GRUU, can be reached now
 *   route.c     whose address a URI is, and his targets (16.5)
 *   divert.c    forwarding, do-not-disturb, redirection: who is asked in whose place
 *   refuse.c    media policy: what is done with unkeyed descriptions
 *
 * Nothing in here is called back: effects and transaction effects are drained by core_pump. */
#ifndef CORE_CORE_PRIV_H
#define CORE_CORE_PRIV_H

#include "auth/identity.h"
#include "base/arena.h"
#include "base/limits.h"
#include "base/timer.h"
#include "core/context.h"
#include "core/core.h"
#include "core/node_priv.h"
#include "core/peer.h"
#include "core/reach.h"
#include "crypto/crypto.h"
#include "guard/overload.h"
#include "media/policy.h"
#include "registrar/registrar.h"
#include "sip/hdr.h"
#include "sip/reply.h"
#include "sip/token.h"
#include "sip/tx.h"

enum core_timer { TIMER_FLOW_IDLE, TIMER_CONTEXT, TIMER_MAIL };

/* ---- flows ---- */

struct flow {
    flow_id id;
    pool_id slot;
    struct flow_info info;
    struct flow_identities who;
    struct digest_flow nonce;
    struct timer idle;
    mono_t heard;
    uint64_t borrowers;      /* workers that sent over us: told when we close */
    uint64_t peer_hash;      /* datagram flows: key in the map of peers */
    wall_t registered_until; /* till then not closed for being silent */
    uint32_t bad;            /* messages that could not be read */
    bool is_alias;           /* RFC 5923: our requests may go over it too */
    bool keeps_alive;        /* its phone was told a Flow-Timer: silent for longer, it is dead */
    uint32_t oc_seen;        /* overload_heard */
};

/* ---- REGISTER answers waiting for their commit ---- */

#define PENDING_BIDS_MAX 32 /* changes of one REGISTER: its contacts and those that make room */

struct pending {
    pool_id id;
    flow_id flow;
    tx_id server; /* datagrams only */
    uint32_t account_id;
    uint32_t bids[PENDING_BIDS_MAX];
    uint64_t numbers[PENDING_BIDS_MAX]; /* of their changes */
    uint8_t bid_count, waiting;
    bool has_server;
    enum err result;
    char *ok, *failed; /* both answers, ready */
    uint32_t ok_len, failed_len;
};

#define OUT_CHUNKS_MAX 16 /* of LIMIT_TURN_BYTES: what one input may cause to be sent */

struct core {
    struct node *node;
    unsigned worker;
    struct now now;
    struct pool flows, contexts, pendings;
    struct map peers;      /* datagram flows by peer */
    struct peers *domains; /* others */
    struct tx_table *txs;
    struct timers timers;
    struct list owed; /* mail that must arrive and was refused */
    unsigned owed_count;
    struct timer owed_timer;
    struct rng rng;
    struct arena turn;              /* small things of this input */
    char *out_full[OUT_CHUNKS_MAX]; /* those before `out` */
    unsigned out_full_count;
    char *out; /* bytes of this input's effects */
    size_t out_len;
    struct core_effect *effects;
    size_t effect_count, effect_cap, effect_next;
    struct overload load;
    uint32_t waited_ms;    /* of the message being handled, before it was read */
    bool is_overload_told; /* the log says that we are overloaded */
    bool draining;
    bool is_proved;         /* we know who sent the request being handled */
    uint32_t open_contexts; /* without a final answer */
    mono_t sweep_at;
    struct core_counters counters;
    /* Who finds a flow for a target that has none: see context.h. NULL: nobody. */
    unsigned (*find_flow)(struct core *c, uint64_t owner, unsigned branch, const struct target *to,
                          flow_id *out);
    struct sip_msg msg;   /* the message being handled */
    struct sip_msg other; /* a kept request, read again to answer it */
};

#define COUNT(c, what)   atomic_fetch_add_explicit(&(c)->counters.what, 1, memory_order_relaxed)
#define UNCOUNT(c, what) atomic_fetch_sub_explicit(&(c)->counters.what, 1, memory_order_relaxed)

/* core.c */
void core_begin(struct core *c, struct now now);
NODISCARD struct buf core_out_begin(struct core *c, size_t want);
slice core_out_end(struct core *c, const struct buf *b); /* empty when b is full */
slice core_out_copy(struct core *c, slice bytes);
/* false: the flow is gone (for a flow of another worker MAIL_SENT tells later, with tag). */
bool core_send(struct core *c, flow_id f, slice bytes, bool must_arrive, uint64_t tag);
void core_close(struct core *c, flow_id f, const char *why);
struct core_effect *core_effect(struct core *c, enum core_effect_kind kind); /* NULL: too many */
void core_store(struct core *c, const struct store_change *change, uint64_t ticket);
void core_pump(struct core *c);
/* One line for `kith trace`; text is ours, never the peer's. */
void core_trace(struct core *c, const struct sip_msg *m, const char *what, unsigned status,
                const char *why);

/* mail.c */
void core_mail(struct core *c, unsigned worker, const struct core_mail *mail);
/* A full mailbox has refused it: it is sent again until there is room. false: it is lost. */
NODISCARD bool mail_owe(struct core *c, unsigned worker, const struct core_mail *mail);
void mail_again(struct core *c);
void mail_forget(struct core *c); /* core_free's */

/* flows.c */
struct flow *flow_get(const struct core *c, flow_id f);
/* `asked`: the domain that a connection of ours was made for, empty for one that we accepted. */
NODISCARD enum err flow_make(struct core *c, const struct flow_info *info, slice asked,
                             struct flow **out);
static inline bool flow_is_proved(const struct flow *flow) {
    return flow->who.count || identities_have_domains(&flow->who);
}
void flow_touch(struct core *c, struct flow *flow);
void flow_prove(struct core *c, struct flow *flow); /* device certificate -> identity */
/* Remember an identity on the flow, and when it ends. FULL, MEMORY: not remembered. */
NODISCARD enum err flow_add_identity(struct core *c, struct flow *flow,
                                     const struct account *account, uint32_t device_id);
/* RFC 5626 5.4: from here on a silent flow is a dead one. */
void flow_expect_pings(struct core *c, struct flow *flow);
void flow_on_idle(struct core *c, struct flow *flow);
void flows_of_account(struct core *c, uint32_t account_id, uint32_t device_id);

/* request.c */
void core_refuse_stray(struct core *c, struct flow *flow, const struct sip_msg *m); /* no token */
/* False: it was refused, for this account may call one other only and this is no such call. */
bool core_may_call(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t account_id);
struct answer { /* what we say ourselves */
    unsigned status;
    const char *warning; /* words for Warning, or NULL */
    unsigned warn_code;  /* 0: 399 */
    slice lines;         /* further header lines, each with CRLF */
    slice to_tag;        /* empty: one that follows from the request */
    slice json;          /* a body */
};
void core_request(struct core *c, struct flow *flow, const struct sip_msg *m);
/* Answer without keeping state (RFC 3261 8.2.7): the To tag follows from the request. */
void core_answer(struct core *c, flow_id f, const struct sip_msg *m, const struct answer *a);
/* The same for a refusal in words (NULL: the status says enough). */
void core_refuse(struct core *c, const struct flow *flow, const struct sip_msg *m, unsigned status,
                 const char *warning);
/* P-Asserted-Identity for the copies of a request of that account; empty: none. */
slice asserted_identity(struct core *c, const struct sip_msg *m, uint32_t account_id);
/* The bytes of such an answer; empty when it cannot be written. */
slice core_answer_bytes(struct core *c, flow_id f, const struct sip_msg *m, const struct answer *a);
void core_bad_message(struct core *c, struct flow *flow, const struct sip_read *r);
uint64_t loop_hash(const struct core *c, const struct sip_msg *m);
NODISCARD bool core_check_hops(struct core *c, struct flow *flow, const struct sip_msg *m);
struct media_verdict core_judge(const struct flow *flow, const struct sip_msg *m);
NODISCARD bool core_check_breadth(struct core *c, struct flow *flow, const struct sip_msg *m,
                                  uint32_t *out);
NODISCARD bool core_check_offer(struct core *c, struct flow *flow, const struct sip_msg *m,
                                const struct media_verdict *v);

/* RFC 6223 4.4: how often we want to be pinged, for who asks in his Via: for a registration, or for
 * a dialog that we record-route. 0: not said. The same as Flow-Timer. */
static inline uint32_t keep_alive_s(enum sip_method method) {
    bool is_asked = method == SIP_REGISTER || method == SIP_INVITE || method == SIP_SUBSCRIBE;
    return is_asked ? LIMIT_FLOW_TIMER_S : 0;
}
/* load.c */
/* Too much to do: this new request has been answered 503. */
bool core_sheds(struct core *c, struct flow *flow, const struct sip_msg *m);
/* What the sender of `m` asked to be told of our load (RFC 7339). */
enum overload_algorithm core_oc(const struct sip_msg *m);

/* account.c */
/* Does this flow hold the account, now? */
bool core_holds(struct core *c, struct flow *flow, uint32_t account_id);
/* Who sent this request outside a dialog? false: it has been answered (401, 403, 407 ...). */
bool core_who(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t *out_account);
/* REGISTER: is this account proved on the flow or by this request? */
bool core_who_registers(struct core *c, struct flow *flow, const struct sip_msg *m,
                        const struct account *account, slice realm, uint32_t *out_device);
/* Proxy-Authorization alone, for a flow that has proved nothing: false: answered. */
bool core_who_digest(struct core *c, struct flow *flow, const struct sip_msg *m, slice realm,
                     enum sip_header_id which, struct account *out, uint32_t *out_device);
/* The account's address as it stands in a URI: alice@example.org. Nothing when it is gone. */
void core_put_aor(struct core *c, uint32_t account_id, struct buf *b);

/* Guard: false: the request has been answered (or dropped). */
bool core_guard_source(struct core *c, struct flow *flow, const struct sip_msg *m);
bool core_guard_account(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t id);
bool core_guard_domain(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t id);

/* register.c */
slice register_ice(struct core *c, const struct flow *flow, const struct sip_msg *m,
                   uint32_t account_id, uint32_t device_id, wall_t until); /* ice.c; may be empty */
void core_register(struct core *c, struct flow *flow, const struct sip_msg *m);
void pending_stored(struct core *c, uint64_t ticket, enum err result);

/* dialog.c */
slice contact_uri(const struct sip_msg *m); /* of the first Contact; empty: none */
void core_in_dialog(struct core *c, struct flow *flow, const struct sip_msg *m);
uint64_t call_hash_of(struct core *c, slice call_id, slice caller_tag);
/* The Via value for a request on `face`; the branch names `tx` and carries the loop hash. */
void put_via(struct core *c, struct buf *b, const struct flow_face *face, tx_id tx, uint64_t loop);
/* What other domains read in it besides: that we take part in overload control (RFC 7339 4.1), and
 * that they may use our connection too (RFC 5923 8.1). */
void put_via_peer(struct buf *b, uint32_t account_id, uint32_t bid);
void put_host(struct core *c, struct buf *b, const struct flow_face *face);
const char *transport_param(uint8_t transport);

/* route.c */
struct callee {
    struct account account;
    uint64_t instance; /* of a GRUU: that device only; 0: all */
};
struct divert_call { /* what the targets of a request depend on besides the callee */
    const struct sip_msg *msg;
    flow_id from;
    uint32_t sender;
    bool is_sips, is_anonymous;
};
/* Whose address is this? 0, or 403: of another domain, 404: nobody's. */
unsigned route_callee(struct core *c, const struct sip_uri *uri, struct callee *out);
/* The live places of an account (or of one device of it), best q first, then newest; the sender's
 * own phone never. All flows of a phone are among them: the context tries one at a time (RFC 5626
 * 5.3). */
unsigned route_targets(struct core *c, const struct divert_call *call, const struct callee *callee,
                       struct target out[static LIMIT_FORKS]);

/* RFC 3261 16.4: a strict router has put our Record-Route into the Request-URI and the target at
 * the end of Route. Makes c->msg what a loose router would have sent. false: it cannot be made so.
 */
NODISCARD bool route_loosen(struct core *c);

/* divert.c */
/* A call to somebody who has set something: the phones that ring first, his or those of whom he
 * forwards to. 0: nobody can be asked; *why: words for that, or NULL. *out_divert (mem_free) is for
 * the plan. */
unsigned divert_first(struct core *c, const struct divert_call *call, uint32_t account_id,
                      struct target out[static LIMIT_FORKS], struct divert **out_divert,
                      const char **why);
/* Has this person said that callers must not withhold who they are? */
bool divert_refuses_anonymous(struct core *c, const struct account *account);
/* Is this an INVITE whose caller withholds who he is? RFC 5079 3. */
bool call_is_anonymous(const struct sip_msg *m);
bool divert_is_forwarded(const struct divert *d);
uint32_t divert_no_answer_s(const struct divert *d); /* 0: no such wish */
void divert_note(struct context *x,
                 unsigned status);     /* a response of the present callee's phones */
void divert_silent(struct context *x); /* they have rung for as long as he wishes */
/* Nobody of the present callee's is left to be asked: is there another in his place? true: his
 * targets were added, and the caller told. */
bool divert_next(struct core *c, struct context *x);
/* A 3xx whose Contacts are all ours is followed; true: it is no answer any more. */
bool divert_redirect(struct core *c, struct context *x, const struct branch *b,
                     const struct sip_msg *response);

/* refuse.c */
/* Media policy on a response: true: it is not forwarded, all that follows has been done. */
bool refuse_response(struct core *c, struct context *x, struct branch *b, const struct sip_msg *m);
/* Keep what a BYE to both sides would need. true: there is a record of what m answers. */
bool refuse_record(struct core *c, struct context *x, struct branch *b, const struct sip_msg *m,
                   bool is_early);
/* The body to put into an ACK whose answer has no keys (every port 0), empty: leave it alone. */
slice refuse_ack_body(struct core *c, const struct flow *flow, flow_id to, const struct sip_msg *m);
void refuse_end_call(struct core *c, uint64_t dialog); /* BYE to both sides */
/* Before the call is up: the INVITE's branch of that dialog, or all of them, count as 488. */
void refuse_early(struct core *c, uint64_t dialog, bool is_all);
void refuse_mail(struct core *c, const struct core_mail *mail);

#endif
