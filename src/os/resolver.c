#include "os/resolver.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/scan.h"
#include "os/loop.h"
#include <ares.h>
#include <pthread.h>
#include <sys/stat.h>

#define SOCKETS_MAX     32u  /* one over UDP and one over TCP to each server, and some to spare */
#define TICK_MS         100  /* how exactly c-ares's own timers are kept */
#define LOOK_AGAIN_MS   2000 /* at resolv.conf */
#define EDNS_BYTES      1232 /* what passes every network in one piece */
#define DEFAULT_TRY_MS  1000
#define DEFAULT_TRIES   2
#define DEFAULT_PORT    53
#define RESOLV_CONF     "/etc/resolv.conf"
#define NAME_BYTES_MAX  253u
#define LABEL_BYTES_MAX 63u

struct watch {
    struct loop_source source; /* fd < 0: free */
    struct channel *channel;
};
/* c-ares cannot change its servers while it asks them: then a new channel takes over, and the old
 * one lives until it has been answered. */
struct channel {
    struct resolver *resolver;
    ares_channel ares; /* NULL: not in use */
    uint32_t waiting;
    struct watch watches[SOCKETS_MAX];
};
struct question {
    struct list link; /* resolver->answered, once it is */
    struct channel *channel;
    uint64_t ticket;
    char *reply; /* heap; NULL: none */
    size_t reply_len;
};

struct resolver {
    struct loop *loop;
    struct channel channels[2];
    unsigned current;
    uint32_t questions; /* asked and not taken */
    struct list answered;
    struct question *given; /* its reply is lent out */
    mono_t tick_at, look_at;
    struct stat seen; /* resolv.conf, when it was read */
    const char *resolv_conf;
    uint16_t port;
    uint32_t try_ms;
    unsigned tries;
    char servers[RESOLVER_SERVERS_MAX * 64]; /* as c-ares reads them; empty: resolv.conf's */
};

/* ---- sockets of c-ares on our loop ---- */

static void watch_ready(struct loop_source *s, unsigned events) {
    const struct watch *w = LIST_ITEM(s, struct watch, source);
    ares_process_fd(w->channel->ares, events & LOOP_READ ? s->fd : ARES_SOCKET_BAD,
                    events & LOOP_WRITE ? s->fd : ARES_SOCKET_BAD);
}

static struct watch *watch_of(struct channel *c, int fd) {
    for (unsigned i = 0; i < SOCKETS_MAX; i++)
        if (c->watches[i].source.fd == fd) return &c->watches[i];
    return NULL;
}

/* A socket that cannot be watched is a server that does not answer in time. */
static void on_socket(void *ctx, ares_socket_t fd, int readable, int writable) {
    struct channel *c = ctx;
    struct loop *loop = c->resolver->loop;
    unsigned wanted = (readable ? LOOP_READ : 0u) | (writable ? LOOP_WRITE : 0u);
    struct watch *w = watch_of(c, fd);
    if (w && (!wanted || loop_mod(loop, &w->source, wanted) != ERR_OK)) { /* mostly: it closes */
        loop_del(loop, &w->source);
        w->source.fd = -1;
    } else if (!w && wanted && (w = watch_of(c, -1)) != NULL) {
        w->source = (struct loop_source){ .on_ready = watch_ready, .fd = fd, .rank = LOOP_FIRST };
        if (loop_add(loop, &w->source, wanted) != ERR_OK) w->source.fd = -1;
    }
}

/* ---- channels ---- */

static int library_state;
static void library_init(void) {
    library_state = ares_library_init_mem(ARES_LIB_INIT_ALL, mem_alloc, mem_free, mem_grow);
}

static void channel_close(struct channel *c) {
    ares_channel ares = c->ares;
    c->ares = NULL;
    if (ares) ares_destroy(ares); /* ends each question with on_reply() */
}

static enum err channel_open(struct resolver *r, struct channel *c) {
    c->resolver = r;
    for (unsigned i = 0; i < SOCKETS_MAX; i++)
        c->watches[i] = (struct watch){ .source = { .fd = -1 }, .channel = c };
    char path[4096];
    if (!slice_cstr(slice_str(r->resolv_conf), path, sizeof path)) return ERR_LIMIT;
    struct ares_options o = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
        .timeout = (int)r->try_ms,
        .tries = (int)r->tries,
        .udp_port = r->port,
        .tcp_port = r->port,
        .ednspsz = EDNS_BYTES,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = c,
        .resolvconf_path = path,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_UDP_PORT |
               ARES_OPT_TCP_PORT | ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF;
    int status = ares_init_options(&c->ares, &o, mask);
    if (status != ARES_SUCCESS) c->ares = NULL;
    if (status == ARES_SUCCESS && r->servers[0])
        status = ares_set_servers_ports_csv(c->ares, r->servers);
    if (status == ARES_SUCCESS) return ERR_OK;
    channel_close(c);
    return status == ARES_ENOMEM ? ERR_MEMORY : ERR_IO;
}

static void stat_resolv_conf(const struct resolver *r, struct stat *out) {
    if (stat(r->resolv_conf, out) != 0) *out = (struct stat){ 0 };
}

static bool has_changed(const struct stat *a, const struct stat *b) {
    return a->st_ino != b->st_ino || a->st_dev != b->st_dev || a->st_size != b->st_size ||
           a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

static void look_at_servers(struct resolver *r, mono_t now) {
    struct channel *old = &r->channels[r->current], *other = &r->channels[!r->current];
    if (other->ares && other->waiting == 0) channel_close(other);
    if (r->servers[0] || now < r->look_at) return;
    r->look_at = now + LOOK_AGAIN_MS;
    struct stat is;
    stat_resolv_conf(r, &is);
    if (!has_changed(&is, &r->seen)) return;
    channel_close(other); /* changed twice while a question was waiting: it waits no longer */
    if (channel_open(r, other) != ERR_OK) return; /* the old servers, until the next look */
    r->seen = is;
    r->current = !r->current;
    if (old->waiting == 0) channel_close(old);
}

/* ---- questions ---- */

static void on_reply(void *ctx, int status, int timeouts, unsigned char *message, int len) {
    struct question *q = ctx;
    struct resolver *r = q->channel->resolver;
    (void)timeouts;
    q->channel->waiting--;
    bool is_reply = status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND;
    if (is_reply && message && len > 0) {
        q->reply = mem_dup(message, (size_t)len);
        q->reply_len = q->reply ? (size_t)len : 0;
    }
    list_push(&r->answered, &q->link);
}

static bool can_be_asked(slice name) {
    if (name.len == 0 || name.len > NAME_BYTES_MAX || name.ptr[name.len - 1] == '.') return false;
    for (slice label; slice_split(&name, '.', &label);) {
        if (label.len == 0 || label.len > LABEL_BYTES_MAX) return false;
        for (size_t i = 0; i < label.len; i++)
            if (!scan_is(label.ptr[i], SCAN_HOST) && label.ptr[i] != '_') return false;
    }
    return true;
}

static void question_free(struct resolver *r, struct question *q) {
    r->questions--;
    mem_free(q->reply);
    mem_free(q);
}

enum err resolver_ask(struct resolver *r, slice name, uint16_t type, uint64_t ticket, mono_t now) {
    enum { CLASS_IN = 1 };
    char text[NAME_BYTES_MAX + 1];
    if (!can_be_asked(name) || !slice_cstr(name, text, sizeof text)) return ERR_BAD;
    if (r->questions >= LIMIT_DNS_QUESTIONS) return ERR_FULL;
    look_at_servers(r, now);
    struct question *q = mem_zalloc(sizeof *q);
    if (!q) return ERR_MEMORY;
    if (r->tick_at == MONO_NEVER) r->tick_at = now + TICK_MS;
    q->ticket = ticket;
    q->channel = &r->channels[r->current];
    q->channel->waiting++;
    r->questions++;
    ares_query(q->channel->ares, text, CLASS_IN, type, on_reply, q);
    return ERR_OK;
}

bool resolver_next(struct resolver *r, struct resolver_reply *out) {
    if (r->given) question_free(r, r->given);
    struct list *l = list_pop(&r->answered);
    r->given = l ? LIST_ITEM(l, struct question, link) : NULL;
    if (!l) return false;
    *out = (struct resolver_reply){ r->given->ticket, { r->given->reply, r->given->reply_len } };
    return true;
}

void resolver_run(struct resolver *r, mono_t now) {
    if (now < r->tick_at) return;
    uint32_t waiting = 0;
    for (unsigned i = 0; i < ARRAY_LEN(r->channels); i++) {
        struct channel *c = &r->channels[i];
        if (c->ares && c->waiting) ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        waiting += c->waiting;
    }
    r->tick_at = waiting ? now + TICK_MS : MONO_NEVER;
}

mono_t resolver_wake_at(const struct resolver *r) {
    return r->tick_at;
}

/* ---- life ---- */

static bool write_servers(struct resolver *r, const struct resolver_config *c) {
    struct buf b = buf_over(r->servers, sizeof r->servers - 1);
    for (size_t i = 0; i < c->server_count; i++) {
        struct addr a = c->servers[i];
        if (a.port == 0) a.port = DEFAULT_PORT;
        if (i) buf_lit(&b, ",");
        addr_put(&b, &a);
    }
    return !b.full;
}

enum err resolver_new(const struct resolver_config *config, struct resolver **out) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
    if (library_state != ARES_SUCCESS) return ERR_IO;
    if (config->server_count > RESOLVER_SERVERS_MAX) return ERR_LIMIT;
    struct resolver *r = mem_zalloc(sizeof *r);
    if (!r) return ERR_MEMORY;
    r->loop = config->loop;
    r->resolv_conf = config->resolv_conf ? config->resolv_conf : RESOLV_CONF;
    r->port = config->port ? config->port : DEFAULT_PORT;
    r->try_ms = config->try_ms ? config->try_ms : DEFAULT_TRY_MS;
    r->tries = config->tries ? config->tries : DEFAULT_TRIES;
    r->tick_at = MONO_NEVER;
    list_init(&r->answered);
    stat_resolv_conf(r, &r->seen);
    enum err e = write_servers(r, config) ? channel_open(r, &r->channels[0]) : ERR_LIMIT;
    if (e != ERR_OK) {
        resolver_free(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

void resolver_free(struct resolver *r) {
    if (!r) return;
    for (unsigned i = 0; i < ARRAY_LEN(r->channels); i++) channel_close(&r->channels[i]);
    struct resolver_reply rest;
    while (resolver_next(r, &rest)) {}
    mem_free(r);
}
