/* daemon/web_sign.c - signing in: invitations, passkeys, sessions, devices (docs/web.md). */
#include "auth/passkey.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "daemon/admin.h"
#include "daemon/web_priv.h"
#include "os/loop.h"

/* ---- who is signed in ---------------------------------------------------------------------- */

static void put_person(struct web_call *c, uint32_t account_id) {
    char aor_mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2], name_mem[ACCOUNT_LABEL_MAX];
    struct buf aor = buf_over(aor_mem, sizeof aor_mem), name = buf_over(name_mem, sizeof name_mem);
    accounts_put_aor(c->world->accounts, account_id, &aor);
    accounts_put_display(c->world->accounts, account_id, &name);
    json_put_text(&c->answer, "aor", buf_slice(&aor));
    json_put_text(&c->answer, "name", buf_slice(&name));
}

static void put_domains(struct web_call *c) {
    json_begin_array(&c->answer, "domains");
    for (unsigned i = 0; i < c->world->domain_count; i++)
        json_put_text(&c->answer, NULL, c->world->domains[i]);
    json_end(&c->answer);
}

unsigned web_get_session(struct web_call *c) {
    json_put_bool(&c->answer, "signed_in", c->session.id != 0);
    if (c->session.id) {
        put_person(c, c->session.account_id);
        json_put_u64(&c->answer, "session", c->session.id);
        json_put_u64(&c->answer, "device", c->session.passkey_id);
        json_put_wall(&c->answer, "until", c->session.until);
        json_put_str(&c->answer, "ws", "/ws");
    }
    put_domains(c);
    return 200;
}

/* RFC 6265 4.1, and its __Host- prefix (RFC 6265bis 4.1.3.2): no subdomain can set or see it. */
static void put_cookie(struct web_call *c, const char *token, int64_t seconds) {
    buf_fmt(&c->lines,
            "Set-Cookie: __Host-kith=%s; Path=/; Secure; HttpOnly; SameSite=Strict; "
            "Max-Age=%lld\r\n",
            token, (long long)seconds);
}

unsigned web_logout(struct web_call *c) {
    enum err e = session_end(c->world, c->session.id);
    if (e != ERR_OK) return web_trouble(c, e);
    put_cookie(c, "", 0);
    return 204;
}

static unsigned sign_in(struct web_call *c, uint32_t account_id, uint32_t passkey, slice name) {
    char token[SESSION_TOKEN_CHARS + 1], note_mem[16];
    struct buf note = buf_over(note_mem, sizeof note_mem);
    uint32_t id;
    buf_u64(&note, passkey);
    struct device_row row = { .account_id = account_id,
                              .kind = DEVICE_SESSION,
                              .name = name,
                              .why = buf_slice(&note),
                              .until = c->now + SESSION_LIFE_MS };
    enum err e = session_make(c->world, &row, c->now, token, &id);
    if (e != ERR_OK) return web_trouble(c, e);
    put_cookie(c, token, SESSION_LIFE_MS / 1000);
    crypto_wipe(token, sizeof token);
    guard_auth_ok(node_guard(c->world->server->node), &c->request->peer, clock_mono());
    c->session = (struct session){ account_id, id, passkey, row.until };
    return web_get_session(c);
}

/* ---- challenges ---------------------------------------------------------------------------- */

/* False: passkeys need a name, and this page was opened by an address. */
static bool ask_for(struct web_call *c, slice purpose, char origin_mem[static 320],
                    struct passkey_ask *out) {
    struct addr ip;
    slice host = http_host_name(c->head->host);
    struct buf origin = buf_over(origin_mem, 320);
    if (host.len == 0 || host.ptr[0] == '[' || addr_read_ip(host, &ip) == ERR_OK) return false;
    buf_put(&origin, c->head->origin); /* judged to be ours */
    *out = (struct passkey_ask){ .mac_key = c->web->challenge_key,
                                 .purpose = purpose,
                                 .origin = buf_slice(&origin),
                                 .host = host,
                                 .now = c->now };
    return !origin.full;
}

#define NO_NAME "Open this page by the server's name: passkeys do not work with an address."

/* False: it was used before, or there is no room to remember that it was. */
static bool use_up(struct web_call *c, uint64_t challenge) {
    struct web *w = c->web;
    size_t free_at = WEB_USED_MAX;
    for (size_t i = 0; i < WEB_USED_MAX; i++) {
        if (c->now >= w->used[i].until)
            free_at = i;
        else if (w->used[i].challenge == challenge)
            return false;
    }
    if (free_at == WEB_USED_MAX) return false;
    w->used[free_at].challenge = challenge;
    w->used[free_at].until = c->now + PASSKEY_LIFE_MS;
    return true;
}

static void put_challenge(struct web_call *c, const struct passkey_ask *ask) {
    char mem[PASSKEY_CHALLENGE_MAX + 16];
    struct buf b = buf_over(mem, sizeof mem);
    passkey_challenge(ask, &b);
    json_put_text(&c->answer, "challenge", buf_slice(&b));
}

struct response { /* what toJSON() gave */
    slice id;
    uint8_t *client_data, *auth_data, *signature;
    size_t client_len, auth_len, signature_len;
    uint8_t mem[3 * PASSKEY_RESPONSE_MAX];
};

static bool read_part(const struct json *from, const char *name, uint8_t *to, size_t *out_len) {
    return base64url_read(json_text(json_member(from, name)), to, PASSKEY_RESPONSE_MAX, out_len) ==
           ERR_OK;
}

static bool read_response(const struct web_call *c, bool is_signed, struct response *out) {
    const struct json *credential = json_member(c->body, "credential");
    const struct json *response = json_member(credential, "response");
    out->client_data = out->mem;
    out->auth_data = out->mem + PASSKEY_RESPONSE_MAX;
    out->signature = out->mem + 2u * PASSKEY_RESPONSE_MAX;
    out->id = json_text(json_member(credential, "id"));
    out->signature_len = 0;
    return read_part(response, "clientDataJSON", out->client_data, &out->client_len) &&
           read_part(response, "authenticatorData", out->auth_data, &out->auth_len) &&
           (!is_signed || read_part(response, "signature", out->signature, &out->signature_len));
}

/* ---- invitations --------------------------------------------------------------------------- */

static unsigned find_invite(struct web_call *c, struct session *out) {
    enum err e = session_find(c->world->accounts, web_text(c, "token"), DEVICE_INVITE, c->now, out);
    if (e == ERR_OK) return 200;
    return web_fail(c, 404,
                    "This invitation is not valid (any more). Ask the person who runs this "
                    "server for a new one.");
}

/* The challenge of one invitation is of no use with another. */
static slice invite_purpose(const struct web_call *c, char mem[static 80]) {
    struct buf b = buf_over(mem, 80);
    buf_lit(&b, "invite ");
    buf_put(&b, slice_head(web_text(c, "token"), SESSION_TOKEN_CHARS));
    return buf_slice(&b);
}

/* An opaque handle, the same for all passkeys of a person (WebAuthn 5.4.3). */
static void put_user(struct web_call *c, uint32_t account_id) {
    char aor_mem[ACCOUNT_USER_MAX + ACCOUNT_DOMAIN_MAX + 2], name_mem[ACCOUNT_LABEL_MAX];
    char id_mem[32];
    uint8_t mac[CRYPTO_MAC_BYTES];
    struct buf aor = buf_over(aor_mem, sizeof aor_mem), name = buf_over(name_mem, sizeof name_mem);
    struct buf id = buf_over(id_mem, sizeof id_mem);
    accounts_put_aor(c->world->accounts, account_id, &aor);
    accounts_put_display(c->world->accounts, account_id, &name);
    crypto_mac(c->world->seal_key, &account_id, sizeof account_id, mac);
    buf_base64url(&id, mac, sizeof mac);
    json_begin_object(&c->answer, "user");
    json_put_text(&c->answer, "id", buf_slice(&id));
    json_put_text(&c->answer, "name", buf_slice(&aor));
    json_put_text(&c->answer, "displayName", name.len ? buf_slice(&name) : buf_slice(&aor));
    json_end(&c->answer);
}

unsigned web_invite_options(struct web_call *c) {
    char purpose[80], origin[320];
    struct session invite;
    struct passkey_ask ask;
    unsigned status = find_invite(c, &invite);
    if (status != 200) return status;
    if (!ask_for(c, invite_purpose(c, purpose), origin, &ask)) return web_fail(c, 400, NO_NAME);
    struct json_writer *w = &c->answer;
    put_person(c, invite.account_id);
    json_begin_object(w, "publicKey");
    put_challenge(c, &ask);
    json_begin_object(w, "rp");
    json_put_text(w, "id", ask.host);
    json_put_str(w, "name", "Kith");
    json_end(w);
    put_user(c, invite.account_id);
    json_begin_array(w, "pubKeyCredParams");
    json_begin_object(w, NULL);
    json_put_str(w, "type", "public-key");
    json_put_i64(w, "alg", -7); /* ES256 */
    json_end(w);
    json_end(w);
    json_begin_object(w, "authenticatorSelection");
    json_put_str(w, "residentKey", "required");
    json_put_bool(w, "requireResidentKey", true);
    json_put_str(w, "userVerification", "preferred");
    json_end(w);
    json_put_str(w, "attestation", "none");
    json_put_u64(w, "timeout", (uint64_t)PASSKEY_LIFE_MS);
    json_end(w);
    return 200;
}

static enum err keep_passkey(struct web_call *c, uint32_t account_id, slice name,
                             const struct passkey *made, uint32_t *out_id) {
    char note_mem[PASSKEY_NOTE_MAX];
    struct buf note = buf_over(note_mem, sizeof note_mem);
    passkey_put_note(made->key, &note);
    struct device_row row = { .id = accounts_free_device_id(c->world->accounts),
                              .account_id = account_id,
                              .kind = DEVICE_PASSKEY,
                              .name = name,
                              .why = buf_slice(&note),
                              .created = c->now };
    memcpy(row.key_hash, made->id_hash, sizeof row.key_hash);
    *out_id = row.id;
    return session_put_device(c->world, &row);
}

unsigned web_invite_finish(struct web_call *c) {
    char purpose[80], origin[320];
    struct session invite;
    struct passkey_ask ask;
    struct passkey made;
    uint64_t used;
    uint32_t id;
    unsigned status = find_invite(c, &invite);
    if (status != 200) return status;
    if (!ask_for(c, invite_purpose(c, purpose), origin, &ask)) return web_fail(c, 400, NO_NAME);
    slice name = slice_head(slice_trim(web_text(c, "device")), 64);
    if (!name.len) name = SLICE("browser");
    struct response *r = mem_alloc(sizeof *r);
    if (!r) return web_trouble(c, ERR_MEMORY);
    enum err e = read_response(c, false, r)
                     ? passkey_register(&ask, slice_of(r->client_data, r->client_len),
                                        slice_of(r->auth_data, r->auth_len), &made, &used)
                     : ERR_BAD;
    mem_free(r);
    if (e == ERR_MEMORY) return web_trouble(c, e);
    if (e != ERR_OK || !use_up(c, used))
        return web_fail(c, 403, "The passkey was not made for this page just now. Try again.");
    e = keep_passkey(c, invite.account_id, name, &made, &id);
    if (e == ERR_EXISTS) return web_fail(c, 403, "This passkey is known already: sign in.");
    if (e == ERR_OK) e = session_end(c->world, invite.id); /* one use */
    if (e != ERR_OK) return web_trouble(c, e);
    return sign_in(c, invite.account_id, id, name);
}

/* ---- signing in again ---------------------------------------------------------------------- */

unsigned web_login_options(struct web_call *c) {
    char origin[320];
    struct passkey_ask ask;
    if (!ask_for(c, SLICE("login"), origin, &ask)) return web_fail(c, 400, NO_NAME);
    struct json_writer *w = &c->answer;
    json_begin_object(w, "publicKey");
    put_challenge(c, &ask);
    json_put_text(w, "rpId", ask.host);
    json_begin_array(w, "allowCredentials");
    json_end(w);
    json_put_str(w, "userVerification", "preferred");
    json_put_u64(w, "timeout", (uint64_t)PASSKEY_LIFE_MS);
    json_end(w);
    return 200;
}

/* The passkey of this credential id, with its public key. */
static enum err find_passkey(struct web_call *c, slice id, struct device *out, uint8_t *key) {
    uint8_t raw[1024], hash[32];
    char note_mem[ACCOUNT_LABEL_MAX];
    struct buf note = buf_over(note_mem, sizeof note_mem);
    struct account account;
    size_t n;
    if (base64url_read(id, raw, sizeof raw, &n) != ERR_OK || n == 0) return ERR_MISSING;
    passkey_id_hash(slice_of(raw, n), hash);
    if (accounts_device_by_key(c->world->accounts, hash, out) != ERR_OK ||
        out->kind != DEVICE_PASSKEY || out->revoked ||
        accounts_by_id(c->world->accounts, out->account_id, &account) != ERR_OK ||
        (account.flags & ACCOUNT_DISABLED))
        return ERR_MISSING;
    accounts_put_device_note(c->world->accounts, out->id, &note);
    return passkey_read_note(buf_slice(&note), key);
}

struct name_walk {
    uint32_t id;
    struct buf name;
};

static bool name_visit(void *ctx, const struct device_row *row) {
    struct name_walk *walk = ctx;
    if (row->id == walk->id) buf_put(&walk->name, row->name);
    return row->id != walk->id;
}

unsigned web_login_finish(struct web_call *c) {
    char origin[320], name_mem[ACCOUNT_LABEL_MAX];
    struct passkey_ask ask;
    struct device device;
    uint8_t key[PASSKEY_KEY_BYTES];
    uint64_t used;
    if (!ask_for(c, SLICE("login"), origin, &ask)) return web_fail(c, 400, NO_NAME);
    struct response *r = mem_alloc(sizeof *r);
    if (!r) return web_trouble(c, ERR_MEMORY);
    enum err e = read_response(c, true, r) ? find_passkey(c, r->id, &device, key) : ERR_BAD;
    if (e == ERR_OK)
        e = passkey_prove(&ask, slice_of(r->client_data, r->client_len),
                          slice_of(r->auth_data, r->auth_len),
                          slice_of(r->signature, r->signature_len), key, &used);
    mem_free(r);
    if (e == ERR_MEMORY) return web_trouble(c, e);
    if (e != ERR_OK || !use_up(c, used))
        return web_fail(c, 401, "This passkey is not known here (any more).");
    struct name_walk walk = { device.id, buf_over(name_mem, sizeof name_mem) };
    accounts_each_device_of(c->world->accounts, device.account_id, name_visit, &walk);
    return sign_in(c, device.account_id, device.id, buf_slice(&walk.name));
}

/* ---- devices ------------------------------------------------------------------------------- */

static bool device_visit(void *ctx, const struct device_row *row) {
    struct web_call *c = ctx;
    struct json_writer *w = &c->answer;
    uint32_t parent;
    if (row->revoked || (row->until && row->until <= c->now)) return true;
    json_begin_object(w, NULL);
    json_put_u64(w, "id", row->id);
    json_put_str(w, "kind", device_kind_name(row->kind));
    json_put_text(w, "name", row->name);
    json_put_wall(w, "created", row->created);
    json_put_wall(w, "until", row->until);
    json_put_bool(w, "current", row->id == c->session.id || row->id == c->session.passkey_id);
    if (row->kind == DEVICE_SESSION && slice_u32(row->why, UINT32_MAX, &parent) == ERR_OK)
        json_put_u64(w, "parent", parent);
    else
        json_put_null(w, "parent");
    json_end(w);
    return true;
}

unsigned web_devices(struct web_call *c) {
    json_begin_array(&c->answer, "devices");
    accounts_each_device_of(c->world->accounts, c->session.account_id, device_visit, c);
    json_end(&c->answer);
    return 200;
}

unsigned web_device_delete(struct web_call *c) {
    struct device device;
    uint32_t id;
    slice text = slice_from(c->head->path, sizeof "/api/devices/" - 1);
    if (slice_u32(text, UINT32_MAX, &id) != ERR_OK ||
        accounts_device(c->world->accounts, id, &device) != ERR_OK ||
        device.account_id != c->session.account_id)
        return web_fail(c, 404, "There is no such device.");
    enum err e = session_end(c->world, id);
    return e == ERR_OK ? 204 : web_trouble(c, e);
}
