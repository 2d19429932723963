#include "os/socket.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */
/* A silent peer is probed, below the usual NAT timeouts: one that vanished is found in the end.
 * Each of those accepted gets up to so many seconds less: phones that spoke together by the
 * thousand are not all probed at once, which would overrun queues (loopback drops what is beyond a
 * thousand). */
#define KEEPALIVE_IDLE_S   120
#define KEEPALIVE_SPREAD_S 60
#define KEEPALIVE_AGAIN_S  10
#define KEEPALIVE_PROBES   3
/* Sent bytes that nobody acknowledges: the peer is gone. Linux asks this option about probes too,
 * and then counts none: whoever has been silent for so long is gone with one unanswered probe. Were
 * it shorter than the silence and all probes, a single lost packet would close an idle connection.
 */
#define UNACKED_MS (1000 * (KEEPALIVE_IDLE_S + KEEPALIVE_PROBES * KEEPALIVE_AGAIN_S))
/* Left to itself the kernel would keep up to 4 MB for a peer that reads slowly. */
#define TCP_SEND_BYTES   (1 << 18)
#define UDP_BUFFER_BYTES (1 << 20)

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    if (a->family == ADDR_V4) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(a->port) };
        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
                                .sin6_port = htons(a->port),
                                .sin6_scope_id = a->scope };
    memcpy(&in6.sin6_addr, a->ip, 16);
    memcpy(out, &in6, sizeof in6);
    return sizeof in6;
}

enum err addr_from_sockaddr(const struct sockaddr *sa, struct addr *out) {
    *out = (struct addr){ 0 };
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        out->family = ADDR_V4;
        out->port = ntohs(in.sin_port);
        memcpy(out->ip, &in.sin_addr, 4);
        return ERR_OK;
    }
    if (sa->sa_family != AF_INET6) return ERR_BAD;
    struct sockaddr_in6 in6;
    memcpy(&in6, sa, sizeof in6);
    out->family = ADDR_V6;
    out->port = ntohs(in6.sin6_port);
    out->scope = in6.sin6_scope_id;
    memcpy(out->ip, &in6.sin6_addr, 16);
    return ERR_OK;
}

bool addr_is_any(const struct addr *a) {
    static const uint8_t zero[16];
    return memcmp(a->ip, zero, sizeof zero) == 0;
}

static enum err err_of_errno(int error) {
    switch (error) {
    case EADDRINUSE:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case EADDRNOTAVAIL:
    case ENETUNREACH:
    case EHOSTUNREACH:
        return ERR_MISSING;
    case ECONNREFUSED:
        return ERR_CLOSED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case EAFNOSUPPORT:
        return ERR_UNSUPPORTED;
    case EAGAIN:
        return ERR_AGAIN;
    case EMFILE:
    case ENFILE:
        return ERR_FULL;
    case ENOBUFS:
    case ENOMEM:
        return ERR_MEMORY;
    default:
        return ERR_IO;
    }
}

static bool set_int(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

/* Closes fd on failure, keeping the reason. */
static enum err finish(int fd, bool ok, int *out_fd, struct addr *bound) {
    enum err e = ok ? socket_local(fd, bound) : err_of_errno(errno);
    if (e == ERR_OK)
        *out_fd = fd;
    else
        close(fd);
    return e;
}

static bool bind_to(int fd, const struct addr *at) {
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(at, &sa);
    return set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
           (at->family != ADDR_V6 || set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
           bind(fd, (const struct sockaddr *)&sa, len) == 0;
}

static int socket_new(const struct addr *a, int type) {
    return socket(a->family == ADDR_V6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC,
                  0);
}

static bool tcp_options(int fd) {
    return set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) && set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
           set_int(fd, SOL_SOCKET, SO_SNDBUF, TCP_SEND_BYTES) &&
           set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S) &&
           set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_AGAIN_S) &&
           set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MS);
}

enum err socket_listen_tcp(const struct addr *at, int *out_fd, struct addr *bound) {
    int fd = socket_new(at, SOCK_STREAM);
    if (fd < 0) return err_of_errno(errno);
    bool ok = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) && bind_to(fd, at) && tcp_options(fd) &&
              listen(fd, LISTEN_BACKLOG) == 0;
    return finish(fd, ok, out_fd, bound);
}

void socket_set_room(int fd, int bytes) {
    (void)set_int(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

enum err socket_bind_udp(const struct addr *at, int *out_fd, struct addr *bound) {
    int fd = socket_new(at, SOCK_DGRAM);
    if (fd < 0) return err_of_errno(errno);
    bool ok =
        bind_to(fd, at) && (at->family == ADDR_V6 ? set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                                                  : set_int(fd, IPPROTO_IP, IP_PKTINFO, 1));
    /* Larger buffers are a wish: the kernel's own maximum stands. */
    socket_set_room(fd, UDP_BUFFER_BYTES);
    (void)set_int(fd, SOL_SOCKET, SO_SNDBUF, UDP_BUFFER_BYTES);
    return finish(fd, ok, out_fd, bound);
}

void socket_take_bursts(int fd) {
    (void)set_int(fd, SOL_UDP, UDP_GRO, 1);
}

void socket_tell_local(int fd, uint8_t family, bool is_on) {
    if (family == ADDR_V6)
        (void)set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, is_on);
    else
        (void)set_int(fd, IPPROTO_IP, IP_PKTINFO, is_on);
}

void socket_keep_errors(int fd, uint8_t family) {
    if (family == ADDR_V6)
        (void)set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
    else
        (void)set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
}

static bool is_icmp(const struct cmsghdr *c) {
    bool is_v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
    bool is_v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
    struct sock_extended_err e;
    if (!is_v4 && !is_v6) return false;
    memcpy(&e, CMSG_DATA(c), sizeof e);
    return e.ee_origin == (is_v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6);
}

bool socket_next_error(int fd, struct socket_error *out) {
    struct sockaddr_storage to;
    _Alignas(struct cmsghdr) char control[256];
    for (;;) {
        struct msghdr m = { .msg_name = &to,
                            .msg_namelen = sizeof to,
                            .msg_control = control,
                            .msg_controllen = sizeof control };
        if (recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return false;
        if (addr_from_sockaddr((const struct sockaddr *)&to, &out->to) != ERR_OK) continue;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            struct sock_extended_err e;
            if (!is_icmp(c)) continue;
            memcpy(&e, CMSG_DATA(c), sizeof e);
            out->type = e.ee_type;
            out->code = e.ee_code;
            out->info = e.ee_info;
            return true;
        }
    }
}

void socket_set_fragments(int fd, uint8_t family, bool may_cut) {
    if (family == ADDR_V4)
        (void)set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, may_cut ? IP_PMTUDISC_DONT : IP_PMTUDISC_DO);
}

enum err socket_bind_relay(const struct addr *at, int *out_fd) {
    struct sockaddr_storage sa;
    struct addr bound;
    socklen_t len = addr_to_sockaddr(at, &sa);
    int fd = socket_new(at, SOCK_DGRAM);
    if (fd < 0) return err_of_errno(errno);
    bool ok = (at->family != ADDR_V6 || set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
              bind(fd, (const struct sockaddr *)&sa, len) == 0;
    socket_set_fragments(fd, at->family, true);
    socket_take_bursts(fd);
    socket_keep_errors(fd, at->family);
    return finish(fd, ok, out_fd, &bound);
}

enum err socket_listen_relay(const struct addr *at, int *out_fd) {
    struct addr bound;
    return socket_listen_tcp(at, out_fd, &bound);
}

enum err socket_accept(int listen_fd, int *out_fd, struct addr *peer) {
    struct sockaddr_storage sa = { 0 };
    socklen_t len = sizeof sa;
    int fd = accept4(listen_fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return err_of_errno(errno);
    if (addr_from_sockaddr((const struct sockaddr *)&sa, peer) != ERR_OK) {
        close(fd);
        return ERR_IO;
    }
    (void)set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S - fd % KEEPALIVE_SPREAD_S);
    *out_fd = fd;
    return ERR_OK;
}

enum err socket_local(int fd, struct addr *out) {
    struct sockaddr_storage sa = { 0 };
    socklen_t len = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0) return ERR_IO;
    return addr_from_sockaddr((const struct sockaddr *)&sa, out) == ERR_OK ? ERR_OK : ERR_IO;
}

static enum err connect_tcp(const struct addr *from, const struct addr *to, int *out_fd) {
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(to, &sa);
    int fd = socket_new(to, SOCK_STREAM);
    if (fd < 0) return err_of_errno(errno);
    bool is_bound = !from || (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) && bind_to(fd, from));
    if (!is_bound || !tcp_options(fd) ||
        (connect(fd, (const struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)) {
        enum err e = err_of_errno(errno);
        close(fd);
        return e;
    }
    *out_fd = fd;
    return ERR_OK;
}

enum err socket_connect_tcp(const struct addr *to, int *out_fd) {
    return connect_tcp(NULL, to, out_fd);
}

enum err socket_connect_from(const struct addr *from, const struct addr *to, int *out_fd) {
    return connect_tcp(from, to, out_fd);
}

enum err socket_connected(int fd) {
    int error = socket_error(fd);
    return error ? err_of_errno(error) : ERR_OK;
}

void socket_close(int fd) {
    close(fd);
}

int socket_error(int fd) {
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) return errno;
    return error;
}
