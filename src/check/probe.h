/* check/probe.h - STUN and TURN messages for the tests of relays, written apart from nat/.
 *
 * A request is put together attribute by attribute, right or wrong. Memory: the caller's and the
 * test's arena. Threads: the test's own. */
#ifndef CHECK_PROBE_H
#define CHECK_PROBE_H

#include "base/addr.h"
#include "base/buf.h"
#include "check/test.h"

enum stun_method {
    STUN_BINDING = 1,
    STUN_ALLOCATE = 3,
    STUN_REFRESH = 4,
    STUN_SEND = 6,
    STUN_DATA = 7,
    STUN_PERMISSION = 8,
    STUN_CHANNEL = 9
};
enum stun_attribute {
    STUN_USERNAME = 0x06,
    STUN_INTEGRITY = 0x08,
    STUN_ERROR = 0x09,
    STUN_CHANNEL_NUMBER = 0x0c,
    STUN_LIFETIME = 0x0d,
    STUN_PEER = 0x12,
    STUN_BYTES = 0x13,
    STUN_REALM = 0x14,
    STUN_NONCE = 0x15,
    STUN_RELAYED = 0x16,
    STUN_FAMILY = 0x17,
    STUN_EVEN_PORT = 0x18,
    STUN_TRANSPORT = 0x19,
    STUN_MAPPED = 0x20,
    STUN_RESERVATION = 0x22,
    STUN_MORE_FAMILY = 0x8000,
    STUN_ALGORITHMS = 0x8002
};

/* A user of a relay: one socket, perhaps a log-in, perhaps an allocation. */
struct probe {
    struct test *t;
    struct ua *a;
    const struct account *account;
    slice realm, nonce;
    const char *password; /* instead of the account's */
    const char *user;
    bool no_integrity, no_nonce;
};

struct ask_stun { /* what a request has beside the log-in */
    enum stun_method method;
    bool indication;
    unsigned transport;   /* REQUESTED-TRANSPORT, 0: none */
    unsigned family;      /* REQUESTED-ADDRESS-FAMILY, 0: none */
    unsigned more_family; /* ADDITIONAL-ADDRESS-FAMILY */
    int64_t lifetime;     /* -1: none */
    const struct addr *peer;
    unsigned channel;
    slice bytes;
    slice extra; /* further attributes, as they stand */
};

/* One attribute, and the length of the message so far (20 bytes of head not counted). */
void probe_put(struct buf *b, unsigned type, slice value);
void probe_set_length(struct buf *b, size_t body);
void probe_put_fingerprint(struct buf *b); /* the last one: RFC 8489 14.7 */
/* The head of a success response to this Binding request, and XOR-MAPPED-ADDRESS. */
void probe_put_binding(struct buf *b, slice request, const struct addr *seen);
struct probe probe_new(struct test *t, enum wire w, int account);
/* Sends and waits 2 s for the answer; over UDP once more after 500 ms. NULL: none. */
struct msg *probe_once(struct probe *u, const struct ask_stun *r);
/* The same, answering 401 and 438 by logging in. */
struct msg *probe_ask(struct probe *u, const struct ask_stun *r);
struct msg *probe_allocate(struct probe *u, struct addr *relayed); /* unclear when refused */
void probe_end(struct probe *u);                                   /* Refresh with lifetime 0 */

unsigned probe_error(const struct msg *r); /* 0: no error */
bool probe_is_success(const struct msg *r);
slice probe_attribute(const struct msg *r, unsigned type); /* ptr NULL: none */
bool probe_address(const struct msg *r, unsigned type, struct addr *out);
/* There must be an answer, and with this error; 0: success. */
bool probe_expect(struct test *t, const struct msg *r, unsigned error);
#define EXPECT_STUN(t, r, error)                                                                   \
    do {                                                                                           \
        if (!probe_expect((t), (r), (error))) return;                                              \
    } while (0)

#endif
