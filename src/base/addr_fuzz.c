#include "base/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever reads must be written, read back, and be the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice in = slice_of(data, size);
    struct addr a, back;
    char mem[64];
    struct buf b = buf_over(mem, sizeof(mem));
    if (addr_read(in, &a) == ERR_OK) {
        addr_put(&b, &a);
        ASSERT(!b.full && addr_read(buf_slice(&b), &back) == ERR_OK && addr_eq(&a, &back));
    }
    buf_clear(&b);
    if (addr_read_ip(in, &a) == ERR_OK) {
        addr_put_ip(&b, &a);
        ASSERT(!b.full && addr_read_ip(buf_slice(&b), &back) == ERR_OK && addr_eq(&a, &back));
    }
    return 0;
}
