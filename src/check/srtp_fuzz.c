/* Packets of foreign media: nothing is read beyond them, and what was sealed opens. */
#include "check/srtp.h"
#include "crypto/crypto.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t key[SRTP_KEY] = { 1 }, salt[SRTP_SALT] = { 2 };
    char mem[SRTP_BYTES], sealed[SRTP_BYTES];
    slice in = slice_of((const char *)data, size), out;
    struct srtp s;
    struct rtcp_block block;
    uint32_t index = 0;
    bool clear = false;
    if (size > SRTP_BYTES || crypto_init() != ERR_OK || !srtp_init(&s, key, salt)) return 0;
    (void)!rtcp_about(in, 2, &block);
    (void)!srtp_open(&s, in, 0, mem, &out);
    (void)!srtcp_open(&s, in, mem, &out, &index, &clear);
    struct buf b = buf_over(sealed, sizeof sealed);
    if (srtp_seal(&s, in, 3, &b))
        ASSERT(srtp_open(&s, buf_slice(&b), 3, mem, &out) && slice_eq(out, in));
    b = buf_over(sealed, sizeof sealed);
    if (srtcp_seal(&s, in, 4, &b))
        ASSERT(srtcp_open(&s, buf_slice(&b), mem, &out, &index, &clear) && slice_eq(out, in) &&
               index == 4 && !clear);
    return 0;
}
