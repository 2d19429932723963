/* daemon/daemon.h - `kith serve`: start, run, reload, stop.
 *
 * Start:   data directory and its lock, seal key, store, node, certificates, workers, store thread,
 *          admin socket; then the log line "ready". What fails names itself and ends the start.
 * Reload:  SIGHUP reads configuration and certificates again, all of it or nothing; calls go on.
 * Stop:    SIGTERM or SIGINT: new calls and registrations get 503; requests that still lack their
 *          final answer get [limits] drain, a second signal ends that wait. Then all connections
 *          close. Calls that are up are not awaited: media goes on between the phones, and their
 *          route tokens hold in the next run, once the phones have connected again. What was
 *          promised to the store is committed in any case.
 * Threads: one per worker, the store thread, one per admin connection; signals are taken by the
 *          main thread only. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "base/buf.h"

struct config;
struct config_errors;

struct daemon_options {
    const char *data;
    const char *config; /* NULL: the defaults */
    bool demo, lan;
    uint16_t demo_port;  /* 0: any free one */
    bool for_people;     /* say on stdout, in words, what runs and how to try it */
    const char *program; /* argv[0], for commands that those words name; NULL: "kith" */
};

/* Runs until it is told to stop. On failure `why` has words for a person; ERR_CONFIG: whole lines
 * that name the file. */
NODISCARD enum err daemon_run(const struct daemon_options *options, struct buf *why);

/* Beyond config_load: can the certificate files be used? Adds to *errors; CONFIG when it did. */
NODISCARD enum err daemon_check_files(const struct config *config, struct config_errors *errors);

#endif
