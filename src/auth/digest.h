/* auth/digest.h - HTTP digest for SIP, server side: RFC 3261 22, 7616, 8760.
 *
 * Purpose:  make the one challenge of a lane, and judge an answer to it. Main lane: SHA-256 (or
 *           SHA-512-256 by setting), qop=auth compulsory. Legacy lane: MD5, one challenge too.
 * Nonces:   base64url(time, salt, MAC). On a reliable flow the MAC covers the flow id, and the flow
 *           keeps the highest nc per nonce (struct digest_flow), so a nonce costs nothing until it
 *           has authenticated. On datagrams used nonces live in a bounded table (struct
 *           digest_used); what is older than the oldest kept answers stale.
 * Username: the account's bare user ("alice"); the realm is its domain. "alice@example.org" and
 *           aliases as username cannot work: the username is inside the hash of the secret.
 *           username*, userhash and auth-int are not offered and refused (DIGEST_BAD).
 * Secrets:  an unknown user and a wrong secret take the same path: the same computation over a
 *           decoy HA1, the same answer. No secret, nonce or response reaches a log.
 * Threads:  struct digest is read-only after digest_init; struct digest_flow belongs to a flow;
 *           struct digest_used has a lock of its own. */
#ifndef AUTH_DIGEST_H
#define AUTH_DIGEST_H

#include "auth/accounts.h"
#include "base/buf.h"
#include "base/clock.h"
#include "sip/flow.h"
#include "sip/msg.h"

/* Legacy devices of one account that are tried in a check; work is the same up to
 * DIGEST_LEGACY_EVEN of them, so that time does not tell who exists. */
#define DIGEST_LEGACY_MAX  8u
#define DIGEST_LEGACY_EVEN 4u
/* A username, cnonce or URI longer than this is refused before anything is hashed. */
#define DIGEST_TEXT_MAX 2048u

struct digest_used; /* nonces used on datagrams: bounded, oldest out first */
NODISCARD struct digest_used *digest_used_new(uint32_t max, const struct hash_key *key);
void digest_used_free(struct digest_used *u);

struct digest {
    uint8_t mac_key[32];
    uint8_t decoy[32]; /* stands in for the HA1 of an unknown user */
    struct accounts *accounts;
    struct digest_used *used;
    _Atomic uint32_t nonce_life_s; /* a reload may change it under way */
};
struct digest_flow {                 /* zero it when the flow opens */
    uint64_t nonce_time, nonce_salt; /* of the newest nonce that authenticated here */
    uint32_t nc;
};

enum digest_verdict {
    DIGEST_OK,
    DIGEST_NONE,  /* no credentials for this realm: challenge */
    DIGEST_STALE, /* right secret or not told, old nonce: challenge with stale=true */
    DIGEST_WRONG, /* unknown user, wrong secret, disabled account: challenge again, count it */
    DIGEST_BAD    /* malformed, or parameters missing: 400 */
};

/* The value of WWW-Authenticate or Proxy-Authenticate for this flow. salt: random. */
void digest_challenge(const struct digest *d, enum digest_algorithm algorithm, slice realm,
                      flow_id flow, bool reliable, uint64_t salt, wall_t now, bool stale,
                      struct buf *out);

/* Judge the credentials for `realm` that the request carries (`which`: HDR_AUTHORIZATION or
 * HDR_PROXY_AUTHORIZATION). The digest-uri must equal the Request-URI by sip_uri_eq, or as text
 * (RFC 7616 3.4.6). On OK *out is the account (and *out_device the legacy device, else 0).
 * `state` may be NULL on datagrams only. Nothing in `state` or the used nonces changes but on OK.
 */
enum digest_verdict digest_check(const struct digest *d, enum digest_algorithm algorithm,
                                 const struct sip_msg *req, enum sip_header_id which, slice realm,
                                 flow_id flow, bool reliable, struct digest_flow *state, wall_t now,
                                 struct account *out, uint32_t *out_device);

/* HA1 = H(user ":" realm ":" secret); RFC 7616 3.4.2. MD5 fills 16 bytes. */
void digest_ha1(enum digest_algorithm algorithm, slice user, slice realm, slice secret,
                uint8_t out[static 32]);

/* The bare computation for qop=auth, RFC 7616 3.4.1: H(HA1:nonce:nc:cnonce:qop:H(method:uri)).
 * For the check, and for clients under test. Fills digest_len() bytes. */
struct digest_answer {
    slice method, uri, nonce, nc, cnonce;
};
void digest_response(enum digest_algorithm algorithm, const uint8_t *ha1,
                     const struct digest_answer *answer, uint8_t out[static 32]);
size_t digest_len(enum digest_algorithm algorithm); /* 32, or 16 for MD5 */
slice digest_name(enum digest_algorithm algorithm); /* "SHA-256", RFC 7616 6.1 */

#endif
