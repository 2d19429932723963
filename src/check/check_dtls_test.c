/* Two ends of DTLS against each other, without a network. */
#include "check/dtls.h"
#include "crypto/crypto.h"
#include "unit.h"

#define WAITING 64u

struct end {
    struct dtls *d;
    struct end *other;
    char bytes[WAITING][2048];
    size_t len[WAITING];
    unsigned first, count; /* datagrams on their way to it */
};
static struct end client, server;

static void give(void *context, slice s) {
    struct end *to = ((struct end *)context)->other;
    assert_true(to->count < WAITING && s.len <= sizeof to->bytes[0]);
    memcpy(to->bytes[to->count], s.ptr, s.len);
    to->len[to->count++] = s.len;
}

static bool carry(struct end *e) {
    if (e->first == e->count) return false;
    dtls_take(e->d, slice_of(e->bytes[e->first], e->len[e->first]));
    e->first++;
    return true;
}

/* false: memory is short, which is the only reason. */
static bool opens_one(struct end *e, struct end *other, const struct dtls_wish *w) {
    *e = (struct end){ .other = other };
    enum err result = dtls_open(w, give, e, &e->d);
    assert_true(result == ERR_OK || result == ERR_MEMORY);
    return result == ERR_OK;
}
static bool opens(const char *mine, bool unknown, const char *theirs) {
    if (!opens_one(&client, &server, &(struct dtls_wish){ mine, unknown })) return false;
    if (opens_one(&server, &client, &(struct dtls_wish){ .profiles = theirs })) return true;
    dtls_close(client.d);
    return false;
}

static void shake(void) {
    dtls_start(server.d, false);
    dtls_start(client.d, true);
    while (carry(&server) || carry(&client)) {}
}

static void ends(void) {
    dtls_close(client.d);
    dtls_close(server.d);
}

/* RFC 5764 4.2: what one side writes with, the other reads with */
static void keys(void **state) {
    (void)state;
    if (!opens(DTLS_CM, false, "SRTP_AEAD_AES_128_GCM:" DTLS_CM)) return;
    shake();
    assert_int_equal(dtls_state(client.d), DTLS_UP);
    assert_int_equal(dtls_state(server.d), DTLS_UP);
    assert_true(dtls_greeted(client.d) && dtls_greeted(server.d));
    assert_int_equal(dtls_profile(server.d), 1);
    assert_true(dtls_matches(client.d, slice_str(dtls_fingerprint(server.d))));
    assert_true(dtls_matches(server.d, slice_str(dtls_fingerprint(client.d))));
    assert_false(dtls_matches(server.d, slice_str(dtls_fingerprint(server.d))));
    assert_false(dtls_matches(server.d, SLICE("sha-256 AB:CD")));
    assert_false(dtls_matches(server.d, SLICE("md5")));
    struct srtp a, b, c, d;
    assert_true(dtls_keys(client.d, &a, &b) && dtls_keys(server.d, &c, &d));
    assert_memory_equal(&a, &d, sizeof a);
    assert_memory_equal(&b, &c, sizeof b);
    assert_memory_not_equal(&a, &b, sizeof a);
    ends();
}

/* RFC 5764 4.1.1: no profile of ours, none */
static void no_profile(void **state) {
    (void)state;
    struct srtp a, b;
    if (!opens(DTLS_CM, false, NULL)) return;
    shake();
    assert_int_equal(dtls_state(client.d), DTLS_UP);
    assert_int_equal(dtls_profile(client.d), 0);
    assert_false(dtls_keys(client.d, &a, &b));
    ends();
}

/* The profile that nobody knows reaches the other side, and the handshake comes to nothing. */
static void unknown(void **state) {
    (void)state;
    if (!opens(DTLS_CM, true, DTLS_CM)) return;
    shake();
    assert_true(dtls_greeted(client.d));
    assert_int_equal(dtls_profile(client.d), 0);
    assert_int_not_equal(dtls_state(client.d), DTLS_UP);
    assert_int_equal(dtls_state(server.d), DTLS_ENDED);
    ends();
}

/* RFC 6347 4.2.4: what is lost comes again; what is nonsense changes nothing */
static void loss(void **state) {
    (void)state;
    if (!opens(DTLS_CM, false, DTLS_CM)) return;
    dtls_start(server.d, false);
    dtls_take(client.d, SLICE("\x16\xfe\xfd too early"));
    dtls_start(client.d, true);
    dtls_take(server.d, SLICE("\x14"));
    server.count = server.first; /* the hello is lost */
    assert_in_range(dtls_due(client.d), 1, 2000);
    assert_int_equal(dtls_due(server.d), 1000);
    dtls_tick(server.d);
    assert_int_equal(dtls_state(server.d), DTLS_SHAKES);
    ends();
}

static int setup(void **state) {
    (void)state;
    return crypto_init() == ERR_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(keys), cmocka_unit_test(no_profile),
                                        cmocka_unit_test(unknown), cmocka_unit_test(loss) };
    return cmocka_run_group_tests(tests, setup, NULL);
}
