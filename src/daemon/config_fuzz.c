/* Whatever stands in kith.conf: either a config, or errors that say so. */
#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct config_errors errors;
    struct config *c = NULL;
    enum err e = config_read(slice_of(data, size), SLICE("kith.conf"), &c, &errors);
    ASSERT((e == ERR_OK) == (c != NULL));
    ASSERT(e != ERR_CONFIG || errors.count > 0);
    char mem[16384];
    struct buf out = buf_over(mem, sizeof mem);
    config_errors_put(&errors, SLICE("kith.conf"), &out);
    config_free(c);
    return 0;
}
