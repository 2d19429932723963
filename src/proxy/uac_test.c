#include "unit.h"

#include "proxy/uac.h"

/* RFC 3264 6: a rejected stream has port 0, protocol and formats as offered. */
static void a_rejection_keeps_every_line(void **state) {
    (void)state;
    char mem[512];
    struct buf out = buf_over(mem, sizeof mem);
    uac_reject_sdp(UNIT_GUARD("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
                              "m=audio 4000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n"
                              "m=video 4002/2 RTP/AVPF 96\nm=broken"),
                   &out);
    assert_false(out.full);
    assert_slice(buf_slice(&out), "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\n"
                                  "t=0 0\r\nm=audio 0 RTP/AVP 0 8\r\nm=video 0 RTP/AVPF 96\r\n");
}

static bool is_ours(void *ctx, slice value) {
    (void)ctx;
    return slice_find_slice(value, SLICE("us.example")) < value.len;
}

#define ROUTES "<sip:far;lr>, <sip:near;lr>, <sip:us.example;lr>, <sip:other;lr>"

/* RFC 3261 12.1.2: the route set of a response is its Record-Route values in reverse. */
static void routes_lead_to_their_side(void **state) {
    (void)state;
    char mem[256];
    struct buf out = buf_over(mem, sizeof mem);
    uac_routes(UNIT_GUARD(ROUTES), true, is_ours, NULL, &out);
    assert_slice(buf_slice(&out), "<sip:near;lr>, <sip:far;lr>");
    buf_clear(&out);
    uac_routes(UNIT_GUARD(ROUTES), false, is_ours, NULL, &out);
    assert_slice(buf_slice(&out), "<sip:far;lr>, <sip:near;lr>");
    buf_clear(&out);
    uac_routes(SLICE_NONE, true, is_ours, NULL, &out);
    assert_int_equal(out.len, 0);
}

static void a_bye_reads_back(void **state) {
    (void)state;
    struct sip_msg m;
    char mem[1024];
    struct buf out = buf_over(mem, sizeof mem);
    struct uac_request r = { .method = SIP_BYE,
                             .request_uri = SLICE("sip:b@192.0.2.2"),
                             .via = SLICE("SIP/2.0/TLS us;branch=z9hG4bKq"),
                             .routes = SLICE("<sip:near;lr>"),
                             .from = SLICE("<sip:a@x>;tag=1"),
                             .to = SLICE("<sip:b@x>;tag=2"),
                             .call_id = SLICE("1"),
                             .cseq = 9,
                             .reason = SLICE("SIP;cause=488") };
    assert_ok(uac_write(&r, &out));
    assert_ok(sip_msg_read(&m, buf_slice(&out), SIP_STREAM).err);
    assert_int_equal(m.method, SIP_BYE);
    assert_int_equal(m.cseq, 9);
    assert_slice(m.from.tag, "1");
    assert_slice(m.to.tag, "2");
    assert_slice(sip_value(&m, HDR_REASON), "SIP;cause=488");
    struct buf small = buf_over(mem, 40);
    assert_err(uac_write(&r, &small), ERR_FULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rejection_keeps_every_line),
        cmocka_unit_test(routes_lead_to_their_side),
        cmocka_unit_test(a_bye_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
