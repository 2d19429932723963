/* What the target sent: SIP, SDP and STUN, read by the tester. Every slice lies inside the bytes; a
 * stream gives the same first message whether it came at once or grew. */
#include "base/mem.h"
#include "check/caller.h"
#include "check/msg.h"
#include "check/probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(slice s, slice whole) {
    ASSERT(!s.len || (s.ptr >= whole.ptr && s.ptr + s.len <= whole.ptr + whole.len));
}

static void read_values(const struct msg *m, slice in) {
    static const char *const names[] = { "Via", "Contact", "Route", "From", "WWW-Authenticate" };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        unsigned n = msg_values(m, names[i]);
        ASSERT(n <= in.len && msg_lines(m, names[i]) <= m->header_count);
        for (unsigned k = 0; k < n && k < 8; k++) {
            slice v = msg_value(m, names[i], k), uri = value_uri(v);
            inside(v, in), inside(uri, in), inside(value_param(v, "tag"), in);
            inside(uri_param(uri, "lr"), in), inside(uri_user(uri), in);
            inside(uri_host(uri), in), inside(uri_bare(uri), in);
            inside(comma_value(v, "nonce"), in);
        }
    }
    (void)msg_cseq(m), (void)msg_lists(m, "Supported", "path");
    inside(msg_cseq_method(m), in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct msg *m = mem_zalloc(sizeof *m);
    slice in = slice_of((const char *)data, size);
    if (!m) return 0;
    msg_read(in, m);
    ASSERT(m->header_count <= MSG_HEADERS_MAX && m->status < 1000);
    inside(m->body, in), inside(m->uri, in), inside(m->method, in), inside(m->reason, in);
    read_values(m, in);
    size_t first = msg_frame(in);
    ASSERT(first <= size);
    if (first) ASSERT(msg_frame(slice_head(in, first)) == first);
    inside(sdp_line(in, "m="), in);
    ASSERT(sdp_lines(in, "a=") <= size);
    struct addr a;
    for (unsigned type = 1; type < 0x20; type++) inside(probe_attribute(m, type), in);
    (void)probe_error(m), (void)probe_is_success(m), (void)probe_address(m, STUN_MAPPED, &a);
    mem_free(m);
    return 0;
}
