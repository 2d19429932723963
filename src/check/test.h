/* check/test.h - what a test is given: itself, its user agents, and how it says its verdict.
 *
 * A test's function runs once, on a thread of its own, and talks through blocking calls with a
 * deadline. Everything it makes (agents, messages, texts) lives until it returns; the evidence
 * lives on in the report. As soon as a verdict stands (a connection that could not be made counts),
 * every call does nothing and gives NULL, and the macros below return: so a test reads straight
 * down, without checks of its own.
 *
 *   static void unknown_version(struct test *t) {
 *       struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
 *       struct msg *r = ua_ask(a, &(struct req){ .version = "SIP/7.0" });
 *       EXPECT(t, r, "505");
 *       PASS(t, r->at);
 *   }                                                                                          */
#ifndef CHECK_TEST_H
#define CHECK_TEST_H

#include "base/addr.h"
#include "base/arena.h"
#include "check/msg.h"
#include "check/rows.h"
#include "check/ua.h"

enum verdict { VERDICT_NONE, VERDICT_PASS, VERDICT_FAIL, VERDICT_NA, VERDICT_INCONCLUSIVE };

enum check_needs {
    NEEDS_UDP = 1,      /* else not applicable */
    NEEDS_STREAM = 2,   /* TLS or TCP; else not applicable */
    NEEDS_TLS = 4,      /* else not applicable */
    NEEDS_WRITES = 8,   /* changes bindings that it did not make: --allow-writes */
    NEEDS_LOAD = 16,    /* a bounded burst: --load */
    NEEDS_WSS = 32,     /* else not applicable */
    NEEDS_BINDING = 64, /* a PBX that registers; else not applicable */
    NEEDS_STATIC = 128  /* one that does not (--static); else not applicable */
};

struct test;
struct ask;
struct check_test {
    enum row_id row;
    const char *name; /* its id is ROW/name */
    void (*run)(struct test *t);
    unsigned accounts; /* leased to it alone */
    unsigned needs;    /* enum check_needs */
    unsigned seconds;  /* it waits that long on purpose: such ones are started first */
    const struct ask *ask;
};
struct check_area { /* the tests of one file */
    unsigned role;
    const struct check_test *tests;
    const size_t *count;
};
extern const struct check_area check_areas[];
extern const size_t check_area_count;

#define ACCOUNTS_PER_TEST 3
struct account {
    char user[96], aor[192], password[128];
    bool leased;
};

#define EVENTS_MAX      400u
#define EVENT_BYTES_MAX 65536u /* what is longer is cut in the evidence */
struct event {
    int64_t ms; /* since the test began */
    char kind;  /* '>' sent, '<' received, '.' something seen */
    const char *who;
    slice bytes;
};

struct run;
struct test {
    const struct check_test *what;
    struct run *run;
    struct account *accounts[ACCOUNTS_PER_TEST];
    struct arena arena;
    struct event events[EVENTS_MAX];
    unsigned event_count;
    struct ua *agents;
    int64_t began;
    enum verdict verdict;
    char why[512];
    unsigned proof; /* the number of the event that shows it, from 1 */
};

/* ---- verdicts: the first one stands ------------------------------------------------------- */
void test_pass(struct test *t, unsigned proof); /* without such evidence: inconclusive */
PRINTF_LIKE(3, 4) void test_fail(struct test *t, unsigned proof, const char *why, ...);
PRINTF_LIKE(2, 3) void test_na(struct test *t, const char *capability, ...);
PRINTF_LIKE(2, 3) void test_unclear(struct test *t, const char *why, ...);
void test_settle(struct test *t, enum verdict v, unsigned proof, const char *why);
bool test_expect(struct test *t, const struct msg *r, const char *pattern);

#define OVER(t)                                                                                    \
    do {                                                                                           \
        if ((t)->verdict) return;                                                                  \
    } while (0)
#define PASS(t, at)                                                                                \
    do {                                                                                           \
        test_pass((t), (at));                                                                      \
        return;                                                                                    \
    } while (0)
#define FAIL(t, at, ...)                                                                           \
    do {                                                                                           \
        test_fail((t), (at), __VA_ARGS__);                                                         \
        return;                                                                                    \
    } while (0)
/* The requirement itself: false is a fail. */
#define MUST(t, at, cond, ...)                                                                     \
    do {                                                                                           \
        OVER(t);                                                                                   \
        if (!(cond)) FAIL(t, at, __VA_ARGS__);                                                     \
    } while (0)
/* What the test stands on: false is inconclusive. */
#define GIVEN(t, cond, ...)                                                                        \
    do {                                                                                           \
        OVER(t);                                                                                   \
        if (!(cond)) {                                                                             \
            test_unclear((t), __VA_ARGS__);                                                        \
            return;                                                                                \
        }                                                                                          \
    } while (0)
/* A capability: false is not applicable. */
#define CAPABLE(t, cond, ...)                                                                      \
    do {                                                                                           \
        OVER(t);                                                                                   \
        if (!(cond)) {                                                                             \
            test_na((t), __VA_ARGS__);                                                             \
            return;                                                                                \
        }                                                                                          \
    } while (0)
/* There must be an answer, and of this status ("200", "4xx|603"). */
#define EXPECT(t, r, pattern)                                                                      \
    do {                                                                                           \
        if (!test_expect((t), (r), (pattern))) return;                                             \
    } while (0)

/* ---- evidence and small things ------------------------------------------------------------ */
unsigned test_event(struct test *t, char kind, const char *who, slice bytes);
PRINTF_LIKE(2, 3) unsigned test_note(struct test *t, const char *fmt, ...); /* its number */
PRINTF_LIKE(2, 3) const char *text(struct test *t, const char *fmt, ...);   /* "" when too long */
const char *text_of(struct test *t, slice s);
int64_t test_ms(const struct test *t); /* since it began */
void test_pause(int64_t ms);
bool test_has(const struct test *t, enum wire w);
const char *test_domain(const struct test *t);
const char *test_families(const struct test *t); /* "IPv4", "IPv6", "IPv4 and IPv6", "none" */

/* ---- tests that are one request ----------------------------------------------------------- */
/* Sends `req` over `wire` and wants `expect`; "drop": no answer in 2 s, yet the target still
 * answers; with "|close" a closed connection is right too; with "|drop" silence is. */
struct ask {
    const char *expect;
    enum wire wire;
    bool registers; /* the agent registers first: needs an account */
    struct req req;
};
void ask_run(struct test *t);
#define ASK(...)                                                                                   \
    ask_run, .ask = &(const struct ask) {                                                          \
        __VA_ARGS__                                                                                \
    }

#endif
