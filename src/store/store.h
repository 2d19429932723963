/* store/store.h - the one door to storage: the questions we ask of it, as one vtable.
 *
 * Purpose:  everything that must survive the process: accounts, devices, bindings, a few named
 *           values. At start all of it is streamed into memory tables (auth, registrar); after
 *           that the store only takes changes. So a call never waits for a disk.
 * Shape:    a change is a struct of slices; a batch of changes is one commit. Changes of one batch
 *           apply in order, all or none. Removing what is not there is no failure. A device or
 *           binding of an account that is not there is dropped, as if the account's removal had
 *           come after it: one late refresh must not spoil the batch of everybody else. Two
 *           accounts of one name are the caller's to prevent (accounts_put); the daemon's backend
 *           refuses them once more.
 * Order:    two workers that change one binding may reach the store in the other order. So each
 *           change of a binding carries a number, given under the lock that decided it. A change
 *           older than what stands there does nothing, removals included: a removed binding leaves
 *           its number behind (without its strings) until LIMIT_CHANGES_LATE later changes.
 * Threads:  one thread at a time uses a store (the store thread of the daemon groups what arrived
 *           meanwhile into one batch); protocol code only emits changes and hears of the commit.
 * Secrets:  HA1 values and keys arrive sealed (crypto_seal); the store never sees them open.
 *
 * Backends: store/memory.c (tests, sim), store_sqlite/ (the daemon), store_postgres/ (cluster). */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/clock.h"
#include "base/err.h"
#include "base/slice.h"

#define STORE_SEALED_HA1_BYTES 72 /* 32 + CRYPTO_SEAL_OVERHEAD */

enum account_flags {
    ACCOUNT_DISABLED = 1 << 0,
    ACCOUNT_GUEST = 1 << 1, /* a visitor of click-to-call: in memory alone, never stored */
};
struct account_row {
    uint32_t id;        /* given by the caller, never used again after removal */
    slice user, domain; /* canonical: user unescaped, domain lower case */
    slice aliases;      /* further users or numbers, comma-separated; may be empty */
    slice display;      /* for people; may be empty */
    slice settings;     /* auth/user_settings.h; may be empty */
    uint32_t flags;
    slice ha1_sha256, ha1_sha512_256; /* sealed, or empty: no digest possible */
    wall_t created, changed;
};

enum device_kind {
    DEVICE_CERTIFICATE,
    DEVICE_LEGACY,
    DEVICE_PASSKEY, /* signs in on the page: auth/passkey.h */
    DEVICE_SESSION, /* a browser that is signed in, or a visitor's */
    DEVICE_INVITE   /* lets its person make a passkey, once */
};
struct device_row {
    uint32_t id, account_id;
    uint8_t kind; /* enum device_kind */
    bool revoked;
    slice name; /* "desk phone" */
    slice why;  /* LEGACY: the operator's reason; PASSKEY: its key; SESSION: its passkey's id */
    uint8_t key_hash[32];  /* SHA-256: CERTIFICATE: of the SubjectPublicKeyInfo; PASSKEY: of the
                            * credential id; SESSION, INVITE: of the token */
    slice ha1_md5;         /* LEGACY: sealed */
    wall_t created, until; /* until: end of validity; 0 none */
};

/* One contact of one address-of-record. The key is (account_id, bid). */
struct binding_row {
    uint32_t account_id;
    uint32_t bid;       /* stable for the device: hash of instance (or contact), see registrar */
    uint64_t flow;      /* base of the flow id; meaningless in another run */
    uint32_t run;       /* the run of this node that owned the flow */
    uint32_t device_id; /* legacy device, or 0 */
    uint32_t reg_id;    /* 0: none */
    uint32_t cseq;
    uint16_t q;          /* thousandths, 1000 when absent */
    uint64_t gruu_epoch; /* the change that ended all earlier temporary GRUUs: registrar.h */
    uint64_t change;     /* rises with every change of this binding, over restarts too */
    slice contact;       /* the URI with its parameters */
    slice params;        /* header parameters to give back and to match on (methods, +sip...) */
    slice instance;      /* +sip.instance without quotes; may be empty */
    slice call_id, path, user_agent;
    wall_t registered, expires;
};

enum store_op {
    STORE_ACCOUNT_PUT,    /* insert or replace by id */
    STORE_ACCOUNT_REMOVE, /* with its devices and bindings */
    STORE_DEVICE_PUT,
    STORE_DEVICE_REMOVE,
    STORE_BINDING_PUT,     /* insert or replace by (account_id, bid) */
    STORE_BINDING_REFRESH, /* of a row that is there: cseq, registered, expires, change only */
    STORE_BINDING_REMOVE,  /* reads account_id, bid and change */
    STORE_VALUE_PUT        /* a named value: node keys (sealed), run number */
};
/* How a batch must be on disk before it counts: the strongest of its changes decides. */
enum store_durability {
    STORE_LAZY,   /* may be a second late (a mere refresh) */
    STORE_NORMAL, /* survives kill -9 */
    STORE_FULL    /* survives power loss: accounts, secrets, revocations */
};
struct store_change {
    enum store_op op;
    enum store_durability durability;
    union {
        struct account_row account;
        struct device_row device;
        struct binding_row binding;
        struct {
            slice name, value;
        } value;
    };
};

/* Streaming at start: called once per row; slices live until the callback returns. A callback
 * that returns an error ends the load with it. A backend that may write may read with two threads:
 * on_binding is then called while the others are; these never at the same time. on_size comes
 * before the first account, from those who know: so many will follow. */
struct store_reader {
    void *ctx;
    enum err (*on_account)(void *ctx, const struct account_row *row);
    enum err (*on_device)(void *ctx, const struct device_row *row);
    enum err (*on_binding)(void *ctx, const struct binding_row *row);
    void (*on_size)(void *ctx, uint32_t accounts);
};

struct store;
struct store_vtable {
    enum err (*load)(struct store *s, const struct store_reader *reader);
    enum err (*commit)(struct store *s, const struct store_change *changes, size_t count);
    /* A named value into dst; MISSING when there is none; LIMIT when dst is too small. */
    enum err (*value)(struct store *s, slice name, void *dst, size_t dst_len, size_t *out_len);
    /* "no space left on device": the last failure in words, for status; "" when there is none. */
    const char *(*trouble)(struct store *s);
    void (*close)(struct store *s);
};
struct store { /* first member of each backend's own struct */
    const struct store_vtable *vt;
};

/* Any member of the reader may be NULL. STORE, MEMORY, or the callback's error. commit: IO: the
 * disk or the file is in trouble, and any other change would fare alike; STORE: these changes. */
NODISCARD static inline enum err store_load(struct store *s, const struct store_reader *r) {
    return s->vt->load(s, r);
}
NODISCARD static inline enum err store_commit(struct store *s, const struct store_change *c,
                                              size_t count) {
    return s->vt->commit(s, c, count);
}
NODISCARD static inline enum err store_value(struct store *s, slice name, void *dst, size_t dst_len,
                                             size_t *out_len) {
    return s->vt->value(s, name, dst, dst_len, out_len);
}
static inline const char *store_trouble(struct store *s) {
    return s->vt->trouble(s);
}
static inline void store_close(struct store *s) {
    if (s) s->vt->close(s);
}

/* A deep copy in one block of memory (mem_free it), for handing a change to another thread. */
NODISCARD struct store_change *store_change_copy(const struct store_change *c);

/* The memory backend. store_memory_fail(s, n): the n-th commit from now (0: the next) and all after
 * it fail (STORE) until called with -1: the full disk of the tests. */
NODISCARD struct store *store_memory_new(void);
void store_memory_fail(struct store *s, int64_t nth);

#endif
