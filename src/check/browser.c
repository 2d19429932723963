/* check/browser.c - a WebRTC client in a browser: its WebSocket, its descriptions, and how its
 * media begins. It registers with us and answers calls by itself (check/phone.h). */
#include "check/link.h"
#include "check/phone.h"
#include "check/probe.h"
#include "check/secure.h"
#include "check/tests.h"
#include "check/ws.h"

#define WAIT_MS 15000
#define ICE     "a=ice-ufrag:" MEDIA_UFRAG "\r\na=ice-pwd:" MEDIA_PWD "\r\na=rtcp-mux\r\na=mid:0\r\n"
#define OPUS    "a=rtpmap:111 opus/48000/2\r\n"
/* The type is named, so that nothing is added to it: browser_offer(). */
#define CALL(text)                                                                                 \
    &(struct req) {                                                                                \
        .method = "INVITE", .type = "application/sdp", .body = (text)                              \
    }

static struct ua *agent(struct test *t) {
    return ua_new(t, WIRE_WSS, NOBODY);
}

/* ---- its WebSocket --------------------------------------------------------------------------- */

static void asks_for_sip(struct test *t) {
    struct link *l = ua_link(agent(t));
    struct msg m;
    GIVEN(t, l && l->hello, "no handshake was seen");
    unsigned at = test_note(t, "the handshake:\n%s", l->hello);
    msg_read(slice_str(l->hello), &m);
    MUST(t, at, msg_lists(&m, "Sec-WebSocket-Protocol", "sip"), "the subprotocol sip is not asked");
    PASS(t, at);
}

/* The REGISTERs came as they are kept: each a message of its own. */
static void one_each(struct test *t) {
    const struct phone *p = t->run->phone;
    unsigned at = 0;
    for (unsigned i = 0; i < p->seen_count; i++) {
        slice s = slice_of(p->seen[i], p->seen_len[i]);
        at = test_event(t, '<', "registrar", s);
        MUST(t, at, msg_frame(s) == s.len, "a WebSocket message is not one SIP message");
    }
    PASS(t, at);
}

static void via_and_contact(struct test *t) {
    const struct phone *p = t->run->phone;
    GIVEN(t, p->seen_count, "no REGISTER was seen");
    struct msg m;
    slice s = slice_of(p->seen[0], p->seen_len[0]);
    unsigned at = test_event(t, '<', "registrar", s);
    msg_read(s, &m);
    MUST(t, at, slice_istarts(msg_value(&m, "Via", 0), SLICE("SIP/2.0/WSS ")),
         "the Via does not say WSS");
    slice contact = value_uri(msg_value(&m, "Contact", 0)),
          transport = uri_param(contact, "transport");
    MUST(t, at, slice_istarts(contact, SLICE("sips:")) || is_i(transport, "ws"),
         "the Contact does not say transport=ws");
    PASS(t, at);
}

/* OPTIONS in a frame of this kind is answered. */
static void takes(struct test *t, enum ws_opcode opcode, const char *what) {
    struct ua *a = agent(t);
    slice s = slice_str(ua_fill(
        a, "OPTIONS {phone} SIP/2.0\r\nVia: SIP/2.0/WSS {local};branch=z9hG4bK{n}\r\nMax-Forwards: "
           "70\r\nFrom: <sip:tester@{local}>;tag={n}\r\nTo: <{phone}>\r\nCall-ID: {n}\r\nCSeq: 1 "
           "OPTIONS\r\nContent-Length: 0\r\n\r\n"));
    OVER(t);
    (void)test_note(t, "OPTIONS is sent as a %s message", what);
    GIVEN(t, link_ws_put(ua_link(a), &(struct ws_frame){ .opcode = opcode }, s), "not sent");
    struct msg *r = ua_wait(a, "final", WAIT_MS);
    EXPECT(t, r, "xxx");
    PASS(t, r->at);
}
static void takes_text(struct test *t) {
    takes(t, WS_TEXT, "text");
}
static void takes_binary(struct test *t) {
    takes(t, WS_BINARY, "binary");
}

static void masks(struct test *t) {
    struct ua *a = agent(t);
    struct msg *r = ua_ask(a, &(struct req){ 0 });
    EXPECT(t, r, "xxx");
    MUST(t, r->at, ua_link(a)->ws->unmasked == 0, "%u frames came without mask",
         ua_link(a)->ws->unmasked);
    PASS(t, r->at);
}
static void pong(struct test *t) {
    struct ua *a = agent(t);
    OVER(t);
    struct link *l = ua_link(a);
    unsigned before = l->pongs, at = test_note(t, "a ping is sent: kith");
    GIVEN(t, link_ws_put(l, &(struct ws_frame){ .opcode = WS_PING }, SLICE("kith")), "not sent");
    struct msg *r =
        ua_ask(a, &(struct req){ 0 }); /* what is answered after it shows that it came */
    EXPECT(t, r, "xxx");
    if (l->pongs == before)
        (void)ua_pongs(a, WAIT_MS); /* the page may be quicker than its browser */
    MUST(t, at, l->pongs > before, "no pong");
    MUST(t, at, slice_eq(slice_of(l->ws->control, l->ws->control_len), SLICE("kith")),
         "the pong does not hold the octets of the ping");
    PASS(t, test_note(t, "a pong came back: kith"));
}

/* The browser ends the connection and, being a client that wants to be reached, comes back. */
static void ends(struct test *t, const char *what, struct ws_frame f) {
    struct ua *a = agent(t);
    slice s = slice_str(
        ua_fill(a, "OPTIONS {phone} SIP/2.0\r\nVia: SIP/2.0/WSS {local};branch=z9hG4bK{n}"
                   "\r\nFrom: <sip:tester@{local}>;tag={n}\r\nTo: <{phone}>\r\nCall-ID: "
                   "{n}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"));
    OVER(t);
    struct link *l = ua_link(a);
    unsigned at = test_note(t, "%s", what);
    GIVEN(t, link_ws_put(l, &f, s), "not sent");
    GIVEN(t, link_ws_put(l, &(struct ws_frame){ .opcode = WS_TEXT }, s), "not sent");
    struct msg *r = ua_wait(a, "final", WAIT_MS);
    OVER(t);
    MUST(t, r ? r->at : at, !r, "%s: it goes on as if nothing had been", what);
    MUST(t, at, l->closed, "%s: it does not end the connection", what);
    PASS(t, test_note(t, "the browser ends the connection; reason %u", l->ws->code));
}
static void reserved_bit(struct test *t) {
    ends(t, "a frame with a reserved bit", (struct ws_frame){ .opcode = WS_TEXT, .rsv = 2 });
}

/* ---- its descriptions ------------------------------------------------------------------------ */

/* The offer of the browser: its answer to an INVITE without one. */
static slice offer(struct test *t, unsigned *at) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ .body = "" })) return SLICE_NONE;
    (void)phone_down(&c);
    *at = c.ok->at;
    return c.ok->body;
}

static void offers_savpf(struct test *t) {
    unsigned at = 0;
    slice s = offer(t, &at), line;
    OVER(t);
    MUST(t, at, sdp_lines(s, "m=audio "), "no audio is offered");
    for (slice rest = s; slice_split(&rest, '\n', &line);)
        MUST(t, at,
             !slice_starts(line, SLICE("m=")) || has(line, " UDP/TLS/RTP/SAVPF ") ||
                 has(line, " TCP/DTLS/RTP/SAVPF ") || has(line, "/DTLS/SCTP "),
             "an m= line that is neither SAVPF over DTLS nor a data channel");
    PASS(t, at);
}
static void offers_mux(struct test *t) {
    unsigned at = 0;
    slice s = offer(t, &at);
    OVER(t);
    MUST(t, at, sdp_lines(s, "m=audio "), "no audio is offered");
    MUST(t, at, sdp_lines(s, "a=rtcp-mux") >= sdp_lines(s, "m=audio ") + sdp_lines(s, "m=video "),
         "a media line without rtcp-mux");
    PASS(t, at);
}
static void offers_dtls_only(struct test *t) {
    unsigned at = 0;
    slice s = offer(t, &at);
    OVER(t);
    MUST(t, at, !sdp_lines(s, "a=crypto:"), "SDES keys are offered");
    MUST(t, at, sdp_lines(s, "a=fingerprint:"), "no fingerprint");
    PASS(t, at);
}

/* A call with this offer, hung up again; the answer, or NULL and the verdict stands. */
static struct msg *answered(struct test *t, const char *offered) {
    struct up c;
    if (!phone_up(t, &c, CALL(offered))) return NULL;
    (void)phone_down(&c);
    return c.ok;
}
/* An older name is taken, and is what the answer says (RFC 9429 5.1.2). */
static void takes_profile(struct test *t, const char *profile) {
    struct up c = { .a = agent(t) };
    c.ok = ua_ask(c.a, CALL(text(t, SDP("m=audio 40000 %s 111\r\n" OPUS ICE KEYED), profile)));
    bool up = c.ok && c.ok->status / 100 == 2;
    if (up) {
        phone_ack(&c);
        (void)phone_down(&c);
    }
    EXPECT(t, c.ok, "2xx");
    MUST(t, c.ok->at, has(sdp_line(c.ok->body, "m=audio "), text(t, " %s ", profile)),
         "the answer names another profile than %s", profile);
    MUST(t, c.ok->at, sdp_lines(c.ok->body, "a=fingerprint:"), "no fingerprint in the answer");
    PASS(t, c.ok->at);
}
static void takes_savpf(struct test *t) {
    takes_profile(t, "RTP/SAVPF");
}
static void takes_avp(struct test *t) {
    takes_profile(t, "RTP/AVP");
}

static void refuses(struct test *t, const char *offered) {
    phone_refuses(t, agent(t), CALL(offered), "it is accepted");
}
#define SAVPF "m=audio 40000 UDP/TLS/RTP/SAVPF 111\r\n" OPUS
static void no_ice(struct test *t) {
    refuses(t, SDP(SAVPF "a=rtcp-mux\r\na=mid:0\r\n" KEYED));
}
static void no_fingerprint(struct test *t) {
    refuses(t, SDP(SAVPF ICE "a=setup:actpass\r\n"));
}
#define CRYPTO                                                                                     \
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n"
static void sdes(struct test *t) {
    refuses(t, SDP("m=audio 40000 RTP/SAVPF 111\r\n" OPUS ICE CRYPTO));
}
static void in_clear(struct test *t) {
    refuses(t, SDP("m=audio 40000 RTP/AVP 0 8\r\n" ICE));
}

static void answers_mux(struct test *t) {
    struct msg *r = answered(t, SDP(SAVPF ICE KEYED));
    OVER(t);
    MUST(t, r->at, sdp_lines(r->body, "a=rtcp-mux"), "rtcp-mux is offered and not answered");
    PASS(t, r->at);
}
static void answers_savpf(struct test *t) {
    struct msg *r = answered(t, SDP(SAVPF ICE KEYED));
    OVER(t);
    MUST(t, r->at, has(sdp_line(r->body, "m=audio "), " UDP/TLS/RTP/SAVPF "),
         "the answer is not of UDP/TLS/RTP/SAVPF");
    PASS(t, r->at);
}

/* ---- video, bundles -------------------------------------------------------------------------- */

#define VIDEO(codec)                                                                               \
    "m=video 40000 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 " codec "/90000\r\n"                        \
    "a=rtcp-fb:96 nack pli\r\na=ice-ufrag:" MEDIA_UFRAG "\r\na=ice-pwd:" MEDIA_PWD                 \
    "\r\na=rtcp-mux\r\na=mid:1\r\n"
#define MID "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
#define BOTH(codec, more)                                                                          \
    SDP("a=group:BUNDLE 0 1\r\n" SAVPF ICE MID KEYED VIDEO(codec) more MID KEYED)

static void video(struct test *t, const char *offered, const char *codec) {
    struct msg *r = answered(t, offered);
    OVER(t);
    slice v = slice_from(r->body, slice_find_slice(r->body, SLICE("m=video ")));
    MUST(t, r->at, v.len && !slice_starts(v, SLICE("m=video 0 ")), "%s alone is not taken", codec);
    MUST(t, r->at, has(v, text(t, "a=rtpmap:96 %s/90000", codec)), "%s is not in the answer",
         codec);
    PASS(t, r->at);
}
static void vp8(struct test *t) {
    video(t, BOTH("VP8", ""), "VP8");
}
static void h264(struct test *t) {
    video(t,
          BOTH("H264", "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;"
                       "profile-level-id=42e01f\r\n"),
          "H264");
}
/* RFC 9143 7.3: the group of the answer holds what was taken, of what was offered, by the same
 * names. */
static void bundles(struct test *t) {
    struct msg *r = answered(t, BOTH("VP8", ""));
    OVER(t);
    slice group = sdp_line(r->body, "a=group:BUNDLE");
    CAPABLE(t, group.ptr, "bundle (none in the answer)");
    MUST(t, r->at, sdp_lines(r->body, "a=mid:") == 2, "a media line without a=mid");
    MUST(t, r->at, sdp_lines(r->body, "a=mid:0") == 1 && sdp_lines(r->body, "a=mid:1") == 1,
         "other names than offered");
    MUST(t, r->at, has(group, " 0") && (has(group, " 1") || has(r->body, "m=video 0 ")),
         "what was taken is not in the group");
    PASS(t, r->at);
}
static void bundle_rules(struct test *t) {
    struct msg *r = answered(t, BOTH("VP8", ""));
    OVER(t);
    CAPABLE(t, sdp_lines(r->body, "a=group:BUNDLE"), "bundle (none in the answer)");
    MUST(t, r->at, sdp_lines(r->body, "a=rtcp-mux") == 2, "a bundled line without rtcp-mux");
    MUST(t, r->at, has(r->body, "urn:ietf:params:rtp-hdrext:sdes:mid"),
         "the MID header extension is not taken");
    PASS(t, r->at);
}

/* ---- how media begins ------------------------------------------------------------------------ */

struct start {
    struct up up;
    struct media *media;
};

/* A call in which we are ICE-lite with one candidate. The browser checks it; we answer, or not. */
static bool start(struct test *t, struct start *s, bool answers) {
    *s = (struct start){ .up.a = agent(t) };
    s->media = media_open(s->up.a);
    if (!s->media) return false;
    s->media->answers = answers;
    s->up.ok = ua_ask(s->up.a, CALL(secure_sdp(s->media, "audio 111\r\n" OPUS, KEYED)));
    if (!t->verdict && !(s->up.ok && s->up.ok->status / 100 == 2))
        test_unclear(t, "the browser does not answer the call: %u",
                     s->up.ok ? s->up.ok->status : 0);
    phone_ack(&s->up);
    return !t->verdict;
}
static void finish(struct start *s) {
    (void)phone_down(&s->up);
    media_close(s->media);
}

static void full_ice(struct test *t) {
    struct start s;
    if (!start(t, &s, true)) return;
    media_wait(s.media, 1, 0, WAIT_MS);
    finish(&s);
    const struct media *m = s.media;
    OVER(t);
    MUST(t, s.up.ok->at, !sdp_lines(s.up.ok->body, "a=ice-lite"), "the answer is of ICE-lite");
    MUST(t, s.up.ok->at, m->checks, "no check comes to our candidate");
    MUST(t, m->check_at, slice_starts(media_check_has(m, STUN_USERNAME), SLICE(MEDIA_UFRAG ":")),
         "the check has no USERNAME of both fragments");
    MUST(t, m->check_at, media_check_is_proved(m), "MESSAGE-INTEGRITY of the check is wrong");
    MUST(t, m->check_at, media_check_has(m, 0x802a).len == 8,
         "the check does not say ICE-CONTROLLING, which a full agent is beside a lite one");
    PASS(t, m->check_at);
}
/* Five checks without an answer take some seconds: time enough to send something wrong. */
static void silent_candidate(struct test *t) {
    struct start s;
    if (!start(t, &s, false)) return;
    media_wait(s.media, 5, 1, WAIT_MS);
    finish(&s);
    const struct media *m = s.media;
    OVER(t);
    GIVEN(t, m->checks, "no check comes to our candidate");
    MUST(t, m->dtls_at, !m->dtls, "DTLS comes although no check has succeeded");
    MUST(t, m->rtp_at, !m->rtp, "media comes although no check has succeeded");
    GIVEN(t, m->checks >= 5, "only %u checks came", m->checks);
    PASS(t, m->check_at);
}
/* After ICE: two flights of DTLS, and before keys can be there nothing that looks like RTP. */
static void nothing_in_clear(struct test *t) {
    struct start s;
    if (!start(t, &s, true)) return;
    media_wait(s.media, 0, 3, WAIT_MS);
    finish(&s);
    const struct media *m = s.media;
    OVER(t);
    GIVEN(t, m->checks, "no check comes to our candidate");
    MUST(t, m->rtp_at, !m->rtp, "RTP comes before any key was agreed on");
    MUST(t, m->check_at, m->dtls, "no DTLS handshake begins");
    GIVEN(t, m->dtls >= 2, "only %u DTLS packets came", m->dtls);
    PASS(t, m->dtls_at);
}

/* The ClientHello of the browser, or the verdict stands. */
static bool hello(struct test *t, struct hello *h, unsigned *at) {
    struct start s;
    if (!start(t, &s, true)) return false;
    media_wait(s.media, 0, 3, WAIT_MS);
    finish(&s);
    if (!t->verdict && !media_hello(s.media, h))
        test_unclear(t, "no ClientHello came (%u checks, %u DTLS packets)", s.media->checks,
                     s.media->dtls);
    *at = s.media->dtls_at;
    return !t->verdict;
}
/* RFC 8827 6.5 */
static void suites(struct test *t) {
    struct hello h;
    unsigned at;
    if (!hello(t, &h, &at)) return;
    MUST(t, at, hello_lists(h.suites, 0xc02b, NULL),
         "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 is not offered");
    MUST(t, at, hello_lists(h.srtp, 1, NULL), "SRTP_AES128_CM_HMAC_SHA1_80 is not offered");
    PASS(t, at);
}
/* RFC 7714 14.2: 7 and 8 are the AEAD profiles */
static void aead_first(struct test *t) {
    struct hello h;
    unsigned at;
    if (!hello(t, &h, &at)) return;
    size_t gcm = 99, cm = 99;
    MUST(t, at, hello_lists(h.srtp, 7, &gcm) || hello_lists(h.srtp, 8, &gcm),
         "no AEAD profile is offered");
    MUST(t, at, hello_lists(h.srtp, 1, &cm), "SRTP_AES128_CM_HMAC_SHA1_80 is not offered");
    MUST(t, at, gcm < cm, "SRTP_AES128_CM_HMAC_SHA1_80 stands before the AEAD profiles");
    PASS(t, at);
}
static void versions(struct test *t) {
    struct hello h;
    unsigned at;
    if (!hello(t, &h, &at)) return;
    MUST(t, at, h.version == 0xfefd, "the highest version offered is not DTLS 1.2 or later");
    MUST(t, at, !h.versions.ptr || hello_lists(h.versions, 0xfefd, NULL),
         "DTLS 1.2 is not offered");
    MUST(t, at, !hello_lists(h.versions, 0xfeff, NULL), "DTLS 1.0 is offered");
    PASS(t, at);
}

AREA(browser, T(TRANS_019, "asks", asks_for_sip), T(TRANS_020, "one-each", one_each),
     T(TRANS_021, "takes-text", takes_text), T(TRANS_021, "takes-binary", takes_binary),
     T(TRANS_023, "says", via_and_contact), T(TRANS_024, "masks", masks),
     T(TRANS_025, "pong", pong), T(TRANS_026, "ends", reserved_bit),
     T(WEB_001, "full-ice", full_ice), T(WEB_003, "silent-candidate", silent_candidate),
     T(WEB_005, "no-ice", no_ice), T(WEB_005, "no-fingerprint", no_fingerprint),
     T(WEB_005, "sdes", sdes), T(WEB_006, "offer", offers_savpf),
     T(WEB_006, "older-savpf", takes_savpf), T(WEB_006, "older-avp", takes_avp),
     T(WEB_007, "offer", offers_mux), T(WEB_007, "answer", answers_mux),
     T(WEB_009, "answer", answers_savpf), T(WEB_009, "nothing-in-clear", nothing_in_clear),
     T(MSEC_009, "offer", offers_dtls_only), T(MSEC_009, "clear", in_clear),
     T(MSEC_009, "suites", suites), T(MSEC_007, "order", aead_first),
     T(MSEC_008, "versions", versions), T(RTP_009, "vp8", vp8), T(RTP_009, "h264", h264),
     T(MEET_004, "answer", bundles), T(MEET_005, "bundled", bundle_rules));
