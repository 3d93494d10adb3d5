/* The rows of a batch job at work: read ahead, put in order, given to the scheduler, and, as they finish, written as
 * output lines to the journal and OUT.partial. What can't be answered becomes an error line of its own; only what
 * concerns the whole job (disk, memory, the engine) is an error here. When to stop, pause or save is batch/run.h's.
 * Not thread-safe. */
#ifndef QM_BATCH_WORK_H
#define QM_BATCH_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "batch/clock.h"
#include "batch/crash.h"
#include "batch/journal.h"
#include "batch/output.h"
#include "batch/source.h"
#include "protocol/request.h"
#include "session/scheduler.h"

struct qm_batch_work_options {
    const struct qm_batch_source *source;
    struct qm_journal *journal;
    struct qm_batch_output *output;
    struct qm_scheduler *scheduler;
    const struct qm_openai_context *openai;
    int64_t longest;    /* tokens that one without a max_tokens is cut at, whatever is held today; 0: the context */
    int64_t look_ahead; /* rows */
    int64_t sequences;  /* at once */
    int64_t in_flight;  /* sequences given to the scheduler at once, those that wait included */
    uint64_t seed;      /* of the job */
    const char *job;    /* its fingerprint, which ids are made of */
    int64_t created;    /* seconds since 1970 */
    const struct qm_batch_clock *clock;
    const struct qm_batch_words *words;
    struct qm_batch_flight *flight; /* kept up to date; NULL: nobody looks */
};

struct qm_batch_work;

int qm_batch_work_new(const struct qm_batch_work_options *o, struct qm_batch_work **out, struct qm_error *err);
/* What is in flight is cancelled; its saved tokens stay in the journal. */
void qm_batch_work_free(struct qm_batch_work *w);

/* Reads rows and gives sequences to the scheduler as far as there is room, for about so many seconds at most. */
int qm_batch_work_feed(struct qm_batch_work *w, double seconds, struct qm_error *err);
/* Writes what has finished; takes effect with the next commit. To be called between the scheduler's steps. */
int qm_batch_work_collect(struct qm_batch_work *w, struct qm_error *err);
/* Every row is written. */
bool qm_batch_work_done(const struct qm_batch_work *w);
/* Saves the tokens of what is being generated, with the next commit. */
int qm_batch_work_save_tokens(struct qm_batch_work *w, struct qm_error *err);

/* QM_INPUT: the line of a finished row is not what it was. */
int qm_batch_other_row(int64_t number, struct qm_error *err);
/* Where reading begins when the job resumes, with the next commit. */
int qm_batch_note_position(struct qm_journal *j, const struct qm_batch_line *at, struct qm_error *err);

/* The sequences in flight, in no order. */
typedef int qm_batch_sequence_fn(void *arg, int64_t row, const struct qm_request_view *v, struct qm_error *err);
int qm_batch_work_each(const struct qm_batch_work *w, qm_batch_sequence_fn *each, void *arg, struct qm_error *err);

/* The seconds that the job will still take; negative where nothing can be said yet. rows: all of them, where the
 * input's size does not tell how much of it was not read. */
double qm_batch_work_left(struct qm_batch_work *w, double rows);

struct qm_batch_counts {
    int64_t done, failed;              /* rows, those of earlier runs included */
    int64_t read;                      /* rows read so far */
    bool all_read;                     /* then `read` is how many there are */
    uint64_t read_bytes, input_bytes;  /* where reading has come to, and the end */
    int64_t in_flight;                 /* rows */
    int64_t waiting, first_waiting;    /* rows that today's memory does not hold; the first one's number */
    int64_t prompt, cached, generated; /* tokens of finished rows, those of earlier runs included */
};
struct qm_batch_counts qm_batch_work_counts(const struct qm_batch_work *w);

#endif
