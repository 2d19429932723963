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
 * Parts:    plan.[ch]  dice, the plan         world.c  time, events, faults, the parts of a run
 *           net.c      phones' connections   trunk.c  DNS, connections between servers
 *           node.c   servers: workers, mail, store, crash
 *           phone.h    phones and their parts check.c  what must always hold
 *           work.c     what messages cost
 *           main.c     seeds, soak, the report
 * Memory:   base/mem.h; all of it is given back, which is checked. Threads: none. */
#ifndef SIM_H
#define SIM_H

#include "base/buf.h"
#include "core/core.h"
#include "phone.h"
#include "plan.h"
#include "store/store.h"

enum {
    NODES_MAX = 3,
    WORKERS_MAX = 4,
    PEOPLE_MAX = 24,
    PHONES_MAX = 48,
    TRUNKS_MAX = 64,
    WORK_MAX = 4096,  /* messages waiting for one worker */
    CONNS_MAX = 1024, /* closed ones that the server has not noticed too */
    SLOTS_MAX = 256,  /* flows of one worker */
    CROSSINGS = 8192, /* calls whose way between servers is counted */
    STOLEN_MAX = 16   /* dialogs and requests that nasty phones have overheard */
};
#define HEAL_MS     120000
#define MESSAGE_MAX 16384

/* ---- events ---- */

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
    EV_DISK_WELL,
    EV_WORK,       /* a worker has time for the next message */
    EV_DNS,        /* an answer of the DNS */
    EV_TRUNK_OPEN, /* a server's connection reaches another one */
    EV_TRUNK_OPENED,
    EV_TRUNK_FAILED,
    EV_TRUNK_MESSAGE,
    EV_TRUNK_CLOSED
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
    mono_t stalled_until, troubled_at, opened_at;
    uint64_t in_bytes, out_bytes, in_messages, out_messages; /* as the server sees them */
};

struct trunk { /* between two servers; end[0] opened it */
    bool is_used, is_opening, is_silent;
    uint32_t gen;
    uint64_t ticket; /* of FX_CONNECT; 0: nobody waits any more */
    struct trunk_end {
        bool is_up;
        unsigned node, worker;
        uint32_t epoch; /* of the node */
        flow_id flow;
        struct flow_info info;
        mono_t last; /* what comes here keeps its order */
    } end[2];
};

enum work_turn { WORK_FIRST, WORK_NEXT, WORK_TURNS }; /* those who are in a call; the others */
struct work {                                         /* what waits for a worker */
    struct work_item {
        unsigned conn;
        uint32_t gen;
        mono_t at;
        struct packet *packet;
    } items[WORK_TURNS][WORK_MAX];
    unsigned head[WORK_TURNS], count[WORK_TURNS];
    bool is_due;
    mono_t free_at_us, measured_at;
    uint64_t busy_us;
    uint32_t arrived, served, least;
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
    unsigned conn_at[WORKERS_MAX][SLOTS_MAX]; /* index + 1; trunks above CONNS_MAX */
    mono_t mail_at[WORKERS_MAX][WORKERS_MAX];
    mono_t commit_at;
    struct waiting *waiting;
    size_t waiting_count, waiting_cap;
    unsigned turn_outputs; /* of the input being handled */
    bool is_input_bad;     /* it cannot be read */
    mono_t down_at, up_at;
};
enum { FORWARDS = 4 };
struct person {
    unsigned index, node;
    uint32_t account_id;
    char user[16], secret[24];
    char wishes[320];            /* forwarding and do-not-disturb, as the store keeps them */
    unsigned forwards[FORWARDS]; /* persons; NOBODY */
    bool is_spoiled; /* one of its own phones is nasty and may have removed its bindings */
};

/* ---- the world ---- */

struct crossing {
    uint64_t call; /* hash of its Call-ID */
    unsigned count;
};

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
    int64_t virtual_ms, longest_wait_ms;
    unsigned crossings; /* the most of one call: circle.c */
};
struct sim {
    uint64_t seed, serial, hash;
    struct dice dice;
    struct plan plan, drawn; /* in force; as it was drawn */
    unsigned verbose;
    bool is_circle; /* everybody forwards to another domain */
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
    struct trunk trunks[TRUNKS_MAX];
    struct work work[NODES_MAX][WORKERS_MAX];
    struct overheard stolen[STOLEN_MAX];
    struct crossing crossings[CROSSINGS];
    struct counts counts;
    struct sip_msg msg; /* being handled by a phone */
    unsigned probes_open;
    uint32_t conn_gens;
};

/* world.c */
void person_forward(struct sim *s, struct person *who, unsigned why, unsigned to);
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

/* work.c */
bool work_queue(struct sim *s, struct server *n, const struct conn *c, slice bytes);
void work_event(struct sim *s, struct server *n, unsigned worker);
void work_forget(struct sim *s, unsigned node);
void net_arrived(struct sim *s, unsigned conn, uint32_t gen, slice bytes); /* net.c: its turn */

/* trunk.c */
void trunk_ask(struct sim *s, struct server *n, unsigned worker, const struct core_effect *fx);
void trunk_connect(struct sim *s, struct server *n, unsigned worker, const struct core_effect *fx);
void trunk_cancel(struct sim *s, struct server *n, unsigned worker, uint64_t ticket);
void trunk_send(struct sim *s, const struct server *n, struct trunk *t, flow_id flow, slice bytes);
void trunk_node_closes(struct sim *s, struct server *n, struct trunk *t, flow_id flow);
void trunk_node_gone(struct sim *s, const struct server *n);
void trunk_break(struct sim *s, struct trunk *t, bool is_silent);
struct trunk *trunk_any(struct sim *s);
void trunk_event(struct sim *s, struct event *e);

/* node.c */
bool node_init_server(struct sim *s, unsigned index);
bool node_up(struct sim *s, struct server *n);
void node_down(struct sim *s, struct server *n); /* memory is gone, the store stays */
void node_fini_server(struct sim *s, struct server *n);
void node_drain(struct sim *s, struct server *n); /* carry out all effects */
bool node_put_person(struct sim *s, struct server *n, const struct person *p);
bool node_put_device(struct sim *s, struct server *n, const struct phone *p);
void node_event(struct sim *s, struct event *e);
/* One message as io would hand it on. */
void node_receive(struct sim *s, struct server *n, unsigned worker, flow_id flow, bool is_stream,
                  slice bytes);
mono_t node_wake_at(const struct server *n);
void node_run_timers(struct sim *s, struct server *n);

/* circle.c */
void circle_plan(struct plan *p);
void circle_wishes(struct sim *s, struct person *who);
void circle_crossing(struct sim *s, slice bytes); /* a message from server to server */

/* check.c */
void check_sent(struct sim *s, struct server *n, unsigned worker, flow_id flow, slice bytes);
void check_heard(struct sim *s, struct phone *p, const struct sip_msg *m);
void check_final(struct sim *s, struct phone *p, struct uac *u, const struct sip_msg *m);
void check_ringing(struct sim *s, const struct phone *p, const struct call *c);
void check_no_ack(struct sim *s, const struct phone *p, const struct uas *t);
void check_unanswered(struct sim *s, struct phone *p, const struct uac *u);
void check_answerer(struct sim *s, struct phone *p, const struct call *c, const struct sip_msg *m);
void check_forks(struct sim *s, const struct phone *p, const struct uas *own,
                 const struct sip_msg *m);
void check_bindings(struct sim *s, struct server *n); /* after a new start */
void check_turn(struct sim *s, const struct server *n);
void check_quiet(struct sim *s, struct server *n);
void check_empty(struct sim *s, struct server *n); /* a day later, when everybody has gone */
void check_healed(struct sim *s);

#endif
