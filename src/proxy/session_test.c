#include "unit.h"

#include "proxy/session.h"

static struct sip_msg m;

static const struct sip_msg *load(const char *start, const char *lines) {
    static char mem[1024];
    struct buf b = buf_over(mem, sizeof mem);
    buf_fmt(
        &b,
        "%s\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@x>;tag=1\r\n"
        "To: <sip:b@x>\r\nCall-ID: 1\r\nCSeq: 1 %s\r\n%sContent-Length: 0\r\n\r\n",
        start,
        strstr(start, "UPDATE") ? "UPDATE"
        : strstr(start, "BYE")  ? "BYE"
                                : "INVITE",
        lines);
    assert_ok(sip_msg_read(&m, buf_slice(&b), SIP_STREAM).err);
    return &m;
}

#define INVITE "INVITE sip:b@x SIP/2.0"
#define UPDATE "UPDATE sip:b@x SIP/2.0"

/* RFC 4028 8.1, row by row. */
static void requests(void **state) {
    (void)state;
    static const struct {
        const char *start, *lines;
        bool ok;
        struct session_timer want;
    } rows[] = {
        { INVITE, "", true, { 1800, false, 1800, 0 } },
        { INVITE, "Supported: timer\r\n", true, { 1800, true, 1800, 0 } },
        { INVITE, "Min-SE: 3600\r\n", true, { 3600, false, 3600, 0 } },
        { INVITE, "Supported: timer\r\nSession-Expires: 300\r\n", true, { 300, true, 0, 0 } },
        { INVITE, "Session-Expires: 90000\r\n", true, { 90000, false, 0, 0 } },
        { INVITE, "Supported: timer\r\nx: 60;refresher=uac\r\n", false, { 0, true, 0, 0 } },
        { INVITE, "Session-Expires: 60\r\n", true, { 90, false, 90, 90 } },
        { INVITE, "Session-Expires: 60\r\nMin-SE: 30\r\n", true, { 90, false, 90, 90 } },
        { INVITE, "Session-Expires: 60\r\nMin-SE: 120\r\n", true, { 120, false, 120, 0 } },
        { INVITE, "Session-Expires: 100\r\nMin-SE: 120\r\n", true, { 120, false, 120, 0 } },
        { INVITE, "Session-Expires: soon\r\n", true, { 0, false, 0, 0 } },
        { INVITE, "Min-SE: much\r\n", true, { 0, false, 0, 0 } },
        { UPDATE, "Supported: timer\r\n", true, { 0, false, 0, 0 } },
        { UPDATE, "Supported: timer\r\nSession-Expires: 300\r\n", true, { 300, true, 0, 0 } },
        { "BYE sip:b@x SIP/2.0", "Session-Expires: 10\r\n", true, { 0, false, 0, 0 } },
    };
    struct session_timer got;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        const struct session_timer *want = &rows[i].want;
        bool ok = session_request(load(rows[i].start, rows[i].lines), 1800, &got);
        if (ok != rows[i].ok || got.seconds != want->seconds || got.expires_s != want->expires_s ||
            got.min_se_s != want->min_se_s || (want->has_uac && !got.has_uac)) {
            print_error("%s: %d %u %u %u\n", rows[i].lines, ok, got.seconds, got.expires_s,
                        got.min_se_s);
            fail();
        }
        assert_true(session_request(&m, 0, &got) && got.seconds == 0 && got.expires_s == 0);
    }
}

/* 8.1: the refresher is never the proxy's to choose. */
static void parameters_stay(void **state) {
    (void)state;
    char mem[64];
    struct buf b = buf_over(mem, sizeof mem);
    session_put_expires(load(INVITE, "Session-Expires: 60 ;refresher=uas\r\n"), 90, &b);
    assert_slice(buf_slice(&b), "90;refresher=uas");
    buf_clear(&b);
    session_put_expires(load(INVITE, ""), 1800, &b);
    assert_slice(buf_slice(&b), "1800");
}

/* 8.2 */
static void responses(void **state) {
    (void)state;
    char mem[96];
    struct buf b = buf_over(mem, sizeof mem);
    session_put_lines(1800, true, load("SIP/2.0 200 OK", ""), &b);
    assert_slice(buf_slice(&b), "Session-Expires: 1800;refresher=uac\r\nRequire: timer\r\n");
    buf_clear(&b);
    session_put_lines(1800, true, load("SIP/2.0 200 OK", "Require: 100rel, timer\r\n"), &b);
    assert_slice(buf_slice(&b), "Session-Expires: 1800;refresher=uac\r\n");
    buf_clear(&b);
    session_put_lines(1800, false, load("SIP/2.0 200 OK", ""), &b);
    session_put_lines(0, true, &m, &b);
    session_put_lines(1800, true, load("SIP/2.0 200 OK", "x: 900;refresher=uas\r\n"), &b);
    assert_int_equal(b.len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(parameters_stay),
        cmocka_unit_test(responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
