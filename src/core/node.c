#include "core/node_priv.h"

#include "base/limits.h"
#include "base/mem.h"
#include "crypto/crypto.h"

#define LOCALS_MAX        4096u /* a host with that many addresses and ports has other troubles */
#define NODE_ACCOUNTS_MAX 4000000u
#define NODE_BINDINGS_MAX 4000000u
#define NODE_DIALOGS_MAX  1048576u
#define NODE_USED_NONCES  65536u
#define DIRECTORY_SHARDS  64u

void node_config_defaults(struct node_config *c) {
    memset(c, 0, sizeof *c);
    c->workers = 1;
    c->server_header = SLICE("Kith");
    c->expires_min_s = LIMIT_EXPIRES_MIN_S;
    c->expires_max_s = LIMIT_EXPIRES_MAX_S;
    c->expires_default_s = LIMIT_EXPIRES_DEFAULT_S;
    c->contacts_max = LIMIT_CONTACTS;
    c->nonce_life_s = 300;
    c->timer_c_s = 180;
    c->group_ring_s = 20;
    c->recurse_own = true;
    c->session_timer_s = 1800;
    c->flow_idle_s = 300;
    c->sip_port = 5061;
    c->flows_max = 65536;
    guard_limits_defaults(&c->guard);
}

/* ---- settings ---- */

static size_t settings_text_len(const struct node_config *c) {
    size_t len = c->name.len + c->server_header.len + c->stun_urls.len + c->relay_urls.len + 1;
    for (unsigned i = 0; i < c->domain_count; i++) len += c->domains[i].len;
    for (unsigned i = 0; i < c->peer_count; i++) len += c->peer[i].domain.len;
    return len;
}

static slice settings_take(char **at, slice s) {
    if (s.len) memcpy(*at, s.ptr, s.len);
    slice copy = { *at, s.len };
    *at += s.len;
    return copy;
}

static struct settings *settings_new(const struct node_config *c) {
    struct settings *s = mem_zalloc(sizeof *s);
    char *text = mem_alloc(settings_text_len(c));
    if (!s || !text) {
        mem_free(s);
        mem_free(text);
        return NULL;
    }
    char *at = text;
    s->config = *c;
    s->config.seal_key = NULL;
    s->config.name = settings_take(&at, c->name);
    s->config.server_header = settings_take(&at, c->server_header);
    s->config.stun_urls = settings_take(&at, c->stun_urls);
    s->config.relay_urls = settings_take(&at, c->relay_urls);
    for (unsigned i = 0; i < c->domain_count; i++)
        s->config.domains[i] = settings_take(&at, c->domains[i]);
    for (unsigned i = 0; i < c->peer_count; i++)
        s->config.peer[i].domain = settings_take(&at, c->peer[i].domain);
    s->text = text;
    return s;
}

static void settings_free(struct settings *s) {
    while (s) {
        struct settings *older = s->older;
        mem_free(s->text);
        mem_free(s);
        s = older;
    }
}

enum err node_configure(struct node *n, const struct node_config *config) {
    if (config->workers != n->workers || config->domain_count > NODE_DOMAINS_MAX) return ERR_CONFIG;
    struct settings *s = settings_new(config);
    if (!s) return ERR_MEMORY;
    /* A worker may be reading the one in force: it stays until the node ends. Reloads are rare. */
    s->older = atomic_load(&n->settings);
    s->config.flows_max = n->flows_max;
    atomic_store(&n->digest.nonce_life_s, config->nonce_life_s);
    atomic_store_explicit(&n->settings, s, memory_order_release);
    return ERR_OK;
}

/* ---- the directory of INVITE server transactions ---- */

struct directory_entry {
    uint64_t key;
    unsigned worker;
    pool_id tx;
};
struct directory_shard {
    struct lock lock;
    struct pool entries;
    struct map map;
};
struct directory {
    struct directory_shard shards[DIRECTORY_SHARDS];
};

static struct directory *directory_new(uint32_t max) {
    struct directory *d = mem_zalloc(sizeof *d);
    if (!d) return NULL;
    for (unsigned i = 0; i < DIRECTORY_SHARDS; i++) {
        lock_init(&d->shards[i].lock);
        pool_init(&d->shards[i].entries, sizeof(struct directory_entry),
                  max / DIRECTORY_SHARDS + 1);
        map_init(&d->shards[i].map, max / DIRECTORY_SHARDS + 1);
    }
    return d;
}

static void directory_free(struct directory *d) {
    if (!d) return;
    for (unsigned i = 0; i < DIRECTORY_SHARDS; i++) {
        pool_fini(&d->shards[i].entries);
        map_fini(&d->shards[i].map);
        lock_fini(&d->shards[i].lock);
    }
    mem_free(d);
}

static struct directory_entry *directory_get(struct directory_shard *s, uint64_t key,
                                             pool_id *out) {
    struct map_iter it = map_find(&s->map, key);
    for (uint32_t slot; map_next(&s->map, &it, &slot);) {
        struct directory_entry *e = pool_at(&s->entries, slot, out);
        if (e && e->key == key) return e;
    }
    return NULL;
}

enum err node_invite_add(struct node *n, uint64_t key, unsigned worker, pool_id tx) {
    struct directory_shard *s = &n->directory->shards[key % DIRECTORY_SHARDS];
    enum err err = ERR_FULL;
    pool_id id;
    lock_take(&s->lock);
    struct directory_entry *e = pool_new(&s->entries, &id);
    if (e) {
        *e = (struct directory_entry){ key, worker, tx };
        err = map_add(&s->map, key, id.slot);
        if (err != ERR_OK) pool_free(&s->entries, id);
    }
    lock_give(&s->lock);
    return err;
}

void node_invite_remove(struct node *n, uint64_t key, pool_id tx) {
    struct directory_shard *s = &n->directory->shards[key % DIRECTORY_SHARDS];
    pool_id id;
    lock_take(&s->lock);
    struct directory_entry *e = directory_get(s, key, &id);
    if (e && pool_id_eq(e->tx, tx)) {
        map_remove(&s->map, key, id.slot);
        pool_free(&s->entries, id);
    }
    lock_give(&s->lock);
}

bool node_invite_find(struct node *n, uint64_t key, unsigned *worker, pool_id *tx) {
    struct directory_shard *s = &n->directory->shards[key % DIRECTORY_SHARDS];
    pool_id id;
    lock_take(&s->lock);
    struct directory_entry *e = directory_get(s, key, &id);
    if (e) {
        *worker = e->worker;
        *tx = e->tx;
    }
    lock_give(&s->lock);
    return e != NULL;
}

/* ---- flow words ---- */

#define WORD_ALIVE (UINT64_C(1) << 24)

static uint64_t flow_word(uint32_t gen, const struct flow_info *info, uint32_t local) {
    return (uint64_t)gen << 32 | WORD_ALIVE | (uint64_t)(local & 0xffff) << 8 |
           (uint64_t)(info->transport & 0xf) << 4 | (info->lane & 0xf);
}

/* The number of a local address; appended when new. */
static enum err node_local_number(struct node *n, const struct addr *local, uint32_t *out) {
    uint32_t count = atomic_load_explicit(&n->local_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
        if (addr_eq(&n->locals[i], local)) {
            *out = i;
            return ERR_OK;
        }
    enum err err = ERR_FULL;
    lock_take(&n->lock);
    count = atomic_load_explicit(&n->local_count, memory_order_relaxed);
    uint32_t i = 0;
    while (i < count && !addr_eq(&n->locals[i], local)) i++;
    if (i < LOCALS_MAX) {
        if (i == count) {
            n->locals[i] = *local;
            atomic_store_explicit(&n->local_count, count + 1, memory_order_release);
        }
        *out = i;
        err = ERR_OK;
    }
    lock_give(&n->lock);
    return err;
}

enum err node_flow_up(struct node *n, flow_id f, const struct flow_info *info) {
    uint32_t local;
    enum err err = node_local_number(n, &info->local, &local);
    if (err != ERR_OK) return err;
    ASSERT(flow_slot(f) < n->flows_max);
    atomic_store_explicit(&n->flow_calls[flow_worker(f)][flow_slot(f)], 0, memory_order_relaxed);
    atomic_store_explicit(&n->flow_words[flow_worker(f)][flow_slot(f)],
                          flow_word(flow_gen(f), info, local), memory_order_release);
    return ERR_OK;
}

void node_flow_call(struct node *n, flow_id f, int change) {
    if (!node_flow_lives(n, f)) return;
    _Atomic uint16_t *calls = &n->flow_calls[flow_worker(f)][flow_slot(f)];
    uint16_t seen = atomic_load_explicit(calls, memory_order_relaxed), next;
    do {
        if (change < 0 ? seen == 0 : seen == UINT16_MAX) return;
        next = (uint16_t)(seen + change);
    } while (!atomic_compare_exchange_weak_explicit(calls, &seen, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

unsigned node_flow_calls(const struct node *n, flow_id f) {
    return atomic_load_explicit(&n->flow_calls[flow_worker(f)][flow_slot(f)], memory_order_relaxed);
}

void node_flow_down(struct node *n, flow_id f) {
    atomic_store_explicit(&n->flow_words[flow_worker(f)][flow_slot(f)], 0, memory_order_release);
}

static uint64_t node_flow_word(struct node *n, flow_id f) {
    if (flow_worker(f) >= n->workers || flow_slot(f) >= n->flows_max) return 0;
    uint64_t w =
        atomic_load_explicit(&n->flow_words[flow_worker(f)][flow_slot(f)], memory_order_acquire);
    return (uint32_t)(w >> 32) == flow_gen(f) ? w : 0;
}

bool node_flow_lives(struct node *n, flow_id f) {
    return node_flow_word(n, f) != 0;
}

bool node_flow_face(struct node *n, flow_id f, struct flow_face *out) {
    uint64_t w = node_flow_word(n, f);
    if (!w) return false;
    out->transport = (uint8_t)(w >> 4 & 0xf);
    out->lane = (uint8_t)(w & 0xf);
    out->local = n->locals[w >> 8 & 0xffff];
    return true;
}

/* ---- names ---- */

bool node_is_domain(struct node *n, slice host) {
    const struct node_config *c = node_settings(n);
    for (unsigned i = 0; i < c->domain_count; i++)
        if (slice_ieq(host, c->domains[i])) return true;
    return false;
}

bool node_is_self(struct node *n, slice host) {
    const struct node_config *c = node_settings(n);
    if (c->name.len && slice_ieq(host, c->name)) return true;
    struct addr a;
    if (addr_read_ip(host, &a) != ERR_OK) return false;
    uint32_t count = atomic_load_explicit(&n->local_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
        if (addr_ip_eq(&a, &n->locals[i])) return true;
    return false;
}

/* ---- start ---- */

/* Every key is derived from the one that seals, so that nothing more needs to be kept safe. */
static void derive(const uint8_t seal[static 32], const char *label, uint32_t run, void *out,
                   size_t len) {
    char text_mem[64];
    uint8_t block[32];
    uint8_t *at = out;
    for (unsigned i = 0; len; i++) {
        struct buf text = buf_over(text_mem, sizeof text_mem);
        buf_fmt(&text, "kith %s %u %u", label, run, i);
        crypto_hmac_sha256(slice_of(seal, 32), buf_slice(&text), block);
        size_t n = len < sizeof block ? len : sizeof block;
        memcpy(at, block, n);
        at += n;
        len -= n;
    }
    crypto_wipe(block, sizeof block);
}

static void node_derive_keys(struct node *n, const uint8_t seal[static 32]) {
    struct node_keys *k = &n->keys;
    memcpy(k->seal, seal, sizeof k->seal);
    derive(seal, "route token", 0, k->token, sizeof k->token);
    derive(seal, "gruu", 0, k->gruu, sizeof k->gruu);
    derive(seal, "durable ids", 0, &k->durable, sizeof k->durable);
    derive(seal, "branch", n->run, k->branch, sizeof k->branch);
    derive(seal, "tag", n->run, k->tag, sizeof k->tag);
    derive(seal, "nonce", n->run, k->nonce, sizeof k->nonce);
    derive(seal, "tables", n->run, &k->table, sizeof k->table);
}

/* Each start is a run of its own: flow ids of another run mean nothing. */
static enum err node_next_run(struct node *n) {
    uint8_t old[4] = { 0 };
    size_t len = 0;
    enum err err = store_value(n->store, SLICE("run"), old, sizeof old, &len);
    if (err != ERR_OK && err != ERR_MISSING) return err;
    uint32_t run = (uint32_t)old[0] << 24 | (uint32_t)old[1] << 16 | (uint32_t)old[2] << 8 | old[3];
    n->run = run + 1 ? run + 1 : 1;
    uint8_t text[4] = { (uint8_t)(n->run >> 24), (uint8_t)(n->run >> 16), (uint8_t)(n->run >> 8),
                        (uint8_t)n->run };
    struct store_change change = { .op = STORE_VALUE_PUT,
                                   .durability = STORE_FULL,
                                   .value = { SLICE("run"), slice_of(text, sizeof text) } };
    return store_commit(n->store, &change, 1);
}

struct node_load {
    struct node *node;
    wall_t wall;
};

static void node_on_size(void *ctx, uint32_t accounts) {
    struct node *n = ((struct node_load *)ctx)->node;
    accounts_loading(n->accounts, accounts < NODE_ACCOUNTS_MAX ? accounts : NODE_ACCOUNTS_MAX);
    location_reserve(n->location, accounts < NODE_ACCOUNTS_MAX ? accounts : NODE_ACCOUNTS_MAX);
}
static enum err node_on_account(void *ctx, const struct account_row *row) {
    return accounts_put(((struct node_load *)ctx)->node->accounts, row);
}
static enum err node_on_device(void *ctx, const struct device_row *row) {
    return accounts_put_device(((struct node_load *)ctx)->node->accounts, row);
}
static enum err node_on_binding(void *ctx, const struct binding_row *row) {
    struct node_load *load = ctx;
    enum err err = location_load(load->node->location, row, load->wall);
    return err == ERR_MISSING ? ERR_OK : err; /* expired while we were away */
}

static void node_call_ended(void *ctx, const struct dialog_leg leg[2]) {
    for (unsigned i = 0; i < 2; i++) node_flow_call(ctx, leg[i].flow, -1);
}

static enum err node_tables(struct node *n, const struct node_config *config, mono_t now) {
    uint32_t txs = LIMIT_TRANSACTIONS * config->workers;
    n->accounts = accounts_new(NODE_ACCOUNTS_MAX, &n->keys.table, n->keys.seal);
    n->location = location_new(NODE_BINDINGS_MAX, &n->keys.durable, n->run);
    n->dialogs = dialogs_new(NODE_DIALOGS_MAX, &n->keys.table, node_call_ended, n);
    n->guard = guard_new(&config->guard, &n->keys.table, now);
    n->directory = directory_new(txs);
    if (node_peers_new(n) != ERR_OK) return ERR_MEMORY;
    n->digest.used = digest_used_new(NODE_USED_NONCES, &n->keys.table);
    n->locals = mem_array(LOCALS_MAX, sizeof *n->locals);
    if (!n->accounts || !n->location || !n->dialogs || !n->guard || !n->directory ||
        !n->digest.used || !n->locals)
        return ERR_MEMORY;
    for (unsigned i = 0; i < n->workers; i++) {
        n->flow_words[i] = mem_array(n->flows_max, sizeof *n->flow_words[i]);
        n->flow_calls[i] = mem_array(n->flows_max, sizeof *n->flow_calls[i]);
        if (!n->flow_words[i] || !n->flow_calls[i]) return ERR_MEMORY;
    }
    n->digest.accounts = n->accounts;
    n->digest.nonce_life_s = config->nonce_life_s;
    memcpy(n->digest.mac_key, n->keys.nonce, sizeof n->digest.mac_key);
    derive(n->keys.seal, "decoy", 0, n->digest.decoy, sizeof n->digest.decoy);
    return ERR_OK;
}

enum err node_new(const struct node_config *config, struct store *store, struct now now,
                  struct node **out) {
    if (config->workers < 1 || config->workers > NODE_WORKERS_MAX || !config->seal_key ||
        config->domain_count < 1 || config->domain_count > NODE_DOMAINS_MAX ||
        config->flows_max < 1 || config->flows_max > LIMIT_FLOWS)
        return ERR_CONFIG;
    struct node *n = mem_zalloc(sizeof *n);
    if (!n) return ERR_MEMORY;
    lock_init(&n->lock);
    n->store = store;
    n->number = 1;
    n->workers = config->workers;
    n->flows_max = config->flows_max;
    struct settings *s = settings_new(config);
    atomic_store(&n->settings, s);
    enum err err = s ? node_next_run(n) : ERR_MEMORY;
    if (err == ERR_OK) {
        node_derive_keys(n, config->seal_key);
        err = node_tables(n, config, now.mono);
    }
    if (err == ERR_OK) {
        struct node_load load = { n, now.wall };
        mem_step(MEM_STEP_MUCH);
        err = store_load(store, &(struct store_reader){ .ctx = &load,
                                                        .on_account = node_on_account,
                                                        .on_device = node_on_device,
                                                        .on_binding = node_on_binding,
                                                        .on_size = node_on_size });
        enum err last = accounts_loaded(n->accounts);
        if (err == ERR_OK) err = last;
        mem_step(MEM_STEP);
    }
    if (err != ERR_OK) {
        node_free(n);
        return err;
    }
    *out = n;
    return ERR_OK;
}

void node_free(struct node *n) {
    if (!n) return;
    for (unsigned i = 0; i < n->workers; i++) {
        mem_free((void *)n->flow_words[i]);
        mem_free((void *)n->flow_calls[i]);
    }
    lock_fini(&n->lock);
    mem_free(n->locals);
    digest_used_free(n->digest.used);
    directory_free(n->directory);
    node_peers_free(n);
    guard_free(n->guard);
    dialogs_free(n->dialogs);
    location_free(n->location);
    accounts_free(n->accounts);
    settings_free(atomic_load(&n->settings));
    crypto_wipe(&n->keys, sizeof n->keys);
    crypto_wipe(&n->digest, sizeof n->digest);
    mem_free(n);
}

struct accounts *node_accounts(struct node *n) {
    return n->accounts;
}
struct location *node_location(struct node *n) {
    return n->location;
}
struct guard *node_guard(struct node *n) {
    return n->guard;
}
struct dialogs *node_dialogs(struct node *n) {
    return n->dialogs;
}
uint32_t node_run(const struct node *n) {
    return n->run;
}
void node_set_tracing(struct node *n, bool on) {
    atomic_store(&n->tracing, on);
}
