/* check/phone_core.c - how a phone registers, and what it answers outside calls. */
#include "check/link.h"
#include "check/phone.h"
#include "check/tests.h"

/* The n-th REGISTER that came, as evidence; NULL: there was none. */
static struct msg *registered(struct test *t, unsigned n) {
    struct phone *p = t->run->phone;
    struct msg *m = arena_alloc(&t->arena, sizeof *m);
    if (n >= p->seen_count || !m) return NULL;
    unsigned at = test_event(t, '<', "registrar", slice_of(p->seen[n], p->seen_len[n]));
    msg_read(t->events[at - 1].bytes, m);
    m->at = at;
    return m;
}

static struct msg *last_registered(struct test *t) {
    return registered(t, t->run->phone->seen_count - 1);
}

static struct msg *first_login(struct test *t) {
    for (unsigned i = 0; i < t->run->phone->seen_count; i++) {
        struct msg *m = registered(t, i);
        if (m && msg_header(m, "Authorization").ptr) return m;
    }
    test_unclear(t, "no REGISTER with credentials came");
    return NULL;
}

/* RFC 3261 8.1.1.7 */
static void branches(struct test *t) {
    struct msg *one = registered(t, 0), *two = registered(t, 1);
    GIVEN(t, one && two, "fewer than two requests of the phone were seen");
    slice a = value_param(msg_value(one, "Via", 0), "branch"),
          b = value_param(msg_value(two, "Via", 0), "branch");
    MUST(t, one->at, slice_starts(a, SLICE("z9hG4bK")), "the branch does not begin with z9hG4bK");
    MUST(t, two->at, slice_starts(b, SLICE("z9hG4bK")), "the branch does not begin with z9hG4bK");
    MUST(t, two->at, !slice_eq(a, b), "two requests have the same branch");
    PASS(t, two->at);
}
static void cseqs(struct test *t) {
    struct msg *m = last_registered(t);
    OVER(t);
    MUST(t, m->at, msg_cseq(m) && msg_cseq(m) < 1u << 31, "the CSeq is not below 2^31");
    MUST(t, m->at, is(msg_cseq_method(m), "REGISTER"), "the CSeq has another method");
    PASS(t, m->at);
}
static void no_transport_tls(struct test *t) {
    struct msg *m = last_registered(t);
    MUST(t, m->at, !is_i(uri_param(value_uri(msg_value(m, "Contact", 0)), "transport"), "tls"),
         "transport=tls in the Contact");
    PASS(t, m->at);
}
static void instance(struct test *t) {
    struct msg *m = last_registered(t);
    slice v = value_param(msg_value(m, "Contact", 0), "+sip.instance");
    MUST(t, m->at, v.ptr, "no +sip.instance");
    MUST(t, m->at, has(v, "<urn:uuid:"), "+sip.instance is not <urn:uuid:...>");
    PASS(t, m->at);
}
static void reg_id(struct test *t) {
    struct msg *m = last_registered(t);
    MUST(t, m->at, value_has(msg_value(m, "Contact", 0), "reg-id"), "no reg-id");
    MUST(t, m->at, msg_lists(m, "Supported", "path") && msg_lists(m, "Supported", "outbound"),
         "Supported lacks path or outbound");
    PASS(t, m->at);
}
static void gruu(struct test *t) {
    struct msg *m = last_registered(t);
    MUST(t, m->at, msg_lists(m, "Supported", "gruu"), "Supported lacks gruu");
    PASS(t, m->at);
}
/* RFC 8599 4.1.1 */
static void push_parameters(struct test *t) {
    struct msg *m = last_registered(t);
    slice uri = value_uri(msg_value(m, "Contact", 0));
    CAPABLE(t, has(uri, ";pn-"), "push");
    MUST(t, m->at, uri_param(uri, "pn-provider").len, "no pn-provider");
    MUST(t, m->at, uri_param(uri, "pn-prid").len, "no pn-prid");
    PASS(t, m->at);
}
static void topmost(struct test *t) {
    struct msg *m = first_login(t);
    OVER(t);
    slice alg = comma_value(msg_header(m, "Authorization"), "algorithm");
    MUST(t, m->at, is_i(alg, "SHA-256"), "SHA-256 stood above MD5, and the answer is of " SLICE_FMT,
         SLICE_ARG(alg.ptr ? alg : SLICE("MD5")));
    PASS(t, m->at);
}
static void qop(struct test *t) {
    struct msg *m = first_login(t);
    OVER(t);
    MUST(t, m->at, is(comma_value(msg_header(m, "Authorization"), "qop"), "auth"),
         "no qop in the answer");
    PASS(t, m->at);
}
/* RFC 3261 10.2.4 */
static void refresh(struct test *t) {
    struct msg *before = last_registered(t);
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct msg *m = ua_wait(a, "REGISTER", (PHONE_GRANTED_S + 1) * 1000);
    OVER(t);
    MUST(t, before->at, m, "%d s were granted, and no refresh came", PHONE_GRANTED_S);
    MUST(t, m->at, slice_eq(msg_header(m, "Call-ID"), msg_header(before, "Call-ID")),
         "another Call-ID");
    MUST(t, m->at, msg_cseq(m) > msg_cseq(before), "the CSeq does not rise");
    PASS(t, m->at);
}

/* RFC 5626 4.4.2 and, of the time until it is back, 4.5: it waits only when that failed too. */
static bool pinged(struct ua *a) {
    const struct link *l = ua_link(a);
    unsigned before = l->pings;
    for (int64_t until = ua_until(a, (PHONE_FLOW_S + 1) * 1000);
         l->pings == before && clock_ms() < until;)
        (void)ua_wait(a, "-", 100);
    return l->pings > before;
}
static struct msg *login(struct ua *a, int64_t ms) {
    for (struct msg *m; (m = ua_wait(a, "REGISTER", ms));)
        if (msg_header(m, "Authorization").ptr) return m;
    return NULL;
}
static void stun_pings(struct test *t) {
    struct msg *m = last_registered(t);
    struct phone *p = t->run->phone;
    struct ua *a = ua_new(t, WIRE_UDP, NOBODY);
    OVER(t);
    CAPABLE(
        t, value_has(msg_value(m, "Contact", 0), "reg-id") && msg_lists(m, "Supported", "outbound"),
        "outbound");
    p->granted_s = 600; /* no refresh shall be taken for a registration anew */
    m = login(a, (PHONE_GRANTED_S + 1) * 1000);
    p->granted_s = PHONE_GRANTED_S;
    GIVEN(t, m, "%d s were granted, and no refresh came", PHONE_GRANTED_S);
    bool asks = pinged(a);
    unsigned at = test_note(t, "Flow-Timer was %d s: %s", PHONE_FLOW_S,
                            asks ? "a Binding request" : "no Binding request");
    MUST(t, at, asks, "no Binding request on its socket in the %d s of Flow-Timer", PHONE_FLOW_S);
    ua_link(a)->moved = true;
    bool told = pinged(a);
    at = test_note(t, "the answer names another port than the one before");
    ua_link(a)->moved = false;
    GIVEN(t, told, "no second Binding request came");
    m = login(a, 8000);
    MUST(t, at, m, "its address has changed on the way, and it does not register anew in 8 s");
    PASS(t, m->at);
}

/* ---- requests outside calls ------------------------------------------------------------------ */

static struct ua *agent(struct test *t) {
    return ua_new(t, WIRE_BEST, NOBODY);
}

static void copies(struct test *t) {
    struct msg *r =
        ua_ask(agent(t),
               &(struct req){ .headers = "Via: SIP/2.0/TCP 192.0.2.9:5060;branch=z9hG4bKlast\r\n",
                              .cseq = "4711 OPTIONS" });
    EXPECT(t, r, "2xx|4xx|5xx|6xx");
    MUST(t, r->at,
         msg_values(r, "Via") == 2 &&
             is(value_param(msg_value(r, "Via", 1), "branch"), "z9hG4bKlast"),
         "the Via values changed");
    MUST(t, r->at, is(msg_header(r, "CSeq"), "4711 OPTIONS"), "CSeq changed");
    MUST(t, r->at, value_has(msg_header(r, "To"), "tag"), "To has no tag");
    PASS(t, r->at);
}
static void options(struct test *t) {
    struct msg *r = ua_ask(agent(t), &(struct req){ 0 });
    EXPECT(t, r, "200");
    static const char *const wanted[] = { "Allow", "Accept", "Accept-Encoding", "Accept-Language",
                                          "Supported" };
    for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
        MUST(t, r->at, msg_header(r, wanted[i]).ptr, "the 200 has no %s", wanted[i]);
    PASS(t, r->at);
}
static void unknown_method(struct test *t) {
    struct msg *r =
        ua_ask(agent(t), &(struct req){ .method = "PUBLISH", .headers = "Event: presence\r\n" });
    EXPECT(t, r, "405|501");
    MUST(t, r->at, r->status == 501 || msg_header(r, "Allow").ptr, "405 without Allow");
    PASS(t, r->at);
}
static void unknown_require(struct test *t) {
    struct msg *r = ua_ask(agent(t), &(struct req){ .method = "INVITE",
                                                    .headers = "Require: x-kith-none\r\n",
                                                    .body = sdp_offer });
    EXPECT(t, r, "420");
    MUST(t, r->at, msg_lists(r, "Unsupported", "x-kith-none"),
         "Unsupported does not list x-kith-none");
    PASS(t, r->at);
}
static void no_dialog(struct test *t) {
    struct msg *r = ua_ask(
        agent(t),
        &(struct req){ .method = "INVITE", .to = "<{aor}>;tag=no-such-tag", .body = sdp_offer });
    EXPECT(t, r, "481");
    PASS(t, r->at);
}
static void unknown_event(struct test *t) {
    struct msg *r =
        ua_ask(agent(t), &(struct req){ .method = "SUBSCRIBE",
                                        .headers = "Event: x-kith-none\r\nExpires: 60\r\n" });
    CAPABLE(t, r && r->status != 405 && r->status != 501, "subscriptions");
    EXPECT(t, r, "489");
    MUST(t, r->at, msg_header(r, "Allow-Events").ptr, "489 without Allow-Events");
    PASS(t, r->at);
}
static void message(struct test *t) {
    struct msg *r = ua_ask(
        agent(t), &(struct req){ .method = "MESSAGE", .type = "text/plain", .body = "hello" });
    CAPABLE(t, r && r->status != 405 && r->status != 501, "messaging");
    EXPECT(t, r, "2xx");
    MUST(t, r->at, !r->body.len, "the 2xx has a body");
    MUST(t, r->at, !msg_header(r, "Contact").ptr, "the 2xx has a Contact");
    PASS(t, r->at);
}
static void other_body(struct test *t) {
    struct msg *r = ua_ask(
        agent(t),
        &(struct req){ .method = "INVITE", .type = "application/x-kith-none", .body = "what?" });
    EXPECT(t, r, "415");
    MUST(t, r->at, msg_header(r, "Accept").ptr, "415 without Accept");
    PASS(t, r->at);
}
static void required_part(struct test *t) {
    struct msg *r =
        ua_ask(agent(t),
               &(struct req){
                   .method = "INVITE",
                   .type = "multipart/mixed;boundary=x",
                   .body = "--x\r\nContent-Type: application/x-kith-none\r\nContent-Disposition: "
                           "x-kith;handling=required\r\n\r\nwhat?\r\n--x--\r\n" });
    EXPECT(t, r, "415");
    PASS(t, r->at);
}
static void replaces_none(struct test *t) {
    struct msg *r =
        ua_ask(agent(t), &(struct req){ .method = "INVITE",
                                        .headers = "Replaces: none@{n};to-tag=1;from-tag=2\r\n",
                                        .body = sdp_offer });
    CAPABLE(t, r && r->status / 100 != 2, "replaces (it is ignored)");
    EXPECT(t, r, "481");
    struct msg *two = ua_ask(
        agent(t),
        &(struct req){ .method = "INVITE",
                       .headers =
                           "Replaces: a;to-tag=1;from-tag=2\r\nReplaces: b;to-tag=1;from-tag=2\r\n",
                       .body = sdp_offer });
    EXPECT(t, two, "400");
    PASS(t, two->at);
}
static void stray_cancel(struct test *t) {
    struct msg *r = ua_ask(agent(t), &(struct req){ .method = "CANCEL" });
    EXPECT(t, r, "481");
    PASS(t, r->at);
}

#define RAW(n)                                                                                     \
    "OPTIONS {phone} SIP/2.0\r\nVia: SIP/2.0/{wire} {local};branch=z9hG4bK" n                      \
    "{n};rport\r\nMax-Forwards: 70\r\n"                                                            \
    "From: <sip:tester@{local}>;tag=1\r\nTo: <{phone}>\r\nCall-ID: " n                             \
    "{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
static void two_in_one(struct test *t) {
    struct ua *a = agent(t);
    CAPABLE(t, !test_has(t, WIRE_UDP), "a stream");
    ua_send(a, &(struct req){ .raw = RAW("one") RAW("two") });
    struct msg *r1 = ua_wait(a, "final", 3000), *r2 = ua_wait(a, "final", 3000);
    OVER(t);
    MUST(t, r1 ? r1->at : t->event_count, r1 && r2,
         "two requests in one segment did not get two answers");
    PASS(t, r2->at);
}
static void one_in_many(struct test *t) {
    struct ua *a = agent(t);
    CAPABLE(t, !test_has(t, WIRE_UDP), "a stream");
    slice s = slice_str(ua_fill(a, RAW("many")));
    for (size_t at = 0; at < s.len; at += 97) {
        ua_send_bytes(a, slice_head(slice_from(s, at), 97));
        test_pause(15);
    }
    struct msg *r = ua_wait(a, "final", 3000);
    EXPECT(t, r, "xxx");
    PASS(t, r->at);
}
static void compact(struct test *t) {
    struct ua *a = agent(t);
    ua_send(a, &(struct req){
                   .raw = "OPTIONS {phone} SIP/2.0\r\nv: SIP/2.0/{wire} "
                          "{local};bRaNcH=z9hG4bK{n};RPORT\r\nMAX-forwards:   70\r\n"
                          "f: <sip:tester@{local}>;TAG={n}\r\nt: <{phone}>\r\ni: {n}\r\ncseq:\r\n "
                          "9 OPTIONS\r\nX-Unknown: \"\r\n\tfolded\"\r\nl: 0\r\n\r\n" });
    struct msg *r = ua_wait(a, "final", 3000);
    EXPECT(t, r, "200");
    PASS(t, r->at);
}

#define BAD(want, ...) ASK(want, WIRE_BEST, .req = { __VA_ARGS__ })
AREA(phone_core, T(REG_006, "refresh", refresh, .seconds = PHONE_GRANTED_S),
     T(OUTB_004, "stun", stun_pings, .needs = NEEDS_UDP, .seconds = PHONE_GRANTED_S - 1),
     T(CORE_001, "branches", branches), T(TXN_011, "cseq", cseqs),
     T(TRANS_018, "contact", no_transport_tls), T(OUTB_001, "instance", instance),
     T(OUTB_002, "reg-id", reg_id), T(PUSH_001, "parameters", push_parameters),
     T(OUTB_012, "supported", gruu), T(AUTH_003, "topmost", topmost), T(AUTH_005, "answer", qop),
     T(CORE_002, "phone-copies", copies), T(CORE_003, "phone-method", unknown_method),
     T(CORE_004, "phone-require", unknown_require), T(CORE_007, "phone-options", options),
     T(CORE_010, "no-dialog", no_dialog), T(CORE_011, "stray-cancel", stray_cancel),
     T(SDP_008, "no-call", BAD("481", .method = "BYE", .to = "<{aor}>;tag=no-such-tag")),
     T(SDP_007, "415", other_body), T(CORE_024, "required-part", required_part),
     T(EVENT_002, "phone-event", unknown_event),
     T(EVENT_004, "phone-notify",
       BAD("481", .method = "NOTIFY", .to = "<{aor}>;tag=none",
           .headers = "Event: presence\r\nSubscription-State: active\r\n")),
     T(MSG_002, "message", message), T(CORE_041, "replaces", replaces_none),
     T(CORE_039, "no-refer-to", BAD("400|405|501|603|403", .method = "REFER")),
     T(PARSE_001, "phone-compact", compact), T(PARSE_002, "phone-two", two_in_one),
     T(PARSE_002, "phone-many", one_in_many),
     T(PARSE_010, "phone-cseq", BAD("400|drop", .cseq = "36893488147419103232 OPTIONS")),
     T(PARSE_011, "phone-version", BAD("505", .version = "SIP/7.0")),
     T(PARSE_012, "phone-cseq-method", BAD("400", .cseq = "8 INVITE")),
     T(PARSE_013, "phone-from", BAD("400|drop", .without = "From")),
     T(PARSE_014, "phone-scheme", BAD("416|404", .uri = "nobodyknows:thisscheme", .to = "<{aor}>")),
     T(PARSE_015, "phone-two-cseqs", BAD("400", .headers = "CSeq: 99 OPTIONS\r\n")));
