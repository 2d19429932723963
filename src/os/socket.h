/* os/socket.h - sockets as we use them: non-blocking, close-on-exec, one per worker and address.
 *
 * Each worker opens its own listener on the same address (SO_REUSEPORT); the kernel spreads
 * connections and datagrams over them. Accepted connections inherit TCP_NODELAY, keep-alive,
 * TCP_USER_TIMEOUT and a bounded send buffer from their listener; when they have been silent for
 * one to two minutes they are probed, each after a time of its own. IPv6 sockets are IPv6 only:
 * IPv4 gets its own. Memory: none. Threads: any. */
#ifndef OS_SOCKET_H
#define OS_SOCKET_H

#include "base/addr.h"
#include "base/err.h"

#include <sys/socket.h>

/* A struct addr as the kernel likes it; the length is returned. */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out);
/* BAD: neither AF_INET nor AF_INET6. */
NODISCARD enum err addr_from_sockaddr(const struct sockaddr *sa, struct addr *out);
bool addr_is_any(const struct addr *a); /* 0.0.0.0 or :: */

/* Port 0: the kernel chooses; *bound tells what became of it. EXISTS: the address is taken;
 * DENIED: port below 1024 without the right; MISSING: no such local address; UNSUPPORTED: no
 * such address family here; IO. */
NODISCARD enum err socket_listen_tcp(const struct addr *at, int *out_fd, struct addr *bound);
/* With IP_PKTINFO / IPV6_RECVPKTINFO, so that answers leave from the address they came to. */
NODISCARD enum err socket_bind_udp(const struct addr *at, int *out_fd, struct addr *bound);
/* One that is nobody else's: no other socket may share the port. Errors as above. */
NODISCARD enum err socket_bind_relay(const struct addr *at, int *out_fd);
/* Equal datagrams of one source that came together are read as one (UDP_GRO), where the kernel can.
 */
void socket_take_bursts(int fd);
/* Room for so many bytes that wait to be read; the system's own maximum stands. */
void socket_set_room(int fd, int bytes);
/* Is it told, and may it be said, to which address of ours a datagram came (IP_PKTINFO)? It is on
 * after socket_bind_udp(); where the socket has one address it only costs. */
void socket_tell_local(int fd, uint8_t family, bool is_on);
/* RFC 6062: a relayed address takes TCP connections and begins them, from one and the same port:
 * other sockets of this user's processes could share it. Errors as above, and of
 * socket_connect_tcp(). */
NODISCARD enum err socket_listen_relay(const struct addr *at, int *out_fd);
NODISCARD enum err socket_connect_from(const struct addr *from, const struct addr *to, int *out_fd);
/* ICMP errors are kept for socket_next_error(). The next call on the socket fails for each, once.
 */
void socket_keep_errors(int fd, uint8_t family);
struct socket_error {
    struct addr to; /* where the packet went that caused it */
    uint8_t type, code;
    uint32_t info; /* of ICMP: the MTU of the next hop */
};
bool socket_next_error(int fd, struct socket_error *out); /* false: no more */
/* May routers cut its datagrams (over IPv4: is DF off)? */
void socket_set_fragments(int fd, uint8_t family, bool may_cut);
/* AGAIN: nobody waits. FULL: no descriptors left. IO: this one is gone already, try again. */
NODISCARD enum err socket_accept(int listen_fd, int *out_fd, struct addr *peer);
NODISCARD enum err socket_local(int fd, struct addr *out);
/* Begins to connect; writable means done, then socket_connected(). Both: CLOSED (refused), TIMEOUT,
 * MISSING (no route), UNSUPPORTED (no such address family here), FULL, MEMORY, IO. */
NODISCARD enum err socket_connect_tcp(const struct addr *to, int *out_fd);
NODISCARD enum err socket_connected(int fd);
void socket_close(int fd);
int socket_error(int fd); /* SO_ERROR as errno, 0 when all is well */

#endif
