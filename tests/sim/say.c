/* What a phone writes, and its transactions: RFC 3261 8.1.1, 9.1, 17, 22. */
#include "sim.h"

#include "auth/digest.h"
#include "base/mem.h"
#include <stdio.h>

#define T1_MS      500
#define T2_MS      4000
#define T64_MS     32000
#define LINGER_MS  40000  /* an answered transaction is kept, so that a second answer is seen */
#define INVITE_MAX 20000  /* beyond timer C: 8 s of ringing and the network */
#define PENDING_MS 300000 /* an INVITE that rings: timer C ends it */

void put_text(char *dst, size_t dst_len, slice s) {
    size_t n = s.len < dst_len ? s.len : dst_len - 1;
    if (n) memcpy(dst, s.ptr, n);
    dst[n] = 0;
}

static uint64_t fresh(struct phone *p) {
    return dice_next(&p->dice) & 0xffffffffff;
}

/* ---- bodies ---- */

#define KEYS                                                                                       \
    "a=fingerprint:SHA-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:"  \
    "77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:actpass\r\n"
#define CRYPTO                                                                                     \
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\r\n"

static void put_body(struct buf *b, const struct phone *p, enum body body) {
    char mem[768];
    struct buf t = buf_over(mem, sizeof mem);
    if (body == BODY_NONE) {
        buf_lit(b, "Content-Length: 0\r\n\r\n");
        return;
    }
    if (body == BODY_TEXT) {
        buf_lit(b, "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi");
        return;
    }
    buf_fmt(&t, "v=0\r\no=p%u 1 1 IN IP4 192.0.2.99\r\ns=-\r\nc=IN IP4 192.0.2.99\r\nt=0 0\r\n",
            p->index);
    if (body == BODY_DTLS)
        buf_lit(&t, "m=audio 40000 UDP/TLS/RTP/SAVPF 96\r\n" KEYS);
    else if (body == BODY_SDES)
        buf_lit(&t, "m=audio 40000 RTP/SAVP 0\r\n" CRYPTO);
    else
        buf_lit(&t, "m=audio 40000 RTP/AVP 0\r\n");
    buf_fmt(b, "Content-Type: application/sdp\r\nContent-Length: %zu\r\n\r\n", t.len);
    buf_put(b, buf_slice(&t));
}

/* ---- credentials ---- */

void say_learn_challenge(struct phone *p, const struct sip_msg *m) {
    struct hdr_auth a;
    struct challenge *c = &p->challenge;
    bool is_proxy = m->status == 407;
    slice v = sip_value(m, is_proxy ? HDR_PROXY_AUTHENTICATE : HDR_WWW_AUTHENTICATE);
    if (hdr_auth(v, &a) != ERR_OK) return;
    *c = (struct challenge){ .is_there = true, .is_proxy = is_proxy };
    put_text(c->realm, sizeof c->realm, a.realm);
    put_text(c->nonce, sizeof c->nonce, a.nonce);
    put_text(c->algorithm, sizeof c->algorithm, a.algorithm.len ? a.algorithm : SLICE("MD5"));
}

static void put_credentials(struct sim *s, struct buf *b, struct phone *p, slice method,
                            const char *uri) {
    struct challenge *c = &p->challenge;
    const char *user = s->people[p->person].user;
    enum digest_algorithm algorithm =
        slice_ieq(slice_str(c->algorithm), SLICE("SHA-256"))       ? DIGEST_SHA256
        : slice_ieq(slice_str(c->algorithm), SLICE("SHA-512-256")) ? DIGEST_SHA512_256
                                                                   : DIGEST_MD5;
    char nc[16];
    uint8_t ha1[32], response[32];
    (void)snprintf(nc, sizeof nc, "%08x", ++c->nc);
    digest_ha1(algorithm, slice_str(user), slice_str(c->realm), slice_str(p->secret), ha1);
    digest_response(algorithm, ha1,
                    &(struct digest_answer){ .method = method,
                                             .uri = slice_str(uri),
                                             .nonce = slice_str(c->nonce),
                                             .nc = slice_str(nc),
                                             .cnonce = SLICE("cn") },
                    response);
    buf_fmt(b, "%sAuthorization: Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", ",
            c->is_proxy ? "Proxy-" : "", user, c->realm, c->nonce, uri);
    buf_lit(b, "response=\"");
    buf_hex(b, response, digest_len(algorithm));
    buf_fmt(b, "\", algorithm=%s, cnonce=\"cn\", qop=auth, nc=%s\r\n", c->algorithm, nc);
}

/* ---- requests ---- */

static void put_via(struct buf *b, const struct phone *p, const char *branch) {
    static const char *const names[] = { "UDP", "TCP", "TLS", "WSS" };
    buf_fmt(b, "Via: SIP/2.0/%s ", names[p->transport]);
    addr_put(b, &p->addr);
    buf_fmt(b, ";branch=%s%s\r\n", branch, p->transport == FLOW_UDP ? ";rport" : "");
}

static void put_routes(struct buf *b, const struct call *c) {
    for (unsigned i = 0; i < c->route_count; i++) buf_fmt(b, "Route: %s\r\n", c->routes[i]);
}

static bool has_contact(enum sip_method method) {
    return method == SIP_INVITE || method == SIP_UPDATE;
}

static void put_request(struct sim *s, struct buf *b, struct phone *p, const struct ask *a,
                        const char *branch, bool has_credentials) {
    const struct call *c = a->call == NOBODY ? NULL : &p->calls[a->call];
    slice method = sip_method_text(a->method);
    buf_fmt(b, SLICE_FMT " %s SIP/2.0\r\n", SLICE_ARG(method), a->uri);
    put_via(b, p, branch);
    buf_lit(b, "Max-Forwards: 70\r\n");
    if (c) put_routes(b, c);
    buf_fmt(b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %u " SLICE_FMT "\r\n", a->from, a->to,
            a->call_id, a->cseq, SLICE_ARG(method));
    if (has_contact(a->method)) buf_fmt(b, "Contact: <%s>\r\n", p->gruu[0] ? p->gruu : p->contact);
    if (has_credentials) put_credentials(s, b, p, method, a->uri);
    buf_fmt(b, "Sim-Phone: %02u\r\n%s", p->index, a->extra);
    put_body(b, p, a->body);
}

static struct uac *uac_new(struct phone *p, mono_t now) {
    struct uac *oldest = NULL;
    for (unsigned i = 0; i < UAC_MAX; i++) {
        struct uac *u = &p->uac[i];
        if (!u->is_used) return u;
        if (u->has_final && (!oldest || u->end_at < oldest->end_at)) oldest = u;
    }
    (void)now;
    return oldest; /* only for a second answer it would have been kept */
}

static void uac_open(struct sim *s, struct phone *p, struct uac *u, const struct ask *a,
                     const char *branch, slice bytes) {
    const struct call *c = a->call == NOBODY ? NULL : &p->calls[a->call];
    const struct conn *conn = net_conn(s, p);
    mem_free(u->packet);
    *u = (struct uac){ .is_used = true, .ask = *a, .cseq = a->cseq, .began = s->now.mono };
    u->packet = packet_new(bytes);
    put_text(u->branch, sizeof u->branch, slice_str(branch));
    u->call_gen = c ? c->gen : 0;
    u->conn_gen = conn ? conn->gen : 0;
    u->node_epoch = s->servers[p->node].epoch;
    u->breadth = a->breadth ? a->breadth : LIMIT_MAX_BREADTH;
    u->is_on_udp = p->transport == FLOW_UDP;
    u->interval = T1_MS;
    u->again_at = u->is_on_udp ? s->now.mono + T1_MS : MONO_NEVER;
    u->end_at = s->now.mono + T64_MS;
    if (a->method == SIP_INVITE)
        u->end_at += (int64_t)s->plan.timer_c_s * 1000 + T64_MS + INVITE_MAX;
}

static struct uac *say(struct sim *s, struct phone *p, const struct ask *a, bool has_credentials) {
    char mem[MESSAGE_MAX], branch[40];
    struct buf b = buf_over(mem, sizeof mem);
    struct uac *u = uac_new(p, s->now.mono);
    (void)snprintf(branch, sizeof branch, "z9hG4bKp%u-%llx", p->index,
                   (unsigned long long)fresh(p));
    put_request(s, &b, p, a, branch, has_credentials);
    ASSERT(!b.full);
    if (!u || !net_from_phone(s, p, buf_slice(&b))) return NULL;
    uac_open(s, p, u, a, branch, buf_slice(&b));
    phone_rearm(p);
    return u;
}

struct uac *say_request(struct sim *s, struct phone *p, const struct ask *a) {
    return say(s, p, a, false);
}

bool say_again(struct sim *s, struct phone *p, const struct uac *u) {
    struct ask a = u->ask;
    struct call *c = a.call == NOBODY ? NULL : &p->calls[a.call];
    if (++a.tries > 4) return false;
    if (c) {
        a.cseq = ++c->cseq;
        if (a.method == SIP_INVITE) c->invite_cseq = a.cseq;
    } else {
        a.cseq = a.method == SIP_REGISTER ? ++p->reg_cseq : a.cseq + 1;
    }
    return say(s, p, &a, true) != NULL;
}

struct ask ask_in_call(const struct phone *p, struct call *c, enum sip_method method) {
    struct ask a = { .method = method, .call = call_index(p, c), .cseq = ++c->cseq };
    put_text(a.uri, sizeof a.uri, slice_str(c->target));
    put_text(a.from, sizeof a.from, slice_str(c->local));
    put_text(a.to, sizeof a.to, slice_str(c->remote));
    put_text(a.call_id, sizeof a.call_id, slice_str(c->call_id));
    return a;
}

/* ---- ACK and CANCEL ---- */

void say_ack(struct sim *s, struct phone *p, struct call *c, uint32_t cseq, enum body body) {
    char mem[MESSAGE_MAX], branch[40];
    struct buf b = buf_over(mem, sizeof mem);
    struct ask a = ask_in_call(p, c, SIP_ACK);
    c->cseq--; /* RFC 3261 13.2.2.4: the number of its INVITE */
    a.cseq = cseq;
    a.body = body;
    (void)snprintf(branch, sizeof branch, "z9hG4bKa%u-%llx", p->index,
                   (unsigned long long)fresh(p));
    put_request(s, &b, p, &a, branch, false);
    ASSERT(!b.full);
    (void)net_from_phone(s, p, buf_slice(&b));
}

/* RFC 3261 9.1, 17.1.1.3: made from the INVITE: its Via, Route, From, Call-ID. */
static void say_of_invite(struct sim *s, struct phone *p, const struct uac *u, const char *method,
                          slice to) {
    static struct sip_msg invite;
    char mem[MESSAGE_MAX];
    struct buf b = buf_over(mem, sizeof mem);
    if (sip_msg_read(&invite, packet_slice(u->packet), SIP_DATAGRAM).err != ERR_OK) return;
    buf_fmt(&b, "%s %s SIP/2.0\r\n", method, u->ask.uri);
    static const enum sip_header_id ids[] = { HDR_VIA, HDR_MAX_FORWARDS, HDR_ROUTE, HDR_FROM,
                                              HDR_CALL_ID };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        for (const struct sip_header *h = sip_first(&invite, ids[i]); h; h = sip_next(&invite, h))
            buf_put(&b, h->line);
    buf_lit(&b, "To: ");
    buf_put(&b, to);
    buf_fmt(&b, "\r\nCSeq: %u %s\r\nSim-Phone: %02u\r\nContent-Length: 0\r\n\r\n", u->cseq, method,
            p->index);
    ASSERT(!b.full);
    (void)net_from_phone(s, p, buf_slice(&b));
}

void say_ack_refusal(struct sim *s, struct phone *p, const struct uac *u, const struct sip_msg *m) {
    say_of_invite(s, p, u, "ACK", m->to.value);
}

void say_cancel(struct sim *s, struct phone *p, struct uac *u) {
    u->is_cancel_sent = true;
    s->counts.cancels++;
    say_of_invite(s, p, u, "CANCEL", slice_str(u->ask.to));
}

/* ---- answers ---- */

static struct uas *uas_new(struct phone *p) {
    struct uas *oldest = NULL;
    for (unsigned i = 0; i < UAS_MAX; i++) {
        struct uas *t = &p->uas[i];
        if (!t->is_used) return t;
        if (!oldest || t->end_at < oldest->end_at) oldest = t;
    }
    return oldest;
}

static struct uas *uas_open(struct sim *s, struct phone *p, const struct sip_msg *m) {
    struct uas *t = uas_new(p);
    mem_free(t->packet);
    mem_free(t->request);
    *t = (struct uas){ .is_used = true, .method = m->method, .cseq = m->cseq, .call = NOBODY };
    put_text(t->branch, sizeof t->branch, m->via.branch);
    put_text(t->call_id, sizeof t->call_id, m->call_id);
    t->request = packet_new(m->all);
    t->began = s->now.mono;
    t->is_initial = !m->to.tag.len;
    slice below;
    struct sip_via via;
    struct hdr_values it = hdr_values_of(m, HDR_VIA);
    if (hdr_values_next(&it, &below) && hdr_values_next(&it, &below) &&
        sip_via_read(below, &via) == ERR_OK)
        put_text(t->origin, sizeof t->origin, via.branch);
    const struct conn *conn = net_conn(s, p);
    t->conn_gen = conn ? conn->gen : 0;
    if (hdr_u32_of(m, HDR_MAX_BREADTH, &t->breadth) != ERR_OK) t->breadth = 0;
    t->again_at = MONO_NEVER;
    t->end_at = s->now.mono + LINGER_MS;
    return t;
}

static void copy_lines(struct buf *b, const struct sip_msg *m, enum sip_header_id id) {
    for (const struct sip_header *h = sip_first(m, id); h; h = sip_next(m, h)) buf_put(b, h->line);
}

static void put_reply(struct buf *b, const struct phone *p, const struct sip_msg *m,
                      unsigned status, const struct call *c, enum body body) {
    buf_fmt(b, "SIP/2.0 %u " SLICE_FMT "\r\n", status, SLICE_ARG(sip_status_text(status)));
    copy_lines(b, m, HDR_VIA);
    if (status > 100 && status < 300) copy_lines(b, m, HDR_RECORD_ROUTE);
    copy_lines(b, m, HDR_FROM);
    buf_lit(b, "To: ");
    buf_put(b, m->to.value);
    if (!m->to.tag.len && status > 100) buf_fmt(b, ";tag=%s", c ? c->local_tag : "none");
    buf_lit(b, "\r\n");
    copy_lines(b, m, HDR_CALL_ID);
    copy_lines(b, m, HDR_CSEQ);
    if (status > 100 && status < 300 && has_contact(m->method))
        buf_fmt(b, "Contact: <%s>\r\n", p->gruu[0] ? p->gruu : p->contact);
    if (c && c->rseq && status > 100 && status < 200)
        buf_fmt(b, "Require: 100rel\r\nRSeq: %u\r\n", c->rseq);
    if (status == 302) buf_lit(b, "Contact: <sip:elsewhere@other.example>\r\n");
    buf_fmt(b, "Sim-Phone: %02u\r\n", p->index);
    put_body(b, p, body);
}

void say_reply_to(struct sim *s, struct phone *p, struct uas *t, unsigned status, struct call *c,
                  enum body body) {
    static struct sip_msg request;
    char mem[MESSAGE_MAX];
    struct buf b = buf_over(mem, sizeof mem);
    if (sip_msg_read(&request, packet_slice(t->request), SIP_DATAGRAM).err != ERR_OK) return;
    put_reply(&b, p, &request, status, c, body);
    ASSERT(!b.full);
    mem_free(t->packet);
    t->packet = packet_new(buf_slice(&b));
    if (c || request.to.tag.len)
        put_text(t->local_tag, sizeof t->local_tag,
                 request.to.tag.len ? request.to.tag : slice_str(c->local_tag));
    t->status = status;
    t->is_final = status >= 200;
    t->is_unkeyed = t->is_unkeyed || body == BODY_PLAIN;
    bool is_repeated = t->is_final && t->method == SIP_INVITE &&
                       (status < 300 || p->transport == FLOW_UDP); /* 13.3.1.4, 17.2.1 */
    t->interval = T1_MS;
    t->again_at = is_repeated ? s->now.mono + T1_MS : MONO_NEVER;
    t->end_at = s->now.mono + (t->is_final ? LINGER_MS : PENDING_MS);
    (void)net_from_phone(s, p, buf_slice(&b));
    phone_rearm(p);
}

struct uas *say_reply(struct sim *s, struct phone *p, const struct sip_msg *m, unsigned status,
                      struct call *c, enum body body) {
    struct uas *t = uas_open(s, p, m);
    if (c) {
        t->call = call_index(p, c);
        t->call_gen = c->gen;
    }
    say_reply_to(s, p, t, status, c, body);
    return t;
}
