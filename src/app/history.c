/* The history's table. A file that is no database, or of another form, is refused and never changed. */
#include "app/history.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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

static int fail(sqlite3 *db, const char *path, struct qm_error *err) {
    return qm_fail(err, QM_INPUT, "the history %s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
}

/* The directory is one level below the cache's, which is there or can't be written anyway. */
static void make_directory(const char *path) {
    char directory[4200];
    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash) {
        *slash = 0;
        mkdir(directory, 0755);
    }
}

static int open_history(const char *path, int flags, sqlite3 **db, struct qm_error *err) {
    static const char table[] =
        "CREATE TABLE IF NOT EXISTS measured (at TEXT NOT NULL, machine TEXT NOT NULL, model TEXT NOT NULL, command "
        "TEXT "
        "NOT NULL, what TEXT NOT NULL, sequences INTEGER NOT NULL, depth INTEGER NOT NULL, tokens INTEGER NOT NULL, "
        "threads INTEGER NOT NULL, predicted REAL NOT NULL, measured REAL NOT NULL)";
    if (flags & SQLITE_OPEN_CREATE)
        make_directory(path);
    if (sqlite3_open_v2(path, db, flags, NULL) != SQLITE_OK) {
        int rc = fail(*db, path, err);
        sqlite3_close(*db);
        *db = NULL;
        return rc;
    }
    sqlite3_busy_timeout(*db, WAIT_MS);
    if (!(flags & SQLITE_OPEN_CREATE) || sqlite3_exec(*db, table, NULL, NULL, NULL) == SQLITE_OK)
        return QM_OK;
    int rc = fail(*db, path, err);
    sqlite3_close(*db);
    *db = NULL;
    return rc;
}

int qm_history_add(const char *path, const struct qm_history_row *row, struct qm_error *err) {
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    char when[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    int rc = open_history(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, err);
    if (rc)
        return rc;
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
    int rc = open_history(path, SQLITE_OPEN_READONLY, &db, err), step = SQLITE_DONE;
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
