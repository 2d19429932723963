/* What is refused when there is more to do than time: guard/overload.h decides, this asks. */
#include "core/core_priv.h"

#include "base/log.h"

#define RETRY_SPREAD_S 10u
#define LOUD_PERCENT   70u

void core_waited(struct core *c, uint32_t ms) {
    c->waited_ms = ms;
}

bool core_flow_in_call(const struct core *c, flow_id f) {
    return node_flow_calls(c->node, f) != 0;
}

void core_measure(struct core *c, const struct overload_measure *m, struct now now) {
    overload_measure(&c->load, m, now);
    uint32_t percent = (uint32_t)((uint64_t)c->load.accept * 100 / OVERLOAD_ONE);
    atomic_store_explicit(&c->counters.taken_percent, percent, memory_order_relaxed);
    /* A moment's queue is no news. */
    bool is_over = c->is_overload_told ? percent < 100 : percent < LOUD_PERCENT;
    if (is_over == c->is_overload_told) return;
    c->is_overload_told = is_over;
    LOG(is_over ? LOG_WARN : LOG_INFO, is_over ? "overload.begins" : "overload.ends",
        LOG_F_U64("worker", c->worker), LOG_F_U64("came", m->arrived), LOG_F_U64("read", m->served),
        LOG_F_U64("shed", c->load.shed));
}

enum overload_algorithm core_oc(const struct sip_msg *m) {
    slice list = SLICE_NONE;
    if (!m->via.has_oc) return OVERLOAD_NONE;
    struct hdr_params it = hdr_params_of(m->via.params);
    for (struct hdr_param p; hdr_params_next(&it, &p);)
        if (slice_ieq(p.name, SLICE("oc-algo"))) list = p.value;
    return overload_algorithm(list);
}

/* RFC 7200 5.3.2: what belongs to something that is up is never shed, nor is a subscription to the
 * load-control package itself. */
static enum overload_class class_of(const struct sip_msg *m) {
    if (m->method == SIP_ACK || m->method == SIP_CANCEL || m->to.tag.len) return OVERLOAD_KEEP;
    if (m->method == SIP_REGISTER) return OVERLOAD_REFRESH;
    if (m->method == SIP_SUBSCRIBE && slice_istarts(sip_value(m, HDR_EVENT), SLICE("load-control")))
        return OVERLOAD_KEEP;
    return OVERLOAD_NEW;
}

bool core_sheds(struct core *c, struct flow *flow, const struct sip_msg *m) {
    struct overload_ask ask = { .kind = class_of(m),
                                .takes_part = core_oc(m),
                                .has_waited = flow_is_reliable(&flow->info) &&
                                              !node_flow_calls(c->node, flow->id),
                                .waited_ms = c->waited_ms };
    if (ask.takes_part == OVERLOAD_RATE) overload_heard(&c->load, &flow->oc_seen);
    if (overload_is_active(&c->load)) ask.random = (uint32_t)rng_u64(&c->rng);
    if (overload_admit(&c->load, &ask)) return false;
    COUNT(c, shed);
    if (ask.kind == OVERLOAD_NEW) {
        /* RFC 7339 5.10.2: without Retry-After, which would keep the client from sending what
         * belongs to its other calls too. */
        core_refuse(c, flow, m, 503, NULL);
        return true;
    }
    char mem[40];
    struct buf line = buf_over(mem, sizeof mem);
    buf_fmt(&line, "Retry-After: %u\r\n", 5 + (ask.random >> 16) % RETRY_SPREAD_S);
    core_answer(c, flow->id, m, &(struct answer){ .status = 503, .lines = buf_slice(&line) });
    return true;
}
