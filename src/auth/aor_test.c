#include "unit.h"

#include "auth/aor.h"

static char why_text[256];
static struct buf why;

static enum err read_aor(const char *text, struct aor *out) {
    why = buf_over(why_text, sizeof why_text);
    enum err e = aor_read(unit_guard(text, strlen(text)), out, &why);
    assert_false(why.full);
    assert_true((e == ERR_OK) == (why.len == 0)); /* every refusal says why */
    return e;
}

static void reads_addresses(void **state) {
    (void)state;
    static const struct {
        const char *text, *user, *domain;
    } good[] = {
        { "alice@example.org", "alice", "example.org" },
        { "sip:alice@example.org", "alice", "example.org" },
        { "SIPS:Alice@EXAMPLE.Org", "Alice", "example.org" },
        { "+49-30-1234@example.org", "+49-30-1234", "example.org" },
        { "a%6Cice@example.org", "alice", "example.org" },
        { "*98#@pbx", "*98#", "pbx" },
        { "a.b_c-d!~'()&=+$/?@a-b.c1", "a.b_c-d!~'()&=+$/?", "a-b.c1" },
        { "alice@192.0.2.1", "alice", "192.0.2.1" },
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct aor a;
        assert_ok(read_aor(good[i].text, &a));
        assert_slice(aor_user(&a), good[i].user);
        assert_slice(aor_domain(&a), good[i].domain);
    }
}

static void refuses_the_rest_and_says_why(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        { "", "there is no @" },
        { "alice", "there is no @" },
        { "sip:", "there is no @" },
        { "@example.org", "before the @ is empty" },
        { "alice@", "there is no domain" },
        { "alice@example.org:5061", "without port" },
        { "alice@example.org;transport=tls", "without port" },
        { "alice@[2001:db8::1]", "without port" },
        { "alice@-a.org", "host name" },
        { "alice@a-.org", "host name" },
        { "alice@example..org", "host name" },
        { "alice@.example.org", "host name" },
        { "alice@example.org.", "host name" },
        { "alice@m\xc3\xbcller.de", "xn--" },
        { "al ice@example.org", "may hold letters" },
        { "al:ice@example.org", "may hold letters" },
        { "al,ice@example.org", "may hold letters" },
        { "al\"ice@example.org", "may hold letters" },
        { "alice%40b@example.org", "may hold letters" },
        { "alice%3@example.org", "may hold letters" },
        { "alice%00@example.org", "may hold letters" },
        { "al\xc3\xaf\x63\x65@example.org", "may hold letters" },
        { "a@b@c", "host name" },
        { "tel:+4930123", "needs a domain" },
        { "Anonymous@example.org", "stands for nobody" },
        { "anonymou%73@example.org", "stands for nobody" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct aor a;
        enum err e = read_aor(bad[i].text, &a);
        if (e == ERR_OK || slice_find_slice(buf_slice(&why), slice_str(bad[i].why)) == why.len) {
            print_error("%s: " SLICE_FMT "\n", bad[i].text, SLICE_ARG(buf_slice(&why)));
            fail();
        }
    }
}

static void knows_its_limits(void **state) {
    (void)state;
    char text[600];
    struct aor a;
    memset(text, 'a', sizeof text);
    memcpy(text + ACCOUNT_USER_MAX, "@b", 3);
    assert_ok(read_aor(text, &a));
    assert_int_equal(a.user_len, ACCOUNT_USER_MAX);
    memset(text, 'a', sizeof text);
    memcpy(text + ACCOUNT_USER_MAX + 1, "@b", 3);
    assert_err(read_aor(text, &a), ERR_LIMIT);
    struct buf b = buf_over(text, sizeof text - 1);
    buf_lit(&b, "a@");
    for (int i = 0; i < 63; i++) buf_lit(&b, "abc.");
    buf_lit(&b, "d"); /* 253 */
    text[b.len] = '\0';
    assert_ok(read_aor(text, &a));
    assert_int_equal(a.domain_len, ACCOUNT_DOMAIN_MAX);
    text[b.len] = 'e';
    text[b.len + 1] = '\0';
    assert_err(read_aor(text, &a), ERR_LIMIT);
    memcpy(text, "a@", 2);
    memset(text + 2, 'b', 63);
    text[65] = '\0';
    assert_ok(read_aor(text, &a));
    memcpy(text + 65, "b", 2);
    assert_err(read_aor(text, &a), ERR_BAD);
}

static void reads_a_user_alone(void **state) {
    (void)state;
    struct aor a;
    why = buf_over(why_text, sizeof why_text);
    assert_ok(aor_read_user(SLICE("100"), &a, &why));
    assert_slice(aor_user(&a), "100");
    assert_int_equal(aor_domain(&a).len, 0);
    assert_err(aor_read_user(SLICE("100@example.org"), &a, &why), ERR_BAD);
    assert_err(aor_read_user(SLICE_NONE, &a, &why), ERR_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_addresses),
        cmocka_unit_test(refuses_the_rest_and_says_why),
        cmocka_unit_test(knows_its_limits),
        cmocka_unit_test(reads_a_user_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
