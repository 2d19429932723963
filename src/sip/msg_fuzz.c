/* Any bytes as a datagram and as a stream; what is read of a part must not contradict the whole. */
#include "sip/check_fuzz.h"
#include "sip/reply.h"

static struct sip_msg whole, part;
static char out[LIMIT_MSG_BYTES + 4096];

static void check_message(const struct sip_msg *m, slice bytes) {
    inside(m->all, bytes);
    inside(m->body, bytes);
    inside(m->via.value, bytes);
    inside(m->via.params, bytes);
    inside(m->from.uri_text, bytes);
    inside(m->to.tag, bytes);
    inside(m->call_id, bytes);
    inside(m->uri.params, bytes);
    must(m->header_count <= LIMIT_MSG_HEADERS);
    size_t lines = m->start_line.len;
    for (unsigned i = 0; i < m->header_count; i++) {
        const struct sip_header *h = &m->headers[i];
        inside(h->line, m->all);
        inside(h->name, h->line);
        inside(h->value, h->line);
        must(h->next == SIP_HEADER_NONE || (h->next > i && m->headers[h->next].id == h->id));
        lines += h->line.len;
    }
    /* Nothing of the head was passed over. */
    must(lines + 2 + m->body.len == m->all.len);
}

/* A response to it says the same, and can be read. */
static void check_reply(const struct sip_msg *m) {
    struct addr source = { .family = ADDR_V4, .port = 9, .ip = { 192, 0, 2, 1 } };
    struct sip_reply r = { .status = 404, .to_tag = SLICE("t"), .source = &source };
    struct buf b = buf_over(out, sizeof(out));
    must(sip_reply(m, &r, &b) == ERR_OK);
    must(sip_msg_read(&part, buf_slice(&b), SIP_STREAM).err == ERR_OK);
    must(part.status == 404 && slice_eq(part.call_id, m->call_id) && part.cseq == m->cseq);
    must(slice_eq(part.via.branch, m->via.branch) && slice_eq(part.from.tag, m->from.tag));
    must(slice_eq(part.to.tag, m->to.tag.len ? m->to.tag : SLICE("t")));
}

static void check_prefix(slice bytes, size_t len, const struct sip_read *all) {
    slice head = exact(slice_head(bytes, len));
    struct sip_read r = sip_msg_read(&part, head, SIP_STREAM);
    if (all->err == ERR_OK && len >= all->used) {
        must(r.err == ERR_OK && r.used == all->used && part.header_count == whole.header_count);
    } else if (all->err == ERR_OK || all->err == ERR_MORE) {
        must(r.err == ERR_MORE && (r.used == 0 || all->used == 0 || r.used == all->used));
    } else {
        must(r.err != ERR_OK);
    }
    free((void *)(uintptr_t)head.ptr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice bytes = slice_of(data, size);
    struct sip_read datagram = sip_msg_read(&whole, bytes, SIP_DATAGRAM);
    must(datagram.err != ERR_MORE && datagram.used <= size && datagram.at <= size);
    if (datagram.err == ERR_OK) {
        check_message(&whole, bytes);
        if (whole.is_request) check_reply(&whole);
    }
    if (datagram.answerable) {
        struct buf b = buf_over(out, sizeof(out));
        must(sip_reply(&whole, &(struct sip_reply){ .status = 400 }, &b) == ERR_OK);
    }
    struct sip_read stream = sip_msg_read(&whole, bytes, SIP_STREAM);
    must(stream.err == ERR_MORE || stream.used <= size);
    if (stream.err == ERR_OK) {
        check_message(&whole, bytes);
        must(datagram.err == ERR_OK && datagram.used == stream.used);
    } else if (datagram.err == ERR_OK) {
        must(!whole.has_content_length || stream.err != ERR_MORE);
    }
    for (size_t i = 1; i <= 8; i++) check_prefix(bytes, size * i / 9, &stream);
    if (size) check_prefix(bytes, size - 1, &stream);
    bool ping;
    must(sip_stream_skip(bytes, &ping) <= size);
    return 0;
}
