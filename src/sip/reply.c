/* Writes responses: RFC 3261 8.2.6.2, 18.2.1, RFC 3581 4. */
#include "sip/reply.h"

#include "base/scan.h"
#include "sip/hdr.h"

static bool is_overload_param(slice name) {
    return slice_ieq(name, SLICE("oc")) || slice_istarts(name, SLICE("oc-"));
}

/* The parameters of a Via but those that the receiver writes. RFC 3581 4: rport gets its value in
 * place; received stands behind it. */
void sip_via_put_source(struct buf *b, const struct sip_via *via, const struct addr *source,
                        uint32_t keep_s) {
    struct addr host;
    bool is_same = sip_host_addr(via->host, &host) == ERR_OK && addr_ip_eq(&host, source);
    buf_put(b, slice_span(via->value.ptr,
                          via->params.len ? via->params.ptr : via->value.ptr + via->value.len));
    if (via->params.len == 0) {
        if (is_same) return;
        buf_lit(b, ";received=");
        addr_put_ip(b, source);
        return;
    }
    struct hdr_params it = hdr_params_of(via->params);
    for (struct hdr_param p; hdr_params_next(&it, &p);) {
        if (slice_ieq(p.name, SLICE("received"))) continue; /* what a peer wrote there is a lie */
        if (via->has_oc && is_overload_param(p.name)) continue;
        buf_lit(b, ";");
        buf_put(b, p.name);
        if (slice_ieq(p.name, SLICE("rport"))) {
            buf_lit(b, "=");
            buf_u64(b, source->port);
        } else if (keep_s && !p.value.ptr && slice_ieq(p.name, SLICE("keep"))) {
            buf_fmt(b, "=%u", keep_s);
        } else if (p.value.ptr) {
            buf_lit(b, "=");
            buf_put(b, p.value);
        }
    }
    /* RFC 3581 4: received always goes with rport; else RFC 3261 18.2.1: when it differs */
    if (is_same && !via->has_rport) return;
    buf_lit(b, ";received=");
    addr_put_ip(b, source);
}

static void put_vias(struct buf *out, const struct sip_msg *req, const struct addr *source,
                     uint32_t keep_s, slice oc) {
    const struct sip_header *h = sip_first(req, HDR_VIA);
    if (source) {
        buf_lit(out, "Via: ");
        sip_via_put_source(out, &req->via, source, keep_s);
        if (req->via.has_oc) buf_put(out, oc);
        const char *behind = req->via.value.ptr + req->via.value.len;
        buf_put(out, slice_span(behind, h->value.ptr + h->value.len));
        buf_lit(out, "\r\n");
        h = sip_next(req, h);
    }
    for (; h; h = sip_next(req, h)) buf_put(out, h->line);
}

static void put_to(struct buf *out, const struct sip_msg *req, const struct sip_reply *r) {
    const struct sip_header *to = sip_first(req, HDR_TO);
    bool unreadable = req->to.uri_text.len == 0;
    if (r->to_tag.len == 0 || r->status == 100 || req->to.tag.len || unreadable) {
        buf_put(out, to->line);
        return;
    }
    buf_lit(out, "To: ");
    buf_put(out, to->value);
    buf_lit(out, ";tag=");
    buf_put(out, r->to_tag);
    buf_lit(out, "\r\n");
}

enum err sip_reply(const struct sip_msg *req, const struct sip_reply *r, struct buf *out) {
    static const uint8_t copied[] = { HDR_FROM, HDR_TO, HDR_CALL_ID, HDR_CSEQ };
    ASSERT(r->status >= 100 && r->status <= 699);
    if (!req->is_request || req->via.value.len == 0) return ERR_BAD;
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
        if (!sip_first(req, copied[i])) return ERR_BAD;
    }
    buf_lit(out, "SIP/2.0 ");
    buf_u64(out, r->status);
    buf_lit(out, " ");
    buf_put(out, r->reason.len ? r->reason : sip_status_text(r->status));
    buf_lit(out, "\r\n");
    put_vias(out, req, r->source, r->keep_s, r->oc);
    buf_put(out, sip_first(req, HDR_FROM)->line);
    put_to(out, req, r);
    buf_put(out, sip_first(req, HDR_CALL_ID)->line);
    buf_put(out, sip_first(req, HDR_CSEQ)->line);
    const struct sip_header *stamp = sip_first(req, HDR_TIMESTAMP);
    if (stamp && r->status == 100) buf_put(out, stamp->line); /* RFC 3261 8.2.6.1 */
    buf_put(out, r->extra_lines);
    if (r->body.len) {
        buf_lit(out, "Content-Type: ");
        buf_put(out, r->body_type);
        buf_lit(out, "\r\n");
    }
    buf_lit(out, "Content-Length: ");
    buf_u64(out, r->body.len);
    buf_lit(out, "\r\n\r\n");
    buf_put(out, r->body);
    return out->full ? ERR_FULL : ERR_OK;
}
