/* check/server_misc.c - privacy and identity (RFC 3323, 3325), events (RFC 6665, 3842, 3903), media
 * policy, overload control (RFC 7339), IPv6, and STUN on the SIP port (RFC 8489). */
#include "check/link.h"
#include "check/tests.h"

#define MESSAGE .method = "MESSAGE", .uri = "sip:{peer}", .type = "text/plain", .body = "hello"

static struct msg *through(struct test *t, const struct req *r) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(a, b, r);
    ua_reply(b, in, 200, NULL);
    return t->verdict ? NULL : in;
}

/* ---- privacy ------------------------------------------------------------------------------ */

static void privacy_none(struct test *t) {
    struct msg *in = through(t, &(struct req){ MESSAGE, .headers = "Privacy: none\r\n" });
    OVER(t);
    MUST(t, in->at, is(msg_header(in, "Privacy"), "none"), "Privacy: none was changed");
    PASS(t, in->at);
}

static void asserted_by_liar(struct test *t) {
    struct msg *in = through(
        t, &(struct req){ MESSAGE, .headers = "P-Asserted-Identity: <sip:the-boss@{domain}>\r\n" });
    OVER(t);
    MUST(t, in->at, !has(msg_header(in, "P-Asserted-Identity"), "the-boss"),
         "a phone may say that it is somebody else");
    PASS(t, in->at);
}

static void identity_withheld(struct test *t) {
    struct msg *in = through(
        t, &(struct req){ MESSAGE, .headers =
                                       "Privacy: id\r\nP-Asserted-Identity: "
                                       "<sip:{aor}>\r\nP-Preferred-Identity: <sip:{aor}>\r\n" });
    OVER(t);
    MUST(t, in->at, !msg_header(in, "P-Asserted-Identity").ptr,
         "the identity is shown in spite of Privacy: id");
    PASS(t, in->at);
}

static void preferred_removed(struct test *t) {
    struct msg *in =
        through(t, &(struct req){ MESSAGE, .headers = "P-Preferred-Identity: <sip:{aor}>\r\n" });
    OVER(t);
    MUST(t, in->at, !msg_header(in, "P-Preferred-Identity").ptr,
         "P-Preferred-Identity was passed on");
    PASS(t, in->at);
}

static void history(struct test *t) {
    struct msg *in = through(
        t,
        &(struct req){
            MESSAGE, .headers = "Supported: histinfo\r\nHistory-Info: <sip:{peer}>;index=1\r\n" });
    OVER(t);
    CAPABLE(t, msg_values(in, "History-Info") > 1, "history-info");
    MUST(t, in->at, is(value_param(msg_value(in, "History-Info", 1), "index"), "1.1"),
         "the index of the new entry is not 1.1");
    PASS(t, in->at);
}

/* The INVITE ends, refused by b. */
static void refused(struct ua *a, struct ua *b, const struct msg *in) {
    ua_reply(b, in, 486, NULL);
    ua_ack(a, in ? ua_wait(a, "final INVITE", 4000) : NULL);
}

#define IDENTITY(ppt)                                                                              \
    "Identity: e30.e30.c2ln;info=<https://cert.invalid/a.cer>;alg=ES256;ppt=\"" ppt "\"\r\n"

/* RFC 8224 6.2 step 1. A verifier is known by what it says to a signature without sense. */
static void unknown_ppt(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *r = ua_ask(
        a, &(struct req){ .method = "INVITE", .headers = IDENTITY("shaken"), .body = sdp_offer });
    struct msg *in = ua_wait(b, "INVITE", 0);
    refused(a, b, in);
    CAPABLE(t, r && !in && r->status >= 436 && r->status <= 438,
            "verification of Identity (one without sense is let through)");
    refused(a, b, call_between(a, b, NULL));
    in = must_reach(
        a, b,
        &(struct req){ .method = "INVITE", .headers = IDENTITY("x-kith-none"), .body = sdp_offer });
    refused(a, b, in);
    OVER(t);
    PASS(t, in->at);
}

/* ---- media policy ------------------------------------------------------------------------- */

#define SDP(media)                                                                                 \
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio "            \
    "40000 " media

static void refused_offer(struct test *t, const char *sdp, const char *what) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *r = ua_ask(a, &(struct req){ .method = "INVITE", .body = sdp }),
               *in = ua_wait(b, "INVITE", 0);
    if (in) ua_reply(b, in, 488, NULL);
    OVER(t);
    MUST(t, in ? in->at : 0, !in, "%s reaches the other side", what);
    EXPECT(t, r, "488|606");
    PASS(t, r->at);
}
static void plain_rtp(struct test *t) {
    refused_offer(t, SDP("RTP/AVP 0\r\n"), "an offer without media keys");
}
static void md5_fingerprint(struct test *t) {
    refused_offer(t,
                  SDP("UDP/TLS/RTP/SAVP 0\r\na=setup:actpass\r\na=fingerprint:MD5 "
                      "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B\r\n"),
                  "an offer with an MD5 fingerprint");
}
static void sdes_in_clear(struct test *t) {
    enum wire clear = test_has(t, WIRE_TCP) ? WIRE_TCP : WIRE_UDP;
    CAPABLE(t, test_has(t, clear), "a transport without TLS");
    struct ua *b = ua_new(t, clear, 1), *a = ua_registered(t, 0);
    GIVEN(t, ua_register(b, NULL), "no registration");
    send_logged_in(
        a, &(struct req){ .method = "INVITE",
                          .body = SDP("RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 "
                                      "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n") });
    struct msg *in = ua_wait(b, "INVITE", 1500);
    if (in) ua_reply(b, in, 488, NULL);
    OVER(t);
    MUST(t, in ? in->at : 0, !in || !has(in->body, "inline:"),
         "media keys were sent over a transport without TLS");
    struct msg *r = ua_wait(a, "final INVITE", 2000);
    EXPECT(t, r, "4xx|6xx");
    ua_ack(a, r);
    PASS(t, r->at);
}

/* ---- events ------------------------------------------------------------------------------- */

#define SUBSCRIBE(event)                                                                           \
    .method = "SUBSCRIBE", .uri = "sip:{aor}", .headers = "Event: " event "\r\nExpires: 300\r\n"

static void unknown_event(struct test *t) {
    struct ua *a = ua_registered(t, 0);
    struct msg *r = ua_ask(a, &(struct req){ .method = "SUBSCRIBE",
                                             .uri = "sip:{domain}",
                                             .headers = "Event: x-kith-none\r\nExpires: 300\r\n" });
    CAPABLE(t, r && (r->status == 489 || r->status / 100 == 2),
            "an event server (SUBSCRIBE got %u)", r ? r->status : 0);
    EXPECT(t, r, "489");
    MUST(t, r->at, msg_header(r, "Allow-Events").ptr, "489 without Allow-Events");
    PASS(t, r->at);
}

static struct msg *voice_mail(struct test *t, struct ua *a, struct msg **notify) {
    struct msg *r = ua_ask(a, &(struct req){ SUBSCRIBE("message-summary") });
    if (!t->verdict && (!r || r->status / 100 != 2))
        test_na(t, "voice-mail (SUBSCRIBE got %u)", r ? r->status : 0);
    *notify = ua_wait(a, "NOTIFY", 3000);
    ua_reply(a, *notify, 200, NULL);
    return r;
}
static void notify_at_once(struct test *t) {
    struct msg *n, *r = voice_mail(t, ua_registered(t, 0), &n);
    OVER(t);
    MUST(t, r->at, n, "no NOTIFY within 3 s");
    PASS(t, n->at);
}
static void expires_granted(struct test *t) {
    struct msg *n, *r = voice_mail(t, ua_registered(t, 0), &n);
    OVER(t);
    uint32_t s = 0;
    MUST(t, r->at, slice_u32(msg_header(r, "Expires"), UINT32_MAX, &s) == ERR_OK,
         "no Expires in the 2xx");
    MUST(t, r->at, s <= 300, "300 s asked, %u granted", s);
    PASS(t, r->at);
}
static void summary(struct test *t) {
    struct msg *n, *r = voice_mail(t, ua_registered(t, 0), &n);
    OVER(t);
    MUST(t, r->at, n && has(n->body, "Messages-Waiting"), "the NOTIFY tells no state");
    MUST(t, n->at, slice_find_slice(n->body, SLICE("\r\n\r\n")) == n->body.len,
         "the first NOTIFY lists single messages");
    PASS(t, n->at);
}
static void watcher_refused(struct test *t) {
    struct ua *a = ua_registered(t, 0);
    struct msg *n, *r = voice_mail(t, a, &n);
    OVER(t);
    struct msg *other =
        ua_ask(a, &(struct req){ .method = "SUBSCRIBE",
                                 .uri = "sip:{peer}",
                                 .headers = "Event: message-summary\r\nExpires: 300\r\n" });
    MUST(t, r->at, other, "no answer");
    if (other->status / 100 != 2) {
        EXPECT(t, other, "403|404|480|489");
        PASS(t, other->at);
    }
    struct msg *n2 = ua_wait(a, "NOTIFY", 1500);
    OVER(t);
    MUST(t, n2 ? n2->at : 0, !n2 || !has(n2->body, "Voice-Message"),
         "another person's voice mail is shown");
    PASS(t, other->at);
}

static void publish_tag(struct test *t) {
    struct ua *a = ua_registered(t, 0);
    struct msg *r = ua_ask(
        a, &(struct req){ .method = "PUBLISH",
                          .uri = "sip:{aor}",
                          .headers =
                              "Event: presence\r\nExpires: 300\r\nSIP-If-Match: kith-none\r\n" });
    CAPABLE(t, r && (r->status == 412 || r->status / 100 == 2), "presence (PUBLISH got %u)",
            r ? r->status : 0);
    EXPECT(t, r, "412");
    PASS(t, r->at);
}
static void presence_authorised(struct test *t) {
    struct ua *a = ua_registered(t, 0), *s = ua_new(t, WIRE_BEST, NOBODY);
    struct msg *r = ua_ask(a, &(struct req){ SUBSCRIBE("presence") });
    CAPABLE(t, r && r->status / 100 == 2, "presence (SUBSCRIBE got %u)", r ? r->status : 0);
    struct msg *no = ua_ask(s, &(struct req){ .method = "SUBSCRIBE",
                                              .uri = text(t, "sip:%s", ua_account(a)->aor),
                                              .headers = "Event: presence\r\nExpires: 300\r\n" });
    EXPECT(t, no, "401|403|407");
    PASS(t, no->at);
}

static void stray_notify(struct test *t) {
    struct ua *a = ua_registered(t, 0);
    struct msg *r =
        ua_ask(a, &(struct req){ .method = "NOTIFY",
                                 .uri = "sip:{domain}",
                                 .to = "<sip:{domain}>;tag=none",
                                 .headers = "Event: presence\r\nSubscription-State: active\r\n" });
    GIVEN(t, !r || r->status != 403, "a NOTIFY outside any dialog gets 403");
    EXPECT(t, r, "481");
    PASS(t, r->at);
}

/* A subscription to a package that few have; *notify is its first NOTIFY. */
static struct msg *package(struct test *t, struct ua *a, const char *event, struct msg **notify) {
    const char *headers = text(t, "Event: %s\r\nExpires: 300\r\n", event);
    struct msg *r =
        ua_ask(a, &(struct req){ .method = "SUBSCRIBE", .uri = "sip:{aor}", .headers = headers });
    if (!t->verdict && (!r || r->status / 100 != 2))
        test_na(t, "%s (SUBSCRIBE got %u)", event, r ? r->status : 0);
    *notify = ua_wait(a, "NOTIFY", 3000);
    ua_reply(a, *notify, 200, NULL);
    return t->verdict ? NULL : r;
}
/* RFC 4235 4.1 */
static void dialog_first(struct test *t) {
    struct msg *n, *r = package(t, ua_registered(t, 0), "dialog", &n);
    OVER(t);
    MUST(t, r->at, n, "no NOTIFY within 3 s");
    MUST(t, n->at, has(n->body, "version=\"0\"") && has(n->body, "state=\"full\""),
         "the first document is not version 0 and full");
    PASS(t, n->at);
}
/* RFC 4235 3.6 */
static void dialog_watcher(struct test *t) {
    struct ua *a = ua_registered(t, 0);
    struct msg *n, *r = package(t, a, "dialog", &n);
    OVER(t);
    struct msg *other = ua_ask(a, &(struct req){ .method = "SUBSCRIBE",
                                                 .uri = "sip:{peer}",
                                                 .headers = "Event: dialog\r\nExpires: 300\r\n" });
    MUST(t, r->at, other, "no answer");
    MUST(t, other->at, other->status / 100 != 2, "anybody may watch the calls of another person");
    PASS(t, other->at);
}
/* RFC 6080 5.1.1 */
static void profile_content(struct test *t) {
    struct msg *n, *r = package(t, ua_registered(t, 0), "ua-profile;profile-type=device", &n);
    OVER(t);
    MUST(t, r->at, n && n->body.len, "no NOTIFY with a profile, or a URI of one");
    PASS(t, n->at);
}
/* RFC 7200 4.7 */
static void load_policy(struct test *t) {
    struct msg *n, *r = package(t, ua_registered(t, 0), "load-control", &n);
    OVER(t);
    MUST(t, r->at, n, "no NOTIFY within 3 s");
    PASS(t, n->at);
}

/* ---- overload control: RFC 7339 4.1 -------------------------------------------------------- */

static void oc_only_to_askers(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct msg *r = ua_ask(a, &(struct req){ .no_login = true });
    EXPECT(t, r, "xxx");
    slice v = msg_value(r, "Via", 0);
    MUST(t, r->at, !value_has(v, "oc") && !value_has(v, "oc-validity"),
         "oc for a client that did not ask for it");
    struct msg *asked = ua_ask(
        a, &(struct req){
               .no_login = true,
               .via = "Via: SIP/2.0/TLS {local};branch=z9hG4bK{n};rport;oc;oc-algo=\"loss\"\r\n" });
    if (!asked) asked = ua_wait(a, "final", 100);
    CAPABLE(t, asked && value_param(msg_value(asked, "Via", 0), "oc").len, "overload-control");
    PASS(t, asked->at);
}

/* ---- IPv6: RFC 6157 3.1 ------------------------------------------------------------------- */

/* RFC 6157 3.1.1: the callee is on the other address family */
static void between_families(struct test *t) {
    CAPABLE(t, has(slice_str(test_families(t)), " and "), "both address families");
    struct ua *b = ua_other_family(t, 1), *a = ua_registered(t, 0);
    GIVEN(t, ua_register(b, NULL), "no registration over the other family");
    struct msg *in = call_between(a, b, NULL);
    OVER(t);
    unsigned n = msg_values(in, "Record-Route");
    slice host = uri_host(value_uri(msg_value(in, "Record-Route", 0)));
    struct addr ip;
    bool name = host.len && addr_read_ip(host, &ip) != ERR_OK && *host.ptr != '[';
    ua_reply(b, in, 486, NULL);
    MUST(t, in->at, n >= 2 || (n && name),
         "%u Record-Route value(s), and no name for both families", n);
    PASS(t, in->at);
}

static void both_families(struct test *t) {
    unsigned at = test_note(t, "answers on: %s", test_families(t));
    MUST(t, at,
         has(slice_str(test_families(t)), "IPv4") && has(slice_str(test_families(t)), "IPv6"),
         "%s has only %s", test_domain(t), test_families(t));
    PASS(t, at);
}

/* ---- STUN on the SIP port ------------------------------------------------------------------ */

/* A Binding request with these attribute bytes behind the header; the answer, or empty. */
static slice binding(struct test *t, const char *attributes, size_t len, unsigned *at) {
    struct ua *a = ua_new(t, WIRE_UDP, NOBODY);
    if (!a) return SLICE_NONE;
    char m[128] = { 0,   1,   0,   (char)len, 0x21, 0x12, (char)0xA4, 0x42, 'k', 'i',
                    't', 'h', 'c', 'h',       'e',  'c',  'k',        '0',  '0', '1' };
    if (len) memcpy(m + 20, attributes, len);
    ua_send_bytes(a, slice_of(m, 20 + len));
    struct msg *r = ua_wait(a, "any", 1500);
    *at = r ? r->at : test_note(t, "no answer in 1500 ms");
    return r ? r->raw : SLICE_NONE;
}

static void stun_binding(struct test *t) {
    unsigned at = 0;
    slice r = binding(t, NULL, 0, &at);
    OVER(t);
    MUST(t, at, r.len >= 32, "no answer to a STUN Binding on the SIP port");
    MUST(t, at, r.ptr[0] == 1 && r.ptr[1] == 1, "not a success");
    MUST(t, at,
         memcmp(r.ptr + 4,
                "\x21\x12\xA4\x42"
                "kithcheck001",
                16) == 0,
         "another transaction id");
    MUST(t, at,
         slice_find_slice(r, slice_of("\0\x20\0\x08", 4)) < r.len ||
             slice_find_slice(r, slice_of("\0\x20\0\x14", 4)) < r.len,
         "no XOR-MAPPED-ADDRESS");
    PASS(t, at);
}
static void stun_unknown(struct test *t) {
    unsigned at;
    slice plain = binding(t, NULL, 0, &at);
    CAPABLE(t, plain.len, "STUN on the SIP port");
    slice r = binding(t, "\x7f\x01\0\0", 4, &at);
    OVER(t);
    MUST(t, at, r.len >= 20 && r.ptr[0] == 1 && r.ptr[1] == 0x11,
         "an unknown attribute that must be understood gets no error");
    MUST(t, at, slice_find_slice(r, slice_of("\x04\x14", 2)) < r.len, "not 420");
    PASS(t, at);
}
static void stun_malformed(struct test *t) {
    unsigned at;
    slice plain = binding(t, NULL, 0, &at);
    CAPABLE(t, plain.len, "STUN on the SIP port");
    struct ua *a = ua_new(t, WIRE_UDP, NOBODY);
    ua_send_bytes(a, slice_of("\0\1\0\7\x21\x12\xA4\x42kithcheck002abc",
                              23)); /* a length that is no multiple of 4 */
    ua_send_bytes(a, slice_of("\0\1\0\0\x21\x12\xA4\x43kithcheck003", 20)); /* another cookie */
    struct msg *m;
    unsigned quiet = ua_quiet(a, "any", 1000, &m);
    OVER(t);
    MUST(t, m ? m->at : 0, !m, "a malformed STUN message is answered");
    PASS(t, quiet);
}
static void stun_no_login(struct test *t) {
    unsigned at;
    slice r = binding(t, NULL, 0, &at);
    CAPABLE(t, r.len, "STUN on the SIP port");
    MUST(t, at, r.ptr[1] == 1 && r.ptr[0] == 1, "Binding is refused without log-in");
    PASS(t, at);
}
static void stun_fingerprint(struct test *t) {
    unsigned at;
    slice plain = binding(t, NULL, 0, &at);
    CAPABLE(t, plain.len, "STUN on the SIP port");
    slice r = binding(t, "\x80\x28\0\4wron", 8, &at);
    OVER(t);
    MUST(t, at, !r.len, "a message with a wrong FINGERPRINT is answered");
    PASS(t, at);
}

AREA(server_misc, T(PRIV_002, "none", privacy_none, .accounts = 2),
     T(PRIV_003, "spoofed", asserted_by_liar, .accounts = 2),
     T(PRIV_004, "id", identity_withheld, .accounts = 2),
     T(IDENT_003, "unknown-ppt", unknown_ppt, .accounts = 2),
     T(PRIV_007, "entry", history, .accounts = 2),
     T(PRIV_011, "preferred", preferred_removed, .accounts = 2),
     T(MSEC_001, "plain-rtp", plain_rtp, .accounts = 2),
     T(MSEC_005, "md5", md5_fingerprint, .accounts = 2),
     T(MSEC_014, "sdes-in-clear", sdes_in_clear, .accounts = 2),
     T(EVENT_001, "notify", notify_at_once, .accounts = 1),
     T(EVENT_002, "unknown", unknown_event, .accounts = 1),
     T(EVENT_003, "expires", expires_granted, .accounts = 1),
     T(EVENT_004, "stray", stray_notify, .accounts = 1),
     T(EVENT_006, "watcher", watcher_refused, .accounts = 2),
     T(EVENT_007, "summary", summary, .accounts = 1),
     T(EVENT_009, "presence", presence_authorised, .accounts = 1),
     T(EVENT_010, "if-match", publish_tag, .accounts = 1), T(OVLD_003, "oc", oc_only_to_askers),
     T(IPV6_001, "both", both_families),
     T(IPV6_002, "record-route", between_families, .accounts = 2),
     T(EVENT_012, "first", dialog_first, .accounts = 1),
     T(EVENT_013, "watcher", dialog_watcher, .accounts = 2),
     T(CONF_001, "content", profile_content, .accounts = 1),
     T(OVLD_007, "policy", load_policy, .accounts = 1),
     T(OUTB_007, "stun", stun_binding, .needs = NEEDS_UDP),
     T(NAT_009, "unknown-attribute", stun_unknown, .needs = NEEDS_UDP),
     T(RELAY_012, "malformed", stun_malformed, .needs = NEEDS_UDP),
     T(RELAY_013, "no-login", stun_no_login, .needs = NEEDS_UDP),
     T(RELAY_014, "fingerprint", stun_fingerprint, .needs = NEEDS_UDP));
