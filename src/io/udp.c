/* Datagrams of the legacy lane: many per system call in, many out, from the address they came to.
 */
#include "io/io_internal.h"

#include "base/limits.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "nat/strangers.h"
#include "nat/stun.h"
#include "os/socket.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define BATCH          16u /* datagrams per system call */
#define DATAGRAM_BYTES LIMIT_MSG_BYTES
#define ROUNDS         4u /* batches per socket and turn */

struct udp {
    struct mmsghdr in[BATCH], out[BATCH];
    struct udp_slot in_slots[BATCH], out_slots[BATCH];
    struct listener *out_from; /* all gathered ones leave here */
    unsigned out_count;
    struct strangers *strangers; /* who asks for their address */
    char *in_bytes, *out_bytes;  /* BATCH * DATAGRAM_BYTES each */
};

static void slot_bind(struct mmsghdr *m, struct udp_slot *s, char *bytes) {
    s->iov = (struct iovec){ bytes, DATAGRAM_BYTES };
    m->msg_hdr = (struct msghdr){ .msg_name = &s->peer,
                                  .msg_namelen = sizeof s->peer,
                                  .msg_iov = &s->iov,
                                  .msg_iovlen = 1,
                                  .msg_control = s->control,
                                  .msg_controllen = sizeof s->control };
}

enum err udp_new(struct io *io, struct udp **out) {
    struct hash_key key;
    struct udp *u = mem_zalloc(sizeof *u);
    (void)io;
    if (!u) return ERR_MEMORY;
    crypto_random(&key, sizeof key);
    u->strangers = strangers_new(&key);
    u->in_bytes = mem_alloc(BATCH * DATAGRAM_BYTES);
    u->out_bytes = mem_alloc(BATCH * DATAGRAM_BYTES);
    if (!u->strangers || !u->in_bytes || !u->out_bytes) {
        udp_free(u);
        return ERR_MEMORY;
    }
    *out = u;
    return ERR_OK;
}

void udp_free(struct udp *u) {
    if (!u) return;
    strangers_free(u->strangers);
    mem_free(u->in_bytes);
    mem_free(u->out_bytes);
    mem_free(u);
}

/* ---- in ---- */

/* The address of ours that it came to; without it, the listener's. */
void udp_read_local(struct msghdr *m, struct addr *local) {
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(h), sizeof info);
            memcpy(local->ip, &info.ipi_addr, 4);
        } else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(h), sizeof info);
            memcpy(local->ip, &info.ipi6_addr, 16);
        }
    }
}

/* RFC 5626 8: a Binding request on a SIP port is a keep-alive, answered without keeping state; not
 * without end, for its source may be forged. */
static void take_stun(struct io *io, const struct flow_info *info, slice bytes) {
    uint8_t mem[128]; /* an answer is one address, or a few unknown attributes */
    struct stun_msg m;
    slice answer = SLICE_NONE;
    if (stun_read(bytes, &m) == ERR_OK &&
        strangers_may_hear(io->udp->strangers, &info->peer, io->now.mono))
        answer = stun_answer_binding(&m, &info->peer, mem, sizeof mem);
    if (!answer.len) {
        io_count(&io->counters.datagrams_dropped, 1);
        return;
    }
    core_datagram_heard(io->core, info, io->now);
    udp_say(io, info, answer);
}

static void take_datagram(struct listener *l, struct mmsghdr *m) {
    struct io *io = l->io;
    struct flow_info info = { .transport = FLOW_UDP, .lane = l->lane, .local = l->at };
    slice bytes = slice_of(m->msg_hdr.msg_iov->iov_base, m->msg_len);
    /* RFC 5626 3.5.1 pings datagram flows by STUN; line ends alone are other people's keep-alive.
     */
    bool is_stun = stun_is(bytes);
    while (!is_stun && bytes.len &&
           (bytes.ptr[0] == '\r' || bytes.ptr[0] == '\n' || bytes.ptr[0] == '\0'))
        bytes = slice_from(bytes, 1);
    if (bytes.len == 0) return;
    flow_id flow;
    udp_read_local(&m->msg_hdr, &info.local);
    if ((m->msg_hdr.msg_flags & MSG_TRUNC) ||
        addr_from_sockaddr(m->msg_hdr.msg_name, &info.peer) != ERR_OK ||
        (!is_stun && core_flow_datagram(io->core, &info, io->now, &flow) != ERR_OK)) {
        io_count(&io->counters.datagrams_dropped, 1);
        return;
    }
    if (is_stun) {
        take_stun(io, &info, bytes);
        return;
    }
    io_drain_effects(io);
    core_receive(io->core, flow, bytes, io->now);
    io_drain_effects(io);
}

void udp_ready(struct loop_source *s, unsigned events) {
    (void)events;
    struct listener *l = LIST_ITEM(s, struct listener, source);
    struct io *io = l->io;
    struct udp *u = io->udp;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < BATCH; i++)
            slot_bind(&u->in[i], &u->in_slots[i], u->in_bytes + i * DATAGRAM_BYTES);
        int n = recvmmsg(l->source.fd, u->in, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0) return; /* nothing, or an ICMP error of an earlier datagram */
        io_count(&io->counters.datagrams_in, (uint64_t)n);
        for (int i = 0; i < n; i++) take_datagram(l, &u->in[i]);
        if ((unsigned)n < BATCH) return;
    }
    io->is_udp_unread = true;
}

/* ---- out ---- */

void udp_write_local(struct msghdr *m, const struct addr *local) {
    struct cmsghdr *h = CMSG_FIRSTHDR(m);
    if (local->family == ADDR_V4) {
        struct in_pktinfo info = { 0 };
        memcpy(&info.ipi_spec_dst, local->ip, 4);
        h->cmsg_level = IPPROTO_IP;
        h->cmsg_type = IP_PKTINFO;
        h->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(h), &info, sizeof info);
        m->msg_controllen = CMSG_SPACE(sizeof info);
        return;
    }
    struct in6_pktinfo info = { 0 };
    memcpy(&info.ipi6_addr, local->ip, 16);
    h->cmsg_level = IPPROTO_IPV6;
    h->cmsg_type = IPV6_PKTINFO;
    h->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(h), &info, sizeof info);
    m->msg_controllen = CMSG_SPACE(sizeof info);
}

static struct listener *listener_of(struct io *io, const struct addr *local) {
    for (size_t i = 0; i < io->listener_count; i++) {
        struct listener *l = &io->listeners[i];
        if (l->transport == FLOW_UDP && l->at.family == local->family &&
            l->at.port == local->port && (addr_is_any(&l->at) || addr_ip_eq(&l->at, local)))
            return l;
    }
    return NULL;
}

void udp_flush(struct io *io) {
    struct udp *u = io->udp;
    if (!u || u->out_count == 0) return;
    unsigned at = 0;
    while (at < u->out_count) {
        int n = sendmmsg(u->out_from->source.fd, u->out + at, u->out_count - at, MSG_DONTWAIT);
        if (n > 0) {
            at += (unsigned)n;
            io_count(&io->counters.datagrams_out, (uint64_t)n);
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        /* A full socket or an unreachable peer: that one is lost, as datagrams may be. */
        io_count(&io->counters.datagrams_dropped, 1);
        at++;
    }
    u->out_count = 0;
}

void udp_say(struct io *io, const struct flow_info *info, slice bytes) {
    struct udp *u = io->udp;
    struct listener *from = listener_of(io, &info->local);
    if (!from || bytes.len > DATAGRAM_BYTES) {
        io_count(&io->counters.datagrams_dropped, 1);
        return;
    }
    if (u->out_count == BATCH || (u->out_count && u->out_from != from)) udp_flush(io);
    u->out_from = from;
    unsigned i = u->out_count++;
    struct udp_slot *s = &u->out_slots[i];
    slot_bind(&u->out[i], s, u->out_bytes + i * DATAGRAM_BYTES);
    memcpy(s->iov.iov_base, bytes.ptr, bytes.len);
    s->iov.iov_len = bytes.len;
    u->out[i].msg_hdr.msg_namelen = addr_to_sockaddr(&info->peer, &s->peer);
    memset(s->control, 0, sizeof s->control);
    udp_write_local(&u->out[i].msg_hdr, &info->local);
}
