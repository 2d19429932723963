/* check/phone_hands.c - what a phone does when somebody presses its buttons: --hands or --wait. */
#include "check/caller.h"
#include "check/phone.h"
#include "check/tests.h"

/* RFC 3264 8.4, RFC 8839 4.4.1.1.1 */
static void hold(struct test *t) {
    struct up c;
    if (!phone_up(t, &c, &(struct req){ 0 })) return;
    phone_act(t, "hold");
    struct msg *in = phone_request(c.a, SLICE_NONE, phone_patience(t->run));
    if (in && in->body.len)
        ua_reply(c.a, in, 200, &(struct rep){ .body = sdp_answer_to(t, in->body) });
    if (in) (void)ua_wait(c.a, "ACK", 2000);
    (void)phone_down(&c);
    GIVEN(t, in && in->body.len, "no offer came");
    MUST(t, in->at, !has(in->body, "IN IP4 0.0.0.0") && !has(in->body, "IN IP6 ::\r"),
         "hold by the address 0.0.0.0");
    MUST(t, in->at, sdp_lines(in->body, "a=sendonly") || sdp_lines(in->body, "a=inactive"),
         "neither sendonly nor inactive");
    PASS(t, in->at);
}

/* RFC 7647 4: our Contact is a GRUU */
static void transfer(struct test *t) {
    struct up c;
    const char *gruu = "<sip:tester@{local};gr=kith-check>";
    if (!phone_up(t, &c, &(struct req){ .contact = gruu, .headers = "Supported: gruu\r\n" }))
        return;
    phone_act(t, ua_fill(c.a, "transfer sip:third@{local}"));
    struct msg *in = phone_request(c.a, SLICE_NONE, phone_patience(t->run));
    for (; in && !is(in->method, "REFER");
         in = phone_request(c.a, SLICE_NONE, phone_patience(t->run)))
        ua_reply(c.a, in, 200, /* hold, before it */
                 &(struct rep){ .contact = gruu,
                                .body = in->body.len ? sdp_answer_to(t, in->body) : NULL });
    ua_reply(c.a, in, 603, NULL);
    (void)phone_down(&c);
    GIVEN(t, in, "no REFER came");
    MUST(t, in->at, !slice_eq(msg_header(in, "Call-ID"), c.d.call_id),
         "REFER in the call, although our Contact is a GRUU");
    PASS(t, in->at);
}

AREA(phone_hands, T(CORE_030, "hold", hold), T(CORE_045, "transfer", transfer));
