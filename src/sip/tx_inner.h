/* sip/tx_inner.h - what tx.c keeps and builds with; nobody else includes this.
 *
 * tx_bytes: copies of messages that may have to be sent again. Blocks of a few sizes, taken from
 *           free lists, never more than the table's bytes_max in all. A block that is let go waits
 *           on a "let go" list until the user of the table has drained its effects, because an
 *           effect may still point into it.
 * tx_find:  matching requests to server transactions, and transactions to their flows.
 * tx_make:  the ACK and the CANCEL that a client transaction builds from the request it sent. */
#ifndef SIP_TX_INNER_H
#define SIP_TX_INNER_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timer.h"
#include "sip/tx.h"

#define TX_BYTES_CLASSES 18 /* 256, 384, 512, 768, ... 64 kB, 96 kB */

struct tx_bytes {
    struct tx_bytes *next;
    uint32_t len;
    uint8_t size_class;
    char text[];
};
struct tx_store {
    struct tx_bytes *unused[TX_BYTES_CLASSES];
    struct tx_bytes *let_go;
    size_t held;   /* bytes of all blocks, the unused ones too */
    size_t cached; /* bytes of the unused ones */
    size_t max;
    uint64_t missed; /* copies that could not be made */
};

void tx_store_init(struct tx_store *s, size_t max);
void tx_store_fini(struct tx_store *s); /* the blocks still in use are the caller's to free first */
/* A copy of `text`; NULL: longer than the largest block, over max, or memory is short. */
NODISCARD struct tx_bytes *tx_bytes_keep(struct tx_store *s, slice text);
void tx_bytes_let_go(struct tx_store *s, struct tx_bytes *b); /* NULL is allowed */
void tx_store_sweep(struct tx_store *s); /* what was let go may be used again */

/* What waits to be told, in the order of telling. */
enum {
    PENDING_KEPT = 1 << 0,  /* send `kept` */
    PENDING_EXTRA = 1 << 1, /* send `extra` */
    PENDING_TIMED_OUT = 1 << 2,
    PENDING_NO_ACK = 1 << 3,
    PENDING_FLOW_GONE = 1 << 4,
    PENDING_SLOW = 1 << 5,
    PENDING_END = 1 << 6
};

enum cancel { CANCEL_NONE, CANCEL_WANTED, CANCEL_SENT, CANCEL_PROCEEDING, CANCEL_ANSWERED };

struct tx {
    struct timer timer;    /* armed for the earliest of the four times below */
    struct list effects;   /* in table->effects while `pending` is not 0 */
    struct list flow_ring; /* all of one flow; its head stands in the map */
    tx_id id;
    uint64_t owner, flow;
    uint64_t hash, check;       /* server: of branch and sent-by */
    uint64_t method;            /* server */
    uint64_t to_tag, reply_tag; /* server, RFC 2543: To tag of the request, of our response */
    mono_t resend_at, end_at, cancel_resend_at, cancel_end_at;
    uint32_t resend_ms, cancel_resend_ms;
    uint16_t status;
    uint8_t kind, state, cancel, pending;
    bool is_reliable, is_2543, is_flow_head;
    struct tx_bytes *kept;  /* server: the last response; client: the request */
    struct tx_bytes *extra; /* INVITE client: the CANCEL, later the ACK */
};

struct tx_table {
    struct tx_limits limits;
    struct hash_key key;
    struct pool pool;
    struct map map; /* servers by hash of branch and sent-by; flow heads by hash of flow */
    struct timers timers;
    struct list effects;
    struct tx_store store;
    uint32_t alive;
    uint32_t life_ms; /* 64*T1: timers B, F, H, J, L, M and, on datagrams, D */
    uint32_t slow_ms; /* how long timer E takes to reach T2 */
    bool is_drained;
    char scratch[LIMIT_MSG_HEAD_BYTES]; /* an ACK or CANCEL in the making */
};

struct tx_match_key {
    uint64_t hash, check;
    bool is_2543;
};
struct tx_match_key tx_match_key_of(const struct hash_key *key, const struct sip_msg *req);
uint64_t tx_method_of(const struct tx_table *t, const struct sip_msg *req);
uint64_t tx_text_hash(const struct hash_key *key, slice s);
/* The transaction a request belongs to, or NULL. A CANCEL: its own, else the one it cancels. */
struct tx *tx_find_server(const struct tx_table *t, const struct sip_msg *req);
/* Any transaction on the flow, or NULL. */
struct tx *tx_flow_head(const struct tx_table *t, uint64_t flow);
NODISCARD enum err tx_flow_join(struct tx_table *t, struct tx *tx, uint64_t flow);
void tx_flow_leave(struct tx_table *t, struct tx *tx);

/* Reads the first line: ERR_BAD when it is none of a request. */
NODISCARD enum err tx_request_line(slice request, slice *out_method, slice *out_uri);
/* RFC 3261 17.1.1.3: the ACK for a final response that is not 2xx. BAD: the request lacks one of
 * Via, From, Call-ID, CSeq; FULL: does not fit. */
NODISCARD enum err tx_make_ack(slice request, slice response_to, struct buf *out);
/* RFC 3261 9.1. reason_value: the value of a Reason header, or empty. */
NODISCARD enum err tx_make_cancel(slice request, slice reason_value, struct buf *out);
/* The tag of the first To header line of a message's bytes, or SLICE_NONE. */
slice tx_to_tag(slice message);

#endif
