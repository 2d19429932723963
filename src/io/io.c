#include "io/conn_move.h"
#include "io/io_internal.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "guard/overload.h"
#include "os/socket.h"
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

#define DRAIN_LOOK_MS  50
#define DRAIN_QUIET_MS 300 /* the ACK of the last answer is on its way */

void io_limits_defaults(struct io_limits *l) {
    *l = (struct io_limits){
        .connections_max = 262144,
        .per_source_max = 200,
        .handshake_ms = 10000,
        .decide_ms = 5000,
        .message_ms = 10000,
        .connect_ms = 8000, /* three SYNs */
        .ping_ms = 120000,  /* RFC 5626 4.4.1's own */
        .pong_ms = 10000,
        .stall_ms = 30000,
        .linger_ms = 2000,
        .out_bytes_max = 262144,
        .handshakes_per_turn = 4,
    };
}

/* ---- letters ---- */

enum io_letter_kind {
    LETTER_MAIL,
    LETTER_STORED,
    LETTER_CALL,
    LETTER_TLS,
    LETTER_HTTP,
    LETTER_CONN,
    LETTER_DRAIN
};
struct io_letter {
    enum io_letter_kind kind;
    union {
        struct core_mail mail; /* its bytes are the letter's */
        struct {
            uint64_t ticket;
            enum err result;
        } stored;
        struct {
            void (*fn)(struct io *io, void *ctx);
            void *ctx;
        } call;
        struct {
            struct tls_server *server;
            struct tls_client *client;
            bool is_public;
        } tls;
        struct {
            uint64_t ticket;
            uint32_t status, lines_len; /* of the letter's bytes */
        } http;
        struct conn_moved *conn;
        uint32_t grace_ms;
    };
};

enum err io_post_mail(struct io *io, const struct core_mail *mail) {
    struct io_letter l = { .kind = LETTER_MAIL, .mail = *mail };
    return mailbox_send(io->mailbox, &l, sizeof l, mail->bytes, mail->must_arrive);
}

enum err io_post_conn(struct io *io, struct conn_moved *m) {
    struct io_letter l = { .kind = LETTER_CONN, .conn = m };
    return mailbox_send(io->mailbox, &l, sizeof l, SLICE_NONE, false);
}

enum err io_post_stored(struct io *io, uint64_t ticket, enum err result) {
    struct io_letter l = { .kind = LETTER_STORED, .stored = { ticket, result } };
    return mailbox_send(io->mailbox, &l, sizeof l, SLICE_NONE, true);
}

enum err io_post_call(struct io *io, void (*fn)(struct io *io, void *ctx), void *ctx) {
    struct io_letter l = { .kind = LETTER_CALL, .call = { fn, ctx } };
    return mailbox_send(io->mailbox, &l, sizeof l, SLICE_NONE, true);
}

enum err io_post_tls(struct io *io, struct tls_server *tls, struct tls_client *client,
                     bool is_public) {
    struct io_letter l = { .kind = LETTER_TLS, .tls = { tls, client, is_public } };
    return mailbox_send(io->mailbox, &l, sizeof l, SLICE_NONE, true);
}

enum err io_post_http(struct io *io, uint64_t ticket, unsigned status, slice lines, slice body) {
    struct io_letter l = { .kind = LETTER_HTTP, .http = { ticket, status, (uint32_t)lines.len } };
    char *both = mem_alloc(lines.len + body.len + 1);
    if (!both) return ERR_MEMORY;
    struct buf b = buf_over(both, lines.len + body.len);
    buf_put(&b, lines);
    buf_put(&b, body);
    enum err e = mailbox_send(io->mailbox, &l, sizeof l, buf_slice(&b), true);
    mem_free(both);
    return e;
}

enum err io_drain(struct io *io, uint32_t grace_ms) {
    struct io_letter l = { .kind = LETTER_DRAIN, .grace_ms = grace_ms };
    return mailbox_send(io->mailbox, &l, sizeof l, SLICE_NONE, true);
}

void io_stop(struct io *io) {
    atomic_store(&io->stop, true);
    loop_wake(io->loop);
}

static void listeners_close(struct io *io) {
    for (size_t i = 0; i < io->listener_count; i++) {
        struct listener *l = &io->listeners[i];
        if (l->source.fd < 0 || l->transport == FLOW_UDP) continue; /* calls go on over datagrams */
        timer_stop(&io->timers, &l->pause);
        loop_del(io->loop, &l->source);
        close(l->source.fd);
        l->source.fd = -1;
    }
}

static void open_letter(struct io *io, const struct letter *letter) {
    struct io_letter l;
    memcpy(&l, letter->head, sizeof l);
    switch (l.kind) {
    case LETTER_MAIL:
        l.mail.bytes = letter->bytes;
        if (l.mail.kind == MAIL_ACCOUNT) relay_account_changed(io, (uint32_t)l.mail.number);
        if (l.mail.kind == MAIL_DEVICE) relay_device_gone(io, (uint32_t)l.mail.number);
        core_mail_in(io->core, &l.mail, io->now);
        break;
    case LETTER_STORED:
        core_stored(io->core, l.stored.ticket, l.stored.result, io->now);
        break;
    case LETTER_CALL:
        l.call.fn(io, l.call.ctx);
        break;
    case LETTER_TLS:
        tls_server_unref(io->tls);
        io->tls = l.tls.server;
        io->site_is_public = l.tls.is_public;
        if (!l.tls.client) break;
        tls_client_unref(io->tls_client);
        io->tls_client = l.tls.client;
        break;
    case LETTER_HTTP:
        conn_http_answered(io, l.http.ticket, l.http.status,
                           slice_head(letter->bytes, l.http.lines_len),
                           slice_from(letter->bytes, l.http.lines_len));
        break;
    case LETTER_CONN:
        conn_move_in(io, l.conn);
        break;
    case LETTER_DRAIN:
        listeners_close(io);
        io->drain_until = io->now.mono + l.grace_ms;
        io->drain_quiet_at = io->now.mono + DRAIN_QUIET_MS;
        core_drain(io->core, io->now);
        break;
    }
    io_drain_effects(io);
}

static void open_letters(struct io *io) {
    for (unsigned i = 0; i < IO_LETTERS; i++) {
        struct letter *l = mailbox_take(io->mailbox);
        if (!l) return;
        open_letter(io, l);
        mem_free(l);
    }
}

/* ---- making ---- */

static enum err listener_open(struct io *io, const struct io_listen *from, struct buf *why) {
    if (io->listener_count == IO_LISTEN_MAX) return ERR_LIMIT;
    ASSERT(from->transport != FLOW_TLS || io->tls);
    bool is_udp = from->transport == FLOW_UDP;
    struct listener *l = &io->listeners[io->listener_count];
    bool is_sip_udp = is_udp && !from->is_turn;
    enum err e = is_sip_udp && !io->udp ? udp_new(io, &io->udp) : ERR_OK;
    int fd = -1;
    if (e == ERR_OK)
        e = is_udp ? socket_bind_udp(&from->at, &fd, &l->at)
                   : socket_listen_tcp(&from->at, &fd, &l->at);
    if (e != ERR_OK) {
        if (why) {
            buf_lit(why, "cannot listen on ");
            addr_put(why, &from->at);
            buf_fmt(why, ": %s", err_text(e));
        }
        return e;
    }
    l->io = io;
    l->transport = from->transport;
    l->lane = from->lane;
    l->is_turn = from->is_turn;
    l->source = (struct loop_source){
        .on_ready = is_udp ? udp_ready : listener_ready,
        .fd = fd,
        .rank = is_udp ? LOOP_FIRST : LOOP_LAST,
    };
    io->listener_count++;          /* io_free closes it from here on */
    if (is_udp && from->is_turn) { /* the relay reads it in a way of its own, and closes it */
        l->source.fd = -1;
        return relay_listen(io->relay, fd, &l->at);
    }
    return loop_add(io->loop, &l->source, LOOP_READ);
}

static enum err fill(struct io *io, const struct io_config *config, struct buf *why) {
    io->wire_in = mem_alloc(IO_WIRE_BYTES);
    io->wire_out = mem_alloc(TLS_WIRE_OUT_BYTES);
    io->plain = mem_alloc(IO_PLAIN_BYTES);
    if (!io->wire_in || !io->wire_out || !io->plain) return ERR_MEMORY;
    io->wire = (struct tls_wire){ .out = io->wire_out, .out_cap = TLS_WIRE_OUT_BYTES };
    enum err e = loop_new(&io->loop);
    if (e == ERR_OK) e = mailbox_new(io->loop, LIMIT_MAILBOX, &io->mailbox);
    if (e == ERR_OK && config->relay) e = relay_new(io, config->relay, &io->relay);
    for (size_t i = 0; e == ERR_OK && i < config->listen_count; i++)
        e = listener_open(io, &config->listen[i], why);
    return e;
}

/* Numbers are given from below, so a high one means that few are left. */
static int fd_max(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur > INT_MAX) return INT_MAX;
    int all = (int)r.rlim_cur;
    return all - (all / 8 < IO_FDS_KEPT ? all / 8 : IO_FDS_KEPT);
}

enum err io_new(const struct io_config *config, struct io **out, struct buf *why) {
    struct io *io = mem_zalloc(sizeof *io);
    if (!io) return ERR_MEMORY;
    io->core = config->core;
    io->worker = config->worker;
    io->limits = config->limits;
    io->hooks = config->hooks;
    io->site = config->site;
    io->site_is_public = config->site_is_public;
    io->now = clock_now();
    io->fd_max = fd_max();
    io->drain_until = MONO_NEVER;
    io->measured_at = io->now.mono;
    io->tls = config->tls ? tls_server_ref(config->tls) : NULL;
    list_init(&io->conns);
    list_init(&io->dead);
    list_init(&io->dirty);
    list_init(&io->gone);
    list_init(&io->refused);
    list_init(&io->answers);
    list_init(&io->connecting);
    timers_init(&io->timers, io->now.mono);
    crypto_random(&io->hash_key, sizeof io->hash_key);
    /* Beyond the crowd there is room for those that we begin: it must not cut us off from others.
     */
    pool_init(&io->conn_pool, sizeof(struct conn), io->limits.connections_max + LIMIT_CONNECTS);
    pool_init(&io->source_pool, sizeof(struct source_count), io->limits.connections_max);
    map_init(&io->sources, io->limits.connections_max);
    if (config->dns_server_count > IO_DNS_SERVERS_MAX) {
        io_free(io);
        return ERR_LIMIT;
    }
    io->dns_server_count = config->dns_server_count;
    for (size_t i = 0; i < config->dns_server_count; i++)
        io->dns_servers[i] = config->dns_servers[i];
    enum err e = fill(io, config, why);
    if (e != ERR_OK) {
        io_free(io);
        return e;
    }
    io->tls_client = config->tls_client;
    *out = io;
    return ERR_OK;
}

/* Everything that is open is closed, the peers are told; core hears of each flow. */
static void close_all(struct io *io) {
    io->is_closing = true;
    io_drain_effects(io);
    for (struct list *l = io->conns.next, *next; l != &io->conns; l = next) {
        next = l->next;
        struct conn *c = LIST_ITEM(l, struct conn, link);
        conn_finish(c);
    }
    io_flush(io);
    while (!list_empty(&io->conns)) conn_kill(LIST_ITEM(io->conns.next, struct conn, link));
    io_drain_effects(io);
    udp_flush(io);
    conn_reap(io);
}

void io_free(struct io *io) {
    if (!io) return;
    io->peer_count = 0; /* they may be freed already */
    if (io->loop) close_all(io);
    for (size_t i = 0; i < io->listener_count; i++)
        if (io->listeners[i].source.fd >= 0) {
            loop_del(io->loop, &io->listeners[i].source);
            close(io->listeners[i].source.fd);
        }
    for (struct letter *l; io->mailbox && (l = mailbox_take(io->mailbox)) != NULL; mem_free(l)) {
        struct io_letter head;
        memcpy(&head, l->head, sizeof head);
        if (head.kind == LETTER_CONN) conn_moved_free(head.conn);
        if (head.kind != LETTER_TLS) continue;
        tls_server_unref(head.tls.server);
        tls_client_unref(head.tls.client);
    }
    relay_free(io->relay);
    mailbox_free(io->mailbox);
    asker_free(io->asker);
    loop_free(io->loop);
    for (struct out_block *b = io->free_blocks, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    udp_free(io->udp);
    tls_server_unref(io->tls);
    tls_client_unref(io->tls_client);
    map_fini(&io->sources);
    pool_fini(&io->source_pool);
    pool_fini(&io->conn_pool);
    mem_free(io->by_slot);
    mem_free(io->wire_in);
    mem_free(io->wire_out);
    mem_free(io->plain);
    mem_free(io);
}

void io_set_peers(struct io *io, struct io *const *peers, unsigned count) {
    ASSERT(count <= IO_PEERS_MAX);
    io->peer_count = count;
    memcpy(io->peers, peers, count * sizeof(struct io *));
}

struct addr io_address(const struct io *io, size_t index) {
    ASSERT(index < io->listener_count);
    return io->listeners[index].at;
}
struct core *io_core(struct io *io) {
    return io->core;
}
unsigned io_worker(const struct io *io) {
    return io->worker;
}
const struct io_counters *io_counters(const struct io *io) {
    return &io->counters;
}

/* ---- running ---- */

static void run_timers(struct io *io) {
    timers_advance(&io->timers, io->now.mono);
    for (struct timer *t; (t = timers_next(&io->timers)) != NULL;) {
        if (t->kind == CONN_TIMER_READ)
            conn_expired(LIST_ITEM(t, struct conn, read_timer), CONN_TIMER_READ);
        else if (t->kind == CONN_TIMER_WRITE)
            conn_expired(LIST_ITEM(t, struct conn, write_timer), CONN_TIMER_WRITE);
        else { /* a listener's pause is over */
            struct listener *l = LIST_ITEM(t, struct listener, pause);
            if (loop_mod(io->loop, &l->source, LOOP_READ) != ERR_OK)
                timer_start(&io->timers, t, io->now.mono + 1000);
        }
    }
    dns_run(io);
    if (core_wake_at(io->core) <= io->now.mono) core_run_timers(io->core, io->now);
    io_drain_effects(io);
}

/* Flushing may end connections, their end may make core speak, and so on. */
static void finish_turn(struct io *io) {
    relay_end_turn(io);
    do {
        io_drain_effects(io);
        io_flush(io);
    } while (io_owes_core(io));
    udp_flush(io);
    conn_reap(io);
}

/* Calls that are up survive us: their routes are in tokens. Only open questions are awaited, those
 * of all workers: the phone that is to answer may be connected to this one. */
static bool is_drained(struct io *io) {
    if (io->drain_until == MONO_NEVER) return false;
    if (io->now.mono >= io->drain_until) return true;
    uint64_t open = atomic_load_explicit(&core_counters(io->core)->open, memory_order_relaxed);
    for (unsigned i = 0; i < io->peer_count; i++)
        open +=
            atomic_load_explicit(&core_counters(io->peers[i]->core)->open, memory_order_relaxed);
    if (open) io->drain_quiet_at = io->now.mono + DRAIN_QUIET_MS;
    return io->now.mono >= io->drain_quiet_at;
}

/* ---- load ---- */

#define NEXT_PER_TURN                                                                              \
    16u /* so many idle flows are read before those in calls are looked at again */
#define NEXT_SHARE                                                                                 \
    8u /* who is in a call needs five turns for each new one: it keeps what is up moving */
#define OLD_EVERY  16u /* whoever waited for long has a caller who gave up: a little of the time */
#define HARD_TURNS 16u /* while calls want more than there is, one handshake in so many turns */

/* Tell core every now and then how much of the time its traffic took, and what had to wait. */
static void measure(struct io *io) {
    mono_t ms = io->now.mono - io->measured_at;
    const struct loop_counters *now = loop_counters(io->loop), *then = &io->measured;
    if (ms < OVERLOAD_STEP_MS) return;
    loop_account(io->loop);
    uint64_t used = now->used_us - then->used_us, later = now->later_us - then->later_us;
    uint64_t denied = now->denied_us - then->denied_us, slept = now->slept_us - then->slept_us;
    uint64_t all = (uint64_t)ms * 1000, awake = used + denied;
    /* What the kernel denied, it denied in the middle of a sleep as well. */
    if (slept + awake > all) slept = awake < all ? all - awake : 0;
    struct overload_measure m = { .ms = (uint32_t)(ms < 60000 ? ms : 60000),
                                  .used_us = used - later,
                                  .idle_us = slept + later,
                                  .denied_us = denied,
                                  .arrived = (uint32_t)(now->next_in - then->next_in),
                                  .served = (uint32_t)(now->next_out - then->next_out),
                                  .is_unread = io->is_unread };
    core_measure(io->core, &m, io->now);
    io->measured = *now;
    io->measured_at = io->now.mono;
    io->is_unread = true;
}

static struct loop_shares shares(const struct io *io) {
    const struct loop_counters *n = loop_counters(io->loop);
    uint64_t turn = atomic_load_explicit(&io->counters.turns, memory_order_relaxed);
    struct loop_shares s = { .next = NEXT_PER_TURN,
                             .next_share = NEXT_SHARE,
                             .old_every = OLD_EVERY,
                             .old_ms = OVERLOAD_STALE_MS };
    /* A handshake costs as much as several calls: with calls waiting it gets what keeps it going.
     * Nobody new is accepted while those who were are not through. */
    bool is_hard = n->waiting[LOOP_NEXT] > 0;
    s.later = is_hard ? turn % HARD_TURNS == 0 : io->limits.handshakes_per_turn;
    s.last = n->waiting[LOOP_LATER] == 0 && s.later ? 1 : 0;
    return s;
}

static int wait_ms(struct io *io) {
    if (mailbox_has_letters(io->mailbox) || loop_is_busy(io->loop) || atomic_load(&io->stop))
        return 0;
    mono_t at = mono_min(core_wake_at(io->core), timers_wake_at(&io->timers));
    if (io->drain_until != MONO_NEVER)
        at = mono_min(mono_min(at, io->drain_until), io->now.mono + DRAIN_LOOK_MS);
    at = mono_min(at, dns_wake_at(io));
    at = mono_min(at, relay_wake_at(io));
    return clock_wait_ms(io->now.mono, at);
}

enum err io_run(struct io *io) {
    while (!atomic_load(&io->stop) && !is_drained(io)) {
        loop_prepare_sleep(io->loop);
        /* Nothing has been heard anew: who stands here left something behind. */
        if (!io->is_udp_unread && !loop_counters(io->loop)->waiting[LOOP_FIRST])
            io->is_unread = false;
        io->is_udp_unread = false;
        enum err e = loop_wait(io->loop, wait_ms(io));
        if (e != ERR_OK) return e;
        io->now = clock_now();
        measure(io);
        struct loop_shares s = shares(io);
        loop_dispatch(io->loop, &s);
        open_letters(io);
        run_timers(io);
        finish_turn(io);
        io_count(&io->counters.turns, 1);
    }
    close_all(io);
    return ERR_OK;
}
