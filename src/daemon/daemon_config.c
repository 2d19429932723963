/* daemon/daemon_config.c - which configuration runs, and what follows from it. */
#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon_priv.h"
#include "os/loop.h"
#include "os/socket.h"
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEMO_PORT_TRIES 32
#define TURN_PORT       3478 /* RFC 8656 5 */
#define SIP_PORT        5061

static bool host_has(const struct addr *at);
static bool is_taken(const struct addr *at, uint8_t transport);

/* --port 0: one free port for all addresses, because phones are told one: "localhost" may be either
 * family, and the QR code names a third address. Somebody may take it before we listen: then the
 * start fails and says so. */
static void choose_demo_port(struct daemon *d, const struct addr *more, size_t count) {
    static const struct addr loopback[] = { { .family = ADDR_V4, .ip = { 127, 0, 0, 1 } },
                                            { .family = ADDR_V6, .ip = { [15] = 1 } } };
    for (int tries = 0; tries < DEMO_PORT_TRIES; tries++) {
        struct addr bound;
        int fd = -1;
        if (socket_listen_tcp(&loopback[0], &fd, &bound) != ERR_OK &&
            socket_listen_tcp(&loopback[1], &fd, &bound) != ERR_OK)
            return;
        (void)close(fd);
        bool is_free = true;
        for (size_t i = 0; i < ARRAY_LEN(loopback) + count; i++) {
            struct addr at = i < 2 ? loopback[i] : more[i - 2];
            at.port = bound.port;
            is_free = is_free && (!host_has(&at) || !is_taken(&at, FLOW_TLS));
        }
        if (!is_free) continue;
        d->options.demo_port = bound.port;
        return;
    }
}

/* The demo is a configuration like any other, only that nobody had to write it. */
static slice demo_text(struct daemon *d) {
    struct addr more[8];
    size_t count = d->options.lan ? host_addresses(more, ARRAY_LEN(more)) : 0;
    if (d->options.demo_port == 0) choose_demo_port(d, more, count);
    struct buf b = buf_over(d->demo_config, sizeof d->demo_config);
    buf_fmt(&b,
            "domain = localhost\nworkers = 2\n[limits]\ndrain = 2s\n[listen]\ntls = 127.0.0.1:%u, "
            "[::1]:%u",
            d->options.demo_port, d->options.demo_port);
    for (size_t i = 0; i < count; i++) {
        more[i].port = d->options.demo_port;
        buf_lit(&b, ",\n  ");
        addr_put(&b, &more[i]);
    }
    /* Who reaches the demo is on this host or its network: so there the relay may go. */
    buf_lit(&b, "\n[turn]");
    buf_lit(&b, "\nallow = ");
    if (count == 0) buf_lit(&b, "127.0.0.0/8, ::1");
    for (size_t i = 0; i < count; i++) {
        if (i) buf_lit(&b, ", ");
        addr_put_ip(&b, &more[i]);
        buf_put(&b, slice_str(more[i].family == ADDR_V4 ? "/24" : "/64"));
    }
    buf_lit(&b, "\n");
    ASSERT(!b.full);
    return buf_slice(&b);
}

enum err daemon_config_load(struct daemon *d, struct config **out, struct buf *why) {
    struct config_errors *errors = mem_zalloc(sizeof *errors);
    if (!errors) return ERR_MEMORY;
    enum err e;
    slice file = SLICE("defaults");
    if (d->options.demo) {
        file = SLICE("demo");
        e = config_read(demo_text(d), file, out, errors);
    } else if (d->options.config) {
        file = slice_str(d->options.config);
        e = config_load(d->options.config, out, errors);
    } else {
        e = config_read(SLICE_NONE, SLICE_NONE, out, errors);
    }
    if (e == ERR_CONFIG) config_errors_put(errors, file, why);
    mem_free(errors);
    return e;
}

unsigned daemon_domains(struct daemon *d, const struct config *c,
                        slice out[static NODE_DOMAINS_MAX]) {
    for (unsigned i = 0; i < c->domains.count; i++) out[i] = c->domains.at[i];
    if (c->domains.count) return c->domains.count;
    out[0] = host_name(d->host);
    return 1;
}

static bool host_has(const struct addr *at) {
    struct addr probe = *at, bound;
    probe.port = 0;
    int fd = -1;
    enum err e = socket_listen_tcp(&probe, &fd, &bound);
    if (e == ERR_OK) (void)close(fd);
    return e != ERR_UNSUPPORTED && e != ERR_MISSING;
}

/* Workers share an address by SO_REUSEPORT, so a second server of the same user would share it too
 * and take half of the connections. A plain bind tells whether somebody listens there. */
static bool is_taken(const struct addr *at, uint8_t transport) {
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(at, &ss);
    int type = transport == FLOW_UDP ? SOCK_DGRAM : SOCK_STREAM, on = 1;
    int fd = socket(ss.ss_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    if (type == SOCK_STREAM) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool taken = bind(fd, (const struct sockaddr *)&ss, len) != 0 && errno == EADDRINUSE;
    (void)close(fd);
    return taken;
}

static enum err add(struct daemon *d, const struct config_addrs *addrs, uint8_t transport,
                    uint8_t lane, bool may_lack, struct buf *why) {
    for (unsigned i = 0; i < addrs->count; i++) {
        const struct addr *at = &addrs->at[i];
        if (may_lack && !host_has(at)) {
            char mem[80];
            struct buf text = buf_over(mem, sizeof mem);
            addr_put(&text, at);
            LOG(LOG_INFO, "listen.left_out", LOG_F_SLICE("at", buf_slice(&text)),
                LOG_F_STR("why", "this host has no such address"));
            continue;
        }
        if (d->listen_count == IO_LISTEN_MAX) {
            buf_fmt(why, "more than %d listeners", IO_LISTEN_MAX);
            return ERR_LIMIT;
        }
        if (at->port && is_taken(at, transport)) {
            addr_put(why, at);
            buf_lit(why, " is in use: another server runs there. Stop it, or choose another port ");
            buf_put(why, d->options.demo ? SLICE("with --port")
                                         : SLICE("below [listen] in a configuration file"));
            return ERR_EXISTS;
        }
        d->listen[d->listen_count++] =
            (struct io_listen){ .at = *at, .transport = transport, .lane = lane };
    }
    return ERR_OK;
}

/* The relay is no reason not to start, unless the operator asked for it in words: another one may
 * run on this host already. */
static enum err add_turn(struct daemon *d, bool is_asked_for, struct buf *why) {
    static const uint8_t transports[] = { FLOW_UDP, FLOW_TCP };
    struct config_addrs at = d->config->turn_listen;
    size_t before = d->listen_count;
    enum err e = ERR_OK;
    if (!d->config->turn_on) return ERR_OK;
    if (!is_asked_for) { /* one for each address of the phones */
        at.count = 0;
        for (unsigned i = 0; i < d->config->listen_tls.count; i++) {
            struct addr one = d->config->listen_tls.at[i];
            bool is_new = true;
            one.port = TURN_PORT;
            for (unsigned k = 0; k < at.count; k++) is_new = is_new && !addr_eq(&at.at[k], &one);
            if (is_new) at.at[at.count++] = one;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(transports) && e == ERR_OK; i++)
        e = add(d, &at, transports[i], LANE_MAIN, !is_asked_for, why);
    for (size_t i = before; i < d->listen_count; i++) d->listen[i].is_turn = true;
    if (e != ERR_EXISTS || is_asked_for) return e;
    LOG(LOG_WARN, "turn.off", LOG_F_SLICE("why", buf_slice(why)));
    buf_clear(why);
    d->listen_count = before;
    return ERR_OK;
}

/* Browsers connect to no port of SIP (the Fetch standard calls 5060 and 5061 bad ports). So, unless
 * the operator has said where to listen, the same is offered where they do: at 443, or at 8443
 * where that needs rights that we do not have. Nothing depends on it but the page. */
static enum err add_page(struct daemon *d, struct buf *why) {
    static const uint16_t ports[] = { 443, 8443 };
    enum err e = ERR_OK;
    if (d->options.demo && d->options.demo_port != SIP_PORT) return ERR_OK;
    for (unsigned i = 0; i < d->config->listen_tls.count && e == ERR_OK; i++) {
        struct config_addrs one = { 1, { d->config->listen_tls.at[i] } };
        for (size_t p = d->options.demo ? 1 : 0; p < ARRAY_LEN(ports); p++) {
            struct addr bound;
            int fd = -1;
            one.at[0].port = ports[p];
            if (is_taken(&one.at[0], FLOW_TLS) ||
                socket_listen_tcp(&one.at[0], &fd, &bound) != ERR_OK)
                continue;
            (void)close(fd);
            e = add(d, &one, FLOW_TLS, LANE_MAIN, true, why);
            break;
        }
    }
    return e;
}

enum err daemon_listeners(struct daemon *d, struct buf *why) {
    const struct config *c = d->config;
    const struct setting *tls = setting_find(SLICE("listen"), SLICE("tls"));
    bool may_lack = d->options.demo || !c->given[tls - settings];
    d->listen_count = 0;
    enum err e = add(d, &c->listen_tls, FLOW_TLS, LANE_MAIN, may_lack, why);
    if (e == ERR_OK && may_lack) e = add_page(d, why);
    if (e == ERR_OK) e = add(d, &c->legacy_tls, FLOW_TLS, LANE_LEGACY, false, why);
    if (e == ERR_OK) e = add(d, &c->legacy_tcp, FLOW_TCP, LANE_LEGACY, false, why);
    if (e == ERR_OK) e = add(d, &c->legacy_udp, FLOW_UDP, LANE_LEGACY, false, why);
    const struct setting *turn = setting_find(SLICE("turn"), SLICE("listen"));
    if (e == ERR_OK) e = add_turn(d, c->given[turn - settings], why);
    if (e == ERR_OK && d->listen_count == 0) {
        buf_lit(why, "this host has neither IPv4 nor IPv6");
        return ERR_UNSUPPORTED;
    }
    return e;
}

enum err daemon_check_files(const struct config *config, struct config_errors *errors) {
    return certs_check(config, clock_wall(), errors);
}
