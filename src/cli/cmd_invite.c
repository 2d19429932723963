/* cli/cmd_invite.c - kith invite */
#include "cli/ask.h"
#include "daemon/qr.h"
#include "daemon/sessions.h"
#include <stdio.h>
#include <unistd.h>

int cli_invite(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_for_a_while(c, "invite", INVITE_LIFE_MAX_S, &a, &answer);
    if (code == CLI_DONE && !c->json) {
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
