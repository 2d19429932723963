/* "A -> ...": a phone says something. */
#include "replay.h"

struct edit { /* the indented lines under it */
    struct draft *draft;
    slice seen[FIELDS_MAX]; /* header names given in this block */
    unsigned seen_count;
    struct buf body;
};

static bool is_seen(struct edit *e, slice name) {
    for (unsigned i = 0; i < e->seen_count; i++)
        if (slice_ieq(e->seen[i], name)) return true;
    if (e->seen_count < FIELDS_MAX) e->seen[e->seen_count++] = name;
    return false;
}

/* "Name: value" takes the place of what stands there by default; "+Name: value" is one more. */
static bool edit_header(struct world *w, struct edit *e, slice line) {
    size_t colon = slice_find(line, ':');
    slice name = slice_trim(slice_head(line, colon)), value;
    if (colon == line.len)
        return complain(w, "neither a header nor an instruction: " SLICE_FMT, SLICE_ARG(line));
    if (!text_fill(w, slice_trim(slice_from(line, colon + 1)), &value)) return false;
    bool is_more = slice_starts(name, SLICE("+"));
    if (is_more) name = slice_from(name, 1);
    if (is_seen(e, name) || is_more)
        draft_add(e->draft, name, value);
    else
        draft_set(e->draft, name, value);
    return true;
}

static bool edit_sdp(struct world *w, struct edit *e, slice name) {
    slice type;
    if (sdp_named(w, name, &e->draft->body, &type) != ERR_OK)
        return complain(w, "there is no session description " SLICE_FMT, SLICE_ARG(name));
    draft_set(e->draft, SLICE("Content-Type"), type);
    return true;
}

/* auth [USER] [with SECRET] */
static bool edit_auth(struct world *w, struct agent *a, struct edit *e, slice rest) {
    slice name = text_word(&rest), secret = SLICE_NONE;
    if (slice_eq(name, SLICE("with"))) {
        secret = text_word(&rest);
        name = SLICE_NONE;
    } else if (slice_eq(text_word(&rest), SLICE("with"))) {
        secret = text_word(&rest);
    }
    if (!name.len) name = a->user;
    if (!secret.len) {
        const struct user *u = world_user(w, name);
        if (!u) return false;
        secret = u->secret;
    }
    return draft_auth(w, a, e->draft, name, secret);
}

/* from USER: speaks as another account; a REGISTER registers it. */
static bool edit_from(struct world *w, struct agent *a, struct edit *e, slice user) {
    char mem[64];
    struct buf host = buf_over(mem, sizeof mem);
    slice domain = world_domain(w),
          tag = e->draft->dialog ? e->draft->dialog->local_tag : SLICE("x");
    addr_put(&host, &a->info.peer);
    draft_set(e->draft, SLICE("From"),
              text_make(w, "<sip:" SLICE_FMT "@" SLICE_FMT ">;tag=" SLICE_FMT, SLICE_ARG(user),
                        SLICE_ARG(domain), SLICE_ARG(tag)));
    if (!slice_eq(e->draft->method, SLICE("REGISTER"))) return true;
    draft_set(
        e->draft, SLICE("To"),
        text_make(w, "<sip:" SLICE_FMT "@" SLICE_FMT ">", SLICE_ARG(user), SLICE_ARG(domain)));
    draft_set(e->draft, SLICE("Contact"),
              text_make(w,
                        "<sip:" SLICE_FMT "@" SLICE_FMT ">;+sip.instance=\"<" SLICE_FMT
                        ">\"" SLICE_FMT,
                        SLICE_ARG(user), SLICE_ARG(buf_slice(&host)), SLICE_ARG(a->instance),
                        SLICE_ARG(a->reg_id ? text_make(w, ";reg-id=%u", a->reg_id) : SLICE_NONE)));
    return true;
}

static bool edit_line(struct world *w, struct agent *a, struct edit *e, slice line) {
    slice rest = line, word = text_word(&rest), filled;
    if (slice_starts(line, SLICE("|"))) {
        if (!text_fill(w, slice_from(line, 1), &filled)) return false;
        buf_put(&e->body, filled);
        buf_lit(&e->body, "\r\n");
        return !e->body.full || complain(w, "the body is too long");
    }
    if (slice_eq(word, SLICE("no"))) {
        draft_drop(e->draft, rest);
        if (slice_eq(rest, SLICE("body"))) {
            draft_drop(e->draft, SLICE("Content-Type"));
            e->draft->body = SLICE_NONE;
        }
        return true;
    }
    if (slice_eq(word, SLICE("sdp"))) return edit_sdp(w, e, rest);
    if (slice_eq(word, SLICE("auth"))) return edit_auth(w, a, e, rest);
    if (slice_eq(word, SLICE("from"))) return edit_from(w, a, e, rest);
    if (slice_eq(word, SLICE("uri"))) return text_fill(w, rest, &e->draft->uri);
    return edit_header(w, e, line);
}

static bool edit_all(struct world *w, struct agent *a, struct draft *d, struct script *s) {
    char mem[66000];
    struct edit e = { .draft = d, .body = buf_over(mem, sizeof mem) };
    for (slice line; script_more(s, &line);)
        if (!edit_line(w, a, &e, line)) return false;
    if (e.body.len) d->body = text_keep(w, buf_slice(&e.body));
    return !w->is_failed;
}

/* raw: every line after its '|', as it stands; `|` alone is an empty line. */
static bool say_raw(struct world *w, struct agent *a, struct script *s) {
    char *mem = arena_alloc(&w->arena, 70000);
    if (!mem) return complain(w, "the scenario is too long for its memory");
    struct buf b = buf_over(mem, 70000);
    slice filled;
    bool is_first = true;
    for (slice line; script_more(s, &line); is_first = false) {
        if (!slice_starts(line, SLICE("|"))) return complain(w, "a raw line begins with |");
        if (!text_fill(w, slice_from(line, 1), &filled)) return false;
        if (!is_first) buf_lit(&b, "\r\n");
        buf_put(&b, filled);
    }
    if (b.full) return complain(w, "the message is too long");
    struct draft d = { .is_request = true, .raw = buf_slice(&b) };
    return draft_send(w, a, &d);
}

struct options {
    slice to, in, as;
};

static bool read_options(struct world *w, struct agent *a, slice rest, struct options *out) {
    *out = (struct options){ .to = SLICE_NONE };
    while (rest.len) {
        slice word = text_word(&rest), value = text_word(&rest);
        if (slice_eq(word, SLICE("to")))
            out->to = value;
        else if (slice_eq(word, SLICE("in")))
            out->in = value;
        else if (slice_eq(word, SLICE("as")))
            out->as = value;
        else
            return complain(w, "what is \"" SLICE_FMT "\" here?", SLICE_ARG(word));
    }
    if (!out->in.len) return true;
    a->now = dialog_named(a, out->in);
    return a->now || complain(w, SLICE_FMT " has no dialog " SLICE_FMT, SLICE_ARG(a->name),
                              SLICE_ARG(out->in));
}

static bool say_response(struct world *w, struct agent *a, unsigned status, slice rest,
                         struct script *s) {
    struct options o;
    struct draft d;
    if (!read_options(w, a, rest, &o)) return false;
    struct heard *to = agent_unanswered(a, o.to, o.in.len ? a->now : NULL);
    if (!to) return complain(w, SLICE_FMT " has no request to answer", SLICE_ARG(a->name));
    if (!draft_response(w, a, status, to, &d) || !edit_all(w, a, &d, s)) return false;
    return draft_send(w, a, &d);
}

static bool say_request(struct world *w, struct agent *a, slice method, slice rest,
                        struct script *s) {
    struct options o;
    struct draft d;
    slice after = rest, uri = text_word(&after);
    bool has_uri = slice_find(uri, ':') < uri.len || slice_find(uri, '{') < uri.len;
    if (has_uri && !text_fill(w, uri, &uri)) return false;
    if (!read_options(w, a, has_uri ? after : rest, &o)) return false;
    bool made = slice_eq(method, SLICE("again")) ? draft_again(w, a, &d)
                : has_uri && !o.in.len           ? draft_request(w, a, method, uri, &d)
                                                 : draft_in_dialog(w, a, method, &d);
    if (!made) return false;
    if (has_uri) d.uri = text_keep(w, uri);
    if (o.as.len && d.dialog) d.dialog->name = text_keep(w, o.as);
    return edit_all(w, a, &d, s) && draft_send(w, a, &d);
}

bool say(struct world *w, struct agent *a, slice rest, struct script *s) {
    slice word = text_word(&rest);
    uint32_t status;
    if (slice_eq(word, SLICE("raw"))) return say_raw(w, a, s);
    if (slice_eq(word, SLICE("same"))) return agent_send(w, a, a->last_bytes);
    if (slice_u32(word, 699, &status) == ERR_OK) return say_response(w, a, status, rest, s);
    return say_request(w, a, word, rest, s);
}
