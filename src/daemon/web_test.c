/* The page's calls on a world in memory: their thread is real, sockets and disks are not. */
#include "unit.h"

#include "auth/passkey_made.h"
#include "core/node.h"
#include "daemon/web_priv.h"
#include "os/loop.h"
#include <pthread.h>

#define OWN      "https://example.org:8443"
#define SHOP     "https://shop.example"
#define SALES    "{\"to\":\"alice@example.org\",\"name\":\"Ann\"}"
#define ANSWER_S 30 /* a test that waits this long has failed */

enum { TICKETS = 1024 };

static struct bench {
    struct world world;
    struct store *store;
    struct node *node;
    struct server_face face;
    struct web *web;
    bool disk_is_full;
    pthread_mutex_t mutex;
    pthread_cond_t heard;
    unsigned status[TICKETS], answers;
    char lines[1024], body[WEB_BODY_MAX]; /* of the last */
} bench;
static const uint8_t seal_key[32] = { 7 };
static char token[SESSION_TOKEN_CHARS + 1], cookie[128];
static uint32_t session_id;

static enum err commit(void *ctx, const struct store_change *changes, size_t count) {
    struct bench *b = ctx;
    return b->disk_is_full ? ERR_IO : store_commit(b->store, changes, count);
}

static void changed(void *ctx, uint32_t id) {
    (void)ctx, (void)id;
}

static void take_answer(void *ctx, unsigned worker, uint64_t ticket, unsigned status, slice lines,
                        slice body) {
    struct bench *b = ctx;
    struct buf l = buf_over(b->lines, sizeof b->lines - 1);
    struct buf t = buf_over(b->body, sizeof b->body - 1);
    (void)worker;
    (void)pthread_mutex_lock(&b->mutex);
    buf_put(&l, lines);
    buf_put(&t, body);
    b->lines[l.len] = b->body[t.len] = '\0';
    b->status[ticket] = status;
    b->answers++;
    (void)pthread_cond_broadcast(&b->heard);
    (void)pthread_mutex_unlock(&b->mutex);
}

static void put_ice(void *ctx, struct json_writer *w, uint32_t account_id, uint32_t device_id,
                    wall_t until) {
    (void)ctx, (void)account_id, (void)device_id, (void)until;
    json_begin_array(w, "iceServers");
    json_end(w);
}

static void put_account(uint32_t id, const char *user) {
    struct store_change put = { .op = STORE_ACCOUNT_PUT, .durability = STORE_FULL };
    put.account = (struct account_row){
        .id = id, .user = slice_str(user), .domain = SLICE("example.org"), .aliases = SLICE("200")
    };
    if (id != 2) put.account.aliases = SLICE_NONE;
    assert_ok(store_commit(bench.store, &put, 1));
}

static void make_token(uint8_t kind) {
    wall_t now = clock_wall();
    struct device_row row = {
        .account_id = 1, .kind = kind, .name = SLICE("x"), .until = now + 60000
    };
    assert_ok(session_make(&bench.world, &row, now, token, &session_id));
    (void)snprintf(cookie, sizeof cookie, "a=b; __Host-kith=%s", token);
}

static void bench_open(void) {
    const slice hosts[] = { SLICE("example.org") }, origins[] = { SLICE("https://app.example") };
    struct node_config config;
    memset(&bench, 0, sizeof bench);
    (void)pthread_mutex_init(&bench.mutex, NULL);
    (void)pthread_cond_init(&bench.heard, NULL);
    bench.store = store_memory_new();
    assert_non_null(bench.store);
    put_account(1, "alice");
    put_account(2, "bob");
    node_config_defaults(&config);
    config.workers = 1;
    config.domain_count = 1;
    config.domains[0] = hosts[0];
    config.seal_key = seal_key;
    assert_ok(node_new(&config, bench.store, clock_now(), &bench.node));
    world_init(&bench.world);
    bench.face = (struct server_face){ .ctx = &bench,
                                       .location = node_location(bench.node),
                                       .node = bench.node,
                                       .account_changed = changed,
                                       .device_changed = changed };
    bench.world.accounts = node_accounts(bench.node);
    bench.world.seal_key = seal_key;
    bench.world.commit = commit;
    bench.world.commit_ctx = &bench;
    bench.world.server = &bench.face;
    assert_ok(world_set_domains(&bench.world, hosts, 1));
    struct buf clicks = buf_over(bench.world.clicks, sizeof bench.world.clicks);
    buf_lit(&clicks, "alice@example.org 2 " SHOP "\n");
    bench.world.clicks_len = clicks.len;
    struct web_config c = { .world = &bench.world,
                            .port = 8443,
                            .ctx = &bench,
                            .answer = take_answer,
                            .put_ice = put_ice };
    assert_ok(web_start(&c, &bench.web));
    assert_ok(web_set_places(bench.web, hosts, 1, origins, 1));
    make_token(DEVICE_SESSION);
}

static void bench_close(void) {
    web_stop(bench.web);
    node_free(bench.node);
    store_close(bench.store);
    world_fini(&bench.world);
}

static struct http_request request(enum http_method method, const char *path, const char *origin,
                                   const char *jar) {
    slice target = slice_str(path);
    size_t at = slice_find(target, '?');
    return (struct http_request){ .method = method,
                                  .path = slice_head(target, at),
                                  .query = slice_from(target, at < target.len ? at + 1 : at),
                                  .host = SLICE("example.org:8443"),
                                  .origin = slice_str(origin),
                                  .cookie = slice_str(jar),
                                  .content_type = SLICE("application/json") };
}

static bool submit(unsigned ticket, const struct http_request *head, const char *body,
                   const char *from) {
    struct addr peer;
    assert_ok(addr_read(slice_str(from), &peer));
    struct io_http call = {
        .ticket = ticket, .head = head, .body = slice_str(body), .peer = &peer
    };
    return web_submit(bench.web, 0, &call);
}

static unsigned wait_for(unsigned ticket) {
    struct timespec until;
    int code = 0;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ANSWER_S;
    (void)pthread_mutex_lock(&bench.mutex);
    while (!bench.status[ticket] && code == 0)
        code = pthread_cond_timedwait(&bench.heard, &bench.mutex, &until);
    unsigned status = bench.status[ticket];
    (void)pthread_mutex_unlock(&bench.mutex);
    return status;
}

static unsigned ask_with(struct http_request head, const char *body) {
    bench.status[0] = 0;
    assert_true(submit(0, &head, body, "192.0.2.1:4000"));
    return wait_for(0);
}

#define GET(path, jar)                ask_with(request(HTTP_GET, path, "", jar), "")
#define POST(path, origin, jar, body) ask_with(request(HTTP_POST, path, origin, jar), body)
#define assert_body(part)             assert_non_null(strstr(bench.body, part))

static void tells_who_is_signed_in(void **state) {
    (void)state;
    bench_open();
    assert_int_equal(GET("/api/session", ""), 200);
    assert_body("{\"signed_in\":false,\"domains\":[\"example.org\"]}");
    assert_int_equal(GET("/api/session", cookie), 200);
    assert_body("\"signed_in\":true,\"aor\":\"alice@example.org\"");
    assert_non_null(strstr(bench.lines, "Cache-Control: no-store\r\n"));
    assert_int_equal(GET("/api/people?q=%42O", cookie), 200);
    assert_body(
        "{\"aor\":\"bob@example.org\",\"name\":\"\",\"numbers\":[\"200\"],\"reachable\":false}");
    assert_int_equal(GET("/api/people?q=%", cookie), 200);
    assert_body("\"people\":[],\"more\":false");
    assert_int_equal(GET("/api/turn", cookie), 200);
    assert_body("{\"iceServers\":[]}");
    assert_int_equal(GET("/api/people", ""), 401);
    assert_int_equal(GET("/api/people", "__Host-kith="), 401);
    char *last = &cookie[strlen(cookie) - 1];
    *last = *last == 'A' ? 'B' : 'A'; /* tampered with */
    assert_int_equal(GET("/api/devices", cookie), 401);
    assert_body("{\"error\":\"Please sign in.\"}");
    bench_close();
}

static unsigned upgrade(const char *path, const char *origin, const char *jar,
                        struct io_session *out) {
    struct http_request r = request(HTTP_GET, path, origin, jar);
    *out = (struct io_session){ 0 };
    return web_upgrade(bench.web, &r, out);
}

/* Whoever holds the cookie later: after its end it opens nothing, here and on the WebSocket. */
static void a_stolen_cookie_ends(void **state) {
    (void)state;
    struct io_session s;
    bench_open();
    assert_int_equal(upgrade("/ws", OWN, cookie, &s), 101);
    assert_true(s.has_key);
    assert_int_equal(upgrade("/ws", "https://evil.example", cookie, &s), 403);
    assert_int_equal(upgrade("/ws", "https://app.example", cookie, &s), 101); /* listed: digest */
    assert_false(s.has_key);
    assert_int_equal(upgrade("/ws", "", cookie, &s), 101); /* RFC 6455 10.2: no browser */
    assert_false(s.has_key);
    assert_int_equal(upgrade("/ws", OWN, "__Host-kith=x", &s), 101);
    assert_false(s.has_key);
    assert_int_equal(POST("/api/logout", OWN, cookie, "{}"), 204);
    assert_non_null(strstr(bench.lines, "Set-Cookie: __Host-kith=; Path=/; Secure; HttpOnly; "
                                        "SameSite=Strict; Max-Age=0\r\n"));
    assert_int_equal(GET("/api/devices", cookie), 401);
    assert_int_equal(POST("/api/logout", OWN, cookie, "{}"), 401);
    assert_int_equal(upgrade("/ws", OWN, cookie, &s), 101);
    assert_false(s.has_key);
    make_token(DEVICE_SESSION);
    assert_int_equal(GET("/api/devices", cookie), 200);
    assert_ok(session_end(&bench.world, session_id)); /* kith device revoke */
    assert_int_equal(GET("/api/devices", cookie), 401);
    make_token(DEVICE_INVITE); /* an invitation is no session */
    assert_int_equal(GET("/api/devices", cookie), 401);
    bench_close();
}

static void forged_requests_are_refused(void **state) {
    (void)state;
    struct http_request r;
    char path[64];
    bench_open();
    assert_int_equal(POST("/api/logout", "https://evil.example", cookie, "{}"), 403);
    assert_int_equal(POST("/api/logout", "", cookie, "{}"), 403);
    assert_int_equal(POST("/api/logout", "null", cookie, "{}"), 403);
    assert_int_equal(POST("/api/logout", "https://app.example", cookie, "{}"), 403);
    r = request(HTTP_POST, "/api/logout", "https://evil.example", cookie); /* DNS rebinding */
    r.host = SLICE("evil.example");
    assert_int_equal(ask_with(r, "{}"), 403);
    r = request(HTTP_POST, "/api/logout", OWN, cookie);
    r.content_type = SLICE("text/plain"); /* what a form of elsewhere can send */
    assert_int_equal(ask_with(r, "{}"), 415);
    assert_int_equal(POST("/api/logout", OWN, cookie, "{\"a\":"), 400);
    assert_int_equal(POST("/api/logout", OWN, cookie, "[[[[[[[[[[]]]]]]]]]]"), 400);
    assert_int_equal(GET("/api/logout", cookie), 405);
    assert_int_equal(GET("/api/session/", cookie), 404);
    assert_int_equal(GET("/api/sessio", cookie), 404);
    static const char *const ids[] = { "", "0", "x", "99", "4294967296", "1/2" };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        (void)snprintf(path, sizeof path, "/api/devices/%s", ids[i]);
        assert_int_equal(ask_with(request(HTTP_DELETE, path, OWN, cookie), ""), 404);
    }
    struct device_row bobs = { .id = 77, .account_id = 2, .kind = DEVICE_PASSKEY };
    assert_ok(accounts_put_device(bench.world.accounts, &bobs));
    assert_int_equal(ask_with(request(HTTP_DELETE, "/api/devices/77", OWN, cookie), ""), 404);
    assert_int_equal(GET("/api/devices", cookie), 200); /* all that cost her nothing */
    (void)snprintf(path, sizeof path, "/api/devices/%u", session_id);
    assert_int_equal(ask_with(request(HTTP_DELETE, path, OWN, cookie), ""), 204);
    bench_close();
}

static void guessers_are_held(void **state) {
    (void)state;
    unsigned status = 0, asked = 0;
    bench_open();
    for (; asked < 200 && status != 429; asked++)
        status = POST("/api/invite/options", OWN, "", "{\"token\":\"guessed\"}");
    assert_true(asked > 10 && asked < 200);
    assert_int_equal(GET("/api/session", cookie), 200); /* who is signed in there goes on */
    struct http_request r = request(HTTP_POST, "/api/invite/options", OWN, "");
    assert_true(submit(1, &r, "{\"token\":\"guessed\"}", "192.0.2.99:4000"));
    assert_int_equal(wait_for(1), 404); /* others are not held for it */
    bench_close();
}

static void invitations_open_nothing_by_themselves(void **state) {
    (void)state;
    char body[400];
    bench_open();
    make_token(DEVICE_INVITE);
    (void)snprintf(body, sizeof body, "{\"token\":\"%s\"}", token);
    struct http_request r = request(HTTP_POST, "/api/invite/options", "https://192.0.2.7", "");
    r.host = SLICE("192.0.2.7"); /* passkeys need a name */
    assert_int_equal(ask_with(r, body), 400);
    assert_int_equal(POST("/api/invite/options", OWN, "", body), 200);
    assert_body("\"rp\":{\"id\":\"example.org\"");
    assert_int_equal(POST("/api/invite/finish", OWN, "", body), 403);
    (void)snprintf(body, sizeof body,
                   "{\"token\":\"%s\",\"credential\":{\"id\":\"AA\",\"response\":{"
                   "\"clientDataJSON\":\"AA\",\"authenticatorData\":\"AA\"}}}",
                   token);
    assert_int_equal(POST("/api/invite/finish", OWN, "", body), 403);
    assert_int_equal(POST("/api/invite/finish", OWN, "", "{\"token\":5}"), 404);
    assert_int_equal(POST("/api/login/options", OWN, "", "{}"), 200);
    assert_int_equal(POST("/api/login/finish", OWN, "", body), 401);
    assert_null(strstr(bench.lines, "Set-Cookie"));
    bench_close();
}

static void begin_invitation(char mem[static SESSION_TOKEN_CHARS + 1]) {
    make_token(DEVICE_INVITE);
    memcpy(mem, token, sizeof token);
}

/* The challenge that its page is given. */
static slice challenge_for(const char *invitation, char mem[static PASSKEY_CHALLENGE_MAX]) {
    char body[100];
    (void)snprintf(body, sizeof body, "{\"token\":\"%s\"}", invitation);
    assert_int_equal(POST("/api/invite/options", OWN, "", body), 200);
    const char *at = strstr(bench.body, "\"challenge\":\"");
    assert_non_null(at);
    struct buf b = buf_over(mem, PASSKEY_CHALLENGE_MAX);
    at += strlen("\"challenge\":\"");
    buf_put(&b, slice_of(at, strcspn(at, "\"")));
    assert_false(b.full);
    return buf_slice(&b);
}

/* What the page sends when a passkey of that id was made for the challenge. */
static unsigned use_invitation(const char *invitation, slice challenge, const char *id) {
    char client_mem[512], data_mem[512], body_mem[2000];
    slice client = made_client_data("webauthn.create", challenge, OWN, "",
                                    buf_over(client_mem, sizeof client_mem));
    slice data = made_auth_data("example.org", 0x41, id, buf_over(data_mem, sizeof data_mem));
    struct buf body = buf_over(body_mem, sizeof body_mem - 1);
    buf_fmt(&body, "{\"token\":\"%s\",\"credential\":{\"id\":\"AA\",\"response\":{", invitation);
    buf_lit(&body, "\"clientDataJSON\":\"");
    buf_base64url(&body, client.ptr, client.len);
    buf_lit(&body, "\",\"authenticatorData\":\"");
    buf_base64url(&body, data.ptr, data.len);
    buf_lit(&body, "\"}}}");
    assert_false(body.full);
    body_mem[body.len] = '\0';
    return POST("/api/invite/finish", OWN, "", body_mem);
}

/* One passkey for an invitation, and one use for a challenge, which is of no use with another. */
static void invitations_are_for_one_passkey(void **state) {
    (void)state;
    char first[SESSION_TOKEN_CHARS + 1], second[SESSION_TOKEN_CHARS + 1];
    char mem[PASSKEY_CHALLENGE_MAX], other_mem[PASSKEY_CHALLENGE_MAX];
    bench_open();
    begin_invitation(first);
    begin_invitation(second);
    slice challenge = challenge_for(first, mem);
    assert_int_equal(use_invitation(second, challenge, "one "), 403);
    assert_int_equal(use_invitation(first, challenge, "one "), 200);
    assert_body("\"signed_in\":true,\"aor\":\"alice@example.org\"");
    assert_non_null(strstr(bench.lines, "Set-Cookie: __Host-kith="));
    assert_int_equal(use_invitation(first, challenge, "two "), 404);
    challenge = challenge_for(second, other_mem);
    assert_int_equal(use_invitation(second, challenge, "one "), 403); /* known already */
    assert_int_equal(use_invitation(second, challenge, "two "), 403); /* and used up by that */
    assert_null(strstr(bench.lines, "Set-Cookie"));
    assert_int_equal(use_invitation(second, challenge_for(second, mem), "two "), 200);
    bench_close();
}

static void visitors_stay_where_they_may(void **state) {
    (void)state;
    struct io_session s;
    char path[100];
    bench_open();
    assert_int_equal(POST("/api/guest", "https://evil.example", "", SALES), 403);
    assert_int_equal(POST("/api/guest", "", "", SALES), 403);
    assert_int_equal(POST("/api/guest", SHOP, "", "{\"to\":\"bob@example.org\"}"), 403);
    assert_int_equal(POST("/api/guest", SHOP, "", "{}"), 403);
    struct http_request preflight = request(HTTP_OPTIONS, "/api/guest", SHOP, "");
    assert_int_equal(ask_with(preflight, ""), 204);
    assert_non_null(strstr(bench.lines, "Access-Control-Allow-Origin: " SHOP "\r\n"));
    preflight.origin = SLICE("https://evil.example");
    assert_int_equal(ask_with(preflight, ""), 403);
    assert_null(strstr(bench.lines, "Access-Control-"));
    assert_int_equal(POST("/api/guest", SHOP, "", SALES), 200);
    const char *at = strstr(bench.body, "/ws?guest=");
    assert_non_null(at);
    (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(at, "\""), at);
    assert_int_equal(upgrade(path, "https://evil.example", "", &s), 403);
    assert_int_equal(upgrade("/ws?guest=x", SHOP, "", &s), 403);
    assert_int_equal(upgrade(path, SHOP, "", &s), 101);
    assert_true(s.has_key && s.guest != 0);
    const uint32_t guest = s.guest;
    assert_int_equal(GET("/api/people?q=guest", cookie), 200);
    assert_body("\"people\":[],\"more\":false"); /* he stands in nobody's list */
    (void)snprintf(cookie, sizeof cookie, "__Host-kith=%s", path + strlen("/ws?guest="));
    assert_int_equal(GET("/api/people", cookie), 401); /* a visitor is nobody's colleague */
    assert_int_equal(upgrade("/ws", OWN, cookie, &s), 101);
    assert_false(s.has_key); /* and his token is no cookie */
    assert_int_equal(POST("/api/guest", SHOP, "", SALES), 200);
    assert_int_equal(POST("/api/guest", SHOP, "", SALES), 429); /* two at once */
    wall_t now = clock_wall();
    web_guests_sweep(bench.web, now + WEB_GUEST_AWAY_MS + 1); /* the second never connected */
    assert_int_equal(accounts_count(bench.world.accounts), 3);
    assert_int_equal(upgrade(path, SHOP, "", &s), 101);
    web_gone(bench.web, s.guest);
    web_guests_sweep(bench.web, now + WEB_GUEST_AWAY_MS + 1); /* one connection is left */
    assert_int_equal(accounts_count(bench.world.accounts), 3);
    for (unsigned i = 1; i < WEB_GUEST_LINES; i++)
        assert_int_equal(upgrade(path, SHOP, "", &s), 101);
    assert_int_equal(upgrade(path, SHOP, "", &s), 403); /* nobody needs more */
    web_gone(bench.web, guest);
    assert_int_equal(upgrade(path, SHOP, "", &s), 101);
    web_guests_sweep(bench.web, now + WEB_GUEST_MS + 1000);
    assert_int_equal(accounts_count(bench.world.accounts), 2);
    assert_int_equal(upgrade(path, SHOP, "", &s), 403);
    bench_close();
}

/* What the domain's owner takes back ends those who are there already; another page's stay. */
static void visitors_go_with_their_permission(void **state) {
    (void)state;
    struct buf clicks;
    bench_open();
    world_begin(&bench.world);
    clicks = buf_over(bench.world.clicks, sizeof bench.world.clicks);
    buf_lit(&clicks, "alice@example.org 2 " SHOP " https://other.example\n");
    bench.world.clicks_len = clicks.len;
    world_end(&bench.world);
    assert_int_equal(POST("/api/guest", SHOP, "", SALES), 200);
    assert_int_equal(POST("/api/guest", "https://other.example", "", SALES), 200);
    assert_int_equal(accounts_count(bench.world.accounts), 4);
    world_begin(&bench.world);
    buf_clear(&clicks);
    buf_lit(&clicks, "alice@example.org 2 https://other.example\nbob@example.org 2 " SHOP "\n");
    bench.world.clicks_len = clicks.len;
    world_end(&bench.world);
    web_guests_sweep(bench.web, clock_wall());
    assert_int_equal(accounts_count(bench.world.accounts), 3);
    bench_close();
}

static void a_full_disk_is_said(void **state) {
    (void)state;
    bench_open();
    bench.disk_is_full = true;
    assert_int_equal(POST("/api/logout", OWN, cookie, "{}"), 503);
    assert_int_equal(GET("/api/devices", cookie), 200); /* not half gone */
    bench.disk_is_full = false;
    assert_int_equal(POST("/api/logout", OWN, cookie, "{}"), 204);
    bench_close();
}

/* The store hangs: what does not fit is refused at once, what fitted is answered when it goes on.
 */
static void a_queue_has_an_end(void **state) {
    (void)state;
    struct http_request r = request(HTTP_GET, "/api/session", "", "");
    unsigned taken = 0;
    bench_open();
    world_begin(&bench.world);
    while (taken < TICKETS && submit(taken, &r, "", "127.0.0.1:4000")) taken++;
    assert_in_range(taken, WEB_QUEUE_MAX, WEB_QUEUE_MAX + 1);
    world_end(&bench.world);
    for (unsigned i = 0; i < taken; i++) assert_int_equal(wait_for(i), 200);
    assert_int_equal(bench.answers, taken);
    bench_close();
}

/* ---- many at once: under ThreadSanitizer this is the proof that what they share is locked ---- */

enum { BROWSERS = 4, ROUNDS = 40 };
static _Atomic unsigned wrong;

static void *browse(void *arg) {
    const unsigned number = (unsigned)(uintptr_t)arg;
    struct http_request get = request(HTTP_GET, "/api/people", "", cookie);
    struct http_request post = request(HTTP_POST, "/api/guest", SHOP, "");
    const slice hosts[] = { SLICE("example.org") };
    struct io_session s;
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned ticket = number * ROUNDS + i;
        bool is_guest = i % 8 == 7;
        while (!submit(ticket, is_guest ? &post : &get, is_guest ? SALES : "", "127.0.0.1:4000")) {}
        if (upgrade("/ws", OWN, cookie, &s) != 101 || !s.has_key) wrong++;
        if (number == 0 && web_set_places(bench.web, hosts, 1, NULL, 0) != ERR_OK) wrong++;
        if (number == 1) web_gone(bench.web, 99);
        unsigned status = wait_for(ticket);
        if (status != 200 && !(is_guest && status == 429)) wrong++;
    }
    return NULL;
}

static void many_at_once(void **state) {
    (void)state;
    pthread_t threads[BROWSERS];
    bench_open();
    for (uintptr_t i = 0; i < BROWSERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, browse, (void *)i), 0);
    for (unsigned i = 0; i < BROWSERS; i++) (void)pthread_join(threads[i], NULL);
    assert_int_equal(wrong, 0);
    assert_int_equal(bench.answers, BROWSERS * ROUNDS);
    bench_close();
}

static int prepare(void **state) {
    (void)state;
    return crypto_init() == ERR_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_who_is_signed_in),
        cmocka_unit_test(a_stolen_cookie_ends),
        cmocka_unit_test(forged_requests_are_refused),
        cmocka_unit_test(guessers_are_held),
        cmocka_unit_test(invitations_open_nothing_by_themselves),
        cmocka_unit_test(invitations_are_for_one_passkey),
        cmocka_unit_test(visitors_stay_where_they_may),
        cmocka_unit_test(visitors_go_with_their_permission),
        cmocka_unit_test(a_full_disk_is_said),
        cmocka_unit_test(a_queue_has_an_end),
        cmocka_unit_test(many_at_once),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
