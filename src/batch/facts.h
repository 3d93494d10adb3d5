/* How a running batch job stands: as numbers, and as text for whoever looks at it, who may be in another process (the
 * journal keeps the text). */
#ifndef QM_BATCH_FACTS_H
#define QM_BATCH_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "batch/work.h"
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

#endif
