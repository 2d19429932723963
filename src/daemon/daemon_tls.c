/* daemon/daemon_tls.c - certificates become TLS contexts, one of each kind a worker. */
#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon_priv.h"
#include "os/cert.h"
#include <time.h>

#define POST_TRIES 1000 /* times 1 ms */

/* Who verifies other domains: the system's roots and client_ca. What our own authorities signed is
 * a phone's, or ours. */
static enum err make_roots(struct daemon *d, const struct config *config, const struct certs *certs,
                           struct cert_roots **out, struct buf *why) {
    struct pki_id *own[] = { d->world.device_ca, certs->server[0] };
    struct cert_roots_config c = { .files = config->tls_client_ca.at,
                                   .file_count = config->tls_client_ca.count,
                                   .own = own,
                                   .own_count = certs->is_local ? 2 : 1 };
    return cert_roots_new(&c, out, why);
}

static enum err make_one(struct daemon *d, const struct config *config, const struct certs *certs,
                         struct cert_roots *roots, struct daemon_tls *out, unsigned i) {
    struct tls_server_config server = { .certs = certs->server,
                                        .cert_count = certs->count,
                                        .device_cas = (struct pki_id *const *)&d->world.device_ca,
                                        .device_ca_count = 1,
                                        .tickets = d->tickets,
                                        .only_tls13 = config->tls_oldest == CONFIG_TLS_1_3,
                                        .roots = roots };
    struct tls_client_config client = { .verify_nothing = true, /* core judges */
                                        .identity = certs->server[0],
                                        .identities = certs->server,
                                        .identity_count = certs->count,
                                        .alpn = TLS_ALPN_SIP,
                                        .only_tls13 = server.only_tls13,
                                        .keep_session = true,
                                        .roots = roots };
    enum err e = tls_server_new(&server, &out->server[i]);
    return e == ERR_OK ? tls_client_new(&client, &out->client[i]) : e;
}

enum err daemon_tls_make(struct daemon *d, const struct config *config, const struct certs *certs,
                         struct daemon_tls *out, struct buf *why) {
    struct cert_roots *roots;
    *out = (struct daemon_tls){ 0 };
    enum err e = make_roots(d, config, certs, &roots, why);
    if (e != ERR_OK) return e;
    for (unsigned i = 0; i < d->worker_count && e == ERR_OK; i++)
        e = make_one(d, config, certs, roots, out, i);
    cert_roots_unref(roots);
    if (e == ERR_OK) return ERR_OK;
    buf_fmt(why, "TLS cannot be set up with this certificate: %s", tls_trouble());
    daemon_tls_drop(out);
    return e;
}

void daemon_tls_drop(struct daemon_tls *t) {
    for (unsigned i = 0; i < NODE_WORKERS_MAX; i++) {
        tls_server_unref(t->server[i]);
        tls_client_unref(t->client[i]);
    }
    *t = (struct daemon_tls){ 0 };
}

void daemon_tls_post(struct daemon *d, const struct certs *certs, struct daemon_tls *t) {
    for (unsigned i = 0; i < d->worker_count; i++) {
        enum err e = ERR_FULL;
        for (int tries = 0; tries < POST_TRIES && e != ERR_OK; tries++) {
            struct timespec pause = { .tv_nsec = 1000000 };
            e = io_post_tls(d->workers[i].io, t->server[i], t->client[i], !certs->is_local);
            if (e != ERR_OK) (void)nanosleep(&pause, NULL);
        }
        if (e != ERR_OK) {
            LOG(LOG_ERROR, "reload.certificate_late", LOG_F_U64("worker", i));
            continue;
        }
        t->server[i] = NULL; /* the io's now */
        t->client[i] = NULL;
    }
    daemon_tls_drop(t);
}
