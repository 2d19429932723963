#include "unit.h"

#include "auth/passkey_made.h"

static const uint8_t mac_key[32] = { 1 };
static char challenge_mem[PASSKEY_CHALLENGE_MAX + 8], client_mem[512];
static uint64_t used;

static struct passkey_ask ask_now(void) {
    return (struct passkey_ask){ .mac_key = mac_key,
                                 .purpose = SLICE("login"),
                                 .origin = SLICE("https://example.org"),
                                 .host = SLICE("example.org"),
                                 .now = 1000000 };
}

static slice client_data(const char *type, slice challenge, const char *origin, const char *more) {
    return made_client_data(type, challenge, origin, more, buf_over(client_mem, sizeof client_mem));
}

static slice challenge_of(const struct passkey_ask *ask) {
    struct buf b = buf_over(challenge_mem, sizeof challenge_mem);
    passkey_challenge(ask, &b);
    return buf_slice(&b);
}

static slice auth_data(const char *host, uint8_t flags, char *mem, size_t cap) {
    return made_auth_data(host, flags, "iddd", buf_over(mem, cap));
}

static void registers(void **state) {
    (void)state;
    char mem[512];
    struct passkey made;
    struct passkey_ask ask = ask_now();
    slice client = client_data("webauthn.create", challenge_of(&ask), "https://example.org", "");
    slice data = auth_data("example.org", 0x41, mem, sizeof mem);
    assert_ok(passkey_register(&ask, client, data, &made, &used));
    for (int i = 0; i < 64; i++) assert_int_equal(made.key[i], i);
    uint8_t hash[32];
    passkey_id_hash(SLICE("iddd"), hash);
    assert_memory_equal(made.id_hash, hash, 32);
    char note_mem[PASSKEY_NOTE_MAX];
    struct buf note = buf_over(note_mem, sizeof note_mem);
    uint8_t key[PASSKEY_KEY_BYTES];
    passkey_put_note(made.key, &note);
    assert_ok(passkey_read_note(buf_slice(&note), key));
    assert_memory_equal(key, made.key, sizeof key);
    assert_err(passkey_read_note(SLICE("es256 AAAA"), key), ERR_BAD);
    assert_err(passkey_read_note(SLICE("why not"), key), ERR_BAD);
}

/* WebAuthn 7.1: type, challenge, origin, host and touch are each compulsory. */
static void refuses_what_is_not_for_us(void **state) {
    (void)state;
    char mem[512];
    struct passkey made;
    struct passkey_ask ask = ask_now(), other = ask;
    slice good = challenge_of(&ask);
    slice data = auth_data("example.org", 0x41, mem, sizeof mem);
    static const struct {
        const char *type, *origin, *more;
    } rows[] = {
        { "webauthn.get", "https://example.org", "" },
        { "webauthn.create", "https://example.org.evil.com", "" },
        { "webauthn.create", "http://example.org", "" },
        { "webauthn.create", "https://example.org", ",\"crossOrigin\":true" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_err(passkey_register(&ask,
                                    client_data(rows[i].type, good, rows[i].origin, rows[i].more),
                                    data, &made, &used),
                   ERR_DENIED);
    slice client = client_data("webauthn.create", good, "https://example.org", "");
    other.purpose = SLICE("invite");
    assert_err(passkey_register(&other, client, data, &made, &used), ERR_DENIED);
    other = ask;
    other.now += PASSKEY_LIFE_MS;
    assert_err(passkey_register(&other, client, data, &made, &used), ERR_STALE);
    char bad_mem[512];
    slice bad = auth_data("evil.com", 0x41, bad_mem, sizeof bad_mem);
    assert_err(passkey_register(&ask, client, bad, &made, &used), ERR_DENIED);
    bad = auth_data("example.org", 0x40, bad_mem, sizeof bad_mem);
    assert_err(passkey_register(&ask, client, bad, &made, &used), ERR_DENIED);
    for (size_t n = 0; n < data.len; n++) /* cut anywhere: never accepted */
        assert_true(passkey_register(&ask, client, unit_guard(data.ptr, n), &made, &used) !=
                    ERR_OK);
    challenge_mem[0] = challenge_mem[0] == 'A' ? 'B' : 'A';
    client = client_data("webauthn.create", good, "https://example.org", "");
    assert_err(passkey_register(&ask, client, data, &made, &used), ERR_DENIED);
}

static void refuses_wrong_signatures(void **state) {
    (void)state;
    char mem[512];
    /* A point of P-256: its generator (SEC 2, 2.4.2). */
    static const uint8_t key[64] =
        "\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2"
        "\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96"
        "\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16"
        "\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";
    struct passkey_ask ask = ask_now();
    slice client = client_data("webauthn.get", challenge_of(&ask), "https://example.org", "");
    slice data = slice_head(auth_data("example.org", 0x01, mem, sizeof mem), 37);
    /* well formed: r = s = 1 */
    assert_err(
        passkey_prove(&ask, client, data, SLICE("\x30\x06\x02\x01\x01\x02\x01\x01"), key, &used),
        ERR_DENIED);
    assert_true(passkey_prove(&ask, client, data, SLICE("nonsense"), key, &used) != ERR_OK);
    assert_err(passkey_prove(&ask, client, data, SLICE(""), key, &used), ERR_BAD);
}

static int prepare(void **state) {
    (void)state;
    return crypto_init() == ERR_OK ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registers),
        cmocka_unit_test(refuses_what_is_not_for_us),
        cmocka_unit_test(refuses_wrong_signatures),
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
