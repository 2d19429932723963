/* daemon/daemon_turn.c - see turn.h. */
#include "base/log.h"
#include "crypto/crypto.h"
#include "daemon/daemon_priv.h"
#include "json/write.h"
#include <unistd.h>

#define ACCOUNTS_AT_ONCE 65536u /* with allocations, over all workers */

/* ---- addresses ---- */

static bool is_local_only(const struct daemon *d) {
    for (size_t i = 0; i < d->listen_count; i++)
        if (d->listen[i].is_turn && !addr_is_loopback(&d->listen[i].at)) return false;
    return true;
}

/* A public address is better than a private one, that better than the host's own loopback. */
static unsigned rank_of(const struct addr *a) {
    struct addr real = address_canonical(a, NULL, 0);
    switch (address_scope(&real)) {
    case SCOPE_PUBLIC:
        return 4;
    case SCOPE_PRIVATE:
        return 3;
    case SCOPE_RESERVED: /* documentation networks are what laboratories use */
        return 2;
    case SCOPE_LOOPBACK:
        return 1;
    case SCOPE_NONE:
    case SCOPE_LINK:
    case SCOPE_MULTICAST:
        return 0;
    }
    return 0;
}

static void take_if_better(struct addr best[static 2], const struct addr *a) {
    struct addr *have = &best[a->family == ADDR_V6];
    if (a->family == ADDR_NONE || rank_of(a) == 0) return;
    if (have->family == ADDR_NONE || rank_of(a) > rank_of(have)) *have = *a;
    have->port = 0;
}

/* Where relayed packets leave from: the operator's words, else the best this host has. */
static void choose_relay(const struct daemon *d, size_t own_count, struct addr out[static 2]) {
    const struct config *c = d->config;
    memset(out, 0, 2 * sizeof *out);
    for (unsigned i = 0; i < c->turn_relay.count; i++)
        take_if_better(out, &c->turn_relay.at[i].base);
    if (c->turn_relay.count) return;
    if (is_local_only(d)) {
        for (size_t i = 0; i < d->listen_count; i++)
            if (d->listen[i].is_turn) take_if_better(out, &d->listen[i].at);
        return;
    }
    for (size_t i = 0; i < own_count; i++) take_if_better(out, &d->turn.own[i]);
}

/* What clients are told instead, behind a NAT that maps one address to one. */
static void choose_told(const struct config *c, const struct addr bind[static 2],
                        struct addr out[static 2]) {
    memcpy(out, bind, 2 * sizeof *out);
    for (unsigned i = 0; i < c->turn_public.count; i++) {
        const struct addr *a = &c->turn_public.at[i].base;
        struct addr *told = &out[a->family == ADDR_V6];
        if (told->family != ADDR_NONE) *told = *a;
    }
}

/* ---- who may ---- */

static bool device_counts(struct accounts *accounts, uint32_t id, uint32_t account_id) {
    struct device device;
    return accounts_device(accounts, id, &device) == ERR_OK && device.account_id == account_id &&
           !device.revoked;
}

static bool may_relay(void *ctx, uint32_t account_id, uint32_t device_id) {
    struct daemon *d = ctx;
    struct account account;
    if (device_id && !device_counts(d->world.accounts, device_id, account_id)) return false;
    return accounts_by_id(d->world.accounts, account_id, &account) == ERR_OK &&
           !(account.flags & ACCOUNT_DISABLED);
}

/* ---- life ---- */

static void say_what_it_relays(const struct daemon *d, const struct addr told[static 2]) {
    char mem[160];
    struct buf b = buf_over(mem, sizeof mem);
    for (unsigned i = 0; i < 2; i++)
        if (told[i].family) {
            if (b.len) buf_lit(&b, " ");
            addr_put_ip(&b, &told[i]);
        }
    LOG(LOG_INFO, "turn.ready", LOG_F_SLICE("relay", buf_slice(&b)),
        LOG_F_U64("first_port", d->config->turn_first_port),
        LOG_F_U64("last_port", d->config->turn_last_port));
}

enum err daemon_turn_prepare(struct daemon *d, struct buf *why) {
    const struct config *c = d->config;
    struct daemon_turn *t = &d->turn;
    bool is_heard = false;
    for (size_t i = 0; i < d->listen_count; i++) is_heard = is_heard || d->listen[i].is_turn;
    if (!is_heard) return ERR_OK;
    size_t own_count = host_addresses(t->own, TURN_OWN_MAX);
    struct addr bind[2], told[2];
    choose_relay(d, own_count, bind);
    choose_told(c, bind, told);
    if (!bind[0].family && !bind[1].family) {
        LOG(LOG_WARN, "turn.off", LOG_F_STR("why", "no address to relay from: set [turn] relay"));
        size_t kept = 0;
        for (size_t i = 0; i < d->listen_count; i++)
            if (!d->listen[i].is_turn) d->listen[kept++] = d->listen[i];
        d->listen_count = kept;
        return ERR_OK;
    }
    struct ports_config ports = { .first = (uint16_t)c->turn_first_port,
                                  .last = (uint16_t)c->turn_last_port,
                                  .per_account = c->turn_per_account,
                                  .accounts_max = ACCOUNTS_AT_ONCE,
                                  .relay = { told[0], told[1] } };
    t->ports = ports_new(&ports);
    if (!t->ports) {
        buf_lit(why, "memory is short");
        return ERR_MEMORY;
    }
    turn_key(d->seal_key, t->key);
    t->realm = slice_head(d->domains[0], 64);
    t->relay = (struct relay_config){ .turn = { .realm = t->realm,
                                                .key = t->key,
                                                .has_v4 = bind[0].family != ADDR_NONE,
                                                .has_v6 = bind[1].family != ADDR_NONE,
                                                .allocations_max = c->turn_allocations,
                                                .lifetime_s = 600,
                                                .lifetime_max_s = 3600,
                                                .nonce_life_s = 600,
                                                .bytes_per_s = c->turn_bytes_per_s,
                                                .allowed = c->turn_allow.at,
                                                .allowed_count = c->turn_allow.count,
                                                .nat64 = c->turn_nat64.at,
                                                .nat64_count = c->turn_nat64.count,
                                                .own = t->own,
                                                .own_count = (unsigned)own_count },
                                      .ports = t->ports,
                                      .bind = { bind[0], bind[1] },
                                      .may_relay = may_relay,
                                      .ctx = d };
    t->is_on = true;
    say_what_it_relays(d, told);
    return ERR_OK;
}

void daemon_turn_fini(struct daemon *d) {
    struct reservation kept;
    while (d->turn.ports && ports_expired(d->turn.ports, MONO_NEVER, &kept)) (void)close(kept.fd);
    ports_free(d->turn.ports);
    crypto_wipe(d->turn.key, sizeof d->turn.key);
}

/* ---- what people see ---- */

static uint64_t sum(struct daemon *d, size_t at) {
    uint64_t n = 0;
    for (unsigned i = 0; i < d->worker_count; i++) {
        const struct turn_counters *c = io_turn_counters(d->workers[i].io);
        if (!c) continue;
        const void *counter = (const char *)c + at;
        n += atomic_load_explicit((const _Atomic uint64_t *)counter, memory_order_relaxed);
    }
    return n;
}

static void put_limits(const struct daemon *d, struct json_writer *w) {
    const struct turn_config *c = &d->turn.relay.turn;
    json_begin_object(w, "limits");
    json_put_u64(w, "allocations_per_worker", c->allocations_max);
    json_put_u64(w, "allocations_per_account", d->config->turn_per_account);
    json_put_u64(w, "bytes_per_second", c->bytes_per_s);
    json_put_u64(w, "lifetime_s", c->lifetime_s);
    json_put_u64(w, "lifetime_max_s", c->lifetime_max_s);
    json_end(w);
}

void daemon_put_turn(struct daemon *d, struct json_writer *w) {
#define ROW(name)                                                                                  \
    { #name, offsetof(struct turn_counters, name) }
    static const struct {
        const char *name;
        size_t at;
    } rows[] = { ROW(allocations),     ROW(created),    ROW(refused),      ROW(bad_credentials),
                 ROW(forbidden_peers), ROW(packets_up), ROW(packets_down), ROW(bytes_up),
                 ROW(bytes_down),      ROW(dropped),    ROW(links),        ROW(icmp) };
#undef ROW
    json_begin_object(w, "turn");
    json_put_bool(w, "on", d->turn.is_on);
    for (size_t i = 0; i < ARRAY_LEN(rows) && d->turn.is_on; i++)
        json_put_u64(w, rows[i].name, sum(d, rows[i].at));
    if (d->turn.is_on) {
        put_limits(d, w);
        daemon_put_turn_uris(d, w);
    }
    json_end(w);
}

/* RFC 7065 3.1. Under TLS it is reached at the port of the phones too. */
static void put_uri(struct json_writer *w, slice host, const struct addr *at, const char *scheme,
                    const char *transport) {
    char mem[320];
    struct buf b = buf_over(mem, sizeof mem);
    struct addr any = { .family = at->family };
    buf_fmt(&b, "%s:", scheme);
    if (host.len || addr_ip_eq(at, &any))
        buf_put(&b, host);
    else
        addr_put_host(&b, at);
    buf_fmt(&b, ":%u", at->port);
    if (transport) buf_fmt(&b, "?transport=%s", transport); /* RFC 7064: none with stun: */
    if (!b.full) json_put_text(w, NULL, buf_slice(&b));
}

/* Was the same said for a listener before this one? One name covers both families. */
static bool is_said(const struct daemon *d, size_t count, uint16_t port) {
    const struct io_listen *l = &d->listen[count];
    for (size_t i = 0; i < count; i++)
        if (d->listen[i].is_turn == l->is_turn && d->listen[i].lane == l->lane &&
            d->listen[i].transport == l->transport && io_address(d->workers[0].io, i).port == port)
            return true;
    return false;
}

/* Those that need credentials, or (RFC 7064) those that need none. */
static void put_urls(struct daemon *d, slice name, struct json_writer *w, const char *member,
                     bool is_stun) {
    bool by_address = is_local_only(d);
    json_begin_array(w, member);
    for (size_t i = 0; i < d->listen_count && d->turn.is_on; i++) {
        const struct io_listen *l = &d->listen[i];
        struct addr at = io_address(d->workers[0].io, i);
        bool is_tls = !l->is_turn && l->transport == FLOW_TLS && l->lane == LANE_MAIN;
        if ((!l->is_turn || !by_address) && is_said(d, i, at.port)) continue;
        if (is_stun && l->is_turn && l->transport == FLOW_UDP)
            put_uri(w, by_address ? SLICE_NONE : name, &at, "stun", NULL);
        else if (!is_stun && l->is_turn)
            put_uri(w, by_address ? SLICE_NONE : name, &at, "turn",
                    l->transport == FLOW_UDP ? "udp" : "tcp");
        else if (!is_stun && is_tls)
            put_uri(w, name, &at, "turns", "tcp");
    }
    json_end(w);
}

void daemon_put_turn_uris(void *ctx, struct json_writer *w) {
    struct daemon *d = ctx;
    put_urls(d, d->config->listen_name.len ? d->config->listen_name : d->domains[0], w, "uris",
             false);
}

static slice urls_text(struct daemon *d, slice name, bool is_stun, struct buf b) {
    struct json_writer w = json_over(&b);
    put_urls(d, name, &w, NULL, is_stun);
    return b.full ? SLICE("[]") : buf_slice(&b);
}

void daemon_turn_to_node(struct daemon *d, slice name, struct node_config *out) {
    struct daemon_turn *t = &d->turn;
    if (!t->is_on) return;
    out->stun_urls = urls_text(d, name, true, buf_over(t->stun_urls, sizeof t->stun_urls));
    out->relay_urls = urls_text(d, name, false, buf_over(t->relay_urls, sizeof t->relay_urls));
    out->relay_key = t->key;
}
