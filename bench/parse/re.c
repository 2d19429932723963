#include "parser.h"
/* Without these two, re.h defines integers and bool in its own way. */
#define HAVE_INTTYPES_H 1
#define HAVE_STDBOOL_H  1
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include <re.h>
#pragma GCC diagnostic pop

static struct mbuf *buffer; /* a message keeps a reference to it while it lives */

static bool start(void) {
    buffer = mbuf_alloc(65536);
    return buffer != NULL;
}

static size_t host_len(const struct pl *sentby) {
    const char *colon = pl_strchr(sentby, ':');
    return colon ? (size_t)(colon - sentby->p) : sentby->l;
}

static bool add_address(const struct sip_hdr *hdr, const struct sip_msg *msg, void *arg) {
    struct sip_addr a;
    unsigned *sum = arg;
    (void)msg;
    if (sip_addr_decode(&a, &hdr->val) == 0) *sum += (unsigned)(a.uri.host.l + a.uri.port);
    return false;
}

static bool read_message(const char *bytes, size_t len, unsigned *out) {
    struct sip_msg *m = NULL;
    struct uri uri;
    mbuf_rewind(buffer);
    if (mbuf_write_mem(buffer, (const uint8_t *)bytes, len) != 0) return false;
    mbuf_set_pos(buffer, 0);
    bool ok = sip_msg_decode(&m, buffer) == 0;
    if (ok) {
        unsigned sum = m->cseq.num + pl_u32(&m->clen);
        sum += (unsigned)(host_len(&m->via.sentby) + m->via.branch.l + m->from.tag.l + m->callid.l);
        if (m->maxfwd.l) sum += pl_u32(&m->maxfwd);
        if (m->req && uri_decode(&uri, &m->ruri) == 0) sum += (unsigned)(uri.host.l + uri.port);
        sum += (unsigned)(m->from.uri.host.l + m->from.uri.port);
        sum += (unsigned)(m->to.uri.host.l + m->to.uri.port);
        (void)sip_msg_hdr_apply(m, true, SIP_HDR_ROUTE, add_address, &sum);
        (void)sip_msg_hdr_apply(m, true, SIP_HDR_RECORD_ROUTE, add_address, &sum);
        (void)sip_msg_hdr_apply(m, true, SIP_HDR_CONTACT, add_address, &sum);
        sum += (unsigned)m->ctyp.subtype.l;
        *out = sum;
    }
    mem_deref(m);
    return ok;
}

const struct parser parser_re = { "libre", start, read_message };
