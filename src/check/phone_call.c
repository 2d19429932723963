/* check/phone_call.c - calls to a phone that answers by itself, or that a person answers (--wait).
 */
#include "check/caller.h"
#include "check/run.h"
#include "check/tests.h"

/* The last thing a test does with its call. */
static void done(struct test *t, struct up *c, unsigned at) {
    (void)phone_down(c);
    PASS(t, at);
}

/* ---- the transaction ------------------------------------------------------------------------ */

/* RFC 3261 13.3.1.4 */
static void repeats_200(struct test *t) {
    struct up c = { .a = ua_new(t, WIRE_BEST, NOBODY) };
    c.ok = ua_ask(c.a, &(struct req){ .method = "INVITE", .body = sdp_offer });
    GIVEN(t, c.ok && c.ok->status / 100 == 2, "the phone does not answer the call");
    struct msg *again = ua_wait(c.a, "2xx INVITE", 1500), *third = ua_wait(c.a, "2xx INVITE", 2500);
    phone_ack(&c);
    (void)phone_down(&c);
    OVER(t);
    MUST(t, c.ok->at, again && third, "the 200 is not sent again although no ACK came");
    PASS(t, again->at);
}
/* RFC 6026 7.1 */
static void copy_absorbed(struct test *t) {
    struct up c = { .a = ua_new(t, WIRE_BEST, NOBODY) };
    c.ok = ua_ask(c.a, &(struct req){ .method = "INVITE", .body = sdp_offer });
    GIVEN(t, c.ok && c.ok->status / 100 == 2, "the phone does not answer the call");
    ua_send_again(c.a);
    struct msg *bad = NULL, *other = NULL;
    for (struct msg *m; !bad && (m = ua_wait(c.a, "1xx|3xx|4xx|5xx|6xx", 800));)
        if (m->at > c.ok->at) bad = m;
    for (struct msg *m; !other && (m = ua_wait(c.a, "2xx INVITE", 0));)
        if (!slice_eq(msg_header(m, "To"), msg_header(c.ok, "To"))) other = m;
    phone_ack(&c);
    (void)phone_down(&c);
    OVER(t);
    MUST(t, bad ? bad->at : 0, !bad, "a copy of the INVITE is answered by %u", bad->status);
    MUST(t, other ? other->at : 0, !other, "a copy of the INVITE makes a second call");
    PASS(t, c.ok->at);
}
/* RFC 3261 8.2.2.2: the same call by another way */
static void merged(struct test *t) {
    struct up c = { .a = ua_new(t, WIRE_BEST, NOBODY) };
    ua_send(c.a, &(struct req){ .method = "INVITE", .cseq = "7 INVITE", .body = sdp_offer });
    ua_send(c.a, &(struct req){ .method = "INVITE", .cseq = "7 INVITE", .body = sdp_offer });
    struct msg *refused = ua_wait(c.a, "3xx|4xx|5xx|6xx", 3000);
    if (refused) ua_ack(c.a, refused);
    c.ok = ua_wait(c.a, "2xx INVITE", 3000);
    if (c.ok) {
        phone_ack(&c);
        (void)phone_down(&c);
    }
    EXPECT(t, refused, "482");
    PASS(t, refused->at);
}
static void lower_cseq(struct test *t) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    struct msg *up = ua_ask(c.a, &(struct req){ .method = "OPTIONS", .in = &c.d });
    GIVEN(t, up, "no answer to OPTIONS in the call");
    struct msg *r =
        ua_ask(c.a, &(struct req){ .method = "OPTIONS", .in = &c.d, .cseq = "1 OPTIONS" });
    (void)phone_down(&c);
    EXPECT(t, r, "500");
    PASS(t, r->at);
}
static void routes_returned(struct test *t) {
    struct up c;
    if (!phone_up(t, &c,
                  &(struct req){ .headers = "Record-Route: <sip:{local};lr;a=1>\r\nRecord-Route: "
                                            "<sip:192.0.2.9;lr;b=2>\r\n" }))
        return;
    bool right = msg_values(c.ok, "Record-Route") == 2 &&
                 has(msg_value(c.ok, "Record-Route", 0), "a=1") &&
                 has(msg_value(c.ok, "Record-Route", 1), "b=2");
    bool contact = msg_header(c.ok, "Contact").ptr != NULL;
    (void)phone_down(&c);
    MUST(t, c.ok->at, right, "Record-Route does not come back as it was");
    MUST(t, c.ok->at, contact, "no Contact");
    PASS(t, c.ok->at);
}
static void bye_answered(struct test *t) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    struct msg *r = phone_down(&c);
    EXPECT(t, r, "200");
    PASS(t, r->at);
}
/* RFC 3262 3 */
static void reliable(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct up c = { .a = a };
    ua_send(a, &(struct req){
                   .method = "INVITE", .headers = "Require: 100rel\r\n", .body = sdp_offer });
    struct msg *r = ua_wait(a, "180|183|181|182|final", 4000);
    OVER(t);
    MUST(t, t->event_count, r, "no answer");
    if (r->status < 200) {
        bool right = msg_header(r, "RSeq").ptr && msg_lists(r, "Require", "100rel");
        dialog_of(a, r, true, &c.d);
        if (right)
            ua_send(
                a, &(struct req){ .method = "PRACK",
                                  .in = &c.d,
                                  .headers = text(t, "RAck: " SLICE_FMT " %u INVITE\r\n",
                                                  SLICE_ARG(msg_header(r, "RSeq")), msg_cseq(r)) });
        c.ok = ua_wait(a, "2xx INVITE", 4000);
        if (c.ok) {
            phone_ack(&c);
            (void)phone_down(&c);
        }
        MUST(t, r->at, right, "a %u without RSeq although 100rel was required", r->status);
        PASS(t, r->at);
    }
    if (r->status / 100 == 2) {
        c.ok = r;
        phone_ack(&c);
        (void)phone_down(&c);
        test_unclear(t, "the phone answers at once, without a provisional response");
        return;
    }
    ua_ack(a, r);
    EXPECT(t, r, "420");
    PASS(t, r->at);
}
static void info_package(struct test *t) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    struct msg *r = ua_ask(
        c.a,
        &(struct req){ .method = "INFO", .in = &c.d, .headers = "Info-Package: x-kith-none\r\n" });
    (void)phone_down(&c);
    EXPECT(t, r, "469|405|501");
    MUST(t, r->at, r->status != 469 || msg_header(r, "Recv-Info").ptr, "469 without Recv-Info");
    PASS(t, r->at);
}
static void refer_200(struct test *t) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    struct msg *r = ua_ask(c.a, &(struct req){ .method = "REFER",
                                               .in = &c.d,
                                               .headers = "Refer-To: <sip:nobody@{local}>\r\n" });
    bool over = !(r && r->status / 100 == 2);
    for (struct msg *m; !over && (m = phone_request(c.a, c.d.call_id, 1500));) {
        over = is(m->method, "NOTIFY");
        if (!over) ua_reply(c.a, m, 486, NULL); /* the call that it makes */
    }
    (void)phone_down(&c);
    CAPABLE(t, r && r->status / 100 == 2, "transfer (REFER got %u)", r ? r->status : 0);
    EXPECT(t, r, "200");
    PASS(t, r->at);
}
static void session_timer(struct test *t) {
    struct up c;
    if (!phone_up(t, &c,
                  &(struct req){
                      .headers = "Supported: timer\r\nSession-Expires: 1800\r\nMin-SE: 90\r\n" }))
        return;
    slice v = msg_header(c.ok, "Session-Expires");
    uint32_t n = 0;
    bool number = slice_u32(slice_trim(slice_head(v, slice_find(v, ';'))), 1000000, &n) == ERR_OK;
    slice who = value_param(v, "refresher");
    (void)phone_down(&c);
    CAPABLE(t, v.ptr, "session timers (none in the 2xx)");
    MUST(t, c.ok->at, number && n >= 90 && n <= 1800, "1800 s asked, %u taken", n);
    MUST(t, c.ok->at, is(who, "uac") || is(who, "uas"), "no refresher in the 2xx");
    PASS(t, c.ok->at);
}
static void timer_listed(struct test *t) {
    struct up c;
    if (!phone_up(t, &c,
                  &(struct req){ .headers = "Supported: timer\r\nSession-Expires: 1800\r\n" }))
        return;
    bool takes = msg_header(c.ok, "Session-Expires").ptr != NULL,
         listed = msg_lists(c.ok, "Supported", "timer") || msg_lists(c.ok, "Require", "timer");
    (void)phone_down(&c);
    CAPABLE(t, takes, "session timers (none in the 2xx)");
    MUST(t, c.ok->at, listed, "timer is neither in Supported nor in Require of the 2xx");
    PASS(t, c.ok->at);
}
static void gruu_contact(struct test *t) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    slice contact = value_uri(msg_header(c.ok, "Contact"));
    (void)phone_down(&c);
    MUST(t, c.ok->at, uri_param(contact, "gr").ptr,
         "the Contact of the 200 is not the GRUU that the registrar gave");
    PASS(t, c.ok->at);
}

/* ---- parts of bodies ------------------------------------------------------------------------ */

#define PARTS(extra)                                                                               \
    "--x\r\nContent-Type: application/sdp\r\n\r\n" SDP(                                            \
        "m=audio 40000 UDP/TLS/RTP/SAVP 0\r\n" KEYED) "\r\n--x\r\nContent-Type: " extra            \
                                                      "\r\n\r\nhello\r\n--x--\r\n"
static void parts(struct test *t, const char *body) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct up c = { .a = a };
    c.ok = ua_ask(
        a, &(struct req){ .method = "INVITE", .type = "multipart/mixed;boundary=x", .body = body });
    EXPECT(t, c.ok, "2xx");
    phone_ack(&c);
    done(t, &c, c.ok->at);
}
static void multipart(struct test *t) {
    parts(t, PARTS("text/plain"));
}
static void optional_part(struct test *t) {
    parts(t, PARTS("application/x-kith-none\r\nContent-Disposition: x;handling=optional"));
}

/* ---- offer and answer ------------------------------------------------------------------------ */

static void same_lines(struct test *t) {
    struct up c;
    if (!phone_up(t, &c,
                  &(struct req){
                      .body = SDP(
                          "m=audio 40000 UDP/TLS/RTP/SAVP 0 8\r\n" KEYED
                          "m=video 40002 UDP/TLS/RTP/SAVP 96\r\na=rtpmap:96 x-kith/90000\r\n" KEYED
                          "m=x-kith 40004 UDP/TLS/RTP/SAVP 97\r\n" KEYED) }))
        return;
    slice s = c.ok->body;
    size_t audio = slice_find_slice(s, SLICE("m=audio")),
           video = slice_find_slice(s, SLICE("m=video")),
           other = slice_find_slice(s, SLICE("m=x-kith"));
    (void)phone_down(&c);
    MUST(t, c.ok->at, sdp_lines(s, "m=") == 3, "3 m= lines offered, %u answered",
         sdp_lines(s, "m="));
    MUST(t, c.ok->at, audio < video && video < other, "another order");
    MUST(t, c.ok->at, has(slice_from(s, other), "m=x-kith 0 "),
         "an unknown kind of media is not refused with port 0");
    PASS(t, c.ok->at);
}
static void direction(struct test *t) {
    struct up c;
    if (!phone_up(t, &c,
                  &(struct req){
                      .body = SDP("m=audio 40000 UDP/TLS/RTP/SAVP 0 8\r\na=sendonly\r\n" KEYED) }))
        return;
    bool right = sdp_lines(c.ok->body, "a=recvonly") || sdp_lines(c.ok->body, "a=inactive");
    (void)phone_down(&c);
    MUST(t, c.ok->at, right, "sendonly is answered neither by recvonly nor by inactive");
    PASS(t, c.ok->at);
}
static uint64_t version_of(slice sdp, slice *id) {
    slice o = sdp_line(sdp, "o="), rest = o, word = SLICE_NONE;
    uint64_t v = 0;
    (void)slice_split(&rest, ' ', &word);
    (void)slice_split(&rest, ' ', id);
    (void)slice_split(&rest, ' ', &word);
    return slice_u64(word, UINT64_MAX, &v) == ERR_OK ? v : 0;
}
static void origin(struct test *t) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    struct msg *r = phone_reinvite(
        &c,
        &(struct req){ .body = SDP("m=audio 40000 UDP/TLS/RTP/SAVP 0 8\r\na=sendonly\r\n" KEYED) });
    (void)phone_down(&c);
    GIVEN(t, r && r->status / 100 == 2, "a re-INVITE for hold gets %u", r ? r->status : 0);
    slice id1 = SLICE_NONE, id2 = SLICE_NONE;
    uint64_t v1 = version_of(c.ok->body, &id1), v2 = version_of(r->body, &id2);
    MUST(t, r->at, slice_eq(id1, id2), "another session id in o=");
    MUST(t, r->at, slice_eq(c.ok->body, r->body) ? v1 == v2 : v2 == v1 + 1,
         "the version in o= goes from %llu to %llu", (unsigned long long)v1,
         (unsigned long long)v2);
    PASS(t, r->at);
}
static void payload_kept(struct test *t) {
    struct up c;
    const char *body = SDP(
        "m=audio 40000 UDP/TLS/RTP/SAVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n" KEYED);
    if (!phone_up(t, &c, &(struct req){ .body = body })) return;
    struct msg *r = phone_reinvite(&c, &(struct req){ .body = body });
    (void)phone_down(&c);
    GIVEN(t, r && r->status / 100 == 2, "a re-INVITE gets %u", r ? r->status : 0);
    slice one = sdp_line(c.ok->body, "a=rtpmap:101 "), two = sdp_line(r->body, "a=rtpmap:101 ");
    CAPABLE(t, one.ptr, "telephone-event");
    MUST(t, r->at, slice_ieq(one, two), "payload number 101 is another codec than before");
    PASS(t, r->at);
}
static void survives_refusal(struct test *t) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    struct msg *no = phone_reinvite(&c, &(struct req){ .headers = "Require: x-kith-none\r\n" });
    GIVEN(t, no && no->status >= 300, "the re-INVITE was not refused");
    struct msg *r = phone_down(&c);
    EXPECT(t, r, "200");
    PASS(t, r->at);
}

/* An INVITE without an offer: the 200 has one. */
static slice offer_of(struct test *t, unsigned *at) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct up c = { .a = a };
    c.ok = ua_ask(a, &(struct req){ .method = "INVITE" });
    if (!t->verdict && !(c.ok && c.ok->status / 100 == 2))
        test_unclear(t, "an INVITE without an offer gets %u", c.ok ? c.ok->status : 0);
    if (t->verdict) return SLICE_NONE;
    *at = c.ok->at;
    dialog_of(a, c.ok, true, &c.d);
    ua_send(a, &(struct req){ .method = "ACK", .in = &c.d, .body = sdp_answer });
    (void)phone_down(&c);
    return c.ok->body;
}
static void offers(struct test *t) {
    unsigned at;
    slice s = offer_of(t, &at);
    OVER(t);
    MUST(t, at, sdp_lines(s, "m=") > 0, "the 200 has no offer");
    PASS(t, at);
}
static void offers_keys(struct test *t) {
    unsigned at;
    slice s = offer_of(t, &at);
    OVER(t);
    MUST(t, at, sdp_lines(s, "a=fingerprint:"), "DTLS-SRTP is not offered");
    MUST(t, at, !has(s, " RTP/AVP ") || sdp_lines(s, "a=fingerprint:"), "plain RTP is offered");
    PASS(t, at);
}
static void offers_actpass(struct test *t) {
    unsigned at;
    slice s = offer_of(t, &at);
    OVER(t);
    MUST(t, at, sdp_lines(s, "a=setup:actpass") && sdp_lines(s, "a=fingerprint:"),
         "no a=setup:actpass with a fingerprint");
    MUST(t, at, sdp_line(s, "a=tls-id:").len >= 9 + 20, "no a=tls-id of at least 120 bits");
    PASS(t, at);
}
static void payload_range(struct test *t) {
    unsigned at;
    slice s = offer_of(t, &at);
    OVER(t);
    CAPABLE(t, sdp_lines(s, "a=rtcp-mux"), "rtcp-mux");
    slice rest = sdp_line(s, "m=audio"), word;
    for (unsigned i = 0; slice_split(&rest, ' ', &word); i++) {
        uint32_t n;
        if (i < 3 || slice_u32(word, 127, &n) != ERR_OK) continue;
        MUST(t, at, n < 64 || n > 95, "payload type %u beside rtcp-mux", n);
    }
    PASS(t, at);
}
static void codecs(struct test *t) {
    unsigned at;
    slice s = offer_of(t, &at);
    OVER(t);
    slice m = sdp_line(s, "m=audio");
    MUST(t, at, has(s, "opus/48000") && has(s, "telephone-event/"),
         "opus or telephone-event is missing");
    MUST(t, at,
         (has(m, " 0 ") || has(m, " 0\r") || has(s, "PCMU/8000")) &&
             (has(m, " 8 ") || has(s, "PCMA/8000")),
         "PCMU or PCMA is missing");
    PASS(t, at);
}
static void opus(struct test *t) {
    unsigned at;
    slice s = offer_of(t, &at);
    OVER(t);
    CAPABLE(t, has(s, "opus/"), "opus");
    MUST(t, at, has(s, "opus/48000/2"), "opus is not written as opus/48000/2");
    PASS(t, at);
}
static void candidates(struct test *t) {
    unsigned at;
    slice s = offer_of(t, &at), line;
    OVER(t);
    CAPABLE(t, sdp_lines(s, "a=candidate:"), "ice");
    for (slice rest = s; slice_split(&rest, '\n', &line);)
        MUST(t, at,
             !slice_starts(line, SLICE("a=candidate:")) ||
                 !(has(line, " 127.") || has(line, " ::1 ") || has(line, " fec0:")),
             "a loopback or site-local candidate");
    PASS(t, at);
}
static void ice2(struct test *t) {
    unsigned at;
    slice s = offer_of(t, &at);
    OVER(t);
    CAPABLE(t, sdp_lines(s, "a=candidate:"), "ice");
    MUST(t, at, has(sdp_line(s, "a=ice-options:"), "ice2"), "no ice2 in a=ice-options");
    MUST(t, at, !sdp_lines(s, "a=ice-lite"), "ice-lite from a full agent");
    PASS(t, at);
}

static void answers_role(struct test *t) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    slice s = c.ok->body;
    (void)phone_down(&c);
    MUST(t, c.ok->at, sdp_lines(s, "a=setup:active") || sdp_lines(s, "a=setup:passive"),
         "the answer is neither active nor passive");
    MUST(t, c.ok->at, !sdp_lines(s, "a=tls-id:"), "a tls-id although the offer had none");
    PASS(t, c.ok->at);
}
static void md5_refused(struct test *t) {
    phone_refuses(
        t, ua_new(t, WIRE_BEST, NOBODY),
        &(struct req){
            .method = "INVITE",
            .body = SDP("m=audio 40000 UDP/TLS/RTP/SAVP 0\r\na=setup:actpass\r\na=fingerprint:MD5 "
                        "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B\r\n") },
        "an MD5 fingerprint is accepted");
}
static void mux_not_unasked(struct test *t) {
    struct up c;
    CAPABLE(t, t->run->role != ROLE_BROWSER, "calls without rtcp-mux");
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    bool mux = sdp_lines(c.ok->body, "a=rtcp-mux");
    (void)phone_down(&c);
    MUST(t, c.ok->at, !mux, "rtcp-mux in the answer although the offer had none");
    PASS(t, c.ok->at);
}

AREA(phone_call, T(CORE_013, "repeats-200", repeats_200), T(CORE_026, "phone-copy", copy_absorbed),
     T(CORE_008, "merged", merged), T(CORE_009, "lower-cseq", lower_cseq),
     T(ROUTE_004, "routes", routes_returned), T(SDP_008, "bye", bye_answered),
     T(CORE_031, "100rel", reliable), T(CORE_042, "info", info_package),
     T(CORE_040, "refer", refer_200), T(SDP_009, "timer", session_timer),
     T(CORE_034, "timer-listed", timer_listed), T(OUTB_018, "gruu-contact", gruu_contact),
     T(CORE_023, "phone-multipart", multipart), T(CORE_025, "phone-optional", optional_part),
     T(CORE_029, "m-lines", same_lines), T(SDP_001, "sendonly", direction),
     T(SDP_002, "origin", origin), T(SDP_003, "payload", payload_kept),
     T(SDP_004, "refused-reinvite", survives_refusal), T(SDP_006, "offers", offers),
     T(MSEC_001, "phone-keys", offers_keys), T(MSEC_002, "actpass", offers_actpass),
     T(MSEC_003, "role", answers_role), T(MSEC_005, "phone-md5", md5_refused),
     T(RTP_005, "mux", mux_not_unasked), T(RTP_006, "payload-range", payload_range),
     T(MEET_007, "codecs", codecs), T(MEET_008, "opus", opus), T(NAT_002, "candidates", candidates),
     T(NAT_003, "ice2", ice2));
