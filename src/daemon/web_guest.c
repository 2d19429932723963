/* daemon/web_guest.c - visitors of click-to-call (docs/web.md).
 *
 * A guest is an account that may call one address (auth/user_settings.h, only-calls) and a session
 * that proves it; both in memory alone. It ends an hour after it was made, or a minute after its
 * last connection has closed, or when it has not connected within a minute; and when the domain's
 * owner takes back that its page may call there. */
#include "base/hash.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "daemon/click.h"
#include "daemon/web_priv.h"
#include "os/loop.h"

static uint32_t entry_of(slice aor) {
    uint8_t hash[32];
    char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
    uint32_t entry;
    struct buf b = buf_over(mem, sizeof mem);
    for (size_t i = 0; i < aor.len; i++)
        buf_byte(&b,
                 aor.ptr[i] >= 'A' && aor.ptr[i] <= 'Z' ? (char)(aor.ptr[i] | 0x20) : aor.ptr[i]);
    crypto_sha256(b.ptr, b.len, hash);
    memcpy(&entry, hash, sizeof entry);
    return entry;
}

/* A free place, if this address may have one more guest. Holds the mutex. */
static struct web_guest *find_place(struct web *w, uint32_t entry, uint32_t most) {
    struct web_guest *place = NULL;
    uint32_t count = 0;
    for (unsigned i = 0; i < WEB_GUESTS_MAX; i++) {
        struct web_guest *g = &w->guests[i];
        if (!g->account_id && !place) place = g;
        if (g->account_id && g->entry == entry) count++;
    }
    return count < most ? place : NULL;
}

/* ---- making ---- */

static enum err make_account(struct web_call *c, slice to, slice name, struct account_row *row,
                             char *mem, size_t cap) {
    uint8_t random[8];
    struct buf b = buf_over(mem, cap);
    struct accounts *a = c->world->accounts;
    crypto_random(random, sizeof random);
    buf_lit(&b, "guest-");
    buf_hex(&b, random, sizeof random);
    slice user = buf_slice(&b);
    buf_lit(&b, "only-calls=sip:");
    buf_put(&b, to);
    buf_byte(&b, '\n');
    ASSERT(!b.full);
    *row = (struct account_row){ .id = accounts_free_id(a),
                                 .user = user,
                                 .domain = slice_from(to, slice_find(to, '@') + 1),
                                 .display = name,
                                 .settings = slice_from(buf_slice(&b), user.len),
                                 .flags = ACCOUNT_GUEST,
                                 .created = c->now,
                                 .changed = c->now };
    return accounts_put(a, row);
}

static enum err make_guest(struct web_call *c, const struct click *click, slice name,
                           struct web_guest *out, char token[static SESSION_TOKEN_CHARS + 1]) {
    char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 64];
    uint8_t random[32];
    struct account_row row;
    struct accounts *a = c->world->accounts;
    enum err e = make_account(c, click->aor, name, &row, mem, sizeof mem);
    if (e != ERR_OK) return e;
    struct buf text = buf_over(token, SESSION_TOKEN_CHARS);
    crypto_random(random, sizeof random);
    buf_base64url(&text, random, sizeof random);
    token[SESSION_TOKEN_CHARS] = '\0';
    crypto_wipe(random, sizeof random);
    struct device_row device = { .id = accounts_free_device_id(a),
                                 .account_id = row.id,
                                 .kind = DEVICE_SESSION,
                                 .name = SLICE("visitor"),
                                 .created = c->now,
                                 .until = c->now + WEB_GUEST_MS };
    session_token_hash(buf_slice(&text), device.key_hash);
    e = accounts_put_device(a, &device);
    if (e != ERR_OK) {
        accounts_remove(a, row.id);
        return e;
    }
    out->account_id = row.id;
    out->session_id = device.id;
    out->until = device.until;
    out->away_until = c->now + WEB_GUEST_AWAY_MS;
    return ERR_OK;
}

static void put_guest(struct web_call *c, const struct web_guest *g, const struct click *click,
                      slice name, const char *token) {
    char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2], ws_mem[80];
    struct buf aor = buf_over(mem, sizeof mem), ws = buf_over(ws_mem, sizeof ws_mem);
    const struct web_config *config = &c->web->config;
    accounts_put_aor(c->world->accounts, g->account_id, &aor);
    buf_fmt(&ws, "/ws?guest=%s", token);
    json_put_text(&c->answer, "aor", buf_slice(&aor));
    json_put_text(&c->answer, "name", name);
    json_put_text(&c->answer, "to", click->aor);
    json_put_text(&c->answer, "ws", buf_slice(&ws));
    config->put_ice(config->ctx, &c->answer, g->account_id, 0, g->until);
}

static void put_cors(struct web_call *c) {
    buf_lit(&c->lines, "Access-Control-Allow-Origin: ");
    buf_put(&c->lines, c->head->origin);
    buf_lit(&c->lines, "\r\nVary: Origin\r\nCross-Origin-Resource-Policy: cross-origin\r\n");
}

unsigned web_guest_call(struct web_call *c) {
    char token[SESSION_TOKEN_CHARS + 1];
    struct click click;
    struct web_guest made = { 0 };
    slice name = slice_head(slice_trim(web_text(c, "name")), 64);
    if (!name.len) name = SLICE("Visitor");
    if (!click_find(c->world, web_text(c, "to"), &click) ||
        !click_allows(&click, c->head->origin) || c->head->origin.len >= sizeof made.origin)
        return web_fail(c, 403, "This page may not call there.");
    put_cors(c);
    made.entry = entry_of(click.aor);
    memcpy(made.origin, c->head->origin.ptr, c->head->origin.len);
    (void)pthread_mutex_lock(&c->web->mutex);
    struct web_guest *place = find_place(c->web, made.entry, click.guests_max);
    (void)pthread_mutex_unlock(&c->web->mutex);
    if (!place) return web_fail(c, 429, "All lines are busy. Please try again in a few minutes.");
    enum err e = make_guest(c, &click, name, &made, token);
    if (e != ERR_OK) return web_trouble(c, e);
    (void)pthread_mutex_lock(&c->web->mutex);
    *place = made; /* places are given by this thread alone */
    (void)pthread_mutex_unlock(&c->web->mutex);
    put_guest(c, &made, &click, name, token);
    crypto_wipe(token, sizeof token);
    return 200;
}

/* What a browser asks before it sends JSON to another origin (Fetch, "CORS-preflight"). */
unsigned web_guest_options(struct web_call *c) {
    slice rest = slice_of(c->world->clicks, c->world->clicks_len);
    bool is_known = false;
    for (struct click one; click_next(&rest, &one);)
        if (click_allows(&one, c->head->origin)) is_known = true;
    if (!is_known) return web_fail(c, 403, "This page may not call here.");
    put_cors(c);
    buf_lit(&c->lines, "Access-Control-Allow-Methods: POST\r\n"
                       "Access-Control-Allow-Headers: Content-Type\r\n"
                       "Access-Control-Max-Age: 600\r\n");
    return 204;
}

/* ---- their connections ---- */

uint32_t web_guest_enter(struct web *w, uint32_t session_id, slice origin, wall_t now) {
    uint32_t found = 0;
    (void)pthread_mutex_lock(&w->mutex);
    for (unsigned i = 0; i < WEB_GUESTS_MAX && !found; i++) {
        struct web_guest *g = &w->guests[i];
        if (!g->account_id || g->session_id != session_id || now >= g->until ||
            g->connections >= WEB_GUEST_LINES || !slice_ieq(slice_str(g->origin), origin))
            continue;
        g->connections++;
        found = g->account_id;
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return found;
}

void web_gone(struct web *w, uint32_t guest) {
    wall_t now = clock_wall();
    (void)pthread_mutex_lock(&w->mutex);
    for (unsigned i = 0; i < WEB_GUESTS_MAX; i++) {
        struct web_guest *g = &w->guests[i];
        if (g->account_id != guest || g->connections == 0) continue;
        g->connections--;
        g->away_until = now + WEB_GUEST_AWAY_MS;
    }
    (void)pthread_mutex_unlock(&w->mutex);
}

/* May its page still call there? */
static bool is_allowed(struct world *world, const struct web_guest *g) {
    bool is = false;
    world_begin(world);
    slice rest = slice_of(world->clicks, world->clicks_len);
    for (struct click one; !is && click_next(&rest, &one);)
        is = click_allows(&one, slice_str(g->origin)) && entry_of(one.aor) == g->entry;
    world_end(world);
    return is;
}

void web_guests_sweep(struct web *w, wall_t now) {
    struct world *world = w->config.world;
    const struct server_face *server = world->server;
    for (unsigned i = 0; i < WEB_GUESTS_MAX; i++) {
        struct web_guest *g = &w->guests[i];
        (void)pthread_mutex_lock(&w->mutex);
        struct web_guest seen = *g;
        (void)pthread_mutex_unlock(&w->mutex);
        if (!seen.account_id) continue;
        bool is_over = !is_allowed(world, &seen);
        (void)pthread_mutex_lock(&w->mutex);
        is_over = is_over || now >= g->until || (g->connections == 0 && now >= g->away_until);
        if (is_over) *g = (struct web_guest){ 0 };
        (void)pthread_mutex_unlock(&w->mutex);
        if (!is_over) continue;
        accounts_remove(world->accounts, seen.account_id);
        server->account_changed(server->ctx, seen.account_id);
    }
}
