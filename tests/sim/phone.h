/* tests/sim/phone.h - the phones of a simulated network: small honest state machines of our own.
 *
 * Purpose:  a phone connects, registers, keeps its registration, calls, answers, hangs up, loses
 *           its connection and comes back; it has transactions and dialogs of its own (RFC 3261 12
 *           to 17), written apart from those of the server, so that one's mistakes are not the
 *           other's. Every message it writes says so: Sim-Phone carries its number, and the Call-ID
 *           of a call carries who calls whom ("c<phone>.<person>.<number>"): check.c reads both.
 * Parts:    phone.c  life, registration, transactions over time    call.c  dialogs
 *           say.c    messages, credentials                         nasty.c those without manners
 * Memory:   fixed; messages that may be sent again are copies on the heap, freed with their slot.
 */
#ifndef SIM_PHONE_H
#define SIM_PHONE_H

#include "base/clock.h"
#include "plan.h"
#include "sip/flow.h"
#include "sip/hdr.h"
#include "sip/msg.h"

struct sim;

enum {
    CALLS_MAX = 6, /* of one phone */
    UAC_MAX = 16,  /* requests of one phone that may still be answered */
    UAS_MAX = 24,  /* requests that it has answered or will */
    ROUTES_MAX = 4,
    GRANTS_MAX = 4
};
#define NOBODY UINT32_MAX

struct packet {
    size_t len;
    char bytes[];
};

/* ---- phones ---- */

enum body { BODY_NONE, BODY_DTLS, BODY_SDES, BODY_PLAIN, BODY_TEXT };
enum call_state {
    CALL_FREE,
    CALL_OUT,      /* INVITE sent */
    CALL_IN,       /* rings here */
    CALL_ANSWERED, /* 200 sent, its ACK is awaited */
    CALL_UP,
    CALL_ENDING /* BYE sent */
};
struct call { /* RFC 3261 12: a dialog, or one about to be */
    enum call_state state;
    bool is_caller, is_probe, is_cancelled, has_cancelled, is_nasty, has_early, is_late_offer;
    uint32_t gen;
    unsigned other; /* the phone at the other end, once it has spoken */
    unsigned to;    /* the person called */
    char call_id[64], local_tag[24], remote_tag[64];
    char local[128], remote[288], target[256];
    char routes[ROUTES_MAX][320];
    unsigned route_count;
    uint32_t cseq, invite_cseq, remote_cseq;
    mono_t act_at, began;
    unsigned final_plan; /* callee: the status it will answer with; 0: never */
    enum body body_plan;
    uint32_t rseq;
};
/* A request to be sent; again after a challenge. */
struct ask {
    enum sip_method method;
    unsigned call; /* index, or NOBODY */
    enum body body;
    char uri[256], from[128], to[288], call_id[64], extra[512];
    uint32_t cseq, breadth; /* Max-Breadth; 0: none */
    bool is_forged;         /* of a nasty phone: its answer is of no interest */
    unsigned tries;
};
struct uac { /* a client transaction: RFC 3261 17.1 */
    bool is_used, has_final, is_on_udp, is_cancel_sent, has_provisional;
    struct ask ask;
    char branch[40];
    struct packet *packet;
    unsigned status;
    uint32_t call_gen, cseq, conn_gen, node_epoch;
    uint32_t breadth; /* Max-Breadth asked for */
    mono_t began, again_at, end_at, final_at;
    int64_t interval;
};
struct uas { /* a server transaction: RFC 3261 17.2, and the 2xx of 13.3.1.4 */
    bool is_used, is_final, is_acked, is_initial;
    bool is_unkeyed; /* it said something that the server must refuse */
    enum sip_method method;
    unsigned status;
    uint32_t cseq, call_gen, breadth, conn_gen;
    unsigned call;
    char branch[128], call_id[64], local_tag[64];
    char origin[128]; /* the branch below the top: of the request that was forked */
    struct packet *request, *packet;
    mono_t began, again_at, end_at;
    int64_t interval;
};
struct challenge {
    bool is_there, is_proxy;
    char realm[64], nonce[160], algorithm[16];
    uint32_t nc;
};
struct grant { /* a 200 to REGISTER */
    mono_t at;
    wall_t expires;
    bool is_refresh;
    char contact[128];
};
enum link { LINK_DOWN, LINK_OPENING, LINK_UP };
enum nature { HONEST, NASTY, STRANGER }; /* a stranger has no account */
struct phone {
    unsigned index, person, node;
    enum nature nature;
    uint8_t transport, lane;
    bool has_certificate, has_instance, is_on, is_registered, is_leaving;
    uint32_t device_id, reg_id; /* reg_id: 0 without outbound (RFC 5626) */
    unsigned twin, q;           /* the phone that is this one's other flow, or NOBODY */
    char contact[128], instance[64], secret[24], gruu[224];
    struct addr addr;
    enum link link;
    unsigned conn;
    mono_t connect_at, register_at, think_at, wake_at, ping_at;
    int64_t backoff;
    uint32_t reg_cseq, reg_life;
    struct grant grants[GRANTS_MAX];
    unsigned grant_count;
    struct challenge challenge;
    struct call calls[CALLS_MAX];
    struct uac uac[UAC_MAX];
    struct uas uas[UAS_MAX];
    uint32_t gens;
    struct dice dice;
};

/* phone.c */
void phone_init(struct sim *s, struct phone *p, unsigned person, enum nature nature);
void phone_second_flow(struct sim *s, struct phone *p, struct phone *first);
void phone_fini(struct phone *p);
void phone_run(struct sim *s, struct phone *p); /* what is due */
void phone_rearm(struct phone *p);
void phone_opened(struct sim *s, struct phone *p);
void phone_lost(struct sim *s, struct phone *p); /* its connection is gone */
void phone_hear(struct sim *s, struct phone *p, slice bytes);
void phone_restart(struct sim *s, struct phone *p, bool is_on);
void phone_doubts(struct sim *s, struct phone *p, unsigned node);
void phone_register(struct sim *s, struct phone *p);

/* call.c */
struct call *call_new(struct sim *s, struct phone *p);
bool call_begin(struct sim *s, struct phone *p, unsigned person, bool is_probe);
void call_act(struct sim *s, struct phone *p, struct call *c); /* its time has come */
void call_end(struct sim *s, struct phone *p, struct call *c); /* by BYE or CANCEL */
void call_forget(struct call *c);
void call_response(struct sim *s, struct phone *p, struct uac *u, const struct sip_msg *m);
void call_timed_out(struct sim *s, struct phone *p, struct uac *u);
void call_request(struct sim *s, struct phone *p, const struct sip_msg *m);
unsigned speaker(const struct sip_msg *m); /* which phone wrote it; NOBODY: a server did */
static inline unsigned call_index(const struct phone *p, const struct call *c) {
    return (unsigned)(c - p->calls);
}

/* say.c */
struct uac *say_request(struct sim *s, struct phone *p, const struct ask *a);
bool say_again(struct sim *s, struct phone *p, const struct uac *u); /* with credentials */
void say_ack(struct sim *s, struct phone *p, struct call *c, uint32_t cseq, enum body body);
void say_ack_refusal(struct sim *s, struct phone *p, const struct uac *u, const struct sip_msg *m);
void say_cancel(struct sim *s, struct phone *p, struct uac *u);
struct uas *say_reply(struct sim *s, struct phone *p, const struct sip_msg *m, unsigned status,
                      struct call *c, enum body body);
void say_reply_to(struct sim *s, struct phone *p, struct uas *t, unsigned status, struct call *c,
                  enum body body);
void say_learn_challenge(struct phone *p, const struct sip_msg *m);
struct ask ask_in_call(const struct phone *p, struct call *c, enum sip_method method);
void put_text(char *dst, size_t dst_len, slice s); /* cut when too long; terminated */

/* nasty.c */
void nasty_act(struct sim *s, struct phone *p);
void nasty_overhear(struct sim *s, const struct phone *p, const struct call *c,
                    const struct uac *u);
void nasty_overhear_invite(struct sim *s, const struct phone *p, const struct call *c,
                           const struct sip_msg *m);

#endif
