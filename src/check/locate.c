/* check/locate.c - NAPTR and SRV of a SIP domain. */
#include "check/locate.h"

#include <ares.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>

#define TYPE_NAPTR 35
#define TYPE_SRV   33
#define PATIENCE_S 15 /* c-ares gives up sooner */

struct naptr { /* the best one for each transport; RFC 3263 4.1 */
    char srv[WIRE_COUNT][256];
    unsigned rank[WIRE_COUNT];
    bool any;
};

bool place_is_private(const struct addr *a) {
    static const struct {
        uint8_t family, bits, ip[4];
    } nets[] = {
        { ADDR_V4, 8, { 10 } },           { ADDR_V4, 12, { 172, 16 } },
        { ADDR_V4, 16, { 192, 168 } },    { ADDR_V4, 16, { 169, 254 } },
        { ADDR_V4, 24, { 192, 0, 2 } },   { ADDR_V4, 24, { 198, 51, 100 } },
        { ADDR_V4, 24, { 203, 0, 113 } }, { ADDR_V6, 7, { 0xfc } },
        { ADDR_V6, 10, { 0xfe, 0x80 } },  { ADDR_V6, 32, { 0x20, 0x01, 0x0d, 0xb8 } },
    };
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff }; /* RFC 4291 2.5.5.2 */
    bool four = a->family == ADDR_V6 && memcmp(a->ip, mapped, sizeof mapped) == 0;
    const uint8_t *ip = four ? a->ip + 12 : a->ip;
    uint8_t family = four ? ADDR_V4 : a->family;
    if (addr_is_loopback(a)) return true;
    for (size_t n = 0; n < sizeof nets / sizeof nets[0]; n++) {
        bool same = nets[n].family == family;
        for (unsigned i = 0; same && i < nets[n].bits; i++)
            same = !((nets[n].ip[i / 8] ^ ip[i / 8]) >> (7 - i % 8) & 1);
        if (same) return true;
    }
    return false;
}

/* ---- asking --------------------------------------------------------------------------------- */

static void drive(ares_channel channel) {
    for (unsigned i = 0; i < PATIENCE_S * 10; i++) {
        ares_socket_t socks[ARES_GETSOCK_MAXNUM];
        struct pollfd fds[ARES_GETSOCK_MAXNUM];
        int bits = ares_getsock(channel, socks, ARES_GETSOCK_MAXNUM);
        nfds_t n = 0;
        for (int k = 0; k < ARES_GETSOCK_MAXNUM; k++)
            if (ARES_GETSOCK_READABLE(bits, k) || ARES_GETSOCK_WRITABLE(bits, k))
                fds[n++] =
                    (struct pollfd){ .fd = socks[k],
                                     .events =
                                         (short)((ARES_GETSOCK_READABLE(bits, k) ? POLLIN : 0) |
                                                 (ARES_GETSOCK_WRITABLE(bits, k) ? POLLOUT : 0)) };
        if (!n) return;
        (void)poll(fds, n, 100);
        for (nfds_t k = 0; k < n; k++)
            ares_process_fd(channel,
                            fds[k].revents & (POLLIN | POLLERR) ? fds[k].fd : ARES_SOCKET_BAD,
                            fds[k].revents & POLLOUT ? fds[k].fd : ARES_SOCKET_BAD);
        ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* its clocks */
    }
}

static void take_naptr(void *arg, int status, int timeouts, unsigned char *reply, int len) {
    static const struct {
        const char *service;
        enum wire wire;
    } services[] = { { "SIPS+D2T", WIRE_TLS }, { "SIP+D2T", WIRE_TCP }, { "SIP+D2U", WIRE_UDP } };
    struct naptr *out = arg;
    struct ares_naptr_reply *list = NULL;
    (void)timeouts;
    if (status != ARES_SUCCESS || ares_parse_naptr_reply(reply, len, &list) != ARES_SUCCESS) return;
    for (const struct ares_naptr_reply *r = list; r; r = r->next)
        for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
            enum wire w = services[i].wire;
            unsigned rank = (unsigned)r->order << 16 | r->preference;
            if (strcasecmp((const char *)r->service, services[i].service) != 0 ||
                strcasecmp((const char *)r->flags, "s") != 0)
                continue;
            out->any = true;
            if (out->srv[w][0] && out->rank[w] <= rank) continue;
            out->rank[w] = rank;
            (void)snprintf(out->srv[w], sizeof out->srv[w], "%s", r->replacement);
        }
    ares_free_data(list);
}

static void take_srv(void *arg, int status, int timeouts, unsigned char *reply, int len) {
    struct located *out = arg;
    struct ares_srv_reply *list = NULL;
    const struct ares_srv_reply *best = NULL;
    (void)timeouts;
    if (status != ARES_SUCCESS || ares_parse_srv_reply(reply, len, &list) != ARES_SUCCESS) return;
    for (const struct ares_srv_reply *r = list; r; r = r->next)
        if (!best || r->priority < best->priority ||
            (r->priority == best->priority && r->weight > best->weight))
            best = r;
    /* RFC 2782: the target "." says that the service is not there */
    if (best && best->host[0] && strcmp(best->host, ".") != 0) {
        (void)snprintf(out->host, sizeof out->host, "%s", best->host);
        out->port = best->port;
    }
    ares_free_data(list);
}

/* ---- RFC 3263 4.1 and 4.2 ------------------------------------------------------------------- */

bool locate(slice domain, bool secure, struct located out[static WIRE_COUNT]) {
    static const char *const labels[] = {
        [WIRE_UDP] = "_sip._udp", [WIRE_TCP] = "_sip._tcp", [WIRE_TLS] = "_sips._tcp"
    };
    struct naptr found = { 0 };
    char name[256];
    ares_channel channel;
    bool any = false;
    for (enum wire w = 0; w < WIRE_COUNT; w++) out[w] = (struct located){ 0 };
    if (!slice_cstr(domain, name, sizeof name) || ares_library_init(ARES_LIB_INIT_ALL) != 0)
        return false;
    if (ares_init(&channel) == ARES_SUCCESS) {
        ares_query(channel, name, 1, TYPE_NAPTR, take_naptr, &found);
        drive(channel);
        for (enum wire w = 0; w < sizeof labels / sizeof labels[0]; w++) {
            if (secure && w != WIRE_TLS) continue;
            char srv[300];
            (void)snprintf(srv, sizeof srv, "%s.%s", labels[w], name);
            const char *ask = found.any ? found.srv[w] : srv;
            if (*ask) ares_query(channel, ask, 1, TYPE_SRV, take_srv, &out[w]);
        }
        drive(channel);
        ares_destroy(channel);
        for (enum wire w = 0; w < WIRE_COUNT; w++) any = any || out[w].host[0];
    }
    ares_library_cleanup();
    return any;
}
