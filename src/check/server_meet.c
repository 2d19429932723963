/* check/server_meet.c - a conference of the target (RFC 4575, 4579), named by --conference: a URI
 * that the accounts may call and subscribe to. */
#include "check/run.h"
#include "check/tests.h"

#define PACKAGE "Event: conference\r\n"

struct member {
    struct ua *a;
    struct msg *ok; /* to its INVITE */
    struct dialog call;
};
struct watch {
    struct ua *a;
    struct dialog d;
};

/* The account calls the conference. False: a verdict stands. */
static bool join(struct test *t, struct member *m, int account, const char *headers) {
    *m = (struct member){ 0 };
    if (!t->run->conference) test_na(t, "conference (--conference names one)");
    m->a = ua_registered(t, account);
    m->ok = ua_ask(m->a, &(struct req){ .method = "INVITE",
                                        .uri = t->run->conference,
                                        .headers = headers,
                                        .body = sdp_offer });
    if (!t->verdict && !(m->ok && m->ok->status / 100 == 2))
        test_unclear(t, "%s does not take the call: %u", t->run->conference,
                     m->ok ? m->ok->status : 0);
    dialog_of(m->a, m->ok, true, &m->call);
    ua_send(m->a, &(struct req){ .method = "ACK", .in = &m->call });
    return !t->verdict;
}

static void leave(struct member *m) {
    (void)ua_ask(m->a, &(struct req){ .method = "BYE", .in = &m->call });
}

/* Its next document, answered; NULL: none in 4 s. */
static struct msg *document(struct ua *a) {
    struct msg *n = ua_wait(a, "NOTIFY", 4000);
    ua_reply(a, n, 200, NULL);
    return n && !n->body.len ? document(a) : n;
}

/* RFC 4579 5.1: to the URI of the focus. The first document, or NULL and a verdict. */
static struct msg *watch(struct test *t, struct watch *w, const struct member *m) {
    *w = (struct watch){ .a = ua_new(t, WIRE_BEST, 0) };
    struct msg *r = ua_ask(w->a, &(struct req){ .method = "SUBSCRIBE",
                                                .uri = text_of(t, m->call.target),
                                                .headers = PACKAGE "Expires: 300\r\n" });
    if (!t->verdict && (!r || r->status / 100 != 2))
        test_na(t, "conference events (SUBSCRIBE got %u)", r ? r->status : 0);
    dialog_of(w->a, r, true, &w->d);
    struct msg *n = document(w->a);
    if (!t->verdict && !n) test_unclear(t, "no NOTIFY with a document came");
    return t->verdict ? NULL : n;
}

static void unwatch(struct watch *w) {
    (void)ua_ask(
        w->a,
        &(struct req){ .method = "SUBSCRIBE", .in = &w->d, .headers = PACKAGE "Expires: 0\r\n" });
}

/* ---- documents: read only as far as a test needs --------------------------------------------- */

/* <conference-info ...>, whatever its prefix. */
static slice root(const struct msg *n) {
    slice s = slice_from(n->body, slice_find_slice(n->body, SLICE("conference-info")));
    return slice_head(s, slice_find(s, '>'));
}
static slice attribute(slice tag, const char *name) {
    size_t at = 0;
    for (slice s = tag; at < s.len; s = slice_from(s, at + 1)) {
        at = slice_find_slice(s, slice_str(name));
        slice v = slice_from(s, at + strlen(name));
        if (!at || at >= s.len || v.len < 2 || *v.ptr != '=' || !strchr(" \t\r\n", s.ptr[at - 1]))
            continue;
        char quote[2] = { v.ptr[1], 0 };
        v = slice_from(v, 2);
        return slice_head(v, slice_find(v, *quote));
    }
    return SLICE_NONE;
}
static bool version_of(const struct msg *n, uint32_t *out) {
    return slice_u32(attribute(root(n), "version"), UINT32_MAX, out) == ERR_OK;
}
static bool is_partial(const struct msg *n) {
    return is(attribute(root(n), "state"), "partial"); /* RFC 4575 6: its default is full */
}
static bool has_element(const struct msg *n, const char *name) {
    for (slice s = n->body; s.len; s = slice_from(s, 1)) {
        s = slice_from(s, slice_find_slice(s, slice_str(name)));
        if (!s.len) return false;
        bool starts = s.ptr > n->body.ptr && strchr("<:", s.ptr[-1]);
        slice rest = slice_from(s, strlen(name));
        if (starts && rest.len && strchr(" \t\r\n/>", *rest.ptr)) return true;
    }
    return false;
}

/* ---- the tests ------------------------------------------------------------------------------- */

/* RFC 4579 4.2 */
static void focus(struct test *t) {
    struct member m;
    if (!join(t, &m, 0, NULL)) return;
    leave(&m);
    MUST(t, m.ok->at, value_has(msg_header(m.ok, "Contact"), "isfocus"),
         "the Contact of the focus has no isfocus");
    PASS(t, m.ok->at);
}

/* RFC 4575 5.2: what changes is that somebody comes and goes. A whole document instead of a partial
 * one is right too, under a number that rises. */
static void versions(struct test *t) {
    struct member m, other;
    struct watch w;
    if (!join(t, &m, 0, NULL)) return;
    struct msg *n = watch(t, &w, &m);
    uint32_t before = 0, now = 0;
    OVER(t);
    MUST(t, n->at, !is_partial(n), "the first document is not full");
    MUST(t, n->at, version_of(n, &before), "the document has no version");
    static const char *const wanted[] = { "conference-description", "users" };
    for (unsigned i = 0; i < ARRAY_LEN(wanted); i++)
        MUST(t, n->at, has_element(n, wanted[i]), "the full document has no %s", wanted[i]);
    if (!join(t, &other, 1, NULL)) return;
    struct msg *change[2] = { document(w.a), NULL };
    leave(&other);
    change[1] = document(w.a);
    unwatch(&w);
    leave(&m);
    for (unsigned i = 0; i < 2; i++, before = now) {
        GIVEN(t, change[i], "no NOTIFY tells that somebody %s", i ? "left" : "joined");
        unsigned at = change[i]->at;
        MUST(t, at, version_of(change[i], &now), "the document has no version");
        MUST(t, at, is_partial(change[i]) ? now == before + 1 : now > before,
             "the version goes from %u to %u with a %s document", before, now,
             is_partial(change[i]) ? "partial" : "full");
    }
    PASS(t, change[1]->at);
}

/* RFC 4575 5.6, RFC 3323 4.2 */
static void privacy(struct test *t) {
    struct member m, shy;
    struct watch w;
    if (!join(t, &m, 0, NULL) || !watch(t, &w, &m)) return;
    if (!join(t, &shy, 1, "Privacy: user;id\r\n")) return;
    const char *aor = text(t, ":%s", ua_account(shy.a)->aor);
    unsigned shown = 0, hidden = 0;
    for (struct msg *n; !hidden && (n = document(w.a));) {
        if (has(n->body, aor) || has(n->body, ua_local(shy.a))) shown = n->at;
        if (has(n->body, ".invalid")) hidden = n->at;
    }
    leave(&shy);
    unwatch(&w);
    leave(&m);
    MUST(t, shown, !shown, "a participant who asked for privacy is shown");
    MUST(t, t->event_count, hidden, "no participant with an .invalid host appears");
    PASS(t, hidden);
}

AREA(server_meet, T(MEET_001, "focus", focus, .accounts = 1),
     T(MEET_002, "versions", versions, .accounts = 2),
     T(MEET_003, "privacy", privacy, .accounts = 2));
