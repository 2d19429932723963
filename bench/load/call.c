/* load/call.c - a whole call between the two phones of a pair (RFC 3665 3.1). */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct text text_in(char *room, size_t max) {
    return (struct text){ room, 0, max, false };
}

/* An answer's first half: what RFC 3261 8.2.6.2 has us copy. */
static void answer_begin(struct text *t, uint32_t to_user, const char *start, struct span request,
                         uint32_t to_tag) {
    sip_begin(t, to_user, TAG_FORWARD, "SIP/2.0 %s", start);
    sip_copy(t, request, H_VIA | H_FROM | H_TO | H_CALL_ID | H_CSEQ | H_RECORD_ROUTE, to_tag);
}

static const char fingerprint[] =
    "4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:4A:AD:B9:B1:3F:82:18:3B:54:02:12:"
    "DF";

static void sdp(struct text *t, const char *setup, const char *address, uint32_t id) {
    char body[1024];
    int n = snprintf(body, sizeof body,
                     "v=0\r\no=- %u %u IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"
                     "m=audio 40122 UDP/TLS/RTP/SAVP 96 8 101\r\n"
                     "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 stereo=1;sprop-stereo=1\r\n"
                     "a=rtpmap:8 PCMA/8000\r\n"
                     "a=rtpmap:101 telephone-event/8000\r\n"
                     "a=fingerprint:sha-256 %s\r\n"
                     "a=setup:%s\r\na=rtcp-mux\r\na=sendrecv\r\n",
                     id, id, address, address, fingerprint, setup);
    text_printf(t, "Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", n, body);
}

static void contact(struct text *t, const struct phone *p) {
    char address[24];
    phone_address(p, address);
    if (p->gruu) {
        text_printf(t, "Contact: <%s>\r\n", p->gruu);
        return;
    }
    text_printf(t,
                "Contact: <sip:u%05u@%s:%u;transport=tls>;"
                "+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-%012x>\"\r\n",
                p->user, address, p->port, p->user);
}

/* One sender behind many connections: what it hears on one counts for all. */
static const char *overload(const struct load *l) {
    return l->takes_part ? ";oc;oc-algo=\"loss\"" : "";
}

static void own_headers_of(struct load *l, struct text *t, const struct call *c, const char *method,
                           uint32_t cseq, uint32_t apart) {
    char address[24];
    phone_address(c->caller, address);
    text_printf(t,
                "Via: SIP/2.0/TLS %s:%u;branch=z9hG4bK%08x%x;rport%s\r\nMax-Forwards: 70\r\n"
                "From: \"Caller\" <sip:u%05u@%.*s>;tag=%08x\r\n"
                "Call-ID: %08x%08x@%s\r\nCSeq: %u %s\r\n",
                address, c->caller->port, c->id, cseq + apart, overload(l), c->caller->user,
                (int)l->domain.n, l->domain.p, c->id, c->id, c->caller->user, address, cseq,
                method);
}

static void own_headers(struct load *l, struct text *t, const struct call *c, const char *method,
                        uint32_t cseq) {
    own_headers_of(l, t, c, method, cseq, method[0] == 'A' ? 16U : 0U);
}

bool call_start(struct load *l, uint32_t pair) {
    struct phone *a = &l->phones[2 * pair], *b = &l->phones[2 * pair + 1];
    if (a->state != PHONE_IDLE || b->state != PHONE_IDLE) {
        phone_fail(l, a, "a phone of this pair is not ready", span_of("", 0));
        return false;
    }
    struct call *c = calloc(1, sizeof *c);
    if (!c) abort();
    c->id = (uint32_t)clock_ns() ^ (pair << 17);
    c->caller = a;
    c->callee = b;
    c->target = text_in(c->room_target, sizeof c->room_target);
    c->to = text_in(c->room_to, sizeof c->room_to);
    c->routes = text_in(c->room_routes, sizeof c->room_routes);
    c->answer = text_in(c->room_answer, sizeof c->room_answer);
    c->regret = text_in(c->room_regret, sizeof c->room_regret);
    a->call = b->call = c;
    a->state = b->state = PHONE_CALL;
    char room[3072], address[24];
    struct text t = text_in(room, sizeof room);
    phone_address(a, address);
    if (b->gruu)
        sip_begin(&t, b->user, TAG_INVITE, "INVITE %s SIP/2.0", b->gruu);
    else
        sip_begin(&t, b->user, TAG_INVITE, "INVITE sip:u%05u@%.*s SIP/2.0", b->user,
                  (int)l->domain.n, l->domain.p);
    own_headers(l, &t, c, "INVITE", 1);
    text_printf(&t, "To: <sip:u%05u@%.*s>\r\n", b->user, (int)l->domain.n, l->domain.p);
    contact(&t, a);
    text_printf(&t, "Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,INFO,MESSAGE,UPDATE,REFER\r\n"
                    "Supported: gruu, outbound, replaces, norefersub\r\nUser-Agent: bench/1\r\n");
    sdp(&t, "actpass", address, c->id);
    return phone_send(l, a, &t);
}

void call_drop(struct load *l, struct phone *p) {
    (void)l;
    struct call *c = p->call;
    if (!c) return;
    c->caller->call = c->callee->call = NULL;
    struct phone *other = p == c->caller ? c->callee : c->caller;
    if (other->state == PHONE_CALL) other->state = PHONE_IDLE;
    offer_leave(c);
    free(c);
}

void call_free(struct call *c) {
    c->caller->state = c->callee->state = PHONE_IDLE;
    c->caller->call = c->callee->call = NULL;
    offer_leave(c);
    free(c);
}

bool call_bye(struct load *l, struct call *c) {
    char room[4096];
    struct text t = text_in(room, sizeof room);
    c->step = CALL_BYE;
    c->at_ns = clock_ns();
    sip_begin(&t, c->callee->user, TAG_FORWARD, "BYE %.*s SIP/2.0", (int)c->target.n, c->target.p);
    own_headers(l, &t, c, "BYE", 2);
    text_add(&t, span_of(c->to.p, c->to.n));
    text_add(&t, span_of(c->routes.p, c->routes.n));
    text_printf(&t, "User-Agent: bench/1\r\nContent-Length: 0\r\n\r\n");
    return phone_send(l, c->caller, &t);
}

/* RFC 3261 9.1, 17.1.1.3: CANCEL, and the ACK of a refusal, have the INVITE's Request-URI and
 * branch. */
static bool hop_request(struct load *l, struct call *c, const char *method, struct span to) {
    char room[3072];
    struct text t = text_in(room, sizeof room);
    sip_begin(&t, c->callee->user, TAG_FORWARD, "%s sip:u%05u@%.*s SIP/2.0", method,
              c->callee->user, (int)l->domain.n, l->domain.p);
    own_headers_of(l, &t, c, method, 1, 0);
    text_add(&t, to);
    text_printf(&t, "Content-Length: 0\r\n\r\n");
    return phone_send(l, c->caller, &t);
}

bool call_cancel(struct load *l, struct call *c) {
    char room[128];
    int n = snprintf(room, sizeof room, "To: <sip:u%05u@%.*s>\r\n", c->callee->user,
                     (int)l->domain.n, l->domain.p);
    c->given_up = true;
    return hop_request(l, c, "CANCEL", span_of(room, (size_t)n));
}

bool call_refused(struct load *l, struct call *c, struct span msg) {
    char room[512];
    struct text to = text_in(room, sizeof room);
    sip_copy(&to, msg, H_TO, 0);
    return !to.bad && hop_request(l, c, "ACK", span_of(to.p, to.n));
}

static void callee_request(struct load *l, struct phone *p, struct span msg) {
    struct call *c = p->call;
    char room[4096];
    struct text t = text_in(room, sizeof room);
    if (span_begins(msg, "INVITE ") && c->step == CALL_INVITED) {
        uint32_t tag = c->id ^ 0x5bd1e995U;
        char address[24];
        phone_address(p, address);
        answer_begin(&c->answer, c->caller->user, "200 OK", msg, tag);
        contact(&c->answer, p);
        text_printf(&c->answer, "Supported: gruu, outbound, replaces\r\nUser-Agent: bench/1\r\n");
        sdp(&c->answer, "active", address, c->id + 1);
        answer_begin(&t, c->caller->user, "180 Ringing", msg, tag);
        contact(&t, p);
        text_printf(&t, "User-Agent: bench/1\r\nContent-Length: 0\r\n\r\n");
        (void)phone_send(l, p, &t);
        answer_begin(&c->regret, c->caller->user, "487 Request Terminated", msg, tag);
        text_printf(&c->regret, "Content-Length: 0\r\n\r\n");
    } else if (span_begins(msg, "ACK ") && c->step == CALL_ANSWERED) {
        c->step = CALL_UP;
        if (l->job.kind == JOB_OFFER)
            offer_up(l, c);
        else
            (void)call_bye(l, c);
    } else if (span_begins(msg, "CANCEL ") && c->step <= CALL_RINGING) {
        answer_begin(&t, c->caller->user, "200 OK", msg, 0);
        text_printf(&t, "Content-Length: 0\r\n\r\n");
        if (phone_send(l, p, &t) && c->regret.n) {
            t = text_in(room, sizeof room);
            text_add(&t, span_of(c->regret.p, c->regret.n));
            (void)phone_send(l, p, &t);
        }
    } else if (l->job.kind == JOB_OFFER && !span_begins(msg, "BYE ")) {
        return; /* a CANCEL that crossed our answer, the ACK of a 487: the caller ends the call */
    } else if (span_begins(msg, "BYE ") && c->step == CALL_BYE) {
        c->step = CALL_ENDING;
        answer_begin(&t, c->caller->user, "200 OK", msg, 0);
        text_printf(&t, "User-Agent: bench/1\r\nContent-Length: 0\r\n\r\n");
        (void)phone_send(l, p, &t);
    } else {
        phone_fail(l, p, "a request out of step", msg);
    }
}

static void caller_answered(struct load *l, struct phone *p, struct span msg) {
    struct call *c = p->call;
    c->step = CALL_ANSWERED;
    text_add(&c->target, sip_uri(sip_header(msg, H_CONTACT)));
    sip_copy(&c->to, msg, H_TO, 0);
    sip_routes(&c->routes, msg);
    char room[4096];
    struct text t = text_in(room, sizeof room);
    sip_begin(&t, c->callee->user, TAG_FORWARD, "ACK %.*s SIP/2.0", (int)c->target.n, c->target.p);
    own_headers(l, &t, c, "ACK", 1);
    text_add(&t, span_of(c->to.p, c->to.n));
    text_add(&t, span_of(c->routes.p, c->routes.n));
    text_printf(&t, "User-Agent: bench/1\r\nContent-Length: 0\r\n\r\n");
    t.bad = t.bad || c->target.bad || c->to.bad || c->routes.bad || !c->target.n;
    (void)phone_send(l, p, &t);
}

static void caller_response(struct load *l, struct phone *p, struct span msg) {
    struct call *c = p->call;
    unsigned status = sip_status(msg);
    if (l->job.kind == JOB_OFFER && offer_response(l, p, msg)) return;
    if (status == 100) {
        c->trying = true;
    } else if (status == 180 && c->step == CALL_INVITED) {
        c->step = CALL_RINGING;
        (void)phone_send(l, c->callee, &c->answer);
    } else if (status == 200 && c->step == CALL_RINGING) {
        caller_answered(l, p, msg);
        if (l->job.kind == JOB_OFFER && p->call) offer_answered(l, c);
    } else if (status == 200 && c->step == CALL_ENDING) {
        bool whole = c->trying; /* a server that never sent 100 has done less work */
        if (l->job.kind == JOB_OFFER) {
            offer_done(l, c);
            return;
        }
        c->callee->state = PHONE_IDLE;
        p->state = PHONE_IDLE;
        c->caller->call = c->callee->call = NULL;
        free(c);
        if (whole)
            job_one_done(l, p);
        else
            phone_fail(l, p, "a call without 100", msg);
    } else {
        phone_fail(l, p, "a response out of step", msg);
    }
}

static bool is_of(const struct call *c, struct span msg) {
    char room[40];
    struct span id = sip_header(msg, H_CALL_ID);
    if (!c) return false;
    int n = snprintf(room, sizeof room, "%08x%08x@", c->id, c->caller->user);
    return id.n > (size_t)n && memcmp(id.p, room, (size_t)n) == 0;
}

void call_message(struct load *l, struct phone *p, struct span msg) {
    if (l->job.kind == JOB_OFFER && !is_of(p->call, msg))
        return; /* the ACK of a 487, an answer to a CANCEL: of a call that is over */
    if (!p->call)
        phone_fail(l, p, "a message without a call", msg);
    else if (sip_status(msg) && p == p->call->caller)
        caller_response(l, p, msg);
    else if (!sip_status(msg) && p == p->call->callee)
        callee_request(l, p, msg);
    else
        phone_fail(l, p, "a message to the wrong side", msg);
}
