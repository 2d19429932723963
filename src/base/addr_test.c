#include "unit.h"

#include "base/addr.h"
#include <arpa/inet.h>

static struct addr ip(const char *text) {
    struct addr a;
    assert_ok(addr_read_ip(unit_guard(text, strlen(text)), &a));
    return a;
}

static void writes_as(const char *in, const char *out) {
    char mem[64];
    struct buf b = buf_over(mem, sizeof(mem));
    struct addr a = ip(in);
    addr_put_ip(&b, &a);
    assert_slice(buf_slice(&b), out);
}

/* RFC 5952 4 and 5: the one spelling of an address. */
static void writes_the_one_spelling(void **state) {
    (void)state;
    writes_as("2001:0db8::0001", "2001:db8::1");              /* 4.1 */
    writes_as("2001:db8:0:0:0:0:2:1", "2001:db8::2:1");       /* 4.2.1 */
    writes_as("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"); /* 4.2.2 */
    writes_as("2001:0:0:1:0:0:0:1", "2001:0:0:1::1");         /* 4.2.3: longest */
    writes_as("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1");   /* 4.2.3: first */
    writes_as("2001:DB8::AAAA:bBbB", "2001:db8::aaaa:bbbb");  /* 4.3 */
    writes_as("::ffff:c000:0201", "::ffff:192.0.2.1");        /* 5 */
    writes_as("::", "::");
    writes_as("::1", "::1");
    writes_as("1::", "1::");
    writes_as("0:0:1::", "0:0:1::");
    writes_as("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8");
    writes_as("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0");
    writes_as("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8");
    writes_as("[2001:db8::1]", "2001:db8::1");
    writes_as("64:ff9b::192.0.2.1", "64:ff9b::c000:201");
    writes_as("192.0.2.1", "192.0.2.1");
    writes_as("0.0.0.0", "0.0.0.0");
    writes_as("255.255.255.255", "255.255.255.255");
}

static void refuses_what_is_no_address(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "1.2.3.04",
        "1.2.3.1000",
        "1.2.3.",
        ".1.2.3",
        "1..2.3",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.x",
        "[1.2.3.4]",
        "1.2.3.4:5060",
        "-1.2.3.4",
        ":",
        ":::",
        "1:",
        ":1",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8:",
        ":1:2:3:4:5:6:7:8",
        "::1::",
        "1::2::3",
        ":::1",
        "1:::",
        "12345::",
        "g::",
        "::1%lo",
        "1:2:3:4::5:6:7:8",
        "::1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7:8::",
        "[::1",
        "::1]",
        "[]",
        "[::1]:5",
        "::1.2.3",
        "::1.2.3.4.5",
        "::1.2.3.4:1",
        "1.2.3.4::",
        "1:2:3:4:5:6:7:1.2.3.4",
        "2001:db8:::192.0.2.1",
        "::01.2.3.4",
    };
    struct addr a;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (addr_read_ip(unit_guard(bad[i], strlen(bad[i])), &a) != ERR_BAD) fail_msg("%s", bad[i]);
    }
    assert_err(addr_read_ip(slice_of("1.2.3.4\0", 8), &a), ERR_BAD);
}

static void reads_ports(void **state) {
    (void)state;
    struct addr a;
    char mem[64];
    static const char *const good[] = { "192.0.2.1:5061", "[2001:db8::1]:0", "[::]:65535" };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct buf b = buf_over(mem, sizeof(mem));
        assert_ok(addr_read(unit_guard(good[i], strlen(good[i])), &a));
        addr_put(&b, &a);
        assert_slice(buf_slice(&b), good[i]);
    }
    static const char *const bad[] = { "",           "192.0.2.1",  "192.0.2.1:",  "192.0.2.1:65536",
                                       "[::1]",      "[::1]:",     "[::1]5061",   "::1:5061x",
                                       "[::1:5",     "1.2.3.4:-1", "1.2.3.4:5:6", "1.2.3.4:000001",
                                       "[1.2.3.4]:5" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (addr_read(unit_guard(bad[i], strlen(bad[i])), &a) != ERR_BAD) fail_msg("%s", bad[i]);
    }
}

static void compares(void **state) {
    (void)state;
    struct addr a = ip("192.0.2.1"), b = ip("192.0.2.1"), c = ip("::ffff:192.0.2.1");
    assert_true(addr_eq(&a, &b));
    b.port = 5061;
    assert_false(addr_eq(&a, &b));
    assert_true(addr_ip_eq(&a, &b));
    assert_false(addr_ip_eq(&a, &c)); /* mapped stays IPv6 */
    b = ip("fe80::1"), c = b;
    c.scope = 2;
    assert_false(addr_ip_eq(&b, &c));
}

static void knows_loopback(void **state) {
    (void)state;
    static const char *const yes[] = { "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1" };
    static const char *const no[] = { "128.0.0.1", "0.0.0.0", "::", "::2", "::127.0.0.1", "1::1" };
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        struct addr a = ip(yes[i]);
        assert_true(addr_is_loopback(&a));
    }
    for (size_t i = 0; i < ARRAY_LEN(no); i++) {
        struct addr a = ip(no[i]);
        assert_false(addr_is_loopback(&a));
    }
    assert_false(addr_is_loopback(&(struct addr){ 0 }));
}

static void hosts_stand_in_brackets(void **state) {
    (void)state;
    char mem[64];
    struct buf b = buf_over(mem, sizeof(mem));
    struct addr a = ip("::1"), v4 = ip("127.0.0.1");
    addr_put_host(&b, &a);
    buf_byte(&b, ' ');
    addr_put_host(&b, &v4);
    assert_slice(buf_slice(&b), "[::1] 127.0.0.1");
}

/* Property: reading agrees with inet_pton on text made of the right bytes, and what is read is
 * written so that it reads back the same. */
static void agrees_with_the_c_library(void **state) {
    (void)state;
    uint64_t random = 6;
    int read = 0;
    static const char *const bits[] = { ":",    ":",   "::", ".",         ".",  "0",   "1",    "00",
                                        "ffff", "255", "a",  "192.0.2.1", "12", "256", "fffff" };
    for (int round = 0; round < 300000; round++) {
        char text[128], mem[64];
        struct buf b = buf_over(text, sizeof(text) - 1);
        for (uint32_t n = 1 + unit_below(&random, 15); n; n--)
            buf_put(&b, slice_str(bits[unit_below(&random, ARRAY_LEN(bits))]));
        if (b.full) continue;
        text[b.len] = '\0';
        uint8_t v4[4], v6[16];
        struct addr a, back;
        bool is_v4 = inet_pton(AF_INET, text, v4) == 1, is_v6 = inet_pton(AF_INET6, text, v6) == 1;
        enum err e = addr_read_ip(buf_slice(&b), &a);
        if ((e == ERR_OK) != (is_v4 || is_v6)) fail_msg("%s: %s", text, err_name(e));
        if (e != ERR_OK) continue;
        read++;
        if (is_v4)
            assert_memory_equal(a.ip, v4, 4);
        else
            assert_memory_equal(a.ip, v6, 16);
        b = buf_over(mem, sizeof(mem));
        addr_put_host(&b, &a);
        assert_ok(addr_read_ip(buf_slice(&b), &back));
        assert_true(addr_eq(&a, &back));
    }
    assert_true(read > 1000); /* else the property was not tested */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_one_spelling),
        cmocka_unit_test(refuses_what_is_no_address),
        cmocka_unit_test(reads_ports),
        cmocka_unit_test(compares),
        cmocka_unit_test(knows_loopback),
        cmocka_unit_test(hosts_stand_in_brackets),
        cmocka_unit_test(agrees_with_the_c_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
