/* Other domains in a scenario: a zone of DNS answers, servers that connections lead to, and
 * certificates. */
#include "replay.h"

#include "sip/target.h"
#include <stdio.h>

/* ---- certificates ---- */

/* "other.org,sip:other.org": URIs have a colon. */
const struct peer_cert *cert_of(struct world *w, const struct agent *a) {
    if (!a->cert.len) return NULL;
    struct peer_cert *c = arena_alloc(&w->arena, sizeof *c);
    if (!c) return NULL;
    *c = (struct peer_cert){ .is_verified = true };
    slice rest = a->cert, one;
    while (slice_split(&rest, ',', &one)) {
        bool is_uri = slice_find(one, ':') < one.len;
        if (slice_eq(one, SLICE("nobody"))) continue;
        if (is_uri && c->uri_count < LIMIT_CERT_NAMES)
            c->uris[c->uri_count++] = one;
        else if (!is_uri && c->dns_count < LIMIT_CERT_NAMES)
            c->dns[c->dns_count++] = one;
    }
    if (slice_eq(a->cert_is, SLICE("expired"))) {
        c->is_verified = false;
        c->why_not = "has expired";
    } else if (slice_eq(a->cert_is, SLICE("unknown"))) {
        c->is_verified = false;
        c->why_not = "was issued by an unknown authority";
    } else if (slice_eq(a->cert_is, SLICE("client-only"))) {
        c->has_eku = c->eku_client = true;
    }
    return c;
}

/* ---- policy ---- */

bool cmd_peers(struct world *w, slice rest, struct script *s) {
    static const char *const names[] = { "open", "listed", "closed" };
    (void)s;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (!slice_eq(rest, slice_str(names[i]))) continue;
        w->config.peers = (enum peers_policy)i;
        return !w->node || node_configure(w->node, &w->config) == ERR_OK;
    }
    return complain(w, "peers open, listed or closed");
}

bool cmd_peer(struct world *w, slice rest, struct script *s) {
    static const char *const names[] = { "allow", "trust", "refuse" };
    (void)s;
    slice domain = text_word(&rest);
    for (unsigned i = 0; i < ARRAY_LEN(names) && w->config.peer_count < LIMIT_PEERS; i++) {
        if (!slice_eq(rest, slice_str(names[i]))) continue;
        w->config.peer[w->config.peer_count++] =
            (struct node_peer){ text_keep(w, domain), (enum peer_rule)i };
        return !w->node || node_configure(w->node, &w->config) == ERR_OK;
    }
    return complain(w, "peer DOMAIN allow, trust or refuse");
}

/* ---- DNS ---- */

static bool type_read(slice word, enum dns_type *out) {
    static const char *const names[] = {
        [DNS_A] = "A", [DNS_AAAA] = "AAAA", [DNS_SRV] = "SRV", [DNS_NAPTR] = "NAPTR"
    };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(word, slice_str(names[i]))) {
            *out = (enum dns_type)i;
            return true;
        }
    return false;
}

/* dns NAME TYPE [ttl=N] none|nxdomain|fails|silent|DATA, DATA... : what is asked from now on finds
 * that. Names that no line tells of do not exist. */
bool cmd_dns(struct world *w, slice rest, struct script *s) {
    (void)s;
    struct zone_row row = { .name = text_keep(w, text_word(&rest)), .ttl_s = 300 };
    if (!type_read(text_word(&rest), &row.type)) return complain(w, "A, AAAA, SRV or NAPTR");
    if (slice_starts(rest, SLICE("ttl=")) &&
        slice_u32(slice_from(text_word(&rest), 4), UINT32_MAX, &row.ttl_s) != ERR_OK)
        return complain(w, "ttl=SECONDS");
    row.data = text_keep(w, rest);
    for (unsigned i = 0; i < w->zone_count; i++)
        if (w->zone[i].type == row.type && slice_ieq(w->zone[i].name, row.name)) {
            w->zone[i] = row;
            return true;
        }
    if (w->zone_count == ZONE_MAX) return complain(w, "too many dns lines");
    w->zone[w->zone_count++] = row;
    return true;
}

static slice field(slice *rest) {
    slice f = text_word(rest);
    return slice_eq(f, SLICE("-")) || slice_eq(f, SLICE(".")) ? SLICE_NONE : f;
}

static bool number(slice *rest, uint16_t *out) {
    uint32_t v = 0;
    bool is_ok = slice_u32(text_word(rest), UINT16_MAX, &v) == ERR_OK;
    *out = (uint16_t)v;
    return is_ok;
}

static bool record_read(enum dns_type type, slice text, struct dns_record *out) {
    memset(out, 0, sizeof *out);
    switch (type) {
    case DNS_A:
    case DNS_AAAA:
        return addr_read_ip(text, &out->addr) == ERR_OK;
    case DNS_SRV:
        if (!number(&text, &out->srv.priority) || !number(&text, &out->srv.weight) ||
            !number(&text, &out->srv.port))
            return false;
        out->srv.target = field(&text);
        return true;
    case DNS_NAPTR:
        if (!number(&text, &out->naptr.order) || !number(&text, &out->naptr.preference))
            return false;
        out->naptr.flags = field(&text);
        out->naptr.services = field(&text);
        out->naptr.regexp = field(&text);
        out->naptr.replacement = field(&text);
        return true;
    }
    return false;
}

bool keep_question(struct world *w, unsigned worker, const struct core_effect *fx) {
    if (w->question_count == QUESTIONS_MAX) return complain(w, "too many DNS questions");
    w->questions[w->question_count++] =
        (struct question){ worker, fx->ticket, text_keep(w, fx->name),
                           (enum dns_type)fx->dns_type };
    w->asked++;
    if (w->is_loud) printf("---- DNS: %u " SLICE_FMT "\n", fx->dns_type, SLICE_ARG(fx->name));
    return true;
}

/* true: one was answered. */
bool answer_question(struct world *w) {
    if (!w->question_count) return false;
    struct question q = w->questions[0];
    memmove(&w->questions[0], &w->questions[1], --w->question_count * sizeof q);
    const struct zone_row *row = NULL;
    for (unsigned i = 0; i < w->zone_count; i++)
        if (w->zone[i].type == q.type && slice_ieq(w->zone[i].name, q.name)) row = &w->zone[i];
    struct dns_record records[LIMIT_DNS_RECORDS];
    struct dns_answer a = { .result = DNS_NXDOMAIN, .ttl_s = 60, .records = records };
    if (row) {
        a.ttl_s = row->ttl_s;
        slice rest = row->data, one;
        if (slice_eq(rest, SLICE("silent"))) return true;
        a.result = slice_eq(rest, SLICE("none"))       ? DNS_NODATA
                   : slice_eq(rest, SLICE("nxdomain")) ? DNS_NXDOMAIN
                   : slice_eq(rest, SLICE("fails"))    ? DNS_FAIL
                                                       : DNS_OK;
        while (a.result == DNS_OK && a.count < LIMIT_DNS_RECORDS && slice_split(&rest, ',', &one))
            if (!record_read(q.type, slice_trim(one), &records[a.count++]))
                return complain(w, "this is no such record: " SLICE_FMT, SLICE_ARG(one));
    }
    core_dns(w->core[q.worker], q.ticket, &a, w->now);
    return true;
}

/* asked N: so many DNS questions since the last such line. */
bool cmd_asked(struct world *w, slice rest, struct script *s) {
    (void)s;
    uint32_t wanted, got = w->asked;
    w->asked = 0;
    if (slice_u32(rest, 1000, &wanted) != ERR_OK) return complain(w, "asked N");
    return got == wanted || complain(w, "%u DNS questions were asked, not %u", got, wanted);
}

/* ---- connections that the server makes ---- */

bool keep_connect(struct world *w, unsigned worker, const struct core_effect *fx) {
    struct agent *a = NULL;
    for (unsigned i = 0; i < w->agent_count && !a; i++)
        if (w->agents[i].server && !w->agents[i].is_open && !w->agents[i].is_called &&
            addr_eq(&w->agents[i].info.peer, &fx->addr))
            a = &w->agents[i];
    char mem[64];
    struct buf text = buf_over(mem, sizeof mem);
    addr_put(&text, &fx->addr);
    if (w->is_loud)
        printf("---- connect to " SLICE_FMT " for " SLICE_FMT "\n", SLICE_ARG(buf_slice(&text)),
               SLICE_ARG(fx->name));
    if (!a) return complain(w, "nobody is at " SLICE_FMT, SLICE_ARG(buf_slice(&text)));
    if (fx->transport != FLOW_TLS) return complain(w, "a connection without TLS");
    if (!slice_eq(fx->own, SLICE_NONE) && !fx->own.len) return complain(w, "no domain of ours");
    a->is_called = true;
    a->called_by = worker;
    a->ticket = fx->ticket;
    a->asked_for = text_keep(w, fx->name);
    a->tries++;
    return true;
}

bool cancel_connect(struct world *w, unsigned worker, const struct core_effect *fx) {
    for (unsigned i = 0; i < w->agent_count; i++) {
        struct agent *a = &w->agents[i];
        if (!a->is_called || a->called_by != worker || a->ticket != fx->ticket) continue;
        a->is_called = false;
        return true;
    }
    return complain(w, "a connection is cancelled that nobody makes");
}

static bool connect_agent(struct world *w, struct agent *a) {
    a->is_called = false;
    a->is_dropped = false;
    a->worker = a->called_by;
    a->info.cert = cert_of(w, a);
    a->is_open = core_connected(w->core[a->worker], a->ticket, ERR_OK, NULL, &a->info, w->now,
                                &a->flow) == ERR_OK;
    a->info.cert = NULL;
    return true;
}

bool answer_connect(struct world *w) {
    static const struct {
        char kind;
        enum err err;
        const char *why;
    } ends[] = { { 'r', ERR_CLOSED, "connection refused" },
                 { 'n', ERR_TIMEOUT, "no answer" },
                 { 'w', ERR_MISSING, "no route there" },
                 { 'p', ERR_CRYPTO, "it speaks no TLS" } };
    for (unsigned i = 0; i < w->agent_count; i++) {
        struct agent *a = &w->agents[i];
        if (!a->is_called || a->server == 'h') continue;
        if (a->server == 'o') return connect_agent(w, a);
        a->is_called = false;
        for (unsigned k = 0; k < ARRAY_LEN(ends); k++)
            if (ends[k].kind == a->server &&
                core_connected(w->core[a->called_by], a->ticket, ends[k].err, ends[k].why, NULL,
                               w->now, &a->flow) == ERR_OK)
                return complain(w, "a connection that failed became a flow");
        return true;
    }
    return false;
}

/* server NAME ADDRESS:PORT as USER@DOMAIN [cert NAMES] [cert-is expired|unknown|client-only]
 * [that opens|refuses|hangs|is-plain|is-gone|has-no-route]: where a connection of ours may lead. */
bool server_kind(struct world *w, struct agent *a, slice value) {
    static const char *const kinds[] = { "opens",    "refuses", "hangs",
                                         "is-plain", "is-gone", "has-no-route" };
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
        if (slice_eq(value, slice_str(kinds[i]))) {
            a->server = "orhpnw"[i];
            return true;
        }
    return complain(w, "that opens, refuses, hangs, is-plain, is-gone or has-no-route");
}

/* become NAME that ...: it does so from now on. */
bool cmd_become(struct world *w, slice rest, struct script *s) {
    (void)s;
    struct agent *a = world_agent(w, text_word(&rest));
    (void)text_word(&rest);
    return a && a->server ? server_kind(w, a, rest) : complain(w, "become SERVER that ...");
}

/* connects NAME: one that hangs is done now. */
bool cmd_connects(struct world *w, slice rest, struct script *s) {
    (void)s;
    struct agent *a = world_agent(w, rest);
    if (!a || !a->is_called) return complain(w, "nobody connects there");
    return connect_agent(w, a) && world_pump(w);
}

/* tried NAME N [for DOMAIN]: so many connections were begun to it, the last one for that name. */
bool cmd_tried(struct world *w, slice rest, struct script *s) {
    (void)s;
    const struct agent *a = world_agent(w, text_word(&rest));
    uint32_t n;
    if (!a || !a->server || slice_u32(text_word(&rest), 1000, &n) != ERR_OK)
        return complain(w, "tried SERVER N [for DOMAIN]");
    if (a->tries != n)
        return complain(w, SLICE_FMT " was tried %u times", SLICE_ARG(a->name), a->tries);
    (void)text_word(&rest);
    return !rest.len || slice_eq(rest, a->asked_for) ||
           complain(w, "it was asked for " SLICE_FMT, SLICE_ARG(a->asked_for));
}
