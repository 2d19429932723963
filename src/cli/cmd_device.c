/* cli/cmd_device.c - kith device ... */
#include "base/mem.h"
#include "cli/ask.h"
#include "daemon/datadir.h"
#include <stdio.h>
#include <unistd.h>

static int write_pem(struct cli *c, const struct json *answer, const char *path) {
    char mem[512];
    struct buf why = buf_over(mem, sizeof mem);
    if (file_write(path, json_text(json_member(answer, "pem")), &why) == ERR_OK) return CLI_DONE;
    return cli_fail(c, SLICE_FMT "; the certificate made is of no use now: `kith device revoke`",
                    SLICE_ARG(buf_slice(&why)));
}

static void print_json(uint64_t device, const char *file) {
    char mem[1024];
    struct buf b = buf_over(mem, sizeof mem);
    struct json_writer w = json_over(&b);
    json_begin_object(&w, NULL);
    json_put_bool(&w, "ok", true);
    json_put_u64(&w, "device", device);
    json_put_str(&w, "file", file);
    json_end(&w);
    (void)printf(SLICE_FMT "\n", SLICE_ARG(buf_slice(&b)));
}

int cli_device_certificate(struct cli *c) {
    char made[512];
    const char *out = cli_value(c, "out");
    (void)snprintf(made, sizeof made, "%s.pem", c->args[0]);
    if (!out) out = made;
    if (!cli_value(c, "out") && slice_find(slice_str(made), '/') < slice_str(made).len)
        return cli_wrong(c, "name the file with --out");
    if (access(out, F_OK) == 0)
        return cli_fail(c, "%s is there already; name another file with --out", out);
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "device.certificate");
    json_put_str(w, "aor", c->args[0]);
    if (cli_value(c, "name")) json_put_str(w, "name", cli_value(c, "name"));
    code = ask_send(a, NULL, NULL, &answer);
    uint64_t device = 0;
    if (code == CLI_DONE && json_u64(json_member(answer, "device"), UINT32_MAX, &device) != ERR_OK)
        code = cli_fail(c, "the answer names no device");
    if (code == CLI_DONE) code = write_pem(c, answer, out);
    if (code == CLI_DONE && c->json) {
        print_json(device, out);
    } else if (code == CLI_DONE) {
        char line[CLI_LINE_MAX], words[64];
        (void)snprintf(words, sizeof words, "device revoke %llu", (unsigned long long)device);
        (void)printf("%s holds the key and certificate of device %llu, until " SLICE_FMT ".\n"
                     "  Move it to the phone and delete it here: whoever has it can call as %s.\n"
                     "  baresip: `sip_certificate %s` in its config. `%s` ends it.\n",
                     out, (unsigned long long)device,
                     SLICE_ARG(slice_head(json_text(json_member(answer, "until")), 10)), c->args[0],
                     out, cli_line(c, words, line));
    }
    ask_close(a);
    return code;
}

static bool show_device(void *ctx, const struct json *row, slice raw) {
    (void)raw;
    cli_list_head(ctx,
                  "NUMBER PERSON                         KIND         STATE    UNTIL      NAME");
    uint64_t id = 0;
    if (json_u64(json_member(row, "device"), UINT32_MAX, &id) != ERR_OK) return true;
    slice why = json_text(json_member(row, "why"));
    (void)printf("%-6llu %-30.*s %-12.*s %-8.*s %-11.*s" SLICE_FMT "%s" SLICE_FMT "\n",
                 (unsigned long long)id, SLICE_ARG(json_text(json_member(row, "aor"))),
                 SLICE_ARG(json_text(json_member(row, "kind"))),
                 SLICE_ARG(json_text(json_member(row, "state"))),
                 SLICE_ARG(slice_head(json_text(json_member(row, "until")), 10)),
                 SLICE_ARG(json_text(json_member(row, "name"))), why.len ? ": " : "",
                 SLICE_ARG(why));
    return true;
}

int cli_device_list(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "device.list");
    if (c->arg_count) json_put_str(w, "aor", c->args[0]);
    bool has_head = false;
    code = ask_send(a, show_device, &has_head, &answer);
    uint64_t count = 0;
    char line[CLI_LINE_MAX];
    if (code == CLI_DONE && !c->json &&
        json_u64(json_member(answer, "count"), UINT32_MAX, &count) == ERR_OK && count == 0)
        (void)printf("No devices. `%s` makes one.\n", cli_line(c, "device certificate AOR", line));
    if (code == CLI_DONE && !c->json && json_bool(json_member(answer, "more")))
        (void)printf("There are more: name a person, `kith device list AOR`.\n");
    ask_close(a);
    return code;
}

int cli_device_revoke(struct cli *c) {
    uint64_t id = 0;
    if (slice_u64(slice_str(c->args[0]), UINT32_MAX, &id) != ERR_OK || id == 0)
        return cli_wrong(c, "\"%s\" is not a device's number; `kith device list` shows them",
                         c->args[0]);
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    json_put_u64(ask_begin(a, "device.revoke"), "device", id);
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json)
        ask_print_answer(a);
    else if (code == CLI_DONE)
        (void)printf("Device %s is revoked.\n", c->args[0]);
    ask_close(a);
    return code;
}
