/* daemon/admin_socket.h - DATA/admin.sock: admin calls for commands beside the running server.
 *
 * A stream socket inside a directory that only its owner can enter, mode 0600, and the peer's user
 * id is checked besides. One line asks, lines answer (admin.h). A connection has a thread of its
 * own, so that a slow reader or a trace holds up nobody; at most ADMIN_CLIENTS_MAX of them. */
#ifndef DAEMON_ADMIN_SOCKET_H
#define DAEMON_ADMIN_SOCKET_H

#include "daemon/world.h"

#define ADMIN_CLIENTS_MAX 16
#define ADMIN_IDLE_S      60

struct admin_socket; /* opaque */

NODISCARD enum err admin_socket_start(struct world *w, struct admin_socket **out, struct buf *why);
/* Ends running calls at their next line; traces must have been stopped before. */
void admin_socket_stop(struct admin_socket *s);

/* The other end. MISSING: no server listens there. */
NODISCARD enum err admin_socket_connect(const struct datadir *d, int *out_fd);

#endif
