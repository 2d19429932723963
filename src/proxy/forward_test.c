#include "unit.h"

#include "proxy/forward.h"

#define INVITE                                                                                     \
    "INVITE sip:bob@example.org SIP/2.0\r\n"                                                       \
    "Via: SIP/2.0/TLS 10.0.0.1:40000;branch=z9hG4bKa;rport, SIP/2.0/TLS "                          \
    "10.0.0.2;branch=z9hG4bKb\r\n"                                                                 \
    "Max-Forwards: 70\r\n"                                                                         \
    "Route: <sip:example.org;lr>, <sip:next.example.org;lr>\r\n"                                   \
    "From: <sip:alice@example.org>;tag=1\r\n"                                                      \
    "To: <sip:bob@example.org>\r\n"                                                                \
    "Call-ID: x@10.0.0.1\r\n"                                                                      \
    "CSeq: 1 INVITE\r\n"                                                                           \
    "P-Asserted-Identity: <sip:boss@example.org>\r\n"                                              \
    "P-Preferred-Identity: <sip:alice@example.org>\r\n"                                            \
    "Proxy-Authorization: Digest username=\"alice\", realm=\"example.org\", nonce=\"n\", "         \
    "uri=\"sip:b\", response=\"r\"\r\n"                                                            \
    "Proxy-Authorization: Digest username=\"alice\", realm=\"next.example\", nonce=\"n\", "        \
    "uri=\"sip:b\", response=\"r\"\r\n"                                                            \
    "X-Unknown: stays ; as=\"it is\"\r\n"                                                          \
    "Content-Length: 3\r\n"                                                                        \
    "\r\nabc"

static slice forwarded(const struct forward *plan, char *mem, size_t len) {
    struct buf out = buf_over(mem, len);
    assert_ok(forward_write(plan, &out));
    return buf_slice(&out);
}

/* RFC 3261 16.6: Via on top, Record-Route, Max-Forwards less one, own Route gone, the rest as it
 * came; RFC 3581 4: received and rport in the value below; RFC 3325 5: our assertion only. */
static void a_request_goes_on(void **state) {
    (void)state;
    struct sip_msg m;
    char mem[4096];
    const slice realms[] = { SLICE("example.net"), SLICE("example.org") };
    assert_ok(sip_msg_read(&m, UNIT_GUARD(INVITE), SIP_STREAM).err);
    struct forward f = {
        .req = &m,
        .realms = realms,
        .realm_count = 2,
        .request_uri = SLICE("sip:bob@192.0.2.7:5061"),
        .via = SLICE("SIP/2.0/TLS k.example.org:5061;branch=z9hG4bKus"),
        .source_via =
            SLICE("SIP/2.0/TLS 10.0.0.1:40000;branch=z9hG4bKa;rport=40000;received=10.0.0.1"),
        .record_route = { SLICE("<sip:t@near-callee;lr>"), SLICE("<sip:t@near-caller;lr>") },
        .own_routes = 1,
        .max_breadth = 30,
        .asserted = SLICE("<sip:alice@example.org>"),
    };
    assert_slice(
        forwarded(&f, mem, sizeof mem),
        "INVITE sip:bob@192.0.2.7:5061 SIP/2.0\r\n"
        "Via: SIP/2.0/TLS k.example.org:5061;branch=z9hG4bKus\r\n"
        "Via: SIP/2.0/TLS 10.0.0.1:40000;branch=z9hG4bKa;rport=40000;received=10.0.0.1, "
        "SIP/2.0/TLS 10.0.0.2;branch=z9hG4bKb\r\n"
        "Max-Forwards: 69\r\n"
        "Route: <sip:next.example.org;lr>\r\n"
        "From: <sip:alice@example.org>;tag=1\r\n"
        "To: <sip:bob@example.org>\r\n"
        "Call-ID: x@10.0.0.1\r\n"
        "CSeq: 1 INVITE\r\n"
        "P-Asserted-Identity: <sip:alice@example.org>\r\n"
        "Proxy-Authorization: Digest username=\"alice\", realm=\"next.example\", nonce=\"n\", "
        "uri=\"sip:b\", response=\"r\"\r\n"
        "X-Unknown: stays ; as=\"it is\"\r\n"
        "Content-Length: 3\r\n"
        "Record-Route: <sip:t@near-callee;lr>\r\n"
        "Record-Route: <sip:t@near-caller;lr>\r\n"
        "Max-Breadth: 30\r\n"
        "\r\nabc");
}

static void full_is_said(void **state) {
    (void)state;
    struct sip_msg m;
    char mem[100];
    struct buf out = buf_over(mem, sizeof mem);
    assert_ok(sip_msg_read(&m, UNIT_GUARD(INVITE), SIP_STREAM).err);
    struct forward f = { .req = &m, .via = SLICE("SIP/2.0/TLS a;branch=z9hG4bKu") };
    assert_err(forward_write(&f, &out), ERR_FULL);
}

/* RFC 3261 16.7 step 3: the topmost Via goes, those below stay, wherever they stand. */
static void a_response_goes_back(void **state) {
    (void)state;
    struct sip_msg m;
    char mem[2048];
    struct buf out = buf_over(mem, sizeof mem);
    assert_ok(sip_msg_read(&m,
                           UNIT_GUARD("SIP/2.0 180 Ringing\r\n"
                                      "Via: SIP/2.0/TLS us;branch=z9hG4bKus\r\n"
                                      "Via: SIP/2.0/TLS caller;branch=z9hG4bKa\r\n"
                                      "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\n"
                                      "P-Asserted-Identity: <sip:boss@x>\r\n"
                                      "Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"),
                           SIP_STREAM)
                  .err);
    assert_ok(forward_response(&m, &(struct forward_back){ 0 }, &out));
    assert_slice(buf_slice(&out), "SIP/2.0 180 Ringing\r\n"
                                  "Via: SIP/2.0/TLS caller;branch=z9hG4bKa\r\n"
                                  "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\n"
                                  "Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
}

/* RFC 7339 5.2: overload parameters stand in the Via of whom the response goes to, and nowhere
 * else, whether or not that Via has a line of its own. */
static void load_is_told_upstream(void **state) {
    (void)state;
    static const struct {
        const char *vias, *wanted;
    } cases[] = {
        { "Via: a/1;b=1\r\nVia: SIP/2.0/TLS caller;branch=z9hG4bKa\r\nVia: SIP/2.0/TLS far\r\n",
          "Via: SIP/2.0/TLS caller;branch=z9hG4bKa;oc=7\r\nVia: SIP/2.0/TLS far\r\n" },
        { "Via: a/1;b=1\r\nVia: SIP/2.0/TLS caller , SIP/2.0/TLS far\r\n",
          "Via: SIP/2.0/TLS caller;oc=7 , SIP/2.0/TLS far\r\n" },
        { "Via: a/1;b=1, SIP/2.0/TLS caller\r\nVia: SIP/2.0/TLS far\r\n",
          "Via: SIP/2.0/TLS caller\r\nVia: SIP/2.0/TLS far\r\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sip_msg m;
        char mem[2048], in_mem[1024], want_mem[1024];
        struct buf out = buf_over(mem, sizeof mem);
        struct buf in = buf_over(in_mem, sizeof in_mem), want = buf_over(want_mem, sizeof want_mem);
        const char *rest = "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: 1\r\n"
                           "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
        slice vias = slice_from(slice_str(cases[i].vias), sizeof "Via: a/1;b=1" - 1);
        buf_fmt(&in, "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/TLS us;branch=z9hG4bKus" SLICE_FMT "%s",
                SLICE_ARG(vias), rest);
        buf_fmt(&want, "SIP/2.0 180 Ringing\r\n%s%s", cases[i].wanted, rest);
        assert_ok(sip_msg_read(&m, buf_slice(&in), SIP_STREAM).err);
        assert_ok(forward_response(&m, &(struct forward_back){ .oc = SLICE(";oc=7") }, &out));
        assert_true(slice_eq(buf_slice(&out), buf_slice(&want)));
    }
}

/* RFC 3261 16.7 step 7: the challenges of all branches in the one response. */
static void challenges_are_gathered(void **state) {
    (void)state;
    struct sip_msg m;
    char mem[2048];
    struct buf out = buf_over(mem, sizeof mem);
    assert_ok(
        sip_msg_read(&m,
                     UNIT_GUARD("SIP/2.0 407 Proxy Authentication Required\r\n"
                                "Via: SIP/2.0/TLS us;branch=z9hG4bKus, SIP/2.0/TLS caller\r\n"
                                "Proxy-Authenticate: Digest realm=\"one\"\r\n"
                                "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\n"
                                "Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 2\r\n\r\nhi"),
                     SIP_STREAM)
            .err);
    struct forward_back back = { .challenges =
                                     SLICE("Proxy-Authenticate: Digest realm=\"one\"\r\n"
                                           "Proxy-Authenticate: Digest realm=\"two\"\r\n") };
    assert_ok(forward_response(&m, &back, &out));
    assert_slice(buf_slice(&out), "SIP/2.0 407 Proxy Authentication Required\r\n"
                                  "Via: SIP/2.0/TLS caller\r\n"
                                  "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\n"
                                  "Call-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 2\r\n"
                                  "Proxy-Authenticate: Digest realm=\"one\"\r\n"
                                  "Proxy-Authenticate: Digest realm=\"two\"\r\n\r\nhi");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_goes_on),       cmocka_unit_test(full_is_said),
        cmocka_unit_test(a_response_goes_back),    cmocka_unit_test(load_is_told_upstream),
        cmocka_unit_test(challenges_are_gathered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
