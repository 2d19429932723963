/* check/secure.c - a call whose media is under DTLS keys. */
#include "check/secure.h"

#include "check/link.h"
#include "check/run.h"

#define UP_MS    10000
#define AUDIO    "audio 111 0 8\r\na=rtpmap:111 opus/48000/2\r\n"
#define ICE_KEYS "a=ice-ufrag:" MEDIA_UFRAG "\r\na=ice-pwd:" MEDIA_PWD "\r\n"

static bool browser(const struct media *m) {
    return m->t->run->role == ROLE_BROWSER;
}

/* v= to the first m=; the place is the same for all. */
static const char *session(const struct media *m) {
    char host[64] = "";
    struct buf b = buf_over(host, sizeof host - 1);
    addr_put_host(&b, &m->at);
    slice ip = buf_slice(&b);
    bool six = m->at.family == ADDR_V6;
    if (six) ip = slice_of(ip.ptr + 1, ip.len - 2); /* SDP has no brackets */
    return text(
        m->t,
        "v=0\r\no=- 5 1 IN IP%u " SLICE_FMT "\r\ns=-\r\nc=IN IP%u " SLICE_FMT "\r\nt=0 0\r\n%s",
        six ? 6u : 4u, SLICE_ARG(ip), six ? 6u : 4u, SLICE_ARG(ip), m->ice ? "a=ice-lite\r\n" : "");
}

/* What the line of our place has beside its formats. */
static const char *place(const struct media *m, slice session) {
    if (!m->ice) return "a=rtcp-mux\r\n";
    slice ip = slice_from(sdp_line(session, "c=IN IP"), strlen("c=IN IP4 "));
    return text(m->t,
                ICE_KEYS "a=rtcp-mux\r\na=candidate:1 1 udp 2130706431 " SLICE_FMT
                         " %u typ host\r\na=end-of-candidates\r\n",
                SLICE_ARG(ip), m->at.port);
}

const char *secure_sdp(const struct media *m, const char *media, const char *lines) {
    slice s = slice_str(media);
    size_t space = slice_find(s, ' '), end = slice_find(s, '\r');
    const char *top = session(m), *where = place(m, slice_str(top));
    return text(m->t, "%sm=" SLICE_FMT " %u UDP/TLS/RTP/SAVP%s" SLICE_FMT "%s%s%s%s", top,
                SLICE_ARG(slice_head(s, space)), m->at.port, browser(m) ? "F" : "",
                SLICE_ARG(slice_head(slice_from(s, space), end - space)), media + end,
                end == s.len ? "\r\n" : "", m->ice ? text(m->t, "a=mid:0\r\n%s", where) : where,
                lines);
}

/* Our answer: the first audio is taken in its first format, as it was offered; the rest is not. */
static const char *answer(const struct media *m, slice offer, const char *keys) {
    char mem[4096];
    struct buf b = buf_over(mem, sizeof mem);
    const char *top = session(m);
    bool taken = false, mine = false;
    slice line, format = SLICE_NONE;
    buf_put(&b, slice_str(top));
    for (slice rest = offer; slice_split(&rest, '\n', &line);) {
        line = slice_trim(line);
        if (slice_starts(line, SLICE("m="))) {
            slice words = slice_from(line, 2), word[4] = { { NULL, 0 } };
            for (unsigned i = 0; i < ARRAY_LEN(word); i++) (void)slice_split(&words, ' ', &word[i]);
            mine = !taken && is(word[0], "audio");
            taken = taken || mine;
            format = word[3];
            buf_fmt(&b, "m=" SLICE_FMT " %u " SLICE_FMT " " SLICE_FMT "\r\n", SLICE_ARG(word[0]),
                    mine ? m->at.port : 0u, SLICE_ARG(word[2]), SLICE_ARG(format));
            if (mine) buf_fmt(&b, "%s%s", place(m, slice_str(top)), keys);
        } else if (slice_starts(line, SLICE("a=mid:")) ||
                   (mine && slice_starts(line, slice_str(text(m->t, "a=rtpmap:" SLICE_FMT " ",
                                                              SLICE_ARG(format)))))) {
            buf_fmt(&b, SLICE_FMT "\r\n", SLICE_ARG(line));
        }
    }
    return text_of(m->t, buf_slice(&b));
}

static void call(struct test *t, struct secure *s, const struct secure_wish *w) {
    const char *fingerprint = w->stranger ? FINGERPRINT : dtls_fingerprint(s->m->dtls_end);
    const char *keys =
        text(t, "a=setup:%s\r\na=fingerprint:%s\r\n", w->late ? "active" : "actpass", fingerprint);
    struct req r = { .method = "INVITE", .type = "application/sdp" };
    if (!w->late) r.body = secure_sdp(s->m, w->media ? w->media : AUDIO, keys);
    s->up.ok = ua_ask(s->up.a, &r);
    if (t->verdict) return;
    if (!s->up.ok || s->up.ok->status / 100 != 2) {
        test_na(t, "media under DTLS-SRTP (the call gets %u)", s->up.ok ? s->up.ok->status : 0);
        return;
    }
    if (w->ice && !sdp_lines(s->up.ok->body, "a=ice-ufrag:")) /* some send STUN without it */
        test_na(t, "ice");
    dialog_of(s->up.a, s->up.ok, true, &s->up.d);
    ua_send(s->up.a, &(struct req){ .method = "ACK",
                                    .in = &s->up.d,
                                    .type = w->late ? "application/sdp" : NULL,
                                    .body = w->late ? answer(s->m, s->up.ok->body, keys) : NULL });
    media_begin(s->m, s->up.ok->body, w->late);
    (void)media_until(s->m, media_is_up, UP_MS);
}

/* RFC 5763 5: keys count only with the certificate that the description names. */
static void judge_peer(struct test *t, const struct secure *s) {
    slice rest = s->up.ok->body, line;
    const slice start = SLICE("a=fingerprint:");
    bool good = !s->m->keyed;
    while (slice_split(&rest, '\n', &line))
        if (slice_starts(line, start))
            good = good || dtls_matches(s->m->dtls_end, slice_trim(slice_from(line, start.len)));
    GIVEN(t, good, "its certificate is not the one of its description");
}

bool secure_up(struct test *t, struct secure *s, const struct secure_wish *w) {
    *s = (struct secure){ .up.a = ua_new(t, WIRE_BEST, NOBODY) };
    s->m = media_open(s->up.a);
    media_key(s->m, &w->dtls);
    if (s->m && w->ice) s->m->ice = true;
    if (!t->verdict) call(t, s, w);
    if (!t->verdict) judge_peer(t, s);
    if (t->verdict) media_close(s->m);
    return !t->verdict;
}

static bool hears(const struct media *m) {
    return m->heard.count > 0;
}
bool secure_heard(struct secure *s) {
    return media_until(s->m, hears, UP_MS);
}

void secure_down(struct secure *s) {
    struct msg *bye = ua_wait(s->up.a, "BYE", 0);
    if (bye) {
        ua_reply(s->up.a, bye, 200, NULL);
    } else {
        (void)phone_down(&s->up);
    }
    media_close(s->m);
}
