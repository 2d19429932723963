/* "A <- ...": what must come out, and what was there instead. */
#include "replay.h"

#include <stdio.h>

static void show(slice bytes) {
    (void)fprintf(stderr, "    ");
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.ptr[i] == '\r') continue;
        (void)fputc(bytes.ptr[i], stderr);
        if (bytes.ptr[i] == '\n' && i + 1 < bytes.len) (void)fprintf(stderr, "    ");
    }
    (void)fputc('\n', stderr);
}

/* Everything that is still waiting, so that nobody has to guess what came instead. */
static bool show_all(struct world *w, const char *why) {
    if (w->is_quiet) return complain(w, "%s", why);
    (void)complain(w, "%s", why);
    bool any = false;
    for (unsigned i = 0; i < w->agent_count; i++) {
        const struct agent *a = &w->agents[i];
        for (unsigned k = 0; k < a->inbox_count; k++) {
            (void)fprintf(stderr, "  " SLICE_FMT " got:\n", SLICE_ARG(a->name));
            show(a->inbox[k].bytes);
            any = true;
        }
        if (a->is_dropped) {
            (void)fprintf(stderr, "  " SLICE_FMT " was closed: %s\n", SLICE_ARG(a->name),
                          a->why ? a->why : "");
            any = true;
        }
    }
    if (!any) (void)fprintf(stderr, "  nothing came to anybody\n");
    return false;
}

static bool is_trying(const struct message *m) {
    return !m->msg->is_request && m->msg->status == 100;
}

static void take(struct agent *a, unsigned at) {
    a->inbox_count--;
    memmove(&a->inbox[at], &a->inbox[at + 1], (a->inbox_count - at) * sizeof a->inbox[0]);
}

/* ---- checks on one message ---- */

struct check {
    struct world *w;
    struct agent *a;
    const struct message *m;
};

static bool wrong(const struct check *c, const char *what, slice wanted) {
    (void)complain(c->w, "%s is not " SLICE_FMT " in this message:", what, SLICE_ARG(wanted));
    if (!c->w->is_quiet) show(c->m->bytes);
    return false;
}

/* "~ glob" or the exact text. */
static bool matches(slice wanted, slice got) {
    if (slice_starts(wanted, SLICE("~"))) return text_glob(slice_trim(slice_from(wanted, 1)), got);
    return slice_eq(wanted, got);
}

static bool is_named(const struct sip_header *h, slice name) {
    enum sip_header_id id = sip_header_of(name);
    return id == HDR_OTHER ? slice_ieq(h->name, name) : h->id == id;
}

static bool any_header(const struct sip_msg *m, slice name, slice wanted) {
    for (unsigned i = 0; i < m->header_count; i++)
        if (is_named(&m->headers[i], name) && matches(wanted, m->headers[i].value)) return true;
    return false;
}

static unsigned count_header(const struct sip_msg *m, slice name) {
    unsigned lines = 0, values = 0;
    for (unsigned i = 0; i < m->header_count; i++) lines += is_named(&m->headers[i], name);
    enum sip_header_id id = sip_header_of(name);
    /* Challenges use commas for their parameters: there a line is a value. */
    if (id == HDR_WWW_AUTHENTICATE || id == HDR_PROXY_AUTHENTICATE) return lines;
    if (id != HDR_OTHER && hdr_values_count(m, id, &values) && values > lines) return values;
    return lines;
}

/* The value of a parameter behind a header's value, without quotes; NONE: it is not there. */
static slice param_of(slice value, slice name) {
    slice found;
    size_t at = slice_find(value, '>');
    slice params = slice_from(value, at < value.len ? at + 1 : slice_find(value, ';'));
    return value.ptr && hdr_param(params, name, &found) ? hdr_inner(found) : SLICE_NONE;
}

/* $name = Header, $name = Header[2], $name = Header;parameter, $name = uri, $name = body */
static bool check_capture(const struct check *c, slice name, slice rest) {
    const struct sip_msg *m = c->m->msg;
    slice eq = text_word(&rest), value = SLICE_NONE;
    if (!slice_eq(eq, SLICE("="))) return complain(c->w, "expected: $name = Header");
    if (slice_eq(rest, SLICE("uri")))
        value = m->uri_text;
    else if (slice_eq(rest, SLICE("body")))
        value = m->body;
    else {
        size_t semicolon = slice_find(rest, ';');
        slice param = slice_from(rest, semicolon + (semicolon < rest.len));
        rest = slice_head(rest, semicolon);
        size_t open = slice_find(rest, '[');
        uint32_t wanted = 1, seen = 0;
        slice header = slice_head(rest, open), number = slice_from(rest, open + 1);
        if (open < rest.len &&
            slice_u32(slice_head(number, slice_find(number, ']')), 99, &wanted) != ERR_OK)
            return complain(c->w, "expected: $name = Header[number]");
        for (unsigned i = 0; i < m->header_count && !value.ptr; i++)
            if (is_named(&m->headers[i], header) && ++seen == wanted) value = m->headers[i].value;
        if (param.len) value = param_of(value, param);
    }
    if (!value.ptr) return wrong(c, "what is to be remembered", rest);
    text_set(c->w, name, value);
    return !c->w->is_failed;
}

static bool check_sdp(const struct check *c, slice name) {
    slice body, type;
    if (sdp_named(c->w, name, &body, &type) != ERR_OK)
        return complain(c->w, "there is no session description " SLICE_FMT, SLICE_ARG(name));
    return slice_eq(body, c->m->msg->body) || wrong(c, "the body", name);
}

static bool check_header(const struct check *c, slice line, bool wanted) {
    size_t colon = slice_find(line, ':');
    slice name = slice_trim(slice_head(line, colon)), value;
    bool is_part = slice_eq(name, SLICE("raw")) || slice_eq(name, SLICE("body")) ||
                   slice_eq(name, SLICE("uri")); /* they have no colon */
    if (colon == line.len || is_part)
        return complain(c->w, "neither a header nor a check: " SLICE_FMT, SLICE_ARG(line));
    if (!text_fill(c->w, slice_trim(slice_from(line, colon + 1)), &value)) return false;
    if (any_header(c->m->msg, name, value) == wanted) return true;
    char mem[80];
    struct buf b = buf_over(mem, sizeof mem - 1);
    buf_put(&b, slice_head(name, 70));
    mem[b.len] = 0;
    return wrong(c, wanted ? mem : "a header that should not be", value);
}

/* uri, body or raw, and what it must be, or must not. False: the line is about something else. */
static bool check_part(const struct check *c, slice line, bool wanted, bool *out) {
    slice rest = line, word = text_word(&rest), filled, part;
    if (slice_eq(word, SLICE("uri")))
        part = c->m->msg->uri_text;
    else if (slice_eq(word, SLICE("body")))
        part = c->m->msg->body;
    else if (slice_eq(word, SLICE("raw")))
        part = c->m->bytes;
    else
        return false;
    *out = text_fill(c->w, rest, &filled) &&
           (matches(filled, part) == wanted ||
            wrong(c, wanted ? "the Request-URI, body or message" : "what should not be", filled));
    return true;
}

static bool check_line(const struct check *c, slice line) {
    const struct sip_msg *m = c->m->msg;
    slice rest = line, word = text_word(&rest);
    bool ok;
    if (slice_starts(word, SLICE("$"))) return check_capture(c, slice_from(word, 1), rest);
    if (slice_eq(word, SLICE("no"))) {
        if (slice_eq(rest, SLICE("body"))) return !m->body.len || wrong(c, "the body", rest);
        return !any_header(m, rest, SLICE("~*")) || wrong(c, "the header's absence", rest);
    }
    if (check_part(c, line, true, &ok)) return ok;
    if (slice_eq(word, SLICE("not")))
        return check_part(c, rest, false, &ok) ? ok : check_header(c, rest, false);
    if (slice_eq(word, SLICE("sdp"))) return check_sdp(c, rest);
    if (slice_eq(word, SLICE("count"))) {
        slice name = text_word(&rest);
        uint32_t wanted;
        if (slice_u32(rest, 1000, &wanted) != ERR_OK) return complain(c->w, "count Header number");
        return count_header(m, name) == wanted || wrong(c, "the number of headers", line);
    }
    return check_header(c, line, true);
}

/* ---- one expectation ---- */

static bool note_challenge(struct world *w, struct agent *a, const struct sip_msg *m) {
    if (m->is_request || (m->status != 401 && m->status != 407)) return true;
    bool is_proxy = m->status == 407;
    slice value = sip_value(m, is_proxy ? HDR_PROXY_AUTHENTICATE : HDR_WWW_AUTHENTICATE);
    struct hdr_auth auth;
    if (hdr_auth(value, &auth) != ERR_OK)
        return complain(w, "this challenge cannot be read: " SLICE_FMT, SLICE_ARG(value));
    bool is_same = a->challenge.is_there && slice_eq(a->challenge.auth.nonce, auth.nonce);
    a->challenge = (struct challenge){ true, is_proxy, auth, is_same ? a->challenge.nc : 0 };
    return true;
}

static bool is_wanted(const struct sip_msg *m, slice what, slice to) {
    uint32_t status;
    if (slice_u32(what, 699, &status) == ERR_OK)
        return !m->is_request && m->status == status &&
               (!to.len || slice_eq(sip_method_text(m->method), to) ||
                slice_eq(m->method_name, to));
    return m->is_request && slice_eq(m->method_name, what);
}

/* Where the next message stands that is not passed over. */
static unsigned next_at(const struct agent *a, slice what) {
    unsigned at = 0;
    while (!slice_eq(what, SLICE("100")) && at < a->inbox_count && is_trying(&a->inbox[at])) at++;
    return at;
}

bool expect_is_next(const struct agent *a, slice what) {
    unsigned at = next_at(a, what);
    return at < a->inbox_count && is_wanted(a->inbox[at].msg, what, SLICE_NONE);
}

bool expect(struct world *w, struct agent *a, slice rest, struct script *s) {
    slice what = text_word(&rest), to = SLICE_NONE, as = SLICE_NONE;
    while (rest.len) {
        slice word = text_word(&rest), value = text_word(&rest);
        if (slice_eq(word, SLICE("to")))
            to = value;
        else if (slice_eq(word, SLICE("as")))
            as = value;
        else
            return complain(w, "what is \"" SLICE_FMT "\" here?", SLICE_ARG(word));
    }
    unsigned at = next_at(a, what);
    if (at == a->inbox_count || !is_wanted(a->inbox[at].msg, what, to))
        return show_all(w, at == a->inbox_count ? "it did not come" : "something else came first");
    struct message m = a->inbox[at];
    take(a, at);
    if (!note_challenge(w, a, m.msg) || !agent_hear(w, a, &m)) return false;
    if (as.len && a->now) a->now->name = text_keep(w, as);
    const struct check c = { w, a, &m };
    for (slice line; script_more(s, &line);)
        if (!check_line(&c, line)) return false;
    return true;
}

bool expect_silence(struct world *w, const struct agent *a) {
    for (unsigned i = 0; i < a->inbox_count; i++)
        if (!is_trying(&a->inbox[i])) return show_all(w, "nothing should have come");
    return true;
}

bool expect_all_quiet(struct world *w) {
    for (unsigned i = 0; i < w->agent_count; i++) {
        if (!expect_silence(w, &w->agents[i])) return false;
        if (w->agents[i].is_dropped) return show_all(w, "nobody asked for this close");
    }
    return true;
}
