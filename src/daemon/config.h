/* daemon/config.h - kith.conf, read whole and checked whole before anything uses it.
 *
 * Purpose:  a small INI file (inih). All errors are found in one pass, each with its line, its
 *           setting and the nearest right name; a file with one error gives no config at all.
 * Lifetime: a config is a value of its own with all its text inside; config_free ends it.
 * Threads:  read-only once made.                                                            */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "base/addr.h"
#include "base/arena.h"
#include "core/node.h"
#include "daemon/settings.h"
#include "nat/turn.h"

#define CONFIG_FILE_BYTES_MAX (256u << 10) /* a file of 64 domains has 2 kB */
#define CONFIG_ADDRS_MAX      16u
#define CONFIG_PATHS_MAX      16u
#define CONFIG_DOMAINS_MAX    64u
_Static_assert(CONFIG_DOMAINS_MAX >= NODE_DOMAINS_MAX && CONFIG_DOMAINS_MAX >= LIMIT_PEERS,
               "room for the longest list");
#define CONFIG_ERRORS_MAX 32u /* shown; more are counted */

struct config_addrs {
    unsigned count;
    struct addr at[CONFIG_ADDRS_MAX];
};
struct config_networks {
    unsigned count;
    struct network at[TURN_NETWORKS_MAX];
};
struct config_paths {
    unsigned count;
    slice at[CONFIG_PATHS_MAX];
};
struct config_domains {
    unsigned count;
    slice at[CONFIG_DOMAINS_MAX]; /* lower case */
};
enum config_algorithm { CONFIG_SHA_256, CONFIG_SHA_512_256 };
enum config_tls { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };

struct config {
    struct config_domains domains; /* empty: the machine's name, see daemon.c */
    uint32_t workers;              /* 0: one per core */
    struct config_addrs listen_tls;
    slice listen_name;
    struct config_paths tls_certificate, tls_key; /* as many of one as of the other */
    uint32_t tls_oldest;                          /* enum config_tls */
    struct config_paths tls_client_ca;
    uint32_t peers_policy; /* enum peers_policy */
    struct config_domains peers, peers_trusted, peers_refused;
    struct config_addrs dns_servers;
    struct config_addrs legacy_tls, legacy_tcp, legacy_udp;
    struct config_addrs turn_listen;
    struct config_networks turn_relay, turn_public, turn_allow, turn_nat64;
    uint32_t turn_on; /* 0 or 1 */
    uint32_t turn_first_port, turn_last_port;
    uint32_t turn_allocations, turn_per_account, turn_bytes_per_s;
    struct config_paths web_origins; /* pages beside our own that may open a WebSocket */
    uint32_t log_level;              /* enum log_level */
    uint32_t auth_algorithm;         /* enum config_algorithm */
    uint32_t group_ring_s, recurse, session_timer_s;
    uint32_t expires_min_s, expires_default_s, expires_max_s;
    uint32_t contacts, flows, per_source;
    uint32_t handshake_s, message_s;
    uint32_t source_failures, source_requests, source_connections, account_requests; /* a minute */
    uint32_t domain_requests;
    uint32_t nonce_life_s, ring_time_s, flow_idle_s, drain_s;

    slice file;                   /* as given; empty: no file */
    slice values[SETTINGS_MAX];   /* by row: the text in force */
    bool given[SETTINGS_MAX];     /* by row: stands in the file */
    unsigned lines[SETTINGS_MAX]; /* by row: where it stands; 0: not */
    struct arena memory;
};

struct config_error {
    unsigned line; /* 0: the file as a whole */
    char setting[64];
    char text[256];
};
struct config_errors {
    unsigned count; /* may exceed CONFIG_ERRORS_MAX */
    struct config_error at[CONFIG_ERRORS_MAX];
};

/* The defaults: what runs without a file. MEMORY. */
NODISCARD enum err config_defaults(struct config **out);
/* `file` names it in errors, and its folder is where relative paths start. CONFIG: see *errors;
 * MEMORY. */
NODISCARD enum err config_read(slice text, slice file, struct config **out,
                               struct config_errors *errors);
/* The same from disk; what cannot be opened is CONFIG with the reason in *errors. */
NODISCARD enum err config_load(const char *path, struct config **out, struct config_errors *errors);
void config_free(struct config *c);
bool config_is_origin(slice s); /* "https://example.org", "https://example.org:8443" */

/* One line per error: "kith.conf:12: [listen] tlss: no such setting; did you mean tls?" */
void config_errors_put(const struct config_errors *errors, slice file, struct buf *out);

/* What differs between two configs, row by row. false ends the walk. */
void config_diff(const struct config *a, const struct config *b,
                 bool (*visit)(void *ctx, const struct setting *s, slice was, slice is), void *ctx);

/* What protocol code needs of it. `domains` point into the config. */
void config_to_node(const struct config *c, struct node_config *out);

#endif
