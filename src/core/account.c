/* Who is asking: digest and flow identity, architecture.md section 4. */
#include "core/core_priv.h"

#include "base/log.h"

static enum digest_algorithm lane_algorithm(const struct core *c, const struct flow *flow) {
    if (flow->info.lane == LANE_LEGACY) return DIGEST_MD5;
    return node_settings(c->node)->digest_sha512_256 ? DIGEST_SHA512_256 : DIGEST_SHA256;
}

/* 401 for REGISTER (RFC 3261 22.2), 407 for the rest (22.3): one challenge, the same to everybody
 * on this lane. */
static void core_challenge(struct core *c, struct flow *flow, const struct sip_msg *m, slice realm,
                           enum sip_header_id which, bool is_stale) {
    char mem[1024];
    struct buf line = buf_over(mem, sizeof mem);
    bool is_www = which == HDR_AUTHORIZATION;
    if (is_www)
        buf_lit(&line, "WWW-Authenticate: ");
    else
        buf_lit(&line, "Proxy-Authenticate: ");
    digest_challenge(&c->node->digest, lane_algorithm(c, flow), realm, flow->id,
                     flow_is_reliable(&flow->info), rng_u64(&c->rng), c->now.wall, is_stale, &line);
    buf_lit(&line, "\r\n");
    if (line.full) return;
    core_answer(c, flow->id, m,
                &(struct answer){ .status = is_www ? 401 : 407, .lines = buf_slice(&line) });
}

bool core_who_digest(struct core *c, struct flow *flow, const struct sip_msg *m, slice realm,
                     enum sip_header_id which, struct account *out, uint32_t *out_device) {
    const struct addr *source = &flow->info.peer;
    if (sip_first(m, which) && !guard_may_auth(c->node->guard, source, c->now.mono)) {
        COUNT(c, refused);
        core_answer(c, flow->id, m,
                    &(struct answer){ .status = 403,
                                      .warning = "Too many wrong passwords from here; wait" });
        return false;
    }
    enum digest_verdict v =
        digest_check(&c->node->digest, lane_algorithm(c, flow), m, which, realm, flow->id,
                     flow_is_reliable(&flow->info), &flow->nonce, c->now.wall, out, out_device);
    switch (v) {
    case DIGEST_OK:
        guard_auth_ok(c->node->guard, source, c->now.mono);
        return true;
    case DIGEST_WRONG:
        COUNT(c, auth_failures);
        guard_auth_failed(c->node->guard, source, c->now.mono);
        LOG(LOG_INFO, "auth.failed", LOG_F_U64("flow", flow->id));
        core_challenge(c, flow, m, realm, which, false);
        return false;
    case DIGEST_NONE:
        core_challenge(c, flow, m, realm, which, false);
        return false;
    case DIGEST_STALE:
        core_challenge(c, flow, m, realm, which, true);
        return false;
    case DIGEST_BAD:
        core_answer(
            c, flow->id, m,
            &(struct answer){
                .status = 400,
                .warning =
                    "The credentials are malformed, or their digest-uri is not the Request-URI" });
        return false;
    }
    return false;
}

/* The realm of a challenge is the domain that the request speaks for, when it is one of ours. */
static slice realm_of(struct core *c, slice uri_text) {
    struct sip_uri uri;
    if (sip_uri_read(uri_text, &uri) == ERR_OK && node_is_domain(c->node, uri.host))
        for (unsigned i = 0; i < node_settings(c->node)->domain_count; i++)
            if (slice_ieq(uri.host, node_settings(c->node)->domains[i]))
                return node_settings(c->node)->domains[i];
    return node_settings(c->node)->domains[0];
}

static void refuse_from(struct core *c, struct flow *flow, const struct sip_msg *m) {
    core_answer(c, flow->id, m,
                &(struct answer){ .status = 403,
                                  .warning = "From is not an address that this phone has proved" });
}

bool core_holds(struct core *c, struct flow *flow, uint32_t account_id) {
    struct flow_identity who;
    return identities_find(&flow->who, c->node->accounts, account_id, c->now.wall, &who) == ERR_OK;
}

static enum err core_judge_from(struct core *c, struct flow_identities *ids,
                                const struct sip_msg *m, uint32_t *out_account) {
    const struct node_config *config = node_settings(c->node);
    struct flow_identity who;
    enum err err = identities_for_message(ids, c->node->accounts, m, config->domains,
                                          config->domain_count, c->now.wall, &who);
    if (err == ERR_OK) *out_account = who.account_id;
    return err;
}

/* Judges a request by identities that are not the flow's own: those of this one proof. */
static bool who_by_proof(struct core *c, struct flow *flow, const struct sip_msg *m,
                         uint32_t *out_account) {
    struct account account;
    uint32_t device;
    if (!core_who_digest(c, flow, m, realm_of(c, m->from.uri_text), HDR_PROXY_AUTHORIZATION,
                         &account, &device))
        return false;
    struct flow_identities proof = { .first = { account.id, account.stamp, device }, .count = 1 };
    if (core_judge_from(c, &proof, m, out_account) != ERR_OK) {
        refuse_from(c, flow, m);
        return false;
    }
    /* On plain UDP and TCP there is no flow identity: each request proves itself. */
    if (flow_is_secure(&flow->info) && flow_add_identity(c, flow, &account, device) != ERR_OK)
        LOG(LOG_WARN, "flow.identity_lost", LOG_F_U64("flow", flow->id));
    return true;
}

bool core_who(struct core *c, struct flow *flow, const struct sip_msg *m, uint32_t *out_account) {
    enum err err = core_judge_from(c, &flow->who, m, out_account);
    if (err == ERR_OK) return true;
    /* A further account may prove itself on a flow that has others. */
    if (err == ERR_MISSING || sip_first(m, HDR_PROXY_AUTHORIZATION))
        return who_by_proof(c, flow, m, out_account);
    refuse_from(c, flow, m);
    return false;
}

static bool guard_says(struct core *c, struct flow *flow, const struct sip_msg *m,
                       enum guard_verdict verdict, const char *words) {
    if (verdict == GUARD_OK) return true;
    COUNT(c, refused);
    core_answer(
        c, flow->id, m,
        &(struct answer){ .status = 503, .warning = words, .lines = SLICE("Retry-After: 5\r\n") });
    return false;
}

bool core_guard_account(struct core *c, struct flow *flow, const struct sip_msg *m,
                        uint32_t account_id) {
    return guard_says(c, flow, m, guard_account(c->node->guard, account_id, c->now.mono),
                      "This account sends too many requests");
}

bool core_guard_domain(struct core *c, struct flow *flow, const struct sip_msg *m,
                       uint32_t domain_id) {
    return guard_says(c, flow, m, guard_domain(c->node->guard, domain_id, c->now.mono),
                      "This domain sends too many requests");
}

bool core_guard_source(struct core *c, struct flow *flow, const struct sip_msg *m) {
    char mem[40];
    struct buf line = buf_over(mem, sizeof mem);
    bool is_domains = identities_have_domains(&flow->who) && m->method != SIP_REGISTER;
    if (flow->who.count || is_domains) return true; /* its account or domain is counted instead */
    switch (guard_request(c->node->guard, &flow->info.peer, false, c->now.mono)) {
    case GUARD_OK:
        return true;
    case GUARD_SLOW_DOWN:
        buf_fmt(&line, "Retry-After: %u\r\n",
                guard_wait_s(c->node->guard, &flow->info.peer, c->now.mono));
        core_answer(c, flow->id, m, &(struct answer){ .status = 503, .lines = buf_slice(&line) });
        break;
    case GUARD_DROP:
        break;
    }
    COUNT(c, refused);
    return false;
}

bool core_who_registers(struct core *c, struct flow *flow, const struct sip_msg *m,
                        const struct account *account, slice realm, uint32_t *out_device) {
    struct flow_identity known;
    if (account && identities_find(&flow->who, c->node->accounts, account->id, c->now.wall,
                                   &known) == ERR_OK) {
        *out_device = known.device_id;
        return true;
    }
    struct account proved;
    if (!core_who_digest(c, flow, m, realm, HDR_AUTHORIZATION, &proved, out_device)) return false;
    if (!account || proved.id != account->id) {
        core_answer(c, flow->id, m,
                    &(struct answer){ .status = 403,
                                      .warning = "These credentials are another account's" });
        return false;
    }
    if (flow_is_secure(&flow->info) && flow_add_identity(c, flow, &proved, *out_device) != ERR_OK) {
        core_answer(
            c, flow->id, m,
            &(struct answer){ .status = 403, .warning = "Too many accounts on one connection" });
        return false;
    }
    return true;
}

void core_put_aor(struct core *c, uint32_t account_id, struct buf *b) {
    char mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2];
    struct buf text = buf_over(mem, sizeof mem);
    accounts_put_aor(c->node->accounts, account_id, &text);
    slice aor = buf_slice(&text);
    size_t at = slice_find(aor, '@');
    if (at == aor.len) return;
    sip_escape_user(b, slice_head(aor, at));
    buf_put(b, slice_from(aor, at));
}
