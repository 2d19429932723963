/* daemon/world.c - see world.h. */
#include "daemon/world.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include "os/loop.h"
#include "store_sqlite/store_sqlite.h"
#include <stdio.h>
#include <sys/mman.h>

#define DEVICE_CA_DAYS       7300 /* 20 years: replacing it means visiting every phone */
#define OFFLINE_ACCOUNTS_MAX (1u << 24)

void world_init(struct world *w) {
    *w = (struct world){ 0 };
    (void)pthread_mutex_init(&w->mutex, NULL);
}

void world_fini(struct world *w) {
    pki_unref(w->device_ca);
    mem_free(w->domains_text);
    (void)pthread_mutex_destroy(&w->mutex);
}

/* ---- ids ---------------------------------------------------------------------------------- */

static void put_u32(uint8_t *to, uint32_t v) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *from) {
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

enum err world_load_ids(struct world *w, struct store *store) {
    uint8_t mem[WORLD_IDS_BYTES];
    size_t len = 0;
    enum err e = store_value(store, SLICE("ids"), mem, sizeof mem, &len);
    if (e == ERR_MISSING) return ERR_OK;
    if (e != ERR_OK) return e;
    if (len != sizeof mem) return ERR_STORE;
    w->last_account_id = get_u32(mem);
    w->last_device_id = get_u32(mem + 4);
    accounts_ids_above(w->accounts, w->last_account_id, w->last_device_id);
    return ERR_OK;
}

struct store_change world_ids_change(struct world *w, uint32_t account_id, uint32_t device_id,
                                     uint8_t mem[static WORLD_IDS_BYTES]) {
    if (account_id > w->last_account_id) w->last_account_id = account_id;
    if (device_id > w->last_device_id) w->last_device_id = device_id;
    put_u32(mem, w->last_account_id);
    put_u32(mem + 4, w->last_device_id);
    return (struct store_change){ .op = STORE_VALUE_PUT,
                                  .durability = STORE_FULL,
                                  .value = { SLICE("ids"), slice_of(mem, WORLD_IDS_BYTES) } };
}

/* ---- domains ------------------------------------------------------------------------------ */

#define DOMAINS_BYTES (NODE_DOMAINS_MAX * 254)

enum err world_set_domains(struct world *w, const slice *domains, unsigned count) {
    char *text = mem_alloc(DOMAINS_BYTES);
    if (!text) return ERR_MEMORY;
    struct buf b = buf_over(text, DOMAINS_BYTES);
    slice fresh[NODE_DOMAINS_MAX];
    for (unsigned i = 0; i < count; i++) {
        size_t at = b.len;
        buf_put(&b, domains[i]);
        fresh[i] = slice_of(text + at, b.len - at);
    }
    ASSERT(!b.full);
    memcpy(w->domains, fresh, sizeof(slice) * count);
    w->domain_count = count;
    mem_free(w->domains_text);
    w->domains_text = text;
    return ERR_OK;
}

struct store_change world_domains_change(const struct world *w, char mem[static WORLD_DOMAINS_MAX],
                                         enum err *out) {
    struct buf b = buf_over(mem, WORLD_DOMAINS_MAX);
    for (unsigned i = 0; i < w->domain_count; i++) {
        if (i) buf_byte(&b, ',');
        buf_put(&b, w->domains[i]);
    }
    *out = b.full ? ERR_LIMIT : ERR_OK;
    return (struct store_change){ .op = STORE_VALUE_PUT,
                                  .durability = STORE_NORMAL,
                                  .value = { SLICE("domains"), buf_slice(&b) } };
}

static enum err load_domains(struct world *w, struct store *store) {
    char *mem = mem_alloc(WORLD_DOMAINS_MAX);
    if (!mem) return ERR_MEMORY;
    size_t len = 0;
    slice domains[NODE_DOMAINS_MAX];
    unsigned count = 0;
    enum err e = store_value(store, SLICE("domains"), mem, WORLD_DOMAINS_MAX, &len);
    if (e == ERR_OK) {
        slice rest = slice_of(mem, len);
        while (count < NODE_DOMAINS_MAX && slice_split(&rest, ',', &domains[count])) count++;
        e = world_set_domains(w, domains, count);
    }
    mem_free(mem);
    return e == ERR_MISSING ? ERR_OK : e;
}

/* ---- the device CA ------------------------------------------------------------------------ */

enum err world_device_ca(struct world *w, wall_t now, struct pki_id **out, struct buf *why) {
    char cert_mem[DATADIR_PATH_MAX + 64], key_mem[DATADIR_PATH_MAX + 64];
    const char *cert = datadir_path(w->dir, "keys/device.pem", cert_mem);
    const char *key = datadir_path(w->dir, "keys/device.key", key_mem);
    *out = w->device_ca;
    if (*out) return ERR_OK;
    enum err e = pki_load(cert, key, now, &w->device_ca, why);
    if (e == ERR_MISSING) {
        buf_clear(why);
        e = pki_device_ca_new(now, DEVICE_CA_DAYS, &w->device_ca);
        if (e == ERR_OK) e = pki_save(w->device_ca, cert, key, why);
        if (e != ERR_OK) {
            pki_unref(w->device_ca);
            w->device_ca = NULL;
        }
    }
    *out = w->device_ca;
    return e;
}

/* ---- without a server --------------------------------------------------------------------- */

struct offline {
    struct world world;
    struct datadir dir;
    struct store *store;
    uint8_t *seal_key; /* locked memory */
};

static enum err offline_commit(void *ctx, const struct store_change *changes, size_t count) {
    struct offline *o = ctx;
    return store_commit(o->store, changes, count);
}

static enum err on_account(void *ctx, const struct account_row *row) {
    return accounts_put(ctx, row);
}

static enum err on_device(void *ctx, const struct device_row *row) {
    return accounts_put_device(ctx, row);
}

static enum err offline_load(struct offline *o, struct buf *why) {
    char mem[DATADIR_PATH_MAX + 64];
    const char *db = datadir_path(&o->dir, "kith.db", mem);
    struct hash_key key;
    crypto_random(&key, sizeof key);
    enum err e = store_sqlite_open(db, STORE_SQLITE_WRITE, &o->store, why);
    if (e != ERR_OK) return e;
    o->world.accounts = accounts_new(OFFLINE_ACCOUNTS_MAX, &key, o->seal_key);
    if (!o->world.accounts) return ERR_MEMORY;
    struct store_reader reader = { .ctx = o->world.accounts,
                                   .on_account = on_account,
                                   .on_device = on_device };
    e = store_load(o->store, &reader);
    if (e == ERR_OK) e = world_load_ids(&o->world, o->store);
    if (e == ERR_OK) e = load_domains(&o->world, o->store);
    if (e == ERR_OK) e = clicks_load(&o->world, o->store);
    if (e != ERR_OK) buf_fmt(why, "%s cannot be read: %s", db, store_trouble(o->store));
    return e;
}

enum err offline_open(const char *data, bool create, struct offline **out, struct buf *why) {
    struct offline *o = mem_zalloc(sizeof *o);
    if (!o) return ERR_MEMORY;
    world_init(&o->world);
    o->dir.lock_fd = -1;
    o->world.dir = &o->dir;
    enum err e = datadir_open(data, create, &o->dir, why);
    if (e == ERR_OK) e = datadir_lock(&o->dir, why);
    if (e == ERR_OK) {
        o->seal_key = seal_key_page();
        e = o->seal_key ? datadir_seal_key(&o->dir, o->seal_key, why) : ERR_MEMORY;
    }
    o->world.seal_key = o->seal_key;
    o->world.commit = offline_commit;
    o->world.commit_ctx = o;
    if (e == ERR_OK) e = offline_load(o, why);
    if (e != ERR_OK) {
        offline_close(o);
        return e;
    }
    *out = o;
    return ERR_OK;
}

struct world *offline_world(struct offline *o) {
    return &o->world;
}

void offline_close(struct offline *o) {
    if (!o) return;
    accounts_free(o->world.accounts);
    store_close(o->store);
    seal_key_page_free(o->seal_key);
    datadir_close(&o->dir);
    world_fini(&o->world);
    mem_free(o);
}

/* ---- memory for the seal key -------------------------------------------------------------- */

#define PAGE 4096

uint8_t *seal_key_page(void) {
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return NULL;
    (void)mlock(page, PAGE); /* refused where RLIMIT_MEMLOCK is 0: then it may reach the swap */
    (void)madvise(page, PAGE, MADV_DONTDUMP);
    return page;
}

void seal_key_page_free(uint8_t *page) {
    if (!page) return;
    crypto_wipe(page, PAGE);
    (void)munmap(page, PAGE);
}
