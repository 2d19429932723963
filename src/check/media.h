/* check/media.h - the other end of a phone's or browser's media.
 *
 * A UDP port that the offer names as its only candidate, of an ICE-lite agent (RFC 8445 2.5): so
 * the browser sends the checks, and we answer them or not. What it sends is told apart by the first
 * octet (RFC 9443). Its ClientHello is put together and read, which is in clear by design. Without
 * media_key() that is all, and no keys come about; with it we take part in DTLS, and hear and say
 * SRTP (check/dtls.h, check/srtp.h).
 *
 *   struct media *m = media_open(a);
 *   media_key(m, &(struct dtls_wish){ .profiles = DTLS_CM });
 *   ... a call whose offer has dtls_fingerprint(m->dtls_end) and m->at; then, of its answer:
 *   media_begin(m, sdp, false);
 *   (void)media_until(m, media_is_up, 10000);
 *
 * While media is heard, the connection of the call is looked after too.
 *
 * Lifetime: media_open to media_close, which wipes the keys. Memory: the test's arena, and the heap
 * for DTLS. Threads: the test's own. */
#ifndef CHECK_BROWSER_MEDIA_H
#define CHECK_BROWSER_MEDIA_H

#include "base/addr.h"
#include "check/dtls.h"
#include "check/test.h"

#define MEDIA_UFRAG   "kith"
#define MEDIA_PWD     "kithkithkithkithkithkith"
#define MEDIA_HELLO   8192u
#define MEDIA_CHECKED 16u
#define MEDIA_SSRC    0x6b697468u /* ours */

/* A description as browsers take it: with ICE, rtcp-mux and a name for each media line, where it
 * has none. What is no description comes back as it is. */
const char *browser_sdp(struct test *t, const char *sdp);

struct heard {                                      /* of their media, under the right keys */
    unsigned count, seq, at, unproved, unproved_at; /* unproved: looks like it, and is not */
    uint32_t turns, ssrc;
    uint64_t bytes;        /* with the heads of IP and UDP */
    unsigned frames, keys; /* of VP8, to whom it is that: those that began, and key frames */
};
struct reports { /* the same of RTCP */
    unsigned count, at, unproved, unproved_at;
    unsigned clear_at, repeats_at; /* one without encryption; one whose index does not rise */
    uint32_t index;
    struct rtcp_block about_us; /* what the last one says about our media */
    unsigned about_us_at;       /* 0: none did */
    unsigned silent_about_us;   /* so many in a row do not name us */
};

struct media {
    struct test *t;
    struct ua *a;
    int fd;
    struct addr at, peer;                         /* peer: family NONE until we know it */
    bool answers;                                 /* the checks, so that ICE succeeds */
    unsigned checks, dtls, rtp, other;            /* packets of each kind */
    unsigned check_at, dtls_at, rtp_at, hello_at; /* the first one's number in the evidence */
    slice check;                                  /* the first check */
    size_t hello_have, hello_len;
    char hello[MEDIA_HELLO]; /* the body of the ClientHello; whole when have == len */

    struct dtls *dtls_end;            /* NULL: we take no part */
    slice theirs_said;                /* their description */
    bool client, ice, started, keyed; /* ice: a browser; for a phone if a test wants it */
    unsigned payload;                 /* of what we say */
    uint32_t said;                    /* the highest index of it */
    struct srtp ours, theirs;
    struct heard heard;
    struct reports reports;
    uint32_t sent_reports;
    int64_t polled, spoke_ms; /* spoke_ms: when the last packet came that is not of STUN */
    struct checked {          /* the checks, the last ones */
        int64_t ms;
        char id[12];
    } checked[MEDIA_CHECKED];
};

/* On the address of the agent's connection; unclear when that fails. */
struct media *media_open(struct ua *a);
void media_close(struct media *m); /* NULL is allowed */
/* Takes what comes until one of the counts is reached (0: does not matter) or `ms` are over. */
void media_wait(struct media *m, unsigned checks, unsigned dtls, int64_t ms);
/* One packet, or a while without; false when this time of clock_ms() is over. */
bool media_hear(struct media *m, int64_t until);
/* Hears until `there`, or for `ms` (times --patience). */
bool media_until(struct media *m, bool (*there)(const struct media *), int64_t ms);
void media_listen(struct media *m, int64_t ms); /* hears for that long */
/* Is MESSAGE-INTEGRITY of the check right for our password? */
bool media_check_is_proved(const struct media *m);
/* An attribute of the first check; ptr NULL: none. */
slice media_check_has(const struct media *m, unsigned type);

/* We take part in DTLS. */
void media_key(struct media *m, const struct dtls_wish *wish);
/* Their description is there: we are the server of DTLS, or its client when they are passive (or,
 * if we answer theirs, leave it to us). With ICE the client waits for a check. */
void media_begin(struct media *m, slice theirs, bool we_answer);
bool media_is_up(const struct media *m); /* the handshake is over, one way or the other */
#define MEDIA_FORGED 1u
#define MEDIA_CLEAR  1u
/* One packet of silence under this index (turns << 16 | sequence number). FORGED: a bit of it is
 * changed on the way. */
void media_say(struct media *m, uint32_t index, unsigned wrong);
/* Compound RTCP. CLEAR: as it is. */
void media_report(struct media *m, slice rtcp, unsigned wrong);

struct hello { /* what a ClientHello offers; lists of 16-bit numbers, as on the wire */
    unsigned version;
    slice suites, srtp, versions; /* ptr NULL: the extension is not there */
};
/* false: none came, or it can't be read. */
bool media_hello(const struct media *m, struct hello *out);
bool hello_lists(slice list, unsigned number, size_t *at); /* at: may be NULL */

#endif
