/* daemon/daemon_status.c - what `kith status` tells. */
#include "base/mem.h"
#include "core/core.h"
#include "daemon/admin.h"
#include "daemon/daemon_priv.h"
#include "os/loop.h"
#include "proxy/dialogs.h"
#include "registrar/location.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define LEGACY_SHOWN 100

static uint64_t resident_bytes(void) {
    char mem[128];
    size_t len = 0;
    if (file_read("/proc/self/statm", mem, sizeof mem, &len) != ERR_OK) return 0;
    slice rest = slice_of(mem, len), field;
    uint64_t pages = 0;
    /* The first is the size of the address space, the second what is resident. */
    if (!slice_split(&rest, ' ', &field)) return 0;
    if (!slice_split(&rest, ' ', &field) || slice_u64(field, UINT64_MAX / 65536, &pages) != ERR_OK)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t load(const _Atomic uint64_t *v) {
    return atomic_load_explicit(v, memory_order_relaxed);
}

/* One line per counter: the sum over the workers. */
static void put_counters(struct daemon *d, struct json_writer *w) {
#define CORE_ROW(name)                                                                             \
    { #name, offsetof(struct core_counters, name) }
#define IO_ROW(name)                                                                               \
    { #name, offsetof(struct io_counters, name) }
    static const struct {
        const char *name;
        size_t at;
    } core_rows[] = { CORE_ROW(flows),
                      CORE_ROW(transactions),
                      CORE_ROW(messages_in),
                      CORE_ROW(messages_out),
                      CORE_ROW(requests),
                      CORE_ROW(responses),
                      CORE_ROW(bad_messages),
                      CORE_ROW(refused),
                      CORE_ROW(registers_ok),
                      CORE_ROW(registers_refused),
                      CORE_ROW(calls_connected),
                      CORE_ROW(calls_refused_unkeyed),
                      CORE_ROW(shed),
                      CORE_ROW(auth_failures),
                      CORE_ROW(mails_in),
                      CORE_ROW(mails_out) },
      io_rows[] = { IO_ROW(connections),       IO_ROW(accepted),        IO_ROW(refused_full),
                    IO_ROW(refused_source),    IO_ROW(handshakes_ok),   IO_ROW(handshakes_resumed),
                    IO_ROW(handshakes_failed), IO_ROW(handshakes_slow), IO_ROW(closed_stalled),
                    IO_ROW(closed_unfinished), IO_ROW(closed_bad),      IO_ROW(bytes_in),
                    IO_ROW(bytes_out),         IO_ROW(datagrams_in),    IO_ROW(datagrams_out),
                    IO_ROW(datagrams_dropped), IO_ROW(mails_refused),   IO_ROW(connects_up),
                    IO_ROW(connects_ok),       IO_ROW(connects_failed), IO_ROW(closed_silent),
                    IO_ROW(dns_questions),     IO_ROW(dns_failures),    IO_ROW(http_requests),
                    IO_ROW(http_refused),      IO_ROW(websockets) };
#undef CORE_ROW
#undef IO_ROW
    for (size_t r = 0; r < ARRAY_LEN(core_rows); r++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < d->worker_count; i++)
            sum += load((const _Atomic uint64_t *)(const void *)((const char *)core_counters(
                                                                     d->workers[i].core) +
                                                                 core_rows[r].at));
        json_put_u64(w, core_rows[r].name, sum);
    }
    for (size_t r = 0; r < ARRAY_LEN(io_rows); r++) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < d->worker_count; i++)
            sum += load((const _Atomic uint64_t *)(const void *)((const char *)io_counters(
                                                                     d->workers[i].io) +
                                                                 io_rows[r].at));
        json_put_u64(w, io_rows[r].name, sum);
    }
}

/* The worker that has most to do speaks for all. */
static void put_load(struct daemon *d, struct json_writer *w) {
    uint64_t least = 100;
    for (unsigned i = 0; i < d->worker_count; i++) {
        uint64_t taken = load(&core_counters(d->workers[i].core)->taken_percent);
        if (taken < least) least = taken;
    }
    json_begin_object(w, "load");
    json_put_bool(w, "overloaded", least < 100);
    json_put_u64(w, "new_requests_taken_percent", least);
    json_end(w);
}

static void put_store(struct daemon *d, struct json_writer *w) {
    struct storer_state s;
    storer_state(d->storer, &s);
    json_begin_object(w, "store");
    json_put_bool(w, "failing", s.failing);
    if (s.failing) {
        json_put_wall(w, "since", s.since);
        json_put_str(w, "trouble", s.trouble);
    }
    json_put_u64(w, "waiting", s.waiting);
    json_put_u64(w, "commits", s.commits);
    json_put_u64(w, "changes", s.changes);
    json_put_u64(w, "failures", s.failures);
    json_end(w);
}

struct legacy_walk {
    struct store_change *rows[LEGACY_SHOWN];
    size_t count, total;
    wall_t now;
};

static bool legacy_visit(void *ctx, const struct device_row *row) {
    struct legacy_walk *walk = ctx;
    bool valid = row->kind == DEVICE_LEGACY && !row->revoked && row->until > walk->now;
    if (!valid) return true;
    walk->total++;
    if (walk->count == LEGACY_SHOWN) return true;
    struct store_change put = { .op = STORE_DEVICE_PUT, .device = *row };
    walk->rows[walk->count] = store_change_copy(&put);
    if (walk->rows[walk->count]) walk->count++;
    return true;
}

/* Who is in the legacy lane, and till when: every status shows it. */
static void put_legacy(struct daemon *d, struct json_writer *w) {
    struct legacy_walk *walk = mem_zalloc(sizeof *walk);
    if (!walk) return;
    walk->now = clock_wall();
    accounts_each_device(d->world.accounts, legacy_visit, walk);
    json_put_u64(w, "legacy_count", walk->total);
    json_begin_array(w, "legacy_devices");
    for (size_t i = 0; i < walk->count; i++) {
        const struct device_row *row = &walk->rows[i]->device;
        char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
        struct buf aor = buf_over(mem, sizeof mem);
        accounts_put_aor(d->world.accounts, row->account_id, &aor);
        json_begin_object(w, NULL);
        json_put_u64(w, "device", row->id);
        json_put_text(w, "aor", buf_slice(&aor));
        json_put_text(w, "name", row->name);
        json_put_wall(w, "until", row->until - 1000); /* the last day, not the midnight after */
        json_put_text(w, "why", row->why);
        json_end(w);
        mem_free(walk->rows[i]);
    }
    json_end(w);
    mem_free(walk);
}

static void put_listeners(struct daemon *d, struct json_writer *w) {
    static const char *const names[] = { "udp", "tcp", "tls", "wss" };
    json_begin_array(w, "listen");
    for (size_t i = 0; i < d->listen_count; i++) {
        char mem[80];
        struct buf at = buf_over(mem, sizeof mem);
        struct addr a = io_address(d->workers[0].io, i);
        addr_put(&at, &a);
        json_begin_object(w, NULL);
        json_put_text(w, "at", buf_slice(&at));
        json_put_str(w, "transport", names[d->listen[i].transport & 3]);
        json_put_bool(w, "legacy", d->listen[i].lane == LANE_LEGACY);
        json_put_bool(w, "turn", d->listen[i].is_turn);
        json_end(w);
    }
    json_end(w);
}

void daemon_put_status(void *ctx, struct json_writer *w) {
    struct daemon *d = ctx;
    json_put_str(w, "version", KITH_VERSION);
    json_put_u64(w, "pid", (uint64_t)getpid());
    json_put_u64(w, "uptime_s", (uint64_t)(clock_mono() - d->started.mono) / 1000);
    json_put_u64(w, "workers", d->worker_count);
    json_begin_array(w, "domains");
    for (unsigned i = 0; i < d->domain_count; i++) json_put_text(w, NULL, d->domains[i]);
    json_end(w);
    json_put_text(w, "name", d->config->listen_name);
    put_listeners(d, w);
    json_put_u64(w, "accounts", accounts_count(d->world.accounts));
    json_put_u64(w, "bindings", location_count(node_location(d->node)));
    json_put_u64(w, "calls", dialogs_count(node_dialogs(d->node)));
    json_put_u64(w, "memory_bytes", resident_bytes());
    json_put_wall(w, "certificate_until", certs_until(&d->certs));
    int64_t left = certs_until(&d->certs) - clock_wall();
    json_put_u64(w, "certificate_days", left > 0 ? (uint64_t)left / 86400000 : 0);
    json_put_bool(w, "certificate_is_local", d->certs.is_local);
    put_load(d, w);
    put_store(d, w);
    daemon_put_turn(d, w);
    put_legacy(d, w);
    put_counters(d, w);
}
