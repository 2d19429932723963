/* docs/man/manual.c - brings the printed parts of the manual pages up to date.
 *
 * A page (NAME.scd, for scdoc) is written by hand but for what stands between a line
 * "; printed: WHAT" and a line "; end": that is made here, WHAT "commands" from the table of
 * cli/commands.c, WHAT "check" from check/options.c, WHAT "settings" from that of
 * daemon/settings.c. So a page can't say less, or other things, than `kith --help` and `kith
 * check-config` do.
 *
 *   manual FILE...           writes the pages anew
 *   manual --check FILE...   exit code 1 if one would change                                    */
#include "check/check.h"
#include "cli/cli.h"
#include "daemon/settings.h"

#include <stdio.h>

#define PAGE_MAX    (256u << 10)
#define COLUMNS_MAX 98

/* ---- text for scdoc ---- */

/* Marks are escaped; what stands between backticks becomes bold. */
static void put_word(struct buf *out, slice word) {
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        if (c == '*' || c == '_' || c == '\\') buf_byte(out, '\\');
        buf_byte(out, c == '`' ? '*' : c);
    }
}

/* A paragraph, each of its lines behind `indent`. No line may begin with what scdoc reads as a
 * list, a table or a heading: such a word stays on the line before. */
static void put_paragraph(struct buf *out, const char *indent, slice text) {
    static const slice special = { "-.#|[];:", 8 };
    size_t column = 0;
    while ((text = slice_trim(text)).len) {
        size_t end = 0;
        while (end < text.len && text.ptr[end] != ' ' && text.ptr[end] != '\n') end++;
        slice word = slice_head(text, end);
        text = slice_from(text, end);
        bool is_special = slice_find(special, word.ptr[0]) < special.len;
        bool is_full = column + word.len > COLUMNS_MAX && !is_special;
        if (column && !is_full) buf_byte(out, ' ');
        if (column == 0 || is_full) {
            buf_fmt(out, "%s%s%s", is_full ? "\n" : "", indent, is_special ? "\\" : "");
            column = 0;
        }
        put_word(out, word);
        column += word.len + 1;
    }
    buf_lit(out, "\n\n");
}

static bool is_in_columns(slice text) { /* its first line */
    slice line = slice_head(text, slice_find(text, '\n'));
    return slice_find_slice(line, SLICE("   ")) < line.len;
}

/* Help of several lines: those in columns stand as they are, the others flow. */
static void put_help(struct buf *out, slice text) {
    while (text.len) {
        slice rest = text, line;
        bool is_table = is_in_columns(text);
        while (rest.len && is_in_columns(rest) == is_table) (void)slice_split(&rest, '\n', &line);
        slice part = slice_trim(slice_head(text, text.len - rest.len));
        if (is_table)
            buf_fmt(out, "```\n" SLICE_FMT "\n```\n\n", SLICE_ARG(part));
        else
            put_paragraph(out, "", part);
        text = rest;
    }
}

/* ---- commands ---- */

static void put_options(struct buf *out, const char *indent, const struct cli_option *o) {
    char deeper[8];
    (void)snprintf(deeper, sizeof deeper, "%s\t", indent);
    for (; o && o->name; o++) {
        buf_fmt(out, "%s*--%s*", indent, o->name);
        if (o->value) buf_fmt(out, " _%s_", o->value);
        buf_fmt(out, "%s\n", o->repeats ? " (may be repeated)" : "");
        put_paragraph(out, deeper, slice_str(o->help));
    }
}

static void put_commands(struct buf *out) {
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *m = &cli_commands[i];
        buf_fmt(out, "## kith %s%s%s\n\n", m->words, m->args[0] ? " " : "", m->args);
        char first[256];
        (void)snprintf(first, sizeof first, "%c%s.", m->summary[0] - ('a' - 'A'), m->summary + 1);
        put_paragraph(out, "", slice_str(first));
        if (m->text) put_help(out, slice_str(m->text));
        put_options(out, "", m->options);
        buf_fmt(out, "```\n%s\n```\n\n", m->example);
    }
    buf_lit(out, "# OPTIONS OF EVERY COMMAND\n\n");
    put_options(out, "", cli_common_options);
}

static void put_check_options(struct buf *out) {
    for (size_t i = 0; i < check_option_count; i++) {
        const struct check_option *c = &check_options[i];
        const struct cli_option one[] = { { c->name, c->value, c->help, false },
                                          { NULL, NULL, NULL, false } };
        put_options(out, "", one);
    }
}

/* ---- settings ---- */

static void put_settings(struct buf *out) {
    const char *section = NULL;
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *s = &settings[i];
        char mem[512];
        struct buf facts = buf_over(mem, sizeof mem);
        if (!section || !slice_eq(slice_str(section), slice_str(s->section))) {
            section = s->section;
            buf_fmt(out, section[0] ? "## [%s]\n\n" : "## Before any section\n\n", section);
        }
        buf_fmt(out, "*%s*\n", s->name);
        setting_put_range(s, &facts);
        buf_fmt(&facts, ". Default: %s. %s", s->fallback[0] ? s->fallback : "none",
                s->reload == RELOAD_LIVE ? "A reload applies it" : "A change needs a restart");
        buf_byte(&facts, '.');
        if (facts.len) mem[0] = (char)(mem[0] >= 'a' && mem[0] <= 'z' ? mem[0] - 32 : mem[0]);
        put_paragraph(out, "\t", buf_slice(&facts));
        put_paragraph(out, "\t", slice_str(s->manual));
    }
}

/* ---- pages ---- */

static bool put_printed(struct buf *out, slice what) {
    if (slice_eq(what, SLICE("commands")))
        put_commands(out);
    else if (slice_eq(what, SLICE("check")))
        put_check_options(out);
    else if (slice_eq(what, SLICE("settings")))
        put_settings(out);
    else
        return false;
    return true;
}

/* The page with its printed parts made anew. False: its marks are not in order. */
static bool renew(slice page, struct buf *out) {
    static const slice begin = { "; printed: ", 11 };
    bool is_printed = false, ok = true;
    for (slice line; ok && slice_split(&page, '\n', &line);) {
        if (slice_eq(line, SLICE("; end"))) {
            ok = is_printed;
            is_printed = false;
        } else if (is_printed) {
            continue;
        }
        if (line.len || page.len) {
            buf_put(out, line);
            buf_byte(out, '\n');
        }
        if (!slice_starts(line, begin)) continue;
        is_printed = true;
        buf_byte(out, '\n');
        ok = put_printed(out, slice_from(line, begin.len));
    }
    return ok && !is_printed && !out->full;
}

static bool do_page(const char *path, bool is_check) {
    static char before[PAGE_MAX], after[PAGE_MAX];
    struct buf out = buf_over(after, sizeof after);
    FILE *f = fopen(path, "rb");
    size_t len = f ? fread(before, 1, sizeof before, f) : 0;
    if (f) (void)fclose(f);
    if (!len || len == sizeof before || !renew(slice_of(before, len), &out)) {
        (void)fprintf(stderr, "%s: cannot be read, or its marks are not in order\n", path);
        return false;
    }
    if (slice_eq(slice_of(before, len), buf_slice(&out))) return true;
    if (is_check) {
        (void)fprintf(stderr, "%s: differs from the tables: run `manual %s`\n", path, path);
        return false;
    }
    f = fopen(path, "wb");
    bool ok = f && fwrite(after, 1, out.len, f) == out.len;
    if (f && fclose(f) != 0) ok = false;
    if (!ok) (void)fprintf(stderr, "%s: cannot be written\n", path);
    return ok;
}

int main(int argc, char **argv) {
    bool is_check = argc > 1 && slice_eq(slice_str(argv[1]), SLICE("--check")), ok = true;
    for (int i = is_check ? 2 : 1; i < argc; i++) ok = do_page(argv[i], is_check) && ok;
    return ok && argc > (is_check ? 2 : 1) ? 0 : 1;
}
