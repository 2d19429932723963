/* What is read of a whole head is read of the same head with more behind it, and never of less. */
#include "http/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct http_request r, again;
    size_t used = 0, used_again = 0;
    slice all = slice_of(data, size), v;
    unsigned status = http_request_read(all, &r, &used);
    if (status != 200) return 0;
    ASSERT(used <= size && used <= HTTP_HEAD_MAX);
    ASSERT(r.path.len && r.path.ptr[0] == '/');
    ASSERT(slice_find_slice(r.path, SLICE("/../")) == r.path.len);
    ASSERT(r.content_length <= HTTP_BODY_MAX);
    (void)http_cookie(&r, SLICE("__Host-kith"), &v);
    (void)http_query(&r, SLICE("guest"), &v);
    (void)http_origin_is(r.origin, r.host);
    ASSERT(http_request_read(slice_head(all, used), &again, &used_again) == 200);
    ASSERT(used_again == used && slice_eq(again.path, r.path));
    ASSERT(http_request_read(slice_head(all, used - 1), &again, &used_again) != 200);
    return 0;
}
