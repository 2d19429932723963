/* check/run.h - one run of the tester: the target, what is allowed, and who does what when.
 *
 * Threads: the table of jobs, the accounts and the pacer have one lock; everything else is set
 * before the threads start. */
#ifndef CHECK_RUN_H
#define CHECK_RUN_H

#include "check/test.h"
#include <pthread.h>

#define RUN_ACCOUNTS_MAX 512u
#define RUN_TESTS_MAX    1024u
#define RUN_JOBS_MAX     64u

struct ssl_ctx_st;
struct phone; /* check/phone.h; only for the role phone */
struct gate;  /* check/gate.h; only for a PBX in static mode */
struct target {
    char given[300], host[256], domain[256], name[256]; /* name: what its certificate must say */
    struct addr at[WIRE_COUNT];                         /* family NONE: it does not speak that */
    char path[128];                                     /* of its WebSocket */
    const char *origin; /* that it takes there; NULL: we tell none */
};

struct result { /* one finished test */
    const struct check_test *test;
    enum verdict verdict;
    char *line; /* its JSON, one line */
    size_t len;
};

struct run {
    struct target target;
    bool families[2];     /* answers over IPv4, IPv6 */
    struct addr other[2]; /* addresses of both families, as resolved; family NONE: none */
    struct ssl_ctx_st *tls;
    const char *ca_file, *certificate; /* certificate: ours, with its key; NULL: none */
    unsigned role;                     /* with ROLE_LISTENS when the target comes to us */
    char numbers[2][32];               /* of a PBX: "+49301234" */
    const char *conference;            /* a URI of the target; NULL: none is known */
    struct phone *phone;
    struct gate *gate;
    bool allow_writes, trust_network, quiet;
    bool public_too;     /* the user may test public addresses */
    const char *product; /* what is tested, as the user names it; NULL: not told */
    char software[128];  /* and as it names itself: Server or User-Agent; "" when it does not */
    unsigned load;       /* messages a second in a burst; 0: none may be sent */
    unsigned rate;       /* messages and connections a second */
    unsigned patience;   /* this many times longer for what must come */
    unsigned jobs;
    struct account accounts[RUN_ACCOUNTS_MAX];
    unsigned account_count;

    const struct check_test *todo[RUN_TESTS_MAX];
    bool taken[RUN_TESTS_MAX];
    unsigned running;
    unsigned todo_count;
    struct result results[RUN_TESTS_MAX];
    unsigned result_count;
    int64_t began, started_wall, took_ms;
    bool stop; /* interrupted */
    int part;  /* FILE.part, or -1 */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t next_send; /* of the pacer, in microseconds */
};

/* Waits until one more message may leave. */
void run_pace(struct run *run);
/* Runs everything in todo; results stand in the order in which they ended. */
void run_all(struct run *run);
/* May anything be sent there? Wherever the target's own messages lead us, too. */
bool run_may_reach(const struct run *run, const struct addr *a);
/* Keeps how the target names itself in this message, if it does and nothing is kept. */
void run_take_name(struct run *run, slice message);
/* Finds out what the target speaks; false and `why` when nothing answers. */
bool run_probe(struct run *run, char *why, size_t why_len);
/* Asks the target for a sign of life over the cheapest wire that it speaks. Silence proves
 * something only if the target could have spoken: what it had to do before, it has then done. */
bool run_pulse(struct run *run);
const char *verdict_name(enum verdict v); /* "pass", "fail", "not-applicable", "inconclusive" */
const char *test_id(const struct check_test *w, char mem[static 128]);

#endif
