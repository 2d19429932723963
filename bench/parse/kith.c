#include "parser.h"
#include "sip/hdr.h"

static struct sip_msg m;

static bool start(void) {
    return true;
}

static bool add_uri(slice text, unsigned *sum) {
    struct sip_uri uri;
    if (sip_uri_read(text, &uri) != ERR_OK) return false;
    *sum += (unsigned)(uri.host.len + uri.port);
    return true;
}

static bool add_list(enum sip_header_id id, unsigned *sum) {
    struct hdr_values it = hdr_values_of(&m, id);
    for (slice v; hdr_values_next(&it, &v);) {
        struct hdr_name_addr a;
        if (hdr_name_addr(v, &a) != ERR_OK || !add_uri(a.uri_text, sum)) return false;
    }
    return !it.bad;
}

static bool read_message(const char *bytes, size_t len, unsigned *out) {
    struct hdr_media media;
    unsigned sum = 0;
    if (sip_msg_read(&m, slice_of(bytes, len), SIP_STREAM).err != ERR_OK) return false;
    sum += (unsigned)(m.cseq + m.content_length + m.via.host.len + m.via.branch.len);
    sum += (unsigned)(m.from.tag.len + m.call_id.len);
    if (m.has_max_forwards) sum += m.max_forwards;
    if (m.is_request) sum += (unsigned)(m.uri.host.len + m.uri.port);
    if (!add_uri(m.from.uri_text, &sum) || !add_uri(m.to.uri_text, &sum)) return false;
    if (!add_list(HDR_ROUTE, &sum) || !add_list(HDR_RECORD_ROUTE, &sum)) return false;
    if (!add_list(HDR_CONTACT, &sum)) return false;
    const struct sip_header *type = sip_first(&m, HDR_CONTENT_TYPE);
    if (type) {
        if (hdr_media(type->value, &media) != ERR_OK) return false;
        sum += (unsigned)media.subtype.len;
    }
    *out = sum;
    return true;
}

const struct parser parser_kith = { "kith", start, read_message };
