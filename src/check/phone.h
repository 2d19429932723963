/* check/phone.h - the registrar that a phone under test registers with.
 *
 * We listen, the phone registers (each REGISTER is challenged once), and its connection is what all
 * tests of the role "phone" talk over, one after the other. REGISTER is answered by itself whenever
 * it comes; what came is kept for the tests that look at registrations.
 *
 * Lifetime: phone_wait to phone_end. Threads: one job only. Memory: the heap. */
#ifndef CHECK_PHONE_H
#define CHECK_PHONE_H

#include "check/run.h"

#define PHONE_SEEN_MAX  32u
#define PHONE_GRANTED_S 12 /* short, so that a refresh can be seen */
#define PHONE_FLOW_S    5  /* the same for keep-alives */

struct phone {
    struct link *link;
    char contact[512], aor[256]; /* the URI to send to; what it registered */
    char *seen[PHONE_SEEN_MAX];  /* REGISTERs, the first ones */
    size_t seen_len[PHONE_SEEN_MAX];
    unsigned seen_count;
    unsigned strangers; /* REGISTERs in a row without credentials */
    bool only_md5;      /* two were: it cannot read a challenge of several algorithms */
    unsigned granted_s; /* what its next registration gets: PHONE_GRANTED_S */
    unsigned wait_s;    /* for a person to answer */
    int tcp, udp;       /* where we listen; a phone that closed its connection comes back there */
    enum wire stream;   /* what is spoken over `tcp` */
    const char *certificate;
    const char *hands; /* a file to which is written what the phone shall do; NULL: a person */
};

/* Listens on target.at[TCP] and [UDP], or with a certificate on [TLS], for the role browser on
 * [WSS]; waits until a phone has registered. false and `why`: none came in `seconds`. */
bool phone_wait(struct run *run, const char *certificate, unsigned seconds, char *why,
                size_t why_len);
void phone_end(struct run *run);
/* How long the phone, or who drives it, may take for something, in ms. */
int64_t phone_patience(const struct run *run);
/* Is there somebody, or a program, that does with the phone what a test asks for? */
bool phone_hands(const struct run *run);
/* Asks for it: "hold", "resume", "hang up", "press 5", "dial sip:...", "transfer sip:...". Not
 * applicable when nobody is there. */
void phone_act(struct test *t, const char *what);
/* The phone's connection; if the phone closed it, after up to 40 s the new one, or NULL. */
struct link *phone_link(struct run *run);
/* After a test: ends the calls that its evidence shows open, in either direction, and waits for the
 * phone's answers: the next test needs an idle phone. */
void phone_idle(struct test *t);
/* Answers a REGISTER that came over the link. */
void phone_register(struct run *run, struct link *l, slice raw);

#endif
