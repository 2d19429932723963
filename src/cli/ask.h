/* cli/ask.h - one way to ask an admin call: of the running server, or of the store itself.
 *
 * ask_open connects to DATA/admin.sock; when nobody listens it takes the directory's lock and runs
 * the calls in this process. The command sees no difference.                                */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include "cli/cli.h"
#include "json/read.h"
#include "json/write.h"

struct ask; /* opaque */

/* `create`: the data directory may be made (a first `user add`). What goes wrong is told to the
 * person; *out is NULL then. */
NODISCARD int ask_open(const struct cli *c, bool create, struct ask **out);
void ask_close(struct ask *a);

/* A request to fill: {"cmd":NAME ... ; ask_send ends it. */
struct json_writer *ask_begin(struct ask *a, const char *name);
size_t ask_room(const struct ask *a); /* bytes that still fit into the request */

/* A row of the answer: parsed, and as it came. false: enough. */
typedef bool ask_row_fn(void *ctx, const struct json *row, slice raw);
/* Sends the request and hears the whole answer. With --json rows are printed as they come, and
 * on_row is not called; *out is the last line's document until the next request. An error has been
 * told to the person: CLI_FAILED. on_row may be NULL. */
NODISCARD int ask_send(struct ask *a, ask_row_fn *on_row, void *ctx, const struct json **out);
/* With --json: print the last line's document. */
void ask_print_answer(struct ask *a);
/* The call NAME for AOR args[0] with the seconds of --for (a day if not given, at most `most`),
 * and its answer; with --json that has been printed. *a is to be closed, whatever comes. */
NODISCARD int ask_for_a_while(struct cli *c, const char *name, uint32_t most, struct ask **a,
                              const struct json **out);
bool ask_is_live(const struct ask *a); /* a server answers */

#endif
