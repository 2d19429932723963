/* check/server_parse.c - messages at the edge of the grammar and beyond: RFC 3261 7, 18.3, 25, RFC
 * 4475, RFC 5118. The messages are our own: each tries one rule and is right otherwise. */
#include "check/tests.h"

/* A request that is unusual and right: anything but 400 (or silence) shows that it was understood.
 */
static void accepted(struct test *t, struct ua *a, const char *raw) {
    ua_send(a, &(struct req){ .raw = raw });
    struct msg *r = ua_wait(a, "final", 3000);
    EXPECT(t, r, "2xx|401|403|404|405|407|480|481|488|501");
    PASS(t, r->at);
}

/* RFC 3261 7.3.1, RFC 4475 3.1.1.1 */
static void compact_and_folded(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    accepted(t, a,
             "OPTIONS sip:{domain} SIP/2.0\r\nv: SIP/2.0/TLS {local};bRaNcH=z9hG4bK{n};RPORT\r\n"
             "MAX-forwards:   70\r\nf: <sip:tester@{local}>;TAG={n}\r\nt: <sip:{domain}>\r\n"
             "i: {n}\r\ncseq:\r\n 9 OPTIONS\r\nX-Unknown: \"\r\n\tfolded\"\r\nl: 0\r\n\r\n");
}

static void tortuous(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    accepted(t, a,
             "OPTIONS sip:{domain};unknownparam SIP/2.0\r\n"
             "TO :\r\n <sip:{domain}> ; x-par    = \"strange \\\" ; < , value\"\r\n"
             "from   : \"Tester \\\\\\\"\"       <sip:tester@{local}>\r\n  ;\r\n  tag = {n}\r\n"
             "MaX-fOrWaRdS: 0068\r\nCall-ID: {n}@{n}\r\n"
             "cseq: 0009\r\n  OPTIONS\r\nVia  : SIP  /   2.0\r\n /TLS\r\n    "
             "{local};branch=z9hG4bK{n} ; rport\r\n"
             "NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
             "UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n"
             "v:  SIP  / 2.0  / TCP     spindle.invalid   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n "
             "SIP  /    2.0   / UDP  192.0.2.255"
             "   ; branch=\r\n z9hG4bK30239\r\nl: 0\r\n\r\n");
}

static void case_of_params(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r =
        ua_register(a, &(struct req){ .headers = "eXpIrEs: 120\r\nSUPPORTED: PATH\r\n" });
    EXPECT(t, r, "200");
    PASS(t, r->at);
}

/* RFC 3261 18.3 */
#define PLAIN(n)                                                                                   \
    "OPTIONS sip:{domain} SIP/2.0\r\nVia: SIP/2.0/TLS {local};branch=z9hG4bK" n "{n};rport\r\n"    \
    "Max-Forwards: 70\r\nFrom: <sip:tester@{local}>;tag=1\r\nTo: <sip:{domain}>\r\n"               \
    "Call-ID: " n "{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 3\r\n\r\nabc"

static void two_in_one(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, NOBODY);
    ua_send(a, &(struct req){ .raw = PLAIN("one") PLAIN("two") });
    struct msg *r1 = ua_wait(a, "final", 3000), *r2 = ua_wait(a, "final", 3000);
    OVER(t);
    MUST(t, r1 ? r1->at : t->event_count, r1 && r2, "two requests in one segment got %d answers",
         r1 ? 1 : 0);
    MUST(t, r2->at, !slice_eq(msg_header(r1, "Call-ID"), msg_header(r2, "Call-ID")),
         "one got two answers");
    PASS(t, r2->at);
}

static void one_in_many(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, NOBODY);
    slice s = slice_str(ua_fill(a, PLAIN("many")));
    for (size_t at = 0; at < s.len; at += 97) {
        ua_send_bytes(a, slice_head(slice_from(s, at), 97));
        test_pause(15);
    }
    struct msg *r = ua_wait(a, "final", 3000);
    EXPECT(t, r, "xxx");
    PASS(t, r->at);
}

/* How many bindings with `mark` in their URI there are after both were registered. */
static unsigned bindings(struct test *t, const char *mark, const char *first, const char *second,
                         unsigned *at) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    (void)ua_register(a, &(struct req){ .contact = first });
    struct msg *r = ua_register(a, &(struct req){ .contact = second });
    if (!t->verdict && (!r || r->status != 200)) test_unclear(t, "the registration was refused");
    if (t->verdict) return 0;
    *at = r->at;
    unsigned n = 0;
    for (unsigned i = 0; i < msg_values(r, "Contact"); i++)
        n += has(msg_value(r, "Contact", i), mark);
    (void)ua_register(a, &(struct req){ .contact = first, .headers = "Expires: 0\r\n" });
    (void)ua_register(a, &(struct req){ .contact = second, .headers = "Expires: 0\r\n" });
    return n;
}

/* RFC 3261 19.1.4: case of scheme and host, escapes, order of parameters do not count */
static void equal_uris(struct test *t) {
    unsigned at = 0;
    unsigned n = bindings(t, ":5070", "<sip:x1@PHONE.example:5070;a=1;transport=tcp>",
                          "<SIP:%781@phone.EXAMPLE:5070;transport=TCP;a=1>", &at);
    MUST(t, at, n == 1, "%u bindings for two spellings of one URI", n);
    PASS(t, at);
}

/* ... but a default port that is written does */
static void default_port(struct test *t) {
    unsigned at = 0;
    unsigned n = bindings(t, "x2@", "<sip:x2@phone.example;transport=tcp>",
                          "<sip:x2@phone.example:5060;transport=tcp>", &at);
    MUST(t, at, n == 2, "%u binding(s) for two URIs that differ in the port", n);
    PASS(t, at);
}

/* RFC 5954 4.2 */
static void equal_addresses(struct test *t) {
    unsigned at = 0;
    unsigned n = bindings(t, "x3@", "<sip:x3@[2001:db8::9:1]:5070>",
                          "<sip:x3@[2001:DB8:0:0:0:0:9:1]:5070>", &at);
    MUST(t, at, n == 1, "%u bindings for one IPv6 address in two spellings", n);
    PASS(t, at);
}

static void oversized(struct test *t) {
    struct ua *a = ua_new(t, WIRE_STREAM, NOBODY), *probe;
    char *big = arena_alloc(&t->arena, 300001);
    GIVEN(t, big && a, "memory is short");
    memset(big, 'a', 300000);
    big[300000] = 0;
    memcpy(big, "X-Large: ", 9);
    memcpy(big + 299998, "\r\n", 2);
    unsigned sent = t->event_count + 1;
    ua_send(a, &(struct req){ .headers = big });
    struct msg *r = ua_wait(a, "final", 2000);
    bool closed = !r && ua_is_closed(a, 2000);
    probe = ua_new(t, WIRE_BEST, NOBODY);
    struct msg *alive = ua_ask(probe, &(struct req){ .no_login = true });
    OVER(t);
    MUST(t, sent, alive, "the target does not answer any more");
    if (r) EXPECT(t, r, "513|400|431|413");
    MUST(t, sent, r || closed, "a header of 300,000 bytes is taken");
    PASS(t, r ? r->at : alive->at);
}

/* RFC 4475 3.1.1.3 */
static void escaped_user(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    OVER(t);
    const char *user = ua_account(b)->user;
    const char *uri = text(t, "sip:%%%02X%s@{domain}", (unsigned)(unsigned char)user[0], user + 1);
    struct msg *in = must_reach(
        a, b,
        &(struct req){ .method = "MESSAGE", .uri = uri, .type = "text/plain", .body = "hello" });
    ua_reply(b, in, 200, NULL);
    OVER(t);
    PASS(t, in->at);
}

/* %2525 is the user "%25", and nobody else */
static void escaped_twice(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    OVER(t);
    const char *user = ua_account(b)->user;
    const char *uri =
        text(t, "sip:%%25%02X%s@{domain}", (unsigned)(unsigned char)user[0], user + 1);
    struct msg *r = ua_ask(
        a, &(struct req){ .method = "MESSAGE", .uri = uri, .type = "text/plain", .body = "hello" });
    EXPECT(t, r, "4xx");
    PASS(t, r->at);
}

/* RFC 4475 3.1.1.8 */
static void udp_trailing(struct test *t) {
    struct ua *a = ua_new(t, WIRE_UDP, NOBODY);
    ua_send(a, &(struct req){
                   .raw = PLAIN("udp") "OPTIONS sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP "
                                       "{local};branch=z9hG4bK{n}\r\n"
                                       "Max-Forwards: 70\r\nFrom: <sip:x@{local}>;tag=2\r\nTo: "
                                       "<sip:{domain}>\r\nCall-ID: tail{n}\r\n"
                                       "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n" });
    struct msg *r = NULL, *second = NULL;
    for (struct msg *m; !second && (m = ua_wait(a, "final", r ? 500 : 3000));) {
        if (slice_starts(msg_header(m, "Call-ID"), SLICE("tail"))) {
            second = m;
        } else {
            r = m;
        }
    }
    OVER(t);
    MUST(t, t->event_count, r, "no answer to the first");
    MUST(t, second ? second->at : 0, !second,
         "the bytes behind the body were taken as another request");
    PASS(t, r->at);
}

/* RFC 4475 3.3.13 */
static void contact_params(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r = ua_register(
        a, &(struct req){ .contact = "<sip:{user}@{local};transport=tcp;kithuri=1>;kithheader=2" });
    EXPECT(t, r, "200");
    for (unsigned i = 0; i < msg_values(r, "Contact"); i++) {
        slice v = msg_value(r, "Contact", i);
        if (!has(v, "kithuri")) continue;
        MUST(t, r->at, is(uri_param(value_uri(v), "kithuri"), "1"),
             "the URI parameter left the URI");
        MUST(t, r->at, !uri_param(value_uri(v), "kithheader").ptr,
             "the header parameter went into the URI");
        PASS(t, r->at);
    }
    FAIL(t, r->at, "the URI parameter is lost");
}

/* RFC 8217 3 */
static void angle_brackets(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, 0);
    struct msg *r =
        ua_register(a, &(struct req){ .contact = "<sip:a,b;c=d@{local};transport=tcp>" });
    EXPECT(t, r, "200");
    for (unsigned i = 0; i < msg_lines(r, "Contact"); i++) {
        slice v = msg_header(r, "Contact");
        if (has(v, "a,b")) {
            MUST(t, r->at, has(v, "<sip:a,b"), "a URI with a comma is not in angle brackets");
            PASS(t, r->at);
        }
    }
    FAIL(t, r->at, "the contact is not in the 200");
}

/* RFC 5118 4.5 */
static void received_forms(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct msg *r1 = ua_ask(
        a, &(struct req){ .headers =
                              "Via: SIP/2.0/UDP "
                              "[2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3\r\n" });
    EXPECT(t, r1, "2xx|401|403|404|405|407|480");
    struct msg *r2 = ua_ask(
        a, &(struct req){ .headers =
                              "Via: SIP/2.0/UDP "
                              "[2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3\r\n" });
    EXPECT(t, r2, "2xx|401|403|404|405|407|480");
    PASS(t, r2->at);
}

static void unknown_scheme_not_by_to(struct test *t) {
    struct ua *b = ua_registered(t, 1), *a = ua_registered(t, 0);
    struct msg *r =
        ua_ask(a, &(struct req){
                      .method = "MESSAGE", .uri = "nobodyknows:thisscheme", .to = "<sip:{peer}>" });
    struct msg *in;
    (void)ua_quiet(b, "MESSAGE", 300, &in);
    MUST(t, in ? in->at : 0, !in, "it was routed by To");
    EXPECT(t, r, "416");
    PASS(t, r->at);
}

static void refused_and_closed(struct test *t, const char *length) {
    struct ua *a = ua_new(t, WIRE_STREAM, NOBODY);
    unsigned sent = t->event_count + 1;
    ua_send(a, &(struct req){ .length = length, .without = "Content-Type", .body = "" });
    struct msg *r = ua_wait(a, "final", 2000);
    OVER(t);
    if (r) EXPECT(t, r, "4xx");
    MUST(t, r ? r->at : sent, ua_is_closed(a, 2000),
         "the connection stays open, although nobody knows where the next message begins");
    PASS(t, test_note(t, "the target closed the connection"));
}
static void negative_length(struct test *t) {
    refused_and_closed(t, "-999");
}
static void no_number_length(struct test *t) {
    refused_and_closed(t, "twelve");
}
static void two_lengths(struct test *t) {
    refused_and_closed(t, "0\r\nContent-Length: 7");
}

AREA(server_parse, T(PARSE_001, "compact-and-folded", compact_and_folded),
     T(PARSE_001, "case", case_of_params, .accounts = 1),
     T(PARSE_002, "two-in-one", two_in_one, .needs = NEEDS_STREAM),
     T(PARSE_002, "one-in-many", one_in_many, .needs = NEEDS_STREAM),
     T(PARSE_003, "equal-uris", equal_uris, .accounts = 1),
     T(PARSE_003, "default-port", default_port, .accounts = 1),
     T(PARSE_004, "oversized", oversized, .needs = NEEDS_STREAM),
     T(PARSE_005, "tortuous", tortuous), T(PARSE_006, "escaped", escaped_user, .accounts = 2),
     T(PARSE_006, "escaped-twice", escaped_twice, .accounts = 2),
     T(PARSE_007, "udp-trailing", udp_trailing),
     T(PARSE_008, "udp-length", ASK("400", WIRE_UDP, .req = { .length = "9999" }),
       .needs = NEEDS_UDP),
     T(PARSE_009, "negative", negative_length, .needs = NEEDS_STREAM),
     T(PARSE_009, "no-number", no_number_length, .needs = NEEDS_STREAM),
     T(PARSE_010, "cseq-too-large",
       ASK("400", WIRE_BEST, .req = { .cseq = "36893488147419103232 OPTIONS" })),
     T(PARSE_010, "expires-too-large",
       ASK("2xx|400", WIRE_BEST,
           .req = { .method = "REGISTER",
                    .to = "<sip:{aor}>",
                    .headers = "Expires: 99999999999999999999\r\n" }),
       .accounts = 1),
     T(PARSE_011, "unknown-version", ASK("505", WIRE_BEST, .req = { .version = "SIP/7.0" })),
     T(PARSE_012, "other-method-in-cseq", ASK("400", WIRE_BEST, .req = { .cseq = "8 INVITE" })),
     T(PARSE_013, "no-from", ASK("400|drop|close", WIRE_BEST, .req = { .without = "From" })),
     T(PARSE_013, "no-to", ASK("400|drop|close", WIRE_BEST, .req = { .without = "To" })),
     T(PARSE_013, "no-call-id", ASK("400|drop|close", WIRE_BEST, .req = { .without = "Call-ID" })),
     T(PARSE_014, "unknown-scheme",
       ASK("416", WIRE_BEST, .req = { .uri = "nobodyknows:thisscheme", .to = "<sip:{domain}>" })),
     T(PARSE_014, "not-by-to", unknown_scheme_not_by_to, .accounts = 2),
     T(PARSE_015, "two-call-ids",
       ASK("400", WIRE_BEST, .req = { .headers = "Call-ID: another\r\n" })),
     T(PARSE_015, "two-froms",
       ASK("400", WIRE_BEST, .req = { .headers = "From: <sip:other@invalid>;tag=2\r\n" })),
     T(PARSE_015, "two-cseqs", ASK("400", WIRE_BEST, .req = { .headers = "CSeq: 99 OPTIONS\r\n" })),
     T(PARSE_015, "two-max-forwards",
       ASK("400", WIRE_BEST, .req = { .headers = "Max-Forwards: 5\r\n" })),
     T(PARSE_016, "two-lengths", two_lengths, .needs = NEEDS_STREAM),
     T(PARSE_018, "contact-parameters", contact_params, .accounts = 1),
     T(PARSE_019, "comma", angle_brackets, .accounts = 1),
     T(PARSE_020, "ipv6-no-brackets",
       ASK("400", WIRE_BEST, .req = { .uri = "sip:2001:db8::10", .to = "<sip:{domain}>" })),
     T(PARSE_021, "received-forms", received_forms),
     T(PARSE_022, "equal-addresses", equal_addresses, .accounts = 1));
