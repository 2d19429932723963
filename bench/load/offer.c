/* load/offer.c - an open load: so many calls a second, whatever the server makes of them.
 *
 * Every attempt that was due counts as offered. It is `shed` when the peer's own control held it
 * back (RFC 7339 7.2, only with `control 1`), `blocked` when no pair of phones was free, else its
 * INVITE goes out on an open connection. Then it is `refused` (any final answer but 200),
 * `given_up` (no answer within the caller's patience: CANCEL), `broken` (a connection ended), or
 * answered; answered calls last `hold` ms and are completed by the 200 to their BYE. Counted in the
 * second in which it happened; but `served` counts an answered call in the second of its attempt.
 * Long waits for the BYE's answer are what "finishes calls that are up" is judged by; a BYE that
 * has none when the job ends counts among them. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define SECONDS_MAX 300
#define PHASES_MAX  32
#define BYE_LATE_NS 1000000000ULL
#define MIX_NS      5000000000ULL /* RFC 7339 7.2: the mix is sampled every 5 to 10 seconds */

struct second {
    uint32_t offered, shed, blocked, sent, refused, given_up, answered, completed, late, served;
    uint64_t answer_ns; /* sum, of those answered */
};

/* Calls in the order in which their time comes: all wait equally long. */
struct line {
    struct call *oldest, *newest;
};

static struct offer {
    struct second seconds[SECONDS_MAX];
    struct line ringing, talking;
    uint64_t begun_ns, bye_worst_ns, lag_worst_ns;
    uint32_t second, byes, byes_late, byes_lost, open;
    /* the peer's control */
    uint32_t loss;
    uint64_t loss_until_ns;
    uint32_t new_asked, asked;   /* since mix_ns */
    uint32_t new_before, before; /* in the sample before that; 0: there was none */
    uint64_t mix_ns, draw;
} offer;

static struct second *second_of(uint64_t ns) {
    uint64_t s = (ns - offer.begun_ns) / 1000000000ULL;
    return &offer.seconds[s < SECONDS_MAX ? s : SECONDS_MAX - 1];
}

static struct second *now_second(void) {
    return second_of(clock_ns());
}

static void line_join(struct line *line, struct call *c) {
    c->newer = NULL;
    c->older = line->newest;
    if (line->newest)
        line->newest->newer = c;
    else
        line->oldest = c;
    line->newest = c;
}

static void line_leave(struct line *line, struct call *c) {
    if (c->older)
        c->older->newer = c->newer;
    else if (line->oldest == c)
        line->oldest = c->newer;
    if (c->newer)
        c->newer->older = c->older;
    else if (line->newest == c)
        line->newest = c->older;
    c->older = c->newer = NULL;
}

void offer_leave(struct call *c) {
    if (!offer.begun_ns) return;
    offer.open--;
    line_leave(&offer.ringing, c);
    line_leave(&offer.talking, c);
}

/* ---- the peer's control: RFC 7339 7.2 ---- */

/* What the percentage of new requests follows from. Sampled too often, the mix of one second, which
 * held a burst, makes the next one empty, and so on. Until the first sample is whole: what there is
 * of it. */
static void asked(bool is_new) {
    uint64_t now = clock_ns();
    if (now - offer.mix_ns > MIX_NS) {
        offer.new_before = offer.new_asked;
        offer.before = offer.asked;
        offer.new_asked = offer.asked = 0;
        offer.mix_ns = now;
    }
    offer.asked++;
    if (is_new) offer.new_asked++;
}

static double new_share(void) {
    return offer.new_before ? (double)offer.new_before / offer.before
                            : (double)offer.new_asked / offer.asked;
}

/* ---- what becomes of a call ---- */

static void over(struct load *l, struct call *c) {
    uint32_t pair = (uint32_t)(c->caller - l->phones) / 2;
    call_free(c);
    job_ready(l, pair);
}

static void hear_control(struct load *l, struct span msg) {
    struct span via = sip_header(msg, H_VIA);
    struct span oc = sip_param(via, "oc"), validity = sip_param(via, "oc-validity");
    if (!l->takes_part || !oc.n) return;
    uint64_t ms = validity.n ? strtoull(validity.p, NULL, 10) : 500;
    offer.loss = (uint32_t)strtoul(oc.p, NULL, 10);
    offer.loss_until_ns = ms ? clock_ns() + ms * 1000000ULL : 0;
}

bool offer_response(struct load *l, struct phone *p, struct span msg) {
    struct call *c = p->call;
    unsigned status = sip_status(msg);
    struct span cseq = sip_header(msg, H_CSEQ);
    hear_control(l, msg);
    if (cseq.n >= 6 && memcmp(cseq.p + cseq.n - 6, "CANCEL", 6) == 0) return true;
    if (status < 300 || c->step > CALL_RINGING) return false;
    if (!c->given_up) now_second()->refused++;
    if (call_refused(l, c, msg)) over(l, c);
    return true;
}

void offer_answered(struct load *l, struct call *c) {
    (void)l;
    struct second *s = now_second();
    line_leave(&offer.ringing, c);
    if (c->given_up) {
        s->late++;
    } else {
        s->answered++;
        second_of(c->at_ns)->served++;
        s->answer_ns += clock_ns() - c->at_ns;
    }
}

void offer_up(struct load *l, struct call *c) {
    (void)l;
    asked(false); /* its ACK */
    c->at_ns = clock_ns();
    line_join(&offer.talking, c);
}

static void bye_over(const struct call *c, bool is_answered) {
    uint64_t took = clock_ns() - c->at_ns;
    if (took > offer.bye_worst_ns) offer.bye_worst_ns = took;
    if (!is_answered) offer.byes_lost++;
    if (!is_answered || took > BYE_LATE_NS) offer.byes_late++;
    offer.byes++;
}

void offer_done(struct load *l, struct call *c) {
    bye_over(c, true);
    if (!c->given_up) now_second()->completed++;
    over(l, c);
}

/* ---- offering ---- */

/* RFC 7339 7.2: the loss is of all requests, and taken from the new ones. */
static bool held_back(void) {
    uint64_t now = clock_ns();
    asked(true);
    if (now >= offer.loss_until_ns) return false;
    offer.draw = offer.draw * 6364136223846793005ULL + 1442695040888963407ULL;
    double percent = (double)(offer.draw >> 33) / (double)(1ULL << 31) * 100;
    return percent < offer.loss / new_share();
}

static void attempt(struct load *l) {
    struct second *s = now_second();
    uint32_t pair;
    s->offered++;
    if (held_back()) {
        s->shed++;
    } else if (!job_take(l, &pair)) {
        s->blocked++;
    } else {
        s->sent++;
        offer.open++;
        if (!call_start(l, pair)) return;
        struct call *c = l->phones[2 * pair].call;
        c->at_ns = clock_ns();
        line_join(&offer.ringing, c);
    }
}

static void clocks(struct load *l) {
    uint64_t now = clock_ns();
    for (struct call *c; (c = offer.ringing.oldest) != NULL;) {
        if (now - c->at_ns < l->patience_ms * 1000000ULL) break;
        line_leave(&offer.ringing, c);
        now_second()->given_up++;
        asked(false);
        (void)call_cancel(l, c);
    }
    for (struct call *c; (c = offer.talking.oldest) != NULL;) {
        if (now - c->at_ns < l->hold_ms * 1000000ULL) break;
        line_leave(&offer.talking, c);
        asked(false);
        (void)call_bye(l, c);
    }
}

static void phase(struct load *l, double rate, double seconds) {
    uint64_t begun = clock_ns();
    uint32_t made = 0;
    for (;;) {
        uint64_t now = clock_ns();
        double at = (double)(now - begun) * 1e-9;
        if (at >= seconds) return;
        for (; (double)made < at * rate; made++) attempt(l);
        clocks(l);
        job_events(l, 1);
        uint64_t took = clock_ns() - now;
        if (took > offer.lag_worst_ns) offer.lag_worst_ns = took;
    }
}

static double own_cpu_s(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

#define EACH_COUNT(X)                                                                              \
    X(offered)                                                                                     \
    X(shed) X(blocked) X(sent) X(refused) X(given_up) X(answered) X(completed) X(late) X(served)

static void report(const struct load *l, bool as_json, uint32_t seconds, double cpu) {
    if (as_json) {
        printf("{\"job\":\"offer\",\"ok\":true");
#define PRINT_COUNT(name)                                                                          \
    printf(",\"" #name "\":[");                                                                    \
    for (uint32_t i = 0; i < seconds; i++) printf(i ? ",%u" : "%u", offer.seconds[i].name);        \
    printf("]");
        EACH_COUNT(PRINT_COUNT)
#undef PRINT_COUNT
        printf(",\"answer_ms\":[");
        for (uint32_t i = 0; i < seconds; i++) {
            const struct second *s = &offer.seconds[i];
            printf("%s%.1f", i ? "," : "",
                   s->answered ? (double)s->answer_ns * 1e-6 / s->answered : 0.0);
        }
        printf("],\"byes\":%u,\"byes_late\":%u,\"byes_lost\":%u,\"bye_worst_ms\":%.1f,"
               "\"broken\":%u,\"own_cpu\":%.3f,\"own_lag_ms\":%.1f}\n",
               offer.byes, offer.byes_late, offer.byes_lost, (double)offer.bye_worst_ns * 1e-6,
               l->job.failed, cpu, (double)offer.lag_worst_ns * 1e-6);
    } else {
        for (uint32_t i = 0; i < seconds; i++) {
            const struct second *s = &offer.seconds[i];
            printf("%3u s: %6u offered %6u shed %5u blocked %6u sent %6u refused %5u given up %5u "
                   "answered in %7.1f ms %5u completed\n",
                   i, s->offered, s->shed, s->blocked, s->sent, s->refused, s->given_up,
                   s->answered, s->answered ? (double)s->answer_ns * 1e-6 / s->answered : 0.0,
                   s->completed);
        }
        printf("%u BYEs, %u took more than 1 s, the worst %.1f ms, %u were never answered; %u "
               "connections broke; the generator used %.2f of a core, its worst turn %.1f ms\n",
               offer.byes, offer.byes_late, (double)offer.bye_worst_ns * 1e-6, offer.byes_lost,
               l->job.failed, cpu, (double)offer.lag_worst_ns * 1e-6);
    }
    fflush(stdout);
}

bool offer_run(struct load *l, const char *phases, bool as_json) {
    if (!job_prepare(l, JOB_OFFER, 0)) {
        fprintf(stderr, "bench_load: open some phones first\n");
        return false;
    }
    memset(&offer, 0, sizeof offer);
    offer.begun_ns = offer.mix_ns = clock_ns();
    offer.draw = offer.begun_ns;
    double cpu_s = own_cpu_s(), total = 0;
    for (const char *at = phases; *at;) {
        char *end;
        double rate = strtod(at, &end);
        if (*end != ':') return false;
        double seconds = strtod(end + 1, &end);
        if (*end != ',' && *end) return false;
        total += seconds;
        phase(l, rate, seconds);
        at = *end ? end + 1 : end;
    }
    double cpu = (own_cpu_s() - cpu_s) / ((double)(clock_ns() - offer.begun_ns) * 1e-9);
    /* What is still open ends before it is told, and before the next job. */
    uint64_t until = clock_ns() + (l->patience_ms + l->hold_ms + 10000) * 1000000ULL;
    while (offer.open && clock_ns() < until) {
        clocks(l);
        job_events(l, 1);
    }
    for (uint32_t i = 0; i < l->phone_count; i++) { /* the answers to those who gave up, too */
        struct call *c = l->phones[i].call;
        if (c && c->step >= CALL_BYE) bye_over(c, false);
        if (c) call_free(c);
    }
    report(l, as_json, total < SECONDS_MAX ? (uint32_t)total : SECONDS_MAX, cpu);
    offer.begun_ns = 0;
    l->job.kind = JOB_CALL;
    return true;
}
