#include "unit.h"

#include "sip/hdr.h"

static struct sip_msg m;

#define TOP                                                                                        \
    "INVITE sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nTo: <sip:b@c>\r\n"            \
    "From: <sip:a@b>;tag=1\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"

static void load(const char *headers) {
    static char text[4096];
    int n = snprintf(text, sizeof(text), TOP "%s\r\n", headers);
    assert_ok(sip_msg_read(&m, unit_guard(text, (size_t)n), SIP_DATAGRAM).err);
}
static slice guard(const char *text) {
    slice s = slice_str(text);
    return unit_guard(s.ptr, s.len);
}

static void check_list(const char *headers, const char *wanted) {
    char mem[256];
    struct buf b = buf_over(mem, sizeof(mem));
    load(headers);
    struct hdr_values it = hdr_values_of(&m, HDR_ROUTE);
    for (slice v; hdr_values_next(&it, &v);) {
        buf_put(&b, v);
        buf_lit(&b, "|");
    }
    if (it.bad) buf_lit(&b, "bad");
    assert_slice(buf_slice(&b), wanted);
    assert_false(hdr_values_next(&it, &(slice){ NULL, 0 })); /* it stays at its end */
}

static void walks_lists(void **state) {
    (void)state;
    check_list("", "");
    check_list("Route:\r\n", "");
    check_list("Route: a\r\n", "a|");
    check_list("Route: a, b ,\r\n c\r\nroute: d\r\n", "a|b|c|d|");
    check_list("Route:\r\nRoute: a\r\nRoute:\r\n", "a|");
    check_list("Route: <sip:a,b>;x=\"c,\\\"d\", \"q,\\\\\" <sip:e>\r\n",
               "<sip:a,b>;x=\"c,\\\"d\"|\"q,\\\\\" <sip:e>|");
    check_list("Route: a,\r\n", "a|bad");
    check_list("Route: ,a\r\n", "bad");
    check_list("Route: a,,b\r\n", "a|bad");
    check_list("Route: a,\r\nRoute: b\r\n", "a|bad");
    check_list("Route: a, \"b\r\n", "a|bad");
    check_list("Route: a, <b\r\n", "a|bad");
    check_list("Route: a, \"b\\\"\r\n", "a|bad");
    unsigned n;
    load("Route: a, b\r\nRoute: c\r\n");
    assert_true(hdr_values_count(&m, HDR_ROUTE, &n));
    assert_int_equal(n, 3);
    slice v;
    assert_ok(hdr_value_first(&m, HDR_ROUTE, &v));
    assert_slice(v, "a");
    assert_err(hdr_value_first(&m, HDR_PATH, &v), ERR_MISSING);
    load("Route: ,\r\n");
    assert_err(hdr_value_first(&m, HDR_ROUTE, &v), ERR_BAD);
    load("k: Path, 100rel\r\nSupported: outbound\r\nAllow: INVITE,ACK\r\n");
    assert_true(hdr_has_token(&m, HDR_SUPPORTED, SLICE("path")));
    assert_true(hdr_has_token(&m, HDR_SUPPORTED, SLICE("OUTBOUND")));
    assert_false(hdr_has_token(&m, HDR_SUPPORTED, SLICE("100")));
    assert_true(hdr_has_method(&m, HDR_ALLOW, SLICE("ACK")));
    assert_false(hdr_has_method(&m, HDR_ALLOW, SLICE("ack")));
    struct hdr_values it = hdr_values_in(SLICE(" "));
    assert_false(hdr_values_next(&it, &v));
    assert_false(it.bad);
}

static void check_params(const char *text, const char *wanted) {
    char mem[256];
    struct buf b = buf_over(mem, sizeof(mem));
    struct hdr_params it = hdr_params_of(guard(text));
    for (struct hdr_param p; hdr_params_next(&it, &p);) {
        buf_fmt(&b, SLICE_FMT "%s" SLICE_FMT "|", SLICE_ARG(p.name), p.value.ptr ? "=" : "",
                SLICE_ARG(p.value));
    }
    if (it.bad) buf_lit(&b, "bad");
    assert_slice(buf_slice(&b), wanted);
}

static void walks_parameters(void **state) {
    (void)state;
    check_params("", "");
    check_params(";a", "a|");
    check_params("a", "a|");
    check_params(" ; a = 1;b ;c=\"x;\\\"y\" ", "a=1|b|c=\"x;\\\"y\"|");
    check_params("a=1\r\n ;b", "a=1|b|");
    check_params(";r=[2001:db8::1];s=2001:db8::1", "r=[2001:db8::1]|s=2001:db8::1|");
    check_params(";", "bad");
    check_params(";a;", "a|bad");
    check_params(";;a", "bad");
    check_params(";a=", "bad");
    check_params("a=", "bad");
    check_params(";a=\"x", "bad");
    check_params(";a=1 b", "bad");
    check_params(";a=@", "bad");
    check_params("=1", "bad");
    slice v;
    assert_true(hdr_param(SLICE(";a;TAG=x;tag=y"), SLICE("tag"), &v));
    assert_slice(v, "x");
    assert_false(hdr_param(SLICE(";a"), SLICE("tag"), &v));
    assert_true(hdr_param(SLICE(";a"), SLICE("A"), &v));
    assert_null(v.ptr);
}

static void unquotes(void **state) {
    (void)state;
    char mem[16];
    static const struct {
        const char *in, *out;
        enum err err;
    } cases[] = { { "\"a\\\"b\\\\\"", "a\"b\\", ERR_OK },
                  { "a b", "a b", ERR_OK },
                  { "\"\"", "", ERR_OK },
                  { "\"a \r\n\t b\"", "a b", ERR_OK },
                  { "\"a", "", ERR_BAD },
                  { "\"a\"b", "", ERR_BAD },
                  { "\"a\\\"", "", ERR_BAD },
                  { "\"", "", ERR_BAD },
                  { "a\\b", "a\\b", ERR_OK },
                  { "12345678901234567", "", ERR_LIMIT } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = buf_over(mem, sizeof(mem));
        assert_err(hdr_unquote(guard(cases[i].in), &b), cases[i].err);
        if (cases[i].err == ERR_OK) assert_slice(buf_slice(&b), cases[i].out);
    }
    struct buf b = buf_over(mem, sizeof(mem));
    hdr_quote(&b, SLICE("a\"b\\c\r\nd"));
    assert_slice(buf_slice(&b), "\"a\\\"b\\\\c  d\"");
    assert_slice(hdr_inner(SLICE("\"x\"")), "x");
    assert_slice(hdr_inner(SLICE("\"")), "\"");
}

static void reads_addresses(void **state) {
    (void)state;
    static const struct {
        const char *in, *display, *uri, *params;
    } good[] = {
        { "<sip:a@b>", "", "sip:a@b", "" },
        { "sip:a@b;x=1", "", "sip:a@b", ";x=1" }, /* RFC 3261 20.10: x is the header's */
        { "<sip:a@b;x=1>;y=2", "", "sip:a@b;x=1", ";y=2" },
        { "\"A \\\"B\\\"\" <sip:a@b?c=d> ; y", "\"A \\\"B\\\"\"", "sip:a@b?c=d", "; y" },
        { "\"\"<sip:a@b>", "\"\"", "sip:a@b", "" },
        { "A. B  <sip:a@b>", "A. B", "sip:a@b", "" },
        { "caller<sip:a@b>;tag=3", "caller", "sip:a@b", ";tag=3" },
        { "A\r\n <sip:a@b>\r\n ;x", "A", "sip:a@b", ";x" },
        { "tel:+1-2", "", "tel:+1-2", "" },
        { "<tel:*70#;phone-context=a>", "", "tel:*70#;phone-context=a", "" },
        { "  sip:a@b", "", "sip:a@b", "" },
        { "<sip:a@b>;+sip.instance=\"<urn:x>\"", "", "sip:a@b", ";+sip.instance=\"<urn:x>\"" },
    };
    static const char *const bad[] = {
        "",           "<>",          "sip",          "<sip>",         "<sip:>",
        "< sip:a>",   "<sip:a >",    "<sip:a",       "\"x\" sip:a@b", "\"x <sip:a@b>",
        "A, <sip:a>", "sip:a@b?x=y", "sip:a, sip:b", "sip:a b",       "<sip:a> b",
        "<sip:a>;",   "<sip:a>;;x",  "<sip:a>;x=",   "<sip:a<b>",     "<<sip:a>>",
        "<sip:a>>",   "*",           "A@B <sip:a>",  "<1ip:a>",
    };
    struct hdr_name_addr a;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        memset(&a, 0xa5, sizeof(a));
        assert_ok(hdr_name_addr(guard(good[i].in), &a));
        assert_slice(a.display, good[i].display);
        assert_slice(a.uri_text, good[i].uri);
        assert_slice(a.params, good[i].params);
        assert_int_equal(a.has_brackets, strchr(good[i].in, '<') != NULL);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        enum err e = hdr_name_addr(guard(bad[i]), &a);
        if (e != ERR_BAD) print_error("%s\n", bad[i]);
        assert_int_equal(e, ERR_BAD);
    }
    assert_err(hdr_name_addr(UNIT_GUARD("<sip:a\0b>"), &a), ERR_BAD);
}

static void reads_contacts(void **state) {
    (void)state;
    struct hdr_contact c;
    assert_ok(hdr_contact(guard("\"A\" <sip:a@b;gr>;q=0.75;Expires=3601;reg-id=2"
                                ";+sip.instance=\"<urn:uuid:00>\";audio"),
                          &c));
    assert_int_equal(c.q, 750);
    assert_int_equal(c.expires, 3601);
    assert_int_equal(c.reg_id, 2);
    assert_slice(c.instance, "urn:uuid:00");
    assert_slice(c.addr.uri_text, "sip:a@b;gr");
    assert_true(c.has_q && c.has_expires && c.has_reg_id && !c.is_star);
    assert_ok(hdr_contact(guard("sip:a@b"), &c));
    assert_int_equal(c.q, 1000);
    assert_false(c.has_expires || c.has_q || c.has_reg_id);
    assert_null(c.instance.ptr);
    assert_ok(hdr_contact(guard(" * "), &c));
    assert_true(c.is_star);
    /* RFC 3261 20.10: a malformed expires is 3600; a huge one is clamped */
    assert_ok(hdr_contact(guard("<sip:a>;expires=soon"), &c));
    assert_int_equal(c.expires, 3600);
    assert_ok(hdr_contact(guard("<sip:a>;expires=280297596632815"), &c));
    assert_int_equal(c.expires, UINT32_MAX);
    static const struct {
        const char *q;
        unsigned thousandths;
    } q[] = { { "0", 0 },        { "1", 1000 },  { "0.", 0 },     { "0.5", 500 },
              { "1.000", 1000 }, { "0.001", 1 }, { "0.33", 330 }, { "1.", 1000 } };
    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "<sip:a>;q=%s", q[i].q);
        assert_ok(hdr_contact(guard(text), &c));
        assert_int_equal(c.q, q[i].thousandths);
    }
    static const char *const bad[] = {
        "<sip:a>;q=2",
        "<sip:a>;q=1.001",
        "<sip:a>;q=0.1234",
        "<sip:a>;q=.5",
        "<sip:a>;q",
        "<sip:a>;q=1;q=1",
        "<sip:a>;reg-id=0",
        "<sip:a>;reg-id=x",
        "<sip:a>;reg-id=2147483648",
        "<sip:a>;+sip.instance=x",
        "<sip:a>;+sip.instance=\"urn:x\"",
        "<sip:a>;+sip.instance=\"<a>b>\"",
        "<sip:a>;expires=1;expires=2",
        "*;q=1",
        "<sip:a>;+sip.instance=\"<>\"",
        "<sip:a>;+sip.instance=\"<a>\";+sip.instance=\"<b>\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        enum err e = hdr_contact(guard(bad[i]), &c);
        if (e != ERR_BAD) print_error("%s\n", bad[i]);
        assert_int_equal(e, ERR_BAD);
    }
}

static void reads_vias(void **state) {
    (void)state;
    struct sip_via v;
    assert_ok(sip_via_read(guard("SIP / 2.0 / TLS  a_b : 5061 ; Branch = z9 ; RPORT = 7;"
                                 "received=[::1];x"),
                           &v));
    assert_slice(v.transport, "TLS");
    assert_slice(v.host, "a_b");
    assert_int_equal(v.port, 5061);
    assert_slice(v.branch, "z9");
    assert_slice(v.rport, "7");
    assert_slice(v.received, "[::1]");
    assert_ok(sip_via_read(guard("sip/2.0/udp\r\n [2001:db8::1]:5060;received=2001:db8::2"), &v));
    assert_slice(v.host, "[2001:db8::1]");
    assert_int_equal(v.port, 5060);
    assert_slice(v.received, "2001:db8::2");
    assert_null(v.branch.ptr);
    assert_int_equal(v.params.len, 21);
    assert_ok(sip_via_read(guard("SIP/7.0/X a"), &v));
    assert_int_equal(v.params.len, 0);
    static const char *const bad[] = {
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 a",
        "SIP/2.0/UDPa:1",
        "SIP//UDP a",
        "SIP/2.0/ a",
        "SIP/2.0/UDP a, b",
        "SIP/2.0/UDP [::g]",
        "SIP/2.0/UDP [1.2.3.4]",
        "SIP/2.0/UDP a:",
        "SIP/2.0/UDP a: ;x",
        "SIP/2.0/UDP a:0",
        "SIP/2.0/UDP a:x",
        "SIP/2.0/UDP a b",
        "SIP/2.0/UDP a;",
        "SIP/2.0/UDP a;branch",
        "SIP/2.0/UDP a;branch=",
        "SIP/2.0/UDP a;branch=\"x\"",
        "SIP/2.0/UDP 2001:db8::1",
        "SIP/2.0/UDP a;rport;rport",
        "SIP/2.0/UDP a;received=1;received=2",
        "SIP/2.0/UDP a :65536",
        "SIP/2.0/UDP a : 65536",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        enum err e = sip_via_read(guard(bad[i]), &v);
        if (e != ERR_BAD) print_error("%s\n", bad[i]);
        assert_int_equal(e, ERR_BAD);
    }
}

static void reads_numbers(void **state) {
    (void)state;
    uint32_t n;
    slice method;
    assert_ok(hdr_u32(guard("0042"), &n));
    assert_int_equal(n, 42);
    assert_ok(hdr_u32(guard("99999999999999999999999"), &n));
    assert_int_equal(n, UINT32_MAX);
    assert_err(hdr_u32(guard("1 "), &n), ERR_BAD);
    assert_err(hdr_u32(guard("-1"), &n), ERR_BAD);
    assert_err(hdr_u32(guard(""), &n), ERR_BAD);
    load("Expires: 7\r\n");
    assert_ok(hdr_u32_of(&m, HDR_EXPIRES, &n));
    assert_int_equal(n, 7);
    assert_err(hdr_u32_of(&m, HDR_MIN_EXPIRES, &n), ERR_MISSING);
    assert_ok(hdr_cseq(guard("2147483639\r\n INVITE"), &n, &method));
    assert_int_equal(n, 2147483639);
    assert_ok(hdr_cseq(guard("2147483647 A"), &n, &method));
    assert_int_equal(n, 2147483647);
    assert_slice(method, "A");
    assert_err(hdr_cseq(guard("2147483648 A"), &n, &method), ERR_LIMIT);
    assert_err(hdr_cseq(guard("1"), &n, &method), ERR_BAD);
    assert_err(hdr_cseq(guard(""), &n, &method), ERR_BAD);
    struct hdr_rack r;
    assert_ok(hdr_rack(guard("776656 1 INVITE"), &r));
    assert_int_equal(r.rseq, 776656);
    assert_int_equal(r.cseq, 1);
    assert_slice(r.method, "INVITE");
    static const char *const bad_rack[] = {
        "",        "1",       "1 2", "1 INVITE", "4294967296 1 INVITE", "1 4294967296 INVITE",
        "1 2 A B", "12INVITE"
    };
    for (size_t i = 0; i < ARRAY_LEN(bad_rack); i++) {
        assert_err(hdr_rack(guard(bad_rack[i]), &r), ERR_BAD);
    }
    struct hdr_seconds s;
    slice refresher;
    assert_ok(hdr_seconds(guard("4000;refresher=uac"), &s));
    assert_int_equal(s.seconds, 4000);
    assert_true(hdr_param(s.params, SLICE("refresher"), &refresher));
    assert_slice(refresher, "uac");
    assert_ok(hdr_seconds(guard("120 (I'm (in) a \\) meeting) ;duration=60"), &s));
    assert_int_equal(s.seconds, 120);
    assert_err(hdr_seconds(guard("120 (open"), &s), ERR_BAD);
    assert_err(hdr_seconds(guard("x"), &s), ERR_BAD);
    assert_err(hdr_seconds(guard("1 x"), &s), ERR_BAD);
}

static void reads_dates(void **state) {
    (void)state;
    wall_t t;
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = { { "Thu, 01 Jan 1970 00:00:00 GMT", 0 },
                 { "Sat, 13 Nov 2010 23:29:00 GMT", 1289690940 },
                 { "Tue, 29 Feb 2000 12:00:00 GMT", 951825600 },
                 { "Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 },
                 { "Sun, 22 Nov 2026 13:08:05 GMT", 1795352885 } };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char mem[32];
        struct buf b = buf_over(mem, sizeof(mem));
        assert_ok(hdr_date(guard(good[i].text), &t));
        assert_true(t == good[i].seconds * 1000);
        hdr_date_put(&b, t + 999);
        assert_slice(buf_slice(&b), good[i].text);
    }
    static const char *const bad[] = { "Fri, 01 Jan 2010 16:00:00 EST", /* RFC 4475 3.1.2.12 */
                                       "Fri, 1 Jan 2010 16:00:00 GMT",
                                       "Fri, 00 Jan 2010 16:00:00 GMT",
                                       "Mon, 29 Feb 2001 12:00:00 GMT",
                                       "Mon, 29 Feb 1900 12:00:00 GMT",
                                       "Fri, 01 Jon 2010 16:00:00 GMT",
                                       "Fri, 01 Jan 2010 24:00:00 GMT",
                                       "Fri, 01 Jan 2010 16:60:00 GMT",
                                       "Fri, 01 Jan 2010 16:00:00 GMT ",
                                       "",
                                       "Fri, 31 Apr 2010 16:00:00 GMT",
                                       "Fri, 01 JanF2010 16:00:00 GMT",
                                       "Fri, +1 Jan 2010 16:00:00 GMT" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_err(hdr_date(guard(bad[i]), &t), ERR_BAD);
}

static void reads_tokens(void **state) {
    (void)state;
    struct hdr_token t;
    struct hdr_media media;
    struct hdr_disposition d;
    struct hdr_reason r;
    slice v;
    assert_ok(hdr_token(guard("presence.winfo ;id=7"), &t));
    assert_slice(t.token, "presence.winfo");
    assert_true(hdr_param(t.params, SLICE("id"), &v));
    assert_slice(v, "7");
    assert_err(hdr_token(guard("a b"), &t), ERR_BAD);
    assert_err(hdr_token(guard(""), &t), ERR_BAD);
    assert_err(hdr_token(guard(";id=7"), &t), ERR_BAD);
    assert_ok(hdr_media(guard("Multipart / Mixed;boundary=\"a b\""), &media));
    assert_true(hdr_media_is(&media, SLICE("multipart"), SLICE("mixed")));
    assert_true(hdr_param(media.params, SLICE("boundary"), &v));
    assert_slice(hdr_inner(v), "a b");
    assert_ok(hdr_media(guard("*/*;q=0.1"), &media));
    assert_err(hdr_media(guard("text"), &media), ERR_BAD);
    assert_err(hdr_media(guard("text/"), &media), ERR_BAD);
    assert_err(hdr_media(guard("/plain"), &media), ERR_BAD);
    assert_err(hdr_media(guard("text/plain, x/y"), &media), ERR_BAD);
    assert_ok(hdr_disposition(guard("session;handling=OPTIONAL"), &d));
    assert_true(d.is_optional);
    assert_ok(hdr_disposition(guard("session;handling=x"), &d));
    assert_false(d.is_optional);
    assert_ok(hdr_reason(guard("Q.850 ;cause=16 ;text=\"Terminated\""), &r));
    assert_slice(r.protocol, "Q.850");
    assert_int_equal(r.cause, 16);
    assert_slice(hdr_inner(r.text), "Terminated");
    assert_ok(hdr_reason(guard("preemption"), &r));
    assert_false(r.has_cause);
    assert_err(hdr_reason(guard("SIP;cause=x"), &r), ERR_BAD);
    unsigned bits;
    load("");
    assert_ok(hdr_privacy(&m, &bits));
    assert_int_equal(bits, 0);
    load("Privacy: id; Critical\r\nPrivacy: history;zz\r\n");
    assert_ok(hdr_privacy(&m, &bits));
    assert_int_equal(bits, HDR_PRIVACY_ID | HDR_PRIVACY_CRITICAL | HDR_PRIVACY_HISTORY |
                               HDR_PRIVACY_OTHER);
    load("Privacy: id;\r\n");
    assert_err(hdr_privacy(&m, &bits), ERR_BAD);
    load("Privacy: a b\r\n");
    assert_err(hdr_privacy(&m, &bits), ERR_BAD);
}

static void reads_dialog_headers(void **state) {
    (void)state;
    struct hdr_replaces r;
    assert_ok(
        hdr_replaces(guard("425928@bobster.example.org;to-tag=7743;from-tag=6472;early-only"), &r));
    assert_slice(r.call_id, "425928@bobster.example.org");
    assert_slice(r.to_tag, "7743");
    assert_slice(r.from_tag, "6472");
    assert_true(r.is_early_only);
    static const char *const bad[] = { "",
                                       "a",
                                       "a;to-tag=1",
                                       "a;from-tag=1",
                                       ";to-tag=1;from-tag=2",
                                       "a;to-tag=1;from-tag=2;to-tag=3",
                                       "a;to-tag;from-tag=1",
                                       "a b;to-tag=1;from-tag=2",
                                       "a;to-tag=\"1\";from-tag=2" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_err(hdr_replaces(guard(bad[i]), &r), ERR_BAD);
    }
    struct hdr_history h;
    assert_ok(hdr_history(guard("<sip:b@c?Reason=SIP%3Bcause%3D302>;index=1.1.2;mp=1.1"), &h));
    assert_slice(h.index, "1.1.2");
    assert_slice(h.mp, "1.1");
    assert_null(h.rc.ptr);
    assert_err(hdr_history(guard("<sip:b@c>"), &h), ERR_BAD);
    assert_err(hdr_history(guard("<sip:b@c>;index=1."), &h), ERR_BAD);
    assert_err(hdr_history(guard("<sip:b@c>;index=.1"), &h), ERR_BAD);
    assert_err(hdr_history(guard("<sip:b@c>;index=1..1"), &h), ERR_BAD);
    assert_err(hdr_history(guard("sip:b@c;index=1"), &h), ERR_BAD);
}

static void reads_credentials(void **state) {
    (void)state;
    struct hdr_auth a;
    assert_ok(hdr_auth(
        guard("Digest username=\"a \\\"b\", REALM = \"x,y\" ,\r\n nonce=\"\", uri=\"sip:a\","
              "response=\"00\", algorithm=SHA-256, cnonce=\"c\", qop=auth, nc=00000001,"
              " opaque=\"\",userhash=false,username*=UTF-8''x,other=1"),
        &a));
    assert_true(hdr_auth_is_digest(&a));
    assert_slice(a.username, "a \\\"b");
    assert_slice(a.realm, "x,y");
    assert_non_null(a.nonce.ptr);
    assert_int_equal(a.nonce.len, 0);
    assert_slice(a.uri, "sip:a");
    assert_slice(a.response, "00");
    assert_slice(a.algorithm, "SHA-256");
    assert_slice(a.qop, "auth");
    assert_slice(a.nc, "00000001");
    assert_slice(a.userhash, "false");
    assert_slice(a.username_ext, "UTF-8''x");
    assert_null(a.stale.ptr);
    /* RFC 4475 3.3.11 */
    assert_ok(hdr_auth(guard("NoOneKnowsThisScheme opaque-data=here"), &a));
    assert_false(hdr_auth_is_digest(&a));
    assert_slice(a.params, "opaque-data=here");
    assert_ok(hdr_auth(guard("Bearer abc.def=="), &a));
    static const char *const bad[] = { "",
                                       "Digest",
                                       "Digest ",
                                       "\"Digest\" a=1",
                                       "Digest realm",
                                       "Digest realm=",
                                       "Digest realm=\"x",
                                       "Digest realm=\"x\",",
                                       "Digest realm=\"x\" nonce=\"y\"",
                                       "Digest realm=\"x\",realm=\"y\"",
                                       "Digest ,realm=\"x\"",
                                       "Digest=x" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        enum err e = hdr_auth(guard(bad[i]), &a);
        if (e != ERR_BAD) print_error("%s\n", bad[i]);
        assert_int_equal(e, ERR_BAD);
    }
    struct hdr_identity id;
    assert_ok(hdr_identity(guard("eyJ-_0.e30.sig;info=<https://a.example/c.pem>;alg=ES256;"
                                 "ppt=\"shaken\""),
                           &id));
    assert_slice(id.token, "eyJ-_0.e30.sig");
    assert_slice(id.info_uri, "https://a.example/c.pem");
    assert_slice(id.alg, "ES256");
    assert_slice(id.ppt, "shaken");
    static const char *const bad_id[] = { "",
                                          "a",
                                          ";info=<x>",
                                          "a;info=",
                                          "a;info=<x",
                                          "a;info=<>",
                                          "a;info=<x>;info=<y>",
                                          "a b;info=<x>",
                                          "a;info=<x>;",
                                          "a;info=<x>;alg",
                                          "\"a\";info=<x>" };
    for (size_t i = 0; i < ARRAY_LEN(bad_id); i++) {
        assert_err(hdr_identity(guard(bad_id[i]), &id), ERR_BAD);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_lists),       cmocka_unit_test(walks_parameters),
        cmocka_unit_test(unquotes),          cmocka_unit_test(reads_addresses),
        cmocka_unit_test(reads_contacts),    cmocka_unit_test(reads_vias),
        cmocka_unit_test(reads_numbers),     cmocka_unit_test(reads_dates),
        cmocka_unit_test(reads_tokens),      cmocka_unit_test(reads_dialog_headers),
        cmocka_unit_test(reads_credentials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
