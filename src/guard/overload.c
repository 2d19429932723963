#include "guard/overload.h"

#include "base/scan.h"

#define ONE           OVERLOAD_ONE
#define STEPS_MAX     50         /* a longer sleep says no more */
#define ACCEPT_MIN    (ONE / 64) /* never nothing: else nobody would see that it is over */
#define REFRESH_BELOW (ONE / 8)  /* registrations are shed only when new calls nearly all are */
#define SPARE_MIN     30         /* thousandths of the time; less means that all of it was used */
#define SPARE_MUCH    200
#define USED_UP_STEPS 5
#define SECOND_MS     1000

void overload_init(struct overload *o, struct now now) {
    *o =
        (struct overload){ .accept = ONE, .second = 1, .second_at = now.mono, .told_at = now.wall };
}

bool overload_is_active(const struct overload *o) {
    return o->accept < ONE;
}

static uint32_t scaled(uint32_t share, uint64_t part, uint64_t whole) {
    uint64_t r = share * part / whole;
    return r > ONE ? ONE : (uint32_t)r;
}

/* Less: by what could not be served, but not all at once, and at least a little. */
static uint32_t accept_less(uint32_t accept, uint64_t served, uint64_t arrived) {
    /* Nobody new came while others waited: no share to tell of. */
    if (served * 100 > arrived * 95 || arrived == 0) {
        served = 95;
        arrived = 100;
    } else if (served * 10 < arrived * 8) {
        served = 8;
        arrived = 10;
    }
    uint32_t less = scaled(accept, served, arrived);
    return less < ACCEPT_MIN ? ACCEPT_MIN : less;
}

/* More: where little time is spare in small steps, to stay near the best; where there is much an
 * eighth in each step, so that from the least it is whole again after some 3 s. */
static uint32_t accept_more(uint32_t accept, const struct overload_measure *m) {
    bool is_much = m->spare_us > (uint64_t)m->ms * SPARE_MUCH;
    uint32_t steps = m->ms / OVERLOAD_STEP_MS;
    for (uint32_t i = 0; i < steps && i < STEPS_MAX && accept < ONE; i++)
        accept = scaled(accept + ONE / 256, is_much ? 9 : 33, is_much ? 8 : 32);
    return accept;
}

static void next_second(struct overload *o, struct now now) {
    uint64_t ms = (uint64_t)(now.mono - o->second_at);
    if (ms < SECOND_MS) return;
    o->new_ps = (uint32_t)(o->asked_new * UINT64_C(1000) / ms);
    o->all_ps = (uint32_t)(o->asked_all * UINT64_C(1000) / ms);
    o->clients_ps = o->clients;
    o->asked_new = o->asked_all = o->clients = 0;
    o->second++;
    o->second_at = now.mono;
}

void overload_measure(struct overload *o, const struct overload_measure *m, struct now now) {
    bool is_used_up = m->spare_us < (uint64_t)m->ms * SPARE_MIN;
    o->used_up = is_used_up ? o->used_up + 1 : 0;
    /* All time used and nobody waiting is where we want to be, unless it is so for long: then those
     * in calls, whose bytes do not stand in a queue of ours, want more than there is. */
    if (m->standing)
        o->accept = accept_less(o->accept, m->served, m->arrived);
    else if (o->used_up > USED_UP_STEPS)
        o->accept = accept_less(o->accept, 1, 1);
    else if (!is_used_up)
        o->accept = accept_more(o->accept, m);
    next_second(o, now);
    uint32_t tell = o->accept == ONE ? 0 : o->accept;
    if (tell == o->told) return;
    o->told = tell;
    /* RFC 7339 4.4: of two values the later one has the higher number. */
    o->told_at = now.wall > o->told_at ? now.wall : o->told_at + 1;
}

bool overload_admit(struct overload *o, const struct overload_ask *ask) {
    uint32_t share = o->accept, draw = ask->random % ONE;
    bool is_taken = true;
    o->asked_all++;
    if (ask->kind == OVERLOAD_NEW) {
        o->asked_new++;
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

/* RFC 7339 5.3, 7.2: the percentage is of all requests a client would send, but only new ones are
 * to go. What we hear of those is what is left of them. */
static uint32_t loss_percent(const struct overload *o) {
    uint64_t heard = o->new_ps ? o->new_ps : 1;
    uint64_t wanted = heard * ONE / o->accept;
    uint64_t others = o->all_ps > o->new_ps ? o->all_ps - o->new_ps : 0;
    return (uint32_t)((wanted - heard) * 100 / (wanted + others));
}

/* RFC 7415 3.4: what is served now, in equal parts. */
static uint32_t rate_of_one(const struct overload *o) {
    uint32_t clients = o->clients_ps > o->clients ? o->clients_ps : o->clients;
    uint32_t rate = o->all_ps / (clients ? clients : 1);
    return rate ? rate : 1;
}

void overload_put(const struct overload *o, enum overload_algorithm algorithm, struct buf *out) {
    if (algorithm == OVERLOAD_NONE) return;
    bool is_active = overload_is_active(o);
    uint32_t value = 0;
    if (is_active) value = algorithm == OVERLOAD_RATE ? rate_of_one(o) : loss_percent(o);
    /* RFC 7339 5.1, 5.7: validity 0 says that there is no control now. */
    buf_fmt(out, ";oc=%u;oc-algo=\"%s\";oc-validity=%u;oc-seq=%lld.%03u", value,
            algorithm == OVERLOAD_RATE ? "rate" : "loss", is_active ? OVERLOAD_VALIDITY_MS : 0,
            (long long)(o->told_at / 1000), (unsigned)(o->told_at % 1000));
}
