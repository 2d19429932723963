/* check/phone.c - listening for the phone, and being its registrar. */
#include "check/phone.h"

#include "base/mem.h"
#include "check/link.h"
#include "crypto/crypto.h"
#include "os/socket.h"
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static void put_copied(struct buf *b, const struct msg *m) {
    static const char *const copied[] = { "Via", "From", "Call-ID", "CSeq" };
    for (unsigned k = 0; k < ARRAY_LEN(copied); k++)
        for (unsigned i = 0; i < m->header_count; i++)
            if (is_i(m->headers[i].name, copied[k]))
                buf_fmt(b, "%s: " SLICE_FMT "\r\n", copied[k], SLICE_ARG(m->headers[i].value));
    buf_fmt(b, "To: " SLICE_FMT ";tag=registrar\r\n", SLICE_ARG(msg_header(m, "To")));
}

/* The topmost is of an algorithm that nobody knows (RFC 8760 2.4). */
static void put_challenge(struct buf *b) {
    uint8_t nonce[12];
    static const char *const algorithms[] = { "X-KITH-1", "SHA-256", "MD5" };
    crypto_random(nonce, sizeof nonce);
    buf_lit(b, "SIP/2.0 401 Unauthorized\r\n");
    for (unsigned i = 0; i < ARRAY_LEN(algorithms); i++) {
        buf_lit(b, "WWW-Authenticate: Digest realm=\"kith-check\", qop=\"auth\", nonce=\"");
        buf_hex(b, nonce, sizeof nonce);
        buf_fmt(b, "\", algorithm=%s\r\n", algorithms[i]);
    }
}

static void put_binding(struct buf *b, const struct msg *m, const char *aor) {
    slice c = msg_value(m, "Contact", 0), instance = value_param(c, "+sip.instance");
    buf_fmt(b, "Contact: <" SLICE_FMT ">;expires=%d", SLICE_ARG(value_uri(c)), PHONE_GRANTED_S);
    if (instance.len > 2 && msg_lists(m, "Supported", "gruu"))
        buf_fmt(b, ";+sip.instance=" SLICE_FMT ";pub-gruu=\"%s;gr=kithcheck\"", SLICE_ARG(instance),
                aor);
    buf_lit(b, "\r\nSupported: path, outbound, gruu\r\n");
    if (value_has(c, "reg-id") && msg_lists(m, "Supported", "outbound"))
        buf_lit(b, "Require: outbound\r\n");
}

void phone_register(struct run *run, struct link *l, slice raw) {
    struct phone *p = run->phone;
    struct msg m;
    msg_read(raw, &m);
    if (p->seen_count < PHONE_SEEN_MAX && (p->seen[p->seen_count] = mem_dup(raw.ptr, raw.len)))
        p->seen_len[p->seen_count++] = raw.len;
    char mem[8192];
    struct buf b = buf_over(mem, sizeof mem);
    bool known = msg_header(&m, "Authorization").ptr != NULL;
    if (known) {
        (void)!slice_cstr(value_uri(msg_value(&m, "Contact", 0)), p->contact, sizeof p->contact);
        (void)!slice_cstr(value_uri(msg_header(&m, "To")), p->aor, sizeof p->aor);
        buf_lit(&b, "SIP/2.0 200 OK\r\n");
        put_binding(&b, &m, p->aor);
    } else {
        put_challenge(&b);
    }
    put_copied(&b, &m);
    buf_lit(&b, "Content-Length: 0\r\n\r\n");
    (void)!link_send(run, l, buf_slice(&b));
}

/* One connection, or the first datagram: the phone. */
static struct link *first_caller(struct run *run, int tcp, int udp, bool secure,
                                 const char *certificate, int64_t until) {
    struct pollfd p[2] = { { .fd = tcp, .events = POLLIN }, { .fd = udp, .events = POLLIN } };
    struct link *l = NULL;
    while (!l && clock_ms() < until && !run->stop) {
        if (poll(p, 2, 200) <= 0) continue;
        if (p[0].revents) {
            int fd;
            struct addr peer;
            if (socket_accept(tcp, &fd, &peer) == ERR_OK)
                l = link_take(fd, secure ? WIRE_TLS : WIRE_TCP, certificate);
        } else if (p[1].revents) {
            l = link_take(udp, WIRE_UDP, NULL);
        }
    }
    return l;
}

bool phone_wait(struct run *run, const char *certificate, unsigned seconds, char *why,
                size_t why_len) {
    int tcp = -1, udp = -1;
    struct addr bound;
    struct phone *p = run->phone = mem_zalloc(sizeof *p);
    const struct addr *at = &run->target.at[certificate ? WIRE_TLS : WIRE_TCP];
    int64_t until = clock_ms() + (int64_t)seconds * 1000;
    bool listens = p && socket_listen_tcp(at, &tcp, &bound) == ERR_OK &&
                   (certificate || socket_bind_udp(at, &udp, &bound) == ERR_OK);
    (void)snprintf(why, why_len, "no phone registered in %u s", seconds);
    if (!listens) (void)snprintf(why, why_len, "cannot listen on %s", run->target.given);
    while (listens && !*p->contact && clock_ms() < until && !run->stop) {
        if (!p->link)
            p->link = first_caller(run, tcp, udp, certificate != NULL, certificate, until);
        size_t size;
        if (!p->link) continue;
        if (link_message(p->link, 500, &size)) {
            slice raw = slice_of(p->link->in, size);
            if (slice_starts(raw, SLICE("REGISTER "))) phone_register(run, p->link, raw);
            link_drop(p->link, size);
        } else if (p->link->closed) {
            link_close(p->link);
            p->link = NULL;
        }
    }
    if (tcp >= 0) (void)close(tcp);
    if (udp >= 0 && !(p && p->link && p->link->fd == udp)) (void)close(udp);
    if (!p || !*p->contact) return false;
    for (enum wire w = 0; w < WIRE_COUNT; w++)
        if (w != p->link->wire) run->target.at[w].family = ADDR_NONE;
    return true;
}

void phone_end(struct run *run) {
    struct phone *p = run->phone;
    if (!p) return;
    for (unsigned i = 0; i < p->seen_count; i++) mem_free(p->seen[i]);
    link_close(p->link);
    mem_free(p);
    run->phone = NULL;
}
