/* daemon/admin.h - admin calls: what operators may ask, as a table.
 *
 * A request is one line of JSON, {"cmd":"user.add","aor":"alice@example.org","generate":true}. The
 * answer is any number of rows, {"row":{...}}, and one last line: {"ok":true,...} or
 * {"error":"...","hint":"..."}. The command line uses these calls over DATA/admin.sock when a
 * server runs, and in its own process when none does.
 *
 * A new call is a function and a row in admin.c.                                             */
#ifndef DAEMON_ADMIN_H
#define DAEMON_ADMIN_H

#include "auth/aor.h"
#include "auth/password.h"
#include "daemon/world.h"
#include "json/read.h"
#include "json/write.h"

#define ADMIN_REQUEST_MAX                                                                          \
    (512u << 10) /* a block of an import: 2,048 people, or fewer with long names */
#define ADMIN_LINE_MAX (64u << 10)  /* a row or an answer; a certificate with key has 2 kB */
#define ADMIN_ROWS_MAX (256u << 20) /* one list: a million people */

/* false: nobody listens any more. `line` ends in a newline. */
typedef bool admin_sink_fn(void *ctx, slice line);

struct admin_call {
    struct world *world;
    const struct json *args;
    struct json_writer answer; /* members of the last line */
    admin_sink_fn *sink;
    void *sink_ctx;
    struct buf out; /* the answer's bytes */
    char *rows;     /* spooled, because a visitor may not block */
    size_t rows_len, rows_cap;
    bool rows_full;
    char why[512], hint[256];
    char mem[ADMIN_LINE_MAX];
};

/* Runs one request and gives the sink its lines. Any thread; blocks until done. */
void admin_run(struct world *w, slice request, admin_sink_fn *sink, void *sink_ctx);

/* For the calls themselves. */
wall_t admin_now(void);
slice admin_text(const struct admin_call *c, const char *name);
bool admin_flag(const struct admin_call *c, const char *name);
/* Words of the error; the result is passed on. */
PRINTF_LIKE(3, 4)
enum err admin_fail(struct admin_call *c, enum err e, const char *fmt, ...);
PRINTF_LIKE(2, 3)
void admin_hint(struct admin_call *c, const char *fmt, ...);
/* One row: a writer inside {"row":{ ... }}, put into the spool by admin_row_end. */
struct admin_row {
    struct buf buf;
    struct json_writer w;
    char mem[8192];
};
struct json_writer *admin_row_begin(struct admin_row *r);
bool admin_row_end(struct admin_call *c, struct admin_row *r); /* false: the list is full */

/* people.c */
enum err call_user_add(struct admin_call *c);
enum err call_user_import(struct admin_call *c);
enum err call_user_list(struct admin_call *c);
enum err call_user_disable(struct admin_call *c);
enum err call_user_enable(struct admin_call *c);
enum err call_user_remove(struct admin_call *c);
enum err call_user_password(struct admin_call *c);
/* user_settings.c */
enum err call_user_set(struct admin_call *c);
enum err call_user_show(struct admin_call *c);
/* devices.c */
enum err call_user_legacy(struct admin_call *c);
enum err call_device_certificate(struct admin_call *c);
enum err call_device_list(struct admin_call *c);
enum err call_device_revoke(struct admin_call *c);
enum err call_invite(struct admin_call *c);
const char *device_kind_name(unsigned kind); /* enum device_kind, for people */
/* turn_credential.c */
#define TURN_CREDENTIAL_MAX_S (30 * 86400)
enum err call_turn_credential(struct admin_call *c);
/* turn_list.c */
enum err call_turn_list(struct admin_call *c);
/* live.c */
enum err call_status(struct admin_call *c);
enum err call_bindings(struct admin_call *c);
enum err call_trace(struct admin_call *c);

/* Shared by people.c, devices.c and the demo. */
/* Reads user@domain, sip:user@domain, or a user of the first domain. */
NODISCARD enum err admin_aor(struct admin_call *c, slice text, struct aor *out);
/* A new secret for a person; wipe it. */
slice admin_make_secret(char out[static PASSWORD_MADE_CHARS]);
/* The account that the member "aor" names, its whole row copied (mem_free). */
NODISCARD enum err admin_account(struct admin_call *c, struct store_change **out);
/* Commits a changed row, then lets it count and tells the server. */
NODISCARD enum err admin_put_account(struct admin_call *c, struct store_change *put);
/* Members that say who this is: aor, display, aliases, disabled, created, changed. */
void admin_put_person(struct json_writer *w, const struct account_row *row);
NODISCARD enum err admin_commit(struct admin_call *c, const struct store_change *changes,
                                size_t count);

#endif
