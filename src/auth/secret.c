#include "auth/secret.h"
#include "auth/digest.h"
#include "crypto/crypto.h"

slice secret_context(enum digest_algorithm algorithm, uint32_t account_id, uint32_t device_id,
                     char text[static SECRET_CONTEXT_MAX]) {
    struct buf b = buf_over(text, SECRET_CONTEXT_MAX);
    switch (algorithm) {
    case DIGEST_SHA256:
        buf_lit(&b, "kith ha1 SHA-256 account ");
        break;
    case DIGEST_SHA512_256:
        buf_lit(&b, "kith ha1 SHA-512-256 account ");
        break;
    case DIGEST_MD5:
        buf_lit(&b, "kith ha1 MD5 account ");
        break;
    }
    buf_u64(&b, account_id);
    if (algorithm == DIGEST_MD5) {
        buf_lit(&b, " device ");
        buf_u64(&b, device_id);
    }
    ASSERT(!b.full);
    return buf_slice(&b);
}

static void seal(const uint8_t seal_key[static 32], enum digest_algorithm algorithm, slice context,
                 slice user, slice domain, slice secret, uint8_t *box) {
    uint8_t ha1[32];
    digest_ha1(algorithm, user, domain, secret, ha1);
    crypto_seal(seal_key, context, ha1, algorithm == DIGEST_MD5 ? 16 : 32, box);
    crypto_wipe(ha1, sizeof ha1);
}

void secret_seal_account(const uint8_t seal_key[static 32], slice secret,
                         struct secret_boxes *boxes, struct account_row *row) {
    char text[SECRET_CONTEXT_MAX];
    slice context = secret_context(DIGEST_SHA256, row->id, 0, text);
    seal(seal_key, DIGEST_SHA256, context, row->user, row->domain, secret, boxes->sha256);
    context = secret_context(DIGEST_SHA512_256, row->id, 0, text);
    seal(seal_key, DIGEST_SHA512_256, context, row->user, row->domain, secret, boxes->sha512_256);
    row->ha1_sha256 = slice_of(boxes->sha256, sizeof boxes->sha256);
    row->ha1_sha512_256 = slice_of(boxes->sha512_256, sizeof boxes->sha512_256);
}

void secret_seal_legacy(const uint8_t seal_key[static 32], slice user, slice domain, slice secret,
                        uint8_t box[static SECRET_SEALED_MD5_BYTES], struct device_row *row) {
    char text[SECRET_CONTEXT_MAX];
    slice context = secret_context(DIGEST_MD5, row->account_id, row->id, text);
    seal(seal_key, DIGEST_MD5, context, user, domain, secret, box);
    row->ha1_md5 = slice_of(box, SECRET_SEALED_MD5_BYTES);
}
