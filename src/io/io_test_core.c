#include "io/io_test_core.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/pool.h"
#include <stdio.h>
#include <stdlib.h>

struct queued {
    struct list link;
    struct core_effect fx;
    char bytes[];
};

struct fake_flow {
    struct flow_info info;
    flow_id id;
};

struct core {
    struct fake fake;
    struct core_counters counters;
    unsigned worker;
    struct pool flows;
    struct list queue;
    struct queued *given; /* its bytes live until the next call with `now` */
    struct store_change change;
    flow_id timer_flow, stored_flow, asking_flow, peer_flow;
    uint32_t waited_ms;
    mono_t timer_at;
};

struct fake *fake_of(struct core *c) {
    return &c->fake;
}

struct core *core_new(struct node *node, unsigned worker, const uint8_t seed[static 32],
                      struct now now) {
    (void)node, (void)seed, (void)now;
    struct core *c = mem_zalloc(sizeof *c);
    if (!c) return NULL;
    c->worker = worker;
    c->timer_at = MONO_NEVER;
    list_init(&c->queue);
    pool_init(&c->flows, sizeof(struct fake_flow), 1 << 20);
    return c;
}

/* Every call with `now` ends the life of the last effect's bytes: they are overwritten, so that a
 * use after that shows. */
static void begin(struct core *c) {
    if (!c->given) return;
    memset(c->given->bytes, '#', c->given->fx.bytes.len);
    mem_free(c->given);
    c->given = NULL;
}

void core_free(struct core *c) {
    if (!c) return;
    begin(c);
    for (struct list *l; (l = list_pop(&c->queue)) != NULL;)
        mem_free(LIST_ITEM(l, struct queued, link));
    pool_fini(&c->flows);
    mem_free(c);
}

static void push(struct core *c, struct core_effect fx) {
    slice bytes = fx.kind == FX_MAIL ? fx.mail.bytes : fx.bytes;
    struct queued *q = mem_alloc(sizeof *q + bytes.len);
    if (!q) return; /* under unit_oom.c memory may be short */
    q->fx = fx;
    if (bytes.len) memcpy(q->bytes, bytes.ptr, bytes.len);
    q->fx.bytes = q->fx.mail.bytes = slice_of(q->bytes, bytes.len);
    list_push(&c->queue, &q->link);
}

bool core_next_effect(struct core *c, struct core_effect *out) {
    begin(c);
    struct list *l = list_pop(&c->queue);
    if (!l) return false;
    c->given = LIST_ITEM(l, struct queued, link);
    *out = c->given->fx;
    return true;
}

static struct fake_flow *flow_at(const struct core *c, flow_id f) {
    struct fake_flow *x = pool_get(&c->flows, (pool_id){ flow_slot(f), flow_gen(f) });
    return x && x->id == f ? x : NULL;
}

bool core_flow_in_call(const struct core *c, flow_id f) {
    return c->fake.flow_in_call == f;
}

void core_waited(struct core *c, uint32_t ms) {
    c->waited_ms = ms;
}

void core_measure(struct core *c, const struct overload_measure *m, struct now now) {
    (void)m, (void)now;
    c->fake.measures++;
}

bool core_may_connect(struct core *c, const struct addr *source, struct now now) {
    (void)now;
    (void)source;
    return c != NULL;
}

enum err core_flow_open(struct core *c, const struct flow_info *info, struct now now,
                        flow_id *out) {
    (void)now;
    begin(c);
    pool_id id;
    struct fake_flow *x = pool_new(&c->flows, &id);
    if (!x) return ERR_FULL;
    x->info = *info;
    x->info.cert = NULL; /* borrowed */
    c->fake.certs += info->cert != NULL;
    *out = x->id = flow_id_make(c->worker, id.slot, id.gen);
    atomic_fetch_add(&c->fake.opened, 1);
    return ERR_OK;
}

void core_flow_heard(struct core *c, flow_id f, struct now now) {
    (void)f, (void)now;
    begin(c);
    c->fake.heard++;
}

void core_datagram_heard(struct core *c, const struct flow_info *info, struct now now) {
    (void)info;
    core_flow_heard(c, 0, now);
}

enum err core_flow_datagram(struct core *c, const struct flow_info *info, struct now now,
                            flow_id *out) {
    pool_id id;
    uint32_t slot = 0;
    for (struct fake_flow *x; (x = pool_each(&c->flows, &slot, &id)) != NULL;) {
        if (x->info.transport != FLOW_UDP || !addr_eq(&x->info.peer, &info->peer) ||
            !addr_eq(&x->info.local, &info->local))
            continue;
        *out = x->id;
        return ERR_OK;
    }
    return core_flow_open(c, info, now, out);
}

void core_flow_closed(struct core *c, flow_id f, struct now now) {
    (void)now;
    begin(c);
    if (!flow_at(c, f)) return;
    pool_free(&c->flows, (pool_id){ flow_slot(f), flow_gen(f) });
    atomic_fetch_add(&c->fake.closed, 1);
}

const struct flow_info *core_flow_info(const struct core *c, flow_id f) {
    const struct fake_flow *x = flow_at(c, f);
    return x ? &x->info : NULL;
}

static void respond(struct core *c, flow_id f, const char *status, size_t size) {
    char text[512];
    struct buf b = buf_over(text, sizeof text);
    const struct flow_info *info = core_flow_info(c, f);
    if (!info) return;
    buf_fmt(&b, "SIP/2.0 %s\r\nX-Size: %zu\r\nX-Local: ", status, size);
    addr_put(&b, &info->local);
    buf_lit(&b, "\r\nX-Device: ");
    if (info->has_device_key) buf_hex(&b, info->device_key, 32);
    buf_lit(&b, "\r\nContent-Length: 0\r\n\r\n");
    ASSERT(!b.full);
    push(c, (struct core_effect){ .kind = FX_SEND, .flow = f, .bytes = buf_slice(&b) });
}

enum { CONNECT_TICKET = 5, DNS_TICKET = 6 };

static void connect_to(struct core *c, flow_id f, unsigned port) {
    struct core_effect fx = { .kind = FX_CONNECT,
                              .ticket = CONNECT_TICKET,
                              .name = SLICE("example.com"),
                              .transport = FLOW_TLS };
    ASSERT(addr_read_ip(SLICE("127.0.0.1"), &fx.addr) == ERR_OK);
    fx.addr.port = (uint16_t)port;
    c->asking_flow = f;
    push(c, fx);
}

static void ask(struct core *c, flow_id f) {
    c->asking_flow = f;
    push(c, (struct core_effect){ .kind = FX_DNS,
                                  .ticket = DNS_TICKET,
                                  .name = SLICE("sip.example.org"),
                                  .dns_type = DNS_A });
}

static void tell_outcome(struct core *c, slice text) {
    char mem[512];
    struct buf b = buf_over(mem, sizeof mem);
    buf_lit(&b, "SIP/2.0 200 OK\r\nX-Outcome: ");
    buf_put(&b, text);
    buf_lit(&b, "\r\nContent-Length: 0\r\n\r\n");
    ASSERT(!b.full);
    push(c,
         (struct core_effect){ .kind = FX_SEND, .flow = c->asking_flow, .bytes = buf_slice(&b) });
}

enum err core_connected(struct core *c, uint64_t ticket, enum err result, const char *why,
                        const struct flow_info *info, struct now now, flow_id *out) {
    char mem[300];
    struct buf b = buf_over(mem, sizeof mem);
    begin(c);
    ASSERT(ticket == CONNECT_TICKET);
    if (result != ERR_OK) {
        buf_fmt(&b, "%s: %s", err_name(result), why);
        tell_outcome(c, buf_slice(&b));
        return ERR_GONE;
    }
    buf_fmt(&b, "up to %s, %s",
            info->cert && info->cert->is_verified ? "somebody verified" : "a stranger",
            info->cert && info->cert->why_not ? info->cert->why_not : "-");
    for (unsigned i = 0; info->cert && i < info->cert->uri_count; i++)
        buf_fmt(&b, " " SLICE_FMT, SLICE_ARG(info->cert->uris[i]));
    enum err e = core_flow_open(c, info, now, out);
    if (e == ERR_OK) c->peer_flow = *out;
    tell_outcome(c, buf_slice(&b));
    return e;
}

void core_dns(struct core *c, uint64_t ticket, const struct dns_answer *answer, struct now now) {
    static const char *const results[] = { "OK", "NODATA", "NXDOMAIN", "FAIL" };
    char mem[300];
    struct buf b = buf_over(mem, sizeof mem);
    (void)now;
    begin(c);
    ASSERT(ticket == DNS_TICKET);
    buf_fmt(&b, "%s %u %u", results[answer->result], answer->count, answer->ttl_s);
    tell_outcome(c, buf_slice(&b));
}

static void flood(struct core *c, flow_id f, size_t n) {
    char *text = mem_alloc(n);
    ASSERT(text != NULL);
    memset(text, 'x', n);
    push(c, (struct core_effect){ .kind = FX_SEND, .flow = f, .bytes = slice_of(text, n) });
    mem_free(text);
}

static void mail_to(struct core *c, unsigned worker, flow_id f, slice bytes) {
    struct core_mail mail = { .kind = MAIL_REQUEST,
                              .from_worker = (uint8_t)c->worker,
                              .flow = f,
                              .number = 7,
                              .bytes = bytes };
    push(c, (struct core_effect){ .kind = FX_MAIL, .worker = worker, .mail = mail });
}

static slice wish_of(slice bytes, unsigned long *number) {
    size_t at = slice_find_slice(bytes, SLICE("X-Do: "));
    slice rest = slice_from(bytes, at + 6), word, line;
    *number = 0;
    if (at == bytes.len || !slice_split(&rest, '\r', &line)) return SLICE("echo");
    uint64_t n = 0;
    if (slice_split(&line, ' ', &word) && slice_u64(line, UINT32_MAX, &n) == ERR_OK)
        *number = (unsigned long)n;
    return word;
}

void core_receive(struct core *c, flow_id f, slice bytes, struct now now) {
    unsigned long n;
    begin(c);
    uint64_t at = atomic_fetch_add(&c->fake.received, 1);
    if (at < FAKE_AGES) atomic_store(&c->fake.ages[at], c->waited_ms);
    slice wish = wish_of(bytes, &n);
    if (slice_eq(wish, SLICE("flood"))) {
        flood(c, f, n);
    } else if (slice_eq(wish, SLICE("mail"))) {
        mail_to(c, (unsigned)n, f, bytes);
    } else if (slice_eq(wish, SLICE("store"))) {
        c->stored_flow = f;
        c->change.op = STORE_VALUE_PUT;
        push(c, (struct core_effect){ .kind = FX_STORE, .change = &c->change, .ticket = 42 });
    } else if (slice_eq(wish, SLICE("connect"))) {
        connect_to(c, f, (unsigned)n);
    } else if (slice_eq(wish, SLICE("dns"))) {
        ask(c, f);
    } else if (slice_eq(wish, SLICE("call"))) {
        atomic_store(&c->fake.flow_in_call, f);
    } else if (slice_eq(wish, SLICE("hold"))) {
        uint64_t mine = atomic_fetch_add(&c->fake.held, 1);
        mono_t until = clock_mono() + PATIENCE_MS;
        while (atomic_load(&c->fake.let_go) <= mine && clock_mono() < until) {}
    } else if (slice_eq(wish, SLICE("timer"))) {
        c->timer_flow = f;
        c->timer_at = now.mono + (mono_t)n;
    } else if (!slice_eq(wish, SLICE("silence"))) {
        if (slice_eq(wish, SLICE("cancel")))
            push(c, (struct core_effect){ .kind = FX_CONNECT_CANCEL, .ticket = CONNECT_TICKET });
        if (slice_eq(wish, SLICE("peer")))
            push(c, (struct core_effect){ .kind = FX_SEND,
                                          .flow = c->peer_flow,
                                          .bytes = SLICE("OPTIONS sip:peer SIP/2.0\r\nX-Do: "
                                                         "silence\r\nContent-Length: 0\r\n\r\n") });
        if (slice_eq(wish, SLICE("trace")))
            push(c, (struct core_effect){ .kind = FX_TRACE, .bytes = SLICE("{\"trace\":1}") });
        respond(c, f, "200 OK", bytes.len);
        if (slice_eq(wish, SLICE("close")))
            push(c, (struct core_effect){ .kind = FX_CLOSE, .flow = f, .why = "asked" });
    }
}

void core_bad_stream(struct core *c, flow_id f, const char *why, struct now now) {
    (void)now;
    begin(c);
    atomic_fetch_add(&c->fake.bad, 1);
    respond(c, f, "400 Bad Request", strlen(why));
    push(c, (struct core_effect){ .kind = FX_CLOSE, .flow = f, .why = why });
}

void core_mail_in(struct core *c, const struct core_mail *mail, struct now now) {
    (void)now;
    begin(c);
    atomic_fetch_add(&c->fake.mails, 1);
    if (mail->kind == MAIL_SEND) {
        push(c, (struct core_effect){ .kind = FX_SEND, .flow = mail->flow, .bytes = mail->bytes });
        return;
    }
    char text[256];
    struct buf b = buf_over(text, sizeof text);
    buf_fmt(&b, "SIP/2.0 200 OK\r\nX-Size: %zu\r\nX-Worker: %u\r\nContent-Length: 0\r\n\r\n",
            mail->bytes.len, c->worker);
    struct core_mail back = { .kind = MAIL_SEND,
                              .must_arrive = true,
                              .from_worker = (uint8_t)c->worker,
                              .flow = mail->flow,
                              .bytes = buf_slice(&b) };
    push(c, (struct core_effect){ .kind = FX_MAIL, .worker = mail->from_worker, .mail = back });
}

void core_mail_refused(struct core *c, unsigned worker, const struct core_mail *mail,
                       struct now now) {
    (void)worker, (void)now;
    begin(c);
    atomic_fetch_add(&c->fake.refused, 1);
    if (mail->kind == MAIL_REQUEST)
        respond(c, mail->flow, "503 Service Unavailable", mail->bytes.len);
}

void core_stored(struct core *c, uint64_t ticket, enum err result, struct now now) {
    (void)now;
    begin(c);
    atomic_fetch_add(&c->fake.stored, 1);
    respond(c, c->stored_flow, ticket == 42 && result == ERR_OK ? "200 OK" : "500 No", 0);
}

void core_run_timers(struct core *c, struct now now) {
    begin(c);
    if (c->timer_at > now.mono) return;
    c->timer_at = MONO_NEVER;
    respond(c, c->timer_flow, "200 OK", 0);
}

mono_t core_wake_at(const struct core *c) {
    return c->timer_at;
}

const struct core_counters *core_counters(const struct core *c) {
    return &c->counters;
}

void core_drain(struct core *c, struct now now) {
    (void)now;
    begin(c);
    atomic_fetch_add(&c->fake.drained, 1);
}
