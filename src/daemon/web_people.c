/* daemon/web_people.c - who is there, and what the page's calls go through (docs/web.md). */
#include "base/mem.h"
#include "base/scan.h"
#include "daemon/web_priv.h"
#include "registrar/location.h"

/* ---- people ---- */

struct person { /* copied: the walk is under a lock */
    uint32_t id;
    char aor[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2], name[ACCOUNT_LABEL_MAX];
    uint16_t aor_len, name_len;
    char numbers[256];
    uint16_t numbers_len;
};
struct people_walk {
    slice domain, wanted;
    uint32_t self;
    bool more;
    unsigned count;
    struct person rows[WEB_PEOPLE_MAX];
};

static bool has_part(slice text, slice part) {
    for (size_t i = 0; i + part.len <= text.len; i++)
        if (slice_ieq(slice_of(text.ptr + i, part.len), part)) return true;
    return false;
}

static bool person_visit(void *ctx, const struct account_row *row) {
    struct people_walk *walk = ctx;
    if (row->id == walk->self || (row->flags & (ACCOUNT_DISABLED | ACCOUNT_GUEST)) ||
        !slice_ieq(row->domain, walk->domain) ||
        !(has_part(row->user, walk->wanted) || has_part(row->display, walk->wanted) ||
          has_part(row->aliases, walk->wanted)))
        return true;
    if (walk->count == WEB_PEOPLE_MAX) {
        walk->more = true;
        return false;
    }
    struct person *p = &walk->rows[walk->count++];
    struct buf aor = buf_over(p->aor, sizeof p->aor), name = buf_over(p->name, sizeof p->name);
    struct buf numbers = buf_over(p->numbers, sizeof p->numbers);
    p->id = row->id;
    buf_put(&aor, row->user);
    buf_byte(&aor, '@');
    buf_put(&aor, row->domain);
    buf_put(&name, row->display);
    buf_put(&numbers, row->aliases);
    p->aor_len = (uint16_t)aor.len;
    p->name_len = (uint16_t)name.len;
    p->numbers_len = (uint16_t)numbers.len;
    return true;
}

struct reach_walk {
    struct node *node;
    bool is_reachable;
};

static bool reach_visit(void *ctx, const struct binding_row *row) {
    struct reach_walk *walk = ctx;
    walk->is_reachable = node_flow_lives(walk->node, row->flow);
    return !walk->is_reachable;
}

static void put_person(struct web_call *c, const struct person *p) {
    const struct server_face *server = c->world->server;
    struct json_writer *w = &c->answer;
    struct reach_walk walk = { server->node, false };
    location_each(server->location, p->id, c->now, reach_visit, &walk);
    json_begin_object(w, NULL);
    json_put_text(w, "aor", slice_of(p->aor, p->aor_len));
    json_put_text(w, "name", slice_of(p->name, p->name_len));
    json_begin_array(w, "numbers");
    slice rest = slice_of(p->numbers, p->numbers_len);
    for (slice one; slice_split(&rest, ',', &one);) json_put_text(w, NULL, slice_trim(one));
    json_end(w);
    json_put_bool(w, "reachable", walk.is_reachable);
    json_end(w);
}

/* A percent-encoded value of the query (RFC 3986 2.1), '+' being a space as forms write it. */
static slice decode(slice text, char *mem, size_t cap) {
    struct buf b = buf_over(mem, cap);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte;
        size_t n;
        if (text.ptr[i] == '%' && i + 2 < text.len &&
            hex_read(slice_of(text.ptr + i + 1, 2), &byte, 1, &n) == ERR_OK) {
            buf_byte(&b, (char)byte);
            i += 2;
        } else {
            buf_byte(&b, text.ptr[i] == '+' ? ' ' : text.ptr[i]);
        }
    }
    return buf_slice(&b);
}

unsigned web_people(struct web_call *c) {
    char aor_mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2], query_mem[128];
    struct buf aor = buf_over(aor_mem, sizeof aor_mem);
    struct people_walk *walk = mem_zalloc(sizeof *walk);
    if (!walk) return web_trouble(c, ERR_MEMORY);
    accounts_put_aor(c->world->accounts, c->session.account_id, &aor);
    walk->domain = slice_from(buf_slice(&aor), slice_find(buf_slice(&aor), '@') + 1);
    walk->self = c->session.account_id;
    if (http_query(c->head, SLICE("q"), &walk->wanted))
        walk->wanted = decode(walk->wanted, query_mem, sizeof query_mem);
    accounts_each(c->world->accounts, person_visit, walk);
    json_begin_array(&c->answer, "people");
    for (unsigned i = 0; i < walk->count; i++) put_person(c, &walk->rows[i]);
    json_end(&c->answer);
    json_put_bool(&c->answer, "more", walk->more);
    mem_free(walk);
    return 200;
}

/* ---- media ---- */

unsigned web_turn(struct web_call *c) {
    const struct web_config *config = &c->web->config;
    config->put_ice(config->ctx, &c->answer, c->session.account_id, c->session.id,
                    c->session.until);
    return 200;
}
