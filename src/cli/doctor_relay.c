/* cli/doctor_relay.c - a small TURN client (RFC 8656) that looks at our own relay. See doctor.h.
 *
 * It plays both of two phones that need the relay: two allocations, each permits the other's
 * address, and a datagram goes from one to the other. UDP only: what the streams carry is the same.
 */
#include "base/mem.h"
#include "cli/doctor.h"
#include "crypto/crypto.h"
#include "nat/stun.h"
#include "os/loop.h"
#include "os/socket.h"
#include <errno.h>
#include <poll.h>

#define TRIES     4   /* of a request over UDP; RFC 8489 6.2.1 with fewer and shorter waits */
#define FIRST_MS  600 /* then twice as long each time */
#define REALM_MAX 128
#define NONCE_MAX 128

struct phone {
    int fd;
    slice user, password;
    char realm[REALM_MAX], nonce[NONCE_MAX];
    size_t realm_len, nonce_len;
    char mem[STUN_BYTES_MAX], got[STUN_BYTES_MAX];
    struct stun_msg m; /* the last message that came; borrows `got` */
    struct addr relayed[2];
};

/* ---- one socket ---- */

static enum err open_socket(const struct addr *at, int kind, int *out) {
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(at, &sa);
    *out =
        socket(at->family == ADDR_V6 ? AF_INET6 : AF_INET, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*out < 0) return ERR_UNSUPPORTED;
    if (connect(*out, (const struct sockaddr *)&sa, len) == 0) return ERR_OK;
    enum err e = errno == ENETUNREACH || errno == EHOSTUNREACH || errno == EADDRNOTAVAIL
                     ? ERR_MISSING
                     : ERR_IO;
    socket_close(*out);
    return e;
}

/* The next message; TIMEOUT, CLOSED (refused), IO. */
static enum err hear(struct phone *p, mono_t end) {
    for (;;) {
        mono_t now = clock_mono();
        struct pollfd poll_for = { .fd = p->fd, .events = POLLIN };
        int ready = now < end ? poll(&poll_for, 1, clock_wait_ms(now, end)) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return ready == 0 ? ERR_TIMEOUT : ERR_IO;
        ssize_t n = recv(p->fd, p->got, sizeof p->got, 0);
        if (n < 0 && errno == ECONNREFUSED) return ERR_CLOSED;
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (n <= 0) return n == 0 ? ERR_CLOSED : ERR_IO;
        slice bytes = slice_of(p->got, (size_t)n);
        if (stun_is(bytes) && stun_read(bytes, &p->m) == ERR_OK) return ERR_OK;
    }
}

/* Sends until the answer to this transaction is there. */
static enum err transact(struct phone *p, slice bytes, const uint8_t id[static STUN_ID_BYTES]) {
    int64_t wait = FIRST_MS;
    for (unsigned i = 0; i < TRIES; i++, wait *= 2) {
        mono_t end = clock_mono() + wait;
        if (send(p->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL) < 0 && errno == ECONNREFUSED)
            return ERR_CLOSED;
        enum err e;
        while ((e = hear(p, end)) == ERR_OK)
            if (memcmp(p->m.id, id, STUN_ID_BYTES) == 0) return ERR_OK;
        if (e != ERR_TIMEOUT) return e;
    }
    return ERR_TIMEOUT;
}

enum err doctor_binding(const struct addr *at, bool is_tcp, struct addr *seen) {
    uint8_t id[STUN_ID_BYTES];
    struct phone *p = mem_zalloc(sizeof *p);
    if (!p) return ERR_MEMORY;
    enum err e = ERR_OK;
    if (is_tcp) { /* that it can be connected to is another question, asked before */
        e = socket_connect_tcp(at, &p->fd);
        struct pollfd up = { .fd = p->fd, .events = POLLOUT };
        if (e == ERR_OK && poll(&up, 1, DOCTOR_WAIT_MS) != 1) {
            socket_close(p->fd);
            e = ERR_TIMEOUT;
        }
    } else {
        e = open_socket(at, SOCK_DGRAM, &p->fd);
    }
    if (e == ERR_OK) {
        crypto_random(id, sizeof id);
        struct stun_writer w = stun_begin(p->mem, sizeof p->mem, STUN_BINDING, STUN_REQUEST, id);
        e = transact(p, stun_end(&w), id);
        if (e == ERR_OK && (p->m.class != STUN_SUCCESS ||
                            stun_find_addr(&p->m, STUN_XOR_MAPPED_ADDRESS, seen) != ERR_OK))
            e = ERR_BAD;
        socket_close(p->fd);
    }
    mem_free(p);
    return e;
}

/* ---- an allocation ---- */

static bool keep(const struct stun_msg *m, enum stun_attr type, char *mem, size_t cap,
                 size_t *out_len) {
    slice v;
    if (!stun_find(m, type, &v) || v.len > cap) return false;
    memcpy(mem, v.ptr, v.len);
    *out_len = v.len;
    return true;
}

static slice prove(struct phone *p, struct stun_writer *w) {
    uint8_t key[32];
    slice realm = slice_of(p->realm, p->realm_len);
    if (p->nonce_len) {
        stun_put(w, STUN_USERNAME, p->user);
        stun_put(w, STUN_REALM, realm);
        stun_put(w, STUN_NONCE, slice_of(p->nonce, p->nonce_len));
        size_t n = stun_long_term_key(p->user, realm, p->password, false, key);
        stun_put_integrity(w, slice_of(key, n), false);
        crypto_wipe(key, sizeof key);
    }
    return stun_end(w);
}

/* Writes the request anew with each challenge (RFC 8489 9.2.5). DENIED: *status says why. */
static enum err request(struct phone *p, enum stun_method method, const struct addr *peer,
                        unsigned *status) {
    uint8_t id[STUN_ID_BYTES];
    *status = 0;
    for (unsigned challenge = 0; challenge < 3; challenge++) {
        crypto_random(id, sizeof id);
        struct stun_writer w = stun_begin(p->mem, sizeof p->mem, method, STUN_REQUEST, id);
        if (method == TURN_ALLOCATE) {
            stun_put(&w, TURN_REQUESTED_TRANSPORT, slice_of("\x11\0\0\0", 4));
            /* RFC 8656 7.1: both families; the one that the server lacks is left out. */
            stun_put(&w, TURN_ADDITIONAL_FAMILY, slice_of("\2\0\0\0", 4));
        }
        if (method == TURN_REFRESH) stun_put_u32(&w, TURN_LIFETIME, 0);
        if (peer) stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, peer);
        enum err e = transact(p, prove(p, &w), id);
        if (e != ERR_OK) return e;
        if (p->m.class == STUN_SUCCESS) return ERR_OK;
        *status = stun_error(&p->m);
        if ((*status != 401 && *status != 438) || (*status == 401 && p->nonce_len) ||
            !keep(&p->m, STUN_REALM, p->realm, sizeof p->realm, &p->realm_len) ||
            !keep(&p->m, STUN_NONCE, p->nonce, sizeof p->nonce, &p->nonce_len))
            return ERR_DENIED;
    }
    return ERR_DENIED;
}

static void keep_relayed(struct phone *p) {
    uint16_t at = 0;
    slice v;
    struct addr a;
    while (stun_next(&p->m, TURN_XOR_RELAYED_ADDRESS, &at, &v))
        if (stun_addr(&p->m, v, &a) == ERR_OK) p->relayed[a.family == ADDR_V6] = a;
}

/* From one to the other, in the family that both have; sent a few times, as datagrams get lost. */
static bool passes(struct phone *from, struct phone *to) {
    static const uint8_t id[STUN_ID_BYTES] = { 'd', 'o', 'c' };
    unsigned f = from->relayed[0].family && to->relayed[0].family ? 0 : 1, status;
    if (!from->relayed[f].family || !to->relayed[f].family) return false;
    if (request(from, TURN_CREATE_PERMISSION, &to->relayed[f], &status) != ERR_OK ||
        request(to, TURN_CREATE_PERMISSION, &from->relayed[f], &status) != ERR_OK)
        return false;
    for (unsigned i = 0; i < TRIES; i++) {
        slice data;
        struct stun_writer w =
            stun_begin(from->mem, sizeof from->mem, TURN_SEND, STUN_INDICATION, id);
        stun_put_xor_addr(&w, TURN_XOR_PEER_ADDRESS, &to->relayed[f]);
        stun_put(&w, TURN_DATA_ATTR, SLICE("doctor"));
        slice bytes = stun_end(&w);
        if (send(from->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL) < 0) return false;
        if (hear(to, clock_mono() + FIRST_MS * 2) == ERR_OK && to->m.method == TURN_DATA &&
            stun_find(&to->m, TURN_DATA_ATTR, &data) && slice_eq(data, SLICE("doctor")))
            return true;
    }
    return false;
}

void doctor_look_relay(const struct addr *at, slice user, slice password,
                       struct doctor_relay *out) {
    unsigned opened = 0, ignored;
    struct phone *p = mem_array(2, sizeof *p);
    *out = (struct doctor_relay){ .server = *at, .allocated = ERR_MEMORY };
    if (!p) return;
    for (out->allocated = ERR_OK; opened < 2 && out->allocated == ERR_OK;) {
        struct phone *one = &p[opened];
        one->user = user;
        one->password = password;
        out->allocated = open_socket(at, SOCK_DGRAM, &one->fd);
        if (out->allocated != ERR_OK) break;
        opened++;
        out->allocated = request(one, TURN_ALLOCATE, NULL, &out->status);
        if (out->allocated != ERR_OK) break;
        keep_relayed(one);
        if (stun_find_addr(&one->m, STUN_XOR_MAPPED_ADDRESS, &out->seen) != ERR_OK)
            out->seen = (struct addr){ 0 };
    }
    if (out->allocated == ERR_OK) {
        memcpy(out->relayed, p[0].relayed, sizeof out->relayed);
        out->back = passes(&p[0], &p[1]);
    }
    while (opened) {
        struct phone *one = &p[--opened];
        if (one->relayed[0].family || one->relayed[1].family)
            (void)request(one, TURN_REFRESH, NULL, &ignored);
        socket_close(one->fd);
    }
    mem_free(p);
}
