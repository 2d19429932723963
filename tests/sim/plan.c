/* Dice and the plan of a seed: swarm testing. A run that has every fault at once hides the bugs
 * that need some of them and not the others, so most features are off in most seeds. */
#include "sim.h"

#include <stdio.h>

uint64_t dice_next(struct dice *d) { /* splitmix64 */
    uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

unsigned dice_below(struct dice *d, unsigned n) {
    uint64_t r = dice_next(d);
    return n ? (unsigned)(r % n) : 0;
}

bool dice_chance(struct dice *d, unsigned per_mille) {
    return dice_below(d, 1000) < per_mille;
}

int64_t dice_about(struct dice *d, int64_t mean) {
    unsigned span = mean < 1 ? 1 : (unsigned)mean;
    return 1 + dice_below(d, span) * (int64_t)dice_below(d, 1001) / 1000 + dice_below(d, span / 2);
}

/* On in `often` of a thousand seeds. */
static unsigned some(struct dice *d, unsigned often, unsigned low, unsigned high) {
    bool is_on = dice_chance(d, often);
    unsigned value = low + dice_below(d, high - low + 1);
    return is_on ? value : 0;
}

static int64_t sometimes(struct dice *d, unsigned often, unsigned low_s, unsigned high_s) {
    return (int64_t)some(d, often, low_s, high_s) * 1000;
}

static void draw_faults(struct plan *p, struct dice *d) {
    p->delay_ms = some(d, 700, 1, 120);
    p->jitter_ms = some(d, 500, 1, 200);
    p->drop = some(d, 500, 5, 250);
    p->repeat = some(d, 400, 5, 200);
    p->cut_ms = sometimes(d, 600, 3, 60);
    p->silent_ms = sometimes(d, 400, 10, 90);
    p->stall_ms = sometimes(d, 400, 3, 40);
    p->crash_ms = sometimes(d, 450, 20, 200);
    p->drain_ms = sometimes(d, 150, 60, 250);
    p->disk_ms = sometimes(d, 350, 20, 150);
    p->operator_ms = sometimes(d, 250, 10, 90);
    p->mail_ms = some(d, 600, 1, 30);
    p->store_ms = some(d, 800, 1, 400);
    p->refuse_mail = some(d, 200, 5, 300);
    p->dns_fails = some(d, 300, 20, 300);
    p->bad_cert = some(d, 250, 1, p->nodes);
}

static void draw_phones(struct plan *p, struct dice *d) {
    p->udp = some(d, 500, 100, 800);
    p->tcp = some(d, 300, 100, 400);
    p->certificate = some(d, 500, 100, 1000);
    p->instance = some(d, 800, 300, 1000);
    p->off = some(d, 400, 20, 200);
    p->unkeyed = some(d, 400, 20, 300);
    p->late_offer = some(d, 400, 20, 300);
    p->sdes = some(d, 400, 50, 500);
    p->early_media = some(d, 400, 50, 500);
    p->reliable = some(d, 400, 50, 500);
    p->update = some(d, 400, 50, 500);
    p->no_answer = some(d, 500, 20, 300);
    p->refuse = some(d, 700, 20, 400);
    p->impatient = some(d, 600, 20, 400);
    p->reinvite = some(d, 600, 50, 600);
    p->restart = some(d, 300, 5, 80);
    p->breadth = some(d, 300, 50, 500);
    p->expires_s = 60 + dice_below(d, 540);
    p->outbound = some(d, 600, 200, 1000);
    p->second_flow = some(d, 500, 200, 1000);
    p->q = some(d, 400, 200, 1000);
    p->wishes = some(d, 400, 100, 800);
    p->cost_us = some(d, 250, 200, 6000);
    p->nasty = some(d, 600, 1, 5);
}

void plan_draw(struct plan *p, struct dice *d) {
    *p = (struct plan){ .nodes = 1 + dice_below(d, NODES_MAX) };
    p->workers = 1 + dice_below(d, WORKERS_MAX);
    p->people = 2 + dice_below(d, 5);
    p->phones_per_person = 1 + dice_below(d, 3);
    p->active_ms = 60000 + (int64_t)dice_below(d, 540) * 1000;
    p->think_ms = 2000 + (int64_t)dice_below(d, 18) * 1000;
    p->timer_c_s = 20 + dice_below(d, 161);
    p->nonce_life_s = 5 + dice_below(d, 300);
    p->flow_idle_s = 20 + dice_below(d, 280);
    p->is_sha512 = dice_chance(d, 300);
    p->is_named = dice_chance(d, 500);
    draw_faults(p, d);
    draw_phones(p, d);
}

void plan_print(const struct plan *p) {
    printf("  %u nodes of %u workers; %u people each with up to %u phones; %u nasty ones\n",
           p->nodes, p->workers, p->people, p->phones_per_person, p->nasty);
    printf("  network: delay %u ms, jitter %u ms, drop %u, repeat %u, cut %lld s, silence %lld s, "
           "stall %lld s\n",
           p->delay_ms, p->jitter_ms, p->drop, p->repeat, (long long)p->cut_ms / 1000,
           (long long)p->silent_ms / 1000, (long long)p->stall_ms / 1000);
    printf(
        "  servers: crash %lld s, drain %lld s, disk %lld s, operator %lld s, store %lld ms, mail "
        "%lld ms, refused %u, timer C %u s, idle %u s, DNS "
        "fails %u, bad certificate %u, cost %u us\n",
        (long long)p->crash_ms / 1000, (long long)p->drain_ms / 1000, (long long)p->disk_ms / 1000,
        (long long)p->operator_ms / 1000, (long long)p->store_ms, (long long)p->mail_ms,
        p->refuse_mail, p->timer_c_s, p->flow_idle_s, p->dns_fails, p->bad_cert, p->cost_us);
    printf("  phones: udp %u, tcp %u, certificate %u, instance %u, off %u, unkeyed %u, late offer "
           "%u, sdes %u, early %u, 100rel %u, update %u, silent %u, refuse %u, impatient %u, "
           "re-INVITE %u, restart %u, breadth %u, expires %u s, outbound %u, second flow %u, q "
           "%u, wishes %u\n",
           p->udp, p->tcp, p->certificate, p->instance, p->off, p->unkeyed, p->late_offer, p->sdes,
           p->early_media, p->reliable, p->update, p->no_answer, p->refuse, p->impatient,
           p->reinvite, p->restart, p->breadth, p->expires_s, p->outbound, p->second_flow, p->q,
           p->wishes);
}
