/* check/phone_dtls.c - media under DTLS keys: the handshake (RFC 5763, 5764, 8842), what its keys
 * protect (RFC 3711), and that it flows by consent (RFC 7675). What a phone does with our packets
 * is seen in its reports about them. */
#include "check/link.h"
#include "check/secure.h"
#include "check/tests.h"

#define QUIET_MS  1500
#define REPORT_MS 15000
#define CM        .dtls.profiles = DTLS_CM

/* ---- the handshake --------------------------------------------------------------------------- */

/* Silence proves something only of a phone that speaks when all is right. */
static bool speaks(struct test *t, bool late) {
    struct secure s;
    if (!secure_up(t, &s, &(struct secure_wish){ CM, .late = late })) return false;
    bool heard = secure_heard(&s);
    secure_down(&s);
    if (!heard) test_unclear(t, "no media comes, though all is right");
    return heard;
}

/* No media for a while, at the end of which the phone answers. */
static void stays_silent(struct test *t, struct secure *s, const char *why) {
    const struct media *m = s->m;
    media_listen(s->m, QUIET_MS);
    struct msg *life = ua_ask(s->up.a, &(struct req){ 0 });
    media_listen(s->m, 100);
    unsigned at = test_note(t, "%u packets of media came; its alert: \"%s\"", m->rtp,
                            dtls_alert(m->dtls_end));
    bool began = dtls_greeted(m->dtls_end) || *dtls_alert(m->dtls_end);
    secure_down(s);
    GIVEN(t, began, "no handshake begins");
    GIVEN(t, life, "the phone does not answer any more");
    MUST(t, m->rtp_at, !m->rtp, "media is sent although %s", why);
    PASS(t, at);
}

/* RFC 8842 5.1 */
static void strange(struct test *t, bool late) {
    struct secure s;
    if (!speaks(t, late) ||
        !secure_up(t, &s, &(struct secure_wish){ CM, .late = late, .stranger = true }))
        return;
    stays_silent(t, &s, "our certificate is not the one of our description");
}
static void strange_server(struct test *t) {
    strange(t, false);
}
static void strange_client(struct test *t) {
    strange(t, true);
}

/* RFC 5764 4.1.1: the choice is one of those that the hello lists */
static void chosen(struct test *t) {
    struct secure s;
    const struct secure_wish w = { .dtls.profiles = "SRTP_AEAD_AES_128_GCM:" DTLS_CM,
                                   .late = true };
    if (!secure_up(t, &s, &w)) return;
    bool up = dtls_state(s.m->dtls_end) == DTLS_UP;
    unsigned profile = dtls_profile(s.m->dtls_end);
    unsigned at = test_note(t, "7 and 1 are offered; it chooses %u; the handshake %s", profile,
                            up ? "succeeds" : "fails");
    bool greeted = dtls_greeted(s.m->dtls_end), client = s.m->client;
    secure_down(&s);
    GIVEN(t, client, "it is active although we said that we are");
    GIVEN(t, greeted, "no handshake begins");
    MUST(t, at, profile == 7 || profile == 1, "it chooses none of the profiles that it knows");
    MUST(t, at, up, "the handshake fails: \"%s\"", dtls_alert(s.m->dtls_end));
    PASS(t, at);
}

static void none_common(struct test *t) {
    struct secure s;
    if (!speaks(t, false) || !secure_up(t, &s, &(struct secure_wish){ 0 })) return;
    stays_silent(t, &s, "our hello chooses no profile");
}

static void unknown_only(struct test *t) {
    struct secure s;
    const struct secure_wish w = { CM, .dtls.unknown = true, .late = true };
    if (!speaks(t, true) || !secure_up(t, &s, &w)) return;
    unsigned profile = dtls_profile(s.m->dtls_end);
    unsigned at = test_note(t, "only 0x7f01 is offered; it chooses %u", profile);
    if (profile) secure_down(&s);
    MUST(t, at, !profile, "it chooses profile %u, which is not offered", profile);
    stays_silent(t, &s, "there is no profile that both know");
}

/* ---- replays and forgeries ------------------------------------------------------------------- */

/* A report holds all that was said; or so many came that do not name us. */
static bool reported(const struct media *m) {
    const struct reports *r = &m->reports;
    return (r->about_us_at && r->about_us.highest >= m->said) || r->silent_about_us >= 4;
}

/* Packets from `from` on, at a pace that nobody minds. */
static void say(struct media *m, uint32_t from, unsigned n, unsigned wrong) {
    for (unsigned i = 0; i < n; i++) {
        media_say(m, from + i, wrong);
        (void)media_hear(m, clock_ms() + 5);
    }
}

/* A call in which packets first.. first+99 were sent, all but [hole, hole + holes): and what is
 * reported then. `told`: what a report would tell is known, and none is waited for. */
static bool settled(struct test *t, struct secure *s, uint32_t first, uint32_t hole, unsigned holes,
                    bool told, struct rtcp_block *out) {
    if (!secure_up(t, s, &(struct secure_wish){ CM })) return false;
    const struct media *m = s->m;
    told = told && has(s->up.ok->body, "a=rtcp-mux");
    bool heard = secure_heard(s);
    if (heard) {
        say(s->m, first, hole - first, 0);
        say(s->m, hole + holes, 100 - (hole + holes - first), 0);
        (void)test_note(t, "sent %u to %u, without %u to %u", first, first + 99, hole,
                        hole + holes - 1);
        if (!told) (void)media_until(s->m, reported, REPORT_MS);
    }
    *out = told ? (struct rtcp_block){ .lost = (int32_t)holes } : m->reports.about_us;
    if (!heard) test_unclear(t, "no media comes");
    if (!told && !m->reports.about_us_at && !t->verdict) {
        if (has(s->up.ok->body, "a=rtcp-mux")) {
            test_unclear(t, "no report about our media comes");
        } else {
            test_na(t, "rtcp-mux");
        }
    } else if (holes > 1 && out->lost < (int32_t)holes / 2 && !t->verdict)
        test_unclear(t, "its reports do not tell what was lost: %d of %u", out->lost, holes);
    if (t->verdict) secure_down(s);
    return !t->verdict;
}

/* Ten right packets more, and the report that holds them. */
static unsigned resettle(struct secure *s, struct rtcp_block *out) {
    say(s->m, s->m->said + 1, 10, 0);
    s->m->reports.about_us_at = s->m->reports.silent_about_us = 0;
    (void)media_until(s->m, reported, REPORT_MS);
    *out = s->m->reports.about_us;
    unsigned at = s->m->reports.about_us_at;
    secure_down(s);
    return at;
}

/* A call with a hole of 30 packets, then what `wrongs` sends, and *after that a report. Most phones
 * count that loss as it is, and their first report tells all. Of others two reports are compared,
 * in a second call. 0: a verdict stands, or no report came. */
static unsigned unmoved(struct test *t, struct secure *s, void (*wrongs)(struct secure *s),
                        int32_t *before, struct rtcp_block *after) {
    unsigned at = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct rtcp_block b;
        if (!settled(t, s, 1000, 1040, 30, i == 0, &b)) return 0;
        wrongs(s);
        at = resettle(s, after);
        *before = b.lost;
        if (at && after->lost == *before && after->highest == s->m->said) break;
    }
    if (!at) test_unclear(t, "no report comes any more");
    return at;
}

/* RFC 3711 3.3.2: a packet that came twice is received once (it would lessen the loss, of which
 * there is enough: RFC 3550 6.4.1) */
static void say_again(struct secure *s) {
    say(s->m, 1075, 20, 0);
    (void)test_note(s->m->t, "sent 1075 to 1094 once more");
}
static void replayed(struct test *t) {
    struct secure s;
    struct rtcp_block after = { 0 };
    int32_t before = 0;
    unsigned at = unmoved(t, &s, say_again, &before, &after);
    MUST(t, at, after.lost == before, "the loss was %d before the replays and is %d", before,
         after.lost);
    PASS(t, at);
}

/* RFC 3711 3.3: in the place of what was lost, and far ahead */
static void say_forged(struct secure *s) {
    say(s->m, 1045, 20, MEDIA_FORGED);
    say(s->m, 1500, 3, MEDIA_FORGED);
    (void)test_note(s->m->t, "sent 1045 to 1064 and 1500 to 1502 with a changed bit");
}
static void forged(struct test *t) {
    struct secure s;
    struct rtcp_block after = { 0 };
    int32_t before = 0;
    unsigned at = unmoved(t, &s, say_forged, &before, &after);
    MUST(t, at, after.lost == before, "the loss was %d before the forgeries and is %d", before,
         after.lost);
    MUST(t, at, after.highest == s.m->said, "the highest number is %u, and %u was sent",
         after.highest, s.m->said);
    PASS(t, at);
}

/* RFC 3711 3.3.2: 64 packets or more; and 3.3.1: over the end of the sequence numbers */
static void window(struct test *t) {
    struct secure s;
    struct rtcp_block before, after;
    if (!settled(t, &s, 65500, 65540, 1, false, &before)) return;
    unsigned first = s.m->reports.about_us_at;
    say(s.m, 65540, 1, 0);
    (void)test_note(t, "sent 65540 late, 59 behind the last one");
    unsigned at = resettle(&s, &after);
    GIVEN(t, at, "no report comes any more");
    MUST(t, first, before.highest >= 65599, "the numbers have wrapped, and %u is the highest",
         before.highest);
    MUST(t, at, after.lost < before.lost, "a packet that is 59 behind is not taken");
    PASS(t, at);
}

/* ---- RTCP ------------------------------------------------------------------------------------ */

static bool two_reports(const struct media *m) {
    return m->reports.count >= 2 || m->reports.unproved;
}

/* RFC 3711 3.4 */
static void protects(struct test *t) {
    struct secure s;
    if (!secure_up(t, &s, &(struct secure_wish){ CM })) return;
    bool heard = secure_heard(&s);
    const struct reports *r = &s.m->reports;
    if (heard) (void)media_until(s.m, two_reports, 2 * REPORT_MS);
    bool mux = has(s.up.ok->body, "a=rtcp-mux");
    secure_down(&s);
    GIVEN(t, heard, "no media comes");
    CAPABLE(t, mux || r->count, "rtcp-mux");
    MUST(t, r->unproved_at, !r->unproved, "RTCP comes that the keys do not open");
    GIVEN(t, r->count >= 2, "only %u reports came", r->count);
    MUST(t, r->clear_at, !r->clear_at, "RTCP comes unencrypted");
    MUST(t, r->repeats_at, !r->repeats_at, "the index of SRTCP does not rise");
    PASS(t, r->at);
}

/* A compound packet: an empty report, and BYE of our SSRC. RFC 3550 6.6 */
static void plain_bye(struct test *t) {
    static const char bye[] = "\x80\xc9\0\1kith\x81\xcb\0\1kith";
    struct secure s;
    struct rtcp_block before, after;
    if (!settled(t, &s, 1000, 1040, 30, false, &before)) return;
    for (unsigned i = 0; i < 2; i++) media_report(s.m, slice_of(bye, sizeof bye - 1), MEDIA_CLEAR);
    unsigned count = s.m->heard.count;
    say(s.m, s.m->said + 1, 20, 0);
    struct msg *gone = ua_wait(s.up.a, "BYE", 0);
    unsigned at = resettle(&s, &after);
    MUST(t, gone ? gone->at : 0, !gone, "the call is ended by a BYE of RTCP in clear");
    MUST(t, t->event_count, at, "after a BYE in clear no report about our media comes");
    MUST(t, at, after.lost == before.lost, "after a BYE in clear our media is counted anew");
    MUST(t, at, s.m->heard.count > count, "after a BYE in clear it falls silent");
    PASS(t, at);
}

/* ---- consent --------------------------------------------------------------------------------- */

#define WATCHED_MS 13000
#define CONSENT_MS 30000
#define SLACK_MS   2000

/* Of the checks since this time: how many, and is one's id that of another? */
static unsigned checks_since(const struct media *m, int64_t ms, int64_t *first, int64_t *last,
                             bool *same_id) {
    unsigned n = m->checks < MEDIA_CHECKED ? m->checks : MEDIA_CHECKED, count = 0;
    *same_id = false;
    for (unsigned i = 0; i < n; i++) {
        const struct checked *c = &m->checked[i];
        if (c->ms < ms) continue;
        if (!count || c->ms < *first) *first = c->ms;
        if (!count || c->ms > *last) *last = c->ms;
        count++;
        for (unsigned k = 0; k < i; k++)
            if (memcmp(m->checked[k].id, c->id, sizeof c->id) == 0) *same_id = true;
    }
    return count;
}

/* RFC 7675 5.1: the pace as a mean, since a busy machine sees one check late and the next in time.
 * 16 checks in 13 s are more than right. */
static void consent(struct test *t) {
    struct secure s;
    if (!secure_up(t, &s, &(struct secure_wish){ CM, .ice = true })) return;
    struct media *m = s.m;
    bool heard = secure_heard(&s), same_id = false;
    int64_t first = 0, last = 0, began = clock_ms() + 1000;
    unsigned n = 0;
    if (heard) {
        media_listen(m, WATCHED_MS);
        n = checks_since(m, began, &first, &last, &same_id);
    }
    m->answers = false;
    int64_t stopped = clock_ms();
    unsigned at = test_note(t, "%u checks in %d s; from now on none is answered", n,
                            (WATCHED_MS - 1000) / 1000);
    bool spoke = stopped - m->spoke_ms < SLACK_MS;
    bool paced = n < 2 || (last - first) / (n - 1) >= 3500;
    if (heard && spoke && n && paced && !same_id) media_listen(m, CONSENT_MS + 2 * SLACK_MS);
    int64_t after = m->spoke_ms - stopped;
    secure_down(&s);
    GIVEN(t, heard && spoke, "no media comes");
    MUST(t, at, n, "no check of consent comes");
    MUST(t, at, paced, "%u checks in %d ms: 4 s apart at least", n, (int)(last - first));
    MUST(t, at, !same_id, "two checks have the same transaction id");
    at = test_note(t, "the last packet came %d ms after the last answer", (int)after);
    MUST(t, at, after <= CONSENT_MS + SLACK_MS, "it sends on without consent");
    PASS(t, at);
}

AREA(phone_dtls, T(MSEC_004, "stranger", strange_server),
     T(MSEC_004, "stranger-active", strange_client), T(MSEC_006, "chosen", chosen),
     T(MSEC_006, "none-common", none_common), T(MSEC_006, "unknown-only", unknown_only),
     T(MSEC_010, "replayed", replayed), T(MSEC_010, "forged", forged),
     T(MSEC_010, "window", window), T(MSEC_011, "protected", protects),
     T(MSEC_011, "plain-bye", plain_bye), T(NAT_007, "consent", consent, .seconds = 45));
