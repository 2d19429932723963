/* tests/sim/plan.h - chance, and what one seed is about. All of a run follows from its seed. */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "base/defs.h"

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
    unsigned cost_us; /* of an answer passed on; an INVITE takes six times as long; 0: nothing */
    unsigned dns_fails, bad_cert; /* bad_cert: number + 1 of the node whose certificate is none */
    uint32_t timer_c_s, nonce_life_s, flow_idle_s;
    bool is_sha512, is_named;
    /* phones */
    unsigned udp, tcp, certificate, instance, off;
    unsigned unkeyed, late_offer, sdes, early_media, reliable, update;
    unsigned outbound, second_flow, q, wishes;
    unsigned no_answer, refuse, impatient, reinvite, restart, breadth;
    uint32_t expires_s;
};
void plan_draw(struct plan *p, struct dice *d);
void plan_print(const struct plan *p);

#endif
