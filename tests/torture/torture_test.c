/* The messages of RFC 4475 and RFC 5118: outcomes.tsv says what the reader must make of each, the
 * tests below what must be read from those whose values are the point. */
#include "unit.h"

#include "sip/body.h"
#include <dirent.h>

static struct sip_msg m;

static struct sip_read play(const char *file) {
    char path[128];
    (void)snprintf(path, sizeof(path), "tests/torture/%s", file);
    memset(&m, 0xa5, sizeof(m));
    return sip_msg_read(&m, unit_file(path), SIP_DATAGRAM);
}
static void accept(const char *file) {
    struct sip_read r = play(file);
    if (r.err != ERR_OK) print_error("%s: %s at %zu\n", file, sip_bad_text(r.why), r.at);
    assert_int_equal(r.err, ERR_OK);
}

static void assert_values(enum sip_header_id id, unsigned wanted) {
    unsigned n;
    assert_true(hdr_values_count(&m, id, &n));
    assert_int_equal(n, wanted);
}

/* ---- outcomes ---- */

static const char *why_name(enum sip_bad why) {
    static const char *const names[] = {
        [SIP_BAD_NONE] = "ok",
        [SIP_BAD_START_LINE] = "BAD_START_LINE",
        [SIP_BAD_VERSION] = "BAD_VERSION",
        [SIP_BAD_URI] = "BAD_URI",
        [SIP_BAD_HEADER] = "BAD_HEADER",
        [SIP_BAD_VIA] = "BAD_VIA",
        [SIP_BAD_FROM] = "BAD_FROM",
        [SIP_BAD_TO] = "BAD_TO",
        [SIP_BAD_CALL_ID] = "BAD_CALL_ID",
        [SIP_BAD_CSEQ] = "BAD_CSEQ",
        [SIP_BAD_MAX_FORWARDS] = "BAD_MAX_FORWARDS",
        [SIP_BAD_CONTENT_LENGTH] = "BAD_CONTENT_LENGTH",
        [SIP_BAD_DUPLICATE] = "BAD_DUPLICATE",
        [SIP_BAD_MISSING] = "BAD_MISSING",
        [SIP_BAD_TOO_LARGE] = "BAD_TOO_LARGE",
        [SIP_BAD_TOO_MANY] = "BAD_TOO_MANY",
    };
    return (size_t)why < ARRAY_LEN(names) ? names[why] : "?";
}

static unsigned files_in(const char *folder) {
    char path[512];
    unsigned n = 0;
    (void)snprintf(path, sizeof(path), "%s/tests/torture/%s", KITH_SOURCE_DIR, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir));) n += d->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

static void every_outcome(void **state) {
    (void)state;
    slice table = unit_file("tests/torture/outcomes.tsv");
    unsigned rows = 0, failed = 0;
    for (slice line; slice_split(&table, '\n', &line);) {
        slice file, section, reader = { 0 }, server = { 0 };
        char name[64];
        if (slice_starts(line, SLICE("#"))) continue;
        assert_true(slice_split(&line, '\t', &file) && slice_split(&line, '\t', &section) &&
                    slice_split(&line, '\t', &reader) && slice_split(&line, '\t', &server));
        assert_true(slice_cstr(file, name, sizeof(name)));
        struct sip_read r = play(name);
        char got[64];
        (void)snprintf(got, sizeof(got), "%s%s", why_name(r.why), r.answerable ? "+answer" : "");
        rows++;
        if (slice_eq(reader, slice_str(got)) && (r.err == ERR_OK) == (r.why == SIP_BAD_NONE))
            continue;
        failed++;
        print_error("RFC " SLICE_FMT " %s: %s at %zu, not " SLICE_FMT "\n", SLICE_ARG(section),
                    name, got, r.at, SLICE_ARG(reader));
    }
    assert_int_equal(failed, 0);
    assert_int_equal(rows, files_in("rfc4475") + files_in("rfc5118"));
    assert_int_equal(rows, 49 + 12);
}

/* ---- RFC 4475 ---- */

static void wsinv_3_1_1_1(void **state) {
    (void)state;
    struct sip_via via;
    struct hdr_contact c;
    struct hdr_name_addr a;
    slice v;
    accept("rfc4475/wsinv.dat");
    assert_slice(m.to.uri_text, "sip:vivekg@chair-dnrc.example.com");
    assert_slice(m.to.tag, "1918181833n");
    assert_slice(m.from.display, "\"J Rosenberg \\\\\\\"\"");
    assert_slice(m.from.tag, "98asjd8");
    assert_int_equal(m.max_forwards, 68);
    assert_int_equal(m.cseq, 9);
    assert_slice(m.via.transport, "UDP");
    assert_slice(m.via.host, "192.0.2.2");
    assert_slice(m.via.branch, "390skdjuw");
    assert_values(HDR_VIA, 3);
    struct hdr_values it = hdr_values_of(&m, HDR_VIA);
    (void)(hdr_values_next(&it, &v) && hdr_values_next(&it, &v));
    assert_ok(sip_via_read(v, &via));
    assert_slice(via.host, "spindle.example.com");
    assert_slice(via.branch, "z9hG4bK9ikj8");
    assert_true(hdr_values_next(&it, &v));
    assert_ok(sip_via_read(v, &via));
    assert_slice(via.host, "192.168.255.111");
    assert_slice(via.branch, "z9hG4bK30239");
    assert_ok(hdr_value_first(&m, HDR_CONTACT, &v));
    assert_ok(hdr_contact(v, &c));
    assert_slice(c.addr.display, "\"Quoted string \\\"\\\"\"");
    assert_int_equal(c.q, 330);
    assert_true(hdr_param(c.addr.params, SLICE("newparam"), &v));
    assert_slice(v, "newvalue");
    assert_ok(hdr_name_addr(sip_value(&m, HDR_ROUTE), &a));
    assert_slice(a.uri_text, "sip:services.example.com;lr;unknownwith=value;unknown-no-value");
    assert_int_equal(sip_value(&m, HDR_SUBJECT).len, 0);
    assert_int_equal(m.body.len, 150);
}

static void intmeth_3_1_1_2(void **state) {
    (void)state;
    slice v;
    accept("rfc4475/intmeth.dat");
    assert_int_equal(m.method, SIP_OTHER);
    assert_slice(m.method_name, "!interesting-Method0123456789_*+`.%indeed'~");
    assert_slice(m.uri.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*");
    assert_slice(m.uri.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)");
    assert_slice_eq(m.to.display, SLICE("\"BEL:\\\007 NUL:\\\0 DEL:\\\177\""));
    char mem[64];
    struct buf b = buf_over(mem, sizeof(mem));
    assert_ok(hdr_unquote(m.to.display, &b));
    assert_slice_eq(buf_slice(&b), SLICE("BEL:\007 NUL:\0 DEL:\177"));
    assert_slice(m.from.display, "token1~` token2'+_ token3*%!.-");
    assert_slice(m.from.tag, "_token~1'+`*%!-.");
    assert_true(hdr_param(m.from.params, SLICE("fromparam''~+*_!.-%"), &v));
    assert_int_equal(v.len, 2 + 20);
    assert_slice(m.via.branch, "z9hG4bK-.!%66*_+`'~");
    assert_slice(m.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
    assert_slice(sip_first(&m, HDR_OTHER)->name, "extensionHeader-!.%*+_`'~");
}

static void escapes_3_1_1_3_to_5(void **state) {
    (void)state;
    struct hdr_contact c;
    struct sip_uri uri;
    slice v;
    char mem[128];
    struct buf b = buf_over(mem, sizeof(mem));
    accept("rfc4475/esc01.dat");
    assert_slice(m.uri.user, "sips%3Auser%40example.com");
    assert_ok(hdr_value_first(&m, HDR_CONTACT, &v));
    assert_ok(hdr_contact(v, &c));
    assert_ok(sip_uri_read(c.addr.uri_text, &uri));
    assert_true(uri.has_lr);
    assert_true(sip_uri_param(&uri, SLICE("name"), &v));
    assert_ok(sip_unescape(v, &b));
    assert_slice(buf_slice(&b), "value%41");
    assert_ok(sip_uri_read(m.to.uri_text, &uri));
    buf_clear(&b);
    assert_ok(sip_uri_put_aor(&b, &uri));
    assert_slice(buf_slice(&b), "sip:user@example.com");
    accept("rfc4475/escnull.dat");
    assert_ok(sip_uri_read(m.to.uri_text, &uri));
    buf_clear(&b);
    assert_ok(sip_unescape(uri.user, &b));
    assert_slice_eq(buf_slice(&b), SLICE("null-\0-null"));
    assert_values(HDR_CONTACT, 2);
    accept("rfc4475/esc02.dat");
    assert_int_equal(m.method, SIP_OTHER);
    assert_slice(m.to.display, "\"%Z%45\"");
    assert_values(HDR_CONTACT, 2);
}

static void long_and_odd_3_1_1_6_to_13(void **state) {
    (void)state;
    struct sip_parts it;
    struct sip_part p;
    accept("rfc4475/lwsdisp.dat");
    assert_slice(m.from.display, "caller");
    assert_slice(m.from.tag, "323");
    accept("rfc4475/longreq.dat");
    assert_values(HDR_VIA, 34);
    assert_int_equal(m.from.tag.len, 2 + 50 * 3 + 3);
    accept("rfc4475/dblreq.dat");
    assert_int_equal(m.method, SIP_REGISTER);
    assert_int_equal(m.body.len, 0);
    assert_slice(slice_from(m.all, m.all.len - 5), "0\r\n\r\n");
    accept("rfc4475/semiuri.dat");
    assert_slice(m.uri.user, "user;par=u%40example.net");
    assert_int_equal(m.uri.params.len, 0);
    assert_values(HDR_ACCEPT, 6);
    accept("rfc4475/transports.dat");
    assert_values(HDR_VIA, 5);
    accept("rfc4475/mpart01.dat");
    sip_parts_of(&it, &m);
    assert_true(sip_parts_next(&it, &p));
    assert_slice(p.bytes, "Hello");
    assert_true(sip_parts_next(&it, &p));
    assert_true(hdr_media_is(&p.media, SLICE("application"), SLICE("octet-stream")));
    assert_int_equal(p.bytes.len, 342);
    assert_false(sip_part_is_encoded(&p));
    assert_false(sip_parts_next(&it, &p));
    assert_ok(it.err);
    accept("rfc4475/unreason.dat");
    assert_int_equal(m.status, 200);
    assert_true(slice_starts(m.reason, SLICE("= 2**3 * 5**2 \xd0\xbd\xd0\xbe ")));
    accept("rfc4475/noreason.dat");
    assert_int_equal(m.status, 100);
    assert_int_equal(m.reason.len, 0);
}

static void refused_3_1_2(void **state) {
    (void)state;
    struct hdr_name_addr a;
    struct hdr_seconds s;
    wall_t t;
    uint32_t n;
    slice v;
    accept("rfc4475/baddate.dat"); /* 3.1.2.12: only who needs the Date minds */
    assert_err(hdr_date(sip_value(&m, HDR_DATE), &t), ERR_BAD);
    accept("rfc4475/regbadct.dat"); /* 3.1.2.13: the registrar finds it */
    assert_ok(hdr_value_first(&m, HDR_CONTACT, &v));
    assert_err(hdr_name_addr(v, &a), ERR_BAD);
    (void)play("rfc4475/badinv01.dat"); /* 3.1.2.1 */
    assert_ok(hdr_value_first(&m, HDR_CONTACT, &v));
    assert_err(hdr_name_addr(v, &a), ERR_BAD);
    (void)play("rfc4475/scalar02.dat"); /* 3.1.2.4 */
    assert_ok(hdr_u32_of(&m, HDR_EXPIRES, &n));
    assert_int_equal(n, UINT32_MAX);
    (void)play("rfc4475/scalarlg.dat"); /* 3.1.2.5 */
    assert_ok(hdr_seconds(sip_value(&m, HDR_RETRY_AFTER), &s));
    assert_int_equal(s.seconds, UINT32_MAX);
    (void)play("rfc4475/mismatch02.dat"); /* 3.1.2.18: the 501 needs the method */
    assert_slice(m.method_name, "NEWMETHOD");
    /* On a stream what cannot be framed ends it: 3.1.2.2, 3.1.2.3, 3.3.9 */
    static const char *const unframed[] = { "tests/torture/rfc4475/ncl.dat",
                                            "tests/torture/rfc4475/mcl01.dat" };
    for (size_t i = 0; i < ARRAY_LEN(unframed); i++) {
        struct sip_read r = sip_msg_read(&m, unit_file(unframed[i]), SIP_STREAM);
        assert_err(r.err, ERR_BAD);
        assert_int_equal(r.used, 0);
    }
    assert_err(sip_msg_read(&m, unit_file("tests/torture/rfc4475/clerr.dat"), SIP_STREAM).err,
               ERR_MORE);
}

static void application_3_2_to_3_4(void **state) {
    (void)state;
    struct hdr_auth auth;
    struct hdr_contact c;
    struct sip_via via;
    struct sip_uri uri;
    slice v;
    accept("rfc4475/badbranch.dat");
    assert_slice(m.via.branch, "z9hG4bK");
    accept("rfc4475/unkscm.dat");
    assert_int_equal(m.uri.scheme, URI_OTHER);
    accept("rfc4475/novelsc.dat");
    assert_slice(m.uri.scheme_text, "soap.beep");
    accept("rfc4475/unksm2.dat");
    assert_slice(m.to.uri_text, "isbn:2983792873");
    assert_ok(sip_uri_read(m.to.uri_text, &uri));
    assert_int_equal(uri.scheme, URI_OTHER);
    accept("rfc4475/bext01.dat");
    assert_true(hdr_has_token(&m, HDR_REQUIRE, SLICE("nothingSupportsThisEither")));
    assert_true(hdr_has_token(&m, HDR_PROXY_REQUIRE, SLICE("noProxiesSupportThis")));
    accept("rfc4475/regaut01.dat");
    assert_ok(hdr_auth(sip_value(&m, HDR_AUTHORIZATION), &auth));
    assert_false(hdr_auth_is_digest(&auth));
    accept("rfc4475/bcast.dat");
    struct hdr_values it = hdr_values_of(&m, HDR_VIA);
    (void)(hdr_values_next(&it, &v) && hdr_values_next(&it, &v));
    assert_ok(sip_via_read(v, &via));
    assert_slice(via.host, "255.255.255.255");
    accept("rfc4475/zeromf.dat");
    assert_true(m.has_max_forwards);
    assert_int_equal(m.max_forwards, 0);
    accept("rfc4475/cparam01.dat");
    assert_ok(hdr_contact(sip_value(&m, HDR_CONTACT), &c));
    assert_slice(c.addr.uri_text, "sip:+19725552222@gw1.example.net");
    assert_slice(c.addr.params, ";unknownparam");
    accept("rfc4475/cparam02.dat");
    assert_ok(hdr_contact(sip_value(&m, HDR_CONTACT), &c));
    assert_slice(c.addr.uri_text, "sip:+19725552222@gw1.example.net;unknownparam");
    assert_int_equal(c.addr.params.len, 0);
    accept("rfc4475/regescrt.dat");
    assert_ok(hdr_contact(sip_value(&m, HDR_CONTACT), &c));
    assert_ok(sip_uri_read(c.addr.uri_text, &uri));
    assert_slice(uri.headers, "Route=%3Csip:sip.example.com%3E");
    accept("rfc4475/inv2543.dat");
    assert_null(m.via.branch.ptr);
    assert_null(m.from.tag.ptr);
    assert_false(m.has_max_forwards);
    assert_int_equal(m.body.len, 105);
    assert_slice(m.to.params, ";user=phone"); /* of the header: there are no <> */
}

/* ---- RFC 5118 ---- */

static void ipv6_4_1_to_4_5(void **state) {
    (void)state;
    struct addr a, b;
    accept("rfc5118/ipv6-good.dat");
    assert_slice(m.uri.host, "[2001:db8::10]");
    accept("rfc5118/port-ambiguous.dat");
    assert_slice(m.uri.host, "[2001:db8::10:5070]");
    assert_int_equal(m.uri.port, 0);
    accept("rfc5118/port-unambiguous.dat");
    assert_slice(m.uri.host, "[2001:db8::10]");
    assert_int_equal(m.uri.port, 5070);
    accept("rfc5118/via-received-param-with-delim.dat");
    assert_ok(sip_host_addr(m.via.received, &a));
    accept("rfc5118/via-received-param-no-delim.dat");
    assert_ok(sip_host_addr(m.via.received, &b));
    assert_true(addr_ip_eq(&a, &b));
    assert_slice(m.via.branch, "z9hG4bKas3");
}

static void ipv6_4_6_to_4_10(void **state) {
    (void)state;
    struct addr a, b;
    struct sip_uri uri;
    accept("rfc5118/ipv6-in-sdp.dat");
    assert_int_equal(m.body.len, 251);
    accept("rfc5118/mult-ip-in-header.dat");
    assert_values(HDR_VIA, 3);
    assert_int_equal(m.via.port, 6050);
    accept("rfc5118/mult-ip-in-sdp.dat");
    accept("rfc5118/ipv4-mapped-ipv6.dat");
    assert_slice(m.via.host, "[::ffff:192.0.2.10]");
    assert_int_equal(m.via.port, 19823);
    accept("rfc5118/ipv6-bug-abnf-3-colons.dat");
    assert_ok(sip_host_addr(m.uri.host, &a));
    uri = m.uri;
    accept("rfc5118/ipv6-correct-abnf-2-colons.dat");
    assert_ok(sip_host_addr(m.uri.host, &b));
    assert_true(addr_ip_eq(&a, &b));
    assert_true(uri.scheme == m.uri.scheme);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_outcome),
        cmocka_unit_test(wsinv_3_1_1_1),
        cmocka_unit_test(intmeth_3_1_1_2),
        cmocka_unit_test(escapes_3_1_1_3_to_5),
        cmocka_unit_test(long_and_odd_3_1_1_6_to_13),
        cmocka_unit_test(refused_3_1_2),
        cmocka_unit_test(application_3_2_to_3_4),
        cmocka_unit_test(ipv6_4_1_to_4_5),
        cmocka_unit_test(ipv6_4_6_to_4_10),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
