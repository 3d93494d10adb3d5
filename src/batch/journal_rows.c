/* The journal's tables of rows, tokens, blocks and runs. */
#include <string.h>

#include "base/hash.h"
#include "batch/journal_private.h"

static void bind_text(sqlite3_stmt *s, int i, const char *text) {
    if (text)
        sqlite3_bind_text(s, i, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(s, i);
}

int qm_journal_add(struct qm_journal *j, const struct qm_journal_row *row, struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_change(j, QM_SQL_ADD_ROW, err);
    if (!s)
        return QM_SYSTEM;
    sqlite3_bind_int64(s, 1, row->number);
    bind_text(s, 2, row->custom_id);
    bind_text(s, 3, row->reason);
    sqlite3_bind_int64(s, 4, row->prompt);
    sqlite3_bind_int64(s, 5, row->cached);
    sqlite3_bind_int64(s, 6, row->generated);
    sqlite3_bind_double(s, 7, row->started);
    sqlite3_bind_double(s, 8, row->first);
    sqlite3_bind_double(s, 9, row->finished);
    sqlite3_bind_int(s, 10, row->cut);
    sqlite3_bind_int64(s, 11, (int64_t)row->line);
    int rc = qm_journal_run_statement(j, s, err);
    if (rc || !(s = qm_journal_change(j, QM_SQL_ADD_TEXT, err)))
        return rc ? rc : QM_SYSTEM;
    sqlite3_bind_int64(s, 1, row->number);
    sqlite3_bind_text64(s, 2, row->text, row->len, SQLITE_STATIC, SQLITE_UTF8);
    rc = qm_journal_run_statement(j, s, err);
    if (rc || !(s = qm_journal_change(j, QM_SQL_DROP_TOKENS, err)))
        return rc ? rc : QM_SYSTEM;
    sqlite3_bind_int64(s, 1, row->number);
    return qm_journal_run_statement(j, s, err);
}

int qm_journal_has(struct qm_journal *j, int64_t number, bool *out, uint64_t *line, struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_use(j, QM_SQL_HAS, err);
    if (!s)
        return QM_SYSTEM;
    sqlite3_bind_int64(s, 1, number);
    int step = sqlite3_step(s);
    *out = step == SQLITE_ROW;
    *line = *out ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
    int rc = step == SQLITE_ROW || step == SQLITE_DONE ? QM_OK : qm_journal_fail(j, "reading", err);
    sqlite3_reset(s);
    return rc;
}

int qm_journal_named_before(struct qm_journal *j, const char *custom_id, int64_t number, bool *out,
                            struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_use(j, QM_SQL_NAMED, err);
    if (!s)
        return QM_SYSTEM;
    sqlite3_bind_text(s, 1, custom_id, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, number);
    int step = sqlite3_step(s);
    *out = step == SQLITE_ROW;
    int rc = step == SQLITE_ROW || step == SQLITE_DONE ? QM_OK : qm_journal_fail(j, "reading", err);
    sqlite3_reset(s);
    return rc;
}

/* Statements that are walked, made for the occasion so that others can run meanwhile. */
static int walk(struct qm_journal *j, const char *text, sqlite3_stmt **out, struct qm_error *err) {
    return sqlite3_prepare_v2(j->db, text, -1, out, NULL) == SQLITE_OK ? QM_OK : qm_journal_fail(j, "reading", err);
}

#define COLUMNS "row.number, custom_id, reason, prompt, cached, generated, started, first, finished, cut, row.line"
#define SEALED                                                                                                         \
    "row.seal IS seal(row.number, completed, custom_id, reason, prompt, cached, generated, started, first, finished, " \
    "cut, row.line)"
/* A row whose text is missing is damaged, not left out. */
#define WITH_TEXT                                                                                                      \
    "SELECT " COLUMNS ", " SEALED " AND text.seal IS seal(text.number, text.line), text.line FROM row LEFT JOIN text " \
    "ON text.number = row.number "
#define WITHOUT_TEXT "SELECT " COLUMNS ", " SEALED " FROM row "

int qm_journal_each(struct qm_journal *j, enum qm_journal_order order, bool texts, qm_journal_row_fn *each, void *arg,
                    struct qm_error *err) {
#define QUESTION(rest)                                                                                                 \
    { WITHOUT_TEXT rest, WITH_TEXT rest }
    static const char *const questions[QM_JOURNAL_ORDERS][2] = {
        [QM_JOURNAL_BY_INPUT] = QUESTION("ORDER BY row.number"),
        [QM_JOURNAL_BY_COMPLETION] = QUESTION("ORDER BY completed"),
        [QM_JOURNAL_FAILED] = QUESTION("WHERE reason IS NOT NULL ORDER BY row.number"),
        [QM_JOURNAL_CUT] = QUESTION("WHERE cut ORDER BY row.number"),
    };
#undef QUESTION
    sqlite3_stmt *s = NULL;
    int rc = walk(j, questions[order][texts], &s, err), step = SQLITE_DONE;
    while (!rc && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct qm_journal_row row = {
            .number = sqlite3_column_int64(s, 0),
            .custom_id = (const char *)sqlite3_column_text(s, 1),
            .reason = (const char *)sqlite3_column_text(s, 2),
            .prompt = sqlite3_column_int64(s, 3),
            .cached = sqlite3_column_int64(s, 4),
            .generated = sqlite3_column_int64(s, 5),
            .started = sqlite3_column_double(s, 6),
            .first = sqlite3_column_double(s, 7),
            .finished = sqlite3_column_double(s, 8),
            .cut = sqlite3_column_int(s, 9) != 0,
            .line = (uint64_t)sqlite3_column_int64(s, 10),
            .text = texts ? (const char *)sqlite3_column_text(s, 12) : NULL,
            .len = texts ? (size_t)sqlite3_column_bytes(s, 12) : 0,
        };
        if (!sqlite3_column_int(s, 11) || (texts && !row.text))
            rc = qm_fail(err, QM_INPUT, "%s: damaged: row %lld is not what was written; it was left as it is", j->path,
                         (long long)row.number);
        else
            rc = each(arg, &row, err);
    }
    if (!rc && step != SQLITE_DONE)
        rc = qm_journal_fail(j, "reading", err);
    sqlite3_finalize(s);
    return rc;
}

int qm_journal_totals(struct qm_journal *j, struct qm_journal_totals *out, struct qm_error *err) {
    sqlite3_stmt *s = NULL;
    int rc =
        walk(j,
             "SELECT count(*), count(reason), ifnull(sum(cut), 0), ifnull(sum(prompt), 0), ifnull(sum(cached), 0), "
             "ifnull(sum(generated), 0) FROM row",
             &s, err);
    if (!rc && sqlite3_step(s) != SQLITE_ROW)
        rc = qm_journal_fail(j, "reading", err);
    if (!rc)
        *out = (struct qm_journal_totals){sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1),
                                          sqlite3_column_int64(s, 2), sqlite3_column_int64(s, 3),
                                          sqlite3_column_int64(s, 4), sqlite3_column_int64(s, 5)};
    sqlite3_finalize(s);
    return rc;
}

int qm_journal_reasons(struct qm_journal *j, qm_journal_reason_fn *each, void *arg, struct qm_error *err) {
    sqlite3_stmt *s = NULL;
    int rc = walk(j,
                  "SELECT reason, count(*) FROM row WHERE reason IS NOT NULL GROUP BY reason "
                  "ORDER BY count(*) DESC, reason LIMIT 100",
                  &s, err),
        step = SQLITE_DONE;
    while (!rc && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = each(arg, (const char *)sqlite3_column_text(s, 0), sqlite3_column_int64(s, 1), err);
    if (!rc && step != SQLITE_DONE)
        rc = qm_journal_fail(j, "reading", err);
    sqlite3_finalize(s);
    return rc;
}

int qm_journal_save_tokens(struct qm_journal *j, int64_t number, uint64_t line, int part, const int32_t *ids, int64_t n,
                           struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_change(j, QM_SQL_SAVE_TOKENS, err);
    if (!s)
        return QM_SYSTEM;
    sqlite3_bind_int64(s, 1, number);
    sqlite3_bind_int(s, 2, part);
    sqlite3_bind_blob64(s, 3, ids, (uint64_t)n * sizeof *ids, SQLITE_STATIC);
    sqlite3_bind_int64(s, 4, (int64_t)line);
    return qm_journal_run_statement(j, s, err);
}

int qm_journal_tokens(struct qm_journal *j, int64_t number, uint64_t line, int part, struct qm_buf *out,
                      struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_use(j, QM_SQL_TOKENS, err);
    if (!s)
        return QM_SYSTEM;
    sqlite3_bind_int64(s, 1, number);
    sqlite3_bind_int(s, 2, part);
    sqlite3_bind_int64(s, 3, (int64_t)line);
    int step = sqlite3_step(s), rc = QM_OK;
    if (step == SQLITE_ROW)
        rc = qm_buf_add(out, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0), err);
    else if (step != SQLITE_DONE)
        rc = qm_journal_fail(j, "reading", err);
    sqlite3_reset(s);
    return rc;
}

int qm_journal_forget_tokens(struct qm_journal *j, struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_change(j, QM_SQL_FORGET_TOKENS, err);
    return s ? qm_journal_run_statement(j, s, err) : QM_SYSTEM;
}

int qm_journal_block(struct qm_journal *j, int64_t block, const char *hash, struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_use(j, QM_SQL_BLOCK, err);
    if (!s)
        return QM_SYSTEM;
    sqlite3_bind_int64(s, 1, block);
    int step = sqlite3_step(s), rc = QM_OK;
    bool known = step == SQLITE_ROW;
    const char *kept = known ? (const char *)sqlite3_column_text(s, 0) : NULL;
    if (known && (!kept || !sqlite3_column_int(s, 1)))
        rc = qm_journal_damaged(j, "a fingerprint of the input", err);
    else if (known && strcmp(kept, hash) != 0)
        rc = qm_remedy(
            err, QM_REMEDY_START_OVER,
            qm_fail(err, QM_INPUT,
                    "the input's block %lld is not what it was when this job began: put the file back as it was",
                    (long long)block));
    else if (!known && step != SQLITE_DONE)
        rc = qm_journal_fail(j, "reading", err);
    sqlite3_reset(s);
    if (rc || known)
        return rc;
    if (!(s = qm_journal_change(j, QM_SQL_ADD_BLOCK, err)))
        return QM_SYSTEM;
    sqlite3_bind_int64(s, 1, block);
    sqlite3_bind_text(s, 2, hash, -1, SQLITE_STATIC);
    return qm_journal_run_statement(j, s, err);
}

static void bind_run(sqlite3_stmt *s, const struct qm_journal_run *run) {
    sqlite3_bind_double(s, 1, run->started);
    sqlite3_bind_double(s, 2, run->seconds);
    sqlite3_bind_double(s, 3, run->joules);
    sqlite3_bind_double(s, 4, run->prefill_seconds);
    sqlite3_bind_double(s, 5, run->decode_seconds);
    sqlite3_bind_int64(s, 6, run->prefill_tokens);
    sqlite3_bind_int64(s, 7, run->decode_tokens);
}

int qm_journal_begin_run(struct qm_journal *j, const struct qm_journal_run *run, struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_change(j, QM_SQL_ADD_RUN, err);
    if (!s)
        return QM_SYSTEM;
    bind_run(s, run);
    int rc = qm_journal_run_statement(j, s, err);
    j->run = sqlite3_last_insert_rowid(j->db);
    return rc;
}

int qm_journal_update_run(struct qm_journal *j, const struct qm_journal_run *run, struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_change(j, QM_SQL_UPDATE_RUN, err);
    if (!s)
        return QM_SYSTEM;
    bind_run(s, run);
    sqlite3_bind_int64(s, 8, j->run);
    return qm_journal_run_statement(j, s, err);
}

int qm_journal_runs(struct qm_journal *j, struct qm_journal_run *out, int *n, struct qm_error *err) {
    sqlite3_stmt *s = NULL;
    int rc = walk(j,
                  "SELECT count(*), ifnull(min(started), 0), total(seconds), total(joules), "
                  "ifnull(min(joules), -1) >= 0, total(prefill_seconds), total(decode_seconds), "
                  "ifnull(sum(prefill_tokens), 0), ifnull(sum(decode_tokens), 0) FROM run",
                  &s, err);
    if (!rc && sqlite3_step(s) != SQLITE_ROW)
        rc = qm_journal_fail(j, "reading", err);
    if (!rc) {
        *n = sqlite3_column_int(s, 0);
        *out = (struct qm_journal_run){
            .started = sqlite3_column_double(s, 1),
            .seconds = sqlite3_column_double(s, 2),
            .joules = sqlite3_column_int(s, 4) ? sqlite3_column_double(s, 3) : -1,
            .prefill_seconds = sqlite3_column_double(s, 5),
            .decode_seconds = sqlite3_column_double(s, 6),
            .prefill_tokens = sqlite3_column_int64(s, 7),
            .decode_tokens = sqlite3_column_int64(s, 8),
        };
    }
    sqlite3_finalize(s);
    return rc;
}

int qm_journal_add_pace(struct qm_journal *j, const struct qm_journal_pace *pace, struct qm_error *err) {
    sqlite3_stmt *s = qm_journal_change(j, QM_SQL_ADD_PACE, err);
    if (!s)
        return QM_SYSTEM;
    sqlite3_bind_double(s, 1, pace->time);
    sqlite3_bind_double(s, 2, pace->worked);
    sqlite3_bind_int64(s, 3, pace->prompt);
    sqlite3_bind_int64(s, 4, pace->generated);
    sqlite3_bind_int64(s, 5, j->run);
    return qm_journal_run_statement(j, s, err);
}

int qm_journal_last_pace(struct qm_journal *j, double *time, struct qm_error *err) {
    sqlite3_stmt *s = NULL;
    int rc = walk(j, "SELECT ifnull(max(time), 0) FROM pace", &s, err);
    if (!rc && sqlite3_step(s) != SQLITE_ROW)
        rc = qm_journal_fail(j, "reading", err);
    *time = rc ? 0 : sqlite3_column_double(s, 0);
    sqlite3_finalize(s);
    return rc;
}

int qm_journal_each_pace(struct qm_journal *j, qm_journal_pace_fn *each, void *arg, struct qm_error *err) {
    sqlite3_stmt *s = NULL;
    int rc = walk(j, "SELECT time, worked, prompt, generated, run FROM pace ORDER BY number", &s, err),
        step = SQLITE_DONE;
    while (!rc && (step = sqlite3_step(s)) == SQLITE_ROW) {
        const struct qm_journal_pace pace = {.time = sqlite3_column_double(s, 0),
                                             .worked = sqlite3_column_double(s, 1),
                                             .prompt = sqlite3_column_int64(s, 2),
                                             .generated = sqlite3_column_int64(s, 3),
                                             .run = sqlite3_column_int64(s, 4)};
        rc = each(arg, &pace, err);
    }
    if (!rc && step != SQLITE_DONE)
        rc = qm_journal_fail(j, "reading", err);
    sqlite3_finalize(s);
    return rc;
}
