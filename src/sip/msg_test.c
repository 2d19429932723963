#include "unit.h"

#include "sip/msg.h"

static struct sip_msg m;

#define HEAD                                                                                       \
    "Via: SIP/2.0/TLS pc33.example.com:5061;branch=z9hG4bK776a;rport, SIP/2.0/UDP b;branch=z2\r\n" \
    "Max-Forwards: 70\r\n"                                                                         \
    "To: Bob <sip:bob@biloxi.example.com>\r\n"                                                     \
    "From: \"Alice \\\"A\\\" x\" <sip:alice@atlanta.example.com>;tag=1928301774;x=\"a;b\"\r\n"     \
    "Call-ID: a84b4c76e66710@pc33.example.com\r\n"

static struct sip_read read_as(slice bytes, enum sip_framing framing) {
    memset(&m, 0xa5, sizeof(m)); /* whatever is not set must not be looked at */
    return sip_msg_read(&m, bytes, framing);
}
#define READ(lit)        read_as(UNIT_GUARD(lit), SIP_DATAGRAM)
#define READ_STREAM(lit) read_as(UNIT_GUARD(lit), SIP_STREAM)

static void assert_bad(struct sip_read r, enum sip_bad why, int line) {
    if (r.why == why && (r.err == ERR_BAD || r.err == ERR_LIMIT)) return;
    print_error("line %d: %s (%s), not %s\n", line, sip_bad_text(r.why), err_name(r.err),
                sip_bad_text(why));
    fail();
}
#define BAD(lit, why)        assert_bad(READ(lit), (why), __LINE__)
#define BAD_STREAM(lit, why) assert_bad(READ_STREAM(lit), (why), __LINE__)

static void reads_a_request(void **state) {
    (void)state;
    struct sip_read r = READ("INVITE sip:bob@biloxi.example.com;lr SIP/2.0\r\n" HEAD
                             "CSeq: 314159 INVITE\r\nContent-Length: 4\r\nXa: y\r\n\r\nv=0\nrest");
    assert_ok(r.err);
    assert_true(m.is_request);
    assert_int_equal(m.method, SIP_INVITE);
    assert_slice(m.method_name, "INVITE");
    assert_slice(m.uri_text, "sip:bob@biloxi.example.com;lr");
    assert_slice(m.uri.user, "bob");
    assert_true(m.uri.has_lr);
    assert_slice(m.via.value, "SIP/2.0/TLS pc33.example.com:5061;branch=z9hG4bK776a;rport");
    assert_slice(m.via.transport, "TLS");
    assert_slice(m.via.host, "pc33.example.com");
    assert_int_equal(m.via.port, 5061);
    assert_slice(m.via.branch, "z9hG4bK776a");
    assert_true(m.via.has_rport);
    assert_int_equal(m.via.rport.len, 0);
    assert_slice(m.via.params, ";branch=z9hG4bK776a;rport");
    assert_slice(m.from.display, "\"Alice \\\"A\\\" x\"");
    assert_slice(m.from.uri_text, "sip:alice@atlanta.example.com");
    assert_slice(m.from.tag, "1928301774");
    assert_slice(m.from.params, ";tag=1928301774;x=\"a;b\"");
    assert_slice(m.to.display, "Bob");
    assert_null(m.to.tag.ptr);
    assert_slice(m.call_id, "a84b4c76e66710@pc33.example.com");
    assert_int_equal(m.cseq, 314159);
    assert_true(m.has_max_forwards);
    assert_int_equal(m.max_forwards, 70);
    assert_true(m.has_content_length);
    assert_slice(m.body, "v=0\n");
    assert_int_equal(m.all.len, r.used);
    assert_slice(slice_from(m.all, r.used - 4), "v=0\n");
    assert_int_equal(m.header_count, 8);
    assert_slice(sip_first(&m, HDR_OTHER)->line, "Xa: y\r\n");
    assert_null(sip_first(&m, HDR_ROUTE));
    assert_slice(m.start_line, "INVITE sip:bob@biloxi.example.com;lr SIP/2.0\r\n");
}

static void reads_a_response(void **state) {
    (void)state;
    struct sip_read r =
        READ_STREAM("sip/2.0 180 Ringing now\r\n" HEAD "CSeq: 7 SUBSCRIBE\r\nl: 0\r\n\r\nSIP/2.0");
    assert_ok(r.err);
    assert_false(m.is_request);
    assert_int_equal(m.status, 180);
    assert_slice(m.reason, "Ringing now");
    assert_int_equal(m.method, SIP_SUBSCRIBE);
    assert_slice(m.method_name, "SUBSCRIBE");
    assert_false(r.answerable);
    assert_int_equal(m.body.len, 0);
    assert_int_equal(m.uri.scheme, URI_OTHER);
    assert_int_equal(m.uri_text.len, 0);
}

static void links_lines_of_one_kind(void **state) {
    (void)state;
    struct sip_read r = READ("BYE sip:a@b SIP/2.0\r\nRoute: <sip:one>\r\n" HEAD
                             "rOUTE : <sip:two>\r\nCSeq: 1 BYE\r\nroute\t:\r\n <sip:three>\r\n"
                             "v:SIP/2.0/UDP c\r\n\r\n");
    assert_ok(r.err);
    const struct sip_header *h = sip_first(&m, HDR_ROUTE);
    assert_slice(h->value, "<sip:one>");
    h = sip_next(&m, h);
    assert_slice(h->value, "<sip:two>");
    assert_slice(h->name, "rOUTE");
    h = sip_next(&m, h);
    assert_slice(h->value, "<sip:three>");
    assert_slice(h->line, "route\t:\r\n <sip:three>\r\n");
    assert_null(sip_next(&m, h));
    assert_slice(sip_next(&m, sip_first(&m, HDR_VIA))->value, "SIP/2.0/UDP c");
    assert_slice(sip_value(&m, HDR_ROUTE), "<sip:one>");
}

/* RFC 3261 7.3.1: folding. */
static void reads_folded_lines(void **state) {
    (void)state;
    struct sip_read r = READ("BYE sip:a@b SIP/2.0\r\n" HEAD "CSeq: 1\r\n  BYE\r\n"
                             "Subject: one\r\n\ttwo\r\n  \r\nContent-Length:\r\n 0 \r\n\r\n");
    assert_ok(r.err);
    assert_slice(sip_value(&m, HDR_SUBJECT), "one\r\n\ttwo");
    assert_int_equal(m.cseq, 1);
    assert_true(m.has_content_length);
}

static void refuses_start_lines(void **state) {
    (void)state;
#define START(line, why) BAD(line "\r\n" HEAD "CSeq: 1 BYE\r\n\r\n", why)
    START("BYE  sip:a@b SIP/2.0", SIP_BAD_START_LINE);
    START("BYE sip:a@b  SIP/2.0", SIP_BAD_START_LINE);
    START("BYE sip:a@b SIP/2.0 ", SIP_BAD_START_LINE);
    START("BYE sip:a@b", SIP_BAD_START_LINE);
    START("BYE", SIP_BAD_START_LINE);
    START("", SIP_BAD_START_LINE);
    START(" BYE sip:a@b SIP/2.0", SIP_BAD_START_LINE);
    START("BYE\tsip:a@b SIP/2.0", SIP_BAD_START_LINE);
    START("B@E sip:a@b SIP/2.0", SIP_BAD_START_LINE);
    START("BYE sip:a@b HTTP/1.1", SIP_BAD_START_LINE);
    START("BYE sip:a@b SIP/3.0", SIP_BAD_VERSION);
    START("BYE sip:a@b SIP/2.10", SIP_BAD_VERSION);
    START("BYE sip:a@b SIP/2", SIP_BAD_START_LINE);
    START("BYE * SIP/2.0", SIP_BAD_URI);
    START("BYE sip: SIP/2.0", SIP_BAD_URI);
    START("BYE sip:a@b?x=y SIP/2.0", SIP_BAD_URI);
    START("SIP/2.1 200 OK", SIP_BAD_VERSION);
    START("SIP/2.0 200", SIP_BAD_START_LINE);
    START("SIP/2.0 20 OK", SIP_BAD_START_LINE);
    START("SIP/2.0 099 OK", SIP_BAD_START_LINE);
    START("SIP/2.0 700 OK", SIP_BAD_START_LINE);
    START("SIP/2.0 2000 OK", SIP_BAD_START_LINE);
    START("SIP/2.0  200 OK", SIP_BAD_START_LINE);
    assert_ok(READ("SIP/2.0 200 \r\n" HEAD "CSeq: 1 BYE\r\n\r\n").err);
    assert_int_equal(m.reason.len, 0);
    assert_ok(READ("BYE sip:a@b sip/2.0\r\n" HEAD "CSeq: 1 BYE\r\n\r\n").err);
    assert_ok(READ("BYE foo:a@b SIP/2.0\r\n" HEAD "CSeq: 1 BYE\r\n\r\n").err);
    assert_int_equal(m.uri.scheme, URI_OTHER); /* to be answered 416 */
}

#define REQ(headers) "BYE sip:a@b SIP/2.0\r\n" headers "\r\n"
#define BYE(headers) REQ(HEAD "CSeq: 1 BYE\r\n" headers)

static void refuses_headers(void **state) {
    (void)state;
    BAD(BYE("no colon\r\n"), SIP_BAD_HEADER);
    BAD(BYE(": no name\r\n"), SIP_BAD_HEADER);
    BAD(BYE("two words: x\r\n"), SIP_BAD_HEADER);
    BAD(BYE("na(me: x\r\n"), SIP_BAD_HEADER);
    BAD("BYE sip:a@b SIP/2.0\r\n Xa: y\r\n" HEAD "CSeq: 1 BYE\r\n\r\n", SIP_BAD_HEADER);
    BAD(BYE("Max-Forwards: 7\r\n"), SIP_BAD_DUPLICATE);
    BAD(BYE("Expires: 7\r\nexpires: 7\r\n"), SIP_BAD_DUPLICATE);
    BAD(BYE("f: <sip:a@b>;tag=1\r\n"), SIP_BAD_DUPLICATE);
    BAD(REQ(HEAD), SIP_BAD_MISSING);
    BAD(REQ("To: sip:a@b\r\n"), SIP_BAD_MISSING);
    BAD(REQ(HEAD "CSeq: 1 INVITE\r\n"), SIP_BAD_CSEQ);
    BAD(REQ(HEAD "CSeq: 1 bye\r\n"), SIP_BAD_CSEQ); /* RFC 3261 7.1: methods have case */
    BAD(REQ(HEAD "CSeq: 1BYE\r\n"), SIP_BAD_CSEQ);
    BAD(REQ(HEAD "CSeq: BYE\r\n"), SIP_BAD_CSEQ);
    BAD(REQ(HEAD "CSeq: 1 BYE x\r\n"), SIP_BAD_CSEQ);
    BAD(REQ(HEAD "CSeq: -1 BYE\r\n"), SIP_BAD_CSEQ);
    BAD(REQ(HEAD "CSeq: 2147483648 BYE\r\n"), SIP_BAD_CSEQ); /* RFC 3261 8.1.1.5: below 2^31 */
    BAD(REQ(HEAD "CSeq: 18446744073709551617 BYE\r\n"), SIP_BAD_CSEQ);
    assert_ok(READ(REQ(HEAD "CSeq: 2147483647 BYE\r\n")).err);
    assert_int_equal(m.cseq, 2147483647);
    assert_ok(READ(REQ(HEAD "CSeq: 0000000000000000009 BYE\r\n")).err);
    assert_int_equal(m.cseq, 9);
}

#define WITH(via, from, to, id, mf)                                                                \
    REQ("Via: " via "\r\nFrom: " from "\r\nTo: " to "\r\nCall-ID: " id "\r\nMax-Forwards: " mf     \
        "\r\nCSeq: 1 BYE\r\n")
#define V "SIP/2.0/UDP h;branch=z9hG4bKa"
#define F "<sip:a@b>;tag=1"

static void refuses_values(void **state) {
    (void)state;
    assert_ok(READ(WITH(V, F, "sip:a@b", "1", "0")).err);
    BAD(WITH("", F, F, "1", "1"), SIP_BAD_VIA);
    BAD(WITH("SIP/2.0/UDP", F, F, "1", "1"), SIP_BAD_VIA);
    BAD(WITH("SIP/2.0/UDP h:70000", F, F, "1", "1"), SIP_BAD_VIA);
    BAD(WITH("SIP/2.0/UDP h:", F, F, "1", "1"), SIP_BAD_VIA);
    BAD(WITH("SIP/2.0/UDP [::1", F, F, "1", "1"), SIP_BAD_VIA);
    BAD(WITH("SIP/2.0/UDP h;branch=a;branch=b", F, F, "1", "1"), SIP_BAD_VIA);
    BAD(WITH("SIP/2.0/UDP h;rport=x", F, F, "1", "1"), SIP_BAD_VIA);
    BAD(WITH("SIP/2.0/UDP h;;branch=a", F, F, "1", "1"), SIP_BAD_VIA);
    BAD(WITH("HTTP/2.0/UDP h", F, F, "1", "1"), SIP_BAD_VIA);
    BAD(WITH(V, "", F, "1", "1"), SIP_BAD_FROM);
    BAD(WITH(V, "<sip:a@b>;tag=1;tag=2", F, "1", "1"), SIP_BAD_FROM);
    BAD(WITH(V, "<sip:a@b>;tag=\"1\"", F, "1", "1"), SIP_BAD_FROM);
    BAD(WITH(V, "<sip:a@b>;tag", F, "1", "1"), SIP_BAD_FROM);
    BAD(WITH(V, "\"x <sip:a@b>;tag=1", F, "1", "1"), SIP_BAD_FROM);
    BAD(WITH(V, F, "< sip:a@b>", "1", "1"), SIP_BAD_TO);
    BAD(WITH(V, F, "A, B <sip:a@b>", "1", "1"), SIP_BAD_TO);
    BAD(WITH(V, F, "sip:a@b?x=y", "1", "1"), SIP_BAD_TO);
    BAD(WITH(V, F, "sip:a@b x", "1", "1"), SIP_BAD_TO);
    BAD(WITH(V, F, F, "a b", "1"), SIP_BAD_CALL_ID);
    BAD(WITH(V, F, F, "a@b@c", "1"), SIP_BAD_CALL_ID);
    BAD(WITH(V, F, F, "@c", "1"), SIP_BAD_CALL_ID);
    BAD(WITH(V, F, F, "", "1"), SIP_BAD_CALL_ID);
    BAD(WITH(V, F, F, "1", "256"), SIP_BAD_MAX_FORWARDS);
    BAD(WITH(V, F, F, "1", "-1"), SIP_BAD_MAX_FORWARDS);
    BAD(WITH(V, F, F, "1", ""), SIP_BAD_MAX_FORWARDS);
    assert_ok(READ(WITH(V, F, F, "1", "255")).err);
    assert_int_equal(m.max_forwards, 255);
    assert_true(m.has_max_forwards);
    assert_ok(READ(REQ("v: " V "\r\nf: " F "\r\nt: " F "\r\ni: 1\r\nCSeq: 1 BYE\r\n")).err);
    assert_int_equal(m.max_forwards, 255);
    assert_false(m.has_max_forwards);
}

/* What an element sees as the end of a line, another must not see as its middle. */
static void refuses_odd_bytes(void **state) {
    (void)state;
    BAD(BYE("Xa: a\rContent-Length: 5\r\n"), SIP_BAD_HEADER);
    BAD(BYE("Xa: a\nContent-Length: 5\r\n"), SIP_BAD_HEADER);
    BAD(BYE("Xa: a\0b\r\n"), SIP_BAD_HEADER);
    BAD(BYE("Xa: \"a\0b\"\r\n"), SIP_BAD_HEADER);
    BAD(BYE("X\v: a\r\n"), SIP_BAD_HEADER);
    BAD(BYE("Xa: \\\0\r\n"), SIP_BAD_HEADER);
    BAD(BYE("Xa: \"\\\r\"\r\n"), SIP_BAD_HEADER);
    BAD(BYE("Xa: \"\\\n\"\r\n"), SIP_BAD_HEADER);
    BAD(BYE("Xa: \"\" \\\0\r\n"), SIP_BAD_HEADER);
    BAD("BYE sip:a@b\0 SIP/2.0\r\n\r\n", SIP_BAD_START_LINE);
    BAD("BYE sip:a@b SIP/2.0\nTo: x\n\n", SIP_BAD_START_LINE);
    BAD("BYE sip:a@b SIP/2.0\r\nTo: x\n\n", SIP_BAD_HEADER);
    BAD_STREAM("BYE sip:a@b SIP/2.0\r\nTo: x\n", SIP_BAD_HEADER);
    assert_int_equal(READ_STREAM("BYE sip:a@b SIP/2.0\r\nTo: x\n").used, 0);
    /* RFC 4475 3.1.1.2: a quoted-pair may hold them */
    assert_ok(READ(BYE("Xa: \"a\\\0b\\\x7f\"\r\n  \"\\\x07\"\r\n")).err);
    assert_ok(READ(BYE("Xa: \xc3\xa9\tx\r\n")).err);
}

static void frames_datagrams(void **state) {
    (void)state;
    struct sip_read r;
    assert_ok(READ(BYE("") "whole body").err);
    assert_slice(m.body, "whole body");
    assert_ok((r = READ(BYE("l: 5\r\n") "whole body")).err);
    assert_slice(m.body, "whole"); /* RFC 3261 18.3: the rest is dropped */
    assert_int_equal(r.used, m.all.len);
    BAD(BYE("l: 11\r\n") "whole body", SIP_BAD_CONTENT_LENGTH);
    BAD(BYE("l: -1\r\n"), SIP_BAD_CONTENT_LENGTH);
    BAD(BYE("l: +1\r\n") "x", SIP_BAD_CONTENT_LENGTH);
    BAD(BYE("l: 1 1\r\n") "xx", SIP_BAD_CONTENT_LENGTH);
    BAD(BYE("l: 1,1\r\n") "xx", SIP_BAD_CONTENT_LENGTH);
    BAD(BYE("l: 0x1\r\n") "xx", SIP_BAD_CONTENT_LENGTH);
    BAD(BYE("l:\r\n"), SIP_BAD_CONTENT_LENGTH);
    BAD(BYE("l: 4294967296\r\n"), SIP_BAD_TOO_LARGE);
    BAD(BYE("l: 18446744073709551616\r\n"), SIP_BAD_TOO_LARGE);
    BAD(BYE("l: 1\r\nContent-Length: 2\r\n") "xx", SIP_BAD_CONTENT_LENGTH);
    BAD(BYE("l: 1\r\nContent-Length: 1\r\n") "x", SIP_BAD_DUPLICATE);
    BAD(HEAD "CSeq: 1 BYE\r\n", SIP_BAD_START_LINE);
    BAD("BYE sip:a@b SIP/2.0\r\n" HEAD "CSeq: 1 BYE\r\n", SIP_BAD_HEADER); /* no empty line */
    BAD("", SIP_BAD_HEADER);
}

static void frames_streams(void **state) {
    (void)state;
    slice all = SLICE(BYE("l: 5\r\n") "hello" BYE("l: 0\r\n"));
    size_t first = sizeof(BYE("l: 5\r\n") "hello") - 1;
    for (size_t n = 0; n < first; n++) {
        struct sip_read r = read_as(unit_guard(all.ptr, n), SIP_STREAM);
        if (r.err != ERR_MORE) print_error("at %zu: %s\n", n, sip_bad_text(r.why));
        assert_err(r.err, ERR_MORE);
        assert_int_equal(r.used, n < first - 5 ? 0 : first); /* known when the head is whole */
    }
    struct sip_read r = read_as(all, SIP_STREAM);
    assert_ok(r.err);
    assert_int_equal(r.used, first);
    r = read_as(slice_from(all, r.used), SIP_STREAM);
    assert_ok(r.err);
    assert_int_equal(r.used, all.len - first);
    BAD_STREAM(BYE(""), SIP_BAD_CONTENT_LENGTH); /* RFC 3261 18.3: compulsory there */
    assert_true(READ_STREAM(BYE("")).answerable);
    assert_int_equal(READ_STREAM(BYE("")).used, 0);
    BAD_STREAM(BYE("l: 65536\r\n"), SIP_BAD_TOO_LARGE);
    BAD_STREAM(BYE("l: 65535\r\n"), SIP_BAD_TOO_LARGE); /* with its head it is too long */
    /* a bad one that is framed: it is skipped, the stream goes on */
    r = READ_STREAM(WITH(V, F, "sip:a@b x", "1", "1"));
    assert_int_equal(r.used, 0);
    r = READ_STREAM(BYE("l: 2\r\nbad\r\n") "xxnext");
    assert_err(r.err, ERR_BAD);
    assert_int_equal(r.used, sizeof(BYE("l: 2\r\nbad\r\n")) - 1 + 2);
    assert_true(r.answerable);
    /* two lengths frame nothing */
    assert_int_equal(READ_STREAM(BYE("l: 1\r\nl: 2\r\n") "xx").used, 0);
    assert_int_equal(READ_STREAM(BYE("l: 1\r\nl: 1\r\n") "xx").used, 0);
}

static void holds_its_limits(void **state) {
    (void)state;
    static char big[LIMIT_MSG_BYTES + 16];
    const slice head = SLICE("BYE sip:a@b SIP/2.0\r\n" HEAD "CSeq: 1 BYE\r\n");
    for (unsigned extra = 122; extra <= 123; extra++) { /* 6 lines stand there already */
        struct buf b = buf_over(big, sizeof(big));
        buf_put(&b, head);
        for (unsigned i = 0; i < extra; i++) buf_lit(&b, "Xa: y\r\n");
        buf_lit(&b, "\r\n");
        struct sip_read r = read_as(unit_guard(b.ptr, b.len), SIP_DATAGRAM);
        assert_int_equal(r.why, extra == 122 ? SIP_BAD_NONE : SIP_BAD_TOO_MANY);
        assert_err(r.err, extra == 122 ? ERR_OK : ERR_LIMIT);
        assert_int_equal(m.header_count, LIMIT_MSG_HEADERS);
    }
    /* a head without an end */
    memset(big, 'a', sizeof(big));
    memcpy(big, head.ptr, head.len);
    struct sip_read r = read_as(slice_of(big, LIMIT_MSG_HEAD_BYTES), SIP_STREAM);
    assert_err(r.err, ERR_MORE);
    assert_bad(read_as(slice_of(big, LIMIT_MSG_HEAD_BYTES + 1), SIP_STREAM), SIP_BAD_TOO_LARGE,
               __LINE__);
    assert_bad(read_as(slice_of(big, LIMIT_MSG_HEAD_BYTES + 1), SIP_DATAGRAM), SIP_BAD_TOO_LARGE,
               __LINE__);
    /* the largest message */
    struct buf b = buf_over(big, LIMIT_MSG_BYTES);
    buf_put(&b, head);
    buf_lit(&b, "\r\n");
    assert_ok(read_as(slice_of(big, LIMIT_MSG_BYTES), SIP_DATAGRAM).err);
    assert_bad(read_as(slice_of(big, LIMIT_MSG_BYTES + 1), SIP_DATAGRAM), SIP_BAD_TOO_LARGE,
               __LINE__);
}

static void says_what_can_be_answered(void **state) {
    (void)state;
    struct sip_read r = READ(WITH(V, F, "A, B <sip:a@b>", "1", "1"));
    assert_true(r.answerable);
    assert_slice(sip_first(&m, HDR_TO)->line, "To: A, B <sip:a@b>\r\n");
    assert_slice(m.via.branch, "z9hG4bKa");
    assert_slice(m.from.tag, "1");
    assert_int_equal(m.to.uri_text.len, 0);
    assert_false(READ(WITH("x", F, F, "1", "1")).answerable);
    assert_false(READ(REQ("Via: " V "\r\nbad\r\n")).answerable);
    assert_true(READ("BYE sip:a@b SIP/3.0\r\n" HEAD "CSeq: 1 BYE\r\n\r\n").answerable);
    /* RFC 3261 17: an ACK is never answered */
    assert_false(READ("ACK sip:a@b SIP/3.0\r\n" HEAD "CSeq: 1 ACK\r\n\r\n").answerable);
    assert_false(READ("A(K sip:a@b SIP/2.0\r\n" HEAD "CSeq: 1 ACK\r\n\r\n").answerable);
    /* a dirty line is not there to be echoed */
    assert_false(
        READ(REQ("Via: " V "\r\nFrom: \0\r\nTo: " F "\r\ni: 1\r\nCSeq: 1 BYE\r\n")).answerable);
    r = READ(BYE("bad\r\n"));
    assert_int_equal(r.at, sizeof("BYE sip:a@b SIP/2.0\r\n" HEAD "CSeq: 1 BYE\r\n") - 1);
}

/* What this message does not say must not be what another one said: the reader's memory is used
 * again and again. Found by core_fuzz. */
static void forgets_the_message_before(void **state) {
    (void)state;
    assert_ok(READ_STREAM("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\n"
                          "From: <sip:a@b>;tag=old\r\nTo: <sip:a@b>;tag=old\r\nCall-ID: 1\r\n"
                          "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
                  .err);
    assert_slice(m.from.tag, "old");
    struct sip_read r = READ_STREAM("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TLS h\r\n"
                                    "From: <sip\r\nTo: \"\r\nCall-ID: 1\r\nCSeq: x\r\n"
                                    "Broken\001\r\n\r\n");
    assert_err(r.err, ERR_BAD);
    assert_true(r.answerable);
    assert_int_equal(m.from.tag.len, 0);
    assert_int_equal(m.from.value.len, 0);
    assert_int_equal(m.to.tag.len, 0);
    assert_int_equal(m.cseq, 0);
}

static void skips_keep_alives(void **state) {
    (void)state;
    static const struct {
        const char *in;
        size_t skip;
        bool ping;
    } cases[] = { { "", 0, false },
                  { "\r\n", 0, false },
                  { "\r\n\r", 0, false },
                  { "\r\n\r\n", 4, true },
                  { "\r\nBYE", 2, false },
                  { "\r\n\r\nBYE", 4, true },
                  { "\r\n\r\n\r\n", 4, true },
                  { "\r\n\r\n\r\nBYE", 6, true },
                  { "BYE\r\n\r\n", 0, false },
                  { "\r\n\nBYE", 2, false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool ping;
        slice s = slice_str(cases[i].in);
        assert_int_equal(sip_stream_skip(unit_guard(s.ptr, s.len), &ping), cases[i].skip);
        assert_int_equal(ping, cases[i].ping);
    }
    assert_err(READ_STREAM("\r\n").err, ERR_MORE);
    assert_err(READ_STREAM("\r").err, ERR_MORE);
}

static void knows_its_words(void **state) {
    (void)state;
#define CHECK_HEADER(id, name, compact, many)                                                      \
    if (HDR_##id != HDR_OTHER) {                                                                   \
        char low[32], short_name[2] = { compact, 0 };                                              \
        for (size_t i = 0; i <= sizeof(name) - 1; i++) low[i] = (char)(name[i] | 0x20);            \
        if (sip_header_of(UNIT_GUARD(name)) != HDR_##id) print_error("run words.py: %s\n", name);  \
        assert_int_equal(sip_header_of(UNIT_GUARD(name)), HDR_##id);                               \
        assert_int_equal(sip_header_of(slice_of(low, sizeof(name) - 1)), HDR_##id);                \
        assert_int_equal(sip_header_of(slice_of(low, sizeof(name) - 2)),                           \
                         sizeof(name) == 3 ? HDR_TO : HDR_OTHER);                                  \
        low[sizeof(name) / 2] ^= 1;                                                                \
        assert_int_equal(sip_header_of(slice_of(low, sizeof(name) - 1)), HDR_OTHER);               \
        if (compact) assert_int_equal(sip_header_of(slice_of(short_name, 1)), HDR_##id);           \
        short_name[0] = (char)(short_name[0] & ~0x20);                                             \
        if (compact) assert_int_equal(sip_header_of(slice_of(short_name, 1)), HDR_##id);           \
        assert_slice(sip_header_text(HDR_##id), name);                                             \
    }
    SIP_HEADER_TABLE(CHECK_HEADER)
    for (int method = SIP_INVITE; method < SIP_METHOD_COUNT; method++) {
        assert_int_equal(sip_method_of(sip_method_text((enum sip_method)method)), method);
    }
    assert_int_equal(sip_method_of(SLICE("invite")), SIP_OTHER);
    assert_int_equal(sip_method_of(SLICE("INVITES")), SIP_OTHER);
    assert_int_equal(sip_method_of(SLICE("")), SIP_OTHER);
    assert_slice(sip_status_text(404), "Not Found");
    assert_slice(sip_status_text(499), "Request Failure");
    for (int why = SIP_BAD_NONE; why <= SIP_BAD_TOO_MANY; why++) {
        assert_string_not_equal(sip_bad_text((enum sip_bad)why), "unknown");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_request),
        cmocka_unit_test(reads_a_response),
        cmocka_unit_test(links_lines_of_one_kind),
        cmocka_unit_test(reads_folded_lines),
        cmocka_unit_test(refuses_start_lines),
        cmocka_unit_test(refuses_headers),
        cmocka_unit_test(refuses_values),
        cmocka_unit_test(refuses_odd_bytes),
        cmocka_unit_test(frames_datagrams),
        cmocka_unit_test(frames_streams),
        cmocka_unit_test(holds_its_limits),
        cmocka_unit_test(says_what_can_be_answered),
        cmocka_unit_test(skips_keep_alives),
        cmocka_unit_test(knows_its_words),
        cmocka_unit_test(forgets_the_message_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
