/* cli/process.h - for tests of the command line: run kith as a process and hold what it said.
 * Include "unit.h" before it. */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include "base/slice.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_TEXT_MAX 65536

struct run { /* one finished command */
    int code;
    char out[RUN_TEXT_MAX], err[RUN_TEXT_MAX];
};
extern struct run run;     /* of the last kith() */
extern char run_root[64];  /* a fresh directory of this test program */
extern char run_data[128]; /* --data of every command */

int run_setup(void **state);
int run_teardown(void **state);
/* Runs kith with these words (NULL ends them); `input` goes to its stdin. Gives the exit code. */
int kith_with(const char *input, const char *first, ...);
#define kith(...) kith_with("", __VA_ARGS__, (char *)NULL)

/* A path below run_root; a few at a time may be in use. */
const char *in_root(const char *name);
void write_root(const char *name, const char *text);

#define assert_says(text, part)                                                                    \
    do {                                                                                           \
        if (!strstr((text), (part))) {                                                             \
            print_error("\"%s\" does not stand in \"%s\"\n", (part), (text));                      \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

struct server { /* a running `kith serve` */
    pid_t pid;
    int log; /* its stderr */
    char text[RUN_TEXT_MAX];
    size_t len, read_to;
};
/* Starts `kith serve --config FILE` and waits for the line "ready"; what it says on stdout goes
 * into the file serve.out. */
void server_start(struct server *s, const char *config);
/* The same with `kith serve --demo --port 0`. */
void server_start_demo(struct server *s);
/* The text of a file below run_root. */
void read_root(const char *name, char dst[RUN_TEXT_MAX]);
/* Reads its log until a new line holds `part`; fails the test after 20 s or when it ends. */
void server_await(struct server *s, const char *part);
/* Sends the signal and gives the exit code (128 + n when a signal ended it). */
int server_end(struct server *s, int with_signal);

#endif
