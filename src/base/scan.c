#include "base/scan.h"

/* The table is made by the compiler from the classes below, so the grammar is read here and not in
 * 256 numbers. */
#define ALPHA(c)    (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define DIGIT(c)    ((c) >= '0' && (c) <= '9')
#define HEX(c)      (DIGIT(c) || ((c) >= 'a' && (c) <= 'f') || ((c) >= 'A' && (c) <= 'F'))
#define ALPHANUM(c) (ALPHA(c) || DIGIT(c))
#define WS(c)       ((c) == ' ' || (c) == '\t')
#define LWS(c)      (WS(c) || (c) == '\r' || (c) == '\n')
#define HOST(c)     (ALPHANUM(c) || (c) == '-' || (c) == '.')
/* RFC 3261 25.1 */
#define TOKEN(c)                                                                                   \
    (HOST(c) || (c) == '!' || (c) == '%' || (c) == '*' || (c) == '_' || (c) == '+' ||              \
     (c) == '`' || (c) == '\'' || (c) == '~')
#define WORD(c)                                                                                    \
    (TOKEN(c) || (c) == '(' || (c) == ')' || (c) == '<' || (c) == '>' || (c) == ':' ||             \
     (c) == '\\' || (c) == '"' || (c) == '/' || (c) == '[' || (c) == ']' || (c) == '?' ||          \
     (c) == '{' || (c) == '}')
#define UNRESERVED(c)                                                                              \
    (HOST(c) || (c) == '_' || (c) == '!' || (c) == '~' || (c) == '*' || (c) == '\'' ||             \
     (c) == '(' || (c) == ')')
#define USER(c)                                                                                    \
    (UNRESERVED(c) || (c) == '&' || (c) == '=' || (c) == '+' || (c) == '$' || (c) == ',' ||        \
     (c) == ';' || (c) == '?' || (c) == '/')
#define PARAM(c)                                                                                   \
    (UNRESERVED(c) || (c) == '[' || (c) == ']' || (c) == '/' || (c) == ':' || (c) == '&' ||        \
     (c) == '+' || (c) == '$')
#define HEADER(c)                                                                                  \
    (UNRESERVED(c) || (c) == '[' || (c) == ']' || (c) == '/' || (c) == '?' || (c) == ':' ||        \
     (c) == '+' || (c) == '$')
#define QTEXT(c) (LWS(c) || ((c) >= 0x21 && (c) != '"' && (c) != '\\' && (c) != 0x7f))

#define C(c)                                                                                       \
    (uint16_t)((TOKEN(c) ? SCAN_TOKEN : 0) | (DIGIT(c) ? SCAN_DIGIT : 0) |                         \
               (HEX(c) ? SCAN_HEX : 0) | (WS(c) ? SCAN_WS : 0) | (LWS(c) ? SCAN_LWS : 0) |         \
               (HOST(c) ? SCAN_HOST : 0) | (USER(c) ? SCAN_URI_USER : 0) |                         \
               (PARAM(c) ? SCAN_URI_PARAM : 0) | (HEADER(c) ? SCAN_URI_HEADER : 0) |               \
               (WORD(c) ? SCAN_WORD : 0) | (ALPHA(c) ? SCAN_ALPHA : 0) |                           \
               (QTEXT(c) ? SCAN_QTEXT : 0))
#define C4(c)  C(c), C((c) + 1), C((c) + 2), C((c) + 3)
#define C16(c) C4(c), C4((c) + 4), C4((c) + 8), C4((c) + 12)
#define C64(c) C16(c), C16((c) + 16), C16((c) + 32), C16((c) + 48)

const uint16_t scan_table[256] = { C64(0), C64(64), C64(128), C64(192) };
