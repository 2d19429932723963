/* cli/doctor_probe.c - looks at names, ports, certificates and the clock. See doctor.h. */
#include "base/mem.h"
#include "cli/doctor.h"
#include "os/cert.h"
#include "os/loop.h"
#include "os/resolver.h"
#include "os/socket.h"
#include "os/tls.h"
#include "sip/dns_reply.h"
#include <errno.h>
#include <poll.h>
#include <sys/timex.h>

struct doctor_eyes {
    struct loop *loop;
    struct resolver *resolver;
    struct cert_roots *roots;
    struct tls_client *client;
    struct cert_seen seen; /* of the last handshake */
    bool has_seen;
    uint8_t in[16384], out[TLS_WIRE_OUT_BYTES];
};

enum err doctor_open(const struct addr *dns, const char *ca_file, struct doctor_eyes **out) {
    struct doctor_eyes *e = mem_zalloc(sizeof *e);
    *out = NULL;
    if (!e) return ERR_MEMORY;
    slice files[] = { slice_str(ca_file ? ca_file : "") };
    struct cert_roots_config roots = { .files = files, .file_count = ca_file ? 1 : 0 };
    enum err err = loop_new(&e->loop);
    if (err == ERR_OK) {
        struct resolver_config resolver = { .loop = e->loop,
                                            .servers = dns,
                                            .server_count = dns ? 1 : 0 };
        err = resolver_new(&resolver, &e->resolver);
    }
    if (err == ERR_OK) err = cert_roots_new(&roots, &e->roots, NULL);
    if (err == ERR_OK) {
        struct tls_client_config tls = { .verify_nothing = true,
                                         .roots = e->roots,
                                         .alpn = TLS_ALPN_SIP };
        err = tls_client_new(&tls, &e->client);
    }
    if (err == ERR_OK)
        *out = e;
    else
        doctor_close(e);
    return err;
}

static void forget_seen(struct doctor_eyes *e) {
    if (e->has_seen) cert_seen_fini(&e->seen);
    e->has_seen = false;
}

void doctor_close(struct doctor_eyes *e) {
    if (!e) return;
    forget_seen(e);
    tls_client_unref(e->client);
    cert_roots_unref(e->roots);
    resolver_free(e->resolver);
    loop_free(e->loop);
    mem_free(e);
}

/* ---- names ---- */

void doctor_ask_dns(struct doctor_eyes *e, slice name, enum dns_type type, struct dns_reply *mem,
                    struct dns_answer *out) {
    static const struct loop_shares all = { .next = 64, .later = 64, .last = 64 };
    const struct dns_question question = { name, type };
    struct resolver_reply reply;
    mono_t end = clock_mono() + 2 * (mono_t)DOCTOR_WAIT_MS;
    *out = (struct dns_answer){ .result = DNS_FAIL };
    if (resolver_ask(e->resolver, name, dns_wire_type(type), 1, clock_mono()) != ERR_OK) return;
    while (!resolver_next(e->resolver, &reply)) {
        mono_t now = clock_mono(), wake = resolver_wake_at(e->resolver);
        if (now >= end) return;
        loop_prepare_sleep(e->loop);
        if (loop_wait(e->loop, clock_wait_ms(now, wake < end ? wake : end)) != ERR_OK) return;
        loop_dispatch(e->loop, &all);
        resolver_run(e->resolver, clock_mono());
    }
    if (reply.message.len) dns_reply_read(reply.message, &question, mem, out);
}

/* ---- ports ---- */

static bool wait_for(int fd, short events, mono_t end) {
    for (;;) {
        mono_t now = clock_mono();
        struct pollfd p = { .fd = fd, .events = events };
        int n = now < end ? poll(&p, 1, clock_wait_ms(now, end)) : 0;
        if (n >= 0 || errno != EINTR) return n > 0;
    }
}

static enum err connect_until(const struct addr *at, mono_t end, int *out_fd) {
    enum err e = socket_connect_tcp(at, out_fd);
    if (e != ERR_OK) return e;
    e = wait_for(*out_fd, POLLOUT, end) ? socket_connected(*out_fd) : ERR_TIMEOUT;
    if (e != ERR_OK) socket_close(*out_fd);
    return e;
}

enum err doctor_connect(const struct addr *at) {
    int fd;
    enum err e = connect_until(at, clock_mono() + DOCTOR_WAIT_MS, &fd);
    if (e == ERR_OK) socket_close(fd);
    return e;
}

/* ---- certificates ---- */

static bool flush(int fd, struct tls_wire *wire, mono_t end) {
    for (size_t sent = 0; sent < wire->out_len;) {
        ssize_t n = send(fd, wire->out + sent, wire->out_len - sent, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLOUT, end))
            return false;
    }
    wire->out_len = 0;
    return true;
}

/* NULL: it is up; else why not. */
static const char *shake_hands(struct doctor_eyes *e, int fd, struct tls *tls,
                               struct tls_wire *wire, mono_t end) {
    for (;;) {
        enum err err = tls_handshake(tls);
        const char *why = err == ERR_CRYPTO ? tls_handshake_trouble() : NULL;
        if (!flush(fd, wire, end)) return "the connection broke";
        if (err == ERR_OK) return NULL;
        if (err != ERR_AGAIN) return why ? why : "the handshake failed";
        if (!wait_for(fd, POLLIN, end)) return "it says nothing";
        ssize_t n = recv(fd, e->in, sizeof e->in, 0);
        if (n <= 0) return n == 0 ? "it closed" : "the connection broke";
        wire->in = e->in;
        wire->in_len = (size_t)n;
    }
}

enum err doctor_look_tls(struct doctor_eyes *e, const struct addr *at, slice domain,
                         struct doctor_cert *out) {
    char name[256];
    int fd;
    mono_t end = clock_mono() + 2 * (mono_t)DOCTOR_WAIT_MS;
    struct tls tls = { 0 };
    struct tls_wire wire = { .out = e->out, .out_cap = sizeof e->out };
    forget_seen(e);
    out->domain = domain;
    out->at = *at;
    if (!slice_cstr(domain, name, sizeof name)) return ERR_BAD;
    enum err err = connect_until(at, clock_mono() + DOCTOR_WAIT_MS, &fd);
    if (err != ERR_OK) return err;
    if (tls_connect(e->client, &wire, name, &tls) != ERR_OK)
        out->trouble = "this host cannot begin a handshake";
    else
        out->trouble = shake_hands(e, fd, &tls, &wire, end);
    if (!out->trouble) e->has_seen = tls_peer_cert(&tls, clock_wall(), &e->seen);
    if (e->has_seen) out->cert = &e->seen.says;
    tls_fini(&tls);
    socket_close(fd);
    return ERR_OK;
}

enum doctor_clock doctor_look_clock(void) {
    struct timex t = { .modes = 0 };
    int state = adjtimex(&t);
    if (state < 0) return CLOCK_UNKNOWN;
    return state == TIME_ERROR ? CLOCK_FREE : CLOCK_KEPT;
}
