/* daemon/turn_credential.c - kith turn credential: made alike with and without a server. */
#include "base/mem.h"
#include "crypto/crypto.h"
#include "daemon/admin.h"
#include "daemon/turn.h"

void turn_key(const uint8_t seal_key[static 32], uint8_t out[static 32]) {
    crypto_hmac_sha256(slice_of(seal_key, 32), SLICE("turn nonces and credentials"), out);
}

/* {"aor":..., "seconds":86400} */
enum err call_turn_credential(struct admin_call *c) {
    struct store_change *account = NULL;
    struct turn_credential made;
    uint64_t seconds = 0;
    uint8_t key[32];
    if (json_u64(json_member(c->args, "seconds"), TURN_CREDENTIAL_MAX_S, &seconds) != ERR_OK ||
        seconds == 0)
        return admin_fail(c, ERR_BAD, "how long it is good for: from 1 s to 30 days");
    enum err e = admin_account(c, &account);
    if (e != ERR_OK) return e;
    if (account->account.flags & ACCOUNT_DISABLED) {
        mem_free(account);
        return admin_fail(c, ERR_DENIED, "this person is disabled");
    }
    wall_t until = admin_now() + (wall_t)seconds * 1000;
    turn_key(c->world->seal_key, key);
    turn_credential_make(key, account->account.id, 0, until, &made);
    mem_free(account);
    crypto_wipe(key, sizeof key);
    json_put_str(&c->answer, "username", made.username);
    json_put_str(&c->answer, "password", made.password);
    json_put_wall(&c->answer, "until", until);
    const struct server_face *server = c->world->server;
    if (server && server->put_turn_uris) server->put_turn_uris(server->ctx, &c->answer);
    crypto_wipe(&made, sizeof made);
    return ERR_OK;
}
