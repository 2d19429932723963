/* Reads bytes as the reply to the question they hold; the first byte chooses the type. */
#include "sip/dns_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void inside(slice whole, slice part) {
    if (part.len == 0) return;
    ASSERT(part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static struct dns_reply mem;
    struct dns_answer a;
    if (len == 0) return 0;
    struct dns_question q = { SLICE("a.b"), (enum dns_type)(data[0] % 4) };
    slice message = slice_of(data + 1, len - 1), names = slice_of(mem.names, sizeof mem.names);
    dns_reply_read(message, &q, &mem, &a);
    ASSERT(a.count <= LIMIT_DNS_RECORDS && (a.result == DNS_OK) == (a.count > 0));
    ASSERT(a.ttl_s <= INT32_MAX && (a.result != DNS_FAIL || a.ttl_s == 0));
    for (unsigned i = 0; i < a.count; i++) {
        const struct dns_record *r = &a.records[i];
        switch (q.type) {
        case DNS_A:
        case DNS_AAAA:
            ASSERT(r->addr.family == (q.type == DNS_A ? ADDR_V4 : ADDR_V6));
            break;
        case DNS_SRV:
            inside(names, r->srv.target);
            break;
        case DNS_NAPTR:
            inside(names, r->naptr.replacement);
            inside(message, r->naptr.flags);
            inside(message, r->naptr.services);
            inside(message, r->naptr.regexp);
            break;
        }
    }
    return 0;
}
