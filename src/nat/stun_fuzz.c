/* A STUN message: everything that is asked of it, and what is written back reads well. */
#include "crypto/crypto.h"
#include "nat/stun.h"
#include <stdlib.h>

#define must(cond) ((cond) ? (void)0 : abort())

static void ask(const struct stun_msg *m) {
    static const enum stun_attr types[] = { STUN_USERNAME,           STUN_MAPPED_ADDRESS,
                                            STUN_XOR_MAPPED_ADDRESS, TURN_XOR_PEER_ADDRESS,
                                            TURN_LIFETIME,           STUN_NONCE };
    const struct addr here = { .family = ADDR_V4, .port = 1, .ip = { 192, 0, 2, 1 } };
    char mem[STUN_BYTES_MAX];
    uint16_t unknown[4];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        slice v;
        struct addr a;
        uint32_t n;
        uint16_t at = 0;
        while (stun_next(m, types[i], &at, &v)) {
            const char *end = m->bytes.ptr + m->bytes.len;
            must(v.ptr >= m->bytes.ptr && v.ptr + v.len <= end);
        }
        if (stun_find_addr(m, types[i], &a) == ERR_OK) must(a.family != ADDR_NONE);
        if (stun_find_u32(m, types[i], &n) == ERR_OK)
            must(stun_find(m, types[i], &v) && v.len == 4);
    }
    must(stun_unknown(m, NULL, 0, unknown, 4) <= 4);
    unsigned status = stun_error(m);
    must(status == 0 || (status >= 300 && status < 700));
    bool is_sha256;
    must(stun_check(m, SLICE("no key of anybody"), &is_sha256) != ERR_OK);
    slice answer = stun_answer_binding(m, &here, mem, sizeof mem);
    struct stun_msg back;
    if (answer.len) must(stun_read(answer, &back) == ERR_OK && back.method == STUN_BINDING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool is_ready;
    struct stun_msg m;
    if (!is_ready) must(crypto_init() == ERR_OK);
    is_ready = true;
    char *exact = malloc(size ? size : 1);
    must(exact != NULL);
    if (size) memcpy(exact, data, size);
    slice bytes = slice_of(exact, size);
    if (stun_is(bytes)) (void)stun_length(bytes);
    if (stun_read(bytes, &m) == ERR_OK) ask(&m);
    free(exact);
    return 0;
}
