/* Whether a journal is what was written: its tables ours, its pages whole, every record's seal right, no row missing.
 * Damage that SQLite itself can't see (a bit in a text, a page that is an older copy) is found here. */
#include <stdlib.h>
#include <string.h>

#include "batch/journal_private.h"

static int prepare(struct qm_journal *j, const char *text, sqlite3_stmt **out, struct qm_error *err) {
    return sqlite3_prepare_v2(j->db, text, -1, out, NULL) == SQLITE_OK ? QM_OK : qm_journal_fail(j, "reading", err);
}

/* The first column of a statement's only row. */
static int ask(struct qm_journal *j, const char *text, int64_t *out, struct qm_error *err) {
    sqlite3_stmt *s = NULL;
    int rc = prepare(j, text, &s, err);
    if (!rc && sqlite3_step(s) != SQLITE_ROW)
        rc = qm_journal_fail(j, "reading", err);
    if (!rc)
        *out = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return rc;
}

static bool same_text(sqlite3_stmt *a, sqlite3_stmt *b, int column) {
    const char *x = (const char *)sqlite3_column_text(a, column), *y = (const char *)sqlite3_column_text(b, column);
    return x && y ? !strcmp(x, y) : x == y;
}

/* A schema of other tables, triggers or types would give other answers to the same questions. */
static int check_schema(struct qm_journal *j, struct qm_error *err) {
    static const char question[] = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name";
    sqlite3 *fresh = NULL;
    sqlite3_stmt *ours = NULL, *there = NULL;
    int rc = prepare(j, question, &there, err);
    if (!rc && (sqlite3_open(":memory:", &fresh) != SQLITE_OK ||
                sqlite3_exec(fresh, qm_journal_schema(), NULL, NULL, NULL) != SQLITE_OK ||
                sqlite3_prepare_v2(fresh, question, -1, &ours, NULL) != SQLITE_OK))
        rc = qm_fail_memory(err, 1 << 16, "the journal's tables");
    while (!rc) {
        int a = sqlite3_step(ours), b = sqlite3_step(there);
        if (b != SQLITE_ROW && b != SQLITE_DONE)
            rc = qm_journal_fail(j, "reading", err);
        else if (a != b)
            rc = qm_journal_damaged(j, "its tables are not as they were made", err);
        else if (a != SQLITE_ROW)
            break;
        for (int i = 0; i < 4 && !rc; i++)
            if (!same_text(ours, there, i))
                rc = qm_journal_damaged(j, "its tables are not as they were made", err);
    }
    sqlite3_finalize(ours);
    sqlite3_finalize(there);
    sqlite3_close(fresh);
    return rc;
}

/* "unable to get the page. error code=266": it was not read at all, which a disk that fails for a while does too. */
static bool is_unread(const char *says) {
    static const char mark[] = "error code=";
    const char *code = says ? strstr(says, mark) : NULL;
    int primary = code ? atoi(code + sizeof mark - 1) & 0xFF : SQLITE_OK;
    return primary == SQLITE_IOERR || primary == SQLITE_NOMEM || primary == SQLITE_CANTOPEN;
}

/* Pages and indices. */
static int check_pages(struct qm_journal *j, struct qm_error *err) {
    sqlite3_stmt *s = NULL;
    int rc = prepare(j, "PRAGMA integrity_check(1)", &s, err);
    if (!rc && sqlite3_step(s) != SQLITE_ROW)
        rc = qm_journal_fail(j, "reading", err);
    const char *says = rc ? NULL : (const char *)sqlite3_column_text(s, 0);
    if (!rc && is_unread(says))
        rc = qm_fail(err, QM_SYSTEM, "%s: cannot be read: %s; once the disk is well, run the same command again",
                     j->path, says);
    else if (!rc && (!says || strcmp(says, "ok") != 0))
        rc = qm_journal_damaged(j, says ? says : "its pages", err);
    sqlite3_finalize(s);
    return rc;
}

/* What can't be computed again. */
static int check_seals(struct qm_journal *j, struct qm_error *err) {
    static const char *const questions[][2] = {
        {"SELECT count(*) FROM value WHERE seal IS NOT seal(key, value)", "what the job is"},
        {"SELECT count(*) FROM block WHERE seal IS NOT seal(number, hash)", "fingerprints of the input"},
        {"SELECT count(*) FROM run WHERE seal IS NOT seal(started, seconds, joules, prefill_seconds, decode_seconds, "
         "prefill_tokens, decode_tokens)",
         "times of its runs"},
        {"SELECT count(*) FROM pace WHERE seal IS NOT seal(time, worked, prompt, generated, run)",
         "times of its work"}};
    int rc = QM_OK;
    for (size_t i = 0; i < sizeof questions / sizeof *questions && !rc; i++) {
        int64_t n;
        rc = ask(j, questions[i][0], &n, err);
        if (!rc && n)
            rc = qm_journal_damaged(j, questions[i][1], err);
    }
    return rc;
}

struct numbers {
    int64_t *data;
    size_t n, cap;
};

static int note(struct numbers *list, int64_t number, struct qm_error *err) {
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 64;
        int64_t *more = realloc(list->data, cap * sizeof *more);
        if (!more)
            return qm_fail_memory(err, cap * sizeof *more, "damaged rows");
        list->data = more;
        list->cap = cap;
    }
    list->data[list->n++] = number;
    return QM_OK;
}

/* Rows without their text, or not as they were sealed (*rows of them); then texts without their row. */
static int find_damaged(struct qm_journal *j, struct numbers *list, int64_t *rows, int64_t *bytes,
                        struct qm_error *err) {
    sqlite3_stmt *s = NULL;
    int step = SQLITE_DONE;
    int rc =
        prepare(j,
                "SELECT row.number, row.seal IS seal(row.number, completed, custom_id, reason, prompt, cached, "
                "generated, started, first, finished, cut, row.line) AND text.seal IS seal(text.number, text.line), "
                "text.line FROM row LEFT JOIN text ON text.number = row.number",
                &s, err);
    *bytes = 0;
    while (!rc && (step = sqlite3_step(s)) == SQLITE_ROW) {
        if (!sqlite3_column_int(s, 1))
            rc = note(list, sqlite3_column_int64(s, 0), err);
        else
            *bytes += sqlite3_column_bytes(s, 2) + 1;
    }
    if (!rc && step != SQLITE_DONE)
        rc = qm_journal_fail(j, "reading", err);
    sqlite3_finalize(s);
    s = NULL;
    *rows = (int64_t)list->n;
    if (!rc)
        rc = prepare(j, "SELECT number FROM text WHERE number NOT IN (SELECT number FROM row)", &s, err);
    while (!rc && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = note(list, sqlite3_column_int64(s, 0), err);
    if (!rc && step != SQLITE_DONE)
        rc = qm_journal_fail(j, "reading", err);
    sqlite3_finalize(s);
    return rc;
}

static int drop(struct qm_journal *j, int64_t number, struct qm_error *err) {
    static const enum qm_journal_statement from[] = {QM_SQL_DROP_ROW, QM_SQL_DROP_TEXT, QM_SQL_DROP_TOKENS};
    int rc = QM_OK;
    for (size_t i = 0; i < sizeof from / sizeof *from && !rc; i++) {
        sqlite3_stmt *s = qm_journal_change(j, from[i], err);
        if (!s)
            return QM_SYSTEM;
        sqlite3_bind_int64(s, 1, number);
        rc = qm_journal_run_statement(j, s, err);
    }
    return rc;
}

int qm_journal_verify(struct qm_journal *j, struct qm_journal_found *out, struct qm_error *err) {
    struct numbers list = {0};
    int64_t position, before;
    *out = (struct qm_journal_found){0};
    int rc = check_schema(j, err);
    if (!rc)
        rc = check_pages(j, err);
    if (!rc)
        rc = check_seals(j, err);
    if (!rc)
        rc = find_damaged(j, &list, &out->dropped, &out->bytes, err);
    /* all that is before the position was finished */
    if (!rc)
        rc = qm_journal_get_int(j, "position_row", 1, &position, err);
    if (!rc)
        rc = ask(j,
                 "SELECT count(*) FROM row WHERE number > 0 AND number < (SELECT CAST(value AS INTEGER) FROM value "
                 "WHERE key = 'position_row')",
                 &before, err);
    if (!rc)
        rc = qm_journal_take_log(j, err);
    for (size_t i = 0; i < list.n && !rc; i++)
        rc = drop(j, list.data[i], err);
    if (!rc && before < position - 1)
        out->dropped += position - 1 - before;
    free(list.data);
    return rc;
}

int qm_journal_whole(struct qm_journal *j, int64_t rows, struct qm_error *err) {
    int64_t there;
    int rc = ask(j,
                 "SELECT CASE WHEN count(*) = 0 THEN 0 WHEN min(row.number) = 1 AND max(row.number) = count(*) THEN "
                 "count(*) ELSE -1 END FROM row JOIN text USING(number)",
                 &there, err);
    if (!rc && there != rows)
        rc = qm_fail(err, QM_INPUT,
                     "%s: damaged: it does not hold each of the %lld rows; run the same command again: what is missing "
                     "is computed again",
                     j->path, (long long)rows);
    return rc;
}
