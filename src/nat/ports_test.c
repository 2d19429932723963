#include "unit.h"

#include "nat/ports.h"

static struct addr at(const char *text) {
    struct addr a;
    assert_ok(addr_read(slice_str(text), &a));
    return a;
}

static struct ports *make(uint16_t first, uint16_t last, uint32_t per_account) {
    struct ports_config c = { .first = first,
                              .last = last,
                              .per_account = per_account,
                              .accounts_max = 4,
                              .relay = { at("9.9.9.1:0") } };
    return ports_new(&c);
}

static const uint8_t seed[32] = { 3 };

static void every_port_is_given_once(void **state) {
    (void)state;
    struct rng rng;
    bool seen[20] = { false };
    unsigned in_order = 0;
    uint16_t last = 0;
    rng_init(&rng, seed);
    struct ports *p = make(50000, 50019, 9);
    if (!p) return;
    for (unsigned i = 0; i < 20; i++) {
        uint16_t port;
        struct port_owner o = { 1, { i, i + 7 } }, got;
        assert_ok(ports_claim(p, ADDR_V4, false, &o, &rng, &port));
        assert_in_range(port, 50000, 50019);
        assert_false(seen[port - 50000]);
        seen[port - 50000] = true;
        in_order += port == last + 1;
        last = port;
        struct addr a = at("9.9.9.1:1"), other = at("9.9.9.2:1");
        a.port = other.port = port;
        assert_true(ports_owner(p, &a, &got));
        assert_true(got.worker == 1 && pool_id_eq(got.allocation, o.allocation));
        assert_false(ports_owner(p, &other, &got));
    }
    assert_true(in_order < 15); /* RFC 6056: not to be guessed from the last one */
    uint16_t port;
    struct port_owner o = { 0 };
    assert_err(ports_claim(p, ADDR_V4, false, &o, &rng, &port), ERR_FULL);
    assert_err(ports_claim(p, ADDR_V6, false, &o, &rng, &port), ERR_FULL); /* no such family */
    ports_release(p, ADDR_V4, 50004);
    assert_ok(ports_claim(p, ADDR_V4, true, &o, &rng, &port));
    assert_int_equal(port, 50004);
    ports_release(p, ADDR_V4, 50005);
    assert_err(ports_claim(p, ADDR_V4, true, &o, &rng, &port), ERR_FULL);
    assert_ok(ports_claim_one(p, ADDR_V4, 50005, &o));
    assert_err(ports_claim_one(p, ADDR_V4, 50005, &o), ERR_FULL);
    assert_err(ports_claim_one(p, ADDR_V4, 50020, &o), ERR_FULL);
    ports_free(p);
}

static void an_account_has_its_share(void **state) {
    (void)state;
    struct ports *p = make(50000, 50019, 2);
    if (!p) return;
    for (uint32_t id = 0; id < 4; id++) {
        if (ports_account_take(p, id) != ERR_OK) goto out; /* memory is short */
        assert_ok(ports_account_take(p, id));
        assert_err(ports_account_take(p, id), ERR_FULL);
    }
    ports_account_give(p, 2);
    assert_int_equal(ports_account_count(p, 2), 1);
    ports_account_give(p, 2);
    assert_int_equal(ports_account_count(p, 2), 0);
    assert_ok(ports_account_take(p, 7)); /* his place is free */
    assert_int_not_equal(ports_account_take(p, 8), ERR_OK);
out:
    ports_free(p);
}

static void a_reservation_is_redeemed_once(void **state) { /* RFC 8656 7.2 */
    (void)state;
    struct rng rng;
    struct port_owner o = { 0 };
    rng_init(&rng, seed);
    struct ports *p = make(50000, 50019, 2);
    if (!p) return;
    struct reservation r = { .account_id = 42, .relayed = at("9.9.9.1:50001"), .fd = 17 }, got;
    assert_ok(ports_claim_one(p, ADDR_V4, 50001, &o));
    assert_ok(ports_reserve(p, &r, &rng, 1000));
    assert_err(ports_redeem(p, r.token, 43, 2000, &got), ERR_MISSING); /* not his */
    assert_err(ports_redeem(p, r.token, 42, 1000 + PORTS_RESERVATION_MS, &got), ERR_MISSING);
    assert_ok(ports_redeem(p, r.token, 42, 2000, &got));
    assert_int_equal(got.fd, 17);
    assert_err(ports_redeem(p, r.token, 42, 2000, &got), ERR_MISSING);
    /* nobody came */
    assert_ok(ports_reserve(p, &r, &rng, 1000));
    assert_false(ports_expired(p, 2000, &got));
    assert_true(ports_expired(p, 1000 + PORTS_RESERVATION_MS, &got));
    assert_int_equal(got.fd, 17);
    assert_ok(ports_claim_one(p, ADDR_V4, 50001, &o)); /* and its port is free again */
    assert_false(ports_expired(p, MONO_NEVER, &got));
    for (unsigned i = 0; i < PORTS_RESERVED_MAX; i++) assert_ok(ports_reserve(p, &r, &rng, 1));
    assert_err(ports_reserve(p, &r, &rng, 1), ERR_FULL);
    ports_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_port_is_given_once),
        cmocka_unit_test(an_account_has_its_share),
        cmocka_unit_test(a_reservation_is_redeemed_once),
    };
    return crypto_init() == ERR_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
