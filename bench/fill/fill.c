/* fill/fill.c - bench_fill: puts people with one binding each into a server's store.
 *
 * Through store/store.h and the SQLite backend, as the server itself would, while no server runs:
 * that is how a table of a million bindings is prepared within a minute. The people have no
 * secret, so nobody can log in as one of them; their phones were connected to a former run.
 *
 *   bench_fill DATA COUNT */
#include "base/buf.h"
#include "store_sqlite/store_sqlite.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIRST_ID 4000000u /* beyond what `kith user import` gave out */
#define BATCH    1000u

struct names {
    char user[16], contact[96], instance[64];
};

static slice put(char *room, size_t max, const char *format, uint32_t i) {
    struct buf b = buf_over(room, max);
    for (; *format; format++)
        if (*format == '#')
            buf_fmt(&b, "%u", (unsigned)i);
        else
            buf_put(&b, slice_of(format, 1));
    return buf_slice(&b);
}

static void person(struct store_change out[static 2], struct names *n, uint32_t i, wall_t now) {
    out[0] = (struct store_change){ .op = STORE_ACCOUNT_PUT,
                                    .durability = STORE_NORMAL,
                                    .account = { .id = FIRST_ID + i,
                                                 .user = put(n->user, sizeof n->user, "f#", i),
                                                 .domain = SLICE("bench.test"),
                                                 .created = now,
                                                 .changed = now } };
    out[1] = (struct store_change){ .op = STORE_BINDING_PUT,
                                    .durability = STORE_NORMAL,
                                    .binding = {
                                        .account_id = FIRST_ID + i,
                                        .bid = i + 1,
                                        .reg_id = 1,
                                        .cseq = 1,
                                        .q = 1000,
                                        .contact = put(n->contact, sizeof n->contact,
                                                       "sip:f#@198.51.100.7:5061;transport=tls", i),
                                        .instance = put(n->instance, sizeof n->instance,
                                                        "<urn:uuid:00000000-0000-4000-8000-#>", i),
                                        .call_id = SLICE("a84b4c76e66710@198.51.100.7"),
                                        .user_agent = SLICE("bench/1"),
                                        .registered = now,
                                        .expires = now + 86400000 } };
}

int main(int argc, char **argv) {
    unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (count == 0 || count > 4000000) {
        fprintf(stderr, "usage: bench_fill DATA COUNT\n");
        return 2;
    }
    char room[512], path[4096];
    struct buf why = buf_over(room, sizeof room);
    snprintf(path, sizeof path, "%s/kith.db", argv[1]);
    struct store *s;
    if (store_sqlite_open(path, STORE_SQLITE_WRITE, &s, &why) != ERR_OK) {
        fprintf(stderr, "bench_fill: " SLICE_FMT "\n", SLICE_ARG(buf_slice(&why)));
        return 1;
    }
    static struct store_change changes[2 * BATCH];
    static struct names names[BATCH];
    wall_t now = (wall_t)time(NULL) * 1000;
    enum err e = ERR_OK;
    for (uint32_t at = 0; at < count && e == ERR_OK; at += BATCH) {
        uint32_t n = count - at < BATCH ? (uint32_t)(count - at) : BATCH;
        for (uint32_t i = 0; i < n; i++) person(&changes[2 * i], &names[i], at + i, now);
        e = store_commit(s, changes, 2 * (size_t)n);
    }
    if (e != ERR_OK) fprintf(stderr, "bench_fill: %s\n", store_trouble(s));
    store_close(s);
    return e == ERR_OK ? 0 : 1;
}
