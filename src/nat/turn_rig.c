#include "unit.h"

#include "nat/turn_rig.h"

const uint8_t turn_rig_key[32] = "the node's key for its relay....";
const uint8_t id_zero[STUN_ID_BYTES];

struct addr at(const char *text) {
    struct addr a;
    assert_ok(addr_read(slice_str(text), &a));
    return a;
}

void begin(struct scene *s, uint32_t account_id) {
    memset(s, 0, sizeof *s);
    s->config = (struct turn_config){ .realm = SLICE("example.org"),
                                      .key = turn_rig_key,
                                      .has_v4 = true,
                                      .has_v6 = true,
                                      .allocations_max = 8,
                                      .lifetime_s = 600,
                                      .lifetime_max_s = 3600,
                                      .nonce_life_s = 600 };
    s->now = (struct now){ 1000, 1700000000000 };
    s->client =
        (struct turn_tuple){ .peer = at("198.51.100.7:40000"), .local = at("9.9.9.1:3478") };
    turn_credential_make(turn_rig_key, account_id, 0, s->now.wall + 86400000, &s->credential);
}

bool start(struct scene *s) {
    s->turn = turn_new(&s->config, s->now);
    return s->turn != NULL;
}

void later(struct scene *s, int64_t ms) {
    s->now.mono += ms;
    s->now.wall += ms;
}

/* What came back, kept apart from the machine's own buffer. */
void keep(struct scene *s) {
    if (s->out.what != TURN_TO_CLIENT) return;
    memcpy(s->reply, s->out.bytes.ptr, s->out.bytes.len);
    assert_ok(stun_read(slice_of(s->reply, s->out.bytes.len), &s->m));
    slice nonce;
    if (!stun_find(&s->m, STUN_NONCE, &nonce)) return;
    assert_true(nonce.len < sizeof s->nonce);
    memcpy(s->nonce, nonce.ptr, nonce.len);
    s->nonce_len = nonce.len;
}

struct stun_writer request(struct scene *s, enum stun_method method) {
    uint8_t id[STUN_ID_BYTES] = { 0 };
    id[0] = ++s->id;
    return stun_begin(s->mem, sizeof s->mem, method, STUN_REQUEST, id);
}

void send_plain(struct scene *s, struct stun_writer *w) {
    slice bytes = stun_end(w);
    assert_true(bytes.len > 0);
    turn_from_client(s->turn, &s->client, unit_guard(bytes.ptr, bytes.len), s->now, &s->out);
    keep(s);
}

void send_proved(struct scene *s, struct stun_writer *w) {
    uint8_t k[32];
    slice user = slice_str(s->credential.username), realm = SLICE("example.org");
    stun_put(w, STUN_USERNAME, user);
    stun_put(w, STUN_REALM, realm);
    stun_put(w, STUN_NONCE, slice_of(s->nonce, s->nonce_len));
    if (s->is_sha256) {
        stun_put(w, STUN_PASSWORD_ALGORITHMS, slice_of("\x00\x02\x00\x00\x00\x01\x00\x00", 8));
        stun_put(w, STUN_PASSWORD_ALGORITHM, slice_of("\x00\x02\x00\x00", 4));
    }
    size_t len =
        stun_long_term_key(user, realm, slice_str(s->credential.password), s->is_sha256, k);
    stun_put_integrity(w, slice_of(k, len), s->is_sha256);
    send_plain(s, w);
    bool is_sha256;
    if (s->out.what == TURN_TO_CLIENT && s->m.class == STUN_SUCCESS) { /* RFC 8489 9.2.4 */
        assert_ok(stun_check(&s->m, slice_of(k, len), &is_sha256));
        assert_int_equal(is_sha256, s->is_sha256);
    }
}

void put_udp(struct stun_writer *w) {
    stun_put(w, TURN_REQUESTED_TRANSPORT, slice_of("\x11\0\0\0", 4));
}

unsigned status(const struct scene *s) {
    assert_int_equal(s->out.what, TURN_TO_CLIENT);
    return s->m.class == STUN_SUCCESS ? 200 : stun_error(&s->m);
}

void challenge(struct scene *s) {
    struct stun_writer w = request(s, TURN_ALLOCATE);
    put_udp(&w);
    send_plain(s, &w);
    assert_int_equal(status(s), 401);
}

void opened(struct scene *s, const char *v4, const char *v6) {
    struct turn_made made = { .result = ERR_OK };
    if (v4) made.v4 = at(v4);
    if (v6) made.v6 = at(v6);
    assert_int_equal(s->out.what, TURN_OPEN);
    assert_ok(turn_opened(s->turn, s->out.allocation, &made, s->now, &s->out));
    keep(s);
}

pool_id allocate(struct scene *s) {
    challenge(s);
    struct stun_writer w = request(s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(s, &w);
    pool_id id = s->out.allocation;
    opened(s, "9.9.9.1:50000", NULL);
    assert_int_equal(status(s), 200);
    return id;
}

void permit(struct scene *s, const char *peer) {
    struct addr a = at(peer);
    struct stun_writer w = request(s, TURN_CREATE_PERMISSION);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &a);
    send_proved(s, &w);
}

void bind_channel(struct scene *s, unsigned number, const char *peer) {
    struct addr a = at(peer);
    struct stun_writer w = request(s, TURN_CHANNEL_BIND);
    stun_put_u32(&w, TURN_CHANNEL_NUMBER, number << 16);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &a);
    send_proved(s, &w);
}

void refresh(struct scene *s, uint32_t lifetime) {
    struct stun_writer w = request(s, TURN_REFRESH);
    stun_put_u32(&w, TURN_LIFETIME, lifetime);
    send_proved(s, &w);
}

void send_to(struct scene *s, const char *peer, const char *data) {
    struct addr a = at(peer);
    struct stun_writer w = stun_begin(s->mem, sizeof s->mem, TURN_SEND, STUN_INDICATION, id_zero);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &a);
    stun_put(&w, TURN_DATA_ATTR, slice_str(data));
    slice bytes = stun_end(&w);
    turn_from_client(s->turn, &s->client, unit_guard(bytes.ptr, bytes.len), s->now, &s->out);
}

void channel_to(struct scene *s, slice bytes) {
    turn_from_client(s->turn, &s->client, unit_guard(bytes.ptr, bytes.len), s->now, &s->out);
}

void from_peer(struct scene *s, pool_id id, const char *peer, const char *data) {
    struct addr a = at(peer);
    char *payload = s->room + TURN_HEADROOM;
    memcpy(payload, data, strlen(data));
    turn_from_peer(s->turn, id, &a, slice_of(payload, strlen(data)), s->room, s->now, &s->out);
    if (s->out.what != TURN_TO_CLIENT) return;
    assert_ptr_equal(s->out.head.ptr + s->out.head.len, payload); /* one piece */
    memset(payload + s->out.bytes.len, 0, s->out.pad);
    s->out.bytes = slice_of(s->out.head.ptr, s->out.head.len + s->out.bytes.len + s->out.pad);
}
