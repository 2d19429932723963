/* cli/cmd_clicktocall.c - kith clicktocall ... */
#include "cli/ask.h"
#include "daemon/click.h"
#include <stdio.h>

int cli_click_add(struct cli *c) {
    uint64_t most = 5;
    const char *wish = cli_value(c, "at-once");
    if (wish && (slice_u64(slice_str(wish), CLICK_GUESTS_MAX, &most) != ERR_OK || most == 0))
        return cli_wrong(c, "\"%s\" is not a number from 1 to %u", wish, CLICK_GUESTS_MAX);
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "clicktocall.add");
    json_put_str(w, "aor", c->args[0]);
    json_put_u64(w, "at_once", most);
    json_begin_array(w, "origins");
    for (size_t i = 0; i < c->given_count; i++)
        if (slice_eq(slice_str(c->given[i].name), SLICE("origin")))
            json_put_str(w, NULL, c->given[i].value);
    json_end(w);
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json)
        ask_print_answer(a);
    else if (code == CLI_DONE)
        (void)printf("Visitors of these pages may call " SLICE_FMT
                     ". docs/web.md has the button's line.\n",
                     SLICE_ARG(json_text(json_member(answer, "aor"))));
    ask_close(a);
    return code;
}

static bool show_click(void *ctx, const struct json *row, slice raw) {
    uint64_t most = 0;
    (void)ctx;
    (void)raw;
    if (json_u64(json_member(row, "at_once"), CLICK_GUESTS_MAX, &most) != ERR_OK) return true;
    (void)printf("%-30.*s %3llu at once, from " SLICE_FMT "\n",
                 SLICE_ARG(json_text(json_member(row, "aor"))), (unsigned long long)most,
                 SLICE_ARG(json_text(json_member(row, "origins"))));
    return true;
}

int cli_click_list(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    uint64_t count = 0;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    (void)ask_begin(a, "clicktocall.list");
    code = ask_send(a, show_click, NULL, &answer);
    if (code == CLI_DONE && !c->json &&
        json_u64(json_member(answer, "count"), UINT32_MAX, &count) == ERR_OK && count == 0)
        (void)printf("Visitors may call nobody.\n");
    ask_close(a);
    return code;
}

int cli_click_remove(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    json_put_str(ask_begin(a, "clicktocall.remove"), "aor", c->args[0]);
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json)
        ask_print_answer(a);
    else if (code == CLI_DONE)
        (void)printf("Visitors may not call %s any more.\n", c->args[0]);
    ask_close(a);
    return code;
}
