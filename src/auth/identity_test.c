#include "unit.h"

#include "auth/identity.h"
#include "crypto/crypto.h"

static const struct hash_key key = { 1, 2 };
static const uint8_t seal_key[32] = { 9 };
static const slice domains[] = { { "example.org", 11 }, { "example.com", 11 } };
#define NOW ((wall_t)1700000000000)

static struct accounts *accounts;
static struct flow_identities ids;

static void put(uint32_t id, const char *user, const char *aliases, uint32_t flags) {
    struct account_row row = { .id = id,
                               .user = slice_str(user),
                               .domain = SLICE("example.org"),
                               .aliases = slice_str(aliases),
                               .flags = flags };
    assert_ok(accounts_put(accounts, &row));
}
static void put_device(uint32_t id, uint32_t account_id, bool revoked, wall_t until) {
    struct device_row row = { .id = id, .account_id = account_id, .kind = DEVICE_CERTIFICATE };
    row.key_hash[0] = (uint8_t)id;
    row.revoked = revoked;
    row.until = until;
    assert_ok(accounts_put_device(accounts, &row));
}
static void prove(uint32_t id, uint32_t device_id) {
    struct account account;
    assert_ok(accounts_by_id(accounts, id, &account));
    assert_ok(identities_add(&ids, &account, device_id));
}
static int setup(void **state) {
    (void)state;
    if (crypto_init()) return -1;
    ids = (struct flow_identities){ 0 };
    accounts = accounts_new(64, &key, seal_key);
    if (!accounts) return -1;
    put(1, "alice", "100,+4930123", 0);
    put(2, "bob", "200", 0);
    put(3, "carol", "", 0);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    identities_fini(&ids);
    accounts_free(accounts);
    return 0;
}

/* Who speaks with this From: the account's id, -403 or -407. `preferred` may be NULL. */
static int speaks(const char *from, const char *preferred) {
    static struct sip_msg m;
    static char text[2048];
    struct buf b = buf_over(text, sizeof text);
    buf_fmt(&b,
            "INVITE sip:x@example.org SIP/2.0\r\nVia: SIP/2.0/TLS h.example;branch=z9hG4bK1\r\n"
            "From: <%s>;tag=1\r\nTo: <sip:x@example.org>\r\nCall-ID: 1@h\r\nCSeq: 1 INVITE\r\n"
            "Max-Forwards: 70\r\n",
            from);
    if (preferred) buf_fmt(&b, "P-Preferred-Identity: %s\r\n", preferred);
    buf_lit(&b, "Content-Length: 0\r\n\r\n");
    assert_false(b.full);
    assert_ok(sip_msg_read(&m, unit_guard(b.ptr, b.len), SIP_STREAM).err);
    struct flow_identity got;
    enum err e = identities_for_message(&ids, accounts, &m, domains, ARRAY_LEN(domains), NOW, &got);
    if (e == ERR_OK) return (int)got.account_id;
    assert_true(e == ERR_MISSING || e == ERR_DENIED);
    return e == ERR_MISSING ? -407 : -403;
}
static int registers(const char *to) {
    struct sip_uri uri;
    assert_ok(sip_uri_read(unit_guard(to, strlen(to)), &uri));
    struct flow_identity got;
    enum err e = identities_for_register(&ids, accounts, &uri, NOW, &got);
    if (e == ERR_OK) return (int)got.account_id;
    assert_err(e, ERR_MISSING);
    return -401;
}
static bool holds(uint32_t account_id) {
    struct flow_identity got;
    return identities_find(&ids, accounts, account_id, NOW, &got) == ERR_OK;
}

/* "A flow holds up to 16 identities (accounts, or one domain), each added by its own digest
 * success, device certificate or web session" */
static void holds_up_to_sixteen(void **state) {
    (void)state;
    for (uint32_t id = 10; id < 10 + LIMIT_IDENTITIES + 1; id++) {
        char user[16];
        (void)snprintf(user, sizeof user, "u%u", id);
        put(id, user, "", 0);
    }
    for (uint32_t id = 10; id < 10 + LIMIT_IDENTITIES; id++) prove(id, 0);
    struct account one_more;
    assert_ok(accounts_by_id(accounts, 10 + LIMIT_IDENTITIES, &one_more));
    assert_err(identities_add(&ids, &one_more, 0), ERR_FULL);
    prove(10, 0); /* proving again is not one more */
    prove(25, 0);
    assert_int_equal(ids.count, LIMIT_IDENTITIES);
    for (uint32_t id = 10; id < 10 + LIMIT_IDENTITIES; id++) assert_true(holds(id));
    assert_false(holds(10 + LIMIT_IDENTITIES));
    assert_true(sizeof(struct flow_identities) <= 32);
}

static void proving_again_replaces(void **state) {
    (void)state;
    put_device(7, 1, false, 0);
    prove(1, 7);
    prove(1, 0);
    struct flow_identity got;
    assert_ok(identities_find(&ids, accounts, 1, NOW, &got));
    assert_int_equal(got.device_id, 0);
    assert_int_equal(ids.count, 1);
}

/* "until the flow closes or the account changes" */
static void ends_when_the_account_changes(void **state) {
    (void)state;
    prove(1, 0);
    prove(2, 0);
    prove(3, 0);
    put(1, "alice", "100,101", 0); /* aliases */
    assert_false(holds(1));
    put(2, "bob", "200", ACCOUNT_DISABLED);
    assert_false(holds(2));
    assert_true(holds(3));
    accounts_remove(accounts, 3);
    assert_false(holds(3));
    assert_int_equal(identities_refresh(&ids, accounts, NOW), 0);
    assert_int_equal(speaks("sip:alice@example.org", NULL), -407);
    prove(1, 0); /* proved again under the new stamp */
    assert_true(holds(1));
    prove(2, 0); /* disabled: does not hold, whoever proved it */
    assert_false(holds(2));
}

static void ends_with_the_device(void **state) {
    (void)state;
    put_device(7, 1, false, NOW + 1);
    put_device(8, 2, false, 0);
    put_device(9, 3, false, NOW);
    prove(1, 7);
    prove(2, 8);
    prove(3, 9);
    assert_true(holds(1));
    assert_true(holds(2));
    assert_false(holds(3)); /* its end has come */
    put_device(8, 2, true, 0);
    assert_false(holds(2)); /* revoked */
    accounts_remove_device(accounts, 7);
    assert_false(holds(1)); /* gone */
    put_device(7, 1, false, 0);
    prove(3, 7); /* another account's device proves nothing */
    assert_false(holds(3));
}

static void dropping_keeps_the_others(void **state) {
    (void)state;
    prove(1, 0);
    prove(2, 0);
    prove(3, 0);
    put(1, "alice", "", ACCOUNT_DISABLED);
    assert_int_equal(identities_refresh(&ids, accounts, NOW), 2);
    assert_true(holds(2));
    assert_true(holds(3));
    put(2, "bob", "", ACCOUNT_DISABLED);
    assert_int_equal(identities_refresh(&ids, accounts, NOW), 1);
    assert_null(ids.more);
    assert_true(holds(3));
}

/* "REGISTER is judged by its To: challenged unless that account is on the flow." */
static void register_is_judged_by_to(void **state) {
    (void)state;
    assert_int_equal(registers("sip:alice@example.org"), -401);
    prove(1, 0);
    assert_int_equal(registers("sip:alice@example.org"), 1);
    assert_int_equal(registers("sips:alice@EXAMPLE.org:5061;x=y"), 1);
    assert_int_equal(registers("sip:100@example.org"), 1);
    assert_int_equal(registers("sip:bob@example.org"), -401);
    assert_int_equal(registers("sip:nobody@example.org"), -401); /* looks the same */
    prove(2, 0);
    assert_int_equal(registers("sip:bob@example.org"), 2);
}

/* "its From (user@host; the account's aliases and numbers count) must belong to one identity, else
 * 403; no identity at all: 407" */
static void from_must_be_on_the_flow(void **state) {
    (void)state;
    assert_int_equal(speaks("sip:alice@example.org", NULL), -407);
    prove(1, 0);
    assert_int_equal(speaks("sip:alice@example.org", NULL), 1);
    assert_int_equal(speaks("sip:100@example.org", NULL), 1);
    assert_int_equal(speaks("sip:+4930123@example.org;user=phone", NULL), 1);
    assert_int_equal(speaks("tel:+49-30-123", NULL), 1);
    assert_int_equal(speaks("tel:+49-30-124", NULL), -403);
    assert_int_equal(speaks("sip:%61lice@EXAMPLE.ORG", NULL), 1);
    assert_int_equal(speaks("sip:ALICE@example.org", NULL), -403);
    assert_int_equal(speaks("sip:alice@example.com", NULL), -403);
    assert_int_equal(speaks("sip:bob@example.org", NULL), -403);
    assert_int_equal(speaks("sip:example.org", NULL), -403);
    assert_int_equal(speaks("mailto:alice@example.org", NULL), -403);
    prove(2, 0);
    assert_int_equal(speaks("sip:bob@example.org", NULL), 2);
    assert_int_equal(speaks("sip:alice@example.org", NULL), 1);
    /* A preferred identity does not stand in for a From that says who it is. */
    assert_int_equal(speaks("sip:carol@example.org", "<sip:alice@example.org>"), -403);
    assert_int_equal(speaks("sip:bob@example.org", "<sip:alice@example.org>"), 2);
}

/* "If From is anonymous, the account is the one that P-Preferred-Identity names if it is on the
 * flow, else the only one; several and none named: 403." */
static void anonymous_needs_one_account(void **state) {
    (void)state;
    static const char *const nobody[] = { "sip:anonymous@anonymous.invalid",
                                          "sip:Anonymous@example.org",
                                          "sips:anonymous@EXAMPLE.com" };
    for (size_t i = 0; i < ARRAY_LEN(nobody); i++) {
        identities_fini(&ids);
        assert_int_equal(speaks(nobody[i], NULL), -407);
        prove(1, 0);
        assert_int_equal(speaks(nobody[i], NULL), 1);
        assert_int_equal(speaks(nobody[i], "<sip:alice@example.org>"), 1);
        assert_int_equal(speaks(nobody[i], "<sip:carol@example.org>"), 1);
        prove(2, 0);
        assert_int_equal(speaks(nobody[i], NULL), -403);
        assert_int_equal(speaks(nobody[i], "<sip:carol@example.org>"), -403);
        assert_int_equal(speaks(nobody[i], "\"Bob\" <sip:bob@example.org>"), 2);
        assert_int_equal(speaks(nobody[i], "<sip:200@example.org>"), 2);
        /* RFC 3325 9.2: a sip and a tel value may stand there. */
        assert_int_equal(speaks(nobody[i], "<sip:x@example.net>, <tel:+4930123>"), 1);
        assert_int_equal(speaks(nobody[i], "<<<"), -403);
    }
    assert_int_equal(speaks("sip:anonymous@example.net", NULL), -403);
    assert_int_equal(speaks("sip:bob@anonymous.invalid", NULL), -403);
}

static enum err oom_run(void *ctx) {
    (void)ctx;
    struct flow_identities mine = { 0 };
    const struct account first = { .id = 1, .stamp = 1 }, second = { .id = 2, .stamp = 1 };
    enum err e = identities_add(&mine, &first, 0);
    if (!e) e = identities_add(&mine, &second, 0);
    assert_int_equal(mine.count, e ? 1 : 2);
    identities_fini(&mine);
    return e;
}
static void memory_runs_short(void **state) {
    (void)state;
    assert_int_equal(unit_oom(oom_run), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static void a_domain_speaks_for_its_own(void **state) {
    (void)state;
    const slice names[] = { SLICE("Other.ORG"), SLICE("more.example") };
    assert_false(identities_have_domains(&ids));
    assert_ok(identities_set_domains(&ids, names, 2, NULL));
    assert_true(identities_have_domains(&ids));
    assert_slice(ids.domains->names[0], "other.org");
    assert_true(identities_hold_domain(&ids, SLICE("OTHER.org")));
    assert_true(identities_hold_domain(&ids, SLICE("more.example")));
    assert_false(identities_hold_domain(&ids, SLICE("ther.org")));
    assert_false(identities_hold_domain(&ids, SLICE("sub.other.org")));
    assert_int_equal(speaks("sip:alice@example.org", NULL), -407); /* that makes no account */
    identities_fini(&ids);
    assert_ok(identities_set_domains(&ids, NULL, 0, "has expired"));
    assert_false(identities_have_domains(&ids));
    assert_false(identities_hold_domain(&ids, SLICE_NONE));
    identities_fini(&ids);
    slice many[LIMIT_IDENTITIES + 1];
    for (unsigned i = 0; i < ARRAY_LEN(many); i++) many[i] = SLICE("other.org");
    assert_ok(identities_set_domains(&ids, many, ARRAY_LEN(many), NULL));
    assert_int_equal(ids.domains->count, LIMIT_IDENTITIES);
    identities_fini(&ids);
    mem_fail_at(0);
    assert_err(identities_set_domains(&ids, names, 2, NULL), ERR_MEMORY);
    mem_fail_at(-1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(holds_up_to_sixteen),
        TEST(proving_again_replaces),
        TEST(ends_when_the_account_changes),
        TEST(ends_with_the_device),
        TEST(dropping_keeps_the_others),
        TEST(register_is_judged_by_to),
        TEST(from_must_be_on_the_flow),
        TEST(anonymous_needs_one_account),
        TEST(memory_runs_short),
        TEST(a_domain_speaks_for_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
