/* How long a job will take, before anything of it is measured: the planner's estimate (planner/estimate.h) of its rows,
 * by what is kept of this machine. One for --check, which gives it every row, and for a job about to begin, which gives
 * it the rows that can be looked at in a moment: the others are taken to be like those, by their bytes. Once steps are
 * measured, what is left is batch/left.h's. Not thread-safe. */
#ifndef QM_BATCH_FORECAST_H
#define QM_BATCH_FORECAST_H

#include "batch/crash.h"
#include "batch/expect.h"
#include "batch/options.h"
#include "batch/source.h"
#include "protocol/request.h"

struct qm_batch_prediction {
    double rows; /* to be worked on; */
    bool all;    /* they were looked at, all of them: rows is exact */
    double seconds, low, high, prefill, decode;
    char basis[1024]; /* where it comes from, and what makes it less sure; "" where measured in quiet */
};

struct qm_batch_forecast;

/* By what is known of this machine; nothing is measured but what other programs take of the CPUs from here to
 * qm_batch_forecast_get. context: of a sequence. The model must outlive it. */
int qm_batch_forecast_open(const struct qm_batch_options *o, const struct qm_machine_model *machine,
                           const struct qm_model *m, int64_t context, struct qm_batch_forecast **out,
                           struct qm_error *err);
void qm_batch_forecast_close(struct qm_batch_forecast *f);

/* One sequence of a row. *row: what is expected of it. */
int qm_batch_forecast_add(struct qm_batch_forecast *f, const struct qm_request *r, struct qm_estimate_row *row,
                          struct qm_error *err);
const struct qm_batch_expect *qm_batch_forecast_expect(const struct qm_batch_forecast *f);

/* The rows that the journal has no answer of, from where it says that reading goes on: those that can be looked at
 * within about so many seconds, and as many like them as there are behind them, in constant memory. The source stands
 * elsewhere then. flight: whose text is at work, as in batch/work.h. */
struct qm_batch_forecast_of {
    const struct qm_batch_source *source;
    struct qm_journal *journal;
    const struct qm_openai_context *openai;
    struct qm_batch_flight *flight;
    double seconds;
};
int qm_batch_forecast_look(struct qm_batch_forecast *f, const struct qm_batch_forecast_of *of, struct qm_error *err);

void qm_batch_forecast_get(struct qm_batch_forecast *f, struct qm_batch_prediction *out);
/* "about 5 h 20 min (4 h 10 min to 7 h 2 min), done by 03:40", where it begins now. Appends. */
int qm_batch_prediction_text(const struct qm_batch_prediction *p, const struct qm_batch_times *times, time_t now,
                             struct qm_buf *out, struct qm_error *err);

/* What a job's journal keeps of it for the report: the first run's, of the whole job. load: *found false where there is
 * none. */
int qm_batch_prediction_keep(struct qm_journal *j, const struct qm_batch_prediction *p, struct qm_error *err);
int qm_batch_prediction_load(struct qm_journal *j, struct qm_batch_prediction *p, bool *found, struct qm_error *err);

#endif
