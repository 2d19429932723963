/* check/server_route.c - what a proxy does to a request on its way: RFC 3261 16, 18, 19, RFC 3581,
 * RFC 4028 8, RFC 5630, RFC 5626. */
#include "check/link.h"
#include "check/tests.h"
#include "os/socket.h"

#define MESSAGE .method = "MESSAGE", .uri = "sip:{peer}", .type = "text/plain", .body = "hello"

/* Both register; a sends the request, b gets it and says 200. NULL: a verdict stands. */
static struct msg *through(struct test *t, const struct req *r) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(a, b, r);
    ua_reply(b, in, 200, NULL);
    return t->verdict ? NULL : in;
}

static void forwards_lowered(struct test *t) {
    struct msg *in = through(t, &(struct req){ MESSAGE, .forwards = "42" });
    OVER(t);
    MUST(t, in->at, is(msg_header(in, "Max-Forwards"), "41"),
         "Max-Forwards 42 arrived as " SLICE_FMT, SLICE_ARG(msg_header(in, "Max-Forwards")));
    PASS(t, in->at);
}

static void forwards_added(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = must_reach(a, b, &(struct req){ MESSAGE, .forwards = "" });
    ua_reply(b, in, 200, NULL);
    OVER(t);
    MUST(t, in->at, is(msg_header(in, "Max-Forwards"), "70"), "no Max-Forwards 70 was added");
    PASS(t, in->at);
}

static void record_route(struct test *t) {
    struct call c;
    if (!call_ring(t, &c, &(struct req){ .headers = "Record-Route: <sip:192.0.2.77;lr>\r\n" }))
        return;
    slice top = value_uri(msg_value(c.in, "Record-Route", 0));
    unsigned n = msg_values(c.in, "Record-Route");
    GIVEN(t, n > 1, "this proxy does not record its route");
    MUST(t, c.in->at, slice_istarts(top, SLICE("sip:")) || slice_istarts(top, SLICE("sips:")),
         "not a SIP URI");
    MUST(t, c.in->at, uri_param(top, "lr").ptr, "Record-Route without lr");
    MUST(t, c.in->at, has(msg_value(c.in, "Record-Route", n - 1), "192.0.2.77"),
         "the value that was there is not the last");
    ua_reply(c.b, c.in, 486, NULL);
    PASS(t, c.in->at);
}

/* It must lead back: a BYE along it arrives. */
static void route_leads_back(struct test *t) {
    struct call c;
    if (!call_up(t, &c)) return;
    MUST(t, c.in->at, c.da.route_count, "no Record-Route: the BYE would not come this way");
    ua_send(c.b, &(struct req){ .method = "BYE", .in = &c.db });
    struct msg *bye = ua_wait(c.a, "BYE", 3000);
    OVER(t);
    MUST(t, c.out->at, bye, "a BYE along the route set did not arrive");
    MUST(t, bye->at, !msg_header(bye, "Route").ptr, "the proxy left its own Route value in");
    ua_reply(c.a, bye, 200, NULL);
    PASS(t, bye->at);
}

static void own_route_goes(struct test *t) {
    struct msg *in =
        through(t, &(struct req){ MESSAGE, .headers = "Route: <sip:{domain};lr>\r\n" });
    OVER(t);
    MUST(t, in->at, !has(msg_header(in, "Route"), test_domain(t)),
         "its own Route value is still there");
    PASS(t, in->at);
}

static void unknown_headers(struct test *t) {
    struct msg *in =
        through(t, &(struct req){ MESSAGE, .headers = "X-Kith: one, two\r\nx-kith: three\r\n"
                                                      "Subject: a  b\r\n" });
    OVER(t);
    MUST(t, in->at,
         is(msg_value(in, "X-Kith", 0), "one") && is(msg_value(in, "X-Kith", 1), "two") &&
             is(msg_value(in, "X-Kith", 2), "three"),
         "an unknown header did not arrive as it was sent");
    PASS(t, in->at);
}

static void body_untouched(struct test *t) {
    struct msg *in = through(t, &(struct req){ .method = "MESSAGE",
                                               .uri = "sip:{peer}",
                                               .type = "text/x-kith",
                                               .body = "\r\n\001 a\tb\r\nSIP/2.0 200 OK\r\n\r\n" });
    OVER(t);
    MUST(t, in->at, is(in->body, "\r\n\001 a\tb\r\nSIP/2.0 200 OK\r\n\r\n"), "the body changed");
    PASS(t, in->at);
}

static void unknown_method(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = must_reach(a, b, &(struct req){ .method = "KITHTEST", .uri = "sip:{peer}" });
    ua_reply(b, in, 200, NULL);
    OVER(t);
    PASS(t, in->at);
}

/* RFC 3261 18.2.1 */
static void received(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct msg *r =
        ua_ask(a, &(struct req){ .via = "Via: SIP/2.0/TLS phone.invalid;branch=z9hG4bK{n}\r\n" });
    if (!r) r = ua_wait(a, "final", 0);
    OVER(t);
    MUST(t, t->event_count, r, "no answer");
    slice v = value_param(msg_header(r, "Via"), "received"), local = slice_str(ua_local(a));
    slice host = uri_host(slice_str(text(t, "sip:" SLICE_FMT, SLICE_ARG(local))));
    MUST(t, r->at, v.ptr, "sent-by is a name, and the Via has no received");
    MUST(t, r->at, has(host, text_of(t, v)), "received=" SLICE_FMT " is not where we are",
         SLICE_ARG(v));
    PASS(t, r->at);
}

/* RFC 3581 4 */
static void rport(struct test *t) {
    struct ua *a = ua_new(t, WIRE_UDP, NOBODY);
    OVER(t);
    ua_send(a, &(struct req){ .via = "Via: SIP/2.0/UDP 192.0.2.33:9;branch=z9hG4bK{n};rport\r\n" });
    struct msg *r = ua_wait(a, "final", 3000);
    OVER(t);
    MUST(t, t->event_count, r, "the answer did not come back to the source address");
    slice v = msg_header(r, "Via"), local = slice_str(ua_local(a));
    size_t colon = local.len;
    while (colon && local.ptr[colon - 1] != ':') colon--;
    MUST(t, r->at, same(value_param(v, "rport"), slice_from(local, colon)),
         "rport is not our port");
    MUST(t, r->at, value_param(v, "received").len, "no received beside rport");
    PASS(t, r->at);
}

/* RFC 3261 8.1.3.4: if it follows redirections at all */
static void redirect_once(struct test *t) {
    struct call c;
    if (!call_ring(t, &c, NULL)) return;
    const char *same_uri = text(t, "<" SLICE_FMT ">", SLICE_ARG(c.in->uri));
    ua_reply(c.b, c.in, 302, &(struct rep){ .contact = same_uri });
    struct msg *again, *r = ua_wait(c.a, "final INVITE", 3000);
    (void)ua_quiet(c.b, "INVITE", 700, &again);
    OVER(t);
    MUST(t, again ? again->at : 0, !again, "the same URI was tried again");
    MUST(t, c.in->at, r, "the caller got no final answer");
    ua_ack(c.a, r);
    PASS(t, r->at);
}

/* RFC 5658 5: two values where the two sides differ */
static void double_route(struct test *t) {
    enum wire other = test_has(t, WIRE_UDP) ? WIRE_UDP : WIRE_TCP;
    CAPABLE(t, test_has(t, other) && (test_has(t, WIRE_TLS) || other == WIRE_UDP),
            "a second transport");
    struct ua *b = ua_new(t, other, 1), *a = ua_new(t, WIRE_STREAM, 0);
    GIVEN(t, ua_register(b, NULL) && ua_register(a, NULL), "no registration");
    struct msg *in = call_between(a, b, NULL);
    OVER(t);
    MUST(t, in->at, msg_values(in, "Record-Route") == 2, "%u Record-Route values instead of 2",
         msg_values(in, "Record-Route"));
    ua_reply(b, in, 486, NULL);
    PASS(t, in->at);
}

/* RFC 4028 8.1 */
static void session_interval(struct test *t) {
    struct call c;
    if (!call_ring(t, &c,
                   &(struct req){ .headers = "Supported: timer\r\nMin-SE: 1200\r\n"
                                             "Session-Expires: 1800;refresher=uac\r\n" }))
        return;
    slice v = msg_header(c.in, "Session-Expires");
    uint32_t n = 0;
    MUST(t, c.in->at, v.ptr, "Session-Expires is gone");
    bool number = slice_u32(slice_trim(slice_head(v, slice_find(v, ';'))), 1000000, &n) == ERR_OK;
    MUST(t, c.in->at, number && n >= 1200, "lowered to %u, below Min-SE", n);
    MUST(t, c.in->at, n <= 1800, "raised to %u", n);
    MUST(t, c.in->at, is(value_param(v, "refresher"), "uac"), "refresher was changed");
    ua_reply(c.b, c.in, 486, NULL);
    PASS(t, c.in->at);
}

/* RFC 5630 5.1.1 */
static void no_transport_tls(struct test *t) {
    struct call c;
    if (!call_ring(t, &c, NULL)) return;
    for (unsigned i = 0; i < msg_values(c.in, "Record-Route"); i++)
        MUST(t, c.in->at,
             !is_i(uri_param(value_uri(msg_value(c.in, "Record-Route", i)), "transport"), "tls"),
             "transport=tls in Record-Route");
    ua_reply(c.b, c.in, 486, NULL);
    PASS(t, c.in->at);
}

/* RFC 5630 5.3: a binding with sip: is no target of a sips: request */
static void sips_stays_sips(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *r = ua_ask(a, &(struct req){ .method = "MESSAGE",
                                             .uri = "sips:{peer}",
                                             .from = "<sips:{aor}>",
                                             .type = "text/plain",
                                             .body = "hello" });
    struct msg *in;
    (void)ua_quiet(b, "MESSAGE", 300, &in);
    MUST(t, in ? in->at : 0, !in, "a request to sips: was sent to a contact that is sip: only");
    EXPECT(t, r, "480");
    MUST(t, r->at, has(msg_header(r, "Warning"), "380"), "480 without Warning 380");
    PASS(t, r->at);
}

/* RFC 3261 18.2.2 */
static void same_connection(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, NOBODY);
    struct msg *r =
        ua_ask(a, &(struct req){ .via = "Via: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bK{n}\r\n" });
    if (!r) r = ua_wait(a, "final", 0);
    OVER(t);
    MUST(t, t->event_count, r, "no answer on the connection of the request");
    PASS(t, r->at);
}

static void udp_and_tcp(struct test *t) {
    unsigned at = test_note(t, "UDP: %s, TCP: %s", test_has(t, WIRE_UDP) ? "yes" : "no",
                            test_has(t, WIRE_TCP) ? "yes" : "no");
    MUST(t, at, test_has(t, WIRE_UDP) && test_has(t, WIRE_TCP), "not both UDP and TCP");
    PASS(t, at);
}

/* RFC 3261 16.7 step 6 */
static void no_503_upstream(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *in = ask_through(a, b, &(struct req){ MESSAGE });
    ua_reply(b, in, 503, &(struct rep){ .headers = "Retry-After: 60\r\n" });
    struct msg *r = ua_wait(a, "final", 3000);
    EXPECT(t, r, "500");
    PASS(t, r->at);
}

/* RFC 3428 4 */
static void message_has_no_contact(struct test *t) {
    struct msg *in = through(t, &(struct req){ MESSAGE });
    OVER(t);
    MUST(t, in->at, !msg_header(in, "Contact").ptr, "the MESSAGE arrived with a Contact");
    PASS(t, in->at);
}

/* RFC 3261 25.1: something that looks like an address and is none is a host name */
static void bad_address(struct test *t) {
    struct ua *a = ua_registered(t, 0);
    struct msg *r = ua_ask(a, &(struct req){ .method = "MESSAGE",
                                             .uri = "sip:bob@444.555.666.777",
                                             .type = "text/plain",
                                             .body = "hello" });
    EXPECT(t, r, "4xx|5xx");
    PASS(t, r->at);
}

/* RFC 3261 18.1.1: it would be over 1300 bytes on the way to a phone that speaks UDP, and that has
 * a TCP port of the same number. */
static void large(struct test *t) {
    struct ua *b = ua_new(t, WIRE_UDP, 1), *a = ua_registered(t, 0);
    GIVEN(t, ua_register(b, NULL), "no registration over UDP");
    struct addr here, from;
    int fd = -1, visitor = -1;
    GIVEN(t, socket_listen_tcp(&ua_link(b)->local, &fd, &here) == ERR_OK, "the TCP port is taken");
    ua_reply(b, ask_through(a, b, &(struct req){ .method = "MESSAGE", .body = "small" }), 200,
             NULL);
    char pad[1401] = "";
    memset(pad, 'x', sizeof pad - 1);
    send_logged_in(a, &(struct req){ .method = "INVITE",
                                     .headers = text(t, "X-Kith: %s\r\n", pad),
                                     .body = sdp_offer });
    struct msg *in = NULL;
    bool came = false;
    for (int64_t until = ua_until(a, 4000); !in && !came && clock_ms() < until && !t->verdict;) {
        in = ua_wait(b, "INVITE", 50);
        came = socket_accept(fd, &visitor, &from) == ERR_OK;
    }
    unsigned at = came ? test_note(t, "the target connects to the phone over TCP") : 0;
    ua_reply(b, in, 486, NULL);
    ua_cancel(a);
    if (came) socket_close(visitor);
    socket_close(fd);
    MUST(t, in ? in->at : 0, !in, "a request of %zu bytes came over UDP", in ? in->raw.len : 0);
    GIVEN(t, came, "it came over neither UDP nor TCP");
    PASS(t, at);
}

AREA(server_route, T(TRANS_002, "large", large, .accounts = 2, .needs = NEEDS_UDP),
     T(ROUTE_001, "lowered", forwards_lowered, .accounts = 2),
     T(ROUTE_001, "added", forwards_added, .accounts = 2),
     T(ROUTE_002, "record-route", record_route, .accounts = 2),
     T(ROUTE_002, "leads-back", route_leads_back, .accounts = 2),
     T(ROUTE_003, "own-route", own_route_goes, .accounts = 2),
     T(ROUTE_005, "unknown-headers", unknown_headers, .accounts = 2),
     T(ROUTE_005, "body", body_untouched, .accounts = 2),
     T(ROUTE_006, "unknown-method", unknown_method, .accounts = 2),
     T(ROUTE_007, "received", received), T(ROUTE_008, "redirect", redirect_once, .accounts = 2),
     T(ROUTE_011, "two-transports", double_route, .accounts = 2), T(CORE_038, "rport", rport),
     T(SDP_011, "session-interval", session_interval, .accounts = 2),
     T(TRANS_001, "same-connection", same_connection, .needs = NEEDS_STREAM),
     T(TRANS_001, "udp-and-tcp", udp_and_tcp),
     T(TRANS_016, "sips", sips_stays_sips, .accounts = 2, .needs = NEEDS_TLS),
     T(TRANS_018, "transport-tls", no_transport_tls, .accounts = 2),
     T(OVLD_002, "503", no_503_upstream, .accounts = 2),
     T(MSG_001, "no-contact", message_has_no_contact, .accounts = 2),
     T(IPV6_007, "bad-address", bad_address, .accounts = 1));
