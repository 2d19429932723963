/* cli/metrics.h - `kith status --openmetrics`: the figures of the status as OpenMetrics text.
 *
 * Purpose:  a collector reads files (node_exporter's textfile collector) or the output of commands;
 *           no port is opened for it. The figures are the members of `kith status --json`, and a
 *           metric's name is made from the member's: turn.bytes_up is kith_turn_bytes_up_total. The
 *           one table, in metrics.c, adds what JSON does not say: counter or gauge, and the words.
 * Memory:   none beyond the caller's buf. Threads: any.                                       */
#ifndef CLI_METRICS_H
#define CLI_METRICS_H

#include "base/buf.h"
#include "json/read.h"

#define METRICS_TEXT_MAX 32768u /* about twice of what all rows take with 20 digits each */

/* The whole text, "# EOF" included; a member that is not there (the relay is off) is left out.
 * Overflow is the buf's. */
void metrics_put(struct buf *out, const struct json *status);

#endif
