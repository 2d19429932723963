#include "unit.h"

#include "daemon/config.h"

#include "base/log.h"

static struct config_errors errors;

static struct config *good(const char *text) {
    struct config *c = NULL;
    enum err e = config_read(slice_str(text), SLICE("/etc/kith/kith.conf"), &c, &errors);
    if (e != ERR_OK) print_message("%s\n", errors.at[0].text);
    assert_int_equal(e, ERR_OK);
    return c;
}

/* The text has exactly these errors, shown as a person sees them. */
static void bad(const char *text, const char *want) {
    struct config *c = NULL;
    assert_err(config_read(slice_str(text), SLICE("k"), &c, &errors), ERR_CONFIG);
    assert_null(c);
    char mem[8192];
    struct buf b = buf_over(mem, sizeof mem - 1);
    config_errors_put(&errors, SLICE("k"), &b);
    mem[b.len] = 0;
    assert_string_equal(mem, want);
}

static void defaults_are_themselves_valid(void **state) {
    (void)state;
    struct config *c = NULL;
    assert_ok(config_defaults(&c));
    assert_int_equal(c->domains.count, 0);
    assert_int_equal(c->listen_tls.count, 2);
    assert_int_equal(c->listen_tls.at[0].port, 5061);
    assert_int_equal(c->legacy_tls.count + c->legacy_tcp.count + c->legacy_udp.count, 0);
    assert_int_equal(c->log_level, LOG_INFO);
    assert_int_equal(c->tls_oldest, CONFIG_TLS_1_2);
    assert_int_equal(c->auth_algorithm, CONFIG_SHA_256);
    assert_int_equal(c->expires_default_s, 3600);
    assert_true(c->ring_time_s > 180); /* RFC 3261 16.6 item 11: more than three minutes */
    config_free(c);
    config_free(NULL);
}

/* The manual's defaults are those of the guard itself; other figures keep the shares. */
static void budgets_reach_the_guard(void **state) {
    (void)state;
    struct config *c = NULL;
    struct node_config nc;
    struct guard_limits want;
    guard_limits_defaults(&want);
    assert_ok(config_defaults(&c));
    config_to_node(c, &nc);
    assert_memory_equal(&nc.guard, &want, sizeof want);
    config_free(c);
    c = good("[limits]\nauth_failures_per_minute = 5\nrequests_per_minute = 3\n"
             "connections_per_minute = 1000000\naccount_requests_per_minute = 60\n");
    config_to_node(c, &nc);
    assert_int_equal(nc.guard.source.auth_failures.per_min, 5);
    assert_int_equal(nc.guard.source.auth_failures.burst, 5);
    assert_int_equal(nc.guard.loopback.auth_failures.burst, 500);
    assert_int_equal(nc.guard.source.requests.burst, 1); /* 0 would let nobody in */
    assert_int_equal(nc.guard.loopback.connections.per_min, GUARD_BUDGET_MAX);
    assert_int_equal(nc.guard.account.burst, 10);
    config_free(c);
    bad("[limits]\nauth_failures_per_minute = 0\n",
        "k:2: [limits] auth_failures_per_minute: `0` will not do; allowed: a number from 1 to "
        "1000000\n");
}

static void the_example_is_read(void **state) {
    (void)state;
    struct config *c = good("\xef\xbb\xbf# a comment\n"
                            "domain = Example.org, example.net,\r\n"
                            "   example.com\n"
                            "workers = 2\n\n"
                            "[listen]\n"
                            "tls = 127.0.0.1:5061,\n  [::1]:5061\n"
                            "name = sip.example.org\n"
                            "[tls]\n"
                            "certificate = fullchain.pem\n"
                            "; another comment\n"
                            "key = /keys/key.pem\n"
                            "oldest = 1.3\n"
                            "[legacy]\nudp = 192.0.2.1:5070\n"
                            "[log]\nlevel = debug\n"
                            "[auth]\nalgorithm = sha-512-256\n"
                            "[limits]\nexpires_min = 2m\ncontacts = 3\n");
    assert_int_equal(c->domains.count, 3);
    assert_true(slice_eq(c->domains.at[0], SLICE("example.org")));
    assert_true(slice_eq(c->domains.at[2], SLICE("example.com")));
    assert_int_equal(c->workers, 2);
    assert_int_equal(c->listen_tls.count, 2);
    assert_int_equal(c->listen_tls.at[1].family, ADDR_V6);
    assert_true(slice_eq(c->listen_name, SLICE("sip.example.org")));
    assert_int_equal(c->tls_certificate.count, 1);
    assert_true(slice_eq(c->tls_certificate.at[0], SLICE("/etc/kith/fullchain.pem")));
    assert_true(slice_eq(c->tls_key.at[0], SLICE("/keys/key.pem")));
    assert_int_equal(c->tls_oldest, CONFIG_TLS_1_3);
    assert_int_equal(c->legacy_udp.at[0].port, 5070);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->auth_algorithm, CONFIG_SHA_512_256);
    assert_int_equal(c->expires_min_s, 120);
    assert_int_equal(c->contacts, 3);
    config_free(c);
}

static void every_error_is_listed(void **state) {
    (void)state;
    bad("domian = example.org\n"
        "workers = 65\n"
        "[listne]\n"
        "tls = nothing of this section is reported again\n"
        "[listen]\n"
        "tlss = 127.0.0.1:5061\n"
        "tls = 127.0.0.1\n"
        "[log]\n"
        "level = inof\n"
        "[limits]\n"
        "expires_max = 2w\n"
        "contacts = ten\n",
        "k:1: domian: there is no such setting; did you mean domain?\n"
        "k:2: workers: `65` will not do; allowed: a number from 0 to 64\n"
        "k:3: [listne]: there is no such section; did you mean [listen]?\n"
        "k:6: tlss: there is no such setting; did you mean tls?\n"
        "k:7: [listen] tls: `127.0.0.1` is not an address with port: write 192.0.2.1:5061 or "
        "[2001:db8::1]:5061\n"
        "k:9: [log] level: `inof` will not do; allowed: error, warn, info or debug; did you mean "
        "info?\n"
        "k:11: [limits] expires_max: `2w` will not do; allowed: a duration from 1m to 1d\n"
        "k:12: [limits] contacts: `ten` will not do; allowed: a number from 1 to 10\n");
}

static void a_setting_in_the_wrong_place(void **state) {
    (void)state;
    bad("[listen]\ncertificate = x\n",
        "k:2: certificate: there is no such setting here; did you mean certificate in [tls]?\n");
    bad("[tls]\nworkers = 1\n", "k:2: workers: there is no such setting here; did you mean workers "
                                "above the first [section]?\n");
    bad("[tls]\ncleint_ca = roots.pem\n",
        "k:2: cleint_ca: there is no such setting; did you mean client_ca?\n");
    bad("[wild]\n", "k:1: [wild]: there is no such section\n");
    bad("[tls]\nqqqqqqqq = 1\n",
        "k:2: qqqqqqqq: there is no such setting; docs/config.md lists them all\n");
}

static void twice_is_an_error(void **state) {
    (void)state;
    bad("workers = 1\nworkers = 2\n", "k:2: workers: set twice; the first time in line 1\n");
    bad("[listen]\ntls = 127.0.0.1:1\n[listen]\ntls = 127.0.0.1:2\n",
        "k:4: [listen] tls: set twice; the first time in line 2\n");
    bad("domain = a.example, A.example\n",
        "k:1: domain: `a.example, A.example` is the same domain twice\n");
    bad("[listen]\ntls = 127.0.0.1:1,\n  127.0.0.1:1\n",
        "k:3: [listen] tls: `127.0.0.1:1` is the same address twice\n");
}

static void indented_lines(void **state) {
    (void)state;
    bad("[tls]\ncertificate = a\n  key = b\n",
        "k:3: [tls] certificate: this line is indented, so it continues the setting above; begin "
        "it without white space\n");
    config_free(good("[tls]\n  certificate = a\nkey = b\n")); /* nothing above it to continue */
    bad("[listen]\nname = a\n  tls = b\n",
        "k:3: [listen] name: this line is indented, so it continues the setting above; begin it "
        "without white space\n");
}

static void lines_that_are_no_settings(void **state) {
    (void)state;
    bad("[tls\nkey\n\x01 = 2\n", "k:1: [tls: the section's name has no closing ]\n"
                                 "k:2: key: expected `name = value`\n"
                                 "k:3: a control character stands in the line\n");
    char text[400] = "domain = ";
    memset(text + 9, 'a', 300);
    text[309] = '\n';
    bad(text, "k:1: the line is longer than 198 characters; a list may go on in indented lines\n");
    bad("workers = 2 # two\n", "k:1: workers: `2 # two` will not do; allowed: a number from 0 to "
                               "64\n");
    bad("domain = a.example # mine\n",
        "k:1: domain: `a.example # mine` is not a domain name: write names such as example.org (a "
        "comment needs a line of its own)\n");
}

static void settings_must_fit_together(void **state) {
    (void)state;
    bad("[tls]\ncertificate = x\n",
        "k:2: [tls] certificate: set without its key: add `key = FILE` below [tls]\n");
    bad("[tls]\nkey = x\n",
        "k:2: [tls] key: set without a certificate: add `certificate = FILE`\n");
    bad("[tls]\nkey = x\ncertificate = a, b\n",
        "k:2: [tls] key: not as many files as [tls] certificate has: each needs its key, in the "
        "same order\n");
    bad("[tls]\nkey = x, , y\n", "k:2: [tls] key: `x, , y` is not a list of file names: one of "
                                 "them is empty\n");
    struct config *c = good("[tls]\ncertificate = a.pem,\n  /b/b.pem\nkey = a.key, b.key\n");
    assert_int_equal(c->tls_certificate.count, 2);
    assert_true(slice_eq(c->tls_certificate.at[0], SLICE("/etc/kith/a.pem")));
    assert_true(slice_eq(c->tls_certificate.at[1], SLICE("/b/b.pem")));
    assert_true(slice_eq(c->tls_key.at[1], SLICE("/etc/kith/b.key")));
    config_free(c);
    bad("[limits]\nexpires_default = 10s\n",
        "k: [limits] expires_min: longer than expires_default\n");
    static const char *const no_prefixes[] = { "2001:db8::/72", "2001:db8::/80", "2001:db8::/88",
                                               "2001:db8::/33", "10.0.0.0/32" };
    for (size_t i = 0; i < ARRAY_LEN(no_prefixes); i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "[turn]\nnat64 = %s\n", no_prefixes[i]);
        bad(text, "k:2: [turn] nat64: a translator's prefix is an IPv6 network of /32, /40, /48, "
                  "/56, /64 or /96 (RFC 6052)\n");
    }
    config_free(good("[turn]\nnat64 = 2001:db8::/32, 2001:db8:64::/40, 2001:db8:1::/48,\n"
                     "  2001:db8:2::/56, 2001:db8:3::/64, 2001:db8:4::/96\n"));
    bad("[listen]\ntls =\n", "k:2: [listen] tls: empty: phones could not connect\n");
    bad("[legacy]\ntls = 0.0.0.0:5061\n",
        "k:2: [legacy] tls: another listener has the same address; the legacy lane needs a port "
        "of its own\n");
    bad("domain = 192.0.2.1\n",
        "k:1: domain: `192.0.2.1` is not a domain name: write names such as example.org\n");
}

static void other_domains_are_told_apart(void **state) {
    (void)state;
    struct node_config nc;
    struct config *c = good("domain = a.org\n[tls]\nclient_ca = roots.pem, /r.pem\n"
                            "[dns]\nservers = 127.0.0.1:5353, [::1]:53\n"
                            "[federation]\npolicy = listed\npeers = B.org,\n  c.org\n"
                            "trusted = d.org\nrefused = e.org\n"
                            "[limits]\ndomain_requests_per_minute = 600\n");
    assert_int_equal(c->tls_client_ca.count, 2);
    assert_slice(c->tls_client_ca.at[0], "/etc/kith/roots.pem");
    assert_int_equal(c->dns_servers.count, 2);
    config_to_node(c, &nc);
    assert_int_equal(nc.peers, PEERS_LISTED);
    assert_int_equal(nc.peer_count, 4);
    assert_slice(nc.peer[0].domain, "b.org");
    assert_int_equal(nc.peer[1].rule, PEER_ALLOW);
    assert_slice(nc.peer[2].domain, "d.org");
    assert_int_equal(nc.peer[2].rule, PEER_TRUST);
    assert_int_equal(nc.peer[3].rule, PEER_REFUSE);
    assert_int_equal(nc.guard.domain.per_min, 600);
    assert_int_equal(nc.guard.domain.burst, 100);
    config_free(c);
    assert_ok(config_defaults(&c));
    config_to_node(c, &nc);
    assert_int_equal(nc.peers, PEERS_OPEN);
    assert_int_equal(nc.peer_count, 0);
    config_free(c);
    bad("[federation]\npolicy = any\n",
        "k:2: [federation] policy: `any` will not do; allowed: open, listed or closed\n");
    bad("[federation]\npeers = a.org\nrefused = a.org\n",
        "k:3: [federation] refused: a domain stands there and in another list below [federation] "
        "too: one place says it all\n");
    bad("domain = a.org\n[federation]\ntrusted = a.org\n",
        "k:3: [federation] trusted: a domain of this server stands there, which is no other "
        "domain\n");
    bad("[federation]\npeers = sip:a.org\n",
        "k:2: [federation] peers: `sip:a.org` is not a domain name: write names such as "
        "example.org\n");
    bad("[dns]\nservers = ns.example.org\n",
        "k:2: [dns] servers: `ns.example.org` is not an address with port: write 192.0.2.1:5061 or "
        "[2001:db8::1]:5061\n");
}

static void many_errors_are_counted(void **state) {
    (void)state;
    char text[4096];
    struct buf b = buf_over(text, sizeof text);
    for (unsigned i = 0; i < 50; i++) buf_fmt(&b, "x%u = 1\n", i);
    struct config *c = NULL;
    assert_err(config_read(buf_slice(&b), SLICE("k"), &c, &errors), ERR_CONFIG);
    assert_int_equal(errors.count, 50);
    char mem[16384];
    struct buf out = buf_over(mem, sizeof mem);
    config_errors_put(&errors, SLICE("k"), &out);
    assert_true(slice_find_slice(buf_slice(&out), SLICE("and 18 more\n")) < out.len);
}

static bool see(void *ctx, const struct setting *s, slice was, slice is) {
    struct buf *b = ctx;
    buf_lit(b, "<");
    setting_put_name(s, b);
    buf_fmt(b, ": " SLICE_FMT " -> " SLICE_FMT ">", SLICE_ARG(was), SLICE_ARG(is));
    return true;
}

static void a_diff_names_what_changed(void **state) {
    (void)state;
    struct config *a = good("workers = 1\n[log]\nlevel = info\n");
    struct config *b = good("domain = x.example,\n  y.example\nworkers = 2\n");
    char mem[512];
    struct buf out = buf_over(mem, sizeof mem);
    config_diff(a, b, see, &out);
    assert_true(
        slice_eq(buf_slice(&out), SLICE("<domain:  -> x.example, y.example><workers: 1 -> 2>")));
    config_free(a);
    config_free(b);
}

static void files_that_cannot_be_read(void **state) {
    (void)state;
    struct config *c = NULL;
    assert_err(config_load("/nonexistent/kith.conf", &c, &errors), ERR_CONFIG);
    assert_string_equal(errors.at[0].text, "cannot be opened: No such file or directory");
    assert_err(config_load("/", &c, &errors), ERR_CONFIG);
    assert_string_equal(errors.at[0].text, "cannot be read: Is a directory");
}

static enum err read_some(void *ctx) {
    (void)ctx;
    struct config *c = NULL;
    enum err e = config_read(SLICE("domain = a.example\n"), SLICE("k"), &c, &errors);
    config_free(c);
    return e;
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    assert_true(unit_oom(read_some) > 1);
}

static void the_manual_is_up_to_date(void **state) {
    (void)state;
    static char want[32768];
    struct buf b = buf_over(want, sizeof want);
    settings_put_manual(&b);
    assert_false(b.full);
    if (!slice_eq(buf_slice(&b), unit_file("docs/config.md")))
        fail_msg("docs/config.md differs: run `kith check-config --print-settings > "
                 "docs/config.md`");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_themselves_valid),
        cmocka_unit_test(budgets_reach_the_guard),
        cmocka_unit_test(the_example_is_read),
        cmocka_unit_test(every_error_is_listed),
        cmocka_unit_test(a_setting_in_the_wrong_place),
        cmocka_unit_test(twice_is_an_error),
        cmocka_unit_test(indented_lines),
        cmocka_unit_test(lines_that_are_no_settings),
        cmocka_unit_test(settings_must_fit_together),
        cmocka_unit_test(other_domains_are_told_apart),
        cmocka_unit_test(many_errors_are_counted),
        cmocka_unit_test(a_diff_names_what_changed),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(every_failed_allocation_is_survived),
        cmocka_unit_test(the_manual_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
