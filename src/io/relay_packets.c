/* Datagrams of the relay. They come in batches, and bursts of equal ones come as one (UDP GRO);
 * they leave by one call a socket, bursts to one address as one (UDP GSO). A payload is not copied
 * in between: what waits points into the buffers that it came in. */
#include "io/relay_priv.h"

#include "os/socket.h"
#include <errno.h>

#define SOCKET_BATCH   16u /* read from one relayed address at a time */
#define ROUNDS         4u  /* batches per listener and turn */
#define BURST_SEGMENTS 64u /* Linux, UDP_MAX_SEGMENTS of old kernels */
#define BURST_PAYLOAD  65000u

static char *buffer_at(const struct relay *r, unsigned i) {
    return r->buffers + (size_t)i * RELAY_PACKET_BYTES + TURN_HEADROOM;
}

void packets_init(struct relay *r) {
    for (unsigned i = 0; i < RELAY_BATCH; i++) {
        r->in_iov[i] = (struct iovec){ buffer_at(r, i), BURST_BYTES };
        r->in[i].msg_hdr = (struct msghdr){ .msg_name = &r->in_from[i],
                                            .msg_namelen = sizeof r->in_from[i],
                                            .msg_iov = &r->in_iov[i],
                                            .msg_iovlen = 1,
                                            .msg_control = r->in_control[i],
                                            .msg_controllen = RELAY_CONTROL_BYTES };
    }
}

char *packets_buffer(struct relay *r) {
    if (r->used == RELAY_BATCH) packets_flush(r);
    return buffer_at(r, r->used++);
}

/* ---- out ---- */

static unsigned put_pieces(const struct relay_out *p, struct iovec *iov) {
    static char zeros[4];
    const char *head = p->room + sizeof p->room - p->head_len;
    unsigned n = 0;
    /* In front of the first packet of a buffer there is room for the head: one piece. */
    if (p->head_len) iov[n++] = (struct iovec){ (void *)(uintptr_t)head, p->head_len };
    if (p->bytes.len) iov[n++] = (struct iovec){ (void *)(uintptr_t)p->bytes.ptr, p->bytes.len };
    if (p->pad) iov[n++] = (struct iovec){ zeros, p->pad };
    return n;
}

static void put_burst_size(struct msghdr *m, char *at, size_t used, uint16_t each) {
    struct cmsghdr *c = (struct cmsghdr *)(void *)(at + used);
    m->msg_control = at;
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof each);
    memcpy(CMSG_DATA(c), &each, sizeof each);
    m->msg_controllen = used + CMSG_SPACE(sizeof each);
}

static bool goes_along(const struct relay_out *a, const struct relay_out *b, bool with_local) {
    return b->len <= a->len && addr_eq(&a->to, &b->to) &&
           (!with_local || addr_ip_eq(&a->local, &b->local));
}

/* The message for the kernel that begins with packet `i`, with as many after it as may leave in one
 * burst: of one size, the last one may be shorter. Returns the packet behind. */
static uint16_t put_send(struct relay *r, const struct relay_outlet *o, unsigned k, uint16_t i,
                         unsigned max, unsigned *iovs) {
    struct relay_send *s = &r->send[k];
    struct msghdr *m = &r->sends[k].msg_hdr;
    const struct relay_out *first = &r->out[i];
    struct iovec *iov = &r->send_iov[*iovs];
    unsigned pieces = put_pieces(first, iov), count = 1;
    size_t bytes = first->len;
    uint16_t next = first->next, last_len = first->len;
    while (next != OUT_NONE && count < max && last_len == first->len) {
        const struct relay_out *p = &r->out[next];
        if (!goes_along(first, p, o->with_local) || bytes + p->len > BURST_PAYLOAD) break;
        pieces += put_pieces(p, iov + pieces);
        bytes += p->len;
        last_len = p->len;
        next = p->next;
        count++;
    }
    *iovs += pieces;
    s->first = i;
    s->count = (uint16_t)count;
    *m = (struct msghdr){ .msg_name = &s->to, .msg_iov = iov, .msg_iovlen = pieces };
    m->msg_namelen = addr_to_sockaddr(&first->to, &s->to);
    size_t used = 0;
    if (o->with_local) {
        memset(s->control, 0, sizeof s->control);
        m->msg_control = s->control;
        m->msg_controllen = sizeof s->control;
        udp_write_local(m, &first->local);
        used = m->msg_controllen;
    }
    if (count > 1) put_burst_size(m, s->control, used, first->len);
    return next;
}

/* An ICMP error of an earlier packet is told by the next call, whose packet is not sent then. */
static bool send_one(int fd, const struct msghdr *m) {
    for (unsigned tries = 0; tries < 2; tries++) {
        if (sendmsg(fd, m, MSG_DONTWAIT) >= 0) return true;
        if (errno == EAGAIN || errno == ENOBUFS) break;
    }
    return false; /* what cannot be sent is lost, as packets may be */
}

/* A burst that the kernel or the way does not take (packets above the MTU are to be cut) goes one
 * by one. */
static void send_singly(struct relay *r, const struct relay_outlet *o, unsigned k) {
    uint16_t i = r->send[k].first;
    for (unsigned left = r->send[k].count; left-- > 0;) {
        struct iovec iov[3];
        struct msghdr m = r->sends[k].msg_hdr;
        m.msg_iov = iov;
        m.msg_iovlen = put_pieces(&r->out[i], iov);
        m.msg_controllen = o->with_local ? m.msg_controllen - CMSG_SPACE(sizeof(uint16_t)) : 0;
        (void)send_one(o->source.fd, &m);
        i = r->out[i].next;
    }
}

static void send_again(struct relay *r, const struct relay_outlet *o, unsigned k) {
    if (errno == EAGAIN || errno == ENOBUFS || send_one(o->source.fd, &r->sends[k].msg_hdr)) return;
    if (r->send[k].count > 1) send_singly(r, o, k);
}

static void outlet_flush(struct relay *r, struct relay_outlet *o) {
    unsigned n = 0, iovs = 0, at = 0;
    for (uint16_t i = o->first; i != OUT_NONE;) i = put_send(r, o, n++, i, BURST_SEGMENTS, &iovs);
    o->first = o->last = OUT_NONE;
    const struct msghdr *m = &r->sends[0].msg_hdr;
    /* One packet of each of many calls: the plainest call is the cheapest. */
    if (n == 1 && m->msg_iovlen == 1 && !m->msg_control) {
        if (sendto(o->source.fd, m->msg_iov->iov_base, m->msg_iov->iov_len, MSG_DONTWAIT,
                   m->msg_name, m->msg_namelen) < 0)
            send_again(r, o, 0);
        return;
    }
    while (at < n) {
        int done = sendmmsg(o->source.fd, r->sends + at, n - at, MSG_DONTWAIT);
        if (done <= 0) send_again(r, o, at);
        at += done > 0 ? (unsigned)done : 1;
    }
}

static void flush_out(struct relay *r) {
    for (unsigned i = 0; i < r->waiting_count; i++) outlet_flush(r, r->waiting[i]);
    r->waiting_count = r->out_count = 0;
}

void packets_flush(struct relay *r) {
    flush_out(r);
    r->used = 0;
}

static struct relay_out *out_new(struct relay_outlet *o, const struct addr *to) {
    struct relay *r = o->relay;
    if (r->out_count == RELAY_OUT) flush_out(r);
    uint16_t i = (uint16_t)r->out_count++;
    struct relay_out *p = &r->out[i];
    p->to = *to;
    p->next = OUT_NONE;
    p->head_len = p->pad = 0;
    if (o->first == OUT_NONE) {
        r->waiting[r->waiting_count++] = o;
        o->first = i;
    } else {
        r->out[o->last].next = i;
    }
    o->last = i;
    return p;
}

/* ---- towards clients ---- */

static struct relay_listener *listener_to(struct relay *r, const struct addr *local) {
    for (unsigned i = 0; i < r->listener_count; i++) {
        struct relay_listener *l = &r->listeners[i];
        if (l->at.family == local->family && l->at.port == local->port &&
            (l->out.with_local || addr_ip_eq(&l->at, local)))
            return l;
    }
    return NULL;
}

static bool is_in_buffers(const struct relay *r, slice bytes) {
    uintptr_t at = (uintptr_t)bytes.ptr, from = (uintptr_t)r->buffers;
    return at >= from && at < from + (uintptr_t)RELAY_BATCH * RELAY_PACKET_BYTES;
}

void packets_say_to_client(struct relay *r, const struct turn_out *out) {
    struct relay_listener *l = listener_to(r, &out->tuple->local);
    if (!l) return;
    struct relay_out *p = out_new(&l->out, &out->tuple->peer);
    p->local = out->tuple->local;
    p->bytes = out->bytes;
    p->len = (uint16_t)(out->head.len + out->bytes.len + out->pad);
    p->pad = out->pad;
    if (out->head.len && out->head.ptr + out->head.len == out->bytes.ptr) {
        p->bytes = slice_of(out->head.ptr, out->head.len + out->bytes.len);
    } else if (out->head.len) {
        p->head_len = (uint8_t)out->head.len;
        memcpy(p->room + sizeof p->room - out->head.len, out->head.ptr, out->head.len);
    }
    if (is_in_buffers(r, out->bytes)) return;
    /* An answer stands in the machine's own buffer, for this moment only. */
    if (out->bytes.len > sizeof p->small) {
        flush_out(r);
    } else {
        memcpy(p->small, out->bytes.ptr, out->bytes.len);
        p->bytes.ptr = p->small;
    }
}

/* ---- towards peers ---- */

/* The other end may be another client of ours: handed over without leaving the process, when its
 * sockets are this worker's. Between workers, and for what was told an address that is not the
 * bound one, the kernel carries it. */
static bool hand_over(struct relay *r, const struct turn_out *out, struct addr *to,
                      struct now now) {
    struct port_owner owner;
    struct turn_out in;
    char room[TURN_HEADROOM];
    if (!ports_owner(r->config.ports, to, &owner)) return false;
    if (owner.worker != r->io->worker) {
        uint16_t port = to->port;
        *to = r->config.bind[to->family == ADDR_V6];
        to->port = port;
        return false;
    }
    struct addr from = *ports_relay(r->config.ports, to->family);
    from.port = relay_socket_of(r, out->allocation, to->family == ADDR_V6)->port;
    turn_from_peer(r->turn, owner.allocation, &from, out->bytes, room, now, &in);
    relay_perform(r, &in, now);
    return true;
}

/* RFC 8656 14: the bit is the socket's, and hardly anybody asks for it. */
static void send_whole(const struct relay_socket *s, const struct addr *to, slice bytes) {
    struct sockaddr_storage sa;
    int fd = s->out.source.fd;
    socklen_t len = addr_to_sockaddr(to, &sa);
    socket_set_fragments(fd, to->family, false);
    (void)sendto(fd, bytes.ptr, bytes.len, MSG_DONTWAIT, (struct sockaddr *)&sa, len);
    socket_set_fragments(fd, to->family, true);
}

void packets_say_to_peer(struct relay *r, const struct turn_out *out, struct now now) {
    struct addr to = out->peer;
    if (hand_over(r, out, &to, now)) return;
    struct relay_socket *s = relay_socket_of(r, out->allocation, to.family == ADDR_V6);
    if (!s->is_open) return;
    if (out->dont_fragment) {
        send_whole(s, &to, out->bytes);
        return;
    }
    struct relay_out *p = out_new(&s->out, &to);
    p->bytes = out->bytes;
    p->len = (uint16_t)out->bytes.len;
}

/* ---- in ---- */

static int receive(struct relay *r, int fd, unsigned max) {
    unsigned room = RELAY_BATCH - r->used;
    return recvmmsg(fd, r->in + r->used, max < room ? max : room, MSG_DONTWAIT, NULL);
}

/* The size of each packet of a burst; the whole length where it is one packet. */
static size_t burst_size(struct msghdr *m, size_t len) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int each;
        if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO) continue;
        memcpy(&each, CMSG_DATA(c), sizeof each);
        if (each > 0) return (size_t)each;
    }
    return len;
}

/* The kernel wrote lengths into it: as it was, for the next one. */
static void in_renew(struct relay *r, unsigned k) {
    struct msghdr *m = &r->in[k].msg_hdr;
    m->msg_namelen = sizeof r->in_from[k];
    m->msg_controllen = RELAY_CONTROL_BYTES;
}

static void take_from_client(struct relay_listener *l, unsigned k) {
    struct relay *r = l->out.relay;
    struct msghdr *m = &r->in[k].msg_hdr;
    struct turn_tuple from = { .local = l->at };
    struct turn_out out;
    slice rest = slice_of(buffer_at(r, k), r->in[k].msg_len);
    bool ok = !(m->msg_flags & MSG_TRUNC) && addr_from_sockaddr(m->msg_name, &from.peer) == ERR_OK;
    size_t each = burst_size(m, rest.len);
    if (l->out.with_local) udp_read_local(m, &from.local);
    in_renew(r, k);
    for (; ok && rest.len; rest = slice_from(rest, each < rest.len ? each : rest.len)) {
        turn_from_client(r->turn, &from, slice_head(rest, each), r->io->now, &out);
        relay_perform(r, &out, r->io->now);
    }
}

void listener_readable(struct loop_source *source, unsigned events) {
    (void)events;
    struct relay_listener *l = LIST_ITEM(source, struct relay_listener, out.source);
    struct relay *r = l->out.relay;
    for (unsigned round = 0; round < ROUNDS; round++) {
        packets_flush(r); /* what is in the buffers must not be flushed while it is being read */
        int n = receive(r, source->fd, RELAY_BATCH);
        if (n <= 0) break;
        r->used = (unsigned)n;
        for (unsigned i = 0; i < (unsigned)n; i++) take_from_client(l, i);
        relay_close_ended(r);
        if ((unsigned)n < RELAY_BATCH) break;
    }
}

static void take_from_peer(struct relay_socket *s, unsigned k) {
    struct relay *r = s->out.relay;
    struct msghdr *m = &r->in[k].msg_hdr;
    struct addr peer;
    char apart[TURN_HEADROOM], *room = buffer_at(r, k) - TURN_HEADROOM;
    slice rest = slice_of(buffer_at(r, k), r->in[k].msg_len);
    bool ok = !(m->msg_flags & MSG_TRUNC) && addr_from_sockaddr(m->msg_name, &peer) == ERR_OK;
    size_t each = burst_size(m, rest.len);
    in_renew(r, k);
    if (!ok) return;
    relay_peer_as_told(r, &peer);
    do { /* an empty one is a packet too */
        struct turn_out out;
        turn_from_peer(r->turn, s->allocation, &peer, slice_head(rest, each), room, r->io->now,
                       &out);
        relay_perform(r, &out, r->io->now);
        rest = slice_from(rest, each < rest.len ? each : rest.len);
        room = apart; /* in front of the next one stands the one before */
    } while (rest.len);
}

/* RFC 8656 11.5 */
static void take_errors(struct relay_socket *s) {
    struct relay *r = s->out.relay;
    struct socket_error e;
    for (unsigned i = 0; i < SOCKET_BATCH && socket_next_error(s->out.source.fd, &e); i++) {
        struct turn_icmp icmp = { .peer = e.to, .type = e.type, .code = e.code, .mtu = e.info };
        struct turn_out out;
        relay_peer_as_told(r, &icmp.peer);
        turn_from_network(r->turn, s->allocation, &icmp, r->io->now, &out);
        relay_perform(r, &out, r->io->now);
    }
}

void relay_socket_ready(struct loop_source *source, unsigned events) {
    struct relay_socket *s = LIST_ITEM(source, struct relay_socket, out.source);
    struct relay *r = s->out.relay;
    if (events & LOOP_BROKEN) take_errors(s);
    if (r->used == RELAY_BATCH) packets_flush(r);
    int n = receive(r, source->fd, SOCKET_BATCH);
    if (n <= 0) return; /* nothing, or an ICMP error of an earlier packet */
    unsigned first = r->used;
    r->used += (unsigned)n;
    for (unsigned k = first; k < first + (unsigned)n; k++) take_from_peer(s, k);
}
