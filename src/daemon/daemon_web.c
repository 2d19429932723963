/* daemon/daemon_web.c - the page and its calls, tied to the running server. */
#include "base/log.h"
#include "crypto/crypto.h"
#include "daemon/daemon_priv.h"
#include "daemon/web.h"

#define ANSWER_TRIES 1000 /* times 1 ms, when a worker's mailbox is full */

/* On the web's thread: it may wait a little for a busy worker. */
static void give_answer(void *ctx, unsigned worker, uint64_t ticket, unsigned status, slice lines,
                        slice body) {
    struct daemon *d = ctx;
    enum err e = ERR_FULL;
    for (int i = 0; i < ANSWER_TRIES && e != ERR_OK; i++) {
        e = io_post_http(d->workers[worker].io, ticket, status, lines, body);
        if (e != ERR_OK) daemon_pause_ms(1);
    }
    if (e != ERR_OK) LOG(LOG_ERROR, "web.answer_lost", LOG_F_STR("why", err_text(e)));
}

static void put_ice(void *ctx, struct json_writer *w, uint32_t account_id, uint32_t device_id,
                    wall_t until) {
    node_put_ice(((struct daemon *)ctx)->node, w, account_id, device_id, until);
}

/* The page's name: in the certificate, and in phones' routes too. */
enum err daemon_web_places(struct daemon *d, const struct config *config, const slice *domains,
                           unsigned domain_count) {
    slice hosts[NODE_DOMAINS_MAX + 4];
    unsigned count = 0;
    if (config->listen_name.len) hosts[count++] = config->listen_name;
    for (unsigned i = 0; i < domain_count; i++) hosts[count++] = domains[i];
    if (d->host[0]) hosts[count++] = slice_str(d->host);
    return web_set_places(d->web, hosts, count, config->web_origins.at, config->web_origins.count);
}

static uint16_t page_port(const struct daemon *d) {
    uint16_t best = 0;
    for (size_t i = 0; i < d->listen_count; i++) {
        uint16_t port = d->listen[i].at.port;
        if (d->listen[i].transport != FLOW_TLS || d->listen[i].lane != LANE_MAIN) continue;
        if (!best || port == 443 || (port == 8443 && best != 443)) best = port;
    }
    return best ? best : 443;
}

enum err daemon_web_start(struct daemon *d) {
    struct web_config c = { .world = &d->world,
                            .port = page_port(d),
                            .ctx = d,
                            .answer = give_answer,
                            .put_ice = put_ice };
    enum err e = web_start(&c, &d->web);
    return e == ERR_OK ? daemon_web_places(d, d->config, d->domains, d->domain_count) : e;
}

void daemon_put_page(void *ctx, struct buf *out) {
    web_put_address(((struct daemon *)ctx)->web, out);
}

/* ---- on a worker's thread: these never wait ---- */

bool daemon_on_http(void *ctx, unsigned worker, const struct io_http *call) {
    return web_submit(((struct daemon *)ctx)->web, worker, call);
}

unsigned daemon_on_upgrade(void *ctx, const struct http_request *r, struct io_session *out) {
    return web_upgrade(((struct daemon *)ctx)->web, r, out);
}

void daemon_on_guest_gone(void *ctx, uint32_t guest) {
    struct daemon *d = ctx;
    if (d->web) web_gone(d->web, guest);
}
