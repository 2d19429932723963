/* check/server_parse.c - messages at the edge of the grammar and beyond: RFC 3261 7, 25, RFC 4475,
 * RFC 5118. The messages are our own: each breaks one rule and is right otherwise. */
#include "check/tests.h"

AREA(server_parse,
     T(PARSE_011, "unknown-version", ASK("505", WIRE_BEST, .req = { .version = "SIP/7.0" })),
     T(PARSE_012, "other-method-in-cseq", ASK("400", WIRE_BEST, .req = { .cseq = "8 INVITE" })),
     T(PARSE_013, "no-from", ASK("400|drop|close", WIRE_BEST, .req = { .without = "From" })),
     T(PARSE_010, "cseq-too-large",
       ASK("400", WIRE_BEST, .req = { .cseq = "36893488147419103232 OPTIONS" })),
     T(PARSE_014, "unknown-scheme",
       ASK("416", WIRE_BEST, .req = { .uri = "nobodyknows:thisscheme", .to = "<sip:{domain}>" })));
