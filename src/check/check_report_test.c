#include "base/mem.h"
#include "check/locate.h"
#include "check/report.h"
#include "unit.h"

/* ---- what a shared report must not hold ----------------------------------------------------- */

/* The line of a test whose only evidence is this; free it. NULL when memory is short. */
static char *line_of(slice evidence) {
    static struct run run;
    static const struct check_test what = { ROW_AUTH_001, "one", NULL, 0, 0, 0, NULL };
    static struct test t;
    struct result r = { &what, VERDICT_PASS, NULL, 0 };
    run = (struct run){ .part = -1 };
    t = (struct test){ .what = &what, .run = &run, .verdict = VERDICT_PASS, .proof = 1 };
    t.events[0] = (struct event){ 0, '>', "us", evidence };
    t.event_count = 1;
    report_line(&t, &r);
    if (!r.line) return NULL;
    char *text = mem_alloc(r.len + 1);
    if (text) memcpy(text, r.line, r.len);
    if (text) text[r.len] = 0;
    mem_free(r.line);
    return text;
}

#define SECRET "5ec4e75ec4e75ec4e75ec4e75ec4e75e"

static void hides_what_a_password_made(void **state) {
    (void)state;
    static const char *const headers[] = {
        "Authorization: Digest username=\"a\", response=\"" SECRET "\", uri=\"sip:b\"",
        "Authorization: Digest response=\"" SECRET "\",uri=\"sip:b\"",
        "Authorization: Digest username=\"a\",response=\"" SECRET "\",uri=\"sip:b\"",
        "Authorization: Digest username=\"a\",\r\n RESPONSE = \"" SECRET "\", uri=\"sip:b\"",
        "proxy-authorization: Digest username=\"a\",\tresponse=" SECRET ", uri=\"sip:b\"",
        "Authentication-Info: qop=auth, rspauth=\"" SECRET "\", uri=\"sip:b\"",
        "Authorization: Bearer " SECRET "\r\nX: uri=\"sip:b\"",
        "Proxy-Authorization:basic " SECRET "\r\nX: uri=\"sip:b\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        char mem[512];
        struct buf b = buf_over(mem, sizeof mem);
        buf_fmt(&b, "REGISTER sip:x SIP/2.0\r\n%s\r\n\r\n", headers[i]);
        char *line = line_of(buf_slice(&b));
        if (!line) return;
        if (strstr(line, "5ec4e7")) fail_msg("shown: %s", line);
        assert_non_null(strstr(line, "xxxx"));
        assert_non_null(strstr(line, "uri=\\\"sip:b")); /* and nothing else is hidden */
        mem_free(line);
    }
}

static void shows_the_rest(void **state) {
    (void)state;
    char *line = line_of(SLICE("SIP/2.0 401 Unauthorized\r\nWWW-Authenticate: Digest "
                               "nonce=\"" SECRET "\"\r\nCall-ID: response\r\n\r\n"));
    if (!line) return;
    assert_non_null(strstr(line, SECRET));
    assert_null(strstr(line, "xxxx"));
    mem_free(line);
}

/* MESSAGE-INTEGRITY is computed from the password (RFC 8489 9.2.2), as a digest answer is. */
static void hides_stun_integrity(void **state) {
    (void)state;
    static const char request[] = "\0\3\0\x28\x21\x12\xa4\x42"
                                  "123456789012"
                                  "\0\x19\0\4\x11\0\0\0"
                                  "\0\x08\0\x14\xab\xcd\xab\xcd\xab\xcd\xab\xcd\xab\xcd\xab\xcd\xab"
                                  "\xcd\xab\xcd\xab\xcd\xab\xcd"
                                  "\x80\x22\0\x04kith";
    char *line = line_of(slice_of(request, sizeof request - 1));
    if (!line) return;
    assert_non_null(strstr(line, "00190004"));
    assert_null(strstr(line, "abcd"));
    assert_non_null(strstr(line, "802200046b697468"));
    mem_free(line);
    line = line_of(slice_of(request, 44)); /* cut within it */
    if (!line) return;
    assert_null(strstr(line, "abcd"));
    mem_free(line);
}

/* ---- whom we may send to --------------------------------------------------------------------- */

static void knows_private_places(void **state) {
    (void)state;
    static const char *const ours[] = {
        "127.0.0.1",        "10.255.0.1",   "172.16.0.1",       "172.31.255.255",
        "192.168.9.9",      "169.254.1.1",  "203.0.113.80",     "::1",
        "fd00::1",          "fe80::1",      "2001:db8::1",      "192.0.2.1",
        "::ffff:192.0.2.1", "198.51.100.7", "::ffff:127.0.0.2",
    };
    static const char *const others[] = {
        "8.8.8.8",
        "172.15.0.1",
        "172.32.0.1",
        "192.169.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "11.0.0.1",
        "192.0.3.1",
        "::ffff:8.8.8.8",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "2002:a00:1::1",
        "2001:0:a00:1::1",
        "::10.0.0.1",
        "2001:db9::1",
        "2606:4700::1111",
        "fec0::1",
        "::fffe:10.0.0.1",
        "255.255.255.255",
        "::",
    };
    struct addr a;
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        assert_int_equal(addr_read_ip(slice_str(ours[i]), &a), ERR_OK);
        if (!place_is_private(&a)) fail_msg("%s is ours", ours[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(addr_read_ip(slice_str(others[i]), &a), ERR_OK);
        if (place_is_private(&a)) fail_msg("%s is another's", others[i]);
    }
    struct run run = { .part = -1 };
    assert_false(run_may_reach(&run, &a));
    run.public_too = true;
    assert_true(run_may_reach(&run, &a));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hides_what_a_password_made),
        cmocka_unit_test(shows_the_rest),
        cmocka_unit_test(hides_stun_integrity),
        cmocka_unit_test(knows_private_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
