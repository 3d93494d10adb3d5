/* The journal of a batch job: one SQLite database beside the output (WAL, synchronous=FULL). It is the truth: what the
 * job is (manifest), where its input has been read to, each finished row with its output line, and the tokens of rows
 * that were being generated. The output files can be made from it again at any time.
 *
 * Changes are collected in a transaction and take effect, all or none, with qm_journal_commit. After an error nothing
 * is written any more (a failed fsync is never tried again), and what was committed before is there: the database is
 * closed as it stands, and recovered when it is opened next.
 *
 * Errors: QM_SYSTEM for a disk that is full or fails, saying what to free; QM_INPUT for a journal that is damaged, of
 * another program, or of another version of its tables; it is left as it is.
 * Not thread-safe; other processes may read while one writes. */
#ifndef QM_BATCH_JOURNAL_H
#define QM_BATCH_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct qm_journal;

/* Creates it where there is none. *created: it was not there, or holds no job. */
int qm_journal_open(const char *path, struct qm_journal **out, bool *created, struct qm_error *err);
/* What an earlier run left in the log becomes the database's. Until then, and where the journal is refused, both stay
 * as they were found. Done by qm_journal_open of a new one, and by qm_journal_verify; before anything is changed. */
int qm_journal_take_log(struct qm_journal *j, struct qm_error *err);
/* To look at, beside the job that may be running. QM_INPUT where there is none. */
int qm_journal_open_reader(const char *path, struct qm_journal **out, struct qm_error *err);
/* Checks a journal before its job goes on: every record must match its hash (a seal), and the tables must be ours and
 * whole. Rows that are damaged or missing are dropped, to be computed again. */
struct qm_journal_found {
    int64_t dropped; /* rows; then the input is to be read from its beginning */
    int64_t bytes;   /* of the lines of those that are left, with their newlines */
};
/* QM_INPUT where what is damaged can't be computed again; nothing was changed then. */
int qm_journal_verify(struct qm_journal *j, struct qm_journal_found *out, struct qm_error *err);
/* QM_INPUT unless the rows are 1 to `rows`, each with its line: before an output is made of them. */
int qm_journal_whole(struct qm_journal *j, int64_t rows, struct qm_error *err);
/* What was not committed is forgotten. */
void qm_journal_close(struct qm_journal *j);
int qm_journal_commit(struct qm_journal *j, struct qm_error *err);
/* Changes wait for a commit. */
bool qm_journal_pending(const struct qm_journal *j);

/* Named values: the manifest, and what else there is one of. get: appends to *out, *found says whether it is there. */
int qm_journal_set(struct qm_journal *j, const char *key, const char *value, struct qm_error *err);
int qm_journal_get(struct qm_journal *j, const char *key, struct qm_buf *out, bool *found, struct qm_error *err);
int qm_journal_set_int(struct qm_journal *j, const char *key, int64_t value, struct qm_error *err);
/* absent: the value where there is none. */
int qm_journal_get_int(struct qm_journal *j, const char *key, int64_t absent, int64_t *out, struct qm_error *err);

/* A finished row. Times are seconds since 1970, 0 where it never ran. */
struct qm_journal_row {
    int64_t number;
    const char *custom_id; /* NULL: it has none */
    const char *reason;    /* why it failed, without what differs from row to row; NULL: it did not */
    bool cut;              /* its answer, or one of them, is as long as it was allowed to be, and has no end */
    const char *text;      /* its output line, without newline */
    size_t len;
    uint64_t line;                     /* the hash of the input's line that it answers */
    int64_t prompt, cached, generated; /* tokens; cached: of the prompt, found in the prefix cache */
    double started, first, finished;   /* first: when its first token was there */
};
/* Also forgets its tokens. A row that is there already is a programmer's error. */
int qm_journal_add(struct qm_journal *j, const struct qm_journal_row *row, struct qm_error *err);
/* *line: the hash of the line that was answered. */
int qm_journal_has(struct qm_journal *j, int64_t number, bool *out, uint64_t *line, struct qm_error *err);
/* Whether a row before `number` is called so. */
int qm_journal_named_before(struct qm_journal *j, const char *custom_id, int64_t number, bool *out,
                            struct qm_error *err);

/* The rows in the input's order, or as they were completed. The row lives for the call; a callback's nonzero result
 * ends the walk and is returned. Without texts (text is then NULL) it is quick. */
enum qm_journal_order {
    QM_JOURNAL_BY_INPUT,
    QM_JOURNAL_BY_COMPLETION,
    QM_JOURNAL_FAILED, /* those that failed only, in the input's order; */
    QM_JOURNAL_CUT,    /* those that were cut */
    QM_JOURNAL_ORDERS
};
typedef int qm_journal_row_fn(void *arg, const struct qm_journal_row *row, struct qm_error *err);
int qm_journal_each(struct qm_journal *j, enum qm_journal_order order, bool texts, qm_journal_row_fn *each, void *arg,
                    struct qm_error *err);

struct qm_journal_totals {
    int64_t rows, failed, cut;
    int64_t prompt, cached, generated;
};
int qm_journal_totals(struct qm_journal *j, struct qm_journal_totals *out, struct qm_error *err);
/* Failures by reason, the most frequent first. */
typedef int qm_journal_reason_fn(void *arg, const char *reason, int64_t count, struct qm_error *err);
int qm_journal_reasons(struct qm_journal *j, qm_journal_reason_fn *each, void *arg, struct qm_error *err);

/* Tokens generated so far for a part of a row that is not finished, of the line with this hash; replaced. */
int qm_journal_save_tokens(struct qm_journal *j, int64_t number, uint64_t line, int part, const int32_t *ids, int64_t n,
                           struct qm_error *err);
/* Appends them (as int32_t) to *out; damaged ones, and those of another line, are none, and computed again. */
int qm_journal_tokens(struct qm_journal *j, int64_t number, uint64_t line, int part, struct qm_buf *out,
                      struct qm_error *err);

/* Forgets the tokens of all rows, which begin again. */
int qm_journal_forget_tokens(struct qm_journal *j, struct qm_error *err);

/* The fingerprint of a block of the input: kept where it is new, QM_INPUT where it differs from the one kept. */
int qm_journal_block(struct qm_journal *j, int64_t block, const char *hash, struct qm_error *err);

/* One run of the program on this job, for the report: added by qm_journal_begin_run, kept up to date with each commit.
 */
struct qm_journal_run {
    double started, seconds; /* since 1970; working, pauses left out */
    double joules;           /* negative: not readable */
    double prefill_seconds, decode_seconds;
    int64_t prefill_tokens, decode_tokens; /* computed; generated */
};
int qm_journal_begin_run(struct qm_journal *j, const struct qm_journal_run *run, struct qm_error *err);
int qm_journal_update_run(struct qm_journal *j, const struct qm_journal_run *run, struct qm_error *err);
/* All runs added up; joules negative where one could not be read. started: of the first. */
int qm_journal_runs(struct qm_journal *j, struct qm_journal_run *out, int *n, struct qm_error *err);

/* How far the job had come at some moment, all runs together: what throughput over time is drawn from, and what says
 * which times were work. Added now and then, in order. */
struct qm_journal_pace {
    double time, worked;       /* seconds since 1970; of work, pauses left out */
    int64_t prompt, generated; /* tokens computed; generated */
    int64_t run;               /* set by the journal: which run it was */
};
int qm_journal_add_pace(struct qm_journal *j, const struct qm_journal_pace *pace, struct qm_error *err);
typedef int qm_journal_pace_fn(void *arg, const struct qm_journal_pace *pace, struct qm_error *err);
/* The time of the last; 0: there is none. */
int qm_journal_last_pace(struct qm_journal *j, double *time, struct qm_error *err);
int qm_journal_each_pace(struct qm_journal *j, qm_journal_pace_fn *each, void *arg, struct qm_error *err);

#endif
