/* Reads bytes as a route token, a GRUU and as a branch, under a key nobody can guess and, so that
 * the insides of the readers are reached, seals them first and reads that. */
#include "crypto/crypto.h"
#include "sip/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static const uint8_t key[64] = { 1, 2, 3 };
    ASSERT(crypto_init() == ERR_OK);
    struct route_token token;
    pool_id id;
    unsigned worker;
    uint64_t loop;
    slice text = slice_of(data, len);
    enum err err = route_token_read(key, text, &token);
    ASSERT(err == ERR_BAD || err == ERR_CRYPTO);
    ASSERT(!branch_read(key, text, &worker, &id, &loop));
    struct gruu gruu;
    uint64_t instance;
    err = gruu_temp_read(key, text, &gruu);
    ASSERT(err == ERR_BAD || err == ERR_CRYPTO);
    ASSERT(gruu_read(key, text, 1, &instance) == ERR_BAD);

    uint8_t box[ROUTE_TOKEN_BYTES + CRYPTO_SIV_OVERHEAD], plain[ROUTE_TOKEN_BYTES] = { 0 };
    char mem[256], again[256];
    struct buf b = buf_over(mem, sizeof(mem)), c = buf_over(again, sizeof(again));
    if (len) memcpy(plain, data, len < sizeof(plain) ? len : sizeof(plain));
    crypto_siv_seal(key, plain, sizeof(plain), box);
    buf_base64url(&b, box, sizeof(box));
    err = route_token_read(key, buf_slice(&b), &token);
    if (err != ERR_OK) return 0;
    plain[sizeof(plain) - 1] = 0; /* the one byte that pads */
    crypto_siv_seal(key, plain, sizeof(plain), box);
    buf_clear(&b);
    buf_base64url(&b, box, sizeof(box));
    route_token_write(key, &token, &c);
    ASSERT(slice_eq(buf_slice(&b), buf_slice(&c)));
    return 0;
}
