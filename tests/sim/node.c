/* Servers: what the daemon does with sockets, mailboxes and a store thread is done here with
 * events. */
#include "sim.h"

#include "auth/accounts.h"
#include "auth/secret.h"
#include "base/mem.h"
#include <stdio.h>

#define LAZY_MS        1000
#define CLOSES_MAX     64
#define FLOWS_PER_CORE 200 /* below SLOTS_MAX: a full table is met too */

/* ---- the scene ---- */

bool node_init_server(struct sim *s, unsigned index) {
    struct server *n = &s->servers[index];
    const struct plan *p = &s->plan;
    n->index = index;
    (void)snprintf(n->domain, sizeof n->domain, "d%u.example", index);
    (void)snprintf(n->name, sizeof n->name, "edge.d%u.example", index);
    memset(n->seal, (int)(index + 7), sizeof n->seal);
    n->store = store_memory_new();
    if (!n->store) return sim_fail(s, "no memory");
    struct node_config *c = &n->config;
    node_config_defaults(c);
    c->workers = p->workers;
    c->domain_count = 1;
    c->domains[0] = slice_str(n->domain);
    if (p->is_named) c->name = slice_str(n->name);
    c->flows_max = FLOWS_PER_CORE;
    c->timer_c_s = p->timer_c_s;
    c->nonce_life_s = p->nonce_life_s;
    c->flow_idle_s = p->flow_idle_s;
    c->digest_sha512_256 = p->is_sha512;
    c->guard.sources_max = c->guard.accounts_max = 256;
    c->seal_key = n->seal;
    return true;
}

bool node_put_person(struct sim *s, struct server *n, const struct person *p) {
    struct secret_boxes boxes;
    struct account_row row = { .id = p->account_id,
                               .user = slice_str(p->user),
                               .domain = slice_str(n->domain),
                               .settings = slice_str(p->wishes),
                               .created = s->now.wall,
                               .changed = s->now.wall };
    secret_seal_account(n->seal, slice_str(p->secret), &boxes, &row);
    const struct store_change change = { .op = STORE_ACCOUNT_PUT,
                                         .durability = STORE_FULL,
                                         .account = row };
    if (store_commit(n->store, &change, 1) != ERR_OK) return sim_fail(s, "no account");
    if (!n->node) return true;
    if (accounts_put(node_accounts(n->node), &row) != ERR_OK) return sim_fail(s, "no account");
    const struct core_mail mail = { .kind = MAIL_ACCOUNT,
                                    .must_arrive = true,
                                    .number = p->account_id };
    for (unsigned i = 0; i < n->config.workers; i++) {
        core_mail_in(n->core[i], &mail, s->now);
        node_drain(s, n);
    }
    return true;
}

bool node_put_device(struct sim *s, struct server *n, const struct phone *p) {
    uint8_t box[SECRET_SEALED_MD5_BYTES];
    const struct person *who = &s->people[p->person];
    struct store_change change = { .op = STORE_DEVICE_PUT, .durability = STORE_FULL };
    change.device = (struct device_row){ .id = p->device_id,
                                         .account_id = who->account_id,
                                         .kind = DEVICE_CERTIFICATE,
                                         .name = SLICE("phone") };
    change.device.key_hash[0] = (uint8_t)(p->index + 1);
    if (p->lane == LANE_LEGACY) {
        change.device.kind = DEVICE_LEGACY;
        secret_seal_legacy(n->seal, slice_str(who->user), slice_str(n->domain),
                           slice_str(p->secret), box, &change.device);
    }
    return store_commit(n->store, &change, 1) == ERR_OK || sim_fail(s, "no device");
}

/* ---- start and crash ---- */

bool node_up(struct sim *s, struct server *n) {
    if (node_new(&n->config, n->store, s->now, &n->node) != ERR_OK) {
        n->node = NULL;
        return false;
    }
    for (unsigned i = 0; i < n->config.workers; i++) {
        uint8_t seed[32] = { (uint8_t)i, (uint8_t)n->index, (uint8_t)n->epoch,
                             (uint8_t)(n->epoch >> 8) };
        memcpy(seed + 8, &s->seed, sizeof s->seed);
        n->core[i] = core_new(n->node, i, seed, s->now);
        ASSERT(n->core[i] != NULL);
    }
    n->is_up = true;
    work_forget(s, n->index); /* its clocks begin now */
    n->up_at = s->now.mono;
    n->is_draining = false;
    return true;
}

static void forget_waiting(struct server *n) {
    while (n->waiting_count) mem_free(n->waiting[--n->waiting_count].change);
    n->is_commit_due = false;
}

void node_down(struct sim *s, struct server *n) {
    n->epoch++;
    n->down_at = s->now.mono;
    for (unsigned i = 0; i < s->phone_count; i++) phone_doubts(s, &s->phones[i], n->index);
    for (unsigned i = 0; i < n->config.workers; i++) {
        core_free(n->core[i]);
        n->core[i] = NULL;
    }
    node_free(n->node);
    n->node = NULL;
    n->is_up = n->is_draining = false;
    forget_waiting(n);
    work_forget(s, n->index);
    if (!s->is_crashing) net_node_gone(s, n);
}

void node_fini_server(struct sim *s, struct server *n) {
    if (n->is_up) node_down(s, n);
    mem_free(n->waiting);
    store_close(n->store);
}

static void start_again(struct sim *s, struct server *n) {
    if (n->is_disk_bad) n->is_disk_bad = false; /* somebody made room before starting it */
    if (!node_up(s, n)) {
        (void)sim_fail(s, "node %u does not start again", n->index);
        return;
    }
    sim_say(s, "node %u starts", n->index);
    check_bindings(s, n);
}

/* ---- the store thread: one commit for all that waits (daemon/storer.h) ---- */

static void commit_at(struct sim *s, struct server *n, mono_t at) {
    if (n->is_commit_due && n->commit_at <= at) return;
    n->is_commit_due = true;
    n->commit_at = at;
    sim_schedule(
        s, &(struct event){ .kind = EV_COMMIT, .node = n->index, .epoch = n->epoch, .at = at });
}

static void keep_change(struct sim *s, struct server *n, unsigned worker,
                        const struct core_effect *fx) {
    if (n->waiting_count == n->waiting_cap) {
        n->waiting_cap = n->waiting_cap ? n->waiting_cap * 2 : 64;
        n->waiting = mem_grow(n->waiting, n->waiting_cap * sizeof *n->waiting);
        ASSERT(n->waiting != NULL);
    }
    struct waiting *w = &n->waiting[n->waiting_count++];
    *w = (struct waiting){ store_change_copy(fx->change), worker, fx->ticket };
    ASSERT(w->change != NULL);
    bool is_lazy = fx->change->durability == STORE_LAZY;
    int64_t wait = is_lazy ? LAZY_MS : 1 + dice_below(&s->dice, (unsigned)s->plan.store_ms + 1);
    commit_at(s, n, s->now.mono + wait);
}

static void commit(struct sim *s, struct server *n) {
    n->is_commit_due = false;
    store_memory_fail(n->store, n->is_disk_bad ? 0 : -1);
    for (size_t i = 0; i < n->waiting_count; i++) {
        struct waiting *w = &n->waiting[i];
        struct event e = { .kind = EV_STORED, .node = n->index, .epoch = n->epoch };
        e.worker = w->worker;
        e.ticket = w->ticket;
        e.result = store_commit(n->store, w->change, 1);
        e.at = s->now.mono + dice_below(&s->dice, 3);
        if (w->ticket) sim_schedule(s, &e);
        mem_free(w->change);
    }
    store_memory_fail(n->store, -1);
    n->waiting_count = 0;
}

/* ---- effects ---- */

struct turn { /* what the core must hear of once its effects are taken */
    flow_id closes[CLOSES_MAX];
    unsigned close_count, refused_count;
    struct event refused[CLOSES_MAX];
};

static void hash_effect(struct sim *s, const struct server *n, unsigned worker,
                        const struct core_effect *fx) {
    const uint64_t words[] = {
        (uint64_t)s->now.mono, n->index,     worker, fx->kind, fx->flow, fx->worker, fx->ticket,
        fx->mail.flow,         fx->mail.kind
    };
    sim_hash(s, words, sizeof words);
    sim_hash(s, fx->bytes.ptr, fx->bytes.len);
    sim_hash(s, fx->mail.bytes.ptr, fx->mail.bytes.len);
}

static void post(struct sim *s, struct server *n, unsigned from, const struct core_effect *fx,
                 struct turn *turn) {
    struct event e = { .kind = EV_MAIL, .node = n->index, .epoch = n->epoch, .mail = fx->mail };
    e.worker = fx->worker;
    e.from = from;
    e.packet = packet_new(fx->mail.bytes);
    e.mail.bytes = packet_slice(e.packet);
    bool is_refused = dice_chance(&s->dice, s->plan.refuse_mail) && !fx->mail.must_arrive;
    if (is_refused && turn->refused_count < CLOSES_MAX) {
        turn->refused[turn->refused_count++] = e;
        return;
    }
    mono_t *last = &n->mail_at[from][fx->worker];
    e.at = s->now.mono + dice_below(&s->dice, (unsigned)s->plan.mail_ms + 1);
    if (e.at < *last) e.at = *last;
    *last = e.at;
    sim_schedule(s, &e);
}

static void perform(struct sim *s, struct server *n, unsigned worker, const struct core_effect *fx,
                    struct turn *turn) {
    hash_effect(s, n, worker, fx);
    switch (fx->kind) {
    case FX_SEND:
        n->turn_outputs++;
        s->counts.messages++;
        check_sent(s, n, worker, fx->flow, fx->bytes);
        net_from_node(s, n, worker, fx->flow, fx->bytes);
        break;
    case FX_CLOSE:
        sim_say(s, "node %u closes a connection: %s", n->index, fx->why);
        if (turn->close_count < CLOSES_MAX) turn->closes[turn->close_count++] = fx->flow;
        break;
    case FX_MAIL:
        n->turn_outputs++;
        post(s, n, worker, fx, turn);
        break;
    case FX_STORE:
        keep_change(s, n, worker, fx);
        break;
    case FX_DNS:
        trunk_ask(s, n, worker, fx);
        break;
    case FX_CONNECT:
        trunk_connect(s, n, worker, fx);
        break;
    case FX_CONNECT_CANCEL:
        trunk_cancel(s, n, worker, fx->ticket);
        break;
    case FX_TRACE:
        break;
    }
}

/* All effects of a core are taken before it hears anything: their bytes live no longer. */
static void take_effects(struct sim *s, struct server *n, unsigned worker, struct turn *turn) {
    struct core_effect fx;
    while (core_next_effect(n->core[worker], &fx)) perform(s, n, worker, &fx, turn);
}

void node_drain(struct sim *s, struct server *n) {
    static struct turn turn;
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < n->config.workers; i++) {
            struct core *c = n->core[i];
            turn.close_count = turn.refused_count = 0;
            take_effects(s, n, i, &turn);
            any = any || turn.close_count || turn.refused_count;
            for (unsigned k = 0; k < turn.close_count; k++) {
                net_node_closes(s, n, turn.closes[k]);
                core_flow_closed(c, turn.closes[k], s->now);
                take_effects(s, n, i, &turn);
            }
            for (unsigned k = 0; k < turn.refused_count; k++) {
                struct event *e = &turn.refused[k];
                core_mail_refused(c, e->worker, &e->mail, s->now);
                mem_free(e->packet);
                take_effects(s, n, i, &turn);
            }
        }
    }
}

/* io frames what comes over a stream before core sees it (io/frame.h). */
void node_receive(struct sim *s, struct server *n, unsigned worker, flow_id flow, bool is_stream,
                  slice bytes) {
    static struct sip_msg m;
    struct core *core = n->core[worker];
    n->turn_outputs = 0;
    struct sip_read r = sip_msg_read(&m, bytes, is_stream ? SIP_STREAM : SIP_DATAGRAM);
    n->is_input_bad = r.err != ERR_OK;
    if (is_stream && (r.err == ERR_MORE || r.used > bytes.len))
        core_bad_stream(core, flow, "the rest does not come", s->now);
    else
        core_receive(core, flow, is_stream && r.used ? slice_head(bytes, r.used) : bytes, s->now);
    node_drain(s, n);
    n->is_input_bad = false;
    check_turn(s, n);
}

/* ---- time and events ---- */

mono_t node_wake_at(const struct server *n) {
    mono_t at = MONO_NEVER;
    for (unsigned i = 0; n->is_up && i < n->config.workers; i++)
        at = mono_min(at, core_wake_at(n->core[i]));
    return at;
}

void node_run_timers(struct sim *s, struct server *n) {
    for (unsigned i = 0; i < n->config.workers; i++) {
        if (core_wake_at(n->core[i]) > s->now.mono) continue;
        core_run_timers(n->core[i], s->now);
        node_drain(s, n);
    }
}

void node_event(struct sim *s, struct event *e) {
    struct server *n = &s->servers[e->node];
    if (e->kind == EV_DISK_WELL) {
        n->is_disk_bad = false;
        sim_say(s, "the disk of node %u has room again", n->index);
        return;
    }
    if (e->epoch != n->epoch) return;
    if (e->kind == EV_NODE_START) {
        start_again(s, n);
        return;
    }
    if (!n->is_up) return;
    switch (e->kind) {
    case EV_WORK:
        work_event(s, n, e->worker);
        break;
    case EV_MAIL:
        e->mail.from_worker = (uint8_t)e->from;
        core_mail_in(n->core[e->worker], &e->mail, s->now);
        node_drain(s, n);
        break;
    case EV_COMMIT:
        if (n->is_commit_due && n->commit_at == e->at) commit(s, n);
        break;
    case EV_STORED:
        core_stored(n->core[e->worker], e->ticket, e->result, s->now);
        node_drain(s, n);
        break;
    case EV_NODE_STOP:
        if (n->is_draining) {
            commit(s, n); /* a stop waits for its store */
            node_down(s, n);
            start_again(s, n);
        }
        break;
    case EV_NODE_START:
    case EV_DISK_WELL:
    case EV_OPEN:
    case EV_OPENED:
    case EV_TO_NODE:
    case EV_TO_PHONE:
    case EV_NODE_CLOSED:
    case EV_PHONE_CLOSED:
    case EV_DNS:
    case EV_TRUNK_OPEN:
    case EV_TRUNK_OPENED:
    case EV_TRUNK_FAILED:
    case EV_TRUNK_MESSAGE:
    case EV_TRUNK_CLOSED:
        break;
    }
}
