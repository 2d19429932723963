/* daemon/web.c - see web.h. */
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "daemon/web_priv.h"
#include "guard/guard.h"
#include "os/loop.h"

#define SWEEP_S 5

/* ---- places: which hosts and origins are ours ---------------------------------------------- */

enum err web_set_places(struct web *w, const slice *hosts, unsigned host_count,
                        const slice *origins, unsigned origin_count) {
    size_t len = 1;
    ASSERT(host_count <= ARRAY_LEN(w->hosts) && origin_count <= ARRAY_LEN(w->origins));
    for (unsigned i = 0; i < host_count; i++) len += hosts[i].len;
    for (unsigned i = 0; i < origin_count; i++) len += origins[i].len;
    char *text = mem_alloc(len);
    if (!text) return ERR_MEMORY;
    struct buf b = buf_over(text, len);
    (void)pthread_mutex_lock(&w->mutex);
    for (unsigned i = 0; i < host_count + origin_count; i++) {
        slice from = i < host_count ? hosts[i] : origins[i - host_count];
        slice kept = slice_of(text + b.len, from.len);
        buf_put(&b, from);
        if (i < host_count)
            w->hosts[i] = kept;
        else
            w->origins[i - host_count] = kept;
    }
    w->host_count = host_count;
    w->origin_count = origin_count;
    mem_free(w->places);
    w->places = text;
    (void)pthread_mutex_unlock(&w->mutex);
    return ERR_OK;
}

/* A page of elsewhere whose name was made to lead here (DNS rebinding) must not count as ours. An
 * address cannot be made to. */
static bool is_our_host(const struct web *w, slice host) {
    struct addr a;
    slice name = http_host_name(host);
    if (addr_read_ip(name, &a) == ERR_OK || (name.len && name.ptr[0] == '[')) return true;
    if (slice_ieq(name, SLICE("localhost"))) return true;
    for (unsigned i = 0; i < w->host_count; i++)
        if (slice_ieq(name, w->hosts[i])) return true;
    return false;
}

static bool is_own_origin(struct web *w, const struct http_request *r) {
    (void)pthread_mutex_lock(&w->mutex);
    bool is_own = http_origin_is(r->origin, r->host) && is_our_host(w, r->host);
    (void)pthread_mutex_unlock(&w->mutex);
    return is_own;
}

static bool is_listed_origin(struct web *w, slice origin) {
    bool is_listed = false;
    (void)pthread_mutex_lock(&w->mutex);
    for (unsigned i = 0; i < w->origin_count; i++)
        if (slice_ieq(origin, w->origins[i])) is_listed = true;
    (void)pthread_mutex_unlock(&w->mutex);
    return is_listed;
}

void web_put_address(const struct web *w, struct buf *out) {
    buf_lit(out, "https://");
    if (w->host_count) buf_put(out, w->hosts[0]);
    if (w->config.port != 443) buf_fmt(out, ":%u", w->config.port);
}

/* ---- who is signed in ----------------------------------------------------------------------- */

/* The person whose cookie came with it. A visitor's token is no cookie: it counts where it was made
 * for, and nowhere else. */
static bool find_session(struct web *w, const struct http_request *r, wall_t now, slice *out_token,
                         struct session *out) {
    struct accounts *a = w->config.world->accounts;
    struct account account;
    return http_cookie(r, SLICE("__Host-kith"), out_token) &&
           session_find(a, *out_token, DEVICE_SESSION, now, out) == ERR_OK &&
           accounts_by_id(a, out->account_id, &account) == ERR_OK &&
           !(account.flags & ACCOUNT_GUEST);
}

/* ---- WebSockets ---------------------------------------------------------------------------- */

unsigned web_upgrade(struct web *w, const struct http_request *r, struct io_session *out) {
    struct session session;
    slice token;
    wall_t now = clock_wall();
    bool is_own = is_own_origin(w, r);
    if (http_query(r, SLICE("guest"), &token)) {
        if (session_find(w->config.world->accounts, token, DEVICE_SESSION, now, &session) != ERR_OK)
            return 403;
        out->guest = web_guest_enter(w, session.id, r->origin, now);
        if (!out->guest) return 403;
    } else {
        /* RFC 6455 10.2: who names no origin is no browser, and a browser's cookie is not his. */
        if (r->origin.len && !is_own && !is_listed_origin(w, r->origin)) return 403;
        if (!is_own || !find_session(w, r, now, &token, &session))
            return 101; /* it proves itself by digest */
    }
    out->has_key = true;
    session_token_hash(token, out->key);
    return 101;
}

/* ---- the queue ----------------------------------------------------------------------------- */

bool web_submit(struct web *w, unsigned worker, const struct io_http *call) {
    const struct http_request *h = call->head;
    const slice texts[] = { h->path,   h->query,        h->host,   h->origin,
                            h->cookie, h->content_type, call->body };
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) len += texts[i].len;
    struct web_request *r = mem_alloc(sizeof *r + len + 1);
    if (!r) return false;
    *r = (struct web_request){ .worker = worker, .ticket = call->ticket, .peer = *call->peer };
    slice *const kept[] = { &r->head.path,   &r->head.query,        &r->head.host, &r->head.origin,
                            &r->head.cookie, &r->head.content_type, &r->body };
    struct buf b = buf_over(r->bytes, len + 1);
    r->head.method = h->method;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        *kept[i] = slice_of(r->bytes + b.len, texts[i].len);
        buf_put(&b, texts[i]);
    }
    (void)pthread_mutex_lock(&w->mutex);
    bool is_taken = w->waiting < WEB_QUEUE_MAX && !w->stop;
    if (is_taken) {
        *w->last = r;
        w->last = &r->next;
        w->waiting++;
        (void)pthread_cond_signal(&w->wake);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    if (!is_taken) mem_free(r);
    return is_taken;
}

/* Holds the mutex; NULL: nothing came for a while, or it is to stop. */
static struct web_request *take(struct web *w) {
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += SWEEP_S;
    if (!w->first && !w->stop) (void)pthread_cond_timedwait(&w->wake, &w->mutex, &until);
    struct web_request *r = w->first;
    if (!r) return NULL;
    w->first = r->next;
    if (!w->first) w->last = &w->first;
    w->waiting--;
    return r;
}

/* ---- answering ----------------------------------------------------------------------------- */

unsigned web_fail(struct web_call *c, unsigned status, const char *why) {
    c->why = why;
    return status;
}

unsigned web_trouble(struct web_call *c, enum err e) {
    switch (e) {
    case ERR_FULL:
    case ERR_LIMIT:
        return web_fail(c, 429, "There are too many devices: remove one first.");
    case ERR_MISSING:
        return web_fail(c, 404, "There is no such thing.");
    default:
        LOG(LOG_WARN, "web.trouble", LOG_F_STR("why", err_text(e)));
        return web_fail(c, 503, "The server is in trouble. Please try again.");
    }
}

slice web_text(const struct web_call *c, const char *name) {
    return json_text(json_member(c->body, name));
}

struct row {
    slice path;
    enum http_method method;
    unsigned (*run)(struct web_call *c);
    bool needs_session;
    bool is_cross; /* judges its origin itself */
    bool is_proof; /* what guessers would try */
};
static const struct row rows[] = {
    { { "/api/session", 12 }, HTTP_GET, web_get_session, false, false, false },
    { { "/api/logout", 11 }, HTTP_POST, web_logout, true, false, false },
    { { "/api/invite/options", 19 }, HTTP_POST, web_invite_options, false, false, true },
    { { "/api/invite/finish", 18 }, HTTP_POST, web_invite_finish, false, false, true },
    { { "/api/login/options", 18 }, HTTP_POST, web_login_options, false, false, false },
    { { "/api/login/finish", 17 }, HTTP_POST, web_login_finish, false, false, true },
    { { "/api/devices", 12 }, HTTP_GET, web_devices, true, false, false },
    { { "/api/devices/", 13 }, HTTP_DELETE, web_device_delete, true, false, false },
    { { "/api/people", 11 }, HTTP_GET, web_people, true, false, false },
    { { "/api/turn", 9 }, HTTP_GET, web_turn, true, false, false },
    { { "/api/guest", 10 }, HTTP_POST, web_guest_call, false, true, false },
    { { "/api/guest", 10 }, HTTP_OPTIONS, web_guest_options, false, true, false },
};

static bool row_is_for(const struct row *row, slice path) {
    bool is_prefix = row->path.ptr[row->path.len - 1] == '/';
    return is_prefix ? slice_starts(path, row->path) : slice_eq(path, row->path);
}

/* RFC 9110 15.5.6: 405 says which methods there are. */
static void put_allow(struct web_call *c) {
    static const char *const names[] = { [HTTP_GET] = "GET, HEAD",
                                         [HTTP_POST] = "POST",
                                         [HTTP_DELETE] = "DELETE",
                                         [HTTP_OPTIONS] = "OPTIONS" };
    const char *before = "Allow: ";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!row_is_for(&rows[i], c->head->path)) continue;
        buf_fmt(&c->lines, "%s%s", before, names[rows[i].method]);
        before = ", ";
    }
    buf_lit(&c->lines, "\r\n");
}

static unsigned find_row(struct web_call *c, const struct row **out) {
    /* RFC 9110 9.3.2: HEAD is GET, of which the body stays here (io/conn_http.c). */
    enum http_method method = c->head->method == HTTP_HEAD ? HTTP_GET : c->head->method;
    bool is_path = false;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!row_is_for(&rows[i], c->head->path)) continue;
        is_path = true;
        *out = &rows[i];
        if (rows[i].method == method) return 200;
    }
    if (!is_path) return web_fail(c, 404, "There is nothing at this address.");
    put_allow(c);
    return web_fail(c, 405, "This address does not know that method.");
}

/* A request that changes something comes from the page itself, or it is forged (CSRF). */
static unsigned check_source(struct web_call *c, const struct row *row) {
    const struct http_request *h = c->head;
    bool is_safe = h->method == HTTP_GET || h->method == HTTP_HEAD;
    struct guard *guard = node_guard(c->world->server->node);
    mono_t now = clock_mono();
    bool may = !row->is_proof || guard_may_auth(guard, &c->request->peer, now);
    if (!may || guard_request(guard, &c->request->peer, c->session.id != 0, now) != GUARD_OK)
        return web_fail(c, 429, "Too many attempts from here. Please wait a minute.");
    if (!row->is_cross && !is_safe && !is_own_origin(c->web, h))
        return web_fail(c, 403, "This page is not this server's own.");
    if (row->needs_session && !c->session.id) return web_fail(c, 401, "Please sign in.");
    if (h->method == HTTP_POST && !slice_istarts(h->content_type, SLICE("application/json")))
        return web_fail(c, 415, "The request must be JSON.");
    return 200;
}

static unsigned run_row(struct web_call *c, const struct row *row) {
    struct json *doc = NULL;
    const struct json_limits limits = { HTTP_BODY_MAX, 8 };
    enum err e = c->request->body.len ? json_read(c->request->body, &limits, &doc, NULL) : ERR_OK;
    if (e == ERR_MEMORY) return web_trouble(c, e);
    if (e != ERR_OK) return web_fail(c, 400, "The request is not JSON.");
    c->body = doc;
    json_begin_object(&c->answer, NULL);
    world_begin(c->world);
    unsigned status = row->run(c);
    world_end(c->world);
    json_free(doc);
    if (row->is_proof && (status == 401 || status == 403 || status == 404))
        guard_auth_failed(node_guard(c->world->server->node), &c->request->peer, clock_mono());
    return status;
}

static void finish(struct web_call *c, unsigned status) {
    if (status < 400 && status != 204) {
        json_end(&c->answer);
        if (c->out.full) status = web_fail(c, 503, "The answer is too long.");
    }
    if (status >= 400 || status == 204) buf_clear(&c->out);
    if (status >= 400) {
        struct json_writer w = json_over(&c->out);
        json_begin_object(&w, NULL);
        json_put_str(&w, "error", c->why ? c->why : http_reason(status));
        json_end(&w);
    }
    /* RFC 9110 15.5.2: 401 names a way in. Ours has no name of HTTP's; browsers pass others over.
     */
    if (status == 401) buf_lit(&c->lines, "WWW-Authenticate: Passkey\r\n");
    buf_lit(&c->lines, "Cache-Control: no-store\r\n");
    if (c->lines.full) status = 503;
    c->web->config.answer(c->web->config.ctx, c->request->worker, c->request->ticket, status,
                          c->lines.full ? SLICE_NONE : buf_slice(&c->lines), buf_slice(&c->out));
}

static void answer(struct web *w, struct web_call *c, const struct web_request *r) {
    const struct row *row = NULL;
    slice token;
    *c = (struct web_call){
        .web = w, .world = w->config.world, .request = r, .head = &r->head, .now = clock_wall()
    };
    c->lines = buf_over(c->lines_mem, sizeof c->lines_mem);
    c->out = buf_over(c->out_mem, sizeof c->out_mem);
    c->answer = json_over(&c->out);
    if (!find_session(w, c->head, c->now, &token, &c->session)) c->session = (struct session){ 0 };
    unsigned status = find_row(c, &row);
    if (status == 200) status = check_source(c, row);
    if (status == 200) status = run_row(c, row);
    finish(c, status);
    crypto_wipe(c->lines_mem, sizeof c->lines_mem); /* it may hold a new token */
}

static void *run(void *arg) {
    struct web *w = arg;
    (void)pthread_setname_np(pthread_self(), "kith-web");
    (void)pthread_mutex_lock(&w->mutex);
    while (!w->stop) {
        struct web_request *r = take(w);
        (void)pthread_mutex_unlock(&w->mutex);
        if (r) answer(w, w->call, r);
        mem_free(r);
        web_guests_sweep(w, clock_wall());
        (void)pthread_mutex_lock(&w->mutex);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* ---- life ---------------------------------------------------------------------------------- */

enum err web_start(const struct web_config *config, struct web **out) {
    struct web *w = mem_zalloc(sizeof *w);
    if (!w) return ERR_MEMORY;
    w->call = mem_alloc(sizeof *w->call);
    if (!w->call) {
        mem_free(w);
        return ERR_MEMORY;
    }
    w->config = *config;
    w->last = &w->first;
    crypto_random(w->challenge_key, sizeof w->challenge_key);
    (void)pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_cond_init(&w->wake, NULL);
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        mem_free(w->call);
        mem_free(w);
        return ERR_IO;
    }
    *out = w;
    return ERR_OK;
}

void web_stop(struct web *w) {
    if (!w) return;
    (void)pthread_mutex_lock(&w->mutex);
    w->stop = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->mutex);
    (void)pthread_join(w->thread, NULL);
    for (struct web_request *r = w->first, *next; r; r = next) {
        next = r->next;
        mem_free(r);
    }
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->mutex);
    crypto_wipe(w->challenge_key, sizeof w->challenge_key);
    mem_free(w->places);
    mem_free(w->call);
    mem_free(w);
}
