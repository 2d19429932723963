/* check/phone_uac.c - what a phone does that calls: RFC 3261 13 and 12.2.1, 3262, 3311, 7647, and
 * what it must not do again. */
#include "check/caller.h"
#include "check/link.h"
#include "check/phone.h"
#include "check/tests.h"
#include "os/socket.h"

#define DIALLED(t, c, uri)                                                                         \
    do {                                                                                           \
        if (!phone_dials((t), (c), (uri))) return;                                                 \
        GIVEN((t), (c)->in, "the phone was told to call, and did not");                            \
    } while (0)

/* ---- calls that it makes -------------------------------------------------------------------- */

/* RFC 3261 13.2.2.4: our two answers are of two phones that a proxy rang */
static void two_answers(struct test *t) {
    struct dialled c;
    DIALLED(t, &c, NULL);
    const char *sdp = sdp_answer_to(t, c.in->body);
    ua_reply(c.a, c.in, 200, &(struct rep){ .to_tag = "one", .body = sdp });
    ua_reply(c.a, c.in, 200, &(struct rep){ .to_tag = "two", .body = sdp });
    struct msg *ack[2] = { ua_wait(c.a, "ACK", 4000), ua_wait(c.a, "ACK", 4000) };
    struct msg *bye = ua_wait(c.a, "BYE", ack[1] ? 4000 : 0); /* of a call that it knows of */
    ua_reply(c.a, bye, 200, NULL);
    static const char *const tags[] = { "one", "two" };
    for (unsigned i = 0; i < 2; i++) {
        if (bye && is(value_param(msg_header(bye, "From"), "tag"), tags[i])) continue;
        struct dialog d;
        dialog_taken(c.a, c.in, &(struct rep){ .to_tag = tags[i] }, &d);
        (void)ua_ask(c.a, &(struct req){ .method = "BYE", .in = &d });
    }
    phone_dialled_end(&c);
    OVER(t);
    MUST(t, c.in->at, ack[0] && ack[1], "two phones answered, and not both got an ACK");
    MUST(t, ack[1]->at,
         !slice_eq(value_param(msg_header(ack[0], "To"), "tag"),
                   value_param(msg_header(ack[1], "To"), "tag")),
         "both ACKs are for one of the two that answered");
    GIVEN(t, bye, "both calls were kept: a conference, or a forgotten BYE");
    PASS(t, bye->at);
}

static void ring_reliably(struct dialled *c, unsigned number) {
    struct test *t = ua_test(c->a);
    ua_reply(c->a, c->in, 180,
             &(struct rep){ .headers = text(t, "Require: 100rel\r\nRSeq: %u\r\n", number) });
}

/* RFC 3262 4: the PRACK for 8 comes only after that for 7 */
static void pracks(struct test *t) {
    struct dialled c;
    DIALLED(t, &c, NULL);
    bool able = msg_lists(c.in, "Supported", "100rel") || msg_lists(c.in, "Require", "100rel");
    struct msg *p[3] = { NULL };
    if (able) ring_reliably(&c, 6);
    if (able) ua_reply(c.a, p[0] = ua_wait(c.a, "PRACK", 4000), 200, NULL);
    if (p[0]) ring_reliably(&c, 8);
    if (p[0]) ring_reliably(&c, 7);
    if (p[0]) ua_reply(c.a, p[1] = ua_wait(c.a, "PRACK", 4000), 200, NULL);
    if (p[1]) ring_reliably(&c, 8);
    if (p[1]) ua_reply(c.a, p[2] = ua_wait(c.a, "PRACK", 4000), 200, NULL);
    ua_reply(c.a, c.in, 486, NULL);
    phone_dialled_end(&c);
    CAPABLE(t, able, "100rel");
    for (unsigned i = 0; i < 3; i++) {
        MUST(t, p[i] ? p[i]->at : t->event_count, p[i], "no PRACK for RSeq %u", 6 + i);
        const char *want = text(t, "%u %u INVITE", 6 + i, msg_cseq(c.in));
        MUST(t, p[i]->at, is(msg_header(p[i], "RAck"), want),
             "RAck is " SLICE_FMT "; %s is right: in the order of RSeq, and none over a gap",
             SLICE_ARG(msg_header(p[i], "RAck")), want);
    }
    PASS(t, p[2]->at);
}

/* A request of ours that crosses the phone's INVITE, which has not been answered yet. */
static void crossing(struct test *t, const char *method) {
    struct dialled c;
    DIALLED(t, &c, NULL);
    bool able = is(slice_str(method), "INVITE") || has(msg_header(c.in, "Allow"), method);
    ua_reply(c.a, c.in, 180, NULL);
    struct msg *r = able ? ua_ask(c.a, &(struct req){ .method = method,
                                                      .in = &c.d,
                                                      .contact = "<{contact}>",
                                                      .body = sdp_offer })
                         : NULL;
    ua_reply(c.a, c.in, 486, NULL);
    phone_dialled_end(&c);
    CAPABLE(t, able, "%s", method);
    EXPECT(t, r, "491");
    PASS(t, r->at);
}
static void crossing_invite(struct test *t) {
    crossing(t, "INVITE");
}
static void crossing_update(struct test *t) {
    crossing(t, "UPDATE");
}

/* RFC 3261 12.2.1.1, seen at the NOTIFYs of a transfer in the call */
static void in_the_call(struct test *t) {
    struct up c;
    if (!phone_up(t, &c,
                  &(struct req){ .headers = "Record-Route: <{contact};lr;x=1>, "
                                            "<{contact};lr;x=2>\r\n" }))
        return;
    c.d.route_count = 0; /* these proxies would have taken their names off */
    struct msg *r = ua_ask(c.a, &(struct req){ .method = "REFER",
                                               .in = &c.d,
                                               .headers = "Refer-To: <sip:called@{local}>\r\n" });
    bool able = r && r->status / 100 == 2;
    struct msg *n[2] = { NULL };
    int64_t until = ua_until(c.a, 4000);
    unsigned got = 0;
    for (struct msg *m; able && got < 2 && (m = ua_next(c.a, until));) {
        if (phone_held(c.a, m, c.d.call_id) || m->status) continue;
        if (is(m->method, "NOTIFY")) ua_reply(c.a, n[got++] = m, 200, NULL);
        if (is(m->method, "INVITE")) ua_reply(c.a, m, 486, NULL); /* the call that it makes */
    }
    (void)phone_down(&c);
    CAPABLE(t, able, "transfer (REFER got %u)", r ? r->status : 0);
    GIVEN(t, n[0] && n[1], "no two NOTIFYs came in the call");
    for (unsigned i = 0; i < 2; i++) {
        MUST(t, n[i]->at, is(n[i]->uri, ua_contact(c.a)), "not sent to our Contact");
        MUST(t, n[i]->at, slice_eq(msg_header(n[i], "Call-ID"), c.d.call_id), "another Call-ID");
        MUST(t, n[i]->at,
             same(value_param(msg_header(n[i], "From"), "tag"), value_param(c.d.remote, "tag")) &&
                 same(value_param(msg_header(n[i], "To"), "tag"), value_param(c.d.local, "tag")),
             "other tags");
        MUST(t, n[i]->at,
             has(msg_value(n[i], "Route", 0), "x=1") && has(msg_value(n[i], "Route", 1), "x=2"),
             "the route set is not there in its order");
    }
    MUST(t, n[1]->at, msg_cseq(n[1]) == msg_cseq(n[0]) + 1, "CSeq goes from %u to %u",
         msg_cseq(n[0]), msg_cseq(n[1]));
    PASS(t, n[1]->at);
}

/* RFC 6665 4.5.1 */
static void notifier_gruu(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct msg *r = ua_ask(a, &(struct req){ .method = "REFER",
                                             .contact = "<{contact}>",
                                             .headers = "Refer-To: <sip:called@{local}>\r\n" });
    struct msg *n = r && r->status / 100 == 2 ? ua_wait(a, "NOTIFY", 4000) : NULL;
    ua_reply(a, n, 200, NULL);
    struct msg *in = n ? ua_wait(a, "INVITE", 2000) : NULL;
    ua_reply(a, in, 486, NULL);
    if (in) (void)phone_request(a, msg_header(r, "Call-ID"), 1500);
    CAPABLE(t, r && r->status / 100 == 2, "transfer (REFER got %u)", r ? r->status : 0);
    GIVEN(t, n, "no NOTIFY came");
    MUST(t, n->at, uri_param(value_uri(msg_header(n, "Contact")), "gr").ptr,
         "the Contact of the NOTIFY is no GRUU");
    PASS(t, n->at);
}

/* ---- what it must not try again ------------------------------------------------------------- */

/* RFC 3261 22.1 */
static void refused_login(struct test *t) {
    struct dialled c;
    DIALLED(t, &c, NULL);
    unsigned proof = 0;
    const char *challenge = "Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"{n}\", "
                            "algorithm=SHA-256, qop=\"auth\"\r\n";
    struct msg *in[3] = { c.in, NULL, NULL };
    for (unsigned i = 0; i < 2 && in[i]; i++) {
        ua_reply(c.a, in[i], 407, &(struct rep){ .headers = challenge });
        c.in = in[i];
        in[i + 1] = phone_tries_again(&c, &proof);
    }
    ua_reply(c.a, in[2], 486, NULL);
    phone_dialled_end(&c);
    OVER(t);
    GIVEN(t, in[1] && msg_header(in[1], "Proxy-Authorization").ptr,
          "the phone has no credentials for the realm that it registered with");
    MUST(t, in[2] ? in[2]->at : 0, !in[2], "refused credentials are sent again");
    PASS(t, proof);
}

/* A place that a URL names, and that nobody shall visit. */
struct trap {
    int fd;
    char where[80]; /* host:port */
};

static bool trap_open(struct test *t, struct trap *p, struct addr at) {
    struct addr here;
    at.port = 0;
    if (socket_listen_tcp(&at, &p->fd, &here) != ERR_OK) {
        test_unclear(t, "no listening socket");
        return false;
    }
    struct buf b = buf_over(p->where, sizeof p->where - 1);
    addr_put(&b, &here);
    p->where[b.len] = 0;
    return true;
}

/* Who came? Its number in the evidence; 0: nobody. */
static unsigned trap_close(struct test *t, struct trap *p) {
    struct addr peer;
    int visitor;
    bool came = socket_accept(p->fd, &visitor, &peer) == ERR_OK;
    socket_close(p->fd);
    if (!came) return 0;
    socket_close(visitor);
    return test_note(t, "somebody connects to %s", p->where);
}

/* RFC 8898 2.1.1: the URL of a stranger is neither asked nor trusted */
static void strange_authority(struct test *t) {
    struct dialled c;
    struct trap trap;
    DIALLED(t, &c, NULL);
    if (!trap_open(t, &trap, ua_link(c.a)->local)) return;
    unsigned proof = 0;
    ua_reply(c.a, c.in, 401,
             &(struct rep){ .headers = text(t,
                                            "WWW-Authenticate: Bearer realm=\"{realm}\", "
                                            "authz_server=\"https://%s/\"\r\n",
                                            trap.where) });
    struct msg *again = phone_tries_again(&c, &proof);
    ua_reply(c.a, again, 486, NULL);
    phone_dialled_end(&c);
    unsigned visited = trap_close(t, &trap);
    MUST(t, visited, !visited, "the phone asks an authorization server that it doesn't know");
    MUST(t, again ? again->at : 0,
         !again || !slice_istarts(msg_header(again, "Authorization"), SLICE("Bearer")),
         "a token is sent on behalf of an unknown authorization server");
    PASS(t, again ? again->at : proof);
}

/* RFC 5079 4 */
static void anonymity_refused(struct test *t) {
    struct dialled c;
    DIALLED(t, &c, NULL);
    unsigned proof = 0;
    ua_reply(c.a, c.in, 433, &(struct rep){ .reason = "Anonymity Disallowed" });
    struct msg *again = phone_tries_again(&c, &proof);
    ua_reply(c.a, again, 486, NULL);
    phone_dialled_end(&c);
    MUST(t, again ? again->at : 0, !again, "it calls again by itself");
    PASS(t, proof);
}

/* RFC 5630 5.1.1: not when it dials, and not after 416 */
static void stays_sips(struct test *t) {
    struct dialled c;
    if (!phone_dials(t, &c, "sips:called@{local}")) return;
    unsigned proof = 0, at = c.in ? c.in->at : 0;
    bool secure = !c.in || slice_istarts(c.in->uri, SLICE("sips:"));
    ua_reply(c.a, c.in, 416, NULL);
    struct msg *again = secure ? phone_tries_again(&c, &proof) : NULL;
    ua_reply(c.a, again, 486, NULL);
    phone_dialled_end(&c);
    MUST(t, at, secure, "told to call sips:, it calls " SLICE_FMT, SLICE_ARG(c.in->uri));
    MUST(t, again ? again->at : 0, !again || slice_istarts(again->uri, SLICE("sips:")),
         "after 416 it tries " SLICE_FMT, SLICE_ARG(again->uri));
    PASS(t, again ? again->at : proof);
}

/* RFC 8599 4.1 */
static void push_kept(struct test *t) {
    struct dialled c;
    CAPABLE(t, has(slice_str(t->run->phone->contact), ";pn-provider="), "push");
    DIALLED(t, &c, NULL);
    ua_reply(c.a, c.in, 486, NULL);
    phone_dialled_end(&c);
    static const char *const names[] = { "pn-provider", "pn-prid", "pn-param" };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        MUST(t, c.in->at, !has(c.in->raw, names[i]), "%s stands in an INVITE", names[i]);
    PASS(t, c.in->at);
}

/* ---- keep-alives ---------------------------------------------------------------------------- */

/* RFC 5626 4.4.1: pings at the pace that the registrar asked for, and no pong means no flow */
static void pings(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, NOBODY);
    CAPABLE(t, !test_has(t, WIRE_UDP), "a stream");
    struct link *l = ua_link(a);
    for (int64_t until = clock_ms() + PHONE_FLOW_S * 1000 + 1000;
         !l->pings && clock_ms() < until && !l->closed;)
        (void)ua_wait(a, "BYE", 100);
    unsigned at = test_note(t, "Flow-Timer was %d s: %u pings", PHONE_FLOW_S, l->pings);
    MUST(t, at, l->pings, "no double CRLF in the %d s of Flow-Timer", PHONE_FLOW_S);
    l->mute = true;
    bool closed = ua_is_closed(a, PHONE_FLOW_S * 1000 + 12000);
    l->mute = false;
    at = test_note(t, closed ? "it closed the connection" : "it keeps the connection");
    MUST(t, at, closed, "a ping got no pong for over 10 s, and the flow is still used");
    PASS(t, at);
}

/* ---- identity ------------------------------------------------------------------------------- */

/* RFC 9970 9 */
static void rsp_ignored(struct test *t) {
    struct up c;
    struct req r = { .method = "INVITE",
                     .body = sdp_offer,
                     .headers = "Identity: eyJhbGciOiJFUzI1NiIsInBwdCI6InJzcCJ9.e30.c2ln"
                                ";info=<https://cert.invalid/a.cer>;alg=ES256;ppt=\"rsp\"\r\n" };
    c.a = ua_new(t, WIRE_BEST, NOBODY);
    c.ok = ua_ask(c.a, &r);
    EXPECT(t, c.ok, "2xx");
    phone_ack(&c);
    (void)phone_down(&c);
    PASS(t, c.ok->at);
}

#define PREVIEW_MS 1500

/* RFC 9796 10.9.5: ["vcard",[["version",{},"text","4.0"],["fn",{},"text","Kith"],
 * ["url",{},"uri","http://where/"]]], as octets that a URI may have */
static void card_url(struct test *t) {
    struct up c;
    struct trap trap;
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    OVER(t);
    if (!trap_open(t, &trap, ua_link(a)->local)) return;
    const char *card =
        text(t,
             "Call-Info: <data:application/json,%%5B%%22vcard%%22,%%5B%%5B%%22version%%22,%%7B%%7D,"
             "%%22text%%22,%%224.0%%22%%5D,%%5B%%22fn%%22,%%7B%%7D,%%22text%%22,%%22Kith%%22%%5D,"
             "%%5B%%22url%%22,%%7B%%7D,%%22uri%%22,%%22http://%s/%%22%%5D%%5D%%5D>;"
             "purpose=jcard\r\n",
             trap.where);
    bool up = phone_up(t, &c, &(struct req){ .headers = card });
    struct msg *bye = up ? ua_wait(c.a, "BYE", PREVIEW_MS) : NULL;
    ua_reply(a, bye, 200, NULL);
    struct msg *life = up && !bye ? phone_down(&c) : bye;
    unsigned visited = trap_close(t, &trap);
    if (!up) return;
    GIVEN(t, life, "the phone does not answer any more");
    MUST(t, visited, !visited, "the URL of the caller's card was followed");
    PASS(t, life->at);
}

AREA(phone_uac, T(OUTB_003, "pings", pings, .seconds = 2 * PHONE_FLOW_S + 10),
     T(CORE_014, "two-answers", two_answers), T(CORE_032, "pracks", pracks),
     T(CORE_033, "crossing-update", crossing_update),
     T(SDP_005, "crossing-invite", crossing_invite), T(TXN_012, "in-the-call", in_the_call),
     T(EVENT_005, "notifier-gruu", notifier_gruu), T(AUTH_008, "refused-login", refused_login),
     T(AUTH_011, "strange-authority", strange_authority),
     T(PRIV_010, "anonymity-refused", anonymity_refused), T(TRANS_017, "stays-sips", stays_sips),
     T(PUSH_002, "kept-apart", push_kept), T(IDENT_014, "rsp-ignored", rsp_ignored),
     T(IDENT_017, "card-url", card_url));
