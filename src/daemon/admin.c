/* daemon/admin.c - see admin.h. */
#include "daemon/admin.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include "daemon/suggest.h"
#include "os/loop.h"
#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name;
    enum err (*run)(struct admin_call *c);
    bool needs_server;
    bool long_lasting; /* runs without the world's lock */
} calls[] = {
    { "user.add", call_user_add, false, false },
    { "user.import", call_user_import, false, false },
    { "user.list", call_user_list, false, false },
    { "user.disable", call_user_disable, false, false },
    { "user.enable", call_user_enable, false, false },
    { "user.remove", call_user_remove, false, false },
    { "user.password", call_user_password, false, false },
    { "user.set", call_user_set, false, false },
    { "user.show", call_user_show, false, false },
    { "user.legacy", call_user_legacy, false, false },
    { "device.certificate", call_device_certificate, false, false },
    { "device.list", call_device_list, false, false },
    { "device.revoke", call_device_revoke, false, false },
    { "invite", call_invite, true, false },
    { "clicktocall.add", call_click_add, false, false },
    { "clicktocall.list", call_click_list, false, false },
    { "clicktocall.remove", call_click_remove, false, false },
    { "turn.credential", call_turn_credential, false, false },
    { "turn.list", call_turn_list, true, true },
    { "status", call_status, true, false },
    { "bindings", call_bindings, true, false },
    { "trace", call_trace, true, true },
};

wall_t admin_now(void) {
    return clock_wall();
}

slice admin_text(const struct admin_call *c, const char *name) {
    return json_text(json_member(c->args, name));
}

bool admin_flag(const struct admin_call *c, const char *name) {
    return json_bool(json_member(c->args, name));
}

enum err admin_fail(struct admin_call *c, enum err e, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(c->why, sizeof c->why, fmt, args);
    va_end(args);
    return e;
}

void admin_hint(struct admin_call *c, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(c->hint, sizeof c->hint, fmt, args);
    va_end(args);
}

struct json_writer *admin_row_begin(struct admin_row *r) {
    r->buf = buf_over(r->mem, sizeof r->mem);
    r->w = json_over(&r->buf);
    json_begin_object(&r->w, NULL);
    json_begin_object(&r->w, "row");
    return &r->w;
}

static bool spool(struct admin_call *c, slice line) {
    if (c->rows_len + line.len > c->rows_cap) {
        size_t cap = c->rows_cap ? c->rows_cap * 2 : 65536;
        char *grown = cap <= ADMIN_ROWS_MAX ? mem_grow(c->rows, cap) : NULL;
        if (!grown) {
            c->rows_full = true;
            return false;
        }
        c->rows = grown;
        c->rows_cap = cap;
    }
    memcpy(c->rows + c->rows_len, line.ptr, line.len);
    c->rows_len += line.len;
    return true;
}

bool admin_row_end(struct admin_call *c, struct admin_row *r) {
    json_end(&r->w);
    json_end(&r->w);
    buf_lit(&r->buf, "\n");
    return r->buf.full ? true : spool(c, buf_slice(&r->buf)); /* a row too long is left out */
}

enum err admin_commit(struct admin_call *c, const struct store_change *changes, size_t count) {
    enum err e = c->world->commit(c->world->commit_ctx, changes, count);
    if (e != ERR_OK) {
        (void)admin_fail(c, e, "nothing was changed: %s", err_text(e));
        admin_hint(c, "is the disk full? `kith status` tells the storage's own words");
    }
    return e;
}

/* The last line. An error ends what stands half-written in c->answer. */
static void finish(struct admin_call *c, enum err e) {
    if (e == ERR_OK && c->rows_full)
        e = admin_fail(c, ERR_LIMIT, "the list is too long to be given whole");
    if (e == ERR_OK) {
        json_end(&c->answer);
        buf_lit(&c->out, "\n");
        if (c->out.full) e = admin_fail(c, ERR_LIMIT, "the answer is too long");
    }
    if (e != ERR_OK) {
        buf_clear(&c->out);
        struct json_writer w = json_over(&c->out);
        json_begin_object(&w, NULL);
        json_put_str(&w, "error", c->why[0] ? c->why : err_text(e));
        json_put_str(&w, "code", err_name(e));
        if (c->hint[0]) json_put_str(&w, "hint", c->hint);
        json_end(&w);
        buf_lit(&c->out, "\n");
    }
    bool heard = c->rows_len == 0 || c->sink(c->sink_ctx, slice_of(c->rows, c->rows_len));
    if (heard) (void)c->sink(c->sink_ctx, buf_slice(&c->out));
}

static enum err dispatch(struct admin_call *c) {
    slice name = admin_text(c, "cmd");
    struct suggest near = suggest_for(name);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        suggest_offer(&near, slice_str(calls[i].name));
        if (!slice_eq(name, slice_str(calls[i].name))) continue;
        if (calls[i].needs_server && !c->world->server) {
            admin_hint(c, "start it with `kith serve`");
            return admin_fail(c, ERR_MISSING, "no server is running on %s", c->world->dir->path);
        }
        if (calls[i].long_lasting) return calls[i].run(c);
        world_begin(c->world);
        enum err e = calls[i].run(c);
        world_end(c->world);
        return e;
    }
    if (near.best.len) admin_hint(c, "did you mean " SLICE_FMT "?", SLICE_ARG(near.best));
    return admin_fail(c, ERR_UNSUPPORTED, "there is no admin call \"" SLICE_FMT "\"",
                      SLICE_ARG(slice_head(name, 60)));
}

void admin_run(struct world *w, slice request, admin_sink_fn *sink, void *sink_ctx) {
    struct admin_call *c = mem_zalloc(sizeof *c);
    if (!c) {
        (void)sink(sink_ctx, SLICE("{\"error\":\"memory is short\",\"code\":\"MEMORY\"}\n"));
        return;
    }
    c->world = w;
    c->sink = sink;
    c->sink_ctx = sink_ctx;
    c->out = buf_over(c->mem, sizeof c->mem);
    c->answer = json_over(&c->out);
    json_begin_object(&c->answer, NULL);
    json_put_bool(&c->answer, "ok", true);
    struct json *doc = NULL;
    struct json_trouble trouble;
    enum err e = json_read(request, &(struct json_limits){ ADMIN_REQUEST_MAX, 6 }, &doc, &trouble);
    if (e != ERR_OK) {
        (void)admin_fail(c, e, "the request is not JSON: %s", trouble.text);
    } else {
        c->args = doc;
        e = dispatch(c);
    }
    finish(c, e);
    json_free(doc);
    mem_free(c->rows);
    crypto_wipe(c->mem, sizeof c->mem); /* may hold a new secret or key */
    mem_free(c);
}
