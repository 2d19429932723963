/* cli/cmd_turn.c - kith turn ... */
#include "base/units.h"
#include "cli/ask.h"
#include "daemon/admin.h"
#include <stdio.h>

int cli_turn_credential(struct cli *c) {
    const char *wish = cli_value(c, "for");
    int64_t ms = INT64_C(86400000);
    if (wish &&
        duration_read(slice_str(wish), INT64_C(1000) * TURN_CREDENTIAL_MAX_S, &ms) != ERR_OK)
        return cli_wrong(c, "\"%s\" is not a time such as 12h or 7d, up to 30d", wish);
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "turn.credential");
    json_put_str(w, "aor", c->args[0]);
    json_put_u64(w, "seconds", (uint64_t)ms / 1000);
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
