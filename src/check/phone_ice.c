/* check/phone_ice.c - ICE of a phone that answers: RFC 8445, 8839. Its checks are those that we
 * send to the candidate in its answer; none of ours has to succeed. */
#include "check/caller.h"
#include "check/probe.h"
#include "check/tests.h"
#include "crypto/crypto.h"
#include "os/socket.h"

#define OUR_UFRAG "kith"
#define OUR_PWD   "kithkithkithkithkithkith"
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
static bool ice_up(struct test *t, struct ice_call *c, const char *offer) {
    *c = (struct ice_call){ 0 };
    if (!phone_up(t, &c->up, &(struct req){ .body = offer })) return false;
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

AREA(phone_ice, T(NAT_016, "restart", restart), T(NAT_004, "mismatch", mismatch),
     T(NAT_001, "unproved", unproved), T(NAT_018, "conflict", conflict));
