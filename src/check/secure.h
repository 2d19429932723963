/* check/secure.h - a call whose media is under DTLS keys: RFC 5763.
 *
 *   struct secure s;
 *   if (!secure_up(t, &s, &(struct secure_wish){ .dtls.profiles = DTLS_CM })) return;
 *   ... secure_heard(&s), media_say(s.m, ...)
 *   secure_down(&s);
 *
 * To a browser we are an ICE-lite agent; a phone gets no ICE (but by `ice`), and media where its
 * answer says.
 *
 * Memory: the test's arena. Threads: the test's own. */
#ifndef CHECK_SECURE_H
#define CHECK_SECURE_H

#include "check/caller.h"
#include "check/media.h"

struct secure_wish {
    struct dtls_wish dtls;
    bool late;         /* the phone offers, we answer: and are the client of DTLS */
    bool ice;          /* for a phone too; then it may have none */
    bool stranger;     /* our description names another certificate */
    const char *media; /* the m= line without its place, and its lines; NULL: audio */
};
struct secure {
    struct up up;
    struct media *m;
};

/* A description of this end: "audio 0 8" and the lines of that m= line. */
const char *secure_sdp(const struct media *m, const char *media, const char *lines);
/* The call is up, and the handshake over or 10 s are. Not applicable when it is refused. False: a
 * verdict stands; the call is down then. */
bool secure_up(struct test *t, struct secure *s, const struct secure_wish *w);
/* Does media come under the keys? Waits up to 10 s for the first packet. */
bool secure_heard(struct secure *s);
void secure_down(struct secure *s);

#endif
