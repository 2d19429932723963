/* check/phone_events.c - what a phone subscribes to, publishes and writes: RFC 3428, 3842, 3903,
 * 4575. Some phones begin by themselves; else somebody presses its buttons: --hands or --wait. */
#include "check/caller.h"
#include "check/phone.h"
#include "check/tests.h"

#define OF_ITSELF_MS 2000

/* Does it still answer? The number of that evidence; 0: no. */
static unsigned alive(struct ua *a) {
    struct msg *life = ua_ask(a, &(struct req){ 0 });
    return life ? life->at : 0;
}

struct subscription { /* of the phone, which we granted */
    struct ua *a;
    const char *event; /* as it named it, with an id */
    const char *type;  /* of what it is told */
    struct dialog d;
};

/* Its SUBSCRIBE to this package, granted; one to another is refused. NULL: none came in `ms`. */
static struct msg *grant(struct subscription *s, const char *package, int64_t ms) {
    struct test *t = ua_test(s->a);
    struct msg *in;
    while ((in = ua_wait(s->a, "SUBSCRIBE", ms))) {
        slice event = msg_header(in, "Event"), name = slice_head(event, slice_find(event, ';'));
        if (is_i(slice_trim(name), package)) break;
        ua_reply(s->a, in, 489, NULL);
    }
    if (!in) return NULL;
    ua_reply(s->a, in, 200, &(struct rep){ .headers = "Expires: 600\r\n" });
    dialog_taken(s->a, in, NULL, &s->d);
    s->event = text_of(t, msg_header(in, "Event"));
    return in;
}

/* A NOTIFY in the subscription, and its answer. */
static struct msg *tell(struct subscription *s, const char *body) {
    const char *state =
        text(ua_test(s->a), "Event: %s\r\nSubscription-State: active\r\n", s->event);
    return ua_ask(s->a, &(struct req){ .method = "NOTIFY",
                                       .in = s->d.call_id.len ? &s->d : NULL,
                                       .headers = state,
                                       .type = s->type,
                                       .body = body });
}

static void end(struct subscription *s) {
    const char *over =
        text(ua_test(s->a), "Event: %s\r\nSubscription-State: terminated;reason=noresource\r\n",
             s->event);
    (void)ua_ask(s->a, &(struct req){ .method = "NOTIFY", .in = &s->d, .headers = over });
}

/* ---- voice-mail ------------------------------------------------------------------------------ */

#define WAITING "Messages-Waiting: yes\r\n"

/* RFC 3842 3.5 and 5.2. Phones that need no subscription take the first one as it comes. What is
 * shown is its user's to judge; that nothing of it is refused is seen here. */
static void summaries(struct test *t) {
    static const char *const told[] = { WAITING "Voice-Message: 2/8 (0/2)\r\n", WAITING,
                                        "Messages-Waiting: no\r\nFax-Message: 0/1\r\n",
                                        WAITING "Voice-Message: 4294967296/99999999999999999999 "
                                                "(0/18446744073709551616)\r\n" };
    struct subscription s = { .a = ua_new(t, WIRE_BEST, NOBODY),
                              .event = "message-summary",
                              .type = "application/simple-message-summary" };
    struct msg *in = NULL, *r[ARRAY_LEN(told)] = { tell(&s, told[0]) };
    if (!t->verdict && !(r[0] && r[0]->status / 100 == 2)) {
        phone_act(t, "subscribe to message-summary");
        in = grant(&s, "message-summary", phone_patience(t->run));
        GIVEN(t, in, "no SUBSCRIBE to message-summary came");
        r[0] = tell(&s, told[0]);
    }
    for (unsigned i = 1; i < ARRAY_LEN(told); i++) r[i] = tell(&s, told[i]);
    if (in) end(&s);
    OVER(t);
    if (in && msg_header(in, "Accept").ptr)
        MUST(t, in->at, msg_lists(in, "Accept", s.type) || msg_lists(in, "Accept", "*/*"),
             "its SUBSCRIBE does not accept %s", s.type);
    for (unsigned i = 0; i < ARRAY_LEN(told); i++)
        MUST(t, r[i] ? r[i]->at : t->event_count, r[i] && r[i]->status / 100 == 2,
             "the NOTIFY with \"%s\" gets %u", told[i], r[i] ? r[i]->status : 0);
    unsigned at = alive(s.a);
    MUST(t, t->event_count, at, "the phone does not answer any more");
    PASS(t, at);
}

/* ---- presence -------------------------------------------------------------------------------- */

static struct msg *publication(struct test *t, struct ua *a) {
    phone_act(t, "publish presence");
    struct msg *in = ua_wait(a, "PUBLISH", phone_patience(t->run));
    if (!t->verdict && !in) test_unclear(t, "no PUBLISH came");
    return in;
}

/* RFC 3903 5 */
static void conditional(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    struct msg *first = publication(t, a);
    ua_reply(a, first, 200, &(struct rep){ .headers = "SIP-ETag: kith1\r\nExpires: 3600\r\n" });
    struct msg *second = publication(t, a), *third = NULL;
    GIVEN(t, is(msg_header(second, "SIP-If-Match"), "kith1"),
          "the second PUBLISH does not name the tag of the first answer");
    ua_reply(a, second, 412, NULL);
    third = ua_wait(a, "PUBLISH", phone_patience(t->run));
    ua_reply(a, third, 200, &(struct rep){ .headers = "SIP-ETag: kith2\r\nExpires: 3600\r\n" });
    MUST(t, second->at, third, "no PUBLISH came after 412");
    MUST(t, third->at, !msg_header(third, "SIP-If-Match").ptr,
         "after 412 it publishes with SIP-If-Match");
    MUST(t, third->at, third->body.len, "the new publication has no body");
    PASS(t, third->at);
}

/* ---- conferences ----------------------------------------------------------------------------- */

static struct msg *conference(struct subscription *s, const char *state, unsigned version) {
    const char *users = is(slice_str(state), "full")
                            ? "<conference-description><subject>kith</subject>"
                              "</conference-description><users state=\"full\"></users>"
                            : "<conference-state><user-count>2</user-count></conference-state>";
    return tell(s, ua_fill(s->a, text(ua_test(s->a),
                                      "<?xml version=\"1.0\"?>\r\n<conference-info "
                                      "xmlns=\"urn:ietf:params:xml:ns:conference-info\" "
                                      "entity=\"{contact}\" state=\"%s\" version=\"%u\">%s"
                                      "</conference-info>\r\n",
                                      state, version, users)));
}

/* A call with a focus, which it watches. False: a verdict stands. */
static bool watched(struct test *t, struct up *c, struct subscription *s) {
    *s = (struct subscription){ .type = "application/conference-info+xml" };
    if (!phone_up(t, c, &(struct req){ .contact = "<{contact}>;isfocus" })) return false;
    s->a = c->a;
    struct msg *in = grant(s, "conference", OF_ITSELF_MS);
    if (!in) phone_act(t, ua_fill(s->a, "watch {contact}"));
    if (!in) in = grant(s, "conference", phone_patience(t->run));
    if (!in && !t->verdict) test_unclear(t, "no SUBSCRIBE to conference came");
    return !t->verdict;
}

/* It asks for full state, and gets it. */
static struct msg *refreshed(struct subscription *s, int64_t ms) {
    struct msg *again = ua_wait(s->a, "SUBSCRIBE", ms);
    ua_reply(s->a, again, 200, &(struct rep){ .headers = "Expires: 600\r\n" });
    return again;
}

/* RFC 4575 4.6: 3 comes after 1 */
static void gaps(struct test *t) {
    struct up c;
    struct subscription s;
    if (!watched(t, &c, &s)) return;
    struct msg *r[] = { conference(&s, "full", 1), conference(&s, "partial", 3) };
    struct msg *again = refreshed(&s, 4000);
    end(&s);
    (void)phone_down(&c);
    for (unsigned i = 0; i < 2; i++)
        GIVEN(t, r[i] && r[i]->status / 100 == 2, "a NOTIFY gets %u", r[i] ? r[i]->status : 0);
    MUST(t, r[1]->at, again, "version 3 came after 1, and it does not ask for full state");
    MUST(t, again->at, same(msg_header(again, "Call-ID"), s.d.call_id),
         "it asks with a new subscription");
    PASS(t, again->at);
}

/* RFC 4575 4.6: 2 comes after 4. Who took it for news sees a gap before 5; and one before 9 must
 * all see. */
static void drops_old(struct test *t) {
    struct up c;
    struct subscription s;
    if (!watched(t, &c, &s)) return;
    (void)conference(&s, "full", 4);
    struct msg *old = conference(&s, "partial", 2);
    (void)conference(&s, "partial", 5);
    struct msg *early = refreshed(&s, 1500), *late = NULL;
    unsigned at = alive(s.a);
    if (!early) (void)conference(&s, "partial", 9);
    if (!early) late = refreshed(&s, 4000);
    end(&s);
    (void)phone_down(&c);
    GIVEN(t, old && at, "it does not answer any more");
    MUST(t, early ? early->at : 0, !early, "version 2 came after 4, and it was taken");
    GIVEN(t, late, "version 9 came after 5, and it does not ask for full state");
    PASS(t, late->at);
}

/* ---- messages -------------------------------------------------------------------------------- */

#define MESSAGE_MAX 1300u

/* RFC 3428 8: for a sip: address nobody knows which hops come. One that says no to its user, or
 * sends pieces, is right. */
static void size(struct test *t) {
    struct ua *a = ua_new(t, WIRE_BEST, NOBODY);
    phone_act(t, ua_fill(a, "message sip:third@{local} of 5 letters"));
    struct msg *in = ua_wait(a, "MESSAGE", phone_patience(t->run)), *large = NULL;
    ua_reply(a, in, 200, NULL);
    GIVEN(t, in, "no MESSAGE came");
    phone_act(t, ua_fill(a, "message sip:third@{local} of 2000 letters"));
    for (int64_t ms = phone_patience(t->run); (in = ua_wait(a, "MESSAGE", ms)); ms = 1500) {
        if (in->raw.len > MESSAGE_MAX && !large) large = in;
        ua_reply(a, in, 200, NULL);
    }
    unsigned at = alive(a);
    MUST(t, large ? large->at : 0, !large, "a MESSAGE of %zu bytes", large ? large->raw.len : 0);
    MUST(t, t->event_count, at, "the phone does not answer any more");
    PASS(t, at);
}

AREA(phone_events, T(EVENT_008, "summaries", summaries), T(EVENT_011, "conditional", conditional),
     T(EVENT_014, "gaps", gaps), T(EVENT_014, "drops-old", drops_old), T(MSG_003, "size", size));
