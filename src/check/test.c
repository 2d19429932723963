/* check/test.c - verdicts, evidence, and tests that are one request. */
#include "check/test.h"

#include "check/link.h"
#include "check/run.h"
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

int64_t test_ms(const struct test *t) {
    return clock_ms() - t->began;
}

void test_pause(int64_t ms) {
    (void)poll(NULL, 0, (int)ms);
}

bool test_has(const struct test *t, enum wire w) {
    return t->run->target.at[w].family != ADDR_NONE;
}

const char *test_domain(const struct test *t) {
    return t->run->target.domain;
}

const char *test_families(const struct test *t) {
    static const char *const names[] = { "none", "IPv4", "IPv6", "IPv4 and IPv6" };
    return names[(t->run->families[0] ? 1 : 0) + (t->run->families[1] ? 2 : 0)];
}

/* ---- evidence ----------------------------------------------------------------------------- */

unsigned test_event(struct test *t, char kind, const char *who, slice bytes) {
    if (t->event_count == EVENTS_MAX) return EVENTS_MAX;
    slice copy;
    if (arena_copy(&t->arena, slice_head(bytes, EVENT_BYTES_MAX), &copy) != ERR_OK)
        return t->event_count;
    t->events[t->event_count++] = (struct event){ test_ms(t), kind, who, copy };
    return t->event_count;
}

PRINTF_LIKE(2, 0)
static slice vtext(struct test *t, const char *fmt, va_list args) {
    char mem[8192];
    int n = vsnprintf(mem, sizeof mem, fmt, args);
    slice copy = SLICE("");
    if (n < 0 || (size_t)n >= sizeof mem ||
        arena_copy(&t->arena, slice_of(mem, (size_t)n + 1), &copy) != ERR_OK)
        return SLICE("");
    return slice_head(copy, (size_t)n);
}

unsigned test_note(struct test *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    slice s = vtext(t, fmt, args);
    va_end(args);
    return test_event(t, '.', "tester", s);
}

const char *text(struct test *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    slice s = vtext(t, fmt, args);
    va_end(args);
    return s.ptr;
}

const char *text_of(struct test *t, slice s) {
    char *copy = arena_alloc(&t->arena, s.len + 1);
    if (!copy) return "";
    if (s.len) memcpy(copy, s.ptr, s.len);
    copy[s.len] = 0;
    return copy;
}

/* ---- verdicts ----------------------------------------------------------------------------- */

PRINTF_LIKE(4, 0)
static void settle(struct test *t, enum verdict v, unsigned proof, const char *fmt, va_list args) {
    if (t->verdict) return;
    t->verdict = v;
    t->proof = proof <= t->event_count ? proof : 0;
    (void)vsnprintf(t->why, sizeof t->why, fmt, args);
}

void test_pass(struct test *t, unsigned proof) {
    if (t->verdict) return;
    if (proof == 0 || proof > t->event_count) {
        test_unclear(t, "the test found nothing wrong, but keeps no evidence of it");
        return;
    }
    t->verdict = VERDICT_PASS;
    t->proof = proof;
}

void test_fail(struct test *t, unsigned proof, const char *why, ...) {
    va_list args;
    va_start(args, why);
    settle(t, VERDICT_FAIL, proof, why, args);
    va_end(args);
}

void test_na(struct test *t, const char *capability, ...) {
    va_list args;
    va_start(args, capability);
    settle(t, VERDICT_NA, 0, capability, args);
    va_end(args);
}

void test_unclear(struct test *t, const char *why, ...) {
    va_list args;
    va_start(args, why);
    settle(t, VERDICT_INCONCLUSIVE, 0, why, args);
    va_end(args);
}

void test_settle(struct test *t, enum verdict v, unsigned proof, const char *why) {
    if (v == VERDICT_FAIL) {
        test_fail(t, proof, "%s", why);
    } else {
        test_unclear(t, "%s", why);
    }
}

bool test_expect(struct test *t, const struct msg *r, const char *pattern) {
    if (t->verdict) return false;
    if (!r) {
        test_fail(t, t->event_count, "no answer; %s is right", pattern);
    } else if (!status_fits(r->status, slice_str(pattern))) {
        test_fail(t, r->at, "answer %u " SLICE_FMT "; %s is right", r->status, SLICE_ARG(r->reason),
                  pattern);
    }
    return !t->verdict;
}

/* ---- one request -------------------------------------------------------------------------- */

static bool allows(const char *pattern, const char *word) {
    slice rest = slice_str(pattern), one;
    while (slice_split(&rest, '|', &one))
        if (is(one, word)) return true;
    return false;
}

/* Is the target still there after what we sent? */
static bool still_answers(struct test *t) {
    struct ua *probe = ua_new(t, WIRE_BEST, NOBODY);
    return ua_ask(probe, &(struct req){ .no_login = true }) != NULL;
}

void ask_run(struct test *t) {
    const struct ask *k = t->what->ask;
    struct ua *a = ua_new(t, k->wire, t->what->accounts ? 0 : NOBODY);
    if (k->registers) (void)ua_register(a, NULL);
    OVER(t);
    unsigned sent = t->event_count + 1;
    struct msg *r;
    if (k->req.raw) {
        ua_send(a, &k->req);
        r = ua_wait(a, "final", 3000);
    } else {
        r = ua_ask(a, &k->req);
    }
    OVER(t);
    if (r) {
        EXPECT(t, r, k->expect);
        PASS(t, r->at);
    }
    bool closed = allows(k->expect, "close") && ua_is_closed(a, 500);
    if (!closed && !allows(k->expect, "drop")) FAIL(t, sent, "no answer; %s is right", k->expect);
    unsigned seen = test_note(t, closed ? "the target closed the connection" : "no answer came");
    if (!still_answers(t)) FAIL(t, sent, "the target does not answer any more after this");
    PASS(t, seen);
}
