/* daemon/settings.h - every setting of kith.conf, one row each.
 *
 * A row gives section, name, how the value is read, default, range, whether a reload applies it,
 * whether it is secret, and the manual's words; docs/config.md is printed from it
 * (`kith check-config --print-settings`). A new setting is a row here and a member of
 * struct config. */
#ifndef DAEMON_SETTINGS_H
#define DAEMON_SETTINGS_H

#include "base/buf.h"

enum setting_kind {
    SETTING_DOMAINS,  /* struct config_domains */
    SETTING_ADDRS,    /* struct config_addrs */
    SETTING_NETWORKS, /* struct config_networks */
    SETTING_IPS,      /* the same, whole addresses only */
    SETTING_HOST,     /* slice */
    SETTING_ORIGINS,  /* struct config_paths: "https://example.org" */
    SETTING_PATHS,    /* struct config_paths; each made absolute by the folder of the file */
    SETTING_COUNT,    /* uint32_t */
    SETTING_DURATION, /* uint32_t, seconds */
    SETTING_WORD      /* uint32_t, index into words */
};
enum setting_reload { RELOAD_LIVE, RELOAD_RESTART };

struct setting {
    const char *section, *name; /* section "": above the first [section] */
    enum setting_kind kind;
    size_t offset;        /* of the member in struct config */
    const char *fallback; /* the default, as one would write it */
    uint64_t min, max;
    const char *const *words; /* NULL-terminated */
    enum setting_reload reload;
    bool is_secret; /* its value never appears in a log or a diff */
    const char *manual;
};

#define SETTINGS_MAX 96
extern const struct setting settings[];
extern const size_t settings_count;

/* The nearest row for a wrong name: same section first, then the same name elsewhere; or NULL. */
const struct setting *setting_find(slice section, slice name);
const struct setting *setting_nearest(slice section, slice name);
bool setting_section_known(slice section);
slice setting_section_nearest(slice section); /* empty: none */

/* "[listen] tls", or "domain". */
void setting_put_name(const struct setting *s, struct buf *out);
/* What may stand there, in words: "a duration from 10s to 1d". */
void setting_put_range(const struct setting *s, struct buf *out);
/* docs/config.md. About 8 kB. */
void settings_put_manual(struct buf *out);

#endif
