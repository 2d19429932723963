/* store_sqlite/schema.h - the tables, as numbered steps. Internal to store_sqlite.
 *
 * Step n turns a file of user_version n into one of n + 1. A step that was released is never
 * changed again: the next change is a new step at the end. */
#ifndef STORE_SQLITE_SCHEMA_H
#define STORE_SQLITE_SCHEMA_H

#include "base/err.h"
#include <sqlite3.h>

#define SCHEMA_APPLICATION                                                                         \
    0x4b697468 /* "Kith": PRAGMA application_id, so files are not mixed up                         \
                */

extern const char *const schema_steps[];
extern const unsigned schema_step_count;

/* OK: the file is at `count` now. UNSUPPORTED: it is newer. DENIED: another program's file.
 * STALE: older, and `may_write` is false. STORE: sqlite3_errmsg tells. */
NODISCARD enum err schema_update(sqlite3 *db, const char *const *steps, unsigned count,
                                 bool may_write);

#endif
