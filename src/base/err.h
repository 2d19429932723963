/* base/err.h - one result type for the whole house.
 *
 * A function that can fail returns enum err, marked NODISCARD; what it makes comes back through its
 * last parameters. Codes, names and plain texts stand in one table. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/defs.h"

#define ERR_TABLE(X)                                                                               \
    X(OK, "all is well")                                                                           \
    X(MORE, "the input ends too early")                                                            \
    X(BAD, "the input breaks a rule of its format")                                                \
    X(LIMIT, "the input is larger than we allow")                                                  \
    X(UNSUPPORTED, "this is not supported")                                                        \
    X(MISSING, "there is no such thing")                                                           \
    X(EXISTS, "that exists already")                                                               \
    X(DENIED, "this is not allowed")                                                               \
    X(STALE, "this has expired")                                                                   \
    X(GONE, "the thing behind this id is gone")                                                    \
    X(FULL, "no room is left")                                                                     \
    X(MEMORY, "memory is short")                                                                   \
    X(AGAIN, "not now, try later")                                                                 \
    X(CLOSED, "the other side closed")                                                             \
    X(TIMEOUT, "it took too long")                                                                 \
    X(IO, "the system reported an error")                                                          \
    X(CRYPTO, "the cryptographic library refused")                                                 \
    X(STORE, "the storage refused")                                                                \
    X(CONFIG, "the configuration is wrong")

#define ERR_ENUM(name, text) ERR_##name,
enum err { ERR_TABLE(ERR_ENUM) ERR_COUNT };
#undef ERR_ENUM

const char *err_name(enum err e); /* "FULL" */
const char *err_text(enum err e); /* "no room is left" */

#endif
