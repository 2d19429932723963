/* Real sockets on loopback, real TLS, real threads; a small core in place of ours. */
#include "unit.h"

#include "crypto/crypto.h"
#include "io/io.h"
#include "io/io_test_core.h"
#include "nat/strangers.h"
#include "nat/stun.h"
#include "os/loop.h"
#include "os/pki.h"
#include "os/socket.h"
#include "os/tls.h"
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pki_id *local_ca, *cert_org, *cert_com, *device_ca, *device;
static struct tls_tickets *tickets;

static struct tls_server *server_with(struct pki_id *first, struct pki_id *second) {
    struct pki_id *certs[] = { first, second };
    struct tls_server_config c = { .certs = certs,
                                   .cert_count = second ? 2 : 1,
                                   .device_cas = &device_ca,
                                   .device_ca_count = 1,
                                   .tickets = tickets };
    struct tls_server *s;
    assert_ok(tls_server_new(&c, &s));
    return s;
}

/* ---- workers ---- */

enum { WORKERS_MAX = 2, TLS_AT = 0, TCP_AT, UDP_AT, UDP6_AT };

struct house {
    unsigned count;
    struct core *cores[WORKERS_MAX];
    struct io *ios[WORKERS_MAX];
    pthread_t threads[WORKERS_MAX];
    bool joined;
    _Atomic unsigned traces;
};

static void on_store(void *ctx, unsigned worker, const struct store_change *change,
                     uint64_t ticket) {
    struct house *h = ctx;
    assert_int_equal(change->op, STORE_VALUE_PUT);
    assert_ok(io_post_stored(h->ios[worker], ticket, ERR_OK));
}

static void on_trace(void *ctx, unsigned worker, slice json) {
    struct house *h = ctx;
    (void)worker;
    assert_slice(json, "{\"trace\":1}");
    atomic_fetch_add(&h->traces, 1);
}

static void *run(void *io) {
    return io_run(io) == ERR_OK ? NULL : io;
}

static struct io_limits limits_now;

static void house_open(struct house *h, unsigned count) {
    static const uint8_t seed[32];
    struct io_listen listen[] = {
        [TLS_AT] = { .transport = FLOW_TLS, .lane = LANE_MAIN },
        [TCP_AT] = { .transport = FLOW_TCP, .lane = LANE_LEGACY },
        [UDP_AT] = { .transport = FLOW_UDP, .lane = LANE_LEGACY },
        [UDP6_AT] = { .transport = FLOW_UDP, .lane = LANE_LEGACY },
    };
    memset(h, 0, sizeof *h);
    h->count = count;
    for (int i = 0; i < 3; i++) assert_ok(addr_read(SLICE("127.0.0.1:0"), &listen[i].at));
    assert_ok(addr_read(SLICE("[::1]:0"), &listen[UDP6_AT].at));
    for (unsigned i = 0; i < count; i++) {
        h->cores[i] = core_new(NULL, i, seed, clock_now());
        assert_non_null(h->cores[i]);
        struct io_config config = {
            .worker = i,
            .listen = listen,
            .listen_count = ARRAY_LEN(listen),
            .tls = server_with(cert_org, cert_com),
            .limits = limits_now,
            .hooks = { .ctx = h, .on_store = on_store, .on_trace = on_trace },
            .core = h->cores[i]
        };
        assert_ok(io_new(&config, &h->ios[i], NULL));
        tls_server_unref(config.tls);
        for (size_t j = 0; j < ARRAY_LEN(listen); j++) listen[j].at = io_address(h->ios[i], j);
    }
    for (unsigned i = 0; i < count; i++) io_set_peers(h->ios[i], h->ios, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&h->threads[i], NULL, run, h->ios[i]), 0);
}

static void house_join(struct house *h) {
    for (unsigned i = 0; i < h->count; i++) {
        void *failed;
        assert_int_equal(pthread_join(h->threads[i], &failed), 0);
        assert_null(failed);
    }
    h->joined = true;
}

static void house_close(struct house *h) {
    for (unsigned i = 0; i < h->count && !h->joined; i++) io_stop(h->ios[i]);
    if (!h->joined) house_join(h);
    for (unsigned i = 0; i < h->count; i++) io_free(h->ios[i]);
    for (unsigned i = 0; i < h->count; i++) {
        assert_int_equal(fake_of(h->cores[i])->opened >= fake_of(h->cores[i])->closed, true);
        core_free(h->cores[i]);
    }
}

static uint64_t sum(struct house *h, size_t offset) {
    uint64_t n = 0;
    for (unsigned i = 0; i < h->count; i++)
        n += atomic_load((
            const _Atomic uint64_t *)(const void *)((const char *)io_counters(h->ios[i]) + offset));
    return n;
}
#define COUNTED(house, name) sum((house), offsetof(struct io_counters, name))

/* ---- a phone ---- */

struct phone {
    int fd;
    struct tls tls; /* ssl NULL: plain TCP */
    struct tls_wire wire;
    uint8_t out[TLS_WIRE_OUT_BYTES], in[16384];
    char text[300000]; /* what was heard last */
    size_t len, total;
    bool ended;
};

static void phone_shrink(const struct phone *p) { /* so that the server's bytes wait */
    int small = 65536;
    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
}

static bool phone_wait(const struct phone *p, short events, int ms) {
    struct pollfd pfd = { .fd = p->fd, .events = events };
    return poll(&pfd, 1, ms) == 1;
}

static void phone_push(struct phone *p, const void *bytes, size_t len) {
    const char *at = bytes;
    while (len) {
        ssize_t n = send(p->fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && !phone_wait(p, POLLOUT, PATIENCE_MS)) return;
        if (n <= 0) {
            if (socket_error(p->fd)) return; /* the server closed: reading will tell */
            continue;
        }
        at += n;
        len -= (size_t)n;
    }
}

static void phone_push_wire(struct phone *p) {
    phone_push(p, p->out, p->wire.out_len);
    p->wire.out_len = 0;
}

/* False: nothing came for so long. */
static bool phone_pull(struct phone *p, int ms) {
    if (p->ended || !phone_wait(p, POLLIN, ms)) return false;
    ssize_t n = recv(p->fd, p->in, sizeof p->in, 0);
    if (n <= 0) {
        p->ended = true;
        return true;
    }
    p->wire.in = p->in;
    p->wire.in_len = (size_t)n;
    return true;
}

static void phone_dial(struct phone *p, struct addr to) {
    memset(p, 0, sizeof *p);
    p->wire.out = p->out;
    p->wire.out_cap = sizeof p->out;
    assert_ok(socket_connect_tcp(&to, &p->fd));
    assert_true(phone_wait(p, POLLOUT, PATIENCE_MS));
}

static enum err phone_shake(struct phone *p) {
    enum err e;
    while ((e = tls_handshake(&p->tls)) == ERR_AGAIN) {
        phone_push_wire(p);
        if (!phone_pull(p, PATIENCE_MS)) return ERR_TIMEOUT;
        if (p->ended) return ERR_CLOSED;
    }
    phone_push_wire(p);
    return e;
}

static void phone_open(struct phone *p, const struct house *h, struct tls_client *c,
                       const char *name) {
    phone_dial(p, io_address(h->ios[0], c ? TLS_AT : TCP_AT));
    if (!c) return;
    assert_ok(tls_connect(c, &p->wire, name, &p->tls));
    assert_ok(phone_shake(p));
}

static void phone_say(struct phone *p, slice text) {
    if (!p->tls.ssl) {
        phone_push(p, text.ptr, text.len);
        return;
    }
    while (text.len) {
        slice piece = slice_head(text, TLS_WRITE_MAX);
        assert_ok(tls_write(&p->tls, piece.ptr, piece.len));
        phone_push_wire(p);
        text = slice_from(text, piece.len);
    }
}

/* Reads once into p->text. */
static bool phone_hear(struct phone *p, int ms) {
    if (!phone_pull(p, ms)) return false;
    if (p->ended) return true;
    if (p->len > 200000) { /* keep the end */
        memmove(p->text, p->text + p->len - 50000, 50000);
        p->len = 50000;
    }
    if (!p->tls.ssl) {
        memcpy(p->text + p->len, p->in, p->wire.in_len);
        p->len += p->wire.in_len;
        p->total += p->wire.in_len;
        return true;
    }
    size_t before = p->len;
    enum err e;
    for (size_t n;
         (e = tls_read(&p->tls, p->text + p->len, sizeof p->text - p->len, &n)) == ERR_OK;)
        p->len += n;
    p->total += p->len - before;
    if (e != ERR_AGAIN) p->ended = true;
    return true;
}

static bool phone_has(struct phone *p, const char *words, unsigned times) {
    slice text = slice_of(p->text, p->len);
    for (; times; times--) {
        size_t at = slice_find_slice(text, slice_str(words));
        if (at >= text.len) return false;
        text = slice_from(text, at + strlen(words));
    }
    return true;
}

static void phone_expect(struct phone *p, const char *words, unsigned times) {
    while (!phone_has(p, words, times)) {
        if (p->ended || !phone_hear(p, PATIENCE_MS)) {
            print_error("wanted %u times \"%s\", got \"%.*s\"%s\n", times, words,
                        (int)(p->len < 900 ? p->len : 900), p->text,
                        p->ended ? " and the end" : "");
            fail();
        }
    }
}

static void phone_expect_end(struct phone *p) {
    while (!p->ended)
        if (!phone_hear(p, PATIENCE_MS)) fail();
}

static void phone_close(struct phone *p) {
    tls_fini(&p->tls);
    close(p->fd);
}

static struct tls_client *client_with(struct tls_client_config c) {
    struct tls_client *client;
    if (!c.verify_nothing) {
        c.trust = &local_ca;
        c.trust_count = 1;
    }
    assert_ok(tls_client_new(&c, &client));
    return client;
}

#define REQUEST(wish) "OPTIONS sip:a SIP/2.0\r\nX-Do: " wish "\r\nContent-Length: 0\r\n\r\n"

static struct phone one, two, three; /* large: not on the stack */
static struct house house;

/* ---- tests ---- */

static void answers_on_every_transport(void **state) {
    (void)state;
    house_open(&house, 1);
    for (int i = 0; i < 4; i++) {
        struct tls_client_config config = { .only_tls12 = i == 1,
                                            .alpn = i == 2 ? TLS_ALPN_SIP : TLS_ALPN_NONE };
        struct tls_client *c = i < 3 ? client_with(config) : NULL;
        phone_open(&one, &house, c, "example.org");
        phone_say(&one, SLICE(REQUEST("echo")));
        phone_expect(&one, "X-Size: 56\r\n", 1);
        phone_expect(&one, "X-Local: 127.0.0.1:", 1);
        phone_say(&one, SLICE(REQUEST("timer 20")));
        phone_expect(&one, "200 OK", 2);
        phone_say(&one, SLICE(REQUEST("store")));
        phone_expect(&one, "200 OK", 3);
        phone_say(&one, SLICE(REQUEST("trace")));
        phone_expect(&one, "200 OK", 4);
        phone_close(&one);
        tls_client_unref(c);
    }
    assert_int_equal(house.traces, 4);
    EVENTUALLY(COUNTED(&house, connections) == 0);
    EVENTUALLY(fake_of(house.cores[0])->closed == 4);
    assert_int_equal(COUNTED(&house, handshakes_ok), 3);
    house_close(&house);
}

static void device_keys_reach_the_core(void **state) {
    (void)state;
    house_open(&house, 1);
    char want[80] = "X-Device: ";
    struct buf b = buf_over(want, sizeof want);
    uint8_t key[32];
    pki_key_hash(device, key);
    b.len = 10;
    buf_hex(&b, key, 32);
    buf_byte(&b, '\0');
    for (int tls12 = 0; tls12 < 2; tls12++) {
        struct tls_client *with = client_with((struct tls_client_config){
            .identity = device, .only_tls12 = tls12, .keep_session = true });
        for (int round = 0; round < 2; round++) {
            phone_open(&one, &house, with, "example.org");
            phone_say(&one, SLICE(REQUEST("echo")));
            phone_expect(&one, want, 1);
            assert_int_equal(tls_resumed(&one.tls), round);
            phone_close(&one);
        }
        tls_client_unref(with);
    }
    struct tls_client *without = client_with((struct tls_client_config){ 0 });
    phone_open(&one, &house, without, "example.org");
    phone_say(&one, SLICE(REQUEST("echo")));
    phone_expect(&one, "X-Device: \r\n", 1);
    phone_close(&one);
    tls_client_unref(without);
    house_close(&house);
}

static void pieces_and_heaps(void **state) {
    (void)state;
    static const char two_and_a_bit[] = REQUEST("echo") REQUEST("echo") "OPTIONS sip:b SIP";
    static char large[65535];
    house_open(&house, 1);
    struct tls_client *tls = client_with((struct tls_client_config){ 0 });
    for (int i = 0; i < 2; i++) {
        phone_open(&one, &house, i ? tls : NULL, "example.org");
        for (size_t j = 0; j < 56; j++) /* a record or a segment per byte */
            phone_say(&one, slice_of(&two_and_a_bit[j], 1));
        phone_expect(&one, "X-Size: 56", 1);
        phone_say(&one, slice_of(two_and_a_bit, sizeof two_and_a_bit - 1));
        phone_expect(&one, "X-Size: 56", 3);
        phone_say(&one, SLICE("/2.0\r\nl: 3\r\n\r\nabc"));
        phone_expect(&one, "X-Size: 34", 1);
        int head = snprintf(large, sizeof large, "MESSAGE sip:a SIP/2.0\r\nl: 65500\r\n\r\n");
        assert_int_equal(head + 65500, sizeof large);
        memset(large + head, 'b', sizeof large - (size_t)head);
        phone_say(&one, slice_of(large, sizeof large));
        phone_say(&one, slice_of(large, sizeof large));
        phone_expect(&one, "X-Size: 65535", 2);
        for (int j = 0; j < 500; j++) phone_say(&one, SLICE(REQUEST("echo")));
        phone_expect(&one, "X-Size: 56", 503);
        phone_close(&one);
    }
    tls_client_unref(tls);
    house_close(&house);
}

/* RFC 5626 3.5.1, 4.4.1: CRLFCRLF is answered with CRLF, a lone CRLF with nothing. */
static void answers_pings(void **state) {
    (void)state;
    house_open(&house, 1);
    struct tls_client *c = client_with((struct tls_client_config){ .alpn = TLS_ALPN_SIP });
    phone_open(&one, &house, c, "example.org");
    phone_say(&one, SLICE("\r\n\r\n"));
    phone_expect(&one, "\r\n", 1);
    assert_int_equal(one.len, 2);
    for (int i = 0; i < 4; i++) phone_say(&one, slice_of(i % 2 ? "\n" : "\r", 1));
    phone_expect(&one, "\r\n", 2);
    assert_int_equal(one.len, 4);
    one.len = 0;
    phone_say(&one, SLICE("\r\n" REQUEST("echo") "\r\n" REQUEST("echo")));
    phone_expect(&one, "X-Size: 56", 2);
    phone_say(&one, SLICE("\r\n\r" REQUEST("echo")));
    phone_expect(&one, "X-Size: 56", 3);
    assert_true(slice_starts(slice_of(one.text, one.len), SLICE("SIP/2.0 200"))); /* no pong */
    assert_false(phone_has(&one, "\r\n\r\n\r\n", 1));
    EVENTUALLY(fake_of(house.cores[0])->heard == 2); /* its flow is alive: core is told */
    phone_close(&one);
    tls_client_unref(c);
    house_close(&house);
}

static void bad_streams_are_closed(void **state) {
    (void)state;
    static const char *const rows[] = {
        "OPTIONS sip:a SIP/2.0\r\n\r\n",
        "OPTIONS sip:a SIP/2.0\r\nContent-Length: 65536\r\n\r\n",
        "OPTIONS sip:a SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\n",
    };
    house_open(&house, 1);
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        phone_open(&one, &house, c, "example.org");
        phone_say(&one, slice_str(rows[i]));
        phone_expect(&one, "400 Bad Request", 1);
        phone_expect_end(&one);
        phone_close(&one);
    }
    phone_open(&one, &house, c, "example.org");
    phone_say(&one, SLICE("OPTIONS sip:a SIP/2.0\r\nX: "));
    static char junk[32768];
    memset(junk, 'j', sizeof junk);
    phone_say(&one, slice_of(junk, sizeof junk));
    phone_expect(&one, "400 Bad Request", 1);
    phone_expect_end(&one);
    phone_close(&one);
    assert_int_equal(fake_of(house.cores[0])->bad, 4);
    tls_client_unref(c);
    house_close(&house);
}

#define UPGRADE                                                                                    \
    "GET /ws HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"       \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"                 \
    "Sec-WebSocket-Protocol: sip\r\n"

/* A frame whose mask is zero. */
static void phone_say_frame(struct phone *p, uint8_t first, slice payload) {
    uint8_t head[6] = { first, (uint8_t)(0x80 | payload.len) };
    assert_true(payload.len < 126);
    phone_say(p, slice_of(head, sizeof head));
    phone_say(p, payload);
}

/* RFC 6455, RFC 7118: over a WebSocket a message is a message, whatever pieces it came in. */
static void speaks_over_websockets(void **state) {
    (void)state;
    house_open(&house, 1);
    struct tls_client *c = client_with((struct tls_client_config){ .alpn = TLS_ALPN_HTTP });
    phone_open(&one, &house, c, "example.org");
    phone_say(&one, SLICE(UPGRADE "Origin: https://example.com\r\n\r\n"));
    phone_expect(&one, "HTTP/1.1 403 ", 1);
    phone_say(&one, SLICE(UPGRADE "Origin: https://example.org\r\n\r\n")); /* and goes on */
    phone_expect(&one, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1);
    phone_say_frame(&one, 0x81, SLICE(REQUEST("echo")));
    phone_expect(&one, "X-Size: 56\r\n", 1);
    slice text = SLICE(REQUEST("echo"));
    phone_say_frame(&one, 0x01, slice_head(text, 20));
    phone_say_frame(&one, 0x89, SLICE("still there?"));
    phone_say_frame(&one, 0x80, slice_from(text, 20));
    phone_expect(&one, "still there?", 1);
    phone_expect(&one, "X-Size: 56\r\n", 2);
    phone_say_frame(&one, 0x81, SLICE("\r\n\r\n"));
    phone_expect(&one, "\x81\x02\r\n", 1);
    EVENTUALLY(fake_of(house.cores[0])->heard == 2);
    phone_say(&one, SLICE("\x81\x02hi")); /* no mask */
    phone_expect(&one, "\x88\x02\x03\xea", 1);
    phone_expect_end(&one);
    phone_close(&one);
    assert_int_equal(COUNTED(&house, websockets), 1);
    assert_int_equal(fake_of(house.cores[0])->received, 2);
    tls_client_unref(c);
    house_close(&house);
}

/* Three connections, each with something to say at the same time: the one in a call is read first,
 * the younger idle one then, and the older idle one says more before its turn comes. What it said
 * first has waited for so long, what it said last has not. */
static void what_came_last_is_as_young_as_that(void **state) {
    (void)state;
    house_open(&house, 1);
    struct fake *fake = fake_of(house.cores[0]);
    struct phone *phones[] = { &one, &two, &three };
    for (uint64_t i = 0; i < 3; i++) {
        phone_open(phones[i], &house, NULL, NULL);
        phone_say(phones[i], i ? SLICE(REQUEST("silence")) : SLICE(REQUEST("call")));
        EVENTUALLY(fake->received == i + 1);
    }
    phone_say(&one, SLICE(REQUEST("hold")));
    EVENTUALLY(fake->held == 1);
    phone_say(&two, SLICE(REQUEST("silence")));
    phone_say(&three, SLICE(REQUEST("hold")));
    phone_say(&one, SLICE(REQUEST("silence")));
    atomic_store(&fake->let_go, 1);
    EVENTUALLY(fake->held == 2);
    assert_int_equal(fake->received, 6); /* not that of `two` */
    phone_say(&two, SLICE(REQUEST("silence")));
    mono_t before = clock_mono();
    EVENTUALLY(clock_mono() >= before + 30);
    atomic_store(&fake->let_go, 2);
    EVENTUALLY(fake->received == 8);
    assert_true(fake->ages[6] >= 30);
    assert_true(fake->ages[7] < fake->ages[6]);
    for (int i = 0; i < 3; i++) phone_close(phones[i]);
    house_close(&house);
}

static void other_protocols_are_turned_away(void **state) {
    (void)state;
    house_open(&house, 1);
    struct tls_client *plain = client_with((struct tls_client_config){ 0 });
    struct tls_client *http = client_with((struct tls_client_config){ .alpn = TLS_ALPN_HTTP });
    struct tls_client *turn = client_with((struct tls_client_config){ .alpn = TLS_ALPN_TURN });
    struct tls_client *clients[] = { plain, http, turn };
    for (int i = 0; i < 2; i++) {
        phone_open(&one, &house, clients[i], "example.org");
        phone_say(&one, SLICE("GET / HTTP/1.1\r\nHost: example.org\r\n"));
        phone_say(&one, SLICE("Connection: close\r\n\r\n"));
        phone_expect(&one, "HTTP/1.1 404 Not Found\r\n", 1);
        phone_expect_end(&one);
        phone_close(&one);
    }
    phone_open(&one, &house, turn, "example.org");
    phone_say(&one, SLICE("\x01\x01\x01\x01\x21\x12\xa4\x42xxxxxxxxxxxx"));
    phone_expect_end(&one);
    phone_close(&one);
    phone_open(&one, &house, plain, "example.org");
    phone_say(&one, SLICE("EHLO example.org\r\n"));
    phone_expect_end(&one);
    assert_int_equal(one.len, 0);
    phone_close(&one);
    phone_open(&one, &house, NULL, NULL); /* clear text to the TLS port */
    phone_close(&one);
    phone_dial(&one, io_address(house.ios[0], TLS_AT));
    phone_say(&one, SLICE(REQUEST("echo")));
    phone_expect_end(&one);
    phone_close(&one);
    assert_int_equal(fake_of(house.cores[0])->opened, 0);
    EVENTUALLY(COUNTED(&house, handshakes_failed) == 1);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) tls_client_unref(clients[i]);
    house_close(&house);
}

/* One limit short at a time: what comes in time must not be late on a busy machine. */
static void slow_ones_are_closed(void **state) {
    (void)state;
    struct io_limits usual = limits_now;
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    limits_now.handshake_ms = 150;
    house_open(&house, 1);
    phone_dial(&one, io_address(house.ios[0], TLS_AT)); /* no ClientHello */
    mono_t before = clock_mono();
    phone_expect_end(&one);
    assert_true(clock_mono() - before >= 100);
    phone_close(&one);
    assert_int_equal(COUNTED(&house, handshakes_slow), 1);
    house_close(&house);
    limits_now = usual;
    limits_now.decide_ms = 150;
    house_open(&house, 1);
    phone_open(&one, &house, c, "example.org"); /* no start line */
    phone_expect_end(&one);
    phone_close(&one);
    assert_int_equal(COUNTED(&house, closed_unfinished), 1);
    house_close(&house);
    limits_now = usual;
    limits_now.message_ms = 150;
    house_open(&house, 1);
    phone_open(&one, &house, c, "example.org"); /* half a message */
    phone_say(&one, SLICE(REQUEST("echo") "OPTIONS sip:a SIP/2.0\r\n"));
    phone_expect(&one, "X-Size", 1);
    phone_expect_end(&one);
    phone_close(&one);
    assert_int_equal(COUNTED(&house, closed_unfinished), 1);
    phone_open(&one, &house, c, "example.org"); /* a whole one: idle, and stays */
    phone_say(&one, SLICE(REQUEST("echo")));
    phone_expect(&one, "X-Size", 1);
    assert_false(phone_hear(&one, 400));
    phone_say(&one, SLICE(REQUEST("echo")));
    phone_expect(&one, "X-Size", 2);
    phone_close(&one);
    tls_client_unref(c);
    house_close(&house);
}

/* A message that never stops beginning: each byte in time, the whole never. */
static void trickles_do_not_reset_the_clock(void **state) {
    (void)state;
    limits_now.message_ms = 300;
    house_open(&house, 1);
    phone_open(&one, &house, NULL, NULL);
    phone_say(&one, SLICE(REQUEST("echo") "OPTIONS sip:a SIP/2.0\r\nX: "));
    phone_expect(&one, "X-Size", 1);
    mono_t before = clock_mono();
    while (!one.ended && clock_mono() - before < PATIENCE_MS) {
        phone_say(&one, SLICE("x"));
        (void)phone_hear(&one, 50);
    }
    assert_true(one.ended);
    assert_int_equal(COUNTED(&house, closed_unfinished), 1);
    phone_close(&one);
    house_close(&house);
}

/* 3 MB is more than the kernel's buffers of both sides take. */
#define MUCH "3000000"

static void slow_readers_are_closed(void **state) {
    (void)state;
    struct tls_client *tls = client_with((struct tls_client_config){ 0 });
    for (int i = 0; i < 2; i++) {
        struct tls_client *c = i ? tls : NULL;
        limits_now.out_bytes_max = 16000000;
        limits_now.stall_ms = 1000;
        house_open(&house, 1);
        phone_open(&one, &house, c, "example.org"); /* takes nothing */
        phone_shrink(&one);
        phone_say(&one, SLICE(REQUEST("flood " MUCH)));
        EVENTUALLY(COUNTED(&house, closed_stalled) == 1);
        phone_close(&one);
        phone_open(&one, &house, c, "example.org"); /* is late, but takes all of it */
        phone_shrink(&one);
        phone_say(&one, SLICE(REQUEST("flood " MUCH) REQUEST("echo")));
        (void)poll(NULL, 0, 50);
        phone_expect(&one, "X-Size: 56", 1);
        assert_true(one.total > 3000000);
        phone_close(&one);
        assert_int_equal(COUNTED(&house, closed_stalled), 1);
        house_close(&house);
        limits_now.out_bytes_max = 100000;
        limits_now.stall_ms = 3600000;
        house_open(&house, 1);
        phone_open(&one, &house, c, "example.org"); /* takes nothing: too much waits */
        phone_shrink(&one);
        phone_say(&one, SLICE(REQUEST("flood " MUCH)));
        EVENTUALLY(COUNTED(&house, closed_stalled) == 1);
        phone_close(&one);
        house_close(&house);
    }
    tls_client_unref(tls);
}

static void says_all_before_it_closes(void **state) {
    (void)state;
    limits_now.out_bytes_max = 16000000;
    limits_now.linger_ms = 60000;
    house_open(&house, 1);
    struct tls_client *tls = client_with((struct tls_client_config){ 0 });
    for (int i = 0; i < 2; i++) {
        phone_open(&one, &house, i ? tls : NULL, "example.org");
        phone_shrink(&one);
        /* What follows a close is not read, and yet all answers arrive: no RST. */
        phone_say(&one, SLICE(REQUEST("flood 150000") REQUEST("close") REQUEST("echo")));
        (void)poll(NULL, 0, 50);
        phone_say(&one, SLICE(REQUEST("echo")));
        phone_expect_end(&one);
        assert_true(one.total > 150000);
        assert_true(phone_has(&one, "X-Size: 57", 1));
        assert_false(phone_has(&one, "X-Size: 56", 1));
        phone_close(&one);
        phone_open(&one, &house, i ? tls : NULL, "example.org"); /* half-closed by us */
        phone_shrink(&one);
        phone_say(&one, SLICE(REQUEST("flood " MUCH) REQUEST("echo")));
        assert_int_equal(shutdown(one.fd, SHUT_WR), 0);
        phone_expect_end(&one);
        assert_true(one.total > 3000000);
        assert_true(phone_has(&one, "X-Size: 56", 1));
        phone_close(&one);
    }
    EVENTUALLY(COUNTED(&house, connections) == 0);
    EVENTUALLY(fake_of(house.cores[0])->closed == 4);
    tls_client_unref(tls);
    house_close(&house);
}

static void connection_limits(void **state) {
    (void)state;
    limits_now.per_source_max = 3;
    house_open(&house, 1);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        phone_open(&one, &house, NULL, NULL);
        phone_say(&one, SLICE(REQUEST("echo")));
        phone_expect(&one, "X-Size", 1);
        fds[i] = one.fd;
    }
    phone_open(&one, &house, NULL, NULL);
    phone_expect_end(&one);
    phone_close(&one);
    assert_int_equal(COUNTED(&house, refused_source), 1);
    close(fds[0]);
    EVENTUALLY(COUNTED(&house, connections) == 2);
    phone_open(&one, &house, NULL, NULL); /* there is room again */
    phone_say(&one, SLICE(REQUEST("echo")));
    phone_expect(&one, "X-Size", 1);
    phone_close(&one);
    close(fds[1]);
    close(fds[2]);
    house_close(&house);
    limits_now.per_source_max = 200;
    limits_now.connections_max = 1;
    house_open(&house, 1);
    phone_open(&one, &house, NULL, NULL);
    phone_say(&one, SLICE(REQUEST("echo")));
    phone_expect(&one, "X-Size", 1);
    phone_open(&two, &house, NULL, NULL);
    phone_expect_end(&two);
    assert_int_equal(COUNTED(&house, refused_full), 1);
    phone_close(&one);
    phone_close(&two);
    house_close(&house);
}

static void a_small_budget_serves_all_handshakes(void **state) {
    (void)state;
    limits_now.handshakes_per_turn = 1;
    house_open(&house, 1);
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    int fds[20];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) { /* these say nothing */
        phone_dial(&one, io_address(house.ios[0], TLS_AT));
        fds[i] = one.fd;
    }
    phone_open(&one, &house, c, "example.org");
    phone_say(&one, SLICE(REQUEST("echo")));
    phone_expect(&one, "X-Size", 1);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) close(fds[i]);
    EVENTUALLY(COUNTED(&house, handshakes_failed) == ARRAY_LEN(fds));
    phone_close(&one);
    tls_client_unref(c);
    house_close(&house);
}

static void survives_without_descriptors(void **state) {
    (void)state;
    struct rlimit before, tight;
    house_open(&house, 1);
    int next = dup(STDIN_FILENO);
    assert_true(next > 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = (rlim_t)next + 1; /* one for the phone, none for the server */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    phone_dial(&one, io_address(house.ios[0], TCP_AT));
    phone_say(&one, SLICE(REQUEST("echo")));
    assert_false(phone_hear(&one, 250));
    assert_true(COUNTED(&house, turns) < 50); /* it waits, it does not spin */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    phone_expect(&one, "X-Size", 1);
    phone_close(&one);
    house_close(&house);
}

/* Does the server show a certificate for this name that a client takes? */
static bool shows(const char *name) {
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    phone_dial(&one, io_address(house.ios[0], TLS_AT));
    assert_ok(tls_connect(c, &one.wire, name, &one.tls));
    enum err e = phone_shake(&one);
    phone_close(&one);
    tls_client_unref(c);
    return e == ERR_OK;
}

/* RFC 6797 7.2: said where a browser can trust the certificate, and never of localhost. */
static bool says_hsts(struct tls_client *http, const char *host) {
    char text[128];
    struct buf b = buf_over(text, sizeof text);
    buf_fmt(&b, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    phone_open(&one, &house, http, "example.com");
    phone_say(&one, buf_slice(&b));
    phone_expect(&one, "HTTP/1.1 404", 1);
    phone_expect_end(&one);
    bool says = phone_has(&one, "Strict-Transport-Security: ", 1);
    phone_close(&one);
    return says;
}

static void hsts_follows_the_certificate(void **state) {
    (void)state;
    house_open(&house, 1); /* under a local CA */
    struct tls_client *http = client_with((struct tls_client_config){ .alpn = TLS_ALPN_HTTP });
    assert_false(says_hsts(http, "example.com"));
    assert_ok(io_post_tls(house.ios[0], server_with(cert_com, NULL), NULL, true));
    EVENTUALLY(says_hsts(http, "example.com"));
    assert_false(says_hsts(http, "localhost:8443"));
    assert_ok(io_post_tls(house.ios[0], server_with(cert_com, NULL), NULL, false));
    EVENTUALLY(!says_hsts(http, "example.com"));
    tls_client_unref(http);
    house_close(&house);
}

static void names_choose_certificates_and_new_ones_come_live(void **state) {
    (void)state;
    house_open(&house, 1);
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    phone_open(&two, &house, c, "example.org");
    assert_true(shows("example.org"));
    assert_true(shows("example.com")); /* the client checks the name */
    assert_true(shows("127.0.0.1"));   /* no SNI: the first */
    assert_false(shows("example.net"));
    assert_ok(io_post_tls(house.ios[0], server_with(cert_com, NULL), NULL, true));
    EVENTUALLY(!shows("example.org"));
    assert_true(shows("example.com"));
    phone_say(&two, SLICE(REQUEST("echo"))); /* the old connection goes on */
    phone_expect(&two, "X-Size", 1);
    phone_close(&two);
    tls_client_unref(c);
    house_close(&house);
}

static void mail_crosses_workers(void **state) {
    (void)state;
    house_open(&house, 2);
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    bool met[2] = { false, false };
    for (int i = 0; i < 64 && !(met[0] && met[1]); i++) { /* the kernel spreads them */
        uint64_t before = COUNTED(&house, handshakes_ok);
        uint64_t first = atomic_load(&io_counters(house.ios[0])->handshakes_ok);
        phone_open(&one, &house, c, "example.org");
        EVENTUALLY(COUNTED(&house, handshakes_ok) == before + 1);
        unsigned mine = atomic_load(&io_counters(house.ios[0])->handshakes_ok) == first;
        met[mine] = true;
        for (int j = 0; j < 100; j++)
            phone_say(&one, mine ? SLICE(REQUEST("mail 0")) : SLICE(REQUEST("mail 1")));
        phone_expect(&one, mine ? "X-Worker: 0" : "X-Worker: 1", 100);
        one.len = 0;
        phone_say(&one, mine ? SLICE(REQUEST("mail 1")) : SLICE(REQUEST("mail 0"))); /* to itself */
        phone_expect(&one, mine ? "X-Worker: 1" : "X-Worker: 0", 1);
        phone_say(&one, SLICE(REQUEST("mail 9"))); /* no such worker */
        phone_expect(&one, "503 Service Unavailable", 1);
        phone_close(&one);
    }
    assert_true(met[0] && met[1]);
    assert_true(fake_of(house.cores[0])->mails >= 100 && fake_of(house.cores[1])->mails >= 100);
    tls_client_unref(c);
    house_close(&house);
}

static void udp_ask(int at, const char *local_ip) {
    struct addr to = io_address(house.ios[0], (size_t)at), from, bound;
    struct sockaddr_storage sa;
    int fd;
    char text[2048];
    assert_ok(addr_read(at == UDP_AT ? SLICE("127.0.0.1:0") : SLICE("[::1]:0"), &from));
    assert_ok(socket_bind_udp(&from, &fd, &bound));
    socklen_t len = addr_to_sockaddr(&to, &sa);
    for (int i = 0; i < 40; i++) { /* more than a batch */
        assert_int_equal(sendto(fd, "\r\n", 2, 0, (struct sockaddr *)&sa, len), 2);
        assert_int_equal(sendto(fd, REQUEST("echo"), 56, 0, (struct sockaddr *)&sa, len), 56);
    }
    for (int i = 0; i < 40; i++) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        ssize_t n = recv(fd, text, sizeof text, 0);
        assert_true(n > 0);
        assert_true(slice_find_slice(slice_of(text, (size_t)n), slice_str(local_ip)) < (size_t)n);
    }
    close(fd);
}

/* RFC 5626 8: the SIP port is a STUN server for keep-alives, and keeps nothing for it. */
static void answers_stun(void **state) {
    (void)state;
    house_open(&house, 1);
    struct addr to = io_address(house.ios[0], UDP_AT), from, bound, mapped;
    struct sockaddr_storage sa;
    struct stun_msg m;
    uint8_t mem[256], id[STUN_ID_BYTES] = "a keepalive";
    int fd;
    assert_ok(addr_read(SLICE("127.0.0.1:0"), &from));
    assert_ok(socket_bind_udp(&from, &fd, &bound));
    socklen_t len = addr_to_sockaddr(&to, &sa);
    struct stun_writer w = stun_begin(mem, sizeof mem, STUN_BINDING, STUN_INDICATION, id);
    slice bytes = stun_end(&w); /* an indication gets no answer */
    assert_true(sendto(fd, bytes.ptr, bytes.len, 0, (struct sockaddr *)&sa, len) > 0);
    w = stun_begin(mem, sizeof mem, STUN_BINDING, STUN_REQUEST, id);
    bytes = stun_end(&w);
    assert_true(sendto(fd, bytes.ptr, bytes.len, 0, (struct sockaddr *)&sa, len) > 0);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    ssize_t n = recv(fd, mem, sizeof mem, 0);
    assert_true(n > 0);
    assert_ok(stun_read(slice_of((const char *)mem, (size_t)n), &m));
    assert_int_equal(m.class, STUN_SUCCESS);
    assert_memory_equal(m.id, id, sizeof id);
    assert_ok(stun_find_addr(&m, STUN_XOR_MAPPED_ADDRESS, &mapped));
    assert_true(addr_eq(&mapped, &bound));
    assert_int_equal(fake_of(house.cores[0])->opened, 0);
    EVENTUALLY(fake_of(house.cores[0])->heard == 1);
    EVENTUALLY(COUNTED(&house, datagrams_out) == 1); /* counted at the end of the turn */
    close(fd);
    house_close(&house);
}

/* Answers that need no proof are bounded there as on the relay's port: who is named as the source
 * is not shot at. It takes more of them than come back in a second. */
static void nobody_is_shot_at_from_the_sip_port(void **state) {
    (void)state;
    house_open(&house, 1);
    struct addr to = io_address(house.ios[0], UDP_AT), from, other, bound;
    struct sockaddr_storage sa;
    uint8_t mem[64], id[STUN_ID_BYTES] = "who am I";
    int fd, bystander;
    assert_ok(addr_read(SLICE("127.0.0.1:0"), &from));
    assert_ok(addr_read(SLICE("127.0.0.2:0"), &other));
    assert_ok(socket_bind_udp(&from, &fd, &bound));
    assert_ok(socket_bind_udp(&other, &bystander, &bound));
    socklen_t len = addr_to_sockaddr(&to, &sa);
    struct stun_writer w = stun_begin(mem, sizeof mem, STUN_BINDING, STUN_REQUEST, id);
    slice bytes = stun_end(&w);
    uint64_t sent = 0;
    while (COUNTED(&house, datagrams_dropped) == 0 && sent < 100000) {
        for (unsigned i = 0; i < 100; i++)
            sent += sendto(fd, bytes.ptr, bytes.len, 0, (struct sockaddr *)&sa, len) > 0;
        EVENTUALLY(COUNTED(&house, datagrams_in) == sent);
    }
    assert_true(COUNTED(&house, datagrams_dropped) > 0);
    EVENTUALLY(COUNTED(&house, datagrams_out) + COUNTED(&house, datagrams_dropped) == sent);
    assert_true(COUNTED(&house, datagrams_out) >= STRANGER_ANSWERS_BURST);
    assert_true(sendto(bystander, bytes.ptr, bytes.len, 0, (struct sockaddr *)&sa, len) > 0);
    struct pollfd p = { .fd = bystander, .events = POLLIN };
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    close(fd);
    close(bystander);
    house_close(&house);
}

static void datagrams_come_and_go(void **state) {
    (void)state;
    house_open(&house, 1);
    udp_ask(UDP_AT, "X-Local: 127.0.0.1:");
    udp_ask(UDP6_AT, "X-Local: [::1]:");
    assert_int_equal(COUNTED(&house, datagrams_in), 160);
    EVENTUALLY(COUNTED(&house, datagrams_out) == 80);
    assert_int_equal(fake_of(house.cores[0])->received, 80);
    house_close(&house);
}

static void set_flag(struct io *io, void *ctx) {
    assert_int_equal(io_worker(io), 0);
    assert_non_null(io_core(io));
    atomic_store((atomic_bool *)ctx, true);
}

static void calls_drains_and_ends(void **state) {
    (void)state;
    house_open(&house, 1);
    atomic_bool called = false;
    assert_ok(io_post_call(house.ios[0], set_flag, &called));
    EVENTUALLY(atomic_load(&called));
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    phone_open(&one, &house, c, "example.org");
    phone_say(&one, SLICE(REQUEST("echo")));
    phone_expect(&one, "X-Size", 1);
    assert_ok(io_drain(house.ios[0], 60000)); /* no call is up: at once */
    phone_expect_end(&one);
    house_join(&house);
    assert_int_equal(fake_of(house.cores[0])->drained, 1);
    assert_int_equal(fake_of(house.cores[0])->closed, 1);
    phone_close(&one);
    tls_client_unref(c);
    house_close(&house);
}

static void says_where_it_cannot_listen(void **state) {
    (void)state;
    static const uint8_t seed[32];
    char text[256];
    struct buf why = buf_over(text, sizeof text);
    struct io_listen listen = { .transport = FLOW_TCP, .lane = LANE_LEGACY };
    struct io *io;
    struct core *core = core_new(NULL, 0, seed, clock_now());
    assert_non_null(core);
    assert_ok(addr_read(SLICE("192.0.2.1:5060"), &listen.at));
    struct io_config config = {
        .listen = &listen, .listen_count = 1, .limits = limits_now, .core = core
    };
    assert_err(io_new(&config, &io, &why), ERR_MISSING);
    assert_true(slice_starts(buf_slice(&why), SLICE("cannot listen on 192.0.2.1:5060: ")));
    core_free(core);
}

static enum err make_io(void *core) {
    struct io_listen listen[] = { { .transport = FLOW_TCP }, { .transport = FLOW_UDP } };
    for (size_t i = 0; i < ARRAY_LEN(listen); i++)
        assert_ok(addr_read(SLICE("127.0.0.1:0"), &listen[i].at));
    struct io_config config = {
        .listen = listen, .listen_count = 2, .limits = limits_now, .core = core
    };
    struct io *io;
    enum err e = io_new(&config, &io, NULL);
    if (e == ERR_OK) io_free(io);
    return e;
}

static void survives_short_memory(void **state) {
    (void)state;
    static const uint8_t seed[32];
    struct core *core = core_new(NULL, 0, seed, clock_now());
    assert_non_null(core);
    assert_int_equal(unit_oom_ctx(make_io, core), 10);
    core_free(core);
}

/* ---- */

static int default_limits(void **state) {
    (void)state;
    io_limits_defaults(&limits_now);
    return 0;
}

static int set_up(void **state) {
    (void)state;
    slice org[] = { SLICE("example.org") }, com[] = { SLICE("example.com") };
    slice all[] = { SLICE("example.org"), SLICE("example.com") };
    struct addr ip;
    wall_t now = clock_wall();
    if (crypto_init() != ERR_OK || addr_read_ip(SLICE("127.0.0.1"), &ip) != ERR_OK) return -1;
    struct pki_names names = { all, 2, 2, &ip, 1 };
    assert_ok(pki_local_ca_new(&names, now, 100, &local_ca));
    names = (struct pki_names){ org, 1, 1, &ip, 1 };
    assert_ok(pki_server_new(local_ca, &names, now, 100, &cert_org));
    names = (struct pki_names){ com, 1, 1, &ip, 1 };
    assert_ok(pki_server_new(local_ca, &names, now, 100, &cert_com));
    assert_ok(pki_device_ca_new(now, 100, &device_ca));
    assert_ok(pki_device_new(device_ca, SLICE("phone"), org[0], now, 100, &device));
    assert_ok(tls_tickets_new(3600000, &tickets));
    return default_limits(NULL);
}

static int tear_down(void **state) {
    (void)state;
    struct pki_id *all[] = { local_ca, cert_org, cert_com, device_ca, device };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) pki_unref(all[i]);
    tls_tickets_unref(tickets);
    return mem_live() == 0 ? 0 : -1;
}

#define TEST(name) cmocka_unit_test_setup(name, default_limits)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(answers_on_every_transport),
        TEST(device_keys_reach_the_core),
        TEST(pieces_and_heaps),
        TEST(answers_pings),
        TEST(bad_streams_are_closed),
        TEST(speaks_over_websockets),
        TEST(what_came_last_is_as_young_as_that),
        TEST(other_protocols_are_turned_away),
        TEST(slow_ones_are_closed),
        TEST(trickles_do_not_reset_the_clock),
        TEST(slow_readers_are_closed),
        TEST(says_all_before_it_closes),
        TEST(connection_limits),
        TEST(a_small_budget_serves_all_handshakes),
        TEST(survives_without_descriptors),
        TEST(names_choose_certificates_and_new_ones_come_live),
        TEST(hsts_follows_the_certificate),
        TEST(mail_crosses_workers),
        TEST(answers_stun),
        TEST(nobody_is_shot_at_from_the_sip_port),
        TEST(datagrams_come_and_go),
        TEST(calls_drains_and_ends),
        TEST(says_where_it_cannot_listen),
        TEST(survives_short_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
