/* The answer for the whole input and for the input in pieces must be the same, and within it. */
#include "base/limits.h"
#include "io/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice all = slice_of(data, size);
    struct frame once = { 0 }, pieces = { 0 };
    size_t len = 0, len_pieces = 0;
    const char *why;
    (void)frame_protocol(all);
    if (size == 0) return 0;
    enum frame_state want = frame_find(&once, all, &len, &why);
    enum frame_state got = FRAME_MORE;
    size_t step = 1u + data[0] % 64u;
    for (size_t have = step; got == FRAME_MORE; have += step) {
        if (have > size) have = size;
        got = frame_find(&pieces, slice_head(all, have), &len_pieces, &why);
        if (have == size) break;
    }
    ASSERT(got == want);
    ASSERT(len == len_pieces || want == FRAME_MORE);
    ASSERT(want != FRAME_DONE || (len <= size && len <= LIMIT_MSG_BYTES));
    return 0;
}
