/* daemon/datadir.h - the one directory that holds everything a server must keep.
 *
 *   DATA/lock             held by the process that uses it; names its pid
 *   DATA/kith.db          accounts, devices, bindings (store_sqlite)
 *   DATA/keys/seal.key    32 random bytes that open the sealed secrets in kith.db
 *   DATA/keys/device.*    the CA of device certificates
 *   DATA/tls/ca.pem       the local CA, for phones to trust; beside it its key and the server's
 * pair DATA/admin.sock       admin calls (mode 0600) DATA/demo.txt         `serve --demo` only: the
 * secrets of alice and bob
 *
 * Only its owner may look inside (0700), which is checked, not assumed. One process at a time uses
 * it: datadir_lock. Files are written beside and renamed, so a crash leaves the old or the new. */
#ifndef DAEMON_DATADIR_H
#define DAEMON_DATADIR_H

#include "base/buf.h"

#define DATADIR_PATH_MAX 512

struct datadir {
    char path[DATADIR_PATH_MAX];
    int lock_fd; /* -1: not locked */
};

/* `why` of all: one line for a person, saying what to do. */

/* Makes the directory and its folders when `create`. MISSING: not there; DENIED: open to others or
 * not ours; LIMIT: the path is too long; IO. */
NODISCARD enum err datadir_open(const char *path, bool create, struct datadir *out,
                                struct buf *why);
/* Only the path: enough to ask the server that runs there, which root may do too. LIMIT. */
NODISCARD enum err datadir_name(const char *path, struct datadir *out, struct buf *why);
/* AGAIN: another process holds it (its pid stands in why). */
NODISCARD enum err datadir_lock(struct datadir *d, struct buf *why);
void datadir_close(struct datadir *d);

/* DATA/name in mem; always fits, because datadir_open refuses longer paths. */
const char *datadir_path(const struct datadir *d, const char *name,
                         char mem[static DATADIR_PATH_MAX + 64]);

/* DATA/keys/seal.key; made when there is none, unless a kith.db is there already: then the key was
 * lost (MISSING), and a new one could open nothing. */
NODISCARD enum err datadir_seal_key(const struct datadir *d, uint8_t out[static 32],
                                    struct buf *why);

/* A whole small file, mode 0600, durable when this returns. */
NODISCARD enum err file_write(const char *path, slice bytes, struct buf *why);
/* LIMIT: larger than cap. MISSING. */
NODISCARD enum err file_read(const char *path, char *dst, size_t cap, size_t *out_len);

#endif
