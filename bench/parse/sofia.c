#include "parser.h"
/* The library's headers are not written for our warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include <sofia-sip/msg.h>
#include <sofia-sip/msg_addr.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_protos.h>
#include <sofia-sip/su_wait.h>
#pragma GCC diagnostic pop
#include <stdlib.h>
#include <string.h>

static const msg_mclass_t *mclass;

static bool start(void) {
    mclass = sip_default_mclass();
    return su_init() == 0 && mclass;
}

static unsigned uri_sum(const url_t *u) {
    return (unsigned)(strlen(u->url_host) + (u->url_port ? strtoul(u->url_port, NULL, 10) : 0));
}

static bool read_message(const char *bytes, size_t len, unsigned *out) {
    msg_t *msg = msg_make(mclass, 0, bytes, (ssize_t)len);
    sip_t *sip = msg ? sip_object(msg) : NULL;
    if (!sip || sip->sip_error || !sip->sip_cseq || !sip->sip_via || !sip->sip_from) return false;
    unsigned sum = sip->sip_cseq->cs_seq + (unsigned)sip->sip_content_length->l_length;
    sum += (unsigned)(strlen(sip->sip_via->v_host) + strlen(sip->sip_via->v_branch));
    sum += (unsigned)(strlen(sip->sip_from->a_tag) + strlen(sip->sip_call_id->i_id));
    if (sip->sip_max_forwards) sum += (unsigned)sip->sip_max_forwards->mf_count;
    if (sip->sip_request) sum += uri_sum(sip->sip_request->rq_url);
    sum += uri_sum(sip->sip_from->a_url) + uri_sum(sip->sip_to->a_url);
    for (sip_route_t *r = sip->sip_route; r; r = r->r_next) sum += uri_sum(r->r_url);
    for (sip_record_route_t *r = sip->sip_record_route; r; r = r->r_next) sum += uri_sum(r->r_url);
    for (sip_contact_t *c = sip->sip_contact; c; c = c->m_next) sum += uri_sum(c->m_url);
    if (sip->sip_content_type) sum += (unsigned)strlen(sip->sip_content_type->c_subtype);
    *out = sum;
    msg_destroy(msg);
    return true;
}

const struct parser parser_sofia = { "sofia-sip", start, read_message };
