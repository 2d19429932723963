/* daemon/web.h - what the page asks of the server: the JSON calls of docs/web.md.
 *
 * Purpose:  workers hand over requests (io's on_http) and ask about WebSockets (on_upgrade). Calls
 *           run one after the other on a thread of their own, because they wait for the store; a
 *           worker never does.
 * Limits:   WEB_QUEUE_MAX calls wait; more get 503. Sources are held by the guard's budgets (429).
 * Threads:  web_submit, web_upgrade, web_gone: any worker; the rest: the main thread.
 * Guests:   an account and a session in memory alone, for one visitor of one page (click.c). */
#ifndef DAEMON_WEB_H
#define DAEMON_WEB_H

#include "daemon/config.h"
#include "daemon/sessions.h"
#include "http/request.h"
#include "io/io.h"
#include "json/read.h"
#include "json/write.h"

#define WEB_QUEUE_MAX     256u
#define WEB_BODY_MAX      (128u << 10) /* of an answer: 500 people */
#define WEB_PEOPLE_MAX    500u
#define WEB_GUESTS_MAX    256u
#define WEB_GUEST_LINES   3u    /* connections of one: what the network has cut counts a while */
#define WEB_USED_MAX      1024u /* challenges used within their life */
#define WEB_GUEST_MS      INT64_C(3600000)
#define WEB_GUEST_AWAY_MS INT64_C(60000) /* a visitor has so long to connect, or to come back */

struct web;
struct web_config {
    struct world *world; /* with its server */
    uint16_t port;       /* of the page, in links */
    void *ctx;
    /* Gives the answer to the worker that asked. */
    void (*answer)(void *ctx, unsigned worker, uint64_t ticket, unsigned status, slice lines,
                   slice body);
    /* Members of the answer to /api/turn: what the relay has for an account until then. */
    void (*put_ice)(void *ctx, struct json_writer *w, uint32_t account_id, uint32_t device_id,
                    wall_t until);
};
NODISCARD enum err web_start(const struct web_config *config, struct web **out);
void web_stop(struct web *w); /* NULL is allowed; after the workers */
/* Which hosts and origins are ours; also after a reload. `hosts`: names beside the domains. MEMORY:
 * the old ones stay. */
NODISCARD enum err web_set_places(struct web *w, const slice *hosts, unsigned host_count,
                                  const slice *origins, unsigned origin_count);

bool web_submit(struct web *w, unsigned worker, const struct io_http *call);
unsigned web_upgrade(struct web *w, const struct http_request *r, struct io_session *out);
void web_gone(struct web *w, uint32_t guest); /* a guest's WebSocket has closed */
/* "https://HOST:PORT" of the page. */
void web_put_address(const struct web *w, struct buf *out);

#endif
