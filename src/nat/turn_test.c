#include "unit.h"

#include "nat/strangers.h"
#include "nat/turn_rig.h"

/* ---- who asks ---- */

static void a_stranger_is_challenged(void **state) { /* RFC 8656 7.2, RFC 8489 9.2.4 */
    SCENE(s);
    int64_t live = mem_live();
    slice v;
    for (unsigned i = 0; i < 1000; i++) {
        s.client.peer.port = (uint16_t)(i + 1);
        challenge(&s);
    }
    assert_int_equal(mem_live(), live); /* a request costs us nothing that lasts */
    assert_true(s.out.bytes.len <= TURN_ANSWER_MAX);
    assert_true(stun_find(&s.m, STUN_REALM, &v));
    assert_slice(v, "example.org");
    assert_true(slice_starts(slice_of(s.nonce, s.nonce_len), SLICE("obMatJos2gAAA")));
    assert_true(stun_find(&s.m, STUN_PASSWORD_ALGORITHMS, &v));
    assert_slice_eq(v, slice_of("\x00\x02\x00\x00\x00\x01\x00\x00", 8));
    assert_false(s.m.sha1_at || s.m.sha256_at);
    turn_free(s.turn);
}

/* What a spoofed source can make us send to a third party: little more than it cost, and not often.
 */
static void nobody_is_shot_at_through_us(void **state) {
    SCENE(s);
    static const enum stun_method asked[] = { STUN_BINDING, TURN_ALLOCATE };
    for (size_t k = 0; k < ARRAY_LEN(asked); k++) {
        unsigned answers = 0;
        later(&s, 3600 * 1000);
        for (unsigned i = 0; i < 5000; i++) {
            struct stun_writer w = request(&s, asked[k]);
            if (k) put_udp(&w);
            s.client.peer.port = (uint16_t)(i + 1);
            send_plain(&s, &w);
            if (s.out.what == TURN_NOTHING) continue;
            answers++;
            assert_true(s.out.bytes.len <= (k ? TURN_ANSWER_MAX : 2 * STUN_HEAD_BYTES));
        }
        assert_int_equal(answers, STRANGER_ANSWERS_BURST);
        struct addr victim = s.client.peer;
        s.client.peer = at("198.51.100.77:4"); /* others are answered meanwhile */
        struct stun_writer w = request(&s, STUN_BINDING);
        send_plain(&s, &w);
        assert_int_equal(s.out.what, TURN_TO_CLIENT);
        s.client.peer = victim;
        later(&s, 5);
        w = request(&s, STUN_BINDING);
        send_plain(&s, &w);
        assert_int_equal(s.out.what, TURN_TO_CLIENT); /* 200 a second: one in 5 ms */
        w = request(&s, STUN_BINDING);
        send_plain(&s, &w);
        assert_int_equal(s.out.what, TURN_NOTHING);
    }
    turn_free(s.turn);
}

/* Names reach logs, keys and stores elsewhere; here they are numbers or nothing. */
static void a_name_is_no_format_and_no_query(void **state) {
    static const char *const names[] = {
        "%n%n%n%s", "1767225600:42%s",       "9999999999:1'; --", "9999999999:",
        ":",        "9999999999:42:",        "9999999999:42:7;",  "9999999999:42:7:1",
        "",         "99999999999999999999:1"
    };
    SCENE(s);
    challenge(&s);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct buf name = buf_over(s.credential.username, TURN_USERNAME_BYTES);
        buf_put(&name, slice_str(names[i]));
        s.credential.username[name.len] = 0;
        struct stun_writer w = request(&s, TURN_ALLOCATE);
        put_udp(&w);
        send_proved(&s, &w);
        assert_int_equal(status(&s), 401);
    }
    turn_free(s.turn);
}

static void errors_of_the_network_are_told(void **state) { /* RFC 8656 11.5, 18.13 */
    SCENE(s);
    slice v;
    pool_id id = allocate(&s);
    struct turn_icmp icmp = { .peer = at("192.0.43.8:7000"), .type = 3, .code = 4, .mtu = 1400 };
    turn_from_network(s.turn, id, &icmp, s.now, &s.out);
    assert_int_equal(s.out.what, TURN_NOTHING); /* no permission */
    permit(&s, "192.0.43.8:1");
    turn_from_network(s.turn, id, &icmp, s.now, &s.out);
    keep(&s);
    assert_int_equal(s.m.method, TURN_DATA);
    assert_false(stun_find(&s.m, TURN_DATA_ATTR, &v));
    assert_true(stun_find(&s.m, TURN_ICMP, &v));
    assert_slice_eq(v, slice_of("\0\0\x06\x04\0\0\x05\x78", 8));
    icmp.code = 1;
    turn_from_network(s.turn, id, &icmp, s.now, &s.out);
    keep(&s);
    assert_true(stun_find(&s.m, TURN_ICMP, &v));
    assert_slice_eq(v, slice_of("\0\0\x06\x01\0\0\0\0", 8)); /* no MTU is meant there */
    icmp.type = 5; /* a redirect is none of his business */
    turn_from_network(s.turn, id, &icmp, s.now, &s.out);
    assert_int_equal(s.out.what, TURN_NOTHING);
    turn_free(s.turn);
}

static void both_kinds_of_clients_are_let_in(void **state) {
    (void)state;
    for (int is_sha256 = 0; is_sha256 < 2; is_sha256++) {
        struct scene s;
        struct addr got, want = at("9.9.9.1:50000");
        uint32_t lifetime;
        begin(&s, 42);
        s.is_sha256 = is_sha256;
        if (!start(&s)) return;
        challenge(&s);
        struct stun_writer w = request(&s, TURN_ALLOCATE);
        put_udp(&w);
        send_proved(&s, &w);
        assert_int_equal(s.out.what, TURN_OPEN);
        assert_int_equal(s.out.ask.account_id, 42);
        assert_true(s.out.ask.v4 && !s.out.ask.v6 && !s.out.ask.even_port);
        opened(&s, "9.9.9.1:50000", NULL);
        assert_int_equal(status(&s), 200);
        assert_ok(stun_find_addr(&s.m, TURN_XOR_RELAYED_ADDRESS, &got));
        assert_true(addr_eq(&got, &want));
        assert_ok(stun_find_addr(&s.m, STUN_XOR_MAPPED_ADDRESS, &got));
        assert_true(addr_eq(&got, &s.client.peer));
        assert_ok(stun_find_u32(&s.m, TURN_LIFETIME, &lifetime));
        assert_int_equal(lifetime, 600);
        turn_free(s.turn);
    }
}

static void wrong_credentials_are_refused(void **state) {
    SCENE(s);
    challenge(&s);
    struct stun_writer w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    s.credential.password[3] ^= 1;
    send_proved(&s, &w);
    assert_int_equal(status(&s), 401);
    /* another account's name under my password */
    turn_credential_make(turn_rig_key, 42, 0, s.now.wall + 86400000, &s.credential);
    s.credential.username[strlen(s.credential.username) - 1] = '3';
    w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 401);
    assert_int_equal(turn_counters(s.turn)->bad_credentials, 2);
    /* its time is over */
    turn_credential_make(turn_rig_key, 42, 0, s.now.wall, &s.credential);
    w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 401);
    turn_free(s.turn);
}

static void a_nonce_ends_and_belongs_to_one_address(void **state) { /* RFC 8489 9.2.4 */
    SCENE(s);
    challenge(&s);
    later(&s, 601 * 1000);
    struct stun_writer w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 438); /* and brings a fresh one */
    s.client.peer.port++;
    w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 438);
    w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(&s, &w);
    assert_int_equal(s.out.what, TURN_OPEN);
    turn_free(s.turn);
}

static void a_bid_down_is_seen(void **state) { /* RFC 8489 9.2.1, 9.2.4 */
    SCENE(s);
    challenge(&s);
    struct stun_writer w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    stun_put(&w, STUN_PASSWORD_ALGORITHMS, slice_of("\x00\x01\x00\x00", 4));
    stun_put(&w, STUN_PASSWORD_ALGORITHM, slice_of("\x00\x01\x00\x00", 4));
    send_proved(&s, &w);
    assert_int_equal(status(&s), 400);
    w = request(&s, TURN_ALLOCATE); /* integrity, but nobody is named */
    put_udp(&w);
    stun_put_integrity(&w, SLICE("x"), false);
    send_plain(&s, &w);
    assert_int_equal(status(&s), 400);
    turn_free(s.turn);
}

/* ---- Allocate ---- */

static unsigned ask_with(struct scene *s, enum stun_attr type, const char *bytes, size_t len) {
    struct stun_writer w = request(s, TURN_ALLOCATE);
    put_udp(&w);
    stun_put(&w, type, slice_of(bytes, len));
    send_proved(s, &w);
    return s->out.what == TURN_OPEN ? 0 : status(s);
}

static void wishes_are_read(void **state) { /* RFC 8656 7.2 */
    SCENE(s);
    challenge(&s);
    assert_int_equal(ask_with(&s, TURN_REQUESTED_FAMILY, "\x07\0\0\0", 4), 440);
    assert_int_equal(ask_with(&s, TURN_REQUESTED_FAMILY, "\x02", 1), 400);
    assert_int_equal(ask_with(&s, TURN_ADDITIONAL_FAMILY, "\x01\0\0\0", 4), 400);
    assert_int_equal(ask_with(&s, TURN_RESERVATION_TOKEN, "1234567", 7), 400);
    assert_int_equal(ask_with(&s, (enum stun_attr)0x4242, "", 0), 420);
    struct stun_writer w = request(&s, TURN_ALLOCATE);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 400); /* no transport */
    w = request(&s, TURN_ALLOCATE);
    stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x84\0\0\0", 4));
    send_proved(&s, &w);
    assert_int_equal(status(&s), 442);
    w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    stun_put(&w, TURN_EVEN_PORT, slice_of("\x80", 1));
    stun_put(&w, TURN_RESERVATION_TOKEN, SLICE("12345678"));
    send_proved(&s, &w);
    assert_int_equal(status(&s), 400);
    w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    stun_put(&w, TURN_REQUESTED_FAMILY, slice_of("\x01\0\0\0", 4));
    stun_put(&w, TURN_ADDITIONAL_FAMILY, slice_of("\x02\0\0\0", 4));
    send_proved(&s, &w);
    assert_int_equal(status(&s), 400);

    assert_int_equal(ask_with(&s, TURN_REQUESTED_FAMILY, "\x02\0\0\0", 4), 0);
    assert_true(s.out.ask.v6 && !s.out.ask.v4);
    s.client.peer.port++;
    challenge(&s);
    assert_int_equal(ask_with(&s, TURN_EVEN_PORT, "\x80", 1), 0);
    assert_true(s.out.ask.even_port && s.out.ask.reserve);
    s.client.peer.port++;
    challenge(&s);
    assert_int_equal(ask_with(&s, TURN_RESERVATION_TOKEN, "12345678", 8), 0);
    assert_true(s.out.ask.has_token && memcmp(s.out.ask.token, "12345678", 8) == 0);
    turn_free(s.turn);
}

static void a_dual_allocation_says_what_is_missing(void **state) { /* RFC 8656 7.2 step 9 */
    SCENE(s);
    slice v;
    uint16_t pos = 0;
    challenge(&s);
    assert_int_equal(ask_with(&s, TURN_ADDITIONAL_FAMILY, "\x02\0\0\0", 4), 0);
    assert_true(s.out.ask.v4 && s.out.ask.v6);
    opened(&s, "9.9.9.1:50000", "[2a00::1]:50000");
    assert_true(stun_next(&s.m, TURN_XOR_RELAYED_ADDRESS, &pos, &v));
    assert_true(stun_next(&s.m, TURN_XOR_RELAYED_ADDRESS, &pos, &v));
    assert_false(stun_find(&s.m, TURN_ADDRESS_ERROR_CODE, &v));
    permit(&s, "[2a00::77]:9");
    assert_int_equal(status(&s), 200);
    s.client.peer.port++;
    challenge(&s);
    assert_int_equal(ask_with(&s, TURN_ADDITIONAL_FAMILY, "\x02\0\0\0", 4), 0);
    opened(&s, "9.9.9.1:50002", NULL);
    assert_int_equal(status(&s), 200);
    assert_true(stun_find(&s.m, TURN_ADDRESS_ERROR_CODE, &v));
    assert_slice_eq(slice_head(v, 4), slice_of("\x02\0\x05\x08", 4));
    permit(&s, "[2a00::77]:9");
    assert_int_equal(status(&s), 443);
    turn_free(s.turn);
}

static void a_copy_gets_the_same_answer(void **state) { /* RFC 8656 7.2, the note at its end */
    SCENE(s);
    struct addr got, want = at("9.9.9.1:50000");
    pool_id id = allocate(&s);
    struct turn_made twice = { .v4 = at("9.9.9.1:50004") };
    assert_err(turn_opened(s.turn, id, &twice, s.now, &s.out), ERR_GONE);
    s.id--; /* the same transaction again */
    struct stun_writer w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 200);
    assert_ok(stun_find_addr(&s.m, TURN_XOR_RELAYED_ADDRESS, &got));
    assert_true(addr_eq(&got, &want));
    w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 437);
    assert_int_equal(turn_counters(s.turn)->created, 1);
    turn_free(s.turn);
}

static void the_sockets_may_be_refused(void **state) {
    SCENE(s);
    static const struct {
        enum err err;
        unsigned status;
    } rows[] = { { ERR_DENIED, 403 }, { ERR_FULL, 486 }, { ERR_IO, 508 }, { ERR_OK, 508 } };
    challenge(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stun_writer w = request(&s, TURN_ALLOCATE);
        put_udp(&w);
        send_proved(&s, &w);
        pool_id id = s.out.allocation;
        assert_ok(
            turn_opened(s.turn, id, &(struct turn_made){ .result = rows[i].err }, s.now, &s.out));
        assert_true(addr_eq(&s.out.tuple->peer, &s.client.peer));
        keep(&s);
        assert_int_equal(status(&s), rows[i].status);
        assert_err(turn_opened(s.turn, id, &(struct turn_made){ 0 }, s.now, &s.out), ERR_GONE);
        assert_false(turn_next_closed(s.turn, &id)); /* there was nothing to close */
    }
    turn_free(s.turn);
}

static void the_table_is_bounded(void **state) {
    SCENE(s);
    for (unsigned i = 0; i < 8; i++) {
        s.client.peer.port = (uint16_t)(1000 + i);
        challenge(&s);
        struct stun_writer w = request(&s, TURN_ALLOCATE);
        put_udp(&w);
        send_proved(&s, &w);
        if (s.out.what != TURN_OPEN) { /* memory is short */
            assert_int_equal(status(&s), 508);
            turn_free(s.turn);
            return;
        }
    }
    s.client.peer.port = 999;
    challenge(&s);
    struct stun_writer w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 508);
    turn_free(s.turn);
}

/* ---- relaying ---- */

static void a_channel_carries_both_ways(void **state) { /* RFC 8656 12 */
    SCENE(s);
    pool_id id = allocate(&s);
    bind_channel(&s, 0x4001, "192.0.43.8:7000");
    assert_int_equal(status(&s), 200);
    channel_to(&s, slice_of("\x40\x01\x00\x05hello", 9));
    struct addr want = at("192.0.43.8:7000");
    assert_int_equal(s.out.what, TURN_TO_PEER);
    assert_true(addr_eq(&s.out.peer, &want) && pool_id_eq(s.out.allocation, id));
    assert_slice(s.out.bytes, "hello");
    from_peer(&s, id, "192.0.43.8:7000", "echo!");
    assert_int_equal(s.out.what, TURN_TO_CLIENT);
    assert_slice_eq(s.out.bytes, slice_of("\x40\x01\x00\x05"
                                          "echo!",
                                          9));
    assert_true(addr_eq(&s.out.tuple->peer, &s.client.peer));
    /* the permission is for the address, the channel for the port too */
    from_peer(&s, id, "192.0.43.8:7001", "echo!");
    assert_int_equal(s.out.what, TURN_TO_CLIENT);
    keep(&s);
    assert_int_equal(s.m.method, TURN_DATA);
    turn_free(s.turn);
}

static void a_stream_is_padded(void **state) { /* RFC 8656 12.5 */
    SCENE(s);
    s.client.stream = 77;
    pool_id id = allocate(&s);
    bind_channel(&s, 0x4001, "192.0.43.8:7000");
    from_peer(&s, id, "192.0.43.8:7000", "echo!");
    assert_slice_eq(s.out.bytes, slice_of("\x40\x01\x00\x05"
                                          "echo!\0\0\0",
                                          12));
    channel_to(&s, slice_of("\x40\x01\x00\x05hello\0\0\0", 12));
    assert_slice(s.out.bytes, "hello");
    turn_stream_closed(s.turn, 77);
    assert_true(turn_next_closed(s.turn, &id));
    assert_int_equal(turn_counters(s.turn)->allocations, 0);
    turn_free(s.turn);
}

static void broken_channel_data_is_dropped(void **state) {
    SCENE(s);
    allocate(&s);
    bind_channel(&s, 0x4001, "192.0.43.8:7000");
    channel_to(&s, slice_of("\x40\x01\x00\x06hello", 9)); /* shorter than it says */
    assert_int_equal(s.out.what, TURN_NOTHING);
    channel_to(&s, slice_of("\x40\x02\x00\x05hello", 9)); /* a channel that is not bound */
    assert_int_equal(s.out.what, TURN_NOTHING);
    channel_to(&s, slice_of("\x40\x01\x00\x00", 4)); /* nothing at all may be sent */
    assert_int_equal(s.out.what, TURN_TO_PEER);
    s.client.peer.port++;
    channel_to(&s, slice_of("\x40\x01\x00\x05hello", 9)); /* another client */
    assert_int_equal(s.out.what, TURN_NOTHING);
    turn_free(s.turn);
}

static void indications_carry_both_ways(void **state) { /* RFC 8656 11 */
    SCENE(s);
    struct addr got, want = at("192.0.43.8:7000");
    slice v;
    pool_id id = allocate(&s);
    send_to(&s, "192.0.43.8:7000", "hello");
    assert_int_equal(s.out.what, TURN_NOTHING); /* no permission yet */
    from_peer(&s, id, "192.0.43.8:7000", "early");
    assert_int_equal(s.out.what, TURN_NOTHING);
    permit(&s, "192.0.43.8:1");
    assert_int_equal(status(&s), 200);
    send_to(&s, "192.0.43.8:7000", "hello");
    assert_int_equal(s.out.what, TURN_TO_PEER);
    assert_false(s.out.dont_fragment);
    assert_slice(s.out.bytes, "hello");
    from_peer(&s, id, "192.0.43.8:7000", "echo!");
    assert_int_equal(s.out.what, TURN_TO_CLIENT);
    keep(&s);
    assert_int_equal(s.m.class, STUN_INDICATION);
    assert_int_equal(s.m.method, TURN_DATA);
    assert_true(stun_find(&s.m, TURN_DATA_ATTR, &v));
    assert_slice(v, "echo!");
    assert_ok(stun_find_addr(&s.m, TURN_XOR_PEER_ADDRESS, &got));
    assert_true(addr_eq(&got, &want));
    turn_free(s.turn);
}

/* RFC 8656 11.2, 14: the client may ask that nobody cuts it. */
static void a_packet_may_ask_to_stay_whole(void **state) {
    SCENE(s);
    struct addr peer = at("192.0.43.8:7000");
    allocate(&s);
    permit(&s, "192.0.43.8:1");
    struct stun_writer w = stun_begin(s.mem, sizeof s.mem, TURN_SEND, STUN_INDICATION, id_zero);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &peer);
    stun_put(&w, TURN_DONT_FRAGMENT, SLICE_NONE);
    stun_put(&w, TURN_DATA_ATTR, SLICE("whole"));
    turn_from_client(s.turn, &s.client, stun_end(&w), s.now, &s.out);
    assert_int_equal(s.out.what, TURN_TO_PEER);
    assert_true(s.out.dont_fragment);
    turn_free(s.turn);
}

static void permissions_and_channels_end(void **state) { /* RFC 8656 9, 12 */
    SCENE(s);
    pool_id id = allocate(&s);
    bind_channel(&s, 0x4001, "192.0.43.8:7000");
    later(&s, 299 * 1000);
    from_peer(&s, id, "192.0.43.8:7000", "a");
    assert_int_equal(s.out.what, TURN_TO_CLIENT);
    later(&s, 1000); /* 300 s: the permission is over, traffic has not kept it */
    from_peer(&s, id, "192.0.43.8:7000", "a");
    assert_int_equal(s.out.what, TURN_NOTHING);
    channel_to(&s, slice_of("\x40\x01\x00\x01x", 5));
    assert_int_equal(s.out.what, TURN_NOTHING);
    permit(&s, "192.0.43.8:7000"); /* brings it back, the channel is still there */
    from_peer(&s, id, "192.0.43.8:7000", "a");
    assert_int_equal((uint8_t)s.out.bytes.ptr[0], 0x40);
    later(&s, 299 * 1000);
    permit(&s, "192.0.43.8:7000");
    later(&s, 1000); /* 600 s: the channel is over */
    from_peer(&s, id, "192.0.43.8:7000", "a");
    assert_int_equal((uint8_t)s.out.bytes.ptr[0], 0x00);
    channel_to(&s, slice_of("\x40\x01\x00\x01x", 5));
    assert_int_equal(s.out.what, TURN_NOTHING);
    bind_channel(&s, 0x4001, "192.0.43.9:7000"); /* and may be bound to another */
    assert_int_equal(status(&s), 200);
    turn_free(s.turn);
}

static void channels_are_one_to_one(void **state) { /* RFC 8656 12.2 */
    SCENE(s);
    allocate(&s);
    bind_channel(&s, 0x3fff, "192.0.43.8:7000");
    assert_int_equal(status(&s), 400);
    bind_channel(&s, 0x8000, "192.0.43.8:7000");
    assert_int_equal(status(&s), 400);
    bind_channel(&s, 0x7ffe, "192.0.43.8:7000");
    assert_int_equal(status(&s), 200);
    bind_channel(&s, 0x7ffe, "192.0.43.8:7000");
    assert_int_equal(status(&s), 200);
    bind_channel(&s, 0x7ffe, "192.0.43.8:7001");
    assert_int_equal(status(&s), 400);
    bind_channel(&s, 0x4ffe, "192.0.43.8:7000");
    assert_int_equal(status(&s), 400);
    bind_channel(&s, 0x4ffe, "[2a00::1]:7000");
    assert_int_equal(status(&s), 443);
    turn_free(s.turn);
}

static void peers_are_bounded(void **state) {
    SCENE(s);
    char peer[32];
    allocate(&s);
    unsigned made = 0;
    for (unsigned i = 0; i < TURN_PEERS_MAX + 1; i++) {
        struct buf b = buf_over(peer, sizeof peer - 1);
        buf_fmt(&b, "192.0.43.%u:7000", i);
        peer[b.len] = 0;
        bind_channel(&s, 0x4000 + i, peer);
        if (status(&s) == 200) made++;
        if (status(&s) != 200) assert_int_equal(status(&s), 508);
    }
    assert_true(made == TURN_PEERS_MAX || mem_failed());
    turn_free(s.turn);
}

/* ---- where it never goes ---- */

static void inner_networks_are_out_of_reach(void **state) {
    static const char *const inner[] = {
        "127.0.0.1:80", "10.0.0.1:80", "192.168.1.1:80",    "169.254.169.254:80",
        "224.0.0.1:80", "0.0.0.0:80",  "255.255.255.255:9", "100.64.0.1:80",
    };
    static const char *const inner6[] = {
        "[::1]:80",
        "[fe80::1]:80",
        "[fd00::1]:80",
        "[ff02::1]:80",
        "[::ffff:127.0.0.1]:80",
        "[64:ff9b::10.0.0.1]:80",
        "[2002:7f00:1::]:80",
        "[::]:80",
    };
    SCENE(s);
    challenge(&s);
    assert_int_equal(ask_with(&s, TURN_ADDITIONAL_FAMILY, "\x02\0\0\0", 4), 0);
    opened(&s, "9.9.9.1:50000", "[2a00::1]:50000");
    for (size_t i = 0; i < ARRAY_LEN(inner); i++) {
        permit(&s, inner[i]);
        assert_int_equal(status(&s), 403);
        bind_channel(&s, 0x4001, inner6[i]);
        assert_int_equal(status(&s), 403);
        send_to(&s, inner[i], "x");
        assert_int_equal(s.out.what, TURN_NOTHING);
    }
    assert_true(turn_counters(s.turn)->forbidden_peers >= 3 * ARRAY_LEN(inner));
    /* one bad among good ones: none is permitted */
    struct addr good = at("192.0.43.8:1"), bad = at("10.0.0.1:1");
    struct stun_writer w = request(&s, TURN_CREATE_PERMISSION);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &good);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &bad);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 403);
    send_to(&s, "192.0.43.8:1", "x");
    assert_int_equal(s.out.what, TURN_NOTHING);
    turn_free(s.turn);
}

/* libre would end its allocation at a 403; it hears a yes that opens nothing. */
static void a_client_that_ends_at_403_is_told_yes_for_nothing(void **state) {
    static const char *const software[] = { "libre v1.1.0 (x86_64/linux)", "libretto" };
    static const char data[] = "\x40\1\0\1x\0\0";
    const struct addr inner = at("10.0.0.1:1");
    SCENE(s);
    allocate(&s);
    for (unsigned i = 0; i < 4; i++) {
        struct stun_writer w = request(&s, i & 1 ? TURN_CHANNEL_BIND : TURN_CREATE_PERMISSION);
        stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &inner);
        if (i & 1) stun_put_u32(&w, TURN_CHANNEL_NUMBER, 0x40010000);
        stun_put(&w, STUN_SOFTWARE, slice_str(software[i / 2]));
        send_proved(&s, &w);
        assert_int_equal(status(&s), i < 2 ? 200 : 403);
        assert_true(turn_counters(s.turn)->forbidden_peers > i);
        send_to(&s, "10.0.0.1:1", "x");
        assert_int_equal(s.out.what, TURN_NOTHING);
        channel_to(&s, slice_of(data, sizeof data));
        assert_int_equal(s.out.what, TURN_NOTHING);
    }
    turn_free(s.turn);
}

static void the_operator_may_name_a_network(void **state) {
    (void)state;
    struct scene s;
    struct network lan;
    const struct addr own[] = { at("10.1.0.1:0"), at("9.9.9.1:0") };
    begin(&s, 42);
    assert_ok(network_read(SLICE("10.1.0.0/16"), &lan));
    s.config.allowed = &lan;
    s.config.allowed_count = 1;
    s.config.own = own;
    s.config.own_count = ARRAY_LEN(own);
    if (!start(&s)) return;
    allocate(&s);
    permit(&s, "10.1.2.3:1");
    assert_int_equal(status(&s), 200);
    permit(&s, "10.2.2.3:1");
    assert_int_equal(status(&s), 403);
    permit(&s, "9.9.9.1:1"); /* the host itself, though public */
    assert_int_equal(status(&s), 403);
    turn_free(s.turn);
}

/* Two clients of one relay: its own address is reachable, at the ports of live allocations. */
static void relayed_addresses_of_this_node_are_reachable(void **state) {
    (void)state;
    struct scene s;
    const struct addr own = at("9.9.9.1:0");
    const struct port_owner owner = { 0, { 1, 1 } };
    struct ports_config ports = { .first = 50000, .last = 50009, .relay = { own } };
    begin(&s, 42);
    struct ports *p = ports_new(&ports);
    if (!p) return;
    s.config.own = &own;
    s.config.own_count = 1;
    s.config.ports = p;
    if (start(&s)) {
        allocate(&s);
        permit(&s, "9.9.9.1:1");
        assert_int_equal(status(&s), 200);
        permit(&s, "9.9.9.2:1");
        send_to(&s, "9.9.9.1:50003", "x"); /* nobody's yet */
        assert_int_equal(s.out.what, TURN_NOTHING);
        assert_ok(ports_claim_one(p, ADDR_V4, 50003, &owner));
        send_to(&s, "9.9.9.1:50003", "x");
        assert_int_equal(s.out.what, TURN_TO_PEER);
        send_to(&s, "9.9.9.1:22", "x");
        assert_int_equal(s.out.what, TURN_NOTHING);
        send_to(&s, "9.9.9.2:0", "x"); /* no port at all */
        assert_int_equal(s.out.what, TURN_NOTHING);
    }
    turn_free(s.turn);
    ports_free(p);
}

/* ---- the end ---- */

static void an_allocation_ends(void **state) { /* RFC 8656 8 */
    SCENE(s);
    uint32_t lifetime;
    pool_id id = allocate(&s), gone;
    refresh(&s, 99999);
    assert_ok(stun_find_u32(&s.m, TURN_LIFETIME, &lifetime));
    assert_int_equal(lifetime, 3600);
    refresh(&s, 10); /* never shorter than the default */
    assert_ok(stun_find_u32(&s.m, TURN_LIFETIME, &lifetime));
    assert_int_equal(lifetime, 600);
    later(&s, 599 * 1000);
    turn_run_timers(s.turn, s.now);
    assert_false(turn_next_closed(s.turn, &gone));
    later(&s, 1000);
    assert_true(turn_wake_at(s.turn) <= s.now.mono);
    turn_run_timers(s.turn, s.now);
    assert_true(turn_next_closed(s.turn, &gone));
    assert_true(pool_id_eq(gone, id));
    assert_false(turn_next_closed(s.turn, &gone));
    from_peer(&s, id, "192.0.43.8:7000", "late");
    assert_int_equal(s.out.what, TURN_NOTHING);
    allocate(&s);
    refresh(&s, 0);
    assert_int_equal(status(&s), 200);
    assert_true(turn_next_closed(s.turn, &gone));
    refresh(&s, 0);
    assert_int_equal(status(&s), 437);
    turn_free(s.turn);
}

static void it_does_not_outlive_its_credential(void **state) {
    SCENE(s);
    uint32_t lifetime;
    turn_credential_make(turn_rig_key, 42, 0, s.now.wall + 100 * 1000, &s.credential);
    allocate(&s);
    assert_ok(stun_find_u32(&s.m, TURN_LIFETIME, &lifetime));
    assert_true(lifetime <= 101);
    turn_free(s.turn);
}

static void it_belongs_to_one_account(void **state) { /* RFC 8656 5 */
    SCENE(s);
    pool_id id;
    allocate(&s);
    turn_credential_make(turn_rig_key, 43, 0, s.now.wall + 86400000, &s.credential);
    permit(&s, "192.0.43.8:1");
    assert_int_equal(status(&s), 441);
    refresh(&s, 0);
    assert_int_equal(status(&s), 441);
    turn_credential_make(turn_rig_key, 42, 0, s.now.wall + 96400000,
                         &s.credential); /* a newer one of his */
    permit(&s, "192.0.43.8:1");
    assert_int_equal(status(&s), 200);
    turn_account_gone(s.turn, 43);
    turn_device_gone(s.turn, 42);
    turn_device_gone(s.turn, 0);
    assert_false(turn_next_closed(s.turn, &id));
    turn_account_gone(s.turn, 42);
    assert_true(turn_next_closed(s.turn, &id));
    turn_free(s.turn);
}

/* A session's credential: what it made ends with it, and its name cannot be cut to the account's.
 */
static void it_belongs_to_one_session(void **state) {
    SCENE(s);
    pool_id id;
    turn_credential_make(turn_rig_key, 42, 7, s.now.wall + 86400000, &s.credential);
    allocate(&s);
    assert_int_equal(s.out.allocation.slot, 0);
    turn_device_gone(s.turn, 8);
    assert_false(turn_next_closed(s.turn, &id));
    turn_device_gone(s.turn, 7);
    assert_true(turn_next_closed(s.turn, &id));
    *strrchr(s.credential.username, ':') = '\0';
    struct stun_writer w = request(&s, TURN_ALLOCATE);
    put_udp(&w);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 401);
    turn_free(s.turn);
}

static void bandwidth_is_bounded(void **state) {
    (void)state;
    struct scene s;
    begin(&s, 42);
    s.config.bytes_per_s = 1000;
    if (!start(&s)) return;
    pool_id id = allocate(&s);
    char data[101];
    memset(data, 'x', 100);
    data[100] = 0;
    unsigned passed = 0;
    permit(&s, "192.0.43.8:1");
    for (unsigned i = 0; i < 100; i++) { /* 10 kB within a second */
        later(&s, 10);
        if (i % 2)
            send_to(&s, "192.0.43.8:7000", data);
        else
            from_peer(&s, id, "192.0.43.8:7000", data);
        passed += s.out.what != TURN_NOTHING;
    }
    assert_in_range(passed, 19, 20); /* what was saved, and a second's worth */
    uint32_t slot = 0;
    struct turn_use use;
    assert_true(turn_each(s.turn, &slot, s.now, &use));
    assert_int_equal(use.bytes_up + use.bytes_down, 100 * passed);
    assert_int_equal(use.account_id, 42);
    turn_free(s.turn);
}

static void a_stream_is_cut_into_messages(void **state) {
    (void)state;
    assert_int_equal(turn_frame(SLICE("\x40\x01\x00")), 0);
    assert_int_equal(turn_frame(slice_of("\x40\x01\x00\x05", 4)), 12);
    assert_int_equal(turn_frame(slice_of("\x40\x01\xff\xff", 4)), SIZE_MAX);
    assert_int_equal(turn_frame(slice_of("\x70\x01\x00\x05", 4)), 12);
    assert_int_equal(turn_frame(slice_of("\x80\x01\x00\x05", 4)), SIZE_MAX);
    assert_int_equal(turn_frame(slice_of("\x00\x01\x00\x08", 4)), 0);
    assert_int_equal(turn_frame(slice_of("\x00\x01\x00\x08\x21\x12\xa4\x42", 8)), 28);
    assert_int_equal(turn_frame(slice_of("\x00\x01\x00\x08\x21\x12\xa4\x43", 8)), SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stranger_is_challenged),
        cmocka_unit_test(nobody_is_shot_at_through_us),
        cmocka_unit_test(a_name_is_no_format_and_no_query),
        cmocka_unit_test(errors_of_the_network_are_told),
        cmocka_unit_test(both_kinds_of_clients_are_let_in),
        cmocka_unit_test(wrong_credentials_are_refused),
        cmocka_unit_test(a_nonce_ends_and_belongs_to_one_address),
        cmocka_unit_test(a_bid_down_is_seen),
        cmocka_unit_test(wishes_are_read),
        cmocka_unit_test(a_dual_allocation_says_what_is_missing),
        cmocka_unit_test(a_copy_gets_the_same_answer),
        cmocka_unit_test(the_sockets_may_be_refused),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(a_channel_carries_both_ways),
        cmocka_unit_test(a_stream_is_padded),
        cmocka_unit_test(broken_channel_data_is_dropped),
        cmocka_unit_test(indications_carry_both_ways),
        cmocka_unit_test(a_packet_may_ask_to_stay_whole),
        cmocka_unit_test(permissions_and_channels_end),
        cmocka_unit_test(channels_are_one_to_one),
        cmocka_unit_test(peers_are_bounded),
        cmocka_unit_test(inner_networks_are_out_of_reach),
        cmocka_unit_test(a_client_that_ends_at_403_is_told_yes_for_nothing),
        cmocka_unit_test(the_operator_may_name_a_network),
        cmocka_unit_test(relayed_addresses_of_this_node_are_reachable),
        cmocka_unit_test(an_allocation_ends),
        cmocka_unit_test(it_does_not_outlive_its_credential),
        cmocka_unit_test(it_belongs_to_one_account),
        cmocka_unit_test(it_belongs_to_one_session),
        cmocka_unit_test(bandwidth_is_bounded),
        cmocka_unit_test(a_stream_is_cut_into_messages),
    };
    return crypto_init() == ERR_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
