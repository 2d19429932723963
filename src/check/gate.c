/* check/gate.c - connections between a static PBX and its trunk. */
#include "check/gate.h"

#include "base/mem.h"
#include "check/link.h"
#include "os/socket.h"
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define GATE_LINKS_MAX 16u /* a trunk that opens more during one test waits */

struct gate {
    char place[300];
    int listener;
    enum wire wire;
    struct link *links[GATE_LINKS_MAX]; /* [0]: ours to the trunk */
};

const char *gate_place(const struct run *run) {
    return run->gate->place;
}

bool gate_open(struct run *run, const char *place, const struct addr *at, char *why,
               size_t why_len) {
    struct addr bound;
    struct gate *g = run->gate = mem_zalloc(sizeof *g);
    (void)snprintf(why, why_len,
                   "cannot listen on %s: is that an address of this machine, and free?", place);
    if (!g) return false;
    (void)snprintf(g->place, sizeof g->place, "%s", place);
    g->wire = run->certificate ? WIRE_TLS : WIRE_TCP;
    g->listener = -1;
    return socket_listen_tcp(at, &g->listener, &bound) == ERR_OK;
}

void gate_close(struct run *run) {
    struct gate *g = run->gate;
    if (!g) return;
    for (unsigned i = 0; i < GATE_LINKS_MAX; i++) link_close(g->links[i]);
    if (g->listener >= 0) (void)close(g->listener);
    mem_free(g);
    run->gate = NULL;
}

struct link *gate_enter(struct run *run) {
    struct gate *g = run->gate;
    for (unsigned i = 0; i < GATE_LINKS_MAX; i++) {
        if (!g->links[i] || (g->links[i]->fd >= 0 && !g->links[i]->closed)) continue;
        link_close(g->links[i]);
        g->links[i] = NULL;
    }
    if (!g->links[0] && link_open(run, g->wire, NULL, NULL, &g->links[0]) != ERR_OK) return NULL;
    return g->links[0];
}

static void let_in(struct run *run) {
    struct gate *g = run->gate;
    struct addr peer;
    int fd;
    unsigned free_one = 1;
    while (free_one < GATE_LINKS_MAX && g->links[free_one]) free_one++;
    if (free_one == GATE_LINKS_MAX || socket_accept(g->listener, &fd, &peer) != ERR_OK) return;
    g->links[free_one] = link_take(fd, g->wire, run->certificate, run);
}

struct link *gate_message(struct run *run, int64_t until, size_t *size) {
    struct gate *g = run->gate;
    for (;;) {
        struct pollfd fds[GATE_LINKS_MAX + 1] = { { .fd = g->listener, .events = POLLIN } };
        unsigned n = 1;
        for (unsigned i = 0; i < GATE_LINKS_MAX; i++) {
            struct link *l = g->links[i];
            if (!l || l->fd < 0) continue;
            if (link_message(l, 0, size)) return l;
            if (!l->closed) fds[n++] = (struct pollfd){ .fd = l->fd, .events = POLLIN };
        }
        int64_t left = until - clock_ms();
        if (poll(fds, n, left < 0 ? 0 : (int)left) <= 0) return NULL;
        if (fds[0].revents) let_in(run);
    }
}
