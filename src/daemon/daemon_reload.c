/* daemon/daemon_reload.c - new settings and certificates while calls go on: all of it or nothing.
 *
 * Everything that can fail is done first (read, check, load certificates, make TLS contexts); then
 * the node takes its settings, which is all or nothing too; what follows cannot be refused, only
 * delayed. */
#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon_priv.h"
#include "os/loop.h"

static void refuse(const char *why_text, slice why) {
    LOG(LOG_ERROR, "reload.refused", LOG_F_STR("why", why_text), LOG_F_SLICE("detail", why));
}

static void refuse_lines(slice lines) {
    for (slice line; slice_split(&lines, '\n', &line);)
        if (line.len) refuse("the configuration has an error; nothing was changed", line);
}

static bool see_restart(void *ctx, const struct setting *s, slice was, slice is) {
    (void)was;
    (void)is;
    if (s->reload == RELOAD_LIVE) return true;
    char mem[64];
    struct buf name = buf_over(mem, sizeof mem);
    setting_put_name(s, &name);
    refuse("this setting needs a restart; nothing was changed", buf_slice(&name));
    *(bool *)ctx = true;
    return true;
}

static bool log_change(void *ctx, const struct setting *s, slice was, slice is) {
    char mem[64];
    struct buf name = buf_over(mem, sizeof mem);
    setting_put_name(s, &name);
    LOG(LOG_INFO, "reload.setting", LOG_F_SLICE("setting", buf_slice(&name)),
        LOG_F_SLICE("was", was), LOG_F_SLICE("is", is));
    ++*(unsigned *)ctx;
    return true;
}

static void take_certs(struct daemon *d, struct certs *fresh, struct daemon_tls *tls) {
    daemon_tls_post(d, fresh, tls);
    world_begin(&d->world); /* status reads them */
    certs_fini(&d->certs);
    d->certs = *fresh;
    world_end(&d->world);
}

struct plan {
    struct config *config;
    slice domains[NODE_DOMAINS_MAX];
    unsigned domain_count;
    struct certs certs;
    struct daemon_tls tls;
};

static enum err prepare_certs(struct daemon *d, struct plan *p, struct buf *why) {
    struct certs_wish wish = { .domains = p->domains,
                               .domain_count = p->domain_count,
                               .name = p->config->listen_name,
                               .lan = d->options.lan };
    enum err e = certs_load(p->config, &d->dir, &wish, clock_wall(), &p->certs, why);
    if (e != ERR_OK) return e;
    e = daemon_tls_make(d, p->config, &p->certs, &p->tls, why);
    if (e != ERR_OK) certs_fini(&p->certs);
    return e;
}

static enum err configure_node(struct daemon *d, const struct plan *p) {
    struct node_config nc;
    daemon_node_config(d, p->config, p->domains, p->domain_count, &nc);
    return node_configure(d->node, &nc);
}

static void save_domains(struct daemon *d) {
    char *mem = mem_alloc(WORLD_DOMAINS_MAX);
    enum err e = mem ? ERR_OK : ERR_MEMORY;
    if (e == ERR_OK) {
        struct store_change change = world_domains_change(&d->world, mem, &e);
        if (e == ERR_OK) e = storer_commit(d->storer, &change, 1);
    }
    if (e != ERR_OK) LOG(LOG_WARN, "reload.domains_not_stored", LOG_F_STR("why", err_text(e)));
    mem_free(mem);
}

static void take_plan(struct daemon *d, struct plan *p) {
    take_certs(d, &p->certs, &p->tls);
    log_set_level((enum log_level)p->config->log_level);
    world_begin(&d->world);
    memcpy(d->domains, p->domains, sizeof d->domains);
    d->domain_count = p->domain_count;
    if (world_set_domains(&d->world, p->domains, p->domain_count) != ERR_OK)
        LOG(LOG_WARN, "reload.memory", LOG_F_STR("why", "commands still see the old domains"));
    if (daemon_web_places(d, p->config, p->domains, p->domain_count) != ERR_OK)
        LOG(LOG_WARN, "reload.memory", LOG_F_STR("why", "the page still has the old places"));
    struct config *old = d->config;
    d->config = p->config;
    world_end(&d->world);
    save_domains(d);
    config_free(old);
}

void daemon_reload(struct daemon *d) {
    char *mem = mem_alloc(16384);
    struct plan *p = mem_zalloc(sizeof *p);
    if (!mem || !p) {
        refuse("memory is short", SLICE_NONE);
        mem_free(mem);
        mem_free(p);
        return;
    }
    struct buf why = buf_over(mem, 16384);
    bool needs_restart = false;
    enum err e = daemon_config_load(d, &p->config, &why);
    if (e != ERR_OK) {
        refuse_lines(buf_slice(&why));
    } else {
        config_diff(d->config, p->config, see_restart, &needs_restart);
        if (needs_restart) e = ERR_CONFIG;
    }
    if (e == ERR_OK) {
        p->domain_count = daemon_domains(d, p->config, p->domains);
        e = prepare_certs(d, p, &why);
        if (e != ERR_OK)
            refuse("the certificate cannot be used; nothing was changed", buf_slice(&why));
    }
    if (e == ERR_OK) {
        e = configure_node(d, p);
        if (e != ERR_OK) {
            refuse("the settings were not taken; nothing was changed", slice_str(err_text(e)));
            daemon_tls_drop(&p->tls);
            certs_fini(&p->certs);
        }
    }
    if (e == ERR_OK) {
        unsigned changed = 0;
        config_diff(d->config, p->config, log_change, &changed);
        take_plan(d, p);
        LOG(LOG_INFO, "reloaded", LOG_F_U64("settings_changed", changed));
    } else {
        config_free(p->config);
    }
    mem_free(mem);
    mem_free(p);
}

void daemon_renew(struct daemon *d) {
    wall_t now = clock_wall();
    if (!certs_are_old(&d->certs, now)) return;
    char mem[512];
    struct buf why = buf_over(mem, sizeof mem);
    struct plan *p = mem_zalloc(sizeof *p);
    if (!p) return;
    p->config = d->config;
    memcpy(p->domains, d->domains, sizeof p->domains);
    p->domain_count = d->domain_count;
    if (prepare_certs(d, p, &why) == ERR_OK) {
        take_certs(d, &p->certs, &p->tls);
        LOG(LOG_INFO, "tls.renewed", LOG_F_STR("why", "the old certificate was near its end"));
    } else {
        LOG(LOG_ERROR, "tls.not_renewed", LOG_F_SLICE("why", buf_slice(&why)));
    }
    mem_free(p);
}
