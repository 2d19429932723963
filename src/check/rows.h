/* check/rows.h - the requirements of the profile, as the tester knows them.
 *
 * rows.inc is made by tools/profile.py from profile/rows/. Memory: constants. */
#ifndef CHECK_ROWS_H
#define CHECK_ROWS_H

#include "base/slice.h"

enum row_level { LEVEL_MUST, LEVEL_SHOULD, LEVEL_MAY };
enum row_role {
    ROLE_PHONE = 1,
    ROLE_SERVER = 2,
    ROLE_TRUNK = 4,
    ROLE_BROWSER = 8,
    ROLE_RELAY = 16,
    ROLE_LISTENS = 32 /* of a table of tests: we listen, and the target comes to us */
};

#define ROW(name, ...) ROW_##name,
enum row_id {
#include "check/rows.inc"
    ROW_COUNT
};
#undef ROW

struct row {
    const char *id, *area;
    enum row_level level;
    unsigned roles;
    const char *needs; /* the capability without which it does not apply; "" none */
    const char *source, *section;
    const char *stated; /* the level of the standard itself where it is another one; else "" */
    const char *text, *why, *test;
};
extern const struct row rows[ROW_COUNT];

const char *row_level_name(enum row_level level); /* "MUST" */
unsigned row_role(slice name);                    /* "server"; 0: none of that name */

#endif
