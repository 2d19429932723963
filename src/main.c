/* main.c - kith: one program, a table of commands (cli/commands.c), and the tester (check/). */
#include "check/check.h"
#include "cli/cli.h"

#include <string.h>

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "check") == 0) return check_main(argc - 1, argv + 1);
    return cli_main(argc, argv);
}
