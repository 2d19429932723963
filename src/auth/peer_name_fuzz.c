/* Reads names of certificates (one a line, 'u' or 'd' in front) as a stranger may write them. What
 * is listed must be a host name, and each one listed must be found again. */
#include "auth/peer_name.h"
#include "sip/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct peer_cert cert = { .is_verified = true };
    slice rest = slice_of(data, len), line, out[2 * LIMIT_CERT_NAMES];
    while (slice_split(&rest, '\n', &line)) {
        if (line.len == 0) continue;
        slice name = slice_from(line, 1);
        if (line.ptr[0] == 'u' && cert.uri_count < LIMIT_CERT_NAMES)
            cert.uris[cert.uri_count++] = name;
        if (line.ptr[0] == 'd' && cert.dns_count < LIMIT_CERT_NAMES)
            cert.dns[cert.dns_count++] = name;
    }
    unsigned n = peer_cert_domains(&cert, out, ARRAY_LEN(out));
    for (unsigned i = 0; i < n; i++) {
        ASSERT(target_is_name(out[i]));
        ASSERT(peer_cert_names(&cert, out[i]));
        ASSERT(slice_find(out[i], '*') == out[i].len && slice_find(out[i], '@') == out[i].len);
    }
    ASSERT(!peer_cert_names(&cert, SLICE("nobody.example")) || n > 0);
    return 0;
}
