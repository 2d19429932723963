/* check/trunk_provider.c - the tester is the provider (--listen) and the target a PBX that
 * registers with RFC 6140: it is called at its first number (--numbers), and calls out when it
 * takes a REFER, or by hand. */
#include "check/caller.h"
#include "check/phone.h"
#include "check/run.h"
#include "check/tests.h"

/* The last REGISTER, as evidence. */
static struct msg *registration(struct test *t) {
    const struct phone *p = t->run->phone;
    struct msg *m = arena_alloc(&t->arena, sizeof *m);
    if (!m || !p->seen_count) return NULL;
    unsigned n = p->seen_count - 1;
    unsigned at = test_event(t, '<', "registrar", slice_of(p->seen[n], p->seen_len[n]));
    msg_read(t->events[at - 1].bytes, m);
    m->at = at;
    return m;
}

/* RFC 6140 5.1 */
static void registers_bnc(struct test *t) {
    struct msg *m = registration(t);
    GIVEN(t, m, "no REGISTER was kept");
    slice uri = value_uri(msg_value(m, "Contact", 0));
    MUST(t, m->at, uri_param(uri, "bnc").ptr, "the Contact has no bnc");
    MUST(t, m->at, !uri_user(uri).ptr && !uri_param(uri, "user").ptr,
         "the Contact has a user part, or user=");
    MUST(t, m->at, msg_lists(m, "Require", "gin") && msg_lists(m, "Proxy-Require", "gin"),
         "gin is not in Require and Proxy-Require");
    MUST(t, m->at, msg_lists(m, "Supported", "path"), "path is not in Supported");
    PASS(t, m->at);
}

static void takes_calls(struct test *t) {
    struct up c = { .a = ua_new(t, WIRE_BEST, NOBODY) };
    c.ok = ua_ask(c.a, &(struct req){ .method = "INVITE", .body = sdp_offer });
    EXPECT(t, c.ok, "2xx");
    phone_ack(&c);
    (void)phone_down(&c);
    PASS(t, c.ok->at);
}

/* RFC 6140 5.3 */
static void user_parameter(struct test *t) {
    static const char *const kinds[] = { "", ";user=phone", ";user=x-kith" };
    unsigned at = 0;
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        struct up c = { .a = ua_new(t, WIRE_BEST, NOBODY) };
        c.ok = ua_ask(c.a, &(struct req){ .method = "INVITE",
                                          .uri = text(t, "{phone}%s", kinds[i]),
                                          .to = "<{phone}>",
                                          .body = sdp_offer });
        if (i == 0) GIVEN(t, c.ok && c.ok->status / 100 == 2, "the PBX does not answer the call");
        EXPECT(t, c.ok, "2xx");
        at = c.ok->at;
        phone_ack(&c);
        (void)phone_down(&c);
    }
    PASS(t, at);
}

static bool global_number(slice uri) {
    slice user = slice_istarts(uri, SLICE("tel:")) ? slice_from(uri_bare(uri), 4) : uri_user(uri);
    bool good = user.len > 2 && user.len < 18 && *user.ptr == '+';
    for (size_t i = 1; good && i < user.len; i++) good = user.ptr[i] >= '0' && user.ptr[i] <= '9';
    return good;
}

/* An outgoing call to a number that nobody has (ITU-T E.164.1: +999 is spare). */
static bool calls_out(struct test *t, struct dialled *c) {
    if (!phone_dials(t, c, "sip:+99912345678@{local};user=phone")) return false;
    if (!t->verdict && !c->in) test_unclear(t, "the PBX was told to call, and did not");
    ua_reply(c->a, c->in, 486, NULL);
    phone_dialled_end(c);
    return !t->verdict;
}

static void numbers(struct test *t) {
    struct dialled c;
    if (!calls_out(t, &c)) return;
    static const char *const names[] = { "From", "To", "P-Asserted-Identity" };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        slice uri = value_uri(msg_header(c.in, names[i]));
        if (!uri.ptr) continue;
        MUST(t, c.in->at, global_number(uri), "no +E.164 number in %s", names[i]);
        MUST(t, c.in->at,
             slice_istarts(uri, SLICE("tel:")) || is_i(uri_param(uri, "user"), "phone"),
             "no user=phone in %s", names[i]);
    }
    PASS(t, c.in->at);
}

static void identity(struct test *t) {
    struct dialled c;
    if (!calls_out(t, &c)) return;
    MUST(t, c.in->at, msg_header(c.in, "P-Asserted-Identity").ptr, "no P-Asserted-Identity");
    PASS(t, c.in->at);
}

static void key_presses(struct test *t) {
    struct up c;
    const char *offer = SDP("m=audio 40000 UDP/TLS/RTP/SAVP 0 101\r\n"
                            "a=rtpmap:101 telephone-event/8000\r\n" KEYED);
    if (!phone_up(t, &c, &(struct req){ .body = offer })) return;
    (void)phone_down(&c);
    MUST(t, c.ok->at, has(c.ok->body, "telephone-event/8000"),
         "telephone-event was offered and is not in the answer");
    PASS(t, c.ok->at);
}

static void secure(struct test *t) {
    struct up c;
    MUST(t, test_note(t, "TLS: %s", test_has(t, WIRE_TLS) ? "yes" : "no"), test_has(t, WIRE_TLS),
         "the PBX did not come over TLS");
    if (!phone_up(t, &c, &(struct req){ .body = "" })) return;
    (void)phone_down(&c);
    MUST(t, c.ok->at, has(c.ok->body, "/SAVP"), "an offer of the PBX has no encrypted media");
    PASS(t, c.ok->at);
}

AREA(trunk_provider, T(REG_009, "pbx", registers_bnc), T(TRUNK_001, "pbx", takes_calls),
     T(REG_012, "user-parameter", user_parameter), T(TRUNK_002, "pbx-numbers", numbers),
     T(TRUNK_003, "pbx-identity", identity), T(TRUNK_004, "pbx-key-presses", key_presses),
     T(TRUNK_006, "pbx-secure", secure));
