/* Node, cores, time and effects: what the daemon does with sockets is done here with lists. */
#include "replay.h"

#include "auth/secret.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include <stdio.h>

#define ARENA_MAX  (256u << 20)
#define PUMPS_MAX  100000u
#define FIRST_MONO ((mono_t)1000000)
#define FIRST_WALL ((wall_t)1700000000000)

static const uint8_t seal_key[32] = { 42 };

slice world_domain(const struct world *w) {
    return w->config.domains[0];
}

void world_init(struct world *w, const char *file) {
    memset(w, 0, sizeof *w);
    w->file = file;
    arena_init(&w->arena, ARENA_MAX);
    node_config_defaults(&w->config);
    w->config.workers = 1;
    w->config.flows_max = 1024;
    w->config.seal_key = seal_key;
    w->now = (struct now){ FIRST_MONO, FIRST_WALL };
}

static void stop(struct world *w) {
    for (unsigned i = 0; i < w->config.workers && w->node; i++) {
        core_free(w->core[i]);
        w->core[i] = NULL;
    }
    for (unsigned i = 0; i < w->stored_count; i++) mem_free(w->stored[i].change);
    w->stored_count = w->mail_count = w->question_count = 0;
    for (unsigned i = 0; i < w->agent_count; i++) w->agents[i].is_called = false;
    node_free(w->node);
    w->node = NULL;
}

void world_fini(struct world *w) {
    stop(w);
    store_close(w->store);
    arena_fini(&w->arena);
}

/* ---- people and devices ---- */

struct user *world_user(struct world *w, slice name) {
    for (unsigned i = 0; i < w->user_count; i++)
        if (slice_eq(w->users[i].name, name)) return &w->users[i];
    (void)complain(w, "there is no user " SLICE_FMT, SLICE_ARG(name));
    return NULL;
}

struct agent *world_agent(struct world *w, slice name) {
    for (unsigned i = 0; i < w->agent_count; i++)
        if (slice_eq(w->agents[i].name, name)) return &w->agents[i];
    return NULL;
}

/* Into the store, and into the tables of a node that runs: what `kith user` does. */
bool world_put_user(struct world *w, struct user *u) {
    struct account_row row = { .id = u->id,
                               .user = u->name,
                               .domain = world_domain(w),
                               .aliases = u->aliases,
                               .flags = u->flags,
                               .settings = u->settings,
                               .created = w->now.wall,
                               .changed = w->now.wall };
    /* As the server does: what is sealed changes with the secret only, and ends what it proved. */
    if (!slice_eq(u->sealed, u->secret)) secret_seal_account(seal_key, u->secret, &u->boxes, &row);
    u->sealed = u->secret;
    row.ha1_sha256 = slice_of(u->boxes.sha256, sizeof u->boxes.sha256);
    row.ha1_sha512_256 = slice_of(u->boxes.sha512_256, sizeof u->boxes.sha512_256);
    const struct store_change change = { .op = STORE_ACCOUNT_PUT,
                                         .durability = STORE_FULL,
                                         .account = row };
    if (store_commit(w->store, &change, 1) != ERR_OK)
        return complain(w, "the account cannot be stored");
    if (!w->node) return true;
    if (accounts_put(node_accounts(w->node), &row) != ERR_OK)
        return complain(w, "the account cannot be changed");
    const struct core_mail mail = { .kind = MAIL_ACCOUNT, .must_arrive = true, .number = u->id };
    for (unsigned i = 0; i < w->config.workers; i++) core_mail_in(w->core[i], &mail, w->now);
    return world_pump(w);
}

static bool put_phone(struct world *w, const struct phone *p) {
    const struct store_change change = { .op = STORE_DEVICE_PUT,
                                         .durability = STORE_FULL,
                                         .device = p->row };
    return store_commit(w->store, &change, 1) == ERR_OK ||
           complain(w, "the device cannot be stored");
}

bool world_start(struct world *w) {
    if (w->node) return true;
    if (!w->config.domain_count) w->config.domains[w->config.domain_count++] = SLICE("example.org");
    if (!w->store) {
        w->store = store_memory_new();
        if (!w->store) return complain(w, "no memory");
        for (unsigned i = 0; i < w->user_count; i++)
            if (!world_put_user(w, &w->users[i])) return false;
        for (unsigned i = 0; i < w->phone_count; i++) {
            struct phone *p = &w->phones[i];
            uint8_t box[SECRET_SEALED_MD5_BYTES];
            if (p->row.kind == DEVICE_LEGACY) {
                const struct user *u = &w->users[p->row.account_id - 1];
                secret_seal_legacy(seal_key, u->name, world_domain(w), p->row.name, box, &p->row);
            }
            if (!put_phone(w, p)) return false;
        }
    }
    enum err err = node_new(&w->config, w->store, w->now, &w->node);
    if (err != ERR_OK) return complain(w, "node_new: %s", err_name(err));
    for (unsigned i = 0; i < w->config.workers; i++) {
        uint8_t seed[32] = { (uint8_t)(i + 1), (uint8_t)++w->starts };
        w->core[i] = core_new(w->node, i, seed, w->now);
        if (!w->core[i]) return complain(w, "no memory");
    }
    return world_pump(w);
}

/* A crash and a new start on the same store: no connection survives it. */
bool world_restart(struct world *w) {
    if (!world_start(w)) return false;
    stop(w);
    for (unsigned i = 0; i < w->agent_count; i++) w->agents[i].is_open = false;
    w->now.mono += 1000;
    w->now.wall += 1000;
    return world_start(w);
}

/* ---- flows ---- */

bool agent_open(struct world *w, struct agent *a) {
    struct core *c = w->core[a->worker];
    a->info.cert = cert_of(w, a);
    a->is_open =
        a->info.transport == FLOW_UDP || core_flow_open(c, &a->info, w->now, &a->flow) == ERR_OK;
    a->info.cert = NULL;
    a->is_dropped = false;
    if (!a->is_open) return complain(w, "the server refused the connection");
    return world_pump(w);
}

bool agent_send(struct world *w, struct agent *a, slice bytes) {
    if (!a->is_open) return complain(w, SLICE_FMT " is closed", SLICE_ARG(a->name));
    w->now.mono++; /* every message takes a millisecond: nothing happens at the same instant */
    w->now.wall++;
    if (a->info.transport == FLOW_UDP &&
        core_flow_datagram(w->core[a->worker], &a->info, w->now, &a->flow) != ERR_OK)
        return complain(w, "the server has no room for " SLICE_FMT, SLICE_ARG(a->name));
    if (w->is_loud)
        printf("---- %s:%u %+.3f s " SLICE_FMT " ->\n" SLICE_FMT "\n", w->file, w->line,
               (double)(w->now.mono - FIRST_MONO) / 1000, SLICE_ARG(a->name), SLICE_ARG(bytes));
    core_receive(w->core[a->worker], a->flow, bytes, w->now);
    return world_pump(w);
}

static struct agent *agent_of_flow(struct world *w, flow_id flow) {
    for (unsigned i = 0; i < w->agent_count; i++)
        if (w->agents[i].flow == flow && w->agents[i].is_open) return &w->agents[i];
    return NULL;
}

/* Everything that leaves the core must be one readable message: checked here, once for all. */
static bool deliver(struct world *w, flow_id flow, slice bytes) {
    struct agent *a = agent_of_flow(w, flow);
    if (!a)
        return complain(w, "bytes were sent over a flow that is closed:\n" SLICE_FMT,
                        SLICE_ARG(bytes));
    if (a->inbox_count == INBOX_MAX) return complain(w, "too many messages for one agent");
    struct message *m = &a->inbox[a->inbox_count];
    m->bytes = text_keep(w, bytes);
    m->msg = arena_alloc(&w->arena, sizeof *m->msg);
    if (!m->msg) return complain(w, "the scenario is too long for its memory");
    struct sip_read r = sip_msg_read(m->msg, m->bytes, SIP_STREAM);
    if (r.err != ERR_OK || r.used != m->bytes.len)
        return complain(w, "the core sent what is no message (%s):\n" SLICE_FMT,
                        r.err == ERR_OK ? "bytes behind it" : sip_bad_text(r.why),
                        SLICE_ARG(bytes));
    a->inbox_count++;
    if (w->is_loud)
        printf("---- %s:%u %+.3f s " SLICE_FMT " <-\n" SLICE_FMT "\n", w->file, w->line,
               (double)(w->now.mono - FIRST_MONO) / 1000, SLICE_ARG(a->name), SLICE_ARG(bytes));
    return true;
}

/* ---- effects ---- */

static bool keep_mail(struct world *w, unsigned from, const struct core_effect *fx) {
    if (w->mail_count == MAILS_MAX) return complain(w, "too much mail");
    struct mail *m = &w->mails[w->mail_count++];
    *m = (struct mail){ .worker = fx->worker, .from = from, .mail = fx->mail };
    m->mail.bytes = text_keep(w, fx->mail.bytes);
    return true;
}

static bool keep_stored(struct world *w, unsigned worker, const struct core_effect *fx) {
    if (w->stored_count == STORES_MAX) return complain(w, "too many changes for the store");
    struct stored *s = &w->stored[w->stored_count++];
    *s = (struct stored){ .worker = worker, .ticket = fx->ticket };
    if (w->is_store_held) {
        s->change = store_change_copy(fx->change);
        return s->change || complain(w, "no memory");
    }
    s->result = store_commit(w->store, fx->change, 1);
    return true;
}

static bool perform(struct world *w, unsigned worker, const struct core_effect *fx) {
    switch (fx->kind) {
    case FX_SEND:
        return deliver(w, fx->flow, fx->bytes);
    case FX_CLOSE: {
        struct agent *a = agent_of_flow(w, fx->flow);
        if (!a) return true;
        a->is_open = false;
        a->is_dropped = true;
        a->why = fx->why;
        return true;
    }
    case FX_MAIL:
        return keep_mail(w, worker, fx);
    case FX_STORE:
        return keep_stored(w, worker, fx);
    case FX_TRACE:
        return true;
    case FX_DNS:
        return keep_question(w, worker, fx);
    case FX_CONNECT:
        return keep_connect(w, worker, fx);
    case FX_CONNECT_CANCEL:
        return cancel_connect(w, worker, fx);
    }
    return true;
}

/* Effects live until the next call with `now`: all of one core are taken before it hears anything.
 */
static bool drain(struct world *w, bool *any) {
    struct core_effect fx;
    for (unsigned i = 0; i < w->config.workers; i++) {
        flow_id closed[AGENTS_MAX];
        unsigned count = 0;
        while (core_next_effect(w->core[i], &fx)) {
            *any = true;
            if (!perform(w, i, &fx)) return false;
            if (fx.kind == FX_CLOSE && count < AGENTS_MAX) closed[count++] = fx.flow;
        }
        while (count) core_flow_closed(w->core[i], closed[--count], w->now);
    }
    return true;
}

/* A mailbox keeps the order of one sender; only mail of different pairs may overtake. */
static unsigned next_mail(const struct world *w) {
    const struct mail *last = &w->mails[w->mail_count - 1];
    unsigned at = 0;
    if (!w->is_mail_reversed) return 0;
    while (w->mails[at].worker != last->worker || w->mails[at].from != last->from) at++;
    return at;
}

static void deliver_mail(struct world *w) {
    unsigned at = next_mail(w);
    struct mail m = w->mails[at];
    w->mail_count--;
    memmove(&w->mails[at], &w->mails[at + 1], (w->mail_count - at) * sizeof w->mails[0]);
    if (w->is_mail_refused) {
        core_mail_refused(w->core[m.from], m.worker, &m.mail, w->now);
        return;
    }
    m.mail.from_worker = (uint8_t)m.from;
    core_mail_in(w->core[m.worker], &m.mail, w->now);
}

static bool deliver_stored(struct world *w) {
    for (unsigned i = 0; i < w->stored_count; i++) {
        struct stored s = w->stored[i];
        if (s.change) continue; /* held back */
        w->stored_count--;
        memmove(&w->stored[i], &w->stored[i + 1], (w->stored_count - i) * sizeof s);
        if (s.ticket) core_stored(w->core[s.worker], s.ticket, s.result, w->now);
        return true;
    }
    return false;
}

bool world_pump(struct world *w) {
    for (unsigned i = 0; i < PUMPS_MAX; i++) {
        bool any = false;
        if (!drain(w, &any)) return false;
        if (w->mail_count)
            deliver_mail(w);
        else if (!deliver_stored(w) && !answer_question(w) && !answer_connect(w) && !any)
            return !w->is_failed;
    }
    return complain(w, "the core does not come to rest");
}

bool world_release_store(struct world *w, bool is_reversed) {
    w->is_store_held = false;
    for (unsigned i = 0; i < w->stored_count; i++) {
        struct stored *s = &w->stored[is_reversed ? w->stored_count - 1 - i : i];
        if (!s->change) continue;
        s->result = store_commit(w->store, s->change, 1);
        mem_free(s->change);
        s->change = NULL;
    }
    return world_pump(w);
}

/* ---- time ---- */

static bool tick(struct world *w, mono_t to) {
    w->now.wall += to - w->now.mono;
    w->now.mono = to;
    for (unsigned i = 0; i < w->config.workers; i++) {
        core_run_timers(w->core[i], w->now);
        if (!world_pump(w)) return false;
    }
    return true;
}

bool world_wait(struct world *w, int64_t ms) {
    mono_t end = w->now.mono + ms;
    for (unsigned i = 0; i < PUMPS_MAX; i++) {
        mono_t wake = MONO_NEVER;
        for (unsigned k = 0; k < w->config.workers; k++)
            wake = mono_min(wake, core_wake_at(w->core[k]));
        if (wake >= end) return tick(w, end);
        if (wake <= w->now.mono) wake = w->now.mono + 1;
        if (!tick(w, wake)) return false;
    }
    return complain(w, "the core's timers never rest");
}
