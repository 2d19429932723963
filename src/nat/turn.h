/* nat/turn.h - the TURN server's machine (RFC 8656): packets and time in, packets out. No I/O.
 *
 * Purpose:  allocations of one worker: who may have them, what they may relay, when they end. The
 *           relay's table is plain data of fixed shape, so that a packet costs one look-up.
 * Drive:    turn_from_client() for each message of a client (one datagram, or one framed message of
 *           a stream), turn_from_peer() for each packet that came in on a relayed address; each
 *           gives at most one thing to do. turn_run_timers() at turn_wake_at(); then drain
 *           turn_next_closed(): those sockets are the caller's to close.
 *           A new allocation asks for its sockets (TURN_OPEN): the caller answers, now or later,
 *           by turn_opened(). Quotas that span workers, reservations and whether the account may
 *           still use the relay are judged there, by whoever owns the sockets.
 * Safety:   nothing is kept for a request that is not authenticated: nonces carry their own proof
 *           (a MAC over time and the client's address), credentials are made, not stored. Relaying
 *           to anything but public addresses needs a network named by the operator, whatever the
 *           address is wrapped in (nat/address.h). An unauthenticated request is answered by at
 *           most TURN_ANSWER_MAX bytes.
 * Memory:   about 600 bytes an allocation; one heap block more beyond 4 permissions or 2 channels.
 * Threads:  a turn belongs to its worker. */
#ifndef NAT_TURN_H
#define NAT_TURN_H

#include "base/addr.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/pool.h"
#include "nat/address.h"
#include "nat/ports.h"
#include "nat/stun.h"

struct turn;

#define TURN_HEADROOM       48u /* what stands in front of a payload for a client, at most */
#define TURN_PAYLOAD_MAX    1500u
#define TURN_ANSWER_MAX     160u
#define TURN_NETWORKS_MAX   32u
#define TURN_PEERS_MAX      64u /* permissions of one allocation, and its channels */
#define TURN_USERNAME_BYTES 32u
#define TURN_PASSWORD_BYTES 22u
#define TURN_LINKS_MAX      16u   /* TCP connections to peers of one allocation */
#define TURN_LINKS_ALL      4096u /* of one worker */
#define TURN_LINK_WAIT_MS   30000 /* RFC 6062 5.2, 5.3: to connect, and then for ConnectionBind */

struct turn_config {          /* slices and pointers live as long as the turn */
    slice realm;              /* at most 64 bytes */
    const uint8_t *key;       /* 32 bytes: nonces and credentials; the same on all workers */
    bool has_v4, has_v6;      /* families there are relayed addresses of */
    uint32_t allocations_max; /* of this worker */
    uint32_t lifetime_s, lifetime_max_s; /* RFC 8656 7.2: 600, 3600 */
    uint32_t nonce_life_s;               /* 600 */
    uint32_t bytes_per_s; /* of one allocation, both ways together; 0: as fast as it goes */
    const struct network *allowed; /* reachable though not public */
    unsigned allowed_count;
    const struct network *nat64; /* of the operator's translator */
    unsigned nat64_count;
    const struct addr *own; /* addresses of this host: not reachable though public */
    unsigned own_count;
    /* Relayed addresses of this node, reachable while they live: two clients of one relay. NULL:
     * none. */
    const struct ports *ports;
    uint8_t worker; /* stands in the CONNECTION-IDs that are given here */
};

/* Where a client speaks from: RFC 8656 2.2's 5-tuple. */
struct turn_tuple {
    uint64_t stream; /* 0: UDP; else the caller's number of the connection */
    struct addr peer, local;
};

struct turn_ask { /* what a new allocation wants */
    uint32_t account_id, device_id;
    bool v4, v6;             /* both: a dual allocation */
    bool even_port, reserve; /* RFC 8656 7.2: an even port; its neighbour kept for later */
    bool tcp;                /* RFC 6062: the relayed address takes TCP connections */
    bool has_token;          /* the address that was reserved under this token */
    uint8_t token[8];
};

/* A client's connection wants to be one end of a connection to a peer (RFC 6062 5.4). Who sent it
 * is proved; the rest is judged by turn_join(), at the worker that has the other end. */
struct turn_join {
    uint32_t connection; /* CONNECTION-ID */
    uint32_t account_id;
    uint8_t id[STUN_ID_BYTES], key[32];
    uint8_t key_len;
    bool is_sha256;
};
#define TURN_JOIN_WORKER(connection) ((connection) >> 24)

enum turn_do {
    TURN_NOTHING,   /* drop it */
    TURN_TO_CLIENT, /* send bytes to tuple */
    TURN_TO_PEER,   /* send bytes from the allocation's address of family `peer.family` to peer */
    TURN_OPEN,      /* make sockets for `allocation`, then turn_opened() */
    TURN_DIAL,      /* a TCP connection from the allocation's address to peer, as `link`; then
                          turn_link_connected() */
    TURN_JOIN       /* turn_join() where TURN_JOIN_WORKER says, with tuple->stream */
};
struct turn_out {
    enum turn_do what;
    pool_id allocation;
    const struct turn_tuple *tuple; /* TO_CLIENT: of the allocation or of the caller's packet */
    struct addr peer;
    bool dont_fragment; /* TO_PEER over IPv4: with the DF bit (RFC 8656 14) */
    slice head;         /* TO_CLIENT, from a peer: goes in front of `bytes`; in the caller's room */
    slice bytes;        /* until the next call, or the caller's own packet */
    uint8_t pad;        /* TO_CLIENT: so many zero bytes go behind them (0 to 3) */
    union {
        struct turn_ask ask;   /* OPEN */
        struct turn_join join; /* JOIN */
        pool_id link;          /* DIAL */
    };
};

struct turn_made {      /* an answer to TURN_OPEN */
    enum err result;    /* DENIED: this account may not (403); FULL: its quota (486); others: 508 */
    struct addr v4, v6; /* family ADDR_NONE: not made (a dual allocation may get one: 508 for it) */
    bool has_token;
    uint8_t token[8];
};

struct turn_use { /* of one allocation, for status and metrics */
    uint32_t account_id;
    struct turn_tuple tuple;
    struct addr relayed[2];
    uint64_t bytes_up, bytes_down, packets_up, packets_down;
    wall_t until;
    unsigned permissions, channels;
    bool is_tcp; /* RFC 6062 */
};

struct turn_counters { /* read by anybody: relaxed */
    _Atomic uint64_t allocations, created, refused, bad_credentials, dropped;
    _Atomic uint64_t bytes_up, bytes_down, packets_up, packets_down, forbidden_peers;
    _Atomic uint64_t links, icmp; /* links: now */
};

NODISCARD struct turn *turn_new(const struct turn_config *config,
                                struct now now); /* NULL: memory */
void turn_free(struct turn *t);

/* One STUN message or ChannelData of a client. Padding of a stream (RFC 8656 12.5) may be in it. */
void turn_from_client(struct turn *t, const struct turn_tuple *from, slice bytes, struct now now,
                      struct turn_out *out);
/* A packet from `peer` on the relayed address of that allocation. What goes in front of it for the
 * client is written to the end of `room`: where the payload stands right behind it, both are one
 * piece. */
void turn_from_peer(struct turn *t, pool_id allocation, const struct addr *peer, slice payload,
                    char room[static TURN_HEADROOM], struct now now, struct turn_out *out);
struct turn_icmp { /* an error that came back for a packet to `peer` */
    struct addr peer;
    uint8_t type, code;
    uint32_t mtu; /* of the next hop, when the packet was too large for it; else 0 */
};
/* RFC 8656 11.5: the client is told of those that he can do something about. */
void turn_from_network(struct turn *t, pool_id allocation, const struct turn_icmp *icmp,
                       struct now now, struct turn_out *out);
/* A stale id (the client has gone meanwhile) gives ERR_GONE: close what was made. */
NODISCARD enum err turn_opened(struct turn *t, pool_id allocation, const struct turn_made *made,
                               struct now now, struct turn_out *out);

/* A stream of clients closed: its allocation ends (RFC 8656 3.2: with its 5-tuple). */
void turn_stream_closed(struct turn *t, uint64_t stream);
/* An account was disabled or removed; a device was revoked, a session ended. 0 is nobody. */
void turn_account_gone(struct turn *t, uint32_t account_id);
void turn_device_gone(struct turn *t, uint32_t device_id);
void turn_run_timers(struct turn *t, struct now now);
mono_t turn_wake_at(const struct turn *t);
/* An allocation that ended: close its sockets. false: no more. */
bool turn_next_closed(struct turn *t, pool_id *out);

/* ---- TCP allocations (RFC 6062): a link is one connection to a peer ---- */

/* The connection of a TURN_DIAL came about, or not: the client gets his answer. Not `ok`: the
 * link is gone. */
void turn_link_connected(struct turn *t, pool_id link, bool ok, struct now now,
                         struct turn_out *out);
/* A peer connected to the relayed address: the client is told. DENIED: he has no permission for
 * him; FULL: too many: close it. */
NODISCARD enum err turn_link_arrived(struct turn *t, pool_id allocation, const struct addr *peer,
                                     struct now now, struct turn_out *out, pool_id *out_link);
/* RFC 6062 5.4. OK: `out` says so to the client, and from then on what comes from him is the
 * peer's. Else (BAD, DENIED) it is his refusal. out->tuple is not set. */
NODISCARD enum err turn_join(struct turn *t, const struct turn_join *join, struct now now,
                             struct turn_out *out, pool_id *out_link);
/* That much was relayed. The result is how long nothing more may be read, in milliseconds. */
int64_t turn_link_spend(struct turn *t, pool_id link, size_t bytes, bool is_up, struct now now);
/* The caller has closed it, or closes it now. A stale id is left alone. */
void turn_link_gone(struct turn *t, pool_id link);
/* A link whose time is over or whose allocation ended: close it, then turn_link_gone(); one that
 * was still connecting (`is_late`): turn_link_connected(false) first. false: no more. */
bool turn_next_link(struct turn *t, pool_id *out_link, bool *is_late);

const struct turn_counters *turn_counters(const struct turn *t);
bool turn_each(struct turn *t, uint32_t *slot, struct now now, struct turn_use *out);
/* Has this connection an allocation? */
bool turn_has(struct turn *t, uint64_t stream);

/* How long the message at the begin of a stream of an authenticated-or-not TURN client is, padding
 * included; 0: not yet known; SIZE_MAX: neither STUN nor ChannelData, or too long. */
size_t turn_frame(slice bytes);

/* Time-limited credentials, bound to account, expiry and where there is one the device or session
 * (0: none) they were made for, under a MAC; nothing is stored. */
struct turn_credential {
    char username[TURN_USERNAME_BYTES + 1]; /* "1767225600:42", with a device "1767225600:42:7" */
    char password[TURN_PASSWORD_BYTES + 1];
};
void turn_credential_make(const uint8_t key[static 32], uint32_t account_id, uint32_t device_id,
                          wall_t until, struct turn_credential *out);
/* STALE: its time is over; BAD: not of our making. The password follows from the name. */
NODISCARD enum err turn_credential_read(const uint8_t key[static 32], slice username, wall_t now,
                                        uint32_t *out_account, uint32_t *out_device,
                                        wall_t *out_until, struct turn_credential *out);

#endif
