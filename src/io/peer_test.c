/* Connections that we begin, and questions to DNS: two workers of two houses on loopback, the small
 * core of io_test_core.h in each, told what to do over plain TCP. */
#include "unit.h"

#include "crypto/crypto.h"
#include "io/io.h"
#include "io/io_test_core.h"
#include "os/cert.h"
#include "os/loop.h"
#include "os/pki.h"
#include "os/socket.h"
#include "os/tls.h"
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pki_id *local_ca, *cert_org, *cert_com, *device_ca, *device;
static struct tls_tickets *tickets;
static struct cert_roots *roots;
static struct addr loopback;

/* ---- houses ---- */

struct house {
    struct core *core;
    struct io *io;
    pthread_t thread;
    int fd; /* where it is told what to do */
    char text[4096];
    size_t len;
};
struct plan {
    struct pki_id *cert, *client_cert;
    bool no_client;
    struct addr dns;
    uint32_t connect_ms, handshake_ms, ping_ms, pong_ms, connections_max;
};

static void *run(void *io) {
    return io_run(io) == ERR_OK ? NULL : io;
}

static struct tls_client *client_of(struct pki_id *identity) {
    struct tls_client_config c = {
        .verify_nothing = true, .identity = identity, .alpn = TLS_ALPN_SIP, .roots = roots
    };
    struct tls_client *client;
    assert_ok(tls_client_new(&c, &client));
    return client;
}

static void house_open(struct house *h, struct plan p) {
    static const uint8_t seed[32];
    struct io_listen listen[] = {
        { .at = loopback, .transport = FLOW_TLS, .lane = LANE_MAIN },
        { .at = loopback, .transport = FLOW_TCP, .lane = LANE_LEGACY },
    };
    struct tls_server_config tls = { .certs = &p.cert,
                                     .cert_count = 1,
                                     .device_cas = &device_ca,
                                     .device_ca_count = 1,
                                     .tickets = tickets,
                                     .roots = roots };
    memset(h, 0, sizeof *h);
    h->core = core_new(NULL, 0, seed, clock_now());
    assert_non_null(h->core);
    struct io_config c = { .listen = listen,
                           .listen_count = 2,
                           .tls_client = p.no_client ? NULL : client_of(p.client_cert),
                           .dns_servers = &p.dns,
                           .dns_server_count = 1,
                           .core = h->core };
    io_limits_defaults(&c.limits);
    if (p.connect_ms) c.limits.connect_ms = p.connect_ms;
    if (p.handshake_ms) c.limits.handshake_ms = p.handshake_ms;
    if (p.ping_ms) c.limits.ping_ms = p.ping_ms;
    if (p.pong_ms) c.limits.pong_ms = p.pong_ms;
    if (p.connections_max) c.limits.connections_max = p.connections_max;
    assert_ok(tls_server_new(&tls, &c.tls));
    assert_ok(io_new(&c, &h->io, NULL));
    tls_server_unref(c.tls);
    assert_int_equal(pthread_create(&h->thread, NULL, run, h->io), 0);
    struct addr at = io_address(h->io, 1);
    assert_ok(socket_connect_tcp(&at, &h->fd));
}

static void house_close(struct house *h) {
    void *failed;
    io_stop(h->io);
    assert_int_equal(pthread_join(h->thread, &failed), 0);
    assert_null(failed);
    io_free(h->io);
    core_free(h->core);
    close(h->fd);
}

static void tell(struct house *h, const char *what, unsigned number) {
    char mem[256];
    struct buf b = buf_over(mem, sizeof mem);
    struct pollfd pfd = { .fd = h->fd, .events = POLLOUT };
    buf_fmt(&b, "OPTIONS sip:a SIP/2.0\r\nX-Do: %s %u\r\nContent-Length: 0\r\n\r\n", what, number);
    assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
    assert_int_equal(send(h->fd, b.ptr, b.len, MSG_NOSIGNAL), b.len);
}

/* Waits for `words` in what it says, and forgets all that. */
static void expect(struct house *h, const char *words) {
    while (slice_find_slice(slice_of(h->text, h->len), slice_str(words)) == h->len) {
        struct pollfd pfd = { .fd = h->fd, .events = POLLIN };
        ssize_t n = poll(&pfd, 1, PATIENCE_MS) == 1
                        ? recv(h->fd, h->text + h->len, sizeof h->text - h->len, 0)
                        : 0;
        if (n <= 0) {
            print_error("wanted \"%s\", got \"%.*s\"\n", words, (int)h->len, h->text);
            fail();
        }
        h->len += (size_t)n;
    }
    h->len = 0;
}

#define COUNT(h, name) atomic_load_explicit(&io_counters((h)->io)->name, memory_order_relaxed)
static unsigned tls_port(const struct house *h) {
    return io_address(h->io, 0).port;
}

/* A listener of the test's own, that does what no server should. */
static int listener(struct addr *at) {
    int fd;
    assert_ok(socket_listen_tcp(&loopback, &fd, at));
    return fd;
}
static int accept_one(int fd) {
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    struct addr peer;
    int accepted = -1;
    assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
    assert_ok(socket_accept(fd, &accepted, &peer));
    return accepted;
}

static struct house one, two;

/* ---- connecting ---- */

/* Each sees what the other proved; then it is a flow as any other, both ways. */
static void two_domains_meet(void **state) {
    (void)state;
    house_open(&one, (struct plan){ .cert = cert_org, .client_cert = cert_org });
    house_open(&two, (struct plan){ .cert = cert_com, .client_cert = cert_com });
    tell(&one, "connect", tls_port(&two));
    expect(&one, "X-Outcome: up to somebody verified, - sip:example.com");
    EVENTUALLY(fake_of(two.core)->certs == 1);
    assert_int_equal(fake_of(two.core)->opened, 1);
    tell(&one, "peer", 0);
    expect(&one, "200 OK");
    EVENTUALLY(fake_of(two.core)->received == 1);
    assert_int_equal(COUNT(&one, connects_ok), 1);
    assert_int_equal(COUNT(&one, connects_up), 1);
    assert_int_equal(COUNT(&one, connects_failed), 0);
    house_close(&two); /* says goodbye */
    EVENTUALLY(COUNT(&one, connects_up) == 0);
    EVENTUALLY(fake_of(one.core)->closed == 1);
    house_close(&one);
}

/* A phone's certificate is a device's, no domain's; one without a certificate costs nothing. */
static void phones_are_no_domains(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        house_open(&one, (struct plan){ .cert = cert_org, .client_cert = i ? device : NULL });
        house_open(&two, (struct plan){ .cert = cert_com });
        tell(&one, "connect", tls_port(&two));
        expect(&one, "X-Outcome: up");
        EVENTUALLY(fake_of(two.core)->opened == 1);
        assert_int_equal(fake_of(two.core)->certs, 0);
        house_close(&one);
        house_close(&two);
    }
}

static void tells_why_it_is_not_up(void **state) {
    (void)state;
    struct addr at;
    static const struct {
        const char *says, *outcome;
        size_t len;
    } rows[] = {
        { "HTTP/1.1 400 Bad Request\r\n\r\n", "CRYPTO: no TLS is spoken there", 28 },
        { "\x15\3\3\0\2\2\x28", "CRYPTO: no version and cipher of TLS that both sides allow", 7 },
        { "", "CLOSED: the connection was closed during the TLS handshake", 0 },
    };
    house_open(&one, (struct plan){ .cert = cert_org });
    int fd = listener(&at);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[64];
        tell(&one, "connect", at.port);
        int accepted = accept_one(fd);
        struct pollfd pfd = { .fd = accepted, .events = POLLIN };
        assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1); /* its ClientHello */
        assert_true(recv(accepted, mem, sizeof mem, 0) > 0);
        assert_int_equal(send(accepted, rows[i].says, rows[i].len, MSG_NOSIGNAL), rows[i].len);
        close(accepted);
        expect(&one, rows[i].outcome);
    }
    close(fd);
    tell(&one, "connect", at.port);
    expect(&one, "CLOSED: connection refused");
    assert_int_equal(COUNT(&one, connects_failed), 4);
    assert_int_equal(COUNT(&one, connects_up), 0);
    house_close(&one);
    house_open(&one, (struct plan){ .cert = cert_org, .no_client = true });
    tell(&one, "connect", at.port);
    expect(&one, "UNSUPPORTED: ");
    house_close(&one);
}

static void waits_no_longer_than_its_limits(void **state) {
    (void)state;
    struct addr at;
    int fd = listener(&at);
    house_open(&one, (struct plan){ .cert = cert_org, .handshake_ms = 30 });
    tell(&one, "connect", at.port);
    expect(&one, "TIMEOUT: the TLS handshake took too long");
    house_close(&one);
    close(fd);
}

/* After a cancel core hears no more of it, also when the handshake would end well. */
static void cancelled_ones_are_not_answered(void **state) {
    (void)state;
    struct addr at;
    int fd = listener(&at);
    house_open(&one, (struct plan){ .cert = cert_org });
    tell(&one, "connect", at.port);
    int accepted = accept_one(fd);
    tell(&one, "cancel", 0);
    expect(&one, "200 OK");
    char mem[4096];
    ssize_t n;
    struct pollfd pfd = { .fd = accepted, .events = POLLIN };
    do {
        assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
    } while ((n = recv(accepted, mem, sizeof mem, 0)) > 0); /* it closes */
    EVENTUALLY(COUNT(&one, connections) == 1);
    tell(&one, "echo", 0);
    expect(&one, "X-Size");
    assert_int_equal(COUNT(&one, connects_failed), 0);
    tell(&one, "cancel", 0); /* of nothing */
    expect(&one, "200 OK");
    close(accepted);
    tell(&one, "connect", at.port); /* and stopping in the middle of one is no trouble */
    close(accept_one(fd));
    house_close(&one);
    close(fd);
}

/* A crowd of phones does not keep us from reaching others. */
static void has_room_beyond_the_crowd(void **state) {
    (void)state;
    house_open(&one, (struct plan){ .cert = cert_org, .connections_max = 1 });
    house_open(&two, (struct plan){ .cert = cert_com });
    tell(&one, "connect", tls_port(&two));
    expect(&one, "X-Outcome: up");
    house_close(&one);
    house_close(&two);
}

/* Nor when they take all descriptors that they can get. */
static void keeps_descriptors_for_its_own(void **state) {
    (void)state;
    struct rlimit was, few;
    struct addr at;
    int fd = listener(&at), crowd[100];
    unsigned n = 0;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    few = was;
    few.rlim_cur = 80;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    house_open(&one, (struct plan){ .cert = cert_org });
    tell(&one, "echo", 0);
    expect(&one, "200 OK");
    struct addr tcp = io_address(one.io, 1);
    for (; n < ARRAY_LEN(crowd) && COUNT(&one, refused_full) == 0; n++) {
        assert_ok(socket_connect_tcp(&tcp, &crowd[n]));
        EVENTUALLY(COUNT(&one, accepted) == n + 2);
    }
    assert_int_equal(COUNT(&one, refused_full), 1);
    tell(&one, "connect", at.port);
    close(accept_one(fd));
    expect(&one, "CLOSED: the connection was closed during the TLS handshake");
    while (n > 0) close(crowd[--n]);
    house_close(&one);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    close(fd);
}

/* RFC 5626 4.4.1: pings while nothing else is said; who has answered once must go on. */
static void pings_and_expects_pongs(void **state) {
    (void)state;
    house_open(&one, (struct plan){ .cert = cert_org, .ping_ms = 20, .pong_ms = 60000 });
    house_open(&two, (struct plan){ .cert = cert_com });
    tell(&one, "connect", tls_port(&two));
    expect(&one, "X-Outcome: up");
    EVENTUALLY(fake_of(two.core)->heard >= 3 && fake_of(one.core)->heard >= 3);
    assert_int_equal(COUNT(&one, connects_up), 1);
    house_close(&one);
    house_close(&two);
}

/* A TLS server of the test's own, which answers `pongs` pings and then none. */
struct mute {
    int listen_fd;
    unsigned pongs, pings;
    bool ended;
};
static void mute_serve(struct mute *m) {
    static uint8_t in[16384], out[TLS_WIRE_OUT_BYTES];
    struct tls_wire wire = { .out = out, .out_cap = sizeof out };
    struct tls_server_config sc = { .certs = &cert_com, .cert_count = 1, .tickets = tickets };
    struct tls_server *s;
    struct tls tls;
    assert_ok(tls_server_new(&sc, &s));
    assert_ok(tls_accept(s, &wire, &tls));
    int fd = accept_one(m->listen_fd);
    bool up = false;
    while (!m->ended) {
        char text[256];
        size_t n;
        struct pollfd pfd = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
        ssize_t got = recv(fd, in, sizeof in, 0);
        if (got <= 0) break;
        wire.in = in;
        wire.in_len = (size_t)got;
        if (!up) up = tls_handshake(&tls) == ERR_OK;
        enum err e = up ? ERR_OK : ERR_AGAIN;
        while (e == ERR_OK && (e = tls_read(&tls, text, sizeof text, &n)) == ERR_OK) {
            assert_slice(slice_of(text, n), "\r\n\r\n");
            if (m->pings++ < m->pongs) assert_ok(tls_write(&tls, "\r\n", 2));
        }
        m->ended = e == ERR_CLOSED;
        (void)!send(fd, out, wire.out_len, MSG_NOSIGNAL);
        wire.out_len = 0;
        if (m->pongs == 0 && m->pings >= 4) break; /* it goes on without an answer: seen enough */
    }
    close(fd);
    tls_fini(&tls);
    tls_server_unref(s);
}

static void ends_what_falls_silent(void **state) {
    (void)state;
    struct addr at;
    for (unsigned pongs = 0; pongs < 3; pongs += 2) {
        struct mute m = { .listen_fd = listener(&at), .pongs = pongs };
        house_open(&one, (struct plan){ .cert = cert_org, .ping_ms = 20, .pong_ms = 40 });
        tell(&one, "connect", at.port);
        mute_serve(&m);
        assert_int_equal(m.ended, pongs > 0);
        /* On a busy machine a pong comes too late, or pings go out before it is read. */
        assert_true(m.pings >= (pongs ? pongs : 4));
        EVENTUALLY(fake_of(one.core)->closed == 1);
        assert_int_equal(COUNT(&one, closed_silent), pongs > 0);
        house_close(&one);
        close(m.listen_fd);
    }
}

/* ---- DNS ---- */

static void asks_dns(void **state) {
    (void)state;
    struct addr at;
    int fd;
    uint8_t m[512];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof from;
    assert_ok(socket_bind_udp(&loopback, &fd, &at));
    house_open(&one, (struct plan){ .cert = cert_org, .dns = at });
    tell(&one, "dns", 0);
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
    ssize_t n = recvfrom(fd, m, sizeof m, 0, (struct sockaddr *)&from, &from_len);
    assert_true(n > 33);
    static const uint8_t record[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 77, 0, 4, 192, 0, 2, 1 };
    m[2] = 0x81, m[3] = 0x80, m[7] = 1, m[11] = 0; /* a reply, one answer, nothing behind it */
    memcpy(m + 33, record, sizeof record);
    size_t len = 33 + sizeof record;
    assert_int_equal(sendto(fd, m, len, 0, (struct sockaddr *)&from, from_len), len);
    expect(&one, "X-Outcome: OK 1 77");
    close(fd);
    tell(&one, "dns", 0); /* nobody there any more */
    expect(&one, "X-Outcome: FAIL 0 0");
    assert_int_equal(COUNT(&one, dns_questions), 2);
    assert_int_equal(COUNT(&one, dns_failures), 1);
    house_close(&one);
}

/* A question that is open when the worker stops is forgotten. */
static void stops_with_an_open_question(void **state) {
    (void)state;
    struct addr at;
    int fd;
    assert_ok(socket_bind_udp(&loopback, &fd, &at));
    house_open(&one, (struct plan){ .cert = cert_org, .dns = at });
    tell(&one, "dns", 0);
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&pfd, 1, PATIENCE_MS), 1);
    house_close(&one);
    close(fd);
}

/* ---- */

static struct cert_roots *roots_of(struct pki_id *ca) {
    char path[] = "/tmp/kith-peer-roots-XXXXXX", text[8192];
    struct buf b = buf_over(text, sizeof text);
    slice file = slice_str(path);
    struct cert_roots_config c = { .files = &file, .file_count = 1 };
    struct cert_roots *r;
    assert_ok(pki_put_chain(ca, &b));
    int fd = mkstemp(path);
    assert_int_equal(write(fd, b.ptr, b.len), b.len);
    close(fd);
    assert_ok(cert_roots_new(&c, &r, NULL));
    assert_int_equal(unlink(path), 0);
    return r;
}

static int set_up(void **state) {
    (void)state;
    slice org[] = { SLICE("example.org") }, com[] = { SLICE("example.com") };
    slice all[] = { SLICE("example.org"), SLICE("example.com") };
    wall_t now = clock_wall();
    if (crypto_init() != ERR_OK || addr_read(SLICE("127.0.0.1:0"), &loopback) != ERR_OK) return -1;
    struct pki_names names = { all, 2, 2, NULL, 0 };
    assert_ok(pki_local_ca_new(&names, now, 100, &local_ca));
    names = (struct pki_names){ org, 1, 1, NULL, 0 };
    assert_ok(pki_server_new(local_ca, &names, now, 100, &cert_org));
    names = (struct pki_names){ com, 1, 1, NULL, 0 };
    assert_ok(pki_server_new(local_ca, &names, now, 100, &cert_com));
    assert_ok(pki_device_ca_new(now, 100, &device_ca));
    assert_ok(pki_device_new(device_ca, SLICE("phone"), org[0], now, 100, &device));
    assert_ok(tls_tickets_new(3600000, &tickets));
    roots = roots_of(local_ca);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    struct pki_id *all[] = { local_ca, cert_org, cert_com, device_ca, device };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) pki_unref(all[i]);
    tls_tickets_unref(tickets);
    cert_roots_unref(roots);
    return mem_live() == 0 ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_domains_meet),
        cmocka_unit_test(phones_are_no_domains),
        cmocka_unit_test(tells_why_it_is_not_up),
        cmocka_unit_test(waits_no_longer_than_its_limits),
        cmocka_unit_test(cancelled_ones_are_not_answered),
        cmocka_unit_test(has_room_beyond_the_crowd),
        cmocka_unit_test(keeps_descriptors_for_its_own),
        cmocka_unit_test(pings_and_expects_pongs),
        cmocka_unit_test(ends_what_falls_silent),
        cmocka_unit_test(asks_dns),
        cmocka_unit_test(stops_with_an_open_question),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
