/* os/sandbox.h - what the process gives up once its sockets and files are open.
 *
 * First step: nothing it starts can gain rights (no set-user-id programs), no other process of the
 * same user can read its memory or trace it, and a crash leaves no core file with keys in it.
 * System call and file filters are the service manager's for now (docs: the unit file).
 * Threads: before the first one starts. There is no way back. */
#ifndef OS_SANDBOX_H
#define OS_SANDBOX_H

#include "base/err.h"

/* DENIED: the kernel refused one of them; what was done before it stands. */
NODISCARD enum err sandbox_enter(void);

#endif
