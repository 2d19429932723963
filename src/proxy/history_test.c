#include "unit.h"

#include "proxy/history.h"

static bool is_ours(void *ctx, slice host) {
    (void)ctx;
    return slice_ieq(host, SLICE("us.example"));
}

static struct sip_msg message;
static char memory[2048];

/* What becomes of a request with these lines. */
static struct history_out leaves(const char *lines) {
    char text[2048];
    struct buf b = buf_over(text, sizeof text), mem = buf_over(memory, sizeof memory);
    struct history_out out;
    buf_fmt(&b,
            "INVITE sip:x@them.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\n"
            "From: <sip:a@us.example>;tag=1\r\nTo: <sip:x@them.example>\r\nCall-ID: 1\r\n"
            "CSeq: 1 INVITE\r\n%sContent-Length: 0\r\n\r\n",
            lines);
    slice bytes = unit_guard(text, b.len);
    assert_ok(sip_msg_read(&message, bytes, SIP_STREAM).err);
    assert_ok(history_leave(&message, is_ours, NULL, &mem, &out));
    return out;
}

static void without_a_wish_all_stays(void **state) {
    (void)state;
    struct history_out out = leaves("History-Info: <sip:bob@us.example>;index=1\r\n"
                                    "Privacy: id\r\n");
    assert_false(out.has_history || out.has_privacy || out.no_diversion);
    out = leaves("");
    assert_false(out.has_history || out.has_privacy || out.no_diversion);
    /* RFC 3323 4.2: none rules out everything else. */
    out = leaves("History-Info: <sip:bob@us.example>;index=1\r\nPrivacy: none;history\r\n");
    assert_false(out.has_history || out.has_privacy || out.no_diversion);
}

static void ours_become_anonymous(void **state) {
    (void)state;
    struct history_out out = leaves(
        "History-Info: \"Bob\" <sip:bob@us.example;cause=302?Reason=SIP%3Bcause%3D486&x=y>;index=1,"
        " <tel:+15551234>;index=1.1;mp=1\r\n"
        "History-Info: <sip:eve@them.example?Privacy=history>;index=1.2;rc=1.1\r\n"
        "Privacy: history\r\n");
    assert_true(out.has_history && out.no_diversion);
    assert_slice(out.history, "<sip:anonymous@anonymous.invalid?Reason=SIP%3Bcause%3D486>;index=1, "
                              "<sip:anonymous@anonymous.invalid>;index=1.1;mp=1, "
                              "<sip:eve@them.example?Privacy=history>;index=1.2;rc=1.1");
    assert_true(out.has_privacy);
    assert_slice(out.privacy, "");
    /* header asks for the same, and stays for those who can do more of it */
    out = leaves("History-Info: <sip:bob@us.example>;index=1\r\nPrivacy: header;id\r\n");
    assert_slice(out.history, "<sip:anonymous@anonymous.invalid>;index=1");
    assert_false(out.has_privacy);
    out = leaves("History-Info: <sip:bob@us.example>;index=1\r\nPrivacy: id;history;critical\r\n");
    assert_slice(out.privacy, "id;critical");
    out = leaves("Privacy: history;critical\r\n");
    assert_true(out.has_privacy && !out.has_history);
    assert_slice(out.privacy, "");
    out = leaves("Privacy: history;unheard-of\r\n");
    assert_false(out.has_privacy);
}

static void an_entry_may_ask_alone(void **state) {
    (void)state;
    struct history_out out =
        leaves("History-Info: <sip:bob@us.example?Privacy=history>;index=1, "
               "\"C\" <sip:carol@us.example?Privacy=id&Reason=Q.850>;index=1.1;mp=1\r\n");
    assert_slice(out.history, "<sip:anonymous@anonymous.invalid>;index=1, "
                              "\"C\" <sip:carol@us.example?Reason=Q.850>;index=1.1;mp=1");
    assert_false(out.has_privacy || out.no_diversion);
}

static void what_is_unreadable_goes(void **state) {
    (void)state;
    struct history_out out = leaves("History-Info: <sip:bob@us.example>;index=1, nonsense\r\n");
    assert_true(out.has_history);
    assert_int_equal(out.history.len, 0);
    out = leaves("History-Info: <sip:bob@us.example>\r\n"); /* no index */
    assert_true(out.has_history);
    struct buf mem = buf_over(memory, 20);
    (void)leaves("History-Info: <sip:bob@us.example>;index=1\r\nPrivacy: history\r\n");
    assert_err(history_leave(&message, is_ours, NULL, &mem, &out), ERR_FULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_wish_all_stays),
        cmocka_unit_test(ours_become_anonymous),
        cmocka_unit_test(an_entry_may_ask_alone),
        cmocka_unit_test(what_is_unreadable_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
