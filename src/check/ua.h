/* check/ua.h - a user agent that says exactly what a test tells it to.
 *
 * An agent is one connection (or UDP socket) and, if it has one, an account. Requests are written
 * from a `struct req`: what is not named gets a right value. In every text {domain}, {aor}, {user}
 * (of this agent), {peer}, {third} (AoRs of the test's second and third account), {local}
 * (host:port of this side), {wire} (as in Via), {contact} and {n} (a fresh token each time) are
 * filled in; for a phone also {phone} (where it is called) and {realm}; for a trunk {n1} and {n2},
 * the numbers of the PBX.
 *
 * Lifetime: the test's. Threads: the test's own. Memory: the test's arena. */
#ifndef CHECK_UA_H
#define CHECK_UA_H

#include "check/msg.h"

/* BEST: TLS, else WSS, else TCP, else UDP, by what the target has. STREAM: TLS, else TCP. */
enum wire {
    WIRE_UDP,
    WIRE_TCP,
    WIRE_TLS,
    WIRE_WSS, /* RFC 7118: one message is one WebSocket message */
    WIRE_COUNT,
    WIRE_BEST = WIRE_COUNT,
    WIRE_STREAM
};
extern const char *const wire_names[WIRE_COUNT]; /* as in Via */
enum { NOBODY = -1 };
struct test;

struct dialog {                   /* as one side sees it */
    slice call_id, local, remote; /* From and To values with tags */
    slice target;
    slice routes[8];
    unsigned route_count;
    unsigned cseq;
};

struct req {
    const char *method;  /* OPTIONS */
    const char *uri;     /* sip:{domain}; INVITE and the like: sip:{peer} */
    const char *version; /* SIP/2.0 */
    const char *from;    /* the value without tag: <sip:{aor}> */
    const char *to;      /* the whole value: <uri> */
    const char *call_id, *tag, *branch;
    const char *cseq;     /* the whole value */
    const char *via;      /* the whole header lines */
    const char *forwards; /* Max-Forwards; "" leaves it out */
    const char *contact;  /* the whole value; "" leaves it out */
    const char *headers;  /* further lines, each with CRLF */
    const char *type, *body;
    const char *length;  /* Content-Length as written; "" leaves it out */
    const char *without; /* one header that is left out */
    const char *raw;     /* all of it; nothing above counts */
    bool no_login;       /* a challenge is the answer */
    struct dialog *in;   /* a request of this dialog */
};

struct ua;
struct link;
/* account: 0, 1, 2 of those the test leased, or NOBODY. */
struct ua *ua_new(struct test *t, enum wire w, int account);
struct addr;
/* A UDP socket that talks to this address, not to the target: the peer of a relay test. */
struct ua *ua_towards(struct test *t, const struct addr *to);
/* Over the stream transport of the target, at its address of the other IP family. */
struct ua *ua_other_family(struct test *t, int account);
struct ua *ua_registered(struct test *t, int account); /* over WIRE_BEST; unclear if refused */
struct test *ua_test(struct ua *a);
struct link *ua_link(struct ua *a);
const char *ua_local(struct ua *a);   /* host:port */
const char *ua_contact(struct ua *a); /* the URI */
const struct account *ua_account(struct ua *a);
const char *ua_last_branch(struct ua *a);
const char *ua_tag(struct ua *a);
slice ua_last(struct ua *a); /* the bytes of the last request */
void ua_close(struct ua *a); /* the connection goes away, without a word */
const char *ua_fill(struct ua *a, const char *text);

/* Sends and waits (4 s) for the final answer; a challenge is answered if the agent has an account
 * (unless no_login); a refused INVITE is acknowledged. NULL: no answer. */
struct msg *ua_ask(struct ua *a, const struct req *r);
/* The same for REGISTER: To, From and Request-URI fit, Contact is {contact}, Expires 120. */
struct msg *ua_register(struct ua *a, const struct req *more);
void ua_send(struct ua *a, const struct req *r);
void ua_send_bytes(struct ua *a, slice bytes);
void ua_send_again(struct ua *a);                     /* the very bytes of the last request */
void ua_ack(struct ua *a, const struct msg *refusal); /* of the last INVITE */
void ua_cancel(struct ua *a);                         /* the same */
void ua_again(struct ua *a, slice invite);            /* makes these bytes the last INVITE */
/* Waits for a request "INVITE", or a response "2xx", "1xx INVITE", "final". What does not fit is
 * kept for later. NULL: none came in `ms`; ms 0: only what is there. */
struct msg *ua_wait(struct ua *a, const char *what, int64_t ms);
/* The next message of any kind until this time of clock_ms(). NULL: none. */
struct msg *ua_next(struct ua *a, int64_t until);
int64_t ua_until(const struct ua *a, int64_t ms); /* now + ms, times --patience */
/* Waits `ms` and until the target shows a sign of life, in which nothing that fits may come: then
 * the number of that piece of evidence. If something came: 0 and *out. */
unsigned ua_quiet(struct ua *a, const char *what, int64_t ms, struct msg **out);
bool ua_is_closed(struct ua *a, int64_t ms); /* does the other side close within ms? */
unsigned ua_pongs(struct ua *a, int64_t ms); /* single CRLFs that came, after waiting ms */

struct rep { /* a response; what is not named is copied from the request */
    const char *reason, *to_tag, *contact, *headers, *type, *body, *via;
    const char *without;
};
void ua_reply(struct ua *a, const struct msg *request, unsigned status, const struct rep *more);
/* The dialog that this response made; for the side that asked, or (of its own) that answered. */
void dialog_of(struct ua *a, const struct msg *response, bool asked, struct dialog *out);
/* The dialog of the side that is called: its tag stands in the answer that it sends. */
void dialog_taken(struct ua *b, const struct msg *in, const struct rep *more, struct dialog *out);

/* The runner's: calls with a phone are ended, bindings taken back, connections closed. */
void ua_end(struct test *t);

bool ua_verified(struct ua *a); /* may credentials go over its connection? */
/* The header line that answers the challenge m to the last request; NULL: none, or none that we
 * can answer. */
const char *ua_challenged(struct ua *a, const struct req *r, const struct msg *m);

/* The value of Authorization or Proxy-Authorization for this challenge; NULL if it cannot be. */
struct login {
    const char *method, *uri, *password, *user;
    unsigned nc;
};
const char *login_answer(struct ua *a, slice challenge, const struct login *l);

/* ---- a call from account 0 to account 1 ---------------------------------------------------- */
extern const char sdp_offer[], sdp_answer[]; /* with DTLS keys, so that no policy refuses them */
struct call {
    struct ua *a, *b;
    struct msg *in;  /* the INVITE as b got it */
    struct msg *out; /* the last response that a got */
    struct msg *ack; /* as b got it */
    struct dialog da, db;
};
/* Both register, a sends INVITE (with what `more` says), b gets it. Unclear if it does not. */
bool call_ring(struct test *t, struct call *c, const struct req *more);
bool call_answer(struct test *t, struct call *c, const struct rep *more); /* 200 and ACK */
bool call_up(struct test *t, struct call *c);                             /* both */
void call_end(struct test *t, struct call *c);                            /* BYE by a */
/* The same for INVITEs between agents that exist; gives the INVITE as b got it. */
struct msg *call_between(struct ua *a, struct ua *b, const struct req *more);
/* a asks outside a call, b gets it: for MESSAGE and the like. */
struct msg *ask_through(struct ua *a, struct ua *b, const struct req *r);
/* Sends; if a challenge comes within 1 s, answers it. */
void send_logged_in(struct ua *a, const struct req *r);
/* The same where a refusal is what the test looks for: it fails, and is not unclear. */
struct msg *must_reach(struct ua *a, struct ua *b, const struct req *r);

#endif
