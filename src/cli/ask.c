/* cli/ask.c - see ask.h. */
#include "cli/ask.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include "daemon/admin.h"
#include "daemon/admin_socket.h"
#include "daemon/world.h"
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HELLO_TRIES 30 /* times 100 ms: as long as another command may hold the directory */

struct ask {
    const struct cli *cli;
    int fd; /* -1: no server */
    struct offline *offline;
    struct buf request;
    struct json_writer w;
    char *line; /* what has come of the present line */
    size_t line_len;
    struct json *answer;
    char *answer_text;
    ask_row_fn *on_row;
    void *ctx;
    bool enough, failed;
};

static bool connect_live(struct ask *a) {
    char mem[256];
    struct buf why = buf_over(mem, sizeof mem);
    struct datadir d;
    return datadir_name(a->cli->data, &d, &why) == ERR_OK &&
           admin_socket_connect(&d, &a->fd) == ERR_OK;
}

static int open_either(struct ask *a, bool create) {
    char mem[1024];
    struct buf why = buf_over(mem, sizeof mem);
    for (int i = 0; i < HELLO_TRIES; i++) {
        if (connect_live(a)) return CLI_DONE;
        buf_clear(&why);
        enum err e = offline_open(a->cli->data, create, &a->offline, &why);
        if (e == ERR_OK) return CLI_DONE;
        if (e == ERR_MISSING && !create)
            return cli_fail(a->cli, SLICE_FMT ". Name the data directory with --data or $KITH_DATA",
                            SLICE_ARG(buf_slice(&why)));
        if (e != ERR_AGAIN) {
            if (!why.len) buf_put(&why, slice_str(err_text(e)));
            return cli_fail(a->cli, SLICE_FMT, SLICE_ARG(buf_slice(&why)));
        }
        struct timespec pause = { 0, 100000000 };
        (void)nanosleep(&pause, NULL);
    }
    return cli_fail(a->cli, SLICE_FMT ", and it does not answer; try again in a moment",
                    SLICE_ARG(buf_slice(&why)));
}

int ask_open(const struct cli *c, bool create, struct ask **out) {
    *out = NULL;
    struct ask *a = mem_zalloc(sizeof *a);
    char *request = mem_alloc(ADMIN_REQUEST_MAX);
    char *line = mem_alloc(ADMIN_LINE_MAX + 1);
    if (!a || !request || !line) {
        mem_free(a);
        mem_free(request);
        mem_free(line);
        return cli_fail(c, "memory is short");
    }
    *a = (struct ask){ .cli = c, .fd = -1, .line = line };
    a->request = buf_over(request, ADMIN_REQUEST_MAX);
    int code = open_either(a, create);
    if (code != CLI_DONE)
        ask_close(a);
    else
        *out = a;
    return code;
}

void ask_close(struct ask *a) {
    if (!a) return;
    if (a->fd >= 0) (void)close(a->fd);
    offline_close(a->offline);
    json_free(a->answer);
    crypto_wipe(a->request.ptr, a->request.cap); /* may hold passwords */
    crypto_wipe(a->line, ADMIN_LINE_MAX);
    mem_free(a->request.ptr);
    mem_free(a->line);
    mem_free(a->answer_text);
    mem_free(a);
}

bool ask_is_live(const struct ask *a) {
    return a->fd >= 0;
}

struct json_writer *ask_begin(struct ask *a, const char *name) {
    buf_clear(&a->request);
    a->w = json_over(&a->request);
    json_begin_object(&a->w, NULL);
    json_put_str(&a->w, "cmd", name);
    return &a->w;
}

size_t ask_room(const struct ask *a) {
    return buf_room(&a->request);
}

/* ---- hearing the answer ------------------------------------------------------------------- */

/* A row may hold what strangers sent (a User-Agent), and a terminal obeys control characters: they
 * become '?', in the JSON text itself, so that nobody who prints a member must think of it. */
static void tame(char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i], next = i + 1 < len ? (uint8_t)text[i + 1] : 0;
        if (c == 0x7f) text[i] = '?';
        if (c == 0xc2 && next >= 0x80 && next < 0xa0) text[i] = text[i + 1] = '?'; /* U+0080 .. */
        if (c != '\\') continue;
        uint8_t code[2];
        size_t got = 0;
        if (next == 'u' && i + 5 < len &&
            hex_read(slice_of(text + i + 2, 4), code, sizeof code, &got) == ERR_OK &&
            code[0] == 0 && (code[1] < 0x20 || (code[1] >= 0x7f && code[1] < 0xa0)))
            memcpy(text + i + 2, "003f", 4);
        if (slice_find(SLICE("bfnrt"), (char)next) < 5) text[i] = text[i + 1] = '?';
        i++;
    }
}

/* What the server sent as a row is not JSON: said as JSON, so that who reads lines of JSON can go
 * on. */
static void tell_unreadable(const struct ask *a, slice raw) {
    char mem[2048];
    struct buf b = buf_over(mem, sizeof mem);
    struct json_writer w = json_over(&b);
    json_begin_object(&w, NULL);
    json_put_text(&w, "unreadable", slice_head(raw, 300)); /* at most six times as long, escaped */
    json_end(&w);
    (void)fprintf(a->cli->json ? stdout : stderr, SLICE_FMT "\n", SLICE_ARG(buf_slice(&b)));
}

static void take_row(struct ask *a, slice line) {
    slice raw = slice_from(line, sizeof "{\"row\":" - 1);
    struct json *row = NULL;
    bool whole = raw.len && raw.ptr[raw.len - 1] == '}';
    if (whole) raw.len--;
    if (!a->cli->json) tame(a->line + (raw.ptr - a->line), raw.len);
    if (!whole ||
        json_read(raw, &(struct json_limits){ ADMIN_LINE_MAX, 6 }, &row, NULL) != ERR_OK) {
        tell_unreadable(a, raw);
    } else if (a->cli->json) {
        (void)printf(SLICE_FMT "\n", SLICE_ARG(raw));
        (void)fflush(stdout);
    } else if (a->on_row && !a->on_row(a->ctx, row, raw)) {
        a->enough = true;
    }
    json_free(row);
}

static void take_line(struct ask *a, slice line) {
    if (slice_starts(line, SLICE("{\"row\":"))) {
        take_row(a, line);
        return;
    }
    json_free(a->answer);
    a->answer = NULL;
    mem_free(a->answer_text);
    a->answer_text = mem_dup(line.ptr, line.len);
    if (json_read(line, &(struct json_limits){ ADMIN_LINE_MAX, 6 }, &a->answer, NULL) != ERR_OK)
        a->failed = true;
}

/* Bytes of the answer, in whatever pieces. */
static bool take_bytes(void *ctx, slice bytes) {
    struct ask *a = ctx;
    while (bytes.len) {
        size_t end = slice_find(bytes, '\n');
        slice piece = slice_head(bytes, end);
        if (a->line_len + piece.len > ADMIN_LINE_MAX) {
            a->failed = true;
            return false;
        }
        memcpy(a->line + a->line_len, piece.ptr, piece.len);
        a->line_len += piece.len;
        if (end == bytes.len) return true;
        take_line(a, slice_of(a->line, a->line_len));
        a->line_len = 0;
        bytes = slice_from(bytes, end + 1);
        if (a->enough) return false;
    }
    return true;
}

static bool send_all(int fd, slice bytes) {
    while (bytes.len) {
        ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes = slice_from(bytes, (size_t)n);
    }
    return true;
}

static bool ask_live(struct ask *a) {
    static char piece[16384];
    if (!send_all(a->fd, buf_slice(&a->request))) return false;
    while (!a->answer && !a->failed && !a->enough) {
        ssize_t n = recv(a->fd, piece, sizeof piece, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        (void)take_bytes(a, slice_of(piece, (size_t)n));
    }
    return true;
}

static int tell_error(const struct ask *a) {
    slice text = json_text(json_member(a->answer, "error"));
    slice hint = json_text(json_member(a->answer, "hint"));
    if (a->cli->json)
        (void)printf("%s\n", a->answer_text);
    else if (hint.len)
        return cli_fail(a->cli, SLICE_FMT "\n      " SLICE_FMT, SLICE_ARG(text), SLICE_ARG(hint));
    else
        return cli_fail(a->cli, SLICE_FMT, SLICE_ARG(text));
    return CLI_FAILED;
}

int ask_send(struct ask *a, ask_row_fn *on_row, void *ctx, const struct json **out) {
    json_end(&a->w);
    buf_lit(&a->request, "\n");
    if (a->request.full) return cli_fail(a->cli, "what was given is too long");
    json_free(a->answer);
    a->answer = NULL;
    a->on_row = on_row;
    a->ctx = ctx;
    a->enough = a->failed = false;
    a->line_len = 0;
    bool heard = true;
    if (a->fd >= 0)
        heard = ask_live(a);
    else
        admin_run(offline_world(a->offline), slice_head(buf_slice(&a->request), a->request.len - 1),
                  take_bytes, a);
    if (a->enough) return CLI_DONE;
    if (!heard) return cli_fail(a->cli, "the server went away before it had answered");
    if (a->failed || !a->answer) return cli_fail(a->cli, "the answer could not be read");
    if (json_kind(json_member(a->answer, "error")) != JSON_KIND_NONE) return tell_error(a);
    if (out) *out = a->answer;
    return CLI_DONE;
}

void ask_print_answer(struct ask *a) {
    if (a->answer_text) (void)printf("%s\n", a->answer_text);
}

int ask_for_a_while(struct cli *c, const char *name, uint32_t most, struct ask **a,
                    const struct json **out) {
    uint64_t seconds;
    *a = NULL;
    int code = cli_seconds(c, "for", 86400, most, &seconds);
    if (code == CLI_DONE) code = ask_open(c, false, a);
    if (code != CLI_DONE) return code;
    struct json_writer *w = ask_begin(*a, name);
    json_put_str(w, "aor", c->args[0]);
    json_put_u64(w, "seconds", seconds);
    code = ask_send(*a, NULL, NULL, out);
    if (code == CLI_DONE && c->json) ask_print_answer(*a);
    return code;
}
