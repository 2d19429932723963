/* cli/cmd_invite.c - kith invite */
#include "base/units.h"
#include "cli/ask.h"
#include "daemon/qr.h"
#include "daemon/sessions.h"
#include <stdio.h>
#include <unistd.h>

int cli_invite(struct cli *c) {
    const char *wish = cli_value(c, "for");
    int64_t ms = INT64_C(86400000);
    if (wish && duration_read(slice_str(wish), INT64_C(1000) * INVITE_LIFE_MAX_S, &ms) != ERR_OK)
        return cli_wrong(c, "\"%s\" is not a time such as 12h or 7d, up to 30d", wish);
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "invite");
    json_put_str(w, "aor", c->args[0]);
    json_put_u64(w, "seconds", (uint64_t)ms / 1000);
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json) {
        ask_print_answer(a);
    } else if (code == CLI_DONE) {
        char link[512];
        slice text = json_text(json_member(answer, "link"));
        (void)printf(SLICE_FMT "\n", SLICE_ARG(text));
        (void)printf("Good for one device, until " SLICE_FMT ".\n",
                     SLICE_ARG(json_text(json_member(answer, "until"))));
        if (isatty(STDOUT_FILENO) && slice_cstr(text, link, sizeof link)) (void)qr_print(link);
    }
    ask_close(a);
    return code;
}
