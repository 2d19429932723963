/* check/phone.c - listening for the phone, and being its registrar. */
#include "check/phone.h"

#include "base/mem.h"
#include "check/link.h"
#include "crypto/crypto.h"
#include "os/socket.h"
#include <fcntl.h>
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

/* The topmost is of an algorithm that nobody knows (RFC 8760 2.4). A phone that comes again without
 * credentials cannot read that: from then on it gets MD5 alone, and fails that requirement. */
static void put_challenge(struct buf *b, slice realm, bool only_md5) {
    uint8_t nonce[12];
    static const char *const algorithms[] = { "X-KITH-1", "SHA-256", "MD5" };
    crypto_random(nonce, sizeof nonce);
    buf_lit(b, "SIP/2.0 401 Unauthorized\r\n");
    for (unsigned i = only_md5 ? 2 : 0; i < ARRAY_LEN(algorithms); i++) {
        buf_fmt(b, "WWW-Authenticate: Digest realm=\"" SLICE_FMT "\", qop=\"auth\", nonce=\"",
                SLICE_ARG(realm));
        buf_hex(b, nonce, sizeof nonce);
        buf_fmt(b, "\", algorithm=%s\r\n", algorithms[i]);
    }
}

static void put_binding(struct buf *b, const struct msg *m, const char *aor, unsigned granted_s) {
    slice c = msg_value(m, "Contact", 0), instance = value_param(c, "+sip.instance");
    buf_fmt(b, "Contact: <" SLICE_FMT ">;expires=%u", SLICE_ARG(value_uri(c)), granted_s);
    if (instance.len > 2 && msg_lists(m, "Supported", "gruu"))
        buf_fmt(b, ";+sip.instance=" SLICE_FMT ";pub-gruu=\"%s;gr=kithcheck\"", SLICE_ARG(instance),
                aor);
    buf_lit(b, "\r\nSupported: path, outbound, gruu\r\n");
    if (value_has(c, "reg-id") && msg_lists(m, "Supported", "outbound"))
        buf_fmt(b, "Require: outbound\r\nFlow-Timer: %d\r\n", PHONE_FLOW_S);
}

/* RFC 6140 5.2: the contact of a PBX gets the number in front, and loses bnc. */
static void take_contact(struct run *run, slice uri) {
    struct phone *p = run->phone;
    struct buf b = buf_over(p->contact, sizeof p->contact - 1);
    size_t colon = slice_find(uri, ':') + 1, bnc = slice_find_slice(uri, SLICE(";bnc"));
    if (bnc < uri.len) {
        buf_fmt(&b, SLICE_FMT "%s@", SLICE_ARG(slice_head(uri, colon)), run->numbers[0]);
        buf_put(&b, slice_of(uri.ptr + colon, bnc - colon));
        buf_put(&b, slice_from(uri, bnc + 4));
    } else {
        buf_put(&b, uri);
    }
    p->contact[b.full ? 0 : b.len] = 0;
}

void phone_register(struct run *run, struct link *l, slice raw) {
    struct phone *p = run->phone;
    struct msg m;
    msg_read(raw, &m);
    run_take_name(run, raw);
    if (p->seen_count < PHONE_SEEN_MAX && (p->seen[p->seen_count] = mem_dup(raw.ptr, raw.len)))
        p->seen_len[p->seen_count++] = raw.len;
    char mem[8192];
    struct buf b = buf_over(mem, sizeof mem);
    bool known = msg_header(&m, "Authorization").ptr != NULL;
    p->strangers = known ? 0 : p->strangers + 1;
    if (known) {
        take_contact(run, value_uri(msg_value(&m, "Contact", 0)));
        (void)!slice_cstr(value_uri(msg_header(&m, "To")), p->aor, sizeof p->aor);
        buf_lit(&b, "SIP/2.0 200 OK\r\n");
        put_binding(&b, &m, p->aor, p->granted_s);
    } else {
        p->only_md5 = p->only_md5 || p->strangers > 1;
        put_challenge(&b, uri_host(value_uri(msg_header(&m, "To"))), p->only_md5);
    }
    put_copied(&b, &m);
    buf_lit(&b, "Content-Length: 0\r\n\r\n");
    (void)!link_send(run, l, buf_slice(&b));
}

/* One connection, or the first datagram: the phone. */
static struct link *next_caller(struct phone *p) {
    struct pollfd fds[2] = { { .fd = p->tcp, .events = POLLIN },
                             { .fd = p->udp, .events = POLLIN } };
    int fd;
    struct addr peer;
    if (poll(fds, 2, 200) <= 0) return NULL;
    if (fds[0].revents && socket_accept(p->tcp, &fd, &peer) == ERR_OK)
        return link_take(fd, p->stream, p->certificate, NULL);
    if (!fds[1].revents) return NULL;
    struct link *l = link_take(p->udp, WIRE_UDP, NULL, NULL);
    if (l) p->udp = -1; /* it is the link's now */
    return l;
}

/* RFC 5626 4.5: after one failure a phone waits up to a minute before it registers again. One that
 * could not read the first challenge has failed once. */
#define PHONE_BACKOFF_MS 70000

/* Until the phone has a connection over which it logged in. */
static bool phone_comes(struct run *run, int64_t until) {
    struct phone *p = run->phone;
    for (*p->contact = 0; !*p->contact && clock_ms() < until && !run->stop;) {
        size_t size;
        if (!p->link) p->link = next_caller(p);
        if (!p->link) continue;
        if (link_message(p->link, 500, &size)) {
            slice raw = slice_of(p->link->in, size);
            if (slice_starts(raw, SLICE("REGISTER "))) {
                phone_register(run, p->link, raw);
                int64_t again = clock_ms() + PHONE_BACKOFF_MS;
                if (p->strangers == 1 && again > until) until = again;
            }
            link_drop(p->link, size);
        } else if (p->link->closed) {
            link_close(p->link);
            p->link = NULL;
        }
    }
    return *p->contact != 0;
}

int64_t phone_patience(const struct run *run) {
    return run->phone && run->phone->wait_s ? (int64_t)run->phone->wait_s * 1000 : 4000;
}

bool phone_hands(const struct run *run) {
    return run->phone && (run->phone->hands || run->phone->wait_s);
}

void phone_act(struct test *t, const char *what) {
    const struct run *run = t->run;
    OVER(t);
    CAPABLE(t, phone_hands(run), "hands: somebody (--wait) or a program (--hands) must do: %s",
            what);
    (void)test_note(t, "please: %s", what);
    if (!run->phone->hands) {
        (void)printf("\n  Please do on the phone: %s\n", what);
        (void)fflush(stdout);
        return;
    }
    int fd = open(run->phone->hands, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);
    const char *line = text(t, "%s\n", what);
    bool written = fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line);
    if (fd >= 0) (void)close(fd);
    GIVEN(t, written, "%s cannot be written to", run->phone->hands);
}

struct link *phone_link(struct run *run) {
    struct phone *p = run->phone;
    size_t size;
    if (p->link) (void)link_message(p->link, 0, &size);
    if (p->link && !p->link->closed) return p->link;
    link_close(p->link);
    p->link = NULL;
    return phone_comes(run, clock_ms() + 40000) ? p->link : NULL;
}

bool phone_wait(struct run *run, const char *certificate, unsigned seconds, char *why,
                size_t why_len) {
    struct addr bound;
    struct phone *p = run->phone = mem_zalloc(sizeof *p);
    const enum wire stream = run->role == ROLE_BROWSER ? WIRE_WSS
                             : certificate             ? WIRE_TLS
                                                       : WIRE_TCP;
    const struct addr *at = &run->target.at[stream];
    (void)snprintf(why, why_len,
                   "cannot listen on %s: it must be an address of this machine, and the port free",
                   run->target.given);
    if (!p) return false;
    p->tcp = p->udp = -1;
    p->granted_s = PHONE_GRANTED_S;
    p->certificate = certificate;
    p->stream = stream;
    if (socket_listen_tcp(at, &p->tcp, &bound) != ERR_OK ||
        (!certificate && socket_bind_udp(at, &p->udp, &bound) != ERR_OK))
        return false;
    (void)snprintf(why, why_len,
                   "no %s registered in %u s; %s is what it must register with, over %s",
                   stream == WIRE_WSS         ? "browser"
                   : run->role & ROLE_LISTENS ? "PBX"
                                              : "phone",
                   seconds, run->target.given,
                   stream == WIRE_WSS   ? "wss"
                   : stream == WIRE_TLS ? "TLS"
                                        : "TCP or UDP");
    if (!phone_comes(run, clock_ms() + (int64_t)seconds * 1000)) return false;
    for (enum wire w = 0; w < WIRE_COUNT; w++)
        if (w != p->link->wire) run->target.at[w].family = ADDR_NONE;
    return true;
}

void phone_end(struct run *run) {
    struct phone *p = run->phone;
    if (!p) return;
    for (unsigned i = 0; i < p->seen_count; i++) mem_free(p->seen[i]);
    link_close(p->link);
    if (p->tcp >= 0) (void)close(p->tcp);
    if (p->udp >= 0) (void)close(p->udp);
    mem_free(p);
    run->phone = NULL;
}
