/* check/caller.h - calls with the phone under test, in both directions.
 *
 * The tester calls the phone (phone_up); the phone calls the tester (phone_dials), told so by a
 * REFER in a call, or by the hands that drive it (phone_act). Memory: the test's arena.
 * Threads: the test's own. */
#ifndef CHECK_CALLER_H
#define CHECK_CALLER_H

#include "check/test.h"

#define SDP_OF(c, media)                                                                           \
    "v=0\r\no=- 5 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 " c "\r\nt=0 0\r\n" media
#define SDP(media) SDP_OF("127.0.0.1", media)
/* Of no certificate. */
#define FINGERPRINT                                                                                \
    "SHA-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:" \
    "54:02:12:DF"
#define KEYED "a=setup:actpass\r\na=fingerprint:" FINGERPRINT "\r\n"

struct up { /* a call to the phone */
    struct ua *a;
    struct msg *ok;
    struct dialog d;
};
/* A call that is up; unclear when the phone doesn't answer it. `more` with body "": no offer. */
bool phone_up(struct test *t, struct up *c, const struct req *more);
void phone_ack(struct up *c); /* of c->ok */
struct msg *phone_down(struct up *c);
/* The call is refused, or the line is: nothing comes about. `fault` says what it is if it does. */
void phone_refuses(struct test *t, struct ua *a, const struct req *call, const char *fault);
struct msg *phone_reinvite(struct up *c, const struct req *more); /* acknowledged when accepted */

struct dialled {   /* a call from the phone */
    struct up via; /* in which it was told to dial; without an agent: by hand */
    struct ua *a;
    struct msg *in;  /* its INVITE */
    struct dialog d; /* as we have it; our tag is ua_tag(a) */
};
/* The phone calls uri (NULL: an address at the tester). Not applicable when it can't be told to. */
bool phone_dials(struct test *t, struct dialled *c, const char *uri);
/* Phones hold the call in which they are told to dial: that INVITE in it (by its Call-ID) is taken.
 * false: m is something else. */
bool phone_held(struct ua *a, const struct msg *m, slice call_id);
/* The phone's next request: such a hold and NOTIFY are answered, a NOTIFY is given only if it ends
 * the transfer that was asked for in the call of this Call-ID. NULL: none in `ms`. */
struct msg *phone_request(struct ua *a, slice call_id, int64_t ms);
/* Does the phone call once more? NULL: no, and *proof shows it: the end of the transfer, or a sign
 * of life after it had the time to. */
struct msg *phone_tries_again(struct dialled *c, unsigned *proof);
/* Refuses what is still open, and hangs up. */
void phone_dialled_end(struct dialled *c);

unsigned sdp_lines(slice sdp, const char *start);
slice sdp_line(slice sdp, const char *start);           /* the first; ptr NULL: none */
const char *sdp_answer_to(struct test *t, slice offer); /* takes its first codec, and its profile */

#endif
