/* REGISTER: RFC 3261 10.3. The table changes at once, the 200 waits for the commit. */
#include "core/core_priv.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

static void register_refuse(struct core *c, struct flow *flow, const struct sip_msg *m,
                            unsigned status, const char *warning) {
    COUNT(c, registers_refused);
    core_answer(c, flow->id, m, &(struct answer){ .status = status, .warning = warning });
}

/* So often one registration finds out whether the store works again. */
#define STORE_RETRY_MS 1000
#define RETRY_S        10u

/* While the store fails, what must be stored is not begun: then nothing tentative needs to be taken
 * back (RFC 3261 10.3 step 7). */
static bool store_is_out(struct core *c) {
    mono_t until = atomic_load_explicit(&c->node->store_fails_until, memory_order_relaxed);
    if (until == 0) return false;
    return c->now.mono < until ||
           !atomic_compare_exchange_strong(&c->node->store_fails_until, &until,
                                           c->now.mono + STORE_RETRY_MS);
}

static void store_answered(struct core *c, enum err result) {
    mono_t until = 0;
    if (result != ERR_OK) until = c->now.mono > 0 ? c->now.mono + STORE_RETRY_MS : STORE_RETRY_MS;
    atomic_store_explicit(&c->node->store_fails_until, until, memory_order_relaxed);
}

/* RFC 3261 10.3 step 5: the To URI is the address-of-record. An account that does not exist is
 * challenged like any other: nobody learns who is here. */
static bool register_account(struct core *c, struct flow *flow, const struct sip_msg *m,
                             struct account *out, uint32_t *out_device) {
    struct sip_uri to;
    char mem[256];
    struct buf user = buf_over(mem, sizeof mem);
    if (sip_uri_read(m->to.uri_text, &to) != ERR_OK || to.scheme == URI_TEL ||
        to.scheme == URI_OTHER) {
        register_refuse(c, flow, m, 400, "To is not a SIP address");
        return false;
    }
    if (!node_is_domain(c->node, m->uri.host) && !node_is_self(c->node, m->uri.host)) {
        register_refuse(c, flow, m, 403, "This server does not serve that domain");
        return false;
    }
    if (!node_is_domain(c->node, to.host)) {
        register_refuse(c, flow, m, 404, "That address is not of a domain of this server");
        return false;
    }
    bool is_known = sip_unescape(to.user, &user) == ERR_OK &&
                    accounts_find(c->node->accounts, buf_slice(&user), to.host, out) == ERR_OK &&
                    !(out->flags & (ACCOUNT_DISABLED | ACCOUNT_GUEST));
    return core_who_registers(c, flow, m, is_known ? out : NULL, to.host, out_device);
}

static struct pending *pending_new(struct core *c, struct flow *flow,
                                   const struct registrar_answer *a, slice ok, slice failed) {
    pool_id id;
    struct pending *p = a->change_count > PENDING_BIDS_MAX ? NULL : pool_new(&c->pendings, &id);
    if (!p) return NULL;
    p->ok = mem_dup(ok.ptr, ok.len);
    p->failed = mem_dup(failed.ptr, failed.len);
    if (!p->ok || !p->failed || !ok.len || !failed.len) {
        mem_free(p->ok);
        mem_free(p->failed);
        pool_free(&c->pendings, id);
        return NULL;
    }
    p->id = id;
    p->flow = flow->id;
    p->ok_len = (uint32_t)ok.len;
    p->failed_len = (uint32_t)failed.len;
    p->waiting = (uint8_t)a->change_count;
    return p;
}

static void pending_finish(struct core *c, struct pending *p) {
    slice bytes =
        p->result == ERR_OK ? slice_of(p->ok, p->ok_len) : slice_of(p->failed, p->failed_len);
    struct buf out = core_out_begin(c, bytes.len);
    buf_put(&out, bytes);
    slice sent = core_out_end(c, &out);
    if (p->has_server && tx_server_respond(c->txs, p->server, p->result == ERR_OK ? 200 : 500, sent,
                                           c->now.mono) != ERR_OK)
        LOG(LOG_DEBUG, "register.late", LOG_F_U64("flow", p->flow));
    core_send(c, p->flow, sent, true, 0);
    if (p->result == ERR_OK)
        COUNT(c, registers_ok);
    else
        COUNT(c, registers_refused);
    mem_free(p->ok);
    mem_free(p->failed);
    pool_free(&c->pendings, p->id);
}

void pending_stored(struct core *c, uint64_t ticket, enum err result) {
    struct pending *p = pool_get(&c->pendings, owner_id(ticket));
    if (!p) return;
    if (result != ERR_OK) p->result = result;
    store_answered(c, result);
    if (--p->waiting) return;
    for (unsigned i = 0; i < p->bid_count; i++)
        registrar_committed(c->node->location, p->account_id, p->bids[i], p->numbers[i], p->result);
    pending_finish(c, p);
}

/* The longest registration of what was just accepted: so long the flow is not idle. */
static void register_keep_flow(struct core *c, struct flow *flow,
                               const struct registrar_answer *a) {
    for (unsigned i = 0; i < a->change_count; i++)
        if (a->changes[i].op != STORE_BINDING_REMOVE &&
            a->changes[i].binding.expires > flow->registered_until)
            flow->registered_until = a->changes[i].binding.expires;
    if (a->keeps_flow) flow_expect_pings(c, flow);
}

static void register_wait(struct core *c, struct flow *flow, const struct sip_msg *m,
                          uint32_t account_id, const struct registrar_answer *a, slice ok) {
    slice failed = core_answer_bytes(
        c, flow->id, m,
        &(struct answer){ .status = 500, /* RFC 3261 10.3 step 7: a failed commit is a 500 */
                          .warning = "The registration could not be stored; try again",
                          .lines = SLICE("Retry-After: 5\r\n") });
    struct pending *p = pending_new(c, flow, a, ok, failed);
    if (!p) {
        register_refuse(c, flow, m, 503, "Too many registrations are waiting");
        return;
    }
    p->account_id = account_id;
    core_trace(c, m, "committing", 0, NULL);
    if (!flow_is_reliable(&flow->info)) /* copies of it must not count as new requests */
        p->has_server =
            tx_server_open(c->txs, m, flow->id, false, 0, c->now.mono, &p->server) == ERR_OK;
    for (unsigned i = 0; i < a->change_count; i++) {
        p->numbers[p->bid_count] = a->changes[i].binding.change;
        p->bids[p->bid_count++] = a->changes[i].binding.bid;
        core_store(c, &a->changes[i], owner_of(p->id));
    }
}

static bool register_flow_lives(void *ctx, flow_id flow) {
    return node_flow_lives(ctx, flow);
}

/* RFC 3608 6.3: requests of this phone come back to where it is registered. */
static slice register_lines(struct core *c, const struct flow *flow, const struct sip_msg *m,
                            slice headers) {
    struct flow_face face;
    size_t room = headers.len + 512;
    char *mem = arena_alloc(&c->turn, room);
    if (!mem || !node_flow_face(c->node, flow->id, &face)) return headers;
    struct buf b = buf_over(mem, room);
    bool is_sips = m->uri.scheme == URI_SIPS;
    buf_put(&b, headers);
    buf_put(&b, is_sips ? SLICE("Service-Route: <sips:") : SLICE("Service-Route: <sip:"));
    put_host(c, &b, &face);
    if (!is_sips) buf_put(&b, slice_str(transport_param(face.transport)));
    buf_lit(&b, ";lr>\r\n");
    return b.full ? headers : buf_slice(&b);
}

void core_register(struct core *c, struct flow *flow, const struct sip_msg *m) {
    const struct node_config *config = node_settings(c->node);
    struct account account = { 0 };
    uint32_t device_id = 0;
    if (c->draining) {
        register_refuse(c, flow, m, 503, "The server is about to stop");
        return;
    }
    if (!register_account(c, flow, m, &account, &device_id)) return;
    c->is_proved = true;
    if (!core_guard_account(c, flow, m, account.id)) return;

    struct device device = { 0 };
    if (device_id && accounts_device(c->node->accounts, device_id, &device) != ERR_OK)
        device.until = 0;
    uint32_t longest_s = config->expires_max_s;
    if (!flow_is_reliable(&flow->info) && longest_s > LIMIT_EXPIRES_DATAGRAM_S)
        longest_s = LIMIT_EXPIRES_DATAGRAM_S;
    struct registrar_limits limits = { config->expires_min_s, longest_s, config->expires_default_s,
                                       config->contacts_max, store_is_out(c) };
    char aor_mem[ACCOUNT_USER_MAX * 3 + ACCOUNT_DOMAIN_MAX + 2];
    struct buf aor = buf_over(aor_mem, sizeof aor_mem);
    if (hdr_has_token(m, HDR_SUPPORTED, SLICE("gruu"))) core_put_aor(c, account.id, &aor);
    struct registrar_request req = { .msg = m,
                                     .account_id = account.id,
                                     .device_id = device_id,
                                     .flow = flow->id,
                                     .run = c->node->run,
                                     .secure = flow_is_secure(&flow->info),
                                     .until = device.until,
                                     .aor = aor.full ? SLICE_NONE : buf_slice(&aor),
                                     .gruu_key = c->node->keys.gruu,
                                     .is_flow_alive = register_flow_lives,
                                     .ctx = c->node };
    struct registrar_answer a = { 0 };
    if (registrar_register(c->node->location, &limits, &req, c->now.wall, &c->turn, &a) != ERR_OK) {
        register_refuse(c, flow, m, 503, "The server is short of memory");
        return;
    }
    if (a.status != 200) {
        COUNT(c, registers_refused);
        char mem[40];
        struct buf line = buf_over(mem, sizeof mem);
        if (a.status == 503) { /* phones shall not all come back at once */
            buf_fmt(&line, "Retry-After: %u\r\n", RETRY_S + (unsigned)(rng_u64(&c->rng) % RETRY_S));
            a.headers = buf_slice(&line);
        }
        core_answer(
            c, flow->id, m,
            &(struct answer){ .status = a.status, .warning = a.reason, .lines = a.headers });
        return;
    }
    register_keep_flow(c, flow, &a);
    wall_t until = c->now.wall + (wall_t)longest_s * 1000;
    if (device.until && device.until < until) until = device.until;
    struct answer ok = { .status = 200,
                         .lines = register_lines(c, flow, m, a.headers),
                         .json = register_ice(c, flow, m, account.id, device_id, until) };
    if (a.must_commit) {
        register_wait(c, flow, m, account.id, &a, core_answer_bytes(c, flow->id, m, &ok));
        return;
    }
    for (unsigned i = 0; i < a.change_count; i++) core_store(c, &a.changes[i], 0);
    COUNT(c, registers_ok);
    core_answer(c, flow->id, m, &ok);
}
