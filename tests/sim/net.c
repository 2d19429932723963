/* The network. A stream keeps its order and loses nothing while it lives; it can stand still, end
 * with both sides told, or go silent: then nothing passes and each side finds out by itself.
 * Datagrams are dropped, repeated and overtake each other. */
#include "sim.h"

#include "base/mem.h"
#include <stdio.h>

#define GIVE_UP_MS     20000  /* a sender whose bytes are not acknowledged: TCP's user time-out */
#define KEEPALIVE_MS   180000 /* of the server's TCP: a dead peer is noticed in the end */
#define PHONE_NOTES_MS 25000  /* a phone's own ping finds a dead connection within this */

static int64_t delay(struct sim *s) {
    return s->plan.delay_ms + dice_below(&s->dice, s->plan.jitter_ms + 1);
}

static struct event event_of(const struct sim *s, enum event_kind kind, const struct conn *c) {
    return (struct event){
        .kind = kind, .conn = (unsigned)(c - s->conns), .epoch = c->gen, .at = s->now.mono
    };
}

static struct conn *conn_of_event(struct sim *s, const struct event *e) {
    struct conn *c = &s->conns[e->conn];
    return c->is_used && c->gen == e->epoch ? c : NULL;
}

static void conn_free_if_over(struct conn *c) {
    if (!c->is_at_node && !c->is_at_phone) c->is_used = false;
}

struct conn *net_conn(struct sim *s, const struct phone *p) {
    struct conn *c = p->conn == NOBODY ? NULL : &s->conns[p->conn];
    return c && c->is_used && c->is_at_phone && c->phone == p->index ? c : NULL;
}

static bool is_stream(const struct conn *c) {
    return c->info.transport != FLOW_UDP;
}

/* ---- a connection's beginning ---- */

static struct conn *conn_new(struct sim *s) {
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &s->conns[i];
        if (c->is_used) continue;
        uint32_t gen = ++s->conn_gens; /* tells connections apart, whatever their slots */
        *c = (struct conn){ .is_used = true, .gen = gen, .flow = FLOW_NONE };
        return c;
    }
    (void)sim_fail(s, "the simulator has too few connections");
    return NULL;
}

static struct addr server_addr(const struct server *n, uint8_t lane) {
    struct addr a = { .family = ADDR_V4, .port = lane == LANE_LEGACY ? 5060 : 5061 };
    a.ip[0] = 192;
    a.ip[2] = 2;
    a.ip[3] = (uint8_t)(n->index + 1);
    return a;
}

void net_connect(struct sim *s, struct phone *p) {
    struct conn *c = conn_new(s);
    struct server *n = &s->servers[p->node];
    if (!c) return;
    p->addr = (struct addr){ .family = ADDR_V4, .ip = { 10, 0, 0, (uint8_t)(p->index + 1) } };
    p->addr.port = (uint16_t)(1024 + dice_below(&s->dice, 60000));
    p->conn = (unsigned)(c - s->conns);
    c->phone = p->index;
    c->node = p->node;
    c->worker = dice_below(&s->dice, n->config.workers);
    c->is_at_phone = true;
    c->info = (struct flow_info){ .transport = p->transport,
                                  .lane = p->lane,
                                  .local = server_addr(n, p->lane),
                                  .peer = p->addr,
                                  .has_device_key = p->has_certificate };
    if (p->has_certificate) c->info.device_key[0] = (uint8_t)(p->index + 1);
    c->opened_at = s->now.mono;
    p->link = LINK_OPENING;
    if (!is_stream(c)) {
        phone_opened(s, p);
        return;
    }
    struct event e = event_of(s, EV_OPEN, c);
    e.at += 3 * delay(s); /* TCP and TLS: the server knows after one and a half round trips */
    sim_schedule(s, &e);
}

static void tell_phone_closed(struct sim *s, struct conn *c, int64_t after_ms) {
    struct event e = event_of(s, EV_PHONE_CLOSED, c);
    e.at += after_ms;
    if (is_stream(c) && e.at < c->to_phone_at) e.at = c->to_phone_at; /* behind what was sent */
    sim_schedule(s, &e);
}

static void opened_at_node(struct sim *s, struct conn *c) {
    struct server *n = &s->servers[c->node];
    struct event e = event_of(s, EV_OPENED, c);
    if (c->is_silent) return; /* the network's doing: the phone finds out by itself */
    bool is_welcome = n->is_up && core_may_connect(n->core[c->worker], &c->info.peer, s->now) &&
                      core_flow_open(n->core[c->worker], &c->info, s->now, &c->flow) == ERR_OK;
    if (!c->is_at_phone || !is_welcome) { /* the phone has given up, or is refused */
        if (is_welcome) {
            core_flow_closed(n->core[c->worker], c->flow, s->now);
            node_drain(s, n);
        }
        if (c->is_at_phone) tell_phone_closed(s, c, delay(s));
        conn_free_if_over(c);
        return;
    }
    c->is_at_node = true;
    c->node_epoch = n->epoch;
    if (flow_slot(c->flow) >= SLOTS_MAX) {
        (void)sim_fail(s, "a flow beyond flows_max");
        return;
    }
    n->conn_at[c->worker][flow_slot(c->flow)] = e.conn + 1;
    sim_hash(s, &c->flow, sizeof c->flow);
    node_drain(s, n);
    c->to_phone_at = e.at += delay(s);
    sim_schedule(s, &e);
}

/* ---- a connection's end ---- */

static void closed_at_node(struct sim *s, struct conn *c) {
    struct server *n = &s->servers[c->node];
    bool was_open = c->is_at_node && n->is_up && c->node_epoch == n->epoch;
    c->is_at_node = false;
    if (was_open) {
        n->conn_at[c->worker][flow_slot(c->flow)] = 0;
        core_flow_closed(n->core[c->worker], c->flow, s->now);
        node_drain(s, n);
    }
    conn_free_if_over(c);
}

static void tell_node_closed(struct sim *s, struct conn *c, int64_t after_ms) {
    struct event e = event_of(s, EV_NODE_CLOSED, c);
    if (!is_stream(c)) return;
    e.at += after_ms;
    if (e.at < c->to_node_at && !c->is_silent) e.at = c->to_node_at;
    sim_schedule(s, &e);
}

void net_hang_up(struct sim *s, struct phone *p, bool is_silent) {
    struct conn *c = net_conn(s, p);
    p->conn = NOBODY;
    p->link = LINK_DOWN;
    if (!c) return;
    c->is_at_phone = false;
    c->is_silent = c->is_silent || is_silent;
    if (c->is_at_node) tell_node_closed(s, c, c->is_silent ? KEEPALIVE_MS : delay(s));
    conn_free_if_over(c);
}

void net_break(struct sim *s, struct conn *c, bool is_silent) {
    sim_say(s, "phone %u's connection %s", c->phone, is_silent ? "goes silent" : "is cut");
    c->troubled_at = MONO_NEVER;
    c->is_silent = true;
    tell_phone_closed(s, c, is_silent ? dice_about(&s->dice, PHONE_NOTES_MS) : delay(s));
    if (!is_silent) tell_node_closed(s, c, delay(s));
}

/* FX_CLOSE: what was sent before it still arrives. */
void net_node_closes(struct sim *s, struct server *n, flow_id flow) {
    unsigned at = n->conn_at[flow_worker(flow)][flow_slot(flow)];
    if (at > CONNS_MAX) {
        n->conn_at[flow_worker(flow)][flow_slot(flow)] = 0;
        trunk_node_closes(s, n, &s->trunks[at - CONNS_MAX - 1], flow);
        return;
    }
    struct conn *c = at ? &s->conns[at - 1] : NULL;
    if (!c || c->flow != flow) return;
    n->conn_at[flow_worker(flow)][flow_slot(flow)] = 0;
    c->is_at_node = false;
    c->troubled_at = MONO_NEVER;
    if (c->is_at_phone && !c->is_silent) tell_phone_closed(s, c, delay(s));
    conn_free_if_over(c);
}

/* A crash: some phones get a reset at once, others find out when they speak. */
void net_node_gone(struct sim *s, struct server *n) {
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &s->conns[i];
        if (!c->is_used || c->node != n->index) continue;
        c->troubled_at = MONO_NEVER;
        if (!is_stream(c)) continue;
        if (c->is_at_phone && c->is_at_node && !c->is_silent)
            tell_phone_closed(
                s, c, dice_chance(&s->dice, 700) ? delay(s) : dice_about(&s->dice, PHONE_NOTES_MS));
        c->is_silent = c->is_silent || c->is_at_node;
        c->is_at_node = false;
        conn_free_if_over(c);
    }
    trunk_node_gone(s, n);
    memset(n->conn_at, 0, sizeof n->conn_at);
}

/* ---- messages ---- */

static void send_stream(struct sim *s, struct conn *c, struct event *e, mono_t *last) {
    mono_t from = c->stalled_until > s->now.mono ? c->stalled_until : s->now.mono;
    e->at = from + delay(s);
    if (e->at < *last) e->at = *last;
    *last = e->at;
    sim_schedule(s, e);
}

static void send_datagram(struct sim *s, struct event *e, slice bytes) {
    bool is_lost = dice_chance(&s->dice, s->plan.drop);
    bool is_twice = dice_chance(&s->dice, s->plan.repeat);
    for (unsigned i = is_lost ? 1 : 0; i < (is_twice ? 2u : 1u); i++) {
        e->at = s->now.mono + delay(s) + (dice_chance(&s->dice, 50) ? delay(s) : 0);
        e->packet = packet_new(bytes);
        sim_schedule(s, e);
    }
}

static void send_either(struct sim *s, struct conn *c, struct event *e, mono_t *last, slice bytes) {
    if (is_stream(c)) {
        e->packet = packet_new(bytes);
        send_stream(s, c, e, last);
    } else {
        send_datagram(s, e, bytes);
    }
}

bool net_from_phone(struct sim *s, struct phone *p, slice bytes) {
    struct conn *c = net_conn(s, p);
    if (!c || p->link != LINK_UP) return false;
    sim_say(s, "phone %u -> %s", p->index, first_line(bytes));
    if (s->verbose > 1) printf(SLICE_FMT "\n", SLICE_ARG(bytes));
    if (c->is_silent) return true; /* it does not know yet */
    struct event e = event_of(s, EV_TO_NODE, c);
    send_either(s, c, &e, &c->to_node_at, bytes);
    return true;
}

/* Where a datagram to that peer arrives: at a phone that still has the address. */
static struct conn *datagram_conn(struct sim *s, const struct flow_info *info) {
    unsigned index = info->peer.ip[3] - 1u;
    if (info->transport != FLOW_UDP || index >= s->phone_count) return NULL;
    struct conn *c = net_conn(s, &s->phones[index]);
    return c && !is_stream(c) && addr_eq(&c->info.peer, &info->peer) ? c : NULL;
}

void net_from_node(struct sim *s, struct server *n, unsigned worker, flow_id flow, slice bytes) {
    const struct flow_info *info = core_flow_info(n->core[worker], flow);
    if (!info || flow_worker(flow) != worker) {
        (void)sim_fail(s, "node %u sent over a flow that is gone: %s", n->index, first_line(bytes));
        return;
    }
    struct conn *c = NULL;
    if (info->transport == FLOW_UDP) {
        c = datagram_conn(s, info);
    } else {
        unsigned at = n->conn_at[worker][flow_slot(flow)];
        if (at > CONNS_MAX) {
            trunk_send(s, n, &s->trunks[at - CONNS_MAX - 1], flow, bytes);
            return;
        }
        c = at ? &s->conns[at - 1] : NULL;
        if (!c || c->flow != flow) return; /* closed in this turn */
    }
    if (!c) return;
    c->out_bytes += bytes.len;
    c->out_messages++;
    if (is_stream(c) && (c->is_silent || !c->is_at_phone)) {
        if (!c->is_doomed) tell_node_closed(s, c, GIVE_UP_MS); /* nobody acknowledges this */
        c->is_doomed = true;
        return;
    }
    if (c->is_silent) return;
    struct event e = event_of(s, EV_TO_PHONE, c);
    send_either(s, c, &e, &c->to_phone_at, bytes);
}

/* Is the stream open at the server, or has it a flow for the datagram? */
static bool is_taken(struct sim *s, struct conn *c) {
    const struct server *n = &s->servers[c->node];
    if (!n->is_up) return false;
    if (is_stream(c)) return c->is_at_node && c->node_epoch == n->epoch;
    return core_flow_datagram(n->core[c->worker], &c->info, s->now, &c->flow) == ERR_OK;
}

static void to_node(struct sim *s, struct conn *c, slice bytes) {
    struct server *n = &s->servers[c->node];
    if (!is_taken(s, c)) return;
    c->in_bytes += bytes.len;
    c->in_messages++;
    if (!work_queue(s, n, c, bytes)) node_receive(s, n, c->worker, c->flow, is_stream(c), bytes);
}

void net_arrived(struct sim *s, unsigned conn, uint32_t gen, slice bytes) {
    struct conn *c = &s->conns[conn];
    struct server *n = &s->servers[c->node];
    if (!c->is_used || c->gen != gen || !is_taken(s, c)) return;
    node_receive(s, n, c->worker, c->flow, is_stream(c), bytes);
}

void net_event(struct sim *s, struct event *e) {
    struct conn *c = conn_of_event(s, e);
    if (!c) return;
    struct phone *p = &s->phones[c->phone];
    switch (e->kind) {
    case EV_OPEN:
        opened_at_node(s, c);
        break;
    case EV_OPENED:
        if (net_conn(s, p) == c && p->link == LINK_OPENING) phone_opened(s, p);
        break;
    case EV_TO_NODE:
        to_node(s, c, packet_slice(e->packet));
        break;
    case EV_TO_PHONE:
        if (net_conn(s, p) == c && !c->is_silent) phone_hear(s, p, packet_slice(e->packet));
        break;
    case EV_NODE_CLOSED:
        closed_at_node(s, c);
        break;
    case EV_PHONE_CLOSED:
        if (net_conn(s, p) != c) break;
        net_hang_up(s, p, true);
        phone_lost(s, p);
        break;
    case EV_MAIL:
    case EV_COMMIT:
    case EV_STORED:
    case EV_NODE_START:
    case EV_NODE_STOP:
    case EV_DISK_WELL:
    case EV_WORK:
    case EV_DNS:
    case EV_TRUNK_OPEN:
    case EV_TRUNK_OPENED:
    case EV_TRUNK_FAILED:
    case EV_TRUNK_MESSAGE:
    case EV_TRUNK_CLOSED:
        break;
    }
}

void net_fini(struct sim *s) {
    memset(s->conns, 0, sizeof s->conns);
    memset(s->trunks, 0, sizeof s->trunks);
}
