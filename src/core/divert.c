/* Calls that go to somebody else than was dialled: call forwarding, do-not-disturb, redirection by
 * a phone (3xx). RFC 7044 History-Info, RFC 7544 Diversion, RFC 3261 16.7 step 4, 21.1.3 (181).
 *
 *   who was dialled ──▶ person 0 ──busy, no answer, unreachable, always, 3xx──▶ person 1 ──▶ ...
 *
 * The last person's wishes count: his phones are being asked now. Nobody is asked twice in one
 * call, nor anybody whom the request's own history names, and after LIMIT_FORWARDS, those that
 * other servers made included, a call goes no further: so forwards never run in a circle. */
#include "core/core_priv.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/best.h"

#define PEOPLE_MAX (LIMIT_FORWARDS + 1)
#define INDEX_MAX                                                                                  \
    40u /* "1.1.1.2"; a longer one says nothing to anybody and gets no entry of ours */

struct person {
    uint32_t account_id; /* 0: of another domain */
    uint16_t cause; /* why the call came to him (RFC 4458): 302, 408, 486, 503; 0: he was dialled */
    uint16_t failed;  /* how it ended at him (the Reason of his entry), 0: not, or not yet */
    uint8_t from;     /* whose wish it was: index in people */
    bool is_redirect; /* a phone sent 3xx */
    uint16_t uri_len;
    char uri[USER_SETTINGS_URI_MAX]; /* where he was looked for; of person 0 the Request-URI */
};

struct divert {
    unsigned count;
    struct person people[PEOPLE_MAX];
    unsigned visited_count; /* named by the request's history */
    uint32_t visited[LIMIT_FORWARDS];
    unsigned before;       /* forwards that other servers have made */
    bool is_private;       /* Privacy: history: nothing is told of this call's way */
    bool has_first;        /* the request's last entry is person 0 */
    char index[INDEX_MAX]; /* of person 0; "": no entries */
    /* Of the person who is asked now: */
    bool has_rung, is_busy, is_silent;
    uint16_t best;        /* of the final responses of his phones; 0: none */
    uint32_t no_answer_s; /* 0: he has no wish about that */
};

/* ---- what the request tells of its way ---- */

static void note_visited(struct core *c, struct divert *d, slice uri_text) {
    struct sip_uri uri;
    struct callee callee;
    if (d->visited_count < LIMIT_FORWARDS && sip_uri_read(uri_text, &uri) == ERR_OK &&
        route_callee(c, &uri, &callee) == 0)
        d->visited[d->visited_count++] = callee.account.id;
}

/* RFC 7044 10.3: our entries go on where the last one ended; one that is missing is filled in. */
static void read_history(struct core *c, struct divert *d, const struct sip_msg *m) {
    struct hdr_values it = hdr_values_of(m, HDR_HISTORY_INFO);
    struct hdr_history h = { 0 };
    struct sip_uri uri = { 0 };
    struct buf index = buf_over(d->index, sizeof d->index - 1);
    bool has = false;
    for (slice v; hdr_values_next(&it, &v);) {
        slice cause;
        if (hdr_history(v, &h) != ERR_OK || sip_uri_read(h.addr.uri_text, &uri) != ERR_OK) continue;
        has = true;
        if (sip_uri_param(&uri, SLICE("cause"), &cause)) d->before++;
        if (!sip_uri_eq(&uri, &m->uri)) note_visited(c, d, h.addr.uri_text);
    }
    buf_put(&index, has ? h.index : SLICE("1"));
    slice plain = slice_head(uri.text, slice_find(uri.text, '?'));
    d->has_first = has && sip_uri_read(plain, &uri) == ERR_OK && sip_uri_eq(&uri, &m->uri);
    if (has && !d->has_first) buf_lit(&index, ".0.1");
    d->index[index.full ? 0 : index.len] = '\0';
}

/* RFC 5806 5.1: each value is a forward that somebody has made, or counts several. */
static void read_diversion(struct core *c, struct divert *d, const struct sip_msg *m) {
    struct hdr_values it = hdr_values_of(m, HDR_DIVERSION);
    unsigned before = 0;
    for (slice v; hdr_values_next(&it, &v);) {
        struct hdr_name_addr addr;
        slice counter;
        uint32_t n = 1;
        if (hdr_name_addr(v, &addr) != ERR_OK) continue;
        if (hdr_param(addr.params, SLICE("counter"), &counter) && hdr_u32(counter, &n) != ERR_OK)
            n = 1;
        before = n > LIMIT_FORWARDS - before ? LIMIT_FORWARDS : before + n;
        note_visited(c, d, addr.uri_text);
    }
    if (before > d->before) d->before = before;
}

/* ---- callers who withhold who they are ---- */

bool call_is_anonymous(const struct sip_msg *m) {
    unsigned privacy = 0;
    struct sip_uri from;
    if (m->method != SIP_INVITE) return false;
    if (hdr_privacy(m, &privacy) == ERR_OK && (privacy & (HDR_PRIVACY_ID | HDR_PRIVACY_USER)))
        return true;
    /* RFC 5079 3: the display name counts because RFC 3261 8.1.1.3 tells phones to write it. */
    if (slice_ieq(hdr_inner(m->from.display), SLICE("anonymous"))) return true;
    if (sip_uri_read(m->from.uri_text, &from) != ERR_OK) return false;
    slice end = SLICE(".anonymous.invalid");
    return slice_ieq(from.host, slice_from(end, 1)) ||
           (from.host.len > end.len &&
            slice_ieq(slice_from(from.host, from.host.len - end.len), end));
}

bool divert_refuses_anonymous(struct core *c, const struct account *account) {
    char mem[USER_SETTINGS_MAX];
    struct user_settings s = { 0 };
    return account->has_settings &&
           accounts_settings(c->node->accounts, account->id, mem, &s) == ERR_OK &&
           s.refuse_anonymous;
}

/* ---- the way of a call ---- */

/* RFC 7044 10.1.1: asked for by "history", and by "header" with it. */
static bool history_is_private(const struct sip_msg *m) {
    unsigned privacy = 0;
    return hdr_privacy(m, &privacy) != ERR_OK ||
           (privacy & (HDR_PRIVACY_HISTORY | HDR_PRIVACY_HEADER)) != 0;
}

static struct divert *divert_new(struct core *c, const struct sip_msg *m, uint32_t account_id) {
    struct divert *d = mem_zalloc(sizeof *d);
    if (!d) return NULL;
    d->count = 1;
    d->people[0].account_id = account_id;
    read_history(c, d, m);
    read_diversion(c, d, m);
    d->is_private = history_is_private(m);
    return d;
}

/* ---- who is next ---- */

static bool was_asked(const struct divert *d, uint32_t account_id) {
    for (unsigned i = 0; i < d->count; i++)
        if (d->people[i].account_id == account_id) return true;
    for (unsigned i = 0; i < d->visited_count; i++)
        if (d->visited[i] == account_id) return true;
    return false;
}

/* May the call go there, and to whom does it lead? *out 0: to another domain, which only calls of
 * our own people do: a domain vouches for its own callers (docs/federation.md). */
static bool person_find(struct core *c, const struct divert *d, const struct divert_call *call,
                        slice uri_text, uint32_t *out) {
    struct sip_uri uri;
    struct callee callee;
    if (sip_uri_read(uri_text, &uri) != ERR_OK) return false;
    unsigned status = route_callee(c, &uri, &callee);
    *out = status == 0 ? callee.account.id : 0;
    if (status == 0) return !callee.instance && !was_asked(d, callee.account.id);
    if (status != 403 || !call->sender) return false;
    if (call->is_sips && uri.scheme != URI_SIPS) return false; /* RFC 5630 5.3: never less secure */
    for (unsigned i = 1; i < d->count; i++)
        if (slice_eq(slice_of(d->people[i].uri, d->people[i].uri_len), uri_text)) return false;
    return true;
}

/* A person more; false: the call goes no further, or not to him. */
static bool person_add(struct core *c, struct divert *d, const struct divert_call *call,
                       slice uri_text, unsigned cause, unsigned from) {
    uint32_t account_id;
    if (uri_text.len > USER_SETTINGS_URI_MAX || d->count + d->before > LIMIT_FORWARDS ||
        !person_find(c, d, call, uri_text, &account_id)) {
        LOG(LOG_DEBUG, "forward.refused", LOG_F_U64("account", d->people[from].account_id));
        return false;
    }
    struct person *p = &d->people[d->count++];
    *p = (struct person){ .account_id = account_id,
                          .cause = (uint16_t)cause,
                          .from = (uint8_t)from,
                          .uri_len = (uint16_t)uri_text.len };
    memcpy(p->uri, uri_text.ptr, uri_text.len);
    d->has_rung = d->is_busy = d->is_silent = false;
    d->best = 0;
    return true;
}

/* The last person's wish for this case is carried out. RFC 4458: the cause of each. */
static bool person_forward(struct core *c, struct divert *d, const struct divert_call *call,
                           const struct user_settings *s, enum forward_when when) {
    static const uint16_t causes[FORWARD_COUNT] = { [FORWARD_ALWAYS] = 302,
                                                    [FORWARD_BUSY] = 486,
                                                    [FORWARD_NO_ANSWER] = 408,
                                                    [FORWARD_UNREACHABLE] = 503 };
    unsigned from = d->count - 1;
    if (!s->forward[when].len || !person_add(c, d, call, s->forward[when], causes[when], from))
        return false;
    if (when == FORWARD_BUSY || when == FORWARD_NO_ANSWER) d->people[from].failed = causes[when];
    return true;
}

/* The last person is another domain's: on behalf of whoever forwards to him. */
static unsigned foreign_target(struct core *c, const struct divert *d, struct target *out) {
    const struct person *p = &d->people[d->count - 1];
    struct sip_uri uri;
    const char *words;
    slice text = slice_of(p->uri, p->uri_len);
    slice own = peer_own_domain(c, d->people[p->from].account_id);
    if (sip_uri_read(text, &uri) != ERR_OK || peer_target(c, own, &uri, out, &words) != 0) return 0;
    out->request_uri = text;
    return 1;
}

/* The phones of the last person, or of whom his wishes lead to. 0: nobody can be asked. */
static unsigned person_targets(struct core *c, struct divert *d, const struct divert_call *call,
                               struct target out[static LIMIT_FORKS], const char **why) {
    for (;;) {
        char mem[USER_SETTINGS_MAX];
        struct user_settings s = { 0 };
        struct callee callee = { 0 };
        enum forward_when when = FORWARD_UNREACHABLE;
        uint32_t id = d->people[d->count - 1].account_id;
        *why = NULL;
        d->no_answer_s = 0;
        if (!id) return foreign_target(c, d, out);
        if (accounts_by_id(c->node->accounts, id, &callee.account) != ERR_OK) return 0;
        bool is_invite = call->msg->method == SIP_INVITE;
        if (is_invite && callee.account.has_settings &&
            accounts_settings(c->node->accounts, id, mem, &s) != ERR_OK)
            s = (struct user_settings){ 0 };
        if (s.refuse_anonymous && call->is_anonymous) return 0; /* nor does it go on from him */
        d->no_answer_s = s.forward[FORWARD_NO_ANSWER].len ? s.no_answer_s : 0;
        if (s.forward[FORWARD_ALWAYS].len && person_forward(c, d, call, &s, FORWARD_ALWAYS))
            continue;
        if (s.dnd) {
            *why = "Do not disturb";
            when = FORWARD_BUSY;
        } else {
            unsigned n = route_targets(c, call, &callee, out);
            if (n) return n;
        }
        if (!person_forward(c, d, call, &s, when)) return 0;
    }
}

/* ---- what the next phone is told ---- */

static slice person_uri(const struct divert *d, const struct sip_msg *m, unsigned i) {
    return i == 0 ? m->uri_text : slice_of(d->people[i].uri, d->people[i].uri_len);
}

static void put_index(struct buf *b, const struct divert *d, unsigned i) {
    buf_put(b, slice_str(d->index));
    /* RFC 7044 10.3 rules 2 to 4: what one server makes are brothers. */
    if (i) buf_fmt(b, ".%u", i);
}

static void put_entry(struct buf *b, const struct divert *d, const struct sip_msg *m, unsigned i) {
    const struct person *p = &d->people[i];
    slice uri = person_uri(d, m, i);
    buf_lit(b, "History-Info: <");
    buf_put(b, uri);
    if (p->cause && !slice_istarts(uri, SLICE("tel:"))) buf_fmt(b, ";cause=%u", p->cause);
    if (p->failed) buf_fmt(b, "?Reason=SIP%%3Bcause%%3D%u", p->failed);
    buf_lit(b, ">;index=");
    put_index(b, d, i);
    /* 10.4: for a 3xx only its sender knows how the target was found. */
    if (i && !p->is_redirect) {
        buf_lit(b, ";mp=");
        put_index(b, d, p->from);
    }
    buf_lit(b, "\r\n");
}

/* RFC 7544 7.3: the words of Diversion for the cause of the next entry. */
static const char *diversion_reason(unsigned cause) {
    switch (cause) {
    case 302:
        return "unconditional";
    case 486:
        return "user-busy";
    case 408:
        return "no-answer";
    case 503:
        return "unavailable";
    default:
        return "unknown";
    }
}

/* The way of the last person's call, into its targets. */
static void put_way(struct core *c, const struct divert *d, const struct sip_msg *m,
                    struct target *targets, unsigned n) {
    size_t room = m->uri_text.len * 2 + PEOPLE_MAX * (size_t)(2 * USER_SETTINGS_URI_MAX + 256);
    char *lines_mem = arena_alloc(&c->turn, room), *values_mem = arena_alloc(&c->turn, room);
    if (d->is_private || d->count == 1 || !lines_mem || !values_mem) return;
    struct buf lines = buf_over(lines_mem, room), values = buf_over(values_mem, room);
    if (d->index[0])
        for (unsigned i = d->has_first; i < d->count; i++) put_entry(&lines, d, m, i);
    /* RFC 5806 5.2: the latest first. */
    for (unsigned i = d->count - 1; i > 0; i = d->people[i].from) {
        if (values.len) buf_lit(&values, ", ");
        buf_byte(&values, '<');
        buf_put(&values, person_uri(d, m, d->people[i].from));
        buf_fmt(&values, ">;reason=%s;counter=1", diversion_reason(d->people[i].cause));
    }
    if (lines.full || values.full) return;
    for (unsigned i = 0; i < n; i++) {
        targets[i].lines = buf_slice(&lines);
        targets[i].diversion = buf_slice(&values);
    }
}

/* ---- the doors ---- */

unsigned divert_first(struct core *c, const struct divert_call *call, uint32_t account_id,
                      struct target out[static LIMIT_FORKS], struct divert **out_divert,
                      const char **why) {
    struct divert *d = divert_new(c, call->msg, account_id);
    *out_divert = NULL;
    if (!d) return 0;
    unsigned n = person_targets(c, d, call, out, why);
    if (n == 0) {
        mem_free(d);
        return 0;
    }
    put_way(c, d, call->msg, out, n);
    *out_divert = d;
    return n;
}

bool divert_is_forwarded(const struct divert *d) {
    return d->count > 1;
}

uint32_t divert_no_answer_s(const struct divert *d) {
    return d->no_answer_s;
}

void divert_note(struct context *x, unsigned status) {
    struct divert *d = x->divert;
    if (!d) return;
    if (status > 100 && status < 200) d->has_rung = true;
    if (status == 486) d->is_busy = true;
    if (status >= 300 && best_is_better(status, d->best)) d->best = (uint16_t)status;
}

void divert_silent(struct context *x) {
    if (x->divert) x->divert->is_silent = true;
}

/* What has become of the call at the last person; false: an answer that is final for everybody. */
static bool case_of(const struct divert *d, enum forward_when *out) {
    bool is_nobody = d->best == 408 || d->best == 430 || d->best == 480 || d->best == 503;
    if (d->is_busy)
        *out = FORWARD_BUSY;
    else if (d->is_silent || (is_nobody && d->has_rung))
        *out = FORWARD_NO_ANSWER;
    else if (is_nobody)
        *out = FORWARD_UNREACHABLE;
    else
        return false;
    return true;
}

/* The new targets join the context, which tells the caller (RFC 3261 21.1.3). */
static bool divert_go(struct core *c, struct context *x, const struct sip_msg *m,
                      struct target *targets, unsigned n) {
    put_way(c, x->divert, m, targets, n);
    if (context_add_targets(c, x, targets, n) != ERR_OK) return false;
    context_forwarded(c, x, m);
    return true;
}

static struct divert_call call_of(const struct context *x, const struct sip_msg *m) {
    return (struct divert_call){ .msg = m,
                                 .from = x->flow,
                                 .sender = x->account_id,
                                 .is_sips = m->uri.scheme == URI_SIPS,
                                 .is_anonymous = call_is_anonymous(m) };
}

bool divert_next(struct core *c, struct context *x) {
    struct target targets[LIMIT_FORKS];
    struct user_settings s;
    char mem[USER_SETTINGS_MAX];
    enum forward_when when;
    const char *why;
    struct divert *d = x->divert;
    if (!d || x->is_over || !case_of(d, &when) ||
        accounts_settings(c->node->accounts, d->people[d->count - 1].account_id, mem, &s) != ERR_OK)
        return false;
    const struct sip_msg *m = context_request(c, x);
    if (!m) return false;
    struct divert_call call = call_of(x, m);
    if (!person_forward(c, d, &call, &s, when)) return false;
    unsigned n = person_targets(c, d, &call, targets, &why);
    return n && divert_go(c, x, m, targets, n);
}

/* ---- redirection by a phone ---- */

/* The Contacts of a 3xx; 0: none, too many, or one that is not an address of ours. A response may
 * be passed back or followed, not half of each. */
static unsigned redirect_uris(struct core *c, const struct sip_msg *response,
                              slice out[static LIMIT_FORWARDS]) {
    struct hdr_values it = hdr_values_of(response, HDR_CONTACT);
    unsigned n = 0;
    for (slice v; hdr_values_next(&it, &v);) {
        struct hdr_contact contact;
        struct sip_uri uri;
        struct callee callee;
        if (n == LIMIT_FORWARDS || hdr_contact(v, &contact) != ERR_OK || contact.is_star ||
            sip_uri_read(contact.addr.uri_text, &uri) != ERR_OK || uri.headers.len ||
            route_callee(c, &uri, &callee) != 0)
            return 0;
        out[n++] = contact.addr.uri_text;
    }
    return it.bad ? 0 : n;
}

bool divert_redirect(struct core *c, struct context *x, const struct branch *b,
                     const struct sip_msg *response) {
    slice uris[LIMIT_FORWARDS];
    struct target targets[LIMIT_FORKS];
    bool is_followed = false;
    if (!node_settings(c->node)->recurse_own || x->is_in_dialog || x->is_over ||
        response->status > 302)
        return false;
    unsigned count = redirect_uris(c, response, uris);
    const struct sip_msg *m = count ? context_request(c, x) : NULL;
    if (!m) return false;
    if (!x->divert) x->divert = divert_new(c, m, b->to.account_id);
    struct divert *d = x->divert;
    for (unsigned i = 0; d && i < count; i++) {
        const char *why;
        unsigned from = d->count - 1;
        if (is_followed) from = d->people[from].from;
        struct divert_call call = call_of(x, m);
        if (!person_add(c, d, &call, uris[i], 302, from)) continue;
        d->people[from].failed = 302;
        d->people[d->count - 1].is_redirect = true;
        unsigned n = person_targets(c, d, &call, targets, &why);
        /* Now, beside those who are being asked: the phone has stepped aside for them. */
        for (unsigned k = 0; k < n; k++) targets[k].q = x->group_q;
        is_followed = (n && divert_go(c, x, m, targets, n)) || is_followed;
    }
    return is_followed;
}
