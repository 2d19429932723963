/* Requests of clients: Allocate, Refresh, CreatePermission, ChannelBind (RFC 8656 7 to 12). */
#include "nat/turn_priv.h"

#include "base/mem.h"

#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define OPEN_WAIT_MS 5000 /* whoever makes the sockets takes this long at most */

/* ---- answers ---- */

static slice reason(unsigned status) {
    switch (status) {
    case 400:
        return SLICE("Bad Request");
    case 403:
        return SLICE("Forbidden");
    case 420:
        return SLICE("Unknown Attribute");
    case 437:
        return SLICE("Allocation Mismatch");
    case 440:
        return SLICE("Address Family not Supported");
    case 441:
        return SLICE("Wrong Credentials");
    case 442:
        return SLICE("Unsupported Transport Protocol");
    case 443:
        return SLICE("Peer Address Family Mismatch");
    case 446:
        return SLICE("Connection Already Exists");
    case 447:
        return SLICE("Connection Timeout or Failure");
    case 486:
        return SLICE("Allocation Quota Reached");
    case 508:
        return SLICE("Insufficient Capacity");
    default:
        return SLICE("Server Error");
    }
}

struct reply { /* an answer under way */
    struct stun_writer w;
    slice key;
    bool is_sha256;
};

static struct reply reply_begin(struct turn *t, uint16_t method, unsigned status,
                                const uint8_t id[static STUN_ID_BYTES], slice key, bool is_sha256) {
    struct reply r = { .key = key, .is_sha256 = is_sha256 };
    r.w = stun_begin(t->out, sizeof t->out, (enum stun_method)method,
                     status ? STUN_ERROR : STUN_SUCCESS, id);
    if (status) stun_put_error(&r.w, status, reason(status));
    return r;
}

static void reply_end(struct reply *r, struct turn_out *out) {
    stun_put_integrity(&r->w, r->key, r->is_sha256); /* RFC 8489 9.2.4: every answer from here on */
    out->bytes = stun_end(&r->w);
    out->what = out->bytes.len ? TURN_TO_CLIENT : TURN_NOTHING;
}

void turn_answer(struct turn *t, const struct turn_reply *r, unsigned status,
                 const uint32_t *connection, struct turn_out *out) {
    struct reply reply = reply_begin(t, r->method, status, r->id, r->key, r->is_sha256);
    if (status) COUNT(t, refused, 1);
    if (connection) stun_put_u32(&reply.w, TURN_CONNECTION_ID, *connection);
    reply_end(&reply, out);
}

static slice asker_key(const struct turn_asker *who) {
    return slice_of(who->key, who->key_len);
}

static struct turn_reply reply_to(const struct stun_msg *m, const struct turn_asker *who) {
    return (struct turn_reply){ m->method, m->id, asker_key(who), who->is_sha256 };
}

static void refuse(struct turn *t, const struct stun_msg *m, const struct turn_asker *who,
                   unsigned status, struct turn_out *out) {
    struct turn_reply r = reply_to(m, who);
    turn_answer(t, &r, status, NULL, out);
}

/* RFC 8489 6.3.1 */
static void refuse_unknown(struct turn *t, const struct stun_msg *m, const struct turn_asker *who,
                           const uint16_t *types, unsigned count, struct turn_out *out) {
    uint8_t list[16];
    for (unsigned i = 0; i < count; i++) {
        list[2 * i] = (uint8_t)(types[i] >> 8);
        list[2 * i + 1] = (uint8_t)types[i];
    }
    struct reply r = reply_begin(t, m->method, 420, m->id, asker_key(who), who->is_sha256);
    stun_put(&r.w, STUN_UNKNOWN_ATTRIBUTES, slice_of(list, 2 * (size_t)count));
    reply_end(&r, out);
}

static void succeed(struct turn *t, const struct stun_msg *m, const struct turn_asker *who,
                    struct turn_out *out) {
    refuse(t, m, who, 0, out);
}

/* ---- Allocate ---- */

static unsigned family_of(slice v) { /* RFC 8656 18.6: family, three reserved bytes; 0: broken */
    return v.len == 4 && (v.ptr[0] == 1 || v.ptr[0] == 2) ? (unsigned)v.ptr[0] : 0;
}

/* RFC 8656 7.2, steps 3 to 9. 0: well, and *out says what is wanted. */
static unsigned read_ask(const struct turn *t, const struct turn_tuple *from,
                         const struct stun_msg *m, struct turn_ask *out) {
    slice transport, family, more, even, token, none;
    bool has_family = stun_find(m, TURN_REQUESTED_FAMILY, &family);
    bool has_more = stun_find(m, TURN_ADDITIONAL_FAMILY, &more);
    bool has_even = stun_find(m, TURN_EVEN_PORT, &even);
    out->has_token = stun_find(m, TURN_RESERVATION_TOKEN, &token);
    if (!stun_find(m, TURN_REQUESTED_TRANSPORT, &transport) || transport.len != 4) return 400;
    out->tcp = (uint8_t)transport.ptr[0] == PROTOCOL_TCP;
    if (!out->tcp && (uint8_t)transport.ptr[0] != PROTOCOL_UDP) return 442;
    /* RFC 6062 5.1: a control connection is one, and these belong to datagrams. */
    if (out->tcp &&
        (!from->stream || has_even || out->has_token || stun_find(m, TURN_DONT_FRAGMENT, &none)))
        return 400;
    if (out->has_token && (has_even || has_family || has_more || token.len != 8)) return 400;
    if (has_family && has_more) return 400;
    if (has_even && even.len != 1) return 400;
    out->even_port = has_even;
    out->reserve = has_even && ((uint8_t)even.ptr[0] & 0x80);
    if (has_more && (family_of(more) != 2 || out->reserve)) return 400;
    unsigned wanted = has_family ? family_of(family) : 1;
    if (!wanted) return has_family && family.len == 4 ? 440 : 400;
    out->v4 = wanted == 1;
    out->v6 = wanted == 2 || has_more;
    if (out->has_token) {
        memcpy(out->token, token.ptr, sizeof out->token);
        out->v4 = out->v6 = false;
        return 0;
    }
    if (has_more && (t->config.has_v4 || t->config.has_v6))
        return 0; /* one may be enough: step 9 */
    return (out->v4 && !t->config.has_v4) || (out->v6 && !t->config.has_v6) ? 440 : 0;
}

/* RFC 8656 7.2, 8.2: never shorter than the default, never longer than what the credential has. */
static uint32_t lifetime(const struct turn *t, const struct stun_msg *m, wall_t credential_until,
                         struct now now) {
    uint32_t wanted = 0, s = t->config.lifetime_s;
    if (stun_find_u32(m, TURN_LIFETIME, &wanted) == ERR_OK && wanted > s)
        s = wanted < t->config.lifetime_max_s ? wanted : t->config.lifetime_max_s;
    int64_t left_s = (credential_until - now.wall) / 1000 + 1;
    return left_s < (int64_t)s ? (uint32_t)left_s : s;
}

static void allocate_answer(struct turn *t, struct allocation *a, struct now now, unsigned missing,
                            struct turn_out *out) {
    struct reply r =
        reply_begin(t, TURN_ALLOCATE, 0, a->created_by, slice_of(a->key, a->key_len), a->is_sha256);
    for (unsigned i = 0; i < 2; i++)
        if (a->relayed[i].family) stun_put_xor_addr(&r.w, TURN_XOR_RELAYED_ADDRESS, &a->relayed[i]);
    int64_t left = (a->expiry.at - now.mono) / 1000;
    stun_put_u32(&r.w, TURN_LIFETIME, left > 0 ? (uint32_t)left : 0);
    if (a->has_token) stun_put(&r.w, TURN_RESERVATION_TOKEN, slice_of(a->token, sizeof a->token));
    stun_put_xor_addr(&r.w, STUN_XOR_MAPPED_ADDRESS, &a->tuple.peer);
    if (missing) { /* RFC 8656 18.13: the family that could not be had, and why */
        char value[4 + 32] = { (char)missing, 0, 5, 8 };
        slice why = reason(508);
        memcpy(value + 4, why.ptr, why.len);
        stun_put(&r.w, TURN_ADDRESS_ERROR_CODE, slice_of(value, 4 + why.len));
    }
    out->tuple = &a->tuple;
    reply_end(&r, out);
}

static void allocate(struct turn *t, const struct turn_tuple *from, const struct stun_msg *m,
                     const struct turn_asker *who, struct now now, struct turn_out *out) {
    struct allocation *a = turn_by_tuple(t, from);
    if (a) {
        bool is_copy = memcmp(a->created_by, m->id, sizeof a->created_by) == 0;
        if (is_copy && a->is_open)
            allocate_answer(t, a, now, 0, out);
        else if (!is_copy)
            refuse(t, m, who, 437, out);
        return; /* a copy of one whose sockets are being made: its answer is on the way */
    }
    struct turn_ask ask = { .account_id = who->account_id, .device_id = who->device_id };
    unsigned status = read_ask(t, from, m, &ask);
    pool_id id;
    if (!status && !(a = pool_new(&t->allocations, &id))) status = 508;
    if (status) {
        refuse(t, m, who, status, out);
        return;
    }
    a->id = id;
    a->tuple = *from;
    a->hash = turn_tuple_hash(t, from);
    a->permissions = a->first_permissions;
    a->permission_cap = PERMISSIONS_INLINE;
    a->channels = a->first_channels;
    a->channel_cap = CHANNELS_INLINE;
    a->account_id = who->account_id;
    a->device_id = who->device_id;
    a->is_sha256 = who->is_sha256;
    a->key_len = who->key_len;
    memcpy(a->key, who->key, sizeof a->key);
    memcpy(a->created_by, m->id, sizeof a->created_by);
    a->wants_both = ask.v4 && ask.v6;
    a->is_tcp = ask.tcp;
    list_init(&a->links);
    a->lifetime_s = lifetime(t, m, who->until, now);
    a->rate_at = now.mono;
    a->rate_left = t->config.bytes_per_s;
    if (map_add(&t->by_tuple, a->hash, id.slot) != ERR_OK) {
        crypto_wipe(a->key, sizeof a->key);
        pool_free(&t->allocations, id);
        refuse(t, m, who, 508, out);
        return;
    }
    COUNT(t, allocations, 1);
    timer_start(&t->timers, &a->expiry, now.mono + OPEN_WAIT_MS);
    out->what = TURN_OPEN;
    out->allocation = id;
    out->ask = ask;
}

enum err turn_opened(struct turn *t, pool_id allocation, const struct turn_made *made,
                     struct now now, struct turn_out *out) {
    *out = (struct turn_out){ .what = TURN_NOTHING, .allocation = allocation };
    struct allocation *a = pool_get(&t->allocations, allocation);
    if (!a || a->is_open) return ERR_GONE;
    if (made->result != ERR_OK || (!made->v4.family && !made->v6.family)) {
        unsigned status = made->result == ERR_DENIED ? 403 : made->result == ERR_FULL ? 486 : 508;
        struct reply r = reply_begin(t, TURN_ALLOCATE, status, a->created_by,
                                     slice_of(a->key, a->key_len), a->is_sha256);
        COUNT(t, refused, 1);
        reply_end(&r, out);
        t->refused = a->tuple;
        out->tuple = &t->refused;
        allocation_end(t, a);
        return ERR_OK;
    }
    a->is_open = true;
    a->relayed[0] = made->v4;
    a->relayed[1] = made->v6;
    a->has_token = made->has_token;
    memcpy(a->token, made->token, sizeof a->token);
    timer_start(&t->timers, &a->expiry, now.mono + (mono_t)a->lifetime_s * 1000);
    COUNT(t, created, 1);
    unsigned missing = !a->wants_both ? 0 : !made->v4.family ? 1 : !made->v6.family ? 2 : 0;
    allocate_answer(t, a, now, missing, out);
    return ERR_OK;
}

/* ---- what an allocation may do ---- */

static bool has_family(const struct allocation *a, const struct addr *peer) {
    return a->relayed[peer->family == ADDR_V6].family != ADDR_NONE;
}

static void drop_old_permissions(struct allocation *a, mono_t now) {
    unsigned kept = 0;
    for (unsigned i = 0; i < a->permission_count; i++)
        if (a->permissions[i].until > now) a->permissions[kept++] = a->permissions[i];
    a->permission_count = (uint16_t)kept;
}

static void drop_old_channels(struct allocation *a, mono_t now) {
    unsigned kept = 0;
    for (unsigned i = 0; i < a->channel_count; i++)
        if (a->channels[i].until > now) a->channels[kept++] = a->channels[i];
    a->channel_count = (uint16_t)kept;
}

/* Room for `more` entries beside `used`; false: TURN_PEERS_MAX, or memory. */
static bool grow(void **items, void *first, uint16_t *cap, unsigned used, unsigned more,
                 size_t size) {
    if (used + more <= *cap) return true;
    if (used + more > TURN_PEERS_MAX) return false;
    unsigned want = *cap;
    while (want < used + more) want *= 2;
    if (want > TURN_PEERS_MAX) want = TURN_PEERS_MAX;
    void *grown = mem_array(want, size);
    if (!grown) return false;
    memcpy(grown, *items, used * size);
    if (*items != first) mem_free(*items);
    *items = grown;
    *cap = (uint16_t)want;
    return true;
}

static bool reserve_permissions(struct allocation *a, unsigned more, mono_t now) {
    void *items = a->permissions;
    drop_old_permissions(a, now);
    bool ok = grow(&items, a->first_permissions, &a->permission_cap, a->permission_count, more,
                   sizeof *a->permissions);
    a->permissions = items;
    return ok;
}

static void permit(struct allocation *a, const struct addr *peer, mono_t now) {
    struct permission *p = allocation_permission(a, peer);
    if (!p) {
        p = &a->permissions[a->permission_count++];
        p->family = peer->family;
        memcpy(p->ip, peer->ip, sizeof p->ip);
    }
    p->until = now + PERMISSION_LIFE_MS;
}

/* libre (the stack of baresip; 1.1 at least) ends its whole allocation when one peer is refused,
 * and asks for each candidate of the other side, also for the private addresses. It is told yes;
 * nothing is installed, so nothing passes. RFC 8656 10.2 and 12.2 would have it hear 403, as all
 * others do, who can then give up that pair at once. */
static bool ends_at_a_refusal(const struct stun_msg *m) {
    slice software;
    return stun_find(m, STUN_SOFTWARE, &software) && slice_starts(software, SLICE("libre v"));
}

/* RFC 8656 10.2: all of them or none. */
static unsigned create_permission(struct turn *t, struct allocation *a, const struct stun_msg *m,
                                  mono_t now) {
    slice v;
    struct addr peer;
    uint16_t at = 0;
    unsigned count = 0;
    bool is_refused = false;
    while (stun_next(m, TURN_XOR_PEER_ADDRESS, &at, &v)) {
        if (stun_addr(m, v, &peer) != ERR_OK) return 400;
        if (!has_family(a, &peer)) return 443;
        if (!turn_reachable(t, &peer)) {
            if (!ends_at_a_refusal(m)) return 403;
            is_refused = true;
        }
        count++;
    }
    if (!count) return 400;
    if (is_refused) return 0;
    if (!reserve_permissions(a, count, now)) return 508;
    at = 0;
    while (stun_next(m, TURN_XOR_PEER_ADDRESS, &at, &v))
        if (stun_addr(m, v, &peer) == ERR_OK) permit(a, &peer, now);
    return 0;
}

/* RFC 8656 12.2. */
static unsigned channel_bind(struct turn *t, struct allocation *a, const struct stun_msg *m,
                             mono_t now) {
    struct addr peer;
    uint32_t number;
    if (stun_find_u32(m, TURN_CHANNEL_NUMBER, &number) != ERR_OK ||
        stun_find_addr(m, TURN_XOR_PEER_ADDRESS, &peer) != ERR_OK)
        return 400;
    if (a->is_tcp) return 403; /* there is nothing that channels would carry */
    number >>= 16;             /* RFC 8656 18.1: the other half is reserved */
    if (number < CHANNEL_MIN || number > CHANNEL_MAX) return 400;
    drop_old_channels(a, now);
    struct channel *channel = allocation_channel(a, number);
    if (channel != allocation_channel_to(a, &peer)) return 400;
    if (!has_family(a, &peer)) return 443;
    if (!turn_reachable(t, &peer)) return ends_at_a_refusal(m) ? 0 : 403;
    void *items = a->channels;
    bool has_room = grow(&items, a->first_channels, &a->channel_cap, a->channel_count, !channel,
                         sizeof *a->channels);
    a->channels = items;
    if (!has_room || !reserve_permissions(a, 1, now)) return 508;
    channel = allocation_channel(a, number);
    if (!channel) channel = &a->channels[a->channel_count++];
    *channel = (struct channel){ peer, now + CHANNEL_LIFE_MS, (uint16_t)number };
    permit(a, &peer, now);
    return 0;
}

/* RFC 8656 8.2. */
static void refresh(struct turn *t, struct allocation *a, const struct stun_msg *m,
                    const struct turn_asker *who, struct now now, struct turn_out *out) {
    uint32_t wanted;
    slice family;
    if (stun_find(m, TURN_REQUESTED_FAMILY, &family)) {
        unsigned f = family_of(family);
        if (!f || !a->relayed[f - 1].family) {
            refuse(t, m, who, f ? 443 : 400, out);
            return;
        }
    }
    bool is_end = stun_find_u32(m, TURN_LIFETIME, &wanted) == ERR_OK && wanted == 0;
    uint32_t s = is_end ? 0 : lifetime(t, m, who->until, now);
    struct reply r = reply_begin(t, m->method, 0, m->id, asker_key(who), who->is_sha256);
    stun_put_u32(&r.w, TURN_LIFETIME, s);
    reply_end(&r, out);
    if (is_end)
        allocation_end(t, a);
    else
        timer_start(&t->timers, &a->expiry, now.mono + (mono_t)s * 1000);
}

/* ---- the door ---- */

static const uint16_t known[] = {
    STUN_USERNAME,           STUN_REALM,          STUN_NONCE,         STUN_USERHASH,
    STUN_PASSWORD_ALGORITHM, TURN_CHANNEL_NUMBER, TURN_LIFETIME,      TURN_XOR_PEER_ADDRESS,
    TURN_REQUESTED_FAMILY,   TURN_EVEN_PORT,      TURN_DONT_FRAGMENT, TURN_REQUESTED_TRANSPORT,
    TURN_RESERVATION_TOKEN,  TURN_CONNECTION_ID
};

static bool is_ours(uint16_t method) {
    return method == TURN_ALLOCATE || method == TURN_REFRESH || method == TURN_CREATE_PERMISSION ||
           method == TURN_CHANNEL_BIND || method == TURN_CONNECT || method == TURN_CONNECTION_BIND;
}

/* RFC 6062 5.4: it comes on a connection of its own, that has no allocation. */
static void connection_bind(struct turn *t, const struct turn_tuple *from, const struct stun_msg *m,
                            const struct turn_asker *who, struct turn_out *out) {
    uint32_t connection;
    if (!from->stream || turn_by_tuple(t, from) ||
        stun_find_u32(m, TURN_CONNECTION_ID, &connection) != ERR_OK) {
        refuse(t, m, who, 400, out);
        return;
    }
    out->what = TURN_JOIN;
    out->join = (struct turn_join){ .connection = connection,
                                    .account_id = who->account_id,
                                    .key_len = who->key_len,
                                    .is_sha256 = who->is_sha256 };
    memcpy(out->join.id, m->id, sizeof out->join.id);
    memcpy(out->join.key, who->key, sizeof out->join.key);
}

static void of_allocation(struct turn *t, struct allocation *a, const struct stun_msg *m,
                          const struct turn_asker *who, struct now now, struct turn_out *out) {
    if (m->method == TURN_REFRESH) {
        refresh(t, a, m, who, now, out);
        return;
    }
    unsigned status;
    if (m->method == TURN_CREATE_PERMISSION) {
        status = create_permission(t, a, m, now.mono);
    } else if (m->method == TURN_CONNECT) {
        status = link_connect(t, a, m, who->is_sha256, now, out);
        if (!status) return; /* the answer comes with the connection */
    } else {
        status = channel_bind(t, a, m, now.mono);
    }
    if (status)
        refuse(t, m, who, status, out);
    else
        succeed(t, m, who, out);
}

void turn_request(struct turn *t, const struct turn_tuple *from, const struct stun_msg *m,
                  struct now now, struct turn_out *out) {
    struct turn_asker who;
    uint16_t unknown[8];
    if (m->method == STUN_BINDING && !turn_may_answer(t, from, now.mono)) return;
    if (m->method == STUN_BINDING) { /* RFC 8489 12: a TURN server is a STUN server too */
        out->bytes = stun_answer_binding(m, &from->peer, t->out, sizeof t->out);
        out->what = out->bytes.len ? TURN_TO_CLIENT : TURN_NOTHING;
        return;
    }
    if (!is_ours(m->method)) return; /* RFC 8489 6.3: of no method that we know */
    unsigned status = turn_authenticate(t, from, m, now, &who);
    if (status) {
        if (status == 401 && (m->sha1_at || m->sha256_at)) COUNT(t, bad_credentials, 1);
        if (!turn_may_answer(t, from, now.mono)) return;
        out->bytes = turn_refuse_auth(t, from, m, status, now);
        out->what = out->bytes.len ? TURN_TO_CLIENT : TURN_NOTHING;
        return;
    }
    unsigned n = stun_unknown(m, known, ARRAY_LEN(known), unknown, ARRAY_LEN(unknown));
    struct allocation *a = m->method == TURN_ALLOCATE ? NULL : turn_by_tuple(t, from);
    if (n)
        refuse_unknown(t, m, &who, unknown, n, out);
    else if (m->method == TURN_ALLOCATE)
        allocate(t, from, m, &who, now, out);
    else if (m->method == TURN_CONNECTION_BIND)
        connection_bind(t, from, m, &who, out);
    else if (!a || !a->is_open)
        refuse(t, m, &who, 437, out); /* RFC 8656 5 */
    else if (a->account_id != who.account_id)
        refuse(t, m, &who, 441,
               out); /* RFC 8656 5; a newer credential of the same person is fine */
    else
        of_allocation(t, a, m, &who, now, out);
    crypto_wipe(who.key, sizeof who.key);
}
