#include "os/cert.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include "os/pki.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

#define DEPTH_MAX      8 /* authorities between a certificate and its root */
#define SECURITY_LEVEL 2 /* as in our handshakes: 112 bits, no SHA-1 */
#define OWN_KEYS_MAX   (CERT_OWN_MAX * (1 + PKI_CHAIN_MAX))

struct cert_roots {
    atomic_uint refs;
    X509_STORE *store;
    unsigned own_count;
    uint8_t own[OWN_KEYS_MAX][32]; /* SHA-256 of SubjectPublicKeyInfo */
};

/* ---- roots ---- */

static enum err load_file(X509_STORE *store, slice file, struct buf *why) {
    char path[4096];
    if (slice_cstr(file, path, sizeof path) && X509_STORE_load_file(store, path) == 1)
        return ERR_OK;
    if (why) {
        buf_put(why, file);
        buf_lit(why, ": cannot be read, or there is no certificate in it (PEM)");
    }
    return ERR_CONFIG;
}

static void own_add(struct cert_roots *r, X509 *cert) {
    if (r->own_count < OWN_KEYS_MAX) pki_spki_hash(cert, r->own[r->own_count++]);
}

enum err cert_roots_new(const struct cert_roots_config *config, struct cert_roots **out,
                        struct buf *why) {
    if (config->own_count > CERT_OWN_MAX) return ERR_LIMIT;
    struct cert_roots *r = mem_zalloc(sizeof *r);
    if (!r) return ERR_MEMORY;
    atomic_init(&r->refs, 1);
    r->store = X509_STORE_new();
    enum err e = r->store ? ERR_OK : ERR_MEMORY;
    if (e == ERR_OK && X509_STORE_set_default_paths(r->store) != 1) e = ERR_CRYPTO;
    for (size_t i = 0; e == ERR_OK && i < config->file_count; i++)
        e = load_file(r->store, config->files[i], why);
    for (size_t i = 0; e == ERR_OK && i < config->own_count; i++) {
        STACK_OF(X509) *chain = pki_chain(config->own[i]);
        own_add(r, pki_leaf(config->own[i]));
        for (int c = 0; c < sk_X509_num(chain); c++) own_add(r, sk_X509_value(chain, c));
    }
    ERR_clear_error();
    if (e != ERR_OK) {
        cert_roots_unref(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

struct cert_roots *cert_roots_ref(struct cert_roots *r) {
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void cert_roots_unref(struct cert_roots *r) {
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1) return;
    X509_STORE_free(r->store);
    mem_free(r);
}

/* ---- the chain: RFC 5280 6, as OpenSSL does it ---- */

static const char *words_for(int error, int depth) {
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return depth == 0 ? "has expired" : "was issued by an authority that has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return depth == 0 ? "is not valid yet" : "was issued by an authority that is not valid yet";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return "is self-signed";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return "was issued by an unknown authority";
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return "has a key or a signature that is too weak";
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        return "was issued by a certificate that may issue none";
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
        return "names what its authority may not speak for";
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return "has a wrong signature";
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
        return "has too long a chain";
    default:
        return "does not stand up to verification";
    }
}

static bool is_own(const struct cert_roots *r, X509 *cert) {
    uint8_t hash[32];
    pki_spki_hash(cert, hash);
    for (unsigned i = 0; i < r->own_count; i++)
        if (crypto_equal(r->own[i], hash, sizeof hash)) return true;
    return false;
}

#define TLS_USES (XKU_SSL_SERVER | XKU_SSL_CLIENT | XKU_ANYEKU)

static bool names_sip_domain(X509 *cert) {
    static const uint8_t oid[] = { 0x2b, 6, 1, 5, 5, 7, 3, 20 }; /* id-kp-sipDomain: RFC 5924 4.1 */
    EXTENDED_KEY_USAGE *uses = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_ASN1_OBJECT_num(uses) && !found; i++) {
        const ASN1_OBJECT *use = sk_ASN1_OBJECT_value(uses, i);
        found = OBJ_length(use) == sizeof oid && memcmp(OBJ_get0_data(use), oid, sizeof oid) == 0;
    }
    EXTENDED_KEY_USAGE_free(uses);
    return found;
}

/* What a chain that OpenSSL finds good may still not do. NULL: it may. */
static const char *judge_issuers(const struct cert_roots *r, STACK_OF(X509) * chain) {
    for (int i = 1; i < sk_X509_num(chain); i++) {
        X509 *issuer = sk_X509_value(chain, i);
        if (is_own(r, issuer)) return "was issued by this server's own authority";
        /* An authority made for mail or code only may not vouch for a domain. */
        uint32_t uses = X509_get_extended_key_usage(issuer);
        if (uses != UINT32_MAX && !(uses & TLS_USES) && !names_sip_domain(issuer))
            return "was issued by an authority made for another purpose";
    }
    return NULL;
}

static const char *why_not(const struct cert_roots *r, X509 *leaf, STACK_OF(X509) * above,
                           wall_t now) {
    if (!r) return words_for(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, 0);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    const char *why = words_for(X509_V_ERR_OUT_OF_MEM, 0);
    if (ctx && X509_STORE_CTX_init(ctx, r->store, leaf, above) == 1) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_depth(param, DEPTH_MAX);
        X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
        X509_VERIFY_PARAM_set_time(param, (time_t)(now / 1000));
        if (X509_verify_cert(ctx) == 1)
            why = judge_issuers(r, X509_STORE_CTX_get0_chain(ctx));
        else
            why = words_for(X509_STORE_CTX_get_error(ctx), X509_STORE_CTX_get_error_depth(ctx));
    }
    X509_STORE_CTX_free(ctx);
    return why;
}

/* ---- the names ---- */

static void name_add(slice list[static LIMIT_CERT_NAMES], uint8_t *count, const ASN1_STRING *s,
                     bool *is_cut) {
    if (*count == LIMIT_CERT_NAMES)
        *is_cut = true;
    else
        list[(*count)++] = slice_of(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

void cert_see(const struct cert_roots *roots, X509 *leaf, STACK_OF(X509) * above, wall_t now,
              struct cert_seen *out) {
    struct peer_cert *c = &out->says;
    *out = (struct cert_seen){ .says = { .why_not = why_not(roots, leaf, above, now) } };
    c->is_verified = c->why_not == NULL;
    uint32_t uses = X509_get_extended_key_usage(leaf);
    if (uses != UINT32_MAX) {
        c->has_eku = true;
        c->eku_any = uses & XKU_ANYEKU;
        c->eku_server = uses & XKU_SSL_SERVER;
        c->eku_client = uses & XKU_SSL_CLIENT;
        c->eku_sip = names_sip_domain(leaf);
    }
    out->names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(out->names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(out->names, i);
        if (n->type == GEN_URI)
            name_add(c->uris, &c->uri_count, n->d.uniformResourceIdentifier, &c->is_cut);
        else if (n->type == GEN_DNS)
            name_add(c->dns, &c->dns_count, n->d.dNSName, &c->is_cut);
    }
    ERR_clear_error();
}

void cert_seen_fini(struct cert_seen *s) {
    GENERAL_NAMES_free(s->names);
    *s = (struct cert_seen){ 0 };
}
