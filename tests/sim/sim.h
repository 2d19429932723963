/* tests/sim/sim.h - whole networks of servers and phones in one process, on virtual time.
 *
 * Purpose:  the real core (core/core.h), several nodes with several workers each, and phones of our
 *           own, joined by a network that delays, drops, repeats, cuts and heals. Everything is
 *           drawn from one seed: a failure prints it, and the same seed plays the same story again,
 *           byte for byte (the hash of all effects says so).
 * Story:    a run has four parts. Trouble: phones live, faults come. Healing: no new faults, all
 *           comes back within HEAL_MS. Probes: everybody is called once and must be reached. Quiet:
 *           phones hang up and say no more; then nothing may be left in any core.
 * Swarm:    plan.c draws for each seed which faults and which kinds of phones there are.
 * Parts:    plan.c  dice, the plan           world.c  time, events, the parts of a run
 *           net.c   connections, datagrams   node.c   servers: workers, mail, store, crash
 *           phone.c a phone's life           call.c   its calls
 *           say.c   what it writes           nasty.c  those who do not keep the rules
 *           check.c what must always hold    main.c   seeds, soak, the report
 * Memory:   base/mem.h; all of it is given back, which is checked. Threads: none. */
#ifndef SIM_H
#define SIM_H

#include "base/buf.h"
#include "core/core.h"
#include "sip/hdr.h"
#include "sip/msg.h"
#include "store/store.h"

enum {
    NODES_MAX = 3,
    WORKERS_MAX = 4,
    PEOPLE_MAX = 24,
    PHONES_MAX = 48,
    CALLS_MAX = 6,    /* of one phone */
    UAC_MAX = 16,     /* requests of one phone that may still be answered */
    UAS_MAX = 24,     /* requests that it has answered or will */
    CONNS_MAX = 1024, /* closed ones that the server has not noticed too */
    SLOTS_MAX = 256,  /* flows of one worker */
    ROUTES_MAX = 4,
    STOLEN_MAX = 16, /* dialogs and requests that nasty phones have overheard */
    GRANTS_MAX = 4
};
#define NOBODY      UINT32_MAX
#define HEAL_MS     120000
#define MESSAGE_MAX 16384

/* ---- chance ---- */

struct dice {
    uint64_t state;
};
uint64_t dice_next(struct dice *d);
unsigned dice_below(struct dice *d, unsigned n);      /* 0 to n - 1; 0 when n is 0 */
bool dice_chance(struct dice *d, unsigned per_mille); /* always draws */
int64_t dice_about(struct dice *d, int64_t mean);     /* 1 to 2 * mean, mostly below the mean */

/* What this seed is about: times are means in ms (0: never), chances are per mille. */
struct plan {
    unsigned nodes, workers, people, phones_per_person, nasty;
    int64_t active_ms, think_ms;
    /* the network */
    unsigned delay_ms, jitter_ms, drop, repeat;
    int64_t cut_ms, silent_ms, stall_ms;
    /* servers */
    int64_t crash_ms, drain_ms, disk_ms, mail_ms, store_ms, operator_ms;
    unsigned refuse_mail;
    uint32_t timer_c_s, nonce_life_s, flow_idle_s;
    bool is_sha512, is_named;
    /* phones */
    unsigned udp, tcp, certificate, instance, off;
    unsigned unkeyed, late_offer, sdes, early_media, reliable, update;
    unsigned no_answer, refuse, impatient, reinvite, restart, breadth;
    uint32_t expires_s;
};
void plan_draw(struct plan *p, struct dice *d);
void plan_print(const struct plan *p);

/* ---- events ---- */

struct packet {
    size_t len;
    char bytes[];
};
enum event_kind {
    EV_OPEN,         /* a phone's connection reaches the server */
    EV_OPENED,       /* ... and the phone hears of it */
    EV_TO_NODE,      /* a message arrives */
    EV_TO_PHONE,     /* ... */
    EV_NODE_CLOSED,  /* the server learns that a connection is gone */
    EV_PHONE_CLOSED, /* the phone does */
    EV_MAIL,         /* from worker to worker */
    EV_COMMIT,       /* the store writes what waits */
    EV_STORED,       /* ... and a core hears of it */
    EV_NODE_START,
    EV_NODE_STOP, /* after draining */
    EV_DISK_WELL
};
struct event {
    mono_t at;
    uint64_t serial;
    enum event_kind kind;
    unsigned node, worker, from, conn;
    uint32_t epoch; /* of the node or the connection; stale ones are ignored */
    uint64_t ticket;
    enum err result;
    struct core_mail mail;
    struct packet *packet;
};

/* ---- the network ---- */

struct conn { /* of a stream; of datagrams it is the phone's present address */
    bool is_used, is_at_node, is_at_phone;
    bool is_silent;      /* nothing passes any more, and nobody has been told */
    bool is_doomed;      /* the server will notice */
    bool has_proved;     /* somebody authenticated over it */
    uint32_t gen;        /* no other connection of the run has it */
    uint32_t node_epoch; /* of the node's run that it was opened to */
    unsigned phone, node, worker;
    flow_id flow;
    struct flow_info info;
    mono_t to_node_at, to_phone_at; /* a stream keeps its order */
    mono_t stalled_until, troubled_at;
    uint64_t in_bytes, out_bytes, in_messages, out_messages; /* as the server sees them */
};

/* ---- servers ---- */

struct waiting { /* for the store */
    struct store_change *change;
    unsigned worker;
    uint64_t ticket;
};
struct server {
    unsigned index;
    bool is_up, is_draining, is_disk_bad, is_commit_due;
    uint32_t epoch; /* of this run */
    char domain[32], name[32];
    uint8_t seal[32];
    struct store *store;
    struct node_config config;
    struct node *node;
    struct core *core[WORKERS_MAX];
    unsigned conn_at[WORKERS_MAX][SLOTS_MAX]; /* index + 1 */
    mono_t mail_at[WORKERS_MAX][WORKERS_MAX];
    mono_t commit_at;
    struct waiting *waiting;
    size_t waiting_count, waiting_cap;
    unsigned turn_outputs; /* of the input being handled */
    bool is_input_bad;     /* it cannot be read */
    mono_t down_at;
};
struct person {
    unsigned index, node;
    uint32_t account_id;
    char user[16], secret[24];
    bool is_spoiled; /* one of its own phones is nasty and may have removed its bindings */
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
    uint32_t breadth, breadth_seen; /* Max-Breadth asked for, and what its copies were given */
    unsigned forks;
    mono_t began, again_at, end_at;
    int64_t interval;
};
struct uas { /* a server transaction: RFC 3261 17.2, and the 2xx of 13.3.1.4 */
    bool is_used, is_final, is_acked;
    enum sip_method method;
    unsigned status;
    uint32_t cseq, call_gen;
    unsigned call;
    char branch[128], call_id[64];
    struct packet *request, *packet;
    mono_t again_at, end_at;
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
    uint32_t device_id;
    char contact[128], instance[64], secret[24];
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

/* ---- the world ---- */

enum part { PART_TROUBLE, PART_HEAL, PART_PROBE, PART_QUIET };
struct overheard {             /* what a nasty phone can get to know at worst */
    bool is_used, is_received; /* received: the INVITE as the callee got it */
    unsigned phone;
    struct call call;
    struct packet *packet;
};
struct counts {
    uint64_t events, messages, calls_tried, calls_up, calls_refused, registered, crashes, cuts;
    uint64_t disk_faults, forged, probes, drains, byes, reconnects, cancels, garbage;
    int64_t virtual_ms;
};
struct sim {
    uint64_t seed, serial, hash;
    struct dice dice;
    struct plan plan, drawn; /* in force; as it was drawn */
    unsigned verbose;
    enum part part;
    bool is_failed, is_crashing; /* crashing: main's handler knows what to print */
    char failure[1024];
    struct now now;
    mono_t part_ends, cut_at, silent_at, stall_at, crash_at, drain_at, disk_at, operator_at;
    struct event *heap;
    size_t heap_count, heap_cap;
    struct server servers[NODES_MAX];
    struct person people[PEOPLE_MAX];
    struct phone phones[PHONES_MAX];
    unsigned node_count, person_count, phone_count;
    struct conn conns[CONNS_MAX];
    struct overheard stolen[STOLEN_MAX];
    struct counts counts;
    struct sip_msg msg; /* being handled by a phone */
    unsigned probes_open;
    uint32_t conn_gens;
};

/* world.c */
void sim_run(struct sim *s, uint64_t seed); /* is_failed and failure tell the outcome */
void sim_schedule(struct sim *s, const struct event *e);
bool sim_fail(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3); /* the first one counts */
void sim_say(const struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3); /* with -v */
void sim_hash(struct sim *s, const void *bytes, size_t len);
struct packet *packet_new(slice bytes);
static inline slice packet_slice(const struct packet *p) {
    return p ? slice_of(p->bytes, p->len) : SLICE_NONE;
}
const char *first_line(slice bytes); /* for people; good until the next call */

/* net.c */
void net_connect(struct sim *s, struct phone *p);
void net_hang_up(struct sim *s, struct phone *p, bool is_silent); /* the phone's side ends */
bool net_from_phone(struct sim *s, struct phone *p, slice bytes); /* false: no connection */
void net_from_node(struct sim *s, struct server *n, unsigned worker, flow_id flow, slice bytes);
void net_node_closes(struct sim *s, struct server *n, flow_id flow);
void net_node_gone(struct sim *s, struct server *n);
void net_break(struct sim *s, struct conn *c, bool is_silent); /* the network's doing */
void net_event(struct sim *s, struct event *e);
struct conn *net_conn(struct sim *s, const struct phone *p); /* the phone's; NULL: none */
void net_fini(struct sim *s);

/* node.c */
bool node_init_server(struct sim *s, unsigned index);
bool node_up(struct sim *s, struct server *n);
void node_down(struct sim *s, struct server *n); /* memory is gone, the store stays */
void node_fini_server(struct sim *s, struct server *n);
void node_drain(struct sim *s, struct server *n); /* carry out all effects */
bool node_put_person(struct sim *s, struct server *n, const struct person *p);
bool node_put_device(struct sim *s, struct server *n, const struct phone *p);
void node_event(struct sim *s, struct event *e);
void node_receive(struct sim *s, struct server *n, struct conn *c, slice bytes);
mono_t node_wake_at(const struct server *n);
void node_run_timers(struct sim *s, struct server *n);

/* phone.c */
void phone_init(struct sim *s, struct phone *p, unsigned person, enum nature nature);
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

/* check.c */
void check_sent(struct sim *s, struct server *n, unsigned worker, flow_id flow, slice bytes);
void check_heard(struct sim *s, struct phone *p, const struct sip_msg *m);
void check_final(struct sim *s, struct phone *p, struct uac *u, const struct sip_msg *m);
void check_unanswered(struct sim *s, struct phone *p, const struct uac *u);
void check_answerer(struct sim *s, struct phone *p, const struct call *c, const struct sip_msg *m);
void check_forks(struct sim *s, const struct phone *p, const struct sip_msg *m);
void check_bindings(struct sim *s, struct server *n); /* after a new start */
void check_turn(struct sim *s, struct server *n, const struct conn *c);
void check_quiet(struct sim *s, struct server *n);
void check_empty(struct sim *s, struct server *n); /* a day later, when everybody has gone */
void check_healed(struct sim *s);

#endif
