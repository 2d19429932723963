#include "proxy/forward.h"

#include "proxy/session.h"
#include "sip/edit.h"
#include "sip/hdr.h"

static void forward_number(struct sip_edit *e, enum sip_header_id id, struct buf *text) {
    const struct sip_header *h = sip_first(e->msg, id);
    if (h)
        sip_edit_replace(e, h, buf_slice(text));
    else
        sip_edit_insert(e, id, buf_slice(text));
}

/* The first Via line may hold several values: only the topmost gets received and rport. */
static void forward_source_via(struct sip_edit *e, const struct forward *f, struct buf *text) {
    const struct sip_header *via = sip_first(f->req, HDR_VIA);
    const char *after = f->req->via.value.ptr + f->req->via.value.len;
    buf_put(text, f->source_via);
    buf_put(text, slice_span(after, via->value.ptr + via->value.len));
    if (!text->full) sip_edit_replace(e, via, buf_slice(text));
}

/* Put whole lines in front of the empty line that ends the head. */
static enum err forward_put_lines(struct buf *out, size_t body_len, slice lines) {
    size_t tail = body_len + 2, at = out->len - tail;
    buf_put(out, lines);
    if (out->full) return ERR_FULL;
    memmove(out->ptr + at + lines.len, out->ptr + at, tail);
    memcpy(out->ptr + at, lines.ptr, lines.len);
    return ERR_OK;
}

/* RFC 7044 10.1.2: at the border of our domain. */
static void forward_history(struct sip_edit *e, const struct history_out *h) {
    if (h->has_history) sip_edit_drop_all(e, HDR_HISTORY_INFO);
    if (h->history.len) sip_edit_insert(e, HDR_HISTORY_INFO, h->history);
    if (h->has_privacy) sip_edit_drop_all(e, HDR_PRIVACY);
    if (h->privacy.len) sip_edit_insert(e, HDR_PRIVACY, h->privacy);
    if (h->no_diversion) sip_edit_drop_all(e, HDR_DIVERSION);
}

/* RFC 3261 22.3: credentials for our realms were for us; those for another realm are for a proxy
 * further on, and pass as they are. What cannot be read is nobody's. */
static void forward_credentials(struct sip_edit *e, const struct forward *f) {
    for (const struct sip_header *h = sip_first(f->req, HDR_PROXY_AUTHORIZATION); h;
         h = sip_next(f->req, h)) {
        struct hdr_auth a;
        bool is_ours = hdr_auth(h->value, &a) != ERR_OK;
        for (unsigned i = 0; i < f->realm_count && !is_ours; i++)
            is_ours = slice_eq(a.realm, f->realms[i]);
        if (is_ours) sip_edit_drop(e, h);
    }
}

enum err forward_write(const struct forward *f, struct buf *out) {
    struct sip_edit e;
    char hops_mem[4], breadth_mem[12], min_mem[12], session_mem[128], via_mem[1024];
    struct buf hops = buf_over(hops_mem, sizeof hops_mem);
    struct buf breadth = buf_over(breadth_mem, sizeof breadth_mem);
    struct buf min_se = buf_over(min_mem, sizeof min_mem);
    struct buf session = buf_over(session_mem, sizeof session_mem);
    struct buf via = buf_over(via_mem, sizeof via_mem);

    sip_edit_init(&e, f->req);
    if (f->request_uri.len) sip_edit_request_uri(&e, f->request_uri);
    if (f->source_via.len) forward_source_via(&e, f, &via);
    sip_edit_insert(&e, HDR_VIA, f->via);
    if (f->own_routes) sip_edit_drop_values(&e, HDR_ROUTE, f->own_routes);
    if (f->route.len) sip_edit_insert(&e, HDR_ROUTE, f->route);
    for (unsigned i = 0; i < 2; i++)
        if (f->record_route[i].len) sip_edit_insert(&e, HDR_RECORD_ROUTE, f->record_route[i]);

    buf_u64(&hops, f->req->has_max_forwards ? f->req->max_forwards - 1u : 70u);
    forward_number(&e, HDR_MAX_FORWARDS, &hops);
    if (f->max_breadth) {
        buf_u64(&breadth, f->max_breadth);
        forward_number(&e, HDR_MAX_BREADTH, &breadth);
    }
    sip_edit_drop_all(&e, HDR_P_ASSERTED_IDENTITY);
    sip_edit_drop_all(&e, HDR_P_PREFERRED_IDENTITY);
    forward_credentials(&e, f);
    if (f->asserted.len) sip_edit_insert(&e, HDR_P_ASSERTED_IDENTITY, f->asserted);
    if (f->leaving) forward_history(&e, f->leaving);
    if (f->session_expires_s) {
        session_put_expires(f->req, f->session_expires_s, &session);
        forward_number(&e, HDR_SESSION_EXPIRES, &session);
    }
    if (f->min_se_s) {
        buf_u64(&min_se, f->min_se_s);
        forward_number(&e, HDR_MIN_SE, &min_se);
    }
    if (f->diversion.len) sip_edit_insert(&e, HDR_DIVERSION, f->diversion);
    if (f->body.ptr) sip_edit_body(&e, f->body);
    if (session.full) return ERR_FULL;
    enum err err = sip_edit_write(&e, out);
    if (err != ERR_OK || !f->lines.len) return err;
    return forward_put_lines(out, f->body.ptr ? f->body.len : f->req->body.len, f->lines);
}

/* RFC 7339 5.2: what we have to say of our load goes into the Via of the next hop upstream, which
 * is the second one here. It came back as we sent it, without such parameters. We wrote the lines,
 * so it stands alone on its own, or was one of several of its sender. */
static void forward_oc(struct sip_edit *e, const struct sip_msg *resp, slice oc, struct buf *text) {
    const struct sip_header *first = sip_first(resp, HDR_VIA);
    const struct sip_header *second = sip_next(resp, first);
    struct hdr_values it = hdr_values_of(resp, HDR_VIA);
    slice ours, his;
    if (!second || !hdr_values_next(&it, &ours) || !hdr_values_next(&it, &his)) return;
    if (his.ptr < second->value.ptr || his.ptr >= second->value.ptr + second->value.len) return;
    buf_put(text, his);
    buf_put(text, oc);
    buf_put(text, slice_span(his.ptr + his.len, second->value.ptr + second->value.len));
    if (!text->full) sip_edit_replace(e, second, buf_slice(text));
}

enum err forward_response(const struct sip_msg *resp, const struct forward_back *f,
                          struct buf *out) {
    struct sip_edit e;
    char mem[1024];
    struct buf via = buf_over(mem, sizeof mem);
    sip_edit_init(&e, resp);
    sip_edit_drop_values(&e, HDR_VIA, 1);
    if (f->oc.len) forward_oc(&e, resp, f->oc, &via);
    sip_edit_drop_all(&e, HDR_P_ASSERTED_IDENTITY);
    if (f->challenges.len) {
        sip_edit_drop_all(&e, HDR_WWW_AUTHENTICATE);
        sip_edit_drop_all(&e, HDR_PROXY_AUTHENTICATE);
    }
    enum err err = sip_edit_write(&e, out);
    if (err == ERR_OK && f->challenges.len)
        err = forward_put_lines(out, resp->body.len, f->challenges);
    if (err == ERR_OK && f->lines.len) err = forward_put_lines(out, resp->body.len, f->lines);
    return err;
}
