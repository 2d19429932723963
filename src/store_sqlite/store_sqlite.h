/* store_sqlite/store_sqlite.h - the store of the daemon: one SQLite file in WAL mode.
 *
 * Purpose:  store/store.h on a disk. A batch is one transaction; PRAGMA synchronous follows the
 *           strongest durability in it: NORMAL outlives kill -9, FULL outlives a power cut.
 * Files:    PATH, and PATH-wal and PATH-shm beside it, all with mode 0600. secure_delete is on:
 *           what was removed is overwritten.
 * Schema:   numbered by PRAGMA user_version; an older file is brought up to date when it is opened
 *           for writing, step by step, each in a transaction; a newer one is refused.
 * Sharing:  one writer is the daemon's matter (its lock file). A reader (`kith user list`) may open
 *           the file beside a running server; neither waits for the other.
 * Threads:  one at a time, as store.h says.
 * Memory:   SQLite's own, about 64 MB of page cache at most.                                  */
#ifndef STORE_SQLITE_STORE_SQLITE_H
#define STORE_SQLITE_STORE_SQLITE_H

#include "base/buf.h"
#include "store/store.h"

enum store_sqlite_mode {
    STORE_SQLITE_WRITE, /* the file is made when it is not there */
    STORE_SQLITE_READ   /* commits are refused (DENIED) */
};

/* STORE, MEMORY, or MISSING (READ: no such file). On failure `why` gets a sentence for people that
 * says what to do. `path` is terminated. */
NODISCARD enum err store_sqlite_open(const char *path, enum store_sqlite_mode mode,
                                     struct store **out, struct buf *why);

/* For tests: the file may have this many pages (4 kB) at most, as if the disk were full then; and a
 * lock of another process is waited for that long only. */
void store_sqlite_test_limits(struct store *s, uint32_t pages, uint32_t wait_ms);

#endif
