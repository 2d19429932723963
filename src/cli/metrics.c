/* cli/metrics.c - see metrics.h. */
#include "cli/metrics.h"

enum metric_kind { GAUGE, COUNTER };

/* A figure of the status that has no row here is not exported: tests/e2e/cases_turn.py notices. */
static const struct metric {
    const char *path; /* members from the outside to the inside */
    enum metric_kind kind;
    const char *help; /* without backslash and line feed */
} metrics[] = {
    { "uptime_s", GAUGE, "How long the server runs" },
    { "workers", GAUGE, "Worker threads" },
    { "accounts", GAUGE, "People and other accounts" },
    { "bindings", GAUGE, "Registered contacts" },
    { "calls", GAUGE, "Calls that are up" },
    { "memory_bytes", GAUGE, "Resident memory" },
    { "certificate_days", GAUGE, "Days until the certificate ends" },
    { "certificate_is_local", GAUGE, "1: the certificate is of the server's own CA" },
    { "load/overloaded", GAUGE, "1: new requests are refused because of the load" },
    { "load/new_requests_taken_percent", GAUGE, "Share of new requests that is taken" },
    { "store/failing", GAUGE, "1: the storage fails" },
    { "store/waiting", GAUGE, "Changes that wait for the storage" },
    { "store/commits", COUNTER, "Commits to the storage" },
    { "store/changes", COUNTER, "Changes stored" },
    { "store/failures", COUNTER, "Commits that failed" },
    { "turn/on", GAUGE, "1: the relay is on" },
    { "turn/allocations", GAUGE, "Allocations of the relay" },
    { "turn/created", COUNTER, "Allocations made" },
    { "turn/refused", COUNTER, "Requests to the relay that were refused" },
    { "turn/bad_credentials", COUNTER, "Requests to the relay with wrong credentials" },
    { "turn/forbidden_peers", COUNTER, "Peers asked for that may not be reached" },
    { "turn/packets_up", COUNTER, "Packets relayed from clients to peers" },
    { "turn/packets_down", COUNTER, "Packets relayed from peers to clients" },
    { "turn/bytes_up", COUNTER, "Bytes relayed from clients to peers" },
    { "turn/bytes_down", COUNTER, "Bytes relayed from peers to clients" },
    { "turn/dropped", COUNTER, "Packets that the relay dropped" },
    { "turn/links", GAUGE, "TCP connections to peers (RFC 6062)" },
    { "turn/icmp", COUNTER, "ICMP errors that came back for relayed packets" },
    { "turn/limits/allocations_per_worker", GAUGE, "Limit of allocations of a worker" },
    { "turn/limits/allocations_per_account", GAUGE, "Limit of allocations of an account" },
    { "turn/limits/bytes_per_second", GAUGE, "Limit of an allocation, both ways; 0: none" },
    { "turn/limits/lifetime_s", GAUGE, "Life of an allocation that asks for none" },
    { "turn/limits/lifetime_max_s", GAUGE, "Longest life of an allocation at one asking" },
    { "legacy_count", GAUGE, "Devices that may use the legacy lane" },
    { "flows", GAUGE, "Flows: connections and UDP sources of phones" },
    { "transactions", GAUGE, "SIP transactions" },
    { "messages_in", COUNTER, "SIP messages received" },
    { "messages_out", COUNTER, "SIP messages sent" },
    { "requests", COUNTER, "SIP requests received" },
    { "responses", COUNTER, "SIP responses received" },
    { "bad_messages", COUNTER, "Messages that are no SIP" },
    { "refused", COUNTER, "SIP requests refused" },
    { "registers_ok", COUNTER, "Registrations accepted" },
    { "registers_refused", COUNTER, "Registrations refused" },
    { "calls_connected", COUNTER, "Calls that were answered" },
    { "calls_refused_unkeyed", COUNTER, "Calls refused because their media is not encrypted" },
    { "shed", COUNTER, "Requests refused because of the load" },
    { "auth_failures", COUNTER, "Wrong credentials" },
    { "mails_in", COUNTER, "Messages from other workers" },
    { "mails_out", COUNTER, "Messages to other workers" },
    { "connections", GAUGE, "Connections" },
    { "accepted", COUNTER, "Connections accepted" },
    { "refused_full", COUNTER, "Connections refused because all are taken" },
    { "refused_source", COUNTER, "Connections refused because their source has enough" },
    { "handshakes_ok", COUNTER, "TLS handshakes done" },
    { "handshakes_resumed", COUNTER, "TLS handshakes that resumed a session" },
    { "handshakes_failed", COUNTER, "TLS handshakes that failed" },
    { "handshakes_slow", COUNTER, "TLS handshakes that took too long" },
    { "closed_stalled", COUNTER, "Connections closed because the other end did not read" },
    { "closed_unfinished", COUNTER, "Connections closed because a message did not end" },
    { "closed_bad", COUNTER, "Connections closed because of what they sent" },
    { "closed_silent", COUNTER, "Connections closed because nothing came" },
    { "bytes_in", COUNTER, "Bytes received by connections" },
    { "bytes_out", COUNTER, "Bytes sent by connections" },
    { "datagrams_in", COUNTER, "Datagrams received" },
    { "datagrams_out", COUNTER, "Datagrams sent" },
    { "datagrams_dropped", COUNTER, "Datagrams dropped" },
    { "mails_refused", COUNTER, "Messages that a full worker did not take" },
    { "connects_up", GAUGE, "Connections that this server began" },
    { "connects_ok", COUNTER, "Connections begun that came about" },
    { "connects_failed", COUNTER, "Connections begun that failed" },
    { "dns_questions", COUNTER, "Questions to DNS" },
    { "dns_failures", COUNTER, "Questions to DNS without an answer" },
    { "http_requests", COUNTER, "HTTP requests" },
    { "http_refused", COUNTER, "HTTP requests refused" },
    { "websockets", COUNTER, "WebSockets opened" },
};

/* The member at the path; its name, kith_load_overloaded, into `name`. Base units are written out:
 * _s is _seconds. */
static const struct json *find(const struct json *v, const char *path, struct buf *name) {
    slice rest = slice_str(path), step;
    buf_lit(name, "kith");
    while (slice_split(&rest, '/', &step)) {
        char member[64];
        if (!slice_cstr(step, member, sizeof member)) return NULL;
        v = json_member(v, member);
        buf_fmt(name, "_" SLICE_FMT, SLICE_ARG(step));
    }
    slice whole = buf_slice(name);
    if (slice_eq(slice_from(whole, whole.len - 2), SLICE("_s"))) buf_lit(name, "econds");
    return v;
}

static void put_metric(struct buf *out, const struct json *status, const struct metric *m) {
    char mem[128];
    struct buf name = buf_over(mem, sizeof mem);
    const struct json *v = find(status, m->path, &name);
    uint64_t n = json_bool(v);
    if (json_kind(v) != JSON_KIND_BOOL && json_u64(v, UINT64_MAX >> 1, &n) != ERR_OK) return;
    slice s = buf_slice(&name);
    bool counts = m->kind == COUNTER;
    buf_fmt(out, "# TYPE " SLICE_FMT " %s\n", SLICE_ARG(s), counts ? "counter" : "gauge");
    buf_fmt(out, "# HELP " SLICE_FMT " %s.\n", SLICE_ARG(s), m->help);
    buf_fmt(out, SLICE_FMT "%s %llu\n", SLICE_ARG(s), counts ? "_total" : "",
            (unsigned long long)n);
}

void metrics_put(struct buf *out, const struct json *status) {
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) put_metric(out, status, &metrics[i]);
    buf_lit(out, "# EOF\n");
}
