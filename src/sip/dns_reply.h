/* sip/dns_reply.h - reads a DNS message as the answer to one question: RFC 1035 4, 2308, 2782,
 * 3403.
 *
 * The bytes are a stranger's: whoever can guess the id of a question, or owns a name that we ask
 * for, writes them. So only what answers the question counts: records of its name, or of the names
 * that aliases (CNAME) lead to in the same message. All else in it is passed over.
 * Memory: the caller's. Slices of the answer point into `mem` or into the message. */
#ifndef SIP_DNS_REPLY_H
#define SIP_DNS_REPLY_H

#include "sip/target.h"

#define DNS_NAME_BYTES 255u /* RFC 1035 2.3.4 */

struct dns_reply {
    struct dns_record records[LIMIT_DNS_RECORDS];
    char names[LIMIT_DNS_RECORDS][DNS_NAME_BYTES];
};

/* What the type is called on the wire (RFC 1035 3.2.2, 3596, 2782, 3403). */
uint16_t dns_wire_type(enum dns_type type);
/* FAIL: not a whole and well-formed reply to that question, a server's refusal, or too many
 * aliases. A record that nobody could use (a host name with other bytes than letters, digits, "-"
 * and "_") is left out. */
void dns_reply_read(slice message, const struct dns_question *q, struct dns_reply *mem,
                    struct dns_answer *out);

#endif
