/* check/tests.h - the tables of tests, one for each file of an area. */
#ifndef CHECK_TESTS_H
#define CHECK_TESTS_H

#include "check/test.h"

#define AREA_TABLE(X)                                                                              \
    X(ROLE_SERVER, server_core)                                                                    \
    X(ROLE_SERVER, server_txn)                                                                     \
    X(ROLE_SERVER, server_route)                                                                   \
    X(ROLE_SERVER, server_parse)                                                                   \
    X(ROLE_SERVER, server_ws)                                                                      \
    X(ROLE_SERVER, server_tls)                                                                     \
    X(ROLE_SERVER, server_auth)                                                                    \
    X(ROLE_SERVER, server_reg)                                                                     \
    X(ROLE_SERVER, server_misc)                                                                    \
    X(ROLE_SERVER, server_load)                                                                    \
    X(ROLE_SERVER, server_meet)                                                                    \
    X(ROLE_RELAY, relay_turn)                                                                      \
    X(ROLE_PHONE | ROLE_BROWSER, phone_call)                                                       \
    X(ROLE_PHONE | ROLE_BROWSER, phone_core)                                                       \
    X(ROLE_PHONE | ROLE_BROWSER, phone_uac)                                                        \
    X(ROLE_PHONE | ROLE_BROWSER, phone_ice)                                                        \
    X(ROLE_PHONE | ROLE_BROWSER, phone_dtls)                                                       \
    X(ROLE_PHONE, phone_rtp)                                                                       \
    X(ROLE_PHONE, phone_hands)                                                                     \
    X(ROLE_PHONE | ROLE_BROWSER, phone_events)                                                     \
    X(ROLE_PHONE | ROLE_BROWSER, phone_video)                                                      \
    X(ROLE_BROWSER, browser)                                                                       \
    X(ROLE_BROWSER, browser_rate)                                                                  \
    X(ROLE_TRUNK, trunk_pbx)                                                                       \
    X(ROLE_TRUNK | ROLE_LISTENS, trunk_provider)

#define AREA_DECLARE(role, name)                                                                   \
    extern const struct check_test name##_tests[];                                                 \
    extern const size_t name##_count;
AREA_TABLE(AREA_DECLARE)
#undef AREA_DECLARE

/* One test: T(CORE_002, "copies", run, .accounts = 1), or T(..., ASK(...)). */
#define T(requirement, title, ...)                                                                 \
    { .row = ROW_##requirement, .name = title, .run = __VA_ARGS__ }
/* Ends each file of an area. */
#define AREA(name, ...)                                                                            \
    const struct check_test name##_tests[] = { __VA_ARGS__ };                                      \
    const size_t name##_count = ARRAY_LEN(name##_tests)

#endif
