#include "proxy/history.h"

#include "sip/hdr.h"
#include "sip/uri.h"

#define NOBODY "sip:anonymous@anonymous.invalid"

/* The URI headers of an entry but Privacy, and all but Reason when it becomes anonymous. */
static void put_headers(struct buf *b, slice headers, bool is_anonymous) {
    char before = '?';
    for (slice one; slice_split(&headers, '&', &one);) {
        slice name = slice_head(one, slice_find(one, '='));
        if (slice_ieq(name, SLICE("Privacy"))) continue;
        if (is_anonymous && !slice_ieq(name, SLICE("Reason"))) continue;
        buf_byte(b, before);
        buf_put(b, one);
        before = '&';
    }
}

static bool asks_for_itself(slice headers) {
    for (slice one; slice_split(&headers, '&', &one);) {
        size_t eq = slice_find(one, '=');
        if (!slice_ieq(slice_head(one, eq), SLICE("Privacy"))) continue;
        /* RFC 7044 10.1.2: any other value in an entry is ignored. */
        if (slice_ieq(slice_from(one, eq + 1), SLICE("history"))) return true;
    }
    return false;
}

struct leaving {
    bool (*is_ours)(void *ctx, slice host);
    void *ctx;
    bool all;     /* every entry of ours is to be hidden */
    bool changes; /* something differs from what came */
};

static enum err put_entry(struct leaving *l, slice value, struct buf *b) {
    struct hdr_history h;
    struct sip_uri uri;
    if (hdr_history(value, &h) != ERR_OK || sip_uri_read(h.addr.uri_text, &uri) != ERR_OK)
        return ERR_BAD;
    bool ours = uri.scheme == URI_TEL || l->is_ours(l->ctx, uri.host);
    bool is_hidden = ours && (l->all || asks_for_itself(uri.headers));
    slice bare = slice_head(uri.text, slice_find(uri.text, '?'));
    size_t at = b->len;
    if (!ours) {
        buf_put(b, value);
        return ERR_OK;
    }
    /* The display name goes with the URI that it belongs to. */
    if (!is_hidden && h.addr.display.len) {
        buf_put(b, h.addr.display);
        buf_byte(b, ' ');
    }
    buf_byte(b, '<');
    buf_put(b, is_hidden ? SLICE(NOBODY) : bare);
    put_headers(b, uri.headers, is_hidden);
    buf_byte(b, '>');
    buf_put(b, h.addr.params);
    if (!b->full && !slice_eq(slice_of(b->ptr + at, b->len - at), value)) l->changes = true;
    return ERR_OK;
}

static enum err put_history(const struct sip_msg *m, struct leaving *l, struct buf *mem,
                            struct history_out *out) {
    size_t at = mem->len;
    struct hdr_values it = hdr_values_of(m, HDR_HISTORY_INFO);
    enum err err = ERR_OK;
    for (slice v; err == ERR_OK && hdr_values_next(&it, &v);) {
        if (mem->len > at) buf_lit(mem, ", ");
        err = put_entry(l, v, mem);
    }
    if (mem->full) return ERR_FULL;
    bool is_bad = err != ERR_OK || it.bad;
    if (!is_bad && !l->changes) return ERR_OK;
    out->has_history = true;
    if (!is_bad) out->history = slice_of(mem->ptr + at, mem->len - at);
    return ERR_OK;
}

/* RFC 7044 10.1.2, RFC 3323 5: "history" is done, and "critical" alone says nothing. */
static enum err put_privacy(unsigned asked, struct buf *mem, struct history_out *out) {
    static const struct {
        unsigned bit;
        slice name;
    } names[] = { { HDR_PRIVACY_USER, { "user", 4 } },
                  { HDR_PRIVACY_HEADER, { "header", 6 } },
                  { HDR_PRIVACY_SESSION, { "session", 7 } },
                  { HDR_PRIVACY_ID, { "id", 2 } },
                  { HDR_PRIVACY_CRITICAL, { "critical", 8 } } };
    size_t at = mem->len;
    /* What we don't know by name cannot be written again: all of it stays. */
    if (!(asked & HDR_PRIVACY_HISTORY) || (asked & (HDR_PRIVACY_OTHER | HDR_PRIVACY_NONE)))
        return ERR_OK;
    asked &= ~(unsigned)HDR_PRIVACY_HISTORY;
    if (asked != HDR_PRIVACY_CRITICAL)
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            if (!(asked & names[i].bit)) continue;
            if (mem->len > at) buf_byte(mem, ';');
            buf_put(mem, names[i].name);
        }
    out->has_privacy = true;
    out->privacy = slice_of(mem->ptr + at, mem->len - at);
    return mem->full ? ERR_FULL : ERR_OK;
}

enum err history_leave(const struct sip_msg *m, bool (*is_ours)(void *ctx, slice host), void *ctx,
                       struct buf *mem, struct history_out *out) {
    unsigned asked = 0;
    *out = (struct history_out){ .history = SLICE_NONE };
    if (hdr_privacy(m, &asked) != ERR_OK) return ERR_BAD;
    /* RFC 3323 4.2: where "none" stands nothing is hidden, nor is Privacy touched. */
    bool all = (asked & (HDR_PRIVACY_HISTORY | HDR_PRIVACY_HEADER)) && !(asked & HDR_PRIVACY_NONE);
    struct leaving l = { .is_ours = is_ours, .ctx = ctx, .all = all };
    out->no_diversion = all;
    enum err err = put_history(m, &l, mem, out);
    return err == ERR_OK ? put_privacy(asked, mem, out) : err;
}
