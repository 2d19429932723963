/* A request, from its validation (RFC 3261 16.3) to the part that takes it (16.4, 16.5). */
#include "core/core_priv.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/best.h"

#define TAG_BYTES          8
#define ANSWER_LINES_BYTES 1024u /* Warning and Server, beside what the caller gives */
#define BAD_MESSAGES_MAX   32u /* of one flow; a broken phone repeats itself, an attacker goes on */

/* RFC 3261 21.4.6: the methods for the address of the server itself; others' pass as they are. */
#define ALLOWED   "Allow: REGISTER, OPTIONS, ACK, CANCEL\r\n"
#define SUPPORTED "Supported: path, outbound, gruu\r\n"
/* RFC 3261 11.2: what we take ourselves; bodies of others pass whatever they are. A proxy leaves
 * Allow out, which would say nothing about those it serves. */
#define ACCEPTED "Accept: application/sdp\r\nAccept-Encoding: identity\r\nAccept-Language: en\r\n"

/* ---- our own answers ---- */

/* RFC 3261 8.2.7: a stateless UAS gives each copy of a request the same To tag. */
static void put_to_tag(const struct core *c, const struct sip_msg *m, struct buf *b) {
    char mem[1024];
    uint8_t mac[CRYPTO_MAC_BYTES];
    struct buf text = buf_over(mem, sizeof mem);
    buf_put(&text, slice_head(m->call_id, 256));
    buf_byte(&text, '\n');
    buf_put(&text, slice_head(m->from.tag, 256));
    buf_byte(&text, '\n');
    buf_put(&text, slice_head(m->via.branch, 256));
    crypto_mac(c->node->keys.tag, text.ptr, text.len, mac);
    buf_hex(b, mac, TAG_BYTES);
}

static void put_warning(const struct core *c, struct buf *b, unsigned code, const char *words) {
    const struct node_config *config = node_settings(c->node);
    buf_fmt(b, "Warning: %u ", code ? code : 399);
    buf_put(b, config->name.len ? config->name : config->domains[0]);
    buf_fmt(b, " \"%s\"\r\n", words);
}

slice core_answer_bytes(struct core *c, flow_id f, const struct sip_msg *m,
                        const struct answer *a) {
    const struct node_config *config = node_settings(c->node);
    char tag_mem[2 * TAG_BYTES];
    size_t room = a->lines.len + a->json.len + ANSWER_LINES_BYTES;
    char *lines_mem = arena_alloc(&c->turn, room);
    if (!lines_mem) return SLICE_NONE;
    struct buf tag = buf_over(tag_mem, sizeof tag_mem);
    struct buf lines = buf_over(lines_mem, room);
    const struct flow *flow = flow_get(c, f);
    if (a->status > 100 && !m->to.tag.len && !a->to_tag.len) put_to_tag(c, m, &tag);
    if (a->lines.len) buf_put(&lines, a->lines);
    if (a->warning) put_warning(c, &lines, a->warn_code, a->warning);
    if (config->server_header.len) {
        buf_lit(&lines, "Server: ");
        buf_put(&lines, config->server_header);
        buf_lit(&lines, "\r\n");
    }
    struct sip_reply reply = { .status = a->status,
                               .to_tag = a->to_tag.len ? a->to_tag : buf_slice(&tag),
                               .extra_lines = buf_slice(&lines),
                               .body_type = SLICE("application/json"),
                               .body = a->json,
                               .source = flow ? &flow->info.peer : NULL,
                               .keep_s = keep_alive_s(m->method) };
    char oc_mem[OVERLOAD_TEXT_MAX];
    struct buf oc = buf_over(oc_mem, sizeof oc_mem);
    if (m->via.has_oc) overload_put(&c->load, core_oc(m), &oc);
    reply.oc = buf_slice(&oc);
    struct buf out = core_out_begin(c, m->all.len + room + 512);
    if (lines.full || sip_reply(m, &reply, &out) != ERR_OK) return SLICE_NONE;
    return core_out_end(c, &out);
}

void core_answer(struct core *c, flow_id f, const struct sip_msg *m, const struct answer *a) {
    if (m->method == SIP_ACK) return; /* RFC 3261 17: nothing ever answers an ACK */
    slice bytes = core_answer_bytes(c, f, m, a);
    /* RFC 3261 8.2.7: a refusal needs no transaction, but for two who have said who they are (a
     * stranger would have it sent again and again to whom he names as its source):
     * - inside a dialog the ACK of a refused INVITE carries our Route token: without a transaction
     *   to take it, it would go on to the other side (17.2.1);
     * - on datagrams a copy of the request would be judged anew, and its nonce is used by now: one
     *   request would get two different answers. */
    const struct flow *flow = flow_get(c, f);
    tx_id tx;
    bool is_in_dialog = m->method == SIP_INVITE && m->to.tag.len && a->status >= 300;
    if (c->is_proved && flow && (is_in_dialog || !flow_is_reliable(&flow->info)) &&
        tx_server_open(c->txs, m, f, flow_is_reliable(&flow->info), 0, c->now.mono, &tx) ==
            ERR_OK &&
        tx_server_respond(c->txs, tx, a->status, bytes, c->now.mono) != ERR_OK)
        tx_drop(c->txs, tx);
    core_send(c, f, bytes, true, 0);
    core_trace(c, m, "answered", a->status, a->warning);
}

void core_refuse(struct core *c, const struct flow *flow, const struct sip_msg *m, unsigned status,
                 const char *warning) {
    core_answer(c, flow->id, m, &(struct answer){ .status = status, .warning = warning });
}

/* ---- messages that cannot be read ---- */

static unsigned bad_status(enum sip_bad why) {
    switch (why) {
    case SIP_BAD_VERSION:
        return 505;
    case SIP_BAD_TOO_LARGE:
    case SIP_BAD_TOO_MANY:
        return 513;
    case SIP_BAD_NONE:
    case SIP_BAD_START_LINE:
    case SIP_BAD_URI:
    case SIP_BAD_HEADER:
    case SIP_BAD_VIA:
    case SIP_BAD_FROM:
    case SIP_BAD_TO:
    case SIP_BAD_CALL_ID:
    case SIP_BAD_CSEQ:
    case SIP_BAD_MAX_FORWARDS:
    case SIP_BAD_CONTENT_LENGTH:
    case SIP_BAD_DUPLICATE:
    case SIP_BAD_MISSING:
        return 400;
    }
    return 400;
}

void core_bad_message(struct core *c, struct flow *flow, const struct sip_read *r) {
    bool is_stream = flow_is_stream(&flow->info);
    COUNT(c, bad_messages);
    /* One line a flow: whoever sends garbage shall not fill the operator's disk with it. */
    LOG(flow->bad++ ? LOG_DEBUG : LOG_INFO, "message.bad", LOG_F_U64("flow", flow->id),
        LOG_F_STR("why", sip_bad_text(r->why)), LOG_F_U64("at", r->at));
    if (flow->bad > BAD_MESSAGES_MAX) {
        if (flow_is_reliable(&flow->info)) core_close(c, flow->id, "too many unreadable messages");
        return;
    }
    /* RFC 3261 8.2.1, RFC 4475 3.1.2: say what is wrong, if there is somebody to say it to. */
    bool is_answered = r->answerable && c->msg.is_request && core_guard_source(c, flow, &c->msg);
    if (is_answered) core_refuse(c, flow, &c->msg, bad_status(r->why), sip_bad_text(r->why));
    bool is_mute = !r->answerable && c->msg.is_request && c->msg.method != SIP_ACK;
    if (is_stream && (r->used == 0 || is_mute)) core_close(c, flow->id, "unreadable message");
}

/* ---- checks of RFC 3261 16.3 ---- */

/* RFC 3261 16.3 step 3, 16.6 step 3. */
bool core_check_hops(struct core *c, struct flow *flow, const struct sip_msg *m) {
    if (!m->has_max_forwards || m->max_forwards > 0) return true;
    core_refuse(c, flow, m, 483, NULL);
    return false;
}

/* What decides the next hop (RFC 3261 16.6 step 8, RFC 5393 4.2.1): the same again is a loop. */
uint64_t loop_hash(const struct core *c, const struct sip_msg *m) {
    static const enum sip_header_id lists[] = { HDR_ROUTE, HDR_PROXY_REQUIRE };
    struct hash_key k = c->node->keys.table;
    k.k0 ^= siphash_slice(&k, m->uri_text);
    k.k1 ^= siphash_slice(&k, m->call_id) + m->cseq;
    k.k0 ^= siphash_slice(&k, m->from.tag);
    k.k1 ^= siphash_slice(&k, m->to.tag);
    for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
        for (const struct sip_header *h = sip_first(m, lists[i]); h; h = sip_next(m, h))
            k.k0 ^= siphash_slice(&k, h->value);
    return k.k0 ^ k.k1;
}

/* RFC 3261 16.3 step 4 as RFC 5393 4.2 makes it compulsory: one of our own branches below the top
 * with the same hash means that nothing has changed since the request was here. */
static bool core_check_loop(struct core *c, struct flow *flow, const struct sip_msg *m) {
    struct hdr_values it = hdr_values_of(m, HDR_VIA);
    unsigned count = 0;
    for (slice v; hdr_values_next(&it, &v);) {
        struct sip_via via;
        unsigned worker;
        tx_id tx;
        uint64_t seen;
        if (++count > LIMIT_VIAS) {
            core_refuse(c, flow, m, 483, "too many Via values");
            return false;
        }
        if (sip_via_read(v, &via) != ERR_OK ||
            !branch_read(c->node->keys.branch, via.branch, &worker, &tx, &seen))
            continue;
        if (seen == loop_hash(c, m)) {
            core_refuse(c, flow, m, 482, NULL);
            return false;
        }
    }
    if (it.bad) core_refuse(c, flow, m, 400, sip_bad_text(SIP_BAD_VIA));
    return !it.bad;
}

static bool is_known_option(slice tag) {
    return slice_ieq(tag, SLICE("path")) || slice_ieq(tag, SLICE("outbound")) ||
           slice_ieq(tag, SLICE("gruu"));
}

/* RFC 3261 16.3 step 5 and 8.2.2.3: name what we cannot do. */
static bool core_check_require(struct core *c, struct flow *flow, const struct sip_msg *m,
                               enum sip_header_id id) {
    char mem[1024];
    struct buf line = buf_over(mem, sizeof mem);
    struct hdr_values it = hdr_values_of(m, id);
    buf_lit(&line, "Unsupported: ");
    size_t start = line.len;
    for (slice v; hdr_values_next(&it, &v);) {
        if (is_known_option(v)) continue;
        if (line.len > start) buf_lit(&line, ", ");
        buf_put(&line, v);
    }
    if (line.len == start && !it.bad) return true;
    buf_lit(&line, "\r\n");
    if (it.bad || line.full)
        core_refuse(c, flow, m, 400, "Require or Proxy-Require is malformed");
    else
        core_answer(c, flow->id, m, &(struct answer){ .status = 420, .lines = buf_slice(&line) });
    return false;
}

/* What the body of a request says about keys. Only these methods carry an offer or its answer
 * (RFC 6337 2.2); an ACK is judged by refuse_ack_body. */
struct media_verdict core_judge(const struct flow *flow, const struct sip_msg *m) {
    if (m->method != SIP_INVITE && m->method != SIP_UPDATE && m->method != SIP_PRACK)
        return (struct media_verdict){ .keys = MEDIA_NO_SDP };
    struct media_verdict v = media_judge(m);
    if (v.keys == MEDIA_KEYED_SDES && !flow_is_secure(&flow->info)) {
        /* RFC 4568 8: keys in clear text on this leg are no keys. */
        v.keys = MEDIA_UNKEYED;
        v.why = "SDES keys were sent over an unencrypted connection. Use TLS, or DTLS-SRTP.";
    }
    return v;
}

/* Media policy, case 1 (and the first half of 2): refused before anybody rings. */
bool core_check_offer(struct core *c, struct flow *flow, const struct sip_msg *m,
                      const struct media_verdict *v) {
    if (v->keys != MEDIA_UNKEYED) return true;
    COUNT(c, calls_refused_unkeyed);
    core_refuse(c, flow, m, 488, v->why);
    return false;
}

/* ---- routes and targets ---- */

enum route { ROUTE_OURS, ROUTE_FORGED, ROUTE_OTHER };

/* Does this Route value name us? A phone's outbound-proxy setting does (RFC 3261 16.4), and our
 * Service-Route (RFC 3608 6.1). With a user part it must be a token that we made (RFC 5626 5.3.1):
 * outside of a dialog it says no more than that. */
static enum route route_is_ours(struct core *c, slice value) {
    struct hdr_name_addr addr;
    struct sip_uri uri;
    struct route_token token;
    if (hdr_name_addr(value, &addr) != ERR_OK || sip_uri_read(addr.uri_text, &uri) != ERR_OK ||
        (!node_is_domain(c->node, uri.host) && !node_is_self(c->node, uri.host)))
        return ROUTE_OTHER;
    if (!uri.has_user) return ROUTE_OURS;
    return route_token_read(c->node->keys.token, uri.user, &token) == ERR_OK ? ROUTE_OURS
                                                                             : ROUTE_FORGED;
}

/* How many leading Route values are ours; *last tells what follows them (OURS: nothing). */
static unsigned own_routes(struct core *c, const struct sip_msg *m, enum route *last) {
    unsigned n = 0;
    struct hdr_values it = hdr_values_of(m, HDR_ROUTE);
    *last = ROUTE_OURS;
    for (slice v; *last == ROUTE_OURS && hdr_values_next(&it, &v);) {
        *last = route_is_ours(c, v);
        if (*last == ROUTE_OURS) n++;
    }
    return n;
}

/* RFC 3325 9.1: say who called, unless he asked us not to (RFC 3323, 3325 9.3). */
slice asserted_identity(struct core *c, const struct sip_msg *m, uint32_t account_id) {
    const struct node_config *config = node_settings(c->node);
    unsigned privacy = 0;
    struct sip_uri from;
    if (hdr_privacy(m, &privacy) != ERR_OK || (privacy & (HDR_PRIVACY_ID | HDR_PRIVACY_USER)) ||
        sip_uri_read(m->from.uri_text, &from) != ERR_OK ||
        identity_is_anonymous(&from, config->domains, config->domain_count))
        return SLICE_NONE;
    char *mem = arena_alloc(&c->turn, 640);
    if (!mem) return SLICE_NONE;
    struct buf b = buf_over(mem, 640);
    buf_lit(&b, "<sip:");
    size_t before = b.len;
    core_put_aor(c, account_id, &b);
    if (b.full || b.len == before) return SLICE_NONE;
    buf_lit(&b, ">");
    return b.full ? SLICE_NONE : buf_slice(&b);
}

/* RFC 5393 5.3.3: what the branches share. With too little of it they are tried one after another
 * (branch.c); with none of it, nobody. */
bool core_check_breadth(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t *out) {
    uint32_t breadth = LIMIT_MAX_BREADTH;
    enum err err = hdr_u32_of(m, HDR_MAX_BREADTH, &breadth);
    if (err != ERR_OK && err != ERR_MISSING) {
        core_refuse(c, flow, m, 400, "Max-Breadth is malformed");
        return false;
    }
    if (breadth > LIMIT_MAX_BREADTH) breadth = LIMIT_MAX_BREADTH;
    if (breadth == 0) {
        core_refuse(c, flow, m, 440, NULL);
        return false;
    }
    *out = breadth;
    return true;
}

/* RFC 5627 6.2: who opens a dialog under another's GRUU is refused. */
static bool is_others_gruu(struct core *c, const struct sip_msg *m, uint32_t sender) {
    struct sip_uri uri;
    struct account account;
    uint64_t instance;
    if (sip_uri_read(contact_uri(m), &uri) != ERR_OK) return false;
    enum gruu_state state = gruu_find(c, &uri, &account, &instance);
    return (state == GRUU_VALID || state == GRUU_VOID) && account.id != sender;
}

/* Whom a request speaks for: an account of ours, or (account 0) another domain. */
struct sender {
    uint32_t account_id, domain_id;
};

static void core_to_account(struct core *c, struct flow *flow, const struct sip_msg *m,
                            struct sender sender, unsigned routes) {
    struct callee callee;
    struct target targets[LIMIT_FORKS];
    struct relay_plan plan = { .flow = flow,
                               .msg = m,
                               .account_id = sender.account_id,
                               .own_routes = routes,
                               .targets = targets };
    unsigned status = route_callee(c, &m->uri, &callee);
    if (status) {
        core_refuse(c, flow, m, status, NULL);
        return;
    }
    if (m->method == SIP_INVITE && is_others_gruu(c, m, sender.account_id)) {
        core_refuse(c, flow, m, 403, "Contact is the GRUU of another account");
        return;
    }
    struct media_verdict v = core_judge(flow, m);
    if (!core_check_offer(c, flow, m, &v)) return;
    plan.is_sdes = v.keys == MEDIA_KEYED_SDES;
    plan.has_offer = v.keys != MEDIA_NO_SDP;
    struct divert_call call = { .msg = m,
                                .from = flow->id,
                                .sender = sender.account_id,
                                .is_sips = m->uri.scheme == URI_SIPS };
    call.is_anonymous = call_is_anonymous(m);
    if (call.is_anonymous && divert_refuses_anonymous(c, &callee.account)) {
        core_refuse(c, flow, m, 433, "Callers must say here who they are");
        return;
    }
    const char *why = NULL;
    bool is_wished = m->method == SIP_INVITE && !callee.instance && callee.account.has_settings;
    plan.target_count = is_wished
                            ? divert_first(c, &call, callee.account.id, targets, &plan.divert, &why)
                            : route_targets(c, &call, &callee, targets);
    if (plan.target_count == 0) {
        /* RFC 5630 5.3: tell a sips caller why nobody was asked. */
        core_answer(c, flow->id, m,
                    &(struct answer){ .status = 480,
                                      .warning = call.is_sips ? "SIPS Not Allowed" : why,
                                      .warn_code = call.is_sips ? 380 : 0 });
        return;
    }
    if (!core_check_breadth(c, flow, m, &plan.max_breadth)) {
        mem_free(plan.divert);
        return;
    }
    /* A token names the sender's binding, so that his side of the call can be found again after he
     * has reconnected. */
    plan.bid = sender.account_id ? location_bid_of_flow(c->node->location, sender.account_id,
                                                        flow->id, c->now.wall)
                                 : sender.domain_id;
    plan.call_hash = call_hash_of(c, m->call_id, m->from.tag);
    context_start(c, &plan);
}

/* ---- requests that are for this server itself ---- */

static bool is_for_us(struct core *c, const struct sip_msg *m) {
    return m->uri.scheme != URI_TEL && !m->uri.user.len &&
           (node_is_domain(c->node, m->uri.host) || node_is_self(c->node, m->uri.host));
}

static void core_for_us(struct core *c, struct flow *flow, const struct sip_msg *m) {
    if (!core_check_require(c, flow, m, HDR_REQUIRE)) return;
    if (m->method == SIP_OPTIONS)
        core_answer(c, flow->id, m,
                    &(struct answer){ .status = 200, .lines = SLICE(SUPPORTED ACCEPTED) });
    else if (m->method == SIP_SUBSCRIBE || m->method == SIP_PUBLISH)
        core_refuse(c, flow, m, 489, NULL);
    else /* RFC 3261 8.2.1, 21.5.2: 405 for a method that we know, 501 for one that we don't */
        core_answer(c, flow->id, m,
                    &(struct answer){ .status = m->method == SIP_OTHER ? 501 : 405,
                                      .lines = SLICE(ALLOWED) });
}

/* RFC 3261 12.2.2, RFC 6665 4.1.3: one for this server itself finds no dialog and no subscription
 * here, and is told so. Towards anybody else it would need a token of ours, and has no right. */
void core_refuse_stray(struct core *c, struct flow *flow, const struct sip_msg *m) {
    enum route last;
    (void)own_routes(c, m, &last);
    if (is_for_us(c, m) && last == ROUTE_OURS)
        core_refuse(c, flow, m, 481, NULL);
    else
        core_refuse(c, flow, m, 403, "This request does not belong to a call of this server");
}

/* ---- the way of a request ---- */

/* ACK and CANCEL of an INVITE that another worker has: it came over another connection. */
static bool core_pass_to_worker(struct core *c, struct flow *flow, const struct sip_msg *m) {
    unsigned worker;
    tx_id tx;
    if (!node_invite_find(c->node, tx_request_hash(&c->node->keys.table, m), &worker, &tx) ||
        worker == c->worker)
        return false;
    struct core_mail mail = { .kind = MAIL_REQUEST,
                              .must_arrive = true,
                              .flow = flow->id,
                              .number = flow->who.count == 1 ? flow->who.first.account_id : 0,
                              .bytes = m->all };
    core_mail(c, worker, &mail);
    return true;
}

/* RFC 3323 5: who calls his privacy critical must not be let through with less of it. We withhold
 * what we assert (id, RFC 3325 7) and what we know of a call's way (history); what only a B2BUA
 * could hide (user, header, session), and what we have never heard of, is not done here. */
static bool core_check_privacy(struct core *c, struct flow *flow, const struct sip_msg *m) {
    const unsigned done = HDR_PRIVACY_CRITICAL | HDR_PRIVACY_ID | HDR_PRIVACY_HISTORY;
    unsigned asked = 0;
    enum err err = hdr_privacy(m, &asked);
    if (err == ERR_OK && (!(asked & HDR_PRIVACY_CRITICAL) || !(asked & ~done))) return true;
    if (err == ERR_OK)
        core_refuse(c, flow, m, 500,
                    "Privacy cannot be given as asked: this server does id and history, but not "
                    "user, header or session");
    else
        core_refuse(c, flow, m, 400, "Privacy is malformed");
    return false;
}

/* Who sent it, and may he, now? false: it has been answered. */
static bool core_sender(struct core *c, struct flow *flow, const struct sip_msg *m,
                        struct sender *out) {
    *out = (struct sender){ 0 };
    if (peer_is_sender(c, flow, m)) {
        if (!peer_who(c, flow, m, &out->domain_id)) return false;
        c->is_proved = true;
        peer_alias(c, flow, m);
        return core_guard_domain(c, flow, m, out->domain_id);
    }
    if (!core_who(c, flow, m, &out->account_id)) return false;
    c->is_proved = true;
    return core_guard_account(c, flow, m, out->account_id);
}

/* The Request-URI of somebody at another domain. */
static bool is_elsewhere(struct core *c, const struct sip_msg *m) {
    return m->uri.scheme != URI_TEL && !node_is_domain(c->node, m->uri.host) &&
           !node_is_self(c->node, m->uri.host);
}

/* Who may call one address only (a visitor of click-to-call) reaches nothing else, this server
 * included; a request to hand the call on would be a way around it. */
bool core_may_call(struct core *c, struct flow *flow, const struct sip_msg *m,
                   uint32_t account_id) {
    char mem[USER_SETTINGS_MAX];
    struct account account;
    struct user_settings set;
    struct sip_uri only;
    if (!account_id || accounts_by_id(c->node->accounts, account_id, &account) != ERR_OK ||
        !account.has_settings ||
        accounts_settings(c->node->accounts, account_id, mem, &set) != ERR_OK ||
        !set.only_calls.len)
        return true;
    if (m->method == SIP_INVITE && sip_uri_read(set.only_calls, &only) == ERR_OK &&
        slice_eq(only.user, m->uri.user) && slice_ieq(only.host, m->uri.host)) {
        /* How many visitors may be there at once would mean little if each could call at will. */
        if (!(account.flags & ACCOUNT_GUEST) ||
            node_flow_calls(c->node, flow->id) < LIMIT_GUEST_CALLS)
            return true;
        core_refuse(c, flow, m, 403, "A visitor may have three calls at once: end one first");
        return false;
    }
    core_refuse(c, flow, m, 403, "This address may call one other only");
    return false;
}

static void core_new_request(struct core *c, struct flow *flow, const struct sip_msg *m) {
    struct sender sender;
    enum route last;
    if (!core_sender(c, flow, m, &sender) || !core_may_call(c, flow, m, sender.account_id)) return;
    unsigned routes = own_routes(c, m, &last);
    if (last == ROUTE_FORGED) {
        core_refuse(c, flow, m, 403, "This server did not make that Route");
        return;
    }
    if (last == ROUTE_OTHER) {
        core_refuse(c, flow, m, 403, "This server does not pass requests to other servers");
        return;
    }
    if (!core_check_privacy(c, flow, m)) return;
    if (is_for_us(c, m))
        core_for_us(c, flow, m);
    else if (m->method == SIP_PUBLISH)
        core_refuse(c, flow, m, 489, NULL); /* RFC 3903 6: no event package of ours takes it yet */
    else if (is_elsewhere(c, m))
        peer_call(c, flow, m, sender.account_id, routes);
    else
        core_to_account(c, flow, m, sender, routes);
}

void core_request(struct core *c, struct flow *flow, const struct sip_msg *m) {
    tx_id tx;
    COUNT(c, requests);
    enum tx_match match = tx_match_request(c->txs, m, c->now.mono, &tx);
    if (match == TX_ABSORBED || (match == TX_NEW && core_sheds(c, flow, m)) ||
        !core_guard_source(c, flow, m))
        return;
    if (match == TX_CANCEL) {
        core_cancel(c, flow->id, false, 0, m, tx);
        return;
    }
    if ((m->method == SIP_ACK || m->method == SIP_CANCEL) && match == TX_NEW &&
        core_pass_to_worker(c, flow, m))
        return;
    if (m->method == SIP_CANCEL) {
        core_refuse(c, flow, m, 481, NULL);
        return;
    }
    core_trace(c, m, "received", 0, NULL);
    if (m->uri.scheme == URI_OTHER) {
        core_refuse(c, flow, m, 416, NULL);
        return;
    }
    if (!core_check_hops(c, flow, m) || !core_check_loop(c, flow, m) ||
        !core_check_require(c, flow, m, HDR_PROXY_REQUIRE))
        return;
    if (m->method == SIP_REGISTER) {
        if (core_check_require(c, flow, m, HDR_REQUIRE)) core_register(c, flow, m);
    } else if (m->to.tag.len) {
        if (route_loosen(c))
            core_in_dialog(c, flow, m);
        else
            core_refuse(c, flow, m, 400, "The Route of a strict router is malformed");
    } else if (m->method != SIP_ACK) /* an ACK outside of everything is nobody's */
        core_new_request(c, flow, m);
}
