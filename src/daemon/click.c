/* daemon/click.c - see click.h. */
#include "daemon/click.h"

#include "base/mem.h"
#include "daemon/admin.h"
#include "daemon/config.h"

/* ---- the text ---- */

bool click_next(slice *rest, struct click *out) {
    for (slice line; slice_split(rest, '\n', &line);) {
        slice number;
        if (!slice_split(&line, ' ', &out->aor) || !slice_split(&line, ' ', &number) ||
            slice_u32(number, CLICK_GUESTS_MAX, &out->guests_max) != ERR_OK)
            continue;
        out->origins = line;
        return true;
    }
    return false;
}

bool click_find(const struct world *w, slice aor, struct click *out) {
    slice rest = slice_of(w->clicks, w->clicks_len);
    while (click_next(&rest, out))
        if (slice_ieq(out->aor, aor)) return true;
    return false;
}

bool click_allows(const struct click *c, slice origin) {
    slice rest = c->origins;
    for (slice one; slice_split(&rest, ' ', &one);)
        if (one.len && slice_ieq(one, origin)) return true;
    return false;
}

enum err clicks_load(struct world *w, struct store *store) {
    enum err e =
        store_value(store, SLICE("clicktocall"), w->clicks, sizeof w->clicks, &w->clicks_len);
    if (e == ERR_OK) return e;
    w->clicks_len = 0;
    return e == ERR_MISSING ? ERR_OK : e;
}

/* All lines but this address's, into mem. */
static struct buf others(const struct world *w, slice aor, char *mem, bool *out_found) {
    struct buf b = buf_over(mem, CLICKS_BYTES_MAX);
    slice rest = slice_of(w->clicks, w->clicks_len);
    *out_found = false;
    for (struct click c; click_next(&rest, &c);) {
        if (slice_ieq(c.aor, aor)) {
            *out_found = true;
            continue;
        }
        buf_put(&b, c.aor);
        buf_byte(&b, ' ');
        buf_u64(&b, c.guests_max);
        buf_byte(&b, ' ');
        buf_put(&b, c.origins);
        buf_byte(&b, '\n');
    }
    return b;
}

static enum err keep(struct admin_call *c, const struct buf *text) {
    if (text->full) return admin_fail(c, ERR_FULL, "there are too many addresses already");
    struct store_change put = { .op = STORE_VALUE_PUT,
                                .durability = STORE_FULL,
                                .value = { SLICE("clicktocall"), buf_slice(text) } };
    enum err e = admin_commit(c, &put, 1);
    if (e != ERR_OK) return e;
    memcpy(c->world->clicks, text->ptr, text->len);
    c->world->clicks_len = text->len;
    return ERR_OK;
}

/* ---- calls ---- */

static enum err put_origins(struct admin_call *c, struct buf *b) {
    const struct json *list = json_member(c->args, "origins");
    size_t count = json_count(list);
    if (count == 0)
        return admin_fail(c, ERR_BAD, "say which pages may show it: --origin https://shop.example");
    if (count > CLICK_ORIGINS_MAX)
        return admin_fail(c, ERR_LIMIT, "more than %u origins", CLICK_ORIGINS_MAX);
    for (size_t i = 0; i < count; i++) {
        slice one = json_text(json_item(list, i));
        if (!config_is_origin(one))
            return admin_fail(c, ERR_BAD,
                              "\"" SLICE_FMT "\" is no origin: write https://shop.example",
                              SLICE_ARG(slice_head(one, 100)));
        buf_byte(b, ' ');
        buf_put(b, one);
    }
    return ERR_OK;
}

/* {"aor":...,"origins":[...],"at_once":5} */
enum err call_click_add(struct admin_call *c) {
    struct store_change *account = NULL;
    char aor_mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
    struct buf aor = buf_over(aor_mem, sizeof aor_mem);
    uint64_t most = 0;
    bool was_there;
    if (json_u64(json_member(c->args, "at_once"), CLICK_GUESTS_MAX, &most) != ERR_OK || most == 0)
        return admin_fail(c, ERR_BAD, "how many may call at once: from 1 to %u", CLICK_GUESTS_MAX);
    enum err e = admin_account(c, &account);
    if (e != ERR_OK) return e;
    accounts_put_aor(c->world->accounts, account->account.id, &aor);
    mem_free(account);
    char *mem = mem_alloc(CLICKS_BYTES_MAX);
    if (!mem) return admin_fail(c, ERR_MEMORY, "memory is short");
    struct buf text = others(c->world, buf_slice(&aor), mem, &was_there);
    buf_put(&text, buf_slice(&aor));
    buf_byte(&text, ' ');
    buf_u64(&text, most);
    e = put_origins(c, &text);
    buf_byte(&text, '\n');
    if (e == ERR_OK) e = keep(c, &text);
    if (e == ERR_OK) json_put_text(&c->answer, "aor", buf_slice(&aor));
    mem_free(mem);
    return e;
}

enum err call_click_list(struct admin_call *c) {
    slice rest = slice_of(c->world->clicks, c->world->clicks_len);
    uint64_t count = 0;
    for (struct click one; click_next(&rest, &one); count++) {
        struct admin_row r;
        struct json_writer *w = admin_row_begin(&r);
        json_put_text(w, "aor", one.aor);
        json_put_u64(w, "at_once", one.guests_max);
        json_put_text(w, "origins", one.origins);
        (void)admin_row_end(c, &r);
    }
    json_put_u64(&c->answer, "count", count);
    return ERR_OK;
}

enum err call_click_remove(struct admin_call *c) {
    bool was_there;
    struct aor aor;
    char aor_mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
    struct buf name = buf_over(aor_mem, sizeof aor_mem);
    enum err e = admin_aor(c, admin_text(c, "aor"), &aor);
    if (e != ERR_OK) return e;
    buf_put(&name, aor_user(&aor));
    buf_byte(&name, '@');
    buf_put(&name, aor_domain(&aor));
    char *mem = mem_alloc(CLICKS_BYTES_MAX);
    if (!mem) return admin_fail(c, ERR_MEMORY, "memory is short");
    struct buf text = others(c->world, buf_slice(&name), mem, &was_there);
    e = was_there ? keep(c, &text)
                  : admin_fail(c, ERR_MISSING, "visitors may not call that address anyway");
    mem_free(mem);
    return e;
}
