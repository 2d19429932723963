/* A story of its own (`--circle`): everybody forwards, and always to somebody of another domain. So
 * each call that is not taken at once is on its way round the servers, and comes to rest because
 * nobody is asked twice, because Max-Forwards, Max-Breadth and the loop check end it (RFC
 * 3261 16.3, RFC 5393), and because a domain forwards nobody else's calls to a third. What is
 * counted here: how often one call crosses from server to server. */
#include "sim.h"

/* Five forwards at most, each to a domain whose servers are tried until one answers: four at most
 * (RFC 3263 4.3). More is a circle, whatever ends it later. */
#define CROSSINGS_MAX 20u

void circle_plan(struct plan *p) {
    if (p->nodes < 2) p->nodes = 2;
    p->bad_cert = p->dns_fails = 0;
    p->refuse = p->refuse < 400 ? 400 : p->refuse;
    p->no_answer = p->no_answer < 300 ? 300 : p->no_answer;
}

/* Everybody to somebody of the next node, for one reason or for all of them. */
void circle_wishes(struct sim *s, struct person *who) {
    unsigned next = (who->node + 1) % s->node_count, first = dice_below(&s->dice, 4);
    for (unsigned i = first; i < FORWARDS; i++) {
        unsigned at = dice_below(&s->dice, s->person_count);
        while (s->people[at].node != next) at = (at + 1) % s->person_count;
        person_forward(s, who, i, at);
    }
}

void circle_crossing(struct sim *s, slice bytes) {
    static struct sip_msg m;
    if (!slice_starts(bytes, SLICE("INVITE ")) ||
        sip_msg_read(&m, bytes, SIP_STREAM).err != ERR_OK || m.to.tag.len)
        return;
    const struct hash_key key = { 1, 2 };
    uint64_t hash = siphash_slice(&key, m.call_id) | 1;
    for (unsigned i = 0; i < CROSSINGS; i++) {
        struct crossing *c = &s->crossings[(hash + i) % CROSSINGS];
        if (c->call && c->call != hash) continue;
        c->call = hash;
        if (++c->count > s->counts.crossings) s->counts.crossings = c->count;
        if (c->count > CROSSINGS_MAX)
            (void)sim_fail(s, "one call went %u times from server to server:\n" SLICE_FMT, c->count,
                           SLICE_ARG(m.all));
        return;
    }
}
