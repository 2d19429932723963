/* Time, events, faults and the four parts of a run. */
#include "sim.h"

#include "base/mem.h"
#include <stdarg.h>
#include <stdio.h>

#define FIRST_MONO   ((mono_t)1000000)
#define FIRST_WALL   ((wall_t)1700000000000)
#define EVENTS_MAX   200000u
#define PROBE_MS     90000
#define CALLS_END_MS 60000 /* time for hanging up before nothing more is said */
#define REST_MS      60000 /* beyond all transaction timers and timer C */

/* ---- words ---- */

bool sim_fail(struct sim *s, const char *fmt, ...) {
    va_list args;
    if (s->is_failed) return false;
    s->is_failed = true;
    va_start(args, fmt);
    int n = snprintf(s->failure, sizeof s->failure,
                     "at %.3f s: ", (double)(s->now.mono - FIRST_MONO) / 1000);
    (void)vsnprintf(s->failure + n, sizeof s->failure - (size_t)n, fmt, args);
    va_end(args);
    if (s->verbose) printf("FAILURE %s\n", s->failure);
    return false;
}

void sim_say(const struct sim *s, const char *fmt, ...) {
    va_list args;
    if (!s->verbose) return;
    printf("%9.3f ", (double)(s->now.mono - FIRST_MONO) / 1000);
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
    (void)putchar('\n');
}

static slice header_line(slice bytes, slice name) {
    slice rest = slice_from(bytes, slice_find_slice(bytes, name));
    return slice_head(rest, slice_find(rest, '\r'));
}

const char *first_line(slice bytes) {
    static char text[320];
    slice first = slice_head(bytes, slice_find(bytes, '\r'));
    slice cseq = header_line(bytes, SLICE("CSeq: ")), call = header_line(bytes, SLICE("Call-ID: "));
    (void)snprintf(text, sizeof text, SLICE_FMT " (" SLICE_FMT ", " SLICE_FMT ")", SLICE_ARG(first),
                   SLICE_ARG(slice_from(call, 9)), SLICE_ARG(slice_from(cseq, 6)));
    for (char *c = text; *c; c++)
        if (*c < ' ' || *c > '~') *c = '.'; /* garbage is sent here too */
    return text;
}

void sim_hash(struct sim *s, const void *bytes, size_t len) {
    const struct hash_key key = { s->hash, UINT64_C(0x6b697468) };
    s->hash = siphash(&key, bytes, len);
}

struct packet *packet_new(slice bytes) {
    struct packet *p = mem_alloc(sizeof *p + bytes.len);
    ASSERT(p != NULL);
    p->len = bytes.len;
    if (bytes.len) memcpy(p->bytes, bytes.ptr, bytes.len);
    return p;
}

/* ---- the heap of events: by time, then in the order in which they were made ---- */

static bool is_before(const struct event *a, const struct event *b) {
    return a->at != b->at ? a->at < b->at : a->serial < b->serial;
}

static void swap(struct sim *s, size_t a, size_t b) {
    struct event e = s->heap[a];
    s->heap[a] = s->heap[b];
    s->heap[b] = e;
}

void sim_schedule(struct sim *s, const struct event *e) {
    if (s->heap_count == s->heap_cap) {
        s->heap_cap = s->heap_cap ? s->heap_cap * 2 : 256;
        s->heap = mem_grow(s->heap, s->heap_cap * sizeof *s->heap);
        ASSERT(s->heap != NULL);
    }
    if (s->heap_count > EVENTS_MAX) (void)sim_fail(s, "too many messages are under way");
    size_t at = s->heap_count++;
    s->heap[at] = *e;
    s->heap[at].serial = s->serial++;
    while (at && is_before(&s->heap[at], &s->heap[(at - 1) / 2])) {
        swap(s, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static struct event take_event(struct sim *s) {
    struct event first = s->heap[0];
    s->heap[0] = s->heap[--s->heap_count];
    for (size_t at = 0;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < s->heap_count && is_before(&s->heap[child], &s->heap[least])) least = child;
        if (least == at) return first;
        swap(s, at, least);
        at = least;
    }
}

static void handle_event(struct sim *s) {
    struct event e = take_event(s);
    s->counts.events++;
    switch (e.kind) {
    case EV_OPEN:
    case EV_OPENED:
    case EV_TO_NODE:
    case EV_TO_PHONE:
    case EV_NODE_CLOSED:
    case EV_PHONE_CLOSED:
        net_event(s, &e);
        break;
    case EV_MAIL:
    case EV_COMMIT:
    case EV_STORED:
    case EV_NODE_START:
    case EV_NODE_STOP:
    case EV_DISK_WELL:
    case EV_WORK:
        node_event(s, &e);
        break;
    case EV_DNS:
    case EV_TRUNK_OPEN:
    case EV_TRUNK_OPENED:
    case EV_TRUNK_FAILED:
    case EV_TRUNK_MESSAGE:
    case EV_TRUNK_CLOSED:
        trunk_event(s, &e);
        break;
    }
    mem_free(e.packet);
}

/* ---- faults ---- */

static bool is_due(struct sim *s, mono_t *at, int64_t mean) {
    if (!mean || s->part != PART_TROUBLE || *at > s->now.mono) return false;
    *at = s->now.mono + dice_about(&s->dice, mean);
    return true;
}

static struct conn *any_conn(struct sim *s) {
    unsigned n = 0;
    for (unsigned i = 0; i < CONNS_MAX; i++) n += s->conns[i].is_used && s->conns[i].is_at_phone;
    unsigned which = dice_below(&s->dice, n);
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (s->conns[i].is_used && s->conns[i].is_at_phone && which-- == 0) return &s->conns[i];
    return NULL;
}

static void fault_network(struct sim *s) {
    const struct plan *p = &s->plan;
    struct conn *c;
    for (unsigned is_silent = 0; is_silent < 2; is_silent++) {
        mono_t *at = is_silent ? &s->silent_at : &s->cut_at;
        if (!is_due(s, at, is_silent ? p->silent_ms : p->cut_ms)) continue;
        struct trunk *t = dice_chance(&s->dice, 200) ? trunk_any(s) : NULL;
        c = t ? NULL : any_conn(s);
        if (t || c) s->counts.cuts++;
        if (t) trunk_break(s, t, is_silent);
        if (c) net_break(s, c, is_silent);
    }
    if (is_due(s, &s->stall_at, p->stall_ms) && (c = any_conn(s))) {
        c->stalled_until = s->now.mono + dice_about(&s->dice, 5000);
        c->troubled_at = c->stalled_until;
        sim_say(s, "phone %u's connection stands still", c->phone);
    }
}

static void fault_servers(struct sim *s) {
    const struct plan *p = &s->plan;
    struct server *n = &s->servers[dice_below(&s->dice, s->node_count)];
    struct event e = { .node = n->index, .epoch = n->epoch };
    if (is_due(s, &s->crash_at, p->crash_ms) && n->is_up) {
        sim_say(s, "node %u crashes", n->index);
        s->counts.crashes++;
        node_down(s, n);
        e.kind = EV_NODE_START;
        e.epoch = n->epoch;
        e.at = s->now.mono + dice_about(&s->dice, 4000);
        sim_schedule(s, &e);
    }
    if (is_due(s, &s->disk_at, p->disk_ms) && n->is_up && !n->is_disk_bad) {
        sim_say(s, "the disk of node %u is full", n->index);
        s->counts.disk_faults++;
        n->is_disk_bad = true;
        for (unsigned i = 0; i < s->phone_count; i++) phone_doubts(s, &s->phones[i], n->index);
        e.kind = EV_DISK_WELL;
        e.at = s->now.mono + dice_about(&s->dice, 20000);
        sim_schedule(s, &e);
    }
    if (is_due(s, &s->drain_at, p->drain_ms) && n->is_up && !n->is_draining) {
        sim_say(s, "node %u drains", n->index);
        s->counts.drains++;
        n->is_draining = true;
        for (unsigned i = 0; i < n->config.workers; i++) core_drain(n->core[i], s->now);
        node_drain(s, n);
        e.kind = EV_NODE_STOP;
        e.at = s->now.mono + dice_about(&s->dice, 10000);
        sim_schedule(s, &e);
    }
    if (is_due(s, &s->operator_at, p->operator_ms) && n->is_up && !n->is_disk_bad) {
        struct person *who = &s->people[dice_below(&s->dice, s->person_count)];
        if (who->node == n->index) { /* the same again: what proved it must prove it anew */
            sim_say(s, "the operator looks at %s", who->user);
            (void)node_put_person(s, n, who);
        }
    }
}

/* ---- time ---- */

static mono_t next_at(const struct sim *s) {
    mono_t at = s->heap_count ? s->heap[0].at : MONO_NEVER;
    for (unsigned i = 0; i < s->node_count; i++) at = mono_min(at, node_wake_at(&s->servers[i]));
    for (unsigned i = 0; i < s->phone_count; i++) at = mono_min(at, s->phones[i].wake_at);
    return at;
}

static void run_until(struct sim *s, mono_t end) {
    unsigned still = 0;
    while (!s->is_failed) {
        mono_t at = next_at(s);
        if (at > end) break;
        still = at > s->now.mono ? 0 : still + 1;
        if (still > 200000) {
            (void)sim_fail(s, "time stands still");
            break;
        }
        if (at > s->now.mono) {
            s->now.wall += at - s->now.mono;
            s->now.mono = at;
            fault_network(s);
            fault_servers(s);
        }
        while (s->heap_count && s->heap[0].at <= s->now.mono && !s->is_failed) handle_event(s);
        for (unsigned i = 0; i < s->node_count && !s->is_failed; i++)
            if (node_wake_at(&s->servers[i]) <= s->now.mono) node_run_timers(s, &s->servers[i]);
        for (unsigned i = 0; i < s->phone_count && !s->is_failed; i++)
            if (s->phones[i].wake_at <= s->now.mono) phone_run(s, &s->phones[i]);
    }
    if (s->now.mono < end) {
        s->now.wall += end - s->now.mono;
        s->now.mono = end;
    }
}

static void begin_part(struct sim *s, enum part part, int64_t ms) {
    static const char *const names[] = { "trouble", "healing", "probes", "quiet" };
    s->part = part;
    s->part_ends = s->now.mono + ms;
    sim_say(s, "---- %s", names[part]);
}

/* ---- the scene ---- */

static void add_phones(struct sim *s, unsigned person) {
    unsigned n = 1 + dice_below(&s->dice, s->plan.phones_per_person);
    for (unsigned i = 0; i < n && s->phone_count < PHONES_MAX - 8; i++) {
        struct phone *p = &s->phones[s->phone_count++];
        phone_init(s, p, person, HONEST);
        if (p->reg_id && dice_chance(&s->dice, s->plan.second_flow))
            phone_second_flow(s, &s->phones[s->phone_count++], p);
    }
}

void person_forward(struct sim *s, struct person *who, unsigned why, unsigned to) {
    static const char *const names[FORWARDS] = { "forward-always", "forward-busy",
                                                 "forward-no-answer", "forward-unreachable" };
    char line[sizeof who->wishes / FORWARDS];
    const struct person *p = &s->people[to];
    (void)snprintf(line, sizeof line, "%s=sip:%s@%s%s\n", names[why], p->user,
                   s->servers[p->node].domain, why == 2 ? ",5s" : "");
    size_t n = strlen(who->wishes);
    (void)snprintf(who->wishes + n, sizeof who->wishes - n, "%s", line);
    who->forwards[why] = to;
}

/* Call forwarding and do-not-disturb (auth/user_settings.h). */
static void draw_wishes(struct sim *s, struct person *who) {
    for (unsigned i = 0; i < FORWARDS; i++) who->forwards[i] = NOBODY;
    if (s->is_circle) circle_wishes(s, who);
    if (s->is_circle || !dice_chance(&s->dice, s->plan.wishes)) return;
    unsigned which = dice_below(&s->dice, 5);
    if (which == 4) {
        (void)snprintf(who->wishes, sizeof who->wishes, "dnd=on\n");
        return;
    }
    for (unsigned i = which; i < FORWARDS; i += 1 + dice_below(&s->dice, 3)) {
        unsigned to = dice_below(&s->dice, s->person_count);
        if (to != who->index) person_forward(s, who, i, to);
    }
}

static bool build(struct sim *s) {
    const struct plan *p = &s->plan;
    s->node_count = p->nodes;
    for (unsigned i = 0; i < p->nodes; i++) {
        if (!node_init_server(s, i)) return false;
        for (unsigned k = 0; k < p->people && s->person_count < PEOPLE_MAX; k++) {
            struct person *who = &s->people[s->person_count];
            *who = (struct person){ .index = s->person_count++, .node = i, .account_id = k + 1 };
            (void)snprintf(who->user, sizeof who->user, "u%u", who->index);
            (void)snprintf(who->secret, sizeof who->secret, "secret-of-u%u", who->index);
        }
    }
    for (unsigned i = 0; i < s->person_count; i++) {
        draw_wishes(s, &s->people[i]);
        if (!node_put_person(s, &s->servers[s->people[i].node], &s->people[i])) return false;
    }
    for (unsigned i = 0; i < s->person_count; i++) add_phones(s, i);
    for (unsigned i = 0; i < p->nasty && s->phone_count < PHONES_MAX; i++)
        phone_init(s, &s->phones[s->phone_count++], dice_below(&s->dice, s->person_count),
                   dice_chance(&s->dice, 500) ? NASTY : STRANGER);
    for (unsigned i = 0; i < s->node_count; i++)
        if (!node_up(s, &s->servers[i])) return sim_fail(s, "node %u does not start", i);
    return true;
}

static void draw_first_faults(struct sim *s) {
    const struct plan *p = &s->plan;
    mono_t now = s->now.mono;
    s->cut_at = now + dice_about(&s->dice, p->cut_ms);
    s->silent_at = now + dice_about(&s->dice, p->silent_ms);
    s->stall_at = now + dice_about(&s->dice, p->stall_ms);
    s->crash_at = now + dice_about(&s->dice, p->crash_ms);
    s->drain_at = now + dice_about(&s->dice, p->drain_ms);
    s->disk_at = now + dice_about(&s->dice, p->disk_ms);
    s->operator_at = now + dice_about(&s->dice, p->operator_ms);
}

static void end_calls(struct sim *s) {
    for (unsigned i = 0; i < s->phone_count; i++)
        for (unsigned k = 0; k < CALLS_MAX; k++)
            if (s->phones[i].calls[k].state != CALL_FREE)
                call_end(s, &s->phones[i], &s->phones[i].calls[k]);
}

static void heal(struct sim *s) {
    struct plan *p = &s->plan; /* `drawn` keeps the plan for the report */
    p->drop = p->repeat = p->refuse_mail = p->off = p->restart = p->dns_fails = 0;
    p->jitter_ms = 0;
    begin_part(s, PART_HEAL, HEAL_MS);
    for (unsigned i = 0; i < s->phone_count; i++)
        if (!s->phones[i].is_on) phone_restart(s, &s->phones[i], true);
    end_calls(s);
    run_until(s, s->part_ends);
    if (!s->is_failed) check_healed(s);
}

static bool is_ready(const struct phone *p) {
    return p->nature == HONEST && p->is_registered && p->link == LINK_UP;
}

/* Everybody is called once, by a phone of the same node. */
static void probe(struct sim *s) {
    begin_part(s, PART_PROBE, PROBE_MS);
    for (unsigned who = 0; who < s->person_count && !s->is_failed; who++) {
        const struct phone *to = NULL, *from = NULL;
        for (unsigned i = 0; i < s->phone_count; i++)
            if (is_ready(&s->phones[i]) && s->phones[i].person == who) to = &s->phones[i];
        for (unsigned i = 0; i < s->phone_count && to; i++)
            if (is_ready(&s->phones[i]) && &s->phones[i] != to && to->twin != i &&
                s->phones[i].node == to->node)
                from = &s->phones[i];
        if (!to || !from || s->people[who].is_spoiled || s->people[who].wishes[0]) continue;
        s->counts.probes++;
        (void)call_begin(s, &s->phones[from->index], who, true);
        run_until(s, s->now.mono + 1500);
    }
    run_until(s, s->part_ends);
    if (s->probes_open) (void)sim_fail(s, "%u probes were never answered", s->probes_open);
}

static void rest(struct sim *s) {
    begin_part(s, PART_QUIET, CALLS_END_MS);
    end_calls(s);
    run_until(s, s->part_ends);
    run_until(s, s->now.mono + REST_MS + ((int64_t)s->plan.timer_c_s + 96) * 1000);
    for (unsigned i = 0; i < s->node_count && !s->is_failed; i++) check_quiet(s, &s->servers[i]);
    for (unsigned i = 0; i < s->phone_count; i++) phone_fini(&s->phones[i]);
    for (unsigned i = 0; i < s->node_count && !s->is_failed; i++) check_empty(s, &s->servers[i]);
}

static void end(struct sim *s) {
    s->is_crashing = true; /* what closes now tells nobody */
    for (unsigned i = 0; i < s->node_count; i++) node_fini_server(s, &s->servers[i]);
    for (unsigned i = 0; i < s->phone_count; i++) phone_fini(&s->phones[i]);
    net_fini(s);
    while (s->heap_count) mem_free(s->heap[--s->heap_count].packet);
    mem_free(s->heap);
    for (unsigned i = 0; i < STOLEN_MAX; i++) mem_free(s->stolen[i].packet);
}

void sim_run(struct sim *s, uint64_t seed) {
    unsigned verbose = s->verbose;
    bool is_circle = s->is_circle;
    int64_t live = mem_live();
    memset(s, 0, sizeof *s);
    s->verbose = verbose;
    s->is_circle = is_circle;
    s->seed = seed;
    s->dice.state = seed * UINT64_C(0xd1342543de82ef95) + 1;
    s->now = (struct now){ FIRST_MONO, FIRST_WALL };
    plan_draw(&s->plan, &s->dice);
    if (is_circle) circle_plan(&s->plan);
    s->drawn = s->plan;
    if (s->verbose) plan_print(&s->plan);
    draw_first_faults(s);
    if (build(s)) {
        begin_part(s, PART_TROUBLE, s->plan.active_ms);
        run_until(s, s->part_ends);
        heal(s);
        probe(s);
        rest(s);
    }
    s->counts.virtual_ms = s->now.mono - FIRST_MONO;
    end(s);
    if (mem_live() != live)
        (void)sim_fail(s, "%d blocks of memory were lost", (int)(mem_live() - live));
}
