/* How a batch job is to be done: plain values, whoever they come from. Strings and lists are borrowed, and must outlive
 * the job. Start from qm_batch_options_default: zero is not a usable value of every field. */
#ifndef QM_BATCH_OPTIONS_H
#define QM_BATCH_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch/answers.h"
#include "batch/hours.h"
#include "simd/isa.h"

/* Where nothing is said: sequences at once, rows that are looked at ahead. */
enum { QM_BATCH_SEQUENCES = 32, QM_BATCH_LOOK_AHEAD = 1000 };

/* Every question about every document (batch/document.h). */
struct qm_batch_asked {
    const char *const *paths; /* of documents and folders */
    size_t n_paths;
    const char *questions;     /* file */
    const char *system;        /* message; NULL: none */
    const json_t *body;        /* members of each request's body; NULL: none */
    const char *const *others; /* files that are no documents where they are found in a folder; NULL among them: none */
    size_t n_others;
    const char *search; /* folders in which pdftotext is looked for, as $PATH has them; NULL: none */
    bool skip_unreadable;
};

struct qm_batch_options {
    const char *input; /* a batch file; NULL: documents and questions */
    struct qm_batch_asked asked;
    const char *output;           /* NULL where rows are checked only */
    enum qm_answer_format format; /* QM_ANSWERS_LINES where rows come from a file */
    bool as_completed;            /* lines in the order in which they were answered */
    bool restart;                 /* what an earlier run has left is not gone on with */
    uint64_t seed;                /* of rows that name none */
    struct qm_batch_times times;

    const char *model_name;    /* as answers name it */
    const char *chat_template; /* file; NULL: the model's */
    int64_t context;           /* of a sequence; 0: what fits, at most the model's own */
    int kv_type;               /* enum qm_dtype; -1: the model's own */
    enum qm_isa isa;
    int threads;                          /* 0: one a core */
    int64_t sequences, look_ahead, chunk; /* at once; rows; tokens of a step, 0: the engine's own */
    uint64_t kv_memory;                   /* bytes; 0: what is free */

    /* Checkpoints: prompts' keys and values on disk (batch/store.h). */
    const char *store_folder; /* NULL: beside the output */
    bool keep_store;          /* it outlives the job, whose prefixes others find */
    bool no_store;
    uint64_t store_bytes;    /* 0: half of what is free on that disk */
    double checkpoint_every; /* seconds; 0: by cost */

    const char *weights_cache; /* file that knows weights hashed before (model/weights_known.h); NULL: none */
    const char *command;       /* how it was started, for the report; NULL: not known */
};
extern const struct qm_batch_options qm_batch_options_default;

#endif
