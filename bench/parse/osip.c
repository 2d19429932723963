#include "parser.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#include <osipparser2/osip_parser.h>
#pragma GCC diagnostic pop
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool start(void) {
    return parser_init() == 0;
}

static unsigned uri_sum(const osip_uri_t *u) {
    return (unsigned)(strlen(u->host) + (u->port ? strtoul(u->port, NULL, 10) : 0));
}

static unsigned list_sum(const osip_list_t *list) {
    unsigned sum = 0;
    for (int i = 0; i < osip_list_size(list); i++) {
        osip_from_t *a = osip_list_get(list, i);
        sum += uri_sum(a->url);
    }
    return sum;
}

static bool read_message(const char *bytes, size_t len, unsigned *out) {
    osip_message_t *m;
    osip_generic_param_t *param = NULL;
    osip_header_t *forwards = NULL;
    if (osip_message_init(&m) != 0) return false;
    if (osip_message_parse(m, bytes, len) != 0) {
        osip_message_free(m);
        return false;
    }
    unsigned sum = (unsigned)(strtoul(m->cseq->number, NULL, 10) +
                              strtoul(m->content_length->value, NULL, 10));
    osip_via_t *via = osip_list_get(&m->vias, 0);
    osip_via_param_get_byname(via, (char *)(uintptr_t) "branch", &param);
    sum += (unsigned)(strlen(via->host) + strlen(param->gvalue));
    osip_uri_param_get_byname(&m->from->gen_params, (char *)(uintptr_t) "tag", &param);
    sum += (unsigned)(strlen(param->gvalue) + strlen(m->call_id->number));
    if (m->call_id->host) sum += (unsigned)strlen(m->call_id->host) + 1;
    osip_message_header_get_byname(m, "max-forwards", 0, &forwards);
    if (forwards) sum += (unsigned)strtoul(forwards->hvalue, NULL, 10);
    if (m->req_uri) sum += uri_sum(m->req_uri);
    sum += uri_sum(m->from->url) + uri_sum(m->to->url);
    sum += list_sum(&m->routes) + list_sum(&m->record_routes) + list_sum(&m->contacts);
    if (m->content_type) sum += (unsigned)strlen(m->content_type->subtype);
    *out = sum;
    osip_message_free(m);
    return true;
}

const struct parser parser_osip = { "libosip2", start, read_message };
