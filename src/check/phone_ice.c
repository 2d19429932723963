/* check/phone_ice.c - ICE of a phone that answers: RFC 8445, 8838 to 8840, 8863. Its checks are
 * seen at sockets of ours that it is told of, ours go to the candidate in its answer. */
#include "check/caller.h"
#include "check/link.h"
#include "check/media.h"
#include "check/probe.h"
#include "check/run.h"
#include "check/tests.h"
#include "crypto/crypto.h"
#include "os/socket.h"
#include <poll.h>
#include <sys/socket.h>

#define OUR_UFRAG MEDIA_UFRAG
#define OUR_PWD   MEDIA_PWD
#define UP_MS     10000
#define LATE_MS   20000 /* of the 39.5 s of RFC 8863 4 */
#define ICE(ufrag, pwd, candidate)                                                                 \
    "m=audio 40000 UDP/TLS/RTP/SAVP 0 8\r\na=ice-options:ice2\r\na=ice-ufrag:" ufrag               \
    "\r\na=ice-pwd:" pwd "\r\na=candidate:1 1 UDP 2130706431 " candidate " typ host\r\n" KEYED
#define OFFER(candidate) SDP(ICE(OUR_UFRAG, OUR_PWD, candidate))

enum {
    ICE_USERNAME = 0x06,
    ICE_PRIORITY = 0x24,
    ICE_CONTROLLED = 0x8029,
    ICE_CONTROLLING = 0x802a
};

struct ice_call {
    struct up up;
    slice ufrag, pwd; /* of the phone */
    struct addr at;   /* its first candidate over UDP */
};

/* "1 1 UDP 2130706431 192.0.2.7 41000 typ host" */
static bool read_candidate(slice line, struct addr *out) {
    slice rest = slice_from(line, strlen("a=candidate:")), word[6];
    for (unsigned i = 0; i < 6; i++)
        if (!slice_split(&rest, ' ', &word[i])) return false;
    uint32_t port;
    if (!is(word[1], "1") || !is_i(word[2], "udp") || addr_read_ip(word[4], out) != ERR_OK ||
        slice_u32(word[5], 65535, &port) != ERR_OK)
        return false;
    out->port = (uint16_t)port;
    return true;
}

/* A call with an offer of ICE; not applicable when the answer has none. */
static bool ice_up_with(struct test *t, struct ice_call *c, const char *offer,
                        const char *headers) {
    *c = (struct ice_call){ 0 };
    if (!phone_up(t, &c->up, &(struct req){ .body = offer, .headers = headers })) return false;
    slice s = c->up.ok->body, line;
    c->ufrag = slice_from(sdp_line(s, "a=ice-ufrag:"), strlen("a=ice-ufrag:"));
    c->pwd = slice_from(sdp_line(s, "a=ice-pwd:"), strlen("a=ice-pwd:"));
    for (slice rest = s; !c->at.family && slice_split(&rest, '\n', &line);)
        if (slice_starts(line, SLICE("a=candidate:")) && !read_candidate(slice_trim(line), &c->at))
            c->at.family = ADDR_NONE;
    if (c->ufrag.len && c->pwd.len) return true;
    (void)phone_down(&c->up);
    test_na(t, "ice");
    return false;
}

static bool ice_up(struct test *t, struct ice_call *c, const char *offer) {
    return ice_up_with(t, c, offer, NULL);
}

/* ---- what stands in the answer -------------------------------------------------------------- */

static void restart(struct test *t) {
    struct ice_call c;
    if (!ice_up(t, &c, OFFER("127.0.0.1 40000"))) return;
    struct msg *r = phone_reinvite(
        &c.up,
        &(struct req){ .body = SDP(ICE("kiwi", "kiwikiwikiwikiwikiwikiwi", "127.0.0.1 40000")) });
    (void)phone_down(&c.up);
    GIVEN(t, r && r->status / 100 == 2, "the re-INVITE gets %u", r ? r->status : 0);
    slice ufrag = slice_from(sdp_line(r->body, "a=ice-ufrag:"), strlen("a=ice-ufrag:"));
    slice pwd = slice_from(sdp_line(r->body, "a=ice-pwd:"), strlen("a=ice-pwd:"));
    MUST(t, r->at, ufrag.len && !slice_eq(ufrag, c.ufrag), "the same ice-ufrag after a restart");
    MUST(t, r->at, pwd.len && !slice_eq(pwd, c.pwd), "the same ice-pwd after a restart");
    PASS(t, r->at);
}

/* RFC 8839 4.2.5 and, of 0.0.0.0:9, RFC 8840 4.1.1 */
static void mismatch(struct test *t) {
    struct ice_call c;
    if (!ice_up(t, &c,
                SDP_OF("0.0.0.0",
                       "m=audio 9 UDP/TLS/RTP/SAVP 0 8\r\na=ice-options:ice2 trickle\r\n"
                       "a=ice-ufrag:" OUR_UFRAG "\r\na=ice-pwd:" OUR_PWD
                       "\r\na=candidate:1 1 UDP 2130706431 127.0.0.1 40000 typ host\r\n" KEYED)))
        return;
    (void)phone_down(&c.up);
    MUST(t, c.up.ok->at, !sdp_lines(c.up.ok->body, "a=ice-mismatch"),
         "the default of trickle ICE (0.0.0.0, port 9) is taken for a mismatch");
    struct up u;
    const char *wrong = SDP_OF("192.0.2.99", ICE(OUR_UFRAG, OUR_PWD, "127.0.0.1 40000"));
    if (!phone_up(t, &u, &(struct req){ .body = wrong })) return;
    (void)phone_down(&u);
    bool plain = !sdp_lines(u.ok->body, "a=candidate:");
    MUST(t, u.ok->at, !plain || sdp_lines(u.ok->body, "a=ice-mismatch"),
         "ICE is given up without a=ice-mismatch");
    PASS(t, u.ok->at);
}

/* ---- checks --------------------------------------------------------------------------------- */

/* A binding check; key empty: without MESSAGE-INTEGRITY. `role`: ICE_CONTROLLING or _CONTROLLED. */
static struct msg *check(struct ua *peer, const struct ice_call *c, slice key, unsigned role,
                         const char tie[static 8]) {
    char mem[512], name[256];
    struct buf b = buf_over(mem, sizeof mem), n = buf_over(name, sizeof name);
    buf_put(&b, slice_of("\0\1\0\0\x21\x12\xa4\x42", 8));
    char id[12];
    crypto_random(id, sizeof id);
    buf_put(&b, slice_of(id, sizeof id));
    buf_fmt(&n, SLICE_FMT ":" OUR_UFRAG, SLICE_ARG(c->ufrag));
    probe_put(&b, ICE_USERNAME, buf_slice(&n));
    probe_put(&b, ICE_PRIORITY, slice_of("\x6e\0\1\xff", 4));
    probe_put(&b, role, slice_of(tie, 8));
    if (key.len) {
        uint8_t mac[20];
        probe_set_length(&b, b.len - 20 + 24);
        crypto_hmac_sha1(key, buf_slice(&b), mac);
        probe_put(&b, STUN_INTEGRITY, slice_of((const char *)mac, sizeof mac));
    }
    probe_put_fingerprint(&b);
    for (unsigned i = 0; i < 4; i++) {
        ua_send_bytes(peer, buf_slice(&b));
        for (struct msg *m; (m = ua_wait(peer, "any", 700));)
            if (m->raw.len >= 20 && memcmp(m->raw.ptr + 8, id, sizeof id) == 0 &&
                m->raw.ptr[0] == 1)
                return m;
    }
    return NULL;
}

static const char *place_of(const struct media *m) {
    char host[64] = "";
    struct buf b = buf_over(host, sizeof host - 1);
    addr_put_host(&b, &m->at);
    return text(m->t, "%s %u", host, m->at.port);
}

#define HIGHEST "\xff\xff\xff\xff\xff\xff\xff\xff"
#define LOWEST  "\0\0\0\0\0\0\0\1"

/* RFC 8445 7.3, RFC 8489 9.1.3 */
static void unproved(struct test *t) {
    struct ice_call c;
    if (!ice_up(t, &c, OFFER("127.0.0.1 40000"))) return;
    struct ua *peer = c.at.family ? ua_towards(t, &c.at) : NULL;
    struct msg *none = check(peer, &c, SLICE_NONE, ICE_CONTROLLING, HIGHEST),
               *wrong = check(peer, &c, SLICE("not-the-password-at-all"), ICE_CONTROLLING, HIGHEST),
               *right = check(peer, &c, c.pwd, ICE_CONTROLLING, HIGHEST);
    (void)phone_down(&c.up);
    GIVEN(t, peer, "the answer has no candidate over UDP");
    GIVEN(t, probe_is_success(right), "a right check gets no success");
    MUST(t, none ? none->at : 0, !probe_is_success(none),
         "a check without MESSAGE-INTEGRITY succeeds");
    MUST(t, wrong ? wrong->at : 0, !probe_is_success(wrong),
         "a check with a wrong password succeeds");
    PASS(t, right->at);
}

/* RFC 8445 7.3.1.1: the phone answered, so it is controlled; we say that we are too */
static void conflict(struct test *t) {
    struct ice_call c;
    if (!ice_up(t, &c, OFFER("127.0.0.1 40000"))) return;
    struct ua *peer = c.at.family ? ua_towards(t, &c.at) : NULL;
    struct msg *high = check(peer, &c, c.pwd, ICE_CONTROLLED, HIGHEST);
    struct msg *low = check(peer, &c, c.pwd, ICE_CONTROLLED, LOWEST);
    (void)phone_down(&c.up);
    GIVEN(t, peer, "the answer has no candidate over UDP");
    EXPECT_STUN(t, high, 487);
    EXPECT_STUN(t, low, 0);
    PASS(t, high->at);
}

/* RFC 8863 4: none of our candidates answers, and a check from elsewhere comes late. */
static void late_check(struct test *t) {
    struct ice_call c;
    struct media *silent = media_open(ua_new(t, WIRE_BEST, NOBODY));
    OVER(t);
    bool up =
        ice_up(t, &c,
               text(t, OFFER("127.0.0.1 40000") "a=candidate:2 1 UDP 2130706175 %s typ host\r\n",
                    place_of(silent)));
    struct ua *peer = up && c.at.family ? ua_towards(t, &c.at) : NULL;
    if (up && peer) media_listen(silent, LATE_MS);
    if (up) (void)test_note(t, "%u checks came to our candidate, unanswered", silent->checks);
    struct msg *ended = up ? ua_wait(c.up.a, "BYE", 0) : NULL;
    struct msg *r = up && !ended ? check(peer, &c, c.pwd, ICE_CONTROLLING, HIGHEST) : NULL, *back;
    while ((back = ua_wait(peer, "any", 2000)) &&
           (back->raw.len < 20 || back->raw.ptr[0] || back->raw.ptr[1] != 1)) {}
    media_close(silent);
    if (!up) return;
    if (ended) {
        ua_reply(c.up.a, ended, 200, NULL);
    } else {
        (void)phone_down(&c.up);
    }
    GIVEN(t, peer, "the answer has no candidate over UDP");
    CAPABLE(t, !sdp_lines(c.up.ok->body, "a=ice-lite"), "full ICE (it is ICE-lite)");
    MUST(t, ended ? ended->at : 0, !ended, "it gives up before %d s are over", LATE_MS / 1000);
    MUST(t, r ? r->at : t->event_count, probe_is_success(r),
         "a check %d s after the answer gets no success", LATE_MS / 1000);
    MUST(t, r->at, back, "it does not check where that check came from: it has given up");
    PASS(t, back->at);
}

/* ---- how many -------------------------------------------------------------------------------- */

#define MANY      250u
#define PAIRS_MAX 100u
#define MANY_MS   30000
#define CALM_MS   3000
#define OFFER_MAX 32768u

struct crowd {
    struct pollfd fds[MANY]; /* a descriptor below 0: its candidate was checked */
    unsigned count, checked;
    int64_t last;
};

/* 250 ports of ours and the offer of them, with what browsers want too. */
static bool crowd_open(struct crowd *c, struct addr at, struct buf *sdp) {
    unsigned v = at.family == ADDR_V6 ? 6 : 4;
    for (unsigned i = 0; i < MANY; i++) {
        struct addr bound;
        at.port = 0;
        if (socket_bind_udp(&at, &c->fds[i].fd, &bound) != ERR_OK) return false;
        c->fds[i].events = POLLIN;
        c->count++;
        if (!i) {
            buf_fmt(sdp, "v=0\r\no=- 5 1 IN IP%u ", v);
            addr_put_ip(sdp, &bound);
            buf_fmt(sdp, "\r\ns=-\r\nc=IN IP%u ", v);
            addr_put_ip(sdp, &bound);
            buf_fmt(sdp,
                    "\r\nt=0 0\r\nm=audio %u UDP/TLS/RTP/SAVP 0 8\r\na=ice-options:ice2\r\n"
                    "a=ice-ufrag:" OUR_UFRAG "\r\na=ice-pwd:" OUR_PWD
                    "\r\na=rtcp-mux\r\na=mid:0\r\n" KEYED,
                    bound.port);
        }
        buf_fmt(sdp, "a=candidate:%u 1 UDP %u ", i + 1, 2130706431u - i);
        addr_put_ip(sdp, &bound);
        buf_fmt(sdp, " %u typ host\r\n", bound.port);
    }
    return !sdp->full;
}

/* Which were checked, until no new one is for a while, or there are too many. */
static void crowd_hear(struct ua *a, struct crowd *c) {
    struct test *t = ua_test(a);
    char mem[1500];
    c->last = clock_ms();
    for (int64_t until = c->last + MANY_MS; c->checked <= PAIRS_MAX && clock_ms() < until;) {
        if (clock_ms() - c->last > CALM_MS * t->run->patience) return;
        (void)ua_wait(a, "-", 0); /* the connection of the call lives on beside */
        if (poll(c->fds, c->count, 200) <= 0) continue;
        for (unsigned i = 0; i < c->count; i++) {
            if (!c->fds[i].revents) continue;
            ssize_t n = recv(c->fds[i].fd, mem, sizeof mem, 0);
            if (n < 20 || mem[0] != 0 || mem[1] != 1) continue;
            if (!c->checked++) (void)test_event(t, '<', "candidate", slice_of(mem, (size_t)n));
            c->fds[i] = (struct pollfd){ .fd = -1 - c->fds[i].fd }; /* poll() passes it over */
            c->last = clock_ms();
        }
    }
}

static void crowd_close(struct crowd *c) {
    for (unsigned i = 0; i < c->count; i++)
        socket_close(c->fds[i].fd < 0 ? -1 - c->fds[i].fd : c->fds[i].fd);
}

/* RFC 8445 6.1.2.5: each candidate of ours is one pair at least */
static void many_pairs(struct test *t) {
    CAPABLE(t, !test_has(t, WIRE_UDP), "a stream (the offer has %u candidates)", MANY);
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct crowd *crowd = arena_zalloc(&t->arena, sizeof *crowd);
    char *mem = arena_zalloc(&t->arena, OFFER_MAX);
    struct ice_call c;
    OVER(t);
    GIVEN(t, crowd && mem, "memory is short");
    struct buf offer = buf_over(mem, OFFER_MAX - 1);
    bool open = crowd_open(crowd, ua_link(a)->local, &offer);
    if (!open) test_unclear(t, "no %u UDP ports", MANY);
    bool up = ice_up(t, &c, mem);
    if (up) crowd_hear(c.up.a, crowd);
    crowd_close(crowd);
    if (!up) return;
    struct msg *ended = ua_wait(c.up.a, "BYE", 0); /* nothing answered */
    ua_reply(c.up.a, ended, 200, NULL);
    if (!ended) (void)phone_down(&c.up);
    CAPABLE(t, !sdp_lines(c.up.ok->body, "a=ice-lite"), "full ICE (it is ICE-lite)");
    unsigned at = test_note(t, "of %u candidates it checked %u%s", MANY, crowd->checked,
                            crowd->checked > PAIRS_MAX ? " or more" : "");
    GIVEN(t, crowd->checked, "no check came");
    MUST(t, at, crowd->checked <= PAIRS_MAX, "more than %u pairs are tried", PAIRS_MAX);
    PASS(t, at);
}

/* ---- trickled candidates: RFC 8838, 8840 ----------------------------------------------------- */

#define TRICKLE "Supported: trickle-ice\r\nRecv-Info: trickle-ice\r\n"
/* Its default is among its candidates: no mismatch. */
#define TRICKLED                                                                                   \
    SDP_OF("127.0.0.1",                                                                            \
           "m=audio 40000 UDP/TLS/RTP/SAVP 0 8\r\na=mid:0\r\na=ice-options:ice2 trickle\r\n"       \
           "a=ice-ufrag:" OUR_UFRAG "\r\na=ice-pwd:" OUR_PWD "\r\n"                                \
           "a=candidate:9 1 UDP 2130706000 127.0.0.1 40000 typ host\r\n%s" KEYED)
#define QUIET_MS 2000

struct trickle {
    struct ice_call c;
    struct media *first, *second, *third; /* in the offer, in an INFO, in one that does not count */
    unsigned infos, wrong, late;          /* of the phone: the evidence of what is wrong */
    bool ended;                           /* it has said that it has no more */
    const char *fault;
};

/* Answers the INFOs of the phone, and looks at them: RFC 8840 4.4, RFC 8838 13. */
static void take_infos(struct trickle *k) {
    for (struct msg *m; (m = ua_wait(k->c.up.a, "INFO", 0)); k->infos++) {
        const char *fault = NULL;
        ua_reply(k->c.up.a, m, 200, NULL);
        if (!is_i(msg_header(m, "Info-Package"), "trickle-ice")) fault = "Info-Package";
        if (!sdp_lines(m->body, "a=ice-ufrag:") || !sdp_lines(m->body, "a=ice-pwd:"))
            fault = "ice-ufrag and ice-pwd";
        if (!sdp_lines(m->body, "a=mid:") && !sdp_lines(m->body, "a=end-of-cand")) fault = "mid";
        if (fault && !k->wrong) k->wrong = m->at, k->fault = fault;
        if (k->ended && !k->late && sdp_lines(m->body, "a=candidate:")) k->late = m->at;
        k->ended = k->ended || sdp_lines(m->body, "a=end-of-candidates");
    }
}

/* An INFO of the generation with these keys; `lines` are of our media line. */
static struct msg *inform(struct trickle *k, const char *ufrag, const char *pwd,
                          const char *lines) {
    struct msg *r =
        ua_ask(k->c.up.a,
               &(struct req){ .method = "INFO",
                              .in = &k->c.up.d,
                              .headers = "Info-Package: trickle-ice\r\nContent-Disposition: "
                                         "Info-Package\r\n",
                              .type = "application/trickle-ice-sdpfrag",
                              .body = text(ua_test(k->c.up.a),
                                           "a=ice-pwd:%s\r\na=ice-ufrag:%s\r\nm=audio 9 RTP/AVP "
                                           "0\r\na=mid:0\r\n%s",
                                           pwd, ufrag, lines) });
    take_infos(k);
    return r;
}

static const char *candidate(const struct media *m, unsigned n) {
    return text(m->t, "a=candidate:%u 1 UDP %u %s typ host\r\n", n, 2130706431u - n, place_of(m));
}

static void trickle_down(struct trickle *k) {
    take_infos(k);
    (void)phone_down(&k->c.up);
    media_close(k->first);
    media_close(k->second);
    media_close(k->third);
}

/* A call with a phone that checks a candidate which it was told in an INFO. */
static bool trickle_up(struct test *t, struct trickle *k) {
    *k = (struct trickle){ 0 };
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    k->first = media_open(a);
    k->second = media_open(a);
    k->third = media_open(a);
    if (t->verdict) return false;
    if (!ice_up_with(t, &k->c, text(t, TRICKLED, candidate(k->first, 1)), TRICKLE)) return false;
    const struct msg *ok = k->c.up.ok;
    if (!has(sdp_line(ok->body, "a=ice-options:"), "trickle") ||
        !(msg_lists(ok, "Recv-Info", "trickle-ice") || msg_lists(ok, "Supported", "trickle-ice")))
        test_na(t, "trickle");
    k->ended = sdp_lines(ok->body, "a=end-of-candidates") > 0;
    struct msg *r = inform(k, OUR_UFRAG, OUR_PWD,
                           text(t, "%s%s", candidate(k->first, 1), candidate(k->second, 2)));
    if (!t->verdict && !(r && r->status == 200))
        test_unclear(t, "an INFO with a candidate gets %u", r ? r->status : 0);
    media_wait(k->second, 1, 0, UP_MS);
    if (!t->verdict && !k->second->checks)
        test_unclear(t, "a candidate that was told in an INFO is not checked");
    if (t->verdict) trickle_down(k);
    return !t->verdict;
}

/* The third candidate is in this INFO, and gets no check: the phone answers after that time. */
static void passes_over(struct test *t, struct trickle *k, struct msg *r, const char *why) {
    media_wait(k->third, 1, 0, QUIET_MS);
    struct msg *life = ua_ask(k->c.up.a, &(struct req){ 0 });
    media_wait(k->third, 1, 0, 100);
    unsigned checks = k->third->checks, at = k->third->check_at;
    trickle_down(k);
    GIVEN(t, r && life, "the phone does not answer any more");
    MUST(t, at, !checks, "%s, and it is checked", why);
    at = test_note(t, "no check came to the last candidate");
    MUST(t, k->late, !k->late, "after end-of-candidates it sends one more");
    PASS(t, at);
}

static void after_the_end(struct test *t) {
    struct trickle k;
    if (!trickle_up(t, &k)) return;
    const char *both = text(t, "%s%s", candidate(k.first, 1), candidate(k.second, 2));
    struct msg *r = inform(&k, OUR_UFRAG, OUR_PWD, text(t, "%sa=end-of-candidates\r\n", both));
    if (r && r->status == 200)
        r = inform(&k, OUR_UFRAG, OUR_PWD,
                   text(t, "%s%sa=end-of-candidates\r\n", both, candidate(k.third, 0)));
    passes_over(t, &k, r, "the candidate came after end-of-candidates");
}

static void old_generation(struct test *t) {
    struct trickle k;
    if (!trickle_up(t, &k)) return;
    struct msg *r = inform(&k, "gone", "gonegonegonegonegonegone", candidate(k.third, 0));
    MUST(t, r ? r->at : t->event_count, r && r->status == 200,
         "an INFO of another generation gets %u", r ? r->status : 0);
    passes_over(t, &k, r, "the candidate is of another generation");
}

static void informs(struct test *t) {
    struct trickle k;
    if (!trickle_up(t, &k)) return;
    trickle_down(&k);
    CAPABLE(t, k.infos, "trickle of its own candidates (they all stand in the answer)");
    MUST(t, k.wrong, !k.wrong, "its INFO has no %s", k.fault);
    PASS(t, test_note(t, "%u INFOs of the phone", k.infos));
}

AREA(phone_ice, T(NAT_016, "restart", restart), T(NAT_004, "mismatch", mismatch),
     T(NAT_001, "unproved", unproved), T(NAT_018, "conflict", conflict),
     T(NAT_008, "late-check", late_check, .seconds = LATE_MS / 1000),
     T(NAT_005, "after-the-end", after_the_end), T(NAT_006, "old-generation", old_generation),
     T(NAT_006, "informs", informs), T(NAT_017, "many-pairs", many_pairs));
