/* check/options.c - the options of `kith check`: its help and its manual page are made from these.
 */
#include "check/check.h"

#include "base/defs.h"

const struct check_option check_options[] = {
    { "accounts", "FILE",
      "lines `aor,password`; each test leases the accounts it needs (best: 10 or more)" },
    { "ca", "FILE",
      "PEM certificates that the target's certificate must lead to (default: the system's)" },
    { "name", "NAME", "what the certificate must say (default: the SIP domain)" },
    { "udp", "HOST:PORT", "where the target speaks UDP, if it is not the given place" },
    { "tcp", "HOST:PORT", "the same for TCP" },
    { "wss", "URL", "the same for WebSocket: wss://host:port/path" },
    { "origin", "URL", "the Origin to name to a WebSocket server (default: none)" },
    { "conference", "URI", "role server: a conference there, which the accounts may call" },
    { "also", "HOST:PORT",
      "the target's address of the other IP family, if its name does not tell" },
    { "cert", "FILE",
      "our certificate chain and key: the tester's for a phone (without it: TCP and UDP), a "
      "browser or a PBX; the PBX's towards a trunk" },
    { "wait", "SECONDS",
      "roles phone and browser: how long a person may take to answer (default 4)" },
    { "numbers", "N1,N2", "role trunk: two numbers of the PBX, as +E.164" },
    { "listen", "HOST:PORT", "role trunk: be the provider; the PBX under test registers there" },
    { "static", "HOST:PORT",
      "role trunk: the PBX does not register; the trunk knows it by this place of ours, where it "
      "calls, and by --cert" },
    { "hands", "FILE",
      "role phone: where is written what the phone shall do (hold, press 5, dial sip:...)" },
    { "area", "AREA,...", "only requirements of these areas, such as parse,auth" },
    { "level", "LEVEL", "only MUST, SHOULD or MAY" },
    { "row", "ID,...", "only these requirements, or tests (PARSE-011/unknown-version)" },
    { "product", "TEXT", "what is tested, with its version; stands in the reports" },
    { "allow-writes", NULL, "also tests that remove bindings which they did not make" },
    { "load", "N", "also tests that send a burst: at most 2000 messages each, N a second" },
    { "yes-i-may-test-this", NULL, "the target may have a public address" },
    { "trust-network", NULL, "send credentials over UDP and TCP too, beyond this machine" },
    { "json", "FILE", "the report with all evidence; FILE.part grows while it runs" },
    { "html", "FILE", "the report as one page" },
    { "junit", "FILE", "the verdicts as JUnit XML" },
    { "baseline", "FILE", "an older JSON report: what got better or worse" },
    { "resume", NULL, "go on with FILE.part of an interrupted run" },
    { "sign", "KEYFILE", "sign each report: FILE.sig beside it (see `kith check key`)" },
    { "patience", "N",
      "wait N times longer for what must come: a slow line, a busy machine (default 1)" },
    { "rate", "N", "at most N messages and connections a second (default 200)" },
    { "jobs", "N", "tests that run side by side (default 32)" },
    { "list", NULL, "print the tests, run none" },
    { "quiet", NULL, "no progress, no summary" },
};
const size_t check_option_count = ARRAY_LEN(check_options);
