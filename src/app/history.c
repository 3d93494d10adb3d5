/* The history's two tables. */
#include "app/history.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "app/cache.h"
#include "base/file.h"

enum { WAIT_MS = 5000 };

void qm_history_path(char *out, size_t size) {
    char folder[4096];
    int n = qm_app_cache_directory(folder, sizeof folder, NULL) ? -1 : snprintf(out, size, "%s/history.db", folder);
    if (n < 0 || (size_t)n >= size)
        out[0] = 0;
}

/* The file while it is open. */
struct history {
    const char *path;
    sqlite3 *db;
    struct stat file; /* as it was before opening */
    bool damaged;
};

static int fail(struct history *h, struct qm_error *err) {
    int code = h->db ? sqlite3_errcode(h->db) : SQLITE_NOMEM;
    h->damaged = code == SQLITE_NOTADB || code == SQLITE_CORRUPT || code == SQLITE_ERROR;
    return qm_fail(err, h->damaged ? QM_INPUT : QM_SYSTEM, "the history %s: %s", h->path,
                   h->db ? sqlite3_errmsg(h->db) : "out of memory");
}

static bool same_file(const struct history *h) {
    struct stat now;
    return stat(h->path, &now) == 0 && now.st_dev == h->file.st_dev && now.st_ino == h->file.st_ino;
}

/* What SQLite would take for the new file's goes along. Under a lock of the directory, so that of several programs that
 * find the damage none moves another's new file away. */
static int rename_all(const struct history *h) {
    static const char *const ends[] = {"-journal", "-wal", "-shm", ""};
    char from[4300], to[4300];
    int rc = 0;
    snprintf(from, sizeof from, "%s", h->path);
    *strrchr(from, '/') = 0;
    int directory = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return -1;
    if (flock(directory, LOCK_EX) == 0 && same_file(h))
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            snprintf(from, sizeof from, "%s%s", h->path, ends[i]);
            snprintf(to, sizeof to, "%s.damaged%s", h->path, ends[i]);
            rc = rename(from, to);
        }
    close(directory);
    return rc;
}

/* Puts a damaged file aside; h->damaged stays where that is not possible. */
static int close_history(struct history *h, int rc, struct qm_error *err) {
    sqlite3_close(h->db);
    if (!rc || !h->damaged)
        return rc;
    char reason[sizeof err->message];
    snprintf(reason, sizeof reason, "%s", err ? err->message : "");
    h->damaged = rename_all(h) != 0;
    return qm_fail(err, QM_INPUT,
                   h->damaged ? "%s; remove it, and a new one begins"
                              : "%s; it is put aside as history.db.damaged, and a new one begins",
                   reason);
}

/* With both tables. create: where there is no file yet it is made. To be closed by close_history, whatever is
 * returned. */
static int open_history(struct history *h, const char *path, bool create, struct qm_error *err) {
    static const char tables[] =
        "CREATE TABLE IF NOT EXISTS measured (at TEXT NOT NULL, machine TEXT NOT NULL, model TEXT NOT NULL, command "
        "TEXT NOT NULL, what TEXT NOT NULL, sequences INTEGER NOT NULL, depth INTEGER NOT NULL, tokens INTEGER NOT "
        "NULL, threads INTEGER NOT NULL, predicted REAL NOT NULL, measured REAL NOT NULL);"
        "CREATE TABLE IF NOT EXISTS compared (number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, machine TEXT "
        "NOT NULL, model TEXT NOT NULL, work TEXT NOT NULL, summary TEXT NOT NULL, report TEXT NOT NULL)";
    *h = (struct history){.path = path};
    int rc = create ? qm_make_directories(path, err) : QM_OK;
    if (rc)
        return rc;
    if (stat(path, &h->file)) {
        if (qm_file_there(path))
            return qm_fail_errno(err, "the history %s", path);
        h->file = (struct stat){0};
    } else if (!S_ISREG(h->file.st_mode)) {
        return qm_fail(err, QM_INPUT, "the history %s: expected a regular file, found %s", path,
                       qm_file_kind(h->file.st_mode));
    }
    if (sqlite3_open_v2(path, &h->db, SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0), NULL) != SQLITE_OK)
        return fail(h, err);
    sqlite3_busy_timeout(h->db, WAIT_MS);
    return sqlite3_exec(h->db, tables, NULL, NULL, NULL) == SQLITE_OK ? QM_OK : fail(h, err);
}

typedef int write_fn(struct history *h, const void *what, struct qm_error *err);

/* Once more where what was there is put aside. */
static int write_history(const char *path, write_fn *write, const void *what, struct qm_error *aside,
                         struct qm_error *err) {
    struct history h;
    *aside = (struct qm_error){0};
    int rc = open_history(&h, path, true, err);
    if (!rc)
        rc = write(&h, what, err);
    bool damaged = rc && h.damaged;
    rc = close_history(&h, rc, err);
    if (!damaged || h.damaged)
        return rc;
    *aside = *err;
    rc = open_history(&h, path, true, err);
    if (!rc)
        rc = write(&h, what, err);
    return close_history(&h, rc, err);
}

static void now_text(char out[32]) {
    time_t now = time(NULL);
    struct tm utc;
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
}

static int add(struct history *h, const void *what, struct qm_error *err) {
    const struct qm_history_row *row = what;
    sqlite3 *db = h->db;
    sqlite3_stmt *s = NULL;
    char when[32];
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
    int rc = good ? QM_OK : fail(h, err);
    sqlite3_finalize(s);
    return rc;
}

int qm_history_add(const char *path, const struct qm_history_row *row, struct qm_error *aside, struct qm_error *err) {
    return write_history(path, add, row, aside, err);
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
    struct history h;
    sqlite3_stmt *s = NULL;
    *out = NULL;
    *found = 0;
    if (!qm_file_there(path))
        return QM_OK;
    int rc = open_history(&h, path, false, err), step = SQLITE_DONE;
    if (!rc && !(*out = calloc((size_t)n + 1, sizeof **out)))
        rc = qm_fail_memory(err, (uint64_t)n * sizeof **out, "the history");
    if (!rc &&
        (sqlite3_prepare_v2(h.db,
                            "SELECT * FROM (SELECT at, machine, model, command, what, sequences, depth, tokens, "
                            "threads, predicted, measured, rowid FROM measured WHERE predicted > 0 AND measured > 0 "
                            "ORDER BY rowid DESC LIMIT ?) ORDER BY rowid",
                            -1, &s, NULL) != SQLITE_OK ||
         sqlite3_bind_int(s, 1, n) != SQLITE_OK))
        rc = fail(&h, err);
    while (!rc && *found < n && (step = sqlite3_step(s)) == SQLITE_ROW)
        take_row(s, &(*out)[(*found)++]);
    if (!rc && step != SQLITE_DONE && step != SQLITE_ROW)
        rc = fail(&h, err);
    sqlite3_finalize(s);
    rc = close_history(&h, rc, err);
    if (rc) {
        free(*out);
        *out = NULL;
        *found = 0;
    }
    return rc;
}

/* The newest ones that fit stay. */
static int drop_oldest(struct history *h, struct qm_error *err) {
    char sql[400];
    snprintf(
        sql, sizeof sql,
        "DELETE FROM compared WHERE number IN (SELECT number FROM (SELECT number, sum(length(report)) OVER (ORDER BY "
        "number DESC) AS bytes, row_number() OVER (ORDER BY number DESC) AS n FROM compared) WHERE bytes > %d OR "
        "n > %d)",
        QM_HISTORY_BYTES, QM_HISTORY_RESULTS);
    return sqlite3_exec(h->db, sql, NULL, NULL, NULL) == SQLITE_OK ? QM_OK : fail(h, err);
}

struct kept {
    const struct qm_history_result *result;
    const char *text;
};

static int keep(struct history *h, const void *what, struct qm_error *err) {
    const struct kept *k = what;
    const struct qm_history_result *r = k->result;
    const char *const texts[] = {r->when, r->machine, r->model, r->work, r->summary, k->text};
    sqlite3_stmt *s = NULL;
    bool good = sqlite3_prepare_v2(h->db, "INSERT INTO compared VALUES (NULL,?,?,?,?,?,?)", -1, &s, NULL) == SQLITE_OK;
    for (int i = 0; i < 6 && good; i++)
        good = sqlite3_bind_text(s, i + 1, texts[i], -1, SQLITE_TRANSIENT) == SQLITE_OK;
    good = good && sqlite3_step(s) == SQLITE_DONE;
    int rc = good ? drop_oldest(h, err) : fail(h, err);
    sqlite3_finalize(s);
    return rc;
}

int qm_history_keep(const char *path, const struct qm_history_result *result, const char *text, struct qm_error *aside,
                    struct qm_error *err) {
    const struct kept k = {result, text};
    size_t bytes = strlen(text);
    *aside = (struct qm_error){0};
    if (bytes > QM_HISTORY_BYTES)
        return qm_fail(err, QM_INPUT, "the history %s: a result of %zu bytes is not kept: the limit is %d", path, bytes,
                       QM_HISTORY_BYTES);
    return write_history(path, keep, &k, aside, err);
}

int qm_history_results(const char *path, struct qm_history_result **out, int *found, struct qm_error *err) {
    struct history h;
    sqlite3_stmt *s = NULL;
    *out = NULL;
    *found = 0;
    if (!qm_file_there(path))
        return QM_OK;
    int rc = open_history(&h, path, false, err), step = SQLITE_DONE;
    if (!rc && !(*out = calloc(QM_HISTORY_RESULTS, sizeof **out)))
        rc = qm_fail_memory(err, QM_HISTORY_RESULTS * sizeof **out, "the history");
    if (!rc &&
        sqlite3_prepare_v2(h.db, "SELECT number, at, machine, model, work, summary FROM compared ORDER BY number", -1,
                           &s, NULL) != SQLITE_OK)
        rc = fail(&h, err);
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
        rc = fail(&h, err);
    sqlite3_finalize(s);
    rc = close_history(&h, rc, err);
    if (rc) {
        free(*out);
        *out = NULL;
        *found = 0;
    }
    return rc;
}

int qm_history_text(const char *path, int64_t number, struct qm_buf *out, struct qm_error *err) {
    struct history h = {.path = path};
    sqlite3_stmt *s = NULL;
    bool there = qm_file_there(path);
    int rc = there ? open_history(&h, path, false, err) : QM_OK, step = SQLITE_DONE;
    if (there && !rc &&
        (sqlite3_prepare_v2(h.db, "SELECT report FROM compared WHERE number = ?", -1, &s, NULL) != SQLITE_OK ||
         sqlite3_bind_int64(s, 1, number) != SQLITE_OK))
        rc = fail(&h, err);
    if (there && !rc && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = qm_buf_add(out, sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0), err);
    else if (!rc && step != SQLITE_DONE)
        rc = fail(&h, err);
    else if (!rc)
        rc = qm_fail(err, QM_INPUT, "no result %lld is kept: compare --history lists them", (long long)number);
    sqlite3_finalize(s);
    return close_history(&h, rc, err);
}
