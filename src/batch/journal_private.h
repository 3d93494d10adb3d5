/* What the journal's files share. */
#ifndef QM_BATCH_JOURNAL_PRIVATE_H
#define QM_BATCH_JOURNAL_PRIVATE_H

#include <sqlite3.h>

#include "batch/journal.h"

/* Statements are prepared once, by this table's order in batch/journal.c. */
enum qm_journal_statement {
    QM_SQL_BEGIN,
    QM_SQL_COMMIT,
    QM_SQL_SET,
    QM_SQL_GET,
    QM_SQL_ADD_ROW,
    QM_SQL_ADD_TEXT,
    QM_SQL_DROP_TOKENS,
    QM_SQL_DROP_ROW,
    QM_SQL_DROP_TEXT,
    QM_SQL_HAS,
    QM_SQL_NAMED,
    QM_SQL_FORGET_TOKENS,
    QM_SQL_SAVE_TOKENS,
    QM_SQL_TOKENS,
    QM_SQL_ADD_BLOCK,
    QM_SQL_BLOCK,
    QM_SQL_ADD_RUN,
    QM_SQL_UPDATE_RUN,
    QM_SQL_ADD_PACE,
    QM_SQL_COUNT
};

struct qm_journal {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statement[QM_SQL_COUNT];
    bool pending, failed;
    int64_t run; /* the row of this run */
};

/* The statements that make the tables. */
const char *qm_journal_schema(void);
/* QM_INPUT for what is not as it was written. */
int qm_journal_damaged(const struct qm_journal *j, const char *what, struct qm_error *err);
/* What SQLite says, as an error; marks the journal as failed. */
int qm_journal_fail(struct qm_journal *j, const char *doing, struct qm_error *err);
/* The statement, reset and without bindings; NULL with err set. */
sqlite3_stmt *qm_journal_use(struct qm_journal *j, enum qm_journal_statement which, struct qm_error *err);
/* The same for one that changes something: inside a transaction. */
sqlite3_stmt *qm_journal_change(struct qm_journal *j, enum qm_journal_statement which, struct qm_error *err);
/* Runs a statement that gives no rows. */
int qm_journal_run_statement(struct qm_journal *j, sqlite3_stmt *s, struct qm_error *err);

#endif
