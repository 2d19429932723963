/* The input as client data, as a note, and as authenticator data and signature behind client data
 * that are right: else the challenge's MAC would keep all of it out. */
#include "auth/passkey.h"
#include "base/defs.h"
#include "crypto/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static slice right_client_data(const struct passkey_ask *ask, const char *type, struct buf *b) {
    buf_clear(b);
    buf_fmt(b, "{\"type\":\"%s\",\"origin\":\"https://a\",\"challenge\":\"", type);
    passkey_challenge(ask, b);
    buf_lit(b, "\"}");
    return buf_slice(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t key[32];
    static bool ready;
    if (!ready) ready = crypto_init() == ERR_OK;
    struct passkey_ask ask = { .mac_key = key,
                               .purpose = SLICE("login"),
                               .origin = SLICE("https://a"),
                               .host = SLICE("a"),
                               .now = 1 };
    struct passkey made = { 0 };
    uint64_t used;
    uint8_t point[PASSKEY_KEY_BYTES] = { 0 }, auth[4096];
    char client_mem[512], note_mem[PASSKEY_NOTE_MAX];
    struct buf client = buf_over(client_mem, sizeof client_mem);
    slice all = slice_of(data, size);
    bool ok = passkey_register(&ask, all, all, &made, &used) == ERR_OK;
    ASSERT(!ok); /* nobody guesses a MAC */
    ok = passkey_read_note(all, point) == ERR_OK;
    if (ok) {
        struct buf note = buf_over(note_mem, sizeof note_mem);
        passkey_put_note(point, &note);
    }
    if (size < 32 || size > sizeof auth) return 0;
    memcpy(auth, data, size);
    crypto_sha256("a", 1, auth);
    slice from = right_client_data(&ask, "webauthn.create", &client);
    if (passkey_register(&ask, from, slice_of(auth, size), &made, &used) == ERR_OK)
        memcpy(point, made.key, sizeof point);
    from = right_client_data(&ask, "webauthn.get", &client);
    slice signature = slice_of(auth + (size > 37 ? 37 : size), size > 37 ? size - 37 : 0);
    ok = passkey_prove(&ask, from, slice_of(auth, size > 37 ? 37 : size), signature, point,
                       &used) == ERR_OK;
    ASSERT(!ok);
    return 0;
}
