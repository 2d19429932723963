/* check/relay_turn.c - relays: RFC 8656 (TURN) and RFC 8489 (STUN). */
#include "check/link.h"
#include "check/probe.h"
#include "check/tests.h"
#include "crypto/crypto.h"

#define R(m, ...)                                                                                  \
    &(struct ask_stun) {                                                                           \
        .method = (m), .lifetime = -1, __VA_ARGS__                                                 \
    }
#define ALLOCATE R(STUN_ALLOCATE, .transport = 17)

/* ---- plain STUN ---------------------------------------------------------------------------- */

static void binding(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, NOBODY);
    struct msg *r = probe_once(&u, R(STUN_BINDING, .indication = false));
    EXPECT_STUN(t, r, 0);
    struct addr seen;
    MUST(t, r->at, probe_address(r, STUN_MAPPED, &seen), "no XOR-MAPPED-ADDRESS");
    MUST(t, r->at, addr_eq(&seen, &ua_link(u.a)->local), "XOR-MAPPED-ADDRESS is not where we are");
    PASS(t, r->at);
}
static void unknown_attribute(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, NOBODY);
    struct msg *r = probe_once(&u, R(STUN_BINDING, .extra = slice_of("\x7f\x01\0\0", 4)));
    EXPECT_STUN(t, r, 420);
    slice list = probe_attribute(r, 0x0a);
    MUST(t, r->at, list.len >= 2 && memcmp(list.ptr, "\x7f\x01", 2) == 0,
         "UNKNOWN-ATTRIBUTES does not list 0x7f01");
    PASS(t, r->at);
}
static void malformed(struct test *t) {
    struct ua *a = ua_new(t, WIRE_UDP, NOBODY);
    ua_send_bytes(a, slice_of("\0\1\0\7\x21\x12\xA4\x42kithcheck002abc", 23));
    ua_send_bytes(a, slice_of("\xc0\1\0\0\x21\x12\xA4\x42kithcheck003", 20));
    struct msg *m;
    unsigned quiet = ua_quiet(a, "any", 1000, &m);
    OVER(t);
    MUST(t, m ? m->at : 0, !m, "a malformed message is answered");
    PASS(t, quiet);
}
static void wrong_fingerprint(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, NOBODY);
    struct msg *r = probe_once(&u, R(STUN_BINDING, .extra = slice_of("\x80\x28\0\4wron", 8)));
    OVER(t);
    MUST(t, r ? r->at : 0, !r, "a message with a wrong FINGERPRINT is answered");
    PASS(t, test_note(t, "no answer"));
}

/* ---- log-in -------------------------------------------------------------------------------- */

static void algorithms(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct msg *r = probe_once(&u, ALLOCATE);
    EXPECT_STUN(t, r, 401);
    slice nonce = probe_attribute(r, STUN_NONCE), list = probe_attribute(r, STUN_ALGORITHMS);
    MUST(t, r->at, slice_starts(nonce, SLICE("obMatJos2")),
         "the nonce has no cookie that blocks bid-down");
    MUST(t, r->at, slice_find_slice(list, slice_of("\0\2", 2)) < list.len,
         "PASSWORD-ALGORITHMS without SHA-256");
    PASS(t, r->at);
}
static void nonce_of_another(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0), other = probe_new(t, WIRE_UDP, 0);
    struct msg *r = probe_once(&u, ALLOCATE);
    EXPECT_STUN(t, r, 401);
    GIVEN(t, ua_verified(u.a), "credentials are not sent: the name of the target is not verified");
    other.realm = probe_attribute(r, STUN_REALM);
    other.nonce = probe_attribute(r, STUN_NONCE);
    struct msg *o = probe_once(&other, ALLOCATE);
    EXPECT_STUN(t, o, 438);
    MUST(t, o->at, probe_attribute(o, STUN_NONCE).len, "438 without a new nonce");
    PASS(t, o->at);
}
static void old_nonce(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct msg *r = probe_once(&u, ALLOCATE);
    EXPECT_STUN(t, r, 401);
    GIVEN(t, ua_verified(u.a), "credentials are not sent: the name of the target is not verified");
    u.realm = probe_attribute(r, STUN_REALM);
    u.nonce = SLICE("0123456789abcdef");
    r = probe_once(&u, ALLOCATE);
    EXPECT_STUN(t, r, 438);
    PASS(t, r->at);
}
static void wrong_login(struct test *t, const char *user, const char *password) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    if (user) u.user = user;
    if (password) u.password = password;
    struct msg *r = probe_ask(&u, ALLOCATE);
    EXPECT_STUN(t, r, 401);
    MUST(t, r->at, probe_attribute(r, STUN_REALM).len && probe_attribute(r, STUN_NONCE).len,
         "401 without realm and nonce");
    PASS(t, r->at);
}
static void wrong_password(struct test *t) {
    wrong_login(t, NULL, "not the password");
}
static void wrong_user(struct test *t) {
    wrong_login(t, "nobody-of-that-name", "x");
}
static void nonce_missing(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct msg *r = probe_once(&u, ALLOCATE);
    EXPECT_STUN(t, r, 401);
    GIVEN(t, ua_verified(u.a), "credentials are not sent: the name of the target is not verified");
    u.realm = probe_attribute(r, STUN_REALM);
    u.nonce = probe_attribute(r, STUN_NONCE);
    u.no_nonce = true;
    r = probe_once(&u, ALLOCATE);
    EXPECT_STUN(t, r, 400);
    PASS(t, r->at);
}

/* ---- allocations ---------------------------------------------------------------------------- */

static void needs_login(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, NOBODY);
    struct msg *r = probe_once(&u, ALLOCATE);
    EXPECT_STUN(t, r, 401);
    PASS(t, r->at);
}
static void twice(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed;
    (void)probe_allocate(&u, &relayed);
    struct msg *r = probe_ask(&u, ALLOCATE);
    probe_end(&u);
    EXPECT_STUN(t, r, 437);
    PASS(t, r->at);
}
static void no_such_family(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct msg *r = probe_ask(&u, R(STUN_ALLOCATE, .transport = 17, .family = 7));
    EXPECT_STUN(t, r, 440);
    PASS(t, r->at);
}
static void other_user(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed;
    (void)probe_allocate(&u, &relayed);
    OVER(t);
    struct probe thief = u;
    thief.user = t->accounts[1]->user;
    thief.password = t->accounts[1]->password;
    struct msg *r = probe_ask(&thief, R(STUN_REFRESH, .peer = NULL));
    probe_end(&u);
    EXPECT_STUN(t, r, 441);
    PASS(t, r->at);
}
static void no_allocation(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct msg *r = probe_ask(&u, R(STUN_REFRESH, .peer = NULL));
    EXPECT_STUN(t, r, 437);
    PASS(t, r->at);
}
static void no_transport(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct msg *r = probe_ask(&u, R(STUN_ALLOCATE, .transport = 0));
    EXPECT_STUN(t, r, 400);
    PASS(t, r->at);
}
static void other_transport(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct msg *r = probe_ask(&u, R(STUN_ALLOCATE, .transport = 99));
    EXPECT_STUN(t, r, 442);
    PASS(t, r->at);
}
static void contradiction(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct msg *r = probe_ask(&u, R(STUN_ALLOCATE, .transport = 17,
                                    .extra = slice_of("\0\x18\0\1\x80\0\0\0\0\x22\0\x08"
                                                      "12345678",
                                                      20)));
    EXPECT_STUN(t, r, 400);
    PASS(t, r->at);
}
static void ports(struct test *t) {
    struct addr relayed[5];
    unsigned in_order = 0, at = 0;
    for (unsigned i = 0; i < 5; i++) {
        struct probe u = probe_new(t, WIRE_UDP, 0);
        struct msg *r = probe_allocate(&u, &relayed[i]);
        OVER(t);
        at = r->at;
        MUST(t, at, relayed[i].port >= 49152, "port %u is below 49152", relayed[i].port);
        in_order += i && relayed[i].port > relayed[i - 1].port &&
                    relayed[i].port - relayed[i - 1].port <= 2;
        probe_end(&u);
    }
    MUST(t, at, in_order < 4, "the ports come in order");
    PASS(t, at);
}
static void deletes(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed;
    (void)probe_allocate(&u, &relayed);
    struct msg *r = probe_ask(&u, &(struct ask_stun){ STUN_REFRESH, .lifetime = 0 });
    EXPECT_STUN(t, r, 0);
    test_pause(300);
    r = probe_ask(&u, R(STUN_REFRESH, .peer = NULL));
    EXPECT_STUN(t, r, 437);
    PASS(t, r->at);
}
static void refresh_family(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed;
    (void)probe_allocate(&u, &relayed);
    struct msg *r = probe_ask(&u, R(STUN_REFRESH, .family = relayed.family == ADDR_V4 ? 2 : 1));
    probe_end(&u);
    EXPECT_STUN(t, r, 443);
    PASS(t, r->at);
}
static void lifetime(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct msg *r =
        probe_ask(&u, &(struct ask_stun){ STUN_ALLOCATE, .transport = 17, .lifetime = 999999 });
    EXPECT_STUN(t, r, 0);
    slice v = probe_attribute(r, STUN_LIFETIME);
    uint32_t s = v.len == 4
                     ? (uint32_t)(uint8_t)v.ptr[0] << 24 | (uint32_t)(uint8_t)v.ptr[1] << 16 |
                           (uint32_t)(uint8_t)v.ptr[2] << 8 | (uint8_t)v.ptr[3]
                     : 0;
    probe_end(&u);
    MUST(t, r->at, s && s <= 3600, "a lifetime of %u s is granted", s);
    PASS(t, r->at);
}

/* ---- peers --------------------------------------------------------------------------------- */

/* Our own second socket is the peer. */
static struct ua *peer_of(struct probe *u, const struct addr *relayed, struct addr *here) {
    struct ua *p = u->t->verdict ? NULL : ua_towards(u->t, relayed);
    if (p) *here = ua_link(p)->local;
    return p;
}

static struct addr no_addr(void) {
    return (struct addr){ 0 };
}

static void permission(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed = no_addr(), here = no_addr();
    (void)probe_allocate(&u, &relayed);
    struct ua *p = peer_of(&u, &relayed, &here);
    ua_send_bytes(p, SLICE("uninvited"));
    struct msg *m;
    (void)ua_quiet(u.a, "any", 500, &m);
    MUST(t, m ? m->at : 0, !m, "a peer without permission reaches the client");
    struct msg *ok = probe_ask(&u, R(STUN_PERMISSION, .peer = &here));
    OVER(t);
    GIVEN(t, probe_is_success(ok),
          "CreatePermission for "
          "our own address got %u",
          probe_error(ok));
    ua_send_bytes(p, SLICE("invited"));
    m = ua_wait(u.a, "any", 2000);
    MUST(t, ok->at, m && is(probe_attribute(m, STUN_BYTES), "invited"),
         "the peer does not reach the client in spite of the permission");
    probe_end(&u);
    PASS(t, m->at);
}

static void send_needs_permission(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed = no_addr(), here = no_addr();
    (void)probe_allocate(&u, &relayed);
    struct ua *p = peer_of(&u, &relayed, &here);
    (void)probe_once(&u, R(STUN_SEND, .indication = true, .peer = &here, .bytes = SLICE("hello")));
    struct msg *m, *answer;
    (void)ua_quiet(p, "any", 500, &m);
    unsigned quiet = ua_quiet(u.a, "any", 300, &answer);
    MUST(t, m ? m->at : 0, !m, "data reaches a peer without permission");
    MUST(t, answer ? answer->at : 0, !answer, "an indication is answered");
    probe_end(&u);
    PASS(t, quiet);
}

/* RFC 7879 3: what end points have signed passes as it is; here something like SRTP, 300 bytes */
static void unchanged(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed = no_addr(), here = no_addr();
    (void)probe_allocate(&u, &relayed);
    struct ua *p = peer_of(&u, &relayed, &here);
    (void)probe_ask(&u, R(STUN_PERMISSION, .peer = &here));
    char media[300] = { (char)0x80, 96 };
    crypto_random(media + 2, sizeof media - 2);
    slice sent = slice_of(media, sizeof media);
    (void)probe_once(&u, R(STUN_SEND, .indication = true, .peer = &here, .bytes = sent));
    struct msg *out = ua_wait(p, "any", 4000);
    ua_send_bytes(p, sent);
    struct msg *in = ua_wait(u.a, "any", 4000);
    OVER(t);
    GIVEN(t, out && in, "media did not pass in both directions");
    MUST(t, out->at, slice_eq(out->raw, sent), "media reaches the peer changed");
    MUST(t, in->at, slice_eq(probe_attribute(in, STUN_BYTES), sent), "media comes back changed");
    probe_end(&u);
    PASS(t, in->at);
}

/* RFC 9443 3: octets that begin neither STUN nor a channel; a request afterwards is the sign of
 * life */
static void no_range(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, NOBODY);
    char odd[60] = { (char)0xc8 };
    ua_send_bytes(u.a, slice_of(odd, sizeof odd));
    odd[0] = 0x20;
    ua_send_bytes(u.a, slice_of(odd, sizeof odd));
    struct msg *r = ua_link(u.a) ? probe_once(&u, R(STUN_BINDING, .indication = false)) : NULL;
    struct msg *other = ua_wait(u.a, "any", 0);
    EXPECT_STUN(t, r, 0);
    for (unsigned i = 0; !other && i < t->event_count; i++)
        MUST(t, i + 1, t->events[i].kind != '<' || i + 1 == r->at,
             "a datagram of no known kind is answered");
    MUST(t, other ? other->at : 0, !other, "a datagram of no known kind is answered");
    PASS(t, r->at);
}

static void unbound_channel(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed = no_addr(), here = no_addr();
    (void)probe_allocate(&u, &relayed);
    struct ua *p = peer_of(&u, &relayed, &here);
    (void)probe_ask(&u, R(STUN_CHANNEL, .peer = &here, .channel = 0x4001));
    ua_send_bytes(u.a, slice_of("\x40\x02\0\4no!!", 8));   /* another channel */
    ua_send_bytes(u.a, slice_of("\x40\x01\0\x40no!!", 8)); /* longer than its datagram */
    struct msg *m;
    unsigned quiet = ua_quiet(p, "any", 600, &m);
    OVER(t);
    MUST(t, m ? m->at : 0, !m, "channel data that is not right was passed on");
    ua_send_bytes(u.a, slice_of("\x40\x01\0\4yes!", 8));
    m = ua_wait(p, "any", 1500);
    GIVEN(t, m && is(m->raw, "yes!"), "channel data that is right is not passed on either");
    probe_end(&u);
    PASS(t, quiet);
}

static void channels(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed = no_addr(), here = no_addr();
    (void)probe_allocate(&u, &relayed);
    (void)peer_of(&u, &relayed, &here);
    struct addr other = here;
    other.port ^= 1;
    static const unsigned bad[] = { 0x3fff, 0x5000, 0x7fff };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct msg *r = probe_ask(&u, R(STUN_CHANNEL, .peer = &here, .channel = bad[i]));
        EXPECT_STUN(t, r, 400);
    }
    struct msg *good = probe_ask(&u, R(STUN_CHANNEL, .peer = &here, .channel = 0x4001));
    GIVEN(t, probe_is_success(good), "ChannelBind got %u", probe_error(good));
    struct msg *r = probe_ask(&u, R(STUN_CHANNEL, .peer = &other, .channel = 0x4001));
    EXPECT_STUN(t, r, 400);
    r = probe_ask(&u, R(STUN_CHANNEL, .peer = &here, .channel = 0x4002));
    EXPECT_STUN(t, r, 400);
    probe_end(&u);
    PASS(t, r->at);
}

static void peer_missing(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed;
    (void)probe_allocate(&u, &relayed);
    struct msg *r = probe_ask(&u, R(STUN_PERMISSION, .peer = NULL));
    probe_end(&u);
    EXPECT_STUN(t, r, 400);
    PASS(t, r->at);
}

static struct msg *permit(struct probe *u, const char *ip) {
    struct addr a;
    if (addr_read_ip(slice_str(ip), &a) != ERR_OK) return NULL;
    a.port = 9;
    return probe_ask(u, R(STUN_PERMISSION, .peer = &a));
}

static void peer_family(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed;
    (void)probe_allocate(&u, &relayed);
    struct msg *r = permit(&u, relayed.family == ADDR_V4 ? "2001:db8::1" : "192.0.2.1");
    probe_end(&u);
    EXPECT_STUN(t, r, 443);
    PASS(t, r->at);
}

/* RFC 8656 21.4, 21.5 */
static void forbidden_peers(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0);
    struct addr relayed;
    (void)probe_allocate(&u, &relayed);
    OVER(t);
    bool here = addr_is_loopback(
        &ua_link(u.a)->local); /* then the peers of the other tests are there too */
    static const char *const never[] = { "169.254.1.1", "0.0.0.0", "224.0.0.1", "127.0.0.1" };
    struct msg *r = NULL;
    for (unsigned i = 0; i < ARRAY_LEN(never) - here && relayed.family == ADDR_V4; i++) {
        r = permit(&u, never[i]);
        OVER(t);
        MUST(t, r ? r->at : t->event_count, probe_error(r) == 403,
             "the peer %s is not refused with 403 but %u", never[i], probe_error(r));
    }
    probe_end(&u);
    GIVEN(t, r, "the relay gave no IPv4 address");
    PASS(t, r->at);
}

static void transports(struct test *t) {
    unsigned at = test_note(t, "UDP %d, TCP %d, TLS %d", test_has(t, WIRE_UDP),
                            test_has(t, WIRE_TCP), test_has(t, WIRE_TLS));
    MUST(t, at, test_has(t, WIRE_UDP) && test_has(t, WIRE_TCP) && test_has(t, WIRE_TLS),
         "not all of UDP, TCP and TLS");
    struct probe u = probe_new(t, WIRE_TLS, 0);
    struct addr relayed;
    struct msg *r = probe_allocate(&u, &relayed);
    OVER(t);
    probe_end(&u);
    PASS(t, r->at);
}

static void ipv6(struct test *t) {
    struct probe u = probe_new(t, WIRE_UDP, 0), both = probe_new(t, WIRE_UDP, 0);
    struct addr six;
    struct msg *r = probe_ask(&u, R(STUN_ALLOCATE, .transport = 17, .family = 2));
    EXPECT_STUN(t, r, 0);
    MUST(t, r->at, probe_address(r, STUN_RELAYED, &six) && six.family == ADDR_V6,
         "no IPv6 relayed address");
    probe_end(&u);
    r = probe_ask(&both, R(STUN_ALLOCATE, .transport = 17, .more_family = 2));
    EXPECT_STUN(t, r, 0);
    unsigned n = 0;
    slice s = slice_from(r->raw, 20);
    for (size_t i = 0; i + 4 <= s.len; i += 4 + ((size_t)(uint8_t)s.ptr[i + 3] + 3) / 4 * 4)
        n += s.ptr[i] == 0 && s.ptr[i + 1] == STUN_RELAYED;
    MUST(t, r->at, n == 2, "%u relayed addresses instead of 2", n);
    probe_end(&both);
    PASS(t, r->at);
}

AREA(relay_turn, T(NAT_009, "binding", binding), T(NAT_009, "unknown", unknown_attribute),
     T(RELAY_012, "bad", malformed), T(RELAY_013, "open", binding),
     T(RELAY_014, "wrong-fingerprint", wrong_fingerprint),
     T(NAT_010, "algorithms", algorithms, .accounts = 1),
     T(RELAY_010, "nonce-of-another", nonce_of_another, .accounts = 1),
     T(RELAY_010, "old-nonce", old_nonce, .accounts = 1),
     T(RELAY_011, "password", wrong_password, .accounts = 1),
     T(RELAY_011, "user", wrong_user, .accounts = 1),
     T(RELAY_011, "nonce-missing", nonce_missing, .accounts = 1), T(NAT_011, "login", needs_login),
     T(NAT_011, "twice", twice, .accounts = 1), T(NAT_011, "family", no_such_family, .accounts = 1),
     T(RELAY_001, "other-user", other_user, .accounts = 2),
     T(RELAY_002, "no-allocation", no_allocation, .accounts = 1),
     T(RELAY_003, "no-transport", no_transport, .accounts = 1),
     T(RELAY_003, "other-transport", other_transport, .accounts = 1),
     T(RELAY_003, "contradiction", contradiction, .accounts = 1),
     T(RELAY_004, "ports", ports, .accounts = 1), T(RELAY_005, "deletes", deletes, .accounts = 1),
     T(RELAY_005, "refresh-family", refresh_family, .accounts = 1),
     T(RELAY_006, "no-peer", peer_missing, .accounts = 1),
     T(RELAY_006, "peer-family", peer_family, .accounts = 1),
     T(RELAY_007, "channels", channels, .accounts = 1),
     T(RELAY_008, "unbound", unbound_channel, .accounts = 1),
     T(MSEC_013, "unchanged", unchanged, .accounts = 1), T(MSEC_012, "no-range", no_range),
     T(RELAY_009, "send", send_needs_permission, .accounts = 1),
     T(RELAY_015, "lifetime", lifetime, .accounts = 1),
     T(NAT_012, "permission", permission, .accounts = 1),
     T(NAT_013, "forbidden", forbidden_peers, .accounts = 1),
     T(NAT_014, "transports", transports, .accounts = 1), T(IPV6_008, "both", ipv6, .accounts = 1));
