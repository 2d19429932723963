/* check/server_reg.c - the registrar: RFC 3261 10.3, RFC 3327, RFC 5626, RFC 5627, RFC 6140, RFC
 * 6223, RFC 8599. */
#include "check/tests.h"

#define MESSAGE     .method = "MESSAGE", .uri = "sip:{peer}", .type = "text/plain", .body = "hello"
#define INSTANCE(n) "\"<urn:uuid:00000000-0000-1000-8000-00000000000" n ">\""
#define OUTBOUND(n, reg)                                                                           \
    .contact = "<{contact};ob>;+sip.instance=" INSTANCE(n) ";reg-id=" reg,                         \
    .headers = "Supported: path, outbound, gruu\r\nExpires: 120\r\n"

static struct msg *ok(struct test *t, struct msg *r) {
    if (!t->verdict && (!r || r->status != 200))
        test_unclear(t, "the registration got %u", r ? r->status : 0);
    return t->verdict ? NULL : r;
}

static bool lists(const struct msg *r, const char *part, slice *out) {
    for (unsigned i = 0; i < msg_values(r, "Contact"); i++)
        if (has(value_uri(msg_value(r, "Contact", i)), part)) {
            *out = msg_value(r, "Contact", i);
            return true;
        }
    return false;
}

static void all_bindings(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0), *b = ua_new(t, WIRE_BEST, 0);
    (void)ok(t, ua_register(a, NULL));
    struct msg *r = ok(t, ua_register(b, NULL));
    OVER(t);
    slice one, two;
    MUST(t, r->at, lists(r, ua_local(a), &one) && lists(r, ua_local(b), &two),
         "not both bindings are listed");
    MUST(t, r->at, value_has(one, "expires") && value_has(two, "expires"),
         "a binding without expires");
    PASS(t, r->at);
}

/* RFC 3261 10.3 step 7 */
static void old_cseq(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ok(t, ua_register(a, &(struct req){ .headers = "Expires: 120\r\n" }));
    OVER(t);
    unsigned last = msg_cseq(r);
    /* two ways to refuse: an error, or a 200 that changed nothing would be wrong */
    struct msg *again =
        ua_register(a, &(struct req){ .cseq = text(t, "%u REGISTER", last - 1 ? last - 1 : 1),
                                      .headers = "Expires: 3000\r\n" });
    if (again && (again->status == 401 || again->status == 407))
        test_unclear(t, "each REGISTER is challenged anew");
    EXPECT(t, again, "4xx|5xx");
    PASS(t, again->at);
}

static void star(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    (void)ok(t, ua_register(a, NULL));
    struct msg *r = ua_register(a, &(struct req){ .contact = "*", .headers = "Expires: 60\r\n" });
    EXPECT(t, r, "400");
    r = ua_register(a, &(struct req){ .contact = "*, <{contact}>", .headers = "Expires: 0\r\n" });
    EXPECT(t, r, "400");
    PASS(t, r->at);
}

static void star_removes(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    (void)ok(t, ua_register(a, NULL));
    struct msg *r = ua_register(a, &(struct req){ .contact = "*", .headers = "Expires: 0\r\n" });
    EXPECT(t, r, "200");
    MUST(t, r->at, msg_values(r, "Contact") == 0, "bindings are left");
    PASS(t, r->at);
}

static void not_mine(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    (void)ok(t, ua_register(a, NULL));
    struct msg *r =
        ua_register(a, &(struct req){ .to = "<sip:{peer}>", .headers = "Expires: 60\r\n" });
    EXPECT(t, r, "403");
    PASS(t, r->at);
}

static void not_here(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    (void)ok(t, ua_register(a, NULL));
    struct msg *r = ua_register(
        a, &(struct req){ .to = "<sip:{user}@elsewhere.invalid>", .headers = "Expires: 60\r\n" });
    EXPECT(t, r, "404");
    PASS(t, r->at);
}

static uint32_t granted(struct ua *a, const struct msg *r) {
    slice c;
    uint32_t n = 0;
    if (!lists(r, ua_local(a), &c)) return 0;
    return slice_u32(value_param(c, "expires"), UINT32_MAX, &n) == ERR_OK ? n : 0;
}

static void never_lengthens(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ua_register(a, &(struct req){ .headers = "Expires: 3601\r\n" });
    EXPECT(t, r, "200");
    MUST(t, r->at, granted(a, r) <= 3601 && granted(a, r) > 0, "3601 s asked, %u granted",
         granted(a, r));
    PASS(t, r->at);
}

static void too_brief(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ua_register(a, &(struct req){ .headers = "Expires: 1\r\n" });
    EXPECT(t, r, "200|423");
    if (r->status == 423) {
        uint32_t n = 0;
        MUST(t, r->at, slice_u32(msg_header(r, "Min-Expires"), UINT32_MAX, &n) == ERR_OK && n,
             "423 without Min-Expires");
        MUST(t, r->at, n <= 3600, "Min-Expires %u is over an hour", n);
    } else {
        MUST(t, r->at, granted(a, r) <= 1, "1 s asked, %u granted", granted(a, r));
    }
    PASS(t, r->at);
}

/* ---- events of the registration: RFC 3680, RFC 5628 ---------------------------------------- */

static struct msg *reg_event(struct test *t, struct ua *a) {
    struct msg *r = ua_ask(
        a, &(struct req){ .method = "SUBSCRIBE",
                          .uri = "sip:{aor}",
                          .headers =
                              "Event: reg\r\nAccept: application/reginfo+xml\r\nExpires: 60\r\n" });
    if (!t->verdict && (!r || r->status / 100 != 2))
        test_na(t, "reg-event (SUBSCRIBE got %u)", r ? r->status : 0);
    struct msg *n = ua_wait(a, "NOTIFY", 4000);
    ua_reply(a, n, 200, NULL);
    if (!t->verdict && !n) test_fail(t, r->at, "no NOTIFY after the subscription");
    return t->verdict ? NULL : n;
}
static void reginfo(struct test *t) {
    struct msg *n = reg_event(t, ua_registered(t, 0));
    OVER(t);
    MUST(t, n->at, has(n->body, "state=\"full\""), "the first document is not full");
    PASS(t, n->at);
}
static void reginfo_gruu(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ok(t, ua_register(a, &(struct req){ OUTBOUND("7", "1") }));
    OVER(t);
    slice c;
    CAPABLE(t, lists(r, ua_local(a), &c) && value_has(c, "pub-gruu"), "gruu");
    struct msg *n = reg_event(t, a);
    OVER(t);
    MUST(t, n->at, has(n->body, "pub-gruu"), "no pub-gruu in the document");
    PASS(t, n->at);
}

/* ---- a PBX with many numbers: RFC 6140 ----------------------------------------------------- */

static void gin(struct test *t, const char *contact, const char *pattern) {
    struct ua *a = ua_registered(t, 0);
    struct msg *o = ua_ask(a, &(struct req){ 0 });
    CAPABLE(t, o && msg_lists(o, "Supported", "gin"), "gin");
    struct msg *r = ua_register(
        a, &(struct req){
               .contact = contact,
               .headers =
                   "Require: gin\r\nProxy-Require: gin\r\nSupported: path\r\nExpires: 60\r\n" });
    EXPECT(t, r, pattern);
    PASS(t, r->at);
}
static void gin_good(struct test *t) {
    gin(t, "<sip:{local};bnc>", "200");
}
static void gin_user(struct test *t) {
    gin(t, "<sip:100@{local};bnc>", "4xx");
}

/* ---- outbound: RFC 5626 -------------------------------------------------------------------- */

static bool outbound(struct test *t, const struct msg *r) {
    if (!t->verdict &&
        !(r && (msg_lists(r, "Require", "outbound") || msg_lists(r, "Supported", "outbound"))))
        test_na(t, "outbound (the 200 does not name it)");
    return !t->verdict;
}

static void crlf(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, NOBODY);
    OVER(t);
    ua_send_bytes(a, SLICE("\r\n\r\n"));
    unsigned n = ua_pongs(a, 2000), at = test_note(t, "%u CRLF came back", n);
    MUST(t, at, n == 1, "a double CRLF is answered by %u CRLF", n);
    PASS(t, at);
}

static void replaces_flow(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, 0), *b = ua_new(t, WIRE_STREAM, 0);
    struct msg *r1 = ok(t, ua_register(a, &(struct req){ OUTBOUND("1", "1") }));
    if (!outbound(t, r1)) return;
    struct msg *r2 = ok(t, ua_register(b, &(struct req){ OUTBOUND("1", "1") }));
    OVER(t);
    slice c;
    MUST(t, r2->at, lists(r2, ua_local(b), &c), "the new flow is not bound");
    MUST(t, r2->at, !lists(r2, ua_local(a), &c),
         "the old flow of the same instance and reg-id is still bound");
    PASS(t, r2->at);
}

static void require_outbound(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, 0);
    struct msg *r = ok(t, ua_register(a, &(struct req){ OUTBOUND("2", "1") }));
    if (!outbound(t, r)) return;
    slice c;
    MUST(t, r->at, lists(r, ua_local(a), &c), "the binding is not listed");
    MUST(t, r->at, msg_lists(r, "Require", "outbound"), "outbound is applied and not in Require");
    struct ua *b = ua_registered(t, 0);
    struct msg *plain = ua_register(b, &(struct req){ .headers = "Expires: 120\r\n" });
    EXPECT(t, plain, "200");
    MUST(t, plain->at, !msg_lists(plain, "Require", "outbound"),
         "Require: outbound for a phone that did not ask for it");
    PASS(t, r->at);
}

/* RFC 5626 6: a hop that knows nothing of outbound stands between */
static void first_hop_lacks(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, 0);
    struct msg *r1 = ok(t, ua_register(a, &(struct req){ OUTBOUND("3", "1") }));
    if (!outbound(t, r1)) return;
    struct msg *r = ua_register(
        a, &(struct req){ .contact = "<{contact};ob>;+sip.instance=" INSTANCE("4") ";reg-id=1",
                          .headers = "Via: SIP/2.0/TCP 192.0.2.50:5060;branch=z9hG4bK{n}\r\nPath: "
                                     "<sip:192.0.2.50;lr>\r\n"
                                     "Supported: path, outbound\r\nExpires: 120\r\n" });
    EXPECT(t, r, "439");
    PASS(t, r->at);
}

static void one_flow_at_a_time(struct test *t) {
    struct ua *b = ua_new(t, WIRE_STREAM, 1), *c = ua_new(t, WIRE_STREAM, 1);
    struct msg *r1 = ok(t, ua_register(b, &(struct req){ OUTBOUND("5", "1") }));
    if (!outbound(t, r1)) return;
    (void)ok(t, ua_register(c, &(struct req){ OUTBOUND("5", "2") }));
    struct ua *a = ua_registered(t, 0);
    OVER(t);
    send_logged_in(a, &(struct req){ .method = "INVITE", .body = sdp_offer });
    struct msg *m1 = ua_wait(b, "INVITE", 1500), *m2 = ua_wait(c, "INVITE", m1 ? 500 : 1500);
    GIVEN(t, m1 || m2, "the INVITE did not arrive");
    MUST(t, m2 ? m2->at : 0, !(m1 && m2), "both flows of one instance got the INVITE");
    struct ua *next = m1 ? c : b;
    ua_reply(m1 ? b : c, m1 ? m1 : m2, 430, NULL);
    struct msg *in = ua_wait(next, "INVITE", 2000);
    OVER(t);
    MUST(t, t->event_count, in, "after 430 the other flow was not tried");
    ua_reply(next, in, 486, NULL);
    PASS(t, in->at);
}

static void closed_flow(struct test *t) {
    struct ua *b = ua_new(t, WIRE_STREAM, 1), *a = ua_registered(t, 0);
    struct msg *r1 = ok(t, ua_register(b, &(struct req){ OUTBOUND("6", "1") }));
    if (!outbound(t, r1)) return;
    ua_close(b);
    test_pause(300);
    struct msg *r = ua_ask(a, &(struct req){ MESSAGE });
    if (!r) r = ua_ask(a, &(struct req){ MESSAGE }); /* a busy server may notice it only now */
    EXPECT(t, r, "480|404|430");
    PASS(t, r->at);
}

/* RFC 5626 5.3.1: the token of a Route that names a flow. Ours has one character changed. */
static void tampered_token(struct test *t) {
    struct call c;
    if (!call_up(t, &c)) return;
    GIVEN(t, c.da.route_count, "this server does not record its route");
    slice user = uri_user(value_uri(c.da.routes[0])), uri = value_uri(c.da.routes[0]);
    size_t at = (user.len > 20 ? (size_t)(user.ptr - uri.ptr) + user.len / 2 : 0);
    CAPABLE(t, at, "flow tokens in the user part of Record-Route");
    char *changed = (char *)(uintptr_t)text_of(t, c.da.routes[0]);
    size_t shift = (size_t)(uri.ptr - c.da.routes[0].ptr) + at;
    changed[shift] = changed[shift] == 'A' ? 'B' : 'A';
    struct dialog d = c.da;
    d.routes[0] = slice_str(changed);
    struct msg *r = ua_ask(c.a, &(struct req){ .method = "INFO", .in = &d });
    EXPECT(t, r, "403|430");
    c.da.cseq = d.cseq;
    unsigned proof = r->at;
    call_end(t, &c);
    PASS(t, proof);
}

/* ---- GRUU: RFC 5627 ------------------------------------------------------------------------ */

static const char *gruu_of(struct test *t, struct ua *a, const struct msg *r, const char *which) {
    slice c = SLICE_NONE;
    if (t->verdict || !lists(r, ua_local(a), &c)) return NULL;
    slice v = value_param(c, which);
    return v.len > 2 ? text_of(t, slice_of(v.ptr + 1, v.len - 2)) : NULL;
}

static void gruu_given(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, 0);
    struct msg *r = ok(t, ua_register(a, &(struct req){ OUTBOUND("8", "1") }));
    const char *pub = gruu_of(t, a, r, "pub-gruu"), *tmp = gruu_of(t, a, r, "temp-gruu");
    CAPABLE(t, pub, "gruu");
    MUST(t, r->at, uri_param(slice_str(pub), "gr").ptr, "the public GRUU has no gr parameter");
    MUST(t, r->at,
         slice_istarts(slice_from(slice_str(pub), slice_find(slice_str(pub), ':') + 1),
                       slice_str(ua_account(a)->aor)),
         "the public GRUU is not the AoR");
    MUST(t, r->at, tmp && uri_param(slice_str(tmp), "gr").ptr, "no temporary GRUU");
    MUST(t, r->at, !has(slice_str(tmp), ua_account(a)->user), "the temporary GRUU tells who it is");
    struct msg *again = ok(t, ua_register(a, &(struct req){ OUTBOUND("8", "1") }));
    const char *pub2 = gruu_of(t, a, again, "pub-gruu"), *tmp2 = gruu_of(t, a, again, "temp-gruu");
    OVER(t);
    MUST(t, again->at, pub2 && is(slice_str(pub2), pub), "the public GRUU changed with a refresh");
    MUST(t, again->at, tmp2 && !is(slice_str(tmp2), tmp),
         "the temporary GRUU is the same after a refresh");
    PASS(t, again->at);
}

static void gruu_reaches_one(struct test *t) {
    struct ua *b = ua_new(t, WIRE_STREAM, 1), *c = ua_new(t, WIRE_STREAM, 1);
    struct msg *r = ok(t, ua_register(b, &(struct req){ OUTBOUND("9", "1") }));
    (void)ok(t, ua_register(c, &(struct req){ OUTBOUND("1", "1") }));
    const char *pub = gruu_of(t, b, r, "pub-gruu");
    CAPABLE(t, pub, "gruu");
    struct ua *a = ua_registered(t, 0);
    struct msg *in = ask_through(
                   a, b,
                   &(struct req){
                       .method = "MESSAGE", .uri = pub, .type = "text/plain", .body = "hello" }),
               *other;
    (void)ua_quiet(c, "MESSAGE", 300, &other);
    ua_reply(b, in, 200, NULL);
    OVER(t);
    MUST(t, other ? other->at : 0, !other, "another instance got it too");
    PASS(t, in->at);
}

static void gruu_of_nobody(struct test *t) {
    struct ua *b = ua_new(t, WIRE_STREAM, 1);
    struct msg *r = ok(t, ua_register(b, &(struct req){ OUTBOUND("9", "1") }));
    const char *pub = gruu_of(t, b, r, "pub-gruu");
    CAPABLE(t, pub, "gruu");
    (void)ua_register(
        b, &(struct req){ .contact = "<{contact};ob>;+sip.instance=" INSTANCE("9") ";reg-id=1",
                          .headers = "Supported: path, outbound, gruu\r\nExpires: 0\r\n" });
    struct ua *a = ua_registered(t, 0);
    struct msg *gone = ua_ask(
        a, &(struct req){ .method = "MESSAGE", .uri = pub, .type = "text/plain", .body = "hello" });
    EXPECT(t, gone, "480");
    struct msg *bad =
        ua_ask(a, &(struct req){ .method = "MESSAGE",
                                 .uri = "sip:no-such-person-{n}@{domain};gr=urn:uuid:1",
                                 .type = "text/plain",
                                 .body = "x" });
    EXPECT(t, bad, "404");
    PASS(t, bad->at);
}

/* ---- others -------------------------------------------------------------------------------- */

/* RFC 6223 4.4 */
static void keep(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, 0);
    struct msg *r = ua_register(
        a, &(struct req){ .via = "Via: SIP/2.0/TLS {local};branch=z9hG4bK{n};rport;keep\r\n" });
    if (!r) r = ua_wait(a, "final", 100);
    OVER(t);
    MUST(t, t->event_count, r, "no answer");
    slice v = value_param(msg_value(r, "Via", 0), "keep");
    uint32_t n;
    MUST(t, r->at, !v.len || slice_u32(v, UINT32_MAX, &n) == ERR_OK,
         "keep=" SLICE_FMT " is no number", SLICE_ARG(v));
    CAPABLE(t, v.len, "keep");
    ua_send_bytes(a, SLICE("\r\n\r\n"));
    MUST(t, r->at, ua_pongs(a, 2000) == 1, "keep is promised, and a keep-alive is not answered");
    PASS(t, r->at);
}

/* RFC 3327 5.3 */
static void path(struct test *t) {
    struct ua *b = ua_new(t, WIRE_BEST, 1), *a;
    struct msg *r =
        ua_register(b, &(struct req){ .headers = "Supported: path\r\nExpires: 120\r\n" });
    (void)ok(t, r);
    const char *one = text(t, "<sip:one@%s%s;lr>", ua_local(b),
                           test_has(t, WIRE_TLS) || test_has(t, WIRE_TCP) ? ";transport=tcp" : ""),
               *two = "<sip:two.invalid;lr>";
    r = ua_register(
        b, &(struct req){ .contact = "<sip:{user}@path.invalid>",
                          .headers = text(t, "Supported: path\r\nPath: %s, %s\r\nExpires: 120\r\n",
                                          one, two) });
    EXPECT(t, r, "200");
    MUST(t, r->at,
         has(msg_value(r, "Path", 0), "one@") && has(msg_value(r, "Path", 1), "two.invalid"),
         "Path is not echoed in order");
    a = ua_registered(t, 0);
    send_logged_in(a, &(struct req){ MESSAGE });
    struct msg *m = NULL;
    for (unsigned i = 0; i < 3 && !m; i++) {
        struct msg *in = ua_wait(b, "MESSAGE", 1500);
        if (in && has(in->uri, "path.invalid")) m = in;
    }
    OVER(t);
    MUST(t, r->at, m, "the request did not take the stored Path");
    MUST(t, m->at,
         has(msg_value(m, "Route", 0), "one@") && has(msg_value(m, "Route", 1), "two.invalid"),
         "Route is not the stored Path");
    ua_reply(b, m, 200, NULL);
    PASS(t, m->at);
}

/* RFC 8599 */
static bool push(struct test *t, struct ua *a, const char *provider, struct msg **out) {
    *out = ua_register(
        a, &(struct req){ .contact =
                              text(t, "<{contact};pn-provider=%s;pn-prid=kithtestprid;pn-param=x>",
                                   provider) });
    return !t->verdict;
}
static void push_unknown(struct test *t) {
    struct msg *r;
    struct ua *o = ua_registered(t, 0);
    if (!push(t, o, "acme", &r)) return;
    CAPABLE(t, r && (r->status == 555 || has(msg_header(r, "Feature-Caps"), "sip.pns")), "push");
    EXPECT(t, r, "555|200");
    PASS(t, r->at);
}
static void push_hidden(struct test *t) {
    struct msg *r;
    struct ua *b = ua_new(t, WIRE_BEST, 1), *a = ua_registered(t, 0);
    if (!push(t, b, "webpush", &r)) return;
    CAPABLE(t, r && has(msg_header(r, "Feature-Caps"), "sip.pns"), "push");
    struct msg *o = ua_ask(a, &(struct req){ .uri = "sip:{peer}" });
    GIVEN(t, o, "no answer");
    MUST(t, o->at, !has(o->raw, "kithtestprid"), "the push address of another person is shown");
    PASS(t, o->at);
}

AREA(server_reg, T(REG_001, "all-bindings", all_bindings, .accounts = 1),
     T(REG_002, "old-cseq", old_cseq, .accounts = 1), T(REG_003, "star", star, .accounts = 1),
     T(REG_003, "star-removes", star_removes, .accounts = 1, .needs = NEEDS_WRITES),
     T(REG_004, "not-mine", not_mine, .accounts = 2),
     T(REG_004, "not-here", not_here, .accounts = 1),
     T(REG_005, "never-lengthens", never_lengthens, .accounts = 1),
     T(REG_005, "too-brief", too_brief, .accounts = 1),
     T(REG_007, "full-first", reginfo, .accounts = 1),
     T(REG_008, "gruu", reginfo_gruu, .accounts = 1), T(REG_009, "bnc", gin_good, .accounts = 1),
     T(REG_010, "bnc-with-user", gin_user, .accounts = 1),
     T(OUTB_006, "tampered", tampered_token, .accounts = 2),
     T(OUTB_007, "crlf", crlf, .needs = NEEDS_STREAM),
     T(OUTB_008, "replaces", replaces_flow, .accounts = 1),
     T(OUTB_009, "require", require_outbound, .accounts = 1),
     T(OUTB_009, "first-hop", first_hop_lacks, .accounts = 1),
     T(OUTB_010, "one-at-a-time", one_flow_at_a_time, .accounts = 2),
     T(OUTB_011, "closed", closed_flow, .accounts = 2),
     T(OUTB_013, "gruu", gruu_given, .accounts = 1),
     T(OUTB_014, "reaches-one", gruu_reaches_one, .accounts = 2),
     T(OUTB_014, "nobody", gruu_of_nobody, .accounts = 2), T(OUTB_015, "keep", keep, .accounts = 1),
     T(OUTB_016, "path", path, .accounts = 2), T(PUSH_005, "unknown", push_unknown, .accounts = 1),
     T(PRIV_009, "hidden", push_hidden, .accounts = 2));
