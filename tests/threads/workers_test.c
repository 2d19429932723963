/* Two workers with the real core on real sockets, every message made to cross between them, and
 * phones in threads of their own that call each other over TLS. Under ThreadSanitizer this is the
 * proof that what the workers share is shared properly; elsewhere that no call is lost. */
#include "unit.h"

#include "base/buf.h"
#include "core/core.h"
#include "crypto/crypto.h"
#include "io/io.h"
#include "os/loop.h"
#include "os/pki.h"
#include "os/socket.h"
#include "os/tls.h"
#include "sip/hdr.h"
#include "sip/msg.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    WORKERS = 2,
    LINES = 4, /* threads of phones */
    PHONES = 5,
    CALLS = 75,                  /* of each thread */
    PEOPLE = LINES * PHONES + 1, /* the last one is the first to connect */
    PATIENCE_MS = 30000,
    TEXT_MAX = 32768
};

/* ---- the server ---- */

static struct server {
    struct store *store;
    pthread_mutex_t store_lock;
    struct node *node;
    struct core *cores[WORKERS];
    struct io *ios[WORKERS];
    pthread_t threads[WORKERS];
    struct addr at;
} server;
static struct pki_id *local_ca, *certificate, *device_ca, *devices[PEOPLE];
static struct tls_tickets *tickets;
static const uint8_t seal[32] = { 7 };

/* As the store thread would: each commit alone, its answer as a letter. */
static void on_store(void *ctx, unsigned worker, const struct store_change *change,
                     uint64_t ticket) {
    (void)ctx;
    (void)pthread_mutex_lock(&server.store_lock);
    enum err e = store_commit(server.store, change, 1);
    (void)pthread_mutex_unlock(&server.store_lock);
    if (ticket && io_post_stored(server.ios[worker], ticket, e) != ERR_OK) abort();
}

static void *run(void *io) {
    if (io_run(io) != ERR_OK) abort();
    return NULL;
}

static void put_person(uint32_t number) {
    char name[16];
    (void)snprintf(name, sizeof name, "u%u", number);
    struct store_change change = { .op = STORE_ACCOUNT_PUT, .durability = STORE_FULL };
    change.account = (struct account_row){ .id = number + 1,
                                           .user = slice_str(name),
                                           .domain = SLICE("example.org") };
    assert_ok(store_commit(server.store, &change, 1));
    change = (struct store_change){ .op = STORE_DEVICE_PUT, .durability = STORE_FULL };
    change.device = (struct device_row){ .id = number + 1,
                                         .account_id = number + 1,
                                         .kind = DEVICE_CERTIFICATE,
                                         .name = SLICE("phone") };
    pki_key_hash(devices[number], change.device.key_hash);
    assert_ok(store_commit(server.store, &change, 1));
}

static void make_certificates(wall_t now) {
    const slice names_of[] = { SLICE("example.org") };
    const struct pki_names names = { .dns = names_of, .dns_count = 1, .domain_count = 1 };
    assert_ok(pki_local_ca_new(&names, now, 100, &local_ca));
    assert_ok(pki_server_new(local_ca, &names, now, 100, &certificate));
    assert_ok(pki_device_ca_new(now, 100, &device_ca));
    for (uint32_t i = 0; i < PEOPLE; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "phone-with-number-%u", i);
        assert_ok(pki_device_new(device_ca, slice_str(name), names_of[0], now, 100, &devices[i]));
    }
    assert_ok(tls_tickets_new(3600000, &tickets));
}

static void server_open(void) {
    struct node_config config;
    struct io_listen listen = { .transport = FLOW_TLS, .lane = LANE_MAIN };
    struct now now = clock_now();
    make_certificates(now.wall);
    (void)pthread_mutex_init(&server.store_lock, NULL);
    server.store = store_memory_new();
    assert_non_null(server.store);
    for (uint32_t i = 0; i < PEOPLE; i++) put_person(i);
    node_config_defaults(&config);
    config.workers = WORKERS;
    config.domain_count = 1;
    config.domains[0] = SLICE("example.org");
    config.force_mail = true;
    config.seal_key = seal;
    assert_ok(node_new(&config, server.store, now, &server.node));
    assert_ok(addr_read(SLICE("127.0.0.1:0"), &listen.at));
    for (unsigned i = 0; i < WORKERS; i++) {
        struct tls_server_config tls = { .certs = &certificate,
                                         .cert_count = 1,
                                         .device_cas = &device_ca,
                                         .device_ca_count = 1,
                                         .tickets = tickets };
        struct io_config c = { .worker = i, .listen = &listen, .listen_count = 1 };
        uint8_t seed[32] = { (uint8_t)i };
        server.cores[i] = core_new(server.node, i, seed, now);
        assert_non_null(server.cores[i]);
        c.core = server.cores[i];
        c.hooks.on_store = on_store;
        io_limits_defaults(&c.limits);
        assert_ok(tls_server_new(&tls, &c.tls));
        assert_ok(io_new(&c, &server.ios[i], NULL));
        tls_server_unref(c.tls);
        listen.at = server.at = io_address(server.ios[i], 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) io_set_peers(server.ios[i], server.ios, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&server.threads[i], NULL, run, server.ios[i]), 0);
}

static void server_close(void) {
    for (unsigned i = 0; i < WORKERS; i++) io_stop(server.ios[i]);
    for (unsigned i = 0; i < WORKERS; i++) (void)pthread_join(server.threads[i], NULL);
    for (unsigned i = 0; i < WORKERS; i++) io_free(server.ios[i]);
    for (unsigned i = 0; i < WORKERS; i++) core_free(server.cores[i]);
    node_free(server.node);
    store_close(server.store);
    tls_tickets_unref(tickets);
    pki_unref(local_ca);
    pki_unref(certificate);
    pki_unref(device_ca);
    for (unsigned i = 0; i < PEOPLE; i++) pki_unref(devices[i]);
}

/* ---- a phone; false: `trouble` says what went wrong ---- */

static _Thread_local char trouble[600];

struct phone {
    unsigned number;
    int fd;
    struct tls_client *client;
    struct tls tls;
    struct tls_wire wire;
    uint8_t out[TLS_WIRE_OUT_BYTES], in[16384];
    char text[TEXT_MAX];
    size_t len, used; /* used: of the message heard last */
    struct sip_msg m;
};

static bool broken(const struct phone *p, const char *what) {
    int len = (int)(p->len < 400 ? p->len : 400);
    (void)snprintf(trouble, sizeof trouble, "u%u: %s; heard: %.*s", p->number, what, len, p->text);
    return false;
}

static bool ready(const struct phone *p, short events) {
    struct pollfd pfd = { .fd = p->fd, .events = events };
    return poll(&pfd, 1, PATIENCE_MS) == 1;
}

static bool push(struct phone *p) {
    for (size_t at = 0; at < p->wire.out_len;) {
        ssize_t n = send(p->fd, p->out + at, p->wire.out_len - at, MSG_NOSIGNAL);
        if (n < 0 && !ready(p, POLLOUT)) return broken(p, "cannot send");
        if (n == 0) return broken(p, "the server closed");
        if (n > 0) at += (size_t)n;
    }
    p->wire.out_len = 0;
    return true;
}

static bool pull(struct phone *p) {
    if (!ready(p, POLLIN)) return broken(p, "nothing comes");
    ssize_t n = recv(p->fd, p->in, sizeof p->in, 0);
    if (n <= 0) return broken(p, "the server closed");
    p->wire.in = p->in;
    p->wire.in_len = (size_t)n;
    return true;
}

static bool phone_open(struct phone *p, unsigned number) {
    memset(p, 0, sizeof *p);
    p->number = number;
    p->fd = -1;
    p->wire.out = p->out;
    p->wire.out_cap = sizeof p->out;
    struct tls_client_config c = {
        .trust = &local_ca, .trust_count = 1, .identity = devices[number], .alpn = TLS_ALPN_SIP
    };
    if (tls_client_new(&c, &p->client) != ERR_OK) return broken(p, "no TLS");
    if (socket_connect_tcp(&server.at, &p->fd) != ERR_OK || !ready(p, POLLOUT))
        return broken(p, "cannot connect");
    if (tls_connect(p->client, &p->wire, "example.org", &p->tls) != ERR_OK)
        return broken(p, "no TLS");
    enum err e;
    while ((e = tls_handshake(&p->tls)) == ERR_AGAIN)
        if (!push(p) || !pull(p)) return false;
    return e == ERR_OK ? push(p) : broken(p, tls_trouble());
}

static void phone_close(struct phone *p) {
    tls_fini(&p->tls);
    if (p->fd >= 0) (void)close(p->fd);
    tls_client_unref(p->client);
}

static bool say(struct phone *p, const struct buf *b) {
    if (b->full || tls_write(&p->tls, b->ptr, b->len) != ERR_OK) return broken(p, "cannot say");
    return push(p);
}

/* The next message, in p->m until the one after it. */
static bool hear(struct phone *p) {
    p->len -= p->used;
    memmove(p->text, p->text + p->used, p->len);
    p->used = 0;
    for (;;) {
        struct sip_read r = { .err = ERR_MORE };
        if (p->len) r = sip_msg_read(&p->m, slice_of(p->text, p->len), SIP_STREAM);
        if (r.err == ERR_OK) {
            p->used = r.used;
            return true;
        }
        if (r.err != ERR_MORE) return broken(p, sip_bad_text(r.why));
        if (p->wire.in_len == 0 && !pull(p)) return false;
        size_t n = 0;
        enum err e = tls_read(&p->tls, p->text + p->len, sizeof p->text - p->len, &n);
        if (e == ERR_OK)
            p->len += n;
        else if (e != ERR_AGAIN)
            return broken(p, "the TLS connection ended");
    }
}

static bool hear_status(struct phone *p, unsigned status) {
    do {
        if (!hear(p)) return false;
    } while (!p->m.is_request && p->m.status == 100);
    return (!p->m.is_request && p->m.status == status) || broken(p, "another answer was due");
}

static bool hear_request(struct phone *p, enum sip_method method) {
    return hear(p) &&
           ((p->m.is_request && p->m.method == method) || broken(p, "another request was due"));
}

/* ---- what phones say ---- */

#define SDP                                                                                        \
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"                    \
    "m=audio 4000 UDP/TLS/RTP/SAVP 0\r\na=setup:actpass\r\na=fingerprint:SHA-256 "                 \
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:"   \
    "EE:FF\r\n"

static bool answer(struct phone *p, const char *line, bool has_sdp) {
    char mem[8192];
    struct buf b = buf_over(mem, sizeof mem);
    const struct sip_msg *m = &p->m;
    buf_fmt(&b, "SIP/2.0 %s\r\n", line);
    for (const struct sip_header *h = sip_first(m, HDR_VIA); h; h = sip_next(m, h))
        buf_put(&b, h->line);
    for (const struct sip_header *h = sip_first(m, HDR_RECORD_ROUTE); h; h = sip_next(m, h))
        buf_put(&b, h->line);
    buf_put(&b, sip_first(m, HDR_FROM)->line);
    buf_lit(&b, "To: ");
    buf_put(&b, sip_value(m, HDR_TO));
    if (!m->to.tag.len) buf_lit(&b, ";tag=callee");
    buf_lit(&b, "\r\n");
    buf_put(&b, sip_first(m, HDR_CALL_ID)->line);
    buf_put(&b, sip_first(m, HDR_CSEQ)->line);
    buf_fmt(&b, "Contact: <sip:u%u@127.0.0.1;transport=tls>\r\n", p->number);
    if (has_sdp) buf_lit(&b, "Content-Type: application/sdp\r\n");
    buf_fmt(&b, "Content-Length: %zu\r\n\r\n%s", has_sdp ? sizeof SDP - 1 : 0, has_sdp ? SDP : "");
    return say(p, &b);
}

static bool register_phone(struct phone *p) {
    char mem[2048];
    struct buf b = buf_over(mem, sizeof mem);
    buf_fmt(&b,
            "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKr%u\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:u%u@example.org>;tag=r\r\nTo: <sip:u%u@example.org>\r\n"
            "Call-ID: register-%u\r\nCSeq: 1 REGISTER\r\n"
            "Contact: <sip:u%u@127.0.0.1;transport=tls>\r\nContent-Length: 0\r\n\r\n",
            p->number, p->number, p->number, p->number, p->number);
    return say(p, &b) && hear_status(p, 200);
}

struct call {
    struct phone *from, *to;
    unsigned id;
    char route[1024];
};

static bool say_invite(const struct call *c) {
    char mem[4096];
    struct buf b = buf_over(mem, sizeof mem);
    buf_fmt(&b,
            "INVITE sip:u%u@example.org SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKi%u\r\n"
            "Max-Forwards: 70\r\nFrom: <sip:u%u@example.org>;tag=caller\r\n"
            "To: <sip:u%u@example.org>\r\nCall-ID: call-%u\r\nCSeq: 1 INVITE\r\n"
            "Contact: <sip:u%u@127.0.0.1;transport=tls>\r\nContent-Type: application/sdp\r\n"
            "Content-Length: %zu\r\n\r\n%s",
            c->to->number, c->id, c->from->number, c->to->number, c->id, c->from->number,
            sizeof SDP - 1, SDP);
    return say(c->from, &b);
}

static bool say_inside(const struct call *c, const char *method, unsigned cseq, bool by_caller) {
    char mem[4096];
    struct buf b = buf_over(mem, sizeof mem);
    struct phone *p = by_caller ? c->from : c->to;
    const struct phone *other = by_caller ? c->to : c->from;
    buf_fmt(&b,
            "%s sip:u%u@127.0.0.1;transport=tls SIP/2.0\r\n"
            "Via: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK%s%u\r\nMax-Forwards: 70\r\nRoute: %s\r\n"
            "From: <sip:u%u@example.org>;tag=%s\r\nTo: <sip:u%u@example.org>;tag=%s\r\n"
            "Call-ID: call-%u\r\nCSeq: %u %s\r\nContent-Length: 0\r\n\r\n",
            method, other->number, method, c->id, c->route, p->number,
            by_caller ? "caller" : "callee", other->number, by_caller ? "callee" : "caller", c->id,
            cseq, method);
    return say(p, &b);
}

/* RFC 3261 13, 15: one whole call, hung up by either side in turn. */
static bool one_call(struct call *c) {
    bool by_caller = c->id % 2;
    struct phone *ends = by_caller ? c->from : c->to, *other = by_caller ? c->to : c->from;
    if (!say_invite(c) || !hear_request(c->to, SIP_INVITE)) return false;
    if (!answer(c->to, "180 Ringing", false) || !answer(c->to, "200 OK", true)) return false;
    if (!hear_status(c->from, 180) || !hear_status(c->from, 200)) return false;
    if (!slice_cstr(sip_value(&c->from->m, HDR_RECORD_ROUTE), c->route, sizeof c->route))
        return broken(c->from, "a Record-Route was due");
    if (!say_inside(c, "ACK", 1, true) || !hear_request(c->to, SIP_ACK)) return false;
    if (!say_inside(c, "BYE", 2, by_caller) || !hear_request(other, SIP_BYE)) return false;
    return answer(other, "200 OK", false) && hear_status(ends, 200);
}

/* ---- threads of phones ---- */

struct line {
    unsigned number, calls;
    char trouble[sizeof trouble];
    struct phone phones[PHONES];
};

static void *use_phones(void *arg) {
    struct line *l = arg;
    bool ok = true;
    for (unsigned i = 0; i < PHONES; i++)
        ok = phone_open(&l->phones[i], l->number * PHONES + i) && ok;
    for (unsigned i = 0; ok && i < PHONES; i++) ok = register_phone(&l->phones[i]);
    for (unsigned i = 0; ok && i < CALLS; i++) {
        unsigned from = i % PHONES, to = (from + 1 + i / PHONES % (PHONES - 1)) % PHONES;
        struct call c = { .from = &l->phones[from],
                          .to = &l->phones[to],
                          .id = l->number * CALLS + i };
        ok = one_call(&c);
        l->calls += ok;
    }
    for (unsigned i = 0; i < PHONES; i++) phone_close(&l->phones[i]);
    memcpy(l->trouble, trouble, sizeof trouble);
    return NULL;
}

/* OpenSSL works the extensions of a certificate out when it is first used and guards that by
 * atomics which ThreadSanitizer cannot see in a library built without it. So one phone connects
 * alone, and by its mail both workers and this thread have done that before the others begin. */
static bool first_phone(void) {
    static struct phone p;
    bool ok = phone_open(&p, PEOPLE - 1) && register_phone(&p);
    phone_close(&p);
    return ok;
}

static void calls_between_workers(void **state) {
    (void)state;
    static struct line lines[LINES];
    pthread_t threads[LINES];
    uint64_t mails = 0, connected = 0, open = 0;
    unsigned calls = 0;
    server_open();
    if (!first_phone()) print_error("%s\n", trouble);
    assert_int_equal(trouble[0], 0);
    for (unsigned i = 0; i < LINES; i++) {
        lines[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, use_phones, &lines[i]), 0);
    }
    for (unsigned i = 0; i < LINES; i++) {
        (void)pthread_join(threads[i], NULL);
        if (lines[i].trouble[0]) print_error("%s\n", lines[i].trouble);
        calls += lines[i].calls;
    }
    assert_int_equal(calls, LINES * CALLS);
    for (unsigned i = 0; i < WORKERS; i++) {
        const struct core_counters *c = core_counters(server.cores[i]);
        mails += atomic_load(&c->mails_in);
        connected += atomic_load(&c->calls_connected);
        open += atomic_load(&c->open);
        assert_true(atomic_load(&io_counters(server.ios[i])->accepted) > 0);
    }
    assert_int_equal(connected, calls);
    assert_int_equal(open, 0);
    assert_true(mails >= 8 * calls); /* eight messages a call, each of them mailed */
    server_close();
}

int main(void) {
    assert_ok(crypto_init());
    const struct CMUnitTest tests[] = { cmocka_unit_test(calls_between_workers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
