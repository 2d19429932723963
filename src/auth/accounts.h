/* auth/accounts.h - the people and devices of this node, in memory.
 *
 * Purpose:  who is alice@example.org, what proves it, which device key is whose. Filled from the
 *           store at start (node_new), changed by the operator's commands after their commit.
 * Lifetime: results are small copies; nothing points into the table.
 * Memory:   all accounts are kept: about 300 bytes each. HA1 values stay sealed in here and are
 *           opened for the moment of a check.
 * Threads:  any; sharded by key hash, a lock held for a look-up only.
 *
 * `stamp` changes with every change of the account (secret, disabled, aliases): a flow identity
 * remembers the stamp under which it was proved and ends when it differs. */
#ifndef AUTH_ACCOUNTS_H
#define AUTH_ACCOUNTS_H

#include "auth/user_settings.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "store/store.h"

struct accounts;

/* A name longer than these is nobody's. Domain: RFC 1035 2.3.4. */
#define ACCOUNT_USER_MAX    128u
#define ACCOUNT_DOMAIN_MAX  253u
#define ACCOUNT_ALIASES_MAX 16u  /* a desk has a few numbers; a hunt group is another thing */
#define ACCOUNT_DEVICES_MAX 32u  /* enrolled certificates and legacy devices of one account */
#define ACCOUNT_LABEL_MAX   256u /* display name, device name, reason: for people */

struct account {
    uint32_t id; /* 0 is never an account */
    uint32_t stamp;
    uint32_t flags; /* enum account_flags */
    bool has_settings;
};
struct device {
    uint32_t id, account_id;
    uint8_t kind; /* enum device_kind */
    bool revoked;
    wall_t until; /* 0: no end */
};
enum digest_algorithm { DIGEST_SHA256, DIGEST_SHA512_256, DIGEST_MD5 };

/* seal_key opens HA1 values: the node's key, kept in locked memory by the caller; it is not copied
 * and must outlive the table. accounts_max: up to 2^24. NULL: memory is short. */
NODISCARD struct accounts *accounts_new(uint32_t accounts_max, const struct hash_key *key,
                                        const uint8_t seal_key[static 32]);
void accounts_free(struct accounts *a);

/* About so many are to come, and until accounts_loaded this thread alone knows the table: it is
 * made in one piece, and takes no locks. A number too high costs memory only. What is wrong with
 * an account is told by the next call then, accounts_loaded for the last one. */
void accounts_loading(struct accounts *a, uint32_t count);
NODISCARD enum err accounts_loaded(struct accounts *a);

/* Insert or replace by id; on any error nothing has changed. EXISTS: another account has this name
 * or one of the aliases. BAD: id 0, an empty name, sealed values of a wrong length. LIMIT: longer
 * than the maxima above. FULL: accounts_max. MEMORY. White space around aliases goes. */
NODISCARD enum err accounts_put(struct accounts *a, const struct account_row *row);
void accounts_remove(struct accounts *a, uint32_t id); /* with its devices */
/* Insert or replace by id. MISSING: no such account. EXISTS: another device has this key. LIMIT:
 * ACCOUNT_DEVICES_MAX. BAD, FULL, MEMORY as above. */
NODISCARD enum err accounts_put_device(struct accounts *a, const struct device_row *row);
void accounts_remove_device(struct accounts *a, uint32_t id);
uint32_t accounts_count(const struct accounts *a);
uint32_t accounts_free_id(struct accounts *a); /* an id never given before */
uint32_t accounts_free_device_id(struct accounts *a);
/* The ids handed out lie above these. The table knows only the rows that are still there, so the
 * caller keeps the highest ids ever given as a named value of the store and says them at start. */
void accounts_ids_above(struct accounts *a, uint32_t account_id, uint32_t device_id);

/* By address: user unescaped, domain in any case; an alias counts. MISSING. */
NODISCARD enum err accounts_find(struct accounts *a, slice user, slice domain, struct account *out);
NODISCARD enum err accounts_by_id(struct accounts *a, uint32_t id, struct account *out);
/* Is user@domain this account or one of its aliases? An empty domain stands for the account's own
 * (a tel number names no domain). */
bool accounts_owns(struct accounts *a, uint32_t id, slice user, slice domain);
/* "alice@example.org"; nothing is written when the account is gone. */
void accounts_put_aor(struct accounts *a, uint32_t id, struct buf *out);
void accounts_put_display(struct accounts *a, uint32_t id,
                          struct buf *out); /* the same, his name */
/* What the person has set (account.has_settings), read into mem, to which *out points. MISSING:
 * nothing. */
NODISCARD enum err accounts_settings(struct accounts *a, uint32_t id,
                                     char mem[static USER_SETTINGS_MAX], struct user_settings *out);
/* The opened HA1 (32 bytes; MD5: 16 of `device_id`, which must be one of the account). MISSING when
 * there is none, after the same work (a decoy is opened): time does not tell who exists. CRYPTO:
 * the box does not open (another key, or moved from another row). Wipe it. */
NODISCARD enum err accounts_ha1(struct accounts *a, uint32_t account_id, uint32_t device_id,
                                enum digest_algorithm algorithm, uint8_t out[static 32]);
/* By the hash of its key or token. MISSING: unknown. Its kind, and whether it is still valid, are
 * the caller's to test. */
NODISCARD enum err accounts_device_by_key(struct accounts *a, const uint8_t key_hash[static 32],
                                          struct device *out);
NODISCARD enum err accounts_device(struct accounts *a, uint32_t device_id, struct device *out);
/* What device_row.why says; nothing is written when the device is gone. */
void accounts_put_device_note(struct accounts *a, uint32_t device_id, struct buf *out);
/* The legacy devices of an account, revoked and ended ones too, for the digest check of the legacy
 * lane; returns how many. */
unsigned accounts_legacy_devices(struct accounts *a, uint32_t account_id, struct device *out,
                                 unsigned max);

/* For `user list`, `device list` and status: a visitor under lock; it must not call back in here.
 * Returning false ends the walk. */
void accounts_each(struct accounts *a, bool (*visit)(void *ctx, const struct account_row *row),
                   void *ctx);
void accounts_each_device_of(struct accounts *a, uint32_t account_id,
                             bool (*visit)(void *ctx, const struct device_row *row), void *ctx);
void accounts_each_device(struct accounts *a,
                          bool (*visit)(void *ctx, const struct device_row *row), void *ctx);

#endif
