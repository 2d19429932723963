/* daemon/config.c - see config.h. */
#include "daemon/config.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/scan.h"
#include "base/units.h"
#include "daemon/suggest.h"
#include "io/io.h"
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define MEMORY_MAX     (1u << 20)
#define DURATION_MAX_S (366 * 86400)

/* One reading of one file. inih calls next_line() for bytes and on_value() for what it found in
 * the line handed out last, so `line` is always the line of the value. */
struct reading {
    struct config *config;
    struct config_errors *errors;
    slice rest;
    unsigned line;
    bool indented;      /* the line begins with white space: inih takes it as a continuation */
    bool section_known; /* values below an unknown section are not reported one by one */
    bool has_previous;  /* a value was met in this section */
    enum err trouble;   /* MEMORY */
};

PRINTF_LIKE(4, 5)
static void report(struct config_errors *errors, unsigned line, slice setting, const char *fmt,
                   ...) {
    if (errors->count < CONFIG_ERRORS_MAX) {
        struct config_error *e = &errors->at[errors->count];
        e->line = line;
        if (!slice_cstr(slice_head(setting, sizeof e->setting - 1), e->setting, sizeof e->setting))
            e->setting[0] = 0;
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(e->text, sizeof e->text, fmt, args);
        va_end(args);
    }
    errors->count++;
}

static slice row_name(const struct setting *s, char mem[static 64]) {
    struct buf b = buf_over(mem, 64);
    setting_put_name(s, &b);
    return buf_slice(&b);
}

static void report_row(struct reading *r, const struct setting *s, const char *text) {
    char name[64];
    report(r->errors, r->line, row_name(s, name), "%s", text);
}

/* ---- values ------------------------------------------------------------------------------- */

static bool is_host(slice s, bool needs_letters_only) {
    if (s.len == 0 || s.len > 253) return false;
    bool label = false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!scan_is(c, SCAN_HOST)) return false;
        if (c == '.' && !label) return false;
        label = c != '.';
    }
    struct addr a;
    if (needs_letters_only && addr_read_ip(s, &a) == ERR_OK) return false;
    return s.ptr[0] != '-' && s.ptr[s.len - 1] != '.';
}

static enum err keep(struct reading *r, slice s, slice *out) {
    enum err e = arena_copy(&r->config->memory, s, out);
    if (e != ERR_OK) r->trouble = ERR_MEMORY;
    return e;
}

/* Each reader gives NULL, or what is wrong with the value. */
static const char *read_domains(struct reading *r, slice value, struct config_domains *out) {
    for (slice one; slice_split(&value, ',', &one);) {
        one = slice_trim(one);
        if (!is_host(one, true)) return "not a domain name: write names such as example.org";
        if (out->count >= CONFIG_DOMAINS_MAX) return "too many domains: there may be 64";
        char lower[256];
        for (size_t i = 0; i < one.len; i++)
            lower[i] =
                one.ptr[i] >= 'A' && one.ptr[i] <= 'Z' ? (char)(one.ptr[i] + 32) : one.ptr[i];
        for (unsigned i = 0; i < out->count; i++)
            if (slice_eq(out->at[i], slice_of(lower, one.len))) return "the same domain twice";
        if (keep(r, slice_of(lower, one.len), &out->at[out->count]) != ERR_OK) return NULL;
        out->count++;
    }
    return NULL;
}

static const char *read_addrs(slice value, struct config_addrs *out) {
    for (slice one; slice_split(&value, ',', &one);) {
        one = slice_trim(one);
        struct addr a;
        if (addr_read(one, &a) != ERR_OK)
            return "not an address with port: write 192.0.2.1:5061 or [2001:db8::1]:5061";
        if (out->count >= CONFIG_ADDRS_MAX) return "too many addresses: there may be 16";
        for (unsigned i = 0; i < out->count; i++)
            if (addr_eq(&out->at[i], &a)) return "the same address twice";
        out->at[out->count++] = a;
    }
    return NULL;
}

static const char *read_networks(const struct setting *s, slice value,
                                 struct config_networks *out) {
    for (slice one; slice_split(&value, ',', &one);) {
        struct network n;
        one = slice_trim(one);
        if (s->kind == SETTING_IPS && slice_find(one, '/') < one.len)
            return "a network; one address is meant: 192.0.2.1 or 2001:db8::1";
        if (network_read(one, &n) != ERR_OK)
            return s->kind == SETTING_IPS ? "not an address: write 192.0.2.1 or 2001:db8::1"
                                          : "not a network: write 10.1.0.0/16 or fd00::/8";
        if (out->count >= TURN_NETWORKS_MAX) return "too many networks: there may be 32";
        out->at[out->count++] = n;
    }
    return NULL;
}

static const char *read_path(struct reading *r, slice value, slice *out) {
    slice file = r->config->file;
    size_t dir = file.len;
    while (dir > 0 && file.ptr[dir - 1] != '/') dir--;
    char mem[4096];
    struct buf b = buf_over(mem, sizeof mem);
    if (value.ptr[0] != '/') buf_put(&b, slice_head(file, dir));
    buf_put(&b, value);
    if (b.full) return "too long";
    (void)keep(r, buf_slice(&b), out);
    return NULL;
}

/* RFC 6454 6.2: scheme, host, and a port that is not the scheme's own. */
bool config_is_origin(slice s) {
    slice host = slice_from(s, 8);
    struct addr a;
    uint64_t port;
    if (!slice_starts(s, SLICE("https://")) || s.len > 120) return false;
    if (addr_read(host, &a) == ERR_OK) return true;
    size_t colon = slice_find(host, ':');
    if (colon < host.len && slice_u64(slice_from(host, colon + 1), 65535, &port) != ERR_OK)
        return false;
    return is_host(slice_head(host, colon), false);
}

static const char *read_origins(struct reading *r, slice value, struct config_paths *out) {
    for (slice one; slice_split(&value, ',', &one);) {
        one = slice_trim(one);
        if (!config_is_origin(one))
            return "not an origin: write https://example.org or https://example.org:8443";
        if (out->count >= CONFIG_PATHS_MAX) return "too many origins: there may be 16";
        (void)keep(r, one, &out->at[out->count++]);
    }
    return NULL;
}

static const char *read_paths(struct reading *r, slice value, struct config_paths *out) {
    for (slice one; slice_split(&value, ',', &one);) {
        one = slice_trim(one);
        if (one.len == 0) return "not a list of file names: one of them is empty";
        if (out->count >= CONFIG_PATHS_MAX) return "too many files: there may be 16";
        const char *wrong = read_path(r, one, &out->at[out->count]);
        if (wrong) return wrong;
        out->count++;
    }
    return NULL;
}

static const char *read_number(const struct setting *s, slice value, uint32_t *out) {
    uint64_t n = 0;
    if (s->kind == SETTING_COUNT) {
        if (slice_u64(value, UINT32_MAX, &n) != ERR_OK) return "out of range";
    } else {
        int64_t ms = 0;
        if (duration_read(value, INT64_C(1000) * DURATION_MAX_S, &ms) != ERR_OK || ms % 1000 != 0)
            return "out of range";
        n = (uint64_t)ms / 1000;
    }
    if (n < s->min || n > s->max) return "out of range";
    *out = (uint32_t)n;
    return NULL;
}

static const char *read_word(const struct setting *s, slice value, uint32_t *out,
                             struct suggest *near) {
    for (uint32_t i = 0; s->words[i]; i++) {
        if (slice_eq(value, slice_str(s->words[i]))) {
            *out = i;
            return NULL;
        }
        suggest_offer(near, slice_str(s->words[i]));
    }
    return "out of range";
}

static const char *read_value(struct reading *r, const struct setting *s, slice value,
                              struct suggest *near) {
    void *member = (char *)r->config + s->offset;
    switch (s->kind) {
    case SETTING_DOMAINS:
        return read_domains(r, value, member);
    case SETTING_ADDRS:
        return read_addrs(value, member);
    case SETTING_NETWORKS:
    case SETTING_IPS:
        return read_networks(s, value, member);
    case SETTING_HOST: {
        struct addr a;
        bool fine = value.len == 0 || is_host(value, false) || addr_read_ip(value, &a) == ERR_OK;
        if (!fine) return "not a host name or address";
        (void)keep(r, value, member);
        return NULL;
    }
    case SETTING_ORIGINS:
        return read_origins(r, value, member);
    case SETTING_PATHS:
        return read_paths(r, value, member);
    case SETTING_COUNT:
    case SETTING_DURATION:
        return read_number(s, value, member);
    case SETTING_WORD:
        return read_word(s, value, member, near);
    }
    return NULL;
}

static void clear_value(struct config *c, const struct setting *s) {
    if (s->kind == SETTING_DOMAINS)
        ((struct config_domains *)(void *)((char *)c + s->offset))->count = 0;
    if (s->kind == SETTING_ADDRS)
        ((struct config_addrs *)(void *)((char *)c + s->offset))->count = 0;
    if (s->kind == SETTING_NETWORKS || s->kind == SETTING_IPS)
        ((struct config_networks *)(void *)((char *)c + s->offset))->count = 0;
    if (s->kind == SETTING_PATHS || s->kind == SETTING_ORIGINS)
        ((struct config_paths *)(void *)((char *)c + s->offset))->count = 0;
}

/* The text in force, for config_diff; continuation lines are joined as one would write them. */
static void remember(struct reading *r, size_t row, slice value, bool more) {
    struct config *c = r->config;
    slice joined = value;
    char mem[8192];
    if (more) {
        struct buf b = buf_over(mem, sizeof mem);
        buf_put(&b, c->values[row]);
        buf_lit(&b, " ");
        buf_put(&b, value);
        joined = buf_slice(&b);
    }
    (void)keep(r, joined, &c->values[row]);
}

static void set_value(struct reading *r, const struct setting *s, slice value, bool more) {
    size_t row = (size_t)(s - settings);
    if (!more) clear_value(r->config, s);
    struct suggest near = suggest_for(value);
    const char *wrong = read_value(r, s, value, &near);
    if (!wrong) {
        remember(r, row, value, more);
        return;
    }
    char text[224];
    struct buf b = buf_over(text, sizeof text);
    slice shown = slice_head(value, 60);
    if (s->is_secret)
        buf_put(&b, slice_str(wrong));
    else
        buf_fmt(&b, "`" SLICE_FMT "` is %s", SLICE_ARG(shown), wrong);
    if (slice_eq(slice_str(wrong), SLICE("out of range"))) {
        b.len = 0;
        buf_fmt(&b, "`" SLICE_FMT "` will not do; allowed: ", SLICE_ARG(shown));
        setting_put_range(s, &b);
        if (near.best.len) buf_fmt(&b, "; did you mean " SLICE_FMT "?", SLICE_ARG(near.best));
    } else if (slice_find(value, '#') < value.len) {
        buf_lit(&b, " (a comment needs a line of its own)");
    }
    char name[64];
    report(r->errors, r->line, row_name(s, name), SLICE_FMT, SLICE_ARG(buf_slice(&b)));
}

/* ---- lines -------------------------------------------------------------------------------- */

static void unknown_setting(struct reading *r, slice section, slice name) {
    const struct setting *near = setting_nearest(section, name);
    slice shown = slice_head(name, 60);
    if (!near) {
        report(r->errors, r->line, shown,
               "there is no such setting; docs/config.md lists them all");
    } else if (slice_eq(section, slice_str(near->section))) {
        report(r->errors, r->line, shown, "there is no such setting; did you mean %s?", near->name);
    } else if (near->section[0]) {
        report(r->errors, r->line, shown, "there is no such setting here; did you mean %s in [%s]?",
               near->name, near->section);
    } else {
        report(r->errors, r->line, shown,
               "there is no such setting here; did you mean %s above the first [section]?",
               near->name);
    }
}

/* A file may be called anything, "key = b" too: so a list of files goes on only after a comma. */
static bool may_continue(const struct setting *s, slice so_far) {
    if (s->kind == SETTING_PATHS) return so_far.len && so_far.ptr[so_far.len - 1] == ',';
    return s->kind == SETTING_DOMAINS || s->kind == SETTING_ADDRS || s->kind == SETTING_NETWORKS ||
           s->kind == SETTING_IPS || s->kind == SETTING_ORIGINS;
}

static int on_value(void *user, const char *section_text, const char *name_text,
                    const char *value_text) {
    struct reading *r = user;
    if (!name_text || !value_text) return 1;
    slice section = slice_str(section_text), name = slice_str(name_text);
    slice value = slice_trim(slice_str(value_text));
    bool more = r->indented && r->has_previous;
    r->has_previous = true;
    if (section.len && !r->section_known) return 1;
    const struct setting *s = setting_find(section, name);
    if (!s) {
        if (!more) unknown_setting(r, section, name);
        return 1;
    }
    size_t row = (size_t)(s - settings);
    if (more && !may_continue(s, r->config->values[row])) {
        report_row(r, s,
                   "this line is indented, so it continues the setting above; begin it "
                   "without white space");
        return 1;
    }
    if (!more && r->config->lines[row]) {
        char text[64];
        (void)snprintf(text, sizeof text, "set twice; the first time in line %u",
                       r->config->lines[row]);
        report_row(r, s, text);
        return 1;
    }
    if (!more) r->config->lines[row] = r->line;
    r->config->given[row] = true;
    set_value(r, s, value, more);
    return 1;
}

/* false: the line is wrong, has been reported, and inih shall not see it. */
static bool line_check(struct reading *r, slice line, size_t room) {
    slice text = slice_trim(line);
    if (line.len + 2 > room) {
        report(r->errors, r->line, SLICE_NONE, "the line is longer than %u characters%s",
               (unsigned)room - 2, "; a list may go on in indented lines");
        return false;
    }
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)line.ptr[i] < 0x20 && line.ptr[i] != '\t' && line.ptr[i] != '\r') {
            report(r->errors, r->line, SLICE_NONE, "a control character stands in the line");
            return false;
        }
    if (text.len == 0 || text.ptr[0] == '#' || text.ptr[0] == ';') return true;
    if (r->indented && r->has_previous) return true; /* [::1] there is an address, no section */
    if (text.ptr[0] == '[') {
        size_t end = slice_find(text, ']');
        if (end == text.len) {
            report(r->errors, r->line, text, "the section's name has no closing ]");
            r->section_known = r->has_previous = false;
            return false;
        }
        slice section = slice_of(text.ptr + 1, end - 1);
        r->has_previous = false;
        r->section_known = setting_section_known(section);
        slice near = setting_section_nearest(section);
        if (!r->section_known)
            report(r->errors, r->line, slice_head(text, end + 1),
                   near.len ? "there is no such section; did you mean [" SLICE_FMT "]?"
                            : "there is no such section" SLICE_FMT,
                   SLICE_ARG(near));
        return true;
    }
    if (slice_find(text, '=') < text.len || slice_find(text, ':') < text.len) return true;
    report(r->errors, r->line, slice_head(text, 60), "expected `name = value`");
    return false;
}

/* fgets for inih. Lines that it would cut or refuse are reported here and handed over empty. */
static char *next_line(char *dst, int room, void *stream) {
    struct reading *r = stream;
    if (room < 4 || r->rest.len == 0) return NULL;
    size_t len = slice_find(r->rest, '\n');
    slice line = slice_head(r->rest, len);
    r->rest = slice_from(r->rest, len + 1);
    r->line++;
    r->indented = line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t');
    struct buf b = buf_over(dst, (size_t)room - 1);
    if (line_check(r, line, (size_t)room)) buf_put(&b, line);
    buf_lit(&b, "\n");
    dst[b.len] = 0;
    return dst;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void report_late(struct reading *r, const char *section, const char *name,
                        const char *text) {
    const struct setting *s = setting_find(slice_str(section), slice_str(name));
    ASSERT(s != NULL);
    r->line = r->config->lines[s - settings];
    report_row(r, s, text);
}

static void check_listeners(struct reading *r) {
    const struct config *c = r->config;
    const struct config_addrs *taken[] = { &c->listen_tls, &c->legacy_tls, &c->legacy_tcp };
    static const char *const names[][2] = { { "listen", "tls" },
                                            { "legacy", "tls" },
                                            { "legacy", "tcp" } };
    for (size_t i = 1; i < ARRAY_LEN(taken); i++)
        for (unsigned a = 0; a < taken[i]->count; a++)
            for (size_t j = 0; j < i; j++)
                for (unsigned b = 0; b < taken[j]->count; b++)
                    if (addr_eq(&taken[i]->at[a], &taken[j]->at[b]))
                        report_late(r, names[i][0], names[i][1],
                                    "another listener has the same address; the legacy lane needs "
                                    "a port of its own");
}

static bool has_domain(const struct config_domains *list, slice domain) {
    for (unsigned i = 0; i < list->count; i++)
        if (slice_eq(list->at[i], domain)) return true;
    return false;
}

static void check_peers(struct reading *r) {
    const struct config *c = r->config;
    static const char *const names[] = { "peers", "trusted", "refused" };
    const struct config_domains *lists[] = { &c->peers, &c->peers_trusted, &c->peers_refused };
    unsigned count = 0;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        for (unsigned d = 0; d < lists[i]->count; d++) {
            if (has_domain(&c->domains, lists[i]->at[d]))
                report_late(r, "federation", names[i],
                            "a domain of this server stands there, which is no other domain");
            for (size_t j = 0; j < i; j++)
                if (has_domain(lists[j], lists[i]->at[d]))
                    report_late(r, "federation", names[i],
                                "a domain stands there and in another list below [federation] too: "
                                "one place says it all");
        }
        count += lists[i]->count;
    }
    if (count > LIMIT_PEERS)
        report_late(r, "federation", "peers",
                    "more than 64 domains in peers, trusted and refused together");
    if (c->dns_servers.count > IO_DNS_SERVERS_MAX)
        report_late(r, "dns", "servers", "more than 8 servers");
}

/* RFC 6052 2.2: the lengths that a translator's prefix may have. */
static void check_nat64(struct reading *r) {
    static const uint8_t lengths[] = { 32, 40, 48, 56, 64, 96 };
    const struct config_networks *list = &r->config->turn_nat64;
    for (unsigned i = 0; i < list->count; i++) {
        bool is_one = false;
        for (size_t k = 0; k < ARRAY_LEN(lengths); k++)
            if (list->at[i].bits == lengths[k]) is_one = true;
        if (!is_one || list->at[i].base.family != ADDR_V6)
            report_late(r, "turn", "nat64",
                        "a translator's prefix is an IPv6 network of /32, /40, /48, /56, /64 or "
                        "/96 (RFC 6052)");
    }
}

static void check_together(struct reading *r) {
    const struct config *c = r->config;
    if (c->tls_certificate.count && !c->tls_key.count)
        report_late(r, "tls", "certificate", "set without its key: add `key = FILE` below [tls]");
    else if (c->tls_key.count && !c->tls_certificate.count)
        report_late(r, "tls", "key", "set without a certificate: add `certificate = FILE`");
    else if (c->tls_key.count != c->tls_certificate.count)
        report_late(r, "tls", "key",
                    "not as many files as [tls] certificate has: each needs its key, in the same "
                    "order");
    if (c->expires_min_s > c->expires_default_s)
        report_late(r, "limits", "expires_min", "longer than expires_default");
    if (c->expires_default_s > c->expires_max_s)
        report_late(r, "limits", "expires_default", "longer than expires_max");
    if (c->session_timer_s > 0 && c->session_timer_s < 90)
        report_late(r, "calls", "session_timer", "shorter than 90s, which RFC 4028 forbids");
    if (c->turn_first_port > c->turn_last_port)
        report_late(r, "turn", "first_port", "above last_port");
    check_nat64(r);
    if (c->listen_tls.count == 0)
        report_late(r, "listen", "tls", "empty: phones could not connect");
    check_listeners(r);
    check_peers(r);
}

static enum err read_defaults(struct reading *r) {
    for (size_t i = 0; i < settings_count; i++) {
        struct suggest near = suggest_for(SLICE_NONE);
        const char *wrong = read_value(r, &settings[i], slice_str(settings[i].fallback), &near);
        ASSERT(wrong == NULL);
        remember(r, i, slice_str(settings[i].fallback), false);
    }
    return r->trouble;
}

static struct config *config_new(void) {
    struct config *c = mem_zalloc(sizeof *c);
    if (c) arena_init(&c->memory, MEMORY_MAX);
    return c;
}

void config_free(struct config *c) {
    if (!c) return;
    arena_fini(&c->memory);
    mem_free(c);
}

enum err config_read(slice text, slice file, struct config **out, struct config_errors *errors) {
    *out = NULL;
    *errors = (struct config_errors){ 0 };
    if (text.len > CONFIG_FILE_BYTES_MAX) {
        report(errors, 0, SLICE_NONE, "the file is larger than %u bytes", CONFIG_FILE_BYTES_MAX);
        return ERR_CONFIG;
    }
    if (slice_starts(text, SLICE("\xef\xbb\xbf")))
        text = slice_from(text, 3); /* written by Windows */
    struct config *c = config_new();
    if (!c) return ERR_MEMORY;
    struct reading r = { .config = c, .errors = errors, .rest = text };
    enum err e = keep(&r, file, &c->file);
    if (e == ERR_OK) e = read_defaults(&r);
    if (e == ERR_OK) {
        int first_bad = ini_parse_stream(next_line, &r, on_value, &r);
        if (first_bad > 0) report(errors, (unsigned)first_bad, SLICE_NONE, "not a setting");
        if (first_bad < 0) r.trouble = ERR_MEMORY;
        if (r.trouble == ERR_OK && errors->count == 0) check_together(&r);
        e = r.trouble != ERR_OK ? r.trouble : errors->count ? ERR_CONFIG : ERR_OK;
    }
    if (e != ERR_OK)
        config_free(c);
    else
        *out = c;
    return e;
}

enum err config_defaults(struct config **out) {
    struct config_errors errors;
    enum err e = config_read(SLICE_NONE, SLICE_NONE, out, &errors);
    ASSERT(e == ERR_OK || e == ERR_MEMORY);
    return e;
}

enum err config_load(const char *path, struct config **out, struct config_errors *errors) {
    *out = NULL;
    *errors = (struct config_errors){ 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        report(errors, 0, SLICE_NONE, "cannot be opened: %s", strerror(errno));
        return ERR_CONFIG;
    }
    char *mem = mem_alloc(CONFIG_FILE_BYTES_MAX + 1);
    size_t len = 0;
    ssize_t n = mem ? 1 : 0;
    while (n > 0 && len <= CONFIG_FILE_BYTES_MAX) {
        n = read(fd, mem + len, CONFIG_FILE_BYTES_MAX + 1 - len);
        if (n > 0) len += (size_t)n;
    }
    int read_errno = errno;
    (void)close(fd);
    enum err e = ERR_MEMORY;
    if (mem && n < 0) {
        report(errors, 0, SLICE_NONE, "cannot be read: %s", strerror(read_errno));
        e = ERR_CONFIG;
    } else if (mem) {
        e = config_read(slice_of(mem, len), slice_str(path), out, errors);
    }
    mem_free(mem);
    return e;
}

void config_errors_put(const struct config_errors *errors, slice file, struct buf *out) {
    for (unsigned i = 0; i < errors->count && i < CONFIG_ERRORS_MAX; i++) {
        const struct config_error *e = &errors->at[i];
        buf_put(out, file);
        if (e->line) buf_fmt(out, ":%u", e->line);
        buf_fmt(out, ": %s%s%s\n", e->setting, e->setting[0] ? ": " : "", e->text);
    }
    if (errors->count > CONFIG_ERRORS_MAX)
        buf_fmt(out, "and %u more\n", errors->count - CONFIG_ERRORS_MAX);
}

void config_diff(const struct config *a, const struct config *b,
                 bool (*visit)(void *ctx, const struct setting *s, slice was, slice is),
                 void *ctx) {
    for (size_t i = 0; i < settings_count; i++) {
        if (slice_eq(a->values[i], b->values[i])) continue;
        slice was = settings[i].is_secret ? SLICE("(hidden)") : a->values[i];
        slice is = settings[i].is_secret ? SLICE("(hidden)") : b->values[i];
        if (!visit(ctx, &settings[i], was, is)) return;
    }
}
