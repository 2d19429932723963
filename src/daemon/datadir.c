/* daemon/datadir.c - see datadir.h. */
#include "daemon/datadir.h"

#include "crypto/crypto.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err say(struct buf *why, enum err e, const char *what, const char *path) {
    buf_fmt(why, "%s %s: %s", what, path, strerror(errno));
    return e;
}

const char *datadir_path(const struct datadir *d, const char *name,
                         char mem[static DATADIR_PATH_MAX + 64]) {
    int n = snprintf(mem, DATADIR_PATH_MAX + 64, "%s/%s", d->path, name);
    ASSERT(n > 0 && n < DATADIR_PATH_MAX + 64);
    return mem;
}

/* Ours, and closed to all others? */
static enum err check_private(const char *path, struct buf *why) {
    struct stat st;
    if (stat(path, &st) != 0)
        return say(why, errno == ENOENT ? ERR_MISSING : ERR_IO, "cannot look at", path);
    if (!S_ISDIR(st.st_mode)) {
        buf_fmt(why, "%s is not a directory", path);
        return ERR_DENIED;
    }
    if (st.st_uid != geteuid()) {
        buf_fmt(why,
                "%s belongs to another user (uid %u); run as that user, or name another "
                "directory with --data",
                path, (unsigned)st.st_uid);
        return ERR_DENIED;
    }
    if (st.st_mode & 077) {
        buf_fmt(why,
                "%s is open to others (mode %03o), but keys are kept there; close it with "
                "`chmod 700 %s`, or name another directory with --data",
                path, (unsigned)(st.st_mode & 0777), path);
        return ERR_DENIED;
    }
    return ERR_OK;
}

static enum err make(const char *path, struct buf *why) {
    if (mkdir(path, 0700) == 0 || errno == EEXIST) return ERR_OK;
    return say(why, ERR_IO, "cannot make the directory", path);
}

enum err datadir_name(const char *path, struct datadir *out, struct buf *why) {
    *out = (struct datadir){ .lock_fd = -1 };
    slice p = slice_str(path);
    while (p.len > 1 && p.ptr[p.len - 1] == '/') p.len--;
    if (p.len && slice_cstr(p, out->path, sizeof out->path)) return ERR_OK;
    buf_lit(why, "the path of the data directory is empty or longer than 500 characters");
    return ERR_LIMIT;
}

enum err datadir_open(const char *path, bool create, struct datadir *out, struct buf *why) {
    enum err e = datadir_name(path, out, why);
    if (e == ERR_OK && create) e = make(out->path, why);
    if (e == ERR_OK) e = check_private(out->path, why);
    static const char *const folders[] = { "keys", "tls" };
    for (size_t i = 0; i < ARRAY_LEN(folders) && e == ERR_OK; i++) {
        char mem[DATADIR_PATH_MAX + 64];
        const char *folder = datadir_path(out, folders[i], mem);
        e = make(folder, why);
        if (e == ERR_OK) e = check_private(folder, why);
    }
    return e;
}

enum err datadir_lock(struct datadir *d, struct buf *why) {
    char mem[DATADIR_PATH_MAX + 64], text[32];
    const char *path = datadir_path(d, "lock", mem);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return say(why, ERR_IO, "cannot open", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        slice pid = slice_trim(slice_of(text, n > 0 ? (size_t)n : 0));
        (void)close(fd);
        buf_fmt(why, "%s is in use by another kith process (pid " SLICE_FMT ")", d->path,
                SLICE_ARG(pid));
        return ERR_AGAIN;
    }
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len) {
        (void)close(fd);
        return say(why, ERR_IO, "cannot write", path);
    }
    d->lock_fd = fd;
    return ERR_OK;
}

void datadir_close(struct datadir *d) {
    if (d->lock_fd >= 0) (void)close(d->lock_fd); /* ends the flock too */
    d->lock_fd = -1;
}

static enum err write_all(int fd, slice bytes) {
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return ERR_IO;
        bytes = slice_from(bytes, (size_t)n);
    }
    return ERR_OK;
}

/* The rename is durable only when the directory is on disk. */
static enum err sync_folder(const char *path) {
    char folder[DATADIR_PATH_MAX + 128];
    slice p = slice_str(path);
    while (p.len > 0 && p.ptr[p.len - 1] != '/') p.len--;
    if (!slice_cstr(p.len ? p : SLICE("."), folder, sizeof folder)) return ERR_IO;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return ERR_IO;
    enum err e = fsync(fd) == 0 ? ERR_OK : ERR_IO;
    (void)close(fd);
    return e;
}

enum err file_write(const char *path, slice bytes, struct buf *why) {
    char beside[DATADIR_PATH_MAX + 128];
    int n = snprintf(beside, sizeof beside, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof beside) {
        buf_lit(why, "the file's name is too long");
        return ERR_LIMIT;
    }
    (void)unlink(beside); /* left by a crash */
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return say(why, ERR_IO, "cannot write", beside);
    enum err e = write_all(fd, bytes);
    if (e == ERR_OK && fsync(fd) != 0) e = ERR_IO;
    if (close(fd) != 0) e = ERR_IO;
    if (e == ERR_OK && rename(beside, path) != 0) e = ERR_IO;
    if (e == ERR_OK) e = sync_folder(path);
    if (e != ERR_OK) {
        (void)say(why, e, "cannot write", path);
        (void)unlink(beside);
    }
    return e;
}

enum err file_read(const char *path, char *dst, size_t cap, size_t *out_len) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? ERR_MISSING : ERR_IO;
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0 && len < cap) {
        n = read(fd, dst + len, cap - len);
        if (n > 0) len += (size_t)n;
    }
    char more;
    bool longer = n > 0 && read(fd, &more, 1) > 0;
    (void)close(fd);
    *out_len = len;
    return n < 0 ? ERR_IO : longer ? ERR_LIMIT : ERR_OK;
}

enum err datadir_seal_key(const struct datadir *d, uint8_t out[static 32], struct buf *why) {
    char mem[DATADIR_PATH_MAX + 64], db[DATADIR_PATH_MAX + 64];
    const char *path = datadir_path(d, "keys/seal.key", mem);
    size_t len = 0;
    enum err e = file_read(path, (char *)out, 32, &len);
    if (e == ERR_OK && len == 32) return ERR_OK;
    if (e != ERR_MISSING) {
        buf_fmt(why,
                "%s cannot be read or is damaged: it must have 32 bytes; restore it from your "
                "backup",
                path);
        return e == ERR_OK || e == ERR_LIMIT ? ERR_BAD : e;
    }
    if (access(datadir_path(d, "kith.db", db), F_OK) == 0) {
        buf_fmt(why,
                "%s is missing, and without it the secrets in %s cannot be opened; restore it "
                "from your backup, or move kith.db away to begin anew",
                path, db);
        return ERR_MISSING;
    }
    crypto_random(out, 32);
    return file_write(path, slice_of(out, 32), why);
}
