/* relay/load.h - bench_relay_load: TURN clients and a peer, all in one thread, against any server.
 *
 * Purpose:  the same client for Kith, for coturn and for the floor (which knows no TURN: --plain).
 *           Clients sit on 127.0.0.2, the peer on 127.0.0.1, so that no port of theirs is in the
 *           way of a relayed one.
 * Memory:   some 300 bytes and a socket a client.
 * Threads:  one; a flood is sent by a child process. */
#ifndef RELAY_LOAD_H
#define RELAY_LOAD_H

#include "../load/measure.h"
#include "nat/stun.h"
#include <netinet/in.h>
#include <stdint.h>

enum { CHANNEL_FIRST = 0x4000, VOICE_BYTES = 172, VIDEO_BYTES = 1200, BURST = 20 };

struct client {
    int fd;
    uint8_t step, tries;
    uint64_t sent_us;
    char nonce[80], realm[64];
    uint8_t nonce_len, realm_len;
    struct sockaddr_in relayed;
};

struct rig {
    struct sockaddr_in server, peer;
    const char *user, *password;
    int pid;       /* of the server */
    bool is_plain; /* it is the floor */
    struct client *clients;
    unsigned count;
    int peer_fd;
};

struct opened {
    uint64_t us, cpu_us;
    unsigned failed;
};

/* Exits with words when the machine refuses. */
void must(bool ok, const char *what);
uint64_t now_us(void);
static inline uint64_t cpu_us(int pid) {
    return measure_cpu_ns(pid) / 1000;
}

/* `count` clients get an allocation each, `window` of them at a time, and with `bind` a channel to
 * the peer. */
struct opened clients_open(struct rig *r, unsigned count, unsigned window, bool bind);
void clients_close(struct rig *r);

/* ---- traffic.c: each prints one line of JSON ---- */
void traffic_up(struct rig *r, uint64_t count, unsigned window);
void traffic_bursts(struct rig *r, uint64_t bursts);
void traffic_flood(struct rig *r, unsigned seconds, unsigned flood_rate, unsigned rate);

#endif
