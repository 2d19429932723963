#include "unit.h"

#include "os/socket.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct addr addr_of(const char *text) {
    struct addr a;
    assert_ok(addr_read(slice_str(text), &a));
    return a;
}

static void sockaddr_and_back(void **state) {
    (void)state;
    static const char *const texts[] = { "192.0.2.1:5061", "[2001:db8::1]:5060", "0.0.0.0:1" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct addr a = addr_of(texts[i]), b;
        struct sockaddr_storage sa;
        assert_true(addr_to_sockaddr(&a, &sa) > 0);
        assert_ok(addr_from_sockaddr((const struct sockaddr *)&sa, &b));
        assert_true(addr_eq(&a, &b));
        assert_int_equal(addr_is_any(&a), i == 2);
    }
    struct sockaddr unix_sa = { .sa_family = AF_UNIX };
    struct addr out;
    assert_err(addr_from_sockaddr(&unix_sa, &out), ERR_BAD);
}

static void wait_readable(int fd) {
    struct pollfd p = { .fd = fd, .events = POLLIN };
    assert_int_equal(poll(&p, 1, 10000), 1);
}

static void tcp_on(const char *any_port) {
    struct addr at = addr_of(any_port), bound, again, peer, mine;
    int listener, second, client, accepted;
    assert_ok(socket_listen_tcp(&at, &listener, &bound));
    assert_true(bound.port != 0);
    assert_ok(socket_listen_tcp(&bound, &second, &again)); /* SO_REUSEPORT: another worker's */
    assert_int_equal(again.port, bound.port);
    close(second);
    assert_err(socket_accept(listener, &accepted, &peer), ERR_AGAIN);
    assert_ok(socket_connect_tcp(&bound, &client));
    wait_readable(listener);
    assert_ok(socket_accept(listener, &accepted, &peer));
    assert_ok(socket_local(client, &mine));
    assert_true(addr_eq(&mine, &peer));
    assert_int_equal(socket_error(client), 0);
    close(client);
    close(accepted);
    close(listener);
}

static int option(int fd, int name) {
    int value = 0;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, name, &value, &len), 0);
    return value;
}

/* Linux: with TCP_USER_TIMEOUT set, an unanswered probe ends a connection that has been silent for
 * so long, however few probes there were. */
static void lost_probes_are_forgiven(int fd) {
    int silence = 120 + 3 * option(fd, TCP_KEEPINTVL);
    int alive = 0;
    socklen_t len = sizeof alive;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &len), 0);
    assert_int_equal(alive, 1);
    assert_in_range(option(fd, TCP_KEEPIDLE), 60, 120);
    assert_true(option(fd, TCP_USER_TIMEOUT) >= 1000 * silence);
    assert_true(silence <= 180); /* who has vanished is found in the end */
}

static void a_silent_connection_outlives_lost_probes(void **state) {
    (void)state;
    struct addr at = addr_of("127.0.0.1:0"), bound, peer;
    int listener, client, accepted;
    assert_ok(socket_listen_tcp(&at, &listener, &bound));
    assert_ok(socket_connect_tcp(&bound, &client));
    wait_readable(listener);
    assert_ok(socket_accept(listener, &accepted, &peer));
    lost_probes_are_forgiven(accepted);
    lost_probes_are_forgiven(client);
    close(client);
    assert_ok(socket_connect_tcp(&bound, &client));
    wait_readable(listener);
    int second;
    assert_ok(socket_accept(listener, &second, &peer)); /* while the first one is open */
    assert_int_not_equal(option(second, TCP_KEEPIDLE), option(accepted, TCP_KEEPIDLE));
    close(second);
    close(client);
    close(accepted);
    close(listener);
}

static void tcp_over_both_families(void **state) {
    (void)state;
    tcp_on("127.0.0.1:0");
    tcp_on("[::1]:0");
}

static void ipv6_leaves_ipv4_alone(void **state) {
    (void)state;
    struct addr at = addr_of("[::]:0"), bound, four, other;
    int six_fd, four_fd;
    assert_ok(socket_listen_tcp(&at, &six_fd, &bound));
    four = addr_of("0.0.0.0:0");
    four.port = bound.port;
    assert_ok(socket_listen_tcp(&four, &four_fd, &other)); /* IPV6_V6ONLY */
    close(six_fd);
    close(four_fd);
}

static void says_why_not(void **state) {
    (void)state;
    int fd;
    struct addr bound, at = addr_of("192.0.2.1:5061"); /* TEST-NET-1: not ours */
    assert_err(socket_listen_tcp(&at, &fd, &bound), ERR_MISSING);
    assert_err(socket_bind_udp(&at, &fd, &bound), ERR_MISSING);
    at = addr_of("127.0.0.1:0");
    int plain = socket(AF_INET, SOCK_STREAM, 0); /* taken by one without SO_REUSEPORT */
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(&at, &sa);
    assert_int_equal(bind(plain, (struct sockaddr *)&sa, len), 0);
    assert_ok(socket_local(plain, &at));
    assert_err(socket_listen_tcp(&at, &fd, &bound), ERR_EXISTS);
    close(plain);
}

static void udp_binds(void **state) {
    (void)state;
    struct addr at = addr_of("127.0.0.1:0"), bound;
    int fd;
    assert_ok(socket_bind_udp(&at, &fd, &bound));
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(&bound, &sa);
    assert_int_equal(sendto(fd, "hello", 5, 0, (struct sockaddr *)&sa, len), 5);
    wait_readable(fd);
    char data[16], control[256];
    struct iovec iov = { data, sizeof data };
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
    };
    assert_int_equal(recvmsg(fd, &m, 0), 5);
    assert_non_null(CMSG_FIRSTHDR(&m)); /* the address it came to */
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockaddr_and_back),
        cmocka_unit_test(tcp_over_both_families),
        cmocka_unit_test(a_silent_connection_outlives_lost_probes),
        cmocka_unit_test(ipv6_leaves_ipv4_alone),
        cmocka_unit_test(says_why_not),
        cmocka_unit_test(udp_binds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
