/* TCP allocations (RFC 6062): connections to peers, until a connection of the client joins them.
 *
 *   Connect -> CONNECTING -> PENDING -> JOINED -> gone
 *   a peer  ----------------->  |          |
 *              (late)           +----------+-> ENDING: the caller closes it -> gone            */
#include "nat/turn_priv.h"

/* CONNECTION-ID: the worker, the slot, and so much of its generation that an old one finds nothing.
 */
#define ID_SLOT_BITS 12u
#define ID_GEN_MASK  0xfffu
_Static_assert(TURN_LINKS_ALL <= 1u << ID_SLOT_BITS, "a slot has its place in the id");

static uint32_t id_of(const struct turn *t, const struct turn_link *l) {
    return (uint32_t)t->config.worker << 24 | l->id.slot << ID_SLOT_BITS |
           (l->id.gen & ID_GEN_MASK);
}

static struct turn_link *link_by_id(struct turn *t, uint32_t connection) {
    pool_id id;
    uint32_t slot = connection >> ID_SLOT_BITS & ID_GEN_MASK;
    struct turn_link *l = pool_at(&t->links, slot, &id);
    return l && id_of(t, l) == connection ? l : NULL;
}

static void link_free(struct turn *t, struct turn_link *l) {
    struct allocation *a = pool_get(&t->allocations, l->allocation);
    timer_stop(&t->timers, &l->wait);
    if (list_linked(&l->of)) list_remove(&l->of);
    if (list_linked(&l->due)) list_remove(&l->due);
    if (a && a->link_count) a->link_count--;
    COUNT(t, links, -1);
    pool_free(&t->links, l->id);
}

static struct turn_link *link_new(struct turn *t, struct allocation *a, const struct addr *peer,
                                  enum link_state state, struct now now) {
    pool_id id;
    struct turn_link *l = a->link_count < TURN_LINKS_MAX ? pool_new(&t->links, &id) : NULL;
    if (!l) return NULL;
    l->id = id;
    l->allocation = a->id;
    l->peer = *peer;
    l->state = (uint8_t)state;
    l->wait.kind = TIMER_LINK;
    list_init(&l->due);
    list_push(&a->links, &l->of);
    a->link_count++;
    timer_start(&t->timers, &l->wait, now.mono + TURN_LINK_WAIT_MS);
    COUNT(t, links, 1);
    return l;
}

void link_due(struct turn *t, struct turn_link *l) {
    if (!list_linked(&l->due)) list_push(&t->due_links, &l->due);
}

void links_end(struct turn *t, struct allocation *a) {
    for (struct list *at; (at = list_pop(&a->links));) {
        struct turn_link *l = LIST_ITEM(at, struct turn_link, of);
        l->state = LINK_ENDING;
        timer_stop(&t->timers, &l->wait);
        link_due(t, l);
    }
    a->link_count = 0;
}

bool turn_next_link(struct turn *t, pool_id *out_link, bool *is_late) {
    struct list *at = list_pop(&t->due_links);
    if (!at) return false;
    struct turn_link *l = LIST_ITEM(at, struct turn_link, due);
    *out_link = l->id;
    *is_late = l->state == LINK_CONNECTING;
    return true;
}

void turn_link_gone(struct turn *t, pool_id link) {
    struct turn_link *l = pool_get(&t->links, link);
    if (l) link_free(t, l);
}

/* RFC 6062 5.2. */
unsigned link_connect(struct turn *t, struct allocation *a, const struct stun_msg *m,
                      bool is_sha256, struct now now, struct turn_out *out) {
    struct addr peer;
    if (!a->is_tcp) return 403;
    if (stun_find_addr(m, TURN_XOR_PEER_ADDRESS, &peer) != ERR_OK || !peer.port) return 400;
    if (!a->relayed[peer.family == ADDR_V6].family) return 443;
    for (struct list *at = a->links.next; at != &a->links; at = at->next)
        if (addr_eq(&LIST_ITEM(at, struct turn_link, of)->peer, &peer)) return 446;
    if (!turn_reachable(t, &peer) || !turn_port_is_open(t, &peer)) return 403;
    struct turn_link *l = link_new(t, a, &peer, LINK_CONNECTING, now);
    if (!l) return 508;
    l->is_sha256 = is_sha256;
    memcpy(l->request, m->id, sizeof l->request);
    out->what = TURN_DIAL;
    out->allocation = a->id;
    out->peer = peer;
    out->link = l->id;
    return 0;
}

void turn_link_connected(struct turn *t, pool_id link, bool ok, struct now now,
                         struct turn_out *out) {
    *out = (struct turn_out){ .what = TURN_NOTHING };
    struct turn_link *l = pool_get(&t->links, link);
    struct allocation *a = l ? pool_get(&t->allocations, l->allocation) : NULL;
    if (!l || !a || l->state != LINK_CONNECTING) return;
    struct turn_reply r = { TURN_CONNECT, l->request, slice_of(a->key, a->key_len), l->is_sha256 };
    uint32_t connection = id_of(t, l);
    turn_answer(t, &r, ok ? 0 : 447, ok ? &connection : NULL, out);
    out->tuple = &a->tuple;
    out->allocation = a->id;
    if (ok) {
        l->state = LINK_PENDING;
        timer_start(&t->timers, &l->wait, now.mono + TURN_LINK_WAIT_MS);
    } else {
        link_free(t, l);
    }
}

/* RFC 6062 5.3. */
enum err turn_link_arrived(struct turn *t, pool_id allocation, const struct addr *peer,
                           struct now now, struct turn_out *out, pool_id *out_link) {
    static const uint8_t any_id[STUN_ID_BYTES] = { 0 };
    *out = (struct turn_out){ .what = TURN_NOTHING, .allocation = allocation };
    struct allocation *a = pool_get(&t->allocations, allocation);
    if (!a || !a->is_tcp || !turn_permits(a, peer, now.mono)) {
        COUNT(t, dropped, 1);
        return ERR_DENIED;
    }
    struct turn_link *l = link_new(t, a, peer, LINK_PENDING, now);
    if (!l) return ERR_FULL;
    struct stun_writer w =
        stun_begin(t->out, sizeof t->out, TURN_CONNECTION_ATTEMPT, STUN_INDICATION, any_id);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, peer);
    stun_put_u32(&w, TURN_CONNECTION_ID, id_of(t, l));
    out->bytes = stun_end(&w);
    out->what = TURN_TO_CLIENT;
    out->tuple = &a->tuple;
    *out_link = l->id;
    return ERR_OK;
}

/* RFC 6062 5.4. A link that exists but is another's is not told from one that does not. */
enum err turn_join(struct turn *t, const struct turn_join *join, struct now now,
                   struct turn_out *out, pool_id *out_link) {
    *out = (struct turn_out){ .what = TURN_NOTHING };
    struct turn_link *l = link_by_id(t, join->connection);
    const struct allocation *a = l ? pool_get(&t->allocations, l->allocation) : NULL;
    bool ok = a && l->state == LINK_PENDING && a->account_id == join->account_id &&
              !list_linked(&l->due) && l->wait.at > now.mono;
    struct turn_reply r = { TURN_CONNECTION_BIND, join->id, slice_of(join->key, join->key_len),
                            join->is_sha256 };
    turn_answer(t, &r, ok ? 0 : 400, ok ? &join->connection : NULL, out);
    if (!ok) return ERR_BAD;
    l->state = LINK_JOINED;
    timer_stop(&t->timers, &l->wait);
    *out_link = l->id;
    return ERR_OK;
}

/* Bytes of a stream are not dropped: what is too much is owed, and waited for. */
int64_t turn_link_spend(struct turn *t, pool_id link, size_t bytes, bool is_up, struct now now) {
    struct turn_link *l = pool_get(&t->links, link);
    struct allocation *a = l ? pool_get(&t->allocations, l->allocation) : NULL;
    if (!a) return 0;
    *(is_up ? &a->bytes_up : &a->bytes_down) += bytes;
    if (is_up)
        COUNT(t, bytes_up, bytes);
    else
        COUNT(t, bytes_down, bytes);
    int64_t rate = t->config.bytes_per_s;
    if (!rate) return 0;
    turn_refill(t, a, now.mono);
    a->rate_left -= (int64_t)bytes;
    return a->rate_left >= 0 ? 0 : -a->rate_left * 1000 / rate + 1;
}
