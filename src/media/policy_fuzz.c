/* Judges bytes as a session description, and as a message with whatever body it has. Only words
 * that may stand in a quoted string come out. */
#include "media/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(struct media_verdict v) {
    ASSERT((v.keys == MEDIA_UNKEYED) == (v.why != NULL));
    ASSERT(v.line == 0 || v.keys == MEDIA_UNKEYED);
    for (const char *c = v.why; c && *c; c++) ASSERT(*c >= ' ' && *c != '"' && *c != '\\');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static struct sip_msg m;
    slice bytes = slice_of(data, len);
    check(media_judge_sdp(bytes));
    struct sip_read r = sip_msg_read(&m, bytes, SIP_DATAGRAM);
    if (r.err == ERR_OK) check(media_judge(&m));
    return 0;
}
