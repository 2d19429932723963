/* TCP allocations: RFC 6062, sentence by sentence. */
#include "unit.h"

#include "nat/turn_rig.h"

static void ask_tcp(struct scene *s) {
    struct stun_writer w = request(s, TURN_ALLOCATE);
    stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x06\0\0\0", 4));
    send_proved(s, &w);
}

static pool_id allocate_tcp(struct scene *s) {
    s->client.stream = 7;
    challenge(s);
    ask_tcp(s);
    pool_id id = s->out.allocation;
    assert_int_equal(s->out.what, TURN_OPEN);
    assert_true(s->out.ask.tcp);
    opened(s, "9.9.9.1:50000", NULL);
    assert_int_equal(status(s), 200);
    return id;
}

static void connect_to(struct scene *s, const char *peer) {
    struct addr a = at(peer);
    struct stun_writer w = request(s, TURN_CONNECT);
    stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &a);
    send_proved(s, &w);
}

static uint32_t connected(struct scene *s, const char *peer) {
    uint32_t connection;
    connect_to(s, peer);
    assert_int_equal(s->out.what, TURN_DIAL);
    turn_link_connected(s->turn, s->out.link, true, s->now, &s->out);
    keep(s);
    assert_int_equal(status(s), 200);
    assert_int_equal(s->out.tuple->stream, 7); /* on the control connection */
    assert_ok(stun_find_u32(&s->m, TURN_CONNECTION_ID, &connection));
    return connection;
}

/* ConnectionBind on a connection of its own. */
static void bind_connection(struct scene *s, uint32_t connection) {
    s->client.stream++;
    struct stun_writer w = request(s, TURN_CONNECTION_BIND);
    stun_put_u32(&w, TURN_CONNECTION_ID, connection);
    send_proved(s, &w);
    if (s->out.what == TURN_TO_CLIENT && stun_error(&s->m) == 438) { /* a nonce of its own */
        w = request(s, TURN_CONNECTION_BIND);
        stun_put_u32(&w, TURN_CONNECTION_ID, connection);
        send_proved(s, &w);
    }
}

static enum err join(struct scene *s, pool_id *out_link) {
    assert_int_equal(s->out.what, TURN_JOIN);
    struct turn_join j = s->out.join;
    enum err err = turn_join(s->turn, &j, s->now, &s->out, out_link);
    keep(s);
    return err;
}

static void only_streams_get_tcp(void **state) { /* RFC 6062 5.1 */
    SCENE(s);
    challenge(&s);
    ask_tcp(&s);
    assert_int_equal(status(&s), 400);
    static const struct {
        enum stun_attr type;
        const char *bytes;
        size_t len;
    } rows[] = { { TURN_EVEN_PORT, "\0", 1 },
                 { TURN_DONT_FRAGMENT, "", 0 },
                 { TURN_RESERVATION_TOKEN, "12345678", 8 } };
    s.client.stream = 7;
    challenge(&s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stun_writer w = request(&s, TURN_ALLOCATE);
        stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x06\0\0\0", 4));
        stun_put(&w, rows[i].type, slice_of(rows[i].bytes, rows[i].len));
        send_proved(&s, &w);
        assert_int_equal(status(&s), 400);
    }
    turn_free(s.turn);
}

static void a_connection_is_made_and_joined_once(void **state) { /* RFC 6062 5.2, 5.4 */
    SCENE(s);
    pool_id link;
    allocate_tcp(&s);
    uint32_t connection = connected(&s, "192.0.43.8:7000");
    assert_int_equal(TURN_JOIN_WORKER(connection), 0);
    assert_int_equal(turn_counters(s.turn)->links, 1);
    bind_connection(&s, connection);
    assert_ok(join(&s, &link));
    assert_int_equal(status(&s), 200);
    bind_connection(&s, connection); /* RFC 6062 5.4: it is not pending any more */
    assert_int_equal(join(&s, &link), ERR_BAD);
    assert_int_equal(status(&s), 400);
    turn_link_gone(s.turn, link);
    assert_int_equal(turn_counters(s.turn)->links, 0);
    turn_free(s.turn);
}

static void the_id_names_the_worker(void **state) {
    struct scene s;
    (void)state;
    begin(&s, 42);
    s.config.worker = 3;
    if (!start(&s)) return;
    allocate_tcp(&s);
    assert_int_equal(TURN_JOIN_WORKER(connected(&s, "192.0.43.8:7000")), 3);
    turn_free(s.turn);
}

static void others_do_not_join(void **state) { /* RFC 6062 4.3: the same credentials */
    SCENE(s);
    pool_id link;
    allocate_tcp(&s);
    uint32_t connection = connected(&s, "192.0.43.8:7000");
    turn_credential_make(turn_rig_key, 43, 0, s.now.wall + 86400000, &s.credential);
    bind_connection(&s, connection);
    assert_int_equal(join(&s, &link), ERR_BAD);
    assert_int_equal(status(&s), 400);
    bind_connection(&s, connection ^ 1u << 12); /* another slot: nothing is there */
    assert_int_equal(join(&s, &link), ERR_BAD);
    turn_free(s.turn);
}

static void connects_that_are_refused(void **state) { /* RFC 6062 5.2 */
    SCENE(s);
    allocate_tcp(&s);
    connect_to(&s, "192.0.43.8:7000");
    pool_id link = s.out.link;
    connect_to(&s, "192.0.43.8:7000");
    assert_int_equal(status(&s), 446); /* while it is being made */
    turn_link_connected(s.turn, link, true, s.now, &s.out);
    connect_to(&s, "192.0.43.8:7000");
    assert_int_equal(status(&s), 446); /* and while it is there */
    connect_to(&s, "10.0.0.1:22");
    assert_int_equal(status(&s), 403);
    connect_to(&s, "127.0.0.1:22");
    assert_int_equal(status(&s), 403);
    connect_to(&s, "[2001:4860::8]:22");
    assert_int_equal(status(&s), 443);
    struct stun_writer w = request(&s, TURN_CONNECT);
    send_proved(&s, &w);
    assert_int_equal(status(&s), 400);
    connect_to(&s, "192.0.43.8:7001");
    turn_link_connected(s.turn, s.out.link, false, s.now, &s.out);
    keep(&s);
    assert_int_equal(status(&s), 447);
    s.client.stream = 9; /* no allocation there */
    connect_to(&s, "192.0.43.8:7000");
    if (status(&s) == 438) connect_to(&s, "192.0.43.8:7000");
    assert_int_equal(status(&s), 437);
    turn_free(s.turn);
}

static void peers_need_a_permission(void **state) { /* RFC 6062 5.3 */
    SCENE(s);
    struct addr peer = at("192.0.43.8:9999"), got;
    pool_id id = allocate_tcp(&s), link;
    uint32_t connection;
    assert_int_equal(turn_link_arrived(s.turn, id, &peer, s.now, &s.out, &link), ERR_DENIED);
    assert_int_equal(s.out.what, TURN_NOTHING);
    permit(&s, "192.0.43.8:1");
    assert_int_equal(status(&s), 200);
    assert_ok(turn_link_arrived(s.turn, id, &peer, s.now, &s.out, &link));
    keep(&s);
    assert_int_equal(s.m.class, STUN_INDICATION);
    assert_int_equal(s.m.method, TURN_CONNECTION_ATTEMPT);
    assert_ok(stun_find_addr(&s.m, TURN_XOR_PEER_ADDRESS, &got));
    assert_true(addr_eq(&got, &peer));
    assert_ok(stun_find_u32(&s.m, TURN_CONNECTION_ID, &connection));
    bind_connection(&s, connection);
    assert_ok(join(&s, &link));
    turn_free(s.turn);
}

static void nobody_waits_for_ever(void **state) { /* RFC 6062 5.2, 5.3: 30 seconds */
    SCENE(s);
    pool_id first, link;
    bool is_late;
    allocate_tcp(&s);
    connect_to(&s, "192.0.43.8:7000");
    first = s.out.link;
    uint32_t connection = connected(&s, "192.0.43.8:7001");
    later(&s, 29990);
    turn_run_timers(s.turn, s.now);
    assert_false(turn_next_link(s.turn, &link, &is_late));
    later(&s, 20);
    turn_run_timers(s.turn, s.now);
    bind_connection(&s, connection); /* too late, though it stands there yet */
    assert_int_equal(join(&s, &link), ERR_BAD);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(turn_next_link(s.turn, &link, &is_late));
        assert_int_equal(is_late, pool_id_eq(link, first));
        if (is_late) {
            turn_link_connected(s.turn, link, false, s.now, &s.out);
            keep(&s);
            assert_int_equal(status(&s), 447);
        }
        turn_link_gone(s.turn, link);
    }
    assert_false(turn_next_link(s.turn, &link, &is_late));
    assert_int_equal(turn_counters(s.turn)->links, 0);
    turn_free(s.turn);
}

static void links_end_with_their_allocation(void **state) { /* RFC 6062 5.5 */
    SCENE(s);
    pool_id joined, link, gone;
    bool is_late;
    allocate_tcp(&s);
    bind_connection(&s, connected(&s, "192.0.43.8:7000"));
    assert_ok(join(&s, &joined));
    turn_stream_closed(s.turn, 7);
    assert_true(turn_next_closed(s.turn, &gone));
    assert_true(turn_next_link(s.turn, &link, &is_late));
    assert_true(pool_id_eq(link, joined) && !is_late);
    assert_int_equal(turn_link_spend(s.turn, link, 1000, true, s.now), 0);
    turn_link_gone(s.turn, link);
    assert_false(turn_next_link(s.turn, &link, &is_late));
    turn_free(s.turn);
}

static void links_are_bounded(void **state) {
    SCENE(s);
    struct addr peer = at("192.0.43.8:9000");
    pool_id id = allocate_tcp(&s), link;
    enum err err = ERR_OK;
    permit(&s, "192.0.43.8:1");
    for (unsigned i = 0; i < TURN_LINKS_MAX && err == ERR_OK; i++, peer.port++)
        err = turn_link_arrived(s.turn, id, &peer, s.now, &s.out, &link);
    assert_ok(err);
    assert_int_equal(turn_link_arrived(s.turn, id, &peer, s.now, &s.out, &link), ERR_FULL);
    connect_to(&s, "192.0.43.8:7000");
    assert_int_equal(status(&s), 508);
    turn_free(s.turn);
}

static void datagrams_have_no_place_there(void **state) {
    SCENE(s);
    pool_id id = allocate_tcp(&s);
    permit(&s, "192.0.43.8:1");
    from_peer(&s, id, "192.0.43.8:7000", "x");
    assert_int_equal(s.out.what, TURN_NOTHING);
    send_to(&s, "192.0.43.8:7000", "x");
    assert_int_equal(s.out.what, TURN_NOTHING);
    bind_channel(&s, 0x4000, "192.0.43.8:7000");
    assert_int_equal(status(&s), 403);
    turn_free(s.turn);
}

static void too_much_is_waited_for(void **state) {
    struct scene s;
    pool_id link;
    (void)state;
    begin(&s, 42);
    s.config.bytes_per_s = 1000;
    if (!start(&s)) return;
    allocate_tcp(&s);
    bind_connection(&s, connected(&s, "192.0.43.8:7000"));
    assert_ok(join(&s, &link));
    assert_int_equal(turn_link_spend(s.turn, link, 1000, true, s.now), 0);
    assert_in_range(turn_link_spend(s.turn, link, 2000, false, s.now), 2000, 2001);
    later(&s, 1000);
    assert_in_range(turn_link_spend(s.turn, link, 0, false, s.now), 1000, 1001);
    assert_int_equal(turn_counters(s.turn)->bytes_up, 1000);
    assert_int_equal(turn_counters(s.turn)->bytes_down, 2000);
    turn_free(s.turn);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_streams_get_tcp),
        cmocka_unit_test(a_connection_is_made_and_joined_once),
        cmocka_unit_test(the_id_names_the_worker),
        cmocka_unit_test(others_do_not_join),
        cmocka_unit_test(connects_that_are_refused),
        cmocka_unit_test(peers_need_a_permission),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(links_end_with_their_allocation),
        cmocka_unit_test(links_are_bounded),
        cmocka_unit_test(datagrams_have_no_place_there),
        cmocka_unit_test(too_much_is_waited_for),
    };
    return crypto_init() == ERR_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
