/* check/browser_media.h - the other end of a browser's media, as far as it can be seen without
 * keys.
 *
 * A UDP port that the offer names as its only candidate, of an ICE-lite agent (RFC 8445 2.5): so
 * the browser sends the checks, and we answer them or not. What it sends is told apart by the first
 * octet (RFC 9443); its ClientHello (DTLS) is put together and read, which is in clear by design.
 * We never answer it, so no keys come about and no media.
 *
 * Lifetime: media_open to media_close. Memory: the test's arena. Threads: the test's own. */
#ifndef CHECK_BROWSER_MEDIA_H
#define CHECK_BROWSER_MEDIA_H

#include "base/addr.h"
#include "check/test.h"

#define MEDIA_UFRAG "kith"
#define MEDIA_PWD   "kithkithkithkithkithkith"
#define MEDIA_HELLO 8192u

/* A description as browsers take it: with ICE, rtcp-mux and a name for each media line, where it
 * has none. What is no description comes back as it is. */
const char *browser_sdp(struct test *t, const char *sdp);

struct media {
    struct test *t;
    int fd;
    struct addr at;
    bool answers;                                 /* the checks, so that ICE succeeds */
    unsigned checks, dtls, rtp, other;            /* packets of each kind */
    unsigned check_at, dtls_at, rtp_at, hello_at; /* the first one's number in the evidence */
    slice check;                                  /* the first check */
    size_t hello_have, hello_len;
    char hello[MEDIA_HELLO]; /* the body of the ClientHello; whole when have == len */
};

/* On the address of the agent's connection; unclear when that fails. */
struct media *media_open(struct ua *a);
void media_close(struct media *m);
/* Takes what comes until one of the counts is reached (0: does not matter) or `ms` are over. */
void media_wait(struct media *m, unsigned checks, unsigned dtls, int64_t ms);
/* Is MESSAGE-INTEGRITY of the check right for our password? */
bool media_check_is_proved(const struct media *m);
/* An attribute of the first check; ptr NULL: none. */
slice media_check_has(const struct media *m, unsigned type);

struct hello { /* what a ClientHello offers; lists of 16-bit numbers, as on the wire */
    unsigned version;
    slice suites, srtp, versions; /* ptr NULL: the extension is not there */
};
/* false: none came, or it can't be read. */
bool media_hello(const struct media *m, struct hello *out);
bool hello_lists(slice list, unsigned number, size_t *at); /* at: may be NULL */

#endif
