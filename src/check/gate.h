/* check/gate.h - the two ways between a PBX in static mode (--static) and its trunk.
 *
 * Such a PBX does not register. The trunk has been told where it listens, and each side knows the
 * other by its certificate: the PBX calls over a connection of its own, the trunk over one that it
 * opens to the PBX, or over that of the PBX if it likes (RFC 5923). Both are read as one here.
 *
 * Lifetime: gate_open to gate_close; connections stay from test to test, as a PBX's do. What the
 * trunk closed is freed when the next test enters: a message may still be answered until then.
 * Threads: those tests lease the PBX's only account, so one of them runs at a time. Memory: the
 * heap. */
#ifndef CHECK_GATE_H
#define CHECK_GATE_H

#include "check/run.h"

struct link;
struct gate;

/* Listens at `at`, which is written as `place`: over TLS if the run has a certificate, else over
 * TCP. false and why. */
bool gate_open(struct run *run, const char *place, const struct addr *at, char *why,
               size_t why_len);
void gate_close(struct run *run);
/* A test begins: our connection to the trunk, perhaps with fd < 0 and why. NULL: memory is short.
 */
struct link *gate_enter(struct run *run);
/* The connection that brings the next whole message (link_drop() its *size bytes); NULL: none until
 * then. */
struct link *gate_message(struct run *run, int64_t until, size_t *size);
const char *gate_place(const struct run *run); /* "host:port" */

#endif
