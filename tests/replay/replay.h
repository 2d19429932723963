/* tests/replay/replay.h - plays text scenarios into core/ on virtual time, without sockets.
 *
 * Purpose:  one scenario is one rule of an RFC, or one promise of ours, as a story that a person
 * can read: who says what over which flow, and what must come out. tests/replay/README.md holds the
 * language. Parts:    script.c   lines and commands           agent.c   what a phone remembers
 *           world.c    node, cores, time, effects   draft.c   messages that phones send
 *           expect.c   what must come out           text.c    variables, globs, bodies
 * Memory:   one arena per scenario. Threads: none. */
#ifndef REPLAY_H
#define REPLAY_H

#include "auth/accounts.h"
#include "auth/secret.h"
#include "base/arena.h"
#include "base/buf.h"
#include "core/core.h"
#include "sip/hdr.h"
#include "sip/msg.h"
#include "store/store.h"

enum {
    AGENTS_MAX = 16,
    DIALOGS_MAX = 2048,
    INBOX_MAX = 64,
    HEARD_MAX = 2048,
    FIELDS_MAX = 96,
    ROUTES_MAX = 8,
    USERS_MAX = 20,
    VARS_MAX = 64,
    TALLIES_MAX = 8,
    MAILS_MAX = 256,
    STORES_MAX = 256,
    ROUNDS_MAX = 10000,
    ZONE_MAX = 64,
    QUESTIONS_MAX = 64
};

/* ---- messages ---- */

struct message {
    slice bytes;
    struct sip_msg *msg;
};
struct field {
    slice name, value;
};
struct dialog;
struct draft { /* a message being written */
    bool is_request;
    slice method, uri, raw;
    unsigned status;
    struct field fields[FIELDS_MAX];
    unsigned count;
    slice body;
    struct dialog *dialog; /* that it is said in; NULL: none */
};

/* ---- what a phone remembers ---- */

struct dialog {
    slice name, call_id;
    slice local, remote; /* values of From and To as this side writes them */
    slice local_tag, remote_tag, target;
    slice routes[ROUTES_MAX];
    unsigned route_count;
    uint32_t cseq;
    struct draft *invite; /* the last INVITE sent in here */
    unsigned final;       /* the last final answer to it */
    slice final_to;
};
struct heard { /* a request that came */
    struct message m;
    struct dialog *dialog;
    bool is_answered;
};
struct challenge {
    bool is_there, is_proxy;
    struct hdr_auth auth;
    uint32_t nc;
};
struct agent {
    slice name, user; /* user: who it speaks as, without domain */
    struct flow_info info;
    unsigned worker;
    flow_id flow;
    bool is_open, is_dropped; /* dropped: the server closed it and nobody has asked yet */
    const char *why;
    slice contact; /* the URI */
    slice instance;
    uint32_t reg_id; /* RFC 5626: its REGISTER speaks for this flow of the phone; 0: it has one */
    struct message inbox[INBOX_MAX];
    unsigned inbox_count;
    struct dialog *dialogs[DIALOGS_MAX];
    unsigned dialog_count;
    struct dialog *now; /* the dialog spoken in last; registrations do not count */
    struct heard *heard[HEARD_MAX];
    unsigned heard_count;
    struct challenge challenge;
    struct draft *last; /* the last request it sent */
    slice last_bytes;
    uint32_t register_cseq;
    slice cert, cert_is; /* names on its certificate, and what is wrong with it */
    char server;         /* 0: it connects to us; else what becomes of a connection to it */
    bool is_called;      /* a connection to it is under way: its ticket, and the name asked for */
    unsigned called_by;  /* the worker that makes it; `worker` may hold another one of this agent */
    uint64_t ticket;
    slice asked_for;
    unsigned tries;
};

/* ---- the world ---- */

struct user {
    slice name, secret, aliases, settings;
    uint32_t id, flags;
    slice sealed; /* the secret that the boxes hold */
    struct secret_boxes boxes;
};
struct phone { /* a device: certificate or legacy */
    slice name;
    uint32_t id;
    struct device_row row;
};
struct mail {
    unsigned worker, from;
    struct core_mail mail;
};
struct stored {
    unsigned worker;
    uint64_t ticket;
    struct store_change *change; /* held back: not yet committed */
    enum err result;
};
struct zone_row { /* a dns line */
    slice name, data;
    enum dns_type type;
    uint32_t ttl_s;
};
struct question {
    unsigned worker;
    uint64_t ticket;
    slice name;
    enum dns_type type;
};
struct tally { /* of `when ... counts NAME` */
    slice name;
    unsigned count;
};
struct world {
    const char *file;
    unsigned line;                     /* being carried out */
    bool is_failed, is_loud, is_quiet; /* quiet: failures are expected, nobody wants to read them */
    unsigned spread; /* 0, or: flows without a worker of their own take turns on so many */
    struct arena arena;

    struct node_config config;
    struct store *store;
    struct node *node;
    struct core *core[NODE_WORKERS_MAX];
    struct now now;
    unsigned starts;

    struct user users[USERS_MAX];
    struct phone phones[USERS_MAX];
    struct agent agents[AGENTS_MAX];
    struct field vars[VARS_MAX];
    struct tally tallies[TALLIES_MAX];
    unsigned user_count, phone_count, agent_count, var_count, tally_count;

    struct mail mails[MAILS_MAX];
    struct stored stored[STORES_MAX];
    unsigned mail_count, stored_count;
    bool is_mail_reversed, is_mail_refused, is_store_held;
    struct zone_row zone[ZONE_MAX];
    struct question questions[QUESTIONS_MAX];
    unsigned zone_count, question_count, asked;
    uint64_t serial; /* for tags, branches and Call-IDs */
};

/* ---- text.c ---- */

/* Print "file:line: ..." and mark the scenario as failed; gives false. */
bool complain(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
slice text_keep(struct world *w, slice s);
slice text_make(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
slice text_fresh(struct world *w, const char *prefix); /* a token never used before */
/* Undo {name}: variables, {A.contact} and the like. */
bool text_fill(struct world *w, slice s, slice *out);
void text_set(struct world *w, slice name, slice value);
bool text_glob(slice pattern, slice s); /* * and ? */
/* The next word of *rest; empty at the end. */
slice text_word(slice *rest);
/* A session description by its name (sdp.c); MISSING. */
NODISCARD enum err sdp_named(struct world *w, slice name, slice *out_body, slice *out_type);

/* ---- world.c ---- */

void world_init(struct world *w, const char *file);
void world_fini(struct world *w);
bool world_start(struct world *w); /* builds node and cores; does nothing when they stand */
bool world_restart(struct world *w);
bool world_pump(struct world *w); /* carry out effects until all is quiet */
bool world_wait(struct world *w, int64_t ms);
bool world_release_store(struct world *w, bool is_reversed);
struct agent *world_agent(struct world *w, slice name);
struct user *world_user(struct world *w, slice name);
bool world_put_user(struct world *w, struct user *u);
bool agent_open(struct world *w, struct agent *a);
bool agent_send(struct world *w, struct agent *a, slice bytes);
slice world_domain(const struct world *w);

/* ---- agent.c ---- */

struct dialog *dialog_new(struct world *w, struct agent *a);
struct dialog *dialog_named(struct agent *a, slice name);
/* What the agent learns from a message it has been told about. */
bool agent_hear(struct world *w, struct agent *a, const struct message *m);
struct heard *agent_unanswered(struct agent *a, slice method, const struct dialog *in);

/* ---- draft.c ---- */

void draft_set(struct draft *d, slice name, slice value); /* takes the place of all of that name */
void draft_add(struct draft *d, slice name, slice value);
void draft_drop(struct draft *d, slice name);
slice draft_get(const struct draft *d, slice name);
bool draft_request(struct world *w, struct agent *a, slice method, slice uri, struct draft *out);
bool draft_in_dialog(struct world *w, struct agent *a, slice method, struct draft *out);
bool draft_again(struct world *w, struct agent *a, struct draft *out);
bool draft_response(struct world *w, struct agent *a, unsigned status, struct heard *to,
                    struct draft *out);
bool draft_auth(struct world *w, struct agent *a, struct draft *d, slice user, slice secret);
bool draft_send(struct world *w, struct agent *a, struct draft *d);

/* ---- script.c and its commands ---- */

struct line {
    unsigned number;
    slice text;      /* without the indentation */
    unsigned indent; /* columns */
};
struct script { /* a file, or the block of a repeat */
    struct line *lines;
    unsigned count, at;
    unsigned indent; /* of its commands; what stands further in belongs to the line above it */
};
/* The next indented line of the command being carried out. */
bool script_more(struct script *s, slice *out);
bool script_run(struct world *w, struct script *s);
bool script_read(struct world *w, slice bytes, struct script *out);

/* ---- peers.c ---- */

const struct peer_cert *cert_of(struct world *w, const struct agent *a);
bool keep_question(struct world *w, unsigned worker, const struct core_effect *fx);
bool keep_connect(struct world *w, unsigned worker, const struct core_effect *fx);
bool cancel_connect(struct world *w, unsigned worker, const struct core_effect *fx);
bool answer_question(struct world *w); /* false: there is none */
bool answer_connect(struct world *w);
bool server_kind(struct world *w, struct agent *a, slice value);
bool cmd_peers(struct world *w, slice rest, struct script *s);
bool cmd_peer(struct world *w, slice rest, struct script *s);
bool cmd_dns(struct world *w, slice rest, struct script *s);
bool cmd_asked(struct world *w, slice rest, struct script *s);
bool cmd_become(struct world *w, slice rest, struct script *s);
bool cmd_connects(struct world *w, slice rest, struct script *s);
bool cmd_tried(struct world *w, slice rest, struct script *s);

bool say(struct world *w, struct agent *a, slice rest, struct script *s);
bool expect(struct world *w, struct agent *a, slice rest, struct script *s);
/* The next message to it, a 100 aside, is this one; nothing is taken. */
bool expect_is_next(const struct agent *a, slice what);
bool expect_silence(struct world *w, const struct agent *a);
bool expect_all_quiet(struct world *w);

#endif
