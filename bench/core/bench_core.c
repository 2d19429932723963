/* bench/core - one whole call through the core, without sockets and TLS: what SIP logic costs.
 *
 *   bench_core [CALLS]      prints nanoseconds of process time per call, the driver's own part
 * apart
 *
 * The driver plays both phones with canned text; its cost is measured by a run in which the core is
 * left out, and subtracted. For a profile: valgrind --tool=callgrind build/release/bench/core/...
 */
#include "base/buf.h"
#include "base/mem.h"
#include "core/core.h"
#include "crypto/crypto.h"
#include "sip/reply.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SDP                                                                                        \
    "v=0\r\no=- 3724394400 3724394405 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"  \
    "m=audio 49170 UDP/TLS/RTP/SAVP 96 0 8 101\r\na=rtpmap:96 opus/48000/2\r\n"                    \
    "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"        \
    "a=fingerprint:SHA-256 "                                                                       \
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:"   \
    "EE:FF\r\na=setup:actpass\r\na=rtcp-mux\r\na=sendrecv\r\n"

struct phone {
    flow_id flow;
    char last[8192]; /* the last request it got */
    size_t last_len;
};
struct bench {
    struct store *store;
    struct node *node;
    struct core *core;
    struct now now;
    struct phone alice, bob;
    struct sip_msg msg;
    char text[8192];
    char routes[1024];
    size_t routes_len;
    uint64_t messages;
};

static void must(enum err err, const char *what) {
    if (err == ERR_OK) return;
    (void)fprintf(stderr, "bench_core: %s: %s\n", what, err_text(err));
    exit(1);
}

static void drain(struct bench *b) {
    struct core_effect fx;
    while (core_next_effect(b->core, &fx)) {
        if (fx.kind == FX_STORE) {
            must(store_commit(b->store, fx.change, 1), "store");
            if (fx.ticket) core_stored(b->core, fx.ticket, ERR_OK, b->now);
        } else if (fx.kind == FX_SEND) {
            struct phone *p = fx.flow == b->alice.flow ? &b->alice : &b->bob;
            b->messages++;
            memcpy(p->last, fx.bytes.ptr, fx.bytes.len);
            p->last_len = fx.bytes.len;
        }
    }
}

static void say(struct bench *b, struct phone *p, slice bytes) {
    core_receive(b->core, p->flow, bytes, b->now);
    drain(b);
}

static slice response(struct bench *b, struct phone *p, unsigned status, slice sdp) {
    char lines_mem[1200];
    struct buf lines = buf_over(lines_mem, sizeof lines_mem),
               out = buf_over(b->text, sizeof b->text);
    if (sip_msg_read(&b->msg, slice_of(p->last, p->last_len), SIP_STREAM).err != ERR_OK) exit(2);
    const struct sip_header *rr = sip_first(&b->msg, HDR_RECORD_ROUTE);
    if (rr) {
        buf_put(&lines, rr->line);
        memcpy(b->routes, rr->value.ptr, rr->value.len);
        b->routes_len = rr->value.len;
    }
    buf_lit(&lines, "Contact: <sip:bob@192.0.2.2:5061>\r\n");
    struct sip_reply r = { .status = status,
                           .to_tag = SLICE("b1"),
                           .extra_lines = buf_slice(&lines),
                           .body_type = sdp.len ? SLICE("application/sdp") : SLICE_NONE,
                           .body = sdp };
    must(sip_reply(&b->msg, &r, &out), "reply");
    return buf_slice(&out);
}

static slice request(struct bench *b, const char *method, unsigned cseq, unsigned n, bool in_dialog,
                     slice sdp) {
    struct buf out = buf_over(b->text, sizeof b->text);
    buf_fmt(&out, "%s sip:bob@%s SIP/2.0\r\n", method,
            in_dialog ? "192.0.2.2:5061" : "example.org");
    buf_fmt(&out,
            "Via: SIP/2.0/TLS 192.0.2.1:40000;branch=z9hG4bK%s%u;rport\r\nMax-Forwards: 70\r\n",
            method, n);
    if (in_dialog) buf_fmt(&out, "Route: %.*s\r\n", (int)b->routes_len, b->routes);
    buf_fmt(&out,
            "From: \"Alice\" <sip:alice@example.org>;tag=a%u\r\nTo: <sip:bob@example.org>%s\r\n", n,
            in_dialog ? ";tag=b1" : "");
    buf_fmt(&out,
            "Call-ID: call%u@192.0.2.1\r\nCSeq: %u %s\r\nContact: <sip:alice@192.0.2.1:40000>\r\n",
            n, cseq, method);
    buf_lit(&out, "User-Agent: bench\r\nAllow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\n"
                  "Supported: outbound, path, gruu\r\n");
    if (sdp.len) buf_lit(&out, "Content-Type: application/sdp\r\n");
    buf_fmt(&out, "Content-Length: %zu\r\n\r\n", sdp.len);
    buf_put(&out, sdp);
    return buf_slice(&out);
}

static void one_call(struct bench *b, unsigned n) {
    say(b, &b->alice, request(b, "INVITE", 1, n, false, SLICE(SDP)));
    say(b, &b->bob, response(b, &b->bob, 180, SLICE_NONE));
    say(b, &b->bob, response(b, &b->bob, 200, SLICE(SDP)));
    say(b, &b->alice, request(b, "ACK", 1, n, true, SLICE_NONE));
    say(b, &b->alice, request(b, "BYE", 2, n, true, SLICE_NONE));
    say(b, &b->bob, response(b, &b->bob, 200, SLICE_NONE));
    b->now.mono += 1;
    b->now.wall += 1;
    if (core_wake_at(b->core) <= b->now.mono) {
        core_run_timers(b->core, b->now);
        drain(b);
    }
}

static void people(struct bench *b) {
    static const char *const users[] = { "alice", "bob" };
    for (uint32_t i = 0; i < 2; i++) {
        struct store_change a = { .op = STORE_ACCOUNT_PUT, .durability = STORE_FULL };
        a.account = (struct account_row){ .id = i + 1,
                                          .user = slice_str(users[i]),
                                          .domain = SLICE("example.org") };
        must(store_commit(b->store, &a, 1), "account");
        struct store_change d = { .op = STORE_DEVICE_PUT, .durability = STORE_FULL };
        d.device = (struct device_row){
            .id = i + 1, .account_id = i + 1, .name = SLICE("x"), .kind = DEVICE_CERTIFICATE
        };
        d.device.key_hash[0] = (uint8_t)(i + 1);
        must(store_commit(b->store, &d, 1), "device");
    }
}

static void phone_up(struct bench *b, struct phone *p, uint8_t key, const char *user) {
    struct flow_info info = { .transport = FLOW_TLS,
                              .has_device_key = true,
                              .device_key = { key } };
    struct buf out = buf_over(b->text, sizeof b->text);
    must(addr_read(SLICE("192.0.2.9:5061"), &info.local), "address");
    must(addr_read(SLICE("192.0.2.1:40000"), &info.peer), "address");
    info.peer.port = key;
    must(core_flow_open(b->core, &info, b->now, &p->flow), "flow");
    buf_fmt(&out,
            "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKr%u\r\n"
            "From: <sip:%s@example.org>;tag=1\r\nTo: <sip:%s@example.org>\r\nCall-ID: r%u\r\n"
            "CSeq: 1 REGISTER\r\nContact: <sip:%s@192.0.2.2:5061>\r\nContent-Length: 0\r\n\r\n",
            key, user, user, key, user);
    say(b, p, buf_slice(&out));
}

static double cpu_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    static struct bench b;
    static const uint8_t seed[32] = { 1 };
    long calls = argc > 1 ? strtol(argv[1], NULL, 10) : 20000;
    if (calls < 1 || calls > 10000000) return 2;
    must(crypto_init(), "crypto");
    b.store = store_memory_new();
    b.now = (struct now){ 1, 1700000000000 };
    people(&b);
    struct node_config config;
    node_config_defaults(&config);
    config.domain_count = 1;
    config.domains[0] = SLICE("example.org");
    config.seal_key = seed;
    config.guard.account = (struct guard_budget){ GUARD_BUDGET_MAX, GUARD_BUDGET_MAX };
    must(node_new(&config, b.store, b.now, &b.node), "node");
    b.core = core_new(b.node, 0, seed, b.now);
    if (!b.core) return 1;
    phone_up(&b, &b.alice, 1, "alice");
    phone_up(&b, &b.bob, 2, "bob");
    for (unsigned i = 0; i < 100; i++) one_call(&b, i);
    b.messages = 0;
    double from = cpu_ns();
    for (unsigned i = 0; i < (unsigned)calls; i++) one_call(&b, 1000 + i);
    double each = (cpu_ns() - from) / (double)calls;
    (void)printf("%.0f ns a call, %.1f messages sent a call (driver included)\n", each,
                 (double)b.messages / (double)calls);
    bool is_whole = b.messages == (uint64_t)calls * 7;
    core_free(b.core);
    node_free(b.node);
    store_close(b.store);
    return is_whole ? 0 : 1;
}
