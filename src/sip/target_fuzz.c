/* Searches under answers that no honest DNS gives, connections that end in every way, and time
 * that passes as it likes. Whatever comes: a search ends once and in time, each connection that was
 * asked for is used, reported or cancelled, and nothing goes where nobody can be. */
#include "sip/target.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define OPEN_MAX   512
#define RECORD_MAX 40

static struct input { const uint8_t *at, *end; } in;
static struct targets *t;
static mono_t now;
static struct {
    uint64_t ticket;
    enum dns_type type;
} asked[OPEN_MAX];
static uint64_t connects[OPEN_MAX];
static struct {
    target_id id;
    mono_t started;
} searches[OPEN_MAX];
static unsigned asked_count, connect_count, search_count;

static void must(bool is_so) {
    if (!is_so) abort();
}
static uint8_t byte(void) {
    return in.at < in.end ? *in.at++ : 0;
}
static slice text(void) {
    static const char *const names[] = { "other.org", "a.other.org", "_sips._tcp.other.org",
                                         "",          "192.0.2.1",   "2001:db8::1" };
    uint8_t n = byte();
    if (n < 200) return slice_str(names[n % ARRAY_LEN(names)]);
    size_t left = (size_t)(in.end - in.at), want = n - 200u;
    slice s = { (const char *)in.at, want < left ? want : left };
    in.at += s.len;
    return s;
}

static struct dns_record record(enum dns_type type) {
    struct dns_record r;
    memset(&r, 0, sizeof r);
    if (type == DNS_SRV) {
        r.srv = (struct dns_srv){ byte(), byte(), byte(), text() };
    } else if (type == DNS_NAPTR) {
        r.naptr =
            (struct dns_naptr){ byte(), byte(), SLICE("s"), SLICE("SIPS+D2T"), SLICE_NONE, text() };
        if (byte() == 0) r.naptr.services = text();
    } else {
        r.addr.family = byte() % 8 ? (type == DNS_A ? ADDR_V4 : ADDR_V6) : byte();
        for (unsigned i = 0; i < (r.addr.family == ADDR_V6 ? 16 : 4); i += 3) r.addr.ip[i] = byte();
    }
    return r;
}

static void search_gone(target_id id) {
    for (unsigned i = 0; i < search_count; i++) {
        if (!pool_id_eq(searches[i].id, id)) continue;
        must(now <= searches[i].started + TARGET_SEARCH_MS);
        searches[i] = searches[--search_count];
        return;
    }
    must(false); /* it ended twice */
}

static void connect_gone(uint64_t ticket) {
    for (unsigned i = 0; i < connect_count; i++) {
        if (connects[i] != ticket) continue;
        connects[i] = connects[--connect_count];
        return;
    }
    must(false);
}

static void drain(void) {
    struct target_effect fx;
    while (targets_next_effect(t, &fx)) {
        switch (fx.what) {
        case TARGET_ASK:
            must(target_is_name(fx.question.name));
            must(asked_count < OPEN_MAX);
            asked[asked_count].ticket = fx.ticket;
            asked[asked_count++].type = fx.question.type;
            break;
        case TARGET_CONNECT:
            must(fx.addr.port != 0 && connect_count < OPEN_MAX);
            must(fx.addr.family == ADDR_V4 ? fx.addr.ip[0] && fx.addr.ip[0] < 224
                                           : fx.addr.family == ADDR_V6 && fx.addr.ip[0] != 0xff);
            connects[connect_count++] = fx.ticket;
            break;
        case TARGET_CONNECT_CANCEL:
            connect_gone(fx.ticket);
            break;
        case TARGET_FOUND:
        case TARGET_NONE:
            search_gone(fx.search);
            must((fx.what == TARGET_FOUND) == (fx.fault == TARGET_OK));
            break;
        }
    }
}

static void step(void) {
    struct dns_record records[RECORD_MAX];
    uint8_t what = byte();
    if (what < 40 && search_count < 6) {
        struct target_wanted w = { SLICE("other.org"), text(), byte() % 3, what & 1, 1 };
        target_id id;
        if (target_search(t, &w, now, &id) == ERR_OK) {
            searches[search_count].id = id;
            searches[search_count++].started = now;
        }
    } else if (what < 140 && asked_count) {
        unsigned i = byte() % asked_count;
        struct dns_answer a = { .result = (enum dns_result)(what % 5 ? 0 : byte() % 4),
                                .ttl_s = byte(),
                                .records = records };
        if (what % 7 == 0) a.ttl_s = UINT32_MAX;
        if (a.result == DNS_OK) a.count = byte() % (RECORD_MAX + 1);
        for (unsigned r = 0; r < a.count; r++) records[r] = record(asked[i].type);
        uint64_t ticket = asked[i].ticket;
        asked[i] = asked[--asked_count];
        targets_dns(t, ticket, &a, now);
    } else if (what < 190 && connect_count) {
        uint64_t ticket = connects[byte() % connect_count];
        must(targets_connected(t, ticket, (enum target_fault)(byte() % (TARGET_NOT_IT + 1)), NULL,
                               now));
        connect_gone(ticket);
    } else if (what < 200 && search_count) {
        unsigned i = byte() % search_count;
        target_cancel(t, searches[i].id, now);
        searches[i] = searches[--search_count];
    } else {
        now += (mono_t)byte() * (what % 3 ? 5 : 100);
        while (targets_wake_at(t) < now) {
            mono_t until = now;
            now = targets_wake_at(t);
            targets_run_timers(t, now);
            drain();
            now = until;
        }
        targets_run_timers(t, now);
    }
    drain();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    static const struct hash_key key = { 3, 4 };
    in = (struct input){ data, data + len };
    now = 1000;
    asked_count = connect_count = search_count = 0;
    t = targets_new(&key, len, now);
    must(t != NULL);
    for (unsigned i = 0; i < 80 && in.at < in.end; i++) step();
    while (search_count && targets_wake_at(t) != MONO_NEVER) {
        now = targets_wake_at(t);
        targets_run_timers(t, now);
        drain();
    }
    must(search_count == 0 && connect_count == 0);
    targets_free(t);
    return 0;
}
