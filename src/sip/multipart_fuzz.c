/* The first line is a Content-Type (and more, after '|', other header lines), the rest a body. */
#include "sip/body.h"
#include "sip/check_fuzz.h"

static struct sip_msg m;
static char text[LIMIT_MSG_BYTES];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice all = slice_of(data, size);
    size_t at = slice_find(all, '\n');
    slice type = slice_head(all, at), body = slice_from(all, at + 1), more = SLICE_NONE;
    struct buf b = buf_over(text, sizeof(text));
    slice_split(&type, '|', &more);
    buf_lit(&b, "MESSAGE sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nTo: <sip:b@c>\r\n"
                "From: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\nContent-Type: ");
    buf_put(&b, more);
    buf_lit(&b, "\r\n");
    while (slice_split(&type, '|', &more)) {
        buf_put(&b, more);
        buf_lit(&b, "\r\n");
    }
    buf_lit(&b, "\r\n");
    buf_put(&b, body);
    if (b.full) return 0;
    slice copy = exact(buf_slice(&b));
    if (sip_msg_read(&m, copy, SIP_DATAGRAM).err == ERR_OK) {
        struct sip_parts it;
        struct sip_part p;
        unsigned count = 0, found = 0;
        sip_parts_of(&it, &m);
        while (sip_parts_next(&it, &p)) {
            inside(p.bytes, m.body);
            inside(p.content_id, copy);
            must(p.depth <= LIMIT_MULTIPART_DEPTH && ++count <= LIMIT_MULTIPART_PARTS);
            found += hdr_media_is(&p.media, SLICE("application"), SLICE("sdp"));
        }
        enum sip_body_state s = sip_body_find(&m, SLICE("application"), SLICE("sdp"), &p);
        must((s == SIP_BODY_BAD) == (it.err != ERR_OK));
        if (s == SIP_BODY_FOUND) must(found == 1 && !sip_part_is_encoded(&p));
        if (s == SIP_BODY_NONE || s == SIP_BODY_SEALED) must(found == 0);
    }
    free((void *)(uintptr_t)copy.ptr);
    return 0;
}
