#include "os/pki_internal.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#define DAY_S 86400

enum err pki_id_new(X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * chain, struct pki_id **out) {
    struct pki_id *id = leaf && key && chain ? mem_zalloc(sizeof *id) : NULL;
    if (!id) {
        X509_free(leaf);
        EVP_PKEY_free(key);
        sk_X509_pop_free(chain, X509_free);
        return ERR_MEMORY;
    }
    atomic_init(&id->refs, 1);
    id->leaf = leaf;
    id->key = key;
    id->chain = chain;
    *out = id;
    return ERR_OK;
}

struct pki_id *pki_ref(struct pki_id *id) {
    atomic_fetch_add_explicit(&id->refs, 1, memory_order_relaxed);
    return id;
}

void pki_unref(struct pki_id *id) {
    if (!id || atomic_fetch_sub_explicit(&id->refs, 1, memory_order_acq_rel) != 1) return;
    X509_free(id->leaf);
    EVP_PKEY_free(id->key);
    sk_X509_pop_free(id->chain, X509_free);
    mem_free(id);
}

X509 *pki_leaf(const struct pki_id *id) {
    return id->leaf;
}
EVP_PKEY *pki_key(const struct pki_id *id) {
    return id->key;
}
STACK_OF(X509) * pki_chain(const struct pki_id *id) {
    return id->chain;
}

/* ---- making ---- */

static bool set_serial(X509 *cert) {
    uint8_t bytes[16];
    crypto_random(bytes, sizeof bytes);
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, and always 16 bytes long */
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return ok;
}

static bool set_times(X509 *cert, wall_t now, uint32_t days) {
    int64_t from = now / 1000 - DAY_S, until = now / 1000 + (int64_t)days * DAY_S;
    return ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)from) &&
           ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)until);
}

static bool set_subject(X509 *cert, slice name) {
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(cert), NID_commonName, MBSTRING_UTF8,
                                      (const unsigned char *)name.ptr, (int)name.len, -1, 0) == 1;
}

static bool add_ext(X509 *cert, int nid, bool critical, void *value) {
    return X509_add1_ext_i2d(cert, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

static bool add_basic(X509 *cert, bool is_ca) {
    BASIC_CONSTRAINTS *b = BASIC_CONSTRAINTS_new();
    bool ok = b != NULL;
    if (ok && is_ca) {
        b->ca = 0xff;
        b->pathlen = ASN1_INTEGER_new();
        ok = b->pathlen && ASN1_INTEGER_set(b->pathlen, 0) == 1;
    }
    ok = ok && add_ext(cert, NID_basic_constraints, true, b);
    BASIC_CONSTRAINTS_free(b);
    return ok;
}

/* Bits of RFC 5280 4.2.1.3, by their number. */
enum { USAGE_DIGITAL_SIGNATURE = 0, USAGE_CERT_SIGN = 5, USAGE_CRL_SIGN = 6 };

static bool add_usage(X509 *cert, bool is_ca) {
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    bool ok = bits != NULL;
    if (is_ca)
        ok = ok && ASN1_BIT_STRING_set_bit(bits, USAGE_CERT_SIGN, 1) &&
             ASN1_BIT_STRING_set_bit(bits, USAGE_CRL_SIGN, 1);
    else
        ok = ok && ASN1_BIT_STRING_set_bit(bits, USAGE_DIGITAL_SIGNATURE, 1);
    ok = ok && add_ext(cert, NID_key_usage, true, bits);
    ASN1_BIT_STRING_free(bits);
    return ok;
}

static bool add_extended_usage(X509 *cert, const char *const *oids, size_t count) {
    EXTENDED_KEY_USAGE *usage = sk_ASN1_OBJECT_new_null();
    bool ok = usage != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        ASN1_OBJECT *o = OBJ_txt2obj(oids[i], 1);
        ok = o && sk_ASN1_OBJECT_push(usage, o) > 0;
        if (!ok) ASN1_OBJECT_free(o);
    }
    ok = ok && add_ext(cert, NID_ext_key_usage, false, usage);
    sk_ASN1_OBJECT_pop_free(usage, ASN1_OBJECT_free);
    return ok;
}

static bool key_digest(X509 *cert, uint8_t out[static 20]) {
    unsigned len = 0; /* RFC 5280 4.2.1.2 (1): a name for the key, not a proof of anything */
    return X509_pubkey_digest(cert, EVP_sha1(), out, &len) == 1 && len == 20;
}

static bool add_key_ids(X509 *cert, X509 *issuer) {
    uint8_t digest[20];
    ASN1_OCTET_STRING *own = ASN1_OCTET_STRING_new();
    bool ok = own && key_digest(cert, digest) && ASN1_OCTET_STRING_set(own, digest, 20) &&
              add_ext(cert, NID_subject_key_identifier, false, own);
    ASN1_OCTET_STRING_free(own);
    AUTHORITY_KEYID *above = AUTHORITY_KEYID_new();
    ok = ok && above && (above->keyid = ASN1_OCTET_STRING_new()) != NULL &&
         key_digest(issuer, digest) && ASN1_OCTET_STRING_set(above->keyid, digest, 20) &&
         add_ext(cert, NID_authority_key_identifier, false, above);
    AUTHORITY_KEYID_free(above);
    return ok;
}

static GENERAL_NAME *name_text(int type, slice prefix, slice text) {
    GENERAL_NAME *n = GENERAL_NAME_new();
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    char whole[600];
    struct buf b = buf_over(whole, sizeof whole);
    buf_put(&b, prefix);
    buf_put(&b, text);
    if (!n || !s || b.full || !ASN1_STRING_set(s, whole, (int)b.len)) {
        GENERAL_NAME_free(n);
        ASN1_IA5STRING_free(s);
        return NULL;
    }
    GENERAL_NAME_set0_value(n, type, s);
    return n;
}

/* With a mask of all ones behind it, RFC 5280 4.2.1.10's form, when is_subtree. */
static GENERAL_NAME *name_ip(const struct addr *a, bool is_subtree) {
    size_t len = a->family == ADDR_V6 ? 16 : 4;
    uint8_t bytes[32];
    memcpy(bytes, a->ip, len);
    memset(bytes + len, 0xff, len);
    GENERAL_NAME *n = GENERAL_NAME_new();
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
    if (!n || !s || !ASN1_OCTET_STRING_set(s, bytes, (int)(is_subtree ? 2 * len : len))) {
        GENERAL_NAME_free(n);
        ASN1_OCTET_STRING_free(s);
        return NULL;
    }
    GENERAL_NAME_set0_value(n, GEN_IPADD, s);
    return n;
}

static bool push_name(GENERAL_NAMES *names, GENERAL_NAME *n) {
    if (n && sk_GENERAL_NAME_push(names, n) > 0) return true;
    GENERAL_NAME_free(n);
    return false;
}

static bool add_names(X509 *cert, const struct pki_names *names) {
    GENERAL_NAMES *san = GENERAL_NAMES_new();
    bool ok = san != NULL;
    for (size_t i = 0; ok && i < names->dns_count; i++)
        ok = push_name(san, name_text(GEN_DNS, SLICE_NONE, names->dns[i]));
    for (size_t i = 0; ok && i < names->ip_count; i++)
        ok = push_name(san, name_ip(&names->ips[i], false));
    for (size_t i = 0; ok && i < names->domain_count; i++) /* RFC 5922 7.1 */
        ok = push_name(san, name_text(GEN_URI, SLICE("sip:"), names->dns[i]));
    ok = ok && add_ext(cert, NID_subject_alt_name, false, san);
    GENERAL_NAMES_free(san);
    return ok;
}

static bool push_subtree(NAME_CONSTRAINTS *nc, GENERAL_NAME *base) {
    GENERAL_SUBTREE *sub = base ? GENERAL_SUBTREE_new() : NULL;
    if (!sub) {
        GENERAL_NAME_free(base);
        return false;
    }
    GENERAL_NAME_free(sub->base);
    sub->base = base;
    if (sk_GENERAL_SUBTREE_push(nc->permittedSubtrees, sub) > 0) return true;
    GENERAL_SUBTREE_free(sub);
    return false;
}

/* Loopback stands here always: a kind of name without any entry would be free for all. */
static bool add_constraints(X509 *cert, const struct pki_names *permitted) {
    static const struct addr loopback[] = { { .family = ADDR_V4, .ip = { 127, 0, 0, 1 } },
                                            { .family = ADDR_V6, .ip = { [15] = 1 } } };
    NAME_CONSTRAINTS *nc = NAME_CONSTRAINTS_new();
    if (!nc) return false;
    nc->permittedSubtrees = sk_GENERAL_SUBTREE_new_null();
    bool ok = nc->permittedSubtrees != NULL &&
              push_subtree(nc, name_text(GEN_DNS, SLICE_NONE, SLICE("localhost")));
    for (size_t i = 0; ok && i < ARRAY_LEN(loopback); i++)
        ok = push_subtree(nc, name_ip(&loopback[i], true));
    for (size_t i = 0; ok && i < permitted->dns_count; i++)
        if (!slice_eq(permitted->dns[i], SLICE("localhost")))
            ok = push_subtree(nc, name_text(GEN_DNS, SLICE_NONE, permitted->dns[i]));
    for (size_t i = 0; ok && i < permitted->ip_count; i++)
        if (!addr_ip_eq(&permitted->ips[i], &loopback[0]) &&
            !addr_ip_eq(&permitted->ips[i], &loopback[1]))
            ok = push_subtree(nc, name_ip(&permitted->ips[i], true));
    /* RFC 5280 4.2.1.10 wants this critical. mbedTLS, and so linphone, then refuses the whole CA as
     * unreadable; not critical, those who know the extension (OpenSSL, browsers) obey it all the
     * same. Interop decides; docs/threat-model.md says what it costs. */
    ok = ok && add_ext(cert, NID_name_constraints, false, nc);
    NAME_CONSTRAINTS_free(nc);
    return ok;
}

static bool host_is_plain(slice s) {
    if (s.len == 0 || s.len > 253 || s.ptr[0] == '.' || s.ptr[0] == '-') return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
        if (!is_good) return false;
    }
    return true;
}

static enum err names_check(const struct pki_names *names) {
    if (names->dns_count > PKI_NAMES_MAX || names->ip_count > PKI_NAMES_MAX) return ERR_LIMIT;
    ASSERT(names->domain_count <= names->dns_count);
    for (size_t i = 0; i < names->dns_count; i++)
        if (!host_is_plain(names->dns[i])) return ERR_BAD;
    for (size_t i = 0; i < names->ip_count; i++)
        if (names->ips[i].family == ADDR_NONE) return ERR_BAD;
    return ERR_OK;
}

/* A certificate with its new key, not yet signed. */
struct draft {
    X509 *cert;
    EVP_PKEY *key;
};

static bool draft_begin(struct draft *d, slice subject, wall_t now, uint32_t days) {
    d->key = EVP_EC_gen("P-256");
    d->cert = X509_new();
    return d->key && d->cert && X509_set_version(d->cert, X509_VERSION_3) && set_serial(d->cert) &&
           set_times(d->cert, now, days) && set_subject(d->cert, subject) &&
           X509_set_pubkey(d->cert, d->key);
}

/* ok: did all before go well? */
static enum err draft_sign(struct draft *d, bool ok, const struct pki_id *issuer,
                           struct pki_id **out) {
    X509 *above = issuer ? issuer->leaf : d->cert;
    STACK_OF(X509) *chain = sk_X509_new_null();
    ok = ok && chain && X509_set_issuer_name(d->cert, X509_get_subject_name(above)) &&
         add_key_ids(d->cert, above) &&
         X509_sign(d->cert, issuer ? issuer->key : d->key, EVP_sha256()) > 0;
    ERR_clear_error();
    if (ok) return pki_id_new(d->cert, d->key, chain, out);
    X509_free(d->cert);
    EVP_PKEY_free(d->key);
    sk_X509_free(chain);
    return ERR_CRYPTO;
}

/* Two authorities of one name would be mixed up by their users' key chains: the name ends in a part
 * of the serial number. */
static slice ca_name(const char *kind, char *dst, size_t len) {
    struct buf b = buf_over(dst, len);
    uint8_t mark[4];
    crypto_random(mark, sizeof mark);
    buf_put(&b, slice_str(kind));
    buf_byte(&b, ' ');
    buf_hex(&b, mark, sizeof mark);
    return buf_slice(&b);
}

static const char EKU_SERVER[] = "1.3.6.1.5.5.7.3.1", EKU_CLIENT[] = "1.3.6.1.5.5.7.3.2",
                  EKU_SIP_DOMAIN[] = "1.3.6.1.5.5.7.3.20"; /* RFC 5924 */

enum err pki_local_ca_new(const struct pki_names *permitted, wall_t now, uint32_t days,
                          struct pki_id **out) {
    enum err e = names_check(permitted);
    if (e != ERR_OK) return e;
    struct draft d = { 0 };
    char name[64];
    bool ok = draft_begin(&d, ca_name("Kith local CA", name, sizeof name), now, days) &&
              add_basic(d.cert, true) && add_usage(d.cert, true) &&
              add_constraints(d.cert, permitted);
    return draft_sign(&d, ok, NULL, out);
}

enum err pki_device_ca_new(wall_t now, uint32_t days, struct pki_id **out) {
    static const char *const usage[] = { EKU_CLIENT };
    struct draft d = { 0 };
    char name[64];
    bool ok = draft_begin(&d, ca_name("Kith device CA", name, sizeof name), now, days) &&
              add_basic(d.cert, true) && add_usage(d.cert, true) &&
              add_extended_usage(d.cert, usage, ARRAY_LEN(usage));
    return draft_sign(&d, ok, NULL, out);
}

enum err pki_server_new(const struct pki_id *local_ca, const struct pki_names *names, wall_t now,
                        uint32_t days, struct pki_id **out) {
    static const char *const usage[] = { EKU_SERVER, EKU_CLIENT, EKU_SIP_DOMAIN };
    enum err e = names_check(names);
    if (e != ERR_OK) return e;
    if (names->dns_count + names->ip_count == 0) return ERR_BAD;
    struct draft d = { 0 };
    bool ok = draft_begin(&d, SLICE("Kith server"), now, days) && add_basic(d.cert, false) &&
              add_usage(d.cert, false) && add_extended_usage(d.cert, usage, ARRAY_LEN(usage)) &&
              add_names(d.cert, names);
    return draft_sign(&d, ok, local_ca, out);
}

enum err pki_device_new(const struct pki_id *device_ca, slice device, slice domain, wall_t now,
                        uint32_t days, struct pki_id **out) {
    static const char *const usage[] = { EKU_CLIENT };
    if (!host_is_plain(domain) || device.len == 0 || device.len > 64) return ERR_BAD;
    for (size_t i = 0; i < device.len; i++) {
        char c = device.ptr[i];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_';
        if (!is_good) return ERR_BAD;
    }
    char uri[400];
    struct buf b = buf_over(uri, sizeof uri);
    buf_put(&b, device);
    buf_byte(&b, '@');
    buf_put(&b, domain);
    struct draft d = { 0 };
    GENERAL_NAMES *san = GENERAL_NAMES_new();
    bool ok = san && !b.full && draft_begin(&d, device, now, days) && add_basic(d.cert, false) &&
              add_usage(d.cert, false) && add_extended_usage(d.cert, usage, ARRAY_LEN(usage)) &&
              push_name(san, name_text(GEN_URI, SLICE("sip:"), buf_slice(&b))) &&
              add_ext(d.cert, NID_subject_alt_name, false, san);
    GENERAL_NAMES_free(san);
    return draft_sign(&d, ok, device_ca, out);
}

/* ---- asking ---- */

wall_t pki_until(const struct pki_id *id) {
    struct tm t;
    if (!ASN1_TIME_to_tm(X509_get0_notAfter(id->leaf), &t)) return 0;
    return (wall_t)timegm(&t) * 1000;
}

void pki_spki_hash(X509 *cert, uint8_t out[static 32]) {
    uint8_t *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    ASSERT(len > 0); /* it was read from DER: it can be written; but for memory, see mem.h */
    crypto_sha256(der, (size_t)len, out);
    OPENSSL_free(der);
}

void pki_key_hash(const struct pki_id *id, uint8_t out[static 32]) {
    pki_spki_hash(id->leaf, out);
}

void pki_fingerprint(const struct pki_id *id, uint8_t out[static 32]) {
    unsigned len = 0;
    ASSERT(X509_digest(id->leaf, EVP_sha256(), out, &len) == 1 && len == 32);
}

static slice ia5(const ASN1_STRING *s) {
    return slice_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

bool pki_covers(const struct pki_id *id, slice name) {
    GENERAL_NAMES *san = X509_get_ext_d2i(id->leaf, NID_subject_alt_name, NULL, NULL);
    bool uri_fits = false, dns_fits = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(san); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(san, i);
        if (n->type == GEN_DNS && slice_ieq(ia5(n->d.dNSName), name)) dns_fits = true;
        if (n->type != GEN_URI) continue;
        slice uri = ia5(n->d.uniformResourceIdentifier);
        if (!slice_istarts(uri, SLICE("sip:"))) continue;
        if (slice_ieq(slice_from(uri, 4), name)) uri_fits = true;
    }
    GENERAL_NAMES_free(san);
    return uri_fits || dns_fits;
}
