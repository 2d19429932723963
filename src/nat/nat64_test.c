#include "unit.h"

#include "nat/nat64.h"
#include <string.h>

static struct addr ip(const char *text) {
    struct addr a;
    assert_ok(addr_read_ip(slice_str(text), &a));
    return a;
}

/* RFC 6052 2.4, with 192.0.0.170 and 171 as what RFC 7050 2.2 puts there, and one address made. */
static const struct {
    const char *aaaa, *other, *net, *made; /* of 192.31.196.33 */
} rows[] = {
    { "2001:db8:c000:aa::", "2001:db8:c000:ab::", "2001:db8::/32", "2001:db8:c01f:c421::" },
    { "2001:db8:1c0:0:aa::", "2001:db8:1c0:0:ab::", "2001:db8:100::/40", "2001:db8:1c0:1fc4:21::" },
    { "2001:db8:122:c000:0:aa00::", "2001:db8:122:c000:0:ab00::", "2001:db8:122::/48",
      "2001:db8:122:c01f:c4:2100::" },
    { "2001:db8:122:3c0:0:aa::", "2001:db8:122:3c0:0:ab::", "2001:db8:122:300::/56",
      "2001:db8:122:3c0:1f:c421::" },
    { "2001:db8:122:344:c0:0:aa00::", "2001:db8:122:344:c0:0:ab00::", "2001:db8:122:344::/64",
      "2001:db8:122:344:c0:1fc4:2100::" },
    { "2001:db8:122:344::192.0.0.170", "2001:db8:122:344::192.0.0.171", "2001:db8:122:344::/96",
      "2001:db8:122:344::192.31.196.33" },
    { "64:ff9b::c000:aa", "64:ff9b::c000:ab", "64:ff9b::/96", "64:ff9b::192.31.196.33" },
    { "64:ff9b:1::c000:aa", "64:ff9b:1::c000:ab", "64:ff9b:1::/96", "64:ff9b:1::192.31.196.33" },
    { "fd00:64::c000:aa", "fd00:64::c000:ab", "fd00:64::/96", "fd00:64::192.31.196.33" },
};

static void learns_the_prefix_and_uses_it(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr aaaa = ip(rows[i].aaaa), other = ip(rows[i].other), want = ip(rows[i].made);
        struct addr v4 = ip("192.31.196.33"), v6;
        struct network n, same, net;
        assert_ok(network_read(slice_str(rows[i].net), &net));
        assert_ok(nat64_learn(&aaaa, &n));
        assert_ok(nat64_learn(&other, &same));
        assert_true(addr_eq(&n.base, &net.base) && n.bits == net.bits);
        assert_true(addr_eq(&n.base, &same.base) && n.bits == same.bits);
        v4.port = want.port = 5061;
        assert_ok(nat64_make(&n, &v4, &v6));
        assert_true(addr_eq(&v6, &want));
        /* What the relay's guard sees there is the same IPv4 address. */
        struct addr real = address_canonical(&v6, &n, 1);
        assert_true(addr_eq(&real, &v4));
    }
}

static void does_not_believe_everything(void **state) {
    (void)state;
    static const char *const none[] = {
        "192.0.0.170",                   /* no IPv6 address */
        "2001:db8::192.0.0.172",         /* not well known */
        "2001:db8::192.0.1.170",         /* */
        "2001:db8:122:344:100::c000:aa", /* bits 64 to 71 are not zero */
        "2001:db8:c000:aa::c000:aa",     /* twice: which one is it? */
        "::ffff:192.0.0.170",            /* IPv4 in disguise goes to no translator: mapped, */
        "::192.0.0.170",                 /* compatible, */
        "2002:5db8:1::c000:aa",          /* 6to4, */
        "2001:0:4136:e378::c000:aa",     /* Teredo */
        "fe80::c000:aa",                 /* a link */
        "fec0::c000:aa",                 /* */
        "ff02::c000:aa",                 /* a group */
        "64:ff9a::c000:aa",              /* reserved */
    };
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        struct addr a = ip(none[i]);
        struct network n;
        assert_int_equal(nat64_learn(&a, &n), ERR_BAD);
    }
}

static void leads_to_public_addresses_only(void **state) {
    (void)state;
    static const char *const inside[] = { "10.0.0.1",     "172.16.0.1",  "192.168.1.1",
                                          "127.0.0.1",    "169.254.1.1", "100.64.0.1",
                                          "0.0.0.0",      "224.0.0.1",   "255.255.255.255",
                                          "192.0.0.170",  "192.0.2.1",   "198.18.0.1",
                                          "198.51.100.1", "203.0.113.1", "240.0.0.1" };
    struct addr aaaa = ip("64:ff9b::c000:aa"), v6;
    struct network n;
    assert_ok(nat64_learn(&aaaa, &n));
    for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
        struct addr v4 = ip(inside[i]);
        assert_int_equal(nat64_make(&n, &v4, &v6), ERR_DENIED);
    }
    struct addr six = ip("2001:db8::1"), four = ip("192.31.196.33");
    assert_int_equal(nat64_make(&n, &six, &v6), ERR_BAD);
    n.bits = 95;
    assert_int_equal(nat64_make(&n, &four, &v6), ERR_BAD);
    n = (struct network){ .base = ip("192.0.2.0"), .bits = 32 };
    assert_int_equal(nat64_make(&n, &four, &v6), ERR_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_the_prefix_and_uses_it),
        cmocka_unit_test(does_not_believe_everything),
        cmocka_unit_test(leads_to_public_addresses_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
