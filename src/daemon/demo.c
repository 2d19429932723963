/* daemon/demo.c - `kith serve --demo`: two people, their secrets, and what to type into a phone.
 *
 * The secrets of alice and bob stand in DATA/demo.txt (0600), because what is printed must work at
 * every start; at each start the accounts are set to them. No other account's secret is ever kept
 * open. bob also gets a device certificate (DATA/demo-bob.pem): Debian's baresip 1.0 knows no
 * SHA-256 digest, and with a certificate it needs none. */
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "daemon/admin.h"
#include "daemon/daemon_priv.h"
#include "daemon/qr.h"
#include "daemon/shell.h"
#include "os/loop.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PEOPLE 2
#define PORT   5061
#define DAY_MS INT64_C(86400000)
static const char *const people[PEOPLE] = { "alice", "bob" };

struct secrets {
    char text[PEOPLE][PASSWORD_MADE_CHARS + 1];
};

/* ---- asking our own admin calls ----------------------------------------------------------- */

struct heard {
    char *mem;
    size_t len;
};

static bool hear(void *ctx, slice line) {
    struct heard *h = ctx;
    if (line.len > ADMIN_LINE_MAX - h->len) return false;
    memcpy(h->mem + h->len, line.ptr, line.len);
    h->len += line.len;
    return true;
}

/* The answer's document, or NULL with the words in `why`. Free it. */
static struct json *ask(struct daemon *d, const char *cmd, const char *who, const char *password,
                        struct buf *why) {
    char mem[512];
    struct buf b = buf_over(mem, sizeof mem);
    struct json_writer w = json_over(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "cmd", cmd);
    json_put_str(&w, "aor", who);
    json_put_u64(&w, "seconds", 3600);
    if (password) json_put_str(&w, "password", password);
    if (!password) json_put_str(&w, "name", "demo baresip");
    json_end(&w);
    struct heard h = { mem_alloc(ADMIN_LINE_MAX), 0 };
    struct json *doc = NULL;
    if (h.mem) admin_run(&d->world, buf_slice(&b), hear, &h);
    crypto_wipe(mem, sizeof mem);
    enum err e = ERR_MEMORY;
    if (h.mem)
        e = json_read(slice_of(h.mem, h.len), &(struct json_limits){ ADMIN_LINE_MAX, 6 }, &doc,
                      NULL);
    if (h.mem) crypto_wipe(h.mem, h.len);
    mem_free(h.mem);
    slice error = json_text(json_member(doc, "error"));
    if (e == ERR_OK && !error.len) return doc;
    buf_fmt(why, "the demo's people cannot be made: " SLICE_FMT,
            SLICE_ARG(error.len ? error : slice_str(err_text(e))));
    json_free(doc);
    return NULL;
}

/* ---- the secrets -------------------------------------------------------------------------- */

static void read_secrets(const char *path, struct secrets *s) {
    char mem[256];
    size_t len = 0;
    if (file_read(path, mem, sizeof mem, &len) != ERR_OK) return;
    slice rest = slice_of(mem, len);
    for (slice line; slice_split(&rest, '\n', &line);) {
        slice name;
        if (!slice_split(&line, ' ', &name)) continue;
        for (size_t i = 0; i < PEOPLE; i++)
            if (slice_eq(name, slice_str(people[i])) && line.len == PASSWORD_MADE_CHARS)
                memcpy(s->text[i], line.ptr, line.len);
    }
    crypto_wipe(mem, sizeof mem);
}

static enum err keep_secrets(const char *path, struct secrets *s, struct buf *why) {
    bool fresh = false;
    read_secrets(path, s);
    for (size_t i = 0; i < PEOPLE; i++) {
        if (s->text[i][0]) continue;
        (void)admin_make_secret(s->text[i]);
        fresh = true;
    }
    if (!fresh) return ERR_OK;
    char mem[256];
    struct buf b = buf_over(mem, sizeof mem);
    for (size_t i = 0; i < PEOPLE; i++) buf_fmt(&b, "%s %s\n", people[i], s->text[i]);
    enum err e = file_write(path, buf_slice(&b), why);
    crypto_wipe(mem, sizeof mem);
    return e;
}

static enum err set_person(struct daemon *d, const char *name, const char *secret,
                           struct buf *why) {
    char aor[64];
    (void)snprintf(aor, sizeof aor, "%s@localhost", name);
    struct account account;
    bool is_there =
        accounts_find(d->world.accounts, slice_str(name), SLICE("localhost"), &account) == ERR_OK;
    struct json *doc = ask(d, is_there ? "user.password" : "user.add", aor, secret, why);
    if (!doc) return ERR_STORE;
    json_free(doc);
    return ERR_OK;
}

/* Still of use: readable, in date, and not revoked? */
static bool certificate_holds(struct daemon *d, const char *path) {
    struct pki_id *id = NULL;
    wall_t now = clock_wall();
    if (pki_load(path, path, now, &id, NULL) != ERR_OK) return false;
    uint8_t hash[32];
    struct device device;
    pki_key_hash(id, hash);
    bool holds = pki_until(id) - now > 7 * DAY_MS &&
                 accounts_device_by_key(d->world.accounts, hash, &device) == ERR_OK &&
                 !device.revoked;
    pki_unref(id);
    return holds;
}

static enum err set_certificate(struct daemon *d, struct buf *why) {
    char mem[DATADIR_PATH_MAX + 64];
    const char *path = datadir_path(&d->dir, "demo-bob.pem", mem);
    if (certificate_holds(d, path)) return ERR_OK;
    struct json *doc = ask(d, "device.certificate", "bob@localhost", NULL, why);
    if (!doc) return ERR_STORE;
    enum err e = file_write(path, json_text(json_member(doc, "pem")), why);
    json_free(doc);
    return e;
}

enum err demo_prepare(struct daemon *d, struct buf *why) {
    char mem[DATADIR_PATH_MAX + 64];
    struct secrets s = { 0 };
    enum err e = keep_secrets(datadir_path(&d->dir, "demo.txt", mem), &s, why);
    for (size_t i = 0; i < PEOPLE && e == ERR_OK; i++) e = set_person(d, people[i], s.text[i], why);
    if (e == ERR_OK) e = set_certificate(d, why);
    crypto_wipe(&s, sizeof s);
    return e;
}

/* ---- the words ---------------------------------------------------------------------------- */

static void greet_listeners(struct daemon *d, const char *data) {
    (void)printf("\nKith is running: SIP over TLS on");
    for (size_t i = 0; i < d->listen_count; i++) {
        char mem[80];
        struct buf at = buf_over(mem, sizeof mem);
        struct addr a = io_address(d->workers[0].io, i);
        if (d->listen[i].is_turn) continue;
        addr_put(&at, &a);
        (void)printf("%s " SLICE_FMT, i ? "," : "", SLICE_ARG(buf_slice(&at)));
    }
    (void)printf("\n");
    if (d->certs.is_local)
        (void)printf("Phones must trust its CA, %s/tls/ca.pem%s\n", data,
                     d->certs.ca_is_new ? " (just made)" : "");
}

static void greet_baresip(const char *data, unsigned port) {
    (void)printf("\n"
                 "bob, with baresip (apt install baresip-core). His certificate lets him in.\n"
                 "  in ~/.baresip/config, which its first start makes, beside what is there:\n"
                 "    sip_certificate  %s/demo-bob.pem\n"
                 "    sip_cafile       %s/tls/ca.pem\n"
                 "    module           srtp.so\n"
                 "    module           dtls_srtp.so\n"
                 "    module           ice.so\n"
                 "  in ~/.baresip/accounts, one line:\n"
                 "    <sip:bob@localhost;transport=tls>;regint=300;"
                 "outbound=\"sip:127.0.0.1:%u;transport=tls\";sipnat=outbound;mediaenc=dtls_srtp;"
                 "medianat=ice\n",
                 data, data, port);
}

static void greet_linphone(const char *data, const char *secret, unsigned port) {
    (void)printf(
        "\n"
        "alice, with linphone (apt install linphone-cli). She logs in with SHA-256 digest.\n"
        "  in a file alice.rc, for `linphonec -c alice.rc` (when it asks for a password of\n"
        "  \"(null)\", which is about a certificate she does not have, type any word):\n"
        "    [sip]\n"
        "    sip_port=0\n"
        "    sip_tcp_port=0\n"
        "    sip_tls_port=5075\n"
        "    root_ca=%s/tls/ca.pem\n"
        "    media_encryption=dtls\n"
        "    media_encryption_mandatory=1\n"
        "    use_ipv6=0\n"
        "    ipv6_migration_done=1\n"
        "    [net]\n"
        "    firewall_policy=3\n"
        "    [auth_info_0]\n"
        "    username=alice\n"
        "    passwd=%s\n"
        "    realm=localhost\n"
        "    domain=localhost\n"
        "    algorithm=SHA-256\n"
        "    [proxy_0]\n"
        "    reg_proxy=<sip:localhost:%u;transport=tls>\n"
        "    reg_route=<sip:localhost:%u;transport=tls>\n"
        "    reg_identity=sip:alice@localhost\n"
        "    reg_expires=300\n"
        "    reg_sendregister=1\n",
        data, secret, port, port);
}

/* With --lan: the settings for a phone in somebody's hand. */
static void greet_phone(const char *secret, uint16_t port) {
    struct addr at[8];
    size_t count = host_addresses(at, ARRAY_LEN(at));
    if (count == 0) {
        (void)printf(
            "\nThis host has no address beside loopback, so no other phone can reach it.\n");
        return;
    }
    char mem[64], text[512];
    struct buf host = buf_over(mem, sizeof mem);
    at[0].port = port;
    addr_put(&host, &at[0]);
    (void)snprintf(text, sizeof text,
                   "user alice\npassword %s\ndomain localhost\nproxy sip:" SLICE_FMT
                   ";transport=tls\nmedia encryption DTLS-SRTP or SDES\n",
                   secret, SLICE_ARG(buf_slice(&host)));
    (void)printf("\nalice, with a real phone: point its camera here to copy the settings.\n"
                 "  user alice, password %s, domain localhost,\n"
                 "  transport TLS, proxy " SLICE_FMT ", media encryption on.\n"
                 "  The phone must trust the CA file named above: send it there first.\n\n",
                 secret, SLICE_ARG(buf_slice(&host)));
    (void)qr_print(text);
    crypto_wipe(text, sizeof text);
}

/* This program as it can be typed in any terminal: a path from here is made absolute, a name that
 * was found in $PATH stays. */
static slice program_word(const struct daemon *d, char *mem, size_t cap) {
    char absolute[PATH_MAX];
    slice name = slice_str(d->options.program);
    if (name.len == 0) name = SLICE("kith");
    if (slice_find(name, '/') < name.len && realpath(d->options.program, absolute))
        name = slice_str(absolute);
    struct buf b = buf_over(mem, cap);
    shell_put_word(&b, name);
    return b.full ? SLICE("kith") : buf_slice(&b);
}

/* The page: browsers need its certificate to be right, or they make no passkeys. */
static void greet_page(struct daemon *d, const char *data, bool has_people) {
    char mem[300], why_mem[300], program_mem[2 * PATH_MAX], data_mem[2 * PATH_MAX];
    struct buf page = buf_over(mem, sizeof mem), why = buf_over(why_mem, sizeof why_mem);
    struct buf where = buf_over(data_mem, sizeof data_mem);
    slice program = program_word(d, program_mem, sizeof program_mem);
    shell_put_word(&where, slice_str(data));
    daemon_put_page(d, &page);
    (void)printf("\nIn a browser: " SLICE_FMT "/\n", SLICE_ARG(buf_slice(&page)));
    if (d->certs.is_local)
        (void)printf("  so that it trusts this server's CA, first: " SLICE_FMT
                     " trust install --data " SLICE_FMT "\n",
                     SLICE_ARG(program), SLICE_ARG(buf_slice(&where)));
    for (size_t i = 0; i < PEOPLE && has_people; i++) {
        char aor[64];
        (void)snprintf(aor, sizeof aor, "%s@localhost", people[i]);
        struct json *doc = ask(d, "invite", aor, NULL, &why);
        if (doc)
            (void)printf("  as %s, once within an hour: " SLICE_FMT "\n", people[i],
                         SLICE_ARG(json_text(json_member(doc, "link"))));
        json_free(doc);
    }
    if (!has_people)
        (void)printf("  a link to sign in with: " SLICE_FMT " invite AOR --data " SLICE_FMT "\n",
                     SLICE_ARG(program), SLICE_ARG(buf_slice(&where)));
}

static void greet_next(const struct daemon *d, const char *data) {
    static const struct {
        const char *words, *what;
    } next[] = {
        { "status", "who is connected" },
        { "trace", "follow a call and its decisions" },
        { "user add carol@localhost", "a third person" },
    };
    char program_mem[2 * PATH_MAX], data_mem[2 * PATH_MAX];
    slice program = program_word(d, program_mem, sizeof program_mem);
    struct buf where = buf_over(data_mem, sizeof data_mem);
    shell_put_word(&where, slice_str(data));
    (void)printf("\nThen call: in baresip `/dial sip:alice@localhost`, in linphonec `call "
                 "sip:bob@localhost`.\nNext, in another terminal:\n");
    for (size_t i = 0; i < ARRAY_LEN(next); i++)
        (void)printf("  %s:\n    " SLICE_FMT " %s --data " SLICE_FMT "\n", next[i].what,
                     SLICE_ARG(program), next[i].words, SLICE_ARG(buf_slice(&where)));
    if (!d->options.lan)
        (void)printf("  let a real phone in (stop this one first):\n    " SLICE_FMT
                     " serve --demo --lan --data " SLICE_FMT "\n",
                     SLICE_ARG(program), SLICE_ARG(buf_slice(&where)));
    (void)printf("Ctrl-C stops the server.\n\n");
}

static void greet_server(const struct daemon *d, const char *data) {
    char program_mem[2 * PATH_MAX], data_mem[2 * PATH_MAX];
    slice program = program_word(d, program_mem, sizeof program_mem);
    struct buf where = buf_over(data_mem, sizeof data_mem);
    shell_put_word(&where, slice_str(data));
    (void)printf("Serving " SLICE_FMT "%s. Add people with\n  " SLICE_FMT
                 " user add alice --data " SLICE_FMT "\nCtrl-C stops.\n\n",
                 SLICE_ARG(d->domains[0]), d->domain_count > 1 ? " and more" : "",
                 SLICE_ARG(program), SLICE_ARG(buf_slice(&where)));
}

void demo_greet(struct daemon *d) {
    char mem[DATADIR_PATH_MAX + 64], absolute[PATH_MAX];
    const char *data = realpath(d->dir.path, absolute);
    if (!data) data = d->dir.path;
    greet_listeners(d, data);
    if (!d->options.demo) {
        greet_page(d, data, false);
        greet_server(d, data);
        (void)fflush(stdout);
        return;
    }
    struct secrets s = { 0 };
    uint16_t port = io_address(d->workers[0].io, 0).port;
    read_secrets(datadir_path(&d->dir, "demo.txt", mem), &s);
    (void)printf("The domain is localhost, and two people live there: alice and bob\n"
                 "(their secrets are kept in %s/demo.txt).\n",
                 data);
    greet_page(d, data, true);
    greet_baresip(data, port);
    greet_linphone(data, s.text[0], port);
    if (d->options.lan) greet_phone(s.text[0], port);
    greet_next(d, data);
    (void)fflush(stdout);
    crypto_wipe(&s, sizeof s);
}
