/* Certificates of every kind a stranger may show, made by authorities of the test. */
#include "unit.h"

#include "crypto/crypto.h"
#include "os/cert.h"
#include "os/loop.h"
#include "os/pki_internal.h"
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#define DAY INT64_C(86400000)

static wall_t today;
static struct pki_id *root, *middle, *mail_ca, *stranger, *device_ca;
static char root_file[] = "/tmp/kith-cert-root-XXXXXX";
static struct cert_roots *roots;

struct spec {
    const struct pki_id *issuer; /* NULL: signs itself */
    const char *san, *eku;       /* as OpenSSL's configuration writes them; NULL: none */
    int from_day, to_day;
    bool is_ca, is_rsa1024, is_sha1;
};

static void extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = value ? X509V3_EXT_conf_nid(NULL, &ctx, nid, value) : NULL;
    assert_int_equal(value != NULL, e != NULL);
    if (e) assert_int_equal(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

static struct pki_id *make(struct spec s) {
    static long serial = 1;
    char name[32];
    struct pki_id *id;
    X509 *cert = X509_new();
    EVP_PKEY *key = s.is_rsa1024 ? EVP_RSA_gen(1024) : EVP_EC_gen("P-256");
    STACK_OF(X509) *chain = sk_X509_new_null();
    (void)snprintf(name, sizeof name, "test %ld", serial);
    assert_int_equal(X509_set_version(cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++), 1);
    X509_NAME *subject = X509_get_subject_name(cert);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                                (const unsigned char *)name, -1, -1, 0),
                     1);
    X509 *issuer = s.issuer ? pki_leaf(s.issuer) : cert;
    assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(issuer)), 1);
    time_t at = (time_t)(today / 1000);
    assert_non_null(X509_time_adj_ex(X509_getm_notBefore(cert), s.from_day, 0, &at));
    assert_non_null(X509_time_adj_ex(X509_getm_notAfter(cert), s.to_day, 0, &at));
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    extension(cert, issuer, NID_basic_constraints, s.is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    extension(cert, issuer, NID_subject_alt_name, s.san);
    extension(cert, issuer, NID_ext_key_usage, s.eku);
    assert_true(X509_sign(cert, s.issuer ? pki_key(s.issuer) : key,
                          s.is_sha1 ? EVP_sha1() : EVP_sha256()) > 0);
    assert_ok(pki_id_new(cert, key, chain, &id));
    return id;
}

static struct cert_seen seen;

static const struct peer_cert *see(const struct pki_id *id) {
    STACK_OF(X509) *above = sk_X509_new_null();
    assert_true(sk_X509_push(above, pki_leaf(middle)) > 0);
    assert_true(sk_X509_push(above, pki_leaf(mail_ca)) > 0);
    cert_see(roots, pki_leaf(id), above, today, &seen);
    sk_X509_free(above);
    return &seen.says;
}

static void expect(struct spec s, const char *why) {
    if (!s.to_day) s.from_day = -1, s.to_day = 90;
    struct pki_id *id = make(s);
    const struct peer_cert *c = see(id);
    assert_int_equal(c->is_verified, why == NULL);
    assert_slice(slice_str(c->why_not), why ? why : "");
    cert_seen_fini(&seen);
    pki_unref(id);
}

static void tells_why_it_does_not_verify(void **state) {
    (void)state;
    expect((struct spec){ .issuer = root }, NULL);
    expect((struct spec){ .issuer = middle }, NULL);
    expect((struct spec){ .issuer = root, .from_day = -9, .to_day = -1 }, "has expired");
    expect((struct spec){ .issuer = root, .from_day = 1, .to_day = 9 }, "is not valid yet");
    expect((struct spec){ .san = "DNS:a.org" }, "is self-signed");
    expect((struct spec){ .issuer = stranger }, "was issued by an unknown authority");
    expect((struct spec){ .issuer = device_ca }, "was issued by this server's own authority");
    expect((struct spec){ .issuer = mail_ca }, "was issued by an authority made for another "
                                               "purpose");
    expect((struct spec){ .issuer = root, .is_rsa1024 = true },
           "has a key or a signature that is too weak");
    expect((struct spec){ .issuer = root, .is_sha1 = true },
           "has a key or a signature that is too weak");
    struct pki_id *leaf = make((struct spec){ .issuer = root, .from_day = -1, .to_day = 9 });
    struct pki_id *below = make((struct spec){ .issuer = leaf, .from_day = -1, .to_day = 9 });
    STACK_OF(X509) *above = sk_X509_new_null();
    assert_true(sk_X509_push(above, pki_leaf(leaf)) > 0);
    cert_see(roots, pki_leaf(below), above, today, &seen);
    assert_slice(slice_str(seen.says.why_not), "was issued by a certificate that may issue none");
    cert_seen_fini(&seen);
    sk_X509_free(above);
    pki_unref(below);
    X509 *forged = X509_dup(pki_leaf(leaf)); /* another key under the same signature */
    assert_int_equal(X509_set_pubkey(forged, pki_key(root)), 1);
    assert_true(i2d_re_X509_tbs(forged, NULL) > 0);
    cert_see(roots, forged, NULL, today, &seen);
    assert_slice(slice_str(seen.says.why_not), "has a wrong signature");
    cert_seen_fini(&seen);
    X509_free(forged);
    cert_see(NULL, pki_leaf(leaf), NULL, today, &seen);
    assert_false(seen.says.is_verified);
    cert_seen_fini(&seen);
    pki_unref(leaf);
}

/* RFC 5922 7.1: URIs and DNS names, as they stand; what they are worth others judge. */
static void reads_the_names(void **state) {
    (void)state;
    struct pki_id *id = make((struct spec){ .issuer = root,
                                            .san = "URI:sip:example.org,DNS:*.example.org,"
                                                   "email:a@b.org,IP:192.0.2.1,DNS:sip.example.org,"
                                                   "URI:https://example.org/",
                                            .to_day = 9 });
    const struct peer_cert *c = see(id);
    assert_true(c->is_verified);
    assert_int_equal(c->uri_count, 2);
    assert_slice(c->uris[0], "sip:example.org");
    assert_slice(c->uris[1], "https://example.org/");
    assert_int_equal(c->dns_count, 2);
    assert_slice(c->dns[0], "*.example.org");
    assert_slice(c->dns[1], "sip.example.org");
    assert_false(c->is_cut);
    assert_false(c->has_eku);
    cert_seen_fini(&seen);
    pki_unref(id);
    id = make((struct spec){ .issuer = root, .to_day = 9 }); /* a CN is no name: it is left alone */
    c = see(id);
    assert_int_equal(c->uri_count + c->dns_count, 0);
    cert_seen_fini(&seen);
    pki_unref(id);
}

static void counts_names_to_its_limit(void **state) {
    (void)state;
    char san[4096];
    struct buf b = buf_over(san, sizeof san);
    for (unsigned i = 0; i <= LIMIT_CERT_NAMES; i++) buf_fmt(&b, "%sDNS:a%u.org", i ? "," : "", i);
    buf_byte(&b, '\0');
    struct pki_id *id = make((struct spec){ .issuer = root, .san = san, .to_day = 9 });
    const struct peer_cert *c = see(id);
    assert_int_equal(c->dns_count, LIMIT_CERT_NAMES);
    assert_true(c->is_cut);
    cert_seen_fini(&seen);
    pki_unref(id);
}

/* RFC 5924 4.1 */
static void reads_the_purposes(void **state) {
    (void)state;
    static const struct {
        const char *eku;
        bool any, server, client, sip;
    } rows[] = { { "serverAuth", false, true, false, false },
                 { "clientAuth,serverAuth", false, true, true, false },
                 { "1.3.6.1.5.5.7.3.20", false, false, false, true },
                 { "codeSigning,1.3.6.1.5.5.7.3.20,clientAuth", false, false, true, true },
                 { "anyExtendedKeyUsage", true, false, false, false },
                 { "emailProtection", false, false, false, false } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pki_id *id = make((struct spec){ .issuer = root, .eku = rows[i].eku, .to_day = 9 });
        const struct peer_cert *c = see(id);
        assert_true(c->is_verified); /* whatever its purposes */
        assert_true(c->has_eku);
        assert_int_equal(c->eku_any, rows[i].any);
        assert_int_equal(c->eku_server, rows[i].server);
        assert_int_equal(c->eku_client, rows[i].client);
        assert_int_equal(c->eku_sip, rows[i].sip);
        cert_seen_fini(&seen);
        pki_unref(id);
    }
}

static void tells_which_file_is_wrong(void **state) {
    (void)state;
    char text[256];
    slice files[] = { slice_str(root_file), SLICE("/tmp/kith-no-such-file") };
    struct cert_roots_config c = { .files = files, .file_count = 2 };
    struct cert_roots *r;
    struct buf why = buf_over(text, sizeof text);
    assert_err(cert_roots_new(&c, &r, &why), ERR_CONFIG);
    assert_true(slice_starts(buf_slice(&why), SLICE("/tmp/kith-no-such-file: ")));
    files[1] = SLICE("/dev/null");
    assert_err(cert_roots_new(&c, &r, NULL), ERR_CONFIG);
}

static void the_system_counts(void **state) {
    (void)state;
    struct cert_roots *r;
    struct cert_roots_config none = { 0 };
    assert_int_equal(setenv("SSL_CERT_FILE", root_file, 1), 0);
    assert_ok(cert_roots_new(&none, &r, NULL));
    assert_int_equal(setenv("SSL_CERT_FILE", "/nonexistent", 1), 0);
    struct pki_id *id = make((struct spec){ .issuer = root, .to_day = 9 });
    cert_see(r, pki_leaf(id), NULL, today, &seen);
    assert_true(seen.says.is_verified);
    cert_seen_fini(&seen);
    cert_see(r, pki_leaf(id), NULL, today + 10 * DAY, &seen);
    assert_slice(slice_str(seen.says.why_not), "has expired");
    cert_seen_fini(&seen);
    cert_roots_unref(r);
    pki_unref(id);
}

/* ---- */

static void write_pem(char *path, const struct pki_id *const *ids, size_t count) {
    char text[8192];
    struct buf b = buf_over(text, sizeof text);
    for (size_t i = 0; i < count; i++) assert_ok(pki_put_chain(ids[i], &b));
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b.ptr, b.len), b.len);
    close(fd);
}

static int set_up(void **state) {
    (void)state;
    if (crypto_init() != ERR_OK) return -1;
    assert_int_equal(setenv("SSL_CERT_FILE", "/nonexistent", 1), 0);
    assert_int_equal(setenv("SSL_CERT_DIR", "/nonexistent", 1), 0);
    today = clock_wall();
    struct spec ca = { .is_ca = true, .from_day = -1, .to_day = 90 };
    root = make(ca);
    stranger = make(ca);
    ca.issuer = root;
    middle = make(ca);
    ca.eku = "emailProtection";
    mail_ca = make(ca);
    assert_ok(pki_device_ca_new(today, 3650, &device_ca));
    const struct pki_id *known[] = { root, device_ca }; /* somebody told the system of it */
    write_pem(root_file, known, 2);
    slice file = slice_str(root_file);
    struct cert_roots_config c = {
        .files = &file, .file_count = 1, .own = &device_ca, .own_count = 1
    };
    return cert_roots_new(&c, &roots, NULL) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    cert_roots_unref(cert_roots_ref(roots));
    cert_roots_unref(roots);
    struct pki_id *all[] = { root, middle, mail_ca, stranger, device_ca };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) pki_unref(all[i]);
    assert_int_equal(unlink(root_file), 0);
    return mem_live() == 0 ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_why_it_does_not_verify), cmocka_unit_test(reads_the_names),
        cmocka_unit_test(counts_names_to_its_limit),    cmocka_unit_test(reads_the_purposes),
        cmocka_unit_test(tells_which_file_is_wrong),    cmocka_unit_test(the_system_counts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
