/* cli/cmd_turn.c - kith turn ... */
#include "cli/ask.h"
#include "daemon/admin.h"
#include <stdio.h>

int cli_turn_credential(struct cli *c) {
    uint64_t seconds;
    struct ask *a;
    const struct json *answer;
    int code = cli_seconds(c, "for", 86400, TURN_CREDENTIAL_MAX_S, &seconds);
    if (code != CLI_DONE) return code;
    code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "turn.credential");
    json_put_str(w, "aor", c->args[0]);
    json_put_u64(w, "seconds", seconds);
    code = ask_send(a, NULL, NULL, &answer);
    if (code == CLI_DONE && c->json) {
        ask_print_answer(a);
    } else if (code == CLI_DONE) {
        const struct json *uris = json_member(answer, "uris");
        (void)printf("username  " SLICE_FMT "\npassword  " SLICE_FMT "\nuntil     " SLICE_FMT "\n",
                     SLICE_ARG(json_text(json_member(answer, "username"))),
                     SLICE_ARG(json_text(json_member(answer, "password"))),
                     SLICE_ARG(json_text(json_member(answer, "until"))));
        for (size_t i = 0; i < json_count(uris); i++)
            (void)printf("server    " SLICE_FMT "\n", SLICE_ARG(json_text(json_item(uris, i))));
    }
    ask_close(a);
    return code;
}
