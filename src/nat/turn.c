/* The relay: allocations, the path of a packet, and when things end. */
#include "nat/turn_priv.h"

#include "base/be.h"
#include "base/buf.h"
#include "base/mem.h"

/* ---- life ---- */

struct turn *turn_new(const struct turn_config *config, struct now now) {
    struct turn *t = mem_zalloc(sizeof *t);
    if (!t) return NULL;
    t->config = *config;
    pool_init(&t->allocations, sizeof(struct allocation), config->allocations_max);
    pool_init(&t->links, sizeof(struct turn_link), TURN_LINKS_ALL);
    list_init(&t->due_links);
    map_init(&t->by_tuple, config->allocations_max);
    timers_init(&t->timers, now.mono);
    uint8_t mac[CRYPTO_MAC_BYTES];
    crypto_mac(config->key, "turn table", sizeof "turn table", mac);
    memcpy(&t->hash, mac, sizeof t->hash);
    t->closed = mem_array((size_t)config->allocations_max + 1, sizeof *t->closed);
    t->strangers = strangers_new(&t->hash);
    if (t->closed && t->strangers) return t;
    turn_free(t);
    return NULL;
}

static void allocation_free(struct turn *t, struct allocation *a) {
    if (a->permissions != a->first_permissions) mem_free(a->permissions);
    if (a->channels != a->first_channels) mem_free(a->channels);
    crypto_wipe(a->key, sizeof a->key);
    pool_free(&t->allocations, a->id);
}

void turn_free(struct turn *t) {
    if (!t) return;
    struct allocation *a;
    pool_id id;
    for (uint32_t slot = 0; (a = pool_each(&t->allocations, &slot, &id));) {
        timer_stop(&t->timers, &a->expiry);
        allocation_free(t, a);
    }
    pool_fini(&t->allocations);
    pool_fini(&t->links);
    map_fini(&t->by_tuple);
    mem_free(t->closed);
    strangers_free(t->strangers);
    mem_free(t);
}

/* One hash a packet, so the tuple is brought into one block of plain bytes. A stream's number says
 * all there is to say of it. */
uint64_t turn_tuple_hash(const struct turn *t, const struct turn_tuple *tuple) {
    if (tuple->stream) return siphash(&t->hash, &tuple->stream, sizeof tuple->stream);
    uint8_t text[2 * 18];
    memcpy(text, tuple->peer.ip, 16);
    memcpy(text + 16, &tuple->peer.port, 2);
    memcpy(text + 18, tuple->local.ip, 16);
    memcpy(text + 34, &tuple->local.port, 2);
    return siphash(&t->hash, text, sizeof text);
}

static bool same_tuple(const struct turn_tuple *a, const struct turn_tuple *b) {
    if (a->stream || b->stream) return a->stream == b->stream;
    return addr_eq(&a->peer, &b->peer) && addr_eq(&a->local, &b->local);
}

struct allocation *turn_by_tuple(struct turn *t, const struct turn_tuple *tuple) {
    struct map_iter it = map_find(&t->by_tuple, turn_tuple_hash(t, tuple));
    for (uint32_t slot; map_next(&t->by_tuple, &it, &slot);) {
        pool_id id;
        struct allocation *a = pool_at(&t->allocations, slot, &id);
        if (a && same_tuple(&a->tuple, tuple)) return a;
    }
    return NULL;
}

/* Its sockets are closed by who made them: turn_next_closed(). */
void allocation_end(struct turn *t, struct allocation *a) {
    links_end(t, a);
    timer_stop(&t->timers, &a->expiry);
    map_remove(&t->by_tuple, a->hash, a->id.slot);
    if (a->is_open) t->closed[t->closed_count++] = a->id;
    ASSERT(t->closed_count <= t->config.allocations_max);
    atomic_fetch_sub_explicit(&t->counters.allocations, 1, memory_order_relaxed);
    allocation_free(t, a);
}

bool turn_next_closed(struct turn *t, pool_id *out) {
    if (t->closed_next == t->closed_count) {
        t->closed_next = t->closed_count = 0;
        return false;
    }
    *out = t->closed[t->closed_next++];
    return true;
}

void turn_stream_closed(struct turn *t, uint64_t stream) {
    struct allocation *a = turn_by_tuple(t, &(struct turn_tuple){ .stream = stream });
    if (a) allocation_end(t, a);
}

bool turn_has(struct turn *t, uint64_t stream) {
    return turn_by_tuple(t, &(struct turn_tuple){ .stream = stream }) != NULL;
}

void turn_account_gone(struct turn *t, uint32_t account_id) {
    struct allocation *a;
    pool_id id;
    for (uint32_t slot = 0; (a = pool_each(&t->allocations, &slot, &id));)
        if (a->account_id == account_id) allocation_end(t, a);
}

void turn_device_gone(struct turn *t, uint32_t device_id) {
    struct allocation *a;
    pool_id id;
    for (uint32_t slot = 0; (a = pool_each(&t->allocations, &slot, &id));)
        if (device_id && a->device_id == device_id) allocation_end(t, a);
}

void turn_run_timers(struct turn *t, struct now now) {
    timers_advance(&t->timers, now.mono);
    for (struct timer *due; (due = timers_next(&t->timers));)
        if (due->kind == TIMER_LINK)
            link_due(t, LIST_ITEM(due, struct turn_link, wait));
        else
            allocation_end(t, LIST_ITEM(due, struct allocation, expiry));
}

mono_t turn_wake_at(const struct turn *t) {
    return timers_wake_at(&t->timers);
}

/* ---- who may be reached ---- */

/* Is that the IP address of our own relay? Then the port decides, packet by packet. */
static bool is_relay_ip(const struct turn *t, const struct addr *a) {
    return t->config.ports && addr_ip_eq(a, ports_relay(t->config.ports, a->family));
}

/* RFC 8656 21.2.1 and what went wrong with others: judged as what the packets would reach. */
bool turn_reachable(struct turn *t, const struct addr *peer) {
    const struct turn_config *c = &t->config;
    struct addr real = address_canonical(peer, c->nat64, c->nat64_count);
    if (address_in_any(&real, c->allowed, c->allowed_count) || is_relay_ip(t, peer)) return true;
    bool ok = address_scope(&real) == SCOPE_PUBLIC;
    for (unsigned i = 0; i < c->own_count && ok; i++) {
        struct addr own = address_canonical(&c->own[i], c->nat64, c->nat64_count);
        ok = !addr_ip_eq(&real, &own);
    }
    if (!ok) COUNT(t, forbidden_peers, 1);
    return ok;
}

/* What a permission for our own relay's address does not give: its other ports. */
bool turn_port_is_open(const struct turn *t, const struct addr *peer) {
    struct port_owner owner;
    if (peer->port == 0) return false;
    return !is_relay_ip(t, peer) || ports_owner(t->config.ports, peer, &owner) ||
           address_in_any(peer, t->config.allowed, t->config.allowed_count);
}

struct permission *allocation_permission(struct allocation *a, const struct addr *peer) {
    for (unsigned i = 0; i < a->permission_count; i++) {
        struct permission *p = &a->permissions[i];
        if (p->family == peer->family && memcmp(p->ip, peer->ip, sizeof p->ip) == 0) return p;
    }
    return NULL;
}

struct channel *allocation_channel(struct allocation *a, unsigned number) {
    for (unsigned i = 0; i < a->channel_count; i++)
        if (a->channels[i].number == number) return &a->channels[i];
    return NULL;
}

struct channel *allocation_channel_to(struct allocation *a, const struct addr *peer) {
    for (unsigned i = 0; i < a->channel_count; i++) {
        const struct addr *to = &a->channels[i].peer;
        if (to->port == peer->port && to->family == peer->family &&
            memcmp(to->ip, peer->ip, sizeof to->ip) == 0)
            return &a->channels[i];
    }
    return NULL;
}

bool turn_permits(struct allocation *a, const struct addr *peer, mono_t now) {
    const struct permission *p = allocation_permission(a, peer);
    return p && p->until > now;
}

/* ---- a packet ---- */

/* A bucket that holds one second's worth. */
void turn_refill(const struct turn *t, struct allocation *a, mono_t now) {
    int64_t rate = t->config.bytes_per_s, ms = now - a->rate_at;
    if (now == a->rate_at) return;
    a->rate_left += (ms < 1000 ? ms : 1000) * rate / 1000;
    if (a->rate_left > rate) a->rate_left = rate;
    a->rate_at = now;
}

static bool spend(const struct turn *t, struct allocation *a, size_t len, mono_t now) {
    if (!t->config.bytes_per_s) return true;
    turn_refill(t, a, now);
    if (a->rate_left < (int64_t)len) return false;
    a->rate_left -= (int64_t)len;
    return true;
}

static void to_peer(struct turn *t, struct allocation *a, const struct addr *peer, slice data,
                    mono_t now, struct turn_out *out) {
    if (a->is_tcp || data.len > TURN_PAYLOAD_MAX || !turn_permits(a, peer, now) ||
        !turn_port_is_open(t, peer) || !spend(t, a, data.len, now)) {
        COUNT(t, dropped, 1);
        return;
    }
    a->bytes_up += data.len;
    a->packets_up++;
    COUNT(t, bytes_up, data.len);
    COUNT(t, packets_up, 1);
    out->what = TURN_TO_PEER;
    out->allocation = a->id;
    out->peer = *peer;
    out->bytes = data;
}

/* RFC 8656 12.6. */
static void channel_data(struct turn *t, struct allocation *a, slice bytes, mono_t now,
                         struct turn_out *out) {
    size_t len = be16_get(bytes.ptr + 2);
    const struct channel *channel = allocation_channel(a, be16_get(bytes.ptr));
    if (!channel || channel->until <= now || len > bytes.len - 4) {
        COUNT(t, dropped, 1);
        return;
    }
    to_peer(t, a, &channel->peer, slice_of(bytes.ptr + 4, len), now, out);
}

/* RFC 8656 11.2; an attribute that we must understand and do not drops it. */
static void send_indication(struct turn *t, struct allocation *a, const struct stun_msg *m,
                            mono_t now, struct turn_out *out) {
    static const uint16_t known[] = { TURN_XOR_PEER_ADDRESS, TURN_DATA_ATTR, TURN_DONT_FRAGMENT };
    struct addr peer;
    uint16_t unknown;
    slice data, none;
    out->dont_fragment = stun_find(m, TURN_DONT_FRAGMENT, &none);
    if (stun_find_addr(m, TURN_XOR_PEER_ADDRESS, &peer) == ERR_OK &&
        stun_find(m, TURN_DATA_ATTR, &data) &&
        !stun_unknown(m, known, ARRAY_LEN(known), &unknown, 1) && turn_reachable(t, &peer))
        to_peer(t, a, &peer, data, now, out);
    else
        COUNT(t, dropped, 1);
}

void turn_from_client(struct turn *t, const struct turn_tuple *from, slice bytes, struct now now,
                      struct turn_out *out) {
    struct stun_msg m;
    *out = (struct turn_out){ .what = TURN_NOTHING, .tuple = from };
    if (bytes.len < 4) return;
    bool is_channel = ((uint8_t)bytes.ptr[0] & 0xc0) == 0x40;
    if (is_channel) {
        struct allocation *a = turn_by_tuple(t, from);
        if (a && a->is_open) channel_data(t, a, bytes, now.mono, out);
        return;
    }
    if (stun_read(bytes, &m) != ERR_OK) return;
    if (m.class == STUN_INDICATION && m.method == TURN_SEND) {
        struct allocation *a = turn_by_tuple(t, from);
        if (a && a->is_open) send_indication(t, a, &m, now.mono, out);
    } else if (m.class == STUN_REQUEST) {
        turn_request(t, from, &m, now, out);
    }
}

/* The head ends where the room does: a payload that stands behind the room leaves in one piece. */
static void put_channel_head(struct turn_out *out, const struct allocation *a, unsigned number,
                             char *room) {
    char *head = room + TURN_HEADROOM - 4;
    be16_put(head, number);
    be16_put(head + 2, (unsigned)out->bytes.len);
    out->head = slice_of(head, 4);
    if (a->tuple.stream) /* RFC 8656 12.5: on a stream each message ends on four bytes */
        out->pad = (uint8_t)(-out->bytes.len & 3);
}

/* RFC 8656 11.3: the head is made apart; the data is not copied. */
static void put_data_head(struct turn *t, struct turn_out *out, const struct addr *peer,
                          char *room) {
    static const uint8_t any_id[STUN_ID_BYTES] = { 0 };
    struct stun_writer w = stun_begin(t->out, sizeof t->out, TURN_DATA, STUN_INDICATION, any_id);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, peer);
    slice head = stun_end(&w);
    out->pad = (uint8_t)(-out->bytes.len & 3);
    char *data_head = room + TURN_HEADROOM - 4, *start = data_head - head.len;
    memcpy(start, head.ptr, head.len);
    be16_put(start + 2, (unsigned)(head.len + 4 + out->bytes.len + out->pad - STUN_HEAD_BYTES));
    be16_put(data_head, TURN_DATA_ATTR);
    be16_put(data_head + 2, (unsigned)out->bytes.len);
    out->head = slice_of(start, head.len + 4);
}

void turn_from_peer(struct turn *t, pool_id allocation, const struct addr *peer, slice payload,
                    char room[static TURN_HEADROOM], struct now now, struct turn_out *out) {
    *out = (struct turn_out){ .what = TURN_NOTHING, .allocation = allocation };
    struct allocation *a = pool_get(&t->allocations, allocation);
    if (!a) return;
    if (a->is_tcp || payload.len > TURN_PAYLOAD_MAX || !turn_permits(a, peer, now.mono) ||
        !spend(t, a, payload.len, now.mono)) {
        COUNT(t, dropped, 1);
        return;
    }
    a->bytes_down += payload.len;
    a->packets_down++;
    COUNT(t, bytes_down, payload.len);
    COUNT(t, packets_down, 1);
    out->what = TURN_TO_CLIENT;
    out->tuple = &a->tuple;
    out->bytes = payload;
    const struct channel *channel = allocation_channel_to(a, peer);
    if (channel && channel->until > now.mono)
        put_channel_head(out, a, channel->number, room);
    else
        put_data_head(t, out, peer, room);
}

void turn_from_network(struct turn *t, pool_id allocation, const struct turn_icmp *icmp,
                       struct now now, struct turn_out *out) {
    static const uint8_t any_id[STUN_ID_BYTES] = { 0 };
    *out = (struct turn_out){ .what = TURN_NOTHING, .allocation = allocation };
    struct allocation *a = pool_get(&t->allocations, allocation);
    bool is_v6 = icmp->peer.family == ADDR_V6;
    bool is_known =
        is_v6 ? icmp->type >= 1 && icmp->type <= 3 : icmp->type == 3 || icmp->type == 11;
    if (!a || !is_known || !turn_permits(a, &icmp->peer, now.mono)) return;
    bool has_mtu = is_v6 ? icmp->type == 2 : icmp->type == 3 && icmp->code == 4;
    struct stun_writer w = stun_begin(t->out, sizeof t->out, TURN_DATA, STUN_INDICATION, any_id);
    char value[8] = { 0 };
    /* RFC 8656 18.13, figure 11: seven bits of type, nine of code */
    be16_put(value + 2, (unsigned)icmp->type << 9 | icmp->code);
    be32_put(value + 4, has_mtu ? icmp->mtu : 0);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &icmp->peer);
    stun_put(&w, TURN_ICMP, slice_of(value, sizeof value));
    out->bytes = stun_end(&w);
    out->what = TURN_TO_CLIENT;
    out->tuple = &a->tuple;
    COUNT(t, icmp, 1);
}

/* RFC 8656 12.5, 3.1: on a stream a ChannelData is padded to four bytes, a STUN message always is.
 */
size_t turn_frame(slice bytes) {
    if (bytes.len < 4) return 0;
    unsigned first = (uint8_t)bytes.ptr[0];
    if ((first & 0xc0) == 0x40) {
        size_t whole = 4 + (((size_t)be16_get(bytes.ptr + 2) + 3) & ~(size_t)3);
        return whole > STUN_BYTES_MAX ? SIZE_MAX : whole;
    }
    if (first & 0xc0) return SIZE_MAX;
    if (bytes.len < 8) return 0;
    size_t whole = stun_length(bytes);
    return stun_is(bytes) && whole <= STUN_BYTES_MAX ? whole : SIZE_MAX;
}

/* ---- what the operator sees ---- */

const struct turn_counters *turn_counters(const struct turn *t) {
    return &t->counters;
}

bool turn_each(struct turn *t, uint32_t *slot, struct now now, struct turn_use *out) {
    pool_id id;
    const struct allocation *a = pool_each(&t->allocations, slot, &id);
    if (!a) return false;
    *out = (struct turn_use){ .account_id = a->account_id,
                              .tuple = a->tuple,
                              .relayed = { a->relayed[0], a->relayed[1] },
                              .bytes_up = a->bytes_up,
                              .bytes_down = a->bytes_down,
                              .packets_up = a->packets_up,
                              .packets_down = a->packets_down,
                              .until = now.wall + (a->expiry.at - now.mono),
                              .permissions = a->permission_count,
                              .channels = a->channel_count,
                              .is_tcp = a->is_tcp };
    return true;
}
