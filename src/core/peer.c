/* Other domains: finding a flow for a request, and the searches behind it. The story stands in
 * peer.h; peer_in.c has what comes in from them. */
#include "core/core_priv.h"

#include "auth/peer_name.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "guard/overload_client.h"

#define FRESH_MS    60000 /* so long a connection found serves without looking again */
#define UNWILL_MS   30000 /* a server that said 503 comes last for so long */
#define TRIES_MAX   4u    /* servers of one domain for one request (RFC 3263 4.3) */
#define WORDS_BYTES 512
/* Instead of a branch: who waits is the sender of a request, sought at one of two places. */
#define SENDER_BY_ADDRESS UINT32_MAX
#define SENDER_BY_NAME    (UINT32_MAX - 1)
/* A server that has been silent twice in a row, thrice ... is left alone for so long. */
#define SILENCE_FIRST_MS 30000
#define SILENCE_LAST_MS  600000
#define SILENCE_STEPS    5u /* 30 s doubled five times is beyond ten minutes */

struct waiter {
    uint64_t owner;
    unsigned branch;
};
struct hop { /* a next hop outside, for one of our domains */
    pool_id id;
    uint64_t hash;
    struct list lru; /* those without a search */
    target_id search;
    bool is_searching;
    uint32_t starter; /* the account whose request began the search */
    flow_id flow;     /* found; FLOW_NONE: not yet */
    mono_t fresh_until;
    struct waiter *waiters;
    unsigned waiter_count, waiter_cap;
    uint32_t own_id, domain_id;
    uint16_t port;
    slice own, domain, host; /* in `text` */
    char *text;
    struct overload_client load; /* what the server there has told of itself */
    struct addr silent;          /* the server that has not answered, and how often in a row */
    unsigned silences;
};
struct peers {
    struct targets *targets;
    struct pool hops;
    struct map map;
    struct list lru;
};

enum err peers_new(struct core *c) {
    struct peers *p = c->domains = mem_zalloc(sizeof *p);
    if (!p) return ERR_MEMORY;
    pool_init(&p->hops, sizeof(struct hop), LIMIT_HOPS);
    map_init(&p->map, LIMIT_HOPS);
    list_init(&p->lru);
    const struct hash_key *key = &c->node->keys.table;
    p->targets = targets_new(key, siphash(key, &c->worker, sizeof c->worker), c->now.mono);
    return p->targets ? ERR_OK : ERR_MEMORY;
}

static void hop_free(struct peers *p, struct hop *h) {
    map_remove(&p->map, h->hash, h->id.slot);
    list_remove(&h->lru);
    mem_free(h->waiters);
    mem_free(h->text);
    pool_free(&p->hops, h->id);
}

void peers_free(struct core *c) {
    struct peers *p = c->domains;
    uint32_t at = 0;
    pool_id id;
    if (!p) return;
    for (struct hop *h; (h = pool_each(&p->hops, &at, &id));) {
        mem_free(h->waiters);
        mem_free(h->text);
    }
    pool_fini(&p->hops);
    map_fini(&p->map);
    targets_free(p->targets);
    mem_free(p);
}

/* ---- hops ---- */

static slice text_put(char **at, slice s) {
    slice copy = { *at, s.len };
    for (size_t i = 0; i < s.len; i++)
        *(*at)++ = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + ('a' - 'A')) : s.ptr[i];
    return copy;
}

static uint64_t hop_hash(const struct core *c, slice own, const struct target_wanted *w) {
    struct hash_key k = c->node->keys.table;
    k.k0 ^= siphash_fold(&k, own);
    k.k1 ^= siphash_fold(&k, w->domain) + w->port;
    return siphash_fold(&k, w->host);
}

static struct hop *hop_find(struct peers *p, uint64_t hash, slice own,
                            const struct target_wanted *w) {
    struct map_iter it = map_find(&p->map, hash);
    for (uint32_t slot; map_next(&p->map, &it, &slot);) {
        pool_id id;
        struct hop *h = pool_at(&p->hops, slot, &id);
        if (h && h->port == w->port && slice_ieq(h->own, own) && slice_ieq(h->domain, w->domain) &&
            slice_ieq(h->host, w->host))
            return h;
    }
    return NULL;
}

/* NULL: all hops are being searched for, or memory is short. */
static struct hop *hop_make(struct core *c, slice own, const struct target_wanted *w) {
    struct peers *p = c->domains;
    uint64_t hash = hop_hash(c, own, w);
    struct hop *h = hop_find(p, hash, own, w);
    pool_id id;
    if (h) {
        if (h->is_searching) return h;
        list_remove(&h->lru);
        list_push(&p->lru, &h->lru);
        return h;
    }
    if (p->hops.used == LIMIT_HOPS) {
        if (list_empty(&p->lru)) return NULL;
        hop_free(p, LIST_ITEM(p->lru.next, struct hop, lru));
    }
    char *text = mem_alloc(own.len + w->domain.len + w->host.len + 1);
    h = text ? pool_new(&p->hops, &id) : NULL;
    if (!h || map_add(&p->map, hash, id.slot) != ERR_OK) {
        if (h) pool_free(&p->hops, id);
        mem_free(text);
        return NULL;
    }
    char *at = h->text = text;
    h->id = id;
    h->hash = hash;
    h->port = w->port;
    h->own = text_put(&at, own);
    h->domain = text_put(&at, w->domain);
    h->host = text_put(&at, w->host);
    h->own_id = node_domain_id(c->node, h->own);
    h->domain_id = node_domain_id(c->node, h->domain);
    list_init(&h->lru);
    list_push(&p->lru, &h->lru);
    return h;
}

static struct hop *hop_get(const struct core *c, uint64_t ticket) {
    return ticket ? pool_get(&c->domains->hops, owner_id(ticket)) : NULL;
}

slice peer_own_domain(struct core *c, uint32_t account_id) {
    size_t cap = ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 8;
    char *mem = account_id ? arena_alloc(&c->turn, cap) : NULL;
    struct buf b = buf_over(mem, mem ? cap : 0);
    if (mem) accounts_put_aor(c->node->accounts, account_id, &b);
    slice aor = buf_slice(&b), domain = slice_from(aor, slice_find(aor, '@') + 1);
    return mem && !b.full && domain.len ? domain : node_settings(c->node)->domains[0];
}

static slice keep_name(struct core *c, slice s) {
    char *mem = arena_alloc(&c->turn, s.len + 1);
    if (!mem) return SLICE_NONE;
    memcpy(mem, s.ptr, s.len);
    return slice_of(mem, s.len);
}

static slice without_dot(slice host) {
    return host.len > 1 && host.ptr[host.len - 1] == '.' ? slice_head(host, host.len - 1) : host;
}

const char *peer_refusal(struct core *c, slice domain) {
    const struct node_config *config = node_settings(c->node);
    bool is_listed = false;
    if (config->peers == PEERS_CLOSED) return "This server does not call other domains";
    for (unsigned i = 0; i < config->peer_count; i++) {
        if (!slice_ieq(config->peer[i].domain, domain)) continue;
        if (config->peer[i].rule == PEER_REFUSE) return "This server does not talk to that domain";
        is_listed = true;
    }
    return config->peers == PEERS_LISTED && !is_listed ? "That domain is not on this server's list"
                                                       : NULL;
}

unsigned peer_target(struct core *c, slice own, const struct sip_uri *uri, struct target *out,
                     const char **words) {
    slice domain = without_dot(uri->host);
    struct target_wanted w = { .domain = domain, .host = domain, .port = uri->port };
    if (uri->maddr.len) w.host = without_dot(uri->maddr); /* RFC 3263 4: TARGET */
    if (!target_is_name(domain)) {
        /* RFC 5922 knows domains only: an address has no name that a certificate could prove. */
        *words = "An address cannot prove whose it is; call a domain";
        return 403;
    }
    *words = peer_refusal(c, domain);
    if (*words) return 403;
    struct hop *h = hop_make(c, own, &w);
    if (!h) {
        *words = "Too many other domains are being looked for";
        return 503;
    }
    *out = (struct target){ .ticket = owner_of(h->id), .bid = h->domain_id };
    return 0;
}

/* ---- finding a flow ---- */

/* One account shall not keep everybody else from being looked for. */
static bool may_start(const struct core *c, uint32_t account_id) {
    unsigned n = 0;
    uint32_t at = 0;
    pool_id id;
    for (const struct hop *h; (h = pool_each(&c->domains->hops, &at, &id));)
        if (h->is_searching && h->starter == account_id) n++;
    return n < LIMIT_SEARCHES / 8;
}

static bool hop_wait(struct hop *h, uint64_t owner, unsigned branch) {
    if (h->waiter_count == h->waiter_cap) {
        unsigned cap = h->waiter_cap ? h->waiter_cap * 2 : 4;
        struct waiter *more =
            cap > LIMIT_WAITERS ? NULL : mem_grow(h->waiters, cap * sizeof *h->waiters);
        if (!more) return false;
        h->waiters = more;
        h->waiter_cap = cap;
    }
    h->waiters[h->waiter_count++] = (struct waiter){ owner, branch };
    return true;
}

static bool hop_search(struct core *c, struct hop *h, uint32_t account_id, bool is_retry) {
    if (h->is_searching) return true;
    struct target_wanted w = { .domain = h->domain,
                               .host = h->host,
                               .port = h->port,
                               .is_retry = is_retry,
                               .user = owner_of(h->id) };
    if (!may_start(c, account_id) ||
        target_search(c->domains->targets, &w, c->now.mono, &h->search) != ERR_OK)
        return false;
    h->is_searching = true;
    h->starter = account_id;
    h->flow = FLOW_NONE;
    list_remove(&h->lru);
    return true;
}

/* RFC 7339 5.9: who has not answered twice in a row is left alone, each time for longer; the first
 * request after that is the probe. 0: not yet. */
static int64_t hop_silent_ms(struct hop *h, const struct addr *server) {
    if (!addr_eq(&h->silent, server)) h->silences = 0;
    h->silent = *server;
    if (++h->silences < 2) return 0;
    unsigned more = h->silences - 2;
    return more >= SILENCE_STEPS ? SILENCE_LAST_MS : (int64_t)SILENCE_FIRST_MS << more;
}

/* Inside a dialog no flow had to be found: then it is the hop that was found to have this one. */
static struct hop *hop_of(const struct core *c, const struct target *to) {
    uint32_t at = 0;
    pool_id id;
    if (to->ticket) return hop_get(c, to->ticket);
    if (to->account_id || !to->bid) return NULL; /* a phone */
    for (struct hop *h; (h = pool_each(&c->domains->hops, &at, &id));)
        if (h->flow == to->flow && h->domain_id == to->bid) return h;
    return NULL;
}

void peer_sends_in_dialog(struct core *c, const struct target *to) {
    struct hop *h = hop_of(c, to);
    /* RFC 7339 7.2: the mix is of all requests, also of those that are never held back. */
    if (h) (void)overload_client_sheds(&h->load, false, 0, c->now.mono);
}

void peer_heard(struct core *c, const struct target *to, const struct sip_msg *m) {
    struct hop *h = hop_of(c, to);
    struct overload_told told = { .oc = SLICE_NONE };
    if (!h) return;
    h->silences = 0;
    struct hdr_params it = hdr_params_of(m->via.params);
    for (struct hdr_param p; m->via.has_oc && hdr_params_next(&it, &p);) {
        if (slice_ieq(p.name, SLICE("oc"))) told.oc = p.value;
        if (slice_ieq(p.name, SLICE("oc-algo"))) told.algo = p.value;
        if (slice_ieq(p.name, SLICE("oc-validity"))) told.validity = p.value;
        if (slice_ieq(p.name, SLICE("oc-seq"))) told.seq = p.value;
    }
    overload_client_hear(&h->load, &told, c->now.mono);
}

/* RFC 3263 4.3: the server behind this flow failed. true: others may do better. */
static bool server_failed(struct core *c, struct hop *h, const struct branch *b) {
    struct peer_row row;
    struct peer_query q = { .domain = h->domain_id, .flow = b->to.flow };
    h->fresh_until = 0;
    if (!node_peer_find(c->node, &q, &row) || row.addr.family == ADDR_NONE)
        return false; /* the connection is gone: the same server may take another one */
    bool is_silent = b->status == 408;
    int64_t silence_ms = is_silent ? hop_silent_ms(h, &row.addr) : 0;
    if (b->retry_after_s) /* RFC 3261 21.5.4 */
        targets_shut(c->domains->targets, h->domain, &row.addr, (int64_t)b->retry_after_s * 1000,
                     c->now.mono);
    else if (silence_ms)
        targets_shut(c->domains->targets, h->domain, &row.addr, silence_ms, c->now.mono);
    else
        targets_failed(c->domains->targets, h->domain, &row.addr,
                       is_silent ? TARGET_DEAD_MS : UNWILL_MS, c->now.mono);
    const struct flow *flow = flow_get(c, b->to.flow);
    if (is_silent && flow && c->now.mono - flow->heard >= 32000)
        core_close(c, flow->id, "the other domain does not answer");
    return true;
}

unsigned peer_find_flow(struct core *c, uint64_t owner, unsigned branch, const struct target *to,
                        flow_id *out) {
    const struct context *x = context_get(c, owner);
    struct hop *h = hop_get(c, to->ticket);
    const struct branch *last = NULL;
    unsigned tries = 0;
    bool is_retry = false;
    if (!x || !h) return 503;
    for (const struct branch *b = &x->first; b && b->index < branch; b = b->next)
        if (b->to.ticket == to->ticket && b->status) {
            last = b;
            tries++;
        }
    if (last) {
        is_retry = server_failed(c, h, last);
        /* RFC 4321 1.4, 1.5: when a non-INVITE has timed out here, it has for the caller too. */
        if (tries >= TRIES_MAX || (x->method != SIP_INVITE && last->status == 408))
            return last->status;
    } else if (overload_client_sheds(&h->load, !x->is_in_dialog,
                                     h->load.loss ? (uint32_t)rng_u64(&c->rng) : 0, c->now.mono)) {
        /* RFC 7339 5.5, 5.10: what it can't bear it doesn't get; the caller hears 503. */
        return 503;
    } else if (h->flow && c->now.mono < h->fresh_until && node_flow_lives(c->node, h->flow)) {
        *out = h->flow;
        return 0;
    }
    return hop_wait(h, owner, branch) && hop_search(c, h, x->account_id, is_retry) ? 0 : 503;
}

void peer_prepare(struct core *c, const struct target *to, uint32_t account_id) {
    struct hop *h = hop_get(c, to->ticket);
    if (h && !hop_search(c, h, account_id, false))
        LOG(LOG_DEBUG, "peer.no_search", LOG_F_U64("worker", c->worker));
}

/* RFC 3261 18.2.2: first where the request came from, with the port of its Via; then by RFC 3263 5
 * from its sent-by. Whoever is found must prove the domain that the request was of (RFC 5922). */
static bool sender_seek(struct core *c, uint64_t owner, unsigned where) {
    const struct context *x = context_get(c, owner);
    struct sip_msg *m = &c->other;
    struct target to;
    struct sip_uri from;
    const char *words;
    if (!x || !x->request ||
        sip_msg_read(m, slice_of(x->request, x->request_len), SIP_DATAGRAM).err != ERR_OK ||
        sip_uri_read(m->from.uri_text, &from) != ERR_OK ||
        node_domain_id(c->node, from.host) != x->bid)
        return false; /* anonymous: which of its domains it was is forgotten */
    struct sip_uri uri = { .host = from.host, .maddr = m->via.host, .port = m->via.port };
    char mem[64];
    struct buf address = buf_over(mem, sizeof mem);
    if (where == SENDER_BY_ADDRESS) {
        addr_put_ip(&address, &x->peer);
        uri.maddr = buf_slice(&address);
        if (!uri.port) uri.port = PEER_PORT;
    } else if (!target_is_name(m->via.host)) {
        return false;
    }
    slice own = node_is_domain(c->node, m->uri.host) ? m->uri.host : peer_own_domain(c, 0);
    if (peer_target(c, own, &uri, &to, &words) != 0) return false;
    struct hop *h = hop_get(c, to.ticket);
    return h && hop_wait(h, owner, where) && hop_search(c, h, 0, false);
}

bool peer_seek_sender(struct core *c, uint64_t owner) {
    return sender_seek(c, owner, SENDER_BY_ADDRESS) || sender_seek(c, owner, SENDER_BY_NAME);
}

struct addr peer_address(struct core *c, const struct target *to) {
    struct peer_row row;
    struct peer_query q = { .domain = to->bid, .flow = to->flow };
    bool is_known = !to->account_id && to->bid && node_peer_find(c->node, &q, &row);
    return is_known ? row.addr : (struct addr){ 0 };
}

bool peer_seek_again(struct core *c, const struct context *x, const struct branch *b) {
    const struct hop *old = hop_of(c, &b->to);
    struct target to;
    const char *words;
    char mem[64];
    struct buf address = buf_over(mem, sizeof mem);
    if (!old || b->at.family == ADDR_NONE) return false;
    addr_put_ip(&address, &b->at);
    struct sip_uri uri = { .host = keep_name(c, old->domain),
                           .maddr = buf_slice(&address),
                           .port = b->at.port };
    if (peer_target(c, keep_name(c, old->own), &uri, &to, &words) != 0) return false;
    struct hop *h = hop_get(c, to.ticket);
    return h && hop_wait(h, owner_of(x->id), b->index) && hop_search(c, h, x->account_id, false);
}

static void sender_settled(struct core *c, const struct waiter *w, flow_id flow) {
    bool is_further = !flow && w->branch == SENDER_BY_ADDRESS;
    if (is_further && sender_seek(c, w->owner, SENDER_BY_NAME)) return;
    context_sender_found(c, w->owner, flow);
}

/* ---- the end of a search ---- */

/* When the next hop cannot be found or proves to be nobody we know, inside a dialog or for what
 * rings there already: a connection that the other side made itself, and on which it proved to be
 * the same domain. */
static flow_id own_connection(struct core *c, const struct waiter *w) {
    const struct context *x = context_get(c, w->owner);
    for (const struct branch *b = x ? &x->first : NULL; b; b = b->next)
        if (b->index == w->branch && (x->is_in_dialog || b->is_lost))
            return peer_side_flow(c, &(struct route_side){ .bid = b->to.bid });
    return FLOW_NONE;
}

static void hop_settled(struct core *c, struct hop *h, const char *words) {
    struct waiter *waiters = h->waiters;
    unsigned count = h->waiter_count;
    flow_id flow = h->flow;
    h->waiters = NULL;
    h->waiter_count = h->waiter_cap = 0;
    h->is_searching = false;
    list_push(&c->domains->lru, &h->lru);
    /* Whatever these do may search for the same hop again, or forget it. */
    for (unsigned i = 0; i < count; i++) {
        if (waiters[i].branch >= SENDER_BY_NAME) {
            sender_settled(c, &waiters[i], flow);
            continue;
        }
        flow_id to = flow ? flow : own_connection(c, &waiters[i]);
        if (to)
            context_branch_flow(c, waiters[i].owner, waiters[i].branch, to);
        else
            context_branch_no_flow(c, waiters[i].owner, waiters[i].branch, 503, words);
    }
    mem_free(waiters);
}

static void hop_none(struct core *c, struct hop *h, const struct target_effect *fx) {
    char mem[WORDS_BYTES];
    struct buf words = buf_over(mem, sizeof mem - 1);
    buf_put(&words, h->domain);
    if (fx->fault == TARGET_NOT_IT) buf_lit(&words, " has a certificate that");
    buf_byte(&words, ' ');
    buf_put(&words, slice_str(fx->words));
    mem[words.len] = 0;
    LOG(LOG_INFO, "peer.not_found", LOG_F_SLICE("domain", h->domain), LOG_F_STR("why", fx->words));
    h->flow = FLOW_NONE;
    hop_settled(c, h, words.full ? fx->words : mem);
}

/* RFC 5923 8.1: a connection that leads there, and has proved that domain, is used again. */
static bool hop_reuse(struct core *c, struct hop *h, const struct target_effect *fx) {
    struct peer_row row;
    struct peer_query q = {
        .domain = h->domain_id, .own = h->own_id, .addr = &fx->addr, .is_reusable = true
    };
    if (!node_peer_find(c->node, &q, &row)) return false;
    h->flow = row.flow;
    targets_connected(c->domains->targets, fx->ticket, TARGET_OK, NULL, c->now.mono);
    return true;
}

static void hop_connect(struct core *c, struct hop *h, const struct target_effect *fx) {
    struct core_effect *out = hop_reuse(c, h, fx) ? NULL : core_effect(c, FX_CONNECT);
    if (!out) return;
    out->ticket = fx->ticket;
    out->transport = FLOW_TLS;
    out->addr = fx->addr;
    out->name = keep_name(c, fx->domain);
    out->own = keep_name(c, h->own);
}

bool peers_pump(struct core *c) {
    struct target_effect fx;
    bool any = false;
    while (targets_next_effect(c->domains->targets, &fx)) {
        struct core_effect *out;
        any = true;
        struct hop *h = fx.what == TARGET_ASK ? NULL : hop_get(c, fx.user);
        switch (fx.what) {
        case TARGET_ASK:
            out = core_effect(c, FX_DNS);
            if (!out) break; /* it will be given up */
            out->ticket = fx.ticket;
            out->name = keep_name(c, fx.question.name);
            out->dns_type = (uint8_t)fx.question.type;
            break;
        case TARGET_CONNECT:
            if (h) hop_connect(c, h, &fx);
            break;
        case TARGET_CONNECT_CANCEL:
            out = core_effect(c, FX_CONNECT_CANCEL);
            if (out) out->ticket = fx.ticket;
            break;
        case TARGET_FOUND:
            if (!h) break;
            h->fresh_until = c->now.mono + FRESH_MS;
            hop_settled(c, h, NULL);
            break;
        case TARGET_NONE:
            if (h) hop_none(c, h, &fx);
            break;
        }
    }
    return any;
}

void peers_run_timers(struct core *c) {
    targets_run_timers(c->domains->targets, c->now.mono);
}
mono_t peers_wake_at(const struct core *c) {
    return targets_wake_at(c->domains->targets);
}

/* ---- what io tells ---- */

void core_dns(struct core *c, uint64_t ticket, const struct dns_answer *answer, struct now now) {
    core_begin(c, now);
    targets_dns(c->domains->targets, ticket, answer, now.mono);
    core_pump(c);
}

/* RFC 5922 7.3: the domain that was asked for, never the name of a server that the DNS gave. */
static const char *cert_words(const struct peer_cert *cert, slice domain) {
    if (!cert) return "was not shown";
    const char *trouble = peer_cert_trouble(cert);
    if (trouble) return trouble;
    return peer_cert_names(cert, domain) ? NULL : "names somebody else";
}

/* A connection that is up and proved: a flow of this core. */
static enum err connected(struct core *c, struct hop *h, const struct flow_info *info,
                          flow_id *out) {
    struct flow_info known = *info;
    struct flow *flow;
    /* Others reach us at our own port, not at the one that this connection happens to have. */
    known.local.port = node_settings(c->node)->sip_port;
    enum err err = flow_make(c, &known, h->domain, &flow);
    if (err != ERR_OK) return err;
    node_peer_reuse(c->node, flow->id, h->own_id, &info->peer);
    h->flow = *out = flow->id;
    return ERR_OK;
}

enum err core_connected(struct core *c, uint64_t ticket, enum err result, const char *why,
                        const struct flow_info *info, struct now now, flow_id *out) {
    struct targets *t = c->domains->targets;
    enum target_fault fault = TARGET_OK;
    const char *words = NULL;
    uint64_t user;
    core_begin(c, now);
    struct hop *h = targets_ticket(t, ticket, &user) ? hop_get(c, user) : NULL;
    if (!h) return ERR_GONE;
    if (result != ERR_OK) {
        fault = result == ERR_TIMEOUT   ? TARGET_NO_ANSWER
                : result == ERR_MISSING ? TARGET_NO_WAY
                                        : TARGET_NO_TLS;
        LOG(LOG_DEBUG, "peer.no_connection", LOG_F_SLICE("domain", h->domain),
            LOG_F_STR("why", why ? why : err_text(result)));
    } else {
        words = cert_words(info->cert, h->domain);
        fault = words ? TARGET_NOT_IT : TARGET_OK;
        if (words) result = ERR_DENIED; /* RFC 5922 7.3: then it is closed at once */
    }
    if (result == ERR_OK) {
        result = connected(c, h, info, out);
        if (result != ERR_OK) fault = TARGET_NO_ANSWER;
    }
    targets_connected(t, ticket, fault, words, now.mono);
    core_pump(c);
    return result;
}

/* ---- requests ---- */

void peer_call(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t sender,
               unsigned own_routes) {
    struct target target;
    const char *words;
    struct relay_plan plan = { .flow = flow,
                               .msg = m,
                               .account_id = sender,
                               .own_routes = own_routes,
                               .targets = &target,
                               .target_count = 1 };
    if (!sender) {
        core_refuse(c, flow, m, 403, "This server does not pass calls between other domains");
        return;
    }
    struct media_verdict v = core_judge(flow, m);
    if (!core_check_offer(c, flow, m, &v)) return;
    if (!core_check_breadth(c, flow, m, &plan.max_breadth)) return;
    unsigned status = peer_target(c, peer_own_domain(c, sender), &m->uri, &target, &words);
    if (status) {
        core_refuse(c, flow, m, status, words);
        return;
    }
    plan.is_sdes = v.keys == MEDIA_KEYED_SDES;
    plan.has_offer = v.keys != MEDIA_NO_SDP;
    plan.bid = location_bid_of_flow(c->node->location, sender, flow->id, c->now.wall);
    plan.call_hash = call_hash_of(c, m->call_id, m->from.tag);
    context_start(c, &plan);
}

/* RFC 3261 16.6 steps 6 and 7: the first Route that is not ours, else the Request-URI. */
static bool next_hop(const struct sip_msg *m, unsigned own_routes, struct sip_uri *out) {
    struct hdr_values it = hdr_values_of(m, HDR_ROUTE);
    struct hdr_name_addr addr;
    for (slice v; hdr_values_next(&it, &v);) {
        if (own_routes) {
            own_routes--;
            continue;
        }
        return hdr_name_addr(v, &addr) == ERR_OK && sip_uri_read(addr.uri_text, out) == ERR_OK;
    }
    *out = m->uri;
    return true;
}

unsigned peer_side_targets(struct core *c, const struct route_side *side, uint32_t local_account,
                           const struct sip_msg *m, unsigned own_routes, struct target *out) {
    slice own = peer_own_domain(c, local_account);
    uint32_t own_id = node_domain_id(c->node, own);
    struct peer_query q = {
        .domain = side->bid, .own = own_id, .flow = side->flow, .is_reusable = true
    };
    struct peer_row row;
    struct sip_uri uri;
    const char *words;
    *out = (struct target){ .bid = side->bid };
    bool is_found = side->flow && node_peer_find(c->node, &q, &row);
    q.flow = FLOW_NONE;
    if (is_found || node_peer_find(c->node, &q, &row)) {
        out->flow = row.flow;
        return 1;
    }
    if (next_hop(m, own_routes, &uri) && target_is_name(without_dot(uri.host)) &&
        !node_is_domain(c->node, uri.host) && peer_target(c, own, &uri, out, &words) == 0) {
        out->bid = side->bid;
        return 1;
    }
    /* The next hop has no name to prove (real servers write their address): what is left is a
     * connection that they made themselves, and on which they proved to be that domain. */
    out->flow = peer_side_flow(c, side);
    return out->flow ? 1 : 0;
}

flow_id peer_side_flow(struct core *c, const struct route_side *side) {
    struct peer_row row;
    struct peer_query q = { .domain = side->bid };
    if (node_flow_lives(c->node, side->flow)) return side->flow;
    return node_peer_find(c->node, &q, &row) ? row.flow : FLOW_NONE;
}
