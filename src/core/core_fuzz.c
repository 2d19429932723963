/* The whole core: bytes on flows and time in, effects out.
 *
 * An input is a list of steps, each 0xff, a byte that says what, a byte that says how long before,
 * and the bytes of a message. Low two bits of the first: which flow (alice's phone over TLS with a
 * device key, a stranger over TLS, bob's phone over TLS, a legacy device over UDP). The next three
 * bits: a message, the connection closes and comes again, its stream breaks, the store holds back
 * its answers, gives them, or fails. Bit 6: the flow is another domain's (other.org, by its
 * certificate), which a connection of ours leads to as well; the DNS knows it and nobody else. Bit
 * 7: as it is; else a Content-Length that is missing is put in. A few control characters stand for
 * what a phone would copy from what it heard: see fill().
 *
 * Whatever comes: each message sent is a whole SIP message, nothing goes over a flow that is
 * closed, one step brings a bounded number of effects, and 300 s later no transaction is left. */
#include "core/core.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "sip/hdr.h"
#include "sip/msg.h"
#include <stdatomic.h>
#include <stdlib.h>

#define must(cond) ((cond) ? (void)0 : abort())

enum {
    FLOWS = 5,
    OTHER = 4, /* the flow of other.org */
    ASKED_MAX = 64,
    STEPS_MAX = 24,
    MESSAGE_MAX = 16384,
    HEARD_MAX = 70000,
    EFFECTS_MAX = 400, /* of one step: 16 accounts of 16 devices at most, and their answers */
    TICKETS_MAX = 64
};

struct heard { /* the last request that came over a flow */
    char bytes[HEARD_MAX];
    struct sip_msg msg;
    bool is_there;
};
static struct asked { /* of the DNS, or a connection */
    enum core_effect_kind kind;
    uint64_t ticket;
    uint8_t type;
    bool is_known;
} asked[ASKED_MAX];
static unsigned asked_count;
static const struct peer_cert other_cert = { .is_verified = true,
                                             .dns_count = 2,
                                             .dns = { { "other.org", 9 }, { "*.org", 5 } } };
static struct peer {
    struct flow_info info;
    flow_id id;
    bool is_open;
    struct heard request;
} peers[FLOWS];
static char route[1024];
static size_t route_len;
static struct store *store;
static struct node *node;
static struct core *core;
static struct now now;
static uint64_t tickets[TICKETS_MAX];
static unsigned ticket_count, effects;
static bool is_held, is_broken, is_unreadable; /* unreadable: the message of this step */
static const uint8_t seal[32] = { 7 };

static void put_account(uint32_t id, slice user) {
    struct store_change change = { .op = STORE_ACCOUNT_PUT, .durability = STORE_FULL };
    change.account = (struct account_row){ .id = id, .user = user, .domain = SLICE("example.org") };
    /* One of them has wishes, so that strangers' histories and 3xx meet call forwarding. */
    if (id == 2)
        change.account.settings =
            SLICE("forward-busy=sip:alice@example.org\nforward-no-answer=sip:x@other.org,3s\n"
                  "forward-unreachable=sip:alice@example.org\n");
    must(store_commit(store, &change, 1) == ERR_OK);
    change = (struct store_change){ .op = STORE_DEVICE_PUT, .durability = STORE_FULL };
    change.device = (struct device_row){
        .id = id, .account_id = id, .kind = DEVICE_CERTIFICATE, .name = SLICE("phone")
    };
    change.device.key_hash[0] = (uint8_t)id;
    must(store_commit(store, &change, 1) == ERR_OK);
}

static void begin(void) {
    static const struct flow_info infos[FLOWS] = {
        { .transport = FLOW_TLS, .has_device_key = true, .device_key = { 1 } },
        { .transport = FLOW_TLS },
        { .transport = FLOW_TLS, .has_device_key = true, .device_key = { 2 } },
        { .transport = FLOW_UDP, .lane = LANE_LEGACY },
        { .transport = FLOW_TLS, .cert = &other_cert },
    };
    struct node_config config;
    must(crypto_init() == ERR_OK);
    log_set_level(LOG_ERROR);
    now = (struct now){ 1000, 1700000000000 };
    ticket_count = asked_count = 0;
    route_len = 0;
    is_held = is_broken = false;
    must((store = store_memory_new()) != NULL);
    put_account(1, SLICE("alice"));
    put_account(2, SLICE("bob"));
    node_config_defaults(&config);
    config.workers = 1;
    config.domain_count = 1;
    config.domains[0] = SLICE("example.org");
    config.flows_max = 16;
    config.seal_key = seal;
    must(node_new(&config, store, now, &node) == ERR_OK);
    must((core = core_new(node, 0, seal, now)) != NULL);
    for (unsigned i = 0; i < FLOWS; i++) {
        struct peer *p = &peers[i];
        p->info = infos[i];
        p->is_open = p->request.is_there = false;
        must(addr_read(SLICE("192.0.2.1:5061"), &p->info.local) == ERR_OK);
        must(addr_read(SLICE("198.51.100.1:40000"), &p->info.peer) == ERR_OK);
        p->info.peer.port = (uint16_t)(40000 + i);
    }
}

static void end(void) {
    core_free(core);
    node_free(node);
    store_close(store);
}

/* ---- effects ---- */

static void hear(flow_id flow, slice bytes) {
    static struct sip_msg m;
    struct peer *p = NULL;
    for (unsigned i = 0; i < FLOWS; i++)
        if (peers[i].is_open && peers[i].id == flow) p = &peers[i];
    must(p != NULL); /* nothing is sent over a flow that is closed */
    struct sip_read r = sip_msg_read(&m, bytes, SIP_STREAM);
    must(r.used == bytes.len);
    /* RFC 3261 8.2.6.2: a 400 carries From, To, Call-ID and CSeq of the request as they came, so
     * the answer to what cannot be read need not be readable, but for where it ends. */
    if (r.err != ERR_OK) {
        must(is_unreadable && !m.is_request);
        return;
    }
    slice rr = sip_value(&m, HDR_RECORD_ROUTE);
    if (rr.len && rr.len < sizeof route) {
        memcpy(route, rr.ptr, rr.len);
        route_len = rr.len;
    }
    if (!m.is_request || bytes.len > HEARD_MAX) return;
    memcpy(p->request.bytes, bytes.ptr, bytes.len);
    r = sip_msg_read(&p->request.msg, slice_of(p->request.bytes, bytes.len), SIP_STREAM);
    p->request.is_there = r.err == ERR_OK;
}

static flow_id perform(const struct core_effect *fx) {
    must(++effects <= EFFECTS_MAX);
    switch (fx->kind) {
    case FX_SEND:
        hear(fx->flow, fx->bytes);
        break;
    case FX_CLOSE:
        for (unsigned i = 0; i < FLOWS; i++)
            if (peers[i].is_open && peers[i].id == fx->flow) peers[i].is_open = false;
        return fx->flow;
    case FX_MAIL:
        must(false); /* there is one worker */
        break;
    case FX_STORE: {
        enum err e = is_broken ? ERR_IO : store_commit(store, fx->change, 1);
        must(is_broken || e == ERR_OK);
        if (!fx->ticket) break;
        must(ticket_count < TICKETS_MAX || !is_held);
        if (ticket_count < TICKETS_MAX) tickets[ticket_count++] = fx->ticket;
        break;
    }
    case FX_TRACE:
        break;
    case FX_DNS:
    case FX_CONNECT:
        must(asked_count < ASKED_MAX);
        asked[asked_count++] = (struct asked){ fx->kind, fx->ticket, fx->dns_type,
                                               slice_ieq(fx->name, SLICE("other.org")) };
        break;
    case FX_CONNECT_CANCEL:
        for (unsigned i = 0; i < asked_count; i++)
            if (asked[i].kind == FX_CONNECT && asked[i].ticket == fx->ticket)
                asked[i] = asked[--asked_count];
        break;
    }
    return FLOW_NONE;
}

static void answer(struct asked a) {
    static const struct dns_record at = { .addr = { .family = ADDR_V4, .ip = { 203, 0, 113, 5 } } };
    struct peer *p = &peers[OTHER];
    if (a.kind == FX_DNS) {
        bool is_there = a.is_known && a.type == DNS_A;
        core_dns(
            core, a.ticket,
            &(struct dns_answer){
                .result = is_there ? DNS_OK : DNS_NODATA, .ttl_s = 60, .records = &at, .count = 1 },
            now);
        return;
    }
    flow_id flow;
    enum err result = p->is_open ? ERR_CLOSED : ERR_OK; /* there is one of them */
    if (core_connected(core, a.ticket, result, NULL, &p->info, now, &flow) != ERR_OK) return;
    must(result == ERR_OK && a.is_known);
    p->id = flow;
    p->is_open = true;
}

/* All effects are taken before the core hears anything, for its bytes live no longer. */
static void drain(void) {
    struct core_effect fx;
    for (bool any = true; any;) {
        flow_id closed[FLOWS * 2];
        unsigned count = 0;
        any = false;
        while (core_next_effect(core, &fx)) {
            flow_id f = perform(&fx);
            if (f != FLOW_NONE && count < ARRAY_LEN(closed)) closed[count++] = f;
            any = true;
        }
        while (count) core_flow_closed(core, closed[--count], now);
        if (asked_count) {
            answer(asked[--asked_count]);
            any = true;
            continue;
        }
        while (ticket_count && !is_held) {
            core_stored(core, tickets[--ticket_count], is_broken ? ERR_IO : ERR_OK, now);
            any = true;
            while (core_next_effect(core, &fx)) {
                flow_id f = perform(&fx);
                if (f != FLOW_NONE && count < ARRAY_LEN(closed)) closed[count++] = f;
            }
        }
        while (count) core_flow_closed(core, closed[--count], now);
    }
}

static uint64_t in_flight(void) {
    return atomic_load(&core_counters(core)->transactions);
}

static void wait(int64_t ms) {
    mono_t until = now.mono + ms;
    for (unsigned turns = 0;; turns++) {
        must(turns < 20000); /* timers come to rest */
        mono_t wake = core_wake_at(core);
        /* Without transactions only sweeps are left: they may as well come late. */
        if (wake > until || in_flight() == 0) wake = until;
        if (wake <= now.mono && wake < until) wake = now.mono + 1;
        now.wall += wake - now.mono;
        now.mono = wake;
        effects = 0;
        core_run_timers(core, now);
        drain();
        if (now.mono >= until) return;
    }
}

/* ---- steps ---- */

static bool flow_up(struct peer *p) {
    if (p->info.transport == FLOW_UDP)
        p->is_open = core_flow_datagram(core, &p->info, now, &p->id) == ERR_OK;
    else if (!p->is_open)
        p->is_open = core_flow_open(core, &p->info, now, &p->id) == ERR_OK;
    return p->is_open;
}

static void put_fields(struct buf *b, const struct sip_msg *m, enum sip_header_id id) {
    for (const struct sip_header *h = sip_first(m, id); h; h = sip_next(m, h)) buf_put(b, h->line);
}

/* \1: all Via, Record-Route, Call-ID and CSeq lines of the last request heard here. \2 To, \3 From:
 * its values. \4: the Record-Route heard last, of anybody. \5: its Call-ID. \6: its Via's branch.
 */
static void fill(struct buf *b, slice s, const struct heard *h) {
    const struct sip_msg *m = &h->msg;
    for (size_t i = 0; i < s.len && !b->full; i++) {
        char c = s.ptr[i];
        if (c == 4)
            buf_put(b, slice_of(route, route_len));
        else if (c < 1 || c > 6)
            buf_put(b, slice_of(&s.ptr[i], 1));
        else if (!h->is_there)
            continue;
        else if (c == 1) {
            put_fields(b, m, HDR_VIA);
            put_fields(b, m, HDR_RECORD_ROUTE);
            put_fields(b, m, HDR_CALL_ID);
            put_fields(b, m, HDR_CSEQ);
        } else
            buf_put(b, c == 2   ? m->to.value
                       : c == 3 ? m->from.value
                       : c == 5 ? m->call_id
                                : m->via.branch);
    }
}

/* Content-Length, when the head has none. */
static slice framed(struct buf *b, slice s, char *mem) {
    size_t at = slice_find_slice(s, SLICE("\r\n\r\n"));
    if (at >= s.len || slice_find_slice(s, SLICE("Content-Length")) < at) return s;
    *b = buf_over(mem, MESSAGE_MAX + 64);
    buf_put(b, slice_head(s, at));
    buf_fmt(b, "\r\nContent-Length: %zu", s.len - at - 4);
    buf_put(b, slice_from(s, at));
    return buf_slice(b);
}

static void message(struct peer *p, slice text, bool is_raw) {
    char mem[MESSAGE_MAX], more[MESSAGE_MAX + 64];
    struct buf b = buf_over(mem, sizeof mem);
    if (!flow_up(p)) return;
    fill(&b, text, &p->request);
    slice s = buf_slice(&b);
    if (!is_raw) s = framed(&b, s, more);
    char *exact = malloc(s.len ? s.len : 1); /* so that a sanitizer sees a byte too far */
    must(exact != NULL);
    if (s.len) memcpy(exact, s.ptr, s.len);
    static struct sip_msg m;
    enum sip_framing framing = flow_is_reliable(&p->info) ? SIP_STREAM : SIP_DATAGRAM;
    is_unreadable = sip_msg_read(&m, slice_of(exact, s.len), framing).err != ERR_OK;
    core_receive(core, p->id, slice_of(exact, s.len), now);
    free(exact);
}

static void step(uint8_t what, uint8_t when, slice text) {
    struct peer *p = &peers[what & 0x40 ? OTHER : what & 3];
    wait(when < 64 ? when : (int64_t)(when - 63) * 500);
    effects = 0;
    is_unreadable = false;
    switch (what >> 2 & 7) {
    case 1:
        if (p->is_open && p->info.transport != FLOW_UDP) {
            p->is_open = false;
            core_flow_closed(core, p->id, now);
        }
        break;
    case 2:
        if (p->is_open && p->info.transport != FLOW_UDP)
            core_bad_stream(core, p->id, "no message", now);
        break;
    case 3:
        is_held = true;
        break;
    case 4:
        is_held = false;
        break;
    case 5:
        is_broken = !is_broken;
        break;
    default:
        message(p, text, what & 0x80);
    }
    drain();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    slice rest = slice_of((const char *)data, size), text;
    int64_t live = mem_live();
    begin();
    for (unsigned steps = 0; rest.len && steps < STEPS_MAX; steps++) {
        if ((uint8_t)rest.ptr[0] != 0xff || rest.len < 3) break;
        uint8_t what = (uint8_t)rest.ptr[1], when = (uint8_t)rest.ptr[2];
        rest = slice_from(rest, 3);
        const char *next = rest.len ? memchr(rest.ptr, 0xff, rest.len) : NULL;
        size_t len = next ? (size_t)(next - rest.ptr) : rest.len;
        text = slice_head(rest, len);
        rest = slice_from(rest, len);
        step(what, when, text);
    }
    is_held = false;
    effects = 0;
    drain();
    wait(300000); /* Timer C, and what a CANCEL that nobody answers may take after it */
    must(in_flight() == 0 && atomic_load(&core_counters(core)->open) == 0);
    end();
    must(mem_live() == live);
    return 0;
}
