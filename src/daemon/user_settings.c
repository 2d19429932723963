/* daemon/user_settings.c - admin calls about what a person has set: forwarding, do not disturb. */
#include "auth/user_settings.h"

#include "base/mem.h"
#include "daemon/admin.h"
#include "sip/uri.h"

#define SET_MAX 16 /* assignments in one call */

/* Values as they were written out: what the settings point into. */
struct written {
    char mem[SET_MAX][USER_SETTINGS_URI_MAX + 32];
    unsigned count;
};

/* "bob@example.org", or "100" of the first domain, as a URI; what follows a comma stays behind it.
 * A URI stays as it is. */
static enum err write_target(struct admin_call *c, slice value, struct written *w, slice *out) {
    *out = value;
    struct sip_uri uri;
    bool is_word = value.len == 0 || slice_eq(value, SLICE("on")) || slice_eq(value, SLICE("off"));
    size_t comma = slice_find(value, ',');
    if (is_word || slice_istarts(value, SLICE("sip:")) || slice_istarts(value, SLICE("sips:")) ||
        slice_istarts(value, SLICE("tel:")) ||
        (sip_uri_read(slice_head(value, comma), &uri) == ERR_OK && uri.scheme == URI_OTHER &&
         slice_find(value, '@') == value.len))
        return ERR_OK;
    struct aor aor;
    enum err e = admin_aor(c, slice_trim(slice_head(value, comma)), &aor);
    if (e != ERR_OK) return e;
    struct buf b = buf_over(w->mem[w->count], sizeof w->mem[0]);
    buf_lit(&b, "sip:");
    sip_escape_user(&b, aor_user(&aor));
    buf_byte(&b, '@');
    buf_put(&b, aor_domain(&aor));
    buf_put(&b, slice_from(value, comma));
    if (b.full) return admin_fail(c, ERR_LIMIT, "\"%.40s...\" is too long", b.ptr);
    w->count++;
    *out = buf_slice(&b);
    return ERR_OK;
}

static enum err set_one(struct admin_call *c, slice pair, struct written *w,
                        struct user_settings *s) {
    char mem[160];
    struct buf why = buf_over(mem, sizeof mem);
    size_t at = slice_find(pair, '=');
    slice name = slice_trim(slice_head(pair, at)), value;
    if (at == pair.len) {
        admin_hint(c, "an empty value takes the setting away: dnd=");
        return admin_fail(c, ERR_BAD, "\"" SLICE_FMT "\": expected NAME=VALUE",
                          SLICE_ARG(slice_head(pair, 80)));
    }
    enum err e = write_target(c, slice_trim(slice_from(pair, at + 1)), w, &value);
    if (e != ERR_OK) return e;
    e = user_settings_set(s, name, value, &why);
    if (e == ERR_MISSING) {
        admin_hint(c, "dnd, forward-always, forward-busy, forward-no-answer, forward-unreachable, "
                      "only-calls");
        return admin_fail(c, e, "there is no setting \"" SLICE_FMT "\"",
                          SLICE_ARG(slice_head(name, 40)));
    }
    if (e != ERR_OK)
        return admin_fail(c, e, SLICE_FMT " = \"" SLICE_FMT "\": " SLICE_FMT, SLICE_ARG(name),
                          SLICE_ARG(slice_head(value, 80)), SLICE_ARG(buf_slice(&why)));
    return ERR_OK;
}

static void put_settings(struct json_writer *w, const struct user_settings *s) {
    json_begin_object(w, "settings");
    json_put_bool(w, "dnd", s->dnd);
    if (s->refuse_anonymous) json_put_bool(w, "refuse-anonymous", true);
    for (unsigned i = 0; i < FORWARD_COUNT; i++)
        if (s->forward[i].len) json_put_text(w, forward_name(i), s->forward[i]);
    if (s->only_calls.len) json_put_text(w, "only-calls", s->only_calls);
    if (s->forward[FORWARD_NO_ANSWER].len) json_put_u64(w, "no-answer-seconds", s->no_answer_s);
    json_end(w);
}

/* {"aor":...,"set":["forward-busy=bob@example.org","dnd=on"]}: all of them or none. */
enum err call_user_set(struct admin_call *c) {
    const struct json *list = json_member(c->args, "set");
    struct store_change *put = NULL;
    if (json_count(list) == 0 || json_count(list) > SET_MAX)
        return admin_fail(c, ERR_BAD, "between 1 and %d settings in one call", SET_MAX);
    struct written *w = mem_zalloc(sizeof *w);
    if (!w) return admin_fail(c, ERR_MEMORY, "memory is short");
    enum err e = admin_account(c, &put);
    struct user_settings s = { 0 };
    /* What an older hand has spoiled is set anew. */
    if (e == ERR_OK && user_settings_read(put->account.settings, &s) != ERR_OK)
        s = (struct user_settings){ 0 };
    for (size_t i = 0; e == ERR_OK && i < json_count(list); i++)
        e = set_one(c, json_text(json_item(list, i)), w, &s);
    char mem[USER_SETTINGS_MAX];
    struct buf text = buf_over(mem, sizeof mem);
    if (e == ERR_OK) {
        user_settings_put(&text, &s);
        put->account.settings = buf_slice(&text);
        e = text.full ? admin_fail(c, ERR_LIMIT, "too much to keep") : admin_put_account(c, put);
    }
    if (e == ERR_OK) put_settings(&c->answer, &s);
    mem_free(put);
    mem_free(w);
    return e;
}

enum err call_user_show(struct admin_call *c) {
    struct store_change *put = NULL;
    enum err e = admin_account(c, &put);
    if (e != ERR_OK) return e;
    const struct account_row *row = &put->account;
    struct user_settings s;
    if (user_settings_read(row->settings, &s) != ERR_OK) s = (struct user_settings){ 0 };
    admin_put_person(&c->answer, row);
    put_settings(&c->answer, &s);
    mem_free(put);
    return ERR_OK;
}
