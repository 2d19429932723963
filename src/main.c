/* main.c - kith: one program, a table of commands (cli/commands.c). */
#include "cli/cli.h"

int main(int argc, char **argv) {
    return cli_main(argc, argv);
}
