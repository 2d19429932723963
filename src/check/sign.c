/* check/sign.c */
#include "check/sign.h"

#include "base/mem.h"
#include "check/msg.h"
#include "check/report.h"
#include "crypto/crypto.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static void show_public(const uint8_t public_key[static 32], struct buf *b) {
    buf_base64(b, public_key, 32);
}

enum err sign_key(const char *file) {
    uint8_t seed[32], public_key[32];
    char mem[64], shown[64];
    struct buf b = buf_over(mem, sizeof mem), p = buf_over(shown, sizeof shown);
    crypto_random(seed, sizeof seed);
    crypto_ed25519_public(seed, public_key);
    buf_base64(&b, seed, sizeof seed);
    buf_lit(&b, "\n");
    show_public(public_key, &p);
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, b.ptr, b.len) == (ssize_t)b.len;
    if (fd >= 0) (void)close(fd);
    crypto_wipe(seed, sizeof seed);
    crypto_wipe(mem, sizeof mem);
    if (!good) return fd < 0 ? ERR_EXISTS : ERR_IO;
    (void)printf("public key: " SLICE_FMT "\n", SLICE_ARG(buf_slice(&p)));
    return ERR_OK;
}

static enum err read_seed(const char *key_file, uint8_t seed[static 32]) {
    char *key = NULL;
    size_t len, n = 0;
    enum err e = file_slurp(key_file, &key, &len);
    if (e != ERR_OK) return e;
    e = base64_read(slice_trim(slice_of(key, len)), seed, 32, &n);
    crypto_wipe(key, len);
    mem_free(key);
    return e == ERR_OK && n != 32 ? ERR_BAD : e;
}

enum err sign_key_check(const char *file) {
    uint8_t seed[32];
    enum err e = read_seed(file, seed);
    crypto_wipe(seed, sizeof seed);
    return e;
}

enum err sign_report(const char *report, const char *key_file) {
    char *text = NULL, sig_file[1100], mem[256];
    size_t len;
    uint8_t seed[32], public_key[32], sig[64];
    struct buf b = buf_over(mem, sizeof mem);
    (void)snprintf(sig_file, sizeof sig_file, "%s.sig", report);
    enum err e = read_seed(key_file, seed);
    if (e == ERR_OK && (e = file_slurp(report, &text, &len)) != ERR_OK)
        crypto_wipe(seed, sizeof seed);
    if (e != ERR_OK) return e;
    crypto_ed25519_public(seed, public_key);
    crypto_ed25519_sign(seed, text, len, sig);
    crypto_wipe(seed, sizeof seed);
    mem_free(text);
    show_public(public_key, &b);
    buf_lit(&b, "\n");
    buf_base64(&b, sig, sizeof sig);
    buf_lit(&b, "\n");
    return file_spill(sig_file, buf_slice(&b));
}

bool sign_verify(const char *report, const char *public_key) {
    char *text = NULL, *sig = NULL, sig_file[1100];
    size_t len = 0, sig_len = 0, n = 0, m = 0;
    uint8_t key[32], bytes[64];
    (void)snprintf(sig_file, sizeof sig_file, "%s.sig", report);
    bool read =
        file_slurp(report, &text, &len) == ERR_OK && file_slurp(sig_file, &sig, &sig_len) == ERR_OK;
    slice rest = slice_of(sig, sig_len), first, second;
    bool good = read && slice_split(&rest, '\n', &first) && slice_split(&rest, '\n', &second) &&
                base64_read(first, key, sizeof key, &n) == ERR_OK && n == sizeof key &&
                base64_read(second, bytes, sizeof bytes, &m) == ERR_OK && m == sizeof bytes &&
                crypto_ed25519_right(key, text, len, bytes);
    bool whose = good && (!public_key || is(first, public_key));
    if (!read) {
        (void)printf("%s: it, or the signature in %s, cannot be read\n", report, sig_file);
    } else if (!good) {
        (void)printf("WRONG: the report is not what was signed. Ask its maker for it again.\n");
    } else if (!whose) {
        (void)printf("WRONG: signed by another key: " SLICE_FMT "\n", SLICE_ARG(first));
    } else {
        (void)printf("signed by " SLICE_FMT "\n", SLICE_ARG(first));
        if (!public_key)
            (void)printf("Anybody can sign. Is this the key that its maker publishes?\n");
    }
    mem_free(text);
    mem_free(sig);
    return whose;
}
