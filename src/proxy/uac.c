#include "proxy/uac.h"

#include "sip/hdr.h"

#define ROUTES_MAX 32u

static void put_line(struct buf *out, const char *name, slice value) {
    if (!value.len) return;
    buf_put(out, slice_str(name));
    buf_lit(out, ": ");
    buf_put(out, value);
    buf_lit(out, "\r\n");
}

enum err uac_write(const struct uac_request *r, struct buf *out) {
    slice method = sip_method_text(r->method);
    buf_put(out, method);
    buf_byte(out, ' ');
    buf_put(out, r->request_uri);
    buf_lit(out, " SIP/2.0\r\n");
    put_line(out, "Via", r->via);
    put_line(out, "Max-Forwards", SLICE("70"));
    put_line(out, "Route", r->routes);
    put_line(out, "From", r->from);
    put_line(out, "To", r->to);
    put_line(out, "Call-ID", r->call_id);
    buf_lit(out, "CSeq: ");
    buf_u64(out, r->cseq);
    buf_byte(out, ' ');
    buf_put(out, method);
    buf_lit(out, "\r\n");
    put_line(out, "Reason", r->reason);
    if (r->body.len) put_line(out, "Content-Type", SLICE("application/sdp"));
    buf_lit(out, "Content-Length: ");
    buf_u64(out, r->body.len);
    buf_lit(out, "\r\n\r\n");
    buf_put(out, r->body);
    return out->full ? ERR_FULL : ERR_OK;
}

void uac_reject_sdp(slice sdp, struct buf *out) {
    buf_lit(out, "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n");
    for (slice line; slice_split(&sdp, '\n', &line);) {
        slice media, port;
        line = slice_trim(line);
        if (!slice_starts(line, SLICE("m="))) continue;
        slice rest = slice_from(line, 2);
        if (!slice_split(&rest, ' ', &media) || !slice_split(&rest, ' ', &port)) continue;
        buf_lit(out, "m=");
        buf_put(out, media);
        buf_lit(out, " 0 ");
        buf_put(out, rest); /* protocol and formats as offered */
        buf_lit(out, "\r\n");
    }
}

void uac_routes(slice recorded, bool is_response, bool (*is_ours)(void *ctx, slice value),
                void *ctx, struct buf *out) {
    slice values[ROUTES_MAX];
    unsigned n = 0;
    struct hdr_values it = hdr_values_in(recorded);
    for (slice v; n < ROUTES_MAX && hdr_values_next(&it, &v) && !is_ours(ctx, v);) values[n++] = v;
    for (unsigned i = 0; i < n; i++) {
        if (i) buf_lit(out, ", ");
        buf_put(out, values[is_response ? n - 1 - i : i]);
    }
}
