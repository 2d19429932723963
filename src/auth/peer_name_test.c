#include "unit.h"

#include "auth/peer_name.h"

static struct peer_cert cert_of(const char *uris, const char *dns) {
    struct peer_cert c = { .is_verified = true };
    slice rest = slice_str(uris), one;
    while (slice_split(&rest, ',', &one)) c.uris[c.uri_count++] = unit_guard(one.ptr, one.len);
    rest = slice_str(dns);
    while (slice_split(&rest, ',', &one)) c.dns[c.dns_count++] = unit_guard(one.ptr, one.len);
    return c;
}
static bool names(const char *uris, const char *dns, const char *domain) {
    struct peer_cert c = cert_of(uris, dns);
    return peer_cert_names(&c, slice_str(domain));
}

static void takes_uris_before_names(void **state) {
    (void)state;
    assert_true(names("sip:other.org", "", "other.org"));
    assert_true(names("SIP:Other.ORG", "", "other.org"));
    assert_true(names("sip:other.org:5061;lr", "", "other.org"));
    assert_true(names("", "other.org,more.org", "more.org"));
    /* RFC 5922 7.1: DNS names count only where no sip URI does. */
    assert_false(names("sip:other.org", "more.org", "more.org"));
    /* A scheme that is not sip, or a URI with a user, is no identity and hides none. */
    assert_false(names("sips:other.org", "", "other.org"));
    assert_false(names("https://other.org", "", "other.org"));
    assert_false(names("sip:bob@other.org", "", "other.org"));
    assert_false(names("sip:@other.org", "", "other.org"));
    assert_true(names("sip:bob@other.org,https://more.org", "more.org", "more.org"));
    assert_true(names("sip:", "more.org", "more.org"));
    assert_false(names("", "", "other.org"));
    assert_false(names("sip:192.0.2.1", "", "192.0.2.1"));
}

static void compares_whole_names(void **state) {
    (void)state;
    /* RFC 5922 7.2: no suffixes, no wildcards of any form. */
    assert_false(names("", "example.com", "foo.example.com"));
    assert_false(names("", "foo.example.com", "example.com"));
    assert_false(names("", "*.example.com", "foo.example.com"));
    assert_false(names("", "*.example.com", "*.example.com")); /* which no URI could ask for */
    assert_false(names("", ".example.com", "foo.example.com"));
    assert_false(names("sip:*.example.com", "", "foo.example.com"));
    assert_false(names("", "f*.example.com", "foo.example.com"));
    assert_false(names("", "example.com.", "example.com"));
    struct peer_cert c = cert_of("", "");
    c.dns[c.dns_count++] = (slice){ "other.org\0.evil.example", 23 };
    assert_false(peer_cert_names(&c, SLICE("other.org")));
}

static void lists_what_it_may_speak_for(void **state) {
    (void)state;
    slice out[4];
    struct peer_cert c = cert_of("sip:a.org,sip:x@b.org,sip:c.org", "d.org");
    assert_int_equal(peer_cert_domains(&c, out, 4), 2);
    assert_slice(out[0], "a.org");
    assert_slice(out[1], "c.org");
    assert_int_equal(peer_cert_domains(&c, out, 1), 1);
    assert_int_equal(peer_cert_domains(&c, out, 0), 0);
    c = cert_of("", "a.org,*.b.org,c.org");
    assert_int_equal(peer_cert_domains(&c, out, 4), 2);
}

static void tells_what_is_wrong(void **state) {
    (void)state;
    struct peer_cert c = cert_of("", "other.org");
    assert_null(peer_cert_trouble(&c));
    c.is_verified = false;
    assert_non_null(peer_cert_trouble(&c));
    c.why_not = "has expired";
    assert_string_equal(peer_cert_trouble(&c), c.why_not);
    c.is_verified = true;
    c.is_cut = true;
    assert_non_null(peer_cert_trouble(&c));
    c.is_cut = false;
    /* RFC 5924 5, and what public authorities issue. */
    c.has_eku = true;
    assert_non_null(peer_cert_trouble(&c));
    c.eku_client = true;
    assert_non_null(peer_cert_trouble(&c));
    c.eku_server = true;
    assert_null(peer_cert_trouble(&c));
    c.eku_server = false;
    c.eku_sip = true;
    assert_null(peer_cert_trouble(&c));
    c.eku_sip = false;
    c.eku_any = true;
    assert_null(peer_cert_trouble(&c));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_uris_before_names),
        cmocka_unit_test(compares_whole_names),
        cmocka_unit_test(lists_what_it_may_speak_for),
        cmocka_unit_test(tells_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
