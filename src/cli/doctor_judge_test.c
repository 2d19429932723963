/* Each row of what kith doctor can say: facts in, level and words out. */
#include "unit.h"

#include "cli/doctor.h"

static struct doctor_finding f;

static struct addr at(const char *text) {
    struct addr a = { 0 };
    if (addr_read(slice_str(text), &a) != ERR_OK) assert_ok(addr_read_ip(slice_str(text), &a));
    return a;
}

static bool has(const struct buf *b, const char *text) {
    assert_false(b->full);
    return slice_find_slice(buf_slice(b), slice_str(text)) < b->len;
}

/* `words` and `mend` must be there; mend NULL: nothing is to be done. */
static void says(enum doctor_level level, const char *area, const char *words, const char *mend) {
    assert_int_equal(f.level, level);
    assert_string_equal(f.area, area);
    if (!has(&f.words, words)) fail_msg("no \"%s\" in: %.*s", words, (int)f.words.len, f.words.ptr);
    if (!mend)
        assert_int_equal(f.mend.len, 0);
    else if (!has(&f.mend, mend))
        fail_msg("no \"%s\" in: %.*s", mend, (int)f.mend.len, f.mend.ptr);
}

/* ---- names ---- */

static const struct addr no_places[1];

static struct doctor_dns domain(const char *name) {
    return (struct doctor_dns){ .domain = slice_str(name),
                                .naptr = DNS_OK,
                                .naptr_leads = true,
                                .srv = DNS_OK,
                                .host = DNS_NXDOMAIN,
                                .server_count = 1,
                                .servers = { { SLICE("sip.a.test"), 5061, 2, true } },
                                .name = SLICE("sip.a.test"),
                                .port = 5061,
                                .places = no_places };
}

static void names_that_lead_here(void **state) {
    (void)state;
    struct doctor_dns d = domain("a.test");
    doctor_judge_dns(&d, &f);
    says(DOCTOR_OK, "dns", "leads to sip.a.test:5061", NULL);
    d.naptr_leads = false;
    doctor_judge_dns(&d, &f);
    says(DOCTOR_WARN, "dns", "no NAPTR",
         "a.test. IN NAPTR 10 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.a.test.");
    d = domain("a.test");
    d.servers[0].addresses = 0;
    doctor_judge_dns(&d, &f);
    says(DOCTOR_MEND, "dns", "a name without any address", "zone of a.test");
    d = domain("a.test");
    d.servers[0].is_ours = false;
    doctor_judge_dns(&d, &f);
    says(DOCTOR_MEND, "dns", "where this server does not listen", "zone of a.test");
}

static void names_that_lead_nowhere(void **state) {
    (void)state;
    const struct addr places[] = { at("203.0.113.10"), at("2001:db8::10"), at("10.0.0.1") };
    struct doctor_dns d = domain("a.test");
    d.srv = DNS_NXDOMAIN;
    d.server_count = 0;
    d.places = places;
    d.place_count = ARRAY_LEN(places);
    doctor_judge_dns(&d, &f);
    says(DOCTOR_MEND, "dns", "there is no _sips._tcp SRV record",
         "_sips._tcp.a.test. IN SRV 10 10 5061 sip.a.test.\n"
         "sip.a.test. IN A 203.0.113.10\nsip.a.test. IN AAAA 2001:db8::10\nsip.a.test. IN A "
         "10.0.0.1   ; a private address");
    d.srv = DNS_NODATA;
    doctor_judge_dns(&d, &f);
    says(DOCTOR_MEND, "dns", "is empty", "zone of");
    d.host = DNS_OK; /* RFC 3263 4.2: its own addresses, port 5061 */
    doctor_judge_dns(&d, &f);
    says(DOCTOR_WARN, "dns", "only its addresses at port 5061", "IN SRV");
    d.port = 8443;
    doctor_judge_dns(&d, &f);
    says(DOCTOR_MEND, "dns", "nothing in the DNS leads", "8443");
    d.srv = DNS_FAIL;
    doctor_judge_dns(&d, &f);
    says(DOCTOR_MEND, "dns", "no DNS server answers", "resolv.conf");
    d.domain = SLICE("pbx.local");
    doctor_judge_dns(&d, &f);
    says(DOCTOR_UNSEEN, "dns", "no name for the DNS", NULL);
    d.domain = SLICE("pbx");
    doctor_judge_dns(&d, &f);
    says(DOCTOR_UNSEEN, "dns", "no name for the DNS", NULL);
}

/* ---- ports ---- */

static void ports(void **state) {
    (void)state;
    struct doctor_port p = { "SIP over TLS", "[listen] tls", at("203.0.113.10:5061"),
                             false,          true,           ERR_OK };
    doctor_judge_port(&p, &f);
    says(DOCTOR_OK, "port", "SIP over TLS at 203.0.113.10:5061 answers", NULL);
    p.reached = ERR_TIMEOUT;
    doctor_judge_port(&p, &f);
    says(DOCTOR_MEND, "port", "silent", "tcp dport 5061 accept");
    assert_false(has(&f.mend, "router"));
    p.is_own = false;
    doctor_judge_port(&p, &f);
    says(DOCTOR_MEND, "port", "silent", "router");
    p.reached = ERR_CLOSED;
    doctor_judge_port(&p, &f);
    says(DOCTOR_MEND, "port", "refuses", "forward TCP port 5061");
    p.is_own = true;
    doctor_judge_port(&p, &f);
    says(DOCTOR_MEND, "port", "refuses", "[listen] tls");
    p.is_udp = true;
    p.reached = ERR_TIMEOUT;
    doctor_judge_port(&p, &f);
    says(DOCTOR_MEND, "port", "silent", "udp dport 5061 accept");
    p.at = at("[2001:db8::10]:5061");
    p.reached = ERR_MISSING;
    doctor_judge_port(&p, &f);
    says(DOCTOR_UNSEEN, "port", "no way to IPv6", NULL);
}

/* ---- certificates ---- */

static void certificates(void **state) {
    (void)state;
    struct peer_cert his = { .is_verified = true, .dns_count = 1, .dns = { SLICE("a.test") } };
    struct doctor_cert c = { SLICE("a.test"), at("203.0.113.10:5061"), NULL, &his, false, 60 };
    doctor_judge_cert(&c, &f);
    says(DOCTOR_OK, "certificate", "good for a.test, 60 days", NULL);
    c.days_left = 13;
    doctor_judge_cert(&c, &f);
    says(DOCTOR_WARN, "certificate", "13 days", "Renew");
    c.is_local = true;
    doctor_judge_cert(&c, &f);
    says(DOCTOR_WARN, "certificate", "own authority", "ca.pem");
    his.is_verified = false;
    his.why_not = "has expired";
    doctor_judge_cert(&c, &f);
    says(DOCTOR_MEND, "certificate", "has expired", "SIGHUP");
    his.is_verified = true;
    his.dns[0] = SLICE("*.test"); /* RFC 5922 7.2: no wildcards */
    doctor_judge_cert(&c, &f);
    says(DOCTOR_MEND, "certificate", "names nothing that counts", "DNS:a.test or URI:sip:a.test");
    his.dns[0] = SLICE("b.test");
    doctor_judge_cert(&c, &f);
    says(DOCTOR_MEND, "certificate", "it names b.test", "RFC 5922");
    c.cert = NULL;
    doctor_judge_cert(&c, &f);
    says(DOCTOR_MEND, "certificate", "not with TLS", "another program");
    c.trouble = "it closed";
    doctor_judge_cert(&c, &f);
    says(DOCTOR_MEND, "certificate", "it closed", "another program");
}

/* ---- relay and clock ---- */

static void relays(void **state) {
    (void)state;
    static const struct {
        unsigned status;
        const char *mend;
    } refusals[] = { { 401, "another TURN server" },
                     { 441, "another TURN server" },
                     { 440, "[turn] relay" },
                     { 486, "per_account" },
                     { 508, "[turn] allocations" } };
    struct doctor_relay r = { .server = at("8.0.0.1:3478"),
                              .seen = at("9.0.0.1:9"),
                              .allocated = ERR_OK,
                              .relayed = { at("8.0.0.1:50000"), at("[2a00::1]:50000") },
                              .back = true };
    doctor_judge_relay(&r, &f);
    says(DOCTOR_OK, "relay", "gives 8.0.0.1:50000 [2a00::1]:50000 and sees 9.0.0.1", NULL);
    r.relayed[1].family = 0;
    doctor_judge_relay(&r, &f);
    says(DOCTOR_OK, "relay", "(IPv4 only)", NULL);
    r.relayed[0] = at("10.0.0.1:50000");
    doctor_judge_relay(&r, &f);
    says(DOCTOR_WARN, "relay", "private", "[turn] public");
    r.server = at("127.0.0.1:3478");
    doctor_judge_relay(&r, &f);
    assert_int_equal(f.level, DOCTOR_OK); /* a server for this host alone */
    r.back = false;
    doctor_judge_relay(&r, &f);
    says(DOCTOR_MEND, "relay", "does not arrive", "will not hear each other");
    r.allocated = ERR_TIMEOUT;
    doctor_judge_relay(&r, &f);
    says(DOCTOR_MEND, "relay", "does not answer", "UDP port 3478");
    r.allocated = ERR_DENIED;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        r.status = refusals[i].status;
        doctor_judge_relay(&r, &f);
        says(DOCTOR_MEND, "relay", "refuses with", refusals[i].mend);
    }
}

static void clocks(void **state) {
    (void)state;
    doctor_judge_clock(CLOCK_KEPT, &f);
    says(DOCTOR_OK, "clock", "kept", NULL);
    doctor_judge_clock(CLOCK_UNKNOWN, &f);
    says(DOCTOR_UNSEEN, "clock", "does not say", NULL);
    doctor_judge_clock(CLOCK_FREE, &f);
    says(DOCTOR_WARN, "clock", "no time service", "chrony");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_lead_here),
        cmocka_unit_test(names_that_lead_nowhere),
        cmocka_unit_test(ports),
        cmocka_unit_test(certificates),
        cmocka_unit_test(relays),
        cmocka_unit_test(clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
