/* A server of the test's own on loopback answers what it is told to; one thread drives both ends.
 */
#include "unit.h"

#include "os/loop.h"
#include "os/resolver.h"
#include "os/socket.h"
#include <fcntl.h>
#include <unistd.h>

enum { A = 1 };
#define ME SLICE("sip.example.org")

struct server { /* one address, UDP and TCP */
    struct addr at;
    int udp, tcp, accepted;
    unsigned udp_questions, tcp_questions;
    bool is_silent, cuts, refuses;
};
static struct loop *loop;

static enum err server_open(struct server *s, const char *ip, uint16_t port) {
    struct addr at;
    *s = (struct server){ .accepted = -1 };
    assert_ok(addr_read_ip(slice_str(ip), &at));
    at.port = port;
    assert_ok(socket_listen_tcp(&at, &s->tcp, &s->at));
    assert_ok(socket_bind_udp(&s->at, &s->udp, &at));
    return ERR_OK;
}
static void server_close(struct server *s) {
    close(s->udp);
    close(s->tcp);
    if (s->accepted >= 0) close(s->accepted);
}

/* The question's own bytes come back as the reply, with the flags that make it one. */
static void turn_around(struct server *s, uint8_t *m, bool is_udp) {
    m[2] = (uint8_t)(0x81 | (is_udp && s->cuts ? 2 : 0));
    m[3] = (uint8_t)(0x80 | (s->refuses ? 5 : 3)); /* REFUSED or NXDOMAIN */
}

static void server_serve(struct server *s) {
    uint8_t m[2048];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof from;
    ssize_t n = recvfrom(s->udp, m, sizeof m, 0, (struct sockaddr *)&from, &from_len);
    if (n > 12 && !s->is_silent) {
        s->udp_questions++;
        turn_around(s, m, true);
        assert_int_equal(sendto(s->udp, m, (size_t)n, 0, (struct sockaddr *)&from, from_len), n);
    }
    struct addr peer;
    if (s->accepted < 0 && socket_accept(s->tcp, &s->accepted, &peer) != ERR_OK) s->accepted = -1;
    if (s->accepted < 0) return;
    n = recv(s->accepted, m, sizeof m, 0);
    if (n > 14) {
        s->tcp_questions++;
        turn_around(s, m + 2, false);
        assert_int_equal(send(s->accepted, m, (size_t)n, MSG_NOSIGNAL), n);
    }
}

/* Turns of the loop until a reply is there. */
static bool wait_reply(struct resolver *r, struct server *s, unsigned servers,
                       struct resolver_reply *out) {
    mono_t end = clock_mono() + 10000;
    while (!resolver_next(r, out)) {
        if (clock_mono() > end) return false;
        for (unsigned i = 0; i < servers; i++) server_serve(&s[i]);
        loop_prepare_sleep(loop);
        assert_ok(loop_wait(loop, 1));
        loop_dispatch(loop, &(struct loop_shares){ .next = 1 });
        resolver_run(r, clock_mono());
    }
    return true;
}

static struct resolver *resolver_for(const struct server *s, unsigned servers) {
    struct addr at[2];
    for (unsigned i = 0; i < servers; i++) at[i] = s[i].at;
    struct resolver *r;
    struct resolver_config c = {
        .loop = loop, .servers = at, .server_count = servers, .try_ms = 30, .tries = 2
    };
    assert_ok(resolver_new(&c, &r));
    return r;
}

static void asks_and_gives_the_bytes(void **state) {
    (void)state;
    struct server s;
    struct resolver_reply reply;
    server_open(&s, "127.0.0.1", 0);
    struct resolver *r = resolver_for(&s, 1);
    assert_int_equal(resolver_wake_at(r), MONO_NEVER);
    assert_ok(resolver_ask(r, ME, A, 7, clock_mono()));
    assert_ok(resolver_ask(r, SLICE("_sips._tcp.example.org"), 33, 8, clock_mono()));
    assert_true(resolver_wake_at(r) < MONO_NEVER);
    for (int i = 0; i < 2; i++) {
        assert_true(wait_reply(r, &s, 1, &reply));
        assert_true(reply.ticket == 7 || reply.ticket == 8);
        assert_true(reply.message.len > 12); /* a "no" too */
        assert_int_equal(slice_find_slice(reply.message, SLICE("\7example\3org")) < 40, true);
    }
    assert_int_equal(s.udp_questions, 2);
    assert_false(resolver_next(r, &reply));
    resolver_run(r, clock_mono() + 1000);
    assert_int_equal(resolver_wake_at(r), MONO_NEVER);
    resolver_free(r);
    server_close(&s);
}

/* RFC 7766 5: cut short over UDP, asked again over TCP. */
static void asks_again_over_tcp(void **state) {
    (void)state;
    struct server s;
    struct resolver_reply reply;
    server_open(&s, "127.0.0.1", 0);
    s.cuts = true;
    struct resolver *r = resolver_for(&s, 1);
    assert_ok(resolver_ask(r, ME, A, 7, clock_mono()));
    assert_true(wait_reply(r, &s, 1, &reply));
    assert_true(reply.message.len > 12);
    assert_int_equal(reply.message.ptr[2] & 2, 0);
    assert_int_equal(s.udp_questions, 1);
    assert_int_equal(s.tcp_questions, 1);
    resolver_free(r);
    server_close(&s);
}

static void goes_to_the_next_server(void **state) {
    (void)state;
    for (int how = 0; how < 2; how++) {
        struct server s[2];
        struct resolver_reply reply;
        server_open(&s[0], "127.0.0.1", 0);
        server_open(&s[1], "127.0.0.2", 0);
        s[0].is_silent = how == 0;
        s[0].refuses = how == 1;
        struct resolver *r = resolver_for(s, 2);
        assert_ok(resolver_ask(r, ME, A, 7, clock_mono()));
        assert_true(wait_reply(r, s, 2, &reply));
        assert_true(reply.message.len > 12);
        assert_int_equal(s[1].udp_questions, 1);
        resolver_free(r);
        server_close(&s[0]);
        server_close(&s[1]);
    }
}

static void tells_when_nobody_answers(void **state) {
    (void)state;
    struct server s;
    struct resolver_reply reply;
    server_open(&s, "127.0.0.1", 0);
    s.is_silent = true;
    struct resolver *r = resolver_for(&s, 1);
    assert_ok(resolver_ask(r, ME, A, 7, clock_mono()));
    assert_true(wait_reply(r, &s, 1, &reply));
    assert_int_equal(reply.ticket, 7);
    assert_int_equal(reply.message.len, 0);
    server_close(&s); /* from here on the port is closed */
    assert_ok(resolver_ask(r, ME, A, 9, clock_mono()));
    assert_true(wait_reply(r, &s, 0, &reply));
    assert_int_equal(reply.message.len, 0);
    resolver_free(r);
}

static void refuses_what_is_no_name(void **state) {
    (void)state;
    static const char *const names[] = {
        "",
        ".",
        "a..b",
        ".a",
        "a.",
        "a b.org",
        "a\\.b",
        "x234567890123456789012345678901234567890123456789012345678901234.org",
        "\xc3\xa4.org",
    };
    struct server s;
    server_open(&s, "127.0.0.1", 0);
    struct resolver *r = resolver_for(&s, 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_err(resolver_ask(r, slice_str(names[i]), A, 1, 0), ERR_BAD);
    assert_err(resolver_ask(r, SLICE("a\0b"), A, 1, 0), ERR_BAD);
    resolver_free(r);
    server_close(&s);
}

static void asks_no_more_than_its_limit(void **state) {
    (void)state;
    struct server s;
    server_open(&s, "127.0.0.1", 0);
    struct resolver *r = resolver_for(&s, 1);
    for (unsigned i = 0; i < LIMIT_DNS_QUESTIONS; i++) assert_ok(resolver_ask(r, ME, A, i, 0));
    assert_err(resolver_ask(r, ME, A, 1, 0), ERR_FULL);
    resolver_free(r); /* and forgets them all */
    server_close(&s);
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void follows_resolv_conf(void **state) {
    (void)state;
    struct server s[2];
    struct resolver_reply reply;
    struct resolver *r;
    char path[] = "/tmp/kith-resolver-XXXXXX";
    close(mkstemp(path));
    write_file(path, "nameserver 127.0.0.1\n");
    server_open(&s[0], "127.0.0.1", 0);
    server_open(&s[1], "127.0.0.2", s[0].at.port);
    struct resolver_config c = {
        .loop = loop, .resolv_conf = path, .port = s[0].at.port, .try_ms = 30, .tries = 2
    };
    assert_ok(resolver_new(&c, &r));
    mono_t now = clock_mono();
    s[0].is_silent = true;
    assert_ok(resolver_ask(r, ME, A, 1, now)); /* under way while the file changes */
    write_file(path, "nameserver 127.0.0.2\n# longer\n");
    assert_ok(resolver_ask(r, ME, A, 2, now + 1)); /* too soon to look again... */
    assert_ok(resolver_ask(r, ME, A, 3, now + 5000));
    for (int i = 0; i < 3; i++) {
        assert_true(wait_reply(r, s, 2, &reply));
        assert_int_equal(reply.message.len > 0, reply.ticket == 3);
    }
    assert_ok(resolver_ask(r, ME, A, 4, now + 5001));
    assert_true(wait_reply(r, s, 2, &reply));
    assert_int_equal(s[0].udp_questions, 0);
    assert_int_equal(s[1].udp_questions, 2);
    resolver_free(r);
    assert_int_equal(unlink(path), 0);
    server_close(&s[0]);
    server_close(&s[1]);
}

/* c-ares does without some of what it asks for, so a run that met the failure may still go well. */
static void lives_with_little_memory(void **state) {
    (void)state;
    struct server s;
    struct resolver_reply reply;
    int met = 0;
    server_open(&s, "127.0.0.1", 0);
    for (bool failed = true; failed; met++) {
        struct resolver *r;
        struct resolver_config c = {
            .loop = loop, .servers = &s.at, .server_count = 1, .try_ms = 30, .tries = 2
        };
        int64_t live = mem_live();
        mem_fail_at(met);
        enum err e = resolver_new(&c, &r);
        if (e == ERR_OK) {
            e = resolver_ask(r, ME, A, 7, clock_mono());
            if (e == ERR_OK) assert_true(wait_reply(r, &s, 1, &reply));
            resolver_free(r);
        }
        failed = mem_failed();
        mem_fail_at(-1);
        assert_true(e == ERR_OK || (failed && e == ERR_MEMORY));
        assert_int_equal(mem_live(), live);
    }
    assert_true(met > 5);
    server_close(&s);
}

static int setup(void **state) {
    (void)state;
    return loop_new(&loop) == ERR_OK ? 0 : -1;
}
static int teardown(void **state) {
    (void)state;
    loop_free(loop);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_and_gives_the_bytes), cmocka_unit_test(asks_again_over_tcp),
        cmocka_unit_test(goes_to_the_next_server),  cmocka_unit_test(tells_when_nobody_answers),
        cmocka_unit_test(refuses_what_is_no_name),  cmocka_unit_test(asks_no_more_than_its_limit),
        cmocka_unit_test(follows_resolv_conf),      cmocka_unit_test(lives_with_little_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
