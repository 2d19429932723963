/* daemon/sessions.c - see sessions.h. */
#include "daemon/sessions.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include <stdio.h>

void session_token_hash(slice token, uint8_t out[static 32]) {
    crypto_sha256(token.ptr, token.len, out);
}

static uint32_t passkey_of(struct accounts *a, uint32_t session) {
    char mem[ACCOUNT_LABEL_MAX];
    struct buf note = buf_over(mem, sizeof mem);
    uint32_t id = 0;
    accounts_put_device_note(a, session, &note);
    return slice_u32(buf_slice(&note), UINT32_MAX, &id) == ERR_OK ? id : 0;
}

enum err session_find(struct accounts *a, slice token, enum device_kind kind, wall_t now,
                      struct session *out) {
    uint8_t hash[32];
    struct device device;
    struct account account;
    if (token.len != SESSION_TOKEN_CHARS) return ERR_MISSING;
    session_token_hash(token, hash);
    if (accounts_device_by_key(a, hash, &device) != ERR_OK || device.kind != kind ||
        device.revoked || now >= device.until ||
        accounts_by_id(a, device.account_id, &account) != ERR_OK ||
        (account.flags & ACCOUNT_DISABLED))
        return ERR_MISSING;
    *out = (struct session){ .account_id = account.id, .id = device.id, .until = device.until };
    if (kind == DEVICE_SESSION) out->passkey_id = passkey_of(a, device.id);
    return ERR_OK;
}

/* ---- ending ---- */

struct row_brief {
    uint32_t id;
    uint8_t kind;
    wall_t created, until;
    bool is_of_passkey;
};
struct brief_walk {
    struct row_brief rows[ACCOUNT_DEVICES_MAX];
    unsigned count;
    uint32_t passkey_id;
};

static bool brief_visit(void *ctx, const struct device_row *row) {
    struct brief_walk *walk = ctx;
    uint32_t made_by = 0;
    bool is_made = row->kind == DEVICE_SESSION &&
                   slice_u32(row->why, UINT32_MAX, &made_by) == ERR_OK &&
                   made_by == walk->passkey_id;
    walk->rows[walk->count++] =
        (struct row_brief){ row->id, row->kind, row->created, row->until, is_made };
    return walk->count < ARRAY_LEN(walk->rows);
}

static enum err remove_rows(struct world *w, const uint32_t *ids, unsigned count) {
    struct store_change changes[ACCOUNT_DEVICES_MAX];
    for (unsigned i = 0; i < count; i++)
        changes[i] = (struct store_change){ .op = STORE_DEVICE_REMOVE,
                                            .durability = STORE_FULL,
                                            .device = { .id = ids[i] } };
    enum err e = count ? w->commit(w->commit_ctx, changes, count) : ERR_OK;
    for (unsigned i = 0; e == ERR_OK && i < count; i++) {
        accounts_remove_device(w->accounts, ids[i]);
        if (w->server) w->server->device_changed(w->server->ctx, ids[i]);
    }
    return e;
}

struct whole_walk {
    uint32_t id;
    struct store_change *copy;
};

static bool whole_visit(void *ctx, const struct device_row *row) {
    struct whole_walk *walk = ctx;
    struct store_change put = { .op = STORE_DEVICE_PUT, .durability = STORE_FULL, .device = *row };
    if (row->id != walk->id) return true;
    walk->copy = store_change_copy(&put);
    return false;
}

/* The table first, which may be short of memory: what is stored as revoked is never known as good.
 * It stays revoked when there is no memory to take that back, either. */
static enum err revoke(struct world *w, const struct device *device) {
    struct whole_walk walk = { .id = device->id };
    accounts_each_device_of(w->accounts, device->account_id, whole_visit, &walk);
    if (!walk.copy) return ERR_MEMORY;
    struct device_row *row = &walk.copy->device;
    bool before = row->revoked;
    row->revoked = true;
    enum err e = accounts_put_device(w->accounts, row);
    if (e == ERR_OK) {
        e = w->commit(w->commit_ctx, walk.copy, 1);
        row->revoked = before;
        if (e != ERR_OK) (void)!accounts_put_device(w->accounts, row);
    }
    if (e == ERR_OK && w->server) w->server->device_changed(w->server->ctx, device->id);
    mem_free(walk.copy);
    return e;
}

enum err session_end(struct world *w, uint32_t device_id) {
    struct device device;
    uint32_t ids[ACCOUNT_DEVICES_MAX];
    unsigned count = 0;
    if (accounts_device(w->accounts, device_id, &device) != ERR_OK) return ERR_MISSING;
    if (device.kind == DEVICE_CERTIFICATE || device.kind == DEVICE_LEGACY)
        return revoke(w, &device);
    struct brief_walk walk = { .passkey_id = device_id };
    accounts_each_device_of(w->accounts, device.account_id, brief_visit, &walk);
    ids[count++] = device_id;
    for (unsigned i = 0; i < walk.count && count < ARRAY_LEN(ids); i++)
        if (walk.rows[i].is_of_passkey && walk.rows[i].id != device_id)
            ids[count++] = walk.rows[i].id;
    return remove_rows(w, ids, count);
}

/* ---- making ---- */

/* What has ended goes, and of what there are too many the oldest. */
static enum err make_room(struct world *w, const struct device_row *fresh, wall_t now) {
    const unsigned most = fresh->kind == DEVICE_SESSION ? SESSIONS_MAX : INVITES_MAX;
    struct brief_walk walk = { 0 };
    uint32_t ids[ACCOUNT_DEVICES_MAX];
    unsigned count = 0, alike = 0;
    const struct row_brief *oldest = NULL;
    accounts_each_device_of(w->accounts, fresh->account_id, brief_visit, &walk);
    for (unsigned i = 0; i < walk.count; i++) {
        const struct row_brief *r = &walk.rows[i];
        bool may_go = r->kind == DEVICE_SESSION || r->kind == DEVICE_INVITE;
        if (may_go && now >= r->until) {
            ids[count++] = r->id;
        } else if (r->kind == fresh->kind) {
            alike++;
            if (!oldest || r->created < oldest->created) oldest = r;
        }
    }
    if (alike >= most && oldest) ids[count++] = oldest->id;
    return remove_rows(w, ids, count);
}

enum err session_put_device(struct world *w, const struct device_row *row) {
    uint8_t mem[WORLD_IDS_BYTES];
    struct store_change changes[2] = {
        { .op = STORE_DEVICE_PUT, .durability = STORE_FULL, .device = *row },
        world_ids_change(w, 0, row->id, mem),
    };
    enum err e = accounts_put_device(w->accounts, row);
    if (e == ERR_LIMIT) return ERR_FULL;
    if (e != ERR_OK) return e;
    e = w->commit(w->commit_ctx, changes, ARRAY_LEN(changes));
    if (e != ERR_OK) accounts_remove_device(w->accounts, row->id);
    return e;
}

enum err session_make(struct world *w, const struct device_row *front, wall_t now,
                      char token[static SESSION_TOKEN_CHARS + 1], uint32_t *out_id) {
    uint8_t random[32];
    struct device_row row = *front;
    struct buf text = buf_over(token, SESSION_TOKEN_CHARS);
    enum err e = make_room(w, &row, now);
    if (e != ERR_OK) return e;
    crypto_random(random, sizeof random);
    buf_base64url(&text, random, sizeof random);
    ASSERT(!text.full && text.len == SESSION_TOKEN_CHARS);
    token[SESSION_TOKEN_CHARS] = '\0';
    crypto_wipe(random, sizeof random);
    session_token_hash(buf_slice(&text), row.key_hash);
    row.id = accounts_free_device_id(w->accounts);
    row.created = now;
    *out_id = row.id;
    return session_put_device(w, &row);
}
