#include "unit.h"

#include "sip/target.h"
#include <string.h>

/* ---- a world: a zone in text, connections that are told what becomes of them ---- */

#define ZONE_MAX  64
#define EVENT_MAX 128

struct zone_row {
    const char *name;
    enum dns_type type;
    enum dns_result result;
    uint32_t ttl;
    const char *data; /* "a, b": addresses; "prio weight port target"; NAPTR: see naptr() */
    bool is_silent;
};
struct rig {
    struct targets *t;
    mono_t now;
    struct zone_row zone[ZONE_MAX];
    unsigned zone_count;
    char asked[EVENT_MAX][300]; /* "SRV _sips._tcp.other.org" */
    unsigned asked_count;
    struct {
        char text[64]; /* "192.0.2.1:5061" */
        mono_t at;
        uint64_t ticket;
        bool is_cancelled;
    } tried[EVENT_MAX];
    unsigned tried_count;
    uint64_t silent[EVENT_MAX];
    unsigned silent_count;
    target_id search;
    enum { WAITS, FOUND, NONE } end;
    char found[64];
    enum target_fault fault;
    char words[128];
};

static void setup(struct rig *r) {
    static const struct hash_key key = { 1, 2 };
    memset(r, 0, sizeof *r);
    r->now = 1000000;
    r->t = targets_new(&key, 42, r->now);
    assert_non_null(r->t);
}
#define RIG                                                                                        \
    struct rig rig, *r = &rig;                                                                     \
    (void)state;                                                                                   \
    setup(r)

static void zone(struct rig *r, enum dns_type type, const char *name, const char *data) {
    assert_true(r->zone_count < ZONE_MAX);
    r->zone[r->zone_count++] = (struct zone_row){ name, type, DNS_OK, 300, data, false };
}
static void zone_none(struct rig *r, enum dns_type type, const char *name, enum dns_result result,
                      uint32_t ttl) {
    assert_true(r->zone_count < ZONE_MAX);
    r->zone[r->zone_count++] = (struct zone_row){ name, type, result, ttl, "", false };
}

/* One row of text into a record; fields are separated by one space, "-" is empty. */
static slice field(slice *rest) {
    slice f = SLICE_NONE;
    (void)slice_split(rest, ' ', &f);
    return slice_eq(f, SLICE("-")) ? SLICE_NONE : f;
}
static uint16_t number(slice *rest) {
    uint32_t v = 0;
    assert_ok(slice_u32(field(rest), 65535, &v));
    return (uint16_t)v;
}
static struct dns_record record(enum dns_type type, slice text) {
    struct dns_record rec;
    memset(&rec, 0, sizeof rec);
    if (type == DNS_SRV) {
        rec.srv.priority = number(&text);
        rec.srv.weight = number(&text);
        rec.srv.port = number(&text);
        rec.srv.target = field(&text);
    } else if (type == DNS_NAPTR) {
        rec.naptr.order = number(&text);
        rec.naptr.preference = number(&text);
        rec.naptr.flags = field(&text);
        rec.naptr.services = field(&text);
        rec.naptr.regexp = field(&text);
        rec.naptr.replacement = field(&text);
    } else {
        assert_ok(addr_read_ip(text, &rec.addr));
    }
    return rec;
}

static void answer(struct rig *r, uint64_t ticket, const struct zone_row *row) {
    struct dns_record records[40];
    struct dns_answer a = { .result = DNS_NXDOMAIN, .ttl_s = 60 };
    if (row) {
        slice rest = slice_str(row->data), one;
        a = (struct dns_answer){ .result = row->result, .ttl_s = row->ttl, .records = records };
        while (slice_split(&rest, ',', &one))
            records[a.count++] = record(row->type, slice_trim(one));
    }
    targets_dns(r->t, ticket, &a, r->now);
}

static const char *type_name(enum dns_type type) {
    static const char *const names[] = {
        [DNS_A] = "A", [DNS_AAAA] = "AAAA", [DNS_SRV] = "SRV", [DNS_NAPTR] = "NAPTR"
    };
    return names[type];
}

static const struct zone_row *zone_find(const struct rig *r, const struct dns_question *q) {
    for (unsigned i = 0; i < r->zone_count; i++)
        if (r->zone[i].type == q->type && slice_ieq(slice_str(r->zone[i].name), q->name))
            return &r->zone[i];
    return NULL;
}

static void put_addr(char *dst, size_t len, const struct addr *a) {
    struct buf b = buf_over(dst, len - 1);
    addr_put(&b, a);
    dst[b.len] = 0;
}

static bool take(struct rig *r) {
    struct target_effect fx;
    if (!targets_next_effect(r->t, &fx)) return false;
    assert_true(r->asked_count < EVENT_MAX && r->tried_count < EVENT_MAX);
    switch (fx.what) {
    case TARGET_ASK: {
        (void)snprintf(r->asked[r->asked_count++], sizeof r->asked[0], "%s " SLICE_FMT,
                       type_name(fx.question.type), SLICE_ARG(fx.question.name));
        const struct zone_row *row = zone_find(r, &fx.question);
        if (row && row->is_silent)
            r->silent[r->silent_count++] = fx.ticket;
        else
            answer(r, fx.ticket, row);
        break;
    }
    case TARGET_CONNECT: {
        uint64_t user = 0;
        assert_true(targets_ticket(r->t, fx.ticket, &user));
        assert_int_equal(user, 77);
        assert_int_equal(fx.user, 77);
        r->tried[r->tried_count].at = r->now;
        r->tried[r->tried_count].ticket = fx.ticket;
        r->tried[r->tried_count].is_cancelled = false;
        put_addr(r->tried[r->tried_count++].text, sizeof r->tried[0].text, &fx.addr);
        break;
    }
    case TARGET_CONNECT_CANCEL:
        assert_false(targets_connected(r->t, fx.ticket, TARGET_OK, NULL, r->now));
        for (unsigned i = 0; i < r->tried_count; i++)
            if (r->tried[i].ticket == fx.ticket) {
                assert_false(r->tried[i].is_cancelled);
                r->tried[i].is_cancelled = true;
            }
        break;
    case TARGET_FOUND:
        r->end = FOUND;
        put_addr(r->found, sizeof r->found, &fx.addr);
        break;
    case TARGET_NONE:
        r->end = NONE;
        r->fault = fx.fault;
        (void)snprintf(r->words, sizeof r->words, "%s", fx.words);
        break;
    }
    return true;
}

static void drain(struct rig *r) {
    while (take(r)) {}
}

/* Time passes, millisecond timers as they come. */
static void pass(struct rig *r, int64_t ms) {
    mono_t until = r->now + ms;
    for (mono_t at; (at = targets_wake_at(r->t)) <= until;) {
        if (at > r->now) r->now = at;
        targets_run_timers(r->t, r->now);
        drain(r);
    }
    r->now = until;
    targets_run_timers(r->t, r->now);
    drain(r);
}

static void search_of(struct rig *r, const char *host, uint16_t port, bool is_retry) {
    struct target_wanted w = { slice_str(host), slice_str(host), port, is_retry, 77 };
    r->tried_count = r->asked_count = 0;
    r->end = WAITS;
    assert_ok(target_search(r->t, &w, r->now, &r->search));
    drain(r);
}
static void search(struct rig *r) { /* one at a time */
    target_cancel(r->t, r->search, r->now);
    drain(r);
    search_of(r, "other.org", 0, false);
}

static void connected(struct rig *r, unsigned i, enum target_fault fault, const char *words) {
    assert_true(i < r->tried_count);
    assert_true(targets_connected(r->t, r->tried[i].ticket, fault, words, r->now));
    drain(r);
}
static void assert_tried(const struct rig *r, unsigned i, const char *text) {
    if (i >= r->tried_count) fail_msg("%s was not tried", text);
    assert_string_equal(r->tried[i].text, text);
}
/* All of them fail at once, until there is no more. */
static void fail_all(struct rig *r) {
    for (unsigned i = 0; r->end == WAITS; i++) {
        pass(r, 10);
        connected(r, i, TARGET_NO_TLS, NULL);
    }
}
static bool was_asked(const struct rig *r, const char *what) {
    for (unsigned i = 0; i < r->asked_count; i++)
        if (strcmp(r->asked[i], what) == 0) return true;
    return false;
}
static void done(struct rig *r) {
    targets_free(r->t);
    r->t = NULL;
}

/* ---- RFC 3263 ---- */

static void finds_a_bare_name(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.0.2.1");
    search(r);
    /* RFC 3263 4.1 with the house rule: TLS or nothing, so no _sip._udp, no _sip._tcp. */
    assert_true(was_asked(r, "NAPTR other.org") && was_asked(r, "SRV _sips._tcp.other.org"));
    assert_true(was_asked(r, "AAAA other.org") && was_asked(r, "A other.org"));
    assert_int_equal(r->asked_count, 4);
    assert_tried(r, 0, "192.0.2.1:5061");
    connected(r, 0, TARGET_OK, NULL);
    assert_int_equal(r->end, FOUND);
    assert_string_equal(r->found, "192.0.2.1:5061");
    done(r);
}

static void follows_naptr_to_tls_only(void **state) {
    RIG;
    /* RFC 3263 4.1: services that we cannot use are discarded, whatever their order. */
    zone(r, DNS_NAPTR, "other.org",
         "10 10 s SIP+D2U - _sip._udp.other.org, 20 10 s SIP+D2T - _sip._tcp.other.org,"
         "90 20 s SIPS+D2T - _sips._tcp.second.net, 90 10 s sips+d2t - _sips._tcp.first.net,"
         "1 1 s SIPS+D2T !x!y! _sips._tcp.regexp.net, 1 1 u SIPS+D2T - _sips._tcp.flag.net");
    zone(r, DNS_SRV, "_sips._tcp.first.net", "0 0 5071 a.first.net");
    zone(r, DNS_SRV, "_sips._tcp.second.net", "0 0 5072 a.second.net");
    zone(r, DNS_A, "a.first.net", "192.0.2.1");
    zone(r, DNS_A, "a.second.net", "192.0.2.2");
    zone(r, DNS_A, "other.org", "192.0.2.9");
    search(r);
    assert_tried(r, 0, "192.0.2.1:5071");
    fail_all(r);
    assert_tried(r, 1, "192.0.2.2:5072"); /* RFC 3403 4.1: by order, then by preference */
    assert_int_equal(r->tried_count, 2);
    for (unsigned i = 0; i < r->asked_count; i++) {
        assert_null(strstr(r->asked[i], "_sip._"));
        assert_null(strstr(r->asked[i], "regexp"));
        assert_null(strstr(r->asked[i], "flag"));
    }
    done(r);
}

static void goes_by_srv_without_naptr(void **state) {
    RIG;
    zone(r, DNS_NAPTR, "other.org", "10 10 s SIP+D2U - _sip._udp.other.org");
    zone(r, DNS_SRV, "_sips._tcp.other.org",
         "20 0 5063 c.other.org, 10 0 5062 b.other.org, 5 0 0 port.other.org");
    zone(r, DNS_A, "b.other.org", "192.0.2.2");
    zone(r, DNS_A, "c.other.org", "192.0.2.3");
    zone(r, DNS_A, "port.other.org", "192.0.2.4");
    search(r);
    fail_all(r);
    assert_tried(r, 0, "192.0.2.2:5062");
    assert_tried(r, 1, "192.0.2.3:5063");
    assert_int_equal(r->tried_count, 2);
    assert_int_equal(r->fault, TARGET_NO_TLS);
    assert_string_equal(r->words, "offers no TLS");
    done(r);
}

static void believes_that_there_is_no_service(void **state) {
    RIG;
    zone(r, DNS_SRV, "_sips._tcp.other.org", "0 0 0 -"); /* RFC 2782: a target of "." */
    zone(r, DNS_A, "other.org", "192.0.2.1");
    search(r);
    assert_int_equal(r->end, NONE);
    assert_int_equal(r->tried_count, 0);
    assert_string_equal(r->words, "offers no TLS");
    assert_false(was_asked(r, "A other.org"));
    done(r);
}

static void takes_ports_and_addresses_as_written(void **state) {
    RIG;
    zone(r, DNS_SRV, "_sips._tcp.other.org", "0 0 5099 a.other.org");
    zone(r, DNS_A, "other.org", "192.0.2.1");
    search_of(r, "Other.ORG", 5081, false); /* RFC 3263 4.2: a port means addresses, no SRV */
    assert_int_equal(r->asked_count, 2);
    assert_tried(r, 0, "192.0.2.1:5081");
    search_of(r, "2001:db8::7", 0, false);
    assert_int_equal(r->asked_count, 0);
    assert_tried(r, 0, "[2001:db8::7]:5061");
    search_of(r, "192.0.2.7", 7, false);
    assert_tried(r, 0, "192.0.2.7:7");
    struct target_wanted w = { SLICE("a..b"), SLICE("a..b"), 0, false, 77 };
    assert_err(target_search(r->t, &w, r->now, &r->search), ERR_BAD);
    done(r);
}

static void tells_names_from_others(void **state) {
    (void)state;
    assert_true(target_is_name(UNIT_GUARD("other.org")));
    assert_true(target_is_name(UNIT_GUARD("_sips._tcp.Other.org")));
    assert_true(target_is_name(UNIT_GUARD("xn--bcher-kva.example")));
    assert_true(target_is_name(UNIT_GUARD("a1")));
    assert_true(target_is_name(UNIT_GUARD("3com")));
    static const char *const bad[] = { "",          ".",    "a.",    ".a",           "a..b",
                                       "192.0.2.1", "::1",  "[::1]", "a b",          "a/b",
                                       "*.b",       "a.12", "1",     "b\xc3\xbc.de", "a.b:5061" };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(target_is_name(unit_guard(bad[i], strlen(bad[i]))));
    char longest[255];
    memset(longest, 'a', sizeof longest);
    for (unsigned i = 63; i < sizeof longest; i += 64) longest[i] = '.';
    assert_true(target_is_name(slice_of(longest, 253)));
    assert_false(target_is_name(slice_of(longest, 254)));
    longest[63] = 'a';
    assert_false(target_is_name(slice_of(longest, 100)));
}

/* RFC 2782: what is drawn first goes by weight; weight 0 has a small chance, never none. */
static void draws_by_weight(void **state) {
    RIG;
    unsigned first[3] = { 0 };
    zone(r, DNS_SRV, "_sips._tcp.other.org",
         "1 0 5061 a.other.org, 1 10 5061 b.other.org, 1 30 5061 c.other.org");
    zone(r, DNS_A, "a.other.org", "192.0.2.1");
    zone(r, DNS_A, "b.other.org", "192.0.2.2");
    zone(r, DNS_A, "c.other.org", "192.0.2.3");
    for (unsigned i = 0; i < 4000; i++) {
        search(r);
        first[r->tried[0].text[8] - '1']++;
        target_cancel(r->t, r->search, r->now);
        drain(r);
        assert_true(r->tried[0].is_cancelled);
    }
    assert_in_range(first[0], 40, 180);    /* 1 in 41: 98 */
    assert_in_range(first[1], 850, 1100);  /* 10 in 41: 976 */
    assert_in_range(first[2], 2800, 3050); /* 30 in 41: 2927 */
    done(r);
}

/* ---- RFC 7984, RFC 6724 ---- */

static void keeps_servers_apart(void **state) {
    RIG;
    /* RFC 7984 4: the example of the RFC, but that families take turns (RFC 8305 4). */
    zone(r, DNS_SRV, "_sips._tcp.other.org", "10 1 5061 s1.other.org, 20 1 5061 s2.other.org");
    zone(r, DNS_AAAA, "s1.other.org", "2001:db8:58:c02::face, 2001:db8:c:a06::2:cafe");
    zone(r, DNS_A, "s1.other.org", "192.0.2.45, 203.0.113.109, 198.51.100.24");
    zone(r, DNS_AAAA, "s2.other.org", "2001:db8:58:c02::dead");
    zone(r, DNS_A, "s2.other.org", "192.0.2.75");
    search(r);
    fail_all(r);
    static const char *const order[] = { "[2001:db8:58:c02::face]:5061",
                                         "192.0.2.45:5061",
                                         "[2001:db8:c:a06::2:cafe]:5061",
                                         "203.0.113.109:5061",
                                         "198.51.100.24:5061",
                                         "[2001:db8:58:c02::dead]:5061",
                                         "192.0.2.75:5061" };
    for (unsigned i = 0; i < ARRAY_LEN(order); i++) assert_tried(r, i, order[i]);
    assert_int_equal(r->tried_count, ARRAY_LEN(order));
    done(r);
}

static void orders_by_policy_table(void **state) {
    RIG;
    /* RFC 6724 2.1: native IPv6, IPv4, 6to4, Teredo, unique local. */
    zone(r, DNS_AAAA, "other.org", "fd00::1, 2001:0:1::1, 2002:c000:201::1, 2001:db8::1");
    zone(r, DNS_A, "other.org", "192.0.2.1");
    search(r);
    fail_all(r);
    assert_tried(r, 0, "[2001:db8::1]:5061");
    assert_tried(r, 1, "192.0.2.1:5061");
    assert_tried(r, 2, "[2002:c000:201::1]:5061");
    assert_tried(r, 3, "[2001:0:1::1]:5061");
    assert_tried(r, 4, "[fd00::1]:5061");
    done(r);
}

static void takes_networks_as_they_are(void **state) {
    RIG;
    /* An IPv6-only network with DNS64: what it gives is the way (RFC 6147). */
    zone(r, DNS_AAAA, "six.org", "64:ff9b::c000:201");
    zone(r, DNS_A, "four.org", "192.0.2.4");
    /* RFC 7984 3.1: records of no use are passed over. */
    zone(r, DNS_A, "odd.org", "0.0.0.0, 224.0.0.1, 192.0.2.5, 255.255.255.255");
    zone(r, DNS_AAAA, "odd.org", "ff02::1, fe80::1, ::, ::ffff:192.0.2.1");
    search_of(r, "six.org", 0, false);
    assert_tried(r, 0, "[64:ff9b::c000:201]:5061");
    search_of(r, "four.org", 0, false);
    assert_tried(r, 0, "192.0.2.4:5061");
    search_of(r, "odd.org", 0, false);
    fail_all(r);
    assert_tried(r, 0, "192.0.2.5:5061");
    assert_int_equal(r->tried_count, 1);
    done(r);
}

/* ---- RFC 8305 ---- */

static void races_within_a_server(void **state) {
    RIG;
    zone(r, DNS_SRV, "_sips._tcp.other.org", "1 0 5061 s1.other.org, 2 0 5061 s2.other.org");
    zone(r, DNS_AAAA, "s1.other.org", "2001:db8::1");
    zone(r, DNS_A, "s1.other.org", "192.0.2.1");
    zone(r, DNS_A, "s2.other.org", "192.0.2.2");
    mono_t start = r->now;
    search(r);
    assert_int_equal(r->tried_count, 1);
    pass(r, 249);
    assert_int_equal(r->tried_count, 1);
    pass(r, 1); /* RFC 8305 5 */
    assert_tried(r, 1, "192.0.2.1:5061");
    pass(r, 1999); /* another server: not for a slow handshake */
    assert_int_equal(r->tried_count, 2);
    pass(r, 1);
    assert_tried(r, 2, "192.0.2.2:5061");
    assert_int_equal(r->tried[2].at, start + 2250);
    connected(r, 1, TARGET_OK, NULL);
    assert_int_equal(r->end, FOUND);
    assert_string_equal(r->found, "192.0.2.1:5061");
    assert_true(r->tried[0].is_cancelled && r->tried[2].is_cancelled);
    assert_false(r->tried[1].is_cancelled);
    done(r);
}

static void goes_on_at_once_when_all_failed(void **state) {
    RIG;
    zone(r, DNS_SRV, "_sips._tcp.other.org", "1 0 5061 s1.other.org, 2 0 5061 s2.other.org");
    zone(r, DNS_A, "s1.other.org", "192.0.2.1");
    zone(r, DNS_A, "s2.other.org", "192.0.2.2");
    search(r);
    connected(r, 0, TARGET_NO_TLS, NULL);
    assert_int_equal(r->tried_count, 1);
    pass(r, 10); /* RFC 8305 5: but never within 10 ms */
    assert_tried(r, 1, "192.0.2.2:5061");
    done(r);
}

static void gives_ipv6_a_moment(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.0.2.1");
    zone(r, DNS_AAAA, "other.org", "2001:db8::1");
    r->zone[1].is_silent = true;
    search(r);
    assert_int_equal(r->tried_count, 0);
    pass(r, 49);
    assert_int_equal(r->tried_count, 0);
    answer(r, r->silent[0], &r->zone[1]); /* RFC 8305 3 */
    drain(r);
    assert_tried(r, 0, "[2001:db8::1]:5061");
    done(r);
    setup(r);
    zone(r, DNS_A, "other.org", "192.0.2.1");
    zone(r, DNS_AAAA, "other.org", "2001:db8::1");
    r->zone[1].is_silent = true;
    search(r);
    pass(r, 50);
    assert_tried(r, 0, "192.0.2.1:5061");
    answer(r, r->silent[0], &r->zone[1]); /* it comes late, but it comes */
    drain(r);
    pass(r, 250);
    assert_tried(r, 1, "[2001:db8::1]:5061");
    done(r);
    setup(r);
    zone(r, DNS_A, "other.org", "192.0.2.1");
    zone(r, DNS_AAAA, "other.org", "2001:db8::1");
    r->zone[0].is_silent = true;
    search(r);
    assert_tried(r, 0, "[2001:db8::1]:5061"); /* IPv6 waits for nothing */
    done(r);
}

/* ---- what is remembered ---- */

static void remembers_who_failed_and_who_answered(void **state) {
    RIG;
    zone(r, DNS_AAAA, "other.org", "2001:db8::1");
    zone(r, DNS_A, "other.org", "192.0.2.1, 192.0.2.2");
    search(r);
    connected(r, 0, TARGET_NO_ANSWER, NULL);
    pass(r, 10);
    assert_tried(r, 1, "192.0.2.1:5061");
    connected(r, 1, TARGET_OK, NULL);
    search(r);
    assert_tried(r, 0, "192.0.2.1:5061"); /* RFC 8305 4: what was used comes first */
    connected(r, 0, TARGET_OK, NULL);
    struct addr a;
    assert_ok(addr_read(SLICE("192.0.2.1:5061"), &a));
    targets_failed(r->t, SLICE("OTHER.org"), &a, 30000, r->now); /* RFC 3263 4.3: it said 503 */
    search_of(r, "other.org", 0, true);
    assert_tried(r, 0, "192.0.2.2:5061");
    connected(r, 0, TARGET_NO_TLS, NULL);
    assert_int_equal(r->end, NONE); /* a retry does not go back to those that failed */
    assert_int_equal(r->tried_count, 1);
    search(r); /* a new request does, when nobody else is left */
    assert_int_equal(r->tried_count, 1);
    fail_all(r);
    assert_int_equal(r->tried_count, 3);
    pass(r, TARGET_DEAD_MS);
    search_of(r, "other.org", 0, true);
    assert_int_equal(r->tried_count, 1);
    done(r);
}

static void does_not_wait_again_for_who_was_silent(void **state) {
    RIG;
    zone(r, DNS_SRV, "_sips._tcp.other.org", "1 0 5061 a.other.org, 2 0 5061 b.other.org");
    zone(r, DNS_A, "a.other.org", "192.0.2.1");
    zone(r, DNS_A, "b.other.org", "192.0.2.2");
    search(r);
    pass(r, TARGET_NEXT_SERVER_MS);
    assert_tried(r, 1, "192.0.2.2:5061");
    connected(r, 1, TARGET_OK, NULL);
    search(r);
    assert_tried(r, 0, "192.0.2.2:5061"); /* RFC 3263 4.3, as if it had failed */
    connected(r, 0, TARGET_OK, NULL);
    pass(r, TARGET_DEAD_MS);
    search(r);
    assert_tried(r, 0, "192.0.2.1:5061");
    pass(r, TARGET_NEXT_SERVER_MS);
    connected(r, 0, TARGET_OK, NULL); /* slow, but it serves */
    search(r);
    assert_tried(r, 0, "192.0.2.1:5061");
    connected(r, 0, TARGET_OK, NULL);
    done(r);
}

static void leaves_alone_who_asks_for_it(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.0.2.1, 192.0.2.2");
    struct addr a, b;
    assert_ok(addr_read(SLICE("192.0.2.1:5061"), &a));
    assert_ok(addr_read(SLICE("192.0.2.2:5061"), &b));
    targets_shut(r->t, SLICE("other.org"), &a, 20000, r->now); /* RFC 3261 21.5.4 */
    search(r);
    assert_tried(r, 0, "192.0.2.2:5061");
    connected(r, 0, TARGET_OK, NULL);
    targets_shut(r->t, SLICE("other.org"), &b, INT64_MAX, r->now);
    search(r);
    assert_int_equal(r->tried_count, 0);
    assert_int_equal(r->fault, TARGET_NOT_NOW);
    pass(r, 20000);
    search(r);
    assert_tried(r, 0, "192.0.2.1:5061");
    connected(r, 0, TARGET_OK, NULL);
    search(r);
    connected(r, 0, TARGET_NO_TLS, NULL);
    assert_int_equal(r->tried_count, 1);
    pass(r, 3580000); /* an hour at most */
    search(r);
    fail_all(r);
    assert_int_equal(r->tried_count, 2);
    done(r);
}

static void believes_answers_for_their_time(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.0.2.1");
    zone_none(r, DNS_AAAA, "other.org", DNS_NODATA, 30);
    search(r);
    assert_int_equal(r->asked_count, 4);
    search(r);
    assert_int_equal(r->asked_count, 0);
    assert_int_equal(r->tried_count, 1);
    pass(r, 30000);
    search(r); /* RFC 2308 5: "no such record" has its own time */
    assert_true(was_asked(r, "AAAA other.org"));
    assert_int_equal(r->asked_count, 1);
    pass(r, 30000);
    search(r); /* NXDOMAIN for 60 s */
    assert_true(was_asked(r, "NAPTR other.org") && !was_asked(r, "A other.org"));
    pass(r, 240000);
    search(r);
    assert_true(was_asked(r, "A other.org"));
    done(r);
}

static void bounds_what_it_believes(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.0.2.1");
    r->zone[0].ttl = 0; /* an answer must outlive the search that asked for it */
    zone_none(r, DNS_AAAA, "other.org", DNS_NODATA, 4000000);
    search(r);
    assert_int_equal(r->tried_count, 1);
    pass(r, 4999);
    search(r);
    assert_false(was_asked(r, "A other.org"));
    pass(r, 5000);
    search(r);
    assert_true(was_asked(r, "A other.org"));
    assert_false(was_asked(r, "AAAA other.org"));
    pass(r, 900000);
    search(r);
    assert_true(was_asked(r, "AAAA other.org"));
    done(r);
}

static void asks_once_for_all(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.0.2.1");
    r->zone[0].is_silent = true;
    search(r);
    search_of(r, "other.org", 0, false);
    assert_int_equal(r->asked_count, 0);
    answer(r, r->silent[0], &r->zone[0]);
    answer(r, r->silent[0], &r->zone[0]); /* twice is once */
    drain(r);
    assert_int_equal(r->tried_count, 2);
    done(r);
}

static void keeps_what_is_used(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.0.2.1");
    r->zone[0].ttl = 86400;
    search(r);
    for (unsigned i = 0; i < 3 * LIMIT_DNS_CACHE; i++) {
        char name[32];
        struct target_wanted w;
        (void)snprintf(name, sizeof name, "n%u.example", i);
        w = (struct target_wanted){ slice_str(name), slice_str(name), 5061, false, 77 };
        r->asked_count = 0;
        assert_ok(target_search(r->t, &w, r->now, &r->search));
        drain(r);
        if (i % 100) continue;
        target_cancel(r->t, r->search, r->now);
        search_of(r, "other.org", 5061, false);
        assert_int_equal(r->asked_count, 0);
        target_cancel(r->t, r->search, r->now);
        drain(r);
    }
    struct target_wanted w = { SLICE("n1.example"), SLICE("n1.example"), 5061, false, 77 };
    r->asked_count = 0;
    assert_ok(target_search(r->t, &w, r->now, &r->search));
    drain(r);
    assert_int_equal(r->asked_count, 2); /* forgotten long ago */
    done(r);
}

/* ---- how a search fails ---- */

static void says_why(void **state) {
    RIG;
    search_of(r, "nobody.example", 0, false);
    assert_int_equal(r->end, NONE);
    assert_int_equal(r->fault, TARGET_NO_DOMAIN);
    zone_none(r, DNS_NAPTR, "dead.example", DNS_FAIL, 0);
    zone_none(r, DNS_SRV, "_sips._tcp.dead.example", DNS_FAIL, 0);
    zone_none(r, DNS_A, "dead.example", DNS_FAIL, 0);
    zone_none(r, DNS_AAAA, "dead.example", DNS_FAIL, 0);
    search_of(r, "dead.example", 0, false);
    assert_int_equal(r->end, NONE);
    assert_int_equal(r->fault, TARGET_NO_DNS);
    zone_none(r, DNS_NAPTR, "other.org", DNS_FAIL, 0); /* NAPTR is no reason to give up */
    zone(r, DNS_A, "other.org", "192.0.2.1, 192.0.2.2, 192.0.2.3");
    search(r);
    connected(r, 0, TARGET_NO_ANSWER, NULL);
    pass(r, 10);
    connected(r, 1, TARGET_NOT_IT, "has expired");
    pass(r, 10);
    connected(r, 2, TARGET_NO_TLS, NULL);
    assert_int_equal(r->fault, TARGET_NOT_IT);
    assert_string_equal(r->words, "has expired");
    for (int i = TARGET_OK; i <= TARGET_NOT_IT; i++)
        assert_non_null(target_fault_text((enum target_fault)i));
    done(r);
}

/* RFC 8305 7.1, RFC 7050: there is IPv6 only, and nothing that makes AAAA records. */
static void goes_through_a_translator(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.31.196.1, 10.0.0.1");
    zone(r, DNS_AAAA, "ipv4only.arpa",
         "2001:db8:64::c000:aa, 2001:db8:64::c000:ab, 2001:db8::1, fd00:64::c000:aa");
    search(r);
    assert_tried(r, 0, "192.31.196.1:5061");
    assert_false(was_asked(r, "AAAA ipv4only.arpa")); /* nobody knows yet that it is needed */
    connected(r, 0, TARGET_NO_WAY, NULL);
    assert_true(was_asked(r, "AAAA ipv4only.arpa"));
    pass(r, 10);
    assert_tried(r, 1, "10.0.0.1:5061");
    connected(r, 1, TARGET_NO_WAY, NULL);
    pass(r, 10);
    /* Its port is that of the server; what is private is sought behind no translator. */
    assert_tried(r, 2, "[2001:db8:64::c01f:c401]:5061");
    pass(r, TARGET_NEXT_MS);
    assert_tried(r, 3, "[fd00:64::c01f:c401]:5061");
    connected(r, 2, TARGET_OK, NULL);
    assert_string_equal(r->found, "[2001:db8:64::c01f:c401]:5061");
    assert_int_equal(r->tried_count, 4);
    /* The next search knows all that, and may find that there is a way by now. */
    pass(r, 60000);
    search(r);
    assert_tried(r, 0, "192.31.196.1:5061");
    connected(r, 0, TARGET_NO_WAY, NULL);
    pass(r, 10);
    assert_tried(r, 1, "10.0.0.1:5061");
    connected(r, 1, TARGET_NO_WAY, NULL);
    pass(r, 10);
    assert_tried(r, 2, "[2001:db8:64::c01f:c401]:5061");
    assert_false(was_asked(r, "AAAA ipv4only.arpa"));
    done(r);
}

static void asks_for_no_translator_without_need(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.31.196.1");
    zone(r, DNS_AAAA, "other.org", "2001:db8::1");
    search(r);
    connected(r, 0, TARGET_NO_WAY, NULL); /* no IPv6 here */
    pass(r, 10);
    assert_tried(r, 1, "192.31.196.1:5061");
    connected(r, 1, TARGET_NO_TLS, NULL);
    assert_int_equal(r->end, NONE);
    assert_false(was_asked(r, "AAAA ipv4only.arpa"));
    done(r);
}

static void a_network_without_translator(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.31.196.1");
    zone_none(r, DNS_AAAA, "ipv4only.arpa", DNS_NODATA, 300);
    search(r);
    connected(r, 0, TARGET_NO_WAY, NULL);
    assert_true(was_asked(r, "AAAA ipv4only.arpa"));
    assert_int_equal(r->end, NONE);
    assert_int_equal(r->fault, TARGET_NO_WAY);
    /* One that lies about it leads nowhere either. */
    zone(r, DNS_A, "third.org", "192.31.196.3");
    r->zone[1] =
        (struct zone_row){ "ipv4only.arpa", DNS_AAAA, DNS_OK, 300, "fec0::c000:aa", false };
    pass(r, 301000);
    search_of(r, "third.org", 0, false);
    connected(r, 0, TARGET_NO_WAY, NULL);
    assert_int_equal(r->end, NONE);
    assert_int_equal(r->tried_count, 1);
    done(r);
}

/* A preferred server with IPv4 only and another with IPv6 only, where there is a translator. */
static void zone_of_two_families(struct rig *r) {
    zone(r, DNS_SRV, "_sips._tcp.other.org", "1 0 5061 a.other.org, 2 0 5061 b.other.org");
    zone(r, DNS_A, "a.other.org", "192.31.196.1");
    zone(r, DNS_AAAA, "b.other.org", "2001:db8::2");
    zone(r, DNS_AAAA, "ipv4only.arpa", "64:ff9b::192.0.0.170");
}

/* An address as TARGET, RFC 8305 7.1; another server with the name server's answer still missing
 * is not kept waiting for it. */
static void translates_what_is_written(void **state) {
    RIG;
    zone(r, DNS_AAAA, "ipv4only.arpa", "64:ff9b::192.0.0.170");
    search_of(r, "192.31.196.7", 7, false);
    connected(r, 0, TARGET_NO_WAY, NULL);
    pass(r, 10);
    assert_tried(r, 1, "[64:ff9b::c01f:c407]:7");
    connected(r, 1, TARGET_OK, NULL);
    assert_int_equal(r->end, FOUND);
    done(r);
    setup(r);
    zone_of_two_families(r);
    r->zone[3].is_silent = true; /* the translator's name */
    search(r);
    connected(r, 0, TARGET_NO_WAY, NULL);
    pass(r, 10);
    assert_tried(r, 1, "[2001:db8::2]:5061");
    connected(r, 1, TARGET_OK, NULL);
    assert_int_equal(r->end, FOUND);
    done(r);
    /* That IPv4 has no way here is no fault of a server's: the preferred one stays the first. */
    setup(r);
    zone_of_two_families(r);
    for (unsigned i = 0; i < 2; i++) {
        search(r);
        connected(r, 0, TARGET_NO_WAY, NULL);
        pass(r, 10);
        assert_tried(r, 1, "[64:ff9b::c01f:c401]:5061");
        connected(r, 1, TARGET_OK, NULL);
    }
    done(r);
}

static void ends_in_time(void **state) {
    RIG;
    zone(r, DNS_A, "other.org", "192.0.2.1");
    search(r);
    pass(r, TARGET_ATTEMPT_MS - 1);
    assert_int_equal(r->end, WAITS);
    pass(r, 1);
    assert_int_equal(r->end, NONE);
    assert_true(r->tried[0].is_cancelled);
    assert_int_equal(r->fault, TARGET_NO_ANSWER);
    zone(r, DNS_A, "mute.org", "192.0.2.2");
    zone(r, DNS_AAAA, "mute.org", "2001:db8::2");
    zone(r, DNS_SRV, "_sips._tcp.mute.org", "1 1 5061 a.mute.org");
    for (unsigned i = 1; i < 4; i++) r->zone[i].is_silent = true;
    mono_t start = r->now;
    search_of(r, "mute.org", 0, false);
    pass(r, TARGET_SEARCH_MS);
    assert_int_equal(r->end, NONE);
    assert_int_equal(r->fault, TARGET_NO_DNS);
    assert_true(r->now <= start + TARGET_SEARCH_MS);
    pass(r, 60000);
    assert_int_equal(targets_wake_at(r->t), MONO_NEVER);
    done(r);
}

static void waits_for_naptr_but_not_long(void **state) {
    RIG;
    zone(r, DNS_NAPTR, "other.org", "1 1 s SIPS+D2T - _sips._tcp.first.net");
    r->zone[0].is_silent = true;
    zone(r, DNS_A, "other.org", "192.0.2.1");
    search(r);
    pass(r, TARGET_NAPTR_MS - 1);
    assert_int_equal(r->tried_count, 0);
    pass(r, 1 + TARGET_NEXT_SERVER_MS);
    assert_tried(r, 0, "192.0.2.1:5061");
    done(r);
}

static void is_bounded(void **state) {
    RIG;
    struct target_wanted w = { SLICE("192.0.2.1"), SLICE("192.0.2.1"), 0, false, 77 };
    target_id id, first = POOL_ID_NONE;
    for (unsigned i = 0; i < LIMIT_SEARCHES; i++) {
        assert_ok(target_search(r->t, &w, r->now, &id));
        if (i == 0) first = id;
    }
    assert_err(target_search(r->t, &w, r->now, &id), ERR_FULL);
    struct target_effect fx;
    unsigned n = 0;
    while (targets_next_effect(r->t, &fx)) n++;
    assert_int_equal(n, LIMIT_SEARCHES);
    target_cancel(r->t, first, r->now);
    assert_true(targets_next_effect(r->t, &fx));
    assert_int_equal(fx.what, TARGET_CONNECT_CANCEL);
    assert_false(targets_next_effect(r->t, &fx)); /* a cancelled search tells no end */
    target_cancel(r->t, first, r->now);
    assert_ok(target_search(r->t, &w, r->now, &id));
    zone(r, DNS_A, "many.org",
         "192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4,192.0.2.5,192.0.2.6,192.0.2.7,192.0.2.8,"
         "192.0.2.9,192.0.2.10,192.0.2.11,192.0.2.12,192.0.2.13,192.0.2.14,192.0.2.15,192.0.2.16,"
         "192.0.2.17,192.0.2.18,192.0.2.19,192.0.2.20");
    target_cancel(r->t, id, r->now);
    drain(r);
    search_of(r, "many.org", 0, false);
    fail_all(r);
    assert_int_equal(r->tried_count, LIMIT_PLACES);
    done(r);
}

static enum err run_short(void *ctx) {
    static const struct hash_key key = { 1, 2 };
    struct rig *r = ctx;
    memset(r, 0, sizeof *r);
    zone(r, DNS_NAPTR, "other.org", "1 1 s SIPS+D2T - _sips._tcp.first.net");
    zone(r, DNS_SRV, "_sips._tcp.first.net", "0 0 5071 a.first.net");
    zone(r, DNS_A, "a.first.net", "192.0.2.1");
    r->now = 1000;
    r->t = targets_new(&key, 42, r->now);
    if (!r->t) return ERR_MEMORY;
    struct target_wanted w = { SLICE("other.org"), SLICE("other.org"), 0, false, 77 };
    enum err err = target_search(r->t, &w, r->now, &r->search);
    if (err == ERR_OK) {
        drain(r);
        pass(r, 20);
        if (r->tried_count) connected(r, 0, TARGET_OK, NULL);
        pass(r, TARGET_SEARCH_MS);
        if (r->end != FOUND) err = r->end == NONE ? ERR_MEMORY : ERR_IO;
    }
    done(r);
    return err;
}

/* Short of memory a search may find nothing, or less; it always ends. */
static void survives_short_memory(void **state) {
    (void)state;
    static struct rig r;
    for (int n = 0;; n++) {
        int64_t base = mem_live();
        mem_fail_at(n);
        enum err err = run_short(&r);
        bool failed = mem_failed();
        mem_fail_at(-1);
        assert_int_equal(mem_live(), base);
        assert_int_not_equal(err, ERR_IO);
        if (!failed) break;
        assert_true(n < 1000);
    }
    assert_int_equal(r.end, FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_bare_name),
        cmocka_unit_test(follows_naptr_to_tls_only),
        cmocka_unit_test(goes_by_srv_without_naptr),
        cmocka_unit_test(believes_that_there_is_no_service),
        cmocka_unit_test(takes_ports_and_addresses_as_written),
        cmocka_unit_test(tells_names_from_others),
        cmocka_unit_test(draws_by_weight),
        cmocka_unit_test(keeps_servers_apart),
        cmocka_unit_test(orders_by_policy_table),
        cmocka_unit_test(takes_networks_as_they_are),
        cmocka_unit_test(races_within_a_server),
        cmocka_unit_test(goes_on_at_once_when_all_failed),
        cmocka_unit_test(gives_ipv6_a_moment),
        cmocka_unit_test(remembers_who_failed_and_who_answered),
        cmocka_unit_test(does_not_wait_again_for_who_was_silent),
        cmocka_unit_test(leaves_alone_who_asks_for_it),
        cmocka_unit_test(believes_answers_for_their_time),
        cmocka_unit_test(bounds_what_it_believes),
        cmocka_unit_test(asks_once_for_all),
        cmocka_unit_test(keeps_what_is_used),
        cmocka_unit_test(says_why),
        cmocka_unit_test(goes_through_a_translator),
        cmocka_unit_test(asks_for_no_translator_without_need),
        cmocka_unit_test(a_network_without_translator),
        cmocka_unit_test(translates_what_is_written),
        cmocka_unit_test(ends_in_time),
        cmocka_unit_test(waits_for_naptr_but_not_long),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(survives_short_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
