/* cli/cmd_user.c - kith user ... */
#include "cli/ask.h"
#include "crypto/crypto.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define IMPORT_BLOCK    2048
#define IMPORT_LINE_MAX 1024

/* The secret's source as members of the request; the first line of stdin when asked for. */
static int put_secret(struct cli *c, struct json_writer *w) {
    bool from_stdin = cli_has(c, "password-stdin");
    if (from_stdin && cli_has(c, "generate"))
        return cli_wrong(c, "--generate or --password-stdin, not both");
    if (!from_stdin) {
        json_put_bool(w, "generate", true);
        return CLI_DONE;
    }
    char line[512];
    if (!fgets(line, sizeof line, stdin)) return cli_fail(c, "no password came on stdin");
    slice password = slice_str(line);
    while (password.len &&
           (password.ptr[password.len - 1] == '\n' || password.ptr[password.len - 1] == '\r'))
        password.len--;
    json_put_text(w, "password", password);
    crypto_wipe(line, sizeof line);
    return CLI_DONE;
}

/* Shows what the answer says of a secret that was made. */
static void show_secret(const struct json *answer) {
    slice secret = json_text(json_member(answer, "secret"));
    if (secret.len)
        (void)printf("  secret  " SLICE_FMT "   (shown only now: type it into the phone)\n",
                     SLICE_ARG(secret));
}

/* Domains that no server has served from this directory yet. */
struct unserved {
    unsigned count;
    char names[16][256];
};

static void unserved_take(struct unserved *u, const struct json *answer) {
    const struct json *list = json_member(answer, "not_served_yet");
    for (size_t i = 0; i < json_count(list) && u->count < ARRAY_LEN(u->names); i++) {
        slice name = json_text(json_item(list, i));
        bool is_known = false;
        for (unsigned k = 0; k < u->count; k++)
            is_known = is_known || slice_eq(name, slice_str(u->names[k]));
        if (!is_known && slice_cstr(name, u->names[u->count], sizeof u->names[0])) u->count++;
    }
}

static void unserved_tell(const struct unserved *u) {
    for (unsigned i = 0; i < u->count; i++)
        (void)fprintf(stderr,
                      "kith: no configuration names %s yet; `kith serve` must be started with a "
                      "--config file that says domain = %s\n",
                      u->names[i], u->names[i]);
}

int cli_user_add(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, true, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "user.add");
    json_put_str(w, "aor", c->args[0]);
    if (cli_value(c, "display")) json_put_str(w, "display", cli_value(c, "display"));
    json_begin_array(w, "aliases");
    for (unsigned i = 0; i < c->given_count; i++)
        if (slice_eq(slice_str(c->given[i].name), SLICE("alias")))
            json_put_str(w, NULL, c->given[i].value);
    json_end(w);
    code = put_secret(c, w);
    if (code == CLI_DONE) code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json) {
        ask_print_answer(a);
    } else if (code == CLI_DONE) {
        slice aor = json_text(json_member(answer, "aor"));
        (void)printf(SLICE_FMT " is added.\n", SLICE_ARG(aor));
        show_secret(answer);
        if (json_text(json_member(answer, "secret")).len) {
            char line[CLI_LINE_MAX], words[512];
            (void)snprintf(words, sizeof words, "device certificate " SLICE_FMT, SLICE_ARG(aor));
            (void)printf("Better than a secret, where the phone can:\n  %s\n",
                         cli_line(c, words, line));
        }
        struct unserved u = { 0 };
        unserved_take(&u, answer);
        unserved_tell(&u);
    }
    ask_close(a);
    return code;
}

int cli_user_password(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "user.password");
    json_put_str(w, "aor", c->args[0]);
    code = put_secret(c, w);
    if (code == CLI_DONE) code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json) {
        ask_print_answer(a);
    } else if (code == CLI_DONE) {
        (void)printf("%s has a new secret.\n", c->args[0]);
        show_secret(answer);
    }
    ask_close(a);
    return code;
}

/* ---- import ------------------------------------------------------------------------------- */

struct import {
    struct cli *c;
    struct ask *a;
    FILE *file;
    uint64_t line, added, refused;
    long size; /* of the file; 0: unknown */
    struct json_writer *w;
    unsigned in_block;
    bool shows_progress;
    struct unserved unserved;
};

static bool show_refused(void *ctx, const struct json *row, slice raw) {
    (void)raw;
    struct import *im = ctx;
    uint64_t line = 0;
    if (json_u64(json_member(row, "line"), UINT64_MAX >> 1, &line) != ERR_OK) return true;
    if (im->shows_progress) (void)fprintf(stderr, "\r\033[K");
    (void)fprintf(stderr, "line %llu: " SLICE_FMT " is refused: " SLICE_FMT "\n",
                  (unsigned long long)line, SLICE_ARG(json_text(json_member(row, "aor"))),
                  SLICE_ARG(json_text(json_member(row, "refused"))));
    return true;
}

static void refuse_here(struct import *im, const char *why) {
    im->refused++;
    if (!im->c->json) {
        (void)fprintf(stderr, "%sline %llu: %s\n", im->shows_progress ? "\r\033[K" : "",
                      (unsigned long long)im->line, why);
        return;
    }
    (void)printf("{\"line\":%llu,\"refused\":\"%s\"}\n", (unsigned long long)im->line, why);
}

static int send_block(struct import *im) {
    if (!im->in_block) return CLI_DONE;
    const struct json *answer;
    json_end(im->w);
    int code = ask_send(im->a, show_refused, im, &answer);
    uint64_t n = 0;
    if (code == CLI_DONE && json_u64(json_member(answer, "added"), UINT32_MAX, &n) == ERR_OK)
        im->added += n;
    if (code == CLI_DONE && json_u64(json_member(answer, "refused"), UINT32_MAX, &n) == ERR_OK)
        im->refused += n;
    if (code == CLI_DONE) unserved_take(&im->unserved, answer);
    im->in_block = 0;
    if (im->shows_progress) {
        long at = ftell(im->file);
        (void)fprintf(stderr, "\r\033[K%llu added", (unsigned long long)im->added);
        if (im->size > 0 && at > 0) (void)fprintf(stderr, ", %ld %%", at * 100 / im->size);
        (void)fflush(stderr);
    }
    return code;
}

static int take_line(struct import *im, slice line) {
    line = slice_trim(line);
    if (line.len == 0 || line.ptr[0] == '#') return CLI_DONE;
    size_t comma = slice_find(line, ',');
    if (comma == line.len) {
        refuse_here(im, "expected `aor,password`");
        return CLI_DONE;
    }
    if (!im->in_block) {
        im->w = ask_begin(im->a, "user.import");
        json_begin_array(im->w, "users");
    }
    json_begin_object(im->w, NULL);
    json_put_u64(im->w, "line", im->line);
    json_put_text(im->w, "aor", slice_trim(slice_head(line, comma)));
    json_put_text(im->w, "password", slice_from(line, comma + 1));
    json_end(im->w);
    bool is_full = ++im->in_block == IMPORT_BLOCK || ask_room(im->a) < 4 * IMPORT_LINE_MAX;
    return is_full ? send_block(im) : CLI_DONE;
}

static int import_all(struct import *im) {
    char line[IMPORT_LINE_MAX + 2];
    int code = CLI_DONE;
    while (code == CLI_DONE && fgets(line, sizeof line, im->file)) {
        slice text = slice_str(line);
        im->line++;
        bool whole = text.len && text.ptr[text.len - 1] == '\n';
        if (!whole && !feof(im->file)) {
            refuse_here(im, "the line is longer than 1024 bytes");
            for (int ch = 0; ch != '\n' && ch != EOF;) ch = fgetc(im->file);
            continue;
        }
        code = take_line(im, text);
    }
    crypto_wipe(line, sizeof line);
    if (code == CLI_DONE) code = send_block(im);
    if (code == CLI_DONE && ferror(im->file))
        code = cli_fail(im->c, "%s cannot be read: %s", im->c->args[0], strerror(errno));
    return code;
}

int cli_user_import(struct cli *c) {
    bool from_stdin = slice_eq(slice_str(c->args[0]), SLICE("-"));
    struct import im = { .c = c, .shows_progress = !c->json && isatty(STDERR_FILENO) };
    im.file = from_stdin ? stdin : fopen(c->args[0], "re");
    if (!im.file) return cli_fail(c, "%s cannot be opened: %s", c->args[0], strerror(errno));
    if (!from_stdin && fseek(im.file, 0, SEEK_END) == 0) {
        im.size = ftell(im.file);
        rewind(im.file);
    }
    int code = ask_open(c, true, &im.a);
    if (code == CLI_DONE) code = import_all(&im);
    ask_close(im.a);
    if (!from_stdin) (void)fclose(im.file);
    if (im.shows_progress) (void)fprintf(stderr, "\r\033[K");
    unserved_tell(&im.unserved);
    if (c->json)
        (void)printf("{\"added\":%llu,\"refused\":%llu}\n", (unsigned long long)im.added,
                     (unsigned long long)im.refused);
    else
        (void)printf("%llu added, %llu refused.\n", (unsigned long long)im.added,
                     (unsigned long long)im.refused);
    return code == CLI_DONE && im.refused ? CLI_FAILED : code;
}

/* ---- list, disable, enable, remove, legacy ------------------------------------------------ */

static bool show_user(void *ctx, const struct json *row, slice raw) {
    (void)raw;
    cli_list_head(ctx, "ADDRESS                                  STATE     NUMBERS  NAME");
    const struct json *aliases = json_member(row, "aliases");
    (void)printf("%-40.*s %-9s", SLICE_ARG(json_text(json_member(row, "aor"))),
                 json_bool(json_member(row, "disabled")) ? "disabled" : "");
    for (size_t i = 0; i < json_count(aliases); i++)
        (void)printf("%s" SLICE_FMT, i ? "," : " ", SLICE_ARG(json_text(json_item(aliases, i))));
    slice display = json_text(json_member(row, "display"));
    (void)printf("%s" SLICE_FMT "\n", display.len ? "  " : "", SLICE_ARG(display));
    return true;
}

int cli_user_list(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    (void)ask_begin(a, "user.list");
    bool has_head = false;
    code = ask_send(a, show_user, &has_head, &answer);
    uint64_t count = 0;
    char line[CLI_LINE_MAX];
    if (code == CLI_DONE && !c->json &&
        json_u64(json_member(answer, "count"), UINT32_MAX, &count) == ERR_OK && count == 0)
        (void)printf("Nobody yet. `%s` adds the first.\n",
                     cli_line(c, "user add alice@example.org", line));
    ask_close(a);
    return code;
}

static bool person_agrees(struct cli *c) {
    if (cli_has(c, "yes") || c->json || !isatty(STDIN_FILENO)) return true;
    (void)printf("Remove %s with all devices? [y/N] ", c->args[0]);
    (void)fflush(stdout);
    char line[16];
    return fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
}

int cli_user_switch(struct cli *c) {
    slice verb = slice_from(slice_str(c->command->words), sizeof "user " - 1);
    bool removes = slice_eq(verb, SLICE("remove"));
    if (removes && !person_agrees(c)) return cli_fail(c, "nothing was removed");
    char call[32], done[16];
    (void)snprintf(call, sizeof call, "user." SLICE_FMT, SLICE_ARG(verb));
    (void)snprintf(done, sizeof done, SLICE_FMT "d", SLICE_ARG(verb));
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    json_put_str(ask_begin(a, call), "aor", c->args[0]);
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json) {
        ask_print_answer(a);
    } else if (code == CLI_DONE) {
        bool was_so = !removes && !json_bool(json_member(answer, "changed"));
        (void)printf("%s %s %s.\n", c->args[0], was_so ? "was already" : "is", done);
    }
    ask_close(a);
    return code;
}

int cli_user_legacy(struct cli *c) {
    static const char *const needed[] = { "device", "until", "why" };
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (!cli_value(c, needed[i])) return cli_wrong(c, "--%s is missing", needed[i]);
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "user.legacy");
    json_put_str(w, "aor", c->args[0]);
    json_put_str(w, "name", cli_value(c, "device"));
    json_put_str(w, "until", cli_value(c, "until"));
    json_put_str(w, "why", cli_value(c, "why"));
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json) {
        ask_print_answer(a);
    } else if (code == CLI_DONE) {
        (void)printf("The device \"%s\" of %s may use the legacy lane through %s.\n",
                     cli_value(c, "device"), c->args[0], cli_value(c, "until"));
        show_secret(answer);
        (void)printf("It works only on the listeners of [legacy] in kith.conf.\n");
    }
    ask_close(a);
    return code;
}
