/* daemon/certs.c - see certs.h. */
#include "daemon/certs.h"

#include "base/log.h"
#include "base/scan.h"
#include "os/cert.h"
#include "os/socket.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

#define DAY_MS         INT64_C(86400000)
#define ADDRESSES_MAX  16 /* in a certificate; a host with more has routing troubles of its own */
#define CA_NAMES_BYTES 32768

/* ---- what this host is called ------------------------------------------------------------- */

slice host_name(char mem[static 256]) {
    if (gethostname(mem, 255) != 0) mem[0] = 0;
    mem[255] = 0;
    slice s = slice_str(mem);
    bool fine = s.len > 0;
    for (size_t i = 0; i < s.len; i++) {
        if (mem[i] >= 'A' && mem[i] <= 'Z') mem[i] = (char)(mem[i] + 32);
        if (!scan_is(mem[i], SCAN_HOST)) fine = false;
    }
    struct addr a;
    if (fine && s.ptr[0] != '.' && s.ptr[0] != '-' && addr_read_ip(s, &a) != ERR_OK) return s;
    return SLICE("localhost");
}

static bool is_link_local(const struct addr *a) {
    if (a->family == ADDR_V4) return a->ip[0] == 169 && a->ip[1] == 254;
    return a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

size_t host_addresses(struct addr *out, size_t max) {
    struct ifaddrs *list = NULL;
    size_t count = 0;
    if (getifaddrs(&list) != 0) return 0;
    for (struct ifaddrs *i = list; i && count < max; i = i->ifa_next) {
        struct addr a;
        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK)) continue;
        if (addr_from_sockaddr(i->ifa_addr, &a) != ERR_OK || is_link_local(&a)) continue;
        a.port = 0;
        bool seen = false;
        for (size_t j = 0; j < count; j++) seen = seen || addr_ip_eq(&out[j], &a);
        if (!seen) out[count++] = a;
    }
    freeifaddrs(list);
    return count;
}

struct wanted {
    slice dns[PKI_NAMES_MAX];
    size_t dns_count, domain_count;
    struct addr ips[ADDRESSES_MAX + 2];
    size_t ip_count;
    char host[256];
};

static void want_dns(struct wanted *w, slice name) {
    for (size_t i = 0; i < w->dns_count; i++)
        if (slice_eq(w->dns[i], name)) return;
    if (name.len && w->dns_count < PKI_NAMES_MAX) w->dns[w->dns_count++] = name;
}

static void want_all(const struct certs_wish *wish, struct wanted *w) {
    *w = (struct wanted){ 0 };
    for (unsigned i = 0; i < wish->domain_count; i++) want_dns(w, wish->domains[i]);
    w->domain_count = w->dns_count;
    want_dns(w, wish->name);
    want_dns(w, SLICE("localhost"));
    want_dns(w, host_name(w->host));
    enum err e = addr_read_ip(SLICE("127.0.0.1"), &w->ips[0]);
    ASSERT(e == ERR_OK);
    e = addr_read_ip(SLICE("::1"), &w->ips[1]);
    ASSERT(e == ERR_OK);
    w->ip_count = 2 + host_addresses(w->ips + 2, ADDRESSES_MAX);
}

static struct pki_names as_names(const struct wanted *w) {
    return (struct pki_names){ .dns = w->dns,
                               .dns_count = w->dns_count,
                               .domain_count = w->domain_count,
                               .ips = w->ips,
                               .ip_count = w->ip_count };
}

/* ---- what the CA may speak for ------------------------------------------------------------ */

static void put_names(const struct wanted *w, struct buf *out) {
    for (size_t i = 0; i < w->dns_count; i++)
        buf_fmt(out, "dns " SLICE_FMT "\n", SLICE_ARG(w->dns[i]));
    for (size_t i = 0; i < w->ip_count; i++) {
        buf_lit(out, "ip ");
        addr_put_ip(out, &w->ips[i]);
        buf_lit(out, "\n");
    }
}

static bool has_line(slice text, slice line) {
    for (slice one; slice_split(&text, '\n', &one);)
        if (slice_eq(one, line)) return true;
    return false;
}

/* false: the CA must be made anew. Addresses it may not speak for are dropped from *w. */
static bool ca_suffices(slice permitted, bool lan, struct wanted *w) {
    char mem[300];
    for (size_t i = 0; i < w->dns_count; i++) {
        struct buf b = buf_over(mem, sizeof mem);
        buf_fmt(&b, "dns " SLICE_FMT, SLICE_ARG(w->dns[i]));
        if (!has_line(permitted, buf_slice(&b))) return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < w->ip_count; i++) {
        struct buf b = buf_over(mem, sizeof mem);
        buf_lit(&b, "ip ");
        addr_put_ip(&b, &w->ips[i]);
        bool may = has_line(permitted, buf_slice(&b));
        if (!may && lan && w->ips[i].family == ADDR_V4) return false;
        if (!may)
            LOG(LOG_WARN, "tls.address_left_out", LOG_F_SLICE("name", slice_from(buf_slice(&b), 3)),
                LOG_F_STR("why", "new since the local CA was made; remove DATA/tls/ca.pem to make "
                                 "a new one"));
        if (may) w->ips[kept++] = w->ips[i];
    }
    w->ip_count = kept;
    return true;
}

/* ---- the local CA ------------------------------------------------------------------------- */

struct files {
    char ca[DATADIR_PATH_MAX + 64], ca_key[DATADIR_PATH_MAX + 64], names[DATADIR_PATH_MAX + 64];
    char server[DATADIR_PATH_MAX + 64], server_key[DATADIR_PATH_MAX + 64];
    char server_names[DATADIR_PATH_MAX + 64];
};

static void name_files(const struct datadir *dir, struct files *f) {
    (void)datadir_path(dir, "tls/ca.pem", f->ca);
    (void)datadir_path(dir, "tls/ca.key", f->ca_key);
    (void)datadir_path(dir, "tls/ca.names", f->names);
    (void)datadir_path(dir, "tls/server.pem", f->server);
    (void)datadir_path(dir, "tls/server.key", f->server_key);
    (void)datadir_path(dir, "tls/server.names", f->server_names);
}

static enum err make_ca(const struct files *f, const struct wanted *w, wall_t now,
                        struct pki_id **out, struct buf *why) {
    static char mem[CA_NAMES_BYTES];
    struct buf text = buf_over(mem, sizeof mem);
    put_names(w, &text);
    struct pki_names names = as_names(w);
    (void)unlink(f->ca); /* from here on a crash leaves no CA, so the next start makes one */
    enum err e = pki_local_ca_new(&names, now, CERTS_CA_DAYS, out);
    if (e == ERR_OK) e = text.full ? ERR_LIMIT : file_write(f->names, buf_slice(&text), why);
    if (e == ERR_OK) e = pki_save(*out, f->ca, f->ca_key, why);
    if (e != ERR_OK && !why->len) buf_fmt(why, "the local CA cannot be made: %s", err_text(e));
    return e;
}

static enum err local_ca(const struct files *f, const struct certs_wish *wish, wall_t now,
                         struct wanted *w, struct pki_id **out, bool *is_new, struct buf *why) {
    static char permitted[CA_NAMES_BYTES];
    size_t len = 0;
    enum err e = pki_load(f->ca, f->ca_key, now, out, why);
    *is_new = false;
    if (e == ERR_OK) {
        if (file_read(f->names, permitted, sizeof permitted, &len) != ERR_OK) len = 0;
        if (ca_suffices(slice_of(permitted, len), wish->lan, w)) return ERR_OK;
        LOG(LOG_WARN, "tls.ca_remade",
            LOG_F_STR("why", "the old one may not speak for all names; phones and browsers must "
                             "trust DATA/tls/ca.pem again"));
        pki_unref(*out);
        *out = NULL;
    } else if (e != ERR_MISSING && e != ERR_STALE) {
        return e;
    }
    buf_clear(why);
    *is_new = true;
    return make_ca(f, w, now, out, why);
}

/* Is the certificate on disk for exactly these names? */
static bool is_for(const struct files *f, slice wanted_names) {
    static char have[CA_NAMES_BYTES];
    size_t len = 0;
    return file_read(f->server_names, have, sizeof have, &len) == ERR_OK &&
           slice_eq(slice_of(have, len), wanted_names);
}

static enum err make_server(const struct files *f, const struct pki_id *ca, const struct wanted *w,
                            slice text, wall_t now, struct pki_id **out, struct buf *why) {
    struct pki_names names = as_names(w);
    (void)unlink(f->server_names); /* a crash in between only makes the next start do it again */
    enum err e = pki_server_new(ca, &names, now, CERTS_SERVER_DAYS, out);
    if (e == ERR_OK) e = pki_save(*out, f->server, f->server_key, why);
    if (e == ERR_OK) e = file_write(f->server_names, text, why);
    if (e != ERR_OK && !why->len)
        buf_fmt(why, "the server's certificate cannot be made: %s", err_text(e));
    return e;
}

static enum err load_local(const struct datadir *dir, const struct certs_wish *wish, wall_t now,
                           struct certs *out, struct buf *why) {
    static struct files f;
    static struct wanted w;
    name_files(dir, &f);
    want_all(wish, &w);
    out->count = 1;
    struct pki_id *ca = NULL;
    enum err e = local_ca(&f, wish, now, &w, &ca, &out->ca_is_new, why);
    if (e != ERR_OK) {
        pki_unref(ca);
        return e;
    }
    static char mem[CA_NAMES_BYTES];
    struct buf text = buf_over(mem, sizeof mem);
    put_names(&w, &text);
    if (!out->ca_is_new && is_for(&f, buf_slice(&text)) &&
        pki_load(f.server, f.server_key, now, &out->server[0], why) == ERR_OK &&
        pki_until(out->server[0]) - now > CERTS_RENEW_DAYS * DAY_MS) {
        pki_unref(ca);
        return ERR_OK;
    }
    buf_clear(why);
    pki_unref(out->server[0]);
    out->server[0] = NULL;
    e = make_server(&f, ca, &w, buf_slice(&text), now, &out->server[0], why);
    pki_unref(ca);
    return e;
}

/* ---- the operator's ----------------------------------------------------------------------- */

/* One pair of files. *out_at is the setting that is to blame. */
static enum err load_pair(const struct config *config, unsigned i, wall_t now, struct pki_id **out,
                          const struct setting **out_at, struct buf *why) {
    char chain[4096], key[4096];
    *out_at = setting_find(SLICE("tls"), SLICE("certificate"));
    if (!slice_cstr(config->tls_certificate.at[i], chain, sizeof chain) ||
        !slice_cstr(config->tls_key.at[i], key, sizeof key)) {
        buf_lit(why, "the path of certificate or key is too long");
        return ERR_CONFIG;
    }
    enum err e = pki_load(chain, key, now, out, why);
    if (e != ERR_OK && !why->len) buf_put(why, slice_str(err_text(e)));
    /* What pki_load says begins with the file it means. */
    bool blames_chain = slice_starts(buf_slice(why), slice_str(chain));
    if (e != ERR_OK && !blames_chain && slice_starts(buf_slice(why), slice_str(key)))
        *out_at = setting_find(SLICE("tls"), SLICE("key"));
    return e;
}

static void blame(const struct config *config, const struct setting *at, slice text,
                  struct config_errors *errors) {
    struct config_error one = { .line = config->lines[at - settings] };
    (void)snprintf(one.setting, sizeof one.setting, "[tls] %s", at->name);
    (void)snprintf(one.text, sizeof one.text, SLICE_FMT, SLICE_ARG(text));
    if (errors->count < CONFIG_ERRORS_MAX) errors->at[errors->count] = one;
    errors->count++;
}

/* Each file alone, so that each fault is told. */
static void check_client_ca(const struct config *config, struct config_errors *errors) {
    for (unsigned i = 0; i < config->tls_client_ca.count; i++) {
        char mem[256];
        struct buf why = buf_over(mem, sizeof mem);
        struct cert_roots_config c = { .files = &config->tls_client_ca.at[i], .file_count = 1 };
        struct cert_roots *roots = NULL;
        enum err e = cert_roots_new(&c, &roots, &why);
        cert_roots_unref(roots);
        if (e == ERR_OK) continue;
        if (!why.len) buf_put(&why, slice_str(err_text(e)));
        blame(config, setting_find(SLICE("tls"), SLICE("client_ca")), buf_slice(&why), errors);
    }
}

enum err certs_check(const struct config *config, wall_t now, struct config_errors *errors) {
    for (unsigned i = 0; i < config->tls_certificate.count; i++) {
        char mem[256];
        const struct setting *at;
        struct pki_id *id = NULL;
        struct buf why = buf_over(mem, sizeof mem);
        enum err e = load_pair(config, i, now, &id, &at, &why);
        pki_unref(id);
        if (e != ERR_OK) blame(config, at, buf_slice(&why), errors);
    }
    check_client_ca(config, errors);
    return errors->count ? ERR_CONFIG : ERR_OK;
}

static bool any_covers(const struct certs *c, slice domain) {
    for (unsigned i = 0; i < c->count; i++)
        if (pki_covers(c->server[i], domain)) return true;
    return false;
}

static enum err load_given(const struct config *config, const struct certs_wish *wish, wall_t now,
                           struct certs *out, struct buf *why) {
    for (unsigned i = 0; i < config->tls_certificate.count; i++) {
        char mem[1024];
        struct buf text = buf_over(mem, sizeof mem);
        const struct setting *at;
        enum err e = load_pair(config, i, now, &out->server[i], &at, &text);
        if (e != ERR_OK) {
            buf_fmt(why, SLICE_FMT ":%u: [tls] %s: " SLICE_FMT, SLICE_ARG(config->file),
                    config->lines[at - settings], at->name, SLICE_ARG(buf_slice(&text)));
            return e;
        }
        out->count = i + 1;
    }
    for (unsigned i = 0; i < wish->domain_count; i++)
        if (!any_covers(out, wish->domains[i]))
            LOG(LOG_WARN, "tls.domain_not_covered", LOG_F_SLICE("domain", wish->domains[i]),
                LOG_F_STR("why", "phones will refuse the certificate for this domain"));
    return ERR_OK;
}

enum err certs_load(const struct config *config, const struct datadir *dir,
                    const struct certs_wish *wish, wall_t now, struct certs *out, struct buf *why) {
    *out = (struct certs){ .is_local = config->tls_certificate.count == 0 };
    enum err e = out->is_local ? load_local(dir, wish, now, out, why)
                               : load_given(config, wish, now, out, why);
    if (e != ERR_OK) certs_fini(out);
    return e;
}

void certs_fini(struct certs *c) {
    for (unsigned i = 0; i < CONFIG_PATHS_MAX; i++) pki_unref(c->server[i]);
    memset(c->server, 0, sizeof c->server);
    c->count = 0;
}

wall_t certs_until(const struct certs *c) {
    wall_t first = pki_until(c->server[0]);
    for (unsigned i = 1; i < c->count; i++) {
        wall_t until = pki_until(c->server[i]);
        if (until < first) first = until;
    }
    return first;
}

bool certs_are_old(const struct certs *c, wall_t now) {
    return c->is_local && pki_until(c->server[0]) - now <= CERTS_RENEW_DAYS * DAY_MS;
}
