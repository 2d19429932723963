/* cli/cmd_server.c - kith serve, check-config, status, bindings, trace, version. */
#include "base/mem.h"
#include "base/units.h"
#include "cli/ask.h"
#include "cli/metrics.h"
#include "daemon/config.h"
#include "daemon/daemon.h"
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int cli_version(struct cli *c) {
    if (c->json)
        (void)printf("{\"version\":\"%s\"}\n", KITH_VERSION);
    else
        (void)printf("kith %s\n", KITH_VERSION);
    return CLI_DONE;
}

int cli_serve(struct cli *c) {
    if (cli_has(c, "lan") && !cli_has(c, "demo"))
        return cli_wrong(c, "--lan goes with --demo; otherwise set `tls =` below [listen]");
    if (cli_has(c, "config") && cli_has(c, "demo"))
        return cli_wrong(c, "--config or --demo, not both");
    uint32_t port = 5061;
    const char *given = cli_value(c, "port");
    if (given && !cli_has(c, "demo")) return cli_wrong(c, "--port goes with --demo");
    if (given && slice_u32(slice_str(given), 65535, &port) != ERR_OK)
        return cli_wrong(c, "\"%s\" is not a port", given);
    struct daemon_options options = { .data = c->data,
                                      .config = cli_value(c, "config"),
                                      .demo = cli_has(c, "demo"),
                                      .lan = cli_has(c, "lan"),
                                      .demo_port = (uint16_t)port,
                                      .program = c->program,
                                      .for_people = !c->json &&
                                                    (cli_has(c, "demo") || isatty(STDOUT_FILENO)) };
    char mem[16384];
    struct buf why = buf_over(mem, sizeof mem);
    enum err e = daemon_run(&options, &why);
    if (e == ERR_OK) return CLI_DONE;
    if (e == ERR_CONFIG && why.len &&
        mem[why.len - 1] == '\n') { /* a list of lines that name the file */
        (void)fprintf(stderr, SLICE_FMT, SLICE_ARG(buf_slice(&why)));
        return CLI_FAILED;
    }
    if (!why.len) buf_put(&why, slice_str(err_text(e)));
    return cli_fail(c, SLICE_FMT, SLICE_ARG(buf_slice(&why)));
}

/* ---- check-config ------------------------------------------------------------------------- */

static int print_manual(void) {
    static char mem[65536];
    struct buf b = buf_over(mem, sizeof mem);
    settings_put_manual(&b);
    ASSERT(!b.full);
    return fwrite(mem, 1, b.len, stdout) == b.len ? CLI_DONE : CLI_FAILED;
}

static void errors_as_json(const struct config_errors *errors, const char *file) {
    for (unsigned i = 0; i < errors->count && i < CONFIG_ERRORS_MAX; i++) {
        char mem[2048];
        struct buf b = buf_over(mem, sizeof mem);
        struct json_writer w = json_over(&b);
        json_begin_object(&w, NULL);
        json_put_str(&w, "file", file);
        json_put_u64(&w, "line", errors->at[i].line);
        json_put_str(&w, "setting", errors->at[i].setting);
        json_put_str(&w, "error", errors->at[i].text);
        json_end(&w);
        (void)printf(SLICE_FMT "\n", SLICE_ARG(buf_slice(&b)));
    }
}

int cli_check_config(struct cli *c) {
    if (cli_has(c, "print-settings")) return print_manual();
    if (c->arg_count == 0) return cli_wrong(c, "which file? kith check-config FILE");
    static struct config_errors errors;
    struct config *config = NULL;
    enum err e = config_load(c->args[0], &config, &errors);
    if (e == ERR_OK) e = daemon_check_files(config, &errors);
    config_free(config);
    if (e == ERR_MEMORY) return cli_fail(c, "memory is short");
    if (c->json) {
        errors_as_json(&errors, c->args[0]);
        if (e == ERR_OK) (void)printf("{\"ok\":true}\n");
    } else if (e == ERR_OK) {
        (void)printf("%s is fine.\n", c->args[0]);
    } else {
        char mem[16384];
        struct buf b = buf_over(mem, sizeof mem);
        config_errors_put(&errors, slice_str(c->args[0]), &b);
        (void)fprintf(stderr, SLICE_FMT, SLICE_ARG(buf_slice(&b)));
    }
    return e == ERR_OK ? CLI_DONE : CLI_FAILED;
}

/* ---- status ------------------------------------------------------------------------------- */

static uint64_t number(const struct json *v, const char *name) {
    uint64_t n = 0;
    return json_u64(json_member(v, name), UINT64_MAX >> 1, &n) == ERR_OK ? n : 0;
}

static void show_legacy(const struct json *list) {
    if (json_count(list) == 0) {
        (void)printf("legacy lane  nobody\n");
        return;
    }
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json *d = json_item(list, i);
        (void)printf("%-12s " SLICE_FMT ", \"" SLICE_FMT "\" until " SLICE_FMT ": " SLICE_FMT "\n",
                     i ? "" : "legacy lane", SLICE_ARG(json_text(json_member(d, "aor"))),
                     SLICE_ARG(json_text(json_member(d, "name"))),
                     SLICE_ARG(slice_head(json_text(json_member(d, "until")), 10)),
                     SLICE_ARG(json_text(json_member(d, "why"))));
    }
}

static void show_status(const struct json *s) {
    char mem[64];
    struct buf b = buf_over(mem, sizeof mem);
    duration_put(&b, (int64_t)number(s, "uptime_s") * 1000);
    (void)printf("kith " SLICE_FMT ", up " SLICE_FMT ", %llu workers\n",
                 SLICE_ARG(json_text(json_member(s, "version"))), SLICE_ARG(buf_slice(&b)),
                 (unsigned long long)number(s, "workers"));
    const struct json *domains = json_member(s, "domains");
    (void)printf("domains      ");
    for (size_t i = 0; i < json_count(domains); i++)
        (void)printf("%s" SLICE_FMT, i ? ", " : "", SLICE_ARG(json_text(json_item(domains, i))));
    (void)printf("\npeople       %llu\nconnections  %llu\nregistered   %llu\ncalls        %llu\n",
                 (unsigned long long)number(s, "accounts"), (unsigned long long)number(s, "flows"),
                 (unsigned long long)number(s, "bindings"), (unsigned long long)number(s, "calls"));
    buf_clear(&b);
    size_put(&b, number(s, "memory_bytes"));
    (void)printf("memory       " SLICE_FMT "\n", SLICE_ARG(buf_slice(&b)));
    (void)printf("certificate  until " SLICE_FMT "\n",
                 SLICE_ARG(slice_head(json_text(json_member(s, "certificate_until")), 10)));
    if (number(s, "connects_ok") || number(s, "connects_failed") || number(s, "dns_questions"))
        (void)printf("peers        %llu connections of ours, %llu failed; %llu questions to DNS, "
                     "%llu without an answer\n",
                     (unsigned long long)number(s, "connects_up"),
                     (unsigned long long)number(s, "connects_failed"),
                     (unsigned long long)number(s, "dns_questions"),
                     (unsigned long long)number(s, "dns_failures"));
    show_legacy(json_member(s, "legacy_devices"));
    const struct json *store = json_member(s, "store");
    if (json_bool(json_member(store, "failing")))
        (void)printf("\nThe storage fails since " SLICE_FMT ": " SLICE_FMT
                     "\nCalls go on; new registrations are refused until it works again.\n",
                     SLICE_ARG(json_text(json_member(store, "since"))),
                     SLICE_ARG(json_text(json_member(store, "trouble"))));
}

static int show_metrics(const struct cli *c, const struct json *status) {
    static char mem[METRICS_TEXT_MAX];
    struct buf b = buf_over(mem, sizeof mem);
    metrics_put(&b, status);
    if (b.full) return cli_fail(c, "the figures are too many to be told");
    return fwrite(mem, 1, b.len, stdout) == b.len ? CLI_DONE : CLI_FAILED;
}

int cli_status(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    bool metrics = cli_has(c, "openmetrics");
    if (metrics && c->json) return cli_wrong(c, "--json or --openmetrics, not both");
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    (void)ask_begin(a, "status");
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && metrics)
        code = show_metrics(c, answer);
    else if (code == CLI_DONE && c->json)
        ask_print_answer(a);
    else if (code == CLI_DONE)
        show_status(answer);
    ask_close(a);
    return code;
}

/* ---- bindings and trace ------------------------------------------------------------------- */

static bool show_binding(void *ctx, const struct json *row, slice raw) {
    (void)ctx;
    (void)raw;
    slice agent = json_text(json_member(row, "user_agent"));
    (void)printf(SLICE_FMT "\n    %s, until " SLICE_FMT "%s" SLICE_FMT "\n",
                 SLICE_ARG(json_text(json_member(row, "contact"))),
                 json_bool(json_member(row, "connected")) ? "connected" : "not connected",
                 SLICE_ARG(json_text(json_member(row, "expires"))), agent.len ? ", " : "",
                 SLICE_ARG(agent));
    return true;
}

int cli_bindings(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    json_put_str(ask_begin(a, "bindings"), "aor", c->args[0]);
    code = ask_send(a, show_binding, NULL, &answer);
    if (code == CLI_DONE && !c->json && number(answer, "count") == 0)
        (void)printf("%s is not registered anywhere.\n", c->args[0]);
    ask_close(a);
    return code;
}

/* "14:18:14.440  call agmmkevv  from hrgrkjcs  INVITE    forwarded 180". Calls and people are
 * pseudonyms, good for as long as the server runs. */
static bool show_trace(void *ctx, const struct json *row, slice raw) {
    (void)ctx;
    uint64_t at = number(row, "at");
    time_t seconds = (time_t)(at / 1000);
    struct tm tm;
    char text[16] = "";
    if (localtime_r(&seconds, &tm)) (void)strftime(text, sizeof text, "%H:%M:%S", &tm);
    if (!at) { /* a line of another form: {"lost":N} */
        (void)printf(SLICE_FMT "\n", SLICE_ARG(raw));
        return fflush(stdout) == 0;
    }
    slice why = json_text(json_member(row, "why"));
    uint64_t status = number(row, "status");
    (void)printf("%s.%03u  call " SLICE_FMT "  from " SLICE_FMT "  %-9.*s " SLICE_FMT, text,
                 (unsigned)(at % 1000), SLICE_ARG(json_text(json_member(row, "call"))),
                 SLICE_ARG(json_text(json_member(row, "from"))),
                 SLICE_ARG(json_text(json_member(row, "method"))),
                 SLICE_ARG(json_text(json_member(row, "what"))));
    if (status) (void)printf(" %llu", (unsigned long long)status);
    (void)printf("%s" SLICE_FMT "\n", why.len ? ": " : "", SLICE_ARG(why));
    return fflush(stdout) == 0;
}

int cli_trace(struct cli *c) {
    struct ask *a;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    if (ask_is_live(a) && !c->json && isatty(STDERR_FILENO))
        (void)fprintf(stderr, "Following calls; Ctrl-C ends it.\n");
    (void)ask_begin(a, "trace");
    code = ask_send(a, show_trace, NULL, NULL);
    ask_close(a);
    return code;
}
