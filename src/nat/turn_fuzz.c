/* The TURN machine against a client who knows the password and does what he likes, and against
 * anybody on the relayed address: the input is a list of steps. */
#include "crypto/crypto.h"
#include "nat/turn.h"
#include <stdlib.h>

#define must(cond) ((cond) ? (void)0 : abort())

static const uint8_t key[32] = "a key of the fuzzer's own choice";

struct scene {
    struct turn *turn;
    struct now now;
    struct turn_credential credential;
    char nonce[64];
    size_t nonce_len;
    struct turn_out out;
    char mem[STUN_BYTES_MAX];
};

static void look(struct scene *s) {
    struct stun_msg m;
    slice nonce;
    if (s->out.what == TURN_OPEN) {
        struct turn_made made = { .result = s->now.mono % 5 ? ERR_OK : ERR_FULL };
        if (s->out.ask.v4 || s->out.ask.has_token)
            made.v4 = (struct addr){ .family = ADDR_V4, .port = 50000, .ip = { 9, 9, 9, 9 } };
        if (s->out.ask.v6)
            made.v6 = (struct addr){ .family = ADDR_V6, .port = 50000, .ip = { 0x2a } };
        must(turn_opened(s->turn, s->out.allocation, &made, s->now, &s->out) == ERR_OK);
    }
    if (s->out.what == TURN_DIAL)
        turn_link_connected(s->turn, s->out.link, s->now.mono % 3, s->now, &s->out);
    if (s->out.what == TURN_JOIN) {
        struct turn_join join = s->out.join;
        pool_id link;
        if (turn_join(s->turn, &join, s->now, &s->out, &link) == ERR_OK)
            must(turn_link_spend(s->turn, link, 9000, true, s->now) >= 0);
        return; /* the answer goes to the connection that asked */
    }
    if (s->out.what == TURN_TO_PEER) must(s->out.bytes.len <= TURN_PAYLOAD_MAX);
    if (s->out.what != TURN_TO_CLIENT) return;
    must(s->out.tuple != NULL && s->out.bytes.len >= 4);
    if ((uint8_t)s->out.bytes.ptr[0] & 0xc0) return;
    must(stun_read(s->out.bytes, &m) == ERR_OK);
    if (!stun_find(&m, STUN_NONCE, &nonce)) return;
    must(s->out.bytes.len <= TURN_ANSWER_MAX && nonce.len <= sizeof s->nonce);
    memcpy(s->nonce, nonce.ptr, nonce.len);
    s->nonce_len = nonce.len;
}

/* A request of method `what` whose attributes are those bytes, proved or not. */
static void request(struct scene *s, const struct turn_tuple *from, uint8_t what, slice body) {
    uint8_t id[STUN_ID_BYTES] = { what }, k[32];
    struct stun_writer w = stun_begin(s->mem, sizeof s->mem, (enum stun_method)(what & 15),
                                      what & 16 ? STUN_INDICATION : STUN_REQUEST, id);
    slice user = slice_str(s->credential.username), realm = SLICE("example.org");
    while (body.len >= 3) {
        size_t len = (uint8_t)body.ptr[2] & 31;
        unsigned high = (uint8_t)body.ptr[0] & 0x80 ? 0x8000 : 0;
        stun_put(&w, (enum stun_attr)(high | (uint8_t)body.ptr[1]),
                 slice_head(slice_from(body, 3), len));
        body = slice_from(body, 3 + len);
    }
    if (what & 32) {
        stun_put(&w, STUN_USERNAME, user);
        stun_put(&w, STUN_REALM, realm);
        stun_put(&w, STUN_NONCE, slice_of(s->nonce, s->nonce_len));
        size_t n = stun_long_term_key(user, realm, slice_str(s->credential.password), false, k);
        stun_put_integrity(&w, slice_of(k, n), what & 64);
    }
    turn_from_client(s->turn, from, stun_end(&w), s->now, &s->out);
    look(s);
}

/* Head, payload and padding as one message. */
static void whole(struct scene *s, char room[static TURN_HEADROOM]) {
    if (s->out.what != TURN_TO_CLIENT) return;
    must(s->out.head.ptr + s->out.head.len == room + TURN_HEADROOM && s->out.pad < 4);
    char *payload = room + TURN_HEADROOM;
    if (s->out.bytes.len) memcpy(payload, s->out.bytes.ptr, s->out.bytes.len);
    memset(payload + s->out.bytes.len, 0, s->out.pad);
    s->out.bytes = slice_of(s->out.head.ptr, s->out.head.len + s->out.bytes.len + s->out.pad);
}

static void step(struct scene *s, uint8_t what, uint8_t who, slice body) {
    char room[TURN_HEADROOM + 256 + 3];
    struct turn_tuple from = { .stream = who & 1 ? 1u + (who >> 4) : 0,
                               .peer = { .family = ADDR_V4, .port = 9, .ip = { who & 2 } },
                               .local = { .family = ADDR_V4, .port = 3478 } };
    struct addr peer = { .family = ADDR_V4, .port = 7000, .ip = { 192, 0, 43, who & 3 } };
    pool_id gone;
    if (what < 128) {
        request(s, &from, what, body);
    } else if (what < 160) {
        turn_from_client(s->turn, &from, body, s->now, &s->out);
        look(s);
    } else if (what < 200) {
        turn_from_peer(s->turn, (pool_id){ who & 7u, 1 }, &peer, body, room, s->now, &s->out);
        whole(s, room);
        look(s);
    } else if (what < 220) {
        s->now.mono += (int64_t)what * 1000;
        s->now.wall += (int64_t)what * 1000;
        turn_run_timers(s->turn, s->now);
    } else if (what < 230) {
        turn_stream_closed(s->turn, 1);
    } else if (what < 233) {
        pool_id link;
        if (turn_link_arrived(s->turn, (pool_id){ who & 7u, 1 }, &peer, s->now, &s->out, &link) ==
            ERR_OK)
            look(s);
    } else if (what < 237) {
        turn_account_gone(s->turn, 42);
    } else {
        (void)turn_frame(body);
    }
    while (turn_next_closed(s->turn, &gone)) must(pool_id_some(gone));
    for (bool is_late; turn_next_link(s->turn, &gone, &is_late);) {
        if (is_late) turn_link_connected(s->turn, gone, false, s->now, &s->out);
        turn_link_gone(s->turn, gone);
    }
    (void)turn_has(s->turn, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool is_ready;
    struct turn_config config = { .realm = SLICE("example.org"),
                                  .key = key,
                                  .has_v4 = true,
                                  .has_v6 = true,
                                  .allocations_max = 3,
                                  .lifetime_s = 600,
                                  .lifetime_max_s = 3600,
                                  .nonce_life_s = 600,
                                  .bytes_per_s = 5000 };
    struct scene s = { .now = { 1, 1700000000000 } };
    if (!is_ready) must(crypto_init() == ERR_OK);
    is_ready = true;
    s.turn = turn_new(&config, s.now);
    must(s.turn != NULL);
    turn_credential_make(key, 42, 0, s.now.wall + 7200 * 1000, &s.credential);
    while (size >= 3) { /* what, who, length of the rest */
        size_t len = data[2] < size - 3 ? data[2] : size - 3;
        char *exact = malloc(len ? len : 1);
        must(exact != NULL);
        memcpy(exact, data + 3, len);
        step(&s, data[0], data[1], slice_of(exact, len));
        free(exact);
        data += 3 + len;
        size -= 3 + len;
    }
    turn_free(s.turn);
    return 0;
}
