#include "unit.h"

#include "crypto/crypto.h"
#include "os/loop.h"
#include "os/pki.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY INT64_C(86400000)

static wall_t today;
static char folder[64];

static struct pki_id *local_ca_for(const char *domain) {
    slice dns[] = { slice_str(domain), SLICE("host-1") };
    struct addr ip;
    assert_ok(addr_read_ip(SLICE("192.0.2.7"), &ip));
    struct pki_names names = { dns, 2, 1, &ip, 1 };
    struct pki_id *ca;
    assert_ok(pki_local_ca_new(&names, today, 3650, &ca));
    return ca;
}

static struct pki_id *server_for(const struct pki_id *ca, const char *domain, const char *ip_text) {
    slice dns[] = { slice_str(domain), SLICE("localhost") };
    struct addr ip;
    assert_ok(addr_read_ip(slice_str(ip_text), &ip));
    struct pki_names names = { dns, 2, 1, &ip, 1 };
    struct pki_id *id;
    assert_ok(pki_server_new(ca, &names, today, 90, &id));
    return id;
}

/* What a client's library thinks of it: X509_V_OK or a reason. */
static int judge(const struct pki_id *id, const struct pki_id *root, int purpose, wall_t at) {
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(store, pki_leaf(root)), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, pki_leaf(id), pki_chain(id)), 1);
    X509_STORE_CTX_set_time(ctx, 0, (time_t)(at / 1000));
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
    assert_int_equal(X509_STORE_CTX_set_purpose(ctx, purpose), 1);
    (void)X509_verify_cert(ctx);
    int verdict = X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return verdict;
}

static void server_certificates_verify(void **state) {
    (void)state;
    struct pki_id *ca = local_ca_for("example.org");
    struct pki_id *id = server_for(ca, "example.org", "192.0.2.7");
    assert_int_equal(judge(id, ca, X509_PURPOSE_SSL_SERVER, today), X509_V_OK);
    assert_int_equal(judge(id, ca, X509_PURPOSE_SSL_SERVER, today + 91 * DAY),
                     X509_V_ERR_CERT_HAS_EXPIRED);
    assert_true(pki_covers(id, SLICE("example.org")));
    assert_true(pki_covers(id, SLICE("LOCALHOST")));
    assert_false(pki_covers(id, SLICE("sub.example.org")));
    assert_false(pki_covers(id, SLICE("Kith server"))); /* never the CN */
    assert_true(pki_until(id) > today + 89 * DAY && pki_until(id) <= today + 90 * DAY);
    uint8_t a[32], b[32];
    pki_key_hash(id, a);
    pki_key_hash(ca, b);
    assert_memory_not_equal(a, b, 32);
    pki_fingerprint(id, b);
    assert_memory_not_equal(a, b, 32);
    pki_unref(id);
    pki_unref(ca);
}

/* A stolen local CA speaks for nobody else. */
static void local_ca_is_constrained(void **state) {
    (void)state;
    struct pki_id *ca = local_ca_for("example.org");
    struct pki_id *other_name = server_for(ca, "example.com", "192.0.2.7");
    struct pki_id *other_ip = server_for(ca, "example.org", "192.0.2.8");
    struct pki_id *other_six = server_for(ca, "example.org", "2001:db8::1");
    struct pki_id *loopback = server_for(ca, "host-1", "127.0.0.1");
    assert_int_equal(judge(other_name, ca, X509_PURPOSE_SSL_SERVER, today),
                     X509_V_ERR_PERMITTED_VIOLATION);
    assert_int_equal(judge(other_ip, ca, X509_PURPOSE_SSL_SERVER, today),
                     X509_V_ERR_PERMITTED_VIOLATION);
    assert_int_equal(judge(other_six, ca, X509_PURPOSE_SSL_SERVER, today),
                     X509_V_ERR_PERMITTED_VIOLATION);
    assert_int_equal(judge(loopback, ca, X509_PURPOSE_SSL_SERVER, today), X509_V_OK);
    pki_unref(other_name);
    pki_unref(other_ip);
    pki_unref(other_six);
    pki_unref(loopback);
    pki_unref(ca);
}

static void device_certificates_are_for_devices_only(void **state) {
    (void)state;
    struct pki_id *ca, *device, *forged, *local = local_ca_for("example.org");
    assert_ok(pki_device_ca_new(today, 3650, &ca));
    assert_ok(pki_device_new(ca, SLICE("dQw4-w9_Wg"), SLICE("example.org"), today, 365, &device));
    assert_int_equal(judge(device, ca, X509_PURPOSE_SSL_CLIENT, today), X509_V_OK);
    assert_int_equal(judge(device, ca, X509_PURPOSE_SSL_SERVER, today), X509_V_ERR_INVALID_PURPOSE);
    assert_int_not_equal(judge(device, local, X509_PURPOSE_SSL_CLIENT, today), X509_V_OK);
    assert_false(pki_covers(device, SLICE("example.org"))); /* never a domain identity */
    /* Not even its own CA can make a server out of it. */
    forged = server_for(ca, "example.org", "192.0.2.7");
    assert_int_not_equal(judge(forged, ca, X509_PURPOSE_SSL_SERVER, today), X509_V_OK);
    GENERAL_NAMES *san = X509_get_ext_d2i(pki_leaf(device), NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(san), 1);
    const ASN1_STRING *uri = sk_GENERAL_NAME_value(san, 0)->d.uniformResourceIdentifier;
    assert_slice(slice_of(ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)),
                 "sip:dQw4-w9_Wg@example.org");
    GENERAL_NAMES_free(san);
    pki_unref(forged);
    pki_unref(device);
    pki_unref(ca);
    pki_unref(local);
}

/* A device's certificate cannot sign another: pathlen 0 and CA:FALSE. */
static void devices_sign_nothing(void **state) {
    (void)state;
    struct pki_id *ca, *device, *child;
    assert_ok(pki_device_ca_new(today, 3650, &ca));
    assert_ok(pki_device_new(ca, SLICE("a"), SLICE("example.org"), today, 365, &device));
    assert_ok(pki_device_new(device, SLICE("b"), SLICE("example.org"), today, 365, &child));
    assert_int_equal(sk_X509_push(pki_chain(child), pki_leaf(device)), 1);
    assert_int_equal(X509_up_ref(pki_leaf(device)), 1);
    assert_int_not_equal(judge(child, ca, X509_PURPOSE_SSL_CLIENT, today), X509_V_OK);
    pki_unref(child);
    pki_unref(device);
    pki_unref(ca);
}

static void refuses_names_that_are_none(void **state) {
    (void)state;
    static const char *const bad[] = { "",     "Upper.example", "a,DNS:b",       "a b",
                                       ".dot", "*.example.org", "sip:a@b.c\xff", "-x" };
    struct pki_id *id = NULL, *ca;
    assert_ok(pki_device_ca_new(today, 10, &ca));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        slice dns = slice_str(bad[i]);
        struct pki_names names = { &dns, 1, 1, NULL, 0 };
        assert_err(pki_local_ca_new(&names, today, 10, &id), ERR_BAD);
        assert_err(pki_server_new(ca, &names, today, 10, &id), ERR_BAD);
        assert_err(pki_device_new(ca, SLICE("a"), dns, today, 10, &id), ERR_BAD);
    }
    assert_err(pki_device_new(ca, SLICE("a@b"), SLICE("c"), today, 10, &id), ERR_BAD);
    struct pki_names none = { 0 };
    assert_err(pki_server_new(ca, &none, today, 10, &id), ERR_BAD);
    pki_unref(ca);
}

/* ---- files ---- */

static const char *path_of(const char *name) {
    static char paths[8][128];
    static unsigned next;
    char *p = paths[next++ % 8];
    assert_true(snprintf(p, sizeof paths[0], "%s/%s", folder, name) > 0);
    return p;
}

static void put_file(const char *path, slice text) {
    assert_non_null(text.ptr);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text.ptr, 1, text.len, f), text.len);
    assert_int_equal(fclose(f), 0);
}

static void saves_and_loads(void **state) {
    (void)state;
    struct pki_id *ca = local_ca_for("example.org"), *back;
    struct pki_id *id = server_for(ca, "example.org", "192.0.2.7");
    const char *both = path_of("both.pem"), *chain = path_of("chain.pem"),
               *key = path_of("key.pem");
    assert_ok(pki_save(id, both, both, NULL));
    assert_ok(pki_save(ca, chain, key, NULL));
    assert_ok(pki_save(id, chain, key, NULL)); /* over the old ones */
    const char *files[] = { both, chain, key };
    for (int i = 0; i < 3; i++) {
        struct stat st;
        assert_int_equal(stat(files[i], &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
    uint8_t want[32], got[32];
    pki_fingerprint(id, want);
    assert_ok(pki_load(both, both, today, &back, NULL));
    pki_fingerprint(back, got);
    assert_memory_equal(got, want, 32);
    pki_unref(back);
    assert_ok(pki_load(chain, key, today, &back, NULL));
    pki_fingerprint(back, got);
    assert_memory_equal(got, want, 32);
    assert_int_equal(judge(back, ca, X509_PURPOSE_SSL_SERVER, today), X509_V_OK);
    pki_unref(back);
    pki_unref(id);
    pki_unref(ca);
}

static void load_fails(const char *chain, const char *key, wall_t at, enum err want,
                       const char *words) {
    char text[512];
    struct buf why = buf_over(text, sizeof text);
    struct pki_id *id = NULL;
    assert_err(pki_load(chain, key, at, &id, &why), want);
    if (slice_find_slice(buf_slice(&why), slice_str(words)) == why.len) {
        print_error("\"%.*s\" does not say \"%s\"\n", (int)why.len, why.ptr, words);
        fail();
    }
}

static void load_says_what_is_wrong(void **state) {
    (void)state;
    struct pki_id *ca = local_ca_for("example.org");
    struct pki_id *id = server_for(ca, "example.org", "192.0.2.7");
    const char *chain = path_of("c.pem"), *key = path_of("k.pem");
    const char *other = path_of("other.pem"), *junk = path_of("junk.pem");
    assert_ok(pki_save(id, chain, key, NULL));
    assert_ok(pki_save(ca, other, other, NULL));
    put_file(junk, SLICE("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    load_fails(path_of("nowhere.pem"), key, today, ERR_MISSING, "nowhere.pem: there is no such");
    load_fails(chain, path_of("nowhere.pem"), today, ERR_MISSING, "nowhere.pem");
    load_fails(chain, other, today, ERR_CONFIG, "other.pem: this key does not belong");
    load_fails(junk, key, today, ERR_BAD, "no certificate");
    load_fails(chain, junk, today, ERR_BAD, "no private key");
    load_fails(chain, key, today + 91 * DAY, ERR_STALE, "has expired");
    load_fails(chain, key, today - 2 * DAY, ERR_STALE, "not valid yet");
    load_fails(folder, key, today, ERR_BAD, "cannot be read");
    char *large = mem_zalloc(PKI_PEM_BYTES + 1);
    put_file(junk, slice_of(large, PKI_PEM_BYTES + 1));
    mem_free(large);
    load_fails(junk, key, today, ERR_BAD, "too large");
    pki_unref(id);
    pki_unref(ca);
}

/* What `kith trust install` shows before it asks. */
static void describes_a_ca_for_people(void **state) {
    (void)state;
    struct pki_id *ca = local_ca_for("example.org"), *device;
    const char *chain = path_of("c.pem"), *key = path_of("k.pem"), *junk = path_of("junk.pem");
    char mem[4096], why_mem[256], print[100] = "";
    struct buf out = buf_over(mem, sizeof mem), why = buf_over(why_mem, sizeof why_mem);
    assert_ok(pki_save(ca, chain, key, NULL));
    assert_ok(pki_describe(chain, &out, &why));
    uint8_t hash[32];
    pki_fingerprint(ca, hash);
    for (size_t i = 0; i < sizeof hash; i++)
        (void)snprintf(print + 3 * i, 4, "%02X%s", hash[i], i < 31 ? ":" : "");
    slice text = buf_slice(&out);
    assert_true(slice_starts(text, SLICE("name         CN=Kith local CA ")));
    assert_true(slice_find_slice(
                    text, SLICE("speaks for   localhost, 127.0.0.1, ::1, example.org")) < text.len);
    assert_true(slice_find_slice(text, slice_str(print)) < text.len);
    assert_ok(pki_device_ca_new(today, 10, &device));
    assert_ok(pki_save(device, chain, key, NULL));
    buf_clear(&out);
    assert_ok(pki_describe(chain, &out, &why));
    assert_true(slice_find_slice(buf_slice(&out), SLICE("EVERY NAME")) < out.len);
    put_file(junk, SLICE("nothing"));
    assert_err(pki_describe(junk, &out, &why), ERR_BAD);
    assert_err(pki_describe(path_of("nowhere.pem"), &out, &why), ERR_MISSING);
    struct buf small = buf_over(mem, 20);
    assert_err(pki_describe(chain, &small, &why), ERR_LIMIT);
    pki_unref(device);
    pki_unref(ca);
}

static void refuses_locked_and_weak_keys(void **state) {
    (void)state;
    struct pki_id *ca = local_ca_for("example.org");
    const char *chain = path_of("c2.pem"), *key = path_of("k2.pem"), *bad = path_of("bad.pem");
    assert_ok(pki_save(ca, chain, key, NULL));
    FILE *f = fopen(bad, "w");
    char password[] = "secret";
    assert_int_equal(
        PEM_write_PKCS8PrivateKey(f, pki_key(ca), EVP_aes_128_cbc(), NULL, 0, NULL, password), 1);
    assert_int_equal(fclose(f), 0);
    load_fails(chain, bad, today, ERR_BAD, "without password");
    f = fopen(bad, "w");
    EVP_PKEY *weak = EVP_RSA_gen(1024);
    assert_int_equal(PEM_write_PrivateKey(f, weak, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(f), 0);
    EVP_PKEY_free(weak);
    load_fails(chain, bad, today, ERR_UNSUPPORTED, "neither EC");
    pki_unref(ca);
}

static void saving_elsewhere_fails_cleanly(void **state) {
    (void)state;
    struct pki_id *ca = local_ca_for("example.org");
    char text[512];
    struct buf why = buf_over(text, sizeof text);
    assert_err(pki_save(ca, path_of("no/such/x.pem"), path_of("no/such/x.pem"), &why), ERR_IO);
    assert_true(slice_find_slice(buf_slice(&why), SLICE("no file can be made")) < why.len);
    pki_unref(ca);
}

static enum err make_save_load(void *ctx) {
    (void)ctx;
    struct pki_id *ca, *back;
    const char *path = path_of("oom.pem");
    enum err e = pki_device_ca_new(today, 10, &ca);
    if (e != ERR_OK) return e;
    e = pki_save(ca, path, path, NULL);
    if (e == ERR_OK) e = pki_load(path, path, today, &back, NULL);
    pki_unref(ca);
    if (e == ERR_OK) pki_unref(back);
    return e;
}

static void survives_short_memory(void **state) {
    (void)state;
    assert_int_equal(unit_oom(make_save_load), 4);
}

static int tidy(void **state) {
    (void)state;
    static const char *const names[] = { "both.pem", "chain.pem", "key.pem",  "c.pem",
                                         "k.pem",    "other.pem", "junk.pem", "c2.pem",
                                         "k2.pem",   "bad.pem",   "oom.pem" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) unlink(path_of(names[i]));
    return rmdir(folder); /* fails if a temporary file was left behind */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_certificates_verify),
        cmocka_unit_test(local_ca_is_constrained),
        cmocka_unit_test(device_certificates_are_for_devices_only),
        cmocka_unit_test(devices_sign_nothing),
        cmocka_unit_test(refuses_names_that_are_none),
        cmocka_unit_test(saves_and_loads),
        cmocka_unit_test(load_says_what_is_wrong),
        cmocka_unit_test(describes_a_ca_for_people),
        cmocka_unit_test(refuses_locked_and_weak_keys),
        cmocka_unit_test(saving_elsewhere_fails_cleanly),
        cmocka_unit_test(survives_short_memory),
    };
    if (crypto_init() != ERR_OK) return 1;
    today = clock_wall();
    (void)snprintf(folder, sizeof folder, "/tmp/kith_pki_test.XXXXXX");
    if (!mkdtemp(folder)) return 1;
    return cmocka_run_group_tests(tests, NULL, tidy);
}
