/* check/rows.c - the table itself. */
#include "check/rows.h"

#define ROW(name, ...) { __VA_ARGS__ },
const struct row rows[ROW_COUNT] = {
#include "check/rows.inc"
};
#undef ROW

const char *row_level_name(enum row_level level) {
    static const char *const names[] = { "MUST", "SHOULD", "MAY" };
    return names[level];
}

unsigned row_role(slice name) {
    static const char *const names[] = { "phone", "server", "trunk", "browser", "relay" };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(name, slice_str(names[i]))) return 1u << i;
    return 0;
}
