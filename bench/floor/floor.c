/* floor/floor.c - bench_floor: the least that any TLS relay must do; the measure for Kith.
 *
 * epoll and OpenSSL with the same settings as Kith, and no SIP at all: where a message goes is
 * read from a fixed place in its second line ("X-Bench: <phone> <length> <kind>", written by
 * bench_load), REGISTER and INVITE get canned answers of realistic size. It parses nothing, keeps
 * no state but "phone number -> connection", looks nobody up, writes nothing to disk.
 *
 * It needs what every relay needs, and gets every chance to be cheap: one read() a wake-up (read
 * ahead), level-triggered epoll without a second read when the record was whole, one TLS record
 * and one write() a message, at once. With two workers (SO_REUSEPORT) the phones of a call are on
 * different workers about half the time; then the bytes cross through a mutex queue and an
 * eventfd, as they must in any server whose connections belong to threads.
 *
 *   bench_floor --listen 127.0.0.1:5061 --cert c.pem --key k.pem --workers 2 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PHONES_MAX  65536
#define WORKERS_MAX 8
#define MESSAGE_MAX 65536

struct conn {
    SSL *ssl;
    char *held; /* the start of a message whose rest has not come */
    char *out;  /* what the socket did not take */
    size_t held_bytes, out_bytes;
    int fd;
    uint32_t phone;
    bool up;
};

struct letter {
    struct letter *next;
    uint32_t phone;
    size_t bytes;
    char text[];
};

struct worker {
    pthread_t thread;
    SSL_CTX *tls;
    int epoll, listener, wake;
    unsigned index;
    pthread_mutex_t lock;
    struct letter *first, *last; /* under lock */
};

struct place { /* of a phone: written by its worker, read by all */
    _Atomic(struct conn *) conn;
    _Atomic unsigned worker;
};

static struct {
    struct sockaddr_in address;
    const char *cert, *key;
    unsigned workers;
    int tickets;
    bool ask_certificate;
} config = { .workers = 2, .tickets = 1, .ask_certificate = true };
static struct worker workers[WORKERS_MAX];
static struct place places[PHONES_MAX];

static const char answer_401[] =
    "SIP/2.0 401 Unauthorized\r\n"
    "Via: SIP/2.0/TLS 127.1.0.1:40000;branch=z9hG4bK0123456789ab;rport=40000;received=127.1.0.1\r\n"
    "From: <sip:u00001@bench.test>;tag=01234567\r\nTo: <sip:u00001@bench.test>;tag=89abcdef\r\n"
    "Call-ID: 0123456701234567\r\nCSeq: 1 REGISTER\r\n"
    "WWW-Authenticate: Digest realm=\"bench.test\", "
    "nonce=\"0123456789abcdef0123456789abcdef0123456789abcdef\", algorithm=SHA-256, "
    "qop=\"auth\"\r\nServer: floor\r\nContent-Length: 0\r\n\r\n";
static const char answer_200[] =
    "SIP/2.0 200 OK\r\n"
    "Via: SIP/2.0/TLS 127.1.0.1:40000;branch=z9hG4bK0123456789ab;rport=40000;received=127.1.0.1\r\n"
    "From: <sip:u00001@bench.test>;tag=01234567\r\nTo: <sip:u00001@bench.test>;tag=89abcdef\r\n"
    "Call-ID: 0123456701234567\r\nCSeq: 2 REGISTER\r\n"
    "Contact: <sip:u00001@127.1.0.1:40000;transport=tls>;reg-id=1;"
    "+sip.instance=\"<urn:uuid:00000000-0000-4000-8000-000000000001>\";expires=3600\r\n"
    "Require: outbound\r\nServer: floor\r\nContent-Length: 0\r\n\r\n";
static const char answer_100[] =
    "SIP/2.0 100 Trying\r\n"
    "Via: SIP/2.0/TLS 127.1.0.1:40000;branch=z9hG4bK0123456789ab;rport=40000;received=127.1.0.1\r\n"
    "From: \"Caller\" <sip:u00001@bench.test>;tag=01234567\r\nTo: <sip:u00002@bench.test>\r\n"
    "Call-ID: 0123456701234567@127.1.0.1\r\nCSeq: 1 INVITE\r\nServer: floor\r\n"
    "Content-Length: 0\r\n\r\n";

static void die(const char *what) {
    fprintf(stderr, "bench_floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void conn_watch(struct worker *w, struct conn *c, int op) {
    struct epoll_event e = { .events = EPOLLIN | (c->out_bytes ? EPOLLOUT : 0U), .data.ptr = c };
    if (epoll_ctl(w->epoll, op, c->fd, &e) < 0) die("epoll_ctl");
}

static void conn_close(struct conn *c) {
    struct conn *expected = c;
    atomic_compare_exchange_strong(&places[c->phone].conn, &expected, NULL);
    SSL_free(c->ssl);
    close(c->fd);
    free(c->held);
    free(c->out);
    free(c);
}

static bool conn_send(struct worker *w, struct conn *c, const char *p, size_t n) {
    int sent = c->out_bytes ? 0 : SSL_write(c->ssl, p, (int)n);
    if (sent == (int)n) return true;
    if (sent <= 0) {
        int why = c->out_bytes ? SSL_ERROR_WANT_WRITE : SSL_get_error(c->ssl, sent);
        if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) return false;
        sent = 0;
    }
    size_t left = n - (size_t)sent;
    char *out = realloc(c->out, c->out_bytes + left);
    if (!out) die("memory");
    memcpy(out + c->out_bytes, p + sent, left);
    c->out = out;
    c->out_bytes += left;
    conn_watch(w, c, EPOLL_CTL_MOD);
    return true;
}

static bool conn_flush(struct worker *w, struct conn *c) {
    int sent = SSL_write(c->ssl, c->out, (int)c->out_bytes);
    if (sent <= 0) return SSL_get_error(c->ssl, sent) == SSL_ERROR_WANT_WRITE;
    c->out_bytes -= (size_t)sent;
    memmove(c->out, c->out + sent, c->out_bytes);
    if (!c->out_bytes) {
        free(c->out);
        c->out = NULL;
        conn_watch(w, c, EPOLL_CTL_MOD);
    }
    return true;
}

static void post(struct worker *to, uint32_t phone, const char *p, size_t n) {
    struct letter *l = malloc(sizeof *l + n);
    if (!l) die("memory");
    l->next = NULL;
    l->phone = phone;
    l->bytes = n;
    memcpy(l->text, p, n);
    pthread_mutex_lock(&to->lock);
    bool was_empty = !to->first;
    if (was_empty)
        to->first = l;
    else
        to->last->next = l;
    to->last = l;
    pthread_mutex_unlock(&to->lock);
    if (was_empty && eventfd_write(to->wake, 1) < 0) die("eventfd");
}

static void take_mail(struct worker *w) {
    eventfd_t count;
    (void)eventfd_read(w->wake, &count);
    pthread_mutex_lock(&w->lock);
    struct letter *l = w->first;
    w->first = w->last = NULL;
    pthread_mutex_unlock(&w->lock);
    while (l) {
        struct letter *next = l->next;
        struct conn *c = atomic_load(&places[l->phone].conn);
        /* A broken connection closes itself on its next event. */
        if (c) (void)conn_send(w, c, l->text, l->bytes);
        free(l);
        l = next;
    }
}

static uint32_t hex(const char *p, size_t n) {
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        v = v << 4 | (uint32_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
    }
    return v;
}

/* One whole message. The tag is "X-Bench: 01234567 012345 k" in the second line. */
static bool relay(struct worker *w, struct conn *c, const char *p, size_t n, const char *tag) {
    uint32_t phone = hex(tag + 9, 8) % PHONES_MAX;
    switch (tag[25]) {
    case 'c':
        return conn_send(w, c, answer_401, sizeof answer_401 - 1);
    case 'r':
        c->phone = phone;
        atomic_store(&places[phone].worker, w->index);
        atomic_store(&places[phone].conn, c);
        return conn_send(w, c, answer_200, sizeof answer_200 - 1);
    case 'i':
        if (!conn_send(w, c, answer_100, sizeof answer_100 - 1)) return false;
        break;
    default:
        break;
    }
    struct conn *to = atomic_load(&places[phone].conn);
    unsigned worker = atomic_load(&places[phone].worker);
    if (!to) return true;
    if (worker == w->index) return conn_send(w, to, p, n);
    post(&workers[worker], phone, p, n);
    return true;
}

static bool conn_read(struct worker *w, struct conn *c) {
    static _Thread_local char room[2 * MESSAGE_MAX];
    size_t have = c->held_bytes;
    if (have) memcpy(room, c->held, have);
    c->held_bytes = 0;
    do {
        int n = SSL_read(c->ssl, room + have, (int)(sizeof room - have));
        if (n <= 0) {
            if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ) return false;
            break;
        }
        have += (size_t)n;
    } while (SSL_has_pending(c->ssl) && have < MESSAGE_MAX);
    size_t at = 0;
    while (have - at > 64) {
        const char *line = memchr(room + at, '\n', have - at);
        if (!line || (size_t)(room + have - line) < 32) break;
        size_t n = hex(line + 1 + 18, 6);
        if (n > have - at) break;
        if (n < 64 || !relay(w, c, room + at, n, line + 1)) return false;
        at += n;
    }
    if (have == at) return true;
    char *held = realloc(c->held, have - at);
    if (!held) die("memory");
    memcpy(held, room + at, have - at);
    c->held = held;
    c->held_bytes = have - at;
    return true;
}

static void conn_event(struct worker *w, struct conn *c, uint32_t events) {
    bool ok = true;
    if (!c->up) {
        int n = SSL_accept(c->ssl);
        int why = n == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, n);
        ok = why == SSL_ERROR_NONE || why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
        c->up = n == 1;
        if (!c->up || !SSL_has_pending(c->ssl)) {
            if (!ok) conn_close(c);
            return;
        }
    }
    if (events & EPOLLOUT && c->out_bytes) ok = conn_flush(w, c);
    if (ok && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) ok = conn_read(w, c);
    if (!ok) conn_close(c);
}

static void accept_some(struct worker *w) {
    for (int i = 0; i < 16; i++) { // NOLINT(clang-analyzer-unix.Malloc): epoll keeps what is made
        int fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct conn *c = calloc(1, sizeof *c);
        if (!c || !(c->ssl = SSL_new(w->tls)) || SSL_set_fd(c->ssl, fd) != 1) die("connection");
        c->fd = fd;
        conn_watch(w, c, EPOLL_CTL_ADD);
    }
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(w->epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &w->listener)
                accept_some(w);
            else if (events[i].data.ptr == &w->wake)
                take_mail(w);
            else
                conn_event(w, events[i].data.ptr, events[i].events);
        }
    }
    return NULL;
}

static int any_certificate(int ok, X509_STORE_CTX *ctx) {
    (void)ok;
    (void)ctx;
    return 1; /* asked for, never demanded: as Kith's listeners do */
}

static SSL_CTX *tls_new(void) {
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (!tls || SSL_CTX_use_certificate_chain_file(tls, config.cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, config.key, SSL_FILETYPE_PEM) != 1)
        die("certificate or key");
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(tls, "ECDHE+AESGCM:ECDHE+CHACHA20:!PSK") != 1 ||
        SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"
                                      "TLS_AES_256_GCM_SHA384") != 1 ||
        SSL_CTX_set1_groups_list(tls, "X25519:P-256:P-384") != 1)
        die("TLS settings");
    SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(tls, (const unsigned char *)"floor", 5);
    SSL_CTX_set_num_tickets(tls, (size_t)config.tickets);
    SSL_CTX_set_read_ahead(tls, 1);
    if (config.ask_certificate) SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, any_certificate);
    return tls;
}

static void worker_start(struct worker *w, unsigned index) {
    w->index = index;
    w->tls = tls_new();
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    pthread_mutex_init(&w->lock, NULL);
    int on = 1;
    setsockopt(w->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(w->listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(w->listener, (struct sockaddr *)&config.address, sizeof config.address) < 0 ||
        listen(w->listener, 4096) < 0)
        die("listen");
    struct epoll_event e = { .events = EPOLLIN, .data.ptr = &w->listener };
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->listener, &e) < 0) die("epoll_ctl");
    e.data.ptr = &w->wake;
    if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &e) < 0) die("epoll_ctl");
}

static bool set_listen(const char *text) {
    const char *colon = strrchr(text, ':');
    char host[64];
    if (!colon || (size_t)(colon - text) >= sizeof host) return false;
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    unsigned long port = strtoul(colon + 1, NULL, 10);
    config.address.sin_family = AF_INET;
    config.address.sin_port = htons((uint16_t)port);
    return port > 0 && port < 65536 && inet_pton(AF_INET, host, &config.address.sin_addr) == 1;
}

static int usage(void) {
    fprintf(stderr, "usage: bench_floor [--listen 127.0.0.1:5061] --cert FILE --key FILE\n"
                    "                   [--workers 1..8] [--tickets N] [--no-ask]\n");
    return 2;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        { "listen", 1, NULL, 'l' },  { "cert", 1, NULL, 'c' },    { "key", 1, NULL, 'k' },
        { "workers", 1, NULL, 'w' }, { "tickets", 1, NULL, 't' }, { "no-ask", 0, NULL, 'n' },
        { NULL, 0, NULL, 0 },
    };
    (void)set_listen("127.0.0.1:5061");
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'l':
            if (!set_listen(optarg)) return usage();
            break;
        case 'c':
            config.cert = optarg;
            break;
        case 'k':
            config.key = optarg;
            break;
        case 'w':
            config.workers = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            config.tickets = (int)strtol(optarg, NULL, 10);
            break;
        case 'n':
            config.ask_certificate = false;
            break;
        default:
            return usage();
        }
    }
    if (!config.cert || !config.key || !config.workers || config.workers > WORKERS_MAX)
        return usage();
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < config.workers; i++) worker_start(&workers[i], i);
    for (unsigned i = 1; i < config.workers; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) die("thread");
    printf("bench_floor: ready\n");
    fflush(stdout);
    work(&workers[0]);
    return 0;
}
