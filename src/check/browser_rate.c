/* check/browser_rate.c - how much a browser sends (RFC 8083, 8834 7.1). */
#include "check/link.h"
#include "check/secure.h"
#include "check/tests.h"

#define LIMIT_KBIT 64u
#define MEASURE_MS 5000
#define REPORTS    10u

/* b=AS counts the heads of IP and UDP too (RFC 3890 6.1 says so of it). A quarter more is let pass:
 * the measure is short. */
static void bandwidth(struct test *t) {
    struct secure s;
    if (!secure_up(t, &s,
                   &(struct secure_wish){ .dtls.profiles = DTLS_CM,
                                          .media = "video 96\r\nb=AS:64\r\na=rtpmap:96 "
                                                   "VP8/90000\r\na=rtcp-fb:96 nack pli\r\n" }))
        return;
    bool heard = secure_heard(&s);
    if (heard) media_listen(s.m, 3000); /* the first picture is large */
    uint64_t before = s.m->heard.bytes;
    int64_t began = clock_ms();
    if (heard) media_listen(s.m, MEASURE_MS);
    uint64_t kbit = (s.m->heard.bytes - before) * 8 / (uint64_t)(clock_ms() - began + 1);
    secure_down(&s);
    GIVEN(t, heard, "no video comes");
    unsigned at = test_note(t, "%u kbit/s in %d ms", (unsigned)kbit, MEASURE_MS);
    GIVEN(t, kbit, "no video comes any more");
    MUST(t, at, kbit <= LIMIT_KBIT * 5 / 4, "%u kbit/s are sent, and b=AS allows %u",
         (unsigned)kbit, LIMIT_KBIT);
    PASS(t, at);
}

/* RR with one block: all is lost, and the highest number stays. RFC 3550 6.4.2, 6.5 */
static slice report(const struct media *m, char mem[static 64]) {
    struct buf b = buf_over(mem, 64);
    char ssrc[4], highest[4] = { 0, 0, (char)(m->heard.seq >> 8), (char)m->heard.seq };
    for (unsigned i = 0; i < 4; i++) ssrc[i] = (char)(m->heard.ssrc >> (24 - 8 * i));
    buf_put(&b, slice_of("\x81\xc9\0\7kith", 8));
    buf_put(&b, slice_of(ssrc, 4));
    buf_put(&b, slice_of("\xff\0\0\x40", 4));
    buf_put(&b, slice_of(highest, 4));
    buf_put(&b, slice_of("\0\0\0\0\0\0\0\0\0\0\0\0", 12));
    buf_put(&b, slice_of("\x81\xca\0\3kith\1\4kith\0\0", 16));
    return buf_slice(&b);
}

/* RFC 8083 4.2: after five reports (k) in which the highest number does not rise, it ceases. We
 * send twice as many, a second apart, which is no sooner than its own interval. */
static void media_timeout(struct test *t) {
    struct secure s;
    if (!secure_up(t, &s, &(struct secure_wish){ .dtls.profiles = DTLS_CM })) return;
    bool heard = secure_heard(&s), ceased = false;
    char mem[64];
    slice rr = report(s.m, mem);
    for (unsigned i = 0; heard && !ceased && i < REPORTS; i++) {
        unsigned count = s.m->heard.count;
        media_report(s.m, rr, 0);
        media_listen(s.m, 1000);
        ceased = s.m->heard.count == count;
    }
    unsigned at = test_note(t, "%u packets came; %s", s.m->heard.count,
                            ceased ? "then none for a second" : "they go on");
    struct msg *life = ua_ask(s.up.a, &(struct req){ 0 });
    secure_down(&s);
    GIVEN(t, heard, "no media comes");
    GIVEN(t, life, "it does not answer any more");
    MUST(t, at, ceased, "it goes on after %u reports that nothing arrives", REPORTS);
    PASS(t, at);
}

AREA(browser_rate, T(WEB_008, "bandwidth", bandwidth), T(WEB_008, "media-timeout", media_timeout));
