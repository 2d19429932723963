#include "unit.h"

#include "auth/digest.h"
#include "auth/digest_used.h"
#include "auth/secret.h"
#include "crypto/crypto.h"

static const struct hash_key key = { 1, 2 };
static const uint8_t seal_key[32] = { 9 };
static const slice realm = { "example.org", 11 };
#define FLOW  flow_id_make(1, 2, 3)
#define START ((wall_t)1700000000000)

/* One account "alice" with secret "wonderland" and two legacy devices, "hall" and "cellar". */
static struct digest d;
static struct digest_flow flow_state;

static void add_legacy(uint32_t id, slice secret, wall_t until, bool revoked) {
    struct device_row row = { .id = id, .account_id = 1, .kind = DEVICE_LEGACY, .until = until };
    uint8_t box[SECRET_SEALED_MD5_BYTES];
    row.revoked = revoked;
    secret_seal_legacy(seal_key, SLICE("alice"), realm, secret, box, &row);
    assert_ok(accounts_put_device(d.accounts, &row));
}
static void put_alice(uint32_t flags) {
    struct account_row row = {
        .id = 1, .user = SLICE("alice"), .domain = realm, .aliases = SLICE("100"), .flags = flags
    };
    struct secret_boxes boxes;
    secret_seal_account(seal_key, SLICE("wonderland"), &boxes, &row);
    assert_ok(accounts_put(d.accounts, &row));
}
static int setup(void **state) {
    (void)state;
    if (crypto_init()) return -1;
    d = (struct digest){ .mac_key = { 7 }, .decoy = { 8 }, .nonce_life_s = 300 };
    flow_state = (struct digest_flow){ 0 };
    d.accounts = accounts_new(10, &key, seal_key);
    d.used = digest_used_new(4, &key);
    if (!d.accounts || !d.used) return -1;
    put_alice(0);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    accounts_free(d.accounts);
    digest_used_free(d.used);
    return 0;
}

/* ---- a client ---- */

struct client {
    enum digest_algorithm algorithm;
    const char *user, *hash_user, *secret, *uri, *method;
    const char *extra; /* more parameters, with their comma */
    unsigned nc;
    bool reliable;
    flow_id flow;
    wall_t now;
    char nonce[64];
};
static struct client client_of(enum digest_algorithm algorithm, bool reliable) {
    return (struct client){ .algorithm = algorithm,
                            .user = "alice",
                            .secret = algorithm == DIGEST_MD5 ? "hall" : "wonderland",
                            .uri = "sip:example.org",
                            .method = "REGISTER",
                            .extra = "",
                            .nc = 1,
                            .reliable = reliable,
                            .flow = FLOW,
                            .now = START };
}
static slice between(slice s, const char *from, const char *to) {
    s = slice_from(s, slice_find_slice(s, slice_str(from)) + strlen(from));
    return slice_head(s, slice_find_slice(s, slice_str(to)));
}
static void challenge(struct client *c, uint64_t salt) {
    char text[512];
    struct buf b = buf_over(text, sizeof text);
    digest_challenge(&d, c->algorithm, realm, c->flow, c->reliable, salt, c->now, false, &b);
    assert_false(b.full);
    assert_true(slice_cstr(between(buf_slice(&b), "nonce=\"", "\""), c->nonce, sizeof c->nonce));
}
/* The credentials this client would send. */
static slice credentials(const struct client *c, char *text, size_t cap) {
    char nc[16];
    (void)snprintf(nc, sizeof nc, "%08x", c->nc);
    uint8_t ha1[32], response[32];
    digest_ha1(c->algorithm, slice_str(c->hash_user ? c->hash_user : c->user), realm,
               slice_str(c->secret), ha1);
    const struct digest_answer answer = { slice_str(c->method), slice_str(c->uri),
                                          slice_str(c->nonce), slice_str(nc), SLICE("0a4f") };
    digest_response(c->algorithm, ha1, &answer, response);
    struct buf b = buf_over(text, cap);
    buf_fmt(&b,
            "Digest username=\"%s\", realm=\"example.org\", nonce=\"%s\", uri=\"%s\", "
            "algorithm=" SLICE_FMT ", cnonce=\"0a4f\", qop=auth, nc=%s%s, response=\"",
            c->user, c->nonce, c->uri, SLICE_ARG(digest_name(c->algorithm)), nc, c->extra);
    buf_hex(&b, response, digest_len(c->algorithm));
    buf_lit(&b, "\"");
    assert_false(b.full);
    return buf_slice(&b);
}
struct verdict {
    enum digest_verdict verdict;
    struct account account;
    uint32_t device;
};
static struct verdict judge_lines(const struct client *c, const char *lines) {
    static struct sip_msg m;
    static char text[8192];
    struct buf b = buf_over(text, sizeof text);
    buf_fmt(&b,
            "%s sip:example.org SIP/2.0\r\nVia: SIP/2.0/TLS h.example;branch=z9hG4bK1\r\n"
            "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:alice@example.org>\r\n"
            "Call-ID: 1@h\r\nCSeq: 1 %s\r\nMax-Forwards: 70\r\n%sContent-Length: 0\r\n\r\n",
            c->method, c->method, lines);
    assert_false(b.full);
    assert_ok(sip_msg_read(&m, unit_guard(b.ptr, b.len), SIP_STREAM).err);
    struct verdict v = { 0 };
    v.verdict = digest_check(&d, c->algorithm, &m, HDR_AUTHORIZATION, realm, c->flow, c->reliable,
                             c->reliable ? &flow_state : NULL, c->now, &v.account, &v.device);
    return v;
}
static enum digest_verdict judge(const struct client *c) {
    char text[2048], lines[2200];
    slice s = credentials(c, text, sizeof text);
    (void)snprintf(lines, sizeof lines, "Authorization: " SLICE_FMT "\r\n", SLICE_ARG(s));
    struct verdict v = judge_lines(c, lines);
    if (v.verdict == DIGEST_OK) {
        assert_int_equal(v.account.id, 1);
        assert_true((v.device != 0) == (c->algorithm == DIGEST_MD5));
    }
    return v.verdict;
}
/* The client's credentials with one text in them changed. */
static enum digest_verdict judge_changed(const struct client *c, const char *from, const char *to) {
    char text[2048], lines[4096];
    slice s = credentials(c, text, sizeof text);
    size_t at = slice_find_slice(s, slice_str(from));
    assert_true(at < s.len);
    slice rest = slice_from(s, at + strlen(from));
    (void)snprintf(lines, sizeof lines, "Authorization: " SLICE_FMT "%s" SLICE_FMT "\r\n",
                   SLICE_ARG(slice_head(s, at)), to, SLICE_ARG(rest));
    return judge_lines(c, lines).verdict;
}

/* ---- the computation ---- */

static void assert_hex(const uint8_t *bytes, size_t len, const char *want) {
    char text[80];
    struct buf b = buf_over(text, sizeof text);
    buf_hex(&b, bytes, len);
    assert_slice(buf_slice(&b), want);
}

/* RFC 7616 3.9.1: the example's values. */
static void computes_the_examples_of_rfc_7616(void **state) {
    (void)state;
    const struct digest_answer answer = { SLICE("GET"), SLICE("/dir/index.html"),
                                          SLICE("7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"),
                                          SLICE("00000001"),
                                          SLICE("f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ") };
    uint8_t ha1[32], got[32];
    digest_ha1(DIGEST_SHA256, SLICE("Mufasa"), SLICE("http-auth@example.org"),
               SLICE("Circle of Life"), ha1);
    digest_response(DIGEST_SHA256, ha1, &answer, got);
    assert_hex(got, 32, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    digest_ha1(DIGEST_MD5, SLICE("Mufasa"), SLICE("http-auth@example.org"), SLICE("Circle of Life"),
               ha1);
    digest_response(DIGEST_MD5, ha1, &answer, got);
    assert_hex(got, 16, "8ca523f5e9506fed4657c9700eebdbec");
}

/* RFC 8760 has no numbers of its own, and those of RFC 7616 3.9.2 come from SHA-512 cut to 256
 * bits, which is another hash than SHA-512/256. So the values here are those of the openssl
 * command: h() { printf %s "$1" | openssl dgst -sha512-256 -r | cut -c1-64; } h "$(h
 * alice:example.org:wonderland):n:00000001:c:auth:$(h REGISTER:sip:example.org)" */
static void computes_sha512_256(void **state) {
    (void)state;
    const struct digest_answer answer = { SLICE("REGISTER"), SLICE("sip:example.org"), SLICE("n"),
                                          SLICE("00000001"), SLICE("c") };
    uint8_t ha1[32], got[32];
    digest_ha1(DIGEST_SHA512_256, SLICE("alice"), realm, SLICE("wonderland"), ha1);
    digest_response(DIGEST_SHA512_256, ha1, &answer, got);
    assert_hex(got, 32, "a6c5d3ee8b8ead7bdd7091dd8b5806226ccd2f759aa4e656bab8df115fad83ca");
    const struct digest_answer doe = { SLICE("GET"), SLICE("/doe.json"),
                                       SLICE("5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK"),
                                       SLICE("00000001"),
                                       SLICE("NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v") };
    digest_ha1(DIGEST_SHA512_256, SLICE("J\xc3\xa4s\xc3\xb8n Doe"), SLICE("api@example.org"),
               SLICE("Secret, or not?"), ha1);
    digest_response(DIGEST_SHA512_256, ha1, &doe, got);
    assert_hex(got, 32, "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5");
}

static void writes_one_challenge(void **state) {
    (void)state;
    char text[512];
    struct buf b = buf_over(text, sizeof text);
    digest_challenge(&d, DIGEST_SHA256, realm, FLOW, true, 1, START, false, &b);
    slice nonce = between(slice_of(text, b.len), "nonce=\"", "\"");
    assert_int_equal(nonce.len, 43);
    char want[512];
    (void)snprintf(want, sizeof want,
                   "Digest realm=\"example.org\", nonce=\"%.43s\", algorithm=SHA-256, qop=\"auth\"",
                   nonce.ptr);
    assert_slice(slice_of(text, b.len), want);
    buf_clear(&b);
    digest_challenge(&d, DIGEST_SHA512_256, realm, FLOW, true, 1, START, true, &b);
    assert_true(slice_find_slice(buf_slice(&b), SLICE("algorithm=SHA-512-256")) < b.len);
    assert_true(slice_find_slice(buf_slice(&b), SLICE("stale=true")) < b.len);
}

/* ---- the good cases ---- */

static void accepts_the_right_secret(void **state) {
    (void)state;
    for (int a = DIGEST_SHA256; a <= DIGEST_SHA512_256; a++) {
        for (int reliable = 0; reliable < 2; reliable++) {
            struct client c = client_of((enum digest_algorithm)a, reliable);
            c.now += a * 1000;
            challenge(&c, 42);
            assert_int_equal(judge(&c), DIGEST_OK);
        }
    }
}

static void accepts_what_the_field_writes(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true);
    challenge(&c, 42);
    assert_int_equal(judge_changed(&c, "qop=auth", "qop=\"auth\""), DIGEST_OK);
    c.nc++;
    assert_int_equal(judge_changed(&c, "algorithm=SHA-256", "algorithm=\"sha-256\""), DIGEST_OK);
    c.nc++;
    assert_int_equal(judge_changed(&c, ", realm", ",\r\n realm"), DIGEST_OK);
    c.nc++;
    assert_int_equal(judge_changed(&c, "Digest ", "DIGEST  opaque=\"\", "), DIGEST_OK);
    c.nc++;
    c.extra = ", userhash=false, unknown=x";
    assert_int_equal(judge(&c), DIGEST_OK);
    /* The same URI in another form (RFC 3261 19.1.4). */
    c.nc++;
    c.uri = "SIP:EXAMPLE.org";
    assert_int_equal(judge(&c), DIGEST_OK);
}

/* RFC 3261 22.3, 8760 2.3: several credentials, ours is neither first nor last. */
static void picks_its_own_credentials(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true), other = client_of(DIGEST_MD5, true);
    challenge(&c, 42);
    challenge(&other, 43);
    char mine[2048], theirs[2048], lines[8000];
    slice s = credentials(&c, mine, sizeof mine), t = credentials(&other, theirs, sizeof theirs);
    (void)snprintf(lines, sizeof lines,
                   "Authorization: Bearer abc\r\n"
                   "Authorization: Digest username=\"x\", realm=\"other.example\", nonce=\"\"\r\n"
                   "Authorization: " SLICE_FMT "\r\nAuthorization: Digest broken\r\n"
                   "Authorization: " SLICE_FMT "\r\n",
                   SLICE_ARG(t), SLICE_ARG(s));
    assert_int_equal(judge_lines(&c, lines).verdict, DIGEST_OK);
    assert_int_equal(judge_lines(&c, "Authorization: Bearer abc\r\n").verdict, DIGEST_NONE);
    assert_int_equal(judge_lines(&c, "").verdict, DIGEST_NONE);
}

/* ---- nonces ---- */

/* RFC 7616 3.4: nc counts what was sent with a nonce; what does not grow is a replay. */
static void a_replay_is_stale(void **state) {
    (void)state;
    for (int reliable = 0; reliable < 2; reliable++) {
        struct client c = client_of(DIGEST_SHA256, reliable);
        challenge(&c, 42);
        assert_int_equal(judge(&c), DIGEST_OK);
        assert_int_equal(judge(&c), DIGEST_STALE);
        c.nc = 2;
        assert_int_equal(judge(&c), DIGEST_OK);
        c.nc = 9;
        assert_int_equal(judge(&c), DIGEST_OK);
        c.nc = 3;
        assert_int_equal(judge(&c), DIGEST_STALE);
    }
}

static void a_nonce_belongs_to_its_flow(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true);
    challenge(&c, 42);
    c.flow = flow_id_make(1, 2, 4);
    assert_int_equal(judge(&c), DIGEST_STALE);
    c.flow = FLOW;
    c.reliable = false; /* nor does it serve on datagrams */
    assert_int_equal(judge(&c), DIGEST_STALE);
    c.reliable = true;
    assert_int_equal(judge(&c), DIGEST_OK);
    /* On datagrams the client may come back from another address. */
    c = client_of(DIGEST_SHA256, false);
    challenge(&c, 43);
    c.flow = flow_id_make(3, 9, 4);
    assert_int_equal(judge(&c), DIGEST_OK);
}

static void an_older_nonce_of_the_flow_is_stale(void **state) {
    (void)state;
    struct client first = client_of(DIGEST_SHA256, true), second = first;
    challenge(&first, 42);
    second.now += 1;
    challenge(&second, 7);
    first.now = second.now;
    assert_int_equal(judge(&second), DIGEST_OK);
    first.nc = 5;
    assert_int_equal(judge(&first), DIGEST_STALE);
    second.nc = 2;
    assert_int_equal(judge(&second), DIGEST_OK);
    /* Two of one millisecond: one of them counts, neither can be replayed. */
    struct client twin = second;
    challenge(&twin, 6);
    assert_int_equal(judge(&twin), DIGEST_STALE);
    challenge(&twin, 8);
    assert_int_equal(judge(&twin), DIGEST_OK);
    second.nc = 3;
    assert_int_equal(judge(&second), DIGEST_STALE);
}

static void a_nonce_ends(void **state) {
    (void)state;
    for (int reliable = 0; reliable < 2; reliable++) {
        struct client c = client_of(DIGEST_SHA256, reliable);
        challenge(&c, 42);
        c.now += 300 * 1000 + 1;
        assert_int_equal(judge(&c), DIGEST_STALE);
        c.now -= 1;
        assert_int_equal(judge(&c), DIGEST_OK);
        c.nc = 2;
        c.now = START - 1; /* our clock was set back */
        assert_int_equal(judge(&c), DIGEST_STALE);
    }
}

/* NTP may step the clock back by more than a nonce lives. */
static void a_clock_set_back_locks_nobody_out(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true);
    challenge(&c, 42);
    assert_int_equal(judge(&c), DIGEST_OK);
    c.now -= 3600 * 1000;
    c.nc = 2;
    assert_int_equal(judge(&c), DIGEST_STALE);
    challenge(&c, 43);
    c.nc = 1;
    assert_int_equal(judge(&c), DIGEST_OK);
    assert_int_equal(judge(&c), DIGEST_STALE);
}

static void a_foreign_nonce_is_stale(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true);
    challenge(&c, 42);
    char good[64];
    memcpy(good, c.nonce, sizeof good);
    for (size_t i = 0; good[i]; i++) {
        memcpy(c.nonce, good, sizeof good);
        c.nonce[i] = good[i] == 'A' ? 'B' : 'A';
        if (i == 42) continue; /* its low bits are padding */
        assert_int_equal(judge(&c), DIGEST_STALE);
    }
    (void)snprintf(c.nonce, sizeof c.nonce, "%s", "dcd98b7102dd2f0e8b11d0f600bfb0c093");
    assert_int_equal(judge(&c), DIGEST_STALE);
    memcpy(c.nonce, good, sizeof good);
    d.mac_key[0] ^= 1;
    assert_int_equal(judge(&c), DIGEST_STALE);
    d.mac_key[0] ^= 1;
    assert_int_equal(judge(&c), DIGEST_OK);
}

/* A wrong secret must not burn the nonce nor advance the count. */
static void a_failure_changes_nothing(void **state) {
    (void)state;
    for (int reliable = 0; reliable < 2; reliable++) {
        struct client c = client_of(DIGEST_SHA256, reliable);
        challenge(&c, 42);
        c.secret = "guess";
        c.nc = 7;
        assert_int_equal(judge(&c), DIGEST_WRONG);
        c.secret = "wonderland";
        c.nc = 1;
        assert_int_equal(judge(&c), DIGEST_OK);
    }
}

/* Four nonces are remembered; what is older than what was forgotten answers stale. */
static void used_nonces_are_bounded(void **state) {
    (void)state;
    struct client c[7];
    for (unsigned i = 0; i < 7; i++) {
        c[i] = client_of(DIGEST_SHA256, false);
        c[i].now += i;
        challenge(&c[i], i);
        c[i].now = START + 10;
    }
    for (unsigned i = 1; i < 6; i++) assert_int_equal(judge(&c[i]), DIGEST_OK);
    assert_int_equal(judge(&c[0]), DIGEST_STALE); /* never used, but older than the forgotten 1 */
    c[1].nc = 2;
    assert_int_equal(judge(&c[1]), DIGEST_STALE);
    for (unsigned i = 2; i < 6; i++) {
        assert_int_equal(judge(&c[i]), DIGEST_STALE);
        c[i].nc = 2;
        assert_int_equal(judge(&c[i]), DIGEST_OK);
    }
    assert_int_equal(judge(&c[6]), DIGEST_OK);
}

/* No (nonce, nc) is ever accepted twice, whatever the order: against a plain list. */
static void never_accepts_twice(void **state) {
    (void)state;
    struct digest_used *u = digest_used_new(8, &key);
    assert_non_null(u);
    static bool seen[64][8];
    uint64_t seed = 3;
    unsigned accepted = 0;
    for (int i = 0; i < 20000; i++) {
        uint32_t nonce = unit_below(&seed, 64), nc = unit_below(&seed, 8);
        if (!digest_used_take(u, nonce / 2, nonce, nc)) continue;
        assert_false(seen[nonce][nc]);
        seen[nonce][nc] = true;
        accepted++;
    }
    assert_true(accepted > 8);
    digest_used_free(u);
}

/* ---- wrong ones ---- */

static void refuses_the_wrong(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true);
    challenge(&c, 42);
    c.secret = "wonderlanD";
    assert_int_equal(judge(&c), DIGEST_WRONG);
    c.secret = "wonderland";
    c.user = "bob";
    assert_int_equal(judge(&c), DIGEST_WRONG);
    /* The username is inside the hash: an alias or the whole address cannot match. */
    c.user = "100";
    assert_int_equal(judge(&c), DIGEST_WRONG);
    c.user = "alice@example.org";
    assert_int_equal(judge(&c), DIGEST_WRONG);
    /* Not even when the client hashes the bare user under another name. */
    c.hash_user = "alice";
    assert_int_equal(judge(&c), DIGEST_WRONG);
    c.hash_user = NULL;
    c.user = "alice";
    c.method = "INVITE"; /* hashed for another method than it is sent with */
    char text[2048], lines[2200];
    slice s = credentials(&c, text, sizeof text);
    (void)snprintf(lines, sizeof lines, "Authorization: " SLICE_FMT "\r\n", SLICE_ARG(s));
    c.method = "REGISTER";
    assert_int_equal(judge_lines(&c, lines).verdict, DIGEST_WRONG);
    assert_int_equal(judge(&c), DIGEST_OK);
}

static void refuses_the_disabled(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true);
    challenge(&c, 42);
    put_alice(ACCOUNT_DISABLED);
    assert_int_equal(judge(&c), DIGEST_WRONG);
    add_legacy(5, SLICE("hall"), 0, false);
    struct client l = client_of(DIGEST_MD5, false);
    challenge(&l, 43);
    assert_int_equal(judge(&l), DIGEST_WRONG);
    put_alice(0);
    assert_int_equal(judge(&c), DIGEST_OK);
}

/* The decoy is no key: who knows it must not come in as somebody without a secret. */
static void nobody_comes_in_by_the_decoy(void **state) {
    (void)state;
    uint8_t ha1[32];
    digest_ha1(DIGEST_SHA256, SLICE("carol"), realm, SLICE("x"), ha1);
    memcpy(d.decoy, ha1, sizeof ha1);
    struct account_row row = { .id = 2, .user = SLICE("carol"), .domain = realm };
    struct client c = client_of(DIGEST_SHA256, true);
    c.user = "carol";
    c.secret = "x";
    challenge(&c, 42);
    assert_int_equal(judge(&c), DIGEST_WRONG);
    assert_ok(accounts_put(d.accounts, &row));
    assert_int_equal(judge(&c), DIGEST_WRONG);
}

static void refuses_the_malformed(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true);
    challenge(&c, 42);
    static const struct {
        const char *from, *to;
    } bad[] = {
        { ", qop=auth", "" },
        { "qop=auth", "qop=auth-int" },
        { ", cnonce=\"0a4f\"", "" },
        { "cnonce=\"0a4f\"", "cnonce=\"\"" },
        { ", nc=00000001", "" },
        { "nc=00000001", "nc=0000001" },
        { "nc=00000001", "nc=0000000g" },
        { "nc=00000001", "nc=00000000" },
        { "username=\"alice\", ", "" },
        { "username=\"alice\"", "username=\"\"" },
        { "username=\"alice\"", "username*=UTF-8''alice" },
        { "username=\"alice\"", "username=\"alice\", username=\"bob\"" },
        { "uri=\"sip:example.org\", ", "" },
        { "uri=\"sip:example.org\"", "uri=\"sip:example.com\"" },
        { "uri=\"sip:example.org\"", "uri=\"\"" },
        { "uri=\"sip:example.org\"", "uri=\"<>\"" },
        { "response=\"", "response=\"00" },
        { "response=\"", "response=\"x" },
        { "nc=00000001", "nc=00000001, userhash=true" },
        { "realm=\"example.org\"", "realm=\"example.org" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        enum digest_verdict v = judge_changed(&c, bad[i].from, bad[i].to);
        if (v != DIGEST_BAD) print_error("%s -> %s gives %d\n", bad[i].from, bad[i].to, (int)v);
        assert_int_equal(v, DIGEST_BAD);
    }
    /* For somebody else, or for another algorithm: we challenge. */
    assert_int_equal(judge_changed(&c, "realm=\"example.org\"", "realm=\"example.net\""),
                     DIGEST_NONE);
    assert_int_equal(judge_changed(&c, "algorithm=SHA-256, ", ""), DIGEST_NONE); /* means MD5 */
    assert_int_equal(judge_changed(&c, "SHA-256", "SHA-256-sess"), DIGEST_NONE);
    assert_int_equal(judge(&c), DIGEST_OK);
}

static void long_values_are_refused(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true);
    challenge(&c, 42);
    static char longer[1100];
    memset(longer, 'a', sizeof longer - 1);
    static char as_cnonce[1200];
    (void)snprintf(as_cnonce, sizeof as_cnonce, "cnonce=\"%s\"", longer);
    assert_int_equal(judge_changed(&c, "cnonce=\"0a4f\"", as_cnonce), DIGEST_BAD);
    c.user = longer;
    c.hash_user = "alice";
    assert_int_equal(judge(&c), DIGEST_BAD);
    longer[300] = '\0'; /* of a length that is read, but nobody's */
    assert_int_equal(judge(&c), DIGEST_WRONG);
}

/* 3GPP TS 24.229: names the user, answers nothing yet. */
static void an_empty_answer_asks_for_a_challenge(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_SHA256, true);
    assert_int_equal(judge_lines(&c, "Authorization: Digest username=\"alice\","
                                     "realm=\"example.org\",algorithm=SHA-256,nonce=\"\","
                                     "uri=\"sip:example.org\",response=\"\"\r\n")
                         .verdict,
                     DIGEST_NONE);
}

/* ---- the legacy lane ---- */

static void each_legacy_device_has_its_secret(void **state) {
    (void)state;
    struct client c = client_of(DIGEST_MD5, false);
    challenge(&c, 42);
    assert_int_equal(judge(&c), DIGEST_WRONG); /* no device yet */
    add_legacy(5, SLICE("hall"), 0, false);
    add_legacy(6, SLICE("cellar"), START + 10, false);
    add_legacy(7, SLICE("attic"), 0, true);
    char text[2048], lines[2200];
    slice s = credentials(&c, text, sizeof text);
    (void)snprintf(lines, sizeof lines, "Authorization: " SLICE_FMT "\r\n", SLICE_ARG(s));
    struct verdict v = judge_lines(&c, lines);
    assert_int_equal(v.verdict, DIGEST_OK);
    assert_int_equal(v.device, 5);
    c.secret = "cellar";
    c.nc = 2;
    assert_int_equal(judge(&c), DIGEST_OK);
    c.nc = 3;
    c.now = START + 10; /* past its end */
    assert_int_equal(judge(&c), DIGEST_WRONG);
    c.secret = "attic"; /* revoked */
    assert_int_equal(judge(&c), DIGEST_WRONG);
    c.secret = "wonderland"; /* the account's own secret is not for this lane */
    assert_int_equal(judge(&c), DIGEST_WRONG);
    /* RFC 7616 3.4: no algorithm means MD5. */
    c.secret = "hall";
    assert_int_equal(judge_changed(&c, "algorithm=MD5, ", ""), DIGEST_OK);
    /* And MD5 is not for the main lane. */
    c.algorithm = DIGEST_SHA256;
    c.nc = 4;
    assert_int_equal(judge(&c), DIGEST_WRONG);
}

static enum err oom_run(void *ctx) {
    (void)ctx;
    struct digest_used *u = digest_used_new(4, &key);
    if (!u) return ERR_MEMORY;
    bool taken = digest_used_take(u, 1, 1, 1);
    bool again = digest_used_take(u, 1, 1, 1);
    assert_false(taken && again);
    digest_used_free(u);
    return taken ? ERR_OK : ERR_MEMORY;
}
static void memory_runs_short(void **state) {
    (void)state;
    assert_true(unit_oom(oom_run) > 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(computes_the_examples_of_rfc_7616),
        TEST(computes_sha512_256),
        TEST(writes_one_challenge),
        TEST(accepts_the_right_secret),
        TEST(accepts_what_the_field_writes),
        TEST(picks_its_own_credentials),
        TEST(a_replay_is_stale),
        TEST(a_nonce_belongs_to_its_flow),
        TEST(an_older_nonce_of_the_flow_is_stale),
        TEST(a_nonce_ends),
        TEST(a_clock_set_back_locks_nobody_out),
        TEST(a_foreign_nonce_is_stale),
        TEST(a_failure_changes_nothing),
        TEST(used_nonces_are_bounded),
        TEST(never_accepts_twice),
        TEST(refuses_the_wrong),
        TEST(refuses_the_disabled),
        TEST(nobody_comes_in_by_the_decoy),
        TEST(refuses_the_malformed),
        TEST(long_values_are_refused),
        TEST(an_empty_answer_asks_for_a_challenge),
        TEST(each_legacy_device_has_its_secret),
        TEST(memory_runs_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
