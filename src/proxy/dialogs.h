/* proxy/dialogs.h - the bounded record of calls that are up (or about to be): architecture.md 6.
 *
 * Purpose:  media policy makes Kith a B2BUA in one respect: it ends a call that lost its keys. For
 *           that it must be able to write a BYE to each side: tags, route sets, targets and the
 *           highest CSeq seen each way (RFC 3261 12.2.1.1).
 * Lifetime: from the first answer of a branch until BYE is answered, or 24 h without a sign, or 5
 * min without a connection to either side. Memory:   one block per record (about 600 bytes); at
 * most dialogs_max, FULL beyond (503). Threads:  any; sharded by key, a lock held for a look-up or
 * change. Look-ups copy into an arena.
 */
#ifndef PROXY_DIALOGS_H
#define PROXY_DIALOGS_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/hash.h"
#include "sip/flow.h"

struct dialogs;

enum dialog_side { SIDE_CALLER, SIDE_CALLEE };

struct dialog_leg { /* what it takes to send a request to this side */
    flow_id flow;
    uint32_t account_id, bid;
    uint32_t cseq;  /* the highest this side has used */
    slice party;    /* its From or To value, with the tag */
    slice target;   /* its Contact URI */
    slice recorded; /* the values of Route for a request to it, joined by commas; may be empty */
};
struct dialog {
    slice call_id;
    struct dialog_leg leg[2]; /* enum dialog_side */
    uint64_t call;            /* while the INVITE has no final answer: its context ... */
    uint8_t call_worker;      /* ... and the worker that has it */
    bool is_early;
};

/* Told when the record of a call that was up goes, whatever the reason: once, under a lock, from
 * any thread. It must not call back in here. An early record goes without a word. */
typedef void dialogs_ended(void *ctx, const struct dialog_leg leg[2]);

/* `ended` may be NULL. */
NODISCARD struct dialogs *dialogs_new(uint32_t max, const struct hash_key *key,
                                      dialogs_ended *ended, void *ctx);
void dialogs_free(struct dialogs *d);
uint32_t dialogs_count(const struct dialogs *d);

/* The key of a dialog: the token's call hash (Call-ID and caller's tag) and the callee's tag. */
uint64_t dialogs_key(const struct dialogs *d, uint64_t call_hash, slice callee_tag);
/* Insert or replace; everything is copied. FULL, MEMORY. */
NODISCARD enum err dialogs_put(struct dialogs *d, uint64_t key, const struct dialog *dialog,
                               mono_t now);
/* MISSING, MEMORY. */
NODISCARD enum err dialogs_get(struct dialogs *d, uint64_t key, struct arena *arena,
                               struct dialog *out);
bool dialogs_has(struct dialogs *d, uint64_t key);
/* A request of `from` passed: raise its CSeq, take a new target (empty: as before), mark alive. */
void dialogs_seen(struct dialogs *d, uint64_t key, enum dialog_side from, uint32_t cseq,
                  slice target, mono_t now);
void dialogs_confirm(struct dialogs *d, uint64_t key, mono_t now); /* no longer early */
void dialogs_remove(struct dialogs *d, uint64_t key);              /* a missing one is fine */
/* Look at up to about `budget` records, going on where the last call ended, and drop what has been
 * silent for silence_ms, or what had nobody at either end for gone_ms. Gives how many. `lives` says
 * whether this side can be reached: asked under a lock, it must not call back in here. */
struct dialogs_sweep {
    mono_t now;
    int64_t silence_ms, gone_ms;
    unsigned budget;
    bool (*lives)(void *ctx, const struct dialog_leg *leg);
    void *ctx;
};
unsigned dialogs_sweep(struct dialogs *d, const struct dialogs_sweep *sweep);

#endif
