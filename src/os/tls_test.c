/* Both sides in one thread, joined by memory: every handshake is repeatable and needs no socket. */
#include "unit.h"

#include "crypto/crypto.h"
#include "os/cert.h"
#include "os/loop.h"
#include "os/pki_internal.h"
#include "os/tls_internal.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define DAY INT64_C(86400000)

static wall_t today;
static struct pki_id *local_ca, *cert_org, *cert_com, *device_ca, *other_ca;
static struct pki_id *device, *expired, *foreign, *wrong_use;
static struct tls_tickets *tickets;

/* ---- two ends and the pipe between ---- */

struct end {
    struct tls tls;
    struct tls_wire wire;
    uint8_t out[TLS_WIRE_OUT_BYTES];
    uint8_t in[TLS_WIRE_OUT_BYTES];
};

static void end_init(struct end *e) {
    memset(e, 0, sizeof *e);
    e->wire.out = e->out;
    e->wire.out_cap = sizeof e->out;
}

/* Moves what `from` wrote to `to`, `piece` bytes at most, behind what `to` has not read yet. */
static void carry(struct end *from, struct end *to, size_t piece) {
    size_t n = from->wire.out_len < piece ? from->wire.out_len : piece;
    assert_true(to->wire.in_len + n <= sizeof to->in);
    if (to->wire.in_len) memmove(to->in, to->wire.in, to->wire.in_len);
    memcpy(to->in + to->wire.in_len, from->out, n);
    memmove(from->out, from->out + n, from->wire.out_len - n);
    from->wire.out_len -= n;
    to->wire.in = to->in;
    to->wire.in_len += n;
}

static enum err shake(struct end *client, struct end *server, size_t piece) {
    enum err c = ERR_AGAIN, s = ERR_AGAIN;
    for (int i = 0; i < 100000 && (c == ERR_AGAIN || s == ERR_AGAIN); i++) {
        if (c == ERR_AGAIN) c = tls_handshake(&client->tls);
        if (c != ERR_OK && c != ERR_AGAIN) return c;
        carry(client, server, piece);
        if (s == ERR_AGAIN) s = tls_handshake(&server->tls);
        if (s != ERR_OK && s != ERR_AGAIN) return s;
        carry(server, client, piece);
    }
    return c == ERR_OK ? s : c;
}

static void say(struct end *from, struct end *to, const char *text) {
    char got[256];
    size_t n = 0;
    assert_ok(tls_write(&from->tls, text, strlen(text)));
    carry(from, to, sizeof from->out);
    assert_ok(tls_read(&to->tls, got, sizeof got, &n));
    assert_slice(slice_of(got, n), text);
    assert_err(tls_read(&to->tls, got, sizeof got, &n), ERR_AGAIN);
}

static struct tls_server *server_with(struct pki_id *first, struct pki_id *second) {
    struct pki_id *certs[] = { first, second };
    struct tls_server_config c = { .certs = certs,
                                   .cert_count = second ? 2 : 1,
                                   .device_cas = &device_ca,
                                   .device_ca_count = 1,
                                   .tickets = tickets };
    struct tls_server *s;
    assert_ok(tls_server_new(&c, &s));
    return s;
}

static struct tls_client *client_with(struct tls_client_config c) {
    struct tls_client *client;
    if (!c.verify_nothing && !c.trust) {
        c.trust = &local_ca;
        c.trust_count = 1;
    }
    assert_ok(tls_client_new(&c, &client));
    return client;
}

static void open_pair(struct tls_client *c, struct tls_server *s, const char *name,
                      struct end *client, struct end *server) {
    end_init(client);
    end_init(server);
    assert_ok(tls_connect(c, &client->wire, name, &client->tls));
    if (s) assert_ok(tls_accept(s, &server->wire, &server->tls));
}

static void close_pair(struct end *client, struct end *server) {
    tls_fini(&client->tls);
    tls_fini(&server->tls);
}

static struct end left, right; /* large: not on the stack */

/* ---- what is spoken ---- */

static void talks_and_closes(void **state) {
    (void)state;
    static const size_t pieces[] = { sizeof left.out, 1, 7 };
    for (int tls12 = 0; tls12 < 2; tls12++)
        for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
            struct tls_server *s = server_with(cert_org, NULL);
            struct tls_client *c = client_with(
                (struct tls_client_config){ .only_tls12 = tls12, .alpn = TLS_ALPN_SIP });
            char text[128];
            size_t n;
            open_pair(c, s, "example.org", &left, &right);
            assert_ok(shake(&left, &right, pieces[i]));
            assert_int_equal(tls_alpn(&right.tls), TLS_ALPN_SIP);
            struct buf b = buf_over(text, sizeof text);
            tls_describe(&right.tls, &b);
            assert_true(slice_starts(buf_slice(&b), tls12 ? SLICE("TLSv1.2 ECDHE-ECDSA-AES")
                                                          : SLICE("TLSv1.3 TLS_AES_128_GCM")));
            say(&left, &right, "OPTIONS sip:example.org SIP/2.0\r\n");
            say(&right, &left, "SIP/2.0 200 OK\r\n");
            assert_false(tls_peer_has_certificate(&right.tls));
            tls_close_notify(&right.tls);
            carry(&right, &left, sizeof left.out);
            assert_err(tls_read(&left.tls, text, sizeof text, &n), ERR_CLOSED);
            close_pair(&left, &right);
            tls_client_unref(c);
            tls_server_unref(s);
        }
}

static void long_writes_fit_the_wire(void **state) {
    (void)state;
    struct tls_server *s = server_with(cert_org, NULL);
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    static char text[TLS_WRITE_MAX], got[TLS_WRITE_MAX];
    size_t n, have = 0;
    open_pair(c, s, "example.org", &left, &right);
    assert_ok(shake(&left, &right, sizeof left.out));
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 7);
    assert_ok(tls_write(&right.tls, text, sizeof text));
    carry(&right, &left, sizeof left.out);
    while (have < sizeof got && tls_read(&left.tls, got + have, sizeof got - have, &n) == ERR_OK)
        have += n;
    assert_int_equal(have, sizeof text);
    assert_memory_equal(got, text, sizeof text);
    close_pair(&left, &right);
    tls_client_unref(c);
    tls_server_unref(s);
}

static void broken_records_end_it(void **state) {
    (void)state;
    struct tls_server *s = server_with(cert_org, NULL);
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    char got[64];
    size_t n;
    open_pair(c, s, "example.org", &left, &right);
    assert_ok(shake(&left, &right, sizeof left.out));
    assert_ok(tls_write(&left.tls, "hello", 5));
    left.out[left.wire.out_len - 1] ^= 1;
    carry(&left, &right, sizeof left.out);
    assert_err(tls_read(&right.tls, got, sizeof got, &n), ERR_CRYPTO);
    assert_true(strlen(tls_trouble()) > 0);
    close_pair(&left, &right);
    open_pair(c, s, "example.org", &left, &right);
    right.wire.in = (const uint8_t *)"INVITE sip:bob@example.org SIP/2.0\r\n";
    right.wire.in_len = 36;
    assert_err(tls_handshake(&right.tls), ERR_CRYPTO); /* clear text on a TLS port */
    close_pair(&left, &right);
    tls_client_unref(c);
    tls_server_unref(s);
}

/* A client as others may have it: only `version`, only `ciphers`, at the lowest security level. */
static enum err odd_client(struct tls_server *s, int version, const char *ciphers,
                           const char *groups) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    SSL_CTX_set_security_level(ctx, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(ctx, version), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, version), 1);
    if (ciphers) assert_int_equal(SSL_CTX_set_cipher_list(ctx, ciphers), 1);
    if (groups) assert_int_equal(SSL_CTX_set1_groups_list(ctx, groups), 1);
    end_init(&left);
    end_init(&right);
    assert_ok(tls_stream_new(ctx, &left.wire, &ssl));
    SSL_set_connect_state(ssl);
    left.tls.ssl = ssl;
    assert_ok(tls_accept(s, &right.wire, &right.tls));
    enum err e = shake(&left, &right, sizeof left.out);
    SSL_free(ssl);
    tls_fini(&right.tls);
    SSL_CTX_free(ctx);
    return e;
}

/* cert_org with an RSA key in place of its own. */
static struct pki_id *rsa_server(void) {
    struct pki_id *id;
    EVP_PKEY *key = EVP_RSA_gen(2048);
    X509 *leaf = X509_dup(pki_leaf(cert_org));
    assert_int_equal(X509_set_pubkey(leaf, key), 1);
    assert_true(X509_sign(leaf, pki_key(local_ca), EVP_sha256()) > 0);
    assert_ok(pki_id_new(leaf, key, sk_X509_new_null(), &id));
    return id;
}

static void refuses_what_is_old(void **state) {
    (void)state;
    struct tls_server *s = server_with(cert_org, NULL);
    assert_ok(odd_client(s, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL));
    assert_ok(odd_client(s, TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", NULL));
    assert_ok(odd_client(s, TLS1_3_VERSION, NULL, "P-256"));
    assert_err(odd_client(s, TLS1_1_VERSION, "ALL:@SECLEVEL=0", NULL), ERR_CRYPTO);
    assert_err(odd_client(s, TLS1_VERSION, "ALL:@SECLEVEL=0", NULL), ERR_CRYPTO);
    assert_err(odd_client(s, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", NULL),
               ERR_CRYPTO); /* CBC */
    assert_err(odd_client(s, TLS1_3_VERSION, NULL, "ffdhe2048"), ERR_CRYPTO);
    tls_server_unref(s);
}

/* With an RSA certificate static RSA and DHE would be possible, were they not left out. */
/* RFC 9325 3.1.1: 1.3 wherever both can; RFC 9852 4: 1.2 is an option that can be switched off. */
static void takes_the_newest_version(void **state) {
    (void)state;
    struct tls_server *s = server_with(cert_org, NULL);
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    open_pair(c, s, "example.org", &left, &right);
    assert_ok(shake(&left, &right, sizeof left.out));
    assert_int_equal(SSL_version(left.tls.ssl), TLS1_3_VERSION);
    close_pair(&left, &right);
    tls_client_unref(c);
    tls_server_unref(s);
    const struct tls_server_config strict = {
        .certs = &cert_org, .cert_count = 1, .tickets = tickets, .only_tls13 = true
    };
    assert_ok(tls_server_new(&strict, &s));
    assert_ok(odd_client(s, TLS1_3_VERSION, NULL, NULL));
    assert_err(odd_client(s, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL), ERR_CRYPTO);
    tls_server_unref(s);
}

static void refuses_static_rsa_and_dhe(void **state) {
    (void)state;
    struct pki_id *rsa = rsa_server();
    struct tls_server *s = server_with(rsa, NULL);
    assert_ok(odd_client(s, TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256", NULL));
    assert_err(odd_client(s, TLS1_2_VERSION, "AES128-GCM-SHA256", NULL), ERR_CRYPTO);
    assert_err(odd_client(s, TLS1_2_VERSION, "DHE-RSA-AES128-GCM-SHA256", NULL), ERR_CRYPTO);
    assert_err(odd_client(s, TLS1_2_VERSION, "ECDHE-RSA-AES128-SHA256", NULL), ERR_CRYPTO);
    tls_server_unref(s);
    pki_unref(rsa);
}

static void refuses_renegotiation(void **state) {
    (void)state;
    struct tls_server *s = server_with(cert_org, NULL);
    struct tls_client *c = client_with((struct tls_client_config){ .only_tls12 = true });
    char got[64];
    size_t n;
    open_pair(c, s, "example.org", &left, &right);
    assert_ok(shake(&left, &right, sizeof left.out));
    SSL_clear_options(left.tls.ssl, SSL_OP_NO_RENEGOTIATION);
    assert_int_equal(SSL_renegotiate(left.tls.ssl), 1);
    (void)SSL_do_handshake(left.tls.ssl);
    carry(&left, &right, sizeof left.out);
    assert_err(tls_read(&right.tls, got, sizeof got, &n), ERR_AGAIN); /* a warning alert, no more */
    assert_true(right.wire.out_len > 0);
    assert_int_equal(right.out[0], SSL3_RT_ALERT);
    close_pair(&left, &right);
    tls_client_unref(c);
    tls_server_unref(s);
}

/* ---- names ---- */

static bool shown_cert_is(const struct pki_id *id) {
    X509 *shown = SSL_get0_peer_certificate(left.tls.ssl);
    return shown && X509_cmp(shown, pki_leaf(id)) == 0;
}

static void chooses_the_certificate_by_name(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool is_com;
    } rows[] = { { "example.org", false },
                 { "example.com", true },
                 { "EXAMPLE.com", true },
                 { "unknown.test", false },
                 { "192.0.2.7", false } }; /* no SNI: baresip */
    struct tls_server *s = server_with(cert_org, cert_com);
    struct tls_client *c = client_with((struct tls_client_config){ .verify_nothing = true });
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        open_pair(c, s, rows[i].name, &left, &right);
        assert_ok(shake(&left, &right, sizeof left.out));
        assert_true(shown_cert_is(rows[i].is_com ? cert_com : cert_org));
        close_pair(&left, &right);
    }
    tls_client_unref(c);
    tls_server_unref(s);
}

static void clients_check_the_name(void **state) {
    (void)state;
    struct tls_server *s = server_with(cert_org, NULL);
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    open_pair(c, s, "192.0.2.7", &left, &right); /* in its SAN */
    assert_ok(shake(&left, &right, sizeof left.out));
    close_pair(&left, &right);
    open_pair(c, s, "192.0.2.8", &left, &right);
    assert_err(shake(&left, &right, sizeof left.out), ERR_CRYPTO);
    close_pair(&left, &right);
    open_pair(c, s, "other.example.org", &left, &right);
    assert_err(shake(&left, &right, sizeof left.out), ERR_CRYPTO);
    close_pair(&left, &right);
    tls_client_unref(c);
    c = client_with((struct tls_client_config){ .trust = &device_ca, .trust_count = 1 });
    open_pair(c, s, "example.org", &left, &right);
    assert_err(shake(&left, &right, sizeof left.out), ERR_CRYPTO);
    close_pair(&left, &right);
    tls_client_unref(c);
    tls_server_unref(s);
}

static void new_contexts_leave_old_connections_alone(void **state) {
    (void)state;
    struct tls_server *old = server_with(cert_org, NULL), *fresh = server_with(cert_com, NULL);
    struct tls_client *c = client_with((struct tls_client_config){ .verify_nothing = true });
    open_pair(c, old, "example.org", &left, &right);
    tls_server_unref(old); /* in the middle of a handshake */
    assert_ok(shake(&left, &right, sizeof left.out));
    say(&left, &right, "still here");
    assert_true(shown_cert_is(cert_org));
    close_pair(&left, &right);
    open_pair(c, fresh, "example.org", &left, &right);
    assert_ok(shake(&left, &right, sizeof left.out));
    assert_true(shown_cert_is(cert_com));
    close_pair(&left, &right);
    tls_client_unref(c);
    tls_server_unref(fresh);
}

/* ---- ALPN ---- */

static enum tls_alpn alpn_for(struct tls_server *s, const char *wire_list, size_t len,
                              bool *out_asked) {
    struct tls_client_config config = { .verify_nothing = true, .identity = device };
    struct tls_client *c = client_with(config);
    open_pair(c, s, "example.org", &left, &right);
    assert_int_equal(SSL_set_alpn_protos(left.tls.ssl, (const uint8_t *)wire_list, (unsigned)len),
                     0);
    assert_ok(shake(&left, &right, sizeof left.out));
    enum tls_alpn got = tls_alpn(&right.tls);
    *out_asked = tls_peer_has_certificate(&right.tls);
    close_pair(&left, &right);
    tls_client_unref(c);
    return got;
}

static void alpn_decides_protocol_and_asking(void **state) {
    (void)state;
    struct tls_server *s = server_with(cert_org, NULL);
    bool asked;
#define LIST(text) text, sizeof(text) - 1
    assert_int_equal(alpn_for(s, LIST("\5sip/2"), &asked), TLS_ALPN_SIP);
    assert_true(asked);
    assert_int_equal(alpn_for(s, LIST("\5other\5sip/2"), &asked), TLS_ALPN_SIP);
    assert_true(asked);
    assert_int_equal(alpn_for(s, LIST("\10http/1.1"), &asked), TLS_ALPN_HTTP);
    assert_false(asked);
    assert_int_equal(alpn_for(s, LIST("\2h2\10http/1.1"), &asked), TLS_ALPN_HTTP);
    assert_false(asked);
    assert_int_equal(alpn_for(s, LIST("\2h2"), &asked), TLS_ALPN_NONE);
    assert_false(asked);
    assert_int_equal(alpn_for(s, LIST("\11stun.turn"), &asked), TLS_ALPN_TURN);
    assert_true(asked);
    assert_int_equal(alpn_for(s, LIST("\10http/1.1\11stun.turn"), &asked), TLS_ALPN_TURN);
    assert_int_equal(alpn_for(s, LIST("\7unknown"), &asked), TLS_ALPN_NONE);
    assert_true(asked);
#undef LIST
    tls_server_unref(s);
}

/* ---- client certificates: which, on which version, fresh and resumed ---- */

/* Does the server's first flight (TLS 1.2, so in clear) hold a CertificateRequest (type 13)? */
static bool flight_asks(const uint8_t *flight, size_t len) {
    uint8_t body[TLS_WIRE_OUT_BYTES];
    size_t n = 0;
    for (size_t at = 0; at + 5 <= len;) {
        size_t record = (size_t)flight[at + 3] << 8 | flight[at + 4];
        assert_int_equal(flight[at], 22);
        memcpy(body + n, flight + at + 5, record);
        n += record;
        at += 5 + record;
    }
    for (size_t at = 0; at + 4 <= n;) {
        if (body[at] == 13) return true;
        at += 4 + ((size_t)body[at + 1] << 16 | (size_t)body[at + 2] << 8 | body[at + 3]);
    }
    return false;
}

/* A browser's TURN over TLS offers no ALPN; its GREASE (RFC 8701) tells what it is. */
static void grease_without_alpn_is_not_asked(void **state) {
    (void)state;
    struct tls_server *s = server_with(cert_org, NULL);
    for (unsigned i = 0; i < 4; i++) {
        struct tls_client *c = client_with((struct tls_client_config){
            .only_tls12 = true, .alpn = i & 2 ? TLS_ALPN_SIP : TLS_ALPN_NONE });
        open_pair(c, s, "example.org", &left, &right);
        assert_err(tls_handshake(&left.tls), ERR_AGAIN);
        /* record, handshake head, version, random; session id; then the suites */
        uint8_t *suites = left.out + 5 + 4 + 2 + 32;
        suites += 1 + suites[0];
        size_t len = (size_t)suites[0] << 8 | suites[1];
        if (i & 1) memcpy(suites + len, "\x1a\x1a", 2); /* the last one */
        carry(&left, &right, sizeof left.out);
        assert_err(tls_handshake(&right.tls), ERR_AGAIN);
        assert_int_equal(flight_asks(right.out, right.wire.out_len), i != 1);
        close_pair(&left, &right);
        tls_client_unref(c);
    }
    tls_server_unref(s);
}

static void expect_key(const struct pki_id *identity, bool counts, wall_t at) {
    uint8_t got[32], want[32];
    assert_int_equal(tls_device_key(&right.tls, at, got), counts);
    if (!counts) return;
    pki_key_hash(identity, want);
    assert_memory_equal(got, want, 32);
}

static void device_row(struct pki_id *identity, bool counts, bool tls12) {
    struct tls_client_config config = {
        .identity = identity, .only_tls12 = tls12, .only_tls13 = !tls12, .keep_session = true
    };
    struct tls_server *s = server_with(cert_org, cert_com),
                      *other = server_with(cert_org, cert_com);
    struct tls_client *c = client_with(config);
    for (int round = 0; round < 4; round++) { /* full; resumed; by another worker; with SNI 2 */
        open_pair(c, round == 2 ? other : s, "example.org", &left, &right);
        assert_ok(shake(&left, &right, sizeof left.out));
        say(&left, &right, "hello");
        say(&right, &left, "the ticket came before this");
        /* one of an authority that is not ours: its ticket is not taken */
        assert_int_equal(tls_resumed(&right.tls), round > 0 && identity != foreign);
        assert_int_equal(tls_peer_has_certificate(&right.tls), identity != NULL);
        expect_key(identity, counts, today);
        expect_key(identity, false, today + 366 * DAY); /* judged anew: it has expired by then */
        close_pair(&left, &right);
    }
    tls_client_unref(c);
    tls_server_unref(s);
    tls_server_unref(other);
}

static void device_certificate_matrix(void **state) {
    (void)state;
    for (int tls12 = 0; tls12 < 2; tls12++) {
        device_row(NULL, false, tls12);
        device_row(device, true, tls12);
        device_row(expired, false, tls12);
        device_row(foreign, false, tls12);
        device_row(wrong_use, false, tls12);
    }
}

static void no_device_ca_no_device(void **state) {
    (void)state;
    struct tls_server_config config = { .certs = &cert_org,
                                        .cert_count = 1,
                                        .device_cas = NULL,
                                        .device_ca_count = 0,
                                        .tickets = tickets };
    struct tls_server *s;
    assert_ok(tls_server_new(&config, &s));
    struct tls_client *c = client_with((struct tls_client_config){ .identity = device });
    open_pair(c, s, "example.org", &left, &right);
    assert_ok(shake(&left, &right, sizeof left.out));
    assert_true(tls_peer_has_certificate(&right.tls));
    expect_key(device, false, today);
    close_pair(&left, &right);
    tls_client_unref(c);
    tls_server_unref(s);
}

/* The list of CA names is empty: phones that choose by it send what they have. */
static void names_no_authority(void **state) {
    (void)state;
    struct tls_server *s = server_with(cert_org, NULL);
    for (int tls12 = 0; tls12 < 2; tls12++) {
        struct tls_client *c =
            client_with((struct tls_client_config){ .identity = device, .only_tls12 = tls12 });
        open_pair(c, s, "example.org", &left, &right);
        assert_ok(shake(&left, &right, sizeof left.out));
        assert_true(tls_peer_has_certificate(&right.tls));
        assert_int_equal(sk_X509_NAME_num(SSL_get0_peer_CA_list(left.tls.ssl)) > 0, false);
        close_pair(&left, &right);
        tls_client_unref(c);
    }
    tls_server_unref(s);
}

/* ---- other domains ---- */

static struct cert_roots *roots_of(struct pki_id *ca) {
    char path[] = "/tmp/kith-tls-roots-XXXXXX";
    char text[8192];
    struct buf b = buf_over(text, sizeof text);
    slice file = slice_str(path);
    struct cert_roots_config c = { .files = &file, .file_count = 1 };
    struct cert_roots *r;
    assert_ok(pki_put_chain(ca, &b));
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b.ptr, b.len), b.len);
    close(fd);
    assert_ok(cert_roots_new(&c, &r, NULL));
    assert_int_equal(unlink(path), 0);
    return r;
}

static void expect_cert(const struct tls *t, const char *uri, const char *why_not) {
    struct cert_seen seen;
    assert_true(tls_peer_cert(t, today, &seen));
    assert_int_equal(seen.says.is_verified, why_not == NULL);
    assert_slice(slice_str(seen.says.why_not), why_not ? why_not : "");
    assert_int_equal(seen.says.uri_count, 1);
    assert_slice(seen.says.uris[0], uri);
    cert_seen_fini(&seen);
}

/* Both sides prove themselves and judge the other; the handshake stands either way. */
static void domains_see_each_other(void **state) {
    (void)state;
    struct cert_roots *known = roots_of(local_ca), *strange = roots_of(other_ca);
    for (int tls12 = 0; tls12 < 2; tls12++)
        for (int is_known = 0; is_known < 2; is_known++) {
            struct cert_roots *roots = is_known ? known : strange;
            struct tls_server_config sc = { .certs = &cert_com,
                                            .cert_count = 1,
                                            .device_cas = &device_ca,
                                            .device_ca_count = 1,
                                            .tickets = tickets,
                                            .roots = roots };
            struct tls_client_config cc = { .verify_nothing = true,
                                            .identity = cert_org,
                                            .only_tls12 = tls12,
                                            .keep_session = true,
                                            .roots = roots };
            const char *why = is_known ? NULL : "was issued by an unknown authority";
            struct tls_server *s;
            assert_ok(tls_server_new(&sc, &s));
            struct tls_client *c = client_with(cc);
            for (int round = 0; round < 3; round++) {
                uint8_t key[32];
                open_pair(c, s, "example.com", &left, &right);
                assert_ok(shake(&left, &right, sizeof left.out));
                say(&left, &right, "hello");
                say(&right, &left, "the ticket came before this");
                assert_false(tls_resumed(&right.tls)); /* the ticket lacks the chain */
                assert_false(tls_device_key(&right.tls, today, key));
                expect_cert(&left.tls, "sip:example.com", why);
                expect_cert(&right.tls, "sip:example.org", why);
                close_pair(&left, &right);
            }
            tls_client_unref(c);
            tls_server_unref(s);
        }
    struct tls_server *s = server_with(cert_org, NULL);
    struct tls_client *c = client_with((struct tls_client_config){ 0 });
    struct cert_seen seen;
    open_pair(c, s, "example.org", &left, &right);
    assert_ok(shake(&left, &right, sizeof left.out));
    assert_false(tls_peer_cert(&right.tls, today, &seen)); /* a phone without certificate */
    close_pair(&left, &right);
    tls_client_unref(c);
    tls_server_unref(s);
    cert_roots_unref(known);
    cert_roots_unref(strange);
}

/* A ticket belongs to the name that it was given for. */
static void keeps_a_ticket_per_name(void **state) {
    (void)state;
    static const char *const names[] = { "example.org", "example.com", "example.org",
                                         "example.com" };
    for (int tls12 = 0; tls12 < 2; tls12++) {
        struct tls_server *s = server_with(cert_org, cert_com);
        struct tls_client *c = client_with((struct tls_client_config){
            .verify_nothing = true, .keep_session = true, .only_tls12 = tls12 });
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            open_pair(c, s, names[i], &left, &right);
            assert_ok(shake(&left, &right, sizeof left.out));
            say(&right, &left, "x");
            assert_int_equal(tls_resumed(&left.tls), i >= 2);
            assert_true(shown_cert_is(i % 2 ? cert_com : cert_org));
            close_pair(&left, &right);
        }
        for (unsigned i = 0; i < TLS_SESSIONS_MAX; i++) { /* strangers push them out */
            char name[32];
            (void)snprintf(name, sizeof name, "n%u.example.net", i);
            open_pair(c, s, name, &left, &right);
            assert_ok(shake(&left, &right, sizeof left.out));
            say(&right, &left, "x");
            close_pair(&left, &right);
        }
        open_pair(c, s, "example.org", &left, &right);
        assert_ok(shake(&left, &right, sizeof left.out));
        assert_false(tls_resumed(&left.tls));
        close_pair(&left, &right);
        tls_client_unref(c);
        tls_server_unref(s);
    }
}

/* RFC 5923 9.3: who serves several domains proves the one that he asks for. */
static void proves_the_domain_on_whose_behalf(void **state) {
    (void)state;
    static const struct {
        const char *own, *uri;
    } rows[] = { { "example.com", "sip:example.com" },
                 { "example.org", "sip:example.org" },
                 { "EXAMPLE.com", "sip:example.com" },
                 { "example.net", "sip:example.org" },
                 { "", "sip:example.org" } };
    struct cert_roots *known = roots_of(local_ca);
    struct pki_id *both[] = { cert_org, cert_com };
    struct tls_server_config sc = { .certs = &cert_com,
                                    .cert_count = 1,
                                    .device_cas = &local_ca, /* so that tickets are taken */
                                    .device_ca_count = 1,
                                    .tickets = tickets,
                                    .roots = known };
    struct tls_server *s;
    assert_ok(tls_server_new(&sc, &s));
    struct tls_client *c = client_with((struct tls_client_config){ .verify_nothing = true,
                                                                   .identity = cert_org,
                                                                   .identities = both,
                                                                   .identity_count = 2,
                                                                   .keep_session = true });
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        end_init(&left);
        end_init(&right);
        assert_ok(tls_connect_as(c, &left.wire, "example.com", slice_str(rows[i].own), &left.tls));
        assert_ok(tls_accept(s, &right.wire, &right.tls));
        assert_ok(shake(&left, &right, sizeof left.out));
        expect_cert(&right.tls, rows[i].uri, NULL);
        assert_int_equal(tls_resumed(&left.tls), i >= 2); /* a ticket carries its certificate */
        say(&right, &left, "x");
        close_pair(&left, &right);
    }
    tls_client_unref(c);
    tls_server_unref(s);
    cert_roots_unref(known);
}

static const char *trouble_after(struct tls_client *c, const char *answer, size_t len) {
    open_pair(c, NULL, "example.org", &left, &right);
    assert_err(tls_handshake(&left.tls), ERR_AGAIN);
    left.wire.in = (const uint8_t *)answer;
    left.wire.in_len = len;
    assert_err(tls_handshake(&left.tls), ERR_CRYPTO);
    const char *why = tls_handshake_trouble();
    tls_fini(&left.tls);
    return why;
}

static void tells_people_why_a_handshake_failed(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        size_t len;
        const char *why;
    } rows[] = {
#define BYTES(lit) lit, sizeof(lit) - 1
        { BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"), "no TLS is spoken there" },
        { BYTES("SIP/2.0 400 Bad Request\r\n\r\n"), "no TLS is spoken there" },
        { BYTES("\x15\3\3\0\2\2\x2a"), "our certificate was refused" },
        { BYTES("\x15\3\3\0\2\2\x74"), "our certificate was refused" },
        { BYTES("\x15\3\3\0\2\2\x28"), "no version and cipher of TLS that both sides allow" },
        { BYTES("\x15\3\3\0\2\2\x46"), "no version and cipher of TLS that both sides allow" },
        { BYTES("\x15\3\3\0\2\2\x70"), "the server does not know the domain" },
        { BYTES("\x15\3\3\0\2\2\x50"), "the TLS handshake was refused" },
#undef BYTES
    };
    struct tls_client *c = client_with((struct tls_client_config){ .verify_nothing = true });
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_slice(slice_str(trouble_after(c, rows[i].answer, rows[i].len)), rows[i].why);
    tls_client_unref(c);
}

/* ---- tickets ---- */

static bool resumes(struct tls_client *c, struct tls_server *s) {
    open_pair(c, s, "example.org", &left, &right);
    assert_ok(shake(&left, &right, sizeof left.out));
    say(&right, &left, "x");
    bool resumed = tls_resumed(&right.tls);
    close_pair(&left, &right);
    return resumed;
}

static void tickets_end_with_their_keys(void **state) {
    (void)state;
    for (int tls12 = 0; tls12 < 2; tls12++) {
        struct tls_server *s = server_with(cert_org, NULL);
        struct tls_client_config config = { .keep_session = true, .only_tls12 = tls12 };
        struct tls_client *c = client_with(config);
        assert_false(resumes(c, s));
        assert_true(resumes(c, s));
        tls_tickets_rotate(tickets);
        assert_true(resumes(c, s)); /* the key before still opens; a new ticket came */
        tls_tickets_rotate(tickets);
        assert_true(resumes(c, s));
        tls_tickets_rotate(tickets);
        tls_tickets_rotate(tickets);
        assert_false(resumes(c, s));
        tls_client_unref(c);
        tls_server_unref(s);
    }
}

static void *rotate_many(void *ctx) {
    for (int i = 0; i < 2000; i++) tls_tickets_rotate(ctx);
    return NULL;
}

static void tickets_are_shared_by_threads(void **state) {
    (void)state;
    pthread_t thread;
    struct tls_server *s = server_with(cert_org, NULL);
    struct tls_client *c = client_with((struct tls_client_config){ .keep_session = true });
    assert_int_equal(pthread_create(&thread, NULL, rotate_many, tickets), 0);
    for (int i = 0; i < 20; i++) (void)resumes(c, s);
    assert_int_equal(pthread_join(thread, NULL), 0);
    tls_client_unref(c);
    tls_server_unref(s);
}

static enum err make_server(void *ctx) {
    struct tls_server_config config = { .certs = &cert_org,
                                        .cert_count = 1,
                                        .device_cas = &device_ca,
                                        .device_ca_count = 1,
                                        .tickets = ctx };
    struct tls_server *s;
    enum err e = tls_server_new(&config, &s);
    if (e == ERR_OK) tls_server_unref(s);
    return e;
}

static void survives_short_memory(void **state) {
    (void)state;
    assert_int_equal(unit_oom_ctx(make_server, tickets), 1);
}

/* ---- */

static struct pki_id *server_named(const char *domain) {
    slice dns[] = { slice_str(domain) };
    struct addr ip;
    struct pki_id *id;
    assert_ok(addr_read_ip(SLICE("192.0.2.7"), &ip));
    struct pki_names names = { dns, 1, 1, &ip, 1 };
    assert_ok(pki_server_new(local_ca, &names, today, 90, &id));
    return id;
}

static int set_up(void **state) {
    (void)state;
    slice dns[] = { SLICE("example.org"), SLICE("example.com") };
    struct addr ip;
    if (crypto_init() != ERR_OK || addr_read_ip(SLICE("192.0.2.7"), &ip) != ERR_OK) return -1;
    struct pki_names names = { dns, 2, 2, &ip, 1 };
    today = clock_wall();
    assert_ok(pki_local_ca_new(&names, today, 3650, &local_ca));
    cert_org = server_named("example.org");
    cert_com = server_named("example.com");
    assert_ok(pki_device_ca_new(today, 3650, &device_ca));
    assert_ok(pki_device_ca_new(today, 3650, &other_ca));
    slice domain = SLICE("example.org");
    assert_ok(pki_device_new(device_ca, SLICE("phone-1"), domain, today, 365, &device));
    assert_ok(pki_device_new(device_ca, SLICE("phone-2"), domain, today - 9 * DAY, 1, &expired));
    assert_ok(pki_device_new(other_ca, SLICE("phone-3"), domain, today, 365, &foreign));
    assert_ok(pki_server_new(device_ca, &names, today, 365, &wrong_use));
    assert_ok(tls_tickets_new(3600000, &tickets));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    struct pki_id *all[] = { local_ca, cert_org, cert_com, device_ca, other_ca,
                             device,   expired,  foreign,  wrong_use };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) pki_unref(all[i]);
    tls_tickets_unref(tickets);
    return mem_live() == 0 ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(talks_and_closes),
        cmocka_unit_test(long_writes_fit_the_wire),
        cmocka_unit_test(broken_records_end_it),
        cmocka_unit_test(refuses_what_is_old),
        cmocka_unit_test(takes_the_newest_version),
        cmocka_unit_test(refuses_static_rsa_and_dhe),
        cmocka_unit_test(refuses_renegotiation),
        cmocka_unit_test(chooses_the_certificate_by_name),
        cmocka_unit_test(clients_check_the_name),
        cmocka_unit_test(new_contexts_leave_old_connections_alone),
        cmocka_unit_test(alpn_decides_protocol_and_asking),
        cmocka_unit_test(grease_without_alpn_is_not_asked),
        cmocka_unit_test(device_certificate_matrix),
        cmocka_unit_test(no_device_ca_no_device),
        cmocka_unit_test(names_no_authority),
        cmocka_unit_test(domains_see_each_other),
        cmocka_unit_test(proves_the_domain_on_whose_behalf),
        cmocka_unit_test(keeps_a_ticket_per_name),
        cmocka_unit_test(tells_people_why_a_handshake_failed),
        cmocka_unit_test(tickets_end_with_their_keys),
        cmocka_unit_test(tickets_are_shared_by_threads),
        cmocka_unit_test(survives_short_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
