/* daemon/settings.c - see settings.h. */
#include "daemon/settings.h"

#include "base/limits.h"
#include "base/units.h"
#include "daemon/config.h"
#include "daemon/suggest.h"
#include "guard/guard.h"
#include "io/io.h"

#define AT(member) offsetof(struct config, member)
#define MINUTE     60u
#define HOUR       3600u
#define DAY        86400u

static const char *const log_words[] = { "error", "warn", "info", "debug", NULL };
static const char *const yes_words[] = { "no", "yes", NULL };
static const char *const tls_words[] = { "1.2", "1.3", NULL };
static const char *const recurse_words[] = { "never", "own", NULL };
static const char *const policy_words[] = { "open", "listed", "closed", NULL };
static const char *const algorithm_words[] = { "sha-256", "sha-512-256", NULL };

const struct setting settings[] = {
    { "", "domain", SETTING_DOMAINS, AT(domains), "", 1, NODE_DOMAINS_MAX, NULL, RELOAD_LIVE, false,
      "The domains this server is responsible for, separated by commas; long lists may go on in "
      "indented lines. The first one is the realm of the digest challenge. Default: the name of "
      "the machine." },
    { "", "workers", SETTING_COUNT, AT(workers), "0", 0, NODE_WORKERS_MAX, NULL, RELOAD_RESTART,
      false, "Threads that move messages. 0: as many as the machine has cores." },

    { "listen", "tls", SETTING_ADDRS, AT(listen_tls), "0.0.0.0:5061, [::]:5061", 0,
      CONFIG_ADDRS_MAX, NULL, RELOAD_RESTART, false,
      "Where phones connect: SIP over TLS 1.2 and 1.3. IPv6 addresses stand in brackets; port 0 "
      "takes a free one." },
    { "listen", "name", SETTING_HOST, AT(listen_name), "", 0, 0, NULL, RELOAD_LIVE, false,
      "The host written into routes of calls. It must resolve to this machine, and the "
      "certificate must cover it. Default: the local address of the connection." },

    { "tls", "certificate", SETTING_PATHS, AT(tls_certificate), "", 0, CONFIG_PATHS_MAX, NULL,
      RELOAD_LIVE, false,
      "File with the certificate chain (PEM, the server's own certificate first). Several files, "
      "separated by commas, serve several domains: a phone gets the one that covers the name it "
      "asks for (SNI), or the first. Paths count from the folder of this file. Without it the "
      "server makes a local certificate authority (DATA/tls/ca.pem) and a certificate for its "
      "domains, and renews them by itself." },
    { "tls", "key", SETTING_PATHS, AT(tls_key), "", 0, CONFIG_PATHS_MAX, NULL, RELOAD_LIVE, false,
      "File with the private key that belongs to the certificate (PEM); as many files as there are "
      "certificates, in the same order." },
    { "tls", "oldest", SETTING_WORD, AT(tls_oldest), "1.2", 0, 0, tls_words, RELOAD_LIVE, false,
      "The oldest version of TLS that the listeners speak; 1.3 is taken by whoever has it. With "
      "1.3 "
      "here older phones cannot connect (RFC 9325 3.1.1, RFC 9852 4)." },
    { "tls", "client_ca", SETTING_PATHS, AT(tls_client_ca), "", 0, CONFIG_PATHS_MAX, NULL,
      RELOAD_LIVE, false,
      "Files with roots (PEM) that verify the certificates of other domains, beside those that the "
      "system trusts. Phones need none: their device certificates come from the server's own "
      "device CA, which never speaks for a domain." },

    { "federation", "policy", SETTING_WORD, AT(peers_policy), "open", 0, 0, policy_words,
      RELOAD_LIVE, false,
      "Which other domains may call and be called, always over TLS and by the name that their "
      "certificate proves. open: all but those refused; listed: those of `peers` and `trusted`; "
      "closed: none." },
    { "federation", "peers", SETTING_DOMAINS, AT(peers), "", 0, LIMIT_PEERS, NULL, RELOAD_LIVE,
      false, "Domains that may call and be called when the policy is `listed`." },
    { "federation", "trusted", SETTING_DOMAINS, AT(peers_trusted), "", 0, LIMIT_PEERS, NULL,
      RELOAD_LIVE, false,
      "Domains as in `peers` that moreover belong to our trust domain (RFC 3325): they are told "
      "who "
      "called, and what they say of that is believed." },
    { "federation", "refused", SETTING_DOMAINS, AT(peers_refused), "", 0, LIMIT_PEERS, NULL,
      RELOAD_LIVE, false, "Domains that may neither call nor be called, whatever the policy." },

    { "dns", "servers", SETTING_ADDRS, AT(dns_servers), "", 0, IO_DNS_SERVERS_MAX, NULL,
      RELOAD_RESTART, false,
      "Name servers that are asked for other domains, such as 127.0.0.1:53. Default: those of the "
      "system (/etc/resolv.conf, looked at again when it changes)." },

    { "legacy", "tls", SETTING_ADDRS, AT(legacy_tls), "", 0, CONFIG_ADDRS_MAX, NULL, RELOAD_RESTART,
      false,
      "Listeners of the legacy lane over TLS: MD5 digest, only for devices named with `kith user "
      "legacy`, each with an end date. Empty: closed. The main listeners never change their answer "
      "because of it." },
    { "legacy", "tcp", SETTING_ADDRS, AT(legacy_tcp), "", 0, CONFIG_ADDRS_MAX, NULL, RELOAD_RESTART,
      false, "The legacy lane over plain TCP: signalling can be read on the way. Empty: closed." },
    { "legacy", "udp", SETTING_ADDRS, AT(legacy_udp), "", 0, CONFIG_ADDRS_MAX, NULL, RELOAD_RESTART,
      false, "The legacy lane over UDP: signalling can be read on the way. Empty: closed." },

    { "turn", "on", SETTING_WORD, AT(turn_on), "yes", 0, 0, yes_words, RELOAD_RESTART, false,
      "Whether this server is a relay (STUN and TURN) for its own people: with credentials that "
      "end "
      "by themselves (`kith turn credential`), and to public addresses only." },
    { "turn", "listen", SETTING_ADDRS, AT(turn_listen), "", 0, CONFIG_ADDRS_MAX, NULL,
      RELOAD_RESTART, false,
      "Where clients find it by UDP and TCP. Default: the addresses of [listen] tls, port 3478. "
      "Under "
      "TLS it is reached at [listen] tls itself." },
    { "turn", "relay", SETTING_IPS, AT(turn_relay), "", 0, 0, NULL, RELOAD_RESTART, false,
      "The addresses of this host that relayed packets leave from, at most one IPv4 and one IPv6 "
      "address. Default: the best the host has." },
    { "turn", "public", SETTING_IPS, AT(turn_public), "", 0, 0, NULL, RELOAD_RESTART, false,
      "What clients are told in their place when a NAT in front of this host maps public addresses "
      "to them one to one." },
    { "turn", "first_port", SETTING_COUNT, AT(turn_first_port), "49152", 1024, 65535, NULL,
      RELOAD_RESTART, false, "The first port of relayed addresses (RFC 8656 7.2)." },
    { "turn", "last_port", SETTING_COUNT, AT(turn_last_port), "65535", 1024, 65535, NULL,
      RELOAD_RESTART, false, "The last one. A firewall must let UDP to all of them in." },
    { "turn", "allow", SETTING_NETWORKS, AT(turn_allow), "", 0, 0, NULL, RELOAD_RESTART, false,
      "Networks that the relay may reach though they are not public, for example 10.1.0.0/16, "
      "fd00::/8. Loopback, private and reserved networks and this host itself are out of reach "
      "unless they are named here." },
    { "turn", "nat64", SETTING_NETWORKS, AT(turn_nat64), "", 0, 0, NULL, RELOAD_RESTART, false,
      "Prefixes of your own NAT64 translator (/32, /40, /48, /56, /64 or /96), so that the relay "
      "sees "
      "which IPv4 address is meant. "
      "The well-known 64:ff9b::/96 is known." },
    { "turn", "allocations", SETTING_COUNT, AT(turn_allocations), "5000", 1, 1000000, NULL,
      RELOAD_RESTART, false, "Allocations per worker." },
    { "turn", "per_account", SETTING_COUNT, AT(turn_per_account), "20", 1, 10000, NULL,
      RELOAD_RESTART, false,
      "Allocations of one person at the same time; a video call takes up to four." },
    { "turn", "bytes_per_second", SETTING_COUNT, AT(turn_bytes_per_s), "1250000", 0, 1000000000,
      NULL, RELOAD_RESTART, false,
      "What one allocation may relay, both ways together. 0: as much as it can." },

    { "web", "origins", SETTING_ORIGINS, AT(web_origins), "", 0, 0, NULL, RELOAD_LIVE, false,
      "Pages that may open a WebSocket here beside the server's own, for example "
      "https://intranet.example.org (RFC 6455 10.2). Programs that are no browsers name no origin "
      "and need no leave." },

    { "log", "level", SETTING_WORD, AT(log_level), "info", 0, 0, log_words, RELOAD_LIVE, false,
      "How much is logged (JSON lines on stderr). People appear as short pseudonyms unless the "
      "level is debug; secrets appear never." },

    { "auth", "algorithm", SETTING_WORD, AT(auth_algorithm), "sha-256", 0, 0, algorithm_words,
      RELOAD_LIVE, false,
      "The one digest algorithm that the main listeners offer (RFC 8760). Both forms of every "
      "secret are stored, so it can be changed at any time." },

    { "calls", "group_ring", SETTING_DURATION, AT(group_ring_s), "20s", 3, 3 * MINUTE, NULL,
      RELOAD_LIVE, false,
      "How long the devices of one q value ring before those of the next lower one do (RFC 3261 "
      "16.6). Phones that name no q ring together." },
    { "calls", "recurse", SETTING_WORD, AT(recurse), "own", 0, 0, recurse_words, RELOAD_LIVE, false,
      "What is done when a phone sends a call elsewhere by a 3xx answer. own: it is followed here "
      "when all its addresses are of our domains, else the caller gets it; never: the caller "
      "always gets it." },
    { "calls", "session_timer", SETTING_DURATION, AT(session_timer_s), "30m", 0, DAY, NULL,
      RELOAD_LIVE, false,
      "Calls are refreshed by one of the two phones within this time, where one of them can (RFC "
      "4028), so that a call whose phone has vanished ends. At least 90s; 0: Kith asks for no "
      "refreshes, and changes none that the phones agree on." },

    { "limits", "expires_min", SETTING_DURATION, AT(expires_min_s), "60s", 10, HOUR, NULL,
      RELOAD_LIVE, false,
      "The shortest registration; a shorter wish is answered with 423 (RFC 3261 10.3)." },
    { "limits", "expires_default", SETTING_DURATION, AT(expires_default_s), "1h", 10, DAY, NULL,
      RELOAD_LIVE, false, "How long a registration lasts when the phone names no time." },
    { "limits", "expires_max", SETTING_DURATION, AT(expires_max_s), "1d", 60, DAY, NULL,
      RELOAD_LIVE, false, "The longest registration; a longer wish is shortened to it." },
    { "limits", "contacts", SETTING_COUNT, AT(contacts), "10", 1, LIMIT_CONTACTS, NULL, RELOAD_LIVE,
      false, "Devices that may be registered for one address at the same time." },
    { "limits", "flows", SETTING_COUNT, AT(flows), "200000", 16, LIMIT_FLOWS, NULL, RELOAD_RESTART,
      false, "Connections per worker. Beyond it new ones are closed." },
    { "limits", "per_source", SETTING_COUNT, AT(per_source), "1000", 0, LIMIT_FLOWS, NULL,
      RELOAD_RESTART, false,
      "Connections from one IPv4 address or one IPv6 /64, per worker. 0: as many as `flows`, which "
      "is also the default of a server that listens on loopback only." },
    { "limits", "handshake", SETTING_DURATION, AT(handshake_s), "10s", 1, MINUTE, NULL,
      RELOAD_RESTART, false, "How long a connection may take for its TLS handshake." },
    { "limits", "message", SETTING_DURATION, AT(message_s), "10s", 1, MINUTE, NULL, RELOAD_RESTART,
      false, "How long a connection may take from the first to the last byte of a message." },
    { "limits", "auth_failures_per_minute", SETTING_COUNT, AT(source_failures), "30", 1,
      GUARD_BUDGET_MAX, NULL, RELOAD_RESTART, false,
      "Wrong secrets from one source (an IPv4 address or an IPv6 /64), as many at once and in each "
      "minute after; beyond that it is banned for 10 s, then longer each time up to 15 min. A "
      "source from which somebody proved himself within the last hour may have four times as many "
      "at once; loopback has a hundred times the figure. Both hold for the next two settings "
      "too." },
    { "limits", "requests_per_minute", SETTING_COUNT, AT(source_requests), "1200", 3,
      GUARD_BUDGET_MAX, NULL, RELOAD_RESTART, false,
      "Requests of one source on connections that have proved nothing yet; a third of them may "
      "come at once. A phone that starts needs two." },
    { "limits", "connections_per_minute", SETTING_COUNT, AT(source_connections), "600", 3,
      GUARD_BUDGET_MAX, NULL, RELOAD_RESTART, false,
      "New connections of one source; a third of them may come at once." },
    { "limits", "account_requests_per_minute", SETTING_COUNT, AT(account_requests), "3000", 6,
      GUARD_BUDGET_MAX, NULL, RELOAD_RESTART, false,
      "Requests of one account over all its devices; a sixth of them may come at once. More are "
      "answered with 503." },
    { "limits", "domain_requests_per_minute", SETTING_COUNT, AT(domain_requests), "30000", 6,
      GUARD_BUDGET_MAX, NULL, RELOAD_RESTART, false,
      "Requests of one other domain, over all its connections; a sixth of them may come at once. "
      "More are answered with 503." },
    { "limits", "nonce_life", SETTING_DURATION, AT(nonce_life_s), "5m", 30, HOUR, NULL, RELOAD_LIVE,
      false, "How long the nonce of a digest challenge may be used." },
    { "limits", "ring_time", SETTING_DURATION, AT(ring_time_s), "181s", 181, HOUR, NULL,
      RELOAD_LIVE, false,
      "How long a call may ring before it is given up: Timer C, more than three minutes (RFC 3261 "
      "16.6 item 11)." },
    { "limits", "flow_idle", SETTING_DURATION, AT(flow_idle_s), "2m", 10, DAY, NULL, RELOAD_LIVE,
      false, "A connection without registration or call that is silent for this long is closed." },
    { "limits", "drain", SETTING_DURATION, AT(drain_s), "10s", 0, HOUR, NULL, RELOAD_LIVE, false,
      "How long a stopping server waits for requests that still lack their final answer; new calls "
      "and registrations get 503 meanwhile. Calls that are up are not waited for: they outlive a "
      "restart, once the phones have connected again." },
};
const size_t settings_count = ARRAY_LEN(settings);
_Static_assert(ARRAY_LEN(settings) <= SETTINGS_MAX, "struct config has a slot per row");

const struct setting *setting_find(slice section, slice name) {
    for (size_t i = 0; i < settings_count; i++)
        if (slice_eq(section, slice_str(settings[i].section)) &&
            slice_eq(name, slice_str(settings[i].name)))
            return &settings[i];
    return NULL;
}

const struct setting *setting_nearest(slice section, slice name) {
    struct suggest near = suggest_for(name);
    for (size_t i = 0; i < settings_count; i++)
        if (slice_eq(section, slice_str(settings[i].section)))
            suggest_offer(&near, slice_str(settings[i].name));
    if (near.best.len) return setting_find(section, near.best);
    const struct setting *best = NULL;
    for (size_t i = 0; i < settings_count; i++) {
        unsigned before = near.distance;
        suggest_offer(&near, slice_str(settings[i].name));
        if (near.distance < before) best = &settings[i];
    }
    return best;
}

bool setting_section_known(slice section) {
    for (size_t i = 0; i < settings_count; i++)
        if (section.len && slice_eq(section, slice_str(settings[i].section))) return true;
    return false;
}

slice setting_section_nearest(slice section) {
    struct suggest near = suggest_for(section);
    for (size_t i = 0; i < settings_count; i++)
        if (settings[i].section[0]) suggest_offer(&near, slice_str(settings[i].section));
    return near.best;
}

void setting_put_name(const struct setting *s, struct buf *out) {
    if (s->section[0]) buf_fmt(out, "[%s] ", s->section);
    buf_put(out, slice_str(s->name));
}

static void put_seconds(struct buf *out, uint64_t seconds) {
    if (seconds && seconds % DAY == 0)
        buf_fmt(out, "%ud", (unsigned)(seconds / DAY));
    else if (seconds && seconds % HOUR == 0)
        buf_fmt(out, "%uh", (unsigned)(seconds / HOUR));
    else if (seconds && seconds % MINUTE == 0)
        buf_fmt(out, "%um", (unsigned)(seconds / MINUTE));
    else
        buf_fmt(out, "%us", (unsigned)seconds);
}

void setting_put_range(const struct setting *s, struct buf *out) {
    switch (s->kind) {
    case SETTING_DOMAINS:
        buf_fmt(out, "up to %u domain names, separated by commas", (unsigned)s->max);
        break;
    case SETTING_ADDRS:
        buf_fmt(out, "up to %u addresses with port, such as 192.0.2.1:5061 or [2001:db8::1]:5061",
                (unsigned)s->max);
        break;
    case SETTING_NETWORKS:
        buf_lit(out, "networks, such as 10.1.0.0/16 or fd00::/8, separated by commas");
        break;
    case SETTING_IPS:
        buf_lit(out, "addresses without port, separated by commas");
        break;
    case SETTING_HOST:
        buf_lit(out, "a host name or address");
        break;
    case SETTING_ORIGINS:
        buf_lit(out, "origins, such as https://example.org, separated by commas");
        break;
    case SETTING_PATHS:
        buf_fmt(out, "up to %u file names, separated by commas", (unsigned)s->max);
        break;
    case SETTING_COUNT:
        buf_fmt(out, "a number from %u to %u", (unsigned)s->min, (unsigned)s->max);
        break;
    case SETTING_DURATION:
        buf_lit(out, "a duration from ");
        put_seconds(out, s->min);
        buf_lit(out, " to ");
        put_seconds(out, s->max);
        break;
    case SETTING_WORD:
        for (size_t i = 0; s->words[i]; i++)
            buf_fmt(out, "%s%s", i == 0 ? "" : s->words[i + 1] ? ", " : " or ", s->words[i]);
        break;
    }
}

/* Words of one paragraph in lines of at most 118 characters. */
static void put_wrapped(struct buf *out, slice text) {
    size_t column = 0;
    for (slice word; slice_split(&text, ' ', &word);) {
        if (column && column + 1 + word.len > 118) {
            buf_lit(out, "\n");
            column = 0;
        } else if (column) {
            buf_lit(out, " ");
            column++;
        }
        buf_put(out, word);
        column += word.len;
    }
    buf_lit(out, "\n");
}

void settings_put_manual(struct buf *out) {
    buf_lit(out,
            "# kith.conf\n\n"
            "<!-- Printed by `kith check-config --print-settings` from src/daemon/settings.c; "
            "a test compares it. -->\n\n"
            "Kith needs no configuration file. Give it one with `kith serve --config FILE`, and "
            "check it beforehand with\n`kith check-config FILE`. It is a small INI file: `name = "
            "value` below a `[section]`, comments on lines of their own\nthat begin with `#` or "
            "`;`, at most 190 characters a line. Durations are written `90s`, `15m`, `2h`, `7d`.\n"
            "\nThe whole file is checked before anything changes. `SIGHUP` reloads all of it or "
            "nothing; a change of a setting\nmarked *restart* makes the server refuse the reload "
            "and say so. People and devices are not configured here: see\n`kith user --help`.\n");
    const char *section = NULL;
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *s = &settings[i];
        if (!section || !slice_eq(slice_str(section), slice_str(s->section))) {
            section = s->section;
            if (section[0])
                buf_fmt(out, "\n## [%s]\n", section);
            else
                buf_lit(out, "\n## At the top, before any section\n");
        }
        buf_fmt(out, "\n**%s** - ", s->name);
        setting_put_range(s, out);
        const char *tick = s->fallback[0] ? "`" : "";
        buf_fmt(out, ". Default: %s%s%s. Reload: %s%s\n\n", tick,
                s->fallback[0] ? s->fallback : "none", tick,
                s->reload == RELOAD_LIVE ? "applied." : "*restart*.",
                s->is_secret ? " Secret." : "");
        put_wrapped(out, slice_str(s->manual));
    }
}
