/* What a message costs: in seeds with a slow processor each worker takes virtual time for each of
 * them, and has a queue in front of it like io's: who is in a call is read first, the others wait
 * (os/loop.h, guard/overload.h). The core is told how long they waited and how busy it was. */
#include "sim.h"

#include "base/mem.h"
#include "guard/overload.h"

static struct work *work_of(struct sim *s, unsigned node, unsigned worker) {
    return &s->work[node][worker];
}

static void wake(struct sim *s, const struct server *n, unsigned worker, mono_t at) {
    struct work *w = work_of(s, n->index, worker);
    if (w->is_due) return;
    w->is_due = true;
    sim_schedule(s, &(struct event){ .kind = EV_WORK,
                                     .node = n->index,
                                     .worker = worker,
                                     .epoch = n->epoch,
                                     .at = at > s->now.mono ? at : s->now.mono });
}

/* Tells the core what it did in the last while, as io does ten times a second. */
static void measure(struct sim *s, struct server *n, unsigned worker) {
    struct work *w = work_of(s, n->index, worker);
    int64_t ms = s->now.mono - w->measured_at;
    if (ms < OVERLOAD_STEP_MS) return;
    uint64_t all_us = (uint64_t)ms * 1000, busy_us = w->busy_us < all_us ? w->busy_us : all_us;
    struct overload_measure m = { .ms = (uint32_t)(ms < 60000 ? ms : 60000),
                                  .used_us = busy_us,
                                  .idle_us = all_us - busy_us,
                                  .arrived = w->arrived,
                                  .served = w->served,
                                  .is_unread = w->least > 0 };
    core_measure(n->core[worker], &m, s->now);
    node_drain(s, n);
    w->measured_at = s->now.mono;
    w->busy_us = 0;
    w->arrived = w->served = 0;
    w->least = w->count[WORK_FIRST];
}

/* INVITE and REGISTER look things up, write and store; an answer is passed on. */
static uint64_t cost_us(const struct sim *s, slice bytes) {
    unsigned times = slice_starts(bytes, SLICE("INVITE "))     ? 6
                     : slice_starts(bytes, SLICE("REGISTER ")) ? 5
                     : slice_starts(bytes, SLICE("SIP/2.0 "))  ? 1
                                                               : 2;
    return (uint64_t)times * s->plan.cost_us;
}

/* false: the processor is fast, the message is to be handled now. */
bool work_queue(struct sim *s, struct server *n, const struct conn *c, slice bytes) {
    if (!s->plan.cost_us) return false;
    struct work *w = work_of(s, n->index, c->worker);
    enum work_turn turn = core_flow_in_call(n->core[c->worker], c->flow) ? WORK_FIRST : WORK_NEXT;
    if (w->count[turn] == WORK_MAX) { /* its buffers are full: TCP would wait, UDP loses it */
        s->conns[c - s->conns].troubled_at = s->now.mono;
        return true;
    }
    unsigned at = (w->head[turn] + w->count[turn]++) % WORK_MAX;
    w->items[turn][at] = (struct work_item){ .conn = (unsigned)(c - s->conns),
                                             .gen = c->gen,
                                             .at = s->now.mono,
                                             .packet = packet_new(bytes) };
    if (turn == WORK_NEXT) w->arrived++;
    wake(s, n, c->worker, w->free_at_us / 1000);
    return true;
}

void work_event(struct sim *s, struct server *n, unsigned worker) {
    struct work *w = work_of(s, n->index, worker);
    uint64_t now_us = (uint64_t)s->now.mono * 1000;
    w->is_due = false;
    measure(s, n, worker);
    enum work_turn turn = w->count[WORK_FIRST] ? WORK_FIRST : WORK_NEXT;
    if (!w->count[turn]) return;
    struct work_item item = w->items[turn][w->head[turn]];
    w->head[turn] = (w->head[turn] + 1) % WORK_MAX;
    w->count[turn]--;
    if (turn == WORK_NEXT) w->served++;
    if (w->count[WORK_FIRST] < w->least) w->least = w->count[WORK_FIRST];
    uint64_t cost = cost_us(s, packet_slice(item.packet));
    if (w->free_at_us < (mono_t)now_us) w->free_at_us = (mono_t)now_us;
    w->free_at_us += (mono_t)cost;
    w->busy_us += cost;
    if (s->now.mono - item.at > s->counts.longest_wait_ms)
        s->counts.longest_wait_ms = s->now.mono - item.at;
    core_waited(n->core[worker], (uint32_t)(s->now.mono - item.at));
    net_arrived(s, item.conn, item.gen, packet_slice(item.packet));
    mem_free(item.packet);
    if (n->is_up && (w->count[WORK_FIRST] || w->count[WORK_NEXT]))
        wake(s, n, worker, w->free_at_us / 1000);
}

/* The process died, or the run is over: what waited is gone. */
void work_forget(struct sim *s, unsigned node) {
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        struct work *w = work_of(s, node, i);
        for (unsigned turn = 0; turn < WORK_TURNS; turn++)
            for (; w->count[turn]; w->count[turn]--) {
                mem_free(w->items[turn][w->head[turn]].packet);
                w->head[turn] = (w->head[turn] + 1) % WORK_MAX;
            }
        *w = (struct work){ .measured_at = s->now.mono };
    }
}
