/* Packets, counted and timed. */
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BATCH = 64, SILENCE_MS = 300, STREAMS = 8 };

static char sink[BATCH][65536];

/* Everything that waits there: how many bytes. */
static uint64_t drain(int fd, uint64_t *packets) {
    struct iovec iov[BATCH];
    struct mmsghdr in[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){ sink[i], sizeof sink[i] };
        in[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
    }
    uint64_t bytes = 0;
    for (;;) {
        int n = recvmmsg(fd, in, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < n; i++) bytes += in[i].msg_len;
        if (n > 0) *packets += (uint64_t)n;
        if (n < BATCH) return bytes;
    }
}

static bool wait_for(int fd, int ms) {
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, ms) > 0;
}

static void channel_head(char *to, unsigned client, unsigned len) {
    unsigned number = CHANNEL_FIRST + client % 4096;
    const uint8_t head[4] = { (uint8_t)(number >> 8), (uint8_t)number, (uint8_t)(len >> 8),
                              (uint8_t)len };
    memcpy(to, head, sizeof head);
}

static void send_voice(struct rig *r, unsigned client) {
    char packet[4 + VOICE_BYTES] = { 0 };
    channel_head(packet, client, VOICE_BYTES);
    (void)send(r->clients[client].fd, packet, sizeof packet, MSG_DONTWAIT);
}

/* From all clients in turn to the peer; never more than `window` packets are on their way, so that
 * no buffer overflows and the server is never idle. */
void traffic_up(struct rig *r, uint64_t count, unsigned window) {
    uint64_t sent = 0, got = 0, lost = 0, begun = now_us(), cpu = cpu_us(r->pid);
    while (got + lost < count) {
        while (sent < count && sent - got - lost < window)
            send_voice(r, (unsigned)(sent++ % r->count));
        uint64_t before = got;
        (void)drain(r->peer_fd, &got);
        if (got == before && !wait_for(r->peer_fd, SILENCE_MS)) lost = sent - got;
    }
    uint64_t us = now_us() - begun;
    printf("{\"packets\":%llu,\"lost\":%llu,\"us\":%llu,\"server_cpu_us\":%llu}\n",
           (unsigned long long)count, (unsigned long long)lost, (unsigned long long)us,
           (unsigned long long)(cpu_us(r->pid) - cpu));
}

/* ---- video: bursts of equal packets, both ways ---- */

static void send_burst(int fd, const struct sockaddr_in *to, char *bytes, size_t each) {
    struct iovec iov = { bytes, each * BURST };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = { 0 };
    struct msghdr m = { .msg_name = (void *)(uintptr_t)to,
                        .msg_namelen = to ? sizeof *to : 0,
                        .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control,
                        .msg_controllen = sizeof control };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    uint16_t size = (uint16_t)each;
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(c), &size, sizeof size);
    must(sendmsg(fd, &m, 0) == (ssize_t)(each * BURST), "a burst");
}

struct way {                  /* one direction: what was sent, what has come */
    uint64_t sent, got, lost; /* packets */
    size_t each;
    int out, in;
    const struct sockaddr_in *to;
    char *bytes;
};

static bool way_turn(struct way *w, uint64_t count) {
    while (w->sent < count && w->sent - w->got - w->lost < STREAMS * BURST) {
        send_burst(w->out, w->to, w->bytes, w->each);
        w->sent += BURST;
    }
    uint64_t calls = 0, more = drain(w->in, &calls);
    size_t arrives = w->to ? w->each + 4 : w->each - 4;
    w->got += more / arrives;
    return more > 0;
}

void traffic_bursts(struct rig *r, uint64_t bursts) {
    static char up[(4 + VIDEO_BYTES) * BURST], down[VIDEO_BYTES * BURST];
    uint64_t count = bursts * BURST;
    struct client *c = &r->clients[0];
    int on = 1;
    struct way ways[2] = {
        { .each = 4 + VIDEO_BYTES, .out = c->fd, .in = r->peer_fd, .bytes = up },
        { .each = VIDEO_BYTES, .out = r->peer_fd, .in = c->fd, .to = &c->relayed, .bytes = down }
    };
    for (unsigned i = 0; i < BURST; i++) channel_head(up + i * (4 + VIDEO_BYTES), 0, VIDEO_BYTES);
    (void)setsockopt(c->fd, SOL_UDP, UDP_GRO, &on, sizeof on);
    (void)setsockopt(r->peer_fd, SOL_UDP, UDP_GRO, &on, sizeof on);
    uint64_t begun = now_us(), cpu = cpu_us(r->pid);
    while (ways[0].got + ways[0].lost < count || ways[1].got + ways[1].lost < count) {
        bool is_busy = way_turn(&ways[0], count);
        is_busy = way_turn(&ways[1], count) || is_busy;
        struct pollfd p[2] = { { .fd = r->peer_fd, .events = POLLIN },
                               { .fd = c->fd, .events = POLLIN } };
        if (is_busy || poll(p, 2, SILENCE_MS) > 0) continue;
        for (unsigned i = 0; i < 2; i++) ways[i].lost = ways[i].sent - ways[i].got;
    }
    printf("{\"packets\":%llu,\"lost\":%llu,\"us\":%llu,\"server_cpu_us\":%llu}\n",
           (unsigned long long)(2 * count), (unsigned long long)(ways[0].lost + ways[1].lost),
           (unsigned long long)(now_us() - begun), (unsigned long long)(cpu_us(r->pid) - cpu));
}

/* ---- a flood of strangers ---- */

/* Allocate requests without proof, each batch from other addresses in 127/8, until killed. */
static void flood(const struct rig *r, unsigned rate) {
    static char request[28];
    static struct mmsghdr out[BATCH];
    static _Alignas(struct cmsghdr) char control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
    struct iovec iov = { request, sizeof request };
    struct sockaddr_in any = { .sin_family = AF_INET };
    uint8_t id[STUN_ID_BYTES] = { 7 };
    int fd = socket(AF_INET, SOCK_DGRAM, 0), small = 1;
    must(fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0, "a stranger's socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct stun_writer w = stun_begin(request, sizeof request, TURN_ALLOCATE, STUN_REQUEST, id);
    stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x11\0\0\0", 4));
    for (unsigned i = 0; i < BATCH; i++) {
        struct msghdr *m = &out[i].msg_hdr;
        *m = (struct msghdr){ .msg_name = (void *)(uintptr_t)&r->server,
                              .msg_namelen = sizeof r->server,
                              .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control[i],
                              .msg_controllen = sizeof control[i] };
        struct cmsghdr *c = CMSG_FIRSTHDR(m);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    }
    uint64_t begun = now_us(), sent = 0;
    for (uint32_t from = 0;;) {
        for (unsigned i = 0; i < BATCH; i++) {
            struct in_pktinfo info = { .ipi_spec_dst.s_addr =
                                           htonl(0x7f100000u + (from++ & 0xfffff)) };
            memcpy(CMSG_DATA(CMSG_FIRSTHDR(&out[i].msg_hdr)), &info, sizeof info);
        }
        int n = sendmmsg(fd, out, BATCH, 0);
        if (n > 0) sent += (uint64_t)n;
        while (sent * 1000000 / rate > now_us() - begun) usleep(200);
    }
}

struct paced {
    uint64_t sent, got;
};

/* `rate` packets a second from all clients, whether they arrive or not. */
static struct paced traffic_paced(struct rig *r, unsigned seconds, unsigned rate) {
    struct paced p = { 0 };
    uint64_t begun = now_us(), us = 0, all = (uint64_t)seconds * rate;
    while (p.sent < all) {
        us = now_us() - begun;
        while (p.sent < all && p.sent < us * rate / 1000000)
            send_voice(r, (unsigned)(p.sent++ % r->count));
        (void)drain(r->peer_fd, &p.got);
        usleep(500);
    }
    while (p.got < p.sent && wait_for(r->peer_fd, SILENCE_MS)) (void)drain(r->peer_fd, &p.got);
    return p;
}

void traffic_flood(struct rig *r, unsigned seconds, unsigned flood_rate, unsigned rate) {
    struct paced calm = traffic_paced(r, seconds, rate);
    int child = fork();
    must(child >= 0, "fork");
    if (child == 0) flood(r, flood_rate);
    (void)traffic_paced(r, 1, rate); /* buffers of a fixed number become memory when first used */
    uint64_t rss = measure_rss_bytes(r->pid), cpu = cpu_us(r->pid);
    struct paced storm = traffic_paced(r, seconds, rate);
    uint64_t used = cpu_us(r->pid) - cpu;
    (void)kill(child, SIGKILL);
    (void)waitpid(child, NULL, 0);
    printf("{\"calm_sent\":%llu,\"calm_got\":%llu,\"storm_sent\":%llu,\"storm_got\":%llu,"
           "\"rss_grown\":%lld,\"server_cpu_us\":%llu,\"seconds\":%u}\n",
           (unsigned long long)calm.sent, (unsigned long long)calm.got,
           (unsigned long long)storm.sent, (unsigned long long)storm.got,
           (long long)measure_rss_bytes(r->pid) - (long long)rss, (unsigned long long)used,
           seconds);
}
