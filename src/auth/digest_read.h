/* auth/digest_read.h - credentials of an Authorization header as slices. RFC 7616 3.4, 3261 25.1.
 *
 * Internal to auth. Values of quoted strings come without their quotes and otherwise as they are:
 * the hash is computed over exactly that text (RFC 7616 3.4.1, unq). Memory: none. */
#ifndef AUTH_DIGEST_READ_H
#define AUTH_DIGEST_READ_H

#include "base/slice.h"

#define DIGEST_PARAM_TABLE(X)                                                                      \
    X(USERNAME, "username")                                                                        \
    X(USERNAME_STAR, "username*")                                                                  \
    X(REALM, "realm")                                                                              \
    X(NONCE, "nonce")                                                                              \
    X(URI, "uri")                                                                                  \
    X(RESPONSE, "response")                                                                        \
    X(ALGORITHM, "algorithm")                                                                      \
    X(CNONCE, "cnonce")                                                                            \
    X(QOP, "qop")                                                                                  \
    X(NC, "nc")                                                                                    \
    X(USERHASH, "userhash")

#define DIGEST_PARAM_ENUM(id, name) DIGEST_P_##id,
enum digest_param { DIGEST_PARAM_TABLE(DIGEST_PARAM_ENUM) DIGEST_P_COUNT };
#undef DIGEST_PARAM_ENUM

struct digest_credentials {
    slice values[DIGEST_P_COUNT];
    uint32_t present; /* bit per enum digest_param */
};
static inline bool digest_has(const struct digest_credentials *c, enum digest_param p) {
    return (c->present >> p & 1u) != 0;
}

/* UNSUPPORTED: another scheme than Digest. BAD: no list of name=value, or one twice (what was read
 * before that stands in *out). Parameters we do not know are skipped (RFC 7616 3.4). */
NODISCARD enum err digest_credentials_read(slice value, struct digest_credentials *out);

#endif
