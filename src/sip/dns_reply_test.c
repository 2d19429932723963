/* Messages are made by a small writer here, not by a resolver: the broken ones too. */
#include "unit.h"

#include "sip/dns_reply.h"

static char bytes[65536];
static struct buf msg;
static struct dns_reply mem;
static struct dns_answer answer;

static void put16(unsigned n) {
    buf_byte(&msg, (char)(n >> 8));
    buf_byte(&msg, (char)n);
}
static void put32(uint32_t n) {
    put16(n >> 16);
    put16(n & 0xffff);
}
static void put_name(const char *text) {
    slice rest = slice_str(text), label;
    while (slice_split(&rest, '.', &label)) {
        buf_byte(&msg, (char)label.len);
        buf_put(&msg, label);
    }
    buf_byte(&msg, 0);
}
static void put_string(const char *text) {
    buf_byte(&msg, (char)strlen(text));
    buf_put(&msg, slice_str(text));
}

/* A reply to `q`; its counts are set by done(). */
static void begin(const struct dns_question *q, unsigned flags) {
    char name[256];
    msg = buf_over(bytes, sizeof bytes);
    put16(0x1234);
    put16(flags);
    put16(1);
    put16(0), put16(0), put16(0);
    assert_true(slice_cstr(q->name, name, sizeof name));
    put_name(name);
    put16(dns_wire_type(q->type));
    put16(1);
}
static size_t record(const char *owner, unsigned type, uint32_t ttl) {
    put_name(owner);
    put16(type);
    put16(1);
    put32(ttl);
    put16(0);
    return msg.len;
}
static void record_end(size_t from) {
    size_t n = msg.len - from;
    bytes[from - 2] = (char)(n >> 8);
    bytes[from - 1] = (char)n;
}
static void a_record(const char *owner, uint32_t ttl, uint32_t ip) {
    size_t at = record(owner, 1, ttl);
    put32(ip);
    record_end(at);
}
static void alias(const char *owner, uint32_t ttl, const char *to) {
    size_t at = record(owner, 5, ttl);
    put_name(to);
    record_end(at);
}
static void srv(const char *owner, uint32_t ttl, unsigned weight, const char *target) {
    size_t at = record(owner, 33, ttl);
    put16(10), put16(weight), put16(5061);
    put_name(target);
    record_end(at);
}
static void soa(uint32_t ttl, uint32_t minimum) {
    size_t at = record("example.org", 6, ttl);
    put_name("ns.example.org");
    put_name("root.example.org");
    put32(1), put32(2), put32(3), put32(4), put32(minimum);
    record_end(at);
}
static void done(const struct dns_question *q, unsigned answers, unsigned authority) {
    assert_false(msg.full);
    bytes[6] = (char)(answers >> 8), bytes[7] = (char)answers;
    bytes[8] = (char)(authority >> 8), bytes[9] = (char)authority;
    dns_reply_read(unit_guard(bytes, msg.len), q, &mem, &answer);
}

static const struct dns_question host = { { "sip.example.org", 15 }, DNS_A };
static const struct dns_question host6 = { { "sip.example.org", 15 }, DNS_AAAA };
static const struct dns_question service = { { "_sips._tcp.example.org", 22 }, DNS_SRV };
static const struct dns_question domain = { { "example.org", 11 }, DNS_NAPTR };

static void reads_addresses(void **state) {
    (void)state;
    struct addr wanted;
    begin(&host, 0x8180);
    a_record("SIP.Example.org", 300, 0xc0000201);
    a_record("sip.example.org", 60, 0xc0000202);
    a_record("other.example.org", 5, 0xc0000203); /* nobody asked for it */
    done(&host, 3, 0);
    assert_int_equal(answer.result, DNS_OK);
    assert_int_equal(answer.count, 2);
    assert_int_equal(answer.ttl_s, 60);
    assert_ok(addr_read_ip(SLICE("192.0.2.2"), &wanted));
    assert_true(addr_eq(&answer.records[1].addr, &wanted));

    begin(&host6, 0x8180);
    size_t at = record("sip.example.org", 28, 9);
    put32(0x20010db8), put32(0), put32(0), put32(1);
    record_end(at);
    done(&host6, 1, 0);
    assert_int_equal(answer.result, DNS_OK);
    assert_ok(addr_read_ip(SLICE("2001:db8::1"), &wanted));
    assert_true(addr_eq(&answer.records[0].addr, &wanted));
}

/* RFC 2782; its "." target is an empty name here. */
static void reads_services(void **state) {
    (void)state;
    begin(&service, 0x8180);
    srv("_sips._tcp.example.org", 300, 7, "edge.example.org");
    srv("_sips._tcp.example.org", 300, 0, "");
    srv("_sips._tcp.example.org", 300, 0, "a b.example.org"); /* no host */
    done(&service, 3, 0);
    assert_int_equal(answer.result, DNS_OK);
    assert_int_equal(answer.count, 2);
    assert_int_equal(answer.records[0].srv.priority, 10);
    assert_int_equal(answer.records[0].srv.weight, 7);
    assert_int_equal(answer.records[0].srv.port, 5061);
    assert_slice(answer.records[0].srv.target, "edge.example.org");
    assert_int_equal(answer.records[1].srv.target.len, 0);
}

static void reads_naptr(void **state) {
    (void)state;
    begin(&domain, 0x8180);
    size_t at = record("example.org", 35, 300);
    put16(50), put16(20);
    put_string("s"), put_string("SIPS+D2T"), put_string("");
    put_name("_sips._tcp.example.org");
    record_end(at);
    at = record("example.org", 35, 300);
    put16(60), put16(1);
    put_string("u"), put_string("E2U+sip"), put_string("!^.*$!sip:a@b!");
    put_name("");
    record_end(at);
    done(&domain, 2, 0);
    assert_int_equal(answer.count, 2);
    const struct dns_naptr *n = &answer.records[0].naptr;
    assert_int_equal(n->order, 50);
    assert_int_equal(n->preference, 20);
    assert_slice(n->flags, "s");
    assert_slice(n->services, "SIPS+D2T");
    assert_slice(n->replacement, "_sips._tcp.example.org");
    assert_slice(answer.records[1].naptr.regexp, "!^.*$!sip:a@b!");
    assert_int_equal(answer.records[1].naptr.replacement.len, 0);
}

/* RFC 1034 3.6.2; the chain's smallest TTL holds for what it leads to. */
static void follows_aliases(void **state) {
    (void)state;
    begin(&host, 0x8180);
    a_record("c.example.net", 300, 1);
    alias("b.example.net", 20, "c.example.net"); /* not in order */
    alias("sip.example.org", 100, "b.example.net");
    done(&host, 3, 0);
    assert_int_equal(answer.result, DNS_OK);
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.ttl_s, 20);

    begin(&host, 0x8180); /* in circles */
    alias("sip.example.org", 20, "b.example.net");
    alias("b.example.net", 20, "sip.example.org");
    a_record("sip.example.org", 300, 1);
    done(&host, 3, 0);
    assert_int_equal(answer.result, DNS_FAIL);

    for (int links = 8; links <= 9; links++) {
        char from[32] = "sip.example.org", to[32];
        begin(&host, 0x8180);
        for (int i = 0; i < links; i++) {
            (void)snprintf(to, sizeof to, "n%d.example.net", i);
            alias(from, 20, to);
            memcpy(from, to, sizeof from);
        }
        a_record(to, 300, 1);
        done(&host, (unsigned)links + 1, 0);
        assert_int_equal(answer.result, links == 8 ? DNS_OK : DNS_FAIL);
    }

    begin(&host, 0x8180); /* to something that is no host */
    alias("sip.example.org", 20, "b c.example.net");
    done(&host, 1, 0);
    assert_int_equal(answer.result, DNS_FAIL);

    begin(&host, 0x8180); /* to nowhere */
    alias("sip.example.org", 20, "b.example.net");
    done(&host, 1, 0);
    assert_int_equal(answer.result, DNS_NODATA);
    assert_int_equal(answer.ttl_s, 0);
}

/* RFC 2308 5: the smaller of the SOA's TTL and its MINIMUM; no SOA, nothing to keep. */
static void reads_what_is_not_there(void **state) {
    (void)state;
    static const struct {
        unsigned flags, authority;
        enum dns_result result;
        uint32_t ttl, minimum, wanted;
    } rows[] = {
        { 0x8180, 1, DNS_NODATA, 900, 300, 300 },
        { 0x8183, 1, DNS_NXDOMAIN, 60, 300, 60 },
        { 0x8183, 0, DNS_NXDOMAIN, 0, 0, 0 },
        { 0x8180, 0, DNS_NODATA, 0, 0, 0 },
        { 0x8183, 1, DNS_NXDOMAIN, 0x80000000, 300, 0 }, /* RFC 2181 8 */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(&host, rows[i].flags);
        if (rows[i].authority) soa(rows[i].ttl, rows[i].minimum);
        done(&host, 0, rows[i].authority);
        assert_int_equal(answer.result, rows[i].result);
        assert_int_equal(answer.ttl_s, rows[i].wanted);
        assert_int_equal(answer.count, 0);
    }
}

static void fails_on_other_messages(void **state) {
    (void)state;
    static const unsigned flags[] = {
        0x0180,                         /* a question */
        0x8380,                         /* cut short */
        0x8980,                         /* another kind of query */
        0x8182, 0x8185, 0x8181, 0x8184, /* SERVFAIL, REFUSED, FORMERR, NOTIMP */
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        begin(&host, flags[i]);
        a_record("sip.example.org", 60, 1);
        done(&host, 1, 0);
        assert_int_equal(answer.result, DNS_FAIL);
        assert_int_equal(answer.count, 0);
    }
    begin(&host6, 0x8180); /* the answer to another question */
    done(&host, 0, 0);
    assert_int_equal(answer.result, DNS_FAIL);
    begin(&host, 0x8180); /* fewer records than it says */
    a_record("sip.example.org", 60, 1);
    done(&host, 2, 0);
    assert_int_equal(answer.result, DNS_FAIL);
    begin(&host, 0x8180); /* data longer than an address */
    size_t at = record("sip.example.org", 1, 60);
    put32(1), put16(1);
    record_end(at);
    done(&host, 1, 0);
    assert_int_equal(answer.result, DNS_FAIL);
    begin(&host, 0x8180);
    for (int i = 0; i < 257; i++) a_record("sip.example.org", 60, 1);
    done(&host, 257, 0);
    assert_int_equal(answer.result, DNS_FAIL);
}

/* RFC 1035 4.1.4 */
static void follows_pointers_back_only(void **state) {
    (void)state;
    static const struct {
        unsigned pointer;
        enum dns_result wanted;
    } rows[] = {
        { 0xc00c, DNS_OK },   /* the question's name */
        { 0xc021, DNS_FAIL }, /* itself: the record begins at 33 */
        { 0xc022, DNS_FAIL }, /* its own second byte */
        { 0xffff, DNS_FAIL }, /* beyond the end */
        { 0x8000, DNS_FAIL }, /* a form that is reserved */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(&host, 0x8180);
        assert_int_equal(msg.len, 33);
        put16(rows[i].pointer);
        put16(1), put16(1), put32(60), put16(4), put32(7);
        done(&host, 1, 0);
        assert_int_equal(answer.result, rows[i].wanted);
    }
}

/* A name of pointers to pointers costs much and says nothing. */
static void ends_a_chain_of_pointers(void **state) {
    (void)state;
    for (unsigned jumps = 31; jumps <= 33; jumps++) {
        begin(&host, 0x8180);
        size_t at = record("x.example.org", 16, 60);
        put16(0xc00c);
        for (unsigned i = 1; i < jumps - 1; i++) put16(0xc000u | (unsigned)(msg.len - 2));
        record_end(at);
        put16(0xc000u | (unsigned)(msg.len - 2));
        put16(1), put16(1), put32(60), put16(4), put32(7);
        done(&host, 2, 0);
        assert_int_equal(answer.result, jumps <= 32 ? DNS_OK : DNS_FAIL);
    }
}

static void takes_no_more_than_it_holds(void **state) {
    (void)state;
    begin(&host, 0x8180);
    for (unsigned i = 0; i < LIMIT_DNS_RECORDS + 9; i++) a_record("sip.example.org", 60, i);
    done(&host, LIMIT_DNS_RECORDS + 9, 0);
    assert_int_equal(answer.result, DNS_OK);
    assert_int_equal(answer.count, LIMIT_DNS_RECORDS);
}

/* Every end of a good message is no good message. */
static void needs_every_byte(void **state) {
    (void)state;
    begin(&service, 0x8180);
    alias("_sips._tcp.example.org", 9, "x.example.org");
    srv("x.example.org", 300, 7, "edge.example.org");
    done(&service, 2, 0);
    assert_int_equal(answer.result, DNS_OK);
    for (size_t n = 0; n < msg.len; n++) {
        dns_reply_read(unit_guard(bytes, n), &service, &mem, &answer);
        assert_int_equal(answer.result, DNS_FAIL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_addresses),
        cmocka_unit_test(reads_services),
        cmocka_unit_test(reads_naptr),
        cmocka_unit_test(follows_aliases),
        cmocka_unit_test(reads_what_is_not_there),
        cmocka_unit_test(fails_on_other_messages),
        cmocka_unit_test(follows_pointers_back_only),
        cmocka_unit_test(ends_a_chain_of_pointers),
        cmocka_unit_test(takes_no_more_than_it_holds),
        cmocka_unit_test(needs_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
