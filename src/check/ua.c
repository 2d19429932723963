/* check/ua.c - the user agent: writing what a test asks for, waiting for what it wants. */
#include "check/ua.h"

#include "check/gate.h"
#include "check/link.h"
#include "check/media.h"
#include "check/phone.h"
#include "check/run.h"
#include "crypto/crypto.h"
#include <stdio.h>

#define KEPT_MAX 64u
#define PULSE_MS 100 /* for what was sent before the sign of life, over another connection */
#define T1_MS    500

struct ua {
    struct ua *next;
    struct test *t;
    struct link *link;
    const struct account *account;
    char local[300], contact[440], label[16];
    char tag[20], call_id[40], branch[48], method[32];
    unsigned cseq, nc;
    slice last;                                       /* the bytes of the last request */
    slice request_uri, top_via, routes, from, to, id; /* of the last INVITE, for its ACK */
    unsigned invite_cseq;
    struct msg *kept[KEPT_MAX];
    unsigned kept_count;
    bool bound;     /* registered: to be taken back */
    struct req bnc; /* how, as a PBX (RFC 6140) */
    bool borrowed;  /* the link is the phone's or the gate's, and lives on */
    bool at_gate;   /* a PBX in static mode: what comes to it comes in there */
};

struct test *ua_test(struct ua *a) {
    return a->t;
}
struct link *ua_link(struct ua *a) {
    return a->link;
}
const char *ua_local(struct ua *a) {
    return a->local;
}
const char *ua_contact(struct ua *a) {
    return a->contact;
}
const struct account *ua_account(struct ua *a) {
    return a->account;
}
slice ua_last(struct ua *a) {
    return a->last;
}
bool ua_verified(struct ua *a) {
    return a && a->link && a->link->verified;
}
const char *ua_tag(struct ua *a) {
    return a->tag;
}
const char *ua_last_branch(struct ua *a) {
    return a->branch;
}

const char *const wire_names[WIRE_COUNT] = { "UDP", "TCP", "TLS", "WSS" };

static void token(char *dst, size_t cap, const char *prefix) {
    uint8_t bytes[8];
    crypto_random(bytes, sizeof bytes);
    struct buf b = buf_over(dst, cap - 1);
    buf_put(&b, slice_str(prefix));
    buf_hex(&b, bytes, sizeof bytes);
    dst[b.len] = 0;
}

/* ---- making one --------------------------------------------------------------------------- */

static enum wire choose(struct test *t, enum wire w) {
    if (w == WIRE_BEST || w == WIRE_STREAM) {
        if (test_has(t, WIRE_TLS)) return WIRE_TLS;
        if (test_has(t, WIRE_WSS) && w == WIRE_BEST) return WIRE_WSS;
        if (test_has(t, WIRE_TCP) || w == WIRE_STREAM) return WIRE_TCP;
        return WIRE_UDP;
    }
    return w;
}

static void name_agent(struct ua *a) {
    static const char *const names[] = { "alice", "bob", "carol" };
    unsigned who = 0;
    while (who < ACCOUNTS_PER_TEST && a->t->accounts[who] != a->account) who++;
    unsigned n = 1;
    for (const struct ua *o = a->t->agents; o; o = o->next) n += o->account == a->account;
    const char *name = a->account && who < ACCOUNTS_PER_TEST ? names[who] : "nobody";
    (void)snprintf(a->label, sizeof a->label, n > 1 ? "%s-%u" : "%s", name, n);
}

static void leftovers(struct ua *a);

static struct ua *make(struct test *t, enum wire w, int account, const struct addr *to) {
    struct ua *a = arena_zalloc(&t->arena, sizeof *a);
    if (!a) test_unclear(t, "memory is short");
    if (t->verdict || !a) return NULL;
    a->t = t;
    a->account = account == NOBODY ? NULL : t->accounts[account];
    name_agent(a);
    if (t->run->phone && !to) {
        a->borrowed = true;
        a->link = phone_link(t->run);
        if (!a->link) test_unclear(t, "the phone went away, and did not come back in 40 s");
        if (!a->link) return NULL;
    } else if (t->run->gate && account != NOBODY) {
        a->borrowed = a->at_gate = true;
        if (!(a->link = gate_enter(t->run))) test_unclear(t, "memory is short");
        if (!a->link) return NULL;
    } else if (link_open_to(t->run, choose(t, w), to, &a->link) != ERR_OK) {
        test_unclear(t, "memory is short");
        return NULL;
    }
    a->next = t->agents;
    t->agents = a;
    if (a->link->fd < 0) {
        test_unclear(t, "%s", a->link->why);
        return NULL;
    }
    struct buf b = buf_over(a->local, sizeof a->local - 1);
    addr_put(&b, &a->link->local);
    if (a->link->wire == WIRE_WSS && !a->borrowed) { /* RFC 7118 8: a browser knows no address */
        token(a->local, sizeof a->local - 8, "");
        memcpy(a->local + strlen(a->local), ".invalid", 9);
    }
    if (a->at_gate) (void)snprintf(a->local, sizeof a->local, "%s", gate_place(t->run));
    static const char *const hints[] = { "", ";transport=tcp", ";transport=tcp", ";transport=ws" };
    /* where the phone shall reach us only TLS is spoken: the old hint that every phone knows */
    const char *hint =
        a->borrowed && a->link->wire == WIRE_TLS ? ";transport=tls" : hints[a->link->wire];
    (void)snprintf(a->contact, sizeof a->contact, "sip:%s@%s%s",
                   a->account ? a->account->user : "tester", a->local, hint);
    token(a->tag, sizeof a->tag, "");
    token(a->call_id, sizeof a->call_id, "c-");
    if (a->at_gate) leftovers(a);
    return a;
}

struct ua *ua_new(struct test *t, enum wire w, int account) {
    return make(t, w, account, NULL);
}

struct ua *ua_towards(struct test *t, const struct addr *to) {
    return make(t, WIRE_UDP, NOBODY, to);
}

struct ua *ua_other_family(struct test *t, int account) {
    enum wire w = choose(t, WIRE_STREAM);
    return make(t, w, account, &t->run->other[t->run->target.at[w].family == ADDR_V4]);
}

void ua_close(struct ua *a) {
    if (!a || !a->link) return;
    (void)test_note(a->t, "%s closes its connection", a->label);
    if (!a->borrowed) link_close(a->link);
    a->link = NULL;
}

/* ---- writing ------------------------------------------------------------------------------ */

static slice placeholder(struct ua *a, slice name, char mem[static 40]) {
    struct test *t = a->t;
    if (t->run->phone && is(name, "phone")) return slice_str(t->run->phone->contact);
    if (t->run->phone && is(name, "realm")) return uri_host(slice_str(t->run->phone->aor));
    if (t->run->phone && is(name, "aor")) return slice_str(t->run->phone->aor);
    if (is(name, "domain")) return slice_str(t->run->target.domain);
    if (is(name, "aor")) return slice_str(a->account ? a->account->aor : "");
    if (is(name, "user")) return slice_str(a->account ? a->account->user : "tester");
    if (is(name, "peer")) return slice_str(t->accounts[1] ? t->accounts[1]->aor : "");
    if (is(name, "third")) return slice_str(t->accounts[2] ? t->accounts[2]->aor : "");
    if (is(name, "n1")) return slice_str(t->run->numbers[0]);
    if (is(name, "n2")) return slice_str(t->run->numbers[1]);
    if (is(name, "local")) return slice_str(a->local);
    if (is(name, "contact")) return slice_str(a->contact);
    if (is(name, "wire") && a->link) return slice_str(wire_names[a->link->wire]);
    token(mem, 40, "");
    return is(name, "n") ? slice_str(mem) : SLICE_NONE;
}

static void fill(struct ua *a, struct buf *b, slice s) {
    char mem[40];
    while (s.len) {
        size_t open = slice_find(s, '{');
        buf_put(b, slice_head(s, open));
        s = slice_from(s, open);
        if (!s.len) return;
        size_t close = slice_find(s, '}');
        slice value = placeholder(a, slice_head(slice_from(s, 1), close - 1), mem);
        buf_put(b, value.ptr ? value : slice_head(s, close + 1));
        s = slice_from(s, close + 1);
    }
}

const char *ua_fill(struct ua *a, const char *s) {
    if (!a) return "";
    char mem[16384];
    struct buf b = buf_over(mem, sizeof mem);
    fill(a, &b, slice_str(s));
    return text_of(a->t, buf_slice(&b));
}

static const char *or_else(const char *a, const char *b) {
    return a ? a : b;
}

static bool leaves_out(const struct req *r, const char *name) {
    return r->without && is_i(slice_str(r->without), name);
}

#define LINE(name, ...)                                                                            \
    do {                                                                                           \
        if (!leaves_out(r, name)) {                                                                \
            char line_mem[4096];                                                                   \
            (void)snprintf(line_mem, sizeof line_mem, __VA_ARGS__);                                \
            buf_lit(b, name ": ");                                                                 \
            fill(a, b, slice_str(line_mem));                                                       \
            buf_lit(b, "\r\n");                                                                    \
        }                                                                                          \
    } while (0)

/* Via to CSeq: what every request has. */
static void put_identity(struct ua *a, struct buf *b, const struct req *r, const char *method,
                         const char *uri) {
    const struct dialog *d = r->in;
    if (r->via) {
        fill(a, b, slice_str(r->via));
    } else if (!leaves_out(r, "Via")) {
        buf_fmt(b, "Via: SIP/2.0/%s %s;branch=%s;rport\r\n", wire_names[a->link->wire], a->local,
                a->branch);
    }
    for (unsigned i = 0; d && i < d->route_count; i++)
        buf_fmt(b, "Route: " SLICE_FMT "\r\n", SLICE_ARG(d->routes[i]));
    const char *forwards = or_else(r->forwards, "70");
    if (*forwards) LINE("Max-Forwards", "%s", forwards);
    if (d && !r->from) {
        LINE("From", SLICE_FMT, SLICE_ARG(d->local));
    } else {
        const char *from = or_else(r->from, a->account ? "<sip:{aor}>" : "<sip:tester@{local}>");
        LINE("From", "%s;tag=%s", from, or_else(r->tag, a->tag));
    }
    if (d && !r->to) {
        LINE("To", SLICE_FMT, SLICE_ARG(d->remote));
    } else if (r->to) {
        LINE("To", "%s", r->to);
    } else {
        LINE("To", "<%s>", uri);
    }
    if (d && !r->call_id) {
        LINE("Call-ID", SLICE_FMT, SLICE_ARG(d->call_id));
    } else {
        LINE("Call-ID", "%s", or_else(r->call_id, a->call_id));
    }
    if (r->cseq) {
        LINE("CSeq", "%s", r->cseq);
    } else {
        LINE("CSeq", "%u %s", a->cseq, method);
    }
}

static bool has_contact(const char *method) {
    static const char *const with[] = { "INVITE", "REGISTER", "SUBSCRIBE",
                                        "REFER",  "UPDATE",   "NOTIFY" };
    for (unsigned i = 0; i < ARRAY_LEN(with); i++)
        if (is(slice_str(method), with[i])) return true;
    return false;
}

static const char *default_uri(const struct ua *a, const struct req *r, const char *method) {
    static const char *const to_server[] = { "OPTIONS", "REGISTER", "PUBLISH" };
    if (r->uri) return r->uri;
    if (a->t->run->phone) return "{phone}";
    for (unsigned i = 0; i < ARRAY_LEN(to_server); i++)
        if (is(slice_str(method), to_server[i])) return "sip:{domain}";
    return "sip:{peer}";
}

static void build(struct ua *a, struct buf *b, const struct req *r, const char *login) {
    const char *method = or_else(r->method, "OPTIONS");
    const char *uri = default_uri(a, r, method);
    if (r->in && !r->uri) uri = text_of(a->t, r->in->target);
    buf_fmt(b, "%s ", method);
    fill(a, b, slice_str(uri));
    buf_fmt(b, " %s\r\n", or_else(r->version, "SIP/2.0"));
    put_identity(a, b, r, method, uri);
    const char *contact = or_else(r->contact, has_contact(method) ? "<{contact}>" : "");
    if (*contact) LINE("Contact", "%s", contact);
    if (r->headers) fill(a, b, slice_str(r->headers));
    if (login) buf_put(b, slice_str(login));
    const char *body = or_else(r->body, "");
    if (*body && !r->type && a->t->run->role == ROLE_BROWSER) body = browser_sdp(a->t, body);
    if (*body) LINE("Content-Type", "%s", or_else(r->type, "application/sdp"));
    char length[24];
    (void)snprintf(length, sizeof length, "%zu", strlen(body));
    const char *said = or_else(r->length, length);
    if (*said) LINE("Content-Length", "%s", said);
    buf_lit(b, "\r\n");
    buf_put(b, slice_str(body));
}

/* The ACK of a refused INVITE repeats some of it: RFC 3261 17.1.1.3. */
void ua_again(struct ua *a, slice sent) {
    struct msg m;
    if (!a) return;
    msg_read(sent, &m);
    a->request_uri = m.uri;
    a->top_via = msg_header(&m, "Via");
    a->from = msg_header(&m, "From");
    a->to = msg_header(&m, "To");
    a->id = msg_header(&m, "Call-ID");
    a->invite_cseq = msg_cseq(&m);
    a->routes = msg_header(&m, "Route");
}

static void send_over(struct ua *a, struct link *l, slice bytes) {
    if (!l || l->fd < 0) {
        test_unclear(a->t, "the connection of %s is gone", a->label);
        return;
    }
    (void)test_event(a->t, '>', a->label, bytes);
    if (!link_send(a->t->run, l, bytes)) (void)test_note(a->t, "that could not be sent");
}

void ua_send_bytes(struct ua *a, slice bytes) {
    if (a && !a->t->verdict) send_over(a, a->link, bytes);
}

static void send_with(struct ua *a, const struct req *r, const char *login) {
    if (!a || a->t->verdict || !a->link) return;
    size_t room = 32768 + (r->body ? strlen(r->body) : 0) + (r->headers ? strlen(r->headers) : 0);
    char *mem = arena_alloc(&a->t->arena, room);
    if (!mem) {
        test_unclear(a->t, "memory is short");
        return;
    }
    struct buf b = buf_over(mem, room);
    bool ack = r->method && is(slice_str(r->method), "ACK");
    if (r->branch) {
        (void)snprintf(a->branch, sizeof a->branch, "%s", r->branch);
    } else {
        token(a->branch, sizeof a->branch, "z9hG4bK-");
    }
    if (r->in && !ack) {
        a->cseq = ++r->in->cseq;
    } else if (r->in) {
        a->cseq = a->invite_cseq;
    } else {
        a->cseq++;
    }
    if (r->raw) {
        fill(a, &b, slice_str(r->raw));
    } else {
        build(a, &b, r, login);
    }
    (void)snprintf(a->method, sizeof a->method, "%s", or_else(r->method, "OPTIONS"));
    a->last = buf_slice(&b);
    if (r->via || r->raw) { /* the test's own branch is what the answer will have */
        struct msg m;
        msg_read(a->last, &m);
        (void)!slice_cstr(value_param(msg_header(&m, "Via"), "branch"), a->branch,
                          sizeof a->branch);
    }
    if (is(slice_str(a->method), "INVITE")) ua_again(a, a->last);
    ua_send_bytes(a, a->last);
}

void ua_send(struct ua *a, const struct req *r) {
    send_with(a, r, NULL);
}

void ua_send_again(struct ua *a) {
    if (a) ua_send_bytes(a, a->last);
}

/* ACK or CANCEL of the last INVITE. */
static void follow_up(struct ua *a, const char *method, slice to) {
    ua_send_bytes(
        a, slice_str(text(a->t,
                          "%s " SLICE_FMT " SIP/2.0\r\nVia: " SLICE_FMT "\r\n%s" SLICE_FMT
                          "%sMax-Forwards: 70\r\nFrom: " SLICE_FMT "\r\nTo: " SLICE_FMT
                          "\r\nCall-ID: " SLICE_FMT "\r\nCSeq: %u %s\r\nContent-Length: 0\r\n\r\n",
                          method, SLICE_ARG(a->request_uri), SLICE_ARG(a->top_via),
                          a->routes.ptr ? "Route: " : "", SLICE_ARG(a->routes),
                          a->routes.ptr ? "\r\n" : "", SLICE_ARG(a->from), SLICE_ARG(to),
                          SLICE_ARG(a->id), a->invite_cseq, method)));
}

void ua_ack(struct ua *a, const struct msg *refusal) {
    if (a && refusal) follow_up(a, "ACK", msg_header(refusal, "To"));
}

void ua_cancel(struct ua *a) {
    if (a) follow_up(a, "CANCEL", a->to);
}

void ua_reply(struct ua *a, const struct msg *q, unsigned status, const struct rep *more) {
    if (!a || !q || a->t->verdict) return;
    const struct rep none = { 0 }, *r = more ? more : &none;
    char mem[16384];
    struct buf b = buf_over(mem, sizeof mem);
    buf_fmt(&b, "SIP/2.0 %u %s\r\n", status, or_else(r->reason, "Said By Tester"));
    for (unsigned i = 0; i < q->header_count; i++) {
        static const char *const copied[] = {
            "Via", "From", "Call-ID", "CSeq", "Record-Route", "To"
        };
        slice name = q->headers[i].name, value = q->headers[i].value;
        for (unsigned k = 0; k < ARRAY_LEN(copied); k++) {
            if (!is_i(name, copied[k]) || (r->without && is_i(name, r->without))) continue;
            if (k == 4 && (status == 100 || status >= 300)) continue;
            if (k == 0 && r->via) continue;
            buf_fmt(&b, "%s: " SLICE_FMT, copied[k], SLICE_ARG(value));
            if (k == 5 && status > 100 && !value_has(value, "tag"))
                buf_fmt(&b, ";tag=%s", or_else(r->to_tag, a->tag));
            buf_lit(&b, "\r\n");
        }
    }
    if (r->via) fill(a, &b, slice_str(r->via));
    const char *contact = or_else(
        r->contact, status < 300 && has_contact(text_of(a->t, q->method)) ? "<{contact}>" : "");
    if (*contact) {
        buf_lit(&b, "Contact: ");
        fill(a, &b, slice_str(contact));
        buf_lit(&b, "\r\n");
    }
    if (r->headers) fill(a, &b, slice_str(r->headers));
    const char *body = or_else(r->body, "");
    if (*body) buf_fmt(&b, "Content-Type: %s\r\n", or_else(r->type, "application/sdp"));
    buf_fmt(&b, "Content-Length: %zu\r\n\r\n", strlen(body));
    buf_put(&b, slice_str(body));
    send_over(a, q->over ? q->over : a->link, slice_str(text_of(a->t, buf_slice(&b))));
}

/* ---- waiting ------------------------------------------------------------------------------ */

static bool fits(const struct msg *m, const char *what) {
    slice rest = slice_str(what), first;
    if (!slice_split(&rest, ' ', &first)) return true;
    bool response = first.ptr[0] >= '1' && first.ptr[0] <= '9';
    if (is(first, "final")) {
        first = SLICE("2xx|3xx|4xx|5xx|6xx");
        response = true;
    } else if (is(first, "any")) {
        return true;
    }
    if (!response) return !m->status && slice_eq(m->method, first);
    return m->status && status_fits(m->status, first) &&
           (!rest.len || slice_eq(msg_cseq_method(m), rest));
}

/* The connection that brings the next whole message; NULL: none until then. */
static struct link *next_link(struct ua *a, int64_t until, size_t *size) {
    int64_t left = until - clock_ms();
    if (!a->link || a->link->fd < 0) return NULL;
    if (a->at_gate) return gate_message(a->t->run, until, size);
    return link_message(a->link, left < 0 ? 0 : left, size) ? a->link : NULL;
}

/* The next message of the connection, into the evidence; NULL: none until then. */
static struct msg *receive(struct ua *a, int64_t until) {
    size_t size;
    struct link *l = next_link(a, until, &size);
    if (!l) return NULL;
    slice raw = slice_of(l->in, size);
    unsigned at = test_event(a->t, '<', a->label, raw);
    if (a->t->run->phone && a->borrowed && slice_starts(raw, SLICE("REGISTER ")))
        phone_register(a->t->run, l, raw);
    link_drop(l, size);
    struct msg *m = arena_alloc(&a->t->arena, sizeof *m);
    if (!m || at == 0 || a->t->event_count == EVENTS_MAX) {
        test_unclear(a->t, "more messages came than the tester keeps");
        return NULL;
    }
    msg_read(a->t->events[at - 1].bytes, m);
    m->at = at;
    m->ms = a->t->events[at - 1].ms;
    if (a->at_gate) m->over = l; /* others have one, and may have lost it meanwhile */
    return m;
}

static struct msg *wait_for(struct ua *a, const char *what, int64_t until) {
    if (!a || a->t->verdict) return NULL;
    for (unsigned i = 0; i < a->kept_count; i++) {
        struct msg *m = a->kept[i];
        if (!fits(m, what)) continue;
        memmove(&a->kept[i], &a->kept[i + 1], (--a->kept_count - i) * sizeof *a->kept);
        return m;
    }
    for (struct msg *m; (m = receive(a, until));) {
        if (a->at_gate && m->status && !is(msg_header(m, "Call-ID"), a->call_id))
            continue; /* to what an earlier test asked over the same connection */
        if (fits(m, what)) return m;
        if (a->at_gate && is(m->method, "OPTIONS")) { /* the trunk looks whether its PBX is there */
            ua_reply(a, m, 200, NULL);
            continue;
        }
        if (a->kept_count < KEPT_MAX) a->kept[a->kept_count++] = m;
    }
    return NULL;
}

/* What came to a static PBX since the last test, or because of it, is no evidence of this one. */
static void leftovers(struct ua *a) {
    unsigned events = a->t->event_count;
    (void)wait_for(a, "none", clock_ms());
    a->kept_count = 0;
    a->t->event_count = events;
}

int64_t ua_until(const struct ua *a, int64_t ms) {
    return clock_ms() + (a ? ms * a->t->run->patience : ms);
}

struct msg *ua_next(struct ua *a, int64_t until) {
    return wait_for(a, "any", until);
}

struct msg *ua_wait(struct ua *a, const char *what, int64_t ms) {
    return wait_for(a, what, ua_until(a, ms));
}

unsigned ua_quiet(struct ua *a, const char *what, int64_t ms, struct msg **out) {
    struct msg *m = wait_for(a, what, clock_ms() + ms);
    /* A target that is busy with others is silent too: only once it has answered somebody who asked
     * after us, its silence is its will. */
    bool alive = a && !a->t->verdict && !m && !a->t->run->phone && run_pulse(a->t->run);
    if (alive) m = wait_for(a, what, clock_ms() + PULSE_MS);
    if (out) *out = m;
    if (!a || a->t->verdict || m) return 0;
    return test_note(a->t, "%s waited %lld ms%s: no \"%s\" came", a->label, (long long)ms,
                     alive ? " and for a sign of life" : "", what);
}

bool ua_is_closed(struct ua *a, int64_t ms) {
    if (!a || a->t->verdict || !a->link) return false;
    for (int64_t until = ua_until(a, ms); !a->link->closed && clock_ms() < until;) {
        struct msg *m = receive(a, until);
        if (m && a->kept_count < KEPT_MAX) a->kept[a->kept_count++] = m;
    }
    return a->link->closed;
}

unsigned ua_pongs(struct ua *a, int64_t ms) {
    if (!a || a->t->verdict || !a->link) return 0;
    unsigned before = a->link->pongs;
    for (int64_t until = ua_until(a, ms); a->link->pongs == before && clock_ms() < until;) {
        struct msg *m = receive(a, until < clock_ms() + 100 ? until : clock_ms() + 100);
        if (m && a->kept_count < KEPT_MAX) a->kept[a->kept_count++] = m;
    }
    return a->link->pongs - before;
}

/* The final answer to the last request; over UDP we repeat ourselves (RFC 3261 17.1). */
static struct msg *final_answer(struct ua *a) {
    int64_t until = ua_until(a, phone_patience(a->t->run)), gap = T1_MS, again = clock_ms() + gap;
    bool udp = a->link && a->link->wire == WIRE_UDP;
    while (!a->t->verdict) {
        struct msg *m = wait_for(a, "final", udp && again < until ? again : until);
        if (m && is(value_param(msg_header(m, "Via"), "branch"), a->branch)) return m;
        if (m) continue; /* of an older request */
        if (clock_ms() >= until || (a->link && a->link->closed)) return NULL;
        ua_send_again(a);
        again = clock_ms() + (gap *= 2);
    }
    return NULL;
}

/* ---- asking ------------------------------------------------------------------------------- */

/* The header line that answers the challenges of m, or NULL. The topmost one that we know counts
 * (RFC 8760 2.4). */
const char *ua_challenged(struct ua *a, const struct req *r, const struct msg *m) {
    if (!a->account || !*a->account->password || r->no_login) return NULL;
    if (m->status != 401 && m->status != 407) return NULL;
    if (!a->link->verified) {
        test_unclear(a->t, "credentials are not sent: the name of the target is not verified");
        return NULL;
    }
    const char *header = m->status == 401 ? "WWW-Authenticate" : "Proxy-Authenticate";
    const char *answer = m->status == 401 ? "Authorization" : "Proxy-Authorization";
    struct msg sent;
    msg_read(a->last, &sent);
    const struct login l = { a->method, text_of(a->t, sent.uri), a->account->password,
                             a->account->user, 1 };
    for (unsigned i = 0; i < m->header_count; i++) {
        if (!is_i(m->headers[i].name, header)) continue;
        const char *value = login_answer(a, m->headers[i].value, &l);
        if (value) return text(a->t, "%s: %s\r\n", answer, value);
    }
    return NULL;
}

struct msg *ua_ask(struct ua *a, const struct req *r) {
    if (!a) return NULL;
    const char *login = NULL;
    for (unsigned round = 0;; round++) {
        send_with(a, r, login);
        struct msg *m = final_answer(a);
        if (!m) return NULL;
        if (m->status >= 300 && is(msg_cseq_method(m), "INVITE")) ua_ack(a, m);
        const char *next = round < 2 ? ua_challenged(a, r, m) : NULL;
        if (a->t->verdict) return NULL;
        if (!next || r->cseq || r->raw) return m;
        login = login ? text(a->t, "%s%s", login, next) : next;
    }
}

struct msg *ua_register(struct ua *a, const struct req *more) {
    if (!a) return NULL;
    struct req r = more ? *more : (struct req){ 0 };
    r.method = "REGISTER";
    if (!r.to) r.to = "<sip:{aor}>";
    if (!r.headers) r.headers = "Expires: 120\r\n";
    struct msg *m = ua_ask(a, &r);
    if (m && m->status == 200 && !(r.contact && !*r.contact)) {
        a->bound = true;
        if (r.contact && has(slice_str(r.contact), ";bnc")) a->bnc = r;
    }
    if (!more && !a->t->verdict && (!m || m->status != 200))
        test_unclear(a->t, "%s cannot register: %u", a->label, m ? m->status : 0);
    return m;
}

struct ua *ua_registered(struct test *t, int account) {
    struct ua *a = ua_new(t, WIRE_BEST, account);
    (void)ua_register(a, NULL);
    return t->verdict ? NULL : a;
}

/* After the verdict, outside the evidence: calls with the phone are ended, bindings taken back. */
void ua_end(struct test *t) {
    unsigned events = t->event_count;
    enum verdict v = t->verdict;
    t->verdict = VERDICT_NONE;
    if (t->run->phone) phone_idle(t);
    for (struct ua *a = t->agents; a; a = a->next) {
        if (a->bound && a->link && a->link->fd >= 0 && !a->link->closed) {
            t->verdict = VERDICT_NONE;
            a->kept_count = 0;
            struct req r = a->bnc;
            r.method = "REGISTER";
            r.to = "<sip:{aor}>";
            r.contact = r.contact ? text(t, "%s;expires=0", r.contact) : NULL;
            if (!r.headers) r.headers = "Expires: 0\r\n";
            (void)ua_ask(a, &r);
        }
        if (!a->borrowed) link_close(a->link);
        a->link = NULL;
    }
    t->verdict = v;
    t->event_count = events;
}
