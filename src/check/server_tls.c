/* check/server_tls.c - what is negotiated: RFC 9325, RFC 10015, RFC 5922. */
#include "check/link.h"
#include "check/run.h"
#include "check/tests.h"

#include <openssl/ssl.h>

/* One handshake; what came of it is the evidence. */
static unsigned shake(struct test *t, const char *what, const struct tls_wish *wish,
                      struct tls_seen *seen) {
    struct link *l = NULL;
    *seen = (struct tls_seen){ 0 };
    if (link_open(t->run, WIRE_TLS, wish, seen, &l) != ERR_OK) {
        test_unclear(t, "memory is short");
        return 0;
    }
    unsigned at =
        seen->done ? test_note(t, "%s: %s %s, certificate %s, %s", what, seen->version,
                               seen->cipher, seen->names, l->verified ? "verified" : "not verified")
                   : test_note(t, "%s: refused, %s", what, *seen->alert ? seen->alert : l->why);
    if (!seen->done && has(slice_str(seen->alert), "cannot offer"))
        test_unclear(t, "%s: %s", what, seen->alert);
    link_close(l);
    return at;
}

/* Refused, while the same hello without that is taken: else the target may just be gone. */
static void refused(struct test *t, const char *what, const struct tls_wish *wish) {
    struct tls_seen seen;
    unsigned at = shake(t, what, wish, &seen);
    MUST(t, at, !seen.done, "%s is accepted: %s", what, seen.cipher);
    struct tls_seen good;
    (void)shake(t, "a good hello", &(struct tls_wish){ 0 }, &good);
    GIVEN(t, good.done, "a good hello is refused too");
    PASS(t, at);
}

static void tls10(struct test *t) {
    refused(t, "TLS 1.0",
            &(struct tls_wish){
                .min = TLS1_VERSION, .max = TLS1_VERSION, .ciphers = "ALL:@SECLEVEL=0" });
}
static void tls11(struct test *t) {
    refused(t, "TLS 1.1",
            &(struct tls_wish){
                .min = TLS1_1_VERSION, .max = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0" });
}
#define TLS12(list)                                                                                \
    &(struct tls_wish) {                                                                           \
        .min = TLS1_2_VERSION, .max = TLS1_2_VERSION, .ciphers = list                              \
    }
static void null_suite(struct test *t) {
    refused(t, "a suite without encryption", TLS12("eNULL:@SECLEVEL=0"));
}
static void anonymous(struct test *t) {
    refused(t, "a suite without certificates", TLS12("aNULL:@SECLEVEL=0"));
}
static void static_rsa(struct test *t) {
    refused(t, "static RSA", TLS12("kRSA:@SECLEVEL=0"));
}
static void finite_field(struct test *t) {
    refused(t, "finite-field DHE", TLS12("kDHE:@SECLEVEL=0"));
}

static void tls12(struct test *t) {
    struct tls_seen seen;
    unsigned at = shake(t, "TLS 1.2 only", &(struct tls_wish){ .max = TLS1_2_VERSION }, &seen);
    MUST(t, at, seen.done, "TLS 1.2 is refused");
    PASS(t, at);
}
static void tls13(struct test *t) {
    struct tls_seen seen;
    unsigned at = shake(t, "TLS 1.2 or 1.3", &(struct tls_wish){ 0 }, &seen);
    MUST(t, at, seen.done && seen.version_number == TLS1_3_VERSION, "%s is chosen, not TLS 1.3",
         seen.version);
    PASS(t, at);
}
static void forward_secret(struct test *t) {
    struct tls_seen seen;
    unsigned at =
        shake(t, "TLS 1.2, static RSA first", TLS12("AES128-GCM-SHA256:ECDHE+AESGCM"), &seen);
    MUST(t, at, seen.done && slice_starts(slice_str(seen.cipher), SLICE("ECDHE")),
         "%s is chosen although ECDHE was offered", seen.cipher);
    PASS(t, at);
}
static void unknown_name(struct test *t) {
    struct tls_seen seen;
    unsigned at =
        shake(t, "the name nobody.invalid", &(struct tls_wish){ .sni = "nobody.invalid" }, &seen);
    MUST(t, at, !seen.done, "an unknown name gets a certificate: %s", seen.names);
    MUST(t, at, has(slice_str(seen.alert), "unrecognized name"),
         "refused, but not with unrecognized_name");
    PASS(t, at);
}
static void asks_for_certificate(struct test *t) {
    struct tls_seen seen;
    unsigned at = shake(t, "a client without certificate", &(struct tls_wish){ 0 }, &seen);
    GIVEN(t, seen.done, "a client without certificate is refused");
    MUST(t, at, seen.asked,
         "the server never asks for a client certificate, so there is no mutual authentication");
    struct ua *a = ua_new(t, WIRE_TLS, NOBODY);
    struct msg *r = ua_ask(a, &(struct req){ .uri = "sips:{domain}", .no_login = true });
    EXPECT(t, r, "2xx|401|403|404|405|407|480");
    PASS(t, at);
}

AREA(server_tls, T(TRANS_004, "tls-1.0", tls10, .needs = NEEDS_TLS),
     T(TRANS_004, "tls-1.1", tls11, .needs = NEEDS_TLS),
     T(TRANS_005, "tls-1.2", tls12, .needs = NEEDS_TLS),
     T(TRANS_005, "tls-1.3", tls13, .needs = NEEDS_TLS),
     T(TRANS_006, "default", tls13, .needs = NEEDS_TLS),
     T(TRANS_007, "null", null_suite, .needs = NEEDS_TLS),
     T(TRANS_007, "anonymous", anonymous, .needs = NEEDS_TLS),
     T(TRANS_007, "forward-secret", forward_secret, .needs = NEEDS_TLS),
     T(TRANS_008, "static-rsa", static_rsa, .needs = NEEDS_TLS),
     T(TRANS_009, "dhe", finite_field, .needs = NEEDS_TLS),
     T(TRANS_010, "unknown-name", unknown_name, .needs = NEEDS_TLS),
     T(TRANS_003, "mutual", asks_for_certificate, .needs = NEEDS_TLS));
