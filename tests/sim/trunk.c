/* Between servers: a DNS of the simulated world, connections with certificates. A domain is found
 * by NAPTR and SRV, by SRV alone, or by its address; some name a second server that does not
 * answer. RFC 3263, RFC 5922: what the certificates say is told, never judged here. */
#include "sim.h"

#include "base/cert.h"
#include "sip/target.h"
#include <stdio.h>

#define DNS_MS       60
#define TTL_S        30
#define DEAD_IP      200 /* 192.0.2.200 and above: nobody is there */
#define NOTICE_MS    40000
#define SIP_TLS_PORT 5061

static int64_t trunk_delay(struct sim *s) {
    return 1 + s->plan.delay_ms + dice_below(&s->dice, s->plan.jitter_ms + 1);
}

/* ---- DNS ---- */

/* 0: NAPTR and SRV; 1: SRV; 2: the address of the domain itself. */
static unsigned zone_shape(const struct sim *s, unsigned node) {
    return (unsigned)((s->seed + node) % 3);
}

static bool zone_answer(const struct sim *s, slice name, enum dns_type type,
                        struct dns_record out[static 2], char mem[static 128],
                        unsigned *out_count) {
    for (unsigned i = 0; i < s->node_count; i++) {
        const struct server *n = &s->servers[i];
        unsigned shape = zone_shape(s, i);
        bool has_dead = (s->seed >> 3 & 1) != 0;
        bool is_domain = slice_ieq(name, slice_str(n->domain));
        bool is_edge = slice_ieq(name, slice_str(n->name));
        (void)snprintf(mem, 128, "_sips._tcp.%s", n->domain);
        slice service = slice_str(mem);
        bool is_service = slice_ieq(name, service);
        (void)snprintf(mem + 64, 64, "gone.%s", n->domain);
        slice gone = slice_str(mem + 64);
        bool is_gone = slice_ieq(name, gone);
        if (!is_domain && !is_edge && !is_service && !is_gone) continue;
        *out_count = 0;
        if (type == DNS_NAPTR && is_domain && shape == 0) {
            out[(*out_count)++].naptr = (struct dns_naptr){ .order = 10,
                                                            .preference = 10,
                                                            .flags = SLICE("s"),
                                                            .services = SLICE("SIPS+D2T"),
                                                            .replacement = service };
        } else if (type == DNS_SRV && is_service && shape < 2) {
            if (has_dead)
                out[(*out_count)++].srv =
                    (struct dns_srv){ .priority = 5, .port = SIP_TLS_PORT, .target = gone };
            out[(*out_count)++].srv = (struct dns_srv){ .priority = 10,
                                                        .port = SIP_TLS_PORT,
                                                        .target = slice_str(n->name) };
        } else if (type == DNS_A && (is_edge || is_gone || (is_domain && shape == 2))) {
            struct addr a = { .family = ADDR_V4, .ip = { 192, 0, 2, (uint8_t)(i + 1) } };
            if (is_gone) a.ip[3] = (uint8_t)(DEAD_IP + i);
            out[(*out_count)++].addr = a;
        }
        return true;
    }
    return false;
}

void trunk_ask(struct sim *s, struct server *n, unsigned worker, const struct core_effect *fx) {
    struct event e = { .kind = EV_DNS, .node = n->index, .epoch = n->epoch, .worker = worker };
    e.ticket = fx->ticket;
    e.from = fx->dns_type;
    e.packet = packet_new(fx->name);
    e.at = s->now.mono + dice_about(&s->dice, DNS_MS);
    e.result = dice_chance(&s->dice, s->plan.dns_fails) ? ERR_TIMEOUT : ERR_OK;
    sim_schedule(s, &e);
}

static void tell_dns(struct sim *s, struct server *n, const struct event *e) {
    struct dns_record records[2];
    char mem[128];
    struct dns_answer answer = { .result = DNS_FAIL, .ttl_s = TTL_S, .records = records };
    if (e->result == ERR_OK) {
        bool is_known = zone_answer(s, packet_slice(e->packet), (enum dns_type)e->from, records,
                                    mem, &answer.count);
        answer.result = !is_known ? DNS_NXDOMAIN : answer.count ? DNS_OK : DNS_NODATA;
    }
    core_dns(n->core[e->worker], e->ticket, &answer, s->now);
    node_drain(s, n);
}

/* ---- connections ---- */

static struct event event_of(const struct sim *s, enum event_kind kind, const struct trunk *t) {
    return (struct event){
        .kind = kind, .conn = (unsigned)(t - s->trunks), .epoch = t->gen, .at = s->now.mono
    };
}

static struct server *end_server(struct sim *s, const struct trunk *t, unsigned side) {
    struct server *n = &s->servers[t->end[side].node];
    return n->is_up && n->epoch == t->end[side].epoch ? n : NULL;
}

static void free_if_over(struct trunk *t) {
    if (!t->end[0].is_up && !t->end[1].is_up && !t->is_opening) t->is_used = false;
}

static struct trunk *trunk_new(struct sim *s) {
    for (unsigned i = 0; i < TRUNKS_MAX; i++) {
        struct trunk *t = &s->trunks[i];
        if (t->is_used) continue;
        *t = (struct trunk){ .is_used = true, .is_opening = true, .gen = ++s->conn_gens };
        return t;
    }
    (void)sim_fail(s, "the simulator has too few connections between servers");
    return NULL;
}

static const struct peer_cert *cert_of(struct sim *s, unsigned node) {
    static struct peer_cert cert;
    bool is_bad = s->plan.bad_cert == node + 1;
    cert = (struct peer_cert){ .is_verified = true, .dns_count = 1 };
    cert.dns[0] = slice_str(s->servers[node].domain);
    if (!is_bad) return &cert;
    if (s->seed & 1) {
        cert.dns[0] = slice_str(s->servers[node].name); /* RFC 5922 7.2: not the SRV host */
    } else {
        cert.is_verified = false;
        cert.why_not = "has expired";
    }
    return &cert;
}

static void tell_connect_failed(struct sim *s, struct server *n, unsigned worker, uint64_t ticket,
                                enum err result, int64_t after_ms) {
    struct event e = { .kind = EV_TRUNK_FAILED, .node = n->index, .epoch = n->epoch };
    e.worker = worker;
    e.ticket = ticket;
    e.result = result;
    e.at = s->now.mono + after_ms;
    sim_schedule(s, &e);
}

void trunk_connect(struct sim *s, struct server *n, unsigned worker, const struct core_effect *fx) {
    unsigned to = fx->addr.ip[3] - 1u;
    struct trunk *t = NULL;
    if (to < s->node_count && fx->addr.port == SIP_TLS_PORT) t = trunk_new(s);
    if (!t) {
        tell_connect_failed(s, n, worker, fx->ticket, ERR_TIMEOUT, 30000);
        return;
    }
    struct addr own = { .family = ADDR_V4, .ip = { 192, 0, 2, (uint8_t)(n->index + 1) } };
    own.port = (uint16_t)(10000 + dice_below(&s->dice, 50000));
    t->ticket = fx->ticket;
    t->end[0] = (struct trunk_end){ .node = n->index, .worker = worker, .epoch = n->epoch };
    t->end[1] = (struct trunk_end){ .node = to };
    t->end[1].worker = dice_below(&s->dice, s->servers[to].config.workers);
    t->end[0].info =
        (struct flow_info){ .transport = fx->transport, .local = own, .peer = fx->addr };
    t->end[1].info =
        (struct flow_info){ .transport = fx->transport, .local = fx->addr, .peer = own };
    struct event e = event_of(s, EV_TRUNK_OPEN, t);
    e.at += 3 * trunk_delay(s);
    sim_schedule(s, &e);
}

void trunk_cancel(struct sim *s, struct server *n, unsigned worker, uint64_t ticket) {
    for (unsigned i = 0; i < TRUNKS_MAX; i++) {
        struct trunk *t = &s->trunks[i];
        if (t->is_used && t->is_opening && t->ticket == ticket && t->end[0].node == n->index &&
            t->end[0].worker == worker)
            t->ticket = 0;
    }
}

static void end_up(struct sim *s, struct server *n, struct trunk *t, unsigned side) {
    struct trunk_end *end = &t->end[side];
    end->is_up = true;
    end->epoch = n->epoch;
    n->conn_at[end->worker][flow_slot(end->flow)] = CONNS_MAX + (unsigned)(t - s->trunks) + 1;
}

static void opened_at_target(struct sim *s, struct trunk *t) {
    struct trunk_end *end = &t->end[1];
    struct server *n = &s->servers[end->node], *from = end_server(s, t, 0);
    struct core *core = n->is_up ? n->core[end->worker] : NULL;
    end->info.cert = cert_of(s, t->end[0].node);
    bool is_open = core && !t->is_silent && core_may_connect(core, &end->info.peer, s->now) &&
                   core_flow_open(core, &end->info, s->now, &end->flow) == ERR_OK;
    if (!is_open) {
        t->is_opening = false;
        if (from && t->ticket)
            tell_connect_failed(s, from, t->end[0].worker, t->ticket, ERR_CLOSED, trunk_delay(s));
        free_if_over(t);
        return;
    }
    end_up(s, n, t, 1);
    node_drain(s, n);
    struct event e = event_of(s, EV_TRUNK_OPENED, t);
    e.at += trunk_delay(s);
    t->end[0].last = e.at;
    sim_schedule(s, &e);
}

static void tell_closed(struct sim *s, struct trunk *t, unsigned side, int64_t after_ms) {
    struct event e = event_of(s, EV_TRUNK_CLOSED, t);
    e.from = side;
    e.at += after_ms;
    if (e.at < t->end[side].last) e.at = t->end[side].last;
    sim_schedule(s, &e);
}

static void opened_at_initiator(struct sim *s, struct trunk *t) {
    struct trunk_end *end = &t->end[0];
    struct server *n = end_server(s, t, 0);
    t->is_opening = false;
    end->info.cert = cert_of(s, t->end[1].node);
    bool is_wanted = n && t->ticket && t->end[1].is_up && !t->is_silent &&
                     core_connected(n->core[end->worker], t->ticket, ERR_OK, NULL, &end->info,
                                    s->now, &end->flow) == ERR_OK;
    if (is_wanted)
        end_up(s, n, t, 0);
    else if (t->end[1].is_up)
        tell_closed(s, t, 1, trunk_delay(s));
    if (n) node_drain(s, n);
    free_if_over(t);
}

void trunk_break(struct sim *s, struct trunk *t, bool is_silent) {
    sim_say(s, "the connection of nodes %u and %u %s", t->end[0].node, t->end[1].node,
            is_silent ? "goes silent" : "is cut");
    t->is_silent = true;
    for (unsigned side = 0; side < 2; side++)
        tell_closed(s, t, side, is_silent ? dice_about(&s->dice, NOTICE_MS) : trunk_delay(s));
}

static void closed_at(struct sim *s, struct trunk *t, unsigned side) {
    struct trunk_end *end = &t->end[side];
    struct server *n = end_server(s, t, side);
    bool was_up = end->is_up;
    end->is_up = false;
    if (was_up && n) {
        n->conn_at[end->worker][flow_slot(end->flow)] = 0;
        core_flow_closed(n->core[end->worker], end->flow, s->now);
        node_drain(s, n);
    }
    free_if_over(t);
}

static unsigned side_of(const struct trunk *t, const struct server *n, flow_id flow) {
    return t->end[0].is_up && t->end[0].node == n->index && t->end[0].flow == flow ? 0 : 1;
}

void trunk_node_closes(struct sim *s, struct server *n, struct trunk *t, flow_id flow) {
    unsigned side = side_of(t, n, flow);
    t->end[side].is_up = false;
    if (!t->is_silent && t->end[1 - side].is_up) tell_closed(s, t, 1 - side, trunk_delay(s));
    free_if_over(t);
}

void trunk_node_gone(struct sim *s, const struct server *n) {
    for (unsigned i = 0; i < TRUNKS_MAX; i++) {
        struct trunk *t = &s->trunks[i];
        for (unsigned side = 0; t->is_used && side < 2; side++) {
            if (t->end[side].node != n->index) continue;
            t->end[side].is_up = false;
            if (!t->end[1 - side].is_up) continue;
            t->is_silent = true;
            tell_closed(s, t, 1 - side,
                        dice_chance(&s->dice, 700) ? trunk_delay(s)
                                                   : dice_about(&s->dice, NOTICE_MS));
        }
        free_if_over(t);
    }
}

void trunk_send(struct sim *s, const struct server *n, struct trunk *t, flow_id flow, slice bytes) {
    unsigned side = side_of(t, n, flow), to = 1 - side;
    sim_say(s, "node %u -> node %u: %s", n->index, t->end[to].node, first_line(bytes));
    circle_crossing(s, bytes);
    if (t->is_silent || (!t->end[to].is_up && !t->is_opening)) return;
    struct event e = event_of(s, EV_TRUNK_MESSAGE, t);
    e.from = to;
    e.packet = packet_new(bytes);
    e.at += trunk_delay(s);
    if (e.at < t->end[to].last) e.at = t->end[to].last;
    t->end[to].last = e.at;
    sim_schedule(s, &e);
}

static void message_at(struct sim *s, struct trunk *t, unsigned side, slice bytes) {
    struct server *n = end_server(s, t, side);
    if (!n || !t->end[side].is_up || t->is_silent) return;
    node_receive(s, n, t->end[side].worker, t->end[side].flow, true, bytes);
}

/* Any of them; NULL: there is none. */
struct trunk *trunk_any(struct sim *s) {
    unsigned n = 0;
    for (unsigned i = 0; i < TRUNKS_MAX; i++) n += s->trunks[i].is_used && !s->trunks[i].is_silent;
    unsigned which = dice_below(&s->dice, n);
    for (unsigned i = 0; i < TRUNKS_MAX; i++)
        if (s->trunks[i].is_used && !s->trunks[i].is_silent && which-- == 0) return &s->trunks[i];
    return NULL;
}

void trunk_event(struct sim *s, struct event *e) {
    if (e->kind == EV_DNS || e->kind == EV_TRUNK_FAILED) {
        struct server *n = &s->servers[e->node];
        flow_id flow;
        if (!n->is_up || n->epoch != e->epoch) return;
        if (e->kind == EV_DNS) {
            tell_dns(s, n, e);
            return;
        }
        if (core_connected(n->core[e->worker], e->ticket, e->result, "nobody answers", NULL, s->now,
                           &flow) == ERR_OK)
            (void)sim_fail(s, "a connection that failed became a flow");
        node_drain(s, n);
        return;
    }
    struct trunk *t = &s->trunks[e->conn];
    if (!t->is_used || t->gen != e->epoch) return;
    if (e->kind == EV_TRUNK_OPEN)
        opened_at_target(s, t);
    else if (e->kind == EV_TRUNK_OPENED)
        opened_at_initiator(s, t);
    else if (e->kind == EV_TRUNK_MESSAGE)
        message_at(s, t, e->from, packet_slice(e->packet));
    else
        closed_at(s, t, e->from);
}
