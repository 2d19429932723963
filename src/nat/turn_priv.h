/* nat/turn_priv.h - inside of the TURN machine: turn.c relays, turn_request.c judges requests,
 * turn_auth.c knows who asks. */
#ifndef NAT_TURN_PRIV_H
#define NAT_TURN_PRIV_H

#include "base/hash.h"
#include "base/map.h"
#include "base/timer.h"
#include "crypto/crypto.h"
#include "nat/strangers.h"
#include "nat/turn.h"
#include <stdatomic.h>

#define PERMISSION_LIFE_MS (300 * 1000) /* RFC 8656 9 */
#define CHANNEL_LIFE_MS    (600 * 1000) /* RFC 8656 12 */
/* RFC 8656 12 ends at 0x4fff, because of what may share a port with it elsewhere; nothing does
 * here, and clients of RFC 5766 11 (coturn's own among them) choose from all of these. */
#define CHANNEL_MIN        0x4000u
#define CHANNEL_MAX        0x7fffu
#define PERMISSIONS_INLINE 4u
#define CHANNELS_INLINE    2u

struct permission {
    uint8_t family, ip[16];
    mono_t until;
};
struct channel {
    struct addr peer;
    mono_t until;
    uint16_t number;
};

enum link_state { LINK_CONNECTING, LINK_PENDING, LINK_JOINED, LINK_ENDING };
struct turn_link {
    pool_id id, allocation;
    struct addr peer;
    struct timer wait; /* CONNECTING, PENDING */
    struct list of;    /* the allocation's */
    struct list due;   /* turn.due_links, while ENDING or late */
    uint8_t state;
    bool is_sha256;
    uint8_t request[STUN_ID_BYTES]; /* of the Connect */
};
enum { TIMER_ALLOCATION, TIMER_LINK };

struct allocation {
    pool_id id;
    struct turn_tuple tuple;
    uint64_t hash; /* of the tuple */
    struct timer expiry;
    struct addr relayed[2]; /* IPv4, IPv6 */
    uint32_t account_id, device_id;
    uint8_t key_len;
    bool is_open, is_sha256, has_token;
    bool wants_both; /* a dual allocation */
    bool is_tcp;     /* RFC 6062 */
    uint16_t link_count;
    struct list links;
    uint8_t key[32];                   /* of its credential: RFC 8489 9.2.2 */
    uint8_t created_by[STUN_ID_BYTES]; /* the Allocate that made it: a copy gets the same answer */
    uint8_t token[8];
    uint32_t lifetime_s;
    uint16_t permission_count, channel_count, permission_cap, channel_cap;
    struct permission first_permissions[PERMISSIONS_INLINE], *permissions;
    struct channel first_channels[CHANNELS_INLINE], *channels;
    uint64_t bytes_up, bytes_down, packets_up, packets_down;
    mono_t rate_at;
    int64_t rate_left;
};

struct turn {
    struct turn_config config;
    struct pool allocations, links;
    struct list due_links;
    struct map by_tuple;
    struct hash_key hash;
    struct timers timers;
    struct turn_counters counters;
    struct strangers *strangers;
    pool_id *closed; /* a queue of allocations_max + 1 */
    uint32_t closed_count, closed_next;
    struct turn_tuple refused; /* whose allocation has just been taken back */
    char out[STUN_BYTES_MAX];
};

/* Only the turn's own thread writes: no locked instruction is needed. */
#define COUNT(t, what, n)                                                                          \
    atomic_store_explicit(&(t)->counters.what,                                                     \
                          atomic_load_explicit(&(t)->counters.what, memory_order_relaxed) +        \
                              (uint64_t)(n),                                                       \
                          memory_order_relaxed)

/* turn.c */
void turn_refill(const struct turn *t, struct allocation *a, mono_t now);
bool turn_permits(struct allocation *a, const struct addr *peer, mono_t now);
bool turn_port_is_open(const struct turn *t, const struct addr *peer);
struct allocation *turn_by_tuple(struct turn *t, const struct turn_tuple *tuple);
uint64_t turn_tuple_hash(const struct turn *t, const struct turn_tuple *tuple);
void allocation_end(struct turn *t, struct allocation *a);
struct permission *allocation_permission(struct allocation *a, const struct addr *peer);
struct channel *allocation_channel(struct allocation *a, unsigned number);
struct channel *allocation_channel_to(struct allocation *a, const struct addr *peer);
/* May the relay send there? */
bool turn_reachable(struct turn *t, const struct addr *peer);

/* turn_request.c */
/* An answer to a request of `method` under a key: 0, or why not. */
struct turn_reply {
    uint16_t method;
    const uint8_t *id;
    slice key;
    bool is_sha256;
};
void turn_answer(struct turn *t, const struct turn_reply *r, unsigned status,
                 const uint32_t *connection, struct turn_out *out);
void turn_request(struct turn *t, const struct turn_tuple *from, const struct stun_msg *m,
                  struct now now, struct turn_out *out);

/* turn_link.c */
unsigned link_connect(struct turn *t, struct allocation *a, const struct stun_msg *m,
                      bool is_sha256, struct now now, struct turn_out *out);
void links_end(struct turn *t, struct allocation *a);
void link_due(struct turn *t, struct turn_link *l);

/* turn_auth.c */
/* May an answer go there that needs no proof? */
bool turn_may_answer(struct turn *t, const struct turn_tuple *from, mono_t now);
struct turn_asker { /* who sent a request, once proved */
    uint32_t account_id, device_id;
    wall_t until;
    slice username;
    uint8_t key[32];
    uint8_t key_len;
    bool is_sha256; /* how our answer is to be protected */
};
/* 0: proved; else the status to answer by turn_refuse_auth(). */
unsigned turn_authenticate(struct turn *t, const struct turn_tuple *from, const struct stun_msg *m,
                           struct now now, struct turn_asker *out);
slice turn_refuse_auth(struct turn *t, const struct turn_tuple *from, const struct stun_msg *m,
                       unsigned status, struct now now);

#endif
