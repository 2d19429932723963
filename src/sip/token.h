/* sip/token.h - what we hand out to find our way back: route tokens and Via branches.
 *
 * Purpose:  a route token (user part of our Record-Route and Path URIs) tells both sides of a
 *           dialog, so that a request inside it needs no table: architecture.md section 4. A branch
 *           tells worker and transaction of a request that we forwarded, so that the response finds
 *           them (RFC 3261 16.6 step 8), and carries the loop hash (RFC 5393 4.2).
 *           A GRUU (RFC 5627) names one device of an account. The public one carries a marked hash
 * of the instance, always the same; a temporary one is sealed whole, so two of them do not show
 * that they are of one device. Both are read without any table. Secrets:  all are made under keys
 * of the node. A token is sealed (crypto_siv): the caller learns nothing of the callee's account
 * from it. A branch is open but cannot be forged. Memory:   none. Same input, same text. Threads:
 * any. */
#ifndef SIP_TOKEN_H
#define SIP_TOKEN_H

#include "base/buf.h"
#include "base/pool.h"
#include "sip/flow.h"

struct route_side {
    flow_id flow;        /* valid in this run only */
    uint32_t account_id; /* with bid: the binding, durable; 0: none */
    uint32_t bid;
};
struct route_token {
    uint16_t node;
    uint16_t policy; /* bits: ROUTE_PLAIN_SIDE */
    uint32_t run;
    struct route_side side[2]; /* 0: the caller's, 1: the callee's */
    uint64_t call_hash;        /* of Call-ID and the caller's tag: tells the direction */
};

/* This side spoke over plain UDP or TCP when the token was made. Only of such a side is the token
 * alone enough: who reads it there shall not speak for the secured side of the call. */
#define ROUTE_PLAIN_SIDE(side) ((uint16_t)(1u << (side)))

#define ROUTE_TOKEN_BYTES      53 /* before sealing; with the seal 69, a multiple of 3 */
#define ROUTE_TOKEN_CHARS      92 /* base64url of those */

void route_token_write(const uint8_t key[static 64], const struct route_token *token,
                       struct buf *out);
/* BAD: not a token at all; CRYPTO: forged or of another node's key. A token of another run reads
 * well: the caller compares `run`. */
NODISCARD enum err route_token_read(const uint8_t key[static 64], slice user,
                                    struct route_token *out);

#define GRUU_CHARS      32 /* of a public one: the value of "gr", in hex (parameters have no case) */
#define GRUU_TEMP_BYTES 29 /* before sealing; with the seal 45, a multiple of 3 */
#define GRUU_TEMP_CHARS 60

struct gruu { /* what a temporary one says */
    uint32_t account_id;
    uint64_t instance; /* hash of +sip.instance, durable */
    uint64_t epoch;    /* valid for as long as the device's binding says the same */
    uint64_t serial;   /* makes each one another */
};
/* The value of "gr" behind the address-of-record. */
void gruu_write(const uint8_t key[static 64], uint32_t account_id, uint64_t instance,
                struct buf *out);
/* BAD: we never gave that one to this account. */
NODISCARD enum err gruu_read(const uint8_t key[static 64], slice gr, uint32_t account_id,
                             uint64_t *out_instance);
/* The user part of a temporary one; "gr" stands behind it without a value. */
void gruu_temp_write(const uint8_t key[static 64], const struct gruu *gruu, struct buf *out);
/* BAD, CRYPTO: not one of ours. Whether it is still valid the caller asks the bindings. */
NODISCARD enum err gruu_temp_read(const uint8_t key[static 64], slice user, struct gruu *out);

/* "z9hG4bK" and the rest; slots of 24 bits. `id` may be POOL_ID_NONE (an ACK): the loop hash makes
 * it unique. */
void branch_write(const uint8_t key[static 32], unsigned worker, pool_id id, uint64_t loop_hash,
                  struct buf *out);
bool branch_read(const uint8_t key[static 32], slice branch, unsigned *out_worker, pool_id *out_id,
                 uint64_t *out_loop_hash);

#endif
