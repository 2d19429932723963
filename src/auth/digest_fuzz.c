/* Credentials as strangers write them: the judge answers, and never lets anybody in. The first byte
 * picks algorithm and transport; "$N" in the rest becomes a nonce that is good for this flow. */
#include "auth/digest.h"
#include "auth/secret.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW ((wall_t)1700000000000)
static const slice realm = { "example.org", 11 };
static const uint8_t seal_key[32] = { 9 };
static struct digest d = { .mac_key = { 7 }, .decoy = { 8 }, .nonce_life_s = 300 };

static void prepare(void) {
    static const struct hash_key key = { 1, 2 };
    if (d.accounts) return;
    if (crypto_init()) abort();
    d.accounts = accounts_new(4, &key, seal_key);
    d.used = digest_used_new(16, &key);
    struct account_row row = { .id = 1, .user = SLICE("alice"), .domain = realm };
    struct secret_boxes boxes;
    uint8_t secret[16], box[SECRET_SEALED_MD5_BYTES];
    crypto_random(secret, sizeof secret); /* nobody's guess */
    secret_seal_account(seal_key, slice_of(secret, sizeof secret), &boxes, &row);
    struct device_row legacy = { .id = 2, .account_id = 1, .kind = DEVICE_LEGACY };
    secret_seal_legacy(seal_key, row.user, realm, slice_of(secret, sizeof secret), box, &legacy);
    if (!d.accounts || !d.used || accounts_put(d.accounts, &row) ||
        accounts_put_device(d.accounts, &legacy))
        abort();
}

static slice nonce_of(enum digest_algorithm algorithm, bool reliable, char *text, size_t cap) {
    struct buf b = buf_over(text, cap);
    digest_challenge(&d, algorithm, realm, 77, reliable, 5, NOW, false, &b);
    slice s = buf_slice(&b);
    s = slice_from(s, slice_find_slice(s, SLICE("nonce=\"")) + 7);
    return slice_head(s, slice_find(s, '"'));
}

static void put_credentials(struct buf *b, slice in, slice nonce) {
    for (size_t i = 0; i < in.len; i++) {
        if (i + 1 < in.len && in.ptr[i] == '$' && in.ptr[i + 1] == 'N') {
            buf_put(b, nonce);
            i++;
        } else {
            buf_byte(b, in.ptr[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sip_msg m;
    static char text[16384], challenge[512];
    prepare();
    if (size == 0) return 0;
    enum digest_algorithm algorithm = (enum digest_algorithm)(data[0] % 3);
    bool reliable = (data[0] & 4) != 0;
    slice in = slice_from(slice_of(data, size), 1);
    struct buf b = buf_over(text, sizeof text);
    buf_lit(&b, "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\n"
                "From: <sip:alice@example.org>;tag=1\r\nTo: <sip:alice@example.org>\r\n"
                "Call-ID: 1@h\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nAuthorization: ");
    put_credentials(&b, in, nonce_of(algorithm, reliable, challenge, sizeof challenge));
    buf_lit(&b, "\r\nContent-Length: 0\r\n\r\n");
    if (b.full || sip_msg_read(&m, buf_slice(&b), SIP_DATAGRAM).err) return 0;
    struct digest_flow state = { 0 };
    struct account account;
    uint32_t device;
    enum digest_verdict v = digest_check(&d, algorithm, &m, HDR_AUTHORIZATION, realm, 77, reliable,
                                         &state, NOW, &account, &device);
    ASSERT(v != DIGEST_OK);
    ASSERT(state.nc == 0); /* a failure changes nothing */
    return 0;
}
