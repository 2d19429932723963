/* bench/parse/parser.h - one way to read a message. Each stands in a file of its own, because the
 * libraries use the same names. */
#ifndef BENCH_PARSE_PARSER_H
#define BENCH_PARSE_PARSER_H

#include <stdbool.h>
#include <stddef.h>

struct parser {
    const char *name;
    bool (*start)(void);
    /* Read one message and every header that a proxy needs: topmost Via, Route list, From, To,
     * Contact, Request-URI, CSeq, Max-Forwards, Content-*; URIs taken apart. Free what was made.
     * *out gets a number that depends on what was read, so that none of it can be left out; all
     * parsers must come to the same (see parse.c). */
    bool (*read)(const char *bytes, size_t len, unsigned *out);
};

extern const struct parser parser_kith, parser_sofia, parser_osip, parser_re;

#endif
