/* The history's two tables. */
#include "app/history.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

enum { WAIT_MS = 2000 };

void qm_history_path(char *out, size_t size) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool given = cache && cache[0] == '/';
    int n = 0;
    out[0] = 0;
    if (given || (home && *home))
        n = snprintf(out, size, "%s%s/quietmind/history.db", given ? cache : home, given ? "" : "/.cache");
    if (n < 0 || (size_t)n >= size)
        out[0] = 0;
}

/* What SQLite would take for the new file's goes along. */
static int put_aside(sqlite3 *db, const char *path, struct qm_error *err) {
    static const char *const ends[] = {"-journal", "-wal", "-shm", ""};
    char from[4300], to[4300], reason[256];
    int rc = 0;
    snprintf(reason, sizeof reason, "%s", sqlite3_errmsg(db));
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(from, sizeof from, "%s%s", path, ends[i]);
        snprintf(to, sizeof to, "%s.damaged%s", path, ends[i]);
        rc = rename(from, to);
    }
    return qm_fail(err, QM_INPUT,
                   rc ? "the history %s: %s; remove it, and a new one begins"
                      : "the history %s: %s; it is put aside as history.db.damaged, and a new one begins",
                   path, reason);
}

static int fail(sqlite3 *db, const char *path, struct qm_error *err) {
    int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT || code == SQLITE_ERROR)
        return put_aside(db, path, err);
    return qm_fail(err, QM_SYSTEM, "the history %s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
}

/* With both tables. create: where there is no file yet it is made. */
static int open_history(const char *path, bool create, sqlite3 **db, struct qm_error *err) {
    static const char tables[] =
        "CREATE TABLE IF NOT EXISTS measured (at TEXT NOT NULL, machine TEXT NOT NULL, model TEXT NOT NULL, command "
        "TEXT NOT NULL, what TEXT NOT NULL, sequences INTEGER NOT NULL, depth INTEGER NOT NULL, tokens INTEGER NOT "
        "NULL, threads INTEGER NOT NULL, predicted REAL NOT NULL, measured REAL NOT NULL);"
        "CREATE TABLE IF NOT EXISTS compared (number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, machine TEXT "
        "NOT NULL, model TEXT NOT NULL, work TEXT NOT NULL, summary TEXT NOT NULL, report TEXT NOT NULL)";
    int rc = create ? qm_make_directories(path, err) : QM_OK;
    if (rc)
        return rc;
    if (sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0), NULL) != SQLITE_OK)
        rc = fail(*db, path, err);
    if (!rc) {
        sqlite3_busy_timeout(*db, WAIT_MS);
        if (sqlite3_exec(*db, tables, NULL, NULL, NULL) != SQLITE_OK)
            rc = fail(*db, path, err);
    }
    if (rc) {
        sqlite3_close(*db);
        *db = NULL;
    }
    return rc;
}

static void now_text(char out[32]) {
    time_t now = time(NULL);
    struct tm utc;
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
}

int qm_history_add(const char *path, const struct qm_history_row *row, struct qm_error *err) {
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    char when[32];
    int rc = open_history(path, true, &db, err);
    if (rc)
        return rc;
    now_text(when);
    const char *const texts[] = {when, row->machine, row->model, row->command, row->what};
    const sqlite3_int64 numbers[] = {row->sequences, row->depth, row->tokens, row->threads};
    bool good =
        sqlite3_prepare_v2(db, "INSERT INTO measured VALUES (?,?,?,?,?,?,?,?,?,?,?)", -1, &s, NULL) == SQLITE_OK;
    for (int i = 0; i < 5 && good; i++)
        good = sqlite3_bind_text(s, i + 1, texts[i], -1, SQLITE_TRANSIENT) == SQLITE_OK;
    for (int i = 0; i < 4 && good; i++)
        good = sqlite3_bind_int64(s, i + 6, numbers[i]) == SQLITE_OK;
    good = good && sqlite3_bind_double(s, 10, row->predicted) == SQLITE_OK &&
           sqlite3_bind_double(s, 11, row->measured) == SQLITE_OK && sqlite3_step(s) == SQLITE_DONE;
    if (!good)
        rc = fail(db, path, err);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return rc;
}

static void take_text(sqlite3_stmt *s, int column, char *out, size_t size) {
    const unsigned char *text = sqlite3_column_text(s, column);
    snprintf(out, size, "%s", text ? (const char *)text : "");
}

static void take_row(sqlite3_stmt *s, struct qm_history_row *r) {
    take_text(s, 0, r->when, sizeof r->when);
    take_text(s, 1, r->machine, sizeof r->machine);
    take_text(s, 2, r->model, sizeof r->model);
    take_text(s, 3, r->command, sizeof r->command);
    take_text(s, 4, r->what, sizeof r->what);
    r->sequences = sqlite3_column_int64(s, 5);
    r->depth = sqlite3_column_int64(s, 6);
    r->tokens = sqlite3_column_int64(s, 7);
    r->threads = sqlite3_column_int(s, 8);
    r->predicted = sqlite3_column_double(s, 9);
    r->measured = sqlite3_column_double(s, 10);
}

int qm_history_last(const char *path, int n, struct qm_history_row **out, int *found, struct qm_error *err) {
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    *out = NULL;
    *found = 0;
    if (access(path, F_OK) != 0)
        return QM_OK;
    int rc = open_history(path, false, &db, err), step = SQLITE_DONE;
    if (rc)
        return rc;
    *out = calloc((size_t)n + 1, sizeof **out);
    if (!*out)
        rc = qm_fail_memory(err, (uint64_t)n * sizeof **out, "the history");
    if (!rc &&
        (sqlite3_prepare_v2(db,
                            "SELECT * FROM (SELECT at, machine, model, command, what, sequences, depth, tokens, "
                            "threads, predicted, measured, rowid FROM measured WHERE predicted > 0 AND measured > 0 "
                            "ORDER BY rowid DESC LIMIT ?) ORDER BY rowid",
                            -1, &s, NULL) != SQLITE_OK ||
         sqlite3_bind_int(s, 1, n) != SQLITE_OK))
        rc = fail(db, path, err);
    while (!rc && *found < n && (step = sqlite3_step(s)) == SQLITE_ROW)
        take_row(s, &(*out)[(*found)++]);
    if (!rc && step != SQLITE_DONE && step != SQLITE_ROW)
        rc = fail(db, path, err);
    sqlite3_finalize(s);
    sqlite3_close(db);
    if (rc) {
        free(*out);
        *out = NULL;
        *found = 0;
    }
    return rc;
}

/* The newest ones that fit stay. */
static int drop_oldest(sqlite3 *db, const char *path, struct qm_error *err) {
    char sql[400];
    snprintf(
        sql, sizeof sql,
        "DELETE FROM compared WHERE number IN (SELECT number FROM (SELECT number, sum(length(report)) OVER (ORDER BY "
        "number DESC) AS bytes, row_number() OVER (ORDER BY number DESC) AS n FROM compared) WHERE bytes > %d OR "
        "n > %d)",
        QM_HISTORY_BYTES, QM_HISTORY_RESULTS);
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? QM_OK : fail(db, path, err);
}

int qm_history_keep(const char *path, const struct qm_history_result *r, const char *text, struct qm_error *err) {
    const char *const texts[] = {r->when, r->machine, r->model, r->work, r->summary, text};
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    size_t bytes = strlen(text);
    if (bytes > QM_HISTORY_BYTES)
        return qm_fail(err, QM_INPUT, "the history %s: a result of %zu bytes is not kept: the limit is %d", path, bytes,
                       QM_HISTORY_BYTES);
    int rc = open_history(path, true, &db, err);
    if (rc)
        return rc;
    bool good = sqlite3_prepare_v2(db, "INSERT INTO compared VALUES (NULL,?,?,?,?,?,?)", -1, &s, NULL) == SQLITE_OK;
    for (int i = 0; i < 6 && good; i++)
        good = sqlite3_bind_text(s, i + 1, texts[i], -1, SQLITE_TRANSIENT) == SQLITE_OK;
    good = good && sqlite3_step(s) == SQLITE_DONE;
    rc = good ? drop_oldest(db, path, err) : fail(db, path, err);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return rc;
}

int qm_history_results(const char *path, struct qm_history_result **out, int *found, struct qm_error *err) {
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    *out = NULL;
    *found = 0;
    if (access(path, F_OK) != 0)
        return QM_OK;
    int rc = open_history(path, false, &db, err), step = SQLITE_DONE;
    if (rc)
        return rc;
    if (!(*out = calloc(QM_HISTORY_RESULTS, sizeof **out)))
        rc = qm_fail_memory(err, QM_HISTORY_RESULTS * sizeof **out, "the history");
    if (!rc && sqlite3_prepare_v2(db, "SELECT number, at, machine, model, work, summary FROM compared ORDER BY number",
                                  -1, &s, NULL) != SQLITE_OK)
        rc = fail(db, path, err);
    while (!rc && *found < QM_HISTORY_RESULTS && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct qm_history_result *r = &(*out)[(*found)++];
        r->number = sqlite3_column_int64(s, 0);
        take_text(s, 1, r->when, sizeof r->when);
        take_text(s, 2, r->machine, sizeof r->machine);
        take_text(s, 3, r->model, sizeof r->model);
        take_text(s, 4, r->work, sizeof r->work);
        take_text(s, 5, r->summary, sizeof r->summary);
    }
    if (!rc && step != SQLITE_DONE && step != SQLITE_ROW)
        rc = fail(db, path, err);
    sqlite3_finalize(s);
    sqlite3_close(db);
    if (rc) {
        free(*out);
        *out = NULL;
        *found = 0;
    }
    return rc;
}

int qm_history_text(const char *path, int64_t number, struct qm_buf *out, struct qm_error *err) {
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    int rc = access(path, F_OK) ? QM_OK : open_history(path, false, &db, err), step = SQLITE_DONE;
    if (db && (sqlite3_prepare_v2(db, "SELECT report FROM compared WHERE number = ?", -1, &s, NULL) != SQLITE_OK ||
               sqlite3_bind_int64(s, 1, number) != SQLITE_OK))
        rc = fail(db, path, err);
    if (db && !rc && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = qm_buf_add(out, sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0), err);
    else if (!rc && step != SQLITE_DONE)
        rc = fail(db, path, err);
    else if (!rc)
        rc = qm_fail(err, QM_INPUT, "no result %lld is kept: compare --history lists them", (long long)number);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return rc;
}
