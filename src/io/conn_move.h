/* io/conn_move.h - an established client of the relay goes to another worker, once.
 *
 * Purpose:  RFC 6062: the connection to a peer is one worker's, the client's may have been accepted
 *           by another. What moves is the descriptor, the state of TLS and what was read and not
 * used. Lifetime: conn_move() ends the connection here; the block is the letter's, then
 * conn_move_in()'s. Threads:  each function on the thread of its io. */
#ifndef IO_CONN_MOVE_H
#define IO_CONN_MOVE_H

#include "nat/turn.h"
#include "os/tls.h"

struct conn;
struct inbox;
struct io;

struct conn_moved {
    int fd;
    struct tls tls;
    struct addr peer;
    struct inbox *inbox;
    struct turn_join join;
    uint8_t transport, lane;
    bool is_turn;
};
/* Nothing may wait to be written. What cannot be moved is closed. */
void conn_move(struct conn *c, unsigned worker, const struct turn_join *join);
/* It joins there: relay_join(). */
void conn_move_in(struct io *io, struct conn_moved *m);
void conn_moved_free(struct conn_moved *m); /* it did not arrive */
NODISCARD enum err io_post_conn(struct io *io, struct conn_moved *m);

#endif
