/* cli/cmd_trust.c - kith trust install | remove: the local CA in this machine's stores.
 *
 * Two kinds of places: the system's (/usr/local/share/ca-certificates, update-ca-certificates),
 * which needs root and is done through sudo when we are not; and the browsers' (certutil): Chromium
 * reads ~/.pki/nssdb and makes none, so it is made when it is missing; each profile of Firefox has
 * one of its own. Each kind is asked for apart. The CA is name-constrained, so trusting it means
 * trusting it for this host's names only. */
#include "cli/cli.h"
#include "daemon/datadir.h"
#include "os/pki.h"
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSTEM_FILE    "/usr/local/share/ca-certificates/kith-local-ca.crt"
#define NICKNAME       "Kith local CA"
#define SAME_NAME_MAX  8
#define STORE_PATH_MAX 512

static bool is_program(const char *name) {
    const char *path = getenv("PATH");
    slice rest = slice_str(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
    for (slice dir; slice_split(&rest, ':', &dir);) {
        char file[512];
        int n = snprintf(file, sizeof file, SLICE_FMT "/%s", SLICE_ARG(dir), name);
        if (n > 0 && (size_t)n < sizeof file && access(file, X_OK) == 0) return true;
    }
    return false;
}

/* Runs a program and waits; true when it ended with 0. No shell is involved, and nobody is asked:
 * certutil would wait for a password for ever. (sudo asks the terminal itself.) */
static bool run_as_told(const char *const argv[], bool is_quiet) {
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) return false;
    if (pid == 0) {
        int nothing = open("/dev/null", O_RDWR);
        if (nothing >= 0) (void)dup2(nothing, STDIN_FILENO);
        if (nothing >= 0 && is_quiet) {
            (void)dup2(nothing, STDOUT_FILENO);
            (void)dup2(nothing, STDERR_FILENO);
        }
        (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
static bool run(const char *const argv[]) {
    return run_as_told(argv, false);
}

/* Without root and without sudo: what somebody who is root can type. */
static bool tell_root(const char *ca, bool install) {
    (void)printf("system: this needs root, and sudo is not here. As root, run\n");
    if (install)
        (void)printf("  install -m 644 '%s' %s && update-ca-certificates\n", ca, SYSTEM_FILE);
    else
        (void)printf("  rm -f %s && update-ca-certificates --fresh\n", SYSTEM_FILE);
    return false;
}

static bool run_as_root(const char *const argv[], size_t count) {
    const char *with_sudo[10] = { "sudo" };
    ASSERT(count + 2 <= ARRAY_LEN(with_sudo));
    for (size_t i = 0; i < count; i++) with_sudo[i + 1] = argv[i];
    return run(geteuid() == 0 ? argv : with_sudo);
}

static bool agreed(struct cli *c, const char *question) {
    if (cli_has(c, "yes")) return true;
    if (!isatty(STDIN_FILENO)) return false;
    (void)printf("%s [y/N] ", question);
    (void)fflush(stdout);
    char line[16];
    return fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static bool system_store(struct cli *c, const char *ca, bool install) {
    if (!is_program("update-ca-certificates")) {
        (void)printf("system: update-ca-certificates is not here; skipped\n");
        return true;
    }
    if (!install && access(SYSTEM_FILE, F_OK) != 0) {
        (void)printf("system: nothing to remove\n");
        return true;
    }
    if (geteuid() != 0 && !is_program("sudo")) return tell_root(ca, install);
    if (!agreed(c, install ? "Put the CA into the system's store (needs root)?"
                           : "Take the CA out of the system's store (needs root)?")) {
        (void)printf("system: left as it is\n");
        return true;
    }
    const char *const copy[] = { "install", "-m", "644", ca, SYSTEM_FILE, NULL };
    const char *const drop[] = { "rm", "-f", SYSTEM_FILE, NULL };
    const char *const update[] = { "update-ca-certificates", NULL };
    const char *const fresh[] = { "update-ca-certificates", "--fresh", NULL };
    bool done = install ? run_as_root(copy, 6) && run_as_root(update, 2)
                        : run_as_root(drop, 4) && run_as_root(fresh, 3);
    (void)printf("system: %s\n", !done ? "that did not work" : install ? "installed" : "removed");
    return done;
}

/* As certutil makes it, without a password, in folders of the user alone. */
static bool make_browser_store(const char *home, const char *folder, const char *db) {
    char parent[512];
    const char *const argv[] = { "certutil", "-N", "-d", db, "--empty-password", NULL };
    int n = snprintf(parent, sizeof parent, "%s/.pki", home);
    return n > 0 && (size_t)n < sizeof parent && (mkdir(parent, 0700) == 0 || errno == EEXIST) &&
           (mkdir(folder, 0700) == 0 || errno == EEXIST) && run(argv);
}

/* All of our name: a data directory that was made anew has another CA. */
static bool drop_from(const char *db) {
    const char *const look[] = { "certutil", "-L", "-d", db, "-n", NICKNAME, NULL };
    const char *const drop[] = { "certutil", "-D", "-d", db, "-n", NICKNAME, NULL };
    for (int i = 0; i < SAME_NAME_MAX; i++) {
        if (!run_as_told(look, true)) return true;
        if (!run(drop)) return false;
    }
    return false;
}

static bool change_store(const char *folder, const char *ca, bool install) {
    char db[STORE_PATH_MAX + 8];
    (void)snprintf(db, sizeof db, "sql:%s", folder);
    const char *const add[] = { "certutil", "-A",  "-d", db, "-n", NICKNAME,
                                "-t",       "C,,", "-i", ca, NULL };
    bool done = drop_from(db) && (!install || run(add));
    (void)printf("browser: %s: %s\n", folder,
                 !done     ? "that did not work"
                 : install ? "installed; start the browser anew if it runs"
                           : "removed");
    return done;
}

/* The stores that are there. Firefox as a package, as a snap, and as a flatpak. */
static bool find_stores(const char *home, glob_t *out) {
    static const char *const places[] = { ".pki/nssdb", ".mozilla/firefox/*",
                                          "snap/firefox/common/.mozilla/firefox/*",
                                          ".var/app/org.mozilla.firefox/.mozilla/firefox/*" };
    *out = (glob_t){ 0 };
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char pattern[STORE_PATH_MAX];
        int n = snprintf(pattern, sizeof pattern, "%s/%s/cert9.db", home, places[i]);
        if (n < 0 || (size_t)n >= sizeof pattern) return false;
        int code = glob(pattern, i ? GLOB_APPEND : 0, NULL, out);
        if (code != 0 && code != GLOB_NOMATCH) return false;
    }
    return true;
}

static bool browser_store(struct cli *c, const char *ca, bool install) {
    const char *home = getenv("HOME");
    char own[STORE_PATH_MAX], db[STORE_PATH_MAX + 8];
    glob_t found;
    int n = snprintf(own, sizeof own, "%s/.pki/nssdb", home ? home : "");
    if (!home || n < 0 || (size_t)n >= sizeof own || !find_stores(home, &found)) {
        (void)printf("browser: there is no home directory to look for its store; skipped\n");
        return true;
    }
    bool has_own = found.gl_pathc && slice_starts(slice_str(found.gl_pathv[0]), slice_str(own));
    bool done = true;
    if (!install && !found.gl_pathc) {
        (void)printf("browser: nothing to remove\n");
    } else if (!is_program("certutil")) {
        (void)printf("browser: certutil is not here; install the package libnss3-tools\n");
        done = false;
    } else if (!agreed(c, install
                              ? "Put the CA into the stores of your browsers (Chromium, Firefox)?"
                              : "Take the CA out of the stores of your browsers?")) {
        (void)printf("browser: left as it is\n");
    } else {
        if (install && !has_own) { /* an empty folder is no store */
            (void)snprintf(db, sizeof db, "sql:%s", own);
            done = make_browser_store(home, own, db) && change_store(own, ca, install);
        }
        for (size_t i = 0; i < found.gl_pathc; i++) {
            char *path = found.gl_pathv[i];
            path[strlen(path) - strlen("/cert9.db")] = '\0';
            done = change_store(path, ca, install) && done;
        }
    }
    globfree(&found);
    return done;
}

static int show(struct cli *c, const char *ca) {
    static char mem[65536]; /* 64 names of 253 bytes, and as many addresses */
    char why_mem[512];
    struct buf text = buf_over(mem, sizeof mem), why = buf_over(why_mem, sizeof why_mem);
    enum err e = pki_describe(ca, &text, &why);
    if (e != ERR_OK && !why.len) buf_put(&why, slice_str(err_text(e)));
    if (e != ERR_OK) return cli_fail(c, SLICE_FMT, SLICE_ARG(buf_slice(&why)));
    (void)printf("This CA is %s\n", ca);
    slice rest = buf_slice(&text);
    for (slice line; slice_split(&rest, '\n', &line);)
        if (line.len) (void)printf("  " SLICE_FMT "\n", SLICE_ARG(line));
    return CLI_DONE;
}

int cli_trust(struct cli *c) {
    bool install = slice_eq(slice_str(c->command->words), SLICE("trust install"));
    const char *only = cli_value(c, "only");
    bool system = !only || slice_eq(slice_str(only), SLICE("system"));
    bool browser = !only || slice_eq(slice_str(only), SLICE("browser"));
    if (!system && !browser) return cli_wrong(c, "--only takes system or browser");
    char mem[512], ca[DATADIR_PATH_MAX + 64];
    struct buf why = buf_over(mem, sizeof mem);
    struct datadir dir = { .lock_fd = -1 };
    if (install) {
        if (datadir_open(c->data, false, &dir, &why) != ERR_OK)
            return cli_fail(c, SLICE_FMT, SLICE_ARG(buf_slice(&why)));
        if (access(datadir_path(&dir, "tls/ca.pem", ca), R_OK) != 0)
            return cli_fail(
                c, "%s is not there; it is made by the first `kith serve` without [tls]", ca);
    }
    if (!cli_has(c, "yes") && !isatty(STDIN_FILENO))
        return cli_fail(c, "this asks first: run it on a terminal, or add --yes");
    if (install && show(c, ca) != CLI_DONE) return CLI_FAILED;
    bool done = !system || system_store(c, ca, install);
    if (browser) done = browser_store(c, ca, install) && done;
    return done ? CLI_DONE : CLI_FAILED;
}
