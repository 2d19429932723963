/* daemon/admin_socket.c - see admin_socket.h. */
#include "daemon/admin_socket.h"

#include "base/log.h"
#include "base/mem.h"
#include "daemon/admin.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct client {
    struct admin_socket *owner;
    pthread_t thread;
    int fd;
    bool used, done;
};

struct admin_socket {
    struct world *world;
    pthread_t thread;
    pthread_mutex_t mutex; /* over clients[].used, done, fd */
    struct client clients[ADMIN_CLIENTS_MAX];
    int fd;
    int stop[2]; /* a pipe: closing its writing end stops the listener */
};

/* A Unix address holds 108 bytes, a path may be longer: so it goes by the directory's descriptor.
 */
static enum err address(const struct datadir *d, struct sockaddr_un *out, int *out_dir) {
    *out_dir = open(d->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*out_dir < 0) return ERR_IO;
    *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    (void)snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/admin.sock", *out_dir);
    return ERR_OK;
}

enum err admin_socket_connect(const struct datadir *d, int *out_fd) {
    struct sockaddr_un at;
    int dir = -1;
    enum err e = address(d, &at, &dir);
    if (e != ERR_OK) return ERR_MISSING;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool up = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    (void)close(dir);
    if (!up && fd >= 0) (void)close(fd);
    *out_fd = up ? fd : -1;
    return up ? ERR_OK : ERR_MISSING;
}

static enum err listen_at(const struct datadir *d, int *out_fd) {
    struct sockaddr_un at;
    int dir = -1;
    enum err e = address(d, &at, &dir);
    if (e != ERR_OK) return e;
    (void)unlinkat(dir, "admin.sock", 0); /* left by a crash: we hold the lock */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        fchmodat(dir, "admin.sock", 0600, 0) != 0 || listen(fd, ADMIN_CLIENTS_MAX) != 0)
        e = ERR_IO;
    int kept = errno;
    if (e != ERR_OK && fd >= 0) (void)close(fd);
    (void)close(dir);
    errno = kept;
    *out_fd = fd;
    return e;
}

/* ---- one client --------------------------------------------------------------------------- */

/* An empty line only asks whether the other side is still there. */
static bool send_line(void *ctx, slice line) {
    int fd = *(int *)ctx;
    if (line.len == 0) {
        char c;
        ssize_t n = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
        return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
    }
    while (line.len) {
        ssize_t n = send(fd, line.ptr, line.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        line = slice_from(line, (size_t)n);
    }
    return true;
}

static bool peer_is_operator(int fd) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static void serve(struct world *w, int fd, char *mem) {
    size_t len = 0;
    for (;;) {
        size_t end = slice_find(slice_of(mem, len), '\n');
        if (end < len) {
            admin_run(w, slice_of(mem, end), send_line, &fd);
            memmove(mem, mem + end + 1, len - end - 1);
            len -= end + 1;
            continue;
        }
        if (len == ADMIN_REQUEST_MAX) {
            (void)send_line(&fd, SLICE("{\"error\":\"the request is too long\"}\n"));
            return;
        }
        ssize_t n = recv(fd, mem + len, ADMIN_REQUEST_MAX - len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return; /* closed, or idle for ADMIN_IDLE_S */
        len += (size_t)n;
    }
}

static void *client_run(void *arg) {
    struct client *c = arg;
    struct timeval idle = { .tv_sec = ADMIN_IDLE_S };
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof idle);
    char *mem = peer_is_operator(c->fd) ? mem_alloc(ADMIN_REQUEST_MAX) : NULL;
    if (mem) serve(c->owner->world, c->fd, mem);
    mem_free(mem);
    pthread_mutex_lock(&c->owner->mutex);
    (void)close(c->fd);
    c->fd = -1;
    c->done = true;
    pthread_mutex_unlock(&c->owner->mutex);
    return NULL;
}

/* ---- the listener ------------------------------------------------------------------------- */

static void take_client(struct admin_socket *s, int fd) {
    struct client *place = NULL;
    pthread_mutex_lock(&s->mutex);
    for (unsigned i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        struct client *c = &s->clients[i];
        if (c->used && c->done) {
            (void)pthread_join(c->thread, NULL);
            c->used = c->done = false;
        }
        if (!c->used && !place) place = c;
    }
    if (place) {
        *place = (struct client){ .owner = s, .fd = fd, .used = true };
        if (pthread_create(&place->thread, NULL, client_run, place) != 0) {
            place->used = false;
            place = NULL;
        }
    }
    pthread_mutex_unlock(&s->mutex);
    if (place) return;
    (void)send_line(&fd, SLICE("{\"error\":\"too many commands at once\",\"code\":\"FULL\"}\n"));
    (void)close(fd);
}

static void *run(void *arg) {
    struct admin_socket *s = arg;
    for (;;) {
        struct pollfd on[] = { { .fd = s->fd, .events = POLLIN },
                               { .fd = s->stop[0], .events = POLLIN } };
        if (poll(on, 2, -1) < 0 && errno != EINTR) return NULL;
        if (on[1].revents) return NULL;
        if (!on[0].revents) continue;
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) take_client(s, fd);
    }
}

enum err admin_socket_start(struct world *w, struct admin_socket **out, struct buf *why) {
    struct admin_socket *s = mem_zalloc(sizeof *s);
    if (!s) return ERR_MEMORY;
    s->world = w;
    (void)pthread_mutex_init(&s->mutex, NULL);
    bool has_pipe = pipe2(s->stop, O_CLOEXEC) == 0;
    enum err e = has_pipe ? listen_at(w->dir, &s->fd) : ERR_IO;
    if (e == ERR_OK && pthread_create(&s->thread, NULL, run, s) != 0) {
        (void)close(s->fd);
        e = ERR_IO;
    }
    if (e != ERR_OK) {
        buf_fmt(why, "cannot listen on %s/admin.sock: %s", w->dir->path, strerror(errno));
        if (has_pipe) {
            (void)close(s->stop[0]);
            (void)close(s->stop[1]);
        }
        mem_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void admin_socket_stop(struct admin_socket *s) {
    if (!s) return;
    (void)close(s->stop[1]);
    (void)pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->mutex);
    for (unsigned i = 0; i < ADMIN_CLIENTS_MAX; i++)
        if (s->clients[i].used && !s->clients[i].done) (void)shutdown(s->clients[i].fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->mutex);
    for (unsigned i = 0; i < ADMIN_CLIENTS_MAX; i++)
        if (s->clients[i].used) (void)pthread_join(s->clients[i].thread, NULL);
    (void)close(s->fd);
    (void)close(s->stop[0]);
    char mem[DATADIR_PATH_MAX + 64];
    (void)unlink(datadir_path(s->world->dir, "admin.sock", mem));
    (void)pthread_mutex_destroy(&s->mutex);
    mem_free(s);
}
