/* The relay on real sockets: loopback, two workers, clients by UDP and TCP. */
#include "unit.h"

#include "crypto/crypto.h"
#include "io/io.h"
#include "io/io_test_core.h"
#include "io/relay.h"
#include "os/loop.h"
#include "os/socket.h"
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WORKERS = 2, UDP_AT = 0, TCP_AT, UDP6_AT };

static const uint8_t key[32] = "the key of a relay under test...";
static _Atomic uint32_t banned; /* an account */

static _Atomic uint32_t revoked; /* a device */

static bool may_relay(void *ctx, uint32_t account_id, uint32_t device_id) {
    (void)ctx;
    return account_id != atomic_load(&banned) &&
           (device_id == 0 || device_id != atomic_load(&revoked));
}

struct house {
    struct ports *ports;
    struct network loopback[2];
    struct core *cores[WORKERS];
    struct io *ios[WORKERS];
    pthread_t threads[WORKERS];
};

static struct addr at(const char *text) {
    struct addr a;
    assert_ok(addr_read(slice_str(text), &a));
    return a;
}

static void *run(void *io) {
    return io_run(io) == ERR_OK ? NULL : io;
}

static void house_open(struct house *h) {
    static const uint8_t seed[32];
    struct addr v4 = at("127.0.0.1:0"), v6 = at("[::1]:0");
    struct io_listen listen[] = {
        [UDP_AT] = { .at = v4, .transport = FLOW_UDP, .is_turn = true },
        [TCP_AT] = { .at = v4, .transport = FLOW_TCP, .is_turn = true },
        [UDP6_AT] = { .at = v6, .transport = FLOW_UDP, .is_turn = true },
    };
    struct ports_config ports = {
        .first = 49152, .last = 65535, .per_account = 3, .accounts_max = 16, .relay = { v4, v6 }
    };
    memset(h, 0, sizeof *h);
    atomic_store(&banned, 0);
    assert_ok(network_read(SLICE("127.0.0.0/8"), &h->loopback[0]));
    assert_ok(network_read(SLICE("::1"), &h->loopback[1]));
    h->ports = ports_new(&ports);
    assert_non_null(h->ports);
    struct relay_config relay = { .turn = { .realm = SLICE("example.org"),
                                            .key = key,
                                            .has_v4 = true,
                                            .has_v6 = true,
                                            .allocations_max = 16,
                                            .lifetime_s = 600,
                                            .lifetime_max_s = 3600,
                                            .nonce_life_s = 600,
                                            .allowed = h->loopback,
                                            .allowed_count = 2 },
                                  .ports = h->ports,
                                  .bind = { v4, v6 },
                                  .may_relay = may_relay };
    for (unsigned i = 0; i < WORKERS; i++) {
        h->cores[i] = core_new(NULL, i, seed, clock_now());
        assert_non_null(h->cores[i]);
        struct io_config c = { .worker = i,
                               .listen = listen,
                               .listen_count = ARRAY_LEN(listen),
                               .core = h->cores[i],
                               .relay = &relay };
        io_limits_defaults(&c.limits);
        assert_ok(io_new(&c, &h->ios[i], NULL));
        for (size_t l = 0; i == 0 && l < ARRAY_LEN(listen); l++)
            listen[l].at.port = io_address(h->ios[0], l).port;
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        io_set_peers(h->ios[i], h->ios, WORKERS);
        assert_int_equal(pthread_create(&h->threads[i], NULL, run, h->ios[i]), 0);
    }
}

static void house_close(struct house *h) {
    for (unsigned i = 0; i < WORKERS; i++) io_stop(h->ios[i]);
    for (unsigned i = 0; i < WORKERS; i++) {
        void *failed;
        assert_int_equal(pthread_join(h->threads[i], &failed), 0);
        assert_null(failed);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        io_free(h->ios[i]);
        core_free(h->cores[i]);
    }
    struct reservation kept;
    while (ports_expired(h->ports, MONO_NEVER, &kept)) close(kept.fd);
    ports_free(h->ports);
}

static uint64_t allocations(const struct house *h) {
    uint64_t n = 0;
    for (unsigned i = 0; i < WORKERS; i++) n += io_turn_counters(h->ios[i])->allocations;
    return n;
}

/* ---- a client, and a peer ---- */

struct client {
    int fd;
    bool is_stream;
    struct turn_credential credential;
    char nonce[64];
    size_t nonce_len;
    uint8_t id;
    char in[4096], out[STUN_BYTES_MAX];
    size_t in_len;
    struct stun_msg m; /* the last answer */
    struct addr relayed;
};

static int wait_for(int fd) {
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, PATIENCE_MS);
}

static int bound_udp(const struct addr *to) {
    struct addr me = *to, bound;
    int fd;
    me.port = 0;
    assert_ok(socket_bind_udp(&me, &fd, &bound));
    return fd;
}

static void client_open(struct client *c, struct house *h, unsigned which, uint32_t account_id) {
    struct addr to = io_address(h->ios[0], which);
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(&to, &sa);
    memset(c, 0, sizeof *c);
    c->is_stream = which == TCP_AT;
    c->fd = c->is_stream ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : bound_udp(&to);
    assert_true(c->fd >= 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&sa, len), 0);
    turn_credential_make(key, account_id, 0, clock_wall() + 3600000, &c->credential);
}

/* One message: a datagram, or a frame of the stream. */
static slice client_read(struct client *c) {
    static char last[2048];
    for (;;) {
        size_t whole = c->is_stream ? turn_frame(slice_of(c->in, c->in_len)) : c->in_len;
        assert_true(whole != SIZE_MAX);
        if (whole && whole <= c->in_len) {
            memcpy(last, c->in, whole);
            c->in_len -= whole;
            memmove(c->in, c->in + whole, c->in_len);
            return slice_of(last, whole);
        }
        assert_int_equal(wait_for(c->fd), 1);
        ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
        assert_true(n > 0);
        c->in_len += (size_t)n;
    }
}

static void client_send(struct client *c, slice bytes) {
    assert_int_equal(send(c->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL), bytes.len);
}

static struct stun_writer ask(struct client *c, enum stun_method method) {
    uint8_t id[STUN_ID_BYTES] = { 0 };
    id[0] = ++c->id;
    return stun_begin(c->out, sizeof c->out, method, STUN_REQUEST, id);
}

static unsigned answered(struct client *c) {
    static char kept[2048];
    slice bytes = client_read(c), nonce;
    memcpy(kept, bytes.ptr, bytes.len);
    assert_ok(stun_read(slice_of(kept, bytes.len), &c->m));
    assert_int_equal(c->m.id[0], c->id);
    if (stun_find(&c->m, STUN_NONCE, &nonce)) {
        memcpy(c->nonce, nonce.ptr, nonce.len);
        c->nonce_len = nonce.len;
    }
    return c->m.class == STUN_SUCCESS ? 200 : stun_error(&c->m);
}

static unsigned proved(struct client *c, struct stun_writer *w) {
    uint8_t k[32];
    slice user = slice_str(c->credential.username), realm = SLICE("example.org");
    stun_put(w, STUN_USERNAME, user);
    stun_put(w, STUN_REALM, realm);
    stun_put(w, STUN_NONCE, slice_of(c->nonce, c->nonce_len));
    size_t len = stun_long_term_key(user, realm, slice_str(c->credential.password), false, k);
    stun_put_integrity(w, slice_of(k, len), false);
    client_send(c, stun_end(w));
    return answered(c);
}

static unsigned allocate_with(struct client *c, enum stun_attr type, slice value) {
    struct stun_writer w = ask(c, TURN_ALLOCATE);
    stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x11\0\0\0", 4));
    client_send(c, stun_end(&w));
    assert_int_equal(answered(c), 401);
    w = ask(c, TURN_ALLOCATE);
    stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x11\0\0\0", 4));
    if (value.ptr) stun_put(&w, type, value);
    unsigned status = proved(c, &w);
    if (status == 200) assert_ok(stun_find_addr(&c->m, TURN_XOR_RELAYED_ADDRESS, &c->relayed));
    return status;
}

static unsigned allocate(struct client *c) {
    return allocate_with(c, TURN_LIFETIME, SLICE_NONE);
}

static unsigned bind_channel(struct client *c, unsigned number, const struct addr *peer) {
    struct stun_writer w = ask(c, TURN_CHANNEL_BIND);
    stun_put_u32(&w, TURN_CHANNEL_NUMBER, number << 16);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, peer);
    return proved(c, &w);
}

static struct addr local_of(int fd) {
    struct addr a;
    assert_ok(socket_local(fd, &a));
    return a;
}

static void says(int fd, const struct addr *to, const char *text) {
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(to, &sa);
    assert_int_equal(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&sa, len), strlen(text));
}

static void hears(int fd, const char *text, const struct addr *from) {
    char mem[256];
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    struct addr got;
    assert_int_equal(wait_for(fd), 1);
    ssize_t n = recvfrom(fd, mem, sizeof mem, 0, (struct sockaddr *)&sa, &len);
    assert_true(n >= 0);
    assert_slice(slice_of(mem, (size_t)n), text);
    assert_ok(addr_from_sockaddr((struct sockaddr *)&sa, &got));
    assert_true(addr_eq(&got, from));
}

/* ---- stories ---- */

static void relays_both_ways(unsigned which) {
    struct house h;
    struct client c;
    house_open(&h);
    client_open(&c, &h, which, 42);
    assert_int_equal(allocate(&c), 200);
    int peer = bound_udp(&c.relayed);
    struct addr peer_at = local_of(peer);
    assert_int_equal(bind_channel(&c, 0x4001, &peer_at), 200);
    slice padding = c.is_stream ? slice_of("\0\0\0", 3) : SLICE_NONE;
    char frame[16] = "\x40\x01\x00\x05hello";
    client_send(&c, slice_of(frame, 9 + padding.len));
    hears(peer, "hello", &c.relayed);
    says(peer, &c.relayed, "echo!");
    slice got = client_read(&c);
    assert_int_equal(got.len, 9 + padding.len);
    assert_memory_equal(got.ptr,
                        "\x40\x01\x00\x05"
                        "echo!",
                        9);
    int stranger = bound_udp(&c.relayed); /* same address: the permission is his too, no channel */
    says(stranger, &c.relayed, "hi");
    got = client_read(&c);
    assert_ok(stun_read(got, &c.m));
    assert_int_equal(c.m.method, TURN_DATA);
    close(stranger);
    close(peer);
    close(c.fd);
    house_close(&h);
}

static void a_client_by_udp(void **state) {
    (void)state;
    relays_both_ways(UDP_AT);
}
static void a_client_by_tcp(void **state) {
    (void)state;
    relays_both_ways(TCP_AT);
}
static void a_client_by_ipv6_gets_an_ipv4_address(void **state) { /* RFC 8656 7.2 step 7 */
    (void)state;
    relays_both_ways(UDP6_AT);
}

/* CVE-2020-4067: behind a short packet stand zeros, not the rest of a longer one before it. */
static void padding_tells_nothing(void **state) {
    (void)state;
    static const unsigned ways[] = { UDP_AT, TCP_AT };
    struct house h;
    struct client c;
    house_open(&h);
    for (size_t k = 0; k < ARRAY_LEN(ways); k++) {
        client_open(&c, &h, ways[k], 42);
        assert_int_equal(allocate(&c), 200);
        int peer = bound_udp(&c.relayed);
        struct addr peer_at = local_of(peer);
        struct stun_writer w = ask(&c, TURN_CREATE_PERMISSION);
        stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &peer_at);
        assert_int_equal(proved(&c, &w), 200);
        says(peer, &c.relayed, "a secret of somebody else's");
        (void)client_read(&c);
        for (size_t len = 1; len < 9; len++) {
            char text[16] = "12345678";
            text[len] = '\0';
            says(peer, &c.relayed, text);
            slice got = client_read(&c), data;
            assert_ok(stun_read(got, &c.m));
            assert_true(stun_find(&c.m, TURN_DATA_ATTR, &data));
            assert_slice(data, text);
            for (const char *p = data.ptr + data.len; p < got.ptr + got.len; p++)
                assert_int_equal(*p, 0);
            assert_int_equal(got.len % 4, 0);
        }
        close(peer);
        close(c.fd);
    }
    house_close(&h);
}

/* Every pair of workers occurs among eight clients; each one calls the next. */
static void clients_of_one_relay_reach_each_other(void **state) {
    (void)state;
    enum { CLIENTS = 8 };
    struct house h;
    static struct client c[CLIENTS];
    house_open(&h);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_open(&c[i], &h, i % 4 == 3 ? TCP_AT : UDP_AT, 50 + i);
        assert_int_equal(allocate(&c[i]), 200);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *next = &c[(i + 1) % CLIENTS];
        assert_int_equal(bind_channel(&c[i], 0x4001, &next->relayed), 200);
        assert_int_equal(bind_channel(next, 0x4002, &c[i].relayed), 200);
        client_send(&c[i], slice_of("\x40\x01\x00\x04ping", 8));
        slice got = client_read(next);
        assert_slice_eq(got, slice_of("\x40\x02\x00\x04ping", 8));
        client_send(next, slice_of("\x40\x02\x00\x04pong", 8));
        got = client_read(&c[i]);
        assert_slice_eq(got, slice_of("\x40\x01\x00\x04pong", 8));
    }
    for (unsigned i = 0; i < CLIENTS; i++) close(c[i].fd);
    house_close(&h);
}

static void a_pair_of_ports(void **state) { /* RFC 8656 7.2, EVEN-PORT and RESERVATION-TOKEN */
    (void)state;
    struct house h;
    struct client rtp, rtcp, thief;
    slice token;
    char kept[8];
    house_open(&h);
    client_open(&rtp, &h, UDP_AT, 42);
    assert_int_equal(allocate_with(&rtp, TURN_EVEN_PORT, slice_of("\x80", 1)), 200);
    assert_int_equal(rtp.relayed.port % 2, 0);
    assert_true(stun_find(&rtp.m, TURN_RESERVATION_TOKEN, &token));
    memcpy(kept, token.ptr, sizeof kept);
    client_open(&thief, &h, UDP_AT, 43);
    assert_int_equal(allocate_with(&thief, TURN_RESERVATION_TOKEN, slice_of(kept, 8)), 508);
    client_open(&rtcp, &h, UDP_AT, 42);
    assert_int_equal(allocate_with(&rtcp, TURN_RESERVATION_TOKEN, slice_of(kept, 8)), 200);
    assert_int_equal(rtcp.relayed.port, rtp.relayed.port + 1);
    close(rtp.fd);
    close(rtcp.fd);
    close(thief.fd);
    house_close(&h);
}

static void an_account_has_a_quota_and_an_end(void **state) {
    (void)state;
    struct house h;
    struct client c[4];
    house_open(&h);
    for (unsigned i = 0; i < 4; i++) {
        client_open(&c[i], &h, i == 3 ? TCP_AT : UDP_AT, 42);
        assert_int_equal(allocate(&c[i]), i < 3 ? 200 : 486);
    }
    assert_int_equal(ports_account_count(h.ports, 42), 3);
    struct stun_writer w = ask(&c[0], TURN_REFRESH);
    stun_put_u32(&w, TURN_LIFETIME, 0);
    assert_int_equal(proved(&c[0], &w), 200);
    assert_int_equal(allocate(&c[3]), 200); /* the place is free again */
    close(c[3].fd);                         /* and again, with the connection */
    EVENTUALLY(ports_account_count(h.ports, 42) == 2);
    atomic_store(&banned, 42);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_ok(io_post_mail(
            h.ios[i],
            &(struct core_mail){ .kind = MAIL_ACCOUNT, .must_arrive = true, .number = 42 }));
    EVENTUALLY(allocations(&h) == 0);
    assert_int_equal(allocate(&c[0]), 403);
    for (unsigned i = 0; i < 3; i++) close(c[i].fd);
    house_close(&h);
}

/* Two sessions of one person: with one of them end its allocations, by UDP and by stream, and its
 * credential makes no more. */
static void an_ended_session_takes_its_allocations(void **state) {
    (void)state;
    struct house h;
    struct client c[3];
    house_open(&h);
    for (unsigned i = 0; i < 3; i++) {
        client_open(&c[i], &h, i == 1 ? TCP_AT : UDP_AT, 44);
        turn_credential_make(key, 44, i == 2 ? 8 : 7, clock_wall() + 3600000, &c[i].credential);
        assert_int_equal(allocate(&c[i]), 200);
    }
    atomic_store(&revoked, 7);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_ok(io_post_mail(
            h.ios[i],
            &(struct core_mail){ .kind = MAIL_DEVICE, .must_arrive = true, .number = 7 }));
    EVENTUALLY(allocations(&h) == 1);
    assert_int_equal(ports_account_count(h.ports, 44), 1);
    assert_int_equal(allocate(&c[0]), 403);
    assert_int_equal(allocate(&c[1]), 403);
    struct stun_writer w = ask(&c[2], TURN_REFRESH);
    assert_int_equal(proved(&c[2], &w), 200);
    for (unsigned i = 0; i < 3; i++) close(c[i].fd);
    house_close(&h);
}

static void only_stun_is_spoken_there(void **state) {
    (void)state;
    struct house h;
    struct client c;
    char mem[8];
    house_open(&h);
    client_open(&c, &h, TCP_AT, 42);
    client_send(&c, SLICE("OPTIONS sip:a@example.org SIP/2.0\r\n"));
    assert_int_equal(wait_for(c.fd), 1);
    assert_true(recv(c.fd, mem, sizeof mem, 0) <= 0);
    close(c.fd);
    client_open(&c, &h, TCP_AT, 42); /* a Binding, and then rubbish */
    struct stun_writer w = ask(&c, STUN_BINDING);
    client_send(&c, stun_end(&w));
    assert_int_equal(answered(&c), 200);
    client_send(&c, SLICE("\x80rubbish"));
    assert_int_equal(wait_for(c.fd), 1);
    assert_true(recv(c.fd, mem, sizeof mem, 0) <= 0);
    close(c.fd);
    house_close(&h);
}

static void a_dead_peer_is_told_of(void **state) { /* RFC 8656 11.5 */
    (void)state;
    struct house h;
    struct client c;
    struct addr got;
    slice icmp;
    house_open(&h);
    client_open(&c, &h, UDP_AT, 42);
    assert_int_equal(allocate(&c), 200);
    int peer = bound_udp(&c.relayed);
    struct addr peer_at = local_of(peer);
    assert_int_equal(bind_channel(&c, 0x4001, &peer_at), 200);
    close(peer);
    client_send(&c, slice_of("\x40\x01\x00\x05hello", 9));
    assert_ok(stun_read(client_read(&c), &c.m));
    assert_int_equal(c.m.method, TURN_DATA);
    assert_ok(stun_find_addr(&c.m, TURN_XOR_PEER_ADDRESS, &got));
    assert_true(addr_eq(&got, &peer_at));
    assert_true(stun_find(&c.m, TURN_ICMP, &icmp));
    assert_slice_eq(icmp, slice_of("\0\0\x06\x03\0\0\0\0", 8)); /* port unreachable */
    peer = bound_udp(&c.relayed); /* the packet after the error is not lost */
    peer_at = local_of(peer);
    assert_int_equal(bind_channel(&c, 0x4002, &peer_at), 200);
    client_send(&c, slice_of("\x40\x02\x00\x05hello", 9));
    hears(peer, "hello", &c.relayed);
    close(peer);
    close(c.fd);
    house_close(&h);
}

/* Handed over inside the process, but not past the other one's permission. */
static void both_ends_of_one_relay_must_permit(void **state) {
    (void)state;
    struct house h;
    static struct client a, b[8];
    house_open(&h);
    client_open(&a, &h, UDP_AT, 42);
    assert_int_equal(allocate(&a), 200);
    for (unsigned i = 0; i < 8; i++) { /* on the same worker, and on the other one */
        client_open(&b[i], &h, UDP_AT, 50 + i);
        assert_int_equal(allocate(&b[i]), 200);
        assert_int_equal(bind_channel(&a, 0x4001 + i, &b[i].relayed), 200);
        char packet[6] = "\x40\x01\x00\x02no";
        packet[1] = (char)(1 + i);
        client_send(&a, slice_of(packet, 6));
    }
    int peer = bound_udp(&a.relayed); /* a pulse on the same way: all of that is through */
    struct addr peer_at = local_of(peer);
    assert_int_equal(bind_channel(&a, 0x4100, &peer_at), 200);
    client_send(&a, slice_of("\x41\x00\x00\x02up", 6));
    hears(peer, "up", &a.relayed);
    for (unsigned i = 0; i < 8; i++) {
        /* What waited at his worker when the first question came is done before the second. */
        for (unsigned k = 0; k < 2; k++) {
            struct stun_writer w = ask(&b[i], STUN_BINDING);
            client_send(&b[i], stun_end(&w));
            assert_int_equal(answered(&b[i]), 200);
        }
        assert_int_equal(bind_channel(&b[i], 0x4001, &a.relayed), 200);
        char packet[7] = "\x40\x01\x00\x03yes";
        packet[1] = (char)(1 + i);
        client_send(&a, slice_of(packet, 7));
        assert_slice_eq(client_read(&b[i]), slice_of("\x40\x01\x00\x03yes", 7)); /* the first */
        close(b[i].fd);
    }
    close(peer);
    close(a.fd);
    house_close(&h);
}

/* ---- TCP allocations (RFC 6062) ---- */

static unsigned allocate_tcp(struct client *c) {
    struct stun_writer w = ask(c, TURN_ALLOCATE);
    stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x06\0\0\0", 4));
    client_send(c, stun_end(&w));
    assert_int_equal(answered(c), 401);
    w = ask(c, TURN_ALLOCATE);
    stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x06\0\0\0", 4));
    unsigned status = proved(c, &w);
    if (status == 200) assert_ok(stun_find_addr(&c->m, TURN_XOR_RELAYED_ADDRESS, &c->relayed));
    return status;
}

static int listening(struct addr *out) {
    struct addr any = at("127.0.0.1:0");
    int fd;
    assert_ok(socket_listen_tcp(&any, &fd, out));
    return fd;
}

static int accepted(int listener) {
    assert_int_equal(wait_for(listener), 1);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    return fd;
}

static unsigned connect_peer(struct client *c, const struct addr *peer, uint32_t *connection) {
    struct stun_writer w = ask(c, TURN_CONNECT);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, peer);
    unsigned status = proved(c, &w);
    if (status == 200) assert_ok(stun_find_u32(&c->m, TURN_CONNECTION_ID, connection));
    return status;
}

/* A connection of its own for that connection to a peer. */
static unsigned joined(struct client *data, struct house *h, uint32_t account_id,
                       uint32_t connection) {
    client_open(data, h, TCP_AT, account_id);
    struct stun_writer w = ask(data, TURN_CONNECTION_BIND);
    client_send(data, stun_end(&w));
    assert_int_equal(answered(data), 401);
    w = ask(data, TURN_CONNECTION_BIND);
    stun_put_u32(&w, TURN_CONNECTION_ID, connection);
    return proved(data, &w);
}

static void passes(int from, int to, const char *text) {
    char mem[64];
    size_t have = 0, len = strlen(text);
    assert_int_equal(send(from, text, len, MSG_NOSIGNAL), len);
    while (have < len) {
        assert_int_equal(wait_for(to), 1);
        ssize_t n = recv(to, mem + have, sizeof mem - have, 0);
        assert_true(n > 0);
        have += (size_t)n;
    }
    assert_slice(slice_of(mem, have), text);
}

static void ends(int fd) {
    char byte;
    assert_int_equal(wait_for(fd), 1);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
}

/* Workers are chosen by the kernel: among eight, some data connections come to the other one. */
static void a_tcp_peer_is_joined_from_any_worker(void **state) { /* RFC 6062 5.2, 5.4 */
    (void)state;
    struct house h;
    struct client c, data[8];
    struct addr peer_at[8];
    int listener[8], peer[8];
    uint32_t connection = 0;
    house_open(&h);
    client_open(&c, &h, TCP_AT, 42);
    assert_int_equal(allocate_tcp(&c), 200);
    for (unsigned i = 0; i < 8; i++) {
        listener[i] = listening(&peer_at[i]);
        assert_int_equal(connect_peer(&c, &peer_at[i], &connection), 200);
        assert_int_equal(connect_peer(&c, &peer_at[i], &connection), 446);
        peer[i] = accepted(listener[i]);
        assert_int_equal(send(peer[i], "early ", 6, MSG_NOSIGNAL), 6); /* it waits for the client */
        assert_int_equal(joined(&data[i], &h, 42, connection), 200);
        while (data[i].in_len < 6) { /* it may have come with the answer */
            struct client *d = &data[i];
            assert_int_equal(wait_for(d->fd), 1);
            ssize_t n = recv(d->fd, d->in + d->in_len, sizeof d->in - d->in_len, 0);
            assert_true(n > 0);
            d->in_len += (size_t)n;
        }
        assert_slice(slice_of(data[i].in, data[i].in_len), "early ");
        passes(peer[i], data[i].fd, "bird");
        passes(data[i].fd, peer[i], "catches the worm");
    }
    close(c.fd); /* RFC 6062 5.5: all of it ends with the allocation */
    for (unsigned i = 0; i < 8; i++) {
        ends(peer[i]);
        ends(data[i].fd);
        close(listener[i]);
    }
    EVENTUALLY(allocations(&h) == 0);
    house_close(&h);
}

static void a_tcp_peer_connects(void **state) { /* RFC 6062 5.3 */
    (void)state;
    struct house h;
    struct client c, data;
    struct sockaddr_storage sa;
    uint32_t connection;
    house_open(&h);
    client_open(&c, &h, TCP_AT, 42);
    assert_int_equal(allocate_tcp(&c), 200);
    socklen_t len = addr_to_sockaddr(&c.relayed, &sa);
    int stranger = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(stranger, (struct sockaddr *)&sa, len), 0);
    ends(stranger); /* there is no permission */
    struct addr me = at("127.0.0.1:9");
    struct stun_writer w = ask(&c, TURN_CREATE_PERMISSION);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &me);
    assert_int_equal(proved(&c, &w), 200);
    int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(peer, (struct sockaddr *)&sa, len), 0);
    slice told = client_read(&c);
    assert_ok(stun_read(told, &c.m));
    assert_int_equal(c.m.method, TURN_CONNECTION_ATTEMPT);
    assert_ok(stun_find_u32(&c.m, TURN_CONNECTION_ID, &connection));
    assert_int_equal(joined(&data, &h, 43, connection), 400); /* another account */
    close(data.fd);
    assert_int_equal(joined(&data, &h, 42, connection), 200);
    passes(peer, data.fd, "hello");
    passes(data.fd, peer, "and hello");
    close(peer);
    ends(data.fd);
    close(c.fd);
    house_close(&h);
}

/* The reader is asked only when nothing more can be written: both sides must be held back. */
static void flows(int from, int to, size_t total) {
    static char mem[65536], got[65536];
    size_t sent = 0, read = 0;
    for (size_t i = 0; i < sizeof mem; i++) mem[i] = (char)(i * 7);
    while (read < total) {
        size_t at = sent % sizeof mem, piece = sizeof mem - at;
        if (piece > total - sent) piece = total - sent;
        ssize_t n = piece ? send(from, mem + at, piece, MSG_DONTWAIT | MSG_NOSIGNAL) : -1;
        if (n > 0) {
            sent += (size_t)n;
            continue;
        }
        struct pollfd p[2] = { { .fd = to, .events = POLLIN },
                               { .fd = from, .events = sent < total ? POLLOUT : 0 } };
        assert_true(poll(p, 2, PATIENCE_MS) > 0);
        if (!(p[0].revents & POLLIN)) continue;
        size_t room = sizeof got - read % sizeof got;
        if (sent < total && room > 4096) room = 4096; /* far slower than what is sent */
        n = recv(to, got, room, MSG_DONTWAIT);
        assert_true(n > 0);
        assert_memory_equal(got, mem + read % sizeof got, (size_t)n);
        read += (size_t)n;
    }
}

static void a_slow_reader_holds_the_other_back(void **state) {
    (void)state;
    enum { MUCH = 8 << 20 };
    struct house h;
    struct client c, data;
    struct addr peer_at;
    uint32_t connection = 0;
    house_open(&h);
    client_open(&c, &h, TCP_AT, 42);
    assert_int_equal(allocate_tcp(&c), 200);
    int listener = listening(&peer_at);
    assert_int_equal(connect_peer(&c, &peer_at, &connection), 200);
    int peer = accepted(listener);
    assert_int_equal(joined(&data, &h, 42, connection), 200);
    int little = 16384;
    (void)setsockopt(data.fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    (void)setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    flows(data.fd, peer, MUCH);
    flows(peer, data.fd, MUCH);
    assert_int_equal(shutdown(data.fd, SHUT_WR), 0);
    ends(peer);
    close(data.fd);
    close(listener);
    assert_int_equal(connect_peer(&c, &peer_at, &connection), 447); /* nobody listens any more */
    close(c.fd);
    house_close(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_by_udp),
        cmocka_unit_test(a_client_by_tcp),
        cmocka_unit_test(a_client_by_ipv6_gets_an_ipv4_address),
        cmocka_unit_test(clients_of_one_relay_reach_each_other),
        cmocka_unit_test(a_pair_of_ports),
        cmocka_unit_test(an_account_has_a_quota_and_an_end),
        cmocka_unit_test(padding_tells_nothing),
        cmocka_unit_test(an_ended_session_takes_its_allocations),
        cmocka_unit_test(only_stun_is_spoken_there),
        cmocka_unit_test(a_dead_peer_is_told_of),
        cmocka_unit_test(both_ends_of_one_relay_must_permit),
        cmocka_unit_test(a_tcp_peer_is_joined_from_any_worker),
        cmocka_unit_test(a_tcp_peer_connects),
        cmocka_unit_test(a_slow_reader_holds_the_other_back),
    };
    return crypto_init() == ERR_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
