/* check/dtls.h - one end of a DTLS association for keys of media (RFC 5764), spoken by OpenSSL.
 *
 * It has no socket: datagrams go in, and come out through a function of the caller. DTLS 1.2, a
 * certificate of its own for each association. What a test may want wrong is said by the wish.
 *
 *   dtls_open(&(struct dtls_wish){ .profiles = DTLS_CM }, give, media, &d);
 *   ... dtls_fingerprint(d) goes into the description; dtls_start(d, client);
 *   ... dtls_take(d, datagram) for what comes, dtls_tick(d) when dtls_due(d) ms are over;
 *   ... dtls_state(d) says DTLS_UP: dtls_matches() their description? dtls_keys(d, &out, &in)
 *
 * Lifetime: dtls_close() frees it, and wipes its keys. Threads: the test's own. Memory: the heap.
 */
#ifndef CHECK_DTLS_H
#define CHECK_DTLS_H

#include "base/err.h"
#include "check/srtp.h"

#define DTLS_CM          "SRTP_AES128_CM_SHA1_80"
#define DTLS_FINGERPRINT 112u

enum dtls_state { DTLS_SHAKES, DTLS_UP, DTLS_ENDED };

struct dtls_wish {
    const char *profiles; /* OpenSSL's names of what use_srtp lists, with ':'; NULL: no use_srtp */
    bool unknown;         /* as the client: the profile that is sent is one that nobody knows */
};
struct dtls;
typedef void dtls_give(void *context, slice datagram);

/* MEMORY, or CRYPTO when OpenSSL refuses the wish. */
NODISCARD enum err dtls_open(const struct dtls_wish *wish, dtls_give *give, void *context,
                             struct dtls **out);
void dtls_close(struct dtls *d); /* NULL is allowed */
/* "SHA-256 AB:CD:..." of our certificate (RFC 8122 5). */
const char *dtls_fingerprint(const struct dtls *d);
/* The client sends its hello. */
void dtls_start(struct dtls *d, bool client);
void dtls_take(struct dtls *d, slice datagram);
int64_t dtls_due(struct dtls *d); /* ms until dtls_tick(); a second when nothing is due */
void dtls_tick(struct dtls *d);   /* sends again what got no answer (RFC 6347 4.2.4) */

enum dtls_state dtls_state(const struct dtls *d);
bool dtls_greeted(const struct dtls *d);      /* the other side's hello came */
const char *dtls_alert(const struct dtls *d); /* "bad certificate"; "" none came that is fatal */
/* The number of the profile that was chosen (RFC 5764 4.1.2); 0: none. */
unsigned dtls_profile(const struct dtls *d);
/* Is their certificate the one of this "sha-256 AB:CD:..."? SHA-256, -384 and -512; compared in
 * constant time. */
bool dtls_matches(const struct dtls *d, slice fingerprint);
/* RFC 5764 4.2; false when there are none of DTLS_CM. */
NODISCARD bool dtls_keys(const struct dtls *d, struct srtp *ours, struct srtp *theirs);

#endif
