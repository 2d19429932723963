/* daemon/daemon_priv.h - the running server's parts, for the files that start, reload and tell. */
#ifndef DAEMON_DAEMON_PRIV_H
#define DAEMON_DAEMON_PRIV_H

#include "daemon/admin_socket.h"
#include "daemon/certs.h"
#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/storer.h"
#include "daemon/trace.h"
#include "daemon/turn.h"
#include "daemon/world.h"
#include "io/io.h"
#include "os/tls.h"
#include <stdatomic.h>

struct daemon;
struct worker {
    struct daemon *daemon;
    unsigned number;
    struct core *core;
    struct io *io;
    pthread_t thread;
    bool is_running; /* its thread was started and not joined */
    _Atomic bool ended;
    enum err result;
};

struct web; /* web.h */

struct daemon {
    struct daemon_options options;
    struct config *config;
    slice domains[NODE_DOMAINS_MAX]; /* the configured ones, else the host's name */
    unsigned domain_count;
    char host[256];
    struct datadir dir;
    uint8_t *seal_key;
    struct store *store;
    struct node *node;
    struct storer *storer;
    struct trace_hub *hub;
    struct world world;
    struct server_face face;
    struct admin_socket *admin;
    struct web *web;
    struct certs certs;
    struct tls_tickets *tickets;
    struct worker workers[NODE_WORKERS_MAX];
    unsigned worker_count;
    struct daemon_turn turn;
    struct io_listen listen[IO_LISTEN_MAX];
    size_t listen_count;
    struct now started;
    wall_t certificates_checked;
    char demo_config[2048];
    int log_fd; /* the demo's log file, or -1 */
};

/* daemon_tls.c: the contexts of each worker, for those who connect and for those we connect to. */
struct daemon_tls {
    struct tls_server *server[NODE_WORKERS_MAX];
    struct tls_client *client[NODE_WORKERS_MAX];
};
NODISCARD enum err daemon_tls_make(struct daemon *d, const struct config *config,
                                   const struct certs *certs, struct daemon_tls *out,
                                   struct buf *why);
void daemon_tls_drop(struct daemon_tls *t); /* what is not NULL */
/* Gives them to the workers, with what kind these certificates are; what one does not take in a
 * second is dropped, and logged. */
void daemon_tls_post(struct daemon *d, const struct certs *certs, struct daemon_tls *t);

/* daemon_config.c: the configuration as a file, the defaults or the demo. */
NODISCARD enum err daemon_config_load(struct daemon *d, struct config **out, struct buf *why);
/* The domains to serve by that configuration; slices into it or into d->host. */
unsigned daemon_domains(struct daemon *d, const struct config *c,
                        slice out[static NODE_DOMAINS_MAX]);
/* Listeners by that configuration; addresses of a family that this host lacks are left out when
 * they are not the operator's own words. */
/* All that the node is told; `domains` as large as the node's. */
void daemon_node_config(struct daemon *d, const struct config *config, const slice *domains,
                        unsigned domain_count, struct node_config *out);
NODISCARD enum err daemon_listeners(struct daemon *d, struct buf *why);

/* daemon_web.c: the page's calls; the hooks are io's. */
NODISCARD enum err daemon_web_start(struct daemon *d);
NODISCARD enum err daemon_web_places(struct daemon *d, const struct config *config,
                                     const slice *domains, unsigned domain_count);
void daemon_put_page(void *ctx, struct buf *out);
bool daemon_on_http(void *ctx, unsigned worker, const struct io_http *call);
unsigned daemon_on_upgrade(void *ctx, const struct http_request *r, struct io_session *out);
void daemon_on_guest_gone(void *ctx, uint32_t guest);
void daemon_pause_ms(long ms); /* daemon.c */

/* daemon_reload.c */
void daemon_reload(struct daemon *d);
void daemon_renew(struct daemon *d); /* the local certificate, when it is old */

/* daemon_status.c */
void daemon_put_status(void *ctx, struct json_writer *w);

/* demo.c: people, secrets, and the words on stdout. */
NODISCARD enum err demo_prepare(struct daemon *d, struct buf *why);
void demo_greet(struct daemon *d);

#endif
