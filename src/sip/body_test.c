#include "unit.h"

#include "sip/body.h"

static struct sip_msg m;

#define TOP                                                                                        \
    "INVITE sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nTo: <sip:b@c>\r\n"            \
    "From: <sip:a@b>;tag=1\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
#define MIXED TOP "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n"
#define SDP   "Content-Type: application/sdp\r\n\r\nv=0\r\n"

static void load(slice bytes) {
    assert_ok(sip_msg_read(&m, bytes, SIP_DATAGRAM).err);
}

static enum sip_body_state find(slice bytes, struct sip_part *out) {
    load(bytes);
    return sip_body_find(&m, SLICE("application"), SLICE("sdp"), out);
}
#define FIND(lit) find(UNIT_GUARD(lit), &part)

static void reads_a_plain_body(void **state) {
    (void)state;
    struct sip_part part;
    assert_int_equal(FIND(TOP "c: Application/SDP;x=1\r\nContent-Disposition: session;"
                              "handling=optional\r\nContent-ID: <1@x>\r\n\r\nv=0\r\n"),
                     SIP_BODY_FOUND);
    assert_slice(part.bytes, "v=0\r\n");
    assert_slice(part.disposition.token, "session");
    assert_true(part.disposition.is_optional);
    assert_slice(part.content_id, "1@x");
    assert_int_equal(part.depth, 0);
    assert_int_equal(FIND(TOP "\r\n"), SIP_BODY_NONE);
    assert_int_equal(FIND(TOP "c: text/plain\r\n\r\nv=0\r\n"), SIP_BODY_NONE);
    assert_int_equal(FIND(TOP "\r\nv=0\r\n"), SIP_BODY_BAD); /* of no type: of any type */
    assert_int_equal(FIND(TOP "c: sdp\r\n\r\nv=0\r\n"), SIP_BODY_BAD);
    assert_int_equal(FIND(TOP "c: application/sdp\r\nContent-Encoding: gzip\r\n\r\nx"),
                     SIP_BODY_ENCODED);
    assert_int_equal(FIND(TOP "c: application/sdp\r\ne: identity, gzip\r\n\r\nx"),
                     SIP_BODY_ENCODED);
    assert_int_equal(FIND(TOP "c: application/sdp\r\ne: identity\r\n\r\nx"), SIP_BODY_FOUND);
    assert_int_equal(
        FIND(TOP "c: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w"),
        SIP_BODY_ENCODED);
    assert_int_equal(FIND(TOP "c: application/pkcs7-mime\r\n\r\nx"), SIP_BODY_SEALED);
}

static void walks_parts(void **state) {
    (void)state;
    struct sip_parts it;
    struct sip_part p;
    load(UNIT_GUARD(MIXED "preamble\r\n--b \t\r\n\r\nplain\r\n--bx\r\n--b\r\n"
                          "Content-Type: multipart/alternative;boundary=inner\r\n\r\n"
                          "--inner\r\nContent-ID: <i@x>\r\nCONTENT-type: text/html;\r\n x=y\r\n"
                          "Content-Transfer-Encoding: 8bit\r\nX: y\r\n\r\n<p>\r\n--inner--\r\n"
                          "\r\n--b\r\n" SDP "\r\n--b--\r\nepilogue\r\n--b\r\n" SDP));
    sip_parts_of(&it, &m);
    assert_true(sip_parts_next(&it, &p));
    assert_slice(p.bytes, "plain\r\n--bx");
    assert_true(hdr_media_is(&p.media, SLICE("text"), SLICE("plain")));
    assert_int_equal(p.depth, 1);
    assert_true(sip_parts_next(&it, &p));
    assert_slice(p.bytes, "<p>");
    assert_slice(p.content_id, "i@x");
    assert_true(hdr_media_is(&p.media, SLICE("text"), SLICE("html")));
    assert_false(sip_part_is_encoded(&p));
    assert_int_equal(p.depth, 2);
    assert_true(sip_parts_next(&it, &p));
    assert_slice(p.bytes, "v=0\r\n");
    assert_false(sip_parts_next(&it, &p));
    assert_ok(it.err);
    assert_int_equal(sip_body_find(&m, SLICE("application"), SLICE("sdp"), &p), SIP_BODY_FOUND);
    assert_slice(p.bytes, "v=0\r\n");
}

static void finds_none_or_too_many(void **state) {
    (void)state;
    struct sip_part part;
    assert_int_equal(FIND(MIXED "--b\r\n\r\n\r\n--b--"), SIP_BODY_NONE);
    assert_int_equal(FIND(MIXED "--b\r\n" SDP "\r\n--b\r\n" SDP "\r\n--b--\r\n"),
                     SIP_BODY_AMBIGUOUS);
    assert_int_equal(FIND(MIXED "--b\r\nContent-Transfer-Encoding: base64\r\n" SDP "\r\n--b--"),
                     SIP_BODY_ENCODED);
    assert_int_equal(FIND(MIXED "--b\r\nContent-Encoding: gzip\r\n" SDP "\r\n--b--"),
                     SIP_BODY_ENCODED);
    assert_int_equal(FIND(MIXED "--b\r\nContent-Type: application/pkcs7-mime\r\n\r\nx\r\n--b--"),
                     SIP_BODY_SEALED);
    assert_int_equal(FIND(MIXED "--b\r\n" SDP "\r\n--b\r\nContent-Type: application/pkcs7-mime\r\n"
                                "\r\nx\r\n--b--"),
                     SIP_BODY_AMBIGUOUS);
    assert_int_equal(FIND(TOP "c: multipart/encrypted;boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--"),
                     SIP_BODY_SEALED);
    assert_int_equal(FIND(TOP "c: multipart/mixed;boundary=b\r\ne: gzip\r\n\r\nx"),
                     SIP_BODY_ENCODED);
    assert_int_equal(FIND(TOP "c: multipart/signed;boundary=b\r\n\r\n--b\r\n" SDP "\r\n--b\r\n"
                              "Content-Type: application/pkcs7-signature\r\n\r\nx\r\n--b--"),
                     SIP_BODY_FOUND);
}

/* Where another reader might see another part, the body is refused. */
static void refuses_odd_delimiters(void **state) {
    (void)state;
    struct sip_part part;
#define IS_BAD(lit) assert_int_equal(FIND(lit), SIP_BODY_BAD)
    IS_BAD(MIXED "no delimiter");
    IS_BAD(MIXED "--b--\r\n");
    IS_BAD(MIXED "--b\r\n" SDP);
    IS_BAD(MIXED "--b\r\n" SDP "\r\n--b\r\n");
    IS_BAD(MIXED "--b\r\n" SDP "\n--b--\r\n");
    IS_BAD(MIXED "--b\r\n\r\nx\n--b\r\n" SDP "\r\n--b--");
    IS_BAD(MIXED "--b\r\n\r\nx\r\n--b\n" SDP "\r\n--b--");
    IS_BAD(MIXED "--b\r\nno colon\r\n\r\nx\r\n--b--");
    IS_BAD(MIXED "--b\r\n x: y\r\n\r\nx\r\n--b--");
    IS_BAD(MIXED "--b\r\nX: y\r\n--b--");
    IS_BAD(MIXED "--b\r\nContent-Type: x\r\n\r\nx\r\n--b--");
    IS_BAD(MIXED "--b\r\nContent-Type: a/b\r\nContent-Type: a/c\r\n\r\nx\r\n--b--");
    IS_BAD(MIXED "--b\r\nContent-ID: x\r\n\r\nx\r\n--b--");
    IS_BAD(MIXED "--b\r\nContent-Transfer-Encoding:\r\n\r\nx\r\n--b--");
    IS_BAD(TOP "c: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--");
    IS_BAD(TOP "c: multipart/mixed;boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n----");
    IS_BAD(TOP "c: multipart/mixed;boundary=\"\\b\"\r\n\r\n--\\b\r\n\r\nx\r\n--\\b--");
}

static void holds_its_limits(void **state) {
    (void)state;
    static char mem[8192];
    struct sip_part part;
    struct buf b = buf_over(mem, sizeof(mem));
    /* 1 container and 15 leaves are 16 */
    for (unsigned parts = 15; parts <= 16; parts++) {
        buf_clear(&b);
        buf_lit(&b, MIXED);
        for (unsigned i = 0; i < parts; i++) buf_lit(&b, "--b\r\n\r\n\r\n");
        buf_lit(&b, "--b--");
        assert_int_equal(find(buf_slice(&b), &part), parts == 15 ? SIP_BODY_NONE : SIP_BODY_BAD);
    }
    for (unsigned depth = 3; depth <= 4; depth++) {
        buf_clear(&b);
        buf_lit(&b, TOP "c: multipart/mixed;boundary=0\r\n\r\n");
        for (unsigned i = 1; i < depth; i++) {
            buf_fmt(&b, "--%u\r\nContent-Type: multipart/mixed;boundary=%u\r\n\r\n", i - 1, i);
        }
        buf_fmt(&b, "--%u\r\n" SDP, depth - 1);
        for (unsigned i = depth; i > 0; i--) buf_fmt(&b, "\r\n--%u--\r\n", i - 1);
        assert_int_equal(find(buf_slice(&b), &part), depth == 3 ? SIP_BODY_FOUND : SIP_BODY_BAD);
    }
    buf_clear(&b);
    buf_lit(&b, TOP "c: multipart/mixed;boundary=");
    for (int i = 0; i < 71; i++) buf_lit(&b, "x");
    buf_lit(&b, "\r\n\r\nx");
    assert_int_equal(find(buf_slice(&b), &part), SIP_BODY_BAD);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_plain_body),     cmocka_unit_test(walks_parts),
        cmocka_unit_test(finds_none_or_too_many), cmocka_unit_test(refuses_odd_delimiters),
        cmocka_unit_test(holds_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
