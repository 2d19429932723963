#include "check/msg.h"
#include "unit.h"

static const char text[] =
    "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS a;branch=1, SIP/2.0/UDP b\r\n"
    "v: SIP/2.0/TCP c\r\nt: \"x, <y>\" <sip:u;p@h:5060;lr>;tag=7 ;q\r\n"
    "CSeq: 12 INVITE\r\nWWW-Authenticate: Digest realm=\"a, b\", qop=\"auth\"\r\n"
    "Subject: one\r\n two\r\nContent-Length: 3\r\n\r\nabc";

static void reads(void **state) {
    (void)state;
    struct msg m;
    msg_read(slice_str(text), &m);
    assert_false(m.bad);
    assert_int_equal(m.status, 200);
    assert_int_equal(msg_values(&m, "Via"), 3);
    assert_true(is(msg_value(&m, "Via", 2), "SIP/2.0/TCP c"));
    slice to = msg_header(&m, "To");
    assert_true(is(value_uri(to), "sip:u;p@h:5060;lr"));
    assert_true(is(value_param(to, "tag"), "7"));
    assert_true(value_has(to, "q"));
    assert_false(value_has(to, "lr"));
    assert_true(uri_param(value_uri(to), "lr").ptr);
    assert_true(is(uri_user(value_uri(to)), "u;p"));
    assert_true(is(uri_host(value_uri(to)), "h"));
    assert_true(is(comma_value(msg_header(&m, "WWW-Authenticate"), "realm"), "a, b"));
    assert_true(is(comma_value(msg_header(&m, "WWW-Authenticate"), "qop"), "auth"));
    assert_int_equal(msg_cseq(&m), 12);
    assert_true(is(msg_cseq_method(&m), "INVITE"));
    assert_true(has(msg_header(&m, "Subject"), "two"));
    assert_true(is(m.body, "abc"));
}

static void frames(void **state) {
    (void)state;
    assert_int_equal(msg_frame(slice_str(text)), sizeof text - 1);
    assert_int_equal(msg_frame(slice_of(text, sizeof text - 2)), 0);
    assert_int_equal(msg_frame(SLICE("OPTIONS sip:a SIP/2.0\r\n")), 0);
}

static void bad_ones(void **state) {
    (void)state;
    struct msg m;
    msg_read(SLICE("hello\r\n\r\n"), &m);
    assert_true(m.bad);
    msg_read(SLICE("OPTIONS sip:a SIP/2.0\r\nTo: x\r\n"), &m);
    assert_true(m.bad);
    msg_read(SLICE("SIP/2.0 20 OK\r\n\r\n"), &m);
    assert_true(m.bad);
    msg_read(SLICE_NONE, &m);
    assert_true(m.bad);
}

static void patterns(void **state) {
    (void)state;
    assert_true(status_fits(404, SLICE("2xx|404")));
    assert_true(status_fits(202, SLICE("2xx|404")));
    assert_false(status_fits(403, SLICE("2xx|404")));
    assert_false(status_fits(403, SLICE("close|drop")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(frames),
        cmocka_unit_test(bad_ones),
        cmocka_unit_test(patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
