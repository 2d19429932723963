#include "unit.h"

#include "base/limits.h"
#include "sip/uri.h"

static struct sip_uri read_ok(const char *text) {
    struct sip_uri u;
    slice s = slice_str(text);
    memset(&u, 0xa5, sizeof(u));
    enum err e = sip_uri_read(unit_guard(s.ptr, s.len), &u);
    if (e != ERR_OK) print_error("%s: %s\n", text, err_name(e));
    assert_int_equal(e, ERR_OK);
    return u;
}

static void reads_all_parts(void **state) {
    (void)state;
    struct sip_uri u = read_ok("SIP:ali%63e:p&w@Atlanta.com:5061;transport=tls;lr;maddr=[::1];ttl=1"
                               ";method=INVITE;user=phone;gr=urn:uuid:1;ob;comp=sigcomp;x=%41"
                               "?subject=a%20b&to=");
    assert_int_equal(u.scheme, URI_SIP);
    assert_slice(u.scheme_text, "SIP");
    assert_slice(u.user, "ali%63e");
    assert_slice(u.password, "p&w");
    assert_slice(u.host, "Atlanta.com");
    assert_int_equal(u.port, 5061);
    assert_slice(u.transport, "tls");
    assert_slice(u.maddr, "[::1]");
    assert_slice(u.ttl, "1");
    assert_slice(u.method, "INVITE");
    assert_slice(u.user_param, "phone");
    assert_slice(u.gr, "urn:uuid:1");
    assert_slice(u.comp, "sigcomp");
    assert_true(u.has_user && u.has_password && u.has_lr && u.has_gr && u.has_ob);
    assert_slice(u.headers, "subject=a%20b&to=");
    slice v;
    assert_true(sip_uri_param(&u, SLICE("X"), &v));
    assert_slice(v, "%41");
    assert_true(sip_uri_param(&u, SLICE("lr"), &v));
    assert_int_equal(v.len, 0);
    assert_false(sip_uri_param(&u, SLICE("l"), &v));
    u = read_ok("sips:[2001:db8::1]:5061");
    assert_int_equal(u.scheme, URI_SIPS);
    assert_slice(u.host, "[2001:db8::1]");
    assert_false(u.has_user);
    u = read_ok("sip:h;gr");
    assert_true(u.has_gr);
    assert_int_equal(u.gr.len, 0);
    /* RFC 4475 3.1.1.3: escaped parameter names count */
    assert_true(read_ok("sip:a@b;%6C%72").has_lr);
    /* RFC 4475 3.1.1.10: ';' in the user part */
    assert_slice(read_ok("sip:user;par=u%40example.net@example.com").user,
                 "user;par=u%40example.net");
}

static void reads_other_schemes(void **state) {
    (void)state;
    struct sip_uri u = read_ok("tel:+1-201-555-0123;ext=99");
    assert_int_equal(u.scheme, URI_TEL);
    assert_slice(u.user, "+1-201-555-0123");
    read_ok("tel:7042;phone-context=example.com");
    read_ok("tel:863-1234;phone-context=+1-914-555");
    read_ok("tel:*70#A;phone-context=x");
    u = read_ok("urn:service:sos.fire");
    assert_int_equal(u.scheme, URI_OTHER);
    assert_slice(u.scheme_text, "urn");
    read_ok("soap.beep://192.0.2.103:3002");
    read_ok("http://user@example.com/a?b=c");
}

static void refuses(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "sip",
        "sip:",
        ":a@b",
        "1sip:a@b",
        "sip:@b",
        "sip:a@",
        "sip:a@b@c",
        "sip: a@b",
        "sip:a@b ",
        "<sip:a@b>",
        "sip:a@b:",
        "sip:a@b:x",
        "sip:a@b:0",
        "sip:a@b:65536",
        "sip:a@b:5060x",
        "sip:a b@c",
        "sip:a\"@c",
        "sip:a%4@c",
        "sip:a%4g@c",
        "sip:a%@c",
        "sip:a@b%41",
        "sip:a@b_c",
        "sip:a@[::1",
        "sip:a@::1",
        "sip:a@[1.2.3.4]",
        "sip:a@[::g]",
        "sip:a@b;",
        "sip:a@b;;lr",
        "sip:a@b;=x",
        "sip:a@b;x=",
        "sip:a@b;lr;lr",
        "sip:a@b;x=1;y;X=2",
        "sip:a@b;x;%78",
        "sip:a@b;transport=tls;transport=tcp",
        "sip:a@b;x=\"y\"",
        "sip:a@b;x=%4",
        "sip:a@b?",
        "sip:a@b?x",
        "sip:a@b?=y",
        "sip:a@b?x=y&",
        "sip:a@b?x=y z",
        "sip:a@b#c",
        "sip:a:b;c@d",
        "tel:",
        "tel:+",
        "tel:-",
        "tel:7042", /* RFC 3966 5.1.4: a local number needs its context */
        "tel:+12a",
        "tel:70x2;phone-context=a",
        "tel:+1;",
        "tel:1;phone-context=",
        "tel:1;phone-context",
        "tel:1;phone-context=+x",
        "tel:1;phone-context=a_b",
        "foo:",
        "foo:a b",
        "foo:a<b",
        "foo:%4",
        "sip:2001:db8::10", /* RFC 5118 4.2 */
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct sip_uri u;
        slice s = slice_str(bad[i]);
        enum err e = sip_uri_read(unit_guard(s.ptr, s.len), &u);
        if (e != ERR_BAD) print_error("%s: %s\n", bad[i], err_name(e));
        assert_int_equal(e, ERR_BAD);
    }
    assert_err(sip_uri_read(UNIT_GUARD("sip:a\0@b"), &(struct sip_uri){ 0 }), ERR_BAD);
    assert_err(sip_uri_read(UNIT_GUARD("sip:a@b\r\n"), &(struct sip_uri){ 0 }), ERR_BAD);
    assert_err(sip_uri_read(UNIT_GUARD("sip:\xc3\xa9@b"), &(struct sip_uri){ 0 }), ERR_BAD);
}

static void holds_its_limits(void **state) {
    (void)state;
    static char big[LIMIT_URI_BYTES + 1];
    struct sip_uri u;
    memset(big, 'a', sizeof(big));
    memcpy(big, "sip:", 4);
    assert_ok(sip_uri_read(slice_of(big, LIMIT_URI_BYTES), &u));
    assert_err(sip_uri_read(slice_of(big, LIMIT_URI_BYTES + 1), &u), ERR_LIMIT);
    struct buf b = buf_over(big, sizeof(big));
    buf_lit(&b, "sip:a");
    for (int i = 0; i < 64; i++) buf_fmt(&b, ";p%d", i);
    assert_ok(sip_uri_read(buf_slice(&b), &u));
    buf_lit(&b, ";p");
    assert_err(sip_uri_read(buf_slice(&b), &u), ERR_LIMIT);
    b = buf_over(big, sizeof(big));
    buf_lit(&b, "sip:a?h=1");
    for (int i = 0; i < 31; i++) buf_lit(&b, "&h=1");
    assert_ok(sip_uri_read(buf_slice(&b), &u));
    buf_lit(&b, "&h=1");
    assert_err(sip_uri_read(buf_slice(&b), &u), ERR_LIMIT);
}

static void check_eq(const char *a, const char *b, bool wanted) {
    struct sip_uri x = read_ok(a), y = read_ok(b);
    if (sip_uri_eq(&x, &y) != wanted || sip_uri_eq(&y, &x) != wanted) {
        print_error("%s %s %s\n", a, wanted ? "is not" : "is", b);
        fail();
    }
}

/* RFC 3261 19.1.4: all its examples, in its order. */
static void compares_as_rfc3261_shows(void **state) {
    (void)state;
    check_eq("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true);
    check_eq("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true);
    check_eq("sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true);
    check_eq("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true);
    check_eq("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
             "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true);
    check_eq("sip:alice@atlanta.com?subject=project%20x&priority=urgent",
             "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true);
    check_eq("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false);
    check_eq("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false);
    check_eq("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false);
    check_eq("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false);
    check_eq("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false);
    check_eq("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false);
    check_eq("sip:carol@chicago.com", "sip:carol@chicago.com;security=off", true);
    check_eq("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false);
}

/* RFC 3261 19.1.4: the rules one by one. */
static void compares_by_rule(void **state) {
    (void)state;
    check_eq("sip:a@b", "sips:a@b", false);
    check_eq("sip:a@b", "sip:b", false);
    check_eq("sip:a:p@b", "sip:a@b", false);
    check_eq("sip:a:p@b", "sip:a:P@b", false);
    check_eq("sip:a:%70@b", "sip:a:p@b", true);
    check_eq("sip:a%3bx@b", "sip:a;x@b", false); /* reserved: the escape means something else */
    check_eq("sip:a%3bx@b", "sip:a%3Bx@b", true);
    check_eq("sip:a%25@b", "sip:a%25@b", true);
    check_eq("sip:a@b;user=phone", "sip:a@b", false);
    check_eq("sip:a@b;ttl=1", "sip:a@b", false);
    check_eq("sip:a@b;method=INVITE", "sip:a@b", false);
    check_eq("sip:a@b;maddr=1.2.3.4", "sip:a@b", false);
    check_eq("sip:a@b;lr", "sip:a@b", true);
    check_eq("sip:a@b;x=Y", "sip:a@b;X=y", true);
    check_eq("sip:a@b;x", "sip:a@b;x=1", false);
    check_eq("sip:a@b;%78=1", "sip:a@b;x=2", false);
    check_eq("sip:a@b;method=INVITE", "sip:a@b;method=invite", false);
    check_eq("sip:a@b?x=1&x=1", "sip:a@b?x=1", false);
    check_eq("sip:a@b?x=1&x=2", "sip:a@b?X=2&x=1", true);
    check_eq("sip:a@b?x=%41", "sip:a@b?x=A", true);
    check_eq("sip:a@b?x=", "sip:a@b?x=A", false);
    check_eq("foo:a", "foo:a", true);
    check_eq("foo:a", "foo:A", false);
    check_eq("foo:a", "sip:a", false);
}

/* RFC 5954 4.2: IPv6 addresses are equal when their bits are. */
static void compares_ipv6(void **state) {
    (void)state;
    check_eq("sip:a@[2001:db8::9:1]", "sip:a@[2001:db8:0:0:0:0:9:01]", true);
    check_eq("sip:a@[2001:DB8::9:1]", "sip:a@[2001:db8::9:1]", true);
    check_eq("sip:a@[::ffff:192.0.2.1]", "sip:a@[::ffff:c000:201]", true);
    check_eq("sip:a@[::ffff:192.0.2.1]", "sip:a@192.0.2.1", false);
    check_eq("sip:a@[::1]", "sip:a@[::2]", false);
}

/* RFC 3966 4. */
static void compares_numbers(void **state) {
    (void)state;
    check_eq("tel:+1-201-555-0123", "tel:+12015550123", true);
    check_eq("tel:+1(201)555.0123", "TEL:+1-201-555-0123", true);
    check_eq("tel:+12015550123", "tel:12015550123;phone-context=a", false);
    check_eq("tel:+1;ext=1-2", "tel:+1;EXT=12", true);
    check_eq("tel:+1;ext=12", "tel:+1", false);
    check_eq("tel:+1;a=1;b=2", "tel:+1;b=2;a=1", true);
    check_eq("tel:1A;phone-context=Example.com", "tel:1a;phone-context=example.COM", true);
    check_eq("tel:1;phone-context=+1-914", "tel:1;phone-context=+1914", true);
    check_eq("tel:1;phone-context=+1", "tel:1;phone-context=+2", false);
    check_eq("tel:+1201", "tel:+120", false);
}

static void check_aor(const char *uri, const char *wanted) {
    char mem[128];
    struct buf b = buf_over(mem, sizeof(mem));
    struct sip_uri u = read_ok(uri);
    assert_ok(sip_uri_put_aor(&b, &u));
    assert_slice(buf_slice(&b), wanted);
}

/* RFC 3261 10.3 step 5. */
static void writes_canonical_aors(void **state) {
    (void)state;
    check_aor("sips:%61lice:secret@Atlanta.COM:5061;transport=tls?x=y", "sip:alice@atlanta.com");
    check_aor("sip:a%20b%3b%25%00@x", "sip:a%20b;%25%00@x");
    check_aor("sip:Bob@[2001:DB8::1]", "sip:Bob@[2001:db8::1]");
    check_aor("sip:example.com", "sip:example.com");
    struct buf b = buf_over((char[8]){ 0 }, 8);
    struct sip_uri u = read_ok("tel:+1");
    assert_err(sip_uri_put_aor(&b, &u), ERR_BAD);
    u = read_ok("sip:alice@example.com");
    assert_err(sip_uri_put_aor(&b, &u), ERR_FULL);
}

static void escapes_and_back(void **state) {
    (void)state;
    char all[256], mem[1024], back[256];
    for (int i = 0; i < 256; i++) all[i] = (char)i;
    struct buf b = buf_over(mem, sizeof(mem)), c = buf_over(back, sizeof(back));
    sip_escape_user(&b, slice_of(all, 256));
    assert_ok(sip_unescape(buf_slice(&b), &c));
    assert_slice_eq(buf_slice(&c), slice_of(all, 256));
    struct sip_uri u;
    char uri[1100];
    struct buf d = buf_over(uri, sizeof(uri));
    buf_lit(&d, "sip:");
    buf_put(&d, buf_slice(&b));
    buf_lit(&d, "@b");
    assert_ok(sip_uri_read(buf_slice(&d), &u));
    buf_clear(&b);
    sip_escape_user(&b, SLICE("a@b %;"));
    assert_slice(buf_slice(&b), "a%40b%20%25;");
    buf_clear(&c);
    assert_err(sip_unescape(UNIT_GUARD("a%4"), &c), ERR_BAD);
    assert_err(sip_unescape(UNIT_GUARD("%zz"), &c), ERR_BAD);
    struct buf small = buf_over(back, 2);
    assert_err(sip_unescape(UNIT_GUARD("%41%41%41"), &small), ERR_LIMIT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_parts),
        cmocka_unit_test(reads_other_schemes),
        cmocka_unit_test(refuses),
        cmocka_unit_test(holds_its_limits),
        cmocka_unit_test(compares_as_rfc3261_shows),
        cmocka_unit_test(compares_by_rule),
        cmocka_unit_test(compares_ipv6),
        cmocka_unit_test(compares_numbers),
        cmocka_unit_test(writes_canonical_aors),
        cmocka_unit_test(escapes_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
