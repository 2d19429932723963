/* daemon/world.h - what an operator's command works on, with or without a running server.
 *
 * Purpose:  people, devices and their keys. The running server fills a world from its node; a
 *           command without a server opens one on the data directory. The commands (people.c,
 *           devices.c) see no difference, so there is one implementation of each.
 * Threads:  commands run one at a time: world_begin / world_end hold its lock.
 * Lifetime: world_open_offline / world_close own all they made; the server owns its own parts. */
#ifndef DAEMON_WORLD_H
#define DAEMON_WORLD_H

#include "auth/accounts.h"
#include "core/node.h"
#include "daemon/click.h"
#include "daemon/datadir.h"
#include "os/pki.h"
#include "sip/flow.h"
#include <pthread.h>

struct world;
struct json_writer;
struct location;
struct turn_use;

/* An allocation, and what its client came by. */
typedef bool turn_visit_fn(void *ctx, const struct turn_use *use, enum flow_transport by);

/* What only a running server can do. */
struct server_face {
    void *ctx;
    /* Bindings and status, live; NULL members do not exist. */
    struct location *location;
    struct node *node;
    void (*put_status)(void *ctx, struct json_writer *w);
    void (*put_turn_uris)(void *ctx, struct json_writer *w);
    /* The relay's allocations of that account (0: of everybody), in no order, until `visit` gives
     * false. Waits for the workers: not with the world's lock held. FULL, MEMORY. */
    enum err (*turn_each)(void *ctx, uint32_t account_id, turn_visit_fn *visit, void *visit_ctx);
    void (*put_page)(void *ctx, struct buf *out); /* "https://HOST:PORT" */
    /* Tell the workers to look again at an account's or a device's flows. */
    void (*account_changed)(void *ctx, uint32_t account_id);
    void (*device_changed)(void *ctx, uint32_t device_id);
    /* Follow calls: a line per decision until `sink` gives false or the server stops. */
    void (*trace)(void *ctx, bool (*sink)(void *sink_ctx, slice line), void *sink_ctx);
};

struct world {
    struct datadir *dir;
    struct accounts *accounts;
    const uint8_t *seal_key; /* 32 bytes */
    enum err (*commit)(void *ctx, const struct store_change *changes, size_t count);
    void *commit_ctx;
    const struct server_face *server; /* NULL: no server runs */
    struct pki_id *device_ca;         /* made when first needed */
    unsigned domain_count;            /* served domains; 0: not known */
    slice domains[NODE_DOMAINS_MAX];
    char *domains_text; /* what they point into */
    uint32_t last_account_id, last_device_id;
    char clicks[CLICKS_BYTES_MAX]; /* click.h */
    size_t clicks_len;
    pthread_mutex_t mutex;
};

void world_init(struct world *w);
void world_fini(struct world *w);
static inline void world_begin(struct world *w) {
    (void)pthread_mutex_lock(&w->mutex);
}
static inline void world_end(struct world *w) {
    (void)pthread_mutex_unlock(&w->mutex);
}

/* The highest ids ever given, kept in the store so that a removed account's id never comes back:
 * read them at start, and add the change to every commit that takes a new id (0: none of that
 * kind). */
#define WORLD_IDS_BYTES 8
NODISCARD enum err world_load_ids(struct world *w, struct store *store);
struct store_change world_ids_change(struct world *w, uint32_t account_id, uint32_t device_id,
                                     uint8_t mem[static WORLD_IDS_BYTES]);
/* The domains served; copied. MEMORY. */
NODISCARD enum err world_set_domains(struct world *w, const slice *domains, unsigned count);
/* They are left in the store too, for commands without a server. */
#define WORLD_DOMAINS_MAX (NODE_DOMAINS_MAX * 255)
struct store_change world_domains_change(const struct world *w, char mem[static WORLD_DOMAINS_MAX],
                                         enum err *out);

/* The device CA: DATA/keys/device.pem, made when missing. */
NODISCARD enum err world_device_ca(struct world *w, wall_t now, struct pki_id **out,
                                   struct buf *why);

/* A page that is not swapped and not dumped, for the seal key; NULL when memory is short. */
uint8_t *seal_key_page(void);
void seal_key_page_free(uint8_t *page);

struct offline; /* a world on its own, holding the data directory's lock */
/* `create`: the directory may be made. AGAIN: another process holds it. */
NODISCARD enum err offline_open(const char *data, bool create, struct offline **out,
                                struct buf *why);
struct world *offline_world(struct offline *o);
void offline_close(struct offline *o);

#endif
