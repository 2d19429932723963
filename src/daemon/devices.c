/* daemon/devices.c - admin calls about devices: certificates, the legacy lane, revocation. */
#include "auth/password.h"
#include "auth/secret.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "daemon/admin.h"
#include "daemon/sessions.h"
#include <time.h>

#define DAY_MS           INT64_C(86400000)
#define CERTIFICATE_DAYS 825 /* renewed by making a new one; long enough for a desk phone */
#define LEGACY_DAYS_MAX  (5 * 366)

/* "2027-06-30": that day counts in full, so the end is the next midnight UTC. */
static enum err read_date(slice s, wall_t *out) {
    uint32_t year = 0, month = 0, day = 0;
    if (s.len != 10 || s.ptr[4] != '-' || s.ptr[7] != '-') return ERR_BAD;
    if (slice_u32(slice_of(s.ptr, 4), 9999, &year) != ERR_OK ||
        slice_u32(slice_of(s.ptr + 5, 2), 12, &month) != ERR_OK ||
        slice_u32(slice_of(s.ptr + 8, 2), 31, &day) != ERR_OK || year < 1970 || !month || !day)
        return ERR_BAD;
    struct tm tm = { .tm_year = (int)year - 1900, .tm_mon = (int)month - 1, .tm_mday = (int)day };
    time_t t = timegm(&tm);
    if (t == (time_t)-1 || tm.tm_mday != (int)day) return ERR_BAD; /* 31 February moves on */
    *out = (wall_t)t * 1000 + DAY_MS;
    return ERR_OK;
}

static enum err read_name(struct admin_call *c, slice fallback, slice *out) {
    slice name = slice_trim(admin_text(c, "name"));
    *out = name.len ? name : fallback;
    if (out->len == 0) return admin_fail(c, ERR_BAD, "the device needs a name: --device NAME");
    if (out->len > 64) return admin_fail(c, ERR_LIMIT, "the device's name is too long");
    return ERR_OK;
}

/* Commit, then let it count; the id is burnt in the same commit. */
static enum err put_new_device(struct admin_call *c, struct store_change changes[static 2]) {
    uint8_t ids[WORLD_IDS_BYTES];
    changes[1] = world_ids_change(c->world, 0, changes[0].device.id, ids);
    enum err e = accounts_put_device(c->world->accounts, &changes[0].device);
    if (e == ERR_LIMIT) {
        admin_hint(c, "remove old ones: `kith device list`, `kith device revoke ID`");
        return admin_fail(c, e, "the account has as many devices as it may (%u)",
                          ACCOUNT_DEVICES_MAX);
    }
    if (e != ERR_OK) return admin_fail(c, e, "the device was not added: %s", err_text(e));
    e = admin_commit(c, changes, 2);
    if (e != ERR_OK) accounts_remove_device(c->world->accounts, changes[0].device.id);
    return e;
}

/* ---- the legacy lane ---------------------------------------------------------------------- */

static enum err read_legacy(struct admin_call *c, struct device_row *row) {
    wall_t now = admin_now();
    enum err e = read_name(c, SLICE_NONE, &row->name);
    if (e != ERR_OK) return e;
    row->why = slice_trim(admin_text(c, "why"));
    if (row->why.len == 0)
        return admin_fail(c, ERR_BAD, "say why this device may stay behind: --why \"...\"");
    if (row->why.len > ACCOUNT_LABEL_MAX)
        return admin_fail(c, ERR_LIMIT, "the reason is longer than %u bytes", ACCOUNT_LABEL_MAX);
    if (read_date(admin_text(c, "until"), &row->until) != ERR_OK)
        return admin_fail(c, ERR_BAD, "the end date is missing or not a date: --until 2027-06-30");
    if (row->until <= now) return admin_fail(c, ERR_BAD, "the end date has passed");
    if (row->until - now > LEGACY_DAYS_MAX * DAY_MS)
        return admin_fail(c, ERR_BAD, "the end date is more than five years away");
    return ERR_OK;
}

enum err call_user_legacy(struct admin_call *c) {
    struct store_change *account = NULL, changes[2];
    struct device_row row = { .kind = DEVICE_LEGACY, .created = admin_now() };
    enum err e = read_legacy(c, &row);
    if (e == ERR_OK) e = admin_account(c, &account);
    if (e != ERR_OK) return e;
    row.id = accounts_free_device_id(c->world->accounts);
    row.account_id = account->account.id;
    char made[PASSWORD_MADE_CHARS];
    uint8_t box[SECRET_SEALED_MD5_BYTES];
    slice secret = admin_make_secret(made);
    secret_seal_legacy(c->world->seal_key, account->account.user, account->account.domain, secret,
                       box, &row);
    changes[0] =
        (struct store_change){ .op = STORE_DEVICE_PUT, .durability = STORE_FULL, .device = row };
    e = put_new_device(c, changes);
    if (e == ERR_OK) {
        json_put_u64(&c->answer, "device", row.id);
        json_put_text(&c->answer, "secret", secret);
        json_put_wall(&c->answer, "until", row.until - 1000); /* the last day */
    }
    crypto_wipe(made, sizeof made);
    mem_free(account);
    return e;
}

/* ---- certificates ------------------------------------------------------------------------- */

static enum err make_certificate(struct admin_call *c, const struct account_row *account,
                                 struct pki_id **out) {
    char why_mem[256];
    struct buf why = buf_over(why_mem, sizeof why_mem);
    struct pki_id *ca = NULL;
    wall_t now = admin_now();
    enum err e = world_device_ca(c->world, now, &ca, &why);
    if (e != ERR_OK)
        return admin_fail(c, e, "the authority of device certificates is not usable: " SLICE_FMT,
                          SLICE_ARG(buf_slice(&why)));
    /* A random name, not the person's: TLS 1.2 sends it in clear. */
    uint8_t random[16];
    char name_mem[32];
    struct buf name = buf_over(name_mem, sizeof name_mem);
    crypto_random(random, sizeof random);
    buf_base64url(&name, random, sizeof random);
    e = pki_device_new(ca, buf_slice(&name), account->domain, now, CERTIFICATE_DAYS, out);
    return e == ERR_OK ? e : admin_fail(c, e, "no certificate was made: %s", err_text(e));
}

static enum err answer_certificate(struct admin_call *c, const struct pki_id *id, uint32_t device) {
    enum { CAP = 16384 };
    char *mem = mem_alloc(CAP);
    if (!mem) return admin_fail(c, ERR_MEMORY, "memory is short");
    struct buf pem = buf_over(mem, CAP);
    enum err e = pki_put_key(id, &pem);
    if (e == ERR_OK) e = pki_put_chain(id, &pem);
    if (e == ERR_OK) {
        json_put_u64(&c->answer, "device", device);
        json_put_wall(&c->answer, "until", pki_until(id));
        json_put_text(&c->answer, "pem", buf_slice(&pem));
    }
    crypto_wipe(mem, CAP);
    mem_free(mem);
    return e == ERR_OK ? e : admin_fail(c, e, "the certificate cannot be written: %s", err_text(e));
}

/* The key is made here, handed out once, and kept nowhere: only its hash is stored. */
enum err call_device_certificate(struct admin_call *c) {
    struct store_change *account = NULL, changes[2];
    struct device_row row = { .kind = DEVICE_CERTIFICATE, .created = admin_now() };
    enum err e = read_name(c, SLICE("phone"), &row.name);
    if (e == ERR_OK) e = admin_account(c, &account);
    if (e != ERR_OK) return e;
    struct pki_id *id = NULL;
    e = make_certificate(c, &account->account, &id);
    if (e == ERR_OK) {
        row.id = accounts_free_device_id(c->world->accounts);
        row.account_id = account->account.id;
        row.until = pki_until(id);
        pki_key_hash(id, row.key_hash);
        changes[0] = (struct store_change){ .op = STORE_DEVICE_PUT,
                                            .durability = STORE_FULL,
                                            .device = row };
        e = put_new_device(c, changes);
    }
    if (e == ERR_OK) e = answer_certificate(c, id, row.id);
    pki_unref(id);
    mem_free(account);
    return e;
}

/* ---- list and revoke ---------------------------------------------------------------------- */

struct device_walk {
    struct admin_call *c;
    uint32_t account_id; /* 0: all */
    bool legacy_only;
    struct store_change *rows[1024];
    size_t count;
    uint64_t want; /* one device's id; 0: all */
};

static bool device_visit(void *ctx, const struct device_row *row) {
    struct device_walk *walk = ctx;
    if ((walk->account_id && row->account_id != walk->account_id) ||
        (walk->want && row->id != walk->want))
        return true;
    struct store_change put = { .op = STORE_DEVICE_PUT, .durability = STORE_FULL, .device = *row };
    walk->rows[walk->count] = store_change_copy(&put);
    if (walk->rows[walk->count]) walk->count++;
    return walk->count < ARRAY_LEN(walk->rows);
}

const char *device_kind_name(unsigned kind) {
    static const char *const names[] = { [DEVICE_CERTIFICATE] = "certificate",
                                         [DEVICE_LEGACY] = "legacy",
                                         [DEVICE_PASSKEY] = "passkey",
                                         [DEVICE_SESSION] = "session",
                                         [DEVICE_INVITE] = "invite" };
    return kind < ARRAY_LEN(names) ? names[kind] : "other";
}

static void device_row_put(struct admin_call *c, const struct device_row *d) {
    struct admin_row r;
    struct json_writer *w = admin_row_begin(&r);
    char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
    struct buf aor = buf_over(mem, sizeof mem);
    accounts_put_aor(c->world->accounts, d->account_id, &aor);
    json_put_u64(w, "device", d->id);
    json_put_text(w, "aor", buf_slice(&aor));
    json_put_text(w, "name", d->name);
    json_put_str(w, "kind", device_kind_name(d->kind));
    const char *state = d->revoked                            ? "revoked"
                        : d->until && d->until <= admin_now() ? "ended"
                                                              : "valid";
    json_put_str(w, "state", state);
    json_put_wall(w, "created", d->created);
    json_put_wall(w, "until", d->kind == DEVICE_LEGACY ? d->until - 1000 : d->until);
    if (d->kind == DEVICE_LEGACY) json_put_text(w, "why", d->why);
    (void)admin_row_end(c, &r);
}

enum err call_device_list(struct admin_call *c) {
    struct device_walk *walk = mem_zalloc(sizeof *walk);
    if (!walk) return admin_fail(c, ERR_MEMORY, "memory is short");
    enum err e = ERR_OK;
    if (admin_text(c, "aor").len) {
        struct store_change *account = NULL;
        e = admin_account(c, &account);
        if (e == ERR_OK) walk->account_id = account->account.id;
        mem_free(account);
    }
    if (e == ERR_OK) accounts_each_device(c->world->accounts, device_visit, walk);
    for (size_t i = 0; i < walk->count; i++) {
        device_row_put(c, &walk->rows[i]->device);
        mem_free(walk->rows[i]);
    }
    if (e == ERR_OK) {
        json_put_u64(&c->answer, "count", walk->count);
        json_put_bool(&c->answer, "more", walk->count == ARRAY_LEN(walk->rows));
    }
    mem_free(walk);
    return e;
}

enum err call_device_revoke(struct admin_call *c) {
    uint64_t want = 0;
    if (json_u64(json_member(c->args, "device"), UINT32_MAX, &want) != ERR_OK || want == 0)
        return admin_fail(c, ERR_BAD, "name the device by its number; `kith device list` shows it");
    struct device_walk *walk = mem_zalloc(sizeof *walk);
    if (!walk) return admin_fail(c, ERR_MEMORY, "memory is short");
    walk->want = want;
    accounts_each_device(c->world->accounts, device_visit, walk);
    enum err e = ERR_OK;
    if (walk->count == 0) {
        admin_hint(c, "`kith device list` shows them all");
        e = admin_fail(c, ERR_MISSING, "there is no device %llu", (unsigned long long)want);
    } else {
        json_put_text(&c->answer, "name", walk->rows[0]->device.name);
        e = session_end(c->world, (uint32_t)want);
        if (e != ERR_OK) e = admin_fail(c, e, "nothing was changed: %s", err_text(e));
    }
    for (size_t i = 0; i < walk->count; i++) mem_free(walk->rows[i]);
    mem_free(walk);
    return e;
}

/* ---- invitations -------------------------------------------------------------------------- */

/* {"aor":...,"seconds":86400}: a link that lets its person make a passkey, once. */
enum err call_invite(struct admin_call *c) {
    struct store_change *account = NULL;
    char token[SESSION_TOKEN_CHARS + 1], link_mem[512];
    struct buf link = buf_over(link_mem, sizeof link_mem);
    uint64_t seconds = 0;
    uint32_t id;
    if (json_u64(json_member(c->args, "seconds"), INVITE_LIFE_MAX_S, &seconds) != ERR_OK ||
        seconds == 0)
        return admin_fail(c, ERR_BAD, "how long it is good for: from 1 s to 30 days");
    enum err e = admin_account(c, &account);
    if (e != ERR_OK) return e;
    wall_t now = admin_now();
    struct device_row row = { .account_id = account->account.id,
                              .kind = DEVICE_INVITE,
                              .name = SLICE("invitation"),
                              .until = now + (wall_t)seconds * 1000 };
    bool is_disabled = account->account.flags & ACCOUNT_DISABLED;
    mem_free(account);
    if (is_disabled) return admin_fail(c, ERR_DENIED, "this person is disabled");
    e = session_make(c->world, &row, now, token, &id);
    if (e == ERR_FULL)
        admin_hint(c, "remove old ones: `kith device list`, `kith device revoke ID`");
    if (e != ERR_OK) return admin_fail(c, e, "no invitation was made: %s", err_text(e));
    c->world->server->put_page(c->world->server->ctx, &link);
    buf_fmt(&link, "/#invite=%s", token);
    json_put_text(&c->answer, "link", buf_slice(&link));
    json_put_u64(&c->answer, "device", id);
    json_put_wall(&c->answer, "until", row.until);
    crypto_wipe(token, sizeof token);
    crypto_wipe(link_mem, sizeof link_mem);
    return ERR_OK;
}
