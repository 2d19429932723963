/* check/phone_rtp.c - media of a phone in plain RTP (RFC 3550, 4733, 7022), which its policy must
 * allow: a phone that takes encrypted media only is "not applicable" here, not judged. */
#include "check/caller.h"
#include "check/link.h"
#include "check/phone.h"
#include "check/tests.h"
#include "os/socket.h"
#include <poll.h>
#include <sys/socket.h>

#define KEPT   600u
#define RTCP_S 12 /* the first report is due in 2.5 s, and later ones in 7.5 s (RFC 3550 6.2) */

struct packet {
    unsigned type, seq, at; /* at: its number in the evidence; 0: not kept there */
    uint32_t time, ssrc;
    bool marked;
    slice payload;
};
struct ear { /* where the phone's media comes to */
    struct test *t;
    int rtp, rtcp;
    struct addr here, from; /* from: of the last packet */
    struct up up;
    struct addr there; /* as the phone's answer says */
    struct packet packets[KEPT];
    unsigned count;
    slice report; /* the last compound packet of RTCP */
    unsigned report_at;
};

static uint32_t get32(const char *p) {
    return (uint32_t)(uint8_t)p[0] << 24 | (uint32_t)(uint8_t)p[1] << 16 |
           (uint32_t)(uint8_t)p[2] << 8 | (uint8_t)p[3];
}
static unsigned get16(const char *p) {
    return (unsigned)(uint8_t)p[0] << 8 | (uint8_t)p[1];
}

/* ---- listening ------------------------------------------------------------------------------ */

/* Two ports, the lower one even: RFC 3550 11. */
static bool ear_open(struct ear *e, struct addr at) {
    for (unsigned i = 0; i < 50; i++) {
        struct addr rtcp;
        at.port = 0;
        if (socket_bind_udp(&at, &e->rtp, &e->here) != ERR_OK) return false;
        rtcp = e->here;
        rtcp.port++;
        if (e->here.port % 2 == 0 && e->here.port < 65535 &&
            socket_bind_udp(&rtcp, &e->rtcp, &rtcp) == ERR_OK)
            return true;
        socket_close(e->rtp);
        e->rtp = -1;
    }
    return false;
}

static void keep(struct ear *e, slice s, bool rtcp) {
    bool first = rtcp || e->count < 12; /* more of RTP is not worth the evidence */
    unsigned at = first ? test_event(e->t, '<', rtcp ? "rtcp" : "rtp", s) : 0;
    slice copy;
    if (s.len < 8 || arena_copy(&e->t->arena, s, &copy) != ERR_OK) return;
    if (rtcp) {
        e->report = copy;
        e->report_at = at;
        return;
    }
    if (s.len < 12 || e->count == KEPT || ((uint8_t)s.ptr[0] >> 6) != 2) return;
    struct packet *p = &e->packets[e->count++];
    *p = (struct packet){ .type = (uint8_t)s.ptr[1] & 127,
                          .marked = ((uint8_t)s.ptr[1] & 128) != 0,
                          .seq = get16(s.ptr + 2),
                          .at = at,
                          .time = get32(s.ptr + 4),
                          .ssrc = get32(s.ptr + 8) };
    p->payload = slice_from(copy, 12 + 4 * ((size_t)s.ptr[0] & 15));
}

/* Hears one packet; false when none came until then. */
static bool hear(struct ear *e, int64_t until) {
    struct pollfd fds[2] = { { .fd = e->rtp, .events = POLLIN },
                             { .fd = e->rtcp, .events = POLLIN } };
    int64_t left = until - clock_ms();
    if (left < 0 || poll(fds, 2, (int)left) <= 0) return false;
    for (unsigned i = 0; i < 2; i++) {
        char mem[2048];
        struct sockaddr_storage ss;
        socklen_t len = sizeof ss;
        if (!fds[i].revents) continue;
        ssize_t n = recvfrom(fds[i].fd, mem, sizeof mem, 0, (struct sockaddr *)&ss, &len);
        if (n <= 0) continue;
        slice s = slice_of(mem, (size_t)n);
        bool rtcp = n > 1 && (uint8_t)mem[1] >= 200 && (uint8_t)mem[1] <= 204;
        if (!rtcp) (void)!addr_from_sockaddr((struct sockaddr *)&ss, &e->from);
        keep(e, s, rtcp);
    }
    return true;
}

/* `n` more packets of media; false when they did not come in 4 s. */
static bool hear_more(struct ear *e, unsigned n) {
    unsigned want = e->count + n;
    for (int64_t until = clock_ms() + 4000; e->count < want && hear(e, until);) {}
    return e->count >= want;
}

static bool hear_report(struct ear *e) {
    e->report = SLICE_NONE;
    for (int64_t until = clock_ms() + RTCP_S * 1000; !e->report.ptr && hear(e, until);) {}
    return e->report.ptr != NULL;
}

static void say(struct ear *e, unsigned type, unsigned seq, uint32_t ssrc) {
    char p[12 + 160] = { (char)0x80, (char)type, (char)(seq >> 8), (char)seq };
    for (unsigned i = 0; i < 4; i++) p[8 + i] = (char)(ssrc >> (24 - 8 * i));
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(&e->there, &ss);
    if (!run_may_reach(e->t->run, &e->there) ||
        sendto(e->rtp, p, sizeof p, 0, (struct sockaddr *)&ss, len) < 0)
        (void)test_note(e->t, "media could not be sent");
}

/* A call in plain RTP. */
static bool plain_up(struct ear *e, struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    if (!a) return false;
    e->t = t;
    if (!ear_open(e, ua_link(a)->local)) {
        test_unclear(t, "no ports for media");
        return false;
    }
    char host[64];
    struct buf b = buf_over(host, sizeof host);
    addr_put_host(&b, &e->here);
    slice ip = buf_slice(&b);
    bool six = e->here.family == ADDR_V6;
    if (six) ip = slice_of(ip.ptr + 1, ip.len - 2); /* SDP has no brackets */
    e->up.a = a;
    e->up.ok = ua_ask(
        a, &(struct req){ .method = "INVITE",
                          .body = text(t,
                                       "v=0\r\no=- 5 1 IN IP%u " SLICE_FMT
                                       "\r\ns=-\r\nc=IN IP%u " SLICE_FMT
                                       "\r\nt=0 0\r\nm=audio %u RTP/AVP 0 8 101\r\n"
                                       "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n",
                                       six ? 6u : 4u, SLICE_ARG(ip), six ? 6u : 4u, SLICE_ARG(ip),
                                       e->here.port) });
    bool up = e->up.ok && e->up.ok->status / 100 == 2;
    if (!up && !t->verdict)
        test_na(t, "plain RTP (the call gets %u; encrypted media is not read by these tests)",
                e->up.ok ? e->up.ok->status : 0);
    if (!up) return false;
    phone_ack(&e->up);
    slice s = e->up.ok->body, c = sdp_line(s, "c=IN IP"),
          m = slice_from(sdp_line(s, "m=audio "), 8);
    uint32_t port = 0;
    (void)!addr_read_ip(slice_from(c, 9), &e->there);
    (void)!slice_u32(slice_head(m, slice_find(m, ' ')), 65535, &port);
    e->there.port = (uint16_t)port;
    return !t->verdict;
}

static void ear_close(struct ear *e) {
    if (e->rtp >= 0) socket_close(e->rtp);
    if (e->rtcp >= 0) socket_close(e->rtcp);
    e->rtp = e->rtcp = -1;
    if (e->up.ok && e->up.ok->status / 100 == 2) (void)phone_down(&e->up);
}

static struct ear *ear_new(struct test *t) {
    struct ear *e = arena_zalloc(&t->arena, sizeof *e);
    if (!e) test_unclear(t, "memory is short");
    if (e) e->rtp = e->rtcp = -1;
    return e;
}

/* ---- tests ---------------------------------------------------------------------------------- */

/* RFC 3550 5.1: an unknown payload type disturbs nothing; two calls begin differently */
static void beginnings(struct test *t) {
    struct ear *one = ear_new(t), *two = ear_new(t);
    bool first = one && plain_up(one, t) && hear_more(one, 3);
    for (unsigned i = 0; first && i < 5; i++) say(one, 77, 100 + i, 0x6b697468);
    bool goes_on = first && hear_more(one, 5);
    if (one) ear_close(one);
    bool second = first && plain_up(two, t) && hear_more(two, 1);
    if (two) ear_close(two);
    GIVEN(t, first && second, "no media came from the phone");
    MUST(t, one->packets[0].at, goes_on, "the phone falls silent after an unknown payload type");
    MUST(t, two->packets[0].at, one->packets[0].ssrc != two->packets[0].ssrc,
         "two calls have the SSRC %08x", one->packets[0].ssrc);
    MUST(t, two->packets[0].at, one->packets[0].seq != two->packets[0].seq,
         "two calls begin with the sequence number %u", one->packets[0].seq);
    PASS(t, two->packets[0].at);
}

/* RFC 4961 */
static void symmetric(struct test *t) {
    struct ear *e = ear_new(t);
    bool heard = e && plain_up(e, t) && hear_more(e, 1);
    if (e) ear_close(e);
    GIVEN(t, heard, "no media came from the phone");
    MUST(t, e->packets[0].at, e->from.port == e->there.port,
         "media comes from port %u, and is wanted at %u", e->from.port, e->there.port);
    PASS(t, e->packets[0].at);
}

/* The CNAME of the SDES in a compound packet; NONE when there is none. */
static slice cname_of(slice report) {
    while (report.len >= 8) {
        size_t len = 4 + 4 * (size_t)get16(report.ptr + 2);
        if ((uint8_t)report.ptr[1] == 202 && len <= report.len && report.len > 10 &&
            report.ptr[8] == 1 && (size_t)(uint8_t)report.ptr[9] + 10 <= len)
            return slice_of(report.ptr + 10, (uint8_t)report.ptr[9]);
        report = slice_from(report, len);
    }
    return SLICE_NONE;
}

static void reports(struct test *t) {
    struct ear *e = ear_new(t);
    bool heard = e && plain_up(e, t) && hear_more(e, 1), reported = heard && hear_report(e);
    if (e) ear_close(e);
    GIVEN(t, heard, "no media came from the phone");
    MUST(t, e->packets[0].at, reported, "no RTCP in %d s", RTCP_S);
    uint8_t first = (uint8_t)e->report.ptr[1];
    MUST(t, e->report_at, first == 200 || first == 201, "a compound packet begins with type %u",
         first);
    MUST(t, e->report_at, cname_of(e->report).ptr, "no CNAME in it");
    PASS(t, e->report_at);
}

/* RFC 7022 4.2: 96 random bits in base64 are 16 characters */
static void cname(struct test *t) {
    struct ear *e = ear_new(t);
    bool reported = e && plain_up(e, t) && hear_report(e);
    if (e) ear_close(e);
    GIVEN(t, reported, "no RTCP in %d s", RTCP_S);
    slice name = cname_of(e->report);
    char ip[64];
    struct buf b = buf_over(ip, sizeof ip - 1);
    addr_put_host(&b, &e->there);
    ip[b.len] = 0;
    MUST(t, e->report_at, name.len >= 16, "the CNAME \"" SLICE_FMT "\" has no 96 random bits",
         SLICE_ARG(name));
    MUST(t, e->report_at, !has(name, ip) && !has(name, "@"),
         "the CNAME \"" SLICE_FMT "\" tells user, host or address", SLICE_ARG(name));
    PASS(t, e->report_at);
}

/* RFC 3550 8.2: we speak with the phone's own SSRC */
static void collision(struct test *t) {
    struct ear *e = ear_new(t);
    bool heard = e && plain_up(e, t) && hear_more(e, 1);
    uint32_t mine = heard ? e->packets[0].ssrc : 0;
    bool bye = false, changed = false;
    int64_t until = clock_ms() + RTCP_S * 1000;
    for (unsigned i = 0; heard && !(bye && changed) && clock_ms() < until; i++) {
        say(e, 0, i, mine);
        (void)hear(e, clock_ms() + 200);
        changed = changed || (e->count && e->packets[e->count - 1].ssrc != mine);
        for (slice r = e->report; r.len >= 8; r = slice_from(r, 4 + 4 * (size_t)get16(r.ptr + 2)))
            bye = bye || ((uint8_t)r.ptr[1] == 203 && get32(r.ptr + 4) == mine);
        if (e->count > KEPT / 2) e->count = KEPT / 2;
    }
    if (e) ear_close(e);
    GIVEN(t, heard, "no media came from the phone");
    unsigned at = test_note(t, "the phone's SSRC %08x came from elsewhere: %s, %s", mine,
                            bye ? "BYE" : "no BYE", changed ? "a new SSRC" : "the same SSRC");
    MUST(t, at, bye && changed, "it meets its own SSRC: %s, %s", bye ? "BYE" : "no BYE",
         changed ? "a new SSRC" : "the same SSRC");
    PASS(t, at);
}

/* ---- key presses ---------------------------------------------------------------------------- */

/* The events of one key that somebody presses; false when none came, or *no_hands. */
static bool pressed(struct ear *e, struct test *t, const char *key) {
    if (!plain_up(e, t) || !hear_more(e, 1)) return false;
    phone_act(t, text(t, "press %s", key));
    unsigned ends = 0, seen = 0;
    for (int64_t until = clock_ms() + phone_patience(t->run); ends < 3 && hear(e, until);) {
        const struct packet *p = &e->packets[e->count ? e->count - 1 : 0];
        if (p->type == 101 && seen != e->count && p->payload.len >= 4)
            ends += ((uint8_t)p->payload.ptr[1] & 128) != 0;
        seen = e->count;
    }
    return ends > 0;
}

static void key(struct test *t) {
    struct ear *e = ear_new(t);
    bool heard = e && pressed(e, t, "5");
    if (e) ear_close(e);
    GIVEN(t, heard, "no telephone-event came");
    const struct packet *first = NULL;
    unsigned duration = 0, ends = 0, at = 0;
    for (unsigned i = 0; i < e->count; i++) {
        const struct packet *p = &e->packets[i];
        if (p->type != 101 || p->payload.len < 4) continue;
        at = test_event(t, '<', "event", p->payload);
        if (!first) {
            first = p;
            MUST(t, at, p->marked, "the first packet of the event is not marked");
        }
        MUST(t, at, p->time == first->time, "the timestamp changes within one event");
        MUST(t, at, get16(p->payload.ptr + 2) >= duration, "the duration shrinks");
        duration = get16(p->payload.ptr + 2);
        ends += ((uint8_t)p->payload.ptr[1] & 128) != 0;
    }
    MUST(t, at, ends >= 3, "the last packet is sent %u times, not three", ends);
    PASS(t, at);
}

/* RFC 4733 2.5.1.1: of the events that we listed, key 5 is number 5 */
static void listed(struct test *t) {
    struct ear *e = ear_new(t);
    bool heard = e && pressed(e, t, "#");
    if (e) ear_close(e);
    GIVEN(t, heard, "no telephone-event came");
    for (unsigned i = 0; i < e->count; i++) {
        const struct packet *p = &e->packets[i];
        if (p->type != 101 || p->payload.len < 4) continue;
        unsigned at = test_event(t, '<', "event", p->payload), event = (uint8_t)p->payload.ptr[0];
        MUST(t, at, event == 11, "key # is sent as event %u; we listed 0 to 15, # is 11", event);
        PASS(t, at);
    }
}

AREA(phone_rtp, T(RTP_001, "beginnings", beginnings), T(NAT_015, "symmetric", symmetric),
     T(RTP_002, "reports", reports), T(RTP_004, "cname", cname), T(RTP_003, "collision", collision),
     T(TRUNK_014, "key", key), T(RTP_010, "listed", listed));
