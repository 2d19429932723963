#include "store_sqlite/schema.h"
#include "base/buf.h"

const char *const schema_steps[] = {
    /* 0 -> 1 */
    "CREATE TABLE account ("
    " id INTEGER PRIMARY KEY,"
    " user TEXT NOT NULL,"
    " domain TEXT NOT NULL,"
    " aliases TEXT NOT NULL,"
    " display TEXT NOT NULL,"
    " flags INTEGER NOT NULL,"
    " ha1_sha256 BLOB NOT NULL," /* sealed; empty: none */
    " ha1_sha512_256 BLOB NOT NULL,"
    " created INTEGER NOT NULL," /* ms since 1970 */
    " changed INTEGER NOT NULL,"
    " UNIQUE (user, domain)"
    ") STRICT;"
    "CREATE TABLE device ("
    " id INTEGER PRIMARY KEY,"
    " account_id INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,"
    " kind INTEGER NOT NULL,"
    " revoked INTEGER NOT NULL,"
    " name TEXT NOT NULL,"
    " why TEXT NOT NULL,"
    " key_hash BLOB NOT NULL,"
    " ha1_md5 BLOB NOT NULL,"
    " created INTEGER NOT NULL,"
    " until INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX device_by_account ON device(account_id);"
    "CREATE TABLE binding ("
    " account_id INTEGER NOT NULL REFERENCES account(id) ON DELETE CASCADE,"
    " bid INTEGER NOT NULL,"
    " flow INTEGER NOT NULL," /* 64 bits, as a signed number */
    " run INTEGER NOT NULL,"
    " device_id INTEGER NOT NULL,"
    " reg_id INTEGER NOT NULL,"
    " cseq INTEGER NOT NULL,"
    " q INTEGER NOT NULL,"
    " gruu_epoch INTEGER NOT NULL,"
    " contact TEXT NOT NULL,"
    " params TEXT NOT NULL,"
    " instance TEXT NOT NULL,"
    " call_id TEXT NOT NULL,"
    " path TEXT NOT NULL,"
    " user_agent TEXT NOT NULL,"
    " registered INTEGER NOT NULL,"
    " expires INTEGER NOT NULL,"
    " PRIMARY KEY (account_id, bid)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE named ("
    " name TEXT PRIMARY KEY,"
    " value BLOB NOT NULL"
    ") STRICT, WITHOUT ROWID;",
    /* 1 -> 2: store.h, Order */
    "ALTER TABLE binding ADD COLUMN change INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE binding ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX binding_gone ON binding(change) WHERE gone = 1;",
    /* 2 -> 3: auth/user_settings.h */
    "ALTER TABLE account ADD COLUMN settings TEXT NOT NULL DEFAULT '';",
};
const unsigned schema_step_count = ARRAY_LEN(schema_steps);

static enum err run(sqlite3 *db, const char *sql) {
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? ERR_OK : ERR_STORE;
}

static enum err number(sqlite3 *db, const char *sql, int64_t *out) {
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK) return ERR_STORE;
    bool row = sqlite3_step(s) == SQLITE_ROW;
    if (row) *out = sqlite3_column_int64(s, 0);
    return sqlite3_finalize(s) == SQLITE_OK && row ? ERR_OK : ERR_STORE;
}

/* user_version belongs to the transaction, so a step and its number are one. */
static enum err step(sqlite3 *db, const char *sql, unsigned version) {
    char text[128];
    struct buf b = buf_over(text, sizeof text);
    buf_fmt(&b, "PRAGMA user_version = %u; PRAGMA application_id = %d; COMMIT", version,
            SCHEMA_APPLICATION);
    buf_byte(&b, '\0');
    ASSERT(!b.full);
    if (run(db, "BEGIN IMMEDIATE") == ERR_OK && run(db, sql) == ERR_OK && run(db, text) == ERR_OK)
        return ERR_OK;
    return ERR_STORE; /* closing the file rolls back; the message of the failure is kept */
}

enum err schema_update(sqlite3 *db, const char *const *steps, unsigned count, bool may_write) {
    int64_t version = 0, application = 0, objects = 0;
    enum err e = number(db, "PRAGMA user_version", &version);
    if (!e) e = number(db, "PRAGMA application_id", &application);
    if (!e) e = number(db, "SELECT count(*) FROM sqlite_schema", &objects);
    if (e) return e;
    if (objects > 0 && application != SCHEMA_APPLICATION) return ERR_DENIED;
    if (version < 0 || version > count) return ERR_UNSUPPORTED;
    if (version < count && !may_write) return ERR_STALE;
    for (unsigned at = (unsigned)version; at < count && !e; at++) e = step(db, steps[at], at + 1);
    return e;
}
