/* daemon/shell.c - see shell.h. */
#include "daemon/shell.h"

#include "base/scan.h"

void shell_put_word(struct buf *out, slice word) {
    slice also = SLICE("/_+,:@%=");
    bool plain = word.len > 0;
    for (size_t i = 0; i < word.len; i++)
        plain =
            plain && (scan_is(word.ptr[i], SCAN_HOST) || slice_find(also, word.ptr[i]) < also.len);
    if (!plain) buf_byte(out, '\'');
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] == '\'')
            buf_lit(out, "'\\''");
        else
            buf_byte(out, word.ptr[i]);
    }
    if (!plain) buf_byte(out, '\'');
}
