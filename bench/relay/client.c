/* Clients get their allocations: challenge, proof, channel; lost packets are sent again. */
#include "load.h"

#include "base/buf.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum step { STEP_CHALLENGE, STEP_ALLOCATE, STEP_BIND, STEP_DONE, STEP_FAILED };
enum { AGAIN_US = 500000, TRIES_MAX = 8, ALL_US = 60000000 };

struct opening {
    struct rig *rig;
    int poll;
    bool bind;
    unsigned begun, done, failed;
};

static const struct client *clients_of(const struct opening *o) {
    return o->rig->clients;
}

static struct stun_writer begin(char *mem, enum stun_method method, const struct client *c,
                                unsigned number) {
    uint8_t id[STUN_ID_BYTES] = { c->step, (uint8_t)(number >> 8), (uint8_t)number };
    id[4] = (uint8_t)(c->sent_us >> 16);
    id[5] = (uint8_t)(c->sent_us >> 24);
    return stun_begin(mem, STUN_BYTES_MAX, method, STUN_REQUEST, id);
}

static slice proved(const struct rig *r, const struct client *c, struct stun_writer *w) {
    uint8_t key[32];
    slice realm = slice_of(c->realm, c->realm_len), user = slice_str(r->user);
    stun_put(w, STUN_USERNAME, user);
    stun_put(w, STUN_REALM, realm);
    stun_put(w, STUN_NONCE, slice_of(c->nonce, c->nonce_len));
    size_t len = stun_long_term_key(user, realm, slice_str(r->password), false, key);
    stun_put_integrity(w, slice_of(key, len), false);
    return stun_end(w);
}

static struct addr addr_of(const struct sockaddr_in *a) {
    struct addr out = { .family = ADDR_V4, .port = ntohs(a->sin_port) };
    memcpy(out.ip, &a->sin_addr, 4);
    return out;
}

static void say(struct opening *o, unsigned i) {
    char mem[STUN_BYTES_MAX];
    struct client *c = &o->rig->clients[i];
    c->sent_us = now_us();
    struct stun_writer w =
        begin(mem, c->step == STEP_BIND ? TURN_CHANNEL_BIND : TURN_ALLOCATE, c, i);
    if (c->step == STEP_BIND) {
        struct addr peer = addr_of(&o->rig->peer);
        stun_put_u32(&w, TURN_CHANNEL_NUMBER, (CHANNEL_FIRST + i % 4096) << 16);
        stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &peer);
    } else {
        stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x11\0\0\0", 4));
    }
    slice bytes = c->step == STEP_CHALLENGE ? stun_end(&w) : proved(o->rig, c, &w);
    (void)send(c->fd, bytes.ptr, bytes.len, MSG_DONTWAIT);
}

static void keep(const struct stun_msg *m, enum stun_attr type, char *to, size_t cap,
                 uint8_t *len) {
    slice v;
    if (!stun_find(m, type, &v) || v.len > cap) return;
    memcpy(to, v.ptr, v.len);
    *len = (uint8_t)v.len;
}

static void settle(struct opening *o, struct client *c, enum step end) {
    c->step = (uint8_t)end;
    o->done++;
    if (end == STEP_FAILED) o->failed++;
}

static void take(struct opening *o, unsigned i, slice bytes) {
    struct client *c = &o->rig->clients[i];
    struct stun_msg m;
    struct addr relayed;
    if (stun_read(bytes, &m) != ERR_OK || m.id[0] != c->step || c->step >= STEP_DONE) return;
    bool ok = m.class == STUN_SUCCESS;
    if (stun_error(&m) == 401 && c->step == STEP_CHALLENGE) {
        keep(&m, STUN_NONCE, c->nonce, sizeof c->nonce, &c->nonce_len);
        keep(&m, STUN_REALM, c->realm, sizeof c->realm, &c->realm_len);
        c->step = STEP_ALLOCATE;
    } else if (ok && c->step == STEP_ALLOCATE &&
               stun_find_addr(&m, TURN_XOR_RELAYED_ADDRESS, &relayed) == ERR_OK) {
        c->relayed = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(relayed.port) };
        memcpy(&c->relayed.sin_addr, relayed.ip, 4);
        c->step = STEP_BIND;
        if (!o->bind) settle(o, c, STEP_DONE);
    } else {
        settle(o, c, ok ? STEP_DONE : STEP_FAILED);
    }
    c->tries = 0;
    if (c->step < STEP_DONE) say(o, i);
}

static void client_begin(struct opening *o, unsigned i) {
    struct rig *r = o->rig;
    struct client *c = &r->clients[i];
    struct sockaddr_in me = { .sin_family = AF_INET,
                              .sin_addr.s_addr =
                                  htonl(0x7f000002u + ((uint32_t)getpid() + i / 64) % 200) };
    struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(c->fd >= 0 && bind(c->fd, (struct sockaddr *)&me, sizeof me) == 0 &&
             connect(c->fd, (struct sockaddr *)&r->server, sizeof r->server) == 0 &&
             epoll_ctl(o->poll, EPOLL_CTL_ADD, c->fd, &e) == 0,
         "a client's socket");
    if (r->is_plain)
        settle(o, c, STEP_DONE);
    else
        say(o, i);
}

static void ask_again(struct opening *o) {
    uint64_t now = now_us();
    for (unsigned i = 0; i < o->begun; i++) {
        struct client *c = &o->rig->clients[i];
        if (c->step >= STEP_DONE || now - c->sent_us < AGAIN_US) continue;
        if (++c->tries == TRIES_MAX)
            settle(o, c, STEP_FAILED);
        else
            say(o, i);
    }
}

static void answers(struct opening *o) {
    struct epoll_event ready[64];
    int n = epoll_wait(o->poll, ready, 64, 100);
    for (int k = 0; k < n; k++) {
        char mem[STUN_BYTES_MAX];
        unsigned i = ready[k].data.u32;
        ssize_t len = recv(clients_of(o)[i].fd, mem, sizeof mem, 0);
        if (len > 0) take(o, i, slice_of(mem, (size_t)len));
    }
    if (n < 64) ask_again(o);
}

struct opened clients_open(struct rig *r, unsigned count, unsigned window, bool bind) {
    struct opening o = { .rig = r, .poll = epoll_create1(EPOLL_CLOEXEC), .bind = bind };
    r->clients = calloc(count, sizeof *r->clients);
    r->count = count;
    must(r->clients && o.poll >= 0, "clients");
    uint64_t begun = now_us(), cpu = cpu_us(r->pid);
    while (o.done < count && now_us() - begun < ALL_US) {
        while (o.begun < count && o.begun - o.done < window) client_begin(&o, o.begun++);
        if (o.done < o.begun) answers(&o);
    }
    close(o.poll);
    return (struct opened){ .us = now_us() - begun,
                            .cpu_us = cpu_us(r->pid) - cpu,
                            .failed = o.failed + (count - o.done) };
}

/* RFC 8656 8: a lifetime of 0 ends an allocation. Some at a time, and nobody waits for long. */
void clients_close(struct rig *r) {
    char mem[STUN_BYTES_MAX];
    for (unsigned i = 0; i < r->count; i++) {
        struct client *c = &r->clients[i];
        if (c->step == STEP_DONE && !r->is_plain) {
            struct stun_writer w = begin(mem, TURN_REFRESH, c, i);
            stun_put_u32(&w, TURN_LIFETIME, 0);
            slice bytes = proved(r, c, &w);
            (void)send(c->fd, bytes.ptr, bytes.len, MSG_DONTWAIT);
            if (i % 32 == 31) usleep(2000);
        }
    }
    usleep(50000);
    for (unsigned i = 0; i < r->count; i++) close(r->clients[i].fd);
    free(r->clients);
    r->clients = NULL;
}
