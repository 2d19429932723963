/* daemon/people.c - admin calls about people: add, import, list, disable, enable, remove. */
#include "auth/aor.h"
#include "auth/password.h"
#include "auth/secret.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "daemon/admin.h"
#include "daemon/certs.h"
#include "registrar/location.h"

#define IMPORT_MAX 2048 /* people in one call, which is one commit */

/* ---- names -------------------------------------------------------------------------------- */

static bool is_served(const struct world *w, slice domain) {
    for (unsigned i = 0; i < w->domain_count; i++)
        if (slice_eq(w->domains[i], domain)) return true;
    return w->domain_count == 0;
}

/* Before any server ran here nobody knows which domains there will be: every one is taken, and the
 * answer names those that would not be served by a server without a configuration. */
#define UNSERVED_MAX 16
struct unserved {
    unsigned count;
    slice names[UNSERVED_MAX];
};

static void unserved_note(const struct world *w, slice domain, struct unserved *u) {
    char mem[256];
    if (w->domain_count || slice_eq(domain, host_name(mem)) || u->count == UNSERVED_MAX) return;
    for (unsigned i = 0; i < u->count; i++)
        if (slice_eq(u->names[i], domain)) return;
    u->names[u->count++] = domain;
}

static void unserved_put(struct admin_call *c, const struct unserved *u) {
    if (u->count == 0) return;
    json_begin_array(&c->answer, "not_served_yet");
    for (unsigned i = 0; i < u->count; i++) json_put_text(&c->answer, NULL, u->names[i]);
    json_end(&c->answer);
}

/* user@domain, or a user alone: then the first domain is meant. */
static enum err read_aor(const struct world *w, slice text, struct aor *out, struct buf *why) {
    char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
    struct buf whole = buf_over(mem, sizeof mem);
    if (slice_find(text, '@') == text.len && w->domain_count) {
        buf_fmt(&whole, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(text), SLICE_ARG(w->domains[0]));
        if (!whole.full) text = buf_slice(&whole);
    }
    return aor_read(text, out, why);
}

enum err admin_aor(struct admin_call *c, slice text, struct aor *out) {
    char mem[256];
    struct buf why = buf_over(mem, sizeof mem);
    enum err e = read_aor(c->world, text, out, &why);
    if (e == ERR_OK) return ERR_OK;
    return admin_fail(c, e, "\"" SLICE_FMT "\": " SLICE_FMT, SLICE_ARG(slice_head(text, 80)),
                      SLICE_ARG(buf_slice(&why)));
}

struct find_row {
    uint32_t id;
    struct store_change *copy;
};

static bool find_visit(void *ctx, const struct account_row *row) {
    struct find_row *f = ctx;
    if (row->id != f->id) return true;
    struct store_change put = { .op = STORE_ACCOUNT_PUT,
                                .durability = STORE_FULL,
                                .account = *row };
    f->copy = store_change_copy(&put);
    return false;
}

enum err admin_account(struct admin_call *c, struct store_change **out) {
    struct aor aor;
    enum err e = admin_aor(c, admin_text(c, "aor"), &aor);
    if (e != ERR_OK) return e;
    struct account account;
    /* Visitors (daemon/web_guest.c) are nobody's to change: they are in no store. */
    if (accounts_find(c->world->accounts, aor_user(&aor), aor_domain(&aor), &account) != ERR_OK ||
        (account.flags & ACCOUNT_GUEST)) {
        admin_hint(c, "`kith user list` shows everybody");
        (void)admin_fail(c, ERR_MISSING, "there is no " SLICE_FMT "@" SLICE_FMT,
                         SLICE_ARG(aor_user(&aor)), SLICE_ARG(aor_domain(&aor)));
        return ERR_MISSING;
    }
    struct find_row f = { account.id, NULL };
    accounts_each(c->world->accounts, find_visit, &f);
    if (!f.copy) {
        (void)admin_fail(c, ERR_MEMORY, "memory is short");
        return ERR_MEMORY;
    }
    *out = f.copy;
    return ERR_OK;
}

slice admin_make_secret(char out[static PASSWORD_MADE_CHARS]) {
    struct rng rng;
    uint8_t seed[32];
    crypto_random(seed, sizeof seed);
    rng_init(&rng, seed);
    password_make(&rng, out);
    crypto_wipe(&rng, sizeof rng);
    crypto_wipe(seed, sizeof seed);
    return slice_of(out, PASSWORD_MADE_CHARS);
}

/* ---- adding ------------------------------------------------------------------------------- */

struct person {
    struct aor aor;
    slice display;
    char aliases[ACCOUNT_ALIASES_MAX * (ACCOUNT_USER_MAX + 1)];
    slice aliases_s;
    struct secret_boxes boxes;
};

/* Why this secret is refused, or NULL. */
static const char *secret_refused(const struct person *p, slice secret) {
    struct password_question q = { .secret = secret,
                                   .user = aor_user(&p->aor),
                                   .domain = aor_domain(&p->aor),
                                   .aliases = p->aliases_s,
                                   .display = p->display };
    enum password_verdict v = password_judge(&q);
    return v == PASSWORD_OK ? NULL : password_text(v);
}

/* Puts one new person into memory and leaves the change to commit in *out. NULL, or why not. */
static const char *person_add(struct world *w, struct person *p, slice secret,
                              struct store_change *out) {
    if (!is_served(w, aor_domain(&p->aor))) return "in a domain that this server does not serve";
    wall_t now = admin_now();
    *out = (struct store_change){ .op = STORE_ACCOUNT_PUT,
                                  .durability = STORE_FULL,
                                  .account = { .id = accounts_free_id(w->accounts),
                                               .user = aor_user(&p->aor),
                                               .domain = aor_domain(&p->aor),
                                               .aliases = p->aliases_s,
                                               .display = p->display,
                                               .created = now,
                                               .changed = now } };
    secret_seal_account(w->seal_key, secret, &p->boxes, &out->account);
    switch (accounts_put(w->accounts, &out->account)) {
    case ERR_OK:
        return NULL;
    case ERR_EXISTS:
        return "there already, or one of the aliases is somebody else's";
    case ERR_LIMIT:
        return "too long, or has too many aliases";
    case ERR_FULL:
        return "one too many: no room is left";
    default:
        return "not storable: memory is short, or a name is empty";
    }
}

static enum err read_aliases(struct admin_call *c, struct person *p) {
    struct buf b = buf_over(p->aliases, sizeof p->aliases);
    const struct json *list = json_member(c->args, "aliases");
    for (size_t i = 0; i < json_count(list); i++) {
        char mem[256];
        struct buf why = buf_over(mem, sizeof mem);
        struct aor alias;
        slice one = json_text(json_item(list, i));
        enum err e = aor_read_user(one, &alias, &why);
        if (e != ERR_OK)
            return admin_fail(c, e, "the alias \"" SLICE_FMT "\": " SLICE_FMT,
                              SLICE_ARG(slice_head(one, 80)), SLICE_ARG(buf_slice(&why)));
        if (b.len) buf_byte(&b, ',');
        buf_put(&b, aor_user(&alias));
    }
    p->aliases_s = buf_slice(&b);
    return b.full ? admin_fail(c, ERR_LIMIT, "too many aliases, or too long ones") : ERR_OK;
}

enum err call_user_add(struct admin_call *c) {
    struct person p = { 0 };
    char made[PASSWORD_MADE_CHARS];
    enum err e = admin_aor(c, admin_text(c, "aor"), &p.aor);
    if (e == ERR_OK) e = read_aliases(c, &p);
    if (e != ERR_OK) return e;
    p.display = admin_text(c, "display");
    slice secret = admin_text(c, "password");
    bool generate = admin_flag(c, "generate");
    if (generate) secret = admin_make_secret(made);
    const char *weak = generate ? NULL : secret_refused(&p, secret);
    if (weak) {
        admin_hint(c, "Kith makes one with `kith user add " SLICE_FMT "@" SLICE_FMT " --generate`",
                   SLICE_ARG(aor_user(&p.aor)), SLICE_ARG(aor_domain(&p.aor)));
        return admin_fail(c, ERR_DENIED, "the password is refused: %s", weak);
    }
    struct store_change changes[2];
    const char *wrong = person_add(c->world, &p, secret, &changes[0]);
    if (wrong) {
        if (c->world->domain_count)
            admin_hint(c,
                       "the first domain served is " SLICE_FMT ", set by `domain =` in kith.conf",
                       SLICE_ARG(c->world->domains[0]));
        return admin_fail(c, ERR_DENIED, SLICE_FMT "@" SLICE_FMT " is %s",
                          SLICE_ARG(aor_user(&p.aor)), SLICE_ARG(aor_domain(&p.aor)), wrong);
    }
    uint8_t ids[WORLD_IDS_BYTES];
    uint32_t id = changes[0].account.id;
    changes[1] = world_ids_change(c->world, id, 0, ids);
    e = admin_commit(c, changes, 2);
    if (e != ERR_OK) accounts_remove(c->world->accounts, id);
    if (e == ERR_OK) {
        char text[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
        struct buf b = buf_over(text, sizeof text);
        accounts_put_aor(c->world->accounts, id, &b);
        json_put_text(&c->answer, "aor", buf_slice(&b));
        if (generate) json_put_text(&c->answer, "secret", secret);
        struct unserved u = { 0 };
        unserved_note(c->world, aor_domain(&p.aor), &u);
        unserved_put(c, &u);
    }
    crypto_wipe(made, sizeof made);
    return e;
}

/* ---- import ------------------------------------------------------------------------------- */

struct import {
    size_t count; /* of changes */
    struct unserved unserved;
    struct store_change changes[IMPORT_MAX + 1];
    struct person people[IMPORT_MAX];
};

static void import_refused(struct admin_call *c, uint64_t line, slice aor, const char *why) {
    struct admin_row row;
    struct json_writer *w = admin_row_begin(&row);
    json_put_u64(w, "line", line);
    json_put_text(w, "aor", slice_head(aor, 200));
    json_put_str(w, "refused", why);
    (void)admin_row_end(c, &row);
}

static void import_one(struct admin_call *c, struct import *im, const struct json *item) {
    struct person *p = &im->people[im->count];
    slice aor = json_text(json_member(item, "aor"));
    slice secret = json_text(json_member(item, "password"));
    uint64_t line = 0;
    if (json_u64(json_member(item, "line"), UINT64_MAX >> 1, &line) != ERR_OK) line = 0;
    *p = (struct person){ 0 };
    char mem[256];
    struct buf why = buf_over(mem, sizeof mem - 1);
    const char *wrong = NULL;
    if (read_aor(c->world, aor, &p->aor, &why) != ERR_OK) {
        mem[why.len] = 0;
        wrong = mem;
    }
    if (!wrong) wrong = secret_refused(p, secret);
    if (!wrong) wrong = person_add(c->world, p, secret, &im->changes[im->count]);
    if (wrong) {
        import_refused(c, line, aor, wrong);
        return;
    }
    im->count++;
    unserved_note(c->world, aor_domain(&p->aor), &im->unserved);
}

/* {"users":[{"line":1,"aor":"...","password":"..."}, ...]}: good ones are added by one commit, each
 * refused one is a row. */
enum err call_user_import(struct admin_call *c) {
    const struct json *users = json_member(c->args, "users");
    if (json_count(users) > IMPORT_MAX)
        return admin_fail(c, ERR_LIMIT, "more than %d people in one call", IMPORT_MAX);
    struct import *im = mem_zalloc(sizeof *im);
    if (!im) return admin_fail(c, ERR_MEMORY, "memory is short");
    for (size_t i = 0; i < json_count(users); i++) import_one(c, im, json_item(users, i));
    enum err e = ERR_OK;
    size_t added = im->count;
    if (added) {
        uint8_t ids[WORLD_IDS_BYTES];
        im->changes[added] = world_ids_change(c->world, im->changes[added - 1].account.id, 0, ids);
        e = admin_commit(c, im->changes, added + 1);
        for (size_t i = 0; e != ERR_OK && i < added; i++)
            accounts_remove(c->world->accounts, im->changes[i].account.id);
    }
    json_put_u64(&c->answer, "added", e == ERR_OK ? added : 0);
    json_put_u64(&c->answer, "refused", json_count(users) - added);
    if (e == ERR_OK) unserved_put(c, &im->unserved);
    mem_free(im);
    return e;
}

/* ---- list, change, remove ----------------------------------------------------------------- */

void admin_put_person(struct json_writer *w, const struct account_row *row) {
    char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
    struct buf aor = buf_over(mem, sizeof mem);
    buf_fmt(&aor, SLICE_FMT "@" SLICE_FMT, SLICE_ARG(row->user), SLICE_ARG(row->domain));
    json_put_text(w, "aor", buf_slice(&aor));
    json_put_text(w, "display", row->display);
    json_begin_array(w, "aliases");
    slice rest = row->aliases;
    for (slice one; slice_split(&rest, ',', &one);) json_put_text(w, NULL, one);
    json_end(w);
    json_put_bool(w, "disabled", (row->flags & ACCOUNT_DISABLED) != 0);
    json_put_wall(w, "created", row->created);
    json_put_wall(w, "changed", row->changed);
}

struct list_walk {
    struct admin_call *c;
    uint64_t count;
};

static bool list_visit(void *ctx, const struct account_row *row) {
    struct list_walk *walk = ctx;
    struct admin_row r;
    if (row->flags & ACCOUNT_GUEST) return true;
    walk->count++;
    admin_put_person(admin_row_begin(&r), row);
    return admin_row_end(walk->c, &r);
}

enum err call_user_list(struct admin_call *c) {
    struct list_walk walk = { c, 0 };
    accounts_each(c->world->accounts, list_visit, &walk);
    json_put_u64(&c->answer, "count", walk.count);
    return ERR_OK;
}

static void tell_changed(struct world *w, uint32_t id) {
    if (w->server) w->server->account_changed(w->server->ctx, id);
}

enum err admin_put_account(struct admin_call *c, struct store_change *put) {
    put->account.changed = admin_now();
    enum err e = admin_commit(c, put, 1);
    if (e == ERR_OK) e = accounts_put(c->world->accounts, &put->account);
    if (e == ERR_OK) tell_changed(c->world, put->account.id);
    return e;
}

static enum err set_disabled(struct admin_call *c, bool disabled) {
    struct store_change *put = NULL;
    enum err e = admin_account(c, &put);
    if (e != ERR_OK) return e;
    bool was = (put->account.flags & ACCOUNT_DISABLED) != 0;
    put->account.flags &= ~(uint32_t)ACCOUNT_DISABLED;
    if (disabled) put->account.flags |= ACCOUNT_DISABLED;
    if (was != disabled) e = admin_put_account(c, put);
    json_put_bool(&c->answer, "changed", was != disabled);
    mem_free(put);
    return e;
}

enum err call_user_disable(struct admin_call *c) {
    return set_disabled(c, true);
}

enum err call_user_enable(struct admin_call *c) {
    return set_disabled(c, false);
}

/* A new secret for somebody who is there: {"aor":...,"generate":true | "password":...}. */
enum err call_user_password(struct admin_call *c) {
    struct store_change *put = NULL;
    enum err e = admin_account(c, &put);
    if (e != ERR_OK) return e;
    struct person p = { .display = put->account.display, .aliases_s = put->account.aliases };
    e = admin_aor(c, admin_text(c, "aor"), &p.aor);
    ASSERT(e == ERR_OK); /* admin_account has read it */
    char made[PASSWORD_MADE_CHARS];
    slice secret = admin_text(c, "password");
    bool generate = admin_flag(c, "generate");
    if (generate) secret = admin_make_secret(made);
    const char *weak = generate ? NULL : secret_refused(&p, secret);
    if (weak) {
        admin_hint(c, "Kith makes one with --generate");
        e = admin_fail(c, ERR_DENIED, "the password is refused: %s", weak);
    } else {
        secret_seal_account(c->world->seal_key, secret, &p.boxes, &put->account);
        e = admin_put_account(c, put);
    }
    if (e == ERR_OK && generate) json_put_text(&c->answer, "secret", secret);
    crypto_wipe(made, sizeof made);
    mem_free(put);
    return e;
}

enum err call_user_remove(struct admin_call *c) {
    struct store_change *put = NULL;
    enum err e = admin_account(c, &put);
    if (e != ERR_OK) return e;
    struct store_change gone = { .op = STORE_ACCOUNT_REMOVE,
                                 .durability = STORE_FULL,
                                 .account = { .id = put->account.id } };
    e = admin_commit(c, &gone, 1);
    if (e == ERR_OK) {
        accounts_remove(c->world->accounts, gone.account.id);
        if (c->world->server) {
            location_remove_account(c->world->server->location, gone.account.id);
            tell_changed(c->world, gone.account.id);
        }
    }
    mem_free(put);
    return e;
}
