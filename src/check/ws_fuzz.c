/* Frames at once and in pieces give the same messages, and the same end. */
#include "base/mem.h"
#include "check/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CAP 4096u

static enum ws_got all(struct ws *w, slice in, size_t step, uint64_t *sum, char *message) {
    enum ws_got got = WS_MORE;
    size_t len = 0;
    for (size_t at = 0; at < in.len && got != WS_BROKEN; at += step) {
        slice piece = slice_head(slice_from(in, at), step);
        memcpy(w->raw + w->raw_len, piece.ptr, piece.len);
        w->raw_len += piece.len;
        while ((got = ws_next(w, message, &len, CAP)) != WS_MORE && got != WS_BROKEN) {
            ASSERT(len <= CAP && w->control_len <= WS_CONTROL);
            *sum =
                *sum * 31 + (uint64_t)got + (got == WS_MESSAGE ? len + w->opcode : w->control_len);
            for (size_t i = 0; got == WS_MESSAGE && i < len; i++)
                *sum = *sum * 31 + (uint8_t)message[i];
            if (got == WS_MESSAGE) len = 0;
        }
    }
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > WS_BYTES) return 0;
    struct ws *once = mem_zalloc(sizeof *once), *pieces = mem_zalloc(sizeof *pieces);
    char *message = mem_alloc(CAP);
    slice in = slice_of((const char *)data + 1, size - 1);
    if (once && pieces && message) {
        uint64_t a = 0, b = 0;
        once->is_server = pieces->is_server = data[0] & 1;
        enum ws_got want = all(once, in, in.len, &a, message);
        enum ws_got got = all(pieces, in, 1u + (data[0] >> 1), &b, message);
        ASSERT(got == want && a == b);
        (void)ws_is_text(in);
        (void)ws_head(in);
    }
    mem_free(once);
    mem_free(pieces);
    mem_free(message);
    return 0;
}
