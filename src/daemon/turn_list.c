/* daemon/turn_list.c - kith turn list: who has which allocations of the relay. Each worker owns its
 * own, so each is asked, a page at a time: relaying does not wait for a long list. */
#include "base/mem.h"
#include "daemon/admin.h"

#include "daemon/daemon_priv.h"
#include <stdlib.h>

#define PAGE_ROWS 64u
#define PAGE_SEEN 1024u /* allocations looked at for one page */

struct turn_row {
    struct turn_use use;
    enum flow_transport by;
};

/* ---- asking the workers ---- */

struct page {
    uint32_t account_id, slot;
    unsigned count;
    bool is_last;
    _Atomic bool is_done; /* written last, by the worker */
    struct turn_row rows[PAGE_ROWS];
};

static void fill_page(struct io *io, void *ctx) {
    struct page *p = ctx;
    for (unsigned seen = 0; seen < PAGE_SEEN && p->count < PAGE_ROWS; seen++) {
        struct turn_row *row = &p->rows[p->count];
        p->is_last = !io_turn_each(io, &p->slot, &row->use, &row->by);
        if (p->is_last) break;
        if (!p->account_id || row->use.account_id == p->account_id) p->count++;
    }
    atomic_store(&p->is_done, true);
}

/* One that has ended runs no call any more, so that the page is ours again. */
static bool page_wait(const struct worker *w, struct page *p) {
    while (!atomic_load(&p->is_done) && !atomic_load(&w->ended)) daemon_pause_ms(1);
    return atomic_load(&p->is_done);
}

static enum err ask_worker(struct worker *w, struct page *p, turn_visit_fn *visit, void *ctx) {
    p->slot = 0;
    do {
        p->count = 0;
        atomic_store(&p->is_done, false);
        enum err e = io_post_call(w->io, fill_page, p);
        if (e != ERR_OK) return e;
        if (!page_wait(w, p)) return ERR_OK;
        for (unsigned i = 0; i < p->count; i++)
            if (!visit(ctx, &p->rows[i].use, p->rows[i].by)) return ERR_OK;
    } while (!p->is_last);
    return ERR_OK;
}

enum err daemon_turn_each(void *ctx, uint32_t account_id, turn_visit_fn *visit, void *visit_ctx) {
    struct daemon *d = ctx;
    struct page *p = mem_zalloc(sizeof *p);
    if (!p) return ERR_MEMORY;
    p->account_id = account_id;
    enum err e = ERR_OK;
    for (unsigned i = 0; i < d->worker_count && e == ERR_OK; i++)
        e = ask_worker(&d->workers[i], p, visit, visit_ctx);
    mem_free(p);
    return e;
}

/* ---- the list: people one after the other ---- */

struct turn_list { /* at most what [turn] allocations allows, of each worker */
    struct turn_row *rows;
    size_t count, cap;
    bool is_short; /* of memory */
};

static bool keep(void *ctx, const struct turn_use *use, enum flow_transport by) {
    struct turn_list *l = ctx;
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : PAGE_ROWS;
        struct turn_row *grown = mem_grow(l->rows, cap * sizeof *grown);
        l->is_short = !grown;
        if (!grown) return false;
        l->rows = grown;
        l->cap = cap;
    }
    l->rows[l->count++] = (struct turn_row){ *use, by };
    return true;
}

static int by_account(const void *a, const void *b) {
    uint32_t x = ((const struct turn_row *)a)->use.account_id;
    uint32_t y = ((const struct turn_row *)b)->use.account_id;
    return (x > y) - (x < y);
}

static const char *family_name(const struct addr *a) {
    return a->family == ADDR_V6 ? "IPv6" : "IPv4";
}

/* Whom he talks to, and from where, is not told: only how. */
static bool put_row(struct admin_call *c, const struct turn_row *row, size_t number, size_t of) {
    static const char *const transports[] = { "udp", "tcp", "tls", "wss" };
    const struct turn_use *use = &row->use;
    struct admin_row r;
    char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
    struct buf aor = buf_over(mem, sizeof mem);
    accounts_put_aor(c->world->accounts, use->account_id, &aor);
    struct json_writer *w = admin_row_begin(&r);
    json_put_text(w, "aor", buf_slice(&aor));
    json_put_u64(w, "number", number);
    json_put_u64(w, "allocations", of);
    json_put_str(w, "client_transport", transports[row->by & 3]);
    json_put_str(w, "client_family", family_name(&use->tuple.peer));
    json_put_str(w, "relay_transport", use->is_tcp ? "tcp" : "udp");
    json_begin_array(w, "relay_families");
    for (unsigned i = 0; i < ARRAY_LEN(use->relayed); i++)
        if (use->relayed[i].family) json_put_str(w, NULL, family_name(&use->relayed[i]));
    json_end(w);
    json_put_u64(w, "bytes_up", use->bytes_up);
    json_put_u64(w, "bytes_down", use->bytes_down);
    json_put_u64(w, "packets_up", use->packets_up);
    json_put_u64(w, "packets_down", use->packets_down);
    wall_t left = use->until - admin_now();
    json_put_u64(w, "seconds_left", left > 0 ? (uint64_t)left / 1000 : 0);
    json_put_u64(w, "peers", use->permissions);
    json_put_u64(w, "channels", use->channels);
    return admin_row_end(c, &r);
}

static void put_list(struct admin_call *c, struct turn_list *l) {
    size_t people = 0, next;
    if (l->count) qsort(l->rows, l->count, sizeof *l->rows, by_account);
    for (size_t i = 0; i < l->count; i = next, people++) {
        for (next = i; next < l->count && !by_account(&l->rows[i], &l->rows[next]);) next++;
        for (size_t k = i; k < next; k++)
            if (!put_row(c, &l->rows[k], k - i + 1, next - i)) return;
    }
    json_put_u64(&c->answer, "count", l->count);
    json_put_u64(&c->answer, "people", people);
}

static enum err account_wanted(struct admin_call *c, uint32_t *out) {
    struct store_change *account = NULL;
    *out = 0;
    if (!admin_text(c, "aor").len) return ERR_OK;
    world_begin(c->world);
    enum err e = admin_account(c, &account);
    world_end(c->world);
    if (e == ERR_OK) *out = account->account.id;
    mem_free(account);
    return e;
}

/* {"aor":...}, or nobody's in particular */
enum err call_turn_list(struct admin_call *c) {
    const struct server_face *server = c->world->server;
    struct turn_list l = { 0 };
    uint32_t account_id;
    enum err e = account_wanted(c, &account_id);
    if (e == ERR_OK) e = server->turn_each(server->ctx, account_id, keep, &l);
    if (e == ERR_OK && l.is_short) e = ERR_MEMORY;
    if (e == ERR_OK) put_list(c, &l);
    mem_free(l.rows);
    return e;
}
