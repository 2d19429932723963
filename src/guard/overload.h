/* guard/overload.h - how much new work may a worker take on? RFC 7339 and 7415, the server's side.
 *
 * Purpose:  whoever drives a worker tells what it measured (overload_measure): how much processor
 *           time it used, was left with nothing to do and was denied, how many idle flows came with
 *           something and how many of them were read in time. Out comes the share of new work that
 *           is taken on: `accept`, 1 while nothing is wrong. Clients that take part (";oc" in their
 *           Via) are told by how much to send less; new requests of the others are refused at
 *           random, before anything is looked up for them.
 * Order:    what belongs to a call that is up is always taken (BYE, re-INVITE, ACK, CANCEL and all
 *           responses); registrations long after new calls are not; new calls, and whatever else
 *           begins something, are what is shed. RFC 7200 5.3.2 draws the same line: load is
 *           controlled at requests that begin something, never at what they lead to.
 * Control:  once a second, because what is taken now still costs in the next one: when idle flows
 *           came and were not read, the share is cut to what was read of all that would have come;
 *           when time was to spare, it grows by as much as there was, else a little. What was left
 *           over from a flood counts neither way: nobody waits for it. What clients are told of it
 *           follows.
 * Capacity: a worker in a container has a quota, on a shared machine it has neighbours: a second in
 *           which it slept for 0.7 s may have held no more than the quota. So time to spare is what
 *           was not used of the processor time that a second has, and that is learnt from seconds
 *           in which the worker wanted more than it was given.
 * Waiting:  under overload an idle flow waits before it is read (os/loop.h), which sheds load at no
 *           cost. So a request that has waited its turn on an idle flow is taken, unless it waited
 *           for so long that its caller has given up.
 * Lifetime: a value, zeroed by overload_init. One per worker, on the worker's thread.
 *
 *   overload_measure(&o, &m, now);                      10 times a second
 *   if (!overload_admit(&o, &ask)) ... 503              per request
 *   overload_put(&o, OVERLOAD_LOSS, &via);              per response to a client that takes part */
#ifndef GUARD_OVERLOAD_H
#define GUARD_OVERLOAD_H

#include "base/buf.h"
#include "base/clock.h"

#define OVERLOAD_STEP_MS     100  /* how often to measure */
#define OVERLOAD_VALIDITY_MS 2000 /* of what clients are told (RFC 7339 4.3) */
#define OVERLOAD_STALE_MS    2000 /* a new call that waited longer is refused */
#define OVERLOAD_ONE         65536u
#define OVERLOAD_TEXT_MAX    96

struct overload_measure {
    uint32_t ms;        /* since the last one */
    uint64_t used_us;   /* processor time that traffic took */
    uint64_t idle_us;   /* slept, or spent on new connections, or on who waited too long */
    uint64_t denied_us; /* could have run, but others did, or the quota was used up */
    uint32_t arrived;   /* idle flows that had something to say */
    uint32_t served;    /* those that were heard before OVERLOAD_STALE_MS */
    bool is_unread;     /* whoever goes first had more to say than was read, all the time */
};

enum overload_class {
    OVERLOAD_KEEP,    /* belongs to something that is up, or ends it */
    OVERLOAD_REFRESH, /* REGISTER */
    OVERLOAD_NEW      /* begins something */
};
enum overload_algorithm { OVERLOAD_NONE, OVERLOAD_LOSS, OVERLOAD_RATE };

struct overload_ask {
    enum overload_class kind;
    enum overload_algorithm takes_part; /* the client sheds by what we tell it */
    bool has_waited;                    /* came on an idle flow, which had to wait its turn */
    uint32_t waited_ms;
    uint32_t random; /* 32 fresh bits */
};

struct overload_heard {
    uint32_t fresh, others; /* requests that begin something; that belong to it */
    uint32_t idle;          /* of the fresh: came on flows that wait their turn */
};
struct overload {
    uint32_t accept; /* share of new work taken on, of OVERLOAD_ONE: the same for a whole second */
    uint32_t second; /* number of this second: for counting clients once */
    struct overload_measure sum;     /* what was measured in it */
    uint32_t served_before;          /* in the second before it */
    uint64_t capacity;               /* us of the processor that a second has for this worker */
    struct overload_heard asked[3];  /* by algorithm: in this second */
    struct overload_heard wanted[3]; /* what clients would send, a second, were they free */
    bool has_cut;                    /* in the last second: it takes a while until that is seen */
    uint32_t grown;                  /* seconds in a row in which it grew */
    uint32_t clients, clients_last;  /* RATE: those heard */
    uint32_t used_up; /* seconds in a row in which those who go first wanted more than there is */
    uint32_t loss, rate; /* what clients are told: percent, requests a second */
    int32_t loss_owed;   /* hundredths of a percent that rounding has kept back so far */
    bool is_told;        /* it is in force */
    wall_t told_at;      /* when it changed last: oc-seq */
    uint64_t shed;       /* requests refused so far */
};

void overload_init(struct overload *o, struct now now);
void overload_measure(struct overload *o, const struct overload_measure *m, struct now now);
bool overload_is_active(const struct overload *o);
/* May this request be worked on? false: 503. Counts it. */
bool overload_admit(struct overload *o, const struct overload_ask *ask);

/* The algorithm for a client by the value of its oc-algo (empty: there was none): the first of its
 * list that we know. The same list gives the same answer, so it never changes for a client (RFC
 * 7339 5.8). NONE: the list holds nothing we know. */
enum overload_algorithm overload_algorithm(slice oc_algo);
/* A client that takes part by rate was heard; *seen is its own, zero at first. */
void overload_heard(struct overload *o, uint32_t *seen);
/* The parameters for the client's Via, with their semicolons (RFC 7339 4, RFC 7415 3.2). */
void overload_put(const struct overload *o, enum overload_algorithm algorithm, struct buf *out);

#endif
