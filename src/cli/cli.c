/* cli/cli.c - taking a command line apart, help, errors. */
#include "cli/cli.h"

#include "base/mem.h"
#include "base/units.h"
#include "crypto/crypto.h"
#include "daemon/shell.h"
#include "daemon/suggest.h"
#include "json/read.h"
#include "json/write.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct cli_option cli_common_options[] = {
    { "data", "DIR", "data directory (default: $KITH_DATA, else ./kith-data)", false },
    { "json", NULL, "for machines: one JSON object a line", false },
    { "help", NULL, "this text", false },
    { NULL, NULL, NULL, false },
};

PRINTF_LIKE(3, 0)
static const char *vformat(char *mem, size_t cap, const char *fmt, va_list args) {
    (void)vsnprintf(mem, cap, fmt, args);
    return mem;
}

static void say(const struct cli *c, const char *text) {
    if (!c->json) {
        (void)fprintf(stderr, "kith: %s\n", text);
        return;
    }
    char mem[4096];
    struct buf b = buf_over(mem, sizeof mem);
    struct json_writer w = json_over(&b);
    json_begin_object(&w, NULL);
    json_put_str(&w, "error", text);
    json_end(&w);
    (void)printf(SLICE_FMT "\n", SLICE_ARG(buf_slice(&b)));
}

int cli_fail(const struct cli *c, const char *fmt, ...) {
    char mem[2048];
    va_list args;
    va_start(args, fmt);
    say(c, vformat(mem, sizeof mem, fmt, args));
    va_end(args);
    return CLI_FAILED;
}

int cli_wrong(const struct cli *c, const char *fmt, ...) {
    char mem[2048];
    va_list args;
    va_start(args, fmt);
    say(c, vformat(mem, sizeof mem, fmt, args));
    va_end(args);
    if (!c->json)
        (void)fprintf(stderr, "      `kith%s%s --help` shows how.\n", c->command ? " " : "",
                      c->command ? c->command->words : "");
    return CLI_WRONG;
}

int cli_seconds(const struct cli *c, const char *option, uint32_t normal, uint32_t most,
                uint64_t *out) {
    const char *wish = cli_value(c, option);
    int64_t ms = INT64_C(1000) * normal;
    if (wish && duration_read(slice_str(wish), INT64_C(1000) * most, &ms) != ERR_OK)
        return cli_wrong(c, "\"%s\" is not a time such as 12h or 7d, up to %ud", wish,
                         most / 86400);
    *out = (uint64_t)ms / 1000;
    return CLI_DONE;
}

bool cli_has(const struct cli *c, const char *option) {
    for (unsigned i = 0; i < c->given_count; i++)
        if (slice_eq(slice_str(c->given[i].name), slice_str(option))) return true;
    return false;
}

const char *cli_value(const struct cli *c, const char *option) {
    for (unsigned i = 0; i < c->given_count; i++)
        if (slice_eq(slice_str(c->given[i].name), slice_str(option))) return c->given[i].value;
    return NULL;
}

const char *cli_line(const struct cli *c, const char *words, char mem[static CLI_LINE_MAX]) {
    struct buf b = buf_over(mem, CLI_LINE_MAX - 1);
    slice program = slice_str(c->program);
    shell_put_word(&b, slice_find(program, '/') < program.len ? program : SLICE("kith"));
    buf_fmt(&b, " %s", words);
    if (cli_value(c, "data")) {
        buf_lit(&b, " --data ");
        shell_put_word(&b, slice_str(c->data));
    }
    mem[b.len] = 0;
    return mem;
}

void cli_list_head(bool *is_shown, const char *line) {
    if (!*is_shown && isatty(STDOUT_FILENO)) (void)printf("%s\n", line);
    *is_shown = true;
}

/* ---- help --------------------------------------------------------------------------------- */

static void put_options(const struct cli_option *o) {
    for (; o && o->name; o++) {
        char left[64];
        (void)snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "",
                       o->value ? o->value : "");
        (void)printf("  %-22s %s%s\n", left, o->help, o->repeats ? " (may be repeated)" : "");
    }
}

static void help_command(const struct cli_command *m) {
    (void)printf("kith %s%s%s - %s\n\n", m->words, m->args[0] ? " " : "", m->args, m->summary);
    if (m->text) (void)printf("%s\n\n", m->text);
    (void)printf("Options:\n");
    put_options(m->options);
    put_options(cli_common_options);
    (void)printf("\nExample:\n  %s\n", m->example);
}

static void help_all(slice group) {
    if (!group.len)
        (void)printf(
            "kith - calls that are secure by default\n\nUsage: kith COMMAND [options]\n\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *m = &cli_commands[i];
        slice words = slice_str(m->words);
        if (group.len && !slice_eq(slice_head(words, slice_find(words, ' ')), group)) continue;
        char left[64];
        (void)snprintf(left, sizeof left, "%s%s%s", m->words, m->args[0] ? " " : "", m->args);
        (void)printf("  %-28s %s\n", left, m->summary);
    }
    if (!group.len)
        (void)printf("  %-28s %s\n", "check ROLE TARGET",
                     "test any SIP product against the profile (kith check --help)");
    (void)printf(
        "\n`kith COMMAND --help` tells more, with an example. To begin: kith serve --demo\n");
}

/* ---- finding the command ------------------------------------------------------------------ */

/* How many words of argv the command's name takes; 0: it is another. */
static int words_match(const struct cli_command *m, int argc, char **argv) {
    slice rest = slice_str(m->words);
    int n = 0;
    for (slice word; slice_split(&rest, ' ', &word); n++)
        if (n >= argc || !slice_eq(word, slice_str(argv[n]))) return 0;
    return n;
}

static const struct cli_command *find(int argc, char **argv, int *out_words) {
    for (size_t i = 0; i < cli_command_count; i++) {
        int n = words_match(&cli_commands[i], argc, argv);
        if (n == 0) continue;
        *out_words = n;
        return &cli_commands[i];
    }
    return NULL;
}

static bool is_group(slice word) {
    for (size_t i = 0; i < cli_command_count; i++) {
        slice words = slice_str(cli_commands[i].words);
        size_t len = slice_find(words, ' ');
        if (len < words.len && slice_eq(slice_head(words, len), word)) return true;
    }
    return false;
}

static int unknown(const struct cli *c, int argc, char **argv) {
    char typed[128];
    struct buf b = buf_over(typed, sizeof typed);
    slice first = slice_head(slice_str(argv[0]), 60);
    buf_put(&b, first);
    bool group = is_group(first);
    if (group && argc > 1) {
        buf_byte(&b, ' ');
        buf_put(&b, slice_head(slice_str(argv[1]), 60));
    } else if (group) {
        help_all(first);
        return CLI_WRONG;
    }
    struct suggest near = suggest_for(buf_slice(&b));
    for (size_t i = 0; i < cli_command_count; i++) {
        slice words = slice_str(cli_commands[i].words);
        suggest_offer(&near, group ? words : slice_head(words, slice_find(words, ' ')));
    }
    if (near.best.len)
        return cli_wrong(c,
                         "there is no command \"" SLICE_FMT "\"; did you mean \"" SLICE_FMT "\"?",
                         SLICE_ARG(buf_slice(&b)), SLICE_ARG(near.best));
    return cli_wrong(c, "there is no command \"" SLICE_FMT "\"", SLICE_ARG(buf_slice(&b)));
}

/* ---- taking it apart ---------------------------------------------------------------------- */

static const struct cli_option *find_option(const struct cli_option *o, slice name,
                                            struct suggest *near) {
    for (; o && o->name; o++) {
        if (slice_eq(slice_str(o->name), name)) return o;
        suggest_offer(near, slice_str(o->name));
    }
    return NULL;
}

static int take_option(struct cli *c, int argc, char **argv, int *at) {
    slice text = slice_from(slice_str(argv[*at]), 2);
    size_t eq = slice_find(text, '=');
    slice name = slice_head(text, eq);
    const char *value = eq < text.len ? text.ptr + eq + 1 : NULL;
    struct suggest near = suggest_for(name);
    const struct cli_option *o = find_option(c->command->options, name, &near);
    if (!o) o = find_option(cli_common_options, name, &near);
    if (!o && near.best.len)
        return cli_wrong(c, "there is no option --" SLICE_FMT "; did you mean --" SLICE_FMT "?",
                         SLICE_ARG(name), SLICE_ARG(near.best));
    if (!o) return cli_wrong(c, "there is no option --" SLICE_FMT, SLICE_ARG(name));
    if (!o->value && value) return cli_wrong(c, "--%s takes no value", o->name);
    if (o->value && !value) {
        if (*at + 1 >= argc)
            return cli_wrong(c, "--%s needs a value: --%s %s", o->name, o->name, o->value);
        value = argv[++*at];
    }
    if (!o->repeats && cli_has(c, o->name)) return cli_wrong(c, "--%s is given twice", o->name);
    if (c->given_count == CLI_OPTIONS_MAX) return cli_wrong(c, "too many options");
    c->given[c->given_count].name = o->name;
    c->given[c->given_count++].value = value;
    return CLI_DONE;
}

static int take_apart(struct cli *c, int argc, char **argv) {
    bool options = true;
    for (int i = 0; i < argc; i++) {
        slice text = slice_str(argv[i]);
        if (options && slice_eq(text, SLICE("--"))) {
            options = false;
        } else if (options && slice_eq(text, SLICE("-h"))) {
            c->given[c->given_count++].name = "help";
        } else if (options && slice_starts(text, SLICE("--"))) {
            int code = take_option(c, argc, argv, &i);
            if (code != CLI_DONE) return code;
        } else if (options && text.len > 1 && text.ptr[0] == '-') {
            return cli_wrong(c, "there is no option %s; long ones begin with two dashes", argv[i]);
        } else if (c->arg_count == c->command->args_max) {
            return cli_wrong(c, "\"%s\" is one word too many", argv[i]);
        } else {
            c->args[c->arg_count++] = argv[i];
        }
        if (c->given_count == CLI_OPTIONS_MAX) return cli_wrong(c, "too many options");
    }
    return CLI_DONE;
}

static const char *data_directory(const struct cli *c) {
    const char *given = cli_value(c, "data");
    if (given) return given;
    const char *env = getenv("KITH_DATA");
    return env && env[0] ? env : "./kith-data";
}

static bool wants_json(int argc, char **argv) {
    for (int i = 0; i < argc; i++)
        if (slice_eq(slice_str(argv[i]), SLICE("--json"))) return true;
    return false;
}

int cli_main(int argc, char **argv) {
    struct cli c = { .json = wants_json(argc, argv), .program = argc ? argv[0] : "kith" };
    json_init();
    if (crypto_init() != ERR_OK) return cli_fail(&c, "the cryptographic libraries do not start");
    if (argc < 2) {
        help_all(SLICE_NONE);
        return CLI_WRONG;
    }
    slice first = slice_str(argv[1]);
    if (slice_eq(first, SLICE("--help")) || slice_eq(first, SLICE("-h"))) first = SLICE("help");
    if (slice_eq(first, SLICE("--version"))) return cli_version(&c);
    argc--;
    argv++;
    if (slice_eq(first, SLICE("help"))) {
        argc--;
        argv++;
        int n = 0;
        const struct cli_command *m = argc ? find(argc, argv, &n) : NULL;
        if (m)
            help_command(m);
        else
            help_all(argc && is_group(slice_str(argv[0])) ? slice_str(argv[0]) : SLICE_NONE);
        return argc && !m && !is_group(slice_str(argv[0])) ? unknown(&c, argc, argv) : CLI_DONE;
    }
    int words = 0;
    c.command = find(argc, argv, &words);
    if (!c.command && argc == 2 && is_group(first) &&
        slice_eq(slice_str(argv[1]), SLICE("--help"))) {
        help_all(first);
        return CLI_DONE;
    }
    if (!c.command) return unknown(&c, argc, argv);
    int code = take_apart(&c, argc - words, argv + words);
    if (code != CLI_DONE) return code;
    if (cli_has(&c, "help")) {
        help_command(c.command);
        return CLI_DONE;
    }
    if (c.arg_count < c.command->args_min)
        return cli_wrong(&c, "something is missing: kith %s %s", c.command->words, c.command->args);
    c.data = data_directory(&c);
    return c.command->run(&c);
}
