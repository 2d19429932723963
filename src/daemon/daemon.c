/* daemon/daemon.c - see daemon.h. */
#include "base/log.h"
#include "base/mem.h"
#include "core/core.h"
#include "crypto/crypto.h"
#include "daemon/daemon_priv.h"
#include "daemon/web.h"
#include "daemon/web_files.h"
#include "os/loop.h"
#include "os/sandbox.h"
#include "store_sqlite/store_sqlite.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TICKET_ROTATE_MS INT64_C(43200000) /* 12 h: a ticket lives at most a day */
#define CHECK_EVERY_MS   INT64_C(3600000)  /* certificates near their end */
#define POST_TRIES       200               /* times 1 ms, when a worker's mailbox is full */

/* ---- hooks: what workers, store thread and operator tell each other ----------------------- */

void daemon_pause_ms(long ms) {
    struct timespec t = { .tv_nsec = ms * 1000000 };
    (void)nanosleep(&t, NULL);
}

/* On the store thread: it may wait a little for a busy worker. */
static void on_stored(void *ctx, unsigned worker, uint64_t ticket, enum err result) {
    struct daemon *d = ctx;
    enum err e = ERR_FULL;
    for (int i = 0; i < POST_TRIES && e != ERR_OK; i++) {
        e = io_post_stored(d->workers[worker].io, ticket, result);
        if (e != ERR_OK) daemon_pause_ms(1);
    }
    if (e != ERR_OK) LOG(LOG_ERROR, "store.answer_lost", LOG_F_STR("why", err_text(e)));
}

/* On a worker's thread: it never waits. */
static void on_store(void *ctx, unsigned worker, const struct store_change *change,
                     uint64_t ticket) {
    struct daemon *d = ctx;
    enum err e = storer_submit(d->storer, worker, change, ticket);
    if (e == ERR_OK || ticket == 0) return;
    if (io_post_stored(d->workers[worker].io, ticket, e) != ERR_OK)
        LOG(LOG_ERROR, "store.answer_lost", LOG_F_STR("why", err_text(e)));
}

static void on_trace(void *ctx, unsigned worker, slice json) {
    (void)worker;
    trace_put(((struct daemon *)ctx)->hub, json);
}

static void on_followed(void *ctx, bool followed) {
    node_set_tracing(((struct daemon *)ctx)->node, followed);
}

static void tell_workers(struct daemon *d, enum core_mail_kind kind, uint32_t number) {
    struct core_mail mail = { .kind = kind, .must_arrive = true, .number = number };
    for (unsigned i = 0; i < d->worker_count; i++) {
        enum err e = ERR_FULL;
        for (int tries = 0; tries < POST_TRIES && e != ERR_OK; tries++) {
            e = io_post_mail(d->workers[i].io, &mail);
            if (e != ERR_OK) daemon_pause_ms(1);
        }
        if (e != ERR_OK) LOG(LOG_ERROR, "admin.mail_lost", LOG_F_U64("worker", i));
    }
}

static void account_changed(void *ctx, uint32_t id) {
    tell_workers(ctx, MAIL_ACCOUNT, id);
}

static void device_changed(void *ctx, uint32_t id) {
    tell_workers(ctx, MAIL_DEVICE, id);
}

static void follow_trace(void *ctx, bool (*sink)(void *sink_ctx, slice line), void *sink_ctx) {
    enum err e = trace_follow(((struct daemon *)ctx)->hub, sink, sink_ctx);
    if (e != ERR_OK) LOG(LOG_WARN, "trace.refused", LOG_F_STR("why", err_text(e)));
}

static enum err commit_by_storer(void *ctx, const struct store_change *changes, size_t count) {
    return storer_commit(((struct daemon *)ctx)->storer, changes, count);
}

/* ---- start -------------------------------------------------------------------------------- */

static void raise_file_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) return;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0)
        LOG(LOG_WARN, "limit.files", LOG_F_STR("why", strerror(errno)));
}

/* glibc grows an arena by what is asked, a page or two, with a system call each time: half a call
 * to the kernel for each call between phones. In larger steps it is one in hundreds. */
static void grow_heap_in_steps(void) {
    mem_step(MEM_STEP);
#ifdef __GLIBC__
    (void)mallopt(M_TRIM_THRESHOLD, (int)(4 * MEM_STEP));
#endif
}

/* The demo on a terminal is for reading: its log goes into a file. */
static void open_log(struct daemon *d) {
    uint8_t key[16];
    crypto_random(key, sizeof key);
    log_set_key(key);
    log_set_level((enum log_level)d->config->log_level);
    if (d->options.demo && d->options.for_people && isatty(STDERR_FILENO)) {
        char mem[DATADIR_PATH_MAX + 64];
        d->log_fd = open(datadir_path(&d->dir, "demo.log", mem),
                         O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    }
    log_open(d->log_fd >= 0 ? d->log_fd : STDERR_FILENO, clock_wall);
}

static enum err open_store(struct daemon *d, struct buf *why) {
    char mem[DATADIR_PATH_MAX + 64];
    d->seal_key = seal_key_page();
    if (!d->seal_key) return ERR_MEMORY;
    enum err e = datadir_seal_key(&d->dir, d->seal_key, why);
    if (e == ERR_OK)
        e = store_sqlite_open(datadir_path(&d->dir, "kith.db", mem), STORE_SQLITE_WRITE, &d->store,
                              why);
    return e;
}

void daemon_node_config(struct daemon *d, const struct config *config, const slice *domains,
                        unsigned domain_count, struct node_config *out) {
    config_to_node(config, out);
    out->workers = d->worker_count;
    out->domain_count = domain_count;
    memcpy(out->domains, domains, sizeof out->domains);
    daemon_turn_to_node(d, config->listen_name.len ? config->listen_name : domains[0], out);
}

static enum err make_node(struct daemon *d, struct buf *why) {
    struct node_config nc;
    daemon_node_config(d, d->config, d->domains, d->domain_count, &nc);
    nc.seal_key = d->seal_key;
    enum err e = node_new(&nc, d->store, clock_now(), &d->node);
    if (e == ERR_OK) return e;
    buf_fmt(why, "the stored people and bindings cannot be loaded: %s", err_text(e));
    if (e == ERR_STORE) buf_fmt(why, ": %s", store_trouble(d->store));
    return e;
}

static enum err save_domains(struct daemon *d) {
    char *mem = mem_alloc(WORLD_DOMAINS_MAX);
    if (!mem) return ERR_MEMORY;
    enum err e;
    struct store_change change = world_domains_change(&d->world, mem, &e);
    if (e == ERR_OK) e = store_commit(d->store, &change, 1);
    mem_free(mem);
    return e;
}

static enum err make_world(struct daemon *d, struct buf *why) {
    d->world.dir = &d->dir;
    d->world.accounts = node_accounts(d->node);
    d->world.seal_key = d->seal_key;
    d->face = (struct server_face){ .ctx = d,
                                    .location = node_location(d->node),
                                    .node = d->node,
                                    .put_status = daemon_put_status,
                                    .put_turn_uris = daemon_put_turn_uris,
                                    .turn_each = daemon_turn_each,
                                    .put_page = daemon_put_page,
                                    .account_changed = account_changed,
                                    .device_changed = device_changed,
                                    .trace = follow_trace };
    enum err e = world_load_ids(&d->world, d->store);
    if (e == ERR_OK) e = world_set_domains(&d->world, d->domains, d->domain_count);
    if (e == ERR_OK) e = clicks_load(&d->world, d->store);
    if (e == ERR_OK) e = save_domains(d);
    struct pki_id *ca = NULL;
    if (e == ERR_OK) e = world_device_ca(&d->world, d->started.wall, &ca, why);
    if (e == ERR_OK) e = storer_start(d->store, on_stored, d, &d->storer);
    d->world.commit = commit_by_storer;
    d->world.commit_ctx = d;
    d->world.server = &d->face;
    return e;
}

static enum err make_certs(struct daemon *d, struct buf *why) {
    struct certs_wish wish = { .domains = d->domains,
                               .domain_count = d->domain_count,
                               .name = d->config->listen_name,
                               .lan = d->options.lan };
    enum err e = certs_load(d->config, &d->dir, &wish, d->started.wall, &d->certs, why);
    return e == ERR_OK ? tls_tickets_new(TICKET_ROTATE_MS, &d->tickets) : e;
}

static void set_limits(const struct daemon *d, struct io_limits *l) {
    const struct setting *row = setting_find(SLICE("limits"), SLICE("per_source"));
    bool local_only = !d->config->given[row - settings];
    for (size_t i = 0; i < d->listen_count; i++)
        local_only = local_only && addr_is_loopback(&d->listen[i].at);
    io_limits_defaults(l);
    l->connections_max = d->config->flows;
    l->per_source_max = d->config->per_source;
    if (l->per_source_max == 0 || local_only) l->per_source_max = d->config->flows;
    l->handshake_ms = d->config->handshake_s * 1000;
    l->message_ms = d->config->message_s * 1000;
}

static enum err make_workers(struct daemon *d, struct buf *why) {
    struct daemon_tls tls;
    enum err e = daemon_tls_make(d, d->config, &d->certs, &tls, why);
    if (e != ERR_OK) return e;
    for (unsigned i = 0; i < d->worker_count && e == ERR_OK; i++) {
        struct worker *w = &d->workers[i];
        uint8_t seed[32];
        crypto_random(seed, sizeof seed);
        w->daemon = d;
        w->number = i;
        w->core = core_new(d->node, i, seed, clock_now());
        crypto_wipe(seed, sizeof seed);
        struct io_config c = { .worker = i,
                               .listen = d->listen,
                               .listen_count = d->listen_count,
                               .tls = tls.server[i],
                               .tls_client = tls.client[i],
                               .dns_servers = d->config->dns_servers.at,
                               .dns_server_count = d->config->dns_servers.count,
                               .hooks = { .ctx = d,
                                          .on_store = on_store,
                                          .on_trace = on_trace,
                                          .on_http = daemon_on_http,
                                          .on_upgrade = daemon_on_upgrade,
                                          .on_guest_gone = daemon_on_guest_gone },
                               .site = &web_site,
                               .site_is_public = !d->certs.is_local,
                               .core = w->core,
                               .relay = d->turn.is_on ? &d->turn.relay : NULL };
        set_limits(d, &c.limits);
        e = w->core ? io_new(&c, &w->io, why) : ERR_MEMORY;
        if (e == ERR_OK) tls.client[i] = NULL; /* the io's now */
        /* Port 0: what the first worker got is everybody's. */
        for (size_t l = 0; e == ERR_OK && i == 0 && l < d->listen_count; l++)
            d->listen[l].at.port = io_address(w->io, l).port;
    }
    daemon_tls_drop(&tls);
    return e;
}

static void *worker_run(void *arg) {
    struct worker *w = arg;
    char name[16];
    (void)snprintf(name, sizeof name, "kith-%u", w->number);
    (void)pthread_setname_np(pthread_self(), name);
    w->result = io_run(w->io);
    atomic_store(&w->ended, true);
    if (w->result != ERR_OK) (void)kill(getpid(), SIGTERM);
    return NULL;
}

/* The ports are known now. */
static enum err tell_node_of_relay(struct daemon *d) {
    struct node_config nc;
    daemon_node_config(d, d->config, d->domains, d->domain_count, &nc);
    return node_configure(d->node, &nc);
}

static enum err start_workers(struct daemon *d) {
    struct io *all[NODE_WORKERS_MAX];
    for (unsigned i = 0; i < d->worker_count; i++) all[i] = d->workers[i].io;
    for (unsigned i = 0; i < d->worker_count; i++) io_set_peers(all[i], all, d->worker_count);
    for (unsigned i = 0; i < d->worker_count; i++) {
        struct worker *w = &d->workers[i];
        if (pthread_create(&w->thread, NULL, worker_run, w) != 0) return ERR_IO;
        w->is_running = true;
    }
    return ERR_OK;
}

/* For `Type=notify` of systemd, without its library. */
static void notify_manager(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    slice s = slice_str(path);
    if (s.len < 2 || !slice_cstr(s, at.sun_path, sizeof at.sun_path)) return;
    if (at.sun_path[0] == '@') at.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + s.len);
    (void)sendto(fd, state, slice_str(state).len, MSG_NOSIGNAL, (struct sockaddr *)&at, len);
    (void)close(fd);
}

static void say_ready(struct daemon *d) {
    char mem[1024], domain[300];
    struct buf at = buf_over(mem, sizeof mem), domains = buf_over(domain, sizeof domain);
    for (size_t i = 0; i < d->listen_count; i++) {
        static const char *const names[] = { "udp", "tcp", "tls", "wss" };
        struct addr a = io_address(d->workers[0].io, i);
        buf_fmt(&at, "%s%s%s:", i ? " " : "",
                d->listen[i].is_turn               ? "turn-"
                : d->listen[i].lane == LANE_LEGACY ? "legacy-"
                                                   : "",
                names[d->listen[i].transport & 3]);
        addr_put(&at, &a);
    }
    for (unsigned i = 0; i < d->domain_count && i < 4; i++)
        buf_fmt(&domains, "%s" SLICE_FMT, i ? " " : "", SLICE_ARG(d->domains[i]));
    LOG(LOG_INFO, "ready", LOG_F_STR("version", KITH_VERSION),
        LOG_F_SLICE("listen", buf_slice(&at)), LOG_F_SLICE("domains", buf_slice(&domains)),
        LOG_F_U64("domain_count", d->domain_count), LOG_F_U64("workers", d->worker_count),
        LOG_F_U64("accounts", accounts_count(d->world.accounts)), LOG_F_STR("data", d->dir.path),
        LOG_F_U64("pid", getpid()));
    if (d->certs.ca_is_new)
        LOG(LOG_INFO, "tls.ca_made", LOG_F_STR("why", "phones must trust DATA/tls/ca.pem"));
    notify_manager("READY=1");
}

static unsigned count_workers(const struct config *c) {
    if (c->workers) return c->workers;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > NODE_WORKERS_MAX ? NODE_WORKERS_MAX : (unsigned)cores;
}

static enum err start(struct daemon *d, struct buf *why) {
    enum err e = daemon_config_load(d, &d->config, why);
    if (e == ERR_OK) e = datadir_open(d->options.data, true, &d->dir, why);
    if (e == ERR_OK) e = datadir_lock(&d->dir, why);
    if (e != ERR_OK) return e;
    open_log(d);
    if (sandbox_enter() != ERR_OK) LOG(LOG_WARN, "sandbox.refused", LOG_F_STR("why", "the kernel"));
    raise_file_limit();
    grow_heap_in_steps();
    d->started = clock_now();
    d->certificates_checked = d->started.mono;
    d->worker_count = count_workers(d->config);
    d->domain_count = daemon_domains(d, d->config, d->domains);
    e = daemon_listeners(d, why);
    if (e == ERR_OK) e = open_store(d, why);
    if (e == ERR_OK) e = make_node(d, why);
    if (e == ERR_OK) e = trace_hub_new(on_followed, d, &d->hub);
    if (e == ERR_OK) e = make_world(d, why);
    if (e == ERR_OK) e = make_certs(d, why);
    if (e == ERR_OK) e = daemon_turn_prepare(d, why);
    if (e == ERR_OK) e = make_workers(d, why);
    if (e == ERR_OK) e = tell_node_of_relay(d);
    if (e == ERR_OK && d->options.demo) e = demo_prepare(d, why);
    if (e == ERR_OK) e = daemon_web_start(d);
    if (e == ERR_OK) e = start_workers(d);
    if (e == ERR_OK) e = admin_socket_start(&d->world, &d->admin, why);
    return e;
}

/* ---- run and stop ------------------------------------------------------------------------- */

static void stop_workers(struct daemon *d) {
    for (unsigned i = 0; i < d->worker_count; i++)
        if (d->workers[i].is_running && !atomic_load(&d->workers[i].ended))
            io_stop(d->workers[i].io);
}

static bool all_ended(struct daemon *d) {
    for (unsigned i = 0; i < d->worker_count; i++)
        if (d->workers[i].is_running && !atomic_load(&d->workers[i].ended)) return false;
    return true;
}

/* Waits for requests that still lack their final answer, not for calls that are up: those have
 * their state in the phones and in route tokens, and outlive us. A second signal does not wait. */
static void drain(struct daemon *d, const sigset_t *signals) {
    notify_manager("STOPPING=1");
    LOG(LOG_INFO, "stopping", LOG_F_U64("grace_s", d->config->drain_s));
    for (unsigned i = 0; i < d->worker_count; i++)
        if (io_drain(d->workers[i].io, d->config->drain_s * 1000) != ERR_OK)
            io_stop(d->workers[i].io);
    while (!all_ended(d)) {
        struct timespec wait = { .tv_nsec = 20000000 };
        int got = sigtimedwait(signals, NULL, &wait);
        if (got == SIGTERM || got == SIGINT) stop_workers(d);
    }
}

static void stop(struct daemon *d) {
    stop_workers(d);
    for (unsigned i = 0; i < d->worker_count; i++)
        if (d->workers[i].is_running) (void)pthread_join(d->workers[i].thread, NULL);
    if (d->hub) trace_hub_stop(d->hub);
    admin_socket_stop(d->admin);
    web_stop(d->web);
    d->web = NULL; /* what io closes from here on tells it nothing */
    storer_stop(d->storer);
    trace_hub_free(d->hub);
    for (unsigned i = 0; i < d->worker_count; i++) io_free(d->workers[i].io);
    for (unsigned i = 0; i < d->worker_count; i++) core_free(d->workers[i].core);
    node_free(d->node);
    store_close(d->store);
    daemon_turn_fini(d);
    certs_fini(&d->certs);
    tls_tickets_unref(d->tickets);
    world_fini(&d->world);
    seal_key_page_free(d->seal_key);
    config_free(d->config);
    datadir_close(&d->dir);
}

static void run(struct daemon *d, const sigset_t *signals) {
    for (;;) {
        struct timespec wait = { .tv_sec = 60 };
        int got = sigtimedwait(signals, NULL, &wait);
        if (got == SIGTERM || got == SIGINT) break;
        if (got == SIGHUP) daemon_reload(d);
        mono_t now = clock_mono();
        if (now - d->certificates_checked < CHECK_EVERY_MS) continue;
        d->certificates_checked = now;
        daemon_renew(d);
    }
    if (d->options.for_people) {
        (void)printf(
            "\nStopping: open requests get their answers first. Ctrl-C again stops at once.\n");
        (void)fflush(stdout);
    }
    drain(d, signals);
}

enum err daemon_run(const struct daemon_options *options, struct buf *why) {
    struct daemon *d = mem_zalloc(sizeof *d);
    if (!d) return ERR_MEMORY;
    d->options = *options;
    d->dir.lock_fd = d->log_fd = -1;
    world_init(&d->world);
    /* Blocked before there are threads, so that only the main thread takes them, when it asks. */
    sigset_t signals, old;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGHUP);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, &old);
    (void)signal(SIGPIPE, SIG_IGN);
    enum err e = start(d, why);
    if (e == ERR_OK) {
        say_ready(d);
        if (options->for_people) demo_greet(d);
        run(d, &signals);
    }
    for (unsigned i = 0; i < d->worker_count && e == ERR_OK; i++) {
        e = d->workers[i].result;
        if (e != ERR_OK) buf_fmt(why, "worker %u failed: %s", i, err_text(e));
    }
    stop(d);
    if (e == ERR_OK) LOG(LOG_INFO, "stopped", LOG_F_U64("pid", getpid()));
    if (e == ERR_OK && options->for_people) (void)printf("Stopped.\n");
    log_open(STDERR_FILENO, NULL);
    if (d->log_fd >= 0) (void)close(d->log_fd);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    mem_free(d);
    return e;
}
