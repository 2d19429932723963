/* daemon/live.c - admin calls that only a running server can answer. */
#include "base/mem.h"
#include "daemon/admin.h"
#include "registrar/location.h"

enum err call_status(struct admin_call *c) {
    c->world->server->put_status(c->world->server->ctx, &c->answer);
    return ERR_OK;
}

struct bindings_walk {
    struct admin_call *c;
    uint64_t count;
};

static bool binding_visit(void *ctx, const struct binding_row *row) {
    struct bindings_walk *walk = ctx;
    struct admin_row r;
    struct json_writer *w = admin_row_begin(&r);
    json_put_text(w, "contact", row->contact);
    json_put_bool(w, "connected", node_flow_lives(walk->c->world->server->node, row->flow));
    json_put_text(w, "user_agent", row->user_agent);
    json_put_text(w, "instance", row->instance);
    json_put_text(w, "path", row->path);
    json_put_u64(w, "q_thousandths", row->q);
    json_put_u64(w, "legacy_device", row->device_id);
    json_put_wall(w, "registered", row->registered);
    json_put_wall(w, "expires", row->expires);
    walk->count++;
    return admin_row_end(walk->c, &r);
}

enum err call_bindings(struct admin_call *c) {
    struct store_change *account = NULL;
    enum err e = admin_account(c, &account);
    if (e != ERR_OK) return e;
    struct bindings_walk walk = { c, 0 };
    location_each(c->world->server->location, account->account.id, admin_now(), binding_visit,
                  &walk);
    json_put_u64(&c->answer, "count", walk.count);
    mem_free(account);
    return ERR_OK;
}

static bool trace_line(void *ctx, slice line) {
    struct admin_call *c = ctx;
    if (line.len == 0) return c->sink(c->sink_ctx, line); /* only: do you still listen? */
    struct admin_row r;
    struct buf b = buf_over(r.mem, sizeof r.mem);
    buf_lit(&b, "{\"row\":");
    buf_put(&b, line);
    buf_lit(&b, "}\n");
    return b.full || c->sink(c->sink_ctx, buf_slice(&b));
}

enum err call_trace(struct admin_call *c) {
    c->world->server->trace(c->world->server->ctx, trace_line, c);
    return ERR_OK;
}
