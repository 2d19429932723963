/* The floor of a relay: what any TURN server must do with a packet, and nothing else. One UDP
 * socket for all clients, one for each of them towards the peer; batches in, batches out. A client
 * is known by the number in front of his packets, the peer by the command line: no table, no
 * rights, no times, no limits.
 *
 *   bench_relay_floor LISTEN-PORT PEER-PORT CLIENTS        (all on 127.0.0.1) */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, CLIENTS_MAX = 1024, HEAD = 4, PACKET = 2048, ROUNDS = 4, CHANNEL = 0x4000 };

static struct sockaddr_in client_at[CLIENTS_MAX], peer_at, from[BATCH];
static int client_fd, peer_fds[CLIENTS_MAX];
static char room[BATCH][PACKET];
static struct iovec iov[BATCH], out_iov[BATCH];
static struct mmsghdr in[BATCH], out[BATCH];

static void must(int ok, const char *what) {
    if (ok) return;
    perror(what);
    exit(1);
}

static struct sockaddr_in local(unsigned port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int bound(unsigned port, int bytes) {
    struct sockaddr_in a = local(port);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0, "bind");
    if (bytes) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    return fd;
}

static int receive(int fd, int max) {
    for (int i = 0; i < max; i++) {
        iov[i] = (struct iovec){ room[i] + HEAD, PACKET - HEAD };
        in[i].msg_hdr = (struct msghdr){
            .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &iov[i], .msg_iovlen = 1
        };
    }
    return recvmmsg(fd, in, (unsigned)max, MSG_DONTWAIT, NULL);
}

static void send_all(int fd, int count) {
    for (int at = 0; at < count;) {
        int n = sendmmsg(fd, out + at, (unsigned)(count - at), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        at += n > 0 ? n : 1;
    }
}

/* What is for one socket leaves in one call. */
static void from_clients(int clients) {
    int n = receive(client_fd, BATCH), who[BATCH];
    for (int i = 0; i < n; i++) {
        const uint8_t *head = (const uint8_t *)room[i] + HEAD;
        who[i] = (head[0] << 8 | head[1]) - CHANNEL;
        if (in[i].msg_len < HEAD || who[i] < 0 || who[i] >= clients)
            who[i] = -1;
        else
            client_at[who[i]] = from[i];
    }
    for (int i = 0; i < n; i++) {
        int count = 0, me = who[i];
        for (int k = i; k < n && me >= 0; k++) {
            if (who[k] != me) continue;
            out_iov[count] = (struct iovec){ room[k] + 2 * HEAD, in[k].msg_len - HEAD };
            out[count].msg_hdr = (struct msghdr){ .msg_name = &peer_at,
                                                  .msg_namelen = sizeof peer_at,
                                                  .msg_iov = &out_iov[count],
                                                  .msg_iovlen = 1 };
            count++;
            who[k] = -1;
        }
        if (count == 1)
            (void)sendmsg(peer_fds[me], &out[0].msg_hdr, MSG_DONTWAIT);
        else
            send_all(peer_fds[me], count);
    }
}

static void from_peer(int who) {
    int n = receive(peer_fds[who], BATCH);
    if (n <= 0 || !client_at[who].sin_port) return;
    for (int i = 0; i < n; i++) {
        unsigned len = in[i].msg_len, number = (unsigned)(CHANNEL + who);
        uint8_t head[HEAD] = { (uint8_t)(number >> 8), (uint8_t)number, (uint8_t)(len >> 8),
                               (uint8_t)len };
        memcpy(room[i], head, HEAD);
        out_iov[i] = (struct iovec){ room[i], len + HEAD };
        out[i].msg_hdr = (struct msghdr){ .msg_name = &client_at[who],
                                          .msg_namelen = sizeof client_at[who],
                                          .msg_iov = &out_iov[i],
                                          .msg_iovlen = 1 };
    }
    send_all(client_fd, n);
}

int main(int argc, char **argv) {
    int clients = argc == 4 ? (int)strtoul(argv[3], NULL, 10) : 0, poll = epoll_create1(0);
    must(poll >= 0, "epoll");
    if (clients < 1 || clients > CLIENTS_MAX) {
        fprintf(stderr, "usage: %s LISTEN-PORT PEER-PORT CLIENTS\n", argv[0]);
        return 2;
    }
    client_fd = bound((unsigned)strtoul(argv[1], NULL, 10), 4 << 20);
    peer_at = local((unsigned)strtoul(argv[2], NULL, 10));
    for (int i = -1; i < clients; i++) {
        struct epoll_event e = { .events = EPOLLIN, .data.u32 = (uint32_t)(i + 1) };
        if (i >= 0) peer_fds[i] = bound(0, 0);
        must(epoll_ctl(poll, EPOLL_CTL_ADD, i < 0 ? client_fd : peer_fds[i], &e) == 0, "epoll");
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event ready[BATCH];
        int n = epoll_wait(poll, ready, BATCH, -1);
        for (int i = 0; i < n; i++)
            if (ready[i].data.u32 == 0)
                from_clients(clients);
            else
                from_peer((int)ready[i].data.u32 - 1);
    }
}
