/* kith user set, kith user show: what a person has set about his calls. */
#include "cli/ask.h"

#include <stdio.h>

static void show_settings(const struct json *answer) {
    static const char *const names[] = { "forward-always", "forward-busy", "forward-no-answer",
                                         "forward-unreachable" };
    const struct json *s = json_member(answer, "settings");
    uint64_t seconds = 0;
    (void)printf("  %-20s %s\n", "dnd", json_bool(json_member(s, "dnd")) ? "on" : "off");
    if (json_bool(json_member(s, "refuse-anonymous")))
        (void)printf("  %-20s on\n", "refuse-anonymous");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        slice to = json_text(json_member(s, names[i]));
        if (!to.len) continue;
        (void)printf("  %-20s " SLICE_FMT, names[i], SLICE_ARG(to));
        if (i == 2 && json_u64(json_member(s, "no-answer-seconds"), 3600, &seconds) == ERR_OK)
            (void)printf("  after %llu s", (unsigned long long)seconds);
        (void)printf("\n");
    }
}

int cli_user_set(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "user.set");
    json_put_str(w, "aor", c->args[0]);
    json_begin_array(w, "set");
    for (unsigned i = 1; i < c->arg_count; i++) json_put_str(w, NULL, c->args[i]);
    json_end(w);
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json) {
        ask_print_answer(a);
    } else if (code == CLI_DONE) {
        (void)printf("%s has set:\n", c->args[0]);
        show_settings(answer);
    }
    ask_close(a);
    return code;
}

int cli_user_show(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    json_put_str(ask_begin(a, "user.show"), "aor", c->args[0]);
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json) {
        ask_print_answer(a);
    } else if (code == CLI_DONE) {
        const struct json *aliases = json_member(answer, "aliases");
        slice display = json_text(json_member(answer, "display"));
        (void)printf(SLICE_FMT "%s\n", SLICE_ARG(json_text(json_member(answer, "aor"))),
                     json_bool(json_member(answer, "disabled")) ? "  disabled" : "");
        if (display.len) (void)printf("  %-20s " SLICE_FMT "\n", "display", SLICE_ARG(display));
        for (size_t i = 0; i < json_count(aliases); i++)
            (void)printf("  %-20s " SLICE_FMT "\n", "alias",
                         SLICE_ARG(json_text(json_item(aliases, i))));
        show_settings(answer);
    }
    ask_close(a);
    return code;
}
