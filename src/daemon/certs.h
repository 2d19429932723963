/* daemon/certs.h - the certificates in force: the operator's, or our own.
 *
 * With [tls] in kith.conf those files are loaded. Without it there is a local CA (DATA/tls/ca.pem,
 * ten years, name-constrained) and a server certificate of 90 days that is made again when less
 * than 30 days are left, or when the names have changed.
 *
 * The CA is made again only when a domain or host name is not among those it may speak for
 * (DATA/tls/ca.names tells them): then every phone must be told to trust the new one, and the log
 * says so. An address that it may not speak for is left out of the server's certificate. */
#ifndef DAEMON_CERTS_H
#define DAEMON_CERTS_H

#include "daemon/config.h"
#include "daemon/datadir.h"
#include "os/pki.h"

#define CERTS_SERVER_DAYS 90
#define CERTS_RENEW_DAYS  30
#define CERTS_CA_DAYS     3650

struct certs {
    unsigned count;                          /* at least one, once loaded */
    struct pki_id *server[CONFIG_PATHS_MAX]; /* presented to phones; [0]: when SNI fits none */
    bool is_local;                           /* made by our own CA */
    bool ca_is_new;                          /* the local CA was made by this call */
};

/* What to certify when there is no [tls]. */
struct certs_wish {
    const slice *domains;
    unsigned domain_count;
    slice name; /* [listen] name; may be empty */
    bool lan; /* the host's addresses matter: make a new CA when it does not cover the IPv4 ones */
};

/* The operator's files, if [tls] names any: each one's fault with its line and setting. CONFIG. */
NODISCARD enum err certs_check(const struct config *config, wall_t now,
                               struct config_errors *errors);
/* CONFIG, IO, CRYPTO ... with one line in `why`; for the operator's files it begins with
 * "kith.conf:12: [tls] key: ". */
NODISCARD enum err certs_load(const struct config *config, const struct datadir *dir,
                              const struct certs_wish *wish, wall_t now, struct certs *out,
                              struct buf *why);
void certs_fini(struct certs *c);
wall_t certs_until(const struct certs *c); /* the first end of validity among them */
/* Time to call certs_load again? */
bool certs_are_old(const struct certs *c, wall_t now);

/* The addresses of this host that others can reach, link-local ones left out; returns how many. */
size_t host_addresses(struct addr *out, size_t max);
/* The host's name in lower case; "localhost" when it has none that could stand in a certificate. */
slice host_name(char mem[static 256]);

#endif
