#include "guard/overload.h"

#include "base/scan.h"
#include <string.h>

#define ONE           OVERLOAD_ONE
#define SECOND_MS     1000
#define STEPS_MAX     8          /* a longer sleep says no more */
#define ACCEPT_MIN    (ONE / 64) /* never nothing: else nobody would see that it is over */
#define REFRESH_BELOW (ONE / 8)  /* registrations are shed only when new calls nearly all are */
#define SPARE_MIN     30         /* thousandths of capacity; less means that all of it was used */
#define SPARE_MUCH    150
#define SECOND_US     1000000u
#define CAPACITY_MIN  1000u
#define DENIED_PART   32 /* of the time: less is no news on a machine that others use too */
#define LEFT_PART     8  /* so many of those who came may wait on, and never less than */
#define LEFT_FEW      8
#define GROWN_MAX     3 /* 2, 4, 8: from the least it is whole again after 3 s */

void overload_init(struct overload *o, struct now now) {
    *o = (struct overload){ .accept = ONE,
                            .second = 1,
                            .sum = { .is_unread = true },
                            .told_at = now.wall,
                            .capacity = SECOND_US };
}

bool overload_is_active(const struct overload *o) {
    return o->accept < ONE;
}

static uint32_t scaled(uint32_t share, uint64_t part, uint64_t whole) {
    uint64_t r = share * part / whole;
    return r > ONE ? ONE : r < ACCEPT_MIN ? ACCEPT_MIN : (uint32_t)r;
}

static uint32_t served_in_time(const struct overload_measure *m) {
    return m->served < m->arrived ? m->served : m->arrived;
}

/* Of all that would have come what was read. Clients that take part have held back some of theirs;
 * what they sent was read as seldom as what the others sent. A call costs most in the second after
 * its first request, so one second with many new calls makes one with few, and neither is what can
 * be borne. */
static uint32_t accept_less(const struct overload *o) {
    const struct overload_measure *m = &o->sum;
    uint64_t held_back = 0, served = served_in_time(m);
    for (unsigned i = OVERLOAD_LOSS; i < ARRAY_LEN(o->asked); i++)
        held_back += o->asked[i].idle * (uint64_t)(ONE - o->accept) / o->accept;
    if (served) held_back = held_back * m->arrived / served;
    uint64_t borne = o->served_before > served ? (o->served_before + served) / 2 : served;
    return scaled(ONE, borne, m->arrived + held_back);
}

/* While the worker is denied the processor and has hardly anything else to do, what it gets is what
 * there is. While it is not, there may be more than was thought. */
static void learn_capacity(struct overload *o) {
    const struct overload_measure *m = &o->sum;
    uint64_t used = m->used_us * SECOND_MS / m->ms, idle = m->idle_us * SECOND_MS / m->ms;
    bool is_denied = m->denied_us * DENIED_PART > m->ms * UINT64_C(1000);
    if (!is_denied)
        o->capacity += o->capacity / 16;
    else if (idle < used) /* a quarter more or less is noise, less than half is another quota */
        o->capacity =
            2 * (used + idle) < o->capacity ? used + idle : (3 * o->capacity + used + idle) / 4;
    if (o->capacity < used) o->capacity = used;
    if (o->capacity < CAPACITY_MIN) o->capacity = CAPACITY_MIN;
    if (o->capacity > SECOND_US) o->capacity = SECOND_US;
}

/* Of the capacity of so much time, what was used. */
static uint64_t used_of(const struct overload *o, uint64_t capacity) {
    const struct overload_measure *m = &o->sum;
    uint64_t left = m->used_us < capacity ? capacity - m->used_us : 0;
    return capacity - (m->idle_us < left ? m->idle_us : left);
}

static uint64_t capacity_now(const struct overload *o) {
    return o->capacity * o->sum.ms / SECOND_MS;
}

/* By as much as there was time to spare, for new work costs later, too. Where much stays to spare
 * it was not this share that kept the others away: then 4 and 8 times. */
static uint32_t accept_more(struct overload *o) {
    const struct overload_measure *m = &o->sum;
    uint64_t all = capacity_now(o), used = used_of(o, all), aim = all * (1000 - SPARE_MIN) / 1000;
    bool is_much = (all - used) * 1000 > all * SPARE_MUCH;
    uint32_t accept = o->accept;
    for (uint32_t i = 0; i < m->ms / SECOND_MS && i < STEPS_MAX; i++) {
        if (!is_much)
            o->grown = 1;
        else if (o->grown < GROWN_MAX)
            o->grown++;
        uint64_t least = aim >> o->grown;
        if (used < least || (is_much && o->grown > 1)) used = least;
        accept = used < aim ? scaled(accept + ONE / 256, aim, used)
                            : scaled(accept, 33, 32); /* there may be more than meets the eye */
    }
    return accept;
}

/* Who goes first does not stand in a queue of ours, but his bytes stay unread. One second of that
 * is no news. */
static uint32_t accept_next(struct overload *o) {
    const struct overload_measure *m = &o->sum;
    uint32_t left = m->arrived - served_in_time(m);
    bool is_behind = (uint64_t)left * LEFT_PART > m->arrived && left > LEFT_FEW;
    bool is_cut = is_behind && !o->has_cut;
    uint64_t all = capacity_now(o);
    bool is_used_up = m->is_unread && (all - used_of(o, all)) * 1000 < all * SPARE_MIN;
    o->used_up = is_used_up ? o->used_up + 1 : 0;
    o->has_cut = is_cut;
    if (!is_behind && !o->used_up) return accept_more(o);
    o->grown = 0;
    if (is_cut) return accept_less(o);
    return o->used_up > 1 ? scaled(o->accept, 85, 100) : o->accept;
}

/* Of what a client would send, there came what the share of this second has left; and of that we
 * have heard what was read of it. Seconds differ, and clients look at the mix of 5 to 10 of them
 * (RFC 7339 7.2): while control goes on, a mean that is as slow. */
static uint32_t mean(uint32_t before, uint64_t now, bool is_first) {
    if (now > UINT32_MAX) now = UINT32_MAX;
    if (is_first) return (uint32_t)now;
    int64_t off = (int64_t)now - before;
    return (uint32_t)(before + (off + (off > 0 ? 7 : off < 0 ? -7 : 0)) / 8); /* gets there */
}

static void learn_wanted(struct overload *o) {
    const struct overload_measure *m = &o->sum;
    bool is_first = !overload_is_active(o);
    uint64_t served = served_in_time(m);
    for (unsigned i = 0; i < ARRAY_LEN(o->asked); i++) {
        uint64_t fresh = o->asked[i].fresh * UINT64_C(1000) / m->ms * ONE / o->accept;
        if (served) fresh = fresh * m->arrived / served;
        uint64_t others = o->asked[i].others * UINT64_C(1000) / m->ms;
        o->wanted[i].fresh = mean(o->wanted[i].fresh, fresh, is_first);
        o->wanted[i].others = mean(o->wanted[i].others, others, is_first);
    }
}

static void next_second(struct overload *o) {
    learn_wanted(o);
    learn_capacity(o);
    o->accept = accept_next(o);
    o->served_before = served_in_time(&o->sum);
    memset(o->asked, 0, sizeof o->asked);
    o->clients_last = o->clients;
    o->clients = 0;
    o->sum = (struct overload_measure){ .is_unread = true };
    o->second++;
}

/* RFC 7339 5.3, 7.2: the percentage is of all requests a client would send, but only new ones are
 * to go. In hundredths: at ten times the load one percent of all is a tenth of what is to come. */
static uint32_t loss_exact(const struct overload *o) {
    const struct overload_heard *w = &o->wanted[OVERLOAD_LOSS];
    uint64_t fresh = w->fresh ? w->fresh : 1;
    return (uint32_t)(fresh * (ONE - o->accept) * 10000 / ONE / (fresh + w->others));
}

/* RFC 7415 3.4: what can be served now, in equal parts. */
static uint32_t rate_of_one(const struct overload *o) {
    const struct overload_heard *w = &o->wanted[OVERLOAD_RATE];
    uint32_t clients = o->clients_last > o->clients ? o->clients_last : o->clients;
    uint64_t all = w->others + (uint64_t)w->fresh * o->accept / ONE;
    uint64_t rate = all / (clients ? clients : 1);
    return rate ? (uint32_t)rate : 1;
}

/* What clients are told from now on. A percentage is whole: what rounding takes from one is given
 * to the next, so that their mean over a second is the exact one. */
static void tell(struct overload *o, struct now now) {
    uint32_t loss = 0, rate = 0;
    if (overload_is_active(o)) {
        int32_t exact = (int32_t)loss_exact(o) + o->loss_owed;
        loss = exact < 50 ? 0 : ((uint32_t)exact + 50) / 100;
        if (loss > 100) loss = 100;
        o->loss_owed = exact - (int32_t)(loss * 100);
        rate = rate_of_one(o);
    }
    if (loss == o->loss && rate == o->rate && overload_is_active(o) == o->is_told) return;
    o->loss = loss;
    o->rate = rate;
    o->is_told = overload_is_active(o);
    /* RFC 7339 4.4: of two values the later one has the higher number. */
    o->told_at = now.wall > o->told_at ? now.wall : o->told_at + 1;
}

void overload_measure(struct overload *o, const struct overload_measure *m, struct now now) {
    o->sum.ms += m->ms;
    o->sum.used_us += m->used_us;
    o->sum.idle_us += m->idle_us;
    o->sum.denied_us += m->denied_us;
    o->sum.arrived += m->arrived;
    o->sum.served += m->served;
    o->sum.is_unread &= m->is_unread;
    if (o->sum.ms >= SECOND_MS) next_second(o);
    tell(o, now);
}

bool overload_admit(struct overload *o, const struct overload_ask *ask) {
    uint32_t share = o->accept, draw = ask->random % ONE;
    bool is_taken = true;
    if (ask->kind != OVERLOAD_NEW) o->asked[ask->takes_part].others++;
    if (ask->kind == OVERLOAD_NEW) {
        o->asked[ask->takes_part].fresh++;
        if (ask->has_waited && ask->waited_ms < OVERLOAD_STALE_MS) o->asked[ask->takes_part].idle++;
        if (ask->waited_ms >= OVERLOAD_STALE_MS)
            is_taken = false;
        else if (ask->takes_part == OVERLOAD_NONE && !ask->has_waited)
            is_taken = draw < share;
    } else if (ask->kind == OVERLOAD_REFRESH && !ask->has_waited && share < REFRESH_BELOW) {
        is_taken = draw < share * (ONE / REFRESH_BELOW);
    }
    if (!is_taken) o->shed++;
    return is_taken;
}

enum overload_algorithm overload_algorithm(slice oc_algo) {
    slice list = oc_algo, one;
    if (!list.len) return OVERLOAD_LOSS; /* RFC 7339 4.2: the default */
    if (list.len >= 2 && list.ptr[0] == '"') list = slice_of(list.ptr + 1, list.len - 2);
    while (slice_split(&list, ',', &one)) {
        one = slice_trim(one);
        if (slice_ieq(one, SLICE("loss"))) return OVERLOAD_LOSS;
        if (slice_ieq(one, SLICE("rate"))) return OVERLOAD_RATE;
    }
    return OVERLOAD_NONE;
}

void overload_heard(struct overload *o, uint32_t *seen) {
    if (*seen == o->second) return;
    *seen = o->second;
    o->clients++;
}

void overload_put(const struct overload *o, enum overload_algorithm algorithm, struct buf *out) {
    if (algorithm == OVERLOAD_NONE) return;
    /* RFC 7339 5.1, 5.7: validity 0 says that there is no control now. */
    buf_fmt(out, ";oc=%u;oc-algo=\"%s\";oc-validity=%u;oc-seq=%lld.%03u",
            algorithm == OVERLOAD_RATE ? o->rate : o->loss,
            algorithm == OVERLOAD_RATE ? "rate" : "loss", o->is_told ? OVERLOAD_VALIDITY_MS : 0,
            (long long)(o->told_at / 1000), (unsigned)(o->told_at % 1000));
}
