/* cli/cmd_turn.c - kith turn ... */
#include "base/units.h"
#include "cli/ask.h"
#include "daemon/admin.h"
#include <stdio.h>

static uint64_t number(const struct json *v, const char *name) {
    uint64_t n = 0;
    return json_u64(json_member(v, name), UINT64_MAX >> 1, &n) == ERR_OK ? n : 0;
}

/* "    tls over IPv6, relays udp over IPv4: 12 kB up, 80 kB down, 540 s left, peers: 1, ..." */
static bool show_allocation(void *ctx, const struct json *row, slice raw) {
    (void)ctx;
    (void)raw;
    char mem[160];
    struct buf b = buf_over(mem, sizeof mem);
    const struct json *families = json_member(row, "relay_families");
    for (size_t i = 0; i < json_count(families); i++)
        buf_fmt(&b, "%s" SLICE_FMT, i ? " and " : "", SLICE_ARG(json_text(json_item(families, i))));
    buf_lit(&b, ": ");
    size_put(&b, number(row, "bytes_up"));
    buf_lit(&b, " up, ");
    size_put(&b, number(row, "bytes_down"));
    buf_lit(&b, " down");
    if (number(row, "number") == 1)
        (void)printf(SLICE_FMT "  allocations: %llu\n",
                     SLICE_ARG(json_text(json_member(row, "aor"))),
                     (unsigned long long)number(row, "allocations"));
    (void)printf("    " SLICE_FMT " over " SLICE_FMT ", relays " SLICE_FMT " over " SLICE_FMT
                 ", %llu s left, peers: %llu, channels: %llu\n",
                 SLICE_ARG(json_text(json_member(row, "client_transport"))),
                 SLICE_ARG(json_text(json_member(row, "client_family"))),
                 SLICE_ARG(json_text(json_member(row, "relay_transport"))),
                 SLICE_ARG(buf_slice(&b)), (unsigned long long)number(row, "seconds_left"),
                 (unsigned long long)number(row, "peers"),
                 (unsigned long long)number(row, "channels"));
    return true;
}

int cli_turn_list(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_open(c, false, &a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(a, "turn.list");
    if (c->arg_count) json_put_str(w, "aor", c->args[0]);
    code = ask_send(a, show_allocation, NULL, &answer);
    if (code == CLI_DONE && !c->json && number(answer, "count") == 0)
        (void)printf("Nobody uses the relay%s%s.\n", c->arg_count ? " as " : "",
                     c->arg_count ? c->args[0] : "");
    ask_close(a);
    return code;
}

int cli_turn_credential(struct cli *c) {
    struct ask *a;
    const struct json *answer;
    int code = ask_for_a_while(c, "turn.credential", TURN_CREDENTIAL_MAX_S, &a, &answer);
    if (code == CLI_DONE && !c->json) {
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
