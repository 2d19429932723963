#include "auth/user_settings.h"

#include "base/units.h"
#include "sip/uri.h"

const char *forward_name(enum forward_when when) {
    static const char *const names[FORWARD_COUNT] = { [FORWARD_ALWAYS] = "forward-always",
                                                      [FORWARD_BUSY] = "forward-busy",
                                                      [FORWARD_NO_ANSWER] = "forward-no-answer",
                                                      [FORWARD_UNREACHABLE] =
                                                          "forward-unreachable" };
    return names[when];
}

static enum err refuse(struct buf *why, enum err e, const char *words) {
    buf_fmt(why, "%s", words);
    return e;
}

/* A URI that can be called and be written between < and > of a header. */
static enum err check_uri(slice value, struct buf *why) {
    struct sip_uri uri;
    if (value.len > USER_SETTINGS_URI_MAX) return refuse(why, ERR_LIMIT, "longer than 256 bytes");
    if (sip_uri_read(value, &uri) != ERR_OK || uri.scheme == URI_OTHER)
        return refuse(why, ERR_BAD, "not a sip, sips or tel URI");
    if (!uri.user.len) return refuse(why, ERR_BAD, "it names nobody: a user is missing");
    if (uri.headers.len || uri.has_password || uri.method.len)
        return refuse(why, ERR_BAD, "headers, method and password have no place in it");
    return ERR_OK;
}

/* "sip:carol@example.org,20s": a URI has no comma outside of its user, so the last one counts. */
static enum err set_no_answer(struct user_settings *s, slice value, struct buf *why) {
    int64_t ms = NO_ANSWER_DEFAULT_S * 1000;
    size_t at = value.len;
    while (at > 0 && value.ptr[at - 1] != ',' && value.ptr[at - 1] != '@') at--;
    if (at > 0 && value.ptr[at - 1] == ',') {
        if (duration_read(slice_trim(slice_from(value, at)), (int64_t)NO_ANSWER_MAX_S * 1000,
                          &ms) != ERR_OK ||
            ms < (int64_t)NO_ANSWER_MIN_S * 1000)
            return refuse(why, ERR_BAD, "after the comma stands a time from 3s to 170s");
        value = slice_trim(slice_head(value, at - 1));
    }
    enum err e = check_uri(value, why);
    if (e != ERR_OK) return e;
    s->forward[FORWARD_NO_ANSWER] = value;
    s->no_answer_s = (uint32_t)(ms / 1000);
    return ERR_OK;
}

enum err user_settings_set(struct user_settings *s, slice name, slice value, struct buf *why) {
    bool is_off = value.len == 0 || slice_eq(value, SLICE("off"));
    bool *which = slice_eq(name, SLICE("dnd"))                ? &s->dnd
                  : slice_eq(name, SLICE("refuse-anonymous")) ? &s->refuse_anonymous
                                                              : NULL;
    if (which) {
        if (!is_off && !slice_eq(value, SLICE("on"))) return refuse(why, ERR_BAD, "on or off");
        *which = !is_off;
        return ERR_OK;
    }
    if (slice_eq(name, SLICE("only-calls"))) {
        enum err e = is_off ? ERR_OK : check_uri(value, why);
        if (e == ERR_OK) s->only_calls = is_off ? SLICE_NONE : value;
        return e;
    }
    for (unsigned i = 0; i < FORWARD_COUNT; i++) {
        if (!slice_eq(name, slice_str(forward_name(i)))) continue;
        if (is_off) {
            s->forward[i] = SLICE_NONE;
            return ERR_OK;
        }
        if (i == FORWARD_NO_ANSWER) return set_no_answer(s, value, why);
        enum err e = check_uri(value, why);
        if (e == ERR_OK) s->forward[i] = value;
        return e;
    }
    return ERR_MISSING;
}

enum err user_settings_read(slice text, struct user_settings *out) {
    *out = (struct user_settings){ 0 };
    char mem[80];
    if (text.len > USER_SETTINGS_MAX) return ERR_LIMIT;
    for (slice line; slice_split(&text, '\n', &line);) {
        struct buf why = buf_over(mem, sizeof mem);
        size_t at = slice_find(line, '=');
        if (line.len == 0) continue;
        if (at == line.len ||
            user_settings_set(out, slice_head(line, at), slice_from(line, at + 1), &why) != ERR_OK)
            return ERR_BAD;
    }
    return ERR_OK;
}

void user_settings_put(struct buf *b, const struct user_settings *s) {
    if (s->dnd) buf_lit(b, "dnd=on\n");
    if (s->refuse_anonymous) buf_lit(b, "refuse-anonymous=on\n");
    if (s->only_calls.len) buf_fmt(b, "only-calls=" SLICE_FMT "\n", SLICE_ARG(s->only_calls));
    for (unsigned i = 0; i < FORWARD_COUNT; i++) {
        if (!s->forward[i].len) continue;
        buf_fmt(b, "%s=" SLICE_FMT, forward_name(i), SLICE_ARG(s->forward[i]));
        if (i == FORWARD_NO_ANSWER) buf_fmt(b, ",%us", s->no_answer_s);
        buf_byte(b, '\n');
    }
}
