/* Writes a changed copy of a message in one pass over its header lines. The changes are first laid
 * onto the lines they concern (struct plan), then the lines are written in order. RFC 3261 16.6. */
#include "sip/edit.h"

#include "sip/inside.h"

enum edit_what {
    EDIT_DROP,
    EDIT_DROP_ALL,
    EDIT_REPLACE,
    EDIT_DROP_VALUES,
    EDIT_INSERT,
    EDIT_APPEND
};

void sip_edit_init(struct sip_edit *e, const struct sip_msg *msg) {
    e->msg = msg;
    e->request_uri = e->body = SLICE_NONE;
    e->has_body = e->full = false;
    e->count = 0;
}

static void op_add(struct sip_edit *e, struct sip_edit_op op) {
    if (e->count == SIP_EDITS_MAX)
        e->full = true;
    else
        e->ops[e->count++] = op;
}

static uint8_t index_of(const struct sip_edit *e, const struct sip_header *h) {
    ASSERT(h >= e->msg->headers && h < e->msg->headers + e->msg->header_count);
    return (uint8_t)(h - e->msg->headers);
}

void sip_edit_request_uri(struct sip_edit *e, slice uri) {
    e->request_uri = uri;
}
void sip_edit_drop(struct sip_edit *e, const struct sip_header *h) {
    op_add(e, (struct sip_edit_op){ .what = EDIT_DROP, .header = index_of(e, h) });
}
void sip_edit_drop_all(struct sip_edit *e, enum sip_header_id id) {
    op_add(e, (struct sip_edit_op){ .what = EDIT_DROP_ALL, .id = (uint8_t)id });
}
void sip_edit_replace(struct sip_edit *e, const struct sip_header *h, slice value) {
    op_add(e,
           (struct sip_edit_op){ .what = EDIT_REPLACE, .header = index_of(e, h), .value = value });
}
void sip_edit_drop_values(struct sip_edit *e, enum sip_header_id id, unsigned n) {
    for (unsigned i = 0; i < e->count; i++) {
        if (e->ops[i].what != EDIT_DROP_VALUES || e->ops[i].id != id) continue;
        e->ops[i].n += n;
        return;
    }
    op_add(e, (struct sip_edit_op){ .what = EDIT_DROP_VALUES, .id = (uint8_t)id, .n = n });
}
void sip_edit_insert(struct sip_edit *e, enum sip_header_id id, slice value) {
    ASSERT(id != HDR_OTHER && id < HDR_COUNT);
    op_add(e, (struct sip_edit_op){ .what = EDIT_INSERT,
                                    .id = (uint8_t)id,
                                    .name = sip_header_text(id),
                                    .value = value });
}
void sip_edit_append(struct sip_edit *e, slice name, slice value) {
    op_add(e, (struct sip_edit_op){ .what = EDIT_APPEND, .name = name, .value = value });
}
void sip_edit_body(struct sip_edit *e, slice body) {
    e->has_body = true;
    e->body = body;
}

/* ---- writing ---- */

enum line_fate { LINE_KEEP, LINE_GONE, LINE_CHANGED };
struct plan {
    const struct sip_edit *e;
    uint8_t fate[LIMIT_MSG_HEADERS];
    slice value[LIMIT_MSG_HEADERS]; /* of changed lines */
    uint8_t place[SIP_EDITS_MAX];   /* inserts: before which line; header_count: the end */
};

/* May this text stand in a line of its own? Line ends only as folds, no NUL. Foreign text that got
 * into a value must never open a header line. */
static bool is_one_line(slice s) {
    if (s.len == 0 ||
        (!memchr(s.ptr, '\n', s.len) && !memchr(s.ptr, '\r', s.len) && !memchr(s.ptr, '\0', s.len)))
        return true; /* as nearly always */
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\0') return false;
        if (s.ptr[i] != '\r' && s.ptr[i] != '\n') continue;
        if (s.ptr[i] == '\n' || s.len - i < 3 || s.ptr[i + 1] != '\n') return false;
        if (!scan_is(s.ptr[i + 2], SCAN_WS)) return false;
        i += 2;
    }
    return true;
}

static enum err plan_drop_values(struct plan *p, const struct sip_edit_op *op) {
    const struct sip_msg *m = p->e->msg;
    struct hdr_values it = hdr_values_of(m, op->id);
    const struct sip_header *h = sip_first(m, op->id);
    unsigned left = op->n;
    slice v;
    if (left == 0) return ERR_OK;
    while (left && hdr_values_next(&it, &v)) left--;
    if (it.bad) return ERR_BAD;
    /* The lines before the one of the last value taken are empty now. */
    for (; h && h != it.line; h = sip_next(m, h)) p->fate[h - m->headers] = LINE_GONE;
    if (!h) return ERR_OK;
    slice rest = slice_trim(it.rest);
    p->fate[h - m->headers] = rest.len ? LINE_CHANGED : LINE_GONE;
    p->value[h - m->headers] = rest;
    return ERR_OK;
}

/* Before the first line of its kind, else Via at the top, Route behind the Vias, others last. */
static uint8_t plan_place(const struct sip_msg *m, uint8_t id) {
    if (id != HDR_OTHER && m->first[id] != SIP_HEADER_NONE) return m->first[id];
    if (id == HDR_VIA) return 0;
    if (id != HDR_ROUTE) return m->header_count;
    uint8_t place = 0;
    for (const struct sip_header *h = sip_first(m, HDR_VIA); h; h = sip_next(m, h)) {
        place = (uint8_t)(h - m->headers + 1);
    }
    return place;
}

static enum err plan_op(struct plan *p, unsigned i) {
    const struct sip_edit_op *op = &p->e->ops[i];
    const struct sip_msg *m = p->e->msg;
    switch ((enum edit_what)op->what) {
    case EDIT_DROP:
        p->fate[op->header] = LINE_GONE;
        break;
    case EDIT_DROP_ALL:
        for (const struct sip_header *h = sip_first(m, op->id); h; h = sip_next(m, h)) {
            p->fate[h - m->headers] = LINE_GONE;
        }
        break;
    case EDIT_REPLACE:
        p->fate[op->header] = LINE_CHANGED;
        p->value[op->header] = op->value;
        return is_one_line(op->value) ? ERR_OK : ERR_BAD;
    case EDIT_DROP_VALUES:
        return plan_drop_values(p, op);
    case EDIT_INSERT:
        p->place[i] = plan_place(m, op->id);
        return is_one_line(op->value) ? ERR_OK : ERR_BAD;
    case EDIT_APPEND:
        p->place[i] = m->header_count;
        return is_one_line(op->value) && is_one_line(op->name) ? ERR_OK : ERR_BAD;
    }
    return ERR_OK;
}

static void put_line(struct buf *out, slice name, slice value) {
    buf_put(out, name);
    buf_lit(out, ": ");
    buf_put(out, value);
    buf_lit(out, "\r\n");
}

/* The new lines that go before line `place`; Vias come first. */
static void put_inserts(const struct plan *p, unsigned place, struct buf *out) {
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < p->e->count; i++) {
            const struct sip_edit_op *op = &p->e->ops[i];
            if (op->what != EDIT_INSERT && op->what != EDIT_APPEND) continue;
            bool is_via = op->what == EDIT_INSERT && op->id == HDR_VIA;
            if (p->place[i] == place && is_via == (round == 0)) {
                put_line(out, op->name, op->value);
            }
        }
    }
}

static void put_start_line(const struct sip_edit *e, struct buf *out) {
    const struct sip_msg *m = e->msg;
    if (e->request_uri.len == 0 || !m->is_request) {
        buf_put(out, m->start_line);
        return;
    }
    buf_put(out, m->method_name);
    buf_lit(out, " ");
    buf_put(out, e->request_uri);
    buf_lit(out, " SIP/2.0\r\n");
}

static void put_content_length(struct buf *out, slice name, size_t length) {
    buf_put(out, name);
    buf_lit(out, ": ");
    buf_u64(out, length);
    buf_lit(out, "\r\n");
}

enum err sip_edit_write(const struct sip_edit *e, struct buf *out) {
    const struct sip_msg *m = e->msg;
    struct plan p;
    uint64_t insert_places[LIMIT_MSG_HEADERS / 64 + 1] = { 0 };
    if (e->full) return ERR_LIMIT;
    if (!is_one_line(e->request_uri) || slice_find(e->request_uri, ' ') < e->request_uri.len)
        return ERR_BAD;
    p.e = e;
    memset(p.fate, LINE_KEEP, m->header_count);
#ifdef __clang_analyzer__ /* it does not see that LINE_CHANGED means a value */
    memset((void *)p.value, 0, sizeof p.value);
#endif
    for (unsigned i = 0; i < e->count; i++) {
        enum err err = plan_op(&p, i);
        if (err != ERR_OK) return err;
        if (e->ops[i].what < EDIT_INSERT) continue;
        insert_places[p.place[i] / 64] |= (uint64_t)1 << p.place[i] % 64;
    }
    slice body = e->has_body ? e->body : m->body;
    bool has_length = false;
    put_start_line(e, out);
    for (unsigned i = 0; i <= m->header_count; i++) {
        const struct sip_header *h = &m->headers[i];
        if (insert_places[i / 64] >> i % 64 & 1) put_inserts(&p, i, out);
        if (i == m->header_count || p.fate[i] == LINE_GONE) continue;
        if (h->id == HDR_CONTENT_LENGTH) {
            if (e->has_body)
                put_content_length(out, h->name, body.len);
            else
                buf_put(out, h->line);
            has_length = true;
        } else if (p.fate[i] == LINE_CHANGED) {
            put_line(out, h->name, p.value[i]);
        } else {
            buf_put(out, h->line);
        }
    }
    if (!has_length) put_content_length(out, SLICE("Content-Length"), body.len);
    buf_lit(out, "\r\n");
    buf_put(out, body);
    return out->full ? ERR_FULL : ERR_OK;
}
