#include "unit.h"

#include "crypto/crypto.h"
#include "nat/address.h"

static struct addr ip(const char *text) {
    struct addr a;
    assert_ok(addr_read_ip(slice_str(text), &a));
    return a;
}

static void becomes(const char *in, const char *want) {
    char mem[64];
    struct buf b = buf_over(mem, sizeof mem);
    struct addr a = ip(in), real = address_canonical(&a, NULL, 0);
    addr_put_ip(&b, &real);
    assert_slice(buf_slice(&b), want);
}

static void sees_through_disguises(void **state) {
    (void)state;
    becomes("192.0.2.1", "192.0.2.1");
    becomes("2001:db8::1", "2001:db8::1");
    becomes("::", "::");
    becomes("::1", "::1");
    becomes("::ffff:127.0.0.1", "127.0.0.1");                      /* RFC 4291 2.5.5.2 */
    becomes("::ffff:0.0.0.0", "0.0.0.0");                          /* CVE-2026-27624 */
    becomes("::10.0.0.1", "10.0.0.1");                             /* RFC 4291 2.5.5.1 */
    becomes("::ffff:0:10.0.0.1", "10.0.0.1");                      /* RFC 2765 */
    becomes("64:ff9b::192.168.1.1", "192.168.1.1");                /* RFC 6052 2.1 */
    becomes("64:ff9b:1::10.1.2.3", "10.1.2.3");                    /* RFC 8215 */
    becomes("2002:7f00:1::", "127.0.0.1");                         /* RFC 3056 2 */
    becomes("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"); /* RFC 4380 4 */
    becomes("2001:db8::5efe:10.0.0.1", "10.0.0.1");                /* RFC 5214 */
    becomes("2001:db8::200:5efe:10.0.0.1", "10.0.0.1");            /* with the universal bit */
}

static void sees_through_a_translator_of_the_operator(void **state) { /* RFC 6052 2.4 */
    (void)state;
    static const struct {
        const char *net, *addr;
    } rows[] = {
        { "2001:db8::/32", "2001:db8:c000:221::" },
        { "2001:db8:100::/40", "2001:db8:1c0:2:21::" },
        { "2001:db8:122::/48", "2001:db8:122:c000:2:2100::" },
        { "2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::" },
        { "2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::" },
        { "2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct network n;
        assert_ok(network_read(slice_str(rows[i].net), &n));
        struct addr a = ip(rows[i].addr), want = ip("192.0.2.33");
        struct addr real = address_canonical(&a, &n, 1);
        assert_true(addr_eq(&real, &want));
    }
}

static void knows_the_scopes(void **state) {
    (void)state;
    static const struct {
        const char *ip;
        enum address_scope scope;
    } rows[] = {
        { "9.9.9.9", SCOPE_PUBLIC },
        { "0.1.2.3", SCOPE_NONE },
        { "127.255.0.1", SCOPE_LOOPBACK },
        { "10.255.0.1", SCOPE_PRIVATE },
        { "11.0.0.1", SCOPE_PUBLIC },
        { "172.16.0.1", SCOPE_PRIVATE },
        { "172.31.255.1", SCOPE_PRIVATE },
        { "172.32.0.1", SCOPE_PUBLIC },
        { "192.168.0.1", SCOPE_PRIVATE },
        { "192.169.0.1", SCOPE_PUBLIC },
        { "100.64.0.1", SCOPE_PRIVATE },
        { "100.127.9.9", SCOPE_PRIVATE },
        { "100.128.0.1", SCOPE_PUBLIC },
        { "169.254.169.254", SCOPE_LINK },
        { "192.0.0.8", SCOPE_RESERVED },
        { "198.19.0.1", SCOPE_RESERVED },
        { "198.20.0.1", SCOPE_PUBLIC },
        { "224.0.0.1", SCOPE_MULTICAST },
        { "239.1.1.1", SCOPE_MULTICAST },
        { "240.0.0.1", SCOPE_RESERVED },
        { "255.255.255.255", SCOPE_MULTICAST },
        { "::", SCOPE_NONE },
        { "::1", SCOPE_LOOPBACK },
        { "fe80::1", SCOPE_LINK },
        { "fec0::1", SCOPE_PRIVATE },
        { "fd12::1", SCOPE_PRIVATE },
        { "fc00::1", SCOPE_PRIVATE },
        { "ff02::1", SCOPE_MULTICAST },
        { "2001:db8::1", SCOPE_RESERVED },
        { "2a00:1450::1", SCOPE_PUBLIC },
        { "3fff:1000::1", SCOPE_PUBLIC },
        { "3fff:fff::1", SCOPE_RESERVED },
        { "4000::1", SCOPE_RESERVED },
        { "100::1", SCOPE_RESERVED },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr a = ip(rows[i].ip);
        if (address_scope(&a) != rows[i].scope) print_error("%s\n", rows[i].ip);
        assert_int_equal(address_scope(&a), rows[i].scope);
        assert_true(address_scope_text(rows[i].scope)[0] == 'a' || rows[i].scope == SCOPE_NONE ||
                    rows[i].scope == SCOPE_LOOPBACK || rows[i].scope == SCOPE_LINK);
    }
}

/* Whatever wraps an IPv4 address, and however often: what comes out is that address, so its scope
 * is judged as if it had come bare. And what comes out does not change any more. */
static void no_disguise_changes_the_verdict(void **state) {
    (void)state;
    static const uint8_t seed[32] = { 7 };
    struct rng r;
    rng_init(&r, seed);
    for (unsigned round = 0; round < 20000; round++) {
        uint32_t bits = (uint32_t)rng_u64(&r);
        struct addr plain = { .family = ADDR_V4, .port = 5 },
                    six = { .family = ADDR_V6, .port = 5 };
        for (unsigned i = 0; i < 4; i++) plain.ip[i] = (uint8_t)(bits >> 8 * i);
        if (round % 3 == 0) plain.ip[0] = (uint8_t[]){ 127, 10, 169, 192 }[round / 3 % 4];
        rng_bytes(&r, six.ip, sizeof six.ip);
        switch (round % 5) {
        case 0:
            memset(six.ip, 0, 10);
            six.ip[10] = six.ip[11] = 0xff;
            memcpy(six.ip + 12, plain.ip, 4);
            break;
        case 1:
            six.ip[0] = 0x20;
            six.ip[1] = 0x02;
            memcpy(six.ip + 2, plain.ip, 4);
            break;
        case 2:
            memset(six.ip, 0, 12);
            six.ip[1] = 0x64;
            six.ip[2] = 0xff;
            six.ip[3] = 0x9b;
            memcpy(six.ip + 12, plain.ip, 4);
            break;
        case 3:
            memcpy(six.ip, (uint8_t[]){ 0x20, 0x01, 0, 0 }, 4);
            for (unsigned i = 0; i < 4; i++) six.ip[12 + i] = (uint8_t)~plain.ip[i];
            break;
        default:
            six.ip[0] = 0x2a;
            six.ip[8] = round & 1 ? 0x02 : 0;
            memcpy(six.ip + 9, (uint8_t[]){ 0x00, 0x5e, 0xfe }, 3);
            memcpy(six.ip + 12, plain.ip, 4);
        }
        struct addr real = address_canonical(&six, NULL, 0);
        struct addr again = address_canonical(&real, NULL, 0);
        assert_true(addr_eq(&real, &plain));
        assert_true(addr_eq(&real, &again));
        assert_int_equal(address_scope(&real), address_scope(&plain));
    }
}

static void reads_networks(void **state) {
    (void)state;
    struct network n;
    struct addr a = ip("10.1.255.255"), b = ip("10.2.0.0");
    assert_ok(network_read(SLICE("10.1.2.3/16"), &n));
    assert_true(address_in(&a, &n));
    assert_false(address_in(&b, &n));
    assert_ok(network_read(SLICE("10.2.0.0"), &n));
    assert_true(address_in_any(&b, &n, 1));
    assert_false(address_in_any(&a, &n, 1));
    assert_ok(network_read(SLICE("0.0.0.0/0"), &n));
    assert_true(address_in(&a, &n));
    assert_err(network_read(SLICE("10.0.0.0/33"), &n), ERR_BAD);
    assert_err(network_read(SLICE("10.0.0/8"), &n), ERR_BAD);
    assert_err(network_read(SLICE("fd00::/129"), &n), ERR_BAD);
    assert_err(network_read(SLICE("/8"), &n), ERR_BAD);
    assert_err(network_read(SLICE("10.0.0.0/"), &n), ERR_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_through_disguises),
        cmocka_unit_test(sees_through_a_translator_of_the_operator),
        cmocka_unit_test(knows_the_scopes),
        cmocka_unit_test(no_disguise_changes_the_verdict),
        cmocka_unit_test(reads_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
