#include "base/err.h"
#include <stdio.h>
#include <stdlib.h>

const char *err_name(enum err e) {
#define ERR_NAME(name, text) #name,
    static const char *const names[] = { ERR_TABLE(ERR_NAME) };
#undef ERR_NAME
    return (unsigned)e < ERR_COUNT ? names[e] : "?";
}

const char *err_text(enum err e) {
#define ERR_TEXT(name, text) text,
    static const char *const texts[] = { ERR_TABLE(ERR_TEXT) };
#undef ERR_TEXT
    return (unsigned)e < ERR_COUNT ? texts[e] : "an unknown error";
}

/* Goes to stderr and not through the log: whatever broke may be what the log stands on. */
void assert_failed(const char *cond, const char *file, int line) {
    (void)fprintf(stderr, "kith: bug: %s at %s:%d\n", cond, file, line);
    abort();
}
