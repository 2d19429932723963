/* check/check.h - `kith check`: does this server, phone or relay keep the Voice 3.0 profile?
 *
 * Purpose:  plays clients, a registrar, a PBX, a provider, the other phone against any SIP product
 *           and tells for each requirement of profile/ whether it is met, with the messages as
 *           evidence. It shares no code with our own SIP: msg.h reads, ua.h writes what a test
 *           tells it to, broken bytes too. So our parser's mistakes are not repeated here.
 * A test:   a small function and one row in the table of its area (server_*.c). The row names the
 *           requirement as ROW_X; rows.inc is made from the profile, so a test for a requirement
 *           that does not exist does not compile. Each test has a broken counterpart in
 * tests/check. Verdicts: pass, fail, not applicable (with the capability that is missing),
 * inconclusive (with the reason). A test that says nothing is inconclusive; a pass names the piece
 * of evidence that shows it, and without evidence it is no pass. A run:    each test has a thread,
 * connections and leased accounts of its own, so tests that wait run side by side. Everything sent
 * goes through one pacer (--rate). A finished test is one line of JSON (FILE.part); every report is
 * made from these lines, and --resume goes on with them. Safety:   public addresses only with
 * --yes-i-may-test-this; credentials only over TLS with a verified name, or in plain on a loopback
 * address, or with --trust-network.
 *
 * How to write a test: docs/check.md. Threads: one test, one thread; see test.h. */
#ifndef CHECK_CHECK_H
#define CHECK_CHECK_H

#include <stddef.h>

/* `kith check ...`; argv[0] is "check". Exit code: 0 all MUST rows passed or do not apply, 1 not
 * so, 2 wrong command line, 3 the target cannot be reached. */
int check_main(int argc, char **argv);

/* Of all roles; docs/man/manual.c prints them too. */
struct check_option {
    const char *name, *value, *help; /* value: what it is called; NULL: it takes none */
};
extern const struct check_option check_options[];
extern const size_t check_option_count;

#endif
