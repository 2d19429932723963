/* relay/main.c - see load.h. One job a run:
 *
 *   bench_relay_load --server PORT --peer PORT --pid PID [--user U --password P | --plain] JOB
 *     up CLIENTS PACKETS WINDOW      172 bytes by channel from clients to a peer
 *     bursts COUNT                   20 packets of 1200 bytes at once, both ways, one client
 *     open COUNT WINDOW              allocations: how long, what memory, then they are given back
 *     flood CLIENTS SECONDS STRANGERS RATE   requests of strangers beside paced traffic */
#include "load.h"

#include "base/scan.h"
#include "crypto/crypto.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void must(bool ok, const char *what) {
    if (ok) return;
    perror(what);
    exit(1);
}

uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int usage(void) {
    fprintf(stderr, "see the head of bench/relay/main.c\n");
    return 2;
}

static unsigned number(const char *text) {
    uint64_t n;
    return slice_u64(slice_str(text), INT32_MAX, &n) == ERR_OK ? (unsigned)n : 0;
}

static struct sockaddr_in local(const char *port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)number(port)) };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static void open_some(struct rig *r, unsigned count) {
    struct opened o = clients_open(r, count, 16, true);
    if (!o.failed) return;
    fprintf(stderr, "%u of %u clients got no allocation\n", o.failed, count);
    exit(1);
}

static void job_open(struct rig *r, unsigned count, unsigned window) {
    uint64_t before = measure_rss_bytes(r->pid);
    struct opened o = clients_open(r, count, window, false);
    uint64_t after = measure_rss_bytes(r->pid);
    printf("{\"count\":%u,\"failed\":%u,\"us\":%llu,\"server_cpu_us\":%llu,\"rss_grown\":%lld}\n",
           count, o.failed, (unsigned long long)o.us, (unsigned long long)o.cpu_us,
           (long long)after - (long long)before);
}

static int run(struct rig *r, int argc, char **argv) {
    unsigned n[4] = { 0 };
    for (int i = 1; i < argc && i <= 4; i++) n[i - 1] = number(argv[i]);
    if (argc == 4 && !strcmp(argv[0], "up")) {
        open_some(r, n[0]);
        traffic_up(r, n[1], n[2]);
    } else if (argc == 2 && !strcmp(argv[0], "bursts")) {
        open_some(r, 1);
        traffic_bursts(r, n[0]);
    } else if (argc == 3 && !strcmp(argv[0], "open")) {
        job_open(r, n[0], n[1]);
    } else if (argc == 5 && !strcmp(argv[0], "flood")) {
        open_some(r, n[0]);
        traffic_flood(r, n[1], n[2], n[3]);
    } else {
        return usage();
    }
    clients_close(r);
    return 0;
}

int main(int argc, char **argv) {
    struct rig r = { .user = "", .password = "" };
    int at = 1, bytes = 4 << 20;
    for (; at < argc && argv[at][0] == '-'; at++) {
        const char *value = at + 1 < argc ? argv[at + 1] : "";
        if (!strcmp(argv[at], "--plain")) {
            r.is_plain = true;
            continue;
        }
        if (!strcmp(argv[at], "--server"))
            r.server = local(value);
        else if (!strcmp(argv[at], "--peer"))
            r.peer = local(value);
        else if (!strcmp(argv[at], "--pid"))
            r.pid = (int)number(value);
        else if (!strcmp(argv[at], "--user"))
            r.user = value;
        else if (!strcmp(argv[at], "--password"))
            r.password = value;
        else
            return usage();
        at++;
    }
    if (at >= argc || !r.server.sin_port || !r.peer.sin_port || !r.pid) return usage();
    must(crypto_init() == ERR_OK, "crypto");
    r.peer_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(r.peer_fd >= 0 && bind(r.peer_fd, (struct sockaddr *)&r.peer, sizeof r.peer) == 0,
         "the peer's socket");
    (void)setsockopt(r.peer_fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    return run(&r, argc - at, argv + at);
}
