/* sip/target.h - finding the servers of a domain: RFC 3263 with RFC 7984 and RFC 8305.
 *
 * DNS as data: what is asked, and what came back. Names are without the final dot; the root itself
 * (RFC 2782: "no such service here") is an empty name. Aliases (CNAME) have been followed by
 * whoever asked. */
#ifndef SIP_TARGET_H
#define SIP_TARGET_H

#include "base/addr.h"
#include "base/limits.h"

enum dns_type { DNS_A, DNS_AAAA, DNS_SRV, DNS_NAPTR };
enum dns_result {
    DNS_OK,       /* at least one record */
    DNS_NODATA,   /* the name is there, but has no such record */
    DNS_NXDOMAIN, /* no such name */
    DNS_FAIL      /* no answer, or none that can be believed: may be asked again soon */
};

struct dns_question {
    slice name;
    enum dns_type type;
};
struct dns_srv {
    uint16_t priority, weight, port;
    slice target;
};
struct dns_naptr {
    uint16_t order, preference;
    slice flags, services, regexp, replacement;
};
struct dns_record { /* of the type that was asked for */
    union {
        struct addr addr; /* A, AAAA; port 0 */
        struct dns_srv srv;
        struct dns_naptr naptr;
    };
};
struct dns_answer {
    enum dns_result result;
    uint32_t ttl_s; /* OK: the smallest of all records passed through; NODATA, NXDOMAIN: how long
                     * that may be believed (RFC 2308 5: the smaller of SOA's TTL and MINIMUM) */
    const struct dns_record *records; /* borrowed */
    unsigned count;                   /* more than LIMIT_DNS_RECORDS are not looked at */
};

#endif
