/* Those who do not keep the rules. A nasty phone has an account and a device like anybody; a
 * stranger has nothing. Both are given at worst what a phone or its network could know of others:
 * the requests they sent and received, their route tokens. Each request of theirs says truly which
 * phone wrote it (Sim-Phone), so that check.c knows when one passed for somebody else's. */
#include "sim.h"

#include "base/mem.h"
#include <stdio.h>

/* ---- what they know ---- */

static void overhear(struct sim *s, const struct phone *p, const struct call *c, slice bytes,
                     bool is_received) {
    struct overheard *o = &s->stolen[dice_below(&s->dice, STOLEN_MAX)];
    if (!s->plan.nasty || p->nature != HONEST) return;
    mem_free(o->packet);
    *o = (struct overheard){
        .is_used = true, .is_received = is_received, .phone = p->index, .call = *c
    };
    o->packet = packet_new(bytes);
}

void nasty_overhear(struct sim *s, const struct phone *p, const struct call *c,
                    const struct uac *u) {
    overhear(s, p, c, packet_slice(u->packet), false);
}

void nasty_overhear_invite(struct sim *s, const struct phone *p, const struct call *c,
                           const struct sip_msg *m) {
    overhear(s, p, c, m->all, true);
}

/* Something of a phone of the same node, but of another person. On the legacy lane a token is all
 * there is (architecture.md section 4), so only secured phones are a fair target from there. */
static struct overheard *loot(struct sim *s, struct phone *p) {
    struct overheard *o = &s->stolen[dice_below(&p->dice, STOLEN_MAX)];
    const struct phone *victim = &s->phones[o->phone];
    bool is_fair = o->is_used && victim->node == p->node && victim->person != p->person &&
                   victim->transport >= FLOW_TLS;
    return is_fair ? o : NULL;
}

/* ---- what they send ---- */

static bool is_mine(slice name) {
    return slice_eq(name, SLICE("Sim-Phone"));
}

static void send_text(struct sim *s, struct phone *p, slice bytes) {
    s->counts.forged++;
    (void)net_from_phone(s, p, bytes);
}

/* A message of somebody else, word for word but for who says it; `method` takes the place of its
 * own when not NULL. */
static void replay(struct sim *s, struct phone *p, const struct overheard *o, const char *method) {
    static struct sip_msg m;
    char mem[MESSAGE_MAX];
    struct buf b = buf_over(mem, sizeof mem);
    if (sip_msg_read(&m, packet_slice(o->packet), SIP_DATAGRAM).err != ERR_OK) return;
    slice name = method ? slice_str(method) : m.method_name;
    buf_put(&b, name);
    buf_byte(&b, ' ');
    buf_put(&b, m.uri_text);
    buf_lit(&b, " SIP/2.0\r\n");
    for (unsigned i = 0; i < m.header_count; i++) {
        if (is_mine(m.headers[i].name)) continue;
        if (method && slice_ieq(m.headers[i].name, SLICE("CSeq")))
            buf_fmt(&b, "CSeq: %u %s\r\n", m.cseq, method);
        else
            buf_put(&b, m.headers[i].line);
    }
    buf_fmt(&b, "Sim-Phone: %02u\r\n\r\n", p->index);
    buf_put(&b, m.body);
    if (!b.full) send_text(s, p, buf_slice(&b));
}

static void garbage(struct sim *s, struct phone *p, const struct overheard *o) {
    char mem[2048];
    size_t len = 1 + dice_below(&p->dice, 600);
    s->counts.garbage++;
    for (size_t i = 0; i < len; i++) mem[i] = (char)dice_next(&p->dice);
    if (o && o->packet->len < sizeof mem && dice_chance(&p->dice, 700)) {
        len = o->packet->len; /* a message with some wrong bytes tells more than noise */
        memcpy(mem, o->packet->bytes, len);
        for (unsigned i = dice_below(&p->dice, 6); i > 0; i--)
            mem[dice_below(&p->dice, (unsigned)len)] = (char)dice_next(&p->dice);
        if (dice_chance(&p->dice, 300)) len = dice_below(&p->dice, (unsigned)len) + 1;
        size_t at = slice_find_slice(slice_of(mem, len), SLICE("Sim-Phone: "));
        if (at + 13 <= len) { /* two digits */
            mem[at + 11] = (char)('0' + p->index / 10);
            mem[at + 12] = (char)('0' + p->index % 10);
        }
    }
    send_text(s, p, slice_of(mem, len));
}

/* A request inside a call of others, as one side of it would write it. */
static void speak_in_call(struct sim *s, struct phone *p, struct overheard *o) {
    static const char *const methods[] = { "BYE", "INVITE", "INFO", "UPDATE", "ACK", "REFER" };
    char mem[MESSAGE_MAX];
    struct buf b = buf_over(mem, sizeof mem);
    const struct call *c = &o->call;
    const char *method = methods[dice_below(&p->dice, ARRAY_LEN(methods))];
    bool is_tampered = dice_chance(&p->dice, 300);
    if (!c->remote_tag[0]) return;
    buf_fmt(&b, "%s %s SIP/2.0\r\nVia: SIP/2.0/TLS 10.9.9.9:9;branch=z9hG4bKn%llx\r\n", method,
            c->target, (unsigned long long)dice_next(&p->dice));
    for (unsigned i = 0; i < c->route_count; i++) {
        slice route = slice_str(c->routes[i]);
        size_t at = b.len + 20 + dice_below(&p->dice, 60);
        buf_fmt(&b, "Route: " SLICE_FMT "\r\n", SLICE_ARG(route));
        if (is_tampered && at < b.len) mem[at] = mem[at] == 'A' ? 'B' : 'A';
    }
    buf_fmt(&b,
            "Max-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %u %s\r\n"
            "Contact: <%s>\r\nSim-Phone: %02u\r\nContent-Length: 0\r\n\r\n",
            c->local, c->remote, c->call_id, c->cseq + 1 + dice_below(&p->dice, 9), method,
            p->contact, p->index);
    if (!b.full) send_text(s, p, buf_slice(&b));
}

/* A 200 to an INVITE that went to another phone. */
static void answer_for_others(struct sim *s, struct phone *p, const struct overheard *o) {
    static struct sip_msg m;
    char mem[MESSAGE_MAX];
    struct buf b = buf_over(mem, sizeof mem);
    if (!o->is_received || sip_msg_read(&m, packet_slice(o->packet), SIP_DATAGRAM).err != ERR_OK)
        return;
    static const enum sip_header_id ids[] = { HDR_VIA, HDR_RECORD_ROUTE, HDR_FROM, HDR_CALL_ID,
                                              HDR_CSEQ };
    buf_lit(&b, "SIP/2.0 200 OK\r\n");
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        for (const struct sip_header *h = sip_first(&m, ids[i]); h; h = sip_next(&m, h))
            buf_put(&b, h->line);
    buf_lit(&b, "To: ");
    buf_put(&b, m.to.value);
    buf_fmt(&b, ";tag=n%u\r\nContact: <%s>\r\nSim-Phone: %02u\r\nContent-Length: 0\r\n\r\n",
            p->index, p->contact, p->index);
    if (!b.full) send_text(s, p, buf_slice(&b));
}

/* REGISTER, INVITE or MESSAGE in the name of somebody else, with credentials of its own. */
static void pose(struct sim *s, struct phone *p, enum sip_method method) {
    unsigned victim = dice_below(&p->dice, s->person_count);
    unsigned to = dice_below(&p->dice, s->person_count);
    const struct person *who = &s->people[victim], *callee = &s->people[to];
    const char *domain = s->servers[p->node].domain;
    struct ask a = { .method = method, .call = NOBODY, .cseq = 1, .is_forged = true };
    if (victim == p->person || who->node != p->node) return;
    unsigned mark = dice_below(&p->dice, 1000000);
    bool is_register = method == SIP_REGISTER;
    if (is_register)
        (void)snprintf(a.uri, sizeof a.uri, "sip:%s", domain);
    else
        (void)snprintf(a.uri, sizeof a.uri, "sip:%s@%s", callee->user, domain);
    (void)snprintf(a.from, sizeof a.from, "<sip:%s@%s>;tag=n%u", who->user, domain, mark);
    (void)snprintf(a.to, sizeof a.to, "<sip:%s@%s>", is_register ? who->user : callee->user,
                   domain);
    (void)snprintf(a.call_id, sizeof a.call_id, "c%u.%u.n%u", p->index, to, mark);
    if (is_register) (void)snprintf(a.extra, sizeof a.extra, "Contact: <%s>\r\n", p->contact);
    if (method == SIP_INVITE) a.body = BODY_DTLS;
    s->counts.forged++;
    struct uac *u = say_request(s, p, &a);
    if (u && p->challenge.is_there) (void)say_again(s, p, u);
}

/* The same bytes several times, over a stream too. */
static void repeat(struct sim *s, struct phone *p) {
    for (unsigned i = 0; i < UAC_MAX; i++) {
        if (!p->uac[i].is_used || !dice_chance(&p->dice, 400)) continue;
        for (unsigned n = 1 + dice_below(&p->dice, 4); n > 0; n--)
            send_text(s, p, packet_slice(p->uac[i].packet));
    }
}

static void flood(struct sim *s, struct phone *p, const struct overheard *o) {
    for (unsigned n = dice_below(&p->dice, 60); n > 0; n--)
        replay(s, p, o, dice_chance(&p->dice, 500) ? "OPTIONS" : NULL);
}

/* Removes all bindings of its own account: its other phones must come back by themselves. */
static void clear_bindings(struct sim *s, struct phone *p) {
    struct person *who = &s->people[p->person];
    const char *domain = s->servers[p->node].domain;
    struct ask a = { .method = SIP_REGISTER, .call = NOBODY, .cseq = 1, .is_forged = true };
    if (p->nature == STRANGER) return;
    who->is_spoiled = true;
    unsigned mark = dice_below(&p->dice, 1000000);
    (void)snprintf(a.uri, sizeof a.uri, "sip:%s", domain);
    (void)snprintf(a.from, sizeof a.from, "<sip:%s@%s>;tag=n%u", who->user, domain, mark);
    (void)snprintf(a.to, sizeof a.to, "<sip:%s@%s>", who->user, domain);
    (void)snprintf(a.call_id, sizeof a.call_id, "n%u", mark);
    (void)snprintf(a.extra, sizeof a.extra, "Contact: *\r\nExpires: 0\r\n");
    (void)say_request(s, p, &a);
}

void nasty_act(struct sim *s, struct phone *p) {
    struct overheard *o = loot(s, p);
    static const enum sip_method methods[] = { SIP_REGISTER, SIP_INVITE, SIP_MESSAGE };
    if (s->part != PART_TROUBLE) return;
    switch (dice_below(&p->dice, 11)) {
    case 0:
        garbage(s, p, o);
        break;
    case 1:
        if (o) replay(s, p, o, NULL);
        break;
    case 2:
        if (o) replay(s, p, o, "CANCEL");
        break;
    case 3:
    case 4:
        if (o) speak_in_call(s, p, o);
        break;
    case 5:
        if (o) answer_for_others(s, p, o);
        break;
    case 6:
    case 7:
        pose(s, p, methods[dice_below(&p->dice, ARRAY_LEN(methods))]);
        break;
    case 8:
        repeat(s, p);
        break;
    case 9:
        if (o) flood(s, p, o);
        break;
    case 10:
        if (dice_chance(&p->dice, 200))
            clear_bindings(s, p);
        else
            (void)call_begin(s, p, dice_below(&p->dice, s->person_count), false);
        break;
    }
}
