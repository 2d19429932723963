/* load/main.c - bench_load: commands from the arguments or from standard input, one result each.
 *
 *   bench_load --server 127.0.0.1:5061 --pid 1234 open 200 register 1000 refresh 5000 calls 2000
 *
 * register N  N new connections: full TLS handshake, REGISTER, 401, REGISTER, 200; then closed
 * open N      the same, and they stay
 * refresh N   N times REGISTER on the open connections, in turn
 * calls N     N whole calls, in turn over the pairs of open connections
 * offer R:S,R:S...  R calls a second for S seconds, then the next rate, whatever becomes of them: a
 *             caller waits `patience` ms for an answer, a call lasts `hold` ms. Prints what became
 *             of the calls of each second. control 1: one peer that obeys RFC 7339
 * rss         memory of the server process now
 * width N, rate N (a second; 0: flat out), renew bare|digest: how the next jobs run
 * outbound 1  from the next open on: flows are registered, calls go to and come from GRUUs
 * moves 1     refresh with another contact each time (;n=CSEQ), which the server must store at once
 * acked N     prints for the first N users "number CSEQ": of the last REGISTER that got its 200
 * users N     prints N lines "aor,secret" for `kith user import` */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static bool as_json;

static void report(const struct load *l, const char *what, bool ok, uint64_t cpu_ns) {
    const struct job *j = &l->job;
    double wall_s = (double)(clock_ns() - j->started_ns) * 1e-9;
    double cpu_us = j->done ? (double)cpu_ns / 1000.0 / j->done : 0;
    if (as_json)
        printf("{\"job\":\"%s\",\"ok\":%s,\"done\":%u,\"failed\":%u,\"challenges\":%u,"
               "\"open\":%u,\"wall_s\":%.3f,\"server_cpu_us\":%.3f,\"rss\":%llu}\n",
               what, ok ? "true" : "false", j->done, j->failed, j->challenges, l->phone_count,
               wall_s, cpu_us, (unsigned long long)measure_rss_bytes(l->server_pid));
    else
        printf("%-9s %7u done %4u failed %8.2f s %9.0f a second   server CPU %8.2f us each\n", what,
               j->done, j->failed, wall_s, wall_s > 0 ? j->done / wall_s : 0, cpu_us);
    fflush(stdout);
}

static bool run_job(struct load *l, const char *what, enum job_kind kind, uint32_t count) {
    uint64_t before = measure_cpu_ns(l->server_pid);
    bool ok = job_run(l, kind, count);
    uint64_t spent = measure_cpu_ns(l->server_pid) - before;
    report(l, what, ok, spent);
    if (kind == JOB_OPEN) {
        l->phone_count += count;
    } else if (kind == JOB_REGISTER) {
        for (uint32_t i = 0; i < count; i++) phone_close(l, &l->phones[l->phone_count + i]);
        usleep(100 * 1000); /* the server's closing belongs to no job */
    }
    return ok;
}

static void print_users(const struct load *l, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        char room[40];
        struct span secret = phone_secret(l->user_base + i, room);
        printf("u%05u@%.*s,%.*s\n", l->user_base + i, (int)l->domain.n, l->domain.p, (int)secret.n,
               secret.p);
    }
}

static void print_acked(const struct load *l, uint32_t count) {
    for (uint32_t i = 0; i < count && i < LOAD_PHONES_MAX; i++)
        printf("%u %u\n", l->user_base + i, l->acked[(l->user_base + i) % LOAD_PHONES_MAX]);
    fflush(stdout);
}

static bool command(struct load *l, const char *verb, const char *value) {
    char *end = NULL;
    if (strcmp(verb, "offer") == 0) return offer_run(l, value, as_json);
    unsigned long n = strtoul(value, &end, 10);
    uint32_t count = n <= 100000000UL ? (uint32_t)n : 0;
    if (strcmp(verb, "renew") == 0) {
        l->bare_renew = strcmp(value, "bare") == 0;
        return true;
    }
    if (*end || end == value) {
        fprintf(stderr, "bench_load: %s wants a number\n", verb);
        return false;
    }
    if (strcmp(verb, "open") == 0) return run_job(l, verb, JOB_OPEN, count);
    if (strcmp(verb, "register") == 0) return run_job(l, verb, JOB_REGISTER, count);
    if (strcmp(verb, "refresh") == 0) return run_job(l, verb, JOB_REFRESH, count);
    if (strcmp(verb, "calls") == 0) return run_job(l, verb, JOB_CALL, count);
    if (strcmp(verb, "users") == 0)
        print_users(l, count);
    else if (strcmp(verb, "width") == 0 && count)
        l->width = count;
    else if (strcmp(verb, "outbound") == 0)
        l->outbound = count == 1;
    else if (strcmp(verb, "moves") == 0)
        l->moves = count == 1;
    else if (strcmp(verb, "wss") == 0)
        l->wss = count == 1;
    else if (strcmp(verb, "acked") == 0)
        print_acked(l, count);
    else if (strcmp(verb, "patience") == 0)
        l->patience_ms = count;
    else if (strcmp(verb, "hold") == 0)
        l->hold_ms = count;
    else if (strcmp(verb, "control") == 0)
        l->takes_part = count != 0;
    else if (strcmp(verb, "rate") == 0)
        l->rate = (double)count;
    else if (strcmp(verb, "rss") == 0) {
        usleep(count * 1000U);
        printf(as_json ? "{\"job\":\"rss\",\"rss\":%llu}\n" : "rss %llu\n",
               (unsigned long long)measure_rss_bytes(l->server_pid));
        fflush(stdout);
    } else {
        fprintf(stderr, "bench_load: %s %s is no command\n", verb, value);
        return false;
    }
    return true;
}

static bool commands_from_input(struct load *l) {
    char line[512], verb[32], value[400];
    bool ok = true;
    while (fgets(line, sizeof line, stdin)) {
        size_t verb_n = strcspn(line, " \n");
        const char *rest = line + verb_n + strspn(line + verb_n, " ");
        size_t value_n = strcspn(rest, " \n");
        if (!verb_n) continue;
        snprintf(verb, sizeof verb, "%.*s", (int)verb_n, line);
        snprintf(value, sizeof value, "%.*s", (int)value_n, rest);
        ok = command(l, verb, value) && ok;
    }
    return ok;
}

static bool set_server(struct load *l, const char *text) {
    const char *colon = strrchr(text, ':');
    char host[64];
    if (!colon || (size_t)(colon - text) >= sizeof host) return false;
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    unsigned long port = strtoul(colon + 1, NULL, 10);
    l->server.sin_family = AF_INET;
    l->server.sin_port = htons((uint16_t)port);
    /* Load goes to this machine only. */
    return port > 0 && port < 65536 && inet_pton(AF_INET, host, &l->server.sin_addr) == 1 &&
           (ntohl(l->server.sin_addr.s_addr) >> 24) == 127;
}

static bool set_up(struct load *l) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    l->tls = SSL_CTX_new(TLS_client_method());
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->phones = calloc(LOAD_PHONES_MAX, sizeof *l->phones);
    l->ready = calloc(LOAD_PHONES_MAX, sizeof *l->ready);
    if (!l->tls || l->epoll < 0 || !l->phones || !l->ready) return false;
    SSL_CTX_set_session_cache_mode(l->tls, SSL_SESS_CACHE_OFF); /* every handshake is a full one */
    SSL_CTX_set_mode(l->tls, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(l->tls, 1);
    return SSL_CTX_set_max_proto_version(l->tls, l->tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) == 1;
}

static int usage(void) {
    fprintf(stderr,
            "usage: bench_load [--server 127.0.0.1:5061] [--pid SERVER] [--domain NAME]\n"
            "                  [--first-user N] [--tls12] [--json] COMMAND VALUE ... | -\n"
            "commands: open register refresh calls offer rss width rate renew outbound users\n"
            "          patience hold control (of offer), moves acked (of refresh), wss\n"
            "example:  bench_load --pid $(pidof kith) open 200 refresh 5000 calls 2000\n");
    return 2;
}

int main(int argc, char **argv) {
    (void)signal(SIGPIPE, SIG_IGN); /* a server that is killed is what some jobs are about */
    static struct load l = { .width = 32, .patience_ms = 4000, .hold_ms = 1000 };
    const char *domain = "bench.test";
    static const struct option options[] = {
        { "server", 1, NULL, 's' }, { "pid", 1, NULL, 'p' },   { "domain", 1, NULL, 'd' },
        { "json", 0, NULL, 'j' },   { "tls12", 0, NULL, '2' }, { "first-user", 1, NULL, 'f' },
        { NULL, 0, NULL, 0 },
    };
    (void)set_server(&l, "127.0.0.1:5061");
    for (int o; (o = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        switch (o) {
        case 's':
            if (!set_server(&l, optarg)) return usage();
            break;
        case 'p':
            l.server_pid = (int)strtol(optarg, NULL, 10);
            break;
        case 'd':
            domain = optarg;
            break;
        case 'j':
            as_json = true;
            break;
        case '2':
            l.tls12 = true;
            break;
        case 'f':
            l.user_base = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            return usage();
        }
    }
    l.domain = span_of(domain, strlen(domain));
    if (optind == argc) return usage();
    if (!set_up(&l)) {
        fprintf(stderr, "bench_load: cannot start: %s\n", strerror(errno));
        return 1;
    }
    bool ok = true;
    if (strcmp(argv[optind], "-") == 0) return commands_from_input(&l) ? 0 : 1;
    for (int i = optind; i + 1 < argc && ok; i += 2) ok = command(&l, argv[i], argv[i + 1]);
    return ok ? 0 : 1;
}
