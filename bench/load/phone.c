/* load/phone.c - one phone: its connection and its registration. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The same secret for the same user in every run: 128 bits out of the user's number. */
struct span phone_secret(uint32_t user, char room[static 40]) {
    uint64_t a = (user + 1) * 0x9e3779b97f4a7c15ULL, b = (user + 7) * 0xc2b2ae3d27d4eb4fULL;
    a ^= a >> 29;
    b ^= b >> 31;
    a *= 0xbf58476d1ce4e5b9ULL;
    b *= 0x94d049bb133111ebULL;
    int n = snprintf(room, 40, "%016llx%016llx", (unsigned long long)a, (unsigned long long)b);
    return span_of(room, n > 0 ? (size_t)n : 0);
}

void phone_address(const struct phone *p, char room[static 24]) {
    snprintf(room, 24, "127.1.%u.%u", (p->user >> 8) & 255U, p->user & 255U);
}

static void listen_for(struct load *l, struct phone *p, uint32_t events, int op) {
    struct epoll_event e = { .events = events, .data.ptr = p };
    if (epoll_ctl(l->epoll, op, p->fd, &e) < 0) phone_fail(l, p, "epoll_ctl", span_of("", 0));
}

void phone_close(struct load *l, struct phone *p) {
    (void)l;
    if (p->call) call_drop(l, p);
    if (p->ssl) SSL_free(p->ssl);
    if (p->fd > 0) {
        struct linger now = { 1, 0 }; /* no TIME_WAIT: thousands of connections a minute */
        setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(p->fd);
    }
    free(p->held);
    free(p->challenge);
    free(p->gruu);
    memset(p, 0, sizeof *p);
}

void phone_fail(struct load *l, struct phone *p, const char *what, struct span seen) {
    if (l->complaints++ < 5) {
        const char *tls = ERR_reason_error_string(ERR_peek_last_error());
        fprintf(stderr, "bench_load: phone %u, state %u: %s%s%s\n", p->user, p->state, what,
                tls ? ": " : "", tls ? tls : "");
        if (seen.n) fprintf(stderr, "%.*s\n", (int)seen.n, seen.p);
    }
    ERR_clear_error();
    l->job.failed++;
    phone_close(l, p);
}

/* RFC 6455 5.2: the head of a masked text frame; the mask is zero, which changes no byte. */
static size_t frame_head(size_t len, unsigned char out[static 8]) {
    size_t n = len < 126 ? 2 : 4;
    memset(out, 0, 8);
    out[0] = 0x81;
    out[1] = (unsigned char)(0x80 | (len < 126 ? len : 126));
    if (n == 4) {
        out[2] = (unsigned char)(len >> 8);
        out[3] = (unsigned char)len;
    }
    return n + 4;
}

/* One frame at the start of these bytes: how many bytes it has (0: more are to come), and what is
 * in it. */
static long frame_read(struct span s, struct span *out) {
    if (s.n < 2) return 0;
    size_t len = (unsigned char)s.p[1] & 0x7f, at = 2;
    if (len == 126) {
        if (s.n < 4) return 0;
        len = (size_t)(unsigned char)s.p[2] << 8 | (unsigned char)s.p[3];
        at = 4;
    }
    if (s.n < at + len) return 0;
    *out = span_of(s.p + at, len);
    return (long)(at + len);
}

bool phone_send(struct load *l, struct phone *p, struct text *t) {
    char frame[8192];
    sip_end(t);
    if (t->bad || t->n > sizeof frame - 8) {
        phone_fail(l, p, "a message of ours did not fit", span_of("", 0));
        return false;
    }
    const char *from = t->p;
    size_t len = t->n;
    if (l->wss) {
        size_t head = frame_head(t->n, (unsigned char *)frame);
        memcpy(frame + head, t->p, t->n);
        from = frame;
        len += head;
    }
    if (SSL_write(p->ssl, from, (int)len) != (int)len) {
        phone_fail(l, p, "write", span_of("", 0));
        return false;
    }
    return true;
}

static void send_register(struct load *l, struct phone *p) {
    char room[3072], address[24], user[16], uri[80], secret[40];
    struct text t = { room, 0, sizeof room, false };
    phone_address(p, address);
    int user_n = snprintf(user, sizeof user, "u%05u", p->user);
    int uri_n = snprintf(uri, sizeof uri, "sip:%.*s", (int)l->domain.n, l->domain.p);
    char moved[24] = "";
    p->cseq++;
    if (l->moves) snprintf(moved, sizeof moved, ";n=%u", p->cseq);
    bool with_answer = p->challenge && !(l->bare_renew && p->state == PHONE_REFRESH);
    sip_begin(&t, p->user, p->challenge ? TAG_REGISTER : TAG_CHALLENGE, "REGISTER %s SIP/2.0", uri);
    text_printf(&t,
                "Via: SIP/2.0/%s %s:%u;branch=z9hG4bK%08x%04x;rport\r\nMax-Forwards: 70\r\n"
                "From: <sip:%s@%.*s>;tag=%08x\r\nTo: <sip:%s@%.*s>\r\n"
                "Call-ID: %08x%08x\r\nCSeq: %u REGISTER\r\n"
                "Contact: <sip:%s@%s:%u;transport=%s%s>;reg-id=1;"
                "+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-%012x>\"\r\n"
                "Supported: gruu, path%s\r\nExpires: 3600\r\nUser-Agent: bench/1\r\n"
                "Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,INFO,MESSAGE,UPDATE,REFER\r\n",
                l->wss ? "WSS" : "TLS", address, p->port, p->key, p->cseq, user, (int)l->domain.n,
                l->domain.p, p->key, user, (int)l->domain.n, l->domain.p, p->key, p->user, p->cseq,
                user, address, p->port, l->wss ? "ws" : "tls", moved, p->user,
                l->outbound ? ", outbound" : "");
    if (with_answer) {
        struct credentials c = { .user = span_of(user, (size_t)user_n),
                                 .secret = phone_secret(p->user, secret),
                                 .method = span_of("REGISTER", 8),
                                 .uri = span_of(uri, (size_t)uri_n),
                                 .challenge = span_of(p->challenge, strlen(p->challenge)),
                                 .count = ++p->nonce_count };
        if (!sip_authorize(&t, &c)) {
            phone_fail(l, p, "a challenge that we cannot answer", c.challenge);
            return;
        }
    }
    text_printf(&t, "Content-Length: 0\r\n\r\n");
    (void)phone_send(l, p, &t);
}

void phone_refresh(struct load *l, struct phone *p) {
    if (p->state == PHONE_CLOSED) { /* the server went away */
        l->job.failed++;
        return;
    }
    p->state = PHONE_REFRESH;
    p->answered_challenge = false;
    send_register(l, p);
}

/* The floor gives no GRUU: its phones carry one of the same length. */
static void keep_gruu(struct load *l, struct phone *p, struct span msg) {
    static const char mark[] = "temp-gruu=\"";
    char made[160];
    const char *at = memmem(msg.p, msg.n, mark, sizeof mark - 1);
    const char *end =
        at ? memchr(at + sizeof mark, '"', msg.n - (size_t)(at - msg.p) - sizeof mark) : NULL;
    if (end) {
        at += sizeof mark - 1;
        snprintf(made, sizeof made, "%.*s", (int)(end - at), at);
    } else {
        snprintf(made, sizeof made, "sip:%060u@%.*s;gr", p->user, (int)l->domain.n, l->domain.p);
    }
    free(p->gruu);
    p->gruu = strdup(made);
    if (!p->gruu) abort();
}

static void on_register_answer(struct load *l, struct phone *p, struct span msg) {
    unsigned status = sip_status(msg);
    if (status == 401 && !p->answered_challenge) {
        struct span c = sip_header(msg, H_CHALLENGE);
        free(p->challenge);
        p->challenge = c.n ? strndup(c.p, c.n) : NULL;
        p->nonce_count = 0;
        p->answered_challenge = true;
        l->job.challenges++;
        send_register(l, p);
        return;
    }
    if (status >= 100 && status < 200) return;
    if (status != 200) {
        phone_fail(l, p, "REGISTER refused", msg);
        return;
    }
    if (l->outbound) keep_gruu(l, p, msg);
    p->state = PHONE_IDLE;
    l->acked[p->user % LOAD_PHONES_MAX] = p->cseq;
    job_one_done(l, p);
}

static void on_message(struct load *l, struct phone *p, struct span msg) {
    switch (p->state) {
    case PHONE_UPGRADE:
        if (msg.n < 12 || memcmp(msg.p, "HTTP/1.1 101", 12) != 0) {
            phone_fail(l, p, "no WebSocket", msg);
            return;
        }
        p->state = PHONE_REGISTER;
        send_register(l, p);
        break;
    case PHONE_REGISTER:
    case PHONE_REFRESH:
        on_register_answer(l, p, msg);
        break;
    case PHONE_CALL:
        call_message(l, p, msg);
        break;
    default:
        if (l->job.kind == JOB_OFFER) return; /* the end of a call that its caller has given up */
        phone_fail(l, p, "a message nobody waits for", msg);
    }
}

/* The next message of these bytes: how long it is with what frames it, 0: not complete. */
static long next_message(const struct load *l, const struct phone *p, struct span s,
                         struct span *out) {
    if (p->state == PHONE_UPGRADE) {
        const char *end = memmem(s.p, s.n, "\r\n\r\n", 4);
        *out = span_of(s.p, end ? (size_t)(end - s.p) + 4 : 0);
        return (long)out->n;
    }
    if (l->wss) return frame_read(s, out);
    long one = sip_frame(s);
    *out = span_of(s.p, one > 0 ? (size_t)one : 0);
    return one;
}

static void phone_read(struct load *l, struct phone *p) {
    static char room[65536];
    size_t have = p->held_bytes;
    if (have) memcpy(room, p->held, have);
    p->held_bytes = 0;
    for (;;) {
        int n = SSL_read(p->ssl, room + have, (int)(sizeof room - have));
        if (n <= 0) {
            if (SSL_get_error(p->ssl, n) == SSL_ERROR_WANT_READ) break;
            phone_fail(l, p, "the server closed the connection", span_of("", 0));
            return;
        }
        have += (size_t)n;
        size_t at = 0;
        struct span msg;
        for (long one; (one = next_message(l, p, span_of(room + at, have - at), &msg)) != 0;
             at += (size_t)one) {
            if (one < 0) {
                phone_fail(l, p, "not SIP", span_of(room + at, have - at));
                return;
            }
            if (msg.n && msg.p[0] > ' ') on_message(l, p, msg);
            if (p->state == PHONE_CLOSED) return;
        }
        memmove(room, room + at, have - at);
        have -= at;
    }
    if (!have) return;
    char *held = realloc(p->held, have);
    if (!held) abort();
    memcpy(held, room, have);
    p->held = held;
    p->held_bytes = have;
}

static void send_upgrade(struct load *l, struct phone *p) {
    static const char request[] =
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: sip\r\n\r\n";
    if (SSL_write(p->ssl, request, sizeof request - 1) != (int)sizeof request - 1)
        phone_fail(l, p, "write", span_of("", 0));
}

static void phone_handshake(struct load *l, struct phone *p) {
    int n = SSL_connect(p->ssl);
    if (n == 1) {
        p->state = l->wss ? PHONE_UPGRADE : PHONE_REGISTER;
        listen_for(l, p, EPOLLIN, EPOLL_CTL_MOD);
        if (l->wss)
            send_upgrade(l, p);
        else
            send_register(l, p);
        return;
    }
    int why = SSL_get_error(p->ssl, n);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        phone_fail(l, p, "handshake", span_of("", 0));
}

void phone_event(struct load *l, struct phone *p, uint32_t events) {
    if (p->state == PHONE_CONNECT) {
        int trouble = 0;
        socklen_t n = sizeof trouble;
        getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &trouble, &n);
        if (trouble || (events & (EPOLLERR | EPOLLHUP))) {
            phone_fail(l, p, trouble ? strerror(trouble) : "connect", span_of("", 0));
            return;
        }
        struct sockaddr_in us = { 0 };
        n = sizeof us;
        getsockname(p->fd, (struct sockaddr *)&us, &n);
        p->port = ntohs(us.sin_port);
        p->state = PHONE_HANDSHAKE;
        listen_for(l, p, EPOLLIN, EPOLL_CTL_MOD);
    }
    if (p->state == PHONE_HANDSHAKE)
        phone_handshake(l, p);
    else if (p->state != PHONE_CLOSED)
        phone_read(l, p);
}

void phone_open(struct load *l, struct phone *p, uint32_t user) {
    memset(p, 0, sizeof *p);
    p->user = user;
    p->key = (uint32_t)clock_ns() * 2654435761U;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0) {
        p->fd = 0;
        phone_fail(l, p, strerror(errno), span_of("", 0));
        return;
    }
    int on = 1;
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(p->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in us = { .sin_family = AF_INET };
    us.sin_addr.s_addr = htonl(0x7f010000U | (user & 0xffffU));
    p->ssl = SSL_new(l->tls);
    if (!p->ssl || SSL_set_fd(p->ssl, p->fd) != 1 ||
        bind(p->fd, (struct sockaddr *)&us, sizeof us) < 0 ||
        (connect(p->fd, (struct sockaddr *)&l->server, sizeof l->server) < 0 &&
         errno != EINPROGRESS)) {
        phone_fail(l, p, strerror(errno), span_of("", 0));
        return;
    }
    SSL_set_tlsext_host_name(p->ssl, "localhost");
    p->state = PHONE_CONNECT;
    listen_for(l, p, EPOLLOUT, EPOLL_CTL_ADD);
}
