/* daemon/shell.h - words for a person's shell. */
#ifndef DAEMON_SHELL_H
#define DAEMON_SHELL_H

#include "base/buf.h"

/* A word as a shell takes it: in single quotes when it has what a shell would change (POSIX.1-2017,
 * Shell Command Language, 2.2.2). */
void shell_put_word(struct buf *out, slice word);

#endif
