/* check/run.c - the threads, the leases, the pacer, and what the target speaks. */
#include "check/run.h"

#include "base/mem.h"
#include "check/link.h"
#include "check/locate.h"
#include "check/report.h"
#include <stdio.h>
#include <time.h>

#define ARENA_BYTES (64u << 20)
#define PROBE_MS                                                                                   \
    5000 /* a busy machine shakes hands slowly; a refused connection is told at once               \
          */
#define PROBE_UDP_MS 1500

const char *verdict_name(enum verdict v) {
    static const char *const names[] = { "none", "pass", "fail", "not-applicable", "inconclusive" };
    return names[v];
}

const char *test_id(const struct check_test *w, char mem[static 128]) {
    (void)snprintf(mem, 128, "%s/%s", rows[w->row].id, w->name);
    return mem;
}

void run_pace(struct run *run) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t at = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    (void)pthread_mutex_lock(&run->lock);
    if (run->next_send < at) run->next_send = at;
    int64_t wait = run->next_send - at;
    run->next_send += 1000000 / run->rate;
    (void)pthread_mutex_unlock(&run->lock);
    if (wait > 1000) test_pause(wait / 1000);
}

bool run_may_reach(const struct run *run, const struct addr *a) {
    return run->public_too || place_is_private(a);
}

void run_take_name(struct run *run, slice message) {
    struct msg m;
    msg_read(message, &m);
    slice name = msg_header(&m, m.status ? "Server" : "User-Agent");
    if (!name.ptr) name = msg_header(&m, "User-Agent");
    if (*run->software || slice_find(name, '\n') < name.len) return;
    if (name.len >= sizeof run->software) name = slice_head(name, sizeof run->software - 1);
    (void)!slice_cstr(name, run->software, sizeof run->software);
}

/* ---- leases ------------------------------------------------------------------------------- */

static bool lease(struct run *run, unsigned want, struct account *out[static ACCOUNTS_PER_TEST]) {
    unsigned got = 0;
    for (unsigned i = 0; i < run->account_count && got < want; i++)
        if (!run->accounts[i].leased) out[got++] = &run->accounts[i];
    if (got < want) return false;
    for (unsigned i = 0; i < want; i++) out[i]->leased = true;
    return true;
}

/* The next test whose accounts are free; NULL and *more: wait, NULL and not *more: done. */
static const struct check_test *take(struct run *run, struct account *accounts[], bool *more) {
    *more = false;
    for (unsigned i = 0; i < run->todo_count && !run->stop; i++) {
        if (run->taken[i]) continue;
        *more = true;
        /* a burst runs alone, when the others are done */
        if ((run->todo[i]->needs & NEEDS_LOAD) && run->load && run->running) continue;
        unsigned want = run->todo[i]->accounts;
        if (want <= run->account_count && !lease(run, want, accounts)) continue;
        run->taken[i] = true;
        run->running++;
        return run->todo[i];
    }
    return NULL;
}

/* ---- one test ----------------------------------------------------------------------------- */

/* What speaks against running it at all. */
static void preconditions(struct test *t) {
    const struct check_test *w = t->what;
    const struct run *run = t->run;
    bool stream = test_has(t, WIRE_TLS) || test_has(t, WIRE_TCP);
    bool udp_row = is(slice_str(rows[w->row].needs), "udp");
    if (((w->needs & NEEDS_UDP) || udp_row) && !test_has(t, WIRE_UDP)) test_na(t, "udp");
    if ((w->needs & NEEDS_TLS) && !test_has(t, WIRE_TLS)) test_na(t, "tls");
    if ((w->needs & NEEDS_WSS) && !test_has(t, WIRE_WSS)) test_na(t, "websocket");
    if ((w->needs & NEEDS_BINDING) && run->gate)
        test_na(t, "registration (RFC 6140): with --static the PBX does not register");
    if ((w->needs & NEEDS_STATIC) && !run->gate) test_na(t, "static mode: --static");
    if ((w->needs & NEEDS_STREAM) && !stream) test_na(t, "tcp or tls");
    if ((w->needs & NEEDS_WRITES) && !run->allow_writes) test_unclear(t, "needs --allow-writes");
    if ((w->needs & NEEDS_LOAD) && !run->load) test_unclear(t, "needs --load");
    if (w->accounts > run->account_count)
        test_unclear(t, "needs %u accounts, and --accounts gives %u", w->accounts,
                     run->account_count);
}

static void run_one(struct run *run, const struct check_test *w, struct account *accounts[]) {
    struct test *t = mem_zalloc(sizeof *t);
    if (!t) return;
    arena_init(&t->arena, ARENA_BYTES);
    t->what = w;
    t->run = run;
    t->began = clock_ms();
    for (unsigned i = 0; i < w->accounts && i < ACCOUNTS_PER_TEST; i++)
        t->accounts[i] = accounts[i];
    preconditions(t);
    if (!t->verdict) w->run(t);
    if (!t->verdict) test_unclear(t, "the test ended without a verdict");
    struct result r = { w, t->verdict, NULL, 0 };
    report_line(t, &r);
    ua_end(t);
    arena_fini(&t->arena);
    mem_free(t);
    (void)pthread_mutex_lock(&run->lock);
    if (r.line) run->results[run->result_count++] = r;
    report_progress(run, &r);
    (void)pthread_mutex_unlock(&run->lock);
}

static void *worker(void *ctx) {
    struct run *run = ctx;
    for (bool more = true; more;) {
        struct account *accounts[ACCOUNTS_PER_TEST] = { NULL };
        (void)pthread_mutex_lock(&run->lock);
        const struct check_test *w;
        while (!(w = take(run, accounts, &more)) && more)
            (void)pthread_cond_wait(&run->changed, &run->lock);
        (void)pthread_mutex_unlock(&run->lock);
        if (!w) break;
        run_one(run, w, accounts);
        (void)pthread_mutex_lock(&run->lock);
        run->running--;
        for (unsigned i = 0; i < ACCOUNTS_PER_TEST; i++)
            if (accounts[i]) accounts[i]->leased = false;
        (void)pthread_cond_broadcast(&run->changed);
        (void)pthread_mutex_unlock(&run->lock);
    }
    return NULL;
}

void run_all(struct run *run) {
    pthread_t threads[RUN_JOBS_MAX];
    unsigned n = 0;
    run->began = clock_ms();
    while (n < run->jobs && n < run->todo_count &&
           pthread_create(&threads[n], NULL, worker, run) == 0)
        n++;
    if (n == 0) (void)worker(run);
    for (unsigned i = 0; i < n; i++) (void)pthread_join(threads[i], NULL);
    run->took_ms = clock_ms() - run->began;
}

/* ---- what does it speak? ------------------------------------------------------------------ */

/* Does the target answer OPTIONS (over WebSocket: the handshake) over this wire? Else *why may tell
 * what TLS says to that. */
static bool speaks(struct run *run, enum wire w, char why[static 160]) {
    struct link *l = NULL;
    if (link_open(run, w, NULL, NULL, &l) != ERR_OK) return false;
    char mem[1024], local[64];
    struct buf b = buf_over(mem, sizeof mem), at = buf_over(local, sizeof local);
    addr_put(&at, &l->local);
    buf_fmt(&b,
            "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/%s " SLICE_FMT
            ";branch=z9hG4bK-probe-%lld;rport\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:probe@" SLICE_FMT ">;tag=p\r\nTo: <sip:%s>\r\n"
            "Call-ID: probe-%lld\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            run->target.domain, wire_names[w], SLICE_ARG(buf_slice(&at)), (long long)clock_ms(),
            SLICE_ARG(buf_slice(&at)), run->target.domain, (long long)clock_ms());
    if (run->role == ROLE_RELAY) { /* a Binding request */
        buf_clear(&b);
        buf_put(&b, slice_of("\0\1\0\0\x21\x12\xa4\x42kithprobe001", 20));
    }
    size_t size;
    int64_t patience = w == WIRE_UDP ? PROBE_UDP_MS : PROBE_MS;
    bool there = l->fd >= 0 && w == WIRE_WSS; /* the handshake alone tells it */
    if (l->fd >= 0 && !there && link_send(run, l, buf_slice(&b)) &&
        link_message(l, patience, &size)) {
        there = true;
        if (run->role != ROLE_RELAY) run_take_name(run, slice_of(l->in, size));
    }
    if (!there) (void)snprintf(why, 160, "%s", l->why);
    link_close(l);
    return there;
}

bool run_pulse(struct run *run) {
    char why[160];
    for (enum wire w = 0; w < WIRE_COUNT; w++) /* the cheapest first */
        if (run->target.at[w].family != ADDR_NONE) return speaks(run, w, why);
    return false;
}

bool run_probe(struct run *run, char *why, size_t why_len) {
    unsigned found = 0;
    char wrong[160] = "", tls[160] = "";
    for (enum wire w = 0; w < WIRE_COUNT; w++) {
        if (run->target.at[w].family == ADDR_NONE) continue;
        bool there = speaks(
            run, w,
            w == WIRE_TLS ? tls
                          : wrong); /* a datagram may be lost, or come before the target is up */
        for (unsigned i = 0; w == WIRE_UDP && !there && i < 2; i++) there = speaks(run, w, wrong);
        if (there) {
            found++;
        } else {
            run->target.at[w].family = ADDR_NONE;
        }
    }
    for (enum wire w = 0; found && w < WIRE_COUNT; w++)
        for (unsigned f = 0; f < 2 && run->target.at[w].family; f++) {
            struct addr here = run->target.at[w];
            if (!run->other[f].family || run->families[f]) continue;
            run->target.at[w] = run->other[f];
            run->families[f] = speaks(run, w, wrong);
            run->target.at[w] = here;
        }
    if (!found)
        (void)snprintf(
            why, why_len,
            "%s answers neither over TLS nor WebSocket nor TCP nor UDP%s%s. Is it up, and "
            "the port right? Is a firewall in between?",
            run->target.given, *tls ? "; TLS: " : "", tls);
    return found > 0;
}
