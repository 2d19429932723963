/* check/phone_video.c - what a sender of video does when its picture is lost (RFC 8834 5.1, RFC
 * 4585 6.3.1, RFC 5104 4.3.1). */
#include "check/link.h"
#include "check/secure.h"
#include "check/tests.h"

#define VIDEO                                                                                      \
    "video 96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\n"
#define SETTLE_MS 2000 /* the first picture, and what it makes of our silence */
#define CALM_MS   3000 /* in which no key frame may come by itself */
#define ASKS      3u   /* one may get lost, or be too soon after the last */

enum feedback { PLI = 1, FIR = 4 };

/* RR without blocks, CNAME, and the request: compound, as RFC 3550 6.1 wants it. */
static slice request(const struct media *m, enum feedback kind, unsigned number,
                     char mem[static 64]) {
    struct buf b = buf_over(mem, 64);
    char ssrc[4];
    for (unsigned i = 0; i < 4; i++) ssrc[i] = (char)(m->heard.ssrc >> (24 - 8 * i));
    buf_put(&b, slice_of("\x80\xc9\0\1kith\x81\xca\0\3kith\1\4kith\0\0", 24));
    if (kind == PLI) {
        buf_put(&b, slice_of("\x81\xce\0\2kith", 8));
        buf_put(&b, slice_of(ssrc, 4));
        return buf_slice(&b);
    }
    const char entry[4] = { (char)number, 0, 0, 0 };
    buf_put(&b, slice_of("\x84\xce\0\4kith\0\0\0\0", 12));
    buf_put(&b, slice_of(ssrc, 4));
    buf_put(&b, slice_of(entry, 4));
    return buf_slice(&b);
}

/* Asks up to three times, 2 s apart: does a key frame come? Asking the same thing again keeps the
 * number of a FIR (RFC 5104 4.3.1.2). */
static bool recovers(struct media *m, enum feedback kind) {
    unsigned before = m->heard.keys;
    char mem[64];
    slice rtcp = request(m, kind, 1, mem);
    for (unsigned i = 0; i < ASKS && m->heard.keys == before; i++) {
        media_report(m, rtcp, 0);
        for (int64_t until = clock_ms() + 2000; m->heard.keys == before && media_hear(m, until);) {}
    }
    return m->heard.keys > before;
}

static void asked(struct test *t, enum feedback kind, const char *name) {
    struct secure s;
    if (!secure_up(t, &s, &(struct secure_wish){ .dtls.profiles = DTLS_CM, .media = VIDEO }))
        return;
    bool video = !sdp_lines(s.up.ok->body, "m=video 0 ");
    bool heard = video && secure_heard(&s), able = false;
    if (heard) media_listen(s.m, SETTLE_MS);
    unsigned first = s.m->heard.keys, frames = s.m->heard.frames;
    if (heard) media_listen(s.m, CALM_MS);
    unsigned alone = s.m->heard.keys - first;
    bool flows = s.m->heard.frames > frames;
    if (heard && first && flows && !alone) able = recovers(s.m, kind);
    unsigned at =
        test_note(t, "%u frames of VP8, %u of them key frames", s.m->heard.frames, s.m->heard.keys);
    secure_down(&s);
    CAPABLE(t, video, "video");
    GIVEN(t, heard && first && flows, "no video of VP8 flows");
    GIVEN(t, !alone, "key frames come by themselves, so that none is seen to be an answer");
    MUST(t, at, able, "no key frame comes after %u %s", ASKS, name);
    PASS(t, at);
}
static void picture_lost(struct test *t) {
    asked(t, PLI, "PLI");
}
static void picture_asked(struct test *t) {
    asked(t, FIR, "FIR");
}

AREA(phone_video, T(MEET_006, "pli", picture_lost), T(MEET_006, "fir", picture_asked));
