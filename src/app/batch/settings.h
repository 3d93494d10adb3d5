/* What the command line of `quietmind batch` says, checked. Everything is lent by the arguments. */
#ifndef QM_APP_BATCH_SETTINGS_H
#define QM_APP_BATCH_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "app/batch/answers.h"
#include "batch/hours.h"
#include "app/options.h"

/* Where nothing is said: sequences at once, rows that are looked at ahead; tokens that an answer without max_tokens is
 * counted with before it is there. */
enum { QM_BATCH_SEQUENCES = 32, QM_BATCH_LOOK_AHEAD = 1000, QM_BATCH_OPEN_ANSWER = 512 };

struct qm_batch_settings {
    const char *input;  /* NULL: documents and questions */
    const char *output; /* NULL with --check */
    bool check, strict, restart, as_completed, skip_unreadable;
    enum qm_answer_format format;         /* QM_ANSWERS_LINES where rows come from a file */
    int64_t sequences, look_ahead, chunk; /* chunk 0: the engine's own */
    uint64_t kv_memory;                   /* 0: what is free */
    const char *store_folder;             /* of checkpoints; NULL: beside the output */
    bool keep_store;                      /* --kv-disk: it outlives the job */
    bool no_store;                        /* --checkpoint-size 0 */
    uint64_t store_bytes;                 /* 0: half of what is free on that disk */
    double checkpoint_every;              /* seconds; 0: by cost */
    struct qm_batch_times times;
    const char *on_done, *report;
};

/* QM_USAGE naming the option. */
int qm_batch_settings_take(const struct qm_args *args, time_t now, struct qm_batch_settings *out, struct qm_error *err);

#endif
