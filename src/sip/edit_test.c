#include "unit.h"

#include "sip/edit.h"
#include "sip/reply.h"

static struct sip_msg m;
static char mem[4096];

#define TOP                                                                                        \
    "INVITE sip:bob@biloxi.example.com SIP/2.0\r\n"                                                \
    "Via: SIP/2.0/TLS a;branch=z9hG4bK1\r\n"                                                       \
    "Via :SIP/2.0/TLS b;branch=z9hG4bK2\r\n"
#define ROUTES                                                                                     \
    "Route: <sip:one;lr>, <sip:two;lr>\r\n"                                                        \
    "Subject: x\r\n  y\r\n"                                                                        \
    "route:\t<sip:three;lr>\r\n"
#define REST  "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: 1@x\r\nCSeq: 1 INVITE\r\n"
#define TAIL  "L : 4\r\nX-Odd:  kept as it is \r\n\r\nbody"
#define WHOLE TOP ROUTES REST TAIL

static struct sip_edit start(const char *text) {
    static slice kept;
    struct sip_edit e;
    kept = slice_str(text);
    kept = unit_guard(kept.ptr, kept.len);
    assert_ok(sip_msg_read(&m, kept, SIP_DATAGRAM).err);
    sip_edit_init(&e, &m);
    return e;
}
static slice written(const struct sip_edit *e) {
    struct buf out = buf_over(mem, sizeof(mem));
    assert_ok(sip_edit_write(e, &out));
    return buf_slice(&out);
}

static void copies_byte_for_byte(void **state) {
    (void)state;
    struct sip_edit e = start(WHOLE);
    assert_slice(written(&e), WHOLE);
    e = start(TOP REST "\r\nxx");
    assert_slice(written(&e), TOP REST "Content-Length: 2\r\n\r\nxx");
}

static void forwards_like_a_proxy(void **state) {
    (void)state;
    struct sip_edit e = start(WHOLE);
    sip_edit_request_uri(&e, SLICE("sip:bob@192.0.2.4"));
    sip_edit_insert(&e, HDR_VIA, SLICE("SIP/2.0/TLS p;branch=z9hG4bK3"));
    sip_edit_insert(&e, HDR_RECORD_ROUTE, SLICE("<sip:p;lr>"));
    sip_edit_insert(&e, HDR_MAX_FORWARDS, SLICE("70"));
    sip_edit_append(&e, SLICE("P-New"), SLICE("1"));
    assert_slice(written(&e),
                 "INVITE sip:bob@192.0.2.4 SIP/2.0\r\n"
                 "Via: SIP/2.0/TLS p;branch=z9hG4bK3\r\n"
                 "Via: SIP/2.0/TLS a;branch=z9hG4bK1\r\n"
                 "Via :SIP/2.0/TLS b;branch=z9hG4bK2\r\n" ROUTES REST
                 "L : 4\r\nX-Odd:  kept as it is \r\n"
                 "Record-Route: <sip:p;lr>\r\nMax-Forwards: 70\r\nP-New: 1\r\n\r\nbody");
}

static void drops_values_over_lines(void **state) {
    (void)state;
    struct sip_edit e = start(WHOLE);
    sip_edit_drop_values(&e, HDR_ROUTE, 1);
    assert_slice(written(&e), TOP "Route: <sip:two;lr>\r\nSubject: x\r\n  y\r\n"
                                  "route:\t<sip:three;lr>\r\n" REST TAIL);
    sip_edit_drop_values(&e, HDR_ROUTE, 1); /* once more: two in all */
    assert_slice(written(&e), TOP "Subject: x\r\n  y\r\nroute:\t<sip:three;lr>\r\n" REST TAIL);
    sip_edit_drop_values(&e, HDR_ROUTE, 1);
    assert_slice(written(&e), TOP "Subject: x\r\n  y\r\n" REST TAIL);
    sip_edit_drop_values(&e, HDR_ROUTE, 7); /* more than there are */
    assert_slice(written(&e), TOP "Subject: x\r\n  y\r\n" REST TAIL);
    sip_edit_drop_values(&e, HDR_CONTACT, 1); /* none there */
    sip_edit_insert(&e, HDR_ROUTE, SLICE("<sip:new>"));
    assert_slice(written(&e), TOP "Route: <sip:new>\r\nSubject: x\r\n  y\r\n" REST TAIL);
    e = start(WHOLE);
    sip_edit_drop_values(&e, HDR_ROUTE, 0);
    assert_slice(written(&e), WHOLE);
    e = start(TOP "Route: <sip:a>,,<sip:b>\r\n" REST "\r\n");
    sip_edit_drop_values(&e, HDR_ROUTE, 2);
    struct buf out = buf_over(mem, sizeof(mem));
    assert_err(sip_edit_write(&e, &out), ERR_BAD);
}

static void drops_and_replaces(void **state) {
    (void)state;
    struct sip_edit e = start(WHOLE);
    sip_edit_drop_all(&e, HDR_ROUTE);
    sip_edit_drop(&e, sip_first(&m, HDR_SUBJECT));
    sip_edit_replace(&e, sip_first(&m, HDR_OTHER), SLICE("new"));
    sip_edit_drop(&e, sip_first(&m, HDR_VIA));
    assert_slice(written(&e),
                 "INVITE sip:bob@biloxi.example.com SIP/2.0\r\n"
                 "Via :SIP/2.0/TLS b;branch=z9hG4bK2\r\n" REST "L : 4\r\nX-Odd: new\r\n\r\nbody");
}

static void inserts_in_order(void **state) {
    (void)state;
    struct sip_edit e = start(TOP REST "\r\n");
    sip_edit_insert(&e, HDR_ROUTE, SLICE("<sip:1>"));
    sip_edit_insert(&e, HDR_ROUTE, SLICE("<sip:2>"));
    sip_edit_insert(&e, HDR_TO, SLICE("before"));
    assert_slice(written(&e),
                 TOP "Route: <sip:1>\r\nRoute: <sip:2>\r\n"
                     "From: <sip:a@b>;tag=1\r\nTo: before\r\nTo: <sip:c@d>\r\nCall-ID: 1@x\r\n"
                     "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
}

static void changes_the_body(void **state) {
    (void)state;
    struct sip_edit e = start(WHOLE);
    sip_edit_body(&e, SLICE("longer body"));
    assert_slice(written(&e), TOP ROUTES REST "L: 11\r\nX-Odd:  kept as it is \r\n\r\nlonger body");
    sip_edit_body(&e, SLICE_NONE);
    assert_slice(written(&e), TOP ROUTES REST "L: 0\r\nX-Odd:  kept as it is \r\n\r\n");
    e = start(TOP REST "\r\nxx");
    sip_edit_body(&e, SLICE("yyy"));
    assert_slice(written(&e), TOP REST "Content-Length: 3\r\n\r\nyyy");
}

/* Foreign text in a value must not open a header line. */
static void refuses_to_break_lines(void **state) {
    (void)state;
    static const slice bad[] = { { "a\r\nEvil: 1", 10 }, { "a\rb", 3 },  { "a\nb", 3 },
                                 { "a\0b", 3 },          { "a\r\n", 3 }, { "a\n\r b", 5 } };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        for (int how = 0; how < 4; how++) {
            struct sip_edit e = start(WHOLE);
            slice s = unit_guard(bad[i].ptr, bad[i].len);
            if (how == 0) sip_edit_insert(&e, HDR_CONTACT, s);
            if (how == 1) sip_edit_append(&e, SLICE("X"), s);
            if (how == 2) sip_edit_replace(&e, sip_first(&m, HDR_TO), s);
            if (how == 3) sip_edit_request_uri(&e, s);
            struct buf out = buf_over(mem, sizeof(mem));
            assert_err(sip_edit_write(&e, &out), ERR_BAD);
        }
    }
    struct sip_edit e = start(WHOLE);
    struct buf out = buf_over(mem, sizeof(mem));
    sip_edit_request_uri(&e, SLICE("sip:a b"));
    assert_err(sip_edit_write(&e, &out), ERR_BAD);
    e = start(WHOLE);
    sip_edit_append(&e, SLICE("X"), SLICE("folded\r\n value"));
    out = buf_over(mem, sizeof(mem));
    assert_ok(sip_edit_write(&e, &out));
}

static void knows_its_limits(void **state) {
    (void)state;
    struct sip_edit e = start(WHOLE);
    for (int i = 0; i < SIP_EDITS_MAX; i++) sip_edit_append(&e, SLICE("X"), SLICE("1"));
    slice all = written(&e);
    for (size_t cap = 0; cap < all.len; cap++) {
        static char small[4096];
        struct buf out = buf_over(small, cap);
        assert_err(sip_edit_write(&e, &out), ERR_FULL);
    }
    sip_edit_append(&e, SLICE("X"), SLICE("1"));
    struct buf out = buf_over(mem, sizeof(mem));
    assert_err(sip_edit_write(&e, &out), ERR_LIMIT);
}

/* ---- replies ---- */

static slice reply(const struct sip_reply *r) {
    struct buf out = buf_over(mem, sizeof(mem));
    assert_ok(sip_reply(&m, r, &out));
    return buf_slice(&out);
}

/* RFC 3261 8.2.6. */
static void replies(void **state) {
    (void)state;
    (void)start(TOP REST "Timestamp: 54\r\n\r\n");
    assert_slice(reply(&(struct sip_reply){ .status = 404, .to_tag = SLICE("t") }),
                 "SIP/2.0 404 Not Found\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\n"
                 "Via :SIP/2.0/TLS b;branch=z9hG4bK2\r\nFrom: <sip:a@b>;tag=1\r\n"
                 "To: <sip:c@d>;tag=t\r\nCall-ID: 1@x\r\nCSeq: 1 INVITE\r\n"
                 "Content-Length: 0\r\n\r\n");
    assert_slice(reply(&(struct sip_reply){ .status = 100, .to_tag = SLICE("t") }),
                 "SIP/2.0 100 Trying\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\n"
                 "Via :SIP/2.0/TLS b;branch=z9hG4bK2\r\nFrom: <sip:a@b>;tag=1\r\n"
                 "To: <sip:c@d>\r\nCall-ID: 1@x\r\nCSeq: 1 INVITE\r\nTimestamp: 54\r\n"
                 "Content-Length: 0\r\n\r\n");
    assert_slice(reply(&(struct sip_reply){ .status = 200,
                                            .reason = SLICE("Fine"),
                                            .extra_lines = SLICE("Allow: BYE\r\nX: 1\r\n"),
                                            .body_type = SLICE("text/plain"),
                                            .body = SLICE("hi") }),
                 "SIP/2.0 200 Fine\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\n"
                 "Via :SIP/2.0/TLS b;branch=z9hG4bK2\r\nFrom: <sip:a@b>;tag=1\r\n"
                 "To: <sip:c@d>\r\nCall-ID: 1@x\r\nCSeq: 1 INVITE\r\nAllow: BYE\r\nX: 1\r\n"
                 "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi");
    struct buf out = buf_over(mem, 40);
    assert_err(sip_reply(&m, &(struct sip_reply){ .status = 200 }, &out), ERR_FULL);
    (void)start("INVITE sip:a SIP/2.0\r\nVia: SIP/2.0/TLS a\r\nTo: <sip:c@d>;tag=z\r\n"
                "From: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n");
    slice s = reply(&(struct sip_reply){ .status = 486, .to_tag = SLICE("t") });
    assert_true(slice_find_slice(s, SLICE("\r\nTo: <sip:c@d>;tag=z\r\n")) < s.len);
}

/* RFC 3261 18.2.1, RFC 3581 4. */
static void fills_in_the_source(void **state) {
    (void)state;
    static const struct {
        const char *via, *source, *wanted;
    } cases[] = {
        { "SIP/2.0/UDP a;branch=1", "192.0.2.1:99", "SIP/2.0/UDP a;branch=1;received=192.0.2.1" },
        { "SIP/2.0/UDP 192.0.2.1;branch=1", "192.0.2.1:99", "SIP/2.0/UDP 192.0.2.1;branch=1" },
        { "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=1", "192.0.2.1:99",
          "SIP/2.0/UDP 192.0.2.1:5060;rport=99;branch=1;received=192.0.2.1" },
        { "SIP/2.0/UDP [2001:DB8:0::1];branch=1", "[2001:db8::1]:99",
          "SIP/2.0/UDP [2001:DB8:0::1];branch=1" },
        { "SIP/2.0/UDP [::2]", "[2001:db8::1]:99", "SIP/2.0/UDP [::2];received=2001:db8::1" },
        { "SIP/2.0/UDP a;received=6.6.6.6;branch=1;rport=7", "192.0.2.1:99",
          "SIP/2.0/UDP a;branch=1;rport=99;received=192.0.2.1" },
        { "SIP/2.0/UDP a ; branch = 1 , SIP/2.0/UDP b", "192.0.2.1:99",
          "SIP/2.0/UDP a ;branch=1;received=192.0.2.1 , SIP/2.0/UDP b" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[512], wanted[256];
        (void)snprintf(text, sizeof(text),
                       "BYE sip:a SIP/2.0\r\nVia: %s\r\nv: SIP/2.0/UDP z\r\nTo: <sip:c@d>\r\n"
                       "From: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 BYE\r\n\r\n",
                       cases[i].via);
        (void)snprintf(wanted, sizeof(wanted), "\r\nVia: %s\r\nv: SIP/2.0/UDP z\r\nFrom",
                       cases[i].wanted);
        (void)start(text);
        struct addr source;
        assert_ok(addr_read(slice_str(cases[i].source), &source));
        slice s = reply(&(struct sip_reply){ .status = 200, .source = &source });
        if (slice_find_slice(s, slice_str(wanted)) == s.len) {
            print_error(SLICE_FMT "\nlacks%s\n", SLICE_ARG(s), wanted);
            fail();
        }
    }
}

static void replies_to_what_was_refused(void **state) {
    (void)state;
    struct sip_read r = sip_msg_read(
        &m,
        UNIT_GUARD(TOP
                   "From: <sip:a@b>;tag=1\r\nTo: A, B <x>\r\nCall-ID: 1\r\nCSeq: 1 BYE\r\n\r\n"),
        SIP_DATAGRAM);
    assert_err(r.err, ERR_BAD);
    assert_true(r.answerable);
    slice s = reply(&(struct sip_reply){ .status = 400, .to_tag = SLICE("t") });
    assert_true(slice_find_slice(s, SLICE("\r\nTo: A, B <x>\r\n")) < s.len);
    r = sip_msg_read(&m, UNIT_GUARD("BYE sip:a SIP/2.0\r\nTo: <sip:a>\r\n\r\n"), SIP_DATAGRAM);
    assert_false(r.answerable);
    struct buf out = buf_over(mem, sizeof(mem));
    assert_err(sip_reply(&m, &(struct sip_reply){ .status = 400 }, &out), ERR_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_byte_for_byte),
        cmocka_unit_test(forwards_like_a_proxy),
        cmocka_unit_test(drops_values_over_lines),
        cmocka_unit_test(drops_and_replaces),
        cmocka_unit_test(inserts_in_order),
        cmocka_unit_test(changes_the_body),
        cmocka_unit_test(refuses_to_break_lines),
        cmocka_unit_test(knows_its_limits),
        cmocka_unit_test(replies),
        cmocka_unit_test(fills_in_the_source),
        cmocka_unit_test(replies_to_what_was_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
