#include "core/core_priv.h"

#include "base/limits.h"
#include "base/log.h"

/* A flow that has proved who it is may carry a call, which may be silent for as long as its record
 * lives (architecture.md section 6). */
#define PROVEN_IDLE_MS (24 * 3600 * 1000LL)
#define DATAGRAM_IDLE_MS                                                                           \
    (10 * 60 * 1000) /* a peer silent for longer than any registration here                        \
                      */

struct flow *flow_get(const struct core *c, flow_id f) {
    if (flow_worker(f) != c->worker) return NULL;
    return pool_get(&c->flows, (pool_id){ flow_slot(f), flow_gen(f) });
}

static int64_t flow_idle_ms(const struct core *c, const struct flow *flow) {
    if (flow->keeps_alive) return (LIMIT_FLOW_TIMER_S + LIMIT_FLOW_GRACE_S) * INT64_C(1000);
    if (flow_is_reliable(&flow->info) && flow_is_proved(flow)) return PROVEN_IDLE_MS;
    return flow_is_reliable(&flow->info) ? (int64_t)node_settings(c->node)->flow_idle_s * 1000
                                         : DATAGRAM_IDLE_MS;
}

/* The timer is not moved for every message: it looks at `heard` when it fires. */
void flow_touch(struct core *c, struct flow *flow) {
    flow->heard = c->now.mono;
}

static uint64_t peer_hash(const struct core *c, const struct flow_info *info) {
    struct hash_key k = c->node->keys.table;
    k.k0 ^= siphash(&k, &info->local, sizeof info->local);
    return siphash(&k, &info->peer, sizeof info->peer);
}

void flow_prove(struct core *c, struct flow *flow) {
    struct device device;
    struct account account;
    if (!flow->info.has_device_key) return;
    bool is_web = flow->info.transport == FLOW_WSS;
    if (accounts_device_by_key(c->node->accounts, flow->info.device_key, &device) != ERR_OK ||
        device.kind != (is_web ? DEVICE_SESSION : DEVICE_CERTIFICATE) || device.revoked ||
        (device.until && c->now.wall >= device.until) ||
        accounts_by_id(c->node->accounts, device.account_id, &account) != ERR_OK ||
        (account.flags & ACCOUNT_DISABLED))
        return; /* a certificate that does not count is none (architecture.md section 5) */
    if (flow_add_identity(c, flow, &account, device.id) != ERR_OK)
        LOG(LOG_WARN, "flow.identity_lost", LOG_F_U64("flow", flow->id));
}

/* When to look at the flow again: when it has been silent for too long, or when the device that
 * proved it comes to its end. */
static mono_t flow_look_at(const struct core *c, const struct flow *flow) {
    mono_t at = flow->heard + flow_idle_ms(c, flow);
    if (at <= c->now.mono) at = c->now.mono + flow_idle_ms(c, flow);
    for (unsigned i = 0; i < flow->who.count; i++) {
        struct device device;
        uint32_t id = i == 0 ? flow->who.first.device_id : flow->who.more[i - 1].device_id;
        if (!id || accounts_device(c->node->accounts, id, &device) != ERR_OK || !device.until)
            continue;
        int64_t left = device.until - c->now.wall;
        at = mono_min(at, c->now.mono + (left > 0 ? left : 1));
    }
    return at;
}

enum err flow_add_identity(struct core *c, struct flow *flow, const struct account *account,
                           uint32_t device_id) {
    enum err err = identities_add(&flow->who, account, device_id);
    if (err == ERR_OK) timer_start(&c->timers, &flow->idle, flow_look_at(c, flow));
    return err;
}

enum err flow_make(struct core *c, const struct flow_info *info, slice asked, struct flow **out) {
    pool_id slot;
    struct flow *flow = pool_new(&c->flows, &slot);
    if (!flow) return ERR_FULL;
    flow->slot = slot;
    flow->id = flow_id_make(c->worker, slot.slot, slot.gen);
    flow->info = *info;
    flow->info.cert = NULL; /* borrowed for this call */
    flow->heard = c->now.mono;
    enum err err = node_flow_up(c->node, flow->id, info);
    if (err != ERR_OK) {
        pool_free(&c->flows, slot);
        return err;
    }
    peer_flow_open(c, flow, info->cert, asked);
    flow->idle.kind = TIMER_FLOW_IDLE;
    timer_start(&c->timers, &flow->idle, c->now.mono + flow_idle_ms(c, flow));
    flow_prove(c, flow);
    COUNT(c, flows);
    *out = flow;
    return ERR_OK;
}

bool core_may_connect(struct core *c, const struct addr *source, struct now now) {
    return guard_connection(c->node->guard, source, now.mono) == GUARD_OK;
}

enum err core_flow_open(struct core *c, const struct flow_info *info, struct now now,
                        flow_id *out) {
    struct flow *flow;
    core_begin(c, now);
    enum err err = flow_make(c, info, SLICE_NONE, &flow);
    if (err == ERR_OK) *out = flow->id;
    return err;
}

static struct flow *flow_by_peer(struct core *c, const struct flow_info *info, uint64_t hash) {
    struct map_iter it = map_find(&c->peers, hash);
    for (uint32_t slot; map_next(&c->peers, &it, &slot);) {
        pool_id id;
        struct flow *flow = pool_at(&c->flows, slot, &id);
        if (flow && addr_eq(&flow->info.peer, &info->peer) &&
            addr_eq(&flow->info.local, &info->local))
            return flow;
    }
    return NULL;
}

enum err core_flow_datagram(struct core *c, const struct flow_info *info, struct now now,
                            flow_id *out) {
    core_begin(c, now);
    uint64_t hash = peer_hash(c, info);
    struct flow *flow = flow_by_peer(c, info, hash);
    if (!flow) {
        enum err err = flow_make(c, info, SLICE_NONE, &flow);
        if (err != ERR_OK) return err;
        flow->peer_hash = hash;
        err = map_add(&c->peers, hash, flow->slot.slot);
        if (err != ERR_OK) {
            core_flow_closed(c, flow->id, now);
            return err;
        }
    }
    *out = flow->id;
    return ERR_OK;
}

const struct flow_info *core_flow_info(const struct core *c, flow_id f) {
    const struct flow *flow = flow_get(c, f);
    return flow ? &flow->info : NULL;
}

void core_flow_closed(struct core *c, flow_id f, struct now now) {
    core_begin(c, now);
    struct flow *flow = flow_get(c, f);
    if (!flow) return;
    uint64_t borrowers = flow->borrowers;
    node_flow_down(c->node, f);
    timer_stop(&c->timers, &flow->idle);
    if (!flow_is_reliable(&flow->info)) map_remove(&c->peers, flow->peer_hash, flow->slot.slot);
    peer_flow_closed(c, flow);
    identities_fini(&flow->who);
    pool_free(&c->flows, flow->slot);
    UNCOUNT(c, flows);
    tx_flow_gone(c->txs, f, now.mono);
    for (unsigned w = 0; borrowers; w++, borrowers >>= 1)
        if (borrowers & 1)
            core_mail(
                c, w,
                &(struct core_mail){ .kind = MAIL_FLOW_GONE, .must_arrive = true, .flow = f });
    core_pump(c);
}

void flow_expect_pings(struct core *c, struct flow *flow) {
    if (flow->keeps_alive) return;
    flow->keeps_alive = true;
    timer_start(&c->timers, &flow->idle, flow_look_at(c, flow));
}

void core_flow_heard(struct core *c, flow_id f, struct now now) {
    core_begin(c, now);
    struct flow *flow = flow_get(c, f);
    if (flow) flow_touch(c, flow);
}

void core_datagram_heard(struct core *c, const struct flow_info *info, struct now now) {
    core_begin(c, now);
    struct flow *flow = flow_by_peer(c, info, peer_hash(c, info));
    if (flow) flow_touch(c, flow);
}

/* A silent connection closes, unless somebody is registered over it. */
void flow_on_idle(struct core *c, struct flow *flow) {
    unsigned before = flow->who.count;
    if (identities_refresh(&flow->who, c->node->accounts, c->now.wall) == 0 && before) {
        core_close(c, flow->id, "its identity has ended");
        return;
    }
    mono_t due = flow->heard + flow_idle_ms(c, flow);
    bool is_needed = c->now.wall < flow->registered_until && !flow->keeps_alive;
    if (c->now.mono < due || (is_needed && flow_is_reliable(&flow->info))) {
        timer_start(&c->timers, &flow->idle, flow_look_at(c, flow));
        return;
    }
    if (flow_is_reliable(&flow->info))
        core_close(c, flow->id, "idle");
    else
        core_flow_closed(c, flow->id, c->now);
}

/* An account or device changed: flows that rested on it and have no other identity close. */
void flows_of_account(struct core *c, uint32_t account_id, uint32_t device_id) {
    uint32_t at = 0;
    pool_id id;
    for (struct flow *flow; (flow = pool_each(&c->flows, &at, &id));) {
        bool is_hit = false;
        for (unsigned i = 0; i < flow->who.count; i++) {
            const struct flow_identity *who = i == 0 ? &flow->who.first : &flow->who.more[i - 1];
            if (account_id ? who->account_id == account_id : who->device_id == device_id)
                is_hit = true;
        }
        if (!is_hit) continue;
        identities_refresh(&flow->who, c->node->accounts, c->now.wall);
        if (flow->who.count == 0) core_close(c, flow->id, "account or device changed");
    }
}
