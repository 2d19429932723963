/* check/server_load.c - bounded bursts (--load N): RFC 7339. The pace is N a second, not --rate; no
 * test here sends more than LOAD_MOST messages. */
#include "check/link.h"
#include "check/run.h"
#include "check/tests.h"

#define LOAD_MOST 2000u
#define SHED      40u /* per cent that we ask for */
#define ASKED     60u /* new requests while we ask for it */

static void pace(const struct run *run, unsigned sent, int64_t began) {
    int64_t due = began + (int64_t)sent * 1000 / run->load, now = clock_ms();
    if (due > now) test_pause(due - now);
}

struct answers {
    unsigned all, refused, retry_after, proof;
};

static void count(struct test *t, struct link *l, int64_t ms, struct answers *n) {
    size_t size;
    while (link_message(l, ms, &size)) {
        slice raw = slice_of(l->in, size);
        struct msg m;
        msg_read(raw, &m);
        bool refused = m.status == 503, later = refused && msg_header(&m, "Retry-After").ptr;
        n->all += m.status >= 200;
        n->refused += refused;
        n->retry_after += later;
        if (refused && (!n->proof || (later && n->retry_after == 1)))
            n->proof = test_event(t, '<', "nobody", raw);
        link_drop(l, size);
    }
}

/* RFC 7339 5.10.2: our Via has no oc, so we do not take part */
static void sheds_us(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct answers n = { 0 };
    unsigned sent = 0;
    int64_t began = clock_ms();
    if (!a) return;
    for (; sent < LOAD_MOST && n.refused < 5; sent++) {
        const char *q = ua_fill(a, text(t,
                                        "OPTIONS sip:{domain} SIP/2.0\r\nVia: SIP/2.0/%s {local};"
                                        "branch=z9hG4bK{n};rport\r\nMax-Forwards: 70\r\n"
                                        "From: <sip:tester@{local}>;tag={n}\r\nTo: <sip:{domain}>"
                                        "\r\nCall-ID: {n}\r\nCSeq: 1 OPTIONS\r\n"
                                        "Content-Length: 0\r\n\r\n",
                                        wire_names[ua_link(a)->wire]));
        if (!link_write(ua_link(a), slice_str(q))) break;
        pace(t->run, sent + 1, began);
        count(t, ua_link(a), 0, &n);
    }
    count(t, ua_link(a), 2000, &n);
    (void)test_note(t, "%u requests at %u a second: %u answers, %u of them 503", sent, t->run->load,
                    n.all, n.refused);
    GIVEN(t, n.refused, "%u requests at %u a second bring no overload about", sent, t->run->load);
    MUST(t, n.proof, !n.retry_after, "503 with Retry-After for a client that takes no part");
    PASS(t, n.proof);
}

/* One new request: does it reach b, or is it refused on the way? */
static bool arrives(struct ua *a, struct ua *b, const char *call_id) {
    struct req r = {
        .method = "MESSAGE", .call_id = call_id, .type = "text/plain", .body = "hello"
    };
    ua_send(a, &r);
    for (int64_t until = clock_ms() + 4000; clock_ms() < until && !ua_test(a)->verdict;) {
        struct msg *m = ua_wait(b, "MESSAGE", 10), *no = m ? NULL : ua_wait(a, "4xx|5xx", 10);
        if (m) {
            ua_reply(b, m, 200, NULL);
            (void)ua_wait(a, "2xx MESSAGE", 4000);
            return true;
        }
        const char *login = no ? ua_challenged(a, &r, no) : NULL;
        if (no && (!login || r.headers)) return false;
        if (login) r.headers = login;
        if (login) ua_send(a, &r);
    }
    return false;
}

/* RFC 7339 5.5: the callee is overloaded, and says so in the Via of its answers */
static void sheds_for_us(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    const struct req hello = { .method = "MESSAGE", .type = "text/plain", .body = "hello" };
    struct msg *in = ask_through(a, b, &hello);
    OVER(t);
    CAPABLE(t, value_has(msg_value(in, "Via", 0), "oc"), "overload-control (no oc in its Via)");
    const char *via = text_of(t, msg_value(in, "Via", 0));
    const char *cut = strstr(via, ";oc");
    struct rep busy = { .without = "Via" };
    busy.via = text(t, "Via: %.*s;oc=%u;oc-algo=\"loss\";oc-validity=60000;oc-seq=1.1\r\n",
                    (int)(cut - via), via, SHED);
    for (unsigned i = 1; i < msg_values(in, "Via"); i++)
        busy.via =
            text(t, "%sVia: " SLICE_FMT "\r\n", busy.via, SLICE_ARG(msg_value(in, "Via", i)));
    ua_reply(b, in, 200, &busy);
    (void)ua_wait(a, "2xx", 4000);
    unsigned came = 0, at = 0;
    int64_t began = clock_ms();
    for (unsigned i = 0; i < ASKED && !t->verdict; i++) {
        came += arrives(a, b, text(t, "load-%u-%lld", i, (long long)began));
        pace(t->run, i + 1, began);
    }
    OVER(t);
    at = test_note(t, "oc=%u was asked for: %u of %u new requests came", SHED, came, ASKED);
    /* 36 are right; by chance fewer than 20 or more than 52 come once in 30000 runs */
    MUST(t, at, came >= 20 && came <= 52, "oc=%u was asked for: %u of %u new requests came", SHED,
         came, ASKED);
    PASS(t, at);
}

AREA(server_load, T(OVLD_005, "no-retry-after", sheds_us, .needs = NEEDS_LOAD),
     T(OVLD_004, "sheds", sheds_for_us, .accounts = 2, .needs = NEEDS_LOAD));
