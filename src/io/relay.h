/* io/relay.h - the sockets of one worker's TURN server (nat/turn.h decides, this moves packets).
 *
 * Purpose:  listeners for clients by UDP, connections of clients that spoke STUN first, and one
 *           socket for each relayed address. Packets come in batches and leave in batches; a
 *           payload is never copied between coming and going.
 * Memory:   BATCH packet buffers a worker, about 100 bytes a relayed address.
 * Threads:  belongs to its io's thread; counters and ports may be read by anybody. */
#ifndef IO_RELAY_H
#define IO_RELAY_H

#include "nat/ports.h"
#include "nat/turn.h"

#define RELAY_LISTEN_MAX 16u

struct relay;

struct relay_config {
    struct turn_config turn; /* what it points to lives as long as the io */
    struct ports *ports;     /* shared by all workers */
    struct addr bind[2];     /* where relayed addresses are bound, by family; ports' relay addresses
                                are what clients are told (the same, but behind a 1:1 NAT) */
    /* May this account use the relay, now, by a credential made for that device or session (0:
     * for none)? Asked once an allocation, on the worker's thread. */
    bool (*may_relay)(void *ctx, uint32_t account_id, uint32_t device_id);
    void *ctx;
};

#endif
