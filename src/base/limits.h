/* base/limits.h - every maximum of the house, each with its reason.
 *
 * "Full" is an answer (503, 486, close), not growth. Add a row here for each thing that grows. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

/* Messages. A browser's INVITE with full ICE and simulcast is about 12 kB; ten times real need. */
#define LIMIT_MSG_BYTES       65535u /* one SIP message, head and body; also UDP's own limit */
#define LIMIT_MSG_HEAD_BYTES  32768u /* start line and headers */
#define LIMIT_MSG_HEADERS     128u   /* header lines; a long Route set through 20 proxies has 60 */
#define LIMIT_URI_BYTES       2048u  /* longest URI we take; RFC 4475 longreq's own is below 1 kB */
#define LIMIT_MULTIPART_PARTS 16u    /* parts of one body, nested ones included */
#define LIMIT_MULTIPART_DEPTH 3u
#define LIMIT_SDP_MEDIA       32u /* m= lines judged; a conference client offers about 20 */
#define LIMIT_VIAS            71u /* Max-Forwards starts at 70 */

/* Per worker. */
#define LIMIT_FLOWS        1048576u   /* slots of 24 bits would allow 16 million */
#define LIMIT_TRANSACTIONS 262144u    /* 8,000 calls a second with 32 s of timers */
#define LIMIT_MAILBOX      8192u      /* mails waiting; requests are refused above half of it */
#define LIMIT_OWED_MAILS   256u       /* for full mailboxes, that a worker keeps: 16 MiB at most */
#define LIMIT_TURN_BYTES   (4u << 20) /* effects of one input: 16 forks of the largest message */

/* Calls. */
#define LIMIT_FORKS       16u /* branches of one request: people have fewer devices */
#define LIMIT_TARGETS     32u /* one request: branches, next flows of a phone, forwards */
#define LIMIT_FORWARDS    5u  /* of one call: a chain of secretaries, not a circle */
#define LIMIT_MAX_BREADTH 60u /* RFC 5393 5.3.2 suggests 60 */
#define LIMIT_GUEST_CALLS 3u  /* of a visitor's connection: one, and what still ends */
#define LIMIT_IDENTITIES  16u /* accounts on one flow: architecture.md section 4 */

/* Storage. Twice what may wait in the daemon's queue: a change cannot come later than that. */
#define LIMIT_CHANGES_LATE 131072u

/* Registrar. */
#define LIMIT_CONTACTS 10u /* bindings of one address-of-record */
#define LIMIT_FLOW_TIMER_S                                                                         \
    120u /* RFC 5626 4.4.1's own figure; phones ping at 80 to 100 % of it                          \
          */
#define LIMIT_FLOW_GRACE_S      30u /* 5626 5.4: a silent flow is dead that much later */
#define LIMIT_EXPIRES_MIN_S     60u /* below: 423. Refresh traffic must not become a load */
#define LIMIT_EXPIRES_MAX_S     86400u
#define LIMIT_EXPIRES_DEFAULT_S 3600u /* RFC 3261 10.3 */
/* Over UDP: no connection breaks when we restart or the phone goes, so it must say so itself; less
 * than a silent datagram flow is kept. */
#define LIMIT_EXPIRES_DATAGRAM_S 300u

/* Other domains. */
#define LIMIT_DNS_RECORDS   32u    /* of one answer: two dozen servers are a large domain */
#define LIMIT_DNS_QUESTIONS 1024u  /* a worker's, under way at one time */
#define LIMIT_DNS_CACHE     2048u  /* answers a worker keeps, those under way included */
#define LIMIT_SEARCHES      512u   /* domains a worker looks for at one time */
#define LIMIT_PLACES        16u    /* addresses tried for one request, and servers of one domain */
#define LIMIT_TARGET_MEMORY 4096u  /* addresses a worker knows to have failed or answered lately */
#define LIMIT_CONNECTS      512u   /* a worker's, not up yet */
#define LIMIT_HOPS          1024u  /* next hops outside that a worker knows */
#define LIMIT_WAITERS       4096u  /* requests that wait for one next hop */
#define LIMIT_PEER_ROWS     16384u /* domains on connections, of all workers */
#define LIMIT_PEER_FLOWS    64u    /* connections of one domain that are known to all workers */
#define LIMIT_CERT_NAMES    32u /* of each kind; hosters put up to a hundred on one: not domains' */
#define LIMIT_PEERS         64u /* rows of policy in the settings */

#endif
