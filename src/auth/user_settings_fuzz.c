/* What is taken can be written, is read again the same, and holds nothing that could leave its line
 * or its brackets in a message. */
#include "auth/user_settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct user_settings s, again;
    char mem[USER_SETTINGS_MAX + 256];
    struct buf b = buf_over(mem, sizeof mem);
    if (user_settings_read(slice_of(data, size), &s) != ERR_OK) return 0;
    user_settings_put(&b, &s);
    ASSERT(!b.full);
    enum err e = user_settings_read(buf_slice(&b), &again);
    ASSERT(e == ERR_OK && again.dnd == s.dnd);
    for (unsigned i = 0; i < FORWARD_COUNT; i++) {
        slice uri = s.forward[i];
        ASSERT(slice_eq(uri, again.forward[i]));
        for (size_t k = 0; k < uri.len; k++)
            ASSERT((uint8_t)uri.ptr[k] > ' ' && uri.ptr[k] != '<' && uri.ptr[k] != '>');
    }
    if (s.forward[FORWARD_NO_ANSWER].len)
        ASSERT(s.no_answer_s == again.no_answer_s && s.no_answer_s >= NO_ANSWER_MIN_S);
    return 0;
}
