#include "os/pki_internal.h"

#include "base/mem.h"
#include "crypto/crypto.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

/* "path: what is wrong" */
static enum err tell(struct buf *why, enum err e, const char *path, const char *what) {
    ERR_clear_error();
    if (why) buf_fmt(why, "%s: %s", path, what);
    return e;
}

static enum err file_read(const char *path, struct buf *out, struct buf *why) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) return tell(why, ERR_MISSING, path, "there is no such file");
        return tell(why, ERR_DENIED, path,
                    errno == EACCES ? "we may not read it" : "it cannot be opened");
    }
    for (;;) {
        ssize_t n = buf_room(out) ? read(fd, out->ptr + out->len, buf_room(out)) : -1;
        if (n > 0) {
            out->len += (size_t)n;
            continue;
        }
        close(fd);
        if (n == 0) return ERR_OK;
        return tell(why, ERR_BAD, path, buf_room(out) ? "it cannot be read" : "it is too large");
    }
}

/* A password would have to be asked for at a terminal: such keys are refused instead. */
static int no_password(char *dst, int len, int is_write, void *ctx) {
    (void)dst, (void)len, (void)is_write, (void)ctx;
    return -1;
}

static STACK_OF(X509) * chain_read(slice pem) {
    STACK_OF(X509) *chain = sk_X509_new_null();
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    for (X509 *c; chain && bio && sk_X509_num(chain) < PKI_CHAIN_MAX;) {
        c = PEM_read_bio_X509(bio, NULL, no_password, NULL);
        if (!c) break;
        if (sk_X509_push(chain, c) <= 0) X509_free(c);
    }
    BIO_free(bio);
    ERR_clear_error();
    return chain;
}

static EVP_PKEY *key_read(slice pem) {
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

static bool key_is_supported(const EVP_PKEY *key) {
    if (EVP_PKEY_is_a(key, "RSA"))
        return EVP_PKEY_get_bits(key) >= 2048 && EVP_PKEY_get_bits(key) <= 8192;
    char group[32];
    size_t len = 0;
    if (!EVP_PKEY_is_a(key, "EC") || !EVP_PKEY_get_group_name(key, group, sizeof group, &len))
        return false;
    slice name = slice_of(group, len);
    return slice_eq(name, SLICE("prime256v1")) || slice_eq(name, SLICE("P-256")) ||
           slice_eq(name, SLICE("secp384r1")) || slice_eq(name, SLICE("P-384"));
}

static enum err check_fit(X509 *leaf, EVP_PKEY *key, wall_t now, const char *chain_path,
                          const char *key_path, struct buf *why) {
    if (!key_is_supported(key))
        return tell(why, ERR_UNSUPPORTED, key_path,
                    "the key is neither EC P-256 or P-384 nor RSA of 2048 to 8192 bits");
    if (X509_check_private_key(leaf, key) != 1)
        return tell(why, ERR_CONFIG, key_path,
                    "this key does not belong to the first certificate of the chain");
    time_t at = (time_t)(now / 1000);
    if (X509_cmp_time(X509_get0_notAfter(leaf), &at) <= 0)
        return tell(why, ERR_STALE, chain_path, "the certificate has expired");
    if (X509_cmp_time(X509_get0_notBefore(leaf), &at) > 0)
        return tell(why, ERR_STALE, chain_path, "the certificate is not valid yet");
    return ERR_OK;
}

static enum err id_from_pem(slice chain_pem, slice key_pem, const char *chain_path,
                            const char *key_path, wall_t now, struct pki_id **out,
                            struct buf *why) {
    STACK_OF(X509) *chain = chain_read(chain_pem);
    X509 *leaf = chain && sk_X509_num(chain) > 0 ? sk_X509_shift(chain) : NULL;
    EVP_PKEY *key = leaf ? key_read(key_pem) : NULL;
    enum err e = ERR_OK;
    if (!leaf)
        e = tell(why, ERR_BAD, chain_path, "there is no certificate in it (PEM)");
    else if (!key)
        e = tell(why, ERR_BAD, key_path, "there is no private key without password in it (PEM)");
    else
        e = check_fit(leaf, key, now, chain_path, key_path, why);
    if (e == ERR_OK) return pki_id_new(leaf, key, chain, out);
    X509_free(leaf);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
    return e;
}

enum err pki_load(const char *chain_path, const char *key_path, wall_t now, struct pki_id **out,
                  struct buf *why) {
    char *memory = mem_alloc(2 * PKI_PEM_BYTES);
    if (!memory) return ERR_MEMORY;
    struct buf chain = buf_over(memory, PKI_PEM_BYTES);
    struct buf key = buf_over(memory + PKI_PEM_BYTES, PKI_PEM_BYTES);
    enum err e = file_read(chain_path, &chain, why);
    if (e == ERR_OK) e = file_read(key_path, &key, why);
    if (e == ERR_OK)
        e = id_from_pem(buf_slice(&chain), buf_slice(&key), chain_path, key_path, now, out, why);
    crypto_wipe(memory, 2 * PKI_PEM_BYTES);
    mem_free(memory);
    return e;
}

static enum err bio_into(BIO *bio, bool ok, struct buf *out) {
    char *text = NULL;
    long len = bio ? BIO_get_mem_data(bio, &text) : 0;
    if (ok && len > 0) buf_put(out, slice_of(text, (size_t)len));
    BIO_free(bio);
    ERR_clear_error();
    if (!ok) return ERR_CRYPTO;
    return out->full ? ERR_LIMIT : ERR_OK;
}

enum err pki_put_chain(const struct pki_id *id, struct buf *out) {
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = bio && PEM_write_bio_X509(bio, id->leaf) == 1;
    for (int i = 0; ok && i < sk_X509_num(id->chain); i++)
        ok = PEM_write_bio_X509(bio, sk_X509_value(id->chain, i)) == 1;
    return bio_into(bio, ok, out);
}

enum err pki_put_key(const struct pki_id *id, struct buf *out) {
    BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when freed */
    bool ok = bio && PEM_write_bio_PKCS8PrivateKey(bio, id->key, NULL, NULL, 0, NULL, NULL) == 1;
    return bio_into(bio, ok, out);
}

/* ---- for people ---- */

static void put_clean(struct buf *out, const void *text, size_t len) {
    const unsigned char *p = text;
    for (size_t i = 0; i < len; i++) buf_byte(out, p[i] < 0x20 || p[i] > 0x7e ? '?' : (char)p[i]);
}

static bool put_subject(X509 *cert, struct buf *out) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    bool ok = bio && X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0;
    long len = ok ? BIO_get_mem_data(bio, &text) : 0;
    buf_lit(out, "name         ");
    if (len > 0) put_clean(out, text, (size_t)len);
    buf_lit(out, "\n");
    BIO_free(bio);
    return ok;
}

/* RFC 5280 4.2.1.10: an address with its mask, or a DNS name that stands for those below it too. */
static void put_base(const GENERAL_NAME *base, struct buf *out) {
    if (base->type == GEN_DNS) {
        put_clean(out, ASN1_STRING_get0_data(base->d.dNSName),
                  (size_t)ASN1_STRING_length(base->d.dNSName));
        return;
    }
    int len = base->type == GEN_IPADD ? ASN1_STRING_length(base->d.iPAddress) : 0;
    if (len != 8 && len != 32) {
        buf_lit(out, "(a kind of name unknown here)");
        return;
    }
    const unsigned char *bytes = ASN1_STRING_get0_data(base->d.iPAddress);
    size_t half = (size_t)len / 2, bits = 0;
    struct addr a = { .family = half == 4 ? ADDR_V4 : ADDR_V6 };
    memcpy(a.ip, bytes, half);
    while (bits < 8 * half && (bytes[half + bits / 8] & (0x80u >> bits % 8))) bits++;
    addr_put_ip(out, &a);
    if (bits < 8 * half) buf_fmt(out, "/%u", (unsigned)bits);
}

static void put_constraints(X509 *cert, struct buf *out) {
    int critical = 0;
    NAME_CONSTRAINTS *nc = X509_get_ext_d2i(cert, NID_name_constraints, &critical, NULL);
    int count = nc ? sk_GENERAL_SUBTREE_num(nc->permittedSubtrees) : 0;
    buf_lit(out, "speaks for   ");
    if (count <= 0) buf_lit(out, "EVERY NAME: it has no constraints");
    for (int i = 0; i < count; i++) {
        if (i) buf_lit(out, ", ");
        put_base(sk_GENERAL_SUBTREE_value(nc->permittedSubtrees, i)->base, out);
    }
    buf_lit(out, "\n");
    NAME_CONSTRAINTS_free(nc);
}

static void put_end_and_print(X509 *cert, struct buf *out) {
    struct tm t;
    uint8_t hash[32];
    unsigned len = 0;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &t))
        buf_fmt(out, "until        %04d-%02d-%02d\n", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday);
    ASSERT(X509_digest(cert, EVP_sha256(), hash, &len) == 1 && len == sizeof hash);
    buf_lit(out, "SHA-256      ");
    for (size_t i = 0; i < sizeof hash; i++) buf_fmt(out, "%s%02X", i ? ":" : "", hash[i]);
    buf_lit(out, "\n");
}

enum err pki_describe(const char *path, struct buf *out, struct buf *why) {
    char *memory = mem_alloc(PKI_PEM_BYTES);
    if (!memory) return ERR_MEMORY;
    struct buf pem = buf_over(memory, PKI_PEM_BYTES);
    enum err e = file_read(path, &pem, why);
    STACK_OF(X509) *chain = e == ERR_OK ? chain_read(buf_slice(&pem)) : NULL;
    X509 *cert = chain && sk_X509_num(chain) > 0 ? sk_X509_value(chain, 0) : NULL;
    if (e == ERR_OK && !cert) e = tell(why, ERR_BAD, path, "there is no certificate in it (PEM)");
    if (e == ERR_OK && !put_subject(cert, out)) e = ERR_MEMORY;
    if (e == ERR_OK) {
        put_constraints(cert, out);
        put_end_and_print(cert, out);
        if (out->full) e = ERR_LIMIT;
    }
    sk_X509_pop_free(chain, X509_free);
    ERR_clear_error();
    mem_free(memory);
    return e;
}

static bool write_all(int fd, slice bytes) {
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes = slice_from(bytes, (size_t)n);
    }
    return true;
}

/* The new name is on disk only when its folder is. */
static bool sync_folder_of(char *path) {
    size_t len = strlen(path);
    while (len && path[len - 1] != '/') len--;
    path[len] = '\0';
    int fd = open(len ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) close(fd);
    return ok;
}

static enum err file_replace(const char *path, slice bytes, struct buf *why) {
    char temp[PATH_BYTES];
    struct buf b = buf_over(temp, sizeof temp);
    buf_fmt(&b, "%s.XXXXXX", path);
    buf_byte(&b, '\0');
    if (b.full) return tell(why, ERR_IO, path, "the path is too long");
    int fd = mkostemp(temp, O_CLOEXEC); /* mode 0600 */
    if (fd < 0)
        return tell(why, errno == EACCES || errno == EROFS ? ERR_DENIED : ERR_IO, path,
                    "no file can be made beside it");
    bool ok = write_all(fd, bytes) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok && rename(temp, path) == 0;
    if (!ok) {
        unlink(temp);
        return tell(why, ERR_IO, path, "it cannot be written");
    }
    return sync_folder_of(temp) ? ERR_OK : tell(why, ERR_IO, path, "its folder cannot be synced");
}

enum err pki_save(const struct pki_id *id, const char *chain_path, const char *key_path,
                  struct buf *why) {
    bool is_one_file = slice_eq(slice_str(chain_path), slice_str(key_path));
    char *memory = mem_alloc(PKI_PEM_BYTES);
    if (!memory) return ERR_MEMORY;
    struct buf pem = buf_over(memory, PKI_PEM_BYTES);
    enum err e = ERR_OK;
    if (is_one_file) e = pki_put_chain(id, &pem);
    if (e == ERR_OK) e = pki_put_key(id, &pem);
    if (e == ERR_OK) e = file_replace(key_path, buf_slice(&pem), why);
    if (e == ERR_OK && !is_one_file) {
        crypto_wipe(memory, PKI_PEM_BYTES);
        buf_clear(&pem);
        e = pki_put_chain(id, &pem);
        if (e == ERR_OK) e = file_replace(chain_path, buf_slice(&pem), why);
    }
    crypto_wipe(memory, PKI_PEM_BYTES);
    mem_free(memory);
    return e;
}
