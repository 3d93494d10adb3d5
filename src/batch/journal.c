/* The journal's database: opening, transactions, named values, errors. Its rows are in batch/journal_rows.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "batch/journal_private.h"

/* "qmbj"; and the version of the tables below. */
enum { APPLICATION = 0x716D626A, TABLES = 4, BUSY_MS = 10000 };

/* Every record has a seal: the hash of its other columns, compared when it is read and when a job resumes. */
static const char SCHEMA[] =
    "CREATE TABLE value(key TEXT PRIMARY KEY, value TEXT NOT NULL, seal INTEGER NOT NULL) WITHOUT ROWID;"
    /* texts apart: the table of rows stays small and quick to walk; line: the hash of the input's */
    "CREATE TABLE row(number INTEGER PRIMARY KEY, completed INTEGER NOT NULL, custom_id TEXT, reason TEXT,"
    " prompt INTEGER, cached INTEGER, generated INTEGER, started REAL, first REAL, finished REAL,"
    " cut INTEGER NOT NULL, line INTEGER, seal INTEGER NOT NULL);"
    "CREATE INDEX row_name ON row(custom_id);"
    "CREATE UNIQUE INDEX row_completed ON row(completed);"
    /* counting failures by reason walks this one: sorting a million of them would take memory */
    "CREATE INDEX row_reason ON row(reason) WHERE reason IS NOT NULL;"
    "CREATE INDEX row_cut ON row(number) WHERE cut;"
    "CREATE TABLE text(number INTEGER PRIMARY KEY, line TEXT NOT NULL, seal INTEGER NOT NULL);"
    "CREATE TABLE token(number INTEGER, part INTEGER, ids BLOB NOT NULL, seal INTEGER NOT NULL,"
    " PRIMARY KEY(number, part)) WITHOUT ROWID;"
    "CREATE TABLE block(number INTEGER PRIMARY KEY, hash TEXT NOT NULL, seal INTEGER NOT NULL);"
    "CREATE TABLE run(number INTEGER PRIMARY KEY, started REAL, seconds REAL, joules REAL, prefill_seconds REAL,"
    " decode_seconds REAL, prefill_tokens INTEGER, decode_tokens INTEGER, seal INTEGER NOT NULL);"
    "CREATE TABLE pace(number INTEGER PRIMARY KEY, time REAL, worked REAL, prompt INTEGER, generated INTEGER,"
    " run INTEGER, seal INTEGER NOT NULL);";

static const char *const sql[QM_SQL_COUNT] = {
    [QM_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [QM_SQL_COMMIT] = "COMMIT",
    [QM_SQL_SET] = "INSERT INTO value VALUES(?1, ?2, seal(?1, ?2)) ON CONFLICT(key) DO UPDATE SET value = ?2, "
                   "seal = seal(?1, ?2)",
    [QM_SQL_GET] = "SELECT value, seal IS seal(key, value) FROM value WHERE key = ?1",
    [QM_SQL_ADD_ROW] = "INSERT INTO row SELECT ?1, c, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
                       "seal(?1, c, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) "
                       "FROM (SELECT ifnull(max(completed), 0) + 1 AS c FROM row)",
    [QM_SQL_ADD_TEXT] = "INSERT INTO text VALUES(?1, ?2, seal(?1, ?2))",
    [QM_SQL_DROP_TOKENS] = "DELETE FROM token WHERE number = ?1",
    [QM_SQL_DROP_ROW] = "DELETE FROM row WHERE number = ?1",
    [QM_SQL_DROP_TEXT] = "DELETE FROM text WHERE number = ?1",
    [QM_SQL_HAS] = "SELECT line FROM row WHERE number = ?1",
    [QM_SQL_NAMED] = "SELECT 1 FROM row WHERE custom_id = ?1 AND number < ?2 LIMIT 1",
    [QM_SQL_FORGET_TOKENS] = "DELETE FROM token",
    [QM_SQL_SAVE_TOKENS] = "INSERT OR REPLACE INTO token VALUES(?1, ?2, ?3, seal(?1, ?2, ?3, ?4))",
    [QM_SQL_TOKENS] = "SELECT ids FROM token WHERE number = ?1 AND part = ?2 AND seal IS seal(number, part, ids, ?3)",
    [QM_SQL_ADD_BLOCK] = "INSERT OR IGNORE INTO block VALUES(?1, ?2, seal(?1, ?2))",
    [QM_SQL_BLOCK] = "SELECT hash, seal IS seal(number, hash) FROM block WHERE number = ?1",
    [QM_SQL_ADD_RUN] = "INSERT INTO run VALUES(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, seal(?1, ?2, ?3, ?4, ?5, ?6, ?7))",
    [QM_SQL_UPDATE_RUN] = "UPDATE run SET started = ?1, seconds = ?2, joules = ?3, prefill_seconds = ?4, "
                          "decode_seconds = ?5, prefill_tokens = ?6, decode_tokens = ?7, "
                          "seal = seal(?1, ?2, ?3, ?4, ?5, ?6, ?7) WHERE number = ?8",
    [QM_SQL_ADD_PACE] = "INSERT INTO pace VALUES(NULL, ?1, ?2, ?3, ?4, ?5, seal(?1, ?2, ?3, ?4, ?5))",
};

/* How much is free where the journal is, for the message. */
static void free_space(const char *path, char *out, size_t size) {
    char folder[4096];
    struct statvfs vfs;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    else
        strcpy(folder, ".");
    if (statvfs(folder, &vfs) == 0)
        snprintf(out, size, " (%.1f MB are free in %s)", (double)vfs.f_bavail * (double)vfs.f_frsize / 1e6, folder);
    else
        *out = 0;
}

/* Whether a file that can't be opened is a matter of the path, not of the system's state: another day it would be the
 * same. SQLite may have forgotten the reason, so the likeliest one of the others is tried. */
static bool is_path_fault(int code, int system) {
    static const int faults[] = {0, ENOENT, EISDIR, ENOTDIR, EACCES, EPERM, EROFS, ELOOP, ENAMETOOLONG};
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (code != SQLITE_CANTOPEN || fd < 0)
        return false;
    close(fd);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        if (system == faults[i])
            return true;
    return false;
}

int qm_journal_damaged(const struct qm_journal *j, const char *what, struct qm_error *err) {
    return qm_remedy(
        err, QM_REMEDY_START_OVER,
        qm_fail(err, QM_INPUT,
                "%s: damaged (%s); it was left as it is. The rows that were finished are in the .partial file; put "
                "an undamaged copy in its place",
                j->path, what));
}

int qm_journal_fail(struct qm_journal *j, const char *doing, struct qm_error *err) {
    int extended = sqlite3_extended_errcode(j->db), code = extended & 0xFF, system = sqlite3_system_errno(j->db);
    char space[4200];
    j->failed = true;
    /* Closing must not write the log back: that would be the next fsync after one that failed. */
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (code == SQLITE_FULL || system == ENOSPC || system == EDQUOT) {
        free_space(j->path, space, sizeof space);
        return qm_fail(err, QM_SYSTEM,
                       "%s: the disk is full%s; nothing that was finished is lost. Free some space there, then run the "
                       "same command again",
                       j->path, space);
    }
    /* SQLITE_ERROR: a statement of ours that has no meaning there, since the tables are others */
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR)
        return qm_journal_damaged(j, sqlite3_errmsg(j->db), err);
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        return qm_fail(err, QM_SYSTEM, "%s: another process keeps it locked", j->path);
    return qm_fail(
        err, is_path_fault(code, system) ? QM_INPUT : QM_SYSTEM,
        "%s: %s: %s%s%s; what was finished before is safe: once the disk is well, run the same command again", j->path,
        doing, sqlite3_errmsg(j->db), system ? ": " : "", system ? strerror(system) : "");
}

static int execute(struct qm_journal *j, const char *text, const char *doing, struct qm_error *err) {
    return sqlite3_exec(j->db, text, NULL, NULL, NULL) == SQLITE_OK ? QM_OK : qm_journal_fail(j, doing, err);
}

static int pragma_int(struct qm_journal *j, const char *text, int64_t *out, struct qm_error *err) {
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(j->db, text, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW) {
        sqlite3_finalize(s);
        return qm_journal_fail(j, "opening", err);
    }
    *out = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return QM_OK;
}

/* *created: it has no tables yet. */
static int identify(struct qm_journal *j, bool *created, struct qm_error *err) {
    int64_t application, tables, objects;
    int rc = pragma_int(j, "PRAGMA application_id", &application, err);
    if (!rc)
        rc = pragma_int(j, "PRAGMA user_version", &tables, err);
    if (!rc)
        rc = pragma_int(j, "SELECT count(*) FROM sqlite_master", &objects, err);
    if (rc)
        return rc;
    *created = application == 0 && tables == 0 && objects == 0;
    if (!*created && application != APPLICATION)
        return qm_fail(err, QM_INPUT, "%s: a database, but not a journal of quietmind batch; it was left as it is",
                       j->path);
    if (!*created && tables != TABLES)
        return qm_remedy(
            err, QM_REMEDY_START_OVER,
            qm_fail(err, QM_INPUT,
                    "%s: a journal of version %lld, expected %d: finish the job with the version of quietmind that "
                    "began it",
                    j->path, (long long)tables, TABLES));
    return QM_OK;
}

static int create_tables(struct qm_journal *j, struct qm_error *err) {
    char identity[128];
    snprintf(identity, sizeof identity, "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION, TABLES);
    int rc = execute(j, "BEGIN IMMEDIATE", "creating it", err);
    if (!rc)
        rc = execute(j, SCHEMA, "creating it", err);
    if (!rc)
        rc = execute(j, identity, "creating it", err);
    return rc ? rc : execute(j, "COMMIT", "creating it", err);
}

static int prepare(struct qm_journal *j, struct qm_error *err) {
    for (int i = 0; i < QM_SQL_COUNT; i++)
        if (sqlite3_prepare_v3(j->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &j->statement[i], NULL) != SQLITE_OK)
            return qm_journal_fail(j, "opening", err);
    return QM_OK;
}

/* seal(...): a hash of all its arguments and their types. */
static void seal(sqlite3_context *context, int n, sqlite3_value **v) {
    uint64_t hash = (uint64_t)n;
    for (int i = 0; i < n; i++) {
        int type = sqlite3_value_type(v[i]);
        hash = qm_hash64(&type, sizeof type, hash);
        if (type == SQLITE_INTEGER) {
            int64_t number = sqlite3_value_int64(v[i]);
            hash = qm_hash64(&number, sizeof number, hash);
        } else if (type == SQLITE_FLOAT) {
            double number = sqlite3_value_double(v[i]) + 0.0; /* -0 is read back as 0 */
            hash = qm_hash64(&number, sizeof number, hash);
        } else if (type != SQLITE_NULL) {
            const void *bytes = type == SQLITE_TEXT ? sqlite3_value_text(v[i]) : sqlite3_value_blob(v[i]);
            size_t size = (size_t)sqlite3_value_bytes(v[i]);
            hash = qm_hash64(bytes ? bytes : "", bytes ? size : 0, hash);
        }
    }
    sqlite3_result_int64(context, (sqlite3_int64)hash);
}

static int open_database(const char *path, int flags, struct qm_journal **out, struct qm_error *err) {
    struct qm_journal *j = calloc(1, sizeof *j);
    *out = NULL;
    if (!j || !(j->path = strdup(path))) {
        free(j);
        return qm_fail_memory(err, sizeof *j, "the journal");
    }
    if (sqlite3_open_v2(path, &j->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        int rc = j->db ? qm_journal_fail(j, "opening", err) : qm_fail_memory(err, sizeof *j, "the journal");
        qm_journal_close(j);
        return rc;
    }
    sqlite3_busy_timeout(j->db, BUSY_MS);
    sqlite3_create_function_v2(j->db, "seal", -1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, seal, NULL, NULL, NULL);
    /* A hostile database may not run anything. */
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    *out = j;
    return QM_OK;
}

/* Nothing, or a regular file: what is a pipe would be waited for. */
static int check_file(const char *path, struct qm_error *err) {
    struct stat st;
    if (!*path || lstat(path, &st) != 0 || S_ISREG(st.st_mode))
        return QM_OK;
    return qm_fail(err, QM_INPUT, "%s: expected a journal, found %s", path,
                   S_ISLNK(st.st_mode) ? "a symbolic link" : qm_file_kind(st.st_mode));
}

const char *qm_journal_schema(void) {
    return SCHEMA;
}

int qm_journal_open(const char *path, struct qm_journal **out, bool *created, struct qm_error *err) {
    struct qm_journal *j;
    int rc = check_file(path, err);
    if (!rc)
        rc = open_database(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &j, err);
    *out = NULL;
    if (rc)
        return rc;
    /* a journal that is refused keeps its log */
    sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    rc = identify(j, created, err);
    if (!rc)
        rc = execute(j, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY", "opening",
                     err);
    if (!rc && *created)
        rc = create_tables(j, err);
    /* Tables without a value: killed before the job's first commit. */
    int64_t values = 0;
    if (!rc)
        rc = pragma_int(j, "SELECT count(*) FROM value", &values, err);
    *created = values == 0;
    if (!rc)
        rc = prepare(j, err);
    if (!rc && *created)
        rc = qm_journal_take_log(j, err);
    if (rc) {
        j->failed = true;
        qm_journal_close(j);
        return rc;
    }
    *out = j;
    return QM_OK;
}

/* It is written anew: should its fsync have failed, this one counts. */
int qm_journal_take_log(struct qm_journal *j, struct qm_error *err) {
    int rc = execute(j, "PRAGMA wal_checkpoint(TRUNCATE)", "opening", err);
    if (!rc)
        sqlite3_db_config(j->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return rc;
}

int qm_journal_open_reader(const char *path, struct qm_journal **out, struct qm_error *err) {
    struct qm_journal *j;
    bool created;
    *out = NULL;
    if (!qm_file_there(path))
        return errno == ENOENT ? qm_fail(err, QM_INPUT,
                                         "%s is not there: no job writes this output, or its journal was removed", path)
                               : qm_fail_errno(err, "%s", path);
    int rc = check_file(path, err);
    if (!rc)
        rc = open_database(path, SQLITE_OPEN_READONLY, &j, err);
    if (rc)
        return rc;
    rc = identify(j, &created, err);
    if (!rc && created)
        rc = qm_fail(err, QM_INPUT, "%s: no job has begun", path);
    if (!rc)
        rc = prepare(j, err);
    if (rc) {
        qm_journal_close(j);
        return rc;
    }
    *out = j;
    return QM_OK;
}

void qm_journal_close(struct qm_journal *j) {
    if (!j)
        return;
    for (int i = 0; i < QM_SQL_COUNT; i++)
        sqlite3_finalize(j->statement[i]);
    sqlite3_close(j->db); /* an open transaction is rolled back */
    free(j->path);
    free(j);
}

sqlite3_stmt *qm_journal_use(struct qm_journal *j, enum qm_journal_statement which, struct qm_error *err) {
    if (j->failed) {
        qm_fail(err, QM_SYSTEM, "%s: nothing more is written after an error", j->path);
        return NULL;
    }
    sqlite3_stmt *s = j->statement[which];
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return s;
}

sqlite3_stmt *qm_journal_change(struct qm_journal *j, enum qm_journal_statement which, struct qm_error *err) {
    sqlite3_stmt *begin;
    if (!j->pending && !j->failed) {
        begin = qm_journal_use(j, QM_SQL_BEGIN, err);
        if (!begin || qm_journal_run_statement(j, begin, err))
            return NULL;
        j->pending = true;
    }
    return qm_journal_use(j, which, err);
}

int qm_journal_run_statement(struct qm_journal *j, sqlite3_stmt *s, struct qm_error *err) {
    int rc = sqlite3_step(s) == SQLITE_DONE ? QM_OK : qm_journal_fail(j, "writing", err);
    sqlite3_reset(s);
    return rc;
}

bool qm_journal_pending(const struct qm_journal *j) {
    return j->pending;
}

int qm_journal_commit(struct qm_journal *j, struct qm_error *err) {
    if (!j->pending)
        return QM_OK;
    sqlite3_stmt *s = qm_journal_use(j, QM_SQL_COMMIT, err);
    int rc = s ? qm_journal_run_statement(j, s, err) : QM_SYSTEM;
    j->pending = rc != QM_OK;
    return rc;
}

int qm_journal_set(struct qm_journal *j, const char *key, const char *value, struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_change(j, QM_SQL_SET, err);
    if (!s)
        return QM_SYSTEM;
    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(s, 2, value, -1, SQLITE_STATIC);
    return qm_journal_run_statement(j, s, err);
}

int qm_journal_get(struct qm_journal *j, const char *key, struct qm_buf *out, bool *found, struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_use(j, QM_SQL_GET, err);
    if (!s)
        return QM_SYSTEM;
    sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
    int step = sqlite3_step(s), rc = QM_OK;
    *found = step == SQLITE_ROW;
    if (*found && !sqlite3_column_int(s, 1))
        rc = qm_journal_damaged(j, key, err);
    else if (*found)
        rc = qm_buf_add(out, sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0), err);
    else if (step != SQLITE_DONE)
        rc = qm_journal_fail(j, "reading", err);
    sqlite3_reset(s);
    return rc;
}

int qm_journal_set_int(struct qm_journal *j, const char *key, int64_t value, struct qm_error *err) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return qm_journal_set(j, key, text, err);
}

int qm_journal_get_int(struct qm_journal *j, const char *key, int64_t absent, int64_t *out, struct qm_error *err) {
    struct qm_buf text = {0};
    bool found;
    int rc = qm_journal_get(j, key, &text, &found, err);
    *out = absent;
    if (!rc && found) {
        char *end;
        errno = 0;
        *out = strtoll(text.data, &end, 10);
        if (*end || errno || end == text.data)
            rc = qm_fail(err, QM_INPUT, "%s: damaged: its %s is \"%s\", not a number", j->path, key, text.data);
    }
    qm_buf_free(&text);
    return rc;
}
