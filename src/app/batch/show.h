/* What a running batch job shows: on a terminal a panel that is kept up to date, elsewhere a line a minute; and the
 * same text in the journal, for --status. */
#ifndef QM_APP_BATCH_SHOW_H
#define QM_APP_BATCH_SHOW_H

#include <stdbool.h>
#include <stdint.h>

#include "app/batch/work.h"
#include "app/progress.h"
#include "base/buf.h"
#include "session/scheduler.h"

/* How things stand. Unknown numbers are negative. */
struct qm_batch_facts {
    struct qm_batch_counts counts;
    int64_t rows; /* all of them, known or estimated, */
    bool rows_known;
    double prefill_rate, decode_rate;        /* lately, tokens a second of all sequences; */
    double prefill_overall, decode_overall;  /* since the run began, by seconds of work */
    int64_t running, waiting;                /* sequences */
    int64_t long_row, long_done, long_total; /* the longest prompt being computed: row (0: none), tokens */
    double working, left;                    /* seconds: worked in this run; to go, */
    bool predicted;                          /* by the prediction, since nothing is measured yet; */
    int64_t now, done_by;                    /* seconds since 1970; hours counted */
    double joules;
    double memory; /* bytes resident */
};

/* From the work and the scheduler; earlier: seconds and tokens come from this run alone, rows from all. */
void qm_batch_facts_take(struct qm_batch_facts *f, struct qm_batch_work *w, const struct qm_scheduler *s,
                         int64_t rows_known, double working, double joules);

/* Appends lines of "name  value". */
int qm_batch_facts_text(const struct qm_batch_facts *f, struct qm_buf *out, struct qm_error *err);
/* Appends one line without newline. */
int qm_batch_facts_line(const struct qm_batch_facts *f, struct qm_buf *out, struct qm_error *err);

/* What is left, for who asks while no run is there: with the next commit. Asked: seconds, in proportion to the rows
 * that were finished since; negative where it is not known. */
int qm_batch_left_keep(struct qm_journal *j, const struct qm_batch_facts *f, struct qm_error *err);
int qm_batch_left_kept(struct qm_journal *j, double *left, struct qm_error *err);

struct qm_batch_show {
    struct qm_progress *progress;
    double spoken; /* monotonic */
    int lines;     /* of the panel that stands on the terminal */
};
/* Shows the facts where it is time to. */
void qm_batch_show(struct qm_batch_show *s, const struct qm_batch_facts *f, bool now);
/* Whether it is. */
bool qm_batch_show_due(const struct qm_batch_show *s);
/* Wipes the panel, so that a line can be written. */
void qm_batch_show_clear(struct qm_batch_show *s);

#endif
