/* cli/cli.h - the operator's command line: a table of commands, and what they share.
 *
 * A command is one row (commands.c): words, arguments, options, help, an example, a function. Every
 * command has --help, --json (one JSON object a line) and --data DIR; the exit code is 0 when it
 * was done, 1 when it was not, 2 when it was asked for wrongly. Errors go to stderr and say what to
 * do next. Commands act through the admin calls (ask.h), so they work with and without a server. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/buf.h"

#define CLI_ARGS_MAX    8
#define CLI_OPTIONS_MAX 16

enum cli_exit { CLI_DONE = 0, CLI_FAILED = 1, CLI_WRONG = 2 };

struct cli_option {
    const char *name;  /* without the dashes */
    const char *value; /* what its value is called; NULL: it takes none */
    const char *help;
    bool repeats;
};
struct cli;
struct cli_command {
    const char *words; /* "user add" */
    const char *args;  /* "AOR"; for the usage line */
    unsigned args_min, args_max;
    const char *summary; /* one line */
    const char *text;    /* more, for --help; may be NULL */
    const char *example;
    const struct cli_option *options; /* ends with a row whose name is NULL; may be NULL */
    int (*run)(struct cli *c);
};
extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
extern const struct cli_option cli_common_options[]; /* that every command has */

struct cli { /* one command line, taken apart */
    const struct cli_command *command;
    const char *args[CLI_ARGS_MAX];
    unsigned arg_count;
    struct {
        const char *name, *value;
    } given[CLI_OPTIONS_MAX];
    unsigned given_count;
    bool json;
    const char *data;    /* --data, else $KITH_DATA, else ./kith-data */
    const char *program; /* argv[0] */
};

/* Runs what argv says; gives the exit code. */
int cli_main(int argc, char **argv);

bool cli_has(const struct cli *c, const char *option);
const char *cli_value(const struct cli *c, const char *option); /* NULL: not given */
/* The option's value as seconds, `normal` when it is not given. CLI_WRONG, and told: it is no time
 * of at most so many seconds, whole days. */
NODISCARD int cli_seconds(const struct cli *c, const char *option, uint32_t normal, uint32_t most,
                          uint64_t *out);
/* `words` as a command that can be typed here: this program as it was started, and --data if it was
 * given. For hints. */
#define CLI_LINE_MAX 4096
const char *cli_line(const struct cli *c, const char *words, char mem[static CLI_LINE_MAX]);
/* The head of a list, before its first row (`is_shown`: was it?), for a person at a terminal: a
 * script gets the rows alone. */
void cli_list_head(bool *is_shown, const char *line);
/* "kith: ..." on stderr, or {"error":...} on stdout with --json; gives CLI_FAILED. */
PRINTF_LIKE(2, 3) int cli_fail(const struct cli *c, const char *fmt, ...);
/* The same for a wrong command line, with a pointer to --help; gives CLI_WRONG. */
PRINTF_LIKE(2, 3) int cli_wrong(const struct cli *c, const char *fmt, ...);

/* The functions of the table. */
int cli_serve(struct cli *c);
int cli_check_config(struct cli *c);
int cli_user_add(struct cli *c);
int cli_user_import(struct cli *c);
int cli_user_list(struct cli *c);
int cli_user_password(struct cli *c);
int cli_user_switch(struct cli *c); /* disable, enable, remove */
int cli_user_set(struct cli *c);
int cli_user_show(struct cli *c);
int cli_doctor(struct cli *c);
int cli_turn_credential(struct cli *c);
int cli_turn_list(struct cli *c);
int cli_invite(struct cli *c);
int cli_click_add(struct cli *c);
int cli_click_list(struct cli *c);
int cli_click_remove(struct cli *c);
int cli_user_legacy(struct cli *c);
int cli_device_certificate(struct cli *c);
int cli_device_list(struct cli *c);
int cli_device_revoke(struct cli *c);
int cli_status(struct cli *c);
int cli_bindings(struct cli *c);
int cli_trace(struct cli *c);
int cli_trust(struct cli *c);
int cli_version(struct cli *c);
int cli_help(struct cli *c);

#endif
