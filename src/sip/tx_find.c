#include "sip/tx_inner.h"

static struct tx *tx_in_slot(const struct tx_table *t, uint32_t slot) {
    tx_id id;
    struct tx *tx = pool_each(&t->pool, &slot, &id);
    ASSERT(tx && id.slot + 1 == slot);
    return tx;
}

/* ---- which transactions are on a flow ---- */

/* Flow ids are made by us, so no key is needed; the constant is 2^64 divided by the golden ratio.
 */
static uint64_t flow_hash(uint64_t flow) {
    uint64_t h = (flow ^ flow >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

struct tx *tx_flow_head(const struct tx_table *t, uint64_t flow) {
    struct map_iter it = map_find(&t->map, flow_hash(flow));
    for (uint32_t slot; map_next(&t->map, &it, &slot);) {
        struct tx *tx = tx_in_slot(t, slot);
        if (tx->is_flow_head && tx->flow == flow) return tx;
    }
    return NULL;
}

enum err tx_flow_join(struct tx_table *t, struct tx *tx, uint64_t flow) {
    struct tx *head = tx_flow_head(t, flow);
    if (head) {
        list_push(&head->flow_ring, &tx->flow_ring);
    } else {
        enum err err = map_add(&t->map, flow_hash(flow), tx->id.slot);
        if (err) return err;
        tx->is_flow_head = true;
    }
    tx->flow = flow;
    return ERR_OK;
}

void tx_flow_leave(struct tx_table *t, struct tx *tx) {
    if (tx->is_flow_head) {
        bool was = map_remove(&t->map, flow_hash(tx->flow), tx->id.slot);
        ASSERT(was);
        tx->is_flow_head = false;
        if (!list_empty(&tx->flow_ring)) {
            struct tx *next = LIST_ITEM(tx->flow_ring.next, struct tx, flow_ring);
            enum err err = map_add(&t->map, flow_hash(tx->flow), next->id.slot);
            ASSERT(err == ERR_OK); /* the entry just taken out left room */
            next->is_flow_head = true;
        }
    }
    list_remove(&tx->flow_ring);
}

/* ---- matching requests: RFC 3261 17.2.3 ---- */

/* A second, independent key from the first. */
static struct hash_key check_key(const struct hash_key *key) {
    return (struct hash_key){ key->k0 ^ UINT64_C(0x6b6974682d747831), ~key->k1 };
}

uint64_t tx_text_hash(const struct hash_key *key, slice s) {
    return siphash_fold(key, s);
}

static bool has_3261_branch(const struct sip_msg *req) {
    /* A branch that is nothing but the cookie names nothing (RFC 4475 3.2.1 lets us fall back).
     */
    return req->via.branch.len > 7 && slice_istarts(req->via.branch, SLICE("z9hG4bK"));
}

struct tx_match_key tx_match_key_of(const struct hash_key *key, const struct sip_msg *req) {
    const struct sip_via *via = &req->via;
    struct hash_key second = check_key(key);
    struct tx_match_key m = { .is_2543 = !has_3261_branch(req) };
    if (!m.is_2543) {
        m.hash = tx_text_hash(key, via->branch);
    } else {
        /* 17.2.3, elements of RFC 2543: Request-URI, From tag, Call-ID, CSeq number and the top
         * Via; To tags are compared apart, because the ACK carries that of the response. */
        uint64_t parts[] = {
            siphash_slice(&second, req->uri_text), siphash_slice(&second, req->call_id),
            tx_text_hash(&second, req->from.tag),  tx_text_hash(&second, via->branch),
            tx_text_hash(&second, via->transport), req->cseq
        };
        m.hash = siphash(key, parts, sizeof(parts));
    }
    m.check = tx_text_hash(&second, via->host) + via->port;
    /* The map keeps one hash: both go in, so that a thousand phones with one poor branch maker do
     * not share a chain. 0 means "not in the map". */
    m.hash ^= m.check * UINT64_C(0x9e3779b97f4a7c15);
    if (m.hash == 0) m.hash = 1;
    return m;
}

uint64_t tx_request_hash(const struct hash_key *key, const struct sip_msg *req) {
    return tx_match_key_of(key, req).hash;
}

uint64_t tx_method_of(const struct tx_table *t, const struct sip_msg *req) {
    if (req->method != SIP_OTHER) return req->method;
    return siphash_slice(&t->key, req->method_name) | UINT64_C(1) << 63;
}

static bool matches(const struct tx_table *t, const struct tx *tx, const struct tx_match_key *m,
                    const struct sip_msg *req, uint64_t method) {
    if (tx->hash != m->hash || tx->check != m->check || tx->is_2543 != m->is_2543) return false;
    if (method == SIP_ACK) {
        if (tx->kind != TX_INVITE_SERVER) return false;
        /* 17.2.3: the To tag of an old ACK must be that of our response. Accepted: several 2xx
         * may have gone out, each with a tag of its own. */
        return !m->is_2543 || tx->state == TX_ACCEPTED ||
               tx->reply_tag == tx_text_hash(&t->key, req->to.tag);
    }
    if (m->is_2543 && tx->to_tag != tx_text_hash(&t->key, req->to.tag)) return false;
    if (method == SIP_CANCEL && tx->method != SIP_CANCEL) return true;
    return tx->method == method;
}

/* A CANCEL matches its own retransmission before the request that it cancels. */
struct tx *tx_find_server(const struct tx_table *t, const struct sip_msg *req) {
    struct tx_match_key m = tx_match_key_of(&t->key, req);
    uint64_t method = tx_method_of(t, req);
    struct tx *found = NULL;
    struct map_iter it = map_find(&t->map, m.hash);
    for (uint32_t slot; map_next(&t->map, &it, &slot);) {
        struct tx *tx = tx_in_slot(t, slot);
        if (!matches(t, tx, &m, req, method)) continue;
        if (tx->method == method || method == SIP_ACK) return tx;
        if (!found || tx->kind == TX_INVITE_SERVER) found = tx;
    }
    return found;
}
