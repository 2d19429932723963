#include "store_sqlite/store_sqlite.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store_sqlite/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_WAIT_MS 2000 /* another writer is a mistake or a backup: do not hang for it */
#define TROUBLE_MAX  256
#define PURGE_EVERY  4096 /* removals */

/* One prepared statement each, kept for life. Numbers of parameters are those of bind_*(). */
#define STATEMENT_TABLE(X)                                                                         \
    X(ACCOUNT_PUT,                                                                                 \
      "INSERT INTO account (id, user, domain, aliases, display, flags, ha1_sha256,"                \
      " ha1_sha512_256, created, changed, settings)"                                               \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"                                     \
      " ON CONFLICT (id) DO UPDATE SET user = ?2, domain = ?3, aliases = ?4, display = ?5,"        \
      " flags = ?6, ha1_sha256 = ?7, ha1_sha512_256 = ?8, created = ?9, changed = ?10,"            \
      " settings = ?11")                                                                           \
    X(ACCOUNT_REMOVE, "DELETE FROM account WHERE id = ?1")                                         \
    X(DEVICE_PUT,                                                                                  \
      "INSERT INTO device (id, account_id, kind, revoked, name, why, key_hash, ha1_md5, created,"  \
      " until) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10"                                     \
      " WHERE EXISTS (SELECT 1 FROM account WHERE id = ?2)"                                        \
      " ON CONFLICT (id) DO UPDATE SET account_id = ?2, kind = ?3, revoked = ?4, name = ?5,"       \
      " why = ?6, key_hash = ?7, ha1_md5 = ?8, created = ?9, until = ?10")                         \
    X(DEVICE_REMOVE, "DELETE FROM device WHERE id = ?1")                                           \
    X(BINDING_PUT,                                                                                 \
      "INSERT INTO binding (account_id, bid, flow, run, device_id, reg_id, cseq, q, gruu_epoch,"   \
      " contact, params, instance, call_id, path, user_agent, registered, expires, change)"        \
      " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18"    \
      " WHERE EXISTS (SELECT 1 FROM account WHERE id = ?1)"                                        \
      " ON CONFLICT (account_id, bid) DO UPDATE SET flow = ?3, run = ?4, device_id = ?5,"          \
      " reg_id = ?6, cseq = ?7, q = ?8, gruu_epoch = ?9, contact = ?10, params = ?11,"             \
      " instance = ?12, call_id = ?13, path = ?14, user_agent = ?15, registered = ?16,"            \
      " expires = ?17, change = ?18, gone = 0 WHERE change <= ?18")                                \
    X(BINDING_REFRESH, "UPDATE binding SET cseq = ?3, registered = ?4, expires = ?5, change = ?6"  \
                       " WHERE account_id = ?1 AND bid = ?2 AND gone = 0 AND change <= ?6")        \
    X(BINDING_REMOVE,                                                                              \
      "INSERT INTO binding (account_id, bid, flow, run, device_id, reg_id, cseq, q, gruu_epoch,"   \
      " contact, params, instance, call_id, path, user_agent, registered, expires, change, gone)"  \
      " SELECT ?1, ?2, 0, 0, 0, 0, 0, 0, 0, '', '', '', '', '', '', 0, 0, ?3, 1"                   \
      " WHERE EXISTS (SELECT 1 FROM account WHERE id = ?1)"                                        \
      " ON CONFLICT (account_id, bid) DO UPDATE SET contact = '', params = '', instance = '',"     \
      " call_id = '', path = '', user_agent = '', change = ?3, gone = 1 WHERE change <= ?3")       \
    X(PURGE, "DELETE FROM binding WHERE gone = 1 AND change <= ?1")                                \
    X(VALUE_PUT, "INSERT INTO named (name, value) VALUES (?1, ?2)"                                 \
                 " ON CONFLICT (name) DO UPDATE SET value = ?2")                                   \
    X(VALUE_GET, "SELECT value FROM named WHERE name = ?1")                                        \
    X(ACCOUNTS_COUNT, "SELECT count(*) FROM account")                                              \
    X(ACCOUNTS,                                                                                    \
      "SELECT id, user, domain, aliases, display, flags, ha1_sha256, ha1_sha512_256, created,"     \
      " changed, settings FROM account")                                                           \
    X(DEVICES,                                                                                     \
      "SELECT id, account_id, kind, revoked, name, why, key_hash, ha1_md5, created, until"         \
      " FROM device")                                                                              \
    X(BINDINGS,                                                                                    \
      "SELECT account_id, bid, flow, run, device_id, reg_id, cseq, q, gruu_epoch, contact,"        \
      " params, instance, call_id, path, user_agent, registered, expires, change FROM binding"     \
      " WHERE gone = 0")                                                                           \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(BEGIN_READ, "BEGIN")                                                                         \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")

#define STATEMENT_ENUM(id, sql) S_##id,
#define STATEMENT_TEXT(id, sql) sql,
enum statement { STATEMENT_TABLE(STATEMENT_ENUM) S_COUNT };
static const char *const statement_texts[] = { STATEMENT_TABLE(STATEMENT_TEXT) };

struct sqlite_store {
    struct store base;
    sqlite3 *db;
    sqlite3_stmt *statements[S_COUNT];
    enum store_durability synchronous; /* as the connection is set now */
    bool may_write;
    uint64_t newest;   /* the highest number of a binding's change */
    uint32_t removals; /* since the last purge */
    char trouble[TROUBLE_MAX];
};

static struct sqlite_store *own(struct store *s) {
    return (struct sqlite_store *)(void *)s;
}

/* ---- what went wrong, in words ---- */

static void explain(sqlite3 *db, struct buf *out) {
    int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    int system = db ? sqlite3_system_errno(db) : 0;
    bool is_full = (code & 0xff) == SQLITE_FULL;
    is_full |= (code & 0xff) == SQLITE_IOERR && (system == ENOSPC || system == EDQUOT);
    if (is_full) {
        buf_lit(out, "no space left on device: make room; changes are refused until then");
        return;
    }
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        buf_lit(out, "the database is locked by another process: end that one first");
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        buf_lit(out, "the database file is damaged or not a database: restore it from a backup");
        break;
    case SQLITE_READONLY:
        buf_lit(out, "the database may not be written: look at the owner and mode of its folder");
        break;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        buf_fmt(out, "the database cannot be opened (%s): look at the owner and mode of its folder",
                system ? strerror(system) : sqlite3_errmsg(db));
        break;
    case SQLITE_IOERR:
        buf_fmt(out, "the disk reported an error (%s)",
                system ? strerror(system) : sqlite3_errmsg(db));
        break;
    case SQLITE_NOMEM:
        buf_lit(out, "memory is short");
        break;
    default:
        buf_fmt(out, "the database refused: %s", db ? sqlite3_errmsg(db) : "unknown");
        break;
    }
}

static enum err failed(struct sqlite_store *s) {
    struct buf b = buf_over(s->trouble, sizeof s->trouble - 1);
    explain(s->db, &b);
    if (b.full) buf_clear(&b), buf_lit(&b, "the database refused");
    s->trouble[b.len] = '\0';
    return (sqlite3_errcode(s->db) & 0xff) == SQLITE_NOMEM ? ERR_MEMORY : ERR_STORE;
}

/* It is not for these changes that the commit failed. */
static bool is_out(sqlite3 *db) {
    switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return true;
    default:
        return false;
    }
}

static enum err failed_commit(struct sqlite_store *s) {
    bool out = is_out(s->db);
    enum err e = failed(s);
    return out ? ERR_IO : e;
}

/* ---- writing ---- */

/* Bytes are not copied: they live until the statement is reset. No slice becomes NULL. */
static void bind_text(sqlite3_stmt *t, int at, slice s) {
    (void)sqlite3_bind_text64(t, at, s.len ? s.ptr : "", s.len, SQLITE_STATIC, SQLITE_UTF8);
}
static void bind_blob(sqlite3_stmt *t, int at, slice s) {
    (void)sqlite3_bind_blob64(t, at, s.len ? s.ptr : "", s.len, SQLITE_STATIC);
}
static void bind_number(sqlite3_stmt *t, int at, int64_t v) {
    (void)sqlite3_bind_int64(t, at, v);
}

static void bind_account(sqlite3_stmt *t, const struct account_row *r) {
    bind_number(t, 1, r->id);
    bind_text(t, 2, r->user);
    bind_text(t, 3, r->domain);
    bind_text(t, 4, r->aliases);
    bind_text(t, 5, r->display);
    bind_number(t, 6, r->flags);
    bind_blob(t, 7, r->ha1_sha256);
    bind_blob(t, 8, r->ha1_sha512_256);
    bind_number(t, 9, r->created);
    bind_number(t, 10, r->changed);
    bind_text(t, 11, r->settings);
}

static void bind_device(sqlite3_stmt *t, const struct device_row *r) {
    bind_number(t, 1, r->id);
    bind_number(t, 2, r->account_id);
    bind_number(t, 3, r->kind);
    bind_number(t, 4, r->revoked);
    bind_text(t, 5, r->name);
    bind_text(t, 6, r->why);
    bind_blob(t, 7, slice_of(r->key_hash, sizeof r->key_hash));
    bind_blob(t, 8, r->ha1_md5);
    bind_number(t, 9, r->created);
    bind_number(t, 10, r->until);
}

static void bind_binding(sqlite3_stmt *t, const struct binding_row *r) {
    bind_number(t, 1, r->account_id);
    bind_number(t, 2, r->bid);
    bind_number(t, 3, (int64_t)r->flow);
    bind_number(t, 4, r->run);
    bind_number(t, 5, r->device_id);
    bind_number(t, 6, r->reg_id);
    bind_number(t, 7, r->cseq);
    bind_number(t, 8, r->q);
    bind_number(t, 9, (int64_t)r->gruu_epoch);
    bind_text(t, 10, r->contact);
    bind_text(t, 11, r->params);
    bind_text(t, 12, r->instance);
    bind_text(t, 13, r->call_id);
    bind_text(t, 14, r->path);
    bind_text(t, 15, r->user_agent);
    bind_number(t, 16, r->registered);
    bind_number(t, 17, r->expires);
    bind_number(t, 18, (int64_t)r->change);
}

static sqlite3_stmt *bound(struct sqlite_store *s, const struct store_change *c) {
    sqlite3_stmt *t = NULL;
    switch (c->op) {
    case STORE_ACCOUNT_PUT:
        bind_account(t = s->statements[S_ACCOUNT_PUT], &c->account);
        break;
    case STORE_ACCOUNT_REMOVE:
        bind_number(t = s->statements[S_ACCOUNT_REMOVE], 1, c->account.id);
        break;
    case STORE_DEVICE_PUT:
        bind_device(t = s->statements[S_DEVICE_PUT], &c->device);
        break;
    case STORE_DEVICE_REMOVE:
        bind_number(t = s->statements[S_DEVICE_REMOVE], 1, c->device.id);
        break;
    case STORE_BINDING_PUT:
        bind_binding(t = s->statements[S_BINDING_PUT], &c->binding);
        break;
    case STORE_BINDING_REFRESH:
        t = s->statements[S_BINDING_REFRESH];
        bind_number(t, 1, c->binding.account_id);
        bind_number(t, 2, c->binding.bid);
        bind_number(t, 3, c->binding.cseq);
        bind_number(t, 4, c->binding.registered);
        bind_number(t, 5, c->binding.expires);
        bind_number(t, 6, (int64_t)c->binding.change);
        break;
    case STORE_BINDING_REMOVE:
        t = s->statements[S_BINDING_REMOVE];
        bind_number(t, 1, c->binding.account_id);
        bind_number(t, 2, c->binding.bid);
        bind_number(t, 3, (int64_t)c->binding.change);
        break;
    case STORE_VALUE_PUT:
        t = s->statements[S_VALUE_PUT];
        bind_text(t, 1, c->value.name);
        bind_blob(t, 2, c->value.value);
        break;
    }
    ASSERT(t);
    return t;
}

/* A statement without rows, run to its end. */
static bool run(sqlite3_stmt *t) {
    bool ok = sqlite3_step(t) == SQLITE_DONE;
    ok = sqlite3_reset(t) == SQLITE_OK && ok;
    return ok;
}

/* synchronous cannot change inside a transaction, so it is set before each batch that needs it. */
static bool set_synchronous(struct sqlite_store *s, enum store_durability wanted) {
    if (wanted == STORE_LAZY) wanted = STORE_NORMAL;
    if (wanted == s->synchronous) return true;
    const char *sql =
        wanted == STORE_FULL ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK) return false;
    s->synchronous = wanted;
    return true;
}

/* store.h, Order: the stones of removed bindings, once no change can come that is older. */
static bool purge(struct sqlite_store *s, uint64_t until) {
    bind_number(s->statements[S_PURGE], 1, (int64_t)until);
    return run(s->statements[S_PURGE]);
}

static void note_number(struct sqlite_store *s, const struct store_change *c) {
    bool is_removal = c->op == STORE_BINDING_REMOVE;
    if (!is_removal && c->op != STORE_BINDING_PUT && c->op != STORE_BINDING_REFRESH) return;
    if (c->binding.change > s->newest) s->newest = c->binding.change;
    s->removals += is_removal;
}

static bool write_all(struct sqlite_store *s, const struct store_change *changes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!run(bound(s, &changes[i]))) return false;
        note_number(s, &changes[i]);
    }
    if (s->removals < PURGE_EVERY || s->newest < LIMIT_CHANGES_LATE) return true;
    s->removals = 0;
    return purge(s, s->newest - LIMIT_CHANGES_LATE);
}

static enum err sqlite_commit(struct store *base, const struct store_change *changes,
                              size_t count) {
    struct sqlite_store *s = own(base);
    if (!s->may_write) return ERR_DENIED;
    if (count == 0) return ERR_OK;
    enum store_durability strongest = STORE_LAZY;
    for (size_t i = 0; i < count; i++)
        if (changes[i].durability > strongest) strongest = changes[i].durability;
    if (!set_synchronous(s, strongest) || !run(s->statements[S_BEGIN])) return failed_commit(s);
    if (write_all(s, changes, count) && run(s->statements[S_COMMIT])) {
        s->trouble[0] = '\0';
        return ERR_OK;
    }
    enum err e = failed_commit(s);
    /* Some failures have rolled back already (disk full); the others are rolled back here. */
    if (!sqlite3_get_autocommit(s->db)) (void)run(s->statements[S_ROLLBACK]);
    return e;
}

/* ---- reading ---- */

static slice text_at(sqlite3_stmt *t, int at) {
    int len = sqlite3_column_bytes(t, at); /* text as it is stored: there is no conversion */
    return len > 0 ? slice_of(sqlite3_column_blob(t, at), (size_t)len) : SLICE_NONE;
}
static uint32_t u32_at(sqlite3_stmt *t, int at) {
    return (uint32_t)sqlite3_column_int64(t, at);
}

static enum err read_account(sqlite3_stmt *t, const struct store_reader *reader) {
    struct account_row r = { .id = u32_at(t, 0),
                             .user = text_at(t, 1),
                             .domain = text_at(t, 2),
                             .aliases = text_at(t, 3),
                             .display = text_at(t, 4),
                             .flags = u32_at(t, 5),
                             .ha1_sha256 = text_at(t, 6),
                             .ha1_sha512_256 = text_at(t, 7),
                             .created = sqlite3_column_int64(t, 8),
                             .changed = sqlite3_column_int64(t, 9),
                             .settings = text_at(t, 10) };
    return reader->on_account(reader->ctx, &r);
}

static enum err read_device(sqlite3_stmt *t, const struct store_reader *reader) {
    struct device_row r = { .id = u32_at(t, 0),
                            .account_id = u32_at(t, 1),
                            .kind = (uint8_t)sqlite3_column_int(t, 2),
                            .revoked = sqlite3_column_int(t, 3) != 0,
                            .name = text_at(t, 4),
                            .why = text_at(t, 5),
                            .ha1_md5 = text_at(t, 7),
                            .created = sqlite3_column_int64(t, 8),
                            .until = sqlite3_column_int64(t, 9) };
    slice key = text_at(t, 6);
    if (key.len == sizeof r.key_hash) memcpy(r.key_hash, key.ptr, key.len);
    return reader->on_device(reader->ctx, &r);
}

static enum err read_binding(sqlite3_stmt *t, const struct store_reader *reader) {
    struct binding_row r = { .account_id = u32_at(t, 0),
                             .bid = u32_at(t, 1),
                             .flow = (uint64_t)sqlite3_column_int64(t, 2),
                             .run = u32_at(t, 3),
                             .device_id = u32_at(t, 4),
                             .reg_id = u32_at(t, 5),
                             .cseq = u32_at(t, 6),
                             .q = (uint16_t)sqlite3_column_int(t, 7),
                             .gruu_epoch = (uint64_t)sqlite3_column_int64(t, 8),
                             .contact = text_at(t, 9),
                             .params = text_at(t, 10),
                             .instance = text_at(t, 11),
                             .call_id = text_at(t, 12),
                             .path = text_at(t, 13),
                             .user_agent = text_at(t, 14),
                             .registered = sqlite3_column_int64(t, 15),
                             .expires = sqlite3_column_int64(t, 16),
                             .change = (uint64_t)sqlite3_column_int64(t, 17) };
    return reader->on_binding(reader->ctx, &r);
}

static enum err read_rows(struct sqlite_store *s, enum statement which,
                          enum err (*read)(sqlite3_stmt *, const struct store_reader *),
                          const struct store_reader *reader) {
    sqlite3_stmt *t = s->statements[which];
    enum err e = ERR_OK;
    int code;
    while (!e && (code = sqlite3_step(t)) == SQLITE_ROW) e = read(t, reader);
    if (!e && code != SQLITE_DONE) e = failed(s);
    (void)sqlite3_reset(t);
    return e;
}

/* ---- reading bindings beside the accounts ---- */

/* Over a connection of its own. There are about as many bindings as accounts, and they take about
 * as long: two threads halve a start. */
struct beside {
    const struct store_reader *reader;
    const char *path;
    enum err err;
    bool is_running;
    pthread_t thread;
    char trouble[TROUBLE_MAX];
};

static enum err beside_read(const struct beside *b, sqlite3 *db) {
    sqlite3_stmt *t = NULL;
    if (sqlite3_prepare_v2(db, statement_texts[S_BINDINGS], -1, &t, NULL) != SQLITE_OK)
        return ERR_STORE;
    enum err e = ERR_OK;
    int code = SQLITE_DONE;
    while (!e && (code = sqlite3_step(t)) == SQLITE_ROW) e = read_binding(t, b->reader);
    if (!e && code != SQLITE_DONE) e = ERR_STORE;
    (void)sqlite3_finalize(t);
    return e;
}

static void *beside_run(void *arg) {
    struct beside *b = arg;
    sqlite3 *db = NULL;
    b->err = ERR_STORE;
    if (sqlite3_open_v2(b->path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) ==
        SQLITE_OK)
        b->err = beside_read(b, db);
    if (b->err == ERR_STORE) {
        struct buf text = buf_over(b->trouble, sizeof b->trouble - 1);
        explain(db, &text);
        b->trouble[text.full ? 0 : text.len] = '\0';
    }
    (void)sqlite3_close(db);
    return NULL;
}

static void beside_start(struct sqlite_store *s, const struct store_reader *reader,
                         struct beside *out) {
    *out = (struct beside){ .reader = reader, .path = sqlite3_db_filename(s->db, "main") };
    out->is_running = pthread_create(&out->thread, NULL, beside_run, out) == 0;
}

static enum err beside_join(struct sqlite_store *s, struct beside *b) {
    (void)pthread_join(b->thread, NULL);
    if (b->err) memcpy(s->trouble, b->trouble, sizeof s->trouble);
    return b->err;
}

/* Counted along the index of names, while the first bindings are read: 90 ms for a million. */
static enum err read_size(sqlite3_stmt *t, const struct store_reader *reader) {
    reader->on_size(reader->ctx, u32_at(t, 0));
    return ERR_OK;
}

static enum err sqlite_load(struct store *base, const struct store_reader *reader) {
    struct sqlite_store *s = own(base);
    /* One transaction: a reader beside the server sees one state of all tables. The server itself
     * is the only writer, and does not write meanwhile: its bindings may be read beside. */
    if (!run(s->statements[S_BEGIN_READ])) return failed(s);
    enum err e = ERR_OK;
    struct beside beside = { .is_running = false };
    if (s->may_write && reader->on_binding && reader->on_account) beside_start(s, reader, &beside);
    if (reader->on_size) e = read_rows(s, S_ACCOUNTS_COUNT, read_size, reader);
    if (!e && reader->on_account) e = read_rows(s, S_ACCOUNTS, read_account, reader);
    if (!e && reader->on_device) e = read_rows(s, S_DEVICES, read_device, reader);
    if (beside.is_running) {
        enum err apart = beside_join(s, &beside);
        if (!e) e = apart;
    } else if (!e && reader->on_binding) {
        e = read_rows(s, S_BINDINGS, read_binding, reader);
    }
    if (!sqlite3_get_autocommit(s->db)) (void)run(s->statements[S_ROLLBACK]);
    return e;
}

static enum err sqlite_value(struct store *base, slice name, void *dst, size_t dst_len,
                             size_t *out_len) {
    struct sqlite_store *s = own(base);
    sqlite3_stmt *t = s->statements[S_VALUE_GET];
    bind_text(t, 1, name);
    enum err e = ERR_OK;
    int code = sqlite3_step(t);
    if (code == SQLITE_ROW) {
        slice value = text_at(t, 0);
        if (value.len > dst_len) e = ERR_LIMIT;
        if (!e && value.len) memcpy(dst, value.ptr, value.len);
        if (!e) *out_len = value.len;
    } else {
        e = code == SQLITE_DONE ? ERR_MISSING : failed(s);
    }
    (void)sqlite3_reset(t);
    (void)sqlite3_clear_bindings(t);
    return e;
}

static const char *sqlite_trouble(struct store *base) {
    return own(base)->trouble;
}

static void sqlite_close(struct store *base) {
    struct sqlite_store *s = own(base);
    for (unsigned i = 0; i < S_COUNT; i++) (void)sqlite3_finalize(s->statements[i]);
    (void)sqlite3_close(s->db);
    mem_free(s);
}

static const struct store_vtable sqlite_vtable = { sqlite_load, sqlite_commit, sqlite_value,
                                                   sqlite_trouble, sqlite_close };

/* ---- opening ---- */

/* The file is made here, so that it never has another mode; SQLite gives the -wal and -shm files
 * the mode of the main one. */
static enum err file_prepare(const char *path, struct buf *why) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        (void)close(fd); /* nobody can hold a lock on it yet, which a close would drop */
        return ERR_OK;
    }
    struct stat st;
    if (errno == EEXIST && stat(path, &st) == 0) {
        if (!S_ISREG(st.st_mode)) {
            buf_fmt(why, "%s is not a file", path);
            return ERR_STORE;
        }
        if ((st.st_mode & 077) == 0 || chmod(path, 0600) == 0) return ERR_OK;
    }
    buf_fmt(why, "cannot make %s (%s): look at the owner and mode of its folder", path,
            strerror(errno));
    return ERR_STORE;
}

/* Before anything is known about the file: nothing here writes to it. */
static bool configure(struct sqlite_store *s) {
    sqlite3 *db = s->db;
    (void)sqlite3_extended_result_codes(db, 1);
    (void)sqlite3_busy_timeout(db, BUSY_WAIT_MS);
    /* A damaged or planted schema must not make SQLite run something for us. */
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
    return sqlite3_exec(db,
                        "PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON;"
                        "PRAGMA cache_size = -65536;",
                        NULL, NULL, NULL) == SQLITE_OK;
}

/* The file is ours. */
static enum err configure_writing(struct sqlite_store *s) {
    s->synchronous = STORE_FULL;
    int code = sqlite3_exec(s->db,
                            "PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON;"
                            "PRAGMA journal_size_limit = 67108864; PRAGMA synchronous = FULL;",
                            NULL, NULL, NULL);
    return code == SQLITE_OK ? ERR_OK : ERR_STORE;
}

static enum err prepare(struct sqlite_store *s) {
    for (unsigned i = 0; i < S_COUNT; i++) {
        if (sqlite3_prepare_v3(s->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &s->statements[i], NULL) != SQLITE_OK)
            return ERR_STORE;
    }
    return ERR_OK;
}

static enum err attach(struct sqlite_store *s, const char *path, struct buf *why) {
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    flags |= s->may_write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    enum err e = ERR_STORE;
    if (sqlite3_open_v2(path, &s->db, flags, NULL) == SQLITE_OK && configure(s)) {
        e = schema_update(s->db, schema_steps, schema_step_count, s->may_write);
        if (!e && s->may_write) e = configure_writing(s);
        if (!e) e = prepare(s);
        /* What a former process removed: none of its changes can come any more. */
        if (!e && s->may_write && !purge(s, INT64_MAX)) e = ERR_STORE;
    }
    if (!e) return ERR_OK;
    buf_fmt(why, "%s: ", path);
    if (e == ERR_UNSUPPORTED) {
        buf_lit(why, "the database was made by a newer version of Kith: run that one");
    } else if (e == ERR_DENIED) {
        buf_lit(why, "the database belongs to another program: name another file");
    } else if (e == ERR_STALE) {
        buf_lit(why, "the database is of an older version: start the server once to update it");
    } else {
        explain(s->db, why);
    }
    return s->db && sqlite3_errcode(s->db) == SQLITE_NOMEM ? ERR_MEMORY : ERR_STORE;
}

enum err store_sqlite_open(const char *path, enum store_sqlite_mode mode, struct store **out,
                           struct buf *why) {
    if (mode == STORE_SQLITE_READ && access(path, F_OK) != 0 && errno == ENOENT) {
        buf_fmt(why, "there is no database %s: start the server once, or name another file", path);
        return ERR_MISSING;
    }
    enum err e = mode == STORE_SQLITE_WRITE ? file_prepare(path, why) : ERR_OK;
    if (e) return e;
    struct sqlite_store *s = mem_zalloc(sizeof(*s));
    if (!s) {
        buf_lit(why, "memory is short");
        return ERR_MEMORY;
    }
    s->base.vt = &sqlite_vtable;
    s->may_write = mode == STORE_SQLITE_WRITE;
    e = attach(s, path, why);
    if (e) {
        sqlite_close(&s->base);
        return e;
    }
    *out = &s->base;
    return ERR_OK;
}

void store_sqlite_test_limits(struct store *base, uint32_t pages, uint32_t wait_ms) {
    struct sqlite_store *s = own(base);
    char sql[64];
    struct buf b = buf_over(sql, sizeof sql);
    buf_fmt(&b, "PRAGMA max_page_count = %u", pages);
    buf_byte(&b, '\0');
    ASSERT(!b.full);
    (void)sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    (void)sqlite3_busy_timeout(s->db, (int)wait_ms);
}
