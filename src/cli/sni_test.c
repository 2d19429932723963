/* kith serve with the operator's certificates: one for each domain, chosen by SNI; reload. */
#include "unit.h"

#include "cli/process.h"

#include "crypto/crypto.h"
#include "os/loop.h"
#include "os/pki.h"
#include "os/tls.h"
#include <arpa/inet.h>
#include <sys/socket.h>

static struct pki_id *ca;

static int setup(void **state) {
    if (crypto_init() != ERR_OK || run_setup(state) != 0) return -1;
    slice names[] = { SLICE("a.example"), SLICE("b.example"), SLICE("c.example") };
    struct pki_names permitted = { .dns = names, .dns_count = ARRAY_LEN(names) };
    return pki_local_ca_new(&permitted, clock_wall(), 30, &ca) == ERR_OK ? 0 : -1;
}

static int teardown(void **state) {
    pki_unref(ca);
    return run_teardown(state);
}

/* FILE.pem and FILE.key for a domain; the first one also names the address. */
static void write_pair(const char *file, const char *domain, bool with_address) {
    slice name = slice_str(domain);
    struct addr loopback;
    assert_ok(addr_read_ip(SLICE("127.0.0.1"), &loopback));
    struct pki_names names = { .dns = &name, .dns_count = 1, .domain_count = 1 };
    if (with_address) names.ips = &loopback, names.ip_count = 1;
    struct pki_id *id;
    assert_ok(pki_server_new(ca, &names, clock_wall(), 30, &id));
    char chain[64], key[64];
    (void)snprintf(chain, sizeof chain, "%s.pem", file);
    (void)snprintf(key, sizeof key, "%s.key", file);
    assert_ok(pki_save(id, in_root(chain), in_root(key), NULL));
    pki_unref(id);
}

static uint16_t port_of(const struct server *s) {
    const char *at = strstr(s->text, "tls:127.0.0.1:");
    assert_non_null(at);
    at += strlen("tls:127.0.0.1:");
    uint32_t port;
    assert_ok(slice_u32(slice_of(at, strspn(at, "0123456789")), 65535, &port));
    return (uint16_t)port;
}

static void flush(int fd, struct tls_wire *wire) {
    for (size_t sent = 0; sent < wire->out_len;) {
        ssize_t n = send(fd, wire->out + sent, wire->out_len - sent, MSG_NOSIGNAL);
        assert_true(n > 0);
        sent += (size_t)n;
    }
    wire->out_len = 0;
}

/* Does who listens there show a certificate that this CA signed for this name? An address is asked
 * for without SNI. */
static bool serves(uint16_t port, const char *name) {
    static uint8_t in[32768], out[TLS_WIRE_OUT_BYTES];
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct tls_client_config config = { .trust = &ca, .trust_count = 1, .alpn = TLS_ALPN_SIP };
    struct tls_client *client;
    struct tls tls;
    struct tls_wire wire = { .in = in, .out = out, .out_cap = sizeof out };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_ok(tls_client_new(&config, &client));
    assert_ok(tls_connect(client, &wire, name, &tls));
    enum err e;
    while ((e = tls_handshake(&tls)) == ERR_AGAIN) {
        flush(fd, &wire);
        ssize_t n = recv(fd, in, sizeof in, 0);
        assert_true(n > 0);
        wire.in = in;
        wire.in_len = (size_t)n;
    }
    assert_true(e == ERR_OK || e == ERR_CRYPTO);
    tls_fini(&tls);
    tls_client_unref(client);
    (void)close(fd);
    return e == ERR_OK;
}

#define CONF "domain = a.example, b.example\nworkers = 2\n[listen]\ntls = 127.0.0.1:0\n[tls]\n"

static void each_domain_has_its_certificate(void **state) {
    (void)state;
    struct server s;
    write_pair("a", "a.example", true);
    write_pair("b", "b.example", false);
    write_pair("c", "c.example", false);
    write_root("kith.conf", CONF "certificate = a.pem, b.pem\nkey = a.key, b.key\n");
    server_start(&s, in_root("kith.conf"));
    assert_null(strstr(s.text, "tls.domain_not_covered"));
    uint16_t port = port_of(&s);
    assert_true(serves(port, "a.example"));
    assert_true(serves(port, "b.example"));
    assert_true(serves(port, "127.0.0.1")); /* no SNI: the first */
    assert_false(serves(port, "c.example"));

    write_root("kith.conf", CONF "certificate = a.pem, b.pem\nkey = a.key\n");
    assert_int_equal(kill(s.pid, SIGHUP), 0);
    server_await(&s, "\"event\":\"reload.refused\"");
    server_await(&s, "kith.conf:7: [tls] key: not as many files");
    write_root("kith.conf", CONF "certificate = a.pem, b.pem\nkey = a.key, c.key\n");
    assert_int_equal(kill(s.pid, SIGHUP), 0);
    server_await(&s, "\"event\":\"reload.refused\"");
    server_await(&s, "kith.conf:7: [tls] key: ");
    assert_true(serves(port, "b.example"));

    write_root("kith.conf", CONF "certificate = a.pem,\n  c.pem\nkey = a.key, c.key\n");
    assert_int_equal(kill(s.pid, SIGHUP), 0);
    server_await(&s, "tls.domain_not_covered\",\"domain\":\"b.example\"");
    server_await(&s, "\"event\":\"reloaded\"");
    assert_true(serves(port, "a.example"));
    assert_true(serves(port, "c.example"));
    assert_false(serves(port, "b.example"));
    assert_int_equal(server_end(&s, SIGTERM), 0);
}

static void each_bad_file_is_named_with_its_line(void **state) {
    (void)state;
    write_pair("a", "a.example", true);
    write_pair("b", "b.example", false);
    write_root("kith.conf",
               CONF "certificate = a.pem, none.pem, b.pem\nkey = a.key, b.key, a.key\n");
    assert_int_equal(kith("check-config", in_root("kith.conf")), 1);
    assert_says(run.err, "kith.conf:6: [tls] certificate: ");
    assert_says(run.err, "none.pem: there is no such file\n");
    assert_says(run.err, "kith.conf:7: [tls] key: ");
    assert_says(run.err, "a.key: this key does not belong to");
    assert_int_equal(kith("check-config", in_root("kith.conf"), "--json"), 1);
    assert_says(run.out, "\"line\":7,\"setting\":\"[tls] key\"");
    assert_int_equal(kith("serve", "--config", in_root("kith.conf")), 1);
    assert_says(run.err, "kith.conf:6: [tls] certificate: ");
    write_root("kith.conf", CONF "certificate = a.pem\nkey = b.key\n");
    assert_int_equal(kith("serve", "--config", in_root("kith.conf")), 1);
    assert_says(run.err, "kith.conf:7: [tls] key: ");
    assert_int_equal(run.err[strlen(run.err) - 1], '\n');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_domain_has_its_certificate),
        cmocka_unit_test(each_bad_file_is_named_with_its_line),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
