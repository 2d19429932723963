/* cli/commands.c - every command, one row each. */
#include "cli/cli.h"

#define END                                                                                        \
    { NULL, NULL, NULL, false }

static const struct cli_option serve_options[] = {
    { "config", "FILE", "settings (see docs/config.md); without it the defaults", false },
    { "demo", NULL, "domain localhost, people alice and bob, loopback only", false },
    { "port", "PORT", "with --demo: another port than 5061; 0 takes a free one", false },
    { "lan", NULL, "with --demo: on this host's addresses too, for a real phone", false },
    END,
};
static const struct cli_option check_options[] = {
    { "print-settings", NULL, "print the manual of all settings (docs/config.md)", false },
    END,
};
static const struct cli_option add_options[] = {
    { "generate", NULL, "make a strong secret and print it once (the default)", false },
    { "password-stdin", NULL, "read the password from the first line of stdin", false },
    { "display", "NAME", "a name for people", false },
    { "alias", "USER", "a further user or number of the same domain", true },
    END,
};
static const struct cli_option password_options[] = {
    { "generate", NULL, "make a strong secret and print it once (the default)", false },
    { "password-stdin", NULL, "read the password from the first line of stdin", false },
    END,
};
static const struct cli_option legacy_options[] = {
    { "device", "NAME", "which device: \"door bell\"", false },
    { "until", "DATE", "the last day it may be used: 2027-06-30", false },
    { "why", "TEXT", "why it cannot do better; shown by `kith status`", false },
    END,
};
static const struct cli_option certificate_options[] = {
    { "out", "FILE", "where to write key and certificate (default: AOR.pem)", false },
    { "name", "NAME", "what to call the device (default: phone)", false },
    END,
};
static const struct cli_option credential_options[] = {
    { "for", "TIME", "how long it is good for, up to 30d (default: 1d)", false },
    END,
};
static const struct cli_option invite_options[] = {
    { "for", "TIME", "how long it is good for, up to 30d (default: 1d)", false },
    END,
};
static const struct cli_option click_options[] = {
    { "origin", "ORIGIN", "a site that may show the button: https://shop.example", true },
    { "at-once", "N", "visitors at the same time (default: 5)", false },
    END,
};
static const struct cli_option doctor_options[] = {
    { "dns", "ADDRESS", "ask this DNS server (default: those of /etc/resolv.conf)", false },
    END,
};
static const struct cli_option status_options[] = {
    { "openmetrics", NULL, "all figures as OpenMetrics text, for a collector", false },
    END,
};
static const struct cli_option yes_options[] = {
    { "yes", NULL, "do not ask", false },
    END,
};
static const struct cli_option trust_options[] = {
    { "yes", NULL, "do not ask", false },
    { "only", "WHERE", "system or browser (default: both)", false },
    END,
};

const struct cli_command cli_commands[] = {
    { "serve", "", 0, 0, "run the server",
      "Without a configuration file it serves the name of this machine on port 5061, the page on\n"
      "443 too (8443 where it may not), makes its own certificate authority and keeps everything\n"
      "in the data directory. Ctrl-C stops it: requests that still lack their answer get a "
      "moment,\n"
      "a second Ctrl-C does not wait for them. Then all connections close. Calls that are up go "
      "on\n"
      "between the phones, which connect again and can hang up when the server is back. SIGHUP\n"
      "reads the configuration and the certificates again.",
      "kith serve --demo", serve_options, cli_serve },
    { "check-config", "FILE", 0, 1, "check a configuration file without using it",
      "All errors are listed, each with its line and what would be right.",
      "kith check-config /etc/kith/kith.conf", check_options, cli_check_config },
    { "user add", "AOR", 1, 1, "add a person",
      "AOR is user@domain; without a domain the first one of the server is meant. The secret is\n"
      "made here and shown once; the server keeps it only in a sealed form that cannot be shown\n"
      "again.",
      "kith user add alice@example.org --alias 100", add_options, cli_user_add },
    { "user import", "FILE", 1, 1, "add many people from a file",
      "Each line of the file is `aor,password`; empty lines and lines that begin with # are "
      "skipped.\n"
      "Good lines are added, bad ones are listed with their number and the reason. - reads stdin.",
      "kith user import people.csv", NULL, cli_user_import },
    { "user list", "", 0, 0, "list the people", NULL, "kith user list --json", NULL,
      cli_user_list },
    { "user password", "AOR", 1, 1, "give a person a new secret",
      "The old one ends at once, and with it the connections that it opened.",
      "kith user password alice@example.org", password_options, cli_user_password },
    { "user disable", "AOR", 1, 1, "let a person neither call nor be called", NULL,
      "kith user disable alice@example.org", NULL, cli_user_switch },
    { "user enable", "AOR", 1, 1, "undo `user disable`", NULL, "kith user enable alice@example.org",
      NULL, cli_user_switch },
    { "user remove", "AOR", 1, 1, "remove a person with all devices",
      "Asks first when run on a terminal.", "kith user remove alice@example.org", yes_options,
      cli_user_switch },
    { "user set", "AOR NAME=VALUE...", 2, CLI_ARGS_MAX,
      "forward a person's calls, or do not disturb",
      "dnd=on                                        no phone rings; as if busy\n"
      "forward-always=bob@example.org                every call goes there\n"
      "forward-busy=bob@example.org                  when a phone is busy\n"
      "forward-no-answer=sip:bob@example.org,20s     when nobody answers for 20 s (3s to 170s)\n"
      "forward-unreachable=tel:+15551234             when no phone can be reached\n"
      "refuse-anonymous=on                           callers who hide who they are hear so\n"
      "An empty value takes a setting away. Where several apply, the first of this list of four\n"
      "forwards does; a call is forwarded five times at most, and never twice to one person.",
      "kith user set alice@example.org forward-no-answer=bob@example.org,15s dnd=", NULL,
      cli_user_set },
    { "user show", "AOR", 1, 1, "show a person and what is set", NULL,
      "kith user show alice@example.org --json", NULL, cli_user_show },
    { "user legacy", "AOR", 1, 1, "let one old device in through the legacy lane",
      "For a phone that knows only MD5 digest or plain transports. It gets a secret of its own, "
      "valid\n"
      "only on the listeners of [legacy] and only until the end date.",
      "kith user legacy bob@example.org --device \"door bell\" --until 2027-06-30 --why \"no "
      "firmware\"",
      legacy_options, cli_user_legacy },
    { "device certificate", "AOR", 1, 1, "make a certificate for a phone: better than a secret",
      "A phone that presents it needs no password at all. The key is written to the file (mode "
      "0600)\n"
      "and kept nowhere else.",
      "kith device certificate alice@example.org --name \"desk phone\" --out alice.pem",
      certificate_options, cli_device_certificate },
    { "device list", "[AOR]", 0, 1, "list what signs in as somebody: passkeys, browsers, phones",
      NULL, "kith device list alice@example.org", NULL, cli_device_list },
    { "device revoke", "NUMBER", 1, 1, "shut a device out; its connections end at once", NULL,
      "kith device revoke 7", NULL, cli_device_revoke },
    { "invite", "AOR", 1, 1, "a link that lets a person sign in on the page",
      "Opened in a browser it makes a passkey on that device, once; from then on one tap signs in. "
      "A\n"
      "fresh invitation is also how somebody comes back who lost a device.",
      "kith invite alice@example.org", invite_options, cli_invite },
    { "clicktocall add", "AOR", 1, 1, "let visitors of a site call an address",
      "Visitors need no account. They can call this address and nothing else, for an hour at most.",
      "kith clicktocall add sales@example.org --origin https://shop.example", click_options,
      cli_click_add },
    { "clicktocall list", "", 0, 0, "which addresses visitors may call, and from which sites", NULL,
      "kith clicktocall list", NULL, cli_click_list },
    { "clicktocall remove", "AOR", 1, 1, "stop visitors from calling an address", NULL,
      "kith clicktocall remove sales@example.org", NULL, cli_click_remove },
    { "turn credential", "AOR", 1, 1, "a user name and password for the relay, for a while",
      "For a phone that cannot fetch them by itself. They end by themselves, and with the person.",
      "kith turn credential alice@example.org --for 12h", credential_options, cli_turn_credential },
    { "turn list", "[AOR]", 0, 1, "who uses the relay: allocations, bytes, time left",
      "Bytes are what the relay carried to peers (up) and from them (down). Whom somebody reaches "
      "is\n"
      "not told.",
      "kith turn list alice@example.org", NULL, cli_turn_list },
    { "doctor", "[DOMAIN]", 0, 1, "what others can reach, and what to mend",
      "Without DOMAIN: looks at the server that runs on this data directory as others would: what\n"
      "the DNS says of its domains, ports, certificates, the relay with a fresh credential, the\n"
      "clock. With DOMAIN: the same from wherever you are, without a server here. Each line says\n"
      "what is so, and below it what to do. The exit code is 1 when something is to be mended.",
      "kith doctor example.org", doctor_options, cli_doctor },
    { "status", "", 0, 0, "how the running server is",
      "With --openmetrics: the figures of --json for a collector such as node_exporter's of text\n"
      "files; write them to another name first and rename, so that no half file is read.",
      "kith status --openmetrics > kith.tmp && mv kith.tmp kith.prom", status_options, cli_status },
    { "bindings", "AOR", 1, 1, "where a person is registered", NULL,
      "kith bindings alice@example.org", NULL, cli_bindings },
    { "trace", "", 0, 0, "follow calls with the decisions taken",
      "One line per decision until Ctrl-C. Nothing is recorded when nobody follows.", "kith trace",
      NULL, cli_trace },
    { "trust install", "", 0, 0, "let this machine trust the server's own CA",
      "Puts DATA/tls/ca.pem into the system's store (update-ca-certificates) and those of your\n"
      "browsers (Chromium and each profile of Firefox; certutil), after asking. Run it as the "
      "person\n"
      "who uses the browser. The CA can only speak for the names of this host and its domains.",
      "kith trust install", trust_options, cli_trust },
    { "trust remove", "", 0, 0, "take it out again", NULL, "kith trust remove", trust_options,
      cli_trust },
    { "version", "", 0, 0, "print the version", NULL, "kith version", NULL, cli_version },
};
const size_t cli_command_count = ARRAY_LEN(cli_commands);
