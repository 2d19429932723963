/* cli/cmd_invite.c - kith invite */
#include "cli/ask.h"
#include "daemon/qr.h"
#include "daemon/sessions.h"
#include <stdio.h>
#include <unistd.h>

int cli_invite(struct cli *c) {
    uint64_t seconds;
    struct ask *a;
    const struct json *answer;
    int code = cli_seconds(c, "for", 86400, INVITE_LIFE_MAX_S, &seconds);
    if (code != CLI_DONE) return code;
    code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "invite");
    json_put_str(w, "aor", c->args[0]);
    json_put_u64(w, "seconds", seconds);
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
